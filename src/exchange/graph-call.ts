/**
 * One request to Microsoft Graph and what its answer means. Promises as call.ts has them: one attempt, but for a second
 * one with a fresh token after a 401; the answer is read within a bound; whatever happens is a value, and it says
 * `unknown` exactly when the server may have acted on a request that sends. Only a throw of the caller's own body passes
 * through.
 */
import type { Delayed, Failed, TraceIds } from '../mail/status.ts';
import { withNames } from './advice.ts';
import type { Authorizer } from './authorizer.ts';
import { ask, field, harmless, placeOf, printable, statusOf, textOf, waitOf } from './call.ts';
import type { Trouble } from './call.ts';
import { delayed } from './codes.ts';
import type { Meaning } from './codes.ts';
import { meaningOfGraph } from './graph-codes.ts';
import type { HttpFailure } from './http.ts';
import type { GraphJson } from './graph-json.ts';
import type { Http, HttpResponse, StreamedBody } from './http.ts';
import { retryAfterOf } from '../mail/retry-after.ts';

/** An id that stays when a message is sent or moved (learn.microsoft.com/graph/outlook-immutable-id). */
const IMMUTABLE_IDS = 'IdType="ImmutableId"';

export interface GraphOptions {
  /** With tokens for the audience of Graph, which is not that of EWS. */
  readonly authorizer: Authorizer;
  /** For upload sessions, which have their own authorization in their address. */
  readonly http: Http;
  /** `https://graph.microsoft.com/v1.0`, without a slash at its end. */
  readonly url: string;
  /** Of this program, for the User-Agent. */
  readonly version: string;
  /** Of the app registration, for advice. */
  readonly clientId?: string;
  readonly now?: () => number;
  readonly uuid?: () => string;
}

export interface GraphRequest {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** The mailbox that the request is about. */
  readonly mailbox: string;
  /** Below it: `/sendMail`. Or the whole address of a further page, as Graph gave it; isOfGraph() has to hold of that. */
  readonly path: string;
  readonly body?: GraphJson | StreamedBody;
  /** Default application/json, where there is a body. */
  readonly contentType?: string;
  /** The one status that is success. */
  readonly success: 200 | 201 | 202 | 204;
  /** Its success has an effect that must not happen twice. */
  readonly sends: boolean;
  /** Only the status of a success matters: its body may be missing, damaged or of any length. */
  readonly ignoresBody?: boolean;
  /** Default application/json. */
  readonly accept?: string;
  /** Values of Prefer (RFC 7240). Default: ids that stay when a message is sent or moved. */
  readonly prefer?: readonly string[];
  /** What an answer that is no success means. Default: for a message being sent. */
  readonly means?: GraphMeaning;
  readonly signal: AbortSignal;
}

export type GraphMeaning = (status: number, code: string | undefined) => Meaning;

export interface GraphFailure<Status extends Trouble = Trouble> {
  readonly ok: false;
  readonly status: Status;
  /** Of the answer; absent: there was none. */
  readonly http?: number;
}
export type GraphResult = { readonly ok: true; readonly json: unknown; readonly ids: TraceIds } | GraphFailure;

export async function graphCall(options: GraphOptions, request: GraphRequest): Promise<GraphResult> {
  const asked = await answerTo(options, request);
  return asked.ok ? await judge(asked.response, request, asked.ids, options) : asked;
}

async function answerTo(options: GraphOptions, request: GraphRequest): ReturnType<typeof ask> {
  const url = urlOf(options, request);
  return await ask(options, request, (clientRequestId) => ({
    method: request.method,
    url,
    headers: headersOf(options, request, clientRequestId),
    ...(request.body === undefined ? {} : { body: request.body }),
    signal: request.signal,
  }));
}

function urlOf(options: GraphOptions, { mailbox, path }: GraphRequest): string {
  if (path.startsWith('/')) return `${options.url}/users/${encodeURIComponent(mailbox)}${path}`;
  if (!isOfGraph(options, path)) throw new Error('a request with a token was about to go elsewhere than to Graph');
  return path;
}

/** Whether an address lies below that of Graph: a token may go there, and nowhere else. */
export function isOfGraph({ url }: Pick<GraphOptions, 'url'>, address: string): boolean {
  return URL.parse(address)?.href.startsWith(`${new URL(url).href}/`) === true;
}

/** The same for a question whose answer is too long to be held. @returns its success, the body not yet read */
export async function streamFromGraph(
  options: GraphOptions,
  question: Omit<GraphRequest, 'sends'>,
): Promise<
  { readonly ok: true; readonly response: HttpResponse; readonly ids: TraceIds } | GraphFailure<Delayed | Failed>
