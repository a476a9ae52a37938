/**
 * Orders of one kind that arrive while others are under way go to the database together: one statement, one transaction,
 * one wait for its disk. One that the database does not take fails alone. Rejects with what the run rejects with.
 */
import { PostgresError } from './postgres-trouble.ts';

/** @param next called when those behind may begin before this is over */
export type Run<Order, Result> = (orders: readonly Order[], next: () => void) => Promise<readonly Result[]>;

interface Waiting<Order, Result> {
  readonly order: Order;
  readonly octets: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

export interface GroupLimits {
  readonly count: number;
  readonly octets: number;
}

const LIMITS: GroupLimits = { count: 500, octets: 4 * 1024 * 1024 };

export class Group<Order, Result> {
  readonly #run: Run<Order, Result>;
  readonly #limits: GroupLimits;
  #waiting: Waiting<Order, Result>[] = [];
  #isUnderWay = false;

  constructor(run: Run<Order, Result>, limits = LIMITS) {
    this.#run = run;
    this.#limits = limits;
  }

  /** @param octets what it takes of the bound of a group */
  add(order: Order, octets = 0): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ order, octets, resolve, reject });
      // What else comes in this turn of the event loop goes along.
      if (!this.#isUnderWay && this.#waiting.length === 1) setImmediate(() => this.#begin());
    });
  }

  #begin(): void {
    if (this.#isUnderWay || this.#waiting.length === 0) return;
    this.#isUnderWay = true;
    let isOver = false;
    const next = (): void => {
      if (isOver) return;
      isOver = true;
      this.#isUnderWay = false;
      this.#begin();
    };
    void this.#try(this.#cut(), next).finally(next);
  }

  /** Those that go together now. */
  #cut(): readonly Waiting<Order, Result>[] {
    let octets = 0;
    let count = 0;
    for (const one of this.#waiting) {
      octets += one.octets;
      if (count > 0 && (octets > this.#limits.octets || count >= this.#limits.count)) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #try(together: readonly Waiting<Order, Result>[], next: () => void): Promise<void> {
    try {
      const results = await this.#run(
        together.map(({ order }) => order),
        next,
      );
      for (const [index, { resolve }] of together.entries()) resolve(results[index] as Result);
    } catch (error) {
      if (together.length > 1 && error instanceof PostgresError && error.meaning === 'order') {
        for (const one of together) await this.#try([one], () => undefined);
        return;
      }
      for (const { reject } of together) reject(error);
    }
  }
}
