/** The transport as the queue sees it: what reaches Exchange for which envelope, and what an earlier attempt left there. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Ews } from '../../src/exchange/ews.ts';
import { exchangeTransport } from '../../src/exchange/send.ts';
import type { QueueItem } from '../../src/mail/item.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import type { Outgoing, Transport } from '../../src/mail/transport.ts';
import {
  all,
  type Answer,
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
let transport: Transport;
const { signal } = new AbortController();

beforeAll(async () => {
  peer = await startPeer();
  client = await clientOf(peer.url);
  transport = exchangeTransport({ ews: client.ews, saveToSentItems: true });
});
afterAll(async () => {
  await transport.close();
  await client.close();
  await peer.close();
});
beforeEach(() => {
  peer.early = undefined;
  peer.answer = (_seen, response) => response.end(created());
});

interface Options {
  readonly recipients?: readonly string[];
  readonly body?: Buffer;
  /** Octets of a chunk as the spool gives them. */
  readonly chunk?: number;
  readonly change?: Partial<QueueItem>;
}

function outgoing(header: string, options: Options = {}): Outgoing {
  const { recipients = ['to@contoso.test'], body = Buffer.from('Hello.\r\n'), chunk = 1000 } = options;
  const block = Buffer.from(`${header}\r\n`);
  const whole = Buffer.concat([block, body]);
  const item: QueueItem = {
    id: 'item-1',
    message: 'message-1',
    route: 'exchange',
    mailbox: 'sender@contoso.test',
    envelope: { reversePath: 'app@contoso.test', recipients: recipients.map((address) => ({ address })) },
    origin: { source: 'smtp', name: 'lan', peer: '10.0.0.1' },
    messageId: '<1@app.test>',
    headerSize: block.length,
    size: whole.length,
    state: 'sending',
    arrivedAt: 0,
    due: 0,
    attempts: 1,
    doubtful: false,
    ...options.change,
  };
  return {
    item,
    async *open() {
      for (let at = 0; at < whole.length; at += chunk) yield whole.subarray(at, at + chunk);
    },
  };
}

async function arrived(message: Outgoing): Promise<{ header: string; body: Buffer; blind: readonly string[] }> {
  expect(await transport.deliver(message, signal)).toMatchObject({ outcome: 'relayed', code: '2.0.0' });
  const last = peer.seen.at(-1);
  if (!last) throw new Error('nothing arrived');
  const { mime, blind } = requestOf(last);
  const end = mime.indexOf('\r\n\r\n');
  // A header without any field is the empty line alone.
  const split = mime.indexOf('\r\n') === 0 ? 0 : end + 2;
  return { header: mime.subarray(0, split).toString('utf8'), body: mime.subarray(split + 2), blind };
}

