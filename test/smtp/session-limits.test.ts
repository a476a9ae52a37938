/** Every limit of a session: its reply, its event, and that nothing is left behind. */
import { Buffer } from 'node:buffer';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MESSAGE, TestListener, until } from './listener.ts';
import { Session } from './session.ts';

let listener: TestListener;
beforeEach(() => {
  listener = new TestListener();
});
afterEach(() => listener.end());

async function allClosed(): Promise<void> {
  await until('the close', () => listener.told('session.closed').length === listener.told('session.opened').length);
  for (const { state } of listener.inject.drafts) expect(['committed', 'aborted']).toContain(state);
}

describe('connections from one address', () => {
  it('beyond maxConnectionsPerAddress are refused, others are not, and a place comes free again', async () => {
    await listener.start({ maxConnectionsPerAddress: 2 });
    const first = await listener.session('127.0.0.1');
    await listener.session('127.0.0.1');
    const third = await listener.connect('127.0.0.1');
    expect(await third.reply()).toBe('421 4.7.0 Too many connections from 127.0.0.1, try again later');
    await third.closed();
    expect(listener.refusals).toMatchObject([{ refusal: 'connections', peer: '127.0.0.1' }]);
    await first.say('QUIT');
    await first.closed();
    await until('the close', () => listener.told('session.closed').length === 1);
    const fourth = await listener.session('127.0.0.1');
    expect(await fourth.send(MESSAGE)).toMatch(/^250 /);
  });

  it('are counted by the client behind a balancer', async () => {
    await listener.start({ maxConnectionsPerAddress: 1, proxyProtocol: ['127.0.0.1'], allow: ['192.0.2.0/24'] });
    const open = async (host: number): Promise<string> => {
      const session = await listener.connect();
      session.write(`PROXY TCP4 192.0.2.${host} 198.51.100.1 200 25\r\n`);
      return await session.reply();
    };
    expect(await open(1)).toMatch(/^220 /);
    expect(await open(1)).toMatch(/^421 4\.7\.0 Too many connections from 192\.0\.2\.1/);
    expect(await open(2)).toMatch(/^220 /);
  });

  it('before their TLS handshake count as well', async () => {
    await listener.start({ tls: 'implicit', maxConnectionsPerAddress: 3 });
    const silent = [];
    for (let n = 0; n < 3; n++) silent.push(await listener.connect());
    await pause(50);
    const fourth = await listener.connect();
    await fourth.closed();
    expect(listener.refusals).toMatchObject([{ refusal: 'connections', peer: '127.0.0.1' }]);
    for (const session of silent) session.destroy();
    await pause(50);
    const good = await listener.connectTls();
    expect(await good.reply()).toMatch(/^220 /);
  });
});

describe('time', () => {
  it('a session ends after sessionTimeout although it is busy', async () => {
    await listener.start({ sessionTimeout: 300 });
    const session = await listener.session();
    const begun = performance.now();
    let last = '';
    while (!last.startsWith('421') && performance.now() - begun < 5_000) {
      last = await session.say('NOOP');
      await pause(20);
    }
    expect(last).toBe('421 4.4.2 The session has lasted 0.3 s: connect again');
    expect(performance.now() - begun).toBeGreaterThan(250);
    await session.closed();
    expect(listener.refusals).toMatchObject([{ refusal: 'timeout', reply: last }]);
    await allClosed();
  });

  it('a message that is being stored may end', async () => {
    await listener.start({ sessionTimeout: 200 });
    listener.inject.onCommit = () => pause(600);
    const session = await listener.session();
    expect(await session.send(MESSAGE)).toMatch(/^250 2\.0\.0 queued/);
    expect(await session.reply()).toMatch(/^421 4\.4\.2 /);
    expect(listener.inject.messages).toHaveLength(1);
  });

  it('a command line that drips in does not put the idle time-out off', async () => {
    await listener.start({ idleTimeout: 200 });
    const session = await listener.session();
    const begun = performance.now();
    while (session.unread.length === 0 && performance.now() - begun < 5_000) {
      if (!session.isClosed) session.write('N');
      await pause(20);
    }
    expect(await session.reply()).toBe('421 4.4.2 No whole command line within 0.2 s');
    await session.closed();
    expect(listener.refusals).toMatchObject([{ refusal: 'timeout' }]);
    await allClosed();
  });

  it('a handshake that drips in does not either', async () => {
    await listener.start({ tls: 'implicit', idleTimeout: 150 });
    const session = await Session.open(listener.port);
    const begun = performance.now();
    session.write(Buffer.from('1603010200', 'hex'));
    while (!session.isClosed && performance.now() - begun < 5_000) {
      session.write(Buffer.from([1]));
      await pause(20);
    }
    expect(session.isClosed).toBe(true);
    expect(performance.now() - begun).toBeLessThan(4_000);
    expect(listener.refusals).toMatchObject([{ refusal: 'tls', reply: 'TLS handshake failed' }]);
  });

  it('nor does one behind STARTTLS', async () => {
    await listener.start({ tls: 'optional', idleTimeout: 150 });
    const session = await listener.session();
    expect(await session.say('STARTTLS')).toMatch(/^220 /);
    const begun = performance.now();
    session.write(Buffer.from('1603010200', 'hex'));
    while (!session.isClosed && performance.now() - begun < 5_000) {
      session.write(Buffer.from([1]));
      await pause(20);
    }
    expect(session.isClosed).toBe(true);
    expect(performance.now() - begun).toBeLessThan(4_000);
    expect(session.unread).toEqual([]);
    await allClosed();
    expect(listener.refusals).toMatchObject([{ refusal: 'timeout' }]);
    expect(await (await listener.session()).send(MESSAGE)).toMatch(/^250 /);
  });

  it('counts from the last reply: a client that works is never cut off', async () => {
    await listener.start({ idleTimeout: 150 });
    listener.inject.onCommit = () => pause(400);
    const session = await listener.session();
    for (let n = 0; n < 3; n++) expect(await session.send(MESSAGE)).toMatch(/^250 /);
    expect(listener.refusals).toEqual([]);
  });
});

