/** The operator's command as a process of its own, beside a running gateway and in the place of one that is not running. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CommandFault } from '../../src/commands/outcome.ts';
import { queueCommand } from '../../src/commands/queue.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';
import { withoutSpool } from '../watch/exposition.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess, root } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const SENDING = 'notifications@contoso.com';
const OTHER = 'other@contoso.com';
const BOB = 'bob@contoso.com';
const BODY = `${Array.from({ length: 9_000 }, (_, n) => `line ${n} of a body over several chunks, .dots and all`).join('\r\n')}\r\n`;

let place: Folder;
let sandbox: Sandbox;
let gateways: GatewayProcess[];
let configFile: string;

beforeEach(async () => {
  place = folder();
  sandbox = await startSandbox({
    mailboxes: [{ address: SENDING }, { address: BOB }, { address: OTHER, sendAs: [SENDING] }],
  });
  gateways = [];
  const more = `bounces: { send: false }\nspool: { sqlite: ${place.path}/spool.db }`;
  configFile = place.write('config.yaml', configText({ sandbox, caFile: place.write('ca.pem', sandbox.ca), more }));
});

afterEach(async () => {
  for (const gateway of gateways) await gateway.stop('SIGKILL');
  await sandbox.close();
  place.remove();
});

async function gateway(): Promise<GatewayProcess> {
  const started = new GatewayProcess(configFile, { SECRET: sandbox.clientSecret });
  gateways.push(started);
  await started.ready();
  return started;
}

interface Ended {
  readonly code: number | null;
  readonly out: Buffer;
  readonly text: string;
  readonly errors: string;
}

/** As a process of its own. Without the gateway's secrets: an operator need not have them. */
async function queueProcess(...words: readonly string[]): Promise<Ended> {
  return readProcess(words, async () => undefined);
}

async function readProcess(words: readonly string[], wait: () => Promise<unknown>): Promise<Ended> {
  const args = [join(root, 'src/main.ts'), 'queue', ...words, '--config', configFile];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '' },
  });
  const out: Buffer[] = [];
  const errors: Buffer[] = [];
  const closed = once(child, 'close') as Promise<[number | null]>;
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  await wait();
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  const [code] = await closed;
  return ended(code, out, errors);
}

/** The same within this process, which spares the start of one. */
async function queue(...words: readonly string[]): Promise<Ended> {
  const out: Buffer[] = [];
  const errors: Buffer[] = [];
  const { options } = queueCommand;
  const { values, positionals } = parseArgs({
    args: [...words, '--config', configFile],
    options,
    allowPositionals: true,
  });
  const terminal = {
    print: (line: string) => void out.push(Buffer.from(`${line}\n`)),
    complain: (line: string) => void errors.push(Buffer.from(`${line}\n`)),
    write: async (octets: Uint8Array) => void out.push(Buffer.from(octets)),
    progress: () => undefined,
    stop: new AbortController().signal,
    onReload: () => undefined,
  };
  try {
    return ended(await queueCommand.run(values, terminal, positionals), out, errors);
  } catch (error) {
    if (!(error instanceof CommandFault)) throw error;
    terminal.complain(error.message);
    return ended(error.exitCode, out, errors);
  }
}

function ended(code: number | null, out: readonly Buffer[], errors: readonly Buffer[]): Ended {
  const all = Buffer.concat(out);
  return { code, out: all, text: all.toString(), errors: Buffer.concat(errors).toString() };
}

async function list(...words: readonly string[]): Promise<readonly Record<string, unknown>[]> {
  const { code, text, errors } = await queue('list', '--json', ...words);
  expect([code, errors]).toEqual([0, '']);
  return JSON.parse(text) as Record<string, unknown>[];
}

function refuse(mailbox: string): void {
  sandbox.fault({ when: { operation: 'CreateItem', mailbox }, does: { responseCode: 'ErrorInvalidRecipients' } });
}

