/** What a mailbox and its users may do while mail is picked up from it: nothing is lost, and nothing is handed over twice. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Fault, Sandbox } from './pickup-site.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';
import type { InsideGateway } from './inside.ts';
import { faxSandbox, FAX, handedIds, lying, mail, pickingUp, until, user } from './pickup-site.ts';
import type { Folder } from './process.ts';
import { folder } from './process.ts';

const WAYS = ['ews', 'graph'] as const;
type Way = (typeof WAYS)[number];
/** By what the sandbox calls them over each way. */
const OPERATION = {
  ews: { list: 'SyncFolderItems', fetch: 'GetItem', move: 'MoveItem' },
  graph: { list: 'listChanges', fetch: 'getMime', move: 'moveMessage' },
} as const;
/** Requests of the same name before the one that fetches the octets. */
const BEFORE_FETCH = { ews: 1, graph: 0 } as const;

let place: Folder;
let sandbox: Sandbox;
let gateway: InsideGateway | undefined;
let out: string;

beforeEach(async () => {
  place = folder();
  out = join(place.path, 'out');
  sandbox = await faxSandbox();
});
afterEach(async () => {
  await gateway?.stop();
  await sandbox.close();
  place.remove();
});

async function start(way: Way | 'auto', more = '', interval = '1h'): Promise<InsideGateway> {
  gateway = await pickingUp(
    place,
    sandbox,
    `    interval: ${interval}\n    deliver: { folder: { path: ${out} } }\n${more}`,
    { transport: way, life: 'life' },
  );
  return gateway;
}

async function stop(): Promise<void> {
  await gateway?.stop();
  gateway = undefined;
}

async function arrive(id: string, more: Omit<Parameters<Sandbox['receive']>[1], 'mime'> = {}) {
  return await sandbox.receive(FAX, { mime: mail({ id }), ...more });
}

const ids = (...names: readonly string[]): readonly string[] => names.map((name) => `<${name}@contoso.com>`);
const handed = async (...names: readonly string[]): Promise<void> => {
  await until(`${names.join()} handed over`, () => handedIds(out).length >= names.length);
  expect(handedIds(out)).toEqual(ids(...names));
};

const sha256 = (octets: Buffer | string): string => createHash('sha256').update(octets).digest('hex');
/** No line is like another. */
const large = (octets: number): string =>
  Array.from({ length: octets / 80 }, (_, n) => String(n).padEnd(78, 'x')).join('\r\n');

/** Until a look found nothing new. */
async function look(): Promise<void> {
  const looks = (): number => gateway?.count('pickup.polled', { found: 0 }) ?? 0;
  const before = looks();
  await until('a look', () => {
    if (looks() > before) return true;
    void gateway?.reload();
    return false;
  });
}

/** Holds one request while something else happens in the mailbox. */
async function during(operation: string, after: number, meanwhile: () => unknown): Promise<void> {
  const fault: Fault = { when: { operation, after, count: 1 }, does: { slow: { beforeActing: 200 } } };
  sandbox.fault(fault);
  await arrive('a');
  await gateway?.reload();
  await until(`${operation} asked for`, () => sandbox.faults().some((one) => one.fault === fault && one.hit === 1));
  await meanwhile();
}

describe.each(WAYS)('the cursor over %s', (way) => {
  it.each([
    ['lost', () => undefined],
    ['garbage', (kept: string) => kept.replace(/\n.*/s, '\nno cursor of yours')],
  ])('is %s between two lives: all is listed anew, and only what is new is handed over', async (name, made) => {
    await arrive('a');
    const first = await start(way, '    after: { keep: true }');
    await handed('a');
    await stop();
    const spool = await openSqliteSpool({ path: first.spoolFile, report: () => undefined });
    const source = `${way} ${FAX}/inbox`;
    const kept = await spool.cursor(source);
    expect(kept).toMatch(/^.+\n./);
    await spool.keepCursor(source, made(kept ?? ''));
    await spool.close();
    await arrive('b');
    const second = await start(way, '    after: { keep: true }');
    await handed('a', 'b');
    await second.line('pickup.polled');
    expect(second.count('pickup.repeated')).toBe(1);
    expect(second.count('pickup.resynced')).toBe(name === 'lost' ? 0 : 1);
    expect(handedIds(out)).toEqual(ids('a', 'b'));
  });

  it('is not known to the server any more, in one life', async () => {
    await arrive('a');
    const one = await start(way, '    after: { keep: true }');
    await one.line('pickup.polled');
    await handed('a');
    const does =
      way === 'ews'
        ? { responseCode: 'ErrorInvalidSyncStateData' }
        : { status: 410, responseCode: 'SyncStateNotFound' };
    sandbox.fault({ when: { operation: OPERATION[way].list, count: 1 }, does });
    await arrive('b');
    await one.reload();
    await one.line('pickup.resynced');
    await handed('a', 'b');
    expect(one.count('pickup.repeated')).toBe(1);
  });
});

