/**
 * Rows of one column of octets as COPY TO STDOUT (FORMAT binary) sends them: as they are, where an answer to an ordinary
 * question has them twice as long, as text. Pure. @throws Error for what is no such stream
 */

/** Signature, flags and the length of what may follow. */
const HEADER = 19;
const SIGNATURE = 'PGCOPY\n\xff\r\n\0';
/** Number of columns, length of the first. */
const ROW = 6;

export class CopyReader {
  /** In memory of their own. */
  readonly rows: Uint8Array<ArrayBuffer>[] = [];
  #held = Buffer.alloc(0);
  #isBegun = false;

  /** @param piece good until the next one only */
  take(piece: Buffer): void {
    let rest = this.#held.length === 0 ? piece : Buffer.concat([this.#held, piece]);
    for (let next = this.#next(rest); next > 0; next = this.#next(rest)) rest = rest.subarray(next);
    this.#held = Buffer.from(rest);
  }

  /** @returns octets used up; 0: more have to come */
  #next(rest: Buffer): number {
    if (!this.#isBegun) return this.#begin(rest);
    // The end is a row of -1 columns.
    if (rest.length < ROW || rest.readInt16BE(0) < 0) return 0;
    const length = rest.readInt32BE(2);
    if (rest.readInt16BE(0) !== 1 || length < 0) throw new Error('a row of octets has other columns');
    if (rest.length < ROW + length) return 0;
    const octets = new Uint8Array(new ArrayBuffer(length));
    octets.set(rest.subarray(ROW, ROW + length));
    this.rows.push(octets);
    return ROW + length;
  }

  #begin(rest: Buffer): number {
    if (rest.length < HEADER) return 0;
    if (rest.toString('latin1', 0, SIGNATURE.length) !== SIGNATURE) throw new Error('the rows have no head');
    const length = HEADER + rest.readInt32BE(HEADER - 4);
    if (rest.length < length) return 0;
    this.#isBegun = true;
    return length;
  }
}
