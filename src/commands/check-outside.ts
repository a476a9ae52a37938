/**
 * Whether the application is kept out of mailboxes that are none of the gateway's business: each is looked into by every
 * way that mail is sent or read, and only a clear "access denied" proves it. Never rejects for what it meets.
 * Source: learn.microsoft.com/exchange/permissions-exo/application-rbac,
 * learn.microsoft.com/exchange/permissions-exo/application-access-policies.
 */
import { waysOf } from '../assembly/way-out.ts';
import type { Config, RouteConfig } from '../config/config.ts';
import { withNames } from '../exchange/advice.ts';
import type { Got } from '../exchange/mailbox.ts';
import type { Judged, Tell } from './finding.ts';
import { eased, timed } from './finding.ts';
import type { Reading, Way } from './reading.ts';
import { readingWays, reasonOf, wayInUse } from './reading.ts';

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

export async function checkOutside(
  route: RouteConfig,
  { pickups, spool }: Config,
  outside: readonly string[],
  reading: Reading,
  tell: Tell,
): Promise<void> {
  const { name, exchange } = route;
  const sending = waysOf(route).map((one) => one.exchange.transport);
  const reads = pickups.filter((pickup) => pickup.route === name).map(({ transport }) => transport);
  const inUse = await wayInUse(name, spool.sqlite);
  for (const transport of new Set([...sending, ...reads.flatMap(readingWays)])) {
    const about = { what: 'outside', route: name, transport };
    for (const mailbox of outside) {
      if (transport !== 'ews' && transport !== 'graph') {
        tell({ ...about, mark: 'skip', mailbox, says: 'SMTP cannot be asked without sending a mail' });
        continue;
      }
      const { value, seconds } = await timed(() =>
        reading.look(transport, mailbox, (box, signal) => box.folders(['Inbox'], [], signal)),
      );
      if (value === undefined) {
        tell({ ...about, mark: 'skip', mailbox, says: 'not looked into: there is no token' });
        continue;
      }
      const isChosen = [exchange.transport, ...reads].includes(transport);
      const found = judged(value, route, transport, mailbox);
      // A way that is not in use may be closed, which proves nothing; one that is open is open, in use or not.
      const mark = value.ok ? found.mark : eased(found.mark, !isChosen && transport !== inUse);
      tell({ ...about, ...found, mark, mailbox, seconds });
    }
  }
}

function judged(found: Got<object>, route: RouteConfig, way: Way, mailbox: string): Judged {
  if (found.ok) return { mark: 'fail', says: `reached, and must not be. ${scoping(route, way, mailbox)}` };
  const { cause } = found.status;
  if (!DENIED.has(cause)) {
    const says = `not proved that the gateway is kept out (${cause}): that takes a mailbox that exists, by a way that works. ${reasonOf(found.status)}`;
    return { mark: 'fail', says };
  }
  const says = `denied, as it should be (${cause})`;
  // Mail.Send is another permission than the one that this needs.
  return { mark: 'ok', says: way === 'graph' ? `${says}; whether it may send cannot be tried without a mail` : says };
}

/** The roles narrow nothing down as long as the permission of the app registration is consented to: the two add up. */
const RBAC = `Scope the application (RBAC for Applications, Exchange Online PowerShell): New-ManagementScope -Name smtp2exchange -RecipientRestrictionFilter "MemberOfGroup -eq '<DN of a group with the gateway's mailboxes>'" ; New-ManagementRoleAssignment -App <client id> -Role "<role>" -CustomResourceScope smtp2exchange ; then remove the permission for all mailboxes (<permission>) from the app registration, because the two add up`;
const POLICY =
  '. Or keep the permission, and narrow it down with an application access policy: New-ApplicationAccessPolicy -AppId <client id> -PolicyScopeGroupId <group> -AccessRight RestrictAccess ; Test-ApplicationAccessPolicy -AppId <client id> -Identity <mailbox> has to say Denied';
const TEST =
  '. Test-ServicePrincipalAuthorization -Identity <client id> -Resource <mailbox> has to say InScope False. Changes take up to two hours';
const ON_PREMISES =
  "Scope the account (Exchange Management Shell): New-ManagementScope -Name smtp2exchange -RecipientRestrictionFilter \"MemberOfGroup -eq '<DN of a group with the gateway's mailboxes>'\" ; Set-ManagementRoleAssignment <its assignment of ApplicationImpersonation> -CustomRecipientWriteScope smtp2exchange";

function scoping({ exchange: { clientId, credential } }: RouteConfig, way: Way, mailbox: string): string {
  if (credential.kind === 'account') return ON_PREMISES;
  const isGraph = way === 'graph';
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
