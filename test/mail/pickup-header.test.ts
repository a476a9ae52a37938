import { describe, expect, it } from 'vitest';
import { joinHeader, splitHeader } from '../../src/mail/header.ts';
import type { PickupHeaderContext } from '../../src/mail/pickup-header.ts';
import { pickupHeader } from '../../src/mail/pickup-header.ts';
import type { ReceivedMail } from '../../src/mail/received.ts';

const context: PickupHeaderContext = {
  hostname: 'gateway.test',
  spoolId: 'ABC',
  transport: 'ews',
  mailbox: 'fax@contoso.com',
  now: Date.UTC(2026, 0, 2, 3, 4, 5),
};
const mail: ReceivedMail = {
  id: 'a',
  itemClass: 'IPM.Note',
  size: 1,
  receivedAt: Date.UTC(2026, 0, 1),
  isRead: false,
  header: [],
  attachments: [],
};
const WHOLE = 'Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <own@test>\r\n';

async function made(block: string, more: Partial<ReceivedMail> = {}, other: Partial<PickupHeaderContext> = {}) {
  const header = await pickupHeader(splitHeader(Buffer.from(block)), { ...mail, ...more }, { ...context, ...other });
  const text = joinHeader(header.fields).toString();
  return { ...header, text, names: header.fields.map(({ name }) => name) };
}
/** As a server gives them, in whatever form. */
const raw = (text: string) => splitHeader(Buffer.from(text));

describe('the header of a mail that was picked up', () => {
  it('says where it came from, and is otherwise as it was', async () => {
    const { text, messageId, repairs } = await made(`${WHOLE}Subject: x\r\n y\r\nno field\r\n`);
    expect(text).toBe(
      [
        'Received: from mailbox <fax@contoso.com> by gateway.test with EWS id ABC; Fri,',
        ' 2 Jan 2026 03:04:05 +0000',
        'X-SMTP2Exchange-Hop: gateway.test',
        `${WHOLE}Subject: x\r\n y\r\nno field`,
        '\r\n',
      ].join('\r\n'),
    );
    expect([messageId, repairs]).toEqual(['<own@test>', []]);
    expect((await made(WHOLE, {}, { transport: 'graph' })).text).toContain('with Graph id');
  });

  it('shows no blind recipient', async () => {
    const { text, repairs } = await made(
      `${WHOLE}Bcc: a@x.test,\r\n b@x.test\r\nBCC : c@x.test\r\nResent-Bcc: d@x.test\r\n`,
    );
    expect(text).not.toMatch(/[abcd]@x\.test/);
    expect(repairs).toEqual(['removed Bcc']);
  });

  it.each([
    ['Subject: x\r\n', {}, '<ABC@gateway.test>', ['added Date, Message-ID']],
    ['Message-ID: <own@test>\r\n', {}, '<own@test>', ['added Date']],
    ['Date: x\r\n', { messageId: '<server@test>' }, '<server@test>', ['added Message-ID']],
    ['Date: x\r\nMessage-ID: \r\n', { messageId: '<server@test>' }, '<server@test>', ['added Message-ID']],
    ['Date: x\r\n', { messageId: '<a@x>\r\nBcc: evil@x.test' }, '<ABC@gateway.test>', ['added Message-ID']],
    ['Date: x\r\n', { messageId: 'no brackets' }, '<ABC@gateway.test>', ['added Message-ID']],
    ['Date: x\r\n', { messageId: `<${'x'.repeat(1_000)}@x>` }, '<ABC@gateway.test>', ['added Message-ID']],
  ])('%j of %j has the Message-ID %s', async (block, more, expected, repairs) => {
    const header = await made(block, more);
    expect([header.messageId, header.repairs]).toEqual([expected, repairs]);
    expect(header.names.filter((name) => name === 'message-id')).toHaveLength(1);
    expect(header.names.filter((name) => name === 'date')).toHaveLength(1);
    expect(header.text).not.toContain('evil');
    expect(header.text).toContain(`Message-ID: ${expected}\r\n`);
  });

  it('has the time of receipt where there is none', async () => {
    expect((await made('Subject: x\r\n')).text).toContain('Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n');
  });

  it('carries what programs tell each other by, and what it has itself wins', async () => {
    const header = raw(
      'Auto-Submitted: auto-replied\r\nPrecedence: bulk\r\nList-Id: <l.test>\r\nX-Auto-Response-Suppress: All\r\nX-SMTP2Exchange-Hop: first.test\r\nReceived: x\r\nSubject: other\r\n',
    );
    const { text } = await made(`${WHOLE}Precedence: list\r\n`, { header });
    expect(text).toContain('Auto-Submitted: auto-replied\r\nList-Id: <l.test>\r\nX-Auto-Response-Suppress: All\r\n');
    expect(text).toContain('X-SMTP2Exchange-Hop: gateway.test\r\n');
    expect(text).toContain('X-SMTP2Exchange-Hop: first.test\r\n');
    expect(text.match(/precedence/gi)).toHaveLength(1);
    expect(text).not.toContain('other');
  });

  it.each([
    ['no line end', 'Auto-Submitted: no'],
    ['LF', 'Auto-Submitted: no\n'],
    ['folds with LF', 'Auto-Submitted:\n no\n'],
    ['CR in the midst', 'Auto-Submitted: no\rBcc: evil@x.test\r\n'],
    ['NUL', 'Auto-Submitted: n\0o\r\n'],
  ])('carries a field with %s in lines of its own', async (_, block) => {
    const { text } = await made(WHOLE, { header: raw(block) });
    expect(text).toMatch(/\r\nAuto-Submitted: n ?o(?: Bcc: evil@x\.test)?\r\n/);
    expect(text.replaceAll('\r\n', '')).not.toMatch(/[\r\n\0]/);
    expect(splitHeader(Buffer.from(text)).map(({ name }) => name)).toEqual([
      'received',
      'x-smtp2exchange-hop',
      'auto-submitted',
      'date',
      'message-id',
    ]);
  });

  it.each(['a b@x.test', 'a@x.test\r\nBcc: evil@x.test', 'bücher@x.test'])(
    'says nothing of a mailbox that would not fit: %j',
    async (mailbox) => {
      expect((await made(WHOLE, {}, { mailbox })).text).toMatch(/^Received: by gateway\.test with EWS/);
    },
  );

  it('of nothing is whole', async () => {
    expect((await made('')).names).toEqual(['received', 'x-smtp2exchange-hop', 'date', 'message-id']);
  });
});
