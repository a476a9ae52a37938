/**
 * What the sandbox's Exchange does wrong on command: plain data, so that a control API can carry it. What is read as a fault
 * can be done: nothing that Node would refuse to send gets in.
 */
import { validateHeaderName, validateHeaderValue } from 'node:http';

export interface Misbehaviour {
  /** Milliseconds to wait, before or after the request has its effect. */
  readonly slow?: { readonly beforeActing?: number; readonly afterActing?: number };
  /** Never answers, with or without acting on the request. */
  readonly silent?: 'beforeActing' | 'afterActing';
  /**
   * Cuts the connection. `inUpload`: as soon as the operation shows in what comes in, which overrules every other fault.
   * `inAnswer`: half of the answer was sent.
   */
  readonly cut?: 'inUpload' | 'beforeActing' | 'afterActing' | 'inAnswer';
  /** HTTP status instead of acting; with `acts` after acting. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is, instead of the answer (status 200 if none is named). */
  readonly body?: string;
  /** The request has its effect although the answer says otherwise. */
  readonly acts?: boolean;
  /** An EWS ResponseCode instead of acting. `status` changes the HTTP status it comes with. */
  readonly responseCode?: string;
  /** How the code is told; default `message`, with HTTP 200. `fault`: a SOAP fault with HTTP 500. */
  readonly as?: 'message' | 'fault';
  readonly messageText?: string;
  /** BackOffMilliseconds told with the code. */
  readonly backOffMilliseconds?: number;
  /** Retry-After: seconds or a date. */
  readonly retryAfter?: number | string;
  /** Octets that are no HTTP body of EWS, with status 200. */
  readonly garbage?: boolean;
  /** The answer is compressed, whether the client asked for it or not. */
  readonly gzip?: boolean;
  /** The token is refused as expired (401). */
  readonly expiredToken?: boolean;
}

export interface Fault {
  readonly when?: {
    /** Local name of the SOAP operation, for example CreateItem; absent: any. */
    readonly operation?: string;
    /** The impersonated mailbox; absent: any. */
    readonly mailbox?: string;
    /** How many requests pass unharmed first, default 0. */
    readonly after?: number;
    /** How many requests are hit, default all until the fault is cleared. */
    readonly count?: number;
  };
  readonly does: Misbehaviour;
}

interface Standing {
  readonly fault: Fault;
  passed: number;
  hit: number;
}

export class Faults {
  #standing: Standing[] = [];

  add(fault: Fault): void {
    this.#standing.push({ fault, passed: 0, hit: 0 });
  }

  clear(): void {
    this.#standing = [];
  }

  list(): readonly { readonly fault: Fault; readonly hit: number }[] {
    return this.#standing.map(({ fault, hit }) => ({ fault, hit }));
  }

  /** What is to be done wrong with this request now that it is here; counts it. */
  take(operation: string, mailbox: string): Misbehaviour {
    return this.#take(operation, mailbox, ({ cut }) => cut !== 'inUpload') ?? {};
  }

  /** Whether its connection is to be cut while it comes in: that is asked before the rest is; counts it. */
  isUploadCut(operation: string, mailbox: string): boolean {
    return this.#take(operation, mailbox, ({ cut }) => cut === 'inUpload') !== undefined;
  }

  #take(operation: string, mailbox: string, isMeant: (does: Misbehaviour) => boolean): Misbehaviour | undefined {
    for (const one of this.#standing) {
      const { when = {}, does } = one.fault;
      if (!isMeant(does)) continue;
      if (when.operation !== undefined && when.operation !== operation) continue;
      if (when.mailbox !== undefined && when.mailbox.toLowerCase() !== mailbox.toLowerCase()) continue;
      if (when.count !== undefined && one.hit >= when.count) continue;
      if (one.passed < (when.after ?? 0)) {
        one.passed++;
        continue;
      }
      one.hit++;
      return does;
    }
    return undefined;
  }
}

/** What a key may have as its value. */
export type Known = Readonly<Record<string, (value: unknown) => boolean>>;

const MISBEHAVIOURS: Known = {
  slow: (value) =>
    isRecord(value) &&
    Object.entries(value).every(([key, wait]) => /^(before|after)Acting$/.test(key) && isDelay(wait)),
  silent: isOneOf('beforeActing', 'afterActing'),
  cut: isOneOf('inUpload', 'beforeActing', 'afterActing', 'inAnswer'),
  status: isStatus,
  headers: (value) =>
    isRecord(value) && Object.entries(value).every(([name, one]) => isHeaderName(name) && isHeaderValue(one)),
  body: isString,
  acts: isBoolean,
  responseCode: (value) => isString(value) && /^[A-Za-z]\w*$/.test(value),
  as: isOneOf('message', 'fault'),
  messageText: isString,
  backOffMilliseconds: isCount,
  retryAfter: isRetryAfter,
  garbage: isBoolean,
  gzip: isBoolean,
  expiredToken: isBoolean,
};
const CONDITIONS: Known = { operation: isString, mailbox: isString, after: isCount, count: isCount };

/** @returns the fault, or a sentence about what is wrong with the data */
export function readFault(data: unknown): Fault | string {
  if (!isRecord(data) || !isRecord(data['does'])) return 'a fault is {"when": {...}, "does": {...}}';
  const strange = Object.keys(data).find((key) => key !== 'when' && key !== 'does');
  if (strange !== undefined) return `unknown: ${strange}`;
  const { when = {} } = data;
  if (!isRecord(when)) return '"when" is an object';
  const sentence = strangeIn(when, CONDITIONS, 'when.') ?? strangeIn(data['does'], MISBEHAVIOURS, 'does.');
  return sentence ?? (data as unknown as Fault);
}

/** A sentence about the first key that is unknown or has a value it cannot have. */
export function strangeIn(part: Readonly<Record<string, unknown>>, known: Known, where = ''): string | undefined {
  for (const [key, value] of Object.entries(part)) {
    const is = Object.hasOwn(known, key) ? known[key] : undefined;
    if (!is) return `unknown: ${where}${key}; known are ${Object.keys(known).join(', ')}`;
    if (!is(value)) return `${where}${key} cannot be ${JSON.stringify(value)}`;
  }
  return undefined;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isString(value: unknown): value is string {
  return typeof value === 'string';
}

export function isBoolean(value: unknown): boolean {
  return typeof value === 'boolean';
}

export function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** Milliseconds; a timer set to more would go off at once. */
export function isDelay(value: unknown): boolean {
  return isCount(value) && Number(value) < 2 ** 31;
}

/** An HTTP status that ends a request. */
export function isStatus(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 200 && Number(value) <= 599;
}

export function isRetryAfter(value: unknown): boolean {
  return isCount(value) || isHeaderValue(value);
}

export function isHeaderValue(value: unknown): boolean {
  return isString(value) && passes(() => validateHeaderValue('x', value));
}

function isHeaderName(name: string): boolean {
  return passes(() => validateHeaderName(name));
}

function isOneOf(...values: readonly string[]): (value: unknown) => boolean {
  return (value) => isString(value) && values.includes(value);
}

function passes(check: () => void): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}
