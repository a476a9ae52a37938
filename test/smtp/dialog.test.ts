/** Dialogs of old devices: taken by a lenient listener, refused with the right code by a strict one. */
import { Buffer } from 'node:buffer';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { repairedLine } from '../../src/smtp/dialog.ts';
import { base64, MESSAGE, plain, TestListener } from './listener.ts';

let listener: TestListener;
beforeEach(() => {
  listener = new TestListener();
});
afterEach(() => listener.end());

const HELLO = 'EHLO client.test';
const MAIL = 'MAIL FROM:<a@contoso.com>';

describe('a line a strict listener refuses', () => {
  it.each([
    { lines: ['HELO'], strict: '501 ' },
    { lines: ['EHLO'], strict: '501 ' },
    { lines: ['HELO 192.0.2.7'], strict: '501 ' },
    { lines: ['EHLO 192.0.2.7'], strict: '501 ' },
    { lines: ['HELO my_printer'], strict: '501 ' },
    { lines: ['HELO -x'], strict: '501 ' },
    { lines: ['HELO Scan Station 4'], strict: '501 ' },
    { lines: ['EHLO m\u00fcller'], strict: '501 ' },
    { lines: ['  HELO x'], strict: '500 ' },
    { lines: [HELLO, 'MAIL FROM: <a@contoso.com>'], strict: '501 5.1.7 ' },
    { lines: [HELLO, 'MAIL FROM:a@contoso.com'], strict: '501 5.1.7 ' },
    { lines: [HELLO, 'MAIL FROM <a@contoso.com>'], strict: '501 5.1.7 ' },
    { lines: [HELLO, 'MAIL\tFROM:<a@contoso.com>'], strict: '500 5.5.2 ' },
    { lines: [HELLO, 'MAIL FROM:<fax>'], strict: '501 5.1.7 ' },
    { lines: [HELLO, 'MAIL FROM:<a@contoso.com> X-SCAN=1'], strict: '555 5.5.4 ' },
    { lines: [HELLO, MAIL, 'RCPT TO: b@contoso.com'], strict: '501 5.1.3 ' },
    { lines: [HELLO, MAIL, 'RCPT TO:<b@contoso.com.>'], strict: '501 5.1.3 ' },
    { lines: [HELLO, MAIL, 'RCPT TO:<+39..@contoso.com>'], strict: '501 5.1.3 ' },
    { lines: [HELLO, MAIL, 'RCPT TO:<b@my_host>'], strict: '501 5.1.3 ' },
    { lines: [HELLO, MAIL, 'RCPT TO:<b@contoso.com> FAX=1'], strict: '555 5.5.4 ' },
    { lines: [HELLO, 'NOOP\0'], strict: '500 5.5.2 ' },
  ])('$lines', async ({ lines, strict }) => {
    for (const lenient of [false, true]) {
      const one = await new TestListener().start({ lenient });
      try {
        const session = await one.connect();
        await session.reply();
        let last = '';
        for (const line of lines) last = await session.say(line);
        expect(last.startsWith(lenient ? '250' : strict)).toBe(true);
        expect(one.refusals.map(({ refusal, reply }) => ({ refusal, reply }))).toEqual(
          lenient ? [] : [{ refusal: 'syntax', reply: last }],
        );
      } finally {
        await one.end();
      }
    }
  });
});

