/**
 * What a spool is emptied and filled by, as the database has it: whole messages with what only the store itself knows, and
 * receipts and cursors. What is on a page that is lost is named, where an index still knows of it. Throws what SQLite
 * throws.
 */
import { ITEM_STATES } from '../mail/item.ts';
import type { SpoolId } from '../mail/item.ts';
import type { KeptCursor, KeptItem, KeptMessage, KeptReceipt } from '../mail/spool.ts';
import type { Bodies } from './bodies.ts';
import type { Database, Row } from './database.ts';
import { keptItemOf, keptMessageOf, keptReceiptOf, messageOf, rowOf, usersOf, wasSending } from './kept-rows.ts';
import { MOVE_MARK } from './move-mark.ts';
import type { OrderTo } from './protocol.ts';
import { entryOf } from './rows.ts';
import { isDamage, wordsOf } from './trouble.ts';

/** All items of a message, of which others' ids begin with its own. */
const OF_MESSAGE = `(id = ?1 OR (id > ?1 || '-' AND id < ?1 || '.'))`;

export class Moving {
  readonly #data: Database;
  readonly #bodies: Bodies;
  readonly #verifyAfter: number;

  /** @param verifyAfter milliseconds after the start of an attempt that was cut short, before it may be looked into */
  constructor(data: Database, bodies: Bodies, verifyAfter: number) {
    this.#data = data;
    this.#bodies = bodies;
    this.#verifyAfter = verifyAfter;
  }

  /** A lost page with cursors keeps nobody from the mail: then it counts as none. */
  isUnderWay(): boolean {
    try {
      return this.#data.row('SELECT 1 AS found FROM cursor WHERE source = ?', MOVE_MARK) !== undefined;
    } catch (error) {
      this.#unlessReading(error);
      return false;
    }
  }

  kept({ after, limit }: OrderTo<'kept'>): KeptMessage[] {
    const kept: KeptMessage[] = [];
    for (let at = after ?? ''; kept.length < limit;) {
      const next = this.#messageAfter(at);
      if (next === undefined) break;
      kept.push(this.#message(next));
      at = next;
    }
    return kept;
  }

  #messageAfter(message: SpoolId): SpoolId | undefined {
    const beyond = message === '' ? '' : `${message}.`;
    try {
      const id = this.#data.row('SELECT id FROM item WHERE id >= ? ORDER BY id LIMIT 1', beyond)?.['id'];
      return typeof id === 'string' ? messageOf(id) : undefined;
    } catch (error) {
      this.#unlessReading(error);
      // The index has the ids of items whose rows are lost.
      const ids = ITEM_STATES.flatMap((state) => {
        const first = 'SELECT min(id) AS id FROM item INDEXED BY item_state WHERE state = ? AND id >= ?';
        const id = this.#data.row(first, state, beyond)?.['id'];
        return typeof id === 'string' ? [id] : [];
      });
      const [first] = ids.toSorted();
      return first === undefined ? undefined : messageOf(first);
    }
  }

  #message(id: SpoolId): KeptMessage {
    try {
      const items = this.#data
        .rows(`SELECT * FROM item WHERE ${OF_MESSAGE} ORDER BY id`, id)
        .map((row) => this.#item(row));
      const message = this.#data.row('SELECT size FROM message WHERE id = ? AND users > 0', id);
      const damaged = this.#damageOf(items);
      return keptMessageOf(id, message?.['size'], items, damaged);
    } catch (error) {
      this.#unlessReading(error);
      return { id, size: 0, hasBody: false, items: [], damaged: `it cannot be read: ${wordsOf(error)}` };
    }
  }

