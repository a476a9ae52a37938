/** The queue before a way of telling: order, tries, limits, the end. Waits are recorded, not waited. */
import { describe, expect, it } from 'vitest';
import type { Event } from '../../src/mail/event.ts';
import type { OutletOptions, Sent } from '../../src/watch/alarm-channel.ts';
import { Outlet } from '../../src/watch/alarm-channel.ts';
import type { Notice } from '../../src/watch/alarm-notice.ts';
import { notice } from './alarm-notices.ts';

interface Bench {
  readonly outlet: Outlet;
  /** The alarms of the notices tried, in order. */
  readonly tried: string[];
  readonly waits: number[];
  readonly failures: string[];
}

function bench(send: (notice: Notice, signal: AbortSignal) => Promise<Sent>, more: Partial<OutletOptions> = {}): Bench {
  const tried: string[] = [];
  const waits: number[] = [];
  const failures: string[] = [];
  const report = (event: Event): void => {
    if (event.event !== 'alarm.failed') throw new Error(event.event);
    failures.push(`${event.alarm} ${event.attempt} ${event.failure}${event.givenUp ? ', given up' : ''}`);
  };
  const outlet = new Outlet(
    {
      name: 'chat',
      async send(what, signal) {
        tried.push(what.alarm);
        return send(what, signal);
      },
    },
    { report, wait: async (ms) => void waits.push(ms), ...more },
  );
  return { outlet, tried, waits, failures };
}

const idle = async (outlet: Outlet): Promise<void> => outlet.stop(10_000);
const numbered = (n: number): Notice => notice({ alarm: String(n) });
const answers = (...all: readonly Sent[]): (() => Promise<Sent>) => {
  const left = [...all];
  return async () => left.shift() ?? { ok: true };
};
const no: Sent = { ok: false, failure: 'HTTP 503' };
const never = (): Promise<Sent> => new Promise(() => undefined);

/** The outlet's own waits end at once except that of `stop`, which leaves time for the rest. */
const patient = { wait: async (ms: number, signal: AbortSignal) => (ms === 10_000 ? untilAborted(signal) : undefined) };
async function untilAborted(signal: AbortSignal): Promise<void> {
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

describe('notices', () => {
  it('go out in order, one at a time', async () => {
    let at = 0;
    const { outlet, tried, failures } = bench(async () => {
      expect(++at).toBe(1);
      await new Promise((wake) => setImmediate(wake));
      at--;
      return { ok: true };
    }, patient);
    for (const n of [1, 2, 3]) outlet.tell(numbered(n));
    await idle(outlet);
    expect(tried).toEqual(['1', '2', '3']);
    expect(failures).toEqual([]);
  });

  it('are tried five times, at growing intervals, and then given up; the next one has its own tries', async () => {
    const waits: number[] = [];
    const { outlet, tried, failures } = bench(answers(no, no, no, no, no), {
      wait: async (ms, signal) => (ms === 10_000 ? untilAborted(signal) : void waits.push(ms)),
    });
    outlet.tell(numbered(1));
    outlet.tell(numbered(2));
    await idle(outlet);
    expect(tried).toEqual(['1', '1', '1', '1', '1', '2']);
    expect(waits).toEqual([5_000, 30_000, 120_000, 600_000]);
    expect(failures).toEqual([
      '1 1 HTTP 503',
      '1 2 HTTP 503',
      '1 3 HTTP 503',
      '1 4 HTTP 503',
      '1 5 HTTP 503, given up',
    ]);
  });

  it.each([
    ['a time the server asked for', 45_000, 45_000],
    ['a shorter one does not count', 1_000, 5_000],
    ['an hour at most', 86_400_000, 3_600_000],
  ])('wait: %s', async (_, retryAfter, expected) => {
    const waits: number[] = [];
    const { outlet } = bench(answers({ ...no, retryAfter }), {
      wait: async (ms, signal) => (ms === 10_000 ? untilAborted(signal) : void waits.push(ms)),
    });
    outlet.tell(numbered(1));
    await idle(outlet);
    expect(waits).toEqual([expected]);
  });

  it('that were refused for good are not tried again', async () => {
    const { outlet, tried, failures } = bench(answers({ ...no, final: true }), patient);
    outlet.tell(numbered(1));
    await idle(outlet);
    expect(tried).toEqual(['1']);
    expect(failures).toEqual(['1 1 HTTP 503, given up']);
  });

  it('whose way throws are failures like others', async () => {
    const { outlet, failures } = bench(async () => Promise.reject(new Error('550 no such user')), patient);
    outlet.tell(numbered(1));
    await idle(outlet);
    expect(failures.at(-1)).toBe('1 5 550 no such user, given up');
  });

  it('whose way never ends and hears no signal are given up in time, and the next one goes', async () => {
    let first = true;
    const { outlet, failures, tried } = bench(
      async () => {
        if (!first) return { ok: true };
        first = false;
        return never();
      },
      { ...patient, timeout: 30 },
    );
    outlet.tell(numbered(1));
    outlet.tell(numbered(2));
    await idle(outlet);
    expect(failures).toEqual(['1 1 no end after 0.03 s']);
    expect(tried).toEqual(['1', '1', '2']);
  });

  it('that only remind make room for the next one of their alarm', async () => {
    const told: string[] = [];
    const { outlet } = bench(async ({ notice: kind, alarm, at }) => {
      told.push(`${kind} ${alarm} ${at}`);
      return { ok: true };
    }, patient);
    outlet.tell(notice({ alarm: 'a', at: 1 }));
    for (const at of [2, 3]) outlet.tell(notice({ alarm: 'a', notice: 'repeated', at }));
    outlet.tell(notice({ alarm: 'b', notice: 'repeated', at: 4 }));
    outlet.tell(notice({ alarm: 'a', notice: 'recovered', at: 5 }));
    await idle(outlet);
    expect(told).toEqual(['raised a 1', 'repeated b 4', 'recovered a 5']);
  });

  it('beyond fifty push out the oldest that waits', async () => {
    const { outlet, failures } = bench(never, { wait: async () => undefined });
    for (let n = 0; n <= 52; n++) outlet.tell(numbered(n));
    expect(failures).toEqual(['1 0 50 notices wait already, given up', '2 0 50 notices wait already, given up']);
    await outlet.stop(0);
  });
});

describe('the end', () => {
  it('comes at once where nothing is under way', async () => {
    const { outlet, waits } = bench(never);
    await outlet.stop(10_000);
    expect(waits).toEqual([]);
  });

  it('cuts short what does not end within the grace, and takes nothing more', async () => {
    let aborted = false;
    const { outlet, waits, failures, tried } = bench((_, signal) => {
      signal.addEventListener('abort', () => (aborted = true));
      return never();
    });
    outlet.tell(numbered(1));
    outlet.tell(numbered(2));
    await outlet.stop(1_000);
    outlet.tell(numbered(3));
    expect(waits).toEqual([1_000]);
    expect(aborted).toBe(true);
    expect(tried).toEqual(['1']);
    expect(failures).toEqual(['1 1 the gateway stopped, given up', '2 0 the gateway stopped, given up']);
  });

  it('does not wait for a next try', async () => {
    const { outlet, tried, failures } = bench(async () => no, {
      wait: (ms, signal) => (ms === 0 ? Promise.resolve() : untilAborted(signal)),
    });
    outlet.tell(numbered(1));
    await new Promise((wake) => setImmediate(wake));
    await outlet.stop(0);
    expect(tried).toEqual(['1']);
    expect(failures).toEqual(['1 1 HTTP 503', '1 1 the gateway stopped, given up']);
  });
});
