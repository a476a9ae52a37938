/** A mailbox over EWS in front of a scripted Exchange: what is asked, and what is made of the answers. */
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PickupMailbox } from '../../src/exchange/mailbox.ts';
import { ewsMailbox } from '../../src/exchange/mailbox-ews.ts';
import type { XmlElement } from '../../src/exchange/soap.ts';
import { parseXml } from '../../src/exchange/soap.ts';
import type { Answer, Client, Peer, Seen } from './ews-peer.ts';
import { all, clientOf, fault, startPeer } from './ews-peer.ts';
import type { Dialect } from './mailbox-answers.ts';
import { answerOf, extended, folder, folderPage, inDialect, item, reply } from './mailbox-answers.ts';

const BOX = "o'fax&<1>@contoso.test";
const NASTY = `A/+="'<&>]]>ü\r\n\t`;
const NOW = Date.UTC(2026, 10, 26, 12);

let peer: Peer;
let client: Client;
let mailbox: PickupMailbox;
let signal: AbortSignal;

beforeAll(async () => {
  peer = await startPeer();
  client = await clientOf(peer.url, { http: { headersTimeout: 500, bodyTimeout: 500 } });
  mailbox = ewsMailbox({ ews: client.ews, mailbox: BOX, now: () => NOW });
});
afterAll(async () => {
  await client.close();
  await peer.close();
});

/** The library must not print. */
const spies = (['log', 'warn', 'error', 'info', 'debug'] as const).map((name) => vi.spyOn(console, name));
let asked = 0;
beforeEach(() => {
  signal = new AbortController().signal;
  asked = peer.seen.length;
  spies.forEach((spy) => spy.mockClear());
});
afterEach(() => {
  const printed = spies.flatMap((spy) => spy.mock.calls);
  if (printed.length > 0) throw new Error(`something was printed: ${JSON.stringify(printed)}`);
});

/** The answers in order; the last one stays. */
function answers(...script: readonly Answer[]): void {
  const left = [...script];
  peer.answer = (...given) => ((left.length > 1 ? left.shift() : left[0]) ?? reply(''))(...given);
}

function requests(): { readonly seen: Seen; readonly operation: XmlElement }[] {
  return peer.seen.slice(asked).map((seen) => {
    const root = parseXml(seen.body.toString());
    const operation = root?.children.find(({ name }) => name === 'Body')?.children[0];
    if (root === undefined || operation === undefined) throw new Error('the request is not well-formed');
    expect(all(root, 'SmtpAddress').map(({ text }) => text)).toEqual([BOX]);
    expect(seen.headers['x-anchormailbox']).toBe(BOX);
    return { seen, operation };
  });
}

function operation(): XmlElement {
  const [one, ...others] = requests();
  if (one === undefined || others.length > 0) throw new Error(`${others.length + 1} requests were made`);
  return one.operation;
}

const texts = (element: XmlElement, name: string): string[] => all(element, name).map(({ text }) => text);
const attributes = (element: XmlElement, name: string, attribute: string) =>
  all(element, name).map((one) => one.attributes[attribute]);

// --- changes --------------------------------------------------------------------------------------------------------

const PAGE =
  '<m:SyncState>H4sI&amp;=</m:SyncState><m:IncludesLastItemInRange>false</m:IncludesLastItemInRange><m:Changes>' +
  '<t:Create><t:Message><t:ItemId Id="one" ChangeKey="k"/><t:DateTimeReceived>2026-11-24T08:00:00Z</t:DateTimeReceived></t:Message></t:Create>' +
  '<t:Create><t:MeetingRequest><t:ItemId Id="two"/></t:MeetingRequest></t:Create>' +
  '<t:Update><t:Message><t:ItemId Id="three"/></t:Message></t:Update>' +
  '<t:ReadFlagChange><t:ItemId Id="four"/><t:IsRead>true</t:IsRead></t:ReadFlagChange>' +
  '<t:Delete><t:ItemId Id="five"/></t:Delete></m:Changes>';

