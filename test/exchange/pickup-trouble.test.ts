/** A pickup under simulated time: trouble with its mailbox or the spool, crashes, notifications, and its end. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Changes } from '../../src/exchange/mailbox.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import type { Delayed, Failed } from '../../src/mail/status.ts';
import { delayed, failed, FakeMailbox, Site, trouble } from './pickup-site.ts';

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000_000_000 }));
afterEach(() => void vi.useRealTimers());

const SOURCE = 'fax@contoso.com/inbox';
const CURSOR = `ews ${SOURCE}`;
const IN = 'id of Inbox';
const full = new SpoolError('full', 'no space');

/** Times between calls of a kind, milliseconds. */
function timed(
  site: Site,
  name: 'changes' | 'folders',
  answer: () => ReturnType<typeof trouble> | undefined,
): number[] {
  const gaps: number[] = [];
  let last = Date.now();
  site.box.on[name] = () => {
    gaps.push(Date.now() - last);
    last = Date.now();
    return answer();
  };
  return gaps;
}

describe('trouble with the mailbox', () => {
  it.each<[string, Delayed | Failed, number[], boolean]>([
    ['delayed', delayed('mailbox'), [0, 5_000, 15_000, 30_000, 60_000, 300_000, 300_000], false],
    ['misconfigured', delayed('mailbox', { code: '4.3.5' }), [0, 300_000, 300_000], true],
    ['failed', failed, [0, 300_000, 300_000], true],
    ['told how long', delayed('transport', { retryAfter: 20_000 }), [0, 20_000, 20_000], false],
    ['told at once', delayed('transport', { retryAfter: 0 }), [0, 1_000, 1_000], false],
    ['told for days', delayed('transport', { retryAfter: 9e9 }), [0, 3_600_000, 3_600_000], false],
  ])('%s: waits, is told once and ends', async (_, status, waits, misconfigured) => {
    const site = new Site();
    site.box.put('a');
    let isOver = false;
    const gaps = timed(site, 'folders', () => (isOver ? undefined : trouble(status)));
    await site.started(waits.reduce((sum, wait) => sum + wait, 0));
    expect(gaps).toEqual(waits);
    expect(site.of('pickup.failed')).toMatchObject([{ misconfigured, until: 1_000_000_000_000 + (waits[1] ?? 0) }]);
    expect(site.of('pickup.polled')).toEqual([]);
    isOver = true;
    await site.run(3_600_000);
    expect(site.of('pickup.recovered')).toHaveLength(1);
    expect(site.handedOver).toEqual(['a']);
  });

  it('is told anew when its cause changes', async () => {
    const site = new Site();
    let cause = 'ECONNREFUSED';
    site.box.on.changes = () => trouble(delayed('mailbox', { cause }));
    await site.started(5_000);
    cause = 'HTTP 503';
    await site.run(60_000);
    expect(site.of('pickup.failed').map((event) => event.cause)).toEqual(['ECONNREFUSED', 'HTTP 503']);
    site.box.on = {};
    await site.run(300_000);
    expect(site.of('pickup.recovered')).toHaveLength(1);
  });

  it.each(['describe', 'fetch', 'file'] as const)('in %s: no mail is lost or blamed', async (when) => {
    const site = new Site();
    for (const id of 'abcde') site.box.put(id);
    site.box.on[when] = () => trouble(delayed('transport'));
    await site.started(5_000);
    site.box.on = {};
    await site.run(400_000);
    expect(site.handedOver.toSorted()).toEqual([...'abcde']);
    expect(site.box.in('id of Processed')).toHaveLength(5);
    expect(site.of('pickup.delayed')).toEqual([]);
    expect([site.of('pickup.failed').length, site.of('pickup.recovered').length]).toEqual([1, 1]);
  });

  it('is over as soon as mail goes through again, not at the end of a long list', async () => {
    const site = new Site();
    for (let at = 0; at < 30; at++) site.box.put(String(at));
    site.box.on.changes = () => trouble(delayed('mailbox'));
    await site.started();
    site.box.on = { fetch: async () => await new Promise((resolve) => setTimeout(() => resolve(undefined), 10_000)) };
    await site.run(5_000 + 51_000);
    expect(site.handedOver.length).toBeLessThan(30);
    expect(site.of('pickup.recovered')).toHaveLength(1);
  });

  it('is looked at anew when something was mended, also while a look is under way', async () => {
    const site = new Site();
    site.box.on.folders = () => trouble(failed);
    await site.started();
    site.box.on.folders = async () => await new Promise((resolve) => setTimeout(() => resolve(trouble(failed)), 1_000));
    site.source.mended();
    await site.run(500);
    site.source.mended();
    site.box.on = {};
    site.box.put('a');
    await site.run(500);
    expect(site.handedOver).toEqual(['a']);
  });

  it('with a way that is closed leads to the next one, where nothing is handed over twice', async () => {
    const [ews, graph] = [new FakeMailbox(), new FakeMailbox()];
    graph.transport = 'graph';
    const site = new Site({ boxes: [ews, graph], after: { kind: 'keep' } });
    ews.put('a');
    await site.started();
    expect(site.handedOver).toEqual(['a']);
    graph.put('other id', { searchKey: 'key-a' });
    graph.put('b');
    ews.on.changes = () => trouble(delayed('transport', { cause: 'HTTP 403', code: '4.3.5' }));
    await site.run(60_000 + 15_000 + 100);
    expect(site.handedOver).toEqual(['a', 'b']);
    expect(site.of('pickup.opened').map(({ transport }) => transport)).toEqual(['ews', 'graph']);
    expect([site.of('pickup.failed').length, site.of('pickup.recovered').length]).toEqual([1, 1]);
    expect(await site.spool.cursor(CURSOR)).toBe(`${IN}\n1`);
    expect(await site.spool.cursor(`graph ${SOURCE}`)).toBe(`${IN}\n2`);
    // There is no third.
    graph.on.changes = () => trouble(delayed('transport', { cause: 'HTTP 403', code: '4.3.5' }));
    await site.run(3_600_000);
    expect(site.of('pickup.opened')).toHaveLength(2);
  });
});

