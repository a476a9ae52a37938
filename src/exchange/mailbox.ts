/**
 * A mailbox that mail is picked up from, over EWS (mailbox-ews.ts) or Graph (mailbox-graph.ts). Each call is one attempt,
 * with the promises of call.ts: expected trouble is a value whose reach says whether it is about the one item (`message`),
 * the mailbox or everything; only an error of the caller's own `write` passes through. An item that is gone is no trouble.
 */
import type { ReceivedMail } from '../mail/received.ts';
import type { Delayed, Failed } from '../mail/status.ts';

export type Got<T> = ({ readonly ok: true } & T) | { readonly ok: false; readonly status: Delayed | Failed };

/** Ids of the folders that a pickup uses, by the path that was asked for. */
export type FolderIds = ReadonlyMap<string, string>;

/** What has come to a folder since a cursor. */
export interface Changes {
  /** Items that are new there. The order is the server's. */
  readonly added: readonly { readonly id: string; readonly receivedAt?: number }[];
  /** Ids of items that are no longer there. */
  readonly removed: readonly string[];
  /** Where to go on: text of any length. */
  readonly cursor: string;
  /** Nothing follows at the moment. */
  readonly isLast: boolean;
}

/** What is done with an item when it is done with. */
export type Filing =
  | { readonly kind: 'move'; readonly folder: string }
  /** To the deleted items, where a person can still find it. */
  | { readonly kind: 'delete' }
  | { readonly kind: 'read' };

export interface PickupMailbox {
  readonly transport: 'ews' | 'graph';
  /**
   * Finds folders by their path: names from the mailbox's root, separated by `/`, compared regardless of case. The first
   * name may be a well-known one, whatever the mailbox's language calls it: Inbox, Archive, Drafts, SentItems,
   * DeletedItems, JunkEmail.
   * @param make those of them that are made where they do not exist, with all that is above them; another that is missing
   *   is Failed with cause `folder not found`, and its path in the reason
   */
  folders(
    paths: readonly string[],
    make: readonly string[],
    signal: AbortSignal,
  ): Promise<Got<{ readonly ids: FolderIds }>>;
  /**
   * One page of what has changed.
   * @param cursor of the page before; undefined: everything that is there
   * @returns `stale`: the server does not (or no longer) know this cursor; begin again without one
   */
  changes(
    folder: string,
    cursor: string | undefined,
    signal: AbortSignal,
  ): Promise<Got<Changes> | { readonly ok: false; readonly stale: true }>;
  /**
   * What these items are, at most 20 of them. An item that is gone is missing in `mails`; one that cannot be described is
   * in `unreadable` with the trouble, and does not keep the others from being described.
   */
  describe(
    ids: readonly string[],
    signal: AbortSignal,
  ): Promise<
    Got<{
      readonly mails: readonly ReceivedMail[];
      readonly unreadable: readonly { readonly id: string; readonly status: Delayed | Failed }[];
    }>
  >;
  /**
   * Streams the item's MIME into `write`, in bounded memory: the next piece is asked for when write() has resolved. A piece
   * must not be changed afterwards, and is the caller's.
   * @returns `gone`: there is no such item any more. Trouble may come after pieces were written: they are to be forgotten
   */
  fetch(
    id: string,
    write: (piece: Uint8Array) => Promise<void>,
    signal: AbortSignal,
  ): Promise<Got<{ readonly gone: boolean }>>;
  /** Can be asked for again: an item that is gone is done with. `gone`: it was not there any more. */
  file(id: string, filing: Filing, signal: AbortSignal): Promise<Got<{ readonly gone: boolean }>>;
  /**
   * Calls `news` whenever something may have come, and once when the ear is open. Resolves when it no longer listens
   * (which it does at least every half hour), with why; a new call begins anew. Only a hint: what it misses, changes()
   * finds. Absent: the transport has no such thing.
   */
  readonly listen?: (folder: string, news: () => void, signal: AbortSignal) => Promise<Got<object>>;
  /** Absent: a folder cannot be marked over this transport. */
  readonly claim?: FolderMark;
}

/**
 * One short text that a folder keeps for gateways to see each other by (pickup-claim.ts): a named property (MS-OXPROPS, set
 * PublicStrings, type String) that no mail program shows, the same one over every transport.
 */
export interface FolderMark {
  /** @returns undefined as mark: it has none */
  read(folder: string, signal: AbortSignal): Promise<Got<{ readonly mark: string | undefined }>>;
  /** The last one who writes wins: no server compares before it writes. @param mark at most 255 characters */
  write(folder: string, mark: string, signal: AbortSignal): Promise<Got<object>>;
}

/** Name of the property. */
export const FOLDER_MARK = 'smtp2exchange-pickup';
