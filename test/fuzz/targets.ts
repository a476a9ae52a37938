/**
 * What is fuzzed, and what must hold of it. Each target makes inputs from a seed and throws on the first that breaks a
 * promise, shrunk by fast-check to a small one with its seed.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { simpleParser } from 'mailparser';
import type { AddressObject } from 'mailparser';
import { loadConfig } from '../../src/config/load.ts';
import { renderFaults } from '../../src/config/fault.ts';
import { readAnswer } from '../../src/exchange/soap.ts';
import { canonicalAddress, isSendable, mailboxesOf } from '../../src/mail/addresses.ts';
import { joinHeader, splitHeader } from '../../src/mail/header.ts';
import type { HeaderField } from '../../src/mail/header.ts';
import { LineEnds } from '../../src/mail/lines.ts';
import { createPolicy } from '../../src/mail/policy.ts';
import { applyEnvelope } from '../../src/mail/recipients.ts';
import { repairHeader } from '../../src/mail/repair.ts';
import { EwsFault, readSubmission } from '../../src/sandbox/submission.ts';
import type { XmlElement } from '../../src/sandbox/xml.ts';
import { readXml } from '../../src/sandbox/xml.ts';
import { judgeHeader } from '../../src/smtp/judge.ts';
import { Refused } from '../../src/smtp/reply.ts';

export interface Target {
  readonly name: string;
  /** Of all inputs, this share. */
  readonly share: number;
  run(count: number, seed: number): Promise<void>;
}

function mustHold(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(what);
}

// --- headers ----------------------------------------------------------------------------------------------------------

const PEOPLE = ['a@x.test', 'B@x.test', 'c@y.test', '"d e"@x.test', 'fax=1@gw.test', 'ü@x.test', 'i@bücher.test'];
const STRANGER = 'stranger@evil.test';

const address = fc.constantFrom(...PEOPLE, STRANGER, 'a@X.TEST', 'i@xn--bcher-kva.test', 'fax', 'c@y.test.');
const name = fc.constantFrom(
  ...[
    'Ann',
    '"A, B"',
    'A, B',
    `"${STRANGER}"`,
    STRANGER,
    '=?utf-8?Q?a=40x.test?=',
    'Grüß',
    '(x)',
    'a.b',
    '"\\"x"',
    '',
    '<',
    ';',
  ],
);
const noise = fc.constantFrom(
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
    '\r\n ',
    '\n ',
    '\r',
    '\n',
    '\0',
    '\u00a0',
    '@',
    '[',
    ']',
    '=?',
    '?=',
  ],
);
const mailbox = fc.oneof(
  { weight: 4, arbitrary: address },
  { weight: 4, arbitrary: fc.tuple(name, address).map(([shown, at]) => `${shown} <${at}>`) },
  { weight: 1, arbitrary: fc.tuple(name, noise, address, noise).map((parts) => parts.join('')) },
  { weight: 1, arbitrary: fc.array(mailboxPart(), { maxLength: 4 }).map((members) => `team: ${members.join(', ')};`) },
);
function mailboxPart(): fc.Arbitrary<string> {
  return fc.tuple(name, address).map(([shown, at]) => `${shown} <${at}>`);
}
const value = fc.oneof(
  { weight: 8, arbitrary: fc.array(mailbox, { maxLength: 4 }).map((list) => list.join(', ')) },
  { weight: 2, arbitrary: fc.array(fc.oneof(mailbox, noise), { maxLength: 6 }).map((parts) => parts.join('')) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 30 }) },
);
const fieldName = fc.constantFrom(
  ...[
    'To',
    'Cc',
    'Bcc',
    'From',
    'Sender',
    'Reply-To',
    'Resent-To',
    'Resent-Bcc',
    'TO',
    'cc ',
    'To\t',
    'Subject',
    'X-To',
    'Message-ID',
  ],
  ...[
    'Delivered-To',
    'Disposition-Notification-To',
    'Content-Type',
    'Date',
    'Received',
    'X-Original-To',
    ' To',
    'T\0o',
  ],
);
const lineEnd = fc.constantFrom('\r\n', '\r\n', '\r\n', '\n', '\r', '\r\n\t', '\n\n', '\r\r\n');
const header = fc
  .array(fc.tuple(fieldName, fc.constantFrom(':', ': ', ' :', ''), value, lineEnd), { maxLength: 7 })
  .map((lines) => lines.map((parts) => parts.join('')).join(''));
