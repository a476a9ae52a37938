/**
 * The alert rules with their time running faster, so that a test sees in minutes what takes hours: every duration is
 * divided by one factor, windows (`[15m]`), waits (`for: 5m`) and limits that are seconds themselves (`> 1800`) alike. Counts,
 * ratios and octets stay, so a rule keeps its meaning for a gateway whose waits are as much shorter.
 *
 * Limits of a day and more stay as well: they are about dates (how long a certificate is good), and a test can make those as
 * it likes. Pure; throws for a text that holds no rules.
 */
import { parse, stringify } from 'yaml';

/** A minute is a second. */
export const FACTOR = 60;

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
}
interface Groups {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };
const MINUTE = 60;
const DAY = 86_400;

/** @returns text for Prometheus */
export function shortened(text: string, factor = FACTOR): string {
  const { groups } = parse(text) as Groups;
  const short = (duration: string): string => {
    const [, amount = '', unit = ''] = /^(\d+)([smhd])$/.exec(duration) ?? [];
    return `${Math.round((Number(amount) * (UNITS[unit] ?? NaN) * 1_000) / factor)}ms`;
  };
  return stringify({
    groups: groups.map((group) => ({
      ...group,
      rules: group.rules.map((rule) => ({
        ...rule,
        expr: shortenedExpression(rule.expr, factor, short),
        ...(rule.for === undefined ? {} : { for: short(rule.for) }),
      })),
    })),
  });
}

function shortenedExpression(expr: string, factor: number, short: (duration: string) => string): string {
  const windows = expr.replace(/\[(\d+[smhd])\]/g, (_, window: string) => `[${short(window)}]`);
  if (!/_seconds(?:_total|_bucket)?\b/.test(expr)) return windows;
  return windows.replace(/([<>]) (\d+)/g, (all, sign: string, limit: string) =>
    Number(limit) < MINUTE || Number(limit) >= DAY ? all : `${sign} ${Number(limit) / factor}`,
  );
}
