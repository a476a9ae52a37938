/**
 * Memory while one large mail is picked up and handed over: the peak of a process after 100 MB against its peak after
 * 1 MB, for every way to read a mailbox and every way to hand over; three times, the median. Linux only (reads /proc).
 * Prints a table; exit code 1 if a limit is broken.
 * Usage: pickup-memory.ts [NAME]...: only rows whose name holds one of these, for example `graph` or `ews-folder`.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { hashPassword } from '../../src/smtp/password.ts';
import { configText } from './config-text.ts';
import { folder, GatewayProcess, root } from './process.ts';

const GROWTH_LIMIT = 40;
const TURNS = Number(process.env['TURNS'] ?? 3);
const PASSWORD = 'a pass phrase of some length';
const MEGABYTE = 1_000_000;

const place = folder();
const smtp = spawn(process.execPath, [join(root, 'bench/discard.ts')], { stdio: ['ignore', 'pipe', 'inherit'] });
const smtpPort = await firstLine(smtp);
const web = createServer((request, response) => {
  request.resume();
  request.on('end', () => response.writeHead(204).end());
});
await once(web.listen(0, '127.0.0.1'), 'listening');
const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/`;
const out = join(place.path, 'out');
const key = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const hash = await hashPassword(PASSWORD);

const WAYS = ['ews', 'graph'];
const DELIVER: Readonly<Record<string, string>> = {
  smtp: `smtp: { host: 127.0.0.1, port: ${smtpPort}, to: fax@fax.local }`,
  folder: `folder: { path: ${out} }`,
  'folder-parts': `folder: { path: ${out}, form: parts }`,
  'webhook-raw': `webhook: { url: "${url}" }`,
  'webhook-multipart': `webhook: { url: "${url}", form: multipart }`,
  'webhook-signed': `webhook: { url: "${url}", secret: ${key} }`,
  command: 'command: { run: [/bin/sh, -c, "cat > /dev/null"] }',
  pop3: `pop3: { user: pbx, passwordHash: "${hash}" }`,
};

async function firstLine(child: ChildProcess): Promise<number> {
  if (child.stdout === null) throw new Error('no output');
  for await (const line of createInterface({ input: child.stdout })) return Number(line);
  throw new Error('ended without a word');
}

/** A fax as its sender attaches it. */
function mime(id: string, megabytes: number): Buffer {
  const head =
    `From: alice@contoso.com\r\nTo: fax@contoso.com\r\nSubject: size\r\nMessage-ID: <${id}@test>\r\n` +
    'Date: Thu, 26 Nov 2026 08:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n' +
    '--b\r\nContent-Type: text/plain\r\n\r\nsee the attachment\r\n--b\r\nContent-Type: image/tiff\r\n' +
    'Content-Disposition: attachment; filename=fax.tif\r\nContent-Transfer-Encoding: base64\r\n\r\n';
  const line = `${'QUJD'.repeat(19)}\r\n`;
  return Buffer.from(`${head}${line.repeat((megabytes * MEGABYTE) / line.length)}\r\n--b--\r\n`, 'latin1');
}

/** @returns MB of growth */
async function measure(
  way: string,
  name: string,
  deliver: string,
  turn: number,
): Promise<[small: number, large: number]> {
  // One that has held large mail for others would slow this one down.
  const sandbox = await startSandbox({ mailboxes: [{ address: 'fax@contoso.com' }] });
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    exchange: `  graphUrl: ${sandbox.graphUrl}`,
    more: `
spool: { sqlite: ${place.path}/${way}-${name}-${turn}/spool.db, minFree: 1MB }
pickup:
  - { mailbox: fax@contoso.com, name: fax, transport: ${way}, interval: 1s, deliver: { ${deliver} } }
${name === 'pop3' ? 'pop3: { address: 127.0.0.1, port: 0, tls: none }' : ''}`,
  });
  const gateway = new GatewayProcess(place.write('config.yaml', text), { SECRET: sandbox.clientSecret });
  try {
    await gateway.ready();
    const peaks: number[] = [];
    for (const megabytes of [0.001, 1, 100]) {
      const id = `m${megabytes}`;
      const is = (line: Readonly<Record<string, unknown>>, event: string): boolean =>
        line['event'] === event && line['messageId'] === `<${id}@test>`;
      await sandbox.receive('fax@contoso.com', { mime: mime(id, megabytes) });
      await gateway.line((line) => is(line, 'message.accepted'), 120);
      if (name === 'pop3') await fetchAll(gateway);
      await gateway.line((line) => is(line, 'delivery.relayed'), 120);
      const status = readFileSync(`/proc/${gateway.child.pid}/status`, 'utf8');
      peaks.push(Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) / 1000);
    }
    const [, small = Number.NaN, large = Number.NaN] = peaks;
    return [small, large];
  } finally {
    await gateway.stop();
    await sandbox.close();
    rmSync(join(place.path, `${way}-${name}-${turn}`), { recursive: true, force: true });
    rmSync(out, { recursive: true, force: true });
  }
}

/** A POP3 client that keeps nothing of what it fetches. */
async function fetchAll(gateway: GatewayProcess): Promise<void> {
  const { port } = await gateway.line((line) => line.event === 'listener.open' && line['listener'] === 'pop3');
  const socket = connect({ host: '127.0.0.1', port: Number(port) });
  const says = async (command: string, isEnd: (last: string) => boolean): Promise<void> => {
    if (command !== '') socket.write(`${command}\r\n`);
    let last = '';
    for (;;) {
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      last = (last + chunk.subarray(-200).toString('latin1')).slice(-200);
      if (last.startsWith('-ERR')) throw new Error(`${command}: ${last}`);
      if (isEnd(last)) return;
    }
  };
  const line = (last: string): boolean => last.endsWith('\r\n');
  await says('', line);
  await says('USER pbx', line);
  await says(`PASS ${PASSWORD}`, line);
  await says('RETR 1', (last) => last.endsWith('\r\n.\r\n'));
  await says('DELE 1', line);
  await says('QUIT', line);
  socket.destroy();
}

const wanted = process.argv.slice(2);
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const put = (name: string, ...cells: readonly string[]): void =>
  void process.stdout.write(`${name.padEnd(28)}${cells.map((cell) => cell.padStart(12)).join('')}\n`);
let isBroken = false;
put('peak resident memory, MB', '1 MB mail', '100 MB mail', 'growth', `< ${GROWTH_LIMIT}`);
try {
  for (const way of WAYS) {
    for (const [name, deliver] of Object.entries(DELIVER)) {
      const row = `${way}-${name}`;
      if (wanted.length > 0 && !wanted.some((one) => row.includes(one))) continue;
      const turns: (readonly [number, number])[] = [];
      for (let turn = 0; turn < TURNS; turn++) turns.push(await measure(way, name, deliver, turn));
      const growth = median(turns.map(([small, large]) => large - small));
      isBroken ||= !(growth < GROWTH_LIMIT);
      const figures = [median(turns.map(([small]) => small)), median(turns.map(([, large]) => large)), growth];
      put(row, ...figures.map((one) => one.toFixed(1)), growth < GROWTH_LIMIT ? '' : 'BROKEN');
    }
  }
} finally {
  smtp.kill();
  web.close();
}
place.remove();
process.exit(isBroken ? 1 : 0);
