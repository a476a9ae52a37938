/**
 * What settings demand of each other. Looks at whatever could be read: a part that is absent because it is faulty has
 * had its fault reported and causes no second one. Never fails.
 */
import { checkAccess } from './access.ts';
import { checkCertificate } from './certificate.ts';
import { checkAlarms } from './channels.ts';
import { checkConsole } from './console-check.ts';
import { checkCredential } from './credential.ts';
import type { Path } from './fault.ts';
import { checkPickups } from './pickup-check.ts';
import { accountsIn, checkRoutes } from './routes.ts';
import { checkRules } from './rules.ts';
import { checkSubmission } from './smarthost.ts';
import { checkSpool } from './spool-check.ts';
import type { Context, SoundAccount, SoundListener, SoundSettings } from './sound.ts';

export function checkTogether(settings: SoundSettings, context: Context): void {
  settings.listeners?.forEach((listener, index) => {
    if (listener === undefined) return;
    checkTls(listener, ['listeners', index], context);
    checkCertificate(listener.certificate, ['listeners', index, 'certificate'], context);
    checkLogin(listener, ['listeners', index], context);
  });
  checkAccess(settings, context);
  checkRules(settings, context);
  checkUsers(settings, context);
  checkNames(settings, context);
  checkPorts(settings, context);
  checkRetry(settings, context);
  checkSpool(context);
  checkFirst(settings, context);
  checkAlarms(settings, context);
  checkRoutes(settings, context);
  checkPickups(settings, context);
  checkCertificate(settings.pop3?.certificate, ['pop3', 'certificate'], context);
  checkConsole(settings, context);
  checkCertificate(settings.console?.certificate, ['console', 'certificate'], context);
  for (const { account, path } of accountsIn(settings)) {
    checkCredential(account, path, context);
    checkCertificate(account.certificate, [...path, 'certificate'], context);
    checkCarried(account, path, context);
    checkSubmission(account, path, settings, context);
    checkTransport(account, path, context);
  }
}

function checkTls(listener: SoundListener, path: Path, { fault, wasGiven }: Context): void {
  const { tls } = listener;
  const hasCertificate = wasGiven([...path, 'certificate']);
  if (tls === undefined) return;
  if ((tls === 'required' || tls === 'implicit') && !hasCertificate) {
    fault(
      [...path, 'tls'],
      `is ${tls}, which needs a certificate`,
      'add certificate with certFile and keyFile or pfxFile, or set tls: optional, for which one is made',
    );
  }
  if (tls === 'none' && hasCertificate) {
    fault(
      [...path, 'certificate'],
      'is given, but tls is none',
      'set tls to optional, required or implicit, or remove the certificate',
    );
  }
}

function checkLogin(listener: SoundListener, path: Path, { fault }: Context): void {
  const { auth, tls, allowInsecureAuth } = listener;
  if ((auth === 'optional' || auth === 'required') && tls === 'none' && allowInsecureAuth === false) {
    fault(
      [...path, 'auth'],
      `is ${auth}, but tls is none: nobody could log in`,
      'set tls and certificate, or allowInsecureAuth: true where passwords may cross the network readable',
    );
  }
}

function checkUsers(settings: SoundSettings, { fault, wasGiven }: Context): void {
  if ((settings.users?.length ?? 0) > 0 || (settings.users === undefined && wasGiven(['users']))) return;
  settings.listeners?.forEach((listener, index) => {
    if (listener?.auth === 'required' || listener?.auth === 'optional') {
      fault(
        ['listeners', index, 'auth'],
        `is ${listener.auth}, but users has no entry`,
        'add who may log in, or set auth: none',
      );
    }
  });
}

function checkNames(settings: SoundSettings, { fault }: Context): void {
  for (const group of ['listeners', 'users'] as const) {
    const first = new Map<string, number>();
    settings[group]?.forEach((entry, index) => {
      if (entry?.name === undefined) return;
      const before = first.get(entry.name);
      if (before === undefined) first.set(entry.name, index);
      else fault([group, index, 'name'], `is the name of ${group}[${before}] already`, 'each needs its own');
    });
  }
}

