/**
 * What a webhook's answer means, as a table by its status; and what it means that there is none. Only a 2xx acknowledges.
 * What the gateway's own settings are to blame for keeps the mail and holds the route; a receiver that says it will never
 * take this message ends it. Pure.
 */
import { printable } from './printable.ts';
import type { Delayed, DeliveryStatus, Failed, PermanentCode, Reach, TransientCode } from '../mail/status.ts';
import { MISCONFIGURED } from '../mail/status.ts';
import { cutShort } from '../mail/stored.ts';

interface Temporary {
  readonly code: TransientCode;
  readonly reach: Reach;
  readonly told: string;
  readonly throttled?: true;
  readonly capped?: true;
}

interface Permanent {
  readonly code: PermanentCode;
  readonly told: string;
}

type Meaning = Temporary | Permanent;

const delayed = (code: TransientCode, reach: Reach, told: string): Temporary => ({ code, reach, told });
const misconfigured = (told: string): Temporary => ({ code: MISCONFIGURED, reach: 'transport', told });
const failed = (code: PermanentCode, told: string): Permanent => ({ code, told });

/** The first row that names the status counts. */
const ROWS: readonly (readonly [first: number, last: number, meaning: Meaning])[] = [
  [300, 399, misconfigured('sends the request elsewhere; name the place it points to, redirects are not followed')],
  [400, 400, failed('5.6.0', 'could not understand the message or the request')],
  [401, 401, misconfigured('wants a login, or another one; check authorization')],
  [402, 402, misconfigured('wants to be paid')],
  [403, 403, misconfigured('does not allow it; check authorization and secret, and what the receiver allows')],
  [404, 405, misconfigured('takes no POST at this address; check url')],
  [407, 407, misconfigured('is behind a proxy that wants a login')],
  [408, 408, delayed('4.4.2', 'message', 'did not get the request in time')],
  // draft-ietf-httpapi-idempotency-key-header: the first request with this key is still being worked on.
  [409, 409, delayed('4.3.0', 'message', 'is still busy with this message, or has it in conflict with another')],
  [410, 410, misconfigured('says that this address is gone for good; name its successor in url')],
  [413, 413, failed('5.3.4', 'says that the message is too large')],
  [415, 415, misconfigured('does not take a request of this form; check form')],
  [421, 421, misconfigured('is not the one for this name; check url')],
  [422, 422, failed('5.6.0', 'understood the message and does not take it')],
  [423, 423, delayed('4.3.0', 'message', 'is locked at the moment')],
  [425, 425, delayed('4.3.0', 'message', 'does not take it so early')],
  [429, 429, { ...delayed('4.3.2', 'transport', 'wants fewer requests'), throttled: true }],
  [431, 431, failed('5.3.4', 'says that the header of the request is too large')],
  [400, 499, failed('5.3.0', 'refuses the message')],
  [502, 504, delayed('4.4.1', 'transport', 'is not available at the moment')],
  [507, 507, delayed('4.3.1', 'transport', 'has no room at the moment')],
  [500, 599, delayed('4.3.0', 'message', 'failed with this message')],
];

export interface Answer {
  readonly status: number;
  /** The beginning of its body, as it came. */
  readonly said: string;
  /** Milliseconds it asks to wait. */
  readonly retryAfter?: number | undefined;
  /** Host of its Location. */
  readonly place?: string | undefined;
  /** Whether all of the request had been taken from us. */
  readonly isWhole: boolean;
}

/** Characters of an answer that are quoted. */
const QUOTED = 300;
/** No receiver silences a route for longer, milliseconds. */
const MAX_WAIT = 3_600_000;

/** @param host whom the request was for; nothing else of its address is told */
export function meaningOfAnswer(answer: Answer, host: string): DeliveryStatus {
  const { status } = answer;
  const cause = `HTTP ${status}`;
  const said = printable(answer.said, QUOTED);
  const quoted = said === '' ? '' : `. It says: ${said}`;
  if (status >= 200 && status < 300) {
    if (answer.isWhole)
      return {
        outcome: 'relayed',
        code: '2.0.0',
        cause,
        text: 'Accepted by the webhook',
        reason: `${host} answered ${status}${quoted}`,
      };
    const early = {
      code: '4.3.0',
      reach: 'message',
      told: 'acknowledged the message before it had it',
      capped: true,
    } as const;
    return delayedBy(early, cause, `${host} ${early.told} (${status})${quoted}`);
  }
  const meaning = ROWS.find(([first, last]) => status >= first && status <= last)?.[2] ?? UNKNOWN;
  const pointed = answer.place === undefined ? '' : `. It points to ${answer.place}`;
  const reason = `${host} ${meaning.told} (${status})${pointed}${quoted}`;
  if (!('reach' in meaning))
    return {
      outcome: 'failed',
      code: meaning.code,
      cause,
      text: 'The message was refused by the system it was for',
      reason,
    } satisfies Failed;
  const { retryAfter = 0 } = answer;
  return {
    ...delayedBy(meaning, cause, reason),
    ...(retryAfter > 0 ? { retryAfter: Math.min(retryAfter, MAX_WAIT) } : {}),
  };
}

const UNKNOWN: Temporary = {
  code: '4.3.0',
  reach: 'message',
  told: 'answered with a status this gateway does not know',
  capped: true,
};

function delayedBy({ code, reach, throttled, capped }: Temporary, cause: string, reason: string): Delayed {
  return {
    outcome: 'delayed',
    code,
    reach,
    cause,
    text: 'The message cannot be handed over at the moment',
    reason,
    ...(throttled === undefined ? {} : { throttled }),
    ...(capped === undefined ? {} : { capped }),
  };
}

/** How a request ended without an answer: an HttpFailure of exchange/failure.ts, by its shape. */
export interface RequestFailure extends Error {
  readonly stage: 'connect' | 'sending' | 'sent' | 'receiving';
  readonly code: string;
}

export function isRequestFailure(error: unknown): error is RequestFailure {
  return error instanceof Error && 'stage' in error && 'code' in error && typeof error.code === 'string';
}

/** Waiting does not mend these: a certificate, a login at the proxy, a port without TLS. */
const NEEDS_A_PERSON = /CERT|UNABLE_TO_|^PROXY_407$|^ERR_SSL|^ERR_TLS|^EPROTO$/;

/** Delayed at every stage: a second request with the same key is the first one to its receiver. */
export function withoutAnswer({ stage, code, message }: RequestFailure): Delayed {
  if (code === 'ABORTED') return stopping(stage);
  const needsAPerson = stage === 'connect' && NEEDS_A_PERSON.test(code);
  const isSent = stage === 'sent' || stage === 'receiving';
  return delayedBy(
    {
      code: needsAPerson ? MISCONFIGURED : stage === 'connect' ? '4.4.1' : '4.4.2',
      // What cuts off a large request or is long over one message takes the next one all the same.
      reach: stage === 'connect' ? 'transport' : 'message',
      told: '',
    },
    code,
    isSent ? `${message}. It is sent again with the same Idempotency-Key` : message,
  );
}

export function stopping(stage: RequestFailure['stage']): Delayed {
  return cutShort(
    stage === 'sent' || stage === 'receiving'
      ? 'Given up while the answer was waited for. It is sent again with the same Idempotency-Key'
      : 'Given up before the message was sent whole',
  );
}
