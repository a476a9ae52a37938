/**
 * The way out to Exchange, Entra ID and Graph: one dispatcher with keep-alive, time-outs, an optional proxy (CONNECT) and
 * extra CA certificates. It never retries and never follows redirects. Every failure is an HttpFailure that says how far
 * the request had come; an error of the caller's own body reader passes through unchanged, and then the last octet was
 * surely not sent. Anything else thrown is a bug. The only file that knows undici.
 */
import type { Socket } from 'node:net';
import { finished, pipeline, Readable, type Transform } from 'node:stream';
import { createSecureContext, getCACertificates, type SecureContext, type SecureVersion, TLSSocket } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import { createGunzip, createInflate } from 'node:zlib';
import { Agent, buildConnector, type Dispatcher } from 'undici';
import { codeOf, ConnectError, describe, HttpFailure, type HttpStage } from './failure.ts';
import { watchOffered, type OfferedCertificate } from '../tls/offered.ts';
import { ARE_YOU_THERE, chooseProxy, openTunnel, type ProxyOptions } from './proxy.ts';

export { HttpFailure, type HttpStage } from './failure.ts';

export interface HttpOptions extends ProxyOptions {
  /** CA certificates in PEM, added to those Node trusts by default. */
  readonly ca?: string | readonly string[];
  /** Milliseconds for TCP and TLS (and the proxy's CONNECT), default 10,000. */
  readonly connectTimeout?: number;
  /** Milliseconds from the last octet sent (or taken by the peer) to the answer's header, default 60,000. */
  readonly headersTimeout?: number;
  /** Milliseconds in which the peer must take a further piece of a streamed body, default 30,000. */
  readonly uploadTimeout?: number;
  /** Milliseconds between two pieces of an answer, default 60,000. */
  readonly bodyTimeout?: number;
  /** Connections per server, default 64; further requests wait. */
  readonly connections?: number;
  /** Lowest TLS version, default 1.2. Below it, the checks of keys and hashes are those of old times too. */
  readonly minTls?: '1.0' | '1.1' | '1.2' | '1.3';
}

/** A body whose octets are produced while they are sent. Chunks must not be changed after they were yielded. */
export interface StreamedBody {
  /** Exact number of octets; fewer or more is a bug of the caller and ends the request before its last octet. */
  readonly length: number;
  open(): AsyncIterable<Uint8Array>;
}

export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | StreamedBody;
  /** Ends the request with code ABORTED, whatever its stage. */
  readonly signal?: AbortSignal;
  /** Milliseconds, instead of the dispatcher's. */
  readonly headersTimeout?: number;
  /** Likewise. */
  readonly bodyTimeout?: number;
}

export interface HttpResponse {
  readonly status: number;
  /** Names in lower case; repeated fields joined by a comma. */
  readonly headers: Readonly<Record<string, string>>;
  /** The answer's octets, decompressed. Read it, or call text() or discard(): an answer left alone keeps its connection. */
  readonly body: AsyncIterable<Uint8Array>;
  /** The whole body as UTF-8 text. More than `limit` octets: HttpFailure with code TOO_LARGE. */
  text(limit: number): Promise<string>;
  /** Lets go of the rest of the body. */
  discard(): void;
}

export interface Http {
  /** Resolves when the answer's header is there, which may be before the request was sent whole. */
  request(request: HttpRequest): Promise<HttpResponse>;
  /** Ends every connection; what is in flight fails. Idempotent. */
  close(): Promise<void>;
}

/** One connection to one server, never made anew: what was proved on it holds for every request on it. */
export interface Lane {
  /** As Http.request. Fails before anything is sent, with code LANE_CLOSED, once the connection has ended. */
  request(request: HttpRequest): Promise<HttpResponse>;
  /** No request was made yet, or its connection is still there. */
  isOpen(): boolean;
  /** DER of the server's certificate, from the first answer on; without TLS there is none. */
  certificate(): Buffer | undefined;
  /** Ends the connection; what is in flight fails. Idempotent. */
  close(): void;
}

