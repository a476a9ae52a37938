/**
 * The contract of the spool. It stands in the vocabulary because the queue, the sources and the commands speak it;
 * the engines are in spool/. Every method that returns a promise settles only when its effect is durable.
 * Errors: SpoolError, and nothing else, is thrown for trouble with the store itself.
 */
import type { Gate } from './cluster.ts';
import type { HistoryEntry, ItemState, LaneKey, ArrivingItem, QueueItem, SpoolId } from './item.ts';
import type { DeliveryStatus } from './status.ts';

/** What became of the disk: which reply a client gets, and what the operator reads. */
export type SpoolTrouble =
  | 'full' // no space, quota
  | 'readOnly' // no right to write, read-only file system
  | 'damaged' // the store is not what it should be
  | 'locked' // another process holds it
  | 'newer' // written by a newer version of this program
  | 'closed' // used after close()
  | 'io'; // anything else the operating system says

export class SpoolError extends Error {
  override readonly name = 'SpoolError';
  readonly trouble: SpoolTrouble;
  constructor(trouble: SpoolTrouble, message: string, options?: ErrorOptions) {
    super(message, options);
    this.trouble = trouble;
  }
}

/** Whether a new message may come in. */
export type Room =
  | { readonly ok: true }
  /** trouble: with the store itself, which would not take a smaller message either. */
  | { readonly ok: false; readonly reason: string; readonly trouble?: SpoolTrouble };

/**
 * What a message of our own tells about an item that is being sent. `bounced` gives that item up: it waits, with its body,
 * for the message that tells (its first item), and ends when that is delivered. `warned` is a line of its history.
 * `relayed` finishes it, as finish() does; the message that tells is an item like any other.
 */
export interface Told {
  readonly id: SpoolId;
  readonly what: 'bounced' | 'warned' | 'relayed';
  readonly status: DeliveryStatus;
  readonly detail?: string;
}

/**
 * That something was taken from where it came, once and for ever: kept with what was made of it in one transaction, so that
 * no crash and no source that tells of it again has it taken twice.
 */
export interface Receipt {
  /** What gives the keys. */
  readonly source: string;
  /** Unique in its source. */
  readonly key: string;
}

/** A message being written. Nothing of it exists until commit() resolves; a crash before leaves chunks that the next start sweeps. */
export interface Draft {
  readonly id: SpoolId;
  /** Resolves when more may be written (back-pressure, a bounded amount is in flight); rejects with SpoolError. Chunks of any size. The chunk must not be changed afterwards. */
  write(chunk: Uint8Array): Promise<void>;
  /** Makes the message exist, durably, as one item per entry (at least one). */
  commit(items: readonly ArrivingItem[]): Promise<readonly QueueItem[]>;
  /**
   * The same, and what it tells is noted in the one transaction: no crash tells anybody twice or not at all.
   * @returns undefined, and nothing has come to exist: the item told about is no longer being sent
   */
  commitTelling(items: readonly ArrivingItem[], told: Told): Promise<readonly QueueItem[] | undefined>;
  /**
   * As commit(), and the receipt is written in the same transaction. Of several at the same time for one receipt, one is
   * written.
   * @returns undefined, and nothing has come to exist: there is such a receipt already
   */
  commitOnce(items: readonly ArrivingItem[], receipt: Receipt): Promise<readonly QueueItem[] | undefined>;
  /** Forgets what was written. Never rejects. */
  abort(): Promise<void>;
}

/** A lane with work. */
export interface Lane extends LaneKey {
  /** When its next item is due, epoch milliseconds. */
  readonly due: number;
}

export interface SpoolStats {
  readonly items: Readonly<Record<ItemState, number>>;
  /** Arrival of the oldest item that is queued or sending, epoch milliseconds. */
  readonly oldest?: number;
  /** Octets of the bodies kept. */
  readonly bytes: number;
  /** Octets free on the store's file system, where it can be known. */
  readonly free?: number;
}

/** A parked item that was ended without an operator. */
export interface DroppedItem {
  readonly item: QueueItem;
  readonly why: 'age' | 'size';
  /** Epoch milliseconds. */
  readonly parkedAt: number;
}

export interface ListFilter {
  readonly states?: readonly ItemState[];
  readonly route?: string;
  readonly mailbox?: string;
  /** These items, of those that are there. */
  readonly ids?: readonly SpoolId[];
  /** Of the reverse-path: an address pattern (mail/pattern.ts), else a piece of it, regardless of case; '' is the null one. */
  readonly sender?: string;
  /** Of at least one recipient, in the same way. */
  readonly recipient?: string;
  /** With or without its angle brackets. */
  readonly messageId?: string;
  /** Each is a piece, regardless of case, of the reverse-path, a recipient, the Message-ID, the sending mailbox or the id. */
  readonly pieces?: readonly string[];
  /** Arrived at this time or later, epoch milliseconds. */
  readonly arrivedFrom?: number;
  /** Arrived before this time, epoch milliseconds. */
  readonly arrivedBefore?: number;
  /** Only ids greater than this one: paging. With newestFirst: only smaller ones. */
  readonly after?: SpoolId;
  /** In descending order of ids instead. */
  readonly newestFirst?: boolean;
  /** At most this many, default 100. */
  readonly limit?: number;
}

