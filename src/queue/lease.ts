/**
 * The lease of an item that is being sent: renewed while the attempt lasts, and watched where another gateway may take the
 * item over when it ends. How long it is surely ours is told by the clocks of this machine alone, counted from before the
 * store was asked. So a process that was stopped, or is cut off from the store, finds out before it goes on: by both clocks,
 * because the steady one of some systems stands still while they sleep. Never throws but where it says so.
 */
import type { SpoolId } from '../mail/item.ts';
import { SpoolError } from '../mail/spool.ts';
import type { SetTimer } from '../mail/timer.ts';

/** When something was asked for. */
export interface Moment {
  /** Milliseconds since any moment, never set back. */
  readonly steady: number;
  /** Epoch milliseconds. */
  readonly wall: number;
}

export const thisMoment = (): Moment => ({ steady: performance.now(), wall: Date.now() });

export interface LeaseOptions {
  readonly item: SpoolId;
  /** Milliseconds. */
  readonly length: number;
  /** Before it was asked for. */
  readonly since: Moment;
  /** Others may take the item when the lease is over; else it is ours whatever the clocks say. */
  readonly isShared: boolean;
  /** False: it is another's. */
  readonly renew: () => Promise<boolean>;
  /** Told once: nothing may be sent or written any more. */
  readonly onLost: () => void;
  readonly setTimer: SetTimer;
}

/** Milliseconds between looks at the clocks. */
const LOOK = 500;

export class Lease {
  readonly #options: LeaseOptions;
  #since: Moment;
  #isLost = false;
  readonly #ends: (() => void)[] = [];

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#since = options.since;
    this.#repeat(() => this.#renew(), options.length / 3);
    if (options.isShared) this.#repeat(() => this.#look(), LOOK);
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  /** @throws SpoolError when the item is no longer ours: asked right before anything that counts */
  keep(): void {
    this.#look();
    if (this.#isLost)
      throw new SpoolError('io', `Message ${this.#options.item} is no longer ours to send: its lease is over`);
  }

  end(): void {
    for (const end of this.#ends) end();
  }

  #renew(): void {
    const asked = thisMoment();
    this.#options.renew().then(
      (isOurs) => {
        if (isOurs) this.#since = asked;
        else this.#lose();
      },
      // The next renewal, or the write of the outcome, meets the same trouble.
      () => this.#look(),
    );
  }

  #look(): void {
    const { isShared, length } = this.#options;
    const { steady, wall } = thisMoment();
    if (isShared && Math.max(steady - this.#since.steady, wall - this.#since.wall) >= length) this.#lose();
  }

  #lose(): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.end();
    this.#options.onLost();
  }

  #repeat(work: () => void, milliseconds: number): void {
    const place = this.#ends.length;
    const again = (): void => {
      this.#ends[place] = this.#options.setTimer(again, milliseconds);
      work();
    };
    this.#ends.push(this.#options.setTimer(again, milliseconds));
  }
}
