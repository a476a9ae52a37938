/**
 * One SOAP request to EWS and what its answer means. Promises: one attempt, but for a second one with a fresh login after
 * a 401; the answer is read within a bound; whatever happens is a value, and it says `unknown` exactly when the server may
 * have acted on a request that sends. Only a throw of the caller's own body passes through.
 */
import { randomUUID } from 'node:crypto';
import { withoutLogin } from '../mail/login.ts';
import type { Delayed, Failed, TraceIds, Unknown } from '../mail/status.ts';
import { MISCONFIGURED, unreachable } from '../mail/status.ts';
import { withNames } from './advice.ts';
import {
  APPLICATION_ERROR,
  isListed,
  meaningOfCode,
  meaningOfStatus,
  NO_USABLE_ANSWER,
  PERHAPS_TOO_LARGE,
} from './codes.ts';
import type { Meaning } from './codes.ts';
import type { Answered, Authorizer } from './authorizer.ts';
import { HttpFailure } from './http.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { retryAfterOf } from '../mail/retry-after.ts';
import { readAnswer, withoutForbidden } from './soap.ts';
import type { SoapAnswer, Told, XmlElement } from './soap.ts';

export interface CallOptions {
  readonly authorizer: Authorizer;
  /** Address of Exchange.asmx. */
  readonly url: string;
  readonly userAgent: string;
  /** Of the app registration, for advice. */
  readonly clientId?: string;
  readonly now?: () => number;
  readonly uuid?: () => string;
}

export interface SoapCall {
  /** Local name of the request's element: `CreateItem`. */
  readonly operation: string;
  /** Its success has an effect that must not happen twice. */
  readonly sends: boolean;
  /** The impersonated mailbox, for routing inside Exchange. */
  readonly mailbox: string;
  readonly body: NonNullable<HttpRequest['body']>;
  readonly signal: AbortSignal;
  /** Besides those of every request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Octets read of the answer, default ANSWER_LIMIT. */
  readonly limit?: number;
  /** Milliseconds between two pieces of the answer, instead of the dispatcher's. */
  readonly bodyTimeout?: number;
  /**
   * It is about several items, and the trouble of some is not that of the others: it is told in their messages. Control
   * characters in what an item holds do no harm to the others either.
   */
  readonly each?: true;
  /** What a ResponseCode means, default meaningOfCode. */
  readonly meaningOf?: (responseCode: string) => Meaning;
}

export interface AnswerMessage {
  readonly element: XmlElement;
  /** Trouble with this one. */
  readonly status?: Trouble;
}

export type Trouble = Delayed | Failed | Unknown;
export type CallResult =
  /** Every response message says success, unless it is asked for `each`; `xml` is complete and well-formed. */
  | {
      readonly ok: true;
      readonly xml: string;
      readonly ids: TraceIds;
      readonly messages: readonly AnswerMessage[];
      readonly headers: HttpResponse['headers'];
    }
  | { readonly ok: false; readonly status: Trouble };

/** Octets read of an answer. Most of what the gateway asks for is answered in a few kilobytes. */
export const ANSWER_LIMIT = 1024 * 1024;
/** No server may silence a mailbox for longer, milliseconds. */
const MAX_WAIT = 3_600_000;
const MAX_TOLD = 300;
/** Octets of a request that no server's limit is below. */
const LARGE = 4 * 1024 * 1024;

export async function call(options: CallOptions, request: SoapCall): Promise<CallResult> {
  const opened = await open(options, request);
  return opened.ok ? await opened.judge(opened.response) : opened;
}

export type Opened =
  | {
      readonly ok: true;
      readonly response: HttpResponse;
      readonly ids: TraceIds;
      /** What an answer means. @param response this one, or it with a part of its text */
      readonly judge: (response: HttpResponse) => Promise<CallResult>;
    }
  | { readonly ok: false; readonly status: Trouble };

/** The same with an answer that the caller reads. */
export async function open(options: CallOptions, request: SoapCall): Promise<Opened> {
  const asked = await ask(options, request, (clientRequestId) => ({
    method: 'POST',
    url: options.url,
    headers: headersOf(options, request, clientRequestId),
    body: request.body,
    signal: request.signal,
    ...(request.bodyTimeout === undefined ? {} : { bodyTimeout: request.bodyTimeout }),
  }));
  return asked.ok ? { ...asked, judge: (response) => judge(response, request, asked.ids, options) } : asked;
}

/** What a request gets as answer, or why none. @param requestOf is asked again for each attempt, each with an id of its own */
export async function ask(
  { authorizer, uuid = randomUUID }: Pick<CallOptions, 'authorizer' | 'uuid'>,
  { sends, signal }: Pick<SoapCall, 'sends' | 'signal'>,
  requestOf: (clientRequestId: string) => HttpRequest,
): Promise<
  | { readonly ok: true; readonly response: HttpResponse; readonly ids: TraceIds }
  | { readonly ok: false; readonly status: Trouble }
