/** Certificates of a running gateway are replaced: on SIGHUP and by themselves, under load, without a failed session. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, renameSync, statSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TLSSocket } from 'node:tls';
import { connect } from 'node:tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { KeyPair } from '../../src/tls/selfsigned.ts';
import { makeCertificate } from '../../src/tls/selfsigned.ts';
import type { Folder, LogLine } from './process.ts';
import { folder, GatewayProcess } from './process.ts';

const DAY = 86_400_000;

let place: Folder;
let gateway: GatewayProcess | undefined;
beforeEach(() => {
  place = folder();
});
afterEach(async () => {
  gateway?.child.kill('SIGKILL');
  await gateway?.exited;
  gateway = undefined;
  place.remove();
});

const pairOf = (commonName: string): Promise<KeyPair> =>
  makeCertificate({
    commonName,
    keyType: 'ec',
    use: 'server',
    names: [commonName],
    notBefore: new Date(Date.now() - DAY),
    notAfter: new Date(Date.now() + 90 * DAY),
  });

/** Each file is there at every moment; the two are never replaced at once. */
function replace({ cert, key }: KeyPair): void {
  for (const [name, text] of [['key.pem', key] as const, ['cert.pem', cert] as const]) {
    renameSync(place.write(`${name}.new`, text), join(place.path, name));
  }
}

async function start(listeners: string): Promise<GatewayProcess> {
  gateway = new GatewayProcess(
    place.write(
      'config.yaml',
      `
hostname: gateway.test
listeners: ${listeners}
senders: { mailbox: notifications@contoso.com }
exchange:
  tenantId: 11111111-2222-3333-4444-555555555555
  clientId: 66666666-7777-8888-9999-000000000000
  clientSecret: secret
  ewsUrl: https://127.0.0.1:9/EWS/Exchange.asmx
  authority: https://127.0.0.1:9/tenant
spool: { sqlite: ${join(place.path, 'spool.db')} }
console: { address: 127.0.0.1, port: 0 }
`,
    ),
  );
  await gateway.ready();
  return gateway;
}

const portOf = ({ lines }: GatewayProcess, listener: string): number =>
  Number(lines.find((line) => line.event === 'listener.open' && line['listener'] === listener)?.['port']);

/** By each listener that shows one. */
const loaded = (process: GatewayProcess, subject: string): Promise<unknown> =>
  process.line(() => {
    const having = (wanted: (line: LogLine) => boolean): Set<unknown> =>
      new Set(process.lines.filter(wanted).map((line) => line['listener']));
    const showing = having((line) => line.event === 'certificate.loaded');
    const changed = having((line) => line.event === 'certificate.loaded' && line['subject'] === `CN=${subject}`);
    return changed.size > 0 && changed.size === showing.size;
  });

