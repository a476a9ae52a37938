/**
 * What `setup` has to know: the questions, with their defaults and what an answer must be, and the answers as options give
 * them. Everything is judged by what judges the configuration. Throws CommandFault (usage) for an option that cannot be.
 */
import { mailbox, userName } from '../config/addresses.ts';
import { CLOUDS } from '../config/clouds.ts';
import { clientId, tenantId } from '../config/entra.ts';
import { ipAddress, network, serverName, serverUrl } from '../config/network.ts';
import type { Value } from '../config/value.ts';
import { bad, good } from '../config/value.ts';
import { CommandFault, EXIT } from './outcome.ts';
import type { SandboxSettings } from './sandbox-settings.ts';
import type { SetupFacts } from './step.ts';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

export interface Answers extends Omit<SetupFacts, 'account' | 'certificate' | 'configFile'> {
  readonly account: NonNullable<SetupFacts['account']>;
  readonly ewsUrl?: string;
  readonly deliver?: HostPort;
  readonly listen: { readonly address: string; readonly port: number };
  readonly watch: { readonly address: string; readonly port: number };
  readonly allow: readonly string[];
  readonly sandbox?: SandboxSettings;
}

export type Values = Readonly<Record<string, unknown>>;

/** Option -> what was answered, as text; several with commas. */
export type Given = Map<string, string>;

export interface Question {
  /** Name of the option too. */
  readonly option: string;
  readonly asks: string;
  readonly judge: (text: string) => Value<unknown>;
  /** Undefined: there is none, and an answer is needed. '': it may be left open. */
  readonly usual?: (given: Given) => string | undefined;
  /** Default: always. */
  readonly applies?: (given: Given) => boolean;
}

const isServers = (given: Given): boolean => given.get('cloud') === 'onPremises';
const isCloud = (given: Given): boolean => !isServers(given);
const open = (): string => '';

