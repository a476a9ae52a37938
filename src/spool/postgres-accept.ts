/**
 * Commits, in groups. An answer that was lost leaves no doubt for long: the commit is made again, which does nothing where the first one went
 * through. Where the database does not come back in time, the order fails, and the message is withdrawn when it does.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { ArrivingItem, SpoolId } from '../mail/item.ts';
import type { First } from '../mail/precedence.ts';
import type { Receipt, Told } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';
import { letGo } from './memory.ts';
import { arrivalOf, arrive } from './postgres-arriving.ts';
import type { Arrival, Commit } from './postgres-arriving.ts';
import type { Connection } from './postgres-connection.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import { inTransaction } from './postgres-database.ts';
import { sweptError } from './postgres-drafts.ts';
import type { Drafts } from './postgres-drafts.ts';
import { Group } from './postgres-group.ts';
import type { PostgresNotices } from './postgres-notices.ts';
import { OF_MESSAGE } from './postgres-rows.ts';
import { PostgresError } from './postgres-trouble.ts';

/** Milliseconds between tries while an answer is missing. */
const AGAIN = 100;
/** Milliseconds after which what is in doubt is withdrawn, if no trouble that ends has done so before. */
const WITHDRAW_AFTER = 5_000;
/** Milliseconds that the network may hold back what was sent, at the longest. */
const LATE = 900_000;

export interface AcceptOptions {
  readonly database: PostgresDatabase;
  readonly notices: PostgresNotices;
  readonly drafts: Drafts;
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
  /** Messages whose senders were told that they were not taken, which may exist all the same. */
  readonly #withdrawn = new Set<SpoolId>();

  constructor(options: AcceptOptions) {
    this.#options = options;
    this.#group = new Group((arrivals, next) => this.#commitAll(arrivals, next));
  }

  get #database(): PostgresDatabase {
    return this.#options.database;
  }

  /** @returns false: what was told of is no longer being sent, or there was such a receipt already */
  async commit(order: Commit): Promise<boolean> {
    const arrival = arrivalOf(order, this.#options.first);
    const { told, receipt, items } = order;
    const isMade = await (told !== undefined
      ? this.#commitTelling(arrival, told)
      : receipt !== undefined
        ? this.#commitOnce(arrival, receipt)
        : this.#commitPlain(arrival));
    this.#options.drafts.left(order.message);
    if (order.chunk !== undefined) letGo(order.chunk.octets);
    this.#withdrawn.delete(order.message);
    if (isMade) this.#options.onArrived(items);
    return isMade;
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
        return await this.#database.order(work, { isRepeated: arrivals.some((one) => one.isDoubtful) });
      } catch (error) {
        if (error instanceof PostgresError && error.isSent) for (const one of arrivals) one.isDoubtful = true;
        if (!arrivals.some((one) => one.isDoubtful) || !(error instanceof SpoolError)) throw error;
        // What the database does not take is found out one by one.
        if (error instanceof PostgresError && error.meaning === 'order' && arrivals.length > 1) throw error;
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
    // Where there was no trouble, nobody tells when it is over.
    setTimeout(() => void this.withdraw(), WITHDRAW_AFTER).unref();
  }

  /** With those that an earlier try has made. */
  async #made(link: Connection, arrivals: readonly Arrival[], isRepeated: boolean): Promise<ReadonlySet<SpoolId>> {
    const made = await arrive(link, arrivals, isRepeated);
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
      (link, isRepeated) =>
        inTransaction(link, async () => {
          if (isRepeated && (await wasMade(link, told.id, message))) return true;
          if (!(await notices.tell(link, told, order.now))) return false;
          if (!(await arrive(link, [arrival], false)).has(message)) throw sweptError(message);
          return true;
        }),
    );
    if (!isMade) await this.#options.drafts.abort(message);
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
        if (this.#database.health.ended !== undefined) return;
        const isUndone = await this.#database.transaction((link) => this.#withdraw(link, message));
        this.#withdrawn.delete(message);
        if (isUndone) setTimeout(() => void this.#giveUpPlace(message), LATE).unref();
      } catch (error) {
        if (error instanceof SpoolError) return;
        throw error;
      }
    }
  }

  /** @returns false: somebody has begun to send it */
  async #withdraw(link: Connection, message: SpoolId): Promise<boolean> {
    // Waits for the end of a commit that is still under way, wherever that was begun, and keeps its place from then on: one
    // that the network still holds back finds it taken.
    await link.run('INSERT INTO message (id, size, users) VALUES ($1, 0, 1) ON CONFLICT DO NOTHING', message);
    const items = await link.rows(`SELECT id, state, attempts FROM item WHERE ${OF_MESSAGE} FOR UPDATE`, message);
    if (items.some(({ state, attempts }) => state !== 'queued' || attempts !== 0)) return false;
    const ids = items.map(({ id }) => String(id));
    await link.run('DELETE FROM history WHERE item = ANY($1)', ids);
    await link.run('DELETE FROM item WHERE id = ANY($1)', ids);
    await link.run('DELETE FROM draft WHERE id = $1', message);
    await link.run('DELETE FROM chunk WHERE message = $1', message);
    await link.run('UPDATE message SET size = 0, users = 1 WHERE id = $1', message);
    return true;
  }

  /** Never rejects: where it fails, a row stays that nothing hangs on. */
  async #giveUpPlace(message: SpoolId): Promise<void> {
    try {
      await this.#database.run('UPDATE message SET users = 0 WHERE id = $1 AND size = 0 AND users = 1', message);
      this.#options.onEnded(0, 1);
    } catch (error) {
      if (!(error instanceof SpoolError)) throw error;
    }
  }
}

/** By an earlier try, whose end is waited for where it is still under way. */
async function wasMade(link: Connection, tellsOf: SpoolId, message: SpoolId): Promise<boolean> {
  await link.row('SELECT id FROM item WHERE id = $1 FOR UPDATE', tellsOf);
  return (await link.row('SELECT 1 AS found FROM item WHERE id = $1', message)) !== undefined;
}
