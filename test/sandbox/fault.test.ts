/** What the sandbox's Exchange does wrong on command, one by one over real HTTPS, and when it does. */
import { setTimeout as pause } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Fault, Misbehaviour } from '../../src/sandbox/fault.ts';
import { Faults, readFault } from '../../src/sandbox/fault.ts';
import type { Client } from './soap-client.ts';
import {
  ALICE,
  all,
  BOB,
  broken,
  codes,
  createItem,
  distinguished,
  envelope,
  mail,
  SENDER,
  startTestSandbox,
} from './soap-client.ts';

const GOOD = envelope(createItem(mail()));
const FIND = envelope(
  `<m:FindItem Traversal="Shallow"><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:ParentFolderIds>${distinguished('inbox')}</m:ParentFolderIds></m:FindItem>`,
);
const OPERATIONS: Readonly<Record<string, string>> = {
  CreateItem: GOOD,
  FindItem: FIND,
  SendItem: envelope('<m:SendItem SaveItemToFolder="false"><m:ItemIds><t:ItemId Id="x"/></m:ItemIds></m:SendItem>'),
  GetItem: envelope(
    '<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:ItemIds><t:ItemId Id="x"/></m:ItemIds></m:GetItem>',
  ),
  DeleteItem: envelope(
    '<m:DeleteItem DeleteType="HardDelete"><m:ItemIds><t:ItemId Id="x"/></m:ItemIds></m:DeleteItem>',
  ),
  GetFolder: envelope(
    `<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds>${distinguished('inbox')}</m:FolderIds></m:GetFolder>`,
  ),
};

let client: Client;
beforeAll(async () => (client = await startTestSandbox()));
afterAll(async () => await client.sandbox.close());
afterEach(async () => await client.reset());

const does = (misbehaviour: Misbehaviour, when: Fault['when'] = { count: 1 }): void =>
  client.sandbox.fault({ when, does: misbehaviour });
const arrivals = (): number => client.sandbox.arrived().length;
const isFine = async (): Promise<void> => expect(codes(await client.call(GOOD))).toEqual(['NoError']);

describe('an answer of another status', () => {
  it.each([301, 400, 403, 404, 413, 429, 440, 500, 502, 503, 504, 507])('%i instead of acting', async (status) => {
    does({ status });
    const answer = await client.call(GOOD);
    expect(answer.status).toBe(status);
    expect(answer.text).toBe('');
    expect(answer.headers).toMatchObject({ 'content-type': 'text/html', 'content-length': '0' });
    expect(arrivals()).toBe(0);
    await isFine();
  });

  it('carries a body and headers', async () => {
    const headers = { Location: 'https://127.0.0.1/ews/genericerrorpage.htm', 'X-CasErrorCode': 'MailboxMoved' };
    does({ status: 302, body: '<p>moved, größer</p>', headers });
    const answer = await client.call(GOOD);
    expect(answer).toMatchObject({ status: 302, text: '<p>moved, größer</p>' });
    expect(answer.headers['location']).toBe(headers.Location);
    expect(answer.headers['x-caserrorcode']).toBe('MailboxMoved');
  });

  it('takes content type and other headers as they are named', async () => {
    does({ body: '{}', headers: { 'Content-Type': 'application/json', Server: 'other' } });
    const answer = await client.call(GOOD);
    expect(answer).toMatchObject({ status: 200, text: '{}' });
    expect(answer.headers).toMatchObject({ 'content-type': 'application/json', server: 'other' });
  });

  it.each([
    [120, '120'],
    ['Wed, 21 Oct 2026 07:28:00 GMT', 'Wed, 21 Oct 2026 07:28:00 GMT'],
    [0, '0'],
  ])('tells Retry-After %s', async (retryAfter, header) => {
    does({ status: 503, retryAfter });
    const answer = await client.call(GOOD);
    expect(answer.status).toBe(503);
    expect(answer.headers['retry-after']).toBe(header);
  });

  it('after acting, with `acts`', async () => {
    does({ status: 504, acts: true });
    expect((await client.call(GOOD)).status).toBe(504);
    expect(arrivals()).toBe(1);
  });

  it('`acts` alone changes nothing: once sent, once arrived', async () => {
    does({ acts: true });
    await isFine();
    expect(arrivals()).toBe(1);
  });

  it('headers alone go with the proper answer', async () => {
    does({ headers: { 'X-Own': 'yes' }, retryAfter: 5 });
    const answer = await client.call(GOOD);
    expect(codes(answer)).toEqual(['NoError']);
    expect(answer.headers).toMatchObject({ 'x-own': 'yes', 'retry-after': '5' });
    expect(arrivals()).toBe(1);
  });
});

