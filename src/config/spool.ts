/**
 * The settings of the spool, and where it is by them: a file of SQLite, or a database of PostgreSQL that several gateways
 * may share. What they demand of each other: spool-check.ts.
 */
import { dirname, resolve } from 'node:path';
import { postgresUrlText, readPostgresUrl } from '../mail/postgres-url.ts';
import type { PostgresUrl } from '../mail/postgres-url.ts';
import type { Config, StoreConfig } from './config.ts';
import { file, octets, time } from './kinds.ts';
import type { Parsed } from './schema.ts';
import { integer, optional, orElse, section, text } from './schema.ts';
import { Secret } from './secret.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

/** A value that may hold a password, as it stands in the file. */
export function databaseUrl(value: string): Value<Secret> {
  const read = readPostgresUrl(value);
  return read.ok ? good(new Secret(value)) : bad(read.problem, read.hint);
}

export const spool = section('Where mail is kept until it is delivered.', {
  sqlite: orElse(file('The database file. Its folder is made if it does not exist.'), 'data/spool.db'),
  postgres: optional(
    text(
      {
        description:
          'Instead of sqlite: a database of PostgreSQL, which several gateways may share: postgresql://user:password@server/database, several servers separated by commas. See docs/scaling.md.',
        kind: 'URL, a secret',
      },
      databaseUrl,
    ),
  ),
  postgresFile: optional(file('File with the URL, instead of postgres.')),
  connections: orElse(integer('With postgres: connections that this gateway has to it at most.', 3, 1_000), 10),
  lease: orElse(
    time(
      'With postgres: how long a gateway that is not heard of keeps what it is sending, and its duties; then another one takes over.',
      '2s',
      '10m',
    ),
    '30s',
  ),
  folder: orElse(
    file(
      "With postgres: folder of what stays on this machine: the socket of the command queue, certificates made, what is remembered of transports. With sqlite that is the file's own.",
    ),
    'data',
  ),
  maxItems: orElse(
    integer('Messages waiting, from which on new ones are refused for a while (452).', 1, 100_000_000),
    100_000,
  ),
  minFree: orElse(
    octets(
      'With sqlite: free space on the disk, below which new messages are refused for a while (452).',
      '1MB',
      '1000GB',
    ),
    '500MB',
  ),
  retention: orElse(
    time('How long the history of delivered messages is kept. Their content goes at once.', '1m', '3650d'),
    '7d',
  ),
  parkedRetention: orElse(
    time('How long messages that were set aside for the operator are kept. Then they are gone.', '1m', '3650d'),
    '30d',
  ),
  parkedSize: orElse(octets('All that is set aside. Over it, the oldest is gone first.', '1MB', '100000GB'), '5GB'),
});

export type SpoolSettings = Parsed<typeof spool>;

/** The folder of what is this machine's own, as the settings name it; undefined: it cannot be told from them. */
export function ownFolder({
  sqlite,
  postgres,
  postgresFile,
  folder,
}: Partial<SpoolSettings>): { readonly setting: 'sqlite' | 'folder'; readonly path: string } | undefined {
  if (postgres !== undefined || postgresFile !== undefined)
    return folder === undefined ? undefined : { setting: 'folder', path: folder };
  return sqlite === undefined ? undefined : { setting: 'sqlite', path: dirname(sqlite) };
}

/**
 * @param url of `postgresFile`
 * @param base where relative paths start
 */
export function spoolOf(settings: SpoolSettings, url: Secret | undefined, base: string): Config['spool'] {
  const {
    sqlite: _sqlite,
    postgres: _postgres,
    postgresFile: _file,
    connections: _,
    lease: _lease,
    ...rest
  } = settings;
  return {
    ...rest,
    folder: resolve(base, ownFolder(settings)?.path ?? '.'),
    store: storeOf(settings, url, base),
  };
}

function storeOf(settings: SpoolSettings, read: Secret | undefined, base: string): StoreConfig {
  const { sqlite, postgres, postgresFile, connections, lease } = settings;
  const url = postgres ?? read;
  if (url === undefined) return { kind: 'sqlite', path: resolve(base, sqlite) };
  const isRead = postgres === undefined && postgresFile !== undefined;
  return {
    kind: 'postgres',
    url: inFull(url, base),
    connections,
    lease,
    ...(isRead ? { fromFile: resolve(base, postgresFile) } : {}),
  };
}

/** The files that a URL names, by the parameters that name them; a path is taken from the configuration's own folder. */
export function filesOf({ sslRootCert, sslCert, sslKey }: PostgresUrl): Partial<PostgresUrl> {
  return {
    ...(sslRootCert === undefined || sslRootCert === 'system' ? {} : { sslRootCert }),
    ...(sslCert === undefined ? {} : { sslCert }),
    ...(sslKey === undefined ? {} : { sslKey }),
  };
}

function inFull(url: Secret, base: string): Secret {
  const read = readPostgresUrl(url.reveal());
  if (!read.ok) throw new Error('a URL of a database that cannot be read passed its checks');
  const files = Object.entries(filesOf(read.value)).map(([key, path]) => [key, resolve(base, String(path))] as const);
  return new Secret(postgresUrlText({ ...read.value, ...(Object.fromEntries(files) as Partial<PostgresUrl>) }));
}
