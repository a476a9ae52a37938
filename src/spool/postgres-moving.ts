/**
 * What a spool is emptied and filled by, as moving.ts has it: whole messages with what only the store itself knows, and
 * receipts and cursors. Everything may be ordered twice. Rejects with PostgresError.
 */
import type { HistoryEntry, SpoolId } from '../mail/item.ts';
import type { KeptCursor, KeptMessage, KeptReceipt, Receipt } from '../mail/spool.ts';
import { bodyFault } from './damage.ts';
import type { Row } from './database.ts';
import { keptItemOf, keptMessageOf, keptReceiptOf, messageOf, rowOf, usersOf, wasSending } from './kept-rows.ts';
import type { Connection } from './postgres-connection.ts';
import { jsonOf } from './postgres-connection.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import { sweptError } from './postgres-drafts.ts';
import { BODY, BODY_OF, ITEM, itemOf as columnsOf, OF_MESSAGE } from './postgres-rows.ts';
import type { OrderTo } from './protocol.ts';
import { entryOf } from './rows.ts';

/** Ids of messages from $1 on, up to $2: one step of the index for each. */
const MESSAGES = `
WITH RECURSIVE step (id) AS (
  (SELECT split_part(id, '-', 1) FROM item WHERE id >= $1 ORDER BY id LIMIT 1)
  UNION ALL
  SELECT (SELECT split_part(item.id, '-', 1) FROM item WHERE item.id >= step.id || '.' ORDER BY item.id LIMIT 1)
  FROM step WHERE step.id IS NOT NULL
)
SELECT id FROM step WHERE id IS NOT NULL LIMIT $2`;

const ITEMS = `SELECT ${columnsOf('item')}, ${BODY} FROM unnest($1::text[]) AS wanted (id)
  JOIN item ON item.id >= wanted.id AND item.id < wanted.id || '.' ${BODY_OF('item')} ORDER BY item.id`;

const ADD_ITEMS = `INSERT INTO item (${ITEM})
  SELECT ${ITEM} FROM json_populate_recordset(NULL::item, $1::json)`;
const ADD_HISTORY = `INSERT INTO history (item, at, what, detail, status)
  SELECT item, at, what, detail, status FROM ROWS FROM
    (json_to_recordset($1::json) AS (item text, at bigint, what text, detail text, status text)) WITH ORDINALITY
    AS line (item, at, what, detail, status, place) ORDER BY place`;

export class PostgresMoving {
  readonly #database: PostgresDatabase;
  readonly #verifyAfter: number;

  /** @param verifyAfter milliseconds after the start of an attempt that was cut short, before it may be looked into */
  constructor(database: PostgresDatabase, verifyAfter: number) {
    this.#database = database;
    this.#verifyAfter = verifyAfter;
  }