describe.each(WAYS)('a user over %s', (way) => {
  const move = (to: string): void => {
    const store = user(sandbox);
    const [item] = store.folders.flatMap(({ items }) => items);
    store.move(item?.id ?? '', store.makePath(to).id);
  };

  it('takes an item away before it is fetched: it stays his until he puts it back', async () => {
    const one = await start(way);
    await one.line('pickup.polled');
    await during(OPERATION[way].fetch, BEFORE_FETCH[way], () => move('Mine'));
    await until('polled', () => one.count('pickup.polled') >= 2);
    expect(handedIds(out)).toEqual([]);
    expect(lying(sandbox, 'Mine')).toEqual(['a']);
    // He puts it back: then it is new.
    move('Inbox');
    await one.reload();
    await handed('a');
    await until('filed', () => lying(sandbox, 'Processed').length === 1);
    expect(one.count('pickup.failed') + one.count('pickup.delayed')).toBe(0);
  });

  it('takes it away before it is filed: it is handed over, and never again', async () => {
    const one = await start(way);
    await one.line('pickup.polled');
    await during(OPERATION[way].move, 0, () => move('Mine'));
    await handed('a');
    await one.line('pickup.filed', { gone: true });
    await until('polled', () => one.count('pickup.polled') >= 2);
    // Whoever moves it back has it filed, and no second fax sent.
    move('Inbox');
    await one.reload();
    await until('filed again', () => lying(sandbox, 'Processed').length === 1);
    expect(one.count('pickup.repeated')).toBe(1);
    expect(lying(sandbox, 'Processed')).toEqual(['a']);
    expect(handedIds(out)).toEqual(ids('a'));
    expect(one.count('pickup.failed') + one.count('pickup.delayed')).toBe(0);
  });

  it('deletes it before it is described, and another one while it is listed', async () => {
    const one = await start(way);
    await one.line('pickup.polled');
    await during(OPERATION[way].list, 0, () => user(sandbox).remove(user(sandbox).inbox[0]?.id ?? ''));
    await arrive('b');
    await one.reload();
    await handed('b');
    expect(one.count('pickup.failed') + one.count('pickup.delayed')).toBe(0);
  });

  it('puts back what was handed over, and copies it: the copy is the same mail, a second sending is not', async () => {
    await arrive('a');
    const one = await start(way);
    await until('filed', () => lying(sandbox, 'Processed').length === 1);
    const [original] = user(sandbox).folder('Processed')?.items ?? [];
    await one.line('pickup.polled');
    move('Inbox');
    // A look that was under way when the mail came may be the one that is seen to end.
    const repeated = async (times: number): Promise<void> => {
      await look();
      await until(`repeated ${times} times`, () => one.count('pickup.repeated') >= times);
    };
    await repeated(1);
    // A copy has the search key of its original.
    Object.assign(await arrive('a'), { searchKey: original?.searchKey });
    await repeated(2);
    await arrive('a');
    await look();
    await handed('a', 'a');
    await until('filed', () => lying(sandbox, 'Processed').length === 3);
    expect(one.count('pickup.repeated')).toBe(2);
    expect(lying(sandbox, 'Processed')).toEqual(['a', 'a', 'a']);
  });
});

