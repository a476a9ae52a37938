/**
 * `npm run bench`: what the gateway costs, each figure as a ratio to a control of the same run, because machines differ
 * and are noisy. Loopback only, bounded in count; ends by itself. With names (`npm run bench -- queued cpu`), only those:
 * accepts, deliveries, cluster, pickup, queued, cpu, standing, console.
 */
import { join } from 'node:path';
import { createHttp } from '../src/exchange/http.ts';
import { openSqliteSpool } from '../src/spool/sqlite.ts';
import { tokenOf } from '../test/exchange/sandbox-token.ts';
import { clusterFigures } from './cluster.ts';
import { consoleFigures } from './console.ts';
import { COMPILED, end, firstLine, median, metric, Rig, row, SOURCE, until } from './rig.ts';

/** Mails, milliseconds that the server takes for each answer, requests at a time. */
const PICKUPS = [
  [10_000, 0, 4],
  [2_000, 50, 4],
  [4_000, 50, 16],
] as const;
/** Two to be emptied for each. */
const FAXES = Array.from({ length: 2 * PICKUPS.length }, (_, n) => `fax-${n}@contoso.com`);
const rig = await Rig.start(['notifications@contoso.com', ...FAXES]);
const { sandbox, folder, caFile } = rig;

/** Durable accepts against the same SMTP server that discards. Both run at once in turns, so that noise hits both. */
async function accepts(): Promise<void> {
  row('durable accepts, 5 kB messages', 'gateway /s', 'discard /s', 'ratio');
  const closed = 'https://127.0.0.1:9/EWS/Exchange.asmx'; // nobody there: nothing but accepting is measured
  for (const [connections, messages] of [
    [1, 1_500],
    [10, 6_000],
    [50, 10_000],
  ] as const) {
    const control = rig.start(['bench/discard.ts']);
    const discardPort = Number(await firstLine(control));
    const ours = await rig.gateway(closed, 4);
    await rig.load(ours.port, connections, messages, 5_000);
    await rig.load(discardPort, connections, messages, 5_000);
    const rates: [number, number][] = [];
    for (let turn = 0; turn < 3; turn++) {
      rates.push([
        await rig.load(ours.port, connections, messages, 5_000),
        await rig.load(discardPort, connections, messages, 5_000),
      ]);
    }
    await ours.stop();
    await end(control);
    row(
      `  ${connections} connections`,
      median(rates.map(([a]) => a)),
      median(rates.map(([, b]) => b)),
      median(rates.map(([a, b]) => a / b)),
    );
  }
}

/** The control of deliveries: requests of the same size to the same stub, as many in parallel, from a loop that does nothing else. */
async function bareRate(port: number, parallel: number, count: number, octets: number): Promise<number> {
  const child = rig.start([
    'bench/post.ts',
    String(port),
    String(parallel),
    String(count),
    String(Math.round(octets * 1.37)),
  ]);
  return (JSON.parse(await firstLine(child)) as { rate: number }).rate;
}

async function deliveries(): Promise<void> {
  row('end-to-end deliveries, 5 kB messages, one mailbox', 'gateway /s', 'bare POST /s', 'ratio');
  for (const [wait, concurrency, count] of [
    [0, 8, 4_000],
    [50, 8, 1_000],
  ] as const) {
    const stub = rig.start(['bench/stub.ts', String(wait)]);
    const stubPort = Number(await firstLine(stub));
    const url = `http://127.0.0.1:${stubPort}/EWS/Exchange.asmx`;
    const ours = await rig.gateway(url, concurrency);
    const state = async (): Promise<{ taken: number; last: number }> =>
      (await fetch(url)).json() as Promise<{ taken: number; last: number }>;
    await rig.load(ours.port, 8, 200, 5_000);
    await until('the warm-up', async () => (await state()).taken >= 200);
    const begun = Date.now();
    await rig.load(ours.port, 8, count, 5_000);
    await until('delivery', async () => (await state()).taken >= 200 + count);
    const rate = count / (((await state()).last - begun) / 1000);
    const bare = await bareRate(stubPort, concurrency, count, 5_000);
    await ours.stop();
    await end(stub);
    row(`  the stub answers after ${wait} ms, concurrency ${concurrency}`, rate, bare, rate / bare);
  }
}

