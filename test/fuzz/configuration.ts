/** Configurations, mutated: reading never rejects, and what is wrong has a place in the file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { renderFaults } from '../../src/config/fault.ts';
import { loadConfig } from '../../src/config/load.ts';
import { edited, edits, mustHold, target } from './target.ts';
import type { Target } from './target.ts';

const FULL = `hostname: gateway.contoso.com
listeners:
  - name: lan
    address: 127.0.0.1
    port: 2525
    tls: none
    allow: [10.0.0.0/8, "::1/128"]
    loginFrom: [192.168.0.0/16]
    auth: optional
    allowInsecureAuth: true
    lenient: true
    proxyProtocol: [10.0.0.1]
    senders: ["*@contoso.com"]
    recipients: ["@contoso.com"]
    idleTimeout: 1m
    minDataRate: 100B
    maxMessageSize: 25MB
users:
  - { name: pbx, passwordHash: "$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$Mdc/jTCPy+uU8aSLbM+FGBQC/AXSzfWCsAUkF/VYCgk", perMinute: 10 }
clients:
  - { networks: [10.1.0.0/16], senders: ["scan-*@contoso.com"], perMinute: 30 }
senders:
  mailbox: notifications@contoso.com
  allow: ["*"]
  rules: [{ from: "*@pbx.local", mailbox: pbx@contoso.com, header: rewrite, name: PBX }]
recipients: { allow: ["*"], deny: [ceo@contoso.com], headerOnly: drop }
logins: { failures: 10, within: 10m, ban: 15m, delay: 1s }
exchange:
  tenantId: 11111111-2222-3333-4444-555555555555
  clientId: 66666666-7777-8888-9999-000000000000
  clientSecret: not~a~real~secret~at~all~not~a~real~one
  carryHeaders: [X-Job]
retry: { intervals: [1m, 5m], giveUpAfter: 2d }
spool: { sqlite: data/spool.db }
console: { address: 127.0.0.1, port: 8025 }
`;
const SHIPPED = readFileSync(new URL('../../config.yaml', import.meta.url), 'utf8');
const SCRAPS = [
  ...[
    '{',
    '}',
    '[',
    ']',
    ':',
    ': ',
    '- ',
    '\n',
    '\r',
    '\r\n',
    '  ',
    '\t',
    '"',
    "'",
    '#',
    '|',
    '>',
    '---',
    '...',
    '%YAML 1.1\n',
  ],
  ...['&a', '*a', '&a [*a]', '<<: *a', '? ', '!!x', '!!binary ', '!!set ', '!!map ', '${X}', '${', '${PATH}', '$${X}'],
  ...[
    '1e9',
    '-1',
    '0',
    '0x10',
    '.inf',
    '.nan',
    '1e400',
    '99999999999999999999',
    'null',
    '~',
    'true',
    '2001-01-01',
    '""',
    '[]',
    '{}',
  ],
  ...[
    '\ud800',
    'é',
    '\u0085',
    '\u2028',
    '\0',
    '\u0007',
    '\ufeff',
    '__proto__: 1',
    'constructor: x',
    'toString',
    '*',
    '@',
    '/0',
    '/129',
  ],
];
/** What concerns the file as a whole has no line. */
const WHOLE = /config\.yaml: (?:holds no settings|is in UTF-16|a character)/;

export async function configHolds(text: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-fuzz-'));
  try {
    const file = join(folder, 'config.yaml');
    writeFileSync(file, text);
    const loaded = await loadConfig(file, { X: 'x', PATH: 'a: b' });
    if (!('faults' in loaded)) {
      mustHold(loaded.config.listeners.length > 0, 'a configuration without listeners');
      return;
    }
    mustHold(loaded.faults.length > 0, 'refused without a fault');
    const lines = text.replace(/\r\n?/g, '\n').split('\n').length;
    for (const { line, column } of loaded.faults) {
      mustHold(line <= lines && line >= 0 && column >= 0, `no place in the file: ${line}:${column}`);
    }
    for (const line of renderFaults(loaded.faults).split('\n')) {
      mustHold(/config\.yaml:[1-9]\d*:[1-9]\d*: \S/.test(line) || WHOLE.test(line), `no place: ${line}`);
      mustHold(!line.includes('not~a~real~secret'), 'a fault holds the secret');
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const mutated = fc.tuple(fc.constantFrom(FULL, FULL, SHIPPED), edits(SCRAPS)).map(([text, list]) => edited(text, list));
/** Lines at other places, or missing, or twice: keys under a wrong parent. */
const shuffled = fc
  .array(fc.tuple(fc.constantFrom(...FULL.split('\n')), fc.constantFrom('', '', '  ', '- ', '\t')), { maxLength: 12 })
  .map((lines) => lines.map(([line, indent]) => indent + line).join('\n'));
const garbage = fc
  .array(fc.constantFrom(...SCRAPS, 'listeners', 'port'), { maxLength: 12 })
  .map((parts) => parts.join(''));

export const CONFIG_TARGET: Target = target(
  'configurations',
  0.03,
  'configHolds',
  [fc.oneof({ weight: 6, arbitrary: mutated }, { weight: 1, arbitrary: shuffled }, { weight: 1, arbitrary: garbage })],
  configHolds,
);
