/** Rows of the database as what another spool takes, and the other way round: the same whatever the engine. Pure. */
import type { HistoryEntry, SpoolId } from '../mail/item.ts';
import type { KeptItem, KeptMessage, KeptReceipt } from '../mail/spool.ts';
import type { Row } from './database.ts';
import { laneName } from './protocol.ts';
import { itemOf } from './rows.ts';

/** Of an item's id, which begins with it. */
export function messageOf(id: SpoolId): SpoolId {
  const end = id.indexOf('-');
  return end < 0 ? id : id.slice(0, end);
}

export function keptItemOf(row: Row, history: readonly HistoryEntry[]): KeptItem {
  return {
    item: itemOf(row),
    isFirst: row['first'] === 1,
    ...time('startedAt', row['started']),
    ...time('endedAt', row['ended']),
    ...time('parkedAt', row['parked']),
    history,
  };
}

/** @param size of its body, where it has one */
export function keptMessageOf(
  id: SpoolId,
  size: unknown,
  items: readonly KeptItem[],
  damaged: string | undefined,
): KeptMessage {
  const hasBody = size !== undefined && size !== null;
  return {
    id,
    size: Number(hasBody ? size : (items[0]?.item.size ?? 0)),
    hasBody,
    items,
    ...(damaged === undefined ? {} : { damaged }),
  };
}

export function keptReceiptOf(row: Row): KeptReceipt {
  return {
    source: String(row['source']),
    key: String(row['key']),
    at: Number(row['at']),
    ...time('settledAt', row['settled']),
  };
}

/** Items that need the body of a message. */
export function usersOf({ items }: KeptMessage): number {
  return items.filter(({ endedAt }) => endedAt === undefined).length;
}

/** One that was being sent is in doubt. */
export function wasSending({ item }: KeptItem): boolean {
  return item.state === 'sending';
}

/** An item as its row. @param verifyAfter milliseconds after the start of an attempt, before it may be looked into */
export function rowOf(kept: KeptItem, now: number, verifyAfter: number) {
  const { item, isFirst, startedAt, endedAt, parkedAt } = kept;
  const inDoubt = wasSending(kept);
  return {
    id: item.id,
    message: item.message,
    lane: laneName(item),
    state: inDoubt ? 'queued' : item.state,
    due: inDoubt ? Math.min(startedAt ?? now, now) + verifyAfter : item.due,
    arrived: item.arrivedAt,
    attempts: item.attempts,
    doubtful: inDoubt || item.doubtful ? 1 : 0,
    started: startedAt ?? null,
    ended: endedAt ?? null,
    size: item.size,
    header_size: item.headerSize,
    message_id: item.messageId,
    envelope: JSON.stringify(item.envelope),
    origin: JSON.stringify(item.origin),
    status: item.lastStatus === undefined ? null : JSON.stringify(item.lastStatus),
    first: isFirst ? 1 : 0,
    parked: parkedAt ?? null,
    tells: item.tells ?? null,
  };
}

function time<Name extends string>(name: Name, value: unknown): { readonly [Key in Name]?: number } {
  return value === null || value === undefined ? {} : ({ [name]: Number(value) } as { readonly [Key in Name]: number });
}
