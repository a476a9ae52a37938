/** What is wrong, and since when: one row a situation. */
import { describe, expect, it } from 'vitest';
import { ALARM_REASONS } from '../../src/mail/alarm.ts';
import type { Event } from '../../src/mail/event.ts';
import type { Room, SpoolStats } from '../../src/mail/spool.ts';
import type { Condition, ConditionOptions, CredentialEnd } from '../../src/watch/alarm-conditions.ts';
import { Conditions } from '../../src/watch/alarm-conditions.ts';
import { ALL_EVENTS, EVENTS, NOW } from './events.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const options: ConditionOptions = { oldestAfter: HOUR, expiresWithin: 14 * DAY };
const FIGURES: SpoolStats = {
  items: { queued: 2, sending: 1, parked: 0, relayed: 9, bounced: 0, dropped: 0 },
  oldest: NOW - MINUTE,
  bytes: 0,
};
const parked = (count: number): SpoolStats => ({ ...FIGURES, items: { ...FIGURES.items, parked: count } });
const FULL: Room = { ok: false, reason: 'only 400 MB are free on the disk' };

interface Step {
  /** Milliseconds after NOW. */
  readonly at?: number;
  readonly event?: Event;
  readonly stats?: SpoolStats;
  readonly room?: Room;
}

const credential = (end: CredentialEnd): Partial<ConditionOptions> => ({ credentials: new Map([['exchange', end]]) });

/** What stands at `at` after the steps. */
function after(steps: readonly Step[], at = 0, more: Partial<ConditionOptions> = {}): readonly Condition[] {
  const conditions = new Conditions({ ...options, ...more });
  const moment = (ms: number): { wall: number; steady: number } => ({ wall: NOW + ms, steady: 1_000 + ms });
  for (const { at: when = 0, event, stats, room } of steps) {
    if (event !== undefined) conditions.report(event, moment(when));
    else conditions.look(stats, room, moment(when));
  }
  return conditions.current(moment(at));
}

const held = (cause: string, misconfigured: boolean, reason = 'why'): Event => ({
  event: 'route.held',
  route: 'exchange',
  cause,
  reason,
  until: NOW,
  misconfigured,
});
const [released] = EVENTS['route.released'];
const [relayed] = EVENTS['delivery.relayed'];
const [throttled] = EVENTS['delivery.delayed'];
const [acquired] = EVENTS['token.acquired'];
const [refused, unreachable] = EVENTS['token.failed'];
const [itemParked] = EVENTS['item.parked'];
const [loaded] = EVENTS['certificate.loaded'];
const [trouble] = EVENTS['spool.trouble'];
const [recovered] = EVENTS['spool.recovered'];
const [pickupFails, pickupDenied] = EVENTS['pickup.failed'];
const [pickupWorks] = EVENTS['pickup.recovered'];
const [pickupWaits] = EVENTS['pickup.waiting'];
const [pickupOpened] = EVENTS['pickup.opened'];
const [quarantined, left] = EVENTS['pickup.quarantined'];
const denied = {
  ...throttled,
  status: {
    outcome: 'delayed',
    code: '4.3.5',
    reach: 'mailbox',
    cause: 'ErrorAccessDenied',
    text: 'Later',
    reason: 'Grant it',
  },
} as Event;
const soundAgain = {
  ...throttled,
  status: { outcome: 'delayed', code: '4.3.0', reach: 'message', cause: 'ErrorX', text: 'Later' },
} as Event;
const stopped = {
  ...throttled,
  status: { outcome: 'delayed', code: '4.3.2', reach: 'mailbox', cause: 'ErrorServerBusy', text: 'Later' },
} as Event;
const certificate = (days: number): Event => ({ ...loaded, expiresAt: NOW + days * DAY }) as Event;
const mailbox = 'mailboxMisconfigured:exchange/notifications@contoso.com';

const event = (what: Event | undefined, at?: number): Step => {
  if (what === undefined) throw new Error('no sample');
  return { event: what, ...(at === undefined ? {} : { at }) };
};

const changed: Event = {
  event: 'transport.changed',
  route: 'exchange',
  from: 'ews',
  to: 'graph',
  cause: 'HTTP 403',
};

