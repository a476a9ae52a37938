/** What pickups of a configuration become: how each is read, who results, how it is handed over. */
import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PickupConfig } from '../../src/config/config.ts';
import { loadConfig, loadSpool, renderFaults } from '../../src/config/load.ts';
import type { Config } from '../../src/config/load.ts';
import { Secret } from '../../src/config/secret.ts';
import { destinations } from '../../src/mail/destination.ts';
import { makePems, MARK, place } from './place.ts';

const here = place();
const HASH = '$scrypt$ln=15,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA';
const KEY = `whsec_${Buffer.from(`${MARK}${MARK}${MARK}${MARK}`).toString('base64')}`;
const SECRET = expect.any(Secret) as Secret;
const NEEDED = `
listeners: [{ name: lan, port: 2525 }]
senders: { mailbox: notifications@contoso.com }
`;
const APP = `
  tenantId: contoso.com
  clientId: 66666666-7777-8888-9999-000000000000
  clientSecret: ${MARK}
`;

async function load(more: string, account = ''): Promise<Config> {
  const text = `${NEEDED}exchange:${APP}${account}\n${more}\n`;
  const loaded = await loadConfig(here.write('config.yaml', text), { PATH: '/usr/bin', SECRET: MARK }, 'gateway.test');
  if ('faults' in loaded) throw new Error(renderFaults(loaded.faults));
  return loaded.config;
}

async function pickupsOf(...entries: readonly string[]): Promise<readonly PickupConfig[]> {
  return (await load(`pickup:\n${entries.map((entry) => `  - { mailbox: Fax@contoso.com, ${entry} }`).join('\n')}`))
    .pickups;
}

/** By one entry each, of a folder of its own. */
async function deliverOf(...ways: readonly string[]): Promise<readonly PickupConfig['deliver'][]> {
  const all = await pickupsOf(...ways.map((way, index) => `folder: Box ${index}, deliver: { ${way} }`));
  return all.map(({ deliver }) => deliver);
}

