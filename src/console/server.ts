/**
 * The console's port: /metrics for Prometheus, /livez and /readyz for whoever watches over the process (no login, figures
 * only), and the operator's pages where there is a login. HTTP, or HTTPS with a certificate.
 *
 * Promises: answers from what it is given and waits for nothing else; a client that is slow, silent or sends too much
 * is cut off within seconds. /livez answers 200 while the event loop turns, which is what it proves. A port that cannot
 * be opened is one sentence.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { Report } from '../mail/event.ts';
import { SpoolError } from '../mail/spool.ts';
import type { KeyPair } from '../tls/selfsigned.ts';
import type { Answer, Asked } from './answer.ts';
import { HTML, TEXT } from './answer.ts';
import type { Markup } from './markup.ts';
import { markup } from './markup.ts';

export interface ConsoleOptions {
  /** IP address to listen on. */
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
  /** Whether mail is accepted. A mail server that is down is no reason against: the gateway is a buffer. */
  readonly ready: () => { readonly ready: boolean; readonly reasons: readonly string[] };
  readonly report: Report;
  readonly version: string;
  /** What is shown to whoever logs in; absent: nobody can. */
  readonly pages?: (asked: Asked) => Promise<Answer>;
  /** Absent: plain HTTP. */
  readonly certificate?: Certificate;
}

/** A certificate that may be replaced while it is in use. */
export interface Certificate {
  current(): KeyPair;
  /** Told after each change. */
  onChange(take: (pair: KeyPair) => void): void;
}

export interface Console {
  /** Rejects with an Error whose message says what to do; its cause has the operating system's code. */
  start(): Promise<void>;
  /** Lets answers under way finish for a second. Idempotent. */
  stop(): Promise<void>;
  /** Where it can be reached from this machine, without a path. */
  url(): string;
}

/** Milliseconds. */
const REQUEST_TIMEOUT = 5_000;
const IDLE_TIMEOUT = 15_000;
const GRACE = 1_000;
const MAX_HEADER = 8_192;
const MAX_CONNECTIONS = 64;
/** Octets of a request's body: 500 ids with room. */
const BODY_LIMIT = 64 * 1024;

export function createConsole(options: ConsoleOptions): Console {
  const server = serverOf(options.certificate);
  server.on('request', (request, response) => void serve(request, response, options, () => !server.listening));
  server.maxConnections = MAX_CONNECTIONS;
  // Also ends a client that does not read its answer.
  server.setTimeout(IDLE_TIMEOUT);
  let stopping: Promise<void> | undefined;
  return {
    start: () => open(server, options),
    stop: () => (stopping ??= close(server)),
    url: () => urlOf(options, (server.address() as AddressInfo | null)?.port ?? options.port),
  };
}

function serverOf(certificate: Certificate | undefined): Server | TlsServer {
  const limits = {
    headersTimeout: REQUEST_TIMEOUT,
    requestTimeout: REQUEST_TIMEOUT,
    connectionsCheckingInterval: 1_000,
    keepAliveTimeout: 5_000,
    maxHeaderSize: MAX_HEADER,
  };
  if (certificate === undefined) return createServer(limits);
  const tls = { minVersion: 'TLSv1.2', handshakeTimeout: REQUEST_TIMEOUT } as const;
  const server = createTlsServer({ ...limits, ...tls, ...certificate.current() });
  certificate.onChange((pair) => server.setSecureContext({ ...pair, minVersion: tls.minVersion }));
  return server;
}

async function open(server: Server | TlsServer, options: ConsoleOptions): Promise<void> {
  const { address, port, report } = options;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host: address, port, exclusive: true }, resolve);
  try {
    await promise;
  } catch (error) {
    throw new Error(openFault(address, port, error), { cause: error });
  } finally {
    server.removeListener('error', reject);
  }
  // A connection that could not be taken (no file descriptor left) is lost; the port stays open.
  server.on('error', () => undefined);
  report({ event: 'console.open', url: urlOf(options, (server.address() as AddressInfo).port) });
}

