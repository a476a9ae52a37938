/** What Exchange, or something that pretends to be it, answers to a send, and what the gateway makes of it. */
import { gzipSync } from 'node:zlib';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { NewMessage } from '../../src/exchange/ews.ts';
import { ANSWER_LIMIT } from '../../src/exchange/call.ts';
import type { DeliveryStatus } from '../../src/mail/status.ts';
import {
  type Answer,
  type Client,
  clientOf,
  created,
  envelope,
  fakeToken,
  fault,
  foundItems,
  messageError,
  type Peer,
  startPeer,
} from './ews-peer.ts';

let peer: Peer;
let client: Client;
const NOW = Date.UTC(2026, 10, 24, 12);

beforeAll(async () => {
  peer = await startPeer();
  client = await clientOf(peer.url, { http: { headersTimeout: 300, bodyTimeout: 300 }, now: () => NOW });
});
afterAll(async () => {
  await client.close();
  await peer.close();
});

/** The library must neither print nor leave a promise behind (vitest fails on unhandled rejections by itself). */
const spies = (['log', 'warn', 'error', 'info', 'debug'] as const).map((name) => vi.spyOn(console, name));
beforeEach(() => {
  peer.early = undefined;
  spies.forEach((spy) => spy.mockClear());
});
afterEach(() => {
  const printed = spies.flatMap((spy) => spy.mock.calls);
  if (printed.length > 0) throw new Error(`something was printed: ${JSON.stringify(printed)}`);
});

const MIME = Buffer.from('Subject: x\r\n\r\nbody\r\n');

function message(content = MIME): NewMessage {
  return {
    mailbox: 'sender@contoso.test',
    spoolId: 'id-1',
    blind: ['to@contoso.test'],
    saveCopy: true,
    content: {
      length: content.length,
      async *open() {
        yield content;
      },
    },
  };
}

function send(signal = new AbortController().signal, content = MIME): Promise<DeliveryStatus> {
  return client.ews.send(message(content), signal);
}

function reply(status: number, body: string | Buffer, headers: Record<string, string> = {}): Answer {
  return (_seen, response) => response.writeHead(status, { 'content-type': 'text/xml', ...headers }).end(body);
}

const XML = 'text/xml; charset=utf-8';
const TRANSPORT_FAULT = { outcome: 'delayed', code: '4.3.5', reach: 'transport' };
const UNKNOWN = { outcome: 'unknown', code: '4.4.2' };