> {
  const request = { ...question, sends: false };
  const asked = await answerTo(options, request);
  if (asked.ok && asked.response.status === request.success) return asked;
  const result = asked.ok ? await judge(asked.response, request, asked.ids, options) : asked;
  if (result.ok) throw new Error('an answer that is no success was judged to be one');
  return { ...result, status: harmless(result.status) };
}

/** The same for a request that changes nothing, or nothing that matters twice. */
export async function askGraph(
  options: GraphOptions,
  request: Omit<GraphRequest, 'sends'>,
): Promise<Extract<GraphResult, { ok: true }> | GraphFailure<Delayed | Failed>> {
  const result = await graphCall(options, { ...request, sends: false });
  return result.ok ? result : { ...result, status: harmless(result.status) };
}

function headersOf(
  { version }: GraphOptions,
  { body, contentType = 'application/json', accept = 'application/json', prefer = [IMMUTABLE_IDS] }: GraphRequest,
  clientRequestId: string,
): Record<string, string> {
  return {
    accept,
    'accept-encoding': 'gzip, deflate',
    'user-agent': `smtp2exchange/${version}`,
    'client-request-id': clientRequestId,
    'return-client-request-id': 'true',
    ...(prefer.length === 0 ? {} : { prefer: prefer.join(', ') }),
    ...(body === undefined ? {} : { 'content-type': contentType }),
  };
}

async function judge(
  response: HttpResponse,
  { success, sends, mailbox, ignoresBody = false, means = meaningOfGraph }: GraphRequest,
  ids: TraceIds,
  { clientId, now = Date.now }: GraphOptions,
): Promise<GraphResult> {
  if (response.status === success && success >= 202) {
    response.discard();
    return { ok: true, json: undefined, ids };
  }
  const { text, damage } = await textOf(response);
  const json = text === undefined ? undefined : objectIn(text);
  if (response.status === success && (json !== undefined || ignoresBody)) return { ok: true, json, ids };
  // Asked again, the answer would be the same: waiting alone does not help.
  if (!sends && damage?.code === 'TOO_LARGE') {
    return { ok: false, status: statusOf(ANSWER_TOO_LARGE, { cause: damage.code, notes: [damage.message], ids }), http: response.status }; // prettier-ignore
  }
  const told = troubleOf(response, json, { ids, damage, now, means });
  const names = { mailbox, ...(clientId === undefined ? {} : { clientId }) };
  const status = told.reason === undefined ? told : { ...told, reason: withNames(told.reason, names) };
  return { ok: false, status: sends ? status : harmless(status), http: response.status };
}

const ANSWER_TOO_LARGE = delayed('4.3.0', 'message', 'The answer to a question is longer than is read', {
  capped: true,
});

/** What an answer that is no success means. @param json its body, if it is an object */
export function troubleOf(
  response: HttpResponse,
  json: Readonly<Record<string, unknown>> | undefined,
  {
    ids,
    damage,
    now,
    means = meaningOfGraph,
  }: {
    readonly ids?: TraceIds;
    readonly damage?: HttpFailure | undefined;
    readonly now: () => number;
    readonly means?: GraphMeaning;
  },
): Trouble {
  const { code, told } = errorIn(json);
  const notes = [
    told === '' ? undefined : `Graph says: ${printable(told)}`,
    damage?.message,
    field(response, 'x-ms-ags-diagnostic'),
    response.status >= 300 && response.status < 400 ? placeOf(response) : undefined,
  ];
  const retryAfter = waitOf(retryAfterOf(response.headers, now()));
  return statusOf(means(response.status, code), {
    cause: code ?? `HTTP ${response.status}`,
    notes,
    ...(ids === undefined ? {} : { ids }),
    ...(retryAfter === undefined ? {} : { retryAfter }),
  });
}

/** `{"error": {"code": ..., "message": ...}}` (learn.microsoft.com/graph/errors). */
function errorIn(json: Readonly<Record<string, unknown>> | undefined): {
  readonly code?: string;
  readonly told: string;
} {
  const error = json?.['error'];
  if (typeof error !== 'object' || error === null) return { told: '' };
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  return {
    // It becomes a word in logs and metrics.
    ...(typeof code === 'string' && /^[\w.-]{1,80}$/.test(code) ? { code } : {}),
    told: typeof message === 'string' ? message : '',
  };
}

export function objectIn(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}
