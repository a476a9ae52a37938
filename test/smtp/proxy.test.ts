/** PROXY headers: of named balancers only, both versions, whole or in pieces. */
import { Buffer } from 'node:buffer';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readProxyHeader } from '../../src/smtp/proxy.ts';
import { MESSAGE, TestListener, until } from './listener.ts';
import { Session } from './session.ts';

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

function version2(command: number, family: number, body: Buffer, length = body.length): Buffer {
  return Buffer.concat([SIGNATURE, Buffer.from([command, family, length >> 8, length & 0xff]), body]);
}

const version1 = (words: string): Buffer => Buffer.from(`PROXY ${words}\r\n`);

const IPV4 = Buffer.from('c0000207c633640100c80019', 'hex');
const IPV6 = Buffer.from(`20010db8000000000000000000000007${'00'.repeat(15)}01d4310019`, 'hex');
const EXTENSION = Buffer.from('0400030000ff', 'hex');

describe('readProxyHeader', () => {
  it.each([
    { name: 'IPv4', octets: version2(0x21, 0x11, IPV4), source: { remoteAddress: '192.0.2.7', remotePort: 200 } },
    {
      name: 'IPv4 with an extension',
      octets: version2(0x21, 0x11, Buffer.concat([IPV4, EXTENSION])),
      source: { remoteAddress: '192.0.2.7', remotePort: 200 },
    },
    {
      name: 'IPv6',
      octets: version2(0x21, 0x21, IPV6),
      source: { remoteAddress: '2001:db8:0:0:0:0:0:7', remotePort: 54_321 },
    },
    {
      name: 'a line with IPv4',
      octets: version1('TCP4 192.0.2.7 198.51.100.1 200 25'),
      source: { remoteAddress: '192.0.2.7', remotePort: 200 },
    },
    {
      name: 'a line with IPv6',
      octets: version1('TCP6 2001:db8::7 2001:db8::1 54321 25'),
      source: { remoteAddress: '2001:db8::7', remotePort: 54_321 },
    },
    { name: 'UNKNOWN', octets: version1('UNKNOWN'), source: undefined },
    { name: 'UNKNOWN with addresses', octets: version1('UNKNOWN ffff::1 ffff::2 1 2'), source: undefined },
    { name: 'LOCAL', octets: version2(0x20, 0x00, Buffer.alloc(0)), source: undefined },
    { name: 'LOCAL with addresses', octets: version2(0x20, 0x11, IPV4), source: undefined },
    { name: 'UNSPEC', octets: version2(0x21, 0x00, EXTENSION), source: undefined },
  ])('$name', ({ octets, source }) => {
    for (let length = 0; length < octets.length; length++)
      expect(readProxyHeader(octets.subarray(0, length)).state).toBe('more');
    expect(readProxyHeader(Buffer.concat([octets, Buffer.from('EHLO')]))).toEqual({
      state: 'read',
      octets: octets.length,
      ...(source === undefined ? {} : { source }),
    });
  });

  it.each([
    { name: 'version 3', octets: version2(0x31, 0x11, IPV4), state: 'bad' },
    { name: 'an unknown command', octets: version2(0x22, 0x11, IPV4), state: 'bad' },
    { name: 'UDP', octets: version2(0x21, 0x12, IPV4), state: 'bad' },
    { name: 'a UNIX socket', octets: version2(0x21, 0x31, Buffer.alloc(216)), state: 'bad' },
    { name: 'IPv4 that is too short', octets: version2(0x21, 0x11, IPV4.subarray(0, 8)), state: 'bad' },
    { name: 'IPv6 that is too short', octets: version2(0x21, 0x21, IPV4), state: 'bad' },
    { name: 'an endless one', octets: version2(0x21, 0x11, IPV4, 65_535), state: 'bad' },
    { name: 'version 1 with IPv6 for IPv4', octets: version1('TCP4 2001:db8::7 192.0.2.1 1 25'), state: 'bad' },
    { name: 'version 1 with a zone', octets: version1('TCP6 fe80::1%eth0 ::1 1 25'), state: 'bad' },
    { name: 'version 1 with a port too many', octets: version1('TCP4 192.0.2.7 192.0.2.1 1 25 26'), state: 'bad' },
    { name: 'version 1 with port 65536', octets: version1('TCP4 192.0.2.7 192.0.2.1 65536 25'), state: 'bad' },
    { name: 'version 1 without ports', octets: version1('TCP4 192.0.2.7 192.0.2.1'), state: 'bad' },
    { name: 'version 1 of UDP', octets: version1('UDP4 192.0.2.7 192.0.2.1 1 25'), state: 'bad' },
    { name: 'version 1 in small letters', octets: Buffer.from('proxy UNKNOWN\r\n'), state: 'bad' },
    { name: 'version 1 without CR', octets: Buffer.from(`PROXY UNKNOWN${' '.repeat(100)}\n`), state: 'bad' },
    { name: 'SMTP', octets: Buffer.from('E'), state: 'bad' },
  ])('$name is none', ({ octets, state }) => {
    expect(readProxyHeader(octets).state).toBe(state);
  });
});