const ANSWERS: readonly (readonly [what: string, answer: Answer, expected: Record<string, unknown>])[] = [
  ['success', reply(200, created()), { outcome: 'relayed', code: '2.0.0' }],
  ['success, gzipped', reply(200, gzipSync(created()), { 'content-encoding': 'gzip' }), { outcome: 'relayed' }],
  [
    'busy, as a fault',
    reply(500, fault('ErrorServerBusy', { values: { BackOffMilliseconds: '297749' } })),
    { outcome: 'delayed', cause: 'ErrorServerBusy', reach: 'mailbox', throttled: true, retryAfter: 297_749 },
  ],
  [
    'busy, inside a 200',
    reply(200, messageError('ErrorServerBusy', { values: { BackOffMilliseconds: '12000' } })),
    { outcome: 'delayed', cause: 'ErrorServerBusy', reach: 'mailbox', throttled: true, retryAfter: 12_000 },
  ],
  [
    'Send As denied',
    reply(200, messageError('ErrorSendAsDenied')),
    { outcome: 'failed', code: '5.7.1', cause: 'ErrorSendAsDenied' },
  ],
  [
    'an unknown code',
    reply(200, messageError('ErrorInventedTomorrow')),
    { outcome: 'delayed', cause: 'ErrorInventedTomorrow', capped: true, reach: 'message' },
  ],
  [
    'a timeout inside Exchange',
    reply(200, messageError('ErrorTimeoutExpired')),
    { outcome: 'unknown', cause: 'ErrorTimeoutExpired' },
  ],
  [
    'a schema fault',
    reply(500, fault('ErrorSchemaValidation')),
    { outcome: 'delayed', code: '4.3.5', reach: 'message', capped: true },
  ],
  [
    'a fault with status 200 and no detail',
    reply(
      200,
      envelope('<s:Fault><faultcode>ErrorImpersonateUserDenied</faultcode><faultstring>no</faultstring></s:Fault>'),
    ),
    { outcome: 'delayed', code: '4.3.5', reach: 'mailbox', cause: 'ErrorImpersonateUserDenied' },
  ],
  [
    'a fault without any code',
    reply(500, envelope('<s:Fault><faultcode>s:Server</faultcode><faultstring>no recipients</faultstring></s:Fault>')),
    { outcome: 'delayed', cause: 'SOAP fault', capped: true, reach: 'message' },
  ],
  [
    'an inner code',
    reply(500, fault('ErrorInternalServerError', { values: { InnerErrorResponseCode: 'ErrorQuotaExceeded' } })),
    { outcome: 'delayed', cause: 'ErrorQuotaExceeded', code: '4.2.2' },
  ],
  [
    '503 with seconds to wait',
    reply(503, 'busy', { 'retry-after': '120' }),
    { outcome: 'delayed', cause: 'HTTP 503', retryAfter: 120_000 },
  ],
  [
    '503 with a date to wait for',
    reply(503, '', {
      date: new Date(NOW).toUTCString(),
      'retry-after': new Date(NOW + 90_000).toUTCString(),
    }),
    { outcome: 'delayed', reach: 'transport', retryAfter: 90_000 },
  ],
  [
    '503 with a date, by a server whose clock is ten minutes ahead',
    reply(503, '', {
      date: new Date(NOW + 600_000).toUTCString(),
      'retry-after': new Date(NOW + 690_000).toUTCString(),
    }),
    { outcome: 'delayed', retryAfter: 90_000 },
  ],
  [
    '503 with a date and no clock of its own',
    (_seen, response) => {
      response.sendDate = false;
      response.writeHead(503, { 'retry-after': new Date(NOW + 90_000).toUTCString() }).end();
    },
    { outcome: 'delayed', retryAfter: 90_000 },
  ],
  [
    '504 with seconds to wait before anything is asked',
    reply(504, '', { 'retry-after': '300' }),
    { outcome: 'unknown', retryAfter: 300_000 },
  ],
  [
    '503 that asks for a day',
    reply(503, '', { 'retry-after': '86400' }),
    { outcome: 'delayed', retryAfter: 3_600_000 },
  ],
  [
    '429',
    reply(429, '<html>', { 'retry-after': '7' }),
    { outcome: 'delayed', throttled: true, reach: 'mailbox', retryAfter: 7_000 },
  ],
  ['401', reply(401, ''), { ...TRANSPORT_FAULT, cause: 'HTTP 401' }],
  ['403', reply(403, '<html>Forbidden</html>'), { ...TRANSPORT_FAULT, cause: 'HTTP 403' }],
  ['404', reply(404, ''), TRANSPORT_FAULT],
  ['405', reply(405, 'Method not allowed'), TRANSPORT_FAULT],
  ['413', reply(413, '<html>too large</html>'), { outcome: 'failed', code: '5.3.4', cause: 'HTTP 413' }],
  ['400', reply(400, 'Bad Request'), { outcome: 'failed', cause: 'HTTP 400' }],
  ['500 with a page', reply(500, '<html><br>oops'), { outcome: 'delayed', capped: true, cause: 'HTTP 500' }],
  [
    '500 while the application starts',
    reply(500, "<html>Server Error in '/EWS' Application.</html>"),
    { outcome: 'delayed', reach: 'mailbox', code: '4.3.0' },
  ],
  ['500 with nothing', reply(500, ''), { outcome: 'delayed', capped: true, reach: 'message' }],
  [
    'a code only in X-CasErrorCode',
    reply(500, '', { 'x-caserrorcode': 'ErrorMailboxMoveInProgress' }),
    { outcome: 'delayed', cause: 'ErrorMailboxMoveInProgress', reach: 'mailbox' },
  ],
  ['200 with a page', reply(200, '<html><body><br>log in</body></html>'), UNKNOWN],
  ['200 with nothing', reply(200, ''), UNKNOWN],
  ['200 cut off in the middle', reply(200, created().slice(0, 300)), UNKNOWN],
  ['200 with JSON', reply(200, '{"ok":true}', { 'content-type': 'application/json' }), UNKNOWN],
  ['200 with the answer to another question', reply(200, foundItems([])), UNKNOWN],
  ['200 that never ends', reply(200, created() + ' '.repeat(ANSWER_LIMIT)), { ...UNKNOWN, cause: 'unusable answer' }],
  ['202', reply(202, ''), UNKNOWN],
  ['302 to somewhere', reply(302, '', { location: 'https://login.contoso.test/path?secret=1' }), TRANSPORT_FAULT],
  [
    '302 to the error page',
    reply(302, '', { location: '/ews/genericerrorpage.htm?aspxerrorpath=/ews/exchange.asmx' }),
    { outcome: 'delayed', code: '4.3.0' },
  ],
  ['504', reply(504, 'Gateway Timeout'), { outcome: 'unknown', cause: 'HTTP 504' }],
  ['504 with a fault', reply(504, fault('ErrorServerBusy')), { outcome: 'unknown', cause: 'HTTP 504' }],
  ['403 with a fault', reply(403, fault('ErrorAccessDenied')), { ...TRANSPORT_FAULT, cause: 'HTTP 403' }],
  ['507', reply(507, ''), { outcome: 'delayed', reach: 'mailbox' }],
  ['silence', () => {}, { ...UNKNOWN, cause: 'UND_ERR_HEADERS_TIMEOUT' }],
  ['a reset after the whole request', (_seen, response) => response.destroy(), UNKNOWN],
  [
    'a reset in the middle of the answer',
    (_seen, response) => {
      response.writeHead(200, { 'content-type': XML, 'content-length': '5000' });
      response.write(created());
      setTimeout(() => response.destroy(), 20);
    },
    UNKNOWN,
  ],
  [
    'a failure whose page breaks off',
    (_seen, response) => {
      response.writeHead(503, { 'content-length': '5000', 'retry-after': '3' });
      response.write('<html>');
      setTimeout(() => response.destroy(), 20);
    },
    { outcome: 'delayed', cause: 'HTTP 503', retryAfter: 3_000 },
  ],
];

