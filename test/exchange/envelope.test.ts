/**
 * The envelope through to the readers' mailboxes, on a server whose recipient properties replace those of the MIME and on one
 * that adds them: whoever is in the envelope gets the message once, nobody else does, and no copy shows a blind recipient.
 */
import * as fc from 'fast-check';
import { simpleParser } from 'mailparser';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { canonicalAddress } from '../../src/mail/address.ts';
import { splitHeader } from '../../src/mail/header.ts';
import type { Arrival, Delivered } from '../../src/sandbox/sandbox.ts';
import type { Site } from './sandbox-site.ts';
import { bodyAt, openSite, outgoing, SENDER } from './sandbox-site.ts';

const PEOPLE = [
  'a@x.test',
  'b@x.test',
  'c@y.test',
  'd@bücher.test',
  '+39055@fax.test',
  'fax=123@x.test',
  "o'neil@x.test",
  'jürgen@x.test',
  '#7*@x.test',
  '"quoted,local"@x.test',
] as const;
const OUTSIDE = 'out@elsewhere.test';

/** The sender's own content, parts with fields of their own in it. */
const BODY = Buffer.from(
  '--p\r\nX-Part: 1\r\nTo: inner-to@part.test\r\n\r\ntext\r\n--p\r\nContent-Type: message/rfc822\r\n\r\nTo: inner@part.test\r\n' +
    'Bcc: inner-bcc@part.test\r\n\r\nAttached.\r\n--p--\r\n',
);

function message(header: string): Buffer {
  return Buffer.concat([
    Buffer.from(`From: App <${SENDER}>\r\nContent-Type: multipart/mixed; boundary=p\r\n${header}\r\n`),
    BODY,
  ]);
}

interface Delivery {
  readonly arrival: Arrival;
  /** What lies in whose inbox. */
  readonly inboxes: ReadonlyMap<string, readonly Delivered[]>;
}

async function deliver(site: Site, header: string, envelope: readonly string[]): Promise<Delivery> {
  const before = new Map(PEOPLE.map((address) => [address, site.sandbox.mailbox(address).inbox.length]));
  const arrivals = site.sandbox.arrived().length;
  const status = await site.transport.deliver(outgoing(message(header), envelope), new AbortController().signal);
  expect(status).toMatchObject({ outcome: 'relayed', code: '2.0.0' });
  const [arrival, ...more] = site.sandbox.arrived().slice(arrivals);
  if (!arrival || more.length > 0) throw new Error(`${more.length + 1} arrivals for one message`);
  return {
    arrival,
    inboxes: new Map(
      PEOPLE.map((address) => [address, site.sandbox.mailbox(address).inbox.slice(before.get(address))]),
    ),
  };
}

/** The three promises, for one delivery. */
async function hold({ arrival, inboxes }: Delivery, header: string, envelope: readonly string[]): Promise<void> {
  const wanted = [...new Set(envelope.map(canonicalAddress))].toSorted();
  expect([...arrival.to, ...arrival.cc, ...arrival.bcc].map(canonicalAddress).toSorted()).toEqual(wanted);
  for (const [address, copies] of inboxes)
    expect([address, copies.length]).toEqual([address, wanted.includes(canonicalAddress(address)) ? 1 : 0]);
  expect(arrival.outside).toEqual(wanted.filter((address) => address === OUTSIDE));

  const shown = splitHeader(Buffer.from(header))
    .filter(({ name }) => name === 'to' || name === 'cc')
    .map(({ raw }) => raw.toString());
  // What the sender wrote into To or Cc, if only in a way nobody can read, is no secret.
  const secrets = arrival.bcc.filter((address) => !mentions(shown.join('\n'), address));
  for (const copy of [...inboxes.values()].flat()) {
    expect(copy.bcc).toEqual([]);
    expect(copy.mime.subarray(bodyAt(copy.mime)).equals(BODY)).toBe(true);
    const decoded = await simpleParser(copy.mime);
    const text = [
      copy.mime.toString('utf8'),
      copy.mime.toString('latin1'),
      JSON.stringify([copy.to, copy.cc, copy.extended, ...decoded.headers.values()]),
    ].join('\n');
    expect(secrets.filter((address) => mentions(text, address))).toEqual([]);
    expect(names(copy.mime).filter((name) => /^(bcc|resent-(to|cc|bcc))$/.test(name))).toEqual([]);
  }
}

