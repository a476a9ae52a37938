/** A gateway that loses its database for a while; `npm run cluster` has it lose it for a minute. */
import { afterAll, beforeAll, describe, it } from 'vitest';
import { PostgresServer, withoutPostgres } from '../spool/postgres-server.ts';
import { networkRun } from './cluster-network-run.ts';

describe.skipIf(withoutPostgres() !== undefined)('the network to the database is lost', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(async () => server.close());

  it.concurrent.for([
    ['holds', 4_500],
    ['refuses', 4_000],
  ] as const)('for a while: %s', { timeout: 90_000 }, async ([mode, length], { expect: expects }) => {
    const outcome = await networkRun(server, { mode, length });
    expects(outcome.faults, JSON.stringify(outcome)).toEqual([]);
  });
});
