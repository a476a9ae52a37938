/** What a header block says that Exchange wants beside the MIME. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readProperties } from '../../src/exchange/properties.ts';
import type { MessageProperties } from '../../src/exchange/properties.ts';
import { splitHeader } from '../../src/mail/header.ts';
import { cost, LARGE, LINEAR } from '../mail/cost.ts';

async function read(header: string | Buffer, carry: readonly string[] = []): Promise<MessageProperties> {
  return await readProperties(splitHeader(Buffer.from(header)), carry);
}

describe('importance', () => {
  it.each([
    ['Importance: high', 'high'],
    ['Importance: High', 'high'],
    ['IMPORTANCE :\r\n low', 'low'],
    ['Importance: normal', 'normal'],
    ['Importance: Urgent', 'high'],
    ['Importance: ', undefined],
    ['Importance: very', undefined],
    ['Importance: highly', undefined],
    ['X-Priority: 1', 'high'],
    ['X-Priority: 1 (Highest)', 'high'],
    ['X-Priority: 1(Highest)', 'high'],
    ['X-Priority: 2 (High)', 'high'],
    ['X-Priority: 2-High', 'high'],
    ['X-Priority: 3', 'normal'],
    ['X-Priority: 3 (Normal)', 'normal'],
    ['X-Priority: 4', 'low'],
    ['X-Priority: 5 (Lowest)', 'low'],
    ['X-Priority: 0', undefined],
    ['X-Priority: 6', undefined],
    ['X-Priority: 10', undefined],
    ['X-Priority: -1', undefined],
    ['X-Priority: High', 'high'],
    ['Priority: urgent', 'high'],
    ['Priority: normal', 'normal'],
    ['Priority: Non-Urgent', 'low'],
    ['Priority: non', undefined],
    ['X-MSMail-Priority: High', 'high'],
    ['X-MSMail-Priority: Medium', 'normal'],
    ['X-MSMail-Priority: Low', 'low'],
    ['Subject: urgent', undefined],
    // Contradictions.
    ['X-Priority: 1\r\nImportance: low', 'low'],
    ['X-MSMail-Priority: High\r\nPriority: urgent\r\nX-Priority: 1\r\nImportance: Normal', 'normal'],
    ['Priority: non-urgent\r\nX-Priority: 2', 'high'],
    ['X-MSMail-Priority: High\r\nPriority: non-urgent', 'low'],
    ['Importance: who knows\r\nX-Priority: 5', 'low'],
    ['Importance: high\r\nImportance: low', 'high'],
    ['Importance: ?\r\nImportance: low', 'low'],
    [`Importance: high${' '.repeat(20_000)}`, undefined],
  ] as const)('%j: %s', async (header, importance) => {
    expect((await read(`${header}\r\n\r\n`)).importance).toBe(importance);
  });
});

describe('receipts', () => {
  it.each([
    ['Disposition-Notification-To: a@x.test', true, false],
    ['Disposition-Notification-To: "Fax, Room 3" <fax@x.test>', true, false],
    ['DISPOSITION-NOTIFICATION-TO: fax', true, false],
    ['Return-Receipt-To: <a@x.test>', false, true],
    ['Return-Receipt-To: a@x.test\r\nDisposition-Notification-To: a@x.test', true, true],
    ['Disposition-Notification-To:', false, false],
    ['Disposition-Notification-To: <>', false, false],
    ['Return-Receipt-To:  \r\n  ', false, false],
    ['Disposition-Notification-Options: x=required', false, false],
    ['Return-Path: <a@x.test>', false, false],
    ['Subject: x', false, false],
  ] as const)('%j', async (header, readReceipt, deliveryReceipt) => {
    expect(await read(`${header}\r\n\r\n`)).toMatchObject({ readReceipt, deliveryReceipt });
  });
});

describe('a read notification', () => {
  const CLASS = 'REPORT.IPM.Note.IPNRN';
  it.each([
    ['multipart/report; report-type=disposition-notification; boundary="b"', CLASS],
    ['Multipart/Report;\r\n\tboundary="b";\r\n\tREPORT-TYPE="Disposition-Notification"', CLASS],
    ['multipart/report ; report-type = disposition-notification', CLASS],
    ['multipart/report; report-type=delivery-status; boundary=b', undefined],
    ['multipart/report; boundary=b', undefined],
    ['multipart/report', undefined],
    ['multipart/reports; report-type=disposition-notification', undefined],
    ['multipart/mixed; report-type=disposition-notification', undefined],
    ['multipart/report; boundary="x; report-type=disposition-notification"', undefined],
    ['multipart/report; boundary="x\\"; report-type=disposition-notification"; report-type=delivery-status', undefined],
    ['multipart/report; report-type=disposition-notification-x', undefined],
    ['text/plain', undefined],
    ['', undefined],
  ])('Content-Type: %s', async (value, itemClass) => {
    expect((await read(`Content-Type: ${value}\r\n\r\n`)).itemClass).toBe(itemClass);
  });
});

describe('X- fields as properties', () => {
  const carried = async (header: string | Buffer, ...carry: string[]): Promise<unknown> =>
    (await read(header, carry)).internetHeaders;

  it.each([
    { what: 'those on the list only', header: 'X-One: 1\nX-Two: 2', carry: ['X-One'], found: [['X-One', '1']] },
    {
      what: 'under the name of the list, however the message writes it',
      header: 'x-ONE: 1',
      carry: ['X-One'],
      found: [['X-One', '1']],
    },
    { what: 'the first of several', header: 'X-One: 1\nX-One: 2', carry: ['X-One'], found: [['X-One', '1']] },
    {
      what: 'once for a name that is on the list twice',
      header: 'X-One: 1',
      carry: ['X-One', 'x-one'],
      found: [['X-One', '1']],
    },
    { what: 'unfolded', header: 'X-One: a\n\tb', carry: ['X-One'], found: [['X-One', 'a b']] },
    { what: 'not without a value', header: 'X-One:  \nX-Two:', carry: ['X-One', 'X-Two'], found: [] },
    {
      what: 'with encoded words decoded',
      header: 'X-One: =?utf-8?B?SsO8cmdlbg==?= =?iso-8859-1?Q?=E4?=',
      carry: ['X-One'],
      found: [['X-One', 'Jürgenä']],
    },
    {
      what: 'without line ends and control characters that encoded words bring',
      header: 'X-One: =?utf-8?Q?a=0D=0ABcc=3A_evil=40y.test=00=E2=80=A8b?=',
      carry: ['X-One'],
      found: [['X-One', 'a Bcc: evil@y.test b']],
    },
    {
      what: 'never one that is no X- field',
      header: 'Bcc: a@x.test\nTo: b@x.test\nAuto-Submitted: auto-generated',
      carry: ['Bcc', 'To', 'Auto-Submitted', 'X-', 'X- y', ''],
      found: [],
    },
    {
      what: 'the passes through gateways always, all of them',
      header: 'X-SMTP2Exchange-Hop: gw2.test\nX-One: 1\nX-Smtp2exchange-Hop: gw1.test',
      carry: ['X-One', 'x-smtp2exchange-hop'],
      found: [
        ['X-SMTP2Exchange-Hop', 'gw2.test, gw1.test'],
        ['X-One', '1'],
      ],
    },
    {
      what: 'up to 1000 characters, longer ones not at all',
      header: `X-One: ${'1'.repeat(1000)}\nX-Two: ${'2'.repeat(1001)}\nX-Three: ${'3'.repeat(100_000)}`,
      carry: ['X-One', 'X-Two', 'X-Three'],
      found: [['X-One', '1'.repeat(1000)]],
    },
  ])('$what', async ({ header, carry, found }) => {
    const block = `${header.replace(/\n/g, '\r\n')}\r\n\r\n`;
    expect(await carried(block, ...carry)).toEqual(found.map(([name, value]) => ({ name, value })));
  });

  it('twenty at most beside that', async () => {
    const names = Array.from({ length: 30 }, (_, n) => `X-Number-${n}`);
    const header = `${names.map((name) => `${name}: 1\r\n`).join('')}X-SMTP2Exchange-Hop: gw.test\r\n\r\n`;
    const found = (await read(header, names)).internetHeaders ?? [];
    expect(found.map(({ name }) => name)).toEqual(['X-SMTP2Exchange-Hop', ...names.slice(0, 20)]);
  });

  it('reads raw octets as UTF-8 or Latin-1', async () => {
    expect(await carried(Buffer.from('X-One: caf\xe9\r\n\r\n', 'latin1'), 'X-One')).toEqual([
      { name: 'X-One', value: 'café' },
    ]);
    expect(await carried('X-One: café\r\n\r\n', 'X-One')).toEqual([{ name: 'X-One', value: 'café' }]);
  });
});

it('any octets are read, and give values that one line of a header can hold', async () => {
  const line = fc.tuple(
    fc.constantFrom('X-One', 'Importance', 'X-Priority', 'Content-Type', 'Disposition-Notification-To'),
    fc.oneof(
      fc.uint8Array({ maxLength: 40 }).map((octets) => Buffer.from(octets)),
      fc.string({ unit: 'binary', maxLength: 20 }).map((text) => Buffer.from(text)),
      fc
        .tuple(fc.constantFrom('utf-8', 'iso-8859-1', 'utf-16', 'x'), fc.uint8Array({ maxLength: 20 }))
        .map(([charset, octets]) =>
          Buffer.from(`=?${charset}?B?${Buffer.from(octets).toString('base64')}?= multipart/report; report-type`),
        ),
    ),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 5 }), async (lines) => {
      const block = Buffer.concat(
        lines.flatMap(([name, value]) => [Buffer.from(`${name}: `), value, Buffer.from('\r\n')]),
      );
      const { internetHeaders = [] } = await read(block, ['X-One']);
      for (const { value } of internetHeaders) {
        expect(value).not.toMatch(/[\p{Cc}\p{Cs}\u2028\u2029]/u);
        expect(value.isWellFormed()).toBe(true);
        expect(value.length).toBeLessThanOrEqual(1000);
      }
    }),
    { seed: 5321, numRuns: 500 },
  );
});

it.each(['Importance: ', 'X-One: =?', 'Content-Type: multipart/report;', 'Disposition-Notification-To: ,', ' ; x'])(
  'a long run after %j costs no more than others',
  async (start) => {
    for (const piece of [' ', ';', '"', '=', ' ;', 'a', '\\"', '-a']) {
      const fields = splitHeader(Buffer.from(`${start}${piece.repeat(LARGE / piece.length)}\r\n`));
      expect(await cost(() => readProperties(fields, ['X-One']))).toBeLessThan(LINEAR);
    }
  },
);