describe('a ResponseCode', () => {
  it.each(Object.entries(OPERATIONS))('as the message of %s', async (operation, request) => {
    does({ responseCode: 'ErrorServerBusy', messageText: 'a < b & "c"', backOffMilliseconds: 1500 });
    const answer = await client.call(request);
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('text/xml; charset=utf-8');
    expect(codes(answer)).toEqual(['ErrorServerBusy']);
    const [message] = all(answer, `${operation}ResponseMessage`);
    expect(message?.attributes).toEqual({ ResponseClass: 'Error' });
    expect(all(answer, 'MessageText').map(({ text }) => text)).toEqual(['a < b & "c"']);
    expect(all(answer, 'Value')).toMatchObject([{ attributes: { Name: 'BackOffMilliseconds' }, text: '1500' }]);
    expect(arrivals()).toBe(0);
  });

  it('as a fault', async () => {
    does({ responseCode: 'ErrorServerBusy', as: 'fault', messageText: 'a < b', backOffMilliseconds: 297_749 });
    const answer = await client.call(GOOD);
    expect(answer.status).toBe(500);
    expect(codes(answer)).toEqual(['fault ErrorServerBusy']);
    expect(all(answer, 'faultcode').map(({ text }) => text)).toEqual(['a:ErrorServerBusy']);
    expect(all(answer, 'faultstring').map(({ text }) => text)).toEqual(['a < b']);
    expect(all(answer, 'Value')).toMatchObject([{ attributes: { Name: 'BackOffMilliseconds' }, text: '297749' }]);
    expect(arrivals()).toBe(0);
    await isFine();
  });

  it('has a sentence of its own and no values unless told', async () => {
    does({ responseCode: 'ErrorQuotaExceeded' });
    const answer = await client.call(GOOD);
    expect(answer.text).toContain('The sandbox was told to answer so.');
    expect(answer.text).not.toContain('MessageXml');
  });

  it('after acting, with `acts`', async () => {
    does({ responseCode: 'ErrorTimeoutExpired', acts: true });
    expect(codes(await client.call(GOOD))).toEqual(['ErrorTimeoutExpired']);
    expect(arrivals()).toBe(1);
  });

  it('with another HTTP status and Retry-After', async () => {
    does({ responseCode: 'ErrorServerBusy', as: 'fault', status: 503, retryAfter: 7 });
    const answer = await client.call(GOOD);
    expect(answer.status).toBe(503);
    expect(answer.headers['retry-after']).toBe('7');
    expect(codes(answer)).toEqual(['fault ErrorServerBusy']);
  });

  it.each(['no XML', envelope('<m:ArchiveItem/>')])('of what has no messages is a fault: %s', async (request) => {
    does({ responseCode: 'ErrorServerBusy' });
    const answer = await client.call(request);
    expect(answer.status).toBe(500);
    expect(codes(answer)).toEqual(['fault ErrorServerBusy']);
  });
});

describe('an answer that is none', () => {
  it('garbage', async () => {
    does({ garbage: true });
    const answer = await client.call(GOOD);
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('text/xml; charset=utf-8');
    expect([...answer.body.subarray(0, 2)]).toEqual([0, 1]);
    expect(arrivals()).toBe(0);
  });

  it('garbage after acting', async () => {
    does({ garbage: true, acts: true });
    await client.call(GOOD);
    expect(arrivals()).toBe(1);
  });

  it('gzip, asked for or not', async () => {
    does({ gzip: true });
    const answer = await client.call(GOOD);
    expect(answer.headers['content-encoding']).toBe('gzip');
    expect(answer.headers['content-length']).toBe(String(answer.body.length));
    expect(codes({ ...answer, text: gunzipSync(answer.body).toString() })).toEqual(['NoError']);
    expect(arrivals()).toBe(1);
  });

  it('the token is refused', async () => {
    does({ expiredToken: true });
    const answer = await client.call(GOOD);
    expect(answer.status).toBe(401);
    expect(answer.headers['x-ms-diagnostics']).toContain('expired');
    expect(answer.headers['www-authenticate']).toContain('Bearer');
    expect(arrivals()).toBe(0);
    await isFine();
  });
});

