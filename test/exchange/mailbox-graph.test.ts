/** A mailbox that is picked up from, over Graph, against a peer that answers as each case has it. */
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { askGraph } from '../../src/exchange/graph-call.ts';
import {
  GONE,
  GRAPH_CODES,
  GRAPH_STATUSES,
  meaningOfPickup,
  PICKUP_CODES,
  PICKUP_STATUSES,
} from '../../src/exchange/graph-codes.ts';
import type { Asked, GraphPeer, Reply } from './graph-peer.ts';
import { fault, openPeer } from './graph-peer.ts';

const { signal } = new AbortController();
let peer: GraphPeer;
beforeAll(async () => void (peer = await openPeer()));
afterAll(async () => await peer.close());

const ok = (json: unknown): Reply => ({ status: 200, json });
const GONE_ITEM = fault(404, 'ErrorItemNotFound');
const paths = (): string[] => peer.asked.map(({ method, path }) => `${method} ${path}`);

describe('what each answer means where mail is picked up', () => {
  it.each(PICKUP_CODES.flatMap(([codes, meaning]) => codes.map((code) => [code, meaning] as const)))(
    'code %s',
    (code, meaning) => {
      expect(meaningOfPickup(400, code)).toBe(meaning);
      expect(meaningOfPickup(403, code)).toBe(meaning);
      expect(meaningOfPickup(401, code)).toMatchObject({ ofAccount: true });
    },
  );

  it.each(PICKUP_STATUSES.flatMap(([statuses, meaning]) => statuses.map((status) => [status, meaning] as const)))(
    'status %s',
    (status, meaning) => expect(meaningOfPickup(status, undefined)).toBe(meaning),
  );

  it('and nothing of it speaks of sending', () => {
    const statuses = GRAPH_STATUSES.flatMap(([keys]) => keys).map((status) => meaningOfPickup(status, undefined));
    const codes = [...GRAPH_CODES, ...PICKUP_CODES].flatMap(([keys]) => keys);
    const told = [...statuses, ...codes.map((code) => meaningOfPickup(400, code))];
    const wrong = told.filter(({ outcome, reason }) => outcome === 'unknown' || /Mail\.Send|sending mailbox|senders/.test(reason));
    expect(wrong).toEqual([]);
  }); // prettier-ignore

  it.each([
    [429, 'ApplicationThrottled', { reach: 'mailbox', throttled: true }],
    [503, undefined, { reach: 'transport', code: '4.4.1' }],
    [404, undefined, { reach: 'transport', code: '4.3.5' }],
    [403, 'SomethingNew', { reach: 'transport', code: '4.3.5' }],
    [418, 'SomethingNew', { reach: 'message', capped: true }],
  ])('%s %s', (status, code, meaning) => expect(meaningOfPickup(status, code)).toMatchObject(meaning));
});

