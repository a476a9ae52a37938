/**
 * Real clients send a mail with an attachment, a To, a Cc and a Bcc recipient through a running gateway: in the clear
 * without login, and by STARTTLS with login. What reaches Exchange must decode to the client's octets; each recipient gets
 * it once; the blind one is in no delivered header. Usage: clients.ts [CLIENT...]; without names all of them, each of which
 * has to be installed (smtp-source: its path in SMTP_SOURCE). Prints a line a client; exit code 1 if one fails.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { simpleParser } from 'mailparser';
import { createTransport } from 'nodemailer';
import { createCertificate } from '../../src/sandbox/certificate.ts';
import type { Arrival } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { hashPassword } from '../../src/smtp/password.ts';
import { configText } from './config-text.ts';
import { folder, GatewayProcess } from './process.ts';

const execute = promisify(execFile);
const SENDER = 'notifications@contoso.com';
const people = ['to@contoso.com', 'cc@contoso.com', 'bcc@contoso.com'] as const;
const [to, cc, bcc] = people;
const USER = 'pbx';
const PASSWORD = 'correct horse 1';
const content = Buffer.from(Array.from({ length: 300_000 }, (_, n) => (n * 7 + (n >> 8)) & 0xff));
const digest = (octets: Buffer): string => createHash('sha256').update(octets).digest('hex');

const place = folder();
const sandbox = await startSandbox({ mailboxes: [SENDER, ...people].map((address) => ({ address })) });
const certificate = await createCertificate();
const tls = `tls: required, certificate: { certFile: ${place.write('cert.pem', certificate.cert)}, keyFile: ${place.write('key.pem', certificate.key)} }`;
const gateway = new GatewayProcess(
  place.write(
    'config.yaml',
    configText({
      sandbox,
      caFile: place.write('ca.pem', sandbox.ca),
      listeners: `
  - { name: lan, address: 127.0.0.1, port: 0, tls: none }
  - { name: submission, address: 127.0.0.1, port: 0, ${tls}, auth: required }`,
      more: `
users: [{ name: ${USER}, passwordHash: "${await hashPassword(PASSWORD)}" }]
pacing: { perMailbox: { concurrency: 8, perMinute: unlimited } }
spool: { sqlite: ${place.path}/spool.db }`,
    }),
  ),
  { SECRET: sandbox.clientSecret },
);
await gateway.ready();
const portOf = async (listener: string): Promise<number> =>
  Number((await gateway.line((line) => line.event === 'listener.open' && line['listener'] === listener))['port']);
const trusted = place.write('smtp-ca.pem', certificate.ca);
const attachment = place.write('data.bin', content);

/** Where a client connects. */
interface Way {
  readonly name: string;
  readonly port: number;
  readonly secure: boolean;
}
const ways: readonly Way[] = [
  { name: 'clear', port: await portOf('lan'), secure: false },
  { name: 'TLS and login', port: await portOf('submission'), secure: true },
];

function mime(subject: string): string {
  const base64 = content.toString('base64').replace(/.{76}/g, '$&\r\n');
  return [
    `From: ${SENDER}`,
    `To: ${to}`,
    `Cc: ${cc}`,
    `Subject: ${subject}`,
    'MIME-Version: 1.0',
    'Content-Type: multipart/mixed; boundary="frontier-42"',
    '',
    '--frontier-42',
    'Content-Type: text/plain',
    '',
    `from ${subject}`,
    '--frontier-42',
    'Content-Type: application/octet-stream; name=data.bin',
    'Content-Disposition: attachment; filename=data.bin',
    'Content-Transfer-Encoding: base64',
    '',
    base64,
    '--frontier-42--',
    '',
  ].join('\r\n');
}

/** Runs a program with standard input. */
async function run(
  program: string,
  args: readonly string[],
  input = '',
  env: Record<string, string> = {},
): Promise<void> {
  const running = execute(program, [...args], {
    timeout: 60_000,
    maxBuffer: 64 * 1024 * 1024,
    env: { PATH: process.env['PATH'] ?? '', HOME: place.path, LC_ALL: 'C.UTF-8', ...env },
  });
  running.child.stdin?.on('error', () => undefined);
  running.child.stdin?.end(input);
  await running;
}

