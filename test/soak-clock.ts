/**
 * Simulated time for the soak. It stands still while anything real is under way (`during`), and jumps to the next timer
 * when nothing is. Two clocks, as a machine has them: steady, which neither is set nor runs in suspension, and wall time.
 */
import type { SetTimer } from '../src/mail/timer.ts';

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly call: () => void;
}

/** Turns of the event loop without anything under way after which nothing will come of itself any more. */
const QUIET_TURNS = 3;

export class SoakClock {
  readonly #start: number;
  #steady = 0;
  /** What the wall clock is wrong by, and how long the machine has been suspended; milliseconds. */
  #wrongBy = 0;
  #suspended = 0;
  #order = 0;
  #busy = 0;
  /** A heap, next first. */
  readonly #timers: Timer[] = [];
  readonly #ended = new WeakSet<Timer>();

  constructor(start: number) {
    this.#start = start;
  }

  readonly steady = (): number => this.#steady;
  /** What this machine believes, epoch milliseconds. */
  readonly now = (): number => Math.round(this.truth() + this.#wrongBy);
  /** What everybody else knows. */
  readonly truth = (): number => this.#start + this.#steady + this.#suspended;

  readonly setTimer: SetTimer = (then, milliseconds) => {
    const timer = { at: this.#steady + Math.max(0, milliseconds), order: this.#order++, call: then };
    this.#push(timer);
    return () => void this.#ended.add(timer);
  };

  sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => void this.setTimer(resolve, milliseconds));
  }

  /** The clock is set, by a person or a time server. */
  set(by: number): void {
    this.#wrongBy += by;
  }

  suspend(milliseconds: number): void {
    this.#suspended += milliseconds;
  }

  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#busy++;
    try {
      return await work();
    } finally {
      this.#busy--;
    }
  }

  /** Every method of it that returns a promise, and every piece of what can be read from it, is something under way. */
  watched<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (_target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return (...given: unknown[]): unknown => {
          const result: unknown = Reflect.apply(value, target, given);
          if (result instanceof Promise) return this.during(() => result);
          if (typeof result !== 'object' || result === null || Array.isArray(result)) return result;
          return Symbol.asyncIterator in result ? this.#pieces(result as AsyncIterable<unknown>) : this.watched(result);
        };
      },
    });
  }

  async *#pieces(source: AsyncIterable<unknown>): AsyncGenerator<unknown> {
    const pieces = source[Symbol.asyncIterator]();
    try {
      for (;;) {
        const piece = await this.during(() => Promise.resolve(pieces.next()));
        if (piece.done === true) return;
        yield piece.value;
      }
    } finally {
      await pieces.return?.();
    }
  }

  /** Lets time pass until `isOver`. */
  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await this.#quiet();
      const next = this.#pop();
      if (next === undefined) throw new Error('nothing will ever happen again');
      if (this.#ended.has(next)) continue;
      this.#steady = Math.max(this.#steady, next.at);
      next.call();
    }
  }

  async #quiet(): Promise<void> {
    for (let turns = 0; turns < QUIET_TURNS; turns = this.#busy === 0 ? turns + 1 : 0)
      await new Promise((resolve) => void setImmediate(resolve));
  }

  #push(timer: Timer): void {
    const heap = this.#timers;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!isBefore(heap[at], heap[above])) return;
      swap(heap, at, above);
      at = above;
    }
  }

  #pop(): Timer | undefined {
    const heap = this.#timers;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    heap[0] = last;
    for (let at = 0; ;) {
      let least = at;
      for (const below of [2 * at + 1, 2 * at + 2]) if (isBefore(heap[below], heap[least])) least = below;
      if (least === at) return first;
      swap(heap, at, least);
      at = least;
    }
  }
}

function isBefore(one: Timer | undefined, other: Timer | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}

function swap(heap: Timer[], a: number, b: number): void {
  const [one, other] = [heap[a], heap[b]];
  if (one === undefined || other === undefined) return;
  heap[a] = other;
  heap[b] = one;
}
