#!/usr/bin/env node
/**
 * The command line: argv -> command -> exit code. The only reader of process.argv, the only place that hears signals
 * and ends the process. SIGTERM and SIGINT ask the command to stop; a second one ends the process at once with 1.
 */
import { parseArgs } from 'node:util';
import type { Command } from './commands/command.ts';
import { demoCommand } from './commands/demo.ts';
import { hashPasswordCommand } from './commands/hash-password.ts';
import { CommandFault, EXIT } from './commands/outcome.ts';
import type { ExitCode } from './commands/outcome.ts';
import { runCommand } from './commands/run.ts';
import { sandboxCommand } from './commands/sandbox.ts';
import { version } from './commands/version.ts';

const COMMANDS: readonly Command[] = [runCommand, demoCommand, sandboxCommand, hashPasswordCommand];

function usage(): string {
  const width = Math.max(...COMMANDS.map((command) => command.usage.length));
  return [
    'smtp2exchange: an SMTP-to-Exchange gateway',
    '',
    'Usage: smtp2exchange [command] [options]',
    '',
    ...COMMANDS.map((command) => `  ${command.usage.padEnd(width)}   ${command.summary}`),
    '',
    '  --help, --version',
    '',
    'Exit codes: 0 done, 1 failed, 64 usage, 75 temporary, 78 configuration',
  ].join('\n');
}

function find(words: readonly string[]): { command: Command; rest: string[] } {
  const [first, ...rest] = words;
  // `run` is the default: options alone belong to it.
  const name = first === undefined || first.startsWith('-') ? 'run' : first;
  const command = COMMANDS.find((candidate) => candidate.name === name);
  if (command === undefined) {
    throw new CommandFault(
      EXIT.usage,
      `There is no command "${name}". The commands are: ${COMMANDS.map((c) => c.name).join(', ')}`,
    );
  }
  return { command, rest: name === first ? rest : [...words] };
}

async function execute(words: readonly string[], stop: AbortSignal): Promise<ExitCode> {
  if (words.includes('--help') || words.includes('-h') || words[0] === 'help') {
    process.stdout.write(`${usage()}\n`);
    return EXIT.done;
  }
  if (words.includes('--version')) {
    process.stdout.write(`${version()}\n`);
    return EXIT.done;
  }
  const { command, rest } = find(words);
  let values;
  try {
    ({ values } = parseArgs({ args: rest, options: command.options, strict: true, allowPositionals: false }));
  } catch (error) {
    throw new CommandFault(
      EXIT.usage,
      `${error instanceof Error ? error.message : String(error)}\nUsage: smtp2exchange ${command.usage}`,
    );
  }
  return command.run(values, {
    print: (line) => void process.stdout.write(`${line}\n`),
    complain: (line) => void process.stderr.write(`${line}\n`),
    stop,
  });
}

function listen(): AbortSignal {
  const asked = new AbortController();
  const hear = (signal: NodeJS.Signals): void => {
    if (asked.signal.aborted) process.exit(EXIT.failed);
    asked.abort(signal);
  };
  process.on('SIGTERM', hear);
  process.on('SIGINT', hear);
  // A reader that goes away (`| head`), or a full disk under the log, is no reason to stop handling mail.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  return asked.signal;
}

async function main(): Promise<ExitCode> {
  try {
    return await execute(process.argv.slice(2), listen());
  } catch (error) {
    if (error instanceof CommandFault) {
      process.stderr.write(`${error.message}\n`);
      return error.exitCode;
    }
    process.stderr.write(
      `This should not have happened, please report it: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    return EXIT.failed;
  }
}

process.exit(await main());
