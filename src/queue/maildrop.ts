/**
 * Items that a door hands out by their ids, to whoever fetches them, instead of attempts of the queue. A message stays
 * queued until it is taken out, which is durable then; a crash in the midst of it leaves it there. Trouble with the store
 * is a SpoolError, and nothing else.
 */
import type { Report } from '../mail/event.ts';
import type { LaneKey, QueueItem, SpoolId } from '../mail/item.ts';
import type { Spool } from '../mail/spool.ts';
import type { Relayed } from '../mail/status.ts';
import type { Bouncer } from './bounce.ts';

export interface MaildropOptions {
  readonly spool: Spool;
  /** Whose items: those of one route, also what an operator moved there, and what came before its mailbox was another. */
  readonly route: string;
  /** Name of the door in events. */
  readonly door: string;
  readonly report: Report;
  readonly bouncer: Bouncer;
  /** A message has become durable in this lane: the notice to a sender. */
  readonly arrived: (lane: LaneKey) => void;
  readonly now?: () => number;
}

export interface HandedOut {
  readonly id: SpoolId;
  /** Octets. */
  readonly size: number;
  /** Its only line end is CRLF, also behind the last line. */
  readonly isCanonical: boolean;
}

export interface ItemDrop {
  /** Oldest first. */
  list(): Promise<readonly HandedOut[]>;
  open(id: SpoolId): AsyncIterable<Uint8Array>;
  /** Takes out those that are still there. Durable when it resolves. */
  remove(ids: readonly SpoolId[]): Promise<void>;
}

const PAGE = 1_000;
/** As many as are shown at a time; the rest when these are gone. */
const MOST = 20_000;
/** Milliseconds that the removal of one may take. */
const LEASE = 60_000;

export function itemDrop(options: MaildropOptions): ItemDrop {
  const { spool, route, now = Date.now } = options;
  return {
    async list() {
      const all: HandedOut[] = [];
      let after: SpoolId | undefined;
      while (all.length < MOST) {
        const page = await spool.list({
          route,
          states: ['queued'],
          limit: PAGE,
          ...(after === undefined ? {} : { after }),
        });
        // What an operator has moved here came in by other ways.
        for (const { id, size, origin } of page) all.push({ id, size, isCanonical: origin.source === 'pickup' });
        after = page.at(-1)?.id;
        if (page.length < PAGE) break;
      }
      return all;
    },
    async *open(id) {
      const item = await spool.get(id);
      // Its octets are asked for under its own name then, so that the spool says what is wrong.
      yield* spool.open(item?.message ?? id);
    },
    async remove(ids) {
      for (const id of ids) {
        const item = await spool.take(id, now() + LEASE);
        if (item !== undefined) await finish(item, options);
      }
    },
  };
}

async function finish(
  item: QueueItem,
  { spool, door, report, bouncer, arrived, now = Date.now }: MaildropOptions,
): Promise<void> {
  const { id, messageId, route, mailbox, size, attempts, arrivedAt } = item;
  const { receivedAt } = item.origin;
  const status: Relayed = { outcome: 'relayed', code: '2.0.0', cause: 'fetched', text: `Fetched by ${door}` };
  const notice = await bouncer.relayed(item, status, false);
  if (!notice.told) await spool.finish(id, status);
  report({
    event: 'delivery.relayed',
    id,
    messageId,
    route,
    mailbox,
    size,
    transport: door,
    attempt: attempts,
    seconds: 0,
    status,
    age: (now() - arrivedAt) / 1000,
    ...(receivedAt === undefined ? {} : { receivedAt }),
  });
  if (!notice.told) return;
  const { to, recipients, item: own } = notice;
  report({ event: 'delivery.notified', id, messageId, route, mailbox, status, to, recipients, notice: own.id });
  arrived(own);
}