describe('an answer to a send', () => {
  it.each(ANSWERS)('%s', async (_what, answer, expected) => {
    peer.answer = answer;
    const status = await send();
    expect(status).toMatchObject(expected);
    expect(`${status.cause} ${status.text}`).not.toContain('@');
    // The service is not worn out by it.
    peer.answer = reply(200, created());
    expect(await send()).toMatchObject({ outcome: 'relayed' });
  });

  it('gives the operator the words and ids of the server, in one bounded line each', async () => {
    peer.answer = reply(200, messageError('ErrorAccessDenied', { text: `Access is denied.&#10;${'x'.repeat(5000)}` }), {
      'request-id': 'req-7',
      'x-feserver': 'FE1',
      'x-beserver': 'BE2',
      'x-ms-diagnostics': '2000008;reason="The token is odd."',
    });
    const status = await send();
    expect(status.ids).toEqual({
      clientRequestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      requestId: 'req-7',
      server: 'FE1/BE2',
    });
    expect(status.ids?.clientRequestId).toBe(peer.seen.at(-1)?.headers['client-request-id']);
    expect(status.reason).toContain('\nExchange says: Access is denied. xxx');
    expect(status.reason).toContain('\nx-ms-diagnostics: 2000008;reason="The token is odd."');
    expect(status.reason?.length).toBeLessThan(1500);
  });

  it('names the host of a redirect and nothing more of it', async () => {
    peer.answer = reply(302, '', { location: 'https://login.contoso.test/path?secret=1' });
    const { reason } = await send();
    expect(reason).toContain('login.contoso.test');
    expect(reason).not.toContain('secret');
  });

  it('405 to a large request may mean its size, and holds up nobody else', async () => {
    peer.answer = reply(405, 'Method not allowed');
    expect(await send(undefined, Buffer.alloc(4_000_000))).toMatchObject({
      outcome: 'delayed',
      reach: 'message',
      capped: true,
    });
  });

  it('success tells the ids too', async () => {
    peer.answer = reply(200, created(), { 'request-id': 'req-8' });
    expect(await send()).toMatchObject({ outcome: 'relayed', ids: { requestId: 'req-8' } });
  });

  it('is told apart while many are under way at once', async () => {
    const codes = ['ErrorServerBusy', 'ErrorSendAsDenied', 'NoError', 'ErrorQuotaExceeded'];
    let next = 0;
    peer.answer = (_seen, response) => {
      const code = codes[next++ % codes.length] ?? '';
      response.setHeader('request-id', code);
      setTimeout(() => response.end(code === 'NoError' ? created() : messageError(code)), Math.random() * 30);
    };
    const statuses = await Promise.all(Array.from({ length: 40 }, () => send()));
    for (const status of statuses) expect(status.cause).toBe(status.ids?.requestId);
    expect(new Set(statuses.map(({ cause }) => cause)).size).toBe(4);
  });
});

