/** The SQLite engine: the contract, and what is its own: group commit, bounds, its lock, damage, a full disk. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Event } from '../../src/mail/event.ts';
import type { MovableSpool, OperatedSpool, Spool } from '../../src/mail/spool.ts';
import { MIGRATIONS, SCHEMA } from '../../src/spool/schema.ts';
import type { SqliteOptions } from '../../src/spool/sqlite.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';
import { delayed, entry, failed, get, put, relayed, spoolContract, T0, unknown } from './contract.ts';

const { threads } = vi.hoisted(() => ({ threads: [] as import('node:worker_threads').Worker[] }));
vi.mock('node:worker_threads', async (importOriginal) => {
  const original = await importOriginal<typeof import('node:worker_threads')>();
  return {
    ...original,
    Worker: class extends original.Worker {
      constructor(...parameters: ConstructorParameters<typeof original.Worker>) {
        super(...parameters);
        threads.push(this);
      }
    },
  };
});

let folder: string;
let path: string;
let events: Event[];
let opened: Spool[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-spool-'));
  path = join(folder, 'data/spool.db');
  events = [];
  opened = [];
});
afterEach(async () => {
  for (const spool of opened) await spool.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(more: Partial<SqliteOptions> = {}): Promise<OperatedSpool> {
  const spool = await openSqliteSpool({ path, report: (event) => events.push(event), ...more });
  opened.push(spool);
  return spool;
}

spoolContract('SQLite', () => {
  const place = mkdtempSync(join(tmpdir(), 'smtp2exchange-contract-'));
  let now = T0;
  let number = 0;
  let current = join(place, 'spool.db');
  let spool: Spool | undefined;
  const start = async (): Promise<MovableSpool> => {
    const first = ['small', 'important'] as const;
    const started = await openSqliteSpool({ path: current, report: () => undefined, now: () => now, first });
    spool = started;
    return started;
  };
  return {
    setTime: (time) => {
      now = time;
    },
    open: start,
    reopen: start,
    // What is on the disk at this moment is what a crash would leave: a copy of it is the next spool.
    async crash() {
      const next = join(place, `spool-${++number}.db`);
      for (const suffix of ['', '-wal']) {
        try {
          writeFileSync(`${next}${suffix}`, readFileSync(`${current}${suffix}`));
        } catch (error) {
          if (suffix === '') throw error;
        }
      }
      await spool?.close();
      current = next;
    },
    async remove() {
      rmSync(place, { recursive: true, force: true });
    },
  };
});

describe('group commit', () => {
  it('syncs once for many that wait, and at once for one', async () => {
    const spool = await open();
    const database = new DatabaseSync(path, { readOnly: true });
    // data_version tells how many commits other connections have made between two looks.
    const before = statSync(`${path}-wal`).size;
    await put(spool, 'one');
    const single = statSync(`${path}-wal`).size - before;
    await Promise.all(Array.from({ length: 100 }, (_, n) => put(spool, `${n}`)));
    const hundred = statSync(`${path}-wal`).size - before - single;
    database.close();
    // Each commit writes each page that it touched to the log: together they touch far fewer than one by one.
    expect(hundred).toBeLessThan(single * 25);
  });
});

describe('bounds', () => {
  it('holds a writer back that is faster than the disk', async () => {
    const spool = await open({ chunkSize: 65_536 });
    const draft = spool.begin();
    let written = 0;
    const piece = Buffer.alloc(65_536);
    const writing = (async () => {
      for (let n = 0; n < 200; n++) {
        await draft.write(piece);
        written++;
      }
    })();
    // Without leaving this turn of the event loop no reply of the worker can arrive, so only the bound can be used up.
    for (let n = 0; n < 1_000; n++) await Promise.resolve();
    expect(written).toBeLessThan(4);
    await writing;
    await draft.commit([entry()]);
    expect((await get(spool, draft.id)).length).toBe(200 * 65_536);
  });

  it('has no room when too many wait or too little is free, and again when that has changed', async () => {
    const spool = await open({ maxItems: 2 });
    expect(spool.room()).toEqual({ ok: true });
    const [item] = await put(spool);
    await put(spool);
    expect(spool.room()).toMatchObject({ ok: false, reason: expect.stringContaining('maxItems') });
    await spool.claim(
      { route: 'exchange', mailbox: 'a@contoso.com' },
      { now: Date.now(), limit: 1, leaseUntil: Date.now() },
    );
    await spool.finish(item?.id ?? '', relayed);
    expect(spool.room()).toEqual({ ok: true });
    await spool.close();
    const tight = await open({ minFree: 2 ** 60 });
    expect(tight.room()).toMatchObject({ ok: false, reason: expect.stringContaining('minFree') });
  });

  it('takes no octets of a message let in before, so that what is needed to deliver stays free', async () => {
    const { bavail, bsize } = statfsSync(folder);
    const spool = await open({ minFree: bavail * bsize * 4, chunkSize: 1_000 });
    await expect(put(spool, 'x')).rejects.toMatchObject({ name: 'SpoolError', trouble: 'full' });
    const draft = spool.begin();
    await draft.write(Buffer.alloc(5_000)).catch(() => undefined);
    await expect(draft.commit([entry()])).rejects.toMatchObject({ trouble: 'full' });
    await draft.abort();
    expect(await spool.lanes()).toEqual([]);
    expect(events.some((event) => event.event === 'spool.trouble')).toBe(false);
  });

  it('counts the size that the client declared', async () => {
    const spool = await open({ minFree: 1 });
    expect(spool.room(1_000)).toEqual({ ok: true });
    expect(spool.room(2 ** 60)).toMatchObject({ ok: false });
  });
});

describe('opening', () => {
  it('makes its folder, for its owner only', async () => {
    await open();
    expect(statSync(join(folder, 'data')).mode & 0o777).toBe(0o700);
    expect(events).toMatchObject([{ event: 'spool.open', where: path, queued: 0, recovered: 0, swept: 0 }]);
  });

  it('is refused while another has it', async () => {
    await open();
    await expect(open()).rejects.toMatchObject({
      name: 'SpoolError',
      trouble: 'locked',
      message: expect.stringContaining(path),
    });
  });

  it('is refused under another name of the same file', async () => {
    await open();
    const other = join(folder, 'other.db');
    symlinkSync(path, other);
    await expect(open({ path: other })).rejects.toMatchObject({ trouble: 'locked' });
  });

  it('is refused when the folder cannot be made', async () => {
    writeFileSync(join(folder, 'data'), '');
    await expect(open()).rejects.toMatchObject({
      trouble: 'readOnly',
      message: expect.stringContaining(join(folder, 'data')),
    });
  });

  it('is refused when the file is no database, and leaves it alone', async () => {
    await (await open()).close();
    writeFileSync(path, 'no database');
    await expect(open()).rejects.toMatchObject({ trouble: 'damaged', message: expect.stringContaining(path) });
    expect(readFileSync(path, 'utf8')).toBe('no database');
  });

  it('is refused when a page was overwritten', async () => {
    const spool = await open();
    for (let n = 0; n < 50; n++) await put(spool, Buffer.alloc(20_000, n));
    await spool.close();
    const file = openSync(path, 'r+');
    for (let page = 2; page < 8; page++) writeSync(file, Buffer.alloc(4_096, 0xff), 0, 4_096, page * 8_192);
    closeSync(file);
    await expect(open()).rejects.toMatchObject({ trouble: 'damaged', message: expect.stringContaining(path) });
  });

  it('is refused when a newer version wrote it', async () => {
    await (await open()).close();
    const database = new DatabaseSync(path);
    database.exec('PRAGMA user_version = 99');
    database.close();
    await expect(open()).rejects.toMatchObject({ trouble: 'newer' });
  });

  const older = (sql: string): void => {
    mkdirSync(join(folder, 'data'));
    const database = new DatabaseSync(path);
    database.exec(readFileSync(join(import.meta.dirname, 'version-2.sql'), 'utf8'));
    database.exec(sql);
    database.close();
  };
  const row = (id: string, state: string, at: number): string =>
    `INSERT INTO message VALUES ('${id}', 1, 1); INSERT INTO chunk VALUES ('${id}', 0, x'41');
     INSERT INTO item VALUES ('${id}', '${id}', 'exchange' || char(10) || 'a@contoso.com', '${state}', ${at}, ${at}, 1, 0, NULL, NULL, NULL, 1, 1, '<m>', '{"reversePath":"","recipients":[]}', '{}', NULL);`;

  it('is brought up from version 1', async () => {
    older(`DELETE FROM tally WHERE what = 'bounced'; PRAGMA user_version = 1`);
    const spool = await open();
    await put(spool);
    const [item] = await spool.claim(entry(), { now: Date.now(), limit: 1, leaseUntil: Date.now() });
    const told = { id: item?.id ?? '', what: 'bounced', status: failed } as const;
    expect(await spool.begin().commitTelling([entry()], told)).toHaveLength(1);
    expect((await spool.stats()).items.bounced).toBe(1);
    await spool.close();
    await (await open()).close();
  });

  it('is brought up from version 2: what waits keeps its turn, what is parked keeps its age', async () => {
    older(`${row('1', 'queued', T0)} ${row('2', 'parked', T0)} ${row('3', 'parked', T0)}
      INSERT INTO history VALUES ('2', ${T0 + 5_000}, 'parked', NULL, NULL); PRAGMA user_version = 2`);
    const spool = await open({ first: ['small'] });
    const [small] = await put(spool, 'x');
    const claimed = await spool.claim(entry(), { now: Date.now(), limit: 9, leaseUntil: Date.now() });
    expect(claimed.map(({ id }) => id)).toEqual([small?.id, '1']);
    expect((await get(spool, '1')).toString()).toBe('A');
    const dropped = await spool.dropParked({ before: T0 + 9_000, size: Infinity });
    expect(dropped.map(({ item, parkedAt }) => [item.id, parkedAt])).toEqual([
      ['3', T0],
      ['2', T0 + 5_000],
    ]);
    await spool.close();
    const shape = (file: string): unknown => {
      const database = new DatabaseSync(file);
      const all = [
        database.prepare('PRAGMA user_version').get(),
        database.prepare('SELECT name FROM pragma_table_info(?)').all('item'),
        database.prepare(`SELECT sql FROM sqlite_schema WHERE name IN ('receipt', 'cursor') ORDER BY name`).all(),
        database.prepare(`SELECT name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name`).all(),
      ];
      database.close();
      return all;
    };
    const fresh = join(folder, 'fresh.db');
    await (await open({ path: fresh })).close();
    expect(shape(path)).toEqual(shape(fresh));
  });

  it('is brought up from version 3: a notice that was under way tells of nothing that waits, and is parked itself', async () => {
    older(`${MIGRATIONS[2]} PRAGMA user_version = 3;
      ${row('2', 'queued', T0).replace(`'{}', NULL)`, `'{"source":"gateway"}', NULL, 0, NULL)`)}
      INSERT INTO item SELECT '1', '1', lane, 'bounced', due, arrived, 1, 0, NULL, NULL, ${T0}, 1, 1, '<m>', envelope, '{}', NULL, 0, NULL FROM item WHERE id = '2'`);
    const spool = await open();
    expect(await spool.get('1')).not.toHaveProperty('untold');
    const [notice] = await spool.claim(entry(), { now: Date.now(), limit: 1, leaseUntil: Date.now() });
    expect(notice).not.toHaveProperty('tells');
    expect(await spool.park('2', failed)).toBeUndefined();
    expect((await spool.stats()).items).toMatchObject({ parked: 1, bounced: 1, dropped: 0 });
    expect(events.filter(({ event }) => event === 'item.parked')).toEqual([]);
  });

  it('is brought up from version 4: what waits is there, and nothing was taken from anywhere', async () => {
    older(`${MIGRATIONS[2]} ${MIGRATIONS[3]} PRAGMA user_version = 4;
      ${row('1', 'queued', T0).replace(`'{}', NULL)`, `'{}', NULL, 0, NULL, NULL)`)}`);
    const spool = await open();
    expect((await get(spool, '1')).toString()).toBe('A');
    const receipt = { source: 'fax@contoso.com/inbox', key: 'k' };
    expect([...(await spool.received(receipt.source, ['k']))]).toEqual([]);
    expect(await spool.begin().commitOnce([entry()], receipt)).toHaveLength(1);
    await spool.keepCursor(receipt.source, 'state');
    await spool.close();
    const again = await open();
    expect([...(await again.received(receipt.source, ['k']))]).toEqual(['k']);
    expect(await again.cursor(receipt.source)).toBe('state');
  });

  it('counts what a crash left', async () => {
    const script = `
      import { openSqliteSpool } from ${JSON.stringify(resolve('src/spool/sqlite.ts'))};
      const spool = await openSqliteSpool({ path: ${JSON.stringify(path)}, report: () => {} });
      const item = { route: 'exchange', mailbox: 'a@contoso.com', envelope: { reversePath: '', recipients: [] }, origin: { source: 'smtp', name: 'x', peer: 'y' }, messageId: '<x>', headerSize: 1 };
      for (let n = 0; n < 3; n++) {
        const draft = spool.begin();
        await draft.write(Buffer.alloc(1_000_000, n));
        await draft.commit([item]);
      }
      await spool.claim(item, { now: Date.now(), limit: 2, leaseUntil: Date.now() });
      const draft = spool.begin();
      await draft.write(Buffer.alloc(2_000_000));
      await spool.stats();
      console.log('ready');
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'close');
    const spool = await open();
    expect(events.at(-1)).toMatchObject({ event: 'spool.open', queued: 3, recovered: 2, swept: 1 });
    expect((await spool.stats()).bytes).toBe(3_000_000);
  });
});

it('gives the memory of a chunk back when the next one is asked for, and when the reader leaves', async () => {
  const spool = await open();
  const [item] = await put(spool, 'x'.repeat(700_000));
  if (item === undefined) throw new Error('no item');
  const seen: Uint8Array[] = [];
  for await (const chunk of spool.open(item.message)) {
    expect(chunk.length).toBeGreaterThan(0);
    seen.push(chunk);
    if (seen.length === 2) break;
  }
  expect(seen.map((chunk) => chunk.length)).toEqual([0, 0]);
});

describe('trouble', () => {
  it('while another holds the file: told once, no room, what is there can be read, and it recovers by itself', async () => {
    const spool = await open();
    const [kept] = await put(spool, 'kept');
    const hand = new DatabaseSync(path);
    expect(spool.room()).toEqual({ ok: true });
    hand.exec('BEGIN IMMEDIATE');
    await expect(put(spool, 'x')).rejects.toMatchObject({ name: 'SpoolError', trouble: 'locked' });
    await expect(put(spool, 'x')).rejects.toMatchObject({ name: 'SpoolError' });
    expect(spool.room()).toMatchObject({ ok: false });
    expect((await get(spool, kept?.id ?? '')).toString()).toBe('kept');
    expect(events.filter((event) => event.event === 'spool.trouble').length).toBe(1);
    hand.exec('ROLLBACK');
    hand.close();
    await vi.waitFor(() => expect(spool.room()).toEqual({ ok: true }), 8_000);
    expect(events.at(-1)).toMatchObject({ event: 'spool.recovered' });
    await put(spool, 'again');
  });
});

describe('the end of trouble', () => {
  afterEach(() => void vi.useRealTimers());

  it('is told with the first word of it, and only once the figures are known', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const spool = await open();
    const thread = threads.at(-1);
    if (thread === undefined) throw new Error('no thread');
    /** The orders of this kind that are still to fail. */
    const failing = ['commit', 'stats'];
    const asked: string[] = [];
    const send = thread.postMessage.bind(thread);
    const changed = (request: { number: number; order: { do: string } }): unknown => {
      asked.push(request.order.do);
      const at = failing.indexOf(request.order.do);
      return at < 0 ? request : { number: request.number, order: { do: `${failing.splice(at, 1)[0]}?` } };
    };
    thread.postMessage = (requests: Parameters<typeof changed>[0][], transfer) => send(requests.map(changed), transfer);
    await expect(put(spool)).rejects.toMatchObject({ trouble: 'io' });
    vi.advanceTimersByTime(2_000);
    await vi.waitFor(() => expect(asked.at(-1)).toBe('stats'));
    await spool.lanes();
    expect(spool.room()).toMatchObject({ ok: false });
    expect(events.at(-1)?.event).toBe('spool.trouble');
    vi.advanceTimersByTime(2_000);
    await vi.waitFor(() => expect(spool.room()).toEqual({ ok: true }));
    expect(events.map(({ event }) => event)).toEqual(['spool.open', 'spool.trouble', 'spool.recovered']);
  });
});

