/**
 * One run of a program without a shell: octets to its standard input as fast as it takes them, the beginning of its
 * standard error kept, a time limit, and its end. At the limit its process group is asked to end (SIGTERM), and killed a
 * moment later; where the octets cannot be read to their end it is killed at once, so that it never takes a part for the
 * whole. It inherits nothing of the gateway: no variable, no open file. Never rejects.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { QUOTED } from './command-answers.ts';

export interface Run {
  /** The program and its arguments. */
  readonly command: readonly [string, ...string[]];
  /** Working directory; absent: the gateway's. */
  readonly folder?: string | undefined;
  readonly environment: Readonly<Record<string, string>>;
  /** It need not read all of it. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Milliseconds. */
  readonly timeout: number;
  /** Milliseconds between SIGTERM and SIGKILL. */
  readonly killAfter: number;
  readonly signal: AbortSignal;
}

export interface Ended {
  readonly how:
    | { readonly kind: 'exit'; readonly code: number }
    | { readonly kind: 'signal'; readonly name: string }
    /** It never ran. */
    | { readonly kind: 'notStarted'; readonly code: string };
  /** Why it was ended by us, if it was. */
  readonly ended?: 'timeout' | 'stopping' | 'input' | undefined;
  /** With `input`: what its reader failed with. */
  readonly error?: unknown;
  readonly said: string;
}

/** Octets of standard error: what is told of it, whatever its characters need. */
const KEPT = QUOTED * 4;
/** Milliseconds. */
const LINGER = 200;

export async function run({ command, folder, environment, input, timeout, killAfter, signal }: Run): Promise<Ended> {
  const [program, ...words] = command;
  const { promise, resolve } = Promise.withResolvers<Ended['how']>();
  let child: ChildProcess;
  try {
    child = spawn(program, words, {
      cwd: folder,
      env: environment,
      shell: false,
      stdio: ['pipe', 'ignore', 'pipe'],
      windowsHide: true,
      // A process group of its own, to be ended whole.
      detached: process.platform !== 'win32',
    });
  } catch (error) {
    return { how: { kind: 'notStarted', code: codeOf(error) }, said: '' };
  }
  // Before all else: unheard, it would end the gateway.
  child.on('error', (error) => {
    if (child.pid === undefined) resolve({ kind: 'notStarted', code: codeOf(error) });
  });
  // Without a file descriptor left there are no pipes, whatever the types say.
  const { stdin, stderr }: { readonly stdin?: Writable | null; readonly stderr?: Readable | null } = child;
  const said: Buffer[] = [];
  let kept = 0;
  stderr?.on('data', (chunk: Buffer) => {
    // It is read to its end all the same: a full pipe would stop the program.
    if (kept < KEPT) said.push(chunk.subarray(0, KEPT - kept));
    kept += chunk.length;
  });
  child.once('exit', (code, name) =>
    resolve(code === null ? { kind: 'signal', name: name ?? 'a signal' } : { kind: 'exit', code }),
  );

  let ended: Ended['ended'];
  let error: unknown;
  let killing: NodeJS.Timeout | undefined;
  const end = (why: Ended['ended']): void => {
    if (ended !== undefined) return;
    ended = why;
    killGroup(child, why === 'input' ? 'SIGKILL' : 'SIGTERM');
    killing = setTimeout(() => killGroup(child, 'SIGKILL'), killAfter);
  };
  const limit = setTimeout(() => end('timeout'), timeout);
  const onAbort = (): void => end('stopping');
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  const over = new AbortController();
  const feeding = feed(stdin, input, over.signal).catch((cause: unknown) => {
    error = cause;
    end('input');
  });

  const how = await promise;
  // What it left of its group when we ended it.
  if (ended !== undefined) killGroup(child, 'SIGKILL');
  clearTimeout(limit);
  clearTimeout(killing);
  signal.removeEventListener('abort', onAbort);
  over.abort();
  stdin?.destroy();
  await ending(stderr);
  await feeding;
  return { how, ended, error, said: Buffer.concat(said).toString('utf8') };
}

/** Rejects with the error of the input's reader only. A chunk is let go of before the next one is asked for. */
async function feed(
  stdin: Writable | null | undefined,
  input: AsyncIterable<Uint8Array>,
  over: AbortSignal,
): Promise<void> {
  if (stdin === null || stdin === undefined) return;
  stdin.on('error', () => {});
  for await (const chunk of input) {
    if (over.aborted) return;
    const isTaken = await new Promise<boolean>((resolve) => {
      const onOver = (): void => resolve(false);
      over.addEventListener('abort', onOver, { once: true });
      stdin.write(chunk, (error) => {
        over.removeEventListener('abort', onOver);
        resolve(error === null || error === undefined);
      });
    });
    if (!isTaken) return;
  }
  stdin.end();
}

/** The last of what it said; not for long, because something that the program left behind may hold the pipe. */
async function ending(stderr: Readable | null | undefined): Promise<void> {
  if (stderr === null || stderr === undefined || stderr.closed) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, LINGER);
    stderr.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
  stderr.destroy();
}

function killGroup(child: ChildProcess, name: 'SIGTERM' | 'SIGKILL'): void {
  if (child.pid === undefined) return;
  // A process group, which no method of the child reaches.
  const { kill } = process;
  try {
    if (process.platform === 'win32') child.kill(name);
    else kill(-child.pid, name);
  } catch {
    // Nothing of it is left.
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'ERROR';
}
