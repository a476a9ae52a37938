/**
 * From settings to the Config: reads the files they name, takes proxies from the environment, fills in what follows from
 * the cloud. Reports every fault it finds, whatever else is wrong already.
 */
import { resolve } from 'node:path';
import { addressesOf } from './clouds.ts';
import type {
  AlarmChannelConfig,
  AlarmsConfig,
  Config,
  ConsoleConfig,
  CredentialConfig,
  ExchangeConfig,
  ListenerConfig,
  Pop3Config,
  ProxyConfig,
  RouteConfig,
} from './config.ts';
import { consoleToken } from './console.ts';
import { clientSecret } from './entra.ts';
import type { Environment } from './environment.ts';
import type { Path } from './fault.ts';
import { pathText } from './fault.ts';
import { readAuthorities, readKeyPair, readNamed, readSecret } from './files.ts';
import type { KeyPair, KeyPairFiles } from './files.ts';
import { withoutGaps } from './gaps.ts';
import { hostName, proxyUrl } from './network.ts';
import type { FetchedPickup } from './pickup-resolve.ts';
import { fetchPickups, pickupsOf } from './pickup-resolve.ts';
import { programOf } from './program.ts';
import { Secret } from './secret.ts';
import { accountsIn, DEFAULT_ROUTE } from './routes.ts';
import type { Settings } from './settings.ts';
import type { SoundAccount, SoundSettings } from './sound.ts';
import { spoolOf } from './spool.ts';
import { fetchStore } from './spool-check.ts';
import { smtpOf } from './submission.ts';
import type { Value } from './value.ts';

export interface Surroundings {
  /** Relative paths start here. */
  readonly folder: string;
  readonly environment: Environment;
  /** What the machine calls itself. */
  readonly machine: string;
}

/** What was not in the configuration file itself. */
export interface Fetched {
  /** By the path of the setting: `listeners[0].certificate`. */
  readonly keyPairs: ReadonlyMap<string, KeyPair & KeyPairFiles>;
  /** By the path of its settings: `exchange`, `routes[0]`. */
  readonly accounts: ReadonlyMap<string, FetchedAccount>;
  /** By the place of the entry. */
  readonly pickups: readonly FetchedPickup[];
  readonly consoleToken?: Secret;
  readonly databaseUrl?: Secret;
}

/** The same of one account. */
interface FetchedAccount {
  readonly keyPair?: KeyPair & KeyPairFiles;
  readonly clientSecret?: Secret;
  readonly password?: Secret;
  readonly smtpPassword?: Secret;
  readonly ca?: string;
  readonly proxy: ProxyConfig;
}

type Fault = (path: Path, problem: string, hint?: string) => void;
type SoundCertificate = SoundAccount['certificate'];

export async function fetchNamed(settings: SoundSettings, around: Surroundings, fault: Fault): Promise<Fetched> {
  const keyPairs = new Map<string, KeyPair & KeyPairFiles>();
  for (const [index, listener] of (settings.listeners ?? []).entries()) {
    const path = ['listeners', index, 'certificate'];
    const pair = await keyPairOf(listener?.certificate, around.folder, path, fault);
    if (pair !== undefined) keyPairs.set(pathText(path), pair);
  }
  const ofDoor = await keyPairOf(settings.pop3?.certificate, around.folder, ['pop3', 'certificate'], fault);
  if (ofDoor !== undefined) keyPairs.set('pop3.certificate', ofDoor);
  const ofConsole = await keyPairOf(settings.console?.certificate, around.folder, ['console', 'certificate'], fault);
  if (ofConsole !== undefined) keyPairs.set('console.certificate', ofConsole);
  const token = await tokenOf(settings.console?.tokenFile, around.folder, fault);
  const accounts = new Map<string, FetchedAccount>();
  for (const { account, path } of accountsIn(settings))
    accounts.set(pathText(path), await fetchAccount(account, path, around, fault));
  const url = await fetchStore(settings, around.folder, fault);
  return {
    keyPairs,
    accounts,
    pickups: await fetchPickups(settings, around.folder, fault),
    ...(url && { databaseUrl: url }),
    ...(token && { consoleToken: token }),
  };
}

