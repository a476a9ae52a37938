/** Real programs, told of an alarm. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Sent } from '../../src/watch/alarm-channel.ts';
import { commandChannel } from '../../src/watch/alarm-command.ts';
import { noticeJson } from '../../src/watch/alarm-notice.ts';
import { notice } from './alarm-notices.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const environment = { PATH: process.env['PATH'] ?? '' };
const run = (command: readonly string[], signal = new AbortController().signal): Promise<Sent> =>
  commandChannel('pager', command, environment).send(notice(), signal);
/** A program in JavaScript. */
const script = (text: string, ...words: string[]): readonly string[] => [process.execPath, '-e', text, ...words];

describe('a program', () => {
  it('gets the facts in its environment and on its standard input, its arguments as they are, and nothing else of ours', async () => {
    const file = join(folder, 'out.json');
    process.env['ALARM_TEST_SECRET'] = 'topsecret';
    try {
      const text = `
        const { writeFileSync, readFileSync } = require('node:fs');
        writeFileSync(process.argv[1], JSON.stringify({ env: process.env, input: readFileSync(0, 'utf8'), words: process.argv.slice(2) }));`;
      expect(await run(script(text, file, '$HOME; exit 3', '*'))).toEqual({ ok: true });
    } finally {
      delete process.env['ALARM_TEST_SECRET'];
    }
    const got = JSON.parse(readFileSync(file, 'utf8')) as { env: object; input: string; words: string[] };
    expect(got.input).toBe(`${noticeJson(notice())}\n`);
    expect(got.words).toEqual(['$HOME; exit 3', '*']);
    expect(got.env).toEqual({
      ...environment,
      ALARM_NOTICE: 'raised',
      ALARM_ID: 'ewsClosed:exchange',
      ALARM_REASON: 'ewsClosed',
      ALARM_SEVERITY: 'critical',
      ALARM_GATEWAY: 'gateway.contoso.com',
      ALARM_TITLE: 'Exchange has closed EWS to this gateway (HTTP 403)',
      ALARM_TEXT: 'Nothing is sent & kept.\nSet-OrganizationConfig -EwsAllowedAppIDs "<existing list>,c1d2"',
      ALARM_SINCE: '2026-11-24T02:59:00Z',
      ALARM_AT: '2026-11-24T03:00:00Z',
    });
  });

  it('is found in PATH by its name', async () => {
    expect(await run(['true'])).toEqual({ ok: true });
  });

  it('need not read its input', async () => {
    expect(await run(script('process.stdin.destroy()'))).toEqual({ ok: true });
  });

  it('that ends with another code may work the next time; the last line it wrote says why', async () => {
    const sent = await run(script("console.error('first'); console.error('no line to the pager'); process.exit(3)"));
    expect(sent).toEqual({ ok: false, failure: `${process.execPath} ended with 3: no line to the pager` });
  });

  it('is asked to end at the time limit, and killed when it does not want to', async () => {
    const limit = new AbortController();
    const file = join(folder, 'said');
    const text = `
      const { writeFileSync } = require('node:fs');
      process.on('SIGTERM', () => writeFileSync(process.argv[1], 'asked'));
      setInterval(() => {}, 1000);
      writeFileSync(process.argv[1], 'up');`;
    const sending = run(script(text, file), limit.signal);
    while (!existsSync(file) || readFileSync(file, 'utf8') !== 'up') await pause(20);
    limit.abort();
    expect(await sending).toEqual({ ok: false, failure: `${process.execPath} was ended by SIGKILL` });
    expect(readFileSync(file, 'utf8')).toBe('asked');
  });

  it('that leaves something behind which holds its output does not hold up anything', async () => {
    const text = `require('node:child_process').spawn(process.execPath, ['-e', 'setTimeout(() => {}, 3000)'], { stdio: 'inherit', detached: true }).unref()`;
    const begun = performance.now();
    expect(await run(script(text))).toEqual({ ok: true });
    expect(performance.now() - begun).toBeLessThan(2_500);
  });

  it.each([
    ['is not there', 'no-such-program', 'there is no such program'],
    ['may not be executed', 'plain.txt', 'the gateway may not execute it'],
  ])('that %s is not tried again', async (_, name, why) => {
    const file = join(folder, name);
    if (name === 'plain.txt') {
      writeFileSync(file, 'x');
      chmodSync(file, 0o600);
    }
    expect(await run([file])).toEqual({ ok: false, failure: `${file}: ${why}`, final: true });
  });

  it('for which no file descriptor is left does not take the gateway down', async () => {
    const channel = JSON.stringify(new URL('../../src/watch/alarm-command.ts', import.meta.url).href);
    const text = `
      const { openSync } = await import('node:fs');
      const { commandChannel } = await import(${channel});
      const send = () => commandChannel('pager', ['true'], {}).send(${JSON.stringify(notice())}, new AbortController().signal);
      try { for (;;) openSync('/dev/null', 'r'); } catch {}
      const sent = await send();
      await new Promise((resolve) => setTimeout(resolve, 50));
      process.stdout.write(JSON.stringify(sent));`;
    const limited = ['-c', 'ulimit -n 64; exec "$0" --input-type=module -e "$1"', process.execPath, text];
    const { stdout, stderr } = spawnSync('sh', limited, { encoding: 'utf8', timeout: 20_000 });
    expect({ stdout, stderr }).toEqual({
      stdout: JSON.stringify({ ok: false, failure: 'true: it cannot be started (EMFILE)', final: false }),
      stderr: '',
    });
  });

  it('is not started by an abort that came before', async () => {
    expect(await run(script('setInterval(() => {}, 1000)'), AbortSignal.abort())).toMatchObject({ ok: false });
  });
});
