/**
 * The books of the crash test: what the spool says became of each message, held against what was acknowledged and what
 * arrived. Pure.
 */

export interface ItemRow {
  readonly id: string;
  readonly state: string;
  readonly doubtful: number;
  readonly ended: number | null;
  /** Message-ID */
  readonly message_id: string;
  readonly origin: string;
}

export interface HistoryRow {
  readonly item: string;
  readonly what: string;
  readonly detail: string | null;
  readonly status: string | null;
}

export interface Books {
  readonly rows: Readonly<Record<string, number>>;
  /** Message-IDs by what is wrong with them; all must be empty. */
  readonly wrong: Readonly<Record<string, readonly string[]>>;
  readonly doubled: readonly string[];
}

export function balance(
  acknowledged: ReadonlyMap<string, string>,
  items: readonly ItemRow[],
  history: ReadonlyMap<string, readonly HistoryRow[]>,
  arrivals: ReadonlyMap<string, readonly string[]>,
  deferred: ReadonlySet<string>,
): Books {
  const notices = items.filter(({ origin }) => (JSON.parse(origin) as { source: string }).source === 'gateway');
  const noticeIds = new Set(notices.map(({ id }) => id));
  const byId = new Map(items.map((item) => [item.message_id, item]));
  const noticeById = new Map(notices.map((notice) => [notice.id, notice]));
  const mail = new Map(items.filter(({ id }) => !noticeIds.has(id)).map((item) => [item.message_id, item]));
  const ids = [...acknowledged.keys()];
  const copies = (id: string): number => arrivals.get(id)?.length ?? 0;
  const is = (state: string) => (id: string) => mail.get(id)?.state === state;
  /** Attempts of which nobody knows what came of them. */
  const unclear = (id: string): number =>
    (history.get(byId.get(id)?.id ?? '') ?? []).filter(({ what }) => what === 'unknown' || what === 'recovered').length;
  const noticesOf = (id: string): readonly ItemRow[] =>
    (history.get(mail.get(id)?.id ?? '') ?? []).flatMap(({ what, detail }) =>
      what === 'bounced' ? (noticeById.get(detail?.split(' ').at(-1) ?? '') ?? []) : [],
    );
  const isTold = ({ state, message_id: id }: ItemRow): boolean => state === 'relayed' && copies(id) > 0;
  /** Given up, and a notice made: parked since if that could not be delivered. */
  const given = [...mail.keys()].filter((id) => noticesOf(id).length > 0);
  const parked = ids.filter(is('parked'));
  const inDoubt = parked.filter((id) => mail.get(id)?.doubtful === 1);
  const doubled = [...arrivals.keys()].filter((id) => copies(id) > 1);
  const rows = {
    'acknowledged with 250': ids.length,
    '= delivered': ids.filter(is('relayed')).length,
    '+ bounced': ids.filter(is('bounced')).length,
    '+ parked': parked.length,
    '  parked, since the notice failed': parked.filter((id) => given.includes(id)).length,
    '  parked in doubt': inDoubt.length,
    '  parked in doubt, and did arrive': inDoubt.filter((id) => copies(id) > 0).length,
    'not acknowledged, yet kept': [...mail.keys()].filter((id) => !acknowledged.has(id)).length,
    'notices of bounces': notices.length,
    'attempts of unclear outcome': [...mail.keys()].reduce((sum, id) => sum + unclear(id), 0),
    'delivered twice': doubled.length,
  };
  const wrong = {
    'lost: not in the spool': ids.filter((id) => !mail.has(id)),
    'answered with a temporary error, yet kept': [...mail.keys()].filter((id) => deferred.has(id)),
    'still waiting at the end': [...mail.keys()].filter(
      (id) => is('queued')(id) || is('sending')(id) || (is('bounced')(id) && mail.get(id)?.ended === null),
    ),
    'lost: said to be delivered, did not arrive': ids.filter((id) => is('relayed')(id) && copies(id) === 0),
    'bounced, yet it arrived': [...arrivals.keys()].filter(is('bounced')),
    'bounced without exactly one notice': [...mail.keys()].filter(
      (id) => (is('bounced')(id) || given.includes(id)) && noticesOf(id).length !== 1,
    ),
    'bounced, and its notice did not arrive': given.filter((id) => is('bounced')(id) && !noticesOf(id).every(isTold)),
    'given up, its notice failed, and not parked': given.filter(
      (id) =>
        !noticesOf(id).every(isTold) && !(is('parked')(id) && noticesOf(id).every(({ state }) => state === 'dropped')),
    ),
    'notices of nothing': notices.length === given.length ? [] : [`${notices.length} notices for ${given.length}`],
    'parked without doubt, yet it arrived': parked.filter((id) => !inDoubt.includes(id) && copies(id) > 0),
    'arrived, and nobody sent it': [...arrivals.keys()].filter((id) => !byId.has(id)),
    'body changed': ids.filter((id) => arrivals.get(id)?.some((body) => body !== acknowledged.get(id))),
    'delivered more often than unclear outcomes explain': doubled.filter((id) => copies(id) > 2 || unclear(id) === 0),
  };
  return { rows, wrong, doubled };
}
