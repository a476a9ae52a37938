/** The header of a picked-up mail as the legacy system gets it. */
import { describe, expect, it } from 'vitest';
import { joinHeader, splitHeader } from '../../src/mail/header.ts';
import { pickupHeader } from '../../src/mail/pickup-header.ts';
import type { PickupHeaderContext } from '../../src/mail/pickup-header.ts';
import type { ReceivedMail } from '../../src/mail/received.ts';

const CONTEXT: PickupHeaderContext = {
  hostname: 'gateway.test',
  spoolId: '0d3m9q7y2k41c8vz',
  transport: 'ews',
  mailbox: 'fax@contoso.com',
  now: Date.UTC(2026, 10, 26, 8, 0, 5),
};
const WHOLE = 'From: a@contoso.com\r\nDate: Thu, 26 Nov 2026 08:00:00 +0000\r\nMessage-ID: <a@contoso.com>\r\n';

async function made(own: string, came = '', facts: Partial<ReceivedMail> = {}, context = CONTEXT) {
  const fields = (text: string) => splitHeader(Buffer.from(`${text}\r\n`));
  const receivedAt = Date.UTC(2026, 10, 26, 8, 0, 1);
  const mail = { id: 'x', itemClass: 'IPM.Note', size: 1, receivedAt, isRead: false, attachments: [], ...facts };
  const { fields: all, ...rest } = await pickupHeader(fields(own), { ...mail, header: fields(came) }, context);
  const text = joinHeader(all).toString();
  return { ...rest, text, names: all.map(({ name }) => name) };
}

describe('a header that is whole', () => {
  it('gets a trace and a hop on top, and stays as it is', async () => {
    const { text, messageId, repairs } = await made(WHOLE);
    const unfolded = text.replaceAll(/\r\n[ \t]+/g, ' ');
    expect(unfolded).toBe(
      `Received: from mailbox <fax@contoso.com> by gateway.test with EWS id 0d3m9q7y2k41c8vz; Thu, 26 Nov 2026 08:00:05 +0000\r\nX-SMTP2Exchange-Hop: gateway.test\r\n${WHOLE}\r\n`,
    );
    expect([messageId, repairs]).toEqual(['<a@contoso.com>', []]);
  });

  it('names the way it was read by, and no mailbox that a field cannot hold', async () => {
    const { text } = await made(WHOLE, '', {}, { ...CONTEXT, transport: 'graph', mailbox: 'für@contoso.com' });
    expect(text).toMatch(/^Received: by gateway\.test with Graph id/);
  });
});

describe('what the server made anew', () => {
  it('gets back what programs tell each other by, once', async () => {
    const came =
      'Auto-Submitted: auto-generated\r\nPrecedence: bulk\r\nList-Id: <l.contoso.com>\r\nX-Auto-Response-Suppress: All\r\nX-SMTP2Exchange-Hop: other.test\r\nX-Other: 1\r\nSubject: old\r\n';
    const { names, text } = await made(`${WHOLE}Precedence: list\r\n`, came);
    expect(names).toEqual([
      'received',
      'x-smtp2exchange-hop',
      'auto-submitted',
      'list-id',
      'x-auto-response-suppress',
      'x-smtp2exchange-hop',
      'from',
      'date',
      'message-id',
      'precedence',
    ]);
    expect(text).toContain('Precedence: list');
  });

  it('shows no blind recipient', async () => {
    const { names, repairs } = await made(`Bcc: b@contoso.com\r\n${WHOLE}Resent-Bcc: c@contoso.com\r\n`);
    expect(names).toEqual(['received', 'x-smtp2exchange-hop', 'from', 'date', 'message-id']);
    expect(repairs).toEqual(['removed Bcc']);
  });

  it.each([
    ['that the server knows', { messageId: '<b@contoso.com>' }, '<b@contoso.com>'],
    ['of ours', {}, '<0d3m9q7y2k41c8vz@gateway.test>'],
    ['of ours for one that is none', { messageId: '<b c>' }, '<0d3m9q7y2k41c8vz@gateway.test>'],
  ])('has a date and a Message-ID, %s', async (_, facts, messageId) => {
    const got = await made('From: a@contoso.com\r\n', '', facts);
    expect(got.messageId).toBe(messageId);
    expect(got.text).toContain(`Date: Thu, 26 Nov 2026 08:00:01 +0000\r\nMessage-ID: ${messageId}\r\n`);
    expect(got.repairs).toEqual(['added Date, Message-ID']);
  });

  it('has one Message-ID where the one there was is unusable', async () => {
    const { names, messageId } = await made('Message-ID: \r\nDate: Thu, 26 Nov 2026 08:00:00 +0000\r\n');
    expect(names.filter((name) => name === 'message-id')).toHaveLength(1);
    expect(messageId).toBe('<0d3m9q7y2k41c8vz@gateway.test>');
  });
});
