/**
 * Follows a mail through the queue of a running gateway to its end: what is new of its history, as it happens. Ends when
 * every item of it has ended or waits for an operator, or when the time is over. Never fails by itself; what the control
 * door throws goes through.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Operations } from '../console/operations.ts';
import type { HistoryEntry, QueueItem } from '../mail/item.ts';

/** delivered: all of it. waiting: not all has come to an end. failed: some of it bounced, was dropped, or is set aside. */
export type End = 'delivered' | 'failed' | 'waiting';

export interface Followed {
  readonly end: End;
  readonly items: readonly QueueItem[];
}

/** Milliseconds between two looks. */
const LOOK = 150;

export interface FollowOptions {
  /** Message-ID with its angle brackets. */
  readonly messageId: string;
  /** Milliseconds. */
  readonly timeout: number;
  readonly stop: AbortSignal;
  /** Told of each entry once, in order. */
  readonly heard: (item: QueueItem, entry: HistoryEntry) => void;
}

export async function follow(operations: Operations, options: FollowOptions): Promise<Followed> {
  const { messageId, timeout, stop, heard } = options;
  const until = performance.now() + timeout;
  const told = new Map<string, number>();
  for (;;) {
    const items = await operations.list({ messageId });
    for (const { id } of items) {
      const story = await operations.show(id);
      if (story === undefined) continue;
      for (const entry of story.history.slice(told.get(id) ?? 0)) heard(story.item, entry);
      told.set(id, story.history.length);
    }
    const end = endOf(items);
    const isOver = end !== 'waiting' || stop.aborted || performance.now() >= until;
    if (isOver) return { end, items };
    await delay(LOOK, undefined, { signal: stop }).catch(() => undefined);
  }
}

const OVER: ReadonlySet<QueueItem['state']> = new Set(['relayed', 'bounced', 'dropped', 'parked']);

export function endOf(items: readonly QueueItem[]): End {
  if (items.length === 0 || !items.every(({ state }) => OVER.has(state))) return 'waiting';
  return items.every(({ state }) => state === 'relayed') ? 'delivered' : 'failed';
}
