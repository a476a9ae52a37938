/** The ear at a folder over EWS: envelopes in a body that has no end, cut anywhere, and what ends it. */
import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PickupMailbox } from '../../src/exchange/mailbox.ts';
import { ewsMailbox } from '../../src/exchange/mailbox-ews.ts';
import { EnvelopeStream } from '../../src/exchange/notifications.ts';
import type { Client, Peer, Seen } from './ews-peer.ts';
import { clientOf, fault, startPeer } from './ews-peer.ts';
import { answerOf, inDialect, reply } from './mailbox-answers.ts';

const notice = (...events: string[]): string =>
  answerOf(
    'GetStreamingEvents',
    `<m:Notifications><m:Notification><t:SubscriptionId>S</t:SubscriptionId>${events.map((name) => `<t:${name}/>`).join('')}</m:Notification></m:Notifications>`,
  );
const connection = (state: string): string =>
  answerOf('GetStreamingEvents', `<m:ConnectionStatus>${state}</m:ConnectionStatus>`);
const OPEN = connection('OK');
const CLOSED = connection('Closed');
const HEARTBEAT = notice('StatusEvent');
const MAIL = notice('CreatedEvent', 'NewMailEvent');
const bare = (text: string): string => text.replace(/<\?xml[^>]*\?>/, '');

describe('envelopes in a body', () => {
  const text = `${OPEN}${bare(MAIL)}\r\n${inDialect('gromox', HEARTBEAT)}  ${MAIL.replace('</s:Envelope>', '</s:Envelope\n>')}grüße`;
  const octets = Buffer.from(text.replaceAll('StatusEvent', 'Grüße'));

  it('are found at every border of two chunks, and what is not whole is kept', () => {
    const whole = new EnvelopeStream().push(octets);
    expect(whole).toHaveLength(4);
    expect(whole[0]).toBe(OPEN);
    expect(whole[2]).toContain('Grüße');
    for (let at = 0; at <= octets.length; at++) {
      const stream = new EnvelopeStream();
      expect([...stream.push(octets.subarray(0, at)), ...stream.push(octets.subarray(at))]).toEqual(whole);
    }
  });

  it.each([1, 2, 7])('are found in chunks of %i', (size) => {
    const stream = new EnvelopeStream();
    const found: string[] = [];
    for (let at = 0; at < octets.length; at += size) found.push(...stream.push(octets.subarray(at, at + size)));
    expect(found).toEqual(new EnvelopeStream().push(octets));
  });

  it('something without an end is given up', () => {
    const stream = new EnvelopeStream();
    for (let count = 0; count < 17; count++) {
      expect(stream.isSound).toBe(true);
      expect(stream.push(Buffer.alloc(16_384, 'x'))).toEqual([]);
    }
    expect(stream.isSound).toBe(false);
  });
});

let peer: Peer;
let client: Client;
let mailbox: PickupMailbox;
let asked = 0;

beforeAll(async () => {
  peer = await startPeer();
  // Shorter than the silence allowed: what the request says counts.
  client = await clientOf(peer.url, { http: { bodyTimeout: 1 } });
  mailbox = ewsMailbox({ ews: client.ews, mailbox: 'fax@contoso.test', silence: 1_500 });
});
afterAll(async () => {
  await client.close();
  await peer.close();
});
beforeEach(() => {
  asked = peer.seen.length;
});

const SUBSCRIBED = answerOf('Subscribe', '<m:SubscriptionId>S&amp;1</m:SubscriptionId>');

/** @param play what the stream does */
function streams(play: (response: ServerResponse) => void, subscribed = reply(SUBSCRIBED)): void {
  peer.answer = (seen, response, request) => {
    if (seen.body.includes('<m:Subscribe>')) subscribed(seen, response, request);
    else if (seen.body.includes('<m:Unsubscribe>')) reply(answerOf('Unsubscribe', ''))(seen, response, request);
    else play(response.writeHead(200, { 'content-type': 'text/xml' }));
  };
}

const operations = (): string[] =>
  peer.seen.slice(asked).map(({ body }) => /<soap:Body><m:(\w+)/.exec(body.toString())?.[1] ?? '');

async function heard(
  signal = new AbortController().signal,
): Promise<{ readonly ended: unknown; readonly news: number }> {
  let news = 0;
  const ended = await mailbox.listen?.('F', () => news++, signal);
  return { ended, news };
}

