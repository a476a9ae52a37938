/** What is added to a header that lacks something, what is mended and what goes, and that nothing else is touched. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseHeader } from '../../src/mail/addresses.ts';
import { fieldValue, joinHeader, splitHeader } from '../../src/mail/header.ts';
import { repairHeader, rfc5322Date } from '../../src/mail/repair.ts';
import type { RepairContext, Repaired } from '../../src/mail/repair.ts';

fc.configureGlobal({ seed: 5321 });

const NOW = Date.UTC(2024, 1, 29, 9, 5, 7, 999);
const DATE = 'Thu, 29 Feb 2024 09:05:07 +0000';
const CONTEXT: RepairContext = {
  now: NOW,
  hostname: 'gateway.x.test',
  spoolId: '0001abc',
  reversePath: 'fax@pbx.test',
  defaultFrom: 'notifications@x.test',
  origin: { source: 'smtp', name: 'lan', peer: '192.0.2.7', helo: 'pbx.test', user: 'secret-user' },
  protocol: 'ESMTP',
};
const WHOLE = ['Date: Mon, 1 Jan 2024 00:00:00 +0000', 'From: a@x.test', 'Message-ID: <1@x.test>'];

async function repair(lines: readonly string[] | Buffer, context: Partial<RepairContext> = {}): Promise<Repaired> {
  const block = Buffer.isBuffer(lines) ? lines : Buffer.from(lines.map((line) => `${line}\r\n`).join(''));
  const fields = splitHeader(block);
  return repairHeader(fields, await parseHeader(fields), { ...CONTEXT, ...context });
}

/** Without Received and our own hop, which always come first. */
function lines({ fields }: Repaired): string[] {
  expect(fields[0]?.name).toBe('received');
  expect(fields[1]?.raw.toString()).toBe('X-SMTP2Exchange-Hop: gateway.x.test\r\n');
  return fields.slice(2).map(({ raw }) => raw.toString('latin1').replace(/\r\n$/, ''));
}

function received({ fields }: Repaired): string {
  const [first] = fields;
  return first?.name === 'received' ? fieldValue(first) : '';
}

