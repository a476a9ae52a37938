/**
 * The sandbox's Exchange Web Services: one request in, one answer out, judged in the order Exchange judges: token, size,
 * schema, impersonation, operation. Misbehaves on command (fault.ts). Every answer says that it is a sandbox's.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import type { Faults, Misbehaviour } from './fault.ts';
import type { Identity } from './identity.ts';
import type { Mailboxes } from './mailboxes.ts';
import { errorMessage, isOperation, operate } from './operations.ts';
import { MESSAGES, schemaFault, SOAP, TYPES } from './schema.ts';
import type { RecipientProperties } from './submission.ts';
import type { XmlElement } from './xml.ts';
import { child, readXml, xmlText } from './xml.ts';

export interface ExchangeOptions {
  readonly identity: Identity;
  /** The audience a token must have. */
  readonly audience: string;
  readonly mailboxes: Mailboxes;
  readonly faults: Faults;
  readonly recipientProperties: RecipientProperties;
  /** Octets of a request, default 64 MiB as Exchange has it. */
  readonly maxRequestSize?: number;
  /** Client id -> mailboxes that an application without the role full_access_as_app may act for (RBAC for Applications). */
  readonly scopes?: Readonly<Record<string, readonly string[]>>;
  /** Is told each request and each proper answer as it went over the wire. */
  readonly record?: (document: Buffer) => void;
}

const MAX_REQUEST_SIZE = 64 * 1024 * 1024;
const XML = 'text/xml; charset=utf-8';

interface Answer {
  readonly status: number;
  readonly body: Buffer;
  readonly type: string;
}

/** What the request turned out to be. */
interface Request {
  readonly operation: string;
  readonly element: XmlElement;
  /** ''. none */
  readonly impersonated: string;
}

export function exchangeHandler(
  options: ExchangeOptions,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    introduce(request, response);
    if (request.method !== 'POST') return send(response, plain(405, 'Method Not Allowed'));
    const refused = tokenFault(request, options);
    if (refused !== undefined) return unauthorized(response, refused);
    const early = peekUpload(options.faults);
    if (early) {
      await new Promise((seen) => request.once('readable', seen));
      return void request.socket.destroy();
    }
    const limit = options.maxRequestSize ?? MAX_REQUEST_SIZE;
    if (Number(request.headers['content-length'] ?? 0) > limit) return send(response, plain(413, 'Request Too Large'));
    const body = await bodyOf(request, limit);
    if (body === undefined) return send(response, plain(413, 'Request Too Large'));
    options.record?.(body);
    const read = readRequest(body);
    const known = typeof read === 'string' ? { operation: '', impersonated: '' } : read;
    const misbehaviour = options.faults.take(known.operation, known.impersonated);
    await perform(read, misbehaviour, request, response, options);
  };
}

async function perform(
  read: Request | string,
  wrong: Misbehaviour,
  request: IncomingMessage,
  response: ServerResponse,
  options: ExchangeOptions,
): Promise<void> {
  if (wrong.expiredToken) return unauthorized(response, 'expired');
  if (wrong.slow?.beforeActing) await pause(wrong.slow.beforeActing, undefined, { ref: false });
  // The client may have given up meanwhile; a server that has read the request acts all the same.
  if (wrong.cut === 'beforeActing') return void request.socket.destroy();
  if (wrong.silent === 'beforeActing') return;
  const replaces = wrong.status !== undefined || wrong.body !== undefined || wrong.garbage || wrong.responseCode;
  let answer = !replaces || wrong.acts ? await act(read, request, options) : undefined;
  if (wrong.slow?.afterActing) await pause(wrong.slow.afterActing, undefined, { ref: false });
  if (wrong.cut === 'afterActing') return void request.socket.destroy();
  if (wrong.silent === 'afterActing') return;
  if (answer && !replaces) options.record?.(answer.body);
  if (wrong.responseCode !== undefined && typeof read !== 'string') answer = codeAnswer(read.operation, wrong);
  else if (wrong.garbage) answer = { status: 200, body: Buffer.from('\u0000\u0001 not what you think'), type: XML };
  else if (wrong.status !== undefined || wrong.body !== undefined)
    answer = { status: wrong.status ?? 200, body: Buffer.from(wrong.body ?? ''), type: 'text/html' };
  if (!answer) throw new Error('no answer was made');
  for (const [name, value] of Object.entries(wrong.headers ?? {})) response.setHeader(name, value);
  if (wrong.retryAfter !== undefined) response.setHeader('retry-after', String(wrong.retryAfter));
  if (wrong.gzip) {
    response.setHeader('content-encoding', 'gzip');
    answer = { ...answer, body: gzipSync(answer.body) };
  }
  if (wrong.cut === 'inAnswer') {
    response.writeHead(answer.status, { 'content-type': answer.type, 'content-length': answer.body.length });
    response.write(answer.body.subarray(0, answer.body.length / 2), () => request.socket.destroy());
    return;
  }
  send(response, answer);
}

