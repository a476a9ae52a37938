/** Who picks up from a folder, under simulated time: gateways with spools of their own at one mailbox. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClaimSite, gone, pause, trouble } from './claim-site.ts';
import type { Gateway } from './claim-site.ts';
import { guardedBy } from '../../src/exchange/pickup-guard.ts';
import type { PickupOptions } from '../../src/exchange/pickup-options.ts';
import type { ReceivedMail } from '../../src/mail/received.ts';
import type { Arrival, Incoming } from '../../src/mail/source.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const SECOND = 1_000;
const MINUTE = 60_000;
const pass = async (milliseconds: number): Promise<void> => void (await vi.advanceTimersByTimeAsync(milliseconds));

/** What a round ends with, and after how long. */
async function round(gateway: Gateway): Promise<{ readonly outcome: string; readonly seconds: number }> {
  const begun = Date.now();
  const ended: string[] = [];
  void gateway.hold().then((one) => ended.push(one));
  while (ended.length === 0) await pass(100);
  return { outcome: ended[0] ?? '', seconds: Math.round((Date.now() - begun) / SECOND) };
}

async function crash(gateway: Gateway): Promise<void> {
  await round(gateway);
  gateway.dies();
}

describe('one gateway', () => {
  it('marks a folder that is nobody’s, and asks nothing while that is young', async () => {
    const site = new ClaimSite();
    const a = site.gateway('alpha');
    expect(await round(a)).toEqual({ outcome: 'ours', seconds: 2 });
    expect(site.mark).toMatch(/^\w+\.\w+ alpha 1$/);
    const asked = site.asked;
    await a.hold();
    expect(site.asked).toBe(asked);
  });

  it.each([
    ['while it works every 20 s', true, 20 * SECOND],
    ['else every minute', false, MINUTE],
  ])('renews the mark: %s', async (_, works, every) => {
    const site = new ClaimSite();
    const a = site.gateway('alpha');
    await round(a);
    if (!works) a.claim.rest();
    const before = site.written.length;
    await pass(10 * MINUTE);
    expect(site.written.length - before).toBeGreaterThanOrEqual(Math.floor((8 * MINUTE) / every));
    expect(site.written.length - before).toBeLessThanOrEqual((10 * MINUTE) / every + 1);
    expect(a.isSure()).toBe(true);
  });

  it('goes on at once after a crash', async () => {
    const site = new ClaimSite();
    await crash(site.gateway('alpha'));
    const again = site.gateway('alpha', { spool: 'alpha' });
    expect(await round(again)).toEqual({ outcome: 'ours', seconds: 0 });
  });

  it('looks twice after a crash long ago', async () => {
    const site = new ClaimSite();
    await crash(site.gateway('alpha'));
    await pass(2 * MINUTE);
    expect(await round(site.gateway('alpha', { spool: 'alpha' }))).toEqual({ outcome: 'ours', seconds: 2 });
  });

  it('goes on after a crash in the middle of its first look', async () => {
    const site = new ClaimSite();
    await crash(site.gateway('alpha'));
    const again = site.gateway('alpha', { spool: 'alpha' });
    site.next('write', { answer: trouble() });
    expect(await round(again)).toEqual({ outcome: 'ECONNRESET', seconds: 0 });
    expect(await round(again)).toEqual({ outcome: 'ours', seconds: 0 });
  });

  it('frees the folder at its end', async () => {
    const site = new ClaimSite();
    const a = site.gateway('alpha');
    await round(a);
    await a.claim.release(new AbortController().signal);
    expect(site.mark).toBe('free');
    await pass(10 * MINUTE);
    expect(site.mark).toBe('free');
  });
});

