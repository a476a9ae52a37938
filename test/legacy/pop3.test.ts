/** The door over real sockets: TLS, limits, clients that leave, stall, flood, and the stop. */
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Maildrop } from '../../src/legacy/maildrop.ts';
import { pop3Door } from '../../src/legacy/pop3.ts';
import type { LoginGate } from '../../src/legacy/pop3-options.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import { MemoryMaildrop } from './maildrop.ts';
import { MESSAGE, OPTIONS, TestDoor } from './pop3-door.ts';

let door = new TestDoor();

afterEach(async () => {
  await door.end();
  const bugs = door.told('bug');
  door = new TestDoor();
  if (bugs.length > 0) throw bugs[0]?.error ?? new Error('a bug');
});

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let tries = 0; tries < 800; tries++) {
    if (isSo()) return;
    await pause(10);
  }
  throw new Error(`${what} did not happen`);
}

const LOGIN = 'USER fax\r\nPASS se cret\r\n';

describe('a session', () => {
  it('is told from begin to end', async () => {
    await door.start();
    const client = await door.login();
    expect(await client.ask('RETR 1')).toEqual(['+OK The message follows', MESSAGE]);
    expect(await client.say('DELE 1')).toMatch(/^\+OK/);
    expect(await client.say('QUIT')).toBe('+OK 1 messages deleted');
    await client.closed();
    expect(door.maildrop.removed).toEqual([['a']]);
    await until('the end', () => door.told('session.closed').length === 1);
    expect(door.events).toMatchObject([
      { event: 'listener.open', listener: 'pop3', tls: 'none', auth: 'required' },
      { event: 'session.opened', listener: 'pop3', peer: '127.0.0.1' },
      { event: 'auth.succeeded', listener: 'pop3', user: 'fax', mechanism: 'USER' },
      { event: 'session.closed', listener: 'pop3', messages: 1 },
    ]);
  });

  it('takes all its commands in one write, from a client that closes its side behind them', async () => {
    await door.start();
    const client = await door.connect();
    client.socket.end(`${LOGIN}STAT\r\nRETR 2\r\nDELE 2\r\nQUIT\r\n`);
    await client.closed();
    expect(client.unread).toBe(
      [
        '+OK smtp2exchange POP3 ready',
        '+OK Now the password',
        '+OK 2 messages',
        '+OK 2 90',
        `+OK The message follows\r\n${MESSAGE}.`,
        '+OK Message 2 is deleted at QUIT',
        '+OK 1 messages deleted\r\n',
      ].join('\r\n'),
    );
    expect(door.maildrop.removed).toEqual([['b']]);
  });

  it('takes commands that come octet by octet', async () => {
    await door.start();
    const client = await door.connect();
    for (const octet of `${LOGIN}NOOP\r\n`) {
      client.write(octet);
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const answer of ['+OK smtp2exchange POP3 ready', '+OK Now the password', '+OK 2 messages', '+OK'])
      expect(await client.line()).toBe(answer);
  });

  it.each([
    ['closes', (socket: { end(): unknown }) => socket.end()],
    ['resets', (socket: { resetAndDestroy(): unknown }) => socket.resetAndDestroy()],
  ] as const)('that %s without QUIT deletes nothing and gives the mailbox back', async (_what, leave) => {
    await door.start();
    const client = await door.login();
    expect(await client.say('DELE 1')).toMatch(/^\+OK/);
    leave(client.socket);
    await until('the end', () => door.told('session.closed').length === 1);
    expect(door.maildrop.removed).toEqual([]);
    expect(await (await door.login()).say('STAT')).toBe('+OK 2 90');
  });

  it('is the only one of its mailbox, and the next one may come as soon as QUIT is answered', async () => {
    await door.start();
    const first = await door.login();
    const second = await door.connect();
    await second.line();
    await second.say('USER fax');
    expect(await second.say('PASS se cret')).toMatch(/^-ERR \[IN-USE\] /);
    expect(await first.say('QUIT')).toMatch(/^\+OK/);
    await second.say('USER fax');
    expect(await second.say('PASS se cret')).toBe('+OK 2 messages');
  });

  it('is the only one of its mailbox at all doors', async () => {
    const inUse = new Set<string>();
    const other = new TestDoor(door.maildrop);
    await Promise.all([door.start({ inUse }), other.start({ inUse })]);
    try {
      await door.login();
      await expect(other.login()).rejects.toThrow('[IN-USE]');
      expect(other.told('session.refused')).toMatchObject([{ refusal: 'policy', user: 'fax' }]);
    } finally {
      await other.end();
    }
  });

  it('whose message cannot be read to its end is cut, so that no client takes it for whole', async () => {
    door.maildrop.open = async function* () {
      yield Buffer.from('Subject: x\r\n\r\n');
      throw new SpoolError('damaged', 'disk');
    };
    await door.start();
    const client = await door.login();
    client.write('RETR 1\r\n');
    await client.closed();
    expect(client.unread).toBe('+OK The message follows\r\nSubject: x\r\n\r\n');
    expect(door.refusals).toEqual(['spool']);
  });

  it('does not notice that the client is gone before QUIT is through: it is, then', async () => {
    const gate = Promise.withResolvers<void>();
    await door.start();
    const client = await door.login();
    await client.say('DELE 1');
    door.maildrop.before = gate.promise;
    client.write('QUIT\r\n');
    client.socket.destroy();
    const stopped = door.stop();
    gate.resolve();
    await stopped;
    // Where the reset came first, there was no QUIT.
    expect([[['a']], []]).toContainEqual(door.maildrop.removed);
    expect(door.told('session.closed')).toHaveLength(1);
  });
});

