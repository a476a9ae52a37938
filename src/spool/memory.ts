/** Memory of a message's octets, given back at once instead of when the garbage collector comes by. */

/**
 * The collector counts only what lies on its own heap and lets tens of megabytes of buffers wait. Afterwards the array is
 * empty; its buffer must be nobody else's.
 */
export function letGo(octets: Uint8Array): void {
  if (octets.buffer instanceof ArrayBuffer && !octets.buffer.detached) octets.buffer.transfer(0);
}
