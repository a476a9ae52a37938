/**
 * The schema as a gateway finds it: made where there is none, brought up where it is older, refused where it is newer than
 * this program can work with. One gateway at a time does any of it. What only adds something is done while others are at
 * work; what they could not go on with is done when none of them is left.
 */
import { SpoolError } from '../mail/spool.ts';
import type { Connection } from './postgres-connection.ts';
import { inTransaction } from './postgres-database.ts';
import { MIGRATIONS, OLDEST, SCHEMA, VERSION } from './postgres-schema.ts';
import type { Migration } from './postgres-schema.ts';

export interface Format {
  readonly version: number;
  /** The oldest format whose programs can work with what this one makes. */
  readonly oldest: number;
  readonly schema: string;
  readonly migrations: Readonly<Record<number, Migration>>;
}

export const FORMAT: Format = { version: VERSION, oldest: OLDEST, schema: SCHEMA, migrations: MIGRATIONS };

/** Of the lock that is held while any of it is done: the letters of `smtp2ex`. */
const LOCK = 0x73_6d_74_70_32_65;

export interface Joining {
  readonly id: string;
  readonly host: string;
  readonly version: string;
  readonly lease: number;
  readonly now: number;
}

/**
 * Brings the schema up and writes the gateway down as one that works with it, both or neither.
 * @throws SpoolError `newer`, or whose message names the gateways that stand in the way
 */
export async function openSchema(link: Connection, where: string, format: Format, joining: Joining): Promise<void> {
  // A migration takes as long as it takes.
  await link.ask(`SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)`);
  await inTransaction(link, async () => {
    await link.ask(`SELECT pg_advisory_xact_lock(${LOCK})`);
    const [row] = await link.rows(`SELECT to_regclass('smtp2exchange.format') IS NOT NULL AS there`);
    if (row?.['there'] === true) await bringUp(link, where, format, joining.now);
    else await make(link, format);
    await join(link, format, joining);
  });
}

async function make(link: Connection, { version, oldest, schema }: Format): Promise<void> {
  await link.ask('CREATE SCHEMA IF NOT EXISTS smtp2exchange');
  await link.ask(schema);
  await link.run('INSERT INTO format (version, oldest) VALUES ($1, $2)', version, oldest);
}

async function bringUp(link: Connection, where: string, format: Format, now: number): Promise<void> {
  const found = await formatIn(link);
  checkFormat(found, where, format);
  for (let from = found.version; from < format.version; from++) {
    const migration = format.migrations[from];
    if (migration === undefined) throw new Error(`there is no migration from format ${from}`);
    // What only adds something is nobody's business.
    if (migration.oldest > found.oldest) await shutOut(link, where, from + 1, migration.oldest, now);
    await link.ask(migration.sql);
    await link.run('UPDATE format SET version = $1, oldest = greatest(oldest, $2)', from + 1, migration.oldest);
  }
}

/**
 * The tables as they are, for one who is no gateway.
 * @throws SpoolError where there are none, or where this program does not know them
 */
export async function formatToVisit(link: Connection, where: string, format: Format): Promise<Found> {
  const [row] = await link.rows(`SELECT to_regclass('smtp2exchange.format') IS NOT NULL AS there`);
  if (row?.['there'] !== true)
    throw new SpoolError(
      'io',
      `The database ${where} has no spool in it: no gateway has worked with it yet, or spool.postgres names another one`,
    );
  const found = await formatIn(link);
  checkFormat(found, where, format);
  if (found.version < format.version)
    throw new SpoolError(
      'locked',
      `The database ${where} is of format ${found.version}, and this version knows ${format.version}: start a gateway of this version, which brings it up, or take the version of the gateways that work on it`,
    );
  return found;
}

interface Found {
  readonly version: number;
  readonly oldest: number;
  /** Of the whole, and of no other one. */
  readonly name: string;
}

export async function formatIn(link: Connection): Promise<Found> {
  const [row = {}] = await link.rows('SELECT version, oldest, name FROM format');
  return { version: Number(row['version'] ?? 0), oldest: Number(row['oldest'] ?? 0), name: String(row['name']) };
}

/** @throws SpoolError `newer` */
export function checkFormat({ version, oldest }: Found, where: string, format: Format): void {
  if (format.version >= oldest) return;
  throw new SpoolError(
    'newer',
    `The database ${where} was brought up by a newer version of this program (its format is ${version}, for programs that know ${oldest} or later; this one knows ${format.version}): install that version here too, or name another database`,
  );
}

/** @throws SpoolError while a gateway is at work that could not go on afterwards */
async function shutOut(link: Connection, where: string, to: number, oldest: number, now: number): Promise<void> {
  const rows = await link.rows(
    'SELECT host, version FROM member WHERE format < $1 AND seen + lease > $2 ORDER BY host',
    oldest,
    now,
  );
  if (rows.length > 0) {
    const hosts = rows.map(({ host, version }) => `${String(host)} (version ${String(version)})`).join(', ');
    throw new SpoolError(
      'locked',
      `The database ${where} cannot be brought to format ${to} while gateways of an older version work on it: ${hosts}. Stop them, start this one, then start them with this version`,
    );
  }
  // One that was stopped in its tracks has to come by the door again.
  await link.ask(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user
       AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()`,
  );
}

/** Also of one that was taken for dead meanwhile. */
export async function join(link: Connection, { version: format }: Format, joining: Joining): Promise<void> {
  const { id, host, version, lease, now } = joining;
  await link.run(
    `INSERT INTO member (id, host, version, format, started, seen, lease) VALUES ($1, $2, $3, $4, $5, $5, $6)
     ON CONFLICT (id) DO UPDATE SET seen = $5`,
    id,
    host,
    version,
    format,
    now,
    lease,
  );
}
