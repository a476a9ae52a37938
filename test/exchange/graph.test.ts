/** The transport of Graph against the sandbox's Graph: envelopes, both paths, breaks, lost answers, refusals. */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { simpleParser } from 'mailparser';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { GRAPH_CODES, GRAPH_STATUSES, meaningOfGraph } from '../../src/exchange/graph-codes.ts';
import { splitHeader } from '../../src/mail/header.ts';
import type { Outgoing } from '../../src/mail/transport.ts';
import type { GraphSite } from './graph-site.ts';
import { openGraphSite } from './graph-site.ts';
import { bodyAt, outgoing, SENDER } from './sandbox-site.ts';

const A = 'a@x.test';
const B = 'b@x.test';
const { signal } = new AbortController();
let site: GraphSite;
beforeAll(async () => void (site = await openGraphSite([A, B])));
afterAll(async () => await site.close());
beforeEach(() => site.sandbox.clearFaults());

const sha256 = (octets: Buffer): string => createHash('sha256').update(octets).digest('hex');
const last = () => site.sandbox.arrived().at(-1);
const inbox = (address: string) => site.sandbox.mailbox(address).inbox;
const again = (message: Outgoing, change: Partial<Outgoing['item']> = {}): Outgoing => ({
  ...message,
  item: { ...message.item, attempts: 2, ...change },
});

/** In lines of 76 characters. */
function base64Lines(octets: Buffer): string {
  return octets.toString('base64').replace(/.{76}/g, '$&\r\n');
}

function large(size: number, more = ''): { readonly message: Buffer; readonly scan: Buffer } {
  const scan = randomBytes(size);
  const message = Buffer.from(
    `From: ${SENDER}\r\nTo: "Anna, A." <${A}>\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nReply-To: r@x.test\r\n` +
      `Importance: high\r\nDisposition-Notification-To: ${SENDER}\r\nX-Tag: t1\r\nX-Other: o1\r\nReferences: <r@x.test>\r\n${more}` +
      'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n' +
      '--m\r\nContent-Type: multipart/related; boundary=r\r\n\r\n' +
      '--r\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\nplain\r\n' +
      '--a\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>Grüße<img src="cid:pic@x"></p>\r\n--a--\r\n' +
      '--r\r\nContent-Type: image/png; name=p.png\r\nContent-ID: <pic@x>\r\nContent-Disposition: inline\r\n' +
      'Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--r--\r\n' +
      '--m\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nBcc: hidden@x.test\r\n\r\ninner text\r\n' +
      `--m\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename="scan.pdf"\r\n` +
      `Content-Transfer-Encoding: base64\r\n\r\n${base64Lines(scan)}\r\n--m--\r\n`,
  );
  return { message, scan };
}

describe('what each answer means', () => {
  it.each(GRAPH_CODES.flatMap(([codes, meaning]) => codes.map((code) => [code, meaning] as const)))(
    'code %s',
    (code, meaning) => {
      expect(meaningOfGraph(400, code)).toBe(meaning);
      expect(meaningOfGraph(403, code)).toBe(meaning);
      expect(meaningOfGraph(504, code).outcome).toBe('unknown');
    },
  );

  it.each(GRAPH_STATUSES.flatMap(([statuses, meaning]) => statuses.map((status) => [status, meaning] as const)))(
    'status %s without a code',
    (status, meaning) => expect(meaningOfGraph(status, undefined)).toBe(meaning),
  );

  it.each([
    ['ErrorSendAsDenied', 403, 'failed', '5.7.1'],
    ['ErrorInvalidRecipients', 400, 'failed', '5.1.3'],
    ['ErrorMimeContentInvalid', 400, 'failed', '5.6.0'],
    ['ErrorMessageSizeExceeded', 413, 'failed', '5.3.4'],
    ['ErrorQuotaExceeded', 403, 'delayed', '4.2.2'],
    ['ErrorExceededMessageLimit', 429, 'delayed', '4.7.1'],
    // Advice of EWS would be wrong here: the status decides.
    ['ErrorImpersonateUserDenied', 403, 'delayed', '4.3.5'],
    ['SomethingNew', 403, 'delayed', '4.3.5'],
    ['SomethingNew', 418, 'delayed', '4.3.0'],
    [undefined, 200, 'unknown', '4.4.2'],
  ] as const)('%s with %s', (code, status, outcome, enhanced) => {
    expect(meaningOfGraph(status, code)).toMatchObject({ outcome, code: enhanced });
    expect(JSON.stringify(meaningOfGraph(status, code))).not.toContain('full_access_as_app,');
  });
});