describe('a pickup', () => {
  it('needs little, and has a default for the rest', async () => {
    const [fax] = (
      await load(
        'pickup:\n  - {mailbox: fax@contoso.com, folder: Inbox, deliver: {smtp: {host: 127.0.0.1, port: 2526, to: fax@pbx.local}}, after: {move: Processed}}',
      )
    ).pickups;
    expect(fax).toStrictEqual({
      name: 'pickup',
      setting: 'pickup[0]',
      examples: 0,
      mailbox: 'fax@contoso.com',
      folder: 'Inbox',
      route: 'exchange',
      transport: 'ews',
      interval: 60_000,
      notifications: true,
      claim: true,
      maxSize: 150_000_000,
      from: { allow: ['*'], deny: [], inside: false },
      recipients: [{ in: 'always', to: 'fax@pbx.local', digits: false }],
      attachments: { required: false, allow: ['*'], maxCount: 100, maxSize: 1_073_741_824 },
      kinds: {
        signed: 'deliver',
        encrypted: 'quarantine',
        meeting: 'skip',
        report: 'skip',
        automatic: 'skip',
        noSender: 'deliver',
        other: 'quarantine',
      },
      deliver: {
        kind: 'smtp',
        server: { host: '127.0.0.1', port: 2526, tls: 'none', minTls: '1.2', login: { kind: 'none' } },
        from: 'sender',
      },
      after: { kind: 'move', folder: 'Processed' },
      refused: 'Refused',
      quarantine: 'Quarantine',
      answer: { success: false, failure: true, from: 'fax@contoso.com' },
      concurrency: 4,
      perMinute: Infinity,
    });
  });

  it('takes values as they are written', async () => {
    const [fax] = await pickupsOf(
      'name: Fax-1, deliver: { folder: { path: x } }, folder: Inbox/Für Fax, transport: graph, interval: 5s, notifications: false, claim: false, maxSize: 1MB, from: { allow: ["@contoso.com"], deny: [a@contoso.com], inside: true }, attachments: { required: true, allow: [.PDF, Image/*], maxCount: 2, maxSize: 5KB }, refused: No, quarantine: Odd, answer: { success: true, failure: false, refusal: Not you, from: b@contoso.com, subject: "{status}", text: "{reason}" }, concurrency: 9, perMinute: 8',
    );
    expect(fax).toMatchObject({
      name: 'Fax-1',
      folder: 'Inbox/Für Fax',
      transport: 'graph',
      interval: 5_000,
      notifications: false,
      claim: false,
      maxSize: 1_000_000,
      from: { allow: ['@contoso.com'], deny: ['a@contoso.com'], inside: true },
      attachments: { required: true, allow: ['.pdf', 'image/*'], maxCount: 2, maxSize: 5_000 },
      refused: 'No',
      quarantine: 'Odd',
      concurrency: 9,
      perMinute: 8,
    });
    expect(fax?.answer).toStrictEqual({
      success: true,
      failure: false,
      refusal: 'Not you',
      from: 'b@contoso.com',
      subject: '{status}',
      text: '{reason}',
    });
  });

  it('is called by its place unless it has a name', async () => {
    const deliver = 'deliver: { folder: { path: x } }';
    const all = await pickupsOf(`folder: A, ${deliver}`, `folder: B, name: fax, ${deliver}`, `folder: C, ${deliver}`);
    expect(all.map(({ name, setting }) => [name, setting])).toEqual([
      ['pickup', 'pickup[0]'],
      ['fax', 'pickup[1]'],
      ['pickup-3', 'pickup[2]'],
    ]);
  });

  it('files what it has had in one of four ways', async () => {
    const all = await pickupsOf(
      ...['', 'move: Done/Fax', 'delete: true', 'read: true', 'keep: true'].map(
        (after, index) => `folder: Box ${index}, deliver: { folder: { path: x } }, after: { ${after} }`,
      ),
    );
    expect(all.map(({ after }) => after)).toEqual([
      { kind: 'move', folder: 'Processed' },
      { kind: 'move', folder: 'Done/Fax' },
      { kind: 'delete' },
      { kind: 'read' },
      { kind: 'keep' },
    ]);
  });

  it.each([
    ['', 'ews'],
    ['  transport: ews', 'ews'],
    ['  transport: graph', 'graph'],
    ['  transport: auto', 'auto'],
    ['  transport: smtp', 'graph'],
  ])('is read as its account sends; SMTP cannot read:%s', async (account, transport) => {
    const { pickups } = await load(
      `pickup:
  - { mailbox: a@contoso.com, deliver: { folder: { path: x } } }
  - { mailbox: b@contoso.com, deliver: { folder: { path: x } }, transport: auto }
  - { mailbox: c@contoso.com, deliver: { folder: { path: x } }, route: other }
  - { mailbox: d@contoso.com, deliver: { folder: { path: x } }, route: own }
routes:
  - { name: other, tenantId: a.com, clientId: 66666666-7777-8888-9999-000000000000, clientSecret: x, transport: graph }
  - { name: own, cloud: onPremises, ewsUrl: https://mail.contoso.com/EWS, username: svc, password: x, transport: smtp, smtp: { host: mail.contoso.com, login: none } }`,
      account,
    );
    expect(pickups.map(({ route, transport: own }) => [route, own])).toEqual([
      ['exchange', transport],
      ['exchange', 'auto'],
      ['other', 'graph'],
      ['own', 'ews'],
    ]);
  });
});

describe('recipients of a pickup', () => {
  const rules =
    'recipients: [{ in: subject, pattern: "fax ([0-9+ ]+)", to: $1@fax.local, digits: true, tests: [{ text: Fax +49 30, gives: +4930@fax.local }, { text: none, gives: none }] }, { in: plus, to: $0@fax.local }]';

  it('are those of the rules, then who gets the rest', async () => {
    const [smtp, both, folder, none] = await pickupsOf(
      `folder: A, deliver: { smtp: { host: h, to: "$1$@fax.local" } }`,
      `folder: B, deliver: { smtp: { host: h, to: a@fax.local } }, ${rules}`,
      `folder: C, deliver: { folder: { path: x } }, ${rules}`,
      `folder: D, deliver: { folder: { path: x } }`,
    );
    const written = [
      { in: 'subject', pattern: 'fax ([0-9+ ]+)', to: '$1@fax.local', digits: true },
      { in: 'plus', to: '$0@fax.local', digits: false },
    ];
    expect(both?.recipients).toStrictEqual([...written, { in: 'always', to: 'a@fax.local', digits: false }]);
    expect(folder?.recipients).toStrictEqual(written);
    expect(none?.recipients).toStrictEqual([{ in: 'always', to: 'Fax@contoso.com', digits: false }]);
    // What is an address and no template stays as it is.
    const mail = { subject: '', recipients: [], mailbox: 'fax@contoso.com' };
    expect(destinations(smtp?.recipients ?? [])(mail)).toEqual(['$1$@fax.local']);
  });
});

