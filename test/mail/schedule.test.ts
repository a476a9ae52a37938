/** When a delayed message is tried again, and when it is given up. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isExpired, waitAfter } from '../../src/mail/schedule.ts';

fc.configureGlobal({ seed: 5321 });

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const schedule = { intervals: [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR], giveUpAfter: 48 * HOUR };

describe('the wait after a failure', () => {
  it.each([
    ['the first', 1, MINUTE],
    ['the second', 2, 5 * MINUTE],
    ['the third', 3, 15 * MINUTE],
    ['the fourth', 4, HOUR],
    ['one after the last interval', 5, HOUR],
    ['a very late one', 1_000_000, HOUR],
    ['one that was never counted', 0, MINUTE],
    ['a negative one', -1, MINUTE],
  ])('%s (%i)', (_, attempt, interval) => {
    expect(waitAfter(schedule, attempt, 0.5)).toBe(interval);
  });

  it.each([
    [0, 0.9 * MINUTE],
    [0.25, 0.95 * MINUTE],
    [0.5, MINUTE],
    [0.75, 1.05 * MINUTE],
    [1 - Number.EPSILON, 1.1 * MINUTE],
  ])('chance %f makes a minute %i ms', (chance, wait) => {
    expect(waitAfter(schedule, 1, chance)).toBe(wait);
  });

  it('goes with the default intervals like this, in seconds', () => {
    const table = [1, 2, 3, 4, 5].map((attempt) =>
      [0, 0.5, 1 - Number.EPSILON].map((chance) => waitAfter(schedule, attempt, chance) / 1_000),
    );
    // least, middle, most
    expect(table).toEqual([
      [54, 60, 66],
      [270, 300, 330],
      [810, 900, 990],
      [3_240, 3_600, 3_960],
      [3_240, 3_600, 3_960],
    ]);
  });

  it('is a whole number within 10 % of its interval, and more chance never means less of it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 7 * 24 * HOUR }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 20 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (intervals, attempt, one, other) => {
          const wait = (chance: number): number => waitAfter({ intervals, giveUpAfter: HOUR }, attempt, chance);
          const interval = intervals[attempt - 1] ?? intervals.at(-1) ?? 0;
          expect(Number.isInteger(wait(one))).toBe(true);
          expect(wait(one)).toBeGreaterThanOrEqual(Math.round(0.9 * interval));
          expect(wait(one)).toBeLessThanOrEqual(Math.round(1.1 * interval));
          expect(wait(Math.max(one, other))).toBeGreaterThanOrEqual(wait(Math.min(one, other)));
        },
      ),
    );
  });

  it('cannot be told without an interval', () => {
    expect(() => waitAfter({ intervals: [], giveUpAfter: HOUR }, 1, 0.5)).toThrow(RangeError);
  });
});

describe('giving up', () => {
  const arrivedAt = 1_700_000_000_000;

  it.each([
    ['due at once', 0, false],
    ['due before its end', 48 * HOUR - 1, false],
    ['due exactly at its end: one last attempt', 48 * HOUR, false],
    ['due after its end', 48 * HOUR + 1, true],
    ['due before it arrived, after the clock was set back', -HOUR, false],
  ])('%s', (_, after, expired) => {
    expect(isExpired(schedule, arrivedAt, arrivedAt + after)).toBe(expired);
  });

  it('comes at once with no time to wait', () => {
    expect(isExpired({ intervals: [MINUTE], giveUpAfter: 0 }, arrivedAt, arrivedAt)).toBe(false);
    expect(isExpired({ intervals: [MINUTE], giveUpAfter: 0 }, arrivedAt, arrivedAt + 1)).toBe(true);
  });

  it('never comes without an end', () => {
    expect(isExpired({ intervals: [MINUTE], giveUpAfter: Infinity }, arrivedAt, Number.MAX_SAFE_INTEGER)).toBe(false);
  });
});
