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

export interface SmtpSource extends Source {
  /** Once it is started. */
  readonly port: number;
  /** Takes no new connections and gives its port up at once; the sessions there are go on. @param over they have ended */
  retire(over: () => void): void;
  /** Takes connections again after retire(), at the same port. Rejects as start() does. */
  reopen(): Promise<void>;
}

export function smtpSource(options: ListenerOptions, parts: SmtpParts): SmtpSource {
  return new Listener(options, parts);
}

class Listener implements SmtpSource {
  readonly name: string;
  readonly #options: ListenerOptions;
  readonly #report: Report;
  readonly #server: Server;
  #port: number;

  constructor(options: ListenerOptions, parts: SmtpParts) {
    this.name = options.name;
    this.#options = options;
    this.#report = parts.report;
    this.#server = new Server(options, parts);
    this.#port = options.port;
  }

  get port(): number {
    return this.#port;
  }

  async start(): Promise<void> {
    const { name, address, tls, auth } = this.#options;
    await this.#listen();
    this.#server.begin();
    this.#report({ event: 'listener.open', listener: name, address, port: this.#port, tls, auth });
  }

  retire(over: () => void): void {
    this.#server.retire(over);
  }

  reopen(): Promise<void> {
    return this.#listen();
  }

  async #listen(): Promise<void> {
    const { server } = this.#server;
    server.listen({ port: this.#port, host: this.#options.address });
    try {
      await once(server, 'listening');
    } catch (error) {
      throw cannotListen(error, this.#options);
    }
    this.#port = (server.address() as AddressInfo).port;
  }

  stop(signal: AbortSignal): Promise<void> {
    return this.#server.end(signal);
  }
}
