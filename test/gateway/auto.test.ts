/** The gateway that changes over by itself, as a process: EWS closes in the middle of a thousand messages. */
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { withoutSpool } from '../watch/exposition.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const SENDERS = Array.from({ length: 10 }, (_, n) => `sender${n}@contoso.com`);
const READER = 'reader@contoso.com';
const COUNT = 1_000;

let place: Folder;
let sandbox: Sandbox;
let gateway: GatewayProcess;

beforeEach(async () => {
  place = folder();
  sandbox = await startSandbox({ mailboxes: [...SENDERS, READER].map((address) => ({ address })) });
});
afterEach(async () => {
  await gateway.stop('SIGKILL');
  await sandbox.close();
  place.remove();
});

function start(): GatewayProcess {
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    exchange: `  transport: auto\n  graphUrl: ${sandbox.graphUrl}`,
    senders: `{ mailbox: ${SENDERS[0]}, rules: [${SENDERS.map((mailbox) => `{ from: ${mailbox}, mailbox: ${mailbox} }`).join(', ')}] }`,
    more: [
      'retry: { verifyAfter: 1s }',
      'pacing: { perMailbox: { perMinute: unlimited } }',
      `alarms: { to: [{ name: file, command: [/bin/sh, -c, 'cat >> ${place.path}/alarms'] }] }`,
      `spool: { sqlite: ${place.path}/spool.db }`,
    ].join('\n'),
  });
  return new GatewayProcess(place.write('config.yaml', text), { SECRET: sandbox.clientSecret });
}

async function send(port: number, from: number, count: number): Promise<void> {
  const smtp = await RawSmtp.open(port);
  for (let n = from; n < from + count; n++) {
    const sender = SENDERS[n % SENDERS.length] ?? '';
    await smtp.send(sender, [READER], `From: ${sender}\r\nTo: ${READER}\r\nMessage-ID: <${n}@test>\r\n\r\n${n}\r\n`);
  }
  smtp.end();
}

const arrived = (): number => sandbox.mailbox(READER).inbox.length;

it(
  'gets every message through once when EWS closes in their midst, and stays with Graph',
  { timeout: 120_000 },
  async () => {
    gateway = start();
    const port = await gateway.ready();
    expect((await gateway.event('transport.chosen'))['transport']).toBe('ews');
    // Some answers of the old way are lost just before: their messages are looked for by the new one.
    sandbox.fault({ when: { operation: 'CreateItem', after: 300, count: 5 }, does: { cut: 'afterActing' } });
    const sending = send(port, 0, COUNT);
    await vi.waitUntil(() => arrived() > COUNT / 3, 60_000);
    sandbox.openEws(false);
    const closed = Date.now();
    const changed = await gateway.event('transport.changed', 60);
    expect(changed).toMatchObject({ from: 'ews', to: 'graph', cause: 'HTTP 403' });
    expect(Date.parse(String(changed['time'])) - closed).toBeLessThan(60_000);
    await sending;
    await vi.waitUntil(() => arrived() >= COUNT, 60_000);
    sandbox.openEws(true);
    await send(port, COUNT, 10);
    await vi.waitUntil(() => arrived() >= COUNT + 10, 60_000);
    // What was sent by Graph is told so from the first message on.
    const relayed = gateway.lines.filter(({ event }) => event === 'delivery.relayed');
    for (const line of relayed.filter(({ cause }) => cause === 'HTTP 202')) expect(line['transport']).toBe('graph');
    const ids = sandbox.mailbox(READER).inbox.map(({ messageId }) => messageId);
    expect([ids.length, new Set(ids).size]).toEqual([COUNT + 10, COUNT + 10]);

    // Another start finds it so.
    await gateway.stop();
    const alarms = readFileSync(`${place.path}/alarms`, 'utf8');
    expect(alarms.match(/from now on, not by EWS/g)?.length).toBe(1);
    expect(alarms).not.toContain('ewsClosed');
    gateway = start();
    expect((await gateway.event('transport.chosen'))['transport']).toBe('graph');
    await send(await gateway.ready(), COUNT + 10, 1);
    await vi.waitUntil(() => arrived() >= COUNT + 11, 60_000);
    const text = withoutSpool(await (await fetch(new URL('/metrics', await gateway.consoleUrl()))).text());
    expect(text).toContain('smtp2exchange_transport_in_use{route="exchange",transport="graph"} 1');
  },
);
