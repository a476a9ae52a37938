/** Several gateways on one spool, whose duty it is in turn to pick up from a folder: its mark, under simulated time. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { guardedBy } from '../../src/exchange/pickup-guard.ts';
import type { PickupOptions } from '../../src/exchange/pickup-options.ts';
import type { ReceivedMail } from '../../src/mail/received.ts';
import type { Arrival, Incoming } from '../../src/mail/source.ts';
import { ClaimSite, trouble } from './claim-site.ts';
import type { Gateway } from './claim-site.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const SECOND = 1_000;
const MINUTE = 60_000;
const pass = async (milliseconds: number): Promise<void> => void (await vi.advanceTimersByTimeAsync(milliseconds));

/** Gateways of one cluster: each has the duty from its making to the making of the next one. */
class Cluster {
  readonly site: ClaimSite;
  readonly #name: string;
  #onDuty = '';
  readonly #copyOf: string | undefined;

  constructor(site: ClaimSite, name = 'cluster', copyOf?: string) {
    this.site = site;
    this.#name = name;
    this.#copyOf = copyOf;
  }

  takes(machine: string, more: { readonly read?: number } = {}): Gateway {
    this.#onDuty = machine;
    return this.site.gateway(machine, {
      spool: this.#name,
      ...(this.#copyOf === undefined ? {} : { copyOf: this.#copyOf }),
      duty: { isOurs: () => this.#onDuty === machine, now: Date.now },
      ...more,
    });
  }
}

async function round(gateway: Gateway): Promise<{ readonly outcome: string; readonly seconds: number }> {
  const begun = Date.now();
  const ended: string[] = [];
  void gateway.hold().then((one) => ended.push(one));
  while (ended.length === 0) await pass(100);
  return { outcome: ended[0] ?? '', seconds: Math.round((Date.now() - begun) / SECOND) };
}

describe('the next gateway on duty', () => {
  it.each([
    ['at once when the one before it died a moment ago', 30 * SECOND, 0],
    ['after a second look when that was long ago', 10 * MINUTE, 2],
  ])('goes on %s', async (_, after, seconds) => {
    const cluster = new Cluster(new ClaimSite());
    const a = cluster.takes('alpha');
    await round(a);
    a.dies();
    await pass(after);
    const b = cluster.takes('beta');
    expect(await round(b)).toEqual({ outcome: 'ours', seconds });
    expect(b.isSure()).toBe(true);
  });

  it('goes on from one to the next for hours, and back to the first', async () => {
    const site = new ClaimSite();
    const cluster = new Cluster(site);
    for (let count = 0; count < 60; count++) {
      const machine = ['alpha', 'beta', 'gamma'][count % 3] ?? '';
      const one = cluster.takes(machine);
      expect((await round(one)).outcome).toBe('ours');
      await pass(count * SECOND);
      one.dies();
      expect(site.mark).toContain(` ${machine} `);
    }
  });

  it('goes on by the clock that all of them share', async () => {
    const site = new ClaimSite();
    let common = 1_000;
    const duty = { isOurs: () => true, now: () => common };
    const a = site.gateway('alpha', { spool: 'cluster', duty });
    await round(a);
    a.dies();
    common += 50 * SECOND;
    // Its own clock is an hour off.
    vi.setSystemTime(Date.now() - 60 * MINUTE);
    expect(await round(site.gateway('beta', { spool: 'cluster', duty }))).toEqual({ outcome: 'ours', seconds: 0 });
  });
});

describe('a gateway that was paused', () => {
  it('makes nothing durable and writes nothing when its duty is over, however young its mark', async () => {
    const site = new ClaimSite();
    const cluster = new Cluster(site);
    const a = cluster.takes('alpha');
    await round(a);
    await pass(SECOND);
    const b = cluster.takes('beta');
    expect(a.isSure()).toBe(false);
    expect(await a.confirmed()).toBe('duty over');
    await round(b);
    const { mark } = site;
    expect((await round(a)).outcome).toBe('ours');
    await a.claim.release(new AbortController().signal);
    // The timer of its renewals too.
    await pass(0);
    expect(site.mark).toBe(mark);
    expect(b.isSure()).toBe(true);
  });

  it.each([
    ['its first look', 1_000, 0],
    ['its second look', 3_500, 1],
  ])('in the midst of %s writes no more', async (_, after, written) => {
    const site = new ClaimSite();
    const cluster = new Cluster(site);
    const a = cluster.takes('alpha', { read: 2_000 });
    const begun = a.hold();
    await pass(after);
    const b = cluster.takes('beta');
    await pass(60 * SECOND);
    expect(await begun).toBe('duty over');
    expect(site.written).toHaveLength(written);
    expect(a.isSure()).toBe(false);
    expect((await round(b)).outcome).toBe('ours');
  });

  it('and whose mark arrives late does not stop the one on duty, nor gives the spool another name', async () => {
    const site = new ClaimSite();
    const cluster = new Cluster(site);
    const a = cluster.takes('alpha');
    await round(a);
    const name = site.nameOf('cluster');
    // Asked for while it had the duty.
    site.next('write', { answer: trouble(), late: 40 * SECOND });
    await pass(21 * SECOND);
    a.dies();
    const b = cluster.takes('beta');
    expect((await round(b)).outcome).toBe('ours');
    await pass(39 * SECOND);
    expect(site.written.filter((mark) => mark.includes(' alpha '))).toHaveLength(2);
    await pass(21 * SECOND);
    expect(site.mark).toContain(' beta ');
    await round(b);
    expect(b.isSure()).toBe(true);
    expect(site.nameOf('cluster')).toBe(name);
  });

  it('and whose first mark arrives late neither', async () => {
    const site = new ClaimSite();
    const cluster = new Cluster(site);
    const a = cluster.takes('alpha');
    site.next('write', { answer: trouble(), late: 30 * SECOND });
    expect((await round(a)).outcome).toBe('ECONNRESET');
    a.dies();
    const b = cluster.takes('beta');
    expect((await round(b)).outcome).toBe('ours');
    await pass(30 * SECOND);
    expect(site.mark).toContain(' alpha ');
    await pass(30 * SECOND);
    expect((await round(b)).outcome).toBe('ours');
    expect(site.mark).toContain(' beta ');
  });
});

describe('two clusters', () => {
  it('see each other, whoever is on duty', async () => {
    const site = new ClaimSite();
    const [one, other] = [new Cluster(site, 'one'), new Cluster(site, 'other')];
    const a = one.takes('alpha');
    await round(a);
    expect((await round(other.takes('gamma'))).outcome).toBe('alpha');
    a.dies();
    await pass(40 * SECOND);
    const b = one.takes('beta');
    expect((await round(b)).outcome).toBe('ours');
    await pass(160 * SECOND);
    expect((await round(other.takes('delta'))).outcome).toBe('beta');
  });

  it('the one takes over when the other is silent', async () => {
    const site = new ClaimSite();
    const [one, other] = [new Cluster(site, 'one'), new Cluster(site, 'other')];
    const a = one.takes('alpha');
    await round(a);
    a.dies();
    const c = other.takes('gamma');
    await round(c);
    await pass(181 * SECOND);
    expect((await round(c)).outcome).toBe('ours');
    expect((await round(one.takes('beta'))).outcome).toBe('gamma');
  });

  it('of which one is a copy: it goes on as after a restart, and the first takes another name', async () => {
    const site = new ClaimSite();
    const one = new Cluster(site, 'one');
    const a = one.takes('alpha');
    await round(a);
    const c = new Cluster(site, 'copy', 'one').takes('gamma');
    expect((await round(c)).outcome).toBe('ours');
    await pass(21 * SECOND);
    expect((await round(a)).outcome).toBe('gamma');
    expect(site.nameOf('one')).not.toBe(site.nameOf('copy'));
    // Nor does another gateway of it.
    expect((await round(one.takes('beta'))).outcome).toBe('gamma');
    expect(c.isSure()).toBe(true);
  });
});

describe('what becomes durable', () => {
  it('does not when the duty is over, also where folders are not marked', async () => {
    const done: string[] = [];
    const cluster = new Cluster(new ClaimSite());
    const a = cluster.takes('alpha');
    cluster.site.next('read', { answer: trouble({ cause: 'ErrorAccessDenied', code: '4.3.5', reach: 'mailbox' }) });
    await round(a);
    expect(a.warnings).toHaveLength(1);
    const begin = (): Incoming => ({
      id: 'm',
      write: async () => {},
      abort: async () => {},
      commit: async () => done.push('mail') > 0,
    });
    const options = { inject: { room: () => ({ ok: true as const }), begin }, tell: async () => done.push('told') > 0 };
    const { signal } = new AbortController();
    const { inject, tell } = guardedBy(a.claim, options as unknown as PickupOptions, signal);
    await inject.begin().commit({} as Arrival, { source: '', key: 'one' });
    expect(done).toEqual(['mail']);
    cluster.takes('beta');
    await expect(inject.begin().commit({} as Arrival, { source: '', key: 'two' })).rejects.toThrow('may pick up');
    await expect(tell?.({} as ReceivedMail, '', { source: '', key: 'three' })).rejects.toThrow('may pick up');
    expect(done).toEqual(['mail']);
  });
});
