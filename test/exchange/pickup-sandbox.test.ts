/** The loop over EWS against the sandbox: from a mailbox into the spool, over real connections. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { bearer } from '../../src/exchange/authorizer.ts';
import { createEws } from '../../src/exchange/ews.ts';
import { createHttp } from '../../src/exchange/http.ts';
import type { PickupMailbox } from '../../src/exchange/mailbox.ts';
import { ewsMailbox } from '../../src/exchange/mailbox-ews.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { Site } from './pickup-site.ts';
import { tokenOf } from './sandbox-token.ts';

const FAX = 'fax@contoso.com';
const undo: (() => Promise<unknown>)[] = [];
let sandbox: Sandbox;
let box: PickupMailbox;
beforeAll(async () => {
  sandbox = await startSandbox({ mailboxes: [{ address: FAX }], streaming: { heartbeat: 200, minute: 500 } });
  undo.push(() => sandbox.close());
  const http = createHttp({ ca: sandbox.ca });
  undo.push(() => http.close());
  const token = tokenOf(sandbox, http, 'exchange');
  undo.push(() => token.close());
  const ews = await createEws({ url: sandbox.ewsUrl, authorizer: bearer({ http, token }), version: '1' });
  box = ewsMailbox({ ews, mailbox: FAX });
});
afterAll(async () => {
  for (const one of undo.toReversed()) await one();
});

const put = async (n: number) =>
  await sandbox.receive(FAX, {
    mime: Buffer.from(
      `From: alice@contoso.com\r\nTo: ${FAX}\r\nMessage-ID: <${n}@test>\r\nSubject: ${n}\r\n\r\nbody of ${n}\r\n`,
    ),
  });
const { signal } = new AbortController();

async function count(path: string): Promise<number> {
  const found = await box.folders([path], [path], signal);
  const id = found.ok ? (found.ids.get(path) ?? '') : '';
  const page = await box.changes(id, undefined, signal);
  return 'added' in page ? page.added.length : -1;
}

describe('mail in a mailbox of the sandbox', () => {
  it('is handed over, oldest first, whether it was there before or comes while it is listened to; none twice in another life', async () => {
    for (let n = 0; n < 30; n++) await put(n);
    const site = new Site({ boxes: [box], mailbox: FAX });
    await site.source.start();
    await vi.waitFor(() => expect(site.of('pickup.polled').length).toBeGreaterThan(0), 10_000);
    expect(site.handedOver.toSorted()).toEqual(Array.from({ length: 30 }, (_, n) => String(n)).toSorted());
    // The ear is open when it has said so, which leads to another look.
    await vi.waitFor(() => expect(site.of('pickup.polled').length).toBeGreaterThan(1), 10_000);
    const begun = performance.now();
    await put(30);
    await vi.waitFor(() => expect(site.handedOver).toContain('30'), { timeout: 10_000, interval: 10 });
    expect(performance.now() - begun).toBeLessThan(2_000);
    await site.source.stop(signal);
    expect(site.bodies.get('<7@test>')).toMatch(/^Received: from mailbox <fax@contoso\.com> by gateway\.test with EWS/);
    expect(site.bodies.get('<7@test>')).toContain('body of 7');
    expect(await count('Processed')).toBe(31);
    expect(await count('Inbox')).toBe(0);
    expect(site.events.filter(({ event }) => /failed|delayed|repeated|bug|deaf/.test(event))).toEqual([]);

    await put(31);
    const cursor = (await site.spool.cursor(`ews ${FAX}/inbox`)) ?? '';
    await site.spool.keepCursor(`ews ${FAX}/inbox`, cursor.replace(/\n.*/s, '\ngarbage'));
    const again = site.again();
    await again.source.start();
    await vi.waitFor(() => expect(again.of('pickup.polled').length).toBeGreaterThan(0), 10_000);
    await again.source.stop(signal);
    expect(again.of('pickup.resynced')).toHaveLength(1);
    expect(again.handedOver).toHaveLength(32);
    expect(await count('Processed')).toBe(32);
  });
});
