/**
 * Recipients taken out of an item that is being sent, each part into an item of its own over the same body. Throws what
 * SQLite throws, and for parts that leave nobody; then nothing has changed.
 */
import type { QueueItem } from '../mail/item.ts';
import type { Database } from './database.ts';
import { splitFrom, splitInto } from './history-words.ts';
import type { OrderTo } from './protocol.ts';
import { itemOf } from './rows.ts';

/** @returns undefined: the item is no longer being sent */
export function split(data: Database, { id, parts, now }: OrderTo<'split'>): QueueItem[] | undefined {
  const row = data.row(`SELECT * FROM item WHERE id = ? AND state = 'sending'`, id);
  if (row === undefined) return undefined;
  const item = itemOf(row);
  const { recipients } = item.envelope;
  const wanted = parts.map((addresses) => new Set(addresses));
  const taken = wanted.map((addresses) => recipients.filter(({ address }) => addresses.has(address)));
  const left = recipients.filter(({ address }) => !wanted.some((addresses) => addresses.has(address)));
  if ([left, ...taken].some((group) => group.length === 0))
    throw new Error(`item ${id} cannot be split so: every part and the rest need a recipient`);
  const made = taken.map((group) => addPart(data, item, { ...item.envelope, recipients: group }, now));
  data.run('UPDATE item SET envelope = ? WHERE id = ?', JSON.stringify({ ...item.envelope, recipients: left }), id);
  data.run('UPDATE message SET users = users + ? WHERE id = ?', made.length, item.message);
  data.remember(id, now, 'split', undefined, splitInto(made.map((one) => one.id)));
  return made;
}

/** A copy of the item's row for some of its recipients, with the history so far. */
function addPart(data: Database, item: QueueItem, envelope: QueueItem['envelope'], now: number): QueueItem {
  let number = 2;
  while (data.row('SELECT 1 AS found FROM item WHERE id = ?', `${item.message}-${number}`) !== undefined) number++;
  const id = `${item.message}-${number}`;
  data.run(
    `INSERT INTO item (id, message, lane, state, due, arrived, attempts, doubtful, started, lease, size, header_size, message_id, envelope, origin, status, first)
     SELECT ?, message, lane, state, due, arrived, attempts, doubtful, started, lease, size, header_size, message_id, ?, origin, status, first FROM item WHERE id = ?`,
    id,
    JSON.stringify(envelope),
    item.id,
  );
  data.run(
    'INSERT INTO history (item, at, what, detail, status) SELECT ?, at, what, detail, status FROM history WHERE item = ? ORDER BY rowid',
    id,
    item.id,
  );
  data.remember(id, now, 'split', undefined, splitFrom(item.id));
  return { ...item, id, envelope };
}
