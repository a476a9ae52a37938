/** Whether an SMTP server takes a session, TLS and the login as they are configured. No mail is begun. Never rejects for what it meets. */
import type { SmtpConfig } from '../config/config.ts';
import { meaningOfTrouble } from '../smtp/answers.ts';
import type { SmtpLogin } from '../smtp/client.ts';
import { openSession } from '../smtp/client.ts';
import type { Judged } from './finding.ts';
import { PATIENCE } from './finding.ts';

/** Milliseconds. */
const CONNECT = 10_000;

/** @param given for a login by token: who logs in unless the configuration says so */
export async function reachServer(
  { host, port, tls, minTls, login }: SmtpConfig,
  ca: string | undefined,
  hostname: string,
  signal: AbortSignal,
  given?: { readonly user: string; readonly token: string },
): Promise<Judged & { readonly cause?: string }> {
  const timeouts = { connect: CONNECT, reply: PATIENCE, answer: PATIENCE };
  const own = ca === undefined ? {} : { ca };
  const session = await openSession({ host, port, tls, minTls, ...own, name: hostname, timeouts }, signal);
  const as = { host, port, login: 'transport' as const };
  if ('step' in session) return failed(meaningOfTrouble(session, as));
  const proof = loginOf(login, given);
  const trouble = proof === undefined ? undefined : await session.login(proof, signal);
  if (trouble !== undefined) return failed(meaningOfTrouble(trouble, as));
  session.end();
  const says = `${host}:${port} takes sessions${tls === 'none' ? '' : ' over TLS'}${proof === undefined ? '' : ', and the login'}; no mail was sent`;
  return { mark: 'ok', says };
}

function loginOf(
  login: SmtpConfig['login'],
  given: { readonly user: string; readonly token: string } | undefined,
): SmtpLogin | undefined {
  if (login.kind === 'password') return { kind: 'password', user: login.username, password: login.password.reveal() };
  if (login.kind === 'none' || given === undefined) return undefined;
  return { kind: 'token', user: login.username ?? given.user, token: given.token };
}

function failed({ cause, reason, text }: ReturnType<typeof meaningOfTrouble>): Judged & { readonly cause: string } {
  return { mark: 'fail', says: `${cause}: ${reason ?? text}`, cause };
}
