/** How many items wait: of all gateways at the last look, and what this one has added since. Pure. */

export class Waiting {
  #ours = 0;
  #others = 0;

  /** What this one has added. */
  get ours(): number {
    return this.#ours;
  }

  /** @param ours when the count was asked for */
  count(items: number, ours = this.#ours): void {
    this.#others = items - ours;
  }

  add(items: number): void {
    this.#ours += items;
  }

  get items(): number {
    return this.#others + this.#ours;
  }
}
