/** How a gateway comes to its database: TLS, logins, how many connections; and what the server is told of it. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openPostgresSpool } from '../../src/spool/postgres.ts';
import type { PostgresOptions } from '../../src/spool/postgres.ts';
import { PostgresProxy } from './postgres-proxy.ts';
import { PostgresServer, withoutPostgres } from './postgres-server.ts';
import { entry, get, put } from './spool-under-test.ts';

const report = (): void => undefined;

/** @returns how the gateway is connected, or why it is not */
async function connected(url: string, server: PostgresServer, more: Partial<PostgresOptions> = {}): Promise<string> {
  const user = /\/\/(\w+)/.exec(url)?.[1];
  try {
    const { spool } = await openPostgresSpool({ url, report, ...more });
    try {
      await put(spool);
      const [row] = await server.sql<{ ssl: boolean }>(
        `SELECT bool_and(ssl) AS ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE usename = '${user}' AND application_name = 'smtp2exchange'`,
      );
      return row?.ssl === true ? 'TLS' : 'plain';
    } finally {
      await spool.close();
    }
  } catch (error) {
    return String(error);
  }
}

describe.skipIf(withoutPostgres())('a login with a password, and TLS', () => {
  let server: PostgresServer;
  let database: string;
  beforeAll(async () => {
    server = await PostgresServer.start({ login: 'password', tls: true });
    database = await server.database();
  });
  afterAll(async () => {
    await server.close();
  });
  const to = (parameters: string, host = '127.0.0.1'): string =>
    server.url(database, { parameters }).replace('127.0.0.1', host);
  const ca = (): string => `sslrootcert=${server.tls?.caFile}`;

  it.each([
    ['sslmode=disable', 'plain'],
    ['sslmode=prefer', 'TLS'],
    ['application_name=smtp2exchange', 'TLS'],
    ['sslmode=require', 'TLS'],
  ])('%s: %s', async (parameters, expected) => {
    expect(await connected(to(parameters), server)).toBe(expected);
  });

  it('verifies what it is told to verify', async () => {
    expect(await connected(to(`sslmode=verify-ca&${ca()}`), server)).toBe('TLS');
    expect(await connected(to(`sslmode=verify-full&${ca()}`), server)).toBe('TLS');
    expect(await connected(to(`sslmode=verify-full&${ca()}`, 'localhost'), server)).toBe('TLS');
    // Another name of this machine, which the certificate does not have.
    expect(await connected(to(`sslmode=verify-full&${ca()}`, '127.0.0.2'), server)).toMatch(
      /refuses connections|another name/,
    );
    expect(await connected(to('sslmode=verify-full'), server)).toMatch(/not trusted.*sslrootcert/);
    expect(await connected(to('sslmode=verify-ca&sslrootcert=system'), server)).toMatch(/not trusted/);
    expect(await connected(to('sslmode=verify-ca&sslrootcert=/nowhere/ca.pem'), server)).toMatch(
      /cannot be reached \(there is no file \/nowhere\/ca.pem\)/,
    );
  });

  it('says what is wrong with a password, and never which', async () => {
    const wrong = await connected(to('sslmode=require').replace(/:[^:@/]+@/, ':wr0ng@'), server);
    expect(wrong).toMatch(/SpoolError: .*refuses the login.*password/);
    expect(wrong).not.toContain('wr0ng');
    expect(await connected(to('sslmode=require').replace(/:[^:@/]+@/, '@'), server)).toMatch(/wants a password/);
  });
});

describe.skipIf(withoutPostgres())('a server with one of the names', () => {
  it('is refused where the certificate has another name', async () => {
    const server = await PostgresServer.start({
      login: 'password',
      tls: true,
      settings: { listen_addresses: "'127.0.0.1,127.0.0.2'" },
    });
    try {
      const url = server.url(await server.database(), {
        parameters: `sslmode=verify-full&sslrootcert=${server.tls?.caFile}`,
      });
      expect(await connected(url.replace('127.0.0.1', '127.0.0.2'), server)).toMatch(/another name|no pg_hba/);
      const lenient = url.replace('verify-full', 'verify-ca').replace('127.0.0.1', '127.0.0.2');
      expect(await connected(lenient, server)).not.toMatch(/another name/);
    } finally {
      await server.close();
    }
  });
});

describe.skipIf(withoutPostgres())('a login with a certificate', () => {
  it('takes that of the role, and none of a stranger', async () => {
    const server = await PostgresServer.start({ login: 'certificate' });
    try {
      const url = server.url(await server.database());
      const { clientCertFile = '', clientKeyFile = '', strangerCertFile = '', strangerKeyFile = '' } = server.tls ?? {};
      expect(await connected(url, server)).toBe('TLS');
      const stranger = url.replace(clientCertFile, strangerCertFile).replace(clientKeyFile, strangerKeyFile);
      expect(await connected(stranger, server)).toMatch(
        /no TLS that works|refuses the login|broken off|cannot be connected/,
      );
      const without = url.replace(/&sslcert=[^&]*&sslkey=[^&]*/, '');
      expect(await connected(without, server)).toMatch(/refuses the login.*certificate/);
    } finally {
      await server.close();
    }
  });
});

