/** The loop of a pickup under simulated time: what becomes of each mail, and what trouble leads to. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PickupOptions } from '../../src/exchange/pickup.ts';
import type { Verdict } from '../../src/mail/pickup-rules.ts';
import type { ReceivedMail } from '../../src/mail/received.ts';
import { delayed, failed, Site, trouble } from './pickup-site.ts';

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000_000_000 }));
afterEach(() => void vi.useRealTimers());

const SOURCE = 'fax@contoso.com/inbox';
const receipts = (site: Site) =>
  Object.fromEntries([...site.spool.receipts].map(([name, isSettled]) => [name.split('\n').at(-1), isSettled]));
const kept = (site: Site) => site.spool.cursor(`ews ${SOURCE}`);
const IN = 'id of Inbox';

describe('a mail', () => {
  it('is handed over and filed', async () => {
    const site = new Site();
    site.box.put('a', { subject: 'x' }, 'Subject: a\r\nBcc: secret@x.test\r\n\r\nno line end');
    await site.started();
    const [item] = site.spool.items.values();
    expect(item).toMatchObject({
      route: 'fax',
      mailbox: 'fax@contoso.com',
      messageId: '<a@test>',
      envelope: { reversePath: 'alice@contoso.com', recipients: [{ address: '4711@fax.local' }] },
      origin: { source: 'pickup', name: 'fax', peer: '', receivedAt: 1_000_000_000_000 },
    });
    const body = site.bodies.get('<a@test>') ?? '';
    expect(body).toMatch(/^Received: /);
    expect(body).not.toContain('secret');
    expect(body.endsWith('no line end\r\n')).toBe(true);
    expect(body.slice(0, item?.headerSize)).toMatch(/\r\n\r\n$/);
    expect(site.box.in('id of Processed')).toEqual(['a']);
    expect(receipts(site)).toEqual({ 'key-a': true });
    expect(await kept(site)).toBe(`${IN}\n1`);
    expect(site.of('pickup.opened')).toMatchObject([{ folder: 'Inbox', transport: 'ews', listens: false }]);
    expect(site.of('pickup.polled')).toMatchObject([{ why: 'start', found: 1 }]);
    expect(site.of('pickup.filed')).toMatchObject([{ messageId: '<a@test>', filing: 'move', gone: false }]);
  });

  const filings: [PickupOptions['after'], string[], { isSettled: boolean; isRead: boolean }][] = [
    [{ kind: 'move', folder: 'Processed' }, ['file a id of Processed'], { isSettled: true, isRead: false }],
    [{ kind: 'delete' }, ['file a delete'], { isSettled: true, isRead: false }],
    [{ kind: 'read' }, ['file a read'], { isSettled: false, isRead: true }],
    [{ kind: 'keep' }, [], { isSettled: false, isRead: false }],
  ];
  it.each(filings)('is filed by %j', async (after, calls, { isSettled, isRead }) => {
    for (const transport of ['ews', 'graph'] as const) {
      const site = new Site({ after });
      site.box.transport = transport;
      const item = site.box.put('a');
      await site.started(200_000);
      expect(site.box.calls.filter((call) => call.startsWith('file'))).toEqual(calls);
      expect(item.mail.isRead).toBe(isRead);
      expect(receipts(site)).toEqual({ 'key-a': isSettled });
      expect(site.handedOver).toEqual(['a']);
      expect(site.of('pickup.repeated')).toEqual([]);
      expect(await site.spool.cursor(`${transport} ${SOURCE}`)).toBe(`${IN}\n${site.box.changed.length}`);
    }
  });

  it('that was read is not taken where it would be marked so', async () => {
    const site = new Site({ after: { kind: 'read' } });
    site.box.put('a', { isRead: true });
    await site.started();
    expect([site.handedOver, receipts(site)]).toEqual([[], {}]);
  });

  const verdicts: [Verdict, { folder: string; receipts: Record<string, boolean>; event: object }][] = [
    [
      { verdict: 'refuse', cause: 'sender', reason: 'no' },
      {
        folder: 'id of Refused',
        receipts: { 'refused:key-a': true },
        event: { event: 'pickup.refused', cause: 'sender', told: false },
      },
    ],
    [
      { verdict: 'skip', cause: 'meeting' },
      {
        folder: 'in',
        receipts: { 'skipped:key-a': false },
        event: { event: 'pickup.skipped', cause: 'meeting', from: 'alice@contoso.com' },
      },
    ],
    [
      { verdict: 'quarantine', cause: 'loop', reason: 'round' },
      {
        folder: 'id of Quarantine',
        receipts: {},
        event: { event: 'pickup.quarantined', cause: 'loop', reason: 'round', left: false },
      },
    ],
  ];
  it.each(verdicts)('is not handed over: %j', async (verdict, expected) => {
    const site = new Site({ judge: () => verdict });
    site.box.put('a');
    await site.started();
    expect(site.handedOver).toEqual([]);
    expect(site.box.in(expected.folder)).toEqual(['a']);
    expect(receipts(site)).toEqual(expected.receipts);
    expect(site.events).toContainEqual(expect.objectContaining({ ...expected.event, messageId: '<a@test>' }));
    expect(await kept(site)).toBe(`${IN}\n1`);
    // Told once, however often it is listed.
    const again = site.again({ judge: () => verdict });
    await site.spool.keepCursor(`ews ${SOURCE}`, undefined);
    await site.stop();
    await again.started();
    expect(again.of('pickup.skipped')).toEqual([]);
  });

  it.each(verdicts.filter(([{ verdict }]) => verdict !== 'skip'))(
    'that was moved back is judged again: %j',
    async (verdict) => {
      let now: Verdict = verdict;
      const site = new Site({ judge: () => now });
      site.box.put('a');
      await site.started();
      now = { verdict: 'deliver', recipients: ['1@fax.local'] };
      site.box.back('a');
      await site.run(60_000);
      expect(site.handedOver).toEqual(['a']);
      expect(site.box.in('id of Processed')).toEqual(['a']);
    },
  );

  it('that was skipped stays when a lost cursor lists it under new rules', async () => {
    const site = new Site({ judge: () => ({ verdict: 'skip', cause: 'meeting' }) });
    site.box.put('a');
    await site.started();
    await site.stop();
    await site.spool.keepCursor(`ews ${SOURCE}`, undefined);
    const again = await site.again({ judge: () => ({ verdict: 'deliver', recipients: ['1@x.test'] }) }).started();
    expect([again.handedOver, again.box.in('in')]).toEqual([[], ['a']]);
  });

  it('that was handed over stays so under rules that refuse it', async () => {
    const site = new Site({ after: { kind: 'keep' } });
    site.box.put('a');
    await site.started();
    await site.stop();
    await site.spool.keepCursor(`ews ${SOURCE}`, undefined);
    const judge = (): Verdict => ({ verdict: 'refuse', cause: 'sender', reason: 'no' });
    const again = await site.again({ judge }).started();
    expect([again.handedOver, again.box.in('in'), again.of('pickup.refused')]).toEqual([['a'], ['a'], []]);
  });

  it('that was handed over and is moved back is only filed, and its receipt holds until it is gone again', async () => {
    const site = new Site();
    site.box.put('a');
    await site.started();
    site.box.back('a');
    site.box.on.file = () => trouble(delayed('message'));
    await site.run(60_000);
    expect(site.handedOver).toEqual(['a']);
    expect(receipts(site)).toEqual({ 'key-a': false });
    expect(site.of('pickup.repeated')).toHaveLength(1);
    site.box.on = {};
    await site.run(60_000);
    expect(receipts(site)).toEqual({ 'key-a': true });
    expect(site.box.in('id of Processed')).toEqual(['a']);
    expect(site.of('pickup.repeated')).toHaveLength(1);
  });

  it('that lies there twice is handed over once, and both are filed', async () => {
    const site = new Site();
    site.box.put('a', { searchKey: 'same' });
    site.box.put('copy', { searchKey: 'same', messageId: '<a@test>' });
    await site.started();
    expect(site.handedOver).toEqual(['a']);
    expect(site.box.in('id of Processed')).toEqual(['a', 'copy']);
    expect([site.open, receipts(site)]).toEqual([0, { same: true }]);
  });

  it('without a search key is known by its id', async () => {
    const site = new Site({ after: { kind: 'keep' } });
    const { mail } = site.box.put('a');
    const { searchKey: _, ...without } = mail;
    const item = site.box.items.get('a');
    if (item !== undefined) item.mail = without;
    await site.started();
    expect(receipts(site)).toEqual({ 'id:a': false });
  });

  it.each(['describe', 'fetch', 'file'] as const)('that a user moves away before %s is done with', async (when) => {
    const site = new Site();
    site.box.put('a', { receivedAt: 1 });
    site.box.put('b', { receivedAt: 2 });
    site.box.on[when] = (...[what]: readonly unknown[]) => {
      if (what === 'a' || Array.isArray(what)) site.box.leave('a', 'elsewhere');
      return undefined;
    };
    await site.started();
    expect(site.handedOver).toEqual(when === 'file' ? ['a', 'b'] : ['b']);
    expect(site.box.in('elsewhere')).toEqual(['a']);
    expect(site.events.filter(({ event }) => /delayed|failed|quarantined/.test(event))).toEqual([]);
    await site.run(60_000);
    expect([site.open, await kept(site)]).toEqual([0, `${IN}\n4`]);
  });

  it('is listed as gone and as there in one page: what is true is asked', async () => {
    const site = new Site();
    site.box.put('a');
    site.box.on.changes = () => ({ ok: true, added: [{ id: 'a' }], removed: ['a'], cursor: 'x', isLast: true });
    await site.started();
    expect(site.handedOver).toEqual(['a']);
  });
});

describe('order', () => {
  const orders: [string, (number | undefined)[], string[]][] = [
    ['newest first', [50, 40, 30, 20, 10], ['e', 'd', 'c', 'b', 'a']],
    ['mixed', [30, 10, 50, 20, 40], ['b', 'd', 'a', 'e', 'c']],
    ['without dates, newest first', [undefined, undefined, undefined, undefined, undefined], ['e', 'd', 'c', 'b', 'a']],
  ];
  it.each(orders)('is oldest first: listed %s', async (_, times, expected) => {
    const site = new Site();
    for (const [at, receivedAt] of times.entries()) {
      const id = 'abcde'.charAt(at);
      site.box.put(id, receivedAt === undefined ? {} : { receivedAt });
      if (receivedAt === undefined) site.box.changed.splice(-1, 1, { id });
    }
    site.box.page = 2;
    // The later one is through sooner.
    site.box.on.fetch = async (id) => {
      await new Promise((resolve) => setTimeout(resolve, 100 - 20 * expected.indexOf(id)));
      return undefined;
    };
    await site.started(1_000);
    expect(site.handedOver).toEqual(expected);
  });

  it('does not wait for the filing of what goes before', async () => {
    const site = new Site();
    site.box.put('a');
    site.box.put('b');
    await site.spool.acknowledge({ source: SOURCE, key: 'key-a' });
    site.box.on.file = (id) => (id === 'a' ? new Promise(() => undefined) : undefined);
    await site.started(1_000);
    expect(site.handedOver).toEqual(['b']);
  });

  it('of 10,000 mails in pages is worked off in batches, some at a time', async () => {
    const site = new Site({ after: { kind: 'keep' }, concurrency: 3 });
    let most = 0;
    let now = 0;
    site.box.on.fetch = async () => {
      most = Math.max(most, ++now);
      await Promise.resolve();
      now--;
      return undefined;
    };
    site.box.page = 500;
    for (let at = 0; at < 10_000; at++) site.box.put(String(at), { receivedAt: 20_000 - at });
    await site.started();
    expect(site.handedOver).toEqual(Array.from({ length: 10_000 }, (_, at) => String(9_999 - at)));
    expect(most).toBe(3);
    // What is being made durable, or waits for that, takes up no request.
    expect(site.mostOpen).toBeLessThanOrEqual(20);
    const described = site.box.calls
      .filter((call) => call.startsWith('describe'))
      .map((call) => call.split(' ').length - 1);
    expect(Math.max(...described)).toBe(20);
    expect(site.of('pickup.polled')).toMatchObject([{ found: 10_000 }]);
  });

  it('holds among 50,000, and more are listed as soon as these are done', async () => {
    const site = new Site();
    let at = 0;
    let most = 0;
    // Gone by the time they are described.
    site.box.on.describe = () => ({ ok: true, mails: [], unreadable: [] });
    site.box.on.changes = () => {
      const described = site.box.calls.reduce(
        (sum, call) => sum + (call.startsWith('describe') ? call.split(' ').length - 1 : 0),
        0,
      );
      const added = Array.from({ length: 10_000 }, () => ({ id: String(at++) }));
      most = Math.max(most, at - described);
      return { ok: true, added, removed: [], cursor: String(at), isLast: at === 120_000 };
    };
    await site.started(10);
    expect([at, most]).toEqual([120_000, 50_000]);
    expect(site.of('pickup.polled').reduce((sum, { found }) => sum + found, 0)).toBe(120_000);
    expect(await kept(site)).toBe(`${IN}\n120000`);
  });
});

describe('trouble with one mail', () => {
  it('of one that cannot be described: tried five times, put aside, and nothing waits for it', async () => {
    const site = new Site();
    site.box.put('bad');
    site.box.put('good');
    site.box.on.unreadable = (id) => (id === 'bad' ? failed : undefined);
    await site.started();
    expect(site.handedOver).toEqual(['good']);
    expect(await kept(site)).toBeUndefined();
    await site.run(30_000 + 60_000 + 300_000 + 900_000);
    expect(site.of('pickup.delayed').map(({ tries }) => tries)).toEqual([1, 2, 3, 4]);
    expect(site.of('pickup.quarantined')).toMatchObject([{ cause: 'ErrorItemCorrupt', left: false }]);
    expect(site.box.in('id of Quarantine')).toEqual(['bad']);
    expect(await kept(site)).toBe(`${IN}\n3`);
    expect(receipts(site)).toEqual({ 'key-good': true });
  });

  it.each([
    ['failed', failed, 0, []],
    ['capped', delayed('message', { capped: true }), 1_300_000, [1, 2, 3, 4]],
    ['the network', delayed('message'), 20 * 3_600_000, Array.from({ length: 19 }, (_, at) => at + 1)],
  ] as const)('of one that cannot be fetched: %s', async (_, status, time, tries) => {
    const site = new Site();
    site.box.put('bad');
    site.box.on.fetch = (id) => (id === 'bad' ? trouble(status) : undefined);
    await site.started(time);
    expect(site.of('pickup.delayed').map((event) => event.tries)).toEqual(tries);
    expect(site.of('pickup.quarantined')).toMatchObject([
      { cause: status.cause, messageId: '<bad@test>', left: false },
    ]);
    expect([site.handedOver, site.open]).toEqual([[], 0]);
    // Moved back, it is taken.
    site.box.on = {};
    site.box.back('bad');
    await site.run(60_000);
    expect(site.handedOver).toEqual(['bad']);
  });

  it('of one that can be neither fetched nor moved: left where it is, and never looked at again', async () => {
    const site = new Site();
    site.box.put('bad');
    site.box.on.fetch = () => trouble(failed);
    site.box.on.file = () => trouble(failed);
    await site.started();
    expect(site.of('pickup.quarantined')).toMatchObject([{ left: true }]);
    expect(await kept(site)).toBe(`${IN}\n1`);
    await site.stop();
    await site.spool.keepCursor(`ews ${SOURCE}`, undefined);
    site.box.on = {};
    const again = await site.again().started(60_000);
    expect([again.handedOver, again.box.in('in'), again.of('pickup.quarantined')]).toEqual([[], ['bad'], []]);
  });

  it('of one that can be neither described nor moved: the same', async () => {
    const site = new Site();
    site.box.put('bad');
    site.box.on.unreadable = () => failed;
    site.box.on.file = () => trouble(failed);
    await site.started(1_300_000);
    expect(site.of('pickup.quarantined')).toMatchObject([{ left: true }]);
    await site.stop();
    await site.spool.keepCursor(`ews ${SOURCE}`, undefined);
    const again = await site.again().started(1_300_000);
    expect([again.of('pickup.delayed'), again.of('pickup.quarantined')]).toEqual([[], []]);
  });

  it('of one that cannot be put aside while the mailbox is in trouble is not given up', async () => {
    const site = new Site();
    site.box.put('bad');
    site.box.on.fetch = () => trouble(failed);
    site.box.on.file = () => trouble(delayed('mailbox'));
    await site.started(60_000);
    expect(site.of('pickup.quarantined')).toEqual([]);
    delete site.box.on.file;
    await site.run(120_000);
    expect(site.of('pickup.quarantined')).toMatchObject([{ left: false }]);
  });

  it.each([
    ['the network', delayed('message'), 20],
    ['capped', delayed('message', { capped: true }), 5],
  ] as const)('of one that cannot be put aside at once is tried again: %s', async (_, status, most) => {
    const site = new Site();
    site.box.put('bad');
    site.box.on.fetch = () => trouble(failed);
    let left = most - 1;
    site.box.on.file = () => (left-- > 0 ? trouble(status) : undefined);
    await site.started(24 * 3_600_000);
    expect(site.of('pickup.delayed')).toHaveLength(most - 1);
    expect(site.of('pickup.quarantined')).toMatchObject([{ cause: failed.cause, left: false }]);
    expect([site.handedOver, site.box.in('id of Quarantine'), receipts(site)]).toEqual([[], ['bad'], {}]);
    // Nor for ever.
    site.box.put('worse');
    site.box.on.file = () => trouble(status);
    await site.run(24 * 3_600_000);
    expect(site.of('pickup.quarantined').map((event) => event.left)).toEqual([false, true]);
  });

  it('of one that was handed over and cannot be filed: no second time, no repetition, put aside without a word', async () => {
    const site = new Site();
    site.box.put('a');
    site.box.on.file = (_, filing) =>
      filing.kind === 'move' && filing.folder === 'id of Processed'
        ? trouble(delayed('message', { capped: true }))
        : undefined;
    await site.started(1_300_000);
    expect(site.handedOver).toEqual(['a']);
    expect(site.box.calls.filter((call) => call.startsWith('fetch'))).toHaveLength(1);
    expect(site.box.in('id of Quarantine')).toEqual(['a']);
    expect(receipts(site)).toEqual({ 'key-a': true });
    expect([...site.of('pickup.quarantined'), ...site.of('pickup.repeated')]).toEqual([]);
  });

  it('that throws is its own: the others go on, and it is put aside', async () => {
    const judge = ({ id }: ReceivedMail): Verdict => {
      if (id === 'bad') throw new TypeError('oops');
      return { verdict: 'deliver', recipients: ['1@fax.local'] };
    };
    const site = new Site({ judge });
    site.box.put('bad');
    site.box.put('good');
    await site.started(1_300_000);
    expect(site.handedOver).toEqual(['good']);
    expect(site.of('bug')).toHaveLength(5);
    expect(site.of('pickup.quarantined')).toMatchObject([{ cause: 'internal error', messageId: '<bad@test>' }]);
    expect(site.of('pickup.failed')).toEqual([]);
  });

  it("that is told as everybody's holds up the others for three rounds only", async () => {
    const site = new Site({ concurrency: 1 });
    site.box.put('bad', { receivedAt: 1 });
    site.box.put('good');
    site.box.on.fetch = (id) =>
      id === 'bad' ? trouble(delayed('mailbox', { cause: 'ErrorAccessDenied' })) : undefined;
    await site.started(5_000 + 15_000);
    expect(site.handedOver).toEqual([]);
    await site.run(30_000);
    expect(site.handedOver).toEqual(['good']);
    await site.run(24 * 3_600_000);
    // It is tried again and again, and not put aside: perhaps it is the mailbox after all.
    expect(site.of('pickup.quarantined')).toEqual([]);
    expect(await kept(site)).toBeUndefined();
    site.box.on = {};
    await site.run(3_700_000);
    expect(site.handedOver).toEqual(['good', 'bad']);
  });

  it('of three in a row is taken for everybody', async () => {
    const site = new Site({ concurrency: 1 });
    for (const id of 'abcdef') site.box.put(id);
    site.box.on.fetch = () => trouble(delayed('message', { cause: 'ECONNRESET' }));
    await site.started();
    expect(site.box.calls.filter((call) => call.startsWith('fetch'))).toHaveLength(3);
    expect(site.of('pickup.failed')).toMatchObject([{ cause: 'ECONNRESET' }]);
    site.box.on = {};
    await site.run(60_000);
    expect(site.of('pickup.recovered')).toHaveLength(1);
    expect(site.handedOver.toSorted()).toEqual([...'abcdef']);
  });

  it('with a header without end is put aside', async () => {
    const site = new Site();
    site.box.put('a', {}, `Subject: ${'x'.repeat(3_000_000)}\r\n\r\n`);
    await site.started();
    expect(site.of('pickup.quarantined')).toMatchObject([{ cause: 'unusable message' }]);
    expect([site.handedOver, site.open]).toEqual([[], 0]);
  });

  it('waits as long as the server says, between a second and an hour', async () => {
    const waits: number[] = [];
    for (const retryAfter of [0, 7_000, 10 * 24 * 3_600_000]) {
      const site = new Site();
      site.box.put('a');
      site.box.on.fetch = () => trouble(delayed('message', { retryAfter }));
      await site.started();
      waits.push((site.of('pickup.delayed')[0]?.due ?? 0) - Date.now());
      await site.stop();
    }
    expect(waits).toEqual([1_000, 7_000, 3_600_000]);
  });
});
