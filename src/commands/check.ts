/**
 * `check`: whether a configuration works, without sending anything: the file, the token of each account with its roles,
 * which way out a route takes, each sending mailbox looked into by each way that its route can take, each pickup
 * (check-pickup.ts), and the mailboxes that must not be reached. Safe beside a running gateway: it opens neither the spool
 * nor a port, and changes nothing in a mailbox.
 */
import type { Config, RouteConfig } from '../config/config.ts';
import type { Event } from '../mail/event.ts';
import { isSendable } from '../mail/address.ts';
import type { Verification } from '../mail/status.ts';
import { unreachable } from '../mail/status.ts';
import type { Outgoing } from '../mail/transport.ts';
import { changeOf, openWayOut, PROBE_ID, waysOf } from '../assembly/way-out.ts';
import { checkOutside, UNTESTED } from './check-outside.ts';
import { checkPickups } from './check-pickup.ts';
import type { Command } from './command.ts';
import type { Finding, Mark, Tell } from './finding.ts';
import { eased, lineOf, PATIENCE, timed } from './finding.ts';
import { CommandFault, EXIT } from './outcome.ts';
import { Reading } from './reading.ts';
import { readConfig } from './run.ts';
import { tokensIn } from './token-findings.ts';
import { version } from './version.ts';

export const checkCommand: Command = {
  name: 'check',
  usage: 'check [--config FILE] [--mailbox A]... [--outside A]... [--json]',
  summary: 'whether tokens are given, mailboxes reached (those --outside not), and hand-overs possible; sends nothing',
  options: {
    config: { type: 'string', default: 'config.yaml' },
    mailbox: { type: 'string', multiple: true },
    outside: { type: 'string', multiple: true },
    json: { type: 'boolean' },
  },
  async run({ config: file, mailbox = [], outside: others = [], json }, terminal) {
    const named = addressesIn('--mailbox', mailbox as readonly string[]);
    const outside = addressesIn('--outside', others as readonly string[]);
    const config = await readConfig(String(file));
    const all: Finding[] = [];
    const tell: Tell = (finding) => {
      all.push(finding);
      if (json !== true) terminal.print(lineOf(finding));
    };
    tell({ mark: 'ok', what: 'configuration', says: `${String(file)} has no fault` });
    for (const route of config.routes) {
      await checkRoute(route, config, mailboxesOf(route, config, named), tell, terminal.stop);
      const reading = new Reading(route, config.spool.sqlite, tell, terminal.stop);
      try {
        await checkPickups(route, config, reading, tell, terminal.stop);
        await checkOutside(route, config, outside, reading, tell);
      } finally {
        await reading.close();
      }
    }
    if (outside.length === 0 && config.pickups.length > 0) tell({ mark: 'warn', what: 'outside', says: UNTESTED });
    if (json === true) terminal.print(JSON.stringify(all, null, 2));
    return all.some(({ mark }) => mark === 'fail') ? EXIT.failed : EXIT.done;
  },
};

function addressesIn(option: string, given: readonly string[]): readonly string[] {
  const wrong = given.find((address) => !isSendable(address));
  if (wrong !== undefined) throw new CommandFault(EXIT.usage, `${option} takes an e-mail address, not "${wrong}"`);
  return [...new Set(given.map((address) => address.toLowerCase()))];
}

function mailboxesOf(
  { name }: RouteConfig,
  { senders, routes, pickups }: Config,
  named: readonly string[],
): readonly string[] {
  const isDefault = name === routes[0]?.name;
  const own = senders.rules
    .filter(({ route }) => (route === undefined ? isDefault : route === name))
    .map(({ mailbox }) => mailbox);
  // Those that tell what became of a mail that was picked up.
  const telling = pickups
    .filter(({ route, answer }) => route === name && (answer.success || answer.failure || answer.refusal !== undefined))
    .map(({ answer }) => answer.from);
  const all = [...(isDefault ? [senders.mailbox, ...named] : []), ...own, ...telling];
  return [...new Set(all.map((one) => one.toLowerCase()))];
}

