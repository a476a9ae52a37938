/** What a server tells of itself, asked by a login that is no superuser. */
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readPostgresUrl } from '../../src/mail/postgres-url.ts';
import type { ServerSurvey } from '../../src/spool/postgres-survey.ts';
import { surveyServer } from '../../src/spool/postgres-survey.ts';
import { PostgresServer, withoutPostgres } from './postgres-server.ts';

describe.skipIf(withoutPostgres() !== undefined)('a survey', () => {
  let server: PostgresServer;
  let database: string;
  beforeAll(async () => {
    server = await PostgresServer.start({ login: 'password', settings: { synchronous_commit: 'local' } });
    database = await server.database();
  });
  afterAll(async () => server.close());

  async function survey(now = Date.now): Promise<ServerSurvey> {
    const url = readPostgresUrl(server.url(database));
    if (!url.ok) throw new Error(url.problem);
    return surveyServer(url.value, { host: '127.0.0.1', port: server.port }, now);
  }
  const made = async (sql: string): Promise<unknown> => server.sql(sql, database);

  it('tells what is set, what is free, and that tables can be made', async () => {
    const found = await survey();
    expect(found).toMatchObject({
      isEncrypted: false,
      takesWrites: true,
      settings: { fsync: 'off', fullPageWrites: 'off', synchronousCommit: 'local', standbyNames: '' },
      connections: { most: 97, free: 97 },
      tables: { kind: 'absent', mayBeMade: true },
    });
    expect(found.version).toBeGreaterThan(130_000);
    expect(Math.abs(found.ahead)).toBeLessThan(1_000 + found.precision);
  });

  it('tells how far the clocks are apart', async () => {
    const { ahead, precision } = await survey(() => Date.now() + 60_000);
    expect(Math.abs(ahead + 60_000)).toBeLessThan(1_000 + precision);
  });

  it('counts the connections of others, and knows the limits of role and database', async () => {
    const connections = async () => (await survey()).connections;
    const others = [new Client(server.url(database)), new Client(server.url('postgres'))];
    for (const other of others) await other.connect();
    try {
      await expect.poll(connections).toEqual({ most: 97, free: 95 });
      await made(`ALTER DATABASE ${database} CONNECTION LIMIT 20`);
      await expect.poll(connections).toEqual({ most: 20, free: 19 });
      await made('ALTER ROLE gateway CONNECTION LIMIT 5');
      await expect.poll(connections).toEqual({ most: 5, free: 3 });
    } finally {
      for (const other of others) await other.end();
      await made(`ALTER DATABASE ${database} CONNECTION LIMIT -1`);
      await made('ALTER ROLE gateway CONNECTION LIMIT -1');
    }
  });

  it('tells that it takes no writes', async () => {
    await made(`ALTER DATABASE ${database} SET default_transaction_read_only = on`);
    try {
      expect((await survey()).takesWrites).toBe(false);
    } finally {
      await server.sql(`ALTER DATABASE ${database} RESET default_transaction_read_only`);
    }
  });

  it('knows tables that are there, whose they are, and what may be done with them', async () => {
    await made(`ALTER DATABASE ${database} OWNER TO postgres`);
    expect((await survey()).tables).toEqual({ kind: 'absent', mayBeMade: false });
    await made('CREATE SCHEMA smtp2exchange');
    expect((await survey()).tables).toEqual({ kind: 'closed', owner: 'postgres' });
    await made('ALTER SCHEMA smtp2exchange OWNER TO gateway');
    expect((await survey()).tables).toEqual({ kind: 'absent', mayBeMade: true });
    await made('ALTER SCHEMA smtp2exchange OWNER TO postgres');
    await made('CREATE TABLE smtp2exchange.format AS SELECT 7 AS version, 3 AS oldest');
    expect((await survey()).tables).toEqual({ kind: 'closed', owner: 'postgres' });
    await made('GRANT USAGE ON SCHEMA smtp2exchange TO gateway; GRANT ALL ON smtp2exchange.format TO gateway');
    expect((await survey()).tables).toEqual({ kind: 'there', format: 7, oldest: 3, mayBeChanged: false });
    await made('ALTER SCHEMA smtp2exchange OWNER TO gateway');
    expect((await survey()).tables).toEqual({ kind: 'there', format: 7, oldest: 3, mayBeChanged: true });
  });
});