describe('a repaired header', () => {
  interface Case {
    readonly what: string;
    readonly header: readonly string[];
    readonly context?: Partial<RepairContext>;
    readonly becomes: readonly string[];
    readonly repairs: readonly string[];
    readonly messageId?: string;
  }
  const [date = '', from = '', id = ''] = WHOLE;
  const OUR_ID = '<0001abc@gateway.x.test>';
  const cases: readonly Case[] = [
    {
      what: 'lacks nothing: only Received is added',
      header: WHOLE,
      becomes: WHOLE,
      repairs: [],
      messageId: '<1@x.test>',
    },
    {
      what: 'in any case and with white space before the colon it lacks nothing',
      header: ['DATE: x', 'from : a@x.test', 'message-id:<1@x.test>'],
      becomes: ['DATE: x', 'from : a@x.test', 'message-id:<1@x.test>'],
      repairs: [],
      messageId: '<1@x.test>',
    },
    {
      what: 'no Date',
      header: [from, id],
      becomes: [from, id, `Date: ${DATE}`],
      repairs: ['added Date'],
      messageId: '<1@x.test>',
    },
    {
      what: 'no From: the sender of the envelope',
      header: [date, id],
      becomes: [date, id, 'From: fax@pbx.test'],
      repairs: ['added From'],
      messageId: '<1@x.test>',
    },
    {
      what: 'no From and the null reverse-path: the default',
      header: [date, id],
      context: { reversePath: '' },
      becomes: [date, id, 'From: notifications@x.test', 'X-Auto-Response-Suppress: All'],
      repairs: ['added From', 'added X-Auto-Response-Suppress'],
      messageId: '<1@x.test>',
    },
    {
      what: 'no From and a sender without domain: the default',
      header: [date, id],
      context: { reversePath: 'fax' },
      becomes: [date, id, 'From: notifications@x.test'],
      repairs: ['added From'],
      messageId: '<1@x.test>',
    },
    {
      what: 'no From and a sender that would be a field of its own: the default',
      header: [date, id],
      context: { reversePath: 'a@x.test\r\nBcc: b@x.test' },
      becomes: [date, id, 'From: notifications@x.test'],
      repairs: ['added From'],
      messageId: '<1@x.test>',
    },
    {
      what: 'no Message-ID',
      header: [date, from],
      becomes: [date, from, `Message-ID: ${OUR_ID}`],
      repairs: ['added Message-ID'],
    },
    ...['Message-ID:', 'Message-ID: <>', 'Message-ID: <a b@x.test>', 'Message-ID: <1@x.test', 'Message-ID: no id'].map(
      (unusable): Case => ({
        what: `${unusable} is replaced`,
        header: [unusable, date, from],
        becomes: [date, from, `Message-ID: ${OUR_ID}`],
        repairs: ['replaced an unusable Message-ID'],
      }),
    ),
    {
      what: 'several unusable Message-IDs are replaced by one',
      header: ['Message-ID: <>', date, 'MESSAGE-ID : x y', from],
      becomes: [date, from, `Message-ID: ${OUR_ID}`],
      repairs: ['replaced an unusable Message-ID'],
    },
    {
      what: 'a Message-ID without brackets gets them',
      header: [date, from, 'Message-ID: 1@x.test'],
      becomes: [date, from, 'Message-ID: <1@x.test>'],
      repairs: ['wrote Message-ID in brackets'],
      messageId: '<1@x.test>',
    },
    {
      what: 'an mbox line at the beginning goes',
      header: ['From fax@pbx.test Mon Jan  1 00:00:00 2024', ...WHOLE],
      becomes: WHOLE,
      repairs: ['removed an mbox From line'],
      messageId: '<1@x.test>',
    },
    {
      what: 'an mbox line is no From field',
      header: ['From fax@pbx.test Mon Jan  1 00:00:00 2024', date, id],
      becomes: [date, id, 'From: fax@pbx.test'],
      repairs: ['removed an mbox From line', 'added From'],
      messageId: '<1@x.test>',
    },
    {
      what: 'an mbox line anywhere else stays, as any line that is no field',
      header: [date, 'From fax@pbx.test Mon Jan  1 00:00:00 2024', 'hello', from, id],
      becomes: [date, 'From fax@pbx.test Mon Jan  1 00:00:00 2024', 'hello', from, id],
      repairs: [],
      messageId: '<1@x.test>',
    },
    {
      what: 'an empty From and an unreadable Date are there: they stay',
      header: ['Date: yesterday', 'From:', id],
      becomes: ['Date: yesterday', 'From:', id],
      repairs: [],
      messageId: '<1@x.test>',
    },
    {
      what: 'From without a domain is there: it stays',
      header: [date, 'From: fax', id],
      becomes: [date, 'From: fax', id],
      repairs: [],
      messageId: '<1@x.test>',
    },
    {
      what: 'earlier Received fields stay below ours',
      header: ['Received: from a by b; x', ...WHOLE],
      becomes: ['Received: from a by b; x', ...WHOLE],
      repairs: [],
      messageId: '<1@x.test>',
    },
    {
      what: 'all at once',
      header: ['From fax@pbx.test Mon Jan  1 00:00:00 2024', 'Message-ID: <>', 'Subject: x'],
      becomes: ['Subject: x', `Date: ${DATE}`, 'From: fax@pbx.test', `Message-ID: ${OUR_ID}`],
      repairs: ['removed an mbox From line', 'added Date', 'added From', 'replaced an unusable Message-ID'],
    },
    {
      what: 'marks of the inside world go',
      header: [
        'DKIM-Signature: v=1; a=rsa-sha256',
        'ARC-Seal: i=1',
        'ARC-Message-Signature: i=1',
        'ARC-Authentication-Results: i=1',
        'X-MS-Exchange-Organization-SCL: -1',
        'X-MS-Exchange-Forest-RulesExecuted: x',
        'X-MS-Exchange-Else: stays',
        ...WHOLE,
      ],
      becomes: ['X-MS-Exchange-Else: stays', ...WHOLE],
      repairs: [
        'removed DKIM-Signature, ARC-Seal, ARC-Message-Signature, ARC-Authentication-Results, X-MS-Exchange-Organization-SCL, X-MS-Exchange-Forest-RulesExecuted',
      ],
      messageId: '<1@x.test>',
    },
    {
      what: 'of several Message-IDs the usable one stays',
      header: [date, from, 'Message-ID: <>', id, 'Message-ID: <2@x.test>'],
      becomes: [date, from, id],
      repairs: ['removed a second Message-ID'],
      messageId: '<1@x.test>',
    },
    {
      what: 'a Message-ID that is not ASCII is replaced',
      header: [date, from, 'Message-ID: <\u00fc@x.test>'],
      becomes: [date, from, `Message-ID: ${OUR_ID}`],
      repairs: ['replaced an unusable Message-ID'],
    },
    {
      what: 'a Message-ID that fits into no line is replaced',
      header: [date, from, `Message-ID: <${'x'.repeat(995)}@x.test>`],
      becomes: [date, from, `Message-ID: ${OUR_ID}`],
      repairs: ['replaced an unusable Message-ID'],
    },
    {
      what: 'Content-* without MIME-Version',
      header: [...WHOLE, 'Content-Type: text/plain'],
      becomes: [...WHOLE, 'Content-Type: text/plain', 'MIME-Version: 1.0'],
      repairs: ['added MIME-Version'],
      messageId: '<1@x.test>',
    },
    {
      what: 'raw UTF-8 and Latin-1 text is encoded, the rest keeps its octets',
      header: [...WHOLE, 'Subject: Gr\u00fc\u00dfe  from  the scanner', 'X-Plain:   kept  as is'],
      becomes: [...WHOLE, 'Subject: =?utf-8?B?R3LDvMOfZQ==?=  from  the scanner', 'X-Plain:   kept  as is'],
      repairs: ['encoded or folded Subject'],
      messageId: '<1@x.test>',
    },
    {
      what: 'an 8-bit body that nobody declared',
      header: [...WHOLE, 'Subject: x'],
      context: { charset: 'iso-8859-1' },
      becomes: [
        ...WHOLE,
        'Subject: x',
        'Content-Type: text/plain; charset=iso-8859-1',
        'Content-Transfer-Encoding: 8bit',
        'MIME-Version: 1.0',
      ],
      repairs: ['declared the body as 8-bit iso-8859-1', 'added MIME-Version'],
      messageId: '<1@x.test>',
    },
    ...['auto-replied', 'auto-generated (failure)', 'Auto-Notified', 'no-one knows'].map((value): Case => ({
      what: `Auto-Submitted: ${value} asks for no answer`,
      header: [...WHOLE, `Auto-Submitted: ${value}`],
      becomes: [...WHOLE, `Auto-Submitted: ${value}`, 'X-Auto-Response-Suppress: All'],
      repairs: ['added X-Auto-Response-Suppress'],
      messageId: '<1@x.test>',
    })),
    {
      what: 'what asks for no answer already, or is not automatic, stays',
      header: [...WHOLE, 'Auto-Submitted: no', 'X-Auto-Response-Suppress: OOF'],
      becomes: [...WHOLE, 'Auto-Submitted: no', 'X-Auto-Response-Suppress: OOF'],
      repairs: [],
      messageId: '<1@x.test>',
    },
    ...['No', 'no (a person)', 'no; x=y'].map((value): Case => ({
      what: `Auto-Submitted: ${value} is mail of a person`,
      header: [...WHOLE, `Auto-Submitted: ${value}`],
      becomes: [...WHOLE, `Auto-Submitted: ${value}`],
      repairs: [],
      messageId: '<1@x.test>',
    })),
    {
      what: 'nothing there at all',
      header: [],
      becomes: [`Date: ${DATE}`, 'From: fax@pbx.test', `Message-ID: ${OUR_ID}`],
      repairs: ['added Date', 'added From', 'added Message-ID'],
    },
  ];

  it.each(cases)('$what', async ({ header, context, becomes, repairs, messageId = OUR_ID }) => {
    const repaired = await repair(header, context);
    expect(lines(repaired)).toEqual(becomes);
    expect(repaired.repairs).toEqual(repairs);
    expect(repaired.messageId).toBe(messageId);
  });

  it('keeps the octets of every field that was there', async () => {
    const block = Buffer.from('Subject: cafe\nX: \0\x7f\r\n\ty\nTo : b@x.test\r\n', 'latin1');
    const { fields } = await repair(block);
    expect(Buffer.concat(fields.slice(2, 5).map(({ raw }) => raw)).equals(block)).toBe(true);
  });

  it('lacks nothing any more: a second pass adds only Received and a hop, and the same Message-ID is read', async () => {
    const line = fc.oneof(
      fc.constantFrom(
        ...WHOLE,
        'From x Mon Jan  1 00:00:00 2024',
        'Message-ID: <>',
        'Message-ID: 7',
        'From:',
        'Subject: x',
      ),
      fc.string({ maxLength: 20 }).map((text) => `X: ${text.replace(/[\r\n]/g, '')}`),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 8 }), async (header) => {
        const once = await repair(header);
        const twice = await repair(joinHeader(once.fields), { spoolId: '0002abc' });
        expect(twice.repairs).toEqual([]);
        expect(twice.messageId).toBe(once.messageId);
        expect(twice.fields.slice(2).map(({ raw }) => raw.toString('latin1'))).toEqual(
          once.fields.map(({ raw }) => raw.toString('latin1')),
        );
      }),
    );
  });
});

