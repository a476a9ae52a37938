/** Attempts to get into the console: guessed logins, stolen and old sessions, pages of others, names of others. */
import { request } from 'node:http';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLogin } from '../../src/console/login.ts';
import { createSessions } from '../../src/console/sessions.ts';
import type { Site, SiteOptions, Store } from './site.ts';
import { Client, TOKEN, USER, openSite, openStore, operator } from './site.ts';

let site: Site;
let store: Store;
beforeAll(async () => {
  store = await openStore();
});
afterAll(async () => {
  await store.close();
});
const opened: Site[] = [];
async function open(options: SiteOptions = {}): Promise<Site> {
  const one = await openSite({ store, ...options });
  opened.push(one);
  return one;
}
beforeEach(async () => {
  site = await open();
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()));
});

describe('without a login', () => {
  it.each([
    '/',
    '/messages',
    '/messages/abc',
    '/messages/abc/html',
    '/messages/abc/message.eml',
    '/acts?act=drop&id=abc',
    '/pickups',
    '/nothing',
  ])('%s leads to the login page', async (path) => {
    const answer = await new Client(site.url).ask(path);
    expect(answer.status).toBe(303);
    expect(answer.headers.get('location')).toMatch(/^\/login/);
  });

  it.each(['/api/state', '/api/messages', '/api/messages/abc', '/api/nothing'])('%s is a 401 in JSON', async (path) => {
    const answer = await new Client(site.url).ask(path);
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
    expect(JSON.parse(answer.text)).toHaveProperty('error');
  });

  it.each(['/acts', '/pickups', '/reload', '/logout'])('POST %s does nothing', async (path) => {
    const id = await site.put('Subject: x\n\ny\n');
    const answer = await new Client(site.url).post(path, [
      ['act', 'drop'],
      ['id', id],
      ['pickup', 'fax'],
    ]);
    expect(answer.status).toBe(303);
    expect((await site.spool.get(id))?.state).toBe('queued');
    expect([...site.looks, ...site.reloads]).toEqual([]);
  });

  it('figures, health and style are open, the live part is not', async () => {
    const client = new Client(site.url);
    for (const path of [
      '/metrics',
      '/livez',
      '/readyz',
      '/assets/console.css',
      '/assets/console.js',
      '/assets/icon.svg',
      '/login',
    ])
      expect([path, (await client.ask(path)).status]).toEqual([path, 200]);
    expect((await client.ask('/live')).status).toBe(401);
  });
});

