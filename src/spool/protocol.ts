/** What the engine asks its worker thread, and how that answers. Plain data; octets are transferred, not copied. */
import type { HistoryEntry, ItemState, ArrivingItem, LaneKey, QueueItem, SpoolId } from '../mail/item.ts';
import type { First } from '../mail/precedence.ts';
import type {
  CheckResult,
  KeptCursor,
  KeptMessage,
  KeptReceipt,
  ListFilter,
  Receipt,
  SpoolTrouble,
  Told,
} from '../mail/spool.ts';
import type { DeliveryStatus } from '../mail/status.ts';

export interface Chunk {
  readonly number: number;
  readonly octets: Uint8Array;
}

export type Order =
  | { readonly do: 'write'; readonly message: SpoolId; readonly chunk: Chunk }
  | {
      readonly do: 'commit';
      readonly message: SpoolId;
      readonly chunk?: Chunk;
      readonly size: number;
      readonly items: readonly ArrivingItem[];
      readonly told?: Told;
      readonly receipt?: Receipt;
      readonly now: number;
    }
  | { readonly do: 'abort'; readonly message: SpoolId }
  | { readonly do: 'read'; readonly message: SpoolId; readonly number: number }
  | { readonly do: 'size'; readonly message: SpoolId }
  | { readonly do: 'lanes' }
  | {
      readonly do: 'claim';
      readonly lane: string;
      readonly now: number;
      readonly limit: number;
      readonly leaseUntil: number;
    }
  | { readonly do: 'take'; readonly id: SpoolId; readonly now: number; readonly leaseUntil: number }
  /** The clock was set back by so many milliseconds. */
  | { readonly do: 'setBack'; readonly by: number }
  | { readonly do: 'renew'; readonly id: SpoolId; readonly leaseUntil: number }
  | { readonly do: 'release'; readonly id: SpoolId; readonly now: number }
  | {
      readonly do: 'defer';
      readonly id: SpoolId;
      readonly due?: number;
      readonly doubtful: boolean;
      readonly status: DeliveryStatus;
      readonly now: number;
    }
  | {
      readonly do: 'end';
      readonly id: SpoolId;
      readonly state: Extract<ItemState, 'parked' | 'relayed'>;
      readonly status: DeliveryStatus;
      /** For the history. */
      readonly detail?: string;
      readonly now: number;
    }
  | {
      readonly do: 'split';
      readonly id: SpoolId;
      /** Addresses. */
      readonly parts: readonly (readonly string[])[];
      readonly relayed?: DeliveryStatus;
      readonly now: number;
    }
  | { readonly do: 'retry'; readonly id: SpoolId; readonly by?: string; readonly now: number }
  | { readonly do: 'hold'; readonly id: SpoolId; readonly by?: string; readonly now: number }
  | {
      readonly do: 'move';
      readonly id: SpoolId;
      readonly to: Partial<LaneKey>;
      readonly by?: string;
      readonly now: number;
    }
  | {
      readonly do: 'drop';
      readonly id: SpoolId;
      readonly detail: string;
      readonly by?: string;
      readonly now: number;
    }
  /** Of these, what still is queued. `whole`: every page can be read, whatever was met before. */
  | { readonly do: 'setAside'; readonly damaged: CheckResult['damaged']; readonly whole: boolean; readonly now: number }
  | { readonly do: 'note'; readonly id: SpoolId; readonly entry: Omit<HistoryEntry, 'at'>; readonly now: number }
  | { readonly do: 'get'; readonly id: SpoolId }
  | { readonly do: 'list'; readonly filter: ListFilter }
  | { readonly do: 'history'; readonly id: SpoolId }
  | { readonly do: 'stats' }
  | {
      readonly do: 'dropParked';
      readonly before: number;
      readonly size: number;
      readonly limit: number;
      readonly now: number;
    }
  | { readonly do: 'purge'; readonly before: number; readonly limit: number }
  | { readonly do: 'received'; readonly source: string; readonly keys: readonly string[] }
  | { readonly do: 'acknowledge'; readonly receipt: Receipt; readonly now: number }
  | { readonly do: 'settle'; readonly receipt: Receipt; readonly now: number }
  | { readonly do: 'purgeReceipts'; readonly before: number; readonly limit: number }
  | { readonly do: 'cursor'; readonly source: string }
  | { readonly do: 'keepCursor'; readonly source: string; readonly cursor?: string; readonly now: number }
  | { readonly do: 'kept'; readonly after?: SpoolId; readonly limit: number }
  /** For the body of a message that is to come from another spool. */
  | { readonly do: 'makeWay'; readonly message: SpoolId }
  | { readonly do: 'adopt'; readonly message: KeptMessage; readonly chunk?: Chunk; readonly now: number }
  | { readonly do: 'erase'; readonly message: SpoolId }
  | { readonly do: 'keptReceipts'; readonly after?: Receipt; readonly limit: number }
  | { readonly do: 'adoptReceipts'; readonly receipts: readonly KeptReceipt[] }
  | { readonly do: 'eraseReceipts'; readonly receipts: readonly Receipt[] }
  | { readonly do: 'keptCursors' }
  | { readonly do: 'adoptCursors'; readonly cursors: readonly KeptCursor[]; readonly now: number }
  | { readonly do: 'eraseCursors'; readonly sources: readonly string[] }
  /** Writes and syncs something small: does the store work again? */
  | { readonly do: 'probe' }
  | { readonly do: 'close' };