describe('the list', () => {
  it('begins anew where the server does not know the cursor: what was handed over stays so', async () => {
    const site = new Site({ after: { kind: 'keep' } });
    site.box.put('a');
    await site.started();
    site.box.put('b');
    let isStale = true;
    site.box.on.changes = (cursor) => {
      const was = isStale && cursor !== undefined;
      if (was) isStale = false;
      return was ? { ok: false, stale: true } : undefined;
    };
    await site.run(60_000);
    expect(site.handedOver).toEqual(['a', 'b']);
    expect(site.of('pickup.resynced')).toHaveLength(1);
    expect(site.of('pickup.repeated')).toHaveLength(1);
    expect(site.of('pickup.failed')).toEqual([]);
    expect(await site.spool.cursor(CURSOR)).toBe(`${IN}\n2`);
  });

  it('that begins anew does not forget how often a mail was tried', async () => {
    const site = new Site();
    site.box.put('bad');
    site.box.on.unreadable = () => failed;
    site.box.on.changes = (cursor) => (cursor === undefined ? undefined : { ok: false, stale: true });
    await site.started(1_400_000);
    expect(site.of('pickup.quarantined')).toHaveLength(1);
  });

  const page = (more: Partial<Changes>): Changes & { ok: true } => ({
    ok: true,
    added: [],
    removed: [],
    cursor: '',
    isLast: false,
    ...more,
  });
  let count = 0;
  it.each<[string, (cursor: string | undefined) => ReturnType<typeof page> | { ok: false; stale: true }]>([
    ['knows no beginning', () => ({ ok: false, stale: true })],
    [
      'forgets what it has just given',
      (cursor) => (cursor === undefined ? page({ added: [{ id: 'a' }], cursor: '1' }) : { ok: false, stale: true }),
    ],
    ['stays where it is', () => page({ cursor: 'x' })],
    ['stays where it is and lists', () => page({ added: [{ id: 'a' }], cursor: 'x' })],
    ['goes round in a circle', (cursor) => page({ added: [{ id: 'a' }], cursor: cursor === 'x' ? 'y' : 'x' })],
    ['has no end', () => page({ cursor: String(count++) })],
  ])('that %s is trouble, which is looked at at intervals', async (_, changes) => {
    const site = new Site();
    site.box.on.changes = changes;
    await site.started();
    const calls = site.box.calls.length;
    expect(calls).toBeLessThan(1_100);
    expect(site.of('pickup.failed')).toMatchObject([{ cause: 'unusable answer' }]);
    await site.run(4_999);
    expect(site.box.calls).toHaveLength(calls);
    expect(await site.stop()).toBeLessThan(1_000);
  });

  it('of another folder with the same path begins anew', async () => {
    const site = new Site();
    site.box.put('a');
    await site.started();
    await site.stop();
    expect(await site.spool.cursor(CURSOR)).toBe(`${IN}\n1`);
    site.box.folderIds.set('Inbox', 'new one');
    const again = await site.again().started();
    expect(again.box.calls.filter((call) => call.startsWith('changes')).slice(-1)).toEqual(['changes']);
    expect(await site.spool.cursor(CURSOR)).toBe('new one\n2');
  });

  it('is kept only when all before it is settled', async () => {
    const site = new Site();
    site.box.put('a');
    site.box.put('b');
    site.box.on.fetch = (id) => (id === 'a' ? trouble(delayed('message')) : undefined);
    await site.started();
    expect([site.handedOver, await site.spool.cursor(CURSOR)]).toEqual([['b'], undefined]);
    await site.stop();
    // Whoever begins anew finds what had to wait.
    site.box.on = {};
    const again = await site.again().started();
    expect(site.handedOver).toEqual(['b', 'a']);
    expect(again.of('pickup.repeated')).toEqual([]);
    expect(await site.spool.cursor(CURSOR)).toBe(`${IN}\n3`);
  });

  it('whose page fails in the middle goes on from there', async () => {
    const site = new Site();
    for (let at = 0; at < 20; at++) site.box.put(String(at));
    let isFirst = true;
    site.box.on.changes = (cursor) => {
      if (cursor !== '7' || !isFirst) return undefined;
      isFirst = false;
      return trouble(delayed('mailbox'));
    };
    await site.started(5_000);
    expect(site.box.calls.filter((call) => call.startsWith('changes'))).toEqual([
      'changes',
      'changes 7',
      'changes 7',
      'changes 14',
    ]);
    expect(site.handedOver).toHaveLength(20);
  });
});

