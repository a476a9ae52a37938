/**
 * One listener as a source of mail. Fails at its start with an Error whose message says what to do about the port.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Report } from '../mail/event.ts';
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

function cannotListen(error: unknown, { name, address, port }: ListenerOptions): Error {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const place = `Listener "${name}" cannot open port ${port} on ${address}`;
  const reasons: Record<string, string> = {
    EADDRINUSE: 'another program has it; stop that one or choose another port',
    EACCES:
      'the operating system does not let this user open it; choose a port from 1024 up, or give the process the right to open lower ones',
    EADDRNOTAVAIL: 'this machine does not have that address; 0.0.0.0 stands for all it has',
    EAFNOSUPPORT: 'this machine has no IPv6; 0.0.0.0 stands for all its IPv4 addresses',
    EINVAL: 'the operating system takes no port on that address; a link-local one needs its interface (fe80::1%eth0)',
  };
  return new Error(`${place}: ${reasons[code] ?? (error instanceof Error ? error.message : String(error))}`, {
    cause: error,
  });
}
