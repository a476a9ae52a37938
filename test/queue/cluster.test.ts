/** Queues of several gateways on one spool, under simulated time: what holds of a mailbox or a route holds for all of them. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Event } from '../../src/mail/event.ts';
import type { NewItem, QueueItem } from '../../src/mail/item.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import type { Delayed, DeliveryStatus, Relayed } from '../../src/mail/status.ts';
import type { Outgoing, Transport } from '../../src/mail/transport.ts';
import type { Queue, QueueOptions } from '../../src/queue/queue.ts';
import { createQueue } from '../../src/queue/queue.ts';
import { MemoryCluster } from './memory-cluster.ts';
import { MemorySpool } from './memory-spool.ts';

const relayed: Relayed = { outcome: 'relayed', code: '2.0.0', cause: 'NoError', text: 'delivered' };
const delayed = (reach: Delayed['reach'], more: Partial<Delayed> = {}): Delayed => ({
  outcome: 'delayed',
  code: '4.4.1',
  cause: 'ECONNREFUSED',
  text: 'later',
  reach,
  ...more,
});

/** The one server that all of them send to. */
class Server {
  readonly sent: { readonly id: string; readonly at: number; readonly by: string }[] = [];
  readonly verified: string[] = [];
  inFlight = 0;
  most = 0;
  /** Milliseconds that it takes. */
  takes = 100;
  answer: (item: QueueItem, by: string) => DeliveryStatus = () => relayed;
  /** Waits here before it reads the message. */
  before: (by: string) => Promise<void> = async () => undefined;

  transport(by: string): Transport {
    return {
      name: 'fake',
      deliver: async ({ item, open }: Outgoing) => {
        await this.before(by);
        for await (const chunk of open()) if (chunk.length === 0) throw new Error('an empty chunk');
        this.sent.push({ id: item.id, at: Date.now(), by });
        this.most = Math.max(this.most, ++this.inFlight);
        await new Promise((resolve) => setTimeout(resolve, this.takes));
        this.inFlight--;
        return this.answer(item, by);
      },
      verify: async ({ item }) => {
        this.verified.push(item.id);
        return this.sent.some(({ id }) => id === item.id) ? relayed : { outcome: 'absent' };
      },
      close: async () => undefined,
    };
  }
}

interface Gateway {
  readonly queue: Queue;
  readonly events: Event[];
}

let store: MemorySpool;
let cluster: MemoryCluster;
let server: Server;
let gateways: Gateway[];

function gateway(name: string, options: Partial<QueueOptions> = {}): Gateway {
  const events: Event[] = [];
  const queue = createQueue({
    ...cluster.join(name),
    transports: new Map([['exchange', server.transport(name)]]),
    report: (event) => events.push(event),
    schedule: { intervals: [60_000, 300_000], giveUpAfter: 86_400_000 },
    pace: { concurrency: 4, perMinute: Infinity },
    concurrency: 16,
    verifyAfter: 90_000,
    attemptTimeout: 600_000,
    random: () => 0.5,
    ...options,
  });
  const made = { queue, events };
  gateways.push(made);
  queue.start();
  return made;
}

const entry = (mailbox = 'a@contoso.com'): NewItem => ({
  route: 'exchange',
  mailbox,
  envelope: { reversePath: 'x@contoso.com', recipients: [{ address: 'y@contoso.com' }] },
  origin: { source: 'smtp', name: 'lan', peer: '127.0.0.1' },
  messageId: '<m@contoso.com>',
  headerSize: 10,
});

async function arrive(at: Gateway, count = 1, mailbox?: string): Promise<QueueItem[]> {
  const items: QueueItem[] = [];
  for (let n = 0; n < count; n++) {
    const item = await store.inject(entry(mailbox));
    items.push(item);
    at.queue.arrived(item);
  }
  return items;
}

const pass = (milliseconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds);
const named = <E extends Event['event']>({ events }: Gateway, name: E): Extract<Event, { event: E }>[] =>
  events.filter((event): event is Extract<Event, { event: E }> => event.event === name);

beforeEach(() => {
  vi.useFakeTimers({
    now: 1_800_000_000_000,
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
  });
  store = new MemorySpool(Date.now);
  cluster = new MemoryCluster(store);
  server = new Server();
  gateways = [];
});

afterEach(async () => {
  const ended = Promise.all(gateways.map(({ queue }) => queue.stop(AbortSignal.abort())));
  await pass(60_000);
  await ended;
  vi.useRealTimers();
});