  #item(row: Row): KeptItem {
    const history = this.#data.rows('SELECT * FROM history WHERE item = ? ORDER BY rowid', String(row['id']));
    return keptItemOf(row, history.map(entryOf));
  }

  /** Octets that are lost inside a body are met when it is read. */
  #damageOf(items: readonly KeptItem[]): string | undefined {
    for (const { item, endedAt } of items) {
      const why = item.damaged ?? (endedAt === undefined ? this.#bodies.damage(item) : undefined);
      if (why !== undefined) return why;
    }
    return undefined;
  }

  /** In a transaction damage would take the others down with it: each is tried alone then. */
  #unlessReading(error: unknown): void {
    if (!isDamage(error) || this.#data.db.isTransaction) throw error;
  }

  /** Before a body is written. @returns false: the message is there already */
  makeWay({ message }: OrderTo<'makeWay'>): boolean {
    if (this.#isThere(message)) return false;
    this.#bodies.clear(message);
    return true;
  }

  #isThere(message: SpoolId): boolean {
    return this.#data.row(`SELECT 1 AS found FROM item WHERE ${OF_MESSAGE} LIMIT 1`, message) !== undefined;
  }

  /** @returns false: it is there already */
  adopt({ message, chunk, now }: OrderTo<'adopt'>): boolean {
    const { id, size, items } = message;
    if (this.#isThere(id)) return false;
    if (chunk !== undefined) this.#bodies.write(id, chunk);
    const users = usersOf(message);
    if (users > 0) this.#data.run('INSERT INTO message (id, size, users) VALUES (?, ?, ?)', id, size, users);
    for (const item of items) this.#add(item, now);
    return true;
  }

  #add(kept: KeptItem, now: number): void {
    const row = rowOf(kept, now, this.#verifyAfter);
    const columns = Object.keys(row);
    this.#data.run(
      `INSERT INTO item (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
      ...Object.values(row),
    );
    for (const { at, what, status, detail } of kept.history) this.#data.remember(row.id, at, what, status, detail);
    if (wasSending(kept)) this.#data.remember(row.id, now, 'recovered');
  }

  erase({ message }: OrderTo<'erase'>): void {
    for (const { id } of this.#data.rows(`SELECT id FROM item WHERE ${OF_MESSAGE}`, message)) {
      this.#data.run('DELETE FROM history WHERE item = ?', String(id));
      this.#data.run('DELETE FROM item WHERE id = ?', String(id));
    }
    this.#bodies.remove(message);
  }

  keptReceipts({ after, limit }: OrderTo<'keptReceipts'>): KeptReceipt[] {
    const { source, key } = after ?? { source: '', key: '' };
    return this.#data
      .rows('SELECT * FROM receipt WHERE (source, key) > (?, ?) ORDER BY source, key LIMIT ?', source, key, limit)
      .map(keptReceiptOf);
  }

  adoptReceipts({ receipts }: OrderTo<'adoptReceipts'>): void {
    for (const { source, key, at, settledAt } of receipts)
      this.#data.run(
        'INSERT OR IGNORE INTO receipt (source, key, at, settled) VALUES (?, ?, ?, ?)',
        source,
        key,
        at,
        settledAt ?? null,
      );
  }

  eraseReceipts({ receipts }: OrderTo<'eraseReceipts'>): void {
    for (const { source, key } of receipts)
      this.#data.run('DELETE FROM receipt WHERE source = ? AND key = ?', source, key);
  }

  keptCursors(): KeptCursor[] {
    return this.#data
      .rows('SELECT source, state FROM cursor ORDER BY source')
      .map(({ source, state }) => ({ source: String(source), cursor: String(state) }));
  }

  adoptCursors({ cursors, now }: OrderTo<'adoptCursors'>): void {
    for (const { source, cursor } of cursors)
      this.#data.run('INSERT OR IGNORE INTO cursor (source, state, at) VALUES (?, ?, ?)', source, cursor, now);
  }

  eraseCursors({ sources }: OrderTo<'eraseCursors'>): void {
    for (const source of sources) this.#data.run('DELETE FROM cursor WHERE source = ?', source);
  }
}