const PYTHON = `
import smtplib, ssl, sys
from email.message import EmailMessage
port, sender, to, cc, bcc, file, subject, ca, user, password = sys.argv[1:]
mail = EmailMessage()
mail['From'], mail['To'], mail['Cc'], mail['Subject'] = sender, to, cc, subject
mail.set_content('from smtplib')
mail.add_attachment(open(file, 'rb').read(), maintype='application', subtype='octet-stream', filename='data.bin')
with smtplib.SMTP('localhost', int(port)) as server:
    if ca:
        server.starttls(context=ssl.create_default_context(cafile=ca))
        server.login(user, password)
    server.send_message(mail, sender, [to, cc, bcc])
`;
const PERL = `
use strict; use warnings; use Net::SMTP;
my ($port, $from, $to, $cc, $bcc, $ca, $user, $password) = @ARGV;
my $smtp = Net::SMTP->new('localhost', Port => $port, Hello => 'client.test') or die "no connection";
if ($ca) {
  $smtp->starttls(SSL_ca_file => $ca, SSL_verifycn_name => 'localhost') or die 'starttls: ' . $smtp->message;
  $smtp->auth($user, $password) or die 'auth: ' . $smtp->message;
}
$smtp->mail($from) or die 'mail: ' . $smtp->message;
$smtp->to($to, $cc, $bcc) or die 'rcpt: ' . $smtp->message;
$smtp->data() or die 'data: ' . $smtp->message;
$smtp->datasend($_) while <STDIN>;
$smtp->dataend() or die 'end: ' . $smtp->message;
$smtp->quit;
`;

type Client = (way: Way, subject: string) => Promise<unknown>;
const clients: Readonly<Record<string, Client>> = {
  curl: ({ port, secure }, subject) =>
    run('curl', [
      ...['-sS', '--crlf', '--url', `smtp://localhost:${port}`, '--mail-from', SENDER],
      ...people.flatMap((one) => ['--mail-rcpt', one]),
      ...(secure ? ['--ssl-reqd', '--cacert', trusted, '--user', `${USER}:${PASSWORD}`] : []),
      ...['--upload-file', place.write('mail.eml', mime(subject).replaceAll('\r\n', '\n'))],
    ]),
  smtplib: ({ port, secure }, subject) =>
    run('python3', [
      ...['-c', PYTHON, String(port), SENDER, ...people, attachment, subject],
      ...(secure ? [trusted, USER, PASSWORD] : ['', '', '']),
    ]),
  nodemailer: async ({ port, secure }, subject) => {
    const transport = createTransport({
      host: 'localhost',
      port,
      requireTLS: secure,
      ignoreTLS: !secure,
      tls: { ca: certificate.ca },
      ...(secure ? { auth: { user: USER, pass: PASSWORD } } : {}),
    });
    try {
      const attachments = [{ filename: 'data.bin', content, contentType: 'application/octet-stream' }];
      await transport.sendMail({ from: SENDER, to, cc, bcc, subject, text: 'from nodemailer', attachments });
    } finally {
      transport.close();
    }
  },
  swaks: ({ port, secure }, subject) =>
    run('swaks', [
      ...['--silent', '2', '--server', 'localhost', '--port', String(port), '--from', SENDER, '--to', people.join(',')],
      ...['--header', `Subject: ${subject}`, '--h-To', to, '--add-header', `Cc: ${cc}`, '--body', 'from swaks'],
      ...['--attach-type', 'application/octet-stream', '--attach-name', 'data.bin', '--attach', `@${attachment}`],
      ...(secure ? ['--tls', '--tls-ca-path', trusted, '--tls-verify'] : []),
      ...(secure ? ['--auth', 'LOGIN', '--auth-user', USER, '--auth-password', PASSWORD] : []),
    ]),
  msmtp: ({ port, secure }, subject) =>
    run(
      'msmtp',
      [
        ...['--file=/dev/null', '--host=localhost', `--port=${port}`, `--from=${SENDER}`],
        ...(secure
          ? ['--tls=on', '--tls-starttls=on', `--tls-trust-file=${trusted}`, '--auth=plain', `--user=${USER}`]
          : ['--tls=off', '--auth=off']),
        ...(secure ? [`--passwordeval=echo ${PASSWORD}`] : []),
        ...people,
      ],
      mime(subject).replaceAll('\r\n', '\n'),
    ),
  's-nail': ({ port, secure }, subject) =>
    run(
      's-nail',
      [
        ...['-:', '/', '-S', 'v15-compat', '-S', 'sendwait', '-S', `hostname=client.test`, '-r', SENDER],
        ...['-S', `mta=smtp://${secure ? `${USER}:${encodeURIComponent(PASSWORD)}@` : ''}localhost:${port}`],
        ...(secure ? ['-S', 'smtp-use-starttls', '-S', `tls-ca-file=${trusted}`, '-S', 'tls-verify=strict'] : []),
        ...['-S', `smtp-auth=${secure ? 'plain' : 'none'}`, '-a', attachment],
        ...['-s', subject, '-c', cc, '-b', bcc, to],
      ],
      'from s-nail\n',
    ),
  'Net::SMTP': ({ port, secure }, subject) =>
    run(
      'perl',
      ['-e', PERL, String(port), SENDER, ...people, ...(secure ? [trusted, USER, PASSWORD] : [])],
      mime(subject),
    ),
};

