/**
 * Whether the application is kept out of mailboxes that are none of the gateway's business: each is looked into by every
 * way that mail is sent or read, and only a clear "access denied" proves it. Never rejects for what it meets.
 * Source: learn.microsoft.com/exchange/permissions-exo/application-rbac,
 * learn.microsoft.com/exchange/permissions-exo/application-access-policies.
 */
import { withNames } from '../exchange/advice.ts';
import type { Got } from '../exchange/mailbox.ts';
import type { Account } from './check-account.ts';
import { isDenied, tenantWide } from './check-step.ts';
import type { Walk } from './check-walk.ts';
import type { Finding, Judged } from './finding.ts';
import { eased } from './finding.ts';

export async function* checkOutside({ accounts, outside }: Walk): AsyncGenerator<Finding> {
  let isTold = false;
  for (const account of accounts) {
    const about = account.about('outside');
    if (outside.length === 0) {
      const wide = tenantWide(account);
      if (wide.length > 0) yield { ...about, mark: 'warn', says: reaching(wide), step: 'roles' };
      isTold ||= wide.length > 0;
      continue;
    }
    for (const mailbox of outside) {
      if (account.way === 'smtp') {
        yield { ...about, mark: 'skip', mailbox, says: 'SMTP cannot be asked without sending a mail' };
        continue;
      }
      if (account.blocked !== undefined) {
        yield { ...about, mark: 'skip', mailbox, says: `not looked into: ${account.blocked}` };
        continue;
      }
      const found = await account.folders(mailbox, ['Inbox']);
      const judged = judge(found, account, mailbox);
      // A way that is not in use may be closed, which proves nothing; one that is open is open, in use or not.
      yield { ...about, ...judged, mailbox, mark: found.ok ? judged.mark : eased(judged.mark, account.isSpare) };
    }
  }
  if (outside.length === 0 && !isTold) yield { what: 'outside', mark: 'warn', says: UNTESTED };
}

function reaching(roles: readonly string[]): string {
  return `the token carries ${roles.join(', ')}: the gateway may use every mailbox of the tenant, unless an application access policy narrows that down. Scope it by roles, and take the permission back. --outside ADDRESS, of a mailbox that it must not reach, tests it`;
}

const UNTESTED =
  'not tested that the gateway is kept out of other mailboxes: name one that it must not reach with --outside ADDRESS, which has to be denied';

function judge(found: Got<object>, account: Account, mailbox: string): Judged {
  if (found.ok)
    return {
      mark: 'fail',
      says: `reached, and must not be. ${scoping(account, mailbox)}`,
      step: account.isOnPremises ? 'impersonation' : 'roles',
    };
  const { cause, reason, text } = found.status;
  if (!isDenied(cause)) {
    const says = `not proved that the gateway is kept out (${cause}): that takes a mailbox that exists, by a way that works. ${reason ?? text}`;
    return { mark: 'fail', says };
  }
  const says = `denied, as it should be (${cause})`;
  // Mail.Send is another permission than the one that this needs.
  return {
    mark: 'ok',
    says: account.way === 'graph' ? `${says}; whether it may send cannot be tried without a mail` : says,
  };
}

/** The roles narrow nothing down as long as the permission of the app registration is consented to: the two add up. */
const RBAC = `Scope the application (RBAC for Applications, Exchange Online PowerShell): New-ManagementScope -Name smtp2exchange -RecipientRestrictionFilter "MemberOfGroup -eq '<DN of a group with the gateway's mailboxes>'" ; New-ManagementRoleAssignment -App <client id> -Role "<role>" -CustomResourceScope smtp2exchange ; then remove the permission for all mailboxes (<permission>) from the app registration, because the two add up`;
const POLICY =
  '. Or keep the permission, and narrow it down with an application access policy: New-ApplicationAccessPolicy -AppId <client id> -PolicyScopeGroupId <group> -AccessRight RestrictAccess ; Test-ApplicationAccessPolicy -AppId <client id> -Identity <mailbox> has to say Denied';
const TEST =
  '. Test-ServicePrincipalAuthorization -Identity <client id> -Resource <mailbox> has to say InScope False. Changes take up to two hours';
const ON_PREMISES =
  "Scope the account (Exchange Management Shell): New-ManagementScope -Name smtp2exchange -RecipientRestrictionFilter \"MemberOfGroup -eq '<DN of a group with the gateway's mailboxes>'\" ; Set-ManagementRoleAssignment <its assignment of ApplicationImpersonation> -CustomRecipientWriteScope smtp2exchange";

function scoping({ isOnPremises, way, route }: Account, mailbox: string): string {
  if (isOnPremises) return ON_PREMISES;
  const isGraph = way === 'graph';
  const advice = isGraph
    ? RBAC.replace('<role>"', 'Application Mail.ReadWrite" (likewise "Application Mail.Send")').replace(
        '<permission>',
        'Mail.ReadWrite, Mail.Send',
      ) +
      TEST +
      POLICY
    : RBAC.replace('<role>', 'Application EWS.AccessAsApp').replace('<permission>', 'full_access_as_app') + TEST;
  return withNames(advice, { mailbox, clientId: route.exchange.clientId });
}
