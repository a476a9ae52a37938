import { createHash, randomBytes } from 'node:crypto';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { deflateSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import {
  createHttp,
  HttpFailure,
  type Http,
  type HttpOptions,
  type HttpRequest,
  type HttpResponse,
} from '../../src/exchange/http.ts';
import { createCertificate } from '../../src/sandbox/certificate.ts';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

function client(options: HttpOptions = {}): Http {
  const http = createHttp({ headersTimeout: 400, bodyTimeout: 400, connectTimeout: 2000, ...options });
  undo.push(() => http.close());
  return http;
}

/** A TCP peer that does as it likes. */
async function peer(behave: (socket: Socket) => void, host = '127.0.0.1'): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    behave(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  undo.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://${host}:${(server.address() as AddressInfo).port}/`;
}

async function website(
  listener: RequestListener,
  tls?: { cert: string; key: string },
  host = '127.0.0.1',
): Promise<string> {
  const server = tls ? createHttpsServer(tls, listener) : createHttpServer(listener);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  undo.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}/`;
}

/** Calls back once a request's header and `wanted` octets of its body have been read. */
function after(socket: Socket, wanted: number, then: () => void): void {
  let text = '';
  let size = -1;
  socket.on('data', (chunk: Buffer) => {
    if (size < 0) {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      size = text.length - end - 4;
    } else size += chunk.length;
    if (size < wanted) return;
    wanted = Infinity;
    then();
  });
}

const MB = 1_048_576;
function streamed(
  length: number,
  step = 65_536,
): Exclude<HttpRequest['body'], string | Uint8Array | undefined> & { taken: () => number } {
  let taken = 0;
  return {
    length,
    taken: () => taken,
    async *open() {
      for (let left = length; left > 0; left -= step) {
        const chunk = Buffer.alloc(Math.min(step, left), 'x');
        taken += chunk.length;
        yield chunk;
      }
    },
  };
}

async function failureOf(promise: Promise<unknown>): Promise<HttpFailure> {
  const error = await promise.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof HttpFailure)) throw error;
  return error;
}

async function ask(
  http: Http,
  url: string,
  body?: HttpRequest['body'],
  more: Partial<HttpRequest> = {},
): Promise<{ status: number; text: string }> {
  const answer = await http.request({
    method: body === undefined ? 'GET' : 'POST',
    url,
    headers: {},
    ...(body === undefined ? {} : { body }),
    ...more,
  });
  return { status: answer.status, text: await answer.text(MB) };
}

describe('how far a failed request had come', () => {
  const small = 'small body';
  const cases: readonly {
    readonly peer: string;
    readonly behave: (socket: Socket) => void;
    readonly body: () => HttpRequest['body'];
    readonly stage: HttpFailure['stage'];
    readonly code: RegExp;
  }[] = [
    {
      peer: 'resets a small request',
      behave: (s) => after(s, 0, () => s.resetAndDestroy()),
      body: () => small,
      stage: 'sent',
      code: /ECONNRESET|UND_ERR_SOCKET|EPIPE/,
    },
    {
      peer: 'resets before the body',
      behave: (s) => after(s, 0, () => s.resetAndDestroy()),
      body: () => streamed(8 * MB),
      stage: 'sending',
      code: /ECONNRESET|UND_ERR_SOCKET|EPIPE/,
    },
    {
      peer: 'resets in the middle of the body',
      behave: (s) => after(s, MB, () => s.resetAndDestroy()),
      body: () => streamed(8 * MB),
      stage: 'sending',
      code: /ECONNRESET|UND_ERR_SOCKET|EPIPE/,
    },
    {
      peer: 'closes in the middle of the body',
      behave: (s) => after(s, MB, () => s.end()),
      body: () => streamed(8 * MB),
      stage: 'sending',
      code: /ECONNRESET|UND_ERR_SOCKET|EPIPE/,
    },
    {
      peer: 'stops reading in the middle of the body',
      behave: (s) => after(s, MB, () => s.pause()),
      body: () => streamed(32 * MB),
      stage: 'sending',
      code: /^UND_ERR_HEADERS_TIMEOUT$/,
    },
    {
      peer: 'resets after the body',
      behave: (s) => after(s, MB, () => s.resetAndDestroy()),
      body: () => streamed(MB),
      stage: 'sent',
      code: /ECONNRESET|UND_ERR_SOCKET/,
    },
    {
      peer: 'closes after the body',
      behave: (s) => after(s, MB, () => s.end()),
      body: () => streamed(MB),
      stage: 'sent',
      code: /^UND_ERR_SOCKET$/,
    },
    {
      peer: 'is silent after the body',
      behave: (s) => after(s, MB, () => {}),
      body: () => streamed(MB),
      stage: 'sent',
      code: /^UND_ERR_HEADERS_TIMEOUT$/,
    },
    {
      peer: 'is silent after a small body',
      behave: (s) => after(s, 0, () => {}),
      body: () => small,
      stage: 'sent',
      code: /^UND_ERR_HEADERS_TIMEOUT$/,
    },
    {
      peer: 'does not speak HTTP',
      behave: (s) => after(s, 0, () => s.end('hello there\r\n\r\n')),
      body: () => small,
      stage: 'sent',
      code: /^HPE_/,
    },
    {
      peer: 'breaks off in its header',
      behave: (s) => after(s, 0, () => s.end('HTTP/1.1 200 OK\r\nContent-Le')),
      body: () => small,
      stage: 'sent',
      code: /UND_ERR_SOCKET|HPE_/,
    },
    {
      peer: 'breaks off in its body',
      behave: (s) => after(s, 0, () => s.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten octets')),
      body: () => small,
      stage: 'receiving',
      code: /UND_ERR_SOCKET|HPE_/,
    },
    {
      peer: 'breaks off between chunks',
      behave: (s) => after(s, 0, () => s.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n')),
      body: () => small,
      stage: 'receiving',
      code: /UND_ERR_SOCKET|HPE_/,
    },
    {
      peer: 'falls silent in its body',
      behave: (s) => after(s, 0, () => s.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten octets')),
      body: () => small,
      stage: 'receiving',
      code: /^UND_ERR_BODY_TIMEOUT$/,
    },
    {
      peer: 'sends damaged gzip',
      behave: (s) =>
        after(s, 0, () => s.end('HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\nnot gzip')),
      body: () => small,
      stage: 'receiving',
      code: /^Z_/,
    },
  ];
  for (const { peer: name, behave, body, stage, code } of cases) {
    it(`${stage}: a peer that ${name}`, async () => {
      const url = await peer(behave);
      const failure = await failureOf(ask(client(), `${url}secret-path?secret-query`, body()));
      expect({ stage: failure.stage, code: failure.code }).toEqual({ stage, code: expect.stringMatching(code) });
      expect(failure.message).toContain(new URL(url).host);
      expect(failure.message).not.toContain('secret');
    });
  }

  it('a peer that resets the connection at once never had the whole of a large body', async () => {
    const url = await peer((socket) => socket.resetAndDestroy());
    expect(['connect', 'sending']).toContain((await failureOf(ask(client(), url, streamed(8 * MB)))).stage);
  });

  it('connect: nothing listens', async () => {
    const http = client();
    for (const body of [undefined, small, streamed(MB)]) {
      const failure = await failureOf(ask(http, 'http://127.0.0.1:1/', body));
      expect(failure).toMatchObject({ stage: 'connect', code: 'ECONNREFUSED' });
      expect(failure.message).toContain('refused the connection');
    }
  });

  it('connect: a name that nobody knows', async () => {
    const failure = await failureOf(ask(client(), 'https://mail.smtp2exchange.invalid/', small));
    expect(failure).toMatchObject({
      stage: 'connect',
      code: expect.stringMatching(/^(ENOTFOUND|EAI_AGAIN)$/) as string,
    });
    expect(failure.message).toContain('mail.smtp2exchange.invalid');
  });

  it('connect: a peer that takes the connection and never shakes hands', async () => {
    const url = (await peer(() => {})).replace('http:', 'https:');
    const failure = await failureOf(ask(client({ connectTimeout: 300 }), url, small));
    expect(failure).toMatchObject({ stage: 'connect', code: 'UND_ERR_CONNECT_TIMEOUT' });
  });

  it('connect: TLS with a peer that does not speak it', async () => {
    const url = (await peer((socket) => socket.end('HTTP/1.1 400 Bad\r\n\r\n'))).replace('http:', 'https:');
    const failure = await failureOf(ask(client(), url, small));
    expect(failure.stage).toBe('connect');
    expect(failure.message).toContain('does not speak TLS');
  });
});

const soon = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(150) });

describe('giving up', () => {
  it('before it began', async () => {
    const failure = await failureOf(ask(client(), 'http://127.0.0.1:1/', 'x', { signal: AbortSignal.abort() }));
    expect(failure).toMatchObject({ stage: 'connect', code: 'ABORTED' });
  });

  it('while it waits for a connection: at once, and it is never sent', async () => {
    let seen = 0;
    const url = await peer((socket) => void after(socket, 0, () => void seen++));
    const http = client({ connections: 1, headersTimeout: 10_000 });
    const first = failureOf(ask(http, url, 'first'));
    const giveUp = new AbortController();
    const second = failureOf(ask(http, url, 'second', { signal: giveUp.signal }));
    await expect.poll(() => seen).toBe(1);
    giveUp.abort();
    expect(await second).toMatchObject({ stage: 'connect', code: 'ABORTED' });
    await http.close();
    expect((await first).stage).toBe('sent');
    expect(seen).toBe(1);
  });

  it('in the upload, while waiting for the answer, and in the answer', async () => {
    const silent = await peer((socket) => void after(socket, 0, () => {}));
    const slow = await peer((socket) =>
      after(socket, 0, () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten octets')),
    );
    const endless = await peer((socket) => after(socket, 0, () => socket.pause()));
    const http = client({ headersTimeout: 10_000, bodyTimeout: 10_000 });
    expect(await failureOf(ask(http, endless, streamed(64 * MB), soon()))).toMatchObject({
      stage: 'sending',
      code: 'ABORTED',
    });
    expect(await failureOf(ask(http, silent, 'x', soon()))).toMatchObject({ stage: 'sent', code: 'ABORTED' });
    expect(await failureOf(ask(http, slow, 'x', soon()))).toMatchObject({ stage: 'receiving', code: 'ABORTED' });
  });
});

describe('a peer that is there no more', () => {
  it('is found out when it takes nothing more of an upload, long before the answer is overdue', async () => {
    const stuck = await peer((socket) => after(socket, 0, () => socket.pause()));
    const http = client({ headersTimeout: 60_000, uploadTimeout: 500 });
    expect(await failureOf(ask(http, stuck, streamed(64 * MB)))).toMatchObject({ stage: 'sending', code: 'ETIMEDOUT' });
  });

  it('is not suspected while the reader of our own body is slow', async () => {
    const fine = await peer((socket) => {
      let seen = 0;
      socket.on('data', (data: Buffer) => {
        seen += data.length;
        if (seen > 300_000) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      });
    });
    const http = client({ headersTimeout: 5_000, uploadTimeout: 300 });
    const body = {
      length: 300_000,
      async *open() {
        for (let piece = 0; piece < 3; piece++) {
          await new Promise((wake) => setTimeout(wake, 400));
          yield Buffer.alloc(100_000);
        }
      },
    };
    expect((await ask(http, fine, body)).status).toBe(200);
  });
});

describe('bodies', () => {
  it('streams exactly what was announced', async () => {
    const content = randomBytes(3 * MB + 17);
    let seen: { length: string | undefined; hash: string } | undefined;
    const url = await website((request, response) => {
      const hash = createHash('sha256');
      request.on('data', (chunk: Buffer) => hash.update(chunk));
      request.on('end', () => {
        seen = { length: request.headers['content-length'], hash: hash.digest('hex') };
        response.end('ok');
      });
    });
    const body = {
      length: content.length,
      async *open() {
        for (let at = 0; at < content.length; at += 50_000) {
          yield content.subarray(at, at + 50_000);
          yield content.subarray(0, 0);
        }
      },
    };
    expect(await ask(client(), url, body)).toEqual({ status: 200, text: 'ok' });
    expect(seen).toEqual({ length: String(content.length), hash: createHash('sha256').update(content).digest('hex') });
  });

  it('an empty streamed body is sent as empty', async () => {
    const url = await website((request, response) => response.end(String(request.headers['content-length'])));
    expect((await ask(client(), url, streamed(0))).text).toBe('0');
  });

  const broken: readonly {
    readonly name: string;
    readonly chunks: readonly (number | Error)[];
    readonly error: RegExp;
  }[] = [
    { name: 'too short', chunks: [600, 399], error: /1000 octets was announced and 999 came/ },
    { name: 'too long', chunks: [600, 400, 1], error: /1000 octets was announced and more came/ },
    {
      name: 'a reader that fails at its end',
      chunks: [600, 400, new Error('the store is broken')],
      error: /^the store is broken$/,
    },
  ];
  for (const { name, chunks, error } of broken) {
    it(`${name}: the reader's error comes through and the server never has the whole`, async () => {
      let received = 0;
      const url = await website(
        (request) => void request.on('error', () => {}).on('data', (chunk: Buffer) => void (received += chunk.length)),
      );
      const body = {
        length: 1000,
        async *open() {
          for (const chunk of chunks) {
            if (chunk instanceof Error) throw chunk;
            yield Buffer.alloc(chunk);
          }
        },
      };
      const thrown = await ask(client(), url, body).catch((reason: unknown) => reason);
      expect(thrown).toBeInstanceOf(Error);
      expect(thrown).not.toBeInstanceOf(HttpFailure);
      expect((thrown as Error).message).toMatch(error);
      expect(received).toBeLessThan(1000);
    });
  }

  it('delivers an early refusal of a 25 MB upload without sending it whole', async () => {
    const body = streamed(25 * MB);
    const url = await peer((socket) =>
      after(socket, 1, () => {
        socket.pause();
        socket.write('HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 4\r\n\r\nstop');
      }),
    );
    const answer = await client().request({ method: 'POST', url, headers: {}, body });
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toBe('Bearer');
    expect(await answer.text(100)).toBe('stop');
    expect(body.taken()).toBeLessThan(25 * MB);
  });

  it('unpacks gzip and deflate whatever the status, and keeps the reader from more than its limit', async () => {
    const text = 'fault '.repeat(10_000);
    const url = await website((request, response) => {
      const gzip = request.url === '/gzip';
      response.writeHead(500, {
        'content-encoding': gzip ? 'gzip' : 'deflate',
        'x-seen': String(request.headers['accept-encoding']),
      });
      response.end(gzip ? gzipSync(text) : deflateSync(text));
    });
    const http = client();
    expect(await ask(http, `${url}gzip`)).toEqual({ status: 500, text });
    expect(await ask(http, `${url}deflate`)).toEqual({ status: 500, text });
    const bomb = await http.request({ method: 'GET', url: `${url}gzip`, headers: {} });
    expect(bomb.headers['x-seen']).toBe('gzip, deflate');
    expect(await failureOf(bomb.text(59_999))).toMatchObject({ stage: 'receiving', code: 'TOO_LARGE' });
  });

  it('sends a field once, however its name is written', async () => {
    const url = await website((request, response) => response.end(JSON.stringify(request.rawHeaders)));
    const answer = await client().request({
      method: 'POST',
      url,
      headers: { 'Accept-Encoding': 'identity', 'Content-Length': '1000' },
      body: streamed(1000),
    });
    const fields = (JSON.parse(await answer.text(MB)) as string[]).filter((_, index) => index % 2 === 0);
    expect(fields.map((name) => name.toLowerCase()).toSorted()).toEqual(
      [...new Set(fields.map((name) => name.toLowerCase()))].toSorted(),
    );
    expect(fields).toContain('accept-encoding');
  });

  it('joins repeated fields', async () => {
    const url = await website((_request, response) => {
      response.writeHead(200, { 'X-One': ['a', 'b'] });
      response.end();
    });
    const answer = await client().request({ method: 'GET', url, headers: {} });
    expect(answer.headers['x-one']).toBe('a, b');
    answer.discard();
  });

  it('does not wait for a reader, and waits with the server when the reader is slow', async () => {
    let written = 0;
    const url = await website((_request, response) => {
      response.writeHead(200);
      const pump = (): void => {
        while (written < 64 * MB && response.write(Buffer.alloc(65_536))) written += 65_536;
        if (written < 64 * MB) response.once('drain', pump);
        else response.end();
      };
      pump();
    });
    const answer = await client({ bodyTimeout: 10_000 }).request({ method: 'GET', url, headers: {} });
    const reader = answer.body[Symbol.asyncIterator]();
    await reader.next();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(written).toBeLessThan(32 * MB);
    await reader.return?.();
  });
});

