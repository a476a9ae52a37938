/**
 * The books of the crash test: what the spool says became of each message, held against what was acknowledged and what
 * arrived. Pure.
 */

export interface ItemRow {
  readonly id: string;
  readonly state: string;
  readonly doubtful: number;
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
): Books {
  const notices = items.filter(({ origin }) => (JSON.parse(origin) as { source: string }).source === 'gateway');
  const noticeIds = new Set(notices.map(({ id }) => id));
  const byId = new Map(items.map((item) => [item.message_id, item]));
  const mail = new Map(items.filter(({ id }) => !noticeIds.has(id)).map((item) => [item.message_id, item]));
  const ids = [...acknowledged.keys()];
  const copies = (id: string): number => arrivals.get(id)?.length ?? 0;
  const is = (state: string) => (id: string) => mail.get(id)?.state === state;
  /** Attempts of which nobody knows what came of them. */
  const unclear = (id: string): number =>
    (history.get(byId.get(id)?.id ?? '') ?? []).filter(({ what }) => what === 'unknown' || what === 'recovered').length;
  const toldBy = (id: string): number =>
    (history.get(mail.get(id)?.id ?? '') ?? []).filter(
      ({ what, detail }) => what === 'bounced' && noticeIds.has(detail?.split(' ').at(-1) ?? ''),
    ).length;
  const parked = ids.filter(is('parked'));
  const inDoubt = parked.filter((id) => mail.get(id)?.doubtful === 1);
  const doubled = [...arrivals.keys()].filter((id) => copies(id) > 1);
  const bounced = [...mail.values()].filter(({ state }) => state === 'bounced').length;
  const rows = {
    'acknowledged with 250': ids.length,
    '= delivered': ids.filter(is('relayed')).length,
    '+ bounced': ids.filter(is('bounced')).length,
    '+ parked': parked.length,
    '  parked in doubt': inDoubt.length,
    '  parked in doubt, and did arrive': inDoubt.filter((id) => copies(id) > 0).length,
    'not acknowledged, yet kept': [...mail.keys()].filter((id) => !acknowledged.has(id)).length,
    'notices of bounces': notices.length,
    'attempts of unclear outcome': [...mail.keys()].reduce((sum, id) => sum + unclear(id), 0),
    'delivered twice': doubled.length,
  };
  const wrong = {
    'lost: not in the spool': ids.filter((id) => !mail.has(id)),
    'still waiting at the end': ids.filter((id) => is('queued')(id) || is('sending')(id)),
    'lost: said to be delivered, did not arrive': ids.filter((id) => is('relayed')(id) && copies(id) === 0),
    'bounced, yet it arrived': [...arrivals.keys()].filter(is('bounced')),
    'bounced without exactly one notice': [...mail.keys()].filter((id) => is('bounced')(id) && toldBy(id) !== 1),
    'notices of nothing': notices.length === bounced ? [] : [`${notices.length} notices for ${bounced}`],
    'notices neither delivered nor parked': notices
      .filter(({ state, message_id: id }) => state !== 'parked' && !(state === 'relayed' && copies(id) > 0))
      .map(({ message_id: id }) => id),
    'parked without doubt, yet it arrived': parked.filter((id) => !inDoubt.includes(id) && copies(id) > 0),
    'arrived, and nobody sent it': [...arrivals.keys()].filter((id) => !byId.has(id)),
    'body changed': ids.filter((id) => arrivals.get(id)?.some((body) => body !== acknowledged.get(id))),
    'delivered more often than unclear outcomes explain': doubled.filter((id) => copies(id) > 2 || unclear(id) === 0),
  };
  return { rows, wrong, doubled };
}