describe('as MIME', () => {
  it.each([
    { header: `To: ${A}\r\nCc: ${B}\r\n`, envelope: [A, B], to: [A], cc: [B], bcc: [] },
    { header: `To: ${A}\r\nBcc: ${B}\r\n`, envelope: [A, B], to: [A], cc: [], bcc: [B] },
    { header: `To: ${A}, ${B}\r\n`, envelope: [B], to: [B], cc: [], bcc: [] },
    { header: 'To: undisclosed-recipients:;\r\n', envelope: [A, B], to: [], cc: [], bcc: [A, B] },
    { header: '', envelope: ['"quoted,local"@x.test', '+39055@fax.test'], to: [], cc: [], bcc: ['"quoted,local"@x.test', '+39055@fax.test'] },
  ])('envelope $envelope, header $header', async ({ header, envelope, to, cc, bcc }) => {
    const body = 'Hello\r\n--x\r\nBcc: in the body\r\n';
    const message = outgoing(Buffer.from(`${header}X-SMTP2Exchange-Id: other\r\n\r\n${body}`), envelope, 7);
    const before = [A, B].map((one) => inbox(one).length);
    expect(await site.transport.deliver(message, signal)).toMatchObject({ outcome: 'relayed' });
    expect(last()).toMatchObject({ to, cc, bcc });
    [A, B].forEach((one, index) => {
      expect(inbox(one).length - (before[index] ?? 0)).toBe(envelope.includes(one) ? 1 : 0);
    });
    const { submitted } = last() ?? { submitted: Buffer.alloc(0) };
    expect(submitted.subarray(bodyAt(submitted)).toString()).toBe(body);
    const marks = splitHeader(submitted).filter(({ name }) => name === 'x-smtp2exchange-id');
    expect(marks.map(({ raw }) => raw.toString())).toEqual([`X-SMTP2Exchange-Id: ${message.item.id}\r\n`]);
    for (const address of envelope.filter((one) => [A, B].includes(one)))
      expect(splitHeader(inbox(address).at(-1)?.mime ?? Buffer.alloc(0)).map(({ name }) => name)).not.toContain('bcc');
  }); // prettier-ignore

  it.each(['smime-signed', 'smime-opaque', 'smime-encrypted', 'pgp-signed', 'pgp-encrypted'])(
    '%s stays what it is, with and without a copy',
    async (kind) => {
      const message = readFileSync(new URL(`sealed/${kind}.eml`, import.meta.url));
      for (const transport of [site.transport, site.also({ saveToSentItems: false })]) {
        expect(await transport.deliver(outgoing(message, [A], 77), signal)).toMatchObject({ outcome: 'relayed' });
        const copy = inbox(A).at(-1)?.mime ?? Buffer.alloc(0);
        expect(sha256(copy.subarray(bodyAt(copy)))).toBe(sha256(message.subarray(bodyAt(message))));
      }
    },
  );

  it('a sealed message over the limit fails with a clear sentence', async () => {
    const message = Buffer.from(`To: ${A}\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n${'x'.repeat(5000)}`);
    const status = await site.also({ maxRequest: 4000 }).deliver(outgoing(message, [A]), signal);
    expect(status).toMatchObject({ outcome: 'failed', code: '5.3.4' });
    expect(status.text).toContain('signed or encrypted');
  });

  it.each([
    [{ responseCode: 'ApplicationThrottled', retryAfter: 7 }, { outcome: 'delayed', reach: 'mailbox', throttled: true, retryAfter: 7000 }],
    [{ status: 503, retryAfter: 3 }, { outcome: 'delayed', reach: 'transport', retryAfter: 3000 }],
    [{ responseCode: 'ErrorAccessDenied' }, { outcome: 'delayed', code: '4.3.5', reach: 'mailbox' }],
    [{ responseCode: 'ErrorSendAsDenied' }, { outcome: 'failed', code: '5.7.1' }],
    [{ expiredToken: true }, { outcome: 'delayed', code: '4.3.5', reach: 'transport' }],
    [{ status: 200 }, { outcome: 'unknown' }],
    [{ status: 504 }, { outcome: 'unknown' }],
    [{ cut: 'beforeActing' }, { outcome: 'unknown' }],
  ] as const)('answered with %j', async (does, expected) => {
    site.sandbox.fault({ when: { operation: 'sendMail' }, does });
    expect(await site.transport.deliver(outgoing(Buffer.from(`To: ${A}\r\n\r\nx`), [A]), signal)).toMatchObject(expected);
  }); // prettier-ignore

  it('a token refused once is replaced once', async () => {
    const own = await openGraphSite([A]);
    own.sandbox.fault({ when: { operation: 'sendMail', count: 1 }, does: { expiredToken: true } });
    const message = outgoing(Buffer.from(`To: ${A}\r\n\r\nx`), [A]);
    expect(await own.transport.deliver(message, signal)).toMatchObject({ outcome: 'relayed' });
    expect(own.sandbox.identity.requests.token).toBe(2);
    await own.close();
  });

  it('a lost answer: found in Sent Items, by mark where Message-IDs repeat', async () => {
    site.sandbox.fault({ when: { operation: 'sendMail', count: 1 }, does: { cut: 'afterActing' } });
    const first = outgoing(Buffer.from(`To: ${A}\r\nMessage-ID: <same'@x.test>\r\n\r\nx`), [A]);
    const one = again(first, { messageId: "<same'@x.test>", doubtful: true });
    const other = again(one, { id: 'another' });
    expect(await site.transport.deliver(one, signal)).toMatchObject({ outcome: 'unknown' });
    expect(await site.transport.verify(one, signal)).toMatchObject({ outcome: 'relayed' });
    expect(await site.transport.verify(other, signal)).toMatchObject({ outcome: 'absent' });
  });

  it('without the right to look, nothing can be known and nothing is held', async () => {
    site.sandbox.fault({ when: { operation: 'findMessages' }, does: { responseCode: 'ErrorAccessDenied' } });
    const found = await site.transport.verify(outgoing(Buffer.from(`To: ${A}\r\n\r\nx`), [A]), signal);
    expect(found).toMatchObject({ outcome: 'unknowable' });
    expect(JSON.stringify(found)).toContain('Mail.ReadWrite');
    expect(JSON.stringify(found)).toContain(`Test-ApplicationAccessPolicy -AppId <client id> -Identity ${SENDER}`);
  });

  it('a search that is refused for good is no leave to send again', async () => {
    site.sandbox.fault({ when: { operation: 'findMessages' }, does: { responseCode: 'ErrorSendAsDenied' } });
    const found = await site.transport.verify(outgoing(Buffer.from(`To: ${A}\r\n\r\nx`), [A]), signal);
    expect(found).toMatchObject({ outcome: 'delayed', capped: true, code: '4.4.7' });
  });

  it('X-Precious is for the gateway only', async () => {
    await site.transport.deliver(outgoing(Buffer.from(`To: ${A}\r\nX-Precious: yes\r\n\r\nx`), [A]), signal);
    expect(last()?.submitted.toString()).not.toContain('X-Precious');
  });
});

