/**
 * A PostgreSQL server of a test's own, on loopback and in a temporary folder. It ends with the test's process, however
 * that ends: a shell between them waits for the end of a pipe. Only what was started here is ever signalled, by its pid.
 */
import type { ChildProcess } from 'node:child_process';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { QueryResultRow } from 'pg';
import { Client } from 'pg';
import { makeCertificate } from '../../src/tls/selfsigned.ts';
import { owner, postgresBinaries } from './postgres-binaries.ts';

export { withoutPostgres, withoutReplicas } from './postgres-binaries.ts';

const PASSWORD = 'not/a secret@all';
const PATIENCE = 30_000;

/** Stops the server when nobody is left at the other end of its input. */
const GUARD = `exec 3<&0 </dev/null
"$@" &
server=$!
( cat <&3 >/dev/null; kill -INT $server 2>/dev/null ) &
wait $server
code=$?
kill $! 2>/dev/null
exit $code`;

export interface ServerOptions {
  /** Whether a commit waits for the disk. Default false: what a killed process has written is kept by the machine. */
  readonly fsync?: boolean;
  /**
   * trust (default): any login does. password: SCRAM, see `url`. certificate: only TLS, with a certificate of the role's
   * name by the CA of `tls`.
   */
  readonly login?: 'trust' | 'password' | 'certificate';
  /** TLS is offered, see `tls`. Default: with `login: certificate`. */
  readonly tls?: boolean;
  /** Lines of postgresql.conf. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** Default: a free one. */
  readonly port?: number;
}

