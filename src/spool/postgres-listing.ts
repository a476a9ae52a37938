/** What is there: lists, histories and the figures. All of it only reads. Rejects with PostgresError. */
import { ITEM_STATES } from '../mail/item.ts';
import type { HistoryEntry, ItemState, QueueItem, SpoolId } from '../mail/item.ts';
import type { ListFilter, SpoolStats } from '../mail/spool.ts';
import type { Row } from './database.ts';
import type { Connection, Value } from './postgres-connection.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import { ITEM } from './postgres-rows.ts';
import { entryOf, itemOf, itemTest, roughTest } from './rows.ts';
import type { Dialect } from './rows.ts';

/** Items of a state looked at for the oldest: more than arrive while one message is being received. */
const OLDEST_AMONG = 2_000;
/** Items looked at in one statement of a list that no index serves. */
const LOOKED_AT = 2_000;

const DIALECT: Dialect = { like: 'ILIKE', hasEscape: 'strpos(envelope, chr(92)) > 0' };

/** Ids sort by when a message began to arrive: the oldest by its end is among the first of them. */
const among = (state: ItemState): string =>
  `(SELECT arrived FROM item WHERE state = '${state}' ORDER BY id LIMIT ${OLDEST_AMONG})`;

const STATS = `SELECT what, sum(count) AS count FROM tally GROUP BY what UNION ALL
  SELECT 'oldest', min(arrived) FROM (${among('queued')} UNION ALL ${among('sending')}) AS waiting`;

interface Asked {
  readonly where: readonly string[];
  readonly values: readonly Value[];
}

export class PostgresListing {
  readonly #database: PostgresDatabase;

  constructor(database: PostgresDatabase) {
    this.#database = database;
  }

  async get(id: SpoolId): Promise<QueueItem | undefined> {
    const row = await this.#database.row(`SELECT ${ITEM} FROM item WHERE id = $1`, id);
    return row === undefined ? undefined : itemOf(row);
  }

  async history(id: SpoolId): Promise<readonly HistoryEntry[]> {
    const lines = 'SELECT at, what, detail, status FROM history WHERE item = $1 ORDER BY number';
    return (await this.#database.rows(lines, id)).map(entryOf);
  }

  async stats(): Promise<SpoolStats> {
    return this.#database.order((link) => this.statsBy(link));
  }

  /** By a connection of one's own. */
  async statsBy(link: Connection): Promise<SpoolStats> {
    const rows = await link.rows(STATS);
    const counts = new Map(rows.map(({ what, count }) => [String(what), count]));
    const countOf = (what: string): number => Number(counts.get(what) ?? 0);
    const oldest = counts.get('oldest');
    return {
      items: Object.fromEntries(ITEM_STATES.map((state) => [state, countOf(state)])) as SpoolStats['items'],
      bytes: countOf('bytes'),
      ...(oldest === null || oldest === undefined ? {} : { oldest: Number(oldest) }),
    };
  }

  async list(filter: ListFilter): Promise<readonly QueueItem[]> {
    const { limit = 100 } = filter;
    const test = itemTest(filter);
    if (test === undefined) return (await this.#listed(filter, limit)).map(itemOf);
    const items: QueueItem[] = [];
    for (let { after } = filter; ;) {
      const page = await this.#searched(after === undefined ? filter : { ...filter, after });
      items.push(
        ...page.rows
          .filter(test)
          .slice(0, limit - items.length)
          .map(itemOf),
      );
      if (items.length === limit || page.last === undefined) return items;
      after = page.last;
    }
  }

  /** What no index finds is looked for in a part of the items at a time. @returns last: where to go on */
  async #searched(filter: ListFilter): Promise<{ readonly rows: readonly Row[]; readonly last?: SpoolId }> {
    const { newestFirst = false } = filter;
    const { where, values } = asked(filter);
    const rough = roughTest(filter, DIALECT);
    const order = newestFirst ? 'DESC' : 'ASC';
    const rows = await this.#ask(
      `WITH part AS MATERIALIZED (SELECT ${ITEM} FROM item ${whereOf(where)} ORDER BY id ${order} LIMIT ${LOOKED_AT})
       SELECT ${ITEM}, NULL AS last FROM part ${whereOf(rough.where)}
       UNION ALL
       SELECT ${ITEM}, CASE WHEN (SELECT count(*) FROM part) = ${LOOKED_AT} THEN id END AS last
       FROM (SELECT ${ITEM} FROM part ORDER BY id ${newestFirst ? 'ASC' : 'DESC'} LIMIT 1) AS bound`,
      [...values, ...rough.values],
    );
    const bound = rows.find(({ last }) => typeof last === 'string')?.['last'];
    const unique = new Map(rows.map((row) => [String(row['id']), row]));
    const found = [...unique.values()].toSorted((a, b) => (String(a['id']) < String(b['id']) === newestFirst ? 1 : -1));
    return typeof bound === 'string' ? { rows: found, last: bound } : { rows: found };
  }

  async #listed(filter: ListFilter, limit: number): Promise<readonly Row[]> {
    const { states, newestFirst = false } = filter;
    const order = `ORDER BY id ${newestFirst ? 'DESC' : 'ASC'} LIMIT ${Math.max(0, Math.floor(limit))}`;
    if (states === undefined) {
      const { where, values } = asked(filter);
      return this.#ask(`SELECT ${ITEM} FROM item ${whereOf(where)} ${order}`, values);
    }
    if (states.length === 0) return [];
    // State by state, because only then the index gives them in order and nothing that is not shown is read.
    const { where, values } = asked({ ...filter, states: undefined });
    const each = states.map(
      (state) => `(SELECT ${ITEM} FROM item ${whereOf([`state = '${stateIn(state)}'`, ...where])} ${order})`,
    );
    return this.#ask(
      `SELECT ${ITEM} FROM (${each.join(' UNION ALL ')}) AS of_states ${order}`,
      states.flatMap(() => values),
    );
  }

  /** @param sql with ? for each value */
  async #ask(sql: string, values: readonly Value[]): Promise<readonly Row[]> {
    let number = 0;
    const text = sql.replaceAll('?', () => `$${++number}`);
    return (await this.#database.order((link) => link.ask(text, values, false))).rows;
  }
}

/** One of those that there are: it stands in a statement. */
function stateIn(state: ItemState): ItemState {
  return ITEM_STATES.find((one) => one === state) ?? 'queued';
}

function whereOf(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
}

type Indexed = {
  readonly [Key in 'ids' | 'route' | 'mailbox' | 'states' | 'after' | 'newestFirst']?: ListFilter[Key] | undefined;
};

function asked({ ids, route, mailbox, states, after, newestFirst = false }: Indexed): Asked {
  const conditions: readonly (readonly [string, ...Value[]])[] = [
    ...(after === undefined ? [] : [[newestFirst ? 'id < ?' : 'id > ?', after] as const]),
    ...(ids === undefined ? [] : [['id = ANY(?)', ids] as const]),
    ...(route === undefined ? [] : [['lane >= ? AND lane < ?', `${route}\n`, `${route}\u{b}`] as const]),
    ...(mailbox === undefined ? [] : [['substr(lane, strpos(lane, chr(10)) + 1) = ?', mailbox] as const]),
    ...(states === undefined ? [] : [['state = ANY(?)', states] as const]),
  ];
  return { where: conditions.map(([text]) => text), values: conditions.flatMap(([, ...values]) => values) };
}