const encoding = fc.constantFrom<BufferEncoding>('utf8', 'latin1');
const envelope = fc.uniqueArray(fc.constantFrom(...PEOPLE), { minLength: 1, maxLength: 4 });

const OPEN = { judge: () => ({ mailbox: 'm@x.test', from: 'keep' as const }), mayReceive: () => undefined };

/** As the gateway takes it in and hands it to Exchange. */
async function passed(
  octets: Buffer,
  recipients: readonly string[],
): Promise<{ fields: readonly HeaderField[]; blind: readonly string[] } | undefined> {
  const lines = new LineEnds();
  const block = Buffer.concat([lines.push(octets), lines.end()]);
  const fields = splitHeader(block);
  const end = fields.findIndex((field) => field.name === '');
  try {
    const judged = await judgeHeader(end < 0 ? fields : fields.slice(0, end), {
      envelope: { reversePath: 'a@x.test', recipients: recipients.map((one) => ({ address: one })) },
      maxHops: 50,
      maxRecipients: 100,
      completeDomain: 'x.test',
      headerOnly: 'drop',
      nullReversePath: 'suppress',
      ...OPEN,
    });
    const repaired = repairHeader(judged.fields, judged.parsed, {
      now: 0,
      hostname: 'gw.test',
      spoolId: 'id',
      reversePath: 'a@x.test',
      defaultFrom: 'm@x.test',
      origin: { source: 'smtp', name: 'lan', peer: '::1' },
      protocol: 'ESMTP',
    });
    const stored = splitHeader(joinHeader(repaired.fields));
    return applyEnvelope(stored, recipients);
  } catch (error) {
    if (error instanceof Refused) return undefined;
    throw error;
  }
}

function element(tag: string, text: string, children: readonly XmlElement[] = []): XmlElement {
  return { name: tag, namespace: '', attributes: {}, children, text };
}

async function headerHolds(text: string, charset: BufferEncoding, recipients: readonly string[]): Promise<void> {
  const out = await passed(Buffer.from(text, charset), recipients);
  if (out === undefined) return;
  const block = joinHeader(out.fields);
  const wanted = recipients.map(canonicalAddress).toSorted();

  for (const mode of ['replace', 'add'] as const) {
    const blind = element(
      'BccRecipients',
      '',
      out.blind.map((one) => element('Mailbox', '', [element('EmailAddress', one)])),
    );
    const mime = element('MimeContent', Buffer.concat([block, Buffer.from('x\r\n')]).toString('base64'));
    const read = await readSubmission(element('Message', '', out.blind.length > 0 ? [mime, blind] : [mime]), mode);
    if (read instanceof EwsFault) throw new Error(`Exchange would refuse it: ${read.code} ${read.text}`);
    const got = [...read.to, ...read.cc, ...read.bcc].map(canonicalAddress).toSorted();
    mustHold(
      JSON.stringify(got) === JSON.stringify(wanted),
      `${mode}: Exchange would deliver to ${got.join(' ')} instead of ${wanted.join(' ')}`,
    );
  }

  // A second reader, with a parser of its own for the whole message.
  const parsed = await simpleParser(Buffer.concat([block, Buffer.from('x\r\n')]));
  const flat = (list: AddressObject | AddressObject[] | undefined): string[] =>
    [list ?? []]
      .flat()
      .flatMap(({ value: found }) => found.flatMap((one) => [one, ...(one.group ?? [])]))
      .map((one) => one.address ?? '');
  const seen = [...flat(parsed.to), ...flat(parsed.cc), ...flat(parsed.bcc)].filter((one) => one.includes('@'));
  const stray = seen.find((one) => !wanted.includes(canonicalAddress(one)));
  mustHold(stray === undefined, `a reader finds ${stray}, who is not in the envelope`);

  // Whatever a reader takes for a line end, it sees the same fields.
  mustHold(!/\r(?!\n)|(?<!\r)\n/.test(block.toString('latin1')), 'a bare line end is left');
  for (const { name: field } of out.fields)
    mustHold(!['bcc', 'resent-bcc', 'resent-to', 'resent-cc'].includes(field), `${field} is left`);
  const again = splitHeader(block).map((one) => one.name);
  mustHold(
    JSON.stringify(again) === JSON.stringify(out.fields.map((one) => one.name)),
    'the header reads back as other fields',
  );
  mustHold(out.fields.filter((one) => one.name === 'from').length === 1, 'not one From');
  const shown = new Set(
    out.fields
      .filter((one) => one.name === 'to' || one.name === 'cc')
      .flatMap(mailboxesOf)
      .map((one) => canonicalAddress(one.address)),
  );
  mustHold(
    out.blind.every((one) => !shown.has(canonicalAddress(one))),
    'a blind recipient is shown',
  );
}

