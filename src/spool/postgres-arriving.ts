/**
 * Messages that come to exist, many in one statement: with their items and histories, what is left of their octets, and
 * receipts. A message comes to exist whole and once, or not at all. Rejects with PostgresError.
 */
import type { SpoolId } from '../mail/item.ts';
import { goesFirst } from '../mail/precedence.ts';
import type { First } from '../mail/precedence.ts';
import { SpoolError } from '../mail/spool.ts';
import type { Connection } from './postgres-connection.ts';
import { jsonOf } from './postgres-connection.ts';
import { itemId, laneName } from './protocol.ts';
import type { OrderTo } from './protocol.ts';

export type Commit = OrderTo<'commit'>;

/** A commit, as the statement takes it. */
export interface Arrival {
  readonly message: string;
  readonly items: string;
  readonly octets: Uint8Array;
  readonly order: Commit;
  /** It may have come to exist, without an answer. */
  isDoubtful: boolean;
}

/** $1 messages; $2 octets of all of them; $3 items; $4 it may have been done before. @param isOnce with receipts */
const arriving = (isOnce: boolean): string => `
WITH given AS MATERIALIZED (
  SELECT * FROM json_to_recordset($1::json) AS g
    (id text, size bigint, users int, number int, place int, octets int, drafted boolean, source text, key text, now bigint)
), drafts AS (
  -- Of one that was taken for dead meanwhile there is none any more, and nothing comes to exist.
  -- A server that crashed may have lost octets that had not waited for its disk.
  DELETE FROM draft USING given WHERE draft.id = given.id AND given.drafted AND given.size - given.octets =
    (SELECT coalesce(sum(octet_length(chunk.octets)), 0) FROM chunk WHERE chunk.message = given.id)
  RETURNING draft.id
), whole AS (
  SELECT * FROM given WHERE NOT drafted OR id IN (SELECT id FROM drafts)
)${
  isOnce
    ? `, won AS (
  INSERT INTO receipt (source, key, at, message) SELECT source, key, now, id FROM whole ORDER BY source, key
  ON CONFLICT DO NOTHING RETURNING message
), lost AS (
  -- One that had no draft has no octets here yet: what is there is of an earlier try, which has won.
  DELETE FROM chunk USING whole WHERE chunk.message = whole.id AND whole.drafted AND whole.id NOT IN (SELECT message FROM won)
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

const ARRIVE = arriving(false);
const ARRIVE_ONCE = arriving(true);

/** @throws SpoolError for what cannot be written down */
export function arrivalOf(order: Commit, first: readonly First[]): Arrival {
  const { message, size, chunk, items, told, now } = order;
  const tells = told?.what === 'bounced' ? told.id : null;
  try {
    return {
      order,
      isDoubtful: false,
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
          first: goesFirst({ ...item, size }, first) ? 1 : 0,
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

/** @param isRepeated they may have come to exist before @returns those that have come to exist now */
export async function arrive(
  link: Connection,
  arrivals: readonly Arrival[],
  isRepeated: boolean,
): Promise<ReadonlySet<SpoolId>> {
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

function together(arrivals: readonly Arrival[]): Uint8Array {
  const [only] = arrivals;
  return arrivals.length === 1 && only !== undefined
    ? only.octets
    : Buffer.concat(arrivals.map(({ octets }) => octets));
}
