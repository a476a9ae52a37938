/** What is to be known of a PostgreSQL server before mail is kept there. Changes nothing. Rejects with PostgresError. */
import type { PostgresHost, PostgresUrl } from '../mail/postgres-url.ts';
import { Connection } from './postgres-connection.ts';
import { VERSION } from './postgres-schema.ts';

export interface ServerSurvey {
  /** As server_version_num has it: 150018 is 15.18. */
  readonly version: number;
  readonly isEncrypted: boolean;
  /** A standby, or one that is set to take no writes. */
  readonly takesWrites: boolean;
  /** Milliseconds that the server's clock is ahead of this machine's, and by how many that may be wrong. */
  readonly ahead: number;
  readonly precision: number;
  /** What would lose mail, as the server, the database or the role has it set. */
  readonly settings: {
    readonly fsync: string;
    readonly fullPageWrites: string;
    readonly synchronousCommit: string;
    readonly standbyNames: string;
  };
  readonly connections: {
    /** That may be open at the same time, for logins like this one. */
    readonly most: number;
    /** Of them, those that nobody has; this one is counted as free. */
    readonly free: number;
  };
  readonly tables:
    | { readonly kind: 'absent'; readonly mayBeMade: boolean }
    /** Without the rights to work with them. */
    | { readonly kind: 'closed'; readonly owner: string }
    /** oldest: of the programs' formats that can work with them. mayBeChanged: brought up to another format. */
    | { readonly kind: 'there'; readonly format: number; readonly oldest: number; readonly mayBeChanged: boolean };
}

/** This program's format of the tables. */
export const KNOWN_FORMAT = VERSION;

type Row = Readonly<Record<string, unknown>>;
type Ask = (text: string) => Promise<readonly Row[]>;

/** Milliseconds. */
const PATIENCE = 15_000;

/** Those of others show no more than whose they are, and where. */
const CLIENTS = `pg_stat_activity WHERE datid IS NOT NULL AND usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'`;

const FACTS = `SELECT
  current_setting('server_version_num')::int AS version,
  coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS ssl,
  pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool AS reads_only,
  current_setting('fsync') AS fsync,
  current_setting('full_page_writes') AS full_page_writes,
  (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit') AS synchronous_commit,
  current_setting('synchronous_standby_names') AS standby_names,
  current_setting('max_connections')::int - CASE WHEN rolsuper THEN 0
    ELSE current_setting('superuser_reserved_connections')::int
      + coalesce(current_setting('reserved_connections', true), '0')::int END AS of_server,
  datconnlimit AS of_database,
  rolconnlimit AS of_role,
  (SELECT count(*)::int FROM ${CLIENTS}) AS used,
  (SELECT count(*)::int FROM ${CLIENTS} AND datname = current_database()) AS used_of_database,
  (SELECT count(*)::int FROM ${CLIENTS} AND usename = session_user) AS used_of_role,
  has_database_privilege(current_database(), 'CREATE') AS may_create,
  (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'smtp2exchange') AS owner,
  (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'smtp2exchange') AS owns,
  (SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'smtp2exchange' AND c.relname = 'format') AS may_read
FROM pg_database, pg_roles WHERE datname = current_database() AND rolname = session_user`;

/** @param now epoch milliseconds by this machine's clock */
export async function surveyServer(
  url: PostgresUrl,
  host: PostgresHost,
  now: () => number = Date.now,
): Promise<ServerSurvey> {
  const any = { ...url, targetSessionAttrs: 'any' } as const;
  const connection = await Connection.open({ url: any, host, queryTimeout: PATIENCE });
  try {
    return await surveyOf(async (text) => (await connection.ask(text)).rows, now);
  } finally {
    await connection.close();
  }
}

async function surveyOf(ask: Ask, now: () => number): Promise<ServerSurvey> {
  const [facts = {}] = await ask(FACTS);
  const text = (name: string): string => String(facts[name] ?? '');
  const number = (name: string): number => Number(facts[name]);
  const free = (
    [
      ['of_server', 'used'],
      ['of_database', 'used_of_database'],
      ['of_role', 'used_of_role'],
    ] as const
  )
    .filter(([limit]) => number(limit) >= 0)
    .map(([limit, used]) => [number(limit), number(limit) - number(used) + 1] as const);
  return {
    version: number('version'),
    isEncrypted: facts['ssl'] === true,
    takesWrites: facts['reads_only'] !== true,
    ...(await clockOf(ask, now)),
    settings: {
      fsync: text('fsync'),
      fullPageWrites: text('full_page_writes'),
      synchronousCommit: text('synchronous_commit'),
      standbyNames: text('standby_names'),
    },
    connections: {
      most: Math.min(...free.map(([most]) => most)),
      free: Math.min(...free.map(([, left]) => left)),
    },
    tables: await tablesOf(ask, facts),
  };
}

const LOOKS = 3;

/** By the quickest of a few answers: the server's time was asked for somewhere within it. */
async function clockOf(ask: Ask, now: () => number): Promise<Pick<ServerSurvey, 'ahead' | 'precision'>> {
  let best = { ahead: 0, precision: Infinity };
  for (let look = 0; look < LOOKS; look++) {
    const asked = now();
    const [row] = await ask('SELECT extract(epoch FROM clock_timestamp()) * 1000 AS at');
    const precision = (now() - asked) / 2;
    if (precision < best.precision) best = { ahead: Number(row?.['at']) - asked - precision, precision };
  }
  return best;
}

async function tablesOf(ask: Ask, facts: Row): Promise<ServerSurvey['tables']> {
  const { owner, owns, may_create: mayBeMade, may_read: mayRead } = facts;
  if (typeof owner !== 'string') return { kind: 'absent', mayBeMade: mayBeMade === true };
  // A schema without tables was made for this by somebody, or was left by a start that did not get far.
  if (mayRead === null && owns === true) return { kind: 'absent', mayBeMade: true };
  if (mayRead !== true) return { kind: 'closed', owner };
  const [row] = await ask('SELECT version, oldest FROM smtp2exchange.format');
  if (row === undefined) return { kind: 'absent', mayBeMade: owns === true };
  return {
    kind: 'there',
    format: Number(row['version']),
    oldest: Number(row['oldest']),
    mayBeChanged: owns === true,
  };
}
