/** The contract of a maildrop: what the POP3 door shows one user, and what it may take out. Types only. */

export interface MaildropEntry {
  /** The message's UIDL: 1 to 70 printable ASCII characters without a blank (RFC 1939 section 7), the same at every login. */
  readonly id: string;
  /** Octets as stored. */
  readonly size: number;
  /**
   * Stored with CRLF as its only line end, also behind the last line: then `size` is what a client gets. Otherwise the
   * door reads the message once to count, when a client asks for sizes.
   */
  readonly isCanonical?: boolean;
}

/** Trouble with the store behind it is a SpoolError, and nothing else. */
export interface Maildrop {
  /** Oldest first. As many as a client is to see in one session: all of them are held in memory until it ends. */
  list(): Promise<readonly MaildropEntry[]>;
  /**
   * The message's octets from the first, for as long as it exists. A chunk is good until the next one is asked for. One
   * that is gone, or cannot be read to its end, ends in a SpoolError, never early.
   */
  open(id: string): AsyncIterable<Uint8Array>;
  /** Durable when it resolves; if it rejects nothing is removed. A message that is gone already is no trouble. */
  remove(ids: readonly string[]): Promise<void>;
}
