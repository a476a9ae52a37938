/** What a spool is emptied and filled by: what every engine must do, for spoolContract(). Written against the contract alone. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HistoryEntry, ArrivingItem, QueueItem, SpoolId } from '../../src/mail/item.ts';
import type { KeptMessage, KeptReceipt, MovableSpool } from '../../src/mail/spool.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import { delayed, entry, failed, get, put, relayed, T0, unknown } from './spool-under-test.ts';
import type { SpoolUnderTest } from './spool-under-test.ts';

const lane = { route: 'exchange', mailbox: 'a@contoso.com' };
const claim = { now: T0 + 1_000, limit: 100, leaseUntil: T0 + 60_000 };

/** A message in every state there is, and what is known of sources. @returns ids by what they are */
export async function fillSpool(
  spool: MovableSpool,
  setTime: (now: number) => void,
  begin = T0,
): Promise<Record<string, SpoolId>> {
  const ids: Record<string, SpoolId> = {};
  let time = begin;
  const add = async (name: string, body: Uint8Array | string, more: Partial<ArrivingItem> = {}): Promise<SpoolId> => {
    setTime(++time);
    const [item] = await put(spool, body, [{ ...entry(), ...more }]);
    return (ids[name] = item?.id ?? '');
  };
  /** It alone is being sent then. */
  const send = async (name: string, body: Uint8Array | string, more: Partial<ArrivingItem> = {}): Promise<SpoolId> => {
    const id = await add(name, body, more);
    await spool.take(id, begin + 60_000);
    return id;
  };
  await spool.finish(await send('relayed', 'done'), relayed);
  await spool.finish(await send('relayed and large', randomBytes(1_500_000)), relayed);
  await spool.park(await send('parked', randomBytes(700_000)), failed);
  await spool.hold(await add('held', 'held'), 'anna');
  await spool.drop(await add('dropped', 'dropped'), 'nobody wants it', 'anna');
  await spool.defer(await send('delayed', 'again'), { due: begin + 300_000, doubtful: false, status: delayed });
  const doubtful = await send('doubtful', 'perhaps');
  await spool.note(doubtful, { what: 'step', detail: 'saving a draft' });
  await spool.defer(doubtful, { due: begin + 90_000, doubtful: true, status: unknown });
  const tell = async (id: SpoolId, what: 'bounced' | 'warned'): Promise<SpoolId> => {
    const draft = spool.begin();
    await draft.write(Buffer.from(`tells of ${id}`));
    const [notice] = (await draft.commitTelling([entry()], { id, what, status: failed, detail: 'told anna' })) ?? [];
    return (ids[`notice of ${id}`] = notice?.id ?? '');
  };
  const told = await tell(await send('bounced', randomBytes(300_000)), 'bounced');
  await spool.take(told, begin + 60_000);
  await spool.finish(told, relayed);
  await tell(await send('untold', randomBytes(600_000)), 'bounced');
  await spool.hold(await tell(await send('untold, its notice held', 'held too'), 'bounced'));
  const warned = await send('warned', 'slow');
  await tell(warned, 'warned');
  await spool.defer(warned, { due: begin + 400_000, doubtful: false, status: delayed });
  const recipients = ['a', 'b', 'c'].map((name) => ({ address: `${name}@x.test`, notify: ['never' as const] }));
  const whole = await send('split', 'for three', { envelope: { reversePath: 's@x.test', recipients, ret: 'full' } });
  const parts = (await spool.split(whole, [['b@x.test'], ['c@x.test']], relayed)) ?? [];
  ids['part'] = parts[0]?.id ?? '';
  await spool.park(parts[0]?.id ?? '', failed);
  await spool.defer(parts[1]?.id ?? '', { doubtful: false, status: delayed });
  await put(spool, 'for two lanes', [entry('b@contoso.com'), entry('c@contoso.com', { route: 'other' })]);
  await add('large', randomBytes(2_345_678), { repairs: ['added Date', 'rewrote From: "Jürgen \u{1f4e0}"'] });
  await add('small', 'small');
  await add('important', randomBytes(200_000), { isImportant: true });
  await add('empty', '');
  await spool.acknowledge({ source: 'ews fax', key: 'seen' });
  setTime(++time);
  await spool.acknowledge({ source: 'ews fax', key: 'gone' });
  await spool.settle({ source: 'ews fax', key: 'gone' });
  const draft = spool.begin();
  await draft.write(Buffer.from('taken'));
  await draft.commitOnce([entry('pickup@contoso.com')], { source: 'ews fax', key: 'taken' });
  await spool.keepCursor('ews fax', 'Inbox\nH4sIAAA=');
  await spool.keepCursor('graph scan', 'x'.repeat(20_000));
  return ids;
}