async function checkRoute(
  route: RouteConfig,
  { hostname, spool }: Config,
  mailboxes: readonly string[],
  tell: Tell,
  stop: AbortSignal,
): Promise<void> {
  const { name, exchange } = route;
  const inUse = await chosen(route, spool.sqlite, tell);
  for (const way of waysOf(route)) {
    const events: Event[] = [];
    const { transport } = way.exchange;
    const isSpare = inUse !== undefined && inUse !== transport;
    const about = { route: name, transport };
    const out = await openWayOut({
      ...way,
      hostname,
      spool: spool.sqlite,
      version: version(),
      report: (event) => events.push(event),
    });
    try {
      await out.prime();
      for (const finding of tokensIn(events)) tell({ ...about, ...finding, mark: eased(finding.mark, isSpare) });
      if (events.some(({ event }) => event === 'token.failed')) {
        tell({ ...about, mark: 'skip', what: 'mailbox', says: 'not looked into: there is no token' });
        continue;
      }
      for (const mailbox of mailboxes) {
        const signal = AbortSignal.any([stop, AbortSignal.timeout(PATIENCE)]);
        const { value, seconds } = await timed(() => out.transport.verify(probe(name, mailbox), signal));
        const { mark, says } = judged(value);
        tell({ ...about, mark: eased(mark, isSpare), what: 'mailbox', mailbox, says, seconds });
      }
    } finally {
      await out.close();
    }
  }
  if (exchange.shadow !== undefined) {
    const { host, port } = exchange.shadow;
    tell({
      mark: 'warn',
      what: 'transport',
      route: name,
      says: `shadow: ${host}:${port} delivers all mail, Exchange none`,
    });
  }
}

/** @returns the transport in use where a route chooses by itself */
async function chosen(
  { name, setting, exchange }: RouteConfig,
  spool: string,
  tell: Tell,
): Promise<'ews' | 'graph' | undefined> {
  if (exchange.transport !== 'auto') {
    tell({ mark: 'ok', what: 'transport', route: name, says: `${exchange.transport}, as ${setting}.transport says` });
    return undefined;
  }
  try {
    const change = await changeOf({ name, spool });
    const since = change === undefined ? '' : ` since ${new Date(change.at).toISOString()} (${change.cause})`;
    const { transport } = change ?? { transport: 'ews' as const };
    const says =
      transport === 'ews'
        ? `auto: ews${since}, and graph by itself once EWS is closed to this app`
        : `auto: changed over to graph${since}; to go back, set ${setting}.returnToEws or delete ${name}.transport.json beside the spool while the gateway is stopped`;
    tell({ mark: transport === 'ews' ? 'ok' : 'warn', what: 'transport', route: name, transport, says });
    return transport;
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    tell({ mark: 'fail', what: 'transport', route: name, says });
    return 'ews';
  }
}

function judged(found: Verification): { readonly mark: Mark; readonly says: string } {
  switch (found.outcome) {
    case 'relayed':
    case 'absent':
      return { mark: 'ok', says: 'reached' };
    case 'unknowable':
      return { mark: 'skip', says: found.reason };
    case 'delayed':
      return { mark: 'fail', says: `${found.cause}: ${found.reason ?? found.text}` };
    default:
      return unreachable(found);
  }
}

/** Of no message: what is looked for is not there. */
function probe(route: string, mailbox: string): Outgoing {
  const at = Date.now();
  return {
    item: {
      id: 'check',
      message: 'check',
      state: 'sending',
      route,
      mailbox,
      envelope: { reversePath: '', recipients: [] },
      origin: { source: 'smtp', name: 'check', peer: '' },
      messageId: PROBE_ID,
      headerSize: 0,
      size: 0,
      arrivedAt: at,
      due: at,
      attempts: 1,
      doubtful: true,
    },
    async *open() {},
  };
}
