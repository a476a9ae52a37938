/**
 * What `check` finds out about pickups: their rules, the mailboxes by each way they can be read, the folders, and the
 * systems that mail is handed over to. Nothing is fetched, made or changed in a mailbox. Never rejects for what it meets.
 */
import type { PickupConfig } from '../config/config.ts';
import type { Got } from '../exchange/mailbox.ts';
import type { Account } from './check-account.ts';
import { readingWays } from './check-account.ts';
import { checkHandOver } from './check-hand-over.ts';
import { stepOfRefusal } from './check-step.ts';
import type { Walk } from './check-walk.ts';
import type { Finding, Judged } from './finding.ts';
import { eased } from './finding.ts';

export async function* checkPickups({ config, accounts, stop }: Walk): AsyncGenerator<Finding> {
  for (const pickup of config.pickups) {
    yield* checkRules(pickup);
    yield* checkReports(pickup, config.pickups);
    for (const way of readingWays(pickup.transport)) {
      const account = accounts.find((one) => one.route.name === pickup.route && one.way === way);
      if (account === undefined) throw new Error(`the pickup ${pickup.name} has no account`);
      yield* checkFolders(pickup, account);
    }
    yield await checkHandOver(pickup, config, stop);
  }
}

// --- rules -----------------------------------------------------------------------------------------------------------

function* checkRules({ name, setting, examples, recipients, from }: PickupConfig): Generator<Finding> {
  const about = { what: 'pickup' as const, pickup: name };
  if (examples > 0) yield { ...about, mark: 'ok', says: `${examples} example${examples === 1 ? ' holds' : 's hold'}` };
  else if (recipients.some(({ pattern }) => pattern !== undefined))
    yield { ...about, mark: 'skip', says: `its patterns have no examples; add tests to ${setting}.recipients` };
  if (!from.inside && from.allow.some((pattern) => pattern === '*' || pattern === '*@*'))
    yield {
      ...about,
      mark: 'warn',
      says: `anybody on the Internet can use it: ${setting}.from.allow has *, without inside. Set ${setting}.from.inside: true, unless that is meant`,
    };
}

/** A report of the fax server may well match the rules, and would be faxed: a circle that no field of ours shows. */
function* checkReports({ name, setting, deliver }: PickupConfig, all: readonly PickupConfig[]): Generator<Finding> {
  if (deliver.kind !== 'smtp') return;
  const from = deliver.from.toLowerCase();
  if (!all.some(({ mailbox }) => mailbox.toLowerCase() === from)) return;
  yield {
    what: 'pickup',
    pickup: name,
    mark: 'warn',
    says: `what the other system reports comes to ${deliver.from}, which is picked up from: it may be handed over again, round and round. Leave ${setting}.deliver.smtp.from away, or name a mailbox that is not picked up from`,
  };
}

// --- mailboxes and folders -------------------------------------------------------------------------------------------

async function* checkFolders(
  { name, setting, mailbox, folder, transport, after, refused, quarantine }: PickupConfig,
  account: Account,
): AsyncGenerator<Finding> {
  const about = { route: account.route.name, pickup: name, transport: account.way, mailbox };
  const isSpare = transport === 'auto' && !account.isChosen;
  if (account.blocked !== undefined) {
    yield { ...about, mark: 'skip', what: 'mailbox', says: `not looked into: ${account.blocked}` };
    return;
  }
  const source = await account.folders(mailbox, [folder]);
  const found = folderJudged(source, `${setting}.folder`);
  if (found === undefined) {
    const judged = troubleOf(source, account);
    yield { ...about, ...judged, mark: eased(judged.mark, isSpare), what: 'mailbox' };
    return;
  }
  yield { ...about, mark: 'ok', what: 'mailbox', says: 'reached' };
  yield { ...about, ...found, mark: eased(found.mark, isSpare), what: 'folder', folder };
  const made = [...(after.kind === 'move' ? [after.folder] : []), refused, quarantine];
  const each = new Map(made.map((path) => [path.toLowerCase(), path]));
  for (const path of each.values()) {
    const looked = await account.folders(mailbox, [path]);
    const judged = isMissing(looked) ? WILL_BE_MADE : (folderJudged(looked, setting) ?? troubleOf(looked, account));
    yield { ...about, ...judged, mark: eased(judged.mark, isSpare), what: 'folder', folder: path };
  }
}

const WILL_BE_MADE: Judged = { mark: 'ok', says: 'not there yet; the gateway makes it when it starts' };

/** @returns undefined: not even the mailbox was reached */
function folderJudged(found: Got<object>, setting: string): Judged | undefined {
  if (found.ok) return { mark: 'ok', says: 'there' };
  const { reason, text } = found.status;
  return isMissing(found) ? { mark: 'fail', says: `${setting}: ${reason ?? text}` } : undefined;
}

function isMissing(found: Got<object>): boolean {
  return !found.ok && found.status.cause === 'folder not found';
}

function troubleOf(found: Got<object>, account: Account): Judged {
  if (found.ok) return { mark: 'ok', says: 'reached' };
  const { cause, reason, text } = found.status;
  const step = stepOfRefusal(account, cause);
  return { mark: 'fail', says: `${cause}: ${reason ?? text}`, ...(step === undefined ? {} : { step }) };
}
