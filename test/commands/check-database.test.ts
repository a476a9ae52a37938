/** The stage of `check` that looks into the database, against servers that are there, and that are not. */
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkDatabase } from '../../src/commands/check-database.ts';
import type { Walk } from '../../src/commands/check-walk.ts';
import { Secret } from '../../src/config/secret.ts';
import type { Finding } from '../../src/commands/finding.ts';
import { freePort, PostgresServer, withoutPostgres } from '../spool/postgres-server.ts';

async function check(url: string, changes: Partial<Walk> = {}): Promise<readonly string[]> {
  const store = { kind: 'postgres', url: new Secret(url), connections: 10, lease: 30_000 };
  const walk = { config: { spool: { store } }, now: Date.now, ...changes } as unknown as Walk;
  const findings: Finding[] = [];
  for await (const finding of checkDatabase(walk)) findings.push(finding);
  expect(JSON.stringify(findings)).not.toContain('secret');
  return findings.map(({ mark, what, at, says }) => `${mark} ${what} ${at}: ${says}`);
}

const marks = (lines: readonly string[]): string => lines.map((line) => line.split(' ')[0]).join(' ');

describe.skipIf(withoutPostgres() !== undefined)('check of a database', () => {
  let server: PostgresServer;
  let nowhere: number;
  beforeAll(async () => {
    [server, nowhere] = [
      await PostgresServer.start({
        login: 'password',
        tls: true,
        settings: { synchronous_commit: 'off', max_connections: 30 },
      }),
      await freePort(),
    ];
  });
  afterAll(async () => server.close());

  it('says what it found, in order', async () => {
    const url = await server.freshUrl();
    const at = `127.0.0.1:${server.port}`;
    const lines = await check(url);
    expect(marks(lines)).toBe('ok ok ok fail warn ok warn ok ok');
    expect(lines[0]).toBe(`ok database ${at}: reached, and logged in as gateway, with TLS`);
    expect(lines[1]).toMatch(/: PostgreSQL \d+\.\d+/);
    expect(lines.slice(2).join('\n')).toMatch(
      /no tables yet.*\n.*fsync is off.*\n.*full_page_writes.*\n.*synchronous_commit is off.*\n.*no standby.*\n.*of 27 connections.*\n.*clock/,
    );
  });

  it('takes what our own gateway has for free', async () => {
    const name = await server.database();
    const others = Array.from({ length: 6 }, () => new Client(server.url(name)));
    for (const other of others) await other.connect();
    await server.sql(`ALTER DATABASE ${name} CONNECTION LIMIT 10`);
    const gateway = { program: 'smtp2exchange', version: '1', spool: 'x' } as const;
    try {
      const url = server.url(name);
      expect((await check(url)).at(-2)).toMatch(/^warn .*: 4 of 10 connections are free, and this gateway takes 10/);
      expect((await check(url, { gateway })).at(-2)).toMatch(/^ok .*: 10 of 10 connections are free/);
    } finally {
      for (const other of others) await other.end();
    }
  });

  it.each([
    ['a password that is wrong', (url: string) => url.replace('secret', 'guess'), /password.*is not that of the role/],
    ['a database that is not there', (url: string) => url.replace(/test_\w+/, 'other'), /does not exist.*createdb/],
    ['a certificate that nobody trusts', (url: string) => `${url}?sslmode=verify-full`, /certificate.*not trusted/],
  ])('%s', async (_, change, expected) => {
    const lines = await check(change(await server.freshUrl()));
    expect(lines).toEqual([
      expect.stringMatching(/^fail database 127\.0\.0\.1:/) as string,
      expect.stringMatching(/^fail .*none of its servers can be used/) as string,
    ]);
    expect(lines[0]).toMatch(expected);
  });

  it('goes on with another server where one is down', async () => {
    const name = await server.database();
    const lines = await check(server.url(name, { ports: [nowhere, server.port] }));
    expect(lines[0]).toMatch(/^warn database 127\.0\.0\.1:\d+: .*refuses connections.*ECONNREFUSED/);
    expect(marks(lines.slice(1))).toBe('ok ok ok fail warn ok warn ok ok');
  });

  it('finds none that takes writes, or more than one', async () => {
    const name = await server.database();
    expect((await check(server.url(name, { ports: [server.port, server.port] }))).at(-1)).toMatch(
      /^fail database postgresql:.*take writes at the same time/,
    );
    await server.sql(`ALTER DATABASE ${name} SET default_transaction_read_only = on`);
    const lines = await check(server.url(name));
    expect(marks(lines)).toBe('ok ok ok fail');
    expect(lines.at(-1)).toMatch(/its one server takes no writes: the gateway would not start/);
  });
});