/** In any form. None of the addresses used here is a part of another. */
function mentions(text: string, address: string): boolean {
  const forms = [address, canonicalAddress(address), address.toLowerCase().replace('xn--bcher-kva', 'bücher')];
  return forms.some((form) => text.toLowerCase().includes(form.toLowerCase()));
}

function names(mime: Buffer): string[] {
  return splitHeader(mime).map(({ name }) => name);
}

interface Case {
  readonly what: string;
  readonly header: string;
  readonly envelope: readonly string[];
  readonly to?: readonly string[];
  readonly cc?: readonly string[];
  readonly bcc?: readonly string[];
}

const CASES: readonly Case[] = [
  { what: 'as the header says', header: 'To: a@x.test\nCc: b@x.test\n', envelope: ['a@x.test', 'b@x.test'], to: ['a@x.test'], cc: ['b@x.test'] },
  { what: 'blind by Bcc', header: 'To: a@x.test\nBcc: b@x.test\n', envelope: ['a@x.test', 'b@x.test'], to: ['a@x.test'], bcc: ['b@x.test'] },
  { what: 'blind by the envelope alone', header: 'To: a@x.test\n', envelope: ['a@x.test', 'c@y.test'], to: ['a@x.test'], bcc: ['c@y.test'] },
  { what: 'Bcc that is not in the envelope', header: 'To: a@x.test\nBcc: b@x.test\n', envelope: ['a@x.test'], to: ['a@x.test'] },
  { what: 'addressees that are not in the envelope', header: 'To: a@x.test, b@x.test\nCc: c@y.test\n', envelope: ['b@x.test'], to: ['b@x.test'] },
  { what: 'nobody of the header', header: 'To: list@elsewhere.test\n', envelope: ['a@x.test', 'b@x.test'], bcc: ['a@x.test', 'b@x.test'] },
  { what: 'all blind, no To at all', header: 'Subject: x\n', envelope: ['a@x.test', 'b@x.test'], bcc: ['a@x.test', 'b@x.test'] },
  { what: 'all blind, undisclosed recipients', header: 'To: undisclosed-recipients:;\n', envelope: ['a@x.test'], bcc: ['a@x.test'] },
  { what: 'all blind, undisclosed recipients with blanks', header: 'To: "Undisclosed recipients" : ;\nCc:\n', envelope: ['a@x.test'], bcc: ['a@x.test'] },
  { what: 'all blind, undisclosed recipients without their colon', header: 'To: undisclosed-recipients\n', envelope: ['a@x.test'], bcc: ['a@x.test'] },
  { what: 'all blind, an empty address', header: 'To: <>\nCc: ;\n', envelope: ['a@x.test'], bcc: ['a@x.test'] },
  { what: 'all blind, by Bcc alone', header: 'Bcc: a@x.test,\n b@x.test\nBcc: c@y.test\n', envelope: ['a@x.test', 'b@x.test', 'c@y.test'], bcc: ['a@x.test', 'b@x.test', 'c@y.test'] },
  { what: 'all blind, outside only', header: 'To: list@elsewhere.test\n', envelope: [OUTSIDE], bcc: [OUTSIDE] },
  { what: 'a local name for the fax', header: 'To: FaxMaster\n', envelope: ['+39055@fax.test'], bcc: ['+39055@fax.test'] },
  { what: 'in To and Cc', header: 'To: a@x.test\nCc: A@X.test, b@x.test\n', envelope: ['a@x.test', 'b@x.test'], to: ['a@x.test'], cc: ['b@x.test'] },
  { what: 'in To and Bcc', header: 'To: a@x.test\nBcc: a@x.test\n', envelope: ['a@x.test'], to: ['a@x.test'] },
  { what: 'twice in the envelope', header: 'To: a@x.test\n', envelope: ['a@x.test', 'A@X.TEST'], to: ['a@x.test'] },
  { what: 'twice in the envelope and blind', header: '', envelope: ['a@x.test', 'A@X.TEST'], bcc: ['a@x.test'] },
  { what: 'both forms of a domain', header: 'To: d@xn--bcher-kva.test\nCc: d@bücher.test\n', envelope: ['d@bücher.test'], to: ['d@xn--bcher-kva.test'] },
  { what: 'groups', header: 'To: Team: a@x.test, B <b@x.test>;\nCc: Others: c@y.test;\n', envelope: ['a@x.test', 'b@x.test'], to: ['a@x.test', 'b@x.test'] },
  { what: 'resent', header: 'Resent-To: b@x.test\nResent-Bcc: c@y.test\nTo: a@x.test\n', envelope: ['b@x.test', 'c@y.test'], bcc: ['b@x.test', 'c@y.test'] },
  { what: 'trace fields that name a blind recipient', header: 'Received: from a by b for <b@x.test>; x\nDelivered-To: b@x.test\nX-Envelope-To: a@x.test, b@x.test\nTo: a@x.test\n', envelope: ['a@x.test', 'b@x.test'], to: ['a@x.test'], bcc: ['b@x.test'] },
  { what: 'an address in a name', header: 'To: "b@x.test" <a@x.test>\n', envelope: ['a@x.test'], to: ['a@x.test'] },
  { what: 'an address in a comment', header: 'To: a@x.test (b@x.test)\n', envelope: ['a@x.test'], to: ['a@x.test'] },
  { what: 'a route', header: 'To: <@b.test,@c.test:a@x.test>\n', envelope: ['a@x.test'], to: ['a@x.test'] },
  { what: 'odd local parts', header: 'To: fax=123@x.test, #7*@x.test, o\'neil@x.test\n', envelope: ['fax=123@x.test', '#7*@x.test', "o'neil@x.test", '+39055@fax.test'], to: ['fax=123@x.test', '#7*@x.test', "o'neil@x.test"], bcc: ['+39055@fax.test'] },
  { what: 'a quoted local part', header: 'To: a@x.test\n', envelope: ['a@x.test', '"quoted,local"@x.test'], to: ['a@x.test'], bcc: ['"quoted,local"@x.test'] },
  { what: 'control characters', header: 'To: "A\0" <a@x.test>,\x01 b@x.test\nCc: c@y.test\x7f\n', envelope: ['a@x.test', 'b@x.test', 'c@y.test'], to: ['a@x.test', 'b@x.test'], cc: ['c@y.test'] },
  { what: 'a bare CR before a second field', header: 'To: a@x.test\rBcc: b@x.test\n', envelope: ['a@x.test'], bcc: ['a@x.test'] },
  { what: 'several To and Cc fields', header: 'To: a@x.test\nTo: b@x.test\nCc: c@y.test\nCc: a@x.test\n', envelope: ['a@x.test', 'b@x.test', 'c@y.test'], to: ['a@x.test', 'b@x.test'], cc: ['c@y.test'] },
]; // prettier-ignore

