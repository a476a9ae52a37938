/**
 * Which item is tried next, and what its status means. The spool is the truth; what stands here (lanes, pace, holds) is
 * RAM, built anew at every start. One lane (a sending mailbox on a route) never waits for another.
 *
 * Promises: an attempt starts only after the spool has durably noted it; the outcome is written before the slot comes
 * free; a store in trouble makes the queue wait, never forget. Nothing here throws.
 *
 * Two clocks: when an item is due is wall time, because it outlives the process; holds, pace and waits for the store are
 * steady time, so that a clock set back stops nothing.
 */
import type { Cluster, Json, Subject } from '../mail/cluster.ts';
import type { Report } from '../mail/event.ts';
import type { LaneKey, QueueItem } from '../mail/item.ts';
import type { Schedule } from '../mail/schedule.ts';
import { isExpired, waitAfter } from '../mail/schedule.ts';
import type { Spool } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';
import type { Apart, Delayed, DeliveryStatus, Relayed } from '../mail/status.ts';
import { MISCONFIGURED, NO_ROUTE, unreachable } from '../mail/status.ts';
import type { SetTimer } from '../mail/timer.ts';
import type { Journal, Outgoing, Transport } from '../mail/transport.ts';
import { Accord, keyOf, SET_BACK } from './accord.ts';
import type { AttemptResult } from './attempt.ts';
import { attempt } from './attempt.ts';
import type { Bouncer, Notice } from './bounce.ts';
import { asError, bugStatus } from './bug.ts';
import type { Gated } from './gate.ts';
import { ClaimGate } from './gate.ts';
import type { HoldState } from './hold.ts';
import { RouteHold } from './hold.ts';
import type { Moment } from './lease.ts';
import { Lease, thisMoment } from './lease.ts';
import type { PaceLimits, PaceState } from './pace.ts';
import { Pace } from './pace.ts';
import type { Tries } from './tries.ts';
import { triesIn } from './tries.ts';

export interface QueueOptions {
  readonly spool: Spool;
  /** Where several gateways work on the spool: what they know together, and the clock that they have in common. */
  readonly cluster?: Cluster;
  /** By route name. Items of a route that is not here stay queued. */
  readonly transports: ReadonlyMap<string, Transport>;
  /** Routes whose items are fetched by somebody else: they stay queued, and nothing is missing. */
  readonly passive?: ReadonlySet<string>;
  readonly report: Report;
  readonly schedule: Schedule;
  /** For each lane; a function is asked when a lane comes to have work. */
  readonly pace: PaceLimits | ((lane: LaneKey) => PaceLimits);
  /** Attempts in all at the same time. */
  readonly concurrency: number;
  /** How a lane works off what an outage, or the time before the start, has left waiting. Default inOrder. */
  readonly catchUp?: CatchUp;
  /** Milliseconds to wait after an unclear outcome before looking: longer than the server may go on working. */
  readonly verifyAfter: number;
  /** Milliseconds after which an attempt is aborted. */
  readonly attemptTimeout: number;
  /** Tries of a message whose trouble is unknown to us (`capped`), then it is parked. */
  readonly cappedAttempts?: number;
  /** Tells senders what fails or is late. Default: nobody is told, and what fails is parked. */
  readonly bouncer?: Bouncer;
  /** Age in milliseconds from which on a sender is told, once, that a message is late. Default: never. */
  readonly warnAfter?: number;
  /** Milliseconds; renewed at half of it. Default: the cluster's, else 5 minutes. */
  readonly lease?: number;
  /** Epoch milliseconds. Default: the cluster's clock, else this machine's. */
  readonly now?: () => number;
  /** Milliseconds since any moment, never set back; the same for all gateways of a cluster. */
  readonly steady?: () => number;
  readonly setTimer?: SetTimer;
  readonly random?: () => number;
}

/** inOrder: one at a time, so that it arrives in the order in which it came; parallel: as fast as the pace allows. */
export type CatchUp = 'inOrder' | 'parallel';

/** What may change while the queue is at work. */
export type QueueSettings = Pick<
  QueueOptions,
  'transports' | 'passive' | 'schedule' | 'pace' | 'concurrency' | 'catchUp' | 'verifyAfter' | 'warnAfter'
>;

export interface Queue {
  start(): void;
  /**
   * Other settings for all that comes next; what is under way ends with those it began with. A route that is gone is held
   * no more: what waits for it is told as missing.
   */
  use(settings: QueueSettings): void;
  /** A message for this lane has become durable. */
  arrived(lane: LaneKey): void;
  /** Somebody has mended the configuration, perhaps: routes and mailboxes that are held for it are tried at once. */
  mended(): void;
  /**
   * Starts nothing new and waits for what is under way; aborts it when `signal` does, and a second later waits for
   * nothing any more. @returns attempts cut short
   */
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
  /** Mail had to wait for reasons other than its pace; true until nothing is due. */
  behind: boolean;
  /** Other gateways have all of its slots: no claim before this (steady) time. */
  fullUntil: number;
}

