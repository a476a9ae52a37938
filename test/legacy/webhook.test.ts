/** Real servers on loopback, through the gateway's own HTTP; the table of answers row by row. */
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHttp, HttpFailure } from '../../src/exchange/http.ts';
import type { Http, HttpOptions } from '../../src/exchange/http.ts';
import { asciiText, webhookTransport } from '../../src/legacy/webhook.ts';
import type { Send, WebhookOptions } from '../../src/legacy/webhook.ts';
import { meaningOfAnswer, withoutAnswer } from '../../src/legacy/webhook-answers.ts';
import type { RequestFailure } from '../../src/legacy/webhook-answers.ts';
import { sign } from '../../src/legacy/webhook-signature.ts';
import { webhookKey } from '../../src/mail/signing-key.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import type { DeliveryStatus } from '../../src/mail/status.ts';
import { makeCertificate } from '../../src/tls/selfsigned.ts';
import { FAX, large, never, outgoing, PLAIN } from './site.ts';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const KEY = webhookKey(SECRET);
if (KEY === undefined) throw new Error('not a key');
const NOW = Date.UTC(2026, 10, 25, 12, 0, 0);

interface Taken {
  readonly request: IncomingMessage;
  readonly body: Buffer;
}

let taken: Taken[];
let answer: (taken: Taken, response: ServerResponse) => void;
let server: Server | undefined;
let http: Http;
let url: string;

function take(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const one = { request, body: Buffer.concat(chunks) };
    taken.push(one);
    answer(one, response);
  });
}

async function listen(made: Server, scheme = 'http'): Promise<void> {
  server?.close();
  server = made;
  await once(made.listen(0, '127.0.0.1'), 'listening');
  url = `${scheme}://127.0.0.1:${(made.address() as AddressInfo).port}/in?token=in-the-url`;
}

async function client(options: HttpOptions): Promise<void> {
  await http.close();
  http = createHttp(options);
}

beforeEach(async () => {
  taken = [];
  answer = (_taken, response) => void response.writeHead(202).end('thanks');
  http = createHttp();
  await listen(createServer(take));
});
afterEach(async () => {
  await http.close();
  server?.closeAllConnections();
  server?.close();
});

const open = (more: Partial<WebhookOptions> = {}): ReturnType<typeof webhookTransport> =>
  webhookTransport({ url, form: 'raw', send: (request) => http.request(request), now: () => NOW, ...more });
const deliver = (
  more: Partial<WebhookOptions> = {},
  given = outgoing(PLAIN),
  signal = never,
): Promise<DeliveryStatus> => open(more).deliver(given, signal);

