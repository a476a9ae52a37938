/** A small SMTP server of a legacy system, which keeps what it gets. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';

export interface Taken {
  readonly from: string;
  readonly to: readonly string[];
  readonly message: string;
  /** performance.now() */
  readonly at: number;
}

export interface LegacyServer {
  readonly port: number;
  readonly taken: readonly Taken[];
  close(): Promise<void>;
}

/** @param refuses recipients of whom it says that there are none */
export async function legacyServer(refuses: (address: string) => boolean = () => false): Promise<LegacyServer> {
  const taken: Taken[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    disableReverseLookup: true,
    logger: false,
    onRcptTo: ({ address }, _session, callback) =>
      callback(refuses(address) ? Object.assign(new Error('5.1.1 no such number'), { responseCode: 550 }) : null),
    onData(stream, { envelope: { mailFrom, rcptTo } }, callback) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        taken.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          message: Buffer.concat(chunks).toString('latin1'),
          at: performance.now(),
        });
        callback();
      });
    },
  });
  server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  return {
    port: (server.server.address() as AddressInfo).port,
    taken,
    close: () => new Promise((done) => server.close(() => done())),
  };
}
