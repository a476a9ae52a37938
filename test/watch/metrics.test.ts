import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Event, EventName } from '../../src/mail/event.ts';
import type { SpoolStats } from '../../src/mail/spool.ts';
import { CATALOGUE } from '../../src/watch/catalogue.ts';
import { causeLabels } from '../../src/watch/cause.ts';
import { createMetrics } from '../../src/watch/metrics.ts';
import type { Metrics, MetricsOptions } from '../../src/watch/metrics.ts';
import { ALL_EVENTS, EVENTS, NOW } from './events.ts';
import { changes, series, withoutSpool } from './exposition.ts';

const root = join(import.meta.dirname, '../..');

const STATS: SpoolStats = {
  items: { queued: 3, sending: 1, parked: 2, relayed: 40, bounced: 0, dropped: 5 },
  oldest: NOW - 90_000,
  bytes: 123_456,
  free: 9_000_000_000,
};

function metrics(options: Partial<MetricsOptions> = {}): Metrics {
  return createMetrics({
    version: '0.1.0',
    stats: async () => STATS,
    routes: ['exchange', 'fax'],
    accounts: ['exchange'],
    pickups: ['fax'],
    now: () => NOW,
    ...options,
  });
}

const text = async (from: Metrics): Promise<string> => (await from.render()).body;
const first = <Name extends EventName>(name: Name): Extract<Event, { event: Name }> => {
  const [event] = EVENTS[name];
  if (event === undefined) throw new Error(`no sample of ${name}`);
  return event;
};