// --- any header -----------------------------------------------------------------------------------------------------

const address = fc.constantFrom(...PEOPLE, OUTSIDE, 'A@X.TEST', 'd@xn--bcher-kva.test', 'D@BÜCHER.test');
const display = fc.constantFrom(
  '',
  'Anna',
  'Doe, John',
  'a "quote"',
  'back\\slash',
  'Jürgen',
  '用户😀',
  '=?utf-8?q?x?=',
  'n\0l',
);
const mailbox = fc
  .tuple(display, address)
  .map(([name, one]) => (name === '' ? one : `"${name.replace(/["\\]/g, '\\$&')}" <${one}>`));
const garbage = fc.constantFrom(
  'FaxMaster', 'list@elsewhere.test', '"open <a@x.test>', '<>', '<b@x.test', ';;', 'a@', '@x.test', '(c@y.test)', ':;', ',,', 'a@x.test b@x.test', 'b\x01@x.test', '<@r.test:a@x.test>', 'Group: a@x.test, b@x.test;', 'undisclosed-recipients:;',
); // prettier-ignore
const list = fc.array(fc.oneof({ arbitrary: mailbox, weight: 5 }, { arbitrary: garbage, weight: 1 }), { maxLength: 5 });
const field = fc
  .tuple(
    fc.constantFrom('To', 'To', 'Cc', 'Bcc', 'TO', 'bcc ', 'Resent-To', 'Resent-Bcc', 'Delivered-To', 'Received', 'X-Envelope-To'),
    list,
    fc.constantFrom(', ', ',\r\n\t', ',', ' ; '),
  )
  .map(([name, items, separator]) => `${name}: ${items.join(separator)}\r\n`); // prettier-ignore

