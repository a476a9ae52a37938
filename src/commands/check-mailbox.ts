/**
 * Exchange by each way: whether EWS, Graph or SMTP submission lets this application in at all, and then each mailbox that
 * sends. A look into Sent Items for a message that does not exist; nothing is read, changed or sent.
 */
import type { Config, RouteConfig } from '../config/config.ts';
import type { Account, Looked } from './check-account.ts';
import { reachServer } from './check-server.ts';
import { isDenied, lacking, stepOfRefusal } from './check-step.ts';
import type { Walk } from './check-walk.ts';
import type { Finding, Judged } from './finding.ts';
import { eased, PATIENCE } from './finding.ts';

/** Mailboxes that are asked before a way counts as closed: one may be closed by itself. */
const ASKED = 3;
const NAMES = { ews: 'EWS', graph: 'Graph', smtp: 'SMTP' } as const;

export async function* checkReach(walk: Walk): AsyncGenerator<Finding> {
  for (const account of walk.accounts) {
    const about = account.about('reach');
    if (account.blocked !== undefined) {
      yield { ...about, mark: 'skip', says: `not tried: ${account.blocked}` };
      continue;
    }
    const judged = account.way === 'smtp' ? await reachSmtp(account, walk) : await reach(account, walk);
    if (judged.mark === 'fail') account.blocked = `${NAMES[account.way]} is closed to it`;
    yield { ...about, ...judged, mark: eased(judged.mark, account.isSpare) };
  }
  yield* reachShadows(walk);
}

/** What delivers in the place of Exchange. */
async function* reachShadows({ config: { routes, hostname }, stop }: Walk): AsyncGenerator<Finding> {
  for (const { name, exchange } of routes) {
    const { shadow, ca } = exchange;
    if (shadow === undefined) continue;
    const signal = AbortSignal.any([stop, AbortSignal.timeout(PATIENCE)]);
    const { mark, says } = await reachServer(shadow, ca, hostname, signal);
    yield { what: 'reach', route: name, transport: 'shadow', mark, says };
  }
}

async function reach(account: Account, { config, named }: Walk): Promise<Judged> {
  const sending = account.sends ? mailboxesOf(account.route, config, named) : [];
  const picked = config.pickups.filter(({ route }) => route === account.route.name).map(({ mailbox }) => mailbox);
  let first: Judged | undefined;
  for (const mailbox of [...new Set([...sending, ...picked])].slice(0, ASKED)) {
    const looked = await account.look(mailbox);
    if (looked.ok || looked.status.outcome === 'failed' || looked.status.reach !== 'transport')
      return { mark: 'ok', says: `${NAMES[account.way]} answers` };
    first ??= refusal(account, looked);
    // What says no more of one mailbox than of all.
    if (looked.status.cause !== 'HTTP 403') break;
  }
  return first ?? { mark: 'skip', says: 'no mailbox is there to be asked for' };
}

async function reachSmtp(account: Account, { config, named, stop }: Walk): Promise<Judged> {
  const { smtp, ca } = account.route.exchange;
  const [mailbox = ''] = mailboxesOf(account.route, config, named);
  if (smtp === undefined) return { mark: 'skip', says: 'no server is set' };
  const token = await account.token();
  const signal = AbortSignal.any([stop, AbortSignal.timeout(PATIENCE)]);
  const given = token?.ok === true ? { user: mailbox, token: token.token } : undefined;
  const { cause, ...judged } = await reachServer(smtp, ca, config.hostname, signal, given);
  const step = cause === undefined ? undefined : stepOfRefusal(account, cause);
  return { ...judged, ...(step === undefined ? {} : { step }) };
}

export async function* checkMailboxes({ config, accounts, named }: Walk): AsyncGenerator<Finding> {
  for (const account of accounts) {
    if (!account.sends) continue;
    const about = account.about('mailbox');
    const mailboxes = mailboxesOf(account.route, config, named);
    if (mailboxes.length === 0) continue;
    if (account.blocked !== undefined) {
      yield { ...about, mark: 'skip', says: `not looked into: ${account.blocked}` };
      continue;
    }
    for (const mailbox of mailboxes) {
      if (account.way === 'smtp') {
        yield { ...about, mark: 'skip', mailbox, says: 'SMTP cannot be asked without sending a mail' };
        continue;
      }
      const looked = await account.look(mailbox);
      const judged: Judged = looked.ok ? { mark: 'ok', says: 'reached' } : refusal(account, looked);
      yield { ...about, ...judged, mailbox, mark: eased(judged.mark, account.isSpare) };
    }
  }
}

function refusal(account: Account, { status }: Looked & { readonly ok: false }): Judged {
  const { cause, reason, text } = status;
  const missing = lacking(account);
  // Graph says the same of all that is missing; what the token carries says more.
  const known =
    isDenied(cause) && account.path === 'consent' && missing.length > 0
      ? `; the token carries ${account.claims?.roles.join(', ')}, not ${missing.join(', ')}`
      : '';
  const step = stepOfRefusal(account, cause);
  return { mark: 'fail', says: `${cause}${known}: ${reason ?? text}`, ...(step === undefined ? {} : { step }) };
}

/** Those that mail of a route is sent as. */
export function mailboxesOf(
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
