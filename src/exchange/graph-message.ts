/**
 * A message as the JSON that Graph takes, for what cannot go as MIME: properties of the header, the text, the marks the
 * gateway finds it again by. Typed by Microsoft's own description of Graph. Pure; what cannot be read is left out.
 */
import type {
  AttachmentItem,
  Importance,
  InternetMessageHeader,
  Recipient,
  SingleValueLegacyExtendedProperty,
} from '@microsoft/microsoft-graph-types';
import { asciiAddress, isSendable } from '../mail/address.ts';
import { parseHeader } from '../mail/addresses.ts';
import type { Mailbox } from '../mail/addresses.ts';
import { fieldValue } from '../mail/header.ts';
import type { HeaderField } from '../mail/header.ts';
import type { QueueItem } from '../mail/item.ts';
import type { AttachedPart, BodyPart } from '../mail/mime.ts';
import { decodeWords } from '../mail/mime.ts';
import { MARK } from './ews.ts';
import { exact } from './graph-json.ts';
import type { FileBody, MessageBody } from './graph-json.ts';
import { readProperties } from './properties.ts';

/** Named properties as Graph writes them: type, set, name (learn.microsoft.com/graph/api/resources/extended-properties-overview). */
const PUBLIC_STRINGS = '{00020329-0000-0000-c000-000000000046}';
const INTERNET_HEADERS = '{00020386-0000-0000-c000-000000000046}';
/** Of a draft: which item it is of. The same property as EWS has it. */
export const MARK_PROPERTY = `String ${PUBLIC_STRINGS} Name ${MARK}`;
/** Of a draft that is complete: it may be sent by its id, and never again be made. */
export const READY_PROPERTY = `String ${PUBLIC_STRINGS} Name ${MARK}-ready`;
/** Field that marks a message that goes as MIME; Exchange makes a property of it in the sent copy. */
export const MARK_FIELD = 'X-SMTP2Exchange-Id';
export const MARK_FIELD_PROPERTY = internetHeader(MARK_FIELD);
/** PidTagInternetReferences and PidTagInReplyToId (MS-OXPROPS): Graph has no fields for them. */
const REFERENCES = 'String 0x1039';
const IN_REPLY_TO = 'String 0x1042';

/** Custom fields that Graph takes in one message (learn.microsoft.com/graph/outlook-create-send-messages). */
const MAX_CUSTOM = 5;
/** Octets of a field that is read at all, characters of a value that is handed over. */
const MAX_FIELD = 16 * 1024;
const MAX_VALUE = 1_000;
const MAX_SUBJECT = 255;
const MAX_NAME = 200;

export interface MessageParts {
  readonly item: QueueItem;
  /** As recipients.ts leaves them. */
  readonly fields: readonly HeaderField[];
  readonly blind: readonly string[];
  readonly body: BodyPart;
  readonly carryHeaders: readonly string[];
}

export async function messageJson({ item, fields, blind, body, carryHeaders }: MessageParts): Promise<MessageBody> {
  const { from, sender, replyTo, to, cc, subject = '' } = await parseHeader(fields);
  const { importance, readReceipt, deliveryReceipt, internetHeaders = [] } = await readProperties(fields, carryHeaders);
  const named = new Set(internetHeaders.map(({ name }) => name.toLowerCase()));
  const [author] = recipients(from);
  const [submitter] = recipients(sender);
  return exact<MessageBody>()({
    subject: cut(oneLine(subject), MAX_SUBJECT),
    body:
      body.html === undefined
        ? { contentType: 'text', content: body.text ?? '' }
        : { contentType: 'html', content: body.html },
    toRecipients: recipients(to),
    ccRecipients: recipients(cc),
    bccRecipients: blind.map((address) => ({ emailAddress: { address: asciiAddress(address) } })),
    ...(replyTo.length === 0 ? {} : { replyTo: recipients(replyTo) }),
    ...(author === undefined ? {} : { from: author }),
    ...(submitter === undefined ? {} : { sender: submitter }),
    ...(importance === undefined ? {} : { importance: importance satisfies Importance }),
    isReadReceiptRequested: readReceipt === true,
    isDeliveryReceiptRequested: deliveryReceipt === true,
    internetMessageId: item.messageId,
    ...withCustom(await customFields(fields, named)),
    singleValueExtendedProperties: [
      { id: MARK_PROPERTY, value: item.id },
      ...internetHeaders.map(({ name, value }) => ({ id: internetHeader(name), value })),
      ...threadProperties(fields),
    ],
  });
}

/** `attached.size` in octets. @param contentBytes base64 */
export function fileAttachment(attached: Attached, contentBytes: string): FileBody {
  const { name, type, contentId, isInline } = attached;
  return exact<FileBody>()({
    '@odata.type': '#microsoft.graph.fileAttachment',
    name,
    contentType: type,
    isInline,
    ...(contentId === undefined ? {} : { contentId }),
    contentBytes,
  });
}

