/** Which items a command of the queue is about: ids, or a filter made of its options. Throws CommandFault for what makes no sense. */
import { duration } from '../config/units.ts';
import type { Operations } from '../console/operations.ts';
import { isId, PAGE } from '../console/wire.ts';
import type { ItemState, QueueItem, SpoolId } from '../mail/item.ts';
import { ITEM_STATES } from '../mail/item.ts';
import type { ListFilter } from '../mail/spool.ts';
import { CommandFault, EXIT } from './outcome.ts';
import type { Values } from './queue-call.ts';

type Filter = { -readonly [Key in keyof ListFilter]: ListFilter[Key] };

export const FILTER_OPTIONS = {
  state: { type: 'string', multiple: true },
  route: { type: 'string' },
  mailbox: { type: 'string' },
  'from-mailbox': { type: 'string' },
  sender: { type: 'string' },
  recipient: { type: 'string' },
  'message-id': { type: 'string' },
  older: { type: 'string' },
  newer: { type: 'string' },
  limit: { type: 'string' },
  'all-parked': { type: 'boolean' },
} as const;

const SHORTEST = '1s';
const LONGEST = '3650d';

export function usage(problem: string): CommandFault {
  return new CommandFault(EXIT.usage, `${problem}\nMore: smtp2exchange queue --help`);
}

/** @param names of the options that may be used here */
export function filterOf(values: Values, names: ReadonlySet<string>, now: number): ListFilter {
  const filter: Filter = {};
  const text = (name: string): string | undefined => {
    const value = values[name];
    return names.has(name) && typeof value === 'string' ? value : undefined;
  };
  const states = statesOf(values['state']);
  if (states !== undefined) filter.states = states;
  if (values['all-parked'] === true) filter.states = ['parked'];
  const route = text('route');
  if (route !== undefined) filter.route = route;
  const mailbox = text('mailbox') ?? text('from-mailbox');
  if (mailbox !== undefined) filter.mailbox = mailbox.toLowerCase();
  const sender = text('sender');
  if (sender !== undefined) filter.sender = sender === '<>' ? '' : sender;
  const recipient = text('recipient');
  if (recipient !== undefined) filter.recipient = recipient;
  const messageId = text('message-id');
  if (messageId !== undefined) filter.messageId = messageId;
  const older = text('older');
  if (older !== undefined) filter.arrivedBefore = now - age('--older', older);
  const newer = text('newer');
  if (newer !== undefined) filter.arrivedFrom = now - age('--newer', newer);
  return filter;
}

/** @returns undefined: none named. An empty list: any */
function statesOf(given: unknown): readonly ItemState[] | undefined {
  if (!Array.isArray(given)) return undefined;
  const words = given.flatMap((value) => String(value).split(','));
  if (words.includes('all')) return [...ITEM_STATES];
  return words.map((word) => {
    const state = ITEM_STATES.find((one) => one === word);
    if (state === undefined) throw usage(`--state takes ${ITEM_STATES.join(', ')} or all, not "${word}"`);
    return state;
  });
}

function age(option: string, text: string): number {
  const read = duration(text, SHORTEST, LONGEST);
  if (!read.ok) throw usage(`${option} ${read.problem}`);
  return read.value;
}

/** @returns Infinity: none was given and there is no default */
export function limitOf(values: Values, usual = Infinity): number {
  const given = values['limit'];
  if (given === undefined) return usual;
  if (given === 'all') return Infinity;
  if (typeof given !== 'string' || !/^[1-9]\d{0,8}$/.test(given))
    throw usage('--limit takes a number of items from 1 on, or all');
  return Number(given);
}

export function idsOf(words: readonly string[]): readonly SpoolId[] {
  const wrong = words.find((word) => !isId(word));
  if (wrong !== undefined) throw usage(`"${wrong}" is no id; ids are in the first column of "queue list"`);
  return [...new Set(words)];
}

/** All that the filter lets through, a page at a time, in order of arrival. */
export async function* pagesOf(
  operations: Operations,
  filter: ListFilter,
  limit: number,
): AsyncGenerator<readonly QueueItem[]> {
  let after: SpoolId | undefined;
  for (let left = limit; left > 0;) {
    const wanted = Math.min(left, PAGE);
    const page = await operations.list({ ...filter, limit: wanted, ...(after === undefined ? {} : { after }) });
    if (page.length > 0) yield page;
    if (page.length < wanted) return;
    left -= page.length;
    after = page.at(-1)?.id;
  }
}
