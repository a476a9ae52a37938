/**
 * The header block of a message (RFC 5322 section 2.2) as octets: found in a stream, taken apart, put together again.
 * Octets that are not asked to change do not change, whatever line ends or charset they use. A line ends with LF, with
 * or without CR before it; a bare CR is an octet like any other.
 * Fails only for a caller's mistake: TypeError for a field that could not be one, Error for a peeler used after its end.
 */
import { isUtf8 } from 'node:buffer';

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const TAB = 0x09;
const COLON = 0x3a;
const CRLF = Buffer.from('\r\n');
const EMPTY = Buffer.alloc(0);

/** Aim of RFC 5322 section 2.1.1, without the line end. */
const LINE_AIM = 78;

export interface HeaderField {
  /** Lower case; '' for a line that is no field. */
  readonly name: string;
  /** The field's octets, its folded lines and its line end included. */
  readonly raw: Buffer;
}

/**
 * Takes a header block apart. The empty line that ends it is not a field, and nothing after it is read. Joined again,
 * the raw octets are those of the block.
 */
export function splitHeader(block: Uint8Array): HeaderField[] {
  const octets = asBuffer(block);
  const fields: HeaderField[] = [];
  let start = 0;
  while (start < octets.length && !isEmptyLine(octets, start)) {
    let end = lineEnd(octets, start);
    while (end < octets.length && isBlank(octets[end])) end = lineEnd(octets, end);
    fields.push({ name: fieldName(octets, start, end), raw: octets.subarray(start, end) });
    start = end;
  }
  return fields;
}

/**
 * The first `size` octets of a message, which are its header block; fewer if it ends before. Chunks are copied, because
 * one is good until the next one only.
 */
export async function headerBlock(message: AsyncIterable<Uint8Array>, size: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let missing = size;
  for await (const chunk of message) {
    chunks.push(Buffer.from(chunk.subarray(0, missing)));
    missing -= Math.min(missing, chunk.length);
    if (missing === 0) break;
  }
  return Buffer.concat(chunks);
}

/** The block with the empty line that ends it. A last field without a line end gets one. */
export function joinHeader(fields: readonly HeaderField[]): Buffer {
  const parts: Buffer[] = [];
  for (const { raw } of fields) {
    parts.push(raw);
    if (raw.at(-1) !== LF) parts.push(CRLF);
  }
  parts.push(CRLF);
  return Buffer.concat(parts);
}

/**
 * Renders `Name: value` with CRLF, folded at white space so that lines stay within 78 characters where there is white
 * space to fold at.
 * @param value may hold any text but control characters; white space around it is dropped
 * @throws TypeError for a name that is none, or a control character in the value
 */
export function headerField(name: string, value: string): HeaderField {
  if (!/^[!-9;-~]+$/.test(name)) throw new TypeError(`not a header field name: ${JSON.stringify(name)}`);
  // oxlint-disable-next-line no-control-regex -- finding them is the point
  if (/[\x00-\x08\x0a-\x1f\x7f]/.test(value)) throw new TypeError(`control character in the value of ${name}`);
  let text = `${name}:`;
  let length = text.length;
  let isFirst = true;
  for (const piece of ` ${trim(value)}`.match(/[ \t]+[^ \t]+/g) ?? []) {
    // Not before the first word: a first line without any text is read as an empty field by some programs.
    const folds = !isFirst && length + piece.length > LINE_AIM;
    text += folds ? `\r\n${piece}` : piece;
    length = folds ? piece.length : length + piece.length;
    isFirst = false;
  }
  return { name: name.toLowerCase(), raw: Buffer.from(`${text}\r\n`) };
}

/** What windows-1252 has where ISO 8859-1 has control characters, from 80 to 9F; five stay what they are there. */
const WINDOWS =
  '\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d\u017d\x8f\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d\u017e\u0178';

/**
 * The field's text after the colon: unfolded, without white space around it, as UTF-8 if it is valid UTF-8, else as
 * windows-1252, which is Latin-1 and more.
 */
export function fieldValue(field: HeaderField): string {
  const octets = field.name === '' ? field.raw : field.raw.subarray(field.raw.indexOf(COLON) + 1);
  const text = isUtf8(octets) ? octets.toString('utf8') : windows(octets);
  return trim(text.replace(/\r?\n/g, ''));
}

function windows(octets: Buffer): string {
  // oxlint-disable-next-line no-control-regex -- those are the ones
  return octets.toString('latin1').replace(/[\x80-\x9f]/g, (one) => WINDOWS[one.charCodeAt(0) - 0x80] ?? one);
}

