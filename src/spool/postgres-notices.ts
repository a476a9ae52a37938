/**
 * A notice and the item whose sender it tells (`item.tells`), as notices.ts has it. Whoever calls is in the transaction that
 * ends the notice. Rejects with PostgresError.
 */
import type { ItemState, QueueItem, SpoolId } from '../mail/item.ts';
import type { Told } from '../mail/spool.ts';
import type { DeliveryStatus } from '../mail/status.ts';
import { droppedWith, undelivered, untoldStatus, WITHOUT_NOTICE } from './history-words.ts';
import type { Connection } from './postgres-connection.ts';
import { remember } from './postgres-database.ts';
import { leave } from './postgres-leave.ts';
import { ITEM } from './postgres-rows.ts';
import type { Tickets } from './postgres-tickets.ts';
import { itemOf } from './rows.ts';

interface Notice {
  readonly id: SpoolId;
  readonly tells: SpoolId;
}

interface End {
  readonly id: SpoolId;
  readonly ticket: number;
  readonly state: Extract<ItemState, 'parked' | 'relayed'>;
  readonly status: DeliveryStatus;
  readonly detail?: string;
  readonly now: number;
}

/** One of the items that needed it has ended. */
export async function bodyNotNeeded(link: Connection, item: SpoolId): Promise<void> {
  await link.run('UPDATE message SET users = users - 1 WHERE id = (SELECT message FROM item WHERE id = $1)', item);
}

export class PostgresNotices {
  readonly #tickets: Tickets;
  readonly #owner: string;

  constructor(tickets: Tickets, owner: string) {
    this.#tickets = tickets;
    this.#owner = owner;
  }