async function tokenOf(name: string | undefined, folder: string, fault: Fault): Promise<Secret | undefined> {
  if (name === undefined) return undefined;
  const text = await readSecret(folder, name);
  const token = text.ok ? consoleToken(text.value.reveal()) : text;
  if (token.ok) return token.value;
  fault(['console', 'tokenFile'], token.problem, token.hint);
  return undefined;
}

async function fetchAccount(
  exchange: SoundAccount,
  base: Path,
  around: Surroundings,
  fault: Fault,
): Promise<FetchedAccount> {
  const keep = <T>(path: Path, value: Value<T>): T | undefined => {
    if (value.ok) return value.value;
    fault(path, value.problem, value.hint);
    return undefined;
  };
  const keyPair = await keyPairOf(exchange.certificate, around.folder, [...base, 'certificate'], fault);
  const { clientSecretFile, caFile } = exchange;
  const smtpFile = exchange.smtp?.passwordFile;
  const smtpPassword = smtpFile && keep([...base, 'smtp', 'passwordFile'], await readSecret(around.folder, smtpFile));
  const text =
    clientSecretFile && keep([...base, 'clientSecretFile'], await readSecret(around.folder, clientSecretFile));
  const secret = text && keep([...base, 'clientSecretFile'], clientSecret(text.reveal()));
  const { passwordFile, workloadIdentity } = exchange;
  const password = passwordFile && keep([...base, 'passwordFile'], await readSecret(around.folder, passwordFile));
  if (workloadIdentity?.tokenFile !== undefined) {
    const path = [...base, 'workloadIdentity', 'tokenFile'];
    keep(path, await readNamed(around.folder, workloadIdentity.tokenFile));
  }
  const ca = caFile && keep([...base, 'caFile'], await readAuthorities(around.folder, caFile));
  return {
    ...(keyPair && { keyPair }),
    ...(secret && { clientSecret: secret }),
    ...(password && { password }),
    ...(smtpPassword && { smtpPassword }),
    ...(ca && { ca }),
    proxy: exchange.proxy === 'environment' ? proxyOf(around.environment, [...base, 'proxy'], fault) : {},
  };
}

async function keyPairOf(
  certificate: SoundCertificate,
  folder: string,
  path: Path,
  fault: Fault,
): Promise<(KeyPair & KeyPairFiles) | undefined> {
  const { certFile, keyFile, pfxFile, passphrase: given, passphraseFile } = certificate ?? {};
  let passphrase = given;
  if (passphraseFile !== undefined) {
    if (given !== undefined) {
      fault([...path, 'passphraseFile'], 'is given, and passphrase too', 'remove one of the two');
    }
    const read = await readSecret(folder, passphraseFile);
    if (!read.ok) {
      fault([...path, 'passphraseFile'], read.problem, read.hint);
      return undefined;
    }
    passphrase = read.value;
  }
  const named =
    pfxFile !== undefined
      ? { pfxFile }
      : certFile !== undefined && keyFile !== undefined
        ? { certFile, keyFile }
        : undefined;
  if (named === undefined) return undefined;
  const read = await readKeyPair(
    folder,
    { ...named, ...(passphrase && { passphrase }) },
    !['listeners', 'pop3', 'console'].includes(String(path[0])),
  );
  if (read.ok) return { ...read.pair, ...inFull(folder, named), ...(passphrase && { passphrase }) };
  for (const { file, problem, hint } of read.faults) fault([...path, file], problem, hint);
  return undefined;
}

function inFull<T extends Readonly<Record<string, string>>>(folder: string, files: T): T {
  return Object.fromEntries(Object.entries(files).map(([key, name]) => [key, resolve(folder, name)])) as T;
}

