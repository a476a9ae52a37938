/**
 * Durations and sizes as people write them: a whole number with its unit. A number without a unit is refused. And dates
 * as ISO 8601 has them.
 */
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

/** Milliseconds. */
const DURATIONS = new Map(Object.entries({ ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }));
/** Octets; names in lower case. */
const SIZES = new Map(
  Object.entries({
    b: 1,
    kb: 1_000,
    mb: 1_000 ** 2,
    gb: 1_000 ** 3,
    kib: 1_024,
    mib: 1_024 ** 2,
    gib: 1_024 ** 3,
  }),
);

/** The forms that the functions below read, for editors. */
export const DURATION_PATTERN = '^\\d+ ?(ms|s|m|h|d)$';
export const SIZE_PATTERN = '^\\d+ ?([kKmMgG][iI]?)?[bB]$';

export const DATE_PATTERN = String.raw`^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$`;

/** `500ms`, `90s`, `15m`, `1h`, `2d` -> milliseconds. Limits are given as people write them. */
export function duration(text: string, least: string, most: string): Value<number> {
  return measure(text, least, most, {
    units: DURATIONS,
    name: 'a duration: a whole number with its unit (ms, s, m, h or d), such as 90s or 15m',
    unitless: 'needs a unit: ms, s, m, h or d, such as 90s or 15m',
  });
}

/** `512B`, `256KiB` (1024), `35MB` (1,000,000), `2GiB` -> octets. Limits are given as people write them. */
export function size(text: string, least: string, most: string): Value<number> {
  return measure(text, least, most, {
    units: SIZES,
    name: 'a size: a whole number with its unit (B, KB, MB, GB or KiB, MiB, GiB), such as 35MB or 64KiB',
    unitless: 'needs a unit: B, KB, MB, GB (powers of 1000) or KiB, MiB, GiB (powers of 1024), such as 35MB',
    ignoreCase: true,
  });
}

/** `2027-01-31` (when that day begins in UTC), `2027-01-31T12:30:00Z`, `...+02:00` -> milliseconds since 1970. */
export function isoDate(text: string): Value<number> {
  const form = 'must be a date: year-month-day, such as 2027-01-31, also with time and zone: 2027-01-31T12:30:00Z';
  if (!new RegExp(DATE_PATTERN).test(text)) return bad(form);
  // The day by itself too: what February 30 would be taken for is another day.
  const day = new Date(`${text.slice(0, 10)}T00:00:00Z`);
  const at = Date.parse(text);
  if (Number.isNaN(at) || Number.isNaN(day.getTime()) || !day.toISOString().startsWith(text.slice(0, 10))) {
    return bad('is no day or time that there is');
  }
  return good(at);
}

interface Measure {
  readonly units: ReadonlyMap<string, number>;
  readonly name: string;
  readonly unitless: string;
  readonly ignoreCase?: boolean;
}

function measure(text: string, least: string, most: string, how: Measure): Value<number> {
  const amount = amountOf(text, how);
  if (amount === undefined) return bad(/^\d+$/.test(text) ? how.unitless : `must be ${how.name}`);
  const [low, high] = [amountOf(least, how), amountOf(most, how)];
  if (low === undefined || high === undefined) throw new Error(`not a limit: ${least}, ${most}`);
  return amount < low || amount > high ? bad(`must be from ${least} to ${most}`) : good(amount);
}

function amountOf(text: string, how: Measure): number | undefined {
  const [, digits, unit] = /^(\d{1,15}) ?([a-zA-Z]+)$/.exec(text) ?? [];
  if (digits === undefined || unit === undefined) return undefined;
  const factor = how.units.get(how.ignoreCase === true ? unit.toLowerCase() : unit);
  return factor === undefined ? undefined : Number(digits) * factor;
}
