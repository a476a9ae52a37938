/**
 * Items that cannot be sent as they were accepted: parked, or of a notice what it tells of, with an event once the
 * transaction is through. Bodies whose octets could not be read are remembered. Rejects with PostgresError.
 */
import type { Report } from '../mail/event.ts';
import type { QueueItem, SpoolId } from '../mail/item.ts';
import { bodyFault, damagedStatus } from './damage.ts';
import type { Row } from './database.ts';
import type { Connection } from './postgres-connection.ts';
import type { PostgresNotices } from './postgres-notices.ts';
import { park } from './postgres-notices.ts';
import type { Aside } from './protocol.ts';

export class SetAside {
  readonly #notices: PostgresNotices;
  readonly #report: Report;
  /** By message: bodies of which octets could not be read. */
  readonly #lost = new Map<SpoolId, string>();

  constructor(notices: PostgresNotices, report: Report) {
    this.#notices = notices;
    this.#report = report;
  }

  lost(message: SpoolId, why: string): void {
    this.#lost.set(message, `its body cannot be read: ${why}`);
  }

  forgetLost(): void {
    this.#lost.clear();
  }

  /** @param row with what there is of the body (postgres-rows.ts) @returns what is wrong with an item; undefined: nothing */
  faultOf(item: QueueItem, row: Row): string | undefined {
    if (item.damaged !== undefined) return item.damaged;
    // What may have gone through already is looked for first; that takes no body.
    if (item.doubtful) return undefined;
    const found = { size: row['body_size'], count: row['parts'], last: row['last_part'], octets: row['octets'] };
    return this.#lost.get(item.message) ?? bodyFault(item, found);
  }

  /** @returns what the event says, for reported() */
  async set(link: Connection, item: QueueItem, why: string, now: number): Promise<readonly Aside[]> {
    const { id, tells } = item;
    const status = damagedStatus(why);
    if (tells !== undefined) {
      const told = await this.#notices.failed(link, { id, tells }, status.reason ?? why, now, status);
      if (told !== undefined) return asideOf(told, `its sender could not be told: notice ${id} is damaged`);
    }
    await park(link, id, status, now);
    return asideOf({ ...item, lastStatus: status }, 'damaged');
  }

  report(aside: readonly Aside[]): void {
    for (const one of aside) this.#report({ event: 'item.parked', ...one });
  }
}

/** Was parked without anybody asking for it. */
export function asideOf(
  { id, messageId, route, mailbox, lastStatus: status }: QueueItem,
  why: string,
): readonly Aside[] {
  return status === undefined ? [] : [{ id, messageId, route, mailbox, status, why }];
}
