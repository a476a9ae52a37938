/**
 * `demo`: the gateway in front of the sandbox. Three mails go in over a real SMTP connection; what came out in which
 * mailbox is shown and checked. A fourth is picked up from a mailbox, faxed, and reported back. Stays up for the user's own tries; with --exit it ends by itself, with 0 only if
 * everything arrived as it should.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { loadConfig } from '../config/load.ts';
import type { Gateway } from '../gateway.ts';
import type { Delivered, Sandbox } from '../sandbox/sandbox.ts';
import type { Mail } from '../smtp/client.ts';
import { sendMail } from '../smtp/client.ts';
import type { Command } from './command.ts';
import { faxRoundTrip, pickupSettings } from './demo-fax.ts';
import type { FaxServer } from './fax-server.ts';
import { startFaxServer } from './fax-server.ts';
import { port } from './numbers.ts';
import type { ExitCode, Terminal } from './outcome.ts';
import { EXIT } from './outcome.ts';
import { readConfig, start } from './run.ts';
import { sampleMails } from './samples.ts';
import { FAX, openSandbox, PEOPLE, saveCertificate } from './sandbox.ts';
import { version } from './version.ts';

/** How long the three mails may take, milliseconds. */
const PATIENCE = 30_000;
const YEAR = 31_536_000_000;

export const demoCommand: Command = {
  name: 'demo',
  usage: 'demo [--exit] [--port N]',
  summary: 'the gateway in front of the sandbox, with sample mail',
  options: { exit: { type: 'boolean', default: false }, port: { type: 'string', default: '2525' } },
  async run(values, terminal) {
    const folder = await mkdtemp(join(tmpdir(), 'smtp2exchange-demo-'));
    const sandbox = await openSandbox(0);
    try {
      return await demonstrate(
        folder,
        sandbox,
        await freePort(port(values['port'])),
        values['exit'] === true,
        terminal,
      );
    } finally {
      await sandbox.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
};

async function demonstrate(
  folder: string,
  sandbox: Sandbox,
  smtpPort: number,
  exit: boolean,
  terminal: Terminal,
): Promise<ExitCode> {
  const caFile = join(folder, 'sandbox-ca.pem');
  const configFile = join(folder, 'config.yaml');
  const logFile = join(folder, 'gateway.log');
  await saveCertificate(caFile, sandbox.ca);
  const running: { gateway?: Gateway } = {};
  const consoleToken = randomBytes(24).toString('hex');
  const fax = await startFaxServer(() => smtpServer(running.gateway), FAX);
  const text = configText(sandbox, caFile, join(folder, 'spool.db'), {
    smtp: smtpPort,
    fax: fax.port,
    consoleToken,
  });
  await writeFile(configFile, text, { mode: 0o600 });
  const log = createWriteStream(logFile);
  const gateway = await start(await readConfig(configFile), {
    version: version(),
    configFile,
    logTo: log,
    reread: () => loadConfig(configFile),
  });
  running.gateway = gateway;
  try {
    terminal.print(
      'A gateway in front of a sandbox. The sandbox is no real Exchange: it keeps everything in memory, on loopback only.\n',
    );
    const mails = sampleMails(PEOPLE);
    for (const mail of mails)
      terminal.print(`sent      ${mail.subject.padEnd(36)}${await sendMail(smtpServer(gateway), mail)}`);
    await arrival(sandbox, mails, terminal.stop);
    terminal.print(`\n${table(sandbox)}\n`);
    const faults = mails.flatMap((mail) => faultsOf(mail, sandbox));
    for (const fault of faults) terminal.complain(fault);
    if (faults.length === 0)
      terminal.print(
        'Everybody in the envelope has it once, the blind recipient is in no header, attachments are unchanged.',
      );
    faults.push(...(await roundTrip(sandbox, fax, terminal)));
    if (exit || faults.length > 0) return faults.length === 0 ? EXIT.done : EXIT.failed;
    terminal.print(invitation(gateway, sandbox, { caFile, configFile, logFile, consoleToken }));
    await follow(sandbox, terminal);
    return EXIT.done;
  } finally {
    await fax.close();
    await gateway.stop('the demo ends');
    log.end();
  }
}

async function roundTrip(sandbox: Sandbox, fax: FaxServer, terminal: Terminal): Promise<readonly string[]> {
  const faults = await faxRoundTrip(sandbox, fax, terminal);
  for (const fault of faults) terminal.complain(fault);
  if (faults.length === 0)
    terminal.print('The number came from the subject, the documents are unchanged, and the report came back.');
  return faults;
}

function configText(
  sandbox: Sandbox,
  caFile: string,
  spool: string,
  { consoleToken, ...ports }: { readonly smtp: number; readonly fax: number; readonly consoleToken: string },
): string {
  // JSON is YAML, and quotes a path of any form.
  return JSON.stringify(
    {
      hostname: 'gateway.demo',
      listeners: [{ name: 'demo', address: '127.0.0.1', port: ports.smtp, tls: 'optional' }],
      senders: { mailbox: PEOPLE.sender, rules: [{ from: FAX, mailbox: FAX }] },
      exchange: {
        tenantId: sandbox.tenantId,
        clientId: sandbox.clientId,
        clientSecret: sandbox.clientSecret,
        expires: new Date(Date.now() + YEAR).toISOString().slice(0, 10),
        ewsUrl: sandbox.ewsUrl,
        authority: sandbox.authority,
        caFile,
      },
      pickup: [pickupSettings(ports.fax)],
      spool: { sqlite: spool },
      console: { address: '127.0.0.1', port: 0, token: consoleToken },
    },
    undefined,
    2,
  );
}

function smtpServer(gateway: Gateway | undefined): { host: string; port: number } {
  const listener = gateway?.listeners.find(({ name }) => name === 'demo');
  if (listener === undefined) throw new Error('the gateway has no listener');
  return { host: listener.address, port: listener.port };
}

/** The wanted port, or any other if it is taken. */
async function freePort(wanted: number): Promise<number> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once('error', () => resolve(0));
    probe.listen(wanted, '127.0.0.1', () => probe.close(() => resolve(wanted)));
  });
}

