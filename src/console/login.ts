/**
 * Who may come in to the console: a name with its password, or the token. Promises: a wrong one is answered late, later
 * each time, and too many from one address ban it for a while; the answer tells neither by its words nor by its time what
 * was wrong; few are worked on at a time, so that guessing costs the gateway little. Every attempt is an event.
 */
import { setTimeout as wait } from 'node:timers/promises';
import type { Report } from '../mail/event.ts';
import { isSame } from './sessions.ts';

/** The name of the console in events of logins. */
export const CONSOLE = 'console';
/** Whoever came by the token: its name in history and log. */
export const TOKEN_USER = 'token';

/** Counts failures by client address. */
export interface Guard {
  /** Until when, epoch milliseconds; undefined: not banned. */
  banned(peer: string): number | undefined;
  failed(peer: string): { readonly delay: number; readonly failures: number; readonly bannedUntil?: number };
  succeeded(peer: string): void;
}

export interface LoginOptions {
  /** Right, and in a time that tells nothing. Absent: nobody logs in by name. */
  readonly isPassword?: (user: string, password: string) => Promise<boolean>;
  /** Undefined: there is none. */
  readonly token?: string;
  readonly guard: Guard;
  readonly report: Report;
  /** Waits for milliseconds. */
  readonly pause?: (milliseconds: number) => Promise<unknown>;
}

export type Outcome =
  | { readonly outcome: 'in'; readonly user: string }
  | { readonly outcome: 'wrong' }
  /** Until, epoch milliseconds. */
  | { readonly outcome: 'banned'; readonly until: number }
  /** Too many at the same time. */
  | { readonly outcome: 'busy' };

export interface Login {
  readonly hasUsers: boolean;
  readonly hasToken: boolean;
  byPassword(peer: string, user: string, password: string): Promise<Outcome>;
  /** @param isTold false: a success is no event; for a program that asks often, and whose orders are events */
  byToken(peer: string, token: string, isTold?: boolean): Promise<Outcome>;
}

/** Attempts worked on, those that are held back included: in all, and of one address. */
const MOST = 24;
const MOST_OF_ONE = 4;
/** Milliseconds; beyond it the connection would be taken for dead. */
const LONGEST_DELAY = 8_000;
/** Characters of a name or password: no reason to work on more. */
const LONGEST = 1_024;

export function createLogin(options: LoginOptions): Login {
  const { isPassword, token, guard, report, pause = wait } = options;
  const busy = new Map<string, number>();
  let all = 0;

  const attempt = async (
    peer: string,
    user: string,
    mechanism: string,
    isRight: () => Promise<boolean>,
    isTold = true,
  ): Promise<Outcome> => {
    const until = guard.banned(peer);
    if (until !== undefined) return { outcome: 'banned', until };
    const mine = busy.get(peer) ?? 0;
    if (all >= MOST || mine >= MOST_OF_ONE) return { outcome: 'busy' };
    all++;
    busy.set(peer, mine + 1);
    try {
      const about = { listener: CONSOLE, peer, user, mechanism };
      if (await isRight()) {
        guard.succeeded(peer);
        if (isTold) report({ event: 'auth.succeeded', ...about });
        return { outcome: 'in', user };
      }
      report({ event: 'auth.failed', ...about });
      const { delay, failures, bannedUntil } = guard.failed(peer);
      if (bannedUntil !== undefined)
        report({ event: 'auth.banned', listener: CONSOLE, peer, until: bannedUntil, failures });
      await pause(Math.min(delay * failures, LONGEST_DELAY));
      return { outcome: 'wrong' };
    } finally {
      all--;
      const left = (busy.get(peer) ?? 1) - 1;
      if (left > 0) busy.set(peer, left);
      else busy.delete(peer);
    }
  };

  return {
    hasUsers: isPassword !== undefined,
    hasToken: token !== undefined,
    byPassword: (peer, user, password) =>
      attempt(peer, user, 'password', async () => {
        if (isPassword === undefined || user.length > LONGEST || password.length > LONGEST) return false;
        return await isPassword(user, password);
      }),
    byToken: (peer, given, isTold) =>
      attempt(peer, TOKEN_USER, 'token', async () => token !== undefined && isSame(given, token), isTold),
  };
}
