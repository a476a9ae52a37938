/**
 * The SMTP source: one listener. Promises: a 250 to a message only after it is durable; every refusal has a precise
 * enhanced status code and is an event; nobody outside the allow-list gets further than the greeting. The only file that
 * knows smtp-server, whose framing it trusts; the greeting delay, enhanced codes, sizes and the end are its own.
 */
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { SMTPServer } from 'smtp-server';
import type { SMTPServerAddress, SMTPServerAuthentication, SMTPServerSession } from 'smtp-server';
import { SMTPConnection } from 'smtp-server/lib/smtp-connection.js';
import type { Origin } from '../mail/envelope.ts';
import type { Refusal, Report } from '../mail/event.ts';
import type { Inject, Source } from '../mail/source.ts';
import { allowList } from './access.ts';
import { passwordCheck } from './password.ts';
import { receive } from './receive.ts';
import { ENHANCED, readOwn, Refused, stopping } from './reply.ts';
import { envelopeOf, protocolOf, wireAddress } from './transaction.ts';

export interface ListenerOptions {
  readonly name: string;
  /** IP address. */
  readonly address: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly tls: 'none' | 'optional' | 'required' | 'implicit';
  /** PEM; needed unless tls is none. */
  readonly certificate?: { readonly certificate: string; readonly privateKey: string };
  readonly minTls: '1.0' | '1.1' | '1.2' | '1.3';
  readonly auth: 'none' | 'optional' | 'required';
  readonly allowInsecureAuth: boolean;
  /** Networks that may connect, CIDR. */
  readonly allow: readonly string[];
  /** Octets. */
  readonly maxMessageSize: number;
  readonly maxHeaderSize: number;
  readonly maxConnections: number;
  readonly maxRecipients: number;
  /** Milliseconds a client may be silent. */
  readonly idleTimeout: number;
  /** Received fields from which on a message counts as looping. */
  readonly maxHops: number;
}

export interface SmtpParts {
  readonly inject: Inject;
  readonly report: Report;
  /** User name -> password hash. */
  readonly users: ReadonlyMap<string, string>;
  readonly hostname: string;
  /** From of a message that names no sender at all. */
  readonly defaultFrom: string;
  readonly now?: () => number;
}

/** The package's own close time-out does not serve: the end is bounded by the caller's signal. Milliseconds, never reached. */
const NEVER = 2 ** 31 - 1;
/** How long a client may take to close its side after a 421 at the end, milliseconds. */
const FAREWELL = 500;
const STARTTLS_FIRST = 'issue STARTTLS first';
const JOKES = ['WIZ', 'SHELL', 'KILL'];

export function smtpSource(options: ListenerOptions, parts: SmtpParts): Source {
  return new Listener(options, parts);
}

class Listener implements Source {
  readonly name: string;
  readonly #options: ListenerOptions;
  readonly #report: Report;
  readonly #server: Server;

  constructor(options: ListenerOptions, parts: SmtpParts) {
    this.name = options.name;
    this.#options = options;
    this.#report = parts.report;
    this.#server = new Server(options, parts);
  }

  async start(): Promise<void> {
    const { name, address, port, tls, auth } = this.#options;
    const { server } = this.#server;
    server.listen({ port, host: address });
    try {
      await once(server, 'listening');
    } catch (error) {
      throw cannotListen(error, this.#options);
    }
    this.#report({
      event: 'listener.open',
      listener: name,
      address,
      port: (server.address() as AddressInfo).port,
      tls,
      auth,
    });
  }

  stop(signal: AbortSignal): Promise<void> {
    return this.#server.end(signal);
  }
}

function cannotListen(error: unknown, { name, address, port }: ListenerOptions): Error {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const place = `Listener "${name}" cannot open port ${port} on ${address}`;
  const reasons: Record<string, string> = {
    EADDRINUSE: 'another program has it; stop that one or choose another port',
    EACCES:
      'the operating system does not let this user open it; choose a port from 1024 up, or give the process the right to open lower ones',
    EADDRNOTAVAIL: 'this machine does not have that address; 0.0.0.0 stands for all it has',
  };
  return new Error(`${place}: ${reasons[code] ?? (error instanceof Error ? error.message : String(error))}`, {
    cause: error,
  });
}

