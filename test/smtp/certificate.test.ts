import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Event } from '../../src/mail/event.ts';
import type { CertificateFiles, CertificateOptions, CertificateSource } from '../../src/smtp/certificate.ts';
import { certificateSource } from '../../src/smtp/certificate.ts';
import type { KeyPair } from '../../src/tls/selfsigned.ts';
import { makeCertificate } from '../../src/tls/selfsigned.ts';

const DAY = 86_400_000;
/** No look at the files but the ones asked for. */
const NEVER = 2_000_000_000;

const pairOf = (commonName: string, from = -1, until = 365): Promise<KeyPair> =>
  makeCertificate({
    commonName,
    keyType: 'ec',
    use: 'server',
    names: [commonName],
    notBefore: new Date(Date.now() + from * DAY),
    notAfter: new Date(Date.now() + until * DAY),
  });

let first: KeyPair;
let second: KeyPair;
let third: KeyPair;
beforeAll(async () => {
  first = await pairOf('first.example');
  second = await pairOf('second.example');
  third = await pairOf('third.example');
});

let folder: string;
let events: Event[];
const sources: CertificateSource[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'certificate-'));
  events = [];
});
afterEach(async () => {
  for (const source of sources.splice(0)) source.close();
  await rm(folder, { recursive: true, force: true });
});

const at = (name: string): string => join(folder, name);
const put = (pair: Partial<KeyPair>): void => {
  if (pair.cert !== undefined) writeFileSync(at('cert.pem'), pair.cert);
  if (pair.key !== undefined) writeFileSync(at('key.pem'), pair.key);
};

async function opened(
  files: CertificateFiles = { certFile: at('cert.pem'), keyFile: at('key.pem') },
  options: Partial<CertificateOptions> = {},
): Promise<CertificateSource> {
  const source = await certificateSource(files, {
    listener: 'lan',
    report: (event) => events.push(event),
    interval: NEVER,
    pause: async () => undefined,
    ...options,
  });
  sources.push(source);
  return source;
}

const names = (): string[] =>
  events.map((event) => {
    if (event.event === 'certificate.loaded') return `loaded ${event.subject}`;
    if (event.event === 'certificate.failed') return `failed ${event.reason.replaceAll(folder, '')}`;
    return event.event;
  });
const subject = ({ cert }: KeyPair): string => new X509Certificate(cert).subject;
const fits = ({ cert, key }: KeyPair): boolean => new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));

