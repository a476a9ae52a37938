/**
 * The connection under a session: a line at a time in, a piece at a time out, TLS in between. Reads only when a line is
 * waited for and writes only what the client takes, so that its buffers stay within a chunk. What ends it is an Ended.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { SecureContext } from 'node:tls';
import { CommandLines } from './pop3-lines.ts';

/** How long a client may take to close its side once ours is, milliseconds. */
const FAREWELL = 500;
/** Octets that are handed over at once. */
const PIECE = 65_536;

export type End =
  | 'gone' // by the client, or cut off
  | 'silent' // no whole line within its time
  | 'slow' // an answer was not taken
  | 'tls' // the handshake failed
  | 'late' // the handshake takes too long
  | 'interrupted';

export class Ended extends Error {
  override readonly name = 'Ended';
  readonly why: End;

  constructor(why: End, cause?: Error) {
    super(why, cause === undefined ? {} : { cause });
    this.why = why;
  }
}

export class Wire {
  #socket: Socket;
  readonly #lines = new CommandLines();
  /** The client has said its last. */
  #isRead = false;
  #isClosed = false;
  readonly #closed = Promise.withResolvers<void>();
  /** Of what is waited for. */
  #wake: (() => void) | undefined;
  #fail: ((error: Ended) => void) | undefined;
  #isReading = false;
  #isShaking = false;
  readonly #gone = new AbortController();

  /** @param socket allowHalfOpen: who sends all its commands and closes its side gets all the answers */
  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    // A client that is lost without a word must not hold its mailbox until the idle time-out.
    socket.setKeepAlive(true, 60_000);
    this.#listen(socket);
  }

  /** Aborts when the connection is closed. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /**
   * @param longest octets, the line's end included
   * @param patience milliseconds for the whole line
   * @returns undefined: there will be none any more
   */
  async line(longest: number, patience: number): Promise<Buffer | 'too long' | undefined> {
    const until = performance.now() + patience;
    for (;;) {
      const line = this.#lines.next(longest);
      if (line !== undefined) return line;
      if (this.#isRead) return undefined;
      this.#isReading = true;
      try {
        await this.#until('silent', until - performance.now(), (done) => {
          this.#wake = done;
          this.#socket.resume();
        });
      } finally {
        this.#isReading = false;
        this.#wake = undefined;
      }
    }
  }

  /**
   * Resolves when all of it is handed over, and the octets are not needed any more.
   * @param patience milliseconds for each piece
   */
  async write(octets: string | Buffer, patience: number): Promise<void> {
    const all = typeof octets === 'string' ? Buffer.from(octets, 'utf8') : octets;
    for (let at = 0; at < all.length; at += PIECE) {
      const piece = all.subarray(at, at + PIECE);
      await this.#until('slow', patience, (done) =>
        this.#socket.write(piece, (error) => (error ? this.#fail?.(new Ended('gone', error)) : done())),
      );
    }
  }

  /** Forgets what the client has said already. */
  discard(): void {
    // What is read here comes by the event as well.
    while (this.#socket.read() !== null);
    this.#lines.clear();
  }

  /** The handshake. What is read from here on is part of it. */
  async secure(secureContext: SecureContext, patience: number): Promise<void> {
    const plain = this.#socket;
    plain.removeAllListeners('data').removeAllListeners('end').removeAllListeners('close');
    const secure = new TLSSocket(plain, { isServer: true, secureContext });
    this.#socket = secure;
    const failed = (error: Error): void => this.#fail?.(new Ended('tls', error));
    secure.once('_tlsError', failed).once('error', failed);
    secure.once('close', () => this.#close());
    const left = (): void => this.#fail?.(new Ended('gone'));
    secure.once('end', left);
    this.#isShaking = true;
    try {
      await this.#until('late', patience, (done) => secure.once('secure', done));
    } finally {
      this.#isShaking = false;
    }
    secure.removeListener('_tlsError', failed).removeListener('error', failed).removeListener('end', left);
    this.#listen(secure);
  }

  /** Ends what waits for the client's next octets. In the middle of a handshake nothing can be said. */
  interrupt(): void {
    if (this.#isShaking) this.destroy();
    if (this.#isReading) this.#fail?.(new Ended('interrupted'));
  }

  /** Nothing more is said; the client gets what was. */
  end(): void {
    this.#socket.removeAllListeners('data').resume().end();
    setTimeout(() => this.destroy(), FAREWELL).unref();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #listen(socket: Socket): void {
    socket.pause();
    socket.on('data', (chunk: Buffer) => {
      socket.pause();
      this.#lines.push(chunk);
      this.#wake?.();
    });
    socket.on('end', () => {
      this.#isRead = true;
      this.#wake?.();
    });
    // The close that follows says it all.
    socket.on('error', () => undefined);
    socket.on('close', () => this.#close());
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#gone.abort();
    this.#fail?.(new Ended('gone'));
    this.#closed.resolve();
  }

  async #until(late: End, patience: number, begin: (done: () => void) => void): Promise<void> {
    if (this.#isClosed) throw new Ended('gone');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(new Ended(late)), Math.max(0, patience));
    this.#fail = reject;
    try {
      begin(resolve);
      await promise;
    } finally {
      clearTimeout(timer);
      this.#fail = undefined;
    }
  }
}