describe('two gateways', () => {
  it('the second waits, however long', async () => {
    const site = new ClaimSite();
    const [a, b] = [site.gateway('alpha'), site.gateway('beta')];
    await round(a);
    a.claim.rest();
    for (let minute = 0; minute < 60; minute++) {
      expect((await round(b)).outcome).toBe('alpha');
      await pass(MINUTE);
    }
    expect(a.isSure()).toBe(true);
  });

  it('the second goes on soon after the first has stopped', async () => {
    const site = new ClaimSite();
    const [a, b] = [site.gateway('alpha'), site.gateway('beta')];
    await round(a);
    expect(await round(b)).toEqual({ outcome: 'alpha', seconds: 0 });
    await a.claim.release(new AbortController().signal);
    expect(await round(b)).toEqual({ outcome: 'ours', seconds: 2 });
  });

  it('one that waits frees nothing at its end', async () => {
    const site = new ClaimSite();
    const [a, b] = [site.gateway('alpha'), site.gateway('beta')];
    await round(a);
    await round(b);
    await b.claim.release(new AbortController().signal);
    expect(site.mark).toContain(' alpha ');
  });

  it('a mark that has not changed for three minutes is taken over', async () => {
    const site = new ClaimSite();
    const [a, b] = [site.gateway('alpha'), site.gateway('beta')];
    await round(a);
    a.dies();
    await round(b);
    await pass(170 * SECOND);
    expect((await round(b)).outcome).toBe('alpha');
    await pass(15 * SECOND);
    expect(await round(b)).toEqual({ outcome: 'ours', seconds: 2 });
    expect(b.isSure()).toBe(true);
  });

  it('so is a text that nobody can read', async () => {
    const site = new ClaimSite();
    site.mark = 'of another version';
    const a = site.gateway('alpha');
    expect((await round(a)).outcome).toBe('another machine');
    await pass(181 * SECOND);
    expect((await round(a)).outcome).toBe('ours');
  });

  it('one that was paused finds the folder taken before anything becomes durable', async () => {
    const site = new ClaimSite();
    const [a, b] = [site.gateway('alpha'), site.gateway('beta')];
    await round(a);
    a.dies();
    await round(b);
    await pass(181 * SECOND);
    await round(b);
    expect(a.isSure()).toBe(false);
    expect(await a.confirmed()).toBe('beta');
    expect((await round(a)).outcome).toBe('beta');
  });

  it('so it does when that one has come and gone', async () => {
    const site = new ClaimSite();
    const [a, b] = [site.gateway('alpha'), site.gateway('beta')];
    await round(a);
    a.dies();
    await round(b);
    await pass(181 * SECOND);
    await round(b);
    await b.claim.release(new AbortController().signal);
    a.wakes();
    expect(await a.confirmed()).toBe('another machine');
    expect((await round(a)).outcome).toBe('ours');
  });

  it('one that was paused alone goes on where it was', async () => {
    const site = new ClaimSite();
    const a = site.gateway('alpha');
    await round(a);
    a.dies();
    await pass(10 * MINUTE);
    a.wakes();
    expect(a.isSure()).toBe(false);
    const confirmed = a.confirmed();
    await pass(2 * SECOND);
    expect(await confirmed).toBe('ours');
    expect(a.isSure()).toBe(true);
  });

  it('a clock that stood still while the machine slept does not hide the pause', async () => {
    const site = new ClaimSite();
    let slept = 0;
    const a = site.gateway('alpha', { steady: () => Date.now() - slept });
    await round(a);
    slept = 5 * MINUTE;
    vi.setSystemTime(Date.now() + slept);
    expect(a.isSure()).toBe(false);
  });

  it('a copied spool is not the same gateway: the one that was there first takes another name', async () => {
    const site = new ClaimSite();
    const a = site.gateway('alpha');
    await round(a);
    const copy = site.gateway('alpha', { spool: 'copy', copyOf: 'alpha' });
    expect((await round(copy)).outcome).toBe('ours');
    await pass(21 * SECOND);
    expect((await round(a)).outcome).toBe('alpha');
    expect(site.nameOf('alpha')).not.toBe(site.nameOf('copy'));
    expect(copy.isSure()).toBe(true);
  });

  /** Milliseconds that an answer takes; the server acts in the middle of it. */
  const SPEEDS = [10, 1_500, 6_000];
  const starts = [0, 5, 1_000, 1_600, 3_000, 8_000];
  const table = SPEEDS.flatMap((a) => SPEEDS.flatMap((b) => SPEEDS.map((c) => [a, b, c] as const)));

  it.each(table)('never both, whatever takes how long: %i, %i, %i', async (a, b, c) => {
    for (const start of starts) for (const d of SPEEDS) await race({ reads: [a, b], writes: [c, d], start });
  });

  interface Race {
    readonly reads: readonly [number, number];
    readonly writes: readonly [number, number];
    readonly start: number;
  }

  async function race(speeds: Race): Promise<void> {
    const site = new ClaimSite();
    const { reads, writes, start } = speeds;
    const a = site.gateway('alpha', { read: reads[0], write: writes[0] });
    const b = site.gateway('beta', { read: reads[1], write: writes[1] });
    const runs = [a.run(), pause(start).then(() => b.run())];
    let sure = 0;
    const both: number[] = [];
    for (let at = 0; at < 200; at += 4) {
      await pass(4 * SECOND);
      const holders = [a, b].filter((one) => one.isSure()).length;
      if (holders > 1) both.push(at);
      sure += holders;
    }
    expect({ ...speeds, both }).toEqual({ ...speeds, both: [] });
    // Somebody did.
    expect(sure).toBeGreaterThan(10);
    a.dies();
    b.dies();
    await pass(3 * MINUTE);
    await Promise.all(runs);
  }
});

