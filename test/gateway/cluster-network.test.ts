/** A gateway that loses its database for a while; `npm run cluster` has it lose it for a minute. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PostgresServer, withoutPostgres } from '../spool/postgres-server.ts';
import { networkRun } from './cluster-network-run.ts';

describe.skipIf(withoutPostgres() !== undefined)('the network to the database is lost', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(async () => server.close());

  it.for(['swallows', 'refuses'] as const)('for a while: %s', { timeout: 90_000 }, async (mode) => {
    const outcome = await networkRun(server, { mode, length: 6_000 });
    expect(outcome.faults, JSON.stringify(outcome)).toEqual([]);
  });
});
