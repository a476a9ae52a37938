/** A spool as the command line names it: which store it is, and how the configuration would name it, without a secret. */
import { resolve } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadSpool, loadStore } from '../../src/config/load.ts';
import type { PlacedStore, StorePlace } from '../../src/config/store-place.ts';
import type { Value } from '../../src/config/value.ts';
import type { Folder } from '../gateway/process.ts';
import { folder } from '../gateway/process.ts';

const URL = 'postgresql://mail:geheim@db1,db2:5433/mail?sslmode=verify-full&sslrootcert=tls/ca.pem';

let place: Folder;
beforeEach(() => {
  place = folder();
});
afterEach(() => place.remove());

async function placed(where: StorePlace, spool = 'sqlite: data/spool.db'): Promise<Value<PlacedStore>> {
  const file = place.write(
    'config.yaml',
    `listeners: [{ name: lan }]\nsenders: { mailbox: a@contoso.com }\nspool: { ${spool} }\n`,
  );
  const environment = { DATABASE_URL: URL, PASSWORD: 'geheim', FILE: 'x.db', EMPTY: '' };
  const settings = await loadSpool(file, environment);
  if ('faults' in settings) throw new Error(JSON.stringify(settings.faults));
  return loadStore(where, file, settings, environment);
}

async function sound(where: StorePlace, spool?: string): Promise<PlacedStore> {
  const result = await placed(where, spool);
  if (!result.ok) throw new Error(result.problem);
  return result.value;
}

it('is a file, from where the command is called; the configuration names it from its own folder', async () => {
  expect(await sound({ at: 'x/spool.db' })).toEqual({
    store: { kind: 'sqlite', path: resolve('x/spool.db') },
    setting: `sqlite: ${resolve('x/spool.db')}`,
  });
  expect((await sound({ at: `${place.path}/x y/spool.db` })).setting).toBe('sqlite: x y/spool.db');
  expect((await sound({ at: `${place.path}/ü: #/spool.db` })).setting).toBe('sqlite: "ü: #/spool.db"');
});

it.each([
  [{ at: 'env:DATABASE_URL' }, 'postgres: ${DATABASE_URL}'],
  [{ at: '${DATABASE_URL}' }, 'postgres: ${DATABASE_URL}'],
  [{ at: URL }, 'postgres: the URL that you gave'],
  [{ at: URL.replace('geheim', '${PASSWORD}') }, 'postgres: the URL that you gave'],
])('is a database: %j', async (where, setting) => {
  const found = await sound(where);
  expect(found.setting).toBe(setting);
  expect(found.store).toMatchObject({ kind: 'postgres', connections: 10, lease: 30_000 });
  const url = found.store.kind === 'postgres' ? found.store.url.reveal() : '';
  expect(url).toContain(`sslrootcert=${encodeURIComponent(`${place.path}/tls/ca.pem`)}`);
  expect(JSON.stringify(found)).not.toContain('geheim');
});

it('is a database by the URL in a file, with what the configuration says of databases', async () => {
  const file = place.write('url', `${URL}\n`);
  const found = await sound({ urlFile: file }, 'postgres: "${DATABASE_URL}", lease: 5s, connections: 3');
  expect(found).toMatchObject({
    setting: 'postgresFile: url',
    store: { kind: 'postgres', connections: 3, lease: 5_000 },
  });
  expect((await sound({ at: 'x.db' }, 'postgres: "${DATABASE_URL}"')).store.kind).toBe('sqlite');
});

it.each([
  [{ at: 'env:NOT_THERE' }, 'the environment variable NOT_THERE is not set'],
  [{ at: 'env:EMPTY' }, 'the environment variable EMPTY is empty'],
  [{ at: 'env:FILE' }, 'holds neither the URL of a database nor the name of a file'],
  [{ at: 'env:PASSWORD' }, 'holds neither the URL of a database nor the name of a file'],
  [{ at: '' }, 'holds neither the URL of a database nor the name of a file'],
  [{ at: 'mysql://mail:geheim@db/mail' }, 'must be a URL that begins with postgresql://'],
  [{ at: 'postgresql://mail:geheim@db/mail?gibts=1' }, 'has the parameter gibts, which is not known here'],
  [{ urlFile: 'nothing' }, 'there is no such file'],
])('is refused without a word of what may be a secret: %j', async (where, problem) => {
  const result = await placed(where);
  expect(result).toMatchObject({ ok: false, problem });
  expect(JSON.stringify(result)).not.toContain('geheim');
});