export interface HttpWithLanes extends Http {
  /** Closed by close() too. */
  lane(): Lane;
}

type Connector = buildConnector.connector;

const UPLOAD_TIMEOUT = 30_000;
/** Milliseconds that a connection which has logged in may idle; below the two minutes of IIS. */
const LANE_IDLE = 90_000;

/** Throws an Error with a plain sentence if a proxy's URL or a CA certificate cannot be used. */
export function createHttp(options: HttpOptions = {}): HttpWithLanes {
  const connect = connectorOf(options, true);
  // A TLS session that is resumed does not show the certificate, to which a login may have to be bound.
  const connectLane = connectorOf(options, false);
  const { uploadTimeout = UPLOAD_TIMEOUT } = options;
  const settings = {
    // One request at a time per connection, HTTP/1.1 only: what was handed to the socket is then known exactly.
    allowH2: false,
    pipelining: 1,
    connections: options.connections ?? 64,
    headersTimeout: options.headersTimeout ?? 60_000,
    bodyTimeout: options.bodyTimeout ?? 60_000,
  };
  const agent = new Agent({ ...settings, connect });
  const lanes = new Set<Lane>();
  return {
    request: (request) => new Promise((resolve, reject) => dispatch(agent, uploadTimeout, request, resolve, reject)),
    lane() {
      const lane = openLane(settings, uploadTimeout, connectLane, () => lanes.delete(lane));
      lanes.add(lane);
      return lane;
    },
    async close() {
      for (const lane of lanes) lane.close();
      await agent.destroy();
    },
  };
}

function openLane(settings: Agent.Options, uploadTimeout: number, connect: Connector, onEnd: () => void): Lane {
  let socket: Socket | undefined;
  let certificate: Buffer | undefined;
  let state: 'new' | 'used' | 'ended' = 'new';
  const end = (): void => {
    if (state === 'ended') return;
    state = 'ended';
    onEnd();
  };
  const once: Connector = (target, callback) => {
    if (state !== 'new') return callback(new ConnectError('LANE_CLOSED', 'its one connection has ended'), null);
    state = 'used';
    connect(target, (...[error, made]) => {
      if (error !== null) {
        end();
        return callback(error, null);
      }
      socket = made;
      made.once('close', end);
      if (made instanceof TLSSocket) certificate = made.getPeerCertificate().raw;
      callback(null, made);
    });
  };
  const agent = new Agent({ ...settings, connect: once, connections: 1, keepAliveTimeout: LANE_IDLE });
  return {
    request: (request) => new Promise((resolve, reject) => dispatch(agent, uploadTimeout, request, resolve, reject)),
    isOpen: () => state === 'new' || (state === 'used' && socket?.destroyed !== true),
    certificate: () => certificate,
    close() {
      end();
      void agent.destroy();
    },
  };
}

