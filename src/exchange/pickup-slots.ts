/** How many may do something at a time; who waits longest is next. In memory; never fails. */
export class Slots {
  #free: number;
  readonly #queue: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async take(): Promise<Slot> {
    const slot = new Slot(
      () => this.#wait(),
      () => this.#next(),
    );
    await slot.again();
    return slot;
  }

  async #wait(): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#queue.push(resolve));
  }

  #next(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}

export class Slot {
  readonly #wait: () => Promise<void>;
  readonly #next: () => void;
  #isHeld = false;

  constructor(wait: () => Promise<void>, next: () => void) {
    this.#wait = wait;
    this.#next = next;
  }

  /** Lets the next one have it. Idempotent. */
  give(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#next();
  }

  /** Held once more, after those who wait already. */
  async again(): Promise<void> {
    if (this.#isHeld) return;
    await this.#wait();
    this.#isHeld = true;
  }
}
