/**
 * The SMTP server of one listener. Promises: a 250 to a message only after it is durable; every refusal has a precise
 * enhanced status code and is an event; nobody the policy keeps out gets further than the greeting. The only file that
 * knows smtp-server, whose framing it trusts; what is answered (gatekeeper), what is read out of a command line (path,
 * dialog), limits, sizes and the end are our own.
 */
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { SMTPServer } from 'smtp-server';
import type { SMTPServerAddress, SMTPServerAuthentication, SMTPServerSession } from 'smtp-server';
import { SMTPConnection } from 'smtp-server/lib/smtp-connection.js';
import type { Origin } from '../mail/envelope.ts';
import type { Refusal } from '../mail/event.ts';
import { networkList } from '../mail/network.ts';
import type { Client } from '../mail/policy.ts';
import { isStrictHelo, repairedLine } from './dialog.ts';
import { frame } from './framing.ts';
import { Gatekeeper } from './gatekeeper.ts';
import { connectionCount } from './limits.ts';
import type { ListenerOptions, SmtpParts } from './options.ts';
import { readPath } from './path.ts';
import { takeProxyHeader } from './proxy.ts';
import { receive } from './receive.ts';
import { ENHANCED, readOwn, Refused, STARTTLS_FIRST, stopping } from './reply.ts';
import type { Told } from './reply.ts';
import { handshake, isKnock, negotiated, tlsSettings } from './tls.ts';
import { envelopeOf, protocolOf } from './transaction.ts';
import { Watchdog } from './watchdog.ts';
import type { Watched } from './watchdog.ts';

/** The package's own close time-out does not serve: the end is bounded by the caller's signal. Milliseconds, never reached. */
const NEVER = 2 ** 31 - 1;
/** How long a client may take to close its side after a 421 of ours, milliseconds. */
const FAREWELL = 500;
const RATE_WINDOW = 60_000;
const JOKES = ['WIZ', 'SHELL', 'KILL'];

const clock = (): number => performance.now();

