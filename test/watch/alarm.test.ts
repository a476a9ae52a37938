/** The alarms as a whole, on a clock of the test's: events and looks in, notices and events out. */
import { describe, expect, it } from 'vitest';
import type { Event } from '../../src/mail/event.ts';
import type { Room, SpoolStats } from '../../src/mail/spool.ts';
import type { Alarms } from '../../src/watch/alarm.ts';
import { createAlarms } from '../../src/watch/alarm.ts';
import type { Channel } from '../../src/watch/alarm-channel.ts';
import type { Notice } from '../../src/watch/alarm-notice.ts';
import { EVENTS, NOW } from './events.ts';

const MINUTE = 60_000;
const [outage, misconfigured] = EVENTS['route.held'];
const [released] = EVENTS['route.released'];
const [parked] = EVENTS['item.parked'];
const [denied] = EVENTS['delivery.delayed'];
const [stopping] = EVENTS['gateway.stopping'];
if (!outage || !misconfigured || !released || !parked || !denied || !stopping) throw new Error('no sample');

const QUIET: SpoolStats = { items: { queued: 0, sending: 0, parked: 0, relayed: 0, bounced: 0, dropped: 0 }, bytes: 0 };

class Bench {
  now = 0;
  stats: () => Promise<SpoolStats | undefined> = async () => QUIET;
  room: Room = { ok: true };
  readonly notices: Notice[] = [];
  readonly events: Event[] = [];
  readonly alarms: Alarms;

  constructor(channels?: readonly Channel[]) {
    const told: Channel = {
      name: 'chat',
      send: async (notice) => {
        this.notices.push(notice);
        return { ok: true };
      },
    };
    this.alarms = createAlarms({
      gateway: 'gateway.contoso.com',
      channels: channels ?? [told],
      repeat: 240 * MINUTE,
      oldestAfter: 60 * MINUTE,
      expiresWithin: 0,
      statsTimeout: 20,
      stats: () => this.stats(),
      room: () => this.room,
      // As in the gateway: what is told comes back as an event like any other.
      report: (event) => {
        this.events.push(event);
        this.alarms.report(event);
      },
      now: () => NOW + this.now,
      steady: () => this.now,
    });
  }

  report(event: Event): void {
    this.alarms.report(event);
  }

  async look(after: number): Promise<void> {
    this.now += after;
    await this.alarms.look();
    await new Promise((wake) => setImmediate(wake));
  }

  get told(): string[] {
    return this.notices.map(({ notice, alarm }) => `${notice} ${alarm}`);
  }
}

