/**
 * What becomes of an item that this gateway is sending. Every change is made only while the item is still ours, by the claim
 * that we know of: after another gateway has taken it over, nothing here changes it. Orders that come together go together.
 * Any of them may be made twice, because the second one finds nothing to do.
 */
import type { HistoryEntry, ItemState, QueueItem, SpoolId } from '../mail/item.ts';
import { SpoolError } from '../mail/spool.ts';
import type { DeliveryStatus } from '../mail/status.ts';
import { jsonOf } from './postgres-connection.ts';
import type { PostgresDatabase } from './postgres-database.ts';
import { Group } from './postgres-group.ts';
import type { Leaving } from './postgres-leave.ts';
import { leave } from './postgres-leave.ts';
import type { PostgresNotices } from './postgres-notices.ts';
import { whole } from './postgres-rows.ts';
import type { Ticket, Tickets } from './postgres-tickets.ts';

/** Milliseconds by which a renewal can be late: two of the longest leases. */
const LATE = 1_200_000;

const RENEW = `
WITH given AS MATERIALIZED (SELECT * FROM json_to_recordset($1::json) AS g (id text, ticket bigint, lease bigint))
-- A renewal that the network held back, and that was made again meanwhile, takes nothing away.
UPDATE item SET lease = CASE WHEN item.lease - g.lease BETWEEN 1 AND ${LATE} THEN item.lease ELSE g.lease END FROM given AS g
WHERE item.id = g.id AND item.state = 'sending' AND item.owner = $2 AND item.ticket = g.ticket
RETURNING item.id`;

/** $6 the claim by which it has to be ours, or 0: nobody else may be sending it; $7 this gateway; $8 it may be there already. */
const NOTE = `
WITH held AS (
  SELECT id FROM item WHERE id = $1 AND CASE WHEN $6::bigint > 0 THEN state = 'sending' AND owner = $7 AND ticket = $6
    ELSE state <> 'sending' OR owner = $7 END
  FOR NO KEY UPDATE
), line AS (
  INSERT INTO history (item, at, what, detail, status) SELECT id, $2, $3, $4, $5 FROM held
  WHERE NOT ($8 AND EXISTS (SELECT FROM history AS h WHERE h.item = $1 AND h.at = $2 AND h.what = $3 AND h.detail IS NOT DISTINCT FROM $4))
)
SELECT id FROM held`;

export interface ItemsOptions {
  readonly database: PostgresDatabase;
  readonly notices: PostgresNotices;
  readonly tickets: Tickets;
  /** This gateway. */
  readonly owner: string;
  readonly now: () => number;
  /** So many items have ended, of so many bodies that nobody needs any more. */
  readonly onEnded: (items: number, bodies: number) => void;
}

export class PostgresItems {
  readonly #options: ItemsOptions;
  readonly #leaving: Group<Leaving, boolean>;
  readonly #renewing: Group<{ readonly id: SpoolId; readonly ticket: number; readonly lease: number }, boolean>;

  constructor(options: ItemsOptions) {
    this.#options = options;
    const { database, owner, onEnded } = options;
    this.#leaving = new Group(async (leaving) => {
      const { ids, needless } = await database.order((link) => leave(link, leaving, owner));
      const ended = leaving.filter(({ id, state }) => ids.has(id) && state === 'relayed').length;
      if (ended > 0) onEnded(ended, needless);
      return leaving.map(({ id }) => ids.has(id));
    });
    this.#renewing = new Group(async (renewing) => {
      const rows = await database.rows(RENEW, jsonOf(renewing), owner);
      const ids = new Set(rows.map(({ id }) => String(id)));
      return renewing.map(({ id }) => ids.has(id));
    });
  }

  async renew(id: SpoolId, leaseUntil: number): Promise<boolean> {
    const ours = this.#options.tickets.of(id);
    if (ours === undefined) return false;
    return await this.#renewing.add({ id, ticket: ours.ticket, lease: whole(leaseUntil) });
  }

  async release(id: SpoolId): Promise<void> {
    await this.#leave(id, { state: 'queued', what: 'released', back: 1 });
  }

  async defer(id: SpoolId, next: { due?: number; doubtful: boolean; status: DeliveryStatus }): Promise<void> {
    const what = next.status.outcome === 'unknown' ? 'unknown' : 'delayed';
    await this.#leave(id, { ...next, state: 'queued', what });
  }

  async finish(id: SpoolId, status: DeliveryStatus): Promise<void> {
    const ours = this.#options.tickets.of(id);
    if (ours?.tells !== undefined) await this.#end(id, ours, 'relayed', status);
    else await this.#leave(id, { state: 'relayed', what: 'relayed', status });
  }

  /** @returns what was parked in the place of a notice */
  async park(id: SpoolId, status: DeliveryStatus): Promise<QueueItem | undefined> {
    const ours = this.#options.tickets.of(id);
    if (ours?.tells !== undefined) return this.#end(id, ours, 'parked', status);
    await this.#leave(id, { state: 'parked', what: 'parked', status });
    return undefined;
  }

  async #leave(id: SpoolId, how: Omit<Leaving, 'id' | 'ticket' | 'now'>): Promise<void> {
    const { tickets, now } = this.#options;
    const ours = tickets.of(id);
    if (ours === undefined) return;
    await this.#leaving.add({ ...how, id, ticket: ours.ticket, now: now() });
    tickets.left(id, ours.ticket);
  }

  /** A notice ends with what it tells of, or in its place. */
  async #end(
    id: SpoolId,
    ours: Ticket,
    state: Extract<ItemState, 'parked' | 'relayed'>,
    status: DeliveryStatus,
  ): Promise<QueueItem | undefined> {
    const { database, notices, tickets, onEnded, now } = this.#options;
    const at = now();
    const parked = await database.transaction(async (link, isRepeated) => {
      const found = await notices.end(link, { id, ticket: ours.ticket, state, status, now: at });
      if (found === 'gone') return isRepeated && state === 'parked' ? notices.parkedFor(link, ours.tells) : undefined;
      return found;
    });
    tickets.left(id, ours.ticket);
    onEnded(parked === undefined && state === 'relayed' ? 1 : 0, 1);
    return parked;
  }

  async note(id: SpoolId, { what, detail, status }: Omit<HistoryEntry, 'at'>): Promise<void> {
    const { database, tickets, owner, now } = this.#options;
    const at = now();
    const ticket = tickets.of(id)?.ticket ?? 0;
    if (what === 'step' && ticket === 0) throw takenOver(id);
    const written = status === undefined ? null : JSON.stringify(status);
    const found = await database.order((link, isRepeated) =>
      link.row(NOTE, id, at, what, detail ?? null, written, ticket, owner, isRepeated),
    );
    if (found === undefined && (await database.row('SELECT 1 AS found FROM item WHERE id = $1', id)) !== undefined)
      throw takenOver(id);
  }
}

function takenOver(id: SpoolId): SpoolError {
  return new SpoolError(
    'io',
    `Another gateway has taken over item ${id}: this one was not heard of for longer than its lease (spool.lease)`,
  );
}
