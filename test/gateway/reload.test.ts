/** The configuration is changed under a running gateway: what changes at once, what goes on, and what is refused whole. */
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { hashPassword } from '../../src/smtp/password.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import { InsideGateway } from './inside.ts';
import { FAX, handedOver, mail } from './pickup-site.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const MAILBOX = 'notifications@contoso.com';
const READER = 'bob@contoso.com';
const MESSAGE = `From: ${MAILBOX}\r\nTo: ${READER}\r\nSubject: x\r\n\r\nthe body\r\n`;

let place: Folder;
let sandbox: Sandbox;
let gateway: InsideGateway;
let earlier: number;
const undo: (() => unknown)[] = [];

beforeAll(async () => {
  sandbox = await startSandbox({ mailboxes: [MAILBOX, READER, FAX].map((address) => ({ address })) });
});

afterAll(() => sandbox.close());

beforeEach(() => {
  place = folder();
  earlier = sandbox.mailbox(READER).inbox.length;
});

afterEach(async () => {
  for (const step of undo.splice(0)) await step();
  place.remove();
});

async function start(more = '', exchange = `  graphUrl: ${sandbox.graphUrl}`): Promise<InsideGateway> {
  gateway = await InsideGateway.start(place, sandbox, { more, exchange });
  undo.unshift(() => gateway.stop());
  return gateway;
}

const added = (lines: string) => (text: string) => `${text}\n${lines}\n`;
const listeners = (list: string) => (text: string) => text.replace(/^listeners: .*$/m, `listeners: ${list}`);
const arrived = (): number => sandbox.mailbox(READER).inbox.length - earlier;
const send = (session = gateway.smtp): Promise<string> => session.send(MAILBOX, [READER], MESSAGE);
const idOf = (reply: string): string => reply.split(' ').at(-1) ?? '';
const lan = (port: number, more = ''): string =>
  `{ name: lan, address: 127.0.0.1, port: ${port}, tls: none, maxConnections: 100${more} }`;

describe('a session that is open', () => {
  it('goes on under the new rules', async () => {
    await start();
    await send();
    expect(await gateway.reload(added(`recipients: { deny: ['${READER}'] }`))).toEqual({
      ok: true,
      changed: ['recipients.deny'],
      needsRestart: [],
    });
    await gateway.smtp.say(`MAIL FROM:<${MAILBOX}>\r\n`, '250');
    expect(await gateway.smtp.say(`RCPT TO:<${READER}>\r\n`, '550')).toContain('recipients.deny');
    await gateway.smtp.say('RSET\r\n', '250');
    await gateway.reload((text) => text.replace('maxConnections: 100', `maxConnections: 100, senders: ['x@y.z']`));
    expect(await gateway.smtp.say(`MAIL FROM:<${MAILBOX}>\r\n`, '550')).toContain('listener "lan"');
    expect(await gateway.reload((text) => text)).toMatchObject({ changed: ['listeners[lan].senders'] });
    await send();
    expect(gateway.lines.filter(({ event }) => event === 'listener.open')).toHaveLength(1);
  });

  it('takes the sending mailbox of the new rules', async () => {
    await start();
    const rule = `rules: [{ from: '${MAILBOX}', mailbox: ${FAX}, header: rewrite }]`;
    expect(await gateway.reload((text) => text.replace('rules: []', rule))).toMatchObject({
      changed: ['senders.rules'],
    });
    expect(await gateway.line('delivery.relayed', { id: idOf(await send()) })).toMatchObject({ mailbox: FAX });
  });

  it('of a user who is gone is over; of one who stays it is not', async () => {
    const users = (...names: string[]): string =>
      `users: [${names.map((name) => `{ name: ${name}, passwordHash: '${hash}' }`).join(', ')}]`;
    const hash = await hashPassword('right');
    await start(users('one', 'two'));
    const auth = ', auth: optional, allowInsecureAuth: true';
    const change = (names: string) => (text: string) =>
      listeners(`[${lan(0, auth)}]`)(text).replace(/^users: .*$/m, names);
    await gateway.reload(change(users('one', 'two')));
    const sessions = await Promise.all([1, 2].map(() => RawSmtp.open(gateway.portOf('lan'))));
    for (const [index, name] of ['one', 'two'].entries()) {
      const login = Buffer.from(`\0${name}\0right`).toString('base64');
      await sessions[index]?.say(`AUTH PLAIN ${login}\r\n`, '235');
    }
    expect(await gateway.reload(change(users('two')))).toMatchObject({ changed: ['users[one]'] });
    await sessions[0]?.say(`MAIL FROM:<${MAILBOX}>\r\n`, '421');
    await send(sessions[1]);
    sessions[1]?.end();
  });
});

