/**
 * How fast one lane (a sending mailbox on a route) may go: parallel attempts, starts per minute, and the waits that the
 * server told us or that trouble with the mailbox makes advisable. Pure bookkeeping; the clock comes in as `now`,
 * milliseconds, and is never set back. Nothing here fails.
 */

export interface PaceLimits {
  /** Parallel attempts, at least 1. */
  readonly concurrency: number;
  /** Attempts begun in any 60 seconds; Infinity: no limit. Exchange Online's own limit is 30 a mailbox. */
  readonly perMinute: number;
}

/** What there is to know of a lane beside its limits, as plain data; what is absent is as in a new one. */
export type PaceState = {
  /** Attempts begun in the last minute: when, and how many. */
  readonly starts?: readonly (readonly [at: number, count: number])[];
  readonly slots?: number;
  readonly streak?: number;
  readonly heldUntil?: number;
  readonly mendableUntil?: number;
  readonly throttledAt?: number;
  readonly changedAt?: number;
};

const MINUTE = 60_000;
/** Successes in a row after which a lane that was throttled may have one more slot. */
const RECOVERY = 10;
/** The same after so long without throttling, milliseconds: a lane with little mail must not stay slow for ever. */
const QUIET = 600_000;
/** Milliseconds to which times of starts are rounded up in a state, so that it stays small at any limit. */
const GRAIN = 500;
/** A hold that ends less than this later than the one before is the same hold, confirmed. */
const SAME_HOLD = 1_000;

export class Pace {
  #limits: PaceLimits;
  /** Starts of the last minute, oldest first; never longer than perMinute. */
  #starts: number[] = [];
  #slots: number;
  #inFlight = 0;
  #streak = 0;
  #heldUntil = -Infinity;
  /** What of the hold a person can end. */
  #mendableUntil = -Infinity;
  #throttledAt = -Infinity;
  /** Since when the slots are as many as they are. */
  #changedAt = -Infinity;

  constructor(limits: PaceLimits) {
    this.#limits = limits;
    this.#slots = limits.concurrency;
  }

  /** Other limits from now on. What throttling has taken stays taken. */
  use(limits: PaceLimits): void {
    const isFull = this.#slots === this.#limits.concurrency;
    this.#limits = limits;
    this.#slots = isFull ? limits.concurrency : Math.min(this.#slots, limits.concurrency);
  }

