/** The token that is asked for at the start: what is wrong with the credential shows before the first mail. */
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { renameSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { sendMail } from '../../src/smtp/client.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';

let place: Folder;
let sandbox: Sandbox;
let gateway: GatewayProcess | undefined;

beforeEach(async () => {
  place = folder();
  sandbox = await startSandbox({ mailboxes: [{ address: 'notifications@contoso.com' }] });
});
afterEach(async () => {
  await gateway?.stop('SIGKILL');
  await sandbox.close();
  place.remove();
});

function start(secret: string, authority = sandbox.authority): GatewayProcess {
  const text = configText({
    sandbox: { ...sandbox, authority },
    caFile: place.write('ca.pem', sandbox.ca),
    more: `spool: { sqlite: ${place.path}/spool.db }`,
  });
  return (gateway = new GatewayProcess(place.write('config.yaml', text), { SECRET: secret }));
}

async function metrics(): Promise<string> {
  return (await fetch(`${await gateway?.consoleUrl()}/metrics`)).text();
}

it('is acquired without any mail', async () => {
  const process = start(sandbox.clientSecret);
  await process.ready();
  expect(await process.event('token.acquired')).toMatchObject({ level: 'info', account: 'exchange' });
  expect(await metrics()).toMatch(/^smtp2exchange_token_requests_total\{.*result="acquired".*\} 1$/m);
  expect((await process.stop()).code).toBe(0);
  expect(process.lines.filter(({ event }) => event === 'token.acquired').length).toBe(1);
});

it('with a wrong secret: the log says what to do, and mail is accepted', async () => {
  const process = start('wrong');
  await process.ready();
  expect(await process.event('token.failed')).toMatchObject({
    level: 'error',
    cause: 'AADSTS7000215',
    advice: expect.stringContaining('Value') as unknown,
  });
  expect(await metrics()).toMatch(/^smtp2exchange_token_failures_total\{.*cause="AADSTS7000215".*\} 1$/m);
  expect((await process.stop()).code).toBe(0);
});

it('with a wrong secret in a file: SIGHUP lets mail go at once that waited for the right one', async () => {
  const file = place.write('secret', 'wrong\n');
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    more: `spool: { sqlite: ${place.path}/spool.db }`,
  }).replace(/clientSecret: .*/, `clientSecretFile: ${file}`);
  const process = (gateway = new GatewayProcess(place.write('config.yaml', text)));
  const from = 'notifications@contoso.com';
  await sendMail({ host: '127.0.0.1', port: await process.ready() }, { from, to: [from], subject: 'x', text: 'x' });
  expect(await process.event('route.held')).toMatchObject({ cause: 'AADSTS7000215', misconfigured: true });
  renameSync(place.write('secret.new', sandbox.clientSecret), file);
  process.child.kill('SIGHUP');
  await process.event('delivery.relayed', 15);
  expect(process.lines.filter(({ event }) => event === 'route.released')).toHaveLength(1);
});

it('from an identity server that never answers: neither start nor stop waits for it', async () => {
  const silent = createServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const asked = once(silent, 'connection');
  const { port } = silent.address() as AddressInfo;
  const process = start(sandbox.clientSecret, `https://127.0.0.1:${port}/tenant`);
  await process.ready();
  await asked;
  expect((await process.stop()).code).toBe(0);
  expect(process.lines.map(({ event }) => event)).not.toContain('token.failed');
  expect(Number(process.lines.find(({ event }) => event === 'gateway.stopped')?.['seconds'])).toBeLessThan(2);
  silent.close();
});
