/**
 * What the spool gives up by itself: histories that are old enough, and parked mail that nobody took care of, each of
 * which is an event. Never rejects: a store in trouble has said so itself, and the next round comes.
 */
import type { Report } from '../mail/event.ts';
import type { Spool } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';

export interface Retention {
  /** Milliseconds that the history of an item that has ended is kept. */
  readonly retention: number;
  /** Milliseconds that a parked item is kept. */
  readonly parkedRetention: number;
  /** Octets of all parked items; over it, the oldest are ended. */
  readonly parkedSize: number;
}

export async function forgetOld(
  spool: Pick<Spool, 'purge' | 'dropParked'>,
  { retention, parkedRetention, parkedSize }: Retention,
  report: Report,
  now: number,
): Promise<void> {
  try {
    await spool.purge(now - retention);
    for (const { item, why, parkedAt } of await spool.dropParked({ before: now - parkedRetention, size: parkedSize })) {
      const { id, messageId, route, mailbox, size } = item;
      report({ event: 'item.dropped', id, messageId, route, mailbox, why, size, age: (now - parkedAt) / 1000 });
    }
  } catch (error) {
    if (error instanceof SpoolError) return;
    report({ event: 'bug', where: 'spool', error: error instanceof Error ? error : new Error(String(error)) });
  }
}