describe('folders', () => {
  /** Path -> id; well-known ones by their names. */
  function mailboxWith(folders: Record<string, readonly string[]>, missing: readonly string[] = []) {
    return ({ method, path, body }: Asked): Reply => {
      const [, parent = '', rest = ''] = /^\/mailFolders\/([^/?]+)(.*)$/.exec(path) ?? [];
      if (missing.includes(parent)) return fault(404, 'ErrorItemNotFound');
      if (method === 'POST') {
        const { displayName } = JSON.parse(body) as { displayName: string };
        if (folders[parent]?.some((name) => name.toLowerCase() === displayName.toLowerCase()))
          return fault(409, 'ErrorFolderExists');
        return { status: 201, json: { id: `${parent}>${displayName}`, displayName } };
      }
      if (!rest.startsWith('/childFolders')) return ok({ id: parent });
      const value = (folders[parent] ?? []).map((displayName) => ({ id: `${parent}>${displayName}`, displayName }));
      return ok({ value });
    };
  }
  const TREE = {
    msgfolderroot: ['Posteingang', "O'Neil #1", 'Fax'],
    'msgfolderroot>Fax': ['In', 'Done'],
    inbox: ['Fax'],
  };

  it.each([
    ['Inbox', 'inbox'],
    ['SENTITEMS', 'sentitems'],
    ['/inbox/fax/', 'inbox>Fax'],
    ['posteingang', 'msgfolderroot>Posteingang'],
    ["o'neil #1", "msgfolderroot>O'Neil #1"],
    ['fax/done', 'msgfolderroot>Fax>Done'],
    ['', 'msgfolderroot'],
  ])('%j', async (path, id) => {
    peer.answer(mailboxWith(TREE));
    const found = await peer.mailbox.folders([path], [], signal);
    expect(found).toEqual({ ok: true, ids: new Map([[path, id]]) });
    expect(peer.asked.every(({ method }) => method === 'GET')).toBe(true);
  }); // prettier-ignore

  it('makes what is to be made, level by level, and nothing else', async () => {
    peer.answer(mailboxWith(TREE));
    const found = await peer.mailbox.folders(['Fax/In', 'Fax/Old/2026'], ['Fax/Old/2026'], signal);
    expect(found).toMatchObject({ ok: true });
    expect(paths().filter((path) => path.startsWith('POST'))).toEqual([
      'POST /mailFolders/msgfolderroot>Fax/childFolders',
      'POST /mailFolders/msgfolderroot>Fax>Old/childFolders',
    ]);
    expect(await peer.mailbox.folders(['Fax/In', 'Fax/Nowhere\n'], ['Fax/In'], signal)).toMatchObject({
      ok: false,
      status: { outcome: 'failed', cause: 'folder not found', reason: expect.stringContaining('"Fax/Nowhere"') as string },
    });
  }); // prettier-ignore

  it('a folder that somebody else makes at the same moment is that one', async () => {
    const folders: Record<string, string[]> = { msgfolderroot: [] };
    const given = mailboxWith(folders);
    peer.answer((asked) => {
      if (asked.method === 'POST') folders['msgfolderroot'] = ['done'];
      return given(asked);
    });
    const found = await peer.mailbox.folders(['Done'], ['Done'], signal);
    expect(found).toEqual({ ok: true, ids: new Map([['Done', 'msgfolderroot>done']]) });
    // Refused and not to be seen either.
    peer.answer((asked) => (asked.method === 'POST' ? fault(409, 'ErrorFolderExists') : given({ ...asked, path: '/mailFolders/x/childFolders' })));
    expect(await peer.mailbox.folders(['Done'], ['Done'], signal)).toMatchObject({ ok: false, status: { cause: 'ErrorFolderExists' } });
  }); // prettier-ignore

  it('a mailbox without an archive may have a folder of that name', async () => {
    peer.answer(mailboxWith({ msgfolderroot: ['Archive'] }, ['archive']));
    const found = await peer.mailbox.folders(['Archive'], [], signal);
    expect(found).toEqual({ ok: true, ids: new Map([['Archive', 'msgfolderroot>Archive']]) });
  });

  it('goes through all pages', async () => {
    peer.answer(({ path }) =>
      path.includes('skip')
        ? ok({ value: [{ id: '2', displayName: 'B' }] })
        : ok({ value: [{ id: '1', displayName: 'A' }], '@odata.nextLink': `${peer.url}/users('x')/mailFolders/1?$skip=1` }),
    );
    expect(await peer.mailbox.folders(['b', 'a'], [], signal)).toEqual({ ok: true, ids: new Map([['b', '2'], ['a', '1']]) });
    expect(paths()).toHaveLength(2);
  }); // prettier-ignore

  it.each([
    [fault(404, 'ErrorInvalidUser'), { code: '4.3.5', reach: 'mailbox' }],
    [{ status: 404 }, { code: '4.3.5', reach: 'transport' }],
    [fault(403, 'ErrorAccessDenied'), { code: '4.3.5', reach: 'mailbox', reason: expect.stringContaining('Mail.ReadWrite') as string }],
    [ok({ value: 'x' }), { cause: 'unreadable answer' }],
    [ok({ value: [], '@odata.nextLink': 'https://elsewhere.test/v1.0/x' }), { cause: 'link elsewhere', reach: 'transport' }],
  ] as const)('trouble %#', async (reply, status) => {
    peer.answer(() => reply);
    expect(await peer.mailbox.folders(['Fax'], ['Fax'], signal)).toMatchObject({ ok: false, status });
  }); // prettier-ignore
});