describe('the way a pickup hands over', () => {
  it('is SMTP, with a login or not', async () => {
    here.write('password', `${MARK}\n`);
    here.write('ca.pem', (await makePems()).cert);
    const [clear, login, none] = await deliverOf(
      'smtp: { host: fax.local, to: a@b, from: relay@contoso.com, tls: required, minTls: "1.0", username: fax, password: "${SECRET}" }',
      'smtp: { host: 127.0.0.1, port: 465, to: a@b, tls: implicit, username: fax, passwordFile: password, caFile: ca.pem }',
      'smtp: { host: 127.0.0.1, to: a@b, from: none, username: fax, passwordFile: password }',
    );
    expect(clear).toStrictEqual({
      kind: 'smtp',
      server: {
        host: 'fax.local',
        port: 25,
        tls: 'required',
        minTls: '1.0',
        login: { kind: 'password', username: 'fax', password: SECRET },
      },
      from: 'relay@contoso.com',
    });
    expect(login).toMatchObject({ server: { port: 465, tls: 'implicit' }, ca: expect.stringContaining('BEGIN') });
    // On this machine a login may go in clear.
    expect(none).toMatchObject({ from: '', server: { tls: 'none' } });
    for (const one of [clear, login, none]) {
      const from = one?.kind === 'smtp' ? one.server.login : undefined;
      expect(from?.kind === 'password' && from.password.reveal()).toBe(MARK);
    }
  });

  it('is a folder, beside the configuration unless its path says otherwise', async () => {
    expect(await deliverOf('folder: { path: out/fax }', 'folder: { path: /srv/fax, form: parts }')).toStrictEqual([
      { kind: 'folder', path: join(here.folder, 'out/fax'), form: 'message' },
      { kind: 'folder', path: '/srv/fax', form: 'parts' },
    ]);
  });

  it('is a webhook, signed or not', async () => {
    here.write('key', KEY);
    here.write('login', `Bearer ${MARK}\n`);
    here.write('ca.pem', (await makePems()).cert);
    const [plain, signed, filed] = await deliverOf(
      'webhook: { url: "http://127.0.0.1:81/in?key=${SECRET}" }',
      `webhook: { url: https://a.example/, form: multipart, secret: ${KEY}, timeout: 5s, authorization: Bearer ${MARK} }`,
      'webhook: { url: https://a.example/, secretFile: key, authorizationFile: login, caFile: ca.pem }',
    );
    expect(plain).toStrictEqual({ kind: 'webhook', url: SECRET, form: 'raw', timeout: 60_000 });
    expect(plain?.kind === 'webhook' && plain.url.reveal()).toBe(`http://127.0.0.1:81/in?key=${MARK}`);
    expect(signed).toStrictEqual({
      kind: 'webhook',
      url: SECRET,
      form: 'multipart',
      timeout: 5_000,
      secret: SECRET,
      authorization: SECRET,
    });
    expect(filed).toMatchObject({ ca: expect.stringContaining('BEGIN') });
    for (const one of [signed, filed]) {
      expect(one?.kind === 'webhook' && one.secret?.reveal()).toBe(KEY);
      expect(one?.kind === 'webhook' && one.authorization?.reveal()).toBe(`Bearer ${MARK}`);
    }
  });

  it('is a program, which gets nothing of ours that may be secret', async () => {
    const environment = { PATH: '/usr/bin' };
    expect(
      await deliverOf('command: { run: [print, -q, "a b"] }', 'command: { run: [bin/print], timeout: 1d }'),
    ).toStrictEqual([
      { kind: 'command', command: ['print', '-q', 'a b'], environment, timeout: 300_000 },
      { kind: 'command', command: [join(here.folder, 'bin/print')], environment, timeout: 86_400_000 },
    ]);
  });

  it('is a mailbox at the POP3 door', async () => {
    const pop3 = `pickup: [{ mailbox: a@contoso.com, deliver: { pop3: { user: Fax, passwordHash: "${HASH}" } } }]\npop3: `;
    const { pickups, pop3: door } = await load(`${pop3}{}`);
    expect(pickups[0]?.deliver).toStrictEqual({ kind: 'pop3', user: 'Fax', passwordHash: SECRET });
    const local = ['127.0.0.0/8', '::1/128'];
    expect(door).toStrictEqual({
      address: '127.0.0.1',
      port: 1110,
      tls: 'optional',
      minTls: '1.2',
      allow: local,
      plainFrom: local,
      maxConnections: 50,
      maxConnectionsPerAddress: 10,
      idleTimeout: 600_000,
    });
    const pems = await makePems();
    here.write('cert.pem', pems.cert);
    here.write('key.pem', pems.key);
    const certificate = 'certificate: { certFile: cert.pem, keyFile: key.pem }';
    const other = (await load(`${pop3}{ address: "::", port: 995, tls: implicit, ${certificate} }`)).pop3;
    expect(other).toMatchObject({
      port: 995,
      certificate: { certFile: join(here.folder, 'cert.pem'), privateKey: SECRET },
    });
  });

  it('shows no secret however it is printed', async () => {
    here.write('password', `${MARK}\n`);
    const all = await deliverOf(
      'smtp: { host: 127.0.0.1, to: a@b, username: fax, passwordFile: password }',
      `webhook: { url: "https://a.example/${MARK}", secret: ${KEY} }`,
    );
    for (const text of [JSON.stringify(all), inspect(all, { depth: 9, showHidden: true })]) {
      expect(text).toContain('[secret]');
      expect(text).not.toContain(MARK);
      expect(text).not.toContain(KEY);
    }
  });
});