/** Full mailboxes that are emptied into an SMTP server, against a client that makes the same requests and no more. */
async function pickup(): Promise<void> {
  row('mails of 5 kB picked up and handed over', 'gateway /s', 'bare /s', 'ratio', 'into spool /s', 'CPU ms');
  const http = createHttp({ ca: sandbox.ca });
  const token = tokenOf(sandbox, http, 'exchange');
  const got = await token.get();
  if (!got.ok) throw new Error('no token');
  const legacy = rig.start(['bench/discard.ts']);
  const legacyPort = await firstLine(legacy);
  for (const [index, [count, wait, concurrency]] of PICKUPS.entries()) {
    const [ours = '', bare = ''] = FAXES.slice(2 * index);
    for (const address of [ours, bare]) await fillMailbox(address, count);
    if (wait > 0) sandbox.fault({ does: { slow: { beforeActing: wait } } });
    const { inbox } = sandbox.mailbox(ours);
    const more = `pickup: [{ mailbox: ${ours}, transport: ews, concurrency: ${concurrency}, deliver: { smtp: { host: 127.0.0.1, port: ${legacyPort}, to: fax@legacy.test } } }]`;
    const one = await rig.gateway(sandbox.ewsUrl, 4, { more });
    const begun = performance.now();
    const perSecond = (): number => count / ((performance.now() - begun) / 1000);
    await until('picking up', async () => inbox.length === 0, 10);
    const picked = perSecond();
    await until('the hand-over', async () => (await metric(one.console, HANDED)) >= count, 10);
    const rate = perSecond();
    const spent = await metric(one.console, 'process_cpu_seconds_total');
    await one.stop();
    const words = ['bench/pick.ts', sandbox.ewsUrl, caFile, got.token, bare, String(concurrency)];
    const control = (JSON.parse(await firstLine(rig.start(words))) as { rate: number }).rate;
    sandbox.clearFaults();
    const name = `  ${count}, answers after ${wait} ms, ${concurrency} at a time`;
    row(name, rate, control, rate / control, picked, (spent * 1000) / count);
  }
  await end(legacy);
  await token.close();
  await http.close();
}

const HANDED = 'smtp2exchange_delivered_messages_total';

async function fillMailbox(address: string, count: number): Promise<void> {
  const body = `${'x'.repeat(76)}\r\n`.repeat(60);
  for (let n = 0; n < count; n++) {
    const header = `From: alice@contoso.com\r\nTo: ${address}\r\nSubject: fax ${n}\r\nMessage-ID: <${n}@bench>\r\nDate: Thu, 26 Nov 2026 08:00:00 +0000\r\n`;
    await sandbox.receive(address, { mime: Buffer.from(`${header}\r\n${body}`) });
  }
}

/** CPU of the whole way in and out, against a process that only encodes the same octets and posts them. */
async function cpu(): Promise<void> {
  row('CPU per message, accept and deliver', 'gateway ms', 'bare POST ms', 'ratio');
  const stub = rig.start(['bench/stub.ts', '0']);
  const stubPort = Number(await firstLine(stub));
  const url = `http://127.0.0.1:${stubPort}/EWS/Exchange.asmx`;
  for (const [name, octets, count] of [
    ['10 kB', 10_000, 1_000],
    ['1 MB', 1_000_000, 60],
    ['25 MB', 25_000_000, 6],
  ] as const) {
    const ours = await rig.gateway(url, 4);
    const relayed = (): Promise<number> => metric(ours.console, 'smtp2exchange_delivered_messages_total');
    await rig.load(ours.port, 2, 50, 5_000);
    await until('the warm-up', async () => (await relayed()) >= 50);
    const before = await metric(ours.console, 'process_cpu_seconds_total');
    await rig.load(ours.port, 2, count, octets);
    await until('delivery', async () => (await relayed()) >= 50 + count);
    const spent = ((await metric(ours.console, 'process_cpu_seconds_total')) - before) / count;
    await ours.stop();
    const child = rig.start(['bench/post.ts', String(stubPort), '2', String(count), String(octets), 'base64']);
    const bare = (JSON.parse(await firstLine(child)) as { cpu: number }).cpu / count;
    row(`  ${name}`, spent * 1000, bare * 1000, spent / bare);
  }
  await end(stub);
}