describe('TLS', () => {
  it.each(['1.2', '1.3'] as const)('by STLS, at least %s', async (minTls) => {
    await door.start({ tls: 'required', minTls });
    const client = await door.connect();
    await client.line();
    expect(await client.say('USER fax')).toBe('-ERR STLS first: no password in the clear');
    expect(await client.say('STLS')).toBe('+OK Begin TLS');
    await client.upgrade();
    expect((await client.ask('CAPA'))[1]).not.toContain('STLS');
    await client.say('USER fax');
    expect(await client.say('PASS se cret')).toBe('+OK 2 messages');
    expect(await client.ask('RETR 1')).toEqual(['+OK The message follows', MESSAGE]);
    expect(await client.say('QUIT')).toBe('+OK 0 messages deleted');
    await client.closed();
  });

  it('from the first octet', async () => {
    await door.start({ tls: 'implicit', plainFrom: [] });
    const client = await door.connect();
    await client.upgrade();
    expect(await client.line()).toBe('+OK smtp2exchange POP3 ready');
    await client.say('USER fax');
    expect(await client.say('PASS se cret')).toBe('+OK 2 messages');
  });

  it('forgets what was said in the clear behind STLS', async () => {
    await door.start({ tls: 'optional' });
    const client = await door.connect();
    await client.line();
    client.write(`USER fax\r\nSTLS\r\nPASS se cret\r\n${LOGIN}DELE 1\r\nQUIT\r\n`);
    expect(await client.line()).toBe('+OK Now the password');
    expect(await client.line()).toBe('+OK Begin TLS');
    await client.upgrade();
    // Nothing is answered but what comes now, and the name from before is gone.
    expect(await client.say('NOOP')).toBe('-ERR Log in first');
    expect(await client.say('PASS se cret')).toBe('-ERR USER first');
    expect(door.told('auth.succeeded')).toEqual([]);
    expect(client.unread).toBe('');
  });

  it('takes what is slipped in after the answer for a part of the handshake, which fails', async () => {
    await door.start({ tls: 'optional' });
    const client = await door.connect();
    await client.line();
    expect(await client.say('STLS')).toBe('+OK Begin TLS');
    client.write(LOGIN);
    await client.closed();
    expect(door.told('auth.succeeded')).toEqual([]);
    expect(door.told('session.refused')).toMatchObject([{ refusal: 'tls', reply: 'TLS handshake failed' }]);
  });

  it.each([false, true])(
    'that a client gives up before it has begun is nothing, closed at once; both sides: %s',
    async (isBoth) => {
      await door.start({ tls: 'optional' });
      const client = await door.connect();
      await client.line();
      expect(await client.say('STLS')).toBe('+OK Begin TLS');
      if (isBoth) client.socket.destroy();
      else client.socket.end();
      await client.closed();
      await until('the end', () => door.told('session.closed').length === 1);
      expect(door.refusals).toEqual([]);
    },
  );

  it('says why a handshake failed', async () => {
    await door.start({ tls: 'implicit', minTls: '1.3' });
    const client = await door.connect();
    await expect(client.upgrade({ maxVersion: 'TLSv1.2' })).rejects.toThrow();
    await until('the refusal', () => door.refusals.length > 0);
    expect(door.told('session.refused')[0]?.detail).toMatch(/^the client knows no TLS as new as 1\.3/);
  });

  it('without a certificate makes no sense', () => {
    const { maildrop } = door;
    const parts = {
      maildrops: new Map<string, Maildrop>([['fax', maildrop]]),
      isPassword: async () => true,
      logins: { banned: () => undefined, failed: () => ({ delay: 0, failures: 1 }), succeeded: () => undefined },
      report: () => undefined,
      inUse: new Set<string>(),
    };
    expect(() => pop3Door({ ...OPTIONS, tls: 'optional' }, parts)).toThrow(TypeError);
  });
});

