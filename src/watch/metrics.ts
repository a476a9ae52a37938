/**
 * The metrics: counted from events, rendered for Prometheus. The only file that knows prom-client.
 *
 * Promises: names start with `smtp2exchange_` (but for the process metrics under their usual names) and are a contract,
 * see docs/metrics.md; labels hold names from the configuration and closed sets of words, never an address; counters of
 * what is known beforehand exist from the start, at 0. Nothing here throws for what an event holds. A spool that does
 * not answer costs a scrape two seconds, not its result.
 */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { AlarmReason } from '../mail/alarm.ts';
import { ALARM_REASONS } from '../mail/alarm.ts';
import type { Event, Refusal, Report } from '../mail/event.ts';
import { ITEM_STATES } from '../mail/item.ts';
import type { SpoolStats } from '../mail/spool.ts';
import type { DeliveryStatus } from '../mail/status.ts';
import { MISCONFIGURED, unreachable } from '../mail/status.ts';
import type { MetricDefinition } from './catalogue.ts';
import { CATALOGUE } from './catalogue.ts';
import { OTHER, causeLabels } from './cause.ts';
import { PickupSeries } from './metrics-pickup.ts';
import type { StatsReader } from './stats.ts';
import { statsReader } from './stats.ts';

export interface MetricsOptions {
  readonly version: string;
  /** Asked at each scrape; undefined: the spool is not open yet. */
  readonly stats: () => Promise<SpoolStats | undefined>;
  /** Routes, token accounts and pickups whose series exist from the start; others come with their first event. */
  readonly routes?: readonly string[];
  readonly accounts?: readonly string[];
  readonly pickups?: readonly string[];
  /** When the credential of an account ends, epoch milliseconds. */
  readonly credentials?: ReadonlyMap<string, number>;
  /** Milliseconds a scrape waits for `stats`, default 2000. */
  readonly statsTimeout?: number;
  readonly now?: () => number;
}

export interface Metrics {
  readonly report: Report;
  /** Never rejects for what the spool does. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>;
}

const REFUSALS = Object.keys({
  address: true,
  connections: true,
  auth: true,
  tls: true,
  size: true,
  recipients: true,
  header: true,
  loop: true,
  sender: true,
  recipient: true,
  banned: true,
  rate: true,
  errors: true,
  slow: true,
  policy: true,
  room: true,
  spool: true,
  syntax: true,
  timeout: true,
  aborted: true,
  stopping: true,
} satisfies Record<Refusal, true>);
const OUTCOMES = ['relayed', 'delayed', 'failed', 'unknown'] as const satisfies readonly DeliveryStatus['outcome'][];
const FOUND = ['relayed', 'absent', 'unknowable', 'delayed'] as const;
const HOLDS = [
  ['transport', 'misconfigured'],
  ['transport', 'trouble'],
  ['mailbox', 'throttled'],
  ['mailbox', 'trouble'],
] as const;

type Attempted = Extract<Event, { readonly status: DeliveryStatus; readonly seconds: number }>;

export function createMetrics(options: MetricsOptions): Metrics {
  return new GatewayMetrics(options);
}

class GatewayMetrics implements Metrics {
  readonly #now: () => number;
  readonly #registry = new Registry();
  readonly #stats: StatsReader;
  readonly #cause = causeLabels();
  readonly #listeners = new Set<string>();
  readonly #accounts = new Set<string>();
  readonly #meters: Meters;
  readonly #pickups: PickupSeries;
  /** Items under way by route: an end that is never told is mended by the item's next attempt. */
  readonly #running = new Map<string, Set<string>>();
  /** Until when a route or lane is held, epoch milliseconds. Its keys never leave this file. */
  readonly #heldUntil = new Map<string, number>();
  readonly #expiry = new Map<string, number>();
  readonly #certificates = new Map<string, number>();
  readonly #credentials: Map<string, number>;
  /** Identities of the alarms that stand. */
  readonly #alarms = new Map<string, AlarmReason>();

