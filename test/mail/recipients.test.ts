/** The envelope against the header: who is shown, who is blind, and what is left of the fields. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalAddress } from '../../src/mail/address.ts';
import { parseHeader } from '../../src/mail/addresses.ts';
import { joinHeader, splitHeader } from '../../src/mail/header.ts';
import { applyEnvelope, hideBlind } from '../../src/mail/recipients.ts';
import { cost, LARGE, LINEAR } from './cost.ts';

fc.configureGlobal({ seed: 5321 });

function apply(header: string, recipients: readonly string[]): { header: string; blind: readonly string[] } {
  const { fields, blind } = applyEnvelope(splitHeader(Buffer.from(header.replace(/\n/g, '\r\n'))), recipients);
  return { header: joinHeader(fields).toString('utf8').replace(/\r\n/g, '\n').replace(/\n$/, ''), blind };
}

interface Case {
  readonly what: string;
  readonly header: string;
  readonly envelope: readonly string[];
  readonly becomes: string;
  readonly blind?: readonly string[];
}

const CASES: readonly Case[] = [
  {
    what: 'header and envelope agree: not an octet changes',
    header: 'Subject: x\nTO : "Doe,  John"\n\t<a@x.test>,\n  b@x.test (B)\nCc:c@x.test\n',
    envelope: ['a@x.test', 'b@x.test', 'c@x.test'],
    becomes: 'Subject: x\nTO : "Doe,  John"\n\t<a@x.test>,\n  b@x.test (B)\nCc:c@x.test\n',
  },
  {
    what: 'addresses are compared without case, domains in either form',
    header: 'To: Anna <ANNA@Bücher.test>\n',
    envelope: ['anna@xn--bcher-kva.test'],
    becomes: 'To: Anna <ANNA@Bücher.test>\n',
  },
  {
    what: 'an addressee outside the envelope is dropped and stays readable',
    header: 'To: Anna <a@x.test>, Bob <b@x.test>\nSubject: y\n',
    envelope: ['a@x.test'],
    becomes: 'To: Anna <a@x.test>\nX-Original-To: Anna <a@x.test>, Bob <b@x.test>\nSubject: y\n',
  },
  {
    what: 'nobody of a field is in the envelope: the field goes',
    header: 'To: list@other.test\nCc: c@x.test\n',
    envelope: ['real@x.test'],
    becomes: 'X-Original-To: list@other.test\nX-Original-Cc: c@x.test\n',
    blind: ['real@x.test'],
  },
  {
    what: 'Bcc goes, whoever it names, and shows nowhere',
    header: 'To: a@x.test\nBcc: b@x.test,\n  c@x.test\nBCC: d@x.test\n',
    envelope: ['a@x.test', 'b@x.test'],
    becomes: 'To: a@x.test\n',
    blind: ['b@x.test'],
  },
  {
    what: 'resent recipients go, and are blind if in the envelope',
    header: 'Resent-To: r@x.test\nResent-Cc: s@x.test\nResent-Bcc: t@x.test\nResent-From: f@x.test\nTo: a@x.test\n',
    envelope: ['r@x.test', 't@x.test'],
    becomes: 'Resent-From: f@x.test\nX-Original-To: a@x.test\n',
    blind: ['r@x.test', 't@x.test'],
  },
  {
    what: 'no recipient field at all',
    header: 'Subject: x\n',
    envelope: ['a@x.test', 'b@x.test'],
    becomes: 'Subject: x\n',
    blind: ['a@x.test', 'b@x.test'],
  },
  {
    what: 'an empty group goes without a trace',
    header: 'To: undisclosed-recipients:;\nCc: undisclosed recipients: ;\n',
    envelope: ['a@x.test'],
    becomes: '',
    blind: ['a@x.test'],
  },
  { what: 'an empty field goes', header: 'To:\nCc: \n', envelope: ['a@x.test'], becomes: '', blind: ['a@x.test'] },
  {
    what: 'a group whose members are all in the envelope stays',
    header: 'To: Team: a@x.test, Bob <b@x.test>;\n',
    envelope: ['a@x.test', 'b@x.test'],
    becomes: 'To: Team: a@x.test, Bob <b@x.test>;\n',
  },
  {
    what: 'a group with some members in the envelope becomes those',
    header: 'To: Team: a@x.test, Bob <b@x.test>;, c@x.test\n',
    envelope: ['b@x.test', 'c@x.test'],
    becomes: 'To: Bob <b@x.test>, c@x.test\nX-Original-To: Team: a@x.test, Bob <b@x.test>;, c@x.test\n',
  },
  {
    what: 'a group without any member in the envelope goes',
    header: 'To: Team: a@x.test;\n',
    envelope: ['b@x.test'],
    becomes: 'X-Original-To: Team: a@x.test;\n',
    blind: ['b@x.test'],
  },
  {
    what: 'twice in one field: once',
    header: 'To: Anna <a@x.test>, A@X.test\n',
    envelope: ['a@x.test'],
    becomes: 'To: Anna <a@x.test>\n',
  },
  {
    what: 'in To and Cc: the first mention wins',
    header: 'To: a@x.test\nCc: Anna <a@x.test>, b@x.test\n',
    envelope: ['a@x.test', 'b@x.test'],
    becomes: 'To: a@x.test\nCc: b@x.test\n',
  },
  {
    what: 'in Cc and again in To: the first mention wins',
    header: 'Cc: a@x.test\nTo: a@x.test\n',
    envelope: ['a@x.test'],
    becomes: 'Cc: a@x.test\n',
  },
  {
    what: 'several To fields become one',
    header: 'To: a@x.test\nSubject: x\nTo: b@x.test\n',
    envelope: ['a@x.test', 'b@x.test'],
    becomes: 'To: a@x.test, b@x.test\nSubject: x\n',
  },
  {
    what: 'the envelope names somebody twice: once blind',
    header: 'Subject: x\n',
    envelope: ['A@x.test', 'a@X.test'],
    becomes: 'Subject: x\n',
    blind: ['A@x.test'],
  },
  {
    what: 'an addressee that cannot be read is dropped and stays readable',
    header: 'To: FaxMaster, "broken <a@x.test>, b@x.test\n',
    envelope: ['a@x.test'],
    becomes: 'X-Original-To: FaxMaster, "broken <a@x.test>, b@x.test\n',
    blind: ['a@x.test'],
  },
  {
    what: 'names that need it are quoted',
    header: 'To: "Doe, John (\\"JD\\")" <a@x.test>, b@x.test\n',
    envelope: ['a@x.test'],
    becomes: 'To: "Doe, John (\\"JD\\")" <a@x.test>\nX-Original-To: "Doe, John (\\"JD\\")" <a@x.test>, b@x.test\n',
  },
  {
    what: 'names beyond ASCII become encoded words',
    header: 'To: Jürgen <a@x.test>, b@x.test\n',
    envelope: ['a@x.test'],
    becomes: 'To: =?utf-8?B?SsO8cmdlbg==?= <a@x.test>\nX-Original-To: Jürgen <a@x.test>, b@x.test\n',
  },
  {
    what: 'a name that only looks like an encoded word keeps its looks',
    header: 'To: =?utf-8?B?PT91dGYtOD9xP3g/PQ==?= <a@x.test>, b@x.test\n',
    envelope: ['a@x.test'],
    becomes:
      'To: =?utf-8?B?PT91dGYtOD9xP3g/PQ==?= <a@x.test>\nX-Original-To: =?utf-8?B?PT91dGYtOD9xP3g/PQ==?= <a@x.test>, b@x.test\n',
  },
  {
    what: 'an address in a name or a comment is no second recipient for another parser',
    header: 'To: "evil@y.test" <a@x.test>\nCc: b@x.test (evil@y.test)\n',
    envelope: ['a@x.test', 'b@x.test'],
    becomes: 'To: "evil@y.test" <a@x.test>\nCc: "evil@y.test" <b@x.test>\n',
  },
  {
    what: 'only the top-level recipients are recipients',
    header: 'From: f@x.test\nSender: s@x.test\nReply-To: r@x.test\nX-To: x@x.test\nTo: a@x.test\n',
    envelope: ['a@x.test'],
    becomes: 'From: f@x.test\nSender: s@x.test\nReply-To: r@x.test\nX-To: x@x.test\nTo: a@x.test\n',
  },
  {
    what: 'X-Original-To that is there already stays',
    header: 'X-Original-To: old@x.test\nTo: a@x.test\n',
    envelope: ['b@x.test'],
    becomes: 'X-Original-To: old@x.test\nX-Original-To: a@x.test\n',
    blind: ['b@x.test'],
  },
  {
    what: 'a bare CR hides no field',
    header: 'Subject: x\rBcc: evil@y.test\nTo: a@x.test\r\rTo: evil@y.test\n',
    envelope: ['a@x.test'],
    becomes: 'Subject: x Bcc: evil@y.test\nX-Original-To: a@x.test  To: evil@y.test\n',
    blind: ['a@x.test'],
  },
  {
    what: 'a control character in a name is not passed on, nor in the copy of what was written',
    header: 'To: "Anna\0\x1b[31m" <a@x.test>, gone@x.test\x7f\nCc: Bob\x07 <b@x.test>\n',
    envelope: ['a@x.test', 'b@x.test'],
    becomes: 'To: "Anna[31m" <a@x.test>\nX-Original-To: "Anna  [31m" <a@x.test>, gone@x.test \nCc: Bob <b@x.test>\n',
  },
  {
    what: 'a field that is sound but for a control character between addressees is written anew',
    header: 'To: a@x.test,\0 b@x.test\x01\n',
    envelope: ['a@x.test', 'b@x.test'],
    becomes: 'To: a@x.test, b@x.test\n',
  },
  {
    what: 'an address is read without its control characters, and written so',
    header: 'To: a\0@x.test, b@x.test\0.y.test\n',
    envelope: ['a@x.test', 'b@x.test'],
    becomes: 'To: a@x.test\nX-Original-To: a @x.test, b@x.test .y.test\n',
    blind: ['b@x.test'],
  },
  {
    what: 'tabs and folds are no control characters',
    header: 'To:\ta@x.test,\n\tb@x.test\n',
    envelope: ['a@x.test', 'b@x.test'],
    becomes: 'To:\ta@x.test,\n\tb@x.test\n',
  },
  {
    what: 'what earlier servers wrote goes if it names a blind recipient, and only then',
    header:
      'Received: from a.test by b.test for <S@x.test>; Mon, 1 Jan 2024 00:00:00 +0000\nReceived: from c.test by a.test for\n <a@x.test>\n' +
      'Delivered-To: s@x.test\nEnvelope-To: t@x.test, s@x.test\nX-Envelope-To: <rfc822;s@x.test>\nApparently-To: u@x.test\nDelivered-To: a@x.test\n' +
      'From: s@x.test\nTo: a@x.test\n',
    envelope: ['a@x.test', 's@x.test'],
    becomes:
      'Received: from c.test by a.test for\n <a@x.test>\nApparently-To: u@x.test\nDelivered-To: a@x.test\nFrom: s@x.test\nTo: a@x.test\n',
    blind: ['s@x.test'],
  },
  {
    what: 'a blind recipient is found in either form of its domain',
    header: 'Delivered-To: d@bücher.test\nX-Rcpt-To: D@XN--BCHER-KVA.test\n',
    envelope: ['d@Bücher.test'],
    becomes: '',
    blind: ['d@Bücher.test'],
  },
  {
    what: 'a blind recipient is found whatever signs stand around the address',
    header:
      "Delivered-To: {s@x.test}\nX-Rcpt-To: [s@x.test]\nX-Receiver: for=s@x.test\nEnvelope-To: s@x.test|a@x.test\nApparently-To: 's@x.test.'\n" +
      'Delivered-To: bs@x.test\nDelivered-To: s@x.test.com\nDelivered-To: b-s@x.test\nDelivered-To: s@[192.0.2.1]\nDelivered-To: <s@[IPv6:::1]>\n',
    envelope: ['s@x.test', 's@[192.0.2.1]', 's@[IPv6:::1]'],
    becomes: 'Delivered-To: bs@x.test\nDelivered-To: s@x.test.com\nDelivered-To: b-s@x.test\n',
    blind: ['s@x.test', 's@[192.0.2.1]', 's@[IPv6:::1]'],
  },
  {
    what: 'an = in the local part of a blind recipient does not hide it',
    header: 'Delivered-To: fax=1@x.test\nDelivered-To: for=fax=1@x.test\n',
    envelope: ['fax=1@x.test'],
    becomes: '',
    blind: ['fax=1@x.test'],
  },
  {
    what: 'text behind an address, which some readers take for the rest of it, is not passed on',
    header: 'To: a@x.test.\n\tcom\nCc: b@x.test c\n',
    envelope: ['a@x.test', 'b@x.test'],
    becomes: 'To: ". com" <a@x.test>\nCc: c <b@x.test>\n',
  },
  {
    what: 'quotes without an end hide no addressee: the field is written anew',
    header: 'To: <a@x.test>, b@x.test "c\n',
    envelope: ['a@x.test', 'b@x.test'],
    becomes: 'To: a@x.test, c <b@x.test>\n',
  },
  {
    what: 'comments, quoted names and quoted local parts change nothing',
    header: 'To: a@x.test (Bob "B" Brown), "C, (D)" <c@x.test>, "e f"@x.test, <b@x.test> (x)\n',
    envelope: ['a@x.test', 'b@x.test', 'c@x.test', '"e f"@x.test'],
    becomes: 'To: a@x.test (Bob "B" Brown), "C, (D)" <c@x.test>, "e f"@x.test, <b@x.test> (x)\n',
  },
  {
    what: 'one transaction per recipient with the same header: each copy names its own recipient',
    header: 'To: a@x.test, b@x.test\nCc: c@x.test\n',
    envelope: ['c@x.test'],
    becomes: 'X-Original-To: a@x.test, b@x.test\nCc: c@x.test\n',
  },
];

describe('the envelope against the header', () => {
  it.each(CASES)('$what', ({ header, envelope, becomes, blind = [] }) => {
    expect(apply(header, envelope)).toEqual({ header: becomes, blind });
  });

  it('keeps line ends and raw octets of fields it does not change', async () => {
    const block = Buffer.from('Subject: caf\xe9\nTo: a@x.test\nX: \x80\xff\r\nCc: b@x.test', 'latin1');
    const { fields, blind } = applyEnvelope(splitHeader(block), ['a@x.test', 'b@x.test']);
    expect(blind).toEqual([]);
    expect(Buffer.concat(fields.map(({ raw }) => raw)).equals(block)).toBe(true);
  });

  it('copies what it drops octet for octet', async () => {
    const { fields } = applyEnvelope(splitHeader(Buffer.from('To: Ren\xe9\n <r@x.test>\n', 'latin1')), []);
    expect(fields.map(({ raw }) => raw.toString('latin1'))).toEqual(['X-Original-To: Ren\xe9\n <r@x.test>\n']);
  });

  it.each([' ', ';', ',', ' ,', ': ', ' ;'])(
    'a group of %j and no end of it costs no more than others',
    async (piece) => {
      const header = splitHeader(Buffer.from(`To: x:${piece.repeat(LARGE / piece.length)};;\r\n`));
      expect(await cost(() => applyEnvelope(header, ['a@x.test']))).toBeLessThan(LINEAR);
    },
  );

  it.each(['<a@x.test> "', '"', 'a@x.test ('])(
    '%j and no end of escaped quotes cost no more than others',
    async (begin) => {
      const header = splitHeader(Buffer.from(`To: ${begin}${'\\"'.repeat(LARGE / 2)}\r\n`));
      expect(await cost(() => applyEnvelope(header, ['a@x.test']))).toBeLessThan(LINEAR);
    },
  );

  it.each(['=', '={@', '@', `${'='.repeat(300)}@`])(
    'a trace field of no end of %j costs no more than others',
    async (piece) => {
      const header = splitHeader(Buffer.from(`Delivered-To: ${piece.repeat(LARGE / piece.length)}@x\r\n`));
      expect(await cost(() => applyEnvelope(header, ['a@x.test']))).toBeLessThan(LINEAR);
    },
  );

  it('folds what it writes anew, and splits long names between characters', async () => {
    const name = '長い名前'.repeat(30);
    const header = `To: ${Array.from({ length: 20 }, (_, n) => `Person Number ${n} <p${n}@example.test>`).join(', ')}, ${name} <l@x.test>, gone@x.test\n`;
    const envelope = [...Array.from({ length: 20 }, (_, n) => `p${n}@example.test`), 'l@x.test'];
    const { fields } = applyEnvelope(splitHeader(Buffer.from(header)), envelope);
    const [to] = fields;
    const lines = to?.raw.toString('ascii').split('\r\n') ?? [];
    expect(lines.length).toBeGreaterThan(10);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(78);
    const [last] = (await parseHeader(fields.slice(0, 1))).to.slice(-1);
    expect(last).toEqual({ name, address: 'l@x.test' });
  });
});

// --- for any header -------------------------------------------------------------------------------------------------

const address = fc.constantFrom(
  'a@x.test',
  'A@X.TEST',
  'b@x.test',
  'c@y.test',
  'd@bücher.test',
  'd@xn--bcher-kva.test',
  '+39055@fax.test',
  "o'neil@x.test",
  'jürgen@x.test',
);
const name = fc.oneof(
  fc.constantFrom(
    '',
    'Anna',
    'Doe, John',
    'a "quote"',
    'back\\slash',
    'Jürgen',
    '用户😀',
    'x@y.z',
    '=?utf-8?q?x?=',
    'semi;colon:',
    '(c)',
    'x'.repeat(90),
    'nul\0 bell\x07 delete\x7f',
  ),
  fc.string({ maxLength: 12 }).map((text) => text.replace(/[^\x20-\x7e]/g, '')),
);
const mailbox = fc.tuple(name, address).map(([name, address]) => {
  if (name === '') return address;
  return `"${name.replace(/["\\]/g, '\\$&')}" <${address}>`;
});
const garbage = fc.constantFrom(
  'FaxMaster',
  '"open <a@x.test>',
  '<>',
  '<a@x.test',
  ';;',
  'a@',
  '@x.test',
  '(comment b@x.test)',
  ':;',
  ',,',
  'a@x.test b@x.test',
  'a@x.test\0',
  'b\x01@x.test',
);
const list = fc.array(fc.oneof({ arbitrary: mailbox, weight: 6 }, { arbitrary: garbage, weight: 1 }), { maxLength: 5 });
const field = fc
  .tuple(
    fc.constantFrom(
      'To',
      'Cc',
      'Bcc',
      'to',
      'CC',
      'Resent-To',
      'Resent-Bcc',
      'Delivered-To',
      'Received',
      'Subject',
      'X-Y',
    ),
    list,
    fc.boolean(),
    fc.boolean(),
  )
  .map(([name, items, grouped, folded]) => {
    const joined = items.join(folded ? ',\r\n ' : ', ');
    return `${name}: ${grouped ? `Group: ${joined};` : joined}\r\n`;
  });

describe('a way out that has an envelope', () => {
  const hidden = (header: string, ...recipients: string[]): string =>
    joinHeader(hideBlind(splitHeader(Buffer.from(header.replace(/\n/g, '\r\n'), 'latin1')), recipients))
      .toString('latin1')
      .replace(/\r\n/g, '\n')
      .slice(0, -1);

  it('shows To and Cc as they were sent, whoever gets the message', () => {
    const header = 'To: A <a@x.test>,\n b@x.test (home)\nCc: c@x.test\nResent-To: d@x.test\nX: \xe9\n';
    expect(hidden(header, 'z@x.test')).toBe(header);
  });

  it('shows no Bcc, and no trace of who is in none of the visible fields', () => {
    const seen = 'To: a@x.test\nResent-Cc: R@X.test\nDelivered-To: a@x.test\nReceived: from m for <r@x.test>; now\n';
    const blind =
      'Bcc: b@x.test\nResent-Bcc: b@x.test\nX-Envelope-To: b@x.test\nReceived: from m for <b@x.test>; now\n';
    expect(hidden(blind + seen, 'a@x.test', 'b@x.test', 'r@x.test')).toBe(seen);
  });

  it('makes a blank of a bare CR, which becomes a line end on the wire', () => {
    expect(hidden('Subject: a\rBcc: b@x.test\n', 'a@x.test')).toBe('Subject: a Bcc: b@x.test\n');
  });
});

describe('for any header and envelope', () => {
  it('visible and blind together are the envelope, each recipient once, and no blind one is shown', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(field, { maxLength: 6 }),
        fc.array(address, { maxLength: 5 }),
        async (header, envelope) => {
          const { fields, blind } = applyEnvelope(splitHeader(Buffer.from(header.join(''))), envelope);
          // As a receiver reads it: from octets.
          const read = splitHeader(joinHeader(fields));
          const { to, cc, bcc } = await parseHeader(read);
          const visible = [...to, ...cc].map(({ address }) => canonicalAddress(address));
          const hidden = blind.map(canonicalAddress);
          const everybody = [...visible, ...hidden];
          expect(everybody.toSorted()).toEqual([...new Set(envelope.map(canonicalAddress))].toSorted());
          expect(bcc).toEqual([]);
          const trace = read.filter((one) => one.name === 'delivered-to' || one.name === 'received');
          const named = (await Promise.all(trace.map((one) => parseHeader([{ ...one, name: 'to' }])))).flatMap(
            ({ to }) => to,
          );
          expect(named.filter(({ address }) => hidden.includes(canonicalAddress(address)))).toEqual([]);
          const written = read.filter((one) => /^(x-original-)?(to|cc)$/.test(one.name));
          expect(written.map(({ raw }) => raw.toString('latin1')).join('')).not.toMatch(
            /[^\P{Cc}\t\r\n\u0080-\u009f]/u,
          );
          expect(read.map(({ name }) => name).filter((name) => /^(bcc|resent-(to|cc|bcc))$/.test(name))).toEqual([]);
          for (const kind of ['to', 'cc']) {
            const shown = read.filter((one) => one.name === kind);
            expect(shown.length).toBeLessThanOrEqual(1);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('a second pass changes nothing', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(field, { maxLength: 6 }),
        fc.array(address, { maxLength: 5 }),
        async (header, envelope) => {
          const once = applyEnvelope(splitHeader(Buffer.from(header.join(''))), envelope);
          const twice = applyEnvelope(splitHeader(joinHeader(once.fields)), envelope);
          expect(twice.blind).toEqual(once.blind);
          const text = (fields: typeof once.fields): string => joinHeader(fields).toString('latin1');
          expect(text(twice.fields)).toBe(text(once.fields));
        },
      ),
      { numRuns: 300 },
    );
  });
});
