/**
 * An operator's orders, as src/mail/spool.ts promises them, and what is ended without one. Each is a transaction; one whose
 * answer was lost finds what it has done by its line of the history. Rejects with PostgresError.
 */
import type { HistoryEntry, LaneKey, QueueItem, SpoolId } from '../mail/item.ts';
import type { DroppedItem, Operated } from '../mail/spool.ts';
import type { Row } from './database.ts';
import { asked, DROPPED, moved } from './history-words.ts';
import { asideOf } from './postgres-aside.ts';
import type { SetAside } from './postgres-aside.ts';
import type { Connection } from './postgres-connection.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import { remember } from './postgres-database.ts';
import { bodyNotNeeded } from './postgres-notices.ts';
import type { PostgresNotices } from './postgres-notices.ts';
import { ITEM, whole } from './postgres-rows.ts';
import { laneKey, laneName } from './protocol.ts';
import type { Aside } from './protocol.ts';
import { itemOf } from './rows.ts';

/** Items ended in one transaction. */
/** Of advisory locks: who ends what is parked. */
const DROP_LOCK = 0x64_72_6f_70;
const SLICE = 1_000;

export interface OperatorOptions {
  readonly database: PostgresDatabase;
  readonly notices: PostgresNotices;
  readonly aside: SetAside;
  readonly now: () => number;
  /** Due from now on. */
  readonly onDue: (lane: LaneKey) => void;
  /** So many items have ended. */
  readonly onEnded: (items: number, bodies: number) => void;
}

interface Line {
  readonly what: HistoryEntry['what'];
  readonly detail: string | undefined;
}

export class PostgresOperator {
  readonly #options: OperatorOptions;

  constructor(options: OperatorOptions) {
    this.#options = options;
  }

