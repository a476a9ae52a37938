/**
 * Keeps this gateway among those at work: says again and again that it is there, takes over what others have left, hears
 * what they tell, and looks whether a database in trouble can be worked with again. By a connection of its own, so that no
 * amount of work makes a gateway look dead. Never rejects: what fails is trouble, and is tried again.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Report } from '../mail/event.ts';
import type { LaneKey, SpoolId } from '../mail/item.ts';
import { SpoolError } from '../mail/spool.ts';
import type { Claims } from './postgres-claim.ts';
import { SET_BACK } from './postgres-clock.ts';
import type { StoreClock } from './postgres-clock.ts';
import type { Connection } from './postgres-connection.ts';
import { inTransaction } from './postgres-database.ts';
import type { Drafts } from './postgres-drafts.ts';
import type { Health } from './postgres-health.ts';
import type { Known } from './postgres-known.ts';
import { leave } from './postgres-leave.ts';
import type { News } from './postgres-news.ts';
import { checkFormat, formatIn, join } from './postgres-opening.ts';
import type { Format, Joining } from './postgres-opening.ts';
import { isCrowded } from './postgres-pool.ts';
import type { Pool } from './postgres-pool.ts';
import { setBack, sweepDrafts, takeOver, tidyUp } from './postgres-recovery.ts';
import type { TakenOver } from './postgres-recovery.ts';
import type { Tickets } from './postgres-tickets.ts';
import { PostgresError } from './postgres-trouble.ts';
import type { Waiting } from './postgres-waiting.ts';
import { laneKey } from './protocol.ts';

export interface KeeperOptions {
  readonly pool: Pool;
  readonly health: Health;
  readonly clock: StoreClock;
  readonly tickets: Tickets;
  readonly claims: Claims;
  readonly known: Known;
  readonly news: News;
  readonly format: Format;
  readonly joining: Omit<Joining, 'now'>;
  /** Milliseconds after the start of an attempt that was cut short, before it may be looked into. */
  readonly verifyAfter: number;
  readonly report: Report;
  readonly waiting: Waiting;
  readonly drafts: Drafts;
  /** There are bodies that nobody needs. */
  readonly onNeedless: () => void;
  /** The database can be worked with again. */
  readonly onBack: () => void;
  /** For good: only a new start, or another version, helps. */
  readonly onLost: (error: SpoolError) => void;
}

/** Milliseconds between looks; and while the database is in trouble. */
const LOOK = 1_000;
const LOOK_IN_TROUBLE = 500;
/** At the latest; more often with a short lease. */
const BEAT = 10_000;
/** Milliseconds in which a server has noticed that a connection is over. */
const SPARED = 100;
/** Milliseconds of connections that are lost again and again, after which the database counts as lost. */
const LOST_FOR = 2_000;
/** Octets of which there has to be room before a full disk counts as mended. */
const PROBED = 256 * 1024;

const FIGURES = `SELECT
  coalesce(sum(count) FILTER (WHERE what IN ('queued', 'sending', 'parked')), 0) AS waiting,
  coalesce(sum(count) FILTER (WHERE what = 'queued'), 0) AS queued, count(*) AS rows,
  EXISTS (SELECT FROM message WHERE users <= 0) AS needless
FROM tally`;

export class Keeper {
  readonly #options: KeeperOptions;
  #link: Connection | undefined;
  #beatAt = -Infinity;
  #isOver = false;
  #timer: NodeJS.Timeout | undefined;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #queued = 0;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** Resolves when this gateway hears of the others, or when that has failed for the first time. */
  async start(): Promise<void> {
    const first = Promise.withResolvers<void>();
    this.#running = this.#run(first.resolve);
    await first.promise;
  }

  /** @param isMember another gateway has come: this one looks who is there */
  look({ isMember = false } = {}): void {
    if (isMember) this.#beatAt = -Infinity;
    this.#wake?.();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    this.#wake?.();
    // What hangs is cut short.
    const timer = setTimeout(() => this.#link?.destroy(), 1_000);
    await this.#running;
    clearTimeout(timer);
    await this.#link?.close();
  }

  async #run(onTurn: () => void): Promise<void> {
    const { health, joining } = this.#options;
    /** Since when (steady) connections are lost, one after the other. */
    let lostSince = Infinity;
    while (!this.#isOver) {
      try {
        await this.#turn();
        lostSince = Infinity;
      } catch (error) {
        lostSince = Math.min(lostSince, performance.now());
        // A connection that is lost says little; that there is no other one says more.
        const isLost = error instanceof PostgresError && error.meaning === 'lost' && !error.isUnreachable;
        if (isLost && performance.now() < lostSince + LOST_FOR) {
          await this.#sleep(SPARED);
          continue;
        }
        if (!this.#hasFailed(error)) return onTurn();
      }
      onTurn();
      const look = health.trouble === undefined ? LOOK : LOOK_IN_TROUBLE;
      await this.#sleep(Math.min(look, joining.lease / 3));
    }
  }

  /** @returns false: there is no use in going on */
  #hasFailed(error: unknown): boolean {
    const { health, onLost, report } = this.#options;
    if (error instanceof PostgresError) health.note(error);
    else if (error instanceof SpoolError) {
      if (!this.#isOver) onLost(error);
      return false;
    } else report({ event: 'bug', where: 'spool', error: error instanceof Error ? error : new Error(String(error)) });
    return true;
  }

  async #sleep(milliseconds: number): Promise<void> {
    if (this.#isOver) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#timer = setTimeout(resolve, milliseconds);
    });
    clearTimeout(this.#timer);
    this.#wake = undefined;
  }

