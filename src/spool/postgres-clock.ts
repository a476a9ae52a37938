/**
 * The clock of the store, as far as it can be told from here: the server's, carried on by this machine's steady one between
 * looks. It never goes back, but when the server's was set back by more than a moment. Pure but for the steady clock.
 */

/** Milliseconds by which a clock may go back without anybody caring. */
export const SET_BACK = 1_000;

export class StoreClock {
  readonly #given: (() => number) | undefined;
  readonly #steady: () => number;
  /** What the server's clock is ahead of the steady one. */
  #offset = NaN;
  #latest = -Infinity;

  /** @param given used instead */
  constructor(given?: () => number, steady: () => number = () => performance.now()) {
    this.#given = given;
    this.#steady = steady;
  }

  /** Epoch milliseconds, whole. */
  now(): number {
    const now = Math.round(this.#given?.() ?? this.#steady() + this.#offset);
    this.#latest = now < this.#latest - SET_BACK ? now : Math.max(now, this.#latest);
    return this.#given === undefined ? this.#latest : now;
  }

  /** @param time the server's, told between `asked` and `answered` (steady) */
  learn({ time, asked, answered }: { readonly time: number; readonly asked: number; readonly answered: number }): void {
    const [least, most] = [time - answered, time - asked];
    // Within what this answer leaves open, nothing is gained by moving.
    // The first is behind the server's rather than ahead: others would take theirs for set back.
    this.#offset = Number.isNaN(this.#offset) ? least : Math.min(Math.max(this.#offset, least), most);
  }
}
