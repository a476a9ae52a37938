/**
 * What goes to Graph as JSON is held to Microsoft's types: each `@ts-expect-error` is one that `npm run check` finds missing
 * as soon as the line below it compiles. The sandbox refuses the same at run time, and what is over a documented limit.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GraphRequest } from '../../src/exchange/graph-call.ts';
import { graphJson } from '../../src/exchange/graph-json.ts';
import { faultIn } from '../../src/sandbox/graph-fields.ts';
import type { GraphSite } from './graph-site.ts';
import { openGraphSite } from './graph-site.ts';
import { SENDER } from './sandbox-site.ts';

const isLate = SENDER.length > 0;
const file = {
  '@odata.type': '#microsoft.graph.fileAttachment',
  name: 'a.pdf',
  contentBytes: 'eA==',
} as const;
const item = { attachmentType: 'file', name: 'a.pdf', size: 3_000_000 } as const;

/** What is wrong with it, by the sandbox. */
const fault = (kind: Parameters<typeof faultIn>[0], json: string): string | undefined =>
  faultIn(kind, JSON.parse(json));

describe('a field that Graph has not', () => {
  it('of a message', () => {
    // @ts-expect-error -- it is `subject`
    expect(fault('message', graphJson('message', { subjct: 'x' }))).toContain("'subjct'");
  });
  it('of a message, brought by a spread', () => {
    // @ts-expect-error -- it is `replyTo`
    const json = graphJson('message', { subject: 'x', ...(isLate ? { replyto: [] } : {}) });
    expect(fault('message', json)).toContain("'replyto'");
  });
  it('of a recipient', () => {
    // @ts-expect-error -- its address stands in `emailAddress`
    const json = graphJson('message', { toRecipients: [{ address: 'a@x.test' }] });
    expect(fault('message', json)).toContain("'address'");
  });
  it('of the body', () => {
    // @ts-expect-error -- it is `contentType`
    const json = graphJson('message', { body: { type: 'html', content: '' } });
    expect(fault('message', json)).toContain("'type'");
  });
  it('of an attachment', () => {
    // @ts-expect-error -- it is `contentBytes`
    expect(fault('attachment', graphJson('attachment', { ...file, bytes: '' }))).toContain("'bytes'");
  });
  it('of an upload session', () => {
    // @ts-expect-error -- it is `AttachmentItem`
    expect(fault('uploadSession', graphJson('uploadSession', { attachmentItem: item }))).toContain('AttachmentItem');
  });
  it('of sendMail', () => {
    // @ts-expect-error -- it is `saveToSentItems`
    const json = graphJson('sendMail', { message: {}, saveToSentItems: true, save: true });
    expect(fault('sendMail', json)).toContain("'save'");
  });
});

describe('a value that Graph has not', () => {
  it('of importance', () => {
    // @ts-expect-error -- low, normal, high
    expect(fault('message', graphJson('message', { importance: 'urgent' }))).toContain('urgent');
  });
  it('of a flag', () => {
    // @ts-expect-error -- a boolean
    expect(fault('message', graphJson('message', { isReadReceiptRequested: 'yes' }))).toContain('boolean');
  });
  it('of a kind of attachment', () => {
    // @ts-expect-error -- file, item, reference
    const json = graphJson('uploadSession', { AttachmentItem: { ...item, attachmentType: 'mail' } });
    expect(fault('uploadSession', json)).toContain('mail');
  });
});

it('no request carries any other text', () => {
  // @ts-expect-error -- made by graphJson() only
  const body: NonNullable<GraphRequest['body']> = '{}';
  expect(body).toBe('{}');
});

describe('the sandbox', () => {
  let site: GraphSite;
  beforeAll(async () => void (site = await openGraphSite(['a@x.test'])));
  afterAll(async () => await site.close());

  it('takes what is right', () => {
    expect(fault('attachment', graphJson('attachment', file))).toBeUndefined();
    expect(fault('uploadSession', graphJson('uploadSession', { AttachmentItem: item }))).toBeUndefined();
    expect(fault('message', graphJson('message', { subject: 'x'.repeat(255) }))).toBeUndefined();
  });

  it.each([
    ['message', { subject: 'x'.repeat(256) }, 'over 255 characters'],
    ['message', { attachments: Array.from({ length: 251 }, () => file) }, 'more than 250 entries'],
    ['message', { internetMessageHeaders: [{ name: 'X-A' }] }, 'value is missing'],
    ['message', { singleValueExtendedProperties: [{ id: 'String 0x1039' }] }, 'value is missing'],
    ['attachment', { ...file, contentBytes: 'no base64' }, 'no base64'],
    ['attachment', { name: 'a.pdf' }, 'contentBytes is missing'],
    ['attachment', { ...file, name: 'x'.repeat(256) }, 'over 255 characters'],
    ['uploadSession', { AttachmentItem: { ...item, size: -1 } }, 'no number of octets'],
    ['uploadSession', { AttachmentItem: { attachmentType: 'file', size: 1 } }, 'name is missing'],
    ['sendMail', { saveToSentItems: true }, 'message is missing'],
  ] as const)('refuses of %s: %j', (kind, value, words) => {
    expect(faultIn(kind, value)).toContain(words);
  });

  it('refuses what is over the limits of a message and of its attachments', async () => {
    const to = (count: number) =>
      Array.from({ length: count }, (_, n) => ({ emailAddress: { address: `p${n}@elsewhere.test` } }));
    const send = async (message: object) =>
      (await site.call('POST', '/sendMail', JSON.stringify({ message: { toRecipients: to(1), ...message } }))).status;
    const headers = (count: number) => Array.from({ length: count }, (_, n) => ({ name: `X-${n}`, value: '1' }));
    expect(await send({ toRecipients: to(500) })).toBe(202);
    expect(await send({ toRecipients: to(499), bccRecipients: [{ emailAddress: { address: 'b@x.test' } }] })).toBe(202);
    expect(await send({ toRecipients: to(500), bccRecipients: [{ emailAddress: { address: 'b@x.test' } }] })).toBe(400);
    expect(await send({ internetMessageHeaders: headers(5) })).toBe(202);
    expect(await send({ internetMessageHeaders: headers(6) })).toBe(400);
  });

  it('takes attachments below 3 MB in one request, and from there on by a session', async () => {
    const { id } = (await site.call('POST', '/messages', '{}')).json as { id: string };
    const attach = async (octets: number) =>
      await site.call(
        'POST',
        `/messages/${id}/attachments`,
        JSON.stringify({ ...file, contentBytes: Buffer.alloc(octets).toString('base64') }),
      );
    const session = async (size: number) =>
      await site.call(
        'POST',
        `/messages/${id}/attachments/createUploadSession`,
        JSON.stringify({ AttachmentItem: { ...item, size } }),
      );
    expect((await attach(2_999_999)).status).toBe(201);
    expect((await attach(3_000_000)).status).toBe(413);
    expect((await session(2_999_999)).status).toBe(400);
    expect((await session(3_000_000)).status).toBe(201);
    expect((await session(150 * 1024 * 1024)).status).toBe(201);
    expect((await session(150 * 1024 * 1024 + 1)).status).toBe(413);
  });
});