class Server extends SMTPServer {
  readonly #options: ListenerOptions;
  readonly #parts: SmtpParts;
  readonly #now: () => number;
  readonly #isAllowed: (address: string) => boolean;
  readonly #isPassword: (user: string, password: string) => Promise<boolean>;
  readonly #sessions = new WeakMap<SMTPServerSession, Connection>();
  /** Until their socket is closed; the package forgets them when it has said its last word. */
  readonly #live = new Set<Connection>();
  #ended: Promise<void> | undefined;

  constructor(options: ListenerOptions, parts: SmtpParts) {
    super({
      name: parts.hostname,
      banner: 'smtp2exchange',
      logger: false,
      secure: options.tls === 'implicit',
      ...tlsSettings(options),
      authMethods: ['PLAIN', 'LOGIN'],
      authOptional: options.auth !== 'required',
      allowInsecureAuth: options.allowInsecureAuth,
      disabledCommands: [
        ...JOKES,
        ...(options.tls === 'none' ? ['STARTTLS'] : []),
        ...(options.auth === 'none' ? ['AUTH'] : []),
      ],
      disableReverseLookup: true,
      hideDSN: false,
      hideENHANCEDSTATUSCODES: false,
      size: options.maxMessageSize,
      maxRecipients: options.maxRecipients,
      maxClients: options.maxConnections,
      socketTimeout: options.idleTimeout,
      closeTimeout: NEVER,
    });
    this.#options = options;
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
    this.#isAllowed = allowList(options.allow);
    this.#isPassword = passwordCheck(parts.users, this.#now);
    this.on('error', (error) => this.#handshakeFailed(error));
  }

  get isEnding(): boolean {
    return this.#ended !== undefined;
  }

  /** STARTTLS is waited for: without TLS there is no mail. */
  get needsTls(): boolean {
    return this.#options.tls === 'required';
  }

  /** Whether a password may cross the network readable. */
  get allowsClearLogin(): boolean {
    return this.#options.allowInsecureAuth && !this.needsTls;
  }

  override connect(socket: Socket, socketOptions?: ConstructorParameters<typeof SMTPConnection>[2]): void {
    if (socket.remoteAddress === undefined) {
      // Gone again already.
      socket.on('error', () => undefined);
      socket.destroy();
      return;
    }
    const connection = new Connection(this, socket, socketOptions ?? {});
    this.connections.add(connection);
    this.#live.add(connection);
    this.#sessions.set(connection.session, connection);
    // Of a connection lost in a transaction DATA tells; only the handshake has no other place.
    connection.on('error', (error: Error) => {
      if (connection._upgrading) connection.lost(handshake(error));
    });
    connection.init();
  }

  /** Every reply that refuses something is told here, exactly once. */
  refused({ remoteAddress, session }: Connection, told: Told): void {
    this.#tell(remoteAddress, told, userOf(session));
  }

  #tell(peer: string, { refusal, reply, detail }: Told, user?: string): void {
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

  /** Of implicit TLS: there is no session yet. */
  #handshakeFailed(error: TlsFailure): void {
    const peer = error.meta?.remoteAddress;
    // A client that only knocks (a port scan, a health check) is refused nothing.
    if (peer === undefined || error.report === false || error.code === 'ECONNRESET') return;
    this.#tell(peer.replace(/^::ffff:(?=\d+\.)/i, ''), handshake(error));
  }

  override onConnect(session: SMTPServerSession, callback: (error?: Error | null) => void): void {
    const { listener, peer } = this.#who(session);
    this.#parts.report({ event: 'session.opened', listener, peer });
    const connection = this.#sessions.get(session);
    if (connection !== undefined) connection.openedAt = this.#now();
    if (this.#isAllowed(session.remoteAddress)) return callback();
    this.#refuse(
      session,
      callback,
      new Refused('address', 554, '5.7.1', `${peer} may not use this listener`, {
        detail: `not in the allow-list of listener "${listener}"`,
      }),
    );
  }