  /** What an order may change, or why it may not. @param line by which an earlier try of it is known */
  async #operate<More extends string = never>(
    id: SpoolId,
    lineOf: (row: Row) => Line,
    work: (link: Connection, row: Row, line: Line, now: number) => Promise<Operated | More>,
  ): Promise<Operated | More> {
    const now = this.#options.now();
    return this.#options.database.transaction<Operated | More>(async (link, isRepeated) => {
      const row = await link.row('SELECT state, doubtful, lane, tells FROM item WHERE id = $1 FOR UPDATE', id);
      if (row === undefined) return 'absent';
      if (isRepeated && (await wasDone(link, id, lineOf(row).what, now))) return 'done';
      if (row['state'] === 'sending') return 'sending';
      if (row['state'] !== 'queued' && row['state'] !== 'parked') return 'ended';
      return work(link, row, lineOf(row), now);
    });
  }

  async retry(id: SpoolId, by?: string): Promise<Operated> {
    let lane: LaneKey | undefined;
    const line = (): Line => ({ what: 'retried', detail: asked(by) });
    const result = await this.#operate(id, line, async (link, row, { what, detail }, now) => {
      // A doubtful one waits until the server can no longer be working on it; one that is due already keeps its place.
      await link.run(
        `UPDATE item SET state = 'queued', parked = NULL,
          due = CASE WHEN doubtful = 1 THEN greatest(due, $2) WHEN state = 'queued' THEN least(due, $2) ELSE $2 END WHERE id = $1`,
        id,
        now,
      );
      await remember(link, id, now, what, undefined, detail);
      lane = laneKey(String(row['lane']));
      return 'done' as const;
    });
    if (lane !== undefined) this.#options.onDue(lane);
    return result;
  }

  async hold(id: SpoolId, by?: string): Promise<Operated> {
    const line = (): Line => ({ what: 'held', detail: asked(by) });
    return this.#operate(id, line, async (link, row, { what, detail }, now) => {
      if (row['state'] === 'parked') return 'done';
      await link.run(`UPDATE item SET state = 'parked', parked = $2 WHERE id = $1`, id, now);
      await remember(link, id, now, what, undefined, detail);
      return 'done';
    });
  }

  async move(id: SpoolId, to: Partial<LaneKey>, by?: string): Promise<Operated | 'doubtful'> {
    let lane: LaneKey | undefined;
    const toOf = (row: Row): LaneKey => ({ ...laneKey(String(row['lane'])), ...to });
    const line = (row: Row): Line => ({
      what: 'moved',
      detail: asked(by, moved(laneKey(String(row['lane'])), toOf(row))),
    });
    const result = await this.#operate<'doubtful'>(id, line, async (link, row, { what, detail }, now) => {
      if (row['doubtful'] === 1) return 'doubtful';
      lane = toOf(row);
      await link.run('UPDATE item SET lane = $2 WHERE id = $1', id, laneName(lane));
      await remember(link, id, now, what, undefined, detail);
      return 'done';
    });
    if (lane !== undefined) this.#options.onDue(lane);
    return result;
  }

  async drop(id: SpoolId, why: string, by?: string): Promise<Operated> {
    const line = (): Line => ({ what: 'dropped', detail: asked(by, why) });
    const result = await this.#operate(id, line, async (link, { tells }, { what, detail }, now) => {
      await link.run(`UPDATE item SET state = 'dropped', ended = $2 WHERE id = $1`, id, now);
      await remember(link, id, now, what, undefined, detail);
      await bodyNotNeeded(link, id);
      if (typeof tells === 'string') await this.#options.notices.dropped(link, { id, tells }, detail ?? '', now);
      return 'done' as const;
    });
    if (result === 'done') this.#options.onEnded(1, 1);
    return result;
  }

  async dropParked({ before, size }: { before: number; size: number }): Promise<readonly DroppedItem[]> {
    const dropped: DroppedItem[] = [];
    const limits = { before: whole(before), size: whole(size) };
    for (let found = SLICE; found === SLICE;) {
      const slice = await this.#options.database.transaction((link) => this.#dropSlice(link, limits));
      this.#options.aside.report(slice.aside);
      this.#options.onEnded(slice.dropped.length, slice.dropped.length);
      dropped.push(...slice.dropped);
      found = slice.dropped.length;
    }
    return dropped;
  }

  async #dropSlice(
    link: Connection,
    { before, size }: { before: number; size: number },
  ): Promise<{ readonly dropped: readonly DroppedItem[]; readonly aside: readonly Aside[] }> {
    const now = this.#options.now();
    const sum = await link.row(`SELECT coalesce(sum(size), 0) AS octets FROM item WHERE state = 'parked'`);
    let left = Number(sum?.['octets'] ?? 0);
    const dropped: DroppedItem[] = [];
    const aside: Aside[] = [];
    const oldest = `SELECT ${ITEM} FROM item WHERE state = 'parked' ORDER BY parked, id LIMIT $1 FOR UPDATE SKIP LOCKED`;
    // Mostly there is nothing to do, and nothing to lock then.
    const [first] = await link.rows(`SELECT parked FROM item WHERE state = 'parked' ORDER BY parked, id LIMIT 1`);
    if (first === undefined || (Number(first['parked']) >= before && left <= size)) return { dropped, aside };
    // One gateway at a time: two would each take as much away as is too much.
    const turn = await link.row('SELECT pg_try_advisory_xact_lock($1) AS is_ours', DROP_LOCK);
    if (turn?.['is_ours'] !== true) return { dropped, aside };
    for (const row of await link.rows(oldest, SLICE)) {
      const parkedAt = Number(row['parked']);
      if (parkedAt >= before && left <= size) break;
      const why = parkedAt < before ? 'age' : 'size';
      const item = itemOf(row);
      left -= item.size;
      aside.push(...(await this.#dropOne(link, item, DROPPED[why], now)));
      dropped.push({ item: { ...item, state: 'dropped' }, why, parkedAt });
    }
    return { dropped, aside };
  }

  async #dropOne(link: Connection, { id, tells }: QueueItem, why: string, now: number): Promise<readonly Aside[]> {
    const held = `it was held, and ${why}`;
    const told = tells === undefined ? undefined : await this.#options.notices.failed(link, { id, tells }, held, now);
    if (told !== undefined) return asideOf(told, `its sender could not be told: notice ${id} was held, and ${why}`);
    await link.run(`UPDATE item SET state = 'dropped', ended = $2 WHERE id = $1`, id, now);
    await remember(link, id, now, 'dropped', undefined, why);
    await bodyNotNeeded(link, id);
    return [];
  }
}

/** The same order, made before at the same moment. */
async function wasDone(link: Connection, id: SpoolId, what: HistoryEntry['what'], now: number): Promise<boolean> {
  const line = 'SELECT 1 AS found FROM history WHERE item = $1 AND what = $2 AND at = $3 LIMIT 1';
  return (await link.row(line, id, what, now)) !== undefined;
}
