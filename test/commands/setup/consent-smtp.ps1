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
$Mailboxes = @('notifications@contoso.com')
if ($ClientId -notmatch '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$') {
    throw 'The Application (client) ID is not filled in: run setup again with --client'
}
$isConnected = $false
if (Get-Command -Name Get-ConnectionInformation -ErrorAction SilentlyContinue) {
    $isConnected = @(Get-ConnectionInformation | Where-Object { $_.State -eq 'Connected' }).Count -gt 0
}
if (-not $isConnected) { Connect-ExchangeOnline -ShowBanner:$false }

if ($Undo) {
    # --- mailbox-permissions: Let it into each mailbox
    Write-Host '== mailbox-permissions'
    $principal = Get-ServicePrincipal | Where-Object { $_.AppId -eq $ClientId }
    if ($principal) {
        foreach ($mailbox in $Mailboxes) {
            Remove-MailboxPermission -Identity $mailbox -User $principal.ObjectId -AccessRights FullAccess -Confirm:$false
            Remove-RecipientPermission -Identity $mailbox -Trustee $principal.ObjectId -AccessRights SendAs -Confirm:$false
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

# --- mailbox-permissions: Let it into each mailbox
Write-Host '== mailbox-permissions'
$principal = Get-ServicePrincipal | Where-Object { $_.AppId -eq $ClientId }
foreach ($mailbox in $Mailboxes) {
    Add-MailboxPermission -Identity $mailbox -User $principal.ObjectId -AccessRights FullAccess -AutoMapping $false | Out-Null
    Add-RecipientPermission -Identity $mailbox -Trustee $principal.ObjectId -AccessRights SendAs -Confirm:$false | Out-Null
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

# --- test-access: Test who may be reached
Write-Host '== test-access'
if ($OutsideMailbox -and @(Get-ApplicationAccessPolicy -ErrorAction SilentlyContinue | Where-Object { $_.AppId -eq $ClientId }).Count -gt 0) {
    Test-ApplicationAccessPolicy -AppId $ClientId -Identity $OutsideMailbox | Format-List Mailbox, AccessCheckResult
}

Write-Host 'Done'
