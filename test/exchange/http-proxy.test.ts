import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { createHttp, HttpFailure, type HttpOptions } from '../../src/exchange/http.ts';
import { chooseProxy } from '../../src/exchange/proxy.ts';
import { createCertificate } from '../../src/sandbox/certificate.ts';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => void sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

interface Seen {
  readonly target: string | undefined;
  readonly login: string | undefined;
}

const none: RequestListener = (_request, response) => void response.writeHead(500).end();

/** A proxy that opens tunnels (to `to`, whatever was asked for), or answers with `status`. */
async function proxy(
  options: { status?: number; tls?: { cert: string; key: string }; to?: string } = {},
): Promise<{ port: number; seen: Seen[]; names: unknown[] }> {
  const seen: Seen[] = [];
  const names: unknown[] = [];
  const server = options.tls ? createHttpsServer(options.tls, none) : createHttpServer(none);
  server.on('connect', (request, socket, head) => {
    seen.push({ target: request.url, login: request.headers['proxy-authorization'] });
    socket.on('error', () => {});
    if (options.status !== undefined) {
      socket.end(`HTTP/1.1 ${options.status} No\r\nContent-Length: 2\r\n\r\nno`);
      return;
    }
    const [host, port] = (options.to ?? request.url ?? '').split(':');
    const onward = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      onward.write(head);
      onward.pipe(socket).pipe(onward);
    });
    onward.on('error', () => socket.destroy());
  });
  server.on('secureConnection', (socket: TLSSocket) => void names.push(socket.servername));
  return { port: await listen(server), seen, names };
}

async function target(tls?: {
  cert: string;
  key: string;
}): Promise<{ url: string; headers: Record<string, unknown>[] }> {
  const headers: Record<string, unknown>[] = [];
  const listener: RequestListener = (request, response) => {
    headers.push(request.headers);
    request.resume().on('end', () => response.end('through'));
  };
  const port = await listen(tls ? createHttpsServer(tls, listener) : createHttpServer(listener));
  return { url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}/`, headers };
}

async function post(options: HttpOptions, url: string): Promise<string> {
  const http = createHttp({ connectTimeout: 1000, ...options });
  undo.push(() => http.close());
  const answer = await http.request({
    method: 'POST',
    url,
    headers: {},
    body: {
      length: 4,
      open: async function* () {
        yield Buffer.from('body');
      },
    },
  });
  return await answer.text(100);
}

async function failureOf(promise: Promise<unknown>): Promise<HttpFailure> {
  const error = await promise.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof HttpFailure)) throw error;
  return error;
}

describe('through a proxy', () => {
  it('with a login, which the server never sees', async () => {
    const tls = await createCertificate();
    const [through, server] = [await proxy(), await target(tls)];
    const answer = await post({ ca: tls.ca, httpsProxy: `http://us%40er:p%3Aw@127.0.0.1:${through.port}` }, server.url);
    expect(answer).toBe('through');
    expect(through.seen).toEqual([
      { target: new URL(server.url).host, login: `Basic ${Buffer.from('us@er:p:w').toString('base64')}` },
    ]);
    expect(server.headers[0]).not.toHaveProperty('proxy-authorization');
  });

  it('for plain http, and by a proxy that is itself reached over TLS', async () => {
    const tls = await createCertificate();
    const [through, server] = [await proxy({ tls }), await target()];
    expect(await post({ ca: tls.ca, proxy: `https://127.0.0.1:${through.port}` }, server.url)).toBe('through');
    expect(through.seen).toEqual([{ target: new URL(server.url).host, login: undefined }]);
    const secure = await target(tls);
    expect(await post({ ca: tls.ca, proxy: `https://127.0.0.1:${through.port}` }, secure.url)).toBe('through');
  });

  it('that is checked by its own name when it is reached over TLS, not by that of the server behind it', async () => {
    const tls = await createCertificate();
    const server = await target();
    const through = await proxy({ tls, to: new URL(server.url).host });
    const url = 'http://exchange.contoso.test/';
    expect(await post({ ca: tls.ca, proxy: `https://localhost:${through.port}` }, url)).toBe('through');
    expect(through.seen).toEqual([{ target: 'exchange.contoso.test:80', login: undefined }]);
    expect(through.names).toEqual(['localhost']);
    const failure = await failureOf(post({ proxy: `https://localhost:${through.port}` }, url));
    expect(failure.message).toMatch(
      /^the certificate of the proxy localhost:\d+ is not trusted .*issued by "smtp2exchange sandbox CA \w+".*caFile/,
    );
  });

  it('with a login that holds a bare per cent sign', async () => {
    const [through, server] = [await proxy(), await target()];
    expect(await post({ proxy: `http://us%40er:p%C3%A4100%@127.0.0.1:${through.port}` }, server.url)).toBe('through');
    expect(through.seen[0]?.login).toBe(`Basic ${Buffer.from('us@er:pä100%').toString('base64')}`);
  });

  it('to an IPv6 address', async () => {
    const server = await target();
    const through = await proxy({ to: new URL(server.url).host });
    expect(await post({ proxy: `http://127.0.0.1:${through.port}` }, 'http://[2001:db8::1]:8080/')).toBe('through');
    expect(through.seen[0]?.target).toBe('[2001:db8::1]:8080');
  });

  it('not for hosts that noProxy names', async () => {
    const [through, server] = [await proxy(), await target()];
    expect(
      await post({ proxy: `http://127.0.0.1:${through.port}`, noProxy: 'example.com,127.0.0.1' }, server.url),
    ).toBe('through');
    expect(through.seen).toEqual([]);
  });

  it('tells who issued a certificate that is not trusted: the proxy may have put it there', async () => {
    const [through, server] = [await proxy(), await target(await createCertificate())];
    const failure = await failureOf(post({ proxy: `http://127.0.0.1:${through.port}` }, server.url));
    expect(failure.stage).toBe('connect');
    expect(failure.message).toMatch(/issued by "smtp2exchange sandbox CA \w+".*caFile/);
  });

  for (const { status, says } of [
    { status: 407, says: /wants a login/ },
    { status: 403, says: /refused to open the way to .*status 403/ },
    { status: 502, says: /refused to open the way to .*status 502/ },
  ]) {
    it(`says what a proxy means by ${status}, without its login`, async () => {
      const [through, server] = [await proxy({ status }), await target()];
      const failure = await failureOf(post({ proxy: `http://user:geheim@127.0.0.1:${through.port}` }, server.url));
      expect(failure).toMatchObject({ stage: 'connect', code: `PROXY_${status}` });
      expect(failure.message).toMatch(says);
      expect(failure.message).toContain(`the proxy 127.0.0.1:${through.port}`);
      expect(JSON.stringify([failure.message, failure.cause, String(failure.stack)])).not.toContain('geheim');
    });
  }

  it('says that a proxy is not there, is silent, or is no proxy', async () => {
    const server = await target();
    const silent = await listen(createServer(() => {}));
    const closing = await listen(createServer((socket) => void socket.on('error', () => {}).end()));
    const other = await listen(
      createServer((socket) => void socket.on('error', () => {}).end('220 mail.example ESMTP\r\n')),
    );
    expect(await failureOf(post({ proxy: 'http://127.0.0.1:1' }, server.url))).toMatchObject({
      stage: 'connect',
      code: 'ECONNREFUSED',
    });
    expect(
      await failureOf(post({ proxy: `http://127.0.0.1:${silent}`, connectTimeout: 200 }, server.url)),
    ).toMatchObject({ code: 'PROXY_TIMEOUT' });
    expect(await failureOf(post({ proxy: `http://127.0.0.1:${closing}` }, server.url))).toMatchObject({
      code: 'PROXY_CLOSED',
    });
    const failure = await failureOf(post({ proxy: `http://127.0.0.1:${other}` }, server.url));
    expect(failure).toMatchObject({ stage: 'connect', code: 'PROXY_CLOSED' });
    expect(failure.message).toContain('check that it is an HTTP proxy');
  });

  it('refuses a proxy address it cannot use, without repeating it', () => {
    for (const proxy of ['socks5://user:geheim@127.0.0.1:1080', 'proxy.example:8080', '::']) {
      expect(() => createHttp({ proxy })).toThrow(
        /^the proxy must be given as a URL that begins with http:\/\/ or https:\/\/$/,
      );
    }
  });
});