/** What an operator's order came to. All but `done` have changed nothing. */
export type Operated =
  | 'done'
  | 'absent' // there is no such item
  | 'sending' // an attempt is under way: ask again when it is over
  | 'ended'; // relayed, bounced (also while its notice is under way: that can be ordered about) or dropped

export interface CheckResult {
  /** Items looked at: all that have not ended. */
  readonly checked: number;
  /** Those that cannot be delivered as they were accepted, and what is wrong. */
  readonly damaged: readonly { readonly id: SpoolId; readonly why: string }[];
  /** What is wrong with the store itself; absent: nothing. */
  readonly store?: string;
}

export interface Spool {
  /** Asked at MAIL FROM; answers from figures kept up to date, without waiting. `size` is what the client declared, octets. */
  room(size?: number): Room;
  begin(): Draft;
  /**
   * The spooled message's octets, from the first. Can be opened any number of times while the body exists. A chunk is
   * good until the next one is asked for: copy what is to be kept. A body that cannot be read as it was written ends in a
   * SpoolError `damaged`, never early.
   */
  open(message: SpoolId): AsyncIterable<Uint8Array>;

  /** Every lane that has queued items, with the earliest due time; lanes in order of that time. */
  lanes(): Promise<readonly Lane[]>;
  /**
   * Takes up to `limit` due items of one lane in order of due time, then arrival: state sending, attempts + 1, leased
   * until `leaseUntil` (epoch milliseconds). Those that go first (decided when they came to exist) go before the others,
   * but after three of them in a row one of the others has its turn. A damaged one is set aside instead (parked, or for a
   * notice what it tells of, with the event item.parked), a doubtful one only when its row is unreadable: that one is
   * looked for first. `gate` is asked where several gateways work on the queue, and nowhere else.
   */
  claim(
    lane: LaneKey,
    options: {
      readonly now: number;
      readonly limit: number;
      readonly leaseUntil: number;
      readonly gate?: Gate;
    },
  ): Promise<readonly QueueItem[]>;
  /**
   * Takes one queued item, whatever its due time: state sending, attempts + 1, leased until `leaseUntil` (epoch
   * milliseconds). For a door that hands out by id. A damaged one is set aside instead, as claim() does.
   * @returns undefined: it is not queued
   */
  take(id: SpoolId, leaseUntil: number): Promise<QueueItem | undefined>;
  /** Keeps the lease of an attempt that takes long. False: the lease is no longer ours, stop. */
  renew(id: SpoolId, leaseUntil: number): Promise<boolean>;
  /** Back to queued as if the attempt had never begun (attempts - 1, due unchanged). Used by a drain before anything was sent. */
  release(id: SpoolId): Promise<void>;
  /** sending -> queued, due later. `due` absent: unchanged, keeping its place in the lane. */
  defer(
    id: SpoolId,
    next: { readonly due?: number; readonly doubtful: boolean; readonly status: DeliveryStatus },
  ): Promise<void>;
  /**
   * sending -> parked: body kept. A notice that a bounced item waits for ends instead (dropped), and that item is parked
   * with its own status, whose reason also says why its sender could not be told. @returns that item, else undefined
   */
  park(id: SpoolId, status: DeliveryStatus): Promise<QueueItem | undefined>;
  /**
   * sending -> relayed: history kept; the body goes with the last item that needed it. With a notice, the bounced item
   * that waits for it ends, and its body goes too.
   */
  finish(id: SpoolId, status: DeliveryStatus): Promise<void>;
  /**
   * Takes recipients out of an item that is being sent, each part into an item of its own over the same body, being sent
   * too, with the history so far; those left are relayed, if `relayed` says so, in the same transaction. At least one
   * recipient is left. @returns the new items; undefined: the item is no longer being sent, and nothing has changed
   */
  split(
    id: SpoolId,
    parts: readonly (readonly string[])[],
    relayed?: DeliveryStatus,
  ): Promise<readonly QueueItem[] | undefined>;
  /** Adds a line to the history. */
  note(id: SpoolId, entry: Omit<HistoryEntry, 'at'>): Promise<void>;

