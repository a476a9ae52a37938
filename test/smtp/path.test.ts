/** Paths and parameters of MAIL and RCPT: what a strict listener takes, and what only a lenient one does. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readPath, unknownParameter } from '../../src/smtp/path.ts';
import type { Verb } from '../../src/smtp/path.ts';

function read(line: string, lenient: boolean): string | undefined {
  const verb: Verb = /^\s*mail/i.test(line) ? 'MAIL FROM' : 'RCPT TO';
  return readPath(verb, line, { lenient, completeDomain: 'contoso.com' })?.address;
}

describe('both take', () => {
  it.each([
    ['MAIL FROM:<a@x.example>', 'a@x.example'],
    ['mail from:<a@x.example>', 'a@x.example'],
    ['MAIL FROM:<>', ''],
    ['MAIL FROM:<a@x.example> SIZE=10 BODY=8BITMIME', 'a@x.example'],
    ['RCPT TO:<FAX=5551234@gw.example>', 'FAX=5551234@gw.example'],
    ['RCPT TO:<#31#5551234@gw.example>', '#31#5551234@gw.example'],
    ['RCPT TO:<*@gw.example>', '*@gw.example'],
    ['RCPT TO:<+390612345@gw.example>', '+390612345@gw.example'],
    ['RCPT TO:</fax=555/name=x@gw.example>', '/fax=555/name=x@gw.example'],
    ['RCPT TO:<"john doe"@x.example>', '"john doe"@x.example'],
    ['RCPT TO:<"a@b"@x.example>', '"a@b"@x.example'],
    ['RCPT TO:<"a>b"@x.example>', '"a>b"@x.example'],
    ['RCPT TO:<"a\\"b"@x.example>', '"a\\"b"@x.example'],
    // One address, one form.
    ['RCPT TO:<"ceo"@x.example>', 'ceo@x.example'],
    ['RCPT TO:<"c\\eo"@x.example>', 'ceo@x.example'],
    ['RCPT TO:<"john\\ doe"@x.example>', '"john doe"@x.example'],
    ['RCPT TO:<@a.example,@b.example:c@x.example>', 'c@x.example'],
    ['RCPT TO:<postmaster>', 'postmaster@contoso.com'],
    ['RCPT TO:<PostMaster>', 'PostMaster@contoso.com'],
    ['RCPT TO:<a@[192.0.2.1]>', 'a@[192.0.2.1]'],
    ['RCPT TO:<a@[IPv6:2001:db8::1]>', 'a@[IPv6:2001:db8::1]'],
    ['RCPT TO:<ü@bücher.example>', 'ü@bücher.example'],
  ])('%s', (line, address) => {
    expect(read(line, false)).toBe(address);
    expect(read(line, true)).toBe(address);
  });
});

describe('only a lenient one takes', () => {
  it.each([
    ['MAIL FROM: <a@x.example>', 'a@x.example'],
    ['MAIL FROM :<a@x.example>', 'a@x.example'],
    ['MAIL  FROM:<a@x.example>', 'a@x.example'],
    ['MAIL FROM<a@x.example>', 'a@x.example'],
    ['MAIL FROM <a@x.example>', 'a@x.example'],
    ['MAIL FROM a@x.example', 'a@x.example'],
    ['MAIL FROM:a@x.example', 'a@x.example'],
    ['MAIL FROM: a@x.example SIZE=10', 'a@x.example'],
    ['MAIL FROM:<a@x.example', 'a@x.example'],
    ['MAIL FROM:<a@x.example SIZE=10', 'a@x.example'],
    ['MAIL FROM:a@x.example>', 'a@x.example'],
    ['MAIL FROM:<<a@x.example>>', 'a@x.example'],
    ['MAIL FROM:"Scan Station" <a@x.example>', 'a@x.example'],
    ['MAIL FROM:Scan Station <a@x.example>', 'a@x.example'],
    ['MAIL FROM:"<b@y.example>" <a@x.example>', 'a@x.example'],
    ['MAIL FROM:< a@x.example >', 'a@x.example'],
    ['MAIL FROM:<fax>', 'fax@contoso.com'],
    ['MAIL FROM:fax', 'fax@contoso.com'],
    ['MAIL FROM:<fax@>', 'fax@contoso.com'],
    ['RCPT TO:<FaxMaster>', 'FaxMaster@contoso.com'],
    ['RCPT TO:<"john doe">', '"john doe"@contoso.com'],
    ['RCPT TO:"john doe"@x.example', '"john doe"@x.example'],
    ['RCPT TO:<a@x.example.>', 'a@x.example'],
    ['RCPT TO:<a@my_host>', 'a@my_host'],
    ['RCPT TO:<+39..@x.example>', '+39..@x.example'],
    ['RCPT TO:<user.@x.example>', 'user.@x.example'],
    ['RCPT TO:<.user@x.example>', '.user@x.example'],
    ['RCPT TO: @a.example:c@x.example', 'c@x.example'],
  ])('%s', (line, address) => {
    expect(read(line, false)).toBeUndefined();
    expect(read(line, true)).toBe(address);
  });
});

describe('none takes', () => {
  it.each([
    'RCPT TO:<>',
    'RCPT TO:',
    'RCPT TO:<a@b@x.example>',
    'RCPT TO:<a@x.example>b@y.example',
    'RCPT TO:<a@x.example,b@y.example>',
    'RCPT TO:<a b@x.example>',
    'RCPT TO:a b@x.example',
    'RCPT TO:<a@x.example> b@y.example',
    'RCPT TO:<a@x.example> <b@y.example>',
    'RCPT TO:<a@x.example b@y.example',
    'RCPT TO:< >',
    'RCPT TO:<a@x..example>',
    'RCPT TO:<a@.x.example>',
    'RCPT TO:<a@[300.0.2.1]>',
    'RCPT TO:<a@[IPv6:zz]>',
    'RCPT TO:<"a"b"@x.example>',
    'RCPT TO:<"a@x.example>',
    'RCPT TO:<a\\b@x.example>',
    'RCPT TO:<a(comment)@x.example>',
    'RCPT TO:<a\u0000b@x.example>',
    'RCPT TO:<a\u200bb@x.example>',
    'RCPT TO:<"a\rb"@x.example>',
    `RCPT TO:<${'a'.repeat(250)}@x.example>`,
    'RCPT TO:<a@xn--ab-1u3n.example>',
    'MAIL FROM:<a@x.example> ENVID=a+0D+0Ab',
    'MAIL TO:<a@x.example>',
    'RCPT FROM:<a@x.example>',
    'MAILFROM:<a@x.example>',
  ])('%j', (line) => {
    expect(read(line, false)).toBeUndefined();
    expect(read(line, true)).toBeUndefined();
  });
});

describe('parameters', () => {
  const args = (line: string, lenient: boolean): unknown =>
    readPath('MAIL FROM', line, { lenient, completeDomain: 'x.example' })?.args;

  it('are decoded from xtext, names in upper case', () => {
    expect(args('MAIL FROM:<a@x.example> size=10 ENVID=a+2Bb SMTPUTF8', false)).toEqual({
      SIZE: '10',
      ENVID: 'a+b',
      SMTPUTF8: true,
    });
    expect(args('MAIL FROM:<a@x.example>', false)).toBe(false);
  });

  it('nobody knows are overlooked by a lenient listener, even twice', () => {
    const line = 'MAIL FROM:<a@x.example> X-DEVICE=1 X-DEVICE=2 SIZE=10';
    expect(args(line, true)).toEqual({ SIZE: '10' });
    const strict = readPath('MAIL FROM', line, { lenient: false, completeDomain: 'x.example' });
    expect(strict?.duplicate).toBe('X-DEVICE');
    expect(unknownParameter('MAIL FROM', strict?.args ?? false)).toBe('X-DEVICE');
  });

  it('named like what every object has are parameters as others', () => {
    expect(args('MAIL FROM:<a@x.example> CONSTRUCTOR=1', false)).toEqual({ CONSTRUCTOR: '1' });
  });
});

it('costs linear time', () => {
  for (const text of [
    '"'.repeat(16_000),
    '\\'.repeat(16_000),
    '@a,'.repeat(5_000),
    '<'.repeat(16_000),
    ' '.repeat(16_000),
  ]) {
    const begun = performance.now();
    read(`RCPT TO:${text}`, true);
    read(`RCPT TO:<${text}>`, true);
    expect(performance.now() - begun).toBeLessThan(500);
  }
});

it('gives an address one form: read again it is the same, and nothing of it could be taken for more', () => {
  const piece = fc.constantFrom(
    'a',
    'b.c',
    '@',
    '.',
    '"',
    '\\',
    '<',
    '>',
    ' ',
    ',',
    ':',
    'x.example',
    '[192.0.2.1]',
    '\r',
    'ü',
    'SIZE=1',
  );
  const line = fc.array(piece, { maxLength: 9 }).map((all) => all.join(''));
  let read = 0;
  fc.assert(
    fc.property(line, fc.boolean(), (path, lenient) => {
      const mode = { lenient, completeDomain: 'contoso.com' };
      const { address } = readPath('RCPT TO', `RCPT TO:${path}`, mode) ?? {};
      if (address === undefined) return;
      read++;
      expect(readPath('RCPT TO', `RCPT TO:<${address}>`, mode)?.address).toBe(address);
      expect(address).toMatch(/^(?:[^\s"<>\\@,:]+|"(?:[^"\\]|\\.)*")@[^\s"<>@,]+$/u);
    }),
    { seed: 2_026, numRuns: 30_000 },
  );
  expect(read).toBeGreaterThan(100);
});
