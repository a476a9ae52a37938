/** A legacy system that takes any mail by SMTP and forgets it; it goes down, and comes up on the same port. */
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

export class LegacyServer {
  port = 0;
  #server: Server | undefined;
  readonly #sockets = new Set<Socket>();

  async up(): Promise<void> {
    this.#server = createServer((socket) => this.#serve(socket)).listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.port = (this.#server.address() as AddressInfo).port;
  }

  async down(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
    const state = { inData: false };
    const say = (reply: string): void => void socket.write(`${reply}\r\n`);
    say('220 legacy.test ESMTP');
    createInterface({ input: socket }).on('line', (line) => {
      if (state.inData) {
        if (line !== '.') return;
        state.inData = false;
        return say('250 2.0.0 taken');
      }
      state.inData = /^DATA$/i.test(line);
      say(state.inData ? '354 go on' : /^QUIT$/i.test(line) ? '221 2.0.0 bye' : '250 2.0.0 ok');
    });
  }
}
