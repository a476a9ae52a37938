/** One gateway, two tenants: each with its own account, and what happens to one leaves the other alone. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { withoutSpool } from '../watch/exposition.ts';
import { configText } from './config-text.ts';
import type { Folder, LogLine } from './process.ts';
import { folder, GatewayProcess, root } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

/** The same address in both: another mailbox in each. */
const RELAY = 'relay@shared.example';
const READER = 'reader@shared.example';
const OURS = 'app@contoso.com';
const THEIRS = 'app@subsidiary.example';

let place: Folder;
let contoso: Sandbox;
let subsidiary: Sandbox;
let gateway: GatewayProcess | undefined;
let configFile: string;

beforeEach(async () => {
  place = folder();
  const mailboxes = [RELAY, READER].map((address) => ({ address, sendAs: [OURS, THEIRS] }));
  [contoso, subsidiary] = await Promise.all([startSandbox({ mailboxes }), startSandbox({ mailboxes })]);
  place.write('ours', contoso.clientSecret);
  place.write('theirs', subsidiary.clientSecret);
});
afterEach(async () => {
  await gateway?.stop('SIGKILL');
  await Promise.all([contoso.close(), subsidiary.close()]);
  place.remove();
});

async function start({ routes = true, secret = 'theirs' } = {}): Promise<GatewayProcess> {
  const route = `
routes:
  - name: subsidiary
    tenantId: ${subsidiary.tenantId}
    clientId: ${subsidiary.clientId}
    clientSecretFile: ${secret}
    ewsUrl: ${subsidiary.ewsUrl}
    authority: ${subsidiary.authority}
    caFile: ${place.write('theirs.pem', subsidiary.ca)}
    expires: 2026-01-31`;
  const rules = routes ? `[{ from: "@subsidiary.example", route: subsidiary }]` : '[]';
  const text = configText({
    sandbox: contoso,
    caFile: place.write('ours.pem', contoso.ca),
    senders: `{ mailbox: ${RELAY}, rules: ${rules} }`,
    more: `spool: { sqlite: ${place.path}/spool.db }${routes ? route : ''}`,
  });
  configFile = place.write('config.yaml', text.replace(/clientSecret: .*/, 'clientSecretFile: ours'));
  gateway = new GatewayProcess(configFile);
  await gateway.ready();
  return gateway;
}

/** @returns the item's id */
async function send(running: GatewayProcess, from: string): Promise<string> {
  const smtp = await RawSmtp.open(await running.ready());
  const reply = await smtp.send(from, [READER], `From: ${from}\r\nTo: ${READER}\r\nSubject: by ${from}\r\n\r\nx\r\n`);
  smtp.end();
  return reply.split(' ').at(-1) ?? '';
}

const about = (running: GatewayProcess, event: string, more: Readonly<Record<string, unknown>>): Promise<LogLine> =>
  running.line((line) => line.event === event && Object.entries(more).every(([key, value]) => line[key] === value));
const relayed = (running: GatewayProcess, id: string): Promise<LogLine> => about(running, 'delivery.relayed', { id });
const inbox = (sandbox: Sandbox): number => sandbox.mailbox(READER).inbox.length;

/** The samples of /metrics by name and labels as they are written there, but for the spool's name. */
async function metrics(running: GatewayProcess): Promise<Readonly<Record<string, number>>> {
  const text = withoutSpool(await (await fetch(`${await running.consoleUrl()}/metrics`)).text());
  const samples = text.matchAll(/^smtp2exchange_(\S+) (\S+)$/gm);
  return Object.fromEntries([...samples].map(([, name = '', value]) => [name, Number(value)]));
}

/** The operator's command. @returns its exit code and all it said */
async function queue(...words: readonly string[]): Promise<readonly [number | null, string]> {
  const child = spawn(process.execPath, [join(root, 'src/main.ts'), 'queue', ...words, '--config', configFile], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '' },
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += String(chunk)));
  const [code] = (await once(child, 'close')) as [number | null];
  return [code, said];
}