describe('who may not connect', () => {
  it('is told so: address', async () => {
    await door.start({ allow: ['192.0.2.0/24'] });
    const client = await door.connect();
    expect(await client.line()).toBe('-ERR [SYS/PERM] 127.0.0.1 may not connect');
    await client.closed();
    expect(door.refusals).toEqual(['address']);
    expect(door.told('session.opened')).toEqual([]);
  });

  it.each([{ maxConnections: 2 }, { maxConnectionsPerAddress: 2 }])('is told so: %j', async (limit) => {
    await door.start(limit);
    const first = await door.connect();
    await first.line();
    await (await door.connect()).line();
    const third = await door.connect();
    expect(await third.line()).toMatch(/^-ERR \[SYS\/TEMP\] Too many conn/);
    await third.closed();
    first.socket.destroy();
    await until('the end', () => door.told('session.closed').length === 1);
    expect(await (await door.connect()).line()).toMatch(/^\+OK/);
    expect(door.refusals).toEqual(['connections']);
  });

  it('is told so: banned', async () => {
    let failures = 0;
    const logins: LoginGate = {
      banned: () => (failures > 0 ? Date.now() + 60_000 : undefined),
      failed: () => ({ delay: 0, failures: ++failures, bannedUntil: Date.now() + 60_000 }),
      succeeded: () => undefined,
    };
    await door.start({ logins });
    const client = await door.connect();
    await client.line();
    await client.say('USER fax');
    expect(await client.say('PASS guess')).toMatch(/^-ERR \[AUTH\]/);
    const next = await door.connect();
    expect(await next.line()).toMatch(/^-ERR \[SYS\/TEMP\] Too many failed logins from 127\.0\.0\.1: try again after /);
    await next.closed();
    expect(door.told('auth.banned')).toHaveLength(1);
    expect(door.refusals).toEqual(['auth', 'banned']);
  });
});

describe('time', () => {
  it.each([
    { what: 'a login', setup: { loginTimeout: 150 }, first: '', detail: 'no login within 0.2 s' },
    {
      what: 'a login, whatever is said',
      setup: { loginTimeout: 150 },
      first: 'CAPA\r\nUSER fax\r\n',
      detail: 'no login within 0.2 s',
    },
    { what: 'a command', setup: { idleTimeout: 150 }, first: `${LOGIN}DELE 1\r\n`, detail: 'no command within 0.2 s' },
    {
      what: 'a whole command',
      setup: { idleTimeout: 150 },
      first: `${LOGIN}DELE 1\r\nQUI`,
      detail: 'no command within 0.2 s',
    },
  ])('is up for $what: closed without a word, nothing deleted', async ({ setup, first, detail }) => {
    await door.start(setup);
    const client = await door.connect();
    client.write(first);
    await client.closed();
    expect(client.unread).not.toContain('-ERR');
    expect(door.told('session.refused')).toMatchObject([{ refusal: 'timeout', reply: 'closed', detail }]);
    expect(door.maildrop.removed).toEqual([]);
  });

  it('is up for a handshake', async () => {
    await door.start({ tls: 'implicit', loginTimeout: 150 });
    await (await door.connect()).closed();
    expect(door.told('session.refused')).toMatchObject([{ refusal: 'tls', detail: 'it took longer than 0.2 s' }]);
  });
});

