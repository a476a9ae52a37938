/** What `check` says of the systems that mail is handed over to: real servers, folders and programs, and no mail for any. */
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkHandOver } from '../../src/commands/check-hand-over.ts';
import type { Finding } from '../../src/commands/finding.ts';
import type { Config, DeliverConfig, SmtpConfig } from '../../src/config/config.ts';
import { Secret } from '../../src/config/secret.ts';
import { createCertificate } from '../../src/sandbox/certificate.ts';
import type { Folder } from '../gateway/process.ts';
import { folder } from '../gateway/process.ts';

let place: Folder;
const servers: Server[] = [];

beforeEach(() => {
  place = folder();
});
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.close();
    await once(server, 'close');
  }
  place.remove();
});

async function listening(server: Server): Promise<number> {
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** One that nothing listens on. */
async function closedPort(): Promise<number> {
  const port = await listening(createServer());
  const server = servers.pop();
  server?.close();
  if (server !== undefined) await once(server, 'close');
  return port;
}

async function check(deliver: DeliverConfig, more: Partial<Config> = {}): Promise<Finding> {
  const pickup = { name: 'fax', setting: 'pickup[0]', deliver };
  const around = { hostname: 'gateway.test', ...more };
  const found = await checkHandOver(pickup, around, new AbortController().signal);
  expect(found).toMatchObject({ what: 'hand-over', pickup: 'fax', transport: deliver.kind });
  return found;
}

describe('an SMTP server', () => {
  const login = { kind: 'password', username: 'pbx', password: new Secret('a secret password') } as const;
  const smtp = (server: Partial<SmtpConfig> & { readonly port: number }): DeliverConfig => ({
    kind: 'smtp',
    server: { host: '127.0.0.1', tls: 'none', minTls: '1.2', login: { kind: 'none' }, ...server },
    from: 'sender',
  });

  /** @returns what it is told; resolves when the client has gone */
  function talking(socket: Socket, toAuth: string): Promise<readonly string[]> {
    const lines: string[] = [];
    socket.write('220 fax.test\r\n');
    createInterface({ input: socket }).on('line', (line) => {
      lines.push(line);
      if (line.startsWith('EHLO')) socket.write('250-fax.test\r\n250 AUTH PLAIN\r\n');
      else if (line.startsWith('AUTH')) socket.write(`${toAuth}\r\n`);
      else if (line === 'QUIT') socket.end('221 bye\r\n');
      else socket.write('502 5.5.1 what\r\n');
    });
    return once(socket, 'close').then(() => lines);
  }

  it('is greeted, logged in to and left, without a mail', async () => {
    const server = createServer();
    const talk = once(server, 'connection').then(([socket]) => talking(socket as Socket, '235 2.7.0 welcome'));
    const port = await listening(server);
    const found = await check(smtp({ port, login }));
    expect(found).toMatchObject({
      mark: 'ok',
      says: `127.0.0.1:${port} takes sessions, and the login; no mail was sent`,
    });
    expect((await talk).map((line) => line.split(' ')[0])).toEqual(['EHLO', 'AUTH', 'QUIT']);
  });

  it('refuses the login', async () => {
    const server = createServer();
    const talk = once(server, 'connection').then(([socket]) => talking(socket as Socket, '535 5.7.8 no'));
    const { mark, says } = await check(smtp({ port: await listening(server), login }));
    await talk;
    expect([mark, says]).toEqual(['fail', expect.stringMatching(/^SMTP 535 5\.7\.8: .*check username and password/)]);
    expect(says).not.toContain('a secret password');
  });

  it('offers no STARTTLS', async () => {
    const server = createServer();
    const talk = once(server, 'connection').then(([socket]) => talking(socket as Socket, ''));
    const found = await check(smtp({ port: await listening(server), tls: 'required' }));
    await talk;
    expect(found).toMatchObject({ mark: 'fail', says: expect.stringContaining('STARTTLS') as string });
  });

  it('is down', async () => {
    const port = await closedPort();
    const found = await check(smtp({ port }));
    expect(found).toMatchObject({ mark: 'fail', says: expect.stringMatching(/^ECONNREFUSED: /) as string });
    expect(found.says).toContain(`127.0.0.1:${port}`);
  });
});

describe('a folder', () => {
  const into = async (path: string): Promise<Finding> =>
    await check({ kind: 'folder', path: `${place.path}/${path}`, form: 'message' });

  it('is written into, and is as before', async () => {
    mkdirSync(`${place.path}/out`);
    expect(await into('out')).toMatchObject({ mark: 'ok', says: `${place.path}/out: a file was written and removed` });
    expect(readdirSync(`${place.path}/out`)).toEqual([]);
  });

  it('is not made before it is needed', async () => {
    const found = await into('new/out');
    expect(found).toMatchObject({ mark: 'ok', says: `${place.path}/new/out: not there yet; made with the first mail` });
    expect(readdirSync(place.path)).toEqual([]);
  });

  it('cannot be made', async () => {
    place.write('file', '');
    symlinkSync(`${place.path}/nowhere`, `${place.path}/dangling`);
    for (const [path, code] of [
      ['file', 'ENOTDIR'],
      ['file/out', 'ENOTDIR'],
      ['dangling/out', 'ENOENT'],
    ] as const)
      expect(await into(path)).toMatchObject({ mark: 'fail', says: expect.stringContaining(`(${code})`) as string });
  });
});

describe('a webhook', () => {
  const webhook = (url: string, ca?: string): DeliverConfig => ({
    kind: 'webhook',
    url: new Secret(url),
    form: 'raw',
    timeout: 1_000,
    ...(ca === undefined ? {} : { ca }),
  });

  it.each(['http', 'https'])('is connected to, and asked for nothing (%s)', async (scheme) => {
    const { ca, ...pair } = await createCertificate();
    let octets = 0;
    const count = (socket: Socket): void => void socket.on('data', (data) => (octets += data.length));
    const server = scheme === 'https' ? createTlsServer(pair, count) : createServer(count);
    const gone = once(server, 'connection').then(([socket]) => once(socket as Socket, 'close'));
    const port = await listening(server);
    const found = await check(webhook(`${scheme}://127.0.0.1:${port}/hidden`, ca));
    await gone;
    expect(found).toMatchObject({
      mark: 'ok',
      says: `127.0.0.1:${port} takes ${scheme === 'https' ? 'TLS ' : ''}connections; no request was sent`,
    });
    expect(octets).toBe(0);
  });

  it('has a certificate that is not trusted', async () => {
    const server = createTlsServer(await createCertificate());
    server.on('tlsClientError', () => undefined);
    const { mark, says } = await check(webhook(`https://127.0.0.1:${await listening(server)}/hidden`));
    expect([mark, says]).toEqual(['fail', expect.stringMatching(/is not trusted .*smtp2exchange sandbox.*caFile/)]);
  });

  it('cannot be reached', async () => {
    const port = await closedPort();
    const { mark, says } = await check(webhook(`https://127.0.0.1:${port}/hidden`));
    expect([mark, says]).toEqual(['fail', expect.stringMatching(/refused the connection \(ECONNREFUSED\)/)]);
    expect(says).not.toContain('hidden');
  });
});

describe('a command', () => {
  const run = async (...command: readonly string[]): Promise<Finding> =>
    await check({
      kind: 'command',
      command,
      timeout: 1_000,
      environment: { PATH: `/nowhere:${place.path}:/usr/bin:/bin` },
    });

  it('is found, and not run', async () => {
    const { mark, says } = await run('sh', '-c', `touch ${place.path}/ran`);
    expect([mark, says]).toEqual(['ok', expect.stringMatching(/^\/.*\/sh may be run; it was not$/)]);
    expect(await run('/bin/sh')).toMatchObject({ mark: 'ok' });
    expect(existsSync(`${place.path}/ran`)).toBe(false);
  });

  it('cannot be run', async () => {
    place.write('plain', '');
    mkdirSync(`${place.path}/bin`);
    for (const [program, told] of [
      ['no-such-program', /^no-such-program is not there; correct pickup\[0\]\.deliver\.command\.run.*\(ENOENT\)$/],
      [`${place.path}/missing`, /is not there.*\(ENOENT\)$/],
      ['plain', /may not be run by this user.*\(EACCES\)$/],
      [`${place.path}/bin`, /cannot be run.*\(EISDIR\)$/],
    ] as const) {
      const { mark, says } = await run(program);
      expect([mark, says]).toEqual(['fail', expect.stringMatching(told)]);
    }
  });
});

it('says of POP3 where clients fetch', async () => {
  const pop3 = { address: '127.0.0.1', port: 1110 } as NonNullable<Config['pop3']>;
  expect(await check({ kind: 'pop3', user: 'fax', passwordHash: new Secret('hash') }, { pop3 })).toMatchObject({
    mark: 'ok',
    says: 'clients fetch it at 127.0.0.1:1110',
  });
});
