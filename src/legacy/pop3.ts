/**
 * The POP3 door: a listener through which programs that poll fetch what was picked up, each user from a maildrop.
 * Promises: a message stays until a QUIT of its user deletes it, durably; memory is bounded whatever the size of a message
 * and the pace of a client; nobody who may not gets further than a refusal. Fails at its start with an Error whose message
 * says what to do about the port, and with a TypeError for options that make no sense.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';
import type { Refusal } from '../mail/event.ts';
import { networkList } from '../mail/network.ts';
import { cannotListen } from '../mail/port.ts';
import type { Source } from '../mail/source.ts';
import { listenerTls } from '../tls/listening.ts';
import type { KeyPair } from '../tls/selfsigned.ts';
import { Connection } from './pop3-connection.ts';
import type { Pop3Options, Pop3Parts } from './pop3-options.ts';
import { bannedText } from './pop3-session.ts';
import type { Shared } from './pop3-session.ts';
import { Wire } from './pop3-wire.ts';

/** As a Source it is started and stopped, and brings nothing in. */
export function pop3Door(options: Pop3Options, parts: Pop3Parts): Source {
  return new Door(options, parts);
}

class Door implements Source {
  readonly name: string;
  readonly #shared: Shared;
  readonly #isAllowed: (address: string) => boolean;
  readonly #server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => this.#accept(socket));
  readonly #live = new Set<Connection>();
  /** Clients that are just told that they may not; they end by themselves. */
  readonly #refused = new Set<Socket>();
  readonly #runs = new Set<Promise<void>>();
  #context: SecureContext | undefined;
  #ended: Promise<void> | undefined;

  constructor(options: Pop3Options, parts: Pop3Parts) {
    this.name = options.name;
    const { certificate, tls, minTls } = options;
    const allowsPlain = networkList(options.plainFrom);
    this.#shared = { options, parts, sizes: new Map(), allowsPlain };
    this.#isAllowed = networkList(options.allow);
    if (tls === 'none') return;
    if (certificate === undefined) throw new TypeError('a listener with TLS needs a certificate');
    const use = (pair: KeyPair): void => {
      this.#context = createSecureContext(listenerTls(pair, minTls));
    };
    use(certificate.current());
    certificate.onChange(use);
  }

  async start(): Promise<void> {
    const { name, address, port, tls } = this.#shared.options;
    this.#server.listen({ port, host: address });
    try {
      await once(this.#server, 'listening');
    } catch (error) {
      throw cannotListen(error, this.#shared.options);
    }
    // Such as too many open files: whoever connects next tries again.
    this.#server.on('error', (error) => this.#shared.parts.report({ event: 'bug', where: 'POP3 door', error }));
    const bound = (this.#server.address() as AddressInfo).port;
    this.#shared.parts.report({ event: 'listener.open', listener: name, address, port: bound, tls, auth: 'required' });
  }

  /** Idle clients are told at once; an answer under way, QUIT's too, may finish until `signal` aborts. */
  async stop(signal: AbortSignal): Promise<void> {
    if (this.#ended === undefined) {
      if (!this.#server.listening) return;
      this.#ended = new Promise<void>((resolve) => this.#server.close(() => resolve()));
      for (const connection of this.#live) connection.stop();
    }
    const cutOff = (): void => {
      for (const one of this.#live) one.cutOff();
      for (const socket of this.#refused) socket.destroy();
    };
    if (signal.aborted) cutOff();
    else signal.addEventListener('abort', cutOff, { once: true });
    await this.#ended;
    signal.removeEventListener('abort', cutOff);
    // A QUIT whose client is gone already: what it deletes is on its way.
    await Promise.race([Promise.all(this.#runs), aborted(signal)]);
  }

  #accept(socket: Socket): void {
    // Gone again already.
    if (socket.remoteAddress === undefined) return void socket.on('error', () => undefined).destroy();
    const peer = socket.remoteAddress.replace(/^::ffff:(?=\d+\.)/i, '');
    const no = this.#refusal(peer);
    if (no !== undefined) return this.#refuse(socket, peer, no);
    const connection = new Connection(new Wire(socket), peer, this.#shared, () => {
      if (this.#context === undefined) throw new Error('TLS without a certificate');
      return this.#context;
    });
    this.#live.add(connection);
    const run = connection.run().finally(() => {
      this.#live.delete(connection);
      this.#runs.delete(run);
    });
    this.#runs.add(run);
  }

  #refusal(peer: string): { readonly refusal: Refusal; readonly text: string } | undefined {
    const { options, parts } = this.#shared;
    if (this.#ended !== undefined) return { refusal: 'stopping', text: '[SYS/TEMP] Going down, try again later' };
    if (!this.#isAllowed(peer)) return { refusal: 'address', text: `[SYS/PERM] ${peer} may not connect` };
    if (this.#live.size >= options.maxConnections)
      return { refusal: 'connections', text: '[SYS/TEMP] Too many connected clients, try again later' };
    if ([...this.#live].filter((one) => one.peer === peer).length >= options.maxConnectionsPerAddress)
      return { refusal: 'connections', text: `[SYS/TEMP] Too many connections from ${peer}, try again later` };
    const banned = bannedText(parts.logins.banned(peer), peer);
    return banned === undefined ? undefined : { refusal: 'banned', text: banned };
  }

  #refuse(socket: Socket, peer: string, { refusal, text }: { refusal: Refusal; text: string }): void {
    const { options, parts } = this.#shared;
    socket.on('error', () => undefined);
    // Behind implicit TLS it could not be read, and a crowd is not worth the words.
    const isMute = options.tls === 'implicit' || this.#refused.size >= options.maxConnections;
    const reply = `-ERR ${text}`;
    parts.report({
      event: 'session.refused',
      listener: options.name,
      peer,
      refusal,
      reply: isMute ? 'closed' : reply,
      ...(isMute ? { detail: text } : {}),
    });
    if (isMute) return void socket.destroy();
    this.#refused.add(socket);
    const timer = setTimeout(() => socket.destroy(), FAREWELL).unref();
    socket.once('close', () => {
      clearTimeout(timer);
      this.#refused.delete(socket);
    });
    socket.resume().end(`${reply}\r\n`);
  }
}

/** How long a refused client may take to go, milliseconds. */
const FAREWELL = 500;
/** How long stop() waits for sessions that were cut off, milliseconds. */
const LAST_WORDS = 100;

/** And a moment later: what was cut off is told, unless its maildrop does not answer. */
async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
  await pause(LAST_WORDS);
}