describe('a request', () => {
  it('holds the message as it is, and says what it is', async () => {
    const given = outgoing(PLAIN, { to: ['"a,b"@fax.local', 'ö@büro.example'] });
    const { id } = given.item;
    expect(
      await deliver({ headers: { Authorization: 'Bearer secret-token', 'x-smtp2exchange-id': 'no' } }, given),
    ).toEqual({
      outcome: 'relayed',
      code: '2.0.0',
      cause: 'HTTP 202',
      text: 'Accepted by the webhook',
      reason: `${new URL(url).host} answered 202. It says: thanks`,
    });
    expect(taken).toHaveLength(1);
    expect(taken[0]?.body.toString()).toBe(PLAIN);
    expect(taken[0]?.request.url).toBe('/in?token=in-the-url');
    expect(taken[0]?.request.method).toBe('POST');
    expect(taken[0]?.request.headers).toMatchObject({
      authorization: 'Bearer secret-token',
      'content-type': 'message/rfc822',
      'content-length': String(PLAIN.length),
      'idempotency-key': `"${id}"`,
      'x-smtp2exchange-id': id,
      'x-smtp2exchange-from': 'ann@contoso.test',
      'x-smtp2exchange-to': '"a%2Cb"@fax.local,%C3%B6@xn--bro-hoa.example',
      'webhook-id': id,
      'webhook-timestamp': String(NOW / 1000),
    });
    expect(taken[0]?.request.headers['webhook-signature']).toBeUndefined();
  });

  it('is a form that others read, the same at each attempt', async () => {
    const given = outgoing(PLAIN);
    const { id } = given.item;
    await deliver({ form: 'multipart' }, given);
    await deliver({ form: 'multipart', now: () => NOW + 60_000 }, given);
    const [first, second] = taken;
    expect(first?.body.equals(second?.body ?? Buffer.alloc(0))).toBe(true);
    const form = await new Response(new Uint8Array(first?.body ?? []), {
      headers: { 'content-type': first?.request.headers['content-type'] ?? '' },
    }).formData();
    expect([...form.keys()]).toEqual(['envelope', 'message']);
    const message = form.get('message') as File;
    expect({ name: message.name, type: message.type }).toEqual({ name: `${id}.eml`, type: 'message/rfc822' });
    expect(await message.text()).toBe(PLAIN);
    expect(JSON.parse(form.get('envelope') as string)).toEqual({
      id,
      messageId: '<1@contoso.test>',
      from: 'ann@contoso.test',
      to: ['+493012345@fax.local'],
      subject: 'Für dich (urgent)',
      date: '2026-11-25T09:00:00.000Z',
      receivedAt: '2026-11-25T09:00:05.000Z',
      mailbox: FAX,
      pickup: 'fax',
      size: PLAIN.length,
    });
  });

  it('names all recipients or none in its header', async () => {
    const to = Array.from({ length: 200 }, (_, index) => `+49301234500${index}@fax.local`);
    expect(await deliver({}, outgoing(PLAIN, { to }))).toMatchObject({ outcome: 'failed', code: '5.5.3' });
    expect(taken).toHaveLength(0);
    expect(await deliver({ form: 'multipart' }, outgoing(PLAIN, { to }))).toMatchObject({ outcome: 'relayed' });
    expect(taken[0]?.request.headers['x-smtp2exchange-to']).toBeUndefined();
    expect(taken[0]?.body.toString()).toContain(to.at(-1));
  });

  it('goes over TLS to a server that is trusted, and to no other', async () => {
    const [notBefore, notAfter] = [new Date(Date.now() - 60_000), new Date(Date.now() + 3_600_000)];
    const made = { keyType: 'ec', notBefore, notAfter, use: 'server' } as const;
    const pair = await makeCertificate({ commonName: 'hook.test', names: ['127.0.0.1'], ...made });
    await listen(createTlsServer(pair, take), 'https');
    expect(await deliver()).toMatchObject({ outcome: 'delayed', code: '4.3.5', reach: 'transport' });
    expect(taken).toHaveLength(0);
    await client({ ca: pair.cert });
    expect(await deliver()).toMatchObject({ outcome: 'relayed' });
  });

  it('streams, signed', async () => {
    const size = 100 * 1024 * 1024;
    const given = large(size);
    let got = 0;
    let ahead = 0;
    const hmac = createHmac('sha256', KEY).update(`${given.item.id}.${NOW / 1000}.`);
    const send: Send = async ({ body, headers }) => {
      expect(given.asked()).toBeGreaterThan(size - 1_000);
      for await (const chunk of body.open()) {
        // The count begins anew with the second reading, behind the header.
        if (got > 0) ahead = Math.max(ahead, given.asked() - got);
        got += chunk.length;
        hmac.update(chunk);
      }
      expect(headers['webhook-signature']).toBe(`v1,${hmac.digest('base64')}`);
      return { status: 200, headers: {}, body: (async function* () {})(), discard: () => {} };
    };
    expect(await deliver({ send, key: KEY }, given)).toMatchObject({ outcome: 'relayed' });
    expect(got).toBe(size);
    expect(ahead).toBeLessThanOrEqual(64 * 1024);
  });
});

