/**
 * Octets lie outside of the garbage collector's own heap. Whoever streams them and makes hardly anything else gives it no
 * reason to look, so that tens of megabytes of buffers that nobody needs any more are left over. A string of the same octets
 * lies on its heap: making one, and letting go of it, has it look often enough. Costs a copy; never fails.
 */

/** Octets of one string: no more than what the collector keeps among the young. */
const PIECE = 48 * 1024;

/** @param octets that were taken, and are needed no more soon */
export function sweepAfter(octets: Buffer): void {
  for (let at = 0; at < octets.length; at += PIECE) octets.toString('latin1', at, at + PIECE);
}
