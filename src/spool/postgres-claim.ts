/**
 * Which lanes have work, and what of a lane this gateway sends next. What another one is just claiming is passed over. With
 * a gate, nobody else claims of the lane, or changes what is known of it or its route, until it is decided. A claim may be
 * made twice: the second one finds what the first has taken. Rejects with PostgresError, and what the gate throws.
 */
import type { Gate } from '../mail/cluster.ts';
import type { LaneKey, QueueItem, SpoolId } from '../mail/item.ts';
import { inTurn } from '../mail/precedence.ts';
import type { Lane } from '../mail/spool.ts';
import type { Row } from './database.ts';
import { MOVE_MARK } from './move-mark.ts';
import type { SetAside } from './postgres-aside.ts';
import type { Connection } from './postgres-connection.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import type { Known } from './postgres-known.ts';
import { BODY, BODY_OF, ITEM, itemOf as columnsOf, whole } from './postgres-rows.ts';
import type { Tickets } from './postgres-tickets.ts';
import { laneKey, laneName } from './protocol.ts';
import type { Aside } from './protocol.ts';
import { itemOf } from './rows.ts';

/** A gateway that was cut off while its mail was moved finds none to send, before it finds out why. */
const NOT_MOVED = `NOT EXISTS (SELECT FROM cursor WHERE source = '${MOVE_MARK}')`;

const dueOf = (first: 0 | 1): string => `
  SELECT ${ITEM} FROM item WHERE state = 'queued' AND lane = $1 AND first = ${first} AND due <= $2 AND ${NOT_MOVED}
  ORDER BY due, id LIMIT $3 FOR UPDATE SKIP LOCKED`;

/** Due items of the lane $1, up to $3 of each kind, which nobody else can take until the end of the transaction. */
const CANDIDATES = `
WITH preferred AS MATERIALIZED (${dueOf(1)}), others AS MATERIALIZED (${dueOf(0)})
SELECT ${columnsOf('item')}, ${BODY} FROM (SELECT * FROM preferred UNION ALL SELECT * FROM others) AS item
${BODY_OF('item')} ORDER BY item.first DESC, item.due, item.id`;

const ONE = `
WITH wanted AS MATERIALIZED (SELECT ${ITEM} FROM item WHERE id = $1 AND state = 'queued' AND ${NOT_MOVED} FOR UPDATE)
SELECT ${columnsOf('wanted')}, ${BODY} FROM wanted ${BODY_OF('wanted')}`;

/** $1 items; $2 now; $3 lease; $4 this gateway; $5 by which claim. */
const BEGIN = `
WITH begun AS (
  UPDATE item SET state = 'sending', attempts = attempts + 1, started = $2, lease = $3, owner = $4, ticket = $5
  WHERE id = ANY($1) RETURNING id
)
INSERT INTO history (item, at, what) SELECT id, $2, 'attempted' FROM begun`;

const dueIn = (first: 0 | 1): string =>
  `(SELECT min(due) FROM item WHERE state = 'queued' AND lane = step.lane AND first = ${first})`;

/** A loose scan: one step of the index for each lane, however many items it has. */
const LANES = `
WITH RECURSIVE step (lane) AS (
  SELECT min(lane) FROM item WHERE state = 'queued'
  UNION ALL
  SELECT (SELECT min(lane) FROM item WHERE state = 'queued' AND lane > step.lane) FROM step WHERE step.lane IS NOT NULL
)
SELECT lane, least(${dueIn(0)}, ${dueIn(1)}) AS due FROM step WHERE lane IS NOT NULL ORDER BY due, lane`;

interface Wanted {
  readonly lane: LaneKey;
  readonly now: number;
  readonly limit: number;
  readonly leaseUntil: number;
  readonly gate?: Gate;
}

export interface ClaimOptions {
  readonly database: PostgresDatabase;
  readonly tickets: Tickets;
  readonly aside: SetAside;
  readonly known: Known;
  /** This gateway. */
  readonly owner: string;
}

interface Claimed {
  readonly items: readonly QueueItem[];
  readonly aside: readonly Aside[];
  /** Preferred ones in a row. */
  readonly row?: number;
  /** What is known otherwise now. */
  readonly changed?: readonly string[];
  /** On their way: the end of the transaction goes with them. */
  readonly writes: readonly Promise<unknown>[];
}

const NOTHING: Claimed = { items: [], aside: [], writes: [] };

export class Claims {
  readonly #options: ClaimOptions;
  /** By lane: preferred items claimed in a row while others waited. */
  readonly #inARow = new Map<string, number>();

  constructor(options: ClaimOptions) {
    this.#options = options;
  }

