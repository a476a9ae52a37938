/** Secrets never show: not in a fault, whatever is wrong with the file, and not when a Config is printed. */
import { format, inspect } from 'node:util';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ConfigFault } from '../../src/config/load.ts';
import { loadConfig, renderFaults } from '../../src/config/load.ts';
import { Secret } from '../../src/config/secret.ts';
import { MARK, place } from './place.ts';
import { everySetting } from './reference.ts';

const here = place();
const HASH = `$scrypt$ln=15,r=8,p=1$c2FsdHNhbHQ$${MARK}aGFzaGhhc2hoYXNo`;
const good = `
listeners:
  - name: lan
    port: 2525
    auth: optional
    allowInsecureAuth: true
users:
  - { name: pbx, passwordHash: "${HASH}" }
senders:
  mailbox: notifications@contoso.com
exchange:
  tenantId: 11111111-2222-3333-4444-555555555555
  clientId: 66666666-7777-8888-9999-000000000000
  clientSecret: ~${MARK}.
  proxy: http://user:${MARK}@proxy:3128
retry: { intervals: [1m, 5m] }
alarms:
  to: [{ name: chat, webhook: "https://hooks.example/${MARK}?sig=${MARK}" }]
  heartbeat: { url: "https://beats.example/${MARK}" }
`;
const whole = `${good}
spool: { postgres: "postgresql://mail:~${MARK}.@db1,db2:6543/mail?connect_timeout=9&sslmode=require", lease: 10s }
pickup:
  - mailbox: fax@contoso.com
    deliver: { smtp: { host: 127.0.0.1, username: fax, password: ~${MARK}. } }
    recipients: [{ in: subject, pattern: "fax (.*)", to: $1@fax.local, tests: [{ text: fax 1, gives: 1@fax.local }] }]
  - name: web
    mailbox: web@contoso.com
    deliver: { webhook: { url: "https://hooks.example/${MARK}", secret: whsec_${Buffer.from(MARK.repeat(4)).toString('base64')} } }
`;

async function faultsOf(text: string): Promise<readonly ConfigFault[]> {
  const loaded = await loadConfig(here.write('config.yaml', text), { SECRET: MARK });
  return 'faults' in loaded ? loaded.faults : [];
}

describe('a secret', () => {
  it('shows as such however it is printed', () => {
    const secret = new Secret(MARK);
    const shown = [
      `${secret}`,
      JSON.stringify({ secret }),
      inspect({ a: [secret] }),
      format('%s %o %j', secret, secret, secret),
    ];
    for (const text of shown) {
      expect(text).toContain('[secret]');
      expect(text).not.toContain(MARK);
    }
    expect(Object.values({ ...secret })).toEqual([]);
    expect(secret.reveal()).toBe(MARK);
  });

  it('does not show when a configuration is printed', async () => {
    const loaded = await loadConfig(here.write('config.yaml', whole), {});
    expect('config' in loaded).toBe(true);
    for (const text of [
      JSON.stringify(loaded),
      inspect(loaded, { depth: 9, showHidden: true }),
      format('%o', loaded),
    ]) {
      expect(text).toContain('[secret]');
      expect(text).not.toContain(MARK);
    }
  });

  it('does not show in a fault, at whichever setting it stands by mistake', async () => {
    const values = everySetting().filter(({ shape }) => shape.kind !== 'section');
    let faulty = 0;
    for (const { path } of values) {
      for (const value of [
        `~${MARK}=`,
        '"a ${SECRET} b"',
        `[${MARK}]`,
        `{ ${MARK}:x: "~${MARK}" }`,
        `{${MARK}:${MARK}}`,
      ]) {
        const faults = await faultsOf(
          `${good}${nested(path, value)}`.replace(/^(listeners|users|retry|alarms).*\n( .*\n)*/m, ''),
        );
        faulty += faults.length > 0 ? 1 : 0;
        expect(renderFaults(faults)).not.toContain(MARK);
      }
    }
    expect(faulty).toBeGreaterThan(values.length * 4);
  });

  it('does not show whatever happens to the file', async () => {
    const change = fc.record({
      at: fc.nat(whole.length),
      cut: fc.nat(4),
      put: fc.constantFrom(
        '',
        ' ',
        '\n',
        '\t',
        ':',
        ': ',
        '- ',
        '"',
        "'",
        '{',
        '}',
        '[',
        ']',
        '*',
        '&',
        '!',
        '#',
        '$',
        '${',
        '|',
        '>',
        '%',
        '@',
        '`',
        '\\',
        '\0',
        '?',
        '<',
        '---\n',
      ),
    });
    const broken = fc
      .array(change, { minLength: 1, maxLength: 3 })
      .map((changes) =>
        changes.reduce((text, { at, cut, put }) => text.slice(0, at) + put + text.slice(at + cut), whole),
      );
    await fc.assert(
      fc.asyncProperty(broken, async (text) => {
        const faults = await faultsOf(text);
        expect(renderFaults(faults)).not.toContain(MARK);
        const lines = text.split('\n').length;
        expect(faults.filter(({ line, column }) => line > lines || column > text.length + 1)).toEqual([]);
      }),
      { numRuns: 500, seed: 20_261_124 },
    );
  });
});

/** `a[].b` -> a document with the value there. */
function nested(path: string, value: string): string {
  let text = '';
  let indent = '';
  for (const part of path.split('.')) {
    const key = part.replace('[]', '');
    const isList = part.endsWith('[]');
    text += `${text.endsWith('- ') ? '' : indent}${key}:\n`;
    indent += '  ';
    if (isList) {
      text += `${indent}- `;
      indent += '  ';
    }
  }
  return `${text.trimEnd()} ${value}\n`;
}
