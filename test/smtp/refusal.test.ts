/** Every refusal: one reply with one enhanced code of its class, one event with that reply. And clients that talk nonsense. */
import { Buffer } from 'node:buffer';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MESSAGE, TestListener, until } from './listener.ts';
import type { Setup } from './listener.ts';

let listener: TestListener;

beforeEach(() => {
  listener = new TestListener();
});

afterEach(() => listener.end());

/** RFC 2034 section 4, RFC 3463 section 2. */
const PRECISE = /^([45])\d\d \1\.\d{1,3}\.\d{1,3} (?!\d+\.\d+\.\d+\b)\S/;

interface Case {
  readonly lines: readonly string[];
  readonly setup?: Setup;
  /** Begin of the last reply. */
  readonly reply: string;
  readonly refusal: string;
}

const MAIL = 'MAIL FROM:<a@contoso.com>';
const RCPT = 'RCPT TO:<b@contoso.com>';
const cases: Case[] = [
  { lines: ['NONSENSE'], reply: '500 5.5.2', refusal: 'syntax' },
  { lines: [''], reply: '500 5.5.2', refusal: 'syntax' },
  { lines: ['BDAT 10 LAST'], reply: '500 5.5.2', refusal: 'syntax' },
  { lines: ['WIZ'], reply: '500 5.5.2', refusal: 'syntax' },
  { lines: ['SHELL'], reply: '500 5.5.2', refusal: 'syntax' },
  { lines: ['KILL'], reply: '500 5.5.2', refusal: 'syntax' },
  { lines: ['LHLO x'], reply: '500 5.5.2', refusal: 'syntax' },
  // Words that the package uses as keys of its own.
  { lines: ['MAILBOX_FULL'], reply: '500 5.5.2', refusal: 'syntax' },
  { lines: ['RCPT_TO_OK'], reply: '500 5.5.2', refusal: 'syntax' },
  { lines: ['constructor'], reply: '500 5.5.2', refusal: 'syntax' },
  { lines: ['STARTTLS STARTTLS'], setup: { tls: 'optional' }, reply: '501 5.5.4', refusal: 'syntax' },
  { lines: ['EHLO'], reply: '501 5.5.4', refusal: 'syntax' },
  { lines: ['EHLO a b'], reply: '501 5.5.4', refusal: 'syntax' },
  { lines: ['HELO'], reply: '501 5.5.4', refusal: 'syntax' },
  { lines: [`EHLO ${'x'.repeat(400)}`], reply: '501 5.5.4', refusal: 'syntax' },
  { lines: ['VRFY'], reply: '501 5.5.4', refusal: 'syntax' },
  { lines: ['XCLIENT NAME=x'], reply: '550 5.7.0', refusal: 'syntax' },
  { lines: ['XFORWARD NAME=x'], reply: '550 5.7.0', refusal: 'syntax' },
  { lines: ['MAIL'], reply: '501 5.1.7', refusal: 'syntax' },
  { lines: ['MAIL FROM:a@contoso.com'], reply: '501 5.1.7', refusal: 'syntax' },
  { lines: ['MAIL FROM:<a@contoso.com> SIZE=x'], reply: '501 5.5.4', refusal: 'syntax' },
  { lines: ['MAIL FROM:<a@contoso.com> SIZE=9999999'], reply: '552 5.3.4', refusal: 'size' },
  { lines: [MAIL, MAIL], reply: '503 5.5.1', refusal: 'syntax' },
  { lines: [RCPT], reply: '503 5.5.1', refusal: 'syntax' },
  { lines: ['DATA'], reply: '503 5.5.1', refusal: 'syntax' },
  { lines: [MAIL, 'DATA'], reply: '503 5.5.1', refusal: 'syntax' },
  { lines: [MAIL, 'RCPT TO:b'], reply: '501 5.1.3', refusal: 'syntax' },
  {
    lines: [MAIL, RCPT, 'RCPT TO:<c@contoso.com>'],
    setup: { maxRecipients: 1 },
    reply: '452 4.5.3',
    refusal: 'recipients',
  },
  { lines: [MAIL], setup: { tls: 'required' }, reply: '530 5.7.0', refusal: 'tls' },
  { lines: [MAIL], setup: { auth: 'required', allowInsecureAuth: true }, reply: '530 5.7.0', refusal: 'auth' },
  { lines: ['AUTH PLAIN eA=='], setup: { auth: 'required', tls: 'optional' }, reply: '538 5.7.11', refusal: 'tls' },
  {
    lines: ['AUTH LOGIN eA== x'],
    setup: { auth: 'required', allowInsecureAuth: true },
    reply: '501 5.5.4',
    refusal: 'syntax',
  },
  { lines: ['AUTH NTLM'], setup: { auth: 'required', allowInsecureAuth: true }, reply: '504 5.5.4', refusal: 'syntax' },
  {
    lines: ['AUTH LOGIN eA==', 'eA=='],
    setup: { auth: 'required', allowInsecureAuth: true },
    reply: '535 5.7.8',
    refusal: 'auth',
  },
  {
    lines: [MAIL, RCPT, 'DATA', 'Received: x\r\nReceived: y\r\n\r\n.'],
    setup: { maxHops: 2 },
    reply: '554 5.4.6',
    refusal: 'loop',
  },
  { lines: [MAIL, RCPT, 'DATA', `${MESSAGE}.`], setup: { maxMessageSize: 50 }, reply: '552 5.3.4', refusal: 'size' },
  { lines: [MAIL, RCPT, 'DATA', `${MESSAGE}.`], setup: { maxHeaderSize: 50 }, reply: '552 5.3.4', refusal: 'header' },
  { lines: ['GET / HTTP/1.1'], reply: '421 4.7.0', refusal: 'syntax' },
  { lines: ['POST /x HTTP/1.1'], reply: '421 4.7.0', refusal: 'syntax' },
  { lines: Array.from({ length: 21 }, () => 'NONSENSE'), reply: '421 4.7.0', refusal: 'errors' },
  { lines: Array.from({ length: 3 }, () => RCPT), setup: { maxErrors: 2 }, reply: '421 4.7.0', refusal: 'errors' },
  {
    lines: Array.from({ length: 9 }, () => 'NOOP'),
    setup: { auth: 'required', allowInsecureAuth: true },
    reply: '421 4.7.0',
    refusal: 'auth',
  },
  { lines: ['x'.repeat(20_000)], reply: '421 4.5.2', refusal: 'syntax' },
];