describe('a file that cannot be used', () => {
  it('is told with line and column, and changes nothing', async () => {
    await start();
    const reloaded = await gateway.reload((text) => `${text}\nretry: { intervals: soon }\nlog: { level: hunter2 }\n`);
    expect(reloaded).toMatchObject({ ok: false });
    const { faults } = await gateway.line('config.refused');
    expect(faults).toEqual([
      expect.stringMatching(/\.yaml:\d+:\d+: retry\.intervals: /),
      expect.stringMatching(/\.yaml:\d+:\d+: log\.level: /),
    ]);
    expect(JSON.stringify(gateway.lines)).not.toContain('hunter2');
    expect((await gateway.metrics()).get('config_last_reload_successful')).toBe(0);
    await send();
    await vi.waitFor(() => expect(arrived()).toBe(1), 10_000);
    await gateway.reload((text) => text);
    expect(await gateway.line('config.reloaded')).toMatchObject({ changed: [], needsRestart: [] });
    expect((await gateway.metrics()).get('config_last_reload_successful')).toBe(1);
  });

  it('names what only a restart applies, every time, and applies the rest', async () => {
    await start();
    const change = (text: string): string =>
      text.replace(
        'console: { address: 127.0.0.1, port: 0 }',
        'console: { address: 127.0.0.1, port: 1 }\nlog: { level: debug }',
      );
    const needsRestart = ['console.port'];
    expect(await gateway.reload(change)).toEqual({ ok: true, changed: ['console.port', 'log.level'], needsRestart });
    expect(await gateway.reload(change)).toEqual({ ok: true, changed: needsRestart, needsRestart });
    await send();
    await gateway.line('delivery.started');
    expect((await gateway.metrics()).get('config_last_reload_successful')).toBe(1);
  });
});

describe('a listener', () => {
  it('is changed at its port while a client is in the middle of DATA, and stays there for it', async () => {
    await start();
    const port = gateway.portOf('lan');
    await gateway.smtp.say(`MAIL FROM:<${MAILBOX}>\r\n`, '250');
    await gateway.smtp.say(`RCPT TO:<${READER}>\r\n`, '250');
    await gateway.smtp.say('DATA\r\n', '354');
    await gateway.smtp.write(MESSAGE);
    const changed = listeners(`[${lan(port, ', maxMessageSize: 2KB')}]`);
    expect(await gateway.reload(changed)).toMatchObject({ ok: true });
    expect(gateway.portOf('lan')).toBe(port);
    const session = await RawSmtp.open(port);
    await session.say(`MAIL FROM:<${MAILBOX}> SIZE=3000\r\n`, '552');
    await gateway.smtp.say('.\r\n', '250');
    // Under the limits that it began with.
    await gateway.smtp.say(`MAIL FROM:<${MAILBOX}> SIZE=3000\r\n`, '250');
    session.end();
  });

  it('is added and removed; whoever is connected goes on by the rules that it had', async () => {
    await start();
    const other = '{ name: other, address: 127.0.0.1, port: 0, tls: none }';
    expect(await gateway.reload(listeners(`[${lan(0)}, ${other}]`))).toMatchObject({ changed: ['listeners[other]'] });
    const port = gateway.portOf('other');
    const session = await RawSmtp.open(port);
    await send(session);
    expect(await gateway.reload((text) => text)).toMatchObject({ changed: ['listeners[other]'] });
    await expect(RawSmtp.open(port)).rejects.toThrow('ECONNREFUSED');
    await send(session);
    session.end();
    const metric = 'sessions_open{listener="other"}';
    await vi.waitFor(async () => expect((await gateway.metrics()).get(metric)).toBe(0), 5_000);
    await send();
    expect(gateway.running.listeners.map(({ name }) => name)).toEqual(['lan']);
  });

  it('whose port is taken is refused with all the rest, and the others are open as before', async () => {
    await start();
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    undo.push(() => taken.close());
    const { port } = taken.address() as AddressInfo;
    const before = gateway.portOf('lan');
    const list = `[${lan(before, ', maxRecipients: 5')}, { name: other, address: 127.0.0.1, port: ${port}, tls: none }]`;
    const reloaded = await gateway.reload((text) =>
      added(`recipients: { deny: ['${READER}'] }`)(listeners(list)(text)),
    );
    expect(reloaded).toEqual({ ok: false, faults: [expect.stringContaining(`${port}`)] });
    await gateway.line('config.refused');
    await send();
    const session = await RawSmtp.open(before);
    await send(session);
    session.end();
    expect(gateway.running.listeners).toMatchObject([{ name: 'lan', port: before }]);
  });

  it('that is gone does not keep the gateway from ending', async () => {
    await start();
    await gateway.reload(listeners('[{ name: other, address: 127.0.0.1, port: 0, tls: none }]'));
    const stopped = gateway.running.stop('enough');
    expect(await gateway.smtp.reply()).toMatch(/^421 /);
    expect(await stopped).toBe(0);
  });
});