it('an IPv6 address is reached as any other, with its certificate checked', async () => {
  const { ca, cert, key } = await createCertificate();
  const url = await website((_, response) => response.end('six'), { cert, key }, '::1');
  expect(url).toContain('[::1]');
  expect(await ask(client({ ca }), url)).toEqual({ status: 200, text: 'six' });
  expect(await failureOf(ask(client(), url))).toMatchObject({ stage: 'connect' });
});

describe('connections', () => {
  it('are used again, one request at a time, also after an answer nobody wanted', async () => {
    const sockets = new Set<Socket>();
    const url = await website((request, response) => {
      sockets.add(request.socket);
      request.resume().on('end', () => response.end('x'.repeat(1000)));
    });
    const http = client({ connections: 1 });
    for (let turn = 0; turn < 20; turn++)
      expect((await ask(http, url, turn % 2 ? streamed(100_000) : 'x')).status).toBe(200);
    expect(sockets.size).toBe(1);
    const unwanted = await http.request({ method: 'GET', url, headers: {} });
    unwanted.discard();
    expect((await ask(http, url, 'x')).status).toBe(200);
  });

  it('a POST that was cut off is not sent a second time', async () => {
    const bodies: string[] = [];
    const url = await website((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        bodies.push(body);
        if (body === 'two') request.socket.destroy();
        else response.end('ok');
      });
    });
    const http = client({ connections: 1 });
    await ask(http, url, 'one');
    expect(await failureOf(ask(http, url, 'two'))).toMatchObject({ stage: 'sent' });
    await ask(http, url, 'three');
    expect(bodies).toEqual(['one', 'two', 'three']);
  });

  it('redirects are not followed', async () => {
    const url = await website((_request, response) => response.writeHead(302, { location: '/elsewhere' }).end());
    expect((await ask(client(), url)).status).toBe(302);
  });

  it('close() ends what is in flight and can be called twice', async () => {
    const url = await peer((socket) => void after(socket, 0, () => {}));
    const http = client({ headersTimeout: 10_000 });
    const pending = failureOf(ask(http, url, 'x'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await http.close();
    await http.close();
    expect((await pending).stage).toBe('sent');
    expect((await failureOf(ask(http, url, 'x'))).stage).toBe('connect');
  });
});

