/** What the history says of orders and notices, and what an item is parked with: the same whatever the engine. Pure. */
import type { LaneKey, SpoolId } from '../mail/item.ts';
import type { DroppedItem } from '../mail/spool.ts';
import type { DeliveryStatus } from '../mail/status.ts';

export const WITHOUT_NOTICE = 'the notice is gone from the spool';

/** Ended without an operator. */
export const DROPPED: Readonly<Record<DroppedItem['why'], string>> = {
  age: 'parked for longer than spool.parkedRetention allows',
  size: 'more was parked than spool.parkedSize allows, and this was the oldest',
};

/** What, and who asked for it. */
export function asked(by: string | undefined, what?: string): string | undefined {
  return [what, ...(by === undefined ? [] : [`by ${by}`])].filter((part) => part !== undefined).join('; ') || undefined;
}

export function moved(from: LaneKey, to: LaneKey): string {
  return `from ${from.route}, ${from.mailbox} to ${to.route}, ${to.mailbox}`;
}

/** Of a notice that will not be delivered. */
export function undelivered(tells: SpoolId, why: string): string {
  return `not delivered, so ${tells} is parked: ${why}`;
}

/** Of what an operator's order to its notice has taken along. */
export function droppedWith(notice: SpoolId, detail: string): string {
  return `with the notice to its sender, ${notice}: ${detail}`;
}

/** Of recipients that are items of their own now. */
export const splitInto = (parts: readonly SpoolId[]): string => `without the recipients of ${parts.join(', ')}`;
export const splitFrom = (item: SpoolId): string => `from ${item}, which has the other recipients`;

/** What an item is parked with: why it was given up, and why its sender does not know. */
export function untoldStatus(status: DeliveryStatus | undefined, why: string): DeliveryStatus {
  const untold = `its sender could not be told: ${why}`;
  if (status === undefined)
    return { outcome: 'failed', code: '5.0.0', cause: 'untold', text: 'It was given up', reason: untold };
  return { ...status, reason: status.reason === undefined ? untold : `${status.reason}; ${untold}` };
}