describe('a way out', () => {
  it('gets another credential, and what waited for it goes at once', async () => {
    await start();
    await gateway.reload((text) => text.replace('${SECRET}', 'hunter2-wrong-one'));
    const id = idOf(await send());
    await gateway.line('route.held', { misconfigured: true });
    expect(await gateway.reload((text) => text)).toMatchObject({ changed: ['exchange.clientSecret'] });
    await gateway.line('delivery.relayed', { id });
    expect(JSON.stringify(gateway.lines)).not.toContain('hunter2');
  });

  it('is taken out while mail waits for it, which is told, and put back, which lets it go', async () => {
    const route = `routes: [{ name: other, transport: smtp, tenantId: x.example, clientId: 11111111-2222-3333-4444-555555555555, clientSecret: aaaaaaaaaaaaaaaaaaaa, smtp: { host: 127.0.0.1, port: PORT, tls: none, login: none } }]`;
    const sink = createServer().listen(0, '127.0.0.1');
    await once(sink, 'listening');
    const { port } = sink.address() as AddressInfo;
    sink.close();
    await start();
    const rule = `rules: [{ from: '${MAILBOX}', mailbox: ${MAILBOX}, route: other }]`;
    const withRoute = (text: string): string =>
      added(route.replace('PORT', `${port}`))(text.replace('rules: []', rule));
    expect(await gateway.reload(withRoute)).toMatchObject({ changed: ['senders.rules', 'routes[other]'] });
    const id = idOf(await send());
    await gateway.line('delivery.delayed', { id });
    await gateway.line('route.held', { route: 'other' });
    await gateway.reload((text) => text);
    await gateway.line('route.released', { route: 'other' });
    await gateway.line('route.held', { route: 'other', cause: 'NoSuchRoute' });
    const { ok } = await gateway.reload(withRoute);
    expect(ok).toBe(true);
    await vi.waitFor(() =>
      expect(
        gateway.lines.filter(({ event, id: of }) => event === 'delivery.delayed' && of === id).length,
      ).toBeGreaterThan(1),
    );
  });
});

describe('the queue', () => {
  it('goes by the new pace', async () => {
    await start('pacing: { perMailbox: { perMinute: 1 } }');
    await send();
    await send();
    await vi.waitFor(() => expect(arrived()).toBe(1), 10_000);
    const pace = (text: string): string => text.replace('perMinute: 1', 'perMinute: 100');
    expect(await gateway.reload(pace)).toMatchObject({ changed: ['pacing.perMailbox.perMinute'] });
    await vi.waitFor(() => expect(arrived()).toBe(2), 10_000);
  });

  it('goes by the new waits', async () => {
    await start('retry: { intervals: [1h] }');
    sandbox.fault({ when: { operation: 'CreateItem', count: 2 }, does: { responseCode: 'ErrorInternalServerError' } });
    const [due = 0] = [await gateway.line('delivery.delayed', { id: idOf(await send()) })].map(wait);
    expect(due).toBeGreaterThan(3_000_000);
    const retry = (text: string): string => text.replace('[1h]', '[100ms]');
    expect(await gateway.reload(retry)).toMatchObject({ changed: ['retry.intervals'] });
    await gateway.line('delivery.relayed', { id: idOf(await send()) });
  });
});