/** Everything that can be known of a spool. */
export async function bookOf(spool: MovableSpool): Promise<Record<string, unknown>> {
  const items = await spool.list({ limit: 10_000 });
  const histories: Record<SpoolId, readonly HistoryEntry[]> = {};
  const bodies: Record<SpoolId, string> = {};
  for (const { id } of items) histories[id] = await spool.history(id);
  const kept = await all(spool);
  for (const { id, hasBody } of kept) if (hasBody) bodies[id] = (await get(spool, id)).toString('base64');
  const { free: _, ...stats } = await spool.stats();
  return {
    items,
    histories,
    bodies,
    kept,
    stats,
    lanes: await spool.lanes(),
    receipts: await spool.keptReceipts(undefined, 10_000),
    cursors: await spool.keptCursors(),
  };
}

export async function all(spool: MovableSpool): Promise<readonly KeptMessage[]> {
  return await spool.kept(undefined, 10_000);
}

const bodyIn = (spool: MovableSpool, { id, hasBody }: KeptMessage): AsyncIterable<Uint8Array> | undefined =>
  hasBody ? spool.open(id) : undefined;

export function movingContract(name: string, make: () => SpoolUnderTest): void {
  describe(`${name}: a spool that is emptied into another`, () => {
    let fromUnder: SpoolUnderTest;
    let toUnder: SpoolUnderTest;
    let from: MovableSpool;
    let to: MovableSpool;

    beforeEach(async () => {
      [fromUnder, toUnder] = [make(), make()];
      setTime(T0);
      from = await fromUnder.open();
      to = await toUnder.open();
    });
    afterEach(async () => {
      await from.close();
      await to.close();
      await fromUnder.remove();
      await toUnder.remove();
    });

    const setTime = (now: number): void => {
      fromUnder.setTime(now);
      toUnder.setTime(now);
    };
    const adopt = async (message: KeptMessage): Promise<boolean> => to.adopt(message, bodyIn(from, message));
    const moveAll = async (): Promise<void> => {
      for (const message of await all(from)) {
        expect(await adopt(message)).toBe(true);
        await from.erase(message.id);
      }
      const receipts = await from.keptReceipts(undefined, 100);
      await to.adoptReceipts(receipts);
      await from.eraseReceipts(receipts);
      const cursors = await from.keptCursors();
      await to.adoptCursors(cursors);
      await from.eraseCursors(cursors.map(({ source }) => source));
    };
    const one = async (body: Uint8Array | string = 'body'): Promise<KeptMessage> => {
      await put(from, body);
      const [message] = await all(from);
      if (message === undefined) throw new Error('no message');
      return message;
    };

    it('has everything on the other side, as it was, and nothing here', async () => {
      await fillSpool(from, setTime);
      setTime(T0 + 50_000);
      const before = await bookOf(from);
      await moveAll();
      expect(await bookOf(to)).toEqual(before);
      expect(await all(from)).toEqual([]);
      expect(await from.list({})).toEqual([]);
      expect(await from.keptReceipts(undefined, 10)).toEqual([]);
      expect(await from.keptCursors()).toEqual([]);
      await expect.poll(async () => (await from.stats()).bytes).toBe(0);
      expect((await from.stats()).items).toEqual({
        queued: 0,
        sending: 0,
        parked: 0,
        relayed: 0,
        bounced: 0,
        dropped: 0,
      });
    });

    it('and it is there for good, and back again', async () => {
      await fillSpool(from, setTime);
      setTime(T0 + 50_000);
      const before = await bookOf(from);
      await moveAll();
      await toUnder.crash();
      to = await toUnder.reopen();
      await fromUnder.crash();
      from = await fromUnder.reopen();
      expect(await all(from)).toEqual([]);
      expect(await bookOf(to)).toEqual(before);
      [fromUnder, toUnder, from, to] = [toUnder, fromUnder, to, from];
      await moveAll();
      expect(await bookOf(to)).toEqual(before);
    });

    it('tells of messages page by page, in order of their ids, with what only the store knows', async () => {
      const ids = await fillSpool(from, setTime);
      const whole = await all(from);
      expect(whole.map(({ id }) => id)).toEqual(whole.map(({ id }) => id).toSorted());
      const paged: KeptMessage[] = [];
      for (let page = await from.kept(undefined, 3); page.length > 0; page = await from.kept(paged.at(-1)?.id, 3)) {
        expect(page.length).toBeLessThanOrEqual(3);
        paged.push(...page);
      }
      expect(paged).toEqual(whole);
      const of = (what: string): KeptMessage | undefined => whole.find(({ id }) => id === ids[what]);
      expect(of('relayed')).toMatchObject({ size: 4, hasBody: false, items: [{ endedAt: T0 + 1, startedAt: T0 + 1 }] });
      expect(of('parked')).toMatchObject({ size: 700_000, hasBody: true, items: [{ parkedAt: T0 + 3 }] });
      expect(of('bounced')).toMatchObject({ hasBody: false, items: [{ item: { state: 'bounced' } }] });
      expect(of('untold')).toMatchObject({ hasBody: true, items: [{ item: { state: 'bounced', untold: true } }] });
      expect(of('untold')?.items[0]).not.toHaveProperty('endedAt');
      expect(of('important')?.items[0]?.isFirst).toBe(true);
      expect(of('large')?.items[0]?.isFirst).toBe(false);
      expect(of('split')?.items.map(({ item }) => item.state)).toEqual(['relayed', 'parked', 'queued']);
      expect(of('empty')).toMatchObject({ size: 0, hasBody: true });
    });

    it('gives out what is due in the same order', async () => {
      const add = async (at: number, size: number, more: Partial<ArrivingItem> = {}): Promise<SpoolId> => {
        setTime(T0 + at);
        const [item] = await put(from, 'x'.repeat(size), [{ ...entry(), ...more }]);
        return item?.id ?? '';
      };
      const large = 150_000;
      const later = await add(0, large);
      const second = await add(1, large);
      await from.take(later, T0 + 60_000);
      await from.defer(later, { due: T0 + 2, doubtful: false, status: delayed });
      const small = await add(3, 10);
      const important = await add(4, large, { isImportant: true });
      await moveAll();
      expect((await to.claim(lane, claim)).map(({ id }) => id)).toEqual([small, important, second, later]);
      expect(await to.claim(lane, claim)).toEqual([]);
    });

    it('keeps what belongs together: a notice and what it tells of', async () => {
      const ids = await fillSpool(from, setTime);
      await moveAll();
      const [untold, held] = [ids['untold'] ?? '', ids['untold, its notice held'] ?? ''];
      const notice = ids[`notice of ${untold}`] ?? '';
      expect(await to.get(notice)).toMatchObject({ state: 'queued', tells: untold });
      expect(await to.take(notice, T0 + 60_000)).toMatchObject({ id: notice });
      await to.finish(notice, relayed);
      expect(await to.get(untold)).not.toHaveProperty('untold');
      await expect(get(to, untold)).rejects.toThrow(SpoolError);
      const other = ids[`notice of ${held}`] ?? '';
      expect(await to.retry(other)).toBe('done');
      expect(await to.take(other, T0 + 60_000)).toMatchObject({ id: other });
      expect(await to.park(other, failed)).toMatchObject({ id: held, state: 'parked' });
      expect((await get(to, held)).toString()).toBe('held too');
    });

    it('keeps a body as long as one of its items needs it', async () => {
      await put(from, 'shared', [entry('a@contoso.com'), entry('b@contoso.com')]);
      const [ended] = await from.claim(lane, claim);
      await from.finish(ended?.id ?? '', relayed);
      // What has ended may have been forgotten: then the message is known by its other item alone.
      await put(from, 'shared too', [entry('a@contoso.com'), entry('b@contoso.com')]);
      const [purged] = await from.claim(lane, claim);
      await from.finish(purged?.id ?? '', relayed);
      await from.purge(T0 + 1);
      await moveAll();
      const left = await to.claim({ ...lane, mailbox: 'b@contoso.com' }, claim);
      const bodies = await Promise.all(left.map(async ({ message }) => (await get(to, message)).toString()));
      expect(bodies).toEqual(['shared', 'shared too']);
      for (const { id, message } of left) {
        await to.finish(id, relayed);
        await expect(get(to, message)).rejects.toThrow(SpoolError);
      }
      expect((await to.stats()).bytes).toBe(0);
    });

    it('has what is being sent arrive in doubt, to be looked into after verifyAfter', async () => {
      const { id } = await one();
      await from.claim(lane, { ...claim, now: T0 });
      setTime(T0 + 1_000);
      const [message] = await all(from);
      expect(message).toMatchObject({ id, items: [{ startedAt: T0, item: { state: 'sending', attempts: 1 } }] });
      if (message !== undefined) await adopt(message);
      expect(await to.get(id)).toMatchObject({ state: 'queued', doubtful: true, attempts: 1, due: T0 + 90_000 });
      expect((await to.history(id)).map(({ what }) => what)).toEqual(['accepted', 'attempted', 'recovered']);
      expect((await to.lanes())[0]).toMatchObject({ due: T0 + 90_000 });
    });

    it('leaves what is there already as it is', async () => {
      const message = await one(randomBytes(600_000));
      expect(await adopt(message)).toBe(true);
      expect(await adopt(message)).toBe(false);
      const before = await bookOf(to);
      expect(await adopt({ ...message, items: [] })).toBe(false);
      expect(await bookOf(to)).toEqual(before);
      const [item] = await to.claim(lane, claim);
      await to.finish(item?.id ?? '', relayed);
      expect(await adopt(message)).toBe(false);
      expect(await to.get(message.id)).toMatchObject({ state: 'relayed' });
      await expect(get(to, message.id)).rejects.toThrow(SpoolError);
    });

    it.each([100, 400_000])('keeps a body of %i octets that is there already, whatever comes for it', async (size) => {
      const message = await one(randomBytes(size));
      await adopt(message);
      for (const octets of [size, size - 1, size + 1, size + 300_000]) {
        const body = async function* (): AsyncGenerator<Uint8Array> {
          yield randomBytes(octets);
        };
        const came = await to.adopt(message, body()).catch((error: unknown) => error instanceof SpoolError);
        expect([false, true]).toContain(came);
      }
      expect(await bookOf(to)).toEqual(await bookOf(from));
    });

    it('has one of several that bring the same', async () => {
      const message = await one(randomBytes(900_000));
      const came = await Promise.all([adopt(message), adopt(message), adopt(message)]);
      expect(came.toSorted()).toEqual([false, false, true]);
      expect(await bookOf(to)).toEqual(await bookOf(from));
    });

    it.each([
      ['that cannot be read to its end', new SpoolError('damaged', 'lost')],
      ['that is too short', undefined],
    ])('has nothing of a message with a body %s, and takes it when it is whole', async (_, error) => {
      const octets = randomBytes(1_000_000);
      const message = await one(octets);
      const broken = async function* (): AsyncGenerator<Uint8Array> {
        yield octets.subarray(0, 700_000);
        if (error !== undefined) throw error;
      };
      await expect(to.adopt(message, broken())).rejects.toThrow(SpoolError);
      expect(await all(to)).toEqual([]);
      expect((await to.stats()).bytes).toBe(0);
      expect(await adopt(message)).toBe(true);
      expect((await get(to, message.id)).equals(octets)).toBe(true);
    });

    it('has nothing of a message that a crash cut off', async () => {
      const octets = randomBytes(2_000_000);
      const message = await one(octets);
      const halfway = Promise.withResolvers<void>();
      const never = new Promise<void>(() => undefined);
      const endless = async function* (): AsyncGenerator<Uint8Array> {
        yield octets.subarray(0, 1_500_000);
        halfway.resolve();
        await never;
      };
      void to.adopt(message, endless()).catch(() => undefined);
      await halfway.promise;
      await toUnder.crash();
      to = await toUnder.reopen();
      expect(await all(to)).toEqual([]);
      expect(await adopt(message)).toBe(true);
      expect((await get(to, message.id)).equals(octets)).toBe(true);
    });

    it('forgets a message as if it had never been here, and takes it again', async () => {
      const octets = randomBytes(5_000_000);
      const message = await one(octets);
      await adopt(message);
      await to.erase(message.id);
      await to.erase(message.id);
      expect(await to.get(message.id)).toBeUndefined();
      expect(await to.history(message.id)).toEqual([]);
      await expect(get(to, message.id)).rejects.toThrow(SpoolError);
      // At once: its octets may still be on their way out.
      expect(await adopt(message)).toBe(true);
      await put(to, 'another');
      expect((await get(to, message.id)).equals(octets)).toBe(true);
      expect((await to.stats()).bytes).toBe(5_000_007);
    });

    it('gives ids to what comes later that no message from elsewhere has', async () => {
      const theirs = await one();
      await adopt(theirs);
      const [ours] = await put(to, 'ours');
      expect(ours?.id).not.toBe(theirs.id);
      expect(await to.list({})).toHaveLength(2);
    });

    it('has receipts page by page, with when they were settled, and those that are there stay', async () => {
      const keys = ['a', 'b', 'B', 'ä', '\u{1f4e0}', 'c'];
      for (const key of keys) await from.acknowledge({ source: 'two', key });
      await from.acknowledge({ source: 'one', key: 'a' });
      setTime(T0 + 10);
      await from.settle({ source: 'two', key: 'a' });
      const paged: KeptReceipt[] = [];
      for (let page = await from.keptReceipts(undefined, 2); page.length > 0;) {
        expect(page.length).toBeLessThanOrEqual(2);
        paged.push(...page);
        page = await from.keptReceipts(paged.at(-1), 2);
      }
      expect(paged).toHaveLength(7);
      expect(paged).toContainEqual({ source: 'two', key: 'a', at: T0, settledAt: T0 + 10 });
      expect(paged).toContainEqual({ source: 'one', key: 'a', at: T0 });
      await to.acknowledge({ source: 'two', key: 'a' });
      await to.adoptReceipts(paged);
      await to.adoptReceipts(paged);
      expect(await to.keptReceipts(undefined, 100)).toHaveLength(7);
      expect(await to.keptReceipts(undefined, 100)).toContainEqual({ source: 'two', key: 'a', at: T0 + 10 });
      expect(await to.received('two', [...keys, 'none'])).toEqual(new Set(keys));
      await to.eraseReceipts([{ source: 'two', key: 'b' }]);
      expect(await to.received('two', ['b', 'B'])).toEqual(new Set(['B']));
      await to.adoptReceipts([]);
      await to.eraseReceipts([]);
    });

    it('has cursors, and those that are there stay', async () => {
      await from.keepCursor('one', '1');
      await from.keepCursor('two', '2');
      await to.keepCursor('two', 'mine');
      await to.adoptCursors(await from.keptCursors());
      expect([await to.cursor('one'), await to.cursor('two')]).toEqual(['1', 'mine']);
      await to.eraseCursors(['two', 'none']);
      expect(await to.keptCursors()).toEqual([{ source: 'one', cursor: '1' }]);
      await to.adoptCursors([]);
      await to.eraseCursors([]);
    });

    it('goes on with everything on the other side', async () => {
      await fillSpool(from, setTime);
      await moveAll();
      const states: QueueItem['state'][] = ['queued', 'parked'];
      for (const { id, state } of await to.list({ states, limit: 100 })) {
        if (state === 'parked') await to.retry(id);
        const item = await to.take(id, T0 + 60_000);
        // A notice that was parked may have been dropped with another one's end.
        if (item !== undefined) await to.finish(id, relayed);
      }
      expect((await to.stats()).items).toMatchObject({ queued: 0, sending: 0, parked: 0 });
      await expect.poll(async () => (await to.stats()).bytes).toBe(0);
    });
  });
}
