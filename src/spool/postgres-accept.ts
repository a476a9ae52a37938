/**
 * Messages that come to exist: their octets are written while they arrive, and what makes them exist is committed in groups.
 * An answer that was lost leaves no doubt for long: the commit is made again, which does nothing where the first one went
 * through. Where the database does not come back in time, the order fails, and the message is withdrawn when it does.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { ArrivingItem, SpoolId } from '../mail/item.ts';
import { goesFirst } from '../mail/precedence.ts';
import type { First } from '../mail/precedence.ts';
import type { Receipt, Told } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';
import { letGo } from './memory.ts';
import type { Connection, Value } from './postgres-connection.ts';
import { jsonOf } from './postgres-connection.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import { inTransaction } from './postgres-database.ts';
import { Group } from './postgres-group.ts';
import type { PostgresNotices } from './postgres-notices.ts';
import { OF_MESSAGE } from './postgres-rows.ts';
import { PostgresError } from './postgres-trouble.ts';
import { itemId, laneName } from './protocol.ts';
import type { Chunk, OrderTo } from './protocol.ts';

type Commit = OrderTo<'commit'>;

/** A commit, as the statement takes it. */
interface Arrival {
  readonly message: string;
  readonly items: string;
  readonly octets: Uint8Array;
  readonly order: Commit;
}

/** Milliseconds between tries while an answer is missing. */
const AGAIN = 100;

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

/** $1 messages; $2 octets of all of them; $3 items; $4 it may have been done before. @param isOnce with receipts */
const arrive = (isOnce: boolean): string => `
WITH given AS MATERIALIZED (
  SELECT * FROM json_to_recordset($1::json) AS g
    (id text, size bigint, users int, number int, place int, octets int, drafted boolean, source text, key text, now bigint)
), drafts AS (
  -- Of one that was taken for dead meanwhile there is none any more, and nothing comes to exist.
  DELETE FROM draft USING given WHERE draft.id = given.id AND given.drafted RETURNING draft.id
), whole AS (
  SELECT * FROM given WHERE NOT drafted OR id IN (SELECT id FROM drafts)
)${
  isOnce
    ? `, won AS (
  INSERT INTO receipt (source, key, at, message) SELECT source, key, now, id FROM whole ORDER BY source, key
  ON CONFLICT DO NOTHING RETURNING message
), lost AS (
  DELETE FROM chunk USING whole WHERE chunk.message = whole.id AND whole.id NOT IN (SELECT message FROM won)
)`
    : ''
}, made AS (
  INSERT INTO message (id, size, users) SELECT id, size, users FROM whole
  WHERE ${isOnce ? 'id IN (SELECT message FROM won) AND' : ''}
    NOT ($4 AND EXISTS (SELECT FROM item WHERE item.id = whole.id))
  ON CONFLICT DO NOTHING RETURNING id
), body AS (
  INSERT INTO chunk (message, number, octets) SELECT id, number, substring($2::bytea FROM place FOR octets)
  FROM given WHERE number IS NOT NULL AND id IN (SELECT id FROM made)
), arriving AS MATERIALIZED (
  SELECT * FROM json_to_recordset($3::json) AS i
    (id text, message text, lane text, size bigint, header_size bigint, message_id text, envelope text, origin text,
     first smallint, tells text, detail text, now bigint)
  WHERE message IN (SELECT id FROM made)
), added AS (
  INSERT INTO item (id, message, lane, state, due, arrived, size, header_size, message_id, envelope, origin, first, tells)
  SELECT id, message, lane, 'queued', now, now, size, header_size, message_id, envelope, origin, first, tells FROM arriving
), told AS (
  INSERT INTO history (item, at, what, detail) SELECT id, now, 'accepted', detail FROM arriving
)
SELECT id FROM made`;

const ARRIVE = arrive(false);
const ARRIVE_ONCE = arrive(true);

export interface AcceptOptions {
  readonly database: PostgresDatabase;
  readonly notices: PostgresNotices;
  /** This gateway. */
  readonly owner: string;
  readonly first: readonly First[];
  /** Milliseconds that an order whose answer was lost waits for the database to come back. */
  readonly patience: number;
  /** So many items have come to exist. */
  readonly onArrived: (items: readonly ArrivingItem[]) => void;
  /** So many items have ended, and of so many bodies nobody may need any. */
  readonly onEnded: (items: number, bodies: number) => void;
}

export class Accept {
  readonly #options: AcceptOptions;
  readonly #group: Group<Arrival, boolean>;
  /** Of each message of more than one chunk: the first is written. */
  readonly #begun = new Map<SpoolId, Promise<void>>();
  /** Messages whose senders were told that they were not taken, which may exist all the same. */
  readonly #withdrawn = new Set<SpoolId>();

