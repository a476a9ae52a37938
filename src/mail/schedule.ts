/**
 * When a delayed message is tried again. Pure: chance comes in as a number.
 * The n-th failure waits the n-th interval, later ones the last interval, each with up to 10 % added or taken away so
 * that messages deferred together do not come back together.
 */

export interface Schedule {
  /** Milliseconds; at least one. */
  readonly intervals: readonly number[];
  /** Milliseconds after arrival at which a message is given up. */
  readonly giveUpAfter: number;
}

const JITTER = 0.1;

/**
 * Milliseconds to wait after the given attempt.
 * @param attempt number of the attempt that has just failed, from 1
 * @param chance in [0, 1)
 */
export function waitAfter(schedule: Schedule, attempt: number, chance: number): number {
  const index = Math.min(Math.max(attempt, 1), schedule.intervals.length) - 1;
  const interval = schedule.intervals[index];
  if (interval === undefined) throw new RangeError('a schedule needs at least one interval');
  return Math.round(interval * (1 + JITTER * (2 * chance - 1)));
}

/** Whether the message is to be given up instead of waiting until `due`. Times in epoch milliseconds. */
export function isExpired(schedule: Schedule, arrivedAt: number, due: number): boolean {
  return due - arrivedAt > schedule.giveUpAfter;
}
