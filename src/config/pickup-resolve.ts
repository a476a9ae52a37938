/** From the settings of pickup to its Config: reads the files they name, fills in what follows from the rest. */
import { isAbsolute, relative, resolve, sep } from 'node:path';
import type { DestinationRule } from '../mail/destination.ts';
import type { AfterConfig, DeliverConfig, PickupConfig } from './config.ts';
import type { Environment } from './environment.ts';
import type { Path } from './fault.ts';
import { readAuthorities, readSecret } from './files.ts';
import { withoutGaps } from './gaps.ts';
import { authorization, signingKey } from './hand-over.ts';
import { PROCESSED } from './pickup.ts';
import { pickupName } from './pickup-check.ts';
import { programOf } from './program.ts';
import { accountsIn, DEFAULT_ROUTE } from './routes.ts';
import type { Secret } from './secret.ts';
import type { Settings } from './settings.ts';
import type { SoundSettings } from './sound.ts';
import { ownFolder } from './spool.ts';
import type { Value } from './value.ts';

/** What was not in the configuration file itself. */
export interface FetchedPickup {
  readonly password?: Secret;
  readonly signingKey?: Secret;
  readonly authorization?: Secret;
  readonly ca?: string;
}

type Fault = (path: Path, problem: string, hint?: string) => void;
type Pickup = Settings['pickup'][number];

/** @returns by the place of the entry */
export async function fetchPickups(
  { pickup = [], spool }: SoundSettings,
  folder: string,
  fault: Fault,
): Promise<readonly FetchedPickup[]> {
  const all: FetchedPickup[] = [];
  for (const [index, one] of pickup.entries()) {
    const path = ['pickup', index, 'deliver'];
    const keep = async <T>(
      own: Path,
      name: string | undefined,
      read: (folder: string, name: string) => Promise<Value<T>>,
    ): Promise<T | undefined> => {
      if (name === undefined) return undefined;
      const value = await read(folder, name);
      if (value.ok) return value.value;
      fault([...path, ...own], value.problem, value.hint);
      return undefined;
    };
    const { smtp, webhook, folder: files } = one?.deliver ?? {};
    const own = spool === undefined ? undefined : ownFolder(withoutGaps(spool));
    if (files?.path !== undefined && own !== undefined && holds(folder, files.path, own.path))
      fault(
        [...path, 'folder', 'path'],
        `holds ${own.setting === 'sqlite' ? 'the spool' : 'the own files (spool.folder)'} of this gateway, and whoever takes files from it would find that too`,
        'name a folder of its own',
      );
    const password = await keep(['smtp', 'passwordFile'], smtp?.passwordFile, readSecret);
    const key = await keep(['webhook', 'secretFile'], webhook?.secretFile, secretOf(signingKey));
    const login = await keep(['webhook', 'authorizationFile'], webhook?.authorizationFile, secretOf(authorization));
    const ca =
      (await keep(['smtp', 'caFile'], smtp?.caFile, readAuthorities)) ??
      (await keep(['webhook', 'caFile'], webhook?.caFile, readAuthorities));
    all.push(withoutGaps({ password, signingKey: key, authorization: login, ca }));
  }
  return all;
}

/** @param base where relative paths start */
function holds(base: string, path: string, folder: string): boolean {
  const way = relative(resolve(base, path), resolve(base, folder));
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

function secretOf(form: (text: string) => Value<Secret>) {
  return async (folder: string, name: string): Promise<Value<Secret>> => {
    const text = await readSecret(folder, name);
    return text.ok ? form(text.value.reveal()) : text;
  };
}

export function pickupsOf(
  settings: Settings,
  fetched: readonly FetchedPickup[],
  around: { readonly folder: string; readonly environment: Environment },
): readonly PickupConfig[] {
  return settings.pickup.map((one, index) => {
    const { name = pickupName(index), route = DEFAULT_ROUTE, answer, transport, recipients, ...rest } = one;
    const { after, deliver, ...same } = rest;
    return {
      ...same,
      name,
      setting: `pickup[${index}]`,
      route,
      transport: transportOf(transport, route, settings),
      recipients: [...recipients.map(ruleOf), ...lastRule(one)],
      examples: recipients.reduce((sum, { tests }) => sum + tests.length, 0),
      after: afterOf(after),
      deliver: deliverOf(deliver, fetched[index] ?? {}, around),
      answer: { ...withoutGaps(answer), from: answer.from ?? one.mailbox },
    };
  });
}

/** As the account sends, unless something else is wanted. SMTP cannot read. */
function transportOf(wanted: Pickup['transport'], route: string, settings: Settings): PickupConfig['transport'] {
  if (wanted !== 'route') return wanted;
  const account = accountsIn(settings as SoundSettings).find(({ account: one, path }) =>
    route === DEFAULT_ROUTE ? path[0] === 'exchange' : 'name' in one && one.name === route,
  )?.account;
  const sends = account?.transport ?? 'ews';
  if (sends !== 'smtp') return sends;
  return account?.cloud === 'onPremises' ? 'ews' : 'graph';
}

function ruleOf({ in: place, pattern, to, digits }: Pickup['recipients'][number]): DestinationRule {
  return withoutGaps({ in: place, pattern, to, digits });
}

/** Who gets what the others find nobody for. */
function lastRule({ deliver, recipients, mailbox }: Pickup): readonly DestinationRule[] {
  const to = deliver.smtp?.to ?? (recipients.length === 0 ? mailbox : undefined);
  // A dollar sign of an address stands for itself.
  return to === undefined ? [] : [{ in: 'always', to: to.replaceAll('$', '$$$$'), digits: false }];
}

function afterOf({ move, delete: isDeleted, read, keep }: Pickup['after']): AfterConfig {
  if (isDeleted === true) return { kind: 'delete' };
  if (read === true) return { kind: 'read' };
  if (keep === true) return { kind: 'keep' };
  return { kind: 'move', folder: move ?? PROCESSED };
}

function deliverOf(
  { smtp, folder, webhook, command, pop3 }: Pickup['deliver'],
  fetched: FetchedPickup,
  around: { readonly folder: string; readonly environment: Environment },
): DeliverConfig {
  const trusted = fetched.ca === undefined ? {} : { ca: fetched.ca };
  if (smtp !== undefined) {
    const { host, port, tls, minTls, username, from } = smtp;
    const password = smtp.password ?? fetched.password;
    const login =
      username === undefined || password === undefined
        ? ({ kind: 'none' } as const)
        : ({ kind: 'password', username, password } as const);
    return { kind: 'smtp', server: { host, port, tls, minTls, login }, from: from === 'none' ? '' : from, ...trusted };
  }
  if (folder !== undefined) return { kind: 'folder', path: resolve(around.folder, folder.path), form: folder.form };
  if (webhook !== undefined) {
    const { url, form, timeout } = webhook;
    const secret = webhook.secret ?? fetched.signingKey;
    const login = webhook.authorization ?? fetched.authorization;
    return { kind: 'webhook', url, form, timeout, ...withoutGaps({ secret, authorization: login }), ...trusted };
  }
  if (command !== undefined) {
    return { kind: 'command', ...programOf(command.run, around.folder, around.environment), timeout: command.timeout };
  }
  if (pop3 !== undefined) return { kind: 'pop3', ...pop3 };
  throw new Error('a pickup without a way passed its checks');
}
