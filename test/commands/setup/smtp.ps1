#Requires -Version 5.1
# Written by `setup` of smtp2exchange. The same steps, with reasons: the .md file beside this one.
# Looks before it changes anything, stops at the first error, may be run again.
[CmdletBinding()]
param(
    # Takes back what this script made, the last first.
    [switch]$Undo
    ,
    # Object ID of the enterprise application (not of the app registration).
    [string]$EnterpriseObjectId = '',
    # A mailbox that the gateway is not to reach, for the test.
    [string]$OutsideMailbox = 'ceo@contoso.com'
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# --- connect: Connect to Exchange Online
Write-Host '== connect'
$Name = 'smtp2exchange'
$ClientId = '66666666-7777-8888-9999-000000000000'
$Mailboxes = @('notifications@contoso.com', 'fax@contoso.com')
if ($ClientId -notmatch '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$') {
    throw 'The Application (client) ID is not filled in: run setup again with --client'
}
$isConnected = $false
if (Get-Command -Name Get-ConnectionInformation -ErrorAction SilentlyContinue) {
    $isConnected = @(Get-ConnectionInformation | Where-Object { $_.State -eq 'Connected' }).Count -gt 0
}
if (-not $isConnected) { Connect-ExchangeOnline -ShowBanner:$false }

if ($Undo) {
    # --- roles: Give it the roles, on that scope only
    Write-Host '== roles'
    foreach ($role in @('SMTP.SendAsApp', 'Mail.ReadWrite')) {
        $assignment = "$Name $role"
        if (Get-ManagementRoleAssignment | Where-Object { $_.Name -eq $assignment }) {
            Remove-ManagementRoleAssignment -Identity $assignment -Confirm:$false
        }
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

    # --- service-principal: Make the app known to Exchange
    Write-Host '== service-principal'
    $principal = Get-ServicePrincipal | Where-Object { $_.AppId -eq $ClientId }
    if ($principal) { Remove-ServicePrincipal -Identity $principal.ObjectId -Confirm:$false }

    Write-Host 'Taken back. What is left is done by hand: see the .md file'
    return
}

# --- service-principal: Make the app known to Exchange
Write-Host '== service-principal'
$principal = Get-ServicePrincipal | Where-Object { $_.AppId -eq $ClientId }
if (-not $principal) {
    if (-not $EnterpriseObjectId) { $EnterpriseObjectId = Read-Host 'Object ID of the enterprise application' }
    $principal = New-ServicePrincipal -AppId $ClientId -ObjectId ([guid]$EnterpriseObjectId).ToString() -DisplayName $Name
} elseif ($EnterpriseObjectId -and $principal.ObjectId -ne $EnterpriseObjectId) {
    throw "Exchange knows the app with the object id $($principal.ObjectId), not $EnterpriseObjectId. Which one is the enterprise application's? If Exchange is wrong: Remove-ServicePrincipal, and run this again"
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

# --- roles: Give it the roles, on that scope only
Write-Host '== roles'
$principal = Get-ServicePrincipal | Where-Object { $_.AppId -eq $ClientId }
if (-not $principal) { throw 'Exchange does not know the app. Do the step service-principal first' }
foreach ($role in @('SMTP.SendAsApp', 'Mail.ReadWrite')) {
    $assignment = "$Name $role"
    if (-not (Get-ManagementRoleAssignment | Where-Object { $_.Name -eq $assignment })) {
        New-ManagementRoleAssignment -Name $assignment -App $principal.ObjectId -Role "Application $role" -CustomResourceScope $Name | Out-Null
        Write-Host "Assigned: Application $role"
    }
}

# --- access-policy: Look for an old application access policy
Write-Host '== access-policy'
$policies = @(Get-ApplicationAccessPolicy -ErrorAction SilentlyContinue | Where-Object { $_.AppId -eq $ClientId })
if ($policies.Count -eq 0) {
    Write-Host 'No application access policy for this app'
} else {
    $policies | Format-List Identity, AccessRight, ScopeName, Description
    foreach ($mailbox in $Mailboxes) {
        Test-ApplicationAccessPolicy -AppId $ClientId -Identity $mailbox | Format-List Mailbox, AccessCheckResult
    }
}

# --- mailbox-switches: Look at the switches of each mailbox
Write-Host '== mailbox-switches'
foreach ($mailbox in $Mailboxes) {
    Get-Mailbox -Identity $mailbox | Format-List PrimarySmtpAddress, RecipientTypeDetails, SKUAssigned, MaxSendSize
    $switches = Get-CASMailbox -Identity $mailbox
    # Empty: as the organisation has it.
    if ($switches.SmtpClientAuthenticationDisabled -ne $false) {
        Set-CASMailbox -Identity $mailbox -SmtpClientAuthenticationDisabled $false
        Write-Host "SMTP AUTH is on now: $mailbox"
    }
}

# --- test-access: Test who may be reached, and who not
Write-Host '== test-access'
$roles = @('Application SMTP.SendAsApp', 'Application Mail.ReadWrite')
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
}

Write-Host 'Done'
