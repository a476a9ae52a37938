/** A command of the program as a process of its own. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { root } from './process.ts';

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly errors: string;
}

export class CommandProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly #lines: string[] = [];
  #heard: (() => void)[] = [];

  /** @param input what it reads from standard input */
  constructor(
    words: readonly string[],
    cwd: string,
    input?: string,
    environment: Readonly<Record<string, string>> = {},
  ) {
    this.child = spawn(process.execPath, [join(root, 'src/main.ts'), ...words], {
      cwd,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '', ...environment },
    });
    const { stdin, stdout, stderr } = this.child;
    if (stdin === null || stdout === null || stderr === null) throw new Error('no pipes');
    stdin.on('error', () => undefined);
    stdin.end(input ?? '');
    const errors: Buffer[] = [];
    stderr.on('data', (chunk: Buffer) => errors.push(chunk));
    const wake = (): void => {
      for (const one of this.#heard.splice(0)) one();
    };
    createInterface({ input: stdout }).on('line', (line) => {
      this.#lines.push(line);
      wake();
    });
    this.ended = once(this.child, 'close').then(([code]) => {
      wake();
      return { code: code as number | null, out: this.#lines.join('\n'), errors: Buffer.concat(errors).toString() };
    });
  }

  /** Waits for a line of its output. */
  async line(wanted: RegExp): Promise<string> {
    for (;;) {
      const found = this.#lines.find((line) => wanted.test(line));
      if (found !== undefined) return found;
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`it ended: ${JSON.stringify(await this.ended)}`);
      await new Promise<void>((resolve) => this.#heard.push(resolve));
    }
  }

  async stop(): Promise<Ended> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGTERM');
    return this.ended;
  }
}