describe.skipIf(withoutPostgres())('connections', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(async () => {
    await server.close();
  });

  it.each([2, 3, 7])('are never more than %i, however much there is to do', async (connections) => {
    const name = await server.database();
    const { spool } = await openPostgresSpool({ url: server.url(name), report, connections });
    const count = async (): Promise<number> => {
      const rows = await server.sql(
        `SELECT 1 FROM pg_stat_activity WHERE datname = '${name}' AND application_name = 'smtp2exchange'`,
      );
      return rows.length;
    };
    let most = 0;
    const end = new AbortController();
    const watching = (async () => {
      while (!end.signal.aborted) most = Math.max(most, await count());
    })();
    const bodies = Array.from({ length: 12 }, () => Buffer.alloc(1_500_000, 'x'));
    const items = await Promise.all(bodies.map((body) => put(spool, body, [entry()])));
    await Promise.all(items.map(([item]) => get(spool, item?.message ?? '')));
    await Promise.all(Array.from({ length: 100 }, () => spool.stats()));
    end.abort();
    await watching;
    expect(most).toBe(connections);
    await spool.close();
    await vi.waitFor(async () => expect(await count()).toBe(0));
  });

  it('may be fewer than wanted, where the server has no more: the work is done with those', async () => {
    const name = await server.database();
    await server.sql('CREATE ROLE few LOGIN CONNECTION LIMIT 3');
    await server.sql(`GRANT CREATE ON DATABASE ${name} TO few`);
    const events: string[] = [];
    const url = server.url(name).replace('postgres@', 'few@');
    const { spool } = await openPostgresSpool({ url, report: ({ event }) => void events.push(event), connections: 10 });
    const bodies = Array.from({ length: 30 }, () => Buffer.alloc(600_000, 'x'));
    const items = await Promise.all(bodies.map((body) => put(spool, body)));
    const read = await Promise.all(items.map(([item]) => get(spool, item?.message ?? '')));
    expect(read.every((body) => body.length === 600_000)).toBe(true);
    expect(events).toEqual(['spool.open']);
    await spool.close();
  });

  it('bear the name that the URL gives', async () => {
    const name = await server.database();
    const url = server.url(name, { parameters: 'application_name=mail-1' });
    const { spool } = await openPostgresSpool({ url, report });
    await spool.stats();
    const names = await server.sql(
      `SELECT DISTINCT application_name AS name FROM pg_stat_activity WHERE datname = '${name}'`,
    );
    expect(names).toEqual([{ name: 'mail-1' }]);
    await spool.close();
  });

  it('have of the settings what is relied on, whatever the server has', async () => {
    const name = await server.database();
    for (const setting of [
      `synchronous_commit = off`,
      `default_transaction_isolation = 'serializable'`,
      `bytea_output = 'escape'`,
      `search_path = 'elsewhere'`,
      `enable_indexscan = on`,
    ])
      await server.sql(`ALTER DATABASE ${name} SET ${setting}`);
    const { spool } = await openPostgresSpool({ url: server.url(name), report });
    const octets = Buffer.from([0, 1, 92, 120, 255, 39]);
    const [item] = await put(spool, octets);
    expect((await get(spool, item?.message ?? '')).equals(octets)).toBe(true);
    await spool.close();
  });

  it('are made anew through a network that breaks and holds', async () => {
    const proxy = await PostgresProxy.start(server.port);
    const name = await server.database();
    const { spool } = await openPostgresSpool({
      url: server.url(name, { ports: [proxy.port] }),
      report,
      queryTimeout: 2_000,
    });
    for (let n = 0; n < 4; n++) {
      const putting = Promise.allSettled(Array.from({ length: 20 }, () => put(spool, Buffer.alloc(300_000))));
      if (n === 1) proxy.mode = 'holds';
      setTimeout(() => {
        if (n % 2 === 0) proxy.cut();
        else proxy.mode = 'passes';
      }, 100);
      await putting;
    }
    await vi.waitFor(() => expect(spool.room()).toEqual({ ok: true }), { timeout: 5_000 });
    const items = await spool.list({ limit: 1_000 });
    for (const { message } of items) expect((await get(spool, message)).length).toBe(300_000);
    expect(await spool.check()).toEqual({ checked: items.length, damaged: [] });
    await spool.close();
    await proxy.close();
  });

  it('end when the spool is closed, after what was begun', async () => {
    const name = await server.database();
    const { spool, cluster } = await openPostgresSpool({ url: server.url(name), report });
    await cluster.hold('alarms');
    const puts = Array.from({ length: 30 }, () => put(spool, Buffer.alloc(10)));
    await new Promise((resolve) => setImmediate(resolve));
    const settled = Promise.allSettled(puts);
    await spool.close();
    await spool.close();
    const made = (await settled).filter(({ status }) => status === 'fulfilled').length;
    const counts = await server.sql<{ items: string; members: string; duties: string }>(
      `SELECT (SELECT count(*) FROM smtp2exchange.item) AS items, (SELECT count(*) FROM smtp2exchange.member) AS members,
        (SELECT count(*) FROM smtp2exchange.duty) AS duties`,
      name,
    );
    expect(counts).toEqual([{ items: String(made), members: '0', duties: '0' }]);
    expect(made).toBe(30);
    await expect(spool.stats()).rejects.toThrow(/closed/);
    await expect(cluster.hold('alarms')).rejects.toThrow(/closed/);
  });
});
