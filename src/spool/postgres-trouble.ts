/**
 * What PostgreSQL, the network and TLS say of a database in trouble, as a word for the program and a sentence for the
 * operator. Pure. No sentence holds a password or a row.
 */
import type { SpoolTrouble } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';

/**
 * lost: the connection is of no use any more, and what was asked may have been done. again: it was undone for the sake of
 * another, and may be asked at once. store: nothing of the kind can be done at present. order: this one alone cannot.
 */
export type Meaning = 'lost' | 'again' | 'store' | 'order';

export interface Reason {
  /** As it was met (Failure). */
  readonly code: string;
  readonly meaning: Meaning;
  readonly trouble: SpoolTrouble;
  /** What it does, as the rest of a sentence that begins with what does it. */
  readonly what: string;
  /** What to do. */
  readonly advice?: string;
}

export class PostgresError extends SpoolError {
  readonly meaning: Meaning;
  readonly reason: Reason;
  /** The database may have taken what was asked, although it did not answer. */
  readonly isSent: boolean;
  /** No connection could be made. */
  readonly isUnreachable: boolean;

  constructor(reason: Reason, where: string, { isSent = false, isUnreachable = false } = {}) {
    super(reason.trouble, sentence(`The database ${where} ${reason.what}`, reason.advice));
    this.meaning = reason.meaning;
    this.reason = reason;
    this.isSent = isSent;
    this.isUnreachable = isUnreachable;
  }
}

function sentence(what: string, advice: string | undefined): string {
  return advice === undefined ? what : `${what}: ${advice}`;
}

/** None of several servers can be used. */
export function noneOf(tried: readonly { readonly host: string; readonly reason: Reason }[]): Reason {
  const [first] = tried;
  if (first === undefined) throw new Error('no server was tried');
  if (tried.length === 1) return first.reason;
  const all = tried.map(({ host, reason }) => `${host} ${reason.what}`).join('; ');
  // What only a person can mend says more than that one of them is down.
  const telling = tried.find(({ reason }) => reason.trouble !== 'io') ?? first;
  return { ...telling.reason, what: `has no server that can be used: ${all}` };
}

/** What failed, as it was met. */
export interface Failure {
  /** SQLSTATE, a code of Node.js or OpenSSL, or one of ours (OwnCode). */
  readonly code: string;
  readonly message: string;
  readonly isConnecting: boolean;
}

export type OwnCode = (typeof OWN)[number];
const OWN = [
  'NO_TLS',
  'NO_PASSWORD',
  'SLOW_CONNECT',
  'SILENT',
  'CUT',
  'STANDBY',
  'READ_ONLY',
  'FILE',
  'OLD',
  'ENCODING',
] as const;

const COUNT = 'raise max_connections of the server, or lower spool.connections of its gateways';
const WAIT = 'the gateway goes on by itself when it is back';
const RIGHTS =
  'the role of spool.postgres needs the right to create a schema in the database, or to own the schema smtp2exchange';
const RESTORE =
  'stop the gateways, do not delete anything, and have the database looked into (its log, pg_amcheck) or restored from a backup';

type Row = readonly [meaning: Meaning, trouble: SpoolTrouble, what: string, advice?: string];