const everybody = (mail: Mail): string[] => [...mail.to, ...(mail.cc ?? []), ...(mail.bcc ?? [])];

async function arrival(sandbox: Sandbox, mails: readonly Mail[], stop: AbortSignal): Promise<void> {
  const expected = mails.flatMap(everybody).length;
  const deadline = performance.now() + PATIENCE;
  while (inboxes(sandbox).length < expected && performance.now() < deadline && !stop.aborted) await pause(50);
}

function inboxes(sandbox: Sandbox): { address: string; mail: Delivered }[] {
  return Object.values(PEOPLE).flatMap((address) => sandbox.mailbox(address).inbox.map((mail) => ({ address, mail })));
}

/** What is wrong with how a mail arrived; nothing, as it should be. */
function faultsOf(mail: Mail, sandbox: Sandbox): string[] {
  const faults: string[] = [];
  const copies = inboxes(sandbox).filter((copy) => copy.mail.subject === mail.subject);
  for (const address of Object.values(PEOPLE)) {
    const count = copies.filter((copy) => copy.address === address).length;
    const due = everybody(mail).includes(address) ? 1 : 0;
    if (count !== due) faults.push(`"${mail.subject}": ${address} has ${count} copies instead of ${due}`);
  }
  for (const { address, mail: copy } of copies) {
    const octets = copy.mime.toString('latin1');
    for (const blind of mail.bcc ?? [])
      if (octets.includes(blind)) faults.push(`"${mail.subject}": ${address} can see the blind recipient ${blind}`);
    // A base64 part is the same octets whatever the line length.
    const packed = octets.replaceAll('\r\n', '');
    for (const { filename, content } of mail.attachments ?? []) {
      if (!packed.includes(content.toString('base64')))
        faults.push(`"${mail.subject}": the attachment ${filename} was changed on its way to ${address}`);
    }
  }
  return faults;
}

function table(sandbox: Sandbox): string {
  const rows = inboxes(sandbox).map(({ address, mail }) => [
    address,
    mail.subject,
    mail.to.join(', '),
    mail.cc.join(', '),
    `${mail.mime.length}`,
    createHash('sha256').update(mail.mime).digest('hex').slice(0, 12),
  ]);
  const all = [['mailbox', 'subject', 'To', 'Cc', 'octets', 'SHA-256'], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length))) ?? [];
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function invitation(
  gateway: Gateway,
  sandbox: Sandbox,
  files: { caFile: string; configFile: string; logFile: string; consoleToken: string },
): string {
  const { host, port: smtpPort } = smtpServer(gateway);
  return `
Now yours. Mailboxes: ${Object.values(PEOPLE).join(', ')}

  swaks --server ${host}:${smtpPort} --from ${PEOPLE.sender} --to ${PEOPLE.alice}
  printf 'From: ${PEOPLE.sender}\\nTo: ${PEOPLE.alice}\\nSubject: my own\\n\\nhello\\n' | curl --crlf --url smtp://${host}:${smtpPort} --mail-from ${PEOPLE.sender} --mail-rcpt ${PEOPLE.alice} --upload-file -

Console:        ${gateway.consoleUrl}/ (token: ${files.consoleToken})
What arrived:   curl --cacert ${files.caFile} ${sandbox.origin}/control/arrived
Metrics:        ${gateway.consoleUrl}/metrics
Log:            ${files.logFile}
Configuration:  ${files.configFile}

Ctrl-C ends it and removes its files.
`;
}

/** Tells what arrives until the user has seen enough. */
async function follow(sandbox: Sandbox, { print, stop }: Terminal): Promise<void> {
  let seen = inboxes(sandbox).length;
  const known = new Set(inboxes(sandbox).map(({ mail }) => mail));
  while (!stop.aborted) {
    await pause(200, undefined, { signal: stop }).catch(() => undefined);
    const now = inboxes(sandbox);
    if (now.length === seen) continue;
    seen = now.length;
    for (const { address, mail } of now) {
      if (known.has(mail)) continue;
      known.add(mail);
      print(`arrived   ${address.padEnd(28)}${mail.subject}`);
    }
  }
}
