/** Who is told that a message failed or is late, and who is not; and what becomes of the item. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Envelope } from '../../src/mail/envelope.ts';
import type { Event } from '../../src/mail/event.ts';
import type { NewItem, QueueItem } from '../../src/mail/item.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import type { Delayed, DeliveryStatus, Failed, Relayed, Verification } from '../../src/mail/status.ts';
import type { Transport } from '../../src/mail/transport.ts';
import type { BounceOptions, Notice, PickupNotices } from '../../src/queue/bounce.ts';
import { createBouncer } from '../../src/queue/bounce.ts';
import type { Queue } from '../../src/queue/queue.ts';
import { createQueue } from '../../src/queue/queue.ts';
import { MemorySpool } from './memory-spool.ts';

const T0 = 1_800_000_000_000;
const HOUR = 3_600_000;
const failed: Failed = { outcome: 'failed', code: '5.1.1', cause: 'ErrorInvalidRecipients', text: 'no such recipient' };
const relayed: Relayed = { outcome: 'relayed', code: '2.0.0', cause: 'NoError', text: 'delivered' };
const later: Delayed = { outcome: 'delayed', code: '4.2.0', cause: 'ErrorX', text: 'not now', reach: 'message' };

interface Mail {
  readonly envelope?: Partial<Envelope>;
  readonly header?: string;
  readonly body?: string;
  readonly source?: 'smtp' | 'gateway';
  readonly route?: string;
}

/** By the way out, not by the one that hands over. */
const notices: PickupNotices = { route: 'exchange', mailbox: 'desk@contoso.com', success: true, failure: true };
const pickups = (more: Partial<PickupNotices> = {}) => new Map([['fax', { ...notices, ...more }]]);

function entry({ envelope, header = '', source = 'smtp', route = 'exchange' }: Mail = {}): NewItem & {
  readonly block: string;
} {
  const block = `From: app@contoso.com\r\nSubject: seven\r\n${header}\r\n`;
  return {
    block,
    route,
    mailbox: 'sender@contoso.com',
    envelope: { reversePath: 'app@contoso.com', recipients: [{ address: 'x@contoso.com' }], ...envelope },
    origin: { source, name: 'lan', peer: '127.0.0.1' },
    messageId: '<m@contoso.com>',
    headerSize: block.length,
  };
}

