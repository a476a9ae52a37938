/**
 * What `check` finds out about pickups: their rules, the mailboxes by each way they can be read, the folders, and the
 * systems that mail is handed over to. Nothing is fetched, made or changed in a mailbox. Never rejects for what it meets.
 */
import type { Config, PickupConfig, RouteConfig } from '../config/config.ts';
import type { Got } from '../exchange/mailbox.ts';
import { checkHandOver } from './check-hand-over.ts';
import type { Judged, Tell } from './finding.ts';
import { eased, timed } from './finding.ts';
import type { Reading, Way } from './reading.ts';
import { readingWays, reasonOf, wayInUse } from './reading.ts';

/** Those that the account of this route reads. */
export async function checkPickups(
  { name }: RouteConfig,
  config: Config,
  reading: Reading,
  tell: Tell,
  stop: AbortSignal,
): Promise<void> {
  const inUse = await wayInUse(name, config.spool.sqlite);
  for (const pickup of config.pickups.filter(({ route }) => route === name)) {
    checkRules(pickup, tell);
    checkReports(pickup, config.pickups, tell);
    for (const way of readingWays(pickup.transport)) {
      const isSpare = pickup.transport === 'auto' && way !== inUse;
      await checkFolders(pickup, way, isSpare, reading, tell);
    }
    await checkHandOver(pickup, config, tell, stop);
  }
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

/** A report of the fax server may well match the rules, and would be faxed: a circle that no field of ours shows. */
function checkReports({ name, setting, deliver }: PickupConfig, all: readonly PickupConfig[], tell: Tell): void {
  if (deliver.kind !== 'smtp') return;
  const from = deliver.from.toLowerCase();
  if (!all.some(({ mailbox }) => mailbox.toLowerCase() === from)) return;
  tell({
    what: 'pickup',
    pickup: name,
    mark: 'warn',
    says: `what the other system reports comes to ${deliver.from}, which is picked up from: it may be handed over again, round and round. Leave ${setting}.deliver.smtp.from away, or name a mailbox that is not picked up from`,
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