class Session {
  readonly socket: Socket;
  readonly #replies: AsyncIterator<string>;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => undefined); // the replies that are missing tell
    this.#replies = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  static async implicit(port: number): Promise<Session> {
    const session = new Session(connect({ port, host: '127.0.0.1', rejectUnauthorized: false }));
    await session.reply('220');
    await session.say('EHLO client.test', '250');
    return session;
  }

  static async startTls(port: number): Promise<Session> {
    const plain = connectPlain(port, '127.0.0.1');
    await once(plain, 'data');
    plain.write('EHLO client.test\r\n');
    await once(plain, 'data');
    plain.write('STARTTLS\r\n');
    await once(plain, 'data');
    const socket = connect({ socket: plain, rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const session = new Session(socket);
    await session.say('EHLO client.test', '250');
    return session;
  }

  get subject(): string {
    const { raw } = (this.socket as TLSSocket).getPeerCertificate();
    return new X509Certificate(raw).subject;
  }

  async reply(code: string): Promise<void> {
    for (;;) {
      const { value, done } = await this.#replies.next();
      if (done === true) throw new Error(`closed where ${code} was awaited`);
      if (value[3] === '-') continue;
      if (!value.startsWith(code)) throw new Error(`${code} was awaited: ${value}`);
      return;
    }
  }

  async say(line: string, code: string): Promise<void> {
    this.socket.write(`${line}\r\n`);
    await this.reply(code);
  }

  async begin(): Promise<void> {
    await this.say('MAIL FROM:<scan@contoso.com>', '250');
    await this.say('RCPT TO:<alice@fabrikam.com>', '250');
    await this.say('DATA', '354');
    this.socket.write('From: scan@contoso.com\r\nTo: alice@fabrikam.com\r\nSubject: test\r\n\r\nfirst half\r\n');
  }

  async finish(): Promise<void> {
    await this.say('second half\r\n.', '250');
  }

  async quit(): Promise<void> {
    await this.say('QUIT', '221');
    this.socket.destroy();
  }
}

const CERTIFICATE = 'certificate: { certFile: cert.pem, keyFile: key.pem }';
const BOTH = `
  - { name: smtps, address: 127.0.0.1, port: 0, tls: implicit, ${CERTIFICATE} }
  - { name: starttls, address: 127.0.0.1, port: 0, tls: required, ${CERTIFICATE} }
`;

it('SIGHUP brings the new certificate to new sessions; the one that is open goes on', async () => {
  replace(await pairOf('old.test'));
  const running = await start(BOTH);
  const [smtps, starttls] = [portOf(running, 'smtps'), portOf(running, 'starttls')];
  const open = [await Session.implicit(smtps), await Session.startTls(starttls)];
  for (const session of open) await session.begin();

  replace(await pairOf('new.test'));
  running.child.kill('SIGHUP');
  for (const listener of ['smtps', 'starttls']) {
    await running.line(
      (line) =>
        line.event === 'certificate.loaded' && line['listener'] === listener && line['subject'] === 'CN=new.test',
    );
  }

  const fresh = [await Session.implicit(smtps), await Session.startTls(starttls)];
  expect(fresh.map(({ subject }) => subject)).toEqual(['CN=new.test', 'CN=new.test']);
  for (const session of open) await session.finish();
  for (const session of open) await session.begin();
  for (const session of open) await session.finish();
  expect(open.map(({ subject }) => subject)).toEqual(['CN=old.test', 'CN=old.test']);
  for (const session of [...open, ...fresh]) await session.quit();
  expect(running.lines.filter(({ event }) => event === 'certificate.failed' || event === 'session.refused')).toEqual(
    [],
  );
  expect((await running.stop()).code).toBe(0);
}, 60_000);

it('a new pair that does not fit changes nothing, is told once, and is taken when it fits', async () => {
  const [old, next] = [await pairOf('old.test'), await pairOf('new.test')];
  replace(old);
  const running = await start(BOTH);
  const smtps = portOf(running, 'smtps');
  place.write('cert.pem', next.cert);
  running.child.kill('SIGHUP');
  await running.event('certificate.failed');
  const session = await Session.implicit(smtps);
  expect(session.subject).toBe('CN=old.test');
  await session.quit();
  place.write('key.pem', next.key);
  running.child.kill('SIGHUP');
  await loaded(running, 'new.test');
  const other = await Session.implicit(smtps);
  expect(other.subject).toBe('CN=new.test');
  await other.quit();
  const failures = running.lines.filter(({ event }) => event === 'certificate.failed');
  expect(new Set(failures.map((line) => line['listener'])).size).toBe(failures.length);
}, 60_000);

it('no session fails while certificates are replaced again and again', async () => {
  replace(await pairOf('0.test'));
  const running = await start(BOTH);
  const [smtps, starttls] = [portOf(running, 'smtps'), portOf(running, 'starttls')];
  const ended = new AbortController();
  let sessions = 0;
  const client = async (open: () => Promise<Session>): Promise<void> => {
    while (!ended.signal.aborted) {
      const session = await open();
      await session.begin();
      await session.finish();
      await session.quit();
      sessions++;
    }
  };
  const clients = [
    client(() => Session.implicit(smtps)),
    client(() => Session.implicit(smtps)),
    client(() => Session.startTls(starttls)),
    client(() => Session.startTls(starttls)),
  ];
  const failed = Promise.all(clients);
  failed.catch(() => undefined);
  for (let turn = 1; turn <= 8; turn++) {
    replace(await pairOf(`${turn}.test`));
    running.child.kill('SIGHUP');
    await Promise.race([loaded(running, `${turn}.test`), failed]);
  }
  ended.abort();
  await failed;
  for (const listener of ['smtps', 'starttls']) {
    await running.line(
      (line) => line.event === 'certificate.loaded' && line['listener'] === listener && line['subject'] === 'CN=8.test',
    );
  }
  const last = [await Session.implicit(smtps), await Session.startTls(starttls)];
  expect(last.map(({ subject }) => subject)).toEqual(['CN=8.test', 'CN=8.test']);
  for (const session of last) await session.quit();
  expect(sessions).toBeGreaterThan(20);
  expect(running.lines.filter(({ event }) => event === 'session.refused')).toEqual([]);
}, 60_000);

it('a listener without a certificate makes one, and keeps it', async () => {
  const listeners = '[{ name: lan, address: 127.0.0.1, port: 0, tls: optional }]';
  const subjects: string[] = [];
  const certificates: string[] = [];
  for (let turn = 0; turn < 2; turn++) {
    const running = await start(listeners);
    const session = await Session.startTls(portOf(running, 'lan'));
    subjects.push(session.subject);
    certificates.push((session.socket as TLSSocket).getPeerCertificate().fingerprint256);
    await session.quit();
    expect(running.lines.find(({ event }) => event === 'certificate.loaded')).toMatchObject({ generated: true });
    expect((await running.stop()).code).toBe(0);
  }
  expect(subjects).toEqual(['CN=gateway.test', 'CN=gateway.test']);
  expect(new Set(certificates).size).toBe(1);
  expect(existsSync(join(place.path, 'smtp-cert.pem'))).toBe(true);
  expect(statSync(join(place.path, 'smtp-key.pem')).mode & 0o777).toBe(0o600);
}, 60_000);
