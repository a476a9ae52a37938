/**
 * Several gateways on one spool that pick up from one mailbox in turns: machines that are stopped, cut off or killed in the
 * midst of anything, under simulated time. Every mail becomes durable once, and somebody goes on.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { duty } from '../../src/assembly/duty.ts';
import type { Duty } from '../../src/assembly/duty.ts';
import type { PickupMailbox } from '../../src/exchange/mailbox.ts';
import type { PickupOptions } from '../../src/exchange/pickup.ts';
import type { Cluster } from '../../src/mail/cluster.ts';
import type { Event } from '../../src/mail/event.ts';
import type { SetTimer } from '../../src/mail/timer.ts';
import { FakeMailbox, Site } from '../exchange/pickup-site.ts';
import { FakeStore } from '../gateway/fake-cluster.ts';
import type { FakeGateway } from '../gateway/fake-cluster.ts';
import { MemorySpool } from '../queue/memory-spool.ts';

beforeEach(() => void vi.useFakeTimers({ now: 1_700_000_000_000 }));
afterEach(() => void vi.useRealTimers());

const SECOND = 1_000;
const LEASE = 30 * SECOND;
const pass = async (milliseconds: number): Promise<void> => void (await vi.advanceTimersByTimeAsync(milliseconds));

/** A mailbox whose folders bear marks. */
class MarkedMailbox extends FakeMailbox {
  mark: string | undefined;
  readonly claim = {
    read: async () => ({ ok: true as const, mark: this.mark }),
    write: async (_folder: string, mark: string) => {
      this.mark = mark;
      return { ok: true as const };
    },
  };
}

/** A machine on which nothing goes on while it is stopped: no timer, no answer. */
class Machine {
  readonly host: string;
  readonly cluster: FakeGateway;
  readonly duty: Duty;
  readonly events: Event[] = [];
  /** What it made durable without having had the duty. */
  readonly wrongs: string[] = [];
  #stopped: PromiseWithResolvers<void> | undefined;
  #isOurs: () => boolean = () => false;
  #site: Site | undefined;

  constructor(host: string, store: FakeStore, shared: { readonly box: MarkedMailbox; readonly spool: MemorySpool }) {
    this.host = host;
    this.cluster = store.join(host);
    const setTimer: SetTimer = (then, milliseconds) => {
      const timer = setTimeout(() => void this.#here().then(then), milliseconds);
      return () => clearTimeout(timer);
    };
    const cluster = this.#reached<Cluster>(this.cluster);
    const box = this.#reached<PickupMailbox>(shared.box, { claim: this.#reached(shared.box.claim) });
    const ledger = this.#reached<PickupOptions['ledger']>(shared.spool);
    const report = (event: Event): void => void this.events.push(event);
    this.duty = duty(
      {
        cluster,
        name: 'pickup fax',
        pickup: 'fax',
        report,
        clocks: { steady: () => performance.now(), wall: Date.now, setTimer },
      },
      {
        start: (isOurs) => {
          this.#isOurs = isOurs;
          const site = new Site(
            {
              interval: 5 * SECOND,
              notifications: false,
              duty: { isOurs, now: Date.now },
              machine: host,
              boxes: [box],
              ledger,
              report,
              setTimer,
            },
            shared,
          );
          site.beforeCommit = async (messageId) => {
            if (!this.#isOurs()) this.wrongs.push(messageId);
            // It may be stopped between its last look at the clock and the disk.
            await pause(20);
            await this.#here();
          };
          this.#site = site;
          void site.source.start();
        },
        stop: async (signal) => await this.#site?.source.stop(signal),
      },
    );
    this.duty.begin();
  }

  get isOnDuty(): boolean {
    return this.#stopped === undefined && this.duty.isOurs;
  }

  stops(): void {
    this.#stopped ??= Promise.withResolvers();
  }

  goesOn(): void {
    this.#stopped?.resolve();
    this.#stopped = undefined;
  }

  /** For good. */
  dies(): void {
    this.#stopped = Promise.withResolvers();
    this.cluster.cut();
  }

  async #here(): Promise<void> {
    while (this.#stopped !== undefined) await this.#stopped.promise;
  }

  /** Asked over a network, which takes its time, from a machine that may be stopped meanwhile. */
  #reached<T extends object>(there: T, more: Partial<T> = {}): T {
    return new Proxy(there, {
      get: (target, name) => {
        const own = (more as Record<PropertyKey, unknown>)[name];
        if (own !== undefined) return own;
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        const call = (value as (...given: unknown[]) => unknown).bind(target);
        if (name === 'now' || name === 'listen') return call;
        return async (...given: unknown[]) => {
          await pause(10);
          await this.#here();
          const answer = await call(...given);
          await pause(10);
          await this.#here();
          return answer;
        };
      },
    });
  }
}

async function pause(milliseconds: number): Promise<void> {
  await new Promise((resolve) => void setTimeout(resolve, milliseconds));
}

class Turns {
  readonly store = new FakeStore(LEASE);
  readonly box = new MarkedMailbox();
  readonly spool = new MemorySpool(Date.now);
  readonly machines: Machine[] = [];