describe('a cut', () => {
  it.each([
    ['beforeActing', 0],
    ['afterActing', 1],
  ] as const)('%s leaves %i mails and no answer', async (cut, mails) => {
    does({ cut });
    expect(await client.cut(GOOD)).toEqual({ cut: 'ECONNRESET', text: '', status: 0 });
    expect(arrivals()).toBe(mails);
    await isFine();
  });

  it('inAnswer sends half of it', async () => {
    const { length } = (await client.call(GOOD)).body;
    does({ cut: 'inAnswer' });
    const { text, status } = await client.cut(GOOD);
    expect(status).toBe(200);
    expect(text.length).toBe(Math.floor(length / 2));
    expect(text).toContain('<s:Envelope');
    expect(arrivals()).toBe(2);
  });

  it('inAnswer of an answer without a body sends the status', async () => {
    does({ cut: 'inAnswer', headers: { 'content-length': '10' }, status: 503 });
    expect(await client.cut(GOOD)).toMatchObject({ status: 503, text: '' });
  });

  it('inUpload comes while the client still sends', async () => {
    does({ cut: 'inUpload' });
    const request = await client.open({ headers: { 'content-length': '1000000' } });
    request.write(GOOD.slice(0, -20));
    expect(await broken(request)).toMatchObject({ status: 0 });
    expect(arrivals()).toBe(0);
    await isFine();
  });

  it('inUpload waits for the operation to show, octet by octet if need be', async () => {
    does({ cut: 'inUpload' }, { operation: 'CreateItem', mailbox: SENDER });
    const request = await client.open({ headers: { 'content-length': String(GOOD.length) } });
    const gone = broken(request);
    const shows = GOOD.indexOf('<m:Items>');
    for (const half of [GOOD.slice(0, 300), GOOD.slice(300, shows - 30)]) {
      request.write(half);
      await pause(15);
    }
    expect(request.destroyed || request.socket?.destroyed).toBe(false);
    request.write(GOOD.slice(shows - 30, shows));
    expect(await gone).toMatchObject({ status: 0 });
  });

  it.each([
    [{ operation: 'FindItem' }, true],
    [{ mailbox: BOB }, true],
    [{ operation: 'CreateItem', mailbox: BOB }, true],
    [{ after: 1 }, true],
    [{ operation: 'CreateItem' }, false],
    [{ mailbox: SENDER.toUpperCase() }, false],
  ] as const)('inUpload where %o lets a CreateItem pass: %s', async (when, passes) => {
    does({ cut: 'inUpload' }, when);
    const outcome = await client.call(GOOD).then(codes, (error: NodeJS.ErrnoException) => error.code);
    expect(outcome).toEqual(passes ? ['NoError'] : 'ECONNRESET');
  });

  it('inUpload neither uses up nor is hindered by other faults', async () => {
    does({ responseCode: 'ErrorServerBusy' });
    does({ cut: 'inUpload' });
    expect((await client.cut(GOOD)).status).toBe(0);
    expect(codes(await client.call(GOOD))).toEqual(['ErrorServerBusy']);
    await isFine();
  });

  it('inUpload of what is no SOAP', async () => {
    does({ cut: 'inUpload' });
    expect((await client.cut('no XML')).status).toBe(0);
    expect((await client.call('no XML')).status).toBe(500);
  });
});

