/**
 * Recipients taken out of an item that is being sent, each part into an item of its own over the same body, as split.ts has
 * it. The parts bear a claim of their own, by which a second try finds what the first has made. Rejects with PostgresError,
 * and for parts that leave nobody; then nothing has changed.
 */
import type { QueueItem, SpoolId } from '../mail/item.ts';
import { SpoolError } from '../mail/spool.ts';
import type { DeliveryStatus } from '../mail/status.ts';
import { splitFrom, splitInto } from './history-words.ts';
import type { Connection } from './postgres-connection.ts';
import { remember } from './postgres-database.ts';
import type { ItemsOptions } from './postgres-items.ts';
import { ITEM, OF_MESSAGE } from './postgres-rows.ts';
import { itemOf } from './rows.ts';

const ADD = `
INSERT INTO item (id, message, lane, state, due, arrived, attempts, doubtful, started, owner, ticket, lease, size, header_size, message_id, envelope, origin, status, first)
SELECT $1, message, lane, state, due, arrived, attempts, doubtful, started, owner, $4, lease, size, header_size, message_id, $2, origin, status, first
FROM item WHERE id = $3`;

export class PostgresSplitter {
  readonly #options: ItemsOptions;

  constructor(options: ItemsOptions) {
    this.#options = options;
  }

  /** @returns undefined: the item is no longer being sent, not by us */
  async split(
    id: SpoolId,
    parts: readonly (readonly string[])[],
    relayed?: DeliveryStatus,
  ): Promise<readonly QueueItem[] | undefined> {
    const { database, notices, tickets, owner, now, onEnded } = this.#options;
    const ours = tickets.of(id);
    if (ours === undefined) return undefined;
    const at = now();
    return tickets.during(async (ticket) => {
      const made = await database.transaction(async (link, isRepeated) => {
        // The end of an earlier try is waited for here.
        const row = await link.row(`SELECT ${ITEM}, owner, ticket FROM item WHERE id = $1 FOR UPDATE`, id);
        const found = isRepeated ? await partsOf(link, owner, ticket, parts) : [];
        if (found.length > 0) return found;
        const isOurs = row?.['owner'] === owner && Number(row['ticket']) === ours.ticket;
        if (row?.['state'] !== 'sending' || !isOurs) return undefined;
        const added = await split(link, itemOf(row), parts, ticket, at);
        if (relayed !== undefined)
          await notices.end(link, { id, ticket: ours.ticket, state: 'relayed', status: relayed, now: at });
        return added;
      });
      if (made === undefined) return undefined;
      tickets.took(ticket, made);
      onEnded(relayed === undefined ? 0 : 1, 0);
      if (relayed !== undefined) tickets.left(id, ours.ticket);
      return made;
    });
  }
}

async function split(
  link: Connection,
  item: QueueItem,
  parts: readonly (readonly string[])[],
  ticket: number,
  now: number,
): Promise<readonly QueueItem[]> {
  const { recipients } = item.envelope;
  const wanted = parts.map((addresses) => new Set(addresses));
  const taken = wanted.map((addresses) => recipients.filter(({ address }) => addresses.has(address)));
  const left = recipients.filter(({ address }) => !wanted.some((addresses) => addresses.has(address)));
  if ([left, ...taken].some((group) => group.length === 0))
    throw new SpoolError('io', `item ${item.id} cannot be split so: every part and the rest need a recipient`);
  // Locks the message, so that nobody else takes the same numbers.
  await link.run('UPDATE message SET users = users + $2 WHERE id = $1', item.message, taken.length);
  const used = new Set((await link.rows(`SELECT id FROM item WHERE ${OF_MESSAGE}`, item.message)).map(({ id }) => id));
  const made: QueueItem[] = [];
  for (let number = 2; made.length < taken.length; number++) {
    const id = `${item.message}-${number}`;
    if (used.has(id)) continue;
    const envelope = { ...item.envelope, recipients: taken[made.length] ?? [] };
    await addPart(link, item, { ...item, id, envelope }, ticket, now);
    made.push({ ...item, id, envelope });
  }
  await link.run(
    'UPDATE item SET envelope = $2 WHERE id = $1',
    item.id,
    JSON.stringify({ ...item.envelope, recipients: left }),
  );
  await remember(link, item.id, now, 'split', undefined, splitInto(made.map(({ id }) => id)));
  return made;
}

/** A copy of the item's row for some of its recipients, with the history so far. */
async function addPart(link: Connection, item: QueueItem, part: QueueItem, ticket: number, now: number): Promise<void> {
  await link.run(ADD, part.id, JSON.stringify(part.envelope), item.id, ticket);
  await link.run(
    `INSERT INTO history (item, at, what, detail, status)
     SELECT $1, at, what, detail, status FROM history WHERE item = $2 ORDER BY number`,
    part.id,
    item.id,
  );
  await remember(link, part.id, now, 'split', undefined, splitFrom(item.id));
}

/** In the order in which they were asked for. */
async function partsOf(
  link: Connection,
  owner: string,
  ticket: number,
  parts: readonly (readonly string[])[],
): Promise<readonly QueueItem[]> {
  const rows = await link.rows(
    `SELECT ${ITEM} FROM item WHERE state = 'sending' AND owner = $1 AND ticket = $2`,
    owner,
    ticket,
  );
  const made = rows.map(itemOf);
  const place = ({ envelope }: QueueItem): number =>
    parts.findIndex((addresses) => addresses.includes(envelope.recipients[0]?.address ?? ''));
  return made.toSorted((one, other) => place(one) - place(other));
}
