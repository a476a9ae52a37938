/**
 * `check`: whether a configuration works, in the order in which one thing depends on another (check-*.ts, a stage each).
 * The first fault is the right cause: what hangs on it is skipped, with that reason, and a step of the walk-through is named
 * where one mends it. Safe beside a running gateway: it does not open the spool, tries a port only for a moment, changes
 * nothing in a mailbox, and sends nothing unless asked to (--send-to).
 */
import type { Config } from '../config/config.ts';
import { loadConfig, renderFault } from '../config/load.ts';
import { isSendable } from '../mail/address.ts';
import { openAccounts } from './check-account.ts';
import { checkAuthorities } from './check-authority.ts';
import { checkCertificates } from './check-certificates.ts';
import { checkData } from './check-data.ts';
import { checkDatabase } from './check-database.ts';
import { checkMailboxes, checkReach } from './check-mailbox.ts';
import { checkNetwork } from './check-network.ts';
import { checkOutside } from './check-outside.ts';
import { checkPickups } from './check-pickup.ts';
import { checkPorts } from './check-ports.ts';
import { checkSendAs } from './check-send-as.ts';
import { checkSend } from './check-send.ts';
import { titleOf } from './check-step.ts';
import { checkTokens } from './check-token.ts';
import { checkTransports } from './check-transport.ts';
import type { Stage, Walk } from './check-walk.ts';
import { walked } from './check-walk.ts';
import type { Command } from './command.ts';
import type { Told } from './finding.ts';
import { linesOf } from './finding.ts';
import type { ExitCode, Terminal } from './outcome.ts';
import { CommandFault, EXIT } from './outcome.ts';

const STAGES: readonly Stage[] = [
  checkData,
  checkDatabase,
  checkPorts,
  checkCertificates,
  checkTransports,
  checkNetwork,
  checkAuthorities,
  checkTokens,
  checkReach,
  checkMailboxes,
  checkOutside,
  checkSendAs,
  checkPickups,
  checkSend,
];

export const checkCommand: Command = {
  name: 'check',
  usage: 'check [--config FILE] [--mailbox A]... [--outside A]... [--send-to A] [--json]',
  summary:
    'whether everything works, from the data folder to each mailbox, and what mends it; sends nothing unless asked',
  options: {
    config: { type: 'string', default: 'config.yaml' },
    mailbox: { type: 'string', multiple: true },
    outside: { type: 'string', multiple: true },
    'send-to': { type: 'string' },
    json: { type: 'boolean' },
  },
  async run({ config, mailbox = [], outside = [], 'send-to': sendTo, json }, terminal) {
    const [to] = sendTo === undefined ? [] : addressesIn('--send-to', [String(sendTo)]);
    const wanted = {
      named: addressesIn('--mailbox', mailbox as readonly string[]),
      outside: addressesIn('--outside', outside as readonly string[]),
      ...(to === undefined ? {} : { sendTo: to }),
    };
    return await check(String(config), wanted, json === true, terminal);
  },
};

type Wanted = Pick<Walk, 'named' | 'outside' | 'sendTo'>;

/** @param now epoch milliseconds by this machine's clock */
export async function check(
  file: string,
  wanted: Wanted,
  isJson: boolean,
  terminal: Pick<Terminal, 'print' | 'stop'>,
  now: () => number = Date.now,
): Promise<ExitCode> {
  const all: Told[] = [];
  const tell = (finding: Told): void => {
    all.push(finding);
    if (!isJson) for (const line of linesOf(finding)) terminal.print(line);
  };
  const config = await configOf(file, tell);
  if (config !== undefined) {
    const accounts = openAccounts(config, terminal.stop);
    const walk: Walk = { ...wanted, config, accounts, now, stop: terminal.stop };
    const routes = new Map(config.routes.map((route) => [route.name, route]));
    try {
      const findings = walked(STAGES, walk, (step, name) => {
        const route = routes.get(name ?? '') ?? config.routes[0];
        return route === undefined ? undefined : titleOf(step, route, config, file);
      });
      for await (const finding of findings) tell(finding);
    } finally {
      for (const account of accounts) await account.close();
    }
  }
  if (isJson) terminal.print(JSON.stringify(all, null, 2));
  else terminal.print(summaryOf(all, terminal.stop.aborted));
  if (config === undefined) return EXIT.configuration;
  if (terminal.stop.aborted) return EXIT.temporary;
  return all.some(({ mark }) => mark === 'fail') ? EXIT.failed : EXIT.done;
}

async function configOf(file: string, tell: (finding: Told) => void): Promise<Config | undefined> {
  const begun = performance.now();
  const loaded = await loadConfig(file);
  const seconds = Math.round(performance.now() - begun) / 1000;
  const about = { what: 'configuration' as const, seconds };
  if ('config' in loaded) {
    tell({ ...about, mark: 'ok', says: `${file} has no fault` });
    return loaded.config;
  }
  for (const fault of loaded.faults) tell({ ...about, mark: 'fail', says: renderFault(fault) });
  return undefined;
}

function summaryOf(all: readonly Told[], isStopped: boolean): string {
  const count = (mark: Told['mark']): number => all.filter((one) => one.mark === mark).length;
  const text = `${count('ok')} ok, ${count('warn')} to be known, ${count('fail')} failed, ${count('skip')} not tried`;
  return isStopped ? `${text}; stopped before the end` : text;
}

function addressesIn(option: string, given: readonly string[]): readonly string[] {
  const wrong = given.find((address) => !isSendable(address));
  if (wrong !== undefined) throw new CommandFault(EXIT.usage, `${option} takes an e-mail address, not "${wrong}"`);
  return [...new Set(given.map((address) => address.toLowerCase()))];
}