describe('the envelope on the wire', () => {
  it.each([
    {
      what: 'as the header says',
      header: 'To: to@contoso.test\r\nCc: cc@contoso.test\r\n',
      recipients: ['to@contoso.test', 'cc@contoso.test'],
      mime: 'To: to@contoso.test\r\nCc: cc@contoso.test\r\n',
      blind: [],
    },
    {
      what: 'with a blind recipient of a client that writes Bcc',
      header: 'To: to@contoso.test\r\nBcc: secret@contoso.test\r\n',
      recipients: ['to@contoso.test', 'secret@contoso.test'],
      mime: 'To: to@contoso.test\r\n',
      blind: ['secret@contoso.test'],
    },
    {
      what: 'with fewer recipients than the header',
      header: 'To: to@contoso.test, other@contoso.test\r\nSubject: x\r\n',
      recipients: ['to@contoso.test'],
      mime: 'To: to@contoso.test\r\nX-Original-To: to@contoso.test, other@contoso.test\r\nSubject: x\r\n',
      blind: [],
    },
    {
      what: 'with nobody of the header',
      header: 'To: list@contoso.test\r\n',
      recipients: ['member@contoso.test'],
      mime: 'X-Original-To: list@contoso.test\r\n',
      blind: ['member@contoso.test'],
    },
    {
      what: 'without any recipient field',
      header: 'Subject: x\r\n',
      recipients: ['to@contoso.test', 'TO@contoso.test'],
      mime: 'Subject: x\r\n',
      blind: ['to@contoso.test'],
    },
    {
      what: 'without any field at all',
      header: '',
      recipients: ['to@contoso.test'],
      mime: '',
      blind: ['to@contoso.test'],
    },
  ])('$what', async ({ header, recipients, mime, blind }) => {
    const seen = await arrived(outgoing(header, { recipients }));
    expect(seen.header).toBe(mime);
    expect(seen.blind).toEqual(blind);
    expect(seen.body.toString()).toBe('Hello.\r\n');
  });

  it('leaves the body alone, whatever it holds and however the spool cuts it', async () => {
    const body = Buffer.concat([
      Buffer.from(
        '--b\r\nContent-Type: message/rfc822\r\n\r\nTo: nobody@contoso.test\r\nBcc: inner@contoso.test\r\n\r\nx',
      ),
      Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * 31) % 256)),
    ]);
    const header = 'Subject: x\r\nBcc: gone@contoso.test\r\nTo: to@contoso.test\r\n';
    for (const chunk of [1, 2, 7, 50, 64, 4096, 100_000]) {
      const seen = await arrived(outgoing(header, { body, chunk }));
      expect(seen.header).toBe('Subject: x\r\nTo: to@contoso.test\r\n');
      expect(seen.body.equals(body)).toBe(true);
    }
  });

  it('takes a message that ends with its header', async () => {
    const whole = Buffer.from('To: to@contoso.test\r\nSubject: x');
    const message = outgoing('', { change: { headerSize: whole.length, size: whole.length } });
    const open = async function* (): AsyncGenerator<Uint8Array> {
      yield whole;
    };
    expect(await transport.deliver({ item: message.item, open }, signal)).toMatchObject({ outcome: 'relayed' });
    const last = peer.seen.at(-1);
    expect(last && requestOf(last).mime.toString()).toBe('To: to@contoso.test\r\nSubject: x\r\n\r\n');
  });

  it('sends as the mailbox of the item, marked with the id of the item', async () => {
    await arrived(outgoing('To: to@contoso.test\r\n'));
    const last = peer.seen.at(-1);
    if (!last) throw new Error('nothing arrived');
    expect(requestOf(last).impersonated).toEqual(['sender@contoso.test']);
    expect(all(requestOf(last).root, 'Value')[0]?.text).toBe('item-1');
  });
});

