/**
 * Items on their way out of `sending`, as many as come together in one statement: each only while it is ours, by the claim
 * that we know of. A body goes when its last item has been relayed. Rejects with PostgresError.
 */
import type { HistoryEntry, ItemState, SpoolId } from '../mail/item.ts';
import type { DeliveryStatus } from '../mail/status.ts';
import type { Connection } from './postgres-connection.ts';
import { jsonOf } from './postgres-connection.ts';
import { whole } from './postgres-rows.ts';

export interface Leaving {
  readonly id: SpoolId;
  readonly ticket: number;
  readonly state: Extract<ItemState, 'queued' | 'parked' | 'relayed'>;
  readonly now: number;
  readonly what: HistoryEntry['what'];
  readonly detail?: string | undefined;
  readonly status?: DeliveryStatus;
  readonly due?: number;
  readonly doubtful?: boolean;
  /** Attempts that do not count. */
  readonly back?: number;
}

/** $1 those that leave; $2 this gateway. A notice that something waits for does not end here (postgres-notices.ts). */
const LEAVE = `
WITH given AS MATERIALIZED (
  SELECT * FROM json_to_recordset($1::json) AS g (id text, ticket bigint, state text, now bigint, what text, detail text,
    status text, due bigint, doubtful smallint, back int)
), changed AS (
  UPDATE item SET state = g.state, owner = NULL, ticket = NULL, lease = NULL,
    due = coalesce(g.due, item.due), doubtful = coalesce(g.doubtful, item.doubtful), attempts = item.attempts - coalesce(g.back, 0),
    status = coalesce(g.status, item.status),
    ended = CASE g.state WHEN 'relayed' THEN g.now END, parked = CASE g.state WHEN 'parked' THEN g.now END
  FROM given AS g
  WHERE item.id = g.id AND item.state = 'sending' AND item.owner = $2 AND item.ticket = g.ticket
    AND (g.state = 'queued' OR item.tells IS NULL)
  RETURNING item.id, item.message, item.state
), lines AS (
  INSERT INTO history (item, at, what, detail, status)
  SELECT id, now, what, detail, given.status FROM changed JOIN given USING (id)
), bodies AS (
  UPDATE message SET users = users - needless.count
  FROM (SELECT message, count(*) AS count FROM changed WHERE state = 'relayed' GROUP BY message) AS needless
  WHERE message.id = needless.message RETURNING users
)
SELECT id, (SELECT count(*) FROM bodies WHERE users <= 0) AS needless FROM changed`;

/** @returns the ids of those that have left */
export async function leave(
  link: Connection,
  leaving: readonly Leaving[],
  owner: string,
): Promise<{ readonly ids: ReadonlySet<SpoolId>; readonly needless: number }> {
  const given = leaving.map(({ status, due, doubtful, ...rest }) => ({
    ...rest,
    ...(status === undefined ? {} : { status: JSON.stringify(status) }),
    ...(due === undefined ? {} : { due: whole(due) }),
    ...(doubtful === undefined ? {} : { doubtful: doubtful ? 1 : 0 }),
  }));
  const rows = await link.rows(LEAVE, jsonOf(given), owner);
  return { ids: new Set(rows.map(({ id }) => String(id))), needless: Number(rows[0]?.['needless'] ?? 0) };
}
