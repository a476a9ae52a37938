/** From and Sender: made unmistakable, and rewritten into another mailbox's name. Octets in, octets out. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalAddress, isSendable } from '../../src/mail/address.ts';
import { parseHeader } from '../../src/mail/addresses.ts';
import type { Mailbox } from '../../src/mail/addresses.ts';
import { rewriteFrom, settleAuthors } from '../../src/mail/from.ts';
import { joinHeader, splitHeader } from '../../src/mail/header.ts';
import type { HeaderField } from '../../src/mail/header.ts';

fc.configureGlobal({ seed: 5322 });

function fieldsOf(...lines: (string | Buffer)[]): HeaderField[] {
  return splitHeader(Buffer.concat(lines.flatMap((line) => [Buffer.from(line), Buffer.from('\r\n')])));
}

function linesOf(fields: readonly HeaderField[]): string[] {
  return joinHeader(fields)
    .toString('latin1')
    .slice(0, -4)
    .split(/\r\n(?![ \t])/);
}

const PBX = { mailbox: 'pbx@contoso.com' };

describe('From rewritten', () => {
  it.each([
    ['a plain one', ['From: a@x.test'], ['From: pbx@contoso.com', 'Reply-To: a@x.test']],
    ['a name is kept', ['From: Fax <a@x.test>'], ['From: Fax <pbx@contoso.com>', 'Reply-To: Fax <a@x.test>']],
    [
      'a quoted name',
      ['From: "Doe, John" <a@x.test>'],
      ['From: "Doe, John" <pbx@contoso.com>', 'Reply-To: "Doe, John" <a@x.test>'],
    ],
    [
      'an unquoted comma',
      ['From: Doe, John <a@x.test>'],
      ['From: "Doe, John" <pbx@contoso.com>', 'Reply-To: "Doe, John" <a@x.test>'],
    ],
    [
      'an unquoted @',
      ['From: John @ home <a@x.test>'],
      ['From: "John @ home" <pbx@contoso.com>', 'Reply-To: "John @ home" <a@x.test>'],
    ],
    [
      'an encoded name',
      ['From: =?iso-8859-1?Q?J=FCrgen?= <a@x.test>'],
      ['From: =?utf-8?B?SsO8cmdlbg==?= <pbx@contoso.com>', 'Reply-To: =?utf-8?B?SsO8cmdlbg==?= <a@x.test>'],
    ],
    [
      'a Latin-1 name',
      [Buffer.from('From: J\xfcrgen <a@x.test>', 'latin1')],
      ['From: =?utf-8?B?SsO8cmdlbg==?= <pbx@contoso.com>', 'Reply-To: =?utf-8?B?SsO8cmdlbg==?= <a@x.test>'],
    ],
    ['a comment', ['From: a@x.test (Fax)'], ['From: Fax <pbx@contoso.com>', 'Reply-To: Fax <a@x.test>']],
    [
      'folded, its place kept',
      ['Subject: x', 'From: Fax\r\n\t<a@x.test>', 'To: b@y.test'],
      ['Subject: x', 'From: Fax <pbx@contoso.com>', 'Reply-To: Fax <a@x.test>', 'To: b@y.test'],
    ],
    [
      'several addresses: all in Reply-To, the first name stays',
      ['From: a@x.test, Bob <b@x.test>, Carl <c@x.test>'],
      ['From: Bob <pbx@contoso.com>', 'Reply-To: a@x.test, Bob <b@x.test>, Carl <c@x.test>'],
    ],
    [
      'several fields, each address once',
      ['From: a@x.test', 'Subject: x', 'from : b@x.test, A@X.test'],
      ['From: pbx@contoso.com', 'Reply-To: a@x.test, b@x.test', 'Subject: x'],
    ],
    ['a group', ['From: G: a@x.test;'], ['From: pbx@contoso.com', 'Reply-To: a@x.test']],
    ['Sender goes', ['Sender: s@x.test', 'From: a@x.test'], ['From: pbx@contoso.com', 'Reply-To: a@x.test']],
    [
      'every Sender goes',
      ['From: a@x.test', 'SENDER : s', 'Sender:\r\n t'],
      ['From: pbx@contoso.com', 'Reply-To: a@x.test'],
    ],
    [
      'a Reply-To stays, to the octet',
      ['REPLY-TO :  "r"\r\n <r@x.test> (x)', 'From: a@x.test'],
      ['REPLY-TO :  "r"\r\n <r@x.test> (x)', 'From: pbx@contoso.com'],
    ],
    [
      'a Reply-To behind stays',
      ['From: Fax <a@x.test>', 'Reply-To: r@x.test'],
      ['From: Fax <pbx@contoso.com>', 'Reply-To: r@x.test'],
    ],
    [
      'a Reply-To that names nobody does not',
      ['Reply-To: ', 'From: a@x.test', 'Reply-To: fax'],
      ['From: pbx@contoso.com', 'Reply-To: a@x.test'],
    ],
    ['the mailbox itself needs no Reply-To', ['From: PBX <PBX@Contoso.com>'], ['From: PBX <pbx@contoso.com>']],
    [
      'the mailbox among others is replied to',
      ['From: pbx@contoso.com, a@x.test'],
      ['From: pbx@contoso.com', 'Reply-To: pbx@contoso.com, a@x.test'],
    ],
    ['a word is a name', ['From: FaxMaster'], ['From: FaxMaster <pbx@contoso.com>']],
    ['no domain: no reply', ['From: Fax Agent <fax>'], ['From: Fax Agent <pbx@contoso.com>']],
    ['empty', ['From:'], ['From: pbx@contoso.com']],
    ['none at all', ['Subject: x'], ['Subject: x', 'From: pbx@contoso.com']],
    ['a quoted local part', ['From: Q <"a@b"@x.test>'], ['From: Q <pbx@contoso.com>', 'Reply-To: Q <"a@b"@x.test>']],
    [
      'phone numbers',
      ['From: +39055 <FAX=+39055@x.test>'],
      ['From: +39055 <pbx@contoso.com>', 'Reply-To: +39055 <FAX=+39055@x.test>'],
    ],
    [
      'a header within an encoded word stays a name',
      ['From: =?utf-8?Q?a=0D=0ABcc=3A_b=40y.test?= <a@x.test>'],
      ['From: "a Bcc: b@y.test" <pbx@contoso.com>', 'Reply-To: "a Bcc: b@y.test" <a@x.test>'],
    ],
  ])('%s', (_, lines, expected) => {
    expect(linesOf(rewriteFrom(fieldsOf(...lines), PBX))).toEqual(expected);
  });

  it.each([
    ['Phone System', 'Phone System <pbx@contoso.com>'],
    ['Contoso, Inc.', '"Contoso, Inc." <pbx@contoso.com>'],
    ['Telefonanlage Köln', '=?utf-8?B?VGVsZWZvbmFubGFnZSBLw7Zsbg==?= <pbx@contoso.com>'],
    ['a\r\nBcc: b@y.test', '"a Bcc: b@y.test" <pbx@contoso.com>'],
    ['', 'pbx@contoso.com'],
  ])('a name that is set: %j', (name, from) => {
    const rewritten = rewriteFrom(fieldsOf('From: Old <a@x.test>'), { ...PBX, name });
    expect(linesOf(rewritten)).toEqual([`From: ${from}`, 'Reply-To: Old <a@x.test>']);
  });

  it('other fields keep their octets and their order', () => {
    const others = fieldsOf(
      'Received: from x\r\n by y',
      Buffer.from('Subject: caf\xe9\t\r\n  x', 'latin1'),
      'X-From: a@x.test',
      'Resent-Date: x',
      'TO :b@y.test',
      'Reply-To: r@x.test',
    );
    const rewritten = rewriteFrom(
      [
        ...others.slice(0, 3),
        ...fieldsOf('From: a@x.test', 'Sender: a@x.test', 'Resent-From: a@x.test', 'RESENT-SENDER: a@x.test'),
        ...others.slice(3),
      ],
      PBX,
    );
    expect(rewritten.filter((field) => field.name !== 'from')).toEqual(others);
    expect(rewritten[3]?.name).toBe('from');
  });

  it('many old addresses are folded', () => {
    const many = Array.from({ length: 200 }, (__, n) => `Person ${n} <person.${n}@x.test>`);
    const lines = joinHeader(rewriteFrom(fieldsOf(`From: ${many.join(', ')}`), PBX))
      .toString()
      .split('\r\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(100);
  });
});

describe('From and Sender settled', () => {
  it.each<[string[], string[]]>([
    [['From: fax'], []],
    [['From: a@x.test.'], []],
    [['From: FaxMaster, a@x.test'], ['From: a@x.test']],
    [['From: a@x.test', 'From: b@x.test, \u00fc'], ['From: a@x.test, b@x.test']],
    [['Sender: two words', 'Sender: s@x.test'], ['Sender: s@x.test']],
  ])('lose what cannot be read: %j', (lines, become) => {
    const settled = settleAuthors(lines.flatMap((line) => fieldsOf(line)));
    expect(settled.map(({ raw }) => raw.toString().replace(/\r\n$/, ''))).toEqual(become);
  });

  it.each([
    ['From: a@x.test'],
    ['FROM:a@x.test'],
    ['From:\r\n <a@x.test>\t'],
    ['From: Fax <a@x.test>'],
    ['From: Asterisk PBX<a@x.test>'],
    ["From: O'Neil & Sons <a@x.test>"],
    ['From: "Doe, J@n \\"x\\"" <a@x.test>'],
    ['From: "Doe\r\n John" <a@x.test>'],
    ['From: =?utf-8?B?SsO8cmdlbg==?= =?utf-8?Q?_x?= <a@x.test>'],
    ['From: "a@b"@x.test'],
    ['From: FAX=+39055@x.test'],
    ['From: Fax Agent <fax>'],
    ['Sender: S <s@x.test>'],
    ['Subject: a@x.test (b@y.test)\rX'],
  ])('stays to the octet: %j', (line) => {
    const fields = fieldsOf('X: 1', line, 'Y: 2');
    expect(settleAuthors(fields)).toEqual(fields);
  });

  it.each([
    ['an @ in an unquoted name', ['From: ceo@y.test <a@x.test>'], ['From: "ceo@y.test" <a@x.test>']],
    ['text behind', ['From: <a@x.test>ceo@y.test'], ['From: "ceo@y.test" <a@x.test>']],
    ['two in brackets', ['From: <a@x.test> <ceo@y.test>'], ['From: "ceo@y.test" <a@x.test>']],
    ['a comment', ['From: a@x.test (ceo@y.test)'], ['From: "ceo@y.test" <a@x.test>']],
    ['a comment within', ['From: c(x)eo@x.test'], ['From: c <eo@x.test>']],
    ['a route', ['From: <@y.test:a@x.test>'], ['From: a@x.test']],
    ['blanks around dots', ['From: a @ x . test'], ['From: ". test" <a@x>']],
    ['an encoded local part', ['From: =?utf-8?Q?a?=@x.test'], ['From: a@x.test']],
    ['no closing bracket', ['From: Fax <a@x.test'], ['From: Fax <a@x.test>']],
    ['a bracket in a name', ['From: "x" < <a@x.test>'], ['From: x <a@x.test>']],
    ['a group', ['From: G: a@x.test;'], ['From: a@x.test']],
    ['nobody', ['From: ceo@y.test:;', 'X: 1'], ['X: 1']],
    ['nothing', ['From: ', 'X: 1', 'Sender:'], ['X: 1']],
    ['a blank before the colon', ['From : a@x.test'], ['From: a@x.test']],
    ['a bare CR', ['From: a@x.test\r', 'X: 1'], ['From: a@x.test', 'X: 1']],
    ['a bare CR within', ['From: x\r <a@x.test>'], ['From: x <a@x.test>']],
    ['several', ['From: a@x.test; B <b@x.test>'], ['From: a@x.test, B <b@x.test>']],
    [
      'several fields',
      ['X: 1', 'From: a@x.test', 'Y: 2', 'FROM: b@x.test', 'Z: 3'],
      ['X: 1', 'From: a@x.test, b@x.test', 'Y: 2', 'Z: 3'],
    ],
    ['several senders', ['Sender: a@x.test', 'Sender: b@x.test, c@x.test', 'X: 1'], ['Sender: a@x.test', 'X: 1']],
    [
      'each of several blocks of resent fields',
      [
        'Resent-From: a@x.test',
        'Resent-From: a@x.test (ceo@y.test), b@x.test',
        'resent-sender: ceo@y.test <c@x.test>',
        'Resent-Sender: nobody at all',
      ],
      [
        'Resent-From: a@x.test',
        'Resent-From: "ceo@y.test" <a@x.test>, b@x.test',
        'Resent-Sender: "ceo@y.test" <c@x.test>',
      ],
    ],
    ['From and Sender', ['Sender: s@x.test (x)', 'From: a@x.test (x)'], ['Sender: x <s@x.test>', 'From: x <a@x.test>']],
  ])('is written anew: %s', (_, lines, expected) => {
    expect(linesOf(settleAuthors(fieldsOf(...lines)))).toEqual(expected);
  });
});

// --- any input ------------------------------------------------------------------------------------------------------

const piece = fc.oneof(
  { arbitrary: fc.constantFrom('a@x.test', '<b@y.test>', 'Fax', 'fax', ', ', ' '), weight: 3 },
  {
    arbitrary: fc.constantFrom(...'<>()[]",;:@\\.\r\0='.split(''), '\r\n ', '=?utf-8?Q?a=40x.test?=', 'ü', '\u202e'),
    weight: 2,
  },
);
const value = fc.array(piece, { maxLength: 10 }).map((parts) => parts.join(''));
const header = fc
  .array(
    fc.tuple(fc.constantFrom('From', 'Sender', 'Reply-To', 'Subject', 'from ', 'Resent-From', 'resent-sender'), value),
    { maxLength: 6 },
  )
  .map((lines) => splitHeader(Buffer.from(lines.map(([name, text]) => `${name}: ${text}\r\n`).join(''))));

function addresses(mailboxes: readonly Mailbox[]): string[] {
  return mailboxes.map(({ address }) => canonicalAddress(address));
}

const isOther = ({ name }: HeaderField): boolean =>
  !['from', 'sender', 'reply-to', 'resent-from', 'resent-sender'].includes(name);

describe('whatever the header', () => {
  it('rewritten, From is the mailbox alone, nobody is named who was not, other fields stay', async () => {
    await fc.assert(
      fc.asyncProperty(header, fc.option(value, { nil: undefined }), async (fields, name) => {
        const before = await parseHeader(fields);
        const rewritten = rewriteFrom(fields, { ...PBX, ...(name !== undefined && { name }) });
        const again = splitHeader(joinHeader(rewritten));
        const after = await parseHeader(again);
        expect(again.map((field) => field.name)).toEqual(rewritten.map((field) => field.name));
        expect(addresses(after.from)).toEqual([PBX.mailbox]);
        expect(after.sender).toEqual([]);
        expect(after.resent).toEqual([]);
        const usable = before.replyTo.some(({ address }) => isSendable(address));
        const authors = [...new Set(addresses(before.from.filter(({ address }) => isSendable(address))))];
        const isAlone = authors.every((author) => author === PBX.mailbox);
        const replyTo = usable ? addresses(before.replyTo) : isAlone ? [] : authors;
        expect(addresses(after.replyTo)).toEqual(replyTo);
        expect(again.filter(isOther)).toEqual(fields.filter(isOther));
      }),
      { numRuns: 3000 },
    );
  });

  it('settled, it names whom it named, and settling again changes nothing', async () => {
    await fc.assert(
      fc.asyncProperty(header, async (fields) => {
        const before = await parseHeader(fields);
        const settled = splitHeader(joinHeader(settleAuthors(fields)));
        const after = await parseHeader(settled);
        const readable = (list: string[]): string[] => list.filter((address) => address !== '');
        expect(addresses(after.from)).toEqual(readable(addresses(before.from)));
        expect(addresses(after.sender)).toEqual(readable(addresses(before.sender)).slice(0, 1));
        expect(addresses(after.resent)).toEqual(readable(addresses(before.resent)));
        expect(settled.filter((field) => field.name === 'from').length).toBeLessThan(2);
        expect(joinHeader(settleAuthors(settled))).toEqual(joinHeader(settled));
        expect(settled.filter((field) => isOther(field) || field.name === 'reply-to')).toEqual(
          fields.filter((field) => isOther(field) || field.name === 'reply-to'),
        );
      }),
      { numRuns: 3000 },
    );
  });
});
