/**
 * What `check` finds out about pickups: their rules, the mailboxes by each way they can be read, the folders, and the
 * systems that mail is handed over to. Nothing is fetched, made or changed in a mailbox. Never rejects for what it meets.
 */
import { changeOf, waysOf } from '../assembly/way-out.ts';
import type { Mailboxes } from '../assembly/mailboxes.ts';
import { openMailboxes } from '../assembly/mailboxes.ts';
import type { Config, PickupConfig, RouteConfig } from '../config/config.ts';
import type { Got, PickupMailbox } from '../exchange/mailbox.ts';
import type { Event } from '../mail/event.ts';
import type { Delayed, Failed } from '../mail/status.ts';
import { checkHandOver } from './check-hand-over.ts';
import { judgedOutside } from './check-outside.ts';
import type { Judged, Tell } from './finding.ts';
import { eased, PATIENCE, timed } from './finding.ts';
import { tokensIn } from './token-findings.ts';
import { version } from './version.ts';

type Way = 'ews' | 'graph';

/** @param outside mailboxes that must not be reached */
export async function checkPickups(
  route: RouteConfig,
  config: Config,
  outside: readonly string[],
  tell: Tell,
  stop: AbortSignal,
): Promise<void> {
  const pickups = config.pickups.filter((pickup) => pickup.route === route.name);
  if (pickups.length === 0) return;
  const change = await changeOf({ name: route.name, spool: config.spool.sqlite }).catch(() => undefined);
  const inUse = change?.transport ?? 'ews';
  const reading = new Reading(route, config.spool.sqlite, tell, stop);
  try {
    for (const pickup of pickups) {
      checkRules(pickup, tell);
      for (const way of readingWays(pickup)) {
        const isSpare = pickup.transport === 'auto' && way !== inUse;
        await checkFolders(pickup, way, isSpare, reading, tell);
      }
      await checkHandOver(pickup, config, tell, stop);
    }
    // By the ways that mail is sent, the route has tried.
    const sending = new Set(waysOf(route).map(({ exchange }) => exchange.transport));
    const others = new Set(pickups.flatMap(readingWays).filter((way) => !sending.has(way)));
    for (const way of others) {
      const isSpare = way !== inUse && pickups.every((one) => one.transport === 'auto' || one.transport !== way);
      for (const mailbox of outside) await checkOutside(route, { mailbox, transport: way, isSpare }, reading, tell);
    }
  } finally {
    await reading.close();
  }
}

function readingWays({ transport }: PickupConfig): readonly Way[] {
  return transport === 'auto' ? ['ews', 'graph'] : [transport];
}

// --- rules -----------------------------------------------------------------------------------------------------------

function checkRules({ name, setting, examples, recipients, from }: PickupConfig, tell: Tell): void {
  const about = { what: 'pickup', pickup: name };
  if (examples > 0) tell({ ...about, mark: 'ok', says: `${examples} example${examples === 1 ? ' holds' : 's hold'}` });
  else if (recipients.some(({ pattern }) => pattern !== undefined))
    tell({ ...about, mark: 'skip', says: `its patterns have no examples; add tests to ${setting}.recipients` });
  if (!from.inside && from.allow.some((pattern) => pattern === '*' || pattern === '*@*'))
    tell({
      ...about,
      mark: 'warn',
      says: `anybody on the Internet can use it: ${setting}.from.allow has *, without inside. Set ${setting}.from.inside: true, unless that is meant`,
    });
}

// --- mailboxes and folders -------------------------------------------------------------------------------------------