describe('an alarm', () => {
  it('is raised, repeated and over, for every channel, log and metrics alike', async () => {
    const bench = new Bench();
    bench.report(misconfigured);
    await bench.look(0);
    expect(bench.told).toEqual(['raised misconfigured:exchange']);
    await bench.look(239 * MINUTE);
    await bench.look(MINUTE);
    bench.report(released);
    await bench.look(59_000);
    expect(bench.told).toEqual(['raised misconfigured:exchange', 'repeated misconfigured:exchange']);
    await bench.look(1_000);
    expect(bench.notices.at(-1)).toEqual({
      notice: 'recovered',
      alarm: 'misconfigured:exchange',
      reason: 'misconfigured',
      severity: 'critical',
      gateway: 'gateway.contoso.com',
      title: 'Exchange refuses the gateway (AADSTS7000222): a person has to mend it',
      lines: ['It is over. It lasted 4 h, since 2026-11-24T03:00:00Z.'],
      since: NOW,
      at: NOW + 241 * MINUTE,
    });
    expect(bench.events).toEqual([
      {
        event: 'alarm.raised',
        alarm: 'misconfigured:exchange',
        reason: 'misconfigured',
        severity: 'critical',
        title: 'Exchange refuses the gateway (AADSTS7000222): a person has to mend it',
        text: bench.notices[0]?.lines.join('\n'),
        since: NOW,
        repeated: false,
      },
      expect.objectContaining({ event: 'alarm.raised', repeated: true }),
      expect.objectContaining({ event: 'alarm.recovered', alarm: 'misconfigured:exchange', seconds: 241 * 60 }),
    ]);
    expect(bench.notices[0]?.lines).toContain('Make a new one');
  });

  it('of parked mail counts, and is over when none is left', async () => {
    const bench = new Bench();
    bench.report(parked);
    bench.report(parked);
    bench.stats = async () => ({ ...QUIET, items: { ...QUIET.items, parked: 2 } });
    await bench.look(MINUTE);
    expect(bench.notices.map(({ title }) => title)).toEqual(['1 message set aside, waiting for an operator']);
    await bench.look(240 * MINUTE);
    expect(bench.notices.at(-1)).toMatchObject({
      notice: 'repeated',
      title: '2 messages set aside, waiting for an operator',
    });
    bench.stats = async () => QUIET;
    await bench.look(MINUTE);
    await bench.look(MINUTE);
    expect(bench.told.at(-1)).toBe('recovered mailParked');
  });

  it('comes of a look, too: an old message, no room', async () => {
    const bench = new Bench();
    bench.stats = async () => ({ ...QUIET, oldest: NOW });
    bench.room = { ok: false, reason: 'only 400 MB are free on the disk' };
    await bench.look(0);
    await bench.look(61 * MINUTE);
    expect(bench.told).toEqual(['raised spoolFull', 'raised mailOld']);
  });

  it('stands while the figures cannot be had', async () => {
    const bench = new Bench();
    bench.report(parked);
    bench.stats = async () => Promise.reject(new Error('the spool is lost'));
    await bench.look(10 * MINUTE);
    await bench.look(10 * MINUTE);
    expect(bench.told).toEqual(['raised mailParked']);
  });

  it('comes although the store does not answer when it is asked for its figures', async () => {
    const bench = new Bench();
    let asked = 0;
    bench.stats = () => {
      asked++;
      return new Promise(() => undefined);
    };
    bench.report(outage);
    await bench.look(6 * MINUTE);
    await bench.look(MINUTE);
    expect(bench.told).toEqual(['raised routeHeld:exchange']);
    expect(asked).toBe(1);
  });

  it('shows what came from outside harmless and bounded, and no secret', async () => {
    const bench = new Bench();
    const status = {
      ...denied.status,
      code: '4.3.5',
      reach: 'mailbox',
      cause: 'Error\u001b[31m\r\nX: y',
      reason: `client_secret=topsecret\n${'long '.repeat(5_000)}`,
    } as const;
    bench.report({ ...denied, mailbox: 'a@b.c\u0007\n', status });
    await bench.look(0);
    const [notice] = bench.notices;
    const all = JSON.stringify(notice);
    expect(all).not.toContain('topsecret');
    expect(all).not.toMatch(/\\u00[01]/);
    expect(notice?.title).not.toMatch(/[\r\n]/);
    expect(notice?.lines.join('').length).toBeLessThanOrEqual(4_000);
  });

  it('is nothing any more once the gateway stops', async () => {
    const bench = new Bench();
    bench.report(misconfigured);
    bench.report(stopping);
    bench.report(released);
    bench.report(parked);
    await bench.look(60 * MINUTE);
    expect(bench.told).toEqual(['raised misconfigured:exchange']);
    await bench.alarms.stop();
  });

  it('reaches the other channels when one fails, and never the one who reported', async () => {
    const told: string[] = [];
    const bench = new Bench([
      {
        name: 'broken',
        send: () => {
          throw new Error('broken');
        },
      },
      {
        name: 'good',
        send: async ({ alarm }) => {
          told.push(alarm);
          return { ok: true };
        },
      },
    ]);
    bench.report(misconfigured);
    await bench.look(0);
    expect(told).toEqual(['misconfigured:exchange']);
    expect(bench.events.filter(({ event }) => event === 'alarm.failed')).toEqual([
      {
        event: 'alarm.failed',
        channel: 'broken',
        alarm: 'misconfigured:exchange',
        attempt: 1,
        failure: 'broken',
        givenUp: false,
      },
    ]);
    await bench.alarms.stop();
  });

  it('that is a mistake of ours is a bug, not a throw', () => {
    const bench = new Bench();
    bench.report({ ...parked, status: undefined } as unknown as Event);
    expect(bench.events).toEqual([expect.objectContaining({ event: 'bug', where: 'alarms' })]);
  });
});

describe('by itself', () => {
  it('looks at once and again', async () => {
    const looked = Promise.withResolvers<void>();
    let looks = 0;
    const alarms = createAlarms({
      gateway: 'g',
      channels: [],
      repeat: 1_000,
      oldestAfter: 1_000,
      expiresWithin: 0,
      stats: async () => {
        if (++looks === 2) looked.resolve();
        return QUIET;
      },
      room: () => undefined,
      report: () => undefined,
    });
    alarms.start();
    await looked.promise;
    await alarms.stop();
    expect(looks).toBe(2);
  });
});

describe('other settings', () => {
  it('leave what stands, tell a new channel what comes from then on, and stop one that is gone', async () => {
    const bench = new Bench();
    bench.report(misconfigured);
    await bench.look(0);
    const told: string[] = [];
    const page: Channel = { name: 'page', send: async ({ alarm }) => (told.push(alarm), { ok: true }) };
    const settings = { channels: [page], repeat: 10 * MINUTE, oldestAfter: MINUTE, expiresWithin: 0 };
    bench.alarms.use(settings);
    await bench.look(MINUTE);
    expect([told, bench.told]).toEqual([[], ['raised misconfigured:exchange']]);
    await bench.look(9 * MINUTE);
    expect(told).toEqual(['misconfigured:exchange']);
    expect(bench.told).toHaveLength(1);
    bench.stats = async () => ({ ...QUIET, oldest: NOW + bench.now - 2 * MINUTE });
    await bench.look(1);
    expect(told.at(-1)).toBe('mailOld');
    await bench.alarms.stop();
  });

  it('are over for what is no longer there', async () => {
    const bench = new Bench();
    const refused = EVENTS['token.failed'].find(({ misconfigured: is }) => is);
    if (refused === undefined) throw new Error('no sample');
    bench.report(refused);
    bench.report({ event: 'certificate.loaded', listener: 'old', subject: 'CN=x', expiresAt: NOW, generated: false });
    await bench.look(MINUTE);
    const standing = bench.told.length;
    expect(standing).toBe(2);
    const removed = { listeners: ['old'], routes: [], pickups: [], accounts: ['exchange'] };
    bench.report({ event: 'config.reloaded', config: 'x', changed: [], needsRestart: [], removed });
    await bench.look(0);
    await bench.look(MINUTE);
    expect(bench.told.slice(standing).toSorted()).toEqual([
      'recovered certificateExpiring:old',
      'recovered credentials:exchange',
    ]);
  });
});
