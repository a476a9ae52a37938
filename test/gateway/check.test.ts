/** The command `check` in front of the sandbox: what works, what does not, and what is said of it. */
import { existsSync, readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Finding } from '../../src/commands/check.ts';
import { checkCommand } from '../../src/commands/check.ts';
import type { Terminal } from '../../src/commands/outcome.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder } from './process.ts';

const SENDER = 'notifications@contoso.com';
const FAX = 'fax@contoso.com';
let place: Folder;
let sandbox: Sandbox;

beforeEach(async () => {
  place = folder();
  sandbox = await startSandbox({ mailboxes: [{ address: SENDER }, { address: FAX }] });
});
afterEach(async () => {
  await sandbox.close();
  place.remove();
});

interface Options {
  readonly exchange?: string;
  readonly secret?: string;
  readonly mailbox?: readonly string[];
  readonly json?: boolean;
}

async function check({ exchange = '', secret = sandbox.clientSecret, mailbox, json = true }: Options = {}): Promise<{
  readonly code: number;
  readonly text: string;
  readonly findings: readonly Finding[];
}> {
  const text = configText({
    sandbox: { ...sandbox },
    caFile: place.write('ca.pem', sandbox.ca),
    exchange: `  graphUrl: ${sandbox.graphUrl}\n${exchange}`,
    mailboxes: [FAX],
    more: `spool: { sqlite: ${place.path}/spool.db }`,
  }).replace('${SECRET}', secret);
  const lines: string[] = [];
  const terminal: Terminal = {
    print: (line) => lines.push(line),
    complain: (line) => lines.push(line),
    write: async () => undefined,
    progress: () => undefined,
    stop: new AbortController().signal,
    onReload: () => undefined,
  };
  const values = { config: place.write('config.yaml', text), json, ...(mailbox === undefined ? {} : { mailbox }) };
  const code = await checkCommand.run(values, terminal, []);
  return { code, text: lines.join('\n'), findings: json ? (JSON.parse(lines.join('\n')) as Finding[]) : [] };
}

const marks = (findings: readonly Finding[]): readonly string[] =>
  findings.map(({ mark, what, transport, mailbox }) =>
    [mark, what, transport, mailbox].filter((part) => part !== undefined).join(' '),
  );

describe('check', () => {
  it.each(['ews', 'graph'])(
    'finds nothing wrong with what works, sends nothing, leaves nothing (%s)',
    async (transport) => {
      const { code, findings } = await check({ exchange: `  transport: ${transport}` });
      expect(code).toBe(0);
      expect(marks(findings)).toEqual([
        'ok configuration',
        'ok transport',
        `ok token ${transport}`,
        `ok mailbox ${transport} ${SENDER}`,
        `ok mailbox ${transport} ${FAX}`,
      ]);
      expect(findings[2]?.says).toContain('full_access_as_app');
      expect(sandbox.arrived()).toEqual([]);
      expect(sandbox.mailbox(SENDER).drafts).toEqual([]);
      expect(existsSync(`${place.path}/spool.db`)).toBe(false);
      expect(readdirSync(place.path).toSorted()).toEqual(['ca.pem', 'config.yaml']);
    },
  );

  it('names the causes of a closed EWS with their cmdlets, and ends with 1', async () => {
    sandbox.openEws(false);
    const { code, findings } = await check();
    expect(code).toBe(1);
    expect(marks(findings)).toContain(`fail mailbox ews ${SENDER}`);
    expect(findings.at(-1)?.says).toMatch(/^HTTP 403: .*Get-OrganizationConfig/s);
  });

  it('has a line for a route that has changed over, whose other way may be closed', async () => {
    sandbox.openEws(false);
    place.write('exchange.transport.json', '{"transport":"graph","at":1795000000000,"cause":"HTTP 403"}');
    const { code, findings } = await check({ exchange: '  transport: auto' });
    expect(code).toBe(0);
    expect(marks(findings)).toEqual([
      'ok configuration',
      'warn transport graph',
      'ok token ews',
      `warn mailbox ews ${SENDER}`,
      `warn mailbox ews ${FAX}`,
      'ok token graph',
      `ok mailbox graph ${SENDER}`,
      `ok mailbox graph ${FAX}`,
    ]);
    expect(findings[1]?.says).toMatch(/changed over to graph since 2026-11-18T.*HTTP 403.*exchange\.transport\.json/);
  });

  it('is not misled by a change that cannot be read', async () => {
    place.write('exchange.transport.json', '{');
    const { code, findings } = await check({ exchange: '  transport: auto' });
    expect([code, findings[1]?.mark]).toEqual([1, 'fail']);
    expect(findings[1]?.says).toContain('delete it');
  });

  it('says what is wrong with the credential, and tries no mailbox without a token', async () => {
    const { code, findings } = await check({ secret: 'wrong' });
    expect(code).toBe(1);
    expect(marks(findings).slice(2)).toEqual(['fail token ews', 'skip mailbox ews']);
    expect(findings[2]?.says).toMatch(/^AADSTS7000215: .*Value/s);
  });

  it('looks into mailboxes that are named too', async () => {
    const { code, findings } = await check({ mailbox: ['Nobody@contoso.com'] });
    expect(code).toBe(1);
    expect(marks(findings)).toContain('fail mailbox ews nobody@contoso.com');
    await expect(check({ mailbox: ['nobody'] })).rejects.toMatchObject({ exitCode: 64 });
  });

  it('says of shadow mode that nothing goes through Exchange', async () => {
    const { code, findings } = await check({ exchange: '  shadow: { host: 127.0.0.1, port: 9, tls: none }' });
    expect([code, findings.at(-1)?.mark]).toEqual([0, 'warn']);
    expect(findings.at(-1)?.says).toContain('127.0.0.1:9 delivers all mail');
  });

  it('prints a line for each, with no secret in any', async () => {
    const { text } = await check({ secret: 'wrong~secret', json: false });
    expect(text.split('\n')).toHaveLength(4);
    expect(text).toMatch(/^fail {2}token {10}exchange ews: AADSTS7000215/m);
    expect(text).not.toContain('wrong~secret');
  });
});