describe('what stands', () => {
  it.each<[string, readonly Step[], number, readonly string[], Partial<ConditionOptions>?]>([
    ['nothing at first', [], 0, []],
    ['an outage of 4 minutes is none yet', [event(held('HTTP 503', false))], 4 * MINUTE, []],
    ['an outage of 5 minutes', [event(held('HTTP 503', false))], 5 * MINUTE, ['routeHeld:exchange']],
    [
      'an outage whose probes fail again is the same one',
      [event(held('HTTP 503', false)), event(held('ECONNREFUSED', false), 4 * MINUTE)],
      5 * MINUTE,
      ['routeHeld:exchange'],
    ],
    ['an outage that is over', [event(held('HTTP 503', false)), event(released, MINUTE)], HOUR, []],
    [
      'an outage that comes anew begins anew',
      [event(held('HTTP 503', false)), event(released, MINUTE), event(held('HTTP 503', false), 5 * MINUTE)],
      9 * MINUTE,
      [],
    ],
    ['a misconfiguration at once', [event(held('HTTP 401', true))], 0, ['misconfigured:exchange']],
    ['EWS closed, by HTTP', [event(held('HTTP 403', true))], 0, ['ewsClosed:exchange']],
    ['EWS closed, by its code', [event(held('ErrorOrganizationAccessBlocked', true))], 0, ['ewsClosed:exchange']],
    [
      'EWS closed, and a probe meets an outage',
      [event(held('HTTP 403', true)), event(held('ECONNRESET', false), MINUTE)],
      HOUR,
      ['ewsClosed:exchange'],
    ],
    [
      'EWS open, the token refused then',
      [event(held('HTTP 403', true)), event(held('HTTP 401', true), MINUTE)],
      HOUR,
      ['misconfigured:exchange'],
    ],
    ['a mailbox refused', [event(denied)], 0, [mailbox]],
    ['a mailbox refused, and it sends again', [event(denied), event(relayed)], 0, []],
    ['a mailbox refused, and it fails for a message only', [event(denied), event(soundAgain)], 0, []],
    ['a mailbox refused, and throttled then', [event(denied), event(stopped)], 0, [mailbox]],
    ['a mailbox refused, and tried still', [event(denied), event(denied, HOUR - 1)], HOUR, [mailbox]],
    ['a mailbox refused an hour ago, and never tried again', [event(denied)], HOUR, []],
    ['a throttled mailbox', [event(stopped)], 0, []],
    ['credentials refused', [event(refused)], 0, ['credentials:exchange']],
    ['no way to the identity server', [event(unreachable)], HOUR, []],
    ['credentials refused, and then no way', [event(refused), event(unreachable)], 0, ['credentials:exchange']],
    ['credentials refused, and taken again', [event(refused), event(acquired)], 0, []],
    [
      'a route held for want of a token is one alarm, not two',
      [event(refused), event(held('AADSTS7000222', true))],
      HOUR,
      ['credentials:exchange'],
    ],
    [
      'the same, with a token again and the route not yet tried',
      [event(refused), event(held('AADSTS7000222', true)), event(acquired)],
      HOUR,
      [],
    ],
    [
      'the same, and an outage comes after it',
      [event(refused), event(held('AADSTS7000222', true)), event(acquired), event(held('HTTP 503', false), MINUTE)],
      HOUR,
      ['routeHeld:exchange'],
    ],
    ['a client secret with 15 days', [], 0, [], credential({ kind: 'secret', expiresAt: NOW + 15 * DAY })],
    [
      'a client secret with 14 days, later',
      [],
      DAY + 1,
      ['secretExpiring:exchange'],
      credential({ kind: 'secret', expiresAt: NOW + 15 * DAY }),
    ],
    [
      "the app's own certificate, expired",
      [],
      0,
      ['appCertificateExpiring:exchange'],
      credential({ kind: 'certificate', expiresAt: NOW - DAY }),
    ],
    [
      "the app's own certificate, renewed in the middle of the work",
      [event({ event: 'credential.loaded', account: 'exchange', expiresAt: NOW + 90 * DAY })],
      0,
      [],
      credential({ kind: 'certificate', expiresAt: NOW - DAY }),
    ],
    [
      'the same, and the new one ends soon too',
      [event({ event: 'credential.loaded', account: 'exchange', expiresAt: NOW + 15 * DAY })],
      2 * DAY,
      ['appCertificateExpiring:exchange'],
      credential({ kind: 'certificate', expiresAt: NOW - DAY }),
    ],
    [
      'a client secret that was replaced: when the new one ends is not known',
      [event({ event: 'credential.loaded', account: 'exchange' })],
      0,
      [],
      credential({ kind: 'secret', expiresAt: NOW + DAY }),
    ],
    [
      'the credentials of several accounts, one of them renewed',
      [event({ event: 'credential.loaded', account: 'third', expiresAt: NOW + 90 * DAY })],
      0,
      ['secretExpiring:exchange', 'appCertificateExpiring:second'],
      {
        credentials: new Map<string, CredentialEnd>([
          ['exchange', { kind: 'secret', expiresAt: NOW + DAY }],
          ['second', { kind: 'certificate', expiresAt: NOW + DAY }],
          ['third', { kind: 'certificate', expiresAt: NOW + DAY }],
          ['fourth', { kind: 'secret', expiresAt: NOW + 90 * DAY }],
        ]),
      },
    ],
    [
      'three hundred mailboxes that are refused: some each, the others together',
      Array.from({ length: 300 }, (_, n) => event({ ...denied, mailbox: `m${n}@contoso.com` } as Event)),
      0,
      [
        ...Array.from({ length: 20 }, (_, n) => `mailboxMisconfigured:exchange/m${n}@contoso.com`),
        'mailboxMisconfigured:more',
      ],
    ],
    ['a route that is not configured', [event(held('NoSuchRoute', true))], 0, ['misconfigured:exchange']],
    ['a certificate with 15 days', [event(certificate(15))], 0, []],
    ['a certificate with 13 days', [event(certificate(13))], 0, ['certificateExpiring:lan']],
    ['a certificate that was renewed', [event(certificate(13)), event(certificate(90))], 0, []],
    ['another way out, for good', [event(held('HTTP 403', false)), event(changed)], 0, ['changedOver:exchange']],
    ['EWS again', [event(changed), event({ ...changed, from: 'graph', to: 'ews' })], 0, []],
    ['a waiting message, not old', [{ stats: FIGURES }], 58 * MINUTE, []],
    ['a waiting message, old by now', [{ stats: FIGURES }], 60 * MINUTE, ['mailOld']],
    ['nothing waits any more', [{ stats: FIGURES }, { stats: { items: FIGURES.items, bytes: 0 } }], DAY, []],
    ['parked mail, by the figures', [{ stats: parked(2) }], 0, ['mailParked']],
    ['parked mail, by the event', [event(itemParked)], 0, ['mailParked']],
    ['parked mail, all seen to', [event(itemParked), { stats: parked(1) }, { stats: parked(0) }], 0, []],
    ['figures that cannot be had leave what was known', [{ stats: parked(2) }, {}], 0, ['mailParked']],
    ['the spool in trouble', [event(trouble)], 0, ['spoolTrouble']],
    [
      'the spool in trouble has no room either, which is no second alarm',
      [event(trouble), { room: FULL }],
      0,
      ['spoolTrouble'],
    ],
    ['the spool well again', [event(trouble), event(recovered)], 0, []],
    ['no room', [{ room: FULL }], 0, ['spoolFull']],
    ['room again', [{ room: FULL }, { room: { ok: true } }], 0, []],
    ['a pickup that has failed for 4 minutes', [event(pickupFails)], 4 * MINUTE, []],
    ['a pickup that has failed for 5 minutes', [event(pickupFails)], 5 * MINUTE, ['pickupFailed:fax']],
    [
      'a pickup that fails for one cause and then another, opened in between',
      [event(pickupFails), event(pickupOpened, MINUTE), event({ ...pickupFails, cause: 'HTTP 503' } as Event, MINUTE)],
      5 * MINUTE,
      ['pickupFailed:fax'],
    ],
    ['a pickup that is refused, at once', [event(pickupDenied)], 0, ['pickupFailed:fax']],
    ['a pickup that works again', [event(pickupDenied), event(pickupWorks)], HOUR, []],
    ['a pickup that another gateway does instead', [event(pickupDenied), event(pickupWaits)], HOUR, []],
    [
      'a pickup that fails for want of a token is one alarm, not two',
      [event(refused), event({ ...pickupDenied, cause: 'AADSTS7000222' } as Event)],
      HOUR,
      ['credentials:exchange'],
    ],
    [
      'mail put aside, one alarm a pickup',
      [event(quarantined), event(left), event({ ...left, pickup: 'orders' } as Event)],
      0,
      ['mailQuarantined:fax', 'mailQuarantined:orders'],
    ],
    [
      'mail put aside, and more of it a day later',
      [event(quarantined), event(left, DAY)],
      DAY,
      ['mailQuarantined:fax'],
    ],
    ['mail put aside a day ago', [event(quarantined)], DAY, []],
  ])('%s', (_, steps, at, ids, more) => {
    expect(after(steps, at, more).map(({ id }) => id)).toEqual(ids);
  });

  it('covers every reason there is', () => {
    const all = after(
      [
        event(denied),
        event(changed),
        event(held('HTTP 503', false)),
        event(refused),
        event(certificate(1)),
        event(itemParked),
        event(pickupDenied),
        event(quarantined),
        { room: FULL },
        { stats: { ...parked(1), oldest: NOW - DAY } },
      ],
      5 * MINUTE,
      credential({ kind: 'secret', expiresAt: NOW }),
    );
    const others = [
      ...after([event(held('HTTP 401', true))]),
      ...after([event(held('HTTP 403', true))]),
      ...after([event(trouble)]),
      ...after([], 0, credential({ kind: 'certificate', expiresAt: NOW })),
    ];
    expect(new Set([...all, ...others].map(({ reason }) => reason))).toEqual(new Set(ALARM_REASONS));
  });

  it('never fails, whatever comes in whatever order', () => {
    const steps = [...ALL_EVENTS, ...ALL_EVENTS.toReversed()].map((one, index) => event(one, index * MINUTE));
    expect(after(steps, DAY).length).toBeGreaterThan(2);
  });
});