function openFault(address: string, port: number, error: unknown): string {
  const where = `The console cannot listen on ${host(address)}:${port}`;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'EADDRINUSE':
      return `${where}: another program uses the port (EADDRINUSE). Stop that program, or choose another console.port`;
    case 'EACCES':
      return `${where}: this user may not open the port (EACCES). Choose a console.port above 1023, or allow it`;
    case 'EADDRNOTAVAIL':
      return `${where}: this machine does not have the address (EADDRNOTAVAIL). Set console.address to one of its own`;
    case 'EAFNOSUPPORT':
    case 'EINVAL':
      return `${where}: the operating system takes no port on that address (${code}). Set console.address to 127.0.0.1 or another of its own`;
    default:
      return `${where}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

async function close(server: Server | TlsServer): Promise<void> {
  if (!server.listening) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeIdleConnections();
  const grace = setTimeout(() => server.closeAllConnections(), GRACE);
  await promise;
  clearTimeout(grace);
}

/** Never rejects. */
async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  options: ConsoleOptions,
  isStopping: () => boolean,
): Promise<void> {
  try {
    const answer = await answerTo(request, options);
    // A body that nobody asked for is not read to its end.
    const isLast = isStopping() || (answer.status >= 400 && answer.status < 500);
    await send(request, response, answer, isLast);
  } catch (error) {
    const known = error instanceof Error ? error : new Error(String(error));
    // The client went away, or the store failed, in the midst of an answer whose length was told: both ends see it.
    if (request.destroyed || response.headersSent) return void response.destroy();
    const isStore = known instanceof SpoolError;
    if (!isStore) options.report({ event: 'bug', where: 'console', error: known });
    const body = isStore
      ? `the store of the mail is in trouble: ${oneLine(known.message)}\n`
      : 'internal error, see the log\n';
    await send(request, response, { status: isStore ? 503 : 500, type: TEXT, body }, false);
  }
}

async function send(
  request: IncomingMessage,
  response: ServerResponse,
  { status, type, body, headers }: Answer,
  isLast: boolean,
): Promise<void> {
  const size = typeof body === 'string' ? Buffer.byteLength(body) : body.size;
  const octets = typeof body === 'string' ? undefined : copied(body.octets);
  // Asked for before the answer begins: what cannot be read is an answer of its own then.
  const first = await octets?.next();
  response.writeHead(status, {
    'content-type': type,
    ...(size === undefined ? {} : { 'content-length': size }),
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    'cross-origin-opener-policy': 'same-origin',
    'x-dns-prefetch-control': 'off',
    ...headers,
    ...(isLast ? { connection: 'close' } : {}),
  });
  if (request.method === 'HEAD') {
    await octets?.return(undefined);
    return void response.end();
  }
  if (octets === undefined) return void response.end(body);
  if (first?.done === false) response.write(first.value);
  await pipeline(octets, response);
}

/** A chunk of the spool is good until the next one is asked for, and the response may still hold it then. */
async function* copied(octets: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, undefined> {
  for await (const chunk of octets) yield Buffer.from(chunk);
  return undefined;
}

async function answerTo(request: IncomingMessage, options: ConsoleOptions): Promise<Answer> {
  if (!isHost(request.headers.host)) return { status: 400, type: TEXT, body: 'no valid Host field\n' };
  const { path, query } = targetOf(request.url ?? '');
  const { pages } = options;
  const figures = path === '/' && pages !== undefined ? undefined : PAGES.get(path);
  if (figures === undefined) {
    if (pages === undefined) return { status: 404, type: TEXT, body: 'not found\n' };
    return await pages(askedBy(request, path, query));
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, type: TEXT, body: 'only GET and HEAD\n', headers: { allow: 'GET, HEAD' } };
  }
  return figures(options);
}

function askedBy(request: IncomingMessage, path: string, query: string): Asked {
  const { method = '', headers, socket } = request;
  return {
    method,
    path,
    query: new URLSearchParams(query),
    headers,
    // An IPv4 client of a socket for both.
    peer: (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, ''),
    isSecure: 'encrypted' in socket,
    body: () => bodyOf(request),
  };
}

async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_LIMIT) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

const PAGES = new Map<string, (options: ConsoleOptions) => Answer | Promise<Answer>>([
  ['/', ({ version }) => ({ status: 200, type: HTML, body: home(version).toString() })],
  ['/livez', () => ({ status: 200, type: TEXT, body: 'live\n' })],
  ['/readyz', ({ ready }) => readiness(ready())],
  [
    '/metrics',
    async ({ metrics }) => {
      const { contentType, body } = await metrics();
      return { status: 200, type: contentType, body };
    },
  ],
]);

function readiness({ ready, reasons }: ReturnType<ConsoleOptions['ready']>): Answer {
  return ready
    ? { status: 200, type: TEXT, body: 'ready\n' }
    : { status: 503, type: TEXT, body: `not ready\n${reasons.map((reason) => `${oneLine(reason)}\n`).join('')}` };
}

function home(version: string): Markup {
  return markup`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <title>smtp2exchange</title>
      </head>
      <body>
        <h1>smtp2exchange ${version}</h1>
        <p>An SMTP-to-Exchange gateway.</p>
        <ul>
          ${['metrics', 'livez', 'readyz'].map((name) => markup`<li><a href="/${name}">/${name}</a></li> `)}
        </ul>
        <p>
          The operator's console is off, because nobody could log in to it. To turn it on, add to config.yaml and start
          anew:
        </p>
        <pre>
console:
  token: ...        # openssl rand -hex 24</pre>
        <p>or <code>users</code> with a password each; docs/console.md says more.</p>
      </body>
    </html> `;
}

/** Of an origin-form or absolute-form target (RFC 9112 section 3.2); the path is '' if it is neither. */
function targetOf(target: string): { readonly path: string; readonly query: string } {
  const whole = target.startsWith('/') ? target : (/^https?:\/\/[^/?#]+(.*)$/i.exec(target)?.[1] ?? '');
  const [before = ''] = whole.split('#', 1);
  const at = before.indexOf('?');
  return at < 0 ? { path: before, query: '' } : { path: before.slice(0, at), query: before.slice(at + 1) };
}

/** A name or address with or without a port. Which name is the business of whoever put it into DNS. */
function isHost(value: string | undefined): boolean {
  return value !== undefined && /^(?:[\w.-]{1,253}|\[[\da-f:.]{2,45}\])(?::\d{1,5})?$/i.test(value);
}

function urlOf({ address, certificate }: ConsoleOptions, port: number): string {
  const reachable = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address;
  return `${certificate === undefined ? 'http' : 'https'}://${host(reachable)}:${port}`;
}

function host(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
}
