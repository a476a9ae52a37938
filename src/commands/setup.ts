/**
 * `setup`: asks for what a gateway needs, or takes it by options, and writes a configuration, the key pair of a certificate,
 * and what has to be done at Microsoft or at Exchange, as a walk-through and as a script. Talks to nobody: what it writes is
 * done by a person. Never writes over a file.
 *
 * Exit codes: 0 written (or printed), 1 not wanted or not writable, 64 usage, 78 a key pair that is there cannot be used.
 */
import { access } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { loadConfig, renderFaults } from '../config/load.ts';
import type { Command } from './command.ts';
import type { ExitCode, Terminal } from './outcome.ts';
import { CommandFault, EXIT } from './outcome.ts';
import { readSandboxSettings } from './sandbox-settings.ts';
import type { SandboxSettings } from './sandbox-settings.ts';
import type { Answers, Given } from './setup-answers.ts';
import { answersOf, complete, givenBy } from './setup-answers.ts';
import { configText, CONSOLE_TOKEN, hasConsole } from './setup-config.ts';
import { ask } from './setup-dialog.ts';
import type { Written } from './setup-files.ts';
import { consoleTokenIn, keyPairIn, writeBeside } from './setup-files.ts';
import { givenIn } from './setup-known.ts';
import type { SetupFacts } from './step.ts';
import { steps } from './walkthrough.ts';
import { script, walkthroughMarkdown } from './walkthrough-text.ts';

const HELP = `smtp2exchange setup: a configuration, and what has to be done for it at Microsoft 365 or Exchange

  setup                     asks, then writes
  setup --yes OPTIONS       writes without asking; what is not given is as shown in ( )
  setup --print-only        prints the walk-through for --config as it is, or for OPTIONS; writes nothing

  --cloud C                 worldwide | gccHigh | dod | china | onPremises   (worldwide)
  --transport T             auto | graph | ews | smtp                       (auto)
  --path P                  rbac: for some mailboxes | consent: for all     (rbac)
  --credential K            certificate: a key pair is made | secret        (certificate)
  --tenant ID --client ID   of the app registration; may be filled in later
  --object-id ID            of the enterprise application
  --mailbox A...            that send; the first one sends what no rule gives to another
  --pickup A...             whose mail goes to a legacy system
  --deliver HOST:PORT       where that goes                                 (files in a folder)
  --listen ADDRESS:PORT     where mail is taken                             (127.0.0.1:2525)
  --allow NETWORK...        that may send without login                     (this machine)
  --console ADDRESS:PORT    metrics and health checks                       (127.0.0.1:8025)
  --group NAME              of the group and the scope at Exchange          (smtp2exchange)
  --outside A               a mailbox that must not be reached, for the test
  --ews-url U --username U --login ntlm|basic   with onPremises
  --folder DIR              where the files go                              (the current one)
  --config FILE             name of the configuration there                 (config.yaml)
  --sandbox FILE            what sandbox --write-settings has written: to try it without Microsoft

No file is written over: what is new goes beside it (config-2.yaml).`;

const TEXT = { type: 'string' } as const;
const TEXTS = { type: 'string', multiple: true } as const;

export const setupCommand: Command = {
  name: 'setup',
  usage: 'setup [--yes] [OPTIONS]',
  summary: 'write a configuration and the steps at Microsoft for it (setup --help)',
  help: HELP,
  options: {
    cloud: TEXT,
    transport: TEXT,
    path: TEXT,
    credential: TEXT,
    tenant: TEXT,
    client: TEXT,
    'object-id': TEXT,
    mailbox: TEXTS,
    pickup: TEXTS,
    deliver: TEXT,
    listen: TEXT,
    allow: TEXTS,
    console: TEXT,
    group: TEXT,
    outside: TEXT,
    'ews-url': TEXT,
    username: TEXT,
    login: TEXT,
    folder: { type: 'string', default: '.' },
    config: { type: 'string', default: 'config.yaml' },
    sandbox: TEXT,
    yes: { type: 'boolean' },
    'print-only': { type: 'boolean' },
  },
  async run(values, terminal) {
    const where = placeOf(String(values['folder']), String(values['config']));
    const given = givenBy(values);
    const { sandbox: sandboxFile } = values;
    const sandbox = typeof sandboxFile === 'string' ? await readSandboxSettings(sandboxFile) : undefined;
    if (sandbox !== undefined) fillFrom(sandbox, given);
    if (values['print-only'] === true) return printOnly(given, where, terminal);
    if (values['yes'] !== true && !(await isWanted(given, where))) {
      terminal.complain('Nothing was written');
      return EXIT.failed;
    }
    complete(given);
    return write(answersOf(given, sandbox), where, terminal);
  },
};

interface Place {
  readonly folder: string;
  readonly config: string;
}

function placeOf(folder: string, config: string): Place {
  if (basename(config) !== config || config === '')
    throw new CommandFault(
      EXIT.usage,
      `--config takes the name of a file, and --folder where it goes: not "${config}"`,
    );
  return { folder: resolve(folder), config };
}

