/** What a pickup asks of Graph: folders, the changes of one, messages with their MIME, moving, marking, deleting. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Answer, Client } from './soap-client.ts';
import { mail, startTestSandbox } from './soap-client.ts';

const FAX = 'fax@contoso.com';
const IMMUTABLE = { prefer: 'IdType="ImmutableId"' };

let client: Client;
let token = '';

beforeAll(async () => {
  client = await startTestSandbox({
    mailboxes: [{ address: FAX, folders: ['Inbox/Faxes/Done'], folderNames: { inbox: 'Posteingang' } }],
  });
  token = await client.tokenOf({ scope: 'https://graph.microsoft.com/.default' });
});
afterAll(async () => await client.sandbox.close());
afterEach(async () => await client.reset());

interface Row {
  readonly id: string;
  readonly [key: string]: unknown;
}
interface Page {
  readonly value: readonly Row[];
  readonly '@odata.nextLink'?: string;
  readonly '@odata.deltaLink'?: string;
}

const ask = async (
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = IMMUTABLE,
): Promise<Answer> =>
  await client.call(body === undefined ? '' : JSON.stringify(body), {
    method,
    path: path.startsWith('https:') ? path : `/v1.0/users/${FAX}${path}`,
    token,
    headers: { 'content-type': 'application/json', ...headers },
  });
/** Status, and the code if there is one. */
const outcome = (answer: Answer): string => {
  const { error } = (answer.text === '' ? {} : JSON.parse(answer.text)) as { error?: { code: string } };
  return [answer.status, error?.code].filter((one) => one !== undefined).join(' ');
};
async function got<T = Page>(path: string, headers?: Readonly<Record<string, string>>): Promise<T> {
  const answer = await ask('GET', path, undefined, headers);
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${answer.text}`);
  return JSON.parse(answer.text) as T;
}
const receive = async (
  fields: Readonly<Record<string, string>> = {},
  more: Omit<Parameters<Client['sandbox']['receive']>[1], 'mime'> = {},
): Promise<string> => {
  const { stableId } = await client.sandbox.receive(FAX, { mime: Buffer.from(mail(fields)), ...more });
  return `AAkI${stableId.replaceAll('+', '_').replaceAll('/', '-')}`;
};
const query = (path: string, parameters: Readonly<Record<string, string>>): string =>
  `${path}?${new URLSearchParams(parameters).toString()}`;
const names = ({ value }: Page): unknown[] => value.map(({ displayName }) => displayName);

describe('folders', () => {
  it('are known by their well-known name in any case, and by their id', async () => {
    const inbox = await got<Row>('/mailFolders/Inbox');
    expect(inbox).toMatchObject({ displayName: 'Posteingang', totalItemCount: 0, childFolderCount: 1 });
    expect(await got<Row>(`/mailFolders/${encodeURIComponent(inbox.id)}`)).toEqual(inbox);
    const root = await got<Row>('/mailFolders/msgfolderroot?$select=displayName');
    expect(inbox['parentFolderId']).toBe(root.id);
    expect(Object.keys(root)).toEqual(['id', 'displayName']);
  });

  it('are found by name, below a folder', async () => {
    const filter = (name: string): Record<string, string> => ({ $filter: `displayName eq '${name}'` });
    expect(names(await got(query('/mailFolders', filter('Posteingang'))))).toEqual(['Posteingang']);
    expect(names(await got(query('/mailFolders', filter('Faxes'))))).toEqual([]);
    const [faxes] = (await got(query('/mailFolders/inbox/childFolders', filter('Faxes')))).value;
    expect(names(await got(`/mailFolders/${encodeURIComponent(faxes?.id ?? '')}/childFolders`))).toEqual(['Done']);
  });

  it('come in pages', async () => {
    const first = await got('/mailFolders?$top=3');
    const second = await got(first['@odata.nextLink'] ?? '');
    const third = await got(second['@odata.nextLink'] ?? '');
    expect([names(first).length, names(second).length, names(third).length]).toEqual([3, 3, 1]);
    expect(new Set([first, second, third].flatMap(names)).size).toBe(7);
    expect(third['@odata.nextLink']).toBeUndefined();
  });

  it('are made once', async () => {
    const made = await ask('POST', '/mailFolders/inbox/childFolders', { displayName: "It's" });
    expect(outcome(made)).toBe('201');
    const again = await ask('POST', '/mailFolders/inbox/childFolders', { displayName: "IT'S" });
    expect(outcome(again)).toBe('409 ErrorFolderExists');
    expect(outcome(await ask('POST', '/mailFolders', { displayName: 'Top' }))).toBe('201');
    expect(client.sandbox.mailbox(FAX).folder('Top')?.items).toEqual([]);
    expect(names(await got(query('/mailFolders/inbox/childFolders', { $filter: "displayName eq 'It''s'" })))).toEqual([
      "It's",
    ]);
  });
});

const CHANGES = '/mailFolders/inbox/messages/delta';
const paged = (size: number): Record<string, string> => ({ prefer: `IdType="ImmutableId", odata.maxpagesize=${size}` });

describe('changes', () => {
  it('are everything first, newest first, then only what has changed', async () => {
    const [one, two] = [await receive({ Subject: 'one' }), await receive({ Subject: 'two' })];
    const first = await got(query(CHANGES, { $select: 'subject,isRead' }));
    expect(first.value).toEqual([
      { id: two, subject: 'two', isRead: false },
      { id: one, subject: 'one', isRead: false },
    ]);
    const link = first['@odata.deltaLink'] ?? '';
    expect(link).toMatch(/^https:.*\/messages\/delta\?\$deltatoken=/);
    expect((await got(link)).value).toEqual([]);
    const three = await receive();
    await ask('PATCH', `/messages/${one}`, { isRead: true });
    await ask('POST', `/messages/${two}/move`, { destinationId: 'archive' });
    const next = await got(link);
    expect(next.value).toEqual([
      { id: two, '@removed': { reason: 'deleted' } },
      // The fields that were asked for in the beginning.
      { id: one, subject: 'one', isRead: true },
      { id: three, subject: 'test', isRead: false },
    ]);
    expect((await got(next['@odata.deltaLink'] ?? '')).value).toEqual([]);
  });

  it('come in pages of the size that is preferred, ten without', async () => {
    for (let n = 0; n < 12; n++) await receive({ Subject: String(n) });
    const first = await got(CHANGES);
    expect([first.value.length, first['@odata.deltaLink']]).toEqual([10, undefined]);
    const sizes: number[] = [];
    let link: string | undefined = CHANGES;
    while (link !== undefined) {
      const page: Page = await got(link, paged(5));
      sizes.push(page.value.length);
      link = page['@odata.nextLink'];
    }
    expect(sizes).toEqual([5, 5, 2]);
  });

  it('cannot be asked for with a token that is none, of another folder, or cut short', async () => {
    const link = (await got(CHANGES))['@odata.deltaLink'] ?? '';
    const other = (await got('/mailFolders/archive/messages/delta'))['@odata.deltaLink'] ?? '';
    const wrong = [
      `${CHANGES}?$deltatoken=garbage`,
      link.slice(0, -20),
      `${CHANGES}?${other.split('?')[1]}`,
      `${CHANGES}?$deltatoken=${Buffer.from('{"cursor":"x","options":""}').toString('base64url')}`,
    ];
    for (const one of wrong) expect(outcome(await ask('GET', one))).toMatch(/^410 SyncState(NotFound|Invalid)$/);
  });
});

const PARTS = [
  'From: Ann <ann@example.org>',
  'Sender: desk@example.org',
  'To: 493012345@fax.contoso.com',
  'Subject: a fax',
  'Message-ID: <fax@example.org>',
  'Auto-Submitted: auto-generated',
  'MIME-Version: 1.0',
  'Content-Type: multipart/mixed; boundary=b',
  '',
  '--b',
  'Content-Type: text/plain',
  '',
  'text',
  '--b',
  'Content-Type: image/tiff; name="Seite 1.tif"',
  'Content-Disposition: attachment; filename="Seite 1.tif"',
  'Content-Transfer-Encoding: base64',
  '',
  'SUkqAA==',
  '--b',
  'Content-Type: message/rfc822',
  '',
  'Subject: inner',
  '',
  'text',
  '--b--',
  '',
].join('\r\n');

describe('a message', () => {
  it('is described with properties, header and attachments in one request', async () => {
    const { stableId, searchKey, mime } = await client.sandbox.receive(FAX, {
      mime: Buffer.from(PARTS),
      receivedAt: 1_700_000_000_000,
    });
    const id = `AAkI${stableId.replaceAll('+', '_').replaceAll('/', '-')}`;
    const properties = ['Binary 0x300B', 'String 0x007D', 'Long 0x0E08', 'String 0x001A', 'String 0x1234'];
    const filter = properties.map((one) => `id eq '${one}'`).join(' or ');
    const expand = `singleValueExtendedProperties($filter=${filter}),attachments($select=name,contentType,size,isInline)`;
    const select =
      'from,sender,receivedDateTime,isRead,internetMessageId,internetMessageHeaders,hasAttachments,isDraft';
    const answer = await got<Row>(query(`/messages/${id}`, { $select: select, $expand: expand }));
    const address = (one: string): object => ({ emailAddress: { name: one, address: one } });
    expect(answer).toEqual({
      id,
      from: address('ann@example.org'),
      sender: address('desk@example.org'),
      receivedDateTime: '2023-11-14T22:13:20Z',
      isRead: false,
      isDraft: false,
      internetMessageId: '<fax@example.org>',
      internetMessageHeaders: expect.arrayContaining([{ name: 'Auto-Submitted', value: 'auto-generated' }]),
      hasAttachments: true,
      singleValueExtendedProperties: [
        { id: 'Binary 0x300B', value: searchKey },
        { id: 'String 0x007D', value: PARTS.slice(0, PARTS.indexOf('\r\n\r\n') + 4) },
        { id: 'Long 0x0E08', value: String(mime.length) },
        { id: 'String 0x001A', value: 'IPM.Note' },
      ],
      attachments: [
        {
          '@odata.type': '#microsoft.graph.fileAttachment',
          id: expect.any(String),
          name: 'Seite 1.tif',
          contentType: 'image/tiff',
          size: 4,
          isInline: false,
        },
        {
          '@odata.type': '#microsoft.graph.itemAttachment',
          id: expect.any(String),
          name: null,
          contentType: null,
          size: 22,
          isInline: false,
        },
      ],
    });
    const { value } = await got(`/messages/${id}/attachments?$select=name,contentType,size,isInline`);
    expect(value).toEqual(answer['attachments']);
  });

  it.each([
    ['text/plain', undefined],
    ['text/calendar; method=REQUEST', '#microsoft.graph.eventMessageRequest'],
  ])('with %s is of the type %s', async (contentType, type) => {
    const id = await receive({ 'Content-Type': contentType });
    expect((await got<Row>(`/messages/${id}`))['@odata.type']).toBe(type);
  });

  it('names nobody where its header does not', async () => {
    const { stableId } = await client.sandbox.receive(FAX, { mime: Buffer.from('Subject: x\r\n\r\n'), header: '' });
    const id = `AAkI${stableId.replaceAll('+', '_').replaceAll('/', '-')}`;
    const row = await got<Row>(query(`/messages/${id}`, { $select: 'from,sender,internetMessageHeaders' }));
    expect(row).toEqual({ id, internetMessageHeaders: [] });
  });

  it('comes as MIME, a large one too', async () => {
    const body = Buffer.alloc(3_000_001, 'abcdefghijk\r\n');
    const mime = Buffer.concat([Buffer.from(mail({}, '')), body]);
    const { stableId } = await client.sandbox.receive(FAX, { mime });
    const answer = await ask('GET', `/messages/AAkI${stableId.replaceAll('+', '_').replaceAll('/', '-')}/$value`);
    expect(answer.headers['content-type']).toBe('text/plain');
    expect(answer.body.equals(mime)).toBe(true);
  });

  it('keeps its immutable id when it is moved, and no other', async () => {
    const id = await receive();
    const [{ id: other = '' } = {}] = (await got(CHANGES, {})).value;
    expect(other).not.toBe(id);
    const moved = await ask('POST', `/messages/${other}/move`, { destinationId: 'archive' }, {});
    expect(outcome(moved)).toBe('201');
    expect((JSON.parse(moved.text) as Row).id).not.toBe(other);
    expect(outcome(await ask('GET', `/messages/${other}`, undefined, {}))).toBe('404 ErrorItemNotFound');
    expect(outcome(await ask('POST', `/messages/${other}/move`, { destinationId: 'inbox' }))).toBe(
      '404 ErrorItemNotFound',
    );
    expect((await got<Row>(`/messages/${id}`)).id).toBe(id);
    const back = await ask('POST', `/messages/${id}/move`, { destinationId: 'Inbox' });
    expect((JSON.parse(back.text) as Row).id).toBe(id);
    expect(client.sandbox.mailbox(FAX).inbox.length).toBe(1);
  });

  it('is moved to where there is a folder', async () => {
    const id = await receive();
    const to = async (destinationId: string): Promise<string> =>
      outcome(await ask('POST', `/messages/${id}/move`, { destinationId }));
    expect(await to('AAFonowhere')).toBe('404 ErrorItemNotFound');
    expect(await to('Faxes')).toBe('400 ErrorInvalidIdMalformed');
    const { id: done = '' } = (await got('/mailFolders/inbox/childFolders')).value[0] ?? {};
    expect(await to(done)).toBe('201');
    expect(client.sandbox.mailbox(FAX).folder('inbox/faxes')?.items.length).toBe(1);
  });

  it('is marked as read, and nothing else is changed', async () => {
    const id = await receive();
    expect(outcome(await ask('PATCH', `/messages/${id}`, { isRead: true }))).toBe('200');
    expect(client.sandbox.mailbox(FAX).inbox[0]?.isRead).toBe(true);
    expect(outcome(await ask('PATCH', `/messages/${id}`, { subject: 'x' }))).toBe('400 ErrorInvalidPropertySet');
    expect(outcome(await ask('PATCH', `/messages/${id}`, { read: true }))).toBe('400 RequestBodyRead');
  });

  it('is deleted to where a person can still find it, and there for good', async () => {
    const id = await receive();
    expect(outcome(await ask('DELETE', `/messages/${id}`))).toBe('204');
    expect(client.sandbox.mailbox(FAX).deleteditems.length).toBe(1);
    expect(outcome(await ask('DELETE', `/messages/${id}`))).toBe('204');
    expect(client.sandbox.mailbox(FAX).deleteditems.length).toBe(0);
    expect(outcome(await ask('DELETE', `/messages/${id}`))).toBe('404 ErrorItemNotFound');
  });

  it('may be broken', async () => {
    const noMime = await receive({}, { broken: 'mime' });
    const broken = await receive({}, { broken: 'item' });
    const all = async (id: string): Promise<string[]> =>
      await Promise.all(
        ['', '/$value', '/attachments'].map(async (path) => outcome(await ask('GET', `/messages/${id}${path}`))),
      );
    expect(await all(noMime)).toEqual(['200', '500 ErrorMimeContentConversionFailed', '200']);
    expect(await all(broken)).toEqual(['500 ErrorCorruptData', '500 ErrorCorruptData', '500 ErrorCorruptData']);
    expect((await got(query(CHANGES, { $select: 'id' }))).value.map(({ id }) => id)).toEqual([broken, noMime]);
    expect(outcome(await ask('POST', `/messages/${broken}/move`, { destinationId: 'archive' }))).toBe('201');
  });
});

describe('what is not documented', () => {
  it.each([
    ['GET', '/mailFolders/Faxes', undefined, '400 ErrorInvalidIdMalformed'],
    ['GET', '/mailFolders/AAFox', undefined, '404 ErrorItemNotFound'],
    ['GET', '/mailFolders/inbox?$select=name', undefined, '400 BadRequest'],
    ['GET', '/mailFolders?$orderby=displayName', undefined, '400 BadRequest'],
    ['GET', '/mailFolders?$filter=name%20eq%20%27x%27', undefined, '400 ErrorInvalidUrlQueryFilter'],
    ['POST', '/mailFolders', { name: 'x' }, '400 RequestBodyRead'],
    ['GET', `${CHANGES}?$select=size`, undefined, '400 BadRequest'],
    ['GET', `${CHANGES}?$search=x`, undefined, '400 BadRequest'],
    ['GET', `${CHANGES}?$expand=extensions`, undefined, '400 BadRequest'],
    ['GET', '/messages/delta', undefined, '404 ErrorItemNotFound'],
    ['GET', '/constructor', undefined, '404 ResourceNotFound'],
    ['GET', '/mailFolders/inbox/messages/x/move', undefined, '404 ResourceNotFound'],
    ['POST', '/messages/x/move', { destinationId: 'inbox' }, '404 ErrorItemNotFound'],
  ] as const)('%s %s is refused', async (method, path, body, expected) => {
    expect(outcome(await ask(method, path, body))).toBe(expected);
  });

  it.each([
    ['POST', 'move', { destination: 'inbox' }, '400 RequestBodyRead'],
    ['GET', "?$expand=singleValueExtendedProperties($filter=id eq '0x300B')", undefined, '400 ErrorInvalidProperty'],
    ['GET', '?$expand=attachments($select=contentBytes)', undefined, '400 BadRequest'],
    ['GET', 'attachments?$select=octets', undefined, '400 BadRequest'],
  ] as const)('%s %s of a message is refused', async (method, path, body, expected) => {
    const id = await receive();
    expect(
      outcome(
        await ask(method, `/messages/${id}${path.startsWith('?') ? path.replaceAll(' ', '%20') : `/${path}`}`, body),
      ),
    ).toBe(expected);
  });

  it.each(['odata.maxpagesize=0', 'odata.maxpagesize=5', 'IdType=ImmutableId', 'return=minimal'])(
    'the preference %s for a message is refused',
    async (prefer) => {
      expect(outcome(await ask('GET', `/messages/${await receive()}`, undefined, { prefer }))).toBe('400 BadRequest');
    },
  );
});

describe('on command', () => {
  it.each([
    ['listChanges', 'GET', CHANGES],
    ['getFolder', 'GET', '/mailFolders/inbox'],
    ['listFolders', 'GET', '/mailFolders'],
    ['listFolders', 'GET', '/mailFolders/inbox/childFolders'],
    ['createFolder', 'POST', '/mailFolders'],
    ['getMessage', 'GET', '/messages/x'],
    ['getMime', 'GET', '/messages/x/$value'],
    ['listAttachments', 'GET', '/messages/x/attachments'],
    ['moveMessage', 'POST', '/messages/x/move'],
    ['updateMessage', 'PATCH', '/messages/x'],
    ['deleteMessage', 'DELETE', '/messages/x'],
  ])('%s fails: %s %s', async (operation, method, path) => {
    client.sandbox.fault({ when: { operation }, does: { status: 410, responseCode: 'SyncStateNotFound' } });
    expect(outcome(await ask(method, path, method.startsWith('P') ? {} : undefined))).toBe('410 SyncStateNotFound');
  });

  it('an answer is cut in the middle', async () => {
    const body = Buffer.alloc(1_000_000, 'x');
    const { stableId } = await client.sandbox.receive(FAX, { mime: Buffer.concat([Buffer.from(mail()), body]) });
    client.sandbox.fault({ when: { operation: 'getMime' }, does: { cut: 'inAnswer' } });
    const path = `/v1.0/users/${FAX}/messages/AAkI${stableId.replaceAll('+', '_').replaceAll('/', '-')}/$value`;
    const { text, status } = await client.cut('', { method: 'GET', path, token, headers: IMMUTABLE });
    expect(status).toBe(200);
    expect(text.length).toBeGreaterThan(100_000);
    expect(text.length).toBeLessThan(600_000);
  });
});