// --- policy -----------------------------------------------------------------------------------------------------------

const pattern = fc.constantFrom(
  '*',
  'noreply@contoso.com',
  '@contoso.com',
  '*@contoso.com',
  'scan-*@*.contoso.com',
  '*@xn--bcher-kva.test',
);
const claimed = fc.oneof(
  fc.constantFrom(
    'noreply@contoso.com',
    'ceo@contoso.com',
    'NOREPLY@Contoso.COM',
    'scan-1@eu.contoso.com',
    'x@evil-contoso.com',
    'x@contoso.com.evil',
  ),
  fc.constantFrom(
    '"noreply"@contoso.com',
    'noreply@contoso.com.',
    '*@contoso.com',
    'nоreply@contoso.com',
    'x@bücher.test',
    '"a b"@x.test',
    '',
    'fax',
    'a@b@contoso.com',
  ),
  fc.string({ unit: fc.constantFrom('a', '@', '.', '*', '"', '<', '>', ' ', 'contoso.com', 'ü'), maxLength: 8 }),
);

/** What a pattern means, written a second time and simply. */
function means(one: string, address: string): boolean {
  if (one === '*') return true;
  const glob = (text: string): RegExp =>
    new RegExp(`^${text.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`, 'u');
  const parts = (text: string): [string, string] => {
    const at = text.lastIndexOf('@');
    return [text.slice(0, at), text.slice(at + 1)];
  };
  const [local, domain] = parts(canonicalAddress(address));
  const [wantedLocal, wantedDomain] = parts(one.toLowerCase());
  const bare = local.replace(/^"([a-z0-9.]+)"$/, '$1');
  return glob(wantedLocal === '' ? '*' : wantedLocal).test(bare) && glob(wantedDomain).test(domain.replace(/\.$/, ''));
}

function policyHolds(all: readonly string[], own: readonly string[], from: string, sender: string): void {
  const policy = createPolicy({
    listeners: [{ name: 'lan', auth: 'none', allow: ['::1'], loginFrom: [], senders: own }],
    users: [],
    clients: [],
    senders: { allow: all },
    recipients: { allow: ['*'], deny: [] },
  });
  const client = { listener: 'lan', peer: '::1', tls: false };
  const fields = splitHeader(Buffer.from(`From: ${from}\r\nSender: ${sender}\r\n`));
  const of = (which: string): ReturnType<typeof mailboxesOf> =>
    fields.filter((field) => field.name === which).flatMap(mailboxesOf);
  const lists = [all, own];
  const isFine = (used: string): boolean =>
    lists.every((list) => list.includes('*') || (isSendable(used) && list.some((one) => means(one, used))));
  if (policy.header(client, { from: of('from'), sender: of('sender') }) === undefined) {
    for (const { address: used } of [...of('from'), ...of('sender')])
      mustHold(isFine(used), `${used} was let through by ${JSON.stringify(lists)}`);
  }
  if (from !== '' && policy.mail(client, from) === undefined)
    mustHold(isFine(from), `${from} was let through as reverse-path`);
}

// --- answers of Exchange, configurations ------------------------------------------------------------------------------

const ANSWER =
  '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>' +
  '<m:CreateItemResponse xmlns:m="urn:m"><m:ResponseMessages><m:CreateItemResponseMessage ResponseClass="Success">' +
  '<m:ResponseCode>NoError</m:ResponseCode><m:Items/></m:CreateItemResponseMessage></m:ResponseMessages></m:CreateItemResponse></s:Body></s:Envelope>';
