/** What reaches Exchange: octets, length, headers, order and escaping. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import * as fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bearer } from '../../src/exchange/authorizer.ts';
import { createEws, type NewMessage } from '../../src/exchange/ews.ts';
import { createHttp } from '../../src/exchange/http.ts';
import type { XmlElement } from '../../src/exchange/soap.ts';
import {
  all,
  type Client,
  clientOf,
  created,
  fakeToken,
  foundItems,
  messageError,
  type Peer,
  requestOf,
  type Seen,
  startPeer,
} from './ews-peer.ts';

let peer: Peer;
let client: Client;
const { signal } = new AbortController();

beforeAll(async () => {
  peer = await startPeer();
  client = await clientOf(peer.url);
});
afterAll(async () => {
  await client.close();
  await peer.close();
});
beforeEach(() => {
  peer.early = undefined;
  peer.answer = (_seen, response) => response.end(created());
});

async function* pieces(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

function message(parts: readonly Uint8Array[], more: Partial<NewMessage> = {}): NewMessage {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return {
    mailbox: 'sender@contoso.test',
    spoolId: '0195abcd-1',
    blind: [],
    saveCopy: true,
    content: { length, open: () => pieces(parts) },
    ...more,
  };
}

const SMALL = [Buffer.from('Subject: x\r\n\r\nbody\r\n')];

async function sent(more: Partial<NewMessage> = {}, parts: readonly Uint8Array[] = SMALL): Promise<Seen> {
  expect(await client.ews.send(message(parts, more), signal)).toMatchObject({ outcome: 'relayed' });
  const last = peer.seen.at(-1);
  if (!last) throw new Error('nothing arrived');
  return last;
}

function only(element: XmlElement, name: string): XmlElement {
  const [first, ...others] = all(element, name);
  if (!first || others.length > 0) throw new Error(`${others.length + 1} elements ${name}`);
  return first;
}

describe('the message', () => {
  it('arrives octet for octet, whatever it is and however it is cut, with the length announced', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 3000, size: 'max' }), { minLength: 1, maxLength: 8 }),
        async (parts) => {
          const seen = await sent({}, parts);
          expect(requestOf(seen).mime.equals(Buffer.concat(parts))).toBe(true);
          expect(Number(seen.headers['content-length'])).toBe(seen.body.length);
          expect(seen.headers['transfer-encoding']).toBeUndefined();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('may look like the request itself', async () => {
    const soap = (await sent()).body;
    const evil = Buffer.concat([Buffer.from('</t:MimeContent></t:Message>]]>'), soap]);
    const seen = await sent({}, [evil]);
    expect(requestOf(seen).mime.equals(evil)).toBe(true);
    expect(all(requestOf(seen).root, 'MimeContent').length).toBe(1);
  });

  it('of 50 MB is read only as fast as it is taken, so it is never held in memory', async () => {
    const size = 50_000_000;
    const chunk = Buffer.alloc(250_000, 'smtp2exchange ');
    const hash = createHash('sha256');
    let produced = 0;
    let received = 0;
    let producedBeforeReading = 0;
    let head = '';
    let tail = '';
    peer.early = (request, response) => {
      setTimeout(() => {
        producedBeforeReading = produced;
        request.on('data', (data: Buffer) => {
          received += data.length;
          hash.update(data);
          if (head.length < 3000) head += data.toString('latin1', 0, 3000);
          tail = (tail + data.toString('latin1', Math.max(0, data.length - 3000))).slice(-3000);
        });
        request.on('end', () => response.end(created()));
      }, 300);
      return true;
    };
    const large = message([], {
      content: {
        length: size,
        async *open() {
          for (; produced < size; produced += chunk.length) yield chunk;
        },
      },
    });
    expect(await client.ews.send(large, signal)).toMatchObject({ outcome: 'relayed' });
    // What the sockets of both ends hold, a few megabytes.
    expect(producedBeforeReading).toBeLessThan(15_000_000);
    expect(produced).toBe(size);

    const opening = head.slice(0, head.indexOf('<t:MimeContent>') + '<t:MimeContent>'.length);
    const closing = tail.slice(tail.indexOf('</t:MimeContent>'));
    const expected = createHash('sha256').update(opening);
    const three = Buffer.concat([chunk, chunk, chunk]);
    for (let at = 0; at < size; at += three.length) expected.update(three.subarray(0, size - at).toString('base64'));
    expect(hash.digest('hex')).toBe(expected.update(closing).digest('hex'));
    expect(received).toBe(opening.length + 4 * Math.ceil(size / 3) + closing.length);
  });
});

describe('the request', () => {
  it('is one CreateItem that sends as the mailbox and files a marked, read copy in Sent Items', async () => {
    const seen = await sent({ blind: ['b1@contoso.test', 'b2@contoso.test'] });
    const { root, blind, impersonated } = requestOf(seen);
    expect(impersonated).toEqual(['sender@contoso.test']);
    expect(blind).toEqual(['b1@contoso.test', 'b2@contoso.test']);
    const create = only(root, 'CreateItem');
    expect(create.attributes).toEqual({ MessageDisposition: 'SendAndSaveCopy' });
    expect(only(only(create, 'SavedItemFolderId'), 'DistinguishedFolderId').attributes).toEqual({ Id: 'sentitems' });
    expect(only(create, 'Message').children.map(({ name }) => name)).toEqual([
      'MimeContent',
      'ExtendedProperty',
      'ExtendedProperty',
      'BccRecipients',
    ]);
    const properties = all(create, 'ExtendedProperty').map((property) => [
      only(property, 'ExtendedFieldURI').attributes,
      only(property, 'Value').text,
    ]);
    expect(properties).toEqual([
      [
        { DistinguishedPropertySetId: 'PublicStrings', PropertyName: 'smtp2exchange-id', PropertyType: 'String' },
        '0195abcd-1',
      ],
      [{ PropertyTag: String(0x0e07), PropertyType: 'Integer' }, '1'],
    ]);
  });

  it('names no recipients of its own when none is blind', async () => {
    expect(all(requestOf(await sent()).root, 'BccRecipients')).toEqual([]);
  });

  it.each([
    ['low', 'Low'],
    ['normal', 'Normal'],
    ['high', 'High'],
  ] as const)('says that a message is of %s importance', async (importance, text) => {
    const { root } = requestOf(await sent({ importance }));
    expect(only(root, 'Importance').text).toBe(text);
  });

  it('says everything else in the order of the schema', async () => {
    const { root } = requestOf(
      await sent({
        importance: 'low',
        readReceipt: true,
        deliveryReceipt: true,
        itemClass: 'REPORT.IPM.Note.IPNRN',
        internetHeaders: [
          { name: 'X-One', value: '1' },
          { name: 'X-Two', value: 'Jürgen & <Söhne>' },
        ],
        blind: ['b@contoso.test'],
      }),
    );
    const message = only(root, 'Message');
    expect(message.children.map(({ name }) => name)).toEqual([
      'MimeContent',
      'ItemClass',
      'Importance',
      ...Array.from({ length: 4 }, () => 'ExtendedProperty'),
      'BccRecipients',
      'IsReadReceiptRequested',
      'IsDeliveryReceiptRequested',
    ]);
    expect(only(message, 'ItemClass').text).toBe('REPORT.IPM.Note.IPNRN');
    expect(only(message, 'IsReadReceiptRequested').text).toBe('true');
    expect(only(message, 'IsDeliveryReceiptRequested').text).toBe('true');
    const headers = all(message, 'ExtendedProperty').slice(2);
    expect(
      headers.map((property) => [only(property, 'ExtendedFieldURI').attributes, only(property, 'Value').text]),
    ).toEqual([
      [{ DistinguishedPropertySetId: 'InternetHeaders', PropertyName: 'X-One', PropertyType: 'String' }, '1'],
      [
        { DistinguishedPropertySetId: 'InternetHeaders', PropertyName: 'X-Two', PropertyType: 'String' },
        'Jürgen & <Söhne>',
      ],
    ]);
  });

  it.each(['readReceipt', 'deliveryReceipt'] as const)('asks for one receipt alone: %s', async (kind) => {
    const { root } = requestOf(await sent({ [kind]: true }));
    expect(all(root, 'IsReadReceiptRequested').length).toBe(kind === 'readReceipt' ? 1 : 0);
    expect(all(root, 'IsDeliveryReceiptRequested').length).toBe(kind === 'deliveryReceipt' ? 1 : 0);
  });

  it('asks for nothing that is not wanted', async () => {
    const seen = await sent({ readReceipt: false, deliveryReceipt: false, internetHeaders: [] });
    expect(only(requestOf(seen).root, 'Message').children.map(({ name }) => name)).toEqual([
      'MimeContent',
      'ExtendedProperty',
      'ExtendedProperty',
    ]);
  });

  it('keeps no copy when none is wanted', async () => {
    const { root } = requestOf(await sent({ saveCopy: false }));
    expect(only(root, 'CreateItem').attributes).toEqual({ MessageDisposition: 'SendOnly' });
    expect(all(root, 'SavedItemFolderId')).toEqual([]);
  });

  it('carries the header fields Exchange asks for', async () => {
    const { headers } = await sent();
    expect(headers).toMatchObject({
      authorization: 'Bearer token-1',
      'x-anchormailbox': 'sender@contoso.test',
      'return-client-request-id': 'true',
      'user-agent': 'smtp2exchange/1.2.3',
      'content-type': 'text/xml; charset=utf-8',
      'accept-encoding': 'gzip, deflate',
    });
    expect(headers['client-request-id']).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    const second = await sent();
    expect(second.headers['client-request-id']).not.toBe(headers['client-request-id']);
  });

  it('goes without the routing hint for a mailbox that no header can carry', async () => {
    const seen = await sent({ mailbox: 'müller@contoso.test' });
    expect(seen.headers['x-anchormailbox']).toBeUndefined();
    expect(requestOf(seen).impersonated).toEqual(['müller@contoso.test']);
  });
});

interface Dom {
  readonly DOMParser: new (options: object) => {
    parseFromString(
      text: string,
      type: string,
    ): {
      getElementsByTagName(
        name: string,
      ): ArrayLike<{ readonly textContent: string; getAttribute(name: string): string }>;
    };
  };
}
const { DOMParser } = createRequire(createRequire(import.meta.url).resolve('ews-javascript-api'))(
  '@xmldom/xmldom',
) as Dom;

function elements(
  { body }: Seen,
  name: string,
): { readonly textContent: string; getAttribute(name: string): string }[] {
  return Array.from(new DOMParser({}).parseFromString(body.toString('utf8'), 'text/xml').getElementsByTagName(name));
}

const HOSTILE = [
  'a&b@contoso.test',
  'a<b>@contoso.test',
  '"a\\"b"@contoso.test',
  "o'brien@contoso.test",
  'x]]>y@contoso.test',
  '</t:EmailAddress></t:Mailbox></t:BccRecipients><t:ToRecipients><t:Mailbox><t:EmailAddress>evil@contoso.test',
  '&#60;x@contoso.test',
  'tab\there@contoso.test',
  '用户@例え.test',
  '😀@contoso.test',
];
const UNWRITABLE = [
  'nul\0@contoso.test',
  'bell\u0007@contoso.test',
  'half\ud800@contoso.test',
  'no\uffff@contoso.test',
];

describe('what comes from a message or the configuration', () => {
  it.each(HOSTILE)('%j arrives intact as a recipient, as the mailbox, as a mark and in a search', async (text) => {
    const seen = await sent({ blind: [text, 'last@contoso.test'], mailbox: text, spoolId: text });
    expect(elements(seen, 't:EmailAddress').map(({ textContent }) => textContent)).toEqual([text, 'last@contoso.test']);
    expect(elements(seen, 't:SmtpAddress').map(({ textContent }) => textContent)).toEqual([text]);
    expect(elements(seen, 't:Value').map(({ textContent }) => textContent)).toEqual([text, '1']);
    expect(elements(seen, 't:ToRecipients')).toEqual([]);
    peer.answer = (_seen, response) => response.end(foundItems([]));
    expect(
      await client.ews.find({ mailbox: 'a@b.test', folder: 'outbox', messageId: `<${text}>`, offset: 0 }, signal),
    ).toMatchObject({
      ok: true,
    });
    const search = peer.seen.at(-1);
    if (!search) throw new Error('nothing arrived');
    expect(elements(search, 't:Constant').map((element) => element.getAttribute('Value'))).toEqual([`<${text}>`]);
  });

  it.each(HOSTILE)('%j arrives intact as name, value and class of properties', async (text) => {
    const seen = await sent({ internetHeaders: [{ name: text, value: text }], itemClass: text });
    expect(elements(seen, 't:Value').map(({ textContent }) => textContent)).toEqual(['0195abcd-1', '1', text]);
    expect(elements(seen, 't:ExtendedFieldURI').map((element) => element.getAttribute('PropertyName'))).toEqual([
      'smtp2exchange-id',
      '',
      text,
    ]);
    expect(elements(seen, 't:ItemClass').map(({ textContent }) => textContent)).toEqual([text]);
    expect(elements(seen, 't:ToRecipients')).toEqual([]);
  });

  it.each(UNWRITABLE)('%j goes without being a property', async (text) => {
    const internetHeaders = [
      { name: 'X-One', value: text },
      { name: text, value: '1' },
      { name: 'X-Two', value: '2' },
    ];
    const seen = await sent({ internetHeaders });
    expect(elements(seen, 't:Value').map(({ textContent }) => textContent)).toEqual(['0195abcd-1', '1', '2']);
  });

  it.each(UNWRITABLE)('%j is refused and nothing is sent', async (text) => {
    const before = peer.seen.length;
    expect(await client.ews.send(message(SMALL, { blind: ['good@contoso.test', text] }), signal)).toMatchObject({
      outcome: 'failed',
      code: '5.1.3',
    });
    expect(await client.ews.send(message(SMALL, { mailbox: text }), signal)).toMatchObject({
      outcome: 'delayed',
      code: '4.3.5',
      reach: 'mailbox',
    });
    const search = { mailbox: 'a@b.test', folder: 'outbox', messageId: `<${text}>`, offset: 0 } as const;
    expect(await client.ews.find(search, signal)).toMatchObject({ ok: false, status: { outcome: 'failed' } });
    expect(peer.seen.length).toBe(before);
  });
});

describe('a search', () => {
  const search = { mailbox: 'sender@contoso.test', folder: 'sentitems', messageId: '<1@x.test>', offset: 0 } as const;

  it('asks one folder for a Message-ID and the marks', async () => {
    peer.answer = (_seen, response) => response.end(foundItems(['one', undefined, 'a&amp;b'], { more: true }));
    expect(await client.ews.find({ ...search, offset: 200 }, signal)).toEqual({
      ok: true,
      marks: ['one', undefined, 'a&b'],
      more: true,
    });
    const seen = peer.seen.at(-1);
    const { root, impersonated } = requestOf(seen ?? { headers: {}, body: Buffer.alloc(0) });
    expect(impersonated).toEqual(['sender@contoso.test']);
    expect(only(root, 'DistinguishedFolderId').attributes).toEqual({ Id: 'sentitems' });
    expect(only(root, 'FieldURI').attributes).toEqual({ FieldURI: 'message:InternetMessageId' });
    expect(only(root, 'IndexedPageItemView').attributes).toMatchObject({ Offset: '200' });
    expect(only(root, 'ExtendedFieldURI').attributes).toMatchObject({ PropertyName: 'smtp2exchange-id' });
    expect(Number(seen?.headers['content-length'])).toBe(seen?.body.length);
  });

  it.each(['drafts', 'outbox', 'sentitems'] as const)('knows the folder %s', async (folder) => {
    peer.answer = (_seen, response) => response.end(foundItems([]));
    expect(await client.ews.find({ ...search, folder }, signal)).toEqual({ ok: true, marks: [], more: false });
    const seen = peer.seen.at(-1);
    expect(
      only(requestOf(seen ?? { headers: {}, body: Buffer.alloc(0) }).root, 'DistinguishedFolderId').attributes,
    ).toEqual({
      Id: folder,
    });
  });

  it.each([
    ['a reset', (_seen: Seen, response: { destroy(): void }) => response.destroy()],
    ['504', (_seen: Seen, response: import('node:http').ServerResponse) => response.writeHead(504).end()],
    ['a damaged answer', (_seen: Seen, response: import('node:http').ServerResponse) => response.end('<a')],
    [
      'a timeout inside Exchange',
      (_seen: Seen, response: import('node:http').ServerResponse) =>
        response.end(messageError('ErrorTimeoutExpired', { operation: 'FindItem' })),
    ],
    [
      'a success without its content',
      (_seen: Seen, response: import('node:http').ServerResponse) =>
        response.end(foundItems([]).replace(/<m:RootFolder.*<\/m:RootFolder>/, '')),
    ],
  ])('can be repeated after %s, because it changes nothing', async (_what, answer) => {
    peer.answer = answer;
    expect(await client.ews.find(search, signal)).toMatchObject({ ok: false, status: { outcome: 'delayed' } });
  });

  it('meets the same classes of errors as a send', async () => {
    peer.answer = (_seen, response) => response.end(messageError('ErrorServerBusy', { operation: 'FindItem' }));
    expect(await client.ews.find(search, signal)).toMatchObject({
      ok: false,
      status: { outcome: 'delayed', cause: 'ErrorServerBusy', reach: 'mailbox' },
    });
  });
});

async function make(url: string): Promise<unknown> {
  const http = createHttp();
  try {
    return await createEws({ url, authorizer: bearer({ http, token: fakeToken() }), version: '1' });
  } finally {
    await http.close();
  }
}

describe('the address', () => {
  it.each([
    'http://127.0.0.1:1/EWS',
    'http://127.8.9.1/EWS',
    'http://localhost:80/',
    'http://[::1]:3/',
    'https://mail.contoso.test/EWS',
  ])('%s is taken', async (url) => expect(await make(url)).toBeDefined());

  it.each([
    'http://mail.contoso.test/EWS',
    'http://127.0.0.1.evil.test/',
    'http://10.0.0.1/',
    'http://localhost.evil.test/',
    'ftp://x/',
    'nonsense',
    '',
  ])('%j is refused with a sentence', async (url) => expect(make(url)).rejects.toThrow(/ewsUrl/));
});

describe('the library', () => {
  it('prints nothing wherever the machine stands', () => {
    const script = `
      const { createEws } = await import('./src/exchange/ews.ts');
      const { bearer } = await import('./src/exchange/authorizer.ts');
      const failure = { ok: false, cause: 'X', misconfigured: false, advice: 'none' };
      const token = { get: async () => failure, refuse() {}, state: () => ({}), close: async () => {} };
      const authorizer = bearer({ http: {}, token });
      const ews = await createEws({ url: 'http://127.0.0.1:9/', authorizer, version: '1' });
      const content = { length: 0, async *open() {} };
      const status = await ews.send({ mailbox: 'a@b', spoolId: '1', blind: [], saveCopy: true, content }, new AbortController().signal);
      if (status.cause !== 'X') throw new Error(JSON.stringify(status));
    `;
    for (const TZ of ['Antarctica/Troll', '']) {
      const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
        encoding: 'utf8',
        env: { ...process.env, TZ },
      });
      expect(child).toMatchObject({ status: 0, stdout: '', stderr: '' });
    }
  });
});
