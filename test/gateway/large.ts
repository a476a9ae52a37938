/**
 * A scan of 60 MB through the real gateway by each way out: what arrives is the attachment octet for octet, and the process
 * needs little memory for it. It runs compiled, as the image has it: from source it takes some 35 MB more. By Graph the connection breaks three times on the way. By EWS in two rows: 60 MB where the
 * server lets a request have more than its usual 64 MiB, and the largest attachment that fits into those. Linux only
 * (reads /proc). Prints a table; exit code 1 if a bound is missed.
 */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { copyFileSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { simpleParser } from 'mailparser';
import type { Fault } from '../../src/sandbox/fault.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import { folder, GatewayProcess, root } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const SENDER = 'notifications@contoso.com';
const ANN = 'ann@contoso.com';
/** Megabytes (10^6 octets) of resident memory at most. */
const PEAK_LIMIT = 250;
const MIB = 1024 * 1024;

interface Case {
  readonly name: string;
  /** Octets of the scan. */
  readonly size: number;
  /** Keys of `exchange`. */
  readonly exchange: (sandbox: Sandbox) => string;
  readonly maxRequestSize?: number;
  readonly breaks?: readonly Fault[];
}

const ews = (): string => '  transport: ews';
const slice = (after: number, cut: NonNullable<Fault['does']['cut']>): Fault => ({
  when: { operation: 'uploadSlice', after, count: 1 },
  does: { cut },
});

const CASES: readonly Case[] = [
  { name: 'ews, 60 MB, requests of up to 160 MiB', size: 60_000_000, exchange: ews, maxRequestSize: 160 * MIB },
  // 35.0 MiB are 47.9 MiB in MIME and 63.9 MiB in the request.
  { name: 'ews, 36.7 MB, requests of up to 64 MiB', size: 36_700_000, exchange: ews },
  {
    name: 'graph, 60 MB, connection broken three times',
    size: 60_000_000,
    exchange: ({ graphUrl }) => `  transport: graph\n  graphUrl: ${graphUrl}`,
    breaks: [slice(3, 'inUpload'), slice(8, 'beforeActing'), slice(15, 'afterActing')],
  },
  {
    name: 'smtp, 60 MB',
    size: 60_000_000,
    exchange: ({ smtp }) => `  transport: smtp\n  smtp: { host: 127.0.0.1, port: ${smtp.port} }`,
  },
];

interface Figures {
  /** Megabytes. */
  readonly peak: number;
  readonly seconds: number;
  readonly isIdentical: boolean;
  /** Faults that came to pass, of those wanted. */
  readonly breaks: string;
  readonly arrivals: number;
}

const sha256 = (octets: Uint8Array): string => createHash('sha256').update(octets).digest('hex');

const built = folder();
const program = compiled();

/** @returns the program's file */
function compiled(): string {
  symlinkSync(join(root, 'node_modules'), join(built.path, 'node_modules'));
  copyFileSync(join(root, 'package.json'), join(built.path, 'package.json'));
  const options = ['-p', join(root, 'tsconfig.build.json'), '--outDir', join(built.path, 'dist')];
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...options], { stdio: 'inherit' });
  return join(built.path, 'dist/main.js');
}

async function run({ size, exchange, maxRequestSize, breaks = [] }: Case): Promise<Figures> {
  const place = folder();
  const sandbox = await startSandbox({
    mailboxes: [SENDER, ANN].map((address) => ({ address, maxSendSize: 150 * MIB })),
    smtpSize: 150 * MIB,
    ...(maxRequestSize === undefined ? {} : { maxRequestSize }),
  });
  for (const fault of breaks) sandbox.fault(fault);
  const config = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    exchange: exchange(sandbox),
    listeners: '[{ name: lan, address: 127.0.0.1, port: 0, tls: none, maxMessageSize: 150MB }]',
    more: `spool: { sqlite: ${place.path}/spool.db, minFree: 1MB }`,
  });
  const environment = { SECRET: sandbox.clientSecret };
  const gateway = new GatewayProcess(place.write('config.yaml', config), environment, [process.execPath, program]);
  const scan = randomBytes(size);
  try {
    const smtp = await RawSmtp.open(await gateway.ready());
    const began = performance.now();
    await submit(smtp, scan);
    await gateway.line(({ event, messageId }) => event === 'delivery.relayed' && messageId === '<scan@test>', 180);
    const seconds = (performance.now() - began) / 1000;
    const peak =
      Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${gateway.child.pid}/status`, 'utf8'))?.[1]) / 1000;
    smtp.end();
    const hit = sandbox.faults().filter((fault) => fault.hit === 1).length;
    return {
      peak,
      seconds,
      isIdentical: await hasScan(sandbox, scan),
      breaks: breaks.length === 0 ? '' : `${hit} of ${breaks.length}`,
      arrivals: sandbox.arrived().length,
    };
  } finally {
    await gateway.stop();
    await sandbox.close();
    place.remove();
  }
}

async function submit(smtp: RawSmtp, scan: Buffer): Promise<void> {
  await smtp.say(`MAIL FROM:<${SENDER}>\r\n`, '250');
  await smtp.say(`RCPT TO:<${ANN}>\r\n`, '250');
  await smtp.say('DATA\r\n', '354');
  await smtp.write(
    `From: ${SENDER}\r\nTo: ${ANN}\r\nSubject: scan\r\nMessage-ID: <scan@test>\r\nMIME-Version: 1.0\r\n` +
      'Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: text/plain\r\n\r\nYour scan\r\n--m\r\n' +
      'Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=scan.pdf\r\n' +
      'Content-Transfer-Encoding: base64\r\n\r\n',
  );
  // Whole lines of 76 characters.
  const piece = 57 * 1024;
  for (let at = 0; at < scan.length; at += piece) {
    const lines = scan.subarray(at, at + piece).toString('base64');
    await smtp.write(`${lines.replace(/.{76}(?!$)/g, '$&\r\n')}\r\n`);
  }
  await smtp.say('--m--\r\n.\r\n', '250');
}

async function hasScan(sandbox: Sandbox, scan: Buffer): Promise<boolean> {
  const [copy, ...more] = sandbox.mailbox(ANN).inbox;
  if (copy === undefined || more.length > 0) return false;
  const { attachments } = await simpleParser(copy.mime);
  const [file] = attachments;
  return attachments.length === 1 && file?.filename === 'scan.pdf' && sha256(file.content) === sha256(scan);
}

let isWell = true;
const columns = (cells: readonly string[]): string =>
  cells.map((cell, index) => (index === 0 ? cell.padEnd(46) : cell.padStart(11))).join('');
process.stdout.write(`${columns(['', 'peak MB', 'seconds', 'identical', 'arrived', 'breaks'])}\n`);
for (const one of CASES) {
  const { peak, seconds, isIdentical, arrivals, breaks } = await run(one);
  const wanted = one.breaks === undefined ? '' : `${one.breaks.length} of ${one.breaks.length}`;
  const holds = peak < PEAK_LIMIT && isIdentical && arrivals === 1 && breaks === wanted;
  isWell &&= holds;
  const cells = [one.name, peak.toFixed(0), seconds.toFixed(1), isIdentical ? 'yes' : 'NO', String(arrivals), breaks];
  process.stdout.write(`${columns(cells)}${holds ? '' : '  BROKEN'}\n`);
}
built.remove();
process.stdout.write(`bound: peak < ${PEAK_LIMIT} MB\n`);
process.exit(isWell ? 0 : 1);
