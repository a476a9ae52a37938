/** What a pickup asks of EWS: the changes of a folder, items with their MIME, moving, marking, folders, notifications. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { Streamed } from './streamed.ts';
import type { Answer, Client } from './soap-client.ts';
import { ALICE, all, BOB, codes, distinguished, envelope, mail, startTestSandbox } from './soap-client.ts';

const FAX = 'fax@contoso.com';

let client: Client;

beforeAll(async () => {
  client = await startTestSandbox({
    mailboxes: [
      { address: FAX, folders: ['Inbox/Faxes/Done'], folderNames: { inbox: 'Posteingang' } },
      ...[ALICE, BOB].map((address) => ({ address })),
    ],
    streaming: { heartbeat: 200, minute: 500 },
  });
});
afterAll(async () => await client.sandbox.close());
afterEach(async () => await client.reset());

const call = async (operation: string, as = FAX): Promise<Answer> => await client.call(envelope(operation, { as }));
const receive: Sandbox['receive'] = async (address, one) => await client.sandbox.receive(address, one);
const numbered = async (n: number): Promise<string> =>
  (await receive(FAX, { mime: Buffer.from(mail({ Subject: String(n) })) })).id;
const only = <T>(list: readonly T[]): T => {
  const [first, ...rest] = list;
  if (first === undefined || rest.length > 0) throw new Error(`one expected, got ${list.length}`);
  return first;
};
const texts = (answer: Answer, name: string): string[] => all(answer, name).map(({ text }) => text);
const ids = (answer: Answer): string[] => all(answer, 'ItemId').map(({ attributes }) => attributes['Id'] ?? '');

const ID_ONLY = '<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape>';
const DEFAULT = '<m:ItemShape><t:BaseShape>Default</t:BaseShape></m:ItemShape>';

interface Sync {
  readonly state?: string;
  readonly most?: number | string;
  readonly folder?: string;
  readonly shape?: string;
}
const sync = async ({
  state,
  most = 512,
  folder = distinguished('inbox'),
  shape = ID_ONLY,
}: Sync = {}): Promise<Answer> =>
  await call(
    `<m:SyncFolderItems>${shape}<m:SyncFolderId>${folder}</m:SyncFolderId>` +
      `${state === undefined ? '' : `<m:SyncState>${state}</m:SyncState>`}` +
      `<m:MaxChangesReturned>${most}</m:MaxChangesReturned></m:SyncFolderItems>`,
  );
const stateOf = (answer: Answer): string => only(texts(answer, 'SyncState'));
/** Kinds and ids, in order. */
const changes = (answer: Answer): string[] =>
  only(all(answer, 'Changes')).children.map(({ name, children }) => {
    const [first] = children;
    const id = first?.name === 'ItemId' ? first : first?.children.find((one) => one.name === 'ItemId');
    return `${name} ${id?.attributes['Id'] ?? ''}`;
  });

const itemIds = (...list: readonly string[]): string =>
  `<m:ItemIds>${list.map((id) => `<t:ItemId Id="${id}"/>`).join('')}</m:ItemIds>`;
const get = async (list: readonly string[], properties = '', mime = false): Promise<Answer> =>
  await call(
    `<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>${mime}</t:IncludeMimeContent>` +
      `${properties === '' ? '' : `<t:AdditionalProperties>${properties}</t:AdditionalProperties>`}</m:ItemShape>${itemIds(...list)}</m:GetItem>`,
  );
const move = async (id: string, to: string): Promise<Answer> =>
  await call(`<m:MoveItem><m:ToFolderId>${to}</m:ToFolderId>${itemIds(id)}</m:MoveItem>`);
const field = (uri: string): string => `<t:FieldURI FieldURI="${uri}"/>`;
const tag = (number: string, type: string): string =>
  `<t:ExtendedFieldURI PropertyTag="${number}" PropertyType="${type}"/>`;
const mark = async (id: string, more = '', conflict = 'AutoResolve', value = 'true'): Promise<Answer> =>
  await call(
    `<m:UpdateItem ConflictResolution="${conflict}" MessageDisposition="SaveOnly"><m:ItemChanges><t:ItemChange><t:ItemId Id="${id}"${more}/>` +
      `<t:Updates><t:SetItemField>${field('message:IsRead')}<t:Message><t:IsRead>${value}</t:IsRead></t:Message></t:SetItemField></t:Updates>` +
      '</t:ItemChange></m:ItemChanges></m:UpdateItem>',
  );

