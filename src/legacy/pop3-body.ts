/**
 * A message as RFC 1939 has it sent: every line ends with CRLF, the last one too; a dot at the begin of a line is doubled;
 * a lone dot ends it all. Streaming in bounded memory. Fails only as the source of the octets does.
 */
import { LineEnds } from '../mail/lines.ts';

const CR = 0x0d;
const LF = 0x0a;
const DOT = 0x2e;
const CRLF = Buffer.from('\r\n');
const STUFFED = Buffer.from('\n.');
const END = Buffer.from('.\r\n');

/** CRLF throughout and at the end. No CRLF is cut by the end of a chunk. */
export class Canonical {
  readonly #ends = new LineEnds();
  #isWhole = true;
  /** Octets given so far. */
  size = 0;

  push(chunk: Uint8Array): Buffer {
    return this.#given(this.#ends.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)));
  }

  end(): Buffer {
    const held = this.#given(this.#ends.end());
    return this.#isWhole ? held : this.#given(CRLF);
  }

  #given(octets: Buffer): Buffer {
    this.size += octets.length;
    if (octets.length > 0) this.#isWhole = octets.at(-1) === LF;
    return octets;
  }
}

/** Octets of the message in its canonical form. */
export async function canonicalSize(message: AsyncIterable<Uint8Array>): Promise<number> {
  const form = new Canonical();
  for await (const chunk of message) form.push(chunk);
  form.end();
  return form.size;
}

/** The header block, the empty line behind it, and some lines of the body: what TOP gives. Takes canonical chunks. */
export class Top {
  /** Lines of the body yet to come; -1: the last one is through. */
  #left: number;
  #isBody = false;
  #isBegun = false;

  constructor(lines: number) {
    this.#left = lines;
  }

  get isDone(): boolean {
    return this.#isBody && this.#left === 0;
  }

  push(chunk: Buffer): Buffer {
    let at = 0;
    while (!this.isDone) {
      const lf = chunk.indexOf(LF, at);
      if (lf < 0) {
        if (at < chunk.length) this.#isBegun = true;
        return chunk;
      }
      const isEmpty = !this.#isBegun && lf === at + 1 && chunk[at] === CR;
      this.#isBegun = false;
      at = lf + 1;
      if (this.#isBody) this.#left--;
      else if (isEmpty) this.#isBody = true;
    }
    return chunk.subarray(0, at);
  }
}

/** Doubles the dots. Takes canonical chunks. */
export class DotStuffing {
  #isLineBegin = true;

  push(chunk: Buffer): Buffer {
    if (chunk.length === 0) return chunk;
    const places: number[] = [];
    if (this.#isLineBegin && chunk[0] === DOT) places.push(0);
    for (let at = chunk.indexOf(STUFFED); at >= 0; at = chunk.indexOf(STUFFED, at + 1)) places.push(at + 1);
    this.#isLineBegin = chunk.at(-1) === LF;
    if (places.length === 0) return chunk;
    const stuffed = Buffer.allocUnsafe(chunk.length + places.length);
    let from = 0;
    let length = 0;
    for (const place of places) {
      length += chunk.copy(stuffed, length, from, place);
      stuffed[length++] = DOT;
      from = place;
    }
    chunk.copy(stuffed, length, from);
    return stuffed;
  }
}

/** One message on its way to a client. A piece is good until the next one is asked for. */
export class MessageBody implements AsyncIterableIterator<Buffer> {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #canonical = new Canonical();
  readonly #stuffing = new DotStuffing();
  readonly #top: Top | undefined;
  #first: IteratorResult<Uint8Array> | undefined;
  #isOver = false;

  private constructor(source: AsyncIterator<Uint8Array>, lines: number | undefined) {
    this.#source = source;
    this.#top = lines === undefined ? undefined : new Top(lines);
  }

  /**
   * Resolves when the first octets are there: what cannot be opened is known before a client is promised anything.
   * @param lines of the body, for TOP; undefined: all of it
   */
  static async open(message: AsyncIterable<Uint8Array>, lines?: number): Promise<MessageBody> {
    const body = new MessageBody(message[Symbol.asyncIterator](), lines);
    body.#first = await body.#source.next();
    return body;
  }

  async next(): Promise<IteratorResult<Buffer, undefined>> {
    if (this.#isOver) return { done: true, value: undefined };
    const result = this.#first ?? (await this.#source.next());
    this.#first = undefined;
    const octets = result.done === true ? this.#canonical.end() : this.#canonical.push(result.value);
    const wanted = this.#stuffing.push(this.#top === undefined ? octets : this.#top.push(octets));
    const isLast = result.done === true || this.#top?.isDone === true;
    if (!isLast) return { done: false, value: wanted };
    const last = wanted.length === 0 ? END : Buffer.concat([wanted, END]);
    this.#isOver = true;
    if (result.done !== true) await this.#source.return?.();
    return { done: false, value: last };
  }

  /** Lets go of the source, wherever it is. */
  async return(): Promise<IteratorResult<Buffer, undefined>> {
    if (!this.#isOver) await this.#source.return?.();
    this.#isOver = true;
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

const LINES_AT_ONCE = 500;

/** An answer of many lines; none of them begins with a dot. */
export async function* listing(lines: readonly string[]): AsyncIterableIterator<Buffer> {
  for (let at = 0; at < lines.length; at += LINES_AT_ONCE) {
    const some = lines.slice(at, at + LINES_AT_ONCE);
    yield Buffer.from(some.map((line) => `${line}\r\n`).join(''), 'latin1');
  }
  yield END;
}
