/** The board of the overview: from events to what is shown, and to what is wrong. */
import { describe, expect, it } from 'vitest';
import type { BoardState } from '../../src/console/board.ts';
import { Meter, firstBoard, flowOf, nextBoard } from '../../src/console/board.ts';
import { problemsOf } from '../../src/console/problems.ts';
import type { Event } from '../../src/mail/event.ts';
import type { SpoolStats } from '../../src/mail/spool.ts';
import { EVENTS } from '../watch/events.ts';

const NOW = 1_800_000_000_000;
const begin = (): BoardState =>
  firstBoard(
    { routes: ['exchange', 'exchange-2'], pickups: ['fax'], credentials: new Map([['exchange', NOW + 1]]) },
    NOW,
  );
const after = (...events: readonly Event[]): BoardState =>
  events.reduce((board, event, index) => nextBoard(board, event, NOW + index), begin());

const held = (more: Partial<Extract<Event, { event: 'route.held' }>> = {}): Event => ({
  event: 'route.held',
  route: 'exchange',
  cause: 'ECONNREFUSED',
  reason: 'mail.contoso.com:443 refused the connection',
  until: NOW + 5_000,
  misconfigured: false,
  ...more,
});
const raised = (more: Partial<Extract<Event, { event: 'alarm.raised' }>> = {}): Event => ({
  event: 'alarm.raised',
  alarm: 'a',
  reason: 'routeHeld',
  severity: 'critical',
  title: 'Nothing can be sent on route exchange (ECONNREFUSED)',
  text: 'text',
  since: NOW,
  repeated: false,
  ...more,
});
const failed: Event = {
  event: 'pickup.failed',
  pickup: 'fax',
  mailbox: 'fax@contoso.com',
  cause: 'ErrorAccessDenied',
  reason: 'grant it',
  misconfigured: true,
  until: NOW + 1,
};
const polled: Event = { event: 'pickup.polled', pickup: 'fax', why: 'interval', found: 0, seconds: 1 };
const STATS: SpoolStats = {
  items: { queued: 0, sending: 0, parked: 0, relayed: 0, bounced: 0, dropped: 0 },
  bytes: 0,
};

describe('the board', () => {
  it.each<readonly [string, readonly Event[], (board: BoardState) => unknown, unknown]>([
    ['a held route', [held()], (b) => b.routes.get('exchange')?.held?.cause, 'ECONNREFUSED'],
    [
      'keeps since when it is held',
      [held(), held({ cause: 'HTTP 503' })],
      (b) => b.routes.get('exchange')?.held?.since,
      NOW,
    ],
    ['is told of once per cause', [held(), held()], (b) => b.lately.length, 1],
    [
      'goes on',
      [held(), { event: 'route.released', route: 'exchange', seconds: 1 }],
      (b) => b.routes.get('exchange'),
      {},
    ],
    [
      'what another configuration has taken away',
      [
        {
          event: 'config.reloaded',
          config: 'config.yaml',
          changed: ['routes[exchange-2]', 'pickup[fax]'],
          needsRestart: [],
          removed: { listeners: [], routes: ['exchange-2'], pickups: ['fax'], accounts: ['exchange-2'] },
        },
      ],
      (b) => [...b.routes.keys(), ...b.pickups.keys(), b.lately[0]?.text],
      ['exchange', 'Configuration read anew: changed: routes[exchange-2], pickup[fax]'],
    ],
    [
      'a configuration that was refused',
      [{ event: 'config.refused', config: 'config.yaml', faults: ['config.yaml:1:2: port: must be a number'] }],
      (b) => b.lately[0]?.text,
      'New configuration not taken: config.yaml:1:2: port: must be a number',
    ],
    [
      'the transport in use',
      [{ event: 'transport.chosen', route: 'exchange', transport: 'ews', auto: true }],
      (b) => b.routes.get('exchange'),
      { transport: 'ews', auto: true },
    ],
    [
      'a changed transport',
      [{ event: 'transport.changed', route: 'exchange', from: 'ews', to: 'graph', cause: 'x' }],
      (b) => b.routes.get('exchange')?.transport,
      'graph',
    ],
    [
      'a token',
      [{ event: 'token.acquired', account: 'exchange', expiresAt: NOW + 9, seconds: 1, roles: [] }],
      (b) => b.accounts.get('exchange'),
      { credentialEnds: NOW + 1, tokenUntil: NOW + 9 },
    ],
    [
      'a token of an account not known before',
      [{ event: 'token.acquired', account: 'new', expiresAt: 1, seconds: 1, roles: [] }],
      (b) => b.accounts.get('new'),
      { tokenUntil: 1 },
    ],
    [
      'token trouble, and its end',
      [
        { event: 'token.failed', account: 'exchange', cause: 'x', advice: 'y', misconfigured: true, seconds: 1 },
        { event: 'token.acquired', account: 'exchange', expiresAt: 1, seconds: 1, roles: [] },
      ],
      (b) => b.accounts.get('exchange')?.failing,
      undefined,
    ],
    [
      'an end of a credential that is not known any more',
      [{ event: 'credential.loaded', account: 'exchange' }],
      (b) => b.accounts.get('exchange'),
      {},
    ],
    ['a pickup that fails', [failed], (b) => b.pickups.get('fax')?.failing?.cause, 'ErrorAccessDenied'],
    [
      'a pickup that works again',
      [failed, polled],
      (b) => [b.pickups.get('fax')?.failing, b.pickups.get('fax')?.lastLook],
      [undefined, NOW + 1],
    ],
    [
      'an alarm, and its end',
      [raised(), { event: 'alarm.recovered', alarm: 'a', reason: 'routeHeld', title: 't', seconds: 1 }],
      (b) => b.alarms.size,
      0,
    ],
    [
      'spool trouble, and its end',
      [
        { event: 'spool.trouble', trouble: 'full', detail: 'd' },
        { event: 'spool.recovered', where: 'x', queued: 0 },
      ],
      (b) => b.spool,
      undefined,
    ],
    ['a stop', [{ event: 'gateway.stopping', why: 'SIGTERM' }], (b) => b.isStopping, true],
  ])('%s', (_name, events, look, expected) => {
    expect(look(after(...events))).toEqual(expected);
  });

  it('takes every event there is, and changes nothing of what was', () => {
    const all = Object.values(EVENTS).flat() as Event[];
    expect(all.length).toBeGreaterThan(50);
    const first = begin();
    const copy = structuredClone({ ...first });
    const last = all.reduce((board, event) => nextBoard(board, event, NOW), first);
    expect({ ...first }).toEqual(copy);
    expect(last.lately.length).toBeGreaterThan(5);
  });

  it('remembers only so much', () => {
    let board = begin();
    for (let number = 0; number < 1_000; number++) {
      board = nextBoard(board, raised({ alarm: `alarm-${number}` }), NOW);
      board = nextBoard(board, held({ route: `route-${number}` }), NOW);
      board = nextBoard(
        board,
        { event: 'lane.held', route: 'r', mailbox: `${number}`, cause: 'x', until: NOW + 1, throttled: false },
        NOW,
      );
    }
    for (const map of [board.alarms, board.routes, board.lanes]) expect(map.size).toBeLessThanOrEqual(200);
    expect(board.lately.length).toBeLessThanOrEqual(40);
  });
});