describe.each(WAYS)('an item over %s', (way) => {
  it('that cannot be had is put aside, holds up nothing, and does so in the next life', async () => {
    await arrive('a');
    await arrive('mime', { broken: 'mime' });
    await arrive('item', { broken: 'item' });
    await arrive('b');
    await start(way);
    await handed('a', 'b');
    await gateway?.line('pickup.quarantined', { messageId: '<mime@contoso.com>' });
    await gateway?.line('pickup.delayed', { tries: 1 });
    expect(lying(sandbox, 'Quarantine')).toEqual(['mime']);
    expect(lying(sandbox, 'Processed')).toEqual(['a', 'b']);
    await stop();
    await arrive('c');
    const next = await start(way);
    await handed('a', 'b', 'c');
    await next.line('pickup.polled');
    expect(next.count('pickup.failed')).toBe(0);
    expect(lying(sandbox, 'Inbox')).toEqual(['item']);
  });

  it('of 40 MB arrives octet for octet, whatever it is cut into', async () => {
    const body = large(40_000_000);
    await sandbox.receive(FAX, { mime: mail({ id: 'large', body }) });
    await start(way);
    await until('filed', () => lying(sandbox, 'Processed').length === 1);
    await handed('large');
    const file = readdirSync(out).find((name) => name.endsWith('.eml')) ?? '';
    const message = readFileSync(join(out, file));
    const at = message.indexOf('\r\n\r\n') + 4;
    expect(sha256(message.subarray(at))).toBe(sha256(`${body}\r\n`));
  });

  it('of 40 MB is left at once when the gateway stops, and comes in the next life', async () => {
    const body = large(40_000_000);
    await sandbox.receive(FAX, { mime: mail({ id: 'large', body }) });
    const one = await start(way);
    await until('some of it is there', () => statSync(`${one.spoolFile}-wal`).size > 1_000_000);
    const begun = performance.now();
    await stop();
    expect(performance.now() - begun).toBeLessThan(8_000);
    const isTaken = one.count('message.accepted') > 0;
    await start(way);
    await handed('large');
    await until('filed', () => lying(sandbox, 'Processed').length === 1);
    expect(gateway?.count('message.accepted')).toBe(isTaken ? 0 : 1);
  });
});

describe('a gateway', () => {
  const deliver = (name: string): string => `    deliver: { folder: { path: ${place.path}/${name} } }`;

  it('goes on over Graph when EWS closes, and hands nothing over again', async () => {
    await arrive('a');
    const one = await start('auto', '    after: { keep: true }');
    await handed('a');
    await one.line('pickup.polled');
    sandbox.openEws(false);
    await arrive('b');
    await one.reload();
    const { cause } = await one.line('pickup.failed');
    expect(cause).toMatch(/403|closed|refus/i);
    await until('changed over', () => {
      void one.reload();
      return one.count('pickup.opened') === 2;
    });
    await handed('a', 'b');
    expect(one.lines.filter(({ event }) => event === 'pickup.opened').map(({ transport }) => transport)).toEqual([
      'ews',
      'graph',
    ]);
    await one.line('pickup.recovered');
    expect(one.count('pickup.repeated')).toBe(1);
    await stop();
    // The next life begins with EWS, and changes over once more.
    const next = await start('auto', '    after: { keep: true }');
    await arrive('c');
    await until('changed over', () => {
      void next.reload();
      return next.count('pickup.opened') === 1;
    });
    await handed('a', 'b', 'c');
  });

  it('looks at once when it is told to, while it would wait for long', async () => {
    sandbox.fault({ when: { operation: 'listChanges', count: 1 }, does: { status: 503, retryAfter: 3600 } });
    await arrive('a');
    const one = await start('graph');
    await one.line('pickup.failed');
    expect(handedIds(out)).toEqual([]);
    await one.reload();
    await handed('a');
    await one.line('pickup.recovered');
  });

  it('picks up from two mailboxes with two accounts, each by its own', async () => {
    const app = { clientId: 'b0b00000-0000-4000-8000-5a4d6b0e5a4d', clientSecret: 'the second one' };
    const second = await startSandbox({
      mailboxes: [{ address: 'orders@fabrikam.com' }],
      apps: [{ ...app, roles: [] }],
      scopes: { [app.clientId]: ['orders@fabrikam.com'] },
    });
    try {
      await arrive('a');
      await second.receive('orders@fabrikam.com', { mime: mail({ id: 'b' }) });
      const more = `
  - mailbox: orders@fabrikam.com
    name: orders
    route: fabrikam
    transport: ews
${deliver('orders')}
routes:
  - name: fabrikam
    tenantId: ${second.tenantId}
    clientId: ${app.clientId}
    clientSecret: ${app.clientSecret}
    ewsUrl: ${second.ewsUrl}
    authority: ${second.authority}
    caFile: ${place.write('second.pem', second.ca)}`;
      const one = await start('graph', more);
      await handed('a');
      await until('the other', () => handedIds(join(place.path, 'orders')).length === 1);
      expect(handedIds(join(place.path, 'orders'))).toEqual(ids('b'));
      expect(lying(second, 'Processed', 'orders@fabrikam.com')).toEqual(['b']);
      // Trouble of one is nobody else's.
      await second.stop();
      await arrive('c');
      await one.reload();
      await handed('a', 'c');
    } finally {
      await second.close();
    }
  });
});
