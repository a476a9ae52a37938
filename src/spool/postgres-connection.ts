/**
 * The wall of `pg`: one connection to one server, and the one place where what it says becomes a PostgresError. Statements
 * may be asked without waiting for those before; they are answered in their order. One that gets no answer in time ends the
 * connection, because nobody can know what becomes of what stands behind it. Nothing is logged, no file of the user's home
 * is looked at.
 */
import { createHash } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { ClientConfig } from 'pg';
import { Client } from 'pg';
import type { PostgresHost, PostgresUrl } from '../mail/postgres-url.ts';
import { isSocket, shownPostgresUrl } from '../mail/postgres-url.ts';
import type { Row } from './database.ts';
import { CopyReader } from './postgres-copy.ts';
import type { Failure, OwnCode, Reason } from './postgres-trouble.ts';
import { tlsOf } from './postgres-tls.ts';
import type { Tls } from './postgres-tls.ts';
import { failureOf, isOfTls, PostgresError, reasonOf } from './postgres-trouble.ts';

export type Value = string | number | boolean | null | Uint8Array | readonly (string | number)[];

export interface Answer {
  readonly rows: readonly Row[];
  /** Rows changed or given. */
  readonly count: number;
  /** What was done: `COMMIT`, `ROLLBACK`, ... */
  readonly command: string;
}

export interface ConnectionOptions {
  readonly url: PostgresUrl;
  readonly host: PostgresHost;
  /** Milliseconds without an answer. */
  readonly queryTimeout: number;
}

/** Versions of the server below which something that is used does not exist. */
const OLDEST_SERVER = 130_000;

/**
 * Milliseconds after which the server undoes a transaction whose gateway has fallen silent: stopped, or cut off. The locks
 * that it holds are in the way of all others, and no transaction here waits for anything but the server.
 */
const SILENT_TRANSACTION = 2_000;
/** SQLSTATE of what comes after a statement that has failed, in the same transaction. */
const AFTER_A_FAILURE = '25P02';

export class Connection {
  readonly host: string;
  readonly #client: Client;
  readonly #where: string;
  readonly #queryTimeout: number;
  #waiting = 0;
  #silence: NodeJS.Timeout | undefined;
  #failure: PostgresError | undefined;
  /** What the present transaction has failed with. */
  #undone: PostgresError | undefined;
  #isEnding = false;
  /** Told once, when it breaks while nobody may be asking. */
  onLost: ((error: PostgresError) => void) | undefined;
  onNews: ((channel: string, payload: string) => void) | undefined;
  /** The server's time when it was opened, epoch milliseconds, and (steady) before and after that was asked. */
  clock: { readonly time: number; readonly asked: number; readonly answered: number } = {
    time: 0,
    asked: 0,
    answered: 0,
  };