async function act(read: Request | string, request: IncomingMessage, options: ExchangeOptions): Promise<Answer> {
  if (typeof read === 'string') return faultAnswer('ErrorSchemaValidation', read);
  const { operation, element, impersonated } = read;
  const invalid = schemaFault(element);
  if (invalid !== undefined) return faultAnswer('ErrorSchemaValidation', invalid);
  if (!isOperation(operation))
    return faultAnswer('ErrorInvalidRequest', `The sandbox does not have the operation ${operation}.`);
  if (impersonated === '')
    return faultAnswer(
      'ErrorInvalidRequest',
      'ExchangeImpersonation SOAP header must be present for this type of OAuth token.',
    );
  const { mailboxes } = options;
  const mailbox = mailboxes.find(impersonated);
  if (!mailbox) return faultAnswer('ErrorNonExistentMailbox', 'The SMTP address has no mailbox associated with it.');
  const mayReach = reachOf(request, options);
  if (!mayReach(mailbox.address))
    return faultAnswer(
      'ErrorImpersonateUserDenied',
      'The account does not have permission to impersonate the requested user.',
    );
  const messages = await operate(operation, element, {
    mailboxes,
    actingAs: mailbox.address,
    mayReach,
    recipientProperties: options.recipientProperties,
  });
  return messagesAnswer(operation, messages);
}

/** The role opens every mailbox; without it the application's scope decides. */
function reachOf(
  request: IncomingMessage,
  { identity, audience, scopes = {} }: ExchangeOptions,
): (address: string) => boolean {
  const verdict = identity.verify(bearer(request), audience);
  if (!verdict.ok) return () => false;
  const { roles, appid } = verdict.claims;
  if (Array.isArray(roles) && roles.includes('full_access_as_app')) return () => true;
  const scope = scopes[String(appid)] ?? [];
  return (address) => scope.some((one) => one.toLowerCase() === address.toLowerCase());
}

function readRequest(body: Buffer): Request | string {
  const root = readXml(body.toString('utf8'));
  if (typeof root === 'string') return `The request is not well-formed XML: ${root}`;
  if (root.name !== 'Envelope' || root.namespace !== SOAP) return 'The request is no SOAP envelope.';
  const [element, ...more] = child(root, 'Body')?.children ?? [];
  if (!element || more.length > 0 || element.namespace !== MESSAGES) return 'The SOAP body holds no operation.';
  for (const header of child(root, 'Header')?.children ?? []) {
    const fault = schemaFault(header);
    if (fault !== undefined) return fault;
  }
  const sid = child(child(child(root, 'Header'), 'ExchangeImpersonation'), 'ConnectingSID')?.children[0];
  return { operation: element.name, element, impersonated: sid?.text.trim() ?? '' };
}

function bearer(request: IncomingMessage): string {
  return /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
}

function tokenFault(request: IncomingMessage, { identity, audience }: ExchangeOptions): string | undefined {
  const token = bearer(request);
  if (token === '') return 'missing';
  const verdict = identity.verify(token, audience);
  return verdict.ok ? undefined : verdict.reason;
}