  /** @returns undefined: nothing that a new one would not know */
  state(now: number): PaceState | undefined {
    this.#forget(now);
    this.#recover(now);
    const isFull = this.#slots >= this.#limits.concurrency;
    const state: PaceState = {
      ...(this.#starts.length > 0 && { starts: inGrains(this.#starts) }),
      ...(!isFull && { slots: this.#slots, streak: this.#streak, throttledAt: this.#throttledAt }),
      ...(!isFull && this.#changedAt > -Infinity && { changedAt: this.#changedAt }),
      ...((this.#heldUntil > now || (!isFull && this.#heldUntil > -Infinity)) && { heldUntil: this.#heldUntil }),
      ...(this.#heldUntil > now && this.#mendableUntil > now && { mendableUntil: this.#mendableUntil }),
    };
    return Object.keys(state).length === 0 ? undefined : state;
  }

  /** What all gateways know takes the place of what this one did. */
  learn(state: PaceState = {}): void {
    const { concurrency } = this.#limits;
    const { starts = [], slots = concurrency, streak = 0 } = state;
    this.#starts = starts.flatMap(([at, count]) => Array.from({ length: count }, () => at));
    this.#slots = Math.max(1, Math.min(slots, concurrency));
    this.#streak = streak;
    this.#heldUntil = state.heldUntil ?? -Infinity;
    this.#mendableUntil = state.mendableUntil ?? -Infinity;
    this.#throttledAt = state.throttledAt ?? -Infinity;
    this.#changedAt = state.changedAt ?? -Infinity;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Parallel attempts allowed at present: lower than configured for a while after throttling. */
  get slots(): number {
    return this.#slots;
  }

  /** Fewer attempts than configured, for the time being. */
  get isThrottled(): boolean {
    return this.#slots < this.#limits.concurrency;
  }

  get heldUntil(): number {
    return this.#heldUntil;
  }

  /** How many attempts may start now. @param inFlight those of all gateways, where there are several */
  free(now: number, inFlight = this.#inFlight): number {
    if (now < this.#heldUntil) return 0;
    this.#recover(now);
    const slots = this.#slots - inFlight;
    if (this.#limits.perMinute === Infinity) return Math.max(0, slots);
    this.#forget(now);
    return Math.max(0, Math.min(slots, this.#limits.perMinute - this.#starts.length));
  }

  /** When an attempt may start at the earliest, as far as time alone decides (a slot comes free by an attempt's end). */
  nextFree(now: number): number {
    let at = this.#heldUntil;
    if (this.#limits.perMinute !== Infinity) {
      this.#forget(now);
      const oldest = this.#starts[0];
      if (oldest !== undefined && this.#starts.length >= this.#limits.perMinute) at = Math.max(at, oldest + MINUTE);
    }
    return at;
  }

  /** Whether it holds nothing that a new one would not: it may be forgotten. */
  isFresh(now: number): boolean {
    this.#forget(now);
    this.#recover(now);
    return (
      this.#inFlight === 0 &&
      this.#starts.length === 0 &&
      this.#heldUntil <= now &&
      this.#slots === this.#limits.concurrency
    );
  }

  started(now: number): void {
    this.#inFlight++;
    this.counted(now, 1);
  }

  /** So many attempts start now; where they run is not looked at. */
  counted(now: number, attempts: number): void {
    if (this.#limits.perMinute !== Infinity) for (let n = 0; n < attempts; n++) this.#starts.push(now);
  }

  /** An attempt that was counted starts here. */
  begun(): void {
    this.#inFlight++;
  }

  ended(): void {
    this.#inFlight--;
  }

  succeeded(): void {
    if (this.#slots >= this.#limits.concurrency) return;
    if (++this.#streak >= RECOVERY) {
      this.#streak = 0;
      this.#slots++;
    }
  }

  /**
   * The server asked for fewer parallel requests, in its answer to an attempt that began at `startedAt`. Attempts that
   * were under way together are often refused together: that is one step down, not one each.
   */
  throttled(now: number, startedAt: number): void {
    if (startedAt <= this.#throttledAt) return;
    this.#throttledAt = now;
    this.#changedAt = now;
    this.#streak = 0;
    this.#slots = Math.max(1, Math.floor(this.#slots / 2));
  }

  /**
   * No attempt before `until`; an earlier hold is never shortened by a later one.
   * @param mendable a person has to change something, and may say that it is done
   * @returns true when this is more than the confirmation of a hold
   */
  hold(until: number, mendable = false): boolean {
    const moved = until >= this.#heldUntil + SAME_HOLD;
    this.#heldUntil = Math.max(this.#heldUntil, until);
    if (mendable) this.#mendableUntil = this.#heldUntil;
    return moved;
  }

  /** Somebody says that what had to be changed is changed. A wait that the server told us goes on. */
  mended(now: number): void {
    if (this.#heldUntil === this.#mendableUntil) this.#heldUntil = Math.min(this.#heldUntil, now);
  }

  /** Time gives back what nothing uses; a wait that the server told us does not count. */
  #recover(now: number): void {
    while (this.#slots < this.#limits.concurrency) {
      const next = Math.max(this.#changedAt, this.#heldUntil) + QUIET;
      if (now < next) return;
      this.#changedAt = next;
      this.#slots++;
    }
  }

  #forget(now: number): void {
    for (let first = this.#starts[0]; first !== undefined && first <= now - MINUTE; first = this.#starts[0])
      this.#starts.shift();
  }
}

function inGrains(starts: readonly number[]): [number, number][] {
  const grains = new Map<number, number>();
  for (const at of starts) {
    const grain = Math.ceil(at / GRAIN) * GRAIN;
    grains.set(grain, (grains.get(grain) ?? 0) + 1);
  }
  return [...grains];
}
