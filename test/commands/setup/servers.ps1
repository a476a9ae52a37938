#Requires -Version 5.1
# Written by `setup` of smtp2exchange. The same steps, with reasons: the .md file beside this one.
# Looks before it changes anything, stops at the first error, may be run again.
[CmdletBinding()]
param(
    # Takes back what this script made, the last first.
    [switch]$Undo
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# --- connect: Open the Exchange Management Shell
Write-Host '== connect'
$Name = 'smtp2exchange'
$Account = 'CONTOSO\svc-gateway'
$Mailboxes = @('notifications@contoso.com', 'fax@contoso.com')
if (-not (Get-Command -Name Get-ManagementScope -ErrorAction SilentlyContinue)) {
    throw 'This is not the Exchange Management Shell. Open it on a server, and run this there'
}

if ($Undo) {
    # --- impersonation: Let the account act for them: ApplicationImpersonation
    Write-Host '== impersonation'
    if (Get-ManagementRoleAssignment | Where-Object { $_.Name -eq $Name }) {
        Remove-ManagementRoleAssignment -Identity $Name -Confirm:$false
    }

    # --- scope: Make the scope: the members of that group
    Write-Host '== scope'
    if (Get-ManagementScope | Where-Object { $_.Name -eq $Name }) {
        Remove-ManagementScope -Identity $Name -Confirm:$false
    }

    # --- group: Make the group of its mailboxes
    Write-Host '== group'
    $group = @(Get-DistributionGroup -Filter ("Name -eq '" + $Name.Replace("'", "''") + "'"))
    foreach ($one in $group) {
        if ([string](Get-Group -Identity $one.DistinguishedName).Notes -like 'Made by setup of smtp2exchange*') {
            Remove-DistributionGroup -Identity $one.DistinguishedName -BypassSecurityGroupManagerCheck -Confirm:$false
        } else {
            Write-Warning "The group $Name was not made by this script, and stays"
        }
    }

    Write-Host 'Taken back. What is left is done by hand: see the .md file'
    return
}

# --- group: Make the group of its mailboxes
Write-Host '== group'
$group = @(Get-DistributionGroup -Filter ("Name -eq '" + $Name.Replace("'", "''") + "'"))
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
}

# --- scope: Make the scope: the members of that group
Write-Host '== scope'
$group = @(Get-DistributionGroup -Filter ("Name -eq '" + $Name.Replace("'", "''") + "'"))
if ($group.Count -ne 1) { throw "There is not one group called $Name. Do the step group first" }
$dn = [string]$group[0].DistinguishedName
$filter = "MemberOfGroup -eq '" + $dn.Replace("'", "''") + "'"
$scope = Get-ManagementScope | Where-Object { $_.Name -eq $Name }
if (-not $scope) {
    New-ManagementScope -Name $Name -RecipientRestrictionFilter $filter | Out-Null
} elseif (-not ([string]$scope.RecipientFilter).Contains($dn.Replace("'", "''"))) {
    throw "The scope $Name is there with another filter: $($scope.RecipientFilter). Run setup with another --group"
}

# --- impersonation: Let the account act for them: ApplicationImpersonation
Write-Host '== impersonation'
if (-not (Get-ManagementRoleAssignment | Where-Object { $_.Name -eq $Name })) {
    New-ManagementRoleAssignment -Name $Name -Role ApplicationImpersonation -User $Account -CustomRecipientWriteScope $Name | Out-Null
}
Get-ManagementRoleAssignment -Identity $Name | Format-List Role, RoleAssigneeName, CustomRecipientWriteScope

# --- ews-directory: Let EWS take this login
Write-Host '== ews-directory'
Get-WebServicesVirtualDirectory | Format-List Server, InternalUrl, ExternalUrl, *Authentication, ExtendedProtection*

# --- mailbox-switches: Look at the switches of each mailbox
Write-Host '== mailbox-switches'
foreach ($mailbox in $Mailboxes) {
    if ((Get-CASMailbox -Identity $mailbox).EwsEnabled -eq $false) {
        Set-CASMailbox -Identity $mailbox -EwsEnabled $true
        Write-Host "EWS is on now: $mailbox"
    }
}

Write-Host 'Done'