async function textOf(spool: MemorySpool, item: QueueItem): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of spool.open(item.message)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('the bouncer', () => {
  let spool: MemorySpool;
  beforeEach(() => {
    spool = new MemorySpool(() => T0);
  });

  async function claimed(mail: Mail = {}): Promise<QueueItem> {
    const { block, ...item } = entry(mail);
    await spool.inject(item, `${block}${mail.body ?? 'body'}`);
    const [found] = await spool.claim(item, { now: T0, limit: 1, leaseUntil: T0 });
    if (found === undefined) throw new Error('nothing due');
    return found;
  }
  const bouncer = (more: Partial<BounceOptions> = {}) =>
    createBouncer({ spool, hostname: 'gateway.contoso.com', send: true, body: 'headers', now: () => T0, ...more });
  const bounced = async (mail: Mail, more: Partial<BounceOptions> = {}): Promise<Notice> =>
    bouncer(more).bounce(await claimed(mail), failed, false);

  const untold: [string, Mail, Partial<BounceOptions>, string][] = [
    ['bounces.send is false', {}, { send: false }, 'bounces.send'],
    ['the null reverse-path', { envelope: { reversePath: '' } }, {}, 'null reverse-path'],
    ['the gateway itself', { source: 'gateway' }, {}, 'of the gateway itself'],
    ['Auto-Submitted', { header: 'Auto-Submitted: auto-generated\r\n' }, {}, 'Auto-Submitted'],
    ['Auto-Submitted, folded', { header: 'auto-submitted:\r\n auto-replied (x)\r\n' }, {}, 'Auto-Submitted'],
    ['List-Id', { header: 'List-Id: <l.contoso.com>\r\n' }, {}, 'List-Id'],
    ...['bulk', 'junk', 'List'].map((word): [string, Mail, Partial<BounceOptions>, string] => [
      `Precedence: ${word}`,
      { header: `Precedence: ${word}\r\n` },
      {},
      'Precedence',
    ]),
    [
      'a report',
      { header: 'Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n' },
      {},
      'multipart/report',
    ],
    ['NOTIFY=NEVER', { envelope: { recipients: [{ address: 'x@contoso.com', notify: ['never'] }] } }, {}, 'NOTIFY'],
    [
      'NOTIFY without FAILURE',
      { envelope: { recipients: [{ address: 'x@contoso.com', notify: ['success', 'delay'] }] } },
      {},
      'NOTIFY',
    ],
    ['a denied sender', {}, { recipients: { allow: ['*'], deny: ['app@contoso.com'] } }, 'recipients.deny'],
    ['a sender not allowed', {}, { recipients: { allow: ['@fabrikam.com'], deny: [] } }, 'recipients.allow'],
    ...[
      'root',
      'root@localhost',
      'a@pbx',
      'a@gateway.contoso.com',
      'a@x.localdomain',
      'a b@contoso.com',
      'a@x.invalid',
    ].map((reversePath): [string, Mail, Partial<BounceOptions>, string] => [
      `a sender ${reversePath}`,
      { envelope: { reversePath } },
      {},
      'bounces.postmaster',
    ]),
  ];
  it.each(untold)('tells nobody for %s', async (_, mail, options, why) => {
    const notice = await bounced(mail, options);
    expect(notice).toMatchObject({ told: false, why: expect.stringContaining(why) as string });
    expect(spool.items.size).toBe(1);
    expect([...spool.items.values()][0]?.state).toBe('sending');
  });

  const told: [string, Mail, Partial<BounceOptions>, string][] = [
    ['a sender', {}, {}, 'app@contoso.com'],
    ['Auto-Submitted: no', { header: 'Auto-Submitted: no\r\n' }, {}, 'app@contoso.com'],
    ['Precedence: first-class', { header: 'Precedence: first-class\r\n' }, {}, 'app@contoso.com'],
    ['a sender with an address literal', { envelope: { reversePath: 'a@[10.0.0.1]' } }, {}, 'a@[10.0.0.1]'],
    [
      'the postmaster, where the sender cannot receive',
      { envelope: { reversePath: 'root@pbx' } },
      { postmaster: 'postmaster@contoso.com' },
      'postmaster@contoso.com',
    ],
  ];
  it.each(told)('tells %s', async (_, mail, options, to) => {
    const notice = await bounced(mail, options);
    if (!notice.told) throw new Error(notice.why);
    expect(notice.to).toBe(to);
    expect(notice.item).toMatchObject({
      route: 'exchange',
      mailbox: 'sender@contoso.com',
      state: 'queued',
      envelope: { reversePath: '', recipients: [{ address: to }] },
      origin: { source: 'gateway' },
    });
    expect(await textOf(spool, notice.item)).toContain(`\r\nTo: ${to}\r\n`);
    expect([...spool.items.values()].map(({ state }) => state)).toEqual(['bounced', 'queued']);
  });

  it('never bounces a bounce', async () => {
    const notice = await bounced({});
    const [item] = await spool.claim(entry(), { now: T0, limit: 1, leaseUntil: T0 });
    if (!notice.told || item === undefined) throw new Error('no bounce');
    expect(await bouncer().bounce(item, failed, false)).toMatchObject({ told: false });
  });

  it('names only recipients whose sender wants to know, and those as he knows them', async () => {
    const notice = await bounced({
      envelope: {
        envelopeId: 'Q7',
        recipients: [
          { address: 'never@contoso.com', notify: ['never'] },
          { address: 'asked@contoso.com', notify: ['failure'], originalRecipient: 'rfc822;old@contoso.com' },
        ],
      },
    });
    if (!notice.told) throw new Error(notice.why);
    const text = await textOf(spool, notice.item);
    expect(notice.recipients).toEqual(['asked@contoso.com']);
    expect(text).toContain('Original-Recipient: rfc822;old@contoso.com\r\nFinal-Recipient: rfc822; asked@contoso.com');
    expect(text).toContain('Original-Envelope-Id: Q7');
    expect(text).not.toContain('never@contoso.com');
  });

  it.each([
    ['full', undefined, failed, true],
    ['headers', 'full', failed, true],
    ['full', 'headers', failed, false],
    ['headers', undefined, failed, false],
    // It would only be too large again.
    ['full', 'full', { ...failed, code: '5.3.4' }, false],
  ] as const)('bounces.body %s and RET %s', async (body, ret, status, isWhole) => {
    const item = await claimed({ envelope: ret === undefined ? {} : { ret }, body: 'THE BODY' });
    const notice = await bouncer({ body }).bounce(item, status, false);
    if (!notice.told) throw new Error(notice.why);
    const text = await textOf(spool, notice.item);
    expect(text.includes('THE BODY')).toBe(isWhole);
    expect(text).toContain(`Content-Type: ${isWhole ? 'message/rfc822' : 'text/rfc822-headers'}`);
    expect(text).toContain('\r\nSubject: seven\r\n');
  });

  it('says of mail that was given up that its time is over', async () => {
    const notice = await bouncer().bounce(await claimed(), later, true);
    if (!notice.told) throw new Error(notice.why);
    const text = await textOf(spool, notice.item);
    expect(text).toContain('Action: failed\r\nStatus: 5.4.7\r\n');
    expect(text.replace(/\s+/g, ' ')).toContain('The last trouble was: not now');
  });

  it('warns without ending the item', async () => {
    const item = await claimed();
    const notice = await bouncer().warn(item, later, T0 + HOUR);
    if (!notice.told) throw new Error(notice.why);
    expect(await textOf(spool, notice.item)).toContain('Action: delayed\r\nStatus: 4.2.0\r\n');
    expect(spool.items.get(item.id)?.state).toBe('sending');
  });

  it.each([
    [undefined, true],
    [['failure', 'delay'], true],
    [['failure'], false],
    [['never'], false],
  ] as const)('warns with NOTIFY %j: %s', async (notify, isWarned) => {
    const recipient = { address: 'x@contoso.com', ...(notify === undefined ? {} : { notify }) };
    const item = await claimed({ envelope: { recipients: [recipient] } });
    expect((await bouncer().warn(item, later, Infinity)).told).toBe(isWarned);
  });

  describe('of a pickup', () => {
    const fax = { route: 'fax', envelope: { recipients: [{ address: '+49301@fax.local' }] } } satisfies Mail;
    const handedOver = async (mail: Mail, more: Partial<BounceOptions> = {}, isFinished = false): Promise<Notice> =>
      bouncer({ pickups: pickups(), ...more }).relayed(await claimed(mail), relayed, isFinished);

    it('tells that a mail was handed over, by the way out, and finishes the item', async () => {
      const item = await claimed({ ...fax, body: 'THE BODY' });
      const made = bouncer({ pickups: pickups(), send: false, body: 'full' });
      const notice = await made.relayed(item, relayed, false);
      if (!notice.told) throw new Error(notice.why);
      expect(notice).toMatchObject({ to: 'app@contoso.com', recipients: ['+49301@fax.local'] });
      expect(notice.item).toMatchObject({
        route: 'exchange',
        mailbox: 'desk@contoso.com',
        envelope: { reversePath: '', recipients: [{ address: 'app@contoso.com', notify: ['never'] }] },
        origin: { source: 'gateway' },
      });
      const text = await textOf(spool, notice.item);
      expect(text).toContain('Action: relayed\r\nStatus: 2.0.0\r\n');
      expect(text).toContain('\r\nFrom: Mail Delivery System <desk@contoso.com>\r\n');
      expect(text).toContain('\r\nAuto-Submitted: auto-replied\r\n');
      expect(text).not.toContain('THE BODY');
      expect([...spool.items.values()].map(({ state }) => state)).toEqual(['relayed', 'queued']);
      // Whoever asks again, after a crash say, tells nobody.
      expect(await made.relayed(item, relayed, false)).toMatchObject({ told: false });
      expect(spool.items.size).toBe(2);
    });

    it('tells of what has ended already', async () => {
      const item = await claimed(fax);
      const notice = await bouncer({ pickups: pickups() }).relayed(item, relayed, true);
      expect(notice).toMatchObject({ told: true });
      expect(spool.items.get(item.id)?.state).toBe('sending');
    });

    it.each<[string, Mail, Partial<BounceOptions>]>([
      ['another route', {}, {}],
      ['no pickup at all', fax, { pickups: new Map() }],
      ['one that wants none', fax, { pickups: pickups({ success: false }) }],
      ['the null reverse-path', { ...fax, envelope: { reversePath: '' } }, {}],
      ['a message of our own', { ...fax, source: 'gateway' }, {}],
      ['a program', { ...fax, header: 'Auto-Submitted: auto-generated\r\n' }, {}],
      ['a list', { ...fax, header: 'List-Id: <x.contoso.com>\r\n' }, {}],
      ['a report', { ...fax, header: 'Content-Type: multipart/report; boundary=x\r\n' }, {}],
      ['who wants no answer', { ...fax, header: 'X-Auto-Response-Suppress: DR, RN\r\n' }, {}],
      ['who may not be sent to', fax, { recipients: { allow: ['*'], deny: ['app@contoso.com'] } }],
      ['who cannot receive', { ...fax, envelope: { reversePath: 'root@pbx' } }, { postmaster: 'p@contoso.com' }],
      ['who asked for none', { ...fax, envelope: { recipients: [{ address: 'x@y.test', notify: ['failure'] }] } }, {}],
    ])('tells of no success: %s', async (_, mail, options) => {
      expect(await handedOver(mail, options)).toMatchObject({ told: false });
      expect([...spool.items.values()].map(({ state }) => state)).toEqual(['sending']);
    });

    it.each([true, false])(
      'tells of a failure, and that it is late, only where that is wanted: %s',
      async (failure) => {
        const options = { pickups: pickups({ failure }), send: !failure };
        const item = await claimed(fax);
        const late = await bouncer(options).warn(item, later, Infinity);
        const lost = await bouncer(options).bounce(item, failed, false);
        expect([late.told, lost.told]).toEqual([failure, failure]);
        const made = [...spool.items.values()].filter(({ origin }) => origin.source === 'gateway');
        const by = { route: 'exchange', mailbox: 'desk@contoso.com' };
        expect(made).toMatchObject(failure ? [by, { ...by, tells: item.id }] : []);
      },
    );

    it('uses the words of the operator', async () => {
      const words = { subject: 'Fax to {to}: {status}', text: 'About "{subject}": {reason}' };
      const notice = await handedOver(fax, { pickups: pickups(words) });
      if (!notice.told) throw new Error(notice.why);
      const text = await textOf(spool, notice.item);
      expect(text).toContain('\r\nSubject: Fax to +49301@fax.local: Handed over\r\n');
      expect(text).toContain('\r\n\r\nAbout "seven": delivered (2.0.0)\r\n');
    });

    it('makes trouble with the store a value, and the item is still to be finished', async () => {
      const item = await claimed(fax);
      spool.trouble = new SpoolError('full', 'the disk is full');
      expect(await bouncer({ pickups: pickups() }).relayed(item, relayed, false)).toMatchObject({ told: false });
      expect(spool.items.get(item.id)?.state).toBe('sending');
    });
  });

  it('makes trouble with the store a value', async () => {
    const item = await claimed();
    spool.trouble = new SpoolError('full', 'the disk is full');
    expect(await bouncer().bounce(item, failed, false)).toMatchObject({
      told: false,
      why: expect.stringContaining('the disk is full') as string,
    });
  });
});

