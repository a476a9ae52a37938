/**
 * A process that sends mail as fast as it is taken: each session is reused for all its messages, no pipelining.
 * Usage: load.ts PORT CONNECTIONS MESSAGES OCTETS [SENDERS]; prints one JSON line. With SENDERS over 1, sender-0@contoso.com
 * and so on send in turn.
 */
import { RawSmtp } from '../test/gateway/raw-smtp.ts';

const [port = 0, connections = 0, messages = 0, octets = 0, senders = 1] = process.argv.slice(2).map(Number);
const senderOf = (n: number): string =>
  senders === 1 ? 'notifications@contoso.com' : `sender-${n % senders}@contoso.com`;
const headerOf = (from: string): string =>
  `From: ${from}\r\nTo: b@contoso.com\r\nSubject: bench\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\nMIME-Version: 1.0\r\n`;
const line = `${'x'.repeat(76)}\r\n`;
const body = line.repeat(Math.max(1, Math.round((octets - headerOf(senderOf(0)).length - 40) / line.length)));
let left = messages;

async function session(): Promise<void> {
  const smtp = await RawSmtp.open(port);
  while (left > 0) {
    const from = senderOf(left);
    const id = `<${process.pid}-${left--}@bench>`;
    await smtp.send(from, ['b@contoso.com'], `${headerOf(from)}Message-ID: ${id}\r\n\r\n${body}`);
  }
  smtp.end();
}

const started = performance.now();
await Promise.all(Array.from({ length: connections }, session));
const seconds = (performance.now() - started) / 1000;
process.stdout.write(`${JSON.stringify({ seconds, rate: messages / seconds })}\n`);
