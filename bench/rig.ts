/**
 * What every bench stands on: gateways and other processes that are started, loaded, asked and ended, in front of a sandbox
 * that only gives tokens. Everything is in one temporary folder.
 */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Sandbox } from '../src/sandbox/sandbox.ts';
import { startSandbox } from '../src/sandbox/sandbox.ts';

const root = resolve(import.meta.dirname, '..');
export const [COMPILED, SOURCE] = ['dist/main.js', 'bin/smtp2exchange.js'];

/** What a gateway is given besides. */
export interface GatewayOptions {
  readonly entry?: string;
  /** The database file of a spool that is full already. */
  readonly queued?: string;
  /** The configuration's `spool`, instead of a file of its own. */
  readonly spool?: string;
  /** The configuration's `senders`. */
  readonly senders?: string;
  /** Further top-level keys. */
  readonly more?: string;
}

export interface Gateway {
  readonly port: number;
  readonly console: string;
  /** Seconds from the process' start until it was ready. */
  readonly startup: number;
  /** Epoch milliseconds of the process' start. */
  readonly begun: number;
  stop(): Promise<void>;
}

export class Rig {
  readonly sandbox: Sandbox;
  readonly folder: string;
  readonly caFile: string;
  readonly #children = new Set<ChildProcess>();
  #gateways = 0;

  private constructor(sandbox: Sandbox) {
    this.sandbox = sandbox;
    this.folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-bench-'));
    this.caFile = join(this.folder, 'ca.pem');
    writeFileSync(this.caFile, sandbox.ca);
  }

  static async start(mailboxes: readonly string[]): Promise<Rig> {
    // As it runs in production: compiled.
    execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'], {
      cwd: root,
    });
    return new Rig(await startSandbox({ mailboxes: mailboxes.map((address) => ({ address })) }));
  }

  /** A process of Node.js. */
  start(args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
    this.#children.add(child);
    void once(child, 'close').then(() => this.#children.delete(child));
    return child;
  }

  async gateway(ewsUrl: string, concurrency: number, options: GatewayOptions = {}): Promise<Gateway> {
    const { entry = COMPILED, queued, more = '', senders = '{ mailbox: notifications@contoso.com }' } = options;
    const { sandbox, folder } = this;
    const number = ++this.#gateways;
    const config = join(folder, `config-${number}.yaml`);
    const file = join(folder, `spool-${number}.db`);
    writeFileSync(
      config,
      `
listeners: [{ name: bench, address: 127.0.0.1, port: 0, tls: none, maxConnections: 200 }]
senders: ${senders}
exchange:
  tenantId: ${sandbox.tenantId}
  clientId: ${sandbox.clientId}
  clientSecret: ${sandbox.clientSecret}
  ewsUrl: ${ewsUrl}
  authority: ${sandbox.authority}
  caFile: ${this.caFile}
pacing: { perMailbox: { concurrency: ${concurrency}, perMinute: unlimited } }
spool: ${options.spool ?? `{ sqlite: ${file} }`}
console: { address: 127.0.0.1, port: 0 }
log: { level: info }
${more}`,
    );
    if (queued !== undefined) copyFileSync(queued, file);
    const begunAt = Date.now();
    const begun = performance.now();
    const child = this.start([entry, 'run', '--config', config]);
    if (child.stdout === null) throw new Error('no output');
    let port = 0;
    let url = '';
    const lines = createInterface({ input: child.stdout });
    await new Promise<void>((ready, failed) => {
      lines.on('line', (line) => {
        const { event, ...facts } = JSON.parse(line) as { event: string; port: number; url: string };
        if (event === 'listener.open') port = facts.port;
        if (event === 'console.open') url = facts.url;
        if (event === 'gateway.ready') ready();
      });
      child.once('close', () => failed(new Error('the gateway ended')));
    });
    // From now on the log is read and no more: what reads it must not be part of what is measured.
    lines.close();
    child.stdout.resume();
    const startup = (performance.now() - begun) / 1000;
    return { port, console: url, startup, begun: begunAt, stop: () => end(child) };
  }

  /** Messages per second. @param senders mailboxes that send in turn, see load.ts */
  async load(port: number, connections: number, messages: number, octets: number, senders = 1): Promise<number> {
    const child = this.start(['bench/load.ts', ...[port, connections, messages, octets, senders].map(String)]);
    return (JSON.parse(await firstLine(child)) as { rate: number }).rate;
  }

  async close(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await this.sandbox.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('no output');
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error('ended without a word');
}

export async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'close');
}

export async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(new URL('/metrics', url))).text();
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

export async function until(what: string, reached: () => Promise<boolean>, minutes = 2): Promise<void> {
  for (let tries = 0; tries < 3_000 * minutes; tries++) {
    if (await reached()) return;
    await new Promise((wake) => setTimeout(wake, 20));
  }
  throw new Error(`${what} did not happen within ${minutes} minutes`);
}

export function row(...cells: readonly (string | number)[]): void {
  process.stdout.write(
    `${cells.map((cell, index) => (index === 0 ? String(cell).padEnd(52) : String(typeof cell === 'number' ? round(cell) : cell).padStart(14))).join('')}\n`,
  );
}

function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
