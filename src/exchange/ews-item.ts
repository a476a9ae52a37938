/**
 * Items and folders as answers of EWS tell of them, by local names: the element of an item is named after its class, and
 * servers differ in their prefixes. Pure; what cannot be read is undefined, never a throw.
 */
import { splitHeader } from '../mail/header.ts';
import type { ReceivedAttachment, ReceivedMail } from '../mail/received.ts';
import { FOLDER_MARK } from './mailbox.ts';
import type { Changes } from './mailbox.ts';
import { SEARCH_KEY, TRANSPORT_HEADERS } from './mailbox-calls.ts';
import { child } from './soap.ts';
import type { XmlElement } from './soap.ts';

/** What Gromox makes of a null sender. */
const NOBODY = 'invalid@invalid';

/**
 * @param message one of an answer to GetItem
 * @param asked the id it was asked for by
 * @param now epoch milliseconds, for an item that does not say when it came
 */
export function mailIn(message: XmlElement, asked: string, now: number): ReceivedMail | undefined {
  const item = child(message, 'Items')?.children[0];
  if (child(item, 'ItemId') === undefined) return undefined;
  const text = (name: string): string => child(item, name)?.text.trim() ?? '';
  const from = addressIn(child(item, 'From')) ?? addressIn(child(item, 'Sender'));
  const searchKey = extended(item, SEARCH_KEY)?.trim() ?? '';
  const messageId = text('InternetMessageId');
  const subject = child(item, 'Subject')?.text;
  return {
    id: asked,
    ...(searchKey === '' ? {} : { searchKey }),
    itemClass: text('ItemClass'),
    size: octets(text('Size')),
    receivedAt: timeOf(text('DateTimeReceived')) ?? now,
    ...(messageId === '' ? {} : { messageId }),
    ...(subject === undefined ? {} : { subject }),
    isRead: isTrue(text('IsRead')),
    ...(from === undefined ? {} : { from }),
    header: splitHeader(Buffer.from(extended(item, TRANSPORT_HEADERS) ?? '')),
    attachments: (child(item, 'Attachments')?.children ?? []).map(attachmentIn),
  };
}

function attachmentIn(element: XmlElement): ReceivedAttachment {
  const name = child(element, 'Name')?.text ?? '';
  const type = (child(element, 'ContentType')?.text.split(';')[0] ?? '').trim().toLowerCase();
  return {
    ...(name === '' ? {} : { name }),
    ...(type === '' ? {} : { type }),
    size: octets(child(element, 'Size')?.text ?? ''),
    isInline: isTrue(child(element, 'IsInline')?.text ?? ''),
  };
}

/** A name of the directory (`/O=.../CN=...`) is no address. */
function addressIn(element: XmlElement | undefined): string | undefined {
  const address = child(child(element, 'Mailbox'), 'EmailAddress')?.text.trim() ?? '';
  return address.includes('@') && address.toLowerCase() !== NOBODY ? address : undefined;
}

function extended(item: XmlElement | undefined, tag: number): string | undefined {
  const property = item?.children.find(
    (one) =>
      // In hexadecimal from Exchange, whatever it was asked in.
      one.name === 'ExtendedProperty' && Number(child(one, 'ExtendedFieldURI')?.attributes['PropertyTag']) === tag,
  );
  return child(property, 'Value')?.text;
}

function octets(text: string): number {
  const size = Number(text);
  return Number.isSafeInteger(size) && size > 0 ? size : 0;
}

function timeOf(text: string): number | undefined {
  const time = Date.parse(text);
  return Number.isNaN(time) ? undefined : time;
}

function isTrue(text: string): boolean {
  return /^(?:true|1)$/.test(text.trim());
}

/** @param message of an answer to SyncFolderItems */
export function changesIn(message: XmlElement): Changes | undefined {
  const cursor = child(message, 'SyncState')?.text ?? '';
  if (cursor === '') return undefined;
  const added: { id: string; receivedAt?: number }[] = [];
  const removed: string[] = [];
  const changes = child(message, 'Changes')?.children ?? [];
  for (const change of changes) {
    if (change.name === 'Delete') {
      const id = child(change, 'ItemId')?.attributes['Id'];
      if (id !== undefined) removed.push(id);
    }
    if (change.name !== 'Create') continue;
    const item = change.children[0];
    const id = child(item, 'ItemId')?.attributes['Id'];
    const receivedAt = timeOf(child(item, 'DateTimeReceived')?.text.trim() ?? '');
    if (id !== undefined) added.push({ id, ...(receivedAt === undefined ? {} : { receivedAt }) });
  }
  // A page of nothing is the last one, whatever is said: it would be asked for without an end.
  const isLast = changes.length === 0 || child(message, 'IncludesLastItemInRange')?.text.trim() !== 'false';
  return { added, removed, cursor, isLast };
}

export interface FoundFolder {
  readonly id: string;
  readonly name: string;
}

/** @param message of an answer to FindFolder, GetFolder or CreateFolder */
export function foldersIn(message: XmlElement | undefined): {
  readonly folders: FoundFolder[];
  readonly isLast: boolean;
} {
  const root = child(message, 'RootFolder');
  const folders = (child(root ?? message, 'Folders')?.children ?? []).flatMap((folder): FoundFolder[] => {
    const id = child(folder, 'FolderId')?.attributes['Id'] ?? '';
    return id === '' ? [] : [{ id, name: child(folder, 'DisplayName')?.text ?? '' }];
  });
  return { folders, isLast: root?.attributes['IncludesLastItemInRange'] !== 'false' || folders.length === 0 };
}

/** @param message of an answer to GetFolder */
export function markIn(message: XmlElement): string | undefined {
  const properties = child(message, 'Folders')?.children[0]?.children ?? [];
  const property = properties.find(
    (one) =>
      one.name === 'ExtendedProperty' && child(one, 'ExtendedFieldURI')?.attributes['PropertyName'] === FOLDER_MARK,
  );
  return child(property, 'Value')?.text;
}