describe('changes', () => {
  const page = (value: unknown, links: Record<string, string>): Reply => ok({ value, ...links });
  const delta = (): Record<string, string> => ({ '@odata.deltaLink': `${peer.url}/users('x')/mailFolders('f')/messages/delta?$deltatoken=d1` }); // prettier-ignore

  it('from the first page to the link for the next round', async () => {
    const next = `${peer.url}/users('x')/mailFolders('f')/messages/delta?$skiptoken=s1`;
    peer.answer(({ path }) =>
      path.includes('skiptoken')
        ? page([{ id: 'c', '@removed': { reason: 'deleted' } }, { id: 'd', '@removed': { reason: 'changed' } }, {}], delta())
        : page([{ id: 'a', receivedDateTime: '2026-11-26T01:02:03Z' }, { id: 'b', receivedDateTime: null }], { '@odata.nextLink': next }),
    );
    expect(await peer.mailbox.changes('f/1', undefined, signal)).toEqual({
      ok: true,
      added: [{ id: 'a', receivedAt: Date.UTC(2026, 10, 26, 1, 2, 3) }, { id: 'b' }],
      removed: [],
      cursor: next,
      isLast: false,
    });
    expect(await peer.mailbox.changes('f/1', next, signal)).toEqual({
      ok: true,
      added: [],
      removed: ['c', 'd'],
      cursor: delta()['@odata.deltaLink'],
      isLast: true,
    });
    expect(paths()).toEqual([
      'GET /mailFolders/f/1/messages/delta?$select=receivedDateTime',
      "GET /v1.0/users('x')/mailFolders('f')/messages/delta?$skiptoken=s1",
    ]);
    // No immutable ids: see the head of graph-pickup.ts.
    expect(peer.asked.map(({ prefer }) => prefer)).toEqual(['odata.maxpagesize=200', 'odata.maxpagesize=200']);
  }); // prettier-ignore

  it.each([
    fault(410, 'SyncStateNotFound'),
    fault(410, 'resyncRequired'),
    { status: 410 },
    fault(400, 'ErrorInvalidUrlQuery'),
    fault(404, 'syncStateInvalid'),
  ])('stale: %j', async (reply) => {
    peer.answer(() => reply);
    expect(await peer.mailbox.changes('f', `${peer.url}/x`, signal)).toEqual({ ok: false, stale: true });
    // Without a cursor there is nothing to begin anew.
    expect(await peer.mailbox.changes('f', undefined, signal)).toMatchObject({ ok: false, status: expect.anything() as object }); // prettier-ignore
  });

  it.each([
    'H4sIAAAAAAAEAO29B2AcSZYlJi9tynt',
    '',
    'https://elsewhere.test/v1.0/x',
    'javascript:1',
    '{}.elsewhere.test/x',
    '{}',
    '{}beta/x',
    '{}/../../x',
    'u:p@',
  ])('a cursor that is not of this Graph is stale, and nothing is asked there: %j', async (text) => {
    peer.answer(() => page([], delta()));
    const cursor = text === 'u:p@' ? `${peer.url}/x`.replace('//', '//u:p@') : text.replace('{}', peer.url);
    expect(await peer.mailbox.changes('f', cursor, signal)).toEqual({ ok: false, stale: true });
    expect(peer.asked).toEqual([]);
  });

  it.each([
    ['a link elsewhere', () => page([], { '@odata.nextLink': 'https://elsewhere.test/v1.0/x' }), { cause: 'link elsewhere', reach: 'transport', code: '4.3.5' }],
    ['no link', () => page([], {}), { cause: 'unreadable answer' }],
    ['no list', () => page(7, delta()), { cause: 'unreadable answer' }],
    ['no JSON', () => ({ status: 200 }), { outcome: 'delayed', reach: 'message' }],
    ['a folder that is gone', () => GONE_ITEM, { outcome: 'failed', cause: 'folder not found' }],
    ['a mailbox that is gone', () => fault(404, 'ErrorInvalidUser'), { outcome: 'delayed', reach: 'mailbox', reason: expect.stringContaining('under pickup') as string }],
    ['a throttle', () => ({ ...fault(429, 'ApplicationThrottled'), headers: { 'retry-after': '7' } }), { reach: 'mailbox', throttled: true, retryAfter: 7_000 }],
    ['a break', () => (response: { destroy(): void }) => response.destroy(), { outcome: 'delayed', code: '4.4.2' }],
  ] as const)('%s', async (_name, reply, status) => {
    peer.answer(reply as () => Reply);
    expect(await peer.mailbox.changes('f', undefined, signal)).toMatchObject({ ok: false, status });
  }); // prettier-ignore
});

