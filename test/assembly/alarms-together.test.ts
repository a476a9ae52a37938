/** Alarms of several gateways on one spool, under simulated time: who is told what, how often, and by whom. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { joinAlarms } from '../../src/assembly/alerting.ts';
import type { Duty } from '../../src/assembly/duty.ts';
import type { Event } from '../../src/mail/event.ts';
import type { SpoolStats } from '../../src/mail/spool.ts';
import { createAlarms } from '../../src/watch/alarm.ts';
import type { Alarms } from '../../src/watch/alarm.ts';
import { bookIn } from '../../src/watch/alarm-book.ts';
import { FakeStore } from '../gateway/fake-cluster.ts';
import type { FakeGateway } from '../gateway/fake-cluster.ts';

beforeEach(() => vi.useFakeTimers({ now: Date.UTC(2026, 10, 26, 3, 0, 0) }));
afterEach(() => vi.useRealTimers());

const SECOND = 1_000;
const MINUTE = 60_000;
const LEASE = 30 * SECOND;
const REPEAT = 240 * MINUTE;
const pass = async (milliseconds: number): Promise<void> => void (await vi.advanceTimersByTimeAsync(milliseconds));

const QUIET: SpoolStats = { items: { queued: 0, sending: 0, parked: 0, relayed: 0, bounced: 0, dropped: 0 }, bytes: 0 };
const parked = (count: number): SpoolStats => ({ ...QUIET, items: { ...QUIET.items, parked: count } });

const refusedToken: Event = {
  event: 'token.failed',
  account: 'exchange',
  cause: 'AADSTS7000222',
  advice: 'The secret has expired',
  misconfigured: true,
  seconds: 0.1,
};
const newToken: Event = { event: 'token.acquired', account: 'exchange', expiresAt: 0, seconds: 0, roles: [] };
const refusedMailbox: Event = {
  event: 'pickup.failed',
  pickup: 'fax',
  mailbox: 'fax@contoso.com',
  cause: 'ErrorAccessDenied',
  reason: 'denied',
  misconfigured: true,
  until: 0,
};
const held = (cause: string, elsewhere = false): Event => ({
  event: 'route.held',
  route: 'exchange',
  cause,
  reason: 'no',
  misconfigured: true,
  until: 0,
  ...(elsewhere && { elsewhere }),
});

/** What is known of the spool to all of its gateways, and what people were told. */
class Site {
  readonly store = new FakeStore(LEASE);
  stats = QUIET;
  /** `gw1 raised mailParked`. */
  readonly told: string[] = [];
  readonly texts: string[] = [];
  /** The channels take nothing until it resolves. */
  channel: Promise<void> = Promise.resolve();

  gateway(host: string): Gateway {
    return new Gateway(this, host);
  }

  /** Nothing is kept of any alarm. */
  get isForgotten(): boolean {
    const { seen, told } = bookIn(this.store.stateOf(' alarms'));
    return seen.size === 0 && told.length === 0;
  }

  /** @returns what was told since the last call */
  news(): readonly string[] {
    return this.told.splice(0);
  }
}

class Gateway {
  readonly cluster: FakeGateway;
  readonly alarms: Alarms;
  readonly duty: Duty;
  readonly events: Event[] = [];
  #isDead = false;

  constructor(site: Site, host: string) {
    this.cluster = site.store.join(host);
    this.alarms = createAlarms({
      gateway: 'gateway.contoso.com',
      machine: host,
      channels: [
        {
          name: 'chat',
          send: async ({ notice, alarm, lines }) => {
            await site.channel;
            if (!this.#isDead) {
              site.told.push(`${host} ${notice} ${alarm}`);
              site.texts.push(lines.join('\n'));
            }
            return { ok: true };
          },
        },
      ],
      repeat: REPEAT,
      oldestAfter: 60 * MINUTE,
      expiresWithin: 0,
      stats: async () => site.stats,
      room: () => ({ ok: true }),
      report: (event) => {
        this.events.push(event);
        this.alarms.report(event);
      },
    });
    this.duty = joinAlarms(this.alarms, this.cluster, host, (event) => this.events.push(event));
    this.alarms.start();
  }

  sees(event: Event): void {
    this.alarms.report(event);
  }

  /** Without a word. */
  dies(): void {
    this.#isDead = true;
    this.cluster.cut();
    void this.alarms.stop();
    void this.duty.end(AbortSignal.abort());
  }

  async stops(): Promise<void> {
    await this.alarms.leave();
    await this.duty.end(new AbortController().signal);
    this.dies();
  }

  /** Alarms that its metrics count. */
  get active(): readonly string[] {
    const standing = new Set<string>();
    for (const event of this.events) {
      if (event.event === 'alarm.raised') standing.add(event.alarm);
      if (event.event === 'alarm.recovered' || event.event === 'alarm.left') standing.delete(event.alarm);
    }
    return [...standing];
  }
}