describe('SyncFolderItems', () => {
  it('tells everything first, newest first, then only what has changed', async () => {
    const [one, two, three] = [await numbered(1), await numbered(2), await numbered(3)];
    const first = await sync();
    expect(changes(first)).toEqual([`Create ${three}`, `Create ${two}`, `Create ${one}`]);
    expect(texts(first, 'IncludesLastItemInRange')).toEqual(['true']);
    const nothing = await sync({ state: stateOf(first) });
    expect(changes(nothing)).toEqual([]);
    const four = await numbered(4);
    await mark(one);
    await move(two, distinguished('archive'));
    expect(changes(await sync({ state: stateOf(nothing) }))).toEqual([
      `Delete ${two}`,
      `ReadFlagChange ${one}`,
      `Create ${four}`,
    ]);
    // A state can be used again.
    expect(changes(await sync({ state: stateOf(first) })).length).toBe(3);
  });

  it('pages, whatever happens between the pages', async () => {
    const list: string[] = [];
    for (let n = 0; n < 5; n++) list.push(await numbered(n));
    const [a, b, c, d, e] = list;
    const first = await sync({ most: 2 });
    expect([changes(first), texts(first, 'IncludesLastItemInRange')]).toEqual([
      [`Create ${e}`, `Create ${d}`],
      ['false'],
    ]);
    const late = await numbered(9);
    await move(c ?? '', distinguished('archive'));
    await mark(e ?? '');
    const second = await sync({ most: 2, state: stateOf(first) });
    expect([changes(second), texts(second, 'IncludesLastItemInRange')]).toEqual([
      [`Create ${b}`, `Create ${a}`],
      ['true'],
    ]);
    const third = await sync({ state: stateOf(second) });
    expect(changes(third)).toEqual([`ReadFlagChange ${e}`, `Delete ${c}`, `Create ${late}`]);
  });

  it('gives what the shape asks for', async () => {
    await numbered(1);
    const answer = await sync({ shape: DEFAULT });
    expect([texts(answer, 'Subject'), texts(answer, 'IsRead')]).toEqual([['1'], ['false']]);
  });

  it.each([0, 513, -1, 'all', ''])('refuses %s changes at once', async (most) => {
    expect(codes(await sync({ most }))).toEqual(['fault ErrorSchemaValidation']);
  });

  it.each([1, 512])('takes %i changes at once', async (most) => {
    expect(codes(await sync({ most }))).toEqual(['NoError']);
  });

  it('refuses a state that is none, of another folder, of another mailbox, or cut short', async () => {
    const state = stateOf(await sync());
    const others = [
      'garbage',
      Buffer.from('{}').toString('base64'),
      stateOf(await sync({ folder: distinguished('archive') })),
      stateOf(await sync({ folder: distinguished('inbox', ALICE) })),
      state.slice(0, -4),
      state.slice(4),
    ];
    for (const wrong of others) expect(codes(await sync({ state: wrong }))).toEqual(['ErrorInvalidSyncStateData']);
  });

  it('refuses a folder that is not there', async () => {
    expect(codes(await sync({ folder: '<t:FolderId Id="nowhere"/>' }))).toEqual(['ErrorSyncFolderNotFound']);
  });
});

const PARTS = [
  'From: Ann <ann@example.org>',
  'Sender: desk@example.org',
  'To: 493012345@fax.contoso.com',
  'Subject: a fax',
  'Message-ID: <fax@example.org>',
  'Received: from a by b;\r\n Thu, 26 Nov 2026 00:00:00 +0000',
  'Auto-Submitted: auto-generated',
  'MIME-Version: 1.0',
  'Content-Type: multipart/mixed; boundary=b',
  '',
  '--b',
  'Content-Type: text/html',
  '',
  '<img src="cid:logo@x">',
  '--b',
  'Content-Type: image/tiff; name="Seite 1.tif"',
  'Content-Disposition: attachment; filename="Seite 1.tif"',
  'Content-Transfer-Encoding: base64',
  '',
  'SUkqAA==',
  '--b',
  'Content-Type: image/png; name=logo.png',
  'Content-ID: <logo@x>',
  'Content-Disposition: inline; filename=logo.png',
  '',
  'png',
  '--b',
  'Content-Type: message/rfc822',
  'Content-Disposition: attachment',
  '',
  'Subject: inner',
  '',
  'text',
  '--b--',
  '',
].join('\r\n');

