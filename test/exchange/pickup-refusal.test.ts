/** Who is told that his mail was refused, and who is not. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { refusalNotices } from '../../src/exchange/pickup-refusal.ts';
import type { RefusalOptions } from '../../src/exchange/pickup-refusal.ts';
import { headerField } from '../../src/mail/header.ts';
import type { Verdict } from '../../src/mail/pickup-rules.ts';
import type { ReceivedMail } from '../../src/mail/received.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import { Site } from './pickup-site.ts';

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000_000_000 }));
afterEach(() => void vi.useRealTimers());

const judge = (): Verdict => ({ verdict: 'refuse', cause: 'sender', reason: 'private' });

function site(more: Partial<RefusalOptions> = {}): Site {
  const inner = new Site();
  const tell = refusalNotices({
    hostname: 'gateway.test',
    mailbox: 'fax@contoso.com',
    route: 'exchange',
    from: 'desk@contoso.com',
    sentence: 'Ask the desk for leave',
    maySendTo: () => true,
    inject: inner.inject,
    now: Date.now,
    ...more,
  });
  return inner.again({ judge, tell, inject: inner.inject });
}
const notices = ({ spool }: Site) => [...spool.items.values()];

describe('the sender of a refused mail', () => {
  it('is told in the words of the configuration, once, in one transaction with the receipt', async () => {
    const one = site();
    one.box.put('a', { subject: 'Fax\r\nBcc: evil@x.test', header: [headerField('Subject', 'Fax')] });
    await one.started();
    const [notice] = notices(one);
    expect(notice).toMatchObject({
      route: 'exchange',
      mailbox: 'desk@contoso.com',
      envelope: { reversePath: '', recipients: [{ address: 'alice@contoso.com', notify: ['never'] }] },
      origin: { source: 'gateway' },
    });
    const chunks: Uint8Array[] = [];
    for await (const chunk of one.spool.open(notice?.message ?? '')) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    expect(text).toContain('Ask the desk for leave');
    expect(text).toContain('Auto-Submitted: auto-replied');
    expect(text).not.toContain('private');
    expect(text).not.toMatch(/^Bcc/m);
    expect(one.of('pickup.refused')).toMatchObject([{ told: true, cause: 'sender', reason: 'private' }]);
    expect(one.box.in('id of Refused')).toEqual(['a']);
    expect([...one.spool.receipts]).toEqual([[expect.stringContaining('refused:key-a'), true]]);
  });

  it("is told nothing where only those inside may send and this one is not: the address may be anybody else's", async () => {
    const told = vi.fn<() => Promise<boolean>>(async () => true);
    const outside = (): Verdict => ({ verdict: 'refuse', cause: 'outside', reason: 'forged' });
    const one = new Site().again({ judge: outside, tell: told });
    one.box.put('a');
    await one.started();
    expect(told).not.toHaveBeenCalled();
    expect(one.of('pickup.refused')).toMatchObject([{ told: false, cause: 'outside' }]);
    expect(one.box.in('id of Refused')).toEqual(['a']);
  });

  it.each<[string, Partial<ReceivedMail>, Partial<RefusalOptions>]>([
    ['a program', { header: [headerField('Auto-Submitted', 'auto-generated')] }, {}],
    ['a list', { header: [headerField('List-Id', '<l.test>')] }, {}],
    ['mass mail', { header: [headerField('Precedence', 'bulk')] }, {}],
    ['a report', { header: [headerField('Content-Type', 'multipart/report')] }, {}],
    ['who wants no answer', { header: [headerField('X-Auto-Response-Suppress', 'All')] }, {}],
    ['nobody', { from: '' }, {}],
    ['a device', { from: 'fax@localhost' }, {}],
    ['the gateway itself', { from: 'x@gateway.test' }, {}],
    ['the mailbox itself', { from: 'FAX@contoso.com' }, {}],
    ['whom nothing may be sent to', {}, { maySendTo: () => false }],
  ])('is not told if it is %s', async (_, mail, more) => {
    const one = site(more);
    one.box.put('a', mail);
    await one.started();
    expect(notices(one)).toEqual([]);
    expect(one.of('pickup.refused')).toMatchObject([{ told: false }]);
    expect([...one.spool.receipts.values()]).toEqual([true]);
  });

  it('is told once an hour, also of several at the same time', async () => {
    const one = site();
    for (const id of 'abcd') one.box.put(id, { from: id === 'c' ? 'bob@x.test' : 'Alice@contoso.com' });
    await one.started();
    expect(notices(one)).toHaveLength(2);
    expect(one.of('pickup.refused').filter(({ told }) => told)).toHaveLength(2);
    await one.run(3_600_000);
    one.box.put('e');
    await one.run(60_000);
    expect(notices(one)).toHaveLength(3);
  });

  it('is told later where the spool was in trouble', async () => {
    const one = site();
    one.box.put('a');
    await one.started();
    expect(notices(one)).toHaveLength(1);
    one.box.put('b', { from: 'bob@x.test' });
    one.spool.trouble = new SpoolError('full', 'no space');
    await one.run(60_000);
    one.spool.trouble = undefined;
    await one.run(60_000);
    expect(notices(one)).toHaveLength(2);
    expect(one.of('pickup.failed').length).toBe(one.of('pickup.recovered').length);
  });

  it('is not told again after a crash before the mail was moved', async () => {
    const one = site();
    one.box.put('a');
    one.box.on.file = () => new Promise(() => undefined);
    await one.started();
    expect(notices(one)).toHaveLength(1);
    one.box.on = {};
    const again = one.again();
    await again.started();
    expect(notices(one)).toHaveLength(1);
    expect(again.of('pickup.refused')).toEqual([]);
    expect(one.box.in('id of Refused')).toEqual(['a']);
  });
});