/** As curl reads them: HTTP_PROXY in capitals does not count, because a web server could set it for a client. */
function proxyOf(environment: Environment, path: Path, fault: Fault): ProxyConfig {
  const proxy = (...names: string[]): Secret | undefined => {
    const name = names.find((candidate) => (environment[candidate] ?? '') !== '');
    const text = name === undefined ? '' : (environment[name] ?? '');
    if (name === undefined || text === '') return undefined;
    const url = proxyUrl(text.includes('://') ? text : `http://${text}`);
    if (url.ok) return new Secret(url.value);
    fault(
      path,
      `takes the proxy from the environment, where ${name} is not the URL of an HTTP proxy`,
      'set it right, or set proxy: none',
    );
    return undefined;
  };
  const httpProxy = proxy('http_proxy');
  const httpsProxy = proxy('https_proxy', 'HTTPS_PROXY');
  const noProxy = environment['no_proxy'] || environment['NO_PROXY'];
  return { ...(httpProxy && { httpProxy }), ...(httpsProxy && { httpsProxy }), ...(noProxy && { noProxy }) };
}

/** Puts together what was found to be without fault. */
export function buildConfig(settings: Settings, fetched: Fetched, around: Surroundings): Config {
  const { users, clients, senders, recipients, logins, pacing, retry, bounces, spool, console, shutdown, log } =
    settings;
  const exchange = exchangeOf(settings.exchange, accountOf(fetched, DEFAULT_ROUTE), around.folder);
  const ofMailbox = senders.mailbox.slice(senders.mailbox.lastIndexOf('@') + 1);
  return {
    hostname: settings.hostname ?? (hostName(around.machine).ok ? around.machine : 'localhost'),
    listeners: settings.listeners.map((listener, index) => listenerOf(listener, index, fetched)),
    users: users.map(withoutGaps),
    clients: clients.map(withoutGaps),
    senders: {
      ...senders,
      domain: senders.domain ?? ofMailbox,
      rules: senders.rules.map((rule) => ({ ...withoutGaps(rule), mailbox: rule.mailbox ?? senders.mailbox })),
    },
    recipients,
    logins,
    exchange,
    routes: [{ name: DEFAULT_ROUTE, setting: 'exchange', exchange }, ...routesOf(settings, fetched, around.folder)],
    pickups: pickupsOf(settings, fetched.pickups, around),
    ...(settings.pop3 && { pop3: doorOf(settings.pop3, fetched) }),
    pacing,
    retry,
    bounces: withoutGaps(bounces),
    spool: spoolOf(spool, fetched.databaseUrl, around.folder),
    alarms: alarmsOf(settings, around),
    console: consoleOf(console, fetched),
    shutdown,
    log,
  };
}

function routesOf({ routes }: Settings, fetched: Fetched, folder: string): readonly RouteConfig[] {
  return routes.map(({ name, ...settings }, index) => {
    const setting = `routes[${index}]`;
    return { name, setting, exchange: exchangeOf(settings, accountOf(fetched, setting), folder) };
  });
}

function accountOf({ accounts }: Fetched, setting: string): FetchedAccount {
  return accounts.get(setting) ?? { proxy: {} };
}

function listenerOf(listener: Settings['listeners'][number], index: number, { keyPairs }: Fetched): ListenerConfig {
  const { certificate: _files, ...rest } = listener;
  const certificate = keyPairs.get(`listeners[${index}].certificate`);
  return { ...withoutGaps(rest), ...(certificate && { certificate }) };
}

function doorOf({ certificate: _files, ...rest }: NonNullable<Settings['pop3']>, { keyPairs }: Fetched): Pop3Config {
  const certificate = keyPairs.get('pop3.certificate');
  return { ...rest, ...(certificate && { certificate }) };
}

function consoleOf(
  { certificate: _files, token: given, tokenFile: _file, ...rest }: Settings['console'],
  { keyPairs, consoleToken: read }: Fetched,
): ConsoleConfig {
  const certificate = keyPairs.get('console.certificate');
  const token = given ?? read;
  return { ...rest, ...(token && { token }), ...(certificate && { certificate }) };
}

