/**
 * The order of system calls: a 250 to a message leaves the process only after the spool's log was synced with the message
 * in it. Linux, needs strace. Prints a line; exit code 1 if a reply came too early.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import { folder, root } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const MESSAGES = 25;
const CALLS = 'fsync,fdatasync,write,writev,sendto,sendmsg,pwrite64';
const place = folder();
const sandbox = await startSandbox({ mailboxes: [{ address: 'notifications@contoso.com' }] });
const config = place.write(
  'config.yaml',
  configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    more: `spool: { sqlite: ${place.path}/spool.db }\npacing: { perMailbox: { perMinute: 1 } }`,
  }),
);
const trace = join(place.path, 'trace');
const traced = spawn(
  'strace',
  [
    '-f',
    '-y',
    '-s',
    '40',
    '-o',
    trace,
    '-e',
    `trace=${CALLS}`,
    process.execPath,
    join(root, 'src/main.ts'),
    'run',
    '--config',
    config,
  ],
  { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: process.env['PATH'] ?? '', SECRET: sandbox.clientSecret } },
);
let log = '';
traced.stdout.setEncoding('utf8').on('data', (text: string) => (log += text));
async function told(event: string): Promise<void> {
  for (let tries = 0; tries < 300 && !log.includes(`"${event}"`); tries++) await pause(100);
}
await told('gateway.ready');
const port = Number(/"event":"listener\.open".*?"port":(\d+)/.exec(log)?.[1]);
const smtp = await RawSmtp.open(port);
let begin = 0;
for (let n = 0; n <= MESSAGES; n++) {
  const size = n % 5 === 0 ? 600_000 : 500;
  const body = `${'x'.repeat(70)}\r\n`.repeat(size / 72);
  const data = `From: notifications@contoso.com\r\nTo: a@contoso.com\r\nSubject: ${n}\r\n\r\n${body}`;
  await smtp.send('notifications@contoso.com', ['a@contoso.com'], data);
  if (n > 0) continue;
  // The only delivery within this minute: from now on what is written to the spool is what is accepted.
  await told('delivery.relayed');
  await pause(1_000);
  begin = readFileSync(trace).length;
}
smtp.end();
// Not strace itself, which would let go of it.
const gateway = Number(/^(\d+) /.exec(readFileSync(trace, 'utf8'))?.[1]);
process.kill(gateway, 'SIGTERM');
await once(traced, 'close');

interface Call {
  readonly what: 'asked' | 'written' | 'synced' | 'acknowledged';
}
const calls: Call[] = [];
for (const line of readFileSync(trace).subarray(begin).toString().split('\n')) {
  // A call that is still under way has no effect yet: `resumed` is its end.
  if (/"354 /.test(line)) calls.push({ what: 'asked' });
  else if (/pwrite64\(.*spool\.db-wal/.test(line)) calls.push({ what: 'written' });
  else if (/"250 2\.0\.0 queued as/.test(line)) calls.push({ what: 'acknowledged' });
  else if (/(fsync|fdatasync)\(\d+<[^>]*spool\.db-wal>\)\s+= 0|<\.\.\. (fsync|fdatasync) resumed>\)\s+= 0/.test(line))
    calls.push({ what: 'synced' });
}
let early = 0;
let acknowledged = 0;
let state: Call['what'] = 'acknowledged';
for (const { what } of calls) {
  if (what === 'acknowledged') {
    acknowledged++;
    if (state !== 'synced') early++;
    state = what;
  } else if (what === 'asked') state = what;
  else if (what === 'written' && state !== 'acknowledged') state = what;
  else if (what === 'synced' && state === 'written') state = what;
}
process.stdout.write(
  `${acknowledged} messages acknowledged, ${early} of them before the log of the spool was synced\n`,
);
await sandbox.close();
place.remove();
process.exit(acknowledged === MESSAGES && early === 0 ? 0 : 1);
