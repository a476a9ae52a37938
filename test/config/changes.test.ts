/** What differs between two configurations, how each setting is applied, and that docs/reload.md says the same. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Applied } from '../../src/config/changes.ts';
import { APPLIED, appliedHow, appliedNow, changesBetween, isSame } from '../../src/config/changes.ts';
import type { Config } from '../../src/config/load.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Secret } from '../../src/config/secret.ts';
import { makePems, MARK, place } from './place.ts';
import { everySetting } from './reference.ts';

const here = place();
const NAMES = Object.fromEntries(['SECRET', 'OTHER'].map((name) => [name, `${MARK}-${name}`]));

const TEXT = `
hostname: gateway.test
listeners:
  - { name: lan, address: 127.0.0.1, port: 2525, tls: none }
  - { name: tls, address: 127.0.0.1, port: 2526, tls: implicit, certificate: { certFile: cert.pem, keyFile: key.pem } }
users:
  - { name: pbx, passwordHash: '$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g' }
senders: { mailbox: relay@contoso.com, rules: [{ from: 'a@contoso.com', mailbox: a@contoso.com }] }
exchange:
  tenantId: contoso.com
  clientId: 11111111-2222-3333-4444-555555555555
  clientSecret: \${SECRET}
routes:
  - name: other
    tenantId: fabrikam.com
    clientId: 11111111-2222-3333-4444-555555555555
    clientSecretFile: secret
pickup:
  - { name: fax, mailbox: fax@contoso.com, deliver: { folder: { path: out } } }
retry: { intervals: [1m, 5m] }
alarms: { to: [{ name: chat, webhook: https://hooks.example/a }] }
`;

async function load(change: (text: string) => string = (text) => text): Promise<Config> {
  const loaded = await loadConfig(here.write('config.yaml', change(TEXT)), NAMES, 'machine.test');
  if ('faults' in loaded) throw new Error(JSON.stringify(loaded.faults));
  return loaded.config;
}

const pems = makePems();

async function files(): Promise<void> {
  const { cert, key } = await pems;
  here.write('cert.pem', cert);
  here.write('key.pem', key);
  here.write('secret', `${MARK}-in-a-file`);
}

const CHANGES: readonly (readonly [string, string, string, readonly string[], Applied])[] = [
  ['a value', '1m, 5m', '1m', ['retry.intervals'], 'live'],
  ['the host name', 'hostname: gateway.test', 'hostname: other.test', ['hostname'], 'restart'],
  ['a port', 'port: 2525', 'port: 2527', ['listeners[lan].port'], 'replaced'],
  ['who may connect', 'port: 2525', 'port: 2525, allow: [127.0.0.1/32]', ['listeners[lan].allow'], 'live'],
  ['a listener less', /^ {2}- \{ name: lan.*\n/m.source, '', ['listeners[lan]'], 'replaced'],
  ['a user less', /^users:\n.*\n/m.source, '', ['users[pbx]'], 'live'],
  ['a rule', 'mailbox: a@contoso.com', 'mailbox: b@contoso.com', ['senders.rules'], 'live'],
  ['a secret', String.raw`\$\{SECRET\}`, '${OTHER}', ['exchange.clientSecret'], 'replaced'],
  ['an account', 'fabrikam.com', 'fabrikam.org', ['routes[other].tenantId', 'routes[other].authority'], 'replaced'],
  ['a pickup', 'name: fax,', 'name: fax, interval: 5m,', ['pickup[fax].interval'], 'replaced'],
  ['a pickup by another name', 'name: fax,', 'name: fox,', ['pickup[fax]', 'pickup[fox]'], 'replaced'],
  ['a channel', 'hooks.example/a', 'hooks.example/b', ['alarms.to[chat].webhook'], 'live'],
  ['another file of the spool', 'retry:', 'spool: { sqlite: other.db }\nretry:', ['spool.sqlite'], 'restart'],
  [
    'a database',
    'retry:',
    `spool: { postgres: 'postgresql://u:${MARK}@db/m' }\nretry:`,
    ['spool.sqlite', 'spool.folder', 'spool.connections', 'spool.lease', 'spool.postgres'],
    'restart',
  ],
  ['a section that was not there', 'retry:', 'console: { port: 1 }\nretry:', ['console.port'], 'restart'],
];

describe('the changes', () => {
  it.each(CHANGES)('%s', async (_, from, to, paths, applied) => {
    await files();
    const before = await load();
    const after = await load((text) => text.replace(new RegExp(from, 'm'), to));
    const { changed, needsRestart } = changesBetween(before, after);
    expect(changed).toEqual(paths);
    expect(new Set(changed.map(appliedHow))).toEqual(new Set([applied]));
    expect(needsRestart).toEqual(applied === 'restart' ? paths : []);
    expect(JSON.stringify(changed)).not.toContain(MARK);
    // What stays as it was is a change again the next time, and nothing else is.
    expect(changesBetween(appliedNow(before, after), after)).toEqual({ changed: needsRestart, needsRestart });
  });

  it('are none where nothing has changed, where lists stand in another order, and where only files have', async () => {
    await files();
    const before = await load();
    expect(changesBetween(before, await load()).changed).toEqual([]);
    const turned = (text: string): string => text.replace(/( {2}- \{ name: lan.*\n)( {2}- .*\n)/, '$2$1');
    expect(changesBetween(before, await load(turned)).changed).toEqual([]);
    const { key } = await pems;
    here.write('key.pem', `${key}\n`);
    here.write('secret', `${MARK}-another`);
    const after = await load();
    expect(changesBetween(before, after).changed).toEqual([]);
    const secretOf = ({ routes: [, other] }: Config): string | undefined =>
      other?.exchange.credential.kind === 'secret' ? other.exchange.credential.secret.reveal() : undefined;
    expect([secretOf(before), secretOf(after)]).toEqual([`${MARK}-in-a-file`, `${MARK}-another`]);
  });
});

describe('two values are the same', () => {
  it.each([
    [1, 1, true],
    [1, '1', false],
    [Infinity, Infinity, true],
    [undefined, null, false],
    [{ a: undefined }, {}, true],
    [[1, 2], [1, 2], true],
    [[1, 2], [2, 1], false],
    [[], {}, false],
    [new Secret('a'), new Secret('a'), true],
    [new Secret('a'), new Secret('b'), false],
    [new Secret('a'), 'a', false],
    [{ s: new Secret('a') }, { s: new Secret('b') }, false],
    [{ file: '/a', secret: new Secret('a') }, { file: '/a', secret: new Secret('b') }, true],
    [{ file: '/a', secret: new Secret('a') }, { file: '/b', secret: new Secret('a') }, false],
  ])('%o, %o: %s', (one, other, same) => {
    expect(isSame(one, other)).toBe(same);
    expect(isSame(other, one)).toBe(same);
  });
});

describe('every setting', () => {
  const paths = everySetting().map(({ path }) => path);
  const leaves = paths.filter((path) => !paths.some((one) => one.startsWith(`${path}.`) || one.startsWith(`${path}[`)));

  it('is in one of the classes', () => {
    expect(leaves.length).toBeGreaterThan(100);
    expect(leaves.filter((path) => appliedHow(path) === undefined)).toEqual([]);
  });

  it('of a class is one there is', () => {
    const known = new Set(paths.map((path) => path.replaceAll('[]', '')));
    expect(Object.keys(APPLIED).filter((path) => !known.has(path))).toEqual([]);
  });

  it('is in docs/reload.md as it is here', () => {
    const text = readFileSync(join(import.meta.dirname, '../../docs/reload.md'), 'utf8');
    const rows = [...text.matchAll(/^\| (`.*`) \| (live|replaced|restart) \|/gm)].flatMap(([, names = '', how = '']) =>
      [...names.matchAll(/`([^`]+)`/g)].map(([, name = '']) => [name, how] as const),
    );
    expect(Object.fromEntries(rows)).toEqual(APPLIED);
    expect(rows).toHaveLength(Object.keys(APPLIED).length);
  });
});
