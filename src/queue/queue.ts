/**
 * Which item is tried next, and what its status means. The spool is the truth; what stands here (lanes, pace, holds) is
 * RAM, built anew at every start. One lane (a sending mailbox on a route) never waits for another.
 *
 * Promises: an attempt starts only after the spool has durably noted it; the outcome is written before the slot comes
 * free; a store in trouble makes the queue wait, never forget. Nothing here throws.
 */
import type { Report } from '../mail/event.ts';
import type { LaneKey, QueueItem } from '../mail/item.ts';
import type { Schedule } from '../mail/schedule.ts';
import { isExpired, waitAfter } from '../mail/schedule.ts';
import type { Spool } from '../mail/spool.ts';
import type { Delayed, DeliveryStatus } from '../mail/status.ts';
import { MISCONFIGURED, unreachable } from '../mail/status.ts';
import type { Outgoing, Transport } from '../mail/transport.ts';
import type { AttemptResult } from './attempt.ts';
import { attempt } from './attempt.ts';
import { RouteHold } from './hold.ts';
import type { PaceLimits } from './pace.ts';
import { Pace } from './pace.ts';

export interface QueueOptions {
  readonly spool: Spool;
  /** By route name. Items of a route that is not here stay queued. */
  readonly transports: ReadonlyMap<string, Transport>;
  readonly report: Report;
  readonly schedule: Schedule;
  /** For each lane. */
  readonly pace: PaceLimits;
  /** Attempts in all at the same time. */
  readonly concurrency: number;
  /** Milliseconds to wait after an unclear outcome before looking: longer than the server may go on working. */
  readonly verifyAfter: number;
  /** Milliseconds after which an attempt is aborted. */
  readonly attemptTimeout: number;
  /** Tries of a message whose trouble is unknown to us (`capped`), then it is parked. */
  readonly cappedAttempts?: number;
  /** Milliseconds; renewed at half of it. */
  readonly lease?: number;
  readonly now?: () => number;
  readonly random?: () => number;
}

export interface Queue {
  start(): void;
  /** A message for this lane has become durable. */
  arrived(lane: LaneKey): void;
  /** Starts nothing new and waits for what is under way; aborts it when `signal` does. @returns attempts cut short */
  stop(signal: AbortSignal): Promise<number>;
  readonly inFlight: number;
}

interface LaneState extends LaneKey {
  readonly pace: Pace;
  /** Earliest due time as far as known; Infinity: nothing known. */
  due: number;
  /** A claim is under way. */
  claiming: boolean;
  /** Counts arrivals, to see whether one came while a claim was under way. */
  arrivals: number;
}

const LEASE = 300_000;
const CAPPED_ATTEMPTS = 8;
/** Waits for a mailbox in trouble when the server names none, and between attempts to write to a store in trouble. */
const LANE_WAIT = 30_000;
const STORE_WAITS = [100, 500, 1_000, 5_000, 15_000];
const STORE_RETRY = 1_000;
/** The longest sleep: a clock that jumps, or another process that adds items, is noticed within it. */
const LONGEST_SLEEP = 30_000;

export function createQueue(options: QueueOptions): Queue {
  return new DeliveryQueue(options);
}

