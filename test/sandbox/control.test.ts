/** The sandbox from its other side: the control API, its ports, its going down and up, and the command that starts it. */
import { spawn } from 'node:child_process';
import type { EventEmitter } from 'node:events';
import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createListener } from '../../src/sandbox/listener.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import type { Client } from './soap-client.ts';
import {
  ALICE,
  BOB,
  CAROL,
  codes,
  createItem,
  envelope,
  mail,
  recipients,
  SENDER,
  startTestSandbox,
} from './soap-client.ts';

const GOOD = envelope(createItem(mail({ Cc: 'x@example.org, nobody@contoso.com' }), { more: recipients('Bcc', BOB) }));

let client: Client;
beforeAll(async () => (client = await startTestSandbox({ now: () => Date.UTC(2026, 0, 2, 3, 4, 5) })));
afterAll(async () => await client.sandbox.close());
afterEach(async () => {
  await client.reset();
  client.sandbox.identity.lifetime = 3599;
});

const tokenNow = async (): Promise<string> => await client.tokenOf().catch((error: Error) => error.message);

describe('the control API', () => {
  it.each(['/', '/control'])('GET %s says what there is, and that it is a sandbox', async (path) => {
    const answer = await client.call('', { method: 'GET', path, token: '' });
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
    expect(answer.text).toMatch(/^This is the sandbox of smtp2exchange: .* It is no real Exchange\.\n/);
  });

  it('answers on each route that it names', async () => {
    await client.call(GOOD);
    const { text } = await client.call('', { method: 'GET', path: '/control', token: '' });
    const routes = [...text.matchAll(/^(GET|POST|DELETE) +(\S+) +(\{.*\})?/gm)];
    expect(routes.length).toBe(14);
    for (const [, method = '', path = '', example] of routes) {
      const real = path.replace('/N.', '/0.').replace('ADDRESS', ALICE);
      const body = path.endsWith('/receive') ? mail() : (example ?? '');
      const answer = await client.call(body, { method, path: real, token: '' });
      expect(answer.headers['x-sandbox'], path).toBe('smtp2exchange sandbox, no real Exchange');
      expect([200, 201], `${method} ${path}`).toContain(answer.status);
      // Mail is there until it is forgotten.
      if (method === 'DELETE') await client.call(GOOD);
    }
    client.forgetToken();
  });

  it('shows what arrived, with recipients as Exchange computes them', async () => {
    await client.call(GOOD);
    const { status, json } = await client.control('GET', '/control/arrived');
    expect(status).toBe(200);
    expect(json).toEqual([
      {
        mailbox: SENDER,
        at: '2026-01-02T03:04:05.000Z',
        messageId: '<1@x.test>',
        subject: 'test',
        from: SENDER,
        to: [ALICE],
        cc: ['x@example.org', 'nobody@contoso.com'],
        bcc: [BOB],
        extended: [],
        elements: {},
        outside: ['x@example.org'],
        undeliverable: ['nobody@contoso.com'],
        size: expect.any(Number),
        mime: '/control/arrived/0.eml',
      },
    ]);
    const eml = await client.call('', { method: 'GET', path: '/control/arrived/0.eml', token: '' });
    expect(eml.headers['content-type']).toBe('message/rfc822');
    expect(eml.body.equals(client.sandbox.arrived()[0]?.submitted ?? Buffer.alloc(0))).toBe(true);
  });

  it('forgets all mail', async () => {
    await client.call(GOOD);
    expect(await client.control('DELETE', '/control/arrived')).toEqual({ status: 200, json: {} });
    expect(await client.control('GET', '/control/arrived')).toEqual({ status: 200, json: [] });
    expect(client.sandbox.arrived()).toEqual([]);
    for (const address of [SENDER, ALICE, BOB]) {
      const { inbox, sentitems } = client.sandbox.mailbox(address);
      expect([...inbox, ...sentitems]).toEqual([]);
    }
  });

  it('takes mail from outside, and shows it', async () => {
    const mime = mail({ Subject: 'a fax', From: 'ann@example.org' });
    const path = `/control/mailboxes/${encodeURIComponent(ALICE)}`;
    const put = async (query: string): Promise<unknown> => {
      const { status, json } = await client.control('POST', `${path}/receive${query}`, mime);
      expect(status).toBe(201);
      return json;
    };
    const first = await put('');
    await put('?folder=Inbox/Faxes&read=true&broken=mime&itemClass=IPM.Note.Own');
    const [{ id, searchKey } = { id: '', searchKey: '' }] = client.sandbox.mailbox(ALICE).inbox;
    expect(first).toEqual({ id, searchKey, messageId: '<1@x.test>' });
    const { json } = await client.control('GET', path);
    const { folders } = json as { folders: { path: string; items: object[] }[] };
    const facts = { messageId: '<1@x.test>', subject: 'a fax', from: 'ann@example.org', size: mime.length };
    expect(folders.filter(({ items }) => items.length > 0)).toMatchObject([
      { path: 'Inbox', wellKnown: 'inbox', items: [{ ...facts, id, read: false, itemClass: 'IPM.Note' }] },
      { path: 'Inbox/Faxes', items: [{ ...facts, read: true, itemClass: 'IPM.Note.Own' }] },
    ]);
    expect(client.sandbox.mailbox(ALICE).folder('inbox/faxes')?.items[0]).toMatchObject({ broken: 'mime' });
  });

  it.each([
    ['/control/mailboxes/nobody@contoso.com/receive', 'x', 404, /^there is no mailbox nobody@contoso\.com$/],
    [`/control/mailboxes/${ALICE}/receive`, '', 400, /^the body is the mail, and there is none$/],
    [`/control/mailboxes/${ALICE}/receive?broken=yes`, 'x', 400, /^broken cannot be "yes"$/],
    [`/control/mailboxes/${ALICE}/receive?folders=x`, 'x', 400, /^unknown: folders; known are folder, /],
    [`/control/mailboxes/${ALICE}/send`, 'x', 404, /^no POST /],
  ])('takes no mail at %s', async (path, body, status, error) => {
    const answer = await client.control('POST', path, body);
    expect(answer).toEqual({ status, json: { error: expect.stringMatching(error) } });
    expect(client.sandbox.mailbox(ALICE).inbox).toEqual([]);
  });

  it('shows every mailbox with what lies in it, blind recipients excepted', async () => {
    await client.call(GOOD);
    const { json } = await client.control('GET', '/control/mailboxes');
    const empty = {
      inbox: [],
      drafts: [],
      outbox: [],
      sentitems: [],
      deleteditems: [],
      archive: [],
      junkemail: [],
    };
    const facts = {
      subject: 'test',
      messageId: '<1@x.test>',
      from: SENDER,
      to: [ALICE],
      cc: ['x@example.org', 'nobody@contoso.com'],
      size: expect.any(Number),
    };
    expect(json).toEqual([
      { ...empty, address: SENDER, sentitems: [facts] },
      { ...empty, address: ALICE, inbox: [facts] },
      { ...empty, address: BOB, inbox: [facts] },
      { ...empty, address: CAROL },
    ]);
  });

  it('sets faults and shows them with their hits', async () => {
    const fault = { when: { operation: 'CreateItem', count: 1 }, does: { responseCode: 'ErrorServerBusy' } };
    expect(await client.control('POST', '/control/faults', fault)).toEqual({ status: 201, json: fault });
    expect((await client.control('GET', '/control/faults')).json).toEqual([{ fault, hit: 0 }]);
    expect(codes(await client.call(GOOD))).toEqual(['ErrorServerBusy']);
    expect((await client.control('GET', '/control/faults')).json).toEqual([{ fault, hit: 1 }]);
    expect(await client.control('DELETE', '/control/faults')).toEqual({ status: 200, json: {} });
    expect((await client.control('GET', '/control/faults')).json).toEqual([]);
  });

  it('makes the token endpoint misbehave, until told to behave again', async () => {
    const fault = { aadsts: 7000222, times: 2 };
    expect(await client.control('POST', '/control/identity/faults', fault)).toEqual({ status: 201, json: fault });
    expect(await tokenNow()).toContain('AADSTS7000222');
    await client.control('DELETE', '/control/faults');
    expect(await tokenNow()).toMatch(/^eyJ/);
  });

  it('revokes tokens and sets their lifetime', async () => {
    const token = await client.tokenOf();
    const wish = { revoke: true, lifetimeSeconds: 60 };
    expect(await client.control('POST', '/control/identity', wish)).toEqual({
      status: 200,
      json: { lifetimeSeconds: 60 },
    });
    client.forgetToken();
    expect((await client.call(GOOD, { token })).status).toBe(401);
    const next = JSON.parse(Buffer.from((await client.token()).split('.')[1] ?? '', 'base64url').toString()) as {
      iat: number;
      exp: number;
    };
    expect(next.exp - next.iat).toBe(60);
    expect((await client.control('POST', '/control/identity', {})).json).toEqual({ lifetimeSeconds: 60 });
    expect((await client.call(GOOD)).status).toBe(200);
  });

  it.each([
    ['POST', '/control/faults', 'no JSON', 400, /^a fault is \{"when": \{\.\.\.\}, "does": \{\.\.\.\}\}$/],
    ['POST', '/control/faults', '', 400, /^a fault is \{"when": \{\.\.\.\}, "does": \{\.\.\.\}\}$/],
    ['POST', '/control/faults', { does: { status: 1 } }, 400, /^does\.status cannot be 1$/],
    [
      'POST',
      '/control/faults',
      `"${'x'.repeat(1_100_000)}"`,
      400,
      /^a fault is \{"when": \{\.\.\.\}, "does": \{\.\.\.\}\}$/,
    ],
    ['POST', '/control/identity/faults', 'no JSON', 400, /^a fault is an object$/],
    ['POST', '/control/identity/faults', [], 400, /^a fault is an object$/],
    ['POST', '/control/identity/faults', { slow: 1 }, 400, /^unknown: slow; known are times, delayMs, /],
    ['POST', '/control/identity/faults', { status: '500' }, 400, /^status cannot be "500"$/],
    ['POST', '/control/identity/faults', { status: 99_999 }, 400, /^status cannot be 99999$/],
    ['POST', '/control/identity/faults', { times: 0 }, 400, /^times cannot be 0$/],
    ['POST', '/control/identity/faults', { times: 0.5 }, 400, /^times cannot be 0\.5$/],
    ['POST', '/control/identity/faults', { delayMs: 2 ** 40 }, 400, /^delayMs cannot be 1099511627776$/],
    ['POST', '/control/identity/faults', { hang: 1 }, 400, /^hang cannot be 1$/],
    ['POST', '/control/identity/faults', { contentType: 'a\nb' }, 400, /^contentType cannot be "a\\nb"$/],
    ['POST', '/control/identity/faults', { retryAfter: 'a\nb' }, 400, /^retryAfter cannot be "a\\nb"$/],
    ['POST', '/control/ews', 'no JSON', 400, /^a wish is an object$/],
    ['POST', '/control/ews', { open: 'no' }, 400, /^open cannot be "no"$/],
    ['POST', '/control/identity', 'no JSON', 400, /^a wish is an object$/],
    ['POST', '/control/identity', { lifetimeSeconds: 0, revoke: true }, 400, /^lifetimeSeconds cannot be 0$/],
    ['POST', '/control/identity', { lifetimeSeconds: '60' }, 400, /^lifetimeSeconds cannot be "60"$/],
    ['POST', '/control/identity', { lifetimeSeconds: 60, revoke: 'yes' }, 400, /^revoke cannot be "yes"$/],
    [
      'POST',
      '/control/identity',
      { revoke: true, apps: [] },
      400,
      /^unknown: apps; known are revoke, lifetimeSeconds$/,
    ],
    ['GET', '/control/arrived/1.eml', undefined, 404, /^nothing arrived under number 1$/],
    ['GET', `/control/arrived/${'9'.repeat(30)}.eml`, undefined, 404, /^nothing arrived under number 9+$/],
    ['GET', '/control/arrived/x.eml', undefined, 404, /^no GET \/control\/arrived\/x\.eml here; GET \/control says/],
    ['DELETE', '/control/arrived/0.eml', undefined, 404, /^no DELETE /],
    ['PUT', '/control/faults', {}, 404, /^no PUT /],
    ['GET', '/control/constructor', undefined, 404, /^no GET /],
    ['GET', '/favicon.ico', undefined, 404, /^no GET /],
  ])('%s %s of %o changes nothing', async (method, path, body, status, error) => {
    await client.call(GOOD);
    const token = await client.tokenOf();
    const answer = await client.control(method, path, body);
    expect(answer.status).toBe(status);
    expect(answer.json).toEqual({ error: expect.stringMatching(error) });
    expect((await client.control('GET', '/control/faults')).json).toEqual([]);
    expect(client.sandbox.arrived().length).toBe(1);
    expect(client.sandbox.identity.lifetime).toBe(3599);
    expect(client.sandbox.identity.faults.pending).toBe(0);
    expect((await client.call(GOOD, { token })).status).toBe(200);
  });

  it('lets a client go that goes away', async () => {
    const request = await client.open({ path: '/control/faults', token: '', headers: { 'content-length': '100' } });
    request.write('{"does"');
    setTimeout(() => request.destroy(), 10);
    await closed(request);
    expect((await client.control('GET', '/control/faults')).json).toEqual([]);
  });
});