/** Sends so many messages, waits until each is parked. @returns their ids */
async function park(running: GatewayProcess, count = 1): Promise<readonly string[]> {
  const smtp = await RawSmtp.open(await running.ready());
  const ids: string[] = [];
  for (let n = 1; n <= count; n++) {
    const header = `From: ${SENDING}\r\nTo: ${BOB}\r\nSubject: =?utf-8?B?${Buffer.from(`Fax ${n} \u001b[31m`).toString('base64')}?=\r\nMessage-ID: <fax.${n}@pbx.test>\r\n`;
    ids.push((await smtp.send(`fax${n}@pbx.test`, [BOB], `${header}\r\n${BODY}`)).split(' ').at(-1) ?? '');
  }
  smtp.end();
  for (const id of ids) await running.line(({ event, id: of }) => event === 'item.parked' && of === id);
  return ids;
}

const inbox = (address: string): number => sandbox.mailbox(address).inbox.length;
const relayed = async (running: GatewayProcess, id: string): Promise<unknown> =>
  running.line(({ event, id: of }) => event === 'delivery.relayed' && of === id);

describe('beside a running gateway', () => {
  it('a parked message is found, read, moved to another mailbox, and delivered', async () => {
    const running = await gateway();
    refuse(SENDING);
    const [id = ''] = await park(running);
    const socket = join(place.path, 'control.sock');
    expect(await running.event('control.open')).toMatchObject({ where: socket });
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect(statSync(socket).isSocket()).toBe(true);

    const [first, second] = (await queueProcess('list')).text.split('\n');
    expect(first).toMatch(/^ID +STATE +ARRIVED/);
    expect(second).toMatch(new RegExp(`^${id}  parked +\\d{4}-.* ${SENDING} .* ${BOB} .*ErrorInvalidRecipients`));
    expect(await list('--sender', 'fax1@pbx.test', '--message-id', 'fax.1@pbx.test', '--newer', '1h')).toMatchObject([
      { id, state: 'parked', mailbox: SENDING, recipients: [BOB] },
    ]);
    expect(await list('--older', '1h')).toEqual([]);

    const story = await queue('show', id);
    expect(story).toMatchObject({ code: 0, errors: '' });
    expect(story.text).toContain('subject     Fax 1 \ufffd[31m\n');
    expect(story.text).toContain('ErrorInvalidRecipients');
    // oxlint-disable-next-line no-control-regex -- finding them is the point
    expect(story.text).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f]/);

    const file = join(place.path, 'one.eml');
    expect(await queue('export', id, '--to', file)).toMatchObject({ code: 0, text: '' });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const exported = readFileSync(file);
    expect(exported.subarray(-BODY.length).toString()).toBe(BODY);
    expect(exported.equals((await queueProcess('export', id, '--to', '-')).out)).toBe(true);
    expect(await queue('export', id, '--to', file)).toMatchObject({ code: 1 });

    expect(await queueProcess('move', id, '--mailbox', 'Other@contoso.com')).toMatchObject({
      code: 0,
      text: `1 item moved: ${id}\n`,
      errors: '',
    });
    await relayed(running, id);
    expect(inbox(BOB)).toBe(1);
    const by = userInfo().username;
    expect(await running.event('item.moved')).toMatchObject({ id, by, mailbox: OTHER, fromMailbox: SENDING });
    expect(await running.event('item.exported')).toMatchObject({ id, by });
    const metrics = withoutSpool(await (await fetch(`${await running.consoleUrl()}/metrics`)).text());
    expect(metrics).toContain('smtp2exchange_operator_acts_total{act="move"} 1\n');
    expect((await queue('show', id)).text).toContain('Moved by an operator');
    expect(await queue('retry', id)).toMatchObject({ code: 1, errors: expect.stringContaining('has ended') as string });
    expect((await running.stop()).code).toBe(0);
    expect(running.errors).toEqual([]);
    expect(existsSync(socket)).toBe(false);
  });

  it('many are held, released, retried and dropped by filters, and a drop is asked for twice', async () => {
    const running = await gateway();
    refuse(SENDING);
    const ids = await park(running, 4);
    const [one = '', two = '', three = '', four = ''] = ids;
    expect(await queue('drop', '--sender', '*@pbx.test')).toMatchObject({
      code: 64,
      errors: expect.stringContaining('4 items would be dropped') as string,
    });
    expect(await list()).toHaveLength(4);
    expect(await queue('drop', '--sender', 'fax1@pbx.test', '--yes')).toMatchObject({ code: 0 });
    expect(await running.event('item.dropped')).toMatchObject({ id: one, why: 'operator', level: 'warn' });
    expect((await list('--state', 'dropped')).map(({ id }) => id)).toEqual([one]);

    sandbox.clearFaults();
    expect(await queue('release', two)).toMatchObject({ code: 0, text: `1 item released: ${two}\n` });
    await relayed(running, two);
    const mixed = await queueProcess('retry', three, 'nothing', one);
    expect(mixed).toMatchObject({ code: 1, text: `1 item to be tried at once: ${three}\n` });
    expect(mixed.errors).toContain('nothing: there is no such item');
    expect(mixed.errors).toContain(`${one}: it has ended already`);
    await relayed(running, three);
    expect(await queue('retry', '--all-parked', '--json')).toMatchObject({
      code: 0,
      text: `${JSON.stringify({ done: [four], notDone: [] })}\n`,
    });
    await relayed(running, four);
    expect(inbox(BOB)).toBe(3);
    expect(await queue('check')).toMatchObject({ code: 0, errors: '' });
  });

  it('what waits for its next attempt is held until it is released', async () => {
    const running = await gateway();
    sandbox.fault({ when: { operation: 'CreateItem' }, does: { responseCode: 'ErrorInternalServerTransientError' } });
    const smtp = await RawSmtp.open(await running.ready());
    const reply = await smtp.send(SENDING, [BOB], `From: ${SENDING}\r\nTo: ${BOB}\r\nSubject: later\r\n\r\nbody\r\n`);
    const id = reply.split(' ').at(-1) ?? '';
    smtp.end();
    await running.event('delivery.delayed');
    sandbox.clearFaults();
    // The attempt's end is written down right after its line in the log.
    for (let held; held !== 0;) held = (await queue('hold', id)).code;
    expect(await list('--state', 'parked')).toMatchObject([{ id }]);
    expect(await queue('release', '--all-parked')).toMatchObject({ code: 0 });
    await relayed(running, id);
    expect(inbox(BOB)).toBe(1);
  });

  it('that cannot be asked, says so with exit code 75', async () => {
    await gateway();
    rmSync(join(place.path, 'control.sock'));
    const { code, errors } = await queueProcess('list');
    expect([code, errors]).toEqual([75, expect.stringContaining('nobody answers at its control socket') as string]);
  });
});