describe('listening', () => {
  it('tells of news when it is open and whenever something comes, until the server closes', async () => {
    streams((response) =>
      response.end(OPEN + bare(HEARTBEAT) + bare(MAIL) + bare(notice('MovedEvent')) + bare(HEARTBEAT) + bare(CLOSED)),
    );
    expect(await heard()).toEqual({ ended: { ok: true }, news: 3 });
    expect(operations()).toEqual(['Subscribe', 'GetStreamingEvents', 'Unsubscribe']);
  });

  it('reads what Gromox writes', async () => {
    const texts = [OPEN, HEARTBEAT, MAIL, CLOSED].map((text) => inDialect('gromox', text));
    streams((response) => response.end(texts.join('')), reply(inDialect('gromox', SUBSCRIBED)));
    expect(await heard()).toEqual({ ended: { ok: true }, news: 2 });
  });

  it('hears what comes while the stream stays open', async () => {
    const controller = new AbortController();
    let stream: ServerResponse | undefined;
    streams((response) => void (stream = response).write(OPEN));
    const news = vi.fn<() => void>();
    const listening = mailbox.listen?.('F', news, controller.signal);
    await vi.waitFor(() => expect(news).toHaveBeenCalledTimes(1));
    stream?.write(HEARTBEAT + MAIL.slice(0, 100));
    stream?.write(MAIL.slice(100));
    await vi.waitFor(() => expect(news).toHaveBeenCalledTimes(2));
    controller.abort();
    expect(await listening).toMatchObject({ ok: false, status: { cause: 'ABORTED' } });
    expect(operations()).toEqual(['Subscribe', 'GetStreamingEvents']);
  });

  it('asks the server that holds the subscription, for almost half an hour', async () => {
    const cookies = 'exchangecookie=1; path=/, X-BackEndOverrideCookie=server1~42; path=/; secure';
    streams((response) => response.end(OPEN + CLOSED), reply(SUBSCRIBED, 200, { 'set-cookie': cookies }));
    await heard();
    const [subscribe, stream, unsubscribe] = peer.seen.slice(asked) as [Seen, Seen, Seen];
    for (const { headers } of [subscribe, stream, unsubscribe]) {
      expect(headers).toMatchObject({ 'x-anchormailbox': 'fax@contoso.test', 'x-preferserveraffinity': 'true' });
    }
    expect([subscribe, stream, unsubscribe].map(({ headers }) => headers.cookie)).toEqual([
      undefined,
      'X-BackEndOverrideCookie=server1~42',
      'X-BackEndOverrideCookie=server1~42',
    ]);
    expect(subscribe.body.toString()).toContain('<t:FolderId Id="F">');
    for (const event of ['NewMailEvent', 'CreatedEvent', 'MovedEvent']) {
      expect(subscribe.body.toString()).toContain(`<t:EventType>${event}<`);
    }
    expect(stream.body.toString()).toContain('<t:SubscriptionId>S&amp;1</t:SubscriptionId>');
    expect(stream.body.toString()).toContain('<m:ConnectionTimeout>29</m:ConnectionTimeout>');
    expect(unsubscribe.body.toString()).toContain('<m:SubscriptionId>S&amp;1</m:SubscriptionId>');
  });

  const error = (code: string): string => answerOf('GetStreamingEvents', { error: code });

  it.each<readonly [what: string, play: (response: ServerResponse) => void, cause: string, news: number]>([
    ['the subscription is unknown', (r) => r.end(error('ErrorSubscriptionNotFound')), 'ErrorSubscriptionNotFound', 0],
    ['it is lost later', (r) => r.end(OPEN + error('ErrorReadEventsFailed')), 'ErrorReadEventsFailed', 1],
    ['it is closed before it is open, as Gromox does', (r) => void r.write(CLOSED), 'stream ended', 0],
    ['the server says nothing more', (r) => r.end(OPEN), 'stream ended', 1],
    ['the connection breaks', (r) => r.write(OPEN, () => r.destroy()), 'UND_ERR_SOCKET', 1],
    ['the heartbeat stops', (r) => void r.write(OPEN), 'UND_ERR_BODY_TIMEOUT', 1],
    ['it is no EWS', (r) => r.end('<html></Envelope>'), 'unusable answer', 0],
    ['it has no end', (r) => r.end(Buffer.alloc(400_000, 'x')), 'unreadable answer', 0],
  ])('ends when %s', async (_what, play, cause, news) => {
    streams(play);
    expect(await heard()).toEqual({
      ended: { ok: false, status: expect.objectContaining({ outcome: 'delayed', reach: 'message', cause }) },
      news,
    });
  });

  it.each([
    ['a busy server', reply(fault('ErrorServerBusy'), 500), { reach: 'mailbox', throttled: true }],
    [
      'too many subscriptions',
      reply(answerOf('Subscribe', { error: 'ErrorExceededSubscriptionCount' })),
      { throttled: true },
    ],
    [
      'no permission',
      reply(answerOf('Subscribe', { error: 'ErrorAccessDenied' })),
      { code: '4.3.5', reach: 'mailbox' },
    ],
    ['an answer without its id', reply(answerOf('Subscribe', '')), { cause: 'unreadable answer' }],
  ])('does not begin with %s', async (_what, subscribed, status) => {
    streams(() => {}, subscribed);
    expect(await heard()).toMatchObject({ ended: { ok: false, status }, news: 0 });
    expect(operations()).toEqual(['Subscribe']);
  });

  it('is refused the stream by HTTP', async () => {
    peer.answer = (seen, response, request) =>
      (seen.body.includes('<m:Subscribe>') ? reply(SUBSCRIBED) : reply('', 503))(seen, response, request);
    expect(await heard()).toMatchObject({ ended: { ok: false, status: { cause: 'HTTP 503', reach: 'transport' } } });
  });
});