describe('the pace of a mailbox', () => {
  it('is one for all: parallel attempts', async () => {
    const [one, two] = [gateway('one'), gateway('two')];
    for (let n = 0; n < 20; n++) await arrive(n % 2 === 0 ? one : two, 1);
    await pass(60_000);
    expect(server.sent).toHaveLength(20);
    expect(server.most).toBe(4);
  });

  it('is one for all: attempts in a minute', async () => {
    const pace = { concurrency: 4, perMinute: 10 };
    const [one, two] = [gateway('one', { pace }), gateway('two', { pace })];
    await arrive(one, 15);
    await arrive(two, 15);
    const counts: number[] = [];
    for (const until of [59_000, 60_000, 60_000]) {
      await pass(until);
      counts.push(server.sent.length);
    }
    expect(counts).toEqual([10, 20, 30]);
  });

  it('two gateways may send by two mailboxes at once, as one does', async () => {
    const [one, two] = [gateway('one'), gateway('two')];
    await arrive(one, 8, 'a@contoso.com');
    await arrive(two, 8, 'b@contoso.com');
    await pass(60_000);
    expect(server.most).toBe(8);
  });

  it('a wait that the server told one of them holds the other too, and one that comes later', async () => {
    server.answer = () => delayed('mailbox', { retryAfter: 300_000, throttled: true, code: '4.3.2' });
    const one = gateway('one');
    const two = gateway('two');
    await arrive(one);
    await pass(1_000);
    server.answer = () => relayed;
    expect(server.sent).toHaveLength(1);
    await arrive(two);
    const three = gateway('three');
    await arrive(three);
    await pass(298_000);
    expect(server.sent).toHaveLength(1);
    await pass(20_000);
    expect(server.sent).toHaveLength(4);
  });

  it('throttling takes slots from all of them, and successes of any give them back', async () => {
    let throttled = true;
    server.answer = () => (throttled ? delayed('mailbox', { retryAfter: 1_000, throttled: true }) : relayed);
    const [one, two] = [gateway('one'), gateway('two')];
    await arrive(one, 4);
    await pass(900);
    throttled = false;
    expect(cluster.state('exchange', 'a@contoso.com')).toMatchObject({ slots: 2 });
    server.most = 0;
    await arrive(one, 5);
    await arrive(two, 5);
    await pass(500);
    expect(server.most).toBe(2);
    await pass(60_000);
    await arrive(two, 40);
    await pass(60_000);
    expect(server.most).toBe(4);
    expect(cluster.state('exchange', 'a@contoso.com')).toBeUndefined();
  });
});

describe('a held route', () => {
  it('is held for all of them, and is probed by one message at a time', async () => {
    server.answer = () => delayed('transport');
    const [one, two] = [gateway('one'), gateway('two')];
    await arrive(one);
    await pass(500);
    expect(named(one, 'route.held')).toHaveLength(1);
    expect(named(two, 'route.held')).toHaveLength(1);
    for (const mailbox of ['b@contoso.com', 'c@contoso.com', 'd@contoso.com']) {
      await arrive(one, 1, mailbox);
      await arrive(two, 1, mailbox);
    }
    await pass(120_000);
    expect(server.most).toBe(1);
    // 1, 2, 5, 10, 20, 30, ... seconds apart
    expect(server.sent.length).toBeGreaterThan(5);
    expect(server.sent.length).toBeLessThan(12);
    server.answer = () => relayed;
    await pass(60_000);
    expect(new Set(server.sent.map(({ id }) => id))).toHaveLength(7);
    expect([...store.items.values()].map(({ state }) => state)).toEqual(Array.from({ length: 7 }, () => 'relayed'));
    for (const each of [one, two]) expect(named(each, 'route.released')).toHaveLength(1);
  });

  it('is known to one that starts meanwhile', async () => {
    server.answer = () => delayed('transport', { code: '4.3.5', reason: 'consent is missing' });
    const one = gateway('one');
    await arrive(one);
    await pass(500);
    const two = gateway('two');
    await pass(500);
    expect(named(two, 'route.held')).toMatchObject([{ misconfigured: true, reason: 'consent is missing' }]);
    await arrive(two, 1, 'b@contoso.com');
    await pass(20_000);
    expect(server.sent).toHaveLength(1);
  });

  it('is tried at once by any gateway when a person has mended it at one', async () => {
    server.answer = () => delayed('transport', { code: '4.3.5' });
    const [one, two] = [gateway('one'), gateway('two')];
    await arrive(one);
    await pass(500);
    server.answer = () => relayed;
    two.queue.mended();
    await pass(1_000);
    expect(server.sent).toHaveLength(2);
    expect(named(one, 'route.released')).toHaveLength(1);
    expect(named(two, 'route.released')).toHaveLength(1);
  });

  it('waits no longer than a lease for the probe of a gateway that died', async () => {
    server.answer = () => delayed('transport');
    const one = gateway('one');
    await arrive(one);
    await pass(500);
    // It has begun a probe and will never end it.
    const state = cluster.state('exchange') as Record<string, number>;
    cluster.known.set('["exchange",null]', { ...state, probingUntil: Date.now() + 30_000 });
    server.answer = () => relayed;
    const two = gateway('two');
    await one.queue.stop(AbortSignal.abort());
    await pass(25_000);
    expect(server.sent).toHaveLength(1);
    await pass(10_000);
    expect(server.sent.map(({ by }) => by)).toEqual(['one', 'two']);
    expect(named(two, 'delivery.relayed')).toHaveLength(1);
  });
});

