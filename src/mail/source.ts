/** The way in: something that brings mail, and the door through which it does. */
import type { Envelope, Origin } from './envelope.ts';
import type { SpoolId } from './item.ts';
import type { Receipt, Room } from './spool.ts';

/** A message whose header block has been read, checked and repaired. */
export interface Arrival {
  readonly envelope: Envelope;
  readonly origin: Origin;
  /** The mailbox that sends it. */
  readonly mailbox: string;
  /** Name of the way out; absent: the first there is. */
  readonly route?: string;
  /** Message-ID with its angle brackets. */
  readonly messageId: string;
  /** Octets of the header block as written to the draft, the empty line that ends it included. */
  readonly headerSize: number;
  /** Its header says that it is of high importance. */
  readonly isImportant?: boolean;
  /** Addresses of the From field, as far as they could be read. */
  readonly from: readonly string[];
  /** What was changed in the header block, in words: `added Date`. Empty: nothing but the Received field. */
  readonly repairs: readonly string[];
}

/** See Draft of the spool: nothing exists before commit() resolves. */
export interface Incoming {
  readonly id: SpoolId;
  write(chunk: Uint8Array): Promise<void>;
  /**
   * Durable when it resolves; only then may the source promise anything to anybody. Rejects with SpoolError.
   * @param receipt written in the same transaction
   * @returns false: there is such a receipt already, and nothing has come to exist
   */
  commit(arrival: Arrival, receipt?: Receipt): Promise<boolean>;
  abort(): Promise<void>;
}

/** What a source is given to hand mail to the gateway. */
export interface Inject {
  room(size?: number): Room;
  begin(): Incoming;
}

export interface Source {
  readonly name: string;
  /** Resolves when it is open for mail. Rejects with an Error whose message says what to do (a port in use). */
  start(): Promise<void>;
  /** Takes nothing new, lets what is being received finish until `signal` aborts. */
  stop(signal: AbortSignal): Promise<void>;
}
