/**
 * Connections before their PROXY header or their TLS handshake: bounded by client address and by time, for the package
 * bounds them by silence and in all only. Never fails.
 */
import type { Socket } from 'node:net';
import { connectionCount } from './limits.ts';

export class EarlyGuard {
  readonly #open = connectionCount();
  readonly #most: number;
  readonly #longest: number;

  /** @param most connections of one address; longest: milliseconds */
  constructor(most: number, longest: number) {
    this.#most = most;
    this.#longest = longest;
  }

  isCrowded(peer: string): boolean {
    return this.#open.of(peer) >= this.#most;
  }

  /**
   * @param release of the package, to be called as well
   * @returns to be called when it is early no more
   */
  watch(socket: Socket, peer: string, release: () => void, destroy: (error: Error) => void): () => void {
    this.#open.add(peer);
    const deadline = setTimeout(() => destroy(new Error('The handshake takes too long')), this.#longest).unref();
    let isOver = false;
    const over = (): void => {
      if (!isOver) this.#open.remove(peer);
      isOver = true;
      clearTimeout(deadline);
      release();
    };
    socket.once('close', over);
    return over;
  }
}
