/**
 * An alarm for a program: started without a shell, the facts in its environment and as JSON on its standard input. It
 * inherits no other variable than those given, so no secret of the gateway. Exit code 0 is success; at the time limit it
 * is asked to end, and killed a moment later. Never rejects.
 */
import { spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { Channel, Sent } from './alarm-channel.ts';
import type { Notice } from './alarm-notice.ts';
import { noticeJson } from './alarm-notice.ts';
import { moment } from './alarm-words.ts';

/** Milliseconds between being asked to end and being killed. */
const KILL_AFTER = 2_000;
/** Characters of its standard error that are kept. */
const KEPT = 2_000;

/**
 * @param command the program, by its path or its name in PATH, and its arguments; at least one word
 * @param environment what the program gets besides the facts
 */
export function commandChannel(
  name: string,
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
): Channel {
  return {
    name,
    send: (notice, signal) => run(command, { ...environment, ...factsOf(notice) }, `${noticeJson(notice)}\n`, signal),
  };
}

/** The variables, a contract (docs/alarms.md). */
export function factsOf(notice: Notice): Readonly<Record<string, string>> {
  return {
    ALARM_NOTICE: notice.notice,
    ALARM_ID: notice.alarm,
    ALARM_REASON: notice.reason,
    ALARM_SEVERITY: notice.severity,
    ALARM_GATEWAY: notice.gateway,
    ALARM_TITLE: notice.title,
    ALARM_TEXT: notice.lines.join('\n'),
    ALARM_SINCE: moment(notice.since),
    ALARM_AT: moment(notice.at),
  };
}

async function run(
  [program = '', ...words]: readonly string[],
  env: Readonly<Record<string, string>>,
  input: string,
  signal: AbortSignal,
): Promise<Sent> {
  const { promise, resolve } = Promise.withResolvers<Sent>();
  const child = spawn(program, words, { env, shell: false, stdio: ['pipe', 'ignore', 'pipe'], windowsHide: true });
  // Before all else: unheard, it would end the gateway.
  child.once('error', (error: NodeJS.ErrnoException) => resolve(notStarted(program, error.code ?? error.message)));
  // Without a file descriptor left there are no pipes, whatever the types say.
  const { stdin, stderr }: { readonly stdin?: Writable; readonly stderr?: Readable } = child;
  let said = '';
  stderr?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-KEPT)));
  // It need not read what it is given.
  stdin?.on('error', () => undefined).end(input);

  let killing: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    child.kill('SIGTERM');
    killing = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  // Not `close`: something that the program left behind may hold its standard error.
  child.once('exit', (code, killedBy) => setImmediate(() => resolve(endOf(program, code, killedBy, said))));
  if (signal.aborted) onAbort();

  const sent = await promise;
  signal.removeEventListener('abort', onAbort);
  clearTimeout(killing);
  stderr?.destroy();
  return sent;
}

function notStarted(program: string, code: string): Sent {
  const why =
    code === 'ENOENT'
      ? 'there is no such program'
      : code === 'EACCES'
        ? 'the gateway may not execute it'
        : `it cannot be started (${code})`;
  return { ok: false, failure: `${program}: ${why}`, final: code === 'ENOENT' || code === 'EACCES' };
}

function endOf(program: string, code: number | null, killedBy: string | null, said: string): Sent {
  if (code === 0) return { ok: true };
  const last = said.trimEnd().split('\n').at(-1) ?? '';
  const how = code === null ? `was ended by ${killedBy ?? 'a signal'}` : `ended with ${code}`;
  return { ok: false, failure: `${program} ${how}${last === '' ? '' : `: ${last.slice(0, 300)}`}` };
}
