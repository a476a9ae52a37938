/** Rows of the database as items and lines of history, and the tests of a list that no index serves. Never fails. */
import type { HistoryEntry, ItemState, QueueItem } from '../mail/item.ts';
import { isPattern, matcher } from '../mail/pattern.ts';
import type { ListFilter } from '../mail/spool.ts';
import { envelopeOf, originOf, rowDamage, statusOf } from './damage.ts';
import type { Row } from './database.ts';
import { laneKey } from './protocol.ts';

/** For what no index tells; undefined: the filter asks for nothing of the kind. */
export function itemTest(filter: ListFilter): ((row: Row) => boolean) | undefined {
  const { sender, recipient, messageId, arrivedFrom = -Infinity, arrivedBefore = Infinity } = filter;
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
  return tests.length === 0 ? undefined : (row) => tests.every((test) => test(row));
}

function addressTest(wanted: string | undefined): (address: string) => boolean {
  if (wanted === undefined) return () => true;
  if (wanted === '') return (address) => address === '';
  if (isPattern(wanted)) return matcher([wanted]);
  const piece = wanted.toLowerCase();
  return (address) => address.toLowerCase().includes(piece);
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
