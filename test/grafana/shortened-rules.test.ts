/** What shortening does to a rule, and what it leaves. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { FACTOR, shortened } from './shortened-rules.ts';

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
}
const rulesOf = (text: string): readonly Rule[] =>
  (parse(text) as { groups: { rules: Rule[] }[] }).groups.flatMap(({ rules }) => rules);
const only = (expr: string, wait = '5m'): string =>
  JSON.stringify({ groups: [{ name: 'a', rules: [{ alert: 'A', expr, for: wait }] }] });

it.each([
  ['a window', 'increase(a_total[15m]) > 3', 'increase(a_total[15000ms]) > 3'],
  ['a limit in seconds', 'queue_oldest_age_seconds > 1800', 'queue_oldest_age_seconds > 30'],
  ['both', 'increase(hold_seconds_total[15m]) > 600', 'increase(hold_seconds_total[15000ms]) > 10'],
  ['no limit of days', 'certificate_remaining_seconds < 1209600', 'certificate_remaining_seconds < 1209600'],
  ['no count', 'changes(start_time_seconds[30m]) > 3', 'changes(start_time_seconds[30000ms]) > 3'],
  ['no octets', 'spool_free_bytes < 1073741824', 'spool_free_bytes < 1073741824'],
])('divides %s', (_, expr, expected) => {
  expect(rulesOf(shortened(only(expr), 60))).toEqual([{ alert: 'A', expr: expected, for: '5000ms' }]);
});

it('leaves the real rules as they are but for their durations', () => {
  const text = readFileSync(join(import.meta.dirname, '../../grafana/alerts/smtp2exchange.rules.yaml'), 'utf8');
  const before = rulesOf(text);
  const after = rulesOf(shortened(text));
  expect(after.map(({ alert }) => alert)).toEqual(before.map(({ alert }) => alert));
  const numberless = (rule: Rule | undefined): string => JSON.stringify(rule).replace(/\d+(?:ms|[smhd])?/g, '0');
  expect(after.map(numberless)).toEqual(before.map(numberless));
  // A window has to hold some scrapes, one a second, and none of the old durations is left.
  for (const { expr } of after) {
    for (const [, window] of expr.matchAll(/\[(\w+)\]/g))
      expect(Number(/^(\d+)ms$/.exec(window ?? '')?.[1])).toBeGreaterThan(4_000);
  }
  expect(FACTOR).toBe(60);
});
