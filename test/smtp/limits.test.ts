import { describe, expect, it } from 'vitest';
import { connectionCount, loginGuard, rateLimit } from '../../src/smtp/limits.ts';

const START = 1_764_000_000_000;
const RULES = { failures: 3, within: 600_000, ban: 900_000, delay: 1_000 };

function clock(): { now: () => number; pass: (milliseconds: number) => void } {
  let time = START;
  return { now: () => time, pass: (milliseconds) => void (time += milliseconds) };
}

describe('failed logins', () => {
  it('are answered late, counted, and lead to a ban that is told once', () => {
    const { now } = clock();
    const guard = loginGuard(RULES, now);
    expect(guard.failed('10.0.0.7')).toEqual({ delay: 1_000, failures: 1 });
    expect(guard.failed('10.0.0.7')).toEqual({ delay: 1_000, failures: 2 });
    expect(guard.banned('10.0.0.7')).toBeUndefined();
    expect(guard.failed('10.0.0.7')).toEqual({ delay: 1_000, failures: 3, bannedUntil: START + 900_000 });
    expect(guard.banned('10.0.0.7')).toBe(START + 900_000);
    // Of sessions that were open already.
    for (let more = 0; more < 5; more++) expect(guard.failed('10.0.0.7')).not.toHaveProperty('bannedUntil');
  });

  it('concern the address they come from', () => {
    const guard = loginGuard(RULES, clock().now);
    for (let count = 0; count < 3; count++) guard.failed('10.0.0.7');
    expect(guard.banned('10.0.0.8')).toBeUndefined();
  });

  it('count only as long as they are recent', () => {
    const { now, pass } = clock();
    const guard = loginGuard(RULES, now);
    for (let count = 0; count < 20; count++) {
      expect(guard.failed('10.0.0.7').bannedUntil).toBeUndefined();
      pass(300_000);
    }
  });

  it('do not keep a client out for as long as the clock was set back', () => {
    const { now, pass } = clock();
    const guard = loginGuard(RULES, now);
    for (let count = 0; count < 2; count++) guard.failed('10.0.0.6');
    for (let count = 0; count < 3; count++) guard.failed('10.0.0.7');
    pass(-86_400_000);
    expect(guard.banned('10.0.0.7')).toBeUndefined();
    expect(guard.failed('10.0.0.6')).toEqual({ delay: 1_000, failures: 1 });
  });

  it('begin anew after a ban', () => {
    const { now, pass } = clock();
    const guard = loginGuard(RULES, now);
    for (let count = 0; count < 3; count++) guard.failed('10.0.0.7');
    pass(899_999);
    expect(guard.banned('10.0.0.7')).toBe(START + 900_000);
    pass(1);
    expect(guard.banned('10.0.0.7')).toBeUndefined();
    expect(guard.failed('10.0.0.7')).toEqual({ delay: 1_000, failures: 1 });
  });

  it('lead to a ban at the first if one is too many', () => {
    const guard = loginGuard({ ...RULES, failures: 1 }, clock().now);
    expect(guard.failed('10.0.0.7')).toEqual({ delay: 1_000, failures: 1, bannedUntil: START + 900_000 });
  });

  it('are outweighed by as many good logins; good ones alone never count', () => {
    const guard = loginGuard(RULES, clock().now);
    for (let count = 0; count < 1_000; count++) guard.succeeded('10.0.0.7');
    for (let count = 0; count < 100; count++) {
      expect(guard.failed('10.0.0.7').bannedUntil).toBeUndefined();
      guard.succeeded('10.0.0.7');
    }
    // Not forgiven in advance.
    for (let count = 0; count < 3; count++) guard.failed('10.0.0.7');
    expect(guard.banned('10.0.0.7')).toBeDefined();
  });

  it('stay a ban whatever succeeds meanwhile', () => {
    const guard = loginGuard(RULES, clock().now);
    for (let count = 0; count < 3; count++) guard.failed('10.0.0.7');
    for (let count = 0; count < 10; count++) guard.succeeded('10.0.0.7');
    expect(guard.banned('10.0.0.7')).toBe(START + 900_000);
  });

  it('of ever new addresses in one IPv6 network ban the network', () => {
    const guard = loginGuard(RULES, clock().now);
    const results = Array.from({ length: 30 }, (_, host) => guard.failed(`2001:db8:1:2::${(host + 1).toString(16)}`));
    expect(results.map(({ bannedUntil }) => bannedUntil !== undefined).indexOf(true)).toBe(29);
    expect(results[29]?.failures).toBe(30);
    expect(guard.banned('2001:db8:1:2:ffff::1')).toBe(START + 900_000);
    expect(guard.banned('2001:db8:1:3::1')).toBeUndefined();
  });

  it.each([
    ['2001:db8::1', '2001:db8:0:0:9::9', true],
    ['2001:db8::', '2001:DB8:0000::7', true],
    ['::1', '::2', true],
    ['::1', '0:0:0:1::1', false],
    ['fe80::1%eth0', 'fe80::2%eth0', true],
    ['1:2:3:4:5:6:7:8', '1:2:3:4::', true],
    ['1:2:3::5:6:7:8', '1:2:3:0::', true],
    ['64:ff9b::192.0.2.1', '64:ff9b::192.0.2.2', true],
    ['1:2:3:4:5:6:192.0.2.1', '1:2:3:4::', true],
  ])('of %s are in one network with %s: %s', (one, other, isOne) => {
    const guard = loginGuard({ ...RULES, failures: 2 }, clock().now);
    for (let count = 0; count < 19; count++) guard.failed(one);
    expect(guard.failed(other).failures).toBe(isOne ? 20 : 1);
  });

  it('of very many addresses cost bounded memory', () => {
    const guard = loginGuard(RULES, clock().now);
    for (let count = 0; count < 3; count++) guard.failed('10.0.0.7');
    for (let address = 0; address < 9_999; address++) guard.failed(`198.51.${address >> 8}.${address & 255}`);
    expect(guard.banned('10.0.0.7')).toBeDefined();
    guard.failed('192.0.2.1');
    expect(guard.banned('10.0.0.7')).toBeUndefined();
  });
});

