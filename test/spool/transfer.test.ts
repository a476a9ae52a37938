/** Emptying one spool into another: cut off at every step and begun again, stopped, at a full target, with damage at the source. */
import { closeSync, copyFileSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { QueueItem } from '../../src/mail/item.ts';
import type { MovableSpool } from '../../src/mail/spool.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import { MOVE_MARK, moveMark, whyNotUsed } from '../../src/spool/move-mark.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';
import { nothingYet, transfer } from '../../src/spool/transfer.ts';
import type { Transferred } from '../../src/spool/transfer.ts';
import { all, bookOf, fillSpool } from './contract-moving.ts';
import { entry, get, put, T0 } from './spool-under-test.ts';

const PAGE = 8_192;
const names = { from: 'from.db', to: 'to.db' };
const now = T0 + 60_000;
let folder: string;
let opened: MovableSpool[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-transfer-'));
  opened = [];
});
afterEach(async () => {
  for (const spool of opened) await spool.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(name: string, clock: () => number = () => now): Promise<MovableSpool> {
  const spool = await openSqliteSpool({
    path: join(folder, name),
    report: () => undefined,
    now: clock,
    first: ['small'],
  });
  opened.push(spool);
  return spool;
}

/** @returns what there was */
async function filled(name: string): Promise<unknown> {
  let time = T0;
  const spool = await open(name, () => time);
  await fillSpool(spool, (at) => (time = at));
  await spool.close();
  const again = await open(name);
  const book = await bookOf(again);
  await again.close();
  return book;
}

async function move(
  from: MovableSpool,
  to: MovableSpool,
  stop = new AbortController().signal,
  progress: (done: Transferred) => void = () => undefined,
): Promise<{ isWhole: boolean; done: Transferred }> {
  const done = nothingYet();
  return { isWhole: await transfer(from, to, done, { names, stop, progress, now: () => now }), done };
}

class Cut extends Error {}

/** The process ends at the n-th step of both spools: before it, or when it has taken effect and nobody knows. */
function cutAt(n: number, when: 'before' | 'after'): (spool: MovableSpool) => MovableSpool {
  let steps = 0;
  return (spool) =>
    new Proxy(spool, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function' || name === 'open')
          return typeof value === 'function' ? value.bind(target) : value;
        return async (...given: unknown[]): Promise<unknown> => {
          const step = ++steps;
          if (step > n || (step === n && when === 'before')) throw new Cut();
          const result: unknown = await (value as (...all: unknown[]) => unknown).apply(target, given);
          if (step === n) throw new Cut();
          return result;
        };
      },
    });
}