  /** Our item, as long as nobody else has it. */
  async #sending(
    link: Connection,
    id: SpoolId,
    ticket: number,
  ): Promise<{ readonly tells: SpoolId | null } | undefined> {
    const row = await link.row(
      `SELECT tells FROM item WHERE id = $1 AND state = 'sending' AND owner = $2 AND ticket = $3 FOR UPDATE`,
      id,
      this.#owner,
      ticket,
    );
    if (row === undefined) return undefined;
    return { tells: typeof row['tells'] === 'string' ? row['tells'] : null };
  }

  /** Ends an item that may be a notice. @returns what was parked in its place; `gone`: it is no longer ours to end */
  async end(
    link: Connection,
    { id, ticket, state, status, detail, now }: End,
  ): Promise<QueueItem | 'gone' | undefined> {
    const found = await this.#sending(link, id, ticket);
    if (found === undefined) return 'gone';
    if (found.tells !== null) {
      const notice = { id, tells: found.tells };
      if (state === 'relayed') await this.#delivered(link, notice, now);
      else {
        const parked = await this.failed(link, notice, status.reason ?? status.text, now, status);
        if (parked !== undefined) return parked;
      }
    }
    await leave(link, [{ id, ticket, state, what: state, status, detail, now }], this.#owner);
    return undefined;
  }

  /** What an earlier try of the same end has parked. */
  async parkedFor(link: Connection, tells: SpoolId | undefined): Promise<QueueItem | undefined> {
    if (tells === undefined) return undefined;
    const row = await link.row(`SELECT ${ITEM} FROM item WHERE id = $1 AND state = 'parked'`, tells);
    return row === undefined ? undefined : itemOf(row);
  }

  /** @returns false: the item is no longer being sent, not by us */
  async tell(link: Connection, { id, what, status, detail }: Told, now: number): Promise<boolean> {
    const ticket = this.#tickets.of(id)?.ticket;
    if (ticket === undefined || (await this.#sending(link, id, ticket)) === undefined) return false;
    if (what === 'relayed') {
      await this.end(link, { id, ticket, state: what, status, now, ...(detail === undefined ? {} : { detail }) });
      return true;
    }
    await remember(link, id, now, what, status, detail);
    if (what === 'warned') return true;
    // It has not ended: its body goes when the notice is delivered.
    await link.run(
      `UPDATE item SET state = 'bounced', owner = NULL, ticket = NULL, lease = NULL, status = $2 WHERE id = $1`,
      id,
      JSON.stringify(status),
    );
    return true;
  }

  /** What is told of is no longer being sent. */
  told({ id, what }: Told): void {
    const ticket = this.#tickets.of(id)?.ticket;
    if (what !== 'warned' && ticket !== undefined) this.#tickets.left(id, ticket);
  }

  async #delivered(link: Connection, { id, tells }: Notice, now: number): Promise<void> {
    await this.#cut(link, id);
    const changed = await link.run(
      `UPDATE item SET ended = $2 WHERE id = $1 AND state = 'bounced' AND ended IS NULL`,
      tells,
      now,
    );
    if (changed !== 1) return;
    await remember(link, tells, now, 'told', undefined, `by ${id}`);
    await bodyNotNeeded(link, tells);
  }

  /**
   * It will not be delivered: it ends, and what it tells of is parked. @param status what it ends with; absent: its last
   * @returns what is parked now; undefined: nothing waited for it, and it is an item like any other
   */
  async failed(
    link: Connection,
    { id, tells }: Notice,
    why: string,
    now: number,
    status?: DeliveryStatus,
  ): Promise<QueueItem | undefined> {
    const parked = await this.#park(link, tells, `notice ${id}: ${why}`, now);
    if (parked === undefined) {
      await this.#cut(link, id);
      return undefined;
    }
    await link.run(
      `UPDATE item SET state = 'dropped', owner = NULL, ticket = NULL, lease = NULL, tells = NULL, ended = $2, status = coalesce($3, status) WHERE id = $1`,
      id,
      now,
      status === undefined ? null : JSON.stringify(status),
    );
    await remember(link, id, now, 'dropped', status, undelivered(tells, why));
    await bodyNotNeeded(link, id);
    return parked;
  }

  /** An operator has dropped it: what it tells of ends too. */
  async dropped(link: Connection, { id, tells }: Notice, detail: string, now: number): Promise<void> {
    await this.#cut(link, id);
    const changed = await link.run(
      `UPDATE item SET state = 'dropped', ended = $2 WHERE id = $1 AND state = 'bounced' AND ended IS NULL`,
      tells,
      now,
    );
    if (changed !== 1) return;
    await remember(link, tells, now, 'dropped', undefined, droppedWith(id, detail));
    await bodyNotNeeded(link, tells);
  }

  /** Parks what waits for a notice that is not there: tables that were mended by hand may hold some. */
  async missing(link: Connection, now: number): Promise<readonly QueueItem[]> {
    const rows = await link.rows(
      `SELECT id FROM item WHERE state = 'bounced' AND ended IS NULL
       AND NOT EXISTS (SELECT FROM item AS notice WHERE notice.tells = item.id)`,
    );
    const parked: QueueItem[] = [];
    for (const { id } of rows) {
      const item = await this.#park(link, String(id), WITHOUT_NOTICE, now);
      if (item !== undefined) parked.push(item);
    }
    return parked;
  }

  async #cut(link: Connection, id: SpoolId): Promise<void> {
    await link.run('UPDATE item SET tells = NULL WHERE id = $1', id);
  }

  async #park(link: Connection, id: SpoolId, why: string, now: number): Promise<QueueItem | undefined> {
    const row = await link.row(
      `SELECT ${ITEM} FROM item WHERE id = $1 AND state = 'bounced' AND ended IS NULL FOR UPDATE`,
      id,
    );
    if (row === undefined) return undefined;
    const { untold: _, ...item } = itemOf(row);
    const status = untoldStatus(item.lastStatus, why);
    await park(link, id, status, now);
    return { ...item, state: 'parked', lastStatus: status };
  }
}

/** With a line in the history. */
export async function park(link: Connection, id: SpoolId, status: DeliveryStatus, now: number): Promise<void> {
  await link.run(
    `UPDATE item SET state = 'parked', parked = $2, status = $3 WHERE id = $1`,
    id,
    now,
    JSON.stringify(status),
  );
  await remember(link, id, now, 'parked', status);
}
