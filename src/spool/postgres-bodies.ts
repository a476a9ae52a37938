/**
 * Bodies as they are read, and the removal of those that nobody needs any more, in slices beside the work, by whichever
 * gateway comes to it. A body that cannot be read as it was written ends in a SpoolError `damaged`, never early.
 */
import type { SpoolId } from '../mail/item.ts';
import { SpoolError } from '../mail/spool.ts';
import { letGo } from './memory.ts';
import type { SetAside } from './postgres-aside.ts';
import type { Connection } from './postgres-connection.ts';
import { literal } from './postgres-connection.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import { isDamage } from './postgres-trouble.ts';

/** Octets up to which a body comes with the first answer. */
const SMALL = 64 * 1024;
const FIRST = `SELECT message.size, chunk.octets FROM message
  LEFT JOIN chunk ON chunk.message = message.id AND chunk.number = 0 AND message.size <= ${SMALL}
  WHERE message.id = $1 AND message.users > 0`;

/** Messages, and chunks of each, removed in one statement. */
const MESSAGES = 100;
const CHUNKS = 16;

/** Some chunks of some messages that nobody needs; the message goes with its last. $1 messages; $2 chunks of each. */
const TIDY = `
WITH done AS MATERIALIZED (
  SELECT id FROM message WHERE users <= 0 ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
), slice AS MATERIALIZED (
  SELECT done.id, part.number FROM done CROSS JOIN LATERAL (SELECT number FROM chunk WHERE chunk.message = done.id ORDER BY number LIMIT $2) AS part
), removed AS (
  DELETE FROM chunk USING slice WHERE chunk.message = slice.id AND chunk.number = slice.number
), gone AS (
  DELETE FROM message WHERE users <= 0 AND id IN
    (SELECT id FROM done WHERE (SELECT count(*) FROM slice WHERE slice.id = done.id) < $2) RETURNING id
)
SELECT (SELECT count(*) FROM done) AS found, (SELECT count(*) FROM gone) AS gone`;

/** Milliseconds in which what has ended is collected. */
const SOON = 50;

export class PostgresBodies {
  readonly #database: PostgresDatabase;
  readonly #aside: SetAside;
  #timer: NodeJS.Timeout | undefined;
  #isTidying = false;
  #isAsked = false;
  #isOver = false;

  constructor(database: PostgresDatabase, aside: SetAside) {
    this.#database = database;
    this.#aside = aside;
  }

  async *open(message: SpoolId): AsyncGenerator<Uint8Array> {
    const { where } = this.#database.pool;
    const first = await this.#read(message, (link) => link.row(FIRST, message));
    if (first === undefined)
      throw new SpoolError('damaged', `The database ${where} has no body for message ${message}`);
    const size = Number(first['size']);
    let at = 0;
    let next = size <= SMALL ? Promise.resolve(first['octets']) : this.#chunk(message, 0);
    for (let number = 1; at < size; number++) {
      const octets = await next;
      if (!(octets instanceof Uint8Array)) break;
      at += octets.length;
      if (at < size) next = this.#chunk(message, number);
      try {
        yield octets;
      } finally {
        // Small ones share their memory with others.
        if (octets.length === octets.buffer.byteLength) letGo(octets);
      }
    }
    if (at !== size)
      throw new SpoolError(
        'damaged',
        `The database ${where} holds ${at} octets of message ${message} instead of ${size}`,
      );
  }

  #chunk(message: SpoolId, number: number): Promise<unknown> {
    const sql = `SELECT octets FROM chunk WHERE message = ${literal(message)} AND number = ${number}`;
    const octets = this.#read(message, async (link) => (await link.octets(sql))[0]);
    octets.catch(() => undefined); // whoever awaits it gets it; a reader that left early does not
    return octets;
  }

  async #read<Result>(message: SpoolId, work: (link: Connection) => Promise<Result>): Promise<Result> {
    try {
      return await this.#database.order(work, { weight: 'bulk', isAlone: true });
    } catch (error) {
      // Octets that are lost say nothing about other messages.
      if (isDamage(error) && error instanceof SpoolError) this.#aside.lost(message, error.message);
      throw error;
    }
  }

  /** Somebody's body is needed no more: it is removed soon. */
  needless(): void {
    if (this.#isOver) return;
    this.#isAsked = true;
    if (this.#isTidying) return;
    this.#timer ??= setTimeout(() => void this.#tidy(), SOON).unref();
  }

  async #tidy(): Promise<void> {
    this.#timer = undefined;
    this.#isTidying = true;
    try {
      while (this.#isAsked && !this.#isOver) {
        this.#isAsked = false;
        const row = await this.#database.order((link) => link.row(TIDY, MESSAGES, CHUNKS), { weight: 'bulk' });
        const [found, gone] = [Number(row?.['found'] ?? 0), Number(row?.['gone'] ?? 0)];
        if (found === MESSAGES || gone < found) this.#isAsked = true;
      }
    } catch {
      // The database has told of its trouble; the next heartbeat asks again.
    } finally {
      this.#isTidying = false;
    }
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }
}