/** What each sample of an event changes; the listener is open. */
const CHANGES: Readonly<Record<Exclude<EventName, 'listener.open'>, readonly (readonly string[])[]>> = {
  'gateway.starting': [[]],
  'gateway.ready': [[]],
  'config.reloaded': [[], []],
  'config.refused': [['config_last_reload_successful -1']],
  'gateway.stopping': [[]],
  'gateway.stopped': [[], []],
  'console.open': [[]],
  'control.open': [[]],
  'control.failed': [[]],
  'session.opened': [['sessions_open{listener="lan"} +1', 'sessions_total{listener="lan"} +1']],
  'session.closed': [['sessions_open{listener="lan"} -1']],
  'session.refused': [['refusals_total{listener="lan",refusal="size"} +1']],
  'auth.succeeded': [
    ['auth_attempts_total{listener="lan",result="succeeded"} +1'],
    ['auth_attempts_total{listener="console",result="succeeded"} = 1'],
  ],
  'auth.failed': [['auth_attempts_total{listener="lan",result="failed"} +1']],
  'auth.banned': [['auth_bans_total{listener="lan"} +1']],
  'certificate.loaded': [
    [7_776_000, 'certificate_remaining_seconds{listener="lan"} = 7776000'],
    [315_360_000, 'certificate_remaining_seconds{listener="lan"} = 315360000'],
    [-60, 'certificate_remaining_seconds{listener="lan"} = 0'],
  ].map(([from, remaining]) => [
    `certificate_expiry_timestamp_seconds{listener="lan"} = ${NOW / 1000 + Number(from)}`,
    String(remaining),
  ]),
  'certificate.failed': [['certificate_failures_total{listener="lan"} +1']],
  'certificate.expiring': [[], []],
  'message.accepted': [
    [
      'accept_seconds_count +1',
      'accept_seconds_sum +0.0421',
      'accepted_bytes_total{listener="lan"} +5240000',
      'messages_accepted_total{listener="lan"} +1',
      'recipients_accepted_total{listener="lan"} +2',
    ],
    [
      'accept_seconds_count +1',
      'accept_seconds_sum +0.004',
      'accepted_bytes_total{listener="lan"} +812',
      'messages_accepted_total{listener="lan"} +1',
      'recipients_accepted_total{listener="lan"} +1',
    ],
    ['pickup_fetched_bytes_total{pickup="fax"} +81200', 'pickup_fetched_total{pickup="fax"} +1'],
    [],
  ],
  'delivery.started': [['deliveries_in_flight{route="exchange"} +1']],
  'delivery.relayed': [
    [
      'delivered_bytes_total{route="exchange"} +5240000',
      'delivered_messages_total{route="exchange"} +1',
      'delivery_age_seconds_count{route="exchange"} +1',
      'delivery_age_seconds_sum{route="exchange"} +66.1',
      'delivery_attempt_seconds_count{outcome="relayed",route="exchange"} +1',
      'delivery_attempt_seconds_sum{outcome="relayed",route="exchange"} +0.42',
      'delivery_attempts_total{cause="NoError",outcome="relayed",route="exchange"} = 1',
    ],
    [
      'delivered_bytes_total{route="fax"} +81200',
      'delivered_messages_total{route="fax"} +1',
      'delivery_age_seconds_count{route="fax"} +1',
      'delivery_age_seconds_sum{route="fax"} +0.3',
      'delivery_attempt_seconds_count{outcome="relayed",route="fax"} +1',
      'delivery_attempt_seconds_sum{outcome="relayed",route="fax"} +0.1',
      'delivery_attempts_total{cause="SMTP 250",outcome="relayed",route="fax"} = 1',
      'pickup_lag_seconds_count{pickup="fax"} +1',
      'pickup_lag_seconds_sum{pickup="fax"} +1.8',
    ],
  ],
  'delivery.delayed': [
    [
      'delivery_attempt_seconds_count{outcome="delayed",route="exchange"} +1',
      'delivery_attempt_seconds_sum{outcome="delayed",route="exchange"} +1.25',
      'delivery_attempts_total{cause="ErrorServerBusy",outcome="delayed",route="exchange"} = 1',
    ],
    [
      'delivery_attempt_seconds_count{outcome="delayed",route="exchange"} +1',
      'delivery_attempt_seconds_sum{outcome="delayed",route="exchange"} +0.1',
      'delivery_attempts_total{cause="AADSTS7000222",outcome="delayed",route="exchange"} = 1',
      'misconfigured_attempts_total{reach="transport",route="exchange"} +1',
    ],
  ],
  'delivery.failed': [
    [
      'delivery_attempt_seconds_count{outcome="failed",route="exchange"} +1',
      'delivery_attempt_seconds_sum{outcome="failed",route="exchange"} +0.2',
      'delivery_attempts_total{cause="ErrorSendAsDenied",outcome="failed",route="exchange"} = 1',
    ],
  ],
  'delivery.unknown': [
    [
      'delivery_attempt_seconds_count{outcome="unknown",route="exchange"} +1',
      'delivery_attempt_seconds_sum{outcome="unknown",route="exchange"} +120.2',
      'delivery_attempts_total{cause="UND_ERR_HEADERS_TIMEOUT",outcome="unknown",route="exchange"} = 1',
      'unknown_outcomes_total{route="exchange"} +1',
    ],
  ],
  'delivery.verified': [
    ['verifications_total{found="relayed",route="exchange"} +1'],
    ['verifications_total{found="absent",route="exchange"} +1'],
    ['verifications_total{found="delayed",route="exchange"} +1'],
    ['verifications_total{found="unknowable",route="exchange"} +1'],
  ],
  'item.split': [['items_split_total{route="exchange"} +1']],
  'lease.lost': [['leases_lost_total{route="exchange"} +1']],
  'delivery.bounced': [['items_bounced_total{route="exchange"} +1']],
  'delivery.warned': [['items_warned_total{route="exchange"} +1']],
  'delivery.notified': [['items_notified_total{route="exchange"} +1']],
  'item.dropped': [['items_dropped_total{route="exchange",why="age"} +1'], ['operator_acts_total{act="drop"} +1']],
  'item.retried': [['operator_acts_total{act="retry"} +1']],
  'item.held': [['operator_acts_total{act="hold"} +1']],
  'item.moved': [
    ['operator_acts_total{act="move"} +1'],
    ['operator_acts_total{act="move"} +1'],
    ['operator_acts_total{act="move"} +1'],
  ],
  'item.exported': [['operator_acts_total{act="export"} +1']],
  'item.viewed': [['operator_acts_total{act="view"} +1']],
  'item.parked': [['items_parked_total{route="exchange"} +1']],
  'route.held': [
    [
      'hold_seconds_total{reach="transport",route="exchange",why="trouble"} +30',
      'holds_total{reach="transport",route="exchange",why="trouble"} +1',
      'route_held{route="exchange"} +1',
    ],
    [
      'hold_seconds_total{reach="transport",route="exchange",why="misconfigured"} +60',
      'holds_total{reach="transport",route="exchange",why="misconfigured"} +1',
      'route_held{route="exchange"} +1',
      'route_misconfigured{route="exchange"} +1',
    ],
    ['route_held{route="exchange"} +1'],
  ],
  'transport.chosen': [
    ['transport_in_use{route="exchange",transport="smtp"} = 1'],
    ['transport_in_use{route="exchange",transport="ews"} = 1'],
    ['transport_in_use{route="exchange",transport="graph"} = 1'],
  ],
  'transport.changed': [
    [
      'transport_in_use{route="exchange",transport="ews"} = 0',
      'transport_in_use{route="exchange",transport="graph"} = 1',
    ],
    [
      'transport_in_use{route="exchange",transport="graph"} = 0',
      'transport_in_use{route="exchange",transport="ews"} = 1',
    ],
  ],
  'transport.probed': [[], [], []],
  'shadow.rehearsed': [
    ['shadow_rehearsals_total{reached="yes",route="exchange",transport="ews"} = 1'],
    ['shadow_rehearsals_total{reached="no",route="exchange",transport="graph"} = 1'],
  ],
  'route.released': [[]],
  'lane.held': [
    [
      'hold_seconds_total{reach="mailbox",route="exchange",why="throttled"} +12',
      'holds_total{reach="mailbox",route="exchange",why="throttled"} +1',
    ],
    [
      'hold_seconds_total{reach="mailbox",route="exchange",why="trouble"} +1800',
      'holds_total{reach="mailbox",route="exchange",why="trouble"} +1',
    ],
  ],
  'pickup.opened': [['pickup_up{pickup="fax"} +1'], ['pickup_up{pickup="fax"} +1']],
  'pickup.polled': ['news', 'interval'].map((why) => [
    `pickup_last_poll_timestamp_seconds{pickup="fax"} = ${NOW / 1000}`,
    `pickup_polls_total{pickup="fax",why="${why}"} +1`,
    'pickup_up{pickup="fax"} +1',
  ]),
  'pickup.resynced': [['pickup_resyncs_total{pickup="fax"} +1']],
  'pickup.refused': [
    ['pickup_refused_total{cause="sender",pickup="fax"} +1'],
    ['pickup_refused_total{cause="size",pickup="fax"} +1'],
  ],
  'pickup.skipped': [['pickup_skipped_total{pickup="fax"} +1']],
  'pickup.quarantined': [['pickup_quarantined_total{pickup="fax"} +1'], ['pickup_quarantined_total{pickup="fax"} +1']],
  'pickup.repeated': [[]],
  'pickup.filed': [[], []],
  'pickup.delayed': [[]],
  'pickup.failed': [
    ['pickup_failures_total{cause="ECONNREFUSED",pickup="fax"} = 1'],
    ['pickup_failures_total{cause="ErrorAccessDenied",pickup="fax"} = 1'],
  ],
  'pickup.recovered': [['pickup_up{pickup="fax"} +1']],
  'pickup.deaf': [['pickup_reconnects_total{pickup="fax"} +1']],
  'pickup.waiting': [['pickup_waiting{pickup="fax"} +1']],
  'duty.taken': [['duty_held{duty="alarms"} = 1'], ['duty_held{duty="pickup fax"} = 1']],
  'duty.lost': [['duty_held{duty="pickup fax"} = 0', 'pickup_waiting{pickup="fax"} +1']],
  'duty.left': [[]],
  'duty.elsewhere': [
    ['duty_held{duty="alarms"} = 0'],
    ['duty_held{duty="pickup fax"} = 0', 'pickup_waiting{pickup="fax"} +1'],
  ],
  'token.acquired': [
    [
      'token_expiry_timestamp_seconds{account="exchange"} = 1795492799',
      'token_remaining_seconds{account="exchange"} = 3599',
      'token_requests_total{account="exchange",result="acquired"} +1',
    ],
  ],
  'token.failed': [
    [
      'token_failures_total{account="exchange",cause="AADSTS7000222"} = 1',
      'token_requests_total{account="exchange",result="failed"} +1',
    ],
    [
      'token_failures_total{account="exchange",cause="ENOTFOUND"} = 1',
      'token_requests_total{account="exchange",result="failed"} +1',
    ],
  ],
  'token.warning': [[]],
  'transport.warning': [[]],
  'credential.loaded': [['credential_remaining_seconds{account="exchange"} = 60']],
  'credential.failed': [[]],
  'spool.open': [[]],
  'spool.trouble': [['spool_trouble +1', 'spool_troubles_total +1']],
  'spool.takenOver': [['items_taken_over_total +2']],
  'spool.recovered': [[]],
  'alarm.raised': [['alarms_active{reason="mailboxMisconfigured"} +1'], ['alarms_active{reason="mailParked"} +1']],
  'alarm.left': [[]],
  'alarm.recovered': [[]],
  'alarm.failed': [['alarm_failures_total +1'], ['alarm_failures_total +1']],
  'log.dropped': [['log_lines_dropped_total +17']],
  bug: [['bugs_total +1']],
};

