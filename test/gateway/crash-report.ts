/** The table at the end of a crash test, and its verdict. */
import type { Books } from './crash-books.ts';
import { KINDS } from './crash-faults.ts';
import type { CrashLoad } from './crash-load.ts';
import type { LogLine } from './process.ts';

/** One column. */
export interface Column {
  readonly name: string;
  readonly load: CrashLoad;
  readonly books: Books;
  /** What was done to it, how often. */
  readonly rounds: Readonly<Record<string, number>>;
  /** What is sent in one step leaves a copy. */
  readonly saveToSentItems: boolean;
  readonly bugs: readonly LogLine[];
  /** How the last gateways ended. */
  readonly exits: readonly (number | null)[];
  /** Further things that must not be, by what they are. */
  readonly wrong?: Readonly<Record<string, number>>;
  /** Prints what is known of a message. */
  tell(messageId: string): Promise<void> | void;
  /** Ends it. @param isKept its spool is left to be looked at */
  close(isKept: boolean): Promise<void>;
}

export interface ReportOptions {
  /** Of the run, for its head. */
  readonly seed: number;
  readonly seconds: number;
  /** Long enough for each kind of fault to have come up. */
  readonly isWhole: boolean;
}

const print = (what: string, values: readonly (number | string)[]): void =>
  void process.stdout.write(`${what.padEnd(52)}${values.map((value) => String(value).padStart(10)).join('')}\n`);
const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);

/** Of what leaves a trace: a copy, or a draft that was used up. */
function doubled({ books, saveToSentItems, load }: Column): readonly string[] {
  return books.doubled.filter((id) => saveToSentItems || load.precious.has(id));
}

/** Prints all, and closes the columns. @returns the exit code */
export async function crashReport(columns: readonly Column[], options: ReportOptions): Promise<number> {
  const row = (what: string, of: (column: Column) => number): number => {
    const values = columns.map(of);
    print(what, [...values, sum(values)]);
    return sum(values);
  };
  const keys = (of: (column: Column) => object): readonly string[] => [
    ...new Set(columns.flatMap((column) => Object.keys(of(column)))),
  ];
  print(`seed ${options.seed}`, [...columns.map(({ name }) => name), 'all']);
  for (const what of keys(({ rounds }) => rounds)) row(what, ({ rounds }) => rounds[what] ?? 0);
  row('messages begun', ({ load }) => load.sent);
  row('  in two steps', ({ load }) => load.precious.size);
  row('  answered with a temporary error', ({ load }) => load.deferred.size);
  for (const what of keys(({ books }) => books.rows)) row(what, ({ books }) => books.rows[what] ?? 0);
  let wrong = 0;
  for (const what of keys(({ books }) => books.wrong))
    wrong += row(`! ${what}`, ({ books }) => books.wrong[what]?.length ?? 0);
  wrong += row('! delivered twice although it leaves a trace', (column) => doubled(column).length);
  for (const what of keys((column) => column.wrong ?? {}))
    wrong += row(`! ${what}`, (column) => column.wrong?.[what] ?? 0);
  wrong += row('! bugs reported', ({ bugs }) => bugs.length);
  wrong += row('! last stop not clean', ({ exits }) => exits.filter((code) => code !== 0).length);
  const requests = row('requests to Exchange', ({ load }) => load.requests);
  const hit = row('of which went wrong', ({ load }) => sum([...load.hits.values()]));
  for (const kind of KINDS.values()) row(`  ${kind}`, ({ load }) => load.hits.get(kind) ?? 0);
  print('seconds', [Math.round(options.seconds)]);
  // What a short run may miss, a whole one may not.
  const isMissing = [...KINDS.values()].some((kind) => columns.every(({ load }) => !load.hits.has(kind)));
  const isWeak = hit / requests < 0.2 || (options.isWhole && isMissing);
  if (isWeak) process.stdout.write('too little went wrong to prove anything\n');
  for (const column of columns) {
    for (const bug of column.bugs) process.stdout.write(`${JSON.stringify(bug)}\n`);
    const odd = [...Object.values(column.books.wrong).flat(), ...doubled(column)];
    for (const id of odd.slice(0, 5)) await column.tell(id);
    await column.close(wrong > 0);
  }
  return wrong > 0 || isWeak ? 1 : 0;
}
