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
    # --- ews-allow-list: Put the app on the EWS allow list
    Write-Host '== ews-allow-list'
    $organization = Get-OrganizationConfig -RetrieveEwsOperationAccessPolicy
    $allowed = @(@($organization.EwsAllowedAppIDs) -join ',' -split '[,;\s]+' | Where-Object { $_ -ne '' })
    if ($allowed -contains $ClientId) {
        Set-OrganizationConfig -EwsAllowedAppIDs (@($allowed | Where-Object { $_ -ne $ClientId }) -join ',')
    }

    Write-Host 'Taken back. What is left is done by hand: see the .md file'
    return
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

# --- ews-allow-list: Put the app on the EWS allow list
Write-Host '== ews-allow-list'
$organization = Get-OrganizationConfig -RetrieveEwsOperationAccessPolicy
$allowed = @(@($organization.EwsAllowedAppIDs) -join ',' -split '[,;\s]+' | Where-Object { $_ -ne '' })
Write-Host "Before: EwsEnabled = $($organization.EwsEnabled), EwsAllowedAppIDs = $($allowed -join ',')"
if ($organization.EwsEnabled -ne $true -or $allowed -notcontains $ClientId) {
    $wanted = @($allowed | Where-Object { $_ -ne $ClientId }) + $ClientId
    Set-OrganizationConfig -EwsEnabled $true -EwsAllowedAppIDs ($wanted -join ',')
    Get-OrganizationConfig -RetrieveEwsOperationAccessPolicy | Format-List EwsEnabled, EwsAllowedAppIDs
}
# An older list, of programs by their User-Agent, may keep the gateway out too.
$organization | Format-List EwsApplicationAccessPolicy, EwsAllowList, EwsBlockList

# --- mailbox-switches: Look at the switches of each mailbox
Write-Host '== mailbox-switches'
foreach ($mailbox in $Mailboxes) {
    Get-Mailbox -Identity $mailbox | Format-List PrimarySmtpAddress, RecipientTypeDetails, SKUAssigned, MaxSendSize
    $switches = Get-CASMailbox -Identity $mailbox
    if ($switches.EwsEnabled -eq $false) {
        Set-CASMailbox -Identity $mailbox -EwsEnabled $true
        Write-Host "EWS is on now: $mailbox"
    }
    $switches | Format-List Name, EwsEnabled, EwsApplicationAccessPolicy, EwsAllowList, EwsBlockList
}

# --- test-access: Test who may be reached
Write-Host '== test-access'
if ($OutsideMailbox -and @(Get-ApplicationAccessPolicy -ErrorAction SilentlyContinue | Where-Object { $_.AppId -eq $ClientId }).Count -gt 0) {
    Test-ApplicationAccessPolicy -AppId $ClientId -Identity $OutsideMailbox | Format-List Mailbox, AccessCheckResult
}

Write-Host 'Done'
