/**
 * Gateways on one PostgreSQL, as many as one, two and three, against one with a spool of its own (SQLite) in the same run:
 * what is accepted, what is delivered, and what each step costs. All of it on one machine, database included, whose cores
 * they share: what more machines would bring does not show here, what they cost each other does.
 */
import { join } from 'node:path';
import type { ArrivingItem } from '../src/mail/item.ts';
import type { Spool } from '../src/mail/spool.ts';
import { openPostgresSpool } from '../src/spool/postgres.ts';
import { openSqliteSpool } from '../src/spool/sqlite.ts';
import { PostgresProxy } from '../test/spool/postgres-proxy.ts';
import { PostgresServer, withoutPostgres } from '../test/spool/postgres-server.ts';
import type { Gateway, Rig } from './rig.ts';
import { end, firstLine, median, metric, row, until } from './rig.ts';

const OCTETS = 5_000;
const CLIENTS = 50;
const SENDERS = 10;
const TURNS = 3;
const GATEWAYS = [1, 2, 3] as const;
/** CPU: of the gateways, of the one with SQLite, and of PostgreSQL, for each message. */
const COLUMNS = ['PostgreSQL /s', 'SQLite /s', 'ratio', 'CPU ms', 'SQLite CPU ms', 'database ms'] as const;
const senders = `{ mailbox: notifications@contoso.com, rules: [${Array.from(
  { length: SENDERS },
  (_, n) => `{ from: sender-${n}@contoso.com, mailbox: sender-${n}@contoso.com }`,
).join(', ')}] }`;

export async function clusterFigures(rig: Rig): Promise<void> {
  const missing = withoutPostgres();
  if (missing !== undefined) return;
  // As in production: a commit is on the disk when it is acknowledged.
  const server = await PostgresServer.start({
    fsync: true,
    settings: { shared_buffers: "'256MB'", max_wal_size: "'1GB'", wal_keep_size: 0 },
  });
  try {
    const many = async (ewsUrl: string, count: number): Promise<Gateway[]> => {
      const url = await server.freshUrl();
      const gateways: Gateway[] = [];
      for (let n = 0; n < count; n++)
        gateways.push(
          await rig.gateway(ewsUrl, 4, {
            senders,
            spool: `{ postgres: "${url}", folder: ${join(rig.folder, `own-${n}`)} }`,
          }),
        );
      return gateways;
    };
    const alone = (ewsUrl: string): Promise<Gateway> => rig.gateway(ewsUrl, 4, { senders });
    const parties = { rig, server, many, alone };
    await accepts(parties);
    await deliveries(parties, 0, 3_000);
    await deliveries(parties, 50, 1_500);
    await steps(rig, server);
  } finally {
    await server.close();
  }
}

interface Parties {
  readonly rig: Rig;
  readonly server: PostgresServer;
  readonly many: (ewsUrl: string, count: number) => Promise<Gateway[]>;
  readonly alone: (ewsUrl: string) => Promise<Gateway>;
}

/** Messages per second through all of them. */
async function through(rig: Rig, gateways: readonly Gateway[], messages: number, clients: number): Promise<number> {
  const rates = gateways.map(({ port }) =>
    rig.load(port, Math.round(clients / gateways.length), Math.round(messages / gateways.length), OCTETS, SENDERS),
  );
  return (await Promise.all(rates)).reduce((sum, rate) => sum + rate, 0);
}

/** Processor seconds of the gateways' processes so far. */
async function spent(gateways: readonly Gateway[]): Promise<number> {
  const each = await Promise.all(gateways.map((one) => metric(one.console, 'process_cpu_seconds_total')));
  return each.reduce((sum, seconds) => sum + seconds, 0);
}

async function accepts({ rig, server, many, alone }: Parties): Promise<void> {
  row(`durable accepts, 5 kB, ${CLIENTS} clients`, ...COLUMNS);
  // Nobody there: nothing but accepting is measured.
  const closed = 'https://127.0.0.1:9/EWS/Exchange.asmx';
  const MESSAGES = 4_000;
  for (const count of GATEWAYS) {
    const gateways = await many(closed, count);
    const control = [await alone(closed)];
    await through(rig, gateways, 1_000, CLIENTS);
    await through(rig, control, 1_000, CLIENTS);
    const rates: [number, number][] = [];
    const before = [await spent(gateways), await spent(control), server.cpuSeconds()] as const;
    for (let turn = 0; turn < TURNS; turn++)
      rates.push([await through(rig, gateways, MESSAGES, CLIENTS), await through(rig, control, MESSAGES, CLIENTS)]);
    const each = (seconds: number, since: number): number => ((seconds - since) * 1_000) / (TURNS * MESSAGES);
    row(
      `  ${count} on PostgreSQL`,
      median(rates.map(([a]) => a)),
      median(rates.map(([, b]) => b)),
      median(rates.map(([a, b]) => a / b)),
      each(await spent(gateways), before[0]),
      each(await spent(control), before[1]),
      each(server.cpuSeconds(), before[2]),
    );
    for (const one of [...gateways, ...control]) await one.stop();
  }
}

interface StubState {
  readonly taken: number;
  readonly last: number;
}