describe('an event changes its metrics and no other', () => {
  const cases = Object.entries(CHANGES).flatMap(([name, all]) =>
    all.map((expected, index) => [name as keyof typeof CHANGES, index, expected] as const),
  );
  it.each(cases)('%s, sample %i', async (name, index, expected) => {
    const watched = metrics();
    watched.report(first('listener.open'));
    const before = await text(watched);
    const event = EVENTS[name][index];
    if (event === undefined) throw new Error(`no sample ${index} of ${name}`);
    watched.report(event);
    expect(changes(before, await text(watched))).toEqual(expected.toSorted());
  });

  it('for every sample', () => {
    for (const [name, all] of Object.entries(CHANGES)) {
      expect([name, EVENTS[name as EventName].length]).toEqual([name, all.length]);
    }
  });

  it('a listener that opens brings all its series, at 0', async () => {
    const watched = metrics();
    const before = await text(watched);
    watched.report(first('listener.open'));
    const lines = changes(before, await text(watched));
    expect(lines).toContain('refusals_total{listener="lan",refusal="loop"} = 0');
    expect(lines).toContain('messages_accepted_total{listener="lan"} = 0');
    expect(lines).toHaveLength(4 + 1 + 21 + 2 + 2);
    for (const line of lines) expect(line).toMatch(/ = 0$/);
  });
});

