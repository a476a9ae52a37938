/** Real programs, and the table of their exit codes row by row. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { commandTransport } from '../../src/legacy/command.ts';
import type { CommandOptions } from '../../src/legacy/command.ts';
import { meaningOfEnd, notStarted } from '../../src/legacy/command-answers.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import type { DeliveryStatus } from '../../src/mail/status.ts';
import { FAX, journal, large, never, outgoing, PLAIN } from './site.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(realpathSync(tmpdir()), 'smtp2exchange-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const environment = { PATH: process.env['PATH'] ?? '' };
type Command = CommandOptions['command'];
/** A program in JavaScript. */
const script = (text: string, ...words: string[]): Command => [process.execPath, '-e', text, ...words];
const shell = (text: string): Command => ['sh', '-c', text];
const open = (command: Command, more: Partial<CommandOptions> = {}): ReturnType<typeof commandTransport> =>
  commandTransport({ command, timeout: 20_000, environment, ...more });
const deliver = (
  command: Command,
  given = outgoing(PLAIN),
  more: Partial<CommandOptions> = {},
  signal = never,
): Promise<DeliveryStatus> => open(command, more).deliver(given, signal);

/** Resolves when the file is there. */
async function appeared(name: string): Promise<void> {
  const watcher = watch(folder);
  while (!existsSync(join(folder, name))) await once(watcher, 'change');
  watcher.close();
}

