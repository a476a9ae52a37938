/** How it is started and asked to stop: `npm start`, signals that come twice, a Node.js that is too old. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Folder } from './process.ts';
import { folder, GatewayProcess, root } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const LAUNCHER = join(root, 'bin/smtp2exchange.js');

let place: Folder;
beforeEach(() => {
  place = folder();
});
afterEach(() => {
  place.remove();
});

const config = (): string =>
  place.write(
    'config.yaml',
    `
listeners: [{ name: lan, address: 127.0.0.1, port: 0, tls: none }]
senders: { mailbox: notifications@contoso.com }
exchange:
  tenantId: 11111111-2222-3333-4444-555555555555
  clientId: 66666666-7777-8888-9999-000000000000
  clientSecret: secret
  ewsUrl: https://127.0.0.1:9/EWS/Exchange.asmx
  authority: https://127.0.0.1:9/tenant
spool: { sqlite: ${join(place.path, 'spool.db')} }
console: { address: 127.0.0.1, port: 0 }
`,
  );

/** A session that has begun to send a message: the gateway waits for its end before it stops. */
async function inData(port: number): Promise<RawSmtp> {
  const session = await RawSmtp.open(port);
  await session.say('MAIL FROM:<notifications@contoso.com>\r\n', '250');
  await session.say('RCPT TO:<alice@contoso.com>\r\n', '250');
  await session.say('DATA\r\n', '354');
  return session;
}

it('npm start: SIGTERM to npm lets the message under way end, and all ends with 0', async () => {
  const npm = new GatewayProcess(config(), {}, ['npm', 'start', '--']);
  const session = await inData(await npm.ready());
  npm.child.kill('SIGTERM');
  await npm.event('gateway.stopping');
  await session.say('Subject: last\r\n\r\nlast\r\n.\r\n', '250');
  expect(await npm.exited).toEqual({ code: 0, signal: null });
  expect(npm.lines.at(-1)?.event).toBe('gateway.stopped');
});

it('the same request by two signals at once is one: it drains', async () => {
  const gateway = new GatewayProcess(config());
  const session = await inData(await gateway.ready());
  gateway.child.kill('SIGINT');
  gateway.child.kill('SIGTERM');
  await gateway.event('gateway.stopping');
  await session.say('Subject: last\r\n\r\nlast\r\n.\r\n', '250');
  expect(await gateway.exited).toEqual({ code: 0, signal: null });
});

it('a signal that is repeated ends it at once, with 1', async () => {
  const gateway = new GatewayProcess(config());
  await inData(await gateway.ready());
  const again = setInterval(() => gateway.child.kill('SIGTERM'), 100);
  const { code } = await gateway.exited;
  clearInterval(again);
  expect(code).toBe(1);
});

it('a Node.js that is too old: one sentence that says which is needed and how to start it, and 78', () => {
  const old = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } })`;
  const ended = spawnSync(
    process.execPath,
    ['--import', `data:text/javascript,${old}`, LAUNCHER, 'run', '--config', 'my.yaml'],
    { encoding: 'utf8' },
  );
  expect(ended.status).toBe(78);
  expect(ended.stdout).toBe('');
  expect(ended.stderr).toBe(
    `smtp2exchange needs Node.js 24 or later, this is 20.20.2. Start it with the one that came with npm ci: ${join(root, 'node_modules/.bin/node')} ${LAUNCHER} run --config my.yaml\n`,
  );
});

it('with a Node.js that will do, the launcher is the program', () => {
  const ended = spawnSync(process.execPath, [LAUNCHER, '--version'], { encoding: 'utf8' });
  expect([ended.status, ended.stderr]).toEqual([0, '']);
  expect(ended.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});
