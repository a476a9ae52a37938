/**
 * The dialogue of one POP3 session as a machine over lines (RFC 1939, 2449, 2595, 3206, 5034): a line in, one answer out.
 * Knows no socket. Promises: nothing is deleted but by QUIT after a login; a mailbox has one session at a time; a password
 * is never told. Never throws: trouble of the store is an answer, a bug is an event and an answer.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Refusal } from '../mail/event.ts';
import { SpoolError } from '../mail/spool.ts';
import { listing, MessageBody } from './pop3-body.ts';
import { Mailbox } from './pop3-mailbox.ts';
import type { Numbered } from './pop3-mailbox.ts';
import type { Exclusive, Pop3Options, Pop3Parts } from './pop3-options.ts';

/** Octets with the line end. Of a command: RFC 2449 section 4 wants 255 at least. */
const LONGEST_COMMAND = 512;
/** Of the base64 that AUTH waits for: a name, a password and an identity of 255 octets each (RFC 4616) take 1,024. */
const LONGEST_RESPONSE = 2_048;

export interface Answer {
  /** Without its line end. */
  readonly status: string;
  /** What follows, its end included. Whoever takes the answer lets go of it with return(). */
  readonly body?: AsyncIterableIterator<Buffer>;
  /** The body is a message. */
  readonly isMessage?: boolean;
  /** What the connection does when it is said. */
  readonly next?: 'close' | 'tls';
}

/** What all sessions of a door share. */
export interface Shared {
  readonly options: Pop3Options;
  readonly parts: Pop3Parts;
  /** Sizes that were counted, by user and id. */
  readonly sizes: Map<string, Map<string, number>>;
  /** Whether a password may come from there readable. */
  readonly allowsPlain: (peer: string) => boolean;
}

export interface SessionClient {
  readonly peer: string;
  readonly isSecure: boolean;
  /** Aborts when the client is gone. */
  readonly gone: AbortSignal;
}

/** A refusal: what the client is told, and what it counts as; none counts for nothing. */
interface No {
  readonly text: string;
  readonly refusal?: Refusal;
  readonly user?: string;
  readonly detail?: string;
  readonly next?: 'close';
}

const OVER: No = {
  text: '[SYS/TEMP] Another gateway may show this mailbox by now; nothing is deleted, log in again',
  refusal: 'spool',
  detail: 'the duty of the mailbox could not be kept for a lease',
  next: 'close',
};

type Result = Answer | No;
type Command = (argument: string) => Result | Promise<Result>;

export class Session {
  readonly #shared: Shared;
  readonly #client: SessionClient;
  #isSecure: boolean;
  #user: string | undefined;
  /** AUTH waits for a response. */
  #awaitsResponse = false;
  /** Who is logged in, and the mailbox. */
  #login: { readonly user: string; readonly mailbox: Mailbox; readonly exclusive?: Exclusive } | undefined;
  /** Refused commands since the last one that was taken. */
  #errors = 0;

  constructor(shared: Shared, client: SessionClient) {
    this.#shared = shared;
    this.#client = client;
    this.#isSecure = client.isSecure;
  }

  get isLoggedIn(): boolean {
    return this.#login !== undefined;
  }

  /** Octets the next line may have, its end included. */
  get longestLine(): number {
    return this.#awaitsResponse ? LONGEST_RESPONSE : LONGEST_COMMAND;
  }

  async answer(line: Buffer | 'too long'): Promise<Answer> {
    let result: Result;
    try {
      result = await this.#result(line);
    } catch (error) {
      result = this.#trouble(error);
    }
    if (!('text' in result)) {
      this.#errors = 0;
      return result;
    }
    return this.#refused(result);
  }

  /** After the handshake: what the client said before counts no more (RFC 2595 section 4). */
  secured(): void {
    this.#isSecure = true;
    this.#user = undefined;
    this.#errors = 0;
  }

  /** The connection is over. Deletes nothing. Resolves when the mailbox is free. */
  async end(): Promise<void> {
    const login = this.#login;
    if (login === undefined) return;
    this.#login = undefined;
    if (login.exclusive !== undefined) await login.exclusive.leave();
    this.#shared.parts.inUse.delete(login.user);
  }

