/**
 * What a listener answers at connect, AUTH, MAIL, RCPT and header time: the policy, the logins, the rates and the room,
 * in that order. Knows no wire. Expected trouble is a Refused, given back or undefined; it throws only for a bug.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { ParsedHeader } from '../mail/addresses.ts';
import type { ReversePath } from '../mail/envelope.ts';
import type { Client, Reply } from '../mail/policy.ts';
import type { Sending } from '../mail/senders.ts';
import type { ListenerOptions, SmtpParts } from './options.ts';
import { passwordCheck } from './password.ts';
import { unknownParameter } from './path.ts';
import type { Verb } from './path.ts';
import { asRefused, LOG_IN, LOG_IN_WITH_TLS, Refused, STARTTLS_FIRST } from './reply.ts';
import { wireAddress } from './transaction.ts';
import type { AddressCommand } from './transaction.ts';

export interface Login {
  readonly user: string;
  readonly password: string;
  readonly mechanism: string;
}

export class Gatekeeper {
  readonly #options: ListenerOptions;
  readonly #parts: SmtpParts;
  #passwords: { readonly users: SmtpParts['users']; readonly check: ReturnType<typeof passwordCheck> } | undefined;

  constructor(options: ListenerOptions, parts: SmtpParts) {
    this.#options = options;
    this.#parts = parts;
  }

  #isPassword(user: string, password: string): Promise<boolean> {
    const { users, now = Date.now } = this.#parts;
    if (this.#passwords?.users !== users) this.#passwords = { users, check: passwordCheck(users, now) };
    return this.#passwords.check(user, password);
  }

  connect(client: Client): Refused | undefined {
    const { policy } = this.#parts;
    const refused = asRefused(policy.connect(client));
    // Who could do nothing but log in need not come in.
    return refused ?? (policy.needsLogin(client) ? this.#banned(client) : undefined);
  }

  /** Takes its time over a failure. */
  async login(client: Client, { user, password, mechanism }: Login): Promise<Refused | undefined> {
    const banned = this.#banned(client);
    if (banned !== undefined) return banned;
    const { logins, report } = this.#parts;
    const { listener, peer } = client;
    const isRight = await this.#isPassword(user, password);
    report({ event: isRight ? 'auth.succeeded' : 'auth.failed', listener, peer, user, mechanism });
    if (isRight) {
      logins.succeeded(peer);
      return undefined;
    }
    const { delay, failures, bannedUntil } = logins.failed(peer);
    if (bannedUntil !== undefined) report({ event: 'auth.banned', listener, peer, until: bannedUntil, failures });
    if (delay > 0) await pause(delay, undefined, { ref: false });
    return new Refused('auth', 535, '5.7.8', 'User name or password is wrong');
  }

  /** @param messages that the connection has carried */
  mail(client: Client, { address, args }: AddressCommand, messages: number): Refused | undefined {
    const { tls, auth, allowInsecureAuth, maxMessages, lenient } = this.#options;
    const { policy, rate, inject, users } = this.#parts;
    if (tls === 'required' && !client.tls) return new Refused('tls', 530, '5.7.0', STARTTLS_FIRST);
    if (policy.needsLogin(client)) {
      const setting = auth === 'required' ? 'auth: required' : 'loginFrom';
      const detail = `${client.peer} may use this listener after a login only (${setting})`;
      const isClear = !client.tls && tls !== 'none' && !allowInsecureAuth;
      return new Refused('auth', 530, '5.7.0', isClear ? LOG_IN_WITH_TLS : LOG_IN, { detail });
    }
    if (client.user !== undefined && !users.has(client.user))
      return new Refused('auth', 421, '4.7.0', 'The user that has logged in is no longer known: connect again');
    if (messages >= maxMessages) {
      return new Refused('policy', 421, '4.7.0', `The connection has carried ${messages} messages: open another one`);
    }
    const unreadable = this.#unreadable('MAIL FROM', { address, args }, lenient);
    if (unreadable !== undefined) return unreadable;
    const refused = asRefused(policy.mail(client, wireAddress(address) ?? address));
    if (refused !== undefined) return refused;
    const declared = args === false ? 0 : Number(args['SIZE'] ?? 0);
    const room = inject.room(Number.isSafeInteger(declared) ? declared : 0);
    if (room.ok) return asRefused(rate(client));
    if (room.trouble !== undefined && room.trouble !== 'full')
      return new Refused(
        'spool',
        451,
        '4.3.0',
        'The mail gateway cannot store a message at the moment, try again later',
        {
          detail: room.reason,
        },
      );
    return new Refused('room', 452, '4.3.1', 'The mail gateway has no room at the moment, try again later', {
      detail: room.reason,
    });
  }

  recipient(client: Client, command: AddressCommand): Refused | undefined {
    const unreadable = this.#unreadable('RCPT TO', command, this.#options.lenient);
    return unreadable ?? asRefused(this.mayReceive(client, wireAddress(command.address) ?? command.address));
  }

  mayReceive(client: Client, address: string): Reply | undefined {
    return this.#parts.policy.recipient(client, address);
  }

  /** Whether the client may send under this header, and which mailbox does it. */
  judge(client: Client, reversePath: ReversePath, header: ParsedHeader): Sending | Reply {
    const { policy, senders } = this.#parts;
    return policy.header(client, header) ?? senders({ client, reversePath, from: header.from });
  }

  #unreadable(verb: Verb, { address, args }: AddressCommand, lenient: boolean): Refused | undefined {
    if (wireAddress(address) === undefined) {
      return verb === 'MAIL FROM'
        ? new Refused('syntax', 501, '5.1.7', 'Bad sender address')
        : new Refused('syntax', 501, '5.1.3', 'Bad recipient address');
    }
    const unknown = lenient ? undefined : unknownParameter(verb, args);
    return unknown === undefined
      ? undefined
      : new Refused('syntax', 555, '5.5.4', `Parameter ${unknown.slice(0, 40)} is not known`);
  }

  #banned({ peer }: Client): Refused | undefined {
    const until = this.#parts.logins.banned(peer);
    if (until === undefined) return undefined;
    const end = `${new Date(until).toISOString().slice(0, 19)}Z`;
    return new Refused('banned', 421, '4.7.0', `Too many failed logins from ${peer}: try again after ${end}`);
  }
}
