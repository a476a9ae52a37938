/**
 * A process that sends mail as fast as it is taken: each session is reused for all its messages, no pipelining.
 * Usage: load.ts PORT CONNECTIONS MESSAGES OCTETS; prints one JSON line.
 */
import { RawSmtp } from '../test/gateway/raw-smtp.ts';

const [port = 0, connections = 0, messages = 0, octets = 0] = process.argv.slice(2).map(Number);
const header =
  'From: notifications@contoso.com\r\nTo: b@contoso.com\r\nSubject: bench\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\nMIME-Version: 1.0\r\n';
const line = `${'x'.repeat(76)}\r\n`;
const body = line.repeat(Math.max(1, Math.round((octets - header.length - 40) / line.length)));
let left = messages;

async function session(): Promise<void> {
  const smtp = await RawSmtp.open(port);
  while (left > 0) {
    const id = `<${process.pid}-${left--}@bench>`;
    await smtp.send('notifications@contoso.com', ['b@contoso.com'], `${header}Message-ID: ${id}\r\n\r\n${body}`);
  }
  smtp.end();
}

const started = performance.now();
await Promise.all(Array.from({ length: connections }, session));
const seconds = (performance.now() - started) / 1000;
process.stdout.write(`${JSON.stringify({ seconds, rate: messages / seconds })}\n`);
