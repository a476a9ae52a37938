/**
 * The connections to whichever server takes writes, never more than are allowed. What waits for one is served in the order
 * in which it came, bodies after everything else. A connection that has failed takes those that are idle with it: what
 * comes then finds out anew who is there.
 */
import type { PostgresUrl } from '../mail/postgres-url.ts';
import { shownPostgresUrl } from '../mail/postgres-url.ts';
import { SpoolError } from '../mail/spool.ts';
import { Connection, nameOf } from './postgres-connection.ts';
import { noneOf, PostgresError } from './postgres-trouble.ts';
import type { Reason } from './postgres-trouble.ts';

export interface PoolOptions {
  readonly url: PostgresUrl;
  /** Connections at most, but for those of `connect()`. */
  readonly most: number;
  /** Milliseconds without an answer, after which a connection is given up. */
  readonly queryTimeout: number;
}

interface Waiting {
  /** Steady. */
  readonly since: number;
  readonly resolve: (connection: Connection) => void;
  readonly reject: (error: unknown) => void;
}

/** bulk: octets of large bodies, which can wait. */
export type Weight = 'order' | 'bulk';

/** Milliseconds for which a server that has no connection left is not asked for one, as long as there are others. */
const CROWDED_FOR = 5_000;

/** The server has no connection left for us. */
export function isCrowded(error: unknown): boolean {
  return error instanceof PostgresError && error.reason.code === '53300';
}

export class Pool {
  readonly #options: PoolOptions;
  readonly where: string;
  readonly #idle: Connection[] = [];
  readonly #busy = new Set<Connection>();
  #connecting = 0;
  readonly #waiting: Record<Weight, Waiting[]> = { order: [], bulk: [] };
  /** Where the last connection was made to: tried first. */
  #server = 0;
  #closed: SpoolError | undefined;
  #whenIdle: (() => void) | undefined;
  /** Steady: no new connection before. */
  #crowdedUntil = -Infinity;
  /** Asked about each connection that is made; what it rejects with ends it. */
  admit: ((connection: Connection) => Promise<void>) | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.where = shownPostgresUrl(options.url);
  }

  /** @throws PostgresError, and what `work` throws */
  async use<Result>(work: (connection: Connection) => Promise<Result>, weight: Weight = 'order'): Promise<Result> {
    const connection = await this.#take(weight);
    try {
      return await work(connection);
    } finally {
      this.#give(connection);
    }
  }

  #take(weight: Weight): Promise<Connection> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (!idle.isUsable) continue;
      this.#busy.add(idle);
      return Promise.resolve(idle);
    }
    return new Promise((resolve, reject) => {
      this.#waiting[weight].push({ since: performance.now(), resolve, reject });
      this.#grow();
    });
  }

  #next(): Waiting | undefined {
    return this.#waiting.order.shift() ?? this.#waiting.bulk.shift();
  }

  /** Connects for those that wait, as far as that is allowed. */
  #grow(): void {
    const wanted = this.#waiting.order.length + this.#waiting.bulk.length;
    const there = this.#busy.size + this.#idle.length + this.#connecting;
    if (there > 0 && performance.now() < this.#crowdedUntil) return;
    if (this.#connecting >= wanted || there >= this.#options.most) return;
    this.#connecting++;
    const began = performance.now();
    this.connect()
      .then(
        (connection) => {
          this.#connecting--;
          this.#put(connection);
        },
        (error: unknown) => {
          this.#connecting--;
          if (!this.#goesOnWithFewer(error)) this.#refuse(error, began);
        },
      )
      .finally(() => this.#grow());
  }

  /** Where the server has no more for us, those that there are have to do: whoever waits gets one when it is given back. */
  #goesOnWithFewer(error: unknown): boolean {
    if (!isCrowded(error)) return false;
    if (this.#busy.size + this.#idle.length + this.#connecting === 0) return false;
    this.#crowdedUntil = performance.now() + CROWDED_FOR;
    return true;
  }

  /** One of those that waited when the try began: whoever came later, or waits behind, may find that it is back. */
  #refuse(error: unknown, began: number): void {
    for (const waiting of [this.#waiting.order, this.#waiting.bulk]) {
      const [first] = waiting;
      if (first === undefined || first.since > began) continue;
      waiting.shift();
      first.reject(error);
      return;
    }
  }

  #put(connection: Connection): void {
    const next = connection.isUsable && this.#closed === undefined ? this.#next() : undefined;
    if (next !== undefined) {
      this.#busy.add(connection);
      next.resolve(connection);
    } else if (!connection.isUsable) this.#grow();
    else if (this.#closed !== undefined) void connection.close();
    else {
      connection.onLost = () => this.drop();
      this.#idle.push(connection);
    }
  }

  #give(connection: Connection): void {
    this.#busy.delete(connection);
    if (!connection.isUsable) this.drop();
    this.#put(connection);
    if (this.#busy.size === 0) this.#whenIdle?.();
  }

  /** A connection of one's own, which does not count here. @throws PostgresError */
  async connect({ queryTimeout = this.#options.queryTimeout } = {}): Promise<Connection> {
    const { url } = this.#options;
    const tried: { host: string; reason: Reason }[] = [];
    for (let n = 0; n < url.hosts.length; n++) {
      if (this.#closed !== undefined) throw this.#closed;
      const index = (this.#server + n) % url.hosts.length;
      const host = url.hosts[index];
      if (host === undefined) break;
      try {
        const connection = await Connection.open({ url, host, queryTimeout });
        try {
          await this.admit?.(connection);
        } catch (error) {
          connection.destroy();
          throw error;
        }
        this.#server = index;
        return connection;
      } catch (error) {
        if (!(error instanceof PostgresError)) throw error;
        tried.push({ host: nameOf(host), reason: error.reason });
      }
    }
    throw new PostgresError(noneOf(tried), this.where, { isUnreachable: true });
  }

  /** Ends one that is idle, for somebody who needs it more. @returns false: there is none */
  async spare(): Promise<boolean> {
    this.#crowdedUntil = performance.now() + CROWDED_FOR;
    const idle = this.#idle.pop();
    await idle?.close();
    return idle !== undefined;
  }

  /** Ends what is idle: it may be as broken as another that was. */
  drop(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  /** Waits for what is under way. Never rejects. @param patience milliseconds */
  async close(error: SpoolError, patience: number): Promise<void> {
    if (this.#closed !== undefined) return;
    this.#closed = error;
    for (let next = this.#next(); next !== undefined; next = this.#next()) next.reject(error);
    if (this.#busy.size > 0) await this.#allIdle(patience);
    for (const connection of this.#busy) connection.destroy();
    for (const connection of this.#idle.splice(0)) await connection.close();
  }

  async #allIdle(patience: number): Promise<void> {
    const idle = Promise.withResolvers<void>();
    const timer = setTimeout(idle.resolve, patience);
    this.#whenIdle = idle.resolve;
    await idle.promise;
    clearTimeout(timer);
  }
}
