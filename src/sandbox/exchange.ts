/**
 * The sandbox's Exchange Web Services: one request in, one answer out, judged in the order Exchange judges: token, size,
 * schema, impersonation, operation. Misbehaves on command (fault.ts). Every answer says that it is a sandbox's.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { canonicalAddress } from '../mail/address.ts';
import type { Account, Accounts } from './accounts.ts';
import type { Faults, Misbehaviour } from './fault.ts';
import type { Claims, Identity, Verdict } from './identity.ts';
import type { Mailboxes } from './mailboxes.ts';
import { isOperation, operate } from './operations.ts';
import type { Piece } from './pieces.ts';
import { joined, lengthOf, writePieces } from './pieces.ts';
import type { Request } from './request.ts';
import { readBody, readRequest } from './request.ts';
import { errorMessage, faultEnvelope, responseEnvelope } from './soap.ts';
import type { Stream, Subscriptions } from './streaming.ts';
import type { RecipientProperties } from './submission.ts';

export interface ExchangeOptions {
  readonly identity: Identity;
  /** Logins with a password, beside tokens. */
  readonly accounts: Accounts;
  /** The audience a token must have. */
  readonly audience: string;
  readonly mailboxes: Mailboxes;
  readonly faults: Faults;
  /** Whether EWS is open to applications and accounts at all. */
  readonly isOpen: () => boolean;
  readonly recipientProperties: RecipientProperties;
  readonly subscriptions: Subscriptions;
  /** Octets of a request, default 64 MiB as Exchange has it. */
  readonly maxRequestSize?: number;
  /** Client id -> mailboxes that an application without the role full_access_as_app may act for (RBAC for Applications). */
  readonly scopes?: Readonly<Record<string, readonly string[]>>;
  /** Is told each request of the right shape, and each proper answer that is no SOAP fault. */
  readonly record?: (document: Buffer) => void;
}

/** @param stopped aborts when the server goes down: what still waits then acts no more */
export type ExchangeHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  stopped: AbortSignal,
) => Promise<void>;

const MAX_REQUEST_SIZE = 64 * 1024 * 1024;
const XML = 'text/xml; charset=utf-8';

export interface Answer {
  readonly status: number;
  /** A stream goes on until it ends by itself. */
  readonly body: Buffer | readonly Piece[] | Stream;
  readonly type: string;
}

type MayReach = (address: string) => boolean;

export function exchangeHandler(options: ExchangeOptions): ExchangeHandler {
  const limit = options.maxRequestSize ?? MAX_REQUEST_SIZE;
  return async (request, response, stopped) => {
    introduce(request, response);
    const login = options.accounts.login(request);
    if (login?.ok === false)
      return challenged(request, response, login.challenge ?? options.accounts.offered, login.reason);
    if (request.method !== 'POST' && !(login?.ok === true && request.method === 'GET'))
      return refuse(request, response, plain(405, 'Method Not Allowed'));
    const verdict = login ?? verdictOf(request, options);
    if (!verdict.ok) return unauthorized(request, response, verdict.reason, options.accounts.offered);
    // As Exchange Online since October 2026 to an application that the tenant has not put on its allow list.
    if (!options.isOpen()) return refuse(request, response, plain(403, ''));
    if (request.method === 'GET') return refuse(request, response, plain(200, 'You have created a service.'));
    const mayReach = 'account' in verdict ? reachOfAccount(verdict.account) : reachOf(verdict.claims, options.scopes);
    if (Number(request.headers['content-length'] ?? 0) > limit)
      return refuse(request, response, plain(413, 'Request Too Large'));
    const body = await readBody(request, limit, ({ operation, impersonated }) =>
      options.faults.isUploadCut(operation, impersonated),
    );
    if (body === 'cut') return void request.socket.destroy();
    if (body === 'too large') return refuse(request, response, plain(413, 'Request Too Large'));

    const read = readRequest(body);
    if (typeof read.judged !== 'string' && isOperation(read.operation)) options.record?.(body);
    const wrong = options.faults.take(read.operation, read.impersonated);
    if (wrong.expiredToken) return unauthorized(request, response, 'expired', options.accounts.offered);
    // The client may have given up meanwhile; a server that has read the request acts all the same.
    await dawdle(wrong.slow?.beforeActing, stopped);
    if (wrong.cut === 'beforeActing') return void request.socket.destroy();
    if (wrong.silent === 'beforeActing') return;
    const instead = insteadOf(wrong, read);
    if (instead && wrong.acts) await act(read, mayReach, options);
    const answer = instead ?? (await act(read, mayReach, options));
    await dawdle(wrong.slow?.afterActing, stopped);
    if (wrong.cut === 'afterActing') return void request.socket.destroy();
    if (wrong.silent === 'afterActing') return;
    if (!instead && answer.status === 200) record(answer, options.record);
    await sendDressed(response, answer, wrong, stopped);
  };
}

