/**
 * Alarms: made from events, and from a look at the spool's figures and at dates every few seconds. Raised once, repeated
 * while the trouble lasts, and called over; told to every channel, and to log and metrics as events. docs/alarms.md says
 * what each reason means.
 *
 * Promises: never throws, holds up no mail; a channel's trouble is its own. State is in memory: after a restart what lasts
 * is told again, and what ended meanwhile is not. Of several gateways on one spool each tells of what is its own, and one of
 * what they have in common, which is remembered (alarm-together.ts).
 */
import type { AlarmReason, AlarmSeverity } from '../mail/alarm.ts';
import { OWN_REASONS } from '../mail/alarm.ts';
import type { Event, Report } from '../mail/event.ts';
import type { Room, SpoolStats } from '../mail/spool.ts';
import type { Channel, OutletOptions } from './alarm-channel.ts';
import { seenBy } from './alarm-book.ts';
import { Outlet } from './alarm-channel.ts';
import type { Condition, ConditionOptions, Moment } from './alarm-conditions.ts';
import { Conditions } from './alarm-conditions.ts';
import type { Notice } from './alarm-notice.ts';
import { noticeOf } from './alarm-notice.ts';
import type { Change } from './alarm-register.ts';
import { Register } from './alarm-register.ts';
import type { Together } from './alarm-together.ts';
import { CommonAlarms } from './alarm-together.ts';

export interface AlarmOptions extends ConditionOptions, Omit<OutletOptions, 'report'> {
  /** Which gateway this is, for who has several. */
  readonly gateway: string;
  /**
   * Name of this machine, where several gateways may share the spool: what they have in common is told from join() on.
   * Absent: this one tells of everything.
   */
  readonly machine?: string;
  readonly channels: readonly Channel[];
  /** Milliseconds from one notice to the next while the trouble lasts. */
  readonly repeat: number;
  /** Undefined: the spool is not open yet. A rejection: not known now; the spool reports its trouble itself. */
  readonly stats: () => Promise<SpoolStats | undefined>;
  readonly room: () => Room | undefined;
  readonly report: Report;
  /** Milliseconds that a look waits for the figures, default 2,000. */
  readonly statsTimeout?: number;
  /** Epoch milliseconds. */
  readonly now?: () => number;
  /** Milliseconds of a clock that is never set. */
  readonly steady?: () => number;
}

export type AlarmSettings = Pick<AlarmOptions, 'channels' | 'repeat' | 'oldestAfter' | 'expiresWithin' | 'pickups'>;

/** One that stands, as it was told last. */
export interface StandingAlarm {
  readonly reason: AlarmReason;
  readonly severity: AlarmSeverity;
  readonly title: string;
  readonly text: string;
  /** Epoch milliseconds. */
  readonly since: number;
}

export interface Alarms {
  readonly report: Report;
  /** The other gateways are there. */
  join(together: Together): void;
  /** Before they are gone: what was told is noted, if that takes no longer than a second. */
  leave(): Promise<void>;
  /** What another gateway tells of, by the alarm's identity. */
  readonly elsewhere: ReadonlyMap<string, StandingAlarm>;
  /** Other settings from now on. What stands stays, and is not told anew. Channels that are no longer there are stopped. */
  use(settings: AlarmSettings): void;
  /** Looks now, and from now on every few seconds. */
  start(): void;
  /** One look. */
  look(): Promise<void>;
  /** Nothing is raised any more; what is on its way to somebody has a second. */
  stop(): Promise<void>;
}

/** Milliseconds between two looks: at most, at least. */
const LOOK = 15_000;
const SOONEST = 250;
const GRACE = 1_000;
const STATS_TIMEOUT = 2_000;

export function createAlarms(options: AlarmOptions): Alarms {
  return new GatewayAlarms(options);
}

class GatewayAlarms implements Alarms {
  #options: AlarmOptions;
  readonly #conditions: Conditions;
  readonly #register: Register;
  /** By the channel itself: one that stays keeps what waits for it. */
  #outlets: ReadonlyMap<Channel, Outlet>;
  /** Of channels that are gone. */
  readonly #leaving = new Set<Promise<void>>();
  #common: CommonAlarms | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #asking: Promise<SpoolStats | undefined> | undefined;
  #isStopping = false;

  constructor(options: AlarmOptions) {
    this.#options = options;
    this.#conditions = new Conditions(options);
    this.#register = new Register(options.repeat);
    this.#outlets = new Map(options.channels.map((channel) => [channel, new Outlet(channel, options)]));
  }