> {
  let clientRequestId = '';
  let answered: Answered;
  try {
    answered = await authorizer.send(() => requestOf((clientRequestId = uuid())), signal);
  } catch (error) {
    if (!(error instanceof HttpFailure)) throw error;
    return { ok: false, status: withoutAnswer(error, sends, { clientRequestId }) };
  }
  if (!answered.ok) return { ok: false, status: withoutLogin(answered) };
  const { response } = answered;
  return { ok: true, response, ids: idsOf(response, clientRequestId) };
}

/** The text of an answer, within the bound, or what became of it. */
export async function textOf(
  response: HttpResponse,
  limit = ANSWER_LIMIT,
): Promise<
  { readonly text: string; readonly damage?: never } | { readonly text?: never; readonly damage: HttpFailure }
> {
  try {
    return { text: await response.text(limit) };
  } catch (error) {
    if (!(error instanceof HttpFailure)) throw error;
    return { damage: error };
  }
}

function headersOf(
  options: CallOptions,
  { mailbox, headers }: SoapCall,
  clientRequestId: string,
): Record<string, string> {
  return {
    'content-type': 'text/xml; charset=utf-8',
    accept: 'text/xml',
    'accept-encoding': 'gzip, deflate',
    'user-agent': options.userAgent,
    'client-request-id': clientRequestId,
    'return-client-request-id': 'true',
    // A hint for speed; a mailbox that no header can carry goes without it.
    ...(/^[!-~]+$/.test(mailbox) ? { 'x-anchormailbox': mailbox } : {}),
    ...headers,
  };
}

async function judge(
  response: HttpResponse,
  request: SoapCall,
  ids: TraceIds,
  options: CallOptions,
): Promise<CallResult> {
  const { text, damage } = await textOf(response, request.limit);
  const answer = text === undefined ? undefined : readAnswer(request.each === true ? withoutForbidden(text) : text);
  const describe = (reading: Reading, notes: readonly (string | undefined)[], wait?: number): Trouble =>
    describedBy(reading, { notes, ids, wait }, request, options);
  if (text !== undefined && response.status === 200 && isSuccess(answer, request)) {
    const messages = answer.messages.map((element, index): AnswerMessage => {
      const told = answer.errors[index];
      return told === undefined
        ? { element }
        : { element, status: describe(readTold(told, request), [], told.backOff) };
    });
    return { ok: true, xml: text, ids, messages, headers: response.headers };
  }
  const notes = [
    damage === undefined ? undefined : damage.message,
    field(response, 'x-ms-diagnostics'),
    field(response, 'x-caserrorcode'),
    response.status >= 300 && response.status < 400 ? placeOf(response) : undefined,
  ];
  const wait = backOffOf(answer) ?? retryAfterOf(response.headers, (options.now ?? Date.now)());
  return { ok: false, status: describe(read(response, answer, text, request), notes, wait) };
}

function describedBy(
  { meaning, cause, told }: Reading,
  more: { readonly notes: readonly (string | undefined)[]; readonly ids: TraceIds; readonly wait: number | undefined },
  { sends, mailbox }: SoapCall,
  { clientId }: CallOptions,
): Trouble {
  const retryAfter = waitOf(more.wait);
  const reason = withNames(meaning.reason, { mailbox, ...(clientId === undefined ? {} : { clientId }) });
  const notes = [told === '' ? undefined : `Exchange says: ${printable(told)}`, ...more.notes];
  const status = statusOf(
    { ...meaning, reason },
    { cause, notes, ids: more.ids, ...(retryAfter === undefined ? {} : { retryAfter }) },
  );
  return sends ? status : harmless(status);
}

function isSuccess(
  answer: SoapAnswer | undefined,
  { operation, each }: SoapCall,
): answer is Extract<SoapAnswer, { kind: 'messages' }> {
  if (answer?.kind !== 'messages' || answer.operation !== operation) return false;
  return each === true || answer.errors.every((error) => !error);
}

interface Reading {
  readonly meaning: Meaning;
  readonly cause: string;
  readonly told: string;
}

/** Where the code hides: the HTTP status for what a front end or proxy says, then the SOAP, then X-CasErrorCode. */
function read(
  response: HttpResponse,
  answer: SoapAnswer | undefined,
  text: string | undefined,
  request: SoapCall,
): Reading {
  const { status } = response;
  const byStatus = (): Reading => ({ meaning: meaningOfStatus(status), cause: `HTTP ${status}`, told: '' });
  if (status === 401 || status === 403 || status === 504) return byStatus();
  const error = errorIn(answer);
  if (error) return readTold(error, request);
  if (status === 200) return { meaning: NO_USABLE_ANSWER, cause: 'unusable answer', told: '' };
  const casError = response.headers['x-caserrorcode'];
  if (casError !== undefined && isListed(casError)) {
    return { meaning: meaningOfCode(casError), cause: casError, told: '' };
  }
  const isErrorPage =
    (status === 500 && text?.includes("Server Error in '/EWS' Application") === true) ||
    (status >= 300 && status < 400 && /\/ews\/genericerrorpage\.htm/i.test(response.headers['location'] ?? ''));
  if (status === 405 && request.body.length > LARGE) return { meaning: PERHAPS_TOO_LARGE, cause: 'HTTP 405', told: '' };
  return isErrorPage ? { meaning: APPLICATION_ERROR, cause: `HTTP ${status}`, told: '' } : byStatus();
}

