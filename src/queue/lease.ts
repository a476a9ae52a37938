/**
 * How long an item that is being sent is surely ours, told by the clocks of this machine alone: counted from before the
 * store was asked. A process that was stopped, or cut off from the store, finds out here before it goes on; by both
 * clocks, because the steady one of some systems stands still while they sleep.
 */

export interface LeaseClocks {
  /** Milliseconds since any moment, never set back. */
  readonly steady: () => number;
  /** Epoch milliseconds. */
  readonly wall: () => number;
}

export class Lease {
  readonly #clocks: LeaseClocks;
  readonly #length: number;
  #steady: number;
  #wall: number;

  /** @param length milliseconds; made before the store is asked for the item */
  constructor(length: number, clocks: LeaseClocks) {
    this.#clocks = clocks;
    this.#length = length;
    this.#steady = clocks.steady();
    this.#wall = clocks.wall();
  }

  /** For another item of the same claim. */
  copy(): Lease {
    const copy = new Lease(this.#length, this.#clocks);
    [copy.#steady, copy.#wall] = [this.#steady, this.#wall];
    return copy;
  }

  get isOver(): boolean {
    const { steady, wall } = this.#clocks;
    return Math.max(steady() - this.#steady, wall() - this.#wall) >= this.#length;
  }

  /** Called before the store is asked to keep it; what is returned, when the store has said that it is kept. */
  renewing(): () => void {
    const [steady, wall] = [this.#clocks.steady(), this.#clocks.wall()];
    return () => {
      this.#steady = Math.max(this.#steady, steady);
      this.#wall = wall;
    };
  }
}
