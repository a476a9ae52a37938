/**
 * deploy/postgres as it is, run by the programs of this machine: a primary, a standby in step with it, who gets in, and
 * how it goes on without the one or the other, with the words of docs/scaling.md. Needs Debian's PostgreSQL.
 */
import type { ChildProcess } from 'node:child_process';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { owner, postgresBinaries, withoutReplicas } from '../spool/postgres-binaries.ts';
import { freePort } from '../spool/postgres-server.ts';

const root = join(import.meta.dirname, '../..');
const PASSWORDS = { 'gateway-password': 'a3f9', 'replicator-password': '77c0' } as const;
const guide = readFileSync(join(root, 'docs/scaling.md'), 'utf8');

describe.skipIf(withoutReplicas() !== undefined)('the files of deploy/postgres', { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-deploy-'));
  const running: ChildProcess[] = [];
  const said: string[] = [];
  process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));
  const ports = { primary: 0, standby: 0 };

  function environment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
    return {
      PATH: `${postgresBinaries().folder}:${process.env['PATH']}`,
      LC_ALL: 'C',
      SECRETS: join(folder, 'secrets'),
      ...more,
    };
  }

  /** As the compose file starts it, with what this machine wants. */
  function server(
    name: 'primary' | 'standby',
    program: readonly string[],
    more: Readonly<Record<string, string>> = {},
  ): void {
    const settings = {
      config_file: join(folder, 'smtp2exchange.conf'),
      hba_file: join(folder, 'pg_hba.conf'),
      port: ports[name],
      listen_addresses: '127.0.0.1',
      unix_socket_directories: folder,
      shared_buffers: '32MB',
      dynamic_shared_memory_type: 'mmap',
      ...(name === 'standby' ? { synchronous_standby_names: '' } : {}),
    };
    const words = [...program, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])];
    const child = spawn(words[0] ?? '', words.slice(1), {
      ...owner(),
      cwd: '/',
      env: environment({ PGDATA: join(folder, name), ...more }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk: Buffer) => said.push(String(chunk)));
    running.push(child);
  }
  const primary = (): void => server('primary', ['postgres', '-D', join(folder, 'primary')]);
  const standby = (): void =>
    server('standby', ['/bin/sh', join(folder, 'standby.sh')], {
      PRIMARY: '127.0.0.1',
      PRIMARY_PORT: String(ports.primary),
      SERVER: 'env',
    });

  async function stop(signal: NodeJS.Signals, which: number): Promise<void> {
    const [child] = running.splice(which, 1);
    child?.kill(signal);
    if (child !== undefined) await once(child, 'exit');
  }

  /** As the superuser, by the socket: only the system's own user gets in there. */
  async function psql(name: 'primary' | 'standby', sql: string): Promise<string> {
    const words = ['-X', '-A', '-t', '-U', 'postgres', '-h', folder, '-p', String(ports[name]), '-c', sql];
    return (await promisify(execFile)('psql', words, { ...owner(), cwd: '/', env: environment() })).stdout.trim();
  }

  async function asGateway(
    name: 'primary' | 'standby',
    sql: string,
    { password = PASSWORDS['gateway-password'] as string, patience = 20_000 } = {},
  ): Promise<readonly unknown[]> {
    const client = new Client({
      host: '127.0.0.1',
      port: ports[name],
      user: 'gateway',
      password,
      database: 'mail',
      query_timeout: patience,
    });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows;
    } finally {
      // One that waits for its commit does not hear of it.
      await Promise.race([client.end(), pause(200)]);
    }
  }

  async function until(what: string, is: () => Promise<boolean>): Promise<void> {
    for (const deadline = Date.now() + 30_000; !(await is().catch(() => false)); await pause(100))
      if (Date.now() > deadline) throw new Error(`${what} within 30 s:\n${said.slice(-20).join('')}`);
  }
  const inStep = (): Promise<void> =>
    until('the standby comes into step', async () =>
      /^standby\|streaming\|sync$/m.test(
        await psql('primary', 'SELECT application_name, state, sync_state FROM pg_stat_replication'),
      ),
    );

  /** A command of the guide, as it stands there. */
  function ofGuide(words: string): string {
    expect(guide).toContain(words);
    return words;
  }

  beforeAll(async () => {
    chmodSync(folder, 0o755);
    cpSync(join(root, 'deploy/postgres'), folder, { recursive: true });
    mkdirSync(join(folder, 'secrets'));
    for (const [name, password] of Object.entries(PASSWORDS))
      writeFileSync(join(folder, 'secrets', name), `${password}\n`);
    const as = owner();
    if (as !== undefined) chownSync(folder, as.uid, as.gid);
    ports.primary = await freePort();
    ports.standby = await freePort();
    await promisify(execFile)('initdb', ['-D', join(folder, 'primary'), '-U', 'postgres', '-A', 'trust'], {
      ...as,
      cwd: '/',
      env: environment(),
    });
    // Only the system's user of the server's name is let in by pg_hba.conf; as one of another name, anybody by the socket.
    if (as === undefined || as.uid === 65_534) {
      const rules = readFileSync(join(folder, 'pg_hba.conf'), 'utf8');
      writeFileSync(join(folder, 'pg_hba.conf'), rules.replace(/^(local.*) peer$/m, '$1 trust'));
    }
    primary();
    await until('the primary starts', async () => (await psql('primary', 'SELECT 1')) === '1');
  }, 60_000);

  afterAll(async () => {
    for (const child of running) child.kill('SIGQUIT');
    await Promise.all(running.map(async (child) => child.exitCode ?? (await once(child, 'exit'))));
    rmSync(folder, { recursive: true, force: true });
  });

  it('make roles and database before there is a standby, and a standby that commits wait for', async () => {
    await promisify(execFile)('/bin/sh', [join(folder, 'init.sh')], {
      ...owner(),
      cwd: '/',
      env: environment({ PGHOST: folder, PGPORT: String(ports.primary) }),
    });
    standby();
    await inStep();
    await asGateway('primary', 'CREATE TABLE one (a integer)');
    await asGateway('primary', 'INSERT INTO one VALUES (1)');
    expect(await psql('primary', 'SELECT active FROM pg_replication_slots')).toBe('t');
    await until('the standby shows it', async () => (await asGateway('standby', 'SELECT a FROM one')).length === 1);
  });

  it('let in nobody with a wrong password, and the gateway into its own database only', async () => {
    await expect(asGateway('primary', 'SELECT 1', { password: 'wrong' })).rejects.toThrow(
      'password authentication failed',
    );
    const other = new Client({
      host: '127.0.0.1',
      port: ports.primary,
      user: 'gateway',
      password: PASSWORDS['gateway-password'],
      database: 'postgres',
    });
    await expect(other.connect()).rejects.toThrow('no pg_hba.conf entry');
  });

  it('without the standby nothing is acknowledged, until an operator says so; back, it is in step again', async () => {
    await stop('SIGINT', 1);
    await expect(asGateway('primary', 'INSERT INTO one VALUES (2)', { patience: 1_500 })).rejects.toThrow('timeout');
    await psql('primary', ofGuide("ALTER SYSTEM SET synchronous_standby_names = ''"));
    await psql('primary', ofGuide('SELECT pg_reload_conf()'));
    await until(
      'it is acknowledged',
      async () => (await asGateway('primary', 'INSERT INTO one VALUES (3) RETURNING a')).length === 1,
    );
    standby();
    await psql('primary', ofGuide('ALTER SYSTEM RESET synchronous_standby_names'));
    await psql('primary', 'SELECT pg_reload_conf()');
    await inStep();
  });

  it('a standby that takes the place of the primary has all that was acknowledged, and waits for nobody', async () => {
    await asGateway('primary', 'INSERT INTO one VALUES (4)');
    await stop('SIGKILL', 0);
    await psql('standby', ofGuide('SELECT pg_promote()'));
    await asGateway('standby', 'INSERT INTO one VALUES (5)');
    expect(await asGateway('standby', 'SELECT a FROM one WHERE a IN (1, 3, 4, 5) ORDER BY a')).toEqual(
      [1, 3, 4, 5].map((a) => ({ a })),
    );
  });
});
