import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createConsole } from '../../src/console/server.ts';
import type { Console, ConsoleOptions } from '../../src/console/server.ts';
import type { Event } from '../../src/mail/event.ts';

const opened: Console[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((web) => web.stop()));
});

async function start(options: Partial<ConsoleOptions> = {}): Promise<{ web: Console; events: Event[] }> {
  const events: Event[] = [];
  const web = createConsole({
    address: '127.0.0.1',
    port: 0,
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4; charset=utf-8', body: 'up 1\n' }),
    ready: () => ({ ready: true, reasons: [] }),
    report: (event) => events.push(event),
    version: '0.1.0',
    ...options,
  });
  opened.push(web);
  await web.start();
  return { web, events };
}

/** Sends octets as they are and reads until the other side closes. */
async function raw(url: string, text: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.write(text);
  return readAll(socket);
}

async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  await new Promise((closed) => socket.once('close', closed));
  return Buffer.concat(chunks).toString('latin1');
}

const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);

describe('the pages', () => {
  it.each([
    ['/livez', 200, 'live\n', 'text/plain; charset=utf-8'],
    ['/readyz', 200, 'ready\n', 'text/plain; charset=utf-8'],
    ['/readyz?verbose', 200, 'ready\n', 'text/plain; charset=utf-8'],
    ['/metrics', 200, 'up 1\n', 'text/plain; version=0.0.4; charset=utf-8'],
    ['/metrics/', 404, 'not found\n', 'text/plain; charset=utf-8'],
    ['/nothing', 404, 'not found\n', 'text/plain; charset=utf-8'],
    ['/__proto__', 404, 'not found\n', 'text/plain; charset=utf-8'],
    ['//metrics', 404, 'not found\n', 'text/plain; charset=utf-8'],
  ])('%s answers %i', async (path, status, body, type) => {
    const { web } = await start();
    const answer = await fetch(web.url() + path);
    expect([answer.status, await answer.text(), answer.headers.get('content-type')]).toEqual([status, body, type]);
  });

  it('the first names program, version and the links', async () => {
    const { web } = await start({ version: '1.0<b>' });
    const answer = await fetch(web.url());
    const body = await answer.text();
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(body).toContain('smtp2exchange 1.0&lt;b&gt;');
    for (const path of ['/metrics', '/livez', '/readyz']) expect(body).toContain(`<a href="${path}">`);
  });

  it('tell why the gateway is not ready, one reason a line', async () => {
    const { web } = await start({ ready: () => ({ ready: false, reasons: ['starting', 'spool: full\r\nx'] }) });
    const answer = await fetch(`${web.url()}/readyz`);
    expect([answer.status, await answer.text()]).toEqual([503, 'not ready\nstarting\nspool: full x\n']);
    expect((await fetch(`${web.url()}/livez`)).status).toBe(200);
  });

  it('ask anew each time', async () => {
    let ready = false;
    const { web } = await start({ ready: () => ({ ready, reasons: [] }) });
    expect((await fetch(`${web.url()}/readyz`)).status).toBe(503);
    ready = true;
    expect((await fetch(`${web.url()}/readyz`)).status).toBe(200);
  });

  it.each(['/', '/livez', '/metrics', '/nothing'])('%s is never cached, framed or sniffed', async (path) => {
    const { web } = await start();
    const { headers } = await fetch(web.url() + path);
    expect(Object.fromEntries(headers)).toMatchObject({
      'cache-control': 'no-store',
      'content-security-policy': expect.stringContaining("default-src 'none'") as string,
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
    });
  });

  it('answer HEAD with the length and no body', async () => {
    const { web } = await start();
    const answer = await fetch(`${web.url()}/metrics`, { method: 'HEAD' });
    expect([answer.status, answer.headers.get('content-length'), await answer.text()]).toEqual([200, '5', '']);
  });

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('refuse %s', async (method) => {
    const { web } = await start();
    const answer = await fetch(`${web.url()}/metrics`, { method });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });
});

describe('metrics that fail', () => {
  it('are a 500 without details, and a bug in the log', async () => {
    const error = new Error('secret detail');
    const { web, events } = await start({ metrics: () => Promise.reject(error) });
    const answer = await fetch(`${web.url()}/metrics`);
    expect([answer.status, await answer.text()]).toEqual([500, 'internal error, see the log\n']);
    expect(events.at(-1)).toEqual({ event: 'bug', where: 'console', error });
    expect((await fetch(`${web.url()}/livez`)).status).toBe(200);
  });
});

