/** What the database, the network and TLS say, as what is done about it: by table, and on a real server. */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { openPostgresSpool } from '../../src/spool/postgres.ts';
import { noneOf, PostgresError, reasonOf } from '../../src/spool/postgres-trouble.ts';
import { claiming, idOf, lane, testBed } from './postgres-gateways.ts';
import type { TestGateway } from './postgres-gateways.ts';
import { PostgresServer, withoutPostgres, withoutReplicas } from './postgres-server.ts';
import { entry, get, put, relayed } from './spool-under-test.ts';

describe('what is said', () => {
  const WHERE = 'postgresql://u@db:5432/mail';
  const sentenceOf = (code: string, message = 'as the server puts it', isConnecting = false): string =>
    new PostgresError(reasonOf({ code, message, isConnecting }), WHERE).message;

  it.each([
    ['08006', 'lost', 'io', /broken off/],
    ['25006', 'lost', 'readOnly', /takes no writes.*name all servers/],
    ['26000', 'again', 'io', /pool_mode = session/],
    ['28000', 'lost', 'io', /refuses the login.*pg_hba/],
    ['28P01', 'lost', 'io', /refuses the login.*password/],
    ['3D000', 'lost', 'io', /does not exist.*create it/],
    ['3F000', 'store', 'damaged', /lost the schema/],
    ['40001', 'again', 'io', /undone/],
    ['40P01', 'again', 'io', /undone/],
    ['42501', 'store', 'readOnly', /right/],
    ['42P01', 'store', 'damaged', /lost a table/],
    ['42601', 'order', 'io', /understand/],
    ['22021', 'order', 'io', /does not take a value/],
    ['23505', 'order', 'io', /contradicts/],
    ['53100', 'store', 'full', /no disk space.*make room/],
    ['53200', 'store', 'io', /no memory/],
    ['53300', 'lost', 'io', /no connection left.*max_connections.*spool\.connections/],
    ['53400', 'store', 'io', /run out/],
    ['55P03', 'again', 'io', /lock/],
    ['57014', 'store', 'io', /too slow/],
    ['57P01', 'lost', 'io', /shut down.*goes on by itself/],
    ['57P02', 'lost', 'io', /crashed/],
    ['57P03', 'lost', 'io', /starting or shutting down/],
    ['58030', 'store', 'io', /disk/],
    ['58P01', 'store', 'damaged', /misses a file.*do not delete/],
    ['XX000', 'store', 'io', /failed within/],
    ['XX001', 'store', 'damaged', /is damaged.*do not delete/],
    ['XX002', 'store', 'damaged', /REINDEX/],
    ['ECONNREFUSED', 'lost', 'io', /refuses connections.*listen_addresses/],
    ['ENOTFOUND', 'lost', 'io', /DNS/],
    ['EHOSTUNREACH', 'lost', 'io', /cannot be reached.*network/],
    ['ECONNRESET', 'lost', 'io', /broken off/],
    ['SILENT', 'lost', 'io', /stopped to answer/],
    ['STANDBY', 'lost', 'readOnly', /standby.*promote/],
    ['READ_ONLY', 'lost', 'readOnly', /default_transaction_read_only/],
    ['NO_TLS', 'lost', 'io', /offers no TLS.*ssl = on/],
    ['NO_PASSWORD', 'lost', 'io', /wants a password/],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'lost', 'io', /not trusted.*sslrootcert/],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'lost', 'io', /not trusted.*sslrootcert/],
    ['CERT_HAS_EXPIRED', 'lost', 'io', /expired.*renew/],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'lost', 'io', /another name/],
    ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'lost', 'io', /no TLS that works/],
    ['ENCODING', 'lost', 'io', /UTF8.*createdb/],
    ['XYZ', 'lost', 'io', /broken off/],
  ] as const)('%s: %s, %s', (code, meaning, trouble, sentence) => {
    expect(reasonOf({ code, message: 'said', isConnecting: false })).toMatchObject({ meaning, trouble });
    expect(sentenceOf(code)).toMatch(sentence);
    expect(sentenceOf(code)).toContain(`The database ${WHERE} `);
    expect(sentenceOf(code)).toContain('as the server puts it');
  });

  it('while connecting, leaves nothing to be used', () => {
    for (const code of ['42501', '53100', '57014', 'XX000', '40001'])
      expect(reasonOf({ code, message: '', isConnecting: true }).meaning).toBe('lost');
    expect(sentenceOf('XYZ', 'said', true)).toMatch(/cannot be connected to/);
  });

  it('of several servers, says each; what a person has to mend tells more than that one is down', () => {
    const down = { host: 'db1:5432', reason: reasonOf({ code: 'ECONNREFUSED', message: 'a', isConnecting: true }) };
    const standby = { host: 'db2:5432', reason: reasonOf({ code: 'STANDBY', message: 'b', isConnecting: true }) };
    expect(noneOf([down, standby])).toMatchObject({
      trouble: 'readOnly',
      what: expect.stringMatching(/db1:5432 refuses connections.*db2:5432 is a standby/) as string,
      advice: expect.stringContaining('promote') as string,
    });
    expect(noneOf([down])).toBe(down.reason);
  });
});

