/** What is there: lists, and the figures. What lies on a page that is lost is left out of a list. */
import type { SQLInputValue } from 'node:sqlite';
import { ITEM_STATES } from '../mail/item.ts';
import type { ItemState, QueueItem } from '../mail/item.ts';
import type { ListFilter } from '../mail/spool.ts';
import type { Database, Row } from './database.ts';
import type { Page } from './protocol.ts';
import { itemOf, itemTest, roughTest } from './rows.ts';
import { isDamage } from './trouble.ts';

/** Items of a state looked at for the oldest: more than arrive while one message is being received. */
const OLDEST_AMONG = 2_000;
/** Items looked at in one turn of a list that no index serves. */
const LOOKED_AT = 2_000;

export class Listing {
  readonly #data: Database;

  constructor(data: Database) {
    this.#data = data;
  }

  list(filter: ListFilter): Page {
    const { limit = 100 } = filter;
    const test = itemTest(filter);
    try {
      if (test === undefined) return { items: this.#listed('*', filter, limit).map(itemOf) };
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
    try {
      if (test !== undefined) return this.#searched(filter, test, limit);
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
    // What lies on a page that is lost is left out.
    const ids = this.#listed('id', { states: ITEM_STATES, ...filter }, LOOKED_AT).map(({ id }) => String(id));
    const items: QueueItem[] = [];
    for (const id of ids) {
      const row = this.#ifReadable(id);
      if (row === undefined || test?.(row) === false) continue;
      items.push(itemOf(row));
      if (items.length === limit) return { items, next: id };
    }
    const last = ids.length < LOOKED_AT ? undefined : ids.at(-1);
    return last === undefined ? { items } : { items, next: last };
  }

  /** What no index finds is looked for in a part of the items at a time, so that other orders have their turn. */
  #searched(filter: ListFilter, test: (row: Row) => boolean, limit: number): Page {
    // Of as many as are looked at in one turn, the last.
    const bound = this.#query('id', filter);
    const last = this.#data.row(`${bound.sql} OFFSET ${LOOKED_AT - 1}`, ...bound.values, 1)?.['id'];
    const { where, values } = roughTest(filter);
    const end = last === undefined ? [] : [filter.newestFirst === true ? 'id >= ?' : 'id <= ?'];
    const { sql, values: given } = this.#query('*', filter, [...end, ...where]);
    const bounds = last === undefined ? [] : [String(last)];
    const found: QueueItem[] = [];
    for (const row of this.#data.rows(sql, ...given, ...bounds, ...values, LOOKED_AT)) {
      if (!test(row)) continue;
      const item = itemOf(row);
      found.push(item);
      if (found.length === limit) return { items: found, next: item.id };
    }
    return last === undefined ? { items: found } : { items: found, next: String(last) };
  }

  #ifReadable(id: string): Row | undefined {
    try {
      return this.#data.row('SELECT * FROM item WHERE id = ?', id);
    } catch (error) {
      if (isDamage(error)) return undefined;
      throw error;
    }
  }

  #query(
    columns: string,
    { ids, route, mailbox, states, after, newestFirst = false }: ListFilter,
    more: readonly string[] = [],
    byState = false,
  ): { readonly sql: string; readonly values: readonly SQLInputValue[] } {
    const where: string[] = [];
    const values: SQLInputValue[] = [];
    if (after !== undefined) {
      where.push(newestFirst ? 'id < ?' : 'id > ?');
      values.push(after);
    }
    if (ids !== undefined) {
      where.push('id IN (SELECT value FROM json_each(?))');
      values.push(JSON.stringify(ids));
    }
    if (route !== undefined) {
      where.push('lane >= ? AND lane < ?');
      values.push(`${route}\n`, `${route}\u{b}`);
    }
    if (mailbox !== undefined) {
      where.push(`substr(lane, instr(lane, char(10)) + 1) = ?`);
      values.push(mailbox);
    }
    if (states !== undefined && !byState) {
      where.push('state IN (SELECT value FROM json_each(?))');
      values.push(JSON.stringify(states));
    }
    const all = [...(byState ? ['state = ?'] : []), ...where, ...more];
    const test = all.length === 0 ? '' : `WHERE ${all.join(' AND ')}`;
    const from = byState ? 'item INDEXED BY item_state' : 'item';
    return {
      sql: `SELECT ${columns} FROM ${from} ${test} ORDER BY id ${newestFirst ? 'DESC' : 'ASC'} LIMIT ?`,
      values,
    };
  }

  #listed(columns: string, filter: ListFilter, limit: number): Row[] {
    const { states, newestFirst = false } = filter;
    if (states === undefined) {
      const { sql, values } = this.#query(columns, filter);
      return this.#data.rows(sql, ...values, limit);
    }
    // State by state, because only then the index gives them in order and nothing that is not shown is read.
    const { sql, values } = this.#query(columns, filter, [], true);
    const order = newestFirst ? -1 : 1;
    return states
      .flatMap((state) => this.#data.rows(sql, state, ...values, limit))
      .toSorted((a, b) => (String(a['id']) < String(b['id']) ? -order : order))
      .slice(0, limit);
  }

  stats(): unknown {
    const counts = new Map(
      this.#data.rows('SELECT what, count FROM tally').map((row) => [String(row['what']), Number(row['count'])]),
    );
    // Ids sort by when a message began to arrive: the oldest by its end is among the first of them.
    const among = (state: ItemState): string =>
      `SELECT arrived FROM (SELECT arrived FROM item INDEXED BY item_state WHERE state = '${state}' ORDER BY id LIMIT ${OLDEST_AMONG})`;
    const oldest = this.#data.row(
      `SELECT min(arrived) AS oldest FROM (${among('queued')} UNION ALL ${among('sending')})`,
    );
    return {
      items: Object.fromEntries(ITEM_STATES.map((state) => [state, counts.get(state) ?? 0])),
      bytes: counts.get('bytes') ?? 0,
      ...(oldest === undefined || oldest['oldest'] === null ? {} : { oldest: Number(oldest['oldest']) }),
    };
  }
}
