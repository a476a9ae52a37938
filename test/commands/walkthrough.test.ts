/**
 * The walk-through of set-up: each kind of configuration against its golden script, quoting that nothing gets out of, and
 * docs/setup.md, which `npx vitest run test/commands/walkthrough -u` writes anew. No PowerShell runs here.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { comment, quoted } from '../../src/commands/powershell.ts';
import type { SetupFacts, Step } from '../../src/commands/walkthrough.ts';
import { STEP_IDS, steps } from '../../src/commands/walkthrough.ts';
import { script, stepMarkdown, stepsMarkdown, walkthroughMarkdown } from '../../src/commands/walkthrough-text.ts';
import { tokensOf } from './powershell-text.ts';

const root = join(import.meta.dirname, '../..');

const USUAL: SetupFacts = {
  cloud: 'worldwide',
  transport: 'auto',
  path: 'rbac',
  credential: 'certificate',
  tenantId: '11111111-2222-3333-4444-555555555555',
  clientId: '66666666-7777-8888-9999-000000000000',
  name: 'smtp2exchange',
  mailboxes: ['notifications@contoso.com'],
  pickups: ['fax@contoso.com'],
  outside: 'ceo@contoso.com',
  secretFile: 'exchange/client-secret',
  configFile: 'config.yaml',
};
const SERVERS: SetupFacts = {
  ...USUAL,
  cloud: 'onPremises',
  transport: 'ews',
  secretFile: 'exchange/password',
  account: { username: 'CONTOSO\\svc-gateway', login: 'ntlm' },
};
const HOSTILE = {
  name: "it's \u2018x\u2019 \u201c$(calc)\u201d; `n #",
  mailboxes: ["o'brien$x`y{}@contoso.com", '#@contoso.com'],
  pickups: ["a'b''c@contoso.com"],
  outside: "x';calc;'@contoso.com",
};

const CASES: Readonly<Record<string, SetupFacts>> = {
  usual: USUAL,
  hostile: { ...USUAL, ...HOSTILE },
  'consent-ews': { ...USUAL, path: 'consent', transport: 'ews', credential: 'secret' },
  'graph-gcc-high': {
    ...USUAL,
    cloud: 'gccHigh',
    transport: 'graph',
    objectId: '77777777-8888-9999-aaaa-bbbbbbbbbbbb',
  },
  smtp: { ...USUAL, transport: 'smtp' },
  'consent-smtp': { ...USUAL, path: 'consent', transport: 'smtp', pickups: [], credential: 'secret' },
  servers: SERVERS,
  'servers-basic': { ...SERVERS, ...HOSTILE, account: { username: "CONTOSO\\o'svc", login: 'basic' } },
};
const names = Object.keys(CASES);
const factsOf = (name: string): SetupFacts => CASES[name] ?? USUAL;
const scriptOf = (facts: SetupFacts): string => script(facts, steps(facts));

describe('the script', () => {
  it.each(names)('is the one that was reviewed: %s', async (name) => {
    const text = scriptOf(factsOf(name)).replace('\uFEFF', '').replaceAll('\r\n', '\n');
    await expect(text).toMatchFileSnapshot(join(import.meta.dirname, 'setup', `${name}.ps1`));
  });

  it.each(names)('can be read by Windows PowerShell 5.1, and ends every string and bracket: %s', (name) => {
    const text = scriptOf(factsOf(name));
    expect(text.startsWith('\uFEFF#Requires')).toBe(true);
    expect(text.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
    expect(text).not.toContain('\t');
    expect(tokensOf(text).length).toBeGreaterThan(50);
  });

  it.each(names)('stops at the first error, and asks before it makes or removes: %s', (name) => {
    const text = scriptOf(factsOf(name)).replaceAll('\r\n', '\n');
    expect(text).toMatch(/^Set-StrictMode -Version Latest\n\$ErrorActionPreference = 'Stop'$/m);
    const lines = text.split('\n');
    const changes = lines.filter((line) => /(?:New|Set|Remove)-(?!Strict)[A-Z]\w+ /.test(line));
    // At the beginning of a line nothing is made but what may be made twice.
    expect(changes.filter((line) => /^(?:New|Set|Remove)-/.test(line))).toEqual([]);
    expect(changes.length).toBeGreaterThan(1);
    for (const line of changes.filter((one) => /Remove-[A-Z]/.test(one) && !one.includes('throw ')))
      expect(line).toContain('-Confirm:$false');
  });

  it('has the same code whatever the names hold: they are strings, and whole', () => {
    const code = (facts: SetupFacts): readonly string[] =>
      tokensOf(scriptOf(facts)).map(({ kind, text }) => (kind === 'code' ? text : '<string>'));
    const tame = { ...HOSTILE, name: 'x', mailboxes: ['a@contoso.com', 'b@contoso.com'], outside: 'c@contoso.com' };
    expect(code({ ...USUAL, ...HOSTILE })).toEqual(code({ ...USUAL, ...tame }));
    const strings = tokensOf(scriptOf({ ...USUAL, ...HOSTILE })).flatMap(({ kind, text }) =>
      kind === 'string' ? [text] : [],
    );
    for (const name of [HOSTILE.name, ...HOSTILE.mailboxes, ...HOSTILE.pickups, HOSTILE.outside])
      expect(strings).toContain(name);
  });

  it('reads the allow list before it writes it, with what is on it', () => {
    const text = scriptOf(USUAL);
    const main = text.slice(text.indexOf('return'));
    const [read, write] = [main.indexOf('Get-OrganizationConfig -Retrieve'), main.indexOf('Set-OrganizationConfig')];
    expect(read).toBeGreaterThan(0);
    expect(write).toBeGreaterThan(read);
    expect(main.slice(write)).toMatch(
      /^Set-OrganizationConfig -EwsEnabled \$true -EwsAllowedAppIDs \(\$wanted -join ','\)/,
    );
    expect(main).toContain('$wanted = @($allowed | Where-Object { $_ -ne $ClientId }) + $ClientId');
  });

  it.each([
    ['ews', ['EWS.AccessAsApp'], true],
    ['graph', ['Mail.Send', 'Mail.ReadWrite'], false],
    ['auto', ['EWS.AccessAsApp', 'Mail.Send', 'Mail.ReadWrite'], true],
    ['smtp', ['SMTP.SendAsApp', 'Mail.ReadWrite'], false],
  ] as const)('gives the roles that %s needs, and no other', (transport, roles, hasAllowList) => {
    const facts = { ...USUAL, transport };
    const text = scriptOf(facts);
    expect(text).toContain(`in @(${roles.map((role) => `'${role}'`).join(', ')})`);
    expect(text.includes('EwsAllowedAppIDs')).toBe(hasAllowList);
    const granted = stepsMarkdown(steps({ ...facts, path: 'consent' }));
    expect(granted.includes('full_access_as_app')).toBe(hasAllowList);
    expect(granted.includes('`Mail.Send`')).toBe(transport === 'graph' || transport === 'auto');
  });

  it.each([
    ['ews', ['graph'], ['EWS.AccessAsApp', 'Mail.ReadWrite']],
    ['graph', ['ews'], ['Mail.Send', 'Mail.ReadWrite', 'EWS.AccessAsApp']],
    ['smtp', ['auto', 'graph'], ['SMTP.SendAsApp', 'EWS.AccessAsApp', 'Mail.ReadWrite']],
  ] as const)('sends by %s and reads by %j with no more than that takes', (transport, reads, roles) => {
    const text = scriptOf({ ...USUAL, transport, reads });
    expect(text).toContain(`in @(${roles.map((role) => `'${role}'`).join(', ')})`);
    expect(text.includes('EwsAllowedAppIDs')).toBe(roles.some((role) => role.startsWith('EWS')));
  });

  it('does not run with an id that is not filled in', () => {
    const { clientId: _, ...unknown } = USUAL;
    expect(scriptOf(unknown)).toContain("$ClientId = '<Application (client) ID>'");
    expect(scriptOf(unknown)).toContain('if ($ClientId -notmatch ');
  });
});

describe('quoting', () => {
  it.each([
    ['plain', "'plain'"],
    ["o'brien", "'o''brien'"],
    ['a\u2019b\u2018c\u201ad\u201be', "'a\u2019\u2019b\u2018\u2018c\u201a\u201ad\u201b\u201be'"],
    ['$(calc) `n "x"', `'$(calc) \`n "x"'`],
    ['', "''"],
  ])('%j', (text, written) => {
    expect(quoted(text)).toBe(written);
    expect(tokensOf(written)).toEqual([{ kind: 'string', text }]);
  });

  it('takes no line end, and keeps a comment on its line', () => {
    expect(() => quoted('a\nb')).toThrow('control character');
    expect(comment('a\r\ncalc')).toBe('# a calc');
  });

  it('is read by a reader that sees what does not end', () => {
    for (const broken of ["'a", '"a', '(', '}', "@('a'", '"$(a"', "'a\nb'"])
      expect(() => tokensOf(broken)).toThrow(/^line /);
  });
});

describe('the steps', () => {
  it.each(names)('have each a name of their own, in the list of names: %s', (name) => {
    const ids = steps(factsOf(name)).map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(STEP_IDS).toContain(id);
    expect(ids.at(-1)).toBe('check');
  });

  it('are all used, and those that make something say how it is taken back', () => {
    const all = names.flatMap((name) => steps(factsOf(name)));
    expect([...new Set(all.map(({ id }) => id))].toSorted()).toEqual([...STEP_IDS].toSorted());
    const making = all.filter(({ powershell = '' }) =>
      /\b(?:New|Add)-(?:Service|Man|Dist|Mail|Recip)/.test(powershell),
    );
    for (const step of making) expect([step.id, typeof step.undoPowershell]).toEqual([step.id, 'string']);
  });

  it('name the files of this configuration, and the undo in reverse', () => {
    const facts = {
      ...USUAL,
      certificate: { file: 'site/exchange/cert.pem', thumbprint: 'AB12', sha256: 'CD34', notAfter: new Date(0) },
    };
    const text = walkthroughMarkdown(facts, steps(facts), 'setup-2.ps1');
    expect(text).toContain('`site/exchange/cert.pem` (thumbprint `AB12`, until 1970-01-01)');
    expect(text).toContain('`setup-2.ps1 -Undo`');
    expect(text).toMatch(
      /In this order: .*`ews-allow-list`.*`roles`.*`scope`.*`group`.*`service-principal`.*`register-app`/,
    );
  });
});

const MARKER =
  '<!-- From here on written by `npx vitest run test/commands/walkthrough -u` from src/commands/walkthrough*.ts -->\n';

describe('docs/setup.md', () => {
  const file = join(root, 'docs/setup.md');
  const [written = ''] = readFileSync(file, 'utf8').split(MARKER);

  it('has the steps as the program prints them', async () => {
    await expect(`${written}${MARKER}\n${reference()}`).toMatchFileSnapshot(file);
  });

  it('has every step there is', () => {
    const text = readFileSync(file, 'utf8');
    for (const id of STEP_IDS) expect(text).toContain(`(\`${id}\`)`);
  });
});

function reference(): string {
  const main = steps(USUAL);
  const shown = new Set(main.map((step) => JSON.stringify(step)));
  const differing = (facts: SetupFacts): string =>
    steps(facts)
      .flatMap((step: Step, index) => (shown.has(JSON.stringify(step)) ? [] : [stepMarkdown(step, index + 1, 3)]))
      .join('\n\n');
  return `${[
    '## Exchange Online, the usual way',
    'A certificate, roles for some mailboxes (RBAC for Applications), `transport: auto`. The ids are examples.',
    stepsMarkdown(main, 3),
    '## What differs with `--credential secret`',
    differing({ ...USUAL, credential: 'secret' }),
    '## What differs with `--path consent`',
    'Permissions for the whole tenant. The steps `service-principal`, `group`, `scope` and `roles` fall away.',
    differing({ ...USUAL, path: 'consent' }),
    '## What differs with `--transport smtp`',
    'The step `ews-allow-list` falls away, as with `graph`. What is picked up goes by Graph.',
    differing({ ...USUAL, transport: 'smtp' }),
    '## What differs with `--transport smtp --path consent`',
    differing({ ...USUAL, transport: 'smtp', path: 'consent' }),
    '## Exchange on servers of your own (`--cloud onPremises`)',
    stepsMarkdown(steps(SERVERS), 3),
  ].join('\n\n')}\n`;
}