const wait = (line: Readonly<Record<string, unknown>>): number =>
  Date.parse(String(line['due'])) - Date.parse(String(line['time']));

describe('a pickup', () => {
  it('is added, changed and removed', async () => {
    await start();
    const out = `${place.path}/out`;
    mkdirSync(out);
    const pickup = (more = '') =>
      added(
        `pickup:\n  - { name: fax, mailbox: ${FAX}, transport: ews, deliver: { folder: { path: ${out} } }${more} }`,
      );
    const deliver = async (id: string) => await sandbox.receive(FAX, { mime: mail({ id, from: MAILBOX }) });
    await deliver('one');
    expect(await gateway.reload(pickup())).toMatchObject({ ok: true, changed: ['pickup[fax]'] });
    await gateway.line('delivery.relayed', { route: 'fax', messageId: '<one@contoso.com>' });
    const changed = await gateway.reload(pickup(', interval: 1h, notifications: false'));
    expect(changed).toMatchObject({ changed: ['pickup[fax].interval', 'pickup[fax].notifications'] });
    await deliver('two');
    await gateway.running.reload();
    await gateway.line('delivery.relayed', { route: 'fax', messageId: '<two@contoso.com>' });
    expect(handedOver(out).size).toBe(2);
    expect((await gateway.metrics()).get('pickup_up{pickup="fax"}')).toBe(1);
    expect(await gateway.reload((text) => text)).toMatchObject({ changed: ['pickup[fax]'] });
    expect((await gateway.metrics()).has('pickup_up{pickup="fax"}')).toBe(false);
    await deliver('three');
    await gateway.running.reload();
    expect(sandbox.mailbox(FAX).inbox).toHaveLength(1);
  });
});

describe('the POP3 door', () => {
  it('is opened, changed at its port, kept where that cannot be, and closed', async () => {
    await start();
    const hash = await hashPassword('right');
    const door = (port: number, more = '') =>
      added(`pickup:
  - { name: fax, mailbox: ${FAX}, transport: ews, deliver: { pop3: { user: fax, passwordHash: '${hash}' } } }
pop3: { address: 127.0.0.1, port: ${port}, tls: none, plainFrom: [127.0.0.0/8]${more} }`);
    expect(await gateway.reload(door(0))).toMatchObject({ ok: true, changed: ['pickup[fax]', 'pop3'] });
    const port = Number((await gateway.line('listener.open', { listener: 'pop3' }))['port']);
    expect(await greeting(port)).toMatch(/^\+OK/);
    expect(await gateway.reload(door(port, ', maxConnections: 1'))).toMatchObject({ ok: true });
    expect(await greeting(port)).toMatch(/^\+OK/);
    const taken = gateway.portOf('lan');
    expect(await gateway.reload(door(taken))).toMatchObject({ ok: false });
    expect(await greeting(port)).toMatch(/^\+OK/);
    expect(await gateway.reload((text) => text)).toMatchObject({ ok: true });
    await expect(greeting(port)).rejects.toThrow('ECONNREFUSED');
  });
});

async function greeting(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  const [line] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return String(line);
}

it('a ban outlives it, and its limits are the new ones', async () => {
  const hash = await hashPassword('right');
  const auth = listeners(`[${lan(0, ', auth: optional, allowInsecureAuth: true')}]`);
  const logins = (failures: number) => (text: string) =>
    added(`logins: { failures: ${failures}, delay: 0ms }\nusers: [{ name: one, passwordHash: '${hash}' }]`)(auth(text));
  await start();
  await gateway.reload(logins(10));
  const session = await RawSmtp.open(gateway.portOf('lan'));
  const wrong = `AUTH PLAIN ${Buffer.from('\0one\0wrong').toString('base64')}\r\n`;
  await session.say(wrong, '535');
  await gateway.reload(logins(2));
  await session.say(wrong, '535');
  await gateway.line('auth.banned');
  expect(await gateway.reload(logins(3))).toMatchObject({ changed: ['logins.failures'] });
  await session.say(wrong, '421');
});

