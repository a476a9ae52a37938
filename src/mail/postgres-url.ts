/**
 * A connection URI of PostgreSQL, as libpq has it (its documentation, "Connection URIs"), with several servers:
 *
 *   postgresql://user:password@db1:5432,db2/mail?sslmode=verify-full&sslrootcert=ca.pem
 *
 * Pure. What cannot be taken is a value with a sentence that names the part or the parameter, and never holds a value of
 * it: a piece of a password may stand where something else belongs. A parameter that is not known is refused, not passed
 * over: it may be one that security rests on.
 */
import { isIP } from 'node:net';
import { suggest } from './suggest.ts';

export interface PostgresUrl {
  /** At least one; tried in this order. */
  readonly hosts: readonly PostgresHost[];
  readonly user: string;
  /** A function, so that nothing that prints the rest prints it. Absent: none is needed, or a certificate logs in. */
  readonly password?: () => string;
  readonly database: string;
  readonly sslMode: SslMode;
  /** PEM file of authorities, or `system`: the public ones. Absent: the public ones too. Only where sslMode verifies. */
  readonly sslRootCert?: string;
  /** PEM files, both or none: a certificate that the gateway shows. */
  readonly sslCert?: string;
  readonly sslKey?: string;
  /** Milliseconds, for each server. */
  readonly connectTimeout: number;
  readonly applicationName: string;
  /** read-write: a server that takes no writes (a standby) is passed over. */
  readonly targetSessionAttrs: 'any' | 'read-write';
}

