/**
 * Sessions with the server, logged in, kept for the next message within bounds: a few of each login, for a short time and
 * a number of messages. One that was kept is asked whether it still lives before it is used, so that a dead connection
 * costs seconds. A token that is refused is replaced once. What fails is a status.
 */
import type { NoLogin } from '../mail/login.ts';
import { withoutLogin } from '../mail/login.ts';
import type { Delayed, Failed, Unknown } from '../mail/status.ts';
import { aborted, meaningOfTrouble } from './answers.ts';
import { openSession } from './client.ts';
import type { SessionOptions, SmtpLogin, SmtpSession, SmtpTrouble } from './client.ts';

/** Whoever gives out access tokens. */
export interface TokenSource {
  get(signal: AbortSignal): Promise<{ readonly ok: true; readonly token: string } | ({ readonly ok: false } & NoLogin)>;
  /** A server has refused this one. */
  refuse(token: string): void;
}

export type PoolLogin =
  | { readonly kind: 'none' }
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  /** Without user: as the sending mailbox. */
  | { readonly kind: 'oauth'; readonly token: TokenSource; readonly user?: string };

export interface PoolOptions extends SessionOptions {
  readonly login: PoolLogin;
  readonly steady?: () => number;
}

/** Messages of one session; servers count them too, and balancers want connections made anew now and then. */
const MESSAGES = 100;
/** Milliseconds that a session may be idle, or live. */
const IDLE = 20_000;
const LIFE = 300_000;
/** Idle ones, of one login. */
const KEPT = 3;
/** Milliseconds that a kept session has to answer RSET. */
const ALIVE = 5_000;

interface Kept {
  readonly session: SmtpSession;
  readonly user: string;
  readonly bornAt: number;
  messages: number;
  timer: NodeJS.Timeout | undefined;
}

export class SessionPool {
  readonly #options: PoolOptions;
  readonly #steady: () => number;
  readonly #idle = new Map<string, Kept[]>();
  readonly #used = new Map<SmtpSession, Kept>();
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#steady = options.steady ?? (() => performance.now());
  }

  /** A session in which MAIL may be said. It has to be given back. */
  async take(mailbox: string, signal: AbortSignal): Promise<SmtpSession | Delayed | Failed> {
    const { login } = this.#options;
    const user = login.kind === 'oauth' ? (login.user ?? mailbox) : '';
    for (let kept = this.#pop(user); kept !== undefined; kept = this.#pop(user)) {
      if (await kept.session.reset(Math.min(ALIVE, this.#options.timeouts.reply), signal)) return this.#lend(kept);
      if (signal.aborted) return aborted();
    }
    const session = await this.#open(user, signal);
    if ('outcome' in session) return session;
    return this.#lend({ session, user, bornAt: this.#steady(), messages: 0, timer: undefined });
  }

  giveBack(session: SmtpSession): void {
    const kept = this.#used.get(session);
    this.#used.delete(session);
    if (kept === undefined || !session.isOpen) return;
    const idle = this.#idle.get(kept.user) ?? [];
    const isSpent = kept.messages >= MESSAGES || this.#steady() - kept.bornAt >= LIFE;
    if (this.#isClosed || isSpent || idle.length >= KEPT) return session.end();
    kept.timer = setTimeout(() => this.#drop(kept), IDLE);
    kept.timer.unref();
    idle.push(kept);
    this.#idle.set(kept.user, idle);
  }

  close(): void {
    this.#isClosed = true;
    for (const kept of [...this.#idle.values()].flat()) this.#drop(kept);
  }

  #lend(kept: Kept): SmtpSession {
    kept.messages++;
    this.#used.set(kept.session, kept);
    return kept.session;
  }

  /** The one used last: the others may come to the end of their time. */
  #pop(user: string): Kept | undefined {
    const idle = this.#idle.get(user);
    const kept = idle?.pop();
    if (idle?.length === 0) this.#idle.delete(user);
    clearTimeout(kept?.timer);
    return kept;
  }

  #drop(kept: Kept): void {
    clearTimeout(kept.timer);
    const left = (this.#idle.get(kept.user) ?? []).filter((one) => one !== kept);
    if (left.length === 0) this.#idle.delete(kept.user);
    else this.#idle.set(kept.user, left);
    kept.session.end();
  }

  async #open(user: string, signal: AbortSignal): Promise<SmtpSession | Delayed | Failed> {
    const { login } = this.#options;
    if (login.kind !== 'oauth') return await this.#openWith(login.kind === 'none' ? undefined : login, signal);
    let refused: { readonly token: string; readonly status: Delayed | Failed } | undefined;
    for (;;) {
      const token = await login.token.get(signal);
      if (!token.ok) return withoutLogin(token);
      if (token.token === refused?.token) return refused.status;
      const opened = await this.#openWith({ kind: 'token', user, token: token.token }, signal);
      // What a fresh token could mend; not 5.7.139, which is about the account.
      const isRefused = 'outcome' in opened && /^SMTP 535(?: 5\.7\.[38])?$/.test(opened.cause);
      if (!isRefused || refused !== undefined) return opened;
      refused = { token: token.token, status: opened };
      login.token.refuse(token.token);
    }
  }

  async #openWith(login: SmtpLogin | undefined, signal: AbortSignal): Promise<SmtpSession | Delayed | Failed> {
    const session = await openSession(this.#options, signal);
    if ('step' in session) return this.#statusOf(session);
    const trouble = login === undefined ? undefined : await session.login(login, signal);
    return trouble === undefined ? session : this.#statusOf(trouble);
  }

  #statusOf(trouble: SmtpTrouble): Delayed | Failed {
    const { host, port, login } = this.#options;
    const concerns = login.kind === 'oauth' && login.user === undefined ? 'mailbox' : 'transport';
    return certain(meaningOfTrouble(trouble, { host, port, login: concerns }));
  }
}

/** Before MAIL nothing can be in doubt. */
function certain(status: Delayed | Failed | Unknown): Delayed | Failed {
  if (status.outcome !== 'unknown') return status;
  throw new Error(`a session that had not begun cannot end with ${status.cause} in doubt`);
}
