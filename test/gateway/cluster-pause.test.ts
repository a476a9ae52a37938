/** A gateway that stands still longer than its lease; `npm run cluster` has it stand still more often. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PostgresServer, withoutPostgres } from '../spool/postgres-server.ts';
import { PauseSite } from './cluster-pause-round.ts';

describe.skipIf(withoutPostgres() !== undefined)('a gateway that stands still', () => {
  let server: PostgresServer;
  let site: PauseSite;
  beforeAll(async () => {
    server = await PostgresServer.start();
    site = await PauseSite.start(server);
  });
  afterAll(async () => {
    await site?.close();
    await server?.close();
  });

  it('sends nothing that another one has taken over', { timeout: 90_000 }, async () => {
    const outcome = await site.round(3_500);
    expect(outcome.faults, JSON.stringify(outcome)).toEqual([]);
    // Not by chance: these were under way when its lease ended.
    expect(outcome.lost).toBeGreaterThan(0);
  });
});
