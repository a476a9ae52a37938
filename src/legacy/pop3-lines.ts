/**
 * Command lines out of octets, however these are cut: a line ends with LF, a CR before it goes. Holds no more than one
 * chunk and the begin of a line. A line that is too long is told once, as such, and its octets are thrown away. Never
 * fails.
 */

const LF = 0x0a;
const CR = 0x0d;
const NOTHING = Buffer.alloc(0);

export class CommandLines {
  /** What has come and was not taken. */
  #octets: Buffer = NOTHING;
  /** In the middle of a line that is too long. */
  #isSkipping = false;

  push(chunk: Buffer): void {
    this.#octets = this.#octets.length === 0 ? chunk : Buffer.concat([this.#octets, chunk]);
  }

  /**
   * @param longest octets of a line, its end included
   * @returns the next line without its end; undefined: none is whole yet
   */
  next(longest: number): Buffer | 'too long' | undefined {
    const end = this.#octets.indexOf(LF);
    if (end < 0) {
      if (this.#octets.length >= longest) {
        this.#isSkipping = true;
        this.#octets = NOTHING;
      }
      return undefined;
    }
    const line = this.#octets.subarray(0, end);
    this.#octets = this.#octets.subarray(end + 1);
    const isTooLong = this.#isSkipping || end + 1 > longest;
    this.#isSkipping = false;
    if (isTooLong) return 'too long';
    return line.at(-1) === CR ? line.subarray(0, -1) : line;
  }

  /** Forgets what has come. */
  clear(): void {
    this.#octets = NOTHING;
    this.#isSkipping = false;
  }
}
