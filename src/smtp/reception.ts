/**
 * What happens at each step of a session, from connect to close: the gatekeeper is asked, the message is received, and
 * both are told. Knows sessions by their facts only. Never throws: a bug is an event, and a 4xx for the client.
 */
import type { Origin } from '../mail/envelope.ts';
import type { Client } from '../mail/policy.ts';
import { Gatekeeper } from './gatekeeper.ts';
import type { Login } from './gatekeeper.ts';
import type { ListenerOptions, SmtpParts } from './options.ts';
import { receive } from './receive.ts';
import { Refused } from './reply.ts';
import type { Told } from './reply.ts';
import { envelopeOf, protocolOf } from './transaction.ts';
import type { AddressCommand } from './transaction.ts';

/** Of the package's session. */
export interface SessionFacts {
  readonly remoteAddress: string;
  readonly secure: boolean;
  readonly user?: unknown;
  readonly hostNameAppearsAs: string;
  readonly transmissionType: string;
  readonly envelope: { readonly mailFrom: AddressCommand | false; readonly rcptTo: readonly AddressCommand[] };
}

/** The connection behind it. */
export interface Line {
  /** Epoch milliseconds; undefined: never greeted. */
  openedAt: number | undefined;
  readonly messages: number;
  /** On its way to the client. */
  refusal: Refused | undefined;
  /** A message, to its end. */
  carried(): void;
  /** The client went away in the middle of something. */
  lost(told: Told): void;
  negotiated(): string | undefined;
  cutOff(): void;
}

type Done = (error?: Error | null) => void;

export class Reception {
  readonly #options: ListenerOptions;
  readonly #parts: SmtpParts;
  readonly #now: () => number;
  readonly #gate: Gatekeeper;

  constructor(options: ListenerOptions, parts: SmtpParts) {
    this.#options = options;
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
    this.#gate = new Gatekeeper(options, parts);
  }

  connect(session: SessionFacts, line: Line, done: Done): void {
    const client = this.#clientOf(session);
    this.#parts.report({ event: 'session.opened', listener: client.listener, peer: client.peer });
    line.openedAt = this.#now();
    answer(line, done, this.#gate.connect(client));
  }

  closed(session: SessionFacts, { openedAt, messages }: Line): void {
    if (openedAt === undefined) return;
    const { listener, peer } = this.#clientOf(session);
    const seconds = Math.max(0, this.#now() - openedAt) / 1000;
    this.#parts.report({ event: 'session.closed', listener, peer, seconds, messages });
  }

  async login(session: SessionFacts, line: Line, login: Login, done: Done): Promise<void> {
    try {
      answer(line, done, await this.#gate.login(this.#clientOf(session), login));
    } catch (error) {
      const refused = new Refused('auth', 454, '4.7.0', 'The mail gateway cannot check logins, try again later');
      answer(line, done, this.#bug('AUTH', error, refused));
    }
  }

  mail(session: SessionFacts, line: Line, command: AddressCommand, done: Done): void {
    answer(line, done, this.#gate.mail(this.#clientOf(session), command, line.messages));
  }

  recipient(session: SessionFacts, line: Line, command: AddressCommand, done: Done): void {
    answer(line, done, this.#gate.recipient(this.#clientOf(session), command));
  }

  async data(
    stream: AsyncIterable<Buffer>,
    session: SessionFacts,
    line: Line,
    done: (error?: Error | null, message?: string) => void,
  ): Promise<void> {
    const client = this.#clientOf(session);
    const { mailFrom, rcptTo } = session.envelope;
    const envelope = envelopeOf(mailFrom, rcptTo);
    try {
      const { id } = await receive(stream, {
        ...this.#parts,
        ...this.#options,
        envelope,
        origin: this.#originOf(session, line),
        protocol: protocolOf(session.transmissionType, envelope),
        judge: (header) => this.#gate.judge(client, envelope.reversePath, header),
        mayReceive: (address) => this.#gate.mayReceive(client, address),
        now: this.#now,
        cutOff: () => line.cutOff(),
      });
      line.carried();
      done(null, `2.0.0 queued as ${id}`);
    } catch (error) {
      if (!(error instanceof Refused)) answer(line, done, this.#bug('DATA', error));
      else if (error.refusal === 'aborted')
        line.lost({ refusal: error.refusal, reply: `421 ${error.message}`, detail: error.detail });
      else answer(line, done, error);
    }
  }

  /** Tells what was refused. */
  tell(peer: string, { refusal, reply, detail }: Told, user?: string): void {
    this.#parts.report({
      event: 'session.refused',
      listener: this.#options.name,
      peer,
      refusal,
      reply,
      ...(user === undefined ? {} : { user }),
      ...(detail === undefined ? {} : { detail }),
    });
  }

  #bug(
    where: string,
    cause: unknown,
    refused = new Refused('spool', 451, '4.3.0', 'An internal error of the mail gateway, try again later'),
  ): Refused {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#parts.report({ event: 'bug', where: `smtp ${where}`, error });
    return refused;
  }

  #clientOf(session: SessionFacts): Client {
    const user = userOf(session);
    const facts = { listener: this.#options.name, peer: session.remoteAddress, tls: session.secure };
    return user === undefined ? facts : { ...facts, user };
  }

  #originOf(session: SessionFacts, line: Line): Origin {
    const { hostNameAppearsAs } = session;
    const user = userOf(session);
    const tls = line.negotiated();
    return {
      source: 'smtp',
      name: this.#options.name,
      peer: session.remoteAddress,
      ...(hostNameAppearsAs ? { helo: hostNameAppearsAs } : {}),
      ...(user === undefined ? {} : { user }),
      ...(tls === undefined ? {} : { tls }),
    };
  }
}

function answer(line: Line, done: Done, refused: Refused | undefined): void {
  if (refused === undefined) return done();
  line.refusal = refused;
  done(refused);
}

export function userOf({ user }: Pick<SessionFacts, 'user'>): string | undefined {
  return typeof user === 'string' && user !== '' ? user : undefined;
}
