/**
 * The schema, config.yaml, config.schema.json and docs/configuration.md say the same. `npx vitest run test/config -u`
 * writes config.schema.json and the reference part of the document anew.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseText } from '../../src/config/document.ts';
import type { Tree } from '../../src/config/document.ts';
import { loadConfig, renderFaults } from '../../src/config/load.ts';
import { jsonSchema } from '../../src/config/settings.ts';
import { makePems, MARK, place } from './place.ts';
import { documentedSettings, everySetting, isRepeated, keysOf, renderReference } from './reference.ts';

const root = join(import.meta.dirname, '../..');
const sample = readFileSync(join(root, 'config.yaml'), 'utf8');
const whole = new Set(everySetting().map((setting) => setting.path));
const paths = documentedSettings().map((setting) => setting.path);

/** A setting that is commented out has no single space after its #; prose has. */
const COMMENTED = /^( *)#(?! \S)(.*)$/;

function uncommented(text: string): string {
  return text.replace(new RegExp(COMMENTED, 'gm'), '$1$2');
}

const OTHER_CREDENTIALS = ['clientSecretFile', 'certificate', 'workloadIdentity'];
const OF_ACCOUNT = ['username', 'domain', 'password', 'passwordFile', 'login'];

function rootOf(text: string): Tree {
  const { root: tree, faults } = parseText(text);
  expect(faults).toEqual([]);
  if (tree === undefined) throw new Error('nothing in it');
  return tree;
}