describe('writes that go astray', () => {
  it('one whose answer is lost counts', async () => {
    const site = new ClaimSite();
    site.next('write', { answer: trouble(), acts: true });
    expect(await round(site.gateway('alpha'))).toEqual({ outcome: 'ours', seconds: 2 });
  });

  it('one that is lost is made again', async () => {
    const site = new ClaimSite();
    site.next('write', { answer: trouble() });
    const a = site.gateway('alpha');
    expect(await round(a)).toEqual({ outcome: 'ECONNRESET', seconds: 0 });
    expect(await round(a)).toEqual({ outcome: 'ours', seconds: 2 });
  });

  it.each([true, false])('a renewal that is lost does no harm; it had its effect: %s', async (acts) => {
    const site = new ClaimSite();
    const a = site.gateway('alpha');
    await round(a);
    site.next('write', { answer: trouble(), acts });
    await pass(21 * SECOND);
    expect(site.mark).toMatch(acts ? / 2$/ : / 1$/);
    expect(await round(a)).toEqual({ outcome: 'ours', seconds: 0 });
    expect(site.mark).toMatch(/ 3$/);
  });

  it('one that arrives when another has the folder gives that one time to notice', async () => {
    const site = new ClaimSite();
    const [a, b] = [site.gateway('alpha'), site.gateway('beta')];
    site.next('write', { answer: trouble(), late: 30 * SECOND });
    expect((await round(a)).outcome).toBe('ECONNRESET');
    expect((await round(b)).outcome).toBe('ours');
    await pass(30 * SECOND);
    expect(site.written.at(-1)).toContain(' alpha ');
    const { outcome, seconds } = await round(a);
    expect({ outcome, isLong: seconds >= 120 }).toEqual({ outcome: 'ours', isLong: true });
    expect(b.isSure()).toBe(false);
    expect((await round(b)).outcome).toBe('alpha');
  });
});

