/** Several gateways on one spool in memory, for tests of the queue under simulated time. */
import type { Cluster, ClusterListener, Gate, Json, Subject } from '../../src/mail/cluster.ts';
import type { LaneKey, QueueItem, SpoolId } from '../../src/mail/item.ts';
import type { Spool } from '../../src/mail/spool.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import type { MemorySpool } from './memory-spool.ts';

const LEASE = 30_000;

export class MemoryCluster {
  readonly known = new Map<string, Json>();
  readonly #spool: MemorySpool;
  readonly #listeners = new Map<string, ClusterListener>();
  readonly #owners = new Map<SpoolId, string>();
  readonly #ids: string[] = [];
  #last: Promise<unknown> = Promise.resolve();
  /** Set: nothing can be asked. */
  trouble: SpoolError | undefined;

  constructor(spool: MemorySpool) {
    this.#spool = spool;
  }

  /** One more gateway: how it sees the others, and the spool. */
  join(id: string): { readonly cluster: Cluster; readonly spool: Spool } {
    this.#ids.push(id);
    return { cluster: this.#clusterOf(id), spool: this.#spoolOf(id) };
  }

  state(route: string, mailbox?: string): Json | undefined {
    return this.known.get(keyOf(mailbox === undefined ? { route } : { route, mailbox }));
  }

  /** As the store does once a lease is over. */
  takeOver(id: SpoolId): void {
    const item = this.#spool.items.get(id);
    if (item === undefined) throw new Error('no such item');
    this.#owners.delete(id);
    Object.assign(item, { state: 'queued', doubtful: true, due: Date.now() });
  }

  async #ask(): Promise<void> {
    await Promise.resolve();
    if (this.trouble !== undefined) throw this.trouble;
  }

  /** As a lock does. */
  #alone<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  #clusterOf(id: string): Cluster {
    return {
      id,
      lease: LEASE,
      now: Date.now,
      members: async () =>
        this.#ids.map((one) => ({
          id: one,
          host: one,
          version: '1',
          startedAt: 0,
          seenAt: Date.now(),
          sending: 0,
          duties: [],
        })),
      known: async () => [...this.known].map(([key, state]) => ({ subject: subjectOf(key), state })),
      change: async (subject, change) => {
        await this.#ask();
        const key = keyOf(subject);
        const state = await this.#alone(async () => {
          const after = copyOf(change(copyOf(this.known.get(key))));
          this.#set(key, after);
          return after;
        });
        this.#tell(id, (listener) => listener.changed(subject, copyOf(state)));
        return copyOf(state);
      },
      listen: (listener) => {
        this.#listeners.set(id, listener);
        return () => void this.#listeners.delete(id);
      },
      hold: async () => true,
      leave: async () => undefined,
    };
  }

  #set(key: string, state: Json | undefined): void {
    if (state === undefined) this.known.delete(key);
    else this.known.set(key, state);
  }

  /** Some time later, as over a wire. */
  #tell(from: string, tell: (listener: ClusterListener) => void): void {
    setTimeout(() => {
      for (const [id, listener] of this.#listeners) if (id !== from) tell(listener);
    }, 5);
  }

  #spoolOf(id: string): Spool {
    const own = <Result>(item: SpoolId, work: () => Promise<Result>, otherwise: Result): Promise<Result> =>
      this.#owners.get(item) === id ? work() : Promise.resolve(otherwise);
    const spool = this.#spool;
    const changed: Partial<Spool> = {
      claim: async (lane, { gate, ...options }) => {
        await this.#ask();
        const items = await this.#alone(() => this.#claim(lane, options, gate));
        for (const item of items) this.#owners.set(item.id, id);
        return items;
      },
      renew: (item) => this.#ask().then(() => own(item, () => spool.renew(item), false)),
      finish: (item, status) => this.#ask().then(() => own(item, () => spool.finish(item, status), undefined)),
      defer: (item, next) => this.#ask().then(() => own(item, () => spool.defer(item, next), undefined)),
      park: (item, status) => this.#ask().then(() => own(item, () => spool.park(item, status), undefined)),
    };
    return new Proxy<Spool>(spool, {
      get: (_, name) => {
        const value: unknown = Reflect.get(changed, name) ?? Reflect.get(spool, name);
        return typeof value === 'function' ? value.bind(spool) : value;
      },
    });
  }

  async #claim(
    lane: LaneKey,
    options: { readonly now: number; readonly limit: number; readonly leaseUntil: number },
    gate: Gate | undefined,
  ): Promise<readonly QueueItem[]> {
    const [ofLane, ofRoute] = [keyOf(lane), keyOf({ route: lane.route })];
    const sending = [...this.#spool.items.values()].filter(
      ({ state, route, mailbox }) => state === 'sending' && route === lane.route && mailbox === lane.mailbox,
    ).length;
    const [known, route] = [copyOf(this.known.get(ofLane)), copyOf(this.known.get(ofRoute))];
    const judged = gate?.({ ...(known && { lane: known }), ...(route && { route }), sending });
    const limit = Math.min(options.limit, judged?.limit ?? Infinity);
    const items = limit > 0 ? await this.#spool.claim(lane, { ...options, limit }) : [];
    if (items.length > 0 && judged !== undefined) {
      const after = judged.after(items.length);
      this.#set(ofLane, copyOf(after.lane));
      this.#set(ofRoute, copyOf(after.route));
    }
    return items;
  }
}

/** It goes through a store as text. */
function copyOf<Value extends Json | undefined>(value: Value): Value {
  return value === undefined ? value : (JSON.parse(JSON.stringify(value)) as Value);
}

function keyOf({ route, mailbox }: Subject): string {
  return JSON.stringify([route, mailbox]);
}

function subjectOf(key: string): Subject {
  const [route = '', mailbox] = JSON.parse(key) as [string, string | null];
  return mailbox === null || mailbox === undefined ? { route } : { route, mailbox };
}
