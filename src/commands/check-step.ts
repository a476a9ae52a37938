/** Which step of the walk-through mends a fault, and its title. Pure; never fails. */
import type { Config, RouteConfig } from '../config/config.ts';
import type { Account } from './check-account.ts';
import type { SetupFacts, StepId } from './step.ts';
import { steps } from './walkthrough.ts';

/** @returns undefined: the route has no such step */
export function titleOf(step: StepId, route: RouteConfig, config: Config, configFile: string): string | undefined {
  const { cloud, transport, credential } = route.exchange;
  const facts: SetupFacts = {
    cloud,
    transport,
    path: 'rbac',
    credential: credential.kind === 'secret' ? 'secret' : 'certificate',
    name: 'smtp2exchange',
    mailboxes: [config.senders.mailbox],
    pickups: config.pickups.map(({ mailbox }) => mailbox),
    reads: ['auto'],
    secretFile: '',
    configFile,
    ...(credential.kind === 'account' ? { account: credential } : {}),
  };
  const all = [...steps(facts), ...steps({ ...facts, path: 'consent' })];
  return all.find(({ id }) => id === step)?.title;
}

/** AADSTS codes, as exchange/advice.ts has them. */
const TOKEN_STEPS: readonly (readonly [readonly string[], StepId])[] = [
  [
    ['7000215', '7000222', '7000218', '900144', '700027', '50012', '50027', '700030', '700021', '700023', '700024'],
    'credential',
  ],
  [['700229', '700211', '700212', '700213'], 'credential'],
  [['700016', '700011', '90002', '90038', '900382', '900432', '7000112', '70001', '1000031'], 'register-app'],
  [['500011', '50001', '650052', '650057', '65001', '650056', '90094'], 'api-permissions'],
];

export function stepOfToken(cause: string): StepId | undefined {
  const code = cause.replace(/^AADSTS/, '');
  const row = TOKEN_STEPS.find(([codes]) => codes.includes(code));
  if (row !== undefined) return row[1];
  return cause === 'invalid_client' || cause === 'credential'
    ? 'credential'
    : cause === 'unauthorized_client'
      ? 'register-app'
      : undefined;
}

const DENIED = /^(?:ErrorAccessDenied|ErrorImpersonat\w*Denied|ErrorImpersonationFailed|ErrorCreateItemAccessDenied)$/;
const DENIED_BY_GRAPH = /^(?:Authorization_RequestDenied|accessDenied|Forbidden)$/i;
const NO_MAILBOX =
  /^(?:ErrorNonExistentMailbox|ErrorCannotFindUser|ErrorMissingEmailAddress|ErrorNonPrimarySmtpAddress|ErrorInvalidUser|ResourceNotFound|Request_ResourceNotFound|ErrorMailboxConfiguration|ErrorInvalidLicense|ErrorAccountDisabled|MailboxNotFound|MailboxNotEnabledForRESTAPI|MailboxNotHostedInExchangeOnline)$/;

/** Whether the mailbox exists and is closed to the gateway. */
export function isDenied(cause: string): boolean {
  return DENIED.test(cause) || DENIED_BY_GRAPH.test(cause);
}

/** What an account was refused with that looked into a mailbox or sent as it. */
export function stepOfRefusal(account: Account, cause: string): StepId | undefined {
  if (cause === 'ErrorSendAsDenied') return 'send-as';
  if (NO_MAILBOX.test(cause)) return 'mailbox-switches';
  if (account.isOnPremises) return onPremises(cause);
  if (account.way === 'smtp') return /^SMTP 5[35]\d/.test(cause) ? 'mailbox-switches' : undefined;
  if (account.way === 'ews' && (cause === 'HTTP 403' || cause === 'ErrorOrganizationAccessBlocked'))
    return account.hasReached ? 'mailbox-switches' : 'ews-allow-list';
  if (cause === 'HTTP 403') return grant(account);
  if (cause === 'HTTP 401' || cause === 'InvalidAuthenticationToken') return grant(account);
  if (!isDenied(cause)) return undefined;
  // The group is there, and this one is not in it.
  if (account.path === 'rbac' && account.hasReached) return 'group';
  // What is consented to would let it in, unless a policy of old keeps it out.
  return lacking(account).length === 0 && account.path === 'consent' ? 'access-policy' : grant(account);
}

/** Words of exchange/account.ts, for logins. */
function onPremises(cause: string): StepId | undefined {
  if (cause === 'LOGIN_REFUSED' || cause === 'HTTP 401') return 'service-account';
  if (/^NTLM_|^LOGIN_NOT_/.test(cause)) return 'ews-directory';
  if (isDenied(cause)) return 'impersonation';
  return cause === 'HTTP 403' ? 'mailbox-switches' : undefined;
}

function grant({ path }: Account): StepId {
  return path === 'rbac' ? 'roles' : 'api-permissions';
}

/** Permissions of the tenant that an account needs for what it does, and has not. RBAC for Applications shows in no token. */
export function lacking({ way, sends, claims }: Account): readonly string[] {
  const needed = {
    ews: ['full_access_as_app'],
    graph: sends ? ['Mail.Send', 'Mail.ReadWrite'] : ['Mail.ReadWrite'],
    smtp: ['SMTP.SendAsApp'],
  }[way];
  return needed.filter((role) => claims?.roles.includes(role) !== true);
}

/** What lets an application into every mailbox of the tenant. */
export function tenantWide({ claims }: Account): readonly string[] {
  return (claims?.roles ?? []).filter((role) => role === 'full_access_as_app' || role.startsWith('Mail.'));
}