describe.each<Dialect>(['exchange', 'gromox'])('changes, as %s tells of them', (dialect) => {
  it('what has come and what is gone, where to go on, and whether more follows', async () => {
    answers(reply(inDialect(dialect, answerOf('SyncFolderItems', PAGE))));
    expect(await mailbox.changes('folder', undefined, signal)).toEqual({
      ok: true,
      added: [{ id: 'one', receivedAt: Date.UTC(2026, 10, 24, 8) }, { id: 'two' }],
      removed: ['five'],
      cursor: 'H4sI&=',
      isLast: false,
    });
  });
});

describe('changes', () => {
  it('asks for the ids of a page, after the state as it was given', async () => {
    answers(reply(answerOf('SyncFolderItems', PAGE)));
    await mailbox.changes(NASTY, NASTY, signal);
    const asks = operation();
    expect(asks.name).toBe('SyncFolderItems');
    expect(attributes(asks, 'FolderId', 'Id')).toEqual([NASTY]);
    expect(['SyncState', 'MaxChangesReturned', 'SyncScope', 'BaseShape'].flatMap((name) => texts(asks, name))).toEqual([
      NASTY,
      '512',
      'NormalItems',
      'IdOnly',
    ]);
    expect(attributes(asks, 'FieldURI', 'FieldURI')).toEqual(['item:DateTimeReceived']);
  });

  it('names no state where there is none', async () => {
    answers(reply(answerOf('SyncFolderItems', PAGE)));
    await mailbox.changes('folder', undefined, signal);
    expect(texts(operation(), 'SyncState')).toEqual([]);
  });

  it('takes an empty page for the last one, whatever it says', async () => {
    answers(
      reply(
        answerOf(
          'SyncFolderItems',
          '<m:SyncState>s</m:SyncState><m:IncludesLastItemInRange>false</m:IncludesLastItemInRange><m:Changes/>',
        ),
      ),
    );
    expect(await mailbox.changes('folder', 's', signal)).toMatchObject({ ok: true, isLast: true, added: [] });
  });

  it('reads a page that is larger than other answers may be', async () => {
    const state = 'A'.repeat(2 * 1024 * 1024);
    answers(reply(answerOf('SyncFolderItems', PAGE.replace('H4sI&amp;=', state))));
    expect(await mailbox.changes('folder', 's', signal)).toMatchObject({ ok: true, cursor: state });
  });

  it.each(['ErrorInvalidSyncStateData', 'ErrorSyncFolderNotFound'])(
    '%s: begin again, but only where there was a state',
    async (error) => {
      answers(reply(answerOf('SyncFolderItems', { error })));
      expect(await mailbox.changes('folder', 'garbage', signal)).toEqual({ ok: false, stale: true });
      expect(await mailbox.changes('folder', undefined, signal)).toMatchObject({ ok: false, status: { cause: error } });
    },
  );

  it('a state that no XML can carry is garbage', async () => {
    expect(await mailbox.changes('folder', 'a\u0000b', signal)).toEqual({ ok: false, stale: true });
    expect(requests()).toEqual([]);
  });

  it.each([
    [
      'a folder that is gone',
      reply(answerOf('SyncFolderItems', { error: 'ErrorFolderNotFound' })),
      { code: '4.3.5', reach: 'mailbox' },
    ],
    [
      'a busy server',
      reply(fault('ErrorServerBusy', { values: { BackOffMilliseconds: '9000' } }), 500),
      { throttled: true, retryAfter: 9000 },
    ],
    [
      'no permission',
      reply(answerOf('SyncFolderItems', { error: 'ErrorAccessDenied' })),
      { code: '4.3.5', reach: 'mailbox' },
    ],
    ['no answer of EWS', reply('<html/>'), { cause: 'unusable answer', reach: 'message' }],
    ['an answer without a state', reply(answerOf('SyncFolderItems', '<m:Changes/>')), { cause: 'unreadable answer' }],
  ])('%s is trouble', async (_what, answer, status) => {
    answers(answer);
    expect(await mailbox.changes('folder', 's', signal)).toMatchObject({
      ok: false,
      status: { outcome: 'delayed', ...status },
    });
  });
});

// --- what items are -------------------------------------------------------------------------------------------------

