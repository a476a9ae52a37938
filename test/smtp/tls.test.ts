/** TLS: STARTTLS and implicit, demanded or not, old versions, and what must not survive the handshake. */
import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tlsSettings } from '../../src/smtp/tls.ts';
import { MESSAGE, OPTIONS, plain, TestListener, until } from './listener.ts';

let listener: TestListener;

beforeEach(() => {
  listener = new TestListener();
});

afterEach(() => listener.end());

const OLD = { minVersion: 'TLSv1', maxVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
const OLDISH = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
const TLS12 = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
const TLS13 = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;

describe('STARTTLS', () => {
  it.each([
    { version: TLS12, tls: /^TLSv1\.2 TLS_ECDHE_ECDSA_\w+$/ },
    { version: TLS13, tls: /^TLSv1\.3 TLS_AES_\w+$/ },
    // The cipher's own first version is SSLv3 or TLSv1; what was negotiated is meant.
    {
      version: { ...TLS12, ciphers: 'ECDHE-ECDSA-AES128-SHA' },
      tls: /^TLSv1\.2 TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA$/,
    },
  ])('takes a message under $version', async ({ version, tls }) => {
    await listener.start({ tls: 'optional' });
    const session = await listener.session();
    await session.startTls(version);
    expect(await session.say('EHLO client.test')).not.toContain('STARTTLS');
    expect(await session.send(MESSAGE)).toMatch(/^250 2\.0\.0 /);
    expect(listener.inject.only.origin.tls).toMatch(tls);
    expect(listener.inject.only.fields('received').join('')).toMatch(
      / with\s+ESMTPS\s+\(TLSv1\.[23]\s+TLS_\w+\) id m1;/,
    );
    expect(listener.refusals).toEqual([]);
  });

  it('forgets what the client said before', async () => {
    await listener.start({ tls: 'optional', auth: 'optional', allowInsecureAuth: true });
    const session = await listener.session('127.0.0.1');
    expect(await session.say(`AUTH PLAIN ${plain('pbx', 'secret')}`)).toMatch(/^235 /);
    await session.say('MAIL FROM:<a@contoso.com>');
    await session.startTls();
    expect(await session.say('MAIL FROM:<a@contoso.com>')).toMatch(/^503 5\.5\.1 /);
    await session.say('EHLO client.test');
    expect(await session.say('RCPT TO:<b@contoso.com>')).toMatch(/^503 5\.5\.1 /);
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
    expect(listener.inject.only.origin).not.toHaveProperty('user');
  });

  it('runs nothing that was sent in the clear behind it', async () => {
    await listener.start({ tls: 'required' });
    const session = await listener.session();
    const injected = 'EHLO evil\r\nMAIL FROM:<evil@contoso.com>\r\nRCPT TO:<b@contoso.com>\r\n';
    session.write(`STARTTLS\r\n${injected.repeat(60)}`);
    expect(await session.reply()).toMatch(/^220 /);
    await session.upgrade();
    expect(await session.say('NOOP')).toMatch(/^250 2\.0\.0 OK$/);
    expect(await session.say('EHLO client.test')).toMatch(/^250-/);
    expect(await session.say('RCPT TO:<b@contoso.com>')).toMatch(/^503 /);
    expect(session.unread).toEqual([]);
    expect(listener.inject.asked).toEqual([]);
  });

  it('is refused twice, with an argument, and where there is none', async () => {
    await listener.start({ tls: 'optional' });
    const session = await listener.session();
    expect(await session.say('STARTTLS now')).toMatch(/^501 5\.5\.4 /);
    await session.startTls();
    await session.say('EHLO client.test');
    expect(await session.say('STARTTLS')).toMatch(/^503 5\.5\.1 /);
    expect(listener.refusals.map(({ refusal }) => refusal)).toEqual(['syntax', 'syntax']);
    const other = new TestListener();
    await other.start({ tls: 'none' });
    const bare = await other.session();
    expect(await bare.say('STARTTLS')).toMatch(/^50[02] 5\.5\.[12] /);
    await other.end();
  });

  it('that fails ends this session and no other', async () => {
    await listener.start({ tls: 'optional' });
    const [broken, sound] = [await listener.session(), await listener.session()];
    expect(await broken.say('STARTTLS')).toMatch(/^220 /);
    broken.write('this is no handshake\r\n'.repeat(20));
    await broken.closed();
    expect(await sound.send(MESSAGE)).toMatch(/^250 /);
    await until('the close', () => listener.told('session.closed').length === 1);
    expect(listener.refusals.map(({ refusal, peer }) => [refusal, peer])).toEqual([['tls', '127.0.0.1']]);
  });
});

describe('TLS required', () => {
  it('refuses MAIL before STARTTLS with 530 5.7.0, takes it after', async () => {
    await listener.start({ tls: 'required' });
    const session = await listener.session();
    expect(await session.say('MAIL FROM:<a@contoso.com>')).toMatch(/^530 5\.7\.0 .*STARTTLS/);
    expect(await session.say('RCPT TO:<b@contoso.com>')).toMatch(/^503 /);
    expect(await session.say('DATA')).toMatch(/^503 /);
    expect(listener.inject.asked).toEqual([]);
    await session.startTls();
    await session.say('EHLO client.test');
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
    expect(listener.refusals.map(({ refusal }) => refusal)).toEqual(['tls', 'syntax', 'syntax']);
  });

  it('comes before the login, whatever is allowed in the clear', async () => {
    await listener.start({ tls: 'required', auth: 'required', allowInsecureAuth: true });
    const session = await listener.session();
    expect(await session.say('MAIL FROM:<a@contoso.com>')).toMatch(/^530 5\.7\.0 .*STARTTLS/);
    expect(await session.say(`AUTH PLAIN ${plain('pbx', 'secret')}`)).toMatch(/^5\d\d 5\.7\.\d+ .*STARTTLS/);
    expect(listener.refusals.map(({ refusal }) => refusal)).toEqual(['tls', 'tls']);
    expect(listener.told('auth.succeeded')).toEqual([]);
    await session.startTls();
    await session.say('EHLO client.test');
    expect(await session.say(`AUTH PLAIN ${plain('pbx', 'secret')}`)).toMatch(/^235 2\.7\.0 /);
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
  });
});

describe('implicit TLS', () => {
  it('takes a message', async () => {
    await listener.start({ tls: 'implicit' });
    const session = await listener.connectTls();
    await session.hello();
    expect(await session.send(MESSAGE)).toMatch(/^250 2\.0\.0 /);
    expect(listener.inject.only.origin.tls).toMatch(/^TLSv1\.3 TLS_AES_\w+$/);
    expect(listener.told('listener.open')[0]?.tls).toBe('implicit');
  });

  it('holds the allow-list', async () => {
    await listener.start({ tls: 'implicit', allow: ['10.0.0.0/8'] });
    const session = await listener.connectTls();
    expect(await session.reply()).toMatch(/^554 5\.7\.1 /);
    await session.closed();
    expect(listener.refusals.map(({ refusal }) => refusal)).toEqual(['address']);
  });

  it('survives clients that speak in the clear, tells why, and does not tell of a mere knock', async () => {
    await listener.start({ tls: 'implicit' });
    const session = await listener.connect();
    session.write('EHLO client.test\r\n');
    await session.closed();
    (await listener.connect()).destroy();
    (await listener.connect()).reset();
    await until('the event', () => listener.refusals.length > 0);
    for (let n = 0; n < 3; n++) await (await listener.connectTls()).hello();
    expect(listener.refusals.map(({ refusal, peer, reply }) => [refusal, peer, reply])).toEqual([
      ['tls', '127.0.0.1', 'TLS handshake failed'],
    ]);
    expect(listener.refusals[0]?.detail).toMatch(/\S/);
  });
});

describe('minTls', () => {
  let implicit: TestListener;

  beforeEach(() => {
    implicit = new TestListener();
  });

  afterEach(() => implicit.end());

  it.each([
    { minTls: '1.0', client: OLD },
    { minTls: '1.0', client: TLS13 },
    { minTls: '1.1', client: OLDISH },
    { minTls: '1.2', client: TLS12 },
    { minTls: '1.3', client: TLS13 },
  ] as const)('$minTls lets $client.maxVersion in', async ({ minTls, client }) => {
    await listener.start({ tls: 'optional', minTls });
    await implicit.start({ tls: 'implicit', minTls });
    const session = await listener.session();
    await session.startTls(client);
    await session.say('EHLO client.test');
    expect(await session.send(MESSAGE)).toMatch(/^250 /);
    expect(listener.inject.only.origin.tls?.split(' ')[0]).toBe(client.maxVersion);
    await (await implicit.connectTls(client)).hello();
    expect([...listener.refusals, ...implicit.refusals]).toEqual([]);
  });

  it.each([
    { minTls: '1.1', client: OLD },
    { minTls: '1.2', client: OLD },
    { minTls: '1.2', client: OLDISH },
    { minTls: '1.3', client: TLS12 },
  ] as const)('$minTls keeps $client.maxVersion out, and tells so', async ({ minTls, client }) => {
    await listener.start({ tls: 'optional', minTls });
    await implicit.start({ tls: 'implicit', minTls });
    const session = await listener.session();
    await expect(session.startTls(client)).rejects.toThrow();
    await expect(implicit.connectTls(client)).rejects.toThrow();
    // Where the operator of an old printer finds out.
    await until('the events', () => listener.refusals.length > 0 && implicit.refusals.length > 0);
    for (const { refusals } of [listener, implicit])
      expect(refusals).toEqual([
        {
          event: 'session.refused',
          listener: 'lan',
          peer: '127.0.0.1',
          refusal: 'tls',
          reply: 'TLS handshake failed',
          detail: expect.stringMatching(/lower minTls.*unsupported protocol/) as string,
        },
      ]);
  });

  it('does not start without a certificate', () => {
    // The package would take its built-in one, whose key everybody knows.
    for (const tls of ['optional', 'required', 'implicit'] as const)
      expect(() => tlsSettings({ ...OPTIONS, tls })).toThrow('a listener with TLS needs a certificate');
  });
});

describe('a ClientHello', () => {
  it('to a port without TLS is answered and ends nothing else', async () => {
    await listener.start();
    const socket = connectTls({ port: listener.port, host: '127.0.0.1', rejectUnauthorized: false });
    const [error] = (await once(socket, 'error')) as [Error];
    expect(error).toBeInstanceOf(Error);
    socket.destroy();
    expect(await (await listener.session()).send(MESSAGE)).toMatch(/^250 /);
  });
});
