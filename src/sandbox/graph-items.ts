/**
 * Messages and folders as Graph shows them: their ids, the fields that $select names, what $expand adds. Held to Microsoft's
 * own types when it is compiled.
 */
import type { Attachment as GraphAttachment, MailFolder, Message, Recipient } from '@microsoft/microsoft-graph-types';
import { attachmentsOf } from './attachments.ts';
import type { Answer } from './exchange.ts';
import { failure } from './graph-answers.ts';
import { propertyPath } from './graph-content.ts';
import { propertyOf } from './item-properties.ts';
import { transportFields } from './item-xml.ts';
import type { FolderView, Item, MailboxStore } from './store.ts';

/** Where a message lies and how its id is shown. */
export interface Setting {
  readonly mailbox: MailboxStore;
  readonly isImmutable: boolean;
}

/** What a client wants of messages. */
export interface Wish {
  readonly fields: readonly string[];
  /** Ids of extended properties. */
  readonly properties: readonly string[];
  /** Fields of attachments; undefined: none are wanted. */
  readonly attachments?: readonly string[];
}

type Field = (item: Item, folder: FolderView) => unknown;

/** Without $select, all but the last one. */
const FIELDS: Partial<Record<keyof Message, Field>> = {
  subject: ({ subject }) => subject,
  internetMessageId: ({ messageId }) => messageId,
  isDraft: ({ submission }) => submission !== undefined,
  isRead: ({ isRead }) => isRead,
  changeKey: ({ changeKey }) => changeKey,
  parentFolderId: (_, folder) => graphFolderId(folder),
  receivedDateTime: ({ receivedAt }) => new Date(receivedAt).toISOString().replace(/\.\d+Z$/, 'Z'),
  from: ({ from }) => recipient(from),
  sender: ({ sender, from }) => recipient(sender || from),
  toRecipients: ({ to }) => to.map(recipient),
  ccRecipients: ({ cc }) => cc.map(recipient),
  bccRecipients: ({ bcc }) => bcc.map(recipient),
  hasAttachments: async (item) => (await attachmentsOf(item)).some(({ isInline }) => !isInline),
  internetMessageHeaders: ({ header }) => transportFields(header),
};

/** What is more than a message, by its class. */
const EVENT_TYPES = [
  ['IPM.Schedule.Meeting.Request', 'eventMessageRequest'],
  ['IPM.Schedule.Meeting.Resp', 'eventMessageResponse'],
  ['IPM.Schedule.Meeting', 'eventMessage'],
] as const;

const ATTACHMENT_FIELDS: readonly (keyof GraphAttachment)[] = ['id', 'name', 'contentType', 'size', 'isInline'];

/** What is shown where nobody said otherwise. */
export const EVERYTHING: Wish = { fields: Object.keys(FIELDS).slice(0, -1), properties: [] };

/** @returns the refusal of what is not documented */
export function wishOf(query: URLSearchParams): Wish | Answer {
  const select = query.get('$select');
  const known = Object.keys(FIELDS);
  const fields = select === null ? EVERYTHING.fields : list(select).filter((name) => name !== 'id');
  const strange = fields.find((name) => !known.includes(name));
  if (strange !== undefined) return noProperty(strange, 'message');
  const wish: { -readonly [Key in keyof Wish]: Wish[Key] } = { fields, properties: [] };
  // Commas inside parentheses do not part expansions.
  for (const one of (query.get('$expand') ?? '').split(/,(?![^(]*\))/)) {
    if (one === '') continue;
    const properties = expandedProperties(one);
    const [isFiles, , names] = /^attachments(\(\$select=([\w,]+)\))?$/.exec(one) ?? [];
    if (properties) wish.properties = properties;
    else if (isFiles !== undefined) {
      const wanted = attachmentFields(names);
      if ('status' in wanted) return wanted;
      wish.attachments = wanted;
    } else return failure(400, 'BadRequest', `The sandbox cannot expand ${one}.`);
  }
  return wrongProperty(wish.properties) ?? wish;
}

/** Ids of extended properties that an expansion asks for; undefined: it is another one. */
export function expandedProperties(expansion: string): readonly string[] | undefined {
  const [, filter] =
    /^singleValueExtendedProperties\(\$filter=(id eq '[^']+'(?: or id eq '[^']+')*)\)$/.exec(expansion) ?? [];
  return filter === undefined ? undefined : [...filter.matchAll(/'([^']+)'/g)].map(([, id = '']) => id);
}

export function wrongProperty(ids: readonly string[]): Answer | undefined {
  const wrong = ids.find((id) => propertyPath(id) === undefined);
  if (wrong === undefined) return undefined;
  return failure(400, 'ErrorInvalidProperty', `The extended property id ${wrong} is not valid.`);
}

