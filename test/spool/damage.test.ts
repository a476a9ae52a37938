/** Damage in the SQLite engine's file: what it costs (the items it hit, no other), what the operator is told, what is left to do. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Event } from '../../src/mail/event.ts';
import type { OperatedSpool } from '../../src/mail/spool.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';
import { entry, failed, get, put, relayed, unknown } from './contract.ts';

const PAGE = 8_192;
const lane = { route: 'exchange', mailbox: 'a@contoso.com' };
let folder: string;
let path: string;
let spool: OperatedSpool;
let events: Event[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-damage-'));
  path = join(folder, 'spool.db');
  events = [];
  spool = await openSqliteSpool({ path, report: (event) => events.push(event) });
});
afterEach(async () => {
  await spool.close();
  rmSync(folder, { recursive: true, force: true });
});

const add = async (body: string | Uint8Array = 'whole', address = 'anna@contoso.com'): Promise<string> => {
  const envelope = { reversePath: '', recipients: [{ address }] };
  const [item] = await put(spool, body, [entry(lane.mailbox, { envelope })]);
  return item?.id ?? '';
};
const claim = async (limit = 100): Promise<string[]> =>
  (await spool.claim(lane, { now: Date.now() + 1_000_000, limit, leaseUntil: 0 })).map(({ id }) => id);
const told = (name: string): Event[] => events.filter(({ event }) => event === name);

function byHand(sql: string): void {
  const hand = new DatabaseSync(path);
  hand.exec(sql);
  hand.close();
}

/** Overwrites the page that holds these words, and makes the worker read its pages anew. */
function loseThePageOf(words: string): void {
  byHand('PRAGMA wal_checkpoint(TRUNCATE)');
  const at = readFileSync(path).indexOf(words);
  if (at < 0) throw new Error('no such words');
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.alloc(PAGE, 0xff), 0, PAGE, Math.floor(at / PAGE) * PAGE);
  closeSync(file);
  byHand(`INSERT INTO tally VALUES ('touched', 0) ON CONFLICT DO UPDATE SET count = count + 1`);
}

describe('an item that is damaged', () => {
  it.each([
    ['its envelope cut short', `UPDATE item SET envelope = '{"reversePath":"' WHERE id = '%'`, 'its envelope'],
    ['an envelope of another kind', `UPDATE item SET envelope = '{"reversePath":""}' WHERE id = '%'`, 'its envelope'],
    ['no origin', `UPDATE item SET origin = 'null' WHERE id = '%'`, 'its origin'],
    ['no body', `DELETE FROM message WHERE id = '%'`, 'its body is gone'],
    [
      'a part of its body missing',
      `DELETE FROM chunk WHERE message = '%' AND number = 0`,
      'its body has 137856 of 400000',
    ],
    [
      'its body cut short',
      `UPDATE chunk SET octets = x'00' WHERE message = '%' AND number = 1`,
      'its body has 262145 of',
    ],
    [
      'a part of its body elsewhere',
      `UPDATE chunk SET number = 7 WHERE message = '%' AND number = 1`,
      'a part of its body',
    ],
    ['the body of another', `UPDATE message SET size = 5 WHERE id = '%'`, 'its body is of 5 octets instead of 400000'],
  ])('%s: set aside, and the others of its lane go on', async (_what, sql, why) => {
    const ids = [await add(), await add(Buffer.alloc(400_000)), await add()];
    const id = ids[1] ?? '';
    byHand(sql.replaceAll('%', id));
    expect(await claim()).toEqual([ids[0], ids[2]]);
    const reason = expect.stringContaining(why) as string;
    expect(await spool.get(id)).toMatchObject({ state: 'parked', lastStatus: { cause: 'damaged', reason } });
    expect(told('item.parked')).toMatchObject([{ id, ...lane, why: 'damaged', status: { reason } }]);
    expect((await spool.history(id)).at(-1)).toMatchObject({ what: 'parked', status: { reason } });
    expect(spool.room()).toEqual({ ok: true });
    expect(await spool.lanes()).toEqual([]);
    // An operator who has it retried without mending it finds it where it was, and can let it go.
    expect(await spool.retry(id)).toBe('done');
    expect(await claim()).toEqual([]);
    expect(await spool.list({ states: ['parked'] })).toMatchObject([{ id }]);
    expect(await spool.drop(id, 'lost')).toBe('done');
  });

  it('says so where it is listed, and its row has stand-ins', async () => {
    const id = await add();
    byHand(`UPDATE item SET envelope = 'x', status = '{'`);
    expect(await spool.list({})).toMatchObject([
      { id, damaged: 'its envelope cannot be read', envelope: { reversePath: '', recipients: [] } },
    ]);
    expect(await spool.list({ sender: 'x' })).toEqual([]);
  });

  it('is set aside too when it is asked for by its id', async () => {
    const id = await add();
    byHand(`DELETE FROM chunk WHERE message = '${id}'`);
    expect(await spool.take(id, 0)).toBeUndefined();
    expect(await spool.get(id)).toMatchObject({ state: 'parked', lastStatus: { cause: 'damaged' } });
    expect(told('item.parked')).toMatchObject([{ id, why: 'damaged' }]);
  });

  it('is looked for first if it may have gone through, for which its body is not needed', async () => {
    const ids = [await add(), await add()];
    await claim();
    for (const id of ids) await spool.defer(id, { doubtful: true, status: unknown });
    byHand(`DELETE FROM chunk; UPDATE item SET envelope = '' WHERE id = '${ids[1]}'`);
    expect(await claim()).toEqual([ids[0]]);
    expect(await spool.get(ids[1] ?? '')).toMatchObject({ state: 'parked', doubtful: true });
  });

  it('is found by check(), and what is queued is set aside', async () => {
    const ids = [await add(), await add(), await add(), await add()];
    expect(await claim(1)).toEqual([ids[0]]);
    await spool.hold(ids[1] ?? '');
    byHand(`DELETE FROM chunk WHERE message <> '${ids[3]}'`);
    const { checked, damaged, store } = await spool.check();
    expect([checked, damaged.map(({ id }) => id), store]).toEqual([4, ids.slice(0, 3), undefined]);
    expect(told('item.parked')).toMatchObject([{ id: ids[2] }]);
    expect((await spool.list({})).map(({ state }) => state)).toEqual(['sending', 'parked', 'parked', 'queued']);
  });
});