function alarmsOf({ alarms, senders }: Settings, around: Surroundings): AlarmsConfig {
  return { ...withoutGaps(alarms), to: alarms.to.map((channel) => channelOf(channel, senders.mailbox, around)) };
}

type Channel = Settings['alarms']['to'][number];

function channelOf(
  { name, webhook, form, command, mail }: Channel,
  sender: string,
  { folder, environment }: Surroundings,
): AlarmChannelConfig {
  if (webhook !== undefined) return { kind: 'webhook', name, webhook, form };
  if (mail !== undefined) return { kind: 'mail', name, mail: { ...mail, from: mail.from ?? sender } };
  return { kind: 'command', name, ...programOf(command ?? [], folder, environment) };
}

function exchangeOf(exchange: Settings['exchange'], fetched: FetchedAccount, folder: string): ExchangeConfig {
  const {
    cloud,
    transport,
    tenantId = '',
    clientId = '',
    minTls,
    expires,
    saveToSentItems,
    carryHeaders,
    twoStep,
    proxy,
    returnToEws,
    timeouts,
  } = exchange;
  const usual = cloud === 'onPremises' ? NOWHERE : addressesOf(cloud, tenantId);
  return {
    cloud,
    transport,
    returnToEws,
    ...(transport === 'smtp' && { smtp: smtpOf(exchange.smtp, cloud, fetched.smtpPassword) }),
    ...(exchange.shadow && { shadow: { ...exchange.shadow, login: { kind: 'none' } } }),
    tenantId,
    clientId,
    credential: credentialOf(exchange, fetched, folder),
    ...(expires !== undefined && { expires }),
    saveToSentItems,
    carryHeaders,
    twoStep,
    ewsUrl: exchange.ewsUrl ?? usual.ewsUrl,
    graphUrl: exchange.graphUrl?.replace(/\/+$/, '') ?? usual.graphUrl,
    authority:
      tenantId === ''
        ? ''
        : exchange.authority === undefined
          ? usual.authority
          : withTenant(exchange.authority, tenantId),
    scope: exchange.scope ?? usual.scope,
    graphScope: exchange.graphScope ?? usual.graphScope,
    minTls,
    ...(fetched.ca !== undefined && { ca: fetched.ca }),
    proxy: proxy instanceof Secret ? { proxy } : fetched.proxy,
    connectTimeout: timeouts.connect,
    requestTimeout: timeouts.request,
  };
}

function withTenant(authority: string, tenantId: string): string {
  const { origin, pathname } = new URL(authority);
  const path = pathname.replace(/\/+$/, '');
  return `${origin}${path === '' ? `/${tenantId}` : path}`;
}

/** On-premises there is no identity server, and checks have seen to ewsUrl. */
const NOWHERE = { authority: '', ewsUrl: '', scope: '', graphUrl: '', graphScope: '' };

function credentialOf(exchange: Settings['exchange'], fetched: FetchedAccount, folder: string): CredentialConfig {
  const { cloud, clientSecretFile, passwordFile, managedIdentity, workloadIdentity, login, username, domain } =
    exchange;
  const from = (file: string | undefined): { readonly file?: string } =>
    file === undefined ? {} : { file: resolve(folder, file) };
  const password = exchange.password ?? fetched.password;
  if (cloud === 'onPremises' && username !== undefined && password !== undefined) {
    const name = domain === undefined ? username : { ...username, domain };
    return { kind: 'account', login, ...name, password, ...from(passwordFile) };
  }
  if (fetched.keyPair !== undefined) {
    const { certificate, privateKey, ...files } = fetched.keyPair;
    return { kind: 'certificate', certificate, privateKey, files };
  }
  if (managedIdentity !== undefined) return { kind: 'managedIdentity', ...managedIdentity };
  if (workloadIdentity !== undefined)
    return { kind: 'workloadIdentity', tokenFile: resolve(folder, workloadIdentity.tokenFile) };
  const secret = exchange.clientSecret ?? fetched.clientSecret;
  if (secret === undefined) throw new Error('a configuration without credential passed its checks');
  return { kind: 'secret', secret, ...from(clientSecretFile) };
}