describe.skipIf(withoutPostgres())('a server', () => {
  const bed = testBed();

  const isBack = async ({ spool, told }: TestGateway, times = 1): Promise<void> => {
    await vi.waitFor(() => expect(told('spool.recovered')).toHaveLength(times), { timeout: 10_000, interval: 20 });
    expect(spool.room()).toEqual({ ok: true });
    expect(told('spool.trouble')).toHaveLength(times);
  };

  it('that is restarted, or crashes, in the midst of work: nothing that was accepted is lost or doubled', async () => {
    const gateway = await bed.cluster.gateway();
    const accepted: string[] = [];
    const end = new AbortController();
    const work = Promise.all(
      Array.from({ length: 8 }, async () => {
        while (!end.signal.aborted) {
          const draft = gateway.spool.begin();
          try {
            await draft.write(randomBytes(100));
            accepted.push(idOf(await draft.commit([entry()])));
          } catch {
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        }
      }),
    );
    for (const how of ['fast', 'immediate', 'kill'] as const) {
      await vi.waitFor(() => expect(accepted.length).toBeGreaterThan(20), { timeout: 10_000 });
      const began = accepted.length;
      if (how === 'kill') await bed.server.kill();
      else await bed.server.stop(how);
      await bed.server.restart();
      await vi.waitFor(() => expect(accepted.length).toBeGreaterThan(began + 20), { timeout: 10_000 });
    }
    end.abort();
    await work;
    await vi.waitFor(() => expect(gateway.spool.room()).toEqual({ ok: true }), { timeout: 5_000 });
    const there = (await gateway.spool.list({ limit: 100_000 })).map(({ id }) => id);
    expect(there.toSorted()).toEqual(accepted.toSorted());
    expect((await gateway.spool.stats()).items.queued).toBe(accepted.length);
    expect(gateway.told('spool.trouble').length).toBe(gateway.told('spool.recovered').length);
  });

  it('that is away: mail is refused, and it goes on when it is back', async () => {
    const gateway = await bed.cluster.gateway();
    const id = idOf(await put(gateway.spool));
    await gateway.spool.claim(lane, claiming);
    await bed.server.stop();
    try {
      await expect(put(gateway.spool)).rejects.toMatchObject({ name: 'SpoolError', trouble: 'io' });
      expect(gateway.spool.room()).toMatchObject({
        ok: false,
        // Whichever of its connections was the first to tell.
        reason: expect.stringMatching(/refuses connections|shutting down|was shut down|broken off/) as string,
      });
      await expect(gateway.spool.finish(id, relayed)).rejects.toThrow();
    } finally {
      await bed.server.restart();
    }
    await isBack(gateway);
    await gateway.spool.finish(id, relayed);
    expect(await gateway.spool.get(id)).toMatchObject({ state: 'relayed' });
    await put(gateway.spool);
  });

  it('that ends single connections: nobody is bothered', async () => {
    const gateway = await bed.cluster.gateway();
    for (let n = 0; n < 5; n++) {
      await Promise.all(Array.from({ length: 10 }, () => put(gateway.spool)));
      const [ended] = await bed.cluster.sql<{ at: string }>(
        `SELECT extract(epoch FROM clock_timestamp()) * 1000 AS at, count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()`,
      );
      // One after the other without a pause is trouble, on a machine that is slow enough.
      await vi.waitFor(
        async () => {
          const [member] = await bed.cluster.sql<{ seen: string }>(
            'SELECT max(seen) AS seen FROM smtp2exchange.member',
          );
          expect(Number(member?.seen)).toBeGreaterThan(Number(ended?.at));
        },
        { timeout: 5_000 },
      );
    }
    expect((await gateway.spool.stats()).items.queued).toBe(50);
    expect(gateway.told('spool.trouble')).toEqual([]);
  });

  it('that was made read-only, and writable again', async () => {
    const gateway = await bed.cluster.gateway();
    await bed.server.sql('ALTER SYSTEM SET default_transaction_read_only = on');
    await bed.server.sql('SELECT pg_reload_conf()');
    try {
      await vi.waitFor(
        async () =>
          expect(await put(gateway.spool).catch((error: unknown) => error)).toMatchObject({ trouble: 'readOnly' }),
        {
          timeout: 5_000,
        },
      );
      expect(await gateway.spool.lanes().catch((error: unknown) => error)).toMatchObject({ trouble: 'readOnly' });
    } finally {
      await bed.server.sql('ALTER SYSTEM RESET default_transaction_read_only');
      await bed.server.sql('SELECT pg_reload_conf()');
    }
    await isBack(gateway);
    await put(gateway.spool);
  });

  it('whose disk is full: mail is refused, what is there still leaves', async () => {
    const gateway = await bed.cluster.gateway();
    await put(gateway.spool);
    // As it says when a file cannot grow.
    await bed.cluster.sql(`CREATE FUNCTION smtp2exchange.full() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$`);
    await bed.cluster.sql(
      'CREATE TRIGGER full_disk BEFORE INSERT ON smtp2exchange.chunk FOR EACH STATEMENT EXECUTE FUNCTION smtp2exchange.full()',
    );
    await expect(put(gateway.spool)).rejects.toMatchObject({ trouble: 'full' });
    expect(gateway.spool.room()).toMatchObject({ ok: false, reason: expect.stringMatching(/no disk space/) as string });
    const [item] = await gateway.spool.claim(lane, claiming);
    expect((await get(gateway.spool, item?.message ?? '')).toString()).toBe('body');
    await gateway.spool.finish(item?.id ?? '', relayed);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(gateway.told('spool.recovered')).toEqual([]);
    await bed.cluster.sql('DROP TRIGGER full_disk ON smtp2exchange.chunk');
    await isBack(gateway);
    await put(gateway.spool);
  });

  it('that has no tables any more says so, and works again when they are back', async () => {
    const gateway = await bed.cluster.gateway();
    await bed.cluster.sql('ALTER TABLE smtp2exchange.item RENAME TO item_moved');
    await expect(gateway.spool.lanes()).rejects.toMatchObject({ trouble: 'damaged' });
    expect(gateway.spool.room()).toMatchObject({ ok: false });
    expect(await gateway.spool.check()).toMatchObject({
      checked: 0,
      store: expect.stringMatching(/lost a table/) as string,
    });
    expect(gateway.told('spool.recovered')).toEqual([]);
    await bed.cluster.sql('ALTER TABLE smtp2exchange.item_moved RENAME TO item');
    expect(await gateway.spool.check()).toEqual({ checked: 0, damaged: [] });
    await isBack(gateway);
  });

  it('whose pages are lost: a body is set aside with its item, the rest goes on', async () => {
    const gateway = await bed.cluster.gateway();
    const [lost, whole] = [
      idOf(await put(gateway.spool, randomBytes(200_000))),
      idOf(await put(gateway.spool, 'whole')),
    ];
    const [file] = await bed.cluster.sql<{ path: string }>(
      `SELECT current_setting('data_directory') || '/' || pg_relation_filepath(reltoastrelid) AS path
       FROM pg_class WHERE oid = 'smtp2exchange.chunk'::regclass`,
    );
    await bed.server.stop();
    const handle = openSync(join(file?.path ?? ''), 'r+');
    writeSync(handle, randomBytes(8_192), 0, 8_192, 0);
    closeSync(handle);
    await bed.server.restart();
    await vi.waitFor(() => expect(gateway.spool.room()).toEqual({ ok: true }), { timeout: 5_000 });
    await expect(get(gateway.spool, lost)).rejects.toMatchObject({ trouble: 'damaged' });
    expect((await gateway.spool.claim(lane, claiming)).map(({ id }) => id)).toEqual([whole]);
    expect(await gateway.spool.get(lost)).toMatchObject({
      state: 'parked',
      lastStatus: { cause: 'damaged', reason: expect.stringContaining('its body cannot be read') as string },
    });
    expect(gateway.told('item.parked')).toMatchObject([{ id: lost, why: 'damaged' }]);
    expect((await get(gateway.spool, whole)).toString()).toBe('whole');
    expect(gateway.spool.room()).toEqual({ ok: true });
  });

  it('that is just starting up, or too many work with, or is not there at all: the start says what to do', async () => {
    const url = await bed.server.freshUrl();
    const report = (): void => undefined;
    const refused = async (url: string): Promise<string> =>
      openPostgresSpool({ url, report }).then(
        () => 'opened',
        (error: unknown) => `${(error as Error).name}: ${(error as Error).message}`,
      );
    expect(await refused(url.replace(/\/test_\w+/, '/nowhere'))).toMatch(/SpoolError: .*does not exist/);
    expect(await refused('postgresql://u:secret@127.0.0.1:1/mail')).toMatch(/refuses connections/);
    expect(await refused('postgresql://u:secret@127.0.0.1:1/mail')).not.toContain('secret');
    expect(await refused('mysql://u:secret@x/mail')).toMatch(/must be a URL that begins with postgresql/);
    expect(await refused(`${url}?sslmode=require`)).toMatch(/offers no TLS/);
    const name = /test_\w+/.exec(url)?.[0] ?? '';
    await bed.server.sql(`ALTER DATABASE ${name} CONNECTION LIMIT 0`);
    await bed.server.sql(`CREATE ROLE crowd LOGIN`);
    expect(await refused(url.replace('postgres@', 'crowd@'))).toMatch(/no connection left/);
    await bed.server.sql('CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0');
    expect(await refused(url.replace(name, 'latin'))).toMatch(/has not the encoding UTF8/);
    await bed.server.sql(`ALTER DATABASE ${name} CONNECTION LIMIT -1`);
    await bed.server.sql(`REVOKE CREATE ON DATABASE ${name} FROM PUBLIC`);
    expect(await refused(url.replace('postgres@', 'crowd@'))).toMatch(/right to create a schema/);
  });
});

describe.skipIf(withoutPostgres())('a server that crashes while a large message arrives', () => {
  it('may have lost a part of it, which had not waited for the disk: it is refused then, never accepted with a gap', async () => {
    const server = await PostgresServer.start({ settings: { wal_writer_delay: "'10s'" } });
    const name = await server.database();
    const { spool } = await openPostgresSpool({ url: server.url(name), report: () => undefined, chunkSize: 1_000 });
    const chunks = async (): Promise<number> => (await server.sql('SELECT 1 FROM smtp2exchange.chunk', name)).length;
    try {
      const draft = spool.begin();
      await draft.write(randomBytes(2_000));
      await expect.poll(chunks).toBe(2);
      // All before it is on the disk with it.
      await put(spool, 'x');
      await draft.write(randomBytes(3_000));
      await expect.poll(chunks).toBe(6);
      await server.kill();
      await server.restart();
      await vi.waitFor(() => expect(spool.room()).toEqual({ ok: true }), { timeout: 5_000 });
      expect(await chunks()).toBeLessThan(6);
      await draft.write(randomBytes(1_500));
      await expect(draft.commit([entry()])).rejects.toThrow(/has lost a part of it/);
      await draft.abort();
      expect(await spool.list({})).toHaveLength(1);
      expect(await chunks()).toBe(1);
      const again = spool.begin();
      await again.write(randomBytes(6_500));
      expect(await again.commit([entry()])).toHaveLength(1);
      expect(await spool.check()).toEqual({ checked: 2, damaged: [] });
    } finally {
      await spool.close();
      await server.close();
    }
  });
});

describe.skipIf(withoutReplicas())('a server with a replica', () => {
  it('that dies: the gateway goes on with the one that was promoted, and has all it had', async () => {
    const primary = await PostgresServer.start();
    const replica = await primary.replica();
    const name = await primary.database();
    const events: string[] = [];
    const { spool } = await openPostgresSpool({
      url: primary.url(name, { ports: [replica.port, primary.port] }),
      report: ({ event }) => void events.push(event),
    });
    try {
      const kept = idOf(await put(spool, 'kept'));
      await primary.kill();
      await vi.waitFor(() => expect(spool.room()).toMatchObject({ ok: false }), { timeout: 5_000 });
      // It may not know yet of a database that was made just now.
      expect(spool.room()).toMatchObject({ reason: expect.stringMatching(/is a standby|does not exist/) as string });
      await replica.promote();
      await vi.waitFor(() => expect(spool.room()).toEqual({ ok: true }), { timeout: 5_000 });
      expect((await get(spool, kept)).toString()).toBe('kept');
      await put(spool, 'more');
      expect(events).toEqual(['spool.open', 'spool.trouble', 'spool.recovered']);
    } finally {
      await spool.close();
      await replica.close();
      await primary.close();
    }
  });
});
