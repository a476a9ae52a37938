/**
 * HAProxy, as deploy/haproxy/haproxy.cfg sets it up, in front of two gateways on one database: each gateway sees the
 * client's address; one that is killed, or stopped, is passed over, and back as soon as it is ready.
 *
 * Usage: cluster-haproxy.ts. Prints what holds; exit code 1 if something does not. Needs haproxy; without it nothing is
 * tested, which is said, and is a failure in CI.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { freePort, PostgresServer, withoutPostgres } from '../spool/postgres-server.ts';
import { GatewayCluster, mailOf, until } from './cluster.ts';
import type { GatewayProcess } from './process.ts';
import { root } from './process.ts';

const FROM = 'notifications@contoso.com';
const TO = 'y@contoso.com';
/** Loopback is a network: a client with an address of its own, which HAProxy does not have. */
const CLIENT = '127.0.0.77';

if (spawnSync('haproxy', ['-v']).status !== 0) {
  process.stdout.write('not tested: there is no haproxy on this machine; apt-get install haproxy\n');
  process.exit(process.env['CI'] === undefined ? 0 : 1);
}
if (withoutPostgres() !== undefined) process.exit(0);

const server = await PostgresServer.start();
const sandbox = await startSandbox({ mailboxes: [FROM, TO].map((address) => ({ address })) });
const cluster = new GatewayCluster({ sandbox, url: await server.freshUrl() });
const front = await freePort();
const NAMES = ['gateway-a', 'gateway-b'] as const;
type Name = (typeof NAMES)[number];
const places = new Map<Name, { readonly smtp: number; readonly console: number }>();
for (const name of NAMES) places.set(name, { smtp: await freePort(), console: await freePort() });

/** The file as it is, with this machine's ports. */
function haproxyConfig(): string {
  let text = readFileSync(join(root, 'deploy/haproxy/haproxy.cfg'), 'utf8');
  const put = (what: RegExp, by: string): void => {
    if (!what.test(text)) throw new Error(`deploy/haproxy/haproxy.cfg has no ${what}`);
    text = text.replace(what, by);
  };
  put(/bind :25\b/, `bind 127.0.0.1:${front}`);
  put(/log \/dev\/log local0 info/, 'log stdout format raw local0 info');
  put(/ port 8025 /, ' ');
  for (const [name, { smtp, console }] of places)
    put(new RegExp(`server ${name} \\S+`), `server ${name} 127.0.0.1:${smtp} port ${console}`);
  return text;
}

async function start(name: Name): Promise<GatewayProcess> {
  const { smtp = 0, console = 0 } = places.get(name) ?? {};
  const gateway = cluster.start(name, {
    listeners: `[{ name: lan, address: 127.0.0.1, port: ${smtp}, tls: none, proxyProtocol: [127.0.0.1] }]`,
    consolePort: console,
  });
  await gateway.ready();
  return gateway;
}

let sent = 0;
const acknowledged: string[] = [];
/** Sends one message from the client's address. @returns whether it was taken */
async function send(): Promise<boolean> {
  const id = `<${++sent}@haproxy.test>`;
  const socket = connect({ host: '127.0.0.1', port: front, localAddress: CLIENT });
  socket.setEncoding('latin1');
  socket.on('error', () => {});
  const lines = [
    'EHLO client.test\r\n',
    `MAIL FROM:<${FROM}>\r\n`,
    `RCPT TO:<${TO}>\r\n`,
    'DATA\r\n',
    `${mailOf({ from: FROM, to: TO, id })}.\r\n`,
  ];
  let last = '';
  let text = '';
  for await (const chunk of socket) {
    text += String(chunk);
    const reply = /^(\d{3}) [^\n]*\r\n$/m.exec(text);
    if (reply === null) continue;
    [, last = ''] = reply;
    text = '';
    const next = last < '400' ? lines.shift() : undefined;
    if (next === undefined) break;
    socket.write(next);
  }
  socket.destroy();
  const isTaken = last === '250' && lines.length === 0;
  if (isTaken) acknowledged.push(id);
  return isTaken;
}

let failed = 0;
function check(what: string, isSo: boolean, figures = ''): void {
  if (!isSo) failed++;
  process.stdout.write(`${what.padEnd(60)}${isSo ? 'ok' : 'FAILED'}  ${figures}\n`);
}
const accepted = ({ lines }: GatewayProcess): number =>
  lines.filter(({ event }) => event === 'message.accepted').length;

const haproxyLog: string[] = [];
const haproxy = spawn('haproxy', ['-db', '-f', cluster.place.write('haproxy.cfg', haproxyConfig())], {
  stdio: ['ignore', 'pipe', 'pipe'],
});
for (const pipe of [haproxy.stdout, haproxy.stderr])
  pipe.setEncoding('utf8').on('data', (text: string) => haproxyLog.push(text));
const ended = once(haproxy, 'close');
try {
  let a = await start('gateway-a');
  const b = await start('gateway-b');
  await until('both are known to be ready', async () => {
    await send();
    return accepted(a) > 0 && accepted(b) > 0;
  });
  check('either gateway gets connections', true);
  const peers = [a, b].flatMap(({ lines }) =>
    lines.filter(({ event }) => event === 'message.accepted').map(({ peer }) => String(peer)),
  );
  check(
    'the client is seen by its own address',
    peers.length > 0 && peers.every((peer) => peer.startsWith(CLIENT)),
    peers[0],
  );

  const KILLS = 60;
  let refused = 0;
  const before = accepted(b);
  for (let n = 0; n < KILLS; n++) {
    if (n === 10) a.child.kill('SIGKILL');
    if (!(await send())) refused++;
  }
  check(
    'one is killed: the other one takes over',
    refused <= 2 && accepted(b) > before + 40,
    `refused ${refused} of ${KILLS}`,
  );
  a = await start('gateway-a');
  await until('it is back', async () => (await send()) && accepted(a) > 0);
  check('it is back as soon as it is ready', true);

  refused = 0;
  const stopping = a.stop();
  for (let n = 0; n < KILLS; n++) if (!(await send())) refused++;
  check('one is stopped: nobody is refused but who was on the line', refused <= 2, `refused ${refused} of ${KILLS}`);
  check('it has stopped in order', (await stopping).code === 0);
  const arrived = (): string[] => sandbox.arrived().map(({ messageId }) => messageId);
  await until('all is delivered', () => acknowledged.every((id) => arrived().includes(id)), 30).catch(() => undefined);
  const lost = acknowledged.filter((id) => !arrived().includes(id));
  check(
    'all that was acknowledged is delivered',
    lost.length === 0,
    `${acknowledged.length - lost.length} of ${acknowledged.length}`,
  );
  check('nothing is delivered twice', new Set(arrived()).size === arrived().length);
} catch (error) {
  failed++;
  process.stdout.write(`${String(error)}\n${haproxyLog.slice(-20).join('')}`);
} finally {
  haproxy.kill('SIGTERM');
  await ended;
  await cluster.close();
  await sandbox.close();
  await server.close();
}
process.exit(failed > 0 ? 1 : 0);
