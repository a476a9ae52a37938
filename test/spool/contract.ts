/** What every engine of the spool must do: one suite, written against the contract alone. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ArrivingItem, QueueItem } from '../../src/mail/item.ts';
import type { OperatedSpool, Spool } from '../../src/mail/spool.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import { movingContract } from './contract-moving.ts';
import { delayed, entry, failed, get, put, relayed, T0, unknown } from './spool-under-test.ts';
import type { SpoolUnderTest } from './spool-under-test.ts';

export type { SpoolUnderTest } from './spool-under-test.ts';
export { delayed, entry, failed, get, put, relayed, T0, unknown } from './spool-under-test.ts';

const lane = { route: 'exchange', mailbox: 'a@contoso.com' };
const claim = { now: T0, limit: 100, leaseUntil: T0 + 60_000 };

export function spoolContract(name: string, make: () => SpoolUnderTest): void {
  movingContract(name, make);
  describe(`${name}: the contract of the spool`, () => {
    let under: SpoolUnderTest;
    let spool: OperatedSpool;

    beforeEach(async () => {
      under = make();
      under.setTime(T0);
      spool = await under.open();
    });

    afterEach(async () => {
      await spool.close();
      await under.remove();
    });

    const first = async (body?: Uint8Array | string): Promise<QueueItem> => {
      const [item] = await put(spool, body);
      if (item === undefined) throw new Error('no item');
      return item;
    };

    describe('what goes first', () => {
      const large = 'x'.repeat(100_000);
      const add = async (body: string, more: Partial<ArrivingItem> = {}, time = T0): Promise<string> => {
        under.setTime(time);
        const [item] = await put(spool, body, [{ ...entry(), ...more }]);
        return item?.id ?? '';
      };
      const order = async (limit: number, rounds = 1): Promise<string[]> => {
        const ids = [];
        for (let n = 0; n < rounds; n++) {
          const items = await spool.claim(lane, { now: T0 + 1_000, limit, leaseUntil: T0 + 60_000 });
          ids.push(...items.map(({ id }) => id));
        }
        return ids;
      };

      it('goes before what came earlier, keeps its own order, and also does so after a new start', async () => {
        const rest = [await add(large), await add(large, {}, T0 + 1)];
        const first = [await add('small', {}, T0 + 2), await add(large, { isImportant: true }, T0 + 3)];
        await spool.close();
        spool = await under.reopen();
        expect(await order(10)).toEqual([...first, ...rest]);
      });

      it.each([1, 2, 10])('leaves every fourth turn to the others: claims of %i', async (limit) => {
        const rest = [await add(large), await add(large), await add(large)];
        const first = [];
        for (let n = 0; n < 7; n++) first.push(await add('small', {}, T0 + 1 + n));
        expect(await order(limit, 10)).toEqual([
          first[0],
          first[1],
          first[2],
          rest[0],
          first[3],
          first[4],
          first[5],
          rest[1],
          first[6],
          rest[2],
        ]);
      });

      it('never goes before its time, nor before another mailbox', async () => {
        const [later] = await put(spool, 'small');
        await spool.claim(lane, claim);
        await spool.defer(later?.id ?? '', { due: T0 + 5_000, doubtful: false, status: delayed });
        const now = await add(large);
        await add(large, { mailbox: 'b@contoso.com' });
        expect(await spool.lanes()).toEqual([
          { ...lane, due: T0 },
          { ...lane, mailbox: 'b@contoso.com', due: T0 },
        ]);
        expect(await order(10)).toEqual([now]);
        expect(await spool.lanes()).toContainEqual({ ...lane, due: T0 + 5_000 });
      });
    });

    describe('parked mail that nobody takes care of', () => {
      const park = async (time: number, size: number): Promise<string> => {
        under.setTime(time);
        const [item] = await put(spool, 'x'.repeat(size));
        await spool.claim(lane, { ...claim, now: time });
        await spool.park(item?.id ?? '', failed);
        return item?.id ?? '';
      };
      const states = (ids: readonly string[]): Promise<(string | undefined)[]> =>
        Promise.all(ids.map(async (id) => (await spool.get(id))?.state));

      it('ends by age: its body goes, its history says why', async () => {
        const ids = [await park(T0, 10), await park(T0 + 1_000, 10), await park(T0 + 2_000, 10)];
        under.setTime(T0 + 9_000);
        const dropped = await spool.dropParked({ before: T0 + 1_000, size: Infinity });
        expect(dropped).toMatchObject([{ item: { id: ids[0], state: 'dropped' }, why: 'age', parkedAt: T0 }]);
        expect(await states(ids)).toEqual(['dropped', 'parked', 'parked']);
        expect((await spool.history(ids[0] ?? '')).at(-1)).toEqual({
          at: T0 + 9_000,
          what: 'dropped',
          detail: expect.stringContaining('spool.parkedRetention'),
        });
        expect(await spool.stats()).toMatchObject({ items: { dropped: 1, parked: 2 }, bytes: 20 });
        await expect(get(spool, ids[0] ?? '')).rejects.toThrow(SpoolError);
        expect(await spool.purge(T0 + 10_000)).toBe(1);
      });

      it('ends by size, the oldest first, and no more than it takes; other states are left alone', async () => {
        const ids = [await park(T0 + 500, 40), await park(T0, 30), await park(T0 + 2_000, 30)];
        const queued = await first('x'.repeat(1_000));
        expect(await spool.dropParked({ before: 0, size: 100 })).toEqual([]);
        expect(await spool.dropParked({ before: 0, size: 60 })).toMatchObject([
          { item: { id: ids[1] }, why: 'size' },
          { item: { id: ids[0] }, why: 'size' },
        ]);
        expect(await states([...ids, queued.id])).toEqual(['dropped', 'dropped', 'parked', 'queued']);
        expect((await spool.history(ids[1] ?? '')).at(-1)?.detail).toContain('spool.parkedSize');
      });

      it('keeps a body that another item needs', async () => {
        const [one, two] = await put(spool, 'shared', [entry(), entry('b@contoso.com')]);
        await spool.claim(lane, claim);
        await spool.park(one?.id ?? '', failed);
        expect(await spool.dropParked({ before: T0 + 1, size: 0 })).toHaveLength(1);
        expect((await get(spool, two?.message ?? '')).toString()).toBe('shared');
      });
    });

    describe('a message', () => {
      it('has everything that was given, and its octets', async () => {
        const item = await first('hello');
        expect(item).toEqual({
          ...entry(),
          id: item.id,
          message: item.id,
          size: 5,
          state: 'queued',
          arrivedAt: T0,
          due: T0,
          attempts: 0,
          doubtful: false,
        });
        expect(await spool.get(item.id)).toEqual(item);
        expect((await get(spool, item.message)).toString()).toBe('hello');
        expect(await spool.history(item.id)).toEqual([{ at: T0, what: 'accepted' }]);
      });

      it.each([0, 1, 1_000, 262_143, 262_144, 262_145, 3_000_000])(
        'of %i octets comes back as it was, however it was written',
        async (size) => {
          const octets = randomBytes(size);
          const draft = spool.begin();
          for (let at = 0; at < size;) {
            const piece = octets.subarray(at, at + 1 + Math.floor(Math.random() * 200_000));
            await draft.write(piece);
            at += piece.length;
          }
          const [item] = await draft.commit([entry()]);
          expect(item?.size).toBe(size);
          expect((await get(spool, draft.id)).equals(octets)).toBe(true);
          // and again
          expect((await get(spool, draft.id)).equals(octets)).toBe(true);
        },
      );

      it('for several lanes is several items over one body, which stays until the last has been relayed', async () => {
        const items = await put(spool, 'shared', [entry('a@contoso.com'), entry('b@contoso.com')]);
        expect(items.map((item) => item.mailbox)).toEqual(['a@contoso.com', 'b@contoso.com']);
        expect(new Set(items.map((item) => item.id)).size).toBe(2);
        const [a, b] = items;
        if (a === undefined || b === undefined) throw new Error('two items');
        expect([a.message, b.message]).toEqual([a.id, a.id]);
        await spool.claim(lane, claim);
        await spool.finish(a.id, relayed);
        expect((await get(spool, a.message)).toString()).toBe('shared');
        await spool.claim({ ...lane, mailbox: 'b@contoso.com' }, claim);
        await spool.finish(b.id, relayed);
        await expect(get(spool, a.message)).rejects.toThrow(/no body/);
        expect((await spool.stats()).bytes).toBe(0);
      });

      it('that was never committed does not exist', async () => {
        const draft = spool.begin();
        await draft.write(randomBytes(1_000_000));
        await draft.abort();
        await draft.abort();
        expect(await spool.lanes()).toEqual([]);
        await expect(get(spool, draft.id)).rejects.toThrow();
        await expect(draft.write(Buffer.from('x'))).rejects.toThrow();
      });

      it('survives the end and a crash', async () => {
        const big = randomBytes(900_000);
        const one = await first('one');
        const two = await first(big);
        await spool.close();
        spool = await under.reopen();
        expect((await get(spool, one.id)).toString()).toBe('one');
        await under.crash();
        spool = await under.reopen();
        expect((await get(spool, two.id)).equals(big)).toBe(true);
        expect((await spool.list({})).map((item) => item.id)).toEqual([one.id, two.id]);
      });

      it('gets ids that sort by arrival, whatever the clock does', async () => {
        const ids: string[] = [];
        for (const time of [T0, T0, T0 + 5, T0 - 3_600_000, T0 + 5]) {
          under.setTime(time);
          ids.push((await first()).id);
        }
        expect(ids).toEqual(ids.toSorted());
        expect(new Set(ids).size).toBe(ids.length);
      });
    });

    describe('lanes and claims', () => {
      it('knows each lane with work and when it is due', async () => {
        await put(spool, 'x', [entry('b@contoso.com')]);
        under.setTime(T0 + 5);
        await put(spool, 'x', [entry('a@contoso.com')]);
        await put(spool, 'x', [entry('b@contoso.com')]);
        await put(spool, 'x', [entry('a@contoso.com', { route: 'other' })]);
        expect(await spool.lanes()).toEqual([
          { route: 'exchange', mailbox: 'b@contoso.com', due: T0 },
          { route: 'exchange', mailbox: 'a@contoso.com', due: T0 + 5 },
          { route: 'other', mailbox: 'a@contoso.com', due: T0 + 5 },
        ]);
      });

      it('gives out what is due, in order of due time and arrival, once', async () => {
        const items = [];
        for (let n = 0; n < 5; n++) items.push(await first(`${n}`));
        await put(spool, 'x', [entry('b@contoso.com')]);
        const got = await spool.claim(lane, { ...claim, limit: 3 });
        expect(got.map((item) => item.id)).toEqual(items.slice(0, 3).map((item) => item.id));
        expect(got[0]).toMatchObject({ state: 'sending', attempts: 1 });
        expect((await spool.claim(lane, claim)).map((item) => item.id)).toEqual(items.slice(3).map((item) => item.id));
        expect(await spool.claim(lane, claim)).toEqual([]);
        expect((await spool.lanes()).map((one) => one.mailbox)).toEqual(['b@contoso.com']);
      });

      it('gives out nothing before its time', async () => {
        const item = await first();
        await spool.claim(lane, claim);
        await spool.defer(item.id, { due: T0 + 60_000, doubtful: false, status: delayed });
        expect(await spool.claim(lane, { ...claim, now: T0 + 59_999 })).toEqual([]);
        expect(await spool.claim(lane, { ...claim, now: T0 + 60_000 })).toMatchObject([
          { id: item.id, attempts: 2, lastStatus: delayed, doubtful: false },
        ]);
      });

      it('keeps the place of what is put back without a new time', async () => {
        const one = await first();
        under.setTime(T0 + 1);
        await first();
        await spool.claim(lane, { ...claim, limit: 1 });
        await spool.defer(one.id, { doubtful: false, status: delayed });
        expect((await spool.claim(lane, { ...claim, now: T0 + 1 }))[0]).toMatchObject({ id: one.id, due: T0 });
      });

      it('gives a released item back as if it had never been taken', async () => {
        const item = await first();
        await spool.claim(lane, claim);
        await spool.release(item.id);
        expect(await spool.get(item.id)).toEqual(item);
      });

      it('renews a lease only while the item is being sent', async () => {
        const item = await first();
        expect(await spool.renew(item.id, T0 + 1)).toBe(false);
        await spool.claim(lane, claim);
        expect(await spool.renew(item.id, T0 + 120_000)).toBe(true);
        await spool.finish(item.id, relayed);
        expect(await spool.renew(item.id, T0 + 1)).toBe(false);
      });
    });

    describe('an end', () => {
      it('relayed: the history stays, the body goes', async () => {
        const item = await first();
        await spool.claim(lane, claim);
        under.setTime(T0 + 10);
        await spool.finish(item.id, relayed);
        expect(await spool.get(item.id)).toMatchObject({ state: 'relayed', lastStatus: relayed });
        expect(await spool.history(item.id)).toEqual([
          { at: T0, what: 'accepted' },
          { at: T0, what: 'attempted' },
          { at: T0 + 10, what: 'relayed', status: relayed },
        ]);
        await expect(get(spool, item.id)).rejects.toThrow();
      });

      it('relayed, of a large message: its octets are gone soon', async () => {
        const item = await first(randomBytes(5_000_000));
        await spool.claim(lane, claim);
        await spool.finish(item.id, relayed);
        await expect(get(spool, item.id)).rejects.toThrow();
        await expect.poll(async () => (await spool.stats()).bytes).toBe(0);
      });

      it('parked: body and reason stay', async () => {
        const item = await first('keep me');
        await spool.claim(lane, claim);
        await spool.park(item.id, delayed);
        expect(await spool.get(item.id)).toMatchObject({ state: 'parked', lastStatus: delayed });
        expect((await get(spool, item.id)).toString()).toBe('keep me');
        expect(await spool.lanes()).toEqual([]);
      });

      it('of an item that is not being sent changes nothing', async () => {
        const item = await first();
        await spool.finish(item.id, relayed);
        await spool.park(item.id, delayed);
        await spool.defer(item.id, { due: T0 + 5, doubtful: true, status: unknown });
        expect(await spool.get(item.id)).toEqual(item);
      });

      it('is forgotten after the retention, and nothing else is', async () => {
        const ids: string[] = [];
        for (let n = 0; n < 4; n++) ids.push((await first()).id);
        await spool.claim(lane, { ...claim, limit: 3 });
        await spool.finish(ids[0] ?? '', relayed);
        await spool.park(ids[1] ?? '', delayed);
        under.setTime(T0 + 1_000);
        await spool.finish(ids[2] ?? '', relayed);
        expect(await spool.purge(T0 + 500)).toBe(1);
        expect((await spool.list({})).map((item) => item.id)).toEqual(ids.slice(1));
        expect(await spool.history(ids[0] ?? '')).toEqual([]);
      });
    });

    describe('a split', () => {
      const people = ['a@x.test', 'b@x.test', 'c@x.test', 'd@x.test'];
      const many = (): ArrivingItem =>
        entry('a@contoso.com', {
          envelope: { reversePath: 's@x.test', recipients: people.map((address) => ({ address })), ret: 'full' },
        });
      const named = (item: QueueItem | undefined): string[] =>
        (item?.envelope.recipients ?? []).map(({ address }) => address);
      const sending = async (): Promise<QueueItem> => {
        await put(spool, 'body', [many()]);
        const [item] = await spool.claim(lane, claim);
        if (item === undefined) throw new Error('no item');
        return item;
      };

      it('ends those who have the message, and makes items of the rest over the same body, with the history so far', async () => {
        const item = await sending();
        const parts = await spool.split(item.id, [['b@x.test'], ['a@x.test', 'd@x.test']], relayed);
        expect(parts?.map(named)).toEqual([['b@x.test'], ['a@x.test', 'd@x.test']]);
        expect(await spool.get(item.id)).toMatchObject({ state: 'relayed', lastStatus: relayed });
        expect(named(await spool.get(item.id))).toEqual(['c@x.test']);
        for (const { id } of parts ?? []) {
          expect(await spool.get(id)).toMatchObject({ state: 'sending', attempts: 1, message: item.message });
          expect((await spool.history(id)).map(({ what }) => what)).toEqual(['accepted', 'attempted', 'split']);
        }
        expect((await spool.history(item.id)).at(-1)).toMatchObject({ what: 'relayed' });
        expect((await get(spool, item.message)).toString()).toBe('body');
        for (const { id } of parts ?? []) await spool.finish(id, relayed);
        await expect(get(spool, item.message)).rejects.toThrow(SpoolError);
        expect((await spool.stats()).items).toMatchObject({ relayed: 3, sending: 0, queued: 0 });
      });

      it('can be made again of what it made, and leaves what is not relayed under way', async () => {
        const item = await sending();
        const [first] = (await spool.split(item.id, [people.slice(1)])) ?? [];
        const [second] = (await spool.split(first?.id ?? '', [['c@x.test', 'd@x.test']])) ?? [];
        expect(new Set([item.id, first?.id, second?.id]).size).toBe(3);
        expect((await spool.stats()).items.sending).toBe(3);
        expect(named(await spool.get(first?.id ?? ''))).toEqual(['b@x.test']);
      });

      it('does nothing to what is no longer being sent, and nothing by halves', async () => {
        const item = await sending();
        await expect(spool.split(item.id, [people])).rejects.toThrow(SpoolError);
        expect(named(await spool.get(item.id))).toEqual(people);
        await spool.defer(item.id, { doubtful: false, status: delayed });
        expect(await spool.split(item.id, [['a@x.test']], relayed)).toBeUndefined();
        expect((await spool.stats()).items).toMatchObject({ queued: 1, relayed: 0 });
      });

      it('outlives a crash: only those who do not have the message are tried again', async () => {
        const item = await sending();
        await spool.split(item.id, [['b@x.test']], relayed);
        await under.crash();
        spool = await under.reopen();
        const again = await spool.claim(lane, { now: T0 + 3_600_000, limit: 10, leaseUntil: T0 + 3_700_000 });
        expect(again.map(named)).toEqual([['b@x.test']]);
      });
    });

    describe('a crash', () => {
      it('in the middle of an attempt leaves a doubt, to be looked into after verifyAfter', async () => {
        const item = await first('doubt');
        await spool.claim(lane, claim);
        await under.crash();
        under.setTime(T0 + 1_000);
        spool = await under.reopen();
        expect(await spool.get(item.id)).toMatchObject({
          state: 'queued',
          doubtful: true,
          attempts: 1,
          due: T0 + 90_000,
        });
        expect((await spool.history(item.id)).map((line) => line.what)).toEqual(['accepted', 'attempted', 'recovered']);
        expect((await get(spool, item.id)).toString()).toBe('doubt');
      });

      it('in the middle of a draft leaves nothing', async () => {
        const draft = spool.begin();
        await draft.write(randomBytes(2_000_000));
        await under.crash();
        spool = await under.reopen();
        expect(await spool.list({})).toEqual([]);
        expect((await spool.stats()).bytes).toBe(0);
      });
    });

    describe('a message that tells about another', () => {
      const told = { what: 'bounced', status: failed, detail: 'told anna@contoso.com' } as const;
      const state = async (id: string): Promise<string | undefined> => (await spool.get(id))?.state;
      const last = async (id: string): Promise<unknown> => (await spool.history(id)).at(-1);
      const kept = async (id: string): Promise<string> => (await get(spool, id)).toString();
      /** One that was refused, and the notice to its sender, which waits. */
      const bounce = async (body: Uint8Array | string = 'refused'): Promise<{ id: string; notice: string }> => {
        const { id } = await first(body);
        await spool.claim(lane, claim);
        return { id, notice: await tell(id) };
      };
      const tell = async (id: string): Promise<string> => {
        const draft = spool.begin();
        await draft.write(Buffer.from('the bounce'));
        const [notice] = (await draft.commitTelling([entry('a@contoso.com')], { ...told, id })) ?? [];
        expect(notice).toMatchObject({ tells: id });
        return notice?.id ?? '';
      };
      const send = async (): Promise<readonly QueueItem[]> => spool.claim(lane, claim);

      it('comes to exist as the other is given up, which keeps its body', async () => {
        const { id, notice } = await bounce();
        expect(await spool.get(id)).toMatchObject({ state: 'bounced', untold: true, lastStatus: failed });
        expect(await last(id)).toMatchObject({ what: 'bounced', detail: 'told anna@contoso.com' });
        expect(await spool.get(notice)).toMatchObject({ state: 'queued', tells: id });
        expect(await kept(notice)).toBe('the bounce');
        expect(await kept(id)).toBe('refused');
        expect(await spool.stats()).toMatchObject({ items: { queued: 1, sending: 0, bounced: 1 }, bytes: 17 });
        expect(await spool.purge(T0 + 1_000_000)).toBe(0);
      });

      it('ends the other when it is delivered, with its body', async () => {
        const { id, notice } = await bounce(randomBytes(600_000));
        expect(await send()).toMatchObject([{ id: notice, tells: id }]);
        await spool.finish(notice, relayed);
        expect(await state(notice)).toBe('relayed');
        expect(await state(id)).toBe('bounced');
        expect(await spool.get(id)).not.toHaveProperty('untold');
        expect(await spool.get(notice)).not.toHaveProperty('tells');
        expect(await last(id)).toMatchObject({ what: 'told', detail: `by ${notice}` });
        await expect(kept(id)).rejects.toThrow(SpoolError);
        expect((await spool.stats()).bytes).toBe(0);
        expect(await spool.purge(T0 + 1_000_000)).toBe(2);
      });

      it('leaves a body that another item needs', async () => {
        const [one, other] = await put(spool, 'shared', [entry(), entry('b@contoso.com')]);
        await spool.claim(lane, claim);
        const notice = await tell(one?.id ?? '');
        await send();
        await spool.finish(notice, relayed);
        expect(await kept(other?.message ?? '')).toBe('shared');
      });

      it.each([
        ['refused for good', failed],
        ['expired', delayed],
        ['of unclear outcome', unknown],
      ])('parks the other, whole, when it would be parked itself: %s', async (_, status) => {
        const body = randomBytes(600_000);
        const { id, notice } = await bounce(body);
        await send();
        under.setTime(T0 + 5_000);
        const parked = await spool.park(notice, status);
        const reason = expect.stringMatching(
          new RegExp(`its sender could not be told: .*${notice}.*${status.text}`),
        ) as string;
        expect(parked).toMatchObject({ id, state: 'parked', lastStatus: { ...failed, reason } });
        expect(parked).toEqual(await spool.get(id));
        expect(parked).not.toHaveProperty('untold');
        expect(await last(id)).toMatchObject({ what: 'parked', status: { ...failed, reason } });
        expect((await get(spool, id)).equals(body)).toBe(true);
        expect(await spool.get(notice)).toMatchObject({ state: 'dropped', lastStatus: status });
        expect(await spool.get(notice)).not.toHaveProperty('tells');
        expect(await last(notice)).toMatchObject({
          what: 'dropped',
          status,
          detail: expect.stringContaining(id) as string,
        });
        await expect(kept(notice)).rejects.toThrow(SpoolError);
        expect(await spool.stats()).toMatchObject({
          items: { queued: 0, sending: 0, parked: 1, bounced: 0, dropped: 1 },
          bytes: 600_000,
        });
        // It counts as parked from now on.
        expect(await spool.dropParked({ before: T0 + 5_000, size: 600_000 })).toEqual([]);
        expect(await spool.dropParked({ before: T0 + 5_001, size: Infinity })).toMatchObject([{ item: { id } }]);
        expect((await spool.stats()).bytes).toBe(0);
      });

      it('may be made a second time for what an operator had tried again', async () => {
        const { id, notice } = await bounce();
        await send();
        await spool.park(notice, failed);
        expect(await spool.retry(id)).toBe('done');
        expect(await send()).toMatchObject([{ id, attempts: 2 }]);
        const second = await tell(id);
        expect(await state(id)).toBe('bounced');
        expect(await kept(id)).toBe('refused');
        await send();
        await spool.finish(second, relayed);
        expect(await state(id)).toBe('bounced');
        expect((await spool.stats()).bytes).toBe(0);
      });

      it('is held, moved and tried again by itself; the other waits', async () => {
        const { id, notice } = await bounce();
        expect(await spool.hold(notice)).toBe('done');
        expect(await state(notice)).toBe('parked');
        expect(await spool.get(id)).toMatchObject({ state: 'bounced', untold: true });
        expect(await spool.move(notice, { mailbox: 'b@contoso.com' })).toBe('done');
        expect(await spool.retry(notice)).toBe('done');
        expect(await spool.claim({ ...lane, mailbox: 'b@contoso.com' }, claim)).toMatchObject([{ tells: id }]);
        expect(await kept(id)).toBe('refused');
      });

      it('takes the other along when an operator drops it, held or not', async () => {
        for (const isHeld of [false, true]) {
          const { id, notice } = await bounce();
          if (isHeld) await spool.hold(notice);
          expect(await spool.drop(notice, 'no longer wanted', 'anna')).toBe('done');
          expect(await state(notice)).toBe('dropped');
          expect(await state(id)).toBe('dropped');
          expect(await last(id)).toMatchObject({
            what: 'dropped',
            detail: expect.stringMatching(new RegExp(`${notice}.*no longer wanted; by anna`)) as string,
          });
          expect((await spool.stats()).bytes).toBe(0);
        }
        expect(await spool.purge(T0 + 1_000_000)).toBe(4);
      });

      it('parks the other when it was held and ends by age', async () => {
        const { id, notice } = await bounce();
        await spool.hold(notice);
        under.setTime(T0 + 5_000);
        expect(await spool.dropParked({ before: T0 + 1, size: Infinity })).toMatchObject([{ item: { id: notice } }]);
        expect(await spool.get(id)).toMatchObject({
          state: 'parked',
          lastStatus: { reason: expect.stringContaining('spool.parkedRetention') as string },
        });
        expect(await kept(id)).toBe('refused');
        expect(await state(notice)).toBe('dropped');
      });

      it('is what an operator deals with as long as it is under way, not the other', async () => {
        const { id, notice } = await bounce();
        expect(await spool.retry(id)).toBe('ended');
        expect(await spool.hold(id)).toBe('ended');
        expect(await spool.drop(id, 'unwanted')).toBe('ended');
        expect(await state(notice)).toBe('queued');
        expect(await kept(id)).toBe('refused');
      });

      it('is looked at with the other by the check', async () => {
        await bounce();
        expect(await spool.check()).toEqual({ checked: 2, damaged: [] });
      });

      it.each(['waits', 'is being sent', 'is held'])('survives a crash with the other while it %s', async (how) => {
        const body = randomBytes(600_000);
        const { id, notice } = await bounce(body);
        if (how === 'is being sent') await send();
        if (how === 'is held') await spool.hold(notice);
        await under.crash();
        spool = await under.reopen();
        expect(await spool.get(notice)).toMatchObject({ tells: id, doubtful: how === 'is being sent' });
        expect(await spool.get(id)).toMatchObject({ state: 'bounced', untold: true });
        expect((await get(spool, id)).equals(body)).toBe(true);
        await spool.retry(notice);
        await spool.claim(lane, { ...claim, now: T0 + 1_000_000 });
        await spool.park(notice, failed);
        await under.crash();
        spool = await under.reopen();
        expect([await state(id), await state(notice)]).toEqual(['parked', 'dropped']);
        expect((await get(spool, id)).equals(body)).toBe(true);
      });

      it('leaves the item as it is for a warning, and is parked itself', async () => {
        await first('slow');
        const [item] = await spool.claim(lane, claim);
        const draft = spool.begin();
        const warned = { ...told, what: 'warned', id: item?.id ?? '' } as const;
        const [notice] = (await draft.commitTelling([entry('a@contoso.com')], warned)) ?? [];
        expect(notice).not.toHaveProperty('tells');
        expect(await spool.get(item?.id ?? '')).toMatchObject({ state: 'sending' });
        expect(await last(item?.id ?? '')).toMatchObject({ what: 'warned' });
        await send();
        expect(await spool.park(notice?.id ?? '', failed)).toBeUndefined();
        expect(await state(notice?.id ?? '')).toBe('parked');
        expect(await spool.get(item?.id ?? '')).toMatchObject({ state: 'sending' });
        expect(await kept(item?.id ?? '')).toBe('slow');
      });

      it('is nothing if the other is not being sent', async () => {
        const item = await first('waits');
        const draft = spool.begin();
        await draft.write(randomBytes(600_000));
        expect(await draft.commitTelling([entry('a@contoso.com')], { ...told, id: item.id })).toBeUndefined();
        expect((await spool.list({})).map(({ id, state }) => `${id} ${state}`)).toEqual([`${item.id} queued`]);
        expect((await spool.stats()).bytes).toBe(5);
      });
    });

    describe('a message that tells of a delivery', () => {
      const told = { what: 'relayed', status: relayed, detail: 'told anna@contoso.com' } as const;
      const tell = async (id: string): Promise<readonly QueueItem[] | undefined> => {
        const draft = spool.begin();
        await draft.write(Buffer.from('the notice'));
        return draft.commitTelling([entry('b@contoso.com')], { ...told, id });
      };

      it('finishes the item as it comes to exist; its body goes, and nothing waits for anything', async () => {
        const { id } = await first(randomBytes(600_000));
        await spool.claim(lane, claim);
        const [notice] = (await tell(id)) ?? [];
        expect(notice).not.toHaveProperty('tells');
        expect(await spool.get(id)).toMatchObject({ state: 'relayed', lastStatus: relayed });
        expect((await spool.history(id)).at(-1)).toMatchObject({
          what: 'relayed',
          status: relayed,
          detail: 'told anna@contoso.com',
        });
        expect(await spool.get(notice?.id ?? '')).toMatchObject({ state: 'queued', mailbox: 'b@contoso.com' });
        expect((await spool.stats()).bytes).toBe('the notice'.length);
        expect(await spool.purge(T0 + 1_000_000)).toBe(1);
      });

      it('leaves a body that another item needs', async () => {
        const [one] = await put(spool, 'shared', [entry(), entry('c@contoso.com')]);
        await spool.claim(lane, claim);
        await tell(one?.id ?? '');
        expect((await get(spool, one?.message ?? '')).toString()).toBe('shared');
      });

      it('outlives a crash with the end of the item, and is not made twice', async () => {
        const { id } = await first();
        await spool.claim(lane, claim);
        const [notice] = (await tell(id)) ?? [];
        await under.crash();
        spool = await under.reopen();
        expect(await spool.get(id)).toMatchObject({ state: 'relayed' });
        expect(await tell(id)).toBeUndefined();
        expect((await spool.list({ states: ['queued'] })).map((item) => item.id)).toEqual([notice?.id]);
      });

      it('is nothing if a crash came before: the item is in doubt, and nobody was told', async () => {
        const { id } = await first();
        await spool.claim(lane, claim);
        const draft = spool.begin();
        await draft.write(randomBytes(600_000));
        await under.crash();
        spool = await under.reopen();
        expect((await spool.list({})).map((item) => [item.id, item.state, item.doubtful])).toEqual([
          [id, 'queued', true],
        ]);
      });

      it('tells of a notice too, where that was moved to such a route', async () => {
        const { id } = await first();
        await spool.claim(lane, claim);
        const [bounce] = (await spool.begin().commitTelling([entry()], { id, what: 'bounced', status: failed })) ?? [];
        await spool.claim(lane, claim);
        await tell(bounce?.id ?? '');
        expect(await spool.get(id)).not.toHaveProperty('untold');
        expect((await spool.history(id)).at(-1)).toMatchObject({ what: 'told' });
      });
    });

    describe('receipts', () => {
      const source = 'fax@contoso.com/inbox';
      const receipt = { source, key: 'k1' };
      const once = async (
        body: Uint8Array | string = 'taken',
        of = receipt,
      ): Promise<readonly QueueItem[] | undefined> => {
        const draft = spool.begin();
        await draft.write(Buffer.from(body));
        return draft.commitOnce([entry()], of);
      };
      const known = async (...keys: string[]): Promise<string[]> => [...(await spool.received(source, keys))];

      it('are written with the message, which exists once', async () => {
        expect(await known('k1')).toEqual([]);
        const [item] = (await once()) ?? [];
        expect(await spool.get(item?.id ?? '')).toEqual(item);
        expect(await known('k1', 'k2')).toEqual(['k1']);
        expect(await once(randomBytes(600_000))).toBeUndefined();
        expect(await once('another', { source, key: 'k2' })).toHaveLength(1);
        expect(await once('another', { source: 'fax@contoso.com/archive', key: 'k1' })).toHaveLength(1);
        expect((await spool.stats()).bytes).toBe('taken'.length + 2 * 'another'.length);
      });

      it('let one of many at the same time through', async () => {
        const drafts = Array.from({ length: 40 }, () => spool.begin());
        for (const [n, draft] of drafts.entries()) await draft.write(Buffer.alloc(n % 2 === 0 ? 10 : 300_000));
        const made = await Promise.all(
          drafts.map((draft, n) => draft.commitOnce([entry()], { source, key: `k${n % 4}` })),
        );
        const won = made.flatMap((items) => items ?? []);
        expect(won).toHaveLength(4);
        expect(made.flatMap((items, n) => (items === undefined ? [] : [n % 4])).toSorted()).toEqual([0, 1, 2, 3]);
        expect((await spool.list({})).map(({ id }) => id).toSorted()).toEqual(won.map(({ id }) => id).toSorted());
        expect((await spool.stats()).bytes).toBe(won.reduce((sum, { size }) => sum + size, 0));
      });

      it('outlive a crash with what was taken', async () => {
        const [item] = (await once()) ?? [];
        await under.crash();
        spool = await under.reopen();
        expect(await known('k1')).toEqual(['k1']);
        expect(await once()).toBeUndefined();
        expect((await spool.list({})).map(({ id }) => id)).toEqual([item?.id]);
      });

      it('are not there after a crash in the middle of a draft, nor after a commit that failed', async () => {
        const draft = spool.begin();
        await draft.write(randomBytes(600_000));
        await under.crash();
        spool = await under.reopen();
        expect(await known('k1')).toEqual([]);
        // No engine can write this one.
        const broken = { ...entry(), envelope: { reversePath: '', recipients: [{ address: 1n }] } } as never;
        await expect(spool.begin().commitOnce([broken], receipt)).rejects.toThrow(SpoolError);
        expect(await known('k1')).toEqual([]);
        expect(await once()).toHaveLength(1);
      });

      it('can be given without a message', async () => {
        await spool.acknowledge(receipt);
        await spool.acknowledge(receipt);
        await under.crash();
        spool = await under.reopen();
        expect(await known('k1')).toEqual(['k1']);
        expect(await once()).toBeUndefined();
        expect(await spool.list({})).toEqual([]);
      });

      it('are found among many, and only those of their source', async () => {
        const keys = Array.from({ length: 1_203 }, (_, n) => `key ${n}`);
        await Promise.all(keys.slice(0, 1_100).map((key) => spool.acknowledge({ source, key })));
        await spool.acknowledge({ source: 'other', key: 'key 1200' });
        expect((await known(...keys)).toSorted()).toEqual(keys.slice(0, 1_100).toSorted());
        expect(await known()).toEqual([]);
      });

      it('end some time after they were settled, others never', async () => {
        for (const key of ['open', 'early', 'late', 'again', 'seen']) await spool.acknowledge({ source, key });
        for (const key of ['early', 'again', 'seen']) await spool.settle({ source, key });
        await spool.settle({ source, key: 'nowhere' });
        under.setTime(T0 + 1_000);
        for (const key of ['late', 'again']) await spool.settle({ source, key });
        await spool.acknowledge({ source, key: 'seen' });
        await under.crash();
        spool = await under.reopen();
        expect(await spool.purge(T0 + 500)).toBe(0);
        const keys = ['open', 'early', 'late', 'again', 'seen', 'nowhere'];
        expect((await known(...keys)).toSorted()).toEqual(['again', 'late', 'open', 'seen']);
        await spool.purge(T0 + 1_000_000_000);
        expect((await known(...keys)).toSorted()).toEqual(['open', 'seen']);
      });

      it('are purged however many there are', async () => {
        const keys = Array.from({ length: 2_500 }, (_, n) => `key ${n}`);
        await Promise.all(keys.map((key) => spool.acknowledge({ source, key })));
        await Promise.all(keys.map((key) => spool.settle({ source, key })));
        await spool.purge(T0 + 1);
        expect(await known(...keys)).toEqual([]);
      });
    });

    describe('a cursor', () => {
      it('is kept by source, however long, and outlives a crash', async () => {
        expect(await spool.cursor('a')).toBeUndefined();
        await spool.keepCursor('a', 'first');
        await spool.keepCursor('b', 'x'.repeat(300_000));
        await spool.keepCursor('a', 'second');
        await under.crash();
        spool = await under.reopen();
        expect(await spool.cursor('a')).toBe('second');
        expect(await spool.cursor('b')).toHaveLength(300_000);
      });

      it('can be forgotten', async () => {
        await spool.keepCursor('a', '');
        expect(await spool.cursor('a')).toBe('');
        await spool.keepCursor('a', undefined);
        await spool.keepCursor('b', undefined);
        expect(await spool.cursor('a')).toBeUndefined();
      });
    });

    describe('taking by id', () => {
      it('takes what is queued, due or not, once', async () => {
        const item = await first();
        await spool.claim(lane, claim);
        await spool.defer(item.id, { due: T0 + 9_000, doubtful: false, status: delayed });
        const taken = { ...item, state: 'sending', attempts: 2, due: T0 + 9_000, lastStatus: delayed };
        const both = await Promise.all([spool.take(item.id, T0 + 60_000), spool.take(item.id, T0 + 60_000)]);
        expect(both).toEqual([taken, undefined]);
        expect((await spool.history(item.id)).at(-1)).toMatchObject({ what: 'attempted' });
        expect(await spool.renew(item.id, T0 + 90_000)).toBe(true);
        await spool.release(item.id);
        expect(await spool.get(item.id)).toMatchObject({ state: 'queued', attempts: 1, due: T0 + 9_000 });
      });

      it('takes nothing that is not there, is parked or has ended', async () => {
        const item = await first();
        await spool.hold(item.id);
        expect(await spool.take(item.id, T0)).toBeUndefined();
        await spool.drop(item.id, 'test');
        expect(await spool.take(item.id, T0)).toBeUndefined();
        expect(await spool.take('nowhere', T0)).toBeUndefined();
      });

      it('leaves a doubt after a crash, as any attempt', async () => {
        const item = await first();
        await spool.take(item.id, T0 + 60_000);
        await under.crash();
        spool = await under.reopen();
        expect(await spool.get(item.id)).toMatchObject({ state: 'queued', doubtful: true, attempts: 1 });
        expect(await spool.take(item.id, T0 + 60_000)).toMatchObject({ doubtful: true, attempts: 2 });
      });
    });

    describe("an operator's orders", () => {
      const state = async (id: string): Promise<string | undefined> => (await spool.get(id))?.state;
      const last = async (id: string): Promise<unknown> => (await spool.history(id)).at(-1);
      /** An item in each state that an order may meet. */
      const make = {
        queued: async () => (await first()).id,
        parked: async () => {
          const { id } = await first();
          await spool.claim(lane, claim);
          await spool.park(id, failed);
          return id;
        },
        sending: async () => {
          const { id } = await first();
          await spool.claim(lane, claim);
          return id;
        },
        relayed: async () => {
          const { id } = await first();
          await spool.claim(lane, claim);
          await spool.finish(id, relayed);
          return id;
        },
        absent: async () => 'no-such-item',
      };
      const orders = {
        retry: (id: string) => spool.retry(id),
        hold: (id: string) => spool.hold(id),
        move: (id: string) => spool.move(id, { route: 'other' }),
        drop: (id: string) => spool.drop(id, 'nobody wants it'),
      };

      it.each([
        ['retry', 'queued', 'done', 'queued'],
        ['retry', 'parked', 'done', 'queued'],
        ['retry', 'sending', 'sending', 'sending'],
        ['retry', 'relayed', 'ended', 'relayed'],
        ['retry', 'absent', 'absent', undefined],
        ['hold', 'queued', 'done', 'parked'],
        ['hold', 'parked', 'done', 'parked'],
        ['hold', 'sending', 'sending', 'sending'],
        ['hold', 'relayed', 'ended', 'relayed'],
        ['hold', 'absent', 'absent', undefined],
        ['move', 'queued', 'done', 'queued'],
        ['move', 'parked', 'done', 'parked'],
        ['move', 'sending', 'sending', 'sending'],
        ['move', 'relayed', 'ended', 'relayed'],
        ['move', 'absent', 'absent', undefined],
        ['drop', 'queued', 'done', 'dropped'],
        ['drop', 'parked', 'done', 'dropped'],
        ['drop', 'sending', 'sending', 'sending'],
        ['drop', 'relayed', 'ended', 'relayed'],
        ['drop', 'absent', 'absent', undefined],
      ] as const)('%s of what is %s: %s, then it is %s', async (order, before, result, after) => {
        const id = await make[before]();
        const lines = (await spool.history(id)).length;
        expect(await orders[order](id)).toBe(result);
        expect(await state(id)).toBe(after);
        const changed = result === 'done' && !(order === 'hold' && before === 'parked');
        expect((await spool.history(id)).length).toBe(lines + (changed ? 1 : 0));
      });

      it('retry: due now, in its old place if it was due, and with its last status', async () => {
        const id = await make.parked();
        under.setTime(T0 + 5_000);
        await spool.retry(id, 'anna');
        expect(await spool.get(id)).toMatchObject({ due: T0 + 5_000, attempts: 1, lastStatus: failed });
        expect(await last(id)).toEqual({ at: T0 + 5_000, what: 'retried', detail: 'by anna' });
        under.setTime(T0 + 9_000);
        await spool.retry(id);
        expect(await spool.get(id)).toMatchObject({ due: T0 + 5_000 });
        expect(await spool.claim(lane, { ...claim, now: T0 + 9_000 })).toMatchObject([{ id, attempts: 2 }]);
        await spool.defer(id, { due: T0 + 99_000, doubtful: false, status: delayed });
        await spool.retry(id);
        expect(await spool.get(id)).toMatchObject({ due: T0 + 9_000 });
      });

      it('retry and hold keep a doubt, and the time before which it cannot be resolved; move leaves it where it is', async () => {
        const { id } = await first();
        await spool.claim(lane, claim);
        await spool.defer(id, { due: T0 + 90_000, doubtful: true, status: unknown });
        under.setTime(T0 + 1_000);
        await spool.hold(id);
        expect(await spool.move(id, { mailbox: 'b@contoso.com' })).toBe('doubtful');
        await spool.retry(id);
        expect(await spool.get(id)).toMatchObject({ ...lane, state: 'queued', doubtful: true, due: T0 + 90_000 });
        expect(await spool.move(id, { mailbox: 'b@contoso.com' })).toBe('doubtful');
      });

      it('hold: out of its lane, body and last status kept, and it is parked from now on', async () => {
        const { id } = await first('keep me');
        await spool.claim(lane, claim);
        await spool.defer(id, { doubtful: false, status: delayed });
        under.setTime(T0 + 7_000);
        await spool.hold(id, 'anna');
        expect(await spool.get(id)).toMatchObject({ state: 'parked', lastStatus: delayed });
        expect(await last(id)).toEqual({ at: T0 + 7_000, what: 'held', detail: 'by anna' });
        expect(await spool.lanes()).toEqual([]);
        expect((await get(spool, id)).toString()).toBe('keep me');
        expect(await spool.dropParked({ before: T0 + 7_000, size: Infinity })).toEqual([]);
        expect(await spool.dropParked({ before: T0 + 7_001, size: Infinity })).toMatchObject([{ item: { id } }]);
      });

      it('move: to another mailbox, another route or both', async () => {
        const { id } = await first();
        await spool.move(id, { mailbox: 'b@contoso.com' }, 'anna');
        expect(await last(id)).toMatchObject({
          what: 'moved',
          detail: 'from exchange, a@contoso.com to exchange, b@contoso.com; by anna',
        });
        expect(await spool.claim(lane, claim)).toEqual([]);
        await spool.move(id, { route: 'other' });
        await spool.move(id, { route: 'third', mailbox: 'c@contoso.com' });
        const there = { route: 'third', mailbox: 'c@contoso.com' };
        expect(await spool.lanes()).toEqual([{ ...there, due: T0 }]);
        expect(await spool.claim(there, claim)).toMatchObject([{ id, ...there }]);
        await expect(spool.move(id, { route: 'a\nb' })).rejects.toThrow(TypeError);
      });

      it('drop: the body goes with the last that needs it, the history says why and who', async () => {
        const [a, b] = await put(spool, 'shared', [entry(), entry('b@contoso.com')]);
        await spool.drop(a?.id ?? '', 'sent by fax', 'anna');
        expect(await last(a?.id ?? '')).toEqual({ at: T0, what: 'dropped', detail: 'sent by fax; by anna' });
        expect((await get(spool, a?.message ?? '')).toString()).toBe('shared');
        await spool.drop(b?.id ?? '', 'sent by fax');
        await expect(get(spool, a?.message ?? '')).rejects.toThrow(SpoolError);
        expect(await spool.stats()).toMatchObject({ items: { queued: 0, dropped: 2 }, bytes: 0 });
        expect(await spool.purge(T0 + 1)).toBe(2);
      });

      it('check: looks at what has not ended, and finds it whole', async () => {
        await make.relayed();
        await make.queued();
        await make.parked();
        await first(randomBytes(900_000));
        await first(new Uint8Array());
        expect(await spool.check()).toEqual({ checked: 4, damaged: [] });
      });
    });

    it('keeps the books', async () => {
      for (let n = 0; n < 6; n++) {
        under.setTime(T0 + n);
        await first('12345');
      }
      const [a, b, c] = await spool.claim(lane, { ...claim, now: T0 + 10, limit: 4 });
      await spool.finish(a?.id ?? '', relayed);
      await spool.park(b?.id ?? '', delayed);
      await spool.defer(c?.id ?? '', { doubtful: true, status: unknown });
      expect(await spool.stats()).toMatchObject({
        items: { queued: 3, sending: 1, parked: 1, relayed: 1, bounced: 0, dropped: 0 },
        bytes: 25,
        oldest: T0 + 2,
      });
    });

    it('lists by state, mailbox, route and page', async () => {
      for (const mailbox of ['a@contoso.com', 'b@contoso.com', 'a@contoso.com'])
        await put(spool, 'x', [entry(mailbox)]);
      await put(spool, 'x', [entry('a@contoso.com', { route: 'other' })]);
      await spool.claim(lane, { ...claim, limit: 1 });
      const mailboxes = async (filter: Parameters<Spool['list']>[0]): Promise<string[]> =>
        (await spool.list(filter)).map((item) => `${item.route} ${item.mailbox} ${item.state}`);
      expect(await mailboxes({ states: ['sending'] })).toEqual(['exchange a@contoso.com sending']);
      expect(await mailboxes({ mailbox: 'b@contoso.com' })).toEqual(['exchange b@contoso.com queued']);
      expect(await mailboxes({ route: 'other' })).toEqual(['other a@contoso.com queued']);
      const page = await spool.list({ limit: 2 });
      expect(page.length).toBe(2);
      expect((await spool.list({ after: page[1]?.id ?? '' })).length).toBe(2);
    });

    it('lists by sender, recipient, Message-ID, ids and time of arrival', async () => {
      const add = async (n: number, from: string, to: readonly string[]): Promise<string> => {
        under.setTime(T0 + n);
        const envelope = { reversePath: from, recipients: to.map((address) => ({ address })) };
        const [item] = await put(spool, 'x', [entry('a@contoso.com', { envelope, messageId: `<${n}@contoso.com>` })]);
        return item?.id ?? '';
      };
      const ids = [
        await add(0, 'Scan-1@contoso.com', ['jürgen@fabrikam.com']),
        await add(1, 'scan-2@contoso.com', ['anna@contoso.com', 'Berta@Fabrikam.com']),
        await add(2, '', ['scan-1@contoso.com']),
      ];
      const found = async (filter: Parameters<Spool['list']>[0]): Promise<number[]> =>
        (await spool.list(filter)).map(({ id }) => ids.indexOf(id));
      expect(await found({ sender: 'scan-1@contoso.com' })).toEqual([0]);
      expect(await found({ sender: 'scan-*@contoso.com' })).toEqual([0, 1]);
      expect(await found({ sender: 'CAN-' })).toEqual([0, 1]);
      expect(await found({ sender: '' })).toEqual([2]);
      expect(await found({ recipient: '@fabrikam.com' })).toEqual([0, 1]);
      expect(await found({ recipient: 'berta' })).toEqual([1]);
      expect(await found({ recipient: '@fabrikam.com', sender: 'scan-2' })).toEqual([1]);
      expect(await found({ messageId: '1@contoso.com' })).toEqual([1]);
      expect(await found({ messageId: '<1@contoso.com>' })).toEqual([1]);
      expect(await found({ arrivedFrom: T0 + 1 })).toEqual([1, 2]);
      expect(await found({ arrivedFrom: T0 + 1, arrivedBefore: T0 + 2, states: ['queued'] })).toEqual([1]);
      expect(await found({ ids: [ids[2] ?? '', 'none', ids[0] ?? ''] })).toEqual([0, 2]);
      expect(await found({ sender: 'scan', limit: 1 })).toEqual([0]);
      expect(await found({ sender: 'scan', limit: 1, after: ids[0] ?? '' })).toEqual([1]);
      expect(await found({ sender: 'scan', states: ['parked', 'queued'], mailbox: 'a@contoso.com' })).toEqual([0, 1]);
    });

    it('begins the history with what was changed in the message', async () => {
      const [item] = await put(spool, 'body', [entry('a@contoso.com', { repairs: ['added Date', 'rewrote From'] })]);
      expect(await spool.history(item?.id ?? '')).toEqual([
        { at: T0, what: 'accepted', detail: 'added Date; rewrote From' },
      ]);
    });

    it('adds a line to the history', async () => {
      const item = await first();
      await spool.note(item.id, { what: 'verified', detail: 'found in Sent Items' });
      expect((await spool.history(item.id)).at(-1)).toEqual({
        at: T0,
        what: 'verified',
        detail: 'found in Sent Items',
      });
    });

    it('takes many at once, and loses none', async () => {
      const bodies = Array.from({ length: 200 }, (_, n) => randomBytes(n * 37));
      const items = await Promise.all(bodies.map((body) => put(spool, body)));
      for (const [n, [item]] of items.entries())
        expect((await get(spool, item?.id ?? '')).equals(bodies[n] ?? Buffer.alloc(0)), `${n}`).toBe(true);
      expect((await spool.stats()).items.queued).toBe(200);
    });

    it('answers everything after close() with an error, and close() again', async () => {
      const draft = spool.begin();
      await spool.close();
      await spool.close();
      await expect(spool.lanes()).rejects.toThrow(/closed/);
      await expect(draft.write(Buffer.alloc(300_000))).rejects.toThrow(/closed/);
      expect(spool.room()).toMatchObject({ ok: false });
    });
  });
}
