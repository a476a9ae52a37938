/** The end: idle sessions are told at once, a message under way is finished, the signal ends all waiting. */
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashPassword } from '../../src/smtp/password.ts';
import { MESSAGE, plain, TestListener, until } from './listener.ts';

let listener: TestListener;

beforeEach(() => {
  listener = new TestListener();
});

afterEach(() => listener.end());

/** Milliseconds. */
async function took(work: Promise<void>): Promise<number> {
  const begun = performance.now();
  await work;
  return performance.now() - begun;
}

const refusals = (): string[] => listener.refusals.map(({ refusal }) => refusal);

describe('stop', () => {
  it.each([
    { where: 'after the greeting', lines: [] },
    { where: 'after EHLO', lines: ['EHLO client.test'] },
    { where: 'in a transaction', lines: ['EHLO client.test', 'MAIL FROM:<a@contoso.com>', 'RCPT TO:<b@contoso.com>'] },
  ])('says 421 4.3.2 at once to a session $where', async ({ lines }) => {
    await listener.start();
    const session = await listener.connect();
    await session.reply();
    for (const line of lines) await session.say(line);
    const stopped = took(listener.stop());
    expect(await session.reply()).toMatch(/^421 4\.3\.2 /);
    await session.closed();
    expect(await stopped).toBeLessThan(400);
    await until('the close', () => listener.told('session.closed').length > 0);
    expect(refusals()).toEqual(['stopping']);
  });

  it('says it under TLS as well', async () => {
    await listener.start({ tls: 'optional' });
    const implicit = new TestListener();
    await implicit.start({ tls: 'implicit' });
    const upgraded = await listener.session();
    await upgraded.startTls();
    const secure = await implicit.connectTls();
    await secure.hello();
    const stopped = took(Promise.all([listener.stop(), implicit.stop()]).then(() => undefined));
    for (const session of [upgraded, secure]) {
      expect(await session.reply()).toMatch(/^421 4\.3\.2 /);
      await session.closed();
    }
    expect(await stopped).toBeLessThan(400);
    expect([...refusals(), ...implicit.refusals.map(({ refusal }) => refusal)]).toEqual(['stopping', 'stopping']);
    await implicit.end();
  });

  it('takes no connection any more', async () => {
    await listener.start();
    const { port } = listener;
    await listener.stop();
    const socket = connect({ port, host: '127.0.0.1' });
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
  });

  it('says 421 to who connects in the same moment', async () => {
    await listener.start();
    const sessions = await Promise.all(Array.from({ length: 8 }, () => listener.connect()));
    const stopped = took(listener.stop());
    await Promise.all(sessions.map((session) => session.closed()));
    expect(await stopped).toBeLessThan(1_500);
    for (const session of sessions) {
      // A socket the listener had not taken yet is closed with it.
      const replies = session.heard.filter((reply) => !reply.startsWith('220 '));
      expect(replies.map((reply) => reply.slice(0, 10)).join('|')).toMatch(/^(?:421 4\.3\.2 )?$/);
    }
    expect(refusals().filter((refusal) => refusal !== 'stopping')).toEqual([]);
  });

  it('does not wait for a client that does not close its side', async () => {
    await listener.start();
    const socket = connect({ port: listener.port, host: '127.0.0.1', allowHalfOpen: true });
    await once(socket, 'data');
    socket.on('error', () => undefined);
    expect(await took(listener.stop())).toBeLessThan(1_500);
    socket.destroy();
  });

  it('lets a message under way finish: 250, then 421', async () => {
    await listener.start();
    const session = await listener.session();
    await session.toData();
    session.write(MESSAGE.slice(0, 30));
    let isStopped = false;
    const stopped = listener.stop().then(() => (isStopped = true));
    await pause(50);
    expect([isStopped, session.unread]).toEqual([false, []]);
    session.write(`${MESSAGE.slice(30)}.\r\n`);
    expect(await session.reply()).toBe('250 2.0.0 queued as m1');
    expect(await session.reply()).toMatch(/^421 4\.3\.2 /);
    await session.closed();
    await stopped;
    expect(listener.inject.only.body.toString()).toBe('body\r\n');
    expect(refusals()).toEqual(['stopping']);
  });

  it('waits for a commit under way', async () => {
    await listener.start();
    let release = (): void => undefined;
    listener.inject.onCommit = () => new Promise((resolve) => (release = resolve));
    const session = await listener.session();
    await session.toData();
    session.write(`${MESSAGE}.\r\n`);
    await until('the commit', () => listener.inject.drafts[0]?.state === 'committing');
    const stopped = listener.stop();
    await pause(50);
    expect(session.unread).toEqual([]);
    release();
    expect(await session.reply()).toBe('250 2.0.0 queued as m1');
    expect(await session.reply()).toMatch(/^421 4\.3\.2 /);
    await stopped;
  });

  it('refuses what is pipelined behind the last message, once', async () => {
    await listener.start();
    const session = await listener.session();
    await session.toData();
    const stopped = listener.stop();
    session.write(`${MESSAGE}.\r\nMAIL FROM:<a@contoso.com>\r\nRCPT TO:<b@contoso.com>\r\n`);
    expect(await session.reply()).toMatch(/^250 2\.0\.0 /);
    expect(await session.reply()).toMatch(/^421 4\.3\.2 /);
    await session.closed();
    await stopped;
    expect(session.unread).toEqual([]);
    expect(refusals()).toEqual(['stopping']);
  });

  it('refuses a message that fails at the end, then says 421', async () => {
    await listener.start({ maxHops: 1 });
    const session = await listener.session();
    await session.toData();
    const stopped = listener.stop();
    session.write(`Received: from x by y; z\r\n${MESSAGE}.\r\n`);
    expect(await session.reply()).toMatch(/^554 5\.4\.6 /);
    expect(await session.reply()).toMatch(/^421 4\.3\.2 /);
    await stopped;
    expect(refusals()).toEqual(['loop', 'stopping']);
  });

  it('lets a login under way finish, then says 421', async () => {
    // Takes long enough to be met in the middle.
    const users = new Map([['pbx', await hashPassword('secret')]]);
    await listener.start({ auth: 'required', allowInsecureAuth: true, users });
    const session = await listener.session();
    session.write(`AUTH PLAIN ${plain('pbx', 'secret')}\r\n`);
    await pause(20);
    const stopped = took(listener.stop());
    expect(await session.reply()).toMatch(/^235 2\.7\.0 /);
    expect(await session.reply()).toMatch(/^421 4\.3\.2 /);
    await session.closed();
    expect(await stopped).toBeLessThan(1_500);
    expect(refusals()).toEqual(['stopping']);
  });

  it('is there when it was stopped already, and when it never started', async () => {
    await listener.start();
    const session = await listener.session();
    await session.toData();
    const first = listener.stop();
    let isStopped = false;
    const second = listener.stop().then(() => (isStopped = true));
    await pause(30);
    expect(isStopped).toBe(false);
    session.write(`${MESSAGE}.\r\n`);
    await Promise.all([first, second]);
    await listener.stop();
    expect(refusals()).toEqual(['stopping']);
    await new TestListener().stop();
  });

  it('ends a client in the middle of a TLS handshake', async () => {
    await listener.start({ tls: 'optional' });
    const implicit = new TestListener();
    await implicit.start({ tls: 'implicit' });
    // The beginning of a ClientHello: the handshake has begun and does not end.
    const hello = Buffer.from('1603010200010001fc0303', 'hex');
    const silent = await listener.session();
    expect(await silent.say('STARTTLS')).toMatch(/^220 /);
    const half = await listener.session();
    expect(await half.say('STARTTLS')).toMatch(/^220 /);
    half.write(hello);
    const knock = await implicit.connect();
    const begun = await implicit.connect();
    begun.write(hello);
    await pause(50);
    expect(await took(Promise.all([listener.stop(), implicit.stop()]).then(() => undefined))).toBeLessThan(1_500);
    await Promise.all([silent, half, knock, begun].map((session) => session.closed()));
    await implicit.end();
  });
});