describe('a move', () => {
  it('has everything on the other side, and tells how much it was', async () => {
    const before = await filled('a.db');
    const [from, to] = [await open('a.db'), await open('b.db')];
    const messages = await all(from);
    const told: number[] = [];
    const { isWhole, done } = await move(from, to, undefined, (so) => told.push(so.messages));
    expect(isWhole).toBe(true);
    expect(done).toEqual({
      messages: messages.length,
      items: messages.flatMap(({ items }) => items).length,
      octets: messages.reduce((sum, { hasBody, size }) => sum + (hasBody ? size : 0), 0),
      receipts: 3,
      cursors: 2,
      already: 0,
      left: [],
      areSourcesKnown: true,
    });
    expect(told).toContain(1);
    expect(told).toEqual(told.toSorted((a, b) => a - b));
    expect(await bookOf(to)).toEqual(before);
    expect(await all(from)).toEqual([]);
    expect(await from.keptReceipts(undefined, 10)).toEqual([]);
    expect((await from.keptCursors()).map(({ source }) => source)).toEqual([MOVE_MARK]);
  });

  it('leaves marks by which a gateway knows: none where the mail is, one where it was', async () => {
    await filled('a.db');
    const [from, to] = [await open('a.db'), await open('b.db')];
    const stop = new AbortController();
    await move(from, to, stop.signal, () => stop.abort());
    const [begun, beingFilled] = [await moveMark(from), await moveMark(to)];
    expect(begun).toEqual({ what: 'outOf', other: 'to.db', at: now });
    expect(beingFilled).toEqual({ what: 'into', other: 'from.db', at: now });
    await move(from, to);
    const after = await moveMark(from);
    expect(after).toEqual({ what: 'moved', other: 'to.db', at: now });
    expect(await moveMark(to)).toBeUndefined();
    for (const mark of [begun, beingFilled, after])
      expect(mark && whyNotUsed(mark, 'here.db')).toMatch(
        /^The spool here.db .*(from|to)\.db.*smtp2exchange spool move/,
      );
    // And back: what was emptied is a spool like any other again.
    await move(to, from);
    expect([await moveMark(from), (await moveMark(to))?.what]).toEqual([undefined, 'moved']);
  });

  it('is stopped between two parts, and goes on', async () => {
    const from = await open('a.db');
    for (let n = 0; n < 250; n++) await put(from, `${n}`);
    const before = await bookOf(from);
    const to = await open('b.db');
    const stop = new AbortController();
    const first = await move(from, to, stop.signal, ({ messages }) => messages >= 20 && stop.abort());
    expect(first.isWhole).toBe(false);
    expect(first.done.messages).toBeLessThanOrEqual(120);
    expect((await all(from)).length + (await all(to)).length).toBe(250);
    const second = await move(from, to);
    expect(second).toMatchObject({ isWhole: true, done: { already: 0, messages: 250 - first.done.messages } });
    expect(await bookOf(to)).toEqual(before);
  });

  // Every third step, to be done in time.
  it.each(['before', 'after'] as const)(
    'that is cut off %s a step is ended by another one: nothing lost, nothing twice, nothing else',
    async (when) => {
      const before = await filled('whole.db');
      const rounds = 75;
      let cuts = 0;
      for (let n = when === 'before' ? 1 : 2; n <= rounds; n += 3) {
        copyFileSync(join(folder, 'whole.db'), join(folder, `a${n}.db`));
        const cut = cutAt(n, when);
        const [one, two] = [await open(`a${n}.db`), await open(`b${n}.db`)];
        const cutOff = await move(cut(one), cut(two)).then(
          () => false,
          (error: unknown) => error instanceof Cut,
        );
        if (cutOff) cuts++;
        await one.close();
        await two.close();
        const [from, to] = [await open(`a${n}.db`), await open(`b${n}.db`)];
        // What was taken is known wherever a message is.
        const known = await to.keptReceipts(undefined, 10);
        expect((await all(to)).length === 0 || known.length === 3).toBe(true);
        expect((await move(from, to)).isWhole).toBe(true);
        expect(await bookOf(to), `cut off at step ${n}`).toEqual(before);
        expect(await all(from)).toEqual([]);
        await from.close();
        await to.close();
        if (!cutOff) break;
      }
      // To the last step there is.
      expect(cuts).toBeGreaterThan(15);
      expect(cuts).toBeLessThan(rounds / 3);
    },
    60_000,
  );

  it('leaves the rest where it is when the other side takes no more, and goes on when it does', async () => {
    const before = await filled('a.db');
    const [from, to] = [await open('a.db'), await open('b.db')];
    const count = (await all(from)).length;
    let room = 5;
    const full = new Proxy(to, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (name === 'adopt' && room-- <= 0)
          return () => Promise.reject(new SpoolError('full', 'The disk of the spool b.db is full: make room'));
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    await expect(move(from, full)).rejects.toMatchObject({ trouble: 'full' });
    expect((await all(to)).length).toBe(5);
    expect((await all(from)).length).toBe(count - 5);
    expect(await move(from, to)).toMatchObject({ isWhole: true, done: { messages: count - 5, already: 0 } });
    expect(await bookOf(to)).toEqual(before);
  });

  it('does not take another message for the same one', async () => {
    const from = await open('a.db');
    const [item] = await put(from, 'mine');
    const to = await open('b.db');
    const [message] = await all(from);
    if (message === undefined || item === undefined) throw new Error('no message');
    const other = {
      ...message,
      items: message.items.map((one) => ({ ...one, item: { ...one.item, messageId: '<x@y>' } })),
    };
    await to.adopt(other, from.open(item.id));
    const { isWhole, done } = await move(from, to);
    expect(isWhole).toBe(true);
    expect(done).toMatchObject({ messages: 0, left: [{ id: item.id, why: 'to.db has another message with this id' }] });
    expect((await get(from, item.id)).toString()).toBe('mine');
  });
});

describe('damage at the source', () => {
  function byHand(sql: string): void {
    const hand = new DatabaseSync(join(folder, 'a.db'));
    hand.exec(sql);
    hand.close();
  }
  /** Overwrites the page that holds these words. */
  function loseThePageOf(words: string): void {
    byHand('PRAGMA wal_checkpoint(TRUNCATE)');
    const path = join(folder, 'a.db');
    const at = readFileSync(path).indexOf(words);
    if (at < 0) throw new Error('no such words');
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.alloc(PAGE, 0xff), 0, PAGE, Math.floor(at / PAGE) * PAGE);
    closeSync(file);
    byHand(`INSERT INTO tally VALUES ('touched', 0) ON CONFLICT DO UPDATE SET count = count + 1`);
  }
  const add = async (spool: MovableSpool, body: string | Uint8Array, address = 'a@x.test'): Promise<QueueItem> => {
    const envelope = { reversePath: '', recipients: [{ address }] };
    const [item] = await put(spool, body, [entry('a@contoso.com', { envelope })]);
    if (item === undefined) throw new Error('no item');
    return item;
  };

  it.each([
    ['an envelope cut short', `UPDATE item SET envelope = '{"reversePath":"' WHERE id = '%'`, 'its envelope'],
    ['no body', `DELETE FROM message WHERE id = '%'`, 'its body is gone'],
    ['a part of its body missing', `DELETE FROM chunk WHERE message = '%' AND number = 0`, 'its body has'],
    ['a body of another size', `UPDATE message SET size = 5 WHERE id = '%'`, 'its body is of 5 octets'],
  ])('%s: named and left as it is; the others are put over', async (_what, sql, why) => {
    const from = await open('a.db');
    const to = await open('b.db');
    const ids = [];
    for (let n = 0; n < 3; n++) ids.push((await add(from, Buffer.alloc(400_000, n))).id);
    byHand(sql.replaceAll('%', ids[1] ?? ''));
    for (let n = 0; n < 2; n++) {
      const { isWhole, done } = await move(from, to);
      expect(isWhole).toBe(true);
      expect(done).toMatchObject({
        messages: n === 0 ? 2 : 0,
        left: [{ id: ids[1], why: expect.stringContaining(why) as string }],
      });
    }
    expect((await all(to)).map(({ id }) => id)).toEqual([ids[0], ids[2]]);
    expect(await from.get(ids[1] ?? '')).toMatchObject({ state: 'queued' });
  });

  it('octets of a body on a page that is lost: left, and nothing of it on the other side', async () => {
    const from = await open('a.db');
    const to = await open('b.db');
    const ids = [
      (await add(from, 'whole')).id,
      (await add(from, `${'y'.repeat(300_000)}the lost words${'y'.repeat(100_000)}`)).id,
      (await add(from, 'too')).id,
    ];
    loseThePageOf('the lost words');
    const { done } = await move(from, to);
    expect(done.left).toMatchObject([{ id: ids[1] }]);
    expect((await all(to)).map(({ id }) => id)).toEqual([ids[0], ids[2]]);
    expect((await to.stats()).bytes).toBe(8);
    expect(await from.get(ids[1] ?? '')).toMatchObject({ state: 'queued' });
  });

  it('a lost page with items: those are named, by what the index has', async () => {
    const from = await open('a.db');
    const to = await open('b.db');
    const ids = [];
    for (let n = 0; n < 60; n++) ids.push((await add(from, `${n}`, `${'x'.repeat(400)}-${n}@x.test`)).id);
    loseThePageOf('-30@x.test');
    const { isWhole, done } = await move(from, to);
    expect(isWhole).toBe(true);
    const left = done.left.map(({ id }) => id);
    expect(left.length).toBeGreaterThan(3);
    expect(left).toContain(ids[30]);
    expect(left.length).toBeLessThan(40);
    const there = (await all(to)).map(({ id }) => id);
    // Each is on the other side, or named; what could not be removed is both.
    expect([...new Set([...there, ...left])].toSorted()).toEqual(ids);
    expect(done.left.every(({ why }) => /cannot be read|cannot be removed/.test(why))).toBe(true);
  });

  it('a lost page of receipts: said, and the mail is put over', async () => {
    const from = await open('a.db');
    const to = await open('b.db');
    await add(from, 'mail');
    for (let n = 0; n < 400; n++) await from.acknowledge({ source: 'ews fax', key: `${'k'.repeat(100)}${n}` });
    loseThePageOf(`${'k'.repeat(100)}20`);
    const { isWhole, done } = await move(from, to);
    expect(isWhole).toBe(true);
    expect(done).toMatchObject({ messages: 1, areSourcesKnown: false });
    expect(done.left).toMatchObject([{ why: expect.stringContaining('receipts') as string }]);
    expect(await all(to)).toHaveLength(1);
  });
});
