/**
 * Finds the end of a message that a client ends with LF.LF instead of CRLF.CRLF, in octets as they come. A dot between
 * one kind of line end and the other ends nothing. Pure; never fails.
 */
const LF = 0x0a;
const CR = 0x0d;
const DOT = 0x2e;
const END = Buffer.from('\r\n.\r\n');
const EMPTY_END = Buffer.from('.\r\n');

/** What stands before the next octet, as far as an end could follow. */
type Place = 'begin' | 'begin.' | 'line' | 'cr' | 'crlf' | 'crlf.' | 'crlf.cr' | 'lf' | 'lf.';

export class LfEnd {
  #place: Place = 'begin';
  /** Octets that are part of an end, perhaps. */
  #held: Buffer = Buffer.alloc(0);

  /**
   * @returns the octets as a client would have sent them that knows CRLF.CRLF, and whether LF.LF was among them; what
   * stands behind an end is returned unread
   */
  read(chunk: Buffer): { octets: Buffer; ended: boolean } {
    const octets = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    let place = this.#place;
    for (let at = this.#held.length; at < octets.length; at++) {
      const octet = octets[at];
      if (octet === LF && (place === 'lf.' || place === 'begin.')) {
        // The bare LF before the dot is replaced as well.
        const end = place === 'lf.' ? END : EMPTY_END;
        const before = octets.subarray(0, at - (place === 'lf.' ? 2 : 1));
        this.#reset();
        return { octets: Buffer.concat([before, end, octets.subarray(at + 1)]), ended: true };
      }
      if (octet === LF && place === 'crlf.cr') {
        this.#reset();
        return { octets, ended: false };
      }
      place = after(place, octet);
    }
    this.#place = place;
    const hold = place === 'lf.' ? 2 : place === 'lf' || place === 'begin.' ? 1 : 0;
    this.#held = octets.subarray(octets.length - hold);
    return { octets: octets.subarray(0, octets.length - hold), ended: false };
  }

  #reset(): void {
    this.#place = 'begin';
    this.#held = Buffer.alloc(0);
  }
}

function after(place: Place, octet: number | undefined): Place {
  switch (octet) {
    case LF:
      return place === 'cr' ? 'crlf' : 'lf';
    case CR:
      return place === 'crlf.' || place === 'begin.' ? 'crlf.cr' : 'cr';
    case DOT:
      if (place === 'begin') return 'begin.';
      if (place === 'crlf') return 'crlf.';
      return place === 'lf' ? 'lf.' : 'line';
    default:
      return 'line';
  }
}
