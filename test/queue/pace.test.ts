/** How many attempts a mailbox may have at a time, and since when. */
import { describe, expect, it } from 'vitest';
import { Pace } from '../../src/queue/pace.ts';

const MINUTE = 60_000;
const unlimited = { concurrency: 8, perMinute: Infinity };

function throttledAt(...times: readonly number[]): Pace {
  const pace = new Pace(unlimited);
  for (const at of times) pace.throttled(at, at - 0.5);
  return pace;
}

describe('a hold', () => {
  it('ends when a person says that what it is for is mended, unless the server told to wait longer', () => {
    const pace = new Pace(unlimited);
    pace.hold(5 * MINUTE, true);
    pace.mended(1);
    expect(pace.nextFree(1)).toBe(1);
    pace.hold(5 * MINUTE, true);
    pace.hold(6 * MINUTE);
    pace.mended(2);
    expect(pace.nextFree(2)).toBe(6 * MINUTE);
  });
});

describe('throttling', () => {
  it('halves what may run at a time, down to one', () => {
    const pace = new Pace(unlimited);
    const slots = [1, 2, 3, 4, 5].map((at) => {
      pace.throttled(at, at - 0.5);
      return pace.slots;
    });
    expect(slots).toEqual([4, 2, 1, 1, 1]);
  });

  it('is given back one by one, after ten successes each', () => {
    const pace = throttledAt(1, 2, 3);
    const slots: number[] = [];
    for (let n = 0; n < 80; n++) {
      pace.succeeded();
      if ((n + 1) % 10 === 0) slots.push(pace.slots);
    }
    expect(slots).toEqual([2, 3, 4, 5, 6, 7, 8, 8]);
  });

  it('is given back by time too, so that a mailbox with little mail does not crawl for ever and can be forgotten', () => {
    const pace = throttledAt(0);
    const slots = [0, 9, 10, 19, 20, 30, 40, 600].map((minutes) => pace.free(minutes * MINUTE));
    expect(slots).toEqual([4, 4, 5, 5, 6, 7, 8, 8]);
    expect(throttledAt(0).isFresh(39 * MINUTE)).toBe(false);
    expect(throttledAt(0).isFresh(40 * MINUTE)).toBe(true);
  });

  it('is not given back by time while the server told to wait', () => {
    const pace = throttledAt(0);
    pace.hold(60 * MINUTE);
    expect(pace.free(59 * MINUTE)).toBe(0);
    expect(pace.free(61 * MINUTE)).toBe(4);
    expect(pace.free(70 * MINUTE)).toBe(5);
  });
});

describe('other limits', () => {
  it('count at once; what was throttled stays so', () => {
    const pace = new Pace(unlimited);
    pace.use({ concurrency: 2, perMinute: 1 });
    expect(pace.slots).toBe(2);
    pace.started(1);
    expect([pace.free(2), pace.nextFree(2)]).toEqual([0, MINUTE + 1]);
    pace.use(unlimited);
    expect(pace.free(3)).toBe(7);
    const slow = throttledAt(1);
    slow.use({ concurrency: 20, perMinute: Infinity });
    expect(slow.slots).toBe(4);
    slow.use({ concurrency: 3, perMinute: Infinity });
    expect(slow.slots).toBe(3);
  });
});