describe('a disk that does not answer', () => {
  afterEach(() => void vi.useRealTimers());

  it('is trouble after half a minute, told once, and over when it answers', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const spool = await open();
    const thread = threads.at(-1);
    if (thread === undefined) throw new Error('no thread');
    const send = thread.postMessage.bind(thread);
    const stuck: Parameters<typeof send>[] = [];
    thread.postMessage = (...message: Parameters<typeof send>) => void stuck.push(message);
    const waiting = put(spool, 'slow');
    await vi.waitFor(() => expect(stuck.length).toBe(1));
    vi.advanceTimersByTime(28_000);
    expect(spool.room()).toEqual({ ok: true });
    vi.advanceTimersByTime(60_000);
    expect(spool.room()).toMatchObject({ ok: false, reason: expect.stringContaining('has not answered') });
    expect(events.map(({ event }) => event)).toEqual(['spool.open', 'spool.trouble']);

    thread.postMessage = send;
    for (const message of stuck.splice(0)) send(...message);
    expect(await waiting).toHaveLength(1);
    await vi.waitFor(() => {
      vi.advanceTimersByTime(2_000);
      expect(spool.room()).toEqual({ ok: true });
    });
    expect(events.map(({ event }) => event)).toEqual(['spool.open', 'spool.trouble', 'spool.recovered']);
  });

  it('is not what many orders in a row are', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const spool = await open();
    for (let look = 0; look < 20; look++) {
      const one = put(spool, 'x');
      vi.advanceTimersByTime(2_000);
      await one;
    }
    expect(events.map(({ event }) => event)).toEqual(['spool.open']);
  });
});

