/**
 * The control door: the way in for the operator's command `queue` while the gateway runs. HTTP and JSON on a Unix domain
 * socket in the gateway's own folder (on Windows a named pipe) that only the gateway's own user may open: the rights of the file
 * system are the login.
 *
 * Promises: it never holds up mail and never throws; requests are small and bounded, answers that are long stream. A door
 * that cannot be opened is an event and a sentence, and the gateway goes on without it.
 *
 *   GET  /v1                        Greeting
 *   GET  /v1/items?FILTER           { items }
 *   GET  /v1/items/ID               Story
 *   GET  /v1/items/ID/message?by=U  the message's octets
 *   POST /v1/acts                   ActOrder -> { outcomes }
 *   POST /v1/check                  CheckResult
 */
import { createHash } from 'node:crypto';
import { lstat, unlink } from 'node:fs/promises';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { platform } from 'node:os';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Report } from '../mail/event.ts';
import { SpoolError } from '../mail/spool.ts';
import type { Operations } from './operations.ts';
import type { Greeting, Refusal } from './wire.ts';
import { filterIn, isId, orderIn, userName } from './wire.ts';

export interface ControlOptions {
  /** Where the door is made. */
  readonly folder: string;
  /** What the spool is called: its file, or the URL of its database without the password. */
  readonly spool: string;
  readonly operations: Operations;
  /** Where mail can be moved to. */
  readonly routes: readonly string[];
  readonly report: Report;
  readonly version: string;
  readonly listening?: () => NonNullable<Greeting['listening']>;
}

export interface Control {
  /** Lets answers under way finish for a second. Idempotent. */
  stop(): Promise<void>;
}

/** Octets of an address of a socket, the zero at its end not counted: sun_path of Linux; others have four less. */
const ADDRESS_LIMIT = platform() === 'linux' ? 107 : 103;
/** Octets of a request's body: 500 ids with room. */
const BODY_LIMIT = 64 * 1024;
const MAX_CONNECTIONS = 32;
/** Milliseconds. */
const REQUEST_TIMEOUT = 5_000;
/** A reader of a message that has stopped reading. */
const READER_TIMEOUT = 60_000;
const GRACE = 1_000;

/** Where the door of a gateway is that has this folder for its own, absolute. */
export function controlPath(folder: string): string {
  const whole = resolve(folder);
  if (platform() !== 'win32') return join(whole, 'control.sock');
  const name = createHash('sha256').update(whole.toLowerCase()).digest('hex').slice(0, 16);
  return `\\\\.\\pipe\\smtp2exchange-${name}`;
}

/** Never rejects: a gateway without a door is a gateway. */
export async function openControl(options: ControlOptions): Promise<Control> {
  const { report } = options;
  const where = controlPath(options.folder);
  const server = createServer(
    {
      headersTimeout: REQUEST_TIMEOUT,
      requestTimeout: REQUEST_TIMEOUT,
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: REQUEST_TIMEOUT,
      maxHeaderSize: BODY_LIMIT,
    },
    (request, response) => void serve(request, response, options),
  );
  server.maxConnections = MAX_CONNECTIONS;
  try {
    await makeWay(where);
    await listen(server, where);
    report({ event: 'control.open', where });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    report({ event: 'control.failed', where, reason });
  }
  // A connection that could not be taken (no file descriptor left) is lost; the door stays open.
  server.on('error', () => undefined);
  let stopping: Promise<void> | undefined;
  return { stop: () => (stopping ??= close(server)) };
}

/** A socket that nobody listens on any more was left by a crash. Anything else stays as it is. */
async function makeWay(where: string): Promise<void> {
  if (platform() === 'win32') return;
  const length = Buffer.byteLength(where);
  if (length > ADDRESS_LIMIT) {
    throw new Error(
      `the path ${where} has ${length} octets, and the system takes ${ADDRESS_LIMIT} for a socket; choose a shorter folder: that of spool.sqlite, or with PostgreSQL spool.folder`,
    );
  }
  const there = await lstat(where).catch(() => undefined);
  if (there === undefined) return;
  if (!there.isSocket()) throw new Error(`${where} is there and is no socket; move it away`);
  if (await answers(where))
    throw new Error(
      `another gateway answers at ${where}; give each gateway a folder of its own: that of spool.sqlite, or with PostgreSQL spool.folder`,
    );
  await unlink(where);
}

function answers(where: string): Promise<boolean> {
  return new Promise((tell) => {
    const socket = connect(where);
    const end = (isThere: boolean) => (): void => {
      socket.destroy();
      tell(isThere);
    };
    socket.once('connect', end(true));
    // One that may not be asked, or is too busy, is there.
    socket.once('error', (error) => end(!('code' in error && error.code === 'ECONNREFUSED'))());
    socket.setTimeout(GRACE, end(true));
  });
}

