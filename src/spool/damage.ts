/**
 * Whether an item can be delivered as it was accepted: its row can be read, and its body is there from the first octet to
 * the last. Never throws for what it finds; a page of the store that SQLite cannot read does throw.
 */
import type { Envelope, Origin } from '../mail/envelope.ts';
import type { DeliveryStatus, Failed } from '../mail/status.ts';
import type { Row } from './database.ts';

/** Asks the store for one row. */
type Ask = (sql: string, ...values: string[]) => Row | undefined;

/** @returns undefined: it cannot be read */
export function envelopeOf(row: Row): Envelope | undefined {
  const envelope = json(row['envelope']);
  if (envelope === undefined || typeof envelope['reversePath'] !== 'string') return undefined;
  const recipients: unknown = envelope['recipients'];
  const isGood =
    Array.isArray(recipients) &&
    recipients.every((one: unknown) => isRecord(one) && typeof one['address'] === 'string');
  return isGood ? (envelope as unknown as Envelope) : undefined;
}

/** @returns undefined: it cannot be read */
export function originOf(row: Row): Origin | undefined {
  return json(row['origin']) as unknown as Origin | undefined;
}

/** @returns what of the row cannot be read; undefined: nothing */
export function rowDamage(envelope: Envelope | undefined, origin: Origin | undefined): string | undefined {
  if (envelope === undefined) return 'its envelope cannot be read';
  return origin === undefined ? 'its origin cannot be read' : undefined;
}

/** Nothing hangs on it: one that cannot be read is as good as none. */
export function statusOf(text: unknown): DeliveryStatus | undefined {
  return typeof text === 'string' ? (json(text) as DeliveryStatus | undefined) : undefined;
}

/** What a store has of a body. */
export interface BodyFound {
  /** Octets, as the store notes them; null: it has no such body. */
  readonly size: unknown;
  /** Its parts, the number of the last one (from 0) and the octets of all. */
  readonly count: unknown;
  readonly last: unknown;
  readonly octets: unknown;
}

/** @returns what is wrong with the body of an item that needs one; undefined: nothing */
export function bodyFault(item: { readonly size: number }, found: BodyFound): string | undefined {
  if (found.size === null || found.size === undefined) return 'its body is gone';
  const size = Number(found.size);
  if (size !== item.size) return `its body is of ${size} octets instead of ${item.size}`;
  const octets = Number(found.octets);
  if (octets !== size) return `its body has ${octets} of ${size} octets`;
  const count = Number(found.count);
  return count > 0 && Number(found.last) !== count - 1 ? 'a part of its body is missing' : undefined;
}

/** @returns as bodyFault() */
export function bodyDamage(item: { readonly message: string; readonly size: number }, ask: Ask): string | undefined {
  const message = ask('SELECT size FROM message WHERE id = ? AND users > 0', item.message);
  // The index and the heads of the rows tell: no octet of the body is read.
  const rows = ask(
    'SELECT count(*) AS count, max(number) AS last, total(length(octets)) AS octets FROM chunk WHERE message = ?',
    item.message,
  );
  return bodyFault(item, {
    size: message?.['size'],
    count: rows?.['count'],
    last: rows?.['last'],
    octets: rows?.['octets'],
  });
}

/** What an item is parked with. */
export function damagedStatus(why: string): Failed {
  return {
    outcome: 'failed',
    code: '5.3.0',
    cause: 'damaged',
    text: 'The stored message is damaged',
    reason: `Damaged in the spool: ${why}. What is left of it can be exported; check the disk, and restore the spool from a backup if there is one`,
  };
}

function json(text: unknown): Row | undefined {
  try {
    const value: unknown = JSON.parse(String(text));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
