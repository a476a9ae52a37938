/**
 * `send`: one test mail through the running gateway, over SMTP as a device would bring it, and followed to its end through
 * the gateway's control socket.
 *
 * Exit codes: 0 delivered, 1 refused, bounced or set aside, 64 usage, 75 still waiting, not reached or not to be followed
 * from here, 78 configuration.
 */
import { randomUUID } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { changeOf } from '../assembly/way-out.ts';
import { loadSpool, renderFaults } from '../config/load.ts';
import { isLoopback } from '../config/network.ts';
import { duration } from '../config/units.ts';
import { isSendable } from '../mail/address.ts';
import type { HistoryEntry, QueueItem } from '../mail/item.ts';
import { handMail, MailRefused } from '../smtp/client.ts';
import type { Handed, Mail, MailAttachment } from '../smtp/client.ts';
import type { Command } from './command.ts';
import type { ExitCode, Terminal } from './outcome.ts';
import { CommandFault, EXIT } from './outcome.ts';
import type { SpoolSettings } from './queue-reach.ts';
import { throughGateway } from './queue-reach.ts';
import { itemJson, json, localTime, plain } from './queue-text.ts';
import type { Door } from './send-door.ts';
import { doorOf, doorText } from './send-door.ts';
import type { End } from './send-follow.ts';
import { follow } from './send-follow.ts';
import { endOf, hostPort } from './setup-answers.ts';

const HELP = `smtp2exchange send: one test mail through the running gateway, followed to its end

  send --to A... [OPTIONS]

  --to A             who gets it; may be given more than once
  --from A           From and envelope sender            (the mailbox of senders)
  --subject TEXT --attach FILE...
  --server HOST:PORT where it is handed in               (the first listener that takes it from here)
  --user NAME --password-file FILE    for a listener that wants a login
  --timeout 60s      how long it is followed
  --config FILE (config.yaml)   --json

Exit codes: 0 delivered, 1 refused, bounced or set aside, 64 usage, 75 still waiting or not reached, 78 configuration`;

type Values = Readonly<Record<string, unknown>>;

export const sendCommand: Command = {
  name: 'send',
  usage: 'send --to A... [OPTIONS]',
  summary: 'one test mail through the running gateway, followed to its end (send --help)',
  help: HELP,
  options: {
    config: { type: 'string', default: 'config.yaml' },
    to: { type: 'string', multiple: true },
    from: { type: 'string' },
    subject: { type: 'string' },
    attach: { type: 'string', multiple: true },
    server: { type: 'string' },
    user: { type: 'string' },
    'password-file': { type: 'string' },
    timeout: { type: 'string', default: '60s' },
    json: { type: 'boolean' },
  },
  async run(values, terminal) {
    const timeout = duration(String(values['timeout']), '0s', '1d');
    if (!timeout.ok) throw usage(`--timeout ${timeout.problem}`);
    const to = addressesIn(values, 'to');
    if (to.length === 0) throw usage('send needs --to and the address of somebody');
    const settings = await loadSpool(String(values['config']));
    if ('faults' in settings) throw new CommandFault(EXIT.configuration, renderFaults(settings.faults));
    const [from = settings.sound.senders?.mailbox] = addressesIn(values, 'from');
    if (from === undefined) throw usage('the configuration names no mailbox that can be read: say --from');
    const messageId = `<${randomUUID()}@smtp2exchange.test>`;
    const login = await loginIn(values);
    const door = doorIn(values, settings, login !== undefined);
    const mail = await mailOf(values, { from, to, messageId });
    return hand(
      { door, mail, settings, messageId, timeout: timeout.value, ...(login === undefined ? {} : { login }) },
      values['json'] === true,
      terminal,
    );
  },
};

function usage(problem: string): CommandFault {
  return new CommandFault(EXIT.usage, `${problem}\nMore: smtp2exchange send --help`);
}

function addressesIn(values: Values, option: string): readonly string[] {
  const given = values[option];
  const all = (Array.isArray(given) ? given : given === undefined ? [] : [given]).map(String);
  const wrong = all.find((address) => !isSendable(address));
  if (wrong !== undefined) throw usage(`--${option} takes an e-mail address, not "${wrong}"`);
  return all;
}

async function loginIn(values: Values): Promise<{ readonly user: string; readonly password: string } | undefined> {
  const { user, 'password-file': file } = values;
  if (user === undefined && file === undefined) return undefined;
  if (typeof user !== 'string' || typeof file !== 'string') throw usage('--user and --password-file belong together');
  return { user, password: (await read(file)).toString('utf8').replace(/\r?\n$/, '') };
}

function doorIn({ server }: Values, { sound }: SpoolSettings, hasLogin: boolean): Door {
  if (typeof server !== 'string') return doorOf(sound.listeners ?? [], hasLogin);
  const judged = hostPort(server);
  if (!judged.ok) throw usage(`--server ${judged.problem}`);
  const end = endOf(server);
  // Neither STARTTLS nor a certificate is insisted on here.
  if (hasLogin && !isLoopback(end.host))
    throw usage('--user goes with a --server on this machine only: 127.0.0.1 or ::1');
  return { ...end, tls: 'offered' };
}

/** Octets: what is larger is no test. */
const ATTACHMENTS = 100 * 1024 * 1024;

