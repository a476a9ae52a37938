/** The queue under simulated time: what starts when, and what each status leads to. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Event } from '../../src/mail/event.ts';
import type { NewItem, QueueItem } from '../../src/mail/item.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import type { Delayed, DeliveryStatus, Failed, Relayed, Unknown, Verification } from '../../src/mail/status.ts';
import type { Outgoing, Transport } from '../../src/mail/transport.ts';
import type { Bouncer } from '../../src/queue/bounce.ts';
import type { Queue, QueueOptions } from '../../src/queue/queue.ts';
import { createQueue } from '../../src/queue/queue.ts';
import { MemorySpool } from './memory-spool.ts';

const relayed: Relayed = { outcome: 'relayed', code: '2.0.0', cause: 'NoError', text: 'delivered' };
const failed: Failed = { outcome: 'failed', code: '5.1.1', cause: 'ErrorInvalidRecipients', text: 'refused' };
const unknown: Unknown = { outcome: 'unknown', code: '4.4.2', cause: 'ECONNRESET', text: 'no answer' };
const delayed = (reach: Delayed['reach'], more: Partial<Delayed> = {}): Delayed => ({
  outcome: 'delayed',
  code: '4.4.1',
  cause: 'ECONNREFUSED',
  text: 'later',
  reach,
  ...more,
});
const misconfigured = delayed('transport', { code: '4.3.5', cause: 'HTTP 403', reason: 'EWS is closed' });

class FakeTransport implements Transport {
  readonly name = 'fake';
  readonly sent: { id: string; at: number; mailbox: string }[] = [];
  readonly looked: string[] = [];
  inFlight = 0;
  most = 0;
  /** Milliseconds an attempt takes. */
  seconds = 0.01;
  answer: (item: QueueItem, attempt: number) => DeliveryStatus | Promise<DeliveryStatus> = () => relayed;
  found: (item: QueueItem) => Verification = () => ({ outcome: 'absent' });
  readonly #attempts = new Map<string, number>();

  async deliver({ item }: Outgoing, signal: AbortSignal): Promise<DeliveryStatus> {
    const attempt = (this.#attempts.get(item.id) ?? 0) + 1;
    this.#attempts.set(item.id, attempt);
    this.sent.push({ id: item.id, at: Date.now(), mailbox: item.mailbox });
    this.most = Math.max(this.most, ++this.inFlight);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.seconds * 1000);
      signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    });
    this.inFlight--;
    if (signal.aborted) return { ...unknown, cause: 'aborted' };
    return this.answer(item, attempt);
  }

  async verify({ item }: Outgoing): Promise<Verification> {
    this.looked.push(item.id);
    return this.found(item);
  }

  async close(): Promise<void> {}
}

let spool: MemorySpool;
let transport: FakeTransport;
let events: Event[];
let queue: Queue;

const entry = (mailbox = 'a@contoso.com'): NewItem => ({
  route: 'exchange',
  mailbox,
  envelope: { reversePath: 'x@contoso.com', recipients: [{ address: 'y@contoso.com' }] },
  origin: { source: 'smtp', name: 'lan', peer: '127.0.0.1' },
  messageId: '<m@contoso.com>',
  headerSize: 10,
});

function build(options: Partial<QueueOptions> = {}): void {
  queue = createQueue({
    spool,
    transports: new Map([['exchange', transport]]),
    report: (event) => events.push(event),
    schedule: { intervals: [60_000, 300_000], giveUpAfter: 86_400_000 },
    pace: { concurrency: 4, perMinute: Infinity },
    concurrency: 16,
    verifyAfter: 90_000,
    attemptTimeout: 600_000,
    random: () => 0.5,
    ...options,
  });
}

async function arrive(mailbox?: string): Promise<QueueItem> {
  const item = await spool.inject(entry(mailbox));
  queue.arrived(item);
  return item;
}

const state = (item: QueueItem): string | undefined => spool.items.get(item.id)?.state;
const named = <E extends Event['event']>(name: E): Extract<Event, { event: E }>[] =>
  events.filter((event): event is Extract<Event, { event: E }> => event.event === name);

beforeEach(() => {
  vi.useFakeTimers({
    now: 1_800_000_000_000,
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
  });
  spool = new MemorySpool(Date.now);
  transport = new FakeTransport();
  events = [];
  build();
});

afterEach(async () => {
  const ended = queue.stop(AbortSignal.abort());
  await vi.advanceTimersByTimeAsync(60_000);
  await ended;
  vi.useRealTimers();
});

const pass = (milliseconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds);