export async function dawdle(milliseconds: number | undefined, stopped: AbortSignal): Promise<void> {
  if (milliseconds !== undefined) await pause(milliseconds, undefined, { ref: false, signal: stopped });
}

/** The answer that a misbehaviour puts in the place of the proper one. */
function insteadOf(wrong: Misbehaviour, { operation }: Request): Answer | undefined {
  if (wrong.responseCode !== undefined) {
    const answer = codeAnswer(operation, wrong.responseCode, wrong);
    return { ...answer, status: wrong.status ?? answer.status };
  }
  if (wrong.garbage)
    return { status: wrong.status ?? 200, body: Buffer.from('\u0000\u0001 not what you think'), type: XML };
  if (wrong.status === undefined && wrong.body === undefined) return undefined;
  return { status: wrong.status ?? 200, body: Buffer.from(wrong.body ?? ''), type: 'text/html' };
}

/** Octets of an answer over which it is not recorded. */
const RECORD_LIMIT = 4 * 1024 * 1024;

function record({ body }: Answer, tell: ExchangeOptions['record']): void {
  if (!tell || typeof body === 'function') return;
  if (Buffer.isBuffer(body)) tell(body);
  else if (lengthOf(body) <= RECORD_LIMIT) tell(joined(body));
}

/**
 * Sends with all that a misbehaviour does to an answer on its way. A stream is only ever cut, after its first envelope.
 * @param stopped ends a stream
 */
export async function sendDressed(
  response: ServerResponse,
  { status, type, body }: Answer,
  wrong: Misbehaviour,
  stopped: AbortSignal = NEVER,
): Promise<void> {
  // Last: a header that was asked for by name is as it was asked for.
  const asked = lowerCased(wrong.headers ?? {});
  if (wrong.retryAfter !== undefined) response.setHeader('retry-after', String(wrong.retryAfter));
  if (typeof body === 'function') {
    response.writeHead(status, { 'content-type': type, ...asked });
    return await sendStream(response, body, wrong.cut === 'inAnswer', stopped);
  }
  const whole = Buffer.isBuffer(body) ? [body] : body;
  const pieces = wrong.gzip ? [gzipSync(joined(whole))] : whole;
  if (wrong.gzip) response.setHeader('content-encoding', 'gzip');
  const length = lengthOf(pieces);
  response.writeHead(status, { 'content-type': type, 'content-length': length, ...asked });
  if (wrong.cut === 'inAnswer') {
    response.flushHeaders();
    await writePieces(response, pieces, Math.floor(length / 2));
    return void response.write('', () => response.destroy());
  }
  await writePieces(response, pieces);
  response.end();
}

const NEVER = new AbortController().signal;

async function sendStream(
  response: ServerResponse,
  stream: Stream,
  isCut: boolean,
  stopped: AbortSignal,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  response.flushHeaders();
  const write = (envelope: Buffer): void => {
    if (!response.writable) return;
    response.write(envelope, () => {
      if (isCut) response.destroy();
    });
  };
  await stream(write, AbortSignal.any([gone.signal, stopped]));
  response.end();
}