describe('GetItem', () => {
  it('describes a mail', async () => {
    const { id, searchKey } = await receive(FAX, { mime: Buffer.from(PARTS), receivedAt: 1_700_000_000_000 });
    const answer = await get(
      [id],
      [
        'item:ItemClass',
        'item:Subject',
        'item:Attachments',
        'item:DateTimeReceived',
        'item:Size',
        'item:InternetMessageHeaders',
        'item:HasAttachments',
        'message:Sender',
        'message:From',
        'message:IsRead',
      ]
        .map(field)
        .join('') +
        tag('0x300B', 'Binary') +
        tag('0x007D', 'String') +
        tag('0x0E08', 'Integer') +
        tag('0x1035', 'String'),
    );
    expect(codes(answer)).toEqual(['NoError']);
    expect(texts(answer, 'ItemClass')).toEqual(['IPM.Note']);
    expect(texts(answer, 'DateTimeReceived')).toEqual(['2023-11-14T22:13:20Z']);
    expect(texts(answer, 'EmailAddress')).toEqual(['desk@example.org', 'ann@example.org']);
    const kept = texts(answer, 'InternetMessageHeader');
    expect(all(answer, 'InternetMessageHeader').map(({ attributes }) => attributes['HeaderName'])).toContain(
      'Received',
    );
    expect(kept).toContain('auto-generated');
    expect(kept).toContain('from a by b; Thu, 26 Nov 2026 00:00:00 +0000');
    const size = client.sandbox.mailbox(FAX).inbox[0]?.mime.length;
    const head = PARTS.slice(0, PARTS.indexOf('\r\n\r\n') + 4);
    expect(texts(answer, 'Value')).toEqual([searchKey, head, String(size), '<fax@example.org>']);
    expect(Buffer.from(searchKey, 'base64').length).toBe(16);
    const files = [...all(answer, 'FileAttachment'), ...all(answer, 'ItemAttachment')].map(({ children }) =>
      children.filter(({ name }) => name !== 'AttachmentId').map(({ text }) => text),
    );
    expect(files).toEqual([
      ['Seite 1.tif', 'image/tiff', '4', 'false'],
      ['logo.png', 'image/png', '3', 'true'],
      ['message/rfc822', '22', 'false'],
    ]);
  });

  it('gives MIME without the fields of its way, which only the transport header has', async () => {
    const { id } = await receive(FAX, { mime: Buffer.from(PARTS) });
    const mime = Buffer.from(only(texts(await get([id], '', true), 'MimeContent')), 'base64').toString();
    expect(mime).toBe(PARTS.replace(/Received: .*\r\n .*\r\n/, '').replace(/Auto-Submitted: .*\r\n/, ''));
  });

  it('gives nothing of what an item does not have', async () => {
    const { id } = await receive(FAX, { mime: Buffer.from('Subject: x\r\n\r\n'), header: '' });
    const fields = ['message:From', 'message:Sender', 'item:Attachments', 'item:InternetMessageHeaders'].map(field);
    const answer = await get([id], fields.join('') + tag('0x007D', 'String') + tag('0x300B', 'String'));
    expect(only(all(answer, 'Message')).children.map(({ name }) => name)).toEqual(['ItemId']);
  });

  const TYPES: readonly (readonly [string, string, string])[] = [
    ['text/plain', 'IPM.Note', 'Message'],
    ['multipart/signed; boundary=x', 'IPM.Note.SMIME.MultipartSigned', 'Message'],
    ['application/pkcs7-mime; smime-type=enveloped-data', 'IPM.Note.SMIME', 'Message'],
    ['multipart/report; report-type=delivery-status; boundary=x', 'REPORT.IPM.Note.NDR', 'Message'],
    ['text/calendar; method=REQUEST', 'IPM.Schedule.Meeting.Request', 'MeetingRequest'],
  ];
  it.each(TYPES)('knows %s as %s', async (contentType, itemClass, element) => {
    const { id } = await receive(FAX, { mime: Buffer.from(mail({ 'Content-Type': contentType })) });
    const answer = await get([id], field('item:ItemClass') + field('item:Attachments'));
    expect(texts(answer, 'ItemClass')).toEqual([itemClass]);
    expect(all(answer, element).length).toBe(1);
    expect(texts(answer, 'Name')).toEqual(itemClass.includes('SMIME') ? ['smime.p7m'] : []);
  });

  it('answers for each item, the broken and the missing ones too', async () => {
    const good = await numbered(1);
    const noMime = (await receive(FAX, { mime: Buffer.from(mail()), broken: 'mime' })).id;
    const broken = (await receive(FAX, { mime: Buffer.from(mail()), broken: 'item' })).id;
    const list = [good, noMime, broken, Buffer.alloc(24).toString('base64')];
    expect(codes(await get(list, field('item:Subject')))).toEqual([
      'NoError',
      'NoError',
      'ErrorCorruptData',
      'ErrorItemNotFound',
    ]);
    const withMime = ['NoError', 'ErrorMimeContentConversionFailed', 'ErrorCorruptData', 'ErrorItemNotFound'];
    expect(codes(await get(list, '', true))).toEqual(withMime);
    expect(codes(await get(list, field('item:MimeContent')))).toEqual(withMime);
    // It can be put aside all the same.
    expect(codes(await move(broken, distinguished('archive')))).toEqual(['NoError']);
  });

  it('sends a large mail whole', async () => {
    const body = Buffer.alloc(3_000_001, 'abcdefghijk\r\n');
    const { id } = await receive(FAX, { mime: Buffer.concat([Buffer.from(mail({}, '')), body]) });
    const answer = await get([id], '', true);
    expect(Number(answer.headers['content-length'])).toBe(answer.body.length);
    expect(
      Buffer.from(only(texts(answer, 'MimeContent')), 'base64')
        .subarray(-body.length)
        .equals(body),
    ).toBe(true);
  });
});

