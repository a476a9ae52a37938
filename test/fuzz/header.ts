/**
 * The header block on its way from DATA to Exchange. Whatever a client sends: who receives it is who the envelope names,
 * for every reader, and nobody sees a blind recipient.
 */
import * as fc from 'fast-check';
import { simpleParser } from 'mailparser';
import type { AddressObject } from 'mailparser';
import addressparser from 'nodemailer/lib/addressparser';
import { canonicalAddress } from '../../src/mail/address.ts';
import { joinHeader, splitHeader } from '../../src/mail/header.ts';
import type { Addressed } from '../../src/mail/recipients.ts';
import { applyEnvelope } from '../../src/mail/recipients.ts';
import { createPolicy } from '../../src/mail/policy.ts';
import type { Sending } from '../../src/mail/senders.ts';
import { EwsFault, readSubmission } from '../../src/sandbox/submission.ts';
import type { XmlElement } from '../../src/sandbox/xml.ts';
import { receive } from '../../src/smtp/receive.ts';
import { Refused } from '../../src/smtp/reply.ts';
import { MemoryInject } from '../smtp/memory-inject.ts';
import { fieldsOf, nakedAddresses, strictAddresses } from './readers.ts';
import { edited, edits, mustHold, target } from './target.ts';
import type { Target } from './target.ts';

const PEOPLE = ['a@x.test', 'B@x.test', 'c@y.test', '"d e"@x.test', 'fax=1@gw.test', 'ü@x.test', 'i@bücher.test'];
const STRANGER = 'stranger@evil.test';
/** Who may stand in From and Sender of a listener that limits them. */
const SENDERS = ['a@x.test', 'fax@x.test', 'm@x.test'];

// --- what clients send ------------------------------------------------------------------------------------------------

const address = fc.constantFrom(
  ...[...PEOPLE, STRANGER, 'a@X.TEST', 'i@xn--bcher-kva.test', 'fax', 'c@y.test.', 'a@[127.0.0.1]', '+39 02@x.test'],
  ...[
    `@evil.test:a@x.test`,
    `${STRANGER}@x.test`,
    `"${STRANGER}"@x.test`,
    'a @ x.test',
    'a(x)@x.test',
    'b.@x.test',
    '',
  ],
);
const name = fc.constantFrom(
  ...[
    'Ann',
    '"A, B"',
    'A, B',
    `"${STRANGER}"`,
    STRANGER,
    `'${STRANGER}'`,
    'Grüß',
    '(x)',
    `(${STRANGER})`,
    'a.b',
    '"\\"x"',
  ],
  ...[
    '=?utf-8?Q?a=40x.test?=',
    '=?utf-8?Q?=3C?=',
    '=?utf-8?B?LCBhQHgudGVzdA==?=',
    '=?x?Q?=00?=',
    '=?utf-8?Q?=0D=0ABcc:_x?=',
  ],
  ...['', '<', ';', 'team:', '"', '\\', '(', `<${STRANGER}>`, `${STRANGER},`],
);
const NOISE = [
  ...[
    '',
    ' ',
    '\t',
    ',',
    ';',
    ':',
    '<',
    '>',
    '"',
    '\\',
    '(',
    ')',
    '@',
    '[',
    ']',
    '=?',
    '?=',
    '.',
    '\r\n ',
    '\n ',
    '\r',
    '\n',
  ],
  ...[
    '\0',
    '\x01',
    '\x0b',
    '\x0c',
    '\x1b',
    '\x7f',
    '\u0085',
    '\u00a0',
    '\u200b',
    '\u202e',
    '\u2028',
    '\uff20',
    '\uff0c',
    '\ufeff',
  ],
  ...['\r\n\r\n', '\nBcc: ', '\rTo: ', `\r\nTo: ${STRANGER}\r\n`, `,${STRANGER}`, '\r\n \r\n ', '\xff'],
];
const noise = fc.constantFrom(...NOISE);
const named = fc.tuple(name, address).map(([shown, at]) => `${shown} <${at}>`);
const mailbox = fc.oneof(
  { weight: 4, arbitrary: address },
  { weight: 4, arbitrary: named },
  { weight: 1, arbitrary: fc.tuple(name, noise, address, noise).map((parts) => parts.join('')) },
  { weight: 1, arbitrary: fc.array(named, { maxLength: 4 }).map((members) => `team: ${members.join(', ')};`) },
);
const value = fc.oneof(
  { weight: 8, arbitrary: fc.array(mailbox, { maxLength: 4 }).map((list) => list.join(', ')) },
  { weight: 3, arbitrary: fc.array(fc.oneof(mailbox, noise), { maxLength: 6 }).map((parts) => parts.join('')) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 30 }) },
  {
    weight: 1,
    arbitrary: fc.tuple(mailbox, fc.constantFrom(70, 900, 1100)).map(([one, size]) => one + 'w'.repeat(size)),
  },
);
const fieldName = fc.constantFrom(
  ...[
    'To',
    'To',
    'Cc',
    'Bcc',
    'From',
    'Sender',
    'Reply-To',
    'Resent-To',
    'Resent-Cc',
    'Resent-Bcc',
    'TO',
    'cc ',
    'To\t',
  ],
  ...[
    'Subject',
    'X-To',
    'Message-ID',
    'Delivered-To',
    'Disposition-Notification-To',
    'Content-Type',
    'Date',
    'Received',
  ],
  ...[
    'X-Original-To',
    'Apparently-To',
    ' To',
    'T\0o',
    'To\u200b',
    'MIME-Version',
    'Importance',
    'DKIM-Signature',
    'From ',
  ],
);
const lineEnd = fc.constantFrom('\r\n', '\r\n', '\r\n', '\n', '\r', '\r\n\t', '\n\n', '\r\r\n', '\r\n ');
const built = fc
  .array(fc.tuple(fieldName, fc.constantFrom(':', ': ', ' :', ':\r\n ', ''), value, lineEnd), { maxLength: 7 })
  .map((lines) => lines.map((parts) => parts.join('')).join(''));