describe('trouble with a part', () => {
  it('reads what can be read while nothing can be written', async () => {
    const spool = await open();
    const [item] = await put(spool, 'kept');
    const hand = new DatabaseSync(path);
    hand.exec('BEGIN IMMEDIATE');
    // While the first waits for the lock, the others gather in one transaction.
    const first = put(spool, 'x').catch((error: unknown) => error);
    await new Promise((resume) => setTimeout(resume, 100));
    const second = put(spool, 'y').catch((error: unknown) => error);
    const [read] = await Promise.allSettled([get(spool, item?.id ?? '')]);
    expect(read).toMatchObject({ status: 'fulfilled', value: Buffer.from('kept') });
    expect([await first, await second]).toMatchObject([{ trouble: 'locked' }, { trouble: 'locked' }]);
    hand.exec('ROLLBACK');
    hand.close();
  });

  it('damage met while running is an answer, not the end of the thread', async () => {
    const spool = await open();
    const [item] = await put(spool, 'kept');
    const hand = new DatabaseSync(path);
    hand.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    const page = Number(hand.prepare(`SELECT rootpage FROM sqlite_schema WHERE name = 'tally'`).get()?.['rootpage']);
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.alloc(8_192, 0xff), 0, 8_192, (page - 1) * 8_192);
    closeSync(file);
    // A change by another connection, so that the worker reads its pages anew.
    hand.exec(`INSERT INTO history (item, at, what) VALUES ('x', 1, 'accepted')`);
    hand.close();
    expect((await spool.lanes()).length).toBe(1);
    await expect(put(spool)).rejects.toMatchObject({ name: 'SpoolError', trouble: 'damaged' });
    expect((await get(spool, item?.id ?? '')).toString()).toBe('kept');
  });
});