describe('MoveItem', () => {
  it('gives the item a new id and keeps its search key', async () => {
    const { id, searchKey } = await receive(FAX, { mime: Buffer.from(mail()) });
    const folder = client.sandbox.mailbox(FAX).folder('Posteingang/faxes/DONE');
    const answer = await move(id, `<t:FolderId Id="${folder?.id}"/>`);
    const moved = only(ids(answer));
    expect(moved).not.toBe(id);
    expect(folder?.items.map((item) => [item.id, item.searchKey])).toEqual([[moved, searchKey]]);
    expect(codes(await move(id, distinguished('archive')))).toEqual(['ErrorItemNotFound']);
    expect(codes(await move(moved, '<t:FolderId Id="nowhere"/>'))).toEqual(['ErrorToFolderNotFound']);
  });
});

describe('UpdateItem', () => {
  it('marks as read, and as unread again', async () => {
    const id = await numbered(1);
    const isRead = (): unknown => client.sandbox.mailbox(FAX).inbox[0]?.isRead;
    const before = client.sandbox.mailbox(FAX).inbox[0]?.changeKey;
    expect(codes(await mark(id))).toEqual(['NoError']);
    expect(isRead()).toBe(true);
    const old = ` ChangeKey="${before}"`;
    expect(codes(await mark(id, old, 'NeverOverwrite', 'false'))).toEqual(['ErrorIrresolvableConflict']);
    expect(codes(await mark(id, old, 'AlwaysOverwrite', 'false'))).toEqual(['NoError']);
    expect(isRead()).toBe(false);
    expect(codes(await mark(Buffer.alloc(24).toString('base64')))).toEqual(['ErrorItemNotFound']);
  });

  const one = (id: string, inside: string, disposition = ' MessageDisposition="SaveOnly"'): string =>
    `<m:UpdateItem ConflictResolution="AutoResolve"${disposition}><m:ItemChanges><t:ItemChange><t:ItemId Id="${id}"/><t:Updates>${inside}</t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>`;
  const set = (uri: string, inside: string, element = 'Message'): string =>
    `<t:SetItemField>${field(uri)}<t:${element}>${inside}</t:${element}></t:SetItemField>`;
  it.each([
    ['another field', set('item:Subject', '<t:Subject>x</t:Subject>'), undefined, 'ErrorInvalidPropertySet'],
    [
      'another element',
      set('message:IsRead', '<t:IsRead>1</t:IsRead>', 'MeetingRequest'),
      undefined,
      'ErrorUpdatePropertyMismatch',
    ],
    ['no disposition', set('message:IsRead', '<t:IsRead>1</t:IsRead>'), '', 'ErrorMessageDispositionRequired'],
  ])('refuses %s', async (_, inside, disposition, code) => {
    expect(codes(await call(one(await numbered(1), inside, disposition)))).toEqual([code]);
  });
});

