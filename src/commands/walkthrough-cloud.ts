/**
 * The walk-through for Exchange Online: an app registration, let in by scoped roles or by permissions for the tenant. The
 * wording of the pages is that of entra.microsoft.com in autumn 2026. Pure.
 */
import { quoted, quotedList } from './powershell.ts';
import type { SetupFacts, Step } from './step.ts';
import { checkStep, groupStep, mailboxesOf, rightsOf, scopeStep, usesEws } from './walkthrough-facts.ts';
import { allowList, sendAs, switches, testAccess } from './walkthrough-mailboxes.ts';

export function cloudSteps(facts: SetupFacts): readonly Step[] {
  const { path, transport } = facts;
  const scoped = [servicePrincipal, groupStep, scopeStep, roles(facts)];
  const wide = [apiPermissions(facts), ...(transport === 'smtp' ? [servicePrincipal, mailboxPermissions] : [])];
  return [
    registerApp(facts),
    credential(facts),
    connect(facts),
    ...(path === 'rbac' ? scoped : wide),
    accessPolicy,
    ...(usesEws(facts) ? [allowList] : []),
    switches(facts),
    sendAs,
    testAccess(facts),
    checkStep(facts),
  ];
}

const PORTALS = {
  worldwide: 'https://entra.microsoft.com',
  gccHigh: 'https://entra.microsoft.us',
  dod: 'https://entra.microsoft.us',
  china: 'https://entra.microsoftonline.cn',
  onPremises: '',
} as const;

const UNKNOWN_TENANT = '<Directory (tenant) ID>';
const UNKNOWN_CLIENT = '<Application (client) ID>';

function registerApp({
  cloud,
  name,
  tenantId = UNKNOWN_TENANT,
  clientId = UNKNOWN_CLIENT,
  configFile,
}: SetupFacts): Step {
  return {
    id: 'register-app',
    title: 'Register the app',
    why: 'The gateway asks Entra ID for tokens as an application of its own. Nobody signs in with it.',
    do: `In the Microsoft Entra admin center (${PORTALS[cloud]}): *Entra ID* → *App registrations* → *New registration*. Name: for example \`${name}\`. *Accounts in this organizational directory only*. No redirect URI. *Register*.

Its overview page shows what \`${configFile}\` needs:

- *Application (client) ID*: \`${clientId}\` (\`exchange.clientId\`)
- *Directory (tenant) ID*: \`${tenantId}\` (\`exchange.tenantId\`)`,
    undo: '*App registrations* → the app → *Delete*. Its tokens end within 90 minutes.',
  };
}

function credential({ credential: kind, certificate, secretFile, configFile }: SetupFacts): Step {
  if (kind === 'secret') {
    return {
      id: 'credential',
      title: 'Give it a client secret',
      why: 'The secret is how the gateway proves that it is the app. It ends after two years at most; a certificate, which never crosses the network, is the better choice.',
      do: `The app → *Certificates & secrets* → *Client secrets* → *New client secret*. Copy its **Value** (not its *Secret ID*) at once: it is shown only now. Write it, as one line, into \`${secretFile}\`, which only the gateway's user may read. Note its end as \`exchange.expires\` in \`${configFile}\`: there is an alarm before it.`,
      undo: '*Certificates & secrets* → *Client secrets* → delete it. Delete the file too.',
    };
  }
  const facts =
    certificate === undefined
      ? 'the file `exchange/cert.pem`'
      : `\`${certificate.file}\` (thumbprint \`${certificate.thumbprint}\`, until ${certificate.notAfter.toISOString().slice(0, 10)})`;
  return {
    id: 'credential',
    title: 'Give it the certificate',
    why: 'The gateway proves that it is the app by signing with a key that never leaves this machine. The certificate is the public half, and no secret.',
    do: `The app → *Certificates & secrets* → *Certificates* → *Upload certificate*: ${facts}. The page has to show the same thumbprint afterwards. The private key beside it stays where it is: only the gateway's user may read it.`,
    undo: '*Certificates & secrets* → *Certificates* → delete it. Delete the private key too.',
  };
}

