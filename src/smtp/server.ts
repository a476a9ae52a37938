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
import { networkList } from '../mail/network.ts';
import { isStrictHelo, repairedLine } from './dialog.ts';
import { EarlyGuard } from './early.ts';
import { frame } from './framing.ts';
import { connectionCount } from './limits.ts';
import type { ListenerOptions, SmtpParts } from './options.ts';
import { readPath } from './path.ts';
import { takeProxyHeader } from './proxy.ts';
import { Reception, userOf } from './reception.ts';
import type { Line } from './reception.ts';
import { ENHANCED, HELO_SYNTAX, LOG_IN_WITH_TLS, preciseReply, Refused, STARTTLS_FIRST, stopping } from './reply.ts';
import type { Spoken, Told } from './reply.ts';
import { packageSettings } from './settings.ts';
import { handshake, isKnock, negotiated } from './tls.ts';
import { Watchdog } from './watchdog.ts';
import type { Watched } from './watchdog.ts';

/** How long a client may take to close its side after a 421 of ours, milliseconds. */
const FAREWELL = 500;
const RATE_WINDOW = 60_000;

type Done = (error?: Error | null) => void;

const clock = (): number => performance.now();

export class Server extends SMTPServer {
  readonly listener: ListenerOptions;
  readonly #parts: SmtpParts;
  readonly #reception: Reception;
  readonly #isBalancer: (address: string) => boolean;
  readonly #sessions = new WeakMap<SMTPServerSession, Connection>();
  /** Until their socket is closed; the package forgets them when it has said its last word. */
  readonly #live = new Set<Connection>();
  readonly #watchdog: Watchdog;
  /** By client address. */
  readonly #open = connectionCount();
  readonly #early: EarlyGuard;
  #hasBegun = false;
  #ended: Promise<void> | undefined;

  constructor(options: ListenerOptions, parts: SmtpParts) {
    super(packageSettings(options, parts.hostname));
    this.listener = options;
    this.#parts = parts;
    this.#reception = new Reception(options, parts);
    this.#early = new EarlyGuard(options.maxConnectionsPerAddress, 2 * options.idleTimeout);
    this.#isBalancer = networkList(options.proxyProtocol);
    this.#watchdog = new Watchdog(this.#live, { ...options, rateWindow: parts.rateWindow ?? RATE_WINDOW, clock });
    this.on('error', (error: Parameters<typeof isKnock>[0]) => {
      // Of implicit TLS: there is no session yet. What has no peer concerns the port.
      const peer = error.meta?.remoteAddress;
      if (peer !== undefined && !isKnock(error)) this.#reception.tell(plain(peer), handshake(error, options));
    });
    options.certificate?.onChange((pair) => this.updateSecureContext({ ...pair }));
  }

  /** Once it is listening. */
  begin(): void {
    this.#hasBegun = true;
    this.#watchdog.start();
  }

  /** Its port is given up; the sessions there are go on to their own ends. @param over the last of them has ended */
  retire(over: () => void): void {
    this.server.close(over);
    // What has not begun yet is no session.
    for (const top of this._pendingSockets.values()) top.destroy();
  }

  get completeDomain(): string {
    return this.#parts.completeDomain;
  }