  override onClose(session: SMTPServerSession): void {
    const connection = this.#sessions.get(session);
    if (connection !== undefined) this.#live.delete(connection);
    if (connection?.openedAt === undefined) return;
    this.#parts.report({
      event: 'session.closed',
      ...this.#who(session),
      seconds: Math.max(0, this.#now() - connection.openedAt) / 1000,
      messages: connection.messages,
    });
  }

  override onAuth(
    { method, username, password }: SMTPServerAuthentication,
    session: SMTPServerSession,
    callback: Parameters<SMTPServer['onAuth']>[2],
  ): void {
    const facts = { ...this.#who(session), user: username ?? '', mechanism: method };
    void this.#isPassword(username ?? '', password ?? '').then(
      (right) => {
        this.#parts.report({ event: right ? 'auth.succeeded' : 'auth.failed', ...facts });
        if (right) callback(null, { user: username });
        else this.#refuse(session, callback, new Refused('auth', 535, '5.7.8', 'User name or password is wrong'));
        this.sayGoodbye(this.#sessions.get(session));
      },
      (error: unknown) => {
        const answer = new Refused('auth', 454, '4.7.0', 'The mail gateway cannot check logins, try again later');
        this.#bug('AUTH', session, callback, error, answer);
        this.sayGoodbye(this.#sessions.get(session));
      },
    );
  }

  override onMailFrom(
    { address, args }: SMTPServerAddress,
    session: SMTPServerSession,
    callback: (error?: Error | null) => void,
  ): void {
    if (this.needsTls && !session.secure) {
      return this.#refuse(session, callback, new Refused('tls', 530, '5.7.0', STARTTLS_FIRST));
    }
    if (wireAddress(address) === undefined) {
      return this.#refuse(session, callback, new Refused('syntax', 501, '5.1.7', 'Bad sender address'));
    }
    const declared = args === false ? 0 : Number(args['SIZE'] ?? 0);
    const room = this.#parts.inject.room(Number.isSafeInteger(declared) ? declared : 0);
    if (room.ok) return callback();
    this.#refuse(
      session,
      callback,
      new Refused('room', 452, '4.3.1', 'The mail gateway has no room at the moment, try again later', {
        detail: room.reason,
      }),
    );
  }

  override onRcptTo(
    { address }: SMTPServerAddress,
    session: SMTPServerSession,
    callback: (error?: Error | null) => void,
  ): void {
    if (wireAddress(address) !== undefined) return callback();
    this.#refuse(session, callback, new Refused('syntax', 501, '5.1.3', 'Bad recipient address'));
  }

  override onData(
    stream: Parameters<SMTPServer['onData']>[0],
    session: SMTPServerSession,
    callback: Parameters<SMTPServer['onData']>[2],
  ): void {
    const connection = this.#sessions.get(session);
    const { mailFrom, rcptTo } = session.envelope;
    const envelope = envelopeOf(mailFrom, rcptTo);
    receive(stream, {
      inject: this.#parts.inject,
      envelope,
      origin: this.#originOf(session),
      protocol: protocolOf(session.transmissionType, envelope),
      hostname: this.#parts.hostname,
      defaultFrom: this.#parts.defaultFrom,
      maxMessageSize: this.#options.maxMessageSize,
      maxHeaderSize: this.#options.maxHeaderSize,
      maxHops: this.#options.maxHops,
      now: this.#now,
      cutOff: () => connection?.cutOff(),
    }).then(
      ({ id }) => {
        if (connection !== undefined) connection.messages++;
        callback(null, `2.0.0 queued as ${id}`);
        this.sayGoodbye(connection);
      },
      (error: unknown) => {
        if (!(error instanceof Refused)) this.#bug('DATA', session, callback, error);
        else if (error.refusal === 'aborted')
          connection?.lost({ refusal: error.refusal, reply: `421 ${error.message}`, detail: error.detail });
        else this.#refuse(session, callback, error);
        this.sayGoodbye(connection);
      },
    );
  }

  /** Takes nothing new; what is in DATA may finish until `signal` aborts. */
  async end(signal: AbortSignal): Promise<void> {
    if (this.#ended === undefined) {
      if (!this.server.listening) return;
      this.#ended = new Promise<void>((resolve) => this.close(() => resolve()));
      for (const connection of this.#live) if (!connection.isBusy()) this.sayGoodbye(connection);
    }
    const destroy = (): void => {
      for (const connection of this.#live) connection.cutOff();
    };
    if (signal.aborted) destroy();
    else signal.addEventListener('abort', destroy, { once: true });
    await this.#ended;
    signal.removeEventListener('abort', destroy);
  }

  /** If we are going down. */
  sayGoodbye(connection: Connection | undefined): void {
    if (!this.isEnding || connection === undefined) return;
    connection.send(421, stopping(this.#parts.hostname), false);
    setTimeout(() => connection.cutOff(), FAREWELL).unref();
  }

  #refuse(session: SMTPServerSession, callback: (error: Error) => void, refused: Refused): void {
    const connection = this.#sessions.get(session);
    if (connection !== undefined) connection.refusal = refused;
    callback(refused);
  }

  #bug(
    where: string,
    session: SMTPServerSession,
    callback: (error: Error) => void,
    cause: unknown,
    answer = new Refused('spool', 451, '4.3.0', 'An internal error of the mail gateway, try again later'),
  ): void {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#parts.report({ event: 'bug', where: `smtp ${where}`, error });
    this.#refuse(session, callback, answer);
  }

  #who(session: SMTPServerSession): { listener: string; peer: string } {
    return { listener: this.#options.name, peer: session.remoteAddress };
  }

  #originOf(session: SMTPServerSession): Origin {
    const { hostNameAppearsAs } = session;
    const user = userOf(session);
    const tls = this.#sessions.get(session)?.negotiated();
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

interface Told {
  readonly refusal: Refusal;
  readonly reply: string;
  readonly detail?: string | undefined;
}

/** As the package hands on what ended a handshake. */
interface TlsFailure extends Error {
  readonly code?: string | undefined;
  readonly report?: boolean | undefined;
  readonly meta?: { readonly remoteAddress?: string | undefined } | undefined;
}

/** No reply can be said in the middle of a handshake; the operator of an old printer finds the reason in the log. */
function handshake({ message }: Error): Told {
  return { refusal: 'tls', reply: 'TLS handshake failed', detail: message };
}

/** One session. */
class Connection extends SMTPConnection {
  readonly #server: Server;
  openedAt: number | undefined;
  messages = 0;
  /** On its way to the client. */
  refusal: Refused | undefined;
  /** The last word is said: nothing more is sent or told. */
  #isOver = false;

  constructor(server: Server, socket: Socket, options: ConstructorParameters<typeof SMTPConnection>[2]) {
    super(server, socket, options);
    this.#server = server;
  }

  /** Without the package's delay of 100 ms before the greeting. */
  override init(): void {
    this._setListeners(() => {
      if (this.#server.isEnding) return this.#server.sayGoodbye(this);
      const { maxClients } = this.#server.options;
      if (maxClients !== undefined && this.#server.connections.size > maxClients) {
        return void this.send(421, `${this.name} Too many connected clients, try again later`, false);
      }
      return this.connectionReady();
    });
  }

  /** The package's forgets what comes behind a second message if one write holds both: the session would hang. */
  override _createParser(): ReturnType<SMTPConnection['_createParser']> {
    const parser = super._createParser();
    parser.continue = () => {
      const resume = parser._continueCallback;
      parser._continueCallback = typeof resume !== 'function';
      if (typeof resume === 'function') resume();
    };
    return parser;
  }

  /** With our enhanced status codes, one a reply; tells every refusal. */
  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    if (Array.isArray(data)) return super.send(code, data.filter(this.#isOffered), context);
    if (typeof data !== 'string' || code < 400) {
      const isOurs = typeof data === 'string' && ENHANCED.test(data);
      return super.send(code, data, isOurs ? false : context);
    }
    if (this.#isOver) return;
    const refused = this.refusal?.message === data ? this.refusal : undefined;
    if (refused !== undefined) this.refusal = undefined;
    const { refusal, text } =
      refused === undefined ? this.#precise(code, data, context) : { refusal: refused.refusal, text: data };
    super.send(code, text, false);
    this.#server.refused(this, { refusal, reply: `${code} ${text}`, detail: refused?.detail });
  }

  /** For one of the package's own refusals. */
  #precise(code: number, data: string, context: string | false | undefined): { refusal: Refusal; text: string } {
    if (ENHANCED.test(data)) return { refusal: readOwn(data).refusal, text: data };
    if (code === 530 && this.#server.needsTls && !this.secure)
      return { refusal: 'tls', text: `5.7.0 ${STARTTLS_FIRST}` };
    const { refusal, sentence, enhanced } = readOwn(data);
    // The client has not said yet that it knows these codes.
    const isEarly = context === false && this.hostNameAppearsAs === false;
    const text = isEarly ? sentence : `${enhanced ?? this.#enhanced(code, context)} ${sentence}`;
    return { refusal, text };
  }

  /** The package takes the client's own words for a context: then the code may be of another class. */
  #enhanced(code: number, context: string | false | undefined): string {
    const contextual = context === false ? '' : this._getEnhancedStatusCode(code, context);
    return contextual.startsWith(`${Math.floor(code / 100)}.`) ? contextual : this._getEnhancedStatusCode(code);
  }

  /** A line of the answer to EHLO. Who is offered a login in the clear takes it, and everybody hears the password. */
  readonly #isOffered = (line: string): boolean =>
    !line.startsWith('AUTH ') || this.secure || this.#server.allowsClearLogin;

  override handler_AUTH(command: Buffer, callback: () => void): void {
    if (this.secure || this.#server.allowsClearLogin) return super.handler_AUTH(command, callback);
    this.refusal = new Refused('tls', 538, '5.7.11', `No login in the clear: ${STARTTLS_FIRST}`);
    this.send(this.refusal.responseCode, this.refusal.message);
    callback();
  }

  /** A client is not idle while it waits for our disk. */
  override _onTimeout(): void {
    if (!this.#isOver && this._dataStream && this._dataStream.writableNeedDrain) return this._armTimeout();
    super._onTimeout();
  }

  override close(): void {
    this.#isOver = true;
    super.close();
  }

  /** In DATA, or while a command is being answered. */
  isBusy(): boolean {
    return Boolean(this._dataStream) || this._handlerPending;
  }

  /** The client went away in the middle of something, unless we ended it. */
  lost(told: Told): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const ours: Told = { refusal: 'stopping', reply: `421 ${stopping(this.name)}`, detail: 'cut off' };
    this.#server.refused(this, this.#server.isEnding ? ours : told);
  }

  /** Protocol and cipher; the package knows only the protocol that first had the cipher. */
  negotiated(): string | undefined {
    if (!(this._socket instanceof TLSSocket)) return undefined;
    const { name, standardName } = this._socket.getCipher();
    return `${this._socket.getProtocol()} ${standardName ?? name}`;
  }

  cutOff(): void {
    this._socket.destroy();
  }
}

function tlsSettings({ tls, certificate, minTls }: ListenerOptions): Record<string, unknown> {
  if (tls === 'none') return {};
  if (certificate === undefined) throw new TypeError('a listener with TLS needs a certificate');
  const isOld = minTls === '1.0' || minTls === '1.1';
  return {
    cert: certificate.certificate,
    key: certificate.privateKey,
    minVersion: minTls === '1.0' ? 'TLSv1' : `TLSv${minTls}`,
    // OpenSSL refuses the old versions at its usual security level, whatever minVersion says.
    ...(isOld ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}),
  };
}

function userOf({ user }: SMTPServerSession): string | undefined {
  return typeof user === 'string' && user !== '' ? user : undefined;
}