const REAL = [
  'From: "HylaFAX" <a@x.test>\r\nTo: c@y.test, "Dee" <B@x.test>\r\nCc: Team: a@x.test, i@b\u00fccher.test;\r\nBcc: fax=1@gw.test\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n',
  'Received: from pbx ([10.0.0.1])\r\n\tby mx for <a@x.test>; Mon, 23 Nov 2026 09:05:07 +0000\r\nFrom: root (Cron Daemon)\r\nTo: root\r\nSubject: Cron <root@pbx>\r\n\r\n',
  'Message-ID: <1@pbx>\nDate: Mon, 23 Nov 2026 09:05:07 +0000\nFrom: Scan, Room 4 <a@x.test>\nSender: fax@x.test\nTo: undisclosed-recipients:;\nX-Mailer: x\n\n',
  'Return-Path: <a@x.test>\r\nDelivered-To: B@x.test\r\nFrom: =?iso-8859-1?Q?B=FCro?=\r\n <a@x.test>\r\nTo: "d e"@x.test,\r\n  (a comment) <c@y.test>\r\nResent-To: a@x.test\r\nDisposition-Notification-To: <a@x.test>\r\n\r\n',
];
const header = fc.oneof(
  { weight: 3, arbitrary: built },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(...REAL), edits([...NOISE, ...PEOPLE, STRANGER], 4))
      .map(([text, list]) => edited(text, list)),
  },
);

// --- the gateway ------------------------------------------------------------------------------------------------------

export interface Way {
  readonly charset: 'utf8' | 'latin1';
  readonly recipients: readonly string[];
  readonly reversePath: string;
  readonly headerOnly: 'drop' | 'reject' | 'send';
  readonly from: 'keep' | 'rewrite' | 'limited';
  /** Octets a chunk. */
  readonly chunk: number;
}

const way: fc.Arbitrary<Way> = fc.record({
  charset: fc.constantFrom<'utf8' | 'latin1'>('utf8', 'latin1'),
  recipients: fc.uniqueArray(fc.constantFrom(...PEOPLE), { minLength: 1, maxLength: 4 }),
  reversePath: fc.constantFrom('a@x.test', 'a@x.test', ''),
  headerOnly: fc.constantFrom('drop', 'drop', 'drop', 'reject', 'send'),
  from: fc.constantFrom('keep', 'keep', 'limited', 'rewrite'),
  chunk: fc.constantFrom(1_000_000, 1_000_000, 1, 7),
});

const CLIENT = { listener: 'lan', peer: '::1', tls: false };
const POLICY = createPolicy({
  listeners: [{ name: 'lan', auth: 'none', allow: ['::1'], loginFrom: [], senders: SENDERS }],
  users: [],
  clients: [],
  senders: { allow: ['*'] },
  recipients: { allow: ['*'], deny: [] },
});

function* cut(octets: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < octets.length; at += size) yield octets.subarray(at, at + size);
}