/** @param select absent: all that the sandbox has, which is not the content */
export function attachmentFields(select: string | null | undefined): readonly string[] | Answer {
  const names = select ? list(select) : ATTACHMENT_FIELDS;
  const strange = names.find((name) => !ATTACHMENT_FIELDS.some((one) => one === name));
  return strange === undefined ? names : noProperty(strange, 'attachment');
}

export async function shown(item: Item, folder: FolderView, setting: Setting, wish: Wish): Promise<Message> {
  const type = EVENT_TYPES.find(([itemClass]) => item.itemClass.startsWith(itemClass))?.[1];
  const message: Record<string, unknown> = {
    ...(type === undefined ? {} : { '@odata.type': `#microsoft.graph.${type}` }),
    id: messageId(item, folder, setting),
  };
  for (const name of wish.fields) {
    const value = await FIELDS[name as keyof Message]?.(item, folder);
    // What a message names nobody for is left out.
    if (value !== undefined) message[name] = value;
  }
  const properties = wish.properties.flatMap((id) => {
    const path = propertyPath(id);
    const one = path && propertyOf(item, path);
    return one ? [{ id, value: one.values[0] ?? '' }] : [];
  });
  if (properties.length > 0) message['singleValueExtendedProperties'] = properties;
  if (wish.attachments) message['attachments'] = await shownAttachments(item, wish.attachments);
  return message;
}

export async function shownAttachments(item: Item, fields: readonly string[]): Promise<readonly object[]> {
  return (await attachmentsOf(item)).map(({ isItem, name, contentType, size, isInline }, index) => {
    const all: Readonly<Record<string, unknown>> = {
      id: inUrl(`${item.stableId}${index}`),
      name: name ?? null,
      contentType: isItem ? null : contentType,
      size,
      isInline,
    };
    const kept = fields.map((field) => [field, all[field]] as const);
    return {
      '@odata.type': `#microsoft.graph.${isItem ? 'itemAttachment' : 'fileAttachment'}`,
      ...Object.fromEntries([['id', all['id']], ...kept]),
    };
  });
}

export function shownFolder(folder: FolderView, mailbox: MailboxStore): MailFolder {
  return {
    id: graphFolderId(folder),
    displayName: folder.displayName,
    parentFolderId: inUrl(`AAFo${folder.parent}`),
    childFolderCount: mailbox.children(folder.id).length,
    unreadItemCount: folder.items.filter(({ isRead }) => !isRead).length,
    totalItemCount: folder.items.length,
    isHidden: false,
  };
}

/** By its id that stays, or by that of the folder it lies in. */
export function itemOf(id: string, setting: Setting): { readonly item: Item; readonly folder: FolderView } | undefined {
  const wanted = id.slice(4).replaceAll('_', '+').replaceAll('-', '/');
  const isImmutable = id.startsWith('AAkI');
  const found = isImmutable ? setting.mailbox.findStable(wanted) : setting.mailbox.find(wanted);
  return found && messageId(found.item, found.folder, { ...setting, isImmutable }) === id ? found : undefined;
}

/** By its well-known name, regardless of case, or its id. */
export function folderByGraphId(mailbox: MailboxStore, id: string): FolderView | 'malformed' | 'gone' {
  const wellKnown = mailbox.folders.find((folder) => folder.wellKnown === id.toLowerCase());
  if (wellKnown) return wellKnown;
  if (!id.startsWith('AAFo')) return 'malformed';
  return mailbox.folders.find((folder) => graphFolderId(folder) === id) ?? 'gone';
}

function graphFolderId({ id }: FolderView): string {
  return inUrl(`AAFo${id}`);
}

/** Without the preference for immutable ids, one that changes with the folder. */
export function messageId(
  item: Pick<Item, 'id' | 'stableId'>,
  folder: FolderView,
  { mailbox, isImmutable }: Setting,
): string {
  if (isImmutable) return `AAkI${inUrl(item.stableId)}`;
  return `AAM${mailbox.folders.findIndex(({ id }) => id === folder.id) % 10}${inUrl(item.id)}`;
}

export function inUrl(id: string): string {
  return id.replaceAll('+', '_').replaceAll('/', '-');
}

function recipient(address: string): Recipient | undefined {
  return address === '' ? undefined : { emailAddress: { name: address, address } };
}

export function list(select: string): string[] {
  return select.split(',').map((name) => name.trim());
}

export function noProperty(name: string, type: string): Answer {
  return failure(400, 'BadRequest', `Could not find a property named '${name}' on type 'microsoft.graph.${type}'.`);
}