describe('a server that does not let its folders be marked', () => {
  const denied = trouble({ cause: 'ErrorAccessDenied', code: '4.3.5', reach: 'mailbox' });
  const unclear = trouble({ cause: 'HTTP 500', reach: 'message', capped: true });

  it.each(['read', 'write'] as const)('is picked up from without, and that is said once: %s', async (what) => {
    const site = new ClaimSite();
    const a = site.gateway('alpha');
    site.next(what, { answer: denied });
    if (what === 'write') site.next('write', { answer: denied });
    for (let count = 0; count < 3; count++) expect((await round(a)).outcome).toBe('ours');
    expect(a.warnings).toEqual([
      expect.stringMatching(/^pickup fax goes on, .*ErrorAccessDenied.*both would hand over/),
    ]);
    expect(a.isSure()).toBe(true);
  });

  it('one whose answers mean nothing is given three tries', async () => {
    const site = new ClaimSite();
    const a = site.gateway('alpha');
    for (let count = 0; count < 3; count++) site.next('read', { answer: unclear });
    expect([(await round(a)).outcome, (await round(a)).outcome]).toEqual(['HTTP 500', 'HTTP 500']);
    expect(a.warnings).toEqual([]);
    expect((await round(a)).outcome).toBe('ours');
    expect(a.warnings).toHaveLength(1);
  });

  it('one that forgets the mark', async () => {
    const site = new ClaimSite();
    const a = site.gateway('alpha');
    site.forgets = true;
    expect((await round(a)).outcome).toBe('ours');
    expect(a.warnings).toEqual([expect.stringContaining('does not show it')]);
  });

  it.each([
    ['is down', trouble(), 'ECONNRESET'],
    ['has lost the folder', trouble(gone), 'folder not found'],
  ])('is another matter than one that %s', async (_, answer, outcome) => {
    const site = new ClaimSite();
    const a = site.gateway('alpha');
    for (let count = 0; count < 5; count++) {
      site.next('read', { answer });
      expect((await round(a)).outcome).toBe(outcome);
    }
    expect(a.warnings).toEqual([]);
  });
});

describe('what becomes durable', () => {
  const arrival = { envelope: { reversePath: '', recipients: [] } } as unknown as Arrival;

  function guarded(gateway: Gateway) {
    const done: string[] = [];
    const begin = (): Incoming => ({
      id: `m${done.length}`,
      write: async () => {},
      abort: async () => {},
      async commit(_, receipt) {
        done.push(receipt?.key ?? '');
        return true;
      },
    });
    const tell = async (): Promise<boolean> => Boolean(done.push('told'));
    const options = { inject: { room: () => ({ ok: true as const }), begin }, tell };
    const { signal } = new AbortController();
    return { done, ...guardedBy(gateway.claim, options as unknown as PickupOptions, signal) };
  }

  it('does so at once and in its order while the folder is certain', async () => {
    const a = new ClaimSite().gateway('alpha');
    await round(a);
    const { done, inject } = guarded(a);
    const [one, two] = [inject.begin(), inject.begin()];
    const both = [two.commit(arrival, { source: '', key: 'two' }), one.commit(arrival, { source: '', key: 'one' })];
    expect(done).toEqual(['two', 'one']);
    expect(await Promise.all(both)).toEqual([true, true]);
  });

  it('waits for the answer when it is not, in its order', async () => {
    const a = new ClaimSite().gateway('alpha');
    await round(a);
    a.dies();
    await pass(5 * MINUTE);
    a.wakes();
    const { done, inject } = guarded(a);
    const both = ['one', 'two'].map((key) => inject.begin().commit(arrival, { source: '', key }));
    expect(done).toEqual([]);
    await pass(3 * SECOND);
    expect(await Promise.all(both)).toEqual([true, true]);
    expect(done).toEqual(['one', 'two']);
  });

  it('does not when another has it: no mail, no notice', async () => {
    const site = new ClaimSite();
    const [a, b] = [site.gateway('alpha'), site.gateway('beta')];
    await crash(a);
    await round(b);
    await pass(181 * SECOND);
    await round(b);
    const { done, inject, tell } = guarded(a);
    const incoming = inject.begin();
    await expect(incoming.commit(arrival, { source: '', key: 'one' })).rejects.toThrow('The gateway on beta');
    await expect(tell?.({} as ReceivedMail, '', { source: '', key: 'two' })).rejects.toThrow('The gateway on beta');
    expect(done).toEqual([]);
  });
});
