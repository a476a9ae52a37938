/** The real gateway in front of Exchange on its own servers: NTLM and Basic, a password that changes, under SIGHUP. */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { sendMail } from '../../src/smtp/client.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';

const SENDER = 'notifications@contoso.com';
const READER = 'alice@contoso.com';
const ACCOUNT = { username: 'svc-gateway', domain: 'CONTOSO' };

let place: Folder;
let sandbox: Sandbox;
let gateway: GatewayProcess | undefined;

beforeEach(async () => {
  place = folder();
  sandbox = await startSandbox({
    mailboxes: [{ address: SENDER }, { address: READER }],
    accounts: [{ ...ACCOUNT, password: 'hunter2-first' }],
    extendedProtection: 'require',
  });
});
afterEach(async () => {
  await gateway?.stop('SIGKILL');
  await sandbox.close();
  place.remove();
});

async function start(login: string): Promise<number> {
  place.write('password', 'hunter2-first\n');
  const text = `
hostname: gateway.test
listeners: [{ name: lan, address: 127.0.0.1, port: 0 }]
senders: { mailbox: ${SENDER} }
exchange:
  cloud: onPremises
  ewsUrl: ${sandbox.ewsUrl}
  username: CONTOSO\\svc-gateway
  passwordFile: password
  login: ${login}
  caFile: ${place.write('ca.pem', sandbox.ca)}
console: { address: 127.0.0.1, port: 0 }
spool: { sqlite: ${place.path}/spool.db }
`;
  gateway = new GatewayProcess(place.write('config.yaml', text));
  return gateway.ready();
}

async function send(port: number, subject: string): Promise<void> {
  await sendMail({ host: '127.0.0.1', port }, { from: SENDER, to: [READER], subject, text: 'x' });
}

const arrived = (count: number): Promise<void> =>
  vi.waitFor(() => expect(sandbox.mailbox(READER).inbox).toHaveLength(count), 15_000);

it.each(['ntlm', 'basic'])(
  'sends with %s; a new password is taken on SIGHUP and lets waiting mail go',
  async (login) => {
    const port = await start(login);
    if (gateway === undefined) throw new Error('no gateway');
    await send(port, 'one');
    await arrived(1);

    sandbox.accounts.accounts = [{ ...ACCOUNT, password: 'hunter2-second' }];
    await sandbox.stop();
    await sandbox.start();
    renameSync(place.write('password.new', 'hunter2-second\n'), join(place.path, 'password'));
    gateway.child.kill('SIGHUP');
    expect(await gateway.event('credential.loaded')).toMatchObject({ account: 'exchange' });
    await send(port, 'two');
    await arrived(2);
    expect(sandbox.accounts.tries.wrong).toBe(0);

    place.write('password', 'two\nlines\n');
    gateway.child.kill('SIGHUP');
    expect(await gateway.event('credential.failed')).toMatchObject({
      reason: 'exchange.passwordFile must hold one line with nothing but the secret',
    });
    await send(port, 'three');
    await arrived(3);
    expect(gateway.noise).toEqual([]);
    expect(JSON.stringify(gateway.lines)).not.toContain('hunter2');
  },
);

it('holds mail where the password is wrong, tries it once, says what to do, and goes on at SIGHUP', async () => {
  sandbox.accounts.accounts = [{ ...ACCOUNT, password: 'another' }];
  const port = await start('ntlm');
  await send(port, 'one');
  await send(port, 'two');
  const held = await gateway?.event('route.held');
  expect(held).toMatchObject({ cause: 'LOGIN_REFUSED' });
  expect(sandbox.accounts.tries).toEqual({ right: 0, wrong: 1 });
  renameSync(place.write('password.new', 'another\n'), join(place.path, 'password'));
  gateway?.child.kill('SIGHUP');
  // At once, as the reason says, and not a quarter of an hour later.
  await arrived(2);
  expect(sandbox.accounts.tries.wrong).toBe(1);
});
