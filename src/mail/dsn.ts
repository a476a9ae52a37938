/**
 * A notice to a sender that a message was not delivered, is late, or was handed over: a multipart/report (RFC 3462) of a
 * text, a message/delivery-status (RFC 3464) and the message or its header. Marked so that no program answers it (RFC
 * 3834). What clients and servers wrote is made plain before it stands in it: it can add no field and no part. Pure; never
 * fails. The message itself is never held: its octets go between `preamble` and `epilogue`.
 */
import { encodedWords, renderMailbox } from './display.ts';
import type { Recipient } from './envelope.ts';
import { fieldValue, headerField, joinHeader } from './header.ts';
import type { HeaderField } from './header.ts';
import { hopField } from './hop.ts';
import { rfc5322Date } from './repair.ts';
import type { EnhancedCode } from './status.ts';
import { unreachable } from './status.ts';

export interface DsnFacts {
  /** relayed: handed over to what tells nobody what becomes of it (RFC 3464 section 2.3.3). */
  readonly action: 'failed' | 'delayed' | 'relayed';
  /** Domain name of this gateway. */
  readonly hostname: string;
  /** Of the notice, sortable text that nothing older can hold: its Message-ID and its boundary are made of it. */
  readonly id: string;
  /** Epoch milliseconds. */
  readonly now: number;
  /** The mailbox that sends the notice. */
  readonly mailbox: string;
  readonly to: string;
  /** Whom it is about, at least one. */
  readonly recipients: readonly Recipient[];
  readonly code: EnhancedCode;
  /** Sentence for the sender. */
  readonly text: string;
  /** Stable word of what the server said last. */
  readonly cause: string;
  readonly original: {
    /** With its angle brackets. */
    readonly messageId: string;
    /** Decoded. */
    readonly subject?: string;
    readonly header: readonly HeaderField[];
    /** Epoch milliseconds. */
    readonly arrivedAt: number;
    readonly envelopeId?: string;
  };
  /** Of a late message: when it is given up, epoch milliseconds; absent: never. */
  readonly giveUpAt?: number;
  /** It is about mail that was picked up from a mailbox for another system. */
  readonly handOver?: NoticeWords;
  /** headers: the header block comes with the notice, and nothing goes between preamble and epilogue. */
  readonly returned: 'headers' | 'message';
}

/**
 * The operator's own words for a notice, instead of ours: {subject} and {date} of the message, {to} whom it is about,
 * {reason} with its code, {status} in words. What stands in their place is made plain; what else is in braces stays.
 */
export interface NoticeWords {
  readonly subject?: string;
  /** Lines of any length, of which each is a paragraph. */
  readonly text?: string;
}

export interface Dsn {
  /** With its angle brackets. */
  readonly messageId: string;
  /** With the empty line that ends it. */
  readonly header: Buffer;
  readonly preamble: Buffer;
  /** After the message's octets. */
  readonly epilogue: Buffer;
}

/** Octets of a header block that are given back; what comes after is left out, field by field. */
const RETURNED_HEADER = 64 * 1024;
/** Characters of a text from outside: without a blank, they still fit into a line of 998 octets. */
const LONGEST = 300;
/** Characters of an address in the form that Unicode takes in ASCII. */
const LONGEST_ADDRESS = 900;
/** Message-IDs in References, the latest. */
const REFERENCES = 10;
const LINE = 76;
const QUESTION_MARK = 0x3f;

const STATUS = { failed: 'Not delivered', delayed: 'Delayed', relayed: 'Handed over' } as const;