it('mail of each goes to its own, and so does a bounce', async () => {
  const running = await start();
  const ours = await relayed(running, await send(running, OURS));
  const theirs = await relayed(running, await send(running, THEIRS));
  expect([ours['route'], theirs['route']]).toEqual(['exchange', 'subsidiary']);
  expect([inbox(contoso), inbox(subsidiary)]).toEqual([1, 1]);
  for (const account of ['exchange', 'subsidiary']) await about(running, 'token.acquired', { account });

  subsidiary.fault({ when: { operation: 'CreateItem', count: 1 }, does: { responseCode: 'ErrorInvalidRecipients' } });
  const id = await send(running, THEIRS);
  const { notice } = await about(running, 'delivery.bounced', { id });
  expect(await about(running, 'delivery.relayed', { id: notice })).toMatchObject({
    route: 'subsidiary',
    mailbox: RELAY,
  });
  expect(contoso.arrived().length).toBe(1);

  expect(await metrics(running)).toMatchObject({
    'delivered_messages_total{route="exchange"}': 1,
    'delivered_messages_total{route="subsidiary"}': 2,
    'credential_remaining_seconds{account="subsidiary"}': 0,
  });
  expect(await about(running, 'alarm.raised', { reason: 'secretExpiring' })).toMatchObject({
    title: 'The client secret of route subsidiary expired on 2026-01-31',
  });
});

it('one that is down does not hold the other, and its mail can be moved there', async () => {
  const running = await start();
  await subsidiary.stop();
  const waiting = await send(running, THEIRS);
  expect(await about(running, 'route.held', { route: 'subsidiary' })).toMatchObject({ misconfigured: false });
  await relayed(running, await send(running, OURS));
  expect(await metrics(running)).toMatchObject({
    'route_held{route="subsidiary"}': 1,
    'route_held{route="exchange"}': 0,
  });

  expect(await queue('move', waiting, '--route', 'moon')).toEqual([
    64,
    expect.stringContaining('There is no route "moon"; there are: exchange, subsidiary'),
  ]);
  expect((await queue('move', waiting, '--route', 'exchange'))[0]).toBe(0);
  expect(await relayed(running, waiting)).toMatchObject({ route: 'exchange', mailbox: RELAY });
  expect(inbox(contoso)).toBe(2);
  await subsidiary.start();
});

it('with a wrong secret in one: the other goes on, and SIGHUP takes the right one into use', async () => {
  place.write('wrong', 'wrong');
  const running = await start({ secret: 'wrong' });
  await about(running, 'token.failed', { account: 'subsidiary', cause: 'AADSTS7000215' });
  const waiting = await send(running, THEIRS);
  expect(await about(running, 'route.held', { route: 'subsidiary' })).toMatchObject({ misconfigured: true });
  await relayed(running, await send(running, OURS));
  renameSync(place.write('new', subsidiary.clientSecret), join(place.path, 'wrong'));
  renameSync(place.write('damaged', 'a\nb'), join(place.path, 'ours'));
  running.child.kill('SIGHUP');
  expect(await relayed(running, waiting)).toMatchObject({ route: 'subsidiary' });
  await about(running, 'credential.loaded', { account: 'subsidiary' });
  const { reason } = await about(running, 'credential.failed', { account: 'exchange' });
  expect(reason).toContain('exchange.clientSecretFile');
  await relayed(running, await send(running, OURS));
  const failed = running.lines.filter(({ event }) => event === 'token.failed' || event === 'credential.failed');
  expect(new Set(failed.map(({ event, account }) => `${event} ${String(account)}`))).toEqual(
    new Set(['token.failed subsidiary', 'credential.failed exchange']),
  );
});

it('mail for one that was taken out of the configuration is told, and can be moved', async () => {
  let running = await start();
  await subsidiary.stop();
  const waiting = await send(running, THEIRS);
  await about(running, 'route.held', { route: 'subsidiary' });
  await running.stop();
  running = await start({ routes: false });
  expect(await about(running, 'route.held', { route: 'subsidiary' })).toMatchObject({ cause: 'NoSuchRoute' });
  await about(running, 'alarm.raised', { reason: 'misconfigured' });
  await relayed(running, await send(running, OURS));
  expect((await queue('move', waiting, '--route', 'exchange'))[0]).toBe(0);
  await relayed(running, waiting);
  await about(running, 'route.released', { route: 'subsidiary' });
  expect(await metrics(running)).toMatchObject({ 'route_held{route="subsidiary"}': 0 });
});
