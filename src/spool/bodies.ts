/**
 * Bodies in the database: rows of octets, kept as long as an item needs them, large ones removed in slices. Octets that
 * cannot be read are remembered, so that what needs them is set aside.
 */
import type { QueueItem } from '../mail/item.ts';
import { bodyDamage } from './damage.ts';
import type { Database } from './database.ts';
import type { Chunk, OrderTo } from './protocol.ts';
import { isDamage, wordsOf } from './trouble.ts';

/** Octets: a larger body is removed in slices between transactions. */
const REMOVED_AT_ONCE = 1024 * 1024;
/** Rows. */
const SLICE = 8;

export class Bodies {
  readonly #data: Database;
  /** Bodies that nobody needs, still to be removed. */
  readonly #rubbish: string[] = [];
  /** By message: bodies of which octets could not be read. */
  readonly #lost = new Map<string, string>();

  constructor(data: Database) {
    this.#data = data;
  }

  /** Adds a chunk. */
  write(message: string, { number, octets }: Chunk): void {
    this.#data.run('INSERT INTO chunk (message, number, octets) VALUES (?, ?, ?)', message, number, octets);
  }

  /** @returns text: these octets are lost, which says nothing about other messages */
  read({ message, number }: OrderTo<'read'>): unknown {
    try {
      return this.#data.row('SELECT octets FROM chunk WHERE message = ? AND number = ?', message, number)?.['octets'];
    } catch (error) {
      // In a transaction it would take the others down with it: each is tried alone then.
      if (!isDamage(error) || this.#data.db.isTransaction) throw error;
      this.#lost.set(message, `its body cannot be read: ${wordsOf(error)}`);
      return wordsOf(error);
    }
  }

  /** One of the items that needed it has ended. */
  notNeeded(id: string): void {
    const row = this.#data.row(
      'UPDATE message SET users = users - 1 WHERE id = (SELECT message FROM item WHERE id = ?) RETURNING id, users, size',
      id,
    );
    if (row !== undefined && Number(row['users']) === 0) this.#discard(String(row['id']), Number(row['size']));
  }

  /** Nobody needs it any more, whoever did. */
  remove(message: string): void {
    const size = this.#data.row('UPDATE message SET users = 0 WHERE id = ? RETURNING size', message)?.['size'];
    if (size !== undefined) this.#discard(message, Number(size));
  }

  #discard(message: string, size: number): void {
    if (size > REMOVED_AT_ONCE) this.#rubbish.push(message);
    else this.clear(message);
  }

  /** Nothing is left of it, so that another one can take its place. */
  clear(message: string): void {
    const at = this.#rubbish.indexOf(message);
    if (at >= 0) this.#rubbish.splice(at, 1);
    this.#data.run('DELETE FROM chunk WHERE message = ?', message);
    this.#data.run('DELETE FROM message WHERE id = ?', message);
  }

  /** Removes a slice of a large body that nobody needs. @returns false when there is nothing to remove */
  tidy(): boolean {
    const message = this.#rubbish[0];
    if (message === undefined) return false;
    // The end of its last item may have been undone with its transaction: then somebody needs it still.
    const users = this.#data.row('SELECT users FROM message WHERE id = ?', message)?.['users'];
    if (users !== undefined && Number(users) > 0) {
      this.#rubbish.shift();
      return true;
    }
    const removed = this.#data.run(
      'DELETE FROM chunk WHERE rowid IN (SELECT rowid FROM chunk WHERE message = ? LIMIT ?)',
      message,
      SLICE,
    );
    if (removed < SLICE) {
      this.#data.run('DELETE FROM message WHERE id = ? AND users = 0', message);
      this.#rubbish.shift();
    }
    return true;
  }

  /** @returns what is wrong with the body of an item; undefined: nothing */
  damage(item: QueueItem): string | undefined {
    return this.#lost.get(item.message) ?? bodyDamage(item, (sql, ...values) => this.#data.row(sql, ...values));
  }

  /** Every page can be read, whatever was met before. */
  forgetLost(): void {
    this.#lost.clear();
  }
}
