@echo off
rem Runs the gateway and starts it again when it fails. Not after 0 (asked to stop), 64 (usage) and 78 (configuration): what has
rem to be mended by a person, the task tries every five minutes. Usage: run-gateway.cmd DATAFOLDER
setlocal
set "DATA=%~1"
set "LOG=%DATA%\log\gateway.log"
set "ERRORS=%DATA%\log\errors.log"
:again
rem A file in use cannot be renamed: the log is put aside at a start, above 50 MB.
if exist "%LOG%" for %%F in ("%LOG%") do if %%~zF GTR 50000000 move /y "%LOG%" "%LOG%.1" >nul
"%~dp0node.exe" --enable-source-maps "%~dp0dist\main.js" run --config "%DATA%\config.yaml" >>"%LOG%" 2>>"%ERRORS%"
set "CODE=%ERRORLEVEL%"
echo %DATE% %TIME% ended with %CODE% >>"%ERRORS%"
if "%CODE%"=="0" exit /b 0
if "%CODE%"=="64" exit /b 64
if "%CODE%"=="78" exit /b 78
rem Five seconds; timeout.exe needs a console.
ping -n 6 127.0.0.1 >nul
goto again