describe('which item next', () => {
  it('delivers what was queued before the start, in order of arrival', async () => {
    build({ pace: { concurrency: 1, perMinute: Infinity } });
    const items = [];
    for (let n = 0; n < 20; n++) items.push(await spool.inject(entry()));
    queue.start();
    await pass(1_000);
    expect(transport.sent.map((sent) => sent.id)).toEqual(items.map((item) => item.id));
    expect(items.map(state)).toEqual(items.map(() => 'relayed'));
  });

  it('starts a new message at once', async () => {
    queue.start();
    await pass(5_000);
    const item = await arrive();
    await pass(50);
    expect(state(item)).toBe('relayed');
    expect(named('delivery.relayed')[0]).toMatchObject({ id: item.id, attempt: 1, status: relayed });
  });

  it('tells when a mailbox had received what was picked up from it, and of nothing else', async () => {
    queue.start();
    const receivedAt = Date.now() - 5_000;
    const origin = { source: 'pickup', name: 'fax', peer: '', receivedAt } as const;
    queue.arrived(await spool.inject({ ...entry(), origin }));
    await pass(50);
    await arrive();
    await pass(50);
    expect(named('delivery.relayed').map((event) => event.receivedAt)).toEqual([receivedAt, undefined]);
  });

  it('keeps to the concurrency of a mailbox and of the gateway', async () => {
    build({ concurrency: 6, catchUp: 'parallel' });
    for (let n = 0; n < 30; n++) await spool.inject(entry(`m${n % 3}@contoso.com`));
    const perMailbox = new Map<string, number>();
    let most = 0;
    transport.answer = (item) => {
      perMailbox.set(item.mailbox, (perMailbox.get(item.mailbox) ?? 0) + 1);
      most = Math.max(most, transport.most);
      return relayed;
    };
    queue.start();
    await pass(5_000);
    expect(transport.most).toBe(6);
    expect([...perMailbox.values()]).toEqual([10, 10, 10]);
  });

  it('starts at most perMinute attempts of a mailbox in any minute, and lets others pass', async () => {
    build({ pace: { concurrency: 4, perMinute: 30 } });
    for (let n = 0; n < 100; n++) await spool.inject(entry('flood@contoso.com'));
    queue.start();
    await pass(1_000);
    expect(transport.sent.length).toBe(30);
    const single = await arrive('single@contoso.com');
    await pass(100);
    expect(state(single)).toBe('relayed');
    await pass(200_000);
    const times = transport.sent.filter((sent) => sent.mailbox === 'flood@contoso.com').map((sent) => sent.at);
    expect(times.length).toBe(100);
    for (const at of times)
      expect(times.filter((other) => other > at - 60_000 && other <= at).length).toBeLessThanOrEqual(30);
  });

  it('a flood of 10,000 due items in one mailbox does not delay the single mail of another', async () => {
    for (let n = 0; n < 10_000; n++) await spool.inject(entry('flood@contoso.com'));
    queue.start();
    await pass(100);
    const single = await arrive('single@contoso.com');
    await pass(20);
    expect(state(single)).toBe('relayed');
    // And as well when the start finds both, the flood first.
    await queue.stop(AbortSignal.abort());
    const other = await spool.inject(entry('other@contoso.com'));
    build();
    queue.start();
    await pass(30);
    expect(state(other)).toBe('relayed');
    expect(transport.sent.filter(({ mailbox }) => mailbox === 'flood@contoso.com').length).toBeLessThan(200);
  });

  it('lets what goes first overtake within its mailbox, and starves nothing', async () => {
    spool.first = ['important'];
    build({ pace: { concurrency: 1, perMinute: Infinity } });
    const rest = [await spool.inject(entry()), await spool.inject(entry())];
    const first = [];
    for (let n = 0; n < 5; n++) first.push(await spool.inject({ ...entry(), isImportant: true }));
    queue.start();
    await pass(1_000);
    expect(transport.sent.map(({ id }) => id)).toEqual(
      [first[0], first[1], first[2], rest[0], first[3], first[4], rest[1]].map((item) => item?.id),
    );
  });

  it('does not ask the store again and again while nothing is due', async () => {
    queue.start();
    await arrive();
    await pass(1_000);
    const claims = spool.claims;
    await pass(600_000);
    expect(spool.claims - claims).toBe(0);
  });
});

describe('what a status means', () => {
  it('delayed, message: tried again by the schedule', async () => {
    transport.answer = (_, attempt) => (attempt < 4 ? delayed('message') : relayed);
    queue.start();
    const item = await arrive();
    await pass(3_600_000);
    expect(state(item)).toBe('relayed');
    const [first] = transport.sent;
    expect(transport.sent.map((sent) => Math.round((sent.at - (first?.at ?? 0)) / 1000))).toEqual([0, 60, 360, 660]);
  });

  it('delayed, message, with a time that the server named: that time', async () => {
    transport.answer = (_, attempt) => (attempt === 1 ? delayed('message', { retryAfter: 17_000 }) : relayed);
    queue.start();
    await arrive();
    await pass(100_000);
    const [first, second] = transport.sent;
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBe(17_010);
  });

  it('delayed, mailbox: that mailbox waits to the second and keeps its order, others go on', async () => {
    transport.answer = (item, attempt) =>
      item.mailbox === 'a@contoso.com' && attempt === 1 && transport.sent.length < 3
        ? delayed('mailbox', { retryAfter: 120_000, throttled: true, cause: 'ErrorServerBusy' })
        : relayed;
    build({ pace: { concurrency: 1, perMinute: Infinity } });
    queue.start();
    const first = await arrive('a@contoso.com');
    await pass(5);
    const second = await arrive('a@contoso.com');
    const other = await arrive('b@contoso.com');
    await pass(119_000);
    expect(state(other)).toBe('relayed');
    expect(state(first)).toBe('queued');
    expect(transport.sent.filter((sent) => sent.mailbox === 'a@contoso.com').length).toBe(1);
    await pass(2_000);
    expect([state(first), state(second)]).toEqual(['relayed', 'relayed']);
    expect(transport.sent.filter((sent) => sent.mailbox === 'a@contoso.com').map((sent) => sent.id)).toEqual([
      first.id,
      first.id,
      second.id,
    ]);
    expect(named('lane.held')).toMatchObject([{ mailbox: 'a@contoso.com', throttled: true }]);
  });

  it('delayed, transport: one probe at a time, everything keeps its place, all goes out when it works again', async () => {
    let down = true;
    transport.answer = () => (down ? delayed('transport') : relayed);
    build({ pace: { concurrency: 1, perMinute: Infinity } });
    queue.start();
    const items: QueueItem[] = [];
    for (let n = 0; n < 10; n++) {
      items.push(await arrive());
      await pass(1);
    }
    await pass(300_000);
    // 1 s, 2 s, 5 s, 10 s, 20 s, then every 30 s
    expect(transport.sent.length).toBeLessThan(16);
    expect(transport.sent.length).toBeGreaterThan(10);
    expect(new Set(transport.sent.map((sent) => sent.id)).size).toBe(1);
    down = false;
    transport.sent.length = 0;
    await pass(31_000);
    expect(transport.sent.map((sent) => sent.id)).toEqual(items.map((item) => item.id));
    expect(items.map(state)).toEqual(items.map(() => 'relayed'));
    expect(named('route.released').length).toBe(1);
    expect(named('route.held')[0]).toMatchObject({ route: 'exchange', misconfigured: false });
  });

  it('delayed 4.3.5: probed slowly, never given up, released by itself', async () => {
    let wrong = true;
    transport.answer = () => (wrong ? misconfigured : relayed);
    queue.start();
    const item = await arrive();
    await pass(5 * 86_400_000);
    expect(state(item)).toBe('queued');
    // a probe each half hour once the intervals are grown
    expect(transport.sent.length).toBeLessThan(5 * 48 + 10);
    wrong = false;
    await pass(1_800_000);
    expect(state(item)).toBe('relayed');
    expect(named('route.held')[0]).toMatchObject({ misconfigured: true, reason: 'EWS is closed' });
  });

  it('delayed for longer than giveUpAfter: parked', async () => {
    transport.answer = () => delayed('message');
    queue.start();
    const item = await arrive();
    await pass(86_400_000 + 600_000);
    expect(state(item)).toBe('parked');
    expect(named('item.parked')[0]?.why).toContain('giveUpAfter');
  });

  it('delayed and capped: parked after 8 attempts', async () => {
    transport.answer = () => delayed('message', { capped: true, cause: 'ErrorSomethingNew' });
    queue.start();
    const item = await arrive();
    await pass(86_400_000);
    expect(state(item)).toBe('parked');
    expect(transport.sent.length).toBe(8);
  });

  it('failed: parked at once', async () => {
    transport.answer = () => failed;
    queue.start();
    const item = await arrive();
    await pass(1_000);
    expect(state(item)).toBe('parked');
    expect(named('delivery.failed')[0]?.status).toEqual(failed);
  });

  it('a throw is a bug: reported, the item delayed and in doubt', async () => {
    transport.answer = () => Promise.reject(new TypeError('x is not a function'));
    queue.start();
    const item = await arrive();
    await pass(1_000);
    expect(state(item)).toBe('queued');
    expect(spool.items.get(item.id)?.doubtful).toBe(true);
    expect(named('bug')[0]).toMatchObject({ where: 'transport fake', id: item.id });
  });
});

