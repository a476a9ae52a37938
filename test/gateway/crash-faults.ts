/** Everything the sandbox can do wrong, for the crash test: the kinds of its Exchange with how often each is picked, and those of its Entra ID. */
import type { Misbehaviour } from '../../src/sandbox/fault.ts';
import type { IdentityFault } from '../../src/sandbox/identity.ts';

/**
 * What is acted on although the answer says otherwise comes only with answers that leave it open (504, ErrorTimeoutExpired,
 * garbage): Exchange has not sent what it answers with another code. No wait is as long as retry.verifyAfter: a server
 * that acts later than that is the one case in which nobody can know (docs/spool.md).
 */
const MESSAGE: Readonly<Record<string, Misbehaviour>> = {
  'slow before acting': { slow: { beforeActing: 300 } },
  'slow after acting': { slow: { afterActing: 300 } },
  'silent before acting': { silent: 'beforeActing' },
  'silent after acting': { silent: 'afterActing' },
  'cut in the upload': { cut: 'inUpload' },
  'cut before acting': { cut: 'beforeActing' },
  'cut after acting': { cut: 'afterActing' },
  'cut in the answer': { cut: 'inAnswer' },
  'HTTP 504, acted': { status: 504, acts: true },
  'HTTP 504, not acted': { status: 504 },
  'HTTP 202, acted': { status: 202, acts: true },
  'ErrorTimeoutExpired, acted': { responseCode: 'ErrorTimeoutExpired', acts: true },
  'ErrorTimeoutExpired as fault': { responseCode: 'ErrorTimeoutExpired', as: 'fault' },
  'garbage, acted': { garbage: true, acts: true },
  'garbage, not acted': { garbage: true },
  'another body, acted': { body: '<html>Sign in</html>', acts: true },
  gzip: { gzip: true },
  'expired token': { expiredToken: true },
  'HTTP 440': { status: 440 },
  'HTTP 449': { status: 449 },
  'HTTP 500': { status: 500 },
  'HTTP 418, not known': { status: 418 },
  'transient code': { responseCode: 'ErrorInternalServerTransientError' },
  'transient fault, Retry-After': { responseCode: 'ErrorInternalServerTransientError', as: 'fault', retryAfter: 1 },
  'internal error': { responseCode: 'ErrorInternalServerError', messageText: 'no reason given' },
  'code not known': { responseCode: 'ErrorNobodyKnows' },
  'schema fault': { responseCode: 'ErrorSchemaValidation', as: 'fault' },
  'refused recipient': { responseCode: 'ErrorInvalidRecipients' },
  'refused content, as fault': { responseCode: 'ErrorMimeContentInvalid', as: 'fault' },
  'HTTP 400': { status: 400 },
  'HTTP 413': { status: 413 },
};

/** They hold back a mailbox for 30 seconds or more. */
const MAILBOX: Readonly<Record<string, Misbehaviour>> = {
  'HTTP 429, Retry-After in seconds': { status: 429, retryAfter: 1 },
  'busy, back-off': { responseCode: 'ErrorServerBusy', backOffMilliseconds: 300 },
  'busy, back-off, as fault': { responseCode: 'ErrorServerBusy', as: 'fault', backOffMilliseconds: 300 },
  'store away': { responseCode: 'ErrorMailboxStoreUnavailable' },
  'mailbox full': { responseCode: 'ErrorQuotaExceeded' },
  'no access': { responseCode: 'ErrorAccessDenied' },
  'HTTP 507': { status: 507 },
};

/** They hold back everything. */
const ROUTE: Readonly<Record<string, Misbehaviour>> = {
  'HTTP 502': { status: 502 },
  'HTTP 503, Retry-After as a date': { status: 503, retryAfter: new Date(Date.now() + 3_600_000).toUTCString() },
  'HTTP 503, Retry-After in seconds': { status: 503, retryAfter: 1 },
  'HTTP 403': { status: 403 },
  'HTTP 302': { status: 302, headers: { location: 'https://127.0.0.1:9/login' } },
  'no impersonation': { responseCode: 'ErrorImpersonationDenied', as: 'fault' },
};

export const KINDS: ReadonlyMap<Misbehaviour, string> = new Map(
  [MESSAGE, MAILBOX, ROUTE].flatMap((kinds) => Object.entries(kinds).map(([name, does]) => [does, name] as const)),
);

/** @param chance in [0, 1): what holds back more than one message is picked seldom, or a round would end with it. */
export function pick(chance: number, which: number): Misbehaviour {
  const kinds = Object.values(chance < 0.88 ? MESSAGE : chance < 0.96 ? MAILBOX : ROUTE);
  const kind = kinds[Math.floor(which * kinds.length)];
  if (kind === undefined) throw new RangeError('a chance is at least 0 and less than 1');
  return kind;
}

export const IDENTITY: readonly IdentityFault[] = [
  { delayMs: 300 },
  { hang: true },
  { cut: true },
  { status: 503 },
  { status: 429, retryAfter: 1 },
  { body: '<html>no JSON</html>' },
  { aadsts: 90033 },
  { aadsts: 7000222 },
  { lifetimeSeconds: 1 },
  { lifetimeSeconds: 2, times: 5 },
];
