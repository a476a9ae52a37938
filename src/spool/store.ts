/** What each order does to the database; bodies, lanes, lists and operator's orders have a class each. Throws what SQLite throws. */
import type { DatabaseSync } from 'node:sqlite';
import type { ArrivingItem, QueueItem, SpoolId } from '../mail/item.ts';
import { goesFirst } from '../mail/precedence.ts';
import type { First } from '../mail/precedence.ts';
import type { DroppedItem, Told } from '../mail/spool.ts';
import { unreachable } from '../mail/status.ts';
import { Bodies } from './bodies.ts';
import { Database } from './database.ts';
import { DROPPED, WITHOUT_NOTICE } from './history-words.ts';
import { Lanes } from './lanes.ts';
import { Listing } from './listing.ts';
import { Moving } from './moving.ts';
import { Notices } from './notices.ts';
import { Operator } from './operator.ts';
import { itemId, laneName } from './protocol.ts';
import type { Order, OrderTo, WorkerData } from './protocol.ts';
import { Receipts } from './receipts.ts';
import { entryOf, itemOf } from './rows.ts';
import { split } from './split.ts';

export class Store {
  readonly lanes: Lanes;
  readonly #data: Database;
  readonly #bodies: Bodies;
  readonly #listing: Listing;
  readonly #notices: Notices;
  readonly #operator: Operator;
  readonly #receipts: Receipts;
  readonly #moving: Moving;
  /** What belongs together may be in two spools. */
  readonly #isMoved: boolean;
  readonly #first: readonly First[];

  constructor(db: DatabaseSync, { first, verifyAfter }: Pick<WorkerData, 'first' | 'verifyAfter'>) {
    this.#data = new Database(db);
    this.#bodies = new Bodies(this.#data);
    this.#notices = new Notices(this.#data, this.#bodies);
    this.lanes = new Lanes(this.#data, this.#bodies, this.#notices);
    this.#listing = new Listing(this.#data);
    this.#operator = new Operator(this.#data, this.#bodies, this.#notices);
    this.#receipts = new Receipts(this.#data);
    this.#moving = new Moving(this.#data, this.#bodies, verifyAfter);
    this.#isMoved = this.#moving.isUnderWay();
    this.#first = first;
  }

  /** Statements that are prepared once: they frame every order. */
  mark(): void {
    this.#data.run('SAVEPOINT one');
  }

  release(): void {
    this.#data.run('RELEASE one');
  }

  get db(): DatabaseSync {
    return this.#data.db;
  }

  /** @returns false when there is nothing to remove */
  tidy(): boolean {
    return this.#bodies.tidy();
  }

  /**
   * After a crash: attempts that were under way are in doubt, drafts that were never committed are swept. What waits for a
   * notice that is not there, which no crash leaves, is parked.
   */
  recover({ now, verifyAfter }: WorkerData): { recovered: number; swept: number } {
    const orphans = this.#data.rows('SELECT id FROM item WHERE state = ?', 'sending');
    for (const { id } of orphans) this.#data.remember(String(id), now, 'recovered');
    this.#data.run(
      `UPDATE item SET state = 'queued', doubtful = 1, lease = NULL, due = min(coalesce(started, ?1), ?1) + ?2 WHERE state = 'sending'`,
      now,
      verifyAfter,
    );
    // What arrived or was tried in the future did so before the clock was set back: it has waited long enough.
    this.#data.run(
      `UPDATE item SET due = min(due, ?1 + doubtful * ?2) WHERE state = 'queued' AND due > ?1 AND max(arrived, coalesce(started, 0)) > ?1`,
      now,
      verifyAfter,
    );
    for (const item of this.#isMoved ? [] : this.#notices.missing(now))
      this.lanes.noteAside(item, `its sender could not be told: ${WITHOUT_NOTICE}`);
    let swept = 0;
    for (let at = ''; ;) {
      const row = this.#data.row('SELECT min(message) AS message FROM chunk WHERE message > ?', at);
      if (row === undefined || row['message'] === null) break;
      at = String(row['message']);
      const users = this.#data.row('SELECT users FROM message WHERE id = ?', at)?.['users'];
      if (users !== undefined && Number(users) > 0) continue;
      this.#data.run('DELETE FROM chunk WHERE message = ?', at);
      swept++;
    }
    this.#data.run('DELETE FROM message WHERE users = 0');
    return { recovered: orphans.length, swept };
  }

  waiting(): number {
    const row = this.#data.row(`SELECT sum(count) AS count FROM tally WHERE what IN ('queued', 'sending', 'parked')`);
    return Number(row?.['count'] ?? 0);
  }

