/**
 * Lines and messages out of a socket, for the sandbox's SMTP: waits for what comes next. Undefined is the end of the
 * connection, however it came about.
 */
import type { Socket } from 'node:net';

const LONGEST_LINE = 64 * 1024;
const END = Buffer.from('\r\n.\r\n');
const CRLF = Buffer.from('\r\n');

export class SmtpReader {
  readonly #socket: Socket;
  readonly #chunks: Buffer[] = [];
  #isOver = false;
  #wake: (() => void) | undefined;
  readonly #onData = (chunk: Buffer): void => {
    this.#chunks.push(chunk);
    this.#wake?.();
  };
  readonly #onEnd = (): void => {
    this.#isOver = true;
    this.#wake?.();
  };

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onEnd);
  }

  /** Reads no more: what comes next belongs to somebody else (TLS). */
  stop(): void {
    this.#socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onEnd);
    this.#socket.pause();
  }

  async line(): Promise<string | undefined> {
    for (;;) {
      const held = this.#joined();
      const end = held.indexOf(CRLF);
      if (end >= 0) {
        this.#keep(held.subarray(end + 2));
        return held.toString('utf8', 0, end);
      }
      if (held.length > LONGEST_LINE || !(await this.#more())) return undefined;
    }
  }

  /** A message to its final dot, without it. @param isCut gives up after the first octets of it */
  async message(isCut: boolean): Promise<Buffer | undefined> {
    const parts: Buffer[] = [CRLF];
    let tail = CRLF;
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk === undefined) {
        if (!(await this.#more())) return undefined;
        continue;
      }
      if (isCut) return Buffer.alloc(0);
      const seam = Buffer.concat([tail, chunk]);
      const end = seam.indexOf(END);
      if (end < 0) {
        parts.push(chunk);
        tail = seam.subarray(Math.max(0, seam.length - END.length + 1));
        continue;
      }
      const rest = seam.subarray(end + END.length);
      if (rest.length > 0) this.#chunks.unshift(rest);
      parts.push(chunk.subarray(0, chunk.length - rest.length));
      return unstuffed(Buffer.concat(parts));
    }
  }

  #joined(): Buffer {
    const held = this.#chunks.length === 1 ? (this.#chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(this.#chunks);
    this.#keep(held);
    return held;
  }

  #keep(rest: Buffer): void {
    this.#chunks.length = 0;
    if (rest.length > 0) this.#chunks.push(rest);
  }

  async #more(): Promise<boolean> {
    if (this.#isOver) return false;
    await new Promise<void>((resolve) => (this.#wake = resolve));
    return !this.#isOver || this.#chunks.length > 0;
  }
}

/** @param raw begins with the line end before the message, and ends with its final dot */
function unstuffed(raw: Buffer): Buffer {
  const message = raw.subarray(0, raw.length - 3);
  const parts: Buffer[] = [];
  let from = 2;
  for (let at = message.indexOf('\r\n.'); at >= 0; at = message.indexOf('\r\n.', at + 3)) {
    parts.push(message.subarray(from, at + 2));
    from = at + 3;
  }
  parts.push(message.subarray(from));
  return Buffer.concat(parts.filter((part) => part.length > 0));
}
