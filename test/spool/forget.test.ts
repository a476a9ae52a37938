/** What the spool gives up by itself, and what is told of it. */
import { expect, it } from 'vitest';
import type { Event } from '../../src/mail/event.ts';
import type { QueueItem } from '../../src/mail/item.ts';
import type { DroppedItem } from '../../src/mail/spool.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import { forgetOld } from '../../src/spool/forget.ts';
import { entry } from './contract.ts';

const kept = { retention: 1_000, parkedRetention: 30_000, parkedSize: 500 };
const item: QueueItem = {
  ...entry(),
  id: '1',
  message: '1',
  state: 'dropped',
  size: 5,
  arrivedAt: 0,
  due: 0,
  attempts: 1,
  doubtful: false,
};

async function run(drop: () => readonly DroppedItem[]): Promise<{ events: Event[]; asked: unknown[] }> {
  const events: Event[] = [];
  const asked: unknown[] = [];
  const spool = {
    purge: async (before: number) => asked.push(before),
    dropParked: async (limits: unknown) => {
      asked.push(limits);
      return drop();
    },
  };
  await forgetOld(spool, kept, (event) => events.push(event), 100_000);
  return { events, asked };
}

it('asks with the limits, and tells each item', async () => {
  const { events, asked } = await run(() => [{ item, why: 'size', parkedAt: 40_000 }]);
  expect(asked).toEqual([99_000, { before: 70_000, size: 500 }]);
  expect(events).toEqual([
    {
      event: 'item.dropped',
      id: '1',
      messageId: '<m@contoso.com>',
      route: 'exchange',
      mailbox: 'a@contoso.com',
      why: 'size',
      size: 5,
      age: 60,
    },
  ]);
});

it('is quiet about a store in trouble, and tells a bug', async () => {
  const trouble = (error: Error) => async () =>
    (
      await run(() => {
        throw error;
      })
    ).events;
  expect(await trouble(new SpoolError('full', 'no space'))()).toEqual([]);
  expect(await trouble(new TypeError('x'))()).toMatchObject([{ event: 'bug', where: 'spool' }]);
});