describe('an unclear outcome', () => {
  it('waits verifyAfter, looks, and does not send again what was sent', async () => {
    transport.answer = () => unknown;
    transport.found = () => relayed;
    queue.start();
    const item = await arrive();
    await pass(89_000);
    expect(transport.looked).toEqual([]);
    await pass(2_000);
    expect(state(item)).toBe('relayed');
    expect(transport.sent.length).toBe(1);
    expect(named('delivery.verified')[0]).toMatchObject({ found: 'relayed' });
  });

  it('waits longer if the server asks for it', async () => {
    transport.answer = () => ({ ...unknown, retryAfter: 300_000 });
    transport.found = () => relayed;
    queue.start();
    const item = await arrive();
    await pass(299_000);
    expect(transport.looked).toEqual([]);
    await pass(2_000);
    expect(state(item)).toBe('relayed');
  });

  it('sends again once when it was not sent', async () => {
    transport.answer = (_, attempt) => (attempt === 1 ? unknown : relayed);
    queue.start();
    const item = await arrive();
    await pass(100_000);
    expect(state(item)).toBe('relayed');
    expect(transport.sent.length).toBe(2);
  });

  it('is unclear twice and found nowhere: parked, not sent a third time', async () => {
    transport.answer = () => unknown;
    queue.start();
    const item = await arrive();
    await pass(3_600_000);
    expect(state(item)).toBe('parked');
    expect(transport.sent.length).toBe(2);
  });

  it('cannot be looked up for now: stays in doubt and is not sent', async () => {
    transport.answer = () => unknown;
    transport.found = () => delayed('transport');
    queue.start();
    const item = await arrive();
    await pass(3_600_000);
    expect(state(item)).toBe('queued');
    expect(spool.items.get(item.id)?.doubtful).toBe(true);
    expect(transport.sent.length).toBe(1);
    transport.found = () => relayed;
    await pass(60_000);
    expect(state(item)).toBe('relayed');
  });

  it('can never be known: sent once more, then parked', async () => {
    transport.answer = () => unknown;
    transport.found = () => ({ outcome: 'unknowable', reason: 'no copy is kept' });
    queue.start();
    const item = await arrive();
    await pass(3_600_000);
    expect(state(item)).toBe('parked');
    expect(transport.sent.length).toBe(2);
    expect(named('item.parked')[0]?.why).toBe('no copy is kept');
  });

  it.each<{ what: string; second: DeliveryStatus; after: number }>([
    { what: 'refused for good', second: failed, after: 3_600_000 },
    { what: 'delayed until it is given up', second: delayed('message'), after: 2 * 86_400_000 },
  ])('can never be known, and the second try is $what: nobody is told that it failed', async ({ second, after }) => {
    const told: string[] = [];
    const bouncer: Bouncer = {
      bounce: async (item) => (told.push(item.id), { told: false, why: 'of the test' }),
      warn: async (item) => (told.push(item.id), { told: false, why: 'of the test' }),
      relayed: async (item) => (told.push(item.id), { told: false, why: 'of the test' }),
    };
    build({ bouncer, warnAfter: 0 });
    transport.answer = (_, attempt) => (attempt === 1 ? unknown : second);
    transport.found = () => ({ outcome: 'unknowable', reason: 'no copy is kept' });
    queue.start();
    const item = await arrive();
    await pass(after);
    expect(spool.items.get(item.id)).toMatchObject({ state: 'parked', doubtful: true });
    expect(told).toEqual([]);
  });
});

describe('throttling', () => {
  it('halves the parallel attempts of the mailbox, and gives them back one by one', async () => {
    transport.seconds = 1;
    let busy = 1;
    transport.answer = () => (busy-- > 0 ? delayed('mailbox', { throttled: true, retryAfter: 10_000 }) : relayed);
    queue.start();
    for (let n = 0; n < 100; n++) await arrive();
    await pass(2_000);
    transport.most = 0;
    await pass(10_000);
    expect(transport.most).toBe(2);
    await pass(60_000);
    expect(transport.most).toBe(4);
    expect([...spool.items.values()].every((item) => item.state === 'relayed')).toBe(true);
  });
});