  obey(order: Order): unknown {
    switch (order.do) {
      case 'write':
        return this.#bodies.write(order.message, order.chunk);
      case 'commit':
        return this.#commit(order);
      case 'abort':
        return this.#data.run('DELETE FROM chunk WHERE message = ?', order.message);
      case 'read':
        return this.#bodies.read(order);
      case 'setAside':
        return this.lanes.setAsideAll(order);
      case 'size':
        return this.#data.row('SELECT size FROM message WHERE id = ? AND users > 0', order.message)?.['size'];
      case 'lanes':
        return this.lanes.lanes();
      case 'claim':
        return this.lanes.claim(order);
      case 'take':
        return this.lanes.take(order);
      case 'setBack':
        // All by the same time, so that they keep their order and what arrives now comes after them.
        return this.#data.run(`UPDATE item SET due = due - ? WHERE state = 'queued'`, order.by);
      case 'renew':
        return (
          this.#data.run(`UPDATE item SET lease = ? WHERE id = ? AND state = 'sending'`, order.leaseUntil, order.id) ===
          1
        );
      case 'release':
        if (
          this.#data.run(
            `UPDATE item SET state = 'queued', lease = NULL, attempts = attempts - 1 WHERE id = ? AND state = 'sending'`,
            order.id,
          ) === 1
        ) {
          this.#data.remember(order.id, order.now, 'released');
        }
        return undefined;
      case 'defer':
        return this.#defer(order);
      case 'end':
        return this.#end(order);
      case 'split': {
        const made = split(this.#data, order);
        const { id, relayed, now } = order;
        if (made !== undefined && relayed !== undefined)
          this.#end({ do: 'end', id, state: 'relayed', status: relayed, now });
        return made;
      }
      case 'retry':
        return this.#operator.retry(order);
      case 'hold':
        return this.#operator.hold(order);
      case 'move':
        return this.#operator.move(order);
      case 'drop':
        return this.#operator.drop(order);
      case 'note':
        return this.#data.remember(order.id, order.now, order.entry.what, order.entry.status, order.entry.detail);
      case 'get': {
        const row = this.#data.row('SELECT * FROM item WHERE id = ?', order.id);
        return row === undefined ? undefined : itemOf(row);
      }
      case 'list':
        return this.#listing.list(order.filter);
      case 'history':
        return this.#data.rows('SELECT * FROM history WHERE item = ? ORDER BY rowid', order.id).map(entryOf);
      case 'stats':
        return this.#listing.stats();
      case 'dropParked':
        return this.#dropParked(order);
      case 'purge':
        return this.#purge(order.before, order.limit);
      case 'received':
        return this.#receipts.received(order);
      case 'acknowledge':
        return this.#receipts.acknowledge(order);
      case 'settle':
        return this.#receipts.settle(order);
      case 'purgeReceipts':
        return this.#receipts.purge(order);
      case 'cursor':
        return this.#receipts.cursor(order);
      case 'keepCursor':
        return this.#receipts.keepCursor(order);
      case 'kept':
        return this.#moving.kept(order);
      case 'makeWay':
        return this.#moving.makeWay(order);
      case 'adopt':
        return this.#moving.adopt(order);
      case 'erase':
        return this.#moving.erase(order);
      case 'keptReceipts':
        return this.#moving.keptReceipts(order);
      case 'adoptReceipts':
        return this.#moving.adoptReceipts(order);
      case 'eraseReceipts':
        return this.#moving.eraseReceipts(order);
      case 'keptCursors':
        return this.#moving.keptCursors();
      case 'adoptCursors':
        return this.#moving.adoptCursors(order);
      case 'eraseCursors':
        return this.#moving.eraseCursors(order);
      case 'probe':
        return this.#data.run(`UPDATE tally SET count = count + 1 WHERE what = 'probe'`);
      case 'close':
        return undefined;
      default:
        return unreachable(order);
    }
  }

  #commit({ message, chunk, size, items, told, receipt, now }: OrderTo<'commit'>): boolean {
    const isLate =
      (told !== undefined && !this.#tell(told, now)) || (receipt !== undefined && !this.#receipts.add(receipt, now));
    if (isLate) {
      this.#data.run('DELETE FROM chunk WHERE message = ?', message);
      return false;
    }
    if (chunk !== undefined) this.#bodies.write(message, chunk);
    this.#data.run('INSERT INTO message (id, size, users) VALUES (?, ?, ?)', message, size, items.length);
    const tells = told?.what === 'bounced' ? told.id : null;
    for (const [index, item] of items.entries())
      this.#add(item, itemId(message, index), { message, size, tells: index === 0 ? tells : null, now });
    return true;
  }

