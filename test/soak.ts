/**
 * Thirty days in two to three minutes: the real queue, bouncer, retention, SQLite spool, token provider and EWS transport,
 * over real HTTPS to the sandbox in a thread of its own; only time is simulated (soak-clock.ts), and each attempt takes
 * simulated seconds. The SMTP door is left out: it keeps nothing from one message to the next but what its own tests count.
 *
 * Proves: accepted = relayed + bounced + parked + dropped, to the message, each delivered one exactly once; no more than
 * perMinute starts of a mailbox in any minute; every wait within what the schedule allows; a flood of one mailbox keeps no
 * other waiting; a day after the last trouble nothing waits any more; the heap is flat. Prints a table; exit code 1 otherwise.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { bearer } from '../src/exchange/authorizer.ts';
import { createEws } from '../src/exchange/ews.ts';
import type { Http } from '../src/exchange/http.ts';
import { createHttp } from '../src/exchange/http.ts';
import { exchangeTransport } from '../src/exchange/send.ts';
import { createTokenProvider } from '../src/exchange/token.ts';
import type { Event } from '../src/mail/event.ts';
import type { Transport } from '../src/mail/transport.ts';
import { createBouncer } from '../src/queue/bounce.ts';
import { createQueue } from '../src/queue/queue.ts';
import type { Misbehaviour } from '../src/sandbox/fault.ts';
import { forgetOld } from '../src/spool/forget.ts';
import { openSqliteSpool } from '../src/spool/sqlite.ts';
import { SoakClock } from './soak-clock.ts';
import type { ServerOrder } from './soak-server.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const DAYS = 30;
const PER_MINUTE = 30;
/** Megabytes that the heap may have grown by at the end. */
const HEAP_GROWTH = 3;
const ROUTE = 'exchange';
const MAILBOXES = Array.from({ length: 20 }, (_, n) => `m${n}@contoso.com`);
const FLOODED = 'flood@contoso.com';

const { gc } = globalThis;
if (gc === undefined) throw new Error('run it with node --expose-gc');

let state = 1;
/** The same in every run (mulberry32). */
function random(): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}

// --- the world ---------------------------------------------------------------------------------------------------

const start = Date.UTC(2026, 0, 1);
const clock = new SoakClock(start);
const time = new SharedArrayBuffer(8);
const truth = new Float64Array(time);
truth[0] = start;

const worker = new Worker(new URL('soak-server.ts', import.meta.url), {
  workerData: { mailboxes: [...MAILBOXES, FLOODED, 'y@contoso.com'], time },
});
type Place = Record<'ewsUrl' | 'authority' | 'clientId' | 'clientSecret' | 'ca', string>;
const [server] = (await once(worker, 'message')) as [Place];
let last: Promise<unknown> = Promise.resolve();
/** Orders go one at a time; simulated time waits for them. */
function order(what: ServerOrder): Promise<unknown> {
  const done = last.then(async () => {
    truth[0] = clock.truth();
    worker.postMessage(what, []);
    return ((await once(worker, 'message')) as [unknown])[0];
  });
  last = done;
  return clock.during(() => done);
}

// --- the gateway -------------------------------------------------------------------------------------------------

const folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-soak-'));
/** By number of the message. */
const became = new Map<string, Uint8Array>(
  ['relayed', 'bounced', 'parked'].map((what) => [what, new Uint8Array(100_000)]),
);
const counts = new Map<string, number>();
const wrong = new Map<string, string>();
const complain = (what: string, detail: string): void => void (wrong.has(what) || wrong.set(what, detail));
const numberOf = (messageId: string): number => Number(/^<(\d+)@soak\.test>$/.exec(messageId)?.[1] ?? -1);
let calmSince = Infinity;

const of = (what: string, number: number): number => became.get(what)?.[number] ?? 0;

function end(what: string, messageId: string, by = 1): void {
  const number = numberOf(messageId);
  const seen = became.get(what);
  if (number >= 0 && seen !== undefined) seen[number] = (seen[number] ?? 0) + by;
}