describe('a store in trouble', () => {
  it('writes an outcome when the store works again, and sends nothing twice', async () => {
    transport.seconds = 1;
    queue.start();
    const item = await arrive();
    await pass(500);
    spool.trouble = new SpoolError('full', 'no space');
    await pass(60_000);
    expect(state(item)).toBe('sending');
    spool.trouble = undefined;
    await pass(16_000);
    expect(state(item)).toBe('relayed');
    expect(transport.sent.length).toBe(1);
    expect(named('bug')).toEqual([]);
  });

  it('gives the slot back where an outcome can never be noted: the next start looks for what that was', async () => {
    vi.spyOn(spool, 'finish').mockImplementation(async (id) => {
      if (id === first.id) throw new SpoolError('damaged', 'a page is lost');
    });
    queue.start();
    const first = await arrive();
    await pass(5_000);
    expect(queue.inFlight).toBe(0);
    expect(state(first)).toBe('sending');
    expect(named('delivery.relayed')).toEqual([]);
  });

  it('asks again about once a second while it cannot be read', async () => {
    spool.trouble = new SpoolError('io', 'disk is gone');
    const lanes = vi.spyOn(spool, 'lanes');
    queue.start();
    await pass(60_000);
    expect(lanes.mock.calls.length).toBeGreaterThan(30);
    expect(lanes.mock.calls.length).toBeLessThan(70);
    spool.trouble = undefined;
    const item = await arrive();
    await pass(2_000);
    expect(state(item)).toBe('relayed');
  });
});

describe('stop', () => {
  it('waits for what is in flight and starts nothing new', async () => {
    transport.seconds = 3;
    build({ pace: { concurrency: 2, perMinute: Infinity } });
    queue.start();
    for (let n = 0; n < 5; n++) await arrive();
    await pass(1_000);
    const ended = queue.stop(new AbortController().signal);
    await pass(10_000);
    expect(await ended).toBe(0);
    expect(transport.sent.length).toBe(2);
    expect((await spool.stats()).items).toMatchObject({ relayed: 2, queued: 3, sending: 0 });
  });

  it('cuts short what does not end in time, and leaves it in doubt', async () => {
    transport.seconds = 1_000;
    queue.start();
    const item = await arrive();
    await pass(1_000);
    const budget = new AbortController();
    const ended = queue.stop(budget.signal);
    await pass(5_000);
    budget.abort();
    await pass(1_000);
    expect(await ended).toBe(1);
    expect(spool.items.get(item.id)).toMatchObject({ state: 'queued', doubtful: true });
  });
});

describe('an outage', () => {
  it('costs a message none of its own tries: waits and caps count its own failures only', async () => {
    let down = true;
    transport.answer = () => (down ? delayed('transport') : delayed('message', { capped: true, cause: 'Odd' }));
    queue.start();
    const item = await arrive();
    await pass(1_800_000);
    expect(spool.items.get(item.id)?.attempts).toBeGreaterThan(8);
    down = false;
    transport.sent.length = 0;
    await pass(95_000);
    expect(state(item)).toBe('queued');
    // the first interval of the schedule, then the second
    expect(transport.sent.length).toBe(2);
    await pass(86_000_000);
    expect(state(item)).toBe('parked');
    expect(transport.sent.length).toBe(8);
  });

  it.each([
    ['an outage', delayed('transport'), [0, 1, 3, 8, 18, 38, 68, 98, 128]],
    ['a fault of our own configuration', misconfigured, [0, 60, 180, 480, 1080, 2880, 4680, 6480, 8280]],
    ['a wait that the server names', delayed('transport', { retryAfter: 7_000 }), [0, 7, 14, 21, 28, 35, 42, 49, 56]],
  ])('%s: one message at a time, at these seconds', async (_, trouble, seconds) => {
    transport.answer = () => trouble;
    for (let n = 0; n < 5; n++) await spool.inject(entry(`m${n}@contoso.com`));
    build({ concurrency: 1 });
    queue.start();
    await pass((seconds.at(-1) ?? 0) * 1_000 + 500);
    const [first] = transport.sent;
    expect(transport.sent.map(({ at }) => Math.round((at - (first?.at ?? 0)) / 1_000))).toEqual(seconds);
    expect(transport.most).toBe(1);
    expect(named('route.held').length).toBe(seconds.length);
  });

  it('lets nothing start that was being fetched when the hold began', async () => {
    build({ pace: { concurrency: 1, perMinute: Infinity } });
    transport.answer = () => delayed('transport');
    transport.seconds = 1;
    queue.start();
    await arrive('a@contoso.com');
    await pass(990);
    // b's claim takes longer than the attempt that finds the route down
    const claim = spool.claim.bind(spool);
    vi.spyOn(spool, 'claim').mockImplementation(async (lane, options) => {
      const items = await claim(lane, options);
      if (lane.mailbox === 'b@contoso.com') await new Promise((resolve) => setTimeout(resolve, 500));
      return items;
    });
    const second = await arrive('b@contoso.com');
    await pass(900);
    expect(transport.sent.map((sent) => sent.mailbox)).toEqual(['a@contoso.com']);
    expect(spool.items.get(second.id)).toMatchObject({ state: 'queued', attempts: 0 });
    await pass(10_000);
    expect(named('route.held').map((event) => event.until - Date.now() > 5_001)).not.toContain(true);
  });

  it('is still one when a probe gets no answer at all', async () => {
    build({ pace: { concurrency: 1, perMinute: Infinity } });
    let silent = false;
    transport.answer = () => (silent ? unknown : delayed('transport'));
    for (let n = 0; n < 30; n++) await spool.inject(entry());
    queue.start();
    await pass(10_000);
    silent = true;
    transport.sent.length = 0;
    await pass(60_000);
    expect(transport.sent.length).toBeGreaterThan(0);
    expect(transport.sent.length).toBeLessThan(7);
  });

  it('of a mailbox leaves the others alone, and one refusal of several is one step down', async () => {
    transport.seconds = 1;
    let busy = 4;
    transport.answer = () => (busy-- > 0 ? delayed('mailbox', { throttled: true, retryAfter: 10_000 }) : relayed);
    queue.start();
    for (let n = 0; n < 8; n++) await arrive();
    await pass(2_000);
    expect(named('lane.held').length).toBe(1);
    transport.most = 0;
    await pass(10_000);
    expect(transport.most).toBe(2);
  });
});