const HEADER = 'Received: from a\r\n\tby b\r\nAuto-Submitted: auto-generated\r\nSubject: &lt;grüße&gt;\r\n';
const MAIL =
  '<t:ItemClass>IPM.Note</t:ItemClass><t:Subject>  Fax &amp; more </t:Subject><t:DateTimeReceived>2026-11-24T08:00:00Z</t:DateTimeReceived><t:Size>4711</t:Size>' +
  '<t:Attachments><t:FileAttachment><t:AttachmentId Id="a"/><t:Name>Seite 1.tif</t:Name><t:ContentType>Image/TIFF; name="x"</t:ContentType><t:Size>99</t:Size><t:IsInline>true</t:IsInline></t:FileAttachment>' +
  '<t:ItemAttachment><t:AttachmentId Id="b"/><t:Size>7</t:Size></t:ItemAttachment></t:Attachments>' +
  extended('0x300b', 'Binary', 'AAECAw==') +
  extended('0x7d', 'String', HEADER) +
  '<t:Sender><t:Mailbox><t:Name>S</t:Name><t:EmailAddress>sender@contoso.test</t:EmailAddress></t:Mailbox></t:Sender>' +
  '<t:From><t:Mailbox><t:EmailAddress>from@contoso.test</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType></t:Mailbox></t:From>' +
  '<t:InternetMessageId>&lt;1@x&gt;</t:InternetMessageId><t:IsRead>true</t:IsRead>';
const BARE = { itemClass: '', size: 0, receivedAt: NOW, isRead: false, header: [], attachments: [] };

describe.each<Dialect>(['exchange', 'gromox'])('what an item is, as %s tells of it', (dialect) => {
  it('a mail with everything, a meeting request with nothing, and of what is gone nothing', async () => {
    const text = answerOf(
      'GetItem',
      item('new id', MAIL),
      { error: 'ErrorItemNotFound' },
      item('c', '', 'MeetingRequest'),
    );
    answers(reply(inDialect(dialect, text)));
    const described = await mailbox.describe(['a', 'b', 'c'], signal);
    expect(described).toEqual({
      ok: true,
      mails: [
        {
          id: 'a',
          searchKey: 'AAECAw==',
          itemClass: 'IPM.Note',
          size: 4711,
          receivedAt: Date.UTC(2026, 10, 24, 8),
          messageId: '<1@x>',
          subject: '  Fax & more ',
          isRead: true,
          from: 'from@contoso.test',
          header: [
            { name: 'received', raw: Buffer.from('Received: from a\r\n\tby b\r\n') },
            { name: 'auto-submitted', raw: Buffer.from('Auto-Submitted: auto-generated\r\n') },
            { name: 'subject', raw: Buffer.from('Subject: <grüße>\r\n') },
          ],
          attachments: [
            { name: 'Seite 1.tif', type: 'image/tiff', size: 99, isInline: true },
            { size: 7, isInline: false },
          ],
        },
        { id: 'c', ...BARE },
      ],
      unreadable: [],
    });
  });
});

