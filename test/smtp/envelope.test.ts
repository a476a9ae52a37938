/** What MAIL and RCPT make of an envelope, from one transaction to the next. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MESSAGE, TestListener } from './listener.ts';
import type { Session } from './session.ts';

let listener: TestListener;

beforeEach(() => {
  listener = new TestListener();
});

afterEach(() => listener.end());

/** Says MAIL and RCPT as given, then sends a message. */
async function transact(session: Session, lines: readonly string[]): Promise<void> {
  for (const line of lines) {
    const reply = await session.say(line);
    if (!reply.startsWith('250 2.1.')) throw new Error(`${line} was answered ${reply}`);
  }
  expect(await session.say('DATA')).toMatch(/^354 /);
  session.write(`${MESSAGE}.\r\n`);
  expect(await session.reply()).toMatch(/^250 2\.0\.0 /);
}

describe('DSN parameters', () => {
  it('come into the envelope, decoded once', async () => {
    await listener.start();
    const session = await listener.session();
    await transact(session, [
      'MAIL FROM:<a@contoso.com> RET=HDRS ENVID=QQ+2B41+3D1',
      'RCPT TO:<b@contoso.com> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;Bob+2BTag@example.com',
      'RCPT TO:<c@contoso.com> NOTIFY=NEVER',
      'rcpt to:<d@contoso.com> notify=delay',
      'RCPT TO:<e@contoso.com>',
    ]);
    expect(listener.inject.only.envelope).toEqual({
      reversePath: 'a@contoso.com',
      // xtext of `QQ+41=1`: decoded a second time it would be `QQA=1`.
      envelopeId: 'QQ+41=1',
      ret: 'headers',
      recipients: [
        {
          address: 'b@contoso.com',
          notify: ['success', 'failure', 'delay'],
          originalRecipient: 'rfc822;Bob+Tag@example.com',
        },
        { address: 'c@contoso.com', notify: ['never'] },
        { address: 'd@contoso.com', notify: ['delay'] },
        { address: 'e@contoso.com' },
      ],
    });
  });

  it.each([
    { line: 'MAIL FROM:<a@contoso.com> RET=FULL', envelope: { ret: 'full' } },
    { line: 'MAIL FROM:<a@contoso.com> ret=full', envelope: { ret: 'full' } },
    { line: 'MAIL FROM:<a@contoso.com> BODY=8BITMIME', envelope: {} },
    { line: 'MAIL FROM:<a@contoso.com> BODY=7BIT SIZE=100', envelope: {} },
    { line: 'MAIL FROM:<a@contoso.com> SMTPUTF8', envelope: { smtpUtf8: true } },
    { line: 'mail from:<a@contoso.com>', envelope: {} },
  ])('$line', async ({ line, envelope }) => {
    await listener.start();
    await transact(await listener.session(), [line, 'RCPT TO:<b@contoso.com>']);
    expect(listener.inject.only.envelope).toEqual({
      reversePath: 'a@contoso.com',
      recipients: [{ address: 'b@contoso.com' }],
      ...envelope,
    });
  });

  it.each([
    'MAIL FROM:<a@contoso.com> RET=SOME',
    'MAIL FROM:<a@contoso.com> RET',
    'MAIL FROM:<a@contoso.com> ENVID=a+0D+0Ab',
    'MAIL FROM:<a@contoso.com> BODY=BINARYMIME',
    'MAIL FROM:<a@contoso.com> SMTPUTF8=1',
    'MAIL FROM:<a@contoso.com> ENVID=1 ENVID=2',
  ])('%s is refused', async (line) => {
    await listener.start();
    expect(await (await listener.session()).say(line)).toMatch(/^501 5\.\d\.\d /);
  });

  it.each(['NOTIFY=NEVER,DELAY', 'NOTIFY=SOMETIMES', 'NOTIFY=', 'ORCPT=bob', 'ORCPT=rfc822;a+0Ab'])(
    'RCPT with %s is refused',
    async (parameter) => {
      await listener.start();
      const session = await listener.session();
      await session.say('MAIL FROM:<a@contoso.com>');
      expect(await session.say(`RCPT TO:<b@contoso.com> ${parameter}`)).toMatch(/^501 5\.\d\.\d /);
    },
  );
});

