/**
 * A fake fax server, for the demo: takes faxes by SMTP, and says by mail what came of each, as fax servers do. Rejects
 * where its port cannot be had.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Event } from '../mail/event.ts';
import { readParts } from '../mail/mime.ts';
import { createPolicy } from '../mail/policy.ts';
import { senderMap } from '../mail/senders.ts';
import type { Arrival, Incoming } from '../mail/source.ts';
import type { SmtpServer } from '../smtp/client.ts';
import { sendMail } from '../smtp/client.ts';
import { loginGuard } from '../smtp/limits.ts';
import { smtpSource } from '../smtp/listener.ts';

export interface Document {
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly sha256: string;
}

export interface Fax {
  readonly sender: string;
  /** Of the envelope's recipient, what stands before the @. */
  readonly number: string;
  readonly documents: readonly Document[];
}

export interface FaxServer {
  readonly port: number;
  readonly faxes: readonly Fax[];
  close(): Promise<void>;
}

const HOST = '127.0.0.1';
const MINUTE = 60_000;
const MEGABYTE = 1_000_000;
const DOMAIN = 'fax.demo';

/** @param reportTo where it sends its reports @param from the sender of them */
export async function startFaxServer(reportTo: () => SmtpServer, from: string): Promise<FaxServer> {
  const faxes: Fax[] = [];
  const state = { port: 0, reports: Promise.resolve() };
  const take = async (chunks: readonly Buffer[], { envelope }: Arrival): Promise<void> => {
    const documents = await documentsIn(chunks);
    for (const { address } of envelope.recipients) {
      const fax = { sender: envelope.reversePath, number: address.split('@')[0] ?? '', documents };
      faxes.push(fax);
      state.reports = state.reports.then(() => report(fax));
    }
  };
  const report = async ({ sender, number, documents }: Fax): Promise<void> => {
    const pages = documents.map(({ name }) => `  ${name}: 1 page`).join('\r\n');
    await sendMail(reportTo(), {
      from: `Fax server <${from}>`,
      to: [sender],
      subject: `Fax to ${number}: sent`,
      text: `Your fax to ${number} was sent.\r\n\r\n${pages}\r\n`,
      headers: { 'Auto-Submitted': 'auto-generated' },
    });
  };
  const listener = {
    name: 'fax server',
    address: HOST,
    port: 0,
    tls: 'none',
    minTls: '1.2',
    auth: 'none',
    allowInsecureAuth: false,
    lenient: true,
    lfEndOfData: false,
    proxyProtocol: [],
    maxMessageSize: 50 * MEGABYTE,
    maxHeaderSize: MEGABYTE,
    maxConnections: 10,
    maxConnectionsPerAddress: 10,
    maxRecipients: 100,
    maxMessages: 1_000,
    maxErrors: 10,
    idleTimeout: MINUTE,
    sessionTimeout: 60 * MINUTE,
    minDataRate: 0,
    maxHops: 50,
  } as const;
  const source = smtpSource(listener, {
    users: new Map(),
    hostname: DOMAIN,
    defaultFrom: from,
    policy: createPolicy({
      listeners: [{ name: listener.name, auth: 'none', allow: ['127.0.0.0/8'], loginFrom: [] }],
      users: [],
      clients: [],
      senders: { allow: ['*'] },
      recipients: { allow: [`@${DOMAIN}`], deny: [] },
    }),
    senders: senderMap({ mailbox: from, header: 'keep', rules: [] }),
    rate: () => undefined,
    logins: loginGuard({ failures: 10, within: MINUTE, ban: MINUTE, delay: 0 }),
    completeDomain: DOMAIN,
    headerOnly: 'drop',
    nullReversePath: 'suppress',
    inject: { room: () => ({ ok: true }), begin: () => inMemory(take) },
    report: (event: Event) => {
      if (event.event === 'listener.open') state.port = event.port;
    },
  });
  await source.start();
  return {
    port: state.port,
    faxes,
    async close() {
      await source.stop(AbortSignal.timeout(1_000));
      await state.reports.catch(() => undefined);
    },
  };
}

function inMemory(take: (chunks: readonly Buffer[], arrival: Arrival) => Promise<void>): Incoming {
  const chunks: Buffer[] = [];
  return {
    id: randomUUID(),
    async write(chunk) {
      chunks.push(Buffer.from(chunk));
    },
    async commit(arrival) {
      await take(chunks, arrival);
      return true;
    },
    async abort() {},
  };
}

async function documentsIn(chunks: readonly Buffer[]): Promise<readonly Document[]> {
  const documents: Document[] = [];
  const message = async function* () {
    yield* chunks;
  };
  for await (const part of readParts(message(), MEGABYTE)) {
    if (part.kind !== 'attachment') continue;
    const hash = createHash('sha256');
    let size = 0;
    for await (const octets of part.content) {
      hash.update(octets);
      size += octets.length;
    }
    documents.push({ name: part.name ?? '', type: part.type, size, sha256: hash.digest('hex') });
  }
  return documents;
}