describe('lines', () => {
  it('that are too long are refused one by one, and too many of them end it', async () => {
    await door.start({ maxErrors: 3 });
    const client = await door.connect();
    await client.line();
    const long = 'x'.repeat(600);
    expect(await client.say(long)).toBe('-ERR The line is too long');
    expect(await client.say('x'.repeat(200_000))).toBe('-ERR The line is too long');
    expect(await client.say(long)).toBe('-ERR Too many refused commands');
    await client.closed();
  });

  it('that go on for 50 MB are one line', async () => {
    await door.start();
    const client = await door.connect();
    await client.line();
    const chunk = Buffer.alloc(1_000_000, 'x');
    for (let at = 0; at < 50; at++) if (!client.socket.write(chunk)) await once(client.socket, 'drain');
    expect(await client.say('')).toBe('-ERR The line is too long');
    expect(await client.say('QUIT')).toBe('+OK Bye');
    expect(client.unread).toBe('');
  });
});

/** 100 MB of lines, none of which exists before it is asked for. */
class Endless implements Maildrop {
  static readonly chunk = Buffer.from(`${'.'.padEnd(76, 'x')}\r\n`.repeat(3_360));
  static readonly chunks = 400;
  asked = 0;
  isLetGo = false;

  async list(): Promise<readonly { id: string; size: number; isCanonical: true }[]> {
    return [{ id: 'big', size: Endless.chunk.length * Endless.chunks, isCanonical: true }];
  }

  async *open(): AsyncIterable<Uint8Array> {
    try {
      for (; this.asked < Endless.chunks; this.asked++) yield Endless.chunk;
    } finally {
      this.isLetGo = true;
    }
  }

  async remove(): Promise<void> {}
}

describe('a message of 100 MB', () => {
  it.each(['none', 'implicit'] as const)(
    'waits for a client that does not read, and is read to its end: TLS %s',
    async (tls) => {
      const big = new Endless();
      await door.start({ tls, maildrops: new Map([['fax', big]]) });
      const client = await door.connect();
      if (tls === 'implicit') await client.upgrade();
      await client.line();
      await client.say('USER fax');
      await client.say('PASS se cret');
      expect(await client.say('STAT')).toBe(`+OK 1 ${Endless.chunk.length * Endless.chunks}`);
      client.socket.removeAllListeners('data').pause();
      client.write('RETR 1\r\n');
      let asked = -1;
      // It comes to rest when the buffers of the two systems are full: some MB of it at most.
      while (asked !== big.asked || asked === 0) {
        asked = big.asked;
        await pause(100);
      }
      expect(asked).toBeLessThan(100);
      let octets = 0;
      let tail = '';
      let most = 0;
      for await (const chunk of client.socket as AsyncIterable<Buffer>) {
        octets += chunk.length;
        tail = (tail + chunk.toString('latin1')).slice(-80);
        most = Math.max(most, big.asked * Endless.chunk.length - octets);
        if (tail.endsWith('\r\n.\r\n')) break;
      }
      expect(tail.endsWith('x\r\n.\r\n')).toBe(true);
      // Every line begins with a dot, so that each is an octet longer on the wire.
      const lines = 3_360 * Endless.chunks;
      expect(octets).toBe('+OK The message follows\r\n.\r\n'.length + Endless.chunk.length * Endless.chunks + lines);
      // On its way at any time: what the two systems buffer.
      expect(most).toBeLessThan(26_000_000);
    },
  );

  it('is let go when the client does not take it in time', async () => {
    const big = new Endless();
    await door.start({ maildrops: new Map([['fax', big]]), idleTimeout: 300 });
    const client = await door.login();
    client.socket.removeAllListeners('data').pause();
    client.write('RETR 1\r\n');
    await until('the refusal', () => door.refusals.length > 0);
    expect(door.told('session.refused')[0]).toMatchObject({ refusal: 'slow', reply: 'closed' });
    await until('the end', () => door.told('session.closed').length === 1);
    expect(big).toMatchObject({ isLetGo: true });
    expect(door.told('session.closed')).toMatchObject([{ messages: 0 }]);
  });

  it('is let go when the client goes away', async () => {
    const big = new Endless();
    await door.start({ maildrops: new Map([['fax', big]]) });
    const client = await door.login();
    client.socket.removeAllListeners('data').pause();
    client.write('RETR 1\r\n');
    await until('the begin', () => big.asked > 3);
    client.socket.resetAndDestroy();
    await until('the end', () => door.told('session.closed').length === 1);
    expect(big.isLetGo).toBe(true);
    expect(door.refusals).toEqual(['aborted']);
  });
});