describe('a notice and what it tells of', () => {
  /** The one that was refused, and the notice to its sender, which waits. */
  async function bounce(): Promise<{ id: string; notice: string }> {
    const id = await add();
    await claim();
    const draft = spool.begin();
    await draft.write(Buffer.from('the notice'));
    const [notice] = (await draft.commitTelling([entry()], { id, what: 'bounced', status: failed })) ?? [];
    return { id, notice: notice?.id ?? '' };
  }
  const restart = async (): Promise<void> => {
    await spool.close();
    spool = await openSqliteSpool({ path, report: (event) => events.push(event) });
  };

  it.each(['claim', 'check'])('a notice that is damaged: what it tells of is parked (%s)', async (how) => {
    const { id, notice } = await bounce();
    byHand(`DELETE FROM chunk WHERE message = '${notice}'`);
    const met = how === 'claim' ? await claim() : (await spool.check()).damaged.map(({ id: one }) => one);
    expect(met).toEqual(how === 'claim' ? [] : [notice]);
    const reason = expect.stringMatching(
      `its sender could not be told: notice ${notice}: .*its body has 0 of 10`,
    ) as string;
    expect(told('item.parked')).toMatchObject([
      { id, why: `its sender could not be told: notice ${notice} is damaged`, status: { ...failed, reason } },
    ]);
    expect(await spool.get(id)).toMatchObject({ state: 'parked', lastStatus: { ...failed, reason } });
    expect(await spool.get(notice)).toMatchObject({ state: 'dropped', lastStatus: { cause: 'damaged' } });
    expect((await get(spool, id)).toString()).toBe('whole');
    expect((await spool.check()).damaged).toEqual([]);
  });

  it('what it tells of is damaged: the check says so, the notice goes on, and a failed one parks what is left', async () => {
    const { id, notice } = await bounce();
    byHand(`DELETE FROM chunk WHERE message = '${id}'`);
    expect(await spool.check()).toMatchObject({ checked: 2, damaged: [{ id, why: 'its body has 0 of 5 octets' }] });
    expect(told('item.parked')).toEqual([]);
    expect(await claim()).toEqual([notice]);
    await spool.park(notice, failed);
    expect(await spool.get(id)).toMatchObject({ state: 'parked' });
    await spool.retry(id);
    expect(await claim()).toEqual([]);
    expect(told('item.parked')).toMatchObject([{ id, why: 'damaged' }]);
  });

  it('a notice that is gone from the file: what waits for it is parked at the next start', async () => {
    const { id, notice } = await bounce();
    const other = await bounce();
    await restart();
    expect(told('item.parked')).toEqual([]);
    byHand(`DELETE FROM item WHERE id = '${notice}'`);
    await restart();
    expect(told('item.parked')).toMatchObject([
      { id, ...lane, why: expect.stringContaining('gone from the spool') as string },
    ]);
    expect(await spool.get(id)).toMatchObject({ state: 'parked' });
    expect((await get(spool, id)).toString()).toBe('whole');
    expect(await spool.get(other.id)).toMatchObject({ state: 'bounced', untold: true });
  });

  it('an operator who holds a notice until it is too old: what it tells of is parked, with an event', async () => {
    const { id, notice } = await bounce();
    await spool.hold(notice);
    await spool.dropParked({ before: Date.now() + 1_000, size: Infinity });
    expect(told('item.parked')).toMatchObject([
      { id, why: expect.stringMatching(`${notice} was held, and parked for longer than`) as string },
    ]);
  });
});

