/**
 * What became of one delivery attempt: one value from the place of failure to the log, the retry and the bounce.
 * The class digit of the enhanced status code (RFC 3463) is part of the type, so a temporary failure cannot carry 5.x.x.
 * The public sentence may be shown to a sender; the private reason is for the operator's log only.
 */

export type SuccessCode = `2.${number}.${number}`;
export type TransientCode = `4.${number}.${number}`;
export type PermanentCode = `5.${number}.${number}`;
export type EnhancedCode = SuccessCode | TransientCode | PermanentCode;

/** How far a trouble reaches: only this message, everything of this sending mailbox, or everything on this route. */
export type Reach = 'message' | 'mailbox' | 'transport';

/** Code of a fault in our own configuration (RFC 3463 section 3.4): the route is held, mail is kept, the operator is told. */
export const MISCONFIGURED = '4.3.5' satisfies TransientCode;
/** Cause of the hold of a route that has mail and no transport. */
export const NO_ROUTE = 'NoSuchRoute';

interface Evidence {
  /** Stable word for logs and metrics: a ResponseCode, `HTTP 503`, `ECONNREFUSED`. Never holds an address. */
  readonly cause: string;
  /** Sentence that may reach the sender. */
  readonly text: string;
  /** What the operator should know or do; may be several lines. Never a secret, token or body. */
  readonly reason?: string;
  /** Ids to follow the message into the server's own trace. */
  readonly ids?: TraceIds;
  /**
   * Recipients for whom the attempt ended otherwise, where the server answers for each: the status is that of all others,
   * of whom there is at least one. Nobody stands in two of them.
   */
  readonly apart?: readonly Apart[];
}

/** Some recipients of an item, and what became of the attempt for them. */
export interface Apart {
  /** Addresses as the envelope has them. */
  readonly recipients: readonly string[];
  /** For them alone. */
  readonly status: Delayed | Failed;
}

export interface TraceIds {
  /** Our client-request-id. */
  readonly clientRequestId?: string;
  /** The server's request-id. */
  readonly requestId?: string;
  /** Front-end / back-end server names as the answer gave them. */
  readonly server?: string;
}

export interface Relayed extends Evidence {
  readonly outcome: 'relayed';
  readonly code: SuccessCode;
}

export interface Delayed extends Evidence {
  readonly outcome: 'delayed';
  readonly code: TransientCode;
  readonly reach: Reach;
  /** Milliseconds the server asked us to wait (Retry-After, BackOffMilliseconds); absent: our own schedule. */
  readonly retryAfter?: number;
  /** The server wants fewer parallel requests: lower the concurrency of what `reach` names. */
  readonly throttled?: boolean;
  /** It concerns the login, which all mailboxes of the route share: no mailbox is alone in it. Only with reach transport. */
  readonly ofAccount?: true;
  /** An unknown or internal error: temporary, but only for a capped number of tries, then parked. */
  readonly capped?: boolean;
}

export interface Failed extends Evidence {
  readonly outcome: 'failed';
  readonly code: PermanentCode;
}

/** The request was fully sent and no usable answer came: it may or may not have been acted on. */
export interface Unknown extends Evidence {
  readonly outcome: 'unknown';
  readonly code: TransientCode;
  /** Milliseconds the server asked us to wait before we ask anything of it. */
  readonly retryAfter?: number;
}

export type DeliveryStatus = Relayed | Delayed | Failed | Unknown;

/** The answer to "did the attempt of unknown outcome go through?". */
export type Verification =
  | Relayed
  /** Looked and did not find it: it may be sent again. `certain`: there is proof that it was not sent, such as its draft. */
  | { readonly outcome: 'absent'; readonly certain?: string }
  /** Could not look now; look again later. */
  | Delayed
  /** No evidence exists anywhere (for example SendOnly); what happened cannot be known. */
  | { readonly outcome: 'unknowable'; readonly reason: string };

/** For the end of a switch over a closed union: the compiler proves that every arm is handled. */
export function unreachable(value: never): never {
  throw new Error(`unhandled case: ${JSON.stringify(value)}`);
}