describe('what is said beside the MIME', () => {
  const HEADER =
    'To: to@contoso.test\r\nImportance: high\r\nX-Priority: 5\r\nDisposition-Notification-To: app@contoso.test\r\n' +
    'Return-Receipt-To: app@contoso.test\r\nX-Fax-Id: =?utf-8?Q?4=C3=A4?=\r\nX-Job: 9\r\nX-SMTP2Exchange-Hop: gw.test\r\n' +
    'Content-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n';
  const carried = (seen: Seen): (string | undefined)[][] =>
    all(requestOf(seen).root, 'ExtendedProperty')
      .map((property) => [
        all(property, 'ExtendedFieldURI')[0]?.attributes['PropertyName'],
        all(property, 'Value')[0]?.text,
      ])
      .filter(([name]) => name?.startsWith('X-') === true);

  it('comes from the header block, which stays as it is', async () => {
    const carrying = exchangeTransport({
      ews: client.ews,
      saveToSentItems: true,
      carryHeaders: ['X-Fax-ID', 'X-None'],
    });
    expect(await carrying.deliver(outgoing(HEADER), signal)).toMatchObject({ outcome: 'relayed' });
    const last = peer.seen.at(-1);
    if (!last) throw new Error('nothing arrived');
    const { root, mime } = requestOf(last);
    expect(mime.toString()).toBe(`${HEADER}\r\nHello.\r\n`);
    const text = (name: string): string[] => all(root, name).map((element) => element.text);
    expect(text('Importance')).toEqual(['High']);
    expect(text('IsReadReceiptRequested')).toEqual(['true']);
    expect(text('IsDeliveryReceiptRequested')).toEqual(['true']);
    expect(text('ItemClass')).toEqual(['REPORT.IPM.Note.IPNRN']);
    expect(carried(last)).toEqual([
      ['X-SMTP2Exchange-Hop', 'gw.test'],
      ['X-Fax-ID', '4ä'],
    ]);
  });

  it('is nothing for a message that says nothing', async () => {
    await arrived(outgoing('To: to@contoso.test\r\nX-Job: 9\r\n'));
    const last = peer.seen.at(-1);
    if (!last) throw new Error('nothing arrived');
    const { root } = requestOf(last);
    expect(all(root, 'Message')[0]?.children.map(({ name }) => name)).toEqual([
      'MimeContent',
      'ExtendedProperty',
      'ExtendedProperty',
    ]);
  });

  it.each(['ErrorItemSave', 'ErrorItemSavePropertyError', 'ErrorPropertyValidationFailure', 'ErrorInvalidPropertySet'])(
    'goes without X- fields in a second try after %s, and the operator is told',
    async (code) => {
      const before = peer.seen.length;
      peer.answer = (seen, response) => response.end(carried(seen).length > 0 ? messageError(code) : created());
      const status = await transport.deliver(outgoing(HEADER), signal);
      expect(status).toMatchObject({ outcome: 'relayed', code: '2.0.0' });
      expect(status.reason).toContain(code);
      const [first, second, ...others] = peer.seen.slice(before);
      expect(others).toEqual([]);
      expect(first && second && requestOf(first).mime.equals(requestOf(second).mime)).toBe(true);
      expect(second && all(requestOf(second).root, 'Importance').length).toBe(1);
      expect(second && all(requestOf(second).root, 'Value').map(({ text }) => text)).toEqual(['item-1', '1']);
    },
  );

  it('and fails if that is not it', async () => {
    const before = peer.seen.length;
    peer.answer = (_seen, response) => response.end(messageError('ErrorItemSave'));
    expect(await transport.deliver(outgoing(HEADER), signal)).toMatchObject({
      outcome: 'failed',
      cause: 'ErrorItemSave',
    });
    expect(peer.seen.length - before).toBe(2);
    // Nothing to leave out, so nothing to try.
    const plain = outgoing('To: to@contoso.test\r\n');
    expect(await transport.deliver(plain, signal)).toMatchObject({ outcome: 'failed', cause: 'ErrorItemSave' });
    expect(peer.seen.length - before).toBe(3);
  });

  it.each([
    ['ErrorMimeContentInvalid', 'failed'],
    ['ErrorSendAsDenied', 'failed'],
    ['ErrorTimeoutExpired', 'unknown'],
    ['ErrorServerBusy', 'delayed'],
  ])('no second try after %s', async (code, outcome) => {
    const before = peer.seen.length;
    peer.answer = (_seen, response) => response.end(messageError(code));
    expect(await transport.deliver(outgoing(HEADER), signal)).toMatchObject({ outcome, cause: code });
    expect(peer.seen.length - before).toBe(1);
  });

  it('an unclear end of the second try stays unclear', async () => {
    peer.answer = (seen, response) =>
      carried(seen).length > 0 ? response.end(messageError('ErrorItemSave')) : response.destroy();
    expect(await transport.deliver(outgoing(HEADER), signal)).toMatchObject({ outcome: 'unknown' });
  });

  it('no second try once it is given up', async () => {
    const given = new AbortController();
    peer.answer = (_seen, response) => response.end(messageError('ErrorItemSave'));
    const ews: Ews = {
      find: (search, asked) => client.ews.find(search, asked),
      drafts: client.ews.drafts,
      send: async (message, asked) => {
        const status = await client.ews.send(message, asked);
        given.abort();
        return status;
      },
    };
    const before = peer.seen.length;
    const status = await exchangeTransport({ ews, saveToSentItems: true }).deliver(outgoing(HEADER), given.signal);
    expect(status).toMatchObject({ outcome: 'delayed', reach: 'message' });
    expect(peer.seen.length - before).toBe(1);
  });
});

