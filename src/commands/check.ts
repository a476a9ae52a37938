/**
 * `check`: whether a configuration works, without sending anything: the file, the token of each account with its roles,
 * which way out a route takes, and each sending mailbox looked into by each way that its route can take. Safe beside a
 * running gateway: it opens neither the spool nor a port, and changes nothing in a mailbox.
 */
import type { Config, RouteConfig } from '../config/config.ts';
import type { Event } from '../mail/event.ts';
import { isSendable } from '../mail/address.ts';
import type { Verification } from '../mail/status.ts';
import { unreachable } from '../mail/status.ts';
import type { Outgoing } from '../mail/transport.ts';
import { changeOf, openWayOut, PROBE_ID, waysOf } from '../assembly/way-out.ts';
import type { Command } from './command.ts';
import type { Terminal } from './outcome.ts';
import { CommandFault, EXIT } from './outcome.ts';
import { readConfig } from './run.ts';
import { version } from './version.ts';

/** fail: mail would not go. warn: it goes, but somebody should know. skip: could not be tried. */
type Mark = 'ok' | 'warn' | 'fail' | 'skip';

export interface Finding {
  readonly mark: Mark;
  /** configuration, transport, token, mailbox */
  readonly what: string;
  readonly route?: string;
  readonly transport?: string;
  readonly mailbox?: string;
  /** What was found, and what to do. */
  readonly says: string;
  readonly seconds?: number;
}

/** Milliseconds for a mailbox. */
const PATIENCE = 60_000;

export const checkCommand: Command = {
  name: 'check',
  usage: 'check [--config FILE] [--mailbox A]... [--json]',
  summary: 'whether tokens are given and the sending mailboxes reached, by each way out; sends nothing',
  options: {
    config: { type: 'string', default: 'config.yaml' },
    mailbox: { type: 'string', multiple: true },
    json: { type: 'boolean' },
  },
  async run({ config: file, mailbox = [], json }, terminal) {
    const named = (mailbox as readonly string[]).map((address) => address.toLowerCase());
    for (const address of named)
      if (!isSendable(address))
        throw new CommandFault(EXIT.usage, `--mailbox takes an e-mail address, not "${address}"`);
    const config = await readConfig(String(file));
    const all: Finding[] = [];
    const tell = (finding: Finding): void => {
      all.push(finding);
      if (json !== true) terminal.print(line(finding));
    };
    tell({ mark: 'ok', what: 'configuration', says: `${String(file)} has no fault` });
    for (const route of config.routes)
      await checkRoute(route, config, mailboxesOf(route, config, named), tell, terminal);
    if (json === true) terminal.print(JSON.stringify(all, null, 2));
    return all.some(({ mark }) => mark === 'fail') ? EXIT.failed : EXIT.done;
  },
};

function mailboxesOf({ name }: RouteConfig, { senders, routes }: Config, named: readonly string[]): readonly string[] {
  const isDefault = name === routes[0]?.name;
  const own = senders.rules
    .filter(({ route }) => (route === undefined ? isDefault : route === name))
    .map(({ mailbox }) => mailbox);
  return [...new Set([...(isDefault ? [senders.mailbox, ...named] : []), ...own].map((one) => one.toLowerCase()))];
}

async function checkRoute(
  route: RouteConfig,
  { hostname, spool }: Config,
  mailboxes: readonly string[],
  tell: (finding: Finding) => void,
  { stop }: Terminal,
): Promise<void> {
  const { name, exchange } = route;
  const inUse = await chosen(route, spool.sqlite, tell);
  for (const way of waysOf(route)) {
    const events: Event[] = [];
    const { transport } = way.exchange;
    // What is not in use may be closed: that is why it is not in use.
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
        const begun = performance.now();
        const signal = AbortSignal.any([stop, AbortSignal.timeout(PATIENCE)]);
        const found = await out.transport.verify(probe(name, mailbox), signal);
        const { mark, says } = judged(found);
        const seconds = (performance.now() - begun) / 1000;
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
  tell: (finding: Finding) => void,
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

function* tokensIn(events: readonly Event[]): Generator<Finding> {
  for (const event of events) {
    switch (event.event) {
      case 'token.acquired': {
        const roles = event.roles.length === 0 ? 'none (right with RBAC for Applications)' : event.roles.join(', ');
        const says = `good until ${new Date(event.expiresAt).toISOString()}, roles: ${roles}`;
        yield { mark: 'ok', what: 'token', says, seconds: event.seconds };
        break;
      }
      case 'token.failed':
        yield { mark: 'fail', what: 'token', says: `${event.cause}: ${event.advice}`, seconds: event.seconds };
        break;
      case 'token.warning':
        yield { mark: 'warn', what: 'token', says: event.warning };
        break;
      default:
    }
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

function eased(mark: Mark, isSpare: boolean): Mark {
  return mark === 'fail' && isSpare ? 'warn' : mark;
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

function line({ mark, what, route, transport, mailbox, says, seconds }: Finding): string {
  const where = [route, transport, mailbox].filter((part) => part !== undefined).join(' ');
  const took = seconds === undefined ? '' : ` (${seconds.toFixed(1)} s)`;
  const text = says.replaceAll('\n', ' ').replace(/ {2,}/g, ' ');
  return `${mark.padEnd(5)} ${what.padEnd(14)} ${where === '' ? '' : `${where}: `}${text}${took}`;
}
