/** What one of several gateways does at a time, under simulated time: gateways that die, are stopped or cut off. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { duty } from '../../src/assembly/duty.ts';
import type { Duty, Work } from '../../src/assembly/duty.ts';
import { takeDuty } from '../../src/assembly/held-duty.ts';
import type { Event } from '../../src/mail/event.ts';
import type { SetTimer } from '../../src/mail/timer.ts';
import { FakeStore } from '../gateway/fake-cluster.ts';
import type { FakeGateway } from '../gateway/fake-cluster.ts';

beforeEach(() => vi.useFakeTimers({ now: 1_700_000_000_000 }));
afterEach(() => vi.useRealTimers());

const LEASE = 30_000;
const pass = async (milliseconds: number): Promise<void> => void (await vi.advanceTimersByTimeAsync(milliseconds));

/** Whose timers go off, and whose clocks go, only while it is not stopped. */
class Process {
  readonly log: string[] = [];
  readonly events: Event[] = [];
  readonly duty: Duty;
  readonly gateway: FakeGateway;
  isOurs: () => boolean = () => false;
  /** Timers that were due while it was stopped. */
  #late: (() => void)[] | undefined;
  /** Ends what stop() waits for. */
  finish: () => void = () => undefined;
  isSlow = false;

  constructor(
    store: FakeStore,
    host: string,
    more: Partial<Work> & { wall?: () => number; steady?: () => number } = {},
  ) {
    this.gateway = store.join(host);
    const { wall = Date.now, steady = () => performance.now(), ...work } = more;
    const setTimer: SetTimer = (then, milliseconds) => {
      const timer = setTimeout(() => (this.#late === undefined ? then() : this.#late.push(then)), milliseconds);
      return () => clearTimeout(timer);
    };
    this.duty = duty(
      {
        cluster: this.gateway,
        name: 'pickup fax',
        pickup: 'fax',
        report: (event) => this.events.push(event),
        clocks: { steady, wall, setTimer },
      },
      {
        start: (isOurs) => {
          this.log.push('start');
          this.isOurs = isOurs;
        },
        stop: async (signal) => {
          this.log.push(signal.aborted ? 'cut' : 'stop');
          if (!this.isSlow) return;
          await new Promise<void>((resolve) => {
            this.finish = resolve;
            signal.addEventListener('abort', () => this.log.push('then cut'));
          });
          this.log.push('stopped');
        },
        ...work,
      },
    );
    this.duty.begin();
  }

  get said(): readonly string[] {
    return this.events.map((event) => event.event);
  }

  pause(): void {
    this.#late = [];
  }

  /** @returns what it does first: timers that are due */
  resume(): () => void {
    const late = this.#late ?? [];
    this.#late = undefined;
    return () => late.forEach((then) => then());
  }
}

describe('one gateway', () => {
  it('alone just does it, and says nothing of duties', async () => {
    const log: string[] = [];
    const events: Event[] = [];
    const alone = duty(
      { cluster: undefined, name: 'alarms', report: (event) => events.push(event) },
      { start: (isOurs) => log.push(`start ${isOurs()}`), stop: async () => void log.push('stop') },
    );
    expect(alone.isOurs).toBe(false);
    alone.begin();
    expect(alone.isOurs).toBe(true);
    expect(alone.isElsewhere).toBe(false);
    await alone.end(new AbortController().signal);
    await alone.end(new AbortController().signal);
    expect(log).toEqual(['start true', 'stop']);
    expect(events).toEqual([]);
  });

  it('keeps it as long as it lives, asking three times in a lease', async () => {
    const store = new FakeStore(LEASE);
    const one = new Process(store, 'gw1');
    await pass(10 * LEASE);
    expect(one.log).toEqual(['start']);
    expect(one.isOurs()).toBe(true);
    const asked = one.gateway.asked.length;
    expect(asked).toBeGreaterThanOrEqual(30);
    expect(asked).toBeLessThanOrEqual(32);
    expect(one.events).toEqual([{ event: 'duty.taken', duty: 'pickup fax', pickup: 'fax' }]);
  });

  it('stops in order at its end, keeps it until that is done, then leaves it', async () => {
    const store = new FakeStore(LEASE);
    const one = new Process(store, 'gw1');
    await pass(1);
    one.isSlow = true;
    const ended = one.duty.end(new AbortController().signal);
    await pass(3 * LEASE);
    expect(store.ownerOf('pickup fax')).toBe('gw1');
    expect(one.isOurs()).toBe(true);
    one.finish();
    await ended;
    expect(one.log).toEqual(['start', 'stop', 'stopped']);
    expect(store.ownerOf('pickup fax')).toBeUndefined();
    expect(one.events.at(-1)).toMatchObject({ event: 'duty.left', duty: 'pickup fax', pickup: 'fax', seconds: 90.001 });
    await pass(10 * LEASE);
    expect(one.log).toHaveLength(3);
  });

  it('whose time to stop is over cuts what is under way', async () => {
    const one = new Process(new FakeStore(LEASE), 'gw1');
    await pass(1);
    one.isSlow = true;
    const budget = new AbortController();
    const ended = one.duty.end(budget.signal);
    await pass(1_000);
    budget.abort();
    one.finish();
    await ended;
    expect(one.log).toEqual(['start', 'stop', 'then cut', 'stopped']);
  });

  it('that cannot reach the store at its end does not wait for it', async () => {
    const store = new FakeStore(LEASE);
    const one = new Process(store, 'gw1');
    await pass(1);
    one.gateway.holdUp();
    const budget = new AbortController();
    let isEnded = false;
    void one.duty.end(budget.signal).then(() => (isEnded = true));
    await pass(5_000);
    expect(isEnded).toBe(false);
    budget.abort();
    await pass(0);
    expect(isEnded).toBe(true);
    expect(one.log).toEqual(['start', 'stop']);
  });

  it('that ends before it ever had it starts nothing', async () => {
    const store = new FakeStore(LEASE);
    const one = new Process(store, 'gw1');
    await one.duty.end(new AbortController().signal);
    await pass(10 * LEASE);
    expect(one.log).toEqual([]);
    expect(store.ownerOf('pickup fax')).toBeUndefined();
  });

  it('begins when the store can be reached at last', async () => {
    const one = new Process(new FakeStore(LEASE), 'gw1');
    one.gateway.cut();
    await pass(10 * LEASE);
    expect(one.log).toEqual([]);
    one.gateway.mend();
    await pass(LEASE / 6);
    expect(one.log).toEqual(['start']);
    expect(one.said).toEqual(['duty.taken']);
  });

  it('whose work throws tells of a bug and goes on', async () => {
    const one = new Process(new FakeStore(LEASE), 'gw1', {
      start: () => {
        throw new TypeError('no start');
      },
      stop: () => Promise.reject(new TypeError('no stop')),
    });
    await pass(LEASE);
    await one.duty.end(new AbortController().signal);
    expect(one.said).toEqual(['duty.taken', 'bug', 'bug', 'duty.left']);
  });
});

describe('of two gateways', () => {
  it('one does it, the other says who', async () => {
    const store = new FakeStore(LEASE);
    const [one, other] = [new Process(store, 'gw1'), new Process(store, 'gw2')];
    await pass(10 * LEASE);
    expect([one.log, other.log]).toEqual([['start'], []]);
    expect(other.events).toEqual([{ event: 'duty.elsewhere', duty: 'pickup fax', pickup: 'fax', other: 'gw1' }]);
    expect([one.duty.isOurs, one.duty.isElsewhere]).toEqual([true, false]);
    expect([other.duty.isOurs, other.duty.isElsewhere]).toEqual([false, true]);
  });

  it('the other goes on soon after the one has ended', async () => {
    const store = new FakeStore(LEASE);
    const [one, other] = [new Process(store, 'gw1'), new Process(store, 'gw2')];
    await pass(LEASE);
    await one.duty.end(new AbortController().signal);
    await pass(LEASE / 6);
    expect(other.log).toEqual(['start']);
    expect(other.said).toEqual(['duty.elsewhere', 'duty.taken']);
  });

  it('the other takes over from one that died, within a lease and a sixth', async () => {
    const store = new FakeStore(LEASE);
    const [one, other] = [new Process(store, 'gw1'), new Process(store, 'gw2')];
    for (let at = 0; at < 7; at++) await pass(LEASE / 7);
    one.pause();
    one.gateway.cut();
    await pass((LEASE * 2) / 3 - 1);
    expect(other.log).toEqual([]);
    await pass(LEASE / 2 + 1);
    expect(other.log).toEqual(['start']);
  });

  it('one that is cut off stops before the other can begin', async () => {
    const store = new FakeStore(LEASE);
    const order: string[] = [];
    const [one, other] = ['gw1', 'gw2'].map(
      (host) =>
        new Process(store, host, {
          start: () => order.push(`${host} starts`),
          stop: async (signal) => void order.push(`${host} ${signal.aborted ? 'is cut' : 'stops'}`),
        }),
    );
    await pass(LEASE);
    one?.gateway.cut();
    await pass(2 * LEASE);
    expect(order).toEqual(['gw1 starts', 'gw1 is cut', 'gw2 starts']);
    expect(one?.said).toEqual(['duty.taken', 'duty.lost']);
    expect(one?.duty.isElsewhere).toBe(false);
    one?.gateway.mend();
    await pass(LEASE);
    expect(one?.said.at(-1)).toBe('duty.elsewhere');
    expect(other?.duty.isOurs).toBe(true);
  });

  it('an answer that comes after a lease is none: the duty is left, and may be taken anew', async () => {
    const store = new FakeStore(LEASE);
    const one = new Process(store, 'gw1');
    await pass(LEASE / 3 - 1);
    const release = one.gateway.holdUp();
    await pass(LEASE + 2);
    expect(one.log).toEqual(['start', 'cut']);
    expect(one.isOurs()).toBe(false);
    release();
    await pass(0);
    // It waited for the answer, left the duty, and asked anew.
    expect(one.gateway.asked).toEqual(['hold pickup fax', 'hold pickup fax', 'leave pickup fax', 'hold pickup fax']);
    expect(one.log).toEqual(['start', 'cut', 'start']);
  });

  it('a first answer that comes after a lease starts nothing that lasts', async () => {
    const one = new Process(new FakeStore(LEASE), 'gw1');
    const release = one.gateway.holdUp();
    await pass(LEASE);
    release();
    await pass(0);
    expect(one.log).toEqual(['start', 'cut', 'start']);
    expect(one.isOurs()).toBe(true);
  });
});

describe('a process that was stopped', () => {
  it('finds out by the clock before it does anything, and its work has ended in that moment', async () => {
    const store = new FakeStore(LEASE);
    const [one, other] = [new Process(store, 'gw1'), new Process(store, 'gw2')];
    await pass(LEASE);
    one.pause();
    await pass(2 * LEASE);
    expect(other.log).toEqual(['start']);
    const timers = one.resume();
    // Whatever it does first, before any timer.
    expect(one.isOurs()).toBe(false);
    expect(one.log).toEqual(['start', 'cut']);
    timers();
    await pass(LEASE);
    expect(one.log).toEqual(['start', 'cut']);
    expect(other.isOurs()).toBe(true);
  });

  it('whose steady clock stood still meanwhile finds out by the other', async () => {
    let steady = 0;
    const one = new Process(new FakeStore(LEASE), 'gw1', { steady: () => steady });
    await pass(1);
    one.pause();
    await pass(LEASE);
    one.resume();
    expect(one.isOurs()).toBe(false);
  });

  it('whose wall clock is set back is not deceived', async () => {
    let back = 0;
    const one = new Process(new FakeStore(LEASE), 'gw1', { wall: () => Date.now() - back });
    await pass(1);
    back = 3_600_000;
    one.pause();
    await pass(LEASE);
    one.resume();
    expect(one.isOurs()).toBe(false);
  });
});

describe('a duty for a while', () => {
  it('is kept, and left', async () => {
    const store = new FakeStore(LEASE);
    const [one, other] = [store.join('gw1'), store.join('gw2')];
    const held = await takeDuty(one, 'pop3 fax');
    await pass(5 * LEASE);
    expect(held?.isOurs).toBe(true);
    expect(await takeDuty(other, 'pop3 fax')).toBeUndefined();
    await held?.leave();
    expect(held?.isOurs).toBe(false);
    expect(held?.over.aborted).toBe(false);
    const after = await takeDuty(other, 'pop3 fax');
    expect(after?.isOurs).toBe(true);
    await pass(5 * LEASE);
    expect(store.ownerOf('pop3 fax')).toBe('gw2');
  });

  it('that is left while it is being kept stays left', async () => {
    const store = new FakeStore(LEASE);
    const one = store.join('gw1');
    const held = await takeDuty(one, 'pop3 fax');
    one.before = (what) => new Promise((resolve) => void setTimeout(resolve, what.startsWith('hold') ? 500 : 1));
    await pass(LEASE / 3 + 100);
    const left = held?.leave();
    await pass(1_000);
    await left;
    expect(store.ownerOf('pop3 fax')).toBeUndefined();
  });

  it('is over when another has it after all', async () => {
    const store = new FakeStore(LEASE);
    const held = await takeDuty(store.join('gw1'), 'pop3 fax');
    const thief = store.join('gw2');
    store.duties.set('pop3 fax', { owner: thief.id, until: Date.now() + LEASE });
    await pass(LEASE / 3);
    expect(held?.over.aborted).toBe(true);
    await held?.leave();
    expect(store.ownerOf('pop3 fax')).toBe('gw2');
  });

  it('rides out trouble with the store that is shorter than a lease', async () => {
    const one = new FakeStore(LEASE).join('gw1');
    const held = await takeDuty(one, 'pop3 fax');
    for (let times = 0; times < 10; times++) {
      await pass(1_000);
      one.cut();
      await pass(LEASE / 2);
      one.mend();
      await pass(LEASE / 3);
    }
    expect(held?.isOurs).toBe(true);
  });
});
