/** A walk-through as Markdown for people and as one PowerShell script. Pure; never fails. */
import { comment, quoted } from './powershell.ts';
import type { SetupFacts, Step } from './step.ts';

/** @param level of the headings of the steps */
export function stepsMarkdown(all: readonly Step[], level = 2): string {
  return all.map((step, index) => stepMarkdown(step, index + 1, level)).join('\n\n');
}

export function stepMarkdown(step: Step, number: number, level = 2): string {
  const { id, title, why, do: what, powershell, undo, undoPowershell } = step;
  return [
    `${'#'.repeat(level)} ${number}. ${title} (\`${id}\`)`,
    why,
    what,
    ...(powershell === undefined ? [] : [fenced(powershell)]),
    ...(undo === undefined ? [] : [`**Undo:** ${undo}`]),
    ...(undoPowershell === undefined ? [] : [fenced(undoPowershell)]),
  ].join('\n\n');
}

function fenced(powershell: string): string {
  return `\`\`\`powershell\n${powershell}\n\`\`\``;
}

/** @param scriptFile name of the script beside it */
export function walkthroughMarkdown({ cloud }: SetupFacts, all: readonly Step[], scriptFile: string): string {
  const undoable = all.filter(({ undo }) => undo !== undefined).toReversed();
  const numbers = undoable.map(({ id }) => `${all.findIndex((step) => step.id === id) + 1} (\`${id}\`)`);
  const who = cloud === 'onPremises' ? 'in the Exchange Management Shell' : 'in PowerShell 7, or 5.1 of Windows';
  return `# Setting up smtp2exchange

Written by \`setup\`. What it made on this machine is done; what follows is done at ${cloud === 'onPremises' ? 'Exchange' : 'Microsoft 365'}, in this order. All the commands are in \`${scriptFile}\` too: run it ${who}. It looks before it changes anything, stops at the first error, and may be run again; with \`-Undo\` it takes back what it made.

${stepsMarkdown(all)}

## To take everything back

Stop the gateway, run \`${scriptFile} -Undo\`, then the undo of what was done by hand. In this order: ${numbers.join(', ')}.
`;
}

/** With CRLF and a byte order mark: Windows PowerShell 5.1 reads a file without it in the machine's old code page. */
export function script({ objectId = '', outside = '', cloud }: SetupFacts, all: readonly Step[]): string {
  const connect = all.find(({ id }) => id === 'connect');
  const work = all.filter(({ id, powershell }) => powershell !== undefined && id !== 'connect');
  const undone = work.filter(({ undoPowershell }) => undoPowershell !== undefined).toReversed();
  const parameters = [
    '    # Takes back what this script made, the last first.',
    '    [switch]$Undo',
    ...(cloud === 'onPremises'
      ? []
      : [
          '    ,',
          '    # Object ID of the enterprise application (not of the app registration).',
          `    [string]$EnterpriseObjectId = ${quoted(objectId)},`,
          '    # A mailbox that the gateway is not to reach, for the test.',
          `    [string]$OutsideMailbox = ${quoted(outside)}`,
        ]),
  ];
  const lines = [
    '#Requires -Version 5.1',
    '# Written by `setup` of smtp2exchange. The same steps, with reasons: the .md file beside this one.',
    '# Looks before it changes anything, stops at the first error, may be run again.',
    '[CmdletBinding()]',
    'param(',
    ...parameters,
    ')',
    'Set-StrictMode -Version Latest',
    "$ErrorActionPreference = 'Stop'",
    '',
    ...(connect === undefined ? [] : block(connect, connect.powershell ?? '')),
    'if ($Undo) {',
    ...undone.flatMap((step) => block(step, step.undoPowershell ?? '')).map((line) => indented(line, 4)),
    "    Write-Host 'Taken back. What is left is done by hand: see the .md file'",
    '    return',
    '}',
    '',
    ...work.flatMap((step) => block(step, step.powershell ?? '')),
    "Write-Host 'Done'",
    '',
  ];
  return `\uFEFF${lines.join('\r\n')}`;
}

function block({ id, title }: Step, powershell: string): readonly string[] {
  return [comment(`--- ${id}: ${title}`), `Write-Host ${quoted(`== ${id}`)}`, ...powershell.split('\n'), ''];
}

function indented(line: string, blanks: number): string {
  return line === '' ? '' : `${' '.repeat(blanks)}${line}`;
}