  constructor(options: AcceptOptions) {
    this.#options = options;
    this.#group = new Group((arrivals, next) => this.#commitAll(arrivals, next));
  }

  get #database(): PostgresDatabase {
    return this.#options.database;
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
    const { owner } = this.#options;
    const work = (link: Connection): Promise<number> => link.run(sql, message, number, octets, owner, ...more);
    if ((await this.#database.order(work, { weight: 'bulk' })) === 0) throw sweptError(message);
    letGo(octets);
  }

  async abort(message: SpoolId): Promise<void> {
    this.#begun.delete(message);
    await this.#database.run(
      'WITH draft AS (DELETE FROM draft WHERE id = $1) DELETE FROM chunk WHERE message = $1',
      message,
    );
  }

  /** What was being received is written by somebody else now. */
  left(message: SpoolId): void {
    this.#begun.delete(message);
  }

  /** What could not be removed when it was given up. */
  async forgetGivenUp(link: Connection): Promise<void> {
    const rows = await link.rows('SELECT id FROM draft WHERE owner = $1', this.#options.owner);
    const given = rows.map(({ id }) => String(id)).filter((id) => !this.#begun.has(id));
    if (given.length > 0)
      await link.run(
        `WITH gone AS (DELETE FROM draft WHERE id = ANY($1) RETURNING id) DELETE FROM chunk USING gone WHERE chunk.message = gone.id`,
        given,
      );
  }

  /** @returns false: what was told of is no longer being sent, or there was such a receipt already */
  async commit(order: Commit): Promise<boolean> {
    const arrival = this.#arrival(order);
    const { told, receipt, items } = order;
    const isMade = await (told !== undefined
      ? this.#commitTelling(arrival, told)
      : receipt !== undefined
        ? this.#commitOnce(arrival, receipt)
        : this.#commitPlain(arrival));
    this.#begun.delete(order.message);
    if (order.chunk !== undefined) letGo(order.chunk.octets);
    if (isMade) this.#options.onArrived(items);
    return isMade;
  }

  #arrival(order: Commit): Arrival {
    const { message, size, chunk, items, told, now } = order;
    const tells = told?.what === 'bounced' ? told.id : null;
    try {
      return {
        order,
        octets: chunk?.octets ?? new Uint8Array(),
        message,
        items: jsonOf(
          items.map((item, index) => ({
            id: itemId(message, index),
            message,
            lane: laneName(item),
            size,
            header_size: item.headerSize,
            message_id: item.messageId,
            envelope: JSON.stringify(item.envelope),
            origin: JSON.stringify(item.origin),
            first: goesFirst({ ...item, size }, this.#options.first) ? 1 : 0,
            tells: index === 0 ? tells : null,
            detail: item.repairs?.length ? item.repairs.join('; ') : null,
            now,
          })),
        ),
      };
    } catch (error) {
      throw new SpoolError(
        'io',
        `Message ${message} cannot be written down: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }

  /** Those that have come to exist. */
  async #arrive(link: Connection, arrivals: readonly Arrival[], isRepeated: boolean): Promise<ReadonlySet<SpoolId>> {
    let place = 1;
    const isOnce = arrivals.some(({ order }) => order.receipt !== undefined);
    const messages = arrivals.map(({ order: { message, size, items, chunk, receipt, now }, octets }) => {
      const at = place;
      place += octets.length;
      return {
        id: message,
        size,
        users: items.length,
        number: chunk?.number ?? null,
        place: at,
        octets: octets.length,
        // A message of one chunk has no draft.
        drafted: chunk === undefined ? size > 0 : chunk.number > 0,
        source: receipt?.source ?? null,
        key: receipt?.key ?? null,
        now,
      };
    });
    const rows = await link.rows(
      isOnce ? ARRIVE_ONCE : ARRIVE,
      jsonOf(messages),
      together(arrivals),
      `[${arrivals.map(({ items }) => items.slice(1, -1)).join(',')}]`,
      isRepeated,
    );
    return new Set(rows.map(({ id }) => String(id)));
  }

  async #commitAll(arrivals: readonly Arrival[], next: () => void): Promise<readonly boolean[]> {
    const made = await this.#surely(arrivals, next, (link, isRepeated) => this.#made(link, arrivals, isRepeated));
    return arrivals.map(({ message }) => made.has(message));
  }

  /** As long as nobody knows whether it was done, it is done again. */
  async #surely<Result>(
    arrivals: readonly Arrival[],
    next: () => void,
    work: (link: Connection, isRepeated: boolean) => Promise<Result>,
  ): Promise<Result> {
    const { health } = this.#database;
    let deadline: number | undefined;
    for (;;) {
      try {
        return await this.#database.order(work, { isRepeated: deadline !== undefined });
      } catch (error) {
        const isDoubtful = deadline !== undefined || (error instanceof PostgresError && error.isSent);
        if (!isDoubtful || !(error instanceof SpoolError)) throw error;
        next();
        deadline ??= performance.now() + this.#options.patience;
        const left = deadline - performance.now();
        if (left <= 0 || health.ended !== undefined) {
          this.#leaveInDoubt(arrivals);
          throw error;
        }
        await health.well(left);
        await pause(Math.min(left, AGAIN));
      }
    }
  }

  /** What has a receipt, or was told of, is found so when it is tried again. */
  #leaveInDoubt(arrivals: readonly Arrival[]): void {
    for (const { message, order } of arrivals)
      if (order.receipt === undefined && order.told === undefined) this.#withdrawn.add(message);
  }

  /** With those that an earlier try has made. */
  async #made(link: Connection, arrivals: readonly Arrival[], isRepeated: boolean): Promise<ReadonlySet<SpoolId>> {
    const made = await this.#arrive(link, arrivals, isRepeated);
    const missing = arrivals.map(({ message }) => message).filter((message) => !made.has(message));
    if (missing.length === 0 || !isRepeated) return made;
    const found = await link.rows(
      'SELECT id FROM item WHERE id = ANY($1) UNION SELECT message FROM receipt WHERE message = ANY($1)',
      missing,
    );
    return new Set([...made, ...found.map(({ id }) => String(id))]);
  }

  async #commitPlain(arrival: Arrival): Promise<boolean> {
    if (await this.#group.add(arrival, arrival.octets.length)) return true;
    throw sweptError(arrival.message);
  }

  async #commitOnce(arrival: Arrival, { source, key }: Receipt): Promise<boolean> {
    const { message } = arrival;
    const [isMade = false] = await this.#commitAll([arrival], () => undefined);
    if (isMade) return true;
    const there = await this.#database.row(
      'SELECT 1 AS found FROM receipt WHERE source = $1 AND key = $2',
      source,
      key,
    );
    if (there === undefined) throw sweptError(message);
    return false;
  }

  async #commitTelling(arrival: Arrival, told: Told): Promise<boolean> {
    const { message, order } = arrival;
    const { notices } = this.#options;
    const isMade = await this.#surely(
      [arrival],
      () => undefined,
      async (link, isRepeated) => {
        const isThere = 'SELECT 1 AS found FROM item WHERE id = $1';
        if (isRepeated && (await link.row(isThere, message)) !== undefined) return true;
        return inTransaction(link, async () => {
          if (!(await notices.tell(link, told, order.now))) return false;
          if (!(await this.#arrive(link, [arrival], false)).has(message)) throw sweptError(message);
          return true;
        });
      },
    );
    if (!isMade) await this.abort(message);
    else if (told.what === 'relayed') this.#options.onEnded(1, 1);
    if (isMade) notices.told(told);
    return isMade;
  }

  /**
   * Undoes what may have come to exist although its sender was told that it had not, as long as nobody has begun to send
   * it. Never rejects; what is left is undone the next time.
   */
  async withdraw(): Promise<void> {
    for (const message of this.#withdrawn) {
      try {
        await this.#database.transaction((link) => this.#withdraw(link, message));
        this.#withdrawn.delete(message);
        this.#options.onEnded(0, 1);
      } catch (error) {
        if (error instanceof SpoolError) return;
        throw error;
      }
    }
  }

  async #withdraw(link: Connection, message: SpoolId): Promise<void> {
    // Waits for the end of a commit that is still under way, wherever that was begun, and keeps its place from then on.
    await link.run('INSERT INTO message (id, size, users) VALUES ($1, 0, 0) ON CONFLICT DO NOTHING', message);
    const items = await link.rows(`SELECT id, state, attempts FROM item WHERE ${OF_MESSAGE} FOR UPDATE`, message);
    if (items.some(({ state, attempts }) => state !== 'queued' || attempts !== 0)) return;
    const ids = items.map(({ id }) => String(id));
    await link.run('DELETE FROM history WHERE item = ANY($1)', ids);
    await link.run('DELETE FROM item WHERE id = ANY($1)', ids);
    await link.run('DELETE FROM draft WHERE id = $1', message);
    // Its octets are removed as those of any message that nobody needs.
    await link.run('UPDATE message SET users = 0 WHERE id = $1', message);
  }
}

function together(arrivals: readonly Arrival[]): Uint8Array {
  const [only] = arrivals;
  return arrivals.length === 1 && only !== undefined
    ? only.octets
    : Buffer.concat(arrivals.map(({ octets }) => octets));
}

function sweptError(message: string): SpoolError {
  return new SpoolError(
    'io',
    `This gateway was not heard of for longer than its lease (spool.lease), so what it was receiving was given up: ${message}`,
  );
}
