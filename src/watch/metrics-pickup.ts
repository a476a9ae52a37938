/**
 * The metrics of pickups, counted from their events as metrics.ts does for all the others. The label is the name of the
 * pickup in the configuration, never an address. Nothing here throws for what an event holds.
 */
import type { Event, PickupEvent, PickupRefusal } from '../mail/event.ts';
import { unreachable } from '../mail/status.ts';
import { OTHER } from './cause.ts';

type Labels = Readonly<Record<string, string>>;
interface CounterOf {
  inc(labels: Labels, value?: number): void;
}
interface GaugeOf {
  set(labels: Labels, value: number): void;
  remove(labels: Labels): void;
}
interface HistogramOf {
  observe(labels: Labels, value: number): void;
  zero(labels: Labels): void;
}

/** Those of the catalogue whose label is `pickup`. */
export interface PickupMeters {
  readonly pickupFetched: CounterOf;
  readonly pickupFetchedBytes: CounterOf;
  readonly pickupRefused: CounterOf;
  readonly pickupSkipped: CounterOf;
  readonly pickupQuarantined: CounterOf;
  readonly pickupPolls: CounterOf;
  readonly pickupResyncs: CounterOf;
  readonly pickupReconnects: CounterOf;
  readonly pickupFailures: CounterOf;
  readonly pickupUp: GaugeOf;
  readonly pickupWaiting: GaugeOf;
  readonly pickupLastPoll: GaugeOf;
  readonly pickupLag: HistogramOf;
}

const REFUSALS = Object.keys({
  sender: true,
  outside: true,
  attachment: true,
  recipient: true,
  size: true,
} satisfies Record<PickupRefusal, true>);
const WHY = Object.keys({
  start: true,
  interval: true,
  news: true,
  retry: true,
} satisfies Record<Extract<Event, { event: 'pickup.polled' }>['why'], true>);

export class PickupSeries {
  readonly #meters: PickupMeters;
  readonly #cause: (cause: string) => string;
  readonly #now: () => number;
  readonly #known = new Set<string>();
  /** Opened anew while it fails, it is not up before a look goes through. */
  readonly #failing = new Set<string>();

  /** @param now epoch milliseconds */
  constructor(meters: PickupMeters, cause: (cause: string) => string, now: () => number) {
    this.#meters = meters;
    this.#cause = cause;
    this.#now = now;
  }

  /** Brings its series, at 0: a rate sees the first event only if there was a 0 before it. */
  introduce(pickup: string): void {
    if (this.#known.has(pickup)) return;
    this.#known.add(pickup);
    const m = this.#meters;
    for (const counter of [
      m.pickupFetched,
      m.pickupFetchedBytes,
      m.pickupSkipped,
      m.pickupQuarantined,
      m.pickupResyncs,
      m.pickupReconnects,
    ])
      counter.inc({ pickup }, 0);
    for (const cause of REFUSALS) m.pickupRefused.inc({ pickup, cause }, 0);
    for (const why of WHY) m.pickupPolls.inc({ pickup, why }, 0);
    m.pickupFailures.inc({ pickup, cause: OTHER }, 0);
    m.pickupLag.zero({ pickup });
    this.#is(pickup, { up: false });
  }

  /** It is no longer there: nothing says any more whether it is up. */
  forget(pickup: string): void {
    this.#known.delete(pickup);
    this.#failing.delete(pickup);
    const m = this.#meters;
    for (const gauge of [m.pickupUp, m.pickupWaiting, m.pickupLastPoll]) gauge.remove({ pickup });
  }

  /** @param size octets */
  fetched(pickup: string, size: number): void {
    this.introduce(pickup);
    this.#meters.pickupFetched.inc({ pickup });
    this.#meters.pickupFetchedBytes.inc({ pickup }, size);
  }

  /**
   * What was moved to a route that is no pickup's is left out.
   * @param receivedAt epoch milliseconds
   */
  handedOver(route: string, receivedAt: number): void {
    if (!this.#known.has(route)) return;
    const lag = (this.#now() - receivedAt) / 1000;
    // The mailbox's clock may be ahead of ours.
    this.#meters.pickupLag.observe({ pickup: route }, Number.isFinite(lag) ? Math.max(0, lag) : 0);
  }

  /** Whether this one of several gateways picks up, or another does. */
  duty(pickup: string, isOurs: boolean): void {
    this.introduce(pickup);
    this.#failing.delete(pickup);
    this.#is(pickup, { up: false, waiting: !isOurs });
  }

  report(event: PickupEvent): void {
    const m = this.#meters;
    const { pickup } = event;
    this.introduce(pickup);
    switch (event.event) {
      case 'pickup.opened':
        return this.#is(pickup, { up: !this.#failing.has(pickup) });
      case 'pickup.recovered':
        this.#failing.delete(pickup);
        return this.#is(pickup, { up: true });
      case 'pickup.polled':
        this.#failing.delete(pickup);
        m.pickupPolls.inc({ pickup, why: event.why });
        m.pickupLastPoll.set({ pickup }, this.#now() / 1000);
        return this.#is(pickup, { up: true });
      case 'pickup.resynced':
        return m.pickupResyncs.inc({ pickup });
      case 'pickup.refused':
        return m.pickupRefused.inc({ pickup, cause: event.cause });
      case 'pickup.skipped':
        return m.pickupSkipped.inc({ pickup });
      case 'pickup.quarantined':
        return m.pickupQuarantined.inc({ pickup });
      case 'pickup.failed':
        this.#failing.add(pickup);
        m.pickupFailures.inc({ pickup, cause: this.#cause(event.cause) });
        return this.#is(pickup, { up: false });
      case 'pickup.deaf':
        return m.pickupReconnects.inc({ pickup });
      case 'pickup.waiting':
        this.#failing.delete(pickup);
        return this.#is(pickup, { up: false, waiting: true });
      case 'pickup.repeated':
      case 'pickup.filed':
      case 'pickup.delayed':
        return;
      default:
        return unreachable(event);
    }
  }

  #is(pickup: string, { up, waiting = false }: { readonly up: boolean; readonly waiting?: boolean }): void {
    this.#meters.pickupUp.set({ pickup }, up ? 1 : 0);
    this.#meters.pickupWaiting.set({ pickup }, waiting ? 1 : 0);
  }
}
