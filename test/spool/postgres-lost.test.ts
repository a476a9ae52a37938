/** Answers of the database that are lost: what was ordered is done once, and whoever ordered gets to know it. */
import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Json } from '../../src/mail/cluster.ts';
import type { Draft } from '../../src/mail/spool.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import { claiming, idOf, lane, testBed } from './postgres-gateways.ts';
import type { TestGateway } from './postgres-gateways.ts';
import { withoutPostgres } from './postgres-server.ts';
import { delayed, entry, failed, get, put, relayed } from './spool-under-test.ts';

describe.skipIf(withoutPostgres())('an answer that is lost', () => {
  const bed = testBed();
  let gateway: TestGateway;

  beforeEach(async () => {
    gateway = await bed.cluster.gateway({ queryTimeout: 3_000 });
  });

  /** Orders while the answer to the next request that holds `text` is lost. */
  async function losing<Result>(text: string, order: () => Promise<Result>): Promise<Result> {
    const lost = gateway.proxy.cutAfter(text);
    const result = await order();
    await lost;
    expect(gateway.told('spool.trouble')).toEqual([]);
    return result;
  }
  /** What it rejects with. */
  const failureOf = (order: Promise<unknown>): Promise<unknown> =>
    order.then(
      () => undefined,
      (error: unknown) => error,
    );
  const lines = async (id: string): Promise<string[]> => (await gateway.spool.history(id)).map(({ what }) => what);
  type Order = (id: string) => Promise<unknown>;
  const sending = async (tells = false): Promise<string> => {
    const id = idOf(await put(gateway.spool));
    await gateway.spool.take(id, claiming.leaseUntil);
    if (!tells) return id;
    const notice = await gateway.spool.begin().commitTelling([entry()], { id, what: 'bounced', status: failed });
    await gateway.spool.take(idOf(notice), claiming.leaseUntil);
    return idOf(notice);
  };

  describe('to a commit', () => {
    it.each([0, 10, 1_000_000])('of %i octets: it is there once', async (size) => {
      const body = randomBytes(size);
      const draft = gateway.spool.begin();
      await draft.write(body);
      const items = await losing(`${draft.id}`, () => draft.commit([entry(), entry('b@contoso.com')]));
      expect(items).toHaveLength(2);
      expect(await gateway.spool.list({})).toEqual(items);
      expect((await get(gateway.spool, draft.id)).equals(body)).toBe(true);
      expect(await gateway.spool.stats()).toMatchObject({ items: { queued: 2 }, bytes: size });
      expect(await lines(draft.id)).toEqual(['accepted']);
    });

    it('of many: each is there once', async () => {
      const drafts = Array.from({ length: 200 }, () => gateway.spool.begin());
      await losing(drafts[77]?.id ?? '', () => Promise.all(drafts.map((draft) => draft.commit([entry()]))));
      expect((await gateway.spool.list({ limit: 1_000 })).map(({ id }) => id).toSorted()).toEqual(
        drafts.map(({ id }) => id).toSorted(),
      );
      expect((await gateway.spool.stats()).items.queued).toBe(200);
    });

    it('that was already sent on, and its body removed, by another gateway', async () => {
      const other = await bed.cluster.gateway();
      const draft = gateway.spool.begin();
      await draft.write(Buffer.from('body'));
      const reached = gateway.proxy.passed(draft.id);
      gateway.proxy.delay = 700;
      const commit = draft.commit([entry()]);
      await reached;
      let items = await other.spool.claim(lane, claiming);
      while (items.length === 0) items = await other.spool.claim(lane, claiming);
      await other.spool.finish(draft.id, relayed);
      await expect.poll(async () => bed.cluster.sql('SELECT 1 FROM smtp2exchange.message')).toEqual([]);
      gateway.proxy.cut();
      gateway.proxy.delay = 0;
      expect(await commit).toHaveLength(1);
      expect(await gateway.spool.list({})).toMatchObject([{ id: draft.id, state: 'relayed' }]);
    });

    it.each([10, 600_000])('with a receipt: taken once, with its body of %i octets', async (octets) => {
      const draft = gateway.spool.begin();
      const body = randomBytes(octets);
      await draft.write(body);
      const receipt = { source: 'fax', key: 'k' };
      expect(await losing(draft.id, () => draft.commitOnce([entry()], receipt))).toHaveLength(1);
      expect((await get(gateway.spool, draft.id)).equals(body)).toBe(true);
      expect(await gateway.spool.begin().commitOnce([entry()], receipt)).toBeUndefined();
      expect(await gateway.spool.list({})).toHaveLength(1);
    });

    it.each(['bounced', 'warned', 'relayed'] as const)('that tells of another, %s: told once', async (what) => {
      const id = await sending();
      const draft = gateway.spool.begin();
      await draft.write(Buffer.from('notice'));
      // The last of its transaction.
      const lost = gateway.proxy.cutAfter('COMMIT');
      expect(await draft.commitTelling([entry()], { id, what, status: failed })).toHaveLength(1);
      await lost;
      expect((await lines(id)).filter((line) => line === what)).toHaveLength(1);
      expect(await gateway.spool.list({})).toHaveLength(2);
    });
  });

  describe('to an order about an item', () => {
    it('claim: gives out what it has taken', async () => {
      const ids = [];
      for (let n = 0; n < 5; n++) ids.push(idOf(await put(gateway.spool)));
      const gate = { count: 0 };
      const items = await losing(ids[0] ?? '', () =>
        gateway.spool.claim(lane, {
          ...claiming,
          limit: 3,
          gate: ({ lane: known }) => ({
            limit: 3,
            after: (claimed) => ({ lane: (typeof known === 'number' ? known : 0) + claimed + 0 * gate.count++ }),
          }),
        }),
      );
      expect(items.map(({ id }) => id)).toEqual(ids.slice(0, 3));
      expect(items[0]).toMatchObject({ state: 'sending', attempts: 1 });
      expect(await gateway.spool.list({ states: ['sending'] })).toHaveLength(3);
      expect(await gateway.cluster.known()).toEqual([{ subject: lane, state: 3 }]);
      for (const { id } of items) await gateway.spool.finish(id, relayed);
      expect((await gateway.spool.stats()).items).toMatchObject({ relayed: 3, queued: 2 });
    });

    it('take', async () => {
      const id = idOf(await put(gateway.spool));
      const lost = gateway.proxy.cutAfter('COMMIT');
      expect(await gateway.spool.take(id, claiming.leaseUntil)).toMatchObject({ id, attempts: 1 });
      await lost;
      expect(await gateway.spool.renew(id, claiming.leaseUntil)).toBe(true);
    });

    it.each([
      ['finish', 'relayed', 'relayed'],
      ['park', 'parked', 'parked'],
      ['defer', 'queued', 'delayed'],
      ['release', 'queued', 'released'],
    ] as const)('%s', async (order, state, line) => {
      const orders: Record<typeof order, Order> = {
        finish: (id) => gateway.spool.finish(id, relayed),
        park: (id) => gateway.spool.park(id, failed),
        defer: (id) => gateway.spool.defer(id, { doubtful: false, status: delayed }),
        release: (id) => gateway.spool.release(id),
      };
      const id = await sending();
      await losing(id, () => orders[order](id));
      expect(await gateway.spool.get(id)).toMatchObject({ state });
      expect(await lines(id)).toEqual(['accepted', 'attempted', line]);
      expect((await gateway.spool.stats()).bytes).toBe(state === 'relayed' ? 0 : 4);
    });

    it('release, of what is claimed again meanwhile: the later claim stays', async () => {
      const id = await sending();
      const order = gateway.spool.release(id);
      await order;
      await gateway.spool.take(id, claiming.leaseUntil);
      await losing(id, () => gateway.spool.renew(id, claiming.leaseUntil));
      expect(await gateway.spool.get(id)).toMatchObject({ state: 'sending', attempts: 1 });
    });

    it('the end of a notice that is delivered', async () => {
      const notice = await sending(true);
      const lost = gateway.proxy.cutAfter('COMMIT');
      await gateway.spool.finish(notice, relayed);
      await lost;
      expect((await lines(notice)).slice(2)).toEqual(['relayed']);
      expect(await gateway.spool.stats()).toMatchObject({ items: { relayed: 1, bounced: 1 }, bytes: 0 });
    });

    it('the end of a notice that is not delivered', async () => {
      const notice = await sending(true);
      const lost = gateway.proxy.cutAfter('COMMIT');
      expect(await gateway.spool.park(notice, failed)).toMatchObject({ state: 'parked' });
      await lost;
      expect((await lines(notice)).slice(2)).toEqual(['dropped']);
      expect(await gateway.spool.stats()).toMatchObject({ items: { dropped: 1, parked: 1 }, bytes: 4 });
    });

    it('split: finds the parts that it has made, in order', async () => {
      const people = Array.from({ length: 14 }, (_, n) => ({ address: `${n}@x.test` }));
      const many = entry('a@contoso.com', { envelope: { reversePath: '', recipients: people } });
      const id = idOf(await put(gateway.spool, 'body', [many]));
      await gateway.spool.take(id, claiming.leaseUntil);
      const wanted = people.slice(1).map(({ address }) => [address]);
      const lost = gateway.proxy.cutAfter('COMMIT');
      const parts = await gateway.spool.split(id, wanted, relayed);
      await lost;
      expect(parts?.map(({ envelope }) => envelope.recipients.map(({ address }) => address))).toEqual(wanted);
      expect((await gateway.spool.stats()).items).toMatchObject({ sending: 13, relayed: 1 });
      for (const part of parts ?? []) await gateway.spool.finish(part.id, relayed);
      expect(await gateway.spool.stats()).toMatchObject({ items: { relayed: 14 }, bytes: 0 });
    });

    it('note: one line', async () => {
      const id = await sending();
      await losing('draft saved', () => gateway.spool.note(id, { what: 'step', detail: 'draft saved' }));
      expect(await lines(id)).toEqual(['accepted', 'attempted', 'step']);
    });

    it.each([
      ['retry', (id: string) => gateway.spool.retry(id, 'anna'), 'retried'],
      ['hold', (id: string) => gateway.spool.hold(id, 'anna'), 'held'],
      ['move', (id: string) => gateway.spool.move(id, { route: 'other' }, 'anna'), 'moved'],
      ['drop', (id: string) => gateway.spool.drop(id, 'why', 'anna'), 'dropped'],
    ] as const)("an operator's: %s", async (_, order, line) => {
      const id = idOf(await put(gateway.spool));
      const lost = gateway.proxy.cutAfter('COMMIT');
      expect(await order(id)).toBe('done');
      await lost;
      expect(await lines(id)).toEqual(['accepted', line]);
    });
  });

  it('to a change of what is known: changed once', async () => {
    const add = (state: Json | undefined): Json => Number(state ?? 0) + 1;
    await gateway.cluster.change(lane, add);
    const lost = gateway.proxy.cutAfter('COMMIT');
    expect(await gateway.cluster.change(lane, add)).toBe(2);
    await lost;
    expect(await gateway.cluster.known()).toEqual([{ subject: lane, state: 2 }]);
  });

  it('to a question: it is asked again', async () => {
    const body = randomBytes(900_000);
    const id = idOf(await put(gateway.spool, body));
    expect((await losing(id, () => get(gateway.spool, id))).equals(body)).toBe(true);
    expect(await losing(id, () => gateway.spool.get(id))).toMatchObject({ id });
    expect(await losing('duty 1', () => gateway.cluster.hold('duty 1'))).toBe(true);
    await losing('cursor 1', () => gateway.spool.keepCursor('fax', 'cursor 1'));
    await losing('key 1', () => gateway.spool.acknowledge({ source: 'fax', key: 'key 1' }));
    expect([...(await losing('key 1', () => gateway.spool.received('fax', ['key 1'])))]).toEqual(['key 1']);
  });

  describe('for longer', () => {
    it('a commit waits for the database, and is there once', async () => {
      const draft = gateway.spool.begin();
      const reached = gateway.proxy.cutAfter(draft.id);
      const commit = draft.commit([entry()]);
      await reached;
      gateway.proxy.mode = 'refuses';
      await vi.waitFor(() => expect(gateway.spool.room()).toMatchObject({ ok: false }));
      await expect(put(gateway.spool)).rejects.toThrow(SpoolError);
      gateway.proxy.mode = 'passes';
      expect(await commit).toHaveLength(1);
      await vi.waitFor(() => expect(gateway.spool.room()).toEqual({ ok: true }), { timeout: 4_000 });
      expect(await gateway.spool.list({})).toHaveLength(1);
      expect(gateway.told('spool.trouble')).toHaveLength(1);
      expect(gateway.told('spool.recovered')).toHaveLength(1);
    });

    it('a commit that nobody waits for any more is withdrawn, as long as nobody sends it', async () => {
      const impatient = await bed.cluster.gateway({ commitPatience: 300 });
      const bystander = await bed.cluster.gateway();
      /** In doubt until its sender was told that it was not taken. */
      const doubt = async (draft: Draft, then: () => Promise<unknown>): Promise<void> => {
        const reached = impatient.proxy.cutAfter(draft.id);
        const commit = failureOf(draft.commit([entry()]));
        await reached;
        impatient.proxy.mode = 'refuses';
        expect(await commit).toBeInstanceOf(SpoolError);
        expect(await bystander.spool.get(draft.id)).toMatchObject({ state: 'queued' });
        await then();
        impatient.proxy.mode = 'passes';
        await vi.waitFor(() => expect(impatient.spool.room()).toEqual({ ok: true }), { timeout: 4_000 });
      };
      const [sent, kept] = [impatient.spool.begin(), impatient.spool.begin()];
      // What is left for the commit is small: it goes through whole.
      await kept.write(randomBytes(2 * 262_144 + 10));
      await expect.poll(async () => (await bed.cluster.sql('SELECT 1 FROM smtp2exchange.chunk')).length).toBe(2);
      await doubt(sent, () => bystander.spool.take(sent.id, claiming.leaseUntil));
      await doubt(kept, async () => undefined);
      await vi.waitFor(async () => expect(await bystander.spool.get(kept.id)).toBeUndefined(), { timeout: 4_000 });
      expect(await bystander.spool.get(sent.id)).toMatchObject({ state: 'sending' });
      expect(await bystander.spool.history(kept.id)).toEqual([]);
      await expect
        .poll(async () => bed.cluster.sql('SELECT 1 FROM smtp2exchange.chunk'), { timeout: 4_000 })
        .toEqual([]);
      expect(await bystander.spool.stats()).toMatchObject({ items: { queued: 0, sending: 1 }, bytes: 0 });
      // The same commit once more, held back by the network, would find its place taken.
      expect(await bed.cluster.sql(`SELECT users FROM smtp2exchange.message WHERE id = '${kept.id}'`)).toEqual([
        { users: 1 },
      ]);
    });

    it('what a claim has taken without our knowing is given back', async () => {
      const id = idOf(await put(gateway.spool));
      const reached = gateway.proxy.cutAfter(id);
      const claim = failureOf(gateway.spool.claim(lane, claiming));
      await reached;
      gateway.proxy.mode = 'refuses';
      expect(await claim).toBeInstanceOf(SpoolError);
      gateway.proxy.mode = 'passes';
      await vi.waitFor(
        async () => expect(await gateway.spool.get(id)).toMatchObject({ state: 'queued', attempts: 0 }),
        {
          timeout: 4_000,
        },
      );
      expect(await lines(id)).toEqual(['accepted', 'attempted', 'released']);
    });

    it('a database that says nothing is given up after a while, and comes back', async () => {
      const id = await sending();
      const quick = await bed.cluster.gateway({ queryTimeout: 600 });
      quick.proxy.mode = 'swallows';
      const order = failureOf(quick.spool.get(id));
      await vi.waitFor(() => expect(quick.told('spool.trouble')).toHaveLength(1), { timeout: 12_000 });
      expect(String(await order)).toMatch(/stopped to answer|does not answer/);
      quick.proxy.mode = 'passes';
      await vi.waitFor(() => expect(quick.told('spool.recovered')).toHaveLength(1), { timeout: 12_000 });
      expect(await quick.spool.get(id)).toMatchObject({ id });
    });
  });
});
