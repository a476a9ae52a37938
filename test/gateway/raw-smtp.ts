/** A bare SMTP session for load and crash tests: one command at a time, every reply looked at. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { connect } from 'node:net';

export class RawSmtp {
  readonly #socket: Socket;
  #buffered = '';
  readonly #replies: string[] = [];
  #waiting: ((reply: string | undefined) => void) | undefined;
  #closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => this.#read(chunk));
    socket.on('error', () => undefined); // the close that follows ends the session
    socket.on('close', () => {
      this.#closed = true;
      this.#waiting?.(undefined);
      this.#waiting = undefined;
    });
  }

  /** Connects, waits for the greeting and says EHLO. */
  static async open(port: number): Promise<RawSmtp> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    const session = new RawSmtp(socket);
    await once(socket, 'connect');
    await session.reply();
    await session.say('EHLO client.test\r\n', '250');
    return session;
  }

  /** The last line of the next reply; rejects when the connection ends before it. */
  async reply(): Promise<string> {
    const known = this.#replies.shift();
    if (known !== undefined) return known;
    const reply = this.#closed
      ? undefined
      : await new Promise<string | undefined>((resolve) => (this.#waiting = resolve));
    if (reply === undefined) throw new Error('the connection was closed');
    return reply;
  }

  async say(text: string, expected: string): Promise<string> {
    this.#socket.write(text, 'latin1');
    const reply = await this.reply();
    if (!reply.startsWith(expected)) throw new Error(`${text.slice(0, 60).trim()} was answered ${reply}`);
    return reply;
  }

  /** One message; `data` has its dots stuffed already and ends with CRLF. @returns the reply to the final dot */
  async send(from: string, to: readonly string[], data: string): Promise<string> {
    await this.say(`MAIL FROM:<${from}>\r\n`, '250');
    for (const address of to) await this.say(`RCPT TO:<${address}>\r\n`, '250');
    await this.say('DATA\r\n', '354');
    return this.say(`${data}.\r\n`, '250');
  }

  /** Writes without waiting for a reply; resolves when more may be written. */
  async write(text: string): Promise<void> {
    if (!this.#socket.write(text, 'latin1')) await once(this.#socket, 'drain');
  }

  end(): void {
    this.#socket.end('QUIT\r\n');
  }

  #read(chunk: string): void {
    this.#buffered += chunk;
    for (let end = this.#buffered.indexOf('\r\n'); end >= 0; end = this.#buffered.indexOf('\r\n')) {
      const reply = this.#buffered.slice(0, end);
      this.#buffered = this.#buffered.slice(end + 2);
      if (reply[3] === '-') continue;
      if (this.#waiting === undefined) this.#replies.push(reply);
      else {
        const wake = this.#waiting;
        this.#waiting = undefined;
        wake(reply);
      }
    }
  }
}
