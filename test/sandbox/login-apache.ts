/**
 * The gateway's logins at Debian's Apache, in front of an Exchange that takes everything: NTLM by mod_auth_gssapi with
 * GSS-NTLMSSP, Basic by mod_auth_basic. Needs apache2-bin, libapache2-mod-auth-gssapi and gss-ntlmssp. Prints a line each;
 * exit code 1 if one is wrong.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, readFileSync } from 'node:fs';
import { connect as connectTcp, createServer as createTcpServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { accountAuthorizer } from '../../src/exchange/account.ts';
import type { Ews } from '../../src/exchange/ews.ts';
import { createEws } from '../../src/exchange/ews.ts';
import { createHttp } from '../../src/exchange/http.ts';
import { createCertificate } from '../../src/sandbox/certificate.ts';
import { folder } from '../gateway/process.ts';
import { requestOf, startPeer } from '../exchange/ews-peer.ts';

const FOLDER = '/usr/lib/apache2/modules';
const MODULES =
  'mpm_event authn_core authn_file authz_core authz_user auth_basic auth_gssapi headers proxy proxy_http ssl'.split(
    ' ',
  );
const ACCOUNT = { username: 'svc-gateway', domain: 'CONTOSO', password: 'Pässwörd 1' };
const MAILBOXES = ['one@contoso.test', 'two@contoso.test'];
type Status = Awaited<ReturnType<Ews['send']>>;

const never = new AbortController().signal;

const undo: (() => unknown)[] = [];
let wrong = 0;

function check(what: string, isRight: boolean, seen: unknown): void {
  if (!isRight) wrong++;
  process.stdout.write(`${isRight ? 'ok   ' : 'WRONG'} ${what}${isRight ? '' : `: ${JSON.stringify(seen)}`}\n`);
}

// --- servers --------------------------------------------------------------------------------------------------------

const place = folder();
undo.push(() => place.remove());
// Apache's workers run as www-data.
chmodSync(place.path, 0o755);
const certificate = await createCertificate();
const files = {
  cert: place.write('cert.pem', certificate.cert),
  key: place.write('key.pem', certificate.key),
  users: place.write('users', `${ACCOUNT.domain}:${ACCOUNT.username}:${ACCOUNT.password}\n`),
  htpasswd: place.write('htpasswd', `${ACCOUNT.domain}\\${ACCOUNT.username}:{SHA}${sha1(ACCOUNT.password)}\n`),
};
for (const file of [files.users, files.htpasswd]) chmodSync(file, 0o644);

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('base64');
}

async function portOf(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function freePort(): Promise<number> {
  const server = createTcpServer();
  const port = await portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}

function run(
  program: string,
  words: readonly string[],
): { readonly child: ChildProcess; readonly stop: () => Promise<void> } {
  const child = spawn(program, words, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', NTLM_USER_FILE: files.users, NETBIOS_DOMAIN_NAME: ACCOUNT.domain },
  });
  const ended = once(child, 'close');
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await ended;
  };
  undo.push(stop);
  return { child, stop };
}

interface Running {
  readonly port: number;
  /** After it, all that it wrote has come. */
  readonly stop: () => Promise<void>;
}