const ENVIRONMENTS = {
  worldwide: '',
  gccHigh: ' -ExchangeEnvironmentName O365USGovGCCHigh',
  dod: ' -ExchangeEnvironmentName O365USGovDoD',
  china: ' -ExchangeEnvironmentName O365China',
  onPremises: '',
} as const;

function connect(facts: SetupFacts): Step {
  const { cloud, name, clientId = UNKNOWN_CLIENT } = facts;
  return {
    id: 'connect',
    title: 'Connect to Exchange Online',
    why: 'The commands below are for Exchange Online PowerShell, run by an Exchange administrator (for the roles: in *Organization Management*). All of them, checked and in order, are in the script beside this file.',
    do: 'Once for each machine: `Install-Module ExchangeOnlineManagement`. These are the names that the commands use:',
    powershell: `$Name = ${quoted(name)}
$ClientId = ${quoted(clientId)}
$Mailboxes = ${quotedList(mailboxesOf(facts))}
if ($ClientId -notmatch '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$') {
    throw 'The Application (client) ID is not filled in: run setup again with --client'
}
$isConnected = $false
if (Get-Command -Name Get-ConnectionInformation -ErrorAction SilentlyContinue) {
    $isConnected = @(Get-ConnectionInformation | Where-Object { $_.State -eq 'Connected' }).Count -gt 0
}
if (-not $isConnected) { Connect-ExchangeOnline -ShowBanner:$false${ENVIRONMENTS[cloud]} }`,
  };
}

/** `$EnterpriseObjectId` is a parameter of the script. */
const servicePrincipal: Step = {
  id: 'service-principal',
  title: 'Make the app known to Exchange',
  why: 'Exchange keeps a pointer of its own to the app. It wants the object id of the **enterprise application**, which is another than that of the app registration: with the wrong one everything seems to work, and nothing does.',
  do: 'Entra admin center → *Entra ID* → *Enterprise apps* → search the client id → *Overview*: copy the **Object ID** shown there. The script asks for it unless it has it (`-EnterpriseObjectId`).',
  powershell: `$principal = Get-ServicePrincipal | Where-Object { $_.AppId -eq $ClientId }
if (-not $principal) {
    if (-not $EnterpriseObjectId) { $EnterpriseObjectId = Read-Host 'Object ID of the enterprise application' }
    $principal = New-ServicePrincipal -AppId $ClientId -ObjectId ([guid]$EnterpriseObjectId).ToString() -DisplayName $Name
} elseif ($EnterpriseObjectId -and $principal.ObjectId -ne $EnterpriseObjectId) {
    throw "Exchange knows the app with the object id $($principal.ObjectId), not $EnterpriseObjectId. Which one is the enterprise application's? If Exchange is wrong: Remove-ServicePrincipal, and run this again"
}`,
  undo: 'Remove the pointer. The app itself stays.',
  undoPowershell: `$principal = Get-ServicePrincipal | Where-Object { $_.AppId -eq $ClientId }
if ($principal) { Remove-ServicePrincipal -Identity $principal.ObjectId -Confirm:$false }`,
};

function roles(facts: SetupFacts): Step {
  const names = rightsOf(facts).map(({ role }) => role);
  return {
    id: 'roles',
    title: 'Give it the roles, on that scope only',
    why: `RBAC for Applications: ${names.map((name) => `\`Application ${name}\``).join(', ')}, on the mailboxes of the scope. It takes 30 minutes to 2 hours until mail flows; the test below shows it at once.`,
    do: 'The app has **no** API permission in Entra ID for this, and must have none: *API permissions* of the app → remove whatever is there for Exchange and for mail. A permission there is for every mailbox, whatever the scope says. The token then names no roles, which is right.',
    powershell: `$principal = Get-ServicePrincipal | Where-Object { $_.AppId -eq $ClientId }