async function read(file: string): Promise<Buffer> {
  try {
    if ((await stat(file)).size > ATTACHMENTS) throw new Error('it is larger than 100 MiB');
    return await readFile(file);
  } catch (error) {
    throw new CommandFault(
      EXIT.usage,
      `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

async function mailOf(
  { attach = [], subject }: Values,
  { from, to, messageId }: { readonly from: string; readonly to: readonly string[]; readonly messageId: string },
): Promise<Mail> {
  const attachments: MailAttachment[] = [];
  for (const file of (attach as readonly string[]).map(String))
    attachments.push({ filename: basename(file), content: await read(file), contentType: 'application/octet-stream' });
  return {
    from,
    to,
    subject: typeof subject === 'string' ? subject : `Test of smtp2exchange, ${localTime(Date.now())}`,
    text: 'A test mail of smtp2exchange, sent by its command "send".\nIf you can read this, it has come all the way.\n',
    attachments,
    headers: { 'Message-ID': messageId },
  };
}

interface Errand {
  readonly door: Door;
  readonly login?: { readonly user: string; readonly password: string };
  readonly mail: Mail;
  readonly settings: SpoolSettings;
  readonly messageId: string;
  readonly timeout: number;
}

async function hand(errand: Errand, isJson: boolean, terminal: Terminal): Promise<ExitCode> {
  const { door, login, mail, settings, messageId, timeout } = errand;
  const say = (line: string): void => {
    if (!isJson) terminal.print(line);
  };
  const begun = performance.now();
  const where = doorText(door);
  const tell = (end: End | 'refused' | 'unknown', more: object): void => {
    if (isJson) terminal.print(json({ end, messageId, server: where, seconds: seconds(begun), ...more }));
  };
  let handed: Handed;
  try {
    handed = await handMail({ ...door, timeout: 30_000, ...(login === undefined ? {} : { login }) }, mail);
  } catch (error) {
    if (!(error instanceof MailRefused)) throw error;
    const isForGood = (error.replyCode ?? 0) >= 500;
    const hint = error.replyCode === undefined ? '. Is the gateway running?' : '';
    tell('refused', { reason: error.message });
    terminal.complain(`${plain(error.message)}${hint}`);
    return isForGood ? EXIT.failed : EXIT.temporary;
  }
  const { reply, refused } = handed;
  for (const one of refused) say(`Refused by ${where} for ${plain(one.address)}: ${plain(one.reply)}`);
  say(`Accepted by ${where}: ${plain(reply)}`);
  const reached = await throughGateway(settings);
  if (reached === undefined) {
    const reason =
      'Accepted, but no gateway that works on the spool of this configuration answers here: it cannot be followed';
    tell('unknown', { reason });
    terminal.complain(reason);
    return EXIT.temporary;
  }
  try {
    const { end, items } = await follow(reached.operations, {
      messageId,
      timeout,
      stop: terminal.stop,
      heard: (item, entry) => lineOf(item, entry).forEach(say),
    });
    const ways = new Map<string, string>();
    for (const { route } of items) ways.set(route, await wayOf(route, settings));
    tell(end, { refused, items: items.map((item) => ({ ...itemJson(item), transport: ways.get(item.route) })) });
    const by = [...new Set(ways.values())].join(' and ');
    say(ENDS[end](seconds(begun), by, items));
    if (end === 'delivered' && refused.length > 0) return EXIT.failed;
    return { delivered: EXIT.done, failed: EXIT.failed, waiting: EXIT.temporary }[end];
  } finally {
    await reached.close();
  }
}

function seconds(begun: number): number {
  return Math.round((performance.now() - begun) / 100) / 10;
}

const ENDS: Readonly<Record<End, (seconds: number, by: string, items: readonly QueueItem[]) => string>> = {
  delivered: (time, by) => `Delivered in ${time} s by ${by}`,
  failed: (time, by, items) =>
    `Not delivered (by ${by}, after ${time} s): ${items.map(({ id, state }) => `${id} is ${state}`).join(', ')}. More: queue show ID`,
  waiting: (time, _by, items) =>
    items.length === 0
      ? `The gateway does not have it in its queue after ${time} s`
      : `Still waiting after ${time} s; the gateway goes on with it. More: ${items.map(({ id }) => `queue show ${id}`).join(', ')}`,
};

/** What is new to somebody who looks on; why, where there is a reason. */
function lineOf(item: QueueItem, { at, what, detail, status }: HistoryEntry): readonly string[] {
  const time = new Date(at).toTimeString().slice(0, 8);
  const said = HEARD[what];
  if (said === undefined) return [];
  const about = status === undefined ? detail : `${status.code} ${status.cause}: ${status.text}`;
  const reasons = (status?.reason ?? '').split('\n').filter((line) => line.trim() !== '');
  return [
    `${time} ${said.replace('ID', item.id).replace('MAILBOX', plain(item.mailbox))}${about === undefined ? '' : `: ${plain(about)}`}`,
    ...reasons.map((line) => `         ${plain(line)}`),
  ];
}

const HEARD: Readonly<Partial<Record<HistoryEntry['what'], string>>> = {
  accepted: 'accepted as ID',
  attempted: 'an attempt began, as MAILBOX',
  verified: 'looked whether it had gone through',
  relayed: 'delivered',
  delayed: 'failed for now, it is tried again',
  unknown: 'no clear answer, it is looked for before it is sent again',
  parked: 'set aside for an operator',
  bounced: 'given up, and returned to its sender',
  dropped: 'ended without being delivered',
  split: 'some recipients go their own way',
};

/** The transport that a route is set to, or has changed over to. */
async function wayOf(route: string, { sound, spool }: SpoolSettings): Promise<string> {
  const { exchange, routes = [] } = sound;
  const account = routes.find((one) => one?.name === route) ?? (route === 'exchange' ? exchange : undefined);
  const transport = account?.transport;
  if (transport === undefined) return `route ${route}`;
  if (account?.shadow !== undefined) return 'smtp (shadow)';
  if (transport !== 'auto') return transport;
  try {
    return (await changeOf({ name: route, folder: spool.folder }))?.transport ?? 'ews';
  } catch {
    return 'auto';
  }
}