const LEASE = 300_000;
const CAPPED_ATTEMPTS = 8;
/** Why a message is given up. */
const REFUSED = 'refused for good';
const REFUSED_IN_DOUBT = 'refused for good, but an earlier attempt may have delivered it';
const EXPIRED = 'could not be delivered within the time that giveUpAfter allows';
/** Waits for a mailbox in trouble when the server names none, and between attempts to write to a store in trouble. */
const LANE_WAIT = 30_000;
const LANE_MISCONFIGURED_WAIT = 300_000;
const STORE_WAITS = [100, 500, 1_000, 5_000, 15_000];
const STORE_RETRY = 1_000;
/** Further attempts to write where the store is damaged. */
const DAMAGED_TRIES = 2;
/** What an aborted attempt may take to settle and to be written down. */
const GRACE = 1_000;
/** Milliseconds by which two clocks that go alike may differ. */
const DUE_EARLY = 1_000;
/** The longest sleep: a clock that jumps, or another process that adds items, is noticed within it. */
const LONGEST_SLEEP = 30_000;
/** The same where other gateways work on the queue, and leave things. */
const LONGEST_SLEEP_OF_MANY = 2_000;
/** Milliseconds after which a lane is asked for again whose slots other gateways had. */
const FULL_WAIT = 500;
/** The same where there was nothing to take: another gateway was faster, or nothing may be taken now. */
const EMPTY_WAIT = 100;

const setTimer: SetTimer = (then, milliseconds) => {
  const timer = setTimeout(then, milliseconds);
  return () => clearTimeout(timer);
};

export function createQueue(options: QueueOptions): Queue {
  return new DeliveryQueue(options);
}

class DeliveryQueue implements Queue {
  #options: QueueOptions;
  readonly #now: () => number;
  readonly #steady: () => number;
  /** As the steady one, but this machine's: for waits of this gateway alone, which a store with another clock must not prolong. */
  readonly #own: () => number;
  /** The latest time seen of the clock that gateways have in common. */
  #latest = -Infinity;
  readonly #setTimer: SetTimer;
  readonly #random: () => number;
  /** In the order in which they are served; a lane that was served goes to the end. */
  readonly #lanes = new Map<string, LaneState>();
  readonly #holds = new Map<string, RouteHold>();
  /** Routes that have mail and no transport; since when (steady). */
  readonly #missing = new Map<string, number>();
  readonly #running = new Map<AbortController, Promise<void>>();
  /** Attempts under way plus slots asked for in claims; and by route. */
  #taken = 0;
  readonly #takenBy = new Map<string, number>();
  #turning = false;
  #again = false;
  #stale = true;
  /** The spool was not asked yet: what it has waited for this start. */
  #isFirst = true;
  #started = false;
  #stopping = false;
  /** Nothing new starts; what is under way is cut short. */
  #ending = new AbortController();
  #stopped = new AbortController();
  /** By item: until when (steady) a server may still be working on an attempt of unclear outcome. The earliest first. */
  readonly #unclearUntil = new Map<string, number>();
  #endSleep = (): void => undefined;
  /** The store is in trouble: no question to it before this (steady) time. */
  #storeRetryAt = -Infinity;
  #isGraceOver = false;
  #claims = new Set<Promise<void>>();
  readonly #cluster: Cluster | undefined;
  readonly #accord: Accord;
  #endListening = (): void => undefined;

