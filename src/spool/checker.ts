/**
 * The thread that reads the whole store for check(), by a connection of its own: the running work goes on. SQLite's
 * quick_check reads every page once; the items are then compared with their bodies, each in a transaction of its own, so
 * that the log can be copied to the database in between. Changes nothing. What cannot be read is an answer, not a failure.
 */
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import type { CheckResult } from '../mail/spool.ts';
import { bodyDamage, envelopeOf, originOf, rowDamage } from './damage.ts';
import { letGo } from './memory.ts';
import type { Row } from './database.ts';
import type { FromChecker } from './protocol.ts';
import { troubleOf } from './trouble.ts';

/** Ids asked for at a time. */
const AT_ONCE = 500;

class Checker {
  readonly #db: DatabaseSync;
  #checked = 0;
  readonly #damaged: { readonly id: string; readonly why: string }[] = [];
  #store: string | undefined;

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  check(): CheckResult {
    this.#carefully(() => {
      const verdict = String(this.#db.prepare('PRAGMA quick_check(1)').get()?.['quick_check'] ?? 'nothing');
      if (verdict !== 'ok') this.#store = verdict;
    });
    for (let at: string | undefined = ''; at !== undefined;) at = this.#part(at);
    return {
      checked: this.#checked,
      damaged: this.#damaged,
      ...(this.#store === undefined ? {} : { store: this.#store.replace(/\s+/g, ' ').slice(0, 500) }),
    };
  }

  /** @returns the last id looked at; undefined: that was the last part */
  #part(after: string): string | undefined {
    let last: string | undefined;
    // The index has the ids of items whose rows are lost.
    const ids = this.#carefully(() =>
      this.#db
        .prepare(
          `SELECT id FROM (
             SELECT id FROM (SELECT id FROM item INDEXED BY item_state WHERE state = 'queued' AND id > ?1 ORDER BY id LIMIT ${AT_ONCE})
             UNION ALL
             SELECT id FROM (SELECT id FROM item INDEXED BY item_state WHERE state = 'sending' AND id > ?1 ORDER BY id LIMIT ${AT_ONCE})
             UNION ALL
             SELECT id FROM (SELECT id FROM item INDEXED BY item_state WHERE state = 'parked' AND id > ?1 ORDER BY id LIMIT ${AT_ONCE})
             UNION ALL
             SELECT id FROM (SELECT id FROM item INDEXED BY item_untold WHERE state = 'bounced' AND ended IS NULL AND id > ?1 ORDER BY id LIMIT ${AT_ONCE})
           ) ORDER BY id LIMIT ${AT_ONCE}`,
        )
        .all(after),
    );
    for (const { id } of ids ?? []) {
      last = String(id);
      const why = this.#lookAt(last);
      this.#checked++;
      if (why !== undefined) this.#damaged.push({ id: last, why });
    }
    return last;
  }

  /** In a transaction of its own, so that an item that ends meanwhile is either seen whole or not at all. */
  #lookAt(id: string): string | undefined {
    this.#db.exec('BEGIN');
    try {
      const ask = (sql: string, ...values: string[]): Row | undefined => this.#db.prepare(sql).get(...values);
      const row = ask('SELECT message, size, envelope, origin, ended FROM item WHERE id = ?', id);
      if (row === undefined || row['ended'] !== null) return undefined;
      const body = { message: String(row['message']), size: Number(row['size']) };
      return rowDamage(envelopeOf(row), originOf(row)) ?? bodyDamage(body, ask) ?? this.#octetsLost(body.message);
    } catch (error) {
      return `it cannot be read: ${this.#noted(error)}`;
    } finally {
      // Where damage was met, SQLite says so once more.
      this.#carefully(() => this.#db.exec('COMMIT'));
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
    }
  }

  /** Read only where pages are known to be lost: quick_check has been over all of them. */
  #octetsLost(message: string): undefined {
    if (this.#store === undefined) return;
    for (const row of this.#db.prepare('SELECT octets FROM chunk WHERE message = ? ORDER BY number').iterate(message))
      letGo(row['octets'] as Uint8Array);
  }

  #carefully<Result>(work: () => Result): Result | undefined {
    try {
      return work();
    } catch (error) {
      this.#noted(error);
      return undefined;
    }
  }

  #noted(error: unknown): string {
    const words = error instanceof Error ? error.message : String(error);
    this.#store ??= words;
    return words;
  }
}

if (parentPort !== null) {
  const { path } = workerData as { readonly path: string };
  let answer: FromChecker;
  try {
    using db = new DatabaseSync(path, { timeout: 5_000 });
    db.exec('PRAGMA query_only = ON');
    answer = { kind: 'checked', result: new Checker(db).check() };
  } catch (error) {
    answer = { kind: 'refused', ...troubleOf(error, path) };
  }
  parentPort.postMessage(answer, []);
}