const SCRAPS = [
  '<',
  '>',
  '&',
  '"',
  '<!--',
  '-->',
  ']]>',
  '<![CDATA[',
  '<?x',
  '?>',
  '\0',
  '&#0;',
  '&amp;',
  '</s:Body>',
  '<a>',
  ' ',
  '\ud800',
  'Error',
  'é',
];

interface Edit {
  readonly at: number;
  readonly drop: number;
  readonly add: string;
}
const edits = (scraps: readonly string[]): fc.Arbitrary<Edit[]> =>
  fc.array(
    fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      drop: fc.nat(40),
      add: fc.constantFrom('', ...scraps),
    }),
    { minLength: 1, maxLength: 5 },
  );
function edited(text: string, list: readonly Edit[]): string {
  return list.reduce((so, { at, drop, add }) => {
    const place = Math.floor(at * so.length);
    return so.slice(0, place) + add + so.slice(place + drop);
  }, text);
}

function answerHolds(text: string): void {
  const answer = readAnswer(text);
  const isSuccess = answer?.kind === 'messages' && answer.errors.every((error) => error === undefined);
  if (!isSuccess) return;
  const strict = readXml(text);
  mustHold(typeof strict !== 'string', `success was read from what is no XML: ${String(strict)}`);
}

const CONFIG = `hostname: gateway.contoso.com
listeners:
  - name: lan
    address: 127.0.0.1
    port: 2525
    tls: none
    allow: [10.0.0.0/8, "::1/128"]
users:
  - { name: pbx, passwordHash: "$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$Mdc/jTCPy+uU8aSLbM+FGBQC/AXSzfWCsAUkF/VYCgk" }
senders:
  mailbox: notifications@contoso.com
  rules: [{ from: "*@pbx.local", mailbox: pbx@contoso.com, header: rewrite }]
exchange:
  tenantId: 11111111-2222-3333-4444-555555555555
  clientId: 66666666-7777-8888-9999-000000000000
  clientSecret: not~a~real~secret~at~all~not~a~real~one
retry: { intervals: [1m, 5m], giveUpAfter: 2d }
spool: { sqlite: data/spool.db }
`;
const YAML_SCRAPS = [
  '{',
  '}',
  '[',
  ']',
  ':',
  ': ',
  '- ',
  '\n',
  '  ',
  '\t',
  '"',
  "'",
  '#',
  '&a',
  '*a',
  '!!x',
  '${X}',
  '|',
  '>',
  '---',
  '\ud800',
  '1e9',
  'null',
  'é',
];

async function configHolds(file: string, text: string): Promise<void> {
  writeFileSync(file, text);
  const loaded = await loadConfig(file);
  if (!('faults' in loaded)) return;
  mustHold(loaded.faults.length > 0, 'refused without a fault');
  for (const line of renderFaults(loaded.faults).split('\n'))
    mustHold(/^\S+config\.yaml(?::\d+:\d+)?: \S/.test(line), `no place: ${line}`);
}

const runs = (count: number, seed: number): fc.Parameters<unknown> => ({ numRuns: count, seed });

export const TARGETS: readonly Target[] = [
  {
    name: 'header and envelope',
    share: 0.4,
    run: async (count, seed) => {
      await fc.assert(fc.asyncProperty(header, encoding, envelope, headerHolds), runs(count, seed));
    },
  },
  {
    name: 'addresses against the policy',
    share: 0.3,
    run: async (count, seed) => {
      const list = fc.array(pattern, { minLength: 1, maxLength: 3 });
      fc.assert(fc.property(list, list, claimed, claimed, policyHolds), runs(count, seed));
    },
  },
  {
    name: 'answers of Exchange',
    share: 0.2,
    run: async (count, seed) => {
      fc.assert(
        fc.property(edits(SCRAPS), (list) => answerHolds(edited(ANSWER, list))),
        runs(count, seed),
      );
    },
  },
  {
    name: 'configurations',
    share: 0.02,
    run: async (count, seed) => {
      const folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-fuzz-'));
      try {
        const file = join(folder, 'config.yaml');
        await fc.assert(
          fc.asyncProperty(edits(YAML_SCRAPS), (list) => configHolds(file, edited(CONFIG, list))),
          runs(count, seed),
        );
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  },
];
