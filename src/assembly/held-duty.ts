/**
 * A duty (mail/cluster.ts) that this gateway has: kept until it is left, and over at once when it could not be kept for a
 * lease, or another gateway turns out to have it. Told by the clocks of this machine, counted from before the store was
 * asked: so it is over here before it can be anybody else's, and a process that was stopped finds out before it goes on; by
 * both clocks, because the steady one of some systems stands still while they sleep.
 *
 * takeDuty() rejects as the store does; nothing else here fails.
 */
import type { Cluster } from '../mail/cluster.ts';
import type { SetTimer } from '../mail/timer.ts';

export interface HeldDuty {
  /** Nobody else can have it. Asked before anything becomes durable in its name. */
  readonly isOurs: boolean;
  /** Aborts when it is over and was not left. */
  readonly over: AbortSignal;
  /** Lets the others have it. Also where it is over: only then may it be taken anew from here. */
  leave(): Promise<void>;
}

export interface DutyClocks {
  /** Milliseconds since any moment, never set back. */
  readonly steady: () => number;
  /** Epoch milliseconds. */
  readonly wall: () => number;
  readonly setTimer: SetTimer;
}

export const CLOCKS: DutyClocks = {
  steady: () => performance.now(),
  wall: Date.now,
  setTimer: (then, milliseconds) => {
    const timer = setTimeout(then, milliseconds);
    return () => clearTimeout(timer);
  },
};

/** Parts of a lease: how often it is kept, and how often tried again where that failed, or where another one has it. */
const KEEP = 3;
export const RETRY = 6;
/** Milliseconds by which a timer may be early. */
const EARLY = 5;

interface Moment {
  readonly steady: number;
  readonly wall: number;
}

/** @returns undefined: another gateway has it */
export async function takeDuty(
  cluster: Cluster,
  duty: string,
  clocks: DutyClocks = CLOCKS,
): Promise<HeldDuty | undefined> {
  const asked = momentOf(clocks);
  return (await cluster.hold(duty)) ? new Held(cluster, duty, clocks, asked) : undefined;
}

class Held implements HeldDuty {
  readonly #cluster: Cluster;
  readonly #duty: string;
  readonly #clocks: DutyClocks;
  readonly #over = new AbortController();
  /** When it was asked for last with success. */
  #since: Moment;
  #isLeft = false;
  #endKeeping: () => void = () => undefined;
  #endWatching: () => void = () => undefined;
  #asking: Promise<void> = Promise.resolve();

  constructor(cluster: Cluster, duty: string, clocks: DutyClocks, since: Moment) {
    this.#cluster = cluster;
    this.#duty = duty;
    this.#clocks = clocks;
    this.#since = since;
    this.#watch();
    if (this.isOurs) this.#keepIn(cluster.lease / KEEP);
  }

  get isOurs(): boolean {
    if (this.#left <= 0) this.#end();
    return !this.#isLeft && !this.#over.signal.aborted;
  }

  get over(): AbortSignal {
    return this.#over.signal;
  }

  async leave(): Promise<void> {
    this.#isLeft = true;
    this.#endKeeping();
    this.#endWatching();
    // One that arrives after this one would take it again.
    await this.#asking;
    // Without an answer it ends with its lease.
    await this.#cluster.leave(this.#duty).catch(() => undefined);
  }

  /** Milliseconds for which it is surely ours. */
  get #left(): number {
    const { steady, wall } = momentOf(this.#clocks);
    return this.#cluster.lease - Math.max(steady - this.#since.steady, wall - this.#since.wall);
  }

  #watch(): void {
    this.#endWatching();
    if (!this.isOurs) return;
    this.#endWatching = this.#clocks.setTimer(() => this.#watch(), Math.max(EARLY, this.#left));
  }

  #keepIn(milliseconds: number): void {
    this.#endKeeping = this.#clocks.setTimer(() => {
      this.#asking = this.#keep();
    }, milliseconds);
  }

  async #keep(): Promise<void> {
    const asked = momentOf(this.#clocks);
    let wait = this.#cluster.lease / KEEP;
    try {
      if (!(await this.#cluster.hold(this.#duty))) return this.#end();
      // An answer that comes too late changes nothing: what was over stays so.
      if (!this.isOurs) return;
      this.#since = asked;
      this.#watch();
    } catch {
      // The store reports its trouble itself.
      wait = this.#cluster.lease / RETRY;
    }
    if (this.isOurs) this.#keepIn(wait);
  }

  #end(): void {
    if (this.#isLeft || this.#over.signal.aborted) return;
    this.#endKeeping();
    this.#endWatching();
    this.#over.abort();
  }
}

function momentOf({ steady, wall }: DutyClocks): Moment {
  return { steady: steady(), wall: wall() };
}