/** As the gateway takes it in and hands it to Exchange; undefined: refused. */
export async function passed(
  octets: Buffer,
  { recipients, reversePath, headerOnly, from, chunk }: Omit<Way, 'charset'>,
): Promise<(Addressed & { readonly recipients: readonly string[] }) | undefined> {
  const inject = new MemoryInject();
  const sending: Sending = from === 'rewrite' ? { mailbox: 'm@x.test', from } : { mailbox: 'm@x.test', from: 'keep' };
  const stream = (async function* (): AsyncGenerator<Buffer> {
    yield* cut(octets, chunk);
  })();
  try {
    await receive(stream, {
      inject,
      envelope: { reversePath, recipients: recipients.map((one) => ({ address: one })) },
      origin: { source: 'smtp', name: 'lan', peer: '::1' },
      protocol: 'ESMTP',
      hostname: 'gw.test',
      defaultFrom: 'm@x.test',
      maxMessageSize: 1_000_000,
      maxHeaderSize: 262_144,
      maxHops: 50,
      maxRecipients: 100,
      lenient: true,
      completeDomain: 'x.test',
      headerOnly,
      nullReversePath: 'suppress',
      judge: (parsed) => (from === 'limited' ? POLICY.header(CLIENT, parsed) : undefined) ?? sending,
      mayReceive: () => undefined,
      now: () => 0,
      cutOff: () => undefined,
    });
  } catch (error) {
    if (error instanceof Refused) return undefined;
    throw error;
  }
  const { octets: stored, arrival } = inject.only;
  const final = arrival?.envelope.recipients.map((one) => one.address) ?? [];
  if (headerOnly === 'send')
    mustHold(
      recipients.every((one) => final.includes(one)),
      'an envelope recipient is lost',
    );
  else mustHold(JSON.stringify(final) === JSON.stringify(recipients), 'the envelope was changed');
  return { ...applyEnvelope(splitHeader(stored.subarray(0, arrival?.headerSize)), final), recipients: final };
}

function element(tag: string, text: string, children: readonly XmlElement[] = []): XmlElement {
  return { name: tag, namespace: '', attributes: {}, children, text };
}

function canonical(addresses: readonly string[]): string {
  return [...new Set(addresses.map(canonicalAddress))].toSorted().join(' ');
}

// --- what must hold ---------------------------------------------------------------------------------------------------

export async function headerHolds(text: string, so: Way): Promise<void> {
  const out = await passed(Buffer.from(text, so.charset), so);
  if (out === undefined) return;
  const block = joinHeader(out.fields);
  const { recipients, blind } = out;
  const wanted = canonical(recipients);

  const fields = fieldsOf(block, 'crlf');
  const names = JSON.stringify(out.fields.map((field) => field.name));
  for (const end of ['crlf', 'lf', 'any'] as const)
    mustHold(JSON.stringify(fieldsOf(block, end).map((field) => field.name)) === names, `other fields by ${end}`);
  const values = (...which: string[]): string[] =>
    fields.filter((one) => which.includes(one.name)).map((one) => one.value);
  mustHold(values('bcc', 'resent-bcc', 'resent-to', 'resent-cc', '').length === 0, 'a hidden field is left');
  for (const one of ['from', 'message-id']) mustHold(values(one).length === 1, `not one ${one}`);
  for (const one of ['to', 'cc', 'sender']) mustHold(values(one).length <= 1, `more than one ${one}`);

  const readers: Record<string, readonly string[]> = {
    'the sandbox, replacing': await submitted(block, blind, 'replace'),
    'the sandbox, adding': await submitted(block, blind, 'add'),
    mailparser: [...(await parsed(block)), ...blind],
    nodemailer: [...values('to', 'cc').flatMap(listed), ...blind],
    'a strict reader': [...values('to', 'cc').flatMap(strict), ...blind],
  };
  for (const [reader, found] of Object.entries(readers)) {
    const got = canonical(found.filter((one) => one !== ''));
    mustHold(got === wanted, `by ${reader} it would go to ${got} instead of ${wanted}`);
  }
  const visible = values('to', 'cc').flatMap(listed).map(canonicalAddress);
  mustHold(new Set(visible).size === visible.length, 'somebody is named twice');
  mustHold(
    values('to', 'cc')
      .flatMap(listed)
      .every((one) => one !== ''),
    'an addressee without an address',
  );
  const stray = values('to', 'cc')
    .flatMap(nakedAddresses)
    .map(canonicalAddress)
    .find((one) => !visible.includes(one));
  mustHold(stray === undefined, `some reader could find ${stray}`);
  mustHold(
    blind.every((one) => !visible.includes(canonicalAddress(one))),
    'a blind recipient is shown',
  );

  const allowed = so.from === 'rewrite' ? ['m@x.test'] : so.from === 'limited' ? SENDERS : undefined;
  const authors = values('from', 'sender');
  for (const found of allowed === undefined
    ? []
    : [listed, strict, nakedAddresses].map((read) => authors.flatMap((one) => read(one))))
    mustHold(
      found.every((one) => allowed?.includes(canonicalAddress(one))),
      `From ${found.join(' ')}`,
    );
}

