/** Header fields in ASCII and in short lines: what is good stays, what is not reads back as the same text and addresses. */
import * as fc from 'fast-check';
import { simpleParser } from 'mailparser';
import { describe, expect, it } from 'vitest';
import { canonicalAddress, isSendable } from '../../src/mail/address.ts';
import { mailboxesOf, parseHeader } from '../../src/mail/addresses.ts';
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

/** In one line, without its end. */
const unfolded = ({ raw }: HeaderField): string => raw.toString().replace(/\r\n(?=[ \t])|\r\n$/g, '');

/** For comparing: in lower case, without quotes that are not needed. */
const plain = (address: string): string => canonicalAddress(address).replace(/^"([^"\\(),:;@[\]\s]+)"@/, '$1@');

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

  it.each<[string, HeaderField, string]>([
    [
      'after an encoded word',
      utf8('Subject: =?utf-8?Q?caf=C3=A9?= \u00fcber  x'),
      'Subject: =?utf-8?Q?caf=C3=A9?= =?utf-8?B?IMO8YmVy?=  x',
    ],
    [
      'before an encoded word',
      utf8('Subject: \u00fcber =?utf-8?Q?caf=C3=A9?='),
      'Subject: =?utf-8?B?w7xiZXIg?= =?utf-8?Q?caf=C3=A9?=',
    ],
    [
      'right behind an encoded word',
      utf8('Subject: =?utf-8?Q?caf=C3=A9?=\u00fcber'),
      'Subject: =?utf-8?Q?caf=C3=A9?= =?utf-8?B?w7xiZXI=?=',
    ],
    [
      'between two encoded words',
      utf8('Subject: =?utf-8?Q?a?=  \u00fc\t=?utf-8?Q?b?='),
      'Subject: =?utf-8?Q?a?= =?utf-8?B?ICDDvAk=?= =?utf-8?Q?b?=',
    ],
    ['after what only looks like one', utf8('Subject: what?= \u00fc'), 'Subject: what?= =?utf-8?B?w7w=?='],
  ])('text %s keeps its blanks, and the encoded word', (_what, field, expected) => {
    expect(unfolded(asciiField(field))).toBe(expected);
  });

  it('that is no field stays', () => {
    const field = latin1('no field: \xfc');
    expect(field.name).toBe('');
    expect(asciiField(field)).toBe(field);
  });

  it.each<[string, string, string]>([
    [
      'a named group without anybody',
      'To: Verteiler f\u00fcr alle:;',
      'To: =?utf-8?B?VmVydGVpbGVyIGbDvHIgYWxsZQ==?=:;',
    ],
    ['what cannot be read beside an address', 'To: a@x.test, "" <b \u00fc>', 'To: a@x.test, =?utf-8?B?YiDDvA==?='],
    ['only what cannot be read', 'To: <b \u00fc>', 'To: =?utf-8?B?YiDDvA==?='],
    ['a comment', 'To: a@x.test (B\u00fcro)', 'To: =?utf-8?B?QsO8cm8=?= <a@x.test>'],
    [
      'a quoted at sign',
      'From: "ceo@contoso.com \u00fc" <a@x.test>',
      'From: =?utf-8?B?Y2VvQGNvbnRvc28uY29tIMO8?= <a@x.test>',
    ],
    ['a date that is none', 'Resent-Date: 3 M\u00e4r 2026', 'Resent-Date: 3 M?r 2026'],
  ])('of addresses: %s', (_what, before, after) => {
    expect(unfolded(asciiField(utf8(before)))).toBe(after);
  });

  it.each<[string, string, string]>([
    [
      'without quotes',
      'application/pdf; name=\u00dcbersicht.pdf',
      'application/pdf; name="=?utf-8?B?w5xiZXJzaWNodC5wZGY=?="',
    ],
    [
      'without quotes, with blanks, before another',
      'application/pdf; name=\u00dc 1.pdf ; x=y',
      'application/pdf; name="=?utf-8?B?w5wgMS5wZGY=?=" ; x=y',
    ],
    [
      'with an apostrophe',
      'application/pdf; name="L\'\u00e9t\u00e9; \\"a\\".pdf"',
      `application/pdf; name="=?utf-8?B?${Buffer.from('L\'\u00e9t\u00e9; "a".pdf').toString('base64')}?="`,
    ],
    ['without an end', 'application/pdf; name="\u00fc', 'application/pdf; name="=?utf-8?B?w7w=?="'],
    ['that is no parameter', 'text/pl\u00e4in; charset=utf-8', 'text/pl?in; charset=utf-8'],
  ])('of parameters: %s', (_what, before, after) => {
    expect(unfolded(asciiField(utf8(`Content-Type: ${before}`)))).toBe(`Content-Type: ${after}`);
  });

  it.each([
    ['Content-Type', 'application/pdf; name="\u00dcbersicht 1.pdf"'],
    ['Content-Type', 'application/pdf; name=\u00dcbersicht.pdf'],
    ['Content-Disposition', `attachment; filename="${'\u00dcbersicht der Eing\u00e4nge '.repeat(8)}.pdf"`],
  ])('%s names the same file for a reader: %s', async (name, value) => {
    const field = asciiField(utf8(`${name}: ${value}`));
    expect(isGood(field)).toBe(true);
    const type = name === 'Content-Type' ? field.raw : Buffer.from('Content-Type: application/pdf\r\n');
    const disposition = name === 'Content-Type' ? Buffer.from('Content-Disposition: attachment\r\n') : field.raw;
    const message = Buffer.concat([Buffer.from('MIME-Version: 1.0\r\n'), type, disposition, Buffer.from('\r\nx\r\n')]);
    const { attachments } = await simpleParser(message);
    expect(attachments[0]?.filename).toBe(/name="?([^"]*)/.exec(value)?.[1]);
  });

  it('with an encoded word too long for a line is not encoded once more', async () => {
    const text = 'Gr\u00fc\u00dfe '.repeat(200).trim();
    const before = utf8(`Subject: =?utf-8?B?${Buffer.from(text).toString('base64')}?=`);
    const { subject } = await simpleParser(Buffer.concat([asciiField(before).raw, Buffer.from('\r\nx\r\n')]));
    expect(subject).toBe(text);
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

  it('reads back as the text it was beside encoded words too', async () => {
    const word = fc.oneof(
      fc.constantFrom('=?utf-8?Q?a?=', '=?utf-8?B?w7w=?=', '=?iso-8859-1?q?=FC_b?=', '=?x', '?='),
      fc.string({
        unit: fc.constantFrom('a', '\u00fc', '\u7528', '"', ',', '(', '<', '@'),
        minLength: 1,
        maxLength: 6,
      }),
    );
    const glue = fc.constantFrom(' ', '  ', '\t', ' ', '');
    const text = fc
      .array(fc.tuple(word, glue), { minLength: 1, maxLength: 8 })
      .map((all) => all.flat().join('').trim());
    const read = async (field: HeaderField): Promise<string | undefined> =>
      (await parseHeader([field])).subject?.replace(/\s+/g, ' ');
    await fc.assert(
      fc.asyncProperty(text, async (value) => {
        const before = utf8(`Subject: ${value}`);
        const after = asciiField(before);
        expect(isGood(after)).toBe(true);
        expect(await read(after)).toBe(await read(before));
        expect(asciiField(after)).toBe(after);
      }),
      { numRuns: 2000 },
    );
  });

  it('names the same addresses whatever stands around them', async () => {
    const piece = fc.constantFrom(
      'a@x.test',
      '<b@x.test>',
      'ceo@contoso.com',
      '"',
      '\\',
      '(',
      ')',
      ',',
      ';',
      ':',
      '<',
      '>',
      ' ',
      '@',
      '\u00fc',
      'M\u00fcller',
      'fax',
      '=?utf-8?Q?c=40x.test?=',
      '=?utf-8?B?w7w=?=',
      '"q, \u00fc" <d@x.test>',
      'Gruppe \u00fc:',
      '\u00fc@b\u00fccher.test',
      '\t',
      '\u0000',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 8 }), async (pieces) => {
        const before = utf8(`To: \u00fc${pieces.join('')}`);
        const after = asciiField(before);
        const named = (field: HeaderField): string[] =>
          mailboxesOf(field)
            .map(({ address }) => plain(address))
            .filter((address) => address !== '');
        expect(named(after)).toEqual(named(before));
        expect(isGood(after) ? asciiField(after) : after).toBe(after);
        const { to } = await simpleParser(Buffer.concat([after.raw, Buffer.from('\r\nx\r\n')]), {
          skipHtmlToText: true,
        });
        const seen = [to ?? []].flat().flatMap(({ value }) => value.flatMap((one) => one.group ?? [one]));
        expect(seen.map(({ address = '' }) => plain(address)).filter(isSendable)).toEqual(
          named(before).filter(isSendable),
        );
      }),
      { numRuns: 3000 },
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
