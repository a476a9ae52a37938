/**
 * The SMTP source: one listener. Promises: a 250 to a message only after it is durable; every refusal has a precise
 * enhanced status code and is an event; nobody outside the allow-list gets further than the greeting. The only file that
 * knows smtp-server, whose framing it trusts; the greeting delay, enhanced codes, sizes and the end are its own.
 */
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { domainToASCII } from 'node:url';
import { SMTPServer } from 'smtp-server';
import type { SMTPServerAddress, SMTPServerAuthentication, SMTPServerSession } from 'smtp-server';
import { SMTPConnection } from 'smtp-server/lib/smtp-connection.js';
import type { Envelope, NotifyOn, Origin, Recipient } from '../mail/envelope.ts';
import type { Report } from '../mail/event.ts';
import type { Inject, Source } from '../mail/source.ts';
import { allowList } from './access.ts';
import { passwordCheck } from './password.ts';
import { receive } from './receive.ts';
import { ENHANCED, OWN_REPLIES, Refused, stopping } from './reply.ts';

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
  #isEnding = false;

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
    // Failed TLS handshakes and connections lost in a transaction: the client's affair, and told where they matter.
    this.on('error', () => undefined);
  }

  get isEnding(): boolean {
    return this.#isEnding;
  }

  override connect(socket: Socket, socketOptions?: ConstructorParameters<typeof SMTPConnection>[2]): void {
    const connection = new Connection(this, socket, socketOptions ?? {});
    this.connections.add(connection);
    this.#sessions.set(connection.session, connection);
    connection.on('error', () => undefined);
    connection.init();
  }

  /** Every reply that refuses something is told here. */
  refused(connection: Connection, reply: string, refused: Refused | undefined): void {
    const { listener, peer } = this.#who(connection.session);
    const refusal = refused?.refusal ?? OWN_REPLIES.find(({ says }) => says.test(reply))?.refusal ?? 'syntax';
    const user = userOf(connection.session);
    this.#parts.report({
      event: 'session.refused',
      listener,
      peer,
      refusal,
      reply,
      ...(user === undefined ? {} : { user }),
      ...(refused?.detail === undefined ? {} : { detail: refused.detail }),
    });
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
      },
      (error: unknown) => this.#bug('AUTH', session, callback, error),
    );
  }

  override onMailFrom(
    { args }: SMTPServerAddress,
    session: SMTPServerSession,
    callback: (error?: Error | null) => void,
  ): void {
    if (this.#options.tls === 'required' && !session.secure) {
      return this.#refuse(session, callback, new Refused('tls', 530, '5.7.0', 'Issue STARTTLS first'));
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
    _address: SMTPServerAddress,
    _session: SMTPServerSession,
    callback: (error?: Error | null) => void,
  ): void {
    callback();
  }

  override onData(
    stream: Parameters<SMTPServer['onData']>[0],
    session: SMTPServerSession,
    callback: Parameters<SMTPServer['onData']>[2],
  ): void {
    const connection = this.#sessions.get(session);
    const origin = this.#originOf(session);
    receive(stream, {
      inject: this.#parts.inject,
      envelope: envelopeOf(session),
      origin,
      protocol: session.transmissionType,
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
        this.#sayGoodbye(connection);
      },
      (error: unknown) => {
        if (!(error instanceof Refused)) this.#bug('DATA', session, callback, error);
        else if (error.refusal === 'aborted' && connection !== undefined)
          this.refused(connection, `${error.responseCode} ${error.message}`, error);
        else this.#refuse(session, callback, error);
        this.#sayGoodbye(connection);
      },
    );
  }

  /** Takes nothing new; what is in DATA may finish until `signal` aborts. */
  async end(signal: AbortSignal): Promise<void> {
    if (!this.server.listening) return;
    this.#isEnding = true;
    const closed = new Promise<void>((resolve) => this.close(() => resolve()));
    for (const connection of this.#open()) if (!connection.isBusy()) this.#sayGoodbye(connection);
    const destroy = (): void => {
      for (const connection of this.#open()) connection.cutOff();
    };
    if (signal.aborted) destroy();
    else signal.addEventListener('abort', destroy, { once: true });
    await closed;
    signal.removeEventListener('abort', destroy);
  }

  #open(): Connection[] {
    return [...this.connections].filter((connection) => connection instanceof Connection);
  }

  #sayGoodbye(connection: Connection | undefined): void {
    if (!this.#isEnding || connection === undefined) return;
    connection.send(421, stopping(this.#parts.hostname), false);
    setTimeout(() => connection.cutOff(), FAREWELL).unref();
  }

  #refuse(session: SMTPServerSession, callback: (error: Error) => void, refused: Refused): void {
    const connection = this.#sessions.get(session);
    if (connection !== undefined) connection.refusal = refused;
    callback(refused);
  }

  #bug(where: string, session: SMTPServerSession, callback: (error: Error) => void, cause: unknown): void {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#parts.report({ event: 'bug', where: `smtp ${where}`, error });
    this.#refuse(
      session,
      callback,
      new Refused('spool', 451, '4.3.0', 'An internal error of the mail gateway, try again later'),
    );
  }

  #who(session: SMTPServerSession): { listener: string; peer: string } {
    return { listener: this.#options.name, peer: session.remoteAddress };
  }

  #originOf(session: SMTPServerSession): Origin {
    const { hostNameAppearsAs, tlsOptions } = session;
    const user = userOf(session);
    return {
      source: 'smtp',
      name: this.#options.name,
      peer: session.remoteAddress,
      ...(hostNameAppearsAs ? { helo: hostNameAppearsAs } : {}),
      ...(user === undefined ? {} : { user }),
      ...(tlsOptions === false ? {} : { tls: `${tlsOptions.version} ${tlsOptions.standardName ?? tlsOptions.name}` }),
    };
  }
}