async function submitted(block: Buffer, blind: readonly string[], mode: 'replace' | 'add'): Promise<string[]> {
  const mime = element('MimeContent', Buffer.concat([block, Buffer.from('x\r\n')]).toString('base64'));
  const named = blind.map((one) => element('Mailbox', '', [element('EmailAddress', one)]));
  const read = await readSubmission(
    element('Message', '', named.length > 0 ? [mime, element('BccRecipients', '', named)] : [mime]),
    mode,
  );
  if (read instanceof EwsFault) throw new Error(`Exchange would refuse it: ${read.code} ${read.text}`);
  return [...read.to, ...read.cc, ...read.bcc];
}

async function parsed(block: Buffer): Promise<string[]> {
  const read = await simpleParser(Buffer.concat([block, Buffer.from('x\r\n')]));
  const flat = (list: AddressObject | AddressObject[] | undefined): string[] =>
    [list ?? []]
      .flat()
      .flatMap(({ value: found }) => found.flatMap((one) => [one, ...(one.group ?? [])]))
      .map((one) => one.address ?? '');
  return [...flat(read.to), ...flat(read.cc), ...flat(read.bcc)];
}

function listed(text: string): string[] {
  return addressparser(text, { flatten: true }).map((one) => one.address);
}

/** A field that needs no change keeps what the client wrote, by the grammar or not: then as another reader has it. */
function strict(text: string): string[] {
  return strictAddresses(text) ?? listed(text);
}

// --- blind recipients -------------------------------------------------------------------------------------------------

const SECRET = 'hidden@blind.test';
const hiding = fc.constantFrom(
  ...[
    'Bcc',
    'BCC',
    'bcc ',
    'Bcc\t',
    'Resent-Bcc',
    'Resent-To',
    'Resent-Cc',
    'Delivered-To',
    'X-Envelope-To',
    'Envelope-To',
  ],
  ...['Apparently-To', 'X-Rcpt-To', 'X-Receiver', 'X-Delivered-To', 'Received'],
);
const disguise = fc.constantFrom(
  ...[
    SECRET,
    `<${SECRET}>`,
    `H <${SECRET}>`,
    `H <${SECRET.toUpperCase()}>`,
    `team: ${SECRET}, a@x.test;`,
    `(${SECRET})`,
  ],
  ...[
    `from x by y for <${SECRET}>; Mon, 2 Nov 2026 10:00:00 +0000`,
    `a@x.test,\r\n\t${SECRET}`,
    `"${SECRET}" <${SECRET}>`,
  ],
  ...[`${SECRET};`, `a@x.test ${SECRET}`, `hid\0den@blind.test`, `${SECRET}\0`, `for=${SECRET}`, `rfc822;${SECRET}`],
  ...[`mailto:${SECRET}`, `${SECRET}.`, `'${SECRET}'`, `[${SECRET}]`, `{${SECRET}}`, `${SECRET}|x`, `x/${SECRET}`],
);
/** A field of its own for certain: what is before it has ended, and is no continuation of it. */
const plainLine = fc
  .tuple(fieldName, value)
  .map(([field, shown]) => `${field.trim()}: ${shown.replace(/[\r\n]+/g, ' ')}\r\n`)
  .filter((line) => /^[!-9;-~]+:/.test(line) && !/^(?:resent-)?bcc/i.test(line));

/** A recipient whom the client hid stands nowhere in the header. */
export async function blindHolds(
  before: readonly string[],
  hidden: readonly string[],
  after: readonly string[],
  so: Way,
): Promise<void> {
  const text = [...before, ...hidden, ...after].join('');
  const out = await passed(Buffer.from(`${text}\r\nx\r\n`, so.charset), {
    ...so,
    recipients: [...so.recipients, SECRET],
  });
  if (out === undefined) return;
  mustHold(out.blind.includes(SECRET), 'the blind recipient is lost');
  const written = joinHeader(out.fields)
    .toString('latin1')
    .replace(/[^!-~]/g, '')
    .toLowerCase();
  mustHold(!written.includes(SECRET), 'a blind recipient shows');
}

export const HEADER_TARGETS: readonly Target[] = [
  target('header and envelope', 0.31, 'headerHolds', [header, way], headerHolds),
  target(
    'blind recipients',
    0.07,
    'blindHolds',
    [
      fc.array(plainLine, { maxLength: 3 }),
      fc.array(
        fc.tuple(hiding, disguise).map(([field, text]) => `${field}: ${text}\r\n`),
        { minLength: 1, maxLength: 3 },
      ),
      fc.array(plainLine, { maxLength: 3 }),
      way,
    ],
    blindHolds,
  ),
];
