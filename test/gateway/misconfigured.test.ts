/**
 * `check` in front of the sandbox, one thing wrong at a time: the first line that fails names that, and the step of the
 * walk-through that mends it, where one does. What hangs on it does not fail beside it.
 */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { connect, createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { judgedFileSystem, judgedRoom } from '../../src/commands/check-spool-file.ts';
import { check } from '../../src/commands/check.ts';
import type { Mark, Told } from '../../src/commands/finding.ts';
import { WHATS } from '../../src/commands/finding.ts';
import type { StepId } from '../../src/commands/step.ts';
import { createCertificate } from '../../src/sandbox/certificate.ts';
import type { Sandbox, SandboxOptions } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';
import type { KeyPair } from '../../src/tls/selfsigned.ts';
import { makeCertificate } from '../../src/tls/selfsigned.ts';
import type { Folder } from './process.ts';
import { folder, root } from './process.ts';

const SENDER = 'notifications@contoso.com';
const FAX = 'fax@contoso.com';
const OTHER = 'ceo@contoso.com';
/** An application without permissions of the tenant: what it reaches is in its scope. */
const SCOPED = '5c09ed00-0000-4000-8000-5a4d6b0e5a4d';
const MINUTE = 60_000;
const DAY = 86_400_000;

interface Site {
  readonly place: Folder;
  readonly sandbox: Sandbox;
  /** @returns the port; closed at the end */
  listen(server: Server): Promise<number>;
  /** Runs at the end. */
  undo(work: () => Promise<unknown>): void;
}

type Section = Readonly<Record<string, unknown>>;

interface Row {
  readonly is: string;
  readonly sandbox?: Partial<SandboxOptions> | undefined;
  /** Sections of the configuration, laid over those that work. */
  readonly with?: (site: Site) => Record<string, unknown> | Promise<Record<string, unknown>>;
  readonly wrong?: (site: Site) => unknown;
  readonly mailbox?: string;
  readonly outside?: string;
  readonly sendTo?: string;
  /** Milliseconds that this machine's clock is ahead. */
  readonly ahead?: number;
  /** Of the first finding that is no good: what it is about, and what it says. */
  readonly first: readonly [Told['what'], RegExp];
  readonly step?: StepId;
  /** Default: fail. */
  readonly mark?: Mark;
  /** Default: 1 after a failure, else 0. */
  readonly code?: number;
}

const scoped: Row['sandbox'] = {
  apps: [{ clientId: SCOPED, clientSecret: 'its secret', roles: [] }],
  scopes: { [SCOPED]: [SENDER, OTHER] },
};
const asScoped = { clientId: SCOPED, clientSecret: 'its secret' };
const withRoles = (...roles: readonly string[]): Row['sandbox'] => ({
  apps: [{ clientId: SCOPED, clientSecret: 'its secret', roles }],
});
const exchange = (more: Section) => () => ({ exchange: more });
const refusedBy = (aadsts: number) => (site: Site) => site.sandbox.identity.faults.push({ aadsts, times: 9 });
const onPremises =
  (more: Section = {}) =>
  ({ sandbox }: Site) => ({
    exchange: {
      tenantId: undefined,
      clientId: undefined,
      clientSecret: undefined,
      authority: undefined,
      graphUrl: undefined,
      cloud: 'onPremises',
      username: 'CONTOSO\\svc-gateway',
      password: sandbox.accounts.accounts[0]?.password,
      ...more,
    },
  });
const submitting = (more: Section = {}) => ({
  transport: 'smtp',
  smtp: { host: '127.0.0.1', port: 9, tls: 'required', login: 'oauth', ...more },
});
const pickup = (more: Section = {}) => ({
  pickup: [{ mailbox: FAX, name: 'fax', from: { inside: true }, deliver: { folder: { path: 'out' } }, ...more }],
});

/** Answers CONNECT with this status. */
async function proxy(site: Site, status: number): Promise<string> {
  const server = createHttpServer();
  server.on('connect', (_request, socket) => socket.end(`HTTP/1.1 ${status} No\r\n\r\n`));
  return `http://127.0.0.1:${await site.listen(server)}`;
}

/** Opens every way. */
async function tunnelling(site: Site): Promise<string> {
  const server = createHttpServer();
  server.on('connect', ({ url }, client) => {
    const [host = '', port] = (url ?? '').split(':');
    const far = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      client.pipe(far).pipe(client);
    });
    for (const socket of [far, client]) socket.on('error', () => undefined);
  });
  return `http://127.0.0.1:${await site.listen(server)}`;
}