describe('catching up', () => {
  /** The later a message comes, the sooner it is through: whatever goes in parallel arrives in the wrong order. */
  class Hasty extends FakeTransport {
    readonly arrived: string[] = [];
    override async deliver(outgoing: Outgoing, signal: AbortSignal): Promise<DeliveryStatus> {
      this.seconds = Math.max(0.01, this.seconds * 0.9);
      const status = await super.deliver(outgoing, signal);
      if (status.outcome === 'relayed') this.arrived.push(outgoing.item.id);
      return status;
    }
  }
  let hasty: Hasty;
  beforeEach(() => {
    transport = hasty = new Hasty();
    hasty.seconds = 10;
  });
  const ids = (items: readonly QueueItem[]): string[] => items.map(({ id }) => id);

  it('after a start goes one at a time, and in parallel again once nothing is left', async () => {
    build();
    const waiting: QueueItem[] = [];
    for (let n = 0; n < 10; n++) waiting.push(await spool.inject(entry()));
    queue.start();
    await pass(200_000);
    expect(hasty.arrived).toEqual(ids(waiting));
    expect(hasty.most).toBe(1);
    for (let n = 0; n < 10; n++) await arrive();
    await pass(10_000);
    expect(hasty.most).toBe(4);
  });

  it.each(['transport', 'mailbox'] as const)('after trouble that reaches the %s arrives in order', async (reach) => {
    build();
    let isDown = true;
    transport.answer = (item) => (isDown && item.mailbox === 'a@contoso.com' ? delayed(reach) : relayed);
    queue.start();
    const items: QueueItem[] = [];
    for (let n = 0; n < 12; n++) items.push(await arrive());
    await pass(60_000);
    isDown = false;
    items.push(await arrive());
    await pass(300_000);
    expect(hasty.arrived).toEqual(ids(items));
  });

  it('in parallel is a choice', async () => {
    build({ catchUp: 'parallel' });
    for (let n = 0; n < 10; n++) await spool.inject(entry());
    queue.start();
    await pass(100_000);
    expect(hasty.most).toBe(4);
  });
});

describe('a trouble of the route that one mailbox alone has', () => {
  let closed: Set<string>;
  let trouble: Delayed;

  beforeEach(() => {
    closed = new Set(['a@contoso.com']);
    trouble = misconfigured;
    transport.answer = (item) => (closed.has(item.mailbox) ? trouble : relayed);
    queue.start();
  });

  it.each([
    ['EWS is closed to it', misconfigured, 60_000, 300_000],
    ['its server is down', delayed('transport', { cause: 'HTTP 503' }), 1_000, 30_000],
  ])('%s: the route is held until another mailbox gets through, then that mailbox alone', async (_, why, hold, own) => {
    trouble = why;
    const stuck = await arrive('a@contoso.com');
    await pass(100);
    const other = await arrive('b@contoso.com');
    await pass(hold + 1_000);
    expect(state(other)).toBe('relayed');
    // Whatever goes on with the one, the other does not notice any more.
    const { length } = named('route.held');
    for (let n = 0; n < 30; n++) {
      const next = await arrive('b@contoso.com');
      await pass(100);
      expect(state(next)).toBe('relayed');
      await pass(20_000);
    }
    expect(named('route.held').length).toBe(length);
    expect(state(stuck)).toBe('queued');
    const held = named('lane.held');
    expect(held.length).toBeGreaterThan(0);
    expect(held.every(({ mailbox }) => mailbox === 'a@contoso.com')).toBe(true);
    const tries = transport.sent.filter(({ mailbox }) => mailbox === 'a@contoso.com');
    expect(tries.length).toBeLessThan(600_000 / own + 5);
    closed.clear();
    await pass(own);
    expect(state(stuck)).toBe('relayed');
    // What it got through takes the mark away: the next trouble may be everybody's again.
    closed.add('a@contoso.com');
    await arrive('a@contoso.com');
    await pass(100);
    expect(named('route.held').length).toBe(length + 1);
  });

  it('is not what a login is refused for: whoever meets that twice is not held by itself', async () => {
    const answers = [false, false, true, false];
    transport.answer = () =>
      (answers.shift() ?? true) ? relayed : { ...misconfigured, cause: 'AADSTS7000222', ofAccount: true };
    const [one, other] = [await arrive('a@contoso.com'), await arrive('b@contoso.com')];
    await pass(100);
    queue.mended();
    await pass(100);
    // One got through, and the other met the next refusal.
    expect([state(one), state(other)].toSorted()).toEqual(['queued', 'relayed']);
    queue.mended();
    await pass(100);
    expect([state(one), state(other)]).toEqual(['relayed', 'relayed']);
    expect(named('lane.held')).toEqual([]);
  });

  it('and that a person says is mended is tried at once', async () => {
    const stuck = await arrive('a@contoso.com');
    await pass(100);
    await arrive('b@contoso.com');
    await pass(400_000);
    expect([state(stuck), named('lane.held').length > 0]).toEqual(['queued', true]);
    closed.clear();
    queue.mended();
    await pass(100);
    expect(state(stuck)).toBe('relayed');
  });

  it('a mailbox that was not tried yet is tried within a minute, however long the others have to wait', async () => {
    await arrive('a@contoso.com');
    await pass(2 * 3_600_000);
    const other = await arrive('b@contoso.com');
    await pass(61_000);
    expect(state(other)).toBe('relayed');
  });

  it('a wait that the server named holds those too', async () => {
    trouble = delayed('transport', { retryAfter: 600_000 });
    await arrive('a@contoso.com');
    await pass(1_000);
    const other = await arrive('b@contoso.com');
    await pass(598_000);
    expect(state(other)).toBe('queued');
    await pass(2_000);
    expect(state(other)).toBe('relayed');
  });

  it('closed to all of them: all wait, and all go out by themselves when it opens', async () => {
    const mailboxes = ['a', 'b', 'c', 'd'].map((name) => `${name}@contoso.com`);
    closed = new Set(mailboxes);
    const items = [];
    for (const mailbox of mailboxes) for (let n = 0; n < 5; n++) items.push(await arrive(mailbox));
    await pass(4 * 3_600_000);
    expect(items.map(state)).toEqual(items.map(() => 'queued'));
    transport.sent.length = 0;
    await pass(4 * 3_600_000);
    expect(transport.sent.length).toBe(8);
    closed.clear();
    await pass(1_800_000);
    expect(items.map(state)).toEqual(items.map(() => 'relayed'));
    expect(named('route.released').length).toBe(1);
  });
});