export function renderDsn(facts: DsnFacts): Dsn {
  const { hostname, id, now, mailbox, to, original, returned } = facts;
  const boundary = `=_${id}.dsn`;
  const messageId = `<${id}@${hostname}>`;
  const returnedHeader = returned === 'headers' ? headersOf(original.header) : Buffer.alloc(0);
  const text = toText(facts.handOver?.text === undefined ? explanation(facts) : ownText(facts.handOver.text, facts));
  const is8Bit = (octets: Buffer): boolean => octets.some((octet) => octet > 0x7f);
  const encoding = (part: Buffer): string => (is8Bit(part) ? '8bit' : '7bit');
  const own = facts.handOver?.subject;
  const subject = own === undefined ? filled('{status}: {subject}', facts) : plain(filled(own, facts));
  const header = joinHeader([
    hopField(hostname),
    headerField('From', renderMailbox({ name: 'Mail Delivery System', address: mailbox })),
    headerField('To', to),
    headerField('Subject', words(subject)),
    headerField('Date', rfc5322Date(now)),
    headerField('Message-ID', messageId),
    headerField('In-Reply-To', original.messageId),
    headerField('References', references(original.header, original.messageId)),
    headerField('Auto-Submitted', 'auto-replied'),
    headerField('X-Auto-Response-Suppress', 'All'),
    headerField('MIME-Version', '1.0'),
    headerField('Content-Type', `multipart/report; report-type=delivery-status; boundary="${boundary}"`),
    headerField(
      'Content-Transfer-Encoding',
      returned === 'message' || is8Bit(text) || is8Bit(returnedHeader) ? '8bit' : '7bit',
    ),
  ]);
  const part = (type: string, encoded: string, content: Buffer): Buffer[] => [
    Buffer.from(`--${boundary}\r\nContent-Type: ${type}\r\nContent-Transfer-Encoding: ${encoded}\r\n\r\n`),
    content,
    Buffer.from('\r\n'),
  ];
  const [returnedHead = Buffer.alloc(0), ...returnedRest] =
    returned === 'headers'
      ? part('text/rfc822-headers', encoding(returnedHeader), returnedHeader)
      : part('message/rfc822', '8bit', returnedHeader);
  return {
    messageId,
    header,
    preamble: Buffer.concat([
      ...part('text/plain; charset=utf-8', encoding(text), text),
      ...part('message/delivery-status', '7bit', deliveryStatus(facts)),
      returnedHead,
      ...(returned === 'headers' ? returnedRest : []),
    ]),
    epilogue: Buffer.from(`${returned === 'headers' ? '' : '\r\n'}--${boundary}--\r\n`),
  };
}

function whatHappened({ action, giveUpAt }: DsnFacts): string {
  switch (action) {
    case 'failed':
      return 'Your message could not be delivered to the addresses below. It is not tried again.';
    case 'delayed':
      return `Your message has not been delivered to the addresses below yet. It is tried again${
        giveUpAt === undefined ? '' : ` until ${rfc5322Date(giveUpAt)}`
      }; you need not send it again.`;
    case 'relayed':
      return 'Your message was handed over to the system that serves the addresses below. What becomes of it there, only that system can tell.';
    default:
      return unreachable(action);
  }
}

function explanation(facts: DsnFacts): string[] {
  const { action, hostname, recipients, original, text, code, returned } = facts;
  const attached =
    returned === 'headers' ? 'and the header of your message are attached.' : 'and your message are attached.';
  return [
    `This is the mail gateway ${hostname}.`,
    '',
    ...wrapped(whatHappened(facts)),
    '',
    ...recipients.map(({ address }) => `  ${plain(address)}`),
    '',
    ...wrapped(`${action === 'relayed' ? 'Answer' : 'Reason'}: ${plain(text)} (${code})`),
    '',
    ...(original.subject === undefined ? [] : [`Subject:    ${plain(original.subject)}`]),
    `Message-ID: ${original.messageId}`,
    `Received:   ${rfc5322Date(original.arrivedAt)}`,
    '',
    ...wrapped(`A report for programs ${attached}`),
  ];
}

function toText(lines: readonly string[]): Buffer {
  return Buffer.from(lines.map((line) => `${line}\r\n`).join(''));
}

function ownText(template: string, facts: DsnFacts): string[] {
  return template
    .trimEnd()
    .split(/\r?\n/)
    .flatMap((line) => wrapped(filled(line, facts).replace(/[\p{C}\s]+/gu, ' ')))
    .flatMap((line) => line.match(new RegExp(`.{1,${LONGEST}}`, 'gu')) ?? ['']);
}

/** In one go, so that no text from outside is taken for a placeholder. */
function filled(template: string, facts: DsnFacts): string {
  const { action, recipients, original, text, code } = facts;
  const values: Readonly<Record<string, string>> = {
    subject: plain(original.subject ?? '') || '(no subject)',
    to: recipients.map(({ address }) => plain(address)).join(', '),
    date: rfc5322Date(original.arrivedAt),
    reason: `${plain(text)} (${code})`,
    status: STATUS[action],
  };
  return template
    .toWellFormed()
    .replace(/\{([a-z]+)\}/g, (all, name: string) => (Object.hasOwn(values, name) ? (values[name] ?? all) : all));
}