describe('the login', () => {
  it.each([
    ['a user', USER.name, USER.password, 'alex'],
    ['the token', '', TOKEN, 'token'],
  ])('takes %s, and leads where it was meant to go', async (_what, user, secret, name) => {
    const client = new Client(site.url);
    const answer = await client.logIn(user, secret);
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/messages']);
    expect(answer.headers.get('set-cookie')).toMatch(/^smtp2exchange=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
    expect((await client.ask('/')).text).toContain(`id="user">${name}<`);
    expect(site.told('auth.succeeded')).toMatchObject([{ listener: 'console', peer: '127.0.0.1', user: name }]);
  });

  it.each([
    ['a wrong password', USER.name, 'wrong'],
    ['an unknown user', 'mallory', USER.password],
    ['the token as a password', USER.name, TOKEN],
    ['a user password as the token', '', USER.password],
    ['a piece of the token', '', TOKEN.slice(0, -1)],
    ['nothing', '', ''],
    ['something huge', 'x'.repeat(20_000), 'y'.repeat(20_000)],
    ['markup', '"><script>alert(1)</script>', 'x'],
  ])('refuses %s, in the same words', async (_what, user, secret) => {
    const client = new Client(site.url);
    const answer = await client.logIn(user, secret);
    expect(answer.status).toBe(403);
    expect(answer.text).toContain('That is not right. Try again.');
    expect(answer.text).not.toContain('<script>alert');
    expect(answer.headers.get('set-cookie')).toBeNull();
    expect(answer.text).not.toContain(secret === '' ? '\0' : `value="${secret}"`);
    expect(site.told('auth.failed')).toHaveLength(1);
    expect((await client.ask('/')).status).toBe(303);
  });

  it('answers later each time, then not at all: tarpit and ban, for the right password too', async () => {
    const client = new Client(site.url);
    for (let tries = 0; tries < 5; tries++) await client.logIn('', `guess-${tries}`);
    expect(site.pauses).toEqual([100, 200, 300, 400, 500]);
    expect(site.told('auth.banned')).toHaveLength(1);
    const right = await client.logIn();
    expect([right.status, right.text.includes('Too many failed logins')]).toEqual([429, true]);
    const bearer = await client.ask('/api/state', { headers: { authorization: `Bearer ${TOKEN}` } });
    expect(bearer.status).toBe(429);
  });

  it('works on few at a time, of one address and in all', async () => {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const login = createLogin({
      isPassword: () => promise,
      guard: { banned: () => undefined, failed: () => ({ delay: 0, failures: 1 }), succeeded: () => undefined },
      report: () => undefined,
    });
    const mine = Array.from({ length: 6 }, () => login.byPassword('192.0.2.1', 'alex', 'x'));
    const theirs = Array.from({ length: 30 }, (_, at) => login.byPassword(`198.51.100.${at}`, 'alex', 'x'));
    resolve(false);
    const count = async (all: readonly Promise<{ outcome: string }>[]): Promise<number> =>
      (await Promise.all(all)).filter(({ outcome }) => outcome === 'busy').length;
    expect([await count(mine), await count(theirs)]).toEqual([2, 10]);
    expect((await login.byPassword('192.0.2.1', 'alex', 'x')).outcome).toBe('wrong');
  });

  it.each(['//evil.example', '/\\evil.example', 'https://evil.example', '/a b', '/a\r\nset-cookie: x=1', ''])(
    'leads to no other site: %j',
    async (next) => {
      const answer = await new Client(site.url).post('/login', [
        ['user', USER.name],
        ['secret', USER.password],
        ['next', next],
      ]);
      expect(answer.headers.get('location')).toBe('/');
    },
  );
});

describe('a session', () => {
  it('ends when it is logged out, and its id is worth nothing then', async () => {
    const client = await operator(site);
    const { cookie } = client;
    expect(
      (await client.post('/logout', [['formToken', await client.formToken()]])).headers.get('set-cookie'),
    ).toContain('Max-Age=0');
    client.cookie = cookie;
    expect((await client.ask('/')).status).toBe(303);
  });

  it('gets a new id with each login: a planted one is not taken over', async () => {
    const client = new Client(site.url);
    client.cookie = `smtp2exchange=${'A'.repeat(43)}`;
    expect((await client.ask('/')).status).toBe(303);
    await client.logIn();
    expect(client.cookie).not.toContain('AAAA');
  });

  it('ends when it is idle, and in any case after its time', () => {
    let now = 0;
    const sessions = createSessions({ idle: 100, lasts: 250, steady: () => now });
    const id = sessions.open('alex');
    for (now = 90; now < 250; now += 80) expect(sessions.find(id)?.user).toBe('alex');
    now = 250;
    expect(sessions.find(id)).toBeUndefined();
    const other = sessions.open('alex');
    now += 99;
    // A page that refreshes itself keeps nothing alive.
    expect(sessions.find(other, false)).toBeDefined();
    now += 1;
    expect(sessions.find(other)).toBeUndefined();
  });

  it('is one of a bounded number: the one used least recently ends', () => {
    const sessions = createSessions({ idle: 100, lasts: 100, most: 3, steady: () => 0 });
    const [first = '', second = ''] = ['a', 'b', 'c'].map((user) => sessions.open(user));
    sessions.find(first);
    sessions.open('d');
    expect(sessions.size).toBe(3);
    expect([sessions.find(first)?.user, sessions.find(second)]).toEqual(['a', undefined]);
  });
});

describe('a form of somebody else (CSRF)', () => {
  it.each<readonly [string, Record<string, string>, boolean, number]>([
    ['without the token of the session', {}, false, 403],
    ['from another site', { 'sec-fetch-site': 'cross-site' }, true, 403],
    ['from another port of this machine', { 'sec-fetch-site': 'same-site' }, true, 403],
    ['with the origin of another', { origin: 'http://evil.example' }, true, 403],
    ['with an origin that is hidden', { origin: 'null' }, true, 403],
    ['from a page of its own', { 'sec-fetch-site': 'same-origin' }, true, 303],
  ])('%s', async (_what, headers, hasToken, status) => {
    const id = await site.put('Subject: x\n\ny\n');
    const client = await operator(site);
    const token = hasToken ? await client.formToken() : 'guess';
    const answer = await client.post(
      '/acts',
      [
        ['act', 'hold'],
        ['id', id],
        ['formToken', token],
      ],
      headers,
    );
    expect(answer.status).toBe(status);
    expect((await site.spool.get(id))?.state).toBe(status === 303 ? 'parked' : 'queued');
  });

  it('with the token of another session', async () => {
    const id = await site.put('Subject: x\n\ny\n');
    const [mine, theirs] = [await operator(site), await operator(site)];
    const answer = await mine.post('/acts', [
      ['act', 'drop'],
      ['id', id],
      ['formToken', await theirs.formToken()],
    ]);
    expect(answer.status).toBe(403);
    expect((await site.spool.get(id))?.state).toBe('queued');
  });

  it('nobody is logged in by another site', async () => {
    const answer = await new Client(site.url).post(
      '/login',
      [
        ['user', USER.name],
        ['secret', USER.password],
      ],
      { origin: 'http://evil.example' },
    );
    expect([answer.status, answer.headers.get('set-cookie')]).toEqual([403, null]);
  });

  it('orders by JSON need the token too', async () => {
    const id = await site.put('Subject: x\n\ny\n');
    const client = await operator(site);
    const order = (headers: Record<string, string>) =>
      client.ask('/api/acts', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ act: 'hold', ids: [id] }),
      });
    expect((await order({})).status).toBe(403);
    expect((await order({ 'x-form-token': await client.formToken() })).status).toBe(200);
    expect(
      (
        await client.ask('/api/acts', {
          method: 'POST',
          headers: { 'x-form-token': await client.formToken() },
          body: '{}',
        })
      ).status,
    ).toBe(415);
  });
});