function dispatch(
  agent: Agent,
  uploadTimeout: number,
  request: HttpRequest,
  resolve: (response: HttpResponse) => void,
  reject: (error: unknown) => void,
): void {
  const url = new URL(request.url);
  const { signal } = request;
  let stage: HttpStage = 'connect';
  let controller: Dispatcher.DispatchController | undefined;
  let answer: Readable | undefined;
  let ended: Error | undefined;

  const fail = (error: unknown): void => {
    if (ended) return;
    signal?.removeEventListener('abort', onAbort);
    clearTimeout(stalled);
    // The caller's own error comes through as it is.
    ended =
      readerError !== undefined && error === readerError.error ? (error as Error) : describe(error, stage, url.host);
    if (answer) answer.destroy(ended);
    else reject(ended);
  };
  let readerError: { readonly error: unknown } | undefined;
  let stalled: NodeJS.Timeout | undefined;
  const stall = (): void => {
    const seconds = Math.round(uploadTimeout / 1000);
    fail(new HttpFailure('sending', 'ETIMEDOUT', `${url.host} took nothing more of the request for ${seconds} s`));
    controller?.abort(ended ?? new Error('stalled'));
  };
  const onAbort = (): void => {
    fail(new HttpFailure(stage, 'ABORTED', `the request to ${url.host} was given up`, { cause: signal?.reason }));
    controller?.abort(ended ?? new Error('given up'));
  };
  if (signal?.aborted) return onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });

  const headers: Record<string, string> = { 'accept-encoding': 'gzip, deflate' };
  for (const [name, value] of Object.entries(request.headers)) headers[name.toLowerCase()] = value;
  let body: string | Uint8Array | AsyncIterable<Uint8Array> | null = null;
  if (request.body !== undefined) {
    if (typeof request.body === 'string' || request.body instanceof Uint8Array) body = request.body;
    else {
      headers['content-length'] = String(request.body.length);
      body = exactly(request.body, {
        offered: () => {
          if (ended === undefined && answer === undefined) stalled = setTimeout(stall, uploadTimeout);
        },
        taken: () => clearTimeout(stalled),
        last: () => {
          stage = stage === 'sending' ? 'sent' : stage;
        },
        failed: (error) => void (readerError = { error }),
      });
    }
  }
  const streamed = body !== null && typeof body !== 'string' && !(body instanceof Uint8Array);

  agent.dispatch(
    {
      origin: url.origin,
      path: url.pathname + url.search,
      method: request.method as Dispatcher.HttpMethod,
      headers,
      // The declared type forgets async iterables; the documentation names them.
      body: body as string | Uint8Array | null,
      ...(request.headersTimeout === undefined ? {} : { headersTimeout: request.headersTimeout }),
      ...(request.bodyTimeout === undefined ? {} : { bodyTimeout: request.bodyTimeout }),
    },
    {
      onRequestStart(given) {
        controller = given;
        if (ended) given.abort(ended);
        else stage = streamed ? 'sending' : 'sent';
      },
      onResponseStart(given, status, fields) {
        if (status < 200 || ended) return;
        stage = 'receiving';
        clearTimeout(stalled);
        answer = new Readable({
          read: () => given.resume(),
          destroy: (error, done) => {
            if (!ended) given.abort(error ?? new Error('the answer was let go'));
            done(error);
          },
        });
        // Whoever lets go of an answer must not be hit by what happens to it afterwards.
        answer.on('error', () => {});
        finished(answer, () => signal?.removeEventListener('abort', onAbort));
        resolve(response(status, fields, answer, url.host));
      },
      onResponseData(given, chunk) {
        if (answer && !answer.push(chunk)) given.pause();
      },
      onResponseEnd() {
        ended ??= new Error('complete');
        answer?.push(null);
      },
      onResponseError(_given, error) {
        fail(error);
      },
    },
  );
}

/** Yields the last chunk only when the reader is through and the length is right: a server never gets a whole request of a broken body. */
async function* exactly(
  body: StreamedBody,
  tell: {
    readonly offered: () => void;
    readonly taken: () => void;
    readonly last: () => void;
    readonly failed: (error: unknown) => void;
  },
): AsyncGenerator<Uint8Array> {
  let held: Uint8Array | undefined;
  let total = 0;
  try {
    for await (const chunk of body.open()) {
      if (chunk.length === 0) continue;
      total += chunk.length;
      if (total > body.length) throw new Error(`a request body of ${body.length} octets was announced and more came`);
      if (held) {
        tell.offered();
        yield held;
        tell.taken();
      }
      held = chunk;
    }
    if (total !== body.length)
      throw new Error(`a request body of ${body.length} octets was announced and ${total} came`);
  } catch (error) {
    tell.failed(error);
    throw error;
  }
  tell.last();
  if (held) yield held;
}

