/** The console of a whole gateway: by HTTPS with a certificate of files that are replaced, over mail that came by SMTP. */
import { request } from 'node:https';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import type { Gateway } from '../../src/gateway.ts';
import { startGateway } from '../../src/gateway.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { makeCertificate } from '../../src/tls/selfsigned.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';
import { Writable } from 'node:stream';

const TOKEN = 'a-token-of-chance-0123456789';
let place: Folder;
let sandbox: Sandbox;
let gateway: Gateway;
let log = '';

async function certificate(name: string): Promise<{ cert: string; key: string }> {
  const now = Date.now();
  return makeCertificate({
    commonName: name,
    keyType: 'ec',
    notBefore: new Date(now - 3_600_000),
    notAfter: new Date(now + 3_600_000),
    use: 'server',
    names: [name],
  });
}

function keep({ cert, key }: { readonly cert: string; readonly key: string }): void {
  writeFileSync(`${place.path}/cert.pem`, cert);
  writeFileSync(`${place.path}/key.pem`, key);
}

beforeEach(async () => {
  log = '';
  place = folder();
  sandbox = await startSandbox({
    mailboxes: [{ address: 'notifications@contoso.com' }, { address: 'alice@contoso.com' }],
  });
  keep(await certificate('first.test'));
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    more: `spool: { sqlite: ${place.path}/spool.db }`,
  }).replace(
    /^console:.*$/m,
    `console: { address: 127.0.0.1, port: 0, token: ${TOKEN}, hosts: [console.contoso.com], certificate: { certFile: cert.pem, keyFile: key.pem } }`,
  );
  const loaded = await loadConfig(place.write('config.yaml', text), { SECRET: sandbox.clientSecret });
  if (!('config' in loaded)) throw new Error(JSON.stringify(loaded.faults));
  gateway = await startGateway(loaded.config, {
    version: 'test',
    configFile: 'config.yaml',
    logTo: new Writable({ write: (chunk, _encoding, done) => ((log += String(chunk)), done()) }),
  });
});

afterEach(async () => {
  await gateway.stop('the test is over');
  await sandbox.close();
  place.remove();
});

interface Answer {
  readonly status: number | undefined;
  readonly cookie: string;
  readonly text: string;
}

async function ask(path: string, headers: Record<string, string> = {}, body?: string): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const method = body === undefined ? 'GET' : 'POST';
  request(gateway.consoleUrl + path, { method, headers, rejectUnauthorized: false }, (answer) => {
    let text = '';
    answer.setEncoding('utf8');
    answer.on('data', (piece: string) => (text += piece));
    answer.on('end', () =>
      resolve({ status: answer.statusCode, cookie: answer.headers['set-cookie']?.[0] ?? '', text }),
    );
  })
    .on('error', reject)
    .end(body);
  return await promise;
}

async function shownName(): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect(
    { port: Number(new URL(gateway.consoleUrl).port), host: '127.0.0.1', rejectUnauthorized: false },
    () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.end();
    },
  );
  socket.on('error', reject);
  return await promise;
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

it('shows mail that came by SMTP to whoever has logged in, by TLS only', async () => {
  expect(gateway.consoleUrl).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
  const smtp = await RawSmtp.open(gateway.listeners[0]?.port ?? 0);
  const reply = await smtp.send(
    'scanner@contoso.com',
    ['alice@contoso.com'],
    'From: notifications@contoso.com\r\nSubject: a scan\r\n\r\nx\r\n',
  );
  smtp.end();
  const id = reply.split(' ').at(-1) ?? '';
  expect((await ask('/metrics')).text).toContain('smtp2exchange_');
  expect((await ask(`/messages/${id}`)).status).toBe(303);
  const { status, cookie } = await ask('/login', FORM, `secret=${TOKEN}`);
  expect(status).toBe(303);
  expect(cookie).toMatch(/^__Host-smtp2exchange=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Secure$/);
  const [session = ''] = cookie.split(';');
  const story = await ask(`/messages/${id}`, { cookie: session });
  for (const part of ['alice@contoso.com', '<strong>Accepted</strong>', `<code>${id}</code>`])
    expect(story.text).toContain(part);
  const overview = await ask('/', { cookie: session });
  expect(overview.text).toMatch(/id="routes"[\s\S]*exchange[\s\S]*EWS[\s\S]*id="listeners"[\s\S]*lan/);
  expect(overview.text).toContain('Accepted</span> <strong>1</strong>');
  // A cookie of a page in clear counts for nothing here.
  expect((await ask('/', { cookie: session.replace('__Host-', '') })).status).toBe(303);
  expect(log).not.toContain(TOKEN);
  expect(log).toContain('"event":"auth.succeeded"');
});

it('takes forms by the name of a proxy, and of no other', async () => {
  const login = (origin: string): Promise<Answer> => ask('/login', { ...FORM, origin }, `secret=${TOKEN}`);
  expect((await login('https://console.contoso.com')).status).toBe(303);
  expect((await login('https://gateway.test:8443')).status).toBe(303);
  expect((await login('https://contoso.com')).status).toBe(403);
});

it('shows a certificate that was replaced, without a restart', async () => {
  expect(await shownName()).toBe('first.test');
  keep(await certificate('second.test'));
  await gateway.reload();
  expect(await shownName()).toBe('second.test');
});
