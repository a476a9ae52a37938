/**
 * The books of the crash test of pickup: what became of each mail, held against what was fed, what was handed over, where
 * the mailbox has it, and what the spool says. By Message-ID. Pure.
 */
import type { Fed } from './pickup-crash-mail.ts';
import { HANDED_OVER, PLACES } from './pickup-crash-mail.ts';

export interface Evidence {
  /** Each mail that was fed, and how many further copies of it with its search key. */
  readonly fed: readonly (Fed & { copies: number })[];
  /** Hand-overs: the key or id of each, with the digest of the body. */
  readonly handedOver: ReadonlyMap<string, readonly { readonly key: string; readonly digest: string }[]>;
  /** Folders in which the mailbox has it, a name for each item. */
  readonly places: ReadonlyMap<string, readonly string[]>;
  /** Notices that reached a sender, by address. */
  readonly notices: ReadonlyMap<string, number>;
  readonly items: readonly { readonly id: string; readonly state: string; readonly messageId: string }[];
}

export interface Books {
  readonly rows: Readonly<Record<string, number>>;
  /** What is wrong; all must be empty. */
  readonly wrong: Readonly<Record<string, readonly string[]>>;
}

export function balance({ fed, handedOver, places, notices, items }: Evidence): Books {
  const byId = new Map(fed.map((one) => [one.id, one]));
  const of = (sort: Fed['sort']): number => fed.filter((one) => one.sort === sort).length;
  const due = fed.filter(({ sort }) => HANDED_OVER.has(sort));
  const others = fed.filter(({ sort }) => !HANDED_OVER.has(sort));
  const times = (id: string): number => handedOver.get(id)?.length ?? 0;
  const refused = fed.filter(({ sort }) => sort === 'refused');
  const told = (from: string): number => notices.get(from) ?? 0;
  return {
    rows: {
      'mails fed': fed.length + fed.reduce((sum, { copies }) => sum + copies, 0),
      '  of which copies': fed.reduce((sum, { copies }) => sum + copies, 0),
      'to be handed over': due.length,
      '  of which large': of('large'),
      '  without From': of('nobody'),
      'to be refused': refused.length,
      'to be skipped': of('meeting'),
      'to be quarantined': of('poison'),
      '= handed over': due.filter(({ id }) => times(id) === 1).length,
    },
    wrong: {
      'lost: not handed over': due.filter(({ id }) => times(id) === 0).map(({ id }) => id),
      'handed over twice': [...handedOver.keys()].filter((id) => times(id) > 1),
      'handed over against the rules': others.filter(({ id }) => times(id) > 0).map(({ id }) => id),
      'handed over, and nobody sent it': [...handedOver.keys()].filter((id) => !byId.has(id)),
      'body changed': due
        .filter(({ id, digest }) => handedOver.get(id)?.some((one) => one.digest !== digest))
        .map(({ id }) => id),
      'in the wrong folder': fed
        .filter(({ id, sort, copies }) => {
          const found = places.get(id) ?? [];
          return found.length !== 1 + copies || found.some((place) => place !== PLACES[sort]);
        })
        .map(({ id, sort }) => `${id} ${sort} ${(places.get(id) ?? []).join(' ')}`),
      'refused, and its sender not told once': refused
        .filter(({ from }) => told(from) !== 1)
        .map(({ id, from }) => `${id} ${told(from)}`),
      'still in the spool': items
        .filter(({ state }) => state !== 'relayed')
        .map(({ messageId, state }) => `${messageId} ${state}`),
    },
  };
}
