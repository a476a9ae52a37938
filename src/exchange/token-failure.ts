/** Why there is no login at Exchange, in words for the person who has to act. Holds no secret, assertion or token. */

export interface TokenFailure {
  readonly ok: false;
  /** Stable word for logs and metrics: `AADSTS7000215`, `invalid_client`, `HTTP 503`, `ENOTFOUND`, `TIMEOUT`, `ABORTED`. */
  readonly cause: string;
  readonly oauthError?: string;
  /** Waiting does not help, the configuration has to change (4.3.5). */
  readonly misconfigured: boolean;
  /** What happened and what to do. */
  readonly advice: string;
  /** Milliseconds the server asked to wait; absent: it said nothing. */
  readonly retryAfter?: number;
}
