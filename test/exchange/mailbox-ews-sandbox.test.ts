/** A mailbox over EWS against the sandbox's Exchange: the library's documents, the wire and the answers, all real. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { bearer } from '../../src/exchange/authorizer.ts';
import { createEws } from '../../src/exchange/ews.ts';
import type { HttpWithLanes } from '../../src/exchange/http.ts';
import { createHttp } from '../../src/exchange/http.ts';
import type { Changes, Filing, PickupMailbox } from '../../src/exchange/mailbox.ts';
import { ewsMailbox } from '../../src/exchange/mailbox-ews.ts';
import type { TokenProvider } from '../../src/exchange/token.ts';
import type { ReceivedMail } from '../../src/mail/received.ts';
import type { Delivered, IncomingMail, Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { recordSoap } from '../soap-record.ts';
import { tokenOf } from './sandbox-token.ts';

const FAX = 'fax@contoso.test';
const TIFF = Buffer.from(Uint8Array.from({ length: 3_000 }, (_, index) => index % 251)).toString('base64');
const MIME = [
  'Received: from outside by mx; Thu, 26 Nov 2026 08:00:00 +0000',
  'From: Alice <alice@contoso.test>',
  'Sender: bot@contoso.test',
  'To: fax@contoso.test',
  'Subject: 493012345 <&> gr=C3=BC',
  'Message-ID: <1@contoso.test>',
  'Auto-Submitted: auto-generated',
  'MIME-Version: 1.0',
  'Content-Type: multipart/mixed; boundary=b',
  '',
  '--b',
  'Content-Type: text/plain',
  '',
  'Hello',
  '--b',
  'Content-Type: image/tiff; name="page 1.tif"',
  'Content-Disposition: attachment; filename="page 1.tif"',
  'Content-Transfer-Encoding: base64',
  '',
  TIFF,
  '--b--',
  '',
].join('\r\n');

let sandbox: Sandbox;
let http: HttpWithLanes;
let token: TokenProvider;
let mailbox: PickupMailbox;
let inbox = '';
const { signal } = new AbortController();

beforeAll(async () => {
  let left = 200;
  sandbox = await startSandbox({
    mailboxes: [{ address: FAX, folders: ['Fax/In'], folderNames: { inbox: 'Posteingang', archive: 'Archiv' } }],
    streaming: { heartbeat: 100, minute: 40 },
    // The first few say all that a schema can be asked.
    record: (document) => left-- > 0 && recordSoap('pickup', document),
  });
  http = createHttp({ ca: sandbox.ca });
  token = tokenOf(sandbox, http, 'exchange');
  const ews = await createEws({ url: sandbox.ewsUrl, authorizer: bearer({ http, token }), version: '1' });
  mailbox = ewsMailbox({ ews, mailbox: FAX });
  inbox = (await idsOf(['Inbox']))[0] ?? '';
});
afterAll(async () => {
  await token.close();
  await http.close();
  await sandbox.close();
});

const receive = (mail: Partial<IncomingMail> = {}): Promise<Delivered> =>
  sandbox.receive(FAX, { mime: Buffer.from(MIME), ...mail });

async function idsOf(paths: readonly string[], make: readonly string[] = []): Promise<string[]> {
  const got = await mailbox.folders(paths, make, signal);
  if (!got.ok) throw new Error(got.status.reason);
  return paths.map((path) => got.ids.get(path) ?? '');
}

async function changed(cursor?: string, folder = inbox): Promise<Changes> {
  const got = await mailbox.changes(folder, cursor, signal);
  if (!got.ok) throw new Error(JSON.stringify(got));
  return got;
}

async function described(...ids: readonly string[]): Promise<readonly ReceivedMail[]> {
  const got = await mailbox.describe(ids, signal);
  if (!got.ok) throw new Error(got.status.reason);
  return got.mails;
}

async function fetched(id: string): Promise<{ readonly got: unknown; readonly octets: Buffer }> {
  const pieces: Uint8Array[] = [];
  const got = await mailbox.fetch(id, async (piece) => void pieces.push(piece), signal);
  return { got, octets: Buffer.concat(pieces) };
}

describe('a mailbox of the sandbox', () => {
  it('has the folders that are asked for, whatever its language calls them', async () => {
    const paths = ['INBOX', 'fax/in', 'Archive', 'SentItems', 'Posteingang'];
    const [byName, ...others] = await idsOf(paths);
    const at = (path: string): string | undefined => sandbox.mailbox(FAX).folder(path)?.id;
    expect([byName, ...others]).toEqual([at('Inbox'), at('Fax/In'), at('Archive'), at('SentItems'), at('Inbox')]);
    expect(await mailbox.folders(['Fax/Out'], [], signal)).toMatchObject({
      ok: false,
      status: { cause: 'folder not found', reason: expect.stringContaining('Fax/Out') },
    });
  });

  it('gets a folder with all above it, once, under a name of any kind', async () => {
    const path = `Inbox/Done & "more"/O'Neil <1>`;
    const [first] = await idsOf([path], [path]);
    expect(await idsOf([path.toUpperCase()], [])).toEqual([first]);
    expect(sandbox.mailbox(FAX).folder(path)?.id).toBe(first);
  });

  it('tells what has come and what is gone, page by page', async () => {
    const [folder = ''] = await idsOf(['Paged'], ['Paged']);
    const receivedAt = Date.UTC(2026, 10, 25, 7);
    const items: Delivered[] = [];
    for (let count = 0; count < 515; count++)
      items.push(await receive({ folder: 'Paged', receivedAt: receivedAt + count * 1_000 }));
    const first = await changed(undefined, folder);
    const second = await changed(first.cursor, folder);
    expect([first.added.length, first.isLast, second.added.length, second.isLast]).toEqual([512, false, 3, true]);
    const all = [...first.added, ...second.added].toSorted((a, b) => (a.receivedAt ?? 0) - (b.receivedAt ?? 0));
    expect(all).toEqual(items.map(({ id }, index) => ({ id, receivedAt: receivedAt + index * 1_000 })));
    const [oldest] = items;
    await mailbox.file(oldest?.id ?? '', { kind: 'delete' }, signal);
    const late = await receive({ folder: 'Paged' });
    expect(await changed(second.cursor, folder)).toMatchObject({
      added: [{ id: late.id }],
      removed: [oldest?.id],
      isLast: true,
    });
  });

  it('knows no state that is garbage, of another folder, or cut short', async () => {
    const [other = ''] = await idsOf(['Fax/In']);
    const { cursor } = await changed();
    for (const [folder, state] of [
      [inbox, 'garbage'],
      [other, cursor],
      [inbox, cursor.slice(0, -8)],
    ] as const) {
      expect(await mailbox.changes(folder, state, signal)).toEqual({ ok: false, stale: true });
    }
  });

  it('tells what an item is', async () => {
    const item = await receive({ receivedAt: Date.UTC(2026, 10, 25, 7) });
    const [mail, ...others] = await described(item.id, 'bm9uZQ==');
    expect(others).toEqual([]);
    expect(mail).toMatchObject({
      id: item.id,
      searchKey: item.searchKey,
      itemClass: 'IPM.Note',
      receivedAt: Date.UTC(2026, 10, 25, 7),
      messageId: '<1@contoso.test>',
      subject: '493012345 <&> gr=C3=BC',
      isRead: false,
      from: 'alice@contoso.test',
      attachments: [{ name: 'page 1.tif', type: 'image/tiff', isInline: false }],
    });
    expect(mail?.size).toBeGreaterThan(3_000);
    expect(Buffer.concat(mail?.header.map(({ raw }) => raw) ?? []).toString()).toBe(
      MIME.slice(0, MIME.indexOf('\r\n\r\n') + 2),
    );
  });

  it('tells of every kind of item', async () => {
    const classes = [
      'IPM.Schedule.Meeting.Request',
      'REPORT.IPM.Note.NDR',
      'IPM.Note.SMIME.MultipartSigned',
      'IPM.Note',
    ];
    const items: Delivered[] = [];
    for (const itemClass of classes)
      items.push(await receive({ itemClass, mime: Buffer.from('Subject: x\r\n\r\nno From\r\n') }));
    const mails = await described(...items.map(({ id }) => id));
    expect(mails.map((mail) => [mail.itemClass, mail.from])).toEqual(
      classes.map((itemClass) => [itemClass, undefined]),
    );
  });

  it('gives an item’s octets, of any size', async () => {
    for (const size of [0, 1, 5_000_000]) {
      const mime = Buffer.concat([Buffer.from('Subject: x\r\n\r\n'), Buffer.alloc(size, '\u0000\u00ffé<&')]);
      const { got, octets } = await fetched((await receive({ mime })).id);
      expect(got).toEqual({ ok: true, gone: false });
      const digest = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
      expect(digest(octets)).toBe(digest(mime));
    }
  });

  it('an item that is broken is told of, and keeps no other', async () => {
    const good = await receive();
    const bad = await receive({ broken: 'item' });
    const noMime = await receive({ broken: 'mime' });
    expect(await mailbox.describe([bad.id, good.id, noMime.id], signal)).toMatchObject({
      ok: true,
      mails: [{ id: good.id }, { id: noMime.id }],
      unreadable: [{ id: bad.id, status: { outcome: 'failed' } }],
    });
    expect((await fetched(noMime.id)).got).toMatchObject({ ok: false, status: { outcome: 'failed', code: '5.6.0' } });
  });

  const [move, remove, read]: Filing[] = [{ kind: 'move', folder: '' }, { kind: 'delete' }, { kind: 'read' }];
  it.each([
    ['moved', move, 'archive'],
    ['deleted', remove, 'deleteditems'],
    ['read', read, 'inbox'],
  ] as const)('an item is %s, and what is gone is gone', async (_what, kind, where) => {
    const [archive = ''] = await idsOf(['Archive']);
    const filing: Filing = kind?.kind === 'move' ? { ...kind, folder: archive } : (kind ?? { kind: 'read' });
    const item = await receive();
    expect(await mailbox.file(item.id, filing, signal)).toEqual({ ok: true, gone: false });
    const found = sandbox.mailbox(FAX)[where].find(({ searchKey }) => searchKey === item.searchKey);
    expect(found?.isRead).toBe(filing.kind === 'read');
    const again = await mailbox.file(item.id, filing, signal);
    expect(again).toEqual({ ok: true, gone: filing.kind !== 'read' });
    expect((await fetched(item.id)).got).toEqual({ ok: true, gone: filing.kind !== 'read' });
  });

  it('a cut or compressed answer is never a short message', async () => {
    const mime = Buffer.concat([Buffer.from('Subject: x\r\n\r\n'), Buffer.alloc(400_000, 'abc')]);
    const item = await receive({ mime });
    sandbox.fault({ when: { operation: 'GetItem', count: 1 }, does: { cut: 'inAnswer' } });
    sandbox.fault({ when: { operation: 'GetItem', count: 1 }, does: { gzip: true } });
    expect((await fetched(item.id)).got).toMatchObject({ ok: false, status: { outcome: 'delayed', reach: 'message' } });
    expect(await fetched(item.id)).toEqual({ got: { ok: true, gone: false }, octets: mime });
    sandbox.clearFaults();
  });

  it('is heard of at once when something comes, until the time is over', async () => {
    const news = vi.fn<() => void>();
    const listening = mailbox.listen?.(inbox, news, signal);
    await vi.waitFor(() => expect(news).toHaveBeenCalledTimes(1));
    await receive();
    await vi.waitFor(() => expect(news).toHaveBeenCalledTimes(2));
    expect(await listening).toEqual({ ok: true });
    expect(sandbox.streams()).toBe(0);
  });

  it('is no longer heard of when the server restarts, and anew after that', async () => {
    const news = vi.fn<() => void>();
    const listening = mailbox.listen?.(inbox, news, signal);
    await vi.waitFor(() => expect(news).toHaveBeenCalledTimes(1));
    sandbox.loseSubscriptions();
    expect(await listening).toMatchObject({ ok: false, status: { outcome: 'delayed', reach: 'message' } });
    const controller = new AbortController();
    const anew = mailbox.listen?.(inbox, news, controller.signal);
    await vi.waitFor(() => expect(news).toHaveBeenCalledTimes(2));
    controller.abort();
    expect(await anew).toMatchObject({ ok: false, status: { cause: 'ABORTED' } });
  });
});