/** One session. */
class Connection extends SMTPConnection {
  readonly #server: Server;
  openedAt: number | undefined;
  messages = 0;
  /** What the next refusing reply is about. */
  refusal: Refused | undefined;

  constructor(server: Server, socket: Socket, options: ConstructorParameters<typeof SMTPConnection>[2]) {
    super(server, socket, options);
    this.#server = server;
  }

  /** Without the package's delay of 100 ms before the greeting. */
  override init(): void {
    this._setListeners(() => {
      const { maxClients } = this.#server.options;
      if (maxClients !== undefined && this.#server.connections.size > maxClients) {
        return void this.send(421, `${this.name} Too many connected clients, try again later`, false);
      }
      return this.connectionReady();
    });
  }

  /** With our enhanced status codes; tells every refusal. */
  override send(code: number, data: string | string[], context?: string | false): void {
    const refused = this.refusal;
    this.refusal = undefined;
    if (typeof data !== 'string' || code < 400) {
      super.send(code, data, typeof data === 'string' && ENHANCED.test(data) ? false : context);
      return;
    }
    const own =
      context === false || ENHANCED.test(data) ? undefined : OWN_REPLIES.find(({ says }) => says.test(data))?.enhanced;
    const text = own === undefined ? data.replace(/^Error: /, '') : `${own} ${data.replace(/^Error: /, '')}`;
    super.send(code, text, ENHANCED.test(text) ? false : context);
    this.#server.refused(this, `${code} ${text}`, refused);
    if (refused?.closes === true) this.close();
  }

  /** In DATA, or while a command is being answered. */
  isBusy(): boolean {
    return Boolean(this._dataStream) || this._handlerPending;
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

function envelopeOf({ envelope }: SMTPServerSession): Envelope {
  const { mailFrom, rcptTo, dsn, smtpUtf8 } = envelope;
  return {
    reversePath: mailFrom === false ? '' : asciiDomain(mailFrom.address),
    recipients: rcptTo.map(recipientOf),
    ...(dsn?.ret ? { ret: dsn.ret.toUpperCase() === 'FULL' ? ('full' as const) : ('headers' as const) } : {}),
    ...(dsn?.envid ? { envelopeId: fromXtext(dsn.envid) } : {}),
    ...(smtpUtf8 === true ? { smtpUtf8 } : {}),
  };
}

const NOTIFY: Readonly<Record<string, NotifyOn>> = {
  NEVER: 'never',
  SUCCESS: 'success',
  FAILURE: 'failure',
  DELAY: 'delay',
};

function recipientOf({ address, dsn }: SMTPServerAddress): Recipient {
  const notify = dsn?.notify?.map((word) => NOTIFY[word]).filter((word) => word !== undefined);
  return {
    address: asciiDomain(address),
    ...(notify === undefined ? {} : { notify }),
    ...(dsn?.orcpt === undefined ? {} : { originalRecipient: fromXtext(dsn.orcpt) }),
  };
}

/** The package decodes xn-- domains; on the wire they are ASCII. */
function asciiDomain(address: string): string {
  const at = address.lastIndexOf('@');
  const domain = address.slice(at + 1);
  // oxlint-disable-next-line no-control-regex -- all of ASCII
  if (at < 0 || /^[\x00-\x7f]*$/.test(domain)) return address;
  const ascii = domainToASCII(domain);
  return ascii === '' ? address : `${address.slice(0, at)}@${ascii}`;
}

/** RFC 3461 section 4. */
function fromXtext(text: string): string {
  return text.replace(/\+([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
