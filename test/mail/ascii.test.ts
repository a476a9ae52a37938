/** Header fields in ASCII and in short lines: what is good stays, what is not reads back as the same text and addresses. */
import * as fc from 'fast-check';
import { simpleParser } from 'mailparser';
import { describe, expect, it } from 'vitest';
import { mailboxesOf } from '../../src/mail/addresses.ts';
import { asciiField } from '../../src/mail/ascii.ts';
import { splitHeader } from '../../src/mail/header.ts';
import type { HeaderField } from '../../src/mail/header.ts';

fc.configureGlobal({ seed: 5322 });

function fieldOf(octets: Buffer): HeaderField {
  const [field, ...more] = splitHeader(octets);
  if (field === undefined || more.length > 0) throw new Error(`not one field: ${JSON.stringify(octets.toString())}`);
  return field;
}

const utf8 = (line: string): HeaderField => fieldOf(Buffer.from(`${line}\r\n`));
const latin1 = (line: string): HeaderField => fieldOf(Buffer.from(`${line}\r\n`, 'latin1'));

function isGood({ raw }: HeaderField): boolean {
  return (
    raw.every((octet) => octet < 0x80) &&
    raw
      .toString()
      .split('\r\n')
      .every((line) => line.length <= 998)
  );
}

describe('a field', () => {
  it.each([
    'Subject: plain',
    'Subject:   with  blanks\t',
    'From: "A" <a@x.test>',
    'Subject: =?utf-8?Q?caf=C3=A9?= it is',
    'X-Long: ' + 'a '.repeat(490),
  ])('keeps its octets: %s', (line) => {
    const field = utf8(line);
    expect(asciiField(field)).toBe(field);
  });

  it.each<[string, HeaderField, string]>([
    ['Subject in Latin-1', latin1('Subject: Gr\xfc\xdfe'), 'Subject: =?utf-8?B?R3LDvMOfZQ==?='],
    ['Subject in UTF-8', utf8('Subject: Grüße'), 'Subject: =?utf-8?B?R3LDvMOfZQ==?='],
    ['only the words that need it', utf8('Subject: a Grüße b'), 'Subject: a =?utf-8?B?R3LDvMOfZQ==?= b'],
    ['a display name', latin1('From: B\xfcro <a@x.test>'), 'From: =?utf-8?B?QsO8cm8=?= <a@x.test>'],
    [
      'a quoted display name',
      utf8('To: "Müller, Ä" <a@x.test>, b@x.test'),
      'To: =?utf-8?B?TcO8bGxlciwgw4Q=?= <a@x.test>, b@x.test',
    ],
    ['a domain', utf8('To: a@bücher.test'), 'To: a@xn--bcher-kva.test'],
    ['text that is no address', utf8('To: Müller'), 'To: =?utf-8?B?TcO8bGxlcg==?='],
    ['a token', latin1('Received: from b\xfcro by x; y'), 'Received: from b?ro by x; y'],
    [
      'a file name',
      utf8('Content-Disposition: attachment; filename="Übersicht 1.pdf"'),
      'Content-Disposition: attachment; filename="=?utf-8?B?w5xiZXJzaWNodCAxLnBkZg==?="',
    ],
  ])('%s', (_what, field, expected) => {
    expect(
      asciiField(field)
        .raw.toString()
        .replace(/\r\n(?=[ \t])/g, ''),
    ).toBe(`${expected}\r\n`);
  });

  it('in an endless line is folded, without blanks it is encoded', () => {
    const folded = asciiField(utf8(`References: ${'<abcdefghij@x.test> '.repeat(100)}`));
    expect(isGood(folded)).toBe(true);
    expect(folded.raw.toString().match(/<abcdefghij@x\.test>/g)?.length).toBe(100);
    const encoded = asciiField(utf8(`X-Blob: ${'x'.repeat(5_000)}`));
    expect(isGood(encoded)).toBe(true);
  });

  it('of 256 KiB takes no time worth the name', () => {
    for (const text of [
      'ü'.repeat(125_000),
      'ü '.repeat(85_000),
      `${' '.repeat(200_000)}ü`,
      'a'.repeat(250_000),
      '"ü;='.repeat(50_000),
    ]) {
      for (const name of ['Subject', 'To', 'Content-Type', 'X-Any']) {
        const begun = performance.now();
        asciiField(utf8(`${name}: ${text}`));
        // Quadratic work takes minutes.
        expect(performance.now() - begun).toBeLessThan(3_000);
      }
    }
  });

  it('reads back as the text it was', async () => {
    const word = fc.string({
      unit: fc.constantFrom('a', 'b', 'ü', 'é', '用', '😀', '"', ',', '?', '=', '_'),
      minLength: 1,
      maxLength: 12,
    });
    const text = fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => words.join(' '));
    await fc.assert(
      fc.asyncProperty(text, async (value) => {
        fc.pre(!value.includes('=?'));
        const field = asciiField(utf8(`Subject: ${value}`));
        expect(isGood(field)).toBe(true);
        const { subject } = await simpleParser(Buffer.concat([field.raw, Buffer.from('\r\nx\r\n')]));
        expect(subject).toBe(value);
      }),
      { numRuns: 300 },
    );
  });

  it('names the addresses it named', () => {
    const name = fc.string({ unit: fc.constantFrom('a', 'Ä', 'ö', ' ', '用', '.'), minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 5 }), (names) => {
        const before = utf8(`To: ${names.map((one, index) => `"${one}" <user${index}@x.test>`).join(', ')}`);
        const after = asciiField(before);
        expect(isGood(after)).toBe(true);
        expect(mailboxesOf(after).map(({ address }) => address)).toEqual(
          mailboxesOf(before).map(({ address }) => address),
        );
      }),
    );
  });
});