describe('over a sequence', () => {
  it('attempts under way come back to none, also when an end is told twice or never', async () => {
    const watched = metrics();
    const running = async (): Promise<number | undefined> =>
      series(await text(watched)).get('smtp2exchange_deliveries_in_flight{route="exchange"}');
    const started = first('delivery.started');
    watched.report(started);
    watched.report({ ...started, id: 'other' });
    expect(await running()).toBe(2);
    watched.report(first('delivery.relayed'));
    watched.report(first('delivery.relayed'));
    expect(await running()).toBe(1);
    watched.report({ ...started, id: 'other' });
    expect(await running()).toBe(1);
    watched.report({ ...first('bug'), id: 'other' });
    expect(await running()).toBe(0);
    // A doubt that is parked ends without any other event.
    watched.report({ ...started, id: 'doubt' });
    watched.report({ ...first('item.parked'), id: 'doubt' });
    expect(await running()).toBe(0);
  });

  it('a hold that is prolonged is not counted twice, and one mailbox does not hide the other', async () => {
    let now = NOW;
    const watched = metrics({ now: () => now });
    const lane = first('lane.held');
    const seconds = async (): Promise<number | undefined> =>
      series(await text(watched)).get(
        'smtp2exchange_hold_seconds_total{reach="mailbox",route="exchange",why="throttled"}',
      );
    watched.report({ ...lane, until: now + 10_000 });
    watched.report({ ...lane, until: now + 10_000 });
    expect(await seconds()).toBe(10);
    now += 4_000;
    watched.report({ ...lane, until: now + 10_000 });
    expect(await seconds()).toBe(14);
    watched.report({ ...lane, mailbox: 'other@contoso.com', until: now + 1_000 });
    expect(await seconds()).toBe(15);
    now += 60_000;
    watched.report({ ...lane, until: now + 5_000 });
    expect(await seconds()).toBe(20);
    watched.report({ ...lane, until: now - 5_000 });
    expect(await seconds()).toBe(20);
  });

  it('a route is held and misconfigured until it is released', async () => {
    const watched = metrics();
    const gauge = async (name: string): Promise<number | undefined> =>
      series(await text(watched)).get(`smtp2exchange_${name}{route="exchange"}`);
    const [trouble, misconfigured] = EVENTS['route.held'];
    if (trouble === undefined || misconfigured === undefined) throw new Error('no sample');
    watched.report(misconfigured);
    expect([await gauge('route_held'), await gauge('route_misconfigured')]).toEqual([1, 1]);
    watched.report(trouble);
    expect([await gauge('route_held'), await gauge('route_misconfigured')]).toEqual([1, 0]);
    watched.report(misconfigured);
    watched.report(first('route.released'));
    expect([await gauge('route_held'), await gauge('route_misconfigured')]).toEqual([0, 0]);
  });

  it('a pickup is up from its first look on until it fails, and waits as long as another gateway has its folder', async () => {
    const watched = metrics();
    const gauges = async (): Promise<(number | undefined)[]> => {
      const all = series(await text(watched));
      return ['up', 'waiting'].map((name) => all.get(`smtp2exchange_pickup_${name}{pickup="fax"}`));
    };
    expect(await gauges()).toEqual([0, 0]);
    const told: number[][] = [];
    for (const name of ['waiting', 'opened', 'failed', 'opened', 'recovered', 'waiting', 'failed', 'polled'] as const) {
      watched.report(first(`pickup.${name}`));
      told.push((await gauges()).map(Number));
    }
    expect(told).toEqual([
      [0, 1],
      [1, 0],
      [0, 0],
      [0, 0],
      [1, 0],
      [0, 1],
      [0, 0],
      [1, 0],
    ]);
  });

  it('the lag is that of pickups only, never below 0', async () => {
    const watched = metrics();
    const lag = (): Promise<(readonly [string, number])[]> =>
      text(watched).then((body) => [...series(body)].filter(([key]) => /pickup_lag_seconds_(?:count|sum)/.test(key)));
    const [, relayed] = EVENTS['delivery.relayed'];
    if (relayed === undefined) throw new Error('no sample');
    watched.report({ ...relayed, receivedAt: NOW + 60_000 });
    watched.report({ ...relayed, receivedAt: NOW - 3_000 });
    watched.report({ ...relayed, route: 'exchange' });
    expect(Object.fromEntries(await lag())).toEqual({
      'smtp2exchange_pickup_lag_seconds_count{pickup="fax"}': 2,
      'smtp2exchange_pickup_lag_seconds_sum{pickup="fax"}': 3,
    });
  });

  it.each(['spool.recovered', 'spool.open'] as const)('trouble with the spool is over with %s', async (name) => {
    const watched = metrics();
    const trouble = async (): Promise<number | undefined> =>
      series(withoutSpool(await text(watched))).get('smtp2exchange_spool_trouble');
    watched.report(first('spool.trouble'));
    // A small message may still find room on a full disk.
    watched.report(first('message.accepted'));
    expect(await trouble()).toBe(1);
    watched.report(first(name));
    expect(await trouble()).toBe(0);
  });

  it('an alarm counts once from its first notice to its end', async () => {
    const watched = metrics();
    const active = async (): Promise<number | undefined> =>
      series(await text(watched)).get('smtp2exchange_alarms_active{reason="mailParked"}');
    const [, raised] = EVENTS['alarm.raised'];
    if (raised === undefined) throw new Error('no sample');
    expect(await active()).toBe(0);
    watched.report(raised);
    watched.report(raised);
    expect(await active()).toBe(1);
    watched.report(first('alarm.recovered'));
    watched.report(first('alarm.recovered'));
    expect(await active()).toBe(0);
  });

  it('the seconds to a credential’s end run down to 0, and are absent where it is not known', async () => {
    let now = NOW;
    const left = async (from: Metrics): Promise<number | undefined> =>
      series(await text(from)).get('smtp2exchange_credential_remaining_seconds{account="exchange"}');
    expect(await left(metrics())).toBeUndefined();
    const watched = metrics({ now: () => now, credentials: new Map([['exchange', NOW + 86_400_000]]) });
    expect(await left(watched)).toBe(86_400);
    now += 100_000_000;
    expect(await left(watched)).toBe(0);
    watched.report({ event: 'credential.loaded', account: 'exchange', expiresAt: now + 60_000 });
    expect(await left(watched)).toBe(60);
    watched.report({ event: 'credential.loaded', account: 'exchange' });
    expect(await left(watched)).toBeUndefined();
  });

  it('what another configuration has taken away leaves no date, and is not down', async () => {
    const watched = metrics({ credentials: new Map([['exchange', NOW + 60_000]]) });
    watched.report({ event: 'certificate.loaded', listener: 'lan', subject: 'CN=x', expiresAt: NOW, generated: false });
    watched.report(first('token.acquired'));
    watched.report({ ...first('pickup.polled'), pickup: 'fax' });
    const dates = async (): Promise<string[]> =>
      [...series(await text(watched)).keys()].filter((key) =>
        /^smtp2exchange_(?:certificate_|token_(?:expiry|remaining)|credential_|pickup_(?:up|waiting|last))\w*\{/.test(
          key,
        ),
      );
    expect(await dates()).toHaveLength(8);
    const removed = { listeners: ['lan'], routes: ['exchange'], pickups: ['fax'], accounts: ['exchange'] };
    watched.report({ ...first('config.reloaded'), removed });
    expect(await dates()).toEqual([]);
  });

  it('the seconds to a token’s expiry run down to 0', async () => {
    let now = NOW;
    const watched = metrics({ now: () => now });
    const left = async (): Promise<number | undefined> =>
      series(await text(watched)).get('smtp2exchange_token_remaining_seconds{account="exchange"}');
    expect(await left()).toBeUndefined();
    watched.report(first('token.acquired'));
    expect(await left()).toBe(3599);
    now += 599_000;
    expect(await left()).toBe(3000);
    now += 10_000_000;
    expect(await left()).toBe(0);
  });

  it('no strange number in an event becomes a throw', async () => {
    const watched = metrics();
    for (const value of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      watched.report({ ...first('message.accepted'), seconds: value, size: value });
      watched.report({ ...first('delivery.relayed'), seconds: value, age: value, size: value });
      watched.report({ ...first('delivery.relayed'), route: 'fax', receivedAt: value });
      watched.report({ ...first('lane.held'), until: value });
      watched.report({ ...first('log.dropped'), lines: value });
    }
    const odd = [...series(await text(watched))].filter(
      ([key, value]) => key.startsWith('smtp2exchange_') && !(Number.isFinite(value) && value >= 0),
    );
    expect(odd).toEqual([]);
  });
});

const shown = async (from: Metrics): Promise<(number | undefined)[]> => {
  const all = series(await text(from));
  return [
    'queue_items{state="queued"}',
    'queue_items{state="parked"}',
    'queue_oldest_age_seconds',
    'spool_body_bytes',
    'spool_free_bytes',
    'spool_stats_errors_total',
  ].map((name) => all.get(`smtp2exchange_${name}`));
};

describe('the spool’s figures', () => {
  it('are read at each scrape', async () => {
    let stats: SpoolStats = STATS;
    const watched = metrics({ stats: async () => stats });
    expect(await shown(watched)).toEqual([3, 2, 90, 123_456, 9_000_000_000, 0]);
    stats = { items: { ...STATS.items, queued: 0, sending: 0 }, bytes: 0, free: 5 };
    expect(await shown(watched)).toEqual([0, 2, 0, 0, 5, 0]);
  });

  it('are not made up: free space is absent until it is known', async () => {
    expect(await shown(metrics({ stats: async () => undefined }))).toEqual([0, 0, 0, 0, undefined, 0]);
    const { free: _, ...withoutFree } = STATS;
    expect(await shown(metrics({ stats: async () => withoutFree }))).toEqual([3, 2, 90, 123_456, undefined, 0]);
  });

  it('that fail leave the last ones standing, and the age growing', async () => {
    let now = NOW;
    let fails = false;
    const stats = async (): Promise<SpoolStats> => {
      if (fails) throw new Error('the spool is closed');
      return STATS;
    };
    const watched = metrics({ stats, now: () => now });
    await text(watched);
    fails = true;
    now += 10_000;
    expect(await shown(watched)).toEqual([3, 2, 100, 123_456, 9_000_000_000, 1]);
    fails = false;
    expect(await shown(watched)).toEqual([3, 2, 100, 123_456, 9_000_000_000, 1]);
  });

  it('that do not come hold up a scrape for a bounded time, and are not asked for twice at once', async () => {
    let asked = 0;
    let answer: ((stats: SpoolStats) => void) | undefined;
    const stats = (): Promise<SpoolStats> => {
      asked++;
      return new Promise((resolve) => (answer = resolve));
    };
    const watched = metrics({ stats, statsTimeout: 30 });
    const begun = performance.now();
    expect(await shown(watched)).toEqual([0, 0, 0, 0, undefined, 1]);
    expect(performance.now() - begun).toBeLessThan(1_000);
    await Promise.all([text(watched), text(watched)]);
    expect(asked).toBe(1);
    answer?.(STATS);
    await new Promise((wake) => setImmediate(wake));
    const late = shown(watched);
    answer?.(STATS);
    expect(await late).toEqual([3, 2, 90, 123_456, 9_000_000_000, 3]);
    expect(asked).toBe(2);
  });
});

describe('labels', () => {
  it('never hold an address, whatever the events hold', async () => {
    const watched = metrics();
    for (const event of ALL_EVENTS) {
      watched.report(event);
      if ('status' in event) {
        watched.report({ ...event, status: { ...event.status, cause: 'alice@contoso.com is over quota' } } as Event);
      }
    }
    watched.report({ ...first('token.failed'), cause: 'alice@contoso.com' });
    watched.report({ ...first('pickup.failed'), cause: 'alice@contoso.com' });
    const body = withoutSpool(await text(watched));
    expect(body).not.toContain('@');
    expect(body).not.toContain('alice');
    expect(
      series(body).get('smtp2exchange_delivery_attempts_total{cause="other",outcome="failed",route="exchange"}'),
    ).toBe(1);
  });

  it.each([
    'ErrorServerBusy',
    'HTTP 503',
    'ECONNREFUSED',
    'UND_ERR_HEADERS_TIMEOUT',
    'SELF_SIGNED_CERT_IN_CHAIN',
    'AADSTS7000222',
    'invalid_client',
    'TIMEOUT',
    'NoError',
    'SOAP fault',
    'unusable answer',
    'bug',
  ])('keep the cause %s', (cause) => {
    expect(causeLabels()(cause)).toBe(cause);
  });

  it('keep every cause that our own rooms name', () => {
    const named = ['exchange', 'queue', 'smtp'].flatMap((room) => {
      const folder = join(root, 'src', room);
      return readdirSync(folder).flatMap((file) =>
        [...readFileSync(join(folder, file), 'utf8').matchAll(/cause: '([^']+)'/g)].map(([, cause = '']) => cause),
      );
    });
    expect(named.length).toBeGreaterThan(5);
    const label = causeLabels();
    expect(named.filter((cause) => label(cause) !== cause)).toEqual([]);
  });

  it.each([
    'alice@contoso.com',
    'Error',
    'Error alice',
    'HTTP 99',
    'HTTP 5033',
    'AADSTS-7',
    'aadsts7000222',
    'E',
    'alice',
    'ErrorServerBusy\n',
    `E${'X'.repeat(80)}`,
    '',
    '__proto__',
    'constructor',
  ])('make %j other', (cause) => {
    expect(causeLabels()(cause)).toBe('other');
  });

  it('do not grow without end when a server invents codes', async () => {
    const watched = metrics();
    for (let index = 0; index < 1_000; index++) {
      const event = first('delivery.failed');
      watched.report({ ...event, status: { ...event.status, cause: `ErrorInvented${index}` } });
    }
    const causes = [...series(await text(watched))].filter(([key]) => key.includes('cause="ErrorInvented'));
    expect(causes).toHaveLength(100);
    expect(
      series(await text(watched)).get(
        'smtp2exchange_delivery_attempts_total{cause="other",outcome="failed",route="exchange"}',
      ),
    ).toBe(900);
    expect(causeLabels(1)('ErrorServerBusy')).toBe('ErrorServerBusy');
  });
});

describe('the exposition', () => {
  it('has a content type, help and type for every metric, and the process metrics', async () => {
    const { contentType, body } = await metrics().render();
    expect(contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
    for (const { name, type, help } of Object.values(CATALOGUE)) {
      expect(body).toContain(`# HELP ${name} ${help}\n`);
      expect(body).toContain(`# TYPE ${name} ${type}\n`);
    }
    const names = new Set([...series(body).keys()].map((key) => key.split('{')[0]));
    for (const name of [
      'process_resident_memory_bytes',
      'nodejs_eventloop_lag_max_seconds',
      'nodejs_eventloop_lag_p99_seconds',
    ]) {
      expect(names).toContain(name);
    }
  });

  it('has the name of the spool on every series, from when it is open', async () => {
    const watched = metrics();
    watched.report(first('delivery.relayed'));
    expect(await text(watched)).not.toContain('spool="');
    watched.report(first('spool.open'));
    const all = [...series(await text(watched)).keys()];
    expect(all.filter((key) => !key.includes('spool="gateway-1f2e3d4c"'))).toEqual([]);
  });

  it('names its version and when it was started', async () => {
    const all = series(await text(metrics()));
    expect(all.get(`smtp2exchange_build_info{node="${process.versions.node}",version="0.1.0"}`)).toBe(1);
    expect(all.get('smtp2exchange_start_time_seconds')).toBe(NOW / 1000);
  });

  it('of one instance knows nothing of another', async () => {
    const one = metrics();
    const other = metrics();
    one.report(first('bug'));
    expect(series(await text(one)).get('smtp2exchange_bugs_total')).toBe(1);
    expect(series(await text(other)).get('smtp2exchange_bugs_total')).toBe(0);
  });

  it('uses the labels that the catalogue names, and every one of them', async () => {
    const watched = metrics({ credentials: new Map([['exchange', NOW]]) });
    for (const event of ALL_EVENTS) watched.report(event);
    const used = new Map<string, Set<string>>();
    for (const key of series(await text(watched)).keys()) {
      if (!key.startsWith('smtp2exchange_')) continue;
      const [name = '', labels = ''] = key.split('{');
      const base = Object.values(CATALOGUE).some((known) => known.name === name)
        ? name
        : name.replace(/_(?:bucket|sum|count)$/, '');
      const set = used.get(base) ?? new Set();
      for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) if (label !== 'le' && label !== 'spool') set.add(label);
      used.set(base, set);
    }
    expect(Object.fromEntries([...used].map(([name, set]) => [name, [...set].toSorted()]))).toEqual(
      Object.fromEntries(Object.values(CATALOGUE).map(({ name, labels }) => [name, [...labels].toSorted()])),
    );
  });

  it('is what docs/metrics.md lists: name, type, of what, labels, meaning', () => {
    const rows = [
      ...readFileSync(join(root, 'docs/metrics.md'), 'utf8').matchAll(
        /^\| `(smtp2exchange_\w+)` \| (.*?) \| (.*?) \| (.*?) ?\| (.*) \|$/gm,
      ),
    ];
    expect(rows.map(([, name, type, scope, labels, help]) => ({ name, type, scope, labels, help }))).toEqual(
      Object.values(CATALOGUE).map(({ name, type, scope, labels, help }) => ({
        name,
        type,
        scope,
        labels: labels.map((label) => `\`${label}\``).join(', '),
        help,
      })),
    );
  });

  it('has its labels explained in docs/metrics.md', () => {
    const docs = readFileSync(join(root, 'docs/metrics.md'), 'utf8');
    const explained = docs.slice(docs.indexOf('## Labels'));
    for (const label of new Set<string>(Object.values(CATALOGUE).flatMap(({ labels }) => [...labels]))) {
      expect(explained).toMatch(new RegExp(`^\\|.*\`${label}\``, 'm'));
    }
    for (const refusal of [
      'address',
      'connections',
      'auth',
      'tls',
      'size',
      'recipients',
      'header',
      'loop',
      'sender',
      'recipient',
      'banned',
      'rate',
      'errors',
      'slow',
      'policy',
      'room',
      'spool',
      'syntax',
      'timeout',
      'aborted',
      'stopping',
    ]) {
      expect(explained).toContain(`\`${refusal}\``);
    }
  });
});