if (-not $principal) { throw 'Exchange does not know the app. Do the step service-principal first' }
foreach ($role in ${quotedList(names)}) {
    $assignment = "$Name $role"
    if (-not (Get-ManagementRoleAssignment | Where-Object { $_.Name -eq $assignment })) {
        New-ManagementRoleAssignment -Name $assignment -App $principal.ObjectId -Role "Application $role" -CustomResourceScope $Name | Out-Null
        Write-Host "Assigned: Application $role"
    }
}`,
    undo: 'Remove the assignments.',
    undoPowershell: `foreach ($role in ${quotedList(names)}) {
    $assignment = "$Name $role"
    if (Get-ManagementRoleAssignment | Where-Object { $_.Name -eq $assignment }) {
        Remove-ManagementRoleAssignment -Identity $assignment -Confirm:$false
    }
}`,
  };
}

function apiPermissions(facts: SetupFacts): Step {
  const rights = rightsOf(facts);
  const lines = rights.map(({ api, permission }) =>
    api === 'Microsoft Graph'
      ? `- *Microsoft Graph* → *Application permissions* → \`${permission}\``
      : `- *APIs my organization uses* → search **Office 365 Exchange Online** (it is in no other list) → *Application permissions* → \`${permission}\``,
  );
  const isEws = rights.some(({ permission }) => permission === 'full_access_as_app');
  return {
    id: 'api-permissions',
    title: 'Grant it the permissions, for the whole tenant',
    why: 'With these the app may use **every** mailbox of the tenant. RBAC for Applications (`setup --path rbac`) lets it use some only.',
    do: `The app → *API permissions* → *Add a permission*, for each of:

${lines.join('\n')}

Then **Grant admin consent**; each line has to show a green mark. What is not used (\`User.Read\`) may go.${
      isEws
        ? '\n\nIf the entry is missing: *Manifest* → `requiredResourceAccess`: `resourceAppId` 00000002-0000-0ff1-ce00-000000000000 with the `resourceAccess` id dc890d15-9560-4a4c-9b7f-a736ec74ec40, type Role; save, then grant.'
        : ''
    }`,
    undo: '*API permissions* → each → *Revoke admin consent*, then *Remove permission*.',
  };
}

const mailboxPermissions: Step = {
  id: 'mailbox-permissions',
  title: 'Let it into each mailbox',
  why: 'With a permission of the tenant, SMTP submission also wants the app to have rights on the mailbox that it logs in as.',
  do: 'The commands give the app Full Access and Send As on each mailbox.',
  powershell: `$principal = Get-ServicePrincipal | Where-Object { $_.AppId -eq $ClientId }
foreach ($mailbox in $Mailboxes) {
    Add-MailboxPermission -Identity $mailbox -User $principal.ObjectId -AccessRights FullAccess -AutoMapping $false | Out-Null
    Add-RecipientPermission -Identity $mailbox -Trustee $principal.ObjectId -AccessRights SendAs -Confirm:$false | Out-Null
}`,
  undo: 'Take the rights back.',
  undoPowershell: `$principal = Get-ServicePrincipal | Where-Object { $_.AppId -eq $ClientId }
if ($principal) {
    foreach ($mailbox in $Mailboxes) {
        Remove-MailboxPermission -Identity $mailbox -User $principal.ObjectId -AccessRights FullAccess -Confirm:$false
        Remove-RecipientPermission -Identity $mailbox -Trustee $principal.ObjectId -AccessRights SendAs -Confirm:$false
    }
}`,
};

const accessPolicy: Step = {
  id: 'access-policy',
  title: 'Look for an old application access policy',
  why: 'Tenants that have such policies (the way before RBAC for Applications) may keep the app out by one. Microsoft says to make no new ones.',
  do: 'The commands show the policies for this app, and what they mean for each mailbox. `AccessCheckResult: Denied` with a policy `RestrictAccess` of another group: put the mailboxes into that group, or remove the policy. Changes take about 30 minutes.',
  powershell: `$policies = @(Get-ApplicationAccessPolicy -ErrorAction SilentlyContinue | Where-Object { $_.AppId -eq $ClientId })
if ($policies.Count -eq 0) {
    Write-Host 'No application access policy for this app'
} else {
    $policies | Format-List Identity, AccessRight, ScopeName, Description
    foreach ($mailbox in $Mailboxes) {
        Test-ApplicationAccessPolicy -AppId $ClientId -Identity $mailbox | Format-List Mailbox, AccessCheckResult
    }
}`,
};
