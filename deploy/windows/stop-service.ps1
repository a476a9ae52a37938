#Requires -RunAsAdministrator
<#
.SYNOPSIS
Ends the gateway and keeps the task from starting it again until Enable-ScheduledTask smtp2exchange.
.DESCRIPTION
Windows knows no SIGTERM: the process is ended at once. Nothing that was accepted is lost; what was just being sent is looked
for in the mailbox after the next start.
#>
[CmdletBinding()]
param([string] $ProgramFolder = (Join-Path $env:ProgramFiles 'smtp2exchange'))
$ErrorActionPreference = 'Stop'
$task = Get-ScheduledTask -TaskName smtp2exchange -ErrorAction SilentlyContinue
if ($task) {
    Disable-ScheduledTask -TaskName smtp2exchange | Out-Null
    Stop-ScheduledTask -TaskName smtp2exchange
}
# The loop first, which would start the program again; each by the place it is in, so that no other program is meant.
Get-CimInstance Win32_Process -Filter "Name = 'cmd.exe'" |
    Where-Object { $_.CommandLine -and $_.CommandLine.Contains("$ProgramFolder\run-gateway.cmd") } |
    ForEach-Object { Stop-Process -Id $_.ProcessId -Force -ErrorAction SilentlyContinue }
Get-CimInstance Win32_Process -Filter "Name = 'node.exe'" |
    Where-Object { $_.ExecutablePath -eq "$ProgramFolder\node.exe" } |
    ForEach-Object {
        Stop-Process -Id $_.ProcessId -Force -ErrorAction SilentlyContinue
        Wait-Process -Id $_.ProcessId -Timeout 30 -ErrorAction SilentlyContinue
    }