describe('as JSON, without a copy', () => {
  it('arrives with its parts, and nothing stays in Sent Items', async () => {
    const { message, scan } = large(10_000, 'X-SMTP2Exchange-Id: other\r\n');
    const before = site.sandbox.mailbox(SENDER).sentitems.length;
    const transport = site.also({ saveToSentItems: false });
    const sent = outgoing(message, [A, B], 333);
    expect(await transport.deliver(sent, signal)).toMatchObject({ outcome: 'relayed' });
    expect(site.sandbox.mailbox(SENDER).sentitems.length).toBe(before);
    expect(last()).toMatchObject({ to: [A], bcc: [B], subject: 'Grüße', elements: { Importance: 'high' } });
    const copy = inbox(B).at(-1)?.mime ?? Buffer.alloc(0);
    await holds(copy, scan);
    // The mark is a property here, which no reader sees.
    expect(splitHeader(copy).map(({ name }) => name)).not.toContain('x-smtp2exchange-id');
    expect(await transport.verify(sent, signal)).toMatchObject({ outcome: 'unknowable' });
  });
});

async function holds(mime: Buffer, scan: Buffer): Promise<void> {
  const mail = await simpleParser(mime, { keepCidLinks: true });
  expect(mail.html).toContain('<p>Grüße<img src="cid:pic@x"></p>');
  expect(mail.replyTo?.value[0]?.address).toBe('r@x.test');
  expect(mail.headers.get('x-tag')).toBe('t1');
  expect(mail.headers.get('x-other')).toBe('o1');
  const [picture, inner, file] = mail.attachments;
  expect(picture).toMatchObject({ cid: 'pic@x', filename: 'p.png', contentDisposition: 'inline' });
  expect(inner?.filename).toBe('attachment-2.eml');
  expect(inner?.content.toString()).toContain('inner text');
  expect(file).toMatchObject({ filename: 'scan.pdf', contentType: 'application/pdf', size: scan.length });
  expect(sha256(file?.content ?? Buffer.alloc(0))).toBe(sha256(scan));
}