/**
 * Finds the end of the header block in a stream of chunks. Each octet is looked at once; at most `limit` octets are
 * kept. The block ends with the first empty line, or with the message.
 */
export class HeaderPeeler {
  readonly #limit: number;
  /** What came in earlier chunks; grows by doubling, so that a client sending single octets costs no more than another. */
  #kept = EMPTY;
  #length = 0;
  /** The unfinished line holds nothing, only a CR, or something. */
  #line: 'nothing' | 'cr' | 'something' = 'nothing';
  #isDone = false;
  #overflow = false;

  /** @param limit octets the block may have, the empty line included */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** More than `limit` octets without an empty line. From then on nothing is kept and nothing is found. */
  get overflow(): boolean {
    return this.#overflow;
  }

  /**
   * Returns the block once its end has come. The chunk must not be changed afterwards.
   * @returns `header`: the block with its empty line; `rest`: what of this chunk follows it
   */
  push(chunk: Uint8Array): { header: Buffer; rest: Buffer } | undefined {
    if (this.#isDone) throw new Error('the header block has ended already');
    if (this.#overflow) return undefined;
    const octets = asBuffer(chunk);
    const end = this.#scan(octets);
    if (this.#length + (end ?? octets.length) > this.#limit) {
      this.#overflow = true;
      this.#kept = EMPTY;
      this.#length = 0;
      return undefined;
    }
    if (end === undefined) {
      this.#keep(octets);
      return undefined;
    }
    this.#isDone = true;
    const rest = octets.subarray(end);
    if (this.#length === 0) return { header: octets.subarray(0, end), rest };
    this.#keep(octets.subarray(0, end));
    return { header: this.#kept.subarray(0, this.#length), rest };
  }

  /** The message is over: all of it was header. Nothing after an overflow. */
  end(): { header: Buffer; rest: Buffer } {
    if (this.#isDone) throw new Error('the header block has ended already');
    this.#isDone = true;
    return { header: this.#kept.subarray(0, this.#length), rest: EMPTY };
  }

  /** @returns the offset after the empty line's LF */
  #scan(octets: Buffer): number | undefined {
    let start = 0;
    while (start < octets.length) {
      const lf = octets.indexOf(LF, start);
      const stop = lf < 0 ? octets.length : lf;
      if (stop > start) {
        const isCr = this.#line === 'nothing' && stop - start === 1 && octets[start] === CR;
        this.#line = isCr ? 'cr' : 'something';
      }
      if (lf < 0) return undefined;
      if (this.#line !== 'something') return lf + 1;
      this.#line = 'nothing';
      start = lf + 1;
    }
    return undefined;
  }

  #keep(octets: Buffer): void {
    const needed = this.#length + octets.length;
    if (needed > this.#kept.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, Math.min(this.#kept.length * 2, this.#limit), 1024));
      this.#kept.copy(grown, 0, 0, this.#length);
      this.#kept = grown;
    }
    octets.copy(this.#kept, this.#length);
    this.#length = needed;
  }
}

function asBuffer(octets: Uint8Array): Buffer {
  return Buffer.isBuffer(octets) ? octets : Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);
}

function isBlank(octet: number | undefined): boolean {
  return octet === SPACE || octet === TAB;
}

/** Without blanks and CR at its ends. Not a regular expression: a run of blanks would cost it the square of its length. */
function trim(text: string): string {
  const isEdge = (at: number): boolean => isBlank(text.charCodeAt(at)) || text.charCodeAt(at) === CR;
  let start = 0;
  let end = text.length;
  while (start < end && isEdge(start)) start++;
  while (end > start && isEdge(end - 1)) end--;
  return text.slice(start, end);
}

function isEmptyLine(octets: Buffer, start: number): boolean {
  return octets[start] === LF || (octets[start] === CR && octets[start + 1] === LF);
}

/** Offset after the LF of the line that begins at `start`. */
function lineEnd(octets: Buffer, start: number): number {
  const lf = octets.indexOf(LF, start);
  return lf < 0 ? octets.length : lf + 1;
}

/** RFC 5322 section 3.6.8; white space before the colon is the obsolete syntax of section 4.5 and still seen. */
function fieldName(octets: Buffer, start: number, end: number): string {
  const colon = octets.subarray(start, end).indexOf(COLON);
  if (colon < 1) return '';
  let length = colon;
  while (length > 0 && isBlank(octets[start + length - 1])) length--;
  const name = octets.toString('latin1', start, start + length);
  return /^[!-~]+$/.test(name) ? name.toLowerCase() : '';
}