describe('the words', () => {
  const only = (conditions: readonly Condition[]): Condition => {
    const [one] = conditions;
    if (one === undefined || conditions.length !== 1) throw new Error(`${conditions.length} conditions`);
    return one;
  };

  it('of a closed EWS are those of the route', () => {
    const reason = '1. Set-OrganizationConfig -EwsAllowedAppIDs "<existing list>,c1d2"\n2. Get-CASMailbox';
    const { title, text, since, severity } = only(after([event(held('HTTP 403', true, reason), MINUTE)], HOUR));
    expect(title).toBe('Exchange has closed EWS to this gateway (HTTP 403)');
    expect(text[0]).toBe(
      'Nothing is sent on route exchange since 2026-11-24T03:01:00Z. Mail is accepted and kept, none is returned for this.',
    );
    expect(text[1]).toBe('1. Set-OrganizationConfig -EwsAllowedAppIDs "<existing list>,c1d2"\n2. Get-CASMailbox');
    expect([since, severity]).toEqual([NOW + MINUTE, 'critical']);
  });

  it('of a hand-over speak of the legacy system, not of Exchange', () => {
    const pickups = { pickups: ['exchange'] };
    const closed = only(after([event(held('HTTP 403', true, 'The webhook refuses the login'))], 0, pickups));
    expect([closed.id, closed.title]).toEqual([
      'misconfigured:exchange',
      'Pickup exchange cannot hand over (HTTP 403): a person has to mend it',
    ]);
    const out = only(after([event(held('ECONNREFUSED', false))], HOUR, pickups));
    expect([out.id, out.title]).toEqual([
      'routeHeld:exchange',
      'Nothing can be handed over by pickup exchange (ECONNREFUSED)',
    ]);
    for (const { text } of [closed, out]) expect(text.join('\n')).not.toMatch(/Exchange|Microsoft/);
  });

  it('of refused credentials say how long sending goes on', () => {
    expect(only(after([event(refused)])).text.join('\n')).toContain(
      'until the present token ends at 2026-11-24T03:10:00Z',
    );
    const over = after([event(refused), event({ ...refused, validUntil: undefined } as unknown as Event)]);
    expect(only(over).text.join('\n')).toContain('Nothing can be sent.');
    expect(only(over).text.at(-1)).toBe('The client secret has expired.');
  });

  it('of parked mail have the count, and the latest with why nobody was told', () => {
    const why = 'refused for good; its sender was not told: it is a message of the gateway itself';
    const { title, text } = only(after([{ stats: parked(4) }, event({ ...itemParked, why } as Event)]));
    expect(title).toBe('5 messages set aside, waiting for an operator');
    expect(text[1]).toBe(
      `The latest: ${why} (ErrorSendAsDenied). Give notifications@contoso.com Send As on ceo@contoso.com`,
    );
  });

  it('of a pickup that fails name the mailbox, and say whether a person has to mend it', () => {
    const refusedOne = only(after([event(pickupDenied)]));
    expect(refusedOne.title).toBe(
      'Pickup fax cannot take mail from notifications@contoso.com (ErrorAccessDenied): a person has to mend it',
    );
    expect(refusedOne.text[1]).toBe('Give the application access to notifications@contoso.com');
    const outage = only(after([event(pickupFails)], 5 * MINUTE));
    expect(outage.title).toBe('Pickup fax cannot take mail from notifications@contoso.com (ECONNREFUSED)');
    expect([outage.severity, outage.since]).toEqual(['critical', NOW]);
  });

  it('of mail put aside have the count of the day, the latest and where it is', () => {
    const one = only(after([event(quarantined), event(quarantined, DAY), event(quarantined, DAY + HOUR)], DAY + HOUR));
    expect([one.title, one.since]).toEqual(['Pickup fax has put 2 messages aside, for a person to look at', NOW + DAY]);
    expect(one.text[0]).toContain(
      '<scan.7@scanner.contoso.com>, from alice@fabrikam.com (ErrorMimeContentConversionFailed)',
    );
    expect(one.text[1]).toContain('in the quarantine folder');
    const there = only(after([event(left)]));
    expect(there.text[0]).toContain('without a sender (unreadable header). its header cannot be read');
    expect(there.text[1]).toContain('stays in the folder');
  });

  it('of a further account name it and where its settings stand', () => {
    const end = (kind: CredentialEnd['kind']): Partial<ConditionOptions> => ({
      credentials: new Map([['subsidiary', { kind, expiresAt: NOW + DAY }]]),
    });
    const secret = only(after([], 0, end('secret')));
    expect(secret.title).toBe('The client secret of route subsidiary expires on 2026-11-25');
    expect(secret.text.join(' ')).toContain('expires of the entry subsidiary in routes');
    const certified = only(after([], 0, end('certificate')));
    expect(certified.title).toContain('certificate of the app registration of route subsidiary');
    expect(certified.text.join(' ')).toContain('certificate of the entry subsidiary in routes');
  });

  it('of a route that is not configured say what to do', () => {
    const one = only(after([event(held('NoSuchRoute', true, 'put it back'))]));
    expect(one.title).toBe('Mail waits for route exchange, which the configuration does not have');
    expect(one.text).toContain('put it back');
  });

  it.each([
    [1, 'warning', 'The client secret expires on 2026-11-25'],
    [-1, 'critical', 'The client secret expired on 2026-11-23'],
  ] as const)('of a client secret with %i days', (days, severity, title) => {
    const one = only(after([], 0, credential({ kind: 'secret', expiresAt: NOW + days * DAY })));
    expect([one.severity, one.title]).toEqual([severity, title]);
    expect(one.text.join(' ')).toContain('exchange.expires');
  });

  it('say of everything what to do, in lines that are not empty', () => {
    const all = [
      ...after([
        event(denied),
        event(held('HTTP 401', true)),
        event(certificate(-1)),
        event(pickupDenied),
        event(quarantined),
        { stats: { ...parked(1), oldest: 0 }, room: FULL },
      ]),
      ...after([event(trouble)]),
      ...after([event(pickupFails), event(left)], 5 * MINUTE),
    ];
    expect(all).toHaveLength(11);
    for (const { title, text } of all) {
      expect(title.length).toBeLessThan(120);
      expect(text.length).toBeGreaterThan(1);
      for (const line of text) expect(line).toMatch(/\S/);
    }
  });
});
