/**
 * An HTTPS server on loopback that can go down and come up again on its port. Going down cuts every connection, those too
 * that have not finished their TLS handshake, and tells what still waits. Rejects with an Error that carries the system's
 * code (EADDRINUSE) and the port where it cannot listen.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'node:https';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

export interface ListenerOptions {
  /** For the error's sentence. */
  readonly name: string;
  readonly tls: { readonly cert: string; readonly key: string };
  /** Only loopback addresses are taken. */
  readonly host: string;
  /** 0: any free one, the same ever after. */
  readonly port: number;
  /** A rejection cuts the connection. */
  readonly answer: (request: IncomingMessage, response: ServerResponse, stopped: AbortSignal) => Promise<void>;
}

export interface Listener {
  readonly origin: string;
  readonly port: number;
  start(): Promise<void>;
  stop(): Promise<void>;
}

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

/** @throws Error if the host is no loopback address */
export function createListener({ name, tls, host, port: wanted, answer }: ListenerOptions): Listener {
  if (!LOOPBACK.test(host)) throw new Error(`the sandbox binds to loopback only, not to ${host}`);
  let port = wanted;
  let running: { readonly server: Server; readonly sockets: Set<Socket>; readonly stop: AbortController } | undefined;
  return {
    get origin() {
      return `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
    },
    get port() {
      return port;
    },
    async start() {
      if (running) return;
      const stop = new AbortController();
      const sockets = new Set<Socket>();
      const server = createServer({ ...tls }, (request, response) => {
        // A client that went away in the middle, or the end of the server.
        answer(request, response, stop.signal).catch(() => response.destroy());
      });
      // A large message on a slow machine takes its time.
      server.requestTimeout = 0;
      server.on('connection', (socket: Socket) => {
        sockets.add(socket);
        socket.once('close', () => sockets.delete(socket));
      });
      running = { server, sockets, stop };
      try {
        await listen(server, port, host);
      } catch (error) {
        running = undefined;
        const { code } = error as NodeJS.ErrnoException;
        const sentence = `the sandbox's ${name} cannot listen on ${host}:${port} (${code}); is the port in use?`;
        throw Object.assign(new Error(sentence, { cause: error }), { code, port });
      }
      port = (server.address() as AddressInfo).port;
    },
    async stop() {
      const stopping = running;
      running = undefined;
      if (!stopping) return;
      const closed = new Promise((resolve) => stopping.server.close(resolve));
      stopping.stop.abort();
      for (const socket of stopping.sockets) socket.destroy();
      await closed;
    },
  };
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
}
