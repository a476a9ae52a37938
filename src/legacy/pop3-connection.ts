/**
 * One client of the POP3 door, from greeting to close: hands its lines to the session, its answers to the wire, and tells
 * how it ended. Never fails.
 */
import type { SecureContext } from 'node:tls';
import type { Refusal } from '../mail/event.ts';
import { SpoolError } from '../mail/spool.ts';
import { handshakeDetail, isKnock } from '../tls/listening.ts';
import { Session } from './pop3-session.ts';
import type { Answer, Shared } from './pop3-session.ts';
import { Ended } from './pop3-wire.ts';
import type { Wire } from './pop3-wire.ts';

const GOING_DOWN = '-ERR [SYS/TEMP] Going down, try again later';

export class Connection {
  readonly peer: string;
  readonly #wire: Wire;
  readonly #shared: Shared;
  readonly #context: () => SecureContext;
  readonly #session: Session;
  readonly #beganAt = performance.now();
  #isEnding = false;
  /** In the middle of a message. */
  #isSending = false;
  /** Sent to their end. */
  #messages = 0;

  /** @param context for TLS, as it is now */
  constructor(wire: Wire, peer: string, shared: Shared, context: () => SecureContext) {
    this.#wire = wire;
    this.peer = peer;
    this.#shared = shared;
    this.#context = context;
    this.#session = new Session(shared, { peer, isSecure: shared.options.tls === 'implicit', gone: wire.gone });
  }

  /** Resolves when it is closed. */
  async run(): Promise<void> {
    const { options, parts } = this.#shared;
    parts.report({ event: 'session.opened', listener: options.name, peer: this.peer });
    try {
      await this.#talk();
      this.#wire.end();
    } catch (error) {
      await this.#failed(error);
    } finally {
      await this.#session.end();
    }
    await this.#wire.closed;
    const seconds = (performance.now() - this.#beganAt) / 1_000;
    parts.report({
      event: 'session.closed',
      listener: options.name,
      peer: this.peer,
      seconds,
      messages: this.#messages,
    });
  }

  /** An answer under way is finished first. */
  stop(): void {
    this.#isEnding = true;
    this.#wire.interrupt();
  }

  cutOff(): void {
    this.#wire.destroy();
  }

  async #talk(): Promise<void> {
    if (this.#shared.options.tls === 'implicit') await this.#wire.secure(this.#context(), this.#patience);
    await this.#write('+OK smtp2exchange POP3 ready');
    for (;;) {
      if (this.#isEnding) throw new Ended('interrupted');
      const line = await this.#wire.line(this.#session.longestLine, this.#patience);
      if (line === undefined) return;
      const answer = await this.#session.answer(line);
      // What came in the clear behind STLS may be anybody's (RFC 2595 section 4).
      if (answer.next === 'tls') this.#wire.discard();
      await this.#say(answer);
      if (answer.next === 'close') return;
      if (answer.next === 'tls') {
        await this.#wire.secure(this.#context(), this.#patience);
        this.#session.secured();
      }
    }
  }

  /** Milliseconds the client has for what comes next. */
  get #patience(): number {
    const { idleTimeout, loginTimeout } = this.#shared.options;
    if (this.#session.isLoggedIn) return idleTimeout;
    return Math.min(idleTimeout, this.#beganAt + loginTimeout - performance.now());
  }

  async #say({ status, body, isMessage = false }: Answer): Promise<void> {
    this.#isSending = isMessage;
    try {
      await this.#write(status);
      if (body !== undefined)
        for await (const piece of body) await this.#wire.write(piece, this.#shared.options.idleTimeout);
    } finally {
      // Also of one that was not begun.
      await body?.return?.();
    }
    this.#isSending = false;
    if (isMessage) this.#messages++;
  }

  #write(line: string): Promise<void> {
    return this.#wire.write(`${line}\r\n`, this.#shared.options.idleTimeout);
  }

  async #failed(error: unknown): Promise<void> {
    if (!(error instanceof Ended)) {
      // In the middle of an answer nothing can be said: an end without its dot is what the client understands.
      this.#wire.destroy();
      if (error instanceof SpoolError)
        return this.#refuse('spool', 'closed in the middle of a message', `${error.trouble}: ${error.message}`);
      const bug = error instanceof Error ? error : new Error(String(error));
      return this.#shared.parts.report({ event: 'bug', where: 'POP3 connection', error: bug });
    }
    const { idleTimeout, loginTimeout, minTls } = this.#shared.options;
    switch (error.why) {
      case 'interrupted':
        return this.#sayGoodbye();
      case 'gone':
        if (this.#isSending) this.#refuse('aborted', 'closed', 'the connection ended in the middle of a message');
        break;
      case 'silent':
        this.#refuse(
          'timeout',
          'closed',
          this.#session.isLoggedIn
            ? `no command within ${seconds(idleTimeout)}`
            : `no login within ${seconds(loginTimeout)}`,
        );
        break;
      case 'slow':
        this.#refuse('slow', 'closed', `a piece of an answer was not taken within ${seconds(idleTimeout)}`);
        break;
      case 'late':
        this.#refuse('tls', 'TLS handshake failed', `it took longer than ${seconds(loginTimeout)}`);
        break;
      case 'tls': {
        const cause = error.cause instanceof Error ? error.cause : error;
        if (!isKnock(cause)) this.#refuse('tls', 'TLS handshake failed', handshakeDetail(cause, minTls));
      }
    }
    this.#wire.destroy();
  }

  async #sayGoodbye(): Promise<void> {
    this.#refuse('stopping', GOING_DOWN);
    try {
      await this.#write(GOING_DOWN);
    } catch {
      // Gone by itself.
    }
    this.#wire.end();
  }

  #refuse(refusal: Refusal, reply: string, detail?: string): void {
    const { options, parts } = this.#shared;
    const more = detail === undefined ? {} : { detail };
    parts.report({ event: 'session.refused', listener: options.name, peer: this.peer, refusal, reply, ...more });
  }
}

const seconds = (milliseconds: number): string => `${Math.round(milliseconds / 100) / 10} s`;
