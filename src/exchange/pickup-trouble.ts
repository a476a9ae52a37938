/**
 * Trouble with a mailbox that is picked up from, or with the way to it: how long to wait, and what the operator is told of
 * its beginning, its cause and its end. Never fails.
 */
import { SpoolError } from '../mail/spool.ts';
import type { Delayed, Failed } from '../mail/status.ts';
import { MISCONFIGURED } from '../mail/status.ts';
import type { PickupOptions } from './pickup-options.ts';

/** Of the n-th in a row, milliseconds. */
const WAITS = [5_000, 15_000, 30_000, 60_000, 300_000];
const MISCONFIGURED_WAIT = 300_000;
/** No server may silence a pickup for longer, nor have itself asked at once for ever, milliseconds. */
const MAX_WAIT = 3_600_000;
const MIN_WAIT = 1_000;

/** Ends a round: it concerns all that is there, not one item. */
export class RoundTrouble extends Error {
  readonly status: Delayed | Failed;
  constructor(status: Delayed | Failed) {
    super(status.reason ?? status.text);
    this.status = status;
  }
}

export function need<T extends object>(
  got: ({ readonly ok: true } & T) | { readonly ok: false; readonly status: Delayed | Failed },
): T {
  if (got.ok) return got;
  throw new RoundTrouble(got.status);
}

/** What the server asked for, else `own`, milliseconds. */
export function waitOf(status: Delayed | Failed, own: number): number {
  const told = status.outcome === 'delayed' ? status.retryAfter : undefined;
  return told === undefined ? own : Math.min(Math.max(told, MIN_WAIT), MAX_WAIT);
}

type TroubleOptions = Pick<PickupOptions, 'report' | 'name' | 'mailbox' | 'folder' | 'now'>;

export class PickupTrouble {
  readonly #options: TroubleOptions;
  readonly #steady: () => number;
  #present: { readonly since: number; readonly cause: string; readonly times: number } | undefined;

  constructor(options: TroubleOptions, steady: () => number) {
    this.#options = options;
    this.#steady = steady;
  }

  get lasts(): boolean {
    return this.#present !== undefined;
  }

  /** @param given milliseconds to wait, whatever it is. @returns milliseconds to wait */
  begin(status: Delayed | Failed, given?: number): number {
    const { report, name, mailbox, now } = this.#options;
    const { cause, reason, text } = status;
    const times = (this.#present?.times ?? 0) + 1;
    const misconfigured = status.outcome === 'failed' || status.code === MISCONFIGURED;
    const own = misconfigured ? MISCONFIGURED_WAIT : (WAITS[Math.min(times, WAITS.length) - 1] ?? 0);
    const wait = given ?? waitOf(status, own);
    if (this.#present?.cause !== cause) {
      const until = now() + wait;
      report({ event: 'pickup.failed', pickup: name, mailbox, cause, reason: reason ?? text, misconfigured, until });
    }
    this.#present = { since: this.#present?.since ?? this.#steady(), cause, times };
    return wait;
  }

  /** Another gateway picks up from the folder: told when that begins. @param other name of its machine */
  wait(other: string, cause: string): void {
    const { report, name, mailbox, folder } = this.#options;
    if (this.#present?.cause !== cause) report({ event: 'pickup.waiting', pickup: name, mailbox, folder, other });
    this.#present = { since: this.#present?.since ?? this.#steady(), cause, times: 0 };
  }

  end(): void {
    if (this.#present === undefined) return;
    const { report, name, mailbox } = this.#options;
    const seconds = (this.#steady() - this.#present.since) / 1000;
    this.#present = undefined;
    report({ event: 'pickup.recovered', pickup: name, mailbox, seconds });
  }
}

/** @returns undefined: a bug */
export function troubleOf(error: unknown): Delayed | Failed | undefined {
  if (error instanceof RoundTrouble) return error.status;
  if (!(error instanceof SpoolError)) return undefined;
  return { ...noRoom(error.message), cause: `spool ${error.trouble}` };
}

export function noRoom(reason: string): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.1',
    reach: 'transport',
    cause: 'spool full',
    text: 'The mail gateway cannot take more at the moment',
    reason,
  };
}

/** The round has to end: of several gateways, another may pick up by now. */
export const DUTY_OVER: Delayed = {
  outcome: 'delayed',
  code: '4.3.0',
  reach: 'mailbox',
  cause: 'duty over',
  text: 'Another mail gateway reads the mailbox',
  reason: 'Another gateway on the same spool may pick up from the folder by now',
};

export const ENDLESS: Delayed = {
  outcome: 'delayed',
  code: '4.3.0',
  reach: 'mailbox',
  cause: 'unusable answer',
  text: 'The mail server gave an unexpected answer',
  reason: 'The server lists what is in the folder in a way that leads nowhere',
};

export const BUG: Delayed = {
  outcome: 'delayed',
  code: '4.3.0',
  reach: 'mailbox',
  cause: 'internal error',
  text: 'The mail gateway had an internal error',
  reason: 'An internal error; the log\'s "bug" line has the details',
};
