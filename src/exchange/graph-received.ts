/**
 * What items of a mailbox are, asked of Graph: one question for an item, another for its attachments where it has some, a
 * few items at a time. Trouble of one item is its own; trouble of the mailbox, or no answer to any of them, ends it all.
 */
import type { Attachment, Message } from '@microsoft/microsoft-graph-types';
import type { HeaderField } from '../mail/header.ts';
import type { ReceivedAttachment, ReceivedMail } from '../mail/received.ts';
import type { Delayed, Failed } from '../mail/status.ts';
import { askMailbox, isGone, listAll } from './graph-pickup.ts';
import type { GraphMailboxOptions, Trouble } from './graph-pickup.ts';
import type { Got } from './mailbox.ts';

/** Below the four requests that Graph allows an application for a mailbox (learn.microsoft.com/graph/throttling-limits): mail may be sent from it too. */
const AT_A_TIME = 2;

/** Of MS-OXPROPS: PidTagSearchKey, PidTagMessageClass, PidTagMessageSize, PidTagHasAttachments. */
const PROPERTIES = { searchKey: 'Binary 0x300B', class: 'String 0x001A', size: 'Integer 0x0E08', attached: 'Boolean 0x0E1B' } as const; // prettier-ignore
const FIELDS = 'id,internetMessageId,subject,receivedDateTime,isRead,from,sender,internetMessageHeaders,hasAttachments';

type Described =
  { readonly ok: true; readonly mail: ReceivedMail | undefined } | { readonly ok: false; readonly trouble: Trouble };
type Descriptions = Got<{
  readonly mails: readonly ReceivedMail[];
  readonly unreadable: readonly { readonly id: string; readonly status: Delayed | Failed }[];
}>;

export async function describeAll(
  source: GraphMailboxOptions,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<Descriptions> {
  const found = new Map<string, Described>();
  let over: Delayed | Failed | undefined;
  const waiting = ids.values();
  const work = async (): Promise<void> => {
    for (const id of waiting) {
      if (over !== undefined) return;
      const one = await describe(source, id, signal);
      found.set(id, one);
      if (!one.ok && isOfAll(one.trouble.status, signal)) over ??= one.trouble.status;
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  if (over !== undefined) return { ok: false, status: over };
  return collected(ids, found);
}

function isOfAll(status: Delayed | Failed, signal: AbortSignal): boolean {
  return signal.aborted || (status.outcome === 'delayed' && status.reach !== 'message');
}

function collected(ids: readonly string[], found: ReadonlyMap<string, Described>): Descriptions {
  const mails: ReceivedMail[] = [];
  const unreadable: { readonly id: string; readonly status: Delayed | Failed }[] = [];
  let unanswered = 0;
  for (const id of ids) {
    const one = found.get(id);
    if (one?.ok === true && one.mail !== undefined) mails.push(one.mail);
    if (one?.ok !== false) continue;
    unreadable.push({ id, status: one.trouble.status });
    if (one.trouble.http === undefined) unanswered++;
  }
  const [first] = unreadable;
  // Then it is hardly about the items.
  if (first !== undefined && unanswered === ids.length) return { ok: false, status: first.status };
  return { ok: true, mails, unreadable };
}

async function describe(source: GraphMailboxOptions, id: string, signal: AbortSignal): Promise<Described> {
  const path = `/messages/${encodeURIComponent(id)}`;
  const asked = await askMailbox(source, { method: 'GET', path: `${path}?${QUERY}`, success: 200, signal });
  if (!asked.ok) return isGone(asked) ? { ok: true, mail: undefined } : { ok: false, trouble: asked };
  const message = asked.json as Message;
  const properties = propertiesOf(message);
  // hasAttachments leaves out what is shown inside the text, as a fax machine may mark its pages; the property does not.
  const isPlain = message.hasAttachments === false && properties.get(PROPERTIES.attached)?.toLowerCase() === 'false';
  if (isPlain) return { ok: true, mail: mailOf(id, message, properties, []) };
  const attachments = `${path}/attachments?$select=name,contentType,size,isInline`;
  const listed = await listAll(source, attachments, signal);
  if (!listed.ok) return isGone(listed) ? { ok: true, mail: undefined } : { ok: false, trouble: listed };
  return { ok: true, mail: mailOf(id, message, properties, (listed.items as readonly Attachment[]).map(attachmentOf)) };
}

const QUERY = [
  ['$select', FIELDS],
  ['$expand', `singleValueExtendedProperties($filter=${Object.values(PROPERTIES).map((id) => `id eq '${id}'`).join(' or ')})`],
].map(([name, value = '']) => `${name}=${encodeURIComponent(value)}`).join('&'); // prettier-ignore

/** By the names above. Graph writes them its own way: `String 0x1a`. */
function propertiesOf({ singleValueExtendedProperties }: Message): ReadonlyMap<string, string> {
  const given = new Map(
    (singleValueExtendedProperties ?? []).map(({ id, value }) => [tagOf(id ?? ''), value ?? ''] as const),
  );
  return new Map(Object.values(PROPERTIES).map((name) => [name, given.get(tagOf(name)) ?? '']));
}

function tagOf(name: string): number {
  return Number.parseInt(/ 0x([0-9a-f]{1,4})$/i.exec(name)?.[1] ?? '', 16);
}

function mailOf(
  id: string,
  message: Message,
  properties: ReadonlyMap<string, string>,
  attachments: readonly ReceivedAttachment[],
): ReceivedMail {
  const searchKey = properties.get(PROPERTIES.searchKey) ?? '';
  const size = Number(properties.get(PROPERTIES.size));
  const from = addressOf(message.from) ?? addressOf(message.sender);
  return {
    id,
    ...(searchKey === '' ? {} : { searchKey }),
    itemClass: properties.get(PROPERTIES.class) ?? '',
    size: size > 0 ? size : attachments.reduce((sum, one) => sum + one.size, 0),
    receivedAt: timeOf(message.receivedDateTime) ?? 0,
    ...(message.internetMessageId ? { messageId: message.internetMessageId } : {}),
    ...(message.subject ? { subject: message.subject } : {}),
    isRead: message.isRead === true,
    ...(from === undefined ? {} : { from }),
    header: (message.internetMessageHeaders ?? []).flatMap(({ name, value }) => fieldOf(name ?? '', value ?? '')),
    attachments,
  };
}

/** Epoch milliseconds. */
export function timeOf(text: unknown): number | undefined {
  const time = typeof text === 'string' ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}

/** A mailbox that was removed from Exchange is named by its X.500 path, which is no address. */
function addressOf(named: Message['from']): string | undefined {
  const address = named?.emailAddress?.address ?? '';
  return address.includes('@') ? address : undefined;
}

function fieldOf(name: string, value: string): HeaderField[] {
  if (!/^[!-9;-~]+$/.test(name)) return [];
  // Graph gives the text of a field without its folds; a line end left in it would begin another field.
  const line = value.replace(/[\r\n]+[ \t]*/g, ' ');
  return [{ name: name.toLowerCase(), raw: Buffer.from(`${name}: ${line}\r\n`) }];
}

function attachmentOf({ name, contentType, size, isInline }: Attachment): ReceivedAttachment {
  const type = contentType?.split(';')[0]?.trim().toLowerCase() ?? '';
  return {
    ...(name ? { name } : {}),
    ...(type === '' ? {} : { type }),
    size: size ?? 0,
    isInline: isInline === true,
  };
}
