/** The walk-through for Exchange on servers of one's own: a service account that may act for mailboxes. Pure. */
import { quoted, quotedList } from './powershell.ts';
import type { SetupFacts, Step } from './step.ts';
import { checkStep, groupStep, mailboxesOf, scopeStep } from './walkthrough-facts.ts';

export function serverSteps(facts: SetupFacts): readonly Step[] {
  return [
    account(facts),
    connect(facts),
    groupStep,
    scopeStep,
    impersonation,
    directory(facts),
    switches,
    checkStep(facts),
  ];
}

function account({ secretFile, account: { username, login } = NOBODY }: SetupFacts): Step {
  return {
    id: 'service-account',
    title: 'Make the service account',
    why: 'Exchange on its own servers gives no tokens to apps: the gateway logs in as an account, and acts for the mailboxes.',
    do: `Make the account \`${username}\` in Active Directory. It needs no mailbox, no further right, and no right to log in at machines; let its password not expire, or renew it in time. Write the password, as one line, into \`${secretFile}\`, which only the gateway's user may read. It logs in by ${login === 'ntlm' ? 'NTLM' : 'Basic'}.`,
    undo: 'Disable or delete the account, and delete the file with its password.',
  };
}

const NOBODY = { username: 'svc-gateway', login: 'ntlm' } as const;

function connect(facts: SetupFacts): Step {
  const { name, account: { username } = NOBODY } = facts;
  return {
    id: 'connect',
    title: 'Open the Exchange Management Shell',
    why: 'The commands below are for the Exchange Management Shell of a server, run as somebody in Organization Management. All of them, checked and in order, are in the script beside this file.',
    do: 'These are the names that the commands use:',
    powershell: `$Name = ${quoted(name)}
$Account = ${quoted(username)}
$Mailboxes = ${quotedList(mailboxesOf(facts))}
if (-not (Get-Command -Name Get-ManagementScope -ErrorAction SilentlyContinue)) {
    throw 'This is not the Exchange Management Shell. Open it on a server, and run this there'
}`,
  };
}

const impersonation: Step = {
  id: 'impersonation',
  title: 'Let the account act for them: ApplicationImpersonation',
  why: 'The role lets the account open and send as every mailbox of the scope, and of no other. Without a scope it would be for all.',
  do: 'The commands assign the role once.',
  powershell: `if (-not (Get-ManagementRoleAssignment | Where-Object { $_.Name -eq $Name })) {
    New-ManagementRoleAssignment -Name $Name -Role ApplicationImpersonation -User $Account -CustomRecipientWriteScope $Name | Out-Null
}
Get-ManagementRoleAssignment -Identity $Name | Format-List Role, RoleAssigneeName, CustomRecipientWriteScope`,
  undo: 'Remove the assignment.',
  undoPowershell: `if (Get-ManagementRoleAssignment | Where-Object { $_.Name -eq $Name }) {
    Remove-ManagementRoleAssignment -Identity $Name -Confirm:$false
}`,
};

function directory({ account: { login } = NOBODY }: SetupFacts): Step {
  const basic = `# Basic is off as Exchange comes. At each server that the gateway's address leads to:
Get-WebServicesVirtualDirectory | Where-Object { -not $_.BasicAuthentication } |
    Set-WebServicesVirtualDirectory -BasicAuthentication $true
`;
  return {
    id: 'ews-directory',
    title: 'Let EWS take this login',
    why:
      login === 'basic'
        ? 'EWS takes Basic only where it is turned on. The password crosses the network inside TLS.'
        : 'NTLM is on as Exchange comes. Extended Protection (on by default since 2019 CU14) refuses it where something between ends TLS with another certificate: let the gateway reach Exchange past that, or take Basic.',
    do: 'The commands show what each server offers.',
    powershell: `${login === 'basic' ? basic : ''}Get-WebServicesVirtualDirectory | Format-List Server, InternalUrl, ExternalUrl, *Authentication, ExtendedProtection*`,
    ...(login === 'basic'
      ? {
          undo: 'Turn Basic off again, unless others use it: `Get-WebServicesVirtualDirectory | Set-WebServicesVirtualDirectory -BasicAuthentication $false`.',
        }
      : {}),
  };
}

const switches: Step = {
  id: 'mailbox-switches',
  title: 'Look at the switches of each mailbox',
  why: 'EWS can be off for a mailbox.',
  do: 'The commands turn it on where it is off. The account is throttled as any other: for more than a few messages a second give it a policy of its own (`New-ThrottlingPolicy`, `Set-ThrottlingPolicyAssociation`).',
  powershell: `foreach ($mailbox in $Mailboxes) {
    if ((Get-CASMailbox -Identity $mailbox).EwsEnabled -eq $false) {
        Set-CASMailbox -Identity $mailbox -EwsEnabled $true
        Write-Host "EWS is on now: $mailbox"
    }
}`,
  undo: 'Where a line said that EWS is on now: `Set-CASMailbox -Identity <mailbox> -EwsEnabled $false`.',
};
