/**
 * One listener as a source of mail. Fails at its start with an Error whose message says what to do about the port.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Report } from '../mail/event.ts';
import { cannotListen } from '../mail/port.ts';
import type { Source } from '../mail/source.ts';
import type { ListenerOptions, SmtpParts } from './options.ts';
import { Server } from './server.ts';

export function smtpSource(options: ListenerOptions, parts: SmtpParts): Source {
  return new Listener(options, parts);
}

class Listener implements Source {
  readonly name: string;
  readonly #options: ListenerOptions;
  readonly #report: Report;
  readonly #server: Server;

  constructor(options: ListenerOptions, parts: SmtpParts) {
    this.name = options.name;
    this.#options = options;
    this.#report = parts.report;
    this.#server = new Server(options, parts);
  }

  async start(): Promise<void> {
    const { name, address, port, tls, auth } = this.#options;
    const { server } = this.#server;
    server.listen({ port, host: address });
    try {
      await once(server, 'listening');
    } catch (error) {
      throw cannotListen(error, this.#options);
    }
    this.#server.begin();
    this.#report({
      event: 'listener.open',
      listener: name,
      address,
      port: (server.address() as AddressInfo).port,
      tls,
      auth,
    });
  }

  stop(signal: AbortSignal): Promise<void> {
    return this.#server.end(signal);
  }
}
