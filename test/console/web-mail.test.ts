/** What the pages make of mail: a list, a story, a preview, orders with their audit. Mail that wants to be more than text. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { defused } from '../../src/console/preview.ts';
import { markup, plain, shown, shownLines } from '../../src/console/markup.ts';
import { mboxOf } from '../../src/console/mbox.ts';
import type { Client, Site, Store } from './site.ts';
import { TOKEN, Client as Browser, openSite, openStore, operator } from './site.ts';

let site: Site;
let client: Client;
let store: Store;
beforeAll(async () => {
  store = await openStore();
});
afterAll(async () => {
  await store.close();
});
beforeEach(async () => {
  site = await openSite({ store });
  client = await operator(site);
});
afterEach(async () => {
  await site.close();
});

const SCRIPT = '<script>alert(1)</script>';
const OVERRIDE = '\u{202e}';

describe('markup', () => {
  it.each<readonly [string, unknown, string]>([
    ['text', markup`<p>${'<b>&"\''}</p>`, '<p>&lt;b&gt;&amp;&quot;&#39;</p>'],
    ['markup in markup', markup`<p>${markup`<b>${'<'}</b>`}</p>`, '<p><b>&lt;</b></p>'],
    ['lists, and nothing', markup`${['<', markup`<i></i>`, undefined, false]}`, '&lt;<i></i>'],
    ['NUL and halves of pairs', markup`${'a\0b\ud800'}`, 'a\u{fffd}b\u{fffd}'],
    ['what turns text around', shown(`a${OVERRIDE}b`), '<bdi>a<span class="hidden-character">U+202E</span>b</bdi>'],
    [
      'line ends on one line',
      shown('a\r\nb'),
      '<bdi>a<span class="hidden-character">U+000D</span><span class="hidden-character">U+000A</span>b</bdi>',
    ],
    ['lines', shownLines('a\r\n\tb\u{7}'), 'a\n\tb<span class="hidden-character">U+0007</span>'],
    ['zero width, tags, fillers', plain('\u{200b}\u{e0041}\u{3164}'), '[U+200B][U+E0041][U+3164]'],
    ['a long text, never half a pair', shown('\u{1f600}'.repeat(10), 3), '<bdi>\u{1f600}…</bdi>'],
  ])('%s', (_what, given, expected) => {
    expect(String(given)).toBe(expected);
  });
});

const HOSTILE = [
  `From: "${SCRIPT}" <evil@example.com>`,
  'To: alice@contoso.com',
  `Subject: =?utf-8?B?${Buffer.from(`${SCRIPT}"'${OVERRIDE}\u{7}`).toString('base64')}?=`,
  'MIME-Version: 1.0',
  'Content-Type: multipart/mixed; boundary=x',
  '',
  '--x',
  'Content-Type: multipart/alternative; boundary=y',
  '',
  '--y',
  'Content-Type: text/plain; charset=utf-8',
  '',
  `${SCRIPT} gpj${OVERRIDE}exe \u{1b}[31m`,
  '--y',
  'Content-Type: text/html; charset=utf-8',
  '',
  `<h1 onclick="x()">Hi</h1>${SCRIPT}<LINK rel=preconnect href=//evil.example><meta http-equiv=refresh content=0><base href=//evil.example><img src=//evil.example/a.png></body></html>`,
  '--y--',
  '--x',
  'Content-Type: application/pdf',
  `Content-Disposition: attachment; filename*=utf-8''${encodeURIComponent(`${SCRIPT}${OVERRIDE}fdp.exe`)}`,
  'Content-Transfer-Encoding: base64',
  '',
  Buffer.alloc(3_000, 1).toString('base64'),
  '--x--',
  '',
].join('\n');

describe('hostile mail', () => {
  it('stays text in every field of every page', async () => {
    const id = await site.put(HOSTILE, {
      from: `"${SCRIPT}${OVERRIDE}"@example.com`,
      to: [`"><img src=x onerror=alert(1)>@example.com`, `${'a'.repeat(5_000)}@example.com`],
      messageId: `<${SCRIPT}${OVERRIDE}\u{7}@example.com>`,
      mailbox: `${SCRIPT}@contoso.com`,
    });
    await site.park(id, { cause: SCRIPT, text: SCRIPT, reason: `${SCRIPT}\n${OVERRIDE}`, ids: { requestId: SCRIPT } });
    for (const path of [
      '/messages',
      `/messages?q=${encodeURIComponent(SCRIPT)}&from=${encodeURIComponent(`"${SCRIPT}`)}`,
      `/messages/${id}`,
      `/messages/${id}/preview`,
      `/acts?act=move&id=${id}`,
    ]) {
      const { status, text } = await client.ask(path);
      expect([path, status]).toEqual([path, 200]);
      expect(text).not.toMatch(/<script>|<img|onerror=alert\(1\)>[^&]/);
      for (const hidden of [OVERRIDE, '\u{7}', '\u{1b}']) expect(text).not.toContain(hidden);
    }
    const { text } = await client.ask(`/messages/${id}`);
    expect(text).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
    expect(text).toContain('<span class="hidden-character">U+202E</span>');
  });

  it('has its HTML in a frame that may nothing', async () => {
    const id = await site.put(HOSTILE);
    const preview = await client.ask(`/messages/${id}/preview`);
    expect(preview.text).toMatch(new RegExp(`<iframe id="html" [^>]*sandbox="" [^>]*src="/messages/${id}/html"`));
    expect(preview.text).toMatch(/&lt;script&gt;.*fdp\.exe.*application\/pdf.*, 3\.0 kB/);
    const { status, headers, text } = await client.ask(`/messages/${id}/html`, {
      headers: { 'sec-fetch-dest': 'iframe' },
    });
    expect(status).toBe(200);
    expect(headers.get('content-security-policy')).toBe(
      "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'",
    );
    expect(Object.fromEntries(headers)).toMatchObject({
      'x-frame-options': 'SAMEORIGIN',
      'referrer-policy': 'no-referrer',
      'x-dns-prefetch-control': 'off',
    });
    expect(text).toContain('<h1 onclick="x()">Hi</h1>');
    expect(text).not.toMatch(/<\/?(?:script|link|meta (?!charset)|base)\b/i);
    // Nowhere but in that frame.
    for (const dest of ['document', 'script', 'image', 'embed'])
      expect((await client.ask(`/messages/${id}/html`, { headers: { 'sec-fetch-dest': dest } })).status).toBe(403);
  });

  it.each([
    ['<script>x</script>', '<x-script>x</x-script>'],
    ['<LiNk/rel=preconnect>', '<x-LiNk/rel=preconnect>'],
    ['<li<link>nk rel=x>', '<li<x-link>nk rel=x>'],
    ['<meta\nhttp-equiv=refresh>', '<x-meta\nhttp-equiv=refresh>'],
    ['<svg><a>', '<x-svg><x-a>'],
    ['<a/href=x>y</A\n><area href=x>', '<x-a/href=x>y</x-A\n><x-area href=x>'],
    ['<abbr><address><article>', '<abbr><address><article>'],
    ['<linkage>', '<linkage>'],
  ])('%s', (given, expected) => {
    expect(defused(given)).toBe(expected);
  });

  it.each([
    ['without an end', 'Subject: x\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html\n\n<b>'],
    ['with nothing', '\n'],
    ['without a body', 'Subject: x\n\n'],
    ['with a text of 3 MB', `Subject: x\n\n${'long line\n'.repeat(300_000)}`],
    [
      'with 300 attachments',
      `Subject: x\nContent-Type: multipart/mixed; boundary=x\n\n${'--x\nContent-Type: image/png\nContent-Disposition: attachment; filename=a.png\n\nx\n'.repeat(300)}--x--\n`,
    ],
    [
      'with parts in parts',
      Array.from({ length: 200 }, (_, at) => `Content-Type: multipart/mixed; boundary=b${at}\n\n--b${at}\n`).join(''),
    ],
  ])('%s is shown as far as it goes', async (_what, message) => {
    const id = await site.put(message);
    const { status, text } = await client.ask(`/messages/${id}/preview`);
    expect(status).toBe(200);
    expect(text.length).toBeLessThan(400_000);
    expect((await client.ask('/')).status).toBe(200);
  });
});

describe('the audit', () => {
  it('says who looked at the content, once for a look, and who took it', async () => {
    const id = await site.put(HOSTILE);
    await client.ask(`/messages/${id}`);
    expect(site.told('item.viewed')).toEqual([]);
    await client.ask(`/messages/${id}/preview`);
    await client.ask(`/messages/${id}/html`);
    expect(site.told('item.viewed')).toMatchObject([{ id, by: 'alex', mailbox: 'notifications@contoso.com' }]);
    const answer = await client.ask(`/messages/${id}/message.eml`);
    expect(answer.text).toBe(HOSTILE.replaceAll('\n', '\r\n'));
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'message/rfc822',
      'content-disposition': `attachment; filename="${id}.eml"`,
    });
    expect(site.told('item.exported')).toMatchObject([{ id, by: 'alex' }]);
    // The frame by itself is a look too.
    const other = await operator(site);
    await other.ask(`/messages/${id}/html`);
    expect(site.told('item.viewed')).toHaveLength(2);
  });
});

describe('a page of somebody else that leads to the content', () => {
  it.each(['cross-site', 'same-site'])('%s: is not shown it, and no look is noted', async (from) => {
    const id = await site.put(HOSTILE);
    for (const part of ['preview', 'html', 'message.eml']) {
      const headers = { 'sec-fetch-site': from, 'sec-fetch-dest': 'iframe' };
      const { status, text } = await client.ask(`/messages/${id}/${part}`, { headers });
      expect([part, status]).toEqual([part, 403]);
      expect(text).toContain('A page of another site led here');
    }
    expect([...site.told('item.viewed'), ...site.told('item.exported')]).toEqual([]);
  });

  it.each(['same-origin', 'none'])('%s is the operator', async (from) => {
    const id = await site.put(HOSTILE);
    const { status } = await client.ask(`/messages/${id}/message.eml`, { headers: { 'sec-fetch-site': from } });
    expect([status, site.told('item.exported').length]).toEqual([200, 1]);
  });
});

describe('orders', () => {
  it.each([
    ['hold', 'queued', 'parked', 'item.held', '1 message held.'],
    ['retry', 'parked', 'queued', 'item.retried', '1 message due now.'],
    ['release', 'parked', 'queued', 'item.retried', '1 message released.'],
    ['drop', 'parked', 'dropped', 'item.dropped', '1 message dropped.'],
  ] as const)('%s: asked about, done, said once, noted with the name', async (act, before, after, event, line) => {
    const id = await site.put('Subject: x\n\ny\n');
    if (before === 'parked') await site.park(id);
    const asked = await client.ask(`/acts?act=${act}&id=${id}&back=/messages/${id}`);
    expect(asked.text).toContain(`name="id" value="${id}"`);
    expect((await site.spool.get(id))?.state).toBe(before);
    const done = await client.post('/acts', [
      ['act', act],
      ['id', id],
      ['back', `/messages/${id}`],
      ['formToken', await client.formToken()],
    ]);
    expect([done.status, done.headers.get('location')]).toEqual([303, `/messages/${id}`]);
    expect((await site.spool.get(id))?.state).toBe(after);
    expect(site.told(event)).toMatchObject([{ id, by: 'alex' }]);
    const page = await client.ask(`/messages/${id}`);
    expect(page.text).toContain(`id="flash" role="status">${line}<`);
    expect(page.text).toContain('by alex');
    expect((await client.ask(`/messages/${id}`)).text).not.toContain('id="flash"');
  });

  it('move: to another mailbox and route', async () => {
    const id = await site.put('Subject: x\n\ny\n');
    const move = async (fields: readonly (readonly [string, string])[]): Promise<string> => {
      await client.post('/acts', [['act', 'move'], ['id', id], ['formToken', await client.formToken()], ...fields]);
      return (await client.ask('/messages')).text;
    };
    expect(await move([])).toContain('Nothing was done: a move needs a mailbox or a route to move to.');
    expect(await move([['route', 'nowhere']])).toContain('Nothing was done: there is no such route');
    expect(await move([['mailbox', 'no address']])).toContain('Nothing was done: the mailbox is no e-mail address.');
    expect(
      await move([
        ['mailbox', 'Fax@Contoso.com'],
        ['route', 'subsidiary'],
      ]),
    ).toContain('1 message moved.');
    expect(await site.spool.get(id)).toMatchObject({ route: 'subsidiary', mailbox: 'fax@contoso.com' });
    expect(site.told('item.moved')).toMatchObject([{ by: 'alex' }]);
  });

  it('concern many at once, and say what was left', async () => {
    const [one, two] = [await site.put('Subject: x\n\ny\n'), await site.put('Subject: x\n\ny\n')];
    await site.park(one);
    const page = await client.ask(`/acts?act=release&id=${one}&id=${two}`);
    expect(page.text).toContain('Release: 1 message');
    expect(page.text).toContain('1 other of the chosen will be left as it is');
    await client.post('/acts', [
      ['act', 'release'],
      ['id', one],
      ['id', two],
      ['id', 'absent'],
      ['formToken', await client.formToken()],
    ]);
    expect((await client.ask('/messages')).text).toContain(
      '1 message released. 1 left as it is: it is not parked; retry makes it due now. 1 left as it is: there is no such message any more.',
    );
  });

  it('export of many is one file', async () => {
    const ids = [await site.put('Subject: one\n\nFrom here\n>From there\n'), await site.put('Subject: two\n\ny\n')];
    const answer = await client.post('/acts', [
      ['act', 'export'],
      ...ids.map((id) => ['id', id] as const),
      ['formToken', await client.formToken()],
    ]);
    expect(answer.headers.get('content-disposition')).toBe('attachment; filename="messages.mbox"');
    expect(answer.text.replaceAll('\r', '')).toMatch(
      /^From MAILER-DAEMON \w{3} \w{3} \d\d [\d:]{8} \d{4}\nSubject: one\n\n>From here\n>>From there\n\n\nFrom MAILER-DAEMON .*\nSubject: two\n\ny\n\n\n$/,
    );
    expect(site.told('item.exported').map((event) => ('by' in event ? event.by : ''))).toEqual(['alex', 'alex']);
  });

  it('without a choice do nothing', async () => {
    expect((await client.ask('/acts?act=drop')).text).toContain('No message is chosen');
    expect((await client.ask('/acts?act=burn&id=x')).text).toContain('No message is chosen');
    await client.post('/acts', [
      ['act', 'drop'],
      ['formToken', await client.formToken()],
    ]);
    expect((await client.ask('/messages')).text).toContain('Nothing was done: no message was chosen.');
  });

  it('a mailbox is looked into', async () => {
    const formToken = await client.formToken();
    await client.post('/pickups', [
      ['pickup', 'fax'],
      ['formToken', formToken],
    ]);
    await client.post('/pickups', [
      ['pickup', 'nowhere'],
      ['formToken', formToken],
    ]);
    expect(site.looks).toEqual(['fax']);
    expect((await client.ask('/pickups')).text).toContain('There is no such pickup.');
  });

  it('the configuration is read anew, in the name of whoever asks, and what came of it is told', async () => {
    const formToken = await client.formToken();
    const ask = async (): Promise<string> => {
      await client.post('/reload', [['formToken', formToken]]);
      return (await client.ask('/')).text;
    };
    expect(await ask()).toContain('The configuration was read anew: nothing has changed.');
    site.reloaded.now = { ok: true, changed: ['retry.intervals', 'console.port'], needsRestart: ['console.port'] };
    expect(await ask()).toContain(
      'Changed: retry.intervals, console.port. Only a restart takes console.port into use.',
    );
    site.reloaded.now = { ok: false, faults: ['config.yaml:3:5: <b>retry</b>: is no list'] };
    const refused = await ask();
    expect(refused).toContain('The configuration stays as it was. config.yaml:3:5: &lt;b&gt;retry');
    expect(site.reloads).toEqual(['alex', 'alex', 'alex']);
    await client.post('/reload', [['formToken', 'of somebody else']]);
    expect(site.reloads).toHaveLength(3);
  });
});

it('a file of many quotes lines like separators, wherever chunks end', async () => {
  const text = 'From a\n>>From b\n>x\nFro\nFrom';
  for (const size of [1, 2, 3, 7, 100]) {
    const octets = (async function* () {
      for (let at = 0; at < text.length; at += size) yield Buffer.from(text.slice(at, at + size));
    })();
    const chunks: Uint8Array[] = [];
    for await (const chunk of mboxOf(
      (async function* () {
        yield { at: 0, octets };
      })(),
    ))
      chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe(
      `From MAILER-DAEMON Thu Jan 01 00:00:00 1970\n>From a\n>>>From b\n>x\nFro\nFrom\n\n`,
    );
  }
});

describe('the JSON', () => {
  const bearer = { authorization: `Bearer ${TOKEN}` };

  it('gives state, list, story and takes orders', async () => {
    const id = await site.put(HOSTILE);
    const program = new Browser(site.url);
    const get = async (path: string): Promise<Record<string, unknown>> => {
      const answer = await program.ask(path, { headers: bearer });
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8']);
      return JSON.parse(answer.text) as Record<string, unknown>;
    };
    expect(await get('/api/state')).toMatchObject({
      gateway: 'gateway.test',
      ready: true,
      problems: expect.any(Array) as unknown[],
      queue: { items: { queued: expect.any(Number) as number } },
      routes: [{ name: 'exchange' }],
    });
    expect(await get('/api/messages?q=alice&limit=1')).toMatchObject({
      understood: ['with “alice” in an address, the Message-ID or the id'],
      messages: [{ id, state: 'queued', sender: 'scanner@contoso.com', recipients: ['alice@contoso.com'] }],
    });
    expect(await get(`/api/messages/${id}`)).toMatchObject({
      id,
      history: [{ what: 'accepted' }],
      header: { from: [expect.stringContaining('evil@example.com')] },
    });
    const done = await program.ask('/api/acts', {
      method: 'POST',
      headers: { ...bearer, 'content-type': 'application/json' },
      body: JSON.stringify({ act: 'hold', ids: [id, 'absent'], by: 'somebody else' }),
    });
    expect(JSON.parse(done.text)).toEqual({ outcomes: { [id]: 'done', absent: 'absent' } });
    expect(site.told('item.held')).toMatchObject([{ id, by: 'token' }]);
  });

  it.each([
    ['/api/messages?limit=x', 400],
    ['/api/messages?q=state:lost', 400],
    ['/api/messages/absent', 404],
    ['/api/nothing', 404],
    ['/api/acts', 405],
  ])('%s is a %i', async (path, status) => {
    const answer = await new Browser(site.url).ask(path, { headers: bearer });
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text)).toHaveProperty('error');
  });

  it.each([
    ['no JSON', '{', 400],
    ['no act', '{"ids":[]}', 400],
    ['an id that is none', '{"act":"drop","ids":["../x"]}', 400],
    ['too much', `{"act":"drop","ids":["${'a'.repeat(70_000)}"]}`, 413],
  ])('an order with %s', async (_what, body, status) => {
    const answer = await new Browser(site.url).ask('/api/acts', {
      method: 'POST',
      headers: { ...bearer, 'content-type': 'application/json' },
      body,
    });
    expect(answer.status).toBe(status);
  });

  it('a wrong token is held back, and bans in the end', async () => {
    const program = new Browser(site.url);
    for (let tries = 0; tries < 5; tries++)
      expect((await program.ask('/api/state', { headers: { authorization: 'Bearer guess' } })).status).toBe(401);
    expect(site.pauses).toEqual([100, 200, 300, 400, 500]);
    expect((await program.ask('/api/state', { headers: bearer })).status).toBe(429);
  });
});
