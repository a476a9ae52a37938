/**
 * What an operator can do with the mail that waits: look, try again, hold, move, drop, read out, check. The same for the
 * control door of a running gateway and for a command that opened the spool itself. Every act is durable when it is
 * answered, stands in the history of the item, and is an event.
 *
 * Throws SpoolError for trouble with the store; everything else is a value.
 */
import type { Mailbox } from '../mail/addresses.ts';
import { parseHeader } from '../mail/addresses.ts';
import type { Report } from '../mail/event.ts';
import type { HeaderField } from '../mail/header.ts';
import { headerBlock, splitHeader } from '../mail/header.ts';
import type { HistoryEntry, LaneKey, QueueItem, SpoolId } from '../mail/item.ts';
import type { CheckResult, ListFilter, Operated, OperatedSpool, Spool } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';
import { unreachable } from '../mail/status.ts';

export const ACTS = ['retry', 'hold', 'release', 'move', 'drop'] as const;
export type Act = (typeof ACTS)[number];

export interface ActOrder {
  readonly act: Act;
  readonly ids: readonly SpoolId[];
  /** Who asks: the user's name on the machine. */
  readonly by: string;
  /** Of a move: what changes. */
  readonly to?: Partial<LaneKey>;
  /** Of a move: leave it in the state it is in, instead of trying it at once. */
  readonly stays?: boolean;
}

/** What an act came to; all but `done` have changed nothing. notHeld: only what is parked can be released. */
export type Outcome = Operated | 'doubtful' | 'notHeld';

/** An item with all that is known about it. */
export interface Story {
  readonly item: QueueItem;
  readonly history: readonly HistoryEntry[];
  /** Of its header, decoded; absent: its body is gone, or cannot be read. */
  readonly header?: { readonly subject?: string; readonly from: readonly string[]; readonly to: readonly string[] };
}

/** export, view: told as an event; again: a further part of what was told. */
export type Reading = 'export' | 'view' | 'again';

export interface Body {
  /** In octets. */
  readonly size: number;
  readonly octets: AsyncIterable<Uint8Array>;
}

export interface Operations {
  list(filter: ListFilter): Promise<readonly QueueItem[]>;
  /** Undefined: there is no such item. */
  show(id: SpoolId): Promise<Story | undefined>;
  /** The message as it lies in the spool. @param reading what it is read for, default export */
  read(id: SpoolId, by: string, reading?: Reading): Promise<Body | 'absent' | 'gone'>;
  /** In the order of the ids. */
  act(order: ActOrder): Promise<readonly Outcome[]>;
  check(): Promise<CheckResult>;
}

export interface OperationsOptions {
  readonly spool: OperatedSpool;
  readonly report: Report;
  /** Told when an item has become due. */
  readonly arrived?: (lane: LaneKey) => void;
}

/** Octets of a header block that are read for a story. */
const HEADER_LIMIT = 256 * 1024;
/** What is shown of it: characters of a text, people of a field. */
const TEXT_LIMIT = 1_000;
const PEOPLE_LIMIT = 20;
const SHOWN: ReadonlySet<string> = new Set(['subject', 'from', 'to']);
const WAITING: ReadonlySet<QueueItem['state']> = new Set(['queued', 'sending', 'parked']);
const hasBody = ({ state, untold }: QueueItem): boolean => untold === true || WAITING.has(state);

export function operations({ spool, report, arrived = () => undefined }: OperationsOptions): Operations {
  return {
    list: (filter) => spool.list(filter),
    async show(id) {
      const item = await spool.get(id);
      if (item === undefined) return undefined;
      const history = await spool.history(id);
      const header = hasBody(item) ? await headerOf(spool, item) : undefined;
      return { item, history, ...(header === undefined ? {} : { header }) };
    },
    async read(id, by, reading = 'export') {
      const item = await spool.get(id);
      if (item === undefined) return 'absent';
      if (!hasBody(item)) return 'gone';
      if (reading !== 'again')
        report({ event: reading === 'view' ? 'item.viewed' : 'item.exported', ...factsOf(item), by });
      return { size: item.size, octets: spool.open(item.message) };
    },
    act: ({ ids, ...order }) => Promise.all(ids.map((id) => actOn(id, order, { spool, report, arrived }))),
    check: () => spool.check(),
  };
}

async function actOn(
  id: SpoolId,
  { act, by, to = {}, stays = false }: Omit<ActOrder, 'ids'>,
  { spool, report, arrived }: Required<OperationsOptions>,
): Promise<Outcome> {
  // What it was before: for the events, and for what only some states allow.
  const item = await spool.get(id);
  if (item === undefined) return 'absent';
  const facts = { ...factsOf(item), by };
  switch (act) {
    case 'release':
    case 'retry': {
      if (act === 'release' && item.state === 'queued') return 'notHeld';
      const outcome = await spool.retry(id, by);
      if (outcome === 'done') {
        report({ event: 'item.retried', ...facts });
        arrived(item);
      }
      return outcome;
    }
    case 'hold': {
      const outcome = await spool.hold(id, by);
      if (outcome === 'done') report({ event: 'item.held', ...facts });
      return outcome;
    }
    case 'move': {
      const outcome = await spool.move(id, to, by);
      if (outcome !== 'done') return outcome;
      const { route, mailbox } = item;
      const lane = { route, mailbox, ...to };
      report({ event: 'item.moved', ...facts, ...lane, from: { route, mailbox } });
      if (!stays) await spool.retry(id, by);
      if (!stays || item.state === 'queued') arrived(lane);
      return outcome;
    }
    case 'drop': {
      const outcome = await spool.drop(id, 'no longer wanted', by);
      if (outcome !== 'done') return outcome;
      report({ event: 'item.dropped', ...facts, why: 'operator', size: item.size });
      // What waited for a notice has ended with it.
      const told = item.tells === undefined ? undefined : await spool.get(item.tells);
      if (told?.state === 'dropped')
        report({ event: 'item.dropped', ...factsOf(told), by, why: 'operator', size: told.size });
      return outcome;
    }
    default:
      return unreachable(act);
  }
}

function factsOf({ id, messageId, route, mailbox }: QueueItem) {
  return { id, messageId, route, mailbox };
}

/** A body that cannot be read is no reason to tell nothing of the item. */
async function headerOf(spool: Spool, { message, headerSize }: QueueItem): Promise<Story['header']> {
  let fields: readonly HeaderField[];
  try {
    fields = splitHeader(await headerBlock(spool.open(message), Math.min(headerSize, HEADER_LIMIT)));
  } catch (error) {
    if (error instanceof SpoolError) return undefined;
    throw error;
  }
  const { subject, from, to } = await parseHeader(fields.filter(({ name }) => SHOWN.has(name)));
  const people = (all: readonly Mailbox[]): string[] =>
    all.slice(0, PEOPLE_LIMIT).map(({ name, address }) => (name === '' ? address : `${name} <${address}>`));
  return {
    ...(subject === undefined ? {} : { subject: subject.slice(0, TEXT_LIMIT) }),
    from: people(from),
    to: people(to),
  };
}