it('no request with a token leaves Graph, whoever asks for it', async () => {
  const send = async (): Promise<never> => await Promise.reject(new Error('it was sent'));
  const graph = { url: peer.url, http: { request: send, close: send }, authorizer: { send }, version: '1' };
  const request = { method: 'GET', mailbox: 'm', path: 'https://elsewhere.test/v1.0/x', success: 200, signal } as const;
  await expect(askGraph(graph, request)).rejects.toThrow('elsewhere than to Graph');
  await expect(askGraph(graph, { ...request, path: `${peer.url}/x` })).rejects.toThrow('it was sent');
});

it('a link that leads nowhere else is not followed for ever', async () => {
  const link = `${peer.url}/x?$skiptoken=s`;
  peer.answer(() => ok({ value: [], '@odata.nextLink': link }));
  const status = { cause: 'unreadable answer' };
  expect(await peer.mailbox.changes('f', link, signal)).toMatchObject({ ok: false, status });
});

describe('what items are', () => {
  const MESSAGE = {
    id: 'a',
    internetMessageId: '<1@x.test>',
    subject: 'Fax',
    receivedDateTime: '2026-11-26T01:02:03Z',
    isRead: true,
    hasAttachments: false,
    from: { emailAddress: { name: 'A', address: 'a@x.test' } },
    sender: { emailAddress: { address: 's@x.test' } },
    internetMessageHeaders: [
      { name: 'Auto-Submitted', value: 'auto-replied' },
      { name: 'X-Long', value: 'a\r\n\tb\r\nInjected: c' },
      { name: 'not a name', value: 'x' },
      { name: 'X-Ü', value: 'x' },
    ],
    singleValueExtendedProperties: [
      { id: 'Binary 0x300b', value: 'AAECAw==' },
      { id: 'String 0x1a', value: 'IPM.Note' },
      { id: 'Integer 0xe08', value: '4711' },
      { id: 'Boolean 0xe1b', value: 'false' },
    ],
  };
  const isAttachments = ({ path }: Asked): boolean => path.includes('/attachments?');

  it('an item in one question', async () => {
    peer.answer(() => ok(MESSAGE));
    const told = await peer.mailbox.describe(['a/b'], signal);
    expect(told).toMatchObject({ ok: true, unreadable: [] });
    const { header, ...mail } = told.ok ? (told.mails[0] ?? { header: [] }) : { header: [] };
    expect(mail).toEqual({
      id: 'a/b',
      searchKey: 'AAECAw==',
      itemClass: 'IPM.Note',
      size: 4711,
      receivedAt: Date.UTC(2026, 10, 26, 1, 2, 3),
      messageId: '<1@x.test>',
      subject: 'Fax',
      isRead: true,
      from: 'a@x.test',
      attachments: [],
    });
    expect(header.map(({ name, raw }) => [name, raw.toString()])).toEqual([
      ['auto-submitted', 'Auto-Submitted: auto-replied\r\n'],
      ['x-long', 'X-Long: a b Injected: c\r\n'],
    ]);
    expect(paths()).toEqual([
      'GET /messages/a/b?$select=id,internetMessageId,subject,receivedDateTime,isRead,from,sender,internetMessageHeaders,hasAttachments' +
        "&$expand=singleValueExtendedProperties($filter=id eq 'Binary 0x300B' or id eq 'String 0x001A' or id eq 'Integer 0x0E08' or id eq 'Boolean 0x0E1B')",
    ]);
  }); // prettier-ignore

  it('its attachments, those within the text too', async () => {
    const shown = { ...MESSAGE, from: { emailAddress: { address: '/O=ORG/CN=GONE' } }, singleValueExtendedProperties: [{ id: 'Boolean 0xe1b', value: 'true' }] }; // prettier-ignore
    peer.answer((asked) =>
      isAttachments(asked)
        ? ok({ value: [{ name: 'p.tif', contentType: 'Image/TIFF; name=p.tif', size: 99, isInline: true }, { contentType: null, size: 1 }] })
        : ok(shown),
    );
    expect(await peer.mailbox.describe(['a'], signal)).toMatchObject({
      mails: [
        {
          size: 100,
          itemClass: '',
          from: 's@x.test',
          attachments: [{ name: 'p.tif', type: 'image/tiff', size: 99, isInline: true }, { size: 1, isInline: false }],
        },
      ],
    });
    expect(paths()[1]).toBe('GET /messages/a/attachments?$select=name,contentType,size,isInline');
  }); // prettier-ignore

  it('of an item that says nothing, no more than its id', async () => {
    peer.answer((asked) => (isAttachments(asked) ? ok({ value: [] }) : ok({ from: null, subject: null })));
    const told = await peer.mailbox.describe(['a'], signal);
    expect(told).toEqual({
      ok: true,
      mails: [{ id: 'a', itemClass: '', size: 0, receivedAt: 0, isRead: false, header: [], attachments: [] }],
      unreadable: [],
    });
  });

  it('those that are there, with the others named, never more than two at a time', async () => {
    const ids = Array.from({ length: 20 }, (_, index) => `i${index}`);
    const second = Promise.withResolvers<void>();
    peer.answer(async (asked) => {
      if (peer.asked.length === 2) second.resolve();
      await second.promise;
      const id = /i\d+/.exec(asked.path)?.[0];
      if (id === 'i3' || (id === 'i5' && isAttachments(asked))) return GONE_ITEM;
      if (id === 'i4') return fault(500, 'InternalServerError');
      if (id === 'i6') return fault(400, 'ErrorCorruptData');
      if (id === 'i7' && isAttachments(asked)) return ok({});
      if (id === 'i8') return (response) => void response.destroy();
      return isAttachments(asked) ? ok({ value: [] }) : ok({ ...MESSAGE, hasAttachments: true });
    });
    const told = await peer.mailbox.describe(ids, signal);
    if (!told.ok) throw new Error(told.status.cause);
    expect(told.mails.map(({ id }) => id)).toEqual(ids.filter((_, index) => index < 3 || index > 8));
    expect(told.unreadable).toMatchObject([
      { id: 'i4', status: { reach: 'message', capped: true } },
      { id: 'i6', status: { outcome: 'failed', code: '5.6.0' } },
      { id: 'i7', status: { cause: 'unreadable answer' } },
      { id: 'i8', status: { outcome: 'delayed', code: '4.4.2' } },
    ]);
    expect(peer.most()).toBe(2);
  });

  it.each([
    ['a throttle', fault(429, 'ApplicationThrottled'), { reach: 'mailbox', throttled: true }],
    ['no such mailbox', fault(404, 'ErrorInvalidUser'), { reach: 'mailbox' }],
    ['no Graph at all', { status: 404 }, { reach: 'transport' }],
    ['no answer to anything', (response: { destroy(): void }) => response.destroy(), { code: '4.4.2' }],
  ] as const)('%s ends it, after one round', async (_name, reply, status) => {
    peer.answer(() => reply as Reply);
    const ids = ['a', 'b', 'c', 'd'];
    expect(await peer.mailbox.describe(ids, signal)).toMatchObject({ ok: false, status });
    expect(peer.asked.length).toBe('reach' in status ? 2 : 4);
  });

  it('a header that is too long to be read is the trouble of its item, and not for ever', async () => {
    const long = [{ name: 'X-Long', value: 'x'.repeat(2_000_000) }];
    peer.answer(({ path }) => ok({ ...MESSAGE, ...(path.includes('/a?') ? { internetMessageHeaders: long } : {}) }));
    const told = await peer.mailbox.describe(['a', 'b'], signal);
    const status = { reach: 'message', capped: true, cause: 'TOO_LARGE' };
    expect(told).toMatchObject({ ok: true, mails: [{ id: 'b' }], unreadable: [{ id: 'a', status }] });
  });

  it('is given up on demand', async () => {
    const control = new AbortController();
    peer.answer(() => {
      if (peer.asked.length === 2) control.abort();
      return () => {};
    });
    const told = await peer.mailbox.describe(['a', 'b', 'c'], control.signal);
    expect(told).toMatchObject({ ok: false, status: { outcome: 'delayed', cause: 'ABORTED' } });
  });
});

