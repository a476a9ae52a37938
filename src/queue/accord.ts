/**
 * What several gateways know together of lanes (Pace) and routes (RouteHold). Each has a copy in RAM: it changes the copy at
 * once and has the same change made to what all know; what others change takes the copy's place. A claim goes by what all
 * know (see Gate); the copy only tells when a claim is worth its while. With one gateway the copy is all there is.
 *
 * Never rejects: `write` comes back to a store in trouble until it works or the queue ends, and a change that is late is
 * one that others find out by themselves.
 */
import type { Cluster, Json, Subject } from '../mail/cluster.ts';

export interface Known {
  state(now: number): Json | undefined;
  learn(state: Json | undefined): void;
}

export interface AccordOptions {
  readonly cluster: Cluster | undefined;
  /** Has it done sooner or later. @returns false: it was given up */
  readonly write: (work: () => Promise<void>) => Promise<boolean>;
  /** Told of what should not have been thrown. */
  readonly failed: (error: unknown) => void;
}

/** Milliseconds by which a clock may go back without anybody caring. */
export const SET_BACK = 1_000;

export class Accord {
  readonly #options: AccordOptions;
  /** Changes under way, which a copy is ahead of; by subject. They are made one after the other. */
  readonly #under = new Map<string, { count: number; last: Promise<void>; isMissed: boolean }>();

  constructor(options: AccordOptions) {
    this.#options = options;
  }

  /**
   * @param copy what this gateway knows
   * @param blank one that knows nothing
   * @param change pure but for what it does to what it is given
   * @param learnt told when what all know is known here
   * @returns what the change to the copy came to
   */
  change<Thing, Result>(
    subject: Subject,
    {
      copy,
      blank,
      change,
      learnt,
    }: {
      readonly copy: Thing & Known;
      readonly blank: () => Thing & Known;
      readonly change: (known: Thing) => Result;
      readonly learnt: (state: Json | undefined) => void;
    },
  ): Result {
    const result = change(copy);
    const { cluster, write, failed } = this.#options;
    if (cluster === undefined) return result;
    const key = keyOf(subject);
    const madeAt = cluster.now();
    const under = this.#under.get(key) ?? { count: 0, last: Promise.resolve(), isMissed: false };
    this.#under.set(key, under);
    under.count++;
    under.last = under.last.then(async () => {
      let state: Json | undefined;
      let isWritten = false;
      const ask = async (made: (before: Json | undefined) => Json | undefined): Promise<void> => {
        isWritten = await write(async () => {
          state = await cluster.change(subject, made);
        });
      };
      try {
        await ask((before) => {
          // It is about times of a clock that is no more (a server that took over and is behind).
          if (cluster.now() < madeAt - SET_BACK) return before;
          const known = blank();
          known.learn(before);
          change(known);
          return known.state(cluster.now());
        });
        // What came while the copy was ahead was passed over: it is asked for.
        if (under.count === 1 && under.isMissed) await ask((now) => now);
      } catch (error) {
        failed(error);
      }
      if (--under.count > 0) return;
      this.#under.delete(key);
      if (isWritten) learnt(state);
    });
    return result;
  }

  /** Whether the copy is ahead of what all know: then what comes from there may be old, and is asked for when it no longer is. */
  isAhead(subject: Subject): boolean {
    const under = this.#under.get(keyOf(subject));
    if (under !== undefined) under.isMissed = true;
    return under !== undefined;
  }

  /** Resolves when the changes that are under way are made. */
  async settled(): Promise<void> {
    await Promise.all([...this.#under.values()].map(({ last }) => last));
  }
}

/** Of a lane, or of a route: neither part holds a line break. */
export function keyOf({ route, mailbox }: Subject): string {
  return mailbox === undefined ? route : `${route}\n${mailbox}`;
}