const SHAPE = '<m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape>';
const named = (name: string): string =>
  `<m:Restriction><t:IsEqualTo>${field('folder:DisplayName')}<t:FieldURIOrConstant><t:Constant Value="${name}"/></t:FieldURIOrConstant></t:IsEqualTo></m:Restriction>`;
const findFolder = async (restriction: string, below = 'msgfolderroot', traversal = 'Shallow'): Promise<string[]> =>
  texts(
    await call(
      `<m:FindFolder Traversal="${traversal}">${SHAPE}${restriction}<m:ParentFolderIds>${distinguished(below)}</m:ParentFolderIds></m:FindFolder>`,
    ),
    'DisplayName',
  );
const create = async (name: string, parent = distinguished('inbox')): Promise<Answer> =>
  await call(
    `<m:CreateFolder><m:ParentFolderId>${parent}</m:ParentFolderId><m:Folders><t:Folder><t:DisplayName>${name}</t:DisplayName></t:Folder></m:Folders></m:CreateFolder>`,
  );

describe('folders', () => {
  it('are found by name, below a folder', async () => {
    expect(await findFolder(named('Faxes'), 'inbox')).toEqual(['Faxes']);
    expect(await findFolder(named('Faxes'))).toEqual([]);
    expect(await findFolder(named('Posteingang'))).toEqual(['Posteingang']);
    expect(await findFolder('')).toContain('Archive');
    expect(await findFolder('', 'inbox', 'Deep')).toEqual(['Faxes', 'Done']);
  });

  it('are made once', async () => {
    const made = await create('Twice');
    expect([codes(made), codes(await create('TWICE'))]).toEqual([['NoError'], ['ErrorFolderExists']]);
    const id = only(all(made, 'FolderId')).attributes['Id'] ?? '';
    expect(codes(await create('Below', `<t:FolderId Id="${id}"/>`))).toEqual(['NoError']);
    expect(client.sandbox.mailbox(FAX).folder('inbox/twice/below')?.items).toEqual([]);
    expect(codes(await create('x', '<t:FolderId Id="nowhere"/>'))).toEqual(['ErrorParentFolderNotFound']);
    expect(codes(await create(''))).toEqual(['ErrorFolderSavePropertyError']);
  });

  it('have a root', async () => {
    const answer = await call(
      `<m:GetFolder>${SHAPE}<m:FolderIds>${distinguished('msgfolderroot')}${distinguished('inbox')}</m:FolderIds></m:GetFolder>`,
    );
    const [root, inbox] = all(answer, 'FolderId').map(({ attributes }) => attributes['Id']);
    expect(all(answer, 'ParentFolderId').map(({ attributes }) => attributes['Id'])).toEqual([root]);
    expect(inbox).not.toBe(root);
  });
});

const subscribe = async (events: readonly string[], as = FAX): Promise<string> => {
  const types = events.map((event) => `<t:EventType>${event}</t:EventType>`).join('');
  const answer = await call(
    `<m:Subscribe><m:StreamingSubscriptionRequest><t:FolderIds>${distinguished('inbox')}</t:FolderIds><t:EventTypes>${types}</t:EventTypes></m:StreamingSubscriptionRequest></m:Subscribe>`,
    as,
  );
  return only(texts(answer, 'SubscriptionId'));
};
const streamOf = (id: string, minutes = 30): string =>
  `<m:GetStreamingEvents><m:SubscriptionIds><t:SubscriptionId>${id}</t:SubscriptionId></m:SubscriptionIds><m:ConnectionTimeout>${minutes}</m:ConnectionTimeout></m:GetStreamingEvents>`;
const listen = async (id: string, minutes?: number, as = FAX): Promise<Streamed> => {
  const request = await client.open();
  request.end(envelope(streamOf(id, minutes), { as }));
  return new Streamed(request);
};