export interface PostgresHost {
  /** A name, an IP address without brackets, or the absolute path of the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
}

/**
 * disable: no TLS. prefer: TLS if the server has it, verified by nobody. require: TLS, verified by nobody. verify-ca: by
 * an authority that is trusted. verify-full: and for the name of the server.
 */
export type SslMode = (typeof SSL_MODES)[number];
const SSL_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;

export type PostgresUrlRead =
  | { readonly ok: true; readonly value: PostgresUrl }
  | {
      readonly ok: false;
      /** As the rest of a sentence that begins with the setting's name. */
      readonly problem: string;
      readonly hint?: string;
    };

type Refused = Extract<PostgresUrlRead, { readonly ok: false }>;

const PORT = 5432;
const CONNECT_TIMEOUT = 5_000;
const FORM = 'write postgresql://user:password@server/database';
const SESSIONS = ['any', 'read-write'] as const;

export function isSocket({ host }: PostgresHost): boolean {
  return host.startsWith('/');
}

export function readPostgresUrl(text: string): PostgresUrlRead {
  try {
    return { ok: true, value: urlIn(text) };
  } catch (error) {
    if (error instanceof Refusal) return error.read;
    throw error;
  }
}

/** For logs and messages: without the password, and without parameters. */
export function shownPostgresUrl({ hosts, user, database }: PostgresUrl): string {
  const servers = hosts.map(({ host, port }) => `${hostText(host)}:${port}`).join(',');
  return `postgresql://${encodeURIComponent(user)}@${servers}/${encodeURIComponent(database)}`;
}

/** All of it, with the password: read again it is the same. */
export function postgresUrlText(url: PostgresUrl): string {
  const { password, sslMode, sslRootCert, sslCert, sslKey, connectTimeout, applicationName } = url;
  const parameters = {
    sslmode: sslMode,
    sslrootcert: sslRootCert,
    sslcert: sslCert,
    sslkey: sslKey,
    connect_timeout: String(connectTimeout / 1000),
    application_name: applicationName,
    target_session_attrs: url.targetSessionAttrs,
  };
  const query = Object.entries(parameters).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`],
  );
  const login = password === undefined ? '' : `:${encodeURIComponent(password())}`;
  return `${shownPostgresUrl(url).replace('@', `${login.replaceAll('$', '$$$$')}@`)}?${query.join('&')}`;
}

function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : encodeURIComponent(host);
}

/** Leaves the reading at the first fault. */
class Refusal extends Error {
  readonly read: Refused;
  constructor(problem: string, hint?: string) {
    super(problem);
    this.read = { ok: false, problem, ...(hint === undefined ? {} : { hint }) };
  }
}

function urlIn(text: string): PostgresUrl {
  const [, rest] = /^postgres(?:ql)?:\/\/(.*)$/s.exec(text) ?? [];
  if (rest === undefined) throw new Refusal('must be a URL that begins with postgresql://', FORM);
  if (/[\s\p{Cc}]/u.test(text)) throw new Refusal('must not hold white space', 'write a space as %20');
  const [, authority = '', path = '', query = ''] = /^([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(rest) ?? [];
  // What follows a / ? or @ of a password would be taken for something else, and shown.
  if (rest.split('@').length > 2 || (rest.includes('@') && !authority.includes('@')))
    throw new Refusal(
      'has an @ in more than one place, or a / or ? before it',
      'in a name, a password or a parameter, write @ as %40, / as %2F and ? as %3F',
    );
  const [servers = '', login] = authority.split('@').toReversed();
  const given = parametersIn(query);
  const { user, password } = loginIn(login, given.get('user'));
  const hosts = hostsIn(servers, given.get('host'), given.get('port'));
  return {
    hosts,
    user,
    ...(password === undefined ? {} : { password: () => password }),
    database: databaseIn(path, given.get('dbname')) ?? user,
    ...tlsIn(given, hosts),
    connectTimeout: secondsIn(given.get('connect_timeout')),
    applicationName: given.get('application_name') ?? 'smtp2exchange',
    targetSessionAttrs: wordIn('target_session_attrs', given.get('target_session_attrs'), SESSIONS) ?? 'read-write',
  };
}

const PARAMETERS = [
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'connect_timeout',
  'application_name',
  'target_session_attrs',
  'host',
  'port',
  'user',
  'dbname',
];

/** Each once, and with a value. */
function parametersIn(query: string): ReadonlyMap<string, string> {
  const given = new Map<string, string>();
  for (const part of query === '' ? [] : query.split('&')) {
    const [name = '', value] = part.split('=', 2);
    if (name === 'password') throw new Refusal('has a parameter password', `${FORM}, before the @`);
    if (!/^\w{1,40}$/.test(name)) throw new Refusal('has something behind its ? that is no name=value');
    if (!PARAMETERS.includes(name)) {
      const near = suggest(name, PARAMETERS);
      const hint = near === undefined ? `there is ${PARAMETERS.join(', ')}` : `did you mean ${near}?`;
      throw new Refusal(`has the parameter ${name}, which is not known here`, hint);
    }
    if (value === undefined || value === '' || part.split('=').length > 2)
      throw new Refusal(`has the parameter ${name} without a value that can be read`, 'write name=value, and = as %3D');
    if (given.has(name)) throw new Refusal(`has the parameter ${name} twice`);
    given.set(name, decoded(value));
  }
  return given;
}

function decoded(text: string): string {
  try {
    const plain = decodeURIComponent(text);
    if (!plain.includes('\0')) return plain;
  } catch {
    // The sentence below says it.
  }
  throw new Refusal('has a % that begins no %XX of UTF-8', 'write % itself as %25');
}

function loginIn(
  login: string | undefined,
  named: string | undefined,
): { readonly user: string; readonly password?: string } {
  const [, name = '', password] = /^([^:]*)(?::(.*))?$/s.exec(login ?? '') ?? [];
  if (name !== '' && named !== undefined) throw new Refusal('has the user twice, before the @ and as a parameter');
  const user = name === '' ? named : decoded(name);
  if (user === undefined) throw new Refusal('names no user', FORM);
  return password === undefined || password === '' ? { user } : { user, password: decoded(password) };
}

function hostsIn(servers: string, named: string | undefined, ports: string | undefined): readonly PostgresHost[] {
  if (servers !== '' && (named !== undefined || ports !== undefined))
    throw new Refusal('has the server twice, before the database and as a parameter host or port');
  if (servers === '' && named === undefined) throw new Refusal('names no server', FORM);
  if (named !== undefined) {
    const numbers = ports?.split(',') ?? [''];
    const hosts = named.split(',');
    if (numbers.length > 1 && numbers.length !== hosts.length)
      throw new Refusal('has the parameter port with another number of entries than host');
    return hosts.map((host, index) => hostOf(host, numbers[index] ?? numbers[0] ?? ''));
  }
  return servers.split(',').map((server) => {
    const [, bracketed, plain = '', port = ''] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(server) ?? [];
    if (bracketed !== undefined && isIP(bracketed) !== 6)
      throw new Refusal('has something in brackets that is no IPv6 address');
    return hostOf(bracketed ?? decoded(plain), port);
  });
}

function hostOf(host: string, port: string): PostgresHost {
  if (isIP(host) === 0 && !/^(?:\/.*|[\p{L}\p{N}._-]+)$/u.test(host))
    throw new Refusal(
      'has a server that is no name and no address',
      'several are separated by commas, an IPv6 address is in brackets, and the folder of a socket begins with %2F',
    );
  const number = port === '' ? PORT : /^\d{1,5}$/.test(port) ? Number(port) : 0;
  if (number < 1 || number > 65_535) throw new Refusal('has a port that is no number from 1 to 65535');
  return { host, port: number };
}

function databaseIn(path: string, named: string | undefined): string | undefined {
  if (path === '') return named;
  if (named !== undefined) throw new Refusal('has the database twice, behind the server and as the parameter dbname');
  return decoded(path);
}

function secondsIn(text: string | undefined): number {
  if (text === undefined) return CONNECT_TIMEOUT;
  const seconds = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (seconds < 1 || seconds > 600)
    throw new Refusal('has a connect_timeout that is no whole number of seconds from 1 to 600');
  return seconds * 1000;
}

function wordIn<W extends string>(name: string, text: string | undefined, words: readonly W[]): W | undefined {
  if (text === undefined) return undefined;
  const word = words.find((one) => one === text);
  if (word === undefined) throw new Refusal(`has a ${name} that is not one of ${words.join(', ')}`);
  return word;
}

type Tls = Pick<PostgresUrl, 'sslMode' | 'sslRootCert' | 'sslCert' | 'sslKey'>;

/** What would have no effect is not taken in silence: somebody may rely on it. */
function tlsIn(given: ReadonlyMap<string, string>, hosts: readonly PostgresHost[]): Tls {
  const sslMode = wordIn('sslmode', given.get('sslmode'), SSL_MODES) ?? 'prefer';
  const [sslRootCert, sslCert, sslKey] = ['sslrootcert', 'sslcert', 'sslkey'].map((name) => given.get(name));
  const verifies = sslMode === 'verify-ca' || sslMode === 'verify-full';
  if (sslRootCert !== undefined && !verifies)
    throw new Refusal(
      `has sslrootcert, but sslmode is ${sslMode}, which verifies nothing`,
      'write sslmode=verify-full, or verify-ca if the certificate has not the name of the server',
    );
  if ((sslCert === undefined) !== (sslKey === undefined))
    throw new Refusal('has only one of sslcert and sslkey', 'a certificate and its private key belong together');
  if (sslCert !== undefined && sslMode === 'disable')
    throw new Refusal('has sslcert, but sslmode is disable', 'write sslmode=verify-full');
  if (hosts.every(isSocket) && (verifies || sslMode === 'require'))
    throw new Refusal(`has sslmode ${sslMode}, but names a socket, where there is no TLS`, 'remove sslmode');
  return {
    sslMode,
    ...(sslRootCert === undefined ? {} : { sslRootCert }),
    ...(sslCert === undefined ? {} : { sslCert }),
    ...(sslKey === undefined ? {} : { sslKey }),
  };
}