  constructor(options: QueueOptions) {
    this.#options = options;
    const { cluster } = options;
    this.#cluster = cluster;
    this.#accord = new Accord({
      cluster,
      write: (work) => this.#write(work),
      failed: (error) => options.report({ event: 'bug', where: 'queue', error: asError(error) }),
    });
    this.#now = options.now ?? (cluster === undefined ? Date.now : () => cluster.now());
    this.#own = options.steady ?? (() => performance.now());
    this.#steady = cluster === undefined ? this.#own : (options.steady ?? (() => cluster.now()));
    this.#setTimer = options.setTimer ?? setTimer;
    this.#random = options.random ?? Math.random;
    for (const route of options.transports.keys()) if (!this.#isPassive(route)) this.#holds.set(route, new RouteHold());
  }

  get inFlight(): number {
    return this.#running.size;
  }

  start(): void {
    this.#started = true;
    if (this.#cluster !== undefined)
      this.#endListening = this.#cluster.listen({
        due: (lane) => this.arrived(lane),
        changed: (subject, state) => {
          this.#learn(subject, state);
          this.#wake();
        },
      });
    this.#wake();
  }

  use(settings: QueueSettings): void {
    this.#options = { ...this.#options, ...settings };
    const { transports, pace } = this.#options;
    const isServed = (route: string): boolean => transports.has(route) && !this.#isPassive(route);
    for (const [route, { held }] of this.#holds) {
      if (isServed(route)) continue;
      this.#holds.delete(route);
      if (held !== undefined) this.#reportReleased(route, held.since);
    }
    for (const [route, since] of this.#missing) {
      if (!isServed(route) && !this.#isPassive(route)) continue;
      this.#missing.delete(route);
      this.#reportReleased(route, since);
    }
    for (const route of transports.keys())
      if (isServed(route) && !this.#holds.has(route)) this.#holds.set(route, new RouteHold());
    for (const lane of this.#lanes.values()) lane.pace.use(typeof pace === 'function' ? pace(lane) : pace);
    this.#stale = true;
    this.#wake();
  }

  /** @param since of the steady clock */
  #reportReleased(route: string, since: number): void {
    this.#options.report({ event: 'route.released', route, seconds: (this.#steady() - since) / 1000 });
  }

  #isPassive(route: string): boolean {
    return this.#options.passive?.has(route) === true;
  }

  arrived(key: LaneKey): void {
    if (this.#isPassive(key.route)) return;
    const lane = this.#lane(key);
    lane.arrivals++;
    lane.due = Math.min(lane.due, this.#now());
    this.#wake();
  }

  mended(): void {
    const steady = this.#steady();
    for (const [route, hold] of this.#holds)
      if (!hold.isFresh) this.#onRoute(route, hold, (known) => known.mended(steady));
    for (const lane of this.#lanes.values())
      if (lane.pace.heldUntil > steady) this.#onLane(lane, (known) => known.mended(steady));
    this.#wake();
  }

  async stop(signal: AbortSignal): Promise<number> {
    this.#stopping = true;
    this.#ending.abort();
    this.#endSleep();
    this.#endListening();
    let cut = 0;
    let endGrace = (): void => undefined;
    const over = Promise.withResolvers<void>();
    const abort = (): void => {
      cut = this.#running.size;
      this.#stopped.abort();
      for (const controller of this.#running.keys()) controller.abort(new Error('the gateway is stopping'));
      if (this.#isGraceOver) over.resolve();
      else endGrace = this.#setTimer(over.resolve, GRACE);
    };
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    await Promise.race([this.#drained(), over.promise.then(() => (this.#isGraceOver = true))]);
    endGrace();
    signal.removeEventListener('abort', abort);
    this.#stopped.abort();
    return cut;
  }

  async #drained(): Promise<void> {
    await Promise.all(this.#claims);
    await Promise.all(this.#running.values());
    await this.#accord.settled();
  }

  #lane(key: LaneKey): LaneState {
    const name = keyOf(key);
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = {
        route: key.route,
        mailbox: key.mailbox,
        pace: this.#newPace(key),
        due: Infinity,
        claiming: false,
        arrivals: 0,
        behind: false,
        fullUntil: -Infinity,
      };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  #newPace(lane: LaneKey): Pace {
    const { pace } = this.#options;
    return new Pace(typeof pace === 'function' ? pace(lane) : pace);
  }

  #slots({ behind, pace }: Pick<LaneState, 'behind' | 'pace'>): number {
    return behind && this.#options.catchUp !== 'parallel' ? 1 : pace.slots;
  }

  /** A route leaves a slot to each of the others: one whose server does not answer must not hold them up. */
  #room(route: string): number {
    const { concurrency } = this.#options;
    const most = Math.max(1, concurrency - Math.max(0, this.#holds.size - 1));
    return Math.min(concurrency - this.#taken, most - (this.#takenBy.get(route) ?? 0));
  }

  #take(route: string, slots: number): void {
    this.#taken += slots;
    this.#takenBy.set(route, (this.#takenBy.get(route) ?? 0) + slots);
  }

  #free(lane: LaneState): number {
    return Math.min(lane.pace.free(this.#steady()), this.#slots(lane) - lane.pace.inFlight);
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
        if (this.#own() < this.#storeRetryAt) break;
        this.#lookAtClock();
        if (this.#stale) await this.#refresh();
        this.#serve();
      } while (this.#again && !this.#stopping);
    } catch (error) {
      this.#storeTrouble(error);
    } finally {
      this.#turning = false;
    }
    if (!this.#stopping) this.#sleep();
  }

  /**
   * A server that took over may be behind: the store has forgotten then what was known together (it was of times that are to
   * come), and so do the copies of it.
   */
  #lookAtClock(): void {
    if (this.#cluster === undefined) return;
    const now = this.#cluster.now();
    const isSetBack = now < this.#latest - SET_BACK;
    this.#latest = isSetBack ? now : Math.max(now, this.#latest);
    if (!isSetBack) return;
    for (const lane of this.#lanes.values()) lane.pace.learn();
    for (const [route, hold] of this.#holds) this.#learnRoute(route, hold, undefined);
    this.#stale = true;
  }

  /** Asks the spool which lanes have work; what arrives meanwhile is not overwritten. */
  async #refresh(): Promise<void> {
    const before = new Map([...this.#lanes.values()].map((lane) => [lane, lane.arrivals]));
    const isFirst = this.#isFirst;
    const isAlone = isFirst ? await this.#meet() : true;
    const lanes = (await this.#options.spool.lanes()).filter(({ route }) => !this.#isPassive(route));
    this.#stale = false;
    this.#isFirst = false;
    const withWork = new Set<LaneState>();
    for (const { route, mailbox, due } of lanes) {
      const lane = this.#lane({ route, mailbox });
      lane.due = lane.arrivals === (before.get(lane) ?? 0) ? due : Math.min(lane.due, due);
      if (isFirst && isAlone) lane.behind = true;
      withWork.add(lane);
    }
    this.#tellMissing(new Set(lanes.map(({ route }) => route)));
    for (const [name, lane] of this.#lanes) {
      if (withWork.has(lane) || before.get(lane) !== lane.arrivals || lane.claiming) continue;
      lane.due = Infinity;
      // An idle lane is forgotten, so that RAM does not grow with every mailbox ever seen.
      if (lane.pace.isFresh(this.#steady())) this.#lanes.delete(name);
    }
  }

  /** Learns what the others know. @returns whether there are none: then what waits has waited for this start */
  async #meet(): Promise<boolean> {
    if (this.#cluster === undefined) return true;
    for (const { subject, state } of await this.#cluster.known()) this.#learn(subject, state);
    return (await this.#cluster.members()).every(({ id }) => id === this.#cluster?.id);
  }

  /** What was accepted for a route that the configuration no longer has is not left without a word. */
  #tellMissing(withWork: ReadonlySet<string>): void {
    const { report } = this.#options;
    for (const route of withWork) {
      if (this.#holds.has(route) || this.#missing.has(route)) continue;
      this.#missing.set(route, this.#steady());
      const reason = `The configuration has no route ${route}, but mail waits for it: put it back into routes or pickup (SIGHUP or a start takes it into use), or give the mail to another (queue list --route ${route}, then queue move with the ids and --route)`;
      const until = this.#now() + LONGEST_SLEEP;
      report({ event: 'route.held', route, cause: NO_ROUTE, reason, misconfigured: true, until });
    }
    for (const [route, since] of this.#missing) {
      if (withWork.has(route)) continue;
      this.#missing.delete(route);
      this.#reportReleased(route, since);
    }
  }

  #serve(): void {
    const now = this.#now();
    const steady = this.#steady();
    for (const [name, lane] of this.#inOrder()) {
      if (this.#taken >= this.#options.concurrency) return;
      const hold = this.#holds.get(lane.route);
      if (hold === undefined || lane.claiming || lane.due > now || lane.fullUntil > this.#own()) continue;
      const limit = Math.min(this.#room(lane.route), this.#free(lane), hold.allows(steady, lane.mailbox));
      if (limit <= 0) continue;
      this.#lanes.delete(name);
      this.#lanes.set(name, lane);
      const claim = this.#claim(lane, hold, limit, now);
      this.#claims.add(claim);
      void claim.finally(() => this.#claims.delete(claim));
    }
  }

  /** Behind a hold, mailboxes not tried yet come first: they show soonest whether it is everybody's trouble. */
  #inOrder(): [string, LaneState][] {
    const lanes = Array.from(this.#lanes);
    if (![...this.#holds.values()].some(({ held }) => held !== undefined)) return lanes;
    const rank = ({ route, mailbox }: LaneState): number => Number(this.#holds.get(route)?.wasRefused(mailbox) ?? true);
    return lanes.toSorted(([, one], [, other]) => rank(one) - rank(other));
  }

  async #claim(lane: LaneState, hold: RouteHold, limit: number, now: number): Promise<void> {
    let probe = hold.started(this.#cluster === undefined ? Infinity : this.#steady() + this.#lease);
    const arrivals = lane.arrivals;
    lane.claiming = true;
    this.#take(lane.route, limit);
    let items: readonly QueueItem[] = [];
    const since = thisMoment();
    const gate = this.#gate(lane, limit);
    try {
      const claim = { now, limit, leaseUntil: now + this.#lease };
      items = await this.#options.spool.claim(lane, gate === undefined ? claim : { ...claim, gate: gate.gate });
      const gated = gate?.result(items.length);
      if (gated !== undefined) {
        probe = gated.probe;
        this.#gated(lane, hold, gated);
      }
      const allowed = gated?.limit ?? limit;
      if (this.#cluster !== undefined && items.length === 0 && lane.arrivals === arrivals)
        lane.fullUntil = Math.max(lane.fullUntil, this.#own() + EMPTY_WAIT);
      if (items.length < allowed && lane.arrivals === arrivals) {
        lane.due = Infinity;
        lane.behind = false;
        this.#stale = true;
      }
    } catch (error) {
      this.#storeTrouble(error);
      // The store's may be another gateway's.
      if (gate !== undefined) [probe] = [false, hold.probeEnded()];
    } finally {
      lane.claiming = false;
      this.#take(lane.route, -limit);
    }
    // Whatever began to hold the lane back while the claim was under way holds these items back too.
    const isHeld = this.#stopping || (!probe && hold.held !== undefined) || this.#holds.get(lane.route) !== hold;
    // What all gateways know allowed these, and counted them.
    const free = this.#cluster === undefined ? Math.max(0, this.#free(lane)) : items.length;
    const begun = isHeld ? 0 : Math.min(items.length, free);
    for (const item of items.slice(0, begun)) this.#begin(lane, hold, item, { probe, since });
    if (probe && begun === 0) this.#probeEnded(lane, hold);
    await Promise.all(items.slice(begun).map((item) => this.#giveBack(lane, item)));
    this.#wake();
  }

  /** What a claim goes by where there are other gateways. */
  #gate(lane: LaneState, limit: number): ClaimGate | undefined {
    const cluster = this.#cluster;
    if (cluster === undefined) return undefined;
    return new ClaimGate({
      mailbox: lane.mailbox,
      limit,
      lease: this.#lease,
      blankPace: () => this.#newPace(lane),
      slots: (pace) => this.#slots({ behind: lane.behind, pace }),
      now: () => cluster.now(),
    });
  }

  /** What others know, as it was seen by a claim. */
  #gated(lane: LaneState, hold: RouteHold, { limit, lane: ofLane, route: ofRoute, isFull }: Gated): void {
    const { route, mailbox } = lane;
    if (!this.#accord.isAhead({ route, mailbox })) lane.pace.learn(ofLane as PaceState | undefined);
    if (!this.#accord.isAhead({ route })) this.#learnRoute(route, hold, ofRoute);
    if (isFull || limit === 0) lane.fullUntil = this.#own() + FULL_WAIT;
  }

  async #giveBack(lane: LaneState, item: QueueItem): Promise<void> {
    try {
      await this.#write(() => this.#options.spool.release(item.id));
      lane.due = Math.min(lane.due, item.due);
    } catch (error) {
      this.#options.report({ event: 'bug', where: 'queue', error: asError(error), id: item.id });
    }
  }

  get #lease(): number {
    return this.#options.lease ?? this.#cluster?.lease ?? LEASE;
  }

  #sleep(): void {
    const now = this.#now();
    const steady = this.#steady();
    const own = this.#own();
    const longest = this.#cluster === undefined ? LONGEST_SLEEP : LONGEST_SLEEP_OF_MANY;
    let wait = longest;
    // With every slot taken, the end of an attempt wakes the queue.
    const lanes = this.#taken < this.#options.concurrency ? this.#lanes.values() : [];
    for (const lane of lanes) {
      if (lane.due === Infinity || lane.claiming) continue;
      // A lane without a free slot is woken by the end of an attempt.
      if (lane.pace.inFlight >= this.#slots(lane) || this.#room(lane.route) <= 0) continue;
      const probe = this.#holds.get(lane.route)?.nextProbe(lane.mailbox, steady) ?? Infinity;
      const free = Math.max(Math.max(lane.pace.nextFree(steady), probe) - steady, lane.fullUntil - own);
      wait = Math.min(wait, Math.max(lane.due - now, free));
    }
    if (this.#stale) wait = 0;
    wait = Math.max(wait, this.#storeRetryAt - own);
    this.#endSleep();
    this.#endSleep = this.#setTimer(
      () => {
        this.#stale = true;
        this.#wake();
      },
      Math.max(1, Math.min(wait, longest)),
    );
  }

  // --- one attempt -----------------------------------------------------------------------------------------------

  #begin(
    lane: LaneState,
    hold: RouteHold,
    item: QueueItem,
    { probe, since }: { readonly probe: boolean; readonly since: Moment },
  ): void {
    const controller = new AbortController();
    this.#take(lane.route, 1);
    // In a cluster the claim has counted it.
    if (this.#cluster === undefined) lane.pace.started(this.#steady());
    else lane.pace.begun();
    const lease = this.#leaseOf(item, since, controller);
    const done = this.#try(lane, hold, item, controller, lease)
      .catch((error: unknown) => this.#bug(lane, item, error))
      .finally(() => {
        lease.end();
        this.#take(lane.route, -1);
        lane.pace.ended();
        if (probe) this.#probeEnded(lane, hold);
        this.#running.delete(controller);
        this.#wake();
      });
    this.#running.set(controller, done);
  }

  #leaseOf({ id }: QueueItem, since: Moment, controller: AbortController): Lease {
    return new Lease({
      item: id,
      length: this.#lease,
      since,
      isShared: this.#cluster !== undefined,
      renew: () => this.#options.spool.renew(id, this.#now() + this.#lease),
      onLost: () => controller.abort(new Error('the lease was lost')),
      setTimer: this.#setTimer,
    });
  }

  async #try(
    lane: LaneState,
    hold: RouteHold,
    item: QueueItem,
    controller: AbortController,
    lease: Lease,
  ): Promise<void> {
    const { spool, report, transports } = this.#options;
    const transport = transports.get(item.route);
    if (transport === undefined) throw new Error(`no transport for route ${item.route}`);
    if (!(await this.#isClear(item))) return this.#giveBack(lane, item);
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
    const startedAt = this.#steady();
    const endTimeout = this.#setTimer(
      () => controller.abort(new Error('the attempt took too long')),
      this.#options.attemptTimeout,
    );
    const outgoing: Outgoing = {
      item,
      open: () => whileOurs(spool.open(item.message), lease),
      journal: journalOf(spool, item.id, lease),
    };
    let result: AttemptResult;
    try {
      result = await attempt(outgoing, { transport, report, history: (id) => spool.history(id) }, controller.signal);
    } finally {
      endTimeout();
      lease.end();
    }
    // What came of it is for the gateway that has the item now to find out.
    if (lease.isLost) return report({ event: 'lease.lost', ...laneFacts(item) });
    const seconds = (this.#steady() - startedAt) / 1000;
    // One that chooses by itself may have changed over within the attempt.
    const told = { ...facts, transport: transport.name, seconds };
    const { apart = [], ...status } = result.status;
    const parts = apart.length === 0 ? [] : await this.#split(item, status, apart);
    if (parts === undefined) return;
    const isRelayed = parts.length > 0 && status.outcome === 'relayed';
    const rest = withoutThose(item, parts);
    await this.#settle(lane, hold, rest, { ...result, status }, startedAt, told, isRelayed);
    for (const { part, status } of parts) {
      const own = { ...told, id: part.id };
      // An earlier doubt was about everybody: whoever was refused then is no longer among them.
      const settled = this.#settle(lane, hold, part, { status, doubtful: item.doubtful }, startedAt, own);
      await settled.catch((error: unknown) => this.#bug(lane, part, error));
    }
  }

  /**
   * Recipients for whom the attempt ended otherwise become items of their own before anything else is done: those who
   * have the message are never sent it again with them. @returns undefined: the spool took nothing down
   */
  async #split(
    item: QueueItem,
    status: DeliveryStatus,
    apart: readonly Apart[],
  ): Promise<readonly { readonly part: QueueItem; readonly status: DeliveryStatus }[] | undefined> {
    const { spool, report } = this.#options;
    let made: readonly QueueItem[] | undefined;
    const addresses = apart.map(({ recipients }) => recipients);
    const isWritten = await this.#write(async () => {
      made = await spool.split(item.id, addresses, status.outcome === 'relayed' ? status : undefined);
    });
    if (!isWritten) return undefined;
    const parts = (made ?? []).flatMap((part, index) => {
      const own = apart[index]?.status;
      return own === undefined ? [] : [{ part, status: own }];
    });
    const { id: from, messageId, route, mailbox } = item;
    for (const { part, status } of parts) {
      const recipients = part.envelope.recipients.map(({ address }) => address);
      report({ event: 'item.split', id: part.id, from, messageId, route, mailbox, recipients, status });
    }
    return made === undefined ? undefined : parts;
  }

  /** A clock that is set forward makes what is in doubt due while the server may still be working on it. */
  async #isClear({ id }: QueueItem): Promise<boolean> {
    const wait = (this.#unclearUntil.get(id) ?? -Infinity) - this.#own();
    this.#unclearUntil.delete(id);
    return wait <= DUE_EARLY || (await this.#pause(wait, this.#ending.signal));
  }

  #noteUnclear({ id }: QueueItem): void {
    const own = this.#own();
    for (const [old, until] of this.#unclearUntil) {
      if (until > own) break;
      this.#unclearUntil.delete(old);
    }
    this.#unclearUntil.set(id, own + this.#options.verifyAfter);
  }

  /** What should have been a value was thrown. Nobody knows how far the attempt had got, so the item is in doubt. */
  async #bug(lane: LaneState, item: QueueItem, error: unknown): Promise<void> {
    const { report, spool, verifyAfter } = this.#options;
    report({ event: 'bug', where: 'queue', error: asError(error), id: item.id });
    const due = this.#now() + verifyAfter;
    this.#noteUnclear(item);
    const status = bugStatus(`The queue failed in an unforeseen way; the log's "bug" line has the details`);
    try {
      await this.#write(() => spool.defer(item.id, { due, doubtful: true, status }));
      lane.due = Math.min(lane.due, due);
    } catch {
      // It stays as being sent; the next start finds it.
    }
  }

  // --- what its status means -------------------------------------------------------------------------------------

  async #settle(
    lane: LaneState,
    hold: RouteHold,
    item: QueueItem,
    { status: told, doubtful, undecidable, internal }: AttemptResult,
    startedAt: number,
    facts: Omit<Extract<Parameters<Report>[0], { event: 'delivery.relayed' }>, 'event' | 'status' | 'age'>,
    isFinished = false,
  ): Promise<void> {
    const { spool, report } = this.#options;
    const now = this.#now();
    const isOwn = hold.isAlone(lane.mailbox) && !(told.outcome === 'delayed' && told.ofAccount === true);
    const status = isOwn ? ofMailbox(told) : told;
    switch (status.outcome) {
      case 'relayed':
        if (hold.isMarked(lane.mailbox)) this.#onRoute(lane.route, hold, (known) => known.gotThrough(lane.mailbox));
        this.#succeeded(lane);
        this.#answered(lane, hold, startedAt);
        return this.#finish(item, status, isFinished, () => {
          const { receivedAt } = item.origin;
          const age = (now - item.arrivedAt) / 1000;
          report({
            event: 'delivery.relayed',
            ...facts,
            status,
            age,
            ...(receivedAt === undefined ? {} : { receivedAt }),
          });
        });
      case 'delayed': {
        // Cut short by the end of the gateway, and nothing was sent: it keeps its place.
        if (this.#stopped.signal.aborted && status.reach === 'message' && !doubtful) {
          report({ event: 'delivery.delayed', ...facts, status, due: item.due });
          return this.#giveBack(lane, item);
        }
        if (status.reach === 'message' && internal !== true) this.#answered(lane, hold, startedAt);
        const tries = await this.#tries(item, status);
        const wait = this.#delay(lane, hold, status, tries, startedAt);
        const due = wait === undefined ? now : now + wait;
        const next = status.reach === 'mailbox' ? Math.round(now + lane.pace.heldUntil - this.#steady()) : due;
        report({ event: 'delivery.delayed', ...facts, status, due: next });
        // A doubt that is new is written down and looked into before the item is given up.
        const isNewDoubt = doubtful && !item.doubtful;
        const why = isNewDoubt ? undefined : this.#whyPark(status, tries);
        if (why !== undefined) return this.#park(item, status, why);
        // Mail is never given up for a fault of our own configuration.
        if (!isNewDoubt && status.code !== MISCONFIGURED && isExpired(this.#options.schedule, item.arrivedAt, due))
          // What may have been delivered is not called undelivered.
          return doubtful ? this.#park(item, status, EXPIRED) : this.#giveUp(item, status, EXPIRED);
        // What holds up the route or the mailbox would hold up the warning too.
        if (status.reach === 'message' && !doubtful && !tries.warned) await this.#warn(item, status);
        const place = wait === undefined ? { doubtful, status } : { due, doubtful, status };
        await this.#write(() => spool.defer(item.id, place));
        lane.due = Math.min(lane.due, wait === undefined ? item.due : due);
        return;
      }
      case 'failed':
        this.#succeeded(lane);
        this.#answered(lane, hold, startedAt);
        report({ event: 'delivery.failed', ...facts, status });
        // What may have been delivered is not called undelivered.
        return doubtful ? this.#park(item, status, REFUSED_IN_DOUBT) : this.#giveUp(item, status, REFUSED);
      case 'unknown': {
        const due = now + Math.max(this.#options.verifyAfter, status.retryAfter ?? 0);
        if (undecidable !== undefined) return this.#park(item, status, undecidable);
        report({ event: 'delivery.unknown', ...facts, status, due });
        this.#noteUnclear(item);
        const steady = this.#steady();
        if (hold.held !== undefined) {
          const isMoved = this.#onRoute(lane.route, hold, (known) => known.unanswered(steady, startedAt, lane.mailbox));
          if (isMoved) this.#reportHeld(lane.route, hold);
        }
        await this.#write(() => spool.defer(item.id, { due, doubtful: true, status }));
        lane.due = Math.min(lane.due, due);
        return;
      }
      default:
        return unreachable(status);
    }
  }

  #whyPark(status: Delayed, { capped }: Pick<Tries, 'capped'>): string | undefined {
    if (status.capped === true && capped >= (this.#options.cappedAttempts ?? CAPPED_ATTEMPTS))
      return `still failing after ${capped} attempts with an error that is not known to be temporary`;
    return undefined;
  }

  /** With the try that has just failed. A history that cannot be read now is no reason to keep the outcome unwritten. */
  async #tries(
    item: QueueItem,
    status: Delayed,
  ): Promise<Pick<Tries, 'own' | 'capped'> & { readonly warned: boolean }> {
    if (status.reach !== 'message' && status.capped !== true) return { own: 0, capped: 0, warned: false };
    try {
      const history = await this.#options.spool.history(item.id);
      return {
        ...triesIn([...history, { at: this.#now(), what: 'delayed', status }]),
        warned: history.some(({ what }) => what === 'warned'),
      };
    } catch (error) {
      if (error instanceof SpoolError) return { own: item.attempts, capped: 0, warned: true };
      throw error;
    }
  }

  /** Puts the wait where the trouble reaches. @returns milliseconds for the item itself, undefined: it keeps its place. */
  #delay(
    lane: LaneState,
    hold: RouteHold,
    status: Delayed,
    tries: Pick<Tries, 'own'>,
    startedAt: number,
  ): number | undefined {
    const steady = this.#steady();
    if (status.throttled === true) this.#onLane(lane, (known) => known.throttled(steady, startedAt));
    switch (status.reach) {
      case 'transport': {
        const why = {
          cause: status.cause,
          reason: status.reason ?? status.text,
          misconfigured: status.code === MISCONFIGURED,
          ofAccount: status.ofAccount === true,
          ...(status.retryAfter === undefined ? {} : { retryAfter: status.retryAfter }),
        };
        const isMoved = this.#onRoute(lane.route, hold, (known) => known.hold(steady, startedAt, lane.mailbox, why));
        if (isMoved) this.#reportHeld(lane.route, hold);
        return undefined;
      }
      case 'mailbox': {
        const wait = status.retryAfter ?? LANE_WAIT;
        this.#answered(lane, hold, startedAt);
        // Throttling has its own way to go on: fewer at a time.
        if (status.throttled !== true) lane.behind = true;
        const isMendable = status.code === MISCONFIGURED;
        if (this.#onLane(lane, (known) => known.hold(steady + wait, isMendable))) {
          this.#options.report({
            event: 'lane.held',
            route: lane.route,
            mailbox: lane.mailbox,
            cause: status.cause,
            until: this.#now() + wait,
            throttled: status.throttled === true,
          });
        }
        return undefined;
      }
      case 'message':
        return status.retryAfter ?? waitAfter(this.#options.schedule, tries.own, this.#random());
      default:
        return unreachable(status.reach);
    }
  }

  #reportHeld(route: string, { held }: RouteHold, where?: 'elsewhere'): void {
    if (held === undefined) return;
    const { cause, reason, misconfigured } = held.why;
    const until = this.#now() + held.until - this.#steady();
    const found = where === undefined ? {} : { elsewhere: true as const };
    this.#options.report({ event: 'route.held', route, cause, reason, misconfigured, until, ...found });
  }

  // --- what other gateways know too ------------------------------------------------------------------------------

  #onLane<Result>(lane: LaneState, change: (pace: Pace) => Result): Result {
    const { route, mailbox, pace } = lane;
    return this.#accord.change<Pace, Result>(
      { route, mailbox },
      {
        copy: pace,
        blank: () => this.#newPace(lane),
        change,
        learnt: (state) => pace.learn(state as PaceState | undefined),
      },
    );
  }

  #onRoute<Result>(route: string, hold: RouteHold, change: (hold: RouteHold) => Result): Result {
    return this.#accord.change<RouteHold, Result>(
      { route },
      {
        copy: hold,
        blank: () => new RouteHold(),
        change,
        learnt: (state) => this.#learnRoute(route, hold, state),
      },
    );
  }

  #probeEnded({ route }: LaneState, hold: RouteHold): void {
    if (hold.isFresh) return hold.probeEnded();
    this.#onRoute(route, hold, (known) => known.probeEnded());
  }

  #succeeded(lane: LaneState): void {
    if (lane.pace.isThrottled) this.#onLane(lane, (known) => known.succeeded());
  }

  /** What another gateway has found out. */
  #learn({ route, mailbox }: Subject, state: Json | undefined): void {
    if (this.#accord.isAhead(mailbox === undefined ? { route } : { route, mailbox })) return;
    if (mailbox !== undefined) {
      this.#lanes.get(keyOf({ route, mailbox }))?.pace.learn(state as PaceState | undefined);
      return;
    }
    const hold = this.#holds.get(route);
    if (hold !== undefined) this.#learnRoute(route, hold, state);
  }

  /** Tells of a hold that another gateway began, moved or ended. */
  #learnRoute(route: string, hold: RouteHold, state: Json | undefined): void {
    const before = hold.held;
    hold.learn(state as HoldState | undefined);
    const { held } = hold;
    if (held !== undefined && before?.until !== held.until) this.#reportHeld(route, hold, 'elsewhere');
    if (held === undefined && before !== undefined) this.#released(route, this.#steady() - before.since);
  }

  /** The route answered: whatever it said, it is not down. */
  #answered(lane: LaneState, hold: RouteHold, startedAt: number): void {
    if (hold.held === undefined) return;
    const steady = this.#steady();
    const held = this.#onRoute(lane.route, hold, (known) => known.release(steady, startedAt, lane.mailbox));
    if (held !== undefined) this.#released(lane.route, held);
  }

  #released(route: string, held: number): void {
    for (const one of this.#lanes.values()) if (one.route === route) one.behind = true;
    this.#options.report({ event: 'route.released', route, seconds: held / 1000 });
  }

  /** It ends, and its sender is told where that is wanted. */
  async #finish(item: QueueItem, status: Relayed, isFinished: boolean, report: () => void): Promise<void> {
    const notice = await this.#options.bouncer?.relayed(item, status, isFinished);
    const isOver = isFinished || notice?.told === true;
    if (isOver || (await this.#write(() => this.#options.spool.finish(item.id, status)))) report();
    if (notice?.told !== true) return;
    this.#options.report({ event: 'delivery.notified', ...this.#toldOf(item, status, notice) });
    this.arrived(notice.item);
  }

  /** Its sender is told and it ends, or it is parked. */
  async #giveUp(item: QueueItem, status: DeliveryStatus, why: string): Promise<void> {
    if (item.tells !== undefined) return this.#park(item, status, why);
    const notice = await this.#options.bouncer?.bounce(item, status, why === EXPIRED);
    if (notice?.told === true) {
      this.#options.report({ event: 'delivery.bounced', ...this.#toldOf(item, status, notice), why });
      return this.arrived(notice.item);
    }
    if (notice === undefined) return this.#park(item, status, why);
    const untold = `its sender was not told: ${notice.why}`;
    const reason = status.reason === undefined ? untold : `${status.reason}; ${untold}`;
    return this.#park(item, { ...status, reason }, `${why}; ${untold}`);
  }

  async #warn(item: QueueItem, status: DeliveryStatus): Promise<void> {
    const { bouncer, warnAfter = Infinity, schedule, report } = this.#options;
    const age = this.#now() - item.arrivedAt;
    if (bouncer === undefined || age < warnAfter) return;
    const notice = await bouncer.warn(item, status, item.arrivedAt + schedule.giveUpAfter);
    if (!notice.told) return;
    report({ event: 'delivery.warned', ...this.#toldOf(item, status, notice), age: age / 1000 });
    this.arrived(notice.item);
  }

  #toldOf(item: QueueItem, status: DeliveryStatus, notice: Extract<Notice, { told: true }>) {
    const { id, messageId, route, mailbox } = item;
    const { to, recipients } = notice;
    return { id, messageId, route, mailbox, status, to, recipients, notice: notice.item.id } as const;
  }

  /** Of a notice, what it tells of is parked: that is what an operator has to see to. */
  async #park(item: QueueItem, status: DeliveryStatus, why: string): Promise<void> {
    const { spool, report } = this.#options;
    const noted = item.tells === undefined ? status : { ...status, reason: `${why}: ${status.reason ?? status.text}` };
    let told: QueueItem | undefined;
    const isWritten = await this.#write(async () => {
      told = await spool.park(item.id, noted);
    });
    if (!isWritten) return;
    const { id, messageId, route, mailbox, lastStatus = noted } = told ?? { ...item, lastStatus: noted };
    const reason = told === undefined ? why : `its sender could not be told: notice ${item.id}: ${why}`;
    report({ event: 'item.parked', id, messageId, route, mailbox, why: reason, status: lastStatus });
  }

  // --- a store in trouble ----------------------------------------------------------------------------------------

  /**
   * Asks the store again and again while it is in trouble. False: the gateway stopped before it could answer, or the
   * store is damaged there; the next start finds the item as sending and looks before it sends again.
   */
  async #write(write: () => Promise<unknown>): Promise<boolean> {
    for (let tries = 0; ; tries++) {
      try {
        await write();
        return true;
      } catch (error) {
        // The spool has reported its trouble itself; anything else is a bug that would only happen again.
        if (!(error instanceof SpoolError)) throw error;
        const wait = STORE_WAITS[Math.min(tries, STORE_WAITS.length - 1)] ?? 0;
        // What the item's row stands on is lost. It must not keep a slot for ever.
        if (error.trouble === 'damaged' && tries >= DAMAGED_TRIES) return false;
        if (this.#stopped.signal.aborted || !(await this.#pause(wait))) return false;
      }
    }
  }

  /** @returns false when the queue stopped meanwhile */
  #pause(milliseconds: number, stopped = this.#stopped.signal): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (): void => {
        endTimer();
        stopped.removeEventListener('abort', end);
        resolve(!stopped.aborted);
      };
      const endTimer = this.#setTimer(end, milliseconds);
      stopped.addEventListener('abort', end, { once: true });
    });
  }

  #storeTrouble(error: unknown): void {
    // A SpoolError was reported by the spool; the loop comes back by itself.
    if (!(error instanceof SpoolError)) this.#options.report({ event: 'bug', where: 'queue', error: asError(error) });
    this.#stale = true;
    this.#storeRetryAt = this.#own() + STORE_RETRY;
  }
}

/** The steps of an attempt, kept in the item's history. What was begun in another mailbox says nothing of this one. */
function journalOf(spool: Spool, id: string, lease: Lease): Journal {
  return {
    last: async () => {
      const history = await spool.history(id);
      const here = history.slice(history.findLastIndex(({ what }) => what === 'moved') + 1);
      return here.findLast(({ what }) => what === 'step')?.detail;
    },
    async write(step) {
      lease.keep();
      await spool.note(id, { what: 'step', detail: step });
      lease.keep();
    },
  };
}

/** The octets, as long as they are ours to send: asked once more when the last of them is on its way. */
async function* whileOurs(octets: AsyncIterable<Uint8Array>, lease: Lease): AsyncGenerator<Uint8Array> {
  lease.keep();
  for await (const chunk of octets) {
    lease.keep();
    yield chunk;
  }
  lease.keep();
}

function laneFacts({ id, messageId, route, mailbox }: QueueItem) {
  return { id, messageId, route, mailbox } as const;
}

/** As the spool has it after a split. */
function withoutThose(item: QueueItem, parts: readonly { readonly part: QueueItem }[]): QueueItem {
  const gone = new Set(parts.flatMap(({ part }) => part.envelope.recipients.map(({ address }) => address)));
  if (gone.size === 0) return item;
  const recipients = item.envelope.recipients.filter(({ address }) => !gone.has(address));
  return { ...item, envelope: { ...item.envelope, recipients } };
}

/** What would concern everything on the route concerns this mailbox only. */
function ofMailbox(status: DeliveryStatus): DeliveryStatus {
  if (status.outcome !== 'delayed' || status.reach !== 'transport') return status;
  const wait = status.code === MISCONFIGURED ? LANE_MISCONFIGURED_WAIT : LANE_WAIT;
  return { ...status, reach: 'mailbox', retryAfter: status.retryAfter ?? wait };
}