describe('certificates', () => {
  it.each(['plain', 'with a certificate of its own'])('goes down to minTls and no further (%s)', async (kind) => {
    const tls = await createCertificate();
    const old = { ...tls, minVersion: 'TLSv1', maxVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' };
    const url = await website((_request, response) => void response.end('ok'), old);
    const ca = kind === 'plain' ? {} : { ca: tls.ca };
    const ask = (minTls: '1.0' | '1.2'): Promise<HttpResponse> =>
      client({ ...ca, minTls }).request({ method: 'GET', url, headers: {} });
    await expect(ask('1.2')).rejects.toThrow(/knows no TLS as new as .*exchange\.minTls/);
    // Without the authority the handshake comes as far as the certificate.
    const got = await ask('1.0').then(
      ({ status }) => status,
      ({ message }: Error) => /is not trusted/.exec(message)?.[0],
    );
    expect(got).toBe(kind === 'plain' ? 'is not trusted' : 200);
  });

  it('an unknown CA is refused before anything is sent, with the issuer named and what to do', async () => {
    let requests = 0;
    const tls = await createCertificate();
    const url = await website((_request, response) => void (requests++, response.end()), tls);
    const failure = await failureOf(ask(client(), url, 'x'));
    expect(failure.stage).toBe('connect');
    expect(failure.message).toMatch(/not trusted .*"localhost".*"smtp2exchange sandbox CA \w+".*set caFile/);
    expect(requests).toBe(0);
  });

  it('a CA that was given is trusted, alone or among others', async () => {
    const [tls, other] = await Promise.all([createCertificate(), createCertificate()]);
    const url = await website((_request, response) => void response.end('ok'), tls);
    for (const ca of [tls.ca, [other.ca, tls.ca], `${other.ca}\n${tls.ca}`]) {
      expect((await ask(client({ ca }), url)).text).toBe('ok');
    }
    expect((await failureOf(ask(client({ ca: other.ca }), url))).stage).toBe('connect');
  });

  it('a name or a date that does not fit is refused, again and again', async () => {
    const tls = await createCertificate();
    const old = await createCertificate({ now: () => Date.now() - 30 * 86_400_000 });
    const elsewhere = await website((_request, response) => void response.end(), tls, '127.0.0.2');
    const expired = await website((_request, response) => void response.end(), old);
    const http = client({ ca: [tls.ca, old.ca] });
    for (let turn = 0; turn < 2; turn++) {
      expect(await failureOf(ask(http, elsewhere))).toMatchObject({
        stage: 'connect',
        code: 'ERR_TLS_CERT_ALTNAME_INVALID',
      });
      const failure = await failureOf(ask(http, expired));
      expect(failure).toMatchObject({ stage: 'connect', code: 'CERT_HAS_EXPIRED' });
      expect(failure.message).toContain('has expired');
    }
  });

  it('a CA that is no certificate is said at once', () => {
    expect(() => createHttp({ ca: 'no certificate' })).toThrow(/must be PEM/);
  });
});