function unauthorized(response: ServerResponse, reason: string): void {
  response.setHeader(
    'www-authenticate',
    'Bearer client_id="00000002-0000-0ff1-ce00-000000000000", token_types="app_asserted_user_v1 service_asserted_app_v1"',
  );
  response.setHeader(
    'x-ms-diagnostics',
    `2000003;reason="The token is not valid: ${reason.replace(/[^\x20-\x7e]/g, '?')}";error_category="invalid_token"`,
  );
  send(response, plain(401, ''));
}

/** Whether the next request is to be cut in its upload: that is decided before its body is known. */
function peekUpload(faults: Faults): boolean {
  const standing = faults
    .list()
    .find(({ fault, hit }) => fault.does.cut === 'inUpload' && hit < (fault.when?.count ?? Infinity));
  if (!standing) return false;
  const { operation = '', mailbox = '' } = standing.fault.when ?? {};
  return faults.take(operation, mailbox).cut === 'inUpload';
}

async function bodyOf(request: IncomingMessage, limit: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function introduce(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('server', 'smtp2exchange sandbox, no real Exchange');
  response.setHeader('request-id', randomUUID());
  response.setHeader('x-feserver', 'SANDBOX-FE');
  response.setHeader('x-beserver', 'SANDBOX-BE');
  const id = request.headers['client-request-id'];
  if (typeof id === 'string' && request.headers['return-client-request-id'] === 'true')
    response.setHeader('client-request-id', id);
}

function send(response: ServerResponse, { status, body, type }: Answer): void {
  response.writeHead(status, { 'content-type': type, 'content-length': body.length });
  response.end(body);
}

function plain(status: number, text: string): Answer {
  return { status, body: Buffer.from(text), type: 'text/plain' };
}

function codeAnswer(operation: string, wrong: Misbehaviour): Answer {
  const { responseCode = '', messageText = 'The sandbox was told to answer so.', backOffMilliseconds } = wrong;
  const values = backOffMilliseconds === undefined ? {} : { BackOffMilliseconds: String(backOffMilliseconds) };
  return wrong.as === 'fault'
    ? faultAnswer(responseCode, messageText, values)
    : messagesAnswer(operation, [errorMessage(operation, responseCode, messageText, values)]);
}

function messagesAnswer(operation: string, messages: readonly string[]): Answer {
  const body = `<m:${operation}Response><m:ResponseMessages>${messages.join('')}</m:ResponseMessages></m:${operation}Response>`;
  return { status: 200, body: envelope(body), type: XML };
}

function faultAnswer(code: string, text: string, values: Readonly<Record<string, string>> = {}): Answer {
  const pairs = Object.entries(values).map(
    ([name, value]) => `<t:Value Name="${xmlText(name)}">${xmlText(value)}</t:Value>`,
  );
  const more = pairs.length === 0 ? '' : `<t:MessageXml>${pairs.join('')}</t:MessageXml>`;
  const errors = 'xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors"';
  const body =
    `<s:Fault><faultcode xmlns:a="${TYPES}">a:${xmlText(code)}</faultcode><faultstring xml:lang="en-US">${xmlText(text)}</faultstring>` +
    `<detail><e:ResponseCode ${errors}>${xmlText(code)}</e:ResponseCode><e:Message ${errors}>${xmlText(text)}</e:Message>${more}</detail></s:Fault>`;
  return { status: 500, body: envelope(body), type: XML };
}

function envelope(body: string): Buffer {
  return Buffer.from(
    `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="${SOAP}" xmlns:m="${MESSAGES}" xmlns:t="${TYPES}"><s:Header>` +
      '<t:ServerVersionInfo MajorVersion="15" MinorVersion="20" MajorBuildNumber="0" MinorBuildNumber="0" Version="V2018_01_08"/>' +
      `</s:Header><s:Body>${body}</s:Body></s:Envelope>`,
  );
}