describe('the certificate of files', () => {
  it('is read and told', async () => {
    put(first);
    const source = await opened();
    expect(subject(source.current())).toBe('CN=first.example');
    expect(fits(source.current())).toBe(true);
    expect(events).toEqual([
      {
        event: 'certificate.loaded',
        listener: 'lan',
        subject: 'CN=first.example',
        expiresAt: new X509Certificate(first.cert).validToDate.getTime(),
        generated: false,
      },
    ]);
  });

  it('is looked at every few seconds', async () => {
    put(first);
    const source = await opened(undefined, { interval: 5 });
    const changed = new Promise<KeyPair>((resolve) => source.onChange(resolve));
    put(second);
    expect(subject(await changed)).toBe('CN=second.example');
  });

  it('costs neither an event nor a change as long as it is the same', async () => {
    put(first);
    const source = await opened();
    let changes = 0;
    source.onChange(() => void changes++);
    for (let look = 0; look < 5; look++) await source.reload();
    put(first);
    await source.reload();
    expect([changes, events.length]).toEqual([0, 1]);
  });

  it.each<[string, () => void]>([
    ['written in place', () => put(second)],
    [
      'renamed over the old ones',
      () => {
        writeFileSync(at('cert.new'), second.cert);
        writeFileSync(at('key.new'), second.key);
        renameSync(at('key.new'), at('key.pem'));
        renameSync(at('cert.new'), at('cert.pem'));
      },
    ],
    [
      'removed and made anew',
      () => {
        rmSync(at('cert.pem'));
        rmSync(at('key.pem'));
        put(second);
      },
    ],
  ])('is taken when the files are %s', async (_, replace) => {
    put(first);
    const source = await opened();
    const taken: string[] = [];
    source.onChange((pair) => void taken.push(subject(pair)));
    replace();
    await source.reload();
    expect(taken).toEqual(['CN=second.example']);
    expect(subject(source.current())).toBe('CN=second.example');
    expect(names()).toEqual(['loaded CN=first.example', 'loaded CN=second.example']);
  });

  it('is taken when a link to its folder is turned, as Kubernetes does', async () => {
    for (const [name, pair] of [['..1', first] as const, ['..2', second] as const]) {
      mkdirSync(at(name));
      writeFileSync(join(at(name), 'tls.crt'), pair.cert);
      writeFileSync(join(at(name), 'tls.key'), pair.key);
    }
    symlinkSync('..1', at('..data'));
    symlinkSync('..data/tls.crt', at('tls.crt'));
    symlinkSync('..data/tls.key', at('tls.key'));
    const source = await opened({ certFile: at('tls.crt'), keyFile: at('tls.key') });
    symlinkSync('..2', at('..data_tmp'));
    renameSync(at('..data_tmp'), at('..data'));
    rmSync(at('..1'), { recursive: true });
    await source.reload();
    expect(subject(source.current())).toBe('CN=second.example');
  });

  it('may be renewed with the same key, and may have a chain', async () => {
    const ca = await makeCertificate({
      commonName: 'CA',
      keyType: 'ec',
      use: 'authority',
      notBefore: new Date(Date.now() - DAY),
      notAfter: new Date(Date.now() + DAY),
    });
    put(first);
    const source = await opened();
    put({ cert: `${first.cert}\n# issuer\n${ca.cert}` });
    await source.reload();
    expect(source.current().cert.match(/BEGIN/g)).toHaveLength(2);
    expect(fits(source.current())).toBe(true);
  });

  it('may have an encrypted key', async () => {
    const key = createPrivateKey(first.key)
      .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'pass' })
      .toString();
    put({ cert: first.cert, key });
    const source = await opened({ certFile: at('cert.pem'), keyFile: at('key.pem'), passphrase: 'pass' });
    expect(fits(source.current())).toBe(true);
    await expect(opened({ certFile: at('cert.pem'), keyFile: at('key.pem'), passphrase: 'no' })).rejects.toThrow(
      /key.pem holds an encrypted key that cannot be opened; is the passphrase right\?/,
    );
  });
});

describe('a PKCS #12 file', () => {
  const pfx = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../tls/throw-away', name));

  it('is read, and replaced while running; what cannot be used leaves the one before', async () => {
    writeFileSync(at('lan.pfx'), pfx('aes-256.pfx'));
    const source = await opened({ pfxFile: at('lan.pfx'), passphrase: 'throw-away' });
    expect(subject(source.current())).toBe('CN=leaf');
    expect(source.current().cert.match(/BEGIN/g)).toHaveLength(3);
    writeFileSync(at('lan.pfx'), pfx('aes-256.pfx').subarray(0, 1_000));
    await source.reload();
    writeFileSync(at('lan.pfx'), pfx('empty-passphrase.pfx'));
    await source.reload();
    expect(subject(source.current())).toBe('CN=leaf');
    writeFileSync(at('lan.pfx'), pfx('curve.pfx'));
    await source.reload();
    expect(subject(source.current())).toBe('CN=curve');
    expect(fits(source.current())).toBe(true);
    expect(names()).toEqual([
      'loaded CN=leaf',
      'failed /lan.pfx is no PKCS #12 file (.pfx, .p12), or a damaged one',
      'failed /lan.pfx cannot be opened; is the passphrase right?',
      'loaded CN=curve',
    ]);
  });

  it('prevents the start with a reason if it cannot be used', async () => {
    await expect(opened({ pfxFile: at('lan.pfx') })).rejects.toThrow(/there is no file .*lan\.pfx/);
    writeFileSync(at('lan.pfx'), pfx('curve.pfx'));
    await expect(opened({ pfxFile: at('lan.pfx') })).rejects.toThrow(/lan\.pfx needs a passphrase; add passphrase/);
  });
});