describe('the clock', () => {
  it('set back a day stops neither a held route nor a held mailbox nor a store that had trouble', async () => {
    let trouble: DeliveryStatus | undefined = delayed('transport');
    transport.answer = () => trouble ?? relayed;
    queue.start();
    const first = await arrive();
    await pass(10_000);
    vi.setSystemTime(Date.now() - 86_400_000);
    trouble = undefined;
    spool.due(first.id, Date.now());
    await pass(61_000);
    expect(state(first)).toBe('relayed');
    expect(named('route.released').length).toBe(1);

    trouble = delayed('mailbox', { retryAfter: 20_000 });
    const second = await arrive();
    await pass(1_000);
    vi.setSystemTime(Date.now() - 86_400_000);
    spool.due(second.id, Date.now());
    trouble = undefined;
    await pass(51_000);
    expect(state(second)).toBe('relayed');

    spool.trouble = new SpoolError('io', 'disk is gone');
    await pass(31_000);
    vi.setSystemTime(Date.now() - 86_400_000);
    spool.trouble = undefined;
    const third = await arrive();
    await pass(31_000);
    expect(state(third)).toBe('relayed');
  });
});

describe('the clock, set forward', () => {
  it('does not shorten the wait before an unclear outcome is looked into', async () => {
    let isThere = false;
    transport.answer = () => unknown;
    transport.found = () => (isThere ? relayed : { outcome: 'absent' });
    queue.start();
    const item = await arrive();
    await pass(5_000);
    // For a moment, as a time server that is out of its mind does it.
    vi.setSystemTime(Date.now() + 3_600_000);
    await pass(35_000);
    vi.setSystemTime(Date.now() - 3_600_000);
    // What an engine does then.
    const { due } = spool.items.get(item.id) ?? {};
    if (due !== undefined) spool.due(item.id, due - 3_600_000);
    await pass(40_000);
    expect(transport.looked).toEqual([]);
    isThere = true; // Exchange was still at work
    await pass(60_000);
    expect(state(item)).toBe('relayed');
    expect([transport.looked.length, transport.sent.length]).toEqual([1, 1]);
  });

  it('lets the gateway stop while such a wait lasts', async () => {
    transport.answer = () => unknown;
    queue.start();
    const item = await arrive();
    await pass(5_000);
    vi.setSystemTime(Date.now() + 3_600_000);
    await pass(35_000);
    const stopped = queue.stop(AbortSignal.abort());
    await pass(10);
    await stopped;
    expect(state(item)).toBe('queued');
    expect(spool.items.get(item.id)).toMatchObject({ doubtful: true, attempts: 1 });
    expect(transport.looked).toEqual([]);
  });
});

describe('pace', () => {
  it('is remembered for a mailbox that was idle for a moment', async () => {
    build({ pace: { concurrency: 4, perMinute: 30 } });
    queue.start();
    for (let n = 0; n < 29; n++) await arrive();
    await pass(1_000);
    expect(transport.sent.length).toBe(29);
    await pass(35_000);
    for (let n = 0; n < 29; n++) await arrive();
    await pass(1_000);
    expect(transport.sent.length).toBe(30);
  });
});

describe('what arrives while the store is being asked', () => {
  it('starts at once although older mail of its mailbox waits', async () => {
    transport.answer = (_, attempt) => (attempt === 1 && transport.sent.length === 1 ? delayed('message') : relayed);
    queue.start();
    await arrive();
    await pass(1_000);
    await queue.stop(AbortSignal.abort());
    const lanes = spool.lanes.bind(spool);
    vi.spyOn(spool, 'lanes').mockImplementation(async () => {
      const answer = await lanes();
      await new Promise((resolve) => setTimeout(resolve, 100));
      return answer;
    });
    build();
    queue.start();
    await pass(50);
    const item = await arrive();
    await pass(1_000);
    expect(state(item)).toBe('relayed');
  });
});

describe('what should not happen', () => {
  it('trouble with the store while a doubt is looked into is no bug, and the doubt stays', async () => {
    transport.answer = (_, attempt) => (attempt === 1 ? unknown : relayed);
    const history = vi.spyOn(spool, 'history').mockRejectedValue(new SpoolError('io', 'disk is gone'));
    queue.start();
    const item = await arrive();
    await pass(100_000);
    expect(spool.items.get(item.id)).toMatchObject({ state: 'queued', doubtful: true });
    expect(transport.sent.length).toBe(1);
    expect(named('bug')).toEqual([]);
    history.mockRestore();
    await pass(600_000);
    expect(state(item)).toBe('relayed');
  });

  it('a transport that fails again and again after sending, where nothing can be known: two attempts, not eight', async () => {
    transport.answer = () => Promise.reject(new TypeError('x is not a function'));
    transport.found = () => ({ outcome: 'unknowable', reason: 'no copy is kept' });
    queue.start();
    const item = await arrive();
    await pass(86_000_000);
    expect(transport.sent.length).toBe(2);
    expect(state(item)).toBe('parked');
    expect(spool.items.get(item.id)?.doubtful).toBe(true);
  });

  it('a new doubt is looked into before the item is given up, so that it is not parked without it', async () => {
    build({ schedule: { intervals: [60_000], giveUpAfter: 1_000 } });
    transport.answer = () => Promise.reject(new TypeError('x is not a function'));
    transport.found = () => relayed;
    queue.start();
    const item = await arrive();
    await pass(10_000);
    expect(spool.items.get(item.id)).toMatchObject({ state: 'queued', doubtful: true });
    await pass(120_000);
    expect(state(item)).toBe('relayed');
  });

  it('an outcome that cannot be written for another reason than the store: told, and no slot is lost', async () => {
    build({ pace: { concurrency: 1, perMinute: Infinity } });
    const finish = vi.spyOn(spool, 'finish').mockRejectedValueOnce(new TypeError('cannot be cloned'));
    queue.start();
    const first = await arrive();
    const second = await arrive();
    await pass(60_000);
    expect(finish).toHaveBeenCalled();
    expect(named('bug')).toMatchObject([{ where: 'queue', id: first.id }]);
    expect(spool.items.get(first.id)).toMatchObject({ state: 'queued', doubtful: true });
    expect(state(second)).toBe('relayed');
  });

  it('an answer that is none: told, and the item does not stay as being sent', async () => {
    transport.answer = () => ({ outcome: 'perhaps' }) as unknown as DeliveryStatus;
    queue.start();
    const item = await arrive();
    await pass(1_000);
    expect(named('bug').length).toBe(1);
    expect(spool.items.get(item.id)).toMatchObject({ state: 'queued', doubtful: true });
  });
});

