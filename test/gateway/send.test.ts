/** The command `send` in front of a running gateway: each end that a mail can come to, and what is said of it. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sendCommand } from '../../src/commands/send.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { hashPassword } from '../../src/smtp/password.ts';
import { runCommand } from '../commands/terminal.ts';
import { CommandProcess } from './command-process.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';

const SENDER = 'notifications@contoso.com';
const BOB = 'bob@contoso.com';

let place: Folder;
let sandbox: Sandbox;
let gateway: GatewayProcess;
let configFile: string;
let port: number;
let loginPort: number;

beforeAll(async () => {
  place = folder();
  sandbox = await startSandbox({ mailboxes: [{ address: SENDER }, { address: BOB }] });
  const local = 'allow: ["127.0.0.0/8"]';
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    listeners: `[{ name: lan, address: 127.0.0.1, port: 0, tls: optional, ${local} }, { name: login, address: 127.0.0.1, port: 0, tls: optional, auth: required, ${local} }]`,
    more: `recipients: { deny: [nobody@contoso.com] }
users: [{ name: pbx, passwordHash: "${await hashPassword('right')}" }]
bounces: { send: false }
spool: { sqlite: ${place.path}/spool.db }`,
  });
  configFile = place.write('config.yaml', text);
  gateway = new GatewayProcess(configFile, { SECRET: sandbox.clientSecret });
  port = await gateway.ready();
  loginPort = Number(
    (await gateway.line((line) => line.event === 'listener.open' && line['listener'] === 'login'))['port'],
  );
});
afterEach(() => {
  sandbox.clearFaults();
  sandbox.openEws(true);
});
afterAll(async () => {
  await gateway.stop();
  await sandbox.close();
  place.remove();
});

const send = (...args: readonly string[]) =>
  runCommand(sendCommand, '--config', configFile, '--server', `127.0.0.1:${port}`, '--to', BOB, ...args);

describe('send', () => {
  it('tells each step, ends with 0 once it is delivered, and needs no secret of the gateway', async () => {
    const attached = place.write('café "1".bin', Buffer.from([0, 1, 2, 255]));
    const words = [
      'send',
      '--config',
      configFile,
      '--server',
      `127.0.0.1:${port}`,
      '--to',
      BOB,
      '--to',
      'x@example.org',
      '--attach',
      attached,
    ];
    const { code, out, errors } = await new CommandProcess(words, place.path).ended;
    expect([code, errors]).toEqual([0, '']);
    const lines = out.split('\n').map((line) => line.replace(/^\d\d:\d\d:\d\d /, ''));
    const [, id = ''] = /queued as (\w+)/.exec(out) ?? [];
    expect(lines).toEqual([
      `Accepted by 127.0.0.1:${port}: 250 2.0.0 queued as ${id}`,
      `accepted as ${id}`,
      `an attempt began, as ${SENDER}`,
      'delivered: 2.0.0 NoError: Accepted by Exchange',
      expect.stringMatching(/^Delivered in \d+(\.\d)? s by ews$/),
    ]);
    const arrival = sandbox.arrived().at(-1);
    expect(arrival).toMatchObject({ mailbox: SENDER, from: SENDER, to: [BOB, 'x@example.org'] });
    expect(arrival?.submitted.toString()).toContain(readFileSync(attached).toString('base64'));
  });

  it('has one line of JSON for programs', async () => {
    const { code, out } = await send('--json', '--from', SENDER, '--subject', 'Hello');
    expect(code).toBe(0);
    const story = JSON.parse(out) as Record<string, unknown>;
    expect(story).toMatchObject({
      end: 'delivered',
      items: [{ state: 'relayed', transport: 'ews', sender: SENDER }],
    });
    expect(sandbox.arrived().at(-1)?.messageId).toBe(story['messageId']);
  });

  it('ends with 1 and the reason if Exchange refuses it', async () => {
    sandbox.fault({ when: { operation: 'CreateItem' }, does: { responseCode: 'ErrorInvalidRecipients' } });
    const { code, out } = await send();
    expect(code).toBe(1);
    expect(out).toContain('ErrorInvalidRecipients');
    expect(out).toMatch(/^Not delivered .*is parked.*queue show/m);
  });

  it('ends with 1 if the gateway refuses it, and tells if it is only for some', async () => {
    const some = await send('--to', 'nobody@contoso.com');
    expect(some.code).toBe(1);
    expect(some.out).toMatch(/^Refused by 127\.0\.0\.1:\d+ for nobody@contoso\.com: 550 /m);
    expect(some.out).toMatch(/^Delivered in /m);
    const server = ['--config', configFile, '--server', `127.0.0.1:${port}`];
    const all = await runCommand(sendCommand, ...server, '--to', 'nobody@contoso.com');
    expect([all.code, all.out]).toEqual([1, '']);
    expect(all.errors).toContain('550');
  });

  it('ends with 75 if nobody listens there', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const free = (server.address() as AddressInfo).port;
    server.close();
    await once(server, 'close');
    const { code, errors } = await send('--server', `127.0.0.1:${free}`);
    expect(code).toBe(75);
    expect(errors).toMatch(/ECONNREFUSED.*Is the gateway running\?/);
  });

  it('ends with 75 if it was accepted, but cannot be followed from here', async () => {
    const other = place.write('other.yaml', readFileSync(configFile, 'utf8').replace('/spool.db', '/other.db'));
    const { code, errors } = await send('--config', other);
    expect(code).toBe(75);
    expect(errors).toContain('cannot be followed');
  });

  it('logs in where a listener wants it, and shows no password', async () => {
    const server = ['--server', `127.0.0.1:${loginPort}`, '--user', 'pbx'];
    const right = await send(...server, '--password-file', place.write('right', 'right\n'));
    expect(right.code).toBe(0);
    const wrong = await send(...server, '--password-file', place.write('wrong', 'not~this~one'));
    expect(wrong.code).toBe(1);
    expect(wrong.errors).toContain('535');
    expect(wrong.out + wrong.errors).not.toContain('not~this~one');
  });

  it.each([
    [['--to', 'nobody'], '--to takes an e-mail address'],
    [['--from', '<>'], '--from takes an e-mail address'],
    [['--server', 'here'], '--server must be an address and a port'],
    [['--timeout', '5'], '--timeout needs a unit'],
    [['--user', 'pbx'], 'belong together'],
    [['--user', 'pbx', '--password-file', import.meta.filename, '--server', '192.0.2.1:25'], 'on this machine only'],
    [['--attach', '/nowhere/file'], '/nowhere/file cannot be read'],
  ])('takes no %j', async (args, problem) => {
    await expect(send(...args)).rejects.toMatchObject({
      exitCode: 64,
      message: expect.stringContaining(problem) as string,
    });
  });

  it('says which listeners do not take it, where none is named', async () => {
    await expect(runCommand(sendCommand, '--config', configFile, '--to', BOB)).rejects.toMatchObject({
      exitCode: 64,
      message: expect.stringMatching(/lan takes any free port.*--server/) as string,
    });
    await expect(runCommand(sendCommand, '--config', configFile)).rejects.toMatchObject({ exitCode: 64 });
    await expect(runCommand(sendCommand, '--config', `${place.path}/none.yaml`, '--to', BOB)).rejects.toMatchObject({
      exitCode: 78,
    });
  });

  // The last one: the mailbox pauses after it.
  it('ends with 75 if it still waits when the time is over, and says for what', async () => {
    sandbox.fault({ when: { operation: 'CreateItem' }, does: { responseCode: 'ErrorServerBusy' } });
    const { code, out } = await send('--timeout', '2s');
    expect(code).toBe(75);
    expect(out).toContain('failed for now, it is tried again: 4.');
    expect(out).toContain('ErrorServerBusy');
    expect(out).toMatch(/^Still waiting after \d+(\.\d)? s; .*queue show /m);
  });
});
