/** The database as its worker uses it: statements prepared once, and the history that every change leaves. Throws what SQLite throws. */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { HistoryEntry } from '../mail/item.ts';
import type { DeliveryStatus } from '../mail/status.ts';

export type Row = Record<string, unknown>;

export class Database {
  readonly db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.db = db;
  }

  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  row(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...values);
  }

  rows(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...values);
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  remember(item: string, at: number, what: HistoryEntry['what'], status?: DeliveryStatus, detail?: string): void {
    this.run(
      'INSERT INTO history (item, at, what, detail, status) VALUES (?, ?, ?, ?, ?)',
      item,
      at,
      what,
      detail ?? null,
      status === undefined ? null : JSON.stringify(status),
    );
  }
}