describe('notifications', () => {
  it('begin at once, tell new mail, keep alive, and end when the time is over', async () => {
    const stream = await listen(await subscribe(['NewMailEvent', 'CreatedEvent']), 1);
    expect(await stream.next()).toEqual(['NoError', 'OK']);
    expect(client.sandbox.streams()).toBe(1);
    await numbered(1);
    expect(await stream.next()).toEqual(['NoError', 'CreatedEvent', 'NewMailEvent']);
    expect(await stream.next()).toEqual(['NoError', 'StatusEvent']);
    expect(await stream.next()).toEqual(['NoError', 'StatusEvent']);
    expect(await stream.next()).toEqual(['NoError', 'Closed']);
    expect(await stream.next()).toBeUndefined();
    expect(client.sandbox.streams()).toBe(0);
  });

  it('are kept while nobody listens', async () => {
    const id = await subscribe(['NewMailEvent']);
    await numbered(1);
    await numbered(2);
    const stream = await listen(id);
    expect(await stream.next()).toEqual(['NoError', 'OK']);
    expect(await stream.next()).toEqual(['NoError', 'NewMailEvent', 'NewMailEvent']);
    stream.close();
    await expect.poll(() => client.sandbox.streams()).toBe(0);
  });

  it('are of the folder and the kinds that were asked for', async () => {
    const stream = await listen(await subscribe(['DeletedEvent']));
    await stream.next();
    const id = await numbered(1);
    await receive(FAX, { mime: Buffer.from(mail()), folder: 'Archive' });
    await mark(id);
    await move(id, distinguished('archive'));
    expect(await stream.next()).toEqual(['NoError', 'DeletedEvent']);
    stream.close();
  });

  it('go to the stream that was opened last', async () => {
    const id = await subscribe(['NewMailEvent']);
    const [first, second] = [await listen(id), await listen(id)];
    await first.next();
    await second.next();
    expect(await first.next()).toEqual(['ErrorNewEventStreamConnectionOpened', 'Closed']);
    await numbered(1);
    expect(await second.next()).toEqual(['NoError', 'NewMailEvent']);
    second.close();
  });

  it('are for a subscription that is there, and one’s own', async () => {
    const gone = await subscribe(['NewMailEvent']);
    const unsubscribe = `<m:Unsubscribe><m:SubscriptionId>${gone}</m:SubscriptionId></m:Unsubscribe>`;
    expect(codes(await call(unsubscribe))).toEqual(['NoError']);
    expect(codes(await call(unsubscribe))).toEqual(['ErrorSubscriptionNotFound']);
    const alices = await subscribe(['NewMailEvent'], ALICE);
    for (const id of ['nobody', gone, alices]) {
      const stream = await listen(id);
      expect(await stream.next()).toEqual(['ErrorSubscriptionNotFound', 'Closed']);
      expect(await stream.next()).toBeUndefined();
    }
  });

  it('are lost with the server that knew the subscription', async () => {
    const id = await subscribe(['NewMailEvent']);
    const stream = await listen(id);
    await stream.next();
    client.sandbox.loseSubscriptions();
    expect(await stream.next()).toBeUndefined();
    expect(await (await listen(id)).next()).toEqual(['ErrorSubscriptionNotFound', 'Closed']);
  });

  it('end with the server', async () => {
    const stream = await listen(await subscribe(['NewMailEvent']));
    await stream.next();
    await client.sandbox.stop();
    expect(await stream.next()).toBe('cut');
    await client.sandbox.start();
  });

  it('are cut on command', async () => {
    client.sandbox.fault({ when: { operation: 'GetStreamingEvents' }, does: { cut: 'inAnswer' } });
    const stream = await listen(await subscribe(['NewMailEvent']));
    expect(await stream.next()).toEqual(['NoError', 'OK']);
    expect(await stream.next()).toBe('cut');
  });

  it.each([0, 31, 'x'])('take no time of %s minutes', async (minutes) => {
    expect(codes(await call(streamOf('x').replace('30<', `${minutes}<`)))).toEqual(['fault ErrorSchemaValidation']);
  });

  it('are streaming ones, of folders or of all', async () => {
    const ask = async (inside: string, attributes = ''): Promise<string[]> =>
      codes(
        await call(
          `<m:Subscribe><m:StreamingSubscriptionRequest${attributes}>${inside}<t:EventTypes><t:EventType>NewMailEvent</t:EventType></t:EventTypes></m:StreamingSubscriptionRequest></m:Subscribe>`,
        ),
      );
    const folders = `<t:FolderIds>${distinguished('inbox')}</t:FolderIds>`;
    const isAll = ' SubscribeToAllFolders="true"';
    expect(await ask('', isAll)).toEqual(['NoError']);
    expect(await ask('')).toEqual(['ErrorInvalidSubscriptionRequest']);
    expect(await ask(folders, isAll)).toEqual(['ErrorInvalidSubscriptionRequest']);
    expect(await ask('<t:FolderIds><t:FolderId Id="nowhere"/></t:FolderIds>')).toEqual(['ErrorFolderNotFound']);
  });
});

