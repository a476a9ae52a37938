/** What it means for a message that there is no login at the server, whatever the transport. Pure. */
import type { Delayed } from './status.ts';
import { MISCONFIGURED } from './status.ts';

/** Why there is none. Holds no secret, assertion or token. */
export interface NoLogin {
  /** Stable word for logs and metrics: `AADSTS7000215`, `invalid_client`, `HTTP 503`, `ENOTFOUND`, `TIMEOUT`. `ABORTED`: it was given up. */
  readonly cause: string;
  /** Waiting does not help, the configuration has to change (4.3.5). */
  readonly misconfigured: boolean;
  /** What happened and what to do. */
  readonly advice: string;
  /** Milliseconds the server asked to wait; absent: it said nothing. */
  readonly retryAfter?: number;
}

export function withoutLogin(failure: NoLogin): Delayed {
  const isAborted = failure.cause === 'ABORTED';
  return {
    outcome: 'delayed',
    code: failure.misconfigured ? MISCONFIGURED : '4.4.3',
    reach: isAborted ? 'message' : 'transport',
    cause: failure.cause,
    text: 'The mail gateway cannot log in at the mail server at the moment',
    reason: failure.advice,
    ...(isAborted ? {} : { ofAccount: true }),
    ...(failure.retryAfter === undefined ? {} : { retryAfter: failure.retryAfter }),
  };
}