function readTold({ code, message }: Told, { meaningOf = meaningOfCode }: SoapCall): Reading {
  return code === ''
    ? { meaning: meaningOf('ErrorInternalServerError'), cause: 'SOAP fault', told: message }
    : { meaning: meaningOf(code), cause: code, told: message };
}

function errorIn(answer: SoapAnswer | undefined): Told | undefined {
  if (answer === undefined) return undefined;
  return answer.kind === 'fault' ? answer.told : answer.errors.find((error) => error !== undefined);
}

function backOffOf(answer: SoapAnswer | undefined): number | undefined {
  return errorIn(answer)?.backOff;
}

export function waitOf(told: number | undefined): number | undefined {
  return told === undefined || told === 0 ? undefined : Math.min(told, MAX_WAIT);
}

interface Circumstances {
  readonly cause: string;
  readonly notes?: readonly (string | undefined)[];
  readonly ids?: TraceIds;
  readonly retryAfter?: number;
}

export function statusOf(meaning: Meaning, { cause, notes = [], ids, retryAfter }: Circumstances): Trouble {
  const added = notes.filter((note) => note !== undefined);
  // In the log they stand in one line.
  const reason = added.length === 0 ? meaning.reason : [`${meaning.reason}.`, ...added].join('\n');
  const common = { ...meaning, cause, reason, ...(ids === undefined ? {} : { ids }) };
  switch (common.outcome) {
    case 'delayed':
      return retryAfter === undefined ? common : { ...common, retryAfter };
    case 'unknown':
      return retryAfter === undefined ? common : { ...common, retryAfter };
    case 'failed':
      return common;
    default:
      return unreachable(common);
  }
}

/** A request that changes nothing can simply be made again. */
export function harmless(status: Trouble): Delayed | Failed {
  if (status.outcome !== 'unknown') return status;
  const reason = 'Exchange gave no usable answer to a question; it is asked again';
  return { ...status, outcome: 'delayed', reach: 'message', text: LOST, reason };
}

const LOST = 'The connection to the mail server was lost';

/** Waiting does not mend these: somebody has to install a certificate or write down a login. */
const NEEDS_A_PERSON = /CERT|UNABLE_TO_|^PROXY_407$/;

export function withoutAnswer(failure: HttpFailure, sends: boolean, ids: TraceIds): Trouble {
  const evidence = { cause: failure.code, reason: failure.message, ids };
  const isAborted = failure.code === 'ABORTED';
  switch (failure.stage) {
    case 'connect':
      return {
        outcome: 'delayed',
        code: NEEDS_A_PERSON.test(failure.code) ? MISCONFIGURED : '4.4.1',
        reach: isAborted ? 'message' : 'transport',
        text: 'The mail server cannot be reached at the moment',
        ...evidence,
      };
    case 'sending':
      // Of the message alone, because some servers and proxies cut off what is too large for them.
      return {
        outcome: 'delayed',
        code: '4.4.2',
        reach: 'message',
        text: LOST,
        ...evidence,
      };
    case 'sent':
    case 'receiving':
      return sends
        ? {
            outcome: 'unknown',
            code: '4.4.2',
            text: 'The mail server did not say whether it took the message',
            ...evidence,
          }
        : {
            outcome: 'delayed',
            code: '4.4.2',
            reach: 'message',
            text: LOST,
            ...evidence,
          };
    default:
      return unreachable(failure.stage);
  }
}

export function idsOf(response: HttpResponse, clientRequestId: string): TraceIds {
  const requestId = response.headers['request-id'];
  const servers = ['x-feserver', 'x-beserver']
    .map((name) => response.headers[name])
    .filter((name) => name !== undefined);
  return {
    clientRequestId,
    ...(requestId === undefined ? {} : { requestId: printable(requestId) }),
    ...(servers.length === 0 ? {} : { server: printable(servers.join('/')) }),
  };
}

export function field(response: HttpResponse, name: string): string | undefined {
  const value = response.headers[name];
  return value === undefined ? undefined : `${name}: ${printable(value)}`;
}

export function placeOf(response: HttpResponse): string | undefined {
  const place = URL.parse(response.headers['location'] ?? '');
  return place === null ? undefined : `It points to ${place.host}`;
}

/** One line, bounded: a server's words go into logs. */
export function printable(text: string): string {
  const line = text.replace(/[\p{C}\s]+/gu, ' ').trim();
  return line.length > MAX_TOLD ? `${line.slice(0, MAX_TOLD)}...` : line;
}
