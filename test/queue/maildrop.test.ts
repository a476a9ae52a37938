/** Items that a door hands out by their ids. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Event } from '../../src/mail/event.ts';
import type { LaneKey, NewItem } from '../../src/mail/item.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import { createBouncer } from '../../src/queue/bounce.ts';
import { itemDrop } from '../../src/queue/maildrop.ts';
import type { ItemDrop } from '../../src/queue/maildrop.ts';
import { MemorySpool } from './memory-spool.ts';

const T0 = 1_800_000_000_000;
const BLOCK = 'From: alice@contoso.com\r\nSubject: seven\r\n\r\n';
const entry = (more: Partial<NewItem> = {}): NewItem => ({
  route: 'fax',
  mailbox: 'fax@contoso.com',
  envelope: { reversePath: 'alice@contoso.com', recipients: [{ address: '1@fax.local' }] },
  origin: { source: 'pickup', name: 'fax', peer: '', receivedAt: T0 - 60_000 },
  messageId: '<m@contoso.com>',
  headerSize: BLOCK.length,
  ...more,
});

describe('a drop', () => {
  let spool: MemorySpool;
  let events: Event[];
  let arrived: LaneKey[];
  beforeEach(() => {
    spool = new MemorySpool(() => T0);
    events = [];
    arrived = [];
  });

  function drop(success = false): ItemDrop {
    const notices = { route: 'exchange', mailbox: 'fax@contoso.com', success, failure: true };
    return itemDrop({
      spool,
      route: 'fax',
      door: 'pop3',
      report: (event) => events.push(event),
      bouncer: createBouncer({
        spool,
        hostname: 'gateway.test',
        send: true,
        body: 'headers',
        pickups: new Map([['fax', notices]]),
        now: () => T0,
      }),
      arrived: (lane) => arrived.push(lane),
      now: () => T0,
    });
  }
  const put = async (more: Partial<NewItem> = {}) => await spool.inject(entry(more), `${BLOCK}body\r\n`);
  const text = async (octets: AsyncIterable<Uint8Array>) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of octets) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };

  it('shows what is queued on its route, oldest first, and takes nothing by that', async () => {
    const first = await put();
    await put({ route: 'other' });
    // Moved here by an operator, from another pickup.
    const moved = await put({ mailbox: 'other@contoso.com', origin: { source: 'smtp', name: 'lan', peer: '' } });
    const size = BLOCK.length + 6;
    expect(await drop().list()).toEqual([
      { id: first.id, size, isCanonical: true },
      { id: moved.id, size, isCanonical: false },
    ]);
    expect(await text(drop().open(first.id))).toBe(`${BLOCK}body\r\n`);
    expect(await drop().list()).toHaveLength(2);
    expect(events).toEqual([]);
  });

  it('shows more than a page, and not more than a client can be given at a time', async () => {
    for (let at = 0; at < 20_001; at++) await put();
    const all = await drop().list();
    expect(all).toHaveLength(20_000);
    expect(new Set(all.map(({ id }) => id)).size).toBe(20_000);
    expect(all.map(({ id }) => id)).toEqual(all.map(({ id }) => id).toSorted());
  });

  it('takes out what was fetched, once', async () => {
    const [one, other] = [await put(), await put()];
    await drop().remove([one.id]);
    expect([spool.items.get(one.id)?.state, spool.items.get(other.id)?.state]).toEqual(['relayed', 'queued']);
    expect(events).toMatchObject([
      { event: 'delivery.relayed', id: one.id, transport: 'pop3', attempt: 1, age: 0, receivedAt: T0 - 60_000 },
    ]);
    await drop().remove([one.id, 'no such id']);
    expect(events).toHaveLength(1);
    expect(await drop().list()).toMatchObject([{ id: other.id }]);
    expect(arrived).toEqual([]);
  });

  it('tells the sender where that is wanted, by the way out', async () => {
    const { id } = await put();
    await drop(true).remove([id]);
    expect(spool.items.get(id)?.state).toBe('relayed');
    const notice = [...spool.items.values()].find((item) => item.route === 'exchange');
    expect(notice).toMatchObject({
      mailbox: 'fax@contoso.com',
      envelope: { reversePath: '', recipients: [{ address: 'alice@contoso.com' }] },
    });
    expect(events).toMatchObject([
      { event: 'delivery.relayed', id },
      { event: 'delivery.notified', id, to: 'alice@contoso.com', notice: notice?.id },
    ]);
    expect(arrived).toMatchObject([{ route: 'exchange', mailbox: 'fax@contoso.com' }]);
  });

  it('leaves there what another session is taking out, or an operator has set aside', async () => {
    const [one, other] = [await put(), await put()];
    await spool.take(one.id);
    const item = spool.items.get(other.id);
    if (item !== undefined) item.state = 'parked';
    await drop().remove([one.id, other.id]);
    expect([spool.items.get(one.id)?.state, spool.items.get(other.id)?.state]).toEqual(['sending', 'parked']);
    expect(events).toEqual([]);
  });

  it('says no more than is true in trouble with the store', async () => {
    const { id } = await put();
    spool.trouble = new SpoolError('full', 'no space');
    await expect(drop().list()).rejects.toThrow(SpoolError);
    await expect(drop().remove([id])).rejects.toThrow(SpoolError);
    await expect(text(drop().open(id))).rejects.toThrow(SpoolError);
    spool.trouble = undefined;
    await expect(text(drop().open('no such id'))).rejects.toThrow(SpoolError);
    expect([spool.items.get(id)?.state, events]).toEqual(['queued', []]);
  });
});
