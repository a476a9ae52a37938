/**
 * Line ends of a message on its way in: a bare LF and a bare CR become CRLF (RFC 5321 section 2.3.8 allows nothing else,
 * and what ends a line for one server and not for the next is how messages are smuggled). The end of the message was found
 * before. Streaming; nothing is copied where nothing changes. Never fails.
 */

const CR = 0x0d;
const LF = 0x0a;
const CRLF = Buffer.from('\r\n');
const NOTHING = Buffer.alloc(0);

export class LineEnds {
  #bareLf = 0;
  #bareCr = 0;
  /** The last chunk ended with a CR: the next one shows whether it is bare. */
  #isCrHeld = false;

  /** Bare LFs so far. */
  get bareLf(): number {
    return this.#bareLf;
  }

  /** Bare CRs so far. */
  get bareCr(): number {
    return this.#bareCr;
  }

  /** @returns what of the message is certain by now; the chunk itself, or all of it but its last octet, where nothing was changed */
  push(chunk: Buffer): Buffer {
    if (chunk.length === 0) return NOTHING;
    if (!this.#isCrHeld && isClean(chunk)) {
      this.#isCrHeld = chunk.at(-1) === CR;
      return this.#isCrHeld ? chunk.subarray(0, -1) : chunk;
    }
    // One octet may become two; two more for a CR that was held.
    const mended = Buffer.allocUnsafe(2 * chunk.length + 2);
    let length = 0;
    for (const octet of chunk) {
      if (this.#isCrHeld) {
        length += CRLF.copy(mended, length);
        this.#isCrHeld = false;
        if (octet === LF) continue;
        this.#bareCr++;
      }
      if (octet === CR) this.#isCrHeld = true;
      else if (octet === LF) {
        length += CRLF.copy(mended, length);
        this.#bareLf++;
      } else mended[length++] = octet;
    }
    return mended.subarray(0, length);
  }

  /** The message is over. */
  end(): Buffer {
    if (!this.#isCrHeld) return NOTHING;
    this.#isCrHeld = false;
    this.#bareCr++;
    return CRLF;
  }
}

/** Whether each of its lines ends with CRLF; a CR at its end may yet be followed by LF. */
function isClean(chunk: Buffer): boolean {
  for (let start = 0; ;) {
    const cr = chunk.indexOf(CR, start);
    const lf = chunk.indexOf(LF, start);
    if (cr < 0 || cr === chunk.length - 1) return lf < 0;
    if (lf !== cr + 1) return false;
    start = lf + 1;
  }
}
