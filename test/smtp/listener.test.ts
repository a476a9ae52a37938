/** A listener from connect to EHLO: who may come in, what is said to whom, how many at once. */
import dns from 'node:dns';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { MESSAGE, TestListener, until } from './listener.ts';
import type { Setup } from './listener.ts';
import { Session } from './session.ts';

let listeners: TestListener[] = [];

async function listen(setup?: Setup): Promise<TestListener> {
  const listener = new TestListener();
  listeners.push(listener);
  return listener.start(setup);
}

afterEach(async () => {
  await Promise.all(listeners.map((listener) => listener.end()));
  listeners = [];
});

describe('listeners', () => {
  it('stand side by side, each on its port with its own rules', async () => {
    const lan = await listen({ name: 'lan' });
    const dmz = await listen({ name: 'dmz', maxMessageSize: 5_000, tls: 'optional' });
    expect(lan.port).not.toBe(dmz.port);
    expect(lan.told('listener.open')).toEqual([
      { event: 'listener.open', listener: 'lan', address: '127.0.0.1', port: lan.port, tls: 'none', auth: 'none' },
    ]);
    const [first, second] = [await lan.connect(), await dmz.connect()];
    expect(await first.hello()).toContain('SIZE 1000000');
    expect(await second.hello()).toContain('SIZE 5000');
    await first.send(MESSAGE);
    expect(lan.inject.only.origin).toMatchObject({ source: 'smtp', name: 'lan', peer: '127.0.0.1' });
    expect(dmz.inject.messages).toEqual([]);
  });

  it('say in a sentence that the port is in use, and leave the other one alone', async () => {
    const first = await listen();
    const second = new TestListener();
    await expect(second.start({ name: 'dmz', port: first.port })).rejects.toThrow(
      `Listener "dmz" cannot open port ${first.port} on 127.0.0.1: another program has it; stop that one or choose another port`,
    );
    await expect(second.start({ port: first.port })).rejects.toMatchObject({ cause: { code: 'EADDRINUSE' } });
    await second.end();
    expect(second.events).toEqual([]);
    expect(await (await first.connect()).reply()).toMatch(/^220 /);
  });

  it('say that the address is not of this machine', async () => {
    const listener = new TestListener();
    await expect(listener.start({ address: '192.0.2.1' })).rejects.toThrow(
      'Listener "lan" cannot open port 0 on 192.0.2.1: this machine does not have that address; 0.0.0.0 stands for all it has',
    );
    await listener.end();
  });
});

describe('the greeting', () => {
  it('comes without a delay and without asking the DNS', async () => {
    const reverse = vi.spyOn(dns, 'reverse');
    const listener = await listen();
    const waits: number[] = [];
    for (let n = 0; n < 5; n++) {
      const begun = performance.now();
      const session = await listener.connect();
      expect(await session.reply()).toBe('220 gw.test ESMTP smtp2exchange');
      waits.push(performance.now() - begun);
    }
    // The package on its own waits 100 ms each time; the machine may be busy once.
    expect(Math.min(...waits)).toBeLessThan(70);
    expect(reverse).not.toHaveBeenCalled();
    reverse.mockRestore();
  });

  it('opens and closes a session, told once each', async () => {
    let now = 5_000;
    const listener = await listen({ now: () => now });
    const session = await listener.session();
    await session.send(MESSAGE);
    await session.send(MESSAGE);
    now += 2_500;
    expect(await session.say('QUIT')).toBe('221 2.0.0 Bye');
    await session.closed();
    await until('the close', () => listener.told('session.closed').length > 0);
    expect(listener.events.filter(({ event }) => event.startsWith('session.'))).toEqual([
      { event: 'session.opened', listener: 'lan', peer: '127.0.0.1' },
      { event: 'session.closed', listener: 'lan', peer: '127.0.0.1', seconds: 2.5, messages: 2 },
    ]);
  });

  it('is not given to a client that is gone before, and nothing is told of it', async () => {
    const listener = await listen();
    for (let n = 0; n < 20; n++) {
      const session = await listener.connect();
      session.reset();
    }
    const session = await listener.connect();
    expect(await session.reply()).toMatch(/^220 /);
    expect(listener.refusals).toEqual([]);
  });
});

