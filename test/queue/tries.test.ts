/** What an item's history says about its tries. */
import { describe, expect, it } from 'vitest';
import type { HistoryEntry } from '../../src/mail/item.ts';
import type { Delayed, Unknown } from '../../src/mail/status.ts';
import { bugStatus } from '../../src/queue/bug.ts';
import { triesIn } from '../../src/queue/tries.ts';

const delayed = (reach: Delayed['reach'], capped?: true): HistoryEntry => ({
  at: 1,
  what: 'delayed',
  status: { outcome: 'delayed', code: '4.4.1', cause: 'x', text: 'later', reach, ...(capped ? { capped } : {}) },
});
const unanswered: Unknown = { outcome: 'unknown', code: '4.4.2', cause: 'ECONNRESET', text: 'no answer' };
const unknown: HistoryEntry = { at: 1, what: 'unknown', status: unanswered };
const recovered: HistoryEntry = { at: 1, what: 'recovered' };
const bug: HistoryEntry = { at: 1, what: 'delayed', status: bugStatus('x') };
const parked: HistoryEntry = { at: 1, what: 'parked', status: unanswered };

describe('the tries of an item', () => {
  it.each<[string, HistoryEntry[], ReturnType<typeof triesIn>]>([
    ['none', [{ at: 1, what: 'accepted' }], { own: 0, capped: 0, unanswered: 0, unclear: 0 }],
    [
      'those of its mailbox and route are not its own',
      [delayed('transport'), delayed('mailbox'), delayed('message')],
      { own: 1, capped: 0, unanswered: 0, unclear: 0 },
    ],
    ['capped ones', [delayed('message', true), delayed('message')], { own: 2, capped: 1, unanswered: 0, unclear: 0 }],
    ['unclear ones', [unknown, recovered, bug], { own: 1, capped: 1, unanswered: 1, unclear: 3 }],
    [
      'those before an operator gave it back do not count',
      [unknown, unknown, bug, parked, unknown],
      { own: 0, capped: 0, unanswered: 1, unclear: 1 },
    ],
  ])('%s', (_, history, tries) => {
    expect(triesIn(history)).toEqual(tries);
  });
});