describe('by a draft', () => {
  const drafts = () => site.sandbox.mailbox(SENDER).drafts.length;

  it('60 MB with the connection broken three times arrive identical', async () => {
    const { message, scan } = large(60_000_000);
    for (const [operation, after, does] of [
      ['uploadSlice', 2, { cut: 'inUpload' }],
      ['uploadSlice', 5, { cut: 'beforeActing' }],
      ['uploadSlice', 9, { cut: 'afterActing' }],
      ['uploadState', 1, { status: 503 }],
    ] as const)
      site.sandbox.fault({ when: { operation, after, count: 1 }, does });
    const status = await site.transport.deliver(outgoing(message, [A, B], 262_144), signal);
    expect(status).toMatchObject({ outcome: 'relayed' });
    expect(await site.hits()).toEqual([1, 1, 1, 1]);
    expect(last()).toMatchObject({
      to: [A],
      bcc: [B],
      elements: { Importance: 'high', IsReadReceiptRequested: 'true' },
    });
    await holds(inbox(A).at(-1)?.mime ?? Buffer.alloc(0), scan);
    expect(drafts()).toBe(0);
  }, 60_000);

  it('the last slice answered by nobody: the attachment is looked for', async () => {
    const { message, scan } = large(3_100_000);
    // Slices of 2.5 MiB: the second is the last.
    site.sandbox.fault({ when: { operation: 'uploadSlice', after: 1, count: 1 }, does: { cut: 'afterActing' } });
    expect(await site.transport.deliver(outgoing(message, [A], 262_144), signal)).toMatchObject({ outcome: 'relayed' });
    await holds(inbox(A).at(-1)?.mime ?? Buffer.alloc(0), scan);
  });

  const { message } = large(3_100_000);

  it('a lost answer to send is cleared up by the draft at once', async () => {
    const before = inbox(A).length;
    site.sandbox.fault({ when: { operation: 'send', count: 1 }, does: { cut: 'afterActing' } });
    expect(await site.transport.deliver(outgoing(message, [A], 262_144), signal)).toMatchObject({
      outcome: 'relayed',
      cause: 'sent draft found',
    });
    expect(inbox(A).length).toBe(before + 1);
  });

  it('a send that was never done is done by the next attempt, with the same draft', async () => {
    const before = inbox(A).length;
    const sent = outgoing(message, [A], 262_144);
    const item = { ...sent, item: { ...sent.item, messageId: '<draft@x.test>' } };
    site.sandbox.fault({ when: { operation: 'send', count: 1 }, does: { cut: 'beforeActing' } });
    expect(await site.transport.deliver(item, signal)).toMatchObject({ outcome: 'unknown' });
    expect(drafts()).toBe(1);
    expect(await site.transport.verify(again(item), signal)).toMatchObject({ outcome: 'absent' });
    site.sandbox.fault({ when: { operation: 'createMessage' }, does: { status: 500 } });
    expect(await site.transport.deliver(again(item), signal)).toMatchObject({ outcome: 'relayed' });
    expect([inbox(A).length, drafts()]).toEqual([before + 1, 0]);
    expect(await site.transport.verify(again(item), signal)).toMatchObject({ outcome: 'relayed' });
  });

  it.each([
    ['createMessage', { responseCode: 'ErrorAccessDenied' }, { outcome: 'delayed', code: '4.3.5', reach: 'message' }],
    ['createUploadSession', { responseCode: 'ApplicationThrottled', retryAfter: 5 }, { outcome: 'delayed', retryAfter: 5000 }],
    ['uploadSlice', { status: 429, retryAfter: 60 }, { outcome: 'delayed', throttled: true, retryAfter: 60_000 }],
    ['send', { responseCode: 'ErrorSendAsDenied' }, { outcome: 'failed', code: '5.7.1' }],
  ] as const)('trouble at %s leaves no draft and sends nothing', async (operation, does, expected) => {
    const before = site.sandbox.arrived().length;
    site.sandbox.fault({ when: { operation }, does });
    expect(await site.transport.deliver(outgoing(message, [A], 262_144), signal)).toMatchObject(expected);
    expect([site.sandbox.arrived().length, drafts()]).toEqual([before, 0]);
  }); // prettier-ignore

  it('text over the limit fails with a clear sentence, without a draft', async () => {
    const text = Buffer.from(`To: ${A}\r\n\r\n${'x'.repeat(998)}\r\n`.padEnd(5_000_000, 'word '));
    const status = await site.transport.deliver(outgoing(text, [A], 262_144), signal);
    expect(status).toMatchObject({ outcome: 'failed', code: '5.3.4' });
    expect(drafts()).toBe(0);
  });
});