describe('trouble with the spool', () => {
  it('that is full: nothing is fetched until there is room', async () => {
    const site = new Site();
    site.box.put('a');
    site.room = () => ({ ok: false, reason: 'full' });
    await site.started(60_000);
    expect(site.box.calls).toEqual([]);
    expect(site.of('pickup.failed')).toMatchObject([{ cause: 'spool full', misconfigured: false }]);
    site.room = () => ({ ok: true });
    await site.run(300_000);
    expect([site.handedOver, site.of('pickup.recovered').length]).toEqual([['a'], 1]);
  });

  it('that becomes full in the middle: what is left waits', async () => {
    const site = new Site({ concurrency: 1 });
    for (const id of 'abc') site.box.put(id);
    site.room = () => (site.handedOver.length < 1 ? { ok: true } : { ok: false, reason: 'full' });
    await site.started();
    // The second was asked for while the first was being made durable.
    expect(site.box.calls.filter((call) => call.startsWith('fetch'))).toHaveLength(2);
    expect(site.of('pickup.failed')).toHaveLength(1);
    site.room = () => ({ ok: true });
    await site.run(60_000);
    expect(site.handedOver).toHaveLength(3);
  });

  it('with room for smaller mail only: one that is too large keeps none out', async () => {
    const site = new Site();
    site.box.put('large', { size: 1_000_000 });
    site.box.put('small');
    site.room = (size = 0) => (size < 1_000 ? { ok: true } : { ok: false, reason: 'full' });
    await site.started();
    expect(site.handedOver).toEqual(['small']);
    expect(site.of('pickup.delayed')).toMatchObject([{ cause: 'spool full', messageId: '<large@test>' }]);
  });

  it.each(['write', 'commit', 'received', 'acknowledge', 'settle', 'cursor', 'keepCursor'] as const)(
    'in %s: no mail is lost, none handed over twice',
    async (where) => {
      const spool = new Site().spool;
      const site = new Site({}, { spool });
      const ledger = { ...bound(site), [where]: () => Promise.reject(full) };
      const broken = new Site(
        { ledger, judge: ({ id }) => (id === 'b' ? { verdict: 'skip', cause: 'other' } : deliver) },
        { box: site.box, spool },
      );
      if (where === 'commit') broken.beforeCommit = () => Promise.reject(full);
      if (where === 'write') broken.box.on.fetch = () => Promise.reject(full);
      site.box.put('a');
      site.box.put('b');
      await broken.started(10_000);
      expect(broken.of('pickup.failed')).toMatchObject([{ cause: 'spool full' }]);
      expect(broken.of('bug')).toEqual([]);
      expect(broken.open).toBe(0);
      Object.assign(ledger, bound(site));
      broken.beforeCommit = () => undefined;
      broken.box.on = {};
      await broken.run(100_000);
      expect(broken.handedOver).toEqual(['a']);
      expect(broken.box.in('id of Processed')).toEqual(['a']);
      expect(await spool.cursor(CURSOR)).toBe(`${IN}\n3`);
      expect(broken.of('pickup.recovered')).toHaveLength(1);
    },
  );
});