describe('a slow answer', () => {
  it.each([
    [{ beforeActing: 100 }, [100, 0]],
    [{ afterActing: 100 }, [0, 100]],
    [{ beforeActing: 80, afterActing: 60 }, [80, 60]],
  ] as const)('%o', async (slow, [before, after]) => {
    does({ slow });
    const begin = Date.now();
    expect(codes(await client.call(GOOD))).toEqual(['NoError']);
    const end = Date.now();
    const [at = 0, ...more] = client.sandbox.arrived().map((one) => one.at);
    expect(more).toEqual([]);
    // Timers may go off a millisecond early.
    expect(at - begin).toBeGreaterThanOrEqual(before - 2);
    expect(end - at).toBeGreaterThanOrEqual(after - 2);
  });

  it('goes with other faults', async () => {
    does({ slow: { beforeActing: 30 }, status: 503 });
    expect((await client.call(GOOD)).status).toBe(503);
  });

  it('holds up nobody else', async () => {
    does({ slow: { beforeActing: 300 } });
    const slow = client.call(GOOD);
    await client.hit();
    await isFine();
    expect(client.sandbox.arrived().length).toBe(1);
    await slow;
    expect(arrivals()).toBe(2);
  });

  it.each([
    ['beforeActing', 0],
    ['afterActing', 1],
  ] as const)('that never comes, silent %s', async (silent, mails) => {
    does({ silent });
    const request = await client.open();
    const gone = broken(request.end(GOOD));
    await client.hit();
    await pause(30);
    expect(arrivals()).toBe(mails);
    request.destroy();
    expect(await gone).toMatchObject({ status: 0 });
    await isFine();
  });
});

describe('when', () => {
  const say = (responseCode: string, when: NonNullable<Fault['when']>): void => does({ responseCode }, when);
  const ask = async (count: number, request = GOOD): Promise<string> => {
    const found: string[] = [];
    for (let n = 0; n < count; n++) found.push(...codes(await client.call(request)));
    return found.join(' ').replaceAll('Error', '');
  };

  it('nothing is said, always, until it is cleared', async () => {
    client.sandbox.fault({ does: { responseCode: 'ErrorA' } });
    expect(await ask(3)).toBe('A A A');
    client.sandbox.clearFaults();
    await isFine();
  });

  it('count', async () => {
    say('ErrorA', { count: 2 });
    expect(await ask(3)).toBe('A A No');
  });

  it('count 0: never', async () => {
    say('ErrorA', { count: 0 });
    expect(await ask(2)).toBe('No No');
  });

  it('after and count', async () => {
    say('ErrorA', { after: 2, count: 1 });
    expect(await ask(4)).toBe('No No A No');
  });

  it('operation: others pass and are not counted', async () => {
    say('ErrorA', { operation: 'FindItem', after: 1, count: 1 });
    expect(await ask(2)).toBe('No No');
    expect(await ask(3, FIND)).toBe('No A No');
  });

  it('mailbox, in any case', async () => {
    say('ErrorA', { mailbox: ALICE.toUpperCase() });
    expect(await ask(1)).toBe('No');
    expect(await ask(1, envelope(createItem(mail({ From: ALICE })), { as: ALICE }))).toBe('A');
  });

  it('several: the first that fits, then the next', async () => {
    say('ErrorA', { count: 1 });
    say('ErrorB', { count: 1 });
    say('ErrorC', { operation: 'FindItem', count: 1 });
    expect(await ask(1, FIND)).toBe('A');
    expect(await ask(2)).toBe('B No');
    expect(await ask(2, FIND)).toBe('C No');
  });

  it('a request that was refused before its body was read does not count', async () => {
    say('ErrorA', { count: 1 });
    expect((await client.call(GOOD, { token: 'rubbish' })).status).toBe(401);
    expect(await ask(2)).toBe('A No');
  });
});

describe('going down', () => {
  it('cuts what waits, which then acts no more', async () => {
    does({ slow: { beforeActing: 80 } });
    does({ silent: 'afterActing' });
    const [slow, silent] = [client.cut(GOOD), client.cut(GOOD)];
    await expect.poll(arrivals).toBe(1);
    await client.sandbox.stop();
    expect([(await slow).status, (await silent).status]).toEqual([0, 0]);
    await pause(120);
    expect(arrivals()).toBe(1);
    await client.sandbox.start();
    await isFine();
  });
});