class DeliveryQueue implements Queue {
  readonly #options: QueueOptions;
  readonly #now: () => number;
  readonly #random: () => number;
  /** In the order in which they are served; a lane that was served goes to the end. */
  readonly #lanes = new Map<string, LaneState>();
  readonly #holds = new Map<string, RouteHold>();
  readonly #running = new Map<AbortController, Promise<void>>();
  /** Attempts under way plus slots asked for in claims. */
  #taken = 0;
  #turning = false;
  #again = false;
  #stale = true;
  #started = false;
  #stopping = false;
  #stopped = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  /** The store is in trouble: no question to it before this time. */
  #storeRetryAt = 0;
  #claims = new Set<Promise<void>>();

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#random = options.random ?? Math.random;
    for (const route of options.transports.keys()) this.#holds.set(route, new RouteHold());
  }

  get inFlight(): number {
    return this.#running.size;
  }

  start(): void {
    this.#started = true;
    this.#wake();
  }

  arrived(key: LaneKey): void {
    const lane = this.#lane(key);
    lane.arrivals++;
    lane.due = Math.min(lane.due, this.#now());
    this.#wake();
  }

  async stop(signal: AbortSignal): Promise<number> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    let cut = 0;
    const abort = (): void => {
      cut = this.#running.size;
      this.#stopped.abort();
      for (const controller of this.#running.keys()) controller.abort(new Error('the gateway is stopping'));
    };
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    await Promise.all(this.#claims);
    await Promise.all(this.#running.values());
    signal.removeEventListener('abort', abort);
    this.#stopped.abort();
    return cut;
  }

  #lane(key: LaneKey): LaneState {
    const name = `${key.route}\n${key.mailbox}`;
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = {
        route: key.route,
        mailbox: key.mailbox,
        pace: new Pace(this.#options.pace),
        due: Infinity,
        claiming: false,
        arrivals: 0,
      };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  // --- which item next -------------------------------------------------------------------------------------------

  #wake(): void {
    if (!this.#started || this.#stopping) return;
    if (this.#turning) {
      this.#again = true;
      return;
    }
    this.#turning = true;
    void this.#turn();
  }

  async #turn(): Promise<void> {
    try {
      do {
        this.#again = false;
        if (this.#now() < this.#storeRetryAt) break;
        if (this.#stale) await this.#refresh();
        this.#serve();
      } while (this.#again && !this.#stopping);
    } finally {
      this.#turning = false;
    }
    if (!this.#stopping) this.#sleep();
  }

  /** Asks the spool which lanes have work; what arrives meanwhile is not overwritten. */
  async #refresh(): Promise<void> {
    const before = new Map([...this.#lanes.values()].map((lane) => [lane, lane.arrivals]));
    let lanes;
    try {
      lanes = await this.#options.spool.lanes();
    } catch (error) {
      this.#storeTrouble(error);
      return;
    }
    this.#stale = false;
    const withWork = new Set<LaneState>();
    for (const { route, mailbox, due } of lanes) {
      const lane = this.#lane({ route, mailbox });
      lane.due = before.has(lane) && before.get(lane) !== lane.arrivals ? Math.min(lane.due, due) : due;
      withWork.add(lane);
    }
    for (const [name, lane] of this.#lanes) {
      if (withWork.has(lane) || before.get(lane) !== lane.arrivals || lane.claiming) continue;
      lane.due = Infinity;
      // An idle lane is forgotten, so that RAM does not grow with every mailbox ever seen.
      if (
        lane.pace.inFlight === 0 &&
        lane.pace.nextFree(this.#now()) <= this.#now() &&
        lane.pace.slots === this.#options.pace.concurrency
      ) {
        this.#lanes.delete(name);
      }
    }
  }

  #serve(): void {
    const now = this.#now();
    for (const [name, lane] of Array.from(this.#lanes)) {
      const room = this.#options.concurrency - this.#taken;
      if (room <= 0) return;
      const hold = this.#holds.get(lane.route);
      if (hold === undefined || lane.claiming || lane.due > now) continue;
      const limit = Math.min(room, lane.pace.free(now), hold.allows(now));
      if (limit <= 0) continue;
      this.#lanes.delete(name);
      this.#lanes.set(name, lane);
      const claim = this.#claim(lane, hold, limit, now);
      this.#claims.add(claim);
      void claim.finally(() => this.#claims.delete(claim));
    }
  }

  async #claim(lane: LaneState, hold: RouteHold, limit: number, now: number): Promise<void> {
    const probe = hold.started();
    const arrivals = lane.arrivals;
    lane.claiming = true;
    this.#taken += limit;
    let items: readonly QueueItem[] = [];
    try {
      items = await this.#options.spool.claim(lane, { now, limit, leaseUntil: now + this.#lease });
      if (items.length < limit && lane.arrivals === arrivals) {
        lane.due = Infinity;
        this.#stale = true;
      }
    } catch (error) {
      this.#storeTrouble(error);
    } finally {
      lane.claiming = false;
      this.#taken -= limit;
      if (probe && items.length === 0) hold.probeEnded();
    }
    for (const item of items) {
      if (this.#stopping) await this.#write(() => this.#options.spool.release(item.id));
      else this.#begin(lane, hold, item, probe);
    }
    this.#wake();
  }

  get #lease(): number {
    return this.#options.lease ?? LEASE;
  }

  #sleep(): void {
    const now = this.#now();
    let next = now + LONGEST_SLEEP;
    // With every slot taken, the end of an attempt wakes the queue.
    const lanes = this.#taken < this.#options.concurrency ? this.#lanes.values() : [];
    for (const lane of lanes) {
      if (lane.due === Infinity || lane.claiming) continue;
      // A lane without a free slot is woken by the end of an attempt.
      if (lane.pace.inFlight >= lane.pace.slots) continue;
      const probe = this.#holds.get(lane.route)?.nextProbe() ?? Infinity;
      next = Math.min(next, Math.max(lane.due, lane.pace.nextFree(now), probe));
    }
    if (this.#stale) next = now;
    next = Math.max(next, this.#storeRetryAt);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.#stale = true;
        this.#wake();
      },
      Math.max(1, Math.min(next - now, LONGEST_SLEEP)),
    );
  }

  // --- one attempt -----------------------------------------------------------------------------------------------

  #begin(lane: LaneState, hold: RouteHold, item: QueueItem, probe: boolean): void {
    const controller = new AbortController();
    this.#taken++;
    lane.pace.started(this.#now());
    const done = this.#try(lane, hold, item, controller)
      .catch((error: unknown) => {
        this.#options.report({
          event: 'bug',
          where: 'queue',
          error: error instanceof Error ? error : new Error(String(error)),
          id: item.id,
        });
      })
      .finally(() => {
        this.#taken--;
        lane.pace.ended();
        if (probe) hold.probeEnded();
        this.#running.delete(controller);
        this.#wake();
      });
    this.#running.set(controller, done);
  }

  async #try(lane: LaneState, hold: RouteHold, item: QueueItem, controller: AbortController): Promise<void> {
    const { spool, report, transports } = this.#options;
    const transport = transports.get(item.route);
    if (transport === undefined) throw new Error(`no transport for route ${item.route}`);
    const facts = {
      id: item.id,
      messageId: item.messageId,
      route: item.route,
      mailbox: item.mailbox,
      transport: transport.name,
      attempt: item.attempts,
      size: item.size,
    };
    report({ event: 'delivery.started', ...facts });
    const startedAt = this.#now();
    const started = performance.now();
    const timeout = setTimeout(
      () => controller.abort(new Error('the attempt took too long')),
      this.#options.attemptTimeout,
    );
    let lost = false;
    const renewal = setInterval(() => {
      spool.renew(item.id, this.#now() + this.#lease).then(
        (ours) => {
          if (ours) return;
          lost = true;
          controller.abort(new Error('the lease was lost'));
        },
        () => undefined, // the next renewal, or the write of the outcome, meets the same trouble
      );
    }, this.#lease / 2);
    const outgoing: Outgoing = { item, open: () => spool.open(item.message) };
    let result: AttemptResult;
    try {
      result = await attempt(outgoing, { transport, report, history: (id) => spool.history(id) }, controller.signal);
    } finally {
      clearTimeout(timeout);
      clearInterval(renewal);
    }
    if (lost) return;
    await this.#settle(lane, hold, item, result, startedAt, {
      ...facts,
      seconds: (performance.now() - started) / 1000,
    });
  }

  // --- what its status means -------------------------------------------------------------------------------------

  async #settle(
    lane: LaneState,
    hold: RouteHold,
    item: QueueItem,
    { status, doubtful, undecidable }: AttemptResult,
    startedAt: number,
    facts: Omit<Extract<Parameters<Report>[0], { event: 'delivery.relayed' }>, 'event' | 'status' | 'age'>,
  ): Promise<void> {
    const { spool, report } = this.#options;
    const now = this.#now();
    switch (status.outcome) {
      case 'relayed':
        lane.pace.succeeded();
        this.#answered(lane, hold, startedAt, now);
        if (await this.#write(() => spool.finish(item.id, status))) {
          report({ event: 'delivery.relayed', ...facts, status, age: (now - item.arrivedAt) / 1000 });
        }
        return;
      case 'delayed': {
        const wait = this.#delay(lane, hold, item, status, startedAt, now);
        const due = wait ?? now;
        const misconfigured = status.code === MISCONFIGURED;
        report({ event: 'delivery.delayed', ...facts, status, due });
        if (status.capped === true && item.attempts >= (this.#options.cappedAttempts ?? CAPPED_ATTEMPTS)) {
          return this.#park(
            item,
            status,
            `still failing after ${item.attempts} attempts with an error that is not known to be temporary`,
          );
        }
        // Mail is never given up for a fault of our own configuration.
        if (!misconfigured && isExpired(this.#options.schedule, item.arrivedAt, due)) {
          return this.#park(item, status, 'could not be delivered within the time that giveUpAfter allows');
        }
        const next = wait === undefined ? { doubtful, status } : { due: wait, doubtful, status };
        await this.#write(() => spool.defer(item.id, next));
        lane.due = Math.min(lane.due, wait ?? item.due);
        return;
      }
      case 'failed':
        lane.pace.succeeded();
        this.#answered(lane, hold, startedAt, now);
        report({ event: 'delivery.failed', ...facts, status });
        return this.#park(item, status, 'refused for good');
      case 'unknown': {
        const due = now + this.#options.verifyAfter;
        if (undecidable !== undefined) return this.#park(item, status, undecidable);
        report({ event: 'delivery.unknown', ...facts, status, due });
        await this.#write(() => spool.defer(item.id, { due, doubtful: true, status }));
        lane.due = Math.min(lane.due, due);
        return;
      }
      default:
        return unreachable(status);
    }
  }

  /** Puts the wait where the trouble reaches. @returns when the item itself is due, undefined: it keeps its place. */
  #delay(
    lane: LaneState,
    hold: RouteHold,
    item: QueueItem,
    status: Delayed,
    startedAt: number,
    now: number,
  ): number | undefined {
    const { report } = this.#options;
    if (status.throttled === true) lane.pace.throttled();
    switch (status.reach) {
      case 'transport': {
        const misconfigured = status.code === MISCONFIGURED;
        const why = {
          cause: status.cause,
          reason: status.reason ?? status.text,
          misconfigured,
          ...(status.retryAfter === undefined ? {} : { retryAfter: status.retryAfter }),
        };
        if (hold.hold(now, startedAt, why)) {
          report({
            event: 'route.held',
            route: lane.route,
            cause: why.cause,
            reason: why.reason,
            misconfigured,
            until: hold.held?.until ?? now,
          });
        }
        return undefined;
      }
      case 'mailbox': {
        const until = now + (status.retryAfter ?? LANE_WAIT);
        this.#answered(lane, hold, startedAt, now);
        if (until > lane.pace.heldUntil) {
          lane.pace.hold(until);
          report({
            event: 'lane.held',
            route: lane.route,
            mailbox: lane.mailbox,
            cause: status.cause,
            until,
            throttled: status.throttled === true,
          });
        }
        return undefined;
      }
      case 'message':
        this.#answered(lane, hold, startedAt, now);
        return now + (status.retryAfter ?? waitAfter(this.#options.schedule, item.attempts, this.#random()));
      default:
        return unreachable(status.reach);
    }
  }

  /** The route answered: whatever it said, it is not down. */
  #answered(lane: LaneState, hold: RouteHold, startedAt: number, now: number): void {
    const held = hold.release(now, startedAt);
    if (held !== undefined) this.#options.report({ event: 'route.released', route: lane.route, seconds: held / 1000 });
  }

  async #park(item: QueueItem, status: DeliveryStatus, why: string): Promise<void> {
    if (!(await this.#write(() => this.#options.spool.park(item.id, status)))) return;
    this.#options.report({
      event: 'item.parked',
      id: item.id,
      messageId: item.messageId,
      route: item.route,
      mailbox: item.mailbox,
      why,
      status,
    });
  }

  // --- a store in trouble ----------------------------------------------------------------------------------------

  /**
   * Writes an outcome, again and again while the store is in trouble. False: the gateway stopped before it could be
   * written; the next start finds the item as sending and looks before it sends again.
   */
  async #write(write: () => Promise<unknown>): Promise<boolean> {
    for (let tries = 0; ; tries++) {
      try {
        await write();
        return true;
      } catch {
        // The spool has reported its trouble itself.
        const wait = STORE_WAITS[Math.min(tries, STORE_WAITS.length - 1)] ?? 0;
        if (this.#stopped.signal.aborted || !(await this.#pause(wait))) return false;
      }
    }
  }

  /** @returns false when the queue stopped meanwhile */
  #pause(milliseconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const stopped = this.#stopped.signal;
      const end = (): void => {
        clearTimeout(timer);
        stopped.removeEventListener('abort', end);
        resolve(!stopped.aborted);
      };
      const timer = setTimeout(end, milliseconds);
      stopped.addEventListener('abort', end, { once: true });
    });
  }

  #storeTrouble(error: unknown): void {
    // A SpoolError was reported by the spool; the loop comes back by itself.
    if (!(error instanceof Error) || error.name !== 'SpoolError') {
      this.#options.report({
        event: 'bug',
        where: 'queue',
        error: error instanceof Error ? error : new Error(String(error)),
      });
    }
    this.#stale = true;
    this.#storeRetryAt = this.#now() + STORE_RETRY;
  }
}