/** By SQLSTATE, whole or its class. What the server says follows where it tells more. */
const STATES: Readonly<Record<string, Row>> = {
  '08': ['lost', 'io', 'has broken off the connection', WAIT],
  '0A': ['again', 'io', 'cannot do what was asked'],
  '21': ['order', 'io', 'does not take what was asked'],
  '22': ['order', 'io', 'does not take a value'],
  '23': ['order', 'io', 'does not take what contradicts what it has'],
  '25006': [
    'lost',
    'readOnly',
    'takes no writes',
    'it is a standby now, or made read-only; name all servers in spool.postgres, so that the gateway finds the one that does',
  ],
  '25P03': ['lost', 'io', 'has ended a transaction that took too long', WAIT],
  '26': [
    'again',
    'io',
    'does not know a statement that was prepared',
    'a pooler between has to keep a connection for a session (pool_mode = session)',
  ],
  '28': [
    'lost',
    'io',
    'refuses the login',
    'see user, password and certificate of spool.postgres, and pg_hba.conf of the server',
  ],
  '28P01': ['lost', 'io', 'refuses the login', 'the password in spool.postgres is not that of the role'],
  '3D000': ['lost', 'io', 'does not exist', 'create it (createdb), or name another one in spool.postgres'],
  '3F000': ['store', 'damaged', 'has lost the schema smtp2exchange', RESTORE],
  '40': ['again', 'io', 'has undone what was asked for the sake of another'],
  '42': ['order', 'io', 'does not understand what was asked'],
  '42501': ['store', 'readOnly', 'does not give the right to do that', RIGHTS],
  '42P01': ['store', 'damaged', 'has lost a table', RESTORE],
  '42703': ['store', 'damaged', 'has lost a column', RESTORE],
  '53100': ['store', 'full', 'has no disk space left', 'make room on the disk of the server'],
  '53200': ['store', 'io', 'has no memory left', 'see what else runs on the server'],
  '53300': ['lost', 'io', 'has no connection left', COUNT],
  '53': ['store', 'io', 'has run out of something', 'see the log of the server'],
  '54': ['order', 'io', 'finds something too large'],
  '55P03': ['again', 'io', 'waits too long for a lock'],
  '55000': ['lost', 'io', 'is not in the state for it', WAIT],
  '57014': ['store', 'io', 'is too slow', 'see the load and the disk of the server; the gateway goes on by itself'],
  '57P01': ['lost', 'io', 'was shut down', WAIT],
  '57P02': ['lost', 'io', 'has crashed', WAIT],
  '57P03': ['lost', 'io', 'is starting or shutting down', WAIT],
  '57': ['lost', 'io', 'has ended the connection', WAIT],
  '58P01': ['store', 'damaged', 'misses a file', RESTORE],
  '58': ['store', 'io', 'has trouble with its disk', 'see the log of the server and dmesg'],
  XX001: ['store', 'damaged', 'is damaged', RESTORE],
  XX002: ['store', 'damaged', 'has a damaged index', 'have the server build it anew (REINDEX)'],
  XX: ['store', 'io', 'has failed within', 'see the log of the server'],
};

const CODES: Readonly<Record<OwnCode, Row>> & Readonly<Record<string, Row>> = {
  NO_TLS: [
    'lost',
    'io',
    'offers no TLS',
    'switch it on at the server (ssl = on), or say sslmode=disable in spool.postgres where the network is trusted',
  ],
  NO_PASSWORD: [
    'lost',
    'io',
    'wants a password',
    'write it into spool.postgres, or into a file named by spool.postgresFile',
  ],
  SLOW_CONNECT: ['lost', 'io', 'does not answer', 'see whether the server runs, and the firewalls between'],
  SILENT: ['lost', 'io', 'has stopped to answer', WAIT],
  CUT: ['lost', 'io', 'has broken off the connection', WAIT],
  STANDBY: [
    'lost',
    'readOnly',
    'is a standby, which takes no writes',
    'promote it, or name the primary in spool.postgres too',
  ],
  READ_ONLY: ['lost', 'readOnly', 'takes no writes (default_transaction_read_only)', 'see why it was made read-only'],
  FILE: ['lost', 'io', 'cannot be reached', 'see the files that spool.postgres names'],
  OLD: ['lost', 'io', 'runs a PostgreSQL before 13', 'it needs a newer one'],
  ENCODING: [
    'lost',
    'io',
    'has not the encoding UTF8',
    'make one that has (createdb --encoding=UTF8 --template=template0), and name it in spool.postgres',
  ],
  ECONNREFUSED: ['lost', 'io', 'refuses connections', 'see whether the server runs, and its listen_addresses and port'],
  ENOTFOUND: ['lost', 'io', 'is not known by its name', 'see the name in spool.postgres, and the DNS'],
  EAI_AGAIN: ['lost', 'io', 'cannot be looked up', 'see the DNS'],
  ENOENT: ['lost', 'io', 'has no socket there', 'see whether the server runs, and its unix_socket_directories'],
  EACCES: ['lost', 'io', 'may not be connected to', "see the rights of the socket's folder, and the firewall"],
  EHOSTUNREACH: ['lost', 'io', 'cannot be reached', 'see the network between'],
  ENETUNREACH: ['lost', 'io', 'cannot be reached', 'see the network between'],
  ETIMEDOUT: ['lost', 'io', 'does not answer', 'see whether the server runs, and the firewalls between'],
  CERT_HAS_EXPIRED: ['lost', 'io', 'shows a certificate that has expired', 'renew the certificate of the server'],
  ERR_TLS_CERT_ALTNAME_INVALID: [
    'lost',
    'io',
    'shows a certificate with another name',
    'name the server in spool.postgres as its certificate does, or say sslmode=verify-ca',
  ],
};

