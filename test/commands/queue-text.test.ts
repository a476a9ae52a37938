/** What the command `queue` writes: for people, for programs, and never anything that a terminal would obey. */
import { describe, expect, it } from 'vitest';
import { itemJson, json, localTime, octets, plain, row, storyText, table } from '../../src/commands/queue-text.ts';
import type { HistoryEntry, QueueItem } from '../../src/mail/item.ts';

const NOW = Date.UTC(2026, 10, 24, 3, 0, 0);

const item: QueueItem = {
  id: '01k9z8a1b2c3d4e5',
  message: '01k9z8a1b2c3d4e5',
  route: 'exchange',
  mailbox: 'notifications@contoso.com',
  state: 'parked',
  envelope: {
    reversePath: 'scanner@contoso.com',
    recipients: ['a@contoso.com', 'b@contoso.com', 'c@contoso.com'].map((address) => ({ address })),
  },
  origin: { source: 'smtp', name: 'lan', peer: '10.0.0.7', helo: 'scanner', user: 'scan' },
  messageId: '<scan.7@scanner.contoso.com>',
  headerSize: 300,
  size: 12_345,
  arrivedAt: NOW,
  due: NOW,
  attempts: 2,
  doubtful: false,
  lastStatus: {
    outcome: 'failed',
    code: '5.1.3',
    cause: 'ErrorInvalidRecipients',
    text: 'The address is not valid',
    reason: 'Look at the address\nand at its domain',
    ids: { requestId: 'a0c1' },
  },
};

/** Everything that moves a cursor, colours, hides, reverses or begins a new line. */
const HOSTILE = 'a\u001b[31m\u0007\r\nb\u009b2J\u202ec\u2028d\u0000\u200f\u007f\ud800e';

describe('a text from outside', () => {
  it('is one harmless line', () => {
    expect(plain(HOSTILE)).toBe('a�[31m� b�2J�c d����e');
  });

  it('is harmless in JSON too, and reads the same', () => {
    const written = json({ [HOSTILE]: HOSTILE, tag: '\u{e0041}' });
    expect(written).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\u2028]/u);
    expect(JSON.parse(written)).toEqual({ [HOSTILE]: HOSTILE, tag: '\u{e0041}' });
  });

  it('is harmless in every cell and line, wherever it stands', () => {
    const hostile: QueueItem = {
      ...item,
      mailbox: HOSTILE,
      envelope: { reversePath: HOSTILE, recipients: [{ address: HOSTILE }] },
      origin: { source: 'smtp', name: HOSTILE, peer: HOSTILE, helo: HOSTILE, user: HOSTILE, tls: HOSTILE },
      messageId: HOSTILE,
      damaged: HOSTILE,
      lastStatus: { outcome: 'failed', code: '5.0.0', cause: HOSTILE, text: HOSTILE },
    };
    const status = { outcome: 'failed', code: '5.0.0', cause: HOSTILE, text: HOSTILE, reason: HOSTILE } as const;
    const history: HistoryEntry[] = [
      { at: NOW, what: 'parked', detail: HOSTILE, status: { ...status, ids: { requestId: HOSTILE, server: HOSTILE } } },
    ];
    const header = { subject: HOSTILE, from: [HOSTILE], to: [HOSTILE] };
    const lines = [
      ...table([row(hostile), row({ ...hostile, damaged: undefined } as unknown as QueueItem)]),
      ...storyText({ item: hostile, history, header }),
    ];
    for (const line of lines) expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u);
    expect(lines.length).toBeGreaterThan(18);
  });
});

describe('who brought it', () => {
  it.each([
    [{ source: 'smtp', name: 'lan', peer: '10.0.0.7' }, 'by lan from 10.0.0.7'],
    [{ source: 'pickup', name: 'fax', peer: '' }, 'by pickup fax'],
    [{ source: 'gateway', name: 'bounces', peer: '' }, 'as a notice of this gateway'],
  ] as const)('%j', (origin, words) => {
    const arrived = storyText({ item: { ...item, origin }, history: [] }).find((line) => line.startsWith('arrived'));
    expect(arrived?.endsWith(`${localTime(NOW)} ${words}`)).toBe(true);
  });
});

describe('a time', () => {
  it.each([0, NOW, Date.UTC(2026, 6, 1, 23, 59, 59), Date.UTC(2024, 1, 29)])('%i is ISO 8601 with its zone', (time) => {
    expect(localTime(time)).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$/);
    expect(Date.parse(localTime(time))).toBe(time);
  });

  it('that is none is a number', () => {
    expect(localTime(9e15)).toBe('9000000000000000');
  });
});

describe('an item', () => {
  it('is a row', () => {
    expect(row(item)).toEqual([
      '01k9z8a1b2c3d4e5',
      'parked',
      localTime(NOW),
      '12.3 kB',
      'notifications@contoso.com',
      'scanner@contoso.com',
      'a@contoso.com b@contoso.com +1',
      '5.1.3 ErrorInvalidRecipients',
    ]);
  });

  it('of the null sender, in doubt, never tried, damaged, is a row', () => {
    const { lastStatus: _, ...untried } = item;
    const cells = row({ ...untried, envelope: { ...item.envelope, reversePath: '' }, doubtful: true });
    expect([cells[1], cells[5], cells[7]]).toEqual(['parked?', '<>', '-']);
    expect(row({ ...item, damaged: 'its envelope' })[7]).toBe('damaged: its envelope');
  });

  it('as JSON has times as the log has them', () => {
    expect(itemJson(item)).toMatchObject({
      id: item.id,
      state: 'parked',
      arrivedAt: '2026-11-24T03:00:00.000Z',
      due: '2026-11-24T03:00:00.000Z',
      sender: 'scanner@contoso.com',
      recipients: ['a@contoso.com', 'b@contoso.com', 'c@contoso.com'],
    });
  });

  it('is told as a story', () => {
    const history: HistoryEntry[] = [
      { at: NOW, what: 'accepted', detail: 'added Date' },
      { at: NOW + 1_000, what: 'attempted' },
      ...(item.lastStatus === undefined ? [] : [{ at: NOW + 2_000, what: 'parked', status: item.lastStatus } as const]),
    ];
    const header = { subject: 'Scan 7', from: ['Scanner <scanner@contoso.com>'], to: [] };
    expect(storyText({ item, history, header })).toEqual([
      'id          01k9z8a1b2c3d4e5',
      'state       parked: waits for an operator',
      'subject     Scan 7',
      'from        Scanner <scanner@contoso.com>',
      'sender      scanner@contoso.com',
      'recipients  a@contoso.com, b@contoso.com, c@contoso.com',
      'sent as     notifications@contoso.com on route exchange',
      'Message-ID  <scan.7@scanner.contoso.com>',
      'size        12.3 kB',
      `arrived     ${localTime(NOW)} by lan from 10.0.0.7 (as scanner, user scan)`,
      'attempts    2',
      '',
      `${localTime(NOW)}  Accepted`,
      '  added Date',
      `${localTime(NOW + 1_000)}  An attempt began`,
      `${localTime(NOW + 2_000)}  Parked, to wait for an operator`,
      '  5.1.3 ErrorInvalidRecipients: The address is not valid',
      '  Look at the address',
      '  and at its domain',
      '  request-id a0c1',
    ]);
  });
});

it.each([
  [0, '0 B'],
  [999, '999 B'],
  [1_000, '1.0 kB'],
  [35_000_000, '35.0 MB'],
])('%i octets are %s', (size, text) => {
  expect(octets(size)).toBe(text);
});