export interface ServerTls {
  /** Files, PEM. The server's certificate is for `localhost` and 127.0.0.1. */
  readonly caFile: string;
  readonly clientCertFile: string;
  readonly clientKeyFile: string;
  /** Of a CA that the server does not know. */
  readonly strangerCertFile: string;
  readonly strangerKeyFile: string;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function run(program: string, ...words: string[]): Promise<void> {
  const { folder } = postgresBinaries();
  await promisify(execFile)(join(folder, program), words, { ...owner(), cwd: '/', env: { LC_ALL: 'C' } });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function childrenOf(pid: number): number[] {
  if (!existsSync('/proc/self/stat')) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return Number(readFileSync(`/proc/${name}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1]) === pid;
      } catch {
        return false;
      }
    })
    .map(Number);
}

export class PostgresServer {
  readonly port: number;
  /** What the server has logged, the last thousand lines. */
  readonly log: string[] = [];
  readonly tls: ServerTls | undefined;
  readonly #options: ServerOptions;
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #pid = 0;

  private constructor(port: number, options: ServerOptions, folder: string, tls: ServerTls | undefined) {
    this.port = port;
    this.#options = options;
    this.#folder = folder;
    this.tls = tls;
  }

  static async start(options: ServerOptions = {}): Promise<PostgresServer> {
    for (let tries = 1; ; tries++) {
      const folder = newFolder();
      const port = options.port ?? (await freePort());
      const tls = options.tls === true || options.login === 'certificate' ? await certificates(folder) : undefined;
      const server = new PostgresServer(port, options, folder, tls);
      try {
        await run('initdb', '-D', server.#data, '-U', 'postgres', '-A', 'trust', '-N', '-E', 'UTF8', '--locale', 'C');
        server.#configure();
        await server.restart();
        return server;
      } catch (error) {
        server.remove();
        // Another process was quicker.
        if (tries === 3 || !server.log.some((line) => line.includes('could not bind'))) throw error;
      }
    }
  }

  get #data(): string {
    return join(this.#folder, 'data');
  }

  #configure(): void {
    const { fsync = false, login = 'trust', settings = {} } = this.#options;
    const lines = {
      listen_addresses: "'127.0.0.1'",
      unix_socket_directories: "''",
      port: this.port,
      fsync: fsync ? 'on' : 'off',
      full_page_writes: fsync ? 'on' : 'off',
      shared_buffers: "'32MB'",
      dynamic_shared_memory_type: 'mmap',
      max_wal_size: "'256MB'",
      wal_keep_size: "'512MB'",
      jit: 'off',
      ...(this.tls === undefined
        ? {}
        : {
            ssl: 'on',
            ssl_cert_file: `'${this.#folder}/server.crt'`,
            ssl_key_file: `'${this.#folder}/server.key'`,
            ssl_ca_file: `'${this.#folder}/ca.crt'`,
          }),
      ...settings,
    };
    appendFileSync(
      join(this.#data, 'postgresql.conf'),
      Object.entries(lines)
        .map(([name, value]) => `${name} = ${value}\n`)
        .join(''),
    );
    if (login === 'trust') return;
    const [type, method] = login === 'password' ? ['host', 'scram-sha-256'] : ['hostssl', 'cert'];
    // The harness's own logins and those of replicas go by another role.
    writeFileSync(
      join(this.#data, 'pg_hba.conf'),
      `host all postgres 127.0.0.1/32 trust
host replication postgres 127.0.0.1/32 trust
${type} all gateway 127.0.0.1/32 ${method}
`,
    );
  }

  /** Also after stop() and kill(), with what is on its disk. */
  async restart(): Promise<void> {
    if (this.#child !== undefined) await this.stop();
    const child = spawn(
      '/bin/sh',
      ['-c', GUARD, 'guard', join(postgresBinaries().folder, 'postgres'), '-D', this.#data],
      { ...owner(), cwd: '/', env: { LC_ALL: 'C' }, stdio: ['pipe', 'ignore', 'pipe'] },
    );
    this.#child = child;
    // Neither the process nor its pipes keep a test run from ending.
    child.unref();
    for (const pipe of [child.stdin, child.stderr]) (pipe as unknown as { unref?: () => void } | null)?.unref?.();
    child.stdin?.on('error', () => {});
    if (child.stderr !== null)
      createInterface({ input: child.stderr }).on('line', (line) => {
        this.log.push(line);
        if (this.log.length > 1_000) this.log.splice(0, 500);
      });
    child.once('exit', () => {
      child.stdin?.destroy();
      if (this.#child === child) this.#child = undefined;
    });
    await this.#answers(child);
    this.#pid = Number(readFileSync(join(this.#data, 'postmaster.pid'), 'utf8').split('\n')[0]);
    if (this.#options.login === 'password' || this.#options.login === 'certificate')
      await this.#role().catch(() => undefined);
  }

  async #answers(child: ChildProcess): Promise<void> {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      const trouble = await this.sql('SELECT 1').then(
        () => undefined,
        (error: unknown) => error as Error,
      );
      if (trouble === undefined) return;
      if (child.exitCode !== null || Date.now() > deadline)
        throw new Error(`PostgreSQL does not start: ${[trouble.message, ...this.log.slice(-10)].join('\n')}`);
      await pause(20);
    }
  }

  /** A replica has it from its primary. */
  async #role(): Promise<void> {
    if ((await this.sql(`SELECT 1 FROM pg_roles WHERE rolname = 'gateway'`)).length > 0) return;
    await this.sql(`CREATE ROLE gateway LOGIN CREATEDB PASSWORD '${PASSWORD}'`);
  }

  /** Runs one statement as the superuser on a connection of its own. */
  async sql<Row extends QueryResultRow>(text: string, database = 'postgres', values: unknown[] = []): Promise<Row[]> {
    const client = new Client({ host: '127.0.0.1', port: this.port, user: 'postgres', database });
    client.on('error', () => {});
    try {
      await client.connect();
      return (await client.query<Row>(text, values)).rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  get user(): string {
    return (this.#options.login ?? 'trust') === 'trust' ? 'postgres' : 'gateway';
  }

  get password(): string | undefined {
    return this.#options.login === 'password' ? PASSWORD : undefined;
  }

  /** The URI of a database by the login that is asked for. @param also other servers with it, or a proxy instead of this one */
  url(database: string, also: { readonly ports?: readonly number[]; readonly parameters?: string } = {}): string {
    const { ports = [this.port], parameters } = also;
    const login = this.password === undefined ? this.user : `${this.user}:${encodeURIComponent(this.password)}`;
    const tls = this.tls;
    const words = [
      ...(parameters === undefined ? [] : [parameters]),
      ...(this.#options.login === 'certificate' && tls !== undefined
        ? [`sslmode=verify-full&sslrootcert=${tls.caFile}&sslcert=${tls.clientCertFile}&sslkey=${tls.clientKeyFile}`]
        : []),
    ];
    const hosts = ports.map((port) => `127.0.0.1:${port}`).join(',');
    return `postgresql://${login}@${hosts}/${database}${words.length === 0 ? '' : `?${words.join('&')}`}`;
  }

  /** Makes an empty database. @returns its name */
  async database(): Promise<string> {
    const name = `test_${randomBytes(6).toString('hex')}`;
    await this.sql(`CREATE DATABASE ${name} OWNER ${this.user}`);
    return name;
  }

  /** @returns the URI of an empty database */
  async freshUrl(): Promise<string> {
    return this.url(await this.database());
  }

  /** fast: as an administrator stops it. immediate: at once; the next start recovers, as after a crash. */
  async stop(how: 'fast' | 'immediate' = 'fast'): Promise<void> {
    await this.#end(() => this.#signal(this.#pid, how === 'fast' ? 'SIGINT' : 'SIGQUIT'));
  }

  /** kill -9 of each of its processes, none of which gets to do anything meanwhile. */
  async kill(): Promise<void> {
    await this.#end(() => {
      this.#signal(this.#pid, 'SIGSTOP');
      const children = childrenOf(this.#pid);
      for (const pid of children) this.#signal(pid, 'SIGKILL');
      this.#signal(this.#pid, 'SIGKILL');
    });
  }

  /** Processor seconds of all of its processes so far; needs Linux. */
  cpuSeconds(): number {
    const ticks = (pid: number, from: number, to: number): number => {
      try {
        const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
        return fields.slice(from, to).reduce((sum, field) => sum + Number(field), 0);
      } catch {
        return 0; // it has just ended
      }
    };
    // utime and stime of each, and of those that have ended.
    return (ticks(this.#pid, 11, 15) + childrenOf(this.#pid).reduce((sum, pid) => sum + ticks(pid, 11, 13), 0)) / 100;
  }

  /** Stops and continues all of its processes: connections stay, and nothing answers. */
  pause(): void {
    this.#signal(this.#pid, 'SIGSTOP');
    for (const pid of childrenOf(this.#pid)) this.#signal(pid, 'SIGSTOP');
  }

  resume(): void {
    for (const pid of [...childrenOf(this.#pid), this.#pid]) this.#signal(pid, 'SIGCONT');
  }

  #signal(pid: number, signal: NodeJS.Signals): void {
    if (pid === 0 || this.#child === undefined) return;
    try {
      process.kill(pid, signal);
    } catch {
      // it has just ended
    }
  }

  async #end(order: () => void): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.ref();
    const isOver = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : Promise.resolve();
    order();
    await isOver;
    const deadline = Date.now() + PATIENCE;
    while (isAlive(this.#pid) && Date.now() < deadline) await pause(5);
    this.#pid = 0;
    this.#child = undefined;
  }

  /** Ends it and removes all it has. */
  async close(): Promise<void> {
    await this.stop('immediate');
    this.remove();
  }

  remove(): void {
    this.#child?.stdin?.destroy();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /**
   * A streaming copy of this server, in step with it from now on: a commit here is acknowledged when both have it.
   * Needs Debian's PostgreSQL (withoutReplicas()).
   */
  async replica(options: { readonly port?: number } = {}): Promise<PostgresServer> {
    const folder = newFolder();
    const replica = new PostgresServer(options.port ?? (await freePort()), this.#options, folder, this.tls);
    const source = ['-h', '127.0.0.1', '-p', String(this.port), '-U', 'postgres'];
    await run('pg_basebackup', '-D', replica.#data, ...source, '-X', 'stream', '-c', 'fast', '-N', '-R');
    // Of several lines the last one counts.
    appendFileSync(join(replica.#data, 'postgresql.conf'), `port = ${replica.port}\n`);
    await replica.restart();
    await this.#inStep();
    return replica;
  }

  async #inStep(): Promise<void> {
    await this.sql(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
    await this.sql('SELECT pg_reload_conf()');
    const deadline = Date.now() + PATIENCE;
    const state = `SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'`;
    while ((await this.sql(state)).length === 0) {
      if (Date.now() > deadline) throw new Error('the replica does not come into step');
      await pause(20);
    }
  }

  /** A primary that acknowledges what it has alone. */
  async alone(): Promise<void> {
    await this.sql('ALTER SYSTEM RESET synchronous_standby_names');
    await this.sql('SELECT pg_reload_conf()');
  }

  /** Makes a replica the primary, on its own: what it had from the last one, it has. */
  async promote(): Promise<void> {
    await this.sql('SELECT pg_promote(true, 30)');
    await this.alone();
  }
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-postgres-'));
  chmodSync(folder, 0o755);
  const as = owner();
  if (as !== undefined) chownSync(folder, as.uid, as.gid);
  return folder;
}

async function certificates(folder: string): Promise<ServerTls> {
  const now = Date.now();
  const common = {
    keyType: 'ec',
    notBefore: new Date(now - 86_400_000),
    notAfter: new Date(now + 86_400_000),
  } as const;
  const [ca, otherCa] = await Promise.all([
    makeCertificate({ ...common, commonName: `PostgreSQL CA ${randomBytes(4).toString('hex')}`, use: 'authority' }),
    makeCertificate({ ...common, commonName: `Stranger CA ${randomBytes(4).toString('hex')}`, use: 'authority' }),
  ]);
  const names = ['localhost', '127.0.0.1'];
  const server = await makeCertificate({ ...common, commonName: 'localhost', use: 'server', names, issuer: ca });
  const client = await makeCertificate({ ...common, commonName: 'gateway', use: 'client', issuer: ca });
  const stranger = await makeCertificate({ ...common, commonName: 'gateway', use: 'client', issuer: otherCa });
  const as = owner();
  const write = (name: string, content: string, isServers = false): string => {
    const file = join(folder, name);
    writeFileSync(file, content, { mode: 0o600 });
    if (isServers && as !== undefined) chownSync(file, as.uid, as.gid);
    return file;
  };
  mkdirSync(folder, { recursive: true });
  write('server.crt', server.cert, true);
  write('server.key', server.key, true);
  return {
    caFile: write('ca.crt', ca.cert, true),
    clientCertFile: write('client.crt', client.cert),
    clientKeyFile: write('client.key', client.key),
    strangerCertFile: write('stranger.crt', stranger.cert),
    strangerKeyFile: write('stranger.key', stranger.key),
  };
}
