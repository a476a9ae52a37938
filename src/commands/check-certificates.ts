/**
 * The certificates that were read with the configuration, which has also seen that each key fits: how long they last,
 * whether clients find the gateway's name in them, and when the credential of each account ends. Pure but for the clock.
 */
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { endOfCredential } from '../assembly/credential.ts';
import type { Config, RouteConfig } from '../config/config.ts';
import type { Walk } from './check-walk.ts';
import type { Finding, Judged } from './finding.ts';

const DAY = 86_400_000;
/** Days before the end of a listener's certificate from which on it is told, as the alarm does. */
const SOON = 14;
/** The same of a credential, that somebody else has to renew. */
const CREDENTIAL_SOON = 30;

export function* checkCertificates({ config, accounts, now }: Walk): Generator<Finding> {
  const { listeners, pop3 } = config;
  for (const door of [...listeners, ...(pop3 === undefined ? [] : [{ ...pop3, name: 'pop3' }])]) {
    if (door.tls === 'none') continue;
    const about = { what: 'certificate' as const, at: door.name };
    if (door.certificate === undefined)
      yield { ...about, mark: 'ok', says: 'none is set: one of our own making, which clients that check refuse' };
    else yield { ...about, ...judged(new X509Certificate(door.certificate.certificate), config, now()) };
  }
  for (const route of config.routes) {
    const found = credential(route, now());
    if (found === undefined) continue;
    if (found.mark === 'fail')
      for (const account of accounts) if (account.route === route) account.blocked = 'its certificate has ended';
    yield { what: 'certificate', route: route.name, ...found };
  }
}

function judged(certificate: X509Certificate, { hostname }: Config, now: number): Judged {
  const end = Date.parse(certificate.validTo);
  const begin = Date.parse(certificate.validFrom);
  const last = `good until ${day(end)}`;
  if (end <= now)
    return { mark: 'fail', says: `expired on ${day(end)}: clients that check it hand in no mail. Renew it` };
  if (begin > now)
    return { mark: 'fail', says: `not valid before ${day(begin)}: take another, or check this machine's clock` };
  const days = Math.floor((end - now) / DAY);
  if (days < SOON) return { mark: 'warn', says: `${last}, ${days} days from now. Renew it` };
  const isNamed = isIP(hostname) === 0 ? certificate.checkHost(hostname) : certificate.checkIP(hostname);
  if (isNamed !== undefined) return { mark: 'ok', says: `${last}, for ${hostname}` };
  return {
    mark: 'warn',
    says: `${last}, but not for ${hostname} (${certificate.subjectAltName ?? 'no names'}): clients that check names have to use one that is in it`,
  };
}

function credential({ exchange, setting }: RouteConfig, now: number): Judged | undefined {
  const end = endOfCredential(exchange);
  if (end === undefined)
    return exchange.credential.kind === 'secret'
      ? {
          mark: 'skip',
          says: `when the client secret ends is not known here: note it as ${setting}.expires, and there is an alarm before it`,
        }
      : undefined;
  const { kind, expiresAt } = end;
  const step = 'credential' as const;
  const days = Math.floor((expiresAt - now) / DAY);
  if (kind === 'certificate' && expiresAt <= now)
    return {
      mark: 'fail',
      says: `the certificate of the app has expired on ${day(expiresAt)}: no token is given`,
      step,
    };
  // What is noted may be that of the secret before.
  if (expiresAt <= now)
    return {
      mark: 'warn',
      says: `the client secret has ended on ${day(expiresAt)}, as ${setting}.expires notes it`,
      step,
    };
  const name = kind === 'secret' ? `the client secret (${setting}.expires)` : 'the certificate of the app';
  const says = `${name} lasts until ${day(expiresAt)}`;
  return days < CREDENTIAL_SOON ? { mark: 'warn', says: `${says}, ${days} days from now`, step } : { mark: 'ok', says };
}

/** YYYY-MM-DD. */
function day(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}
