/** What several gateways on one database have in common: who is there, who does what, what is known, who sends what. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Gate, Json, Subject } from '../../src/mail/cluster.ts';
import type { LaneKey } from '../../src/mail/item.ts';
import { entry, failed, get, put, relayed, T0 } from './spool-under-test.ts';
import { claiming, idOf, lane, testBed, TestCluster } from './postgres-gateways.ts';
import type { TestGateway } from './postgres-gateways.ts';
import { withoutPostgres } from './postgres-server.ts';

const VERIFY_AFTER = 90_000;

describe.skipIf(withoutPostgres())('gateways on one database', () => {
  const bed = testBed();
  let one: TestGateway;
  let other: TestGateway;

  beforeEach(async () => {
    one = await bed.cluster.gateway({ host: 'mail-1', version: '1.0' });
    other = await bed.cluster.gateway({ host: 'mail-2', version: '1.1' });
  });

  const count = (n: number): Json => ({ count: n });
  const countIn = (state: Json | undefined): number =>
    typeof state === 'object' && state !== null && 'count' in state ? Number(state['count']) : 0;

  describe('members', () => {
    it('are those at work, with what they do', async () => {
      await put(one.spool);
      await put(one.spool);
      await one.spool.claim(lane, { ...claiming, limit: 1 });
      await one.cluster.hold('alarms');
      await one.cluster.hold('pickup fax');
      const members = await other.cluster.members();
      expect(members).toMatchObject([
        { id: one.cluster.id, host: 'mail-1', version: '1.0', sending: 1, duties: ['alarms', 'pickup fax'] },
        { id: other.cluster.id, host: 'mail-2', version: '1.1', sending: 0, duties: [] },
      ]);
      for (const { startedAt, seenAt } of members) {
        expect(Math.abs(seenAt - Date.now())).toBeLessThan(60_000);
        expect(startedAt).toBeLessThanOrEqual(seenAt);
      }
      expect(await one.cluster.members()).toEqual(await other.cluster.members());
    });

    it('are so no longer when they are closed, or not heard of for a lease', async () => {
      await one.spool.close();
      expect((await other.cluster.members()).map(({ host }) => host)).toEqual(['mail-2']);
      const third = await bed.cluster.gateway({ host: 'mail-3', lease: 2_000 });
      third.proxy.mode = 'swallows';
      await expect
        .poll(async () => (await other.cluster.members()).map(({ host }) => host), { timeout: 5_000 })
        .toEqual(['mail-2']);
    });

    it('come back after they were taken for dead', async () => {
      await bed.cluster.expire(one);
      await bed.cluster.sql(`DELETE FROM smtp2exchange.member WHERE host = 'mail-1'`);
      // A beat comes after whatever ends the connection.
      one.proxy.cut();
      await expect.poll(async () => (await other.cluster.members()).length, { timeout: 5_000 }).toBe(2);
      expect(await one.cluster.members()).toHaveLength(2);
    });
  });

  describe('a duty', () => {
    it('is one gateway at a time, also when all ask at once', async () => {
      const asked = await Promise.all(
        Array.from({ length: 40 }, (_, n) => (n % 2 === 0 ? one : other).cluster.hold(`duty ${n >> 1}`)),
      );
      for (let duty = 0; duty < 20; duty++)
        expect([asked[2 * duty], asked[2 * duty + 1]].toSorted()).toEqual([false, true]);
    });

    it('is kept by whoever has it, and free when it is left, or when the gateway is closed', async () => {
      expect(await one.cluster.hold('alarms')).toBe(true);
      expect(await one.cluster.hold('alarms')).toBe(true);
      expect(await other.cluster.hold('alarms')).toBe(false);
      await other.cluster.leave('alarms');
      expect(await other.cluster.hold('alarms')).toBe(false);
      await one.cluster.leave('alarms');
      expect(await other.cluster.hold('alarms')).toBe(true);
      await other.spool.close();
      expect(await one.cluster.hold('alarms')).toBe(true);
    });

    it('is taken over when the lease is over', async () => {
      await one.cluster.hold('alarms');
      await bed.cluster.expire(one);
      expect(await other.cluster.hold('alarms')).toBe(true);
      expect(await one.cluster.hold('alarms')).toBe(false);
    });
  });

  describe('what is known', () => {
    it('is changed by one at a time: nothing is lost', async () => {
      const change = (gateway: TestGateway): Promise<Json | undefined> =>
        gateway.cluster.change(lane, (state) => count(countIn(state) + 1));
      await Promise.all(Array.from({ length: 60 }, (_, n) => change(n % 2 === 0 ? one : other)));
      expect(await other.cluster.known()).toEqual([{ subject: lane, state: count(60) }]);
    });

    it('is of a lane, a route or what has a name of its own, and ends', async () => {
      const subjects: Subject[] = [lane, { route: 'exchange' }, { route: ' alarms' }];
      for (const subject of subjects) await one.cluster.change(subject, () => ({ a: ['b', 1, true, null] }));
      expect((await other.cluster.known()).map(({ subject }) => subject)).toEqual(expect.arrayContaining(subjects));
      for (const subject of subjects) expect(await one.cluster.change(subject, () => undefined)).toBeUndefined();
      expect(await other.cluster.known()).toEqual([]);
    });

    it('is told to the others, once, and not to whoever changed it', async () => {
      const told: Record<string, [Subject, Json | undefined][]> = { one: [], other: [] };
      one.cluster.listen({ due: () => undefined, changed: (...news) => void told['one']?.push(news) });
      const end = other.cluster.listen({ due: () => undefined, changed: (...news) => void told['other']?.push(news) });
      await one.cluster.change(lane, () => count(1));
      await vi.waitFor(() => expect(told['other']).toEqual([[lane, count(1)]]), { timeout: 4_000 });
      await one.cluster.change(lane, () => undefined);
      await vi.waitFor(() => expect(told['other']?.at(-1)).toEqual([lane, undefined]), { timeout: 4_000 });
      await one.cluster.change(lane, (state) => state);
      end();
      await one.cluster.change({ route: 'exchange' }, () => count(2));
      await vi.waitFor(() => expect(told['other']).toHaveLength(2));
      expect(told['one']).toEqual([]);
    });

    it('comes also to those that have heard nothing for a while', async () => {
      const told: (Json | undefined)[] = [];
      other.cluster.listen({ due: () => undefined, changed: (_, state) => void told.push(state) });
      other.proxy.mode = 'swallows';
      await one.cluster.change(lane, () => count(7));
      other.proxy.mode = 'passes';
      await vi.waitFor(() => expect(told).toEqual([count(7)]), { timeout: 8_000 });
    });
  });

  describe('mail that is due', () => {
    it('is told to the others when it arrives, and when an operator wants it tried', async () => {
      const due: LaneKey[] = [];
      other.cluster.listen({ due: (lane) => void due.push(lane), changed: () => undefined });
      const id = idOf(await put(one.spool, 'x', [entry('b@contoso.com')]));
      await vi.waitFor(() => expect(due).toContainEqual({ ...lane, mailbox: 'b@contoso.com' }), { timeout: 4_000 });
      due.length = 0;
      await one.spool.hold(id);
      await one.spool.retry(id);
      await vi.waitFor(() => expect(due).toContainEqual({ ...lane, mailbox: 'b@contoso.com' }), { timeout: 4_000 });
    });

    it('is found by looking where nobody tells', async () => {
      const due: LaneKey[] = [];
      other.cluster.listen({ due: (lane) => void due.push(lane), changed: () => undefined });
      // A look before, to see what is new.
      await new Promise((resolve) => setTimeout(resolve, 1_200));
      const [{ id } = { id: '' }] = await put(one.spool);
      due.length = 0;
      await bed.cluster.sql(`UPDATE smtp2exchange.item SET lane = E'exchange\\nc@contoso.com' WHERE id = '${id}'`);
      await vi.waitFor(() => expect(due).toContainEqual({ ...lane, mailbox: 'c@contoso.com' }), { timeout: 4_000 });
    });
  });

  describe('claims', () => {
    it('never give one item twice, however many ask', async () => {
      await Promise.all(Array.from({ length: 300 }, () => put(one.spool)));
      const third = await bed.cluster.gateway();
      const got: string[] = [];
      await Promise.all(
        [one, other, third].flatMap((gateway) =>
          Array.from({ length: 4 }, async () => {
            for (let empty = 0; empty < 3;) {
              const items = await gateway.spool.claim(lane, { ...claiming, limit: 5 });
              if (items.length === 0) empty++;
              got.push(...items.map(({ id }) => id));
              for (const { id } of items) await gateway.spool.finish(id, relayed);
            }
          }),
        ),
      );
      expect(got).toHaveLength(300);
      expect(new Set(got).size).toBe(300);
      expect((await one.spool.stats()).items).toMatchObject({ queued: 0, sending: 0, relayed: 300 });
    });

    it('go by what all gateways know together, exactly', async () => {
      await Promise.all(Array.from({ length: 120 }, () => put(one.spool)));
      const seen: number[] = [];
      // At most three at a time, and never more than fifty in all.
      const gate: Gate = ({ lane: known, sending }) => {
        seen.push(sending);
        const begun = countIn(known);
        return {
          limit: Math.max(0, Math.min(3 - sending, 50 - begun)),
          after: (claimed) => ({ lane: count(begun + claimed) }),
        };
      };
      let begun = 0;
      await Promise.all(
        [one, other].flatMap((gateway) =>
          Array.from({ length: 3 }, async () => {
            for (let empty = 0; empty < 20;) {
              const items = await gateway.spool.claim(lane, { ...claiming, limit: 2, gate });
              if (items.length === 0) empty++;
              begun += items.length;
              for (const { id } of items) await gateway.spool.finish(id, relayed);
            }
          }),
        ),
      );
      expect(begun).toBe(50);
      expect(Math.max(...seen)).toBeLessThanOrEqual(3);
      expect(await one.cluster.known()).toEqual([{ subject: lane, state: count(50) }]);
    });

    it('write nothing where nothing is claimed', async () => {
      const gate: Gate = () => ({ limit: 5, after: () => ({ lane: 1, route: 2 }) });
      expect(await one.spool.claim(lane, { ...claiming, gate })).toEqual([]);
      await put(one.spool);
      const shut: Gate = () => ({ limit: 0, after: () => ({ lane: 1, route: 2 }) });
      expect(await one.spool.claim(lane, { ...claiming, gate: shut })).toEqual([]);
      expect(await bed.cluster.sql('SELECT * FROM smtp2exchange.known')).toEqual([]);
      expect(await one.spool.claim(lane, { ...claiming, gate })).toHaveLength(1);
      expect(await other.cluster.known()).toHaveLength(2);
    });
  });

  describe('a gateway that is not heard of any more', () => {
    it('leaves what it was sending in doubt, and changes nothing of it afterwards', async () => {
      const ids = [];
      for (let n = 0; n < 4; n++) ids.push(idOf(await put(one.spool)));
      await one.spool.claim(lane, claiming);
      const [finished = '', deferred = '', parked = '', split = ''] = ids;
      await bed.cluster.expire(one);
      const third = await bed.cluster.gateway({ host: 'mail-3' });
      // By whoever was first.
      const taken = [one, other, third].flatMap(({ told }) => told('spool.takenOver').map(({ items }) => items));
      const recovered = third.told('spool.open').map(({ recovered: items }) => items);
      expect([...taken, ...recovered].reduce((sum, items) => sum + items)).toBe(4);
      const now = third.cluster.now();
      for (const id of ids) {
        const item = await third.spool.get(id);
        expect(item).toMatchObject({ state: 'queued', doubtful: true, attempts: 1 });
        expect(Math.abs((item?.due ?? 0) - now - VERIFY_AFTER)).toBeLessThan(20_000);
        expect((await third.spool.history(id)).at(-1)).toMatchObject({ what: 'recovered' });
      }
      const before = await third.spool.list({});
      const lines = await third.spool.history(finished);
      expect(await one.spool.renew(finished, claiming.leaseUntil)).toBe(false);
      await one.spool.finish(finished, relayed);
      await one.spool.defer(deferred, { doubtful: false, status: failed as never });
      expect(await one.spool.park(parked, failed)).toBeUndefined();
      expect(await one.spool.split(split, [['a']], relayed)).toBeUndefined();
      await one.spool.release(split);
      for (const id of ids)
        await expect(one.spool.note(id, { what: 'step', detail: 'x' })).rejects.toThrow(/taken over/);
      expect(await third.spool.list({})).toEqual(before);
      expect(await third.spool.history(finished)).toEqual(lines);
      const told = one.spool.begin();
      expect(await told.commitTelling([entry()], { id: finished, what: 'bounced', status: failed })).toBeUndefined();
    });

    it('is taken over by one that is at work, which says so; what was being received is gone', async () => {
      const third = await bed.cluster.gateway({ host: 'mail-3', lease: 2_000 });
      const id = idOf(await put(third.spool));
      await third.spool.claim(lane, { ...claiming, leaseUntil: third.cluster.now() + 500 });
      const draft = third.spool.begin();
      for (let n = 0; n < 4; n++) await draft.write(new Uint8Array(300_000));
      const chunks = async (): Promise<number> => {
        const rows = await bed.cluster.sql(`SELECT 1 FROM smtp2exchange.chunk WHERE message <> '${id}'`);
        return rows.length;
      };
      await expect.poll(chunks).toBe(4);
      const due: LaneKey[] = [];
      const fourth = await bed.cluster.gateway({ lease: 2_000 });
      fourth.cluster.listen({ due: (lane) => void due.push(lane), changed: () => undefined });
      third.proxy.mode = 'swallows';
      await vi.waitFor(() => expect(fourth.told('spool.takenOver')).toMatchObject([{ items: 1, from: 'mail-3' }]), {
        timeout: 8_000,
      });
      expect(await fourth.spool.get(id)).toMatchObject({ state: 'queued', doubtful: true });
      expect(due).toContainEqual(lane);
      await expect.poll(chunks, { timeout: 8_000 }).toBe(0);
      third.proxy.mode = 'passes';
      // It wakes up, and what it wants to commit is not there any more.
      await expect(draft.commit([entry()])).rejects.toThrow(/was being received/);
      expect(await fourth.spool.list({})).toHaveLength(1);
    });

    it('does not take over its own work while it has the lease', async () => {
      const id = idOf(await put(one.spool));
      await one.spool.claim(lane, { ...claiming, leaseUntil: one.cluster.now() + 60_000 });
      const third = await bed.cluster.gateway();
      expect(third.told('spool.open')).toMatchObject([{ recovered: 0 }]);
      await one.spool.finish(id, relayed);
      expect(await third.spool.get(id)).toMatchObject({ state: 'relayed' });
    });
  });

  it('reads what another one has taken, and removes bodies that it has not written', async () => {
    const body = Buffer.alloc(700_000, 'x');
    const id = idOf(await put(one.spool, body));
    expect((await get(other.spool, id)).equals(body)).toBe(true);
    await other.spool.claim(lane, claiming);
    await other.spool.finish(id, relayed);
    await expect(get(one.spool, id)).rejects.toThrow(/no body/);
    await expect.poll(async () => bed.cluster.sql('SELECT 1 FROM smtp2exchange.chunk'), { timeout: 4_000 }).toEqual([]);
    expect((await one.spool.stats()).bytes).toBe(0);
  });

  it('sets the time back with the clock of the server, for all that waits', async () => {
    let time = T0;
    await using alone = await TestCluster.start(bed.server);
    const [third, fourth] = [
      await alone.gateway({ now: () => time, lease: 2_000 }),
      await alone.gateway({ now: () => time, lease: 2_000 }),
    ];
    const id = idOf(await put(third.spool));
    const sent = idOf(await put(third.spool));
    await third.spool.take(sent, T0 + 60_000);
    await third.cluster.hold('alarms');
    time -= 3_600_000;
    await expect.poll(async () => (await fourth.spool.get(id))?.due, { timeout: 5_000 }).toBeLessThan(T0 - 3_500_000);
    expect(await fourth.cluster.members()).toHaveLength(2);
    // Nobody has a lease for an hour longer than it was given for.
    time += 70_000;
    await vi.waitFor(
      async () => expect(await fourth.spool.get(sent)).toMatchObject({ state: 'queued', doubtful: true }),
      {
        timeout: 5_000,
      },
    );
    expect((await fourth.spool.get(id))?.due).toBeGreaterThan(T0 - 3_700_000);
  });
});
