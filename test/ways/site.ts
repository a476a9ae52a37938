/** The ways out side by side, each in front of the same sandbox over real connections, with what a reader then has. */
import type { ParsedMail } from 'mailparser';
import { simpleParser } from 'mailparser';
import { bearer } from '../../src/exchange/authorizer.ts';
import { createEws } from '../../src/exchange/ews.ts';
import { graphTransport } from '../../src/exchange/graph.ts';
import { createHttp } from '../../src/exchange/http.ts';
import { exchangeTransport } from '../../src/exchange/send.ts';
import type { Envelope } from '../../src/mail/envelope.ts';
import { fieldValue, splitHeader } from '../../src/mail/header.ts';
import type { DeliveryStatus } from '../../src/mail/status.ts';
import type { Transport } from '../../src/mail/transport.ts';
import type { Arrival, Sandbox, SandboxOptions } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { smtpTransport } from '../../src/smtp/submit.ts';
import { bodyAt } from '../exchange/sandbox-site.ts';
import { outgoing, SENDER } from '../smtp/submit-site.ts';
import { tokenOf } from '../exchange/sandbox-token.ts';

export { SENDER };
export const ANN = 'ann@contoso.test';
export const BOB = 'bob@contoso.test';
export const CID = 'cid@contoso.test';
export const PEOPLE = [ANN, BOB, CID] as const;

/** `draft`: Graph's way for what is too large for one request, here for everything. */
export const WAYS = ['ews', 'graph', 'draft', 'smtp'] as const;
export type Way = (typeof WAYS)[number];

/** A message in somebody's hands. */
export interface Copy {
  readonly mime: Buffer;
  readonly mail: ParsedMail;
  /** What follows the header block. */
  readonly body: Buffer;
  /** Values of the fields of this name as they are written, unfolded, in UTF-8. */
  fields(name: string): readonly string[];
  /** MAIL and RCPT as they were said, where there is such a thing. */
  readonly envelope?: { readonly mail: string; readonly recipients: readonly string[] };
  /** As the server was handed it; it keeps no Received for the reader. */
  readonly handed?: Buffer;
  /** Copies in the sender's Sent Items. */
  readonly kept?: number;
}

export interface Sent {
  readonly status: DeliveryStatus;
  readonly arrival: Arrival | undefined;
  /** Who has got how many copies by it. */
  readonly got: Readonly<Record<string, number>>;
  /** All of it that lies with readers. */
  readonly copies: readonly Buffer[];
  readonly kept: number;
  readonly envelope?: NonNullable<Copy['envelope']>;
}

export interface SendOptions {
  readonly envelope?: Partial<Envelope>;
  readonly mailbox?: string;
  readonly saveToSentItems?: boolean;
}

export interface Ways {
  readonly sandbox: Sandbox;
  /** Octets of each request that handed EWS a message, in order. */
  readonly ewsRequests: readonly number[];
  send(way: Way, message: Buffer, recipients: readonly string[], options?: SendOptions): Promise<Sent>;
  close(): Promise<void>;
}

export async function openWays(options: Partial<SandboxOptions> = {}): Promise<Ways> {
  const ewsRequests: number[] = [];
  const sandbox = await startSandbox({
    mailboxes: [SENDER, ...PEOPLE].map((address) => ({ address })),
    record: (document) => {
      if (document.includes('<t:MimeContent')) ewsRequests.push(document.length);
    },
    ...options,
  });
  const http = createHttp({ ca: sandbox.ca });
  const token = tokenOf(sandbox, http, 'exchange');
  const graphToken = tokenOf(sandbox, http, 'graph');
  const ews = await createEws({ url: sandbox.ewsUrl, authorizer: bearer({ http, token }), version: '1' });
  const graph = { url: sandbox.graphUrl, http, authorizer: bearer({ http, token: graphToken }), version: '1' };
  const carryHeaders = ['X-Tag'];
  const smtp = smtpTransport({
    host: '127.0.0.1',
    port: sandbox.smtp.port,
    tls: 'required',
    minTls: '1.2',
    ca: sandbox.ca,
    name: 'gateway.test',
    timeouts: { connect: 5_000, reply: 5_000, answer: 5_000 },
    login: { kind: 'oauth', token },
  });
  const transport = (way: Way, saveToSentItems: boolean): Transport => {
    switch (way) {
      case 'ews':
        return exchangeTransport({ ews, saveToSentItems, carryHeaders });
      case 'graph':
        return graphTransport({ graph, saveToSentItems, carryHeaders, pauseFrom: 1 });
      case 'draft':
        return graphTransport({ graph, saveToSentItems, carryHeaders, pauseFrom: 1, maxRequest: 1 });
      case 'smtp':
        return smtp;
    }
  };
  const inboxes = (): Map<string, number> =>
    new Map(PEOPLE.map((address) => [address, sandbox.mailbox(address).inbox.length]));
  return {
    sandbox,
    ewsRequests,
    async send(way, message, recipients, { envelope = {}, mailbox = SENDER, saveToSentItems = true } = {}) {
      const before = inboxes();
      const arrivals = sandbox.arrived().length;
      const transactions = sandbox.smtp.transactions.length;
      const kept = sandbox.mailbox(mailbox).sentitems.length;
      const given = outgoing(message, recipients, { mailbox, chunk: 65_537, envelope });
      const messageId = fieldsOf(message, 'message-id')[0] ?? given.item.messageId;
      // A block that is nothing but the empty line.
      const headerSize = bodyAt(message);
      const status = await transport(way, saveToSentItems).deliver(
        { ...given, item: { ...given.item, messageId, headerSize } },
        AbortSignal.timeout(25_000),
      );
      const more = PEOPLE.flatMap((address) => sandbox.mailbox(address).inbox.slice(before.get(address)));
      const transaction = sandbox.smtp.transactions[transactions];
      const after = inboxes();
      const count = ([address, now]: [string, number]): [string, number] => [address, now - (before.get(address) ?? 0)];
      return {
        status,
        arrival: sandbox.arrived()[arrivals],
        got: Object.fromEntries([...after].map(count).filter(([, copies]) => copies > 0)),
        copies: more.map(({ mime }) => mime),
        kept: sandbox.mailbox(mailbox).sentitems.length - kept,
        ...(transaction === undefined ? {} : { envelope: transaction }),
      };
    },
    async close() {
      await smtp.close();
      await token.close();
      await graphToken.close();
      await http.close();
      await sandbox.close();
    },
  };
}

export function fieldsOf(mime: Buffer, wanted: string): readonly string[] {
  return splitHeader(mime.subarray(0, bodyAt(mime)))
    .filter(({ name }) => name === wanted)
    .map(fieldValue);
}

/** @param more what a message alone does not say */
export async function copyOf(mime: Buffer, more: Pick<Copy, 'envelope' | 'handed' | 'kept'> = {}): Promise<Copy> {
  return {
    ...more,
    mime,
    mail: await simpleParser(mime, { keepCidLinks: true, skipHtmlToText: true, skipTextToHtml: true }),
    body: mime.subarray(bodyAt(mime)),
    fields: (name) => fieldsOf(mime, name),
  };
}
