/**
 * Memory and event loop while one large message passes: the peak of a process that relays 100 MB against one that
 * relays 1 MB. Three times: the median of the peaks, and the shortest of the longest blocks, to which other work on the
 * machine can only add. Linux only (reads /proc). Prints a table; exit code 1 if a limit is broken.
 * Usage: memory.ts [graph | postgres]; the way out is EWS otherwise, and the spool SQLite.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import { folder, GatewayProcess, root } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';
import { PostgresServer } from '../spool/postgres-server.ts';

const byGraph = process.argv[2] === 'graph';
const database = process.argv[2] === 'postgres' ? await PostgresServer.start() : undefined;
// Taking a message apart loads more code than passing it on, and a slice of it is held.
// What reads a database's answers makes pieces too.
const GROWTH_LIMIT = byGraph || database !== undefined ? 40 : 30;
const PEAK_LIMIT = 220;
const BLOCKED_LIMIT = 0.05;

const place = folder();
const sandbox = await startSandbox({
  mailboxes: [{ address: 'notifications@contoso.com', maxSendSize: 150 * 1024 * 1024 }],
});
const stub = spawn(process.execPath, [join(root, 'bench/stub.ts'), '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
let stubPort = 0;
for await (const line of createInterface({ input: stub.stdout })) {
  stubPort = Number(line);
  break;
}
const caFile = place.write('ca.pem', sandbox.ca);

interface Figures {
  readonly peak: number;
  readonly blocked: number;
}

async function spoolOf(name: string): Promise<string> {
  if (database === undefined) return `{ sqlite: ${place.path}/spool-${name}.db, minFree: 1MB }`;
  return `{ postgres: '${await database.freshUrl()}', folder: ${place.path}/data-${name} }`;
}

async function relay(megabytes: number, turn: number): Promise<Figures> {
  const config = place.write(
    `config-${megabytes}-${turn}.yaml`,
    configText({
      ...(byGraph ? { exchange: `  transport: graph\n  graphUrl: ${sandbox.graphUrl}` } : {}),
      sandbox: { ...sandbox, ewsUrl: `http://127.0.0.1:${stubPort}/EWS/Exchange.asmx` },
      caFile,
      listeners: '[{ name: lan, address: 127.0.0.1, port: 0, tls: none, maxMessageSize: 150MB }]',
      more: `spool: ${await spoolOf(`${megabytes}-${turn}`)}`,
    }),
  );
  const gateway = new GatewayProcess(config, { SECRET: sandbox.clientSecret });
  const port = await gateway.ready();
  const metrics = new URL('/metrics', await gateway.consoleUrl());
  const smtp = await RawSmtp.open(port);
  // The first message brings everything into memory that is loaded on first use.
  const header = 'From: notifications@contoso.com\r\nTo: b@contoso.com\r\nSubject: size\r\n';
  await smtp.send('notifications@contoso.com', ['b@contoso.com'], `${header}Message-ID: <warm@test>\r\n\r\nx\r\n`);
  await gateway.event('delivery.relayed');
  await (await fetch(metrics)).text();
  await smtp.say('MAIL FROM:<notifications@contoso.com>\r\n', '250');
  await smtp.say('RCPT TO:<b@contoso.com>\r\n', '250');
  await smtp.say('DATA\r\n', '354');
  // Graph takes large attachments, but no large text.
  const type = byGraph ? 'Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n' : '';
  await smtp.write(`${header}Message-ID: <big@test>\r\n${type}\r\n`);
  const piece = byGraph ? `${'x'.repeat(76)}\r\n`.repeat(832) : `${'x'.repeat(998)}\r\n`.repeat(64);
  for (let left = megabytes * 1_000_000; left > 0; left -= piece.length) await smtp.write(piece);
  await smtp.say('.\r\n', '250');
  await gateway.line((line) => line.event === 'delivery.relayed' && line['messageId'] === '<big@test>', 120);
  const text = await (await fetch(metrics)).text();
  const blocked = Number(/^nodejs_eventloop_lag_max_seconds(?:\{[^}]*\})? (\S+)$/m.exec(text)?.[1] ?? Number.NaN);
  const peak =
    Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${gateway.child.pid}/status`, 'utf8'))?.[1] ?? Number.NaN) /
    1000;
  smtp.end();
  await gateway.stop();
  return { peak, blocked };
}

const turns: { readonly small: Figures; readonly large: Figures }[] = [];
for (let turn = 0; turn < 3; turn++) turns.push({ small: await relay(1, turn), large: await relay(100, turn) });
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[1] ?? Number.NaN;
const small = { peak: median(turns.map((turn) => turn.small.peak)) };
const large = {
  peak: median(turns.map((turn) => turn.large.peak)),
  blocked: Math.min(...turns.map((turn) => turn.large.blocked)),
};
const rows: [string, number, string, boolean][] = [
  ['peak resident memory, 1 MB message (MB)', small.peak, '', true],
  ['peak resident memory, 100 MB message (MB)', large.peak, `< ${PEAK_LIMIT}`, large.peak < PEAK_LIMIT],
  ['growth (MB)', large.peak - small.peak, `< ${GROWTH_LIMIT}`, large.peak - small.peak < GROWTH_LIMIT],
  [
    'event loop blocked at most, 100 MB message (ms)',
    large.blocked * 1000,
    `< ${BLOCKED_LIMIT * 1000}`,
    large.blocked < BLOCKED_LIMIT,
  ],
];
for (const [what, value, limit, holds] of rows) {
  process.stdout.write(
    `${what.padEnd(52)}${value.toFixed(1).padStart(8)}  ${limit.padEnd(8)}${holds ? '' : '  BROKEN'}\n`,
  );
}
stub.kill();
await once(stub, 'close');
await sandbox.close();
await database?.close();
place.remove();
process.exit(rows.every(([, , , holds]) => holds) ? 0 : 1);
