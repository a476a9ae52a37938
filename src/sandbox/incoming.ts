/**
 * Mail that comes to the sandbox from outside, read as Exchange reads it on arrival: whom it names, what class it has, which
 * fields it came with. Never fails: what cannot be read is empty.
 */
import { parseHeader } from '../mail/addresses.ts';
import type { Mailbox } from '../mail/addresses.ts';
import { fieldValue, HeaderPeeler, joinHeader, splitHeader } from '../mail/header.ts';
import type { Broken, NewItem } from './store.ts';

export interface IncomingMail {
  readonly mime: Buffer;
  /** Well-known name (SentItems) or path from the root; what is missing of it is made. Default: Inbox. */
  readonly folder?: string;
  /** Default: by its Content-Type. */
  readonly itemClass?: string;
  /** PidTagTransportMessageHeaders. Default: the fields of the MIME; '': none are kept. */
  readonly header?: string;
  readonly isRead?: boolean;
  /** Epoch milliseconds, default now. */
  readonly receivedAt?: number;
  readonly broken?: Broken;
  /** Of a copy: that of its original. Default: a new one. */
  readonly searchKey?: string;
}

/** Octets of a header block. */
const HEADER_LIMIT = 16 * 1024 * 1024;
/** A server that makes MIME of its properties leaves these out; they are in the transport header only. */
const NOT_IN_MIME: ReadonlySet<string> = new Set(['received', 'return-path', 'auto-submitted']);

/** @param now epoch milliseconds */
export async function readIncoming(mail: IncomingMail, now: number): Promise<NewItem> {
  const peeler = new HeaderPeeler(HEADER_LIMIT);
  const block = (peeler.push(mail.mime) ?? peeler.end()).header;
  const fields = splitHeader(block);
  const parsed = await parseHeader(fields);
  const kept = fields.filter(({ name }) => !NOT_IN_MIME.has(name));
  const contentType = fields.find(({ name }) => name === 'content-type');
  const header = mail.header ?? block.toString('utf8');
  return {
    messageId: parsed.messageId ?? '',
    subject: parsed.subject ?? '',
    from: parsed.from[0]?.address ?? '',
    sender: parsed.sender[0]?.address ?? '',
    to: addresses(parsed.to),
    cc: addresses(parsed.cc),
    bcc: [],
    mime:
      kept.length === fields.length ? mail.mime : Buffer.concat([joinHeader(kept), mail.mime.subarray(block.length)]),
    ...(header === '' ? {} : { header }),
    extended: [],
    itemClass: mail.itemClass ?? classOf(contentType === undefined ? '' : fieldValue(contentType)),
    isRead: mail.isRead ?? false,
    receivedAt: mail.receivedAt ?? now,
    ...(mail.broken === undefined ? {} : { broken: mail.broken }),
    ...(mail.searchKey === undefined ? {} : { searchKey: mail.searchKey }),
  };
}

/** MS-OXCMAIL section 2.2.3.1: the class of a message by its outermost Content-Type. */
function classOf(contentType: string): string {
  const value = contentType.toLowerCase();
  if (value.startsWith('multipart/signed')) return 'IPM.Note.SMIME.MultipartSigned';
  if (/^application\/(x-)?pkcs7-mime/.test(value)) return 'IPM.Note.SMIME';
  if (/^multipart\/report.*report-type="?delivery-status/s.test(value)) return 'REPORT.IPM.Note.NDR';
  if (/^multipart\/report.*report-type="?disposition-notification/s.test(value)) return 'REPORT.IPM.Note.IPNRN';
  if (/^text\/calendar.*method="?request/s.test(value)) return 'IPM.Schedule.Meeting.Request';
  return 'IPM.Note';
}

function addresses(list: readonly Mailbox[]): string[] {
  return list.map(({ address, name }) => (address === '' ? name : address));
}