describe('addresses', () => {
  it.each([
    { written: 'b@contoso.com', address: 'b@contoso.com' },
    { written: 'Bob.Smith+tag@Contoso.COM', address: 'Bob.Smith+tag@Contoso.COM' },
    { written: 'b@bücher.example', address: 'b@xn--bcher-kva.example' },
    { written: 'b@xn--bcher-kva.example', address: 'b@xn--bcher-kva.example' },
    { written: 'grüße@bücher.example', address: 'grüße@xn--bcher-kva.example' },
    { written: 'b@例え.テスト', address: 'b@xn--r8jz45g.xn--zckzah' },
    { written: 'b@[192.0.2.1]', address: 'b@[192.0.2.1]' },
    { written: 'b@[IPv6:2001:db8::1]', address: 'b@[IPv6:2001:db8::1]' },
    { written: '@relay.example:b@contoso.com', address: 'b@contoso.com' },
    { written: "o'brien=x/y@contoso.com", address: "o'brien=x/y@contoso.com" },
  ])('$written', async ({ written, address }) => {
    await listener.start();
    await transact(await listener.session(), [`MAIL FROM:<${written}> SMTPUTF8`, `RCPT TO:<${written}>`]);
    expect(listener.inject.only.envelope).toEqual({
      reversePath: address,
      recipients: [{ address }],
      smtpUtf8: true,
    });
    expect(listener.inject.only.fields('received').join('')).toMatch(/ with\s+UTF8SMTP\s/);
  });

  it.each([
    'b',
    'b@',
    '@contoso.com',
    'b@contoso..com',
    'b@contoso.com>',
    'b c@contoso.com',
    'b@con toso.com',
    'b@contoso.com,c@contoso.com',
    // Not UTF-8: whoever is meant, it is not the one with the replacement character.
    'm\ufffdller@contoso.com',
    // Decode to a full-width solidus and to another full stop: no domain has them.
    'b@xn--r6j.example',
    'b@xn--ab-1u3n.example',
  ])('%s is none', async (address) => {
    await listener.start();
    const session = await listener.session();
    expect(await session.say(`MAIL FROM:<${address}>`)).toMatch(/^501 5\.1\.7 /);
    expect(await session.say('MAIL FROM:<a@contoso.com>')).toMatch(/^250 /);
    expect(await session.say(`RCPT TO:<${address}>`)).toMatch(/^501 5\.1\.3 /);
    expect(listener.refusals.map(({ refusal }) => refusal)).toEqual(['syntax', 'syntax']);
  });

  it('in Latin-1 are refused instead of being guessed', async () => {
    await listener.start();
    const session = await listener.session();
    session.write(Buffer.from('MAIL FROM:<m\xfcller@contoso.com>\r\n', 'latin1'));
    expect(await session.reply()).toMatch(/^501 5\.1\.7 /);
  });

  it('<> is the null reverse-path; nobody is <>', async () => {
    await listener.start();
    const session = await listener.session();
    await session.say('MAIL FROM:<>');
    expect(await session.say('RCPT TO:<>')).toMatch(/^501 5\.1\.3 /);
    expect(await session.say('RCPT TO:<b@contoso.com>')).toMatch(/^250 /);
    await session.say('DATA');
    session.write(`${MESSAGE}.\r\n`);
    expect(await session.reply()).toMatch(/^250 /);
    expect(listener.inject.only.envelope.reversePath).toBe('');
  });

  it('given twice count once', async () => {
    await listener.start();
    await transact(await listener.session(), [
      'MAIL FROM:<a@contoso.com>',
      'RCPT TO:<b@contoso.com>',
      'RCPT TO:<b@contoso.com>',
    ]);
    expect(listener.inject.only.envelope.recipients).toEqual([{ address: 'b@contoso.com' }]);
  });
});