describe('messages a minute', () => {
  it('pass at once up to the limit, then as time gives', () => {
    const { now, pass } = clock();
    const limit = rateLimit(6, now);
    expect(Array.from({ length: 8 }, () => limit.take('pbx'))).toEqual([...Array<boolean>(6).fill(true), false, false]);
    pass(9_999);
    expect(limit.take('pbx')).toBe(false);
    pass(1);
    expect(limit.take('pbx')).toBe(true);
    expect(limit.take('pbx')).toBe(false);
    pass(3_600_000);
    expect(Array.from({ length: 7 }, () => limit.take('pbx'))).toEqual([...Array<boolean>(6).fill(true), false]);
  });

  it('are counted for each key', () => {
    const limit = rateLimit(1, clock().now);
    expect([limit.take('a'), limit.take('b'), limit.take('a')]).toEqual([true, true, false]);
  });

  it.each([1, 3, 7, 30, 59, 1_000])('of %d are exactly that many over an hour', (perMinute) => {
    const { now, pass } = clock();
    const limit = rateLimit(perMinute, now);
    let passed = 0;
    for (let step = 0; step < 36_000; step++) {
      while (limit.take('pbx')) passed++;
      pass(100);
    }
    expect(passed).toBeLessThanOrEqual(perMinute * 61);
    expect(passed).toBeGreaterThanOrEqual(perMinute * 61 - Math.ceil(perMinute / 600) - 1);
  });

  it('may be none, or any number', () => {
    const { now } = clock();
    expect(rateLimit(0, now).take('pbx')).toBe(false);
    const limit = rateLimit(Infinity, now);
    for (let count = 0; count < 1_000; count++) expect(limit.take('pbx')).toBe(true);
  });

  it('are neither won nor lost when the clock is set back', () => {
    const { now, pass } = clock();
    const limit = rateLimit(2, now);
    limit.take('pbx');
    pass(-3_600_000);
    expect([limit.take('pbx'), limit.take('pbx')]).toEqual([true, false]);
    pass(30_000);
    expect(limit.take('pbx')).toBe(true);
  });

  it('of very many keys cost bounded memory', () => {
    const limit = rateLimit(1, clock().now);
    limit.take('first');
    for (let key = 0; key < 9_999; key++) limit.take(String(key));
    expect(limit.take('first')).toBe(false);
    for (let key = 0; key < 10_000; key++) limit.take(`more ${key}`);
    expect(limit.take('first')).toBe(true);
  });
});

describe('connections', () => {
  it('are counted for each address', () => {
    const count = connectionCount();
    expect([count.add('a'), count.add('a'), count.add('b'), count.of('a'), count.of('b'), count.of('c')]).toEqual([
      1, 2, 1, 2, 1, 0,
    ]);
    count.remove('a');
    count.remove('b');
    expect([count.of('a'), count.of('b')]).toEqual([1, 0]);
  });

  it('are never fewer than none', () => {
    const count = connectionCount();
    count.remove('a');
    count.remove('a');
    expect(count.of('a')).toBe(0);
    expect(count.add('a')).toBe(1);
  });
});
