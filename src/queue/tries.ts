/**
 * What an item's history says about its tries since the operator last had it. The number of attempts alone says too
 * much: the item that probes a held route makes dozens through no fault of its own. Pure.
 */
import type { HistoryEntry } from '../mail/item.ts';
import { BUG } from './bug.ts';

export interface Tries {
  /** Ended with a trouble of this message, not of its mailbox or route. */
  readonly own: number;
  /** Ended with a trouble that is not known to be temporary. */
  readonly capped: number;
  /** The server's answer never came. */
  readonly unanswered: number;
  /** May have been acted on in any way: no answer, cut short by a crash, or by a bug. */
  readonly unclear: number;
}

export function triesIn(history: readonly HistoryEntry[]): Tries {
  const tries = { own: 0, capped: 0, unanswered: 0, unclear: 0 };
  for (const { what, status } of history.slice(history.findLastIndex((entry) => entry.what === 'parked') + 1)) {
    if (what === 'unknown') tries.unanswered++;
    if (what === 'unknown' || what === 'recovered' || status?.cause === BUG) tries.unclear++;
    if (status?.outcome !== 'delayed') continue;
    if (status.reach === 'message') tries.own++;
    if (status.capped === true) tries.capped++;
  }
  return tries;
}