function report(event: Event): void {
  counts.set(event.event, (counts.get(event.event) ?? 0) + 1);
  switch (event.event) {
    case 'delivery.relayed':
      end('relayed', event.messageId);
      if (event.mailbox !== FLOODED && calmSince + HOUR < clock.steady() && event.age > 60 && event.attempt === 1)
        complain('kept waiting in calm times', JSON.stringify(event));
      return;
    case 'delivery.bounced':
      return end('bounced', event.messageId);
    case 'item.parked':
      // Its notice could not be delivered: it is parked instead.
      if (of('bounced', numberOf(event.messageId)) > 0) end('bounced', event.messageId, -1);
      return end('parked', event.messageId);
    case 'delivery.delayed':
    case 'delivery.unknown':
      if (event.due - clock.now() > 1.2 * HOUR) complain('a wait beyond the schedule', JSON.stringify(event));
      return;
    case 'bug':
      return complain('bug', `${event.where}: ${event.error.stack}`);
    default:
  }
}

const http = createHttp({ ca: server.ca, headersTimeout: 150 });
/** The token's requests happen in the background, so they are what simulated time has to wait for. */
const waited: Http = {
  request: async (request) => {
    const response = await clock.during(() => http.request(request));
    return { ...response, text: (limit) => clock.during(() => response.text(limit)) };
  },
  close: () => http.close(),
};
const spool = clock.watched(
  await openSqliteSpool({ path: join(folder, 'spool.db'), report, now: clock.now, verifyAfter: 90_000, minFree: 1 }),
);
const token = createTokenProvider({
  account: ROUTE,
  authority: server.authority,
  clientId: server.clientId,
  credential: { kind: 'secret', secret: server.clientSecret },
  scope: 'https://outlook.office365.com/.default',
  http: waited,
  report,
  now: clock.now,
  setTimer: clock.setTimer,
  random,
});
const exchange = exchangeTransport({
  ews: await createEws({ url: server.ewsUrl, authorizer: bearer({ http, token }), version: 'soak' }),
  saveToSentItems: true,
});

/** Starts of the last minute, by mailbox. */
const starts = new Map<string, number[]>();
function watchPace(mailbox: string): void {
  const at = clock.steady();
  const recent = (starts.get(mailbox) ?? []).filter((one) => one > at - MINUTE);
  recent.push(at);
  starts.set(mailbox, recent);
  if (recent.length > PER_MINUTE) complain('faster than perMinute', `${mailbox}: ${recent.length} in a minute`);
}

const transport: Transport = {
  name: 'ews',
  async deliver(outgoing, signal) {
    watchPace(outgoing.item.mailbox);
    await clock.sleep(100 + random() * 1_000);
    truth[0] = clock.truth();
    const status = await clock.during(() => exchange.deliver(outgoing, signal));
    await clock.sleep(random() * 2_000);
    return status;
  },
  async verify(outgoing, signal) {
    truth[0] = clock.truth();
    const found = await clock.during(() => exchange.verify(outgoing, signal));
    await clock.sleep(500);
    return found;
  },
  close: () => exchange.close(),
};
const queue = createQueue({
  spool,
  transports: new Map([[ROUTE, transport]]),
  report,
  schedule: { intervals: [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR], giveUpAfter: DAY },
  bouncer: createBouncer({ spool, hostname: 'gateway.test', send: true, body: 'headers', now: clock.now }),
  warnAfter: 4 * HOUR,
  pace: { concurrency: 4, perMinute: PER_MINUTE },
  concurrency: 32,
  verifyAfter: 90_000,
  attemptTimeout: HOUR,
  now: clock.now,
  steady: clock.steady,
  setTimer: clock.setTimer,
  random,
});

// --- mail --------------------------------------------------------------------------------------------------------

let accepted = 0;
async function accept(mailbox: string): Promise<void> {
  const messageId = `<${accepted++}@soak.test>`;
  const header = `From: ${mailbox}\r\nTo: y@contoso.com\r\nSubject: soak\r\nMessage-ID: ${messageId}\r\n\r\n`;
  const draft = spool.begin();
  await draft.write(Buffer.from(`${header}${'x'.repeat(Math.floor(random() * 500))}\r\n`));
  const items = await draft.commit([
    {
      route: ROUTE,
      mailbox,
      envelope: { reversePath: mailbox, recipients: [{ address: 'y@contoso.com' }] },
      origin: { source: 'smtp', name: 'lan', peer: '127.0.0.1' },
      messageId,
      headerSize: header.length,
    },
  ]);
  for (const item of items) queue.arrived(item);
}