  async #turn(): Promise<void> {
    const { clock, known, news, claims, joining, health, tickets } = this.#options;
    const link = await this.#connected();
    const isDue = performance.now() - this.#beatAt >= Math.min(BEAT, joining.lease / 3);
    // Also while there is trouble: whoever can say that it is there keeps what is its own.
    if (tickets.takeDoubt() || isDue) await this.#beat(link);
    await news.look(link, known, (by) => claims.lanesBy(by), clock.now());
    if (health.trouble === undefined || health.trouble.trouble === 'damaged') return;
    await this.#probe();
    await this.#beat(link);
  }

  async #connected(): Promise<Connection> {
    if (this.#link?.isUsable === true) return this.#link;
    const { news, clock } = this.#options;
    const link = await this.#connect();
    link.onLost = () => this.#wake?.();
    this.#link = link;
    clock.learn(link.clock);
    this.#beatAt = -Infinity;
    await news.use(link);
    return link;
  }

  async #connect(): Promise<Connection> {
    const { pool } = this.#options;
    try {
      return await pool.connect();
    } catch (error) {
      // Without this one all others are of no use.
      if (!isCrowded(error) || !(await pool.spare())) throw error;
      await pause(SPARED);
      return pool.connect();
    }
  }

  async #beat(link: Connection): Promise<void> {
    this.#beatAt = performance.now();
    const { clock, format, joining, pool, tickets, news, verifyAfter, waiting, drafts, onNeedless } = this.#options;
    const { id } = joining;
    const asked = performance.now();
    const [time] = await link.rows(
      `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS time, (SELECT max(seen) FROM member) AS seen`,
    );
    clock.learn({ time: Number(time?.['time']), asked, answered: performance.now() });
    const now = clock.now();
    if (Number(time?.['seen'] ?? 0) > now + SET_BACK) await inTransaction(link, () => setBack(link, now));
    checkFormat(await formatIn(link), pool.where, format);
    await join(link, format, { ...joining, now });
    await this.#takeOver(link, now, verifyAfter);
    const [isStray, missing] = [tickets.stray(), tickets.missing()];
    const added = waiting.ours;
    const [figures, others, ours] = await Promise.all([
      link.row(FIGURES),
      link.row('SELECT count(*) AS count FROM member WHERE id <> $1 AND seen + lease > $2', id, now),
      link.rows(`SELECT id, ticket, lane FROM item WHERE state = 'sending' AND owner = $1`, id),
      sweepDrafts(link, now),
      drafts.forgetGivenUp(link),
    ]);
    this.#queued = Number(figures?.['queued'] ?? 0);
    waiting.count(Number(figures?.['waiting'] ?? 0), added);
    if (figures?.['needless'] === true) onNeedless();
    news.hasOthers = Number(others?.['count'] ?? 0) > 0;
    const strays = ours.filter((row) => isStray(String(row['id']), Number(row['ticket'])));
    missing(new Map(ours.map(({ id: item, ticket }) => [String(item), Number(ticket)])));
    await this.#release(link, strays, now);
    await tidyUp(link, now, id, Number(figures?.['rows'] ?? 0));
  }

  async #takeOver(link: Connection, now: number, verifyAfter: number): Promise<void> {
    const taken = await takeOver(link, now, verifyAfter);
    this.#tellTaken(taken);
    for (const { lane } of taken) this.#options.news.takenOver(lane);
  }

  #tellTaken(taken: readonly TakenOver[]): void {
    const byHost = new Map<string, number>();
    for (const { host, items } of taken) byHost.set(host, (byHost.get(host) ?? 0) + items);
    const { report, pool } = this.#options;
    for (const [from, items] of byHost) report({ event: 'spool.takenOver', where: pool.where, items, from });
  }

  /** Ours by the database, but the answer to their claim was lost: nothing was begun. */
  async #release(link: Connection, rows: readonly Readonly<Record<string, unknown>>[], now: number): Promise<void> {
    if (rows.length === 0) return;
    const { joining, news } = this.#options;
    const leaving = rows.map(({ id, ticket }) => ({
      id: String(id) as SpoolId,
      ticket: Number(ticket),
      state: 'queued' as const,
      now,
      what: 'released' as const,
      back: 1,
    }));
    await leave(link, leaving, joining.id);
    const lanes = new Map(rows.map(({ lane }) => [String(lane), laneKey(String(lane)) as LaneKey]));
    for (const lane of lanes.values()) news.takenOver(lane);
  }

  /** Can it be worked with again? By a connection of those that do the work. */
  async #probe(): Promise<void> {
    const { health, pool, joining, onBack } = this.#options;
    const isFull = health.trouble?.trouble === 'full';
    await pool.use(async (link) => {
      if (isFull) {
        await link.ask('BEGIN');
        // Undone: it is the room that counts.
        await link
          .run(
            'INSERT INTO chunk (message, number, octets) VALUES ($1, 0, $2)',
            `probe ${joining.id}`,
            new Uint8Array(PROBED),
          )
          .finally(() => link.ask('ROLLBACK').catch(() => undefined));
      }
      await link.run('UPDATE member SET seen = seen WHERE id = $1', joining.id);
    });
    health.recovered(this.#queued);
    onBack();
  }
}