describe('the end of the thread', () => {
  it('is told once; nothing waits for it, nothing is let in, and what was durable is there at the next start', async () => {
    const lost: unknown[] = [];
    const spool = await open({ onLost: (error) => lost.push(error) });
    const [item] = await put(spool, 'kept');
    const ended = threads.at(-1)?.terminate();
    const waiting = put(spool, 'x').catch((error: unknown) => error);
    await ended;
    expect(await waiting).toMatchObject({ name: 'SpoolError', trouble: 'io' });
    expect(spool.room()).toMatchObject({ ok: false, reason: expect.stringContaining('restart the gateway') });
    await expect(spool.lanes()).rejects.toMatchObject({ name: 'SpoolError' });
    await spool.close();
    expect(lost).toMatchObject([{ name: 'SpoolError', trouble: 'io' }]);
    expect(events.filter((event) => event.event === 'spool.trouble').length).toBe(1);
    const again = await open();
    expect((await get(again, item?.id ?? '')).toString()).toBe('kept');
  });
});

describe('plans', () => {
  it('finds lanes and due items by their index', () => {
    const database = new DatabaseSync(':memory:');
    database.exec(SCHEMA);
    const plan = (sql: string): string =>
      database
        .prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all()
        .map((row) => String(row['detail']))
        .join('\n');
    expect(
      plan(
        `SELECT * FROM item INDEXED BY item_due WHERE state = 'queued' AND lane = 'x' AND first = 1 AND due <= 1 ORDER BY due, id LIMIT 3`,
      ),
    ).toMatch(/^SEARCH item USING INDEX item_due \(lane=\? AND first=\? AND due<\?\)$/);
    expect(
      plan(`SELECT * FROM item INDEXED BY item_state WHERE state = 'queued' AND id > 'x' ORDER BY id LIMIT 3`),
    ).toMatch(/^SEARCH item USING INDEX item_state \(state=\? AND id>\?\)$/);
    expect(
      plan(`SELECT * FROM item INDEXED BY item_parked WHERE state = 'parked' ORDER BY parked, id LIMIT 3`),
    ).toMatch(/^SCAN item USING INDEX item_parked$/);
    const untold = `state = 'bounced' AND ended IS NULL`;
    expect(plan(`SELECT id FROM item INDEXED BY item_untold WHERE ${untold} AND id > 'x' ORDER BY id LIMIT 3`)).toMatch(
      /^SEARCH item USING (COVERING )?INDEX item_untold \(id>\?\)$/,
    );
    expect(
      plan(
        `SELECT id FROM item INDEXED BY item_untold WHERE ${untold} AND NOT EXISTS (SELECT 1 FROM item AS notice INDEXED BY item_tells WHERE notice.tells = item.id)`,
      ),
    ).toMatch(/SCAN item USING (COVERING )?INDEX item_untold[^]*SEARCH notice USING COVERING INDEX item_tells/);
    expect(plan(`SELECT min(lane) FROM item INDEXED BY item_due WHERE state = 'queued' AND lane > 'x'`)).toMatch(
      /SEARCH item USING COVERING INDEX item_due/,
    );
    expect(
      plan(`SELECT min(due) FROM item INDEXED BY item_due WHERE state = 'queued' AND lane = 'x' AND first = 0`),
    ).toMatch(/SEARCH item USING COVERING INDEX item_due/);
    expect(plan(`SELECT key FROM receipt WHERE source = 'x' AND key IN (SELECT value FROM json_each('[]'))`)).toMatch(
      /^SEARCH receipt USING PRIMARY KEY \(source=\? AND key=\?\)/,
    );
    expect(
      plan(
        `DELETE FROM receipt WHERE (source, key) IN (SELECT source, key FROM receipt INDEXED BY receipt_settled WHERE settled IS NOT NULL AND settled < 1 LIMIT 3)`,
      ),
    ).toMatch(/^SEARCH receipt USING PRIMARY KEY[^]*SEARCH receipt USING COVERING INDEX receipt_settled/);
    database.close();
  });
});

