/**
 * Messages that are being received: octets written while they arrive, and a row that says by which gateway. Whoever takes
 * that row away, in a commit, by giving up or by sweeping, decides what becomes of the octets. Rejects with PostgresError,
 * and with SpoolError where the message was swept.
 */
import type { SpoolId } from '../mail/item.ts';
import { SpoolError } from '../mail/spool.ts';
import { letGo } from './memory.ts';
import type { Connection, Value } from './postgres-connection.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import type { Chunk } from './protocol.ts';

/**
 * $1 message; $2 number; $3 octets; $4 this gateway; $5 now. What is lost with the server is swept: octets need not be on the
 * disk before the commit is, which comes behind them in the same log.
 */
const write = (draft: string): string => `
WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true)), draft AS (${draft})
INSERT INTO chunk (message, number, octets) SELECT $1, $2::int, $3::bytea FROM relaxed, draft
ON CONFLICT (message, number) DO UPDATE SET octets = excluded.octets`;

const WRITE_FIRST = write(`INSERT INTO draft (id, owner, begun) VALUES ($1, $4, $5)
  ON CONFLICT (id) DO UPDATE SET begun = $5 WHERE draft.owner = $4 RETURNING id`);
/** Of one that was taken for dead meanwhile there is no draft any more. */
const WRITE = write('SELECT id FROM draft WHERE id = $1 AND owner = $4 FOR SHARE');

/** A first write that the network held back can bring back the draft of what has come to exist. */
const FORGET = `
WITH gone AS (DELETE FROM draft WHERE id = ANY($1) RETURNING id)
DELETE FROM chunk USING gone WHERE chunk.message = gone.id
  AND NOT EXISTS (SELECT FROM message WHERE message.id = gone.id)`;

export class Drafts {
  readonly #database: PostgresDatabase;
  /** This gateway. */
  readonly #owner: string;
  /** Of each message of more than one chunk: the first is written. */
  readonly #begun = new Map<SpoolId, Promise<void>>();

  constructor(database: PostgresDatabase, owner: string) {
    this.#database = database;
    this.#owner = owner;
  }

  /** The first one leaves what tells that the message is being received, and by whom: the others come after it. */
  async write(message: SpoolId, chunk: Chunk, now: number): Promise<void> {
    if (chunk.number === 0) {
      const begun = this.#write(WRITE_FIRST, message, chunk, now);
      this.#begun.set(message, begun);
      return begun;
    }
    await this.#begun.get(message);
    return this.#write(WRITE, message, chunk);
  }

  async #write(sql: string, message: SpoolId, { number, octets }: Chunk, ...more: Value[]): Promise<void> {
    const owner = this.#owner;
    const work = (link: Connection): Promise<number> => link.run(sql, message, number, octets, owner, ...more);
    if ((await this.#database.order(work, { weight: 'bulk' })) === 0) throw sweptError(message);
    letGo(octets);
  }

  /** Of what has come to exist all the same, or has been swept, nothing is removed: its draft is gone. */
  async abort(message: SpoolId): Promise<void> {
    this.#begun.delete(message);
    await this.#database.run(FORGET, [message]);
  }

  /** It is over, however it ended. */
  left(message: SpoolId): void {
    this.#begun.delete(message);
  }

  /** What could not be removed when it was given up. */
  async forgetGivenUp(link: Connection): Promise<void> {
    const rows = await link.rows('SELECT id FROM draft WHERE owner = $1', this.#owner);
    const given = rows.map(({ id }) => String(id)).filter((id) => !this.#begun.has(id));
    if (given.length > 0) await link.run(FORGET, given);
  }
}

export function sweptError(message: string): SpoolError {
  return new SpoolError(
    'io',
    `What was being received was given up, because this gateway was not heard of for longer than its lease (spool.lease), or the database has lost a part of it in a crash: ${message}`,
  );
}