describe('what all gateways have in common', () => {
  it('is told by one of them, and called over by it', async () => {
    const site = new Site();
    const gateways = ['gw1', 'gw2', 'gw3'].map((host) => site.gateway(host));
    await pass(MINUTE);
    expect(site.news()).toEqual([]);
    expect(site.isForgotten).toBe(true);
    site.stats = parked(3);
    await pass(MINUTE);
    expect(site.news()).toEqual(['gw1 raised mailParked']);
    expect(site.texts.at(-1)).not.toContain('Seen by');
    expect(gateways.map(({ active }) => active)).toEqual([['mailParked'], [], []]);
    await pass(REPEAT);
    expect(site.news()).toEqual(['gw1 repeated mailParked']);
    site.stats = QUIET;
    await pass(2 * MINUTE);
    expect(site.news()).toEqual(['gw1 recovered mailParked']);
    await pass(REPEAT);
    expect(site.news()).toEqual([]);
    expect(site.isForgotten).toBe(true);
  });

  it('is told at once, also what only another one sees', async () => {
    const site = new Site();
    const [, other] = [site.gateway('gw1'), site.gateway('gw2')];
    await pass(MINUTE);
    other?.sees(refusedMailbox);
    await pass(SECOND);
    expect(site.news()).toEqual(['gw1 raised pickupFailed:fax']);
    expect(site.texts.at(-1)).toContain('Seen by: gw2.');
    other?.sees({ event: 'pickup.recovered', pickup: 'fax', mailbox: '', seconds: 1 });
    await pass(2 * MINUTE);
    expect(site.news()).toEqual(['gw1 recovered pickupFailed:fax']);
  });

  it('is over when nobody sees it any more', async () => {
    const site = new Site();
    const [one, other] = [site.gateway('gw1'), site.gateway('gw2')];
    await pass(MINUTE);
    one.sees(refusedToken);
    other.sees(refusedToken);
    await pass(MINUTE);
    one.sees(newToken);
    await pass(10 * MINUTE);
    expect(site.news()).toEqual(['gw1 raised credentials:exchange']);
    one.sees(refusedToken);
    await pass(REPEAT);
    expect(site.news()).toEqual(['gw1 repeated credentials:exchange']);
    expect(site.texts.at(-1)).toContain('Seen by: gw1, gw2.');
    one.sees(newToken);
    other.sees(newToken);
    await pass(2 * MINUTE);
    expect(site.news()).toEqual(['gw1 recovered credentials:exchange']);
  });

  it('is not told beside refused credentials that another one sees', async () => {
    const site = new Site();
    const [one, other] = [site.gateway('gw1'), site.gateway('gw2')];
    await pass(MINUTE);
    other.sees(refusedToken);
    one.sees(held('AADSTS7000222', true));
    await pass(MINUTE);
    expect(site.news()).toEqual(['gw1 raised credentials:exchange']);
    one.sees(held('ErrorAccessDenied', true));
    await pass(MINUTE);
    expect(site.news()).toEqual(['gw1 raised misconfigured:exchange']);
  });

  it('is shown by the others as what another one tells of', async () => {
    const site = new Site();
    const [one, other] = [site.gateway('gw1'), site.gateway('gw2')];
    site.stats = parked(1);
    await pass(MINUTE);
    expect(one.alarms.elsewhere.size).toBe(0);
    expect([...other.alarms.elsewhere]).toMatchObject([['mailParked', { reason: 'mailParked', severity: 'warning' }]]);
  });
});

describe('what a gateway has for itself', () => {
  it('is told by each, which names its machine', async () => {
    const site = new Site();
    const gateways = ['gw1', 'gw2'].map((host) => site.gateway(host));
    await pass(MINUTE);
    for (const one of gateways) one.sees({ event: 'spool.trouble', trouble: 'io', detail: 'no database' });
    await pass(0);
    expect(site.news()).toEqual(['gw1 raised spoolTrouble', 'gw2 raised spoolTrouble']);
    expect(site.texts.at(-1)).toContain('Seen by: gw2.');
  });
});