describe('what items are', () => {
  it('asks for many at a time, by their ids as they were given', async () => {
    answers(reply(answerOf('GetItem', item('1', MAIL), item('2', MAIL))));
    await mailbox.describe([NASTY, 'b'], signal);
    const asks = operation();
    expect(attributes(asks, 'ItemId', 'Id')).toEqual([NASTY, 'b']);
    expect(texts(asks, 'BaseShape')).toEqual(['IdOnly']);
    expect(attributes(asks, 'FieldURI', 'FieldURI').join(' ')).toBe(
      'item:ItemClass item:Size item:DateTimeReceived item:Subject item:Attachments ' +
        'message:From message:Sender message:InternetMessageId message:IsRead',
    );
    expect(attributes(asks, 'ExtendedFieldURI', 'PropertyTag').map(Number)).toEqual([0x300b, 0x7d]);
  });

  it('asks nothing about nothing', async () => {
    expect(await mailbox.describe([], signal)).toEqual({ ok: true, mails: [], unreadable: [] });
    expect(requests()).toEqual([]);
  });

  const from = (address: string): string =>
    `<t:From><t:Mailbox><t:EmailAddress>${address}</t:EmailAddress></t:Mailbox></t:From>`;
  const sender = '<t:Sender><t:Mailbox><t:EmailAddress>s@x.test</t:EmailAddress></t:Mailbox></t:Sender>';
  it.each([
    ['Sender where there is no From', sender, 's@x.test'],
    ['Sender where From is a name of the directory', sender + from('/O=CONTOSO/CN=BOB'), 's@x.test'],
    ['nobody where there is neither', '', undefined],
    ['nobody for what Gromox makes of the null sender', from('invalid@invalid'), undefined],
    ['nobody for an empty From', '<t:From/>', undefined],
  ])('is from %s', async (_what, more, expected) => {
    answers(reply(answerOf('GetItem', item('1', more))));
    const described = await mailbox.describe(['a'], signal);
    expect(described.ok && described.mails.map((mail) => mail.from)).toEqual([expected]);
  });

  it('one that cannot be told of does not keep the others from being told of', async () => {
    answers(
      reply(
        answerOf('GetItem', item('1', MAIL), { error: 'ErrorCorruptData' }, '<m:Items/>', {
          error: 'ErrorInventedTomorrow',
        }),
      ),
    );
    expect(await mailbox.describe(['a', 'b', 'c', 'd'], signal)).toMatchObject({
      ok: true,
      mails: [{ id: 'a' }],
      unreadable: [
        { id: 'b', status: { outcome: 'failed', cause: 'ErrorCorruptData' } },
        { id: 'c', status: { outcome: 'delayed', capped: true, cause: 'unreadable answer' } },
        { id: 'd', status: { outcome: 'delayed', capped: true, cause: 'ErrorInventedTomorrow' } },
      ],
    });
  });

  it('trouble that is the mailbox’s is not the item’s, whichever it is told of', async () => {
    answers(reply(answerOf('GetItem', item('1', MAIL), { error: 'ErrorServerBusy' })));
    expect(await mailbox.describe(['a', 'b'], signal)).toMatchObject({
      ok: false,
      status: { cause: 'ErrorServerBusy', reach: 'mailbox', throttled: true },
    });
  });

  it('control characters in what an item holds do no harm', async () => {
    answers(reply(answerOf('GetItem', item('1', '<t:Subject>a&#x1F;b\u0001c&#0;d&#xD;</t:Subject>'))));
    const described = await mailbox.describe(['a'], signal);
    expect(described.ok && described.mails.map(({ subject }) => subject)).toEqual(['a\ufffdb\ufffdc\ufffdd\r']);
  });

  /** Answers in which the item `poison` spoils everything. */
  const spoilt =
    (bad: Answer): Answer =>
    (seen, response, request) => {
      const ids = [...seen.body.toString().matchAll(/ItemId Id="(\w+)"/g)].map(([, id = '']) => id);
      if (ids.includes('poison')) bad(seen, response, request);
      else reply(answerOf('GetItem', ...ids.map((id) => item(id, MAIL))))(seen, response, request);
    };

  it.each([
    ['an answer that is no XML', reply('<a>'), { cause: 'unusable answer', capped: true }],
    [
      'an answer that is too long',
      reply(Buffer.alloc(9 * 1024 * 1024, ' ')),
      { cause: 'unusable answer', capped: true },
    ],
    [
      'an answer with one message too many',
      reply(answerOf('GetItem', ...Array.from({ length: 9 }, () => item('x', '')))),
      { cause: 'unreadable answer', capped: true },
    ],
    [
      'an internal error',
      reply(fault('ErrorInternalServerError'), 500),
      { cause: 'ErrorInternalServerError', capped: true },
    ],
    ['a request that is refused', reply('', 400), { outcome: 'failed' }],
  ])('%s is that of one item, and the others are told of', async (_what, bad, status) => {
    answers(spoilt(bad));
    expect(await mailbox.describe(['a', 'b', 'poison', 'c', 'd'], signal)).toMatchObject({
      ok: true,
      mails: [{ id: 'a' }, { id: 'b' }, { id: 'c' }, { id: 'd' }],
      unreadable: [{ id: 'poison', status }],
    });
    expect(requests().length).toBeLessThan(8);
  });

  it.each([
    ['no login', reply('', 403), { reach: 'transport' }],
    ['no answer at all', ((_seen, response) => response.destroy()) as Answer, { reach: 'message' }],
  ])('%s is asked about once', async (_what, answer, status) => {
    answers(answer);
    expect(await mailbox.describe(['a', 'b', 'c'], signal)).toMatchObject({ ok: false, status });
    expect(requests()).toHaveLength(1);
  });

  it('an id that no XML can carry is of one item too', async () => {
    answers(spoilt(reply('')));
    expect(await mailbox.describe(['a', '\u0001', 'b'], signal)).toMatchObject({
      ok: true,
      mails: [{ id: 'a' }, { id: 'b' }],
      unreadable: [{ id: '\u0001', status: { outcome: 'failed' } }],
    });
  });
});