describe('what is not sent', () => {
  it.each([
    ['full', 'delayed'],
    ['io', 'delayed'],
    ['closed', 'delayed'],
  ] as const)('when the spool says %s', async (trouble, outcome) => {
    const before = peer.seen.length;
    const { item } = outgoing('To: to@contoso.test\r\n', { body: Buffer.alloc(100_000) });
    const atOnce: Outgoing = {
      item,
      open: () => {
        throw new SpoolError(trouble, 'no more');
      },
    };
    const later: Outgoing = {
      item,
      async *open() {
        yield Buffer.from('To: to@contoso.test\r\n\r\n');
        yield Buffer.alloc(50_000);
        throw new SpoolError(trouble, 'no more');
      },
    };
    for (const message of [atOnce, later]) {
      expect(await transport.deliver(message, signal)).toMatchObject({
        outcome,
        reach: 'message',
        cause: `spool ${trouble}`,
      });
    }
    expect(peer.seen.length).toBe(before);
  });

  it.each([
    ['shorter than its entry says', 1],
    ['longer than its entry says', -1],
  ])('when the stored body is %s', async (_what, by) => {
    const before = peer.seen.length;
    const message = outgoing('To: to@contoso.test\r\n');
    const changed = { ...message, item: { ...message.item, size: message.item.size + by } };
    expect(await transport.deliver(changed, signal)).toMatchObject({
      outcome: 'delayed',
      capped: true,
      reach: 'message',
    });
    expect(peer.seen.length).toBe(before);
  });

  it('when the body ends within its header block', async () => {
    const message = outgoing('To: to@contoso.test\r\n', { change: { headerSize: 500, size: 900 } });
    expect(await transport.deliver(message, signal)).toMatchObject({ outcome: 'delayed', capped: true });
  });

  it('when the header block is larger than will be held', async () => {
    const small = exchangeTransport({ ews: client.ews, saveToSentItems: true, maxHeaderSize: 100 });
    const message = outgoing(`To: to@contoso.test\r\nX: ${'x'.repeat(100)}\r\n`);
    expect(await small.deliver(message, signal)).toMatchObject({ outcome: 'failed', code: '5.3.4' });
  });

  it('when it was given up before it began', async () => {
    const message = outgoing('To: to@contoso.test\r\n');
    const untouched: Outgoing = {
      item: message.item,
      open: () => {
        throw new Error('opened');
      },
    };
    expect(await transport.deliver(untouched, AbortSignal.abort())).toMatchObject({
      outcome: 'delayed',
      reach: 'message',
    });
  });

  it('and a bug of the reader is thrown', async () => {
    const broken: Outgoing = {
      ...outgoing('To: to@contoso.test\r\n'),
      open: () => {
        throw new TypeError('a bug');
      },
    };
    await expect(transport.deliver(broken, signal)).rejects.toThrow('a bug');
  });
});

describe('a second try with a fresh token', () => {
  it('opens the message again from its start', async () => {
    const other = await clientOf(peer.url, { token: fakeToken('stale', 'fresh') });
    peer.answer = (seen, response) =>
      seen.headers.authorization === 'Bearer fresh' ? response.end(created()) : response.writeHead(401).end();
    const message = outgoing('To: to@contoso.test\r\n', { body: Buffer.alloc(300_000, 'x') });
    expect(await exchangeTransport({ ews: other.ews, saveToSentItems: true }).deliver(message, signal)).toMatchObject({
      outcome: 'relayed',
    });
    const [first, second] = peer.seen.slice(-2);
    expect(first && second && requestOf(first).mime.equals(requestOf(second).mime)).toBe(true);
    await other.close();
  });
});