describe('a program', () => {
  it('gets the message, the facts, its arguments as they are, its folder, and nothing else of ours', async () => {
    process.env['COMMAND_TEST_SECRET'] = 'topsecret';
    try {
      const text = `
        const { writeFileSync, readFileSync } = require('node:fs');
        const [, ...words] = process.argv;
        writeFileSync('out.json', JSON.stringify({ env: process.env, input: readFileSync(0, 'utf8'), words, folder: process.cwd() }));`;
      const given = outgoing(PLAIN, { id: '01kb000000000abc', to: ['+493012345@fax.local', '"a b"@x.test'] });
      expect(await deliver(script(text, '$HOME; exit 3', '*'), given, { folder })).toEqual({
        outcome: 'relayed',
        code: '2.0.0',
        cause: 'EXIT 0',
        text: 'Accepted by the program',
        reason: `${process.execPath} ended with 0`,
      });
    } finally {
      delete process.env['COMMAND_TEST_SECRET'];
    }
    expect(JSON.parse(readFileSync(join(folder, 'out.json'), 'utf8'))).toEqual({
      input: PLAIN,
      words: ['$HOME; exit 3', '*'],
      folder,
      env: {
        ...environment,
        SMTP2EXCHANGE_ID: '01kb000000000abc',
        SMTP2EXCHANGE_MESSAGE_ID: '<1@contoso.test>',
        SMTP2EXCHANGE_FROM: 'ann@contoso.test',
        SMTP2EXCHANGE_TO: '+493012345@fax.local\n"a b"@x.test',
        SMTP2EXCHANGE_SUBJECT: 'Für dich (urgent)',
        SMTP2EXCHANGE_DATE: '2026-11-25T09:00:00.000Z',
        SMTP2EXCHANGE_RECEIVED_AT: '2026-11-25T09:00:05.000Z',
        SMTP2EXCHANGE_MAILBOX: FAX,
        SMTP2EXCHANGE_PICKUP: 'fax',
        SMTP2EXCHANGE_SIZE: String(PLAIN.length),
      },
    });
  });

  it('need not read its input', async () => {
    const given = large(10 * 1024 * 1024);
    expect(await deliver(['true'], given)).toMatchObject({ outcome: 'relayed' });
    expect(await deliver(shell('exec <&-; sleep 0.1; exit 67'), given)).toMatchObject({
      outcome: 'failed',
      code: '5.1.1',
    });
    expect(given.asked()).toBeLessThan(1024 * 1024);
  });

  it('is fed as fast as it reads', async () => {
    const size = 100 * 1024 * 1024;
    const given = large(size);
    const hash = createHash('sha256');
    for await (const chunk of given.open()) hash.update(chunk);
    const stopped = join(folder, 'stopped');
    const text = `
      const { createHash } = require('node:crypto');
      const { writeFileSync, existsSync } = require('node:fs');
      const hash = createHash('sha256');
      setInterval(() => {}, 1_000);
      process.stdin.once('readable', () => writeFileSync(process.argv[1], ''));
      process.once('SIGCONT', () => process.stdin.on('data', (chunk) => hash.update(chunk)));
      process.stdin.on('end', () => process.exit(hash.digest('hex') === process.argv[2] ? 0 : 1));
      writeFileSync(process.argv[1] + '.pid', String(process.pid));`;
    const running = deliver(script(text, stopped, hash.digest('hex')), given);
    await appeared('stopped');
    // Nothing is taken from the pipe now: it and the program's first buffer are all that can wait.
    expect(given.asked()).toBeLessThan(1024 * 1024);
    process.kill(Number(readFileSync(`${stopped}.pid`, 'utf8')), 'SIGCONT');
    expect(await running).toMatchObject({ outcome: 'relayed' });
    expect(given.asked()).toBeGreaterThan(size - 100);
  });

  it('is quoted: the first 1,000 characters, on one line', async () => {
    const text = `process.stderr.write('\\u001b[31mno\\n fax ' + 'ä'.repeat(300000), () => process.exit(69))`;
    const { reason } = await deliver(script(text));
    expect(reason).toMatch(/EX_UNAVAILABLE\) \(69\). It says: \[31mno fax ä+\.\.\.$/);
    expect(reason?.match(/\[31m.*ä/)?.[0]).toHaveLength(1_000);
  });

  it('that leaves something behind which holds its standard error is over all the same', async () => {
    const status = await deliver(
      shell('sleep 20 & echo $! > "$0"; echo done >&2; exit 75'.replace('$0', join(folder, 'pid'))),
    );
    process.kill(Number(readFileSync(join(folder, 'pid'), 'utf8')));
    expect(status).toMatchObject({ outcome: 'delayed', reason: expect.stringMatching(/It says: done$/) });
  });
});

describe('a program that does not end', () => {
  it('is asked to, and counts as delayed, a number of times', async () => {
    const status = await deliver(
      script(`process.on('SIGTERM', () => process.exit(9)); setInterval(() => {}, 1000);`),
      undefined,
      {
        timeout: 500,
      },
    );
    expect(status).toMatchObject({
      outcome: 'delayed',
      code: '4.3.0',
      reach: 'message',
      cause: 'TIMEOUT',
      capped: true,
      reason: expect.stringContaining('within 0.5 s'),
    });
  });

  it('is killed with what it started when it does not listen', async () => {
    const stop = new AbortController();
    const closed = Promise.withResolvers<void>();
    const server = createServer((socket) => {
      socket.on('error', () => {}).on('close', () => closed.resolve());
      stop.abort();
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const below = join(folder, 'below.js');
    writeFileSync(
      below,
      `process.on('SIGTERM', () => {}); require('node:net').connect(${(server.address() as AddressInfo).port}, '127.0.0.1')`,
    );
    const text = `trap '' TERM; '${process.execPath}' '${below}' & while :; do sleep 0.05; done`;
    const status = await deliver(shell(text), undefined, { killAfter: 100 }, stop.signal);
    expect(status).toMatchObject({ outcome: 'unknown' });
    await closed.promise;
    server.close();
  });

  it('is ended when the gateway stops, and nobody knows what it did; unless it says that it is through', async () => {
    for (const [then, expected] of [
      ['exit 1', { outcome: 'unknown', cause: 'ABORTED' }],
      ['exit 0', { outcome: 'relayed' }],
    ] as const) {
      rmSync(join(folder, 'up'), { force: true });
      const stop = new AbortController();
      const given = outgoing(PLAIN, { journal: journal() });
      const text = `trap '${then}' TERM; : > '${join(folder, 'up')}'; while :; do sleep 0.05; done`;
      const running = deliver(shell(text), given, {}, stop.signal);
      await appeared('up');
      stop.abort();
      expect(await running).toMatchObject(expected);
    }
    expect(await deliver(['true'], outgoing(PLAIN), {}, AbortSignal.abort())).toMatchObject({ outcome: 'delayed' });
  });
});

describe('a message that cannot be read to its end', () => {
  it('is never taken by its program for the whole', async () => {
    const given = outgoing(PLAIN, {
      async *open() {
        yield Buffer.from(PLAIN.slice(0, -1));
        throw new SpoolError('io', 'the disk is gone');
      },
    });
    const ended = join(folder, 'ended');
    expect(await deliver(shell(`cat > /dev/null; : > '${ended}'`), given)).toMatchObject({
      outcome: 'delayed',
      cause: 'spool io',
    });
    expect(existsSync(ended)).toBe(false);
    const short = outgoing(PLAIN, { size: PLAIN.length + 1 });
    expect(await deliver(shell(`cat > /dev/null; : > '${ended}'`), short)).toMatchObject({
      outcome: 'delayed',
      capped: true,
    });
    expect(existsSync(ended)).toBe(false);
  });
});

describe('a program that cannot be started', () => {
  it('is a fault of the configuration', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, 'no program');
    const empty = join(folder, 'script');
    writeFileSync(empty, '#!/no/such/shell\n');
    chmodSync(empty, 0o755);
    const misconfigured = { outcome: 'delayed', code: '4.3.5', reach: 'transport' };
    for (const [command, cause, more] of [
      [['no-such-program-of-ours'], 'ENOENT', {}],
      [[file], 'EACCES', {}],
      [[empty], 'ENOENT', {}],
      [[join(file, 'below')], 'ENOTDIR', {}],
      [['true'], 'ENOENT', { folder: join(folder, 'none') }],
    ] as const) {
      const status = await deliver([...command], undefined, more);
      expect(status).toMatchObject({ ...misconfigured, cause });
      expect(status.reason).toContain(command[0]);
    }
    expect(await deliver(shell('no-such-program-of-ours 2>/dev/null'))).toMatchObject({
      ...misconfigured,
      cause: 'EXIT 127',
    });
  });

  it.each(['EAGAIN', 'ENOMEM', 'EMFILE'])('waits: %s', (code) =>
    expect(notStarted('fax', code)).toMatchObject({
      outcome: 'delayed',
      code: '4.3.0',
      reach: 'transport',
      cause: code,
    }),
  );

  it('has more recipients than fit into a variable', async () => {
    const to = Array.from({ length: 4_000 }, (_, index) => `+493012345${index}@fax.contoso.local`);
    expect(await deliver(['true'], outgoing(PLAIN, { to }))).toMatchObject({ outcome: 'failed', code: '5.5.3' });
    expect(await deliver(['true'], outgoing(PLAIN, { to: to.slice(0, 3_000) }))).toMatchObject({ outcome: 'relayed' });
  });
});

const later = { outcome: 'delayed', code: '4.3.0', reach: 'message' };
const mend = { outcome: 'delayed', code: '4.3.5', reach: 'transport' };
const EXITS: readonly (readonly [code: number, expected: object])[] = [
  [0, { outcome: 'relayed' }],
  ...[1, 2, 63, 79, 125, 128, 193, 255].map((code) => [code, { outcome: 'failed', code: '5.3.0' }] as const),
  [64, mend],
  [65, { outcome: 'failed', code: '5.6.0' }],
  [66, { outcome: 'failed', code: '5.3.0' }],
  [67, { outcome: 'failed', code: '5.1.1' }],
  [68, { outcome: 'failed', code: '5.1.2' }],
  [69, { outcome: 'failed', code: '5.3.0' }],
  [70, { outcome: 'failed', code: '5.3.0' }],
  [71, later],
  [72, { outcome: 'failed', code: '5.3.0' }],
  [73, { outcome: 'failed', code: '5.2.0' }],
  [74, { outcome: 'failed', code: '5.3.0' }],
  [75, later],
  [76, { outcome: 'failed', code: '5.5.0' }],
  [77, { outcome: 'failed', code: '5.7.0' }],
  [78, mend],
  [126, mend],
  [127, mend],
  ...[129, 137, 143].map((code) => [code, later] as const),
];

describe('an exit code', () => {
  it.each(EXITS)('%i', (code, expected) => {
    const status = meaningOfEnd('fax', { kind: 'exit', code }, 'busy\n');
    expect(status).toMatchObject({ cause: `EXIT ${code}`, ...expected });
    expect(status.reason).toMatch(new RegExp(`^fax .*${code}.*It says: busy$`));
  });

  it('comes from a real program, as does a signal', async () => {
    expect(await deliver(shell('exit 75'))).toMatchObject({ ...later, cause: 'EXIT 75' });
    expect(await deliver(shell('exit 77'))).toMatchObject({ outcome: 'failed', cause: 'EXIT 77' });
    expect(await deliver(shell('kill -9 $$'))).toMatchObject({ ...later, cause: 'SIGKILL' });
  });
});

describe('a crash of the gateway', () => {
  it('leaves a doubt while a program runs, and at no other time', async () => {
    const words: string[] = [];
    const given = outgoing(PLAIN, { journal: journal(words) });
    const transport = open(shell('exit 75'));
    expect(await transport.verify(given, never)).toMatchObject({ outcome: 'absent', certain: expect.any(String) });
    await transport.deliver(given, never);
    expect(words).toEqual(['running', 'ended']);
    expect(await transport.verify(given, never)).toMatchObject({ outcome: 'absent', certain: expect.any(String) });
    expect(await transport.verify(outgoing(PLAIN, { journal: journal(['running']) }), never)).toMatchObject({
      outcome: 'unknowable',
      reason: expect.stringContaining('sh was running'),
    });
    expect(await transport.verify(outgoing(PLAIN), never)).toMatchObject({ outcome: 'unknowable' });
  });
});

describe('the script of the documentation', () => {
  it('takes a message once, and only whole', async () => {
    const docs = readFileSync(join(import.meta.dirname, '../../docs/hand-over.md'), 'utf8');
    const sample = /```sh\n(#![^`]*)```/.exec(docs)?.[1] ?? '';
    const program = join(folder, 'take');
    const inbox = join(folder, 'in');
    mkdirSync(inbox);
    writeFileSync(program, sample.replace('/var/spool/fax-in', inbox), { mode: 0o755 });
    const given = outgoing(PLAIN);
    expect(await deliver([program], given)).toMatchObject({ outcome: 'relayed' });
    expect(await deliver([program], given)).toMatchObject({ outcome: 'relayed' });
    expect(readFileSync(join(inbox, `${given.item.id}.eml`), 'utf8')).toBe(PLAIN);
    const short = spawnSync(program, {
      input: 'half',
      env: { ...environment, SMTP2EXCHANGE_ID: 'x', SMTP2EXCHANGE_SIZE: '5' },
    });
    expect(short.status).toBe(75);
    expect(readdirSync(inbox).filter((name) => name.endsWith('.eml'))).toEqual([`${given.item.id}.eml`]);
  });
});
