/** The forms of a webhook, octet by octet, and a real server that takes or refuses them. */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Http } from '../../src/exchange/http.ts';
import { createHttp } from '../../src/exchange/http.ts';
import type { Sent } from '../../src/watch/alarm-channel.ts';
import type { Ask } from '../../src/watch/alarm-webhook.ts';
import { bodyOf, webhookChannel } from '../../src/watch/alarm-webhook.ts';
import { startHeartbeat } from '../../src/watch/heartbeat.ts';
import { notice } from './alarm-notices.ts';

const SECRET = '/services/T0/B1/topsecret?sig=alsosecret';

let server: Server | undefined;
let http: Http | undefined;

afterEach(async () => {
  await http?.close();
  server?.closeAllConnections();
  server?.close();
});

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** @returns the address to post to */
async function listen(answer: Answer): Promise<string> {
  server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => answer(request, response, body));
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}${SECRET}`;
}

/** As gateway.ts does it. */
function ask(): Ask {
  const dispatcher = createHttp();
  http = dispatcher;
  return async (request) => {
    const answer = await dispatcher.request(request);
    answer.discard();
    const retryAfter = answer.headers['retry-after'];
    return { status: answer.status, ...(retryAfter === undefined ? {} : { retryAfter }) };
  };
}

const post = (url: string, signal = new AbortController().signal): Promise<Sent> =>
  webhookChannel('chat', url, 'json', ask()).send(notice(), signal);

describe('the form', () => {
  it('json', () => {
    expect(bodyOf(notice(), 'json')).toBe(
      '{"notice":"raised","alarm":"ewsClosed:exchange","reason":"ewsClosed","severity":"critical","gateway":"gateway.contoso.com",' +
        '"title":"Exchange has closed EWS to this gateway (HTTP 403)",' +
        '"text":"Nothing is sent & kept.\\nSet-OrganizationConfig -EwsAllowedAppIDs \\"<existing list>,c1d2\\"",' +
        '"since":"2026-11-24T02:59:00Z","at":"2026-11-24T03:00:00Z"}',
    );
  });

  it('teams: an Adaptive Card whose texts are no Markdown', () => {
    const run = (text: string, more = {}) => ({
      type: 'RichTextBlock',
      inlines: [{ type: 'TextRun', text, ...more }],
    });
    expect(JSON.parse(bodyOf(notice(), 'teams'))).toEqual({
      type: 'message',
      attachments: [
        {
          contentType: 'application/vnd.microsoft.card.adaptive',
          contentUrl: null,
          content: {
            $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
            type: 'AdaptiveCard',
            version: '1.2',
            msteams: { width: 'Full' },
            body: [
              run('Alarm: Exchange has closed EWS to this gateway (HTTP 403) (gateway.contoso.com)', {
                weight: 'bolder',
                size: 'medium',
                color: 'attention',
              }),
              run('Nothing is sent & kept.'),
              run('Set-OrganizationConfig -EwsAllowedAppIDs "<existing list>,c1d2"'),
              run('ewsClosed:exchange, since 2026-11-24T02:59:00Z', { isSubtle: true, size: 'small' }),
            ],
          },
        },
      ],
    });
  });

  it.each([
    ['raised', 'warning', '"color":"warning"', ':large_yellow_circle: *Alarm: '],
    ['repeated', 'critical', '"color":"attention"', ':red_circle: *Still: '],
    ['recovered', 'critical', '"color":"good"', ':white_check_mark: *Over: '],
  ] as const)('shows %s, %s', (kind, severity, teams, slack) => {
    const about = notice({ notice: kind, severity });
    expect(bodyOf(about, 'teams')).toContain(teams);
    expect((JSON.parse(bodyOf(about, 'slack')) as { text: string }).text.startsWith(slack)).toBe(true);
  });

  it('slack: text in which nothing becomes a mention', () => {
    const about = notice({ lines: ['<!channel> & <@U1> > all'] });
    expect(JSON.parse(bodyOf(about, 'slack'))).toEqual({
      text: [
        ':red_circle: *Alarm: Exchange has closed EWS to this gateway (HTTP 403) (gateway.contoso.com)*',
        '&lt;!channel&gt; &amp; &lt;@U1&gt; &gt; all',
        'ewsClosed:exchange, since 2026-11-24T02:59:00Z',
      ].join('\n'),
    });
  });

  it('of the longest notice is small enough for Teams', () => {
    const lines = Array.from({ length: 40 }, () => '"'.repeat(100));
    expect(Buffer.byteLength(bodyOf(notice({ lines, title: '€'.repeat(200) }), 'teams'))).toBeLessThan(28_000);
  });
});

describe('a server', () => {
  it('gets one POST of JSON', async () => {
    const got: string[] = [];
    const url = await listen((request, response, body) => {
      got.push(`${request.method} ${request.url} ${request.headers['content-type']} ${body}`);
      response.writeHead(202).end();
    });
    expect(await post(url)).toEqual({ ok: true });
    expect(got).toEqual([`POST ${SECRET} application/json; charset=utf-8 ${bodyOf(notice(), 'json')}`]);
  });

  it.each([
    [200, true, undefined],
    [204, true, undefined],
    [302, false, true],
    [400, false, true],
    [404, false, true],
    [408, false, false],
    [410, false, true],
    [429, false, false],
    [500, false, false],
    [503, false, false],
  ] as const)('that answers %i', async (status, ok, final) => {
    const url = await listen((_, response) => response.writeHead(status, { location: '/elsewhere' }).end('no'));
    const sent = await post(url);
    expect(sent).toMatchObject(ok ? { ok } : { ok, final, failure: `${new URL(url).host} answered HTTP ${status}` });
  });

  it('that names a time to wait is heard', async () => {
    const url = await listen((_, response) => response.writeHead(429, { 'retry-after': '30' }).end());
    expect(await post(url)).toMatchObject({ retryAfter: 30_000 });
  });

  it.each<[string, Answer]>([
    ['cuts the connection', (request) => request.socket.destroy()],
    ['speaks no HTTP', (request) => request.socket.end('what?\r\n\r\n')],
  ])('that %s is a failure that may pass, and shows no address', async (_, answer) => {
    const url = await listen(answer);
    const sent = await post(url);
    expect(sent).toMatchObject({ ok: false });
    expect(JSON.stringify(sent)).not.toContain('secret');
    expect(sent).not.toHaveProperty('final');
  });

  it('that is not there, or is silent, is one too', async () => {
    const url = await listen(() => undefined);
    const limit = AbortSignal.timeout(50);
    expect(await post(url, limit)).toMatchObject({ ok: false });
    server?.closeAllConnections();
    await new Promise((resolve) => server?.close(resolve));
    const sent = await post(url);
    expect(sent).toMatchObject({ ok: false });
    expect(JSON.stringify(sent)).not.toContain('secret');
  });
});

describe('the sign of life', () => {
  it('is a GET at once and again, while all is well, and fails aloud without its address', async () => {
    let isWell = true;
    let status = 200;
    const got: string[] = [];
    const heard = Promise.withResolvers<void>();
    const url = await listen((request, response) => {
      got.push(`${request.method} ${request.url}`);
      response.writeHead(status).end();
      heard.resolve();
    });
    const failures: unknown[] = [];
    const heartbeat = startHeartbeat({
      url,
      every: 3_600_000,
      ask: ask(),
      isWell: () => isWell,
      report: (event) => failures.push(event),
    });
    await heard.promise;
    await heartbeat.beat();
    expect(got).toEqual([`GET ${SECRET}`, `GET ${SECRET}`]);
    isWell = false;
    await heartbeat.beat();
    expect(got).toHaveLength(2);
    isWell = true;
    status = 404;
    expect(failures).toEqual([]);
    await heartbeat.beat();
    expect(failures).toEqual([
      {
        event: 'alarm.failed',
        channel: 'heartbeat',
        attempt: 1,
        failure: `${new URL(url).host} answered HTTP 404`,
        givenUp: true,
      },
    ]);
    heartbeat.stop();
    await heartbeat.beat();
    expect(got).toHaveLength(3);
  });

  it('comes again by itself', async () => {
    const url = await listen((_, response) => response.writeHead(200).end());
    const beats = Promise.withResolvers<void>();
    let count = 0;
    server?.on('request', () => (++count >= 3 ? beats.resolve() : undefined));
    const heartbeat = startHeartbeat({ url, every: 20, ask: ask(), isWell: () => true, report: () => undefined });
    await beats.promise;
    heartbeat.stop();
    expect(count).toBeGreaterThanOrEqual(3);
  });
});
