#!/usr/bin/env node
/**
 * The command line: argv -> command -> exit code. The only reader of process.argv, the only place that hears signals
 * and ends the process. SIGTERM and SIGINT ask the command to stop; a second one ends the process at once with 1, but not
 * within the first half second: Ctrl-C under npm, or a supervisor that signals a whole group, brings the same one twice.
 * SIGHUP asks a command that can to read changed files again.
 */
import { enableCompileCache } from 'node:module';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import type { Command } from './commands/command.ts';
import { CommandFault, EXIT } from './commands/outcome.ts';
import type { ExitCode, Terminal } from './commands/outcome.ts';
import { version } from './commands/version.ts';

/** Each is loaded when it is asked for: what only the demo needs costs the gateway neither time nor memory. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import('./commands/run.ts')).runCommand,
  demo: async () => (await import('./commands/demo.ts')).demoCommand,
  sandbox: async () => (await import('./commands/sandbox.ts')).sandboxCommand,
  check: async () => (await import('./commands/check.ts')).checkCommand,
  setup: async () => (await import('./commands/setup.ts')).setupCommand,
  send: async () => (await import('./commands/send.ts')).sendCommand,
  queue: async () => (await import('./commands/queue.ts')).queueCommand,
  spool: async () => (await import('./commands/spool.ts')).spoolCommand,
  'hash-password': async () => (await import('./commands/hash-password.ts')).hashPasswordCommand,
};

async function usage(): Promise<string> {
  const commands = await Promise.all(Object.values(COMMANDS).map((load) => load()));
  const width = Math.max(...commands.map((command) => command.usage.length));
  return [
    'smtp2exchange: an SMTP-to-Exchange gateway',
    '',
    'Usage: smtp2exchange [command] [options]',
    '',
    ...commands.map((command) => `  ${command.usage.padEnd(width)}   ${command.summary}`),
    '',
    '  --help, --version',
    '',
    'Exit codes: 0 done, 1 failed, 64 usage, 75 temporary, 78 configuration',
  ].join('\n');
}

async function find(words: readonly string[]): Promise<{ command: Command; rest: string[] }> {
  const [first, ...rest] = words;
  // `run` is the default: options alone belong to it.
  const name = first === undefined || first.startsWith('-') ? 'run' : first;
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load === undefined) {
    throw new CommandFault(
      EXIT.usage,
      `There is no command "${name}". The commands are: ${Object.keys(COMMANDS).join(', ')}`,
    );
  }
  return { command: await load(), rest: name === first ? rest : [...words] };
}

async function execute(words: readonly string[], stop: AbortSignal): Promise<ExitCode> {
  if (words.includes('--help') || words.includes('-h') || words[0] === 'help') {
    const help = Object.hasOwn(COMMANDS, words[0] ?? '') ? (await COMMANDS[words[0] ?? '']?.())?.help : undefined;
    process.stdout.write(`${help ?? (await usage())}\n`);
    return EXIT.done;
  }
  if (words.includes('--version')) {
    process.stdout.write(`${version()}\n`);
    return EXIT.done;
  }
  const { command, rest } = await find(words);
  let parsed;
  try {
    const { options, takesWords = false } = command;
    parsed = parseArgs({ args: rest, options, strict: true, allowPositionals: takesWords });
  } catch (error) {
    throw new CommandFault(
      EXIT.usage,
      `${error instanceof Error ? error.message : String(error)}\nUsage: smtp2exchange ${command.usage}`,
    );
  }
  const terminal: Terminal = {
    print: (line) => void process.stdout.write(`${line}\n`),
    complain: (line) => void process.stderr.write(`${line}\n`),
    write: (octets) =>
      new Promise((resolve, reject) => {
        process.stdout.write(octets, (error) => (error instanceof Error ? reject(error) : resolve()));
      }),
    progress: progressOn(process.stderr),
    stop,
    onReload: (reload) => void process.on('SIGHUP', reload),
  };
  return command.run(parsed.values, terminal, parsed.positionals);
}

function progressOn(stream: NodeJS.WriteStream): Terminal['progress'] {
  if (!stream.isTTY) return () => undefined;
  let shown = 0;
  return (line) => {
    const cut = line.slice(0, Math.max(20, stream.columns - 1));
    stream.write(`\r${cut.padEnd(shown)}${cut === '' ? '\r' : ''}`);
    shown = cut.length;
  };
}

/** Milliseconds within which a second signal is the first one, come another way. */
const ECHO = 500;

function listen(): AbortSignal {
  const asked = new AbortController();
  let heardAt = 0;
  const hear = (signal: NodeJS.Signals): void => {
    if (!asked.signal.aborted) heardAt = performance.now();
    else if (performance.now() - heardAt > ECHO) process.exit(EXIT.failed);
    asked.abort(signal);
  };
  process.on('SIGTERM', hear);
  process.on('SIGINT', hear);
  // A reader that goes away (`| head`), or a full disk under the log, is no reason to stop handling mail.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  return asked.signal;
}

/** Milliseconds after which everything is loaded. */
const LOADED = 1_000;
/** The optimizing compilers of V8. */
const COMPILERS = ['opt', 'maglev'];

/** A gateway idles most of its life and streams the rest: it needs to be small more than it needs to be fast. */
function keepSmall(): void {
  // Halves what loading costs from the second start on; where no cache can be kept, nothing is lost.
  enableCompileCache();
  // The young generation stays as it begins while all is loaded: it would grow by tens of megabytes for nothing. Under
  // load it may grow: a sixth more mail is accepted with it.
  setFlagsFromString('--semi-space-growth-factor=1');
  // Nor is what runs while loading worth optimizing: the compilers take ten megabytes for it that are not given back.
  for (const compiler of COMPILERS) setFlagsFromString(`--no-${compiler}`);
  setTimeout(() => {
    setFlagsFromString('--semi-space-growth-factor=2');
    for (const compiler of COMPILERS) setFlagsFromString(`--${compiler}`);
  }, LOADED).unref();
}

async function main(): Promise<ExitCode> {
  keepSmall();
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