describe('what is wrong', () => {
  const titles = (
    board: BoardState,
    stats: SpoolStats | undefined = STATS,
    reasons: readonly string[] = [],
  ): string[] => problemsOf(board, stats, reasons).map(({ severity, title }) => `${severity}: ${title}`);

  it.each<readonly [string, readonly Event[], readonly string[]]>([
    ['nothing', [], []],
    ['a held route', [held()], ['critical: Nothing can be sent on route exchange (ECONNREFUSED)']],
    [
      'a held route with its alarm is told once',
      [held(), raised()],
      ['critical: Nothing can be sent on route exchange (ECONNREFUSED)'],
    ],
    [
      'the alarm of another route hides none',
      [held(), raised({ title: 'Nothing can be sent on route exchange-2 (x)' })],
      [
        'critical: Nothing can be sent on route exchange-2 (x)',
        'critical: Nothing can be sent on route exchange (ECONNREFUSED)',
      ],
    ],
    [
      'the worst first',
      [raised({ severity: 'warning', reason: 'mailOld', title: 'old' }), failed],
      ['critical: Pickup fax cannot take mail from its mailbox (ErrorAccessDenied)', 'warning: old'],
    ],
  ])('%s', (_name, events, expected) => {
    expect(titles(after(...events))).toEqual(expected);
  });

  it('is a store that does not answer, mail that is refused, mail that is parked', () => {
    expect(problemsOf(begin(), undefined, [])).toHaveLength(1);
    expect(titles(begin(), STATS, ['spool: full'])).toEqual(['critical: New mail is not accepted at the moment']);
    const parked = { ...STATS, items: { ...STATS.items, parked: 2 } };
    expect(titles(begin(), parked)).toEqual(['warning: 2 messages are set aside, waiting for you']);
    const alarm = raised({ severity: 'warning', reason: 'mailParked', title: '1 message set aside' });
    expect(titles(after(alarm), parked)).toEqual(['warning: 2 messages are set aside, waiting for you']);
    expect(problemsOf(after(alarm), undefined, []).map(({ title }) => title)).toContain('1 message set aside');
  });
});

describe('the meter', () => {
  it('counts by minute, the last hour', () => {
    const meter = new Meter(NOW);
    meter.count('accepted', NOW);
    meter.count('accepted', NOW + 60_000);
    meter.count('accepted', NOW + 60_000);
    expect(meter.read(NOW + 120_000).accepted.slice(-4)).toEqual([0, 1, 2, 0]);
    expect(meter.read(NOW + 3_600_000).accepted).toEqual([2, ...Array.from({ length: 59 }, () => 0)]);
    expect(meter.read(NOW + 100 * 3_600_000).accepted).toEqual(Array.from({ length: 60 }, () => 0));
  });

  it('holds on when the clock is set back', () => {
    const meter = new Meter(NOW);
    meter.count('failed', NOW - 3_600_000);
    expect(meter.read(NOW).failed.at(-1)).toBe(1);
  });

  it('knows what is a flow', () => {
    const flows = (Object.values(EVENTS).flat() as Event[]).map((event) => [event.event, flowOf(event)] as const);
    expect(Object.fromEntries(flows.filter(([, flow]) => flow !== undefined))).toEqual({
      'message.accepted': 'accepted',
      'delivery.relayed': 'delivered',
      'delivery.bounced': 'failed',
      'item.parked': 'failed',
    });
  });
});
