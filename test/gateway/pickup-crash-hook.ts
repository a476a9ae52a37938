/**
 * The webhook of the crash test of pickup: takes what is signed, once for each Idempotency-Key, and keeps books; fails
 * often. What it has taken it has, whether its answer arrives or not.
 */
import { createHmac } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { digest } from './pickup-crash-mail.ts';

const KEY = Buffer.from('a key of the crash test of pickup');

export interface Taken {
  readonly message: Buffer;
  readonly digest: string;
  times: number;
}

export class Hook {
  static readonly secret = `whsec_${KEY.toString('base64')}`;
  readonly url: string;
  /** By Idempotency-Key. */
  readonly taken = new Map<string, Taken>();
  /** What no gateway may send. */
  readonly wrong: string[] = [];
  readonly hits = new Map<string, number>();
  isCalm = false;
  readonly #server: ReturnType<typeof createServer>;
  readonly #random: () => number;

  private constructor(server: ReturnType<typeof createServer>, random: () => number) {
    this.#server = server;
    this.#random = random;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      // A gateway that was killed has sent half of it.
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  static async start(random: () => number): Promise<Hook> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Hook(server, random);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chance = this.isCalm ? 1 : this.#random();
    const hit = (name: string): void => void this.hits.set(name, (this.hits.get(name) ?? 0) + 1);
    if (chance < 0.04) {
      hit('cut before it was read');
      return void request.socket.destroy();
    }
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const [status, name] =
      chance < 0.1 ? [503, 'HTTP 503'] : chance < 0.13 ? [409, 'HTTP 409'] : chance < 0.16 ? [500, 'HTTP 500'] : [204];
    if (name !== undefined) {
      hit(name);
      return void response.writeHead(status, { 'retry-after': '1' }).end();
    }
    this.#take(request, Buffer.concat(pieces));
    if (chance < 0.22) {
      hit('taken, and cut');
      return void request.socket.destroy();
    }
    if (chance < 0.3) {
      hit('taken, answered late');
      await pause(100 + this.#random() * 300);
    }
    response.writeHead(204).end();
  }

  #take({ headers }: IncomingMessage, message: Buffer): void {
    const id = String(headers['webhook-id']);
    const signed = createHmac('sha256', KEY).update(`${id}.${headers['webhook-timestamp']}.`).update(message);
    const [key] = /(?<=^")[a-z0-9]+(?="$)/.exec(String(headers['idempotency-key'])) ?? [];
    if (headers['webhook-signature'] !== `v1,${signed.digest('base64')}`) this.wrong.push(`signature of ${id}`);
    if (key === undefined || key !== id) return void this.wrong.push(`Idempotency-Key of ${id}`);
    const before = this.taken.get(key);
    if (before === undefined) return void this.taken.set(key, { message, digest: digest(message), times: 1 });
    before.times++;
    if (before.digest !== digest(message)) this.wrong.push(`other octets under the key ${key}`);
  }
}
