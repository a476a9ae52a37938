/** Bodies whose item was to end in a transaction that did not come to pass. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/spool/opening.ts';
import { Store } from '../../src/spool/store.ts';
import { entry, failed, T0 } from './contract.ts';

/** Octets: a body that is removed in slices, after the transaction that ends its item. */
const LARGE = 3 * 1024 * 1024;
const CHUNK = 256 * 1024;

let folder: string;
let opened: ReturnType<typeof openDatabase>;
let store: Store;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-bodies-'));
  opened = openDatabase(join(folder, 'spool.db'));
  store = new Store(opened.db, { first: [], verifyAfter: 0 });
  for (let number = 0; number * CHUNK < LARGE; number++)
    store.obey({ do: 'write', message: 'm1', chunk: { number, octets: new Uint8Array(CHUNK) } });
  store.obey({ do: 'commit', message: 'm1', size: LARGE, items: [entry()], now: T0 });
});
afterEach(() => {
  opened.db.close();
  opened.lock.close();
  rmSync(folder, { recursive: true, force: true });
});

const chunks = (): number => Number(opened.db.prepare('SELECT count(*) AS n FROM chunk').get()?.['n']);
const tidy = (): void => {
  while (store.tidy());
};
const drop = (): unknown => store.obey({ do: 'drop', id: 'm1', detail: 'no longer wanted', now: T0 });

describe('a large body', () => {
  it('is removed once its item has ended', () => {
    expect(drop()).toBe('done');
    tidy();
    expect(chunks()).toBe(0);
    expect(opened.db.prepare('SELECT count(*) AS n FROM message').get()?.['n']).toBe(0);
  });

  it('stays whole when the end of its item could not be written', () => {
    opened.db.exec('BEGIN IMMEDIATE');
    drop();
    opened.db.exec('ROLLBACK');
    tidy();
    expect(store.obey({ do: 'get', id: 'm1' })).toMatchObject({ state: 'queued' });
    expect(chunks()).toBe(LARGE / CHUNK);
    // And it is removed all the same when its time has come.
    drop();
    tidy();
    expect(chunks()).toBe(0);
  });

  it('stays whole when its sender could not be told for want of room', () => {
    store.obey({ do: 'claim', lane: 'exchange\na@contoso.com', now: T0, limit: 1, leaseUntil: T0 });
    opened.db.exec('BEGIN IMMEDIATE; SAVEPOINT one');
    const told = { id: 'm1', what: 'bounced', status: failed } as const;
    store.obey({ do: 'commit', message: 'b1', size: 10, items: [entry()], told, now: T0 });
    opened.db.exec('ROLLBACK TO one; RELEASE one; COMMIT');
    tidy();
    expect(chunks()).toBe(LARGE / CHUNK);
  });
});
