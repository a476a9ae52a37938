/**
 * retry, hold, release, move, drop: one or many items, by id or by filter. What was not done is told with its reason, and
 * nothing else keeps it from being done to the others.
 */
import { userInfo } from 'node:os';
import type { Act, ActOrder, Operations, Outcome } from '../console/operations.ts';
import { PAGE } from '../console/wire.ts';
import { isSendable } from '../mail/address.ts';
import type { ItemState, SpoolId } from '../mail/item.ts';
import { EXIT } from './outcome.ts';
import type { ExitCode, Terminal } from './outcome.ts';
import type { Call, Values } from './queue-call.ts';
import { filterOf, idsOf, limitOf, pagesOf, usage } from './queue-choice.ts';
import { countOf, json, NOT_DONE } from './queue-text.ts';

/** Which items a filter without --state means. */
const STATES = {
  retry: ['queued', 'parked'],
  hold: ['queued'],
  release: ['parked'],
  move: ['queued', 'parked'],
  drop: ['queued', 'parked'],
} as const satisfies Record<Act, readonly ItemState[]>;

const CHOOSING = [
  'state',
  'route',
  'mailbox',
  'from-mailbox',
  'sender',
  'recipient',
  'message-id',
  'older',
  'newer',
  'all-parked',
];
/** Ids that are told one by one. */
const TOLD = 20;

export async function actCommand(act: Act, { values, words, terminal, reach }: Call): Promise<ExitCode> {
  const destination = act === 'move' ? destinationOf(values) : undefined;
  const choosing = new Set(CHOOSING.filter((name) => act !== 'move' || (name !== 'mailbox' && name !== 'route')));
  const isFiltered = Object.keys(values).some((name) => choosing.has(name));
  const named = idsOf(words);
  if (named.length > 0 === isFiltered) {
    throw usage(
      isFiltered
        ? 'Name ids or a filter, not both'
        : `Which? "queue ${act}" takes ids, a filter${act === 'hold' ? '' : ', or --all-parked'}`,
    );
  }
  const asked = filterOf(values, choosing, Date.now());
  const filter = asked.states === undefined ? { ...asked, states: STATES[act] } : asked;
  const limit = limitOf(values);
  const { operations, isRunning, routes } = await reach();
  const { route } = destination ?? {};
  if (route !== undefined && !routes.includes(route))
    throw usage(`There is no route "${route}"; there are: ${routes.join(', ')}`);
  const ids = isFiltered ? await collect(operations, filter, limit, terminal) : named;
  if (act === 'drop' && isFiltered && values['yes'] !== true && ids.length > 0) {
    terminal.complain(
      `${countOf(ids.length)} would be dropped, their bodies gone for good. To do it, say it again with --yes ("queue list" with the same filter shows them)`,
    );
    return EXIT.usage;
  }
  const order = {
    act,
    by: userOf(),
    ...(destination === undefined ? {} : { to: destination, stays: values['stay'] === true }),
  };
  return tell(act, await inPages(operations, order, ids, terminal), {
    isRunning,
    terminal,
    isJson: values['json'] === true,
  });
}

function destinationOf(values: Values): NonNullable<ActOrder['to']> {
  const { mailbox, route } = values;
  if (typeof mailbox === 'string' && !isSendable(mailbox))
    throw usage(`--mailbox takes an e-mail address, not "${mailbox}"`);
  if (mailbox === undefined && route === undefined)
    throw usage('"queue move" needs --mailbox A or --route R: the mailbox that sends, or the way out');
  return {
    ...(typeof mailbox === 'string' ? { mailbox: mailbox.toLowerCase() } : {}),
    ...(typeof route === 'string' ? { route } : {}),
  };
}

async function collect(
  operations: Operations,
  filter: Parameters<Operations['list']>[0],
  limit: number,
  terminal: Terminal,
): Promise<readonly SpoolId[]> {
  const ids: SpoolId[] = [];
  for await (const page of pagesOf(operations, filter, limit)) {
    for (const { id } of page) ids.push(id);
    terminal.progress(`${countOf(ids.length)} found…`);
  }
  return ids;
}

type Done = readonly (readonly [SpoolId, Outcome | 'notAsked'])[];

/** What the user stops in the middle is left as it is from there on. */
async function inPages(
  operations: Operations,
  order: Omit<ActOrder, 'ids'>,
  ids: readonly SpoolId[],
  { progress, stop }: Terminal,
): Promise<Done> {
  const done: (readonly [SpoolId, Outcome | 'notAsked'])[] = [];
  for (let at = 0; at < ids.length; at += PAGE) {
    const page = ids.slice(at, at + PAGE);
    const outcomes = stop.aborted ? [] : await operations.act({ ...order, ids: page });
    for (const [index, id] of page.entries()) done.push([id, outcomes[index] ?? 'notAsked']);
    if (ids.length > PAGE) progress(`${done.length} of ${ids.length}…`);
  }
  progress('');
  return done;
}

const WORDS = {
  retry: 'to be tried at once',
  hold: 'held',
  release: 'released',
  move: 'moved',
  drop: 'dropped',
} as const satisfies Record<Act, string>;

function tell(
  act: Act,
  all: Done,
  { isRunning, terminal, isJson }: { isRunning: boolean; terminal: Terminal; isJson: boolean },
): ExitCode {
  const done = all.filter(([, outcome]) => outcome === 'done').map(([id]) => id);
  const not = all.flatMap(([id, outcome]) => (outcome === 'done' ? [] : [{ id, outcome, why: whyNot(outcome) }]));
  const exit = not.length === 0 ? EXIT.done : EXIT.failed;
  if (isJson) {
    terminal.print(json({ done, notDone: not }));
    return exit;
  }
  if (all.length === 0) terminal.complain('There is nothing like that');
  if (done.length > 0) {
    const which = done.length <= TOLD ? `: ${done.join(' ')}` : '';
    const later =
      !isRunning && act !== 'hold' && act !== 'drop' ? '. No gateway runs: it is sent when one is started' : '';
    terminal.print(`${countOf(done.length)} ${WORDS[act]}${which}${later}`);
  }
  for (const { id, why } of not) terminal.complain(`${id}: ${why}`);
  return exit;
}

function whyNot(outcome: Exclude<Outcome, 'done'> | 'notAsked'): string {
  return outcome === 'notAsked' ? 'not done, as you stopped it' : NOT_DONE[outcome];
}

/** For the history and the log. */
export function userOf(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run under a number that has no name.
    return `uid ${process.getuid?.() ?? '?'}`;
  }
}
