/** Notices to senders, octet for octet as golden files (test/mail/dsn), and what no text from outside can do to them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert, property, string } from 'fast-check';
import { simpleParser } from 'mailparser';
import { describe, expect, it } from 'vitest';
import type { Dsn, DsnFacts } from '../../src/mail/dsn.ts';
import { renderDsn } from '../../src/mail/dsn.ts';
import { splitHeader } from '../../src/mail/header.ts';

const NOW = Date.UTC(2026, 10, 25, 9, 30, 0);
const block = (...lines: string[]): Buffer => Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
const original = block(
  'Received: from scanner ([10.0.0.7]) by gateway.contoso.com with ESMTP id 01k9z8a1b2c3d4e5;',
  ' Wed, 25 Nov 2026 09:29:58 +0000',
  'From: Scanner <scanner@contoso.com>',
  'To: alice@contoso.com',
  'Subject: Scan 7',
  'Message-ID: <scan.7@scanner.contoso.com>',
  'References: <scan.5@scanner.contoso.com> <scan.6@scanner.contoso.com>',
);

const facts = (more: Partial<DsnFacts> = {}, about: Partial<DsnFacts['original']> = {}): DsnFacts => ({
  action: 'failed',
  hostname: 'gateway.contoso.com',
  id: '01k9z9f6g7h8j9k0',
  now: NOW,
  mailbox: 'notifications@contoso.com',
  to: 'scanner@contoso.com',
  recipients: [{ address: 'alice@contoso.com' }],
  code: '5.1.1',
  text: 'The mail server does not accept a recipient',
  cause: 'ErrorInvalidRecipients',
  returned: 'headers',
  ...more,
  original: {
    messageId: '<scan.7@scanner.contoso.com>',
    subject: 'Scan 7',
    header: splitHeader(original),
    arrivedAt: NOW - 2_000,
    ...about,
  },
});

const handedOver = (more: Partial<DsnFacts>): DsnFacts =>
  facts({
    action: 'relayed',
    mailbox: 'fax@contoso.com',
    to: 'alice@contoso.com',
    recipients: [{ address: '+493012345@fax.local' }],
    code: '2.0.0',
    text: 'The mail server took the message',
    cause: 'SMTP 250',
    ...more,
  });

const CASES: Record<string, { readonly facts: DsnFacts; readonly message?: Buffer }> = {
  'failed-headers': { facts: facts() },
  'failed-full': {
    facts: facts({ returned: 'message' }),
    message: Buffer.concat([
      original,
      Buffer.from('the body\r\n--=_another.dsn--\r\n.\r\nwith octets \xff\xfe\r\n', 'latin1'),
    ]),
  },
  delayed: {
    facts: facts({
      action: 'delayed',
      code: '4.3.2',
      text: 'The mail server is temporarily unable to take the message',
      cause: 'ErrorServerBusy',
      giveUpAt: NOW + 158_400_000,
    }),
  },
  'delayed-for-ever': { facts: facts({ action: 'delayed', code: '4.4.1', text: 'later', cause: 'ECONNREFUSED' }) },
  'several-with-parameters': {
    facts: facts(
      {
        recipients: [
          { address: 'alice@contoso.com', originalRecipient: 'rfc822;old-alice@contoso.com' },
          { address: 'bob+fax@contoso.com', originalRecipient: 'x400;/c=de/s=bob' },
          { address: '"a b"@contoso.com' },
        ],
      },
      { envelopeId: 'QQ314159' },
    ),
  },
  'beyond-ascii': {
    facts: facts(
      {
        recipients: [{ address: 'jürgen@bücher.example', originalRecipient: 'utf-8;jürgen+x@bücher.example' }],
        text: 'Der Empfänger ist unbekannt',
      },
      { subject: 'Größe: 漢字', header: splitHeader(block('To: jürgen@bücher.example', 'Subject: Größe: 漢字')) },
    ),
  },
  relayed: { facts: handedOver({ handOver: {} }) },
  'relayed-own-words': {
    facts: handedOver({
      recipients: [{ address: '+493012345@fax.local' }, { address: '+493067890@fax.local' }],
      handOver: {
        subject: 'Ihr Fax an {to}: {status}',
        text: 'Guten Tag,\n\nIhr Fax "{subject}" vom {date} an {to} wurde dem Faxserver übergeben ({reason}).\n\n{unknown} {}\n',
      },
    }),
  },
  'failed-own-words': {
    facts: handedOver({
      action: 'failed',
      code: '5.1.1',
      text: 'no such {subject}\r\n\r\n--=_01k9z9f6g7h8j9k0.dsn',
      cause: 'HTTP 422',
      handOver: {
        subject: '{status}: {to}\n{subject} {subject}',
        text: `{subject}\r\n{reason}\n\0{to}\n${'x'.repeat(1_200)} {constructor}`,
      },
    }),
  },
  hostile: {
    facts: facts(
      {
        recipients: [
          { address: 'a\r\nBcc: eve@evil.example@contoso.com', originalRecipient: 'rfc822;x\r\nAction: delivered' },
        ],
        text: `one\r\n\r\n--=_01k9z9f6g7h8j9k0.dsn\r\n${'long '.repeat(300)}`,
        cause: 'Error\nFinal-Recipient: rfc822; eve@evil.example',
      },
      {
        envelopeId: 'id\r\nReporting-MTA: dns; evil.example',
        subject: 'x\r\nBcc: eve@evil.example\r\n\r\nbody =?utf-8?Q?=0D=0ABcc:_eve?=',
        header: splitHeader(
          Buffer.from(
            `References: <a@b>\x01<c@d> not-an-id <e\0f@g>\r\nX-Endless: ${'x'.repeat(70_000)}\r\nX-After: not shown\r\n\r\n`,
          ),
        ),
      },
    ),
  },
};

function whole({ header, preamble, epilogue }: Dsn, message: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([header, preamble, message, epilogue]);
}

describe('a notice', () => {
  it.each(Object.entries(CASES))('%s', (name, { facts: given, message }) => {
    const golden = readFileSync(join(import.meta.dirname, 'dsn', `${name}.eml`));
    expect(whole(renderDsn(given), message).toString('latin1')).toBe(golden.toString('latin1'));
  });

  it('is a report that others can read: three parts, and what came back is what was sent', async () => {
    const { facts: given, message = Buffer.alloc(0) } = CASES['failed-full'] ?? { facts: facts() };
    const octets = whole(renderDsn(given), message);
    expect(octets.includes(message)).toBe(true);
    const parsed = await simpleParser(octets);
    expect(parsed.headers.get('content-type')).toMatchObject({
      value: 'multipart/report',
      params: { 'report-type': 'delivery-status' },
    });
    expect(parsed.text).toContain('could not be delivered');
    expect(parsed.text).toContain('Final-Recipient: rfc822; alice@contoso.com');
    expect(parsed.attachments.map(({ contentType }) => contentType)).toEqual(['message/rfc822']);
    const inside = await simpleParser(parsed.attachments[0]?.content ?? '');
    expect(inside.subject).toBe('Scan 7');
  });

  it('is marked so that no program answers it', () => {
    const names = new Map(splitHeader(renderDsn(facts()).header).map((field) => [field.name, field.raw.toString()]));
    expect(names.get('auto-submitted')).toBe('Auto-Submitted: auto-replied\r\n');
    expect(names.get('x-auto-response-suppress')).toBe('X-Auto-Response-Suppress: All\r\n');
    expect(names.get('in-reply-to')).toBe('In-Reply-To: <scan.7@scanner.contoso.com>\r\n');
    expect(names.get('x-smtp2exchange-hop')).toBe('X-SMTP2Exchange-Hop: gateway.contoso.com\r\n');
  });

  const OWN = { subject: '{subject}{to}{reason}', text: 'x {subject}\nx {to}\nx {reason} {status} {date}' };
  it.each<[string, Partial<DsnFacts>]>([
    ['', {}],
    [', in words of the operator', { handOver: OWN }],
  ])('gets no field, line or part from what others wrote%s', (_, more) => {
    const text = string({ unit: 'binary', maxLength: 120 });
    const expected = splitHeader(renderDsn(facts()).header).map(({ name }) => name);
    assert(
      property(text, text, text, text, text, (address, orcpt, envelopeId, subject, sentence) => {
        const dsn = renderDsn(
          facts(
            { recipients: [{ address, originalRecipient: orcpt }], text: sentence, cause: sentence, ...more },
            { envelopeId, subject },
          ),
        );
        expect(splitHeader(dsn.header).map(({ name }) => name)).toEqual(expected);
        const octets = whole(dsn).toString('latin1');
        expect(octets).not.toMatch(/\r(?!\n)|(?<!\r)\n/);
        expect(octets.split('\r\n').every((line) => line.length <= 998)).toBe(true);
        const parts = octets.split('\r\n--=_01k9z9f6g7h8j9k0.dsn');
        expect(parts).toHaveLength(5);
        const report = parts[2] ?? '';
        const fields = [...report.matchAll(/^([A-Za-z-]+):/gm)].map((found) => found[1]);
        expect(fields).toEqual([
          'Content-Type',
          'Content-Transfer-Encoding',
          'Reporting-MTA',
          'Original-Envelope-Id',
          'Arrival-Date',
          'Original-Recipient',
          'Final-Recipient',
          'Action',
          'Status',
          'Diagnostic-Code',
          'Last-Attempt-Date',
        ]);
      }),
    );
  });
});
