/** `spool move` between a file and a database: the gateway before and after it, who keeps it from beginning, kill -9. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { MOVE_DUTY, moveMark, setMoveMark } from '../../src/spool/move-mark.ts';
import { openPostgresSpool } from '../../src/spool/postgres.ts';
import type { PostgresSpool } from '../../src/spool/postgres.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';
import { all, bookOf, fillSpool } from '../spool/contract-moving.ts';
import { PostgresServer, withoutPostgres } from '../spool/postgres-server.ts';
import { put } from '../spool/spool-under-test.ts';
import { chance } from './chance.ts';
import type { Ended } from './command-process.ts';
import { CommandProcess } from './command-process.ts';
import { databasePlace, filePlace, moveUnderKills, nothingElse } from './move-crash-line.ts';
import { arrivedAt, moveConfig } from './move-site.ts';
import { BOB, FAX, faxSandbox, handedIds, mail, until } from './pickup-site.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const SENDING = 'notifications@contoso.com';
const LEASE = 2_000;

describe.skipIf(withoutPostgres())('a spool that is moved into a database', () => {
  let server: PostgresServer;
  let database: string;
  let url: string;
  let place: Folder;
  let gateways: GatewayProcess[];
  let opened: PostgresSpool[];

  beforeAll(async () => {
    server = await PostgresServer.start({ login: 'password' });
  });
  afterAll(() => server.close());
  beforeEach(async () => {
    database = await server.database();
    url = server.url(database);
    place = folder();
    [gateways, opened] = [[], []];
  });
  afterEach(async () => {
    for (const gateway of gateways) await gateway.stop('SIGKILL');
    for (const { spool } of opened) await spool.close();
    place.remove();
  });

  const at = (name: string): string => join(place.path, name);
  const ofDatabase = (more = ''): string => `postgres: "\${DATABASE_URL}", lease: 2s${more}`;
  const command = async (...words: readonly string[]): Promise<Ended> =>
    await new CommandProcess(['spool', 'move', ...words, '--config', at('config.yaml')], place.path, undefined, {
      DATABASE_URL: url,
    }).ended;
  const openDatabase = async (more: Partial<Parameters<typeof openPostgresSpool>[0]> = {}): Promise<PostgresSpool> => {
    const one = await openPostgresSpool({ url, connections: 4, lease: LEASE, report: () => undefined, ...more });
    opened.push(one);
    return one;
  };

  describe('by a gateway', () => {
    let sandbox: Sandbox;
    beforeEach(async () => {
      sandbox = await faxSandbox();
    });
    afterEach(() => sandbox.close());

    const start = (spool: string): GatewayProcess => {
      const environment = { SECRET: sandbox.clientSecret, DATABASE_URL: url };
      const gateway = new GatewayProcess(moveConfig(place, sandbox, spool), environment);
      gateways.push(gateway);
      return gateway;
    };
    const arrived = (): readonly string[] => arrivedAt(sandbox);
    const sent: string[] = [];
    const send = async (smtp: RawSmtp, name: string, size = 0): Promise<void> => {
      const header = `From: ${SENDING}\r\nTo: ${BOB}\r\nSubject: ${name}\r\nMessage-ID: <${name}@pbx.test>\r\n`;
      await smtp.send(SENDING, [BOB], `${header}\r\n${'the body\r\n'.repeat(size / 10)}`);
      sent.push(`<${name}@pbx.test>`);
    };
    const out = (): readonly string[] => handedIds(at('out'));

    it('there and back: all of it is delivered, once, and nothing is picked up twice', async () => {
      sent.length = 0;
      const first = start('sqlite: mail/spool.db');
      let smtp = await RawSmtp.open(await first.ready());
      await sandbox.receive(FAX, { mime: mail({ id: 'one' }) });
      await until('the first fax', () => out().length === 1);
      sandbox.fault({ when: { operation: 'CreateItem' }, does: { status: 503 } });
      for (let n = 10; n < 30; n++) await send(smtp, `first-${n}`, n * 30_000);
      smtp.end();
      await first.event('delivery.delayed');

      // It runs still.
      expect(await command('--to', 'env:DATABASE_URL')).toMatchObject({ code: 75, out: '' });
      // Killed in the midst of attempts.
      await first.stop('SIGKILL');
      const there = await command('--to', 'env:DATABASE_URL');
      expect(there).toMatchObject({ code: 0, errors: '' });
      expect(there.out.split('\n').slice(-2)).toEqual(['  postgres: ${DATABASE_URL}', '  folder: mail']);

      const second = start(ofDatabase(', folder: mail'));
      smtp = await RawSmtp.open(await second.ready());
      await sandbox.receive(FAX, { mime: mail({ id: 'two' }) });
      await until('the second fax', () => out().length > 1);
      for (let n = 30; n < 40; n++) await send(smtp, `second-${n}`);
      smtp.end();
      // Part of it goes now, the rest after the way back.
      sandbox.clearFaults();
      await until('some of it', () => arrived().length > 3);
      sandbox.fault({ when: { operation: 'CreateItem' }, does: { status: 503 } });
      await second.stop();
      const back = await command('--to', 'mail/spool.db');
      expect(back).toMatchObject({ code: 0, errors: '' });
      expect(back.out).toMatch(/^Moved from postgresql:\/\/\S+ to .*mail\/spool\.db: 3\d messages/);
      expect(back.out.split('\n').at(-1)).toBe('  sqlite: mail/spool.db');
      expect(`${there.out}${back.out}`).not.toContain(server.password);

      sandbox.clearFaults();
      const third = start('sqlite: mail/spool.db');
      await third.ready();
      await until('the rest', () => arrived().length >= sent.length, 40);
      await sandbox.receive(FAX, { mime: mail({ id: 'three' }) });
      await until('the third fax', () => out().length > 2);
      await third.stop();
      expect(arrived()).toEqual(sent.toSorted());
      expect(out()).toEqual(['<one@contoso.com>', '<three@contoso.com>', '<two@contoso.com>']);
      for (const { lines } of gateways) expect(lines.filter(({ event }) => event === 'bug')).toEqual([]);

      const late = start(ofDatabase());
      expect((await late.exited).code).toBe(78);
      expect(late.errors.join()).toContain('was moved to');
    }, 90_000);

    it('that runs is named, one that starts meanwhile ends with 75', async () => {
      const running = start(ofDatabase());
      await running.ready();
      const refused = await command('--to', 'b.db');
      expect(refused).toMatchObject({ code: 75, out: '' });
      expect(refused.errors).toMatch(/^Gateways work on postgresql:\S+: \S+\. Stop them, then run this again\n$/);
      await running.stop();
      const { cluster } = await openDatabase({ host: 'mover.test' });
      await cluster.hold(MOVE_DUTY);
      const late = start(ofDatabase());
      expect((await late.exited).code).toBe(75);
      expect(late.errors.join()).toContain('is being moved by "smtp2exchange spool move" on mover.test');
    });
  });

  it('is there and back as it was, whatever it holds', async () => {
    const begin = Date.now() - 86_400_000;
    let time = begin;
    const filling = await openSqliteSpool({ path: at('a.db'), report: () => undefined, now: () => time });
    await fillSpool(filling, (now) => (time = now), begin);
    await filling.close();
    const book = async (name: string): Promise<Record<string, unknown>> => {
      const spool = await openSqliteSpool({ path: at(name), report: () => undefined });
      const found = await bookOf(spool);
      await spool.close();
      return found;
    };
    const before = await book('a.db');
    place.write('url', `${url}\n`);
    place.write('config.yaml', nothingElse('sqlite: a.db'));
    const there = await command('--to-file', 'url');
    expect(there).toMatchObject({ code: 0, errors: '' });
    expect(there.out.split('\n').slice(-2)).toEqual(['  postgresFile: url', `  folder: ${place.path}`]);
    const { spool } = await openDatabase();
    expect(await bookOf(spool)).toEqual(before);
    await spool.close();
    expect(await command('--from-file', 'url', '--to', 'b.db', '--json')).toMatchObject({ code: 0, errors: '' });
    expect(await book('b.db')).toEqual(before);
  });

  it('between two databases', async () => {
    const { spool } = await openDatabase();
    for (let n = 0; n < 20; n++) await put(spool, `body ${n}`);
    await spool.close();
    place.write('config.yaml', nothingElse(ofDatabase()));
    place.write('url', await server.freshUrl());
    expect(await command('--to-file', 'url')).toMatchObject({ code: 0, errors: '' });
    const { spool: other } = await openDatabase({ url: readFileSync(at('url'), 'utf8') });
    expect(await all(other)).toHaveLength(20);
    expect(await moveMark(other)).toBeUndefined();
    expect(await command('--to', 'env:DATABASE_URL')).toMatchObject({ code: 64 });
  });

  it('gives a gateway nothing to send that was cut off while it was moved, and is back', async () => {
    const { spool } = await openDatabase();
    const [item] = await put(spool, 'body');
    const { spool: mover } = await openDatabase();
    await setMoveMark(mover, { what: 'outOf', other: 'a.db', at: 0 });
    const claim = { now: Date.now() + 60_000, limit: 10, leaseUntil: Date.now() + 120_000 };
    const lane = { route: 'exchange', mailbox: 'a@contoso.com' };
    expect(await spool.claim(lane, claim)).toEqual([]);
    expect(await spool.take(item?.id ?? '', claim.leaseUntil)).toBeUndefined();
    expect(await spool.get(item?.id ?? '')).toMatchObject({ state: 'queued', attempts: 0 });
    await setMoveMark(mover, undefined);
    expect(await spool.claim(lane, claim)).toMatchObject([{ id: item?.id, attempts: 1 }]);
  });

  it('waits for one that was killed, and is ended by another', async () => {
    const { spool, cluster } = await openDatabase({ host: 'killed.test' });
    for (let n = 0; n < 3; n++) await put(spool, `body ${n}`);
    await cluster.hold(MOVE_DUTY);
    await spool.close();
    // As a process leaves it that was killed just now.
    await server.sql(
      `INSERT INTO smtp2exchange.member (id, host, version, format, started, seen, lease)
       SELECT 'killed', 'killed.test', '0', 1, now, now, ${LEASE} FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS clock`,
      database,
    );
    await server.sql(
      `INSERT INTO smtp2exchange.duty SELECT '${MOVE_DUTY}', 'killed', (extract(epoch FROM clock_timestamp()) * 1000)::bigint + ${LEASE}
       ON CONFLICT (name) DO UPDATE SET owner = 'killed'`,
      database,
    );
    place.write('config.yaml', nothingElse(ofDatabase()));
    const moving = command('--to', 'a.db');
    const early = await Promise.race([moving, pause(1_000)]);
    expect(early).toBeUndefined();
    expect(await moving).toMatchObject({ code: 0, errors: '' });
  });

  it('is begun by one of two', async () => {
    const { spool, cluster } = await openDatabase({ host: 'other.test' });
    await cluster.hold(MOVE_DUTY);
    await put(spool, 'body');
    place.write('config.yaml', nothingElse(ofDatabase()));
    expect(await command('--to', 'a.db')).toMatchObject({
      code: 75,
      out: '',
      errors: expect.stringMatching(/^Another "spool move" is at work on postgresql:\S+ \(other\.test\)\n$/) as string,
    });
  });

  it('says what is wrong with the database, without its password', async () => {
    place.write('config.yaml', nothingElse('sqlite: a.db'));
    await (await openSqliteSpool({ path: at('a.db'), report: () => undefined })).close();
    for (const wrong of [url.replace(/:(\d+)\//, ':1/'), url.replace(/:[^:@]+@/, ':geheim@')]) {
      place.write('url', wrong);
      const { code, out, errors } = await command('--to-file', 'url');
      expect([75, 78]).toContain(code);
      expect(out).toBe('');
      expect(errors).toMatch(/127\.0\.0\.1/);
      expect(errors).not.toContain('geheim');
      expect(errors).not.toContain(server.password);
    }
  });

  it('loses nothing and doubles nothing under kill -9', async () => {
    place.write('config.yaml', nothingElse('sqlite: unused.db'));
    const { kills, moves } = await moveUnderKills(
      [filePlace(place.path, 'a.db'), databasePlace(server, database, 'DATABASE_URL')],
      { folder: place.path, configFile: at('config.yaml'), rounds: 12, random: chance(2) },
    );
    expect(kills).toBe(12);
    expect(moves).toBeGreaterThan(1);
  }, 90_000);
});
