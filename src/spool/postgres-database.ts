/**
 * Orders to the database, made again where that is right: what was undone for the sake of another at once, and what met a
 * connection that was broken once more on a new one. Then it may have been done before, so whoever orders says what that
 * means. Rejects with PostgresError, with SpoolError while it is of no use to ask, and with what an order itself throws.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { HistoryEntry } from '../mail/item.ts';
import type { DeliveryStatus } from '../mail/status.ts';
import type { Row } from './database.ts';
import type { Connection, Value } from './postgres-connection.ts';
import type { Health } from './postgres-health.ts';
import type { Pool, Weight } from './postgres-pool.ts';
import { PostgresError } from './postgres-trouble.ts';

/** @param isRepeated it may have been done before, without an answer */
type Work<Result> = (link: Connection, isRepeated: boolean) => Promise<Result>;

export interface How {
  readonly weight?: Weight;
  /** It may have been done before. */
  readonly isRepeated?: boolean;
  /** What is wrong with it says nothing of the whole, unless the database cannot be reached. */
  readonly isAlone?: boolean;
}

/** What was undone is tried so often, with growing waits. */
const TRIES = 8;

export class PostgresDatabase {
  readonly pool: Pool;
  readonly health: Health;

  constructor(pool: Pool, health: Health) {
    this.pool = pool;
    this.health = health;
  }

  async order<Result>(work: Work<Result>, { weight, isRepeated = false, isAlone = false }: How = {}): Promise<Result> {
    let [mayBeDone, wasLost] = [isRepeated, false];
    let last: PostgresError | undefined;
    for (let tries = 1; ; tries++) {
      try {
        this.health.check();
      } catch (error) {
        // That it is of no use to ask now says nothing of what was asked before.
        throw mayBeDone && last !== undefined ? this.#sent(last) : error;
      }
      try {
        return await this.pool.use((link) => work(link, mayBeDone), weight);
      } catch (error) {
        if (!(error instanceof PostgresError)) throw error;
        last = error;
        mayBeDone ||= error.isSent;
        if (error.meaning === 'again' && tries < TRIES) await pause(Math.random() * 5 * 2 ** tries);
        else if (error.meaning === 'lost' && !error.isUnreachable && !wasLost) wasLost = true;
        else {
          if (!isAlone || error.meaning === 'lost') this.health.note(error);
          throw mayBeDone && !error.isSent ? this.#sent(error) : error;
        }
      }
    }
  }

  #sent({ reason }: PostgresError): PostgresError {
    return new PostgresError(reason, this.pool.where, { isSent: true });
  }

  /** One statement, which may be asked twice. */
  async rows(sql: string, ...values: Value[]): Promise<readonly Row[]> {
    return this.order((link) => link.rows(sql, ...values));
  }

  async row(sql: string, ...values: Value[]): Promise<Row | undefined> {
    return (await this.rows(sql, ...values))[0];
  }

  async run(sql: string, ...values: Value[]): Promise<number> {
    return this.order((link) => link.run(sql, ...values));
  }

  /** All of it or nothing. */
  async transaction<Result>(work: Work<Result>): Promise<Result> {
    return this.order((link, isRepeated) => inTransaction(link, () => work(link, isRepeated)));
  }
}

export async function inTransaction<Result>(link: Connection, work: () => Promise<Result>): Promise<Result> {
  // Not waited for: what fails here fails with the next statement too.
  link.ask('BEGIN').catch(() => undefined);
  try {
    const result = await work();
    await link.commit();
    return result;
  } catch (error) {
    await link.ask('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** A line of the history. */
export async function remember(
  link: Connection,
  item: string,
  at: number,
  what: HistoryEntry['what'],
  status?: DeliveryStatus,
  detail?: string,
): Promise<void> {
  await link.run(
    'INSERT INTO history (item, at, what, detail, status) VALUES ($1, $2, $3, $4, $5)',
    item,
    at,
    what,
    detail ?? null,
    status === undefined ? null : JSON.stringify(status),
  );
}