describe('a refusal', () => {
  it.each(cases)('$reply for $lines', async ({ lines, setup, reply, refusal }) => {
    await listener.start(setup);
    const session = await listener.session();
    let last = '';
    for (const line of lines) last = await session.say(line);
    expect(last.slice(0, reply.length + 1)).toBe(`${reply} `);
    const refused = session.heard.filter((heard) => /^[45]/.test(heard));
    for (const heard of refused) expect(heard).toMatch(PRECISE);
    expect(listener.refusals.map((event) => event.reply)).toEqual(refused);
    for (const event of listener.refusals) expect(event).toMatchObject({ listener: 'lan', peer: '127.0.0.1' });
    expect(listener.refusals.at(-1)?.refusal).toBe(refusal);
    expect(listener.refusals.at(-1)?.reply).toBe(last);
    expect(listener.inject.messages).toEqual([]);
    if (last.startsWith('421')) await session.closed();
  });

  it('names the user who is logged in', async () => {
    await listener.start({ auth: 'required', allowInsecureAuth: true });
    const session = await listener.session();
    await session.say(`AUTH PLAIN ${Buffer.from('\0pbx\0secret').toString('base64')}`);
    await session.say('NONSENSE');
    expect(listener.refusals).toMatchObject([{ user: 'pbx', refusal: 'syntax' }]);
  });

  it('before EHLO is one as well', async () => {
    await listener.start();
    const session = await listener.connect();
    await session.reply();
    for (const line of [MAIL, RCPT, 'DATA', 'NONSENSE', 'EHLO']) expect(await session.say(line)).toMatch(/^50[013] /);
    expect(listener.refusals).toHaveLength(5);
  });

  it('is none for what is answered with a 2xx or 3xx', async () => {
    await listener.start({ tls: 'optional', auth: 'optional', allowInsecureAuth: true });
    const session = await listener.session();
    expect(await session.say('NOOP')).toBe('250 2.0.0 OK');
    expect(await session.say('HELP')).toMatch(/^214 2\.0\.0 /);
    expect(await session.say('VRFY b')).toMatch(/^252 2\.\d\.\d /);
    expect(await session.say('RSET')).toMatch(/^250 2\.0\.0 /);
    expect(await session.say(MAIL)).toBe('250 2.1.0 Accepted');
    expect(await session.say(RCPT)).toBe('250 2.1.5 Accepted');
    expect(await session.say('DATA')).toMatch(/^354 [^\d]/);
    expect(await session.say(`${MESSAGE}.`)).toBe('250 2.0.0 queued as m1');
    expect(await session.say('AUTH LOGIN')).toBe('334 VXNlcm5hbWU6');
    expect(await session.say('cGJ4')).toBe('334 UGFzc3dvcmQ6');
    expect(await session.say('c2VjcmV0')).toMatch(/^235 2\.7\.0 /);
    expect(await session.say('QUIT')).toBe('221 2.0.0 Bye');
    expect(listener.refusals).toEqual([]);
  });
});

