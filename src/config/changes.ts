/**
 * What differs between two configurations, by the paths of its settings and never by their values, and what it takes to
 * apply that. What a file holds that a setting names is no difference where the gateway looks into that file by itself:
 * certificates of listeners, credentials of accounts. Pure; never fails.
 */
import type { Config, CredentialConfig, ExchangeConfig } from './config.ts';
import { Secret } from './secret.ts';

/**
 * live: taken into use where it is, for what goes on too; replaced: the part that has it is made anew beside the old one,
 * which finishes what it has begun; restart: nothing is done until the gateway starts anew.
 */
export type Applied = 'live' | 'replaced' | 'restart';

/**
 * By the beginning of the setting's path, the longest that fits. What is not taken whole by one part stands here setting
 * by setting, so that a new one is not thought to be applied that nobody applies.
 */
export const APPLIED: Readonly<Record<string, Applied>> = {
  hostname: 'restart',
  listeners: 'replaced',
  'listeners.allow': 'live',
  'listeners.loginFrom': 'live',
  'listeners.senders': 'live',
  'listeners.recipients': 'live',
  users: 'live',
  clients: 'live',
  senders: 'live',
  recipients: 'live',
  logins: 'live',
  exchange: 'replaced',
  routes: 'replaced',
  pickup: 'replaced',
  pop3: 'replaced',
  'pacing.perMailbox.concurrency': 'live',
  'pacing.perMailbox.perMinute': 'live',
  'pacing.concurrency': 'live',
  'pacing.catchUp': 'live',
  'pacing.first': 'restart',
  'retry.intervals': 'live',
  'retry.warnAfter': 'live',
  'retry.giveUpAfter': 'live',
  'retry.verifyAfter': 'live',
  bounces: 'live',
  'spool.sqlite': 'restart',
  'spool.postgres': 'restart',
  'spool.postgresFile': 'restart',
  'spool.connections': 'restart',
  'spool.lease': 'restart',
  'spool.folder': 'restart',
  'spool.maxItems': 'live',
  'spool.minFree': 'live',
  'spool.retention': 'live',
  'spool.parkedRetention': 'live',
  'spool.parkedSize': 'live',
  'alarms.to': 'live',
  'alarms.repeat': 'live',
  'alarms.oldestAfter': 'live',
  'alarms.expiresWithin': 'live',
  'alarms.heartbeat': 'live',
  console: 'restart',
  'shutdown.timeout': 'live',
  'log.level': 'live',
  'log.addresses': 'live',
};

export interface Changes {
  /** Such as `retry.intervals`, `listeners[lan].port`; `users[pbx]` for one that came or went. */
  readonly changed: readonly string[];
  /** Those of them that nothing was done about. */
  readonly needsRestart: readonly string[];
}

export function changesBetween(before: Config, after: Config): Changes {
  const changed = differences('', asWritten(before), asWritten(after));
  return { changed, needsRestart: changed.filter((path) => appliedHow(path) === 'restart') };
}

/** Undefined: nobody has said. */
export function appliedHow(path: string): Applied | undefined {
  const keys = path.replace(/\[[^\]]*\]/g, '').split('.');
  for (let length = keys.length; length > 0; length--) {
    const found = APPLIED[keys.slice(0, length).join('.')];
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The new configuration as far as it can be applied: what needs a restart stays as it was. */
export function appliedNow(before: Config, after: Config): Config {
  const { hostname, console, spool, pacing } = before;
  return {
    ...after,
    hostname,
    console,
    spool: { ...after.spool, store: spool.store, folder: spool.folder },
    pacing: { ...after.pacing, first: pacing.first },
  };
}

/** Deep equality of what a configuration is made of. What files hold that are looked into again anyway does not count. */
export function isSame(one: unknown, other: unknown): boolean {
  if (one instanceof Secret || other instanceof Secret)
    return one instanceof Secret && other instanceof Secret && one.reveal() === other.reveal();
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null)
    return Object.is(one, other);
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const [left, right] = [named(one), named(other)];
  const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
  return [...keys].every((key) => isSame(left[key], right[key]));
}

