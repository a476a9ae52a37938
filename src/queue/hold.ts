/**
 * The hold on a route whose trouble concerns everything on it: the transport is down, or our own configuration is wrong.
 * While it lasts nothing starts but one probe at a time, at growing intervals; the first attempt that shows the route
 * works again lifts it.
 *
 * What looks like the route's trouble may be one mailbox's own: EWS closed to it alone, its server down. A mailbox that
 * was refused while another one got through is marked: what it meets from then on is its own until it gets through
 * itself, so that it does not hold up the others again and again. Mailboxes that were not tried yet are tried first, and
 * while a single one was refused, after the shortest interval. Times in milliseconds of a clock that is never set back.
 */

/** Intervals between probes, milliseconds: an outage is looked at often, a misconfiguration needs a person first. */
const SHORTEST_HOLD = 1_000;
const OUTAGE = [1_000, 2_000, 5_000, 10_000, 20_000, 30_000];
const MISCONFIGURATION = [60_000, 120_000, 300_000, 600_000, 1_800_000];

export type HoldCause = {
  readonly cause: string;
  readonly reason: string;
  readonly misconfigured: boolean;
  /** It is the login's, which all mailboxes share: none can be alone in it. */
  readonly ofAccount?: boolean;
  /** The wait that the server asked for, milliseconds. */
  readonly retryAfter?: number;
};

/** What there is to know of a route, as plain data; what is absent is as in a new one. */
export type HoldState = {
  readonly held?: Held;
  /** Another probe may start when this one is so old. */
  readonly probingUntil?: number;
  readonly refused?: readonly string[];
  readonly alone?: readonly string[];
};

type Held = {
  since: number;
  until: number;
  untriedUntil: number;
  probes: number;
  why: HoldCause;
};

export class RouteHold {
  #held: Held | undefined;
  /** A probe is under way, which is waited for until then. */
  #probingUntil = -Infinity;
  /** Mailboxes refused since the hold began. */
  readonly #refused = new Set<string>();
  /** Mailboxes refused while another one got through. */
  readonly #alone = new Set<string>();

  /** Whether it knows nothing that a new one would not. */
  get isFresh(): boolean {
    return this.#held === undefined && this.#refused.size === 0 && this.#alone.size === 0;
  }

  /** @returns undefined: nothing that a new one would not know */
  state(now: number): HoldState | undefined {
    const state: HoldState = {
      ...(this.#held !== undefined && { held: { ...this.#held } }),
      ...(this.#held !== undefined && this.#probingUntil > now && { probingUntil: this.#probingUntil }),
      ...(this.#refused.size > 0 && { refused: [...this.#refused] }),
      ...(this.#alone.size > 0 && { alone: [...this.#alone] }),
    };
    return Object.keys(state).length === 0 ? undefined : state;
  }

  /** What all gateways know takes the place of what this one did. */
  learn({ held, probingUntil = -Infinity, refused = [], alone = [] }: HoldState = {}): void {
    this.#held = held === undefined ? undefined : { ...held };
    this.#probingUntil = probingUntil;
    for (const [known, told] of [
      [this.#refused, refused],
      [this.#alone, alone],
    ] as const) {
      known.clear();
      for (const mailbox of told) known.add(mailbox);
    }
  }

  get held(): { readonly since: number; readonly until: number; readonly why: HoldCause } | undefined {
    return this.#held;
  }

  /** How many attempts may start: no limit, one probe, or none. */
  allows(now: number, mailbox: string): number {
    if (this.#held === undefined) return Infinity;
    return now < this.nextProbe(mailbox, now) ? 0 : 1;
  }

  /**
   * When the next probe may start by this mailbox; 0 without a hold. While one is under way: when it is no longer waited
   * for, which is Infinity but for one of another gateway.
   */
  nextProbe(mailbox: string, now: number): number {
    if (this.#held === undefined) return 0;
    if (this.#probingUntil > now) return this.#probingUntil;
    const isOdd = this.#refused.size === 1 && !this.#refused.has(mailbox);
    return isOdd ? this.#held.untriedUntil : this.#held.until;
  }

  /** Somebody says that the configuration is right now: the next probe may start at once. */
  mended(now: number): void {
    this.#alone.clear();
    if (this.#held?.why.misconfigured !== true) return;
    this.#held.until = Math.min(this.#held.until, now);
    this.#held.untriedUntil = Math.min(this.#held.untriedUntil, now);
  }

  /** Whether this mailbox was refused since the hold began. */
  wasRefused(mailbox: string): boolean {
    return this.#refused.has(mailbox);
  }

  /** Whether trouble with the route that this mailbox meets now is its own. */
  isAlone(mailbox: string): boolean {
    return this.#held === undefined && this.#alone.has(mailbox);
  }

  /** Whether the mailbox was refused while another one got through, and has not got through itself since. */
  isMarked(mailbox: string): boolean {
    return this.#alone.has(mailbox);
  }

  /** A message of this mailbox got through. */
  gotThrough(mailbox: string): void {
    this.#alone.delete(mailbox);
  }

  /** An attempt starts. @param until how long it is waited for, if it is the probe. True: it is */
  started(until = Infinity): boolean {
    if (this.#held === undefined) return false;
    this.#probingUntil = until;
    return true;
  }

  /** An attempt that was the probe has ended, whatever came of it. */
  probeEnded(): void {
    this.#probingUntil = -Infinity;
  }

  /**
   * Trouble with the whole route. `startedAt`: when the attempt that saw it began; attempts that were under way when
   * the hold began confirm it but do not make the interval grow.
   * @returns true when the hold is new or its end has moved
   */
  hold(now: number, startedAt: number, mailbox: string, why: HoldCause): boolean {
    if (why.ofAccount !== true) this.#refused.add(mailbox);
    const intervals = why.misconfigured ? MISCONFIGURATION : OUTAGE;
    if (this.#held !== undefined && startedAt <= this.#held.since) {
      if (why.retryAfter === undefined || now + why.retryAfter <= this.#held.until) return false;
      this.#held.until = now + why.retryAfter;
      this.#held.untriedUntil = this.#held.until;
      return true;
    }
    const probes =
      this.#held === undefined || this.#held.why.misconfigured !== why.misconfigured ? 0 : this.#held.probes + 1;
    const after = (number: number): number =>
      now + Math.max(SHORTEST_HOLD, why.retryAfter ?? intervals[Math.min(number, intervals.length - 1)] ?? 0);
    this.#held = { since: this.#held?.since ?? now, until: after(probes), untriedUntil: after(0), probes, why };
    return true;
  }

  /**
   * A probe got no answer at all: the route is held on, for the same cause.
   * @returns true when the end of the hold has moved
   */
  unanswered(now: number, startedAt: number, mailbox: string): boolean {
    if (this.#held === undefined) return false;
    const { cause, reason, misconfigured, ofAccount = false } = this.#held.why;
    return this.hold(now, startedAt, mailbox, { cause, reason, misconfigured, ofAccount });
  }

  /**
   * The route answered an attempt of this mailbox that began at `startedAt`. One that began before the hold proves nothing.
   * @returns milliseconds it was held, undefined if it was not or still is
   */
  release(now: number, startedAt: number, mailbox: string): number | undefined {
    if (this.#held === undefined || startedAt <= this.#held.since) return undefined;
    const held = now - this.#held.since;
    for (const other of this.#refused) if (other !== mailbox) this.#alone.add(other);
    this.#refused.clear();
    this.#held = undefined;
    return held;
  }
}
