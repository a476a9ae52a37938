/** What stands in many statements of the PostgreSQL engine, and values as its tables take them. Pure. */

/**
 * Named one by one: a program goes on with its prepared statements when a newer one adds a column. As rows.ts reads them.
 */
const COLUMNS = [
  'id',
  'message',
  'lane',
  'state',
  'due',
  'arrived',
  'attempts',
  'doubtful',
  'started',
  'ended',
  'size',
  'header_size',
  'message_id',
  'envelope',
  'origin',
  'status',
  'first',
  'parked',
  'tells',
] as const;

export const ITEM = COLUMNS.join(', ');

/** @param table its name in the statement */
export function itemOf(table: string): string {
  return COLUMNS.map((column) => `${table}.${column}`).join(', ');
}

/** All items of the message $1: others' ids begin with its own, a hyphen and a number. */
export const OF_MESSAGE = `id >= $1 AND id < $1 || '.'`;

/** What a body has, for bodyFault(), of the row `table`. */
export const BODY_OF = (table: string): string => `
LEFT JOIN message AS body ON body.id = ${table}.message AND body.users > 0
LEFT JOIN LATERAL (SELECT count(*) AS count, max(number) AS last, coalesce(sum(octet_length(octets)), 0) AS octets
  FROM chunk WHERE chunk.message = ${table}.message) AS parts ON true`;
export const BODY = 'body.size AS body_size, parts.count AS parts, parts.last AS last_part, parts.octets AS octets';

/** A time or a number as a column takes it. */
export function whole(value: number): number {
  return Math.round(Math.min(Math.max(value, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER));
}
