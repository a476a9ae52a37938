/** What somebody asks in one line, and how it is understood. Times are of this machine's zone, as in the program. */
import { describe, expect, it } from 'vitest';
import { understand, understandForm } from '../../src/console/question.ts';
import type { ListFilter } from '../../src/mail/spool.ts';

/** A Thursday. */
const NOW = new Date(2026, 10, 26, 15, 30).getTime();
const at = (day: number, hour = 0, minute = 0): number => new Date(2026, 10, day, hour, minute).getTime();

describe('a question', () => {
  it.each<readonly [string, ListFilter]>([
    ['', {}],
    ['where is the mail?', {}],
    ['fax@contoso.com', { pieces: ['fax@contoso.com'] }],
    ['"fax@contoso.com"', { pieces: ['fax@contoso.com'] }],
    ['fax contoso', { pieces: ['fax', 'contoso'] }],
    [
      'Where is the mail to fax@contoso.com of this morning?',
      { recipient: 'fax@contoso.com', arrivedFrom: at(26), arrivedBefore: at(26, 12) },
    ],
    ['did the mail from scanner to alice@contoso.com arrive', { sender: 'scanner', recipient: 'alice@contoso.com' }],
    ['from:scanner state:parked since yesterday', { sender: 'scanner', states: ['parked'], arrivedFrom: at(25) }],
    ['from:<>', { sender: '' }],
    ['mail from yesterday', { arrivedFrom: at(25), arrivedBefore: at(26) }],
    ['today', { arrivedFrom: at(26) }],
    ['last night', { arrivedFrom: at(25, 18), arrivedBefore: at(26, 6) }],
    ['this afternoon', { arrivedFrom: at(26, 12), arrivedBefore: at(26, 18) }],
    ['this week', { arrivedFrom: at(23) }],
    ['last hour', { arrivedFrom: NOW - 3_600_000 }],
    ['last 90 minutes', { arrivedFrom: NOW - 90 * 60_000 }],
    ['past 2 days', { arrivedFrom: NOW - 2 * 86_400_000 }],
    ['monday', { arrivedFrom: at(23), arrivedBefore: at(24) }],
    ['thursday', { arrivedFrom: at(26), arrivedBefore: at(27) }],
    ['since 08:00', { arrivedFrom: at(26, 8) }],
    ['since 8:00 before 09:30', { arrivedFrom: at(26, 8), arrivedBefore: at(26, 9, 30) }],
    ['after:2026-11-24 before:2026-11-25T12:00', { arrivedFrom: at(24), arrivedBefore: at(25, 12) }],
    ['2026-11-24', { arrivedFrom: at(24), arrivedBefore: at(25) }],
    ['parked', { states: ['parked'] }],
    ['what is stuck', { states: ['queued', 'parked'] }],
    ['state:waiting,parked', { states: ['queued', 'sending', 'parked'] }],
    ['failed messages today', { states: ['parked', 'bounced'], arrivedFrom: at(26) }],
    ['<scan.7@scanner.contoso.com>', { messageId: '<scan.7@scanner.contoso.com>' }],
    ['message-id:scan.7@scanner.contoso.com', { messageId: 'scan.7@scanner.contoso.com' }],
    ['1m8axcg7nth9fppw', { ids: ['1m8axcg7nth9fppw'] }],
    ['1m8axcg7nth9fppw-2', { ids: ['1m8axcg7nth9fppw-2'] }],
    ['id:abc', { ids: ['abc'] }],
    ['route:subsidiary mailbox:Fax@Contoso.com', { route: 'subsidiary', mailbox: 'fax@contoso.com' }],
    ['to', {}],
    ['http://contoso.com', { pieces: ['http://contoso.com'] }],
    ["o'brien", { pieces: ["o'brien"] }],
    ['__proto__ constructor', { pieces: ['__proto__', 'constructor'] }],
  ])('%s', (question, filter) => {
    const understood = understand(question, NOW);
    expect(understood.filter).toEqual(filter);
    expect(understood.problems).toEqual([]);
  });

  it.each([
    ['state:lost', 'There is no state lost'],
    ['after:soon', '“soon” is no time'],
    ['id:../etc', '../etc is no id'],
    ['a1 b2 c3 d4 e5 f6 g7', 'More than 6 words'],
  ])('%s is not understood, and says so', (question, problem) => {
    expect(understand(question, NOW).problems.join()).toContain(problem);
  });

  it('says in words how it was understood', () => {
    expect(understand('mail to fax@contoso.com this morning parked', NOW).words).toEqual([
      'to fax@contoso.com',
      'arrived this morning (today before 12:00)',
      'in state parked',
    ]);
  });

  it('takes fields of a form beside the line', () => {
    const fields = [
      ['from', 'a "quoted" name'],
      ['to', ''],
      ['state', 'parked,queued'],
      ['after', '08:00'],
    ] as const;
    expect(understandForm('alice', fields, NOW).filter).toEqual({
      pieces: ['alice'],
      sender: 'a "quoted" name',
      states: ['queued', 'parked'],
      arrivedFrom: at(26, 8),
    });
  });

  it('is read to a bound', () => {
    const begun = performance.now();
    expect(understand('":'.repeat(500_000), NOW).problems.length).toBeLessThan(500);
    expect(understand(`${'a'.repeat(1_000_000)}`, NOW).filter.pieces?.[0]).toHaveLength(500);
    expect(performance.now() - begun).toBeLessThan(1_000);
  });
});
