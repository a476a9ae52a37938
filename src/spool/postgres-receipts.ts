/**
 * What was taken from a source, and how far that has been read, as receipts.ts has it; and the end of what is old enough.
 * All of it may be ordered twice. Rejects with PostgresError.
 */
import type { Receipt } from '../mail/spool.ts';
import { jsonOf } from './postgres-connection.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import { Group } from './postgres-group.ts';
import { whole } from './postgres-rows.ts';

/** Keys asked about in one statement, and rows removed in one. */
const KEYS = 500;
const SLICE = 1_000;

const ACKNOWLEDGE = `INSERT INTO receipt (source, key, at)
  SELECT DISTINCT ON (source, key) source, key, now FROM json_to_recordset($1::json) AS g (source text, key text, now bigint) ORDER BY source, key
  ON CONFLICT (source, key) DO UPDATE SET settled = NULL`;

const SETTLE = `UPDATE receipt SET settled = g.now
  FROM (SELECT source, key, max(now) AS now FROM json_to_recordset($1::json) AS g (source text, key text, now bigint) GROUP BY source, key) AS g
  WHERE receipt.source = g.source AND receipt.key = g.key`;

const PURGE_ITEMS = `WITH old AS MATERIALIZED (
  SELECT id FROM item WHERE ended IS NOT NULL AND ended < $1 ORDER BY ended LIMIT $2 FOR UPDATE SKIP LOCKED
), lines AS (DELETE FROM history USING old WHERE history.item = old.id)
DELETE FROM item USING old WHERE item.id = old.id`;

const PURGE_RECEIPTS = `WITH old AS MATERIALIZED (
  SELECT source, key FROM receipt WHERE settled IS NOT NULL AND settled < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM receipt USING old WHERE receipt.source = old.source AND receipt.key = old.key`;

export class PostgresReceipts {
  readonly #database: PostgresDatabase;
  readonly #now: () => number;
  readonly #groups: Readonly<Record<'acknowledge' | 'settle', Group<Receipt, undefined>>>;

  constructor(database: PostgresDatabase, now: () => number) {
    this.#database = database;
    this.#now = now;
    const group = (sql: string): Group<Receipt, undefined> =>
      new Group(async (receipts) => {
        await database.run(sql, jsonOf(receipts.map(({ source, key }) => ({ source, key, now: now() }))));
        return receipts.map(() => undefined);
      });
    this.#groups = { acknowledge: group(ACKNOWLEDGE), settle: group(SETTLE) };
  }

  async acknowledge(receipt: Receipt): Promise<void> {
    await this.#groups.acknowledge.add(receipt);
  }

  async settle(receipt: Receipt): Promise<void> {
    await this.#groups.settle.add(receipt);
  }

  async received(source: string, keys: readonly string[]): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    for (let at = 0; at < keys.length; at += KEYS) {
      const part = keys.slice(at, at + KEYS);
      const rows = await this.#database.rows(
        'SELECT key FROM receipt WHERE source = $1 AND key = ANY($2)',
        source,
        part,
      );
      for (const { key } of rows) found.add(String(key));
    }
    return found;
  }

  async cursor(source: string): Promise<string | undefined> {
    const state = (await this.#database.row('SELECT state FROM cursor WHERE source = $1', source))?.['state'];
    return typeof state === 'string' ? state : undefined;
  }

  async keepCursor(source: string, cursor: string | undefined): Promise<void> {
    if (cursor === undefined) await this.#database.run('DELETE FROM cursor WHERE source = $1', source);
    else
      await this.#database.run(
        'INSERT INTO cursor (source, state, at) VALUES ($1, $2, $3) ON CONFLICT (source) DO UPDATE SET state = $2, at = $3',
        source,
        cursor,
        this.#now(),
      );
  }

  /** @returns items */
  async purge(before: number): Promise<number> {
    const items = await this.#inSlices(PURGE_ITEMS, before);
    await this.#inSlices(PURGE_RECEIPTS, before);
    return items;
  }

  async #inSlices(sql: string, before: number): Promise<number> {
    let purged = 0;
    for (let slice = SLICE; slice === SLICE; purged += slice)
      slice = await this.#database.run(sql, whole(before), SLICE);
    return purged;
  }
}
