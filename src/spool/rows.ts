/** Rows of the database as items and lines of history, and the tests of a list that no index serves. Never fails. */
import type { HistoryEntry, ItemState, QueueItem } from '../mail/item.ts';
import { isPattern, matcher } from '../mail/pattern.ts';
import type { ListFilter } from '../mail/spool.ts';
import { envelopeOf, originOf, rowDamage, statusOf } from './damage.ts';
import type { Row } from './database.ts';
import { laneKey } from './protocol.ts';

/** For what no index tells; undefined: the filter asks for nothing of the kind. */
export function itemTest(filter: ListFilter): ((row: Row) => boolean) | undefined {
  const { sender, recipient, messageId, pieces = [], arrivedFrom = -Infinity, arrivedBefore = Infinity } = filter;
  const tests: ((row: Row) => boolean)[] = [];
  if (arrivedFrom !== -Infinity || arrivedBefore !== Infinity)
    tests.push((row) => Number(row['arrived']) >= arrivedFrom && Number(row['arrived']) < arrivedBefore);
  if (messageId !== undefined)
    tests.push((row) => row['message_id'] === messageId || row['message_id'] === `<${messageId}>`);
  const isSender = addressTest(sender);
  const isRecipient = addressTest(recipient);
  if (sender !== undefined || recipient !== undefined)
    tests.push((row) => {
      const envelope = envelopeOf(row);
      return (
        envelope !== undefined &&
        isSender(envelope.reversePath) &&
        (recipient === undefined || envelope.recipients.some(({ address }) => isRecipient(address)))
      );
    });
  for (const piece of pieces) {
    const test = pieceTest(piece.toLowerCase());
    tests.push((row) => test(row));
  }
  return tests.length === 0 ? undefined : (row) => tests.every((test) => test(row));
}

function addressTest(wanted: string | undefined): (address: string) => boolean {
  if (wanted === undefined) return () => true;
  if (wanted === '') return (address) => address === '';
  if (isPattern(wanted)) return matcher([wanted]);
  const piece = wanted.toLowerCase();
  return (address) => address.toLowerCase().includes(piece);
}

function pieceTest(piece: string): (row: Row) => boolean {
  const has = (text: string): boolean => text.toLowerCase().includes(piece);
  return (row) => {
    if (has(String(row['message_id'])) || has(String(row['id'])) || has(laneKey(String(row['lane'])).mailbox))
      return true;
    const envelope = envelopeOf(row);
    return (
      envelope !== undefined && (has(envelope.reversePath) || envelope.recipients.some(({ address }) => has(address)))
    );
  };
}

const ANYWHERE = "(envelope || ' ' || message_id || ' ' || id || ' ' || lane)";

/** What engines call otherwise. */
export interface Dialect {
  /** Regardless of the case of ASCII. */
  readonly like: string;
  /** That the envelope holds a backslash. */
  readonly hasEscape: string;
}

const SQLITE: Dialect = { like: 'LIKE', hasEscape: 'instr(envelope, char(92))' };

/**
 * Conditions in SQL that hold for every row that itemTest() takes, and for few others: so that what is not looked for need
 * not leave the database. Empty: nothing is known to be of use.
 */
export function roughTest(
  filter: ListFilter,
  { like: matches, hasEscape }: Dialect = SQLITE,
): {
  readonly where: readonly string[];
  readonly values: readonly (string | number)[];
} {
  const { sender, recipient, messageId, pieces = [], arrivedFrom, arrivedBefore } = filter;
  const where: string[] = [];
  const values: (string | number)[] = [];
  const like = (text: string, piece: string): void => {
    // What stands in it as it is, whatever is done about accents, quotes, escapes and asterisks.
    const runs = piece.match(/[a-z0-9]+/gi) ?? [];
    if (runs.length === 0) return;
    // What has an escape or a letter beyond ASCII may be another way to write it.
    where.push(`(${text} ${matches} ? OR ${hasEscape} OR octet_length(envelope) <> length(envelope))`);
    values.push(`%${runs.join('%')}%`);
  };
  for (const address of [sender, recipient]) if (address !== undefined) like('envelope', address);
  for (const piece of pieces) like(ANYWHERE, piece);
  if (messageId !== undefined) {
    where.push('message_id IN (?, ?)');
    values.push(messageId, `<${messageId}>`);
  }
  if (arrivedFrom !== undefined) {
    where.push('arrived >= ?');
    values.push(arrivedFrom);
  }
  if (arrivedBefore !== undefined) {
    where.push('arrived < ?');
    values.push(arrivedBefore);
  }
  return { where, values };
}

/** Never fails: what cannot be read has a stand-in, and the item says that it is damaged. */
export function itemOf(row: Row): QueueItem {
  const envelope = envelopeOf(row);
  const origin = originOf(row);
  const damaged = rowDamage(envelope, origin);
  const status = statusOf(row['status']);
  return {
    ...laneKey(String(row['lane'])),
    id: String(row['id']),
    message: String(row['message']),
    state: String(row['state']) as ItemState,
    due: Number(row['due']),
    arrivedAt: Number(row['arrived']),
    attempts: Number(row['attempts']),
    doubtful: row['doubtful'] === 1,
    size: Number(row['size']),
    headerSize: Number(row['header_size']),
    messageId: String(row['message_id']),
    envelope: envelope ?? { reversePath: '', recipients: [] },
    origin: origin ?? { source: 'gateway', name: '', peer: '' },
    ...(status === undefined ? {} : { lastStatus: status }),
    ...(typeof row['tells'] === 'string' ? { tells: row['tells'] } : {}),
    ...(row['state'] === 'bounced' && row['ended'] === null ? { untold: true as const } : {}),
    ...(damaged === undefined ? {} : { damaged }),
  };
}

export function entryOf(row: Row): HistoryEntry {
  const { detail } = row;
  const status = statusOf(row['status']);
  return {
    at: Number(row['at']),
    what: String(row['what']) as HistoryEntry['what'],
    ...(typeof detail === 'string' ? { detail } : {}),
    ...(status === undefined ? {} : { status }),
  };
}