async function arrivalsOf(subject: string, count: number): Promise<readonly Arrival[]> {
  for (let tries = 0; ; tries++) {
    const arrived = sandbox.arrived().filter((one) => one.subject === subject);
    if (arrived.length >= count || tries === 150) return arrived;
    await pause(100);
  }
}

async function faultsOf(subject: string): Promise<string[]> {
  const [arrival, ...more] = await arrivalsOf(subject, 1);
  if (arrival === undefined) return ['it did not arrive'];
  const faults = more.length > 0 ? [`it arrived ${more.length + 1} times`] : [];
  const parsed = await simpleParser(arrival.submitted);
  const octets = parsed.attachments[0]?.content;
  if (octets === undefined || digest(octets) !== digest(content)) faults.push('the attachment was changed');
  for (const address of people) {
    const copies = sandbox.mailbox(address).inbox.filter((mail) => mail.subject === subject);
    if (copies.length !== 1) faults.push(`${address} has ${copies.length} copies`);
    if (copies.some((copy) => copy.mime.toString('latin1').includes(bcc)))
      faults.push(`${address} can see the blind recipient`);
  }
  return faults;
}

let failures = 0;
function tell(name: string, faults: readonly string[]): void {
  if (faults.length > 0) failures++;
  process.stdout.write(`${name.padEnd(28)}${faults.length === 0 ? 'ok' : faults.join('; ')}\n`);
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : [...Object.keys(clients), 'smtp-source'];
for (const name of wanted) {
  const send = clients[name];
  if (send === undefined) continue;
  for (const way of ways) {
    const subject = `${name}, ${way.name}`;
    const failed = await send(way, subject).then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    tell(subject, failed === undefined ? await faultsOf(subject) : [failed]);
  }
}
if (wanted.includes('smtp-source')) {
  // A load generator: it knows neither TLS nor login, and one header of its own.
  const before = sandbox.arrived().length;
  const source = process.env['SMTP_SOURCE'] ?? 'smtp-source';
  const args = ['-s', '5', '-m', '40', '-l', '20000', '-f', SENDER, '-t', to, `127.0.0.1:${ways[0]?.port}`];
  const failed = await run(source, args, '', { LD_LIBRARY_PATH: process.env['LD_LIBRARY_PATH'] ?? '' }).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  for (let tries = 0; tries < 150 && sandbox.arrived().length < before + 40; tries++) await pause(100);
  const count = sandbox.arrived().length - before;
  tell('smtp-source, 5 sessions', failed === undefined ? (count === 40 ? [] : [`${count} of 40 arrived`]) : [failed]);
}
const end = await gateway.stop();
if (end.code !== 0 || gateway.errors.length > 0 || gateway.noise.length > 0)
  tell('the gateway', [`ended with ${end.code}`, ...gateway.errors, ...gateway.noise]);
await sandbox.close();
place.remove();
process.exit(failures === 0 ? 0 : 1);