/** Two that listen on the same port of the same address. Port 0 takes a free one each time. */
function checkPorts(settings: SoundSettings, { fault }: Context): void {
  const all = [
    { ...settings.console, path: ['console'] as Path },
    ...(settings.pop3 === undefined ? [] : [{ ...settings.pop3, path: ['pop3'] as Path }]),
    ...(settings.listeners ?? []).map((listener, index) => ({ ...listener, path: ['listeners', index] as Path })),
  ];
  all.forEach((later, index) => {
    const earlier = all
      .slice(0, index)
      .find((other) => other.port === later.port && overlap(other.address, later.address));
    if (earlier === undefined || later.port === undefined || later.port === 0) return;
    const [first, at] = earlier.path;
    const name = at === undefined ? String(first) : `listeners[${at}]`;
    fault([...later.path, 'port'], `is taken by ${name} already`, 'give each its own port or address');
  });
}

function overlap(a: string | undefined, b: string | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  if (a === b || a === '::' || b === '::') return true;
  const everyIpv4 = a === '0.0.0.0' ? b : b === '0.0.0.0' ? a : undefined;
  return everyIpv4 !== undefined && !everyIpv4.includes(':');
}

/** Named properties are few in a mailbox, and are never given back. */
const MOST_CARRIED = 20;

function checkCarried({ carryHeaders }: SoundAccount, base: Path, { fault }: Context): void {
  const first = new Map<string, number>();
  carryHeaders?.forEach((name, index) => {
    const path = [...base, 'carryHeaders', index];
    const before = name === undefined ? undefined : first.get(name.toLowerCase());
    if (before !== undefined) fault(path, `is carryHeaders[${before}] already`, 'upper and lower case are the same');
    else if (name !== undefined) first.set(name.toLowerCase(), index);
    if (index === MOST_CARRIED) fault(path, `is one too many; there may be ${MOST_CARRIED}`);
  });
}

/** What a transport cannot do, or has no use for, is not taken in silence. */
function checkTransport(account: SoundAccount, path: Path, { fault, wasGiven }: Context): void {
  const { transport, cloud, returnToEws } = account;
  if (transport === undefined) return;
  const usesGraph = transport === 'graph' || transport === 'auto';
  if (usesGraph && cloud === 'onPremises') {
    fault(
      [...path, 'transport'],
      `is ${transport}, but cloud is onPremises`,
      'Microsoft Graph is in Exchange Online only; set ews or smtp',
    );
  }
  const useless = (key: string, hint: string): void => {
    if (wasGiven([...path, key])) fault([...path, key], `is given, but transport is ${transport}`, hint);
  };
  if (transport === 'graph') {
    useless('twoStep', 'there everything above 3 MB goes as a draft, and nothing else; remove it');
    useless('scope', 'it is for EWS and SMTP; set graphScope');
  }
  if (transport === 'smtp') useless('shadow', 'it is for ews, graph and auto: with smtp, set smtp.host; remove it');
  if (transport !== 'auto' && returnToEws === true) useless('returnToEws', 'it is for auto; remove it');
}

function checkFirst({ pacing }: SoundSettings, { fault }: Context): void {
  pacing?.first?.forEach((word, index, words) => {
    const before = words.indexOf(word);
    if (word !== undefined && before < index) fault(['pacing', 'first', index], `is first[${before}] already`);
  });
}

function checkRetry({ retry }: SoundSettings, { fault, wasGiven }: Context): void {
  const intervals = retry?.intervals ?? [];
  intervals.forEach((interval, index) => {
    const before = intervals[index - 1];
    if (interval !== undefined && before !== undefined && interval < before) {
      fault(['retry', 'intervals', index], 'is shorter than the wait before it', 'waits only grow; is the unit right?');
    }
  });
  const [first] = intervals;
  if (first !== undefined && retry?.giveUpAfter !== undefined && retry.giveUpAfter < first) {
    fault(
      ['retry', 'giveUpAfter'],
      'is shorter than the first of intervals',
      'a message would be given up before its second try',
    );
  }
  // The default may be beyond a short giveUpAfter: whoever has not asked for warnings misses none.
  const { warnAfter = Infinity, giveUpAfter = Infinity } = retry ?? {};
  if (wasGiven(['retry', 'warnAfter']) && warnAfter !== Infinity && warnAfter > giveUpAfter) {
    fault(
      ['retry', 'warnAfter'],
      'is longer than giveUpAfter',
      'a message would be given up before its sender is warned; never turns warnings off',
    );
  }
}
