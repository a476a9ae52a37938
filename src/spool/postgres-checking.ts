/**
 * Every item that has not ended, compared with its row and its body, in slices beside the running work. No octet of a body is
 * read: whether a page is what it should be is told by the server's own checksums. Rejects with PostgresError.
 */
import type { SpoolId } from '../mail/item.ts';
import type { CheckResult } from '../mail/spool.ts';
import { bodyFault, envelopeOf, originOf, rowDamage } from './damage.ts';
import type { Row } from './database.ts';
import type { SetAside } from './postgres-aside.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import { BODY, BODY_OF, ITEM, itemOf as columnsOf } from './postgres-rows.ts';
import { isDamage } from './postgres-trouble.ts';
import type { Aside } from './protocol.ts';
import { itemOf } from './rows.ts';

/** Items looked at in one statement. */
const AT_ONCE = 200;

const part = (condition: string): string =>
  `(SELECT id, message, size, envelope, origin FROM item WHERE ${condition} AND id > $1 ORDER BY id LIMIT ${AT_ONCE})`;

const PART = `
SELECT item.id, item.size, item.envelope, item.origin, ${BODY} FROM (
  SELECT * FROM (
    ${part(`state = 'queued'`)} UNION ALL ${part(`state = 'sending'`)} UNION ALL ${part(`state = 'parked'`)}
    UNION ALL ${part(`state = 'bounced' AND ended IS NULL`)}
  ) AS unended ORDER BY id LIMIT ${AT_ONCE}
) AS item ${BODY_OF('item')} ORDER BY item.id`;

const QUEUED = `
WITH wanted AS MATERIALIZED (SELECT ${ITEM} FROM item WHERE id = $1 AND state = 'queued' FOR UPDATE)
SELECT ${columnsOf('wanted')}, ${BODY} FROM wanted ${BODY_OF('wanted')}`;

export class PostgresChecking {
  readonly #database: PostgresDatabase;
  readonly #aside: SetAside;
  readonly #now: () => number;

  constructor(database: PostgresDatabase, aside: SetAside, now: () => number) {
    this.#database = database;
    this.#aside = aside;
    this.#now = now;
  }

  async check(): Promise<CheckResult> {
    const damaged: { readonly id: SpoolId; readonly why: string }[] = [];
    const progress = { checked: 0 };
    const store = await this.#look(damaged, progress);
    for (const { id, why } of damaged) await this.#setAside(id, why);
    return { ...progress, damaged, ...(store === undefined ? {} : { store }) };
  }

  /** @returns what of the tables themselves cannot be read; then only a part was looked at */
  async #look(
    damaged: { readonly id: SpoolId; readonly why: string }[],
    progress: { checked: number },
  ): Promise<string | undefined> {
    for (let after = ''; ;) {
      let rows: readonly Row[];
      try {
        rows = await this.#database.rows(PART, after);
      } catch (error) {
        if (isDamage(error) && error instanceof Error) return error.message;
        throw error;
      }
      for (const row of rows) {
        const why = faultIn(row);
        if (why !== undefined) damaged.push({ id: String(row['id']), why });
      }
      progress.checked += rows.length;
      after = String(rows.at(-1)?.['id'] ?? '');
      if (rows.length < AT_ONCE) return undefined;
    }
  }

  /** What is queued is not tried any more. */
  async #setAside(id: SpoolId, why: string): Promise<void> {
    const aside = await this.#database.transaction(async (link): Promise<readonly Aside[]> => {
      const row = await link.row(QUEUED, id);
      if (row === undefined) return [];
      const item = itemOf(row);
      if (item.doubtful && item.damaged === undefined) return [];
      return this.#aside.set(link, item, this.#aside.faultOf(item, row) ?? why, this.#now());
    });
    this.#aside.report(aside);
  }
}

function faultIn(row: Row): string | undefined {
  const found = { size: row['body_size'], count: row['parts'], last: row['last_part'], octets: row['octets'] };
  return rowDamage(envelopeOf(row), originOf(row)) ?? bodyFault({ size: Number(row['size']) }, found);
}