describe('a stop against its budget', () => {
  it('does not wait for an attempt that hears no abort', async () => {
    transport.answer = () => new Promise(() => undefined);
    queue.start();
    const item = await arrive();
    await pass(1_000);
    const budget = new AbortController();
    let cut: number | undefined;
    void queue.stop(budget.signal).then((number) => (cut = number));
    await pass(5_000);
    expect(cut).toBeUndefined();
    budget.abort();
    await pass(1_500);
    expect(cut).toBe(1);
    expect(state(item)).toBe('sending');
  });

  it('does not wait for a store that does not answer', async () => {
    queue.start();
    vi.spyOn(spool, 'claim').mockImplementation(() => new Promise(() => undefined));
    await arrive();
    await pass(1_000);
    let ended = false;
    void queue.stop(AbortSignal.abort()).then(() => (ended = true));
    await pass(1_500);
    expect(ended).toBe(true);
  });

  it('gives back the place of what was cut short before anything was sent', async () => {
    transport.deliver = async ({ item }, signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      return delayed('message', { cause: `ABORTED ${item.id}` });
    };
    queue.start();
    const item = await arrive();
    await pass(1_000);
    const ended = queue.stop(AbortSignal.abort());
    await pass(1_000);
    await ended;
    expect(spool.items.get(item.id)).toMatchObject({ state: 'queued', doubtful: false, due: item.due });
  });
});

describe('recipients for whom an attempt ended otherwise', () => {
  const people = ['a@x.test', 'b@x.test', 'c@x.test'];
  const inject = async (): Promise<QueueItem> => {
    const recipients = people.map((address) => ({ address }));
    const item = await spool.inject({ ...entry(), envelope: { reversePath: 'x@contoso.com', recipients } });
    queue.arrived(item);
    return item;
  };
  const named = ({ envelope }: QueueItem): string => envelope.recipients.map(({ address }) => address).join();

  it('are tried alone: nobody who has the message is sent it again', async () => {
    const seen: string[] = [];
    transport.answer = (item) => {
      seen.push(named(item));
      if (seen.length > 1) return relayed;
      const later = { recipients: ['b@x.test'], status: delayed('message') };
      return { ...relayed, apart: [later, { recipients: ['c@x.test'], status: failed }] };
    };
    queue.start();
    const item = await inject();
    await vi.advanceTimersByTimeAsync(1_000);
    const states = [...spool.items.values()].map((one) => [named(one), one.state]);
    expect(states).toEqual([
      ['a@x.test', 'relayed'],
      ['b@x.test', 'queued'],
      ['c@x.test', 'parked'],
    ]);
    expect(spool.items.get(item.id)?.lastStatus).toEqual(relayed);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(seen).toEqual([people.join(), 'b@x.test']);
    expect(events.filter(({ event }) => event === 'delivery.relayed')).toHaveLength(2);
    expect(events.filter(({ event }) => event === 'item.split')).toHaveLength(2);
  });

  it('do not share the doubt of the others', async () => {
    transport.answer = () => ({ ...unknown, apart: [{ recipients: ['c@x.test'], status: failed }] });
    queue.start();
    await inject();
    await vi.advanceTimersByTimeAsync(1_000);
    const states = [...spool.items.values()].map((one) => [named(one), one.state, one.doubtful]);
    expect(states).toEqual([
      ['a@x.test,b@x.test', 'queued', true],
      ['c@x.test', 'parked', false],
    ]);
  });

  it('keep an earlier doubt, which was about them too: they may have the message', async () => {
    transport.found = () => ({ outcome: 'unknowable', reason: 'no way to look' });
    transport.answer = (_, attempt) =>
      attempt === 1 ? unknown : { ...relayed, apart: [{ recipients: ['c@x.test'], status: failed }] };
    queue.start();
    const item = await inject();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(state(item)).toBe('relayed');
    expect(named(spool.items.get(item.id) ?? item)).toBe('a@x.test,b@x.test');
    expect(events.find(({ event }) => event === 'item.parked')).toMatchObject({
      why: expect.stringContaining('may have delivered it'),
    });
  });

  it('wait for a store in trouble as any outcome does', async () => {
    transport.answer = () => {
      spool.trouble ??= new SpoolError('full', 'no space');
      return { ...relayed, apart: [{ recipients: ['c@x.test'], status: failed }] };
    };
    queue.start();
    const item = await inject();
    await vi.advanceTimersByTimeAsync(300);
    expect(state(item)).toBe('sending');
    spool.trouble = undefined;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(state(item)).toBe('relayed');
    expect(spool.items.size).toBe(2);
  });
});