async function burst(size: number): Promise<void> {
  for (let left = size; left > 0; left -= 500)
    await clock.during(() => Promise.all(Array.from({ length: 500 }, () => accept(FLOODED))));
}

// --- what happens ------------------------------------------------------------------------------------------------

const fault = (does: Misbehaviour, count: number, operation?: string): Promise<unknown> =>
  order({ do: 'fault', fault: { when: { count, ...(operation === undefined ? {} : { operation }) }, does } });

/** Every day at noon, one after the other. */
const SMALL: readonly (() => Promise<unknown>)[] = [
  () => fault({ responseCode: 'ErrorServerBusy', backOffMilliseconds: 5 * MINUTE }, 30),
  () => fault({ status: 504, acts: true }, 10),
  () => fault({ cut: 'afterActing' }, 10, 'CreateItem'),
  () => fault({ silent: 'beforeActing' }, 5),
  () => fault({ responseCode: 'ErrorInvalidRecipients' }, 5, 'CreateItem'),
  () => fault({ status: 429, retryAfter: 120 }, 20),
  () => fault({ responseCode: 'ErrorNobodyKnows' }, 12),
  () => order({ do: 'revoke' }),
  () => fault({ garbage: true, acts: true }, 10, 'CreateItem'),
  () => order({ do: 'identity', fault: { status: 503, times: 200 } }),
  () => fault({ responseCode: 'ErrorMailboxStoreUnavailable' }, 40),
];

type Happening = readonly [day: number, what: () => unknown];
const PLAN: readonly Happening[] = [
  [2.1, () => order({ do: 'fault', fault: { when: { mailbox: 'm3@contoso.com' }, does: { status: 449 } } })],
  [2.5, () => order({ do: 'behave' })],
  [3.1, () => clock.set(HOUR)],
  [3.6, () => clock.set(-HOUR)],
  [4.2, () => clock.suspend(8 * HOUR)],
  [5.3, () => clock.set(-DAY)],
  [5.4, () => clock.set(DAY)],
  [6, () => burst(10_000)],
  [6.1, () => clock.suspend(2 * HOUR)],
  [7.2, () => order({ do: 'stop' })],
  [7.5, () => order({ do: 'start' })],
  [9.1, () => fault({ status: 403 }, 100_000)],
  [9.4, () => order({ do: 'behave' })],
  [12, () => order({ do: 'identity', fault: { aadsts: 7000222, times: 100_000 } })],
  [12.9, () => order({ do: 'behave' })],
  [15.2, () => clock.set(30 * DAY)],
  [15.2001, () => clock.set(-30 * DAY)],
  [18.05, () => order({ do: 'stop' })],
  // Longer than giveUpAfter: what came first is given up, and so are the notices of it.
  [19.25, () => order({ do: 'start' })],
  [23, () => burst(500)],
  [23.05, () => order({ do: 'stop' })],
  [23.15, () => order({ do: 'start' })],
  [24.5, () => clock.set(-10 * MINUTE)],
];
/** From here on nothing goes wrong. */
const CALM = 28;

async function troubles(): Promise<void> {
  const noons: Happening[] = SMALL.flatMap((what, n) =>
    [1, 11, 21].map((from): Happening => [from + n * 0.5 + 0.04, what]),
  );
  const all = [...PLAN, ...noons.filter(([day]) => day < 17 || day > 20)].toSorted(([a], [b]) => a - b);
  for (const [day, what] of all) {
    if (day >= CALM) break;
    await clock.sleep(Math.max(0, day * DAY - clock.steady()));
    await clock.during(async () => await what());
  }
  await clock.sleep(CALM * DAY - clock.steady());
  await order({ do: 'behave' });
  calmSince = clock.steady();
}