  readonly report = (event: Event): void => {
    if (event.event === 'gateway.stopping') this.#isStopping = true;
    this.#guarded(() => {
      const at = this.#moment();
      if (this.#conditions.report(event, at)) this.#update(at);
    });
  };

  join(together: Together): void {
    const { repeat, report } = this.#options;
    this.#common = new CommonAlarms({
      together,
      repeat,
      tell: (change) => this.#tell(change, this.#moment().wall),
      takeOver: (condition) => this.#log({ notice: 'repeated', condition }, this.#moment().wall),
      leave: (condition) => {
        const { alarm, reason, title } = this.#noticeOf(condition);
        report({ event: 'alarm.left', alarm, reason, title });
      },
      settled: async () => void (await Promise.all([...this.#outlets.values()].map((outlet) => outlet.idle()))),
      bug: (error) => this.#bug(error),
    });
  }

  async leave(): Promise<void> {
    this.#isStopping = true;
    const { promise: enough, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, GRACE);
    await this.#common?.end(enough);
    clearTimeout(timer);
  }

  get elsewhere(): ReadonlyMap<string, StandingAlarm> {
    return new Map(
      (this.#common?.elsewhere ?? []).map((condition) => {
        const { alarm, reason, severity, title, lines, since } = this.#noticeOf(condition);
        return [alarm, { reason, severity, title, text: lines.join('\n'), since }];
      }),
    );
  }

  use(settings: AlarmSettings): void {
    if (this.#isStopping) return;
    this.#options = { ...this.#options, ...settings };
    this.#conditions.use(settings);
    this.#register.use(settings.repeat);
    this.#common?.use(settings.repeat);
    const before = this.#outlets;
    this.#outlets = new Map(
      settings.channels.map((channel) => [channel, before.get(channel) ?? new Outlet(channel, this.#options)]),
    );
    for (const [channel, outlet] of before) {
      if (this.#outlets.has(channel)) continue;
      const leaving = outlet.stop(GRACE).finally(() => this.#leaving.delete(leaving));
      this.#leaving.add(leaving);
    }
    if (this.#timer !== undefined) this.start();
  }

  start(): void {
    clearInterval(this.#timer);
    const { repeat, oldestAfter } = this.#options;
    const every = Math.min(LOOK, Math.max(SOONEST, Math.min(repeat, oldestAfter) / 4));
    this.#timer = setInterval(() => void this.look(), every);
    this.#timer.unref();
    void this.look();
  }

  look(): Promise<void> {
    return (this.#looking ??= this.#look().finally(() => (this.#looking = undefined)));
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    clearInterval(this.#timer);
    await Promise.all([...[...this.#outlets.values()].map((outlet) => outlet.stop(GRACE)), ...this.#leaving]);
  }

  async #look(): Promise<void> {
    const { room } = this.#options;
    const figures = await this.#figures();
    this.#guarded(() => {
      const at = this.#moment();
      this.#conditions.look(figures, room(), at);
      this.#update(at);
    });
    if (!this.#isStopping) await this.#common?.look();
  }

  /** Undefined: not known now. A store that does not answer keeps no other alarm from being told. */
  async #figures(): Promise<SpoolStats | undefined> {
    const { stats, statsTimeout = STATS_TIMEOUT } = this.#options;
    this.#asking ??= stats()
      .catch(() => undefined)
      .finally(() => (this.#asking = undefined));
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(resolve, statsTimeout, undefined);
    const figures = await Promise.race([this.#asking, late]);
    clearTimeout(timer);
    return figures;
  }

  /** A mistake here must not become one of whoever reports. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (cause) {
      this.#bug(cause);
    }
  }

  #bug(cause: unknown): void {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#options.report({ event: 'bug', where: 'alarms', error });
  }

  #update(at: Moment): void {
    if (this.#isStopping) return;
    const { machine } = this.#options;
    const all = this.#conditions.current(at);
    const isOwn = ({ reason }: Condition): boolean => machine === undefined || OWN_REASONS.has(reason);
    const own = all.filter(isOwn).map((one) => (machine === undefined ? one : seenBy(one, [machine])));
    for (const change of this.#register.update(own, at)) this.#tell(change, at.wall);
    this.#common?.sees(all.filter((one) => !isOwn(one)));
  }

  #tell(change: Change, now: number): void {
    const told = this.#log(change, now);
    for (const outlet of this.#outlets.values()) outlet.tell(told);
  }

  #noticeOf(condition: Condition): Notice {
    return noticeOf({ notice: 'repeated', condition }, this.#options.gateway, this.#moment().wall);
  }

  /** For the log and the metrics only. */
  #log(change: Change, now: number): Notice {
    const told = noticeOf(change, this.#options.gateway, now);
    const { notice, alarm, reason, severity, title, lines, since } = told;
    this.#options.report(
      notice === 'recovered'
        ? { event: 'alarm.recovered', alarm, reason, title, seconds: Math.max(0, now - since) / 1000 }
        : {
            event: 'alarm.raised',
            alarm,
            reason,
            severity,
            title,
            text: lines.join('\n'),
            since,
            repeated: notice === 'repeated',
          },
    );
    return told;
  }

  #moment(): Moment {
    const { now = Date.now, steady = () => performance.now() } = this.#options;
    return { wall: now(), steady: steady() };
  }
}
