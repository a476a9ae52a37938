/**
 * Several gateways on one store, in memory (mail/cluster.ts): for tests of what they do together. The store's clock is
 * Date.now(), simulated or not. A gateway can be cut off from the store, or its answers held up; one that dies is seen for
 * a lease, and its duties stay its own for as long as it had them.
 */
import type { Cluster, ClusterListener, Json, Member, Subject } from '../../src/mail/cluster.ts';
import type { LaneKey } from '../../src/mail/item.ts';
import { SpoolError } from '../../src/mail/spool.ts';

const keyOf = ({ route, mailbox }: Subject): string => (mailbox === undefined ? route : `${route}\n${mailbox}`);

export class FakeStore {
  readonly lease: number;
  readonly duties = new Map<string, { owner: string; until: number }>();
  readonly known = new Map<string, { subject: Subject; state: Json }>();
  readonly gateways: FakeGateway[] = [];

  constructor(lease = 30_000) {
    this.lease = lease;
  }

  join(host: string): FakeGateway {
    const gateway = new FakeGateway(this, host, `${host}-${this.gateways.length + 1}`);
    this.gateways.push(gateway);
    return gateway;
  }

  /** @returns the host that has it */
  ownerOf(duty: string): string | undefined {
    const held = this.duties.get(duty);
    if (held === undefined || held.until <= Date.now()) return undefined;
    return this.gateways.find(({ id }) => id === held.owner)?.host;
  }

  /** What is known, as it stands. */
  stateOf(route: string): Json | undefined {
    return this.known.get(route)?.state;
  }
}

export class FakeGateway implements Cluster {
  readonly id: string;
  readonly host: string;
  readonly #store: FakeStore;
  readonly #startedAt = Date.now();
  readonly #listeners = new Set<ClusterListener>();
  /** Its requests fail from then on. */
  #cutAt: number | undefined;
  /** Its answers wait for that. */
  #heldUp: PromiseWithResolvers<void> | undefined;
  /** How long a request takes until it has its effect. */
  before: (what: string) => Promise<void> = () => Promise.resolve();
  /** Requests: `hold alarms`. */
  readonly asked: string[] = [];

  constructor(store: FakeStore, host: string, id: string) {
    this.#store = store;
    this.host = host;
    this.id = id;
  }

  get lease(): number {
    return this.#store.lease;
  }

  now(): number {
    return Date.now();
  }

  /** The store cannot be reached any more; or it has died, and never asks again. */
  cut(): void {
    this.#cutAt ??= Date.now();
  }

  mend(): void {
    this.#cutAt = undefined;
  }

  /** Its requests have their effect, and their answers come when the returned function is called. */
  holdUp(): () => void {
    const heldUp = Promise.withResolvers<void>();
    this.#heldUp = heldUp;
    return () => {
      this.#heldUp = undefined;
      heldUp.resolve();
    };
  }

  members(): Promise<readonly Member[]> {
    return this.#ask('members', () => {
      const now = Date.now();
      return this.#store.gateways
        .filter((one) => one.#cutAt === undefined || now - one.#cutAt < this.lease)
        .map((one) => ({
          id: one.id,
          host: one.host,
          version: '1.2.3',
          startedAt: one.#startedAt,
          seenAt: one.#cutAt ?? now,
          sending: 0,
          duties: [...this.#store.duties]
            .filter(([, { owner, until }]) => owner === one.id && until > now)
            .map(([duty]) => duty),
        }))
        .toSorted((a, b) => (a.host < b.host ? -1 : a.host > b.host ? 1 : a.startedAt - b.startedAt));
    });
  }

  known(): Promise<readonly { readonly subject: Subject; readonly state: Json }[]> {
    return this.#ask('known', () => structuredClone([...this.#store.known.values()]));
  }

  change(subject: Subject, change: (state: Json | undefined) => Json | undefined): Promise<Json | undefined> {
    return this.#ask(`change ${keyOf(subject)}`, () => {
      const key = keyOf(subject);
      const before = this.#store.known.get(key)?.state;
      // As it comes back from a database.
      const text = JSON.stringify(change(before === undefined ? undefined : structuredClone(before)));
      const state = text === undefined ? undefined : (JSON.parse(text) as Json);
      if (state === undefined) this.#store.known.delete(key);
      else this.#store.known.set(key, { subject, state });
      for (const other of this.#store.gateways)
        if (other !== this) other.#told(({ changed }) => changed(subject, state));
      return state;
    });
  }

  /** Another gateway has made something due. */
  due(lane: LaneKey): void {
    this.#told(({ due }) => due(lane));
  }

  listen(listener: ClusterListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  hold(duty: string): Promise<boolean> {
    return this.#ask(`hold ${duty}`, () => {
      const now = Date.now();
      const held = this.#store.duties.get(duty);
      if (held !== undefined && held.owner !== this.id && held.until > now) return false;
      this.#store.duties.set(duty, { owner: this.id, until: now + this.lease });
      return true;
    });
  }

  leave(duty: string): Promise<void> {
    return this.#ask(`leave ${duty}`, () => {
      if (this.#store.duties.get(duty)?.owner === this.id) this.#store.duties.delete(duty);
    });
  }

  async #ask<T>(what: string, act: () => T): Promise<T> {
    this.asked.push(what);
    await this.before(what);
    if (this.#cutAt !== undefined) throw new SpoolError('io', 'the database cannot be reached');
    const result = act();
    await this.#heldUp?.promise;
    return result;
  }

  #told(tell: (listener: ClusterListener) => void): void {
    if (this.#cutAt !== undefined) return;
    for (const listener of this.#listeners) queueMicrotask(() => this.#listeners.has(listener) && tell(listener));
  }
}