// --- octets ---------------------------------------------------------------------------------------------------------

const MIME = Buffer.from('Subject: x\r\n\r\nbody\r\n');
const mime = (content: string): string =>
  answerOf('GetItem', item('a', `<t:MimeContent CharacterSet="UTF-8">${content}</t:MimeContent>`));

async function fetched(
  id = 'a',
): Promise<{ readonly got: Awaited<ReturnType<PickupMailbox['fetch']>>; readonly octets: Buffer }> {
  const pieces: Uint8Array[] = [];
  const got = await mailbox.fetch(id, async (piece) => void pieces.push(piece), signal);
  return { got, octets: Buffer.concat(pieces) };
}

describe('an item’s octets', () => {
  it.each<Dialect>(['exchange', 'gromox'])('come through from %s', async (dialect) => {
    answers(reply(inDialect(dialect, mime(MIME.toString('base64')))));
    expect(await fetched(NASTY)).toEqual({ got: { ok: true, gone: false }, octets: MIME });
    const asks = operation();
    expect(attributes(asks, 'ItemId', 'Id')).toEqual([NASTY]);
    expect(attributes(asks, 'FieldURI', 'FieldURI')).toEqual(['item:MimeContent']);
  });

  it('come through compressed', async () => {
    answers(reply(gzipSync(mime(MIME.toString('base64'))), 200, { 'content-encoding': 'gzip' }));
    expect(await fetched()).toEqual({ got: { ok: true, gone: false }, octets: MIME });
  });

  it('of a large message cost little memory, and wait for who takes them', async () => {
    const chunk = Buffer.from(Buffer.alloc(49_152, 'x').toString('base64'));
    const [before = '', after = ''] = mime('*').split('*');
    const count = 2_000;
    let sent = 0;
    peer.answer = (_seen, response) => {
      response.writeHead(200, { 'content-type': 'text/xml' });
      response.write(before);
      const more = (): void => {
        while (sent < count) {
          sent++;
          if (!response.write(chunk)) return void response.once('drain', more);
        }
        response.end(after);
      };
      more();
    };
    let taken = 0;
    let writing = 0;
    let sentMeanwhile = 0;
    const got = await mailbox.fetch(
      'a',
      async (piece) => {
        expect(++writing).toBe(1);
        // Nothing can be awaited here: that no more comes is the point.
        if (taken === 0) await new Promise((resolve) => setTimeout(resolve, 200));
        if (taken === 0) sentMeanwhile = sent;
        taken += piece.length;
        writing--;
      },
      signal,
    );
    expect({ got, taken }).toEqual({ got: { ok: true, gone: false }, taken: count * 49_152 });
    // What the sockets hold, of 131 MB.
    expect(sentMeanwhile * 65_536).toBeLessThan(20_000_000);
  });

  it('are gone with the item', async () => {
    answers(reply(answerOf('GetItem', { error: 'ErrorItemNotFound' })));
    expect(await fetched()).toEqual({ got: { ok: true, gone: true }, octets: Buffer.alloc(0) });
  });

  const cutOff =
    (text: string): Answer =>
    (_seen, response) => {
      response.writeHead(200, { 'content-type': 'text/xml', 'content-length': '100000' });
      response.write(text, () => response.destroy());
    };

  it.each([
    [
      'the conversion fails',
      reply(answerOf('GetItem', { error: 'ErrorMimeContentConversionFailed' })),
      { outcome: 'failed', code: '5.6.0' },
    ],
    [
      'it is too large',
      reply(answerOf('GetItem', { error: 'ErrorMessageSizeExceeded' })),
      { outcome: 'failed', code: '5.3.4' },
    ],
    [
      'the server is busy',
      reply(fault('ErrorServerBusy'), 500),
      { outcome: 'delayed', reach: 'mailbox', throttled: true },
    ],
    ['EWS is closed', reply('', 403), { outcome: 'delayed', reach: 'transport' }],
    ['the content is no base64', reply(mime('QUJD*UJD')), { cause: 'unreadable MIME', capped: true, reach: 'message' }],
    ['the content ends in a quartet', reply(mime('QUJDQU')), { cause: 'unreadable MIME', capped: true }],
    ['there is no content', reply(answerOf('GetItem', item('a', ''))), { cause: 'unreadable MIME', capped: true }],
    ['the content is empty', reply(mime('')), { cause: 'unreadable MIME', capped: true }],
    [
      'the answer ends inside the content',
      reply(mime('*').split('*')[0] + 'QUJDQUJD'),
      { cause: 'unusable answer', capped: true },
    ],
    [
      'the answer ends after the content',
      reply(mime('QUJD').slice(0, -20)),
      { cause: 'unusable answer', capped: true },
    ],
    [
      'the connection ends inside the content',
      cutOff(mime('*').split('*')[0] + 'QUJDQUJD'),
      { outcome: 'delayed', reach: 'message', code: '4.4.2' },
    ],
    [
      'the answer is no answer of EWS',
      reply('<html><MimeContent>QUJD</MimeContent></html>'),
      { cause: 'unusable answer', capped: true },
    ],
    [
      'another operation is answered',
      reply(answerOf('FindItem', '<m:MimeContent>QUJD</m:MimeContent>')),
      { cause: 'unusable answer' },
    ],
    [
      'an error comes with content',
      reply(mime('QUJD').replace('"Success"', '"Error"').replace('NoError', 'ErrorItemCorrupt')),
      { cause: 'ErrorItemCorrupt', outcome: 'failed' },
    ],
  ])('are no message if %s', async (_what, answer, status) => {
    answers(answer);
    expect((await fetched()).got).toMatchObject({ ok: false, status });
  });

  it('an error of who takes them passes through, and lets go of the answer', async () => {
    const mine = new Error('disk full');
    const letGo = Promise.withResolvers<void>();
    peer.answer = (_seen, response) => {
      response.on('close', letGo.resolve);
      response.writeHead(200).write(mime('*').split('*')[0] + 'QUJD');
    };
    const failing = mailbox.fetch('a', () => Promise.reject(mine), signal);
    await expect(failing).rejects.toBe(mine);
    await letGo.promise;
  });

  it('can be given up in the middle', async () => {
    const controller = new AbortController();
    peer.answer = (_seen, response) => void response.writeHead(200).write(mime('*').split('*')[0] + 'QUJD');
    const got = await mailbox.fetch('a', async () => controller.abort(), controller.signal);
    expect(got).toMatchObject({ ok: false, status: { outcome: 'delayed', cause: 'ABORTED', reach: 'message' } });
  });
});