describe('config.yaml', () => {
  const here = place();
  const environment = Object.fromEntries(
    [
      'EXCHANGE_CLIENT_SECRET',
      'EXCHANGE_PASSWORD',
      'PROXY_PASSWORD',
      'TLS_KEY_PASSPHRASE',
      'EXCHANGE_KEY_PASSPHRASE',
      'SUBSIDIARY_CLIENT_SECRET',
      'FAX_PASSWORD',
      'TICKETS_TOKEN',
    ].map((name) => [name, MARK]),
  );
  environment['CONSOLE_TOKEN'] = MARK.repeat(5);
  environment['AZURE_FEDERATED_TOKEN_FILE'] = 'secret';
  environment['TICKETS_KEY'] = `whsec_${Buffer.from(MARK.repeat(5)).toString('base64')}`;
  for (const name of ['ALARM_WEBHOOK', 'HEARTBEAT_URL']) environment[name] = `https://hooks.example/${MARK}`;
  const ids = sample
    .replace(/<the sending mailbox.*>/, 'notifications@contoso.com')
    .replace(/<Directory.*>/, '11111111-2222-3333-4444-555555555555')
    .replace(/<Application.*>/, '66666666-7777-8888-9999-000000000000');

  beforeAll(async () => {
    const pems = await makePems();
    for (const folder of ['tls', 'exchange']) {
      here.write(`${folder}/cert.pem`, pems.cert);
      here.write(`${folder}/key.pem`, pems.key);
      here.write(`${folder}/ca.pem`, pems.cert);
      here.write(`${folder}/passphrase`, pems.passphrase);
    }
    here.write('secret', MARK);
  });

  async function faultsOf(text: string): Promise<string> {
    const file = here.write('config.yaml', text.replaceAll('/run/secrets/exchange', 'secret'));
    const loaded = await loadConfig(file, environment);
    return 'faults' in loaded ? renderFaults(loaded.faults) : '';
  }

  /** Each setting or group that is commented out, as the lines it takes. */
  function units(): string[] {
    const lines = ids.split('\n');
    const found: string[] = [];
    lines.forEach((line, index) => {
      const [, indent, rest = ''] = COMMENTED.exec(line) ?? [];
      if (indent === undefined || rest === '') return;
      const goesOn = rest.startsWith(' ') && COMMENTED.test(lines[index - 1] ?? '');
      if (goesOn) found.push(`${found.pop()}\n${line}`);
      else found.push(line);
    });
    return found;
  }

  function withoutOther(key: string, text: string): string {
    if (OTHER_CREDENTIALS.includes(key)) return text.replace(/^ *clientSecret:.*\n/m, '');
    if (key !== 'managedIdentity' && !OF_ACCOUNT.includes(key)) return text;
    const bare = text.replace(/^ *(clientSecret|tenantId|clientId):.*\n/gm, '');
    if (key === 'managedIdentity') return bare;
    const account = [
      'cloud: onPremises',
      'ewsUrl: https://mail.contoso.com/EWS/Exchange.asmx',
      'username: svc',
      'password: x',
    ]
      .filter((line) => !line.startsWith(`${key}:`) && !(key === 'passwordFile' && line.startsWith('password:')))
      .map((line) => `  ${line}\n`);
    return bare.replace(/^exchange:\n/m, `exchange:\n${account.join('')}`);
  }

  it('is valid once the ids are filled in', async () => {
    expect(ids).not.toMatch(/^[^#]*<[^>]*>/m);
    expect(await faultsOf(ids)).toBe('');
  });

  it('asks for the ids that are not filled in', async () => {
    const faults = await faultsOf(sample);
    for (const path of ['senders.mailbox', 'exchange.tenantId', 'exchange.clientId']) {
      expect(faults).toContain(`${path}: still holds the placeholder`);
    }
    expect(faults.split('\n')).toHaveLength(3);
  });

  it('has every setting there is, and no other', () => {
    const keys = keysOf(rootOf(uncommented(uncommented(sample)))).filter((key) => !isRepeated(key, whole));
    expect([...new Set(keys)].toSorted()).toEqual([...paths].toSorted());
  });

  it('stays valid whatever is commented in', async () => {
    const all = units();
    expect(all.length).toBeGreaterThan(20);
    const results: string[] = [];
    for (const block of all) {
      // The other credential goes, with the ids that it belongs to; who asks for logins needs users, and a POP3 door mail.
      const [, key = ''] = /^ *#(\w+):/.exec(block) ?? [];
      const base = withoutOther(key, ids);
      const needsUsers = /auth: (required|optional)|- user: /.test(block);
      const isDoor = (unit: string): boolean => /^#(?:pickup|pop3):/.test(unit);
      const companions = all.filter(
        (other) => other === block || (needsUsers && other.startsWith('#users:')) || (isDoor(block) && isDoor(other)),
      );
      const text = companions.reduce((so, unit) => so.replace(unit, () => uncommented(unit)), base);
      expect(text).not.toBe(base);
      results.push(...(await faultsOf(text)).split('\n').filter((fault) => fault !== ''));
    }
    expect(results).toEqual([]);
  });

  it('stays valid with everything commented in', async () => {
    const others = [...OTHER_CREDENTIALS, 'managedIdentity', ...OF_ACCOUNT].join('|');
    const one = uncommented(ids.replace(new RegExp(`^ *#(${others}):.*\\n( *# {2}.*\\n)*`, 'gm'), ''));
    expect(one).toContain('passwordHash:');
    expect(await faultsOf(one)).toBe('');
  });

  it('shows the defaults that hold', () => {
    const [first] = sample.split('#- name: submission');
    const text = `${first}${sample.slice(sample.indexOf('# Who may log in'))}`;
    const shown = valuesOf(rootOf(uncommented(uncommented(text))));
    const defaults = documentedSettings().filter(
      ({ fallback, shape }) => fallback !== undefined && shape.kind !== 'section',
    );
    // Of these, there are examples only.
    const examples = /^(users|clients|routes|pickup|senders\.rules|alarms\.to)\b/;
    const compared = defaults.filter(({ path }) => shown.has(path) && !examples.test(path));
    expect(compared.length).toBeGreaterThan(45);
    for (const { path, fallback } of compared) expect([path, shown.get(path)]).toEqual([path, String(fallback)]);
    const missing = defaults.filter(
      ({ path }) => !shown.has(path) && !/^listeners\b/.test(path) && !examples.test(path),
    );
    expect(missing).toEqual([]);
  });
});

function valuesOf(tree: Tree, path = '', values = new Map<string, string>()): Map<string, string> {
  if (tree.kind === 'map') {
    for (const { key, value } of tree.entries) valuesOf(value, path === '' ? key : `${path}.${key}`, values);
  }
  if (tree.kind === 'list') {
    values.set(path, tree.items.map((item) => (item.kind === 'text' ? item.text : '')).join(','));
    for (const item of tree.items) valuesOf(item, `${path}[]`, values);
  }
  if (tree.kind === 'text') values.set(path, tree.text);
  return values;
}

describe('config.schema.json', () => {
  it('is what the settings say', async () => {
    const json = `${JSON.stringify(jsonSchema(), null, 2)}\n`;
    await expect(json).toMatchFileSnapshot(join(root, 'config.schema.json'));
  });

  it('lets ${NAME} stand for any value', () => {
    const port = { type: 'integer', minimum: 0, maximum: 65_535 };
    const reference = { type: 'string', pattern: '\\$\\{' };
    expect(jsonSchema()).toHaveProperty('properties.console.properties.port.anyOf', [port, reference]);
    expect(jsonSchema()).toHaveProperty('properties.console.properties.port.default', 8025);
  });
});

const MARKER = '<!-- From here on written by `npx vitest run test/config -u` from src/config/settings.ts -->\n';

describe('docs/configuration.md', () => {
  const file = join(root, 'docs/configuration.md');

  const [written, generated = ''] = readFileSync(file, 'utf8').split(MARKER);

  it('has every setting there is, and no other', () => {
    const documented = [...generated.matchAll(/^(?:\| `([\w.[\]]+)` \||### (\w\S*?)(?:\[\])?$)/gm)];
    const names = documented.map(([, value, group]) => value ?? group);
    expect(names.toSorted()).toEqual([...paths].toSorted());
  });

  it('leaves out what routes have of exchange, and that is all of it', () => {
    const below = (name: string): string[] =>
      [...whole].flatMap((path) => (path.startsWith(name) ? [path.slice(name.length)] : []));
    expect(below('routes[].').toSorted()).toEqual(['name', ...below('exchange.')].toSorted());
  });

  it('describes the settings as the program does', async () => {
    await expect(`${written}${MARKER}\n${renderReference()}`).toMatchFileSnapshot(file);
  });
});