  async kept(after: SpoolId | undefined, limit: number): Promise<readonly KeptMessage[]> {
    return this.#database.order(async (link) => {
      const from = after === undefined ? '' : `${after}.`;
      const ids = (await link.rows(MESSAGES, from, limit)).map(({ id }) => String(id));
      const rows = await link.rows(ITEMS, ids);
      const history = await this.#histories(link, rows);
      return ids.map((id) => {
        const own = rows.filter((row) => messageOf(String(row['id'])) === id);
        const items = own.map((row) => keptItemOf(row, history.get(String(row['id'])) ?? []));
        return keptMessageOf(
          id,
          own[0]?.['body_size'],
          items,
          own.map(faultIn).find((why) => why !== undefined),
        );
      });
    });
  }

  async #histories(link: Connection, items: readonly Row[]): Promise<ReadonlyMap<string, readonly HistoryEntry[]>> {
    const lines = await link.rows(
      'SELECT item, at, what, detail, status FROM history WHERE item = ANY($1) ORDER BY number',
      items.map(({ id }) => String(id)),
    );
    const byItem = Map.groupBy(lines, ({ item }) => String(item));
    return new Map([...byItem].map(([item, own]) => [item, own.map(entryOf)]));
  }

  /** Before a body is written. @returns false: the message is there already */
  async makeWay(message: SpoolId): Promise<boolean> {
    return this.#database.transaction(async (link) => {
      if (await isThere(link, message)) return false;
      await removeBody(link, message);
      return true;
    });
  }

  /** @returns false: it is there already */
  async adopt({ message, chunk, now }: OrderTo<'adopt'>): Promise<boolean> {
    const { id, size, items } = message;
    const users = usersOf(message);
    const rows = jsonOf(items.map((item) => rowOf(item, now, this.#verifyAfter)));
    const lines = jsonOf(
      items.flatMap((kept) => [
        ...kept.history.map(({ status, ...line }) => ({
          ...line,
          item: kept.item.id,
          ...(status === undefined ? {} : { status: JSON.stringify(status) }),
        })),
        ...(wasSending(kept) ? [{ item: kept.item.id, at: now, what: 'recovered' }] : []),
      ]),
    );
    return this.#database.transaction(async (link, isRepeated) => {
      // Whoever brings the same waits here.
      await link.run('DELETE FROM draft WHERE id = $1', id);
      if (users > 0) {
        const made = 'INSERT INTO message (id, size, users) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING';
        if ((await link.run(made, id, size, users)) === 0) return isRepeated && (await isThere(link, id));
      }
      if (await isThere(link, id)) return isRepeated;
      if (chunk !== undefined)
        await link.run(
          'INSERT INTO chunk (message, number, octets) VALUES ($1, $2, $3)',
          id,
          chunk.number,
          chunk.octets,
        );
      if (message.hasBody && !(await isWhole(link, id, size))) throw sweptError(id);
      await link.run(ADD_ITEMS, rows);
      await link.run(ADD_HISTORY, lines);
      return true;
    });
  }

  async erase(message: SpoolId): Promise<void> {
    await this.#database.transaction(async (link) => {
      await link.run(`DELETE FROM history WHERE item IN (SELECT id FROM item WHERE ${OF_MESSAGE})`, message);
      await link.run(`DELETE FROM item WHERE ${OF_MESSAGE}`, message);
      await removeBody(link, message);
    });
  }

  async keptReceipts(after: Receipt | undefined, limit: number): Promise<readonly KeptReceipt[]> {
    const { source, key } = after ?? { source: '', key: '' };
    const page =
      'SELECT source, key, at, settled FROM receipt WHERE (source, key) > ($1, $2) ORDER BY source, key LIMIT $3';
    return (await this.#database.rows(page, source, key, limit)).map(keptReceiptOf);
  }

  async adoptReceipts(receipts: readonly KeptReceipt[]): Promise<void> {
    await this.#database.run(
      `INSERT INTO receipt (source, key, at, settled)
       SELECT source, key, at, settled FROM json_to_recordset($1::json) AS g (source text, key text, at bigint, settled bigint) ORDER BY source, key
       ON CONFLICT DO NOTHING`,
      jsonOf(receipts.map(({ source, key, at, settledAt = null }) => ({ source, key, at, settled: settledAt }))),
    );
  }

  async eraseReceipts(receipts: readonly Receipt[]): Promise<void> {
    await this.#database.run(
      `DELETE FROM receipt USING json_to_recordset($1::json) AS g (source text, key text)
       WHERE receipt.source = g.source AND receipt.key = g.key`,
      jsonOf(receipts.map(({ source, key }) => ({ source, key }))),
    );
  }

  async keptCursors(): Promise<readonly KeptCursor[]> {
    const rows = await this.#database.rows('SELECT source, state FROM cursor ORDER BY source');
    return rows.map(({ source, state }) => ({ source: String(source), cursor: String(state) }));
  }

  async adoptCursors(cursors: readonly KeptCursor[], now: number): Promise<void> {
    await this.#database.run(
      `INSERT INTO cursor (source, state, at)
       SELECT source, cursor, $2 FROM json_to_recordset($1::json) AS g (source text, cursor text) ON CONFLICT DO NOTHING`,
      jsonOf(cursors),
      now,
    );
  }

  async eraseCursors(sources: readonly string[]): Promise<void> {
    await this.#database.run('DELETE FROM cursor WHERE source = ANY($1)', sources);
  }
}

/** A server that crashed may have lost octets that had not waited for its disk. */
async function isWhole(link: Connection, message: SpoolId, size: number): Promise<boolean> {
  const sum = 'SELECT coalesce(sum(octet_length(octets)), 0) AS octets FROM chunk WHERE message = $1';
  return Number((await link.row(sum, message))?.['octets']) === size;
}

async function isThere(link: Connection, message: SpoolId): Promise<boolean> {
  return (await link.row(`SELECT 1 AS found FROM item WHERE ${OF_MESSAGE} LIMIT 1`, message)) !== undefined;
}

/** Octets that are on their way out are gone when this is through. */
async function removeBody(link: Connection, message: SpoolId): Promise<void> {
  for (const [table, column] of [
    ['draft', 'id'],
    ['message', 'id'],
    ['chunk', 'message'],
  ] as const)
    await link.run(`DELETE FROM ${table} WHERE ${column} = $1`, message);
}

/** Octets that are lost inside a body are met when it is read. */
function faultIn(row: Row): string | undefined {
  const { item, endedAt } = keptItemOf(row, []);
  const found = { size: row['body_size'], count: row['parts'], last: row['last_part'], octets: row['octets'] };
  return item.damaged ?? (endedAt === undefined ? bodyFault(item, found) : undefined);
}