describe('fetch', () => {
  async function fetched(reply: Reply, given = signal) {
    peer.answer(() => reply);
    const pieces: Uint8Array[] = [];
    const result = await peer.mailbox.fetch('a/b', async (piece) => void pieces.push(piece), given);
    return { result, text: Buffer.concat(pieces).toString() };
  }

  it('streams the MIME as it is', async () => {
    const mime = 'Subject: x\r\n\r\nText\r\n'.repeat(10_000);
    const { result, text } = await fetched((response) => response.end(mime));
    expect(result).toEqual({ ok: true, gone: false });
    expect(text === mime).toBe(true);
    expect(paths()).toEqual(['GET /messages/a/b/$value']);
  });

  it('no faster than it is taken', async () => {
    const total = 64 * 1024 * 1024;
    let produced = 0;
    peer.answer(() => async (response) => {
      const piece = Buffer.alloc(64 * 1024, 'x');
      response.writeHead(200, { 'content-length': total });
      for (; produced < total; produced += piece.length)
        if (!response.write(piece)) await once(response, 'drain', { signal: AbortSignal.timeout(10_000) });
      response.end();
    });
    let taken = 0;
    let ahead: number | undefined;
    const result = await peer.mailbox.fetch(
      'a',
      async (piece) => {
        taken += piece.length;
        if (ahead !== undefined) return;
        // Until the server stands still.
        for (let before = -1; before < produced; await pause(50)) before = produced;
        ahead = produced;
      },
      signal,
    );
    expect(result).toEqual({ ok: true, gone: false });
    expect(taken).toBe(total);
    // What the sockets of the system hold, and a little of ours.
    expect(ahead).toBeLessThan(total / 2);
  });

  it.each([
    ['gone', GONE_ITEM, { ok: true, gone: true }],
    ['shorter than announced', (r) => { r.writeHead(200, { 'content-length': 100 }); r.write('Subject: x\r\n\r\n', () => r.destroy()); }, { ok: false, status: { outcome: 'delayed', reach: 'message', code: '4.4.2' } }],
    ['without its last chunk', (r) => { r.write('Subject: x\r\n\r\n', () => r.destroy()); }, { ok: false, status: { outcome: 'delayed', code: '4.4.2' } }],
    ['without a known end', (r) => { r.socket?.end('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nSubject: x\r\n\r\n'); }, { ok: false, status: { cause: 'answer without length', capped: true } }],
    ['a page of a proxy', (r) => { r.writeHead(200, { 'content-type': 'Text/HTML; charset=utf-8' }); r.end('<html>Sign in</html>'); }, { ok: false, status: { cause: 'no message', reach: 'message', capped: true } }],
    ['JSON', (r) => { r.writeHead(200, { 'content-type': 'application/json' }); r.end('{}'); }, { ok: false, status: { cause: 'no message', capped: true } }],
    ['empty', (r) => r.end(), { ok: false, status: { cause: 'empty answer', capped: true } }],
    ['cut within its compression', (r) => { r.writeHead(200, { 'content-encoding': 'gzip' }); r.end(Buffer.from('H4sIAAAAAAAAA0suTUpO', 'base64')); }, { ok: false, status: { outcome: 'delayed' } }],
    ['a login page', { status: 302, headers: { location: 'https://login.test/' } }, { ok: false, status: { reach: 'transport', code: '4.3.5' } }],
    ['not convertible', fault(500, 'ErrorMimeContentConversionFailed'), { ok: false, status: { outcome: 'failed', code: '5.6.0' } }],
    ['no Graph', { status: 404 }, { ok: false, status: { reach: 'transport' } }],
    ['gone with its mailbox', fault(404, 'MailboxNotEnabledForRESTAPI'), { ok: false, status: { reach: 'mailbox' } }],
  ] as [string, Reply, object][])('%s', async (_name, reply, wanted) => {
    expect((await fetched(reply)).result).toMatchObject(wanted);
  }); // prettier-ignore

  it("the writer's own error comes through, and the rest is let go", async () => {
    const closed = Promise.withResolvers<void>();
    peer.answer(() => (response) => {
      response.once('close', closed.resolve);
      response.write('x');
    });
    const own = new Error('the disk is full');
    await expect(peer.mailbox.fetch('a', async () => await Promise.reject(own), signal)).rejects.toBe(own);
    await closed.promise;
  });

  it('is given up in the middle on demand', async () => {
    const control = new AbortController();
    peer.answer(() => (response) => void response.write('x'));
    const result = await peer.mailbox.fetch('a', async () => control.abort(), control.signal);
    expect(result).toMatchObject({ ok: false, status: { outcome: 'delayed', reach: 'message', cause: 'ABORTED' } });
  });
});