export const QUESTIONS: readonly Question[] = [
  {
    option: 'cloud',
    asks: `Where is your Exchange? (${[...Object.keys(CLOUDS), 'onPremises'].join(', ')})`,
    judge: oneOf([...Object.keys(CLOUDS), 'onPremises']),
    usual: () => 'worldwide',
  },
  {
    option: 'ews-url',
    asks: 'Address of Exchange Web Services, such as https://mail.contoso.com/EWS/Exchange.asmx',
    judge: (text) => serverUrl(text, { httpOnLoopback: true }),
    applies: isServers,
  },
  {
    option: 'username',
    asks: 'The service account, such as CONTOSO\\svc-gateway',
    judge: userName,
    applies: isServers,
  },
  {
    option: 'login',
    asks: 'How it logs in (ntlm, basic)',
    judge: oneOf(['ntlm', 'basic']),
    usual: () => 'ntlm',
    applies: isServers,
  },
  {
    option: 'transport',
    asks: 'How mail is handed over (auto: EWS, then Graph by itself; graph; ews; smtp)',
    judge: oneOf(['auto', 'graph', 'ews', 'smtp']),
    usual: () => 'auto',
    applies: isCloud,
  },
  {
    option: 'path',
    asks: 'What lets the app in (rbac: roles for some mailboxes, recommended; consent: permissions for the whole tenant)',
    judge: oneOf(['rbac', 'consent']),
    usual: () => 'rbac',
    applies: isCloud,
  },
  {
    option: 'credential',
    asks: 'How the gateway proves who it is (certificate: a key pair is made here, recommended; secret)',
    judge: oneOf(['certificate', 'secret']),
    usual: () => 'certificate',
    applies: isCloud,
  },
  {
    option: 'tenant',
    asks: 'Directory (tenant) ID (entra.microsoft.com: App registrations, New registration, Overview; empty: later)',
    judge: tenantId,
    usual: open,
    applies: isCloud,
  },
  {
    option: 'client',
    asks: 'Application (client) ID (on the same page; empty: later)',
    judge: clientId,
    usual: open,
    applies: isCloud,
  },
  {
    option: 'object-id',
    asks: 'Object ID of the enterprise application (Enterprise apps, not App registrations; empty: the script asks)',
    judge: clientId,
    usual: open,
    applies: (given) => isCloud(given) && (given.get('path') === 'rbac' || given.get('transport') === 'smtp'),
  },
  { option: 'mailbox', asks: 'The mailbox that sends; several with commas', judge: each(mailbox) },
  {
    option: 'pickup',
    asks: 'Mailboxes whose mail goes to a legacy system (e-mail to fax); several with commas, empty: none',
    judge: each(mailbox),
    usual: open,
  },
  {
    option: 'deliver',
    asks: 'The SMTP server that gets it, HOST:PORT (empty: files in a folder)',
    judge: hostPort,
    usual: open,
    applies: (given) => (given.get('pickup') ?? '') !== '',
  },
  {
    option: 'listen',
    asks: 'Where the gateway takes mail, ADDRESS:PORT (0.0.0.0:2525: from the network)',
    judge: addressPort,
    usual: () => '127.0.0.1:2525',
  },
  {
    option: 'allow',
    asks: 'Networks that may send without login, such as 10.1.0.0/16; several with commas',
    judge: each(network),
    usual: () => '127.0.0.0/8,::1/128',
  },
  {
    option: 'group',
    asks: 'Name of the group and the scope at Exchange',
    // What Exchange takes as a name and nothing else gives a meaning to.
    judge: (text) =>
      /^[\p{L}\p{N}][\p{L}\p{N} ._&+()'-]{0,39}$/u.test(text) && text === text.trim()
        ? good(text)
        : bad("must be 1 to 40 letters, digits, blanks and . _ & + ( ) ' -, the first a letter or digit"),
    usual: () => 'smtp2exchange',
  },
  {
    option: 'outside',
    asks: 'A mailbox that it is not to reach, for the test (empty: none)',
    judge: mailbox,
    usual: open,
    applies: isCloud,
  },
];

/** Settings that are asked by option only. */
const UNASKED: readonly Question[] = [
  { option: 'console', asks: '', judge: addressPort, usual: () => '127.0.0.1:8025' },
];

export function givenBy(values: Values): Given {
  const given: Given = new Map();
  for (const { option, judge } of [...QUESTIONS, ...UNASKED]) {
    const value = values[option];
    if (value === undefined) continue;
    const text = Array.isArray(value) ? value.join(',') : String(value);
    const read = judge(text);
    if (!read.ok)
      throw new CommandFault(
        EXIT.usage,
        `--${option} ${read.problem}${read.hint === undefined ? '' : `: ${read.hint}`}`,
      );
    given.set(option, text);
  }
  return given;
}

/** The rest by its default. Throws CommandFault where there is none. */
export function complete(given: Given): void {
  for (const { option, usual, applies = () => true } of [...QUESTIONS, ...UNASKED]) {
    if (given.has(option) || !applies(given)) continue;
    const text = usual?.(given);
    if (text === undefined) throw new CommandFault(EXIT.usage, `--${option} is needed`);
    given.set(option, text);
  }
  for (const { option, applies = () => true } of QUESTIONS)
    if (!applies(given) && (given.get(option) ?? '') !== '')
      throw new CommandFault(EXIT.usage, `--${option} makes no sense with the other options`);
}

/** @param given complete */
export function answersOf(given: Given, sandbox: SandboxSettings | undefined): Answers {
  const text = (option: string): string => given.get(option) ?? '';
  const optional = <K extends string>(name: K, option: string): { readonly [P in K]?: string } =>
    (text(option) === '' ? {} : { [name]: text(option) }) as { readonly [P in K]?: string };
  const isOwn = isServers(given);
  const deliver = text('deliver');
  return {
    cloud: text('cloud') as Answers['cloud'],
    transport: isOwn ? 'ews' : (text('transport') as Answers['transport']),
    path: text('path') === 'consent' ? 'consent' : 'rbac',
    credential: text('credential') === 'certificate' ? 'certificate' : 'secret',
    ...optional('tenantId', 'tenant'),
    ...optional('clientId', 'client'),
    ...optional('objectId', 'object-id'),
    ...optional('outside', 'outside'),
    ...optional('ewsUrl', 'ews-url'),
    name: text('group'),
    mailboxes: split(text('mailbox')),
    pickups: split(text('pickup')),
    ...(given.has('reads') ? { reads: split(text('reads')) as NonNullable<Answers['reads']> } : {}),
    secretFile: isOwn ? 'exchange/password' : 'exchange/client-secret',
    account: { username: text('username'), login: text('login') === 'basic' ? 'basic' : 'ntlm' },
    ...(deliver === '' ? {} : { deliver: endOf(deliver) }),
    listen: listenOf(text('listen')),
    watch: listenOf(text('console')),
    allow: split(text('allow')),
    ...(sandbox === undefined ? {} : { sandbox }),
  };
}

function listenOf(text: string): { readonly address: string; readonly port: number } {
  const { host, port } = endOf(text);
  return { address: host, port };
}

function split(text: string): readonly string[] {
  const parts = text.split(',').map((part) => part.trim());
  return [...new Set(parts.filter((part) => part !== ''))];
}

function oneOf(words: readonly string[]): Question['judge'] {
  return (text) => (words.includes(text) ? good(text) : bad(`must be one of ${words.join(', ')}`));
}

function each(judge: (text: string) => Value<unknown>): Question['judge'] {
  return (text) => {
    const parts = split(text);
    if (parts.length === 0) return bad('must name at least one');
    return parts.map(judge).find(({ ok }) => !ok) ?? good(parts);
  };
}

/** `host:port`, `[::1]:port`; judged before. */
export function endOf(text: string): HostPort {
  const at = text.lastIndexOf(':');
  return { host: text.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(text.slice(at + 1)) };
}

function end(text: string, host: (text: string) => Value<string>, least: number): Value<HostPort> {
  const form = /^(?:\[[^\]]+\]|[^:[\]]+):\d{1,5}$/.test(text);
  const read = endOf(text);
  if (!form || read.port < least || read.port > 65_535)
    return bad('must be an address and a port, such as 192.0.2.1:25 or [2001:db8::1]:25');
  const judged = host(read.host);
  return judged.ok ? good(read) : judged;
}

export function hostPort(text: string): Value<HostPort> {
  return end(text, serverName, 1);
}

function addressPort(text: string): Value<HostPort> {
  return end(text, ipAddress, 0);
}
