/**
 * What was taken from a source, and how far that has been read: a receipt for each thing taken, a cursor for each source.
 * Whoever calls add() is in the transaction that makes an item of what is taken. Throws what SQLite throws.
 */
import type { Receipt } from '../mail/spool.ts';
import type { Database } from './database.ts';
import type { OrderTo } from './protocol.ts';

export class Receipts {
  readonly #data: Database;

  constructor(data: Database) {
    this.#data = data;
  }

  /** @returns false: there is one already */
  add({ source, key }: Receipt, now: number): boolean {
    return this.#data.run('INSERT OR IGNORE INTO receipt (source, key, at) VALUES (?, ?, ?)', source, key, now) === 1;
  }

  /** One that is there is open again. */
  acknowledge({ receipt: { source, key }, now }: OrderTo<'acknowledge'>): void {
    this.#data.run(
      'INSERT INTO receipt (source, key, at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET settled = NULL',
      source,
      key,
      now,
    );
  }

  settle({ receipt: { source, key }, now }: OrderTo<'settle'>): void {
    this.#data.run('UPDATE receipt SET settled = ? WHERE source = ? AND key = ?', now, source, key);
  }

  received({ source, keys }: OrderTo<'received'>): string[] {
    return this.#data
      .rows(
        'SELECT key FROM receipt WHERE source = ? AND key IN (SELECT value FROM json_each(?))',
        source,
        JSON.stringify(keys),
      )
      .map(({ key }) => String(key));
  }

  purge({ before, limit }: OrderTo<'purgeReceipts'>): number {
    return this.#data.run(
      `DELETE FROM receipt WHERE (source, key) IN
       (SELECT source, key FROM receipt INDEXED BY receipt_settled WHERE settled IS NOT NULL AND settled < ? LIMIT ?)`,
      before,
      limit,
    );
  }

  cursor({ source }: OrderTo<'cursor'>): string | undefined {
    const state = this.#data.row('SELECT state FROM cursor WHERE source = ?', source)?.['state'];
    return typeof state === 'string' ? state : undefined;
  }

  keepCursor({ source, cursor, now }: OrderTo<'keepCursor'>): void {
    if (cursor === undefined) this.#data.run('DELETE FROM cursor WHERE source = ?', source);
    else this.#data.run('INSERT OR REPLACE INTO cursor (source, state, at) VALUES (?, ?, ?)', source, cursor, now);
  }
}