describe('the sentence', () => {
  it.each([
    { lines: [MAIL, MAIL], reply: '503 5.5.1 A message is begun already: RCPT TO, or RSET' },
    { lines: [RCPT], reply: '503 5.5.1 MAIL FROM first' },
    { lines: [MAIL, 'DATA'], reply: '503 5.5.1 RCPT TO first: nobody was accepted as a recipient' },
    { lines: ['MAIL'], reply: '501 5.1.7 Cannot read it: MAIL FROM:<address>' },
    { lines: ['NONSENSE'], reply: '500 5.5.2 Unknown command' },
    { lines: ['EHLO'], reply: '501 5.5.4 EHLO and HELO want a domain or an address literal' },
    { lines: [MAIL], setup: { auth: 'required' }, reply: '530 5.7.0 Log in first (AUTH)' },
    {
      lines: [MAIL],
      setup: { auth: 'required', tls: 'optional', allowInsecureAuth: false },
      reply: '530 5.7.0 Log in first: STARTTLS, then AUTH',
    },
    {
      lines: [MAIL],
      setup: { loginFrom: ['127.0.0.1'], allow: [], auth: 'optional', tls: 'optional', allowInsecureAuth: false },
      reply: '530 5.7.0 Log in first: STARTTLS, then AUTH',
    },
  ] satisfies readonly { lines: readonly string[]; setup?: Setup; reply: string }[])(
    '$reply',
    async ({ lines, setup, reply }) => {
      await listener.start(setup);
      const session = await listener.session();
      let last = '';
      for (const line of lines) last = await session.say(line);
      expect(last).toBe(reply);
    },
  );
});

describe('nonsense', () => {
  let state = 4_711;
  const chance = (): number => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
  const noise = (length: number): Buffer => Buffer.from(Array.from({ length }, () => Math.floor(chance() * 256)));

  it.each([
    { name: 'noise', octets: noise(5_000) },
    { name: 'noise in lines', octets: Buffer.from(noise(3_000).toString('latin1').replaceAll('a', '\r\n'), 'latin1') },
    { name: 'a line of 20,000 octets', octets: Buffer.from(`${'y'.repeat(20_000)}\r\n`) },
    { name: 'a line that does not end', octets: Buffer.alloc(200_000, 'z') },
    { name: 'NUL', octets: Buffer.alloc(2_000) },
    { name: 'empty lines', octets: Buffer.alloc(4_000, '\r\n') },
    { name: 'a ClientHello', octets: Buffer.from('16030100750100007103034f1a2b3c0d0a0d0a0000', 'hex') },
    { name: 'an HTTP request', octets: Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n') },
    { name: 'SMB', octets: Buffer.from('000000a4ff534d4272000000000801c8', 'hex') },
    { name: 'a PROXY header', octets: Buffer.from('PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n') },
    { name: '3,000 commands', octets: Buffer.from('NOOP\r\nRSET\r\nMAIL FROM:<a@b.example>\r\n'.repeat(1_000)) },
  ])('$name breaks nothing, before and after EHLO', async ({ octets }) => {
    await listener.start();
    for (const first of ['', 'EHLO client.test\r\n']) {
      const session = await listener.connect();
      await session.reply();
      session.write(first);
      session.write(octets);
      session.socket.end();
      await session.closed();
    }
    await until('the close', () => listener.told('session.closed').length === 2);
    for (const { reply } of listener.refusals) expect(reply).toMatch(/^[45]\d\d /);
    for (const { reply } of listener.refusals) expect(reply).not.toMatch(/\p{Cc}/u);
    expect(listener.told('bug')).toEqual([]);
    expect(listener.inject.drafts).toEqual([]);
    const good = await listener.session();
    expect(await good.send(MESSAGE)).toMatch(/^250 /);
  });

  it('of many clients at once breaks nothing', async () => {
    await listener.start({ maxConnections: 100, auth: 'optional', allowInsecureAuth: true, tls: 'optional' });
    const words = [
      'EHLO x',
      MAIL,
      RCPT,
      'DATA',
      '.',
      'AUTH PLAIN',
      'AUTH LOGIN',
      '*',
      'RSET',
      'STARTTLS',
      'cGJ4',
      '',
      'x: y',
    ];
    await Promise.all(
      Array.from({ length: 40 }, async (_, n) => {
        const session = await listener.connect();
        for (let line = 0; line < 25; line++)
          session.write(chance() < 0.1 ? noise(50) : `${words[Math.floor(chance() * words.length)]}\r\n`);
        if (n % 3 === 0) session.reset();
        else session.socket.end();
        await session.closed();
      }),
    );
    await until('the close', () => listener.told('session.closed').length === listener.told('session.opened').length);
    expect(listener.told('bug')).toEqual([]);
    for (const { state } of listener.inject.drafts) expect(['committed', 'aborted']).toContain(state);
    expect(await (await listener.session()).send(MESSAGE)).toMatch(/^250 /);
  });
});