async function act(
  { judged, operation, impersonated, namedBy }: Request,
  mayReach: MayReach,
  { mailboxes, recipientProperties, subscriptions }: ExchangeOptions,
): Promise<Answer> {
  if (typeof judged === 'string') return faultAnswer('ErrorSchemaValidation', judged);
  if (!isOperation(operation))
    return faultAnswer('ErrorInvalidRequest', `The sandbox does not have the operation ${operation}.`);
  if (impersonated === '')
    return faultAnswer(
      'ErrorInvalidExchangeImpersonationHeaderData',
      'ExchangeImpersonation SOAP header must be present for this type of OAuth token.',
    );
  const mailbox = mailboxes.find(impersonated);
  if (!mailbox) return faultAnswer('ErrorNonExistentMailbox', 'The SMTP address has no mailbox associated with it.');
  const { address } = mailbox;
  if (namedBy === 'PrimarySmtpAddress' && canonicalAddress(impersonated) !== canonicalAddress(address))
    return faultAnswer(
      'ErrorNonPrimarySmtpAddress',
      'The primary SMTP address must be specified when referencing a mailbox.',
      { Primary: address },
    );
  if (!mayReach(address))
    return faultAnswer(
      'ErrorImpersonateUserDenied',
      'The account does not have permission to impersonate the requested user.',
    );
  const context = { mailboxes, actingAs: address, mayReach, recipientProperties, subscriptions };
  if (operation === 'GetStreamingEvents')
    return { status: 200, body: subscriptions.stream(judged, context), type: XML };
  const messages = await operate(operation, judged, context);
  return messagesAnswer(operation, messages);
}

/** The role opens every mailbox; without it the application's scope decides. */
function reachOf({ roles, appid }: Claims, scopes: ExchangeOptions['scopes'] = {}): MayReach {
  if (Array.isArray(roles) && roles.includes('full_access_as_app')) return () => true;
  const scope = scopes[String(appid)] ?? [];
  return (address) => scope.some((one) => canonicalAddress(one) === canonicalAddress(address));
}

function reachOfAccount({ mailboxes }: Account): MayReach {
  return (address) => mailboxes?.some((one) => canonicalAddress(one) === canonicalAddress(address)) ?? true;
}

function verdictOf(request: IncomingMessage, { identity, audience }: ExchangeOptions): Verdict {
  const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  return token === undefined ? { ok: false, reason: 'missing' } : identity.verify(token, audience);
}

function challenged(
  request: IncomingMessage,
  response: ServerResponse,
  challenge: string | readonly string[],
  reason: string,
): void {
  response.setHeader('www-authenticate', challenge);
  // No real server says this.
  response.setHeader('x-sandbox-reason', reason);
  refuse(request, response, plain(401, ''));
}

function unauthorized(
  request: IncomingMessage,
  response: ServerResponse,
  reason: string,
  offered: readonly string[],
): void {
  response.setHeader('www-authenticate', [
    'Bearer client_id="00000002-0000-0ff1-ce00-000000000000", token_types="app_asserted_user_v1 service_asserted_app_v1"',
    ...offered,
  ]);
  response.setHeader(
    'x-ms-diagnostics',
    `2000003;reason="The token is not valid: ${reason.replace(/[^\x20-\x7e]/g, '?')}";error_category="invalid_token"`,
  );
  refuse(request, response, plain(401, ''));
}

/** Answers without having read the request to its end. */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  { status, body, type }: Answer & { readonly body: Buffer },
): void {
  // A client that sends before it listens must get rid of the rest to hear the answer.
  request.resume();
  response.writeHead(status, { 'content-type': type, 'content-length': body.length });
  response.end(body);
}

export function introduce(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('server', 'smtp2exchange sandbox, no real Exchange');
  response.setHeader('request-id', randomUUID());
  response.setHeader('x-feserver', 'SANDBOX-FE');
  response.setHeader('x-beserver', 'SANDBOX-BE');
  const id = request.headers['client-request-id'];
  if (typeof id === 'string' && request.headers['return-client-request-id'] === 'true')
    response.setHeader('client-request-id', id);
}

function lowerCased(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function plain(status: number, text: string): Answer & { readonly body: Buffer } {
  return { status, body: Buffer.from(text), type: 'text/plain' };
}

function codeAnswer(operation: string, code: string, wrong: Misbehaviour): Answer {
  const { messageText = 'The sandbox was told to answer so.', backOffMilliseconds } = wrong;
  const values = backOffMilliseconds === undefined ? {} : { BackOffMilliseconds: String(backOffMilliseconds) };
  // What is no operation of ours has no messages to put the code into.
  return wrong.as === 'fault' || !isOperation(operation)
    ? faultAnswer(code, messageText, values)
    : messagesAnswer(operation, [errorMessage(operation, code, messageText, values)]);
}

function messagesAnswer(operation: string, messages: readonly Piece[]): Answer {
  return { status: 200, body: responseEnvelope(operation, messages), type: XML };
}

function faultAnswer(code: string, text: string, values: Readonly<Record<string, string>> = {}): Answer {
  return { status: 500, body: faultEnvelope(code, text, values), type: XML };
}