// --- filing ---------------------------------------------------------------------------------------------------------

describe('filing', () => {
  it('moves', async () => {
    answers(reply(answerOf('MoveItem', item('new', ''))));
    const got = await mailbox.file(NASTY, { kind: 'move', folder: `${NASTY}2` }, signal);
    expect(got).toEqual({ ok: true, gone: false });
    const asks = operation();
    expect([asks.name, attributes(asks, 'FolderId', 'Id'), attributes(asks, 'ItemId', 'Id')]).toEqual([
      'MoveItem',
      [`${NASTY}2`],
      [NASTY],
    ]);
  });

  it('deletes, where a person can still find it', async () => {
    answers(reply(answerOf('DeleteItem', '')));
    expect(await mailbox.file(NASTY, { kind: 'delete' }, signal)).toEqual({ ok: true, gone: false });
    const asks = operation();
    expect([asks.name, asks.attributes['DeleteType'], attributes(asks, 'ItemId', 'Id')]).toEqual([
      'DeleteItem',
      'MoveToDeletedItems',
      [NASTY],
    ]);
  });

  it('marks as read, whatever the version, without a receipt', async () => {
    answers(reply(answerOf('UpdateItem', item('a', ''))));
    expect(await mailbox.file(NASTY, { kind: 'read' }, signal)).toEqual({ ok: true, gone: false });
    const asks = operation();
    expect(asks.attributes).toMatchObject({ ConflictResolution: 'AlwaysOverwrite', SuppressReadReceipts: 'true' });
    expect(all(asks, 'ItemId').map((one) => one.attributes)).toEqual([{ Id: NASTY }]);
    expect([attributes(asks, 'FieldURI', 'FieldURI'), texts(asks, 'IsRead')]).toEqual([['message:IsRead'], ['true']]);
  });

  const KINDS = [
    ['MoveItem', { kind: 'move', folder: 'f' }],
    ['DeleteItem', { kind: 'delete' }],
    ['UpdateItem', { kind: 'read' }],
  ] as const;

  it.each(KINDS)('%s of what is gone is done', async (name, filing) => {
    answers(reply(answerOf(name, { error: 'ErrorItemNotFound' })));
    expect(await mailbox.file('a', filing, signal)).toEqual({ ok: true, gone: true });
  });

  it.each(KINDS)('%s that is not done is trouble, and of no unknown outcome', async (name, filing) => {
    for (const [answer, status] of [
      [reply(answerOf(name, { error: 'ErrorTimeoutExpired' })), { outcome: 'delayed', reach: 'message' }],
      [reply('', 504), { outcome: 'delayed', reach: 'message' }],
      [((_seen, response) => response.destroy()) as Answer, { outcome: 'delayed', reach: 'message' }],
      [reply(answerOf(name, { error: 'ErrorMoveCopyFailed' })), { outcome: 'delayed', reach: 'message', capped: true }],
      [reply(answerOf(name, { error: 'ErrorToFolderNotFound' })), { code: '4.3.5', reach: 'mailbox' }],
      [reply(answerOf(name, { error: 'ErrorQuotaExceeded' })), { code: '4.2.2', reach: 'mailbox' }],
    ] as const) {
      answers(answer);
      expect(await mailbox.file('a', filing, signal)).toMatchObject({ ok: false, status });
    }
  });
});