  get isEnding(): boolean {
    return this.#ended !== undefined;
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

  override _handleProxy(socket: Socket, callback: Parameters<SMTPServer['_handleProxy']>[1]): void {
    if (!this._expectsProxyHeader(socket)) return super._handleProxy(socket, callback);
    const peer = plain(socket.remoteAddress ?? '');
    const done: typeof callback = (error, options) => {
      if (error && !isKnock(error)) {
        const detail = `${error.message}; proxyProtocol of this listener names the address, so every connection of it has to begin with one`;
        this.#reception.tell(peer, { refusal: 'syntax', reply: 'PROXY header refused', detail });
      }
      callback(error, options);
    };
    takeProxyHeader(socket, (error, source) => done(error ?? null, { id: randomUUID(), ...source }));
  }

  override _acceptSocket(socket: Socket, isSecuring: boolean): (() => void) | false {
    const isBalancer = this._expectsProxyHeader(socket);
    if (!isSecuring && !isBalancer) return super._acceptSocket(socket, isSecuring);
    const peer = plain(socket.remoteAddress ?? '');
    const release = (isBalancer || !this.#early.isCrowded(peer)) && super._acceptSocket(socket, isSecuring);
    if (release === false) {
      socket.on('error', () => undefined).destroy();
      this.#reception.tell(peer, {
        refusal: 'connections',
        reply: 'closed',
        detail: 'too many that have not begun yet',
      });
      return false;
    }
    return this.#early.watch(socket, peer, release, (error) =>
      (this._pendingSockets.get(socket) ?? socket).destroy(error),
    );
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
      if (connection._upgrading) connection.lost(handshake(error, this.listener));
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
    this.#reception.tell(remoteAddress, told, userOf(session));
  }

  override onConnect(session: SMTPServerSession, done: Done): void {
    this.#reception.connect(session, this.#lineOf(session), done);
  }

  override onClose(session: SMTPServerSession): void {
    const connection = this.#lineOf(session);
    if (!this.#live.delete(connection)) return;
    this.#open.remove(connection.remoteAddress);
    this.#reception.closed(session, connection);
  }

  override onAuth(
    { method, username: user = '', password }: SMTPServerAuthentication,
    session: SMTPServerSession,
    callback: Parameters<SMTPServer['onAuth']>[2],
  ): void {
    const connection = this.#lineOf(session);
    const login = { user, password: password ?? '', mechanism: method };
    const done: Done = (error) => (error ? callback(error) : callback(null, { user }));
    void this.#reception.login(session, connection, login, done).then(() => this.sayGoodbye(connection));
  }

  override onMailFrom(command: SMTPServerAddress, session: SMTPServerSession, done: Done): void {
    this.#reception.mail(session, this.#lineOf(session), command, done);
  }

  override onRcptTo(command: SMTPServerAddress, session: SMTPServerSession, done: Done): void {
    this.#reception.recipient(session, this.#lineOf(session), command, done);
  }

  override onData(
    stream: Parameters<SMTPServer['onData']>[0],
    session: SMTPServerSession,
    done: Parameters<SMTPServer['onData']>[2],
  ): void {
    const connection = this.#lineOf(session);
    void this.#reception.data(stream, session, connection, done).then(() => this.sayGoodbye(connection));
  }

  /** Takes nothing new; what is in DATA may finish until `signal` aborts. */
  async end(signal: AbortSignal): Promise<void> {
    if (this.#ended === undefined) {
      if (!this.#hasBegun) return;
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
  sayGoodbye(connection: Connection): void {
    if (!this.isEnding) return;
    connection.send(421, stopping(connection.name), false);
    connection.cutOffSoon();
  }

  #lineOf(session: SMTPServerSession): Connection {
    const connection = this.#sessions.get(session);
    if (connection === undefined) throw new Error('a session without a connection');
    return connection;
  }
}

/** One session. */
class Connection extends SMTPConnection implements Line, Watched {
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
    this.send(501, HELO_SYNTAX, false);
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
  #precise(code: number, data: string, context: string | false | undefined): Spoken {
    if (code === 530 && this.#server.needsTls && !this.secure)
      return { refusal: 'tls', text: `5.7.0 ${STARTTLS_FIRST}` };
    if (code === 530 && !this.secure && this.#server.listener.tls !== 'none' && !this.#server.allowsClearLogin)
      return { refusal: 'auth', text: `5.7.0 ${LOG_IN_WITH_TLS}` };
    // The client has not said yet that it knows these codes.
    const isEarly = context === false && this.hostNameAppearsAs === false;
    const offered = context === false ? '' : this._getEnhancedStatusCode(code, context);
    return preciseReply(data, isEarly ? undefined : [offered, this._getEnhancedStatusCode(code)], code);
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

/** An IPv4 client of an IPv6 socket is an IPv4 client. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '');