describe('a session', () => {
  it('takes several messages, each with its own envelope', async () => {
    await listener.start();
    const session = await listener.session();
    await transact(session, [
      'MAIL FROM:<a@contoso.com> RET=FULL ENVID=one SMTPUTF8',
      'RCPT TO:<b@contoso.com> NOTIFY=NEVER',
    ]);
    await transact(session, ['MAIL FROM:<c@contoso.com>', 'RCPT TO:<d@contoso.com>']);
    expect(listener.inject.messages.map(({ envelope }) => envelope)).toEqual([
      {
        reversePath: 'a@contoso.com',
        recipients: [{ address: 'b@contoso.com', notify: ['never'] }],
        ret: 'full',
        envelopeId: 'one',
        smtpUtf8: true,
      },
      { reversePath: 'c@contoso.com', recipients: [{ address: 'd@contoso.com' }] },
    ]);
    expect(listener.inject.messages.map(({ id }) => id)).toEqual(['m1', 'm2']);
  });

  it('forgets the transaction at RSET and at EHLO', async () => {
    await listener.start();
    const session = await listener.session();
    for (const line of ['RSET', 'EHLO client.test', 'HELO client.test']) {
      await session.say('MAIL FROM:<x@contoso.com> ENVID=gone');
      await session.say('RCPT TO:<y@contoso.com>');
      expect(await session.say(line)).toMatch(/^250/);
      expect(await session.say('RCPT TO:<y@contoso.com>')).toMatch(/^503 5\.5\.1 /);
      expect(await session.say('DATA')).toMatch(/^503 5\.5\.1 /);
    }
    await transact(session, ['MAIL FROM:<a@contoso.com>', 'RCPT TO:<b@contoso.com>']);
    expect(listener.inject.only.envelope).toEqual({
      reversePath: 'a@contoso.com',
      recipients: [{ address: 'b@contoso.com' }],
    });
  });

  it('takes nothing over from a MAIL that was refused', async () => {
    await listener.start();
    const session = await listener.session();
    listener.inject.answer = { ok: false, reason: 'full' };
    expect(await session.say('MAIL FROM:<x@contoso.com> RET=FULL ENVID=gone SMTPUTF8')).toMatch(/^452 /);
    listener.inject.answer = { ok: true };
    await transact(session, ['MAIL FROM:<a@contoso.com>', 'RCPT TO:<b@contoso.com>']);
    expect(listener.inject.only.envelope).toEqual({
      reversePath: 'a@contoso.com',
      recipients: [{ address: 'b@contoso.com' }],
    });
  });

  it('may be written in one go', async () => {
    await listener.start();
    const session = await listener.connect();
    await session.reply();
    const transaction = (n: number): string =>
      `MAIL FROM:<a${n}@contoso.com>\r\nRCPT TO:<b${n}@contoso.com>\r\nRCPT TO:<nonsense>\r\nDATA\r\n${MESSAGE}.\r\n`;
    session.write(`EHLO client.test\r\n${transaction(1)}RSET\r\n${transaction(2)}QUIT\r\n`);
    const codes = (await session.replies(13)).map((reply) => reply.slice(0, 3));
    expect(codes).toEqual(['250', '250', '250', '501', '354', '250', '250', '250', '250', '501', '354', '250', '221']);
    await session.closed();
    expect(listener.inject.messages.map(({ envelope }) => [envelope.reversePath, envelope.recipients])).toEqual([
      ['a1@contoso.com', [{ address: 'b1@contoso.com' }]],
      ['a2@contoso.com', [{ address: 'b2@contoso.com' }]],
    ]);
  });
});