describe('file', () => {
  const MOVE = { kind: 'move', folder: 'done' } as const;
  /** More than is read of an answer. */
  const WHOLE = { id: 'b', body: { content: 'x'.repeat(2_000_000) } };

  it.each([
    [MOVE, { status: 201, json: WHOLE }, 'POST /messages/a/b/move', { destinationId: 'done' }],
    [{ kind: 'delete' }, { status: 201, json: WHOLE }, 'POST /messages/a/b/move', { destinationId: 'deleteditems' }],
    [{ kind: 'read' }, { status: 200, json: WHOLE }, 'PATCH /messages/a/b', { isRead: true }],
  ] as const)('%j', async (filing, reply, path, body) => {
    peer.answer(() => reply);
    expect(await peer.mailbox.file('a/b', filing, signal)).toEqual({ ok: true, gone: false });
    expect(paths()).toEqual([path]);
    expect(JSON.parse(peer.asked[0]?.body ?? '')).toEqual(body);
    for (const code of GONE) {
      peer.answer(() => fault(404, code));
      expect(await peer.mailbox.file('a/b', filing, signal)).toEqual({ ok: true, gone: true });
    }
    peer.answer(() => fault(404, 'ErrorInvalidUser'));
    expect(await peer.mailbox.file('a/b', filing, signal)).toMatchObject({ ok: false, status: { reach: 'mailbox' } });
    peer.answer(() => (response) => void response.destroy());
    expect(await peer.mailbox.file('a/b', filing, signal)).toMatchObject({ ok: false, status: { outcome: 'delayed' } });
  });

  it('a folder that is gone is not an item that is gone', async () => {
    peer.answer(({ method }) => (method === 'POST' ? GONE_ITEM : ok({ id: 'a' })));
    expect(await peer.mailbox.file('a', MOVE, signal)).toMatchObject({
      ok: false,
      status: { outcome: 'failed', cause: 'folder not found' },
    });
    peer.answer(({ method }) => (method === 'POST' ? GONE_ITEM : fault(429, 'ApplicationThrottled')));
    expect(await peer.mailbox.file('a', MOVE, signal)).toMatchObject({ ok: false, status: { throttled: true } });
  });
});