describe('a fault as data', () => {
  it.each<Fault>([
    { does: {} },
    { when: {}, does: { cut: 'inUpload' } },
    { when: { operation: 'CreateItem', mailbox: ALICE, after: 0, count: 3 }, does: { silent: 'afterActing' } },
    { does: { slow: { beforeActing: 1, afterActing: 0 }, gzip: true, garbage: false, expiredToken: true, acts: true } },
    { does: { status: 599, headers: { 'X-A': 'b' }, body: '', retryAfter: 'soon' } },
    { does: { responseCode: 'ErrorServerBusy', as: 'fault', messageText: '', backOffMilliseconds: 1, retryAfter: 1 } },
  ])('%o is taken as it is', (fault) => {
    expect(readFault(structuredClone(fault))).toEqual(fault);
  });

  it.each([
    [undefined, /^a fault is \{/],
    [null, /^a fault is \{/],
    ['slow', /^a fault is \{/],
    [[], /^a fault is \{/],
    [{}, /^a fault is \{/],
    [{ when: {} }, /^a fault is \{/],
    [{ does: [] }, /^a fault is \{/],
    [{ does: {}, times: 1 }, /^unknown: times$/],
    [{ when: 1, does: {} }, /^"when" is an object$/],
    [{ when: null, does: {} }, /^"when" is an object$/],
    [{ when: { times: 1 }, does: {} }, /^unknown: when\.times; known are operation, mailbox, after, count$/],
    [{ when: { count: -1 }, does: {} }, /^when\.count cannot be -1$/],
    [{ when: { after: 0.5 }, does: {} }, /^when\.after cannot be 0\.5$/],
    [{ when: { operation: 1 }, does: {} }, /^when\.operation cannot be 1$/],
    [{ does: { toString: 1 } }, /^unknown: does\.toString; known are slow, /],
    [JSON.parse('{"does": {"__proto__": 1}}'), /^unknown: does\.__proto__; known are /],
    [{ does: { status: '503' } }, /^does\.status cannot be "503"$/],
    [{ does: { status: 199 } }, /^does\.status cannot be 199$/],
    [{ does: { status: 600 } }, /^does\.status cannot be 600$/],
    [{ does: { cut: 'now' } }, /^does\.cut cannot be "now"$/],
    [{ does: { cut: ['inUpload'] } }, /^does\.cut cannot be \["inUpload"\]$/],
    [{ does: { silent: true } }, /^does\.silent cannot be true$/],
    [{ does: { slow: 5 } }, /^does\.slow cannot be 5$/],
    [{ does: { slow: { now: 5 } } }, /^does\.slow cannot be /],
    [{ does: { slow: { beforeActing: 2 ** 31 } } }, /^does\.slow cannot be /],
    [{ does: { headers: { 'a b': 'c' } } }, /^does\.headers cannot be /],
    [{ does: { headers: { a: 'b\r\nc: d' } } }, /^does\.headers cannot be /],
    [{ does: { headers: { a: 1 } } }, /^does\.headers cannot be /],
    [{ does: { retryAfter: 'a\nb' } }, /^does\.retryAfter cannot be /],
    [{ does: { retryAfter: -1 } }, /^does\.retryAfter cannot be -1$/],
    [{ does: { responseCode: '<x>' } }, /^does\.responseCode cannot be "<x>"$/],
    [{ does: { as: 'html' } }, /^does\.as cannot be "html"$/],
    [{ does: { backOffMilliseconds: '1' } }, /^does\.backOffMilliseconds cannot be "1"$/],
    [{ does: { gzip: 1 } }, /^does\.gzip cannot be 1$/],
  ])('%o is refused with a sentence', (data, sentence) => {
    expect(readFault(data)).toMatch(sentence);
  });

  it('is listed with its hits, and gone when cleared', () => {
    const faults = new Faults();
    const fault: Fault = { when: { count: 1 }, does: { status: 503 } };
    faults.add(fault);
    expect(faults.take('CreateItem', '')).toEqual({ status: 503 });
    expect(faults.take('CreateItem', '')).toEqual({});
    expect(faults.list()).toEqual([{ fault, hit: 1 }]);
    faults.clear();
    expect(faults.list()).toEqual([]);
  });
});