describe('what a pickup asks', () => {
  const shapes: Readonly<Record<string, string>> = {
    'SyncFolderItems without a number': `<m:SyncFolderItems>${ID_ONLY}<m:SyncFolderId>${distinguished('inbox')}</m:SyncFolderId></m:SyncFolderItems>`,
    'SyncFolderItems with the state last': `<m:SyncFolderItems>${ID_ONLY}<m:SyncFolderId>${distinguished('inbox')}</m:SyncFolderId><m:MaxChangesReturned>1</m:MaxChangesReturned><m:SyncState>x</m:SyncState></m:SyncFolderItems>`,
    'MoveItem with the items first': `<m:MoveItem>${itemIds('x')}<m:ToFolderId>${distinguished('inbox')}</m:ToFolderId></m:MoveItem>`,
    'UpdateItem without ConflictResolution':
      '<m:UpdateItem><m:ItemChanges><t:ItemChange><t:ItemId Id="x"/><t:Updates/></t:ItemChange></m:ItemChanges></m:UpdateItem>',
    'a change without updates':
      '<m:UpdateItem ConflictResolution="AutoResolve"><m:ItemChanges><t:ItemChange><t:ItemId Id="x"/><t:Updates/></t:ItemChange></m:ItemChanges></m:UpdateItem>',
    'FindFolder without Traversal': `<m:FindFolder>${SHAPE}<m:ParentFolderIds>${distinguished('inbox')}</m:ParentFolderIds></m:FindFolder>`,
    'CreateFolder without folders': `<m:CreateFolder><m:ParentFolderId>${distinguished('inbox')}</m:ParentFolderId><m:Folders/></m:CreateFolder>`,
    'a subscription without events': `<m:Subscribe><m:StreamingSubscriptionRequest><t:FolderIds>${distinguished('inbox')}</t:FolderIds></m:StreamingSubscriptionRequest></m:Subscribe>`,
    'an event nobody knows': `<m:Subscribe><m:StreamingSubscriptionRequest><t:EventTypes><t:EventType>MailEvent</t:EventType></t:EventTypes></m:StreamingSubscriptionRequest></m:Subscribe>`,
    'a stream of nothing':
      '<m:GetStreamingEvents><m:SubscriptionIds/><m:ConnectionTimeout>1</m:ConnectionTimeout></m:GetStreamingEvents>',
  };
  it.each(Object.entries(shapes))('is held to the schema: %s', async (_, operation) => {
    expect(codes(await call(operation))).toEqual(['fault ErrorSchemaValidation']);
  });

  it.each([
    ['SyncFolderItems', async () => await sync()],
    ['GetItem', async () => await get(['x'])],
    ['MoveItem', async () => await move('x', distinguished('inbox'))],
    ['UpdateItem', async () => await mark('x')],
    [
      'FindFolder',
      async () =>
        await call(
          `<m:FindFolder Traversal="Shallow">${SHAPE}<m:ParentFolderIds>${distinguished('inbox')}</m:ParentFolderIds></m:FindFolder>`,
        ),
    ],
    ['CreateFolder', async () => await create('x')],
    [
      'Subscribe',
      async () =>
        await call(
          `<m:Subscribe><m:PullSubscriptionRequest><t:FolderIds>${distinguished('inbox')}</t:FolderIds><t:EventTypes><t:EventType>NewMailEvent</t:EventType></t:EventTypes><t:Timeout>10</t:Timeout></m:PullSubscriptionRequest></m:Subscribe>`,
        ),
    ],
    ['Unsubscribe', async () => await call('<m:Unsubscribe><m:SubscriptionId>x</m:SubscriptionId></m:Unsubscribe>')],
    ['GetStreamingEvents', async () => await call(streamOf('x'))],
  ])('fails on command: %s', async (operation, ask) => {
    client.sandbox.fault({ when: { operation }, does: { responseCode: 'ErrorServerBusy' } });
    expect(codes(await ask())).toEqual(['ErrorServerBusy']);
  });
});
