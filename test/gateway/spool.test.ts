/** What of the spool's settings the whole gateway must obey: what goes first, and when parked mail ends. In this process. */
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import type { Gateway } from '../../src/gateway.ts';
import { startGateway } from '../../src/gateway.ts';
import type { Spool } from '../../src/mail/spool.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';
import { failed, put } from '../spool/contract.ts';
import { withoutSpool } from '../watch/exposition.ts';
import type { Folder } from './process.ts';
import { folder } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const HOUR = 3_600_000;
const lane = { route: 'exchange', mailbox: 'a@contoso.com' };

let place: Folder;
let path: string;
let gateway: Gateway | undefined;
let spool: Spool | undefined;
let log: string;

beforeEach(() => {
  place = folder();
  path = join(place.path, 'spool.db');
  log = '';
});
afterEach(async () => {
  vi.restoreAllMocks();
  await gateway?.stop('end of the test');
  await spool?.close();
  [gateway, spool] = [undefined, undefined];
  place.remove();
});

/** Nobody answers where Exchange should be, so that mail stays. */
async function start(more: string): Promise<Gateway> {
  const text = `
listeners: [{ name: lan, address: 127.0.0.1, port: 0, tls: none }]
senders: { mailbox: a@contoso.com }
exchange:
  tenantId: 11111111-2222-3333-4444-555555555555
  clientId: 66666666-7777-8888-9999-000000000000
  clientSecret: secret
  ewsUrl: https://127.0.0.1:9/EWS/Exchange.asmx
  authority: https://127.0.0.1:9/tenant
console: { address: 127.0.0.1, port: 0 }
${more}
`;
  const loaded = await loadConfig(place.write('config.yaml', text), {});
  if (!('config' in loaded)) throw new Error(JSON.stringify(loaded));
  const logTo = new PassThrough();
  logTo.on('data', (lines: Buffer) => (log += lines.toString()));
  gateway = await startGateway(loaded.config, { version: '0', configFile: 'config.yaml', logTo });
  return gateway;
}

const open = async (now = Date.now): Promise<Spool> =>
  (spool = await openSqliteSpool({ path, report: () => undefined, now }));

it('puts what pacing.first names before the other mail of its mailbox', async () => {
  const { listeners } = await start(`spool: { sqlite: ${path} }\npacing: { first: [small, important] }`);
  const smtp = await RawSmtp.open(listeners[0]?.port ?? 0);
  const large = `${'x'.repeat(98)}\r\n`.repeat(1_000);
  for (const [subject, field, body] of [
    ['plain', 'X-Priority: 3', large],
    ['important', 'Importance: High', large],
    ['small', 'X-Priority: 3', ''],
  ] as const) {
    const header = `From: a@contoso.com\r\nTo: b@contoso.com\r\nMessage-ID: <${subject}@x>\r\n${field}\r\n`;
    await smtp.send('a@contoso.com', ['b@contoso.com'], `${header}\r\n${body}`);
  }
  smtp.end();
  await gateway?.stop('enough');
  const again = await open();
  const items = await again.claim(lane, { now: Date.now() + HOUR, limit: 9, leaseUntil: 0 });
  expect(items.map(({ messageId }) => messageId)).toEqual(['<important@x>', '<small@x>', '<plain@x>']);
});

it('ends parked mail by age and by size, and says so', async () => {
  const ids = [];
  for (const [age, size] of [
    [50 * HOUR, 10],
    [20 * HOUR, 900_000],
    [10 * HOUR, 900_000],
  ] as const) {
    const then = Date.now() - age;
    const before = await open(() => then);
    const [item] = await put(before, Buffer.alloc(size));
    await before.claim(lane, { now: then, limit: 1, leaseUntil: 0 });
    await before.park(item?.id ?? '', failed);
    await before.close();
    ids.push(item?.id);
  }
  const intervals = vi.spyOn(globalThis, 'setInterval');
  await start(`spool: { sqlite: ${path}, parkedRetention: 48h, parkedSize: 1MB }`);
  const hourly = intervals.mock.calls.filter(([, wait]) => wait === HOUR);
  expect(hourly).toHaveLength(1);
  hourly[0]?.[0]();
  await vi.waitFor(() => expect(log.match(/"item\.dropped"/g)).toHaveLength(2), 5_000);
  const lines = log.split('\n').filter((line) => line.includes('item.dropped'));
  expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
    { level: 'error', id: ids[0], why: 'age' },
    { level: 'error', id: ids[1], why: 'size' },
  ]);
  const metrics = withoutSpool(await (await fetch(`${gateway?.consoleUrl}/metrics`)).text());
  expect(metrics).toContain('smtp2exchange_items_dropped_total{route="exchange",why="size"} 1');
  expect(metrics).toContain('smtp2exchange_queue_items{state="parked"} 1');
});