describe('the allow-list', () => {
  const MAPPED = '::ffff:127.0.0.1'; // an IPv6 socket that sees IPv4 clients
  it.each([
    { address: '127.0.0.1', from: '127.0.0.1', allow: ['127.0.0.0/8'] },
    { address: '::1', from: '::1', allow: ['::1/128'] },
    { address: MAPPED, from: '127.0.0.1', allow: ['127.0.0.0/8'] },
  ])('$allow on $address lets $from in', async ({ address, from, allow }) => {
    const listener = await listen({ address, allow });
    expect(await (await listener.connect(from)).reply()).toMatch(/^220 /);
    expect(listener.told('session.opened')).toMatchObject([{ peer: from }]);
    expect(listener.refusals).toEqual([]);
  });

  it.each([
    { address: '127.0.0.1', from: '127.0.0.1', allow: ['10.0.0.0/8', '::1/128'] },
    { address: '::1', from: '::1', allow: ['127.0.0.0/8', 'fe80::/10'] },
    { address: MAPPED, from: '127.0.0.1', allow: ['::1/128'] },
  ])('$allow on $address keeps $from out', async ({ address, from, allow }) => {
    const listener = await listen({ address, allow });
    const session = await listener.connect(from);
    const greeting = await session.reply();
    expect(greeting).toBe(`554 5.7.1 ${from} may not use this server: it is not in "allow" of listener "lan"`);
    await session.closed();
    expect(session.unread).toEqual([]);
    await until('the close', () => listener.told('session.closed').length > 0);
    expect(listener.refusals).toEqual([
      {
        event: 'session.refused',
        listener: 'lan',
        peer: from,
        refusal: 'address',
        reply: greeting,
      },
    ]);
  });

  it('holds although the client does not wait for the greeting', async () => {
    const listener = await listen({ allow: ['10.0.0.0/8'] });
    const session = await listener.connect();
    session.write(`EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n${MESSAGE}.\r\n`);
    await session.closed();
    expect(session.heard.filter((reply) => !reply.startsWith('554 5.7.1'))).toEqual([]);
    expect(listener.inject.drafts).toEqual([]);
    expect(listener.refusals.map(({ refusal }) => refusal)).toEqual(['address']);
  });
});

describe('EHLO', () => {
  const always = ['PIPELINING', '8BITMIME', 'SMTPUTF8', 'ENHANCEDSTATUSCODES', 'DSN', 'SIZE 1000000'];
  it.each<{ setup: Setup; more: string[] }>([
    { setup: {}, more: [] },
    { setup: { tls: 'optional' }, more: ['STARTTLS'] },
    { setup: { tls: 'required' }, more: ['STARTTLS'] },
    { setup: { tls: 'implicit' }, more: [] },
    { setup: { tls: 'implicit', auth: 'optional' }, more: ['AUTH PLAIN LOGIN'] },
    { setup: { tls: 'implicit', auth: 'required' }, more: ['AUTH PLAIN LOGIN'] },
    { setup: { auth: 'required', allowInsecureAuth: true }, more: ['AUTH PLAIN LOGIN'] },
    { setup: { tls: 'optional', auth: 'optional', allowInsecureAuth: true }, more: ['AUTH PLAIN LOGIN', 'STARTTLS'] },
    // A client that is offered AUTH in the clear sends its password in the clear.
    { setup: { tls: 'optional', auth: 'required' }, more: ['STARTTLS'] },
    { setup: { tls: 'required', auth: 'required', allowInsecureAuth: true }, more: ['STARTTLS'] },
    { setup: { tls: 'none', auth: 'optional' }, more: [] },
  ])('announces for $setup', async ({ setup, more }) => {
    const listener = await listen(setup);
    const session = setup.tls === 'implicit' ? await listener.connectTls() : await listener.connect();
    const lines = (await session.hello()).split('\n').map((line) => line.replace(/^250[ -]/, ''));
    expect(lines.slice(1).toSorted()).toEqual([...always, ...more].toSorted());
  });

  it('offers AUTH after STARTTLS, and STARTTLS no more', async () => {
    const listener = await listen({ tls: 'required', auth: 'required' });
    const session = await listener.session();
    await session.startTls();
    const lines = (await session.say('EHLO client.test')).split('\n').map((line) => line.slice(4));
    expect(lines.slice(1).toSorted()).toEqual([...always, 'AUTH PLAIN LOGIN'].toSorted());
  });

  it('may be HELO, without extensions', async () => {
    const listener = await listen();
    const session = await listener.connect();
    await session.reply();
    expect(await session.say('HELO old.printer')).toMatch(/^250 [^\n]+$/);
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
    expect(listener.inject.only.fields('received').join('')).toMatch(/ with SMTP id /);
  });
});

