/** What the spool keeps and the queue moves: a message for one route and one sending mailbox. */
import type { Envelope, Origin } from './envelope.ts';
import type { DeliveryStatus } from './status.ts';

/** Sortable text: creation time in milliseconds, then chance. The one id from the SMTP reply to the delivery's log line. */
export type SpoolId = string;

/**
 * queued: due at `due`. sending: leased to a running attempt. parked: waits for the operator, body kept.
 * relayed: done, body gone, history kept for the retention time. bounced: given up, and its sender told by a bounce that is
 * an item of its own; the body is kept until that is delivered (`untold`), the history for the retention time. dropped:
 * ended by the operator, or with a notice that could not be delivered.
 */
export type ItemState = 'queued' | 'sending' | 'parked' | 'relayed' | 'bounced' | 'dropped';
export const ITEM_STATES = [
  'queued',
  'sending',
  'parked',
  'relayed',
  'bounced',
  'dropped',
] as const satisfies readonly ItemState[];

/** Items of one lane share a sending mailbox on one route; pace and order hold per lane. */
export interface LaneKey {
  /** Name of the transport's route. */
  readonly route: string;
  /** Sending mailbox, lower case. */
  readonly mailbox: string;
}

export interface NewItem extends LaneKey {
  readonly envelope: Envelope;
  readonly origin: Origin;
  /** Message-ID with its angle brackets. */
  readonly messageId: string;
  /** Octets of the spooled message's header block, the empty line that ends it included. */
  readonly headerSize: number;
}

/** An item to be, and what its history begins with. */
export interface ArrivingItem extends NewItem {
  /** What was changed in the message, in words. */
  readonly repairs?: readonly string[];
  /** Its header says that it is of high importance. */
  readonly isImportant?: boolean;
}

export interface QueueItem extends NewItem {
  readonly id: SpoolId;
  /** The id of the message (of its body); equal to `id` for the first item of a message. */
  readonly message: SpoolId;
  readonly state: ItemState;
  /** Octets of the spooled message, header block included. */
  readonly size: number;
  /** Epoch milliseconds. */
  readonly arrivedAt: number;
  /** Epoch milliseconds before which no attempt starts. */
  readonly due: number;
  /** Attempts begun so far. */
  readonly attempts: number;
  /** An earlier attempt may have gone through: verify before sending again. */
  readonly doubtful: boolean;
  readonly lastStatus?: DeliveryStatus;
  /** It is the notice to the sender of that item, which waits for it. */
  readonly tells?: SpoolId;
  /** Bounced, but its notice is not delivered yet: it has not ended, and its body is kept. */
  readonly untold?: true;
  /** What of its row cannot be read, in words: its envelope or origin is a stand-in then, and it is never sent. */
  readonly damaged?: string;
}

/** One line of an item's history. */
export interface HistoryEntry {
  /** Epoch milliseconds. */
  readonly at: number;
  readonly what:
    | 'accepted'
    | 'attempted'
    /** How far an attempt of several steps has come (see Journal). */
    | 'step'
    | 'verified'
    | 'relayed'
    | 'delayed'
    | 'unknown'
    | 'parked'
    | 'bounced'
    /** Its notice was delivered. */
    | 'told'
    | 'warned'
    | 'released'
    | 'held'
    | 'retried'
    | 'moved'
    | 'split'
    | 'dropped'
    | 'recovered';
  readonly detail?: string;
  readonly status?: DeliveryStatus;
}