describe('a lease that is over', () => {
  const stopped = new Map<string, () => void>();
  beforeEach(() => {
    server.before = (by) => new Promise((resolve) => stopped.set(by, resolve));
  });

  it('ends the attempt before the message is read, whatever the timers did', async () => {
    const one = gateway('one');
    const [item] = await arrive(one);
    await pass(100);
    // The process stands still: time passes, nothing of it runs.
    vi.setSystemTime(Date.now() + 31_000);
    cluster.takeOver(item?.id ?? '');
    server.before = async () => undefined;
    const two = gateway('two');
    two.queue.arrived(entry());
    await pass(50);
    stopped.get('one')?.();
    await pass(1_000);
    expect(server.sent.map(({ by }) => by)).toEqual(['two']);
    expect(server.verified).toEqual([item?.id]);
    expect(named(one, 'lease.lost')).toMatchObject([{ id: item?.id, mailbox: 'a@contoso.com' }]);
    expect(named(one, 'delivery.delayed')).toEqual([]);
    expect(store.items.get(item?.id ?? '')?.state).toBe('relayed');
  });

  it('is kept as long as the store says so', async () => {
    const one = gateway('one');
    await arrive(one);
    await pass(300_000);
    stopped.get('one')?.();
    await pass(1_000);
    expect(server.sent).toHaveLength(1);
    expect(named(one, 'lease.lost')).toEqual([]);
  });

  it('is not kept while the store cannot be asked: the attempt is given up in time', async () => {
    const one = gateway('one');
    await arrive(one);
    await pass(100);
    cluster.trouble = new SpoolError('io', 'the database cannot be reached');
    await pass(31_000);
    stopped.get('one')?.();
    await pass(500);
    expect(server.sent).toEqual([]);
    expect(named(one, 'lease.lost')).toHaveLength(1);
    cluster.trouble = undefined;
  });
});

describe('a store whose clock goes back, because another server has taken over', () => {
  it('holds nothing up: not what was waited for, not what a copy or a late change says', async () => {
    const [one, two] = [gateway('one'), gateway('two')];
    server.answer = () => delayed('transport');
    await arrive(one, 2);
    await pass(60_000);
    const before = server.sent.length;
    expect(named(two, 'route.held').length).toBeGreaterThan(0);
    // The store is away, comes back ten minutes behind, and has forgotten what was known.
    cluster.trouble = new SpoolError('io', 'the database cannot be reached');
    await pass(5_000);
    vi.setSystemTime(Date.now() - 600_000);
    cluster.known.clear();
    for (const item of store.items.values()) Object.assign(item, { due: item.due - 600_000 });
    cluster.trouble = undefined;
    server.answer = () => relayed;
    await pass(40_000);
    expect(server.sent.length).toBeGreaterThan(before);
    expect([...store.items.values()].map(({ state }) => state)).toEqual(['relayed', 'relayed']);
    await arrive(two, 3);
    await pass(5_000);
    expect([...store.items.values()].every(({ state }) => state === 'relayed')).toBe(true);
    expect(cluster.state('exchange')).toBeUndefined();
  });
});

describe('trouble with the store', () => {
  it('leaves what one has found out to be told when it is over', async () => {
    server.answer = () => delayed('transport');
    const [one, two] = [gateway('one'), gateway('two')];
    server.takes = 5_000;
    await arrive(one);
    await pass(1_000);
    cluster.trouble = new SpoolError('io', 'the database cannot be reached');
    await pass(5_000);
    expect(named(one, 'route.held')).toHaveLength(1);
    expect(cluster.state('exchange')).toBeUndefined();
    cluster.trouble = undefined;
    await pass(16_000);
    expect(cluster.state('exchange')).toBeDefined();
    expect(named(two, 'route.held').length).toBeGreaterThan(0);
  });

  it('what another gateway made due is tried', async () => {
    const [one] = [gateway('one'), gateway('two')];
    await store.inject(entry());
    await pass(3_000);
    expect(server.sent).toHaveLength(1);
    expect(named(one, 'delivery.relayed').length).toBeLessThan(2);
  });
});