const deliver = { verdict: 'deliver', recipients: ['1@fax.local'] } as const;

function bound({ spool }: Site) {
  return {
    received: spool.received.bind(spool),
    acknowledge: spool.acknowledge.bind(spool),
    settle: spool.settle.bind(spool),
    cursor: spool.cursor.bind(spool),
    keepCursor: spool.keepCursor.bind(spool),
  };
}

describe('a crash', () => {
  it('between the spool and the mailbox: filed in the next life, handed over once', async () => {
    const site = new Site();
    for (const id of 'abc') site.box.put(id);
    // It never comes to anything after its first commits.
    site.afterCommit = () => new Promise(() => undefined);
    await site.started();
    expect(site.handedOver).toHaveLength(3);
    expect(site.box.in('in')).toHaveLength(3);
    const again = await site.again().started();
    expect(site.handedOver).toHaveLength(3);
    expect(again.of('pickup.repeated')).toHaveLength(3);
    expect(again.box.in('id of Processed')).toHaveLength(3);
    await again.stop();
    await site.spool.keepCursor(CURSOR, undefined);
    for (const id of 'abc') site.box.back(id);
    await site.again().started();
    expect(site.handedOver).toHaveLength(3);
  });

  it('of one of two gateways on a mailbox hands nothing over twice', async () => {
    const one = new Site();
    const other = one.again();
    for (let at = 0; at < 50; at++) one.box.put(String(at));
    await Promise.all([one.started(), other.started()]);
    await one.run(60_000);
    expect(one.handedOver.toSorted()).toEqual(Array.from({ length: 50 }, (_, at) => String(at)).toSorted());
    expect(one.box.in('id of Processed')).toHaveLength(50);
    expect([one.open, other.open]).toEqual([0, 0]);
  });
});