describe('giving up', () => {
  it('before anything is sent: surely not acted on', async () => {
    const before = peer.seen.length;
    expect(await send(AbortSignal.abort())).toMatchObject({ outcome: 'delayed', reach: 'message', cause: 'ABORTED' });
    expect(peer.seen.length).toBe(before);
  });

  it('while the request is under way: surely not acted on', async () => {
    const controller = new AbortController();
    const ended = new Promise<boolean>((resolve) => {
      peer.early = (request) => {
        request.on('data', () => {});
        request.on('close', () => resolve(request.complete));
        return true;
      };
    });
    const sent = client.ews.send(
      {
        ...message(),
        content: {
          length: 1_000_000,
          async *open() {
            yield Buffer.alloc(500_000);
            controller.abort();
            await new Promise((resolve) => setTimeout(resolve, 50));
            yield Buffer.alloc(500_000);
          },
        },
      },
      controller.signal,
    );
    expect(await sent).toMatchObject({ outcome: 'delayed', reach: 'message', cause: 'ABORTED' });
    expect(await ended).toBe(false);
  });

  it('after the whole request was sent: unknown', async () => {
    const controller = new AbortController();
    peer.answer = () => controller.abort();
    expect(await send(controller.signal)).toMatchObject({ outcome: 'unknown', cause: 'ABORTED' });
  });

  it('while the answer comes: unknown', async () => {
    const controller = new AbortController();
    peer.answer = (_seen, response) => {
      response.writeHead(200, { 'content-type': XML });
      response.write(created().slice(0, 100));
      setTimeout(() => controller.abort(), 20);
    };
    expect(await send(controller.signal)).toMatchObject({ outcome: 'unknown' });
  });
});

describe('trouble on the way', () => {
  it('nobody listens: the whole route waits', async () => {
    const gone = await startPeer();
    await gone.close();
    const other = await clientOf(gone.url);
    expect(await other.ews.send(message(), new AbortController().signal)).toMatchObject({
      outcome: 'delayed',
      code: '4.4.1',
      reach: 'transport',
      cause: 'ECONNREFUSED',
    });
    await other.close();
  });

  it('cut off in the middle of the request: surely not acted on', async () => {
    peer.early = (request) => {
      request.once('data', () => request.socket.destroy());
      return true;
    };
    expect(await send(undefined, Buffer.alloc(8_000_000))).toMatchObject({
      outcome: 'delayed',
      reach: 'message',
      code: '4.4.2',
    });
  });

  it('a certificate nobody vouches for is a matter of configuration', async () => {
    const { createServer } = await import('node:https');
    const { generate } = await import('selfsigned');
    const pems = await generate([{ name: 'commonName', value: 'localhost' }]);
    const server = createServer({ key: pems.private, cert: pems.cert });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const other = await clientOf(`https://127.0.0.1:${port}/EWS/Exchange.asmx`);
    const status = await other.ews.send(message(), new AbortController().signal);
    expect(status).toMatchObject({ outcome: 'delayed', code: '4.3.5', reach: 'transport' });
    expect(status.reason).toContain('caFile');
    await other.close();
    await new Promise((resolve) => server.close(resolve));
  });

  it('an error of the message reader passes through, and nothing is sent', async () => {
    let isComplete: boolean | undefined;
    const ended = new Promise<void>((resolve) => {
      peer.early = (request) => {
        request.on('data', () => {});
        request.on('close', () => {
          isComplete = request.complete;
          resolve();
        });
        return true;
      };
    });
    const broken = {
      ...message(),
      content: {
        length: 200_000,
        async *open() {
          yield Buffer.alloc(100_000);
          throw new Error('the spool is gone');
        },
      },
    };
    await expect(client.ews.send(broken, new AbortController().signal)).rejects.toThrow('the spool is gone');
    await ended;
    expect(isComplete).toBe(false);
  });
});

