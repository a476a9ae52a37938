/** The part of the walk-through for Exchange Online that is about EWS and about the single mailboxes. Pure. */
import { quoted } from './powershell.ts';
import type { SetupFacts, Step } from './step.ts';
import { rightsOf, usesEws } from './walkthrough-facts.ts';

export const allowList: Step = {
  id: 'ews-allow-list',
  title: 'Put the app on the EWS allow list',
  why: 'Since 1 October 2026 Exchange Online answers EWS only to apps on the allow list of the tenant. The list is one setting, and the cmdlet **overwrites it whole**: it is read first, and written with this app added. It takes up to 24 hours. On 1 April 2027 EWS in Exchange Online ends for everybody.',
  do: 'The commands add the app to what is there. `EwsEnabled $true` closes EWS to every app that is **not** on the list: what else uses EWS in your tenant has to be on it too. They show how it was before.',
  powershell: `$organization = Get-OrganizationConfig -RetrieveEwsOperationAccessPolicy
$allowed = @(@($organization.EwsAllowedAppIDs) -join ',' -split '[,;\\s]+' | Where-Object { $_ -ne '' })
Write-Host "Before: EwsEnabled = $($organization.EwsEnabled), EwsAllowedAppIDs = $($allowed -join ',')"
if ($organization.EwsEnabled -ne $true -or $allowed -notcontains $ClientId) {
    $wanted = @($allowed | Where-Object { $_ -ne $ClientId }) + $ClientId
    Set-OrganizationConfig -EwsEnabled $true -EwsAllowedAppIDs ($wanted -join ',')
    Get-OrganizationConfig -RetrieveEwsOperationAccessPolicy | Format-List EwsEnabled, EwsAllowedAppIDs
}
# An older list, of programs by their User-Agent, may keep the gateway out too.
$organization | Format-List EwsApplicationAccessPolicy, EwsAllowList, EwsBlockList`,
  undo: 'Take the app off the list; the others stay. `EwsEnabled` is left as it is: the line that began with "Before:" says how it was.',
  undoPowershell: `$organization = Get-OrganizationConfig -RetrieveEwsOperationAccessPolicy
$allowed = @(@($organization.EwsAllowedAppIDs) -join ',' -split '[,;\\s]+' | Where-Object { $_ -ne '' })
if ($allowed -contains $ClientId) {
    Set-OrganizationConfig -EwsAllowedAppIDs (@($allowed | Where-Object { $_ -ne $ClientId }) -join ',')
}`,
};

const EWS_SWITCH = `    if ($switches.EwsEnabled -eq $false) {
        Set-CASMailbox -Identity $mailbox -EwsEnabled $true
        Write-Host "EWS is on now: $mailbox"
    }
    $switches | Format-List Name, EwsEnabled, EwsApplicationAccessPolicy, EwsAllowList, EwsBlockList
`;
const SMTP_SWITCH = `    # Empty: as the organisation has it.
    if ($switches.SmtpClientAuthenticationDisabled -ne $false) {
        Set-CASMailbox -Identity $mailbox -SmtpClientAuthenticationDisabled $false
        Write-Host "SMTP AUTH is on now: $mailbox"
    }
`;