  get(id: SpoolId): Promise<QueueItem | undefined>;
  list(filter: ListFilter): Promise<readonly QueueItem[]>;
  history(id: SpoolId): Promise<readonly HistoryEntry[]>;
  stats(): Promise<SpoolStats>;
  /**
   * Ends relayed, bounced and dropped items (with their history) that ended before `before`, epoch milliseconds, and
   * receipts that were settled before it. @returns how many items
   */
  purge(before: number): Promise<number>;
  /**
   * Ends parked items, oldest first: those parked before `before` (epoch milliseconds), then as many as it takes until
   * those left, each counted with its message's octets, are at most `size`. Their bodies go; their histories say why.
   * What waits for a notice that is ended so (held by an operator) is parked, with the event item.parked.
   */
  dropParked(limits: { readonly before: number; readonly size: number }): Promise<readonly DroppedItem[]>;
  /** @returns those of the keys that have a receipt, settled or not */
  received(source: string, keys: readonly string[]): Promise<ReadonlySet<string>>;
  /** A receipt without a message: it was seen, and nothing is made of it. One that is settled is open again. */
  acknowledge(receipt: Receipt): Promise<void>;
  /**
   * What it is for is gone from its source: purge() may end it after the retention time, counted from the last call. One
   * that is not settled is never ended. Nothing happens where there is no such receipt.
   */
  settle(receipt: Receipt): Promise<void>;
  /** @returns what keepCursor() kept last: how far the source has been read; undefined: nothing is known */
  cursor(source: string): Promise<string | undefined>;
  /** Text of any length; undefined: forgets it. */
  keepCursor(source: string, cursor: string | undefined): Promise<void>;
  /** Finishes what was begun and lets go of the store. Idempotent. */
  close(): Promise<void>;
}

/**
 * What an engine offers beside what the queue needs: operator's orders. They concern items that are queued or parked. `by` says in the history who asked. Where they make an
 * item due in a lane, the queue has to be told.
 */
export interface OperatedSpool extends Spool {
  /**
   * parked or queued -> queued, due now. A doubt is kept: what may have gone through is looked for before it is sent, and
   * not before its time.
   */
  retry(id: SpoolId, by?: string): Promise<Operated>;
  /** queued -> parked, with its last status. One that is parked stays so. */
  hold(id: SpoolId, by?: string): Promise<Operated>;
  /**
   * To another lane, in the same state. Whether there is such a route is for the caller to know.
   * @returns doubtful: it may have gone through, which can only be found out where it was sent
   * @throws TypeError for names that hold a line break
   */
  move(id: SpoolId, to: Partial<LaneKey>, by?: string): Promise<Operated | 'doubtful'>;
  /**
   * parked or queued -> dropped, and the body goes with the last item that needed it. `detail` says why, for the history.
   * With a notice, the bounced item that waits for it is dropped too.
   */
  drop(id: SpoolId, detail: string, by?: string): Promise<Operated>;
  /**
   * Reads the whole store beside the running work, which takes as long as the disk needs. What is damaged and queued is
   * set aside, as claim() does. Trouble of kind `damaged` is over when this finds nothing.
   */
  check(): Promise<CheckResult>;
}

export interface SpoolLimits {
  readonly maxItems: number;
  /** Octets that have to stay free on the store's file system, where it can be known. */
  readonly minFree: number;
}

/** A spool whose limits can be set while it is in use. */
export interface LimitedSpool extends OperatedSpool {
  limit(limits: SpoolLimits): void;
}

/** An item as it is kept, with what only the store itself asks for. */
export interface KeptItem {
  readonly item: QueueItem;
  readonly isFirst: boolean;
  /** Epoch milliseconds, as all here: when its last attempt began, when it ended, since when it is parked. */
  readonly startedAt?: number;
  readonly endedAt?: number;
  readonly parkedAt?: number;
  readonly history: readonly HistoryEntry[];
}

/** A message with all of its items. */
export interface KeptMessage {
  readonly id: SpoolId;
  /** Octets. */
  readonly size: number;
  /** Its octets are still needed. */
  readonly hasBody: boolean;
  /** By their ids. Those that can be read. */
  readonly items: readonly KeptItem[];
  /** What of it cannot be read, in words: it stays where it is. */
  readonly damaged?: string;
}

export interface KeptReceipt extends Receipt {
  readonly at: number;
  readonly settledAt?: number;
}

export interface KeptCursor {
  readonly source: string;
  readonly cursor: string;
}

/**
 * What a spool is emptied and filled by, while no gateway works on it. Everything may be repeated: what is there already
 * stays as it is. An item that is being sent arrives as one in doubt.
 */
export interface MovableSpool extends OperatedSpool {
  /** @returns up to `limit` messages with ids greater than `after`, in order of their ids; body by open() */
  kept(after: SpoolId | undefined, limit: number): Promise<readonly KeptMessage[]>;
  /** Durable when it resolves. @param body of one that has a body. @returns false: it was there already, and nothing has changed */
  adopt(message: KeptMessage, body?: AsyncIterable<Uint8Array>): Promise<boolean>;
  /** Removes a message with its items, histories and body, as if it had never been here. */
  erase(message: SpoolId): Promise<void>;
  /** @returns up to `limit`, from the one after `after` on */
  keptReceipts(after: Receipt | undefined, limit: number): Promise<readonly KeptReceipt[]>;
  keptCursors(): Promise<readonly KeptCursor[]>;
  adoptReceipts(receipts: readonly KeptReceipt[]): Promise<void>;
  adoptCursors(cursors: readonly KeptCursor[]): Promise<void>;
  /** Of what was adopted elsewhere. */
  eraseReceipts(receipts: readonly Receipt[]): Promise<void>;
  eraseCursors(sources: readonly string[]): Promise<void>;
}