async function withToken(
  token: ReturnType<typeof fakeToken>,
  use: (send: () => Promise<DeliveryStatus>) => Promise<void>,
): Promise<void> {
  const other = await clientOf(peer.url, { token });
  try {
    await use(() => other.ews.send(message(), new AbortController().signal));
  } finally {
    await other.close();
  }
}
const byToken: Answer = (seen, response) => {
  const isFresh = seen.headers.authorization === 'Bearer fresh';
  response.writeHead(isFresh ? 200 : 401).end(isFresh ? created() : 'denied');
};

describe('the token', () => {
  it('is replaced once when it is refused, and the message sent again from its start', async () => {
    peer.answer = byToken;
    const token = fakeToken('stale', 'fresh');
    const before = peer.seen.length;
    await withToken(token, async (send) => expect(await send()).toMatchObject({ outcome: 'relayed' }));
    expect(token.refused).toEqual(['stale']);
    const [first, second] = peer.seen.slice(before);
    expect(peer.seen.length).toBe(before + 2);
    expect(second?.headers['client-request-id']).not.toBe(first?.headers['client-request-id']);
    expect(second?.headers['content-length']).toBe(first?.headers['content-length']);
  });

  it('is replaced even when the refusal comes before the request is through', async () => {
    peer.answer = reply(200, created());
    peer.early = (request: IncomingMessage, response: ServerResponse) => {
      if (request.headers.authorization !== 'Bearer stale') return false;
      response.writeHead(401, { connection: 'close' }).end();
      return true;
    };
    const token = fakeToken('stale', 'fresh');
    const other = await clientOf(peer.url, { token });
    expect(await other.ews.send(message(Buffer.alloc(5_000_000)), new AbortController().signal)).toMatchObject({
      outcome: 'relayed',
    });
    await other.close();
  });

  it('is replaced on the only connection there is, whatever the refusal drags along', async () => {
    peer.answer = (seen, response) =>
      seen.headers.authorization === 'Bearer fresh'
        ? response.end(created())
        : response.writeHead(401).end(Buffer.alloc(5_000_000));
    const other = await clientOf(peer.url, { token: fakeToken('stale', 'fresh'), http: { connections: 1 } });
    expect(await other.ews.send(message(), new AbortController().signal)).toMatchObject({ outcome: 'relayed' });
    await other.close();
  });

  it('refused twice holds the route', async () => {
    peer.answer = reply(401, '');
    const token = fakeToken('stale', 'also stale');
    const before = peer.seen.length;
    await withToken(token, async (send) =>
      expect(await send()).toMatchObject({ ...TRANSPORT_FAULT, cause: 'HTTP 401' }),
    );
    expect(peer.seen.length).toBe(before + 2);
  });

  it('that stays the same is not tried twice', async () => {
    peer.answer = reply(401, '');
    const before = peer.seen.length;
    await withToken(fakeToken('stale'), async (send) => expect(await send()).toMatchObject(TRANSPORT_FAULT));
    expect(peer.seen.length).toBe(before + 1);
  });

  it('that cannot be had: a fault of ours holds the route as such, an outage only for its time', async () => {
    const before = peer.seen.length;
    const failure = {
      ok: false,
      cause: 'AADSTS7000222',
      misconfigured: true,
      advice: 'The client secret has expired.',
    } as const;
    await withToken(fakeToken(failure), async (send) =>
      expect(await send()).toMatchObject({
        ...TRANSPORT_FAULT,
        cause: 'AADSTS7000222',
        reason: 'The client secret has expired.',
      }),
    );
    const outage = {
      ok: false,
      cause: 'ENOTFOUND',
      misconfigured: false,
      advice: 'No DNS.',
      retryAfter: 4_000,
    } as const;
    await withToken(fakeToken(outage), async (send) =>
      expect(await send()).toMatchObject({ outcome: 'delayed', code: '4.4.3', reach: 'transport', retryAfter: 4_000 }),
    );
    await withToken(
      fakeToken({ ok: false, cause: 'ABORTED', misconfigured: false, advice: 'given up' }),
      async (send) => expect(await send()).toMatchObject({ outcome: 'delayed', reach: 'message' }),
    );
    expect(peer.seen.length).toBe(before);
  });

  it('is in no status', async () => {
    peer.answer = reply(403, 'no', { 'x-ms-diagnostics': 'denied' });
    await withToken(fakeToken('very-secret'), async (send) =>
      expect(JSON.stringify(await send())).not.toContain('very-secret'),
    );
  });
});