it('lets go of a message whose client has gone before it begins', async () => {
  const gate = Promise.withResolvers<void>();
  let isBegun = false;
  let isLetGo = false;
  door.maildrop.open = async function* () {
    try {
      isBegun = true;
      await gate.promise;
      yield Buffer.from(MESSAGE);
      yield Buffer.from(MESSAGE);
    } finally {
      isLetGo = true;
    }
  };
  await door.start();
  const client = await door.login();
  client.write('RETR 1\r\n');
  await until('the begin', () => isBegun);
  client.socket.resetAndDestroy();
  await client.closed();
  gate.resolve();
  await until('the end', () => door.told('session.closed').length === 1);
  expect(isLetGo).toBe(true);
});

describe('the stop', () => {
  it('tells idle clients, deletes nothing, and takes no new ones', async () => {
    await door.start();
    const client = await door.login();
    await client.say('DELE 1');
    await door.stop();
    expect(await client.line()).toBe('-ERR [SYS/TEMP] Going down, try again later');
    await client.closed();
    expect(door.maildrop.removed).toEqual([]);
    expect(door.refusals).toEqual(['stopping']);
    await expect(door.connect()).rejects.toThrow(/ECONNREFUSED/);
  });

  it('lets a message under way come to its end, and says nothing in the middle of it', async () => {
    const big = new Endless();
    await door.start({ maildrops: new Map([['fax', big]]) });
    const client = await door.login();
    client.socket.removeAllListeners('data').pause();
    client.write('RETR 1\r\n');
    await until('the begin', () => big.asked > 3);
    const stopped = door.stop();
    let tail = '';
    for await (const chunk of client.socket as AsyncIterable<Buffer>)
      tail = (tail + chunk.toString('latin1')).slice(-80);
    expect(tail).toMatch(/x\r\n\.\r\n-ERR \[SYS\/TEMP\] Going down, try again later\r\n$/);
    await stopped;
    expect(door.told('session.closed')).toMatchObject([{ messages: 1 }]);
  });

  it('lets a QUIT under way come to its end', async () => {
    const gate = Promise.withResolvers<void>();
    await door.start();
    const client = await door.login();
    await client.say('DELE 2');
    door.maildrop.before = gate.promise;
    client.write('QUIT\r\n');
    await until('the removal', () => door.maildrop.removals === 1);
    const stopped = door.stop();
    gate.resolve();
    expect(await client.line()).toBe('+OK 1 messages deleted');
    await stopped;
    expect(door.maildrop.removed).toEqual([['b']]);
  });

  it('cuts off what has not come to its end when its time is up', async () => {
    const big = new Endless();
    await door.start({ maildrops: new Map([['fax', big]]), tls: 'optional' });
    const client = await door.login();
    client.socket.removeAllListeners('data').pause();
    client.write('RETR 1\r\n');
    await until('the begin', () => big.asked > 3);
    const shaking = await door.connect();
    await shaking.line();
    await shaking.say('STLS');
    const stop = new AbortController();
    const stopped = door.stop(stop.signal);
    await shaking.closed();
    stop.abort();
    await stopped;
    expect(big.isLetGo).toBe(true);
    expect(door.told('session.closed')).toHaveLength(2);
  });

  it('before the start, twice, and with a maildrop that does not answer, is no trouble', async () => {
    await door.stop();
    const stuck = new MemoryMaildrop();
    stuck.before = new Promise(() => undefined);
    await door.start({ maildrops: new Map([['fax', stuck]]) });
    const client = await door.connect();
    client.write(LOGIN);
    await client.line();
    await client.line();
    await Promise.all([door.stop(AbortSignal.abort()), door.stop(AbortSignal.abort())]);
    await client.closed();
  });
});

it('says what to do about a port that another program has', async () => {
  await door.start();
  const other = new TestDoor();
  await expect(other.start({ port: door.port })).rejects.toThrow(
    `Listener "pop3" cannot open port ${door.port} on 127.0.0.1: another program has it; stop that one or choose another port`,
  );
});
