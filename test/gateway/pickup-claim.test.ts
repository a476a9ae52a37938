/** Two gateways with spools of their own at one mailbox: each mail is handed over once in all, by one of them. */
import { mkdirSync } from 'node:fs';
import { describe, it } from 'vitest';
import type { InsideGateway } from './inside.ts';
import { FAX, faxSandbox, handedOver, mail, pickingUp } from './pickup-site.ts';
import { folder } from './process.ts';

const MAILS = 30;

interface One {
  readonly gateway: InsideGateway;
  readonly path: string;
}

interface Site {
  start(name: string): Promise<One>;
  receive(count: number): Promise<void>;
}

async function siteOver(
  transport: 'ews' | 'graph',
  onTestFinished: (undo: () => Promise<void>) => void,
): Promise<Site> {
  const place = folder();
  const sandbox = await faxSandbox();
  const running: InsideGateway[] = [];
  onTestFinished(async () => {
    await Promise.all(running.map((one) => one.stop()));
    await sandbox.close();
    place.remove();
  });
  let sent = 0;
  return {
    async start(name) {
      const path = `${place.path}/${name}`;
      mkdirSync(path);
      const entry = `    claim: true\n    interval: 1s\n    deliver: { folder: { path: ${path} } }\n    recipients: [{ in: always, to: fax@pbx.local }]`;
      const gateway = await pickingUp(place, sandbox, entry, { transport });
      running.push(gateway);
      return { gateway, path };
    },
    async receive(count) {
      for (let n = 0; n < count; n++) await sandbox.receive(FAX, { mime: mail({ id: `${++sent}` }) });
    },
  };
}

const ids = (one: One): string[] => [...handedOver(one.path).keys()];
const isWaiting = async ({ gateway }: One): Promise<number | undefined> =>
  (await gateway.metrics()).get('pickup_waiting{pickup="fax"}');

describe.concurrent.each(['ews', 'graph'] as const)('over %s', (transport) => {
  it('one hands over and the other says that it waits, until the first is stopped', async ({
    expect,
    onTestFinished,
  }) => {
    const site = await siteOver(transport, onTestFinished);
    await site.receive(MAILS / 2);
    const both = await Promise.all([site.start('a'), site.start('b')]);
    const [first, second] = await Promise.race(
      both.map(async (one) => {
        await one.gateway.line('pickup.waiting', { pickup: 'fax' });
        return both.toSorted((a) => (a === one ? 1 : -1)) as [One, One];
      }),
    );
    await site.receive(MAILS / 2);
    await expect.poll(() => ids(first).length, { timeout: 10_000 }).toBe(MAILS);
    expect(ids(second)).toEqual([]);
    expect([await isWaiting(first), await isWaiting(second)]).toEqual([0, 1]);

    await first.gateway.stop();
    await site.receive(5);
    await second.gateway.line('pickup.recovered', { pickup: 'fax' });
    await expect.poll(() => ids(second).length, { timeout: 5_000 }).toBe(5);
    expect(await isWaiting(second)).toBe(0);
    expect(new Set([...ids(first), ...ids(second)]).size).toBe(MAILS + 5);
    const events = (one: One): unknown[] => one.gateway.lines.map(({ event }) => event);
    expect(events(second).filter((event) => event === 'pickup.waiting')).toHaveLength(1);
    expect(both.flatMap(events)).not.toContain('bug');
  });
});