async function mail(): Promise<void> {
  while (clock.steady() < (DAYS - 1) * DAY) {
    await clock.during(() => accept(MAILBOXES[Math.floor(random() * MAILBOXES.length)] ?? ''));
    await clock.sleep(20 * MINUTE * random());
  }
}

const heaps: number[] = [];
async function housekeeping(): Promise<void> {
  const retention = { retention: 5 * DAY, parkedRetention: 4 * DAY, parkedSize: 40_000 };
  for (let hour = 1; hour <= DAYS * 24; hour++) {
    await clock.sleep(hour * HOUR - clock.steady());
    await forgetOld(spool, retention, report, clock.now());
    if (hour % 24 !== 0) continue;
    gc?.();
    heaps.push(process.memoryUsage().heapUsed / 1e6);
  }
}

// --- the run -----------------------------------------------------------------------------------------------------

const begun = performance.now();
queue.start();
let isOver = false;
const done = Promise.all([troubles(), mail(), housekeeping()]).finally(() => (isOver = true));
await clock.run(() => isOver);
await done;
const { items } = await spool.stats();
const arrivals = (await order({ do: 'arrived' })) as string[];
await queue.stop(AbortSignal.abort());
await token.close();
await http.close();
await order({ do: 'close' });
await worker.terminate();
await spool.close();
rmSync(folder, { recursive: true, force: true });

// --- the books ---------------------------------------------------------------------------------------------------

const copies = new Uint8Array(100_000);
for (const messageId of arrivals) {
  const number = numberOf(messageId);
  if (number >= 0) copies[number] = (copies[number] ?? 0) + 1;
}
for (let number = 0; number < accepted; number++) {
  const ends = of('relayed', number) + of('bounced', number) + of('parked', number);
  if (ends !== 1) complain('a message that did not end exactly once', `${number}: ${ends} times`);
  if (copies[number] !== of('relayed', number))
    complain('copies that do not match what became of it', `${number}: ${copies[number]} copies`);
}
const count = (event: Event['event']): number => counts.get(event) ?? 0;
const notices = count('delivery.bounced') + count('delivery.warned');
const relayed = count('delivery.relayed');
const parkedAndDropped = count('item.parked');
const dropped = count('item.dropped');
const balance = accepted + notices - relayed - count('delivery.bounced') - (parkedAndDropped - dropped) - dropped;
if (balance !== 0) complain('the books do not balance', String(balance));
if (items.queued + items.sending > 0) complain('still waiting', `${items.queued} queued, ${items.sending} being sent`);
if (items.parked !== parkedAndDropped - dropped) complain('parked mail that is not in the spool', String(items.parked));
const early = Math.max(...heaps.slice(2, 7));
const late = Math.max(...heaps.slice(-5));
if (late - early > HEAP_GROWTH) complain('the heap grew', heaps.map((one) => one.toFixed(1)).join(' '));
for (const event of ['delivery.warned', 'delivery.bounced', 'item.dropped', 'route.held', 'lane.held'] as const)
  if (count(event) === 0) complain('too little happened', `no ${event}`);

const table: [string, number | string][] = [
  ['days', DAYS],
  ['accepted', accepted],
  ['+ notices of bounces and delays', notices],
  ['= relayed', relayed],
  ['+ bounced', count('delivery.bounced')],
  ['+ parked at the end', parkedAndDropped - dropped],
  ['+ dropped by age or size', dropped],
  ['  difference', balance],
  ['attempts', count('delivery.started')],
  ['  delayed', count('delivery.delayed')],
  ['  of unclear outcome', count('delivery.unknown')],
  ['looks', count('delivery.verified')],
  ['tokens', count('token.acquired')],
  ['  refused', count('token.failed')],
  ['times the route was held', count('route.held')],
  ['heap after the first week, MB', early.toFixed(1)],
  ['heap at the end, MB', late.toFixed(1)],
  ['seconds', Math.round((performance.now() - begun) / 1000)],
];
for (const [what, value] of table) process.stdout.write(`${what.padEnd(48)}${String(value).padStart(10)}\n`);
for (const [what, detail] of wrong) process.stdout.write(`! ${what}: ${detail}\n`);
process.exit(wrong.size === 0 ? 0 : 1);