  constructor(options: MetricsOptions) {
    this.#now = options.now ?? Date.now;
    this.#credentials = new Map(options.credentials);
    this.#meters = metersIn(this.#registry);
    this.#pickups = new PickupSeries(this.#meters, this.#cause, this.#now);
    collectDefaultMetrics({ register: this.#registry });
    const m = this.#meters;
    this.#stats = statsReader(options.stats, options.statsTimeout ?? 2_000, () => m.statsErrors.inc());
    m.buildInfo.set({ version: options.version, node: process.versions.node }, 1);
    m.startTime.set(this.#now() / 1000);
    this.#configured();
    // Not 0 until it is known: that would be a full disk.
    m.freeBytes.remove();
    for (const state of ITEM_STATES) m.queueItems.set({ state }, 0);
    for (const act of ['retry', 'hold', 'move', 'drop', 'export', 'view']) m.operatorActs.inc({ act }, 0);
    this.#showAlarms();
    for (const route of options.routes ?? []) this.#introduceRoute(route);
    for (const account of options.accounts ?? []) this.#introduceAccount(account);
    for (const pickup of options.pickups ?? []) this.#pickups.introduce(pickup);
  }

  async render(): Promise<{ contentType: string; body: string }> {
    this.#showStats(await this.#stats.read());
    for (const [account, at] of this.#expiry) {
      this.#meters.tokenRemaining.set({ account }, Math.max(0, (at - this.#now()) / 1000));
    }
    for (const [listener, at] of this.#certificates) {
      this.#meters.certificateRemaining.set({ listener }, Math.max(0, (at - this.#now()) / 1000));
    }
    for (const [account, at] of this.#credentials) {
      this.#meters.credentialRemaining.set({ account }, Math.max(0, (at - this.#now()) / 1000));
    }
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  readonly report = (event: Event): void => {
    const m = this.#meters;
    switch (event.event) {
      case 'gateway.starting':
      case 'gateway.ready':
      case 'gateway.stopping':
      case 'gateway.stopped':
      case 'console.open':
      case 'control.open':
      case 'control.failed':
      case 'token.warning':
      case 'transport.warning':
      case 'credential.failed':
      case 'certificate.expiring':
        return;
      case 'config.reloaded':
        this.#configured();
        return this.#forget(event.removed);
      case 'config.refused':
        m.configOk.set(0);
        return;
      case 'credential.loaded':
        if (event.expiresAt !== undefined) this.#credentials.set(event.account, event.expiresAt);
        else if (this.#credentials.delete(event.account)) m.credentialRemaining.remove({ account: event.account });
        return;
      case 'listener.open':
        return this.#introduceListener(event.listener);
      case 'session.opened':
        m.sessions.inc({ listener: event.listener });
        m.sessionsOpen.inc({ listener: event.listener });
        return;
      case 'session.closed':
        m.sessionsOpen.dec({ listener: event.listener });
        return;
      case 'session.refused':
        m.refusals.inc({ listener: event.listener, refusal: event.refusal });
        return;
      case 'auth.succeeded':
        m.auth.inc({ listener: event.listener, result: 'succeeded' });
        return;
      case 'auth.failed':
        m.auth.inc({ listener: event.listener, result: 'failed' });
        return;
      case 'auth.banned':
        m.bans.inc({ listener: event.listener });
        return;
      case 'certificate.loaded':
        m.certificateExpiry.set({ listener: event.listener }, event.expiresAt / 1000);
        this.#certificates.set(event.listener, event.expiresAt);
        return;
      case 'certificate.failed':
        m.certificateFailures.inc({ listener: event.listener });
        return;
      case 'message.accepted':
        return this.#accepted(event);
      case 'delivery.started':
        this.#introduceRoute(event.route);
        this.#running.get(event.route)?.add(event.id);
        return this.#showRunning();
      case 'delivery.relayed':
        this.#attempted(event);
        m.delivered.inc({ route: event.route });
        m.deliveredBytes.inc({ route: event.route }, amount(event.size));
        m.age.observe({ route: event.route }, amount(event.age));
        if (event.receivedAt !== undefined) this.#pickups.handedOver(event.route, event.receivedAt);
        return;
      case 'delivery.delayed':
        if (event.status.code === MISCONFIGURED) {
          m.misconfiguredAttempts.inc({ route: event.route, reach: event.status.reach });
        }
        return this.#attempted(event);
      case 'delivery.failed':
        return this.#attempted(event);
      case 'delivery.unknown':
        m.unknownOutcomes.inc({ route: event.route });
        return this.#attempted(event);
      case 'delivery.verified':
        m.verifications.inc({ route: event.route, found: event.found });
        return;
      case 'item.parked':
        m.parked.inc({ route: event.route });
        this.#running.get(event.route)?.delete(event.id);
        return this.#showRunning();
      case 'item.dropped':
        return event.why === 'operator'
          ? m.operatorActs.inc({ act: 'drop' })
          : m.dropped.inc({ route: event.route, why: event.why });
      case 'item.retried':
        return m.operatorActs.inc({ act: 'retry' });
      case 'item.held':
        return m.operatorActs.inc({ act: 'hold' });
      case 'item.moved':
        return m.operatorActs.inc({ act: 'move' });
      case 'item.exported':
        return m.operatorActs.inc({ act: 'export' });
      case 'item.viewed':
        return m.operatorActs.inc({ act: 'view' });
      case 'lease.lost':
        m.leasesLost.inc({ route: event.route });
        this.#running.get(event.route)?.delete(event.id);
        return this.#showRunning();
      case 'item.split':
        m.splits.inc({ route: event.route });
        return;
      case 'delivery.bounced':
        m.bounced.inc({ route: event.route });
        this.#running.get(event.route)?.delete(event.id);
        return this.#showRunning();
      case 'delivery.warned':
        m.warned.inc({ route: event.route });
        return;
      case 'delivery.notified':
        m.notified.inc({ route: event.route });
        return;
      case 'route.held':
        m.routeHeld.set({ route: event.route }, 1);
        m.routeMisconfigured.set({ route: event.route }, event.misconfigured ? 1 : 0);
        // Who found it out counts the wait.
        if (event.elsewhere === true) return;
        return this.#held('transport', event.misconfigured ? 'misconfigured' : 'trouble', event.route, '', event.until);
      case 'transport.chosen':
        return this.#uses(event.route, event.transport);
      case 'transport.changed':
        return this.#uses(event.route, event.to, event.from);
      case 'transport.probed':
        return;
      case 'shadow.rehearsed':
        return m.shadowRehearsals.inc({ route: event.route, transport: event.transport, reached: event.reached });
      case 'route.released':
        m.routeHeld.set({ route: event.route }, 0);
        m.routeMisconfigured.set({ route: event.route }, 0);
        return;
      case 'lane.held':
        return this.#held(
          'mailbox',
          event.throttled ? 'throttled' : 'trouble',
          event.route,
          event.mailbox,
          event.until,
        );
      case 'pickup.opened':
      case 'pickup.polled':
      case 'pickup.resynced':
      case 'pickup.refused':
      case 'pickup.skipped':
      case 'pickup.quarantined':
      case 'pickup.repeated':
      case 'pickup.filed':
      case 'pickup.delayed':
      case 'pickup.failed':
      case 'pickup.recovered':
      case 'pickup.deaf':
      case 'pickup.waiting':
        return this.#pickups.report(event);
      case 'duty.taken':
      case 'duty.lost':
      case 'duty.elsewhere':
        m.dutyHeld.set({ duty: event.duty }, event.event === 'duty.taken' ? 1 : 0);
        if (event.pickup !== undefined) this.#pickups.duty(event.pickup, event.event === 'duty.taken');
        return;
      case 'duty.left':
        return m.dutyHeld.remove({ duty: event.duty });
      case 'token.acquired':
        this.#introduceAccount(event.account);
        m.tokenRequests.inc({ account: event.account, result: 'acquired' });
        m.tokenExpiry.set({ account: event.account }, event.expiresAt / 1000);
        this.#expiry.set(event.account, event.expiresAt);
        return;
      case 'token.failed':
        this.#introduceAccount(event.account);
        m.tokenRequests.inc({ account: event.account, result: 'failed' });
        m.tokenFailures.inc({ account: event.account, cause: this.#cause(event.cause) });
        return;
      case 'spool.open':
        // On every series: what gateways on one spool say of it is said once, what they count is counted together.
        this.#registry.setDefaultLabels({ spool: event.spool });
        m.spoolTrouble.set(0);
        return;
      case 'spool.recovered':
        m.spoolTrouble.set(0);
        return;
      case 'spool.takenOver':
        m.takenOver.inc(amount(event.items));
        return;
      case 'spool.trouble':
        m.spoolTrouble.set(1);
        m.spoolTroubles.inc();
        return;
      case 'alarm.raised':
        this.#alarms.set(event.alarm, event.reason);
        return this.#showAlarms();
      case 'alarm.recovered':
      case 'alarm.left':
        this.#alarms.delete(event.alarm);
        return this.#showAlarms();
      case 'alarm.failed':
        return m.alarmFailures.inc();
      case 'log.dropped':
        m.logDropped.inc(amount(event.lines));
        return;
      case 'bug':
        m.bugs.inc();
        for (const items of this.#running.values()) items.delete(event.id ?? '');
        return this.#showRunning();
      default:
        return unreachable(event);
    }
  };

  #configured(): void {
    this.#meters.configOk.set(1);
    this.#meters.configTime.set(this.#now() / 1000);
  }

  /** What would go on as if it were still there: dates, and whether it is up. Counters stay. */
  #forget({ listeners, pickups, accounts }: Extract<Event, { event: 'config.reloaded' }>['removed']): void {
    const m = this.#meters;
    for (const listener of listeners) {
      this.#certificates.delete(listener);
      for (const gauge of [m.certificateExpiry, m.certificateRemaining]) gauge.remove({ listener });
    }
    for (const pickup of pickups) this.#pickups.forget(pickup);
    for (const account of accounts) {
      this.#expiry.delete(account);
      this.#credentials.delete(account);
      for (const gauge of [m.tokenExpiry, m.tokenRemaining, m.credentialRemaining]) gauge.remove({ account });
    }
  }

  #accepted(event: Extract<Event, { event: 'message.accepted' }>): void {
    if (event.origin.source === 'pickup') return this.#pickups.fetched(event.origin.name, amount(event.size));
    // A notice of the gateway itself: nobody brought it.
    if (event.origin.source === 'gateway') return;
    const m = this.#meters;
    const listener = event.origin.name;
    m.accepted.inc({ listener });
    m.recipients.inc({ listener }, event.recipients.length);
    m.acceptedBytes.inc({ listener }, amount(event.size));
    m.acceptSeconds.observe(amount(event.seconds));
  }

  #attempted({ id, route, status, seconds }: Attempted): void {
    const { outcome } = status;
    this.#introduceRoute(route);
    this.#meters.attempts.inc({ route, outcome, cause: this.#cause(status.cause) });
    this.#meters.attemptSeconds.observe({ route, outcome }, amount(seconds));
    this.#running.get(route)?.delete(id);
    this.#showRunning();
  }

  #showRunning(): void {
    for (const [route, items] of this.#running) this.#meters.inFlight.set({ route }, items.size);
  }

  #showAlarms(): void {
    const standing = [...this.#alarms.values()];
    for (const reason of ALARM_REASONS) {
      this.#meters.alarmsActive.set({ reason }, standing.filter((one) => one === reason).length);
    }
  }

  #uses(route: string, transport: string, instead?: string): void {
    if (instead !== undefined) this.#meters.transportInUse.set({ route, transport: instead }, 0);
    this.#meters.transportInUse.set({ route, transport }, 1);
  }

  /** Adds what this hold adds to the one before it: a hold that is prolonged is not counted twice. */
  #held(reach: 'transport' | 'mailbox', why: string, route: string, mailbox: string, until: number): void {
    this.#introduceRoute(route);
    const now = this.#now();
    const key = `${route}\n${mailbox}`;
    const from = Math.max(now, this.#heldUntil.get(key) ?? 0);
    for (const [other, end] of this.#heldUntil) if (end <= now) this.#heldUntil.delete(other);
    this.#heldUntil.set(key, Math.max(until, from));
    this.#meters.holds.inc({ route, reach, why });
    this.#meters.holdSeconds.inc({ route, reach, why }, amount((until - from) / 1000));
  }

  #showStats(stats: SpoolStats | undefined): void {
    if (stats === undefined) return;
    const m = this.#meters;
    for (const state of ITEM_STATES) m.queueItems.set({ state }, stats.items[state]);
    m.oldestAge.set(stats.oldest === undefined ? 0 : Math.max(0, (this.#now() - stats.oldest) / 1000));
    m.bodyBytes.set(stats.bytes);
    if (stats.free !== undefined) m.freeBytes.set(stats.free);
  }

  // --- series that exist before anything happens: a rate sees the first event only if there was a 0 before it -------

  #introduceListener(listener: string): void {
    if (this.#listeners.has(listener)) return;
    this.#listeners.add(listener);
    const m = this.#meters;
    for (const counter of [m.accepted, m.recipients, m.acceptedBytes, m.sessions, m.bans, m.certificateFailures])
      counter.inc({ listener }, 0);
    m.sessionsOpen.set({ listener }, 0);
    for (const refusal of REFUSALS) m.refusals.inc({ listener, refusal }, 0);
    for (const result of ['succeeded', 'failed']) m.auth.inc({ listener, result }, 0);
  }

  #introduceRoute(route: string): void {
    if (this.#running.has(route)) return;
    this.#running.set(route, new Set());
    const m = this.#meters;
    for (const counter of [
      m.delivered,
      m.deliveredBytes,
      m.parked,
      m.bounced,
      m.warned,
      m.notified,
      m.splits,
      m.leasesLost,
      m.unknownOutcomes,
    ])
      counter.inc({ route }, 0);
    for (const why of ['age', 'size']) m.dropped.inc({ route, why }, 0);
    for (const gauge of [m.inFlight, m.routeHeld, m.routeMisconfigured]) gauge.set({ route }, 0);
    for (const outcome of OUTCOMES) {
      m.attempts.inc({ route, outcome, cause: OTHER }, 0);
      m.attemptSeconds.zero({ route, outcome });
    }
    m.age.zero({ route });
    for (const found of FOUND) m.verifications.inc({ route, found }, 0);
    for (const reach of ['message', 'mailbox', 'transport']) m.misconfiguredAttempts.inc({ route, reach }, 0);
    for (const [reach, why] of HOLDS) {
      m.holds.inc({ route, reach, why }, 0);
      m.holdSeconds.inc({ route, reach, why }, 0);
    }
  }

  #introduceAccount(account: string): void {
    if (this.#accounts.has(account)) return;
    this.#accounts.add(account);
    for (const result of ['acquired', 'failed']) this.#meters.tokenRequests.inc({ account, result }, 0);
    this.#meters.tokenFailures.inc({ account, cause: OTHER }, 0);
  }
}

type Meter<D extends MetricDefinition> = D['type'] extends 'counter'
  ? Counter<string>
  : D['type'] extends 'gauge'
    ? Gauge<string>
    : Histogram<string>;
type Meters = { readonly [K in keyof typeof CATALOGUE]: Meter<(typeof CATALOGUE)[K]> };

function metersIn(registry: Registry): Meters {
  const entries = Object.entries(CATALOGUE).map(([key, definition]) => [key, meterIn(registry, definition)] as const);
  return Object.fromEntries(entries) as unknown as Meters;
}

function meterIn(registry: Registry, definition: MetricDefinition): Counter | Gauge | Histogram {
  const { name, type, help, buckets } = definition;
  const base = { name, help, labelNames: definition.labels, registers: [registry] };
  switch (type) {
    case 'counter':
      return new Counter(base);
    case 'gauge':
      return new Gauge(base);
    case 'histogram':
      return new Histogram({ ...base, ...(buckets === undefined ? {} : { buckets: [...buckets] }) });
    default:
      return unreachable(type);
  }
}

/** prom-client throws for what is no amount: a clock that was set back must not become a bug. */
function amount(value: number): number {
  return Number.isFinite(value) && value > 0 ? value : 0;
}