describe('a replacement caught half way leaves the old one in use, is told once, and is taken when it is whole', () => {
  const half = (text: string): string => text.slice(0, text.length / 2);
  it.each<[string, () => void, RegExp]>([
    ['only the certificate', () => put({ cert: second.cert }), /does not belong/],
    ['only the key', () => put({ key: second.key }), /does not belong/],
    ['half a certificate', () => put({ cert: half(second.cert), key: second.key }), /incomplete/],
    ['half a key', () => put({ cert: second.cert, key: half(second.key) }), /holds a damaged private key/],
    ['an empty certificate', () => put({ cert: '', key: second.key }), /no certificate/],
    ['an empty key', () => put({ cert: second.cert, key: '' }), /no private key/],
    ['half a chain', () => put({ ...second, cert: `${second.cert}\n${half(first.cert)}` }), /incomplete/],
    ['the certificate gone', () => rmSync(at('cert.pem')), /there is no file/],
    ['the key gone', () => rmSync(at('key.pem')), /there is no file/],
    [
      'a folder in its place',
      () => {
        rmSync(at('key.pem'));
        mkdirSync(at('key.pem'));
      },
      /not a file/,
    ],
    ['something huge', () => put({ cert: 'x'.repeat(1_100_000) }), /larger than 1 MiB/],
    [
      'a damaged certificate',
      () => put({ cert: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' }),
      /damaged/,
    ],
    ['the two swapped', () => put({ cert: second.key, key: second.cert }), /no certificate/],
  ])('%s', async (_, spoil, reason) => {
    put(first);
    const source = await opened();
    let changes = 0;
    source.onChange(() => void changes++);
    spoil();
    for (let look = 0; look < 3; look++) await source.reload();
    expect([changes, source.current().cert]).toEqual([0, first.cert]);
    expect(fits(source.current())).toBe(true);
    expect(events).toHaveLength(2);
    expect(names()[1]).toMatch(/^failed /);
    expect(names()[1]).toMatch(reason);
    expect(JSON.stringify(events)).not.toContain('MII');

    rmSync(at('key.pem'), { recursive: true, force: true });
    put(second);
    await source.reload();
    expect(subject(source.current())).toBe('CN=second.example');
    expect(names().slice(2)).toEqual(['loaded CN=second.example']);
  });

  it('also if the old ones come back', async () => {
    put(first);
    const source = await opened();
    put({ key: second.key });
    await source.reload();
    put(first);
    await source.reload();
    await source.reload();
    expect(names().map((name) => name.split(' ')[0])).toEqual(['loaded', 'failed', 'loaded']);
  });

  it('without a word if it is whole a moment later', async () => {
    put(first);
    const source = await opened(undefined, { pause: async () => put({ key: second.key }) });
    put({ cert: second.cert });
    await source.reload();
    expect(names()).toEqual(['loaded CN=first.example', 'loaded CN=second.example']);
  });

  it('and a whole one that is replaced again at once is passed over', async () => {
    put(first);
    const source = await opened(undefined, { pause: async () => put(third) });
    put(second);
    await source.reload();
    expect(names()).toEqual(['loaded CN=first.example', 'loaded CN=third.example']);
  });

  it('and files that never come to rest are left alone', async () => {
    put(first);
    let turn = 0;
    const source = await opened(undefined, { pause: async () => put(turn++ % 2 === 0 ? third : second) });
    put(second);
    await source.reload();
    expect(turn).toBeLessThan(10);
    expect(names()).toEqual(['loaded CN=first.example']);
  });
});

describe('a certificate that TLS or the listener cannot use', () => {
  it('is not taken', async () => {
    put(first);
    const source = await opened();
    const taken: string[] = [];
    source.onChange((pair) => {
      taken.push(subject(pair));
      if (subject(pair) === 'CN=second.example') throw new Error('too new for us');
    });
    put(second);
    await source.reload();
    await source.reload();
    expect(subject(source.current())).toBe('CN=first.example');
    expect(taken.at(-1)).toBe('CN=first.example');
    expect(names()).toEqual(['loaded CN=first.example', 'failed the listener cannot use it: too new for us']);
    put(third);
    await source.reload();
    expect(subject(source.current())).toBe('CN=third.example');
  });

  it.each<[string, () => void, RegExp]>([
    ['no file', () => rmSync(at('key.pem')), /Certificate of listener "lan": there is no file .*key\.pem/],
    ['a foreign key', () => put({ key: second.key }), /key.pem does not belong to the first certificate of certFile/],
  ])('prevents the start: %s', async (_, spoil, message) => {
    put(first);
    spoil();
    await expect(opened()).rejects.toThrow(message);
    expect(events).toEqual([]);
  });
});

describe('expiry', () => {
  it('is told once a day in the last three weeks, and after the end', async () => {
    put(await pairOf('soon.example', -1, 30));
    let now = Date.now();
    const source = await opened(undefined, { now: () => now });
    const told: number[] = [];
    for (let hour = 0; hour < 40 * 24; hour++) {
      const before = events.length;
      await source.reload();
      if (events.length > before) told.push(Math.floor(hour / 24));
      now += 3_600_000;
    }
    expect(told[0]).toBe(9);
    expect(told.length).toBeGreaterThanOrEqual(30);
    expect(told.length).toBeLessThanOrEqual(31);
    expect(new Set(names().slice(1))).toEqual(new Set(['certificate.expiring']));
  });

  it('begins anew with another certificate', async () => {
    put(await pairOf('soon.example', -1, 2));
    const source = await opened();
    await source.reload();
    put(await pairOf('later.example', -1, 3));
    await source.reload();
    expect(names()).toEqual([
      'loaded CN=soon.example',
      'certificate.expiring',
      'loaded CN=later.example',
      'certificate.expiring',
    ]);
  });
});

describe('a certificate of our own making', () => {
  const generated = (hostname = 'gateway.example'): CertificateFiles => ({ generateIn: folder, hostname });
  const mode = (name: string): number => statSync(at(name)).mode & 0o777;

  it('is kept for the next start; nobody else reads its key', async () => {
    const one = await opened(generated());
    const other = await opened(generated());
    expect(other.current()).toEqual(one.current());
    expect([mode('smtp-cert.pem'), mode('smtp-key.pem')]).toEqual([0o644, 0o600]);
    expect(createPrivateKey(one.current().key).asymmetricKeyDetails).toMatchObject({ modulusLength: 2048 });
    expect(events.map((event) => 'generated' in event && event.generated)).toEqual([true, true]);
    const { subject: name, subjectAltName } = new X509Certificate(one.current().cert);
    expect([name, subjectAltName]).toEqual(['CN=gateway.example', 'DNS:gateway.example, DNS:localhost']);
  });

  it('is one for listeners that start at the same time', async () => {
    const both = await Promise.all([opened(generated()), opened(generated())]);
    expect(both[0].current()).toEqual(both[1].current());
    expect(readFileSync(at('smtp-cert.pem'), 'latin1')).toBe(both[0].current().cert);
  });

  it.each<[string, () => void]>([
    ['the key is lost', () => rmSync(at('smtp-key.pem'))],
    ['the certificate is lost', () => rmSync(at('smtp-cert.pem'))],
    ['the two do not fit', () => writeFileSync(at('smtp-key.pem'), second.key)],
    [
      'a crash left drafts',
      () => {
        rmSync(at('smtp-key.pem'));
        writeFileSync(at('smtp-key.pem.new'), 'half');
        chmodSync(at('smtp-key.pem.new'), 0o644);
      },
    ],
  ])('is made anew at the start if %s', async (_, spoil) => {
    const before = (await opened(generated())).current();
    spoil();
    const after = (await opened(generated())).current();
    expect(after.cert).not.toBe(before.cert);
    expect(fits(after)).toBe(true);
    expect(mode('smtp-key.pem')).toBe(0o600);
  });

  it('is made anew while we run if it is removed or comes to its end', async () => {
    let now = Date.now();
    const source = await opened(generated(), { now: () => now });
    const taken: KeyPair[] = [source.current()];
    source.onChange((pair) => void taken.push(pair));
    rmSync(at('smtp-key.pem'));
    rmSync(at('smtp-cert.pem'));
    await source.reload();
    now += 3_621 * DAY;
    await source.reload();
    expect(new Set(taken.map(({ cert }) => cert)).size).toBe(3);
    expect(taken.every(fits)).toBe(true);
    expect(events.every(({ event }) => event === 'certificate.loaded')).toBe(true);
  });

  it('gives way to one that somebody puts in its place, which is theirs to renew', async () => {
    const ca = await makeCertificate({
      commonName: 'CA',
      keyType: 'ec',
      use: 'authority',
      notBefore: new Date(Date.now() - DAY),
      notAfter: new Date(Date.now() + DAY),
    });
    const theirs = await makeCertificate({
      commonName: 'theirs.example',
      keyType: 'ec',
      use: 'server',
      names: ['theirs.example'],
      notBefore: new Date(Date.now() - DAY),
      notAfter: new Date(Date.now() + DAY),
      issuer: ca,
    });
    const source = await opened(generated());
    writeFileSync(at('smtp-cert.pem'), theirs.cert);
    await source.reload();
    expect(subject(source.current())).toBe('CN=gateway.example');
    writeFileSync(at('smtp-key.pem'), theirs.key);
    await source.reload();
    expect(subject(source.current())).toBe('CN=theirs.example');
    expect(subject((await opened(generated())).current())).toBe('CN=theirs.example');
  });

  it('prevents the start with a reason if it cannot be kept', async () => {
    await expect(opened({ generateIn: at('missing'), hostname: 'x' })).rejects.toThrow(
      /Certificate of listener "lan": none is configured and a new one cannot be kept: ENOENT/,
    );
  });

  it.each([
    ['192.0.2.7', 'CN=192.0.2.7', 'IP Address:192.0.2.7, DNS:localhost'],
    ['localhost', 'CN=localhost', 'DNS:localhost'],
    ['büro.example', 'CN=xn--bro-hoa.example', 'DNS:xn--bro-hoa.example, DNS:localhost'],
    [`${'a'.repeat(60)}.example`, 'CN=smtp2exchange', `DNS:${'a'.repeat(60)}.example, DNS:localhost`],
  ])('can be for %s', async (hostname, name, alternatives) => {
    const { subject: made, subjectAltName } = new X509Certificate((await opened(generated(hostname))).current().cert);
    expect([made, subjectAltName]).toEqual([name, alternatives]);
  });

  it('is one that a client can be told to trust', async () => {
    const pair = (await opened(generated())).current();
    const server = createServer({ ...pair }, (socket) => socket.end('hello')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect({
      port: (server.address() as AddressInfo).port,
      host: '127.0.0.1',
      ca: pair.cert,
      servername: 'gateway.example',
    });
    await once(client, 'secureConnect');
    expect(client.authorized).toBe(true);
    client.destroy();
    server.close();
    await once(server, 'close');
  });
});

describe('under load', () => {
  it('every pair handed out fits, whatever is done to the files', async () => {
    put(first);
    const source = await opened(undefined, { interval: 1 });
    let broken = 0;
    let seen = 0;
    source.onChange((pair) => {
      seen++;
      if (!fits(pair)) broken++;
    });
    const pairs = [first, second, third];
    for (let round = 0; round < 300; round++) {
      const pair = pairs[round % 3] ?? first;
      const { cert, key } = round % 2 === 0 ? pair : { cert: `${pair.cert}${pair.cert}`, key: pair.key };
      const steps: (() => void)[] =
        round % 5 === 0
          ? [() => put({ cert: cert.slice(0, 200) }), () => put({ cert }), () => put({ key: '' }), () => put({ key })]
          : round % 5 === 1
            ? [
                () => writeFileSync(at('new'), key),
                () => renameSync(at('new'), at('key.pem')),
                () => writeFileSync(at('new'), cert),
                () => renameSync(at('new'), at('cert.pem')),
              ]
            : [() => put({ key }), () => put({ cert })];
      for (const step of steps) {
        step();
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (round % 10 === 9) await source.reload();
    }
    put(second);
    await source.reload();
    await source.reload();
    expect([broken, subject(source.current())]).toEqual([0, 'CN=second.example']);
    expect(seen).toBeGreaterThan(10);
  });

  it('looks that overlap are one after the other, and a closed source is silent', async () => {
    put(first);
    const source = await opened();
    put(second);
    await Promise.all(Array.from({ length: 20 }, () => source.reload()));
    expect(names()).toEqual(['loaded CN=first.example', 'loaded CN=second.example']);
    put(third);
    const looking = source.reload();
    source.close();
    await looking;
    await source.reload();
    expect(subject(source.current())).toBe('CN=second.example');
    expect(events).toHaveLength(2);
  });
});
