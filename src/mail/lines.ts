/**
 * Line ends of a message on its way in: a bare LF and a bare CR become CRLF (RFC 5321 section 2.3.8 allows nothing else,
 * and what ends a line for one server and not for the next is how messages are smuggled). The end of the message was found
 * before. Streaming; each octet is looked at twice; nothing is copied where nothing changes. Never fails.
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

  /** @returns what of the message is certain by now; the chunk itself, or a part of it, where nothing was changed */
  push(chunk: Buffer): Buffer {
    if (chunk.length === 0) return NOTHING;
    const pieces: Buffer[] = [];
    let start = 0;
    if (this.#isCrHeld) {
      pieces.push(CRLF);
      if (chunk[0] === LF) start = 1;
      else this.#bareCr++;
      this.#isCrHeld = false;
    }
    let at = start;
    let cr = chunk.indexOf(CR, at);
    let lf = chunk.indexOf(LF, at);
    while (cr >= 0 || lf >= 0) {
      if (lf >= 0 && (cr < 0 || lf < cr)) {
        pieces.push(chunk.subarray(start, lf), CRLF);
        this.#bareLf++;
        at = start = lf + 1;
        lf = chunk.indexOf(LF, at);
        continue;
      }
      if (cr === chunk.length - 1) {
        this.#isCrHeld = true;
        pieces.push(chunk.subarray(start, cr));
        return joined(pieces);
      }
      if (lf === cr + 1) {
        at = lf + 1;
        lf = chunk.indexOf(LF, at);
      } else {
        pieces.push(chunk.subarray(start, cr), CRLF);
        this.#bareCr++;
        at = start = cr + 1;
      }
      cr = chunk.indexOf(CR, at);
    }
    pieces.push(chunk.subarray(start));
    return joined(pieces);
  }

  /** The message is over. */
  end(): Buffer {
    if (!this.#isCrHeld) return NOTHING;
    this.#isCrHeld = false;
    this.#bareCr++;
    return CRLF;
  }
}

function joined(pieces: Buffer[]): Buffer {
  const [only = NOTHING] = pieces;
  return pieces.length === 1 ? only : Buffer.concat(pieces);
}
