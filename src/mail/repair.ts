/**
 * What the top header of a message lacks is added: Received always, Date, Message-ID and From where they are missing
 * (RFC 5322 section 3.6, RFC 5321 section 4.4). Nothing else is touched: fields that are there keep their octets. Pure;
 * never fails.
 */
import type { ParsedHeader } from './addresses.ts';
import { isSendable } from './addresses.ts';
import type { Origin, ReversePath } from './envelope.ts';
import type { HeaderField } from './header.ts';
import { headerField } from './header.ts';

export interface RepairContext {
  /** Epoch milliseconds. */
  readonly now: number;
  /** Of this gateway. */
  readonly hostname: string;
  readonly spoolId: string;
  readonly reversePath: ReversePath;
  /** From of a message that names no sender at all. */
  readonly defaultFrom: string;
  readonly origin: Origin;
  /** `ESMTP`, `ESMTPS`, `ESMTPA`, `ESMTPSA`, `SMTP` or their UTF8 forms (RFC 3848, RFC 6531). */
  readonly protocol: string;
}

export interface Repaired {
  readonly fields: readonly HeaderField[];
  /** With its angle brackets. */
  readonly messageId: string;
  /** In words; the Received field is not named. */
  readonly repairs: readonly string[];
}

export function repairHeader(header: readonly HeaderField[], parsed: ParsedHeader, context: RepairContext): Repaired {
  const repairs: string[] = [];
  // Left there by mbox tools: no field, and no server knows what to make of it.
  const fields = header.filter(
    (field, index) => !(index === 0 && field.name === '' && field.raw.toString('latin1', 0, 5) === 'From '),
  );
  if (fields.length < header.length) repairs.push('removed an mbox From line');
  const has = (name: string): boolean => fields.some((field) => field.name === name);
  const added: HeaderField[] = [];
  const { hostname, spoolId, reversePath, defaultFrom, now } = context;

  if (!has('date')) {
    added.push(headerField('Date', rfc5322Date(now)));
    repairs.push('added Date');
  }
  if (!has('from')) {
    const from = isSendable(reversePath) ? reversePath : defaultFrom;
    added.push(headerField('From', from));
    repairs.push('added From');
  }
  let { messageId } = parsed;
  if (messageId === undefined) {
    messageId = `<${spoolId}@${hostname}>`;
    const unusable = has('message-id');
    added.push(headerField('Message-ID', messageId));
    repairs.push(unusable ? 'replaced an unusable Message-ID' : 'added Message-ID');
  }
  const kept = parsed.messageId === undefined ? fields.filter((field) => field.name !== 'message-id') : fields;
  return { fields: [received(context), ...kept, ...added], messageId, repairs };
}

/** RFC 5321 section 4.4. Names no recipient: one of several would see the others, a blind one among them. */
function received({ origin, hostname, protocol, spoolId, now }: RepairContext): HeaderField {
  const helo = heloDomain(origin.helo ?? '');
  const peer = origin.peer.includes(':') ? `IPv6:${origin.peer}` : origin.peer;
  const from = `from ${helo === '' ? 'unknown' : helo} ([${peer}])`;
  const tls = origin.tls === undefined ? '' : ` (${origin.tls.replace(/[^\w. -]/g, '')})`;
  return headerField('Received', `${from} by ${hostname} with ${protocol}${tls} id ${spoolId}; ${rfc5322Date(now)}`);
}

/** A domain or an address literal, whatever the client called itself; brackets and colons only where they make a literal. */
function heloDomain(helo: string): string {
  if (/^\[[A-Za-z0-9.:]{1,253}\]$/.test(helo)) return helo;
  return helo.replace(/[^A-Za-z0-9._-]/g, '').slice(0, 255);
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** RFC 5322 section 3.3, in UTC. */
export function rfc5322Date(time: number): string {
  const date = new Date(time);
  const two = (number: number): string => String(number).padStart(2, '0');
  const clock = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
  return `${DAYS[date.getUTCDay()]}, ${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()} ${clock} +0000`;
}
