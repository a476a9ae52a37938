/**
 * The addresses and ids a header block names. An address field is read by a parser (mime.ts), which costs a few
 * microseconds, and so are encoded words (RFC 2047).
 * Never fails: what cannot be read has an empty address. Domains stay as written (`xn--` is not decoded).
 */
import { isSendable } from './address.ts';
import { fieldValue } from './header.ts';
import type { HeaderField } from './header.ts';
import { decodeWords, readAddressList } from './mime.ts';

export interface Mailbox {
  /** Display name, decoded; '' if there is none. */
  readonly name: string;
  /**
   * As written; '' if it cannot be read. May lack a domain after a display name: legacy software writes `Fax <fax>`. All
   * alone, `fax` and `<fax>` are display names.
   */
  readonly address: string;
}

export interface ParsedHeader {
  readonly from: readonly Mailbox[];
  readonly sender: readonly Mailbox[];
  /** Of Resent-From and Resent-Sender, of every block of them (RFC 5322 section 3.6.6). */
  readonly resent: readonly Mailbox[];
  readonly replyTo: readonly Mailbox[];
  readonly to: readonly Mailbox[];
  readonly cc: readonly Mailbox[];
  readonly bcc: readonly Mailbox[];
  /** With its angle brackets. */
  readonly messageId?: string;
  /** Decoded. */
  readonly subject?: string;
}

/** Reads the fields it knows, all occurrences in order; groups are flattened. Pass only the fields needed, to save the rest. */
export async function parseHeader(fields: readonly HeaderField[]): Promise<ParsedHeader> {
  const found = {
    from: [] as Mailbox[],
    sender: [] as Mailbox[],
    resent: [] as Mailbox[],
    replyTo: [] as Mailbox[],
    to: [] as Mailbox[],
    cc: [] as Mailbox[],
    bcc: [] as Mailbox[],
  };
  let messageId: string | undefined;
  let subject: HeaderField | undefined;
  for (const field of fields) {
    switch (field.name) {
      case 'from':
      case 'sender':
      case 'to':
      case 'cc':
      case 'bcc':
        append(found[field.name], mailboxesOf(field));
        break;
      case 'resent-from':
      case 'resent-sender':
        append(found.resent, mailboxesOf(field));
        break;
      case 'reply-to':
        append(found.replyTo, mailboxesOf(field));
        break;
      case 'message-id':
        messageId ??= readMessageId(fieldValue(field));
        break;
      case 'subject':
        subject ??= field;
        break;
      default:
    }
  }
  return {
    ...found,
    ...(messageId !== undefined && { messageId }),
    ...(subject !== undefined && { subject: await readText(subject) }),
  };
}

/** One by one: as arguments of one call, more than some 100,000 overflow the stack. */
function append(list: Mailbox[], more: readonly Mailbox[]): void {
  for (const mailbox of more) list.push(mailbox);
}

/** What was read once: a field is asked for by each step of a message's way. */
const READ = new WeakMap<HeaderField, readonly Mailbox[]>();

/** Within it no part of an address can be too long. */
const SHORT = 64;
/** What most mail has: one address, or plain words and one address in brackets. Read without the parser, with the same result. */
const USUAL =
  /^(?:([A-Za-z0-9]+(?: [A-Za-z0-9]+)*) (?=<))?(<?)([A-Za-z0-9]+(?:[._+-][A-Za-z0-9]+)*@[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*)(>?)$/;

/** What one address field names, in order; groups are flattened. */
export function mailboxesOf(field: HeaderField): readonly Mailbox[] {
  const known = READ.get(field);
  if (known !== undefined) return known;
  const mailboxes = read(fieldValue(field));
  READ.set(field, mailboxes);
  return mailboxes;
}

function read(value: string): readonly Mailbox[] {
  const [, name = '', opening, address = '', closing] = USUAL.exec(value) ?? [];
  if (address !== '' && address.length <= SHORT && (opening === '<') === (closing === '>')) return [{ name, address }];
  return readAddressList(value).map(({ name, address }) => ({
    name,
    address: isReadable(address ?? '') ? (address ?? '') : '',
  }));
}

/** A mailbox, or a bare local part. Unterminated quotes make the parser produce what is neither. */
function isReadable(address: string): boolean {
  return isSendable(address) || /^[^\s\p{C}<>"\\(),:;@[\]]+$/u.test(address);
}

function readMessageId(value: string): string | undefined {
  const inBrackets = /<[^<>\s\p{C}]+>/u.exec(value);
  if (inBrackets) return inBrackets[0];
  return /^[^<>\s\p{C}]+$/u.test(value) ? `<${value}>` : undefined;
}

async function readText(field: HeaderField): Promise<string> {
  const value = fieldValue(field);
  if (!value.includes('=?')) return value;
  return await decodeWords(value);
}
