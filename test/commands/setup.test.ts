/** The command `setup`: what it writes, what it never does, what it asks. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CommandFault } from '../../src/commands/outcome.ts';
import { readSandboxSettings } from '../../src/commands/sandbox-settings.ts';
import { setupCommand } from '../../src/commands/setup.ts';
import type { Given } from '../../src/commands/setup-answers.ts';
import { yaml } from '../../src/commands/setup-config.ts';
import { ask } from '../../src/commands/setup-dialog.ts';
import { parseText } from '../../src/config/document.ts';
import { fillIn } from '../../src/config/environment.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/load.ts';
import type { Folder } from '../gateway/process.ts';
import { folder } from '../gateway/process.ts';
import { runCommand } from './terminal.ts';

const TENANT = '11111111-2222-3333-4444-555555555555';
const CLIENT = '66666666-7777-8888-9999-000000000000';
const IDS = ['--tenant', TENANT, '--client', CLIENT];
const MAILBOX = ['--mailbox', 'notifications@contoso.com'];
const SECRET = ['--credential', 'secret'];

let place: Folder;
beforeEach(() => {
  place = folder();
});
afterEach(() => place.remove());

const setup = (...args: readonly string[]) => runCommand(setupCommand, '--folder', place.path, '--yes', ...args);
const read = (name: string): string => readFileSync(join(place.path, name), 'utf8');

async function configOf(name = 'config.yaml'): Promise<Config> {
  const loaded = await loadConfig(join(place.path, name), {});
  if ('faults' in loaded) throw new Error(JSON.stringify(loaded.faults));
  return loaded.config;
}

describe('what setup writes', () => {
  it('is a configuration without a fault, a key pair, the walk-through and its script', async () => {
    const { code, out } = await setup(...IDS, ...MAILBOX);
    expect(code).toBe(0);
    expect(readdirSync(place.path).toSorted()).toEqual(['config.yaml', 'console', 'exchange', 'setup.md', 'setup.ps1']);
    expect(statSync(join(place.path, 'console/token')).mode & 0o777).toBe(0o600);
    expect(out).not.toContain(read('console/token').trim());
    const { exchange, listeners, senders } = await configOf();
    expect(exchange).toMatchObject({ tenantId: TENANT, clientId: CLIENT, transport: 'auto' });
    expect(exchange.credential.kind).toBe('certificate');
    expect(listeners).toMatchObject([{ address: '127.0.0.1', port: 2525, tls: 'optional' }]);
    expect(senders.mailbox).toBe('notifications@contoso.com');
    expect(out).toContain(read('setup.md'));
    expect(read('setup.ps1')).toContain(`$ClientId = '${CLIENT}'`);

    const [certificate, key] = [
      new X509Certificate(read('exchange/cert.pem')),
      createPrivateKey(read('exchange/key.pem')),
    ];
    expect(key.asymmetricKeyDetails?.modulusLength).toBe(3072);
    expect(certificate.checkPrivateKey(key)).toBe(true);
    const days = (Date.parse(certificate.validTo) - Date.now()) / 86_400_000;
    expect([Math.round(days) >= 729, days < 732]).toEqual([true, true]);
    expect(statSync(join(place.path, 'exchange/key.pem')).mode & 0o777).toBe(0o600);
    expect(statSync(join(place.path, 'exchange')).mode & 0o777).toBe(0o700);
    // The thumbprint that Entra ID shows, and nothing of the key.
    expect(out).toContain(certificate.fingerprint.replaceAll(':', ''));
    const secret = read('exchange/key.pem').split('\n')[3] ?? '';
    for (const shown of [out, read('setup.md'), read('setup.ps1'), read('config.yaml')]) {
      expect(shown).not.toContain('PRIVATE KEY');
      expect(shown).not.toContain(secret);
    }

    // Once more: the same, so nothing is new, and the key stays.
    const before = read('exchange/key.pem');
    const again = await setup(...IDS, ...MAILBOX);
    expect(again.out).toContain('Kept the key pair that is there');
    expect(again.out).toContain('Kept the token that is there');
    expect(readdirSync(place.path)).toHaveLength(5);
    expect(read('exchange/key.pem')).toBe(before);

    // Half of it gone: told, and nothing made in its place.
    rmSync(join(place.path, 'exchange/cert.pem'));
    await expect(setup(...IDS, ...MAILBOX)).rejects.toMatchObject({ exitCode: 78 });
    expect(readdirSync(join(place.path, 'exchange'))).toEqual(['key.pem']);
  });

  const written: readonly (readonly [string, readonly string[], (config: Config) => void])[] = [
    [
      'several mailboxes',
      ['--mailbox', "o'brien@contoso.com", '--mailbox', '#1@contoso.com,${x}@contoso.com'],
      ({ senders }) => {
        expect(senders.mailbox).toBe("o'brien@contoso.com");
        expect(senders.rules.map(({ mailbox }) => mailbox)).toEqual(['#1@contoso.com', '${x}@contoso.com']);
      },
    ],
    [
      'a fax server',
      [...MAILBOX, '--pickup', 'fax@contoso.com', '--deliver', '[2001:db8::1]:26'],
      ({ pickups }) =>
        expect(pickups).toMatchObject([{ deliver: { kind: 'smtp', server: { host: '2001:db8::1', port: 26 } } }]),
    ],
    [
      'folders for what is picked up',
      [...MAILBOX, '--pickup', 'a@contoso.com', '--pickup', 'b@contoso.com'],
      ({ pickups }) =>
        expect(pickups.map(({ deliver, from }) => [deliver.kind, from.inside])).toEqual([
          ['folder', true],
          ['folder', true],
        ]),
    ],
    [
      'the network, this machine among it',
      [...MAILBOX, '--listen', '0.0.0.0:25', '--allow', '10.1.0.0/16', '--allow', 'fd00::/8'],
      ({ listeners }) =>
        expect(listeners).toMatchObject([
          { address: '0.0.0.0', port: 25, allow: ['10.1.0.0/16', 'fd00::/8', '127.0.0.0/8'] },
        ]),
    ],
    ['Graph', [...MAILBOX, '--transport', 'graph'], ({ exchange }) => expect(exchange.transport).toBe('graph')],
    [
      'SMTP',
      [...MAILBOX, '--transport', 'smtp', '--cloud', 'gccHigh'],
      ({ exchange }) => expect(exchange).toMatchObject({ transport: 'smtp', cloud: 'gccHigh' }),
    ],
    [
      'a domain as tenant',
      [...MAILBOX, '--tenant', 'contoso.onmicrosoft.com'],
      ({ exchange }) => expect(exchange.tenantId).toBe('contoso.onmicrosoft.com'),
    ],
  ];
  it.each(written)('is valid for %s', async (_, args, check) => {
    const ids = args.includes('--tenant') ? ['--client', CLIENT] : IDS;
    const { out } = await setup(...SECRET, ...ids, ...args);
    expect(out).toContain('clientSecretFile: there is no such file');
    place.write('exchange-secret', 'x');
    writeFileSync(
      join(place.path, 'config.yaml'),
      read('config.yaml').replace('exchange/client-secret', 'exchange-secret'),
    );
    check(await configOf());
  });

  it("is for servers of one's own too", async () => {
    const args = [
      '--cloud',
      'onPremises',
      '--ews-url',
      'https://mail.contoso.com/EWS/Exchange.asmx',
      '--username',
      'CONTOSO\\svc',
      '--login',
      'basic',
    ];
    await setup(...MAILBOX, ...args);
    expect(readdirSync(place.path)).not.toContain('exchange');
    place.write('password', 'x');
    writeFileSync(join(place.path, 'config.yaml'), read('config.yaml').replace('exchange/password', 'password'));
    const { exchange } = await configOf();
    expect(exchange.credential).toMatchObject({ kind: 'account', username: 'svc', domain: 'CONTOSO', login: 'basic' });
    expect(read('setup.ps1')).toContain("$Account = 'CONTOSO\\svc'");
  });

  it('is never written over what is there', async () => {
    const own = place.write('config.yaml', '# mine\n');
    place.write('setup.md', 'mine too');
    const { out } = await setup(...SECRET, ...IDS, ...MAILBOX);
    expect(readFileSync(own, 'utf8')).toBe('# mine\n');
    expect(readdirSync(place.path).toSorted()).toEqual([
      'config-2.yaml',
      'config.yaml',
      'console',
      'setup-2.md',
      'setup.md',
      'setup.ps1',
    ]);
    expect(out).toContain('config.yaml is there, and is left as it is');
    expect(read('setup-2.md')).toContain('config-2.yaml');
  });

  it('leaves ids open that are not known yet, and says that they are', async () => {
    const { code, out } = await setup(...SECRET, ...MAILBOX);
    expect(code).toBe(0);
    expect(out).toMatch(/exchange\.tenantId: still holds the placeholder/);
  });

  it.each([
    ['plain@contoso.com', 'plain@contoso.com'],
    ['https://h:1/EWS/E.asmx', 'https://h:1/EWS/E.asmx'],
    ['a: b', '"a: b"'],
    ['#a', '"#a"'],
    ['12', '"12"'],
    ['yes', '"yes"'],
    ['', '""'],
    ['C:\\x "y"', '"C:\\\\x \\"y\\""'],
    ['${HOME}', '"$${HOME}"'],
  ])('has %j as one string', (value, expected) => {
    expect(yaml(value)).toBe(expected);
    const { root, faults } = parseText(`key: ${yaml(value)}\n`);
    expect(faults).toEqual([]);
    const found = root?.kind === 'map' ? root.entries[0]?.value : undefined;
    expect(found?.kind === 'text' ? fillIn(found.text, {}) : undefined).toEqual({ ok: true, value });
  });
});

describe('options that cannot be', () => {
  it.each([
    [['--mailbox', 'nobody'], '--mailbox must be an e-mail address'],
    [[], '--mailbox is needed'],
    [[...MAILBOX, '--tenant', 'common'], '--tenant must name one tenant'],
    [[...MAILBOX, '--client', 'x'], '--client must be a GUID'],
    [[...MAILBOX, '--cloud', 'mars'], '--cloud must be one of'],
    [[...MAILBOX, '--cloud', 'onPremises'], '--ews-url is needed'],
    [[...MAILBOX, '--listen', '2525'], '--listen must be an address and a port'],
    [[...MAILBOX, '--listen', '127.0.0.1:99999'], '--listen must be an address and a port'],
    [[...MAILBOX, '--listen', 'lan.local:25'], '--listen must be an IP address'],
    [[...MAILBOX, '--allow', '10.0.0.1/8'], '--allow is no network'],
    [[...MAILBOX, '--deliver', '10.0.0.1:25'], '--deliver makes no sense'],
    [[...MAILBOX, '--pickup', 'f@contoso.com', '--deliver', '10.0.0.1:0'], '--deliver must be an address and a port'],
    [[...MAILBOX, '--group', 'a"b'], '--group must be'],
    [[...MAILBOX, '--group', ''], '--group must be'],
    [[...MAILBOX, '--config', '../x.yaml'], '--config takes the name of a file'],
    [[...MAILBOX, '--sandbox', '/nowhere.json'], '--sandbox: /nowhere.json cannot be read'],
  ])('%j', async (args, problem) => {
    const refused = await setup(...args).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(CommandFault);
    expect(refused).toMatchObject({ exitCode: 64 });
    expect(String(refused)).toContain(problem);
    expect(readdirSync(place.path)).toEqual([]);
  });

  it('a file of a sandbox that is none', async () => {
    for (const content of ['{', '[]', '{"tenantId": 1}'])
      await expect(readSandboxSettings(place.write('s.json', content))).rejects.toMatchObject({ exitCode: 64 });
  });
});

describe('print-only', () => {
  it('prints the steps for the configuration that is there, and writes nothing', async () => {
    await setup(...IDS, ...MAILBOX, '--pickup', 'fax@contoso.com', '--transport', 'graph');
    const before = readdirSync(place.path);
    const { code, out, errors } = await runCommand(setupCommand, '--folder', place.path, '--print-only');
    expect([code, errors]).toEqual([0, '']);
    expect(out).toContain(`$ClientId = '${CLIENT}'`);
    expect(out).toContain("@('notifications@contoso.com', 'fax@contoso.com')");
    expect(out).toContain('Application Mail.Send');
    expect(out).not.toContain('EwsAllowedAppIDs');
    expect(readdirSync(place.path)).toEqual(before);

    // What is read by EWS wants EWS, though mail is sent by Graph.
    const config = read('config.yaml').replace('from: { inside', 'transport: ews\n    from: { inside');
    writeFileSync(join(place.path, 'config.yaml'), config);
    const reading = await runCommand(setupCommand, '--folder', place.path, '--print-only');
    expect(reading.out).toContain('EwsAllowedAppIDs');
  });

  it('says that a configuration cannot be used, and goes by the options', async () => {
    place.write('config.yaml', 'nonsense: 1\n');
    const { out, errors } = await runCommand(setupCommand, '--folder', place.path, '--print-only', ...IDS, ...MAILBOX);
    expect(errors).toContain('config.yaml cannot be used');
    expect(out).toContain(`$ClientId = '${CLIENT}'`);
  });
});

describe('the questions', () => {
  async function answering(
    lines: readonly string[],
    given: Given = new Map(),
  ): Promise<{ readonly wanted: boolean; readonly said: string }> {
    const [input, output] = [new PassThrough(), new PassThrough()];
    input.end(lines.map((line) => `${line}\n`).join(''));
    const said = text(output);
    try {
      return {
        wanted: await ask(given, { input, output, isTerminal: false }, () => ['SUMMARY']),
        said: (output.end(), await said),
      };
    } finally {
      output.end();
    }
  }

  it('take defaults, ask again for what cannot be, and ask only what applies', async () => {
    const given: Given = new Map([['cloud', 'worldwide']]);
    const { wanted, said } = await answering(
      // transport, path, credential, tenant (wrong, right), client, object id, mailbox (none, right), pickup, listen, allow, group, outside
      ['graph', 'consent', 'secret', 'common', TENANT, CLIENT, '', 'a@contoso.com', '', '', '', '', '', 'y'],
      given,
    );
    expect(wanted).toBe(true);
    expect(Object.fromEntries(given)).toEqual({
      cloud: 'worldwide',
      transport: 'graph',
      path: 'consent',
      credential: 'secret',
      tenant: TENANT,
      client: CLIENT,
      mailbox: 'a@contoso.com',
      pickup: '',
      listen: '127.0.0.1:2525',
      allow: '127.0.0.0/8,::1/128',
      group: 'smtp2exchange',
      outside: '',
    });
    expect(said).toContain('It must name one tenant');
    expect(said).toContain('It must name at least one');
    expect(said).not.toContain('SMTP server that gets it');
    expect(said).not.toContain('service account');
    expect(said).toContain('SUMMARY');
  });

  it("ask for the account of servers of one's own", async () => {
    const given: Given = new Map();
    await answering(
      ['onPremises', 'https://m/EWS', 'C\\svc', '', 'a@contoso.com', 'f@contoso.com', 'fax:25', '', '', '', 'yes'],
      given,
    );
    expect(given.get('login')).toBe('ntlm');
    expect(given.get('deliver')).toBe('fax:25');
    expect(given.has('tenant')).toBe(false);
  });

  it('may be answered with no at the end', async () => {
    const given: Given = new Map();
    const { wanted } = await answering(
      ['', '', '', '', '', '', '', 'a@contoso.com', '', '', '', '', '', 'maybe', 'n'],
      given,
    );
    expect(wanted).toBe(false);
  });

  it('end with a fault if the answers do', async () => {
    await expect(answering(['worldwide'])).rejects.toMatchObject({ exitCode: 64 });
  });
});