describe('several routes', () => {
  const MAILBOX = 'relay@contoso.com';
  let other: FakeTransport;

  beforeEach(() => {
    other = new FakeTransport();
  });

  function buildBoth(options: Partial<QueueOptions> = {}): void {
    build({ ...options, transports: new Map(Object.entries({ exchange: transport, subsidiary: other })) });
    queue.start();
  }

  async function arriveAt(route: string, mailbox = MAILBOX): Promise<QueueItem> {
    const item = await spool.inject({ ...entry(mailbox), route });
    queue.arrived(item);
    return item;
  }

  it('a mailbox of the same name is another one on each: holds, pace and turns are its own', async () => {
    buildBoth({ pace: { concurrency: 1, perMinute: 2 } });
    transport.answer = () => delayed('mailbox', { retryAfter: 50_000 });
    for (let n = 0; n < 3; n++) for (const route of ['exchange', 'subsidiary']) await arriveAt(route);
    await pass(1_000);
    expect([transport.sent.length, other.sent.length]).toEqual([1, 2]);
    expect(named('lane.held').map(({ route, mailbox }) => [route, mailbox])).toEqual([['exchange', MAILBOX]]);
    transport.answer = () => relayed;
    await pass(60_000);
    expect([transport.sent.length, other.sent.length]).toEqual([3, 3]);
  });

  it('one that is down holds nothing of the other', async () => {
    buildBoth();
    transport.answer = () => delayed('transport');
    const waiting = await arriveAt('exchange');
    await pass(1_000);
    const items = [await arriveAt('subsidiary'), await arriveAt('subsidiary', 'second@contoso.com')];
    await pass(1_000);
    expect(items.map(state)).toEqual(['relayed', 'relayed']);
    expect(state(waiting)).toBe('queued');
    expect(named('route.held').map(({ route }) => route)).toContain('exchange');
    expect(named('route.held').map(({ route }) => route)).not.toContain('subsidiary');
  });

  it.each([
    [4, 3],
    [1, 1],
  ])('one that does not answer takes of %i slots %i, and leaves the rest to the other', async (concurrency, most) => {
    buildBoth({ concurrency });
    transport.seconds = 300;
    for (let n = 0; n < 10; n++) await arriveAt('exchange', `m${n}@contoso.com`);
    await pass(1_000);
    expect(transport.inFlight).toBe(most);
    const timers = vi.spyOn(globalThis, 'setTimeout');
    const item = await arriveAt('subsidiary');
    await pass(10_000);
    expect(state(item)).toBe(concurrency > most ? 'relayed' : 'queued');
    expect(timers.mock.calls.length).toBeLessThan(20);
    timers.mockRestore();
    await pass(4_000_000);
    expect([transport.sent.length, other.sent.length]).toEqual([10, 1]);
  });

  it('each lane goes at the pace that is asked for it', async () => {
    const asked: string[] = [];
    buildBoth({
      pace: ({ route, mailbox }) => {
        asked.push(`${route} ${mailbox}`);
        return { concurrency: route === 'exchange' ? 1 : 3, perMinute: Infinity };
      },
    });
    for (let n = 0; n < 6; n++) for (const route of ['exchange', 'subsidiary']) await arriveAt(route);
    await pass(1_000);
    expect([transport.most, other.most]).toEqual([1, 3]);
    expect(new Set(asked)).toEqual(new Set([`exchange ${MAILBOX}`, `subsidiary ${MAILBOX}`]));
  });

  it('a passive one is left alone, before the start and after it, and nothing is missing', async () => {
    const early = await spool.inject({ ...entry(), route: 'pop' });
    buildBoth({ passive: new Set(['pop']), concurrency: 3 });
    const late = await arriveAt('pop');
    await pass(200_000);
    const { claims } = spool;
    const timers = vi.spyOn(globalThis, 'setTimeout');
    await pass(86_400_000 * 3);
    // It wakes as rarely as with nothing to do.
    expect(timers.mock.calls.length).toBeLessThan(10_000);
    timers.mockRestore();
    expect([early, late].map(state)).toEqual(['queued', 'queued']);
    expect([claims, events]).toEqual([0, []]);
    // It takes no slot from the others.
    transport.seconds = 10;
    for (let n = 0; n < 4; n++) await arriveAt('exchange', `m${n}@contoso.com`);
    await pass(1_000);
    expect(transport.inFlight).toBe(2);
  });

  it('a message that is moved goes out by the other', async () => {
    buildBoth();
    transport.answer = () => delayed('transport');
    const item = await arriveAt('exchange');
    await pass(1_000);
    const moved = spool.items.get(item.id);
    if (moved === undefined) throw new Error('lost');
    moved.route = 'subsidiary';
    queue.arrived(moved);
    await pass(1_000);
    expect([state(item), other.sent.length]).toEqual(['relayed', 1]);
  });

  it('one that the configuration has no more: told once, and over when its mail is gone', async () => {
    await spool.inject({ ...entry(), route: 'former' });
    const item = await spool.inject({ ...entry(), route: 'former' });
    buildBoth();
    await pass(200_000);
    expect(named('route.held')).toMatchObject([{ route: 'former', cause: 'NoSuchRoute', misconfigured: true }]);
    expect(named('route.held')[0]?.reason).toContain('queue list --route former');
    expect([state(item), named('bug')]).toEqual(['queued', []]);
    for (const one of spool.items.values()) one.route = 'subsidiary';
    await pass(60_000);
    expect(named('route.released')).toMatchObject([{ route: 'former' }]);
    expect(other.sent.length).toBe(2);
  });
});

describe('other settings', () => {
  const settings = () => ({
    transports: new Map([['exchange', transport]]),
    schedule: { intervals: [1_000], giveUpAfter: 86_400_000 },
    pace: { concurrency: 4, perMinute: Infinity },
    concurrency: 16,
    verifyAfter: 90_000,
  });

  it('are gone by from the next failure on', async () => {
    transport.answer = (_, attempt) => (attempt < 3 ? delayed('message') : relayed);
    queue.start();
    const item = await arrive();
    await vi.advanceTimersByTimeAsync(1_000);
    queue.use(settings());
    await vi.advanceTimersByTimeAsync(59_500);
    expect(transport.sent).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(state(item)).toBe('relayed');
  });

  it('without a route: its hold is over, what waits is told; with it again, it goes', async () => {
    transport.answer = () => misconfigured;
    queue.start();
    const item = await arrive();
    await vi.advanceTimersByTimeAsync(1_000);
    queue.use({ ...settings(), transports: new Map() });
    await vi.advanceTimersByTimeAsync(40_000);
    expect(named('route.released')).toHaveLength(1);
    expect(named('route.held').map(({ cause }) => cause)).toEqual(['HTTP 403', 'NoSuchRoute']);
    transport.answer = () => relayed;
    queue.use(settings());
    await vi.advanceTimersByTimeAsync(1_000);
    expect(named('route.released')).toHaveLength(2);
    expect(state(item)).toBe('relayed');
  });

  it('that take a route out while its items are claimed give them back', async () => {
    queue.start();
    const item = await arrive();
    queue.use({ ...settings(), transports: new Map() });
    await vi.advanceTimersByTimeAsync(40_000);
    expect([state(item), transport.sent.length]).toEqual(['queued', 0]);
    expect(named('bug')).toEqual([]);
  });

  it('with a route that somebody else fetches now start nothing of it', async () => {
    transport.answer = () => delayed('message');
    queue.start();
    const item = await arrive();
    await vi.advanceTimersByTimeAsync(1_000);
    queue.use({ ...settings(), transports: new Map(), passive: new Set(['exchange']) });
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect([state(item), transport.sent.length, named('route.held')]).toEqual(['queued', 1, []]);
  });
});
