/** The way out: takes a message one hop on. */
import type { QueueItem } from './item.ts';
import type { DeliveryStatus, Verification } from './status.ts';

/** Durable memory of how far an attempt of several steps came, for the attempt that follows a crash. Rejects with SpoolError. */
export interface Journal {
  /** The word written last, by this attempt or an earlier one. */
  last(): Promise<string | undefined>;
  /** Durable when it resolves. */
  write(step: string): Promise<void>;
}

/** An item plus its octets. */
export interface Outgoing {
  readonly item: QueueItem;
  /** The message from its first octet; can be called again. A chunk is good until the next one is asked for. */
  open(): AsyncIterable<Uint8Array>;
  /** Absent: nothing outlives the attempt. */
  readonly journal?: Journal;
}

export interface Transport {
  readonly name: string;
  /**
   * One attempt, never retried inside (but for one forced token refresh after a 401, and once without optional properties
   * that the server said it could not store; neither had sent anything). Expected trouble is a value; a throw is a bug.
   * After `signal` aborts it settles soon: delayed if the request was surely not acted on, else unknown.
   */
  deliver(outgoing: Outgoing, signal: AbortSignal): Promise<DeliveryStatus>;
  /** Looks whether an earlier attempt of unknown outcome went through. */
  verify(outgoing: Outgoing, signal: AbortSignal): Promise<Verification>;
  close(): Promise<void>;
}
