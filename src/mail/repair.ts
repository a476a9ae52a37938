/**
 * What the top header of a message lacks is added, and what Exchange or a reader would stumble over is mended: Received
 * and our own hop always; Date, Message-ID, From, MIME-Version where they are missing (RFC 5322 section 3.6, RFC 5321
 * section 4.4); 8-bit text and endless lines (ascii.ts); an undeclared charset (charset.ts). Marks of the inside world go:
 * they would be wrong after Exchange has rebuilt the message. Fields without fault keep their octets. Pure; never fails.
 */
import type { ParsedHeader } from './addresses.ts';
import { isSendable } from './address.ts';
import { asciiField, titleOf } from './ascii.ts';
import type { Charset } from './charset.ts';
import { declareCharset } from './charset.ts';
import type { Origin, ReversePath } from './envelope.ts';
import { fieldValue, headerField } from './header.ts';
import type { HeaderField } from './header.ts';
import { hopField } from './hop.ts';

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
  /** Of a body with 8-bit octets that the header does not declare. */
  readonly charset?: Charset;
}

export interface Repaired {
  readonly fields: readonly HeaderField[];
  /** With its angle brackets. */
  readonly messageId: string;
  /** In words; Received and our own hop are not named. */
  readonly repairs: readonly string[];
}

/** Signatures over octets that Exchange will not keep, and what only Exchange itself may say. */
const INSIDE =
  /^(?:dkim-signature|arc-(?:seal|message-signature|authentication-results)|x-ms-exchange-(?:organization|forest)-.+)$/;

export function repairHeader(header: readonly HeaderField[], parsed: ParsedHeader, context: RepairContext): Repaired {
  const repairs: string[] = [];
  const { hostname, spoolId, reversePath, defaultFrom, now } = context;
  // Left there by mbox tools: no field, and no server knows what to make of it.
  const isMboxLine = ({ name, raw }: HeaderField, index: number): boolean =>
    index === 0 && name === '' && raw.toString('latin1', 0, 5) === 'From ';
  let fields = without(header, isMboxLine, () => repairs.push('removed an mbox From line'));
  fields = without(
    fields,
    ({ name }) => INSIDE.test(name),
    (gone) => repairs.push(`removed ${titles(gone)}`),
  );

  // It cannot be folded, and has to fit into a line.
  const isUsable = parsed.messageId !== undefined && /^[!-~]{1,900}$/.test(parsed.messageId);
  let messageId = isUsable ? parsed.messageId : undefined;
  const ids = fields.filter(({ name }) => name === 'message-id');
  const kept = ids.find((field) => messageId !== undefined && fieldValue(field).includes(messageId.slice(1, -1)));
  fields = fields.filter((field) => field.name !== 'message-id' || field === kept);
  if (kept !== undefined && messageId !== undefined && fieldValue(kept) !== messageId) {
    // As every reader finds it: the message will be looked for by it.
    const plain = headerField(titleOf(kept), messageId);
    fields = fields.map((field) => (field === kept ? plain : field));
    repairs.push('wrote Message-ID in brackets');
  }
  if (kept !== undefined && ids.length > 1) repairs.push('removed a second Message-ID');

  const mended: HeaderField[] = [];
  fields = fields.map((field) => {
    const ascii = asciiField(field);
    if (ascii !== field) mended.push(field);
    return ascii;
  });
  if (mended.length > 0) repairs.push(`encoded or folded ${titles(mended)}`);

  const has = (name: string): boolean => fields.some((field) => field.name === name);
  const added: HeaderField[] = [];
  const add = (title: string, value: string, how = `added ${title}`): void => {
    added.push(headerField(title, value));
    repairs.push(how);
  };
  if (!has('date')) add('Date', rfc5322Date(now));
  if (!has('from')) add('From', isSendable(reversePath) ? reversePath : defaultFrom);
  if (messageId === undefined) {
    messageId = `<${spoolId}@${hostname}>`;
    add('Message-ID', messageId, ids.length > 0 ? 'replaced an unusable Message-ID' : 'added Message-ID');
  }
  if (context.charset !== undefined) {
    fields = declareCharset(fields, context.charset);
    repairs.push(`declared the body as 8-bit ${context.charset}`);
  }
  if (!has('mime-version') && fields.some(({ name }) => name.startsWith('content-'))) add('MIME-Version', '1.0');
  const isAutomatic = reversePath === '' || fields.some(isAutoSubmitted);
  if (isAutomatic && !has('x-auto-response-suppress')) add('X-Auto-Response-Suppress', 'All');
  return { fields: [received(context), hopField(hostname), ...fields, ...added], messageId, repairs };
}

/** RFC 3834 section 5. */
function isAutoSubmitted(field: HeaderField): boolean {
  return field.name === 'auto-submitted' && !/^no(?![\w-])/i.test(fieldValue(field));
}

function without(
  fields: readonly HeaderField[],
  goes: (field: HeaderField, index: number) => boolean,
  tell: (gone: readonly HeaderField[]) => void,
): readonly HeaderField[] {
  const gone = new Set(fields.filter(goes));
  if (gone.size === 0) return fields;
  tell([...gone]);
  return fields.filter((field) => !gone.has(field));
}

/** Each once; a client may have sent very many, with very long names. */
function titles(fields: readonly HeaderField[]): string {
  const all = [...new Set(fields.map(titleOf))];
  const shown = all.slice(0, 10).map((title) => (title.length > 60 ? `${title.slice(0, 60)}...` : title));
  return `${shown.join(', ')}${all.length > shown.length ? ` and ${all.length - shown.length} more` : ''}`;
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