describe('bodies given up', () => {
  it('leave nothing behind, even when a piece still waited for its turn', async () => {
    const spool = await open({ chunkSize: 9_000_000 });
    const piece = Buffer.alloc(9_000_000);
    const drafts = [spool.begin(), spool.begin(), spool.begin()];
    // Two fill what may be under way; the third has to wait.
    const writes = drafts.map((draft) => draft.write(piece).catch(() => undefined));
    await Promise.all(drafts.map((draft) => draft.abort()));
    await Promise.all(writes);
    await spool.close();
    const database = new DatabaseSync(path);
    expect(database.prepare('SELECT count(*) AS rows FROM chunk').get()).toEqual({ rows: 0 });
    database.close();
  });
});

describe('a clock that was set back', () => {
  it('makes nothing wait until the old time comes again, and keeps the order', async () => {
    let now = T0;
    const spool = await open({ now: () => now });
    const lane = { route: 'exchange', mailbox: 'a@contoso.com' };
    const items = [];
    for (let n = 0; n < 4; n++, now++) items.push((await put(spool))[0]?.id ?? '');
    await spool.claim(lane, { now, limit: 2, leaseUntil: now });
    await spool.defer(items[0] ?? '', { due: now + 60_000, doubtful: false, status: delayed });
    await spool.defer(items[1] ?? '', { due: now + 90_000, doubtful: true, status: unknown });
    now -= 86_400_000;
    const ids = async (): Promise<string[]> =>
      (await spool.claim(lane, { now, limit: 10, leaseUntil: now })).map(({ id }) => id);
    await vi.waitFor(async () => expect((await spool.lanes())[0]?.due).toBeLessThanOrEqual(now), 8_000);
    expect(await ids()).toEqual([items[2], items[3]]);
    now += 60_010;
    expect(await ids()).toEqual([items[0]]);
    now += 30_000;
    expect(await ids()).toEqual([items[1]]);
  });

  it('before the start makes nothing wait either', async () => {
    let now = T0;
    const spool = await open({ now: () => now });
    const lane = { route: 'exchange', mailbox: 'a@contoso.com' };
    const [first] = await put(spool);
    const [second] = await put(spool);
    await spool.claim(lane, { now, limit: 1, leaseUntil: now });
    await spool.close();
    now -= 86_400_000;
    const again = await open({ now: () => now });
    expect((await again.claim(lane, { now, limit: 10, leaseUntil: now })).map(({ id }) => id)).toEqual([second?.id]);
    now += 90_000;
    expect(await again.claim(lane, { now, limit: 10, leaseUntil: now })).toMatchObject([
      { id: first?.id, doubtful: true },
    ]);
  });
});

describe('a file that was removed under the gateway', () => {
  it('takes no more mail, and still gives out what it holds', async () => {
    const spool = await open();
    const [item] = await put(spool, 'kept');
    rmSync(path);
    await vi.waitFor(() => expect(spool.room()).toMatchObject({ ok: false }), 8_000);
    await expect(put(spool)).rejects.toMatchObject({ name: 'SpoolError', message: expect.stringContaining(path) });
    const [claimed] = await spool.claim(
      { route: 'exchange', mailbox: 'a@contoso.com' },
      { now: Date.now(), limit: 1, leaseUntil: 0 },
    );
    expect((await get(spool, claimed?.id ?? '')).toString()).toBe('kept');
    await spool.finish(item?.id ?? '', relayed);
    expect(events.filter((event) => event.event === 'spool.trouble').length).toBe(1);
    expect(events.filter((event) => event.event === 'spool.recovered').length).toBe(0);
  });
});
