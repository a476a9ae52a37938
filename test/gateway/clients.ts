/**
 * Real clients send a mail with an attachment, a To, a Cc and a Bcc recipient through a running gateway. What reaches
 * Exchange must decode to the client's octets; each recipient gets it; the blind one is in no delivered header.
 * Needs curl and python3. Prints a line a client; exit code 1 if one fails.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { simpleParser } from 'mailparser';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { sendMail } from '../../src/smtp/client.ts';
import { configText } from './config-text.ts';
import { folder, GatewayProcess } from './process.ts';

const execute = promisify(execFile);
const SENDER = 'notifications@contoso.com';
const people = ['to@contoso.com', 'cc@contoso.com', 'bcc@contoso.com'] as const;
const content = Buffer.from(Array.from({ length: 300_000 }, (_, n) => (n * 7 + (n >> 8)) & 0xff));
const digest = (octets: Buffer): string => createHash('sha256').update(octets).digest('hex');

const place = folder();
const sandbox = await startSandbox({ mailboxes: [SENDER, ...people].map((address) => ({ address })) });
const gateway = new GatewayProcess(
  place.write(
    'config.yaml',
    configText({
      sandbox,
      caFile: place.write('ca.pem', sandbox.ca),
      more: `spool: { sqlite: ${place.path}/spool.db }`,
    }),
  ),
  { SECRET: sandbox.clientSecret },
);
const port = await gateway.ready();

const base64 = content.toString('base64').replace(/.{76}/g, '$&\r\n');
const mime = `From: ${SENDER}\r\nTo: ${people[0]}\r\nCc: ${people[1]}\r\nSubject: curl\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="frontier-42"\r\n\r\n--frontier-42\r\nContent-Type: text/plain\r\n\r\nfrom curl\r\n--frontier-42\r\nContent-Type: application/octet-stream; name=data.bin\r\nContent-Disposition: attachment; filename=data.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n${base64}\r\n--frontier-42--\r\n`;
const python = `
import smtplib, sys
from email.message import EmailMessage
mail = EmailMessage()
mail['From'], mail['To'], mail['Cc'], mail['Subject'] = sys.argv[2], sys.argv[3], sys.argv[4], 'smtplib'
mail.set_content('from smtplib')
mail.add_attachment(open(sys.argv[6], 'rb').read(), maintype='application', subtype='octet-stream', filename='data.bin')
with smtplib.SMTP('127.0.0.1', int(sys.argv[1])) as server:
    server.send_message(mail, sys.argv[2], sys.argv[3:6])
`;

const clients: Record<string, () => Promise<unknown>> = {
  curl: () =>
    execute('curl', [
      '-sS',
      '--url',
      `smtp://127.0.0.1:${port}`,
      '--mail-from',
      SENDER,
      ...people.flatMap((one) => ['--mail-rcpt', one]),
      '--upload-file',
      place.write('mail.eml', mime),
    ]),
  smtplib: () => execute('python3', ['-c', python, String(port), SENDER, ...people, place.write('data.bin', content)]),
  nodemailer: () =>
    sendMail(
      { host: '127.0.0.1', port },
      {
        from: SENDER,
        to: [people[0]],
        cc: [people[1]],
        bcc: [people[2]],
        subject: 'nodemailer',
        text: 'from nodemailer',
        attachments: [{ filename: 'data.bin', content, contentType: 'application/octet-stream' }],
      },
    ),
};

let failures = 0;
for (const [name, send] of Object.entries(clients)) {
  const faults: string[] = [];
  try {
    await send();
    for (let tries = 0; tries < 100 && !sandbox.arrived().some((arrival) => arrival.subject === name); tries++)
      await pause(100);
    const arrival = sandbox.arrived().find((one) => one.subject === name);
    if (arrival === undefined) throw new Error('it did not arrive');
    const parsed = await simpleParser(arrival.submitted);
    const attachment = parsed.attachments[0]?.content;
    if (attachment === undefined || digest(attachment) !== digest(content)) faults.push('the attachment was changed');
    for (const address of people) {
      const copies = sandbox.mailbox(address).inbox.filter((mail) => mail.messageId === arrival.messageId);
      if (copies.length !== 1) faults.push(`${address} has ${copies.length} copies`);
      for (const copy of copies) {
        const head = copy.mime.subarray(0, copy.mime.indexOf('\r\n\r\n')).toString('latin1');
        if (head.includes(people[2])) faults.push(`${address} can see the blind recipient`);
      }
    }
  } catch (error) {
    faults.push(error instanceof Error ? error.message : String(error));
  }
  if (faults.length > 0) failures++;
  process.stdout.write(`${name.padEnd(12)}${faults.length === 0 ? 'ok' : faults.join('; ')}\n`);
}
await gateway.stop();
await sandbox.close();
place.remove();
process.exit(failures === 0 ? 0 : 1);