const NOT_TRUSTED: Row = [
  'lost',
  'io',
  'shows a certificate that is not trusted',
  'name the authority that signed it by sslrootcert in spool.postgres',
];
const NO_WORKING_TLS: Row = [
  'lost',
  'io',
  'has no TLS that works',
  'see its certificate, and sslcert and sslkey in spool.postgres',
];
const NO_CONNECTION: Row = [
  'lost',
  'io',
  'cannot be connected to',
  'see the network between, and the log of the server',
];
const BROKEN_OFF: Row = ['lost', 'io', 'has broken off the connection', WAIT];

const UNTRUSTED =
  /^(?:DEPTH_ZERO_)?SELF_SIGNED_CERT|^UNABLE_TO_|^CERT_(?:UNTRUSTED|SIGNATURE_FAILURE|NOT_YET_VALID|REVOKED)$|^INVALID_(?:CA|PURPOSE)$/;

export function reasonOf({ code, message, isConnecting }: Failure): Reason {
  const [meaning, trouble, what, advice] = rowFor(code, isConnecting);
  const said = message.replace(/\s+/g, ' ').trim().slice(0, 300);
  return {
    code,
    // An answer to a login leaves nothing to be used, whatever it is.
    meaning: isConnecting ? 'lost' : meaning,
    trouble,
    what: `${what} (${said})`,
    ...(advice === undefined ? {} : { advice }),
  };
}

function rowFor(code: string, isConnecting: boolean): Row {
  const row = STATES[code] ?? CODES[code] ?? (/^[0-9A-Z]{5}$/.test(code) ? STATES[code.slice(0, 2)] : undefined);
  if (row !== undefined) return row;
  if (UNTRUSTED.test(code)) return NOT_TRUSTED;
  if (isOfTls(code)) return NO_WORKING_TLS;
  return isConnecting ? NO_CONNECTION : BROKEN_OFF;
}

export function isOfTls(code: string): boolean {
  return /^ERR_(?:SSL|TLS|OSSL)/.test(code) || code === 'EPROTO';
}

/** SQLSTATE for octets that the server cannot read any more. */
export function isDamage(error: unknown): boolean {
  return error instanceof PostgresError && error.trouble === 'damaged';
}

/** What `pg` says in words only. */
const WORDS: readonly (readonly [RegExp, OwnCode])[] = [
  [/does not support SSL|establishing an SSL connection/, 'NO_TLS'],
  [/password must be/, 'NO_PASSWORD'],
  [/^timeout expired$/, 'SLOW_CONNECT'],
  [/^Connection terminated|not queryable/, 'CUT'],
];

/** What was thrown, as the table has it. */
export function failureOf(error: unknown, isConnecting: boolean): Failure {
  if (!(error instanceof Error)) return { code: '', message: 'no reason given', isConnecting };
  // Of several addresses of a name, the first one's.
  const [first] = error instanceof AggregateError ? (error.errors as unknown[]) : [];
  if (first !== undefined) return failureOf(first, isConnecting);
  const { message } = error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return { code: code ?? WORDS.find(([words]) => words.test(message))?.[1] ?? '', message, isConnecting };
}