/** Marks found by folder; the order of the questions is kept. */
function folders(marks: Partial<Record<'drafts' | 'outbox' | 'sentitems', (string | undefined)[]>>): {
  answer: Answer;
  asked: string[];
} {
  const asked: string[] = [];
  return {
    asked,
    answer: (seen, response) => {
      const { root } = requestOf(seen);
      const folder = all(root, 'DistinguishedFolderId')[0]?.attributes['Id'] as 'drafts' | 'outbox' | 'sentitems';
      asked.push(folder);
      expect(all(root, 'Constant')[0]?.attributes['Value']).toBe('<1@app.test>');
      response.end(foundItems(marks[folder] ?? []));
    },
  };
}
describe('after an unclear outcome', () => {
  const message = outgoing('To: to@contoso.test\r\n');

  it.each([
    {
      what: 'in Sent Items: it was sent',
      marks: { sentitems: ['item-1'] },
      found: { outcome: 'relayed', code: '2.0.0' },
    },
    {
      what: 'in Sent Items beside a draft of an earlier refusal: it was sent',
      marks: { drafts: ['item-1'], sentitems: ['item-0', undefined, 'item-1'] },
      found: { outcome: 'relayed' },
    },
    { what: 'nowhere: it may be sent again', marks: {}, found: { outcome: 'absent' } },
    {
      what: 'only a twin with the same Message-ID, of another transaction',
      marks: { sentitems: ['item-2', 'item-3'] },
      found: { outcome: 'absent' },
    },
    {
      what: 'in Outbox: taken and not sent yet, looked for again later',
      marks: { outbox: ['item-1'] },
      found: { outcome: 'delayed', reach: 'message', cause: 'found in Outbox', retryAfter: 300_000 },
    },
    {
      what: 'in Drafts likewise',
      marks: { drafts: ['item-1'] },
      found: { outcome: 'delayed', cause: 'found in Drafts' },
    },
    {
      what: 'a copy without any mark decides nothing',
      marks: { sentitems: [undefined] },
      found: { outcome: 'unknowable' },
    },
  ])('$what', async ({ marks, found }) => {
    const { answer, asked } = folders(marks);
    peer.answer = answer;
    expect(await transport.verify(message, signal)).toMatchObject(found);
    // In the order a message moves, so that it cannot slip by.
    expect(asked).toEqual(['drafts', 'outbox', 'sentitems']);
  });

  it('follows the pages', async () => {
    const asked: (string | undefined)[] = [];
    peer.answer = (seen, response) => {
      const { root } = requestOf(seen);
      const offset = all(root, 'IndexedPageItemView')[0]?.attributes['Offset'];
      if (all(root, 'DistinguishedFolderId')[0]?.attributes['Id'] !== 'sentitems') return response.end(foundItems([]));
      asked.push(offset);
      const isFirst = offset === '0';
      return response.end(
        foundItems(isFirst ? Array.from({ length: 100 }, () => 'item-9') : ['item-1'], { more: isFirst }),
      );
    };
    expect(await transport.verify(message, signal)).toMatchObject({ outcome: 'relayed' });
    expect(asked).toEqual(['0', '100']);
  });

  it('is not led in circles by a server that always promises more', async () => {
    peer.answer = (_seen, response) => response.end(foundItems([], { more: true }));
    expect(await transport.verify(message, signal)).toEqual({ outcome: 'absent' });
    peer.answer = (_seen, response) => response.end(foundItems(['item-9'], { more: true }));
    const before = peer.seen.length;
    expect(await transport.verify(message, signal)).toMatchObject({ outcome: 'unknowable' });
    expect(peer.seen.length - before).toBeLessThan(100);
  });

  it('looks again later when Exchange cannot be asked now', async () => {
    peer.answer = (_seen, response) => response.writeHead(503, { 'retry-after': '9' }).end();
    expect(await transport.verify(message, signal)).toMatchObject({ outcome: 'delayed', retryAfter: 9_000 });
    peer.answer = (_seen, response) => response.destroy();
    expect(await transport.verify(message, signal)).toMatchObject({ outcome: 'delayed' });
    expect(await transport.verify(message, AbortSignal.abort())).toMatchObject({ outcome: 'delayed' });
  });

  it('looks again later, a number of times, when Exchange refuses the question for good', async () => {
    peer.answer = (_seen, response) => response.end(messageError('ErrorCorruptData', { operation: 'FindItem' }));
    const found = { outcome: 'delayed', reach: 'message', code: '4.4.7', capped: true, cause: 'ErrorCorruptData' };
    expect(await transport.verify(message, signal)).toMatchObject(found);
  });

  it('cannot know without a copy, and does not ask', async () => {
    const before = peer.seen.length;
    const sendOnly = exchangeTransport({ ews: client.ews, saveToSentItems: false });
    expect(await sendOnly.verify(message, signal)).toMatchObject({ outcome: 'unknowable' });
    expect(await sendOnly.deliver(message, signal)).toMatchObject({ outcome: 'relayed' });
    expect(peer.seen.length).toBe(before + 1);
  });
});
