/** The command `check` in front of the sandbox: what works, what does not, and what is said of it. */
import { existsSync, readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkCommand } from '../../src/commands/check.ts';
import type { Told } from '../../src/commands/finding.ts';
import type { Terminal } from '../../src/commands/outcome.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import { InsideGateway } from './inside.ts';
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
  readonly clientId?: string;
  /** Further keys of the one pickup, indented by four. */
  readonly pickup?: string;
  readonly outside?: readonly string[];
  /** Instead of the configuration that the others make. */
  readonly text?: string;
  readonly exchange?: string;
  readonly secret?: string;
  readonly mailbox?: readonly string[];
  readonly json?: boolean;
}

async function check({
  exchange = '',
  secret = sandbox.clientSecret,
  clientId = sandbox.clientId,
  mailbox,
  pickup,
  outside,
  json = true,
  text: whole,
}: Options = {}): Promise<{
  readonly code: number;
  readonly text: string;
  readonly findings: readonly Told[];
}> {
  const made = configText({
    sandbox: { ...sandbox, clientId },
    caFile: place.write('ca.pem', sandbox.ca),
    exchange: `  graphUrl: ${sandbox.graphUrl}\n${exchange}`,
    mailboxes: [FAX],
    more: `spool: { sqlite: ${place.path}/spool.db }
${pickup === undefined ? '' : `pickup:\n  - mailbox: ${FAX}\n    name: fax\n${pickup}`}`,
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
  const values = {
    config: place.write('config.yaml', whole ?? made),
    json,
    ...(mailbox && { mailbox }),
    ...(outside && { outside }),
  };
  const code = await checkCommand.run(values, terminal, []);
  return { code, text: lines.join('\n'), findings: json ? (JSON.parse(lines.join('\n')) as Told[]) : [] };
}

const marks = (findings: readonly Told[]): readonly string[] =>
  findings.map(({ mark, what, pickup, transport, mailbox, folder: path }) =>
    [mark, what, pickup, transport, mailbox, path].filter((part) => part !== undefined).join(' '),
  );
/** From the first of this kind on. */
const from = (findings: readonly Told[], what: Told['what']): readonly string[] =>
  marks(findings.slice(findings.findIndex((one) => one.what === what)));
const find = (findings: readonly Told[], what: Told['what'], mark?: Told['mark']): Told | undefined =>
  findings.find((one) => one.what === what && (mark === undefined || one.mark === mark));

describe('check', () => {
  it.each(['ews', 'graph'])(
    'finds nothing wrong with what works, sends nothing, leaves nothing (%s)',
    async (transport) => {
      const { code, findings } = await check({ exchange: `  transport: ${transport}` });
      expect(code).toBe(0);
      expect(marks(findings)).toEqual([
        'ok configuration',
        'ok data folder',
        'ok data folder',
        'ok data folder',
        'ok data folder',
        'ok port',
        'ok port',
        'skip certificate',
        'ok transport',
        'ok dns',
        'ok authority',
        'ok clock',
        `ok token ${transport}`,
        `ok claims ${transport}`,
        `ok reach ${transport}`,
        `ok mailbox ${transport} ${SENDER}`,
        `ok mailbox ${transport} ${FAX}`,
        `warn outside ${transport}`,
        `skip send as ${SENDER}`,
      ]);
      expect(find(findings, 'claims')?.says).toContain('full_access_as_app');
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
    expect(from(findings, 'reach').slice(0, 2)).toEqual(['fail reach ews', 'skip mailbox ews']);
    expect(find(findings, 'reach')?.says).toMatch(/^HTTP 403: .*Get-OrganizationConfig/s);
    expect(find(findings, 'reach')).toMatchObject({
      step: 'ews-allow-list',
      title: 'Put the app on the EWS allow list',
    });
  });

  it('has a line for a route that has changed over, whose other way may be closed', async () => {
    sandbox.openEws(false);
    place.write('exchange.transport.json', '{"transport":"graph","at":1795000000000,"cause":"HTTP 403"}');
    const { code, findings } = await check({ exchange: '  transport: auto' });
    expect(code).toBe(0);
    expect(find(findings, 'transport')?.mark).toBe('warn');
    expect(from(findings, 'reach').slice(0, 5)).toEqual([
      'warn reach ews',
      'ok reach graph',
      'skip mailbox ews',
      `ok mailbox graph ${SENDER}`,
      `ok mailbox graph ${FAX}`,
    ]);
    expect(find(findings, 'transport')?.says).toMatch(
      /changed over to graph since 2026-11-18T.*HTTP 403.*exchange\.transport\.json/,
    );
  });

  it('is not misled by a change that cannot be read', async () => {
    place.write('exchange.transport.json', '{');
    const { code, findings } = await check({ exchange: '  transport: auto' });
    expect([code, find(findings, 'transport')?.mark]).toEqual([1, 'fail']);
    expect(find(findings, 'transport')?.says).toContain('delete it');
  });

  it('says what is wrong with the credential, and tries no mailbox without a token', async () => {
    const { code, findings } = await check({ secret: 'wrong' });
    expect(code).toBe(1);
    expect(from(findings, 'token').slice(0, 3)).toEqual(['fail token ews', 'skip reach ews', 'skip mailbox ews']);
    expect(find(findings, 'token')?.says).toMatch(/^AADSTS7000215: .*Value/s);
    expect(find(findings, 'mailbox')?.says).toBe('not looked into: there is no token');
  });

  it('looks into mailboxes that are named too', async () => {
    const { code, findings } = await check({ mailbox: ['Nobody@contoso.com'] });
    expect(code).toBe(1);
    expect(marks(findings)).toContain('fail mailbox ews nobody@contoso.com');
    await expect(check({ mailbox: ['nobody'] })).rejects.toMatchObject({ exitCode: 64 });
  });

  it('says of shadow mode that nothing goes through Exchange', async () => {
    const { code, findings } = await check({ exchange: '  shadow: { host: 127.0.0.1, port: 9, tls: none }' });
    expect(find(findings, 'transport', 'warn')?.says).toContain('127.0.0.1:9 delivers all mail');
    // And there is nobody.
    expect([code, marks(findings)]).toEqual([1, expect.arrayContaining(['ok reach ews', 'fail reach shadow'])]);
  });

  it('prints lines, with no secret in any', async () => {
    const { text } = await check({ secret: 'wrong~secret', json: false });
    expect(text).toMatch(
      /^fail {2}token {10}exchange ews: AADSTS7000215: .* \[\d+\.\d s\]\n {21}-> step credential: Give it a client secret$/m,
    );
    expect(text.split('\n').at(-1)).toMatch(/^\d+ ok, \d+ to be known, 1 failed, \d+ not tried$/);
    expect(text).not.toContain('wrong~secret');
  });
});

const OTHER = 'ceo@contoso.com';
/** Nobody outside may use it, and nothing is tried but the folder. */
const QUIET = `    from: { inside: true }\n    deliver: { folder: { path: out } }\n`;

describe('check, of a pickup', () => {
  it.each(['ews', 'graph'])('finds nothing wrong, and leaves everything as it is (%s)', async (transport) => {
    const { code, findings } = await check({
      exchange: `  transport: ${transport}`,
      pickup: `${QUIET}    recipients:
      - { in: subject, pattern: '[0-9]+', to: $0@fax.local, tests: [{ text: a 1, gives: 1@fax.local }, { text: a, gives: none }] }
      - { in: always, to: all@fax.local, tests: [{ text: a, gives: all@fax.local }] }`,
    });
    expect(code).toBe(0);
    expect(from(findings, 'pickup')).toEqual([
      'ok pickup fax',
      `ok mailbox fax ${transport} ${FAX}`,
      `ok folder fax ${transport} ${FAX} Inbox`,
      `ok folder fax ${transport} ${FAX} Processed`,
      `ok folder fax ${transport} ${FAX} Refused`,
      `ok folder fax ${transport} ${FAX} Quarantine`,
      'ok hand-over fax folder',
    ]);
    expect(find(findings, 'pickup')?.says).toBe('3 examples hold');
    expect(findings.slice(-5, -3).map(({ says }) => says)).toEqual([
      'there',
      'not there yet; the gateway makes it when it starts',
    ]);
    expect(findings.at(-1)?.says).toContain('not there yet');
    expect(sandbox.mailbox(FAX).folder('Processed')).toBeUndefined();
    expect(readdirSync(place.path).toSorted()).toEqual(['ca.pem', 'config.yaml']);
  });

  it('tries both ways of one that changes over by itself', async () => {
    sandbox.openEws(false);
    place.write('exchange.transport.json', '{"transport":"graph","at":1795000000000,"cause":"HTTP 403"}');
    const { code, findings } = await check({ exchange: '  transport: auto', pickup: QUIET, outside: [OTHER] });
    expect(marks(findings)).toContain(`skip mailbox fax ews ${FAX}`);
    expect(marks(findings)).toContain(`ok folder fax graph ${FAX} Inbox`);
    // The permission is there whether the way is in use or not; EWS is closed, which proves nothing.
    expect([code, marks(findings).filter((one) => one.includes('outside'))]).toEqual([
      1,
      [`skip outside ews ${OTHER}`, `fail outside graph ${OTHER}`],
    ]);
  });

  it('names the folder that is missing, and what to do', async () => {
    const { code, findings } = await check({ pickup: `    folder: Inbox/Fax\n    transport: auto\n${QUIET}` });
    expect(code).toBe(1);
    expect(marks(findings)).toContain(`fail folder fax ews ${FAX} Inbox/Fax`);
    expect(marks(findings)).toContain(`warn folder fax graph ${FAX} Inbox/Fax`);
    for (const { says } of findings.filter(({ folder: path }) => path === 'Inbox/Fax'))
      expect(says).toMatch(/^pickup\[0\]\.folder: .*Inbox\/Fax.*make it/);
  });

  it('looks into no mailbox without a token', async () => {
    const { code, findings } = await check({ secret: 'wrong', pickup: `    transport: auto\n${QUIET}` });
    expect(code).toBe(1);
    expect(from(findings, 'token').slice(0, 2)).toEqual(['fail token ews', 'warn token graph']);
    expect(marks(findings).slice(-3, -1)).toEqual([`skip mailbox fax ews ${FAX}`, `skip mailbox fax graph ${FAX}`]);
  });

  it('says who may use it', async () => {
    const { code, findings } = await check({
      pickup: `    deliver: { folder: { path: out } }
    recipients: [{ in: subject, pattern: '[0-9]+', to: $0@fax.local }]`,
    });
    expect([code, from(findings, 'pickup').slice(0, 2)]).toEqual([0, ['skip pickup fax', 'warn pickup fax']]);
    expect(find(findings, 'pickup', 'skip')?.says).toContain('pickup[0].recipients');
    expect(find(findings, 'pickup', 'warn')?.says).toMatch(/anybody on the Internet.*pickup\[0\]\.from\.inside: true/);
  });
});

describe('check, of what a fax server reports', () => {
  it.each([
    ['sender', false],
    ['reports@contoso.com', false],
    ['FAX@contoso.com', true],
  ])('to %s: whether it may go round', async (from, isCircle) => {
    const { findings } = await check({
      pickup: `    from: { inside: true }\n    deliver: { smtp: { host: 127.0.0.1, port: 1, to: fax@fax.local, from: ${from} } }\n`,
    });
    const said = findings.filter(({ says }) => says.includes('round and round')).map(({ mark }) => mark);
    expect(said).toEqual(isCircle ? ['warn'] : []);
  });
});

describe('check, of what an application is granted', () => {
  const SCOPED = '5c09ed00-0000-4000-8000-5a4d6b0e5a4d';

  beforeEach(async () => {
    await sandbox.close();
    sandbox = await startSandbox({
      mailboxes: [SENDER, FAX, OTHER].map((address) => ({ address })),
      apps: [{ clientId: SCOPED, clientSecret: 'its secret', roles: [] }],
      scopes: { [SCOPED]: [SENDER, FAX] },
    });
  });

  const scoped = { clientId: SCOPED, secret: 'its secret' };

  it.each(['ews', 'graph'])('is content with one that is kept out of the others (%s)', async (transport) => {
    const other = transport === 'ews' ? 'graph' : 'ews';
    const { code, findings } = await check({
      ...scoped,
      exchange: `  transport: ${transport}`,
      pickup: `    transport: auto\n${QUIET}`,
      outside: [OTHER.toUpperCase()],
    });
    expect(code).toBe(0);
    // Each way once, whether mail is sent or read by it.
    expect(marks(findings).filter((one) => one.includes('outside'))).toEqual([
      `ok outside ${transport} ${OTHER}`,
      `ok outside ${other} ${OTHER}`,
    ]);
    const denied = findings.filter(({ what }) => what === 'outside').map(({ says }) => says);
    expect(denied.toSorted()).toEqual([
      'denied, as it should be (ErrorAccessDenied); whether it may send cannot be tried without a mail',
      'denied, as it should be (ErrorImpersonateUserDenied)',
    ]);
  });

  it.each([
    ['ews', /"Application EWS\.AccessAsApp".*remove the permission .*full_access_as_app/, /ApplicationAccessPolicy/],
    ['graph', /"Application Mail\.ReadWrite".*New-ApplicationAccessPolicy -AppId \S+ .*RestrictAccess/, /EWS/],
  ])('says of one that reaches everything how to scope it (%s)', async (transport, wanted, unwanted) => {
    const { code, findings } = await check({ exchange: `  transport: ${transport}`, outside: [OTHER] });
    expect([code, from(findings, 'outside')[0]]).toEqual([1, `fail outside ${transport} ${OTHER}`]);
    expect(find(findings, 'outside')?.step).toBe('roles');
    const says = find(findings, 'outside')?.says ?? '';
    expect(says).toMatch(wanted);
    expect(says).not.toMatch(unwanted);
    expect(says).toContain(`Test-ServicePrincipalAuthorization -Identity ${sandbox.clientId} -Resource ${OTHER}`);
  });

  it('says how to scope an account on-premises', async () => {
    const [account] = sandbox.accounts.accounts;
    const text = `
hostname: gateway.test
listeners: [{ name: lan, address: 127.0.0.1, port: 0, tls: none }]
senders: { mailbox: ${SENDER} }
exchange:
  cloud: onPremises
  ewsUrl: ${sandbox.ewsUrl}
  username: CONTOSO\\svc-gateway
  password: ${account?.password}
  caFile: ca.pem
pickup:
  - mailbox: ${FAX}
${QUIET}`;
    const { code, findings } = await check({ text, outside: [OTHER] });
    expect(code).toBe(1);
    expect(from(findings, 'mailbox').filter((one) => !one.includes('send as'))).toEqual([
      `ok mailbox ews ${SENDER}`,
      `ok mailbox ews ${FAX}`,
      `fail outside ews ${OTHER}`,
      `ok mailbox pickup ews ${FAX}`,
      `ok folder pickup ews ${FAX} Inbox`,
      `ok folder pickup ews ${FAX} Processed`,
      `ok folder pickup ews ${FAX} Refused`,
      `ok folder pickup ews ${FAX} Quarantine`,
      'ok hand-over pickup folder',
    ]);
    expect(find(findings, 'outside')?.says).toMatch(/ApplicationImpersonation> -CustomRecipientWriteScope/);
  });

  it('does not take a mailbox that does not exist for one that is closed', async () => {
    const { code, findings } = await check({ outside: ['nobody@contoso.com'] });
    expect([code, from(findings, 'outside')[0]]).toEqual([1, 'fail outside ews nobody@contoso.com']);
    expect(find(findings, 'outside')?.says).toMatch(/^not proved .*ErrorNonExistentMailbox.*a mailbox that exists/);
    await expect(check({ outside: ['nobody'] })).rejects.toMatchObject({ exitCode: 64 });
  });

  it('says that a mailbox to be picked up from is not granted', async () => {
    const pickup = `    transport: auto\n${QUIET}`;
    const { code, findings } = await check({
      ...scoped,
      pickup: `${pickup}    answer: { failure: false }\n  - mailbox: ${OTHER}\n    name: other\n${QUIET}`,
    });
    expect(code).toBe(1);
    expect(marks(findings)).toContain(`ok folder fax graph ${FAX} Inbox`);
    expect(marks(findings)).toContain(`fail mailbox other ews ${OTHER}`);
    expect(findings.find(({ pickup: name, what }) => name === 'other' && what === 'mailbox')?.says).toMatch(
      /^ErrorImpersonateUserDenied: .*Application EWS\.AccessAsApp/,
    );
  });
});

describe('check, beside a running gateway', () => {
  it('knows its spool and its ports, and leaves it alone', async () => {
    const gateway = await InsideGateway.start(place, sandbox);
    try {
      const port = Number(gateway.lines.find(({ event }) => event === 'listener.open')?.['port']);
      const web = new URL(String(gateway.lines.find(({ event }) => event === 'console.open')?.['url']));
      const spool = String(gateway.lines.find(({ event }) => event === 'control.open')?.['where']).replace(
        'control.sock',
        'spool.db',
      );
      const text = configText({ sandbox, caFile: place.write('ca.pem', sandbox.ca) })
        .replace('${SECRET}', sandbox.clientSecret)
        .replace('port: 0', `port: ${port}`)
        .replace('port: 0', `port: ${web.port}`);
      const { code, findings } = await check({ text: `${text}spool: { sqlite: ${spool} }` });
      expect([code, findings.filter(({ what }) => what === 'port').map(({ says }) => says)]).toEqual([
        0,
        ['our own gateway listens there', 'our own gateway listens there'],
      ]);
      expect(findings.findLast(({ what }) => what === 'data folder')?.says).toMatch(/^our own gateway runs/);
      // Another configuration, that would have the same ports.
      const other = await check({ text: `${text}spool: { sqlite: ${place.path}/other/spool.db }` });
      expect([other.code, find(other.findings, 'port')?.says]).toEqual([1, expect.stringMatching(/another program/)]);
      await gateway.send(SENDER, FAX);
      await gateway.line('delivery.relayed');
      expect(sandbox.arrived()).toHaveLength(1);
    } finally {
      await gateway.stop();
    }
  });
});
