/**
 * kill -9, again and again, under load: every message that got a 250 must come out of the other end, its octets
 * unchanged, and none twice. Usage: crash.ts ROUNDS. Prints a table; exit code 1 if the books do not balance.
 */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';
import { configText } from './config-text.ts';

const rounds = Number(process.argv[2] ?? 200);
const SESSIONS = 8;
const digest = (octets: string | Buffer): string => createHash('sha256').update(octets).digest('hex');

const place = folder();
const sandbox = await startSandbox({
  mailboxes: [{ address: 'notifications@contoso.com' }, { address: 'y@contoso.com' }],
});
const config = place.write(
  'config.yaml',
  configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    more: `
retry: { intervals: [1s], verifyAfter: 1s }
pacing: { perMailbox: { concurrency: 8, perMinute: unlimited } }
spool: { sqlite: ${place.path}/spool.db }
`,
  }),
);

/** Message-ID -> digest of the body, for each message that was answered 250. */
const acknowledged = new Map<string, string>();
let sent = 0;
const round = { isOver: false };

function message(): { id: string; body: string; data: string } {
  const id = `<${++sent}.${randomBytes(4).toString('hex')}@crash.test>`;
  const lines = 1 + Math.floor(Math.random() ** 4 * 4_000);
  const body = `${Array.from({ length: lines }, () => randomBytes(36).toString('base64url')).join('\r\n')}\r\n`;
  const data = `From: notifications@contoso.com\r\nTo: y@contoso.com\r\nSubject: crash ${sent}\r\nMessage-ID: ${id}\r\n\r\n${body}`;
  return { id, body, data };
}

async function session(port: number): Promise<void> {
  try {
    const smtp = await RawSmtp.open(port);
    while (!round.isOver) {
      const { id, body, data } = message();
      await smtp.send('notifications@contoso.com', ['y@contoso.com'], data);
      acknowledged.set(id, digest(body));
    }
  } catch {
    // killed: what was not acknowledged does not count
  }
}

for (let count = 1; count <= rounds; count++) {
  round.isOver = false;
  const gateway = new GatewayProcess(config, { SECRET: sandbox.clientSecret });
  const port = await gateway.ready();
  const sessions = Array.from({ length: SESSIONS }, () => session(port));
  await pause(20 + Math.random() * 400);
  await gateway.stop('SIGKILL');
  round.isOver = true;
  await Promise.all(sessions);
}

const last = new GatewayProcess(config, { SECRET: sandbox.clientSecret });
await last.ready();
const deadline = Date.now() + 180_000;
const arrivedIds = (): Map<string, number> => {
  const counts = new Map<string, number>();
  for (const arrival of sandbox.arrived()) counts.set(arrival.messageId, (counts.get(arrival.messageId) ?? 0) + 1);
  return counts;
};
while (Date.now() < deadline) {
  const there = arrivedIds();
  if ([...acknowledged.keys()].every((id) => there.has(id))) break;
  await pause(500);
}
// Doubts that are still being looked into could yet become a second copy.
await pause(3_000);
const end = await last.stop();

const counts = arrivedIds();
const bodies = new Map<string, string>();
for (const arrival of sandbox.arrived()) {
  const octets = arrival.submitted;
  bodies.set(arrival.messageId, digest(octets.subarray(octets.indexOf('\r\n\r\n') + 4)));
}
const lost = [...acknowledged.keys()].filter((id) => !counts.has(id));
const doubled = [...counts].filter(([, count]) => count > 1).map(([id]) => id);
const changed = [...acknowledged].filter(([id, body]) => bodies.has(id) && bodies.get(id) !== body).map(([id]) => id);
const unasked = [...counts.keys()].filter((id) => !acknowledged.has(id)).length;
const table: [string, number | string][] = [
  ['rounds of kill -9', rounds],
  ['messages begun', sent],
  ['acknowledged with 250', acknowledged.size],
  ['delivered', counts.size],
  ['delivered, but killed before the 250 was read', unasked],
  ['lost', lost.length],
  ['doubled', doubled.length],
  ['changed', changed.length],
  ['last stop', end.code ?? String(end.signal)],
];
for (const [what, value] of table) process.stdout.write(`${what.padEnd(48)}${String(value).padStart(8)}\n`);
await sandbox.close();
place.remove();
process.exit(
  lost.length + doubled.length + changed.length === 0 && end.code === 0 && acknowledged.size > rounds ? 0 : 1,
);