// --- folders --------------------------------------------------------------------------------------------------------

/** A mailbox with folders, by operation. */
function tree(nodes: Record<string, readonly (readonly [id: string, name: string])[]>, page = 500): Answer {
  const made = new Map(Object.entries(nodes).map(([id, children]) => [id, [...children]]));
  return (seen, response, request) => {
    const operation = parseXml(seen.body.toString())?.children.find(({ name }) => name === 'Body')?.children[0];
    if (operation === undefined) throw new Error('no request');
    const [parent = ''] = [
      ...attributes(operation, 'FolderId', 'Id'),
      ...attributes(operation, 'DistinguishedFolderId', 'Id'),
    ];
    const answer = (): string => {
      if (operation.name === 'GetFolder') {
        return made.has(parent)
          ? answerOf('GetFolder', `<m:Folders>${folder(parent, '')}</m:Folders>`)
          : answerOf('GetFolder', { error: 'ErrorFolderNotFound' });
      }
      if (operation.name === 'FindFolder') {
        const from = Number(attributes(operation, 'IndexedPageFolderView', 'Offset')[0]);
        const children = made.get(parent) ?? [];
        const shown = children.slice(from, from + page).map(([id, name]) => folder(id, name, 'CalendarFolder'));
        return answerOf('FindFolder', folderPage(shown.join(''), from + page >= children.length));
      }
      const [name = ''] = texts(operation, 'DisplayName');
      const children = made.get(parent) ?? [];
      if (children.some(([, one]) => one.toLowerCase() === name.toLowerCase())) {
        return answerOf('CreateFolder', { error: 'ErrorFolderExists' });
      }
      const id = `${parent}.${children.length}`;
      made.set(parent, [...children, [id, name]]);
      made.set(id, []);
      return answerOf('CreateFolder', `<m:Folders><t:Folder><t:FolderId Id="${id}"/></t:Folder></m:Folders>`);
    };
    reply(answer())(seen, response, request);
  };
}

const TREE = {
  msgfolderroot: [
    ['i', 'Posteingang'],
    ['f', 'Fax'],
    ['a', 'Archive'],
  ],
  inbox: [['d', 'Done']],
  drafts: [],
  f: [
    ['g', 'Grüße'],
    ['h', "O'Neil &amp; Söhne"],
  ],
} as const;

const made = (): string[] =>
  requests().flatMap(({ operation: { name, ...rest } }) =>
    name === 'CreateFolder' ? texts({ name, ...rest }, 'DisplayName') : [],
  );

