/**
 * Where a client stands in the changes of a folder, as opaque text: EWS calls it SyncState, Graph a delta token. It is good
 * for the folder and the mailbox it was given for, and for no other.
 */
import { createHash } from 'node:crypto';
import type { Change, MailboxStore } from './store.ts';

interface Position {
  readonly folder: string;
  /** Number of the change up to which all is known. */
  readonly since: number;
  /** Of a round under way: number of the last change that belongs to it. */
  readonly until?: number;
  /** Of a round under way: changes from this number on were told. */
  readonly below?: number;
}

export interface ChangePage {
  /** Newest first. */
  readonly changes: readonly Change[];
  readonly cursor: string;
  /** Nothing follows at the moment. */
  readonly isLast: boolean;
}

/** @returns undefined: the cursor is none of this folder */
export function changePage(
  mailbox: MailboxStore,
  folder: string,
  cursor: string | undefined,
  size: number,
): ChangePage | undefined {
  const from: Position | undefined = cursor === undefined ? { folder, since: 0 } : read(mailbox, cursor);
  if (from?.folder !== folder) return undefined;
  const { since, until = mailbox.number, below = Infinity } = from;
  const left = mailbox.changes(folder, since, until).filter(({ number }) => number < below);
  const changes = left.slice(0, size);
  const last = changes.at(-1);
  const isLast = left.length <= size || last === undefined;
  const next: Position = isLast ? { folder, since: until } : { folder, since, until, below: last.number };
  return { changes, cursor: written(mailbox, next), isLast };
}

function written(mailbox: MailboxStore, position: Position): string {
  const text = JSON.stringify(position);
  return Buffer.from(`${seal(mailbox, text)}${text}`).toString('base64url');
}

function read(mailbox: MailboxStore, cursor: string): Position | undefined {
  const text = Buffer.from(cursor, 'base64url').toString();
  const position = text.slice(SEAL);
  return seal(mailbox, position) === text.slice(0, SEAL) ? (JSON.parse(position) as Position) : undefined;
}

/** Characters. Exchange's own are long, and a client must keep them whole. */
const SEAL = 512;

function seal({ instance }: MailboxStore, text: string): string {
  return createHash('shake256', { outputLength: SEAL / 2 })
    .update(`${instance} ${text}`)
    .digest('hex');
}
