/**
 * The header of a mail as it is handed over to a legacy system. A server writes MIME anew from what it keeps: what the mail
 * came with and lost on that way is brought back where programs need it against loops, blind recipients that it shows to
 * the mailbox's owner are cut out, and what every message has (RFC 5322 section 3.6) is added where it is missing. Pure;
 * never fails.
 */
import { parseHeader } from './addresses.ts';
import { fieldValue, headerField } from './header.ts';
import type { HeaderField } from './header.ts';
import { HOP_FIELD, hopField } from './hop.ts';
import type { ReceivedMail } from './received.ts';
import { rfc5322Date } from './repair.ts';

export interface PickupHeaderContext {
  /** Of this gateway. */
  readonly hostname: string;
  readonly spoolId: string;
  readonly transport: 'ews' | 'graph';
  /** The mailbox it was picked up from. */
  readonly mailbox: string;
  /** Epoch milliseconds. */
  readonly now: number;
}

export interface PickupHeader {
  readonly fields: readonly HeaderField[];
  /** With its angle brackets. */
  readonly messageId: string;
  /** In words; Received and our own hop are not named. */
  readonly repairs: readonly string[];
}

/** What programs tell each other by, so that none answers another (RFC 3834, RFC 2919, MS-OXCMAIL). */
const CARRIED: ReadonlySet<string> = new Set([
  'auto-submitted',
  'precedence',
  'list-id',
  'x-auto-response-suppress',
  HOP_FIELD.toLowerCase(),
]);
const BLIND: ReadonlySet<string> = new Set(['bcc', 'resent-bcc']);

/** @param made the header of the MIME that the server made */
export async function pickupHeader(
  made: readonly HeaderField[],
  mail: ReceivedMail,
  { hostname, spoolId, transport, mailbox, now }: PickupHeaderContext,
): Promise<PickupHeader> {
  const repairs: string[] = [];
  const kept = made.filter(({ name }) => !BLIND.has(name));
  if (kept.length < made.length) repairs.push('removed Bcc');
  const has = (wanted: string): boolean => kept.some(({ name }) => name === wanted);
  const carried = mail.header.filter(({ name }) => CARRIED.has(name) && !has(name)).map(anew);
  const { messageId: own } = await parseHeader(kept.filter(({ name }) => name === 'message-id'));
  const messageId = own ?? usable(mail.messageId) ?? `<${spoolId}@${hostname}>`;
  const added = [
    ...(has('date') ? [] : [headerField('Date', rfc5322Date(mail.receivedAt))]),
    ...(own === undefined ? [headerField('Message-ID', messageId)] : []),
  ];
  if (added.length > 0) repairs.push(`added ${added.map(({ raw }) => raw.toString().split(':')[0]).join(', ')}`);
  const protocol = transport === 'ews' ? 'EWS' : 'Graph';
  const from = /^[!-~]+$/.test(mailbox) ? `from mailbox <${mailbox}> ` : '';
  const trace = headerField('Received', `${from}by ${hostname} with ${protocol} id ${spoolId}; ${rfc5322Date(now)}`);
  const fields = own === undefined ? kept.filter(({ name }) => name !== 'message-id') : kept;
  return { fields: [trace, hopField(hostname), ...carried, ...fields, ...added], messageId, repairs };
}

/** A server may keep a field with other line ends than CRLF, or none: as it is, it could spoil what follows. */
function anew(field: HeaderField): HeaderField {
  const [written = ''] = field.raw.toString('latin1').split(':', 1);
  // oxlint-disable-next-line no-control-regex -- those are the ones
  const value = fieldValue(field).replace(/[\x00-\x08\x0a-\x1f\x7f]+/g, ' ');
  return headerField(written.toLowerCase() === field.name ? written : field.name, value);
}

function usable(messageId: string | undefined): string | undefined {
  return messageId !== undefined && /^<[!-~]{1,900}>$/.test(messageId) ? messageId : undefined;
}