describe("the sandbox's Graph", () => {
  it.each([
    ['POST', '/messages', '{"subjct":"x"}', 400, 'RequestBodyRead'],
    ['POST', '/messages', '{"toRecipients":[{"address":"x"}]}', 400, 'RequestBodyRead'],
    ['POST', '/messages', '{"internetMessageHeaders":[{"name":"List-Id","value":"x"}]}', 400, 'RequestBodyRead'],
    ['POST', '/sendMail', '{"message":{},"save":true}', 400, 'RequestBodyRead'],
    ['POST', '/sendMail', '{"message":{}}', 400, 'ErrorMissingRecipients'],
    ['GET', '/messages?$orderby=x', undefined, 400, 'BadRequest'],
    ['GET', '/messages?$filter=subject%20eq%20%27x%27', undefined, 400, 'ErrorInvalidUrlQueryFilter'],
    ['GET', '/messages/nothing', undefined, 404, 'ErrorItemNotFound'],
    ['GET', '/calendar', undefined, 404, 'ResourceNotFound'],
    ['POST', '/messages', 'x'.repeat(4_200_000), 413, 'RequestEntityTooLarge'],
  ])('%s %s', async (method, path, body, status, code) => {
    const answer = await site.call(method, path, body);
    expect([answer.status, (answer.json['error'] as { code: string }).code]).toEqual([status, code]);
  });

  it('changes an id when a message is sent, unless it was asked for one that stays', async () => {
    const mime = Buffer.from(`To: ${A}\r\nX-Own: 7\r\nMessage-ID: <ids@x.test>\r\n\r\nx`).toString('base64');
    const find =
      "/messages?$filter=singleValueExtendedProperties/Any(ep: ep/id eq 'String {00020386-0000-0000-C000-000000000046} Name X-Own' and ep/value eq '7')";
    for (const [headers, status] of [
      [{}, 404],
      [{ prefer: 'IdType="ImmutableId"' }, 200],
    ] as const) {
      const made = await site.call('POST', '/messages', mime, { 'content-type': 'text/plain', ...headers });
      const { id } = made.json as { id: string };
      const found = await site.call('GET', find.replaceAll(' ', '%20'), undefined, headers);
      expect((found.json['value'] as { id: string }[]).some((one) => one.id === id)).toBe(true);
      expect((await site.call('POST', `/messages/${id}/send`, undefined, headers)).status).toBe(202);
      expect((await site.call('GET', `/messages/${id}`, undefined, headers)).status).toBe(status);
    }
  });

  it('throttles the fifth request at a time', async () => {
    site.sandbox.fault({ when: { operation: 'findMessages' }, does: { slow: { beforeActing: 100 } } });
    const answers = await Promise.all(Array.from({ length: 6 }, () => site.call('GET', '/messages')));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 200, 200, 200, 429, 429]);
    expect(answers.find(({ status }) => status === 429)?.headers['retry-after']).toBe('1');
  });
});