describe('what a command on the spool alone knows of pickups', () => {
  it('is their names, as far as they can be read', async () => {
    const text = `${NEEDED}exchange:${APP}
routes: [{ name: other }]
pickup:
  - { mailbox: a@contoso.com, deliver: { smtp: { host: h, password: "\${NOWHERE}", passwordFile: nowhere } } }
  - { name: fax, mailbox: "\${NOWHERE}" }
  - { name: no name, mailbox: a@contoso.com }
  - { name: "\${NOWHERE}" }
  - {}
`;
    expect(await loadSpool(here.write('spool.yaml', text), {})).toMatchObject({
      routes: ['exchange', 'other', 'pickup', 'fax', 'pickup-5'],
    });
  });
});

describe('the documents', () => {
  const root = join(import.meta.dirname, '../..');
  const text = readFileSync(join(root, 'docs/pickup.md'), 'utf8');
  const examples = [...text.matchAll(/^( *)```yaml\n([\s\S]*?)\n *```$/gm)].map(([, indent = '', example = '']) =>
    example.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  );

  it('have examples that hold, with their own tests', async () => {
    expect(examples).toHaveLength(4);
    for (const example of examples) {
      expect(example).toContain('tests:');
      expect((await load(example)).pickups).toHaveLength(1);
    }
    const [, short = ''] =
      /^```yaml\n(pickup:\n[\s\S]*?)\n```$/m.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? [];
    const [fax] = (await load(short)).pickups;
    const mail = { subject: '', recipients: ['fax+4930123456@contoso.com'], mailbox: 'fax@contoso.com' };
    expect(destinations(fax?.recipients ?? [])(mail)).toEqual(['+4930123456@fax.local']);
  });

  it('have forms of addresses that can be written', async () => {
    for (const to of [...text.matchAll(/\| `(\S+@\S+)` \|/g)].map(([, one]) => one)) {
      const rule = `recipients: [{ in: subject, pattern: "([0-9]+)", to: "${to}" }]`;
      const [pickup] = await pickupsOf(`deliver: { folder: { path: x } }, ${rule}`);
      const mail = { subject: '4930', recipients: [], mailbox: 'fax@contoso.com' };
      expect(destinations(pickup?.recipients ?? [])(mail)).toEqual([to?.replace('$1', '4930')]);
    }
  });
});