describe('which hosts need no proxy', () => {
  for (const { list, host, port = '443', direct } of [
    { list: '', host: 'outlook.office365.com', direct: false },
    { list: '*', host: 'outlook.office365.com', direct: true },
    { list: 'a, *', host: 'outlook.office365.com', direct: true },
    { list: 'office365.com', host: 'outlook.office365.com', direct: true },
    { list: '.office365.com', host: 'outlook.office365.com', direct: true },
    { list: '*.OFFICE365.com', host: 'Outlook.office365.com', direct: true },
    { list: 'ffice365.com', host: 'outlook.office365.com', direct: false },
    { list: 'outlook.office365.com:8443', host: 'outlook.office365.com', direct: false },
    { list: 'outlook.office365.com:8443', host: 'outlook.office365.com', port: '8443', direct: true },
    { list: '10.0.0.1 ::1', host: '::1', direct: true },
    { list: '[::1]:443', host: '::1', direct: true },
    { list: '[::1]:444', host: '::1', direct: false },
  ]) {
    it(`"${list}" and ${host}:${port}: ${direct ? 'direct' : 'proxy'}`, () => {
      const choose = chooseProxy({ proxy: 'http://proxy.example:8080', noProxy: list });
      expect(choose('https:', host, port)?.host).toBe(direct ? undefined : 'proxy.example:8080');
    });
  }

  it('takes the proxy of the scheme, and the one for everything before both', () => {
    const both = chooseProxy({ httpProxy: 'http://plain.example:1', httpsProxy: 'http://tls.example:2' });
    expect(both('http:', 'host', '80')?.host).toBe('plain.example:1');
    expect(both('https:', 'host', '443')?.host).toBe('tls.example:2');
    expect(chooseProxy({ httpProxy: 'http://plain.example:1' })('https:', 'host', '443')).toBeUndefined();
    expect(
      chooseProxy({ proxy: 'http://all.example:3', httpsProxy: 'http://tls.example:2' })('https:', 'host', '443')?.host,
    ).toBe('all.example:3');
  });
});