describe('a page that is lost', () => {
  it('with rows of items: they are passed over and kept, the others go, nothing new comes in', async () => {
    const ids = [];
    for (let n = 0; n < 40; n++) ids.push(await add(`body ${n}`, `${'x'.repeat(600)}-${n}-@contoso.com`));
    loseThePageOf('-15-@contoso.com');
    const claimed = await claim();
    const lost = ids.filter((id) => !claimed.includes(id));
    expect(lost).toContain(ids[15]);
    expect(claimed.length).toBeGreaterThan(20);
    expect(told('spool.trouble')).toMatchObject([
      { trouble: 'damaged', detail: expect.stringMatching(/delivers what it can read and accepts nothing more/) },
    ]);
    expect(spool.room()).toMatchObject({ ok: false, reason: expect.stringContaining(path) });
    for (const [n, id] of ids.entries()) {
      if (lost.includes(id)) continue;
      expect((await get(spool, id)).toString()).toBe(`body ${n}`);
      // To note something in a row that grows, SQLite may need the page beside it.
      await Promise.allSettled([spool.finish(id, relayed)]);
    }
    expect((await spool.list({ states: ['queued'] })).map(({ id }) => id)).not.toContain(ids[15]);
    expect((await spool.list({ recipient: '@contoso.com' })).length).toBeGreaterThan(20);
    // The queue is not sent in circles by what it can never have.
    expect(await spool.lanes()).toEqual([]);
    expect(await claim()).toEqual([]);
    const { queued, sending, relayed: gone } = (await spool.stats()).items;
    expect([queued, queued + sending + gone]).toEqual([lost.length, 40]);
    expect(gone).toBeGreaterThan(15);
    const { damaged, store } = await spool.check();
    expect(damaged.map(({ id }) => id)).toContain(ids[15]);
    expect(store).not.toBe(undefined);
    expect(told('spool.recovered')).toEqual([]);
  });

  it('with octets of a body: that message is set aside when it is read, by check() at once', async () => {
    const body = (n: number): Buffer =>
      Buffer.concat([Buffer.alloc(100_000), Buffer.from(`octets-${n}`), Buffer.alloc(90_000)]);
    const ids = [await add(body(0)), await add(body(1)), await add(body(2))];
    loseThePageOf('octets-1');
    expect(await claim()).toEqual(ids);
    await expect(get(spool, ids[1] ?? '')).rejects.toMatchObject({ name: 'SpoolError', trouble: 'damaged' });
    for (const id of ids) await spool.release(id);
    expect(await claim()).toEqual([ids[0], ids[2]]);
    expect(told('item.parked')).toMatchObject([{ id: ids[1], why: 'damaged' }]);
    expect((await get(spool, ids[2] ?? '')).equals(body(2))).toBe(true);
    const { damaged } = await spool.check();
    expect(damaged).toMatchObject([{ id: ids[1] }]);
  });

  it('with receipts or a cursor: nothing is taken twice for want of them, what waits goes on', async () => {
    const id = await add();
    const source = 'fax@contoso.com/inbox';
    for (let n = 0; n < 20; n++) await spool.acknowledge({ source, key: `search-key-${n}` });
    await spool.keepCursor(source, 'sync-state');
    loseThePageOf('search-key-7');
    loseThePageOf('sync-state');
    const damaged = { name: 'SpoolError', trouble: 'damaged' };
    await expect(spool.received(source, ['search-key-7'])).rejects.toMatchObject(damaged);
    const draft = spool.begin();
    await draft.write(Buffer.from('taken'));
    await expect(draft.commitOnce([entry()], { source, key: 'search-key-7' })).rejects.toMatchObject(damaged);
    await expect(spool.cursor(source)).rejects.toMatchObject(damaged);
    expect(told('spool.trouble')).toMatchObject([{ trouble: 'damaged' }]);
    expect(spool.room().ok).toBe(false);
    expect(await claim()).toEqual([id]);
    await spool.finish(id, relayed);
    expect((await spool.stats()).items).toMatchObject({ queued: 0, sending: 0, relayed: 1 });
  });

  it('is no longer trouble when it is mended and checked', async () => {
    await add();
    const words = 'anna@contoso.com';
    byHand('PRAGMA wal_checkpoint(TRUNCATE)');
    const before = readFileSync(path);
    loseThePageOf(words);
    expect(await claim()).toEqual([]);
    expect(spool.room()).toMatchObject({ ok: false });
    expect((await spool.check()).store).toEqual(expect.any(String));
    byHand('PRAGMA wal_checkpoint(TRUNCATE)');
    const at = Math.floor(before.indexOf(words) / PAGE) * PAGE;
    const file = openSync(path, 'r+');
    writeSync(file, before, at, PAGE, at);
    closeSync(file);
    byHand(`INSERT INTO tally VALUES ('touched again', 0)`);
    expect(await spool.check()).toEqual({ checked: 1, damaged: [] });
    expect(spool.room()).toEqual({ ok: true });
    expect(told('spool.recovered')).toHaveLength(1);
    expect(await claim()).toHaveLength(1);
  });
});