describe('the queue', () => {
  let spool: MemorySpool;
  let queue: Queue;
  let events: Event[];
  let answer: (item: QueueItem) => DeliveryStatus;
  let answerToNotice: () => DeliveryStatus;
  let verdict: Verification;
  let sent: string[];

  beforeEach(() => {
    vi.useFakeTimers({
      now: T0,
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
    spool = new MemorySpool(Date.now);
    events = [];
    sent = [];
    answer = () => failed;
    answerToNotice = () => relayed;
    verdict = { outcome: 'absent' };
    const transport: Transport = {
      name: 'fake',
      deliver: async ({ item }) => {
        sent.push(item.id);
        return item.origin.source === 'gateway' ? answerToNotice() : answer(item);
      },
      verify: async () => verdict,
      close: async () => {},
    };
    queue = createQueue({
      spool,
      transports: new Map([
        ['exchange', transport],
        ['fax', transport],
      ]),
      report: (event) => events.push(event),
      schedule: { intervals: [HOUR], giveUpAfter: 24 * HOUR },
      bouncer: createBouncer({
        spool,
        hostname: 'gateway.contoso.com',
        send: true,
        body: 'headers',
        pickups: pickups(),
      }),
      warnAfter: 4 * HOUR,
      pace: { concurrency: 4, perMinute: Infinity },
      concurrency: 16,
      verifyAfter: 90_000,
      attemptTimeout: 600_000,
      random: () => 0.5,
    });
    queue.start();
  });

  afterEach(async () => {
    const ended = queue.stop(AbortSignal.abort());
    await vi.advanceTimersByTimeAsync(60_000);
    await ended;
    vi.useRealTimers();
  });

  async function arrive(mail: Mail = {}): Promise<QueueItem> {
    const { block, ...item } = entry(mail);
    const arrived = await spool.inject(item, `${block}body`);
    queue.arrived(arrived);
    return arrived;
  }
  const names = (): string[] => events.map(({ event }) => event).filter((event) => event !== 'delivery.started');
  const states = (): (string | undefined)[] => [...spool.items.values()].map(({ state }) => state);

  it('bounces what is refused for good, and delivers the bounce', async () => {
    const item = await arrive();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(names()).toEqual(['delivery.failed', 'delivery.bounced', 'delivery.relayed']);
    expect(states()).toEqual(['bounced', 'relayed']);
    expect((await spool.history(item.id)).map(({ what }) => what)).toEqual([
      'accepted',
      'attempted',
      'bounced',
      'told',
    ]);
    await expect(textOf(spool, item)).rejects.toThrow('has no body');
  });

  it.each([
    ['is refused for good', (): DeliveryStatus => failed, 0, ['delivery.failed'], 'refused for good'],
    ['expires', (): DeliveryStatus => later, 30, [], 'within the time that giveUpAfter allows'],
    [
      'meets an unknown error again and again',
      (): DeliveryStatus => ({ ...later, capped: true }),
      12,
      [],
      '8 attempts',
    ],
  ])('parks the message itself when its bounce %s', async (_, notice, hours, more, why) => {
    answerToNotice = notice;
    const item = await arrive();
    await vi.advanceTimersByTimeAsync(hours * HOUR + 1_000);
    const once = names().filter((name) => name !== 'delivery.delayed');
    expect(once).toEqual(['delivery.failed', 'delivery.bounced', ...more, 'item.parked']);
    expect(states()).toEqual(['parked', 'dropped']);
    const untold = expect.stringMatching(`its sender could not be told: .*${why}`) as string;
    expect(events.findLast(({ event }) => event === 'item.parked')).toMatchObject({
      id: item.id,
      messageId: '<m@contoso.com>',
      why: untold,
      status: { ...failed, reason: untold },
    });
    expect(await textOf(spool, item)).toContain('body');
    // An operator has it tried again: it is bounced again, and this time the sender hears of it.
    answerToNotice = () => relayed;
    const parked = spool.items.get(item.id);
    if (parked !== undefined) Object.assign(parked, { state: 'queued', due: Date.now() });
    queue.arrived(item);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(states()).toEqual(['bounced', 'dropped', 'relayed']);
  });

  it('parks the message when it is in doubt whether a bounce that was refused had arrived', async () => {
    let tries = 0;
    answerToNotice = () =>
      tries++ === 0 ? { outcome: 'unknown', code: '4.4.2', cause: 'ECONNRESET', text: 'no answer' } : failed;
    verdict = { outcome: 'unknowable', reason: 'no copy is kept' };
    await arrive();
    await vi.advanceTimersByTimeAsync(HOUR);
    expect(states()).toEqual(['parked', 'dropped']);
    expect(events.findLast(({ event }) => event === 'item.parked')).toMatchObject({
      why: expect.stringContaining('an earlier attempt may have delivered it') as string,
    });
  });

  it('parks a warning that is refused, not what it warns of', async () => {
    answer = () => later;
    answerToNotice = () => failed;
    await arrive();
    await vi.advanceTimersByTimeAsync(4.5 * HOUR);
    expect(states()).toEqual(['queued', 'parked']);
  });

  it('tells of a mail that was handed over, and delivers that', async () => {
    answer = () => relayed;
    const item = await arrive({ route: 'fax' });
    await arrive();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(states()).toEqual(['relayed', 'relayed', 'relayed']);
    const told = events.filter(({ event }) => event === 'delivery.notified');
    const notice = [...spool.items.values()].find(({ origin }) => origin.source === 'gateway');
    expect(told).toEqual([
      {
        event: 'delivery.notified',
        id: item.id,
        messageId: '<m@contoso.com>',
        route: 'fax',
        mailbox: 'sender@contoso.com',
        status: relayed,
        to: 'app@contoso.com',
        recipients: ['x@contoso.com'],
        notice: notice?.id,
      },
    ]);
    const mine = events.filter((event) => 'id' in event && event.id === item.id).map(({ event }) => event);
    expect(mine).toEqual(['delivery.started', 'delivery.relayed', 'delivery.notified']);
  });

  it('hands over without a word where nobody may be told', async () => {
    answer = () => relayed;
    await arrive({ route: 'fax', header: 'Auto-Submitted: auto-generated\r\n' });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(states()).toEqual(['relayed']);
    expect(names()).toEqual(['delivery.relayed']);
  });

  it('tells each sender of the recipients that it is about: some were handed over, some refused, some wait', async () => {
    const people = ['a', 'b', 'c', 'd'].map((name) => ({ address: `${name}@fax.local` }));
    answer = () => ({
      ...relayed,
      apart: [
        { recipients: ['b@fax.local', 'd@fax.local'], status: failed },
        { recipients: ['c@fax.local'], status: later },
      ],
    });
    await arrive({ route: 'fax', envelope: { recipients: people } });
    await vi.advanceTimersByTimeAsync(1_000);
    const about = (name: Event['event']): unknown =>
      events.flatMap((event) => (event.event === name && 'recipients' in event ? [event.recipients] : []));
    expect(about('delivery.notified')).toEqual([['a@fax.local']]);
    expect(about('delivery.bounced')).toEqual([['b@fax.local', 'd@fax.local']]);
  });

  it('bounces to nobody for whom the attempt ended otherwise', async () => {
    const people = ['a', 'b'].map((name) => ({ address: `${name}@x.test` }));
    answer = ({ attempts }) =>
      attempts === 1 ? { ...failed, apart: [{ recipients: ['b@x.test'], status: later }] } : relayed;
    await arrive({ envelope: { recipients: people } });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(events.find(({ event }) => event === 'delivery.bounced')).toMatchObject({ recipients: ['a@x.test'] });
  });

  it('finishes what was handed over, whether or not the notice of it can be stored', async () => {
    answer = () => relayed;
    const begin = spool.begin.bind(spool);
    spool.begin = () => ({
      ...begin(),
      commitTelling: () => Promise.reject(new SpoolError('full', 'the disk is full')),
    });
    await arrive({ route: 'fax' });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(states()).toEqual(['relayed']);
    expect(names()).toEqual(['delivery.relayed']);
  });

  it('parks what nobody may be told of, and says why', async () => {
    await arrive({ header: 'Auto-Submitted: auto-generated\r\n' });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(states()).toEqual(['parked']);
    const parked = events.find((event) => event.event === 'item.parked');
    expect(parked).toMatchObject({
      why: expect.stringMatching(/^refused for good; its sender was not told: .*Auto-Submitted/) as string,
      status: { reason: expect.stringContaining('Auto-Submitted') as string },
    });
  });

  it('warns once, then bounces when its time is over', async () => {
    answer = () => later;
    await arrive();
    await vi.advanceTimersByTimeAsync(3.9 * HOUR);
    expect(names()).not.toContain('delivery.warned');
    await vi.advanceTimersByTimeAsync(19 * HOUR);
    expect(names().filter((name) => name === 'delivery.warned')).toHaveLength(1);
    expect(names()).not.toContain('delivery.bounced');
    await vi.advanceTimersByTimeAsync(3 * HOUR);
    expect(names().filter((name) => name === 'delivery.bounced')).toHaveLength(1);
    expect(states()).toEqual(['bounced', 'relayed', 'relayed']);
    expect(events.find(({ event }) => event === 'delivery.warned')).toMatchObject({ age: 4 * 3_600 + 0 });
  });

  it('does not warn while the whole route is held: the warning would wait too', async () => {
    answer = () => ({ ...later, reach: 'transport' });
    await arrive();
    await vi.advanceTimersByTimeAsync(12 * HOUR);
    expect(names()).not.toContain('delivery.warned');
  });

  it('parks what failed with an error that nobody knows', async () => {
    answer = () => ({ ...later, capped: true });
    await arrive();
    await vi.advanceTimersByTimeAsync(10 * HOUR);
    expect(states()[0]).toBe('parked');
    expect(names()).not.toContain('delivery.bounced');
  });

  it('parks when the bounce cannot be stored', async () => {
    const begin = spool.begin.bind(spool);
    spool.begin = () => ({
      ...begin(),
      commitTelling: () => Promise.reject(new SpoolError('full', 'the disk is full')),
    });
    const { block, ...item } = entry();
    const draft = begin();
    await draft.write(Buffer.from(`${block}body`));
    for (const arrived of await draft.commit([item])) queue.arrived(arrived);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(states()).toEqual(['parked']);
    expect(events.find(({ event }) => event === 'item.parked')).toMatchObject({
      why: expect.stringContaining('the disk is full') as string,
    });
  });
});