  async lanes(): Promise<readonly Lane[]> {
    return lanesIn(await this.#options.database.rows(LANES));
  }

  /** By a connection of one's own. */
  async lanesBy(link: Connection): Promise<readonly Lane[]> {
    return lanesIn(await link.rows(LANES));
  }

  async claim(wanted: Wanted): Promise<readonly QueueItem[]> {
    return this.#claimed((link, ticket) => this.#claim(link, ticket, wanted), laneName(wanted.lane));
  }

  async take(id: SpoolId, now: number, leaseUntil: number): Promise<QueueItem | undefined> {
    const [item] = await this.#claimed(async (link, ticket) => {
      const rows = await link.rows(ONE, id);
      return this.#begin(link, ticket, rows, now, leaseUntil);
    });
    return item;
  }

  /** @param work in a transaction, which goes through if something is changed */
  async #claimed(
    work: (link: Connection, ticket: number) => Promise<Claimed>,
    lane?: string,
  ): Promise<readonly QueueItem[]> {
    const { database, tickets, aside, known } = this.#options;
    return tickets.during(async (ticket) => {
      const claimed: Claimed = await database.order(async (link, isRepeated) => {
        const found = isRepeated ? await this.#taken(link, ticket) : [];
        return found.length > 0 ? { ...NOTHING, items: found } : attempt(link, () => work(link, ticket));
      });
      if (lane !== undefined && claimed.row !== undefined) this.#keepRow(lane, claimed.row);
      tickets.took(ticket, claimed.items);
      aside.report(claimed.aside);
      known.told(claimed.changed ?? []);
      return claimed.items;
    });
  }

  /** What the same claim has taken before, without an answer. */
  async #taken(link: Connection, ticket: number): Promise<readonly QueueItem[]> {
    const rows = await link.rows(
      `SELECT ${ITEM} FROM item WHERE state = 'sending' AND owner = $1 AND ticket = $2 ORDER BY first DESC, due, id`,
      this.#options.owner,
      ticket,
    );
    return rows.map(itemOf);
  }

  async #claim(link: Connection, ticket: number, { lane, now, limit, leaseUntil, gate }: Wanted): Promise<Claimed> {
    const { known } = this.#options;
    const name = laneName(lane);
    // All questions leave together; the gate's come first, so that what they lock is locked when the others are answered.
    const asked = gate === undefined ? undefined : known.lock(link, lane);
    const [common, rows] = await Promise.all([asked, link.rows(CANDIDATES, name, whole(now), limit)]);
    const gated = common === undefined ? undefined : gate?.(common);
    const most = Math.min(limit, gated?.limit ?? limit);
    if (most <= 0 || rows.length === 0) return NOTHING;
    const isFirst = (row: Row): boolean => row['first'] === 1;
    const turn = inTurn(
      rows.filter(isFirst),
      rows.filter((row) => !isFirst(row)),
      most,
      this.#inARow.get(name) ?? 0,
    );
    const claimed = await this.#begin(link, ticket, turn.taken, whole(now), leaseUntil);
    if (gated === undefined || common === undefined || claimed.items.length === 0) return { ...claimed, row: turn.row };
    const { changed, writes } = known.keep(link, lane, gated.after(claimed.items.length), common);
    return { ...claimed, row: turn.row, changed, writes: [...claimed.writes, ...writes] };
  }

  async #begin(
    link: Connection,
    ticket: number,
    rows: readonly Row[],
    now: number,
    leaseUntil: number,
  ): Promise<Claimed> {
    const items: QueueItem[] = [];
    const aside: Aside[] = [];
    for (const row of rows) {
      const item = itemOf(row);
      const fault = this.#options.aside.faultOf(item, row);
      if (fault === undefined) items.push({ ...item, state: 'sending', attempts: item.attempts + 1 });
      else aside.push(...(await this.#options.aside.set(link, item, fault, now)));
    }
    const ids = items.map(({ id }) => id);
    const { owner } = this.#options;
    const writes = ids.length === 0 ? [] : [link.run(BEGIN, ids, now, whole(leaseUntil), owner, ticket)];
    return { items, aside, writes };
  }

  #keepRow(lane: string, row: number): void {
    if (row === 0) this.#inARow.delete(lane);
    else this.#inARow.set(lane, row);
  }
}

/** In a transaction that is given up where nothing came of it. */
async function attempt(link: Connection, work: () => Promise<Claimed>): Promise<Claimed> {
  link.ask('BEGIN').catch(() => undefined);
  try {
    const claimed = await work();
    if (claimed.items.length > 0 || claimed.aside.length > 0) await Promise.all([...claimed.writes, link.commit()]);
    else await link.ask('ROLLBACK');
    return claimed;
  } catch (error) {
    await link.ask('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

function lanesIn(rows: readonly Row[]): readonly Lane[] {
  return rows.map(({ lane, due }) => ({ ...laneKey(String(lane)), due: Number(due) }));
}