describe('a client that does not behave', () => {
  it.each([
    ['names no host', 'GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    ['names a strange host', 'GET /livez HTTP/1.1\r\nHost: a b<script>\r\nConnection: close\r\n\r\n', 400],
    ['names a host with a path', 'GET /livez HTTP/1.1\r\nHost: x/y\r\nConnection: close\r\n\r\n', 400],
    ['names an IPv6 host', 'GET /livez HTTP/1.1\r\nHost: [::1]:8025\r\nConnection: close\r\n\r\n', 200],
    ['uses the absolute form', 'GET http://x/livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 200],
    ['asks for nothing', 'GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 404],
    ['speaks no HTTP', 'EHLO x\r\n\r\n', 400],
    ['sends a header without end', `GET /livez HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}`, 431],
    ['sends a body to a page', 'POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc', 405],
  ])('and %s gets its answer and is cut off', async (_, text, status) => {
    const { web } = await start();
    expect(statusOf(await raw(web.url(), text))).toBe(status);
  });

  it('and falls silent in the middle of a request is cut off within seconds', async () => {
    const { web } = await start();
    const begun = performance.now();
    const answer = await raw(web.url(), 'GET /livez HTTP/1.1\r\nHost: x\r\n');
    expect(statusOf(answer)).toBe(408);
    expect(performance.now() - begun).toBeLessThan(9_000);
  });
});

describe('start and stop', () => {
  it('says where it is', async () => {
    const { web, events } = await start();
    expect(web.url()).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(web.url()).not.toMatch(/:0$/);
    expect(events).toEqual([{ event: 'console.open', url: web.url() }]);
  });

  it('on every address shows a URL that works from this machine', async () => {
    const { web } = await start({ address: '0.0.0.0' });
    expect(web.url()).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await fetch(`${web.url()}/livez`)).status).toBe(200);
  });

  it.each([
    ['::', 'http://[::1]:8025'],
    ['fd00::7', 'http://[fd00::7]:8025'],
  ])('on %s writes the URL %s', (address, url) => {
    const unused = {
      metrics: () => Promise.reject(new Error('not asked')),
      ready: () => ({ ready: true, reasons: [] }),
    };
    expect(createConsole({ ...unused, address, port: 8025, report: () => undefined, version: '0' }).url()).toBe(url);
  });

  it('on a port in use is one clear sentence with the code behind it', async () => {
    const { web } = await start();
    const port = Number(new URL(web.url()).port);
    await expect(start({ port })).rejects.toMatchObject({
      message: `The console cannot listen on 127.0.0.1:${port}: another program uses the port (EADDRINUSE). Stop that program, or choose another console.port`,
      cause: { code: 'EADDRINUSE' },
    });
  });

  it('on an address of another machine is one clear sentence', async () => {
    await expect(start({ address: '192.0.2.1' })).rejects.toThrow(
      'The console cannot listen on 192.0.2.1:0: this machine does not have the address (EADDRNOTAVAIL). Set console.address to one of its own',
    );
  });

  it('lets go of the port, of idle clients and of those in the middle of a request', async () => {
    const { web } = await start();
    const port = Number(new URL(web.url()).port);
    const idle = connect(port, '127.0.0.1');
    const begun = connect(port, '127.0.0.1');
    await Promise.all([once(idle, 'connect'), once(begun, 'connect')]);
    begun.write('GET /livez HTTP/1.1\r\n');
    const gone = Promise.all([readAll(idle), readAll(begun)]);
    const before = performance.now();
    await Promise.all([web.stop(), web.stop()]);
    expect(performance.now() - before).toBeLessThan(3_000);
    await gone;
    await start({ port });
  });

  it('lets an answer under way finish', async () => {
    let finish: (() => void) | undefined;
    const asked = Promise.withResolvers<void>();
    const { web } = await start({
      metrics: async () => {
        const wait = new Promise<void>((resolve) => (finish = resolve));
        asked.resolve();
        await wait;
        return { contentType: 'text/plain', body: 'late\n' };
      },
    });
    const call = request(`${web.url()}/metrics`);
    call.end();
    const answered = once(call, 'response');
    await asked.promise;
    const stopped = web.stop();
    finish?.();
    const before = performance.now();
    const [response] = (await answered) as [NodeJS.ReadableStream & { statusCode: number }];
    response.resume();
    expect(response.statusCode).toBe(200);
    await stopped;
    expect(performance.now() - before).toBeLessThan(500);
  });

  it('stops when it was never started', async () => {
    const web = createConsole({
      address: '127.0.0.1',
      port: 0,
      metrics: () => Promise.reject(new Error('not asked')),
      ready: () => ({ ready: false, reasons: [] }),
      report: () => undefined,
      version: '0',
    });
    await expect(web.stop()).resolves.toBeUndefined();
  });
});