/** Time-stamp-line of RFC 5321 section 4.4, with the TLS comment. */
const STAMP =
  /^from (?:[A-Za-z0-9._-]+|\[[A-Za-z0-9.:]+\]) \(\[(?:\d+\.\d+\.\d+\.\d+|IPv6:[0-9a-f:.]+)\]\) by [\w.-]+ with [A-Z0-9]+(?: \([\w. -]+\))? id \w+; \w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d \+0000$/;

describe('Received', () => {
  const origin = CONTEXT.origin;

  interface Case {
    readonly what: string;
    readonly context: Partial<RepairContext>;
    readonly is: string;
  }
  const rest = `by gateway.x.test with ESMTP id 0001abc; ${DATE}`;
  const cases: readonly Case[] = [
    { what: 'IPv4', context: {}, is: `from pbx.test ([192.0.2.7]) ${rest}` },
    {
      what: 'IPv6',
      context: { origin: { ...origin, peer: '2001:db8::7' } },
      is: `from pbx.test ([IPv6:2001:db8::7]) ${rest}`,
    },
    {
      what: 'TLS and a login, which does not show',
      context: { origin: { ...origin, tls: 'TLSv1.3 TLS_AES_256_GCM_SHA384' }, protocol: 'ESMTPSA' },
      is: `from pbx.test ([192.0.2.7]) by gateway.x.test with ESMTPSA (TLSv1.3 TLS_AES_256_GCM_SHA384) id 0001abc; ${DATE}`,
    },
    {
      what: 'no HELO',
      context: { origin: { source: 'smtp', name: 'lan', peer: '192.0.2.7' } },
      is: `from unknown ([192.0.2.7]) ${rest}`,
    },
    ...(
      [
        ['', 'unknown'],
        ['MYPRINTER_1', 'MYPRINTER_1'],
        ['[192.0.2.7]', '[192.0.2.7]'],
        ['[IPv6:2001:db8::7]', '[IPv6:2001:db8::7]'],
        ['a b', 'ab'],
        ['x.test\r\nBcc: evil@y.test', 'x.testBccevily.test'],
        ['x.test) by evil (', 'x.testbyevil'],
        ['x;y', 'xy'],
        ['<b@x.test>', 'bx.test'],
        ['"\\', 'unknown'],
        ['\0\x7f', 'unknown'],
        ['用户', 'unknown'],
        ['[', 'unknown'],
        [']x[', 'x'],
        ['[x', 'x'],
        ['[[192.0.2.7]]', '192.0.2.7'],
        ['[]', 'unknown'],
        ['a:25', 'a25'],
        ['::1', '1'],
      ] as const
    ).map(([helo, shown]): Case => ({
      what: `HELO ${JSON.stringify(helo)}`,
      context: { origin: { ...origin, helo } },
      is: `from ${shown} ([192.0.2.7]) ${rest}`,
    })),
    {
      what: 'a cipher with a parenthesis',
      context: { origin: { ...origin, tls: 'TLSv1.2 x) by evil (\r\n' } },
      is: `from pbx.test ([192.0.2.7]) by gateway.x.test with ESMTP (TLSv1.2 x by evil ) id 0001abc; ${DATE}`,
    },
  ];

  it.each(cases)('$what', async ({ context, is }) => {
    expect(received(await repair(WHOLE, context))).toBe(is);
  });

  it('is folded, and its lines are short', async () => {
    const { fields } = await repair(WHOLE, {
      origin: { ...origin, peer: '2001:db8:1:2:3:4:5:6', tls: 'TLSv1.3 TLS_AES_256_GCM_SHA384' },
      protocol: 'UTF8SMTPSA',
    });
    const folded = fields[0]?.raw.toString().split('\r\n') ?? [];
    expect(folded.length).toBeGreaterThan(2);
    for (const line of folded) expect(line.length).toBeLessThanOrEqual(78);
  });

  it('names neither recipient nor sender nor user', async () => {
    const { fields } = await repair(['To: a@x.test', 'Cc: b@x.test', 'Bcc: c@x.test', ...WHOLE]);
    const stamp = fields[0]?.raw.toString() ?? '';
    expect(stamp).not.toMatch(/ for |@|secret-user/i);
  });

  it('is one field as RFC 5321 has it, whatever the client calls itself', async () => {
    const helo = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc
        .array(fc.constantFrom('[', ']', ':', '.', '\r\n', ' ', 'a', '(', ';', 'IPv6:', '1'), { maxLength: 12 })
        .map((parts) => parts.join('')),
    );
    await fc.assert(
      fc.asyncProperty(helo, fc.oneof(fc.ipV4(), fc.ipV6()), async (helo, peer) => {
        const { fields } = await repair(WHOLE, { origin: { ...origin, helo, peer } });
        const read = splitHeader(joinHeader(fields));
        expect(read.map(({ name }) => name)).toEqual(['received', 'x-smtp2exchange-hop', 'date', 'from', 'message-id']);
        expect(read[0] && fieldValue(read[0])).toMatch(STAMP);
        // A line may have 998 octets (RFC 5322 section 2.1.1).
        for (const line of fields[0]?.raw.toString().split('\r\n') ?? []) expect(line.length).toBeLessThan(998);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('a date', () => {
  it.each([
    [0, 'Thu, 1 Jan 1970 00:00:00 +0000'],
    [NOW, DATE],
    [Date.UTC(2023, 11, 31, 23, 59, 59, 999), 'Sun, 31 Dec 2023 23:59:59 +0000'],
    [Date.UTC(2024, 0, 1), 'Mon, 1 Jan 2024 00:00:00 +0000'],
    [Date.UTC(2038, 0, 19, 3, 14, 8), 'Tue, 19 Jan 2038 03:14:08 +0000'],
  ])('%i is %s', (time, date) => {
    expect(rfc5322Date(time)).toBe(date);
  });

  it('is read back as the same second, in any time zone', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) }), (time) => {
        const date = rfc5322Date(time);
        expect(date).toMatch(/^\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d \+0000$/);
        expect(Date.parse(date)).toBe(Math.floor(time / 1000) * 1000);
        expect(new Date(time).toUTCString().slice(0, 3)).toBe(date.slice(0, 3));
      }),
      { numRuns: 1000 },
    );
  });
});