describe.each(['replace', 'add'] as const)('where recipient properties %s those of the MIME', (mode) => {
  let site: Site;
  beforeAll(async () => void (site = await openSite(mode, PEOPLE)));
  afterAll(async () => await site.close());
  beforeEach(() => site.sandbox.clearFaults());

  it.each(CASES)('$what', async ({ header, envelope, to = [], cc = [], bcc = [] }) => {
    const block = header.replace(/\n/g, '\r\n');
    const delivery = await deliver(site, block, envelope);
    expect(delivery.arrival).toMatchObject({ to, cc, bcc });
    await hold(delivery, block, envelope);
  });

  it('a copy for blind recipients alone has neither To nor Cc', async () => {
    for (const header of ['', 'To: undisclosed-recipients:;\r\n', 'To: list@elsewhere.test\r\nCc: FaxMaster\r\n']) {
      const { inboxes } = await deliver(site, header, ['a@x.test', 'b@x.test']);
      for (const copy of [...inboxes.values()].flat())
        expect(names(copy.mime).filter((name) => name === 'to' || name === 'cc')).toEqual([]);
    }
  });

  it('a client that opens one transaction per recipient multiplies nothing', async () => {
    const header = 'To: a@x.test, b@x.test\r\nCc: c@y.test\r\nBcc: +39055@fax.test\r\n';
    const everybody = ['a@x.test', 'b@x.test', 'c@y.test', '+39055@fax.test'];
    const before = everybody.map((one) => site.sandbox.mailbox(one).inbox.length);
    for (const one of everybody) await hold(await deliver(site, header, [one]), header, [one]);
    expect(everybody.map((one) => site.sandbox.mailbox(one).inbox.length)).toEqual(before.map((count) => count + 1));
  });

  it('any header and envelope', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(field, { maxLength: 6 }),
        fc.array(address, { minLength: 1, maxLength: 6 }),
        async (fields, envelope) => {
          const header = fields.join('');
          await hold(await deliver(site, header, envelope), header, envelope);
        },
      ),
      { seed: 5321, numRuns: 300 },
    );
  });

  it('importance, receipts and X- fields arrive as elements and properties', async () => {
    const header =
      'To: a@x.test\r\nX-Priority: 1 (Highest)\r\nDisposition-Notification-To: <>\r\nReturn-Receipt-To: app@x.test\r\n' +
      'x-tag: =?utf-8?Q?caf=C3=A9_=26_more?=\r\nX-Other: 2\r\nX-SMTP2Exchange-Hop: gw.test\r\n';
    const { arrival, inboxes } = await deliver(site, header, ['a@x.test']);
    expect(arrival.elements).toEqual({ Importance: 'High', IsDeliveryReceiptRequested: 'true' });
    const [copy] = inboxes.get('a@x.test') ?? [];
    expect(copy?.extended.map(({ path, values }) => [path['PropertyName'], ...values])).toEqual([
      ['X-SMTP2Exchange-Hop', 'gw.test'],
      ['X-Tag', 'café & more'],
    ]);
  });

  it('a mailbox that stores no more names gets the message without them, once', async () => {
    const header = 'To: a@x.test\r\nX-Tag: 1\r\n';
    site.sandbox.fault({
      when: { operation: 'CreateItem', count: 1 },
      does: { responseCode: 'ErrorItemSavePropertyError' },
    });
    const delivery = await deliver(site, header, ['a@x.test']);
    await hold(delivery, header, ['a@x.test']);
    expect(delivery.inboxes.get('a@x.test')?.[0]?.extended).toEqual([]);
    expect(delivery.inboxes.get('a@x.test')?.[0]?.mime.includes('X-Tag: 1')).toBe(true);
  });
});