function response(
  status: number,
  fields: Record<string, string | string[] | undefined>,
  answer: Readable,
  where: string,
): HttpResponse {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) headers[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : value;
  }
  const octets = decompressed(headers['content-encoding']?.trim().toLowerCase(), answer);
  async function* read(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of octets) yield chunk as Uint8Array;
    } catch (error) {
      throw describe(error, 'receiving', where);
    }
  }
  const body = read();
  return {
    status,
    headers,
    body,
    text: async (limit) => {
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of body) {
        size += chunk.length;
        if (size > limit)
          throw new HttpFailure('receiving', 'TOO_LARGE', `${where} answered with more than ${limit} octets`);
        chunks.push(chunk);
      }
      return Buffer.concat(chunks).toString('utf8');
    },
    discard: () => void octets.destroy(),
  };
}

function decompressed(encoding: string | undefined, answer: Readable): Readable {
  const unpack: Transform | undefined =
    encoding === 'gzip' || encoding === 'x-gzip'
      ? createGunzip()
      : encoding === 'deflate'
        ? createInflate()
        : undefined;
  if (!unpack) return answer;
  unpack.on('error', () => {});
  return pipeline(answer, unpack, () => {});
}

/** How connections are made: directly or through a proxy. */
function connectorOf(options: HttpOptions, resumes: boolean): Connector {
  const timeout = options.connectTimeout ?? 10_000;
  const tls = tlsOf(options.minTls);
  const secureContext = options.ca === undefined ? undefined : contextOf(options.ca, tls);
  const choose = chooseProxy(options);
  const direct = telling(
    buildConnector({
      timeout,
      allowH2: false,
      keepAliveInitialDelay: ARE_YOU_THERE,
      ...(resumes ? {} : { maxCachedSessions: 0 }),
      ...tls,
      ...(secureContext ? { secureContext } : {}),
    }),
  );
  return (target, callback) => {
    const { hostname, protocol } = target;
    const port = target.port || (protocol === 'https:' ? '443' : '80');
    const proxy = choose(protocol, hostname, port);
    if (!proxy) return direct(target, callback);
    openTunnel({ proxy, hostname, port, secureContext, timeout }, (error, httpSocket) => {
      if (httpSocket === null) callback(error ?? new Error('no tunnel'), null);
      else if (protocol === 'https:') direct({ ...target, httpSocket }, callback);
      else callback(null, httpSocket);
    });
  };
}

/** Makes every failure a ConnectError that keeps what the server showed: after a failed check the socket no longer knows the certificate. */
function telling(connect: Connector): Connector {
  return (target, callback) => {
    let certificate = (): OfferedCertificate | undefined => undefined;
    // The declared type forgets that the socket is returned.
    const made = connect(target, (...[error, socket]) => {
      if (error === null) callback(null, socket);
      else callback(new ConnectError(codeOf(error), error.message, { certificate: certificate(), cause: error }), null);
    }) as unknown as TLSSocket | undefined;
    if (target.protocol === 'https:' && made !== undefined) certificate = watchOffered(made);
  };
}

interface TlsLimits {
  readonly minVersion?: SecureVersion;
  readonly ciphers?: string;
}

function tlsOf(minTls: HttpOptions['minTls']): TlsLimits {
  switch (minTls) {
    // OpenSSL refuses the old versions at its usual security level, whatever minVersion says.
    case '1.0':
      return { minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' };
    case '1.1':
      return { minVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
    case '1.3':
      return { minVersion: 'TLSv1.3' };
    default:
      return {};
  }
}

function contextOf(extra: string | readonly string[], tls: TlsLimits): SecureContext {
  const list = typeof extra === 'string' ? [extra] : extra;
  try {
    for (const pem of list) void new X509Certificate(pem);
    return createSecureContext({ ...tls, ca: [...getCACertificates('default'), ...list] });
  } catch (error) {
    throw new Error(
      'the CA certificate given cannot be read: it must be PEM and begin with -----BEGIN CERTIFICATE-----',
      { cause: error },
    );
  }
}