/** By a name of its own choice. */
async function byName(
  url: string,
  host: string,
  path = '/login',
  headers: Record<string, string> = {},
): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  request(url + path, { headers: { host, ...headers } }, (answer) => {
    answer.resume();
    answer.on('end', () => resolve(answer.statusCode));
  })
    .on('error', reject)
    .end();
  return await promise;
}

describe('the name it is asked by (DNS rebinding)', () => {
  it.each([
    ['127.0.0.1', 200],
    ['localhost:8025', 200],
    ['[::1]:8025', 200],
    ['192.0.2.1', 200],
    ['gateway.test', 200],
    ['GATEWAY.test.', 200],
    ['console.contoso.com', 200],
    ['evil.example', 421],
    ['127.0.0.1.evil.example', 421],
    ['localhost.evil.example:8025', 421],
  ])('%s', async (host, status) => {
    const one = await open({ hosts: ['console.contoso.com'] });
    expect(await byName(one.url, host)).toBe(status);
  });

  it('lets figures and health be asked by any', async () => {
    expect(await byName(site.url, 'prometheus-target.internal', '/metrics')).toBe(200);
  });
});

/** Octets as they are. */
async function raw(url: string, text: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(text);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise((closed) => socket.once('close', closed));
  return Buffer.concat(chunks).toString('latin1');
}

describe('odd requests', () => {
  it.each([
    '/../metrics',
    '/%2e%2e/metrics',
    '//messages',
    '/messages//',
    '/messages/../../etc/passwd',
    '/messages/%2e%2e',
    '/messages/a%00b',
    '/assets/../server.ts',
    '/assets/',
    '/messages/' + 'a'.repeat(65),
    '/LIVE',
    '/messages/x/html/',
  ])('the path %s leads nowhere', async (path) => {
    const { cookie } = await operator(site);
    const answer = await raw(
      site.url,
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 404 /);
  });

  it.each([
    ['a line of 20 kB', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 431],
    ['a NUL in the path', 'GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
    ['two lengths', 'POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab', 400],
    [
      'a length and chunks',
      'POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['no host', 'GET / HTTP/1.1\r\n\r\n', 400],
    [
      'no form',
      'POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n',
      415,
    ],
    ['another method', 'DELETE /messages HTTP/1.1\r\nHost: localhost\r\n\r\n', 405],
    ['a form to a page', 'POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n', 404],
  ])('%s', async (_what, text, status) => {
    expect(await raw(site.url, text)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });

  it('a form that is too long is not read to its end', async () => {
    const answer = await new Client(site.url).post('/login', [['secret', 'x'.repeat(70_000)]]);
    expect([answer.status, answer.headers.get('connection')]).toEqual([413, 'close']);
  });

  it('a body that does not come is waited for some seconds only', async () => {
    const answer = await raw(
      site.url,
      'POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\na',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
  }, 12_000);

  it('what is asked cannot become a field of the answer', async () => {
    const client = await operator(site);
    for (const path of ['/messages?q=%0d%0aSet-Cookie:%20a=b', '/acts?act=drop&id=x&back=/%0d%0aSet-Cookie:%20a=b']) {
      const answer = await client.ask(path);
      expect([answer.status, answer.headers.get('set-cookie')]).toEqual([200, null]);
    }
    const back = await client.post('/acts', [
      ['act', 'drop'],
      ['formToken', await client.formToken()],
      ['back', '/x\r\nSet-Cookie: a=b'],
    ]);
    expect([back.headers.get('location'), back.headers.get('set-cookie')]).toEqual(['/messages', null]);
  });

  it('every page has a policy that lets nothing foreign in', async () => {
    const client = await operator(site);
    for (const path of ['/', '/messages', '/pickups', '/login', '/messages/none']) {
      const { headers, text } = await client.ask(path);
      expect(Object.fromEntries(headers)).toMatchObject({
        'content-security-policy': expect.stringMatching(
          /^default-src 'none'; script-src 'self'; style-src 'self'; .*frame-ancestors 'none'/,
        ) as string,
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-resource-policy': 'same-origin',
      });
      // Nothing inline that the policy would stop, nothing from elsewhere.
      expect(text).not.toMatch(
        /\son\w+=|style="|<style|<script(?! src="\/assets\/console\.js" defer><\/script>)|https?:\/\//,
      );
    }
  });
});