export class Server extends SMTPServer {
  readonly listener: ListenerOptions;
  readonly #parts: SmtpParts;
  readonly #now: () => number;
  readonly #gate: Gatekeeper;
  readonly #isBalancer: (address: string) => boolean;
  readonly #sessions = new WeakMap<SMTPServerSession, Connection>();
  /** Until their socket is closed; the package forgets them when it has said its last word. */
  readonly #live = new Set<Connection>();
  readonly #watchdog: Watchdog;
  /** By client address: sessions, and connections before the PROXY header or the TLS handshake. */
  readonly #open = connectionCount();
  readonly #early = connectionCount();
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
    this.listener = options;
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
    this.#gate = new Gatekeeper(options, parts);
    this.#isBalancer = networkList(options.proxyProtocol);
    this.#watchdog = new Watchdog(this.#live, { ...options, rateWindow: parts.rateWindow ?? RATE_WINDOW, clock });
    this.on('error', (error: Parameters<typeof isKnock>[0]) => {
      // Of implicit TLS: there is no session yet. What has no peer concerns the port.
      const peer = error.meta?.remoteAddress;
      if (peer !== undefined && !isKnock(error)) this.#tell(plain(peer), handshake(error));
    });
    options.certificate?.onChange((pair) => this.updateSecureContext({ ...pair }));
  }

  /** Once it is listening. */
  begin(): void {
    this.#watchdog.start();
  }

  get isEnding(): boolean {
    return this.#ended !== undefined;
  }

  get completeDomain(): string {
    return this.#parts.completeDomain;
  }

  /** STARTTLS is waited for: without TLS there is no mail. */
  get needsTls(): boolean {
    return this.listener.tls === 'required';
  }

  /** Whether a password may cross the network readable. */
  get allowsClearLogin(): boolean {
    return this.listener.allowInsecureAuth && !this.needsTls;
  }

  override _expectsProxyHeader(socket: Socket): boolean {
    return this.#isBalancer(socket.remoteAddress ?? '');
  }

  /** Version 2 as well. */
  override _handleProxy(socket: Socket, callback: Parameters<SMTPServer['_handleProxy']>[1]): void {
    if (!this._expectsProxyHeader(socket)) return super._handleProxy(socket, callback);
    const peer = plain(socket.remoteAddress ?? '');
    const failed = (error: Error): void => {
      if (!isKnock(error))
        this.#tell(peer, { refusal: 'syntax', reply: 'PROXY header refused', detail: error.message });
      callback(error);
    };
    takeProxyHeader(socket, (error, source) => {
      if (error !== undefined) {
        socket.destroy();
        failed(error);
      } else if (source === 'other') {
        super._handleProxy(socket, (trouble, more) => (trouble ? failed(trouble) : callback(null, more)));
      } else callback(null, { id: randomUUID(), ...source });
    });
  }

  /** Before the PROXY header or the TLS handshake; the package bounds it by silence and in all only. */
  override _acceptSocket(socket: Socket, handshaking: boolean): (() => void) | false {
    if (!handshaking && !this._expectsProxyHeader(socket)) return super._acceptSocket(socket, handshaking);
    const peer = plain(socket.remoteAddress ?? '');
    const { maxConnectionsPerAddress, idleTimeout } = this.listener;
    const isMany = !this._expectsProxyHeader(socket) && this.#early.of(peer) >= maxConnectionsPerAddress;
    const release = !isMany && super._acceptSocket(socket, handshaking);
    if (release === false) {
      socket.on('error', () => undefined).destroy();
      this.#tell(peer, { refusal: 'connections', reply: 'closed', detail: 'too many before their TLS handshake' });
      return false;
    }
    this.#early.add(peer);
    const deadline = setTimeout(() => {
      (this._pendingSockets.get(socket) ?? socket).destroy(new Error('The handshake takes too long'));
    }, 2 * idleTimeout).unref();
    let isReleased = false;
    const over = (): void => {
      if (!isReleased) this.#early.remove(peer);
      isReleased = true;
      clearTimeout(deadline);
      release();
    };
    socket.once('close', over);
    return over;
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
    this.#open.add(connection.remoteAddress);
    this.#sessions.set(connection.session, connection);
    // Of a connection lost in a transaction DATA tells; only the handshake has no other place.
    connection.on('error', (error: Error) => {
      if (connection._upgrading) connection.lost(handshake(error));
    });
    connection.init();
  }

  /** One connection more than may be. */
  crowd({ remoteAddress }: Connection): Refused | undefined {
    const { maxConnections, maxConnectionsPerAddress } = this.listener;
    if (this.connections.size > maxConnections)
      return new Refused('connections', 421, '4.7.0', 'Too many connected clients, try again later');
    if (this.#open.of(remoteAddress) <= maxConnectionsPerAddress) return undefined;
    return new Refused('connections', 421, '4.7.0', `Too many connections from ${remoteAddress}, try again later`);
  }

  /** Every reply that refuses something is told here, exactly once. */
  refused({ remoteAddress, session }: Connection, told: Told): void {
    this.#tell(remoteAddress, told, userOf(session));
  }

  #tell(peer: string, { refusal, reply, detail }: Told, user?: string): void {
    this.#parts.report({
      event: 'session.refused',
      listener: this.listener.name,
      peer,
      refusal,
      reply,
      ...(user === undefined ? {} : { user }),
      ...(detail === undefined ? {} : { detail }),
    });
  }

  override onConnect(session: SMTPServerSession, callback: (error?: Error | null) => void): void {
    const client = this.#clientOf(session);
    this.#parts.report({ event: 'session.opened', listener: client.listener, peer: client.peer });
    const connection = this.#sessions.get(session);
    if (connection !== undefined) connection.openedAt = this.#now();
    this.#answer(session, callback, this.#gate.connect(client));
  }

  override onClose(session: SMTPServerSession): void {
    const connection = this.#sessions.get(session);
    if (connection === undefined || !this.#live.delete(connection)) return;
    this.#open.remove(connection.remoteAddress);
    if (connection.openedAt === undefined) return;
    const { listener, peer } = this.#clientOf(session);
    const seconds = Math.max(0, this.#now() - connection.openedAt) / 1000;
    this.#parts.report({ event: 'session.closed', listener, peer, seconds, messages: connection.messages });
  }

  override onAuth(
    { method, username, password }: SMTPServerAuthentication,
    session: SMTPServerSession,
    callback: Parameters<SMTPServer['onAuth']>[2],
  ): void {
    const login = { user: username ?? '', password: password ?? '', mechanism: method };
    void this.#gate.login(this.#clientOf(session), login).then(
      (refused) => {
        if (refused === undefined) callback(null, { user: username });
        else this.#answer(session, callback, refused);
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
    mail: SMTPServerAddress,
    session: SMTPServerSession,
    callback: (error?: Error | null) => void,
  ): void {
    const messages = this.#sessions.get(session)?.messages ?? 0;
    this.#answer(session, callback, this.#gate.mail(this.#clientOf(session), mail, messages));
  }

  override onRcptTo(
    recipient: SMTPServerAddress,
    session: SMTPServerSession,
    callback: (error?: Error | null) => void,
  ): void {
    this.#answer(session, callback, this.#gate.recipient(this.#clientOf(session), recipient));
  }

  override onData(
    stream: Parameters<SMTPServer['onData']>[0],
    session: SMTPServerSession,
    callback: Parameters<SMTPServer['onData']>[2],
  ): void {
    const connection = this.#sessions.get(session);
    const client = this.#clientOf(session);
    const { mailFrom, rcptTo } = session.envelope;
    const envelope = envelopeOf(mailFrom, rcptTo);
    receive(stream, {
      ...this.#parts,
      ...this.listener,
      envelope,
      origin: this.#originOf(session),
      protocol: protocolOf(session.transmissionType, envelope),
      judge: (header) => this.#gate.judge(client, envelope.reversePath, header),
      mayReceive: (address) => this.#gate.mayReceive(client, address),
      now: this.#now,
      cutOff: () => connection?.cutOff(),
    }).then(
      ({ id }) => {
        connection?.carried();
        callback(null, `2.0.0 queued as ${id}`);
        this.sayGoodbye(connection);
      },
      (error: unknown) => {
        if (!(error instanceof Refused)) this.#bug('DATA', session, callback, error);
        else if (error.refusal === 'aborted')
          connection?.lost({ refusal: error.refusal, reply: `421 ${error.message}`, detail: error.detail });
        else this.#answer(session, callback, error);
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
    this.#watchdog.stop();
  }

  /** If we are going down. */
  sayGoodbye(connection: Connection | undefined): void {
    if (!this.isEnding || connection === undefined) return;
    connection.send(421, stopping(this.#parts.hostname), false);
    connection.cutOffSoon();
  }

  #answer(session: SMTPServerSession, callback: (error?: Error | null) => void, refused: Refused | undefined): void {
    const connection = this.#sessions.get(session);
    if (refused === undefined) return callback();
    if (connection !== undefined) connection.refusal = refused;
    callback(refused);
  }

  #bug(
    where: string,
    session: SMTPServerSession,
    callback: (error?: Error | null) => void,
    cause: unknown,
    answer = new Refused('spool', 451, '4.3.0', 'An internal error of the mail gateway, try again later'),
  ): void {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#parts.report({ event: 'bug', where: `smtp ${where}`, error });
    this.#answer(session, callback, answer);
  }

  #clientOf(session: SMTPServerSession): Client {
    const user = userOf(session);
    const facts = { listener: this.listener.name, peer: session.remoteAddress, tls: session.secure };
    return user === undefined ? facts : { ...facts, user };
  }

  #originOf(session: SMTPServerSession): Origin {
    const { hostNameAppearsAs } = session;
    const user = userOf(session);
    const tls = this.#sessions.get(session)?.negotiated();
    return {
      source: 'smtp',
      name: this.listener.name,
      peer: session.remoteAddress,
      ...(hostNameAppearsAs ? { helo: hostNameAppearsAs } : {}),
      ...(user === undefined ? {} : { user }),
      ...(tls === undefined ? {} : { tls }),
    };
  }
}

/** One session. */
class Connection extends SMTPConnection implements Watched {
  readonly #server: Server;
  openedAt: number | undefined;
  messages = 0;
  readonly beganAt = clock();
  turnAt = clock();
  /** On its way to the client. */
  refusal: Refused | undefined;
  /** Refused commands since the last message. */
  #errors = 0;
  /** The next line ends with a bare LF; a message has ended with LF.LF. */
  #isBare = false;
  #isLast = false;
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
      const refused = this.#server.crowd(this);
      return refused === undefined ? this.connectionReady() : this.#say(refused);
    });
  }

  override _createParser(): ReturnType<SMTPConnection['_createParser']> {
    const parser = super._createParser();
    // Called by the package's constructor: only what that has set is there.
    const { lenient, lfEndOfData } = (this._server as Server).listener;
    frame(parser, {
      ...(lenient ? {} : { onBareLf: () => (this.#isBare = true) }),
      ...(lfEndOfData ? { onLfEnd: () => (this.#isLast = true) } : {}),
    });
    return parser;
  }

  override _onCommand(line: Buffer, callback?: () => void): void {
    if (!this._ready || this._upgrading) return super._onCommand(line, callback);
    this._unrecognizedCommands = 0;
    const refused = this.#beforeCommand(line);
    if (refused !== undefined) {
      this._nextHandler = false;
      this.#say(refused);
      return void setImmediate(() => callback?.());
    }
    const isRepaired = this.#server.listener.lenient && this._nextHandler === false;
    super._onCommand(isRepaired ? repairedLine(line, this.remoteAddress) : line, callback);
  }

  #beforeCommand(line: Buffer): Refused | undefined {
    if (this.#isBare) {
      this.#isBare = false;
      return new Refused('syntax', 500, '5.5.2', 'A command ends with CR LF, not with LF alone');
    }
    if (/^\s*QUIT\s*$/i.test(line.toString('latin1'))) return undefined;
    if (this.#isLast)
      return new Refused('policy', 421, '4.7.0', 'Nothing is taken after a message that ended with LF.LF');
    if (this.#errors < this.#server.listener.maxErrors) return undefined;
    return new Refused('errors', 421, '4.7.0', `Too many refused commands (${this.#errors})`);
  }

  override _parseAddressCommand(
    name: string,
    line: Buffer | string,
  ): ReturnType<SMTPConnection['_parseAddressCommand']> {
    const verb = name === 'mail from' ? 'MAIL FROM' : 'RCPT TO';
    const { completeDomain, listener } = this.#server;
    return readPath(verb, line.toString(), { lenient: listener.lenient, completeDomain }) ?? false;
  }

  override handler_HELO(line: Buffer, callback: () => void): void {
    if (this.#isGoodHelo(line)) super.handler_HELO(line, callback);
    else callback();
  }

  override handler_EHLO(line: Buffer, callback: () => void): void {
    if (this.#isGoodHelo(line)) super.handler_EHLO(line, callback);
    else callback();
  }

  #isGoodHelo(line: Buffer): boolean {
    if (this.#server.listener.lenient || isStrictHelo(line)) return true;
    this.send(501, 'Syntax: HELO and EHLO want a domain or an address literal', false);
    return false;
  }

  #say(refused: Refused): void {
    this.refusal = refused;
    this.send(refused.responseCode, refused.message);
  }

  /** With our enhanced status codes, one a reply; tells every refusal. */
  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    this.turnAt = clock();
    if (Array.isArray(data)) return super.send(code, data.filter(this.#isOffered), context);
    if (typeof data !== 'string' || code < 400) {
      const isOurs = typeof data === 'string' && ENHANCED.test(data);
      return super.send(code, data, isOurs ? false : context);
    }
    if (this.#isOver) return;
    this.#errors++;
    const refused = this.refusal?.message === data ? this.refusal : undefined;
    if (refused !== undefined) this.refusal = undefined;
    const { refusal, text } =
      refused === undefined ? this.#precise(code, data, context) : { refusal: refused.refusal, text: data };
    super.send(code, text, false);
    this.#server.refused(this, { refusal, reply: `${code} ${text}`, detail: refused?.detail });
  }

  /** For one of the package's own refusals. */
  #precise(code: number, data: string, context: string | false | undefined): { refusal: Refusal; text: string } {
    if (code === 530 && this.#server.needsTls && !this.secure)
      return { refusal: 'tls', text: `5.7.0 ${STARTTLS_FIRST}` };
    const { refusal, sentence, enhanced } = readOwn(data);
    if (ENHANCED.test(data)) return { refusal, text: data };
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
    this.#say(new Refused('tls', 538, '5.7.11', `No login in the clear: ${STARTTLS_FIRST}`));
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

  /** A message, to its end. */
  carried(): void {
    this.messages++;
    this.#errors = 0;
  }

  /** In DATA, or while a command is being answered. */
  isBusy(): boolean {
    return Boolean(this._dataStream) || this._handlerPending;
  }

  isWaiting(): boolean {
    const isStoring = this._dataStream && (this._dataStream.writableNeedDrain || this.received() === undefined);
    return !this.#isOver && !this._handlerPending && !isStoring;
  }

  received(): number | undefined {
    return this._parser && this._parser._dataMode ? this._parser.dataBytes : undefined;
  }

  expire(refused: Refused): void {
    if (this.#isOver) return;
    this.#say(refused);
    this.cutOffSoon();
  }

  /** The client went away in the middle of something, unless we ended it. */
  lost(told: Told): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const ours: Told = { refusal: 'stopping', reply: `421 ${stopping(this.name)}`, detail: 'cut off' };
    this.#server.refused(this, this.#server.isEnding ? ours : told);
  }

  negotiated(): string | undefined {
    return negotiated(this._socket);
  }

  cutOffSoon(): void {
    setTimeout(() => this.cutOff(), FAREWELL).unref();
  }

  cutOff(): void {
    this._socket.destroy();
  }
}

function userOf({ user }: SMTPServerSession): string | undefined {
  return typeof user === 'string' && user !== '' ? user : undefined;
}

/** An IPv4 client of an IPv6 socket is an IPv4 client. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '');
