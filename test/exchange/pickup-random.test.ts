/** Whatever goes wrong, in whatever order: every mail is handed over once, and the mailbox is left as the rule says. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { After } from '../../src/exchange/pickup.ts';
import type { Event } from '../../src/mail/event.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import { delayed, failed, FakeMailbox, Site, trouble } from './pickup-site.ts';

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000_000_000 }));
afterEach(() => void vi.useRealTimers());

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

const AFTERS: After[] = [{ kind: 'move', folder: 'Processed' }, { kind: 'delete' }, { kind: 'read' }, { kind: 'keep' }];

it.each(Array.from({ length: 24 }, (_, seed) => seed))('seed %d', async (seed) => {
  const random = chance(seed);
  const isNow = (share: number): boolean => random() < share;
  const after = AFTERS[seed % AFTERS.length] ?? { kind: 'keep' };
  const box = new FakeMailbox();
  box.transport = seed % 8 < 4 ? 'ews' : 'graph';
  const statuses = [delayed('message'), delayed('mailbox'), delayed('transport', { retryAfter: 2_000 }), failed];
  const status = (isMild: boolean) => statuses[Math.floor(random() * (isMild ? 3 : 4))] ?? failed;
  const events: Event[][] = [];
  let isBad = true;
  const pause = async () => {
    if (isBad && isNow(0.3)) await new Promise((resolve) => setTimeout(resolve, random() * 500));
  };
  const bad = async (share: number, isMild: boolean) => {
    await pause();
    return isBad && isNow(share) ? trouble(status(isMild)) : undefined;
  };
  box.on = {
    folders: () => bad(0.1, false),
    changes: async (cursor) =>
      isBad && cursor !== undefined && isNow(0.05) ? { ok: false, stale: true } : await bad(0.1, false),
    describe: () => bad(0.05, false),
    unreadable: () => (isBad && isNow(0.02) ? delayed('message') : undefined),
    fetch: () => bad(0.1, true),
    // Failed may put it aside: it is handed over by then, or it would be no loss.
    file: () => bad(0.1, true),
  };
  let site = new Site({ after, interval: 10_000 }, { box });
  const equip = (one: Site): void => {
    events.push(one.events);
    one.beforeCommit = () => {
      if (isBad && isNow(0.05)) throw new SpoolError('full', 'no space');
    };
    one.room = () => (isBad && isNow(0.03) ? { ok: false, reason: 'full' } : { ok: true });
  };
  equip(site);
  await site.source.start();
  for (let n = 0; n < 60; n++) {
    box.put(String(n), { receivedAt: Math.floor(random() * 1e6) });
    if (isNow(0.5)) await site.run(random() * 20_000);
    if (isNow(0.1)) {
      // What it was doing comes to nothing any more; it may have been anywhere.
      const gone = site;
      void gone.source.stop(AbortSignal.abort());
      site = gone.again();
      equip(site);
      await site.source.start();
    }
  }
  isBad = false;
  await site.run(24 * 3_600_000);
  expect(site.handedOver.map(Number).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, n) => n));
  const left = box.in('in').filter((id) => after.kind !== 'read' || box.items.get(id)?.mail.isRead !== true);
  expect(left).toHaveLength(after.kind === 'keep' ? 60 : 0);
  expect(site.open).toBe(0);
  const troubles = events.map((told) =>
    told.map(({ event }) => event).filter((event) => /^pickup\.(?:failed|recovered)$/.test(event)),
  );
  // Each beginning has its end, but in a life that ended in the midst of it.
  const loose = troubles.flatMap((told) =>
    told.filter((event, at) => event === 'pickup.recovered' && told[at - 1] !== 'pickup.failed'),
  );
  expect([loose, troubles.at(-1)?.at(-1) ?? 'pickup.recovered']).toEqual([[], 'pickup.recovered']);
  expect(events.flat().filter(({ event }) => event === 'bug')).toEqual([]);
  expect(await site.spool.cursor(`${box.transport} fax@contoso.com/inbox`)).toBe(`id of Inbox\n${box.changed.length}`);
  await site.stop();
});
