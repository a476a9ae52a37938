/** What follows from the facts of a set-up: the rights that are needed, the mailboxes, the names. Pure; never fails. */
import type { Step, SetupFacts } from './step.ts';

export interface Right {
  /** As RBAC for Applications names it, without "Application ". */
  readonly role: string;
  /** As the API permissions of an app registration name it. */
  readonly permission: string;
  readonly api: 'Office 365 Exchange Online' | 'Microsoft Graph';
}

const EWS: Right = {
  role: 'EWS.AccessAsApp',
  permission: 'full_access_as_app',
  api: 'Office 365 Exchange Online',
};
const SEND: Right = { role: 'Mail.Send', permission: 'Mail.Send', api: 'Microsoft Graph' };
const READ: Right = { role: 'Mail.ReadWrite', permission: 'Mail.ReadWrite', api: 'Microsoft Graph' };
const SMTP: Right = { role: 'SMTP.SendAsApp', permission: 'SMTP.SendAsApp', api: 'Office 365 Exchange Online' };

/** By SMTP nothing can be picked up: that goes by Graph. */
export function rightsOf({ transport, pickups, reads }: SetupFacts): readonly Right[] {
  const sending = { ews: [EWS], graph: [SEND, READ], auto: [EWS, SEND, READ], smtp: [SMTP] } as const;
  const reading = { ews: [EWS], graph: [READ], auto: [EWS, READ] } as const;
  const usual = transport === 'smtp' ? 'graph' : transport;
  const all = pickups.length === 0 ? [] : (reads ?? [usual]).flatMap((way) => [...reading[way]]);
  return [...new Set<Right>([...sending[transport], ...all])];
}

export function usesEws(facts: SetupFacts): boolean {
  return facts.cloud === 'onPremises' || rightsOf(facts).includes(EWS);
}

/** All that the gateway has to reach; none twice. */
export function mailboxesOf({ mailboxes, pickups }: SetupFacts): readonly string[] {
  return [...new Set([...mailboxes, ...pickups].map((address) => address.toLowerCase()))];
}

/** The group with the mailboxes, the same at Exchange Online and on-premises. */
export const groupStep: Step = {
  id: 'group',
  title: 'Make the group of its mailboxes',
  why: 'A mail-enabled security group holds the mailboxes that the gateway may use: those that send and those that are picked up from. Who is not in it, it cannot reach. Only direct members count.',
  do: 'The commands make the group, hide it from the address book, and put in whoever is missing; members it has already stay. A mailbox that is added later takes up to two hours to count.',
  powershell: `$group = @(Get-DistributionGroup -Filter ("Name -eq '" + $Name.Replace("'", "''") + "'"))
if ($group.Count -gt 1) { throw "There are several groups called $Name. Run setup with another --group" }
if ($group.Count -eq 0) {
    $group = @(New-DistributionGroup -Name $Name -Type Security -MemberJoinRestriction Closed -IgnoreNamingPolicy -Notes 'Made by setup of smtp2exchange')
    Set-DistributionGroup -Identity $group[0].DistinguishedName -HiddenFromAddressListsEnabled $true -BypassSecurityGroupManagerCheck
}
if ([string]$group[0].RecipientTypeDetails -notlike '*Security*') { throw "$Name is no security group. Run setup with another --group" }
$members = @(Get-DistributionGroupMember -Identity $group[0].DistinguishedName -ResultSize Unlimited |
    ForEach-Object { [string]$_.PrimarySmtpAddress })
foreach ($mailbox in $Mailboxes) {
    # Under its primary address, so that an alias is not added twice.
    $primary = [string](Get-Mailbox -Identity $mailbox).PrimarySmtpAddress
    if ($members -notcontains $primary) {
        Add-DistributionGroupMember -Identity $group[0].DistinguishedName -Member $primary -BypassSecurityGroupManagerCheck
        Write-Host "Added to the group: $primary"
    }
}`,
  undo: 'Remove the group, if the script made it. Its mailboxes stay.',
  undoPowershell: `$group = @(Get-DistributionGroup -Filter ("Name -eq '" + $Name.Replace("'", "''") + "'"))
foreach ($one in $group) {
    if ([string](Get-Group -Identity $one.DistinguishedName).Notes -like 'Made by setup of smtp2exchange*') {
        Remove-DistributionGroup -Identity $one.DistinguishedName -BypassSecurityGroupManagerCheck -Confirm:$false
    } else {
        Write-Warning "The group $Name was not made by this script, and stays"
    }
}`,
};

export const scopeStep: Step = {
  id: 'scope',
  title: 'Make the scope: the members of that group',
  why: 'A management scope says on which mailboxes a role counts. This one is the group, whoever is in it.',
  do: 'The commands make the scope once. One of the same name with another filter is left as it is, and shown.',
  powershell: `$group = @(Get-DistributionGroup -Filter ("Name -eq '" + $Name.Replace("'", "''") + "'"))
if ($group.Count -ne 1) { throw "There is not one group called $Name. Do the step group first" }
$dn = [string]$group[0].DistinguishedName
$filter = "MemberOfGroup -eq '" + $dn.Replace("'", "''") + "'"
$scope = Get-ManagementScope | Where-Object { $_.Name -eq $Name }
if (-not $scope) {
    New-ManagementScope -Name $Name -RecipientRestrictionFilter $filter | Out-Null
} elseif (-not ([string]$scope.RecipientFilter).Contains($dn.Replace("'", "''"))) {
    throw "The scope $Name is there with another filter: $($scope.RecipientFilter). Run setup with another --group"
}`,
  undo: 'Remove the scope, after the roles that use it.',
  undoPowershell: `if (Get-ManagementScope | Where-Object { $_.Name -eq $Name }) {
    Remove-ManagementScope -Identity $Name -Confirm:$false
}`,
};

export function checkStep({ configFile, outside }: SetupFacts): Step {
  const shell = (word: string): string =>
    /^[\w./@+:-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
  const more = outside === undefined ? '' : ` --outside ${shell(outside)}`;
  const config = configFile === 'config.yaml' ? '' : ` --config ${shell(configFile)}`;
  return {
    id: 'check',
    title: 'See whether it works',
    why: '`check` walks the same way as the mail: configuration, token, mailboxes. What is wrong it names, with the step of this walk-through that mends it.',
    do: [
      'On the machine of the gateway, in its folder:',
      '',
      '```',
      `npm start -- check${config}${more}`,
      `npm start -- run${config}`,
      `npm start -- send --to <somebody>${config}`,
      '```',
    ].join('\n'),
  };
}
