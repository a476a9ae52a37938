/**
 * What a gateway leaves that is not heard of any more, and who comes to it first takes care of: items that it was sending
 * are in doubt, messages that it was receiving are gone, and so is its place among the gateways. The first thing a gateway
 * does and, now and then, each of them. Rejects with PostgresError.
 */
import type { LaneKey, QueueItem } from '../mail/item.ts';
import type { Connection } from './postgres-connection.ts';
import type { PostgresNotices } from './postgres-notices.ts';
import { MOVE_MARK } from './move-mark.ts';
import { laneKey } from './protocol.ts';

/** Rows changed in one statement. */
const SLICE = 1_000;
const DRAFTS = 50;
/** Milliseconds by which clocks that go alike may differ. */
const TOLERANCE = 1_000;
/** Rows of the counts from which on they are folded together. */
const FOLDED = 200;
/** Milliseconds that it stays written down that nothing is known of a lane any more, for those that look late. */
export const FORGOTTEN = 600_000;

/** Of the locks that are held while the time is set back, and while counts are folded: letters. */
const CLOCK_LOCK = 0x63_6c_6f_63_6b;
const FOLD_LOCK = 0x73_70_6f_6f_6c;

/** $1 now; $2 verifyAfter. */
const TAKE_OVER = `
WITH lost AS MATERIALIZED (
  SELECT id, owner FROM item WHERE state = 'sending' AND lease < $1 ORDER BY id LIMIT ${SLICE} FOR UPDATE SKIP LOCKED
), taken AS (
  UPDATE item SET state = 'queued', doubtful = 1, owner = NULL, ticket = NULL, lease = NULL,
    due = least(coalesce(started, $1), $1) + $2
  FROM lost WHERE item.id = lost.id RETURNING item.id, item.lane
), lines AS (
  INSERT INTO history (item, at, what) SELECT id, $1, 'recovered' FROM taken
)
SELECT coalesce(member.host, 'a gateway that is gone') AS host, lane, count(*) AS items
FROM taken JOIN lost USING (id) LEFT JOIN member ON member.id = lost.owner GROUP BY 1, 2`;

/** $1 now. The draft goes first: a commit that is under way is waited for, and one that comes later finds none. */
const SWEEP = `
WITH dead AS MATERIALIZED (
  SELECT id FROM draft WHERE NOT EXISTS (SELECT FROM member WHERE member.id = draft.owner AND seen + lease >= $1)
  LIMIT ${DRAFTS} FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM draft USING dead WHERE draft.id = dead.id RETURNING draft.id
), octets AS (
  DELETE FROM chunk USING gone WHERE chunk.message = gone.id
    AND NOT EXISTS (SELECT FROM message WHERE message.id = gone.id)
)
SELECT count(*) AS count FROM gone`;

/** $1 now; $2 this gateway. */
const FORGET_MEMBERS = `
DELETE FROM member WHERE seen + lease < $1 AND id <> $2
  AND NOT EXISTS (SELECT FROM item WHERE state = 'sending' AND item.owner = member.id)
  AND NOT EXISTS (SELECT FROM draft WHERE draft.owner = member.id)`;

const FORGET_KNOWN = `
DELETE FROM known WHERE subject IN
  (SELECT subject FROM known WHERE state IS NULL AND changed < $1 FOR UPDATE SKIP LOCKED)`;

const FOLD = `
WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(${FOLD_LOCK}) AS is_ours),
folded AS (DELETE FROM tally WHERE (SELECT is_ours FROM turn) RETURNING what, count)
INSERT INTO tally (what, count) SELECT what, sum(count) FROM folded GROUP BY what HAVING sum(count) <> 0`;

/** $1 milliseconds; $2 the last one of those before. */
const SET_DUE_BACK = `
WITH slice AS MATERIALIZED (SELECT id FROM item WHERE state = 'queued' AND id > $2 ORDER BY id LIMIT ${SLICE}),
moved AS (UPDATE item SET due = due - $1 FROM slice WHERE item.id = slice.id)
SELECT max(id) AS last FROM slice`;

const SET_BACK = [
  `UPDATE item SET lease = lease - $1 WHERE state = 'sending'`,
  'UPDATE member SET seen = seen - $1, started = started - $1',
  'UPDATE duty SET until = until - $1',
  // What is known of lanes and routes is of times that are to come now: it is found out anew. Others (their names begin with
  // a blank) look after themselves.
  `UPDATE known SET changed = changed - $1, state = CASE WHEN subject LIKE ' %' THEN state END, writer = NULL,
    version = nextval('known_version')`,
] as const;

export interface TakenOver {
  readonly host: string;
  readonly lane: LaneKey;
  readonly items: number;
}

export async function takeOver(link: Connection, now: number, verifyAfter: number): Promise<readonly TakenOver[]> {
  const taken: TakenOver[] = [];
  for (let slice = SLICE; slice === SLICE;) {
    const rows = await link.rows(TAKE_OVER, now, verifyAfter);
    const found = rows.map(({ host, lane, items }) => ({
      host: String(host),
      lane: laneKey(String(lane)),
      items: Number(items),
    }));
    taken.push(...found);
    slice = found.reduce((sum, { items }) => sum + items, 0);
  }
  return taken;
}

/** @returns messages that nobody will ever commit */
export async function sweepDrafts(link: Connection, now: number): Promise<number> {
  let swept = 0;
  for (let slice = DRAFTS; slice === DRAFTS; swept += slice)
    slice = Number((await link.row(SWEEP, now))?.['count'] ?? 0);
  return swept;
}

/** What nothing hangs on any more. @param rows of the counts */
export async function tidyUp(link: Connection, now: number, owner: string, rows: number): Promise<void> {
  await Promise.all([
    link.run(FORGET_MEMBERS, now, owner),
    link.run(FORGET_KNOWN, now - FORGOTTEN),
    rows > FOLDED ? link.ask(FOLD) : undefined,
  ]);
}

/**
 * What is left of a time before: what arrived or was tried in the future did so before the clock was set back, and has waited
 * long enough; what waits for a notice that is not there is parked, but not while mail is being moved. In a transaction.
 * @returns what was parked
 */
export async function mend(
  link: Connection,
  notices: PostgresNotices,
  now: number,
  verifyAfter: number,
): Promise<readonly QueueItem[]> {
  await link.run(
    `UPDATE item SET due = least(due, $1 + doubtful * $2::bigint) WHERE state = 'queued' AND due > $1
     AND greatest(arrived, coalesce(started, 0)) > $1 + ${TOLERANCE}`,
    now,
    verifyAfter,
  );
  if ((await link.row('SELECT 1 AS found FROM cursor WHERE source = $1', MOVE_MARK)) !== undefined) return [];
  return notices.missing(link, now);
}

/**
 * Where the server's clock was set back, what waits moves with it, so that nothing waits until the old time comes again. One
 * gateway does it. In a transaction.
 */
export async function setBack(link: Connection, now: number): Promise<void> {
  await link.ask(`SELECT pg_advisory_xact_lock(${CLOCK_LOCK})`);
  const latest = Number(
    (await link.row('SELECT max(seen) AS seen FROM member WHERE seen > $1', now + TOLERANCE))?.['seen'],
  );
  if (!(latest > 0)) return;
  for (const statement of SET_BACK) await link.run(statement, latest - now);
  // In parts, each of which is answered in time.
  for (let last: unknown = ''; typeof last === 'string';)
    last = (await link.row(SET_DUE_BACK, latest - now, last))?.['last'];
}