export type OrderTo<Do extends Order['do']> = Extract<Order, { do: Do }>;

export interface Request {
  readonly number: number;
  readonly order: Order;
}

export interface Trouble {
  readonly trouble: SpoolTrouble;
  readonly message: string;
}

/** An item that was parked without an order for it: it is damaged, or its notice was ended. */
export interface Aside extends LaneKey {
  readonly id: SpoolId;
  readonly messageId: string;
  readonly status: DeliveryStatus;
  readonly why: string;
}

/** A part of a list: `next` is where to go on. */
export interface Page {
  readonly items: readonly QueueItem[];
  readonly next?: SpoolId;
}

export type Reply = { readonly number: number; readonly value: unknown } | ({ readonly number: number } & Trouble);

export type FromWorker =
  | {
      readonly kind: 'open';
      readonly waiting: number;
      readonly recovered: number;
      readonly swept: number;
      readonly aside: readonly Aside[];
    }
  | ({ readonly kind: 'refused' } & Trouble)
  /** The replies of one transaction. */
  | {
      readonly kind: 'replies';
      readonly replies: readonly Reply[];
      readonly waiting: number;
      readonly aside: readonly Aside[];
      /** Rows that cannot be read any more were met, and passed over. */
      readonly damage?: string;
    };

export interface WorkerData {
  readonly path: string;
  readonly verifyAfter: number;
  readonly now: number;
  /** What goes before other mail of its lane. */
  readonly first: readonly First[];
}

/** What the thread that checks the store answers with. */
export type FromChecker =
  { readonly kind: 'checked'; readonly result: CheckResult } | ({ readonly kind: 'refused' } & Trouble);

const SEPARATOR = '\n';

/** A lane as one column. Neither part holds a line break. */
export function laneName(key: { readonly route: string; readonly mailbox: string }): string {
  return `${key.route}${SEPARATOR}${key.mailbox}`;
}

/** @throws TypeError for names that cannot be told apart as one column */
export function checkLane({ route, mailbox }: Partial<LaneKey>): void {
  for (const name of [route, mailbox])
    if (name === '' || name?.includes('\n') === true) throw new TypeError('a lane has no empty name and no line break');
}

export function laneKey(name: string): { route: string; mailbox: string } {
  const at = name.indexOf(SEPARATOR);
  return { route: name.slice(0, at), mailbox: name.slice(at + 1) };
}

/** Of the item for a message's n-th lane, from 0: the first has the message's own id. */
export function itemId(message: SpoolId, index: number): SpoolId {
  return index === 0 ? message : `${message}-${index + 1}`;
}