async function standing(): Promise<void> {
  row('standing idle', 'start-up s', 'empty Node.js s', 'ratio', 'resident MB');
  for (const [name, entry] of [
    ['compiled, as in the image', COMPILED],
    ['from source, as in a checkout', SOURCE],
  ] as const) {
    const starts: number[] = [];
    const empty: number[] = [];
    let resident = 0;
    for (let turn = 0; turn < 3; turn++) {
      const ours = await rig.gateway('https://127.0.0.1:9/EWS/Exchange.asmx', 4, { entry });
      starts.push(ours.startup);
      if (turn === 2) {
        await new Promise((wake) => setTimeout(wake, 3_000));
        resident = (await metric(ours.console, 'process_resident_memory_bytes')) / 1e6;
      }
      await ours.stop();
      const begun = performance.now();
      await firstLine(rig.start(['-e', 'console.log(1)']));
      empty.push((performance.now() - begun) / 1000);
    }
    row(`  ${name}`, median(starts), median(empty), median(starts) / median(empty), resident);
  }
}

/** A spool with so many messages of 1 kB waiting in one mailbox. @returns milliseconds to list a page of 100 from its middle */
async function fill(path: string, count: number): Promise<number> {
  const spool = await openSqliteSpool({ path, report: () => undefined, maxItems: count * 2 });
  const header = Buffer.from(
    'From: notifications@contoso.com\r\nTo: b@contoso.com\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@bench>\r\n\r\n',
  );
  const body = Buffer.alloc(1_000, 'x'.repeat(76) + '\r\n');
  let middle = '';
  let left = count;
  const put = async (): Promise<void> => {
    while (left-- > 0) {
      const draft = spool.begin();
      if (left === Math.floor(count / 2)) middle = draft.id;
      await draft.write(Buffer.concat([header, body]));
      await draft.commit([
        {
          route: 'exchange',
          mailbox: 'notifications@contoso.com',
          envelope: { reversePath: 'notifications@contoso.com', recipients: [{ address: 'b@contoso.com' }] },
          origin: { source: 'smtp', name: 'bench', peer: '127.0.0.1' },
          messageId: '<1@bench>',
          headerSize: header.length,
        },
      ]);
    }
  };
  await Promise.all(Array.from({ length: 100 }, put));
  const times = [];
  for (let turn = 0; turn < 20; turn++) {
    const begun = performance.now();
    await spool.list({ states: ['queued'], mailbox: 'notifications@contoso.com', after: middle });
    times.push(performance.now() - begun);
  }
  await spool.close();
  return median(times);
}

/** What a long queue costs, against a short one: the same gateway, the same stub, in turns. */
async function queued(): Promise<void> {
  const sizes = [100, 100_000] as const;
  const paths = sizes.map((count) => join(folder, `queued-${count}.db`));
  const listing: number[] = [];
  for (const [index, count] of sizes.entries()) listing.push(await fill(paths[index] ?? '', count));
  const figures = sizes.map(() => ({ first: [] as number[], rate: [] as number[], resident: [] as number[] }));
  for (let turn = 0; turn < 3; turn++) {
    for (const [index, path] of paths.entries()) {
      const stub = rig.start(['bench/stub.ts', '0']);
      const url = `http://127.0.0.1:${await firstLine(stub)}/EWS/Exchange.asmx`;
      const ours = await rig.gateway(url, 8, { queued: path });
      const state = async () =>
        (await fetch(url)).json() as Promise<{ taken: number; first: number; hundredth: number }>;
      await until('delivery', async () => (await state()).taken >= 100);
      const { first, hundredth } = await state();
      figures[index]?.first.push((first - ours.begun) / 1000);
      figures[index]?.rate.push(99_000 / (hundredth - first));
      figures[index]?.resident.push((await metric(ours.console, 'process_resident_memory_bytes')) / 1e6);
      await ours.stop();
      await end(stub);
    }
  }
  row('messages queued', '100', '100000', 'ratio');
  const compare = (name: string, [short = NaN, long = NaN]: readonly number[]): void =>
    row(`  ${name}`, short, long, long / short);
  compare(
    'process start to first delivery, s',
    figures.map(({ first }) => median(first)),
  );
  compare(
    'deliveries /s, the first 100',
    figures.map(({ rate }) => median(rate)),
  );
  compare(
    'resident MB then',
    figures.map(({ resident }) => median(resident)),
  );
  compare('listing a page of 100 from the middle, ms', listing);
}

/** Pages of the console over a long queue, the slowest of some. */
async function pages(): Promise<void> {
  row('console, 100000 messages', 'slowest ms', 'found');
  for (const { what, slowest, found } of await consoleFigures()) row(`  ${what}`, slowest, found);
}

const all = { accepts, deliveries, cluster: () => clusterFigures(rig), pickup, queued, cpu, standing, console: pages };
try {
  for (const [name, measure] of Object.entries(all))
    if (process.argv.length === 2 || process.argv.includes(name, 2)) await measure();
} finally {
  await rig.close();
}
