/** The SMTP transport in front of the sandbox's submission, with what a test wants to be otherwise. */
import { createHttp } from '../../src/exchange/http.ts';
import { tokenOf } from '../exchange/sandbox-token.ts';
import type { Envelope } from '../../src/mail/envelope.ts';
import type { Outgoing, Transport } from '../../src/mail/transport.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { smtpTransport } from '../../src/smtp/submit.ts';
import type { SubmissionOptions } from '../../src/smtp/submit.ts';

export const SENDER = 'sender@contoso.test';
export const PEOPLE = ['ann@contoso.test', 'bob@contoso.test', 'cid@contoso.test'] as const;

export interface Site {
  readonly sandbox: Sandbox;
  readonly token: ReturnType<typeof tokenOf>;
  /** One that is closed with the site. */
  transport(options?: Partial<SubmissionOptions>): Transport;
  close(): Promise<void>;
}

export async function openSite(): Promise<Site> {
  const sandbox = await startSandbox({ mailboxes: [SENDER, ...PEOPLE].map((address) => ({ address })) });
  const http = createHttp({ ca: sandbox.ca });
  const token = tokenOf(sandbox, http, 'exchange');
  const transports: Transport[] = [];
  return {
    sandbox,
    token,
    transport(options = {}) {
      const made = smtpTransport({
        host: '127.0.0.1',
        port: sandbox.smtp.port,
        tls: 'required',
        minTls: '1.2',
        ca: sandbox.ca,
        name: 'gateway.test',
        timeouts: { connect: 5_000, reply: 5_000, answer: 5_000 },
        login: { kind: 'oauth', token },
        ...options,
      });
      transports.push(made);
      return made;
    },
    async close() {
      for (const one of transports) await one.close();
      await token.close();
      await http.close();
      await sandbox.close();
    },
  };
}

let items = 0;

export interface OutgoingOptions {
  readonly envelope?: Partial<Envelope>;
  readonly mailbox?: string;
  /** Octets of a chunk as the spool gives them. */
  readonly chunk?: number;
}

/** A chunk is wiped when the next one is asked for, as the spool takes its memory back. */
export function outgoing(
  message: Buffer | string,
  recipients: readonly string[],
  { envelope = {}, mailbox = SENDER, chunk = 1000 }: OutgoingOptions = {},
): Outgoing {
  const octets = Buffer.from(message);
  const id = `item-${++items}`;
  return {
    item: {
      id,
      message: id,
      route: 'exchange',
      mailbox,
      envelope: { reversePath: SENDER, recipients: recipients.map((address) => ({ address })), ...envelope },
      origin: { source: 'smtp', name: 'lan', peer: '10.0.0.1' },
      messageId: `<${id}@app.test>`,
      headerSize: octets.indexOf('\r\n\r\n') + 4,
      size: octets.length,
      state: 'sending',
      arrivedAt: 0,
      due: 0,
      attempts: 1,
      doubtful: false,
    },
    async *open() {
      for (let at = 0; at < octets.length; at += chunk) {
        const piece = Buffer.from(octets.subarray(at, at + chunk));
        yield piece;
        piece.fill(0);
      }
    },
  };
}
