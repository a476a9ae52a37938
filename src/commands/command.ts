/** What a command of the command line is. */
import type { ParseArgsConfig } from 'node:util';
import type { ExitCode, Terminal } from './outcome.ts';

export interface Command {
  readonly name: string;
  /** Name and options as the usage text shows them. */
  readonly usage: string;
  readonly summary: string;
  readonly options: NonNullable<ParseArgsConfig['options']>;
  /** What --help tells instead of the usage of all commands. */
  readonly help?: string;
  /** It takes words beside its options. */
  readonly takesWords?: boolean;
  /** Throws CommandFault for everything a user can mend. */
  run(values: Readonly<Record<string, unknown>>, terminal: Terminal, words: readonly string[]): Promise<ExitCode>;
}
