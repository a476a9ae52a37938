/**
 * What the gateway does when its disk is full, over quota, read-only or damaged: what clients are answered, the sentence
 * the operator reads, what still goes out, and that nothing with a 250 is lost or doubled. Linux; needs root for a
 * loop-mounted ext4 of its own, and prlimit. Prints a table; exit code 1 if something does not hold.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const PAGE = 8_192;
const FROM = 'notifications@contoso.com';
const place = folder();
const disk = join(place.path, 'disk');
const image = join(place.path, 'image');
const spool = join(disk, 'spool.db');
const filler = join(disk, 'filler');
const run = (command: string, ...words: string[]): void => void execFileSync(command, words, { stdio: 'pipe' });
const sandbox = await startSandbox({ mailboxes: [{ address: FROM }] });
const config = place.write(
  'config.yaml',
  configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    more: `
spool: { sqlite: ${spool}, minFree: 8MB }
retry: { intervals: [1s], verifyAfter: 1s }
pacing: { perMailbox: { concurrency: 4, perMinute: unlimited } }
log: { level: debug }
`,
  }),
);

const acknowledged = new Set<string>();
let sent = 0;
let running: GatewayProcess | undefined;
const gateway = (): GatewayProcess => {
  if (running === undefined) throw new Error('no gateway');
  return running;
};
const start = (): GatewayProcess => new GatewayProcess(config, { SECRET: sandbox.clientSecret });

const rows: (readonly [string, string])[] = [];
const say = (what: string, words: string): void => void rows.push([what, words]);
let broken = 0;
function hold(what: string, is: boolean): void {
  if (!is) broken++;
  say(what, is ? 'yes' : 'NO');
}

function message(size: number): { readonly id: string; readonly data: string } {
  const id = `<${++sent}@disk.test>`;
  const body = `${'x'.repeat(70)}\r\n`.repeat(size / 72);
  return { id, data: `From: ${FROM}\r\nTo: y@contoso.com\r\nMessage-ID: ${id}\r\nSubject: ${sent}\r\n\r\n${body}` };
}

/** @returns the reply that ended it */
async function send(size = 500): Promise<string> {
  const port = await gateway().ready();
  const smtp = await RawSmtp.open(port);
  const { id, data } = message(size);
  try {
    const reply = await smtp.send(FROM, ['y@contoso.com'], data);
    acknowledged.add(id);
    return reply;
  } catch (error) {
    return /was answered (.*)/.exec(String(error))?.[1] ?? String(error);
  } finally {
    smtp.end();
  }
}

async function until(what: string, is: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; ; await pause(100)) {
    if (await is()) return hold(what, true);
    if (Date.now() > deadline) return hold(what, false);
  }
}

const arrived = (): string[] => sandbox.arrived().map(({ messageId }) => messageId);
/** Acknowledged, and not (yet) come out of the other end. */
function missing(): string[] {
  const there = new Set(arrived());
  return [...acknowledged].filter((id) => !there.has(id));
}
const allArrived = (): boolean => missing().length === 0;
const outage = (): void =>
  sandbox.fault({ when: { operation: 'CreateItem' }, does: { responseCode: 'ErrorServerBusy' } });
const trouble = (): string => String(gateway().lines.findLast(({ event }) => event === 'spool.trouble')?.['detail']);
const recovered = (): number => gateway().lines.filter(({ event }) => event === 'spool.recovered').length;

function fill(leave: number): void {
  rmSync(filler, { force: true });
  const file = openSync(filler, 'w');
  try {
    for (let size = leave === 0 ? 4_096 : 65_536; ;) {
      const { bavail, bsize } = statfsSync(disk);
      if (bavail * bsize <= leave) break;
      if (writeSync(file, Buffer.alloc(size, 1)) === 0) break;
    }
  } catch {
    // full, as wanted
  }
  closeSync(file);
}

async function full(): Promise<void> {
  outage();
  for (let n = 0; n < 3; n++) await send(300_000);
  const begun = await RawSmtp.open(await gateway().ready());
  await begun.say(`MAIL FROM:<${FROM}>\r\n`, '250');
  await begun.say('RCPT TO:<y@contoso.com>\r\n', '250');
  await begun.say('DATA\r\n', '354');
  fill(0);
  await begun.write(message(3_000_000).data);
  await begun.write('.\r\n');
  const reply = await begun.reply();
  hold(`full: in the middle of a message: ${reply}`, reply.startsWith('452 4.3.1'));
  await until('full: at MAIL FROM: 452 4.3.1', async () => (await send()).startsWith('452 4.3.1'));
  const refused = gateway().lines.findLast(({ event }) => event === 'session.refused');
  say('full: the operator reads', `${String(refused?.['reply'])}: ${String(refused?.['detail'])}`);
  sandbox.clearFaults();
  fill(6_000_000);
  await until('full: with less than minFree free, what is there goes out', allArrived);
  hold('full: and nothing comes in', (await send()).startsWith('452 4.3.1'));
  rmSync(filler);
  await until('full: takes mail again by itself', async () => (await send()).startsWith('250'));
}