/** From the current folder, as somebody would type it. */
function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near === '' ? '.' : near.startsWith('..') ? path : near;
}

/** The sandbox has been given one secret, and knows no certificate. */
function fillFrom(sandbox: SandboxSettings, given: Given): void {
  const isServers = given.get('cloud') === 'onPremises';
  const known: readonly (readonly [string, string])[] = isServers
    ? [
        ['ews-url', sandbox.ewsUrl],
        ['username', sandbox.account.username],
      ]
    : [
        ['tenant', sandbox.tenantId],
        ['client', sandbox.clientId],
        ['credential', 'secret'],
      ];
  for (const [option, value] of [...known, ['mailbox', sandbox.mailbox] as const])
    if (!given.has(option)) given.set(option, value);
}

async function isWanted(given: Given, { folder, config }: Place): Promise<boolean> {
  const ends = { input: process.stdin, output: process.stdout, isTerminal: process.stdin.isTTY };
  return ask(given, ends, (all) => [
    `In ${shown(folder)}:`,
    `  ${config}, the configuration, for ${all.get('mailbox') ?? ''}`,
    ...(all.get('credential') === 'certificate' ? ['  exchange/, a certificate and its private key'] : []),
    '  setup.md and setup.ps1, what has to be done then',
  ]);
}

async function printOnly(given: Given, { folder, config }: Place, terminal: Terminal): Promise<ExitCode> {
  const file = join(folder, config);
  if (await isThere(file)) {
    const loaded = await loadConfig(file);
    if ('faults' in loaded)
      terminal.complain(`${shown(file)} cannot be used (check says why); printed is what the options say`);
    else for (const [option, value] of givenIn(loaded.config)) if (!given.has(option)) given.set(option, value);
  }
  complete(given);
  const facts = factsOf(answersOf(given, undefined), shown(file));
  terminal.print(walkthroughMarkdown(facts, steps(facts), 'setup.ps1'));
  return EXIT.done;
}

async function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

function factsOf(answers: Answers, configFile: string, certificate?: SetupFacts['certificate']): SetupFacts {
  const { account, ...rest } = answers;
  return {
    ...rest,
    configFile,
    ...(answers.cloud === 'onPremises' ? { account } : {}),
    ...(certificate === undefined ? {} : { certificate }),
  };
}

async function write(answers: Answers, { folder, config }: Place, terminal: Terminal): Promise<ExitCode> {
  const { sandbox, secretFile, cloud, credential } = answers;
  const said: string[] = [];
  const put = async (name: string, content: string, isSecret = false): Promise<string> => {
    const written = await writeBeside(join(folder, name), content, isSecret);
    said.push(saidOf(written, name));
    return written.file;
  };
  let certificate: SetupFacts['certificate'];
  if (credential === 'certificate' && cloud !== 'onPremises') {
    const made = await keyPairIn(join(folder, 'exchange'), answers.name, new Date());
    certificate = { ...made.facts, file: shown(made.facts.file) };
    said.push(
      `${made.isNew ? 'Made a key pair' : 'Kept the key pair that is there'}: upload ${certificate.file}, the public half`,
      `  thumbprint ${certificate.thumbprint}`,
      `  SHA-256    ${certificate.sha256}, until ${certificate.notAfter.toISOString().slice(0, 10)}`,
    );
  }
  if (sandbox !== undefined && credential === 'secret')
    await put(secretFile, `${cloud === 'onPremises' ? sandbox.account.password : sandbox.clientSecret}\n`, true);
  if (hasConsole(answers.watch)) {
    const token = join(folder, CONSOLE_TOKEN);
    const how = (await consoleTokenIn(token)) === 'made' ? 'Made the token' : 'Kept the token that is there';
    said.push(`${how} of the console: ${shown(token)}`);
  }
  const configFile = await put(config, configText(answers));
  const facts = factsOf(answers, shown(configFile), certificate);
  const all = steps(facts);
  if (sandbox === undefined) {
    const scriptFile = await put('setup.ps1', script(facts, all));
    const text = walkthroughMarkdown(facts, all, basename(scriptFile));
    await put('setup.md', text);
    terminal.print(text);
  }
  for (const line of said) terminal.print(line);
  await tellNext(configFile, sandbox, terminal);
  return EXIT.done;
}

function saidOf({ file, how }: Written, name: string): string {
  switch (how) {
    case 'written':
      return `Wrote ${shown(file)}`;
    case 'kept':
      return `${shown(file)} is there already, just like this`;
    case 'beside':
      return `${name} is there, and is left as it is: wrote ${shown(file)} beside it`;
    default:
      return how satisfies never;
  }
}

async function tellNext(configFile: string, sandbox: SandboxSettings | undefined, terminal: Terminal): Promise<void> {
  const loaded = await loadConfig(configFile);
  if ('faults' in loaded) {
    terminal.print(`\nBefore it can run:\n${renderFaults(loaded.faults)}`);
    return;
  }
  const next = sandbox === undefined ? 'do what setup.md says, then' : 'the sandbox needs nothing further;';
  terminal.print(`\nNext: ${next} npm start -- check --config ${shown(configFile)}`);
}
