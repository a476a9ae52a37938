/**
 * Whether the application is kept out of a mailbox that is none of the gateway's business: only a clear "access denied"
 * proves it. Pure; never fails.
 * Source: learn.microsoft.com/exchange/permissions-exo/application-rbac,
 * learn.microsoft.com/exchange/permissions-exo/application-access-policies.
 */
import { withNames } from '../exchange/advice.ts';
import { unreachable } from '../mail/status.ts';
import type { Judged } from './finding.ts';
import { eased } from './finding.ts';

/** What came of looking into it. */
export type Looked =
  | { readonly kind: 'reached' }
  | { readonly kind: 'refused'; readonly cause: string; readonly reason: string }
  /** This way cannot tell. */
  | { readonly kind: 'unknowable'; readonly reason: string };

/** Of EWS and of Graph. A mailbox that does not exist has other words. */
const DENIED = new Set([
  'ErrorAccessDenied',
  'ErrorImpersonateUserDenied',
  'ErrorImpersonationFailed',
  'ErrorImpersonationDenied',
  'Authorization_RequestDenied',
  'AccessDenied',
  'accessDenied',
]);

export interface Around {
  readonly mailbox: string;
  readonly transport: string;
  readonly clientId: string;
  readonly isCloud: boolean;
  /** This way is not in use at present, and may be closed. */
  readonly isSpare: boolean;
}

export function judgedOutside(looked: Looked, around: Around): Judged {
  switch (looked.kind) {
    case 'reached':
      return { mark: 'fail', says: `reached, and must not be. ${scoping(around)}` };
    case 'refused':
      return DENIED.has(looked.cause)
        ? { mark: 'ok', says: `denied, as it should be (${looked.cause})` }
        : {
            mark: eased('fail', around.isSpare),
            says: `not proved that the gateway is kept out. ${looked.cause}: ${looked.reason}. Name a mailbox that exists`,
          };
    case 'unknowable':
      return { mark: 'skip', says: looked.reason };
    default:
      return unreachable(looked);
  }
}

/** The roles narrow nothing down as long as the permission of the app registration is consented to: the two add up. */
const RBAC = `Scope the application (RBAC for Applications, Exchange Online PowerShell): New-ManagementScope -Name smtp2exchange -RecipientRestrictionFilter "MemberOfGroup -eq '<DN of a group with the gateway's mailboxes>'" ; New-ManagementRoleAssignment -App <client id> -Role "<role>" -CustomResourceScope smtp2exchange ; then remove the permission for all mailboxes (<permission>) from the app registration, because the two add up`;
const POLICY =
  '. Or keep the permission, and narrow it down with an application access policy: New-ApplicationAccessPolicy -AppId <client id> -PolicyScopeGroupId <group> -AccessRight RestrictAccess ; Test-ApplicationAccessPolicy -AppId <client id> -Identity <mailbox> has to say Denied';
const TEST =
  '. Test-ServicePrincipalAuthorization -Identity <client id> -Resource <mailbox> has to say InScope False. Changes take up to two hours';
const ON_PREMISES =
  "Scope the account (Exchange Management Shell): New-ManagementScope -Name smtp2exchange -RecipientRestrictionFilter \"MemberOfGroup -eq '<DN of a group with the gateway's mailboxes>'\" ; Set-ManagementRoleAssignment <its assignment of ApplicationImpersonation> -CustomRecipientWriteScope smtp2exchange";

function scoping({ mailbox, transport, clientId, isCloud }: Around): string {
  if (!isCloud) return ON_PREMISES;
  const isGraph = transport === 'graph';
  const advice = isGraph
    ? RBAC.replace('<role>"', 'Application Mail.ReadWrite" (likewise "Application Mail.Send")').replace(
        '<permission>',
        'Mail.ReadWrite, Mail.Send',
      ) +
      TEST +
      POLICY
    : RBAC.replace('<role>', 'Application EWS.AccessAsApp').replace('<permission>', 'full_access_as_app') + TEST;
  return withNames(advice, { mailbox, clientId });
}

export const UNTESTED =
  'not tested that the gateway is kept out of other mailboxes: name one that it must not reach with --outside ADDRESS, which has to be denied';
