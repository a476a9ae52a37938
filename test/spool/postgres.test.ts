/** The PostgreSQL engine: the contract, on a server of the test's own. */
import { afterAll, beforeAll, describe } from 'vitest';
import type { MovableSpool } from '../../src/mail/spool.ts';
import { openPostgresSpool } from '../../src/spool/postgres.ts';
import { spoolContract, T0 } from './contract.ts';
import { PostgresProxy } from './postgres-proxy.ts';
import { PostgresServer, withoutPostgres } from './postgres-server.ts';

describe.skipIf(withoutPostgres())('PostgreSQL', () => {
  let server: PostgresServer;
  /** Databases with empty tables: making one takes longer than a test does. */
  const empty: string[] = [];
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(async () => {
    await server.close();
  });

  spoolContract('PostgreSQL', () => {
    let now = T0;
    let database: string | undefined;
    let proxy: PostgresProxy | undefined;
    let spool: MovableSpool | undefined;
    const start = async (): Promise<MovableSpool> => {
      database ??= empty.pop() ?? (await server.database());
      proxy = await PostgresProxy.start(server.port);
      const first = ['small', 'important'] as const;
      const url = server.url(database, { ports: [proxy.port] });
      ({ spool } = await openPostgresSpool({ url, connections: 4, report: () => undefined, now: () => now, first }));
      return spool;
    };
    return {
      setTime: (time) => {
        now = time;
      },
      open: start,
      reopen: start,
      // Its connections break, and nobody hears of it until its lease is over.
      async crash() {
        await proxy?.close();
        void spool?.close();
        await server.sql('UPDATE smtp2exchange.item SET lease = 0 WHERE lease IS NOT NULL', database);
        await server.sql('UPDATE smtp2exchange.member SET seen = 0', database);
      },
      async remove() {
        await proxy?.close();
        if (database === undefined) return;
        // Of so few rows that TRUNCATE takes longer.
        await server.sql(
          `DO $$ DECLARE name text; BEGIN
             FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'smtp2exchange' AND tablename <> 'format'
             LOOP EXECUTE 'DELETE FROM smtp2exchange.' || name; END LOOP; END $$`,
          database,
        );
        await server.sql('DELETE FROM smtp2exchange.tally', database);
        empty.push(database);
      },
    };
  });
});
