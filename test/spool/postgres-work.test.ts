/** How the PostgreSQL engine goes about its work: in groups, by its own clock, with counts that nobody waits for. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { StoreClock } from '../../src/spool/postgres-clock.ts';
import { Group } from '../../src/spool/postgres-group.ts';
import { Tickets } from '../../src/spool/postgres-tickets.ts';
import { PostgresError, reasonOf } from '../../src/spool/postgres-trouble.ts';
import { claiming, idOf, lane, testBed } from './postgres-gateways.ts';
import { withoutPostgres } from './postgres-server.ts';
import { entry, get, put, relayed } from './spool-under-test.ts';

describe('orders in groups', () => {
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const failure = (code: string): PostgresError =>
    new PostgresError(reasonOf({ code, message: '', isConnecting: false }), 'x');

  it('go together when they come together, or while others are under way', async () => {
    const runs: number[][] = [];
    const gate = Promise.withResolvers<void>();
    const group = new Group<number, number>(async (orders) => {
      runs.push([...orders]);
      if (runs.length === 1) await gate.promise;
      return orders.map((order) => order * 10);
    });
    const first = [group.add(1), group.add(2)];
    await turn();
    const others = [group.add(3), group.add(4), group.add(5)];
    await turn();
    expect(runs).toEqual([[1, 2]]);
    gate.resolve();
    expect(await Promise.all([...first, ...others])).toEqual([10, 20, 30, 40, 50]);
    expect(runs).toEqual([
      [1, 2],
      [3, 4, 5],
    ]);
  });

  it('are bounded in number and octets, but one is always taken', async () => {
    const runs: number[] = [];
    const limits = { count: 3, octets: 100 };
    const group = new Group<number, undefined>(async (orders) => {
      runs.push(orders.length);
      return orders.map(() => undefined);
    }, limits);
    await Promise.all([500, 10, 10, 10, 10, 60, 60].map((octets) => group.add(octets, octets)));
    expect(runs).toEqual([1, 3, 2, 1]);
  });

  it('fail alone, where it is their own fault, and all together where it is not', async () => {
    const group = new Group<string, string>(async (orders) => {
      if (orders.includes('bad')) throw failure('22021');
      if (orders.includes('away')) throw failure('08006');
      return orders;
    });
    const mixed = await Promise.allSettled(['a', 'bad', 'b'].map((order) => group.add(order)));
    expect(mixed.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    const away = await Promise.allSettled(['a', 'away'].map((order) => group.add(order)));
    expect(away.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await group.add('c')).toBe('c');
  });

  it('go on behind one that says so before its end', async () => {
    const end = Promise.withResolvers<void>();
    const group = new Group<string, string>(async (orders, next) => {
      if (orders[0] === 'slow') {
        next();
        await end.promise;
      }
      return orders;
    });
    const slow = group.add('slow');
    await turn();
    expect(await group.add('quick')).toBe('quick');
    end.resolve();
    expect(await slow).toBe('slow');
  });
});

describe("the store's clock", () => {
  it("is the server's, carried on between looks, and moves only as far as it must", () => {
    let steady = 1_000;
    const clock = new StoreClock(undefined, () => steady);
    clock.learn({ time: 500_000, asked: 990, answered: 1_010 });
    // Rather behind than ahead: others would take theirs for set back.
    expect(clock.now()).toBe(499_990);
    steady += 250;
    expect(clock.now()).toBe(500_240);
    // An answer that took long tells little.
    clock.learn({ time: 500_900, asked: 1_000, answered: 2_000 });
    expect(clock.now()).toBe(500_240);
    clock.learn({ time: 500_260, asked: 1_245, answered: 1_250 });
    expect(clock.now()).toBe(500_260);
  });

  it('never goes back a little, and does where it was set back', () => {
    const clock = new StoreClock(undefined, () => 0);
    clock.learn({ time: 900_000, asked: 0, answered: 0 });
    expect(clock.now()).toBe(900_000);
    clock.learn({ time: 899_500, asked: 0, answered: 0 });
    expect(clock.now()).toBe(900_000);
    clock.learn({ time: 800_000, asked: 0, answered: 0 });
    expect(clock.now()).toBe(800_000);
  });
});

describe('tickets', () => {
  const item = (id: string): never => ({ id }) as never;

  it('tell what is ours, and what only the database knows of', async () => {
    const tickets = new Tickets();
    const first = await tickets.during(async (ticket) => {
      tickets.took(ticket, [item('a')]);
      return ticket;
    });
    const held = Promise.withResolvers<void>();
    let underWay = 0;
    const claim = tickets.during(async (ticket) => {
      underWay = ticket;
      await held.promise;
    });
    const isStray = tickets.stray();
    expect(tickets.of('a')).toEqual({ ticket: first });
    expect(isStray('a', first)).toBe(false);
    expect(isStray('a', underWay)).toBe(false);
    expect(isStray('b', first)).toBe(true);
    // Of a claim that was begun afterwards nothing is known yet.
    expect(isStray('b', underWay + 1)).toBe(false);
    held.resolve();
    await claim;
    expect(tickets.stray()('b', underWay)).toBe(true);
    const missing = tickets.missing();
    await tickets.during(async (ticket) => tickets.took(ticket, [item('c')]));
    missing(new Map([['a', first]]));
    expect([tickets.of('a'), tickets.of('c')]).toEqual([{ ticket: first }, { ticket: underWay + 1 }]);
    tickets.missing()(new Map([['a', first]]));
    expect(tickets.of('c')).toBeUndefined();
    tickets.left('a', underWay);
    expect(tickets.of('a')).toEqual({ ticket: first });
    tickets.left('a', first);
    expect(tickets.of('a')).toBeUndefined();
  });
});

describe.skipIf(withoutPostgres())('on a server', () => {
  const bed = testBed();

  const counted = async (): Promise<Record<string, number>> => {
    const rows = await bed.cluster.sql<{ state: string; n: string }>(
      'SELECT state, count(*) AS n FROM smtp2exchange.item GROUP BY state',
    );
    return Object.fromEntries(rows.map(({ state, n }) => [state, Number(n)]));
  };

  it('hundreds that arrive together are few transactions', async () => {
    const { spool } = await bed.cluster.gateway();
    await put(spool);
    const commits = async (): Promise<number> => {
      const [row] = await bed.cluster.sql<{ n: string }>(
        'SELECT count(DISTINCT xmin::text) AS n FROM smtp2exchange.item',
      );
      return Number(row?.n);
    };
    const before = await commits();
    await Promise.all(Array.from({ length: 400 }, () => put(spool, randomBytes(500))));
    expect((await commits()) - before).toBeLessThan(20);
    expect((await spool.stats()).items.queued).toBe(401);
    const items = await spool.claim(lane, { ...claiming, limit: 401 });
    await Promise.all(items.map(({ id }) => spool.finish(id, relayed)));
    expect(await counted()).toEqual({ relayed: 401 });
  });

  it('keeps counts that are exact, whoever changes what, and folds them', async () => {
    const gateways = [await bed.cluster.gateway({ lease: 2_000 }), await bed.cluster.gateway({ lease: 2_000 })];
    const lease = { ...claiming, leaseUntil: Number.MAX_SAFE_INTEGER };
    await Promise.all(
      gateways.flatMap(({ spool }) =>
        Array.from({ length: 8 }, async () => {
          for (let n = 0; n < 15; n++) {
            await put(spool, 'x'.repeat(10));
            const [item] = await spool.claim(lane, { ...lease, limit: 1 });
            if (item !== undefined && n % 3 > 0) await spool.finish(item.id, relayed);
            else if (item !== undefined) await spool.release(item.id);
          }
        }),
      ),
    );
    const [{ spool } = { spool: undefined }] = gateways;
    const stats = await spool?.stats();
    const { queued = 0, relayed: done = 0, sending = 0 } = await counted();
    expect(stats).toMatchObject({ items: { queued, relayed: done, sending }, bytes: (queued + sending) * 10 });
    expect(queued + done + sending).toBe(240);
    const rows = async (): Promise<number> => (await bed.cluster.sql('SELECT 1 FROM smtp2exchange.tally')).length;
    await expect.poll(rows, { timeout: 6_000 }).toBeLessThan(50);
    expect(await spool?.stats()).toEqual(stats);
  });

  it('has no room when too many wait, wherever they came from, and again when that has changed', async () => {
    const one = await bed.cluster.gateway({ maxItems: 2, lease: 2_000 });
    const other = await bed.cluster.gateway();
    expect(one.spool.room()).toEqual({ ok: true });
    const id = idOf(await put(one.spool));
    expect(one.spool.room()).toEqual({ ok: true });
    await put(other.spool);
    await vi.waitFor(
      () => expect(one.spool.room()).toEqual({ ok: false, reason: '2 messages are waiting (spool.maxItems)' }),
      {
        timeout: 5_000,
      },
    );
    await one.spool.take(id, claiming.leaseUntil);
    await one.spool.finish(id, relayed);
    expect(one.spool.room()).toEqual({ ok: true });
    one.spool.limit({ maxItems: 1, minFree: 1 });
    expect(one.spool.room()).toMatchObject({ ok: false });
  });

  it('holds a writer back that is faster than the database', async () => {
    const { spool } = await bed.cluster.gateway({ chunkSize: 65_536 });
    const draft = spool.begin();
    let written = 0;
    const writing = (async () => {
      for (let n = 0; n < 100; n++) {
        await draft.write(Buffer.alloc(65_536, n));
        written++;
      }
    })();
    // Without leaving this turn of the event loop no answer can arrive, so only the bound can be used up.
    for (let n = 0; n < 1_000; n++) await Promise.resolve();
    expect(written).toBeLessThan(4);
    await writing;
    await draft.commit([entry()]);
    expect((await get(spool, draft.id)).length).toBe(100 * 65_536);
  });

  it('takes text that a database does not: what cannot stand in it is replaced', async () => {
    const { spool } = await bed.cluster.gateway();
    const odd = entry('a@contoso.com', {
      messageId: '<a\0b\ud800@contoso.com>',
      envelope: { reversePath: '', recipients: [{ address: 'a\0\ud83d@contoso.com' }] },
      repairs: ['replaced \0'],
    });
    const id = idOf(await put(spool, 'x', [odd]));
    expect(await spool.get(id)).toMatchObject({ messageId: '<a\ufffdb\ufffd@contoso.com>', envelope: odd.envelope });
    await spool.note(id, { what: 'verified', detail: 'a\0' });
    expect((await spool.history(id)).map(({ detail }) => detail)).toEqual(['replaced \ufffd', 'a\ufffd']);
    await spool.keepCursor('s\0', 'c\0');
    expect(await spool.cursor('s\0')).toBe('c\ufffd');
  });

  it('finds by index what waits, however the tables have grown since they were empty', async () => {
    const { spool } = await bed.cluster.gateway();
    // Plans are made, and kept, while there is nothing.
    for (let n = 0; n < 8; n++) {
      await spool.lanes();
      await spool.claim(lane, claiming);
    }
    await bed.cluster
      .sql(`INSERT INTO smtp2exchange.item (id, message, lane, state, due, arrived, size, header_size, message_id, envelope, origin)
      SELECT 'i' || n, 'i' || n, E'exchange\\n' || n % 100, 'queued', n, n, 1, 1, '', '{}', '{}' FROM generate_series(1, 60000) AS n`);
    const scans = async (): Promise<number> => {
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      const [row] = await bed.cluster.sql<{ n: string }>(
        `SELECT seq_tup_read AS n FROM pg_stat_user_tables WHERE schemaname = 'smtp2exchange' AND relname = 'item'`,
      );
      return Number(row?.n);
    };
    const before = await scans();
    for (let n = 0; n < 5; n++) {
      expect(await spool.lanes()).toHaveLength(100);
      await spool.claim(lane, claiming);
      await spool.get('i500');
      await spool.stats();
    }
    expect((await scans()) - before).toBeLessThan(60_000);
  });
});