describe('folders', () => {
  it('are found by their paths, in any case, and by the names that every language has', async () => {
    answers(tree(TREE));
    const paths = [
      'INBOX',
      'inbox/done',
      'FAX',
      'fax/GRU\u0308SSE',
      'Fax/grüße',
      "Fax/o'neil & söhne",
      'Drafts',
      'Archive',
    ];
    const wanted = paths.filter((path) => !path.endsWith('SSE'));
    const got = await mailbox.folders(wanted, [], signal);
    expect(got.ok && [...got.ids]).toEqual([
      ['INBOX', 'inbox'],
      ['inbox/done', 'd'],
      ['FAX', 'f'],
      ['Fax/grüße', 'g'],
      ["Fax/o'neil & söhne", 'h'],
      ['Drafts', 'drafts'],
      ['Archive', 'a'],
    ]);
    // Each folder is looked at once.
    expect(requests()).toHaveLength(7);
  });

  it('are looked through page by page', async () => {
    const many = Array.from({ length: 7 }, (_, index) => [`id${index}`, `name ${index}`] as const);
    answers(tree({ msgfolderroot: many }, 3));
    // The scripted pages are shorter than those asked for.
    const answer = peer.answer;
    peer.answer = (seen, ...rest) =>
      answer(
        {
          ...seen,
          body: Buffer.from(
            seen.body.toString().replace(/Offset="(\d+)"/, (_all, at) => `Offset="${(Number(at) / 500) * 3}"`),
          ),
        },
        ...rest,
      );
    const got = await mailbox.folders(['name 6'], [], signal);
    expect(got.ok && [...got.ids]).toEqual([['name 6', 'id6']]);
    expect(requests().filter(({ operation: { name } }) => name === 'FindFolder')).toHaveLength(3);
  });

  it('that are missing are made with all above them, but only those that may be', async () => {
    answers(tree(TREE));
    const path = 'Inbox/Faxe & "mehr"/2026';
    const got = await mailbox.folders(['Inbox', path], [path], signal);
    expect(got.ok && [...got.ids]).toEqual([
      ['Inbox', 'inbox'],
      [path, 'inbox.1.0'],
    ]);
    expect(made()).toEqual(['Faxe & "mehr"', '2026']);
  });

  it('that somebody else makes at the same time are found', async () => {
    const theirs = tree({ msgfolderroot: [['x', 'Fax']] });
    const noneYet = reply(answerOf('FindFolder', folderPage('')));
    let looks = 0;
    peer.answer = (...given) => {
      const isFirstLook = given[0].body.includes('<m:FindFolder') && looks++ === 0;
      (isFirstLook ? noneYet : theirs)(...given);
    };
    const got = await mailbox.folders(['Fax'], ['Fax'], signal);
    expect(got.ok && [...got.ids]).toEqual([['Fax', 'x']]);
  });

  it.each(['Fax/None', 'None/Fax', 'JunkEmail', '', '/'])('one that is missing is named: %j', async (path) => {
    answers(tree(TREE));
    const got = await mailbox.folders(['Inbox', path], [], signal);
    expect(got).toMatchObject({ ok: false, status: { outcome: 'failed', cause: 'folder not found' } });
    expect(!got.ok && got.status.reason).toContain(`no folder ${path}`);
    expect(made()).toEqual([]);
  });

  it('the archive is found by its name where the server does not know that of EWS', async () => {
    const known = tree(TREE);
    peer.answer = (...given) => {
      const isAsked = given[0].body.includes('Id="archive"');
      (isAsked ? reply(fault('ErrorSchemaValidation'), 500) : known)(...given);
    };
    const got = await mailbox.folders(['archive'], [], signal);
    expect(got.ok && [...got.ids]).toEqual([['archive', 'a']]);
    const german = tree({ ...TREE, archive: [] });
    answers(german);
    const byName = await mailbox.folders(['Archive'], [], signal);
    expect(byName.ok && [...byName.ids]).toEqual([['Archive', 'archive']]);
  });

  it('may not be looked for: trouble of the mailbox', async () => {
    answers(reply(answerOf('GetFolder', { error: 'ErrorAccessDenied' })));
    expect(await mailbox.folders(['Inbox'], [], signal)).toMatchObject({
      ok: false,
      status: { code: '4.3.5', reach: 'mailbox', cause: 'ErrorAccessDenied' },
    });
  });
});
