/** What a command reads of a configuration that works on the spool alone: without the secrets of the gateway. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadSpool } from '../../src/config/load.ts';

let place: string;
beforeEach(() => (place = mkdtempSync(join(tmpdir(), 's2x-'))));
afterEach(() => rmSync(place, { recursive: true, force: true }));

async function load(text: string, environment = {}) {
  const file = join(place, 'config.yaml');
  writeFileSync(file, text);
  return loadSpool(file, environment);
}

const file = (path: string) => ({
  store: { kind: 'sqlite', path: join(place, path) },
  folder: dirname(join(place, path)),
});

const NEEDED = `
listeners: [{ name: lan, address: 127.0.0.1, port: 2525, tls: none }]
senders: { mailbox: a@contoso.com }
`;
const SECRETS = `
exchange:
  tenantId: \${TENANT}
  clientId: \${CLIENT}
  clientSecretFile: /nowhere/secret
  caFile: /nowhere/ca.pem
`;

describe('the spool of a configuration', () => {
  it('is found though secrets and files of the gateway cannot be read', async () => {
    expect(
      await load(`${NEEDED}${SECRETS}spool: { sqlite: mail/spool.db, minFree: 1MB }\nretry: { verifyAfter: 5s }\n`),
    ).toMatchObject({
      spool: { ...file('mail/spool.db'), minFree: 1_000_000 },
      verifyAfter: 5_000,
      first: [],
    });
  });

  it('is told with the names of the ways out, as far as they can be read', async () => {
    expect(await load(NEEDED + SECRETS)).toMatchObject({ routes: ['exchange'] });
    const routes =
      'routes: [{ name: one, clientSecret: "${SECRET}" }, { name: a b }, { clientSecret: x }, { name: two }]';
    expect(await load(`${NEEDED}${SECRETS}${routes}\n`)).toMatchObject({ routes: ['exchange', 'one', 'two'] });
  });

  it('is where the gateway puts it by itself', async () => {
    expect(await load(NEEDED + SECRETS)).toMatchObject({ spool: file('data/spool.db') });
  });

  it.each([
    ['a variable that is not set', 'spool: { sqlite: "${DATA}/spool.db" }', 'spool.sqlite'],
    ['a key that is not known', 'spool: { sqlight: x }', 'spool.sqlight'],
    ['a section that is misspelt', 'spol: { sqlite: x }', 'spol'],
    ['a duration that is none', 'retry: { verifyAfter: soon }', 'retry.verifyAfter'],
  ])('is not guessed with %s', async (_, text, path) => {
    expect(await load(`${NEEDED}${SECRETS}${text}\n`)).toMatchObject({ faults: [{ path }] });
  });

  it.each([
    ['nothing', ''],
    ['no YAML', 'spool: { sqlite: '],
    ['no settings', '- spool'],
  ])('is not guessed from a file with %s', async (_, text) => {
    const loaded = await load(text);
    expect('faults' in loaded && loaded.faults.length).toBeGreaterThan(0);
  });

  it.each([
    ['with what a variable holds', 'postgres: "${DATABASE_URL}"', 'spool.postgres'],
    ['with what a file holds', 'postgresFile: nowhere', 'spool.postgresFile'],
    ['as it is written', 'postgres: "postgresql://u@db/m?sslmod=x"', 'spool.postgres'],
  ])('is a database that cannot be read %s, which the gateway can still be asked for', async (_, text, path) => {
    expect(await load(`${NEEDED}${SECRETS}spool: { ${text}, folder: own }\n`)).toMatchObject({
      spool: { folder: join(place, 'own'), store: { kind: 'unread', faults: [{ path }] } },
    });
  });

  it('is a database by its URL, or by what a file holds', async () => {
    const url = 'postgresql://u:hunter2@db/m';
    const from = await load(`${NEEDED}${SECRETS}spool: { postgres: "\${DATABASE_URL}" }\n`, { DATABASE_URL: url });
    writeFileSync(join(place, 'url'), `${url}\n`);
    const read = await load(`${NEEDED}${SECRETS}spool: { postgresFile: url }\n`);
    for (const loaded of [from, read]) {
      if ('faults' in loaded || loaded.spool.store.kind !== 'postgres') throw new Error('no database');
      expect(loaded.spool).toMatchObject({ folder: join(place, 'data'), store: { connections: 10, lease: 30_000 } });
      expect(loaded.spool.store.url.reveal()).toMatch(/^postgresql:\/\/u:hunter2@db:5432\/m\?/);
      expect(JSON.stringify(loaded)).not.toContain('hunter2');
    }
  });

  it.each([
    ['a file and a database', 'sqlite: x, postgres: "postgresql://u@db/m"', 'spool.postgres'],
    ['two databases', 'postgres: "postgresql://u@db/m", postgresFile: x', 'spool.postgresFile'],
    ['connections to a file', 'connections: 3', 'spool.connections'],
  ])('is not guessed from %s', async (_, text, path) => {
    expect(await load(`${NEEDED}${SECRETS}spool: { ${text} }\n`)).toMatchObject({ faults: [{ path }] });
  });

  it('is not guessed from a file that is not there', async () => {
    expect(await loadSpool(join(place, 'nothing.yaml'), {})).toMatchObject({ faults: [{ line: 0 }] });
  });
});