describe('when the one that tells', () => {
  async function standing(site: Site): Promise<readonly [Gateway, Gateway]> {
    const gateways = [site.gateway('gw1'), site.gateway('gw2')] as const;
    site.stats = parked(1);
    await pass(MINUTE);
    expect(site.news()).toEqual(['gw1 raised mailParked']);
    return gateways;
  }

  it.each(['dies', 'stops'] as const)('%s, another takes over, tells nothing anew and calls it over', async (how) => {
    const site = new Site();
    const [one, other] = await standing(site);
    await one[how]();
    await pass(30 * MINUTE);
    expect(site.news()).toEqual([]);
    expect(other.active).toEqual(['mailParked']);
    await pass(REPEAT - 30 * MINUTE);
    expect(site.news()).toEqual(['gw2 repeated mailParked']);
    site.stats = QUIET;
    await pass(5 * MINUTE);
    expect(site.news()).toEqual(['gw2 recovered mailParked']);
  });

  it('dies before it could be told, another one tells', async () => {
    const site = new Site();
    const [one, other] = [site.gateway('gw1'), site.gateway('gw2')];
    await pass(MINUTE);
    site.channel = new Promise(() => undefined);
    site.stats = parked(1);
    await pass(MINUTE);
    expect(site.news()).toEqual([]);
    one.dies();
    site.channel = Promise.resolve();
    await pass(2 * MINUTE);
    expect(site.news()).toEqual(['gw2 raised mailParked']);
    expect(other.active).toEqual(['mailParked']);
  });

  it('dies, what it alone saw stands while others can take over its work, then is over', async () => {
    const site = new Site();
    const [one] = [site.gateway('gw1'), site.gateway('gw2')];
    await pass(MINUTE);
    one.sees(refusedMailbox);
    await pass(MINUTE);
    expect(site.news()).toEqual(['gw1 raised pickupFailed:fax']);
    one.dies();
    await pass(9 * MINUTE);
    expect(site.news()).toEqual([]);
    await pass(5 * MINUTE);
    expect(site.news()).toEqual(['gw2 recovered pickupFailed:fax']);
    await pass(REPEAT);
    expect(site.news()).toEqual([]);
    expect(site.isForgotten).toBe(true);
  });

  it('dies, and who takes over its work sees the same, that is one alarm', async () => {
    const site = new Site();
    const [one, other] = [site.gateway('gw1'), site.gateway('gw2')];
    await pass(MINUTE);
    one.sees(refusedMailbox);
    await pass(MINUTE);
    one.dies();
    await pass(MINUTE);
    other.sees(refusedMailbox);
    await pass(60 * MINUTE);
    expect(site.news()).toEqual(['gw1 raised pickupFailed:fax']);
  });

  it('was only cut off, leaves it to the other and does not tell on', async () => {
    const site = new Site();
    const [one, other] = await standing(site);
    one.cluster.cut();
    await pass(50 * SECOND);
    expect([one.duty.isOurs, other.duty.isOurs]).toEqual([false, true]);
    one.cluster.mend();
    await pass(MINUTE);
    expect(one.active).toEqual([]);
    expect(one.events.at(-1)).toMatchObject({ event: 'alarm.left', alarm: 'mailParked' });
    expect(other.active).toEqual(['mailParked']);
    other.sees(refusedToken);
    await pass(MINUTE);
    expect(site.news()).toEqual(['gw2 raised credentials:exchange']);
  });

  it('is alone in being cut off for long, it tells of what it knows', async () => {
    const site = new Site();
    const [one] = await standing(site);
    one.cluster.cut();
    await pass(5 * MINUTE);
    expect(site.news()).toEqual([]);
    one.sees(refusedToken);
    await pass(MINUTE);
    expect(site.news()).toEqual(['gw1 raised credentials:exchange']);
  });
});

describe('while nobody can reach the store', () => {
  it('each tells of what is new, and nothing of what was told', async () => {
    const site = new Site();
    const gateways = ['gw1', 'gw2', 'gw3'].map((host) => site.gateway(host));
    site.stats = parked(1);
    await pass(MINUTE);
    site.news();
    for (const one of gateways) one.cluster.cut();
    await pass(10 * MINUTE);
    expect(site.news()).toEqual([]);
    gateways[1]?.sees(refusedMailbox);
    await pass(MINUTE);
    expect(site.news()).toEqual(['gw2 raised pickupFailed:fax']);
    for (const one of gateways) one.cluster.mend();
    await pass(5 * MINUTE);
    // Once more by the one that tells from now on, at most.
    expect(site.news().length).toBeLessThanOrEqual(1);
    site.stats = QUIET;
    await pass(5 * MINUTE);
    expect(site.news().map((line) => line.slice(4))).toEqual(['recovered mailParked']);
  });

  it('an answer that never comes keeps nothing from being told', async () => {
    const site = new Site();
    const one = site.gateway('gw1');
    await pass(MINUTE);
    one.cluster.holdUp();
    await pass(3 * MINUTE);
    one.sees(refusedToken);
    await pass(MINUTE);
    expect(site.news()).toEqual(['gw1 raised credentials:exchange']);
  });
});

describe('a restart of all gateways', () => {
  it('remembers what was told', async () => {
    const site = new Site();
    const before = [site.gateway('gw1'), site.gateway('gw2')];
    site.stats = parked(1);
    await pass(MINUTE);
    before[1]?.sees(refusedMailbox);
    await pass(MINUTE);
    expect(site.news()).toEqual(['gw1 raised mailParked', 'gw1 raised pickupFailed:fax']);
    for (const one of before) one.dies();
    await pass(5 * MINUTE);
    site.gateway('gw3');
    await pass(20 * MINUTE);
    expect(site.news()).toEqual(['gw3 recovered pickupFailed:fax']);
  });
});

it('garbage in the store is no obstacle', async () => {
  const site = new Site();
  for (const state of [7, 'x', [1], { seen: { a: 1, b: { host: 'x' } }, told: [{}, 3] }, { seen: [], told: {} }]) {
    site.store.known.set(' alarms', { subject: { route: ' alarms' }, state });
    const one = site.gateway('gw1');
    site.stats = parked(1);
    await pass(2 * MINUTE);
    expect(site.news()).toEqual(['gw1 raised mailParked']);
    await one.stops();
    site.stats = QUIET;
    await pass(MINUTE);
  }
});