async function deliveries({ rig, server, many, alone }: Parties, wait: number, count: number): Promise<void> {
  const answer = wait === 0 ? 'at once' : `after ${wait} ms`;
  row(`accepted and delivered, ${SENDERS} mailboxes, answers ${answer}`, ...COLUMNS);
  const measured = async (make: (ewsUrl: string) => Promise<readonly Gateway[]>) => {
    const stub = rig.start(['bench/stub.ts', String(wait)]);
    const url = `http://127.0.0.1:${await firstLine(stub)}/EWS/Exchange.asmx`;
    const gateways = await make(url);
    const state = async (): Promise<StubState> => (await fetch(url)).json() as Promise<StubState>;
    await through(rig, gateways, 300, CLIENTS);
    const { taken: before } = await settled(state, 300);
    const [gateway, database] = [await spent(gateways), server.cpuSeconds()];
    const begun = Date.now();
    await through(rig, gateways, count, CLIENTS);
    const { last } = await settled(state, before + Math.round(count / gateways.length) * gateways.length);
    const each = (seconds: number): number => (seconds * 1_000) / count;
    const cpu = { gateway: each((await spent(gateways)) - gateway), database: each(server.cpuSeconds() - database) };
    for (const one of gateways) await one.stop();
    await end(stub);
    return { rate: count / ((last - begun) / 1_000), cpu };
  };
  for (const number of GATEWAYS) {
    const control = await measured(async (url) => [await alone(url)]);
    const ours = await measured((url) => many(url, number));
    const rates = [ours.rate, control.rate, ours.rate / control.rate];
    row(`  ${number} on PostgreSQL`, ...rates, ours.cpu.gateway, control.cpu.gateway, ours.cpu.database);
  }
}

async function settled(state: () => Promise<StubState>, count: number): Promise<StubState> {
  await until('delivery', async () => (await state()).taken >= count);
  return state();
}

/** One message after the other, each step by itself. */
async function stepsOf(spool: Spool, count: number): Promise<Readonly<Record<string, number>>> {
  const times: Record<string, number[]> = {};
  const timed = async <Result>(what: string, work: () => Promise<Result>): Promise<Result> => {
    const begun = performance.now();
    const result = await work();
    (times[what] ??= []).push(performance.now() - begun);
    return result;
  };
  const from = 'notifications@contoso.com';
  const header = Buffer.from(`From: ${from}\r\nTo: b@contoso.com\r\nMessage-ID: <1@bench>\r\n\r\n`);
  const octets = Buffer.concat([header, Buffer.alloc(OCTETS, `${'x'.repeat(76)}\r\n`)]);
  const item: ArrivingItem = {
    route: 'exchange',
    mailbox: from,
    envelope: { reversePath: from, recipients: [{ address: 'b@contoso.com' }] },
    origin: { source: 'smtp', name: 'bench', peer: '127.0.0.1' },
    messageId: '<1@bench>',
    headerSize: header.length,
  };
  for (let n = 0; n < count; n++) {
    await timed('commit', async () => {
      const draft = spool.begin();
      await draft.write(octets);
      return draft.commit([item]);
    });
    const claimed = await timed('claim', () =>
      spool.claim(item, {
        now: Date.now() + 1_000,
        limit: 1,
        leaseUntil: Date.now() + 60_000,
        gate: () => ({ limit: 1, after: () => ({}) }),
      }),
    );
    const id = claimed[0]?.id ?? '';
    await timed('open and read', async () => {
      for await (const _chunk of spool.open(id));
    });
    await timed('finish', () => spool.finish(id, { outcome: 'relayed', code: '2.0.0', cause: 'NoError', text: 'ok' }));
  }
  return Object.fromEntries(Object.entries(times).map(([what, all]) => [what, median(all)]));
}

/** Milliseconds that a proxy adds to each way, to count how often a step waits for an answer. */
const DELAY = 10;

async function steps(rig: Rig, server: PostgresServer): Promise<void> {
  row('one message at a time, ms', 'PostgreSQL', 'SQLite', 'ratio', 'round trips');
  const same = { report: () => undefined };
  const sqlite = await openSqliteSpool({ ...same, path: join(rig.folder, 'steps.db') });
  const control = await stepsOf(sqlite, 300);
  await sqlite.close();
  const database = await server.database();
  const near = await openPostgresSpool({ ...same, url: server.url(database), connections: 10, lease: 30_000 });
  const ours = await stepsOf(near.spool, 300);
  await near.spool.close();
  const proxy = await PostgresProxy.start(server.port);
  proxy.delay = DELAY;
  const far = await openPostgresSpool({
    ...same,
    url: server.url(database, { ports: [proxy.port] }),
    connections: 10,
    lease: 30_000,
  });
  const delayed = await stepsOf(far.spool, 20);
  await far.spool.close();
  await proxy.close();
  for (const [what, milliseconds] of Object.entries(ours)) {
    const before = control[what] ?? NaN;
    const trips = Math.round(((delayed[what] ?? NaN) - milliseconds) / (2 * DELAY));
    row(`  ${what}`, milliseconds, before, milliseconds / before, String(trips));
  }
}
