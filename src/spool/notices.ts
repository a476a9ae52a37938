/**
 * A notice and the item whose sender it tells (`item.tells`). That item is `bounced`, but has not ended: it keeps its body
 * until its notice is delivered. A notice that ends otherwise leaves it parked, or takes it along if an operator wants
 * that. Throws what SQLite throws; whoever calls is in the transaction that ends the notice.
 */
import type { QueueItem, SpoolId } from '../mail/item.ts';
import type { DeliveryStatus } from '../mail/status.ts';
import type { Bodies } from './bodies.ts';
import type { Database } from './database.ts';
import { droppedWith, undelivered, untoldStatus, WITHOUT_NOTICE } from './history-words.ts';
import { itemOf } from './rows.ts';

interface Notice {
  readonly id: SpoolId;
  readonly tells: SpoolId;
}

export class Notices {
  readonly #data: Database;
  readonly #bodies: Bodies;

  constructor(data: Database, bodies: Bodies) {
    this.#data = data;
    this.#bodies = bodies;
  }

  /** It was delivered: what it tells of ends. It is for the caller to end the notice, now an item like any other. */
  delivered({ id, tells }: Notice, now: number): void {
    this.#cut(id);
    const changed = this.#data.run(
      `UPDATE item SET ended = ? WHERE id = ? AND state = 'bounced' AND ended IS NULL`,
      now,
      tells,
    );
    if (changed !== 1) return;
    this.#data.remember(tells, now, 'told', undefined, `by ${id}`);
    this.#bodies.notNeeded(tells);
  }

  /**
   * It will not be delivered: it ends, and what it tells of is parked. @param status what it ends with; absent: its last
   * @returns what is parked now; undefined: nothing waited for it, and it is an item like any other
   */
  failed({ id, tells }: Notice, why: string, now: number, status?: DeliveryStatus): QueueItem | undefined {
    const parked = this.#park(tells, `notice ${id}: ${why}`, now);
    if (parked === undefined) {
      this.#cut(id);
      return undefined;
    }
    this.#data.run(
      `UPDATE item SET state = 'dropped', lease = NULL, tells = NULL, ended = ?, status = coalesce(?, status) WHERE id = ?`,
      now,
      status === undefined ? null : JSON.stringify(status),
      id,
    );
    this.#data.remember(id, now, 'dropped', status, undelivered(tells, why));
    this.#bodies.notNeeded(id);
    return parked;
  }

  /** An operator has dropped it: what it tells of ends too. */
  dropped({ id, tells }: Notice, detail: string, now: number): void {
    this.#cut(id);
    const changed = this.#data.run(
      `UPDATE item SET state = 'dropped', ended = ? WHERE id = ? AND state = 'bounced' AND ended IS NULL`,
      now,
      tells,
    );
    if (changed !== 1) return;
    this.#data.remember(tells, now, 'dropped', undefined, droppedWith(id, detail));
    this.#bodies.notNeeded(tells);
  }

  /** Parks what waits for a notice that is not there: a file that was mended by hand may hold some. */
  missing(now: number): QueueItem[] {
    const rows = this.#data.rows(
      `SELECT id FROM item INDEXED BY item_untold WHERE state = 'bounced' AND ended IS NULL
       AND NOT EXISTS (SELECT 1 FROM item AS notice INDEXED BY item_tells WHERE notice.tells = item.id)`,
    );
    return rows.flatMap(({ id }) => this.#park(String(id), WITHOUT_NOTICE, now) ?? []);
  }

  #cut(id: SpoolId): void {
    this.#data.run('UPDATE item SET tells = NULL WHERE id = ?', id);
  }

  #park(id: SpoolId, why: string, now: number): QueueItem | undefined {
    const row = this.#data.row(`SELECT * FROM item WHERE id = ? AND state = 'bounced' AND ended IS NULL`, id);
    if (row === undefined) return undefined;
    const { untold: _, ...item } = itemOf(row);
    const status = untoldStatus(item.lastStatus, why);
    this.#data.run(
      `UPDATE item SET state = 'parked', parked = ?, status = ? WHERE id = ?`,
      now,
      JSON.stringify(status),
      id,
    );
    this.#data.remember(id, now, 'parked', status);
    return { ...item, state: 'parked', lastStatus: status };
  }
}
