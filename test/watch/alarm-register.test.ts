/** When somebody is told: a trouble as it comes and goes over the minutes, and the notices that makes. */
import { describe, expect, it } from 'vitest';
import type { Condition } from '../../src/watch/alarm-conditions.ts';
import { Register } from '../../src/watch/alarm-register.ts';

const MINUTE = 60_000;
const one: Condition = { id: 'a', reason: 'mailOld', severity: 'warning', title: 'A', text: ['a'], since: 0 };

/** @param present the minutes in which the trouble is there; looked at every half minute */
function told(present: (minute: number) => boolean, minutes: number, repeat = 60): string[] {
  const register = new Register(repeat * MINUTE);
  const lines: string[] = [];
  for (let half = 0; half <= minutes * 2; half++) {
    const minute = half / 2;
    const moment = { wall: minute * MINUTE, steady: minute * MINUTE };
    for (const { notice } of register.update(present(minute) ? [one] : [], moment)) lines.push(`${minute} ${notice}`);
  }
  return lines;
}

describe('a trouble', () => {
  it.each<[string, (minute: number) => boolean, number, readonly string[]]>([
    ['that never comes', () => false, 300, []],
    ['that lasts', () => true, 150, ['0 raised', '60 repeated', '120 repeated']],
    ['that ends', (m) => m < 10, 300, ['0 raised', '11 recovered']],
    ['that ends after a repeat', (m) => m < 70, 300, ['0 raised', '60 repeated', '71 recovered']],
    ['that is away for half a minute', (m) => m < 20 && m !== 10, 300, ['0 raised', '22 recovered']],
    [
      // Away for 1, 2, 4, 8 ... minutes before it counts as over.
      'that comes back every other minute for an hour',
      (m) => m < 59 && Math.floor(m) % 2 === 0,
      300,
      ['0 raised', '119 recovered'],
    ],
    [
      'that comes back after the longest wait',
      (m) => m < 1 || (m >= 100 && m < 101),
      300,
      ['0 raised', '2 recovered', '100 raised', '102 recovered'],
    ],
    [
      'that comes back within it has to stay away for longer',
      (m) => m < 1 || (m >= 20 && m < 21),
      300,
      ['0 raised', '2 recovered', '20 raised', '23 recovered'],
    ],
  ])('%s', (_, present, minutes, expected) => {
    expect(told(present, minutes)).toEqual(expected);
  });

  it('that flaps for a day is told of a few times, not hundreds', () => {
    const day = told((m) => m < 24 * 60 && Math.floor(m / 5) % 2 === 0, 48 * 60);
    expect(day.filter((line) => !line.includes('repeated')).length).toBeLessThanOrEqual(8);
    expect(day.at(-1)).toMatch(/recovered$/);
  });

  it('is over at the latest after `repeat` without it', () => {
    expect(told((m) => m < 1, 10, 0.5)).toEqual(['0 raised', '0.5 repeated', '1.5 recovered']);
  });

  it('keeps the time it began, and has its latest words', () => {
    const register = new Register(MINUTE);
    register.update([{ ...one, since: 5 }], { wall: 5, steady: 5 });
    register.update([], { wall: 6, steady: 6 });
    const again = { ...one, since: 7, title: 'A, worse' };
    register.update([again], { wall: 7, steady: 7 });
    const [change] = register.update([again], { wall: 5 + MINUTE, steady: 5 + MINUTE });
    expect(change).toEqual({ notice: 'repeated', condition: { ...again, since: 5 } });
  });

  it('is one of several, each for itself', () => {
    const register = new Register(MINUTE);
    const other = { ...one, id: 'b' };
    const at = (steady: number) => ({ wall: 0, steady });
    expect(register.update([one], at(0)).map(({ condition }) => condition.id)).toEqual(['a']);
    expect(register.update([one, other], at(1)).map(({ condition }) => condition.id)).toEqual(['b']);
    expect(register.update([other], at(2))).toEqual([]);
    expect(register.update([], at(MINUTE + 2))).toMatchObject([{ notice: 'recovered', condition: { id: 'a' } }]);
  });

  it('does not care for a clock that is set', () => {
    const register = new Register(MINUTE);
    register.update([one], { wall: 1e12, steady: 0 });
    expect(register.update([one], { wall: 2e12, steady: 1 })).toEqual([]);
    expect(register.update([one], { wall: 0, steady: MINUTE })).toHaveLength(1);
  });
});