/** All it proxies says who is logged in, and by which connection */
async function startApache(behind: string): Promise<Running> {
  const port = await freePort();
  const site = (path: string, lines: readonly string[]): string =>
    [`<Location ${path}>`, ...lines, 'Require valid-user', `ProxyPass ${behind}`, '</Location>'].join('\n');
  const modules = MODULES.map((name) => `LoadModule ${name}_module ${FOLDER}/mod_${name}.so`);
  const config = place.write(
    'apache.conf',
    [
      ...modules,
      `ServerRoot ${place.path}\nDefaultRuntimeDir ${place.path}\nPidFile ${place.path}/apache.pid`,
      `ServerName localhost\nListen 127.0.0.1:${port}\nUser www-data\nGroup www-data\nStartServers 1`,
      `ErrorLog ${place.path}/error.log\nLogFormat "%{remote}p %m %U %>s" short\nCustomLog ${place.path}/access.log short`,
      `SSLEngine on\nSSLCertificateFile ${files.cert}\nSSLCertificateKeyFile ${files.key}`,
      'KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 30',
      'RequestHeader set X-User "expr=%{REMOTE_USER}"\nRequestHeader set X-Port "expr=%{REMOTE_PORT}"',
      site('/ntlm', ['AuthType GSSAPI', 'AuthName x', 'GssapiAllowedMech ntlmssp', 'GssapiConnectionBound On']),
      site('/basic', ['AuthType Basic', 'AuthName x', `AuthUserFile ${files.htpasswd}`]),
      '',
    ].join('\n'),
  );
  const { child, stop } = run('/usr/sbin/apache2', ['-DFOREGROUND', '-f', config]);
  for (let tries = 0; ; tries++) {
    if (await answers(port)) return { port, stop };
    if (tries > 100 || child.exitCode !== null) throw new Error('Apache does not start');
    await pause(100);
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}

// --- our side -------------------------------------------------------------------------------------------------------

async function client(url: string, login: 'ntlm' | 'basic', account: Partial<typeof ACCOUNT> = {}): Promise<Ews> {
  const http = createHttp({ ca: certificate.ca });
  undo.push(() => http.close());
  const authorizer = accountAuthorizer({ http, url, userAgent: 'test', login, account: { ...ACCOUNT, ...account } });
  return createEws({ url, authorizer, version: '1' });
}

let serial = 0;
function send(ews: Ews, mailbox: string, size = 100): Promise<Status> {
  const head = `From: ${mailbox}\r\nTo: reader@contoso.test\r\nSubject: ${++serial}\r\n\r\n`;
  const content = {
    length: head.length + size,
    async *open() {
      yield Buffer.from(head);
      for (let left = size; left > 0; left -= 65_536) yield Buffer.alloc(Math.min(left, 65_536), 'x');
    },
  };
  return ews.send({ mailbox, spoolId: `item-${serial}`, blind: [], saveCopy: true, content }, never);
}

const isSent = (statuses: readonly Status[]): boolean => statuses.every(({ outcome }) => outcome === 'relayed');
const causeOf = (status: Status): unknown => ('cause' in status ? status.cause : undefined);

async function refused(what: string, ews: Ews, cause: string): Promise<void> {
  const all = await Promise.all(MAILBOXES.map((mailbox) => send(ews, mailbox)));
  check(
    what,
    all.every((status) => status.outcome === 'delayed' && causeOf(status) === cause),
    all,
  );
}

// --- what has to be so ----------------------------------------------------------------------------------------------

const peer = await startPeer();
undo.push(() => peer.close());
const mails = () => peer.seen.filter(({ body }) => body.length > 0);
const logins = () => peer.seen.length - mails().length;

async function atApache(port: number, login: 'ntlm' | 'basic'): Promise<void> {
  const url = `https://localhost:${port}/${login}/EWS/Exchange.asmx`;
  const ews = await client(url, login);
  const before = { mails: mails().length, logins: logins() };
  const together = await Promise.all(Array.from({ length: 12 }, (_, at) => send(ews, MAILBOXES[at % 2] ?? '', 20_000)));
  const came = mails().slice(before.mails);
  check(`${login} at Apache: 12 messages of two mailboxes at the same time`, isSent(together), together);
  const marks = new Set(came.map((one) => requestOf(one).mime.toString('latin1')));
  check(`${login} at Apache: each arrives once`, came.length === 12 && marks.size === 12, came.length);
  const users = [...new Set(came.map(({ headers }) => headers['x-user']))];
  check(
    `${login} at Apache: as the service account`,
    users.length === 1 && /svc-gateway/.test(String(users[0])),
    users,
  );
  const impersonated = came.flatMap((one) => requestOf(one).impersonated);
  check(
    `${login} at Apache: for both mailboxes`,
    MAILBOXES.every((mailbox) => impersonated.filter((one) => one === mailbox).length === 6),
    impersonated,
  );
  const ports = new Set(came.map(({ headers }) => headers['x-port']));
  const made = logins() - before.logins;
  check(`${login} at Apache: over several connections`, ports.size > 1, ports.size);
  check(
    `${login} at Apache: ${login === 'ntlm' ? 'one login a connection' : 'the way in is tried with empty requests'}`,
    login === 'ntlm' ? made === ports.size : made >= 1,
    { made, connections: ports.size },
  );
  const later: Status[] = [];
  for (let times = 0; times < 5; times++) later.push(await send(ews, MAILBOXES[times % 2] ?? '', 1_000));
  check(`${login} at Apache: 5 more, one after another`, isSent(later), later);
  if (login === 'ntlm') {
    const used = new Set(
      mails()
        .slice(before.mails + 12)
        .map(({ headers }) => headers['x-port']),
    );
    check(
      'ntlm at Apache: by a connection that is there, without a new login',
      logins() - before.logins === made && [...used].every((one) => ports.has(one)),
      { used: [...used], ports: [...ports], made, now: logins() - before.logins },
    );
  }
  const large = await send(ews, MAILBOXES[0] ?? '', 5_000_000);
  check(
    `${login} at Apache: 5 MB arrive whole`,
    isSent([large]) && requestOf(mails().at(-1) ?? { headers: {}, body: Buffer.alloc(0) }).mime.length > 5_000_000,
    large,
  );
  const sent = mails().length;
  const mistaken = await client(url, login, { password: 'wrong' });
  await refused(`${login} at Apache: a wrong password is refused`, mistaken, 'LOGIN_REFUSED');
  const unknown = await client(url, login, { username: 'nobody' });
  await refused(`${login} at Apache: an unknown user is refused`, unknown, 'LOGIN_REFUSED');
  const other = await client(url, login === 'ntlm' ? 'basic' : 'ntlm');
  await refused(`${login} at Apache: the other way is not offered`, other, 'LOGIN_NOT_OFFERED');
  check(`${login} at Apache: none of that lets mail through`, mails().length === sent, mails().length - sent);
}

try {
  const { port, stop } = await startApache(new URL('/', peer.url).href);
  await atApache(port, 'ntlm');
  await atApache(port, 'basic');
  await stop();
  const refusals = readFileSync(join(place.path, 'error.log'), 'utf8').match(
    /accept_sec_context\(\) failed|AH0161[78]/g,
  );
  check('at Apache: it saw one try of each that was refused', refusals?.length === 4, refusals);
} catch (error) {
  wrong++;
  process.stdout.write(`WRONG ${error instanceof Error ? error.stack : String(error)}\n`);
  try {
    process.stdout.write(readFileSync(join(place.path, 'error.log'), 'utf8').slice(-4000));
  } catch {
    // Apache was not there yet.
  }
} finally {
  for (const step of undo.toReversed()) await step();
}
process.exitCode = wrong === 0 ? 0 : 1;
