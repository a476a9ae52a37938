/**
 * The console's HTTP port: /metrics for Prometheus, /livez and /readyz for whoever watches over the process, and a page
 * that names them. Plain HTTP, read only, no login, no state: open it to the network that may read it, no further.
 *
 * Promises: answers from what it is given and waits for nothing else; a client that is slow, silent or sends too much
 * is cut off within seconds. /livez answers 200 while the event loop turns, which is what it proves. A port that cannot
 * be opened is one sentence.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Report } from '../mail/event.ts';

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
}

export interface Console {
  /** Rejects with an Error whose message says what to do; its cause has the operating system's code. */
  start(): Promise<void>;
  /** Lets answers under way finish for a second. Idempotent. */
  stop(): Promise<void>;
  /** Where it can be reached from this machine, without a path. */
  url(): string;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly allow?: string;
}

/** Milliseconds. */
const REQUEST_TIMEOUT = 5_000;
const IDLE_TIMEOUT = 15_000;
const GRACE = 1_000;
const MAX_HEADER = 8_192;
const MAX_CONNECTIONS = 64;

const TEXT = 'text/plain; charset=utf-8';
const HTML = 'text/html; charset=utf-8';

export function createConsole(options: ConsoleOptions): Console {
  const server = createServer(
    {
      headersTimeout: REQUEST_TIMEOUT,
      requestTimeout: REQUEST_TIMEOUT,
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: 5_000,
      maxHeaderSize: MAX_HEADER,
    },
    (request, response) => void serve(request, response, options, () => !server.listening),
  );
  server.maxConnections = MAX_CONNECTIONS;
  // Also ends a client that does not read its answer.
  server.setTimeout(IDLE_TIMEOUT);
  let stopping: Promise<void> | undefined;
  return {
    start: () => open(server, options),
    stop: () => (stopping ??= close(server)),
    url: () => urlOf(options.address, (server.address() as AddressInfo | null)?.port ?? options.port),
  };
}

async function open(server: Server, { address, port, report }: ConsoleOptions): Promise<void> {
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
  report({ event: 'console.open', url: urlOf(address, (server.address() as AddressInfo).port) });
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

async function close(server: Server): Promise<void> {
  if (!server.listening) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeIdleConnections();
  const grace = setTimeout(() => server.closeAllConnections(), GRACE);
  await promise;
  clearTimeout(grace);
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  options: ConsoleOptions,
  isStopping: () => boolean,
): Promise<void> {
  let answer: Answer;
  try {
    answer = await answerTo(request, options);
  } catch (error) {
    const bug = error instanceof Error ? error : new Error(String(error));
    options.report({ event: 'bug', where: 'console', error: bug });
    answer = { status: 500, type: TEXT, body: 'internal error, see the log\n' };
  }
  response.writeHead(answer.status, {
    'content-type': answer.type,
    'content-length': Buffer.byteLength(answer.body),
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    ...(answer.allow === undefined ? {} : { allow: answer.allow }),
    // A body that nobody asked for is not read to its end.
    ...(isStopping() || (answer.status >= 400 && answer.status < 500) ? { connection: 'close' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : answer.body);
}

async function answerTo(request: IncomingMessage, options: ConsoleOptions): Promise<Answer> {
  if (!isHost(request.headers.host)) return { status: 400, type: TEXT, body: 'no valid Host field\n' };
  const path = pathOf(request.url ?? '');
  const page = PAGES.get(path);
  if (page === undefined) return { status: 404, type: TEXT, body: 'not found\n' };
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, type: TEXT, body: 'only GET and HEAD\n', allow: 'GET, HEAD' };
  }
  return page(options);
}

const PAGES = new Map<string, (options: ConsoleOptions) => Answer | Promise<Answer>>([
  ['/', ({ version }) => ({ status: 200, type: HTML, body: home(version) })],
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

function home(version: string): string {
  const links = ['metrics', 'livez', 'readyz'].map((name) => `<li><a href="/${name}">/${name}</a></li>`).join('\n');
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>smtp2exchange</title></head>
<body>
<h1>smtp2exchange ${escapeHtml(version)}</h1>
<p>An SMTP-to-Exchange gateway.</p>
<ul>
${links}
</ul>
</body>
</html>
`;
}

/** Of an origin-form or absolute-form target (RFC 9112 section 3.2); '' if it is neither. */
function pathOf(target: string): string {
  const path = target.startsWith('/') ? target : (/^https?:\/\/[^/?#]+(.*)$/i.exec(target)?.[1] ?? '');
  return path.split('?', 1)[0] ?? '';
}

/** A name or address with or without a port. Which name is the business of whoever put it into DNS. */
function isHost(value: string | undefined): boolean {
  return value !== undefined && /^(?:[\w.-]{1,253}|\[[\da-f:.]{2,45}\])(?::\d{1,5})?$/i.test(value);
}

function urlOf(address: string, port: number): string {
  const reachable = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address;
  return `http://${host(reachable)}:${port}`;
}

function host(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