describe('a lenient listener', () => {
  it.each([
    { helo: 'HELO', from: '[127.0.0.1]' },
    { helo: 'EHLO 192.0.2.7', from: '192.0.2.7' },
    { helo: 'HELO my_printer', from: 'my_printer' },
    { helo: 'HELO Scan Station', from: 'scan' },
  ])('$helo: a message goes through, and Received says who it was', async ({ helo, from }) => {
    await listener.start({ lenient: true });
    const session = await listener.connect();
    await session.reply();
    expect(await session.say(helo)).toMatch(/^250/);
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
    expect(listener.inject.only.origin.helo).toBe(from);
    expect(listener.inject.only.fields('received').join('')).toContain(`from ${from} ([127.0.0.1])`);
  });

  it('puts what it read into the envelope', async () => {
    await listener.start({ lenient: true });
    const session = await listener.session();
    for (const line of [
      'mail from: scanner X-SCAN=1',
      'RCPT TO:FAX=5551234@contoso.com',
      'RCPT TO: <#31#5551234@contoso.com>',
      'RCPT TO:<*@contoso.com.>',
      'RCPT TO:<+39..@contoso.com>',
      'RCPT TO:<"john doe"@contoso.com> NOTIFY=NEVER',
      'RCPT TO:<@relay.example:FaxMaster>',
      'RCPT TO:<postmaster>',
    ])
      expect(await session.say(line)).toMatch(/^250 2\.1\.[05] Accepted$/);
    await session.say('DATA now');
    session.write(`${MESSAGE}.\r\n`);
    expect(await session.reply()).toMatch(/^250 /);
    expect(listener.inject.only.envelope).toEqual({
      reversePath: 'scanner@contoso.com',
      recipients: [
        { address: 'FAX=5551234@contoso.com' },
        { address: '#31#5551234@contoso.com' },
        { address: '*@contoso.com' },
        { address: '+39..@contoso.com' },
        { address: '"john doe"@contoso.com', notify: ['never'] },
        { address: 'FaxMaster@contoso.com' },
        { address: 'postmaster@contoso.com' },
      ],
    });
  });

  it.each([
    { name: 'LOGIN, word by word', lines: ['AUTH LOGIN', base64('pbx'), base64('secret')] },
    { name: 'LOGIN with the name at once', lines: [`AUTH LOGIN ${base64('pbx')}`, base64('secret')] },
    {
      name: 'LOGIN in small letters, with blanks',
      lines: ['auth  login', `${base64('pbx')} `, `${base64('secret')} `],
    },
    { name: 'PLAIN at once', lines: [`AUTH PLAIN ${plain('pbx', 'secret')}`] },
    { name: 'PLAIN, word by word', lines: ['AUTH PLAIN', plain('pbx', 'secret')] },
  ])('lets a device log in before STARTTLS where that is allowed: $name', async ({ lines }) => {
    await listener.start({ lenient: true, tls: 'optional', auth: 'optional', allowInsecureAuth: true });
    for (const end of ['\r\n', '\n']) {
      const session = await listener.connect();
      await session.reply();
      let last = await session.say('HELO scanner');
      for (const line of lines) {
        session.write(`${line}${end}`);
        last = await session.reply();
      }
      expect(last).toMatch(/^235 2\.7\.0 /);
      expect(await session.send(MESSAGE)).toMatch(/^250 /);
    }
    expect(listener.inject.messages.map(({ origin }) => origin.user)).toEqual(['pbx', 'pbx']);
  });

  it('does not touch what a login says', async () => {
    await listener.start({ lenient: true, auth: 'optional', allowInsecureAuth: true });
    const session = await listener.session();
    await session.say('AUTH LOGIN');
    // In base64 these are no words of SMTP; a device may send them nevertheless.
    expect(await session.say('NOOP')).toMatch(/^334 /);
    expect(await session.say('QUIT')).toMatch(/^535 5\.7\.8 /);
  });

  it('still wants HELO before MAIL, and refuses nonsense', async () => {
    await listener.start({ lenient: true });
    const session = await listener.connect();
    await session.reply();
    expect(await session.say(MAIL)).toMatch(/^503 5\.5\.1 /);
    expect(await session.say('FROB x')).toMatch(/^500 5\.5\.2 /);
    expect(await session.say('')).toMatch(/^500 5\.5\.2 /);
  });
});

describe('repairedLine', () => {
  it.each([
    { line: 'HELO', becomes: 'HELO [192.0.2.1]' },
    { line: 'EHLO  \t ', becomes: 'EHLO [192.0.2.1]' },
    { line: 'EHLO', peer: '2001:db8::1', becomes: 'EHLO [IPv6:2001:db8::1]' },
    { line: 'helo a b c', becomes: 'helo a' },
    { line: `HELO ${'x'.repeat(400)}`, becomes: `HELO ${'x'.repeat(255)}` },
    { line: 'HELO a\u0001b', becomes: 'HELO a' },
    { line: ' DATA x', becomes: 'DATA' },
    { line: 'QUIT please', becomes: 'QUIT' },
    { line: '\0\0QUIT\0', becomes: 'QUIT' },
    { line: 'AUTH\tLOGIN', becomes: 'AUTH LOGIN' },
    { line: 'VRFY b', becomes: 'VRFY b' },
    { line: '', becomes: '' },
    { line: '220 hello', becomes: '220 hello' },
  ])('$line', ({ line, peer = '192.0.2.1', becomes }) => {
    expect(repairedLine(Buffer.from(line, 'latin1'), peer).toString('latin1')).toBe(becomes);
  });
});