  machine(host: string): Machine {
    const machine = new Machine(host, this.store, this);
    this.machines.push(machine);
    return machine;
  }

  put(count: number): void {
    for (let n = 0; n < count; n++) this.box.put(`m${this.box.items.size}`);
  }

  /** Comes to the midst of it. */
  async begin(count: number): Promise<void> {
    this.put(count);
    while (this.durable.length < this.box.items.size - count / 2) await pass(10);
  }

  get durable(): readonly string[] {
    return [...this.spool.items.values()].map(({ messageId }) => messageId.replace(/^<(.*)@test>$/, '$1'));
  }
}

/** All of it is durable once, and filed. */
function expectWhole({ durable, box, machines }: Turns): void {
  expect(durable.toSorted()).toEqual([...box.items.keys()].toSorted());
  expect(box.in('in')).toEqual([]);
  expect(machines.flatMap(({ wrongs }) => wrongs)).toEqual([]);
}

describe('a mailbox of two gateways', () => {
  it('is picked up from by one, and the other is silent', async () => {
    const turns = new Turns();
    const [one, other] = [turns.machine('gw1'), turns.machine('gw2')];
    turns.put(20);
    await pass(20 * SECOND);
    expectWhole(turns);
    expect(one.events.map(({ event }) => event)).toContain('pickup.opened');
    expect(other.events).toEqual([{ event: 'duty.elsewhere', duty: 'pickup fax', pickup: 'fax', other: 'gw1' }]);
  });

  it.each(['dies', 'stops'] as const)('goes on within a lease and a few seconds when the one %s', async (how) => {
    const turns = new Turns();
    const [one, other] = [turns.machine('gw1'), turns.machine('gw2')];
    turns.put(5);
    await pass(20 * SECOND);
    await turns.begin(30);
    expect(turns.durable.length).toBeLessThan(35);
    one[how]();
    await pass(LEASE + LEASE / 6 + 10 * SECOND);
    expectWhole(turns);
    expect(other.isOnDuty).toBe(true);
    // Nobody waited for a mark.
    expect(other.events.map(({ event }) => event)).not.toContain('pickup.waiting');
  });

  it('one that comes back does nothing more, and says why', async () => {
    const turns = new Turns();
    const [one, other] = [turns.machine('gw1'), turns.machine('gw2')];
    await pass(20 * SECOND);
    await turns.begin(30);
    one.stops();
    await pass(2 * LEASE);
    one.goesOn();
    turns.put(30);
    await pass(LEASE);
    expectWhole(turns);
    const said = one.events.map(({ event }) => event);
    expect(said.filter((event) => event.startsWith('duty'))).toEqual(['duty.taken', 'duty.lost', 'duty.elsewhere']);
    expect(said).not.toContain('pickup.failed');
    expect(said).not.toContain('bug');
    expect(other.isOnDuty).toBe(true);
  });

  it('is left in order: the other goes on at its next look', async () => {
    const turns = new Turns();
    const [one, other] = [turns.machine('gw1'), turns.machine('gw2')];
    await pass(20 * SECOND);
    await turns.begin(30);
    void one.duty.end(new AbortController().signal);
    await pass(LEASE / 6 + 5 * SECOND);
    expect(other.isOnDuty).toBe(true);
    await pass(10 * SECOND);
    expectWhole(turns);
    expect(one.events.at(-1)?.event).toBe('duty.left');
  });
});

/** mulberry32. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

it.each(Array.from({ length: 12 }, (_, seed) => seed))('whatever happens to three machines, seed %d', async (seed) => {
  const random = chance(seed);
  const turns = new Turns();
  const live = ['gw1', 'gw2', 'gw3'].map((host) => turns.machine(host));
  let count = 3;
  for (let n = 0; n < 60; n++) {
    turns.put(Math.floor(random() * 12));
    const which = Math.floor(random() * live.length);
    // Mostly who is at work.
    const at = random() < 0.6 ? live.findIndex(({ isOnDuty }) => isOnDuty) : which;
    const machine = live[at < 0 ? which : at];
    await pass(random() * 6 * SECOND);
    switch (Math.floor(random() * 5)) {
      case 0:
        machine?.stops();
        break;
      case 1:
        machine?.cluster.cut();
        break;
      case 2:
        machine?.dies();
        live[live.findIndex((one) => one === machine)] = turns.machine(`gw${++count}`);
        break;
      default:
        for (const one of live) {
          one.goesOn();
          one.cluster.mend();
        }
    }
    await pass(random() * 20 * SECOND);
    if (random() < 0.2) await pass(random() * 2 * LEASE);
  }
  for (const one of live) {
    one.goesOn();
    one.cluster.mend();
  }
  await pass(5 * 60 * SECOND);
  expectWhole(turns);
  expect(live.filter(({ isOnDuty }) => isOnDuty)).toHaveLength(1);
  const said = turns.machines.flatMap(({ events }) => events.map(({ event }) => event));
  expect(said.filter((event) => event === 'bug' || event === 'pickup.waiting')).toEqual([]);
  expect(said.filter((event) => event === 'duty.lost').length).toBeGreaterThan(2);
});