async function checkFolders(
  { name, setting, mailbox, folder, after, refused, quarantine }: PickupConfig,
  way: Way,
  isSpare: boolean,
  reading: Reading,
  tell: Tell,
): Promise<void> {
  const about = { pickup: name, transport: way, mailbox };
  const find = async (path: string) =>
    await timed(() => reading.look(way, mailbox, (box, signal) => box.folders([path], [], signal)));
  const source = await find(folder);
  if (source.value === undefined) {
    tell({ ...about, mark: 'skip', what: 'mailbox', says: 'not looked into: there is no token' });
    return;
  }
  const found = folderJudged(source.value, `${setting}.folder`);
  if (found === undefined) {
    const { mark, says } = troubleOf(source.value);
    tell({ ...about, mark: eased(mark, isSpare), what: 'mailbox', says, seconds: source.seconds });
    return;
  }
  tell({ ...about, mark: 'ok', what: 'mailbox', says: 'reached', seconds: source.seconds });
  tell({ ...about, ...found, mark: eased(found.mark, isSpare), what: 'folder', folder });
  const made = [...(after.kind === 'move' ? [after.folder] : []), refused, quarantine];
  const each = new Map(made.map((path) => [path.toLowerCase(), path]));
  for (const path of each.values()) {
    const { value } = await find(path);
    if (value === undefined) return;
    const { mark, says } = isMissing(value) ? WILL_BE_MADE : (folderJudged(value, setting) ?? troubleOf(value));
    tell({ ...about, mark: eased(mark, isSpare), what: 'folder', folder: path, says });
  }
}

const WILL_BE_MADE: Judged = { mark: 'ok', says: 'not there yet; the gateway makes it when it starts' };

/** @returns undefined: not even the mailbox was reached */
function folderJudged(found: Got<object>, setting: string): Judged | undefined {
  if (found.ok) return { mark: 'ok', says: 'there' };
  return isMissing(found) ? { mark: 'fail', says: `${setting}: ${reasonOf(found.status)}` } : undefined;
}

function isMissing(found: Got<object>): boolean {
  return !found.ok && found.status.cause === 'folder not found';
}

function troubleOf(found: Got<object>): Judged {
  if (found.ok) return { mark: 'ok', says: 'reached' };
  return { mark: 'fail', says: `${found.status.cause}: ${reasonOf(found.status)}` };
}

function reasonOf({ reason, text }: Delayed | Failed): string {
  return reason ?? text;
}

async function checkOutside(
  { name, exchange }: RouteConfig,
  one: { readonly mailbox: string; readonly transport: Way; readonly isSpare: boolean },
  reading: Reading,
  tell: Tell,
): Promise<void> {
  const { mailbox, transport } = one;
  const about = { what: 'outside', route: name, transport, mailbox };
  const { value, seconds } = await timed(() =>
    reading.look(transport, mailbox, (box, signal) => box.folders(['Inbox'], [], signal)),
  );
  if (value === undefined) {
    tell({ ...about, mark: 'skip', says: 'not looked into: there is no token' });
    return;
  }
  const { clientId, credential } = exchange;
  const looked = value.ok
    ? ({ kind: 'reached' } as const)
    : ({ kind: 'refused', cause: value.status.cause, reason: reasonOf(value.status) } as const);
  const isCloud = credential.kind !== 'account';
  tell({ ...about, ...judgedOutside(looked, { ...one, clientId, isCloud }), seconds });
}

/** The mailboxes of one account, by each way. Tells of a token when it is first asked for. */
class Reading {
  readonly #name: string;
  readonly #mailboxes: Mailboxes;
  readonly #events: Event[] = [];
  readonly #withoutToken = new Set<Way>();
  readonly #tell: Tell;
  readonly #stop: AbortSignal;

  constructor(route: RouteConfig, spool: string, tell: Tell, stop: AbortSignal) {
    this.#name = route.name;
    this.#tell = tell;
    this.#stop = stop;
    const report = (event: Event): void => void this.#events.push(event);
    this.#mailboxes = openMailboxes({ ...route, spool, version: version(), report });
  }

  /** @returns undefined: there is no token */
  async look<T extends object>(
    transport: Way,
    mailbox: string,
    work: (box: PickupMailbox, signal: AbortSignal) => Promise<Got<T>>,
  ): Promise<Got<T> | undefined> {
    if (this.#withoutToken.has(transport)) return undefined;
    const [box] = await this.#mailboxes.boxesOf({ mailbox, transport });
    if (box === undefined) throw new Error(`no way to read a mailbox over ${transport}`);
    const found = await work(box, AbortSignal.any([this.#stop, AbortSignal.timeout(PATIENCE)]));
    const events = this.#events.splice(0);
    for (const finding of tokensIn(events)) this.#tell({ ...finding, route: this.#name, transport });
    if (!events.some(({ event }) => event === 'token.failed')) return found;
    this.#withoutToken.add(transport);
    return undefined;
  }

  async close(): Promise<void> {
    await this.#mailboxes.close();
  }
}