describe('while no gateway runs', () => {
  it('the spool is opened by the command, and what it did is sent at the next start', async () => {
    const before = await gateway();
    refuse(SENDING);
    const [one = '', two = ''] = await park(before, 2);
    const exported = (await queue('export', one, '--to', '-')).out;
    // A crash leaves the socket's file.
    await before.stop('SIGKILL');
    expect(existsSync(join(place.path, 'control.sock'))).toBe(true);

    expect((await list()).map(({ id }) => id)).toEqual([one, two]);
    expect((await queue('export', one, '--to', '-')).out.equals(exported)).toBe(true);
    expect(await queue('check', '--json')).toMatchObject({ code: 0, text: '{"checked":2,"damaged":[]}\n' });
    expect(await queueProcess('move', one, '--mailbox', OTHER)).toMatchObject({
      code: 0,
      text: `1 item moved: ${one}. No gateway runs: it is sent when one is started\n`,
    });
    expect(await queue('drop', two)).toMatchObject({ code: 0 });

    const after = await gateway();
    await relayed(after, one);
    expect(inbox(BOB)).toBe(1);
    expect((await queue('show', two)).text).toContain('dropped');
  });

  it('a damaged body is found by the check and named', async () => {
    const before = await gateway();
    refuse(SENDING);
    const [one = '', two = ''] = await park(before, 2);
    expect((await before.stop()).code).toBe(0);
    const spool = new DatabaseSync(join(place.path, 'spool.db'));
    spool.prepare('DELETE FROM chunk WHERE message = ? AND number = 1').run(two);
    spool.close();
    const { code, text } = await queue('check');
    expect(code).toBe(1);
    expect(text).toContain(`${two}  `);
    expect(text).not.toContain(one);
    expect(text).toContain('2 items checked, 1 damaged');
    const file = join(place.path, 'two.eml');
    expect(await queue('export', two, '--to', file)).toMatchObject({
      code: 1,
      errors: expect.stringContaining('could be copied') as string,
    });
    expect(existsSync(file)).toBe(false);
  });

  it('a long list reaches a slow reader whole', async () => {
    const spool = await openSqliteSpool({ path: join(place.path, 'spool.db'), report: () => undefined });
    const origin = { source: 'smtp', name: 'lan', peer: '10.0.0.7' } as const;
    const envelope = { reversePath: SENDING, recipients: [{ address: BOB }] };
    for (let n = 0; n < 600; n++) {
      const draft = spool.begin();
      await draft.write(Buffer.from('\r\n'));
      await draft.commit([
        { route: 'exchange', mailbox: SENDING, envelope, origin, messageId: `<${n}@pbx.test>`, headerSize: 2 },
      ]);
    }
    await spool.close();
    const { code, text } = await readProcess(['list', '--json', '--limit', 'all'], () => pause(1_500));
    expect([code, (JSON.parse(text) as unknown[]).length]).toEqual([0, 600]);
    expect(await queue('list', '--limit', '500')).toMatchObject({
      text: expect.stringMatching(/^ID .*\n(?:\S+  queued .*\n){500}$/) as string,
      errors: expect.stringContaining('there is more') as string,
    });
    const held = await queue('hold', '--sender', '*@contoso.com', '--limit', '550');
    expect(held.text).toBe('550 items held\n');
    expect(await list('--state', 'parked', '--limit', 'all')).toHaveLength(550);
  });

  it('what is no spool is told in a sentence', async () => {
    place.write('spool.db', 'this is no database, only a text that somebody put there');
    const { code, errors } = await queue('list');
    expect(code).toBe(75);
    expect(errors).toContain(`${place.path}/spool.db`);
    expect(readFileSync(join(place.path, 'spool.db'), 'utf8')).toContain('only a text');
  });

  it('nothing is made where there is no spool', async () => {
    const { code, errors } = await queue('list');
    expect([code, errors]).toEqual([78, expect.stringContaining(`no spool at ${place.path}/spool.db`) as string]);
    expect(existsSync(join(place.path, 'spool.db'))).toBe(false);
  });

  it('a faulty configuration is told as the gateway tells it', async () => {
    configFile = place.write('config.yaml', 'spool: { sqlight: x }\nexchange: { tenantId: "${NOT_SET}" }\n');
    const { code, errors } = await queue('list');
    expect(code).toBe(78);
    expect(errors).toContain('spool.sqlight');
    expect(errors).not.toContain('NOT_SET');
  });
});
