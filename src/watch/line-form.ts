/**
 * What a log line is made of: its level, its sentence and its fields, with lists and texts bounded. Pure; never fails.
 */

export const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type Level = (typeof LEVELS)[number];

export interface Line {
  readonly level: Level;
  readonly message: string;
  readonly fields: Fields;
}

/** In the order of the line; undefined: left out. */
export type Fields = Readonly<Record<string, Value | undefined>>;
type Value = string | number | boolean | readonly string[];

/** How many entries of a list are shown; the count is always given. */
const SHOWN = 20;
/** Characters of a cause, and of a reason or an advice. */
export const SHORT = 100;
export const LONG = 2_000;

export function line(level: Level, message: string, fields: Fields): Line {
  return { level, message, fields };
}

export function list(values: readonly string[], shown: (value: string) => string): readonly string[] {
  return values.slice(0, SHOWN).map((value) => shown(value));
}

export function optional<T, V extends Value>(value: T | undefined, shown: (value: T) => V): V | undefined {
  return value === undefined ? undefined : shown(value);
}
