/** A terminal that keeps what a command says. */
import { parseArgs } from 'node:util';
import type { Command } from '../../src/commands/command.ts';
import type { ExitCode, Terminal } from '../../src/commands/outcome.ts';

export interface Said {
  readonly code: ExitCode;
  readonly out: string;
  readonly errors: string;
}

/** As main.ts runs it, within this process. Rejects as the command does. */
export async function runCommand(command: Command, ...args: readonly string[]): Promise<Said> {
  const out: string[] = [];
  const errors: string[] = [];
  const { options, takesWords = false } = command;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: takesWords });
  const terminal: Terminal = {
    print: (line) => void out.push(line),
    complain: (line) => void errors.push(line),
    write: async () => undefined,
    progress: () => undefined,
    stop: new AbortController().signal,
    onReload: () => undefined,
  };
  const code = await command.run(values, terminal, positionals);
  return { code, out: out.join('\n'), errors: errors.join('\n') };
}
