/**
 * Which lanes have work, and what of a lane is sent next. An item that is damaged is set aside; one whose row is in a page
 * that is lost is passed over. Throws what SQLite throws; after damage, `damageMet` tells whether trying again may help.
 */
import type { QueueItem } from '../mail/item.ts';
import { inTurn } from '../mail/precedence.ts';
import type { Lane } from '../mail/spool.ts';
import type { Bodies } from './bodies.ts';
import { damagedStatus } from './damage.ts';
import type { Database, Row } from './database.ts';
import type { Notices } from './notices.ts';
import { laneKey } from './protocol.ts';
import type { Aside, OrderTo } from './protocol.ts';
import { itemOf } from './rows.ts';
import { isDamage, wordsOf } from './trouble.ts';

/** Due items of a lane that go first (1) or not (0). */
const claimOf = (columns: string): string =>
  `SELECT ${columns} FROM item INDEXED BY item_due WHERE state = 'queued' AND lane = ? AND first = ? AND due <= ? ORDER BY due, id LIMIT ?`;
/** Far beyond any time, for a minimum over what may be absent. */
const NEVER = Number.MAX_SAFE_INTEGER;
/** When the next such item of the lane `step.lane` is due. */
const dueIn = (first: 0 | 1): string =>
  `coalesce((SELECT min(due) FROM item INDEXED BY item_due WHERE state = 'queued' AND lane = step.lane AND first = ${first}), ${NEVER})`;

export class Lanes {
  readonly #data: Database;
  readonly #bodies: Bodies;
  readonly #notices: Notices;
  /** By lane: items whose rows were met in lost pages. */
  readonly #unreadable = new Map<string, Set<string>>();
  readonly #aside: Aside[] = [];
  #damage: string | undefined;
  #damageMet = 0;
  /** By lane: preferred items claimed in a row while others waited. */
  readonly #inARow = new Map<string, number>();

  constructor(data: Database, bodies: Bodies, notices: Notices) {
    this.#data = data;
    this.#bodies = bodies;
    this.#notices = notices;
  }

