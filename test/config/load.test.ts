/** Good configurations, and what they become. */
import { readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { CLOUDS } from '../../src/config/clouds.ts';
import { whyUnreadable } from '../../src/config/files.ts';
import { loadConfig, renderFault, renderFaults } from '../../src/config/load.ts';
import type { Config } from '../../src/config/load.ts';
import type { CredentialConfig } from '../../src/config/config.ts';
import { rereadCredential } from '../../src/config/reread.ts';
import { Secret } from '../../src/config/secret.ts';
import { makePems, MARK, place } from './place.ts';
import type { Pems } from './place.ts';

const here = place();
let pems: Pems;
beforeAll(async () => {
  pems = await makePems();
});

const HASH = '$scrypt$ln=15,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA';

interface Parts {
  readonly listeners?: string;
  readonly credential?: string;
  readonly exchange?: string;
  readonly more?: string;
}

function textOf({ listeners, credential, exchange = '', more = '' }: Parts = {}): string {
  return `
listeners: ${listeners ?? '[{ name: lan, port: 2525 }]'}
senders: { mailbox: notifications@contoso.com }
exchange:
  tenantId: 11111111-2222-3333-4444-555555555555
  clientId: 66666666-7777-8888-9999-000000000000
  ${credential ?? `clientSecret: ${MARK}`}
${exchange}
${more}
`;
}

type Environment = Record<string, string | undefined>;

async function load(text: string, environment: Environment = {}, machine = 'gateway.test'): Promise<Config> {
  const loaded = await loadConfig(here.write('config.yaml', text), environment, machine);
  if ('faults' in loaded) throw new Error(renderFaults(loaded.faults));
  return loaded.config;
}

async function faultsOf(text: string, environment: Environment = {}): Promise<string[]> {
  const loaded = await loadConfig(here.write('config.yaml', text), environment);
  return 'faults' in loaded ? loaded.faults.map((fault) => renderFault({ ...fault, file: 'config.yaml' })) : [];
}

function windows(text: string): string {
  return `\uFEFF${text.trimStart().replaceAll('\n', '\r\n')}`;
}

describe('a configuration', () => {
  it('needs little, and has a default for the rest', async () => {
    const { routes, ...config } = await load(textOf());
    expect(routes).toEqual([{ name: 'exchange', setting: 'exchange', exchange: config.exchange }]);
    expect(config).toEqual({
      hostname: 'gateway.test',
      listeners: [
        {
          name: 'lan',
          address: '127.0.0.1',
          port: 2525,
          tls: 'none',
          minTls: '1.2',
          auth: 'none',
          allowInsecureAuth: false,
          allow: ['127.0.0.0/8', '::1/128'],
          loginFrom: [],
          lenient: true,
          lfEndOfData: false,
          proxyProtocol: [],
          maxMessageSize: 36_700_160,
          maxHeaderSize: 262_144,
          maxConnections: 100,
          maxConnectionsPerAddress: 50,
          maxRecipients: 500,
          maxMessages: 10_000,
          maxErrors: 20,
          idleTimeout: 300_000,
          sessionTimeout: 86_400_000,
          minDataRate: 100,
          maxHops: 50,
        },
      ],
      users: [],
      clients: [],
      senders: {
        mailbox: 'notifications@contoso.com',
        allow: ['*'],
        header: 'keep',
        domain: 'contoso.com',
        nullReversePath: 'suppress',
        rules: [],
      },
      recipients: { allow: ['*'], deny: [], headerOnly: 'drop' },
      logins: { failures: 10, within: 600_000, ban: 900_000, delay: 1_000 },
      exchange: {
        cloud: 'worldwide',
        transport: 'ews',
        tenantId: '11111111-2222-3333-4444-555555555555',
        clientId: '66666666-7777-8888-9999-000000000000',
        credential: { kind: 'secret', secret: expect.any(Secret) },
        saveToSentItems: true,
        carryHeaders: [],
        twoStep: { above: 10_000_000 },
        ewsUrl: 'https://outlook.office365.com/EWS/Exchange.asmx',
        authority: 'https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555',
        scope: 'https://outlook.office365.com/.default',
        graphScope: 'https://graph.microsoft.com/.default',
        returnToEws: false,
        graphUrl: 'https://graph.microsoft.com/v1.0',
        minTls: '1.2',
        proxy: {},
        connectTimeout: 10_000,
        requestTimeout: 100_000,
      },
      pickups: [],
      pacing: { perMailbox: { concurrency: 4, perMinute: 30 }, concurrency: 16, catchUp: 'inOrder', first: [] },
      retry: {
        intervals: [60_000, 300_000, 900_000, 3_600_000],
        warnAfter: 14_400_000,
        giveUpAfter: 172_800_000,
        verifyAfter: 90_000,
      },
      bounces: { send: true, body: 'headers' },
      spool: {
        store: { kind: 'sqlite', path: join(here.folder, 'data/spool.db') },
        folder: join(here.folder, 'data'),
        maxItems: 100_000,
        minFree: 500_000_000,
        retention: 604_800_000,
        parkedRetention: 2_592_000_000,
        parkedSize: 5_000_000_000,
      },
      alarms: { to: [], repeat: 14_400_000, oldestAfter: 3_600_000, expiresWithin: 1_209_600_000 },
      console: {
        address: '127.0.0.1',
        port: 8025,
        users: [],
        hosts: [],
        idleTimeout: 1_800_000,
        sessionTimeout: 43_200_000,
      },
      shutdown: { timeout: 8_000 },
      log: { level: 'info', addresses: 'full' },
    });
  });

  it('is the same with a byte order mark and CRLF, and so are its positions', async () => {
    expect(await load(windows(textOf()))).toEqual(await load(textOf()));
    const wrong = 'hostname: a_b\nlisteners: []\n';
    const faults = await faultsOf(wrong);
    expect(faults).toContainEqual(expect.stringMatching(/^config\.yaml:1:11: hostname: /));
    expect(await faultsOf(windows(wrong))).toEqual(faults);
  });

  it('takes values as they are written', async () => {
    const listeners = '[{ name: 0012, port: "2525", minTls: 1.0, maxMessageSize: 10 MB, allow: ["::1", 10.0.0.0/8] }]';
    const more = 'users: [{ name: yes, passwordHash: $scrypt$ln=15,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA }]';
    const config = await load(
      textOf({
        listeners,
        credential: 'clientSecret: 007',
        exchange: '  saveToSentItems: False',
        more: more.replaceAll(/(\$sc\S+)/g, "'$1'"),
      }),
    );
    expect(config.listeners[0]).toMatchObject({ name: '0012', port: 2525, minTls: '1.0', maxMessageSize: 10_000_000 });
    expect(config.listeners[0]?.allow).toEqual(['::1/128', '10.0.0.0/8']);
    expect(config.users[0]?.name).toBe('yes');
    expect(config.users[0]?.passwordHash.reveal()).toMatch(/^\$scrypt\$ln=15/);
    expect(config.exchange.saveToSentItems).toBe(false);
    expect(secretOf(config)).toBe('007');
  });

  it('has who may do what, complete', async () => {
    const config = await load(
      textOf({
        listeners: `
  - { name: lan, port: 25, tls: optional, auth: optional, allow: [192.168.1.20], loginFrom: [192.168.0.0/16],
      lenient: false, proxyProtocol: [10.0.0.5], senders: ["@contoso.com"], recipients: ["*@*.contoso.com"],
      maxConnectionsPerAddress: 3, maxMessages: 4, maxErrors: 5, sessionTimeout: 6h, minDataRate: 0B }
  - { name: faxes, port: 26, lfEndOfData: true }`,
        exchange: '  carryHeaders: [X-Ticket-ID]',
        more: `
users:
  - { name: pbx, passwordHash: "${HASH}", senders: [a@b.c], perMinute: 7 }
  - { name: erp, passwordHash: "${HASH}", recipients: [d@e.f] }
clients:
  - { networks: [10.0.0.1], senders: ["*"], perMinute: 8 }
  - { networks: [10.0.0.0/8], recipients: ["@b.c"] }
recipients: { allow: ["@contoso.com"], deny: [ceo@contoso.com], headerOnly: send }
logins: { failures: 3, within: 1m, ban: 1h, delay: 0ms }`,
      }),
    );
    expect(config.listeners[0]).toMatchObject({
      allow: ['192.168.1.20/32'],
      loginFrom: ['192.168.0.0/16'],
      lenient: false,
      lfEndOfData: false,
      proxyProtocol: ['10.0.0.5/32'],
      senders: ['@contoso.com'],
      recipients: ['*@*.contoso.com'],
      maxConnectionsPerAddress: 3,
      maxMessages: 4,
      maxErrors: 5,
      sessionTimeout: 21_600_000,
      minDataRate: 0,
    });
    expect(config.listeners[1]).toMatchObject({ lenient: true, lfEndOfData: true });
    const secret = expect.any(Secret) as Secret;
    expect(config.users).toStrictEqual([
      { name: 'pbx', passwordHash: secret, senders: ['a@b.c'], perMinute: 7 },
      { name: 'erp', passwordHash: secret, recipients: ['d@e.f'], perMinute: Infinity },
    ]);
    expect(config.clients).toStrictEqual([
      { networks: ['10.0.0.1/32'], senders: ['*'], perMinute: 8 },
      { networks: ['10.0.0.0/8'], recipients: ['@b.c'], perMinute: Infinity },
    ]);
    expect(config.recipients).toEqual({ allow: ['@contoso.com'], deny: ['ceo@contoso.com'], headerOnly: 'send' });
    expect(config.logins).toEqual({ failures: 3, within: 60_000, ban: 3_600_000, delay: 0 });
    expect(config.exchange.carryHeaders).toEqual(['X-Ticket-ID']);
  });

  it('has what becomes of failed, late and large mail', async () => {
    const config = await load(
      textOf({
        exchange: '  expires: 2027-01-31\n  twoStep: { above: never }',
        more: `
pacing: { first: [important, small] }
retry: { warnAfter: never }
bounces: { send: false, postmaster: postmaster@contoso.com, body: full }
spool: { parkedRetention: 90d, parkedSize: 1GiB }`,
      }),
    );
    expect(config.exchange).toMatchObject({ expires: Date.UTC(2027, 0, 31), twoStep: { above: Infinity } });
    expect(config.pacing).toMatchObject({ first: ['important', 'small'], concurrency: 16, catchUp: 'inOrder' });
    expect(config.retry).toMatchObject({ warnAfter: Infinity, giveUpAfter: 172_800_000 });
    expect(config.bounces).toStrictEqual({ send: false, postmaster: 'postmaster@contoso.com', body: 'full' });
    expect(config.spool).toMatchObject({ parkedRetention: 7_776_000_000, parkedSize: 1_073_741_824 });
  });

  it('logs in with what the machine is, or with the token of another provider', async () => {
    const ids = /^ {2}(tenantId|clientId):.*\n/gm;
    const system = await load(textOf({ credential: 'managedIdentity: system' }).replace(ids, ''));
    expect(system.exchange).toMatchObject({ tenantId: '', clientId: '', authority: '' });
    expect(system.exchange.scope).toBe('https://outlook.office365.com/.default');
    expect(system.exchange.credential).toStrictEqual({ kind: 'managedIdentity' });
    const clientId = '77777777-7777-8888-9999-000000000000';
    const user = await load(textOf({ credential: `managedIdentity: ${clientId}` }).replace(ids, ''));
    expect(user.exchange.credential).toStrictEqual({ kind: 'managedIdentity', clientId });
    here.write('token', 'a.b.c');
    const federated = await load(textOf({ credential: 'workloadIdentity: { tokenFile: token }' }));
    const tokenFile = join(here.folder, 'token');
    expect(federated.exchange.credential).toStrictEqual({ kind: 'workloadIdentity', tokenFile });
  });

  it('logs in with an account at servers of its own', async () => {
    here.write('password', `${MARK}\n`);
    const ids = /^ {2}(tenantId|clientId):.*\n/gm;
    const onPremises = async (credential: string, exchange = ''): Promise<Config['exchange']> => {
      const address = '  cloud: onPremises\n  ewsUrl: https://mail.contoso.com/EWS/Exchange.asmx\n';
      return (await load(textOf({ credential, exchange: address + exchange }).replace(ids, ''))).exchange;
    };
    const one = await onPremises('username: CONTOSO\\svc', `  password: ${MARK}\n  minTls: 1.0`);
    expect(one).toMatchObject({ cloud: 'onPremises', tenantId: '', clientId: '', authority: '', scope: '' });
    expect(one).toMatchObject({ ewsUrl: 'https://mail.contoso.com/EWS/Exchange.asmx', minTls: '1.0' });
    const password = expect.any(Secret) as Secret;
    const account = { kind: 'account', login: 'ntlm', username: 'svc', domain: 'CONTOSO', password };
    expect(one.credential).toStrictEqual(account);
    const file = join(here.folder, 'password');
    const two = await onPremises('username: svc', '  domain: CONTOSO\n  passwordFile: password\n  login: basic');
    expect(two.credential).toStrictEqual({ ...account, login: 'basic', file });
    const three = await onPremises('username: svc@contoso.com', '  passwordFile: password');
    expect(three.credential).toStrictEqual({ ...account, username: 'svc@contoso.com', domain: '', file });
    expect(three.credential.kind === 'account' && three.credential.password.reveal()).toBe(MARK);
  });

  it('has further ways out, each like exchange', async () => {
    const ids = 'tenantId: subsidiary.com, clientId: 99999999-7777-8888-9999-000000000000';
    here.write('subsidiary', `${MARK}-subsidiary`);
    const text = textOf({
      exchange: '  expires: 2027-01-31',
      more: `
routes:
  - { name: subsidiary, ${ids}, clientSecretFile: subsidiary, cloud: china, transport: graph, proxy: none }
  - { name: Hall-2, cloud: onPremises, ewsUrl: "https://hall/EWS/Exchange.asmx", username: svc, password: ${MARK} }
  - { name: relay, ${ids}, clientSecret: x, transport: smtp, smtp: { host: relay, login: none }, twoStep: { above: 1MB } }`,
    });
    const { routes, exchange } = await load(
      text.replace(
        /^senders:.*$/m,
        `
senders:
  mailbox: notifications@contoso.com
  rules:
    - { from: "@subsidiary.com", mailbox: relay@subsidiary.com, route: subsidiary }
    - { from: "@contoso.com", route: exchange }
    - { user: x }
users: [{ name: x, passwordHash: "${HASH}" }]`,
      ),
      { https_proxy: 'proxy:3128' },
    );
    expect(routes.map(({ name, setting }) => [name, setting])).toEqual([
      ['exchange', 'exchange'],
      ['subsidiary', 'routes[0]'],
      ['Hall-2', 'routes[1]'],
      ['relay', 'routes[2]'],
    ]);
    const [first, subsidiary, hall, relay] = routes.map((route) => route.exchange);
    expect(first).toBe(exchange);
    expect(first).toMatchObject({
      expires: Date.UTC(2027, 0, 31),
      proxy: { httpsProxy: expect.any(Secret) as unknown },
    });
    expect(subsidiary).toEqual({
      ...(await load(textOf())).exchange,
      cloud: 'china',
      transport: 'graph',
      tenantId: 'subsidiary.com',
      clientId: '99999999-7777-8888-9999-000000000000',
      credential: { kind: 'secret', secret: expect.any(Secret) as unknown, file: join(here.folder, 'subsidiary') },
      ewsUrl: 'https://partner.outlook.cn/EWS/Exchange.asmx',
      authority: 'https://login.partner.microsoftonline.cn/subsidiary.com',
      scope: 'https://partner.outlook.cn/.default',
      graphUrl: 'https://microsoftgraph.chinacloudapi.cn/v1.0',
      graphScope: 'https://microsoftgraph.chinacloudapi.cn/.default',
    });
    expect(subsidiary?.credential.kind === 'secret' && subsidiary.credential.secret.reveal()).toBe(
      `${MARK}-subsidiary`,
    );
    expect(hall?.credential).toMatchObject({ kind: 'account', username: 'svc', login: 'ntlm' });
    expect(relay).toMatchObject({
      transport: 'smtp',
      smtp: { host: 'relay', port: 587 },
      twoStep: { above: 1_000_000 },
    });
  });

  it('names the right setting when a file of a further account cannot be read any more', async () => {
    const file = here.write('no-pem', MARK);
    const credentials: readonly CredentialConfig[] = [
      { kind: 'secret', secret: new Secret(MARK), file: `${file}-not` },
      { kind: 'account', login: 'ntlm', username: 'x', domain: '', password: new Secret(MARK), file: `${file}-not` },
      {
        kind: 'certificate',
        certificate: '',
        privateKey: new Secret(''),
        files: { certFile: file, keyFile: `${file}-not` },
      },
    ];
    const told = await Promise.all(credentials.map((one) => rereadCredential(one, 'routes[1]')));
    expect(told.map((one) => (one?.ok === false ? one.problem : ''))).toEqual([
      'routes[1].clientSecretFile there is no such file',
      'routes[1].passwordFile there is no such file',
      expect.stringMatching(/^routes\[1\]\.certificate\.certFile /),
    ]);
  });

  it('reads the files of a credential anew', async () => {
    const again = async (credential: CredentialConfig) => await rereadCredential(credential, 'exchange');
    const { exchange } = await load(textOf());
    expect(await again(exchange.credential)).toBeUndefined();
    const file = here.write('again', 'first\n');
    const fromFile = (await load(textOf({ credential: 'clientSecretFile: again' }))).exchange.credential;
    expect(fromFile).toMatchObject({ kind: 'secret', file });
    here.write('again', 'second\n');
    const read = await again(fromFile);
    expect(read?.ok === true && read.value.kind === 'secret' && read.value.secret.reveal()).toBe('second');
    here.write('again', `${MARK}\n${MARK}\n`);
    const problem = 'exchange.clientSecretFile must hold one line with nothing but the secret';
    expect(await again(fromFile)).toEqual({ ok: false, problem });
    const account: CredentialConfig = {
      kind: 'account',
      login: 'ntlm',
      username: 'a',
      domain: '',
      password: new Secret('old'),
      file: join(here.folder, 'gone'),
    };
    expect(await again(account)).toMatchObject({ ok: false, problem: 'exchange.passwordFile there is no such file' });
    here.write('cert.pem', pems.cert);
    here.write('key.pem', pems.key);
    const certificate = 'certificate: { certFile: cert.pem, keyFile: key.pem }';
    const pair = (await load(textOf({ credential: certificate }))).exchange.credential;
    expect(await again(pair)).toMatchObject({ ok: true, value: { certificate: pems.cert.trim() + '\n' } });
    here.write('key.pem', pems.otherKey);
    expect(await again(pair)).toMatchObject({
      ok: false,
      problem: 'exchange.certificate.keyFile does not belong to the first certificate of certFile',
    });
  });

  it('has alarms, each with its way', async () => {
    const { alarms } = await load(
      textOf({
        more: `
alarms:
  to:
    - { name: chat, webhook: "https://hooks.example/a?sig=\${SIGN}", form: teams }
    - { name: json, webhook: "http://127.0.0.1:9/x" }
    - { name: pager, command: [page, "--to", "a b"] }
    - { name: script, command: [bin/page] }
    - { name: operator, mail: { to: a@b.c, host: 192.0.2.1 } }
    - { name: other, mail: { to: a@b.c, from: d@e.f, host: mail.b.c, port: 587 } }
  repeat: 1d
  oldestAfter: 2d
  expiresWithin: 30d
  heartbeat: { url: "https://beats.example/\${SIGN}?a=1" }`,
      }),
      { SIGN: MARK, PATH: '/usr/bin', TZ: 'UTC' },
    );
    const environment = { PATH: '/usr/bin', TZ: 'UTC' };
    const secret = expect.any(Secret) as Secret;
    expect(alarms).toStrictEqual({
      to: [
        { kind: 'webhook', name: 'chat', webhook: secret, form: 'teams' },
        { kind: 'webhook', name: 'json', webhook: secret, form: 'json' },
        { kind: 'command', name: 'pager', command: ['page', '--to', 'a b'], environment },
        { kind: 'command', name: 'script', command: [join(here.folder, 'bin/page')], environment },
        {
          kind: 'mail',
          name: 'operator',
          mail: { to: 'a@b.c', from: 'notifications@contoso.com', host: '192.0.2.1', port: 25 },
        },
        { kind: 'mail', name: 'other', mail: { to: 'a@b.c', from: 'd@e.f', host: 'mail.b.c', port: 587 } },
      ],
      repeat: 86_400_000,
      oldestAfter: 172_800_000,
      expiresWithin: 2_592_000_000,
      heartbeat: { url: secret, every: 300_000 },
    });
    const [chat] = alarms.to;
    expect(chat?.kind === 'webhook' && chat.webhook.reveal()).toBe(`https://hooks.example/a?sig=${MARK}`);
    expect(alarms.heartbeat?.url.reveal()).toBe(`https://beats.example/${MARK}?a=1`);
  });

  it('takes a short time to give up without asking for other settings, and a date that is past', async () => {
    const config = await load(textOf({ exchange: '  expires: 2001-02-03', more: 'retry: { giveUpAfter: 10m }' }));
    expect(config.retry).toMatchObject({ warnAfter: 14_400_000, giveUpAfter: 600_000 });
    expect(config.exchange.expires).toBe(Date.UTC(2001, 1, 3));
    const same = await load(textOf({ more: 'retry: { warnAfter: 1h, giveUpAfter: 1h }\nalarms: { oldestAfter: 1h }' }));
    expect(same.retry.warnAfter).toBe(same.retry.giveUpAfter);
  });

  it('has what is not given absent, not undefined', async () => {
    const config = await load(textOf());
    expect(Object.values(config.listeners[0] ?? {})).not.toContain(undefined);
    expect(Object.keys(config.listeners[0] ?? {})).not.toContain('certificate');
    expect(Object.keys(config.exchange)).not.toContain('expires');
    expect(Object.keys(config.bounces)).not.toContain('postmaster');
    expect(Object.keys(config.alarms)).not.toContain('heartbeat');
  });

  it('has rules with the mailbox that sends', async () => {
    const rules = `
  rules:
    - { from: "@pbx.local", mailbox: pbx@contoso.com, header: rewrite, name: Telephones }
    - { envelope: a@contoso.com, listener: lan, networks: ["fd00::/8"], header: reject }
    - {}`;
    const senders = `senders:
  mailbox: notifications@contoso.com
  header: rewrite
  domain: pbx.local
  nullReversePath: reject
  allow: ["@contoso.com", "@pbx.local"]${rules}`;
    const text = textOf().replace(/^senders: .*$/m, () => senders);
    expect((await load(text)).senders).toStrictEqual({
      mailbox: 'notifications@contoso.com',
      allow: ['@contoso.com', '@pbx.local'],
      header: 'rewrite',
      domain: 'pbx.local',
      nullReversePath: 'reject',
      rules: [
        { from: '@pbx.local', mailbox: 'pbx@contoso.com', header: 'rewrite', name: 'Telephones' },
        {
          envelope: 'a@contoso.com',
          listener: 'lan',
          networks: ['fd00::/8'],
          mailbox: 'notifications@contoso.com',
          header: 'reject',
        },
        { mailbox: 'notifications@contoso.com', header: 'keep' },
      ],
    });
  });

  it('takes rules of which each has mail of its own', async () => {
    const rules = `
    - { from: fax@contoso.com }
    - { from: "@contoso.com", listener: lan }
    - { from: "@contoso.com" }
    - { from: "@sub.contoso.com" }
    - { from: "*@*.contoso.com" }
    - { networks: [10.1.0.0/16] }
    - { networks: [10.0.0.0/8, 192.168.0.0/16] }
    - { networks: [192.168.0.0/16, 172.16.0.0/12] }
    - { envelope: "scan-*@contoso.com" }
    - { envelope: "*-scan@contoso.com" }
    - { from: "*" }`;
    const text = textOf().replace(/^senders: .*$/m, () => `senders:\n  mailbox: a@contoso.com\n  rules:${rules}`);
    expect((await load(text)).senders.rules).toHaveLength(11);
    expect((await load(text)).senders.domain).toBe('contoso.com');
  });

  it('lets strangers in where they can do no harm', async () => {
    const listeners = `
  - { name: login, port: 25, auth: required, allowInsecureAuth: true, allow: [0.0.0.0/0, "::/0"] }
  - { name: either, port: 26, auth: optional, allowInsecureAuth: true, loginFrom: [0.0.0.0/0, "::/0"] }
  - { name: exchanger, port: 27, allow: [0.0.0.0/0], recipients: ["@contoso.com", "*@*.contoso.com", "*@*.lan"] }`;
    const more = `users: [{ name: a, passwordHash: "${HASH}" }]`;
    expect((await load(textOf({ listeners, more }))).listeners).toHaveLength(3);
    const open = '[{ name: a, port: 25, allow: ["::/0"] }]';
    const own = 'recipients: { allow: ["@contoso.com"] }';
    expect((await load(textOf({ listeners: open, more: own }))).listeners).toHaveLength(1);
    expect(await faultsOf(textOf({ listeners: open }))).toEqual([expect.stringContaining('open relay')]);
  });

  it('takes an empty group for its defaults', async () => {
    const more = 'users:\nretry:\nlog: ~\npacing: { perMailbox: { perMinute: unlimited } }';
    const config = await load(textOf({ more }));
    expect(config).toMatchObject({ users: [], log: { level: 'info' }, retry: { verifyAfter: 90_000 } });
    expect(config.pacing.perMailbox).toEqual({ concurrency: 4, perMinute: Infinity });
  });

  it('fills in the environment, whatever kind of value it is', async () => {
    const text = textOf({
      listeners: '[{ name: "l-${NAME}", port: "${PORT}", tls: "${TLS}", idleTimeout: "${SECONDS}s" }]',
      credential: 'clientSecret: ${SECRET}',
      exchange: '  saveToSentItems: ${SAVE}',
      more: 'pacing: { perMailbox: { perMinute: "${RATE}" } }',
    });
    const environment = {
      NAME: 'x',
      PORT: '26',
      TLS: 'none',
      SECONDS: '7',
      SECRET: '${NAME}: #1',
      SAVE: 'false',
      RATE: 'unlimited',
    };
    const config = await load(text, environment);
    expect(config.listeners[0]).toMatchObject({ name: 'l-x', port: 26, tls: 'none', idleTimeout: 7_000 });
    expect(config.exchange.saveToSentItems).toBe(false);
    expect(config.pacing.perMailbox.perMinute).toBe(Infinity);
    expect(secretOf(config)).toBe('${NAME}: #1');
  });

  it('has the name of the machine unless it says otherwise', async () => {
    expect((await load(textOf(), {}, 'mx.contoso.com')).hostname).toBe('mx.contoso.com');
    expect((await load(textOf(), {}, 'PC_7')).hostname).toBe('localhost');
    expect((await load(textOf({ more: 'hostname: gw.contoso.com' }), {}, 'mx')).hostname).toBe('gw.contoso.com');
    const loaded = await loadConfig(here.write('config.yaml', textOf()));
    expect('config' in loaded && [hostname(), 'localhost'].includes(loaded.config.hostname)).toBe(true);
  });

  it('lets ports be shared where nobody is in the way', async () => {
    const listeners = `
  - { name: a, port: 0 }
  - { name: b, port: 0 }
  - { name: c, port: 25, address: 127.0.0.1 }
  - { name: d, port: 25, address: 127.0.0.2 }
  - { name: e, port: 26, address: 0.0.0.0 }
  - { name: f, port: 26, address: "::1" }`;
    expect((await load(textOf({ listeners, more: 'console: { port: 0 }' }))).listeners).toHaveLength(6);
  });
});

function secretOf({ exchange }: Config): string | undefined {
  return exchange.credential.kind === 'secret' ? exchange.credential.secret.reveal() : undefined;
}

async function proxyOf(line: string, environment: Environment): Promise<unknown> {
  const { proxy } = (await load(textOf({ exchange: line }), environment)).exchange;
  return Object.fromEntries(
    Object.entries(proxy).map(([key, value]) => [key, value instanceof Secret ? value.reveal() : value]),
  );
}

describe('where mail goes', () => {
  it.each(Object.entries(CLOUDS))('follows from the cloud: %s', async (cloud, { identity, exchange: host, graph }) => {
    const { exchange } = await load(textOf({ exchange: `  cloud: ${cloud}` }));
    expect(exchange).toMatchObject({
      ewsUrl: `https://${host}/EWS/Exchange.asmx`,
      scope: `https://${host}/.default`,
      authority: `https://${identity}/${exchange.tenantId}`,
      graphUrl: `https://${graph}/v1.0`,
    });
    const byGraph = await load(textOf({ exchange: `  cloud: ${cloud}\n  transport: graph` }));
    expect(byGraph.exchange.graphScope).toBe(`https://${graph}/.default`);
  });

  it.each([
    ['https://127.0.0.1:8443', 'https://127.0.0.1:8443/11111111-2222-3333-4444-555555555555'],
    ['https://127.0.0.1:8443/', 'https://127.0.0.1:8443/11111111-2222-3333-4444-555555555555'],
    ['https://127.0.0.1:8443/contoso.com/', 'https://127.0.0.1:8443/contoso.com'],
  ])('can be another identity server: %s', async (authority, resolved) => {
    expect((await load(textOf({ exchange: `  authority: ${authority}` }))).exchange.authority).toBe(resolved);
  });

  it('can be another Graph', async () => {
    const own =
      '  transport: graph\n  graphUrl: https://127.0.0.1:8443/v1.0/\n  graphScope: https://graph.contoso.com/.default';
    const { exchange } = await load(textOf({ exchange: own }));
    expect(exchange).toMatchObject({
      transport: 'graph',
      graphUrl: 'https://127.0.0.1:8443/v1.0',
      graphScope: 'https://graph.contoso.com/.default',
    });
  });

  it('can be another server', async () => {
    const own = '  ewsUrl: http://127.0.0.1:81/EWS/Exchange.asmx\n  scope: https://mail.contoso.com/.default';
    const { exchange } = await load(textOf({ exchange: own }));
    expect(exchange.ewsUrl).toBe('http://127.0.0.1:81/EWS/Exchange.asmx');
    expect(exchange.scope).toBe('https://mail.contoso.com/.default');
  });

  it('is reached through the proxy that was chosen', async () => {
    const environment = {
      HTTPS_PROXY: 'proxy:3128',
      http_proxy: 'http://u:p@web:80',
      HTTP_PROXY: 'http://forged',
      NO_PROXY: '.contoso.com',
    };
    const fromEnvironment = { httpsProxy: 'http://proxy:3128/', httpProxy: 'http://u:p@web/', noProxy: '.contoso.com' };
    expect(await proxyOf('', environment)).toEqual(fromEnvironment);
    expect(await proxyOf('', { ...environment, https_proxy: 'http://first' })).toEqual({
      ...fromEnvironment,
      httpsProxy: 'http://first/',
    });
    expect(await proxyOf('', { HTTPS_PROXY: '' })).toEqual({});
    expect(await proxyOf('  proxy: none', environment)).toEqual({});
    expect(await proxyOf('  proxy: http://u:p@own:8080', environment)).toEqual({ proxy: 'http://u:p@own:8080/' });
  });

  it('is not reached through a proxy of the environment that is none', async () => {
    const faults = await faultsOf(textOf(), { https_proxy: `socks5://u:${MARK}@proxy` });
    expect(faults).toEqual([
      'config.yaml:4:1: exchange.proxy: takes the proxy from the environment, where https_proxy is not the URL of an HTTP proxy; set it right, or set proxy: none',
    ]);
  });
});

describe('files that are named', () => {
  it('hold a secret on their only line', async () => {
    for (const content of [MARK, `${MARK}\n`, `${MARK}\r\n`, `\uFEFF${MARK}\n`]) {
      const file = here.write('secrets/client', content);
      for (const name of ['secrets/client', file]) {
        expect(secretOf(await load(textOf({ credential: `clientSecretFile: ${name}` })))).toBe(MARK);
      }
    }
    const unfit = [
      [' \n', 'is a file with nothing but white space in it'],
      [` ${MARK}\n`, 'begins or ends with white space'],
      ['99999999-7777-8888-9999-000000000000\n', 'is a GUID, which is the Secret ID'],
    ] as const;
    for (const [content, problem] of unfit) {
      here.write('secrets/client', content);
      expect(await faultsOf(textOf({ credential: 'clientSecretFile: secrets/client' }))).toEqual([
        expect.stringContaining(`exchange.clientSecretFile: ${problem}`),
      ]);
    }
  });

  it('hold certificates and keys, encrypted or not', async () => {
    here.write('cert.pem', `Bag Attributes\n${pems.cert}${pems.ecCert}`);
    here.write('key.pem', pems.encryptedKey);
    here.write('passphrase', `${pems.passphrase}\n`);
    const certificate = 'certificate: { certFile: cert.pem, keyFile: key.pem, passphraseFile: passphrase }';
    const inPlace = certificate.replace('passphraseFile: passphrase', 'passphrase: "${PASSPHRASE}"');
    const config = await load(
      textOf({ credential: certificate, listeners: `[{ name: lan, port: 25, tls: optional, ${inPlace} }]` }),
      { PASSPHRASE: pems.passphrase },
    );
    const { credential } = config.exchange;
    const listener = config.listeners[0]?.certificate;
    // Where a listener's files are stays known: they are read again.
    expect(listener).toMatchObject({
      certFile: join(here.folder, 'cert.pem'),
      keyFile: join(here.folder, 'key.pem'),
      passphrase: expect.any(Secret),
    });
    expect(listener?.passphrase?.reveal()).toBe(pems.passphrase);
    expect(Object.keys(credential).toSorted()).toEqual(['certificate', 'files', 'kind', 'privateKey']);
    for (const pair of [credential.kind === 'certificate' ? credential : undefined, listener]) {
      const key = createPrivateKey(pair?.privateKey.reveal() ?? '');
      expect(new X509Certificate(pair?.certificate ?? '').checkPrivateKey(key)).toBe(true);
      expect(pair?.certificate.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    }
  });

  it('hold elliptic curve keys for listeners', async () => {
    here.write('ec.pem', `${pems.ecKey}${pems.ecCert}`);
    const listeners = '[{ name: lan, port: 25, tls: implicit, certificate: { certFile: ec.pem, keyFile: ec.pem } }]';
    expect((await load(textOf({ listeners }))).listeners[0]?.certificate?.privateKey).toBeInstanceOf(Secret);
  });

  it('hold PKCS #12 for an app and a listener, with its issuers; it is read anew', async () => {
    const folder = join(import.meta.dirname, '../tls/throw-away');
    here.write('app.pfx', readFileSync(join(folder, 'aes-256.pfx')));
    here.write('lan.pfx', readFileSync(join(folder, 'curve.pfx')));
    here.write('passphrase', 'throw-away\n');
    const config = await load(
      textOf({
        credential: 'certificate: { pfxFile: app.pfx, passphraseFile: passphrase }',
        listeners:
          '[{ name: lan, port: 25, tls: implicit, certificate: { pfxFile: lan.pfx, passphrase: throw-away } }]',
      }),
    );
    const { credential } = config.exchange;
    const listener = config.listeners[0]?.certificate;
    expect(listener).toMatchObject({ pfxFile: join(here.folder, 'lan.pfx'), passphrase: expect.any(Secret) });
    expect(credential).toMatchObject({ files: { pfxFile: join(here.folder, 'app.pfx') } });
    for (const [pair, length] of [
      [credential.kind === 'certificate' ? credential : undefined, 3] as const,
      [listener, 1] as const,
    ]) {
      const key = createPrivateKey(pair?.privateKey.reveal() ?? '');
      expect(new X509Certificate(pair?.certificate ?? '').checkPrivateKey(key)).toBe(true);
      expect(pair?.certificate.match(/BEGIN CERTIFICATE/g)).toHaveLength(length);
    }
    here.write('app.pfx', readFileSync(join(folder, 'rc2-3des.pfx')));
    expect(await rereadCredential(credential, 'exchange')).toEqual({ ok: true, value: credential });
    here.write('app.pfx', readFileSync(join(folder, 'curve.pfx')));
    expect(await rereadCredential(credential, 'exchange')).toMatchObject({
      ok: false,
      problem: 'exchange.certificate.pfxFile holds a key of type ec; Entra ID takes RSA keys only',
    });
  });

  it('hold authorities', async () => {
    here.write('ca.pem', `# ours\n${pems.ecCert}\n${pems.cert}`);
    const { ca } = (await load(textOf({ exchange: '  caFile: ca.pem' }))).exchange;
    expect(ca?.match(/-----BEGIN CERTIFICATE-----/g)).toHaveLength(2);
    here.write('ca.pem', `${pems.ecCert}\n${pems.cert.replace(/(-----\r?\n[\s\S]{200})[\s\S]*?(\n-----END)/, '$1$2')}`);
    expect(await faultsOf(textOf({ exchange: '  caFile: ca.pem' }))).toEqual([
      expect.stringContaining('exchange.caFile: holds a damaged certificate (number 2)'),
    ]);
  });

  it('are not too large to be what was meant', async () => {
    writeFileSync(join(here.folder, 'large'), Buffer.alloc(1024 * 1024 + 1, 'x'));
    expect(await faultsOf(textOf({ credential: 'clientSecretFile: large' }))).toEqual([
      expect.stringContaining('is larger than 1 MiB'),
    ]);
  });

  it.each([
    ['ENOENT', 'there is no such file'],
    ['ENOTDIR', 'there is no such file'],
    ['EACCES', 'may not be read by the user this program runs as'],
    ['EPERM', 'may not be read by the user this program runs as'],
    ['EISDIR', 'is a folder, not a file'],
    ['EIO', 'cannot be read: EIO'],
  ])('cannot be read: %s', (code, sentence) => {
    expect(whyUnreadable(Object.assign(new Error('no'), { code }))).toBe(sentence);
  });
});

describe('a file that cannot be read', () => {
  it.each([
    ['none.yaml', 'there is no such file'],
    ['', 'is a folder, not a file'],
  ])('is a fault: %s', async (name, sentence) => {
    const loaded = await loadConfig(join(here.folder, name), {});
    const lines = 'faults' in loaded ? renderFaults(loaded.faults).replaceAll(here.folder, '<folder>') : '';
    expect(lines).toContain(
      `${sentence}; copy config.yaml of the project and fill in its ids, or name another file with --config`,
    );
    expect(lines).toMatch(/^<folder>\/?(none\.yaml)?: /);
  });
});
