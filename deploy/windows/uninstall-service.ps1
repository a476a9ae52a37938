#Requires -RunAsAdministrator
<#
.SYNOPSIS
Takes away the task and the program. The data folder stays: it may hold mail that was accepted and not delivered.
#>
[CmdletBinding()]
param(
    [string] $ProgramFolder = (Join-Path $env:ProgramFiles 'smtp2exchange'),
    [string] $DataFolder = (Join-Path $env:ProgramData 'smtp2exchange')
)
$ErrorActionPreference = 'Stop'
& (Join-Path $PSScriptRoot 'stop-service.ps1') -ProgramFolder $ProgramFolder
if (Get-ScheduledTask -TaskName smtp2exchange -ErrorAction SilentlyContinue) {
    Unregister-ScheduledTask -TaskName smtp2exchange -Confirm:$false
}
if (Test-Path $ProgramFolder) { Remove-Item $ProgramFolder -Recurse -Force }
Write-Output "$DataFolder is kept: configuration, secrets, log, and mail that waits. Remove it by hand."
