/**
 * Takes the base64 inside the one MimeContent element out of an answer of EWS while the answer comes in, in constant
 * memory, and keeps the rest of the answer, which says whether it is one. Promises: octets come out only for sound base64
 * (RFC 4648 section 4; white space between is allowed), and `isWhole` only when it had an end. Never throws.
 */

/** Octets kept of the answer besides its content: an envelope, or what an error says. */
const REST_LIMIT = 256 * 1024;
const NAME = String.raw`(?:[\w.-]+:)?MimeContent`;
const START = new RegExp(
  String.raw`<${NAME}(?:[ \t\r\n]+[\w:.-]+[ \t\r\n]*=[ \t\r\n]*(?:"[^"<]*"|'[^'<]*'))*[ \t\r\n]*(/?)>`,
  'g',
);
const END = new RegExp(String.raw`^</${NAME}[ \t\r\n]*>`);
const LESS_THAN = 0x3c;
const NONE = Buffer.alloc(0);

export class MimeStream {
  #state: 'before' | 'inside' | 'after' | 'unsound' = 'before';
  readonly #base64 = new Base64Decoder();
  #length = 0;
  /** Latin-1, so that no character is torn at the border of two chunks. */
  #before = '';
  #after = '';

  /** The message's octets that this chunk of the answer gives. Empty for good once isSound is false. */
  push(chunk: Uint8Array): Buffer {
    switch (this.#state) {
      case 'before':
        return this.#search(text(chunk));
      case 'inside':
        return this.#decode(chunk);
      case 'after':
        this.#after = this.#bounded(this.#after + text(chunk));
        return NONE;
      default:
        return NONE;
    }
  }

  /** False: it is no answer that a message can be read from, and reading on is of no use. */
  get isSound(): boolean {
    return this.#state !== 'unsound';
  }

  /** There was content, and it is complete. */
  get isWhole(): boolean {
    return this.#state === 'after' && this.#length > 0 && this.#base64.isComplete && END.test(this.#after);
  }

  /** The answer without its content. */
  get rest(): string {
    return Buffer.from(this.#before + this.#after, 'latin1').toString('utf8');
  }

  #search(more: string): Buffer {
    const known = this.#before.length;
    this.#before += more;
    // A tag that was begun before this chunk begins at the last bracket.
    START.lastIndex = Math.max(0, this.#before.lastIndexOf('<', known));
    const found = START.exec(this.#before);
    if (!found) {
      this.#before = this.#bounded(this.#before);
      return NONE;
    }
    const end = found.index + found[0].length;
    const next = Buffer.from(this.#before.slice(end), 'latin1');
    this.#before = this.#bounded(this.#before.slice(0, end));
    if (!this.isSound) return NONE;
    this.#state = found[1] === '' ? 'inside' : 'after';
    return next.length === 0 ? NONE : this.push(next);
  }

  #decode(chunk: Uint8Array): Buffer {
    const end = chunk.indexOf(LESS_THAN);
    const octets = this.#base64.push(text(end < 0 ? chunk : chunk.subarray(0, end)));
    if (octets === undefined) {
      this.#state = 'unsound';
      return NONE;
    }
    this.#length += octets.length;
    if (end >= 0) {
      this.#state = 'after';
      this.push(chunk.subarray(end));
    }
    return octets;
  }

  #bounded(kept: string): string {
    if (kept.length <= REST_LIMIT) return kept;
    this.#state = 'unsound';
    return '';
  }
}

class Base64Decoder {
  #carry = '';
  #isPadded = false;

  /** Undefined: it is no base64. */
  push(more: string): Buffer | undefined {
    const characters = this.#carry + (/[ \t\r\n]/.test(more) ? more.replace(/[ \t\r\n]+/g, '') : more);
    if (this.#isPadded && characters !== '') return undefined;
    const whole = characters.length - (characters.length % 4);
    this.#carry = characters.slice(whole);
    const quartets = characters.slice(0, whole);
    const other = quartets.search(/[^A-Za-z0-9+/]/);
    if (other >= 0) {
      this.#isPadded = /^={1,2}$/.test(quartets.slice(other)) && this.#carry === '';
      if (!this.#isPadded) return undefined;
    }
    return Buffer.from(quartets, 'base64');
  }

  get isComplete(): boolean {
    return this.#carry === '';
  }
}

function text(octets: Uint8Array): string {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength).toString('latin1');
}