describe('a signature', () => {
  it('is that of the specification', async () => {
    async function* body(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('{"test": ');
      yield Buffer.from('2432232314}');
    }
    expect(await sign('msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330_000, body(), KEY, never)).toEqual({
      'Webhook-Id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'Webhook-Timestamp': '1614265330',
      'Webhook-Signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  it('is checked by node:crypto alone', async () => {
    await deliver({ key: KEY, form: 'multipart' });
    const [first] = taken;
    const body = first?.body ?? Buffer.alloc(0);
    const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature } = first?.request.headers ?? {};
    const key = Buffer.from(SECRET.slice('whsec_'.length), 'base64');
    const expected = createHmac('sha256', key)
      .update(`${id as string}.${at as string}.`)
      .update(body)
      .digest('base64');
    expect(signature).toBe(`v1,${expected}`);
  });

  it.each([
    '',
    'secret',
    'whsec_',
    'whsec_c2hvcnQ=',
    `whsec_${'A'.repeat(100)}`,
    'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!',
  ])('has no key of %j', (secret) => expect(webhookKey(secret)).toBeUndefined());

  it('is checked by the receiver of the documentation, which takes a message once', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-'));
    const receiver = spawn('python3', [join(import.meta.dirname, 'receiver.py'), folder, '0'], {
      env: { ...process.env, WEBHOOK_SECRET: SECRET },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      const [port] = (await once(receiver.stdout, 'data')) as [Buffer];
      url = `http://127.0.0.1:${port.toString().trim()}/`;
      const given = outgoing(PLAIN);
      const now = Date.now;
      expect(await deliver({ key: KEY, now }, given)).toMatchObject({ outcome: 'relayed', cause: 'HTTP 204' });
      expect(await deliver({ key: KEY, now }, given)).toMatchObject({ outcome: 'relayed' });
      expect(await deliver({ key: KEY, now: () => now() - 600_000 })).toMatchObject({
        code: '4.3.5',
        cause: 'HTTP 403',
      });
      expect(await deliver({ key: Buffer.alloc(32), now })).toMatchObject({ code: '4.3.5', cause: 'HTTP 403' });
      expect(await deliver({ now })).toMatchObject({ code: '4.3.5', cause: 'HTTP 403' });
      expect(readdirSync(folder)).toEqual([`${given.item.id}.eml`]);
      expect(readFileSync(join(folder, `${given.item.id}.eml`), 'utf8')).toBe(PLAIN);
    } finally {
      receiver.kill();
      rmSync(folder, { recursive: true });
    }
  });

  it('is printed in the documentation as it is', () => {
    const root = join(import.meta.dirname, '../..');
    const sample = readFileSync(join(import.meta.dirname, 'receiver.py'), 'utf8');
    expect(readFileSync(join(root, 'docs/hand-over.md'), 'utf8')).toContain(`\`\`\`python\n${sample}\`\`\``);
  });
});

const MISCONFIGURED = { outcome: 'delayed', code: '4.3.5', reach: 'transport' };
const ANSWERS: readonly (readonly [status: number, expected: object])[] = [
  ...[200, 201, 202, 204, 299].map((status) => [status, { outcome: 'relayed' }] as const),
  ...[301, 302, 303, 304, 307, 308].map((status) => [status, MISCONFIGURED] as const),
  [400, { outcome: 'failed', code: '5.6.0' }],
  ...[401, 402, 403, 404, 405, 407, 410, 415, 421].map((status) => [status, MISCONFIGURED] as const),
  [408, { outcome: 'delayed', code: '4.4.2', reach: 'message' }],
  [409, { outcome: 'delayed', code: '4.3.0', reach: 'message' }],
  [413, { outcome: 'failed', code: '5.3.4' }],
  [422, { outcome: 'failed', code: '5.6.0' }],
  [423, { outcome: 'delayed', code: '4.3.0', reach: 'message' }],
  [425, { outcome: 'delayed', code: '4.3.0', reach: 'message' }],
  [429, { outcome: 'delayed', code: '4.3.2', reach: 'transport', throttled: true }],
  [431, { outcome: 'failed', code: '5.3.4' }],
  ...[406, 411, 418, 451, 499].map((status) => [status, { outcome: 'failed', code: '5.3.0' }] as const),
  ...[500, 501, 505, 508, 599].map(
    (status) => [status, { outcome: 'delayed', code: '4.3.0', reach: 'message' }] as const,
  ),
  ...[502, 503, 504].map((status) => [status, { outcome: 'delayed', code: '4.4.1', reach: 'transport' }] as const),
  [507, { outcome: 'delayed', code: '4.3.1', reach: 'transport' }],
  [600, { outcome: 'delayed', code: '4.3.0', reach: 'message', capped: true }],
];

describe('an answer', () => {
  it.each(ANSWERS)('%i', (status, expected) => {
    const told = meaningOfAnswer(
      { status, said: 'busy\u001b[31m\n now', isWhole: true, retryAfter: 7_000 },
      'hook.test',
    );
    expect(told).toMatchObject({ cause: `HTTP ${status}`, ...expected });
    expect(told.reason).toMatch(new RegExp(`^hook\\.test .*${status}.*It says: busy \\[31m now$`));
    expect('retryAfter' in told ? told.retryAfter : undefined).toBe(told.outcome === 'delayed' ? 7_000 : undefined);
  });

  it('asks for an hour at most', () => {
    const told = meaningOfAnswer({ status: 503, said: '', isWhole: true, retryAfter: 86_400_000 }, 'hook.test');
    expect(told).toMatchObject({ retryAfter: 3_600_000 });
  });

  it('is quoted as far as it goes, without what the gateway knows', async () => {
    answer = (_taken, response) => {
      response.writeHead(503, { 'retry-after': '120', location: '/elsewhere' });
      response.end(`you sent Bearer secret-token ${'ä'.repeat(100_000)}`);
    };
    const told = await deliver({ headers: { authorization: 'Bearer secret-token' } });
    expect(told).toMatchObject({ outcome: 'delayed', retryAfter: 120_000 });
    expect(told.reason).toContain('It says: you sent [...] ä');
    expect(told.reason).toMatch(/ä\.\.\.$/);
    expect(told.reason?.length).toBeLessThan(500);
    expect(JSON.stringify(told)).not.toMatch(/secret-token|in-the-url/);
  });

  it('says where it points, and is not followed', async () => {
    answer = (_taken, response) => void response.writeHead(308, { location: 'https://new.test/secret' }).end();
    expect(await deliver()).toMatchObject({ ...MISCONFIGURED, reason: expect.stringContaining('points to new.test') });
    expect(taken).toHaveLength(1);
    answer = (_taken, response) => void response.writeHead(403).end();
    expect((await deliver()).reason).not.toContain('points to');
  });

  it('whose body never ends counts by its status', async () => {
    answer = (_taken, response) => void response.writeHead(200).write('half');
    expect(await deliver({ answerTimeout: 50 })).toMatchObject({
      outcome: 'relayed',
      reason: expect.stringMatching(/half$/),
    });
  });

  it('that comes before the message is whole acknowledges nothing', async () => {
    await listen(createServer((_request, response) => void response.writeHead(200).end()));
    const given = large(100 * 1024 * 1024);
    expect(await deliver({}, given)).toMatchObject({
      outcome: 'delayed',
      reach: 'message',
      cause: 'HTTP 200',
      capped: true,
    });
    await listen(createServer((_request, response) => void response.writeHead(413).end('too large')));
    expect(await deliver({}, given)).toMatchObject({ outcome: 'failed', code: '5.3.4' });
  });
});

const FAILURES: readonly (readonly [stage: RequestFailure['stage'], code: string, expected: object])[] = [
  ['connect', 'ECONNREFUSED', { code: '4.4.1', reach: 'transport' }],
  ['connect', 'ENOTFOUND', { code: '4.4.1', reach: 'transport' }],
  ['connect', 'CERT_HAS_EXPIRED', { code: '4.3.5', reach: 'transport' }],
  ['connect', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', { code: '4.3.5', reach: 'transport' }],
  ['connect', 'ERR_SSL_WRONG_VERSION_NUMBER', { code: '4.3.5', reach: 'transport' }],
  ['connect', 'PROXY_407', { code: '4.3.5', reach: 'transport' }],
  ['connect', 'ABORTED', { code: '4.3.2', reach: 'message' }],
  ['sending', 'ECONNRESET', { code: '4.4.2', reach: 'message' }],
  [
    'sent',
    'UND_ERR_SOCKET',
    { code: '4.4.2', reach: 'message', reason: expect.stringMatching(/sent again with the same/) },
  ],
  ['sent', 'ABORTED', { code: '4.3.2', reach: 'message', reason: expect.stringMatching(/sent again with the same/) }],
  ['receiving', 'HPE_INVALID', { code: '4.4.2', reach: 'message' }],
];

describe('a request without an answer', () => {
  it.each(FAILURES)('at stage %s with %s', (stage, code, expected) => {
    const status = withoutAnswer(new HttpFailure(stage, code, 'hook.test did not answer'));
    expect(status).toMatchObject({ outcome: 'delayed', cause: code, ...expected });
  });

  it('is delayed, and sent again with the same key', async () => {
    answer = ({ request }) => void request.socket.destroy();
    const given = outgoing(PLAIN);
    expect(await deliver({}, given)).toMatchObject({ outcome: 'delayed', code: '4.4.2', reach: 'message' });
    expect(await open().verify(given, never)).toMatchObject({ outcome: 'absent', certain: expect.any(String) });
    answer = (_taken, response) => void response.writeHead(200).end();
    expect(await deliver({}, given)).toMatchObject({ outcome: 'relayed' });
    expect(new Set(taken.map(({ request }) => request.headers['idempotency-key'])).size).toBe(1);
    expect(taken).toHaveLength(2);
  });

  it('is told for nobody who listens', async () => {
    server?.close();
    expect(await deliver()).toMatchObject({
      outcome: 'delayed',
      code: '4.4.1',
      reach: 'transport',
      cause: 'ECONNREFUSED',
    });
  });

  it('is given up when the gateway stops', async () => {
    expect(await deliver({}, outgoing(PLAIN), AbortSignal.abort())).toMatchObject({ cause: 'ABORTED' });
    const stop = new AbortController();
    answer = () => stop.abort();
    expect(await deliver({}, outgoing(PLAIN), stop.signal)).toMatchObject({ outcome: 'delayed', code: '4.3.2' });
  });

  it('ends where the message cannot be read', async () => {
    const short = outgoing(PLAIN, { size: PLAIN.length + 1 });
    const lost = outgoing(PLAIN, {
      async *open() {
        yield Buffer.from(PLAIN.slice(0, -1));
        throw new SpoolError('io', 'the disk is gone');
      },
    });
    expect(await deliver({}, short)).toMatchObject({ outcome: 'delayed', capped: true });
    expect(await deliver({}, lost)).toMatchObject({ outcome: 'delayed', cause: 'spool io' });
    expect(taken).toHaveLength(0);
  });
});

describe('an address in a field', () => {
  it.each([
    ['', ''],
    ['Ann@Contoso.test', 'Ann@Contoso.test'],
    ['100%,"a b"@x.test', '100%25%2C"a%20b"@x.test'],
    ['ö😀@x.test', '%C3%B6%F0%9F%98%80@x.test'],
    ['a\r\nX-Evil: 1@x.test', 'a%0D%0AX-Evil:%201@x.test'],
  ])('%j is %j', (address, text) => expect(asciiText(address)).toBe(text));
});