  private constructor(client: Client, { url, host, queryTimeout }: ConnectionOptions) {
    this.#client = client;
    this.#where = shownPostgresUrl(url);
    this.#queryTimeout = queryTimeout;
    this.host = nameOf(host);
    client.on('error', (error: Error) => this.#lose(failureOf(error, false)));
    client.on('end', () => this.#lose({ code: 'CUT', message: 'it was closed', isConnecting: false }));
    client.on('notification', ({ channel, payload = '' }) => this.onNews?.(channel, payload));
  }

  /** @throws PostgresError */
  static async open(options: ConnectionOptions): Promise<Connection> {
    const { url, host } = options;
    const where = shownPostgresUrl(url);
    const tls = isSocket(host) ? false : await tlsOf(url, where);
    try {
      return await Connection.#open(options, tls);
    } catch (error) {
      if (!(error instanceof PostgresError) || url.sslMode !== 'prefer' || tls === false) throw error;
      // As libpq has it: what does not work with TLS, or is not let in with it (pg_hba.conf), may be without.
      const { code } = error.reason;
      if (code !== 'NO_TLS' && code !== '28000' && !isOfTls(code)) throw error;
      return await Connection.#open(options, false);
    }
  }

  static async #open(options: ConnectionOptions, ssl: Tls | false): Promise<Connection> {
    const { url, host, queryTimeout } = options;
    // What its types do not have: that statements need not wait for each other.
    const config: ClientConfig & { readonly pipeline: true } = {
      host: host.host,
      port: host.port,
      user: url.user,
      // A function: neither the environment nor a file of the user's home gives one.
      password: () => url.password?.() ?? '',
      database: url.database,
      ssl: ssl as boolean | Exclude<Tls, undefined>,
      application_name: url.applicationName,
      connectionTimeoutMillis: url.connectTimeout,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      pipeline: true,
    };
    const client = new Client(config);
    // Until somebody else listens: what fails is told to who connects.
    const ignore = (): void => undefined;
    client.on('error', ignore);
    try {
      await client.connect();
    } catch (error) {
      destroy(client);
      throw new PostgresError(reasonOf(failureOf(error, true)), shownPostgresUrl(url));
    }
    const connection = new Connection(client, options);
    client.off('error', ignore);
    try {
      await connection.#settle(url, queryTimeout);
      return connection;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }

  /** What every statement relies on, whatever the server, the database or the role have as their defaults. */
  async #settle({ targetSessionAttrs }: PostgresUrl, queryTimeout: number): Promise<void> {
    // A little before we give up ourselves, so that what took too long is surely undone.
    const patience = Math.max(100, queryTimeout - 500);
    const settings: Record<string, string | number> = {
      search_path: 'smtp2exchange, pg_temp',
      statement_timeout: patience,
      lock_timeout: Math.round(patience / 2),
      idle_in_transaction_session_timeout: Math.min(SILENT_TRANSACTION, queryTimeout),
      default_transaction_isolation: 'read committed',
      default_transaction_deferrable: 'off',
      bytea_output: 'hex',
      // Statements are small, and their plans are kept: made when a table was empty, they must serve when it is not.
      jit: 'off',
      enable_seqscan: 'off',
      enable_bitmapscan: 'off',
    };
    const set = Object.entries(settings).map(([name, value]) => `set_config('${name}', '${value}', false)`);
    const asked = performance.now();
    const { rows } = await this.ask(
      `SELECT current_setting('transaction_read_only') AS read_only, pg_is_in_recovery() AS standby,
        current_setting('server_encoding') AS encoding, current_setting('server_version_num')::int AS version,
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS time, ${set.join(', ')},
        CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END,
        CASE WHEN current_setting('server_version_num')::int >= 140000 AND version() LIKE '%linux%'
          THEN set_config('client_connection_check_interval', '2000', false) END`,
    );
    const [row = {}] = rows;
    this.clock = { time: Number(row['time']), asked, answered: performance.now() };
    const refused = (code: OwnCode, message: string): PostgresError =>
      new PostgresError(reasonOf({ code, message, isConnecting: true }), this.#where);
    if (Number(row['version']) < OLDEST_SERVER) throw refused('OLD', String(row['version']));
    if (row['encoding'] !== 'UTF8') throw refused('ENCODING', String(row['encoding']));
    if (targetSessionAttrs !== 'read-write') return;
    if (row['standby'] === true) throw refused('STANDBY', 'pg_is_in_recovery');
    if (row['read_only'] === 'on') throw refused('READ_ONLY', 'transaction_read_only');
  }

  get isUsable(): boolean {
    return this.#failure === undefined && !this.#isEnding;
  }

  /** @param isKept the statement stays prepared: for those of which there are few. @throws PostgresError */
  async ask(sql: string, values: readonly Value[] = [], isKept = true): Promise<Answer> {
    if (this.#failure !== undefined) throw this.#again(this.#failure);
    this.#waiting++;
    this.#silence ??= setTimeout(() => this.#isSilent(), this.#queryTimeout);
    try {
      const name = values.length > 0 && isKept ? { name: nameFor(sql) } : {};
      const given = values.length === 0 ? {} : { values: values.map(storable) };
      const result = await this.#client.query({ text: sql, ...name, ...given });
      return { rows: result.rows as Row[], count: result.rowCount ?? 0, command: result.command };
    } catch (error) {
      if (this.#failure !== undefined) throw this.#again(this.#failure, { isSent: true });
      const failure = failureOf(error, false);
      if (failure.code === AFTER_A_FAILURE && this.#undone !== undefined) throw this.#undone;
      const reason = reasonOf(failure);
      const told = new PostgresError(reason, this.#where, { isSent: reason.meaning === 'lost' });
      if (reason.meaning === 'lost' || isStale(reason)) this.#lose(told);
      this.#undone = told;
      throw told;
    } finally {
      this.#waiting--;
      if (this.#waiting > 0) this.#silence?.refresh();
      else {
        clearTimeout(this.#silence);
        this.#silence = undefined;
      }
    }
  }

  async rows(sql: string, ...values: Value[]): Promise<readonly Row[]> {
    return (await this.ask(sql, values)).rows;
  }

  async row(sql: string, ...values: Value[]): Promise<Row | undefined> {
    return (await this.ask(sql, values)).rows[0];
  }

  /** @returns rows changed */
  async run(sql: string, ...values: Value[]): Promise<number> {
    return (await this.ask(sql, values)).count;
  }

  /**
   * Rows of one column of octets, which are large: by a way that has them as they are. Nothing else is asked meanwhile.
   * @param sql a question without values
   */
  async octets(sql: string): Promise<readonly Uint8Array<ArrayBuffer>[]> {
    const reader = new CopyReader();
    const { connection } = insideOf(this.#client);
    const take = ({ chunk }: { readonly chunk: Buffer }): void => reader.take(chunk);
    connection.on('copyData', take);
    try {
      await this.ask(`COPY (${sql}) TO STDOUT (FORMAT binary)`);
      return reader.rows;
    } finally {
      connection.off('copyData', take);
    }
  }

  /** @throws PostgresError also where the transaction was undone before */
  async commit(): Promise<void> {
    const { command } = await this.ask('COMMIT');
    if (command === 'COMMIT') return;
    throw this.undone('a statement before had failed');
  }

  /** What was begun has to be begun anew. */
  undone(message: string): PostgresError {
    return new PostgresError(reasonOf({ code: '40000', message, isConnecting: false }), this.#where);
  }

  #again(error: PostgresError, how = {}): PostgresError {
    return new PostgresError(error.reason, this.#where, how);
  }

  #isSilent(): void {
    this.#lose({ code: 'SILENT', message: `no answer for ${this.#queryTimeout / 1000} s`, isConnecting: false });
  }

  #lose(why: Failure | PostgresError): void {
    if (this.#failure !== undefined) return;
    this.#failure = why instanceof PostgresError ? why : new PostgresError(reasonOf(why), this.#where);
    clearTimeout(this.#silence);
    this.#silence = undefined;
    destroy(this.#client);
    if (!this.#isEnding) this.onLost?.(this.#failure);
  }

  /** After what was asked is answered. Never rejects. */
  async close(): Promise<void> {
    this.#isEnding = true;
    if (this.#failure !== undefined) return;
    const timer = setTimeout(() => destroy(this.#client), 1_000);
    await this.#client.end().catch(() => undefined);
    clearTimeout(timer);
  }

  /** At once, whatever is under way. */
  destroy(): void {
    this.#isEnding = true;
    this.#lose({ code: 'CUT', message: 'it was closed', isConnecting: false });
  }
}

export function nameOf({ host, port }: PostgresHost): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Rows for json_to_recordset(). @throws TypeError for what is no JSON */
export function jsonOf(rows: readonly object[]): string {
  return JSON.stringify(rows, (_, value: unknown) => storable(value));
}

/** A database holds text of whole characters other than NUL. */
function storable(value: unknown): unknown {
  if (typeof value !== 'string' || (!value.includes('\0') && value.isWellFormed())) return value;
  return value.toWellFormed().replaceAll('\0', '\ufffd');
}

const names = new Map<string, string>();

/** Of a statement that is prepared once a connection. */
function nameFor(sql: string): string {
  let name = names.get(sql);
  if (name === undefined) {
    name = createHash('sha256').update(sql).digest('base64url').slice(0, 22);
    names.set(sql, name);
  }
  return name;
}

/** Not in its types. */
interface Inside {
  readonly connection: EventEmitter & { readonly stream: Socket };
}

function insideOf(client: Client): Inside {
  return client as unknown as Inside;
}

/** end() would wait for a server that does not answer. */
function destroy(client: Client): void {
  insideOf(client).connection.stream.destroy();
}

/** What is prepared here is of no use any more: the tables are others, or a pooler has put another connection behind it. */
function isStale({ code }: Reason): boolean {
  return code === '0A000' || code === '26000';
}

/** An id or a name as it stands in a statement that takes no values. @throws RangeError for what has to be a value */
export function literal(text: string): string {
  if (!/^[\w.-]*$/.test(text)) throw new RangeError('no text for a statement');
  return `'${text}'`;
}