let listener: TestListener;
beforeEach(() => {
  listener = new TestListener();
});
afterEach(() => listener.end());

const V1 = Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 200 25\r\n');

describe('a listener', () => {
  describe.each(['none', 'implicit'] as const)('with TLS %s', (tls) => {
    it.each([
      { name: 'version 1', header: V1, peer: '192.0.2.7' },
      { name: 'version 2', header: version2(0x21, 0x11, IPV4), peer: '192.0.2.7' },
      { name: 'version 2 with IPv6', header: version2(0x21, 0x21, IPV6), peer: '2001:db8::7' },
      { name: 'version 2 of the balancer itself', header: version2(0x20, 0x00, Buffer.alloc(0)), peer: '127.0.0.1' },
    ])('knows the client from $name', async ({ header, peer }) => {
      await listener.start({
        tls,
        proxyProtocol: ['127.0.0.0/8'],
        allow: ['192.0.2.0/24', '2001:db8::/32', '127.0.0.1'],
      });
      for (const slowly of [false, true]) {
        const session = await Session.open(listener.port);
        try {
          if (slowly) await session.writeSlowly(header);
          else session.write(header);
          if (tls === 'implicit') await session.upgrade();
          await session.hello();
          expect(await session.send(MESSAGE)).toMatch(/^250 /);
        } finally {
          session.destroy();
        }
      }
      for (const { origin } of listener.inject.messages) expect(origin.peer).toBe(peer);
      expect(listener.told('session.opened').map((event) => event.peer)).toEqual([peer, peer]);
      expect(listener.refusals).toEqual([]);
    });
  });

  it('with header and command in one write', async () => {
    await listener.start({ proxyProtocol: ['127.0.0.1'], allow: ['192.0.2.0/24'] });
    for (const header of [V1, version2(0x21, 0x11, IPV4)]) {
      const session = await listener.connect();
      session.write(Buffer.concat([header, Buffer.from('EHLO client.test\r\n')]));
      expect(await session.reply()).toMatch(/^220 /);
      expect(await session.reply()).toMatch(/^250-/);
    }
  });

  it('asks the policy about the client, not about the balancer', async () => {
    await listener.start({ proxyProtocol: ['127.0.0.1'], allow: ['127.0.0.1'] });
    for (const header of [V1, version2(0x21, 0x11, IPV4)]) {
      const session = await listener.connect();
      session.write(header);
      expect(await session.reply()).toMatch(/^554 5\.7\.1 192\.0\.2\.7 /);
    }
    expect(listener.refusals).toMatchObject([
      { peer: '192.0.2.7', refusal: 'address' },
      { peer: '192.0.2.7', refusal: 'address' },
    ]);
  });

  it.each([
    { name: 'none at all', octets: Buffer.from('EHLO client.test\r\n') },
    { name: 'a name for an address', octets: Buffer.from('PROXY TCP4 evil 198.51.100.1 200 25\r\n') },
    { name: 'an endless line', octets: Buffer.alloc(4_000, 'P') },
    { name: 'a version nobody knows', octets: version2(0x31, 0x11, IPV4) },
  ])('refuses a balancer that sends $name', async ({ octets }) => {
    await listener.start({ proxyProtocol: ['127.0.0.1'] });
    const session = await listener.connect();
    session.write(octets);
    await session.closed();
    expect(session.heard.filter((reply) => /^[234]/.test(reply))).toEqual([]);
    expect(listener.refusals).toMatchObject([{ peer: '127.0.0.1', refusal: 'syntax' }]);
    expect(listener.told('session.opened')).toEqual([]);
  });

  it('refuses nothing to a balancer that only looks whether the port is open', async () => {
    await listener.start({ proxyProtocol: ['127.0.0.1'] });
    for (const way of ['destroy', 'reset'] as const) (await listener.connect())[way]();
    const session = await listener.connect();
    session.write(V1.subarray(0, 5));
    session.socket.end();
    await session.closed();
    expect(listener.events.filter(({ event }) => event !== 'listener.open')).toEqual([]);
  });

  it('does not believe anybody else', async () => {
    await listener.start({ proxyProtocol: ['10.0.0.0/8'] });
    const session = await listener.connect();
    expect(await session.reply()).toMatch(/^220 /);
    expect(await session.say(V1.toString().trim())).toMatch(/^500 5?\.?5?\.?2? ?/);
    await until('the session', () => listener.told('session.opened').length === 1);
    expect(listener.told('session.opened')).toMatchObject([{ peer: '127.0.0.1' }]);
  });

  it('does not wait for ever for the header', async () => {
    await listener.start({ proxyProtocol: ['127.0.0.1'], idleTimeout: 100 });
    const session = await listener.connect();
    await session.closed();
    expect(session.heard).toEqual([]);
  });
});