  #result(line: Buffer | 'too long'): Result | Promise<Result> {
    // It was stopped, or cut off from the store, for so long that another may have shown and deleted what it sees.
    if (this.#login?.exclusive?.isOurs === false) return OVER;
    const isResponse = this.#awaitsResponse;
    this.#awaitsResponse = false;
    if (line === 'too long') return syntax('The line is too long');
    if (isResponse) return this.#plain(line.toString('latin1').trimEnd());
    const text = line.toString('utf8');
    // Of a password every blank counts (RFC 1939 section 7).
    const form = /^PASS /i.test(text) ? /^(PASS) (.*)$/is : /^([A-Za-z]{1,12})(?: +(.*?))?\s*$/s;
    const [, verb = '', argument = ''] = form.exec(text) ?? [];
    const command = verb.toUpperCase();
    const take = this.#login === undefined ? this.#before.get(command) : this.#after.get(command);
    if (take !== undefined) return take(argument);
    if (this.#after.has(command)) return { text: 'Log in first', refusal: 'auth' };
    return this.#before.has(command) ? syntax('Logged in already') : syntax('Unknown command');
  }

  /** What is taken in the AUTHORIZATION state. */
  readonly #before: ReadonlyMap<string, Command> = new Map<string, Command>([
    ['CAPA', () => this.#capabilities()],
    ['STLS', (argument) => this.#startTls(argument)],
    ['USER', (argument) => this.#name(argument)],
    ['PASS', (argument) => this.#password(argument)],
    ['AUTH', (argument) => this.#authenticate(argument)],
    ['QUIT', () => ({ status: '+OK Bye', next: 'close' })],
  ]);

  /** What is taken in the TRANSACTION state. */
  readonly #after: ReadonlyMap<string, Command> = new Map<string, Command>([
    ['CAPA', () => this.#capabilities()],
    ['STAT', () => this.#in(async (mailbox) => ok(`${mailbox.all.length} ${await mailbox.totalSize()}`))],
    ['LIST', (argument) => this.#list(argument, async (one, mailbox) => String(await mailbox.size(one)))],
    ['UIDL', (argument) => this.#list(argument, async ({ entry }) => entry.id)],
    ['RETR', (argument) => this.#message(/^(\d+)$/, argument, 'RETR wants the number of a message')],
    [
      'TOP',
      (argument) =>
        this.#message(/^(\d+) +(\d{1,9})$/, argument, 'TOP wants the number of a message and a number of lines'),
    ],
    ['DELE', (argument) => this.#delete(argument)],
    ['NOOP', () => ok('')],
    ['RSET', () => this.#in((mailbox) => (mailbox.unmark(), ok('Nothing is marked as deleted')))],
    ['QUIT', () => this.#quit()],
  ]);

  get #mayLogIn(): boolean {
    const { options, allowsPlain } = this.#shared;
    return this.#isSecure || (options.tls !== 'required' && allowsPlain(this.#client.peer));
  }

  #capabilities(): Answer {
    const { tls, expire } = this.#shared.options;
    const canStart = (tls === 'optional' || tls === 'required') && !this.#isSecure && !this.isLoggedIn;
    const lines = [
      'TOP',
      'UIDL',
      'RESP-CODES',
      'AUTH-RESP-CODE',
      'PIPELINING',
      ...(expire === undefined ? [] : [`EXPIRE ${expire}`]),
      ...(canStart ? ['STLS'] : []),
      ...(this.#mayLogIn ? ['USER', 'SASL PLAIN'] : []),
      'IMPLEMENTATION smtp2exchange',
    ];
    return { status: '+OK What this server can do', body: listing(lines) };
  }

  #startTls(argument: string): Result {
    const { tls } = this.#shared.options;
    if (argument !== '') return syntax('STLS takes nothing behind it');
    if (this.#isSecure) return syntax('TLS is there already');
    if (tls !== 'optional' && tls !== 'required') return syntax('There is no TLS here');
    return { status: '+OK Begin TLS', next: 'tls' };
  }

  #name(argument: string): Result {
    if (!this.#mayLogIn) return this.#plainRefused();
    if (argument === '') return syntax('USER wants a name');
    this.#user = argument;
    return ok('Now the password');
  }

  #password(password: string): Result | Promise<Result> {
    if (!this.#mayLogIn) return this.#plainRefused();
    const user = this.#user;
    this.#user = undefined;
    return user === undefined ? syntax('USER first') : this.#logIn(user, password, 'USER');
  }

  #authenticate(argument: string): Result | Promise<Result> {
    const [, mechanism = '', response] = /^(\S+)(?: +(\S+))?$/.exec(argument) ?? [];
    if (mechanism.toUpperCase() !== 'PLAIN') return syntax('AUTH PLAIN is what there is');
    if (!this.#mayLogIn) return this.#plainRefused();
    if (response !== undefined) return this.#plain(response);
    this.#awaitsResponse = true;
    return { status: '+ ' };
  }

  /** RFC 4616: identity to act as, NUL, user, NUL, password. */
  #plain(response: string): Result | Promise<Result> {
    if (response === '*') return syntax('AUTH is given up');
    const octets = Buffer.from(response, 'base64');
    const [identity = '', user = '', password, ...more] = octets.toString('utf8').split('\0');
    if (octets.toString('base64') !== response || password === undefined || more.length > 0)
      return syntax('Cannot read the response to AUTH PLAIN');
    if (identity !== '' && identity !== user) return { text: '[AUTH] Nobody may act as another', refusal: 'auth' };
    return this.#logIn(user, password, 'PLAIN');
  }

  #plainRefused(): No {
    const { tls } = this.#shared.options;
    const detail = tls === 'required' ? 'tls: required' : `${this.#client.peer} is not in plainFrom`;
    return {
      text: tls === 'none' ? 'No password in the clear from there' : 'STLS first: no password in the clear',
      refusal: 'tls',
      detail,
    };
  }

  async #logIn(user: string, password: string, mechanism: string): Promise<Result> {
    const { parts, sizes, options } = this.#shared;
    const { logins, report, maildrops, isPassword, inUse, exclude } = parts;
    const { peer, gone } = this.#client;
    const banned = bannedText(logins.banned(peer), peer);
    if (banned !== undefined) return { text: banned, refusal: 'banned', next: 'close' };
    const isRight = await isPassword(user, password);
    const maildrop = maildrops.get(user);
    if (!isRight || maildrop === undefined) {
      report({ event: 'auth.failed', listener: options.name, peer, user, mechanism });
      const { delay, failures, bannedUntil } = logins.failed(peer);
      if (bannedUntil !== undefined)
        report({ event: 'auth.banned', listener: options.name, peer, until: bannedUntil, failures });
      // Who does not wait for the answer has no need of it.
      if (delay > 0) await pause(delay, undefined, { ref: false, signal: gone }).catch(() => undefined);
      return { text: '[AUTH] User name or password is wrong', refusal: 'auth' };
    }
    report({ event: 'auth.succeeded', listener: options.name, peer, user, mechanism });
    logins.succeeded(peer);
    const taken: No = { text: '[IN-USE] Another session has this mailbox open', refusal: 'policy', user };
    if (inUse.has(user)) return taken;
    inUse.add(user);
    let exclusive: Exclusive | undefined;
    try {
      exclusive = await exclude?.(user);
      if (exclude !== undefined && exclusive === undefined) return taken;
      const counted = sizes.get(user) ?? new Map<string, number>();
      sizes.set(user, counted);
      const mailbox = await Mailbox.open(maildrop, counted);
      this.#login = { user, mailbox, ...(exclusive && { exclusive }) };
      return ok(`${mailbox.all.length} messages`);
    } finally {
      if (this.#login === undefined) {
        await exclusive?.leave();
        inUse.delete(user);
      }
    }
  }

  #in(act: (mailbox: Mailbox) => Result | Promise<Result>): Result | Promise<Result> {
    if (this.#login === undefined) throw new Error('there is no mailbox before the login');
    return act(this.#login.mailbox);
  }

  #list(argument: string, tell: (one: Numbered, mailbox: Mailbox) => Promise<string>): Result | Promise<Result> {
    return this.#in(async (mailbox) => {
      if (argument !== '') {
        const one = numbered(mailbox, argument);
        return 'text' in one ? one : ok(`${one.number} ${await tell(one, mailbox)}`);
      }
      const lines: string[] = [];
      for (const one of mailbox.all) lines.push(`${one.number} ${await tell(one, mailbox)}`);
      return { status: `+OK ${lines.length} messages`, body: listing(lines) };
    });
  }

  #message(form: RegExp, argument: string, usage: string): Result | Promise<Result> {
    const [, number, lines] = form.exec(argument) ?? [];
    if (number === undefined) return syntax(usage);
    return this.#in(async (mailbox) => {
      const one = numbered(mailbox, number);
      if ('text' in one) return one;
      const body = await MessageBody.open(mailbox.open(one), lines === undefined ? undefined : Number(lines));
      return { status: '+OK The message follows', body, isMessage: lines === undefined };
    });
  }

  #delete(argument: string): Result | Promise<Result> {
    return this.#in((mailbox) => {
      const one = numbered(mailbox, argument);
      if ('text' in one) return one;
      mailbox.mark(one);
      return ok(`Message ${one.number} is deleted at QUIT`);
    });
  }

  /** The UPDATE state. Durable before it is answered. */
  #quit(): Result | Promise<Result> {
    const user = this.#login?.user ?? '';
    return this.#in(async (mailbox) => {
      try {
        const removed = await mailbox.removeMarked();
        return { status: `+OK ${removed} messages deleted`, next: 'close' };
      } catch (error) {
        return { ...this.#trouble(error, 'Nothing is deleted, try again later'), user, next: 'close' };
      } finally {
        // Before the answer: who has it may connect again at once.
        await this.end();
      }
    });
  }

  #trouble(error: unknown, sentence = 'The mailbox cannot be read at the moment'): No {
    if (error instanceof SpoolError) {
      return { text: `[SYS/TEMP] ${sentence}`, refusal: 'spool', detail: `${error.trouble}: ${error.message}` };
    }
    this.#shared.parts.report({
      event: 'bug',
      where: 'POP3 session',
      error: error instanceof Error ? error : new Error(String(error)),
    });
    return { text: `[SYS/TEMP] ${sentence}` };
  }

  #refused(no: No): Answer {
    const { options, parts } = this.#shared;
    const counts = no.refusal !== undefined && no.refusal !== 'spool';
    if (counts) this.#errors++;
    const isLast = counts && no.next === undefined && this.#errors >= options.maxErrors;
    const { user, text, refusal, detail, next } = isLast
      ? ({ ...no, text: 'Too many refused commands', refusal: 'errors', detail: no.text, next: 'close' } as const)
      : no;
    const status = `-ERR ${text}`;
    if (refusal !== undefined) {
      const { peer } = this.#client;
      const who = user ?? this.#login?.user;
      const more = {
        ...(who === undefined ? {} : { user: who }),
        ...(detail === undefined ? {} : { detail }),
      };
      parts.report({ event: 'session.refused', listener: options.name, peer, refusal, reply: status, ...more });
    }
    return { status, ...(next === undefined ? {} : { next }) };
  }
}

/** @param until epoch milliseconds; undefined: there is no ban */
export function bannedText(until: number | undefined, peer: string): string | undefined {
  if (until === undefined) return undefined;
  return `[SYS/TEMP] Too many failed logins from ${peer}: try again after ${new Date(until).toISOString().slice(0, 19)}Z`;
}

function ok(text: string): Answer {
  return { status: text === '' ? '+OK' : `+OK ${text}` };
}

function syntax(text: string): No {
  return { text, refusal: 'syntax' };
}

function numbered(mailbox: Mailbox, argument: string): Numbered | No {
  if (!/^\d{1,10}$/.test(argument)) return syntax('The number of a message is wanted');
  return mailbox.at(Number(argument)) ?? { text: 'No such message' };
}