describe('limits', () => {
  it('refuse one connection too many with 421, and let it in when another has gone', async () => {
    const listener = await listen({ maxConnections: 2 });
    const first = await listener.session();
    await listener.session();
    const third = await listener.connect();
    expect(await third.reply()).toBe('421 4.7.0 Too many connected clients, try again later');
    await third.closed();
    expect(listener.refusals).toEqual([
      {
        event: 'session.refused',
        listener: 'lan',
        peer: '127.0.0.1',
        refusal: 'connections',
        reply: third.heard[0],
      },
    ]);
    await first.say('QUIT');
    await first.closed();
    const fourth = await listener.connect();
    expect(await fourth.reply()).toMatch(/^220 /);
    expect(listener.told('session.opened')).toHaveLength(3);
  });

  it('refuse one recipient too many with 452 4.5.3 and take the rest', async () => {
    const listener = await listen({ maxRecipients: 2 });
    const session = await listener.session();
    await session.say('MAIL FROM:<a@contoso.com>');
    for (const name of ['b', 'c']) expect(await session.say(`RCPT TO:<${name}@contoso.com>`)).toMatch(/^250 2\.1\.5 /);
    expect(await session.say('RCPT TO:<d@contoso.com>')).toMatch(/^452 4\.5\.3 /);
    expect(await session.say('DATA')).toMatch(/^354 /);
    session.write(`${MESSAGE}.\r\n`);
    expect(await session.reply()).toMatch(/^250 2\.0\.0 /);
    expect(listener.inject.only.envelope.recipients.map(({ address }) => address)).toEqual([
      'b@contoso.com',
      'c@contoso.com',
    ]);
    expect(listener.refusals.map(({ refusal }) => refusal)).toEqual(['recipients']);
  });

  it.each([
    { where: 'before EHLO', lines: [] },
    { where: 'after EHLO', lines: ['EHLO client.test'] },
    { where: 'in a transaction', lines: ['EHLO client.test', 'MAIL FROM:<a@contoso.com>'] },
  ])('end a silent session $where with 421 4.4.2', async ({ lines }) => {
    const listener = await listen({ idleTimeout: 150 });
    const session = await listener.connect();
    await session.reply();
    for (const line of lines) await session.say(line);
    expect(await session.reply()).toMatch(/^421 4\.4\.2 /);
    await session.closed();
    await until('the close', () => listener.told('session.closed').length > 0);
    expect(listener.refusals.map(({ refusal, peer }) => [refusal, peer])).toEqual([['timeout', '127.0.0.1']]);
  });

  it('end a client that falls silent in DATA, told once, and forget what it sent', async () => {
    const listener = await listen({ idleTimeout: 150 });
    const session = await listener.session();
    await session.toData();
    session.write(MESSAGE);
    expect(await session.reply()).toMatch(/^421 4\.4\.2 /);
    await session.closed();
    await until('the close', () => listener.told('session.closed').length > 0);
    await until('the abort', () => listener.inject.drafts[0]?.state === 'aborted');
    expect(listener.refusals.map(({ refusal }) => refusal)).toEqual(['timeout']);
    expect(listener.inject.messages).toEqual([]);
  });

  it('do not count the time we take ourselves', async () => {
    const listener = await listen({ idleTimeout: 100 });
    listener.inject.onCommit = () => new Promise((resolve) => setTimeout(resolve, 350));
    const session = await listener.session();
    expect(await session.send(MESSAGE)).toMatch(/^250 2\.0\.0 /);
    expect(listener.refusals).toEqual([]);
  });

  it('do not count the time the spool takes for a large message either', async () => {
    const listener = await listen({ idleTimeout: 100 });
    listener.inject.onWrite = ({ chunks }) =>
      chunks.length === 2 ? new Promise((resolve) => setTimeout(resolve, 350)) : undefined;
    const session = await listener.session();
    expect(await session.send(`${MESSAGE}${`${'x'.repeat(998)}\r\n`.repeat(900)}`)).toMatch(/^250 2\.0\.0 /);
    expect(listener.refusals).toEqual([]);
  });

  it('hold for a client that knocks on the TLS port and says nothing', async () => {
    const listener = await listen({ tls: 'implicit', idleTimeout: 150 });
    const session = await Session.open(listener.port);
    await session.closed();
    expect(session.heard).toEqual([]);
    expect(listener.told('session.opened')).toEqual([]);
  });
});