  /** A loose scan: one step of the index for each lane, however many items it has. */
  lanes(): Lane[] {
    const rows = this.#data.rows(`
      WITH RECURSIVE step (lane) AS (
        SELECT min(lane) FROM item INDEXED BY item_due WHERE state = 'queued'
        UNION ALL
        SELECT (SELECT min(lane) FROM item INDEXED BY item_due WHERE state = 'queued' AND lane > step.lane) FROM step WHERE step.lane IS NOT NULL
      )
      SELECT lane, min(${dueIn(0)}, ${dueIn(1)}) AS due
      FROM step WHERE lane IS NOT NULL ORDER BY due`);
    return rows.flatMap(({ lane: name, due: earliest }) => {
      const lane = String(name);
      const unreadable = this.#unreadable.get(lane);
      const due = unreadable === undefined ? earliest : this.#earliest(lane, [...unreadable]);
      return due === null ? [] : [{ ...laneKey(lane), due: Number(due) }];
    });
  }

  #earliest(lane: string, without: readonly string[]): unknown {
    return this.#data.row(
      `SELECT min(due) AS due FROM item INDEXED BY item_due WHERE state = 'queued' AND lane = ? AND id NOT IN (SELECT value FROM json_each(?))`,
      lane,
      JSON.stringify(without),
    )?.['due'];
  }

  claim({ lane, now, limit, leaseUntil }: OrderTo<'claim'>): QueueItem[] {
    const { taken, row: inARow } = inTurn(
      this.#due(lane, 1, now, limit),
      this.#due(lane, 0, now, limit),
      limit,
      this.#inARow.get(lane) ?? 0,
    );
    if (inARow === 0) this.#inARow.delete(lane);
    else this.#inARow.set(lane, inARow);
    return taken.flatMap((row) => this.#minding(String(row['id']), lane, () => this.#begin(row, now, leaseUntil)));
  }

  take({ id, now, leaseUntil }: OrderTo<'take'>): QueueItem | undefined {
    const row = this.#data.row(`SELECT * FROM item WHERE id = ? AND state = 'queued'`, id);
    if (row === undefined) return undefined;
    return this.#minding(id, String(row['lane']), () => this.#begin(row, now, leaseUntil))[0];
  }

  #begin(row: Row, now: number, leaseUntil: number): QueueItem[] {
    const item = itemOf(row);
    if (this.#setAside(item, now)) return [];
    this.#data.run(
      `UPDATE item SET state = 'sending', attempts = attempts + 1, started = ?, lease = ? WHERE id = ?`,
      now,
      leaseUntil,
      item.id,
    );
    this.#data.remember(item.id, now, 'attempted');
    return [{ ...item, state: 'sending', attempts: item.attempts + 1 }];
  }

  /** Rows of due items, but for those that cannot be read. */
  #due(lane: string, first: 0 | 1, now: number, limit: number): Row[] {
    const unreadable = this.#unreadable.get(lane);
    if (unreadable === undefined) {
      try {
        return this.#data.rows(claimOf('*'), lane, first, now, limit);
      } catch (error) {
        if (isDamage(error)) {
          this.#damageMet++;
          this.#unreadable.set(lane, new Set());
        }
        throw error;
      }
    }
    // One by one: the index has their ids, and a page that is lost holds only some of them.
    return this.#data
      .rows(claimOf('id'), lane, first, now, limit + unreadable.size)
      .map(({ id }) => String(id))
      .filter((id) => !unreadable.has(id))
      .flatMap((id) => this.#minding(id, lane, () => this.#data.rows('SELECT * FROM item WHERE id = ?', id)));
  }

  /** Remembers whose row is in a page that is lost, so that the order is without it when it is tried again. */
  #minding<Result>(id: string, lane: string, work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      if (isDamage(error)) {
        this.#damageMet++;
        this.#damage = `item ${id} cannot be read or written: ${wordsOf(error)}`;
        this.#unreadable.set(lane, (this.#unreadable.get(lane) ?? new Set()).add(id));
      }
      throw error;
    }
  }

  /** Grows with what is learnt of damage; an order that met some may succeed when it is tried again. */
  get damageMet(): number {
    return this.#damageMet;
  }

  /** Parks what is queued and could not be sent as it was accepted, or what such a notice tells of. @returns whether it was */
  #setAside(item: QueueItem, now: number, found?: string): boolean {
    // What may have gone through already is looked for first; that takes no body.
    const why = item.damaged ?? (item.doubtful ? undefined : (this.#bodies.damage(item) ?? found));
    if (why === undefined) return false;
    const { id, tells } = item;
    const status = damagedStatus(why);
    const told =
      tells === undefined ? undefined : this.#notices.failed({ id, tells }, status.reason ?? why, now, status);
    if (told !== undefined) {
      this.noteAside(told, `its sender could not be told: notice ${id} is damaged`);
      return true;
    }
    this.#data.run(
      `UPDATE item SET state = 'parked', parked = ?, status = ? WHERE id = ?`,
      now,
      JSON.stringify(status),
      id,
    );
    this.#data.remember(id, now, 'parked', status);
    this.noteAside({ ...item, lastStatus: status }, 'damaged');
    return true;
  }

  /** Was parked without anybody asking for it: an event tells. */
  noteAside({ id, messageId, route, mailbox, lastStatus: status }: QueueItem, why: string): void {
    if (status !== undefined) this.#aside.push({ id, messageId, route, mailbox, status, why });
  }

  setAsideAll({ damaged, whole, now }: OrderTo<'setAside'>): void {
    if (whole) {
      this.#unreadable.clear();
      this.#bodies.forgetLost();
    }
    for (const { id, why } of damaged) {
      if (this.#isUnreadable(id)) continue;
      const row = this.#data.row(`SELECT * FROM item WHERE id = ? AND state = 'queued'`, id);
      if (row !== undefined) this.#setAside(itemOf(row), now, why);
    }
  }

  #isUnreadable(id: string): boolean {
    return [...this.#unreadable.values()].some((ids) => ids.has(id));
  }

  /** What was set aside, and the damage met, since the last call. */
  found(): { aside: Aside[]; damage?: string } {
    const damage = this.#damage;
    this.#damage = undefined;
    return { aside: this.#aside.splice(0), ...(damage === undefined ? {} : { damage }) };
  }

  get setAside(): number {
    return this.#aside.length;
  }

  /** Undone with its transaction or its order. */
  forgetAside(from = 0): void {
    this.#aside.length = from;
  }
}
