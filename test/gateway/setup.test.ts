/** From an empty folder to a delivered mail: the steps of README.md as they stand there, and each way to be set up. */
import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkCommand } from '../../src/commands/check.ts';
import { settingsOf, writeSandboxSettings } from '../../src/commands/sandbox-settings.ts';
import { setupCommand } from '../../src/commands/setup.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import type { Sandbox, SandboxOptions } from '../../src/sandbox/sandbox.ts';
import { runCommand } from '../commands/terminal.ts';
import { CommandProcess } from './command-process.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess, root } from './process.ts';

const SENDER = 'notifications@contoso.com';
const APP = 'c11e4700-0000-4000-8000-5a4d6b0e5a4d';

let place: Folder;
beforeEach(() => {
  place = folder();
});
afterEach(() => place.remove());

describe('five minutes', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const section = readme.slice(readme.indexOf('### Five minutes'), readme.indexOf('## Run it'));
  const commands = [...section.matchAll(/^ +(npm .*)$/gm)].map(([, line = '']) => line);
  const command = (name: string): readonly string[] => {
    const line = commands.find((one) => one.startsWith(`npm start -- ${name} `));
    if (line === undefined) throw new Error(`README.md does not say ${name}`);
    return line.split(' ').slice(3);
  };

  it('are five steps, as README.md counts them', () => {
    expect(section).toContain('**five steps**');
    expect(section.match(/^\d\. /gm)).toEqual(['1. ', '2. ', '3. ', '4. ', '5. ']);
    expect(commands[0]).toBe('npm ci');
    expect(commands.slice(1).map((line) => line.split(' ')[3])).toEqual(['sandbox', 'setup', 'check', 'run', 'send']);
  });

  it('lead from an empty folder to a mail in the mailbox', async () => {
    const run = (words: readonly string[], ...more: readonly string[]) =>
      new CommandProcess([...words, ...more], place.path);
    const sandbox = run(command('sandbox'), '--port', '0');
    let gateway: GatewayProcess | undefined;
    try {
      await sandbox.line(/^Its settings/);
      const made = await run(command('setup'), '--listen', '127.0.0.1:0', '--console', '127.0.0.1:0').ended;
      expect([made.code, made.errors]).toEqual([0, '']);
      expect(made.out).toContain('Wrote gateway/config.yaml');

      const checked = await run(command('check')).ended;
      expect([checked.code, checked.errors]).toEqual([0, '']);
      expect(checked.out).toMatch(/^ok .*mailbox/m);

      gateway = new GatewayProcess(join(place.path, command('run').at(-1) ?? ''));
      const port = await gateway.ready();
      const sent = await run(command('send'), '--server', `127.0.0.1:${port}`).ended;
      expect([sent.code, sent.errors]).toEqual([0, '']);
      expect(sent.out).toMatch(/^Delivered in \d+(\.\d)? s by ews$/m);

      const settings = JSON.parse(readFileSync(join(place.path, 'sandbox.json'), 'utf8')) as {
        ewsUrl: string;
        caFile: string;
      };
      const arrived = await fetched(
        new URL('/control/arrived', settings.ewsUrl),
        readFileSync(settings.caFile, 'utf8'),
      );
      expect(arrived).toMatchObject([
        {
          mailbox: SENDER,
          to: ['alice@contoso.com'],
          subject: expect.stringMatching(/^Test of smtp2exchange/) as string,
        },
      ]);
    } finally {
      await gateway?.stop();
      expect((await sandbox.stop()).code).toBe(0);
    }
  });
});

async function fetched(url: URL, ca: string): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  request(url, { ca }, (response) => void text(response).then(resolve, reject))
    .on('error', reject)
    .end();
  return JSON.parse(await promise) as unknown;
}

describe('each way', () => {
  let sandbox: Sandbox | undefined;
  afterEach(async () => sandbox?.close());

  async function sandboxed(
    options: Partial<SandboxOptions> = {},
  ): Promise<{ readonly sandbox: Sandbox; readonly settings: string }> {
    sandbox = await startSandbox({ mailboxes: [{ address: SENDER }, { address: 'fax@contoso.com' }], ...options });
    const settings = join(place.path, 'sandbox.json');
    await writeSandboxSettings(settings, settingsOf(sandbox, place.write('ca.pem', sandbox.ca), SENDER));
    return { sandbox, settings };
  }

  async function checked(): Promise<readonly { readonly mark: string; readonly what: string }[]> {
    const { code, out } = await runCommand(checkCommand, '--config', join(place.path, 'config.yaml'), '--json');
    expect(code).toBe(0);
    return JSON.parse(out) as { mark: string; what: string }[];
  }

  it.each([
    ['auto', ['--transport', 'auto']],
    ['ews', ['--transport', 'ews']],
    ['graph', ['--transport', 'graph']],
    ['smtp', ['--transport', 'smtp']],
    ['pickup', ['--pickup', 'fax@contoso.com']],
    ['on-premises', ['--cloud', 'onPremises']],
    ['on-premises by Basic', ['--cloud', 'onPremises', '--login', 'basic']],
  ])('is one that check finds nothing wrong with: %s', async (_, args) => {
    const { settings } = await sandboxed();
    const { code } = await runCommand(setupCommand, '--folder', place.path, '--sandbox', settings, '--yes', ...args);
    expect(code).toBe(0);
    const findings = await checked();
    // That the sandbox's app may reach every mailbox is no fault of the set-up.
    expect(findings.filter(({ mark, what }) => mark === 'fail' || (mark === 'warn' && what !== 'outside'))).toEqual([]);
    expect(findings.length).toBeGreaterThan(1);
    // Nothing is to be registered at a sandbox.
    expect(existsSync(join(place.path, 'setup.md'))).toBe(false);
  });

  it('works with the certificate, once its public half is uploaded, by roles for some mailboxes', async () => {
    const { sandbox: exchange, settings } = await sandboxed({ scopes: { [APP]: [SENDER] } });
    const args = ['--folder', place.path, '--sandbox', settings, '--yes', '--credential', 'certificate'];
    await runCommand(setupCommand, ...args);
    const certificate = readFileSync(join(place.path, 'exchange/cert.pem'), 'utf8');
    exchange.identity.apps = [{ clientId: APP, certificate, roles: [] }];
    const findings = await checked();
    expect(findings.filter(({ what, mark }) => what === 'mailbox' && mark === 'ok')).toHaveLength(2);
  });
});

it('asks, through a pipe too, in a process of its own', async () => {
  const answers = ['', '', 'consent', 'secret', '', '', 'not an address', 'a@contoso.com', '', '', '', '', '', ''];
  const { code, out } = await new CommandProcess(['setup', '--folder', 'here'], place.path, `${answers.join('\n')}\n`)
    .ended;
  expect(code).toBe(0);
  expect(out).toContain('It must be an e-mail address');
  expect(out).toContain('Wrote here/config.yaml');
  expect(readFileSync(join(place.path, 'here/config.yaml'), 'utf8')).toContain('mailbox: a@contoso.com');

  const cut = await new CommandProcess(['setup', '--folder', 'there'], place.path, 'worldwide\n').ended;
  expect(cut.code).toBe(64);
  expect(cut.errors).toContain('nothing was written');
  expect(existsSync(join(place.path, 'there'))).toBe(false);
});