it('under load, again and again: nothing is refused, and what got a 250 arrives', async () => {
  await start('pacing: { perMailbox: { perMinute: unlimited } }');
  const port = gateway.portOf('lan');
  const over = new AbortController();
  let sent = 0;
  const client = async (session: RawSmtp): Promise<void> => {
    while (!over.signal.aborted) {
      await send(session);
      sent++;
    }
    session.end();
  };
  await gateway.reload(listeners(`[${lan(port, ', maxMessages: 1000')}]`));
  const sessions = await Promise.all([1, 2, 3].map(() => RawSmtp.open(port)));
  const clients = Promise.all(sessions.map(client));
  for (let round = 0; round < 10; round++) {
    const change = (text: string): string =>
      text.replace('exchange:\n', `exchange:\n  timeouts: { request: ${30 + round}s }\n`);
    const list = listeners(`[${lan(port, `, maxMessages: 1000, maxRecipients: ${100 + round}`)}]`);
    expect(await gateway.reload((text) => list(change(text)))).toMatchObject({ ok: true });
    const session = await RawSmtp.open(port);
    await send(session);
    sent++;
    session.end();
  }
  over.abort();
  await clients;
  await vi.waitFor(() => expect(arrived()).toBe(sent), 20_000);
  expect(gateway.lines.filter(({ event }) => event === 'session.refused' || event === 'bug')).toEqual([]);
}, 40_000);

describe('two at a time', () => {
  it('take turns; the file as it is last is in use', async () => {
    await start();
    const results = await Promise.all([
      gateway.reload(added('log: { level: debug }')),
      gateway.reload(added('log: { level: warn }')),
    ]);
    // The first may have read what the second wrote.
    expect(results.map(({ ok }) => ok)).toEqual([true, true]);
    expect(await gateway.reload(added('log: { level: warn }'))).toMatchObject({ changed: [] });
  });

  it('beside the end: the end wins, and nothing is open after it', async () => {
    await start();
    const port = gateway.portOf('lan');
    const reloading = gateway.reload(listeners(`[${lan(port, ', maxRecipients: 5')}]`));
    const stopped = gateway.running.stop('enough');
    await reloading;
    expect(await stopped).toBe(0);
    await expect(RawSmtp.open(port)).rejects.toThrow('ECONNREFUSED');
    expect(await gateway.running.reload()).toEqual({ ok: false, faults: ['The gateway is stopping'] });
  });
});

it('SIGHUP does all this to the process', async () => {
  const caFile = place.write('ca.pem', sandbox.ca);
  const text = configText({ sandbox, caFile, more: `spool: { sqlite: ${place.path}/spool.db }` });
  const file = place.write('config.yaml', text);
  const process = new GatewayProcess(file, { SECRET: sandbox.clientSecret });
  undo.unshift(() => process.stop('SIGKILL'));
  const session = await RawSmtp.open(await process.ready());
  writeFileSync(file, `${text}\n  indented: { wrongly\n`);
  process.child.kill('SIGHUP');
  expect(await process.event('config.refused')).toMatchObject({
    level: 'error',
    faults: expect.arrayContaining([expect.stringContaining('config.yaml:')]) as unknown,
  });
  writeFileSync(file, `${text}\nrecipients: { deny: ['${READER}'] }\n`);
  process.child.kill('SIGHUP');
  expect(await process.event('config.reloaded')).toMatchObject({ changed: ['recipients.deny'] });
  await session.say(`MAIL FROM:<${MAILBOX}>\r\n`, '250');
  await session.say(`RCPT TO:<${READER}>\r\n`, '550');
  session.end();
  expect((await process.stop()).code).toBe(0);
  expect(process.noise).toEqual([]);
});
