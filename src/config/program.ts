/** A program that the configuration names, and what of our environment it gets. Pure; never fails. */
import { resolve, sep } from 'node:path';
import type { Environment } from './environment.ts';

export interface Program {
  /** At least one word. The first is an absolute path, or a name to be looked for in PATH. */
  readonly command: readonly string[];
  /** What a program needs of ours to run, and no secret. */
  readonly environment: Readonly<Record<string, string>>;
}

/** @param words at least one @param folder relative paths start here */
export function programOf(words: readonly string[], folder: string, environment: Environment): Program {
  const [program, ...rest] = words;
  if (program === undefined) throw new Error('a command without a program passed its checks');
  // A name without any slash is looked for in PATH.
  const isPath = program.includes('/') || program.includes(sep);
  return { command: [isPath ? resolve(folder, program) : program, ...rest], environment: inherited(environment) };
}

/** The variables that programs expect everywhere. The others may hold secrets. */
const INHERITED = ['PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'SystemRoot', 'TEMP'];

function inherited(environment: Environment): Readonly<Record<string, string>> {
  return Object.fromEntries(
    INHERITED.flatMap((name) => {
      const value = environment[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}