/** RFC 3464 section 2. */
function deliveryStatus(facts: DsnFacts): Buffer {
  const { action, hostname, recipients, original, text, code, cause, now, giveUpAt } = facts;
  const perMessage = [
    headerField('Reporting-MTA', `dns; ${hostname}`),
    ...(original.envelopeId === undefined ? [] : [headerField('Original-Envelope-Id', ascii(original.envelopeId))]),
    headerField('Arrival-Date', rfc5322Date(original.arrivedAt)),
  ];
  const perRecipient = recipients.map(({ address, originalRecipient }) => [
    ...(originalRecipient === undefined ? [] : [headerField('Original-Recipient', originally(originalRecipient))]),
    headerField('Final-Recipient', typed(address)),
    headerField('Action', action),
    headerField('Status', code),
    headerField(
      'Diagnostic-Code',
      `${diagnostic(ascii(cause), facts.handOver === undefined ? 'x-exchange' : 'x-handover')} (${ascii(text)})`,
    ),
    headerField('Last-Attempt-Date', rfc5322Date(now)),
    ...(action === 'delayed' && giveUpAt !== undefined ? [headerField('Will-Retry-Until', rfc5322Date(giveUpAt))] : []),
  ]);
  // The empty line after each group; the last one's is that of the part.
  return Buffer.concat([perMessage, ...perRecipient].map((fields) => joinHeader(fields))).subarray(0, -2);
}

/** With its type (RFC 3464 section 2.3.6): what an SMTP server said bears its own. */
function diagnostic(cause: string, type: string): string {
  return cause.startsWith('SMTP ') ? `smtp; ${cause.slice(5)}` : `${type}; ${cause}`;
}

/** Address and its type; one beyond ASCII as RFC 6533 section 3 writes it where only ASCII may stand. */
function typed(address: string): string {
  return isAscii(address) ? `rfc822; ${ascii(address)}` : `utf-8; ${unitext(address)}`;
}

function originally(originalRecipient: string): string {
  const [, type = 'rfc822', address = originalRecipient] = /^([^;\s]+);\s*(.*)$/su.exec(originalRecipient) ?? [];
  return isAscii(address) ? `${ascii(type)};${ascii(address)}` : `utf-8;${unitext(address)}`;
}

function unitext(address: string): string {
  const written = plain(address).replace(/[^!-~]|[\\+=]/gu, (character) => {
    return `\\x{${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(2, '0')}}`;
  });
  return written.length > LONGEST_ADDRESS ? ascii(address) : written;
}

function isAscii(text: string): boolean {
  return /^[ -~\t]*$/.test(text);
}

function ascii(text: string): string {
  return plain(text).replace(/[^ -~]/gu, '?');
}

/** On one line, without what a reader does not see. */
function plain(text: string): string {
  const line = text
    .toWellFormed()
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim();
  return line.length > LONGEST ? `${line.slice(0, LONGEST).toWellFormed()}...` : line;
}

/** For a field: encoded words where it is not ASCII or would pass for one. */
function words(text: string): string {
  return isAscii(text) && !text.includes('=?') && !/\S{70}/.test(text) ? text : encodedWords(text);
}

function references(header: readonly HeaderField[], messageId: string): string {
  const earlier = header
    .filter(({ name }) => name === 'references')
    .flatMap((field) => fieldValue(field).match(/<[!-;=?-~]{1,250}>/g) ?? [])
    .filter((one) => one !== messageId);
  return [...earlier.slice(-REFERENCES), messageId].join(' ');
}

function headersOf(header: readonly HeaderField[]): Buffer {
  const kept: HeaderField[] = [];
  let octets = 0;
  for (const field of header) {
    octets += field.raw.length;
    if (octets > RETURNED_HEADER) break;
    kept.push(field);
  }
  // None of the octets that no part of a message may have (RFC 2045 section 2.7).
  return Buffer.from(
    joinHeader(kept)
      .subarray(0, -2)
      .map((octet) => (isControl(octet) ? QUESTION_MARK : octet)),
  );
}

function isControl(octet: number): boolean {
  return octet < 0x20 && octet !== 0x09 && octet !== 0x0a && octet !== 0x0d;
}

/** At blanks, to lines of 76 characters where there are blanks. */
function wrapped(text: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > LINE) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
