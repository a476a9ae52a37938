/** A gateway that falls silent in the midst of a transaction, which holds locks that the others need. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Event } from '../../src/mail/event.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import { openPostgresSpool } from '../../src/spool/postgres.ts';
import { PostgresProxy } from './postgres-proxy.ts';
import { PostgresServer, withoutPostgres } from './postgres-server.ts';
import { entry, put } from './spool-under-test.ts';

describe.skipIf(withoutPostgres() !== undefined)('a gateway that falls silent in a transaction', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(async () => server.close());

  it('holds the others up for two seconds and no longer, and they are not in trouble', async () => {
    const database = await server.database();
    const proxy = await PostgresProxy.start(server.port);
    const events: Event[] = [];
    const silent = await openPostgresSpool({
      url: server.url(database, { ports: [proxy.port] }),
      connections: 4,
      report: () => undefined,
    });
    const other = await openPostgresSpool({
      url: server.url(database),
      connections: 4,
      report: (event) => void events.push(event),
    });
    try {
      await put(other.spool, 'one');
      await put(other.spool, 'two');
      const claim = (): { now: number; limit: number; leaseUntil: number } => ({
        now: Date.now() + 1_000,
        limit: 1,
        leaseUntil: Date.now() + 30_000,
      });
      const fallsSilent = Promise.withResolvers<void>();
      const lost = silent.spool.claim(entry(), {
        ...claim(),
        gate: () => {
          proxy.mode = 'swallows';
          fallsSilent.resolve();
          return { limit: 1, after: () => ({ lane: 1 }) };
        },
      });
      lost.catch(() => undefined);
      await fallsSilent.promise;
      const begun = performance.now();
      const [claimed] = await other.spool.claim(entry(), {
        ...claim(),
        gate: () => ({ limit: 1, after: () => ({ lane: 2 }) }),
      });
      expect(claimed?.state).toBe('sending');
      expect(performance.now() - begun).toBeLessThan(3_500);
      expect(events.map(({ event }) => event)).not.toContain('spool.trouble');
    } finally {
      await proxy.close();
      await other.spool.close();
      // Of no use to wait for.
      void silent.spool.close();
    }
  });

  it('is told from one that waits long for a lock: that is tried again, and no trouble', async () => {
    const database = await server.database();
    const events: Event[] = [];
    const { spool } = await openPostgresSpool({
      url: server.url(database),
      connections: 4,
      queryTimeout: 2_000,
      report: (event) => void events.push(event),
    });
    try {
      await put(spool, 'one');
      await server.sql(
        `INSERT INTO smtp2exchange.known (subject) VALUES ('exchange') ON CONFLICT DO NOTHING`,
        database,
      );
      // Longer than lock_timeout.
      const holding = server.sql(
        `DO $$ BEGIN PERFORM FROM smtp2exchange.known FOR UPDATE; PERFORM pg_sleep(2); END $$`,
        database,
      );
      await pause(300);
      const [claimed] = await spool.claim(entry(), {
        now: Date.now() + 1_000,
        limit: 1,
        leaseUntil: Date.now() + 30_000,
        gate: () => ({ limit: 1, after: () => ({}) }),
      });
      expect(claimed?.state).toBe('sending');
      await holding;
      expect(events.map(({ event }) => event)).not.toContain('spool.trouble');
    } finally {
      await spool.close();
    }
  });

  it('finds out what became of its commit, also when it knows already that the database is away', async () => {
    const database = await server.database();
    const proxy = await PostgresProxy.start(server.port);
    const trouble = Promise.withResolvers<void>();
    const { spool } = await openPostgresSpool({
      url: server.url(database, { ports: [proxy.port] }),
      connections: 4,
      queryTimeout: 1_500,
      report: ({ event }) => {
        if (event === 'spool.trouble') trouble.resolve();
      },
    });
    try {
      // A connection for each of them; the first one that is there may serve them all.
      await Promise.all([spool.get('1'), spool.get('2'), spool.get('3')]);
      await pause(500);
      const draft = spool.begin();
      await draft.write(Buffer.from('body'));
      proxy.mode = 'holds';
      const asked = spool.get('nothing').catch(() => undefined);
      await pause(700);
      const committed = draft.commit([entry()]);
      committed.catch(() => undefined);
      await pause(300);
      // No new connection: the other one finds that out first.
      proxy.mode = 'refuses';
      await trouble.promise;
      await asked;
      await pause(1_000);
      proxy.mode = 'passes';
      const [item] = await committed;
      // What was being connected while that was refused may tell of it only now.
      const items = await patiently(() => spool.list({}));
      expect(items.map(({ id, state }) => [id, state])).toEqual([[item?.id, 'queued']]);
    } finally {
      await proxy.close();
      void spool.close();
    }
  });
});

/** Asks again for some seconds while the database is in trouble. */
async function patiently<Result>(ask: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof SpoolError) || tries >= 20) throw error;
      await pause(250);
    }
  }
}