/** The socket comes to exist inside listen(), with the rights that the mask leaves: there is no moment in which others may open it. */
async function listen(server: Server, where: string): Promise<void> {
  const { promise, resolve: opened, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  const mask = process.umask(0o177);
  try {
    server.listen(where, opened);
  } finally {
    process.umask(mask);
  }
  try {
    await promise;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`the socket cannot be opened: ${why}`, { cause: error });
  } finally {
    server.removeListener('error', reject);
  }
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return;
  const { promise, resolve: closed } = Promise.withResolvers<void>();
  server.close(() => closed());
  server.closeIdleConnections();
  const grace = setTimeout(() => server.closeAllConnections(), GRACE);
  await promise;
  clearTimeout(grace);
}

/** Never rejects. */
async function serve(request: IncomingMessage, response: ServerResponse, options: ControlOptions): Promise<void> {
  try {
    await answer(request, response, options);
  } catch (error) {
    // In the middle of a message: its length was told, so that the other end sees that it is not whole.
    if (response.headersSent) return void response.destroy();
    if (error instanceof SpoolError) return refuse(response, 503, { error: error.message, trouble: error.trouble });
    const bug = error instanceof Error ? error : new Error(String(error));
    options.report({ event: 'bug', where: 'control', error: bug });
    refuse(response, 500, { error: 'The gateway failed in an unforeseen way; the log line "bug" has the details' });
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, options: ControlOptions): Promise<void> {
  const { operations, spool, version, routes, listening = () => [] } = options;
  const url = URL.parse(request.url ?? '', 'http://control');
  if (url === null) return refuse(response, 400, { error: 'no path' });
  const { pathname, searchParams } = url;
  const [, id = '', message] = /^\/v1\/items\/([^/]+)(\/message)?$/.exec(pathname) ?? [];
  switch (`${request.method} ${id === '' ? pathname : `/v1/items/ID${message ?? ''}`}`) {
    case 'GET /v1':
      return send(response, { program: 'smtp2exchange', version, spool, listening: listening() } satisfies Greeting);
    case 'GET /v1/items': {
      const filter = filterIn(searchParams);
      if (!filter.ok) return refuse(response, 400, { error: filter.problem });
      return send(response, { items: await operations.list(filter.value) });
    }
    case 'GET /v1/items/ID': {
      const story = isId(id) ? await operations.show(id) : undefined;
      return story === undefined ? refuse(response, 404, { error: 'absent' }) : send(response, story);
    }
    case 'GET /v1/items/ID/message':
      return isId(id)
        ? sendMessage(id, userName(searchParams.get('by')), response, operations)
        : refuse(response, 404, { error: 'absent' });
    case 'POST /v1/acts': {
      const order = orderIn(await bodyOf(request), routes);
      if (!order.ok) return refuse(response, 400, { error: order.problem });
      return send(response, { outcomes: await operations.act(order.value) });
    }
    case 'POST /v1/check':
      return send(response, await operations.check());
    default:
      return refuse(response, 404, { error: 'The gateway does not know this request: it may be of an older version' });
  }
}

async function sendMessage(id: string, by: string, response: ServerResponse, operations: Operations): Promise<void> {
  const body = await operations.read(id, by);
  if (body === 'absent') return refuse(response, 404, { error: body });
  if (body === 'gone') return refuse(response, 410, { error: body });
  const octets = copied(body.octets);
  // Asked for before the answer begins: a body that cannot be read is a sentence then.
  const first = await octets.next();
  response.writeHead(200, { 'content-type': 'message/rfc822', 'content-length': body.size });
  response.setTimeout(READER_TIMEOUT, () => response.destroy());
  if (first.done !== true) response.write(first.value);
  await pipeline(octets, response);
}

/** A chunk of the spool is good until the next one is asked for, and the response may still hold it then. */
async function* copied(octets: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, undefined> {
  for await (const chunk of octets) yield Buffer.from(chunk);
  return undefined;
}

/** Undefined: it is too long, cut off, or no JSON. */
async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > BODY_LIMIT) return undefined;
      chunks.push(chunk);
    }
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    return undefined;
  }
}

function send(response: ServerResponse, value: unknown, status = 200): void {
  const body = JSON.stringify(value);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    // A body that nobody asked for is not read to its end.
    ...(status >= 400 ? { connection: 'close' } : {}),
  });
  response.end(body);
}

function refuse(response: ServerResponse, status: number, refusal: Refusal): void {
  send(response, refusal, status);
}
