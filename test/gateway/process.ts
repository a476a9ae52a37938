/** The real gateway as a process of its own, for tests that look at it from outside. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

export const root = resolve(import.meta.dirname, '../..');

export type LogLine = Readonly<Record<string, unknown>> & { readonly event: string };

export class GatewayProcess {
  readonly child: ChildProcess;
  readonly lines: LogLine[] = [];
  /** What is no JSON line: must stay empty. */
  readonly noise: string[] = [];
  readonly errors: string[] = [];
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #heard: (() => void)[] = [];

  constructor(
    configFile: string,
    environment: Record<string, string> = {},
    [program, ...words]: readonly [string, ...string[]] = [process.execPath, join(root, 'src/main.ts')],
  ) {
    this.child = spawn(program, [...words, 'run', '--config', configFile], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '', ...environment },
    });
    this.exited = once(this.child, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
    }));
    const { stdout, stderr } = this.child;
    if (stdout === null || stderr === null) throw new Error('no pipes');
    createInterface({ input: stdout }).on('line', (line) => {
      try {
        this.lines.push(JSON.parse(line) as LogLine);
      } catch {
        this.noise.push(line);
      }
      for (const wake of this.#heard.splice(0)) wake();
    });
    createInterface({ input: stderr }).on('line', (line) => this.errors.push(line));
    void this.exited.then(() => {
      for (const wake of this.#heard.splice(0)) wake();
    });
  }

  /** Waits for a log line. */
  async line(wanted: (line: LogLine) => boolean, seconds = 20): Promise<LogLine> {
    const deadline = Date.now() + seconds * 1000;
    for (;;) {
      const found = this.lines.find(wanted);
      if (found !== undefined) return found;
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(
          `the gateway ended (${this.child.exitCode ?? this.child.signalCode}): ${[...this.errors, ...this.noise].join('\n')}`,
        );
      }
      const left = deadline - Date.now();
      if (left <= 0)
        throw new Error(
          `no such log line within ${seconds} s; the last were\n${this.lines
            .slice(-5)
            .map((l) => JSON.stringify(l))
            .join('\n')}`,
        );
      await new Promise<void>((wake) => {
        const timer = setTimeout(wake, left);
        this.#heard.push(() => {
          clearTimeout(timer);
          wake();
        });
      });
    }
  }

  async event(name: string, seconds?: number): Promise<LogLine> {
    return this.line((line) => line.event === name, seconds);
  }

  /** @returns the SMTP port of the first listener */
  async ready(): Promise<number> {
    await this.event('gateway.ready');
    return Number((await this.event('listener.open'))['port']);
  }

  async consoleUrl(): Promise<string> {
    return String((await this.event('console.open'))['url']);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    return this.exited;
  }
}

export interface Folder {
  readonly path: string;
  /** @returns the file's path */
  write(name: string, content: string | Uint8Array): string;
  remove(): void;
}

export function folder(): Folder {
  const path = mkdtempSync(join(tmpdir(), 'smtp2exchange-'));
  return {
    path,
    write(name, content) {
      const file = join(path, name);
      writeFileSync(file, content, { mode: 0o600 });
      return file;
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}