/** A port that is taken until it is freed. */
async function taken(port = 0): Promise<{ port: number; free: () => Promise<void> }> {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    free: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

/** Two ports side by side, of which those at the given offsets stay taken. */
async function pair(...offsets: readonly number[]): Promise<{ port: number; free: () => Promise<void> }> {
  for (;;) {
    const first = await taken();
    const second = await taken(first.port + 1).catch(() => undefined);
    const both = [first, second];
    if (second) {
      for (const [offset, one] of both.entries()) if (!offsets.includes(offset)) await one?.free();
      const free = async (): Promise<void> => {
        for (const offset of offsets) await both[offset]?.free();
      };
      return { port: first.port, free };
    }
    await first.free();
  }
}

/** `once` would reject with what goes wrong on the way. */
async function closed(one: EventEmitter): Promise<void> {
  await new Promise<void>((resolve) => one.on('error', () => undefined).once('close', resolve));
}

async function connects(host: string, port: number): Promise<string> {
  const socket = connect({ host, port, timeout: 1_000 });
  try {
    return await new Promise((resolve) => {
      socket.on('connect', () => resolve('connected'));
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      socket.on('timeout', () => resolve('timeout'));
    });
  } finally {
    socket.destroy();
  }
}

describe('where it listens', () => {
  const ports = (): number[] =>
    [client.sandbox.origin, client.sandbox.authority].map((url) => Number(new URL(url).port));

  it('is loopback only', async () => {
    expect(client.sandbox.origin).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    const others = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .filter(({ family }) => family === 'IPv4')
      .map(({ address }) => address)
      .filter((address) => address !== '127.0.0.1');
    for (const port of ports()) {
      expect(await connects('127.0.0.1', port)).toBe('connected');
      for (const host of [...others, '127.0.0.2', '::1'])
        expect(await connects(host, port), host).not.toBe('connected');
    }
  });

  it.each(['0.0.0.0', '::', '192.0.2.1', 'example.org', 'localhost.example.org', ''])('is never %s', (host) => {
    const options = { name: 'test', tls: { cert: '', key: '' }, port: 0, answer: async () => undefined };
    expect(() => createListener({ ...options, host })).toThrow('the sandbox binds to loopback only');
  });

  it.each([0, 1])('rejects with EADDRINUSE where port N+%i is taken, and holds no port then', async (offset) => {
    const { port, free } = await pair(offset);
    await expect(startSandbox({ port, mailboxes: [] })).rejects.toMatchObject({
      code: 'EADDRINUSE',
      port: port + offset,
      message: expect.stringContaining(`127.0.0.1:${port + offset} (EADDRINUSE)`),
    });
    expect(await connects('127.0.0.1', port + 1 - offset)).toBe('ECONNREFUSED');
    await free();
  });

  it('takes the port it is given, and the next one for Entra ID', async () => {
    const { port } = await pair();
    const sandbox = await startSandbox({ port, mailboxes: [] });
    expect(sandbox.origin).toBe(`https://127.0.0.1:${port}`);
    expect(sandbox.authority).toMatch(`https://127.0.0.1:${port + 1}/`);
    await sandbox.close();
  });
});

describe('going down and up', () => {
  it('keeps mail, faults, tokens and ports', async () => {
    await client.call(GOOD);
    const { origin, authority } = client.sandbox;
    const token = await client.tokenOf();
    client.sandbox.fault({ when: { count: 1 }, does: { status: 503 } });
    await client.sandbox.stop();
    await client.sandbox.stop();
    await expect(client.call(GOOD, { token })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await expect(client.tokenOf()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await client.sandbox.start();
    await client.sandbox.start();
    expect([client.sandbox.origin, client.sandbox.authority]).toEqual([origin, authority]);
    expect(client.sandbox.arrived().length).toBe(1);
    expect((await client.call(GOOD, { token })).status).toBe(503);
    expect((await client.call(GOOD, { token })).status).toBe(200);
    expect(await tokenNow()).toMatch(/^eyJ/);
  });

  it('does not wait for connections in any state', async () => {
    const { port } = new URL(client.sandbox.origin);
    // One without a handshake, one without a request, one in the middle of it, one kept alive.
    const silent = connect({ host: '127.0.0.1', port: Number(port) });
    await once(silent, 'connect');
    const idle = await client.connect();
    const half = await client.open({ headers: { 'content-length': '1000' } });
    half.write('<');
    const alive = httpsRequest(client.sandbox.origin, { ca: client.sandbox.ca, headers: { connection: 'keep-alive' } });
    alive.on('error', () => undefined).on('response', (response) => response.resume());
    alive.end();
    await once(alive, 'response');
    const ends = [silent, idle, half].map(closed);
    const begin = performance.now();
    await client.sandbox.stop();
    expect(performance.now() - begin).toBeLessThan(1_000);
    await Promise.all(ends);
    await client.sandbox.start();
  });

  it('rejects where the port was taken meanwhile, and comes up when it is free', async () => {
    await client.sandbox.stop();
    const thief = await taken(Number(new URL(client.sandbox.origin).port));
    await expect(client.sandbox.start()).rejects.toMatchObject({ code: 'EADDRINUSE', port: thief.port });
    await thief.free();
    await client.sandbox.start();
    expect(codes(await client.call(GOOD))).toEqual(['NoError']);
  });

  it('for good, as often as one likes', async () => {
    const sandbox = await startSandbox({ mailboxes: [] });
    await Promise.all([sandbox.close(), sandbox.close()]);
    await sandbox.close();
    expect(await connects('127.0.0.1', Number(new URL(sandbox.origin).port))).toBe('ECONNREFUSED');
    expect(() => sandbox.mailbox(ALICE)).toThrow(`the sandbox has no mailbox ${ALICE}`);
  });
});

describe('the command', () => {
  const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
  const run = async (port: number): Promise<{ code: unknown; out: string; err: string }> => {
    const child = spawn(process.execPath, [main, 'sandbox', '--port', String(port)], {
      cwd: tmpdir(),
      timeout: 20_000,
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    const [code] = (await once(child, 'close')) as unknown[];
    return { code, out, err };
  };

  it.each([0, 1])('ends with 75 and a sentence where port N+%i is taken', async (offset) => {
    const { port, free } = await pair(offset);
    expect(await run(port)).toEqual({
      code: 75,
      out: '',
      err: `Port ${port + offset} is in use: the sandbox needs ${port} and ${port + 1}, give it others with --port\n`,
    });
    await free();
  });

  it('ends with 64 and a sentence where there is no next port', async () => {
    expect(await run(65_535)).toEqual({
      code: 64,
      out: '',
      err: 'The sandbox needs --port and the one after it: 65534 is the last that goes\n',
    });
  });
});