export function switches(facts: SetupFacts): Step {
  const isSmtp = facts.transport === 'smtp';
  const isEws = usesEws(facts);
  const ews =
    'EWS can be off for a mailbox, and is closed to those with a Kiosk, F1 or F3 licence whatever the lists say (shared mailboxes need no licence).';
  const smtp =
    'SMTP submission is off for most tenants as they come. With OAuth it stays: what ends is the login by password. Security defaults of Entra ID turn it off too.';
  const undone = [
    ...(isEws
      ? ['`Set-CASMailbox -Identity <mailbox> -EwsEnabled $false`, where a line said that EWS is on now.']
      : []),
    ...(isSmtp
      ? ['`Set-CASMailbox -Identity <mailbox> -SmtpClientAuthenticationDisabled $null`: as the organisation has it.']
      : []),
  ];
  return {
    id: 'mailbox-switches',
    title: 'Look at the switches of each mailbox',
    why: isSmtp
      ? smtp
      : isEws
        ? ews
        : 'The mailbox has to be there, in Exchange Online, and to have a licence or be a shared one.',
    do: `The commands ${isSmtp || isEws ? 'turn on what is off, and ' : ''}show each mailbox: its kind, its licence, where mail over its limit would be refused.`,
    powershell: `foreach ($mailbox in $Mailboxes) {
    Get-Mailbox -Identity $mailbox | Format-List PrimarySmtpAddress, RecipientTypeDetails, SKUAssigned, MaxSendSize
${isEws || isSmtp ? '    $switches = Get-CASMailbox -Identity $mailbox\n' : ''}${isEws ? EWS_SWITCH : ''}${isSmtp ? SMTP_SWITCH : ''}}`,
    ...(undone.length > 0 ? { undo: undone.join(' ') } : {}),
  };
}

export const sendAs: Step = {
  id: 'send-as',
  title: 'Send As, where From is not the mailbox',
  why: 'Exchange refuses a From that is another address than that of the sending mailbox (`ErrorSendAsDenied`), unless the mailbox has the right. With `header: rewrite` in `senders` it is never needed.',
  do: 'For each such address: `Add-RecipientPermission -Identity <address in From> -Trustee <sending mailbox> -AccessRights SendAs`. An alias of the mailbox needs `Set-OrganizationConfig -SendFromAliasEnabled $true` instead.',
  undo: '`Remove-RecipientPermission -Identity <address in From> -Trustee <sending mailbox> -AccessRights SendAs`.',
};

export function testAccess(facts: SetupFacts): Step {
  const { path, outside, transport } = facts;
  if (path === 'consent') {
    return {
      id: 'test-access',
      title: 'Test who may be reached',
      why: 'Permissions of the tenant reach every mailbox, unless an application access policy says otherwise.',
      do: 'Microsoft offers no test of them by a command; `check`, below, looks into each mailbox. The commands show what a policy, if there is one, says of a mailbox that the gateway is not to reach.',
      powershell: `if ($OutsideMailbox -and @(Get-ApplicationAccessPolicy -ErrorAction SilentlyContinue | Where-Object { $_.AppId -eq $ClientId }).Count -gt 0) {
    Test-ApplicationAccessPolicy -AppId $ClientId -Identity $OutsideMailbox | Format-List Mailbox, AccessCheckResult
}`,
    };
  }
  const amount = rightsOf(facts).length;
  return {
    id: 'test-access',
    title: 'Test who may be reached, and who not',
    why: 'The test knows of a new role at once, while the services take up to two hours.',
    do: `Each mailbox of the gateway has to show \`InScope: True\` for ${amount === 1 ? 'the role' : 'each role'}; one that is not in the group${outside === undefined ? ' (name one with `-OutsideMailbox`)' : `, ${outside},`} has to show \`False\`.${transport === 'smtp' ? ' SMTP submission may want the mailbox to be named by its primary address.' : ''}`,
    powershell: `$roles = @(${rightsOf(facts)
      .map(({ role }) => quoted(`Application ${role}`))
      .join(', ')})
foreach ($mailbox in $Mailboxes) {
    $found = @(Test-ServicePrincipalAuthorization -Identity $ClientId -Resource $mailbox)
    $found | Format-Table RoleName, AllowedResourceScope, InScope
    foreach ($role in $roles) {
        if (@($found | Where-Object { $_.RoleName -eq $role -and [string]$_.InScope -eq 'True' }).Count -eq 0) {
            Write-Warning "$mailbox is not in the scope of $role"
        }
    }
}
if ($OutsideMailbox) {
    $found = @(Test-ServicePrincipalAuthorization -Identity $ClientId -Resource $OutsideMailbox)
    if (@($found | Where-Object { [string]$_.InScope -eq 'True' }).Count -gt 0) {
        Write-Warning "$OutsideMailbox may be reached, and should not"
    } else {
        Write-Host "Not reached, as it should be: $OutsideMailbox"
    }
}`,
  };
}
