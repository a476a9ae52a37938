/**
 * The lists of the console over a spool of 100,000 messages: the first page, and searches that find little or nothing and
 * so have to look at everything. Milliseconds, the slowest of five. Bounded; ends by itself.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ListFilter } from '../src/mail/spool.ts';
import { openSqliteSpool } from '../src/spool/sqlite.ts';

const MESSAGES = 100_000;
const ROUNDS = 5;
const PAGE = 50;

export interface Figure {
  readonly what: string;
  /** Milliseconds: the slowest of some. */
  readonly slowest: number;
  readonly found: number;
}

const SEARCHES: readonly (readonly [string, ListFilter])[] = [
  ['first page', {}],
  ['waiting', { states: ['queued', 'sending'] }],
  ['a part of an address, found often', { pieces: ['scanner'] }],
  ['an address of one message', { pieces: ['person-77123@contoso.com'] }],
  ['nothing', { pieces: ['nobody@nowhere.example'] }],
  ['nothing, with a letter beyond ASCII', { pieces: ['müller'] }],
  ['to an address', { recipient: 'person-77123@contoso.com' }],
  ['from a pattern', { sender: '*@nowhere.example' }],
  ['a Message-ID', { messageId: 'scan.500@scanner.contoso.com' }],
  ['a time', { arrivedFrom: 1, arrivedBefore: 2 }],
];

/** @param messages how many the spool is filled with */
export async function consoleFigures(messages = MESSAGES): Promise<readonly Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-console-'));
  const spool = await openSqliteSpool({
    path: join(folder, 'spool.db'),
    report: () => undefined,
    maxItems: messages * 2,
    minFree: 0,
  });
  try {
    const body = Buffer.from('Subject: one of many\r\n\r\nthe body\r\n');
    const one = async (number: number): Promise<void> => {
      const draft = spool.begin();
      await draft.write(body);
      await draft.commit([
        {
          route: 'exchange',
          mailbox: 'notifications@contoso.com',
          envelope: {
            reversePath: `scanner-${number % 40}@contoso.com`,
            recipients: [{ address: `person-${number}@contoso.com` }],
          },
          origin: { source: 'smtp', name: 'lan', peer: '192.0.2.7', helo: 'scanner.contoso.com' },
          messageId: `<scan.${number}@scanner.contoso.com>`,
          headerSize: 24,
        },
      ]);
    };
    for (let number = 0; number < messages; number += 500)
      await Promise.all(Array.from({ length: Math.min(500, messages - number) }, (_, at) => one(number + at)));
    const figures: Figure[] = [];
    for (const [what, filter] of SEARCHES) {
      let slowest = 0;
      let found = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const begun = performance.now();
        found = (await spool.list({ ...filter, newestFirst: true, limit: PAGE + 1 })).length;
        slowest = Math.max(slowest, performance.now() - begun);
      }
      figures.push({ what, slowest, found });
    }
    return figures;
  } finally {
    await spool.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
