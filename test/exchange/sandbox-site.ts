/** The transport in front of the sandbox's Exchange: everything real between the queue's item and the readers' mailboxes. */
import { bearer } from '../../src/exchange/authorizer.ts';
import type { EwsClient } from '../../src/exchange/ews.ts';
import { createEws } from '../../src/exchange/ews.ts';
import { createHttp } from '../../src/exchange/http.ts';
import type { ExchangeTransportOptions } from '../../src/exchange/send.ts';
import { exchangeTransport } from '../../src/exchange/send.ts';
import { tokenOf } from './sandbox-token.ts';
import type { Sandbox, SandboxOptions } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import type { Outgoing, Transport } from '../../src/mail/transport.ts';
import { recordSoap } from '../soap-record.ts';

export const SENDER = 'sender@contoso.test';

export interface Site {
  readonly sandbox: Sandbox;
  readonly ews: EwsClient;
  readonly transport: Transport;
  close(): Promise<void>;
}

export async function openSite(
  recipientProperties: NonNullable<SandboxOptions['recipientProperties']>,
  people: readonly string[],
  options: Partial<ExchangeTransportOptions> = {},
): Promise<Site> {
  const sandbox = await startSandbox({
    mailboxes: [SENDER, ...people].map((address) => ({ address })),
    recipientProperties,
    // The first few of each kind say all that a schema can be asked.
    record: limited(60, (document) => recordSoap('transport', document)),
  });
  const http = createHttp({ ca: sandbox.ca });
  const token = tokenOf(sandbox, http, 'exchange');
  const ews = await createEws({ url: sandbox.ewsUrl, authorizer: bearer({ http, token }), version: '1' });
  const transport = exchangeTransport({ ews, saveToSentItems: true, carryHeaders: ['X-Tag'], ...options });
  return {
    sandbox,
    ews,
    transport,
    async close() {
      await transport.close();
      await token.close();
      await http.close();
      await sandbox.close();
    },
  };
}

function limited(count: number, record: (document: Buffer) => void): (document: Buffer) => void {
  let left = count;
  return (document) => {
    if (left-- > 0) record(document);
  };
}

let items = 0;

/** @param chunk octets of a chunk as the spool gives them */
export function outgoing(message: Buffer, recipients: readonly string[], chunk = 1000): Outgoing {
  const id = `item-${++items}`;
  return {
    item: {
      id,
      message: id,
      route: 'exchange',
      mailbox: SENDER,
      envelope: { reversePath: 'app@contoso.test', recipients: recipients.map((address) => ({ address })) },
      origin: { source: 'smtp', name: 'lan', peer: '10.0.0.1' },
      messageId: `<${id}@app.test>`,
      headerSize: bodyAt(message),
      size: message.length,
      state: 'sending',
      arrivedAt: 0,
      due: 0,
      attempts: 1,
      doubtful: false,
    },
    async *open() {
      for (let at = 0; at < message.length; at += chunk) yield message.subarray(at, at + chunk);
    },
  };
}

/** Offset of the body. */
export function bodyAt(message: Buffer): number {
  return message.indexOf('\r\n') === 0 ? 2 : message.indexOf('\r\n\r\n') + 4;
}