  #add(
    item: ArrivingItem,
    id: SpoolId,
    {
      message,
      size,
      tells,
      now,
    }: Pick<OrderTo<'commit'>, 'message' | 'size' | 'now'> & { readonly tells: SpoolId | null },
  ): void {
    const { envelope, origin, messageId, headerSize } = item;
    this.#data.run(
      `INSERT INTO item (id, message, lane, state, due, arrived, size, header_size, message_id, envelope, origin, first, tells) VALUES (?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      id,
      message,
      laneName(item),
      now,
      now,
      size,
      headerSize,
      messageId,
      JSON.stringify(envelope),
      JSON.stringify(origin),
      goesFirst({ ...item, size }, this.#first) ? 1 : 0,
      tells,
    );
    this.#data.remember(id, now, 'accepted', undefined, item.repairs?.length ? item.repairs.join('; ') : undefined);
  }

  #defer({ id, due, doubtful, status, now }: OrderTo<'defer'>): void {
    const changed = this.#data.run(
      `UPDATE item SET state = 'queued', lease = NULL, due = coalesce(?, due), doubtful = ?, status = ? WHERE id = ? AND state = 'sending'`,
      due ?? null,
      doubtful ? 1 : 0,
      JSON.stringify(status),
      id,
    );
    if (changed === 1) this.#data.remember(id, now, status.outcome === 'unknown' ? 'unknown' : 'delayed', status);
  }

  /** @returns what was parked in the place of a notice */
  #end(order: OrderTo<'end'>): QueueItem | undefined {
    if (this.#endAlone(order)) return undefined;
    const { id, state, status, now } = order;
    const row = this.#data.row(`SELECT tells FROM item WHERE id = ? AND state = 'sending' AND tells IS NOT NULL`, id);
    if (row === undefined) return undefined;
    const notice = { id, tells: String(row['tells']) };
    if (state === 'relayed') this.#notices.delivered(notice, now);
    else {
      const parked = this.#notices.failed(notice, status.reason ?? status.text, now, status);
      if (parked !== undefined) return parked;
    }
    this.#endAlone(order);
    return undefined;
  }

  /** @returns false: it is no longer being sent, or a notice that something waits for; which costs the others no question */
  #endAlone({ id, state, status, detail, now }: OrderTo<'end'>): boolean {
    const ended = state === 'relayed' ? now : null;
    const changed = this.#data.run(
      `UPDATE item SET state = ?, lease = NULL, ended = ?, parked = ?, status = ? WHERE id = ? AND state = 'sending' AND tells IS NULL`,
      state,
      ended,
      state === 'parked' ? now : null,
      JSON.stringify(status),
      id,
    );
    if (changed !== 1) return false;
    this.#data.remember(id, now, state, status, detail);
    if (state === 'relayed') this.#bodies.notNeeded(id);
    return true;
  }

  /** @returns false: the item is no longer being sent */
  #tell({ id, what, status, detail }: Told, now: number): boolean {
    if (this.#data.row(`SELECT 1 AS found FROM item WHERE id = ? AND state = 'sending'`, id) === undefined)
      return false;
    if (what === 'relayed') {
      this.#end({ do: 'end', id, state: what, status, ...(detail === undefined ? {} : { detail }), now });
      return true;
    }
    this.#data.remember(id, now, what, status, detail);
    if (what === 'warned') return true;
    // It has not ended: its body goes when the notice is delivered.
    this.#data.run(
      `UPDATE item SET state = 'bounced', lease = NULL, status = ? WHERE id = ?`,
      JSON.stringify(status),
      id,
    );
    return true;
  }

  #dropParked({ before, size, limit, now }: OrderTo<'dropParked'>): DroppedItem[] {
    const dropped: DroppedItem[] = [];
    const sum = this.#data.row(`SELECT total(size) AS octets FROM item INDEXED BY item_parked WHERE state = 'parked'`);
    let left = Number(sum?.['octets'] ?? 0);
    const oldest = `SELECT * FROM item INDEXED BY item_parked WHERE state = 'parked' ORDER BY parked, id LIMIT ?`;
    for (const row of this.#data.rows(oldest, limit)) {
      const parkedAt = Number(row['parked']);
      if (parkedAt >= before && left <= size) break;
      const why = parkedAt < before ? 'age' : 'size';
      const item = itemOf(row);
      left -= item.size;
      this.#dropOne(item, DROPPED[why], now);
      dropped.push({ item: { ...item, state: 'dropped' }, why, parkedAt });
    }
    return dropped;
  }

  #dropOne({ id, tells }: QueueItem, why: string, now: number): void {
    const told = tells === undefined ? undefined : this.#notices.failed({ id, tells }, `it was held, and ${why}`, now);
    if (told !== undefined)
      return this.lanes.noteAside(told, `its sender could not be told: notice ${id} was held, and ${why}`);
    this.#data.run(`UPDATE item SET state = 'dropped', ended = ? WHERE id = ?`, now, id);
    this.#data.remember(id, now, 'dropped', undefined, why);
    this.#bodies.notNeeded(id);
  }

  #purge(before: number, limit: number): number {
    const rows = this.#data.rows('SELECT id FROM item WHERE ended IS NOT NULL AND ended < ? LIMIT ?', before, limit);
    for (const { id } of rows) {
      this.#data.run('DELETE FROM history WHERE item = ?', String(id));
      this.#data.run('DELETE FROM item WHERE id = ?', String(id));
    }
    return rows.length;
  }
}
