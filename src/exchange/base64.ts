/**
 * Base64 (RFC 4648 section 4) of a stream in constant memory, on one line, with a length that is known beforehand.
 * Fails only as its source fails.
 */

/** Octets of base64 for this many octets. */
export function base64Length(octets: number): number {
  return 4 * Math.ceil(octets / 3);
}

/**
 * Octets encoded at once, a multiple of three. What is written to an encrypted connection lies in memory a second time
 * until it is gone, and larger pieces wait for the garbage collector as well.
 */
const PIECE = 48 * 1024;

/** Chunks of any size in, chunks of base64 out; every chunk is a buffer of its own. */
export async function* base64(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  // At most two octets that do not yet fill a group of three.
  let left = Buffer.alloc(0);
  for await (const chunk of source) {
    const octets = left.length > 0 ? Buffer.concat([left, chunk]) : asBuffer(chunk);
    const whole = octets.length - (octets.length % 3);
    left = Buffer.from(octets.subarray(whole));
    for (let at = 0; at < whole; at += PIECE) {
      yield Buffer.from(octets.toString('base64', at, Math.min(at + PIECE, whole)), 'latin1');
    }
  }
  if (left.length > 0) yield Buffer.from(left.toString('base64'), 'latin1');
}

function asBuffer(chunk: Uint8Array): Buffer {
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}