describe('notifications', () => {
  class Ear {
    news: () => void = () => undefined;
    heard: number[] = [];
    end: (status?: ReturnType<typeof delayed>) => void = () => undefined;
    readonly listen = (_: string, news: () => void, signal: AbortSignal) =>
      new Promise<{ ok: true } | ReturnType<typeof trouble>>((resolve) => {
        this.heard.push(Date.now());
        this.news = news;
        this.end = (status) => resolve(status === undefined ? { ok: true } : trouble(status));
        signal.addEventListener('abort', () => resolve({ ok: true }), { once: true });
      });
  }

  function listening(more: ConstructorParameters<typeof Site>[0] = {}): { site: Site; ear: Ear } {
    const site = new Site(more);
    const ear = new Ear();
    site.box.listen = ear.listen;
    return { site, ear };
  }

  it('end a wait', async () => {
    const { site, ear } = listening();
    await site.started(1_000);
    expect(site.of('pickup.opened')).toMatchObject([{ listens: true }]);
    site.box.put('a');
    ear.news();
    await site.run();
    expect(site.handedOver).toEqual(['a']);
    expect(site.of('pickup.polled').at(-1)).toMatchObject({ why: 'news', found: 1 });
  });

  it('during a look lead to one more', async () => {
    const { site, ear } = listening();
    await site.started(1_000);
    site.box.put('a');
    site.box.on.fetch = () => {
      site.box.put('b');
      ear.news();
      ear.news();
      delete site.box.on.fetch;
      return undefined;
    };
    ear.news();
    await site.run();
    expect(site.handedOver).toEqual(['a', 'b']);
    expect(site.of('pickup.polled')).toHaveLength(3);
  });

  it('do not hurry a server that is in trouble', async () => {
    const { site, ear } = listening();
    await site.started(1_000);
    const gaps = timed(site, 'changes', () => trouble(delayed('mailbox')));
    ear.news();
    await site.run();
    for (let at = 0; at < 50; at++) {
      ear.news();
      await site.run(100);
    }
    expect(gaps).toEqual([0, 5_000]);
  });

  it('that end otherwise than in due course are asked for at longer and longer intervals', async () => {
    const { site, ear } = listening();
    await site.started(1_000);
    for (const wait of [1_000, 5_000, 30_000, 300_000, 300_000]) {
      const begun = Date.now();
      ear.end(delayed('message'));
      await site.run(wait);
      expect((ear.heard.at(-1) ?? 0) - begun).toBe(wait);
    }
    expect(site.of('pickup.deaf')).toHaveLength(5);
    await site.run(60_001);
    ear.end(delayed('message'));
    await site.run(1_000);
    expect(ear.heard.at(-1)).toBe(Date.now());
    expect(site.of('pickup.failed')).toEqual([]);
    expect(site.of('pickup.polled').length).toBeGreaterThan(10);
  });

  it.each([{ notifications: false }, {}])('are not asked for: %j', async (more) => {
    const site = new Site(more);
    if (more.notifications === false) site.box.listen = () => Promise.reject(new Error('asked'));
    site.box.put('a');
    await site.started(60_000);
    expect(site.of('pickup.opened')).toMatchObject([{ listens: false }]);
    expect(site.of('bug')).toEqual([]);
    expect(vi.getTimerCount()).toBe(1);
  });

  it('that throw are a bug, and the looks go on', async () => {
    const site = new Site();
    site.box.listen = () => Promise.reject(new Error('oops'));
    await site.started(70_000);
    expect(site.of('bug').length).toBeGreaterThan(1);
    expect(site.of('pickup.polled')).toHaveLength(2);
  });
});

describe('the end', () => {
  it.each(['folders', 'changes', 'describe', 'fetch', 'file', 'sleep', 'trouble', 'listen'] as const)(
    'comes within a second during %s, without a word of trouble',
    async (phase) => {
      const site = new Site();
      for (const id of 'abcdefghij') site.box.put(id);
      // As the real ones do: a call ends with trouble when its signal aborts.
      const stuck = (...all: readonly unknown[]) =>
        new Promise<ReturnType<typeof trouble>>((resolve) => {
          const end = (): void => resolve(trouble(delayed('transport', { cause: 'aborted' })));
          const signal = all.at(-1) as AbortSignal;
          if (signal.aborted) end();
          else signal.addEventListener('abort', end, { once: true });
        });
      if (phase === 'trouble') site.box.on.changes = () => trouble(failed);
      else if (phase !== 'sleep') Object.assign(site.box, { [phase]: stuck });
      await site.started(1_000);
      if (phase === 'trouble') site.events.length = 0;
      // Fetching and filing may end of themselves for as long as the budget lasts.
      expect(await site.stop(phase === 'fetch' || phase === 'file' ? 500 : 8_000)).toBeLessThan(1_000);
      const told = site.events.filter(({ event }) => /failed|delayed|quarantined|deaf|bug/.test(event));
      expect([told, vi.getTimerCount(), site.open]).toEqual([[], 0, 0]);
      // The next life makes up for it.
      site.box.on = {};
      if (Object.hasOwn(site.box, phase)) Reflect.deleteProperty(site.box, phase);
      const again = await site.again().started();
      expect(site.handedOver.toSorted()).toEqual([...'abcdefghij']);
      await again.stop();
    },
  );

  it('lets what is under way finish, and begins nothing new', async () => {
    const site = new Site({ concurrency: 2 });
    for (const id of 'abcdef') site.box.put(id);
    site.box.on.fetch = async () => await new Promise((resolve) => setTimeout(() => resolve(undefined), 2_000));
    await site.started(500);
    expect(await site.stop()).toBeLessThan(1_600);
    expect(site.handedOver).toHaveLength(2);
    expect(site.box.in('id of Processed')).toHaveLength(2);
    expect(await site.spool.cursor(CURSOR)).toBeUndefined();
  });
});
