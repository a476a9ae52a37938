/**
 * What the settings of an app registration, of a managed identity and of an account on-premises demand of each other: one
 * of them is needed, whole, and nothing of the others. Never fails.
 */
import type { Path } from './fault.ts';
import type { Context, SoundAccount } from './sound.ts';

const OF_APP = [
  'tenantId',
  'clientId',
  'clientSecret',
  'clientSecretFile',
  'certificate',
  'managedIdentity',
  'workloadIdentity',
  'expires',
  'authority',
  'scope',
  'graphUrl',
  'graphScope',
] as const;
const OF_ACCOUNT = ['username', 'domain', 'password', 'passwordFile', 'login'] as const;
const CREDENTIALS = ['clientSecret', 'clientSecretFile', 'certificate', 'managedIdentity', 'workloadIdentity'] as const;

export function checkCredential(exchange: SoundAccount, path: Path, context: Context): void {
  if (exchange.cloud === undefined) return;
  if (exchange.cloud === 'onPremises') return checkAccount(exchange, path, context);
  const { fault, wasGiven } = context;
  for (const key of OF_ACCOUNT) {
    if (!wasGiven([...path, key])) continue;
    fault(
      [...path, key],
      `is given, but cloud is ${exchange.cloud}`,
      "Microsoft's clouds take no password of an account; for servers of your own set cloud: onPremises",
    );
  }
  checkApp(exchange, path, context);
}

function checkApp(exchange: SoundAccount, path: Path, { fault, wasGiven }: Context): void {
  const given = CREDENTIALS.filter((key) => wasGiven([...path, key]));
  const [first, ...more] = given;
  if (first === undefined) {
    fault(
      path,
      'has no credential',
      'add clientSecret, clientSecretFile, certificate, managedIdentity or workloadIdentity',
    );
  }
  for (const key of more) {
    fault([...path, key], `is given, and ${first} too`, 'one credential is needed; remove the other');
  }
  const isManaged = given.length === 1 && first === 'managedIdentity';
  for (const [key, name] of [
    ['tenantId', 'Directory (tenant) ID, or one of the domains of the tenant'],
    ['clientId', 'Application (client) ID of the app registration'],
  ] as const) {
    const isThere = wasGiven([...path, key]);
    if (!isManaged && !isThere) fault([...path, key], 'is missing', `it is required: ${name}`);
    if (isManaged && isThere) {
      fault(
        [...path, key],
        'is given, and managedIdentity too',
        'a managed identity is no app registration: remove it, and name a user-assigned one in managedIdentity',
      );
    }
  }
  if (given.length === 1 && wasGiven([...path, 'expires'])) checkExpires(first, path, fault);
  if (exchange.clientId !== undefined && exchange.clientId.toLowerCase() === exchange.tenantId?.toLowerCase()) {
    fault([...path, 'clientId'], 'is the same as tenantId', 'the overview page of the app registration shows both ids');
  }
}

function checkExpires(credential: (typeof CREDENTIALS)[number] | undefined, path: Path, fault: Context['fault']): void {
  if (credential === 'certificate') {
    fault(
      [...path, 'expires'],
      'is given, but the credential is a certificate',
      'it holds its own date; expires is for a client secret',
    );
  }
  if (credential === 'managedIdentity' || credential === 'workloadIdentity') {
    fault(
      [...path, 'expires'],
      `is given, but the credential is ${credential}`,
      'it has no end; expires is for a client secret',
    );
  }
}

function checkAccount(exchange: SoundAccount, path: Path, { fault, wasGiven }: Context): void {
  for (const key of OF_APP) {
    if (!wasGiven([...path, key])) continue;
    fault([...path, key], 'is given, but cloud is onPremises', 'that takes username and password; remove it');
  }
  const need = (key: 'ewsUrl' | 'username', what: string): void => {
    if (!wasGiven([...path, key])) fault([...path, key], 'is missing', `cloud: onPremises needs ${what}`);
  };
  need('ewsUrl', 'the address of Exchange Web Services, such as https://mail.contoso.com/EWS/Exchange.asmx');
  need('username', 'the account that logs in, such as CONTOSO\\svc-gateway');
  const [password, passwordFile] = [wasGiven([...path, 'password']), wasGiven([...path, 'passwordFile'])];
  if (!password && !passwordFile) fault(path, 'has no password', 'add password or passwordFile');
  if (password && passwordFile) {
    fault([...path, 'passwordFile'], 'is given, and password too', 'remove one of the two');
  }
  if (exchange.transport === 'smtp') {
    if (exchange.smtp?.login === 'oauth') {
      fault([...path, 'smtp', 'login'], 'is oauth, but cloud is onPremises', 'set login: password or none');
    }
    if (!wasGiven([...path, 'smtp', 'host']))
      fault([...path, 'smtp', 'host'], 'is missing', 'cloud: onPremises has no submission server of its own');
  }
  const { username } = exchange;
  const hasDomain = username !== undefined && (username.domain !== '' || username.username.includes('@'));
  if (hasDomain && wasGiven([...path, 'domain'])) {
    fault([...path, 'domain'], 'is given, but username has a domain already', 'remove one of the two');
  }
}
