/** A bare SMTP client: octets out, whole replies in. */
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { connect as connectTls } from 'node:tls';

const PATIENCE = 8_000;

export class Session {
  #socket: Socket;
  #text = '';
  readonly #replies: string[] = [];
  #waiting: (() => void)[] = [];
  #isClosed = false;
  /** Error of the socket, if it ended with one. */
  error: Error | undefined;
  /** Every reply so far. */
  readonly heard: string[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#listen(socket);
  }

  static async open(port: number, host = '127.0.0.1'): Promise<Session> {
    const socket = connect({ port, host, noDelay: true });
    const session = new Session(socket);
    await once(socket, 'connect');
    return session;
  }

  /** Implicit TLS. */
  static async openTls(port: number, options: ConnectionOptions = {}): Promise<Session> {
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    await once(socket, 'secureConnect');
    return new Session(socket);
  }

  get socket(): Socket {
    return this.#socket;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  #listen(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => this.#read(chunk.toString('latin1')));
    socket.on('error', (error) => (this.error = error));
    socket.on('close', () => {
      this.#isClosed = true;
      this.#wake();
    });
  }

  #read(text: string): void {
    this.#text += text;
    for (;;) {
      const found = /^(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*)?\r\n/.exec(this.#text);
      if (found === null) break;
      this.#text = this.#text.slice(found[0].length);
      const reply = found[0].slice(0, -2).replaceAll('\r\n', '\n');
      this.#replies.push(reply);
      this.heard.push(reply);
    }
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async #until(isDone: () => boolean, what: string): Promise<void> {
    const end = Date.now() + PATIENCE;
    while (!isDone()) {
      const left = end - Date.now();
      if (left <= 0) throw new Error(`${what} did not happen; heard ${JSON.stringify(this.heard)}`);
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  /** The next reply, lines joined by LF. */
  async reply(): Promise<string> {
    await this.#until(() => this.#replies.length > 0 || this.#isClosed, 'a reply');
    const reply = this.#replies.shift();
    if (reply === undefined) throw new Error(`the connection was closed; heard ${JSON.stringify(this.heard)}`);
    return reply;
  }

  async replies(count: number): Promise<string[]> {
    const all: string[] = [];
    while (all.length < count) all.push(await this.reply());
    return all;
  }

  /** What came and was not taken with reply(). */
  get unread(): readonly string[] {
    return this.#replies;
  }

  write(octets: string | Buffer): void {
    this.#socket.write(typeof octets === 'string' ? Buffer.from(octets, 'utf8') : octets);
  }

  /** Every octet a write of its own. */
  async writeSlowly(octets: string | Buffer): Promise<void> {
    const all = typeof octets === 'string' ? Buffer.from(octets, 'utf8') : octets;
    for (let at = 0; at < all.length; at++) {
      this.#socket.write(all.subarray(at, at + 1));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  say(line: string): Promise<string> {
    this.write(`${line}\r\n`);
    return this.reply();
  }

  /** Greeting and EHLO. */
  async hello(name = 'client.test'): Promise<string> {
    await this.reply();
    return this.say(`EHLO ${name}`);
  }

  /** MAIL, RCPT and DATA; ends at the 354. */
  async toData(from = 'a@contoso.com', to: readonly string[] = ['b@contoso.com']): Promise<void> {
    for (const line of [`MAIL FROM:<${from}>`, ...to.map((address) => `RCPT TO:<${address}>`), 'DATA']) {
      const reply = await this.say(line);
      if (!/^[23]/.test(reply)) throw new Error(`${line} was answered ${reply}`);
    }
  }

  /** One message; `data` as on the wire, without the final dot line. */
  async send(data: string | Buffer, from?: string, to?: readonly string[]): Promise<string> {
    await this.toData(from, to);
    this.write(data);
    this.write('.\r\n');
    return this.reply();
  }

  async startTls(options: ConnectionOptions = {}): Promise<void> {
    const reply = await this.say('STARTTLS');
    if (!reply.startsWith('220 ')) throw new Error(`STARTTLS was answered ${reply}`);
    await this.upgrade(options);
  }

  /** After the 220. */
  async upgrade(options: ConnectionOptions = {}): Promise<void> {
    const plain = this.#socket;
    plain.removeAllListeners('data');
    plain.removeAllListeners('close');
    const secure = connectTls({ socket: plain, rejectUnauthorized: false, ...options });
    this.#socket = secure;
    this.#listen(secure);
    await once(secure, 'secureConnect');
  }

  /** Resolves when the server has closed its side. */
  async closed(): Promise<void> {
    await this.#until(() => this.#isClosed, 'the close');
  }

  /** Without a farewell. */
  destroy(): void {
    this.#socket.destroy();
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }
}