/** In the place of the identity server. */
async function authority(site: Site, answer: RequestListener): Promise<{ exchange: Section }> {
  const { ca, cert, key } = await createCertificate();
  const port = await site.listen(createHttpsServer({ cert, key }, answer));
  const caFile = site.place.write('both.pem', `${ca}${site.sandbox.ca}`);
  return { exchange: { authority: `https://127.0.0.1:${port}/${site.sandbox.tenantId}`, caFile } };
}

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Ending that many days from now. */
async function certificate(days: number, use: 'server' | 'client', names: readonly string[] = []): Promise<KeyPair> {
  const now = Date.now();
  const dates = { notBefore: new Date(now - 90 * DAY), notAfter: new Date(now + days * DAY) };
  return await makeCertificate({
    ...dates,
    commonName: 'gateway',
    keyType: use === 'client' ? 'rsa' : 'ec',
    use,
    names,
  });
}

async function listener({ place }: Site, days: number, names = ['gateway.test']): Promise<Record<string, unknown>> {
  const pair = await certificate(days, 'server', names);
  const files = { certFile: place.write('cert.pem', pair.cert), keyFile: place.write('key.pem', pair.key) };
  return { listeners: [{ name: 'lan', address: '127.0.0.1', port: 0, tls: 'optional', certificate: files }] };
}

