/**
 * An answer as the pieces it is made of, so that a large message is never held a second time: octets are sent, and encoded,
 * a little at a time, no faster than the client takes them.
 */
import type { ServerResponse } from 'node:http';

/** Text, octets as they are, or octets that are sent in base64. */
export type Piece = string | Buffer | { readonly base64: Buffer };

/** Octets at once; a multiple of three, so that base64 can be joined. */
const CHUNK = 3 * 32 * 1024;

export function lengthOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, piece) => {
    if (typeof piece === 'string') return sum + Buffer.byteLength(piece);
    return sum + (Buffer.isBuffer(piece) ? piece.length : Math.ceil(piece.base64.length / 3) * 4);
  }, 0);
}

export function joined(pieces: readonly Piece[]): Buffer {
  return Buffer.concat([...chunksOf(pieces)]);
}

/**
 * Resolves when all is written, or the client is gone.
 * @param most octets after which it stops
 */
export async function writePieces(response: ServerResponse, pieces: readonly Piece[], most = Infinity): Promise<void> {
  let left = most;
  for (const chunk of chunksOf(pieces)) {
    if (left <= 0 || response.destroyed) return;
    const goesOn = response.write(chunk.subarray(0, left));
    left -= chunk.length;
    if (!goesOn && !response.destroyed) await drained(response);
  }
}

async function drained(response: ServerResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    const goOn = (): void => {
      response.off('drain', goOn).off('close', goOn);
      resolve();
    };
    response.on('drain', goOn).on('close', goOn);
  });
}

function* chunksOf(pieces: readonly Piece[]): Generator<Buffer> {
  for (const piece of pieces) {
    if (typeof piece === 'string') {
      yield Buffer.from(piece);
      continue;
    }
    const octets = Buffer.isBuffer(piece) ? piece : piece.base64;
    for (let at = 0; at < octets.length; at += CHUNK) {
      const chunk = octets.subarray(at, at + CHUNK);
      yield Buffer.isBuffer(piece) ? chunk : Buffer.from(chunk.toString('base64'));
    }
  }
}