describe('the rate of DATA', () => {
  async function drip(session: Session, octets: string, every: number): Promise<void> {
    const begun = performance.now();
    while (session.unread.length === 0 && !session.isClosed && performance.now() - begun < 5_000) {
      session.write(octets);
      await pause(every);
    }
  }

  it('below minDataRate ends the session and leaves nothing in the spool', async () => {
    await listener.start({ minDataRate: 1_000, rateWindow: 300 });
    const session = await listener.session();
    await session.toData();
    session.write('Subject: x\r\n\r\n');
    await drip(session, 'x\r\n', 30);
    expect(await session.reply()).toBe('421 4.4.2 The message came in at less than 1000 octets a second');
    await session.closed();
    await allClosed();
    expect(listener.refusals).toMatchObject([{ refusal: 'slow' }]);
    expect(listener.inject.messages).toEqual([]);
    expect(listener.inject.drafts.map(({ state }) => state)).toEqual(['aborted']);
  });

  it('above it does not, nor does any where it is 0', async () => {
    for (const minDataRate of [500, 0]) {
      const one = await new TestListener().start({ minDataRate, rateWindow: 200 });
      try {
        const session = await one.session();
        await session.toData();
        session.write('Subject: x\r\n\r\n');
        for (let n = 0; n < 30; n++) {
          session.write(minDataRate === 0 ? 'x\r\n' : `${'x'.repeat(78)}\r\n`);
          await pause(20);
        }
        session.write('.\r\n');
        expect(await session.reply()).toMatch(/^250 /);
        expect(one.refusals).toEqual([]);
      } finally {
        await one.end();
      }
    }
  });

  it('does not count while the spool holds the client up', async () => {
    await listener.start({ minDataRate: 100_000, rateWindow: 150 });
    listener.inject.onWrite = ({ chunks }) => (chunks.length === 2 ? pause(700) : undefined);
    const session = await listener.session();
    expect(await session.send(`Subject: x\r\n\r\n${`${'x'.repeat(998)}\r\n`.repeat(900)}`)).toMatch(/^250 /);
    expect(listener.refusals).toEqual([]);
  });
});

describe('counts', () => {
  it('maxMessages: the connection carries no more', async () => {
    await listener.start({ maxMessages: 2 });
    const session = await listener.session();
    for (let n = 0; n < 2; n++) expect(await session.send(MESSAGE)).toMatch(/^250 /);
    expect(await session.say('MAIL FROM:<a@contoso.com>')).toBe(
      '421 4.7.0 The connection has carried 2 messages: open another one',
    );
    await session.closed();
    expect(listener.refusals).toMatchObject([{ refusal: 'policy' }]);
    expect(await (await listener.session()).send(MESSAGE)).toMatch(/^250 /);
  });

  it('maxErrors: counts anew with every message, and QUIT is still answered', async () => {
    await listener.start({ maxErrors: 3 });
    const session = await listener.session();
    for (let round = 0; round < 2; round++) {
      for (let n = 0; n < 2; n++) expect(await session.say('RCPT TO:<b@contoso.com>')).toMatch(/^503 /);
      expect(await session.send(MESSAGE)).toMatch(/^250 /);
    }
    for (let n = 0; n < 3; n++) expect(await session.say('FROB')).toMatch(/^500 /);
    expect(await session.say('QUIT')).toMatch(/^221 /);
    const other = await listener.session();
    for (let n = 0; n < 3; n++) expect(await other.say('FROB')).toMatch(/^500 /);
    expect(await other.say('NOOP')).toBe('421 4.7.0 Too many refused commands (3)');
    await other.closed();
    expect(listener.refusals.at(-1)?.refusal).toBe('errors');
  });

  it('an endless command line', async () => {
    for (const lenient of [false, true]) {
      const one = await new TestListener().start({ lenient });
      try {
        const session = await one.session();
        session.write(Buffer.alloc(40_000, 'x'));
        expect(await session.reply()).toMatch(/^421 4\.5\.2 /);
        await session.closed();
        expect(one.refusals).toMatchObject([{ refusal: 'syntax' }]);
      } finally {
        await one.end();
      }
    }
  });

  it('a client that says much and hears nothing is bounded by the session', async () => {
    await listener.start({ sessionTimeout: 400, maxErrors: 1_000_000 });
    const session = await listener.session();
    session.socket.pause();
    const lines = Buffer.from('FROB\r\n'.repeat(20_000));
    for (let n = 0; n < 20; n++) session.write(lines);
    await until('the end', () => listener.told('session.closed').length === 1);
    expect(listener.refusals.at(-1)?.refusal).toBe('timeout');
  });
});
