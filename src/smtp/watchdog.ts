/**
 * Ends sessions that last too long: in all, over one command line, or over a message that only drips in. An idle time-out
 * does not see them, since every octet puts it off. One timer for a listener, whatever the number of sessions. Never
 * fails. Times are milliseconds of a clock that is never set back.
 */
import { Refused } from './reply.ts';

export interface Watched {
  /** Whether it is the client's turn: nothing is being answered or stored. */
  isWaiting(): boolean;
  /** Since when the session is there, and since when it waits for a command line. */
  readonly beganAt: number;
  readonly turnAt: number;
  /** Octets of the message that is coming in; undefined if none is, or if we hold the client up. */
  received(): number | undefined;
  expire(refused: Refused): void;
}

export interface TimeLimits {
  readonly sessionTimeout: number;
  readonly idleTimeout: number;
  /** Octets a second; 0: any. */
  readonly minDataRate: number;
  /** Over which the rate is averaged. */
  readonly rateWindow: number;
  readonly clock: () => number;
}

/** Looks within one window of the rate. */
const LOOKS = 6;
const SHORTEST = 20;
const LONGEST = 10_000;

interface Sample {
  readonly at: number;
  readonly octets: number;
}

export class Watchdog {
  readonly #limits: TimeLimits;
  readonly #sessions: Iterable<Watched>;
  readonly #samples = new WeakMap<Watched, Sample[]>();
  #timer: NodeJS.Timeout | undefined;

  constructor(sessions: Iterable<Watched>, limits: TimeLimits) {
    this.#sessions = sessions;
    this.#limits = limits;
  }

  start(): void {
    const { sessionTimeout, idleTimeout, rateWindow } = this.#limits;
    const interval = Math.min(sessionTimeout, idleTimeout, rateWindow) / LOOKS;
    this.#timer = setInterval(() => this.look(), Math.min(Math.max(interval, SHORTEST), LONGEST));
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  look(): void {
    const now = this.#limits.clock();
    for (const session of this.#sessions) {
      const refused = this.#judge(session, now);
      if (refused !== undefined) session.expire(refused);
    }
  }

  #judge(session: Watched, now: number): Refused | undefined {
    if (!session.isWaiting()) {
      this.#samples.delete(session);
      return undefined;
    }
    const { sessionTimeout, idleTimeout } = this.#limits;
    if (now - session.beganAt > sessionTimeout) {
      return new Refused('timeout', 421, '4.4.2', `The session has lasted ${seconds(sessionTimeout)}: connect again`);
    }
    const octets = session.received();
    if (octets === undefined) {
      this.#samples.delete(session);
      // The package's own time-out has seen silence; here is a line that does not end.
      if (now - session.turnAt <= idleTimeout + Math.min(idleTimeout, LONGEST)) return undefined;
      return new Refused('timeout', 421, '4.4.2', `No whole command line within ${seconds(idleTimeout)}`);
    }
    return this.#tooSlow(session, { at: now, octets });
  }

  #tooSlow(session: Watched, sample: Sample): Refused | undefined {
    const { minDataRate, rateWindow } = this.#limits;
    if (minDataRate === 0) return undefined;
    const before = this.#samples.get(session) ?? [];
    // Another message.
    if ((before.at(-1)?.octets ?? 0) > sample.octets) before.length = 0;
    before.push(sample);
    this.#samples.set(session, before);
    // The last one that is a whole window old is what to compare with.
    while ((before[1]?.at ?? Infinity) <= sample.at - rateWindow) before.shift();
    const [first = sample] = before;
    const span = sample.at - first.at;
    if (span < rateWindow || ((sample.octets - first.octets) * 1_000) / span >= minDataRate) return undefined;
    return new Refused('slow', 421, '4.4.2', `The message came in at less than ${minDataRate} octets a second`);
  }
}

const seconds = (milliseconds: number): string => `${Math.round(milliseconds / 100) / 10} s`;
