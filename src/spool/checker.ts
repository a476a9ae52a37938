/**
 * The thread that reads the whole store for check(), by a connection of its own: the running work goes on. SQLite's
 * quick_check reads every page once; the items are then compared with their bodies, some at a time, so that the log can
 * be copied to the database in between. Changes nothing. What cannot be read is an answer, not a failure.
 */
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import type { CheckResult } from '../mail/spool.ts';
import { bodyDamage, envelopeOf, originOf, rowDamage } from './damage.ts';
import type { FromChecker } from './protocol.ts';
import { troubleOf } from './trouble.ts';

type Row = Record<string, unknown>;

/** Items looked at in one transaction. */
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
    this.#db.exec('BEGIN');
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
    this.#db.exec('COMMIT');
    return last;
  }

  #lookAt(id: string): string | undefined {
    try {
      const ask = (sql: string, ...values: string[]): Row | undefined => this.#db.prepare(sql).get(...values);
      const row = ask('SELECT message, size, envelope, origin FROM item WHERE id = ?', id);
      if (row === undefined) return 'its row is lost';
      const body = { message: String(row['message']), size: Number(row['size']) };
      return rowDamage(envelopeOf(row), originOf(row)) ?? bodyDamage(body, ask);
    } catch (error) {
      return `it cannot be read: ${this.#noted(error)}`;
    }
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
  parentPort.postMessage(answer);
}
