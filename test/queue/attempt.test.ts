/** What an attempt makes of a look that proves the message was not sent. */
import { expect, it } from 'vitest';
import type { HistoryEntry, QueueItem } from '../../src/mail/item.ts';
import type { Unknown, Verification } from '../../src/mail/status.ts';
import type { Transport } from '../../src/mail/transport.ts';
import { attempt } from '../../src/queue/attempt.ts';

const lost: Unknown = { outcome: 'unknown', code: '4.4.2', cause: 'ECONNRESET', text: 'No answer' };
const item: QueueItem = {
  id: 'item-1',
  message: 'item-1',
  route: 'exchange',
  mailbox: 'a@contoso.test',
  envelope: { reversePath: '', recipients: [{ address: 'b@contoso.test' }] },
  origin: { source: 'smtp', name: 'lan', peer: '10.0.0.1' },
  messageId: '<1@app.test>',
  headerSize: 2,
  size: 2,
  state: 'sending',
  arrivedAt: 0,
  due: 0,
  attempts: 3,
  doubtful: true,
  lastStatus: lost,
};

it.each([
  { found: { outcome: 'absent' }, unanswered: 1, isSent: true },
  { found: { outcome: 'absent' }, unanswered: 2, isSent: false },
  { found: { outcome: 'absent', certain: 'its draft is there' }, unanswered: 7, isSent: true },
  { found: { outcome: 'absent', certain: 'its draft is there' }, unanswered: 8, isSent: false },
] satisfies { found: Verification; unanswered: number; isSent: boolean }[])(
  '$found after $unanswered tries without an answer: sent again $isSent',
  async ({ found, unanswered, isSent }) => {
    let delivered = 0;
    const details: (string | undefined)[] = [];
    const transport: Transport = {
      name: 'ews',
      verify: async () => found,
      deliver: async () => {
        delivered++;
        return lost;
      },
      close: async () => {},
    };
    const history: HistoryEntry[] = Array.from({ length: unanswered }, () => ({
      at: 0,
      what: 'unknown',
      status: lost,
    }));
    const result = await attempt(
      { item, open: () => (async function* () {})() },
      {
        transport,
        report: (event) => event.event === 'delivery.verified' && details.push(event.detail),
        history: async () => history,
      },
      new AbortController().signal,
    );
    expect(delivered).toBe(isSent ? 1 : 0);
    expect(result.undecidable === undefined).toBe(isSent);
    expect(result.doubtful).toBe(true);
    expect(details).toEqual(['certain' in found ? found.certain : undefined]);
  },
);
