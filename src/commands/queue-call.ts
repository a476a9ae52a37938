/** What a subcommand of `queue` is called with. Types only. */
import type { Terminal } from './outcome.ts';
import type { Reached } from './queue-reach.ts';

/** Options as they were given. */
export type Values = Readonly<Record<string, unknown>>;

export interface Call {
  readonly values: Values;
  /** What is no option: ids. */
  readonly words: readonly string[];
  readonly terminal: Terminal;
  /** Asked for once all is found to make sense; the same each time. */
  reach(): Promise<Reached>;
}