describe('the signal', () => {
  it('cuts off what is under way and forgets it', async () => {
    await listener.start();
    const session = await listener.session();
    await session.toData();
    session.write(MESSAGE);
    await until('the draft', () => listener.inject.drafts.length > 0);
    const budget = new AbortController();
    const stopped = took(listener.stop(budget.signal));
    await pause(30);
    budget.abort();
    expect(await stopped).toBeLessThan(1_000);
    await session.closed();
    expect(session.unread).toEqual([]);
    await until('the abort', () => listener.inject.drafts[0]?.state === 'aborted');
    expect(listener.inject.messages).toEqual([]);
    await until('the close', () => listener.told('session.closed').length > 0);
    expect(refusals()).toEqual(['stopping']);
  });

  it('may have been given before', async () => {
    await listener.start({ tls: 'optional' });
    const sessions = await Promise.all(Array.from({ length: 3 }, () => listener.session()));
    await sessions[0]?.toData();
    await sessions[1]?.say('STARTTLS');
    expect(await took(listener.stop(AbortSignal.abort()))).toBeLessThan(400);
    await Promise.all(sessions.map((session) => session.closed()));
  });

  it('of a second stop counts as well', async () => {
    await listener.start();
    const session = await listener.session();
    await session.toData();
    const first = listener.stop();
    await listener.stop(AbortSignal.abort());
    await first;
    await session.closed();
    expect(listener.inject.messages).toEqual([]);
  });

  it('reaches a client that has said QUIT and does not close its side', async () => {
    await listener.start();
    const socket = connect({ port: listener.port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => undefined);
    await once(socket, 'data');
    socket.write('QUIT\r\n');
    await once(socket, 'end');
    expect(await took(listener.stop(AbortSignal.abort()))).toBeLessThan(400);
    socket.destroy();
  });

  it('lets a message that is durable be told or not, and never be half', async () => {
    await listener.start();
    let release = (): void => undefined;
    listener.inject.onCommit = () => new Promise((resolve) => (release = resolve));
    const session = await listener.session();
    await session.toData();
    session.write(`${MESSAGE}.\r\n`);
    await until('the commit', () => listener.inject.drafts[0]?.state === 'committing');
    await listener.stop(AbortSignal.abort());
    release();
    await until('the message', () => listener.inject.messages.length === 1);
    await pause(20);
    expect(listener.inject.drafts[0]?.aborts).toBe(0);
    expect(listener.told('bug')).toEqual([]);
  });
});