const ROWS: readonly Row[] = [
  // --- the configuration ---------------------------------------------------------------------------------------------
  {
    is: 'an id that is none',
    with: exchange({ clientId: 'my app' }),
    first: ['configuration', /config\.yaml:\d+:\d+: exchange\.clientId: /],
    code: 78,
  },
  {
    is: 'a certificate of another key',
    with: async (site) => {
      const made = await listener(site, 90);
      site.place.write('key.pem', (await createCertificate()).key);
      return made;
    },
    first: ['configuration', /keyFile: .*does not belong to the first certificate of certFile/],
    code: 78,
  },
  // --- the data folder -----------------------------------------------------------------------------------------------
  {
    is: 'a data folder below a file',
    wrong: ({ place }) => writeFileSync(`${place.path}/data`, ''),
    first: ['data folder', /a part of its path is a file.*\(ENOTDIR\).*spool\.sqlite/],
  },
  {
    is: 'a data folder that is read-only',
    with: ({ place }) => {
      // Root may write everywhere but in what the kernel keeps.
      if (process.getuid?.() === 0) return { spool: { sqlite: '/sys/spool.db' } };
      mkdirSync(`${place.path}/closed`);
      chmodSync(`${place.path}/closed`, 0o500);
      return { spool: { sqlite: `${place.path}/closed/spool.db` } };
    },
    first: ['data folder', /it cannot be made or written: .*\((?:EACCES|EPERM|EROFS)\)/],
  },
  {
    is: 'a spool of a newer version',
    wrong({ place }) {
      const header = Buffer.alloc(100);
      header.write('SQLite format 3\0');
      header.writeUInt32BE(99, 60);
      mkdirSync(`${place.path}/data`);
      writeFileSync(`${place.path}/data/spool.db`, header);
    },
    first: ['data folder', /a newer version of this program has written it \(format 99, this one knows \d+\)/],
  },
  {
    is: 'a spool that is none',
    wrong({ place }) {
      mkdirSync(`${place.path}/data`);
      writeFileSync(`${place.path}/data/spool.db`, 'x'.repeat(200));
    },
    first: ['data folder', /it is no spool/],
  },
  {
    is: 'a spool that another gateway has open',
    async wrong({ place, undo }) {
      const spool = await openSqliteSpool({ path: `${place.path}/data/spool.db`, report: () => undefined });
      undo(() => spool.close());
    },
    first: ['data folder', /another gateway has it open/],
  },
  // --- ports ---------------------------------------------------------------------------------------------------------
  {
    is: 'a port that another program has',
    with: async (site) => ({
      listeners: [{ name: 'lan', address: '127.0.0.1', port: await site.listen(createServer()), tls: 'none' }],
    }),
    first: ['port', /Listener "lan" cannot open port \d+ on 127\.0\.0\.1: another program has it.*ss -ltnp/],
  },
  {
    is: 'an address that the machine does not have',
    with: () => ({ console: { address: '192.0.2.1', port: 8025 } }),
    first: ['port', /"console" cannot open port 8025 on 192\.0\.2\.1: this machine does not have that address/],
  },
  // --- certificates --------------------------------------------------------------------------------------------------
  {
    is: 'a certificate that has expired',
    with: (site) => listener(site, -1),
    first: ['certificate', /expired on \d{4}-\d\d-\d\d/],
  },
  {
    is: 'a certificate near its end',
    with: (site) => listener(site, 5.5),
    first: ['certificate', /good until .*, 5 days from now/],
    mark: 'warn',
  },
  {
    is: 'a certificate of another name',
    with: (site) => listener(site, 90, ['mail.contoso.com']),
    first: ['certificate', /but not for gateway\.test \(DNS:mail\.contoso\.com\)/],
    mark: 'warn',
  },
  {
    is: 'a client secret that ends soon',
    with: exchange({ expires: new Date(Date.now() + 10.5 * DAY).toISOString().slice(0, 10) }),
    first: ['certificate', /the client secret \(exchange\.expires\) lasts until .* days from now/],
    step: 'credential',
    mark: 'warn',
  },
  {
    is: 'a client secret that has ended',
    with: exchange({ expires: '2026-01-31' }),
    first: ['certificate', /the client secret has ended on 2026-01-31, as exchange\.expires notes it/],
    step: 'credential',
    mark: 'warn',
  },
  {
    is: 'a certificate of the app that has expired',
    with: async ({ place }) => {
      const pair = await certificate(-1, 'client');
      const files = { certFile: place.write('app.pem', pair.cert), keyFile: place.write('app-key.pem', pair.key) };
      return { exchange: { clientSecret: undefined, certificate: files } };
    },
    first: ['certificate', /the certificate of the app has expired on /],
    step: 'credential',
  },
  // --- names, proxy, authority, clock --------------------------------------------------------------------------------
  {
    is: 'a name that DNS does not know',
    with: ({ sandbox }) => ({ exchange: { authority: `https://login.invalid/${sandbox.tenantId}` } }),
    first: ['dns', /login\.invalid.*DNS/],
  },
  {
    is: 'a proxy that forbids it',
    with: async (site) => ({ exchange: { proxy: await proxy(site, 403) } }),
    first: ['proxy', /the proxy 127\.0\.0\.1:\d+ refused to open the way to 127\.0\.0\.1:\d+ \(status 403\)/],
  },
  {
    is: 'a proxy that wants a login',
    with: async (site) => ({ exchange: { proxy: await proxy(site, 407) } }),
    first: ['proxy', /wants a login/],
  },
  {
    is: 'a proxy that is not there',
    with: async () => ({ exchange: { proxy: `http://127.0.0.1:${await closedPort()}` } }),
    first: ['proxy', /the proxy 127\.0\.0\.1:\d+ refused the connection \(ECONNREFUSED\)/],
  },
  {
    is: 'an authority whose issuer is not trusted',
    with: async ({ place }) => ({ exchange: { caFile: place.write('other.pem', (await createCertificate()).ca) } }),
    first: ['authority', /is not trusted .*smtp2exchange sandbox.*caFile/],
  },
  {
    is: 'an authority that is down',
    with: async ({ sandbox }) => ({
      exchange: { authority: `https://127.0.0.1:${await closedPort()}/${sandbox.tenantId}` },
    }),
    first: ['authority', /^ECONNREFUSED: /],
  },
  {
    is: 'an authority in trouble',
    with: (site) => authority(site, (_request, response) => void response.writeHead(503).end()),
    first: ['authority', /^HTTP 503: the identity server has trouble of its own/],
  },
  {
    is: 'a portal in the place of the authority',
    with: (site) => authority(site, (_request, response) => void response.end('<html>Please sign in</html>')),
    first: ['authority', /what answers is no identity server.*portal/],
  },
  {
    is: 'a clock that is ten minutes ahead',
    ahead: 10 * MINUTE,
    first: ['clock', /clock is (?:599|600|601) s ahead: signed logins are refused.*NTP/],
  },
  {
    is: 'a clock that is three minutes behind',
    ahead: -3 * MINUTE,
    first: ['clock', /clock is 1(?:79|80|81) s behind/],
    mark: 'warn',
  },
  // --- the token -----------------------------------------------------------------------------------------------------
  {
    is: 'a tenant that does not exist',
    with: ({ sandbox }) => ({
      exchange: { authority: `${sandbox.identity.origin}/00000000-0000-4000-8000-000000000000` },
    }),
    first: ['token', /^AADSTS90002: The tenant is not known/],
    step: 'register-app',
  },
  {
    is: 'a client id of nobody',
    with: exchange({ clientId: '00000000-0000-4000-8000-000000000000' }),
    first: ['token', /^AADSTS700016: The application is not known in this tenant/],
    step: 'register-app',
  },
  {
    is: 'a secret that is wrong',
    with: exchange({ clientSecret: 'wrong' }),
    first: ['token', /^AADSTS7000215: The client secret is wrong/],
    step: 'credential',
  },
  {
    is: 'a secret that has expired',
    wrong: refusedBy(7000222),
    first: ['token', /^AADSTS7000222: The client secret has expired/],
    step: 'credential',
  },
  {
    is: 'a certificate that the app does not have',
    wrong: refusedBy(700027),
    first: ['token', /^AADSTS700027: The certificate's signature was not accepted/],
    step: 'credential',
  },
  {
    is: 'an app that is disabled',
    wrong: refusedBy(7000112),
    first: ['token', /^AADSTS7000112: The application is disabled/],
    step: 'register-app',
  },
  {
    is: 'a consent that is missing',
    wrong: refusedBy(65001),
    first: ['token', /^AADSTS65001: Nobody has consented/],
    step: 'api-permissions',
  },
  {
    is: 'a token endpoint that is overloaded',
    wrong: ({ sandbox }) => sandbox.identity.faults.push({ status: 503, times: 9 }),
    first: ['token', /^HTTP 503: The identity server has trouble of its own/],
  },
  {
    is: 'a tenant id that is not the authority’s',
    with: exchange({ tenantId: '00000000-0000-4000-8000-000000000000' }),
    first: ['claims', /the token is of the tenant \S+, not of 00000000/],
    step: 'register-app',
  },
  // --- Exchange ------------------------------------------------------------------------------------------------------
  {
    is: 'an app that is not on the allow list',
    wrong: ({ sandbox }) => sandbox.openEws(false),
    first: ['reach', /^HTTP 403: .*Get-OrganizationConfig/s],
    step: 'ews-allow-list',
  },
  {
    is: 'an address that is not that of EWS',
    with: ({ sandbox }) => ({ exchange: { ewsUrl: `${sandbox.origin}/nothing` } }),
    first: ['reach', /^HTTP 404: No EWS at this address; check ewsUrl/],
  },
  {
    is: 'an Exchange that is down',
    with: async () => ({ exchange: { ewsUrl: `https://127.0.0.1:${await closedPort()}/EWS/Exchange.asmx` } }),
    first: ['reach', /^ECONNREFUSED: /],
  },
  {
    is: 'tokens that Exchange refuses as expired',
    wrong: ({ sandbox }) => sandbox.fault({ does: { expiredToken: true } }),
    first: ['reach', /^HTTP 401: Exchange refuses the token/],
    step: 'api-permissions',
  },
  {
    is: 'EWS switched off for one mailbox',
    wrong: ({ sandbox }) => sandbox.fault({ when: { mailbox: OTHER }, does: { status: 403 } }),
    mailbox: OTHER,
    first: ['mailbox', /^HTTP 403: .*Get-CASMailbox/s],
    step: 'mailbox-switches',
  },
  {
    is: 'no role at all',
    sandbox: { ...scoped, scopes: {} },
    with: exchange(asScoped),
    first: ['mailbox', /^ErrorImpersonateUserDenied: /],
    step: 'roles',
  },
  {
    is: 'a mailbox that is not in the group',
    sandbox: scoped,
    with: exchange(asScoped),
    mailbox: FAX,
    first: ['mailbox', /^ErrorImpersonateUserDenied: /],
    step: 'group',
  },
  {
    is: 'another permission than full_access_as_app',
    sandbox: withRoles('Mail.Send'),
    with: exchange(asScoped),
    first: ['mailbox', /the token carries Mail\.Send, not full_access_as_app: /],
    step: 'api-permissions',
  },
  {
    is: 'Graph without Mail.ReadWrite',
    sandbox: withRoles('Mail.Send'),
    with: exchange({ ...asScoped, transport: 'graph' }),
    first: ['mailbox', /^ErrorAccessDenied; the token carries Mail\.Send, not Mail\.ReadWrite: /],
    step: 'api-permissions',
  },
  {
    is: 'an access policy of old',
    wrong: ({ sandbox }) => sandbox.fault({ does: { responseCode: 'ErrorAccessDenied' } }),
    first: ['mailbox', /^ErrorAccessDenied: /],
    step: 'access-policy',
  },
  {
    is: 'a mailbox that does not exist',
    mailbox: 'nobody@contoso.com',
    first: ['mailbox', /^ErrorNonExistentMailbox: .*check the mailbox under senders/],
    step: 'mailbox-switches',
  },
  {
    is: 'the same over Graph',
    with: exchange({ transport: 'graph' }),
    mailbox: 'nobody@contoso.com',
    first: ['mailbox', /^ErrorInvalidUser: Graph knows no mailbox/],
    step: 'mailbox-switches',
  },
  {
    is: 'a mailbox outside that is reached',
    outside: OTHER,
    first: ['outside', /^reached, and must not be\. Scope the application/],
    step: 'roles',
  },
  {
    is: 'every mailbox of the tenant, and nobody tested it',
    first: ['outside', /the token carries full_access_as_app, .*every mailbox of the tenant.*--outside/],
    step: 'roles',
    mark: 'warn',
  },
  // --- Exchange on servers of one's own ------------------------------------------------------------------------------
  {
    is: 'a password that is wrong, on-premises',
    with: onPremises({ password: 'wrong' }),
    first: ['reach', /^LOGIN_REFUSED: Exchange refuses the login/],
    step: 'service-account',
  },
  {
    is: 'a login that is not offered, on-premises',
    sandbox: { schemes: ['basic'] },
    with: onPremises(),
    first: ['reach', /^LOGIN_NOT_OFFERED: The server does not offer NTLM/],
    step: 'ews-directory',
  },
  {
    is: 'an account without impersonation, on-premises',
    sandbox: { accounts: [{ username: 'svc-gateway', domain: 'CONTOSO', password: 'its password', mailboxes: [] }] },
    with: onPremises(),
    first: ['mailbox', /^ErrorImpersonateUserDenied: .*ApplicationImpersonation/],
    step: 'impersonation',
  },
  // --- SMTP submission -----------------------------------------------------------------------------------------------
  {
    is: 'a submission server that is down',
    with: async () => ({ exchange: submitting({ port: await closedPort() }) }),
    first: ['reach', /^ECONNREFUSED: /],
  },
  {
    is: 'submission that is off for the mailbox',
    with: ({ sandbox }) => ({ exchange: submitting({ port: sandbox.smtp.port }) }),
    wrong: ({ sandbox }) =>
      sandbox.smtp.fault({ at: 'auth', reply: '535 5.7.139 SmtpClientAuthentication is disabled', times: 9 }),
    first: ['reach', /^SMTP 535 5\.7\.139: /],
    step: 'mailbox-switches',
  },
  // --- pickups -------------------------------------------------------------------------------------------------------
  {
    is: 'a folder to pick up from that is missing',
    with: () => pickup({ folder: 'Inbox/Fax' }),
    first: ['folder', /^pickup\[0\]\.folder: .*Inbox\/Fax/],
  },
  {
    is: 'a mailbox to pick up from that is not in the group',
    sandbox: scoped,
    with: () => ({ exchange: asScoped, ...pickup({ answer: { failure: false } }) }),
    first: ['mailbox', /^ErrorImpersonateUserDenied: /],
    step: 'group',
  },
  {
    is: 'a fax server that is down',
    with: async () =>
      pickup({ deliver: { smtp: { host: '127.0.0.1', port: await closedPort(), tls: 'none', to: 'fax@pbx.local' } } }),
    first: ['hand-over', /^ECONNREFUSED: /],
  },
  {
    is: 'a folder to hand over into that cannot be made',
    with: ({ place }) => pickup({ deliver: { folder: { path: `${place.path}/config.yaml/out` } } }),
    first: ['hand-over', /\(ENOTDIR\)/],
  },
  // --- a mail on its way ---------------------------------------------------------------------------------------------
  {
    is: 'a From without Send As',
    with: () => ({
      senders: {
        mailbox: SENDER,
        header: 'rewrite',
        rules: [{ from: 'shop@contoso.com', mailbox: SENDER, header: 'keep' }],
      },
    }),
    wrong: ({ sandbox }) =>
      sandbox.fault({ when: { operation: 'CreateItem', after: 1 }, does: { responseCode: 'ErrorSendAsDenied' } }),
    sendTo: OTHER,
    first: ['send to', /^ErrorSendAsDenied: Give the sending mailbox Send As/],
    step: 'send-as',
  },
  {
    is: 'a mailbox that may not send',
    wrong: ({ sandbox }) =>
      sandbox.fault({ when: { operation: 'CreateItem' }, does: { responseCode: 'ErrorMessageSubmissionBlocked' } }),
    sendTo: OTHER,
    first: ['send to', /^ErrorMessageSubmissionBlocked: .*Restricted entities/],
  },
];

async function run(row: Row): Promise<{ readonly code: number; readonly all: readonly Told[]; readonly site: Site }> {
  const place = folder();
  const undo: (() => unknown)[] = [() => place.remove()];
  try {
    const sandbox = await startSandbox({
      mailboxes: [SENDER, FAX, OTHER].map((address) => ({ address })),
      ...row.sandbox,
    });
    undo.push(() => sandbox.close());
    const site: Site = {
      place,
      sandbox,
      undo: (work) => void undo.push(work),
      async listen(server) {
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        undo.push(() => server.close());
        return (server.address() as AddressInfo).port;
      },
    };
    const { tenantId, clientId, clientSecret, ewsUrl, graphUrl, authority: own, ca } = sandbox;
    const { exchange: over = {}, ...sections } = (await row.with?.(site)) ?? {};
    const caFile = place.write('ca.pem', ca);
    const config = {
      hostname: 'gateway.test',
      listeners: [{ name: 'lan', address: '127.0.0.1', port: 0, tls: 'none' }],
      senders: { mailbox: SENDER, header: 'rewrite' },
      exchange: { tenantId, clientId, clientSecret, ewsUrl, graphUrl, authority: own, caFile, ...(over as Section) },
      console: { address: '127.0.0.1', port: 0 },
      spool: { sqlite: `${place.path}/data/spool.db` },
      ...sections,
    };
    await row.wrong?.(site);
    let text = '';
    const wanted = {
      named: row.mailbox === undefined ? [] : [row.mailbox],
      outside: row.outside === undefined ? [] : [row.outside],
      ...(row.sendTo === undefined ? {} : { sendTo: row.sendTo }),
    };
    const code = await check(
      place.write('config.yaml', JSON.stringify(config, null, 2)),
      wanted,
      true,
      { print: (line) => void (text += line), stop: new AbortController().signal },
      () => Date.now() + (row.ahead ?? 0),
    );
    return { code, all: JSON.parse(text) as Told[], site };
  } finally {
    for (const work of undo.toReversed()) await work();
  }
}

describe.concurrent('check names first', () => {
  it.each(ROWS)('$is', async (row) => {
    const { code, all } = await run(row);
    const mark = row.mark ?? 'fail';
    const bad = all.filter((one) => one.mark === 'fail' || (mark === 'warn' && one.mark === 'warn'));
    const [what, says] = row.first;
    expect(bad[0]).toMatchObject({ mark, what, says: expect.stringMatching(says) as string });
    expect([bad[0]?.step, bad[0]?.title !== undefined]).toEqual([row.step, row.step !== undefined]);
    expect(code).toBe(row.code ?? (mark === 'fail' ? 1 : 0));
    // What hangs on it is not tried, or tried and told as the same.
    expect(new Set(bad.filter((one) => one.mark === 'fail').map((one) => one.what)).size).toBeLessThan(2);
    expect(JSON.stringify(all)).not.toMatch(/sandbox~|its secret|its password/);
  });
});

describe.concurrent('check finds nothing to fail', () => {
  const works: Row = { is: '', first: ['configuration', /./], outside: FAX, sandbox: scoped };

  it.each([
    ['ews', { transport: 'ews' }],
    ['graph', { transport: 'graph' }],
    ['either', { transport: 'auto' }],
  ])('where all is right, and a mail comes (%s)', async (_name, more) => {
    const row: Row = { ...works, with: exchange({ ...asScoped, ...more }), sendTo: OTHER };
    const { code, all, site } = await run(row);
    expect(all.filter(({ mark }) => mark === 'fail' || mark === 'warn')).toEqual([]);
    expect([code, all.at(-1)]).toMatchObject([0, { what: 'send to', says: 'sent, and found in its inbox' }]);
    expect(site.sandbox.mailbox(OTHER).inbox.map(({ from }) => from)).toEqual([SENDER]);
    for (const { seconds } of all) expect(seconds).toBeGreaterThanOrEqual(0);
  });

  it('through a proxy', async () => {
    const { code, all } = await run({
      ...works,
      with: async (site) => ({ exchange: { ...asScoped, proxy: await tunnelling(site) } }),
    });
    expect([code, all.filter(({ what }) => what === 'proxy').map(({ says }) => says)]).toEqual([
      0,
      ['the proxy opens the way', 'the proxy opens the way'],
    ]);
  });

  it('and looks among what was sent, where the recipient is somebody else', async () => {
    const { code, all } = await run({ ...works, with: exchange(asScoped), sendTo: FAX });
    expect([code, all.at(-1)]).toMatchObject([
      0,
      { what: 'send to', mark: 'ok', says: expect.stringContaining(`Sent Items of ${SENDER}`) as string },
    ]);
  });

  it('and sends by SMTP, which cannot be asked', async () => {
    const { code, all } = await run({
      ...works,
      sandbox: {},
      with: ({ sandbox }) => ({ exchange: submitting({ port: sandbox.smtp.port }) }),
      sendTo: OTHER,
    });
    expect([code, all.at(-1)]).toMatchObject([
      0,
      { what: 'send to', says: expect.stringContaining('took it') as string },
    ]);
  });
});

it.each([
  [0x6969, 'fail', 'NFS'],
  [0xfe534d42, 'fail', 'SMB'],
  // As a system with signed numbers has it.
  [0xff534d42 | 0, 'fail', 'CIFS'],
  [0x01021994, 'warn', 'tmpfs'],
])('knows the file system %d', (type, mark, name) => {
  expect(judgedFileSystem(type)).toMatchObject({ mark, says: expect.stringContaining(`(${name})`) as string });
  // ext4
  expect(judgedFileSystem(0xef53)).toBeUndefined();
});

it('knows less free space than is to be kept', () => {
  expect(judgedRoom(1e9, 1e9).mark).toBe('ok');
  expect(judgedRoom(1e9 - 1, 1e9)).toMatchObject({
    mark: 'fail',
    says: expect.stringMatching(/^953 MiB free, less than spool\.minFree \(953 MiB\)/) as string,
  });
});

it('is documented: what is walked, in that order', () => {
  const text = readFileSync(`${root}/docs/check.md`, 'utf8').split('## What is walked')[1]?.split('\n## ')[0] ?? '';
  expect([...text.matchAll(/^\| `([^`]+)`/gm)].map(([, what]) => what)).toEqual(WHATS);
});