export function attachmentItem({ name, type, size, contentId, isInline }: Attached): AttachmentItem {
  return exact<AttachmentItem>()({
    attachmentType: 'file',
    name,
    contentType: type,
    size,
    isInline,
    ...(contentId === undefined ? {} : { contentId }),
  });
}

export interface Attached {
  readonly name: string;
  readonly type: string;
  /** Decoded octets. */
  readonly size: number;
  readonly contentId?: string;
  /** The text shows it. */
  readonly isInline: boolean;
}

/** @param html of the message, '' if there is none @param index from 0 */
export function attachedAs(part: AttachedPart, size: number, html: string, index: number): Attached {
  const { name = usualName(part.type, index), type, contentId } = part;
  return {
    name: shortName(name),
    type,
    size,
    ...(contentId === undefined ? {} : { contentId }),
    isInline: contentId !== undefined && html.includes(`cid:${contentId}`),
  };
}

/** A name tells by its ending what opens it, so that stays. */
function shortName(name: string): string {
  const ending = /\.\w{1,10}$/.exec(name)?.[0] ?? '';
  return name.length <= MAX_NAME ? name : cut(name, MAX_NAME - ending.length) + ending;
}

/** Not through the middle of a character that takes two places: its half is no text that JSON could carry. */
function cut(text: string, characters: number): string {
  return text.slice(0, characters).replace(/[\ud800-\udbff]$/, '');
}

const EXTENSIONS: Readonly<Record<string, string>> = {
  'message/rfc822': 'eml',
  'message/delivery-status': 'txt',
  'text/plain': 'txt',
  'text/html': 'html',
  'text/calendar': 'ics',
  'application/pdf': 'pdf',
  'image/tiff': 'tif',
  'image/jpeg': 'jpg',
  'image/png': 'png',
  'image/gif': 'gif',
};

/** Graph wants a name for each attachment. */
function usualName(type: string, index: number): string {
  const extension = EXTENSIONS[type];
  return `attachment-${index + 1}${extension === undefined ? '' : `.${extension}`}`;
}

function internetHeader(name: string): string {
  return `String ${INTERNET_HEADERS} Name ${name}`;
}

function recipients(mailboxes: readonly Mailbox[]): Recipient[] {
  return mailboxes
    .filter(({ address }) => isSendable(address))
    .map(({ name, address }) => {
      const shown = oneLine(name);
      const emailAddress = { address: asciiAddress(address), ...(shown === '' ? {} : { name: shown }) };
      return exact<Recipient>()({ emailAddress });
    });
}

function withCustom(found: InternetMessageHeader[]): { readonly internetMessageHeaders?: InternetMessageHeader[] } {
  return found.length === 0 ? {} : { internetMessageHeaders: found };
}

/** The first X- fields that are not handed over as properties: Graph takes five, and none that does not begin with X-. */
async function customFields(
  fields: readonly HeaderField[],
  named: ReadonlySet<string>,
): Promise<InternetMessageHeader[]> {
  const found: InternetMessageHeader[] = [];
  const seen = new Set(named);
  for (const field of fields) {
    if (found.length === MAX_CUSTOM) break;
    if (!/^x-[!-9;-~]+$/.test(field.name) || seen.has(field.name) || field.raw.length > MAX_FIELD) continue;
    // Said by properties of their own; Exchange's own fields are not for others to set.
    if (/^x-(?:priority|msmail-priority|ms-exchange-.*)$/.test(field.name)) continue;
    // One that came with the message is another gateway's.
    if (field.name === MARK_FIELD.toLowerCase()) continue;
    seen.add(field.name);
    const text = fieldValue(field);
    const value = oneLine(text.includes('=?') ? await decodeWords(text) : text);
    const name = field.raw.toString('latin1').split(':', 1)[0]?.trim() ?? field.name;
    if (value !== '' && value.length <= MAX_VALUE) found.push({ name, value });
  }
  return found;
}

/** So that the message stays in its thread. */
function threadProperties(fields: readonly HeaderField[]): SingleValueLegacyExtendedProperty[] {
  return (
    [
      ['references', REFERENCES],
      ['in-reply-to', IN_REPLY_TO],
    ] as const
  ).flatMap(([wanted, id]) => {
    const field = fields.find(({ name, raw }) => name === wanted && raw.length <= MAX_FIELD);
    const value = field === undefined ? '' : oneLine(fieldValue(field));
    return value === '' ? [] : [{ id, value }];
  });
}

function oneLine(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim();
}

/** Kinds that stay one piece: their parts are worth nothing apart (RFC 1847, RFC 8551). */
export function isSealed(fields: readonly HeaderField[]): boolean {
  const type = fields.find(({ name }) => name === 'content-type');
  return (
    type !== undefined &&
    /^\s*(?:multipart\/(?:signed|encrypted)|application\/(?:x-)?pkcs7-mime)(?=[\s;]|$)/i.test(fieldValue(type))
  );
}
