/**
 * What of a header block Exchange does not take from the MIME and wants as elements or properties beside it: importance,
 * receipts, the class of a disposition notification, and X- fields, of which a mailbox loses those it never used before.
 * Pure; reads what is there and never fails: what cannot be read is as good as absent, the MIME still carries it.
 */
import { mailboxesOf, parseHeader } from '../mail/addresses.ts';
import { fieldValue } from '../mail/header.ts';
import type { HeaderField } from '../mail/header.ts';
import { HOP_FIELD } from '../mail/hop.ts';
import { importanceOf } from '../mail/precedence.ts';
import type { Importance } from '../mail/precedence.ts';

export interface InternetHeader {
  readonly name: string;
  /** Decoded, on one line. */
  readonly value: string;
}

export interface MessageProperties {
  readonly importance?: Importance;
  /** Exchange sends receipts to the sending mailbox, whatever address the field names. */
  readonly readReceipt?: boolean;
  readonly deliveryReceipt?: boolean;
  /** Absent: the class that Exchange finds itself. */
  readonly itemClass?: string;
  /** Names are unique without regard to case. */
  readonly internetHeaders?: readonly InternetHeader[];
}

/** The gateway's own field that counts its passes; always carried, or a loop through a mailbox would not be seen. */
/** Names that are carried beside it: each takes a place of the mailbox's quota of named properties for good. */
const MAX_CARRIED = 20;
/** Characters of a value. A longer one is left to the MIME: a cut one would take its place. */
const MAX_VALUE = 1_000;
/** Octets of a field that is read at all; an encoded character takes up to a dozen. */
const MAX_FIELD = 16 * 1024;

/** Message class of a read receipt (MS-OXOMSG section 2.2.2); without it, it would be a plain message with attachments. */
const READ_NOTIFICATION = 'REPORT.IPM.Note.IPNRN';

/**
 * @param fields the block as it is sent
 * @param carryHeaders names of fields to carry, 20 at most; those that do not begin with `X-` are passed over
 */
export async function readProperties(
  fields: readonly HeaderField[],
  carryHeaders: readonly string[],
): Promise<MessageProperties> {
  const importance = importanceOf(fields);
  return {
    ...(importance === undefined ? {} : { importance }),
    readReceipt: namesAnybody(fields, 'disposition-notification-to'),
    deliveryReceipt: namesAnybody(fields, 'return-receipt-to'),
    ...(isReadNotification(fields) ? { itemClass: READ_NOTIFICATION } : {}),
    internetHeaders: await internetHeaders(fields, carryHeaders),
  };
}

function namesAnybody(fields: readonly HeaderField[], wanted: string): boolean {
  return fields.some(
    (field) =>
      field.name === wanted &&
      field.raw.length <= MAX_FIELD &&
      mailboxesOf(field).some(({ name, address }) => name !== '' || address !== ''),
  );
}

/** multipart/report with report-type=disposition-notification (RFC 8098 section 3). Other reports are plain messages. */
function isReadNotification(fields: readonly HeaderField[]): boolean {
  const field = fields.find(({ name }) => name === 'content-type');
  if (field === undefined || field.raw.length > MAX_FIELD) return false;
  const value = fieldValue(field);
  const type = /^multipart\/report(?=[\s;]|$)/i.exec(value)?.[0];
  if (type === undefined) return false;
  // Parameter by parameter, so that text within quotes is no parameter.
  const parameter = /[\s;]*([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))/y;
  parameter.lastIndex = type.length;
  for (let found = parameter.exec(value); found; found = parameter.exec(value)) {
    const [, name = '', quoted, token = ''] = found;
    if (name.toLowerCase() === 'report-type') return (quoted ?? token).toLowerCase() === 'disposition-notification';
  }
  return false;
}

async function internetHeaders(
  fields: readonly HeaderField[],
  carryHeaders: readonly string[],
): Promise<InternetHeader[]> {
  const found: InternetHeader[] = [];
  const seen = new Set<string>();
  for (const name of [HOP_FIELD, ...carryHeaders.slice(0, MAX_CARRIED)]) {
    const key = name.toLowerCase();
    if (!/^x-[!-9;-~]+$/.test(key) || seen.has(key)) continue;
    seen.add(key);
    const named = fields.filter((field) => field.name === key);
    // A property has one value. Of the passes none may be forgotten, so they share it; else the first field is meant.
    const wanted = name === HOP_FIELD ? named : named.slice(0, 1);
    if (wanted.some(({ raw }) => raw.length > MAX_FIELD)) continue;
    const value = (await Promise.all(wanted.map(textOf))).join(', ');
    if (value !== '' && value.length <= MAX_VALUE) found.push({ name, value });
  }
  return found;
}

/** Encoded words decoded (RFC 2047); no line end in one of them may begin another field where Exchange writes it out. */
async function textOf(field: HeaderField): Promise<string> {
  // Read as a Subject, which is the plain text that any other field of text is.
  const { subject = '' } = await parseHeader([{ name: 'subject', raw: field.raw }]);
  // \p{Cs}: lone surrogates, which XML cannot carry any more than control characters.
  return subject.replace(/[\p{Cc}\p{Cs}\u2028\u2029\ufffe\uffff]+/gu, ' ').trim();
}