type Fields = Readonly<Record<string, unknown>>;

/** Without what was read from files that are named beside it. */
function named(value: object): Fields {
  const fields = value as Fields;
  const hasFiles = 'files' in fields || 'certFile' in fields || 'pfxFile' in fields;
  if (hasFiles && fields['privateKey'] instanceof Secret) {
    const { certificate: _certificate, privateKey: _key, ...rest } = fields;
    return rest;
  }
  if (typeof fields['file'] === 'string') {
    const { secret: _secret, password: _password, ...rest } = fields;
    return rest;
  }
  return fields;
}

/** Lists whose entries are known by their names, wherever in the list they stand. */
const NAMED = new Set(['listeners', 'users', 'routes', 'pickup', 'alarms.to']);

function differences(path: string, before: unknown, after: unknown): readonly string[] {
  if (isSame(before, after)) return [];
  if (NAMED.has(path)) return ofNamed(path, before as readonly Named[], after as readonly Named[]);
  if (!isSection(before) || !isSection(after)) return [path];
  const [left, right] = [named(before), named(after)];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].flatMap((key) =>
    differences(path === '' ? key : `${path}.${key}`, left[key], right[key]),
  );
}

interface Named {
  readonly name: string;
}

function ofNamed(path: string, before: readonly Named[], after: readonly Named[]): readonly string[] {
  const names = new Set([...before, ...after].map(({ name }) => name));
  return [...names].flatMap((name) => {
    const [left, right] = [before, after].map((list) => list.find((one) => one.name === name));
    return left === undefined || right === undefined
      ? [`${path}[${name}]`]
      : differences(`${path}[${name}]`, left, right);
  });
}

function isSection(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Secret);
}

/** Under the names that the settings have in the file. */
function asWritten({ exchange, routes, pickups, spool, ...rest }: Config): Fields {
  return {
    ...rest,
    spool: spoolAsWritten(spool),
    exchange: accountAsWritten(exchange),
    // The first is exchange.
    routes: routes.slice(1).map(({ name, exchange: account }) => ({ name, ...accountAsWritten(account) })),
    pickup: pickups.map(({ setting: _setting, examples: _examples, ...pickup }) => pickup),
  };
}

function spoolAsWritten({ store, folder, ...rest }: Config['spool']): Fields {
  switch (store.kind) {
    case 'sqlite':
      return { ...rest, sqlite: store.path };
    case 'postgres': {
      const { url, connections, lease, fromFile } = store;
      // Nobody looks into that file by itself: another URL in it is a change.
      return { ...rest, folder, connections, lease, [fromFile === undefined ? 'postgres' : 'postgresFile']: url };
    }
  }
}

function accountAsWritten({ credential, connectTimeout, requestTimeout, ca, ...rest }: ExchangeConfig): Fields {
  return {
    ...rest,
    ...credentialAsWritten(credential),
    timeouts: { connect: connectTimeout, request: requestTimeout },
    ...(ca === undefined ? {} : { caFile: ca }),
  };
}

function credentialAsWritten(credential: CredentialConfig): Fields {
  switch (credential.kind) {
    case 'secret':
      return credential.file === undefined
        ? { clientSecret: credential.secret }
        : { clientSecretFile: credential.file };
    case 'certificate':
      return { certificate: credential.files };
    case 'managedIdentity':
      return { managedIdentity: credential.clientId ?? 'system' };
    case 'workloadIdentity':
      return { workloadIdentity: { tokenFile: credential.tokenFile } };
    case 'account': {
      const { kind: _kind, password, file, ...account } = credential;
      return { ...account, ...(file === undefined ? { password } : { passwordFile: file }) };
    }
  }
}