async function quota(): Promise<void> {
  outage();
  await send();
  const limit = (octets: string): void => run('prlimit', '--pid', String(gateway().child.pid), `--fsize=${octets}`);
  limit('4096:unlimited');
  const reply = await send(600_000);
  hold(`quota: ${reply}`, /^45[12] 4\.3\.[01]/.test(reply));
  say('quota: the operator reads', trouble());
  sandbox.clearFaults();
  limit('unlimited:unlimited');
  await until('quota: takes mail again by itself', async () => (await send()).startsWith('250'));
  await until('quota: says so', () => recovered() > 0);
  await until('quota: what was there has gone out', allArrived);
}

async function readOnly(): Promise<void> {
  outage();
  await send();
  await send(300_000);
  run('mount', '-o', 'remount,abort', disk);
  const reply = await send();
  hold(`read-only: ${reply}`, /^45[12] 4\.3\.[01]/.test(reply));
  say('read-only: the operator reads', trouble());
  await gateway().stop('SIGKILL');
  sandbox.clearFaults();
  run('umount', disk);
  run('sh', '-c', `e2fsck -fy ${image} || [ $? -eq 1 ]`); // 1: mended
  run('mount', '-o', 'loop,ro', image, disk);
  const refused = start();
  const { code } = await refused.exited;
  hold(`read-only: start ends with ${code}: ${refused.errors.join(' ')}`, code === 78);
  run('umount', disk);
  run('mount', '-o', 'loop', image, disk);
  running = start();
  await gateway().ready();
  await until('read-only: after a new start all goes out', allArrived);
}

async function damage(): Promise<void> {
  await sandbox.stop();
  for (let n = 0; n < 600; n++) await send();
  await until('damage: all wait', async () => {
    const hand = new DatabaseSync(spool);
    const row = hand.prepare(`SELECT count(*) AS count FROM item WHERE state = 'queued'`).get();
    hand.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    hand.close();
    return row?.['count'] === 600;
  });
  const at = readFileSync(spool).indexOf(`<${sent - 300}@disk.test>{`);
  const file = openSync(spool, 'r+');
  writeSync(file, Buffer.alloc(PAGE, 0xff), 0, PAGE, Math.floor(at / PAGE) * PAGE);
  closeSync(file);
  const hand = new DatabaseSync(spool);
  hand.exec(`INSERT INTO tally VALUES ('touched', 0)`);
  hand.close();
  await sandbox.start();
  const before = new Set(arrived()).size;
  // What lies on the two pages on either side of the lost one may be sent and not noted, or not be sent: less than a hundred.
  await until('damage: most of the lane still goes out', () => new Set(arrived()).size - before > 480);
  const reply = await send();
  hold(`damage: ${reply}`, /^45[12] 4\.3\.[01]/.test(reply));
  say('damage: the operator reads', trouble());
  await pause(2_000);
  await gateway().stop();
  const kept = new DatabaseSync(spool, { readOnly: true });
  const { count } =
    kept
      .prepare(`SELECT count(*) AS count FROM item INDEXED BY item_state WHERE state IN ('queued', 'sending')`)
      .get() ?? {};
  kept.close();
  const left = missing().length;
  hold(`damage: ${left} did not go out, ${String(count)} are kept`, left <= Number(count) && left < 100);
  const again = start();
  const { code } = await again.exited;
  hold(`damage: start ends with ${code}: ${again.errors.join(' ')}`, code === 1);
}

let ended = false;
try {
  mkdirSync(disk);
  run('truncate', '-s', '48M', image);
  run('mkfs.ext4', '-q', '-m', '0', image);
  run('mount', '-o', 'loop', image, disk);
  running = start();
  await gateway().ready();
  await full();
  await quota();
  await readOnly();
  hold('nothing was doubled', arrived().length === new Set(arrived()).size);
  await damage();
  ended = true;
} finally {
  await running?.stop('SIGKILL');
  for (const [what, words] of rows) process.stdout.write(`${what}: ${words}\n`);
  await sandbox.close();
  run('sh', '-c', `! mountpoint -q ${disk} || umount ${disk}`);
  place.remove();
}
process.exit(ended && broken === 0 ? 0 : 1);
