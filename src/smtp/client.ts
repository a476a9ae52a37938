/**
 * The client side of SMTP: one mail of the demo or an alarm (sendMail, composeMail), and sessions that hand over spooled messages
 * (openSession). The only file that knows nodemailer. It is trusted with the dialogue, STARTTLS, logins and
 * dot-stuffing; ours are the connection, what each phase may take, the parameters of each recipient, and how far an
 * attempt had come. sendMail fails with an Error that names the server and what it said; a session's trouble is a value,
 * only the reader of a message passes its errors through. Nothing is retried.
 */
import { EventEmitter } from 'node:events';
import { connect as connectPlain } from 'node:net';
import type { Socket } from 'node:net';
import type { Readable, Transform } from 'node:stream';
import { connect as connectTls, getCACertificates, TLSSocket } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import { createTransport } from 'nodemailer';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import type { Envelope, Recipient } from '../mail/envelope.ts';
import { watchOffered } from '../tls/offered.ts';
import type { OfferedCertificate } from '../tls/offered.ts';
import { mailParameters, offeredBy, recipientParameters } from './offers.ts';
import type { Offers } from './offers.ts';
export interface SmtpServer {
  readonly host: string;
  readonly port: number;
  /**
   * never (the default), or offered: STARTTLS where the server offers it, whatever its certificate (RFC 7435): there is
   * no login to protect. required: STARTTLS or nothing; implicit: TLS from the first octet; whatever the certificate too.
   */
  readonly tls?: 'never' | 'offered' | 'required' | 'implicit';
  /** Only for servers whose certificate needs no check, such as one on this machine. */
  readonly login?: { readonly user: string; readonly password: string };
  /** What the client calls itself in EHLO. */
  readonly name?: string;
  /** Milliseconds without any progress, default 60,000. */
  readonly timeout?: number;
}

export interface MailAttachment {
  readonly filename: string;
  readonly content: Buffer;
  readonly contentType: string;
  /** Content-ID without brackets, for a picture shown inside the HTML. */
  readonly cid?: string;
}

export interface Mail {
  readonly from: string;
  readonly to: readonly string[];
  readonly cc?: readonly string[];
  /** In the envelope only. */
  readonly bcc?: readonly string[];
  readonly subject: string;
  readonly text: string;
  readonly html?: string;
  readonly attachments?: readonly MailAttachment[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** sendMail failed. */
export class MailRefused extends Error {
  override readonly name = 'MailRefused';
  /** The code of the server's reply (RFC 5321 section 4.2); undefined: it gave none. */
  readonly replyCode: number | undefined;
  constructor(message: string, cause: unknown) {
    super(message, { cause });
    const code = cause instanceof Error && 'responseCode' in cause ? cause.responseCode : undefined;
    this.replyCode = typeof code === 'number' ? code : undefined;
  }
}

export interface Handed {
  /** The server's reply to the message, for example `250 2.0.0 queued as ...` */
  readonly reply: string;
  /** Recipients that it did not take, and what it said of each. */
  readonly refused: readonly { readonly address: string; readonly reply: string }[];
}

/** @returns the server's reply to the message, which may be for some of the recipients only */
export async function sendMail(server: SmtpServer, mail: Mail): Promise<string> {
  return (await handMail(server, mail)).reply;
}

/** Fails if no recipient is taken. */
export async function handMail(server: SmtpServer, mail: Mail): Promise<Handed> {
  const { host, port, tls = 'never', name, login, timeout = 60_000 } = server;
  const transport = createTransport({
    host,
    port,
    ...TLS[tls],
    ...(login === undefined ? {} : { auth: { user: login.user, pass: login.password } }),
    ...(name === undefined ? {} : { name }),
    connectionTimeout: Math.min(10_000, timeout),
    greetingTimeout: timeout,
    socketTimeout: timeout,
  });
  try {
    const sent = await transport.sendMail(packageMail(mail));
    const refused = (sent.rejectedErrors ?? []).map((error) => ({
      address: 'recipient' in error ? String(error.recipient) : '',
      reply: 'response' in error ? String(error.response) : error.message,
    }));
    return { reply: sent.response, refused };
  } catch (error) {
    throw new MailRefused(
      `${server.host}:${server.port} did not take the mail "${mail.subject}": ${error instanceof Error ? error.message : String(error)}`,
      error,
    );
  } finally {
    transport.close();
  }
}

const TLS = {
  never: { secure: false, ignoreTLS: true },
  offered: { secure: false, opportunisticTLS: true, tls: { rejectUnauthorized: false } },
  required: { secure: false, requireTLS: true, tls: { rejectUnauthorized: false } },
  implicit: { secure: true, tls: { rejectUnauthorized: false } },
} as const;

/** @returns the message as it would be sent */
export async function composeMail(mail: Mail): Promise<Buffer> {
  const transport = createTransport({ streamTransport: true, buffer: true, newline: 'windows' });
  const { message } = await transport.sendMail(packageMail(mail));
  if (!Buffer.isBuffer(message)) throw new Error('the mail was not composed whole');
  return message;
}

/** The mail in the package's words. */
function packageMail({ to, cc = [], bcc = [], attachments = [], headers = {}, ...rest }: Mail) {
  return {
    ...rest,
    to: [...to],
    cc: [...cc],
    bcc: [...bcc],
    attachments: attachments.map((one) => ({ ...one })),
    headers: { ...headers },
  };
}

// --- sessions ------------------------------------------------------------------------------------------------------

/** Where a session was when it failed. end: the final dot was handed over, and only an answer says what became of it. */
export type SmtpStep = 'connect' | 'greeting' | 'tls' | 'login' | 'mail' | 'recipient' | 'data' | 'body' | 'end';

export interface SmtpTrouble {
  readonly step: SmtpStep;
  /** The server's words, all lines; absent: it said nothing. */
  readonly reply?: string;
  /** Stable word: ECONNREFUSED, ETIMEDOUT, SELF_SIGNED_CERT_IN_CHAIN, NO_LOGIN, TOO_LARGE, ABORTED ... */
  readonly code: string;
  /** What the server has shown, where TLS failed. */
  readonly certificate?: OfferedCertificate;
}

export interface SessionOptions {
  readonly host: string;
  readonly port: number;
  /** required: STARTTLS, or the session fails; nothing is ever said in clear then but EHLO. */
  readonly tls: 'required' | 'implicit' | 'none';
  readonly minTls: '1.0' | '1.1' | '1.2' | '1.3';
  /** PEM of authorities trusted in addition to the public ones. */
  readonly ca?: string;
  /** What the client calls itself in EHLO. */
  readonly name: string;
  /** Milliseconds for a connection (with an implicit TLS handshake), for any answer but the last, for the last. */
  readonly timeouts: { readonly connect: number; readonly reply: number; readonly answer: number };
}

export type SmtpLogin =
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  /** SASL XOAUTH2, as Exchange Online has it. */
  | { readonly kind: 'token'; readonly user: string; readonly token: string };

export interface Submission {
  readonly envelope: Envelope;
  /** Those to name in RCPT TO, each once; addresses as they go over the wire. */
  readonly recipients: readonly Recipient[];
  /** Octets, for SIZE. */
  readonly size: number;
  /** The header or an address needs SMTPUTF8. */
  readonly isUtf8: boolean;
  /** The message. A chunk is used up before the next one is asked for. */
  open(): AsyncIterable<Uint8Array>;
}

export interface Submitted {
  /** What the server said to the message; or why it does not have it. */
  readonly outcome: { readonly reply: string } | SmtpTrouble;
  /** Recipients it refused, by address, with its words. */
  readonly refused: ReadonlyMap<string, string>;
}

export interface SmtpSession {
  readonly offers: Offers;
  readonly isOpen: boolean;
  login(login: SmtpLogin, signal: AbortSignal): Promise<SmtpTrouble | undefined>;
  /** One transaction. After `signal` aborts, or any silence, the session is closed. */
  send(submission: Submission, signal: AbortSignal): Promise<Submitted>;
  /** Ends what was begun. @returns false: nobody is there any more */
  reset(timeout: number, signal: AbortSignal): Promise<boolean>;
  /** Says QUIT, and does not wait. */
  end(): void;
}

/** Longer than any of our own limits: nodemailer's must not come first. */
const NEVER = 3_600_000;
/** Milliseconds that the answer to QUIT may take. */
const LAST_WORD = 2_000;
/** Octets handed over at a time. */
const PIECE = 64 * 1024;

export async function openSession(options: SessionOptions, signal: AbortSignal): Promise<SmtpSession | SmtpTrouble> {
  const socket = await connected(options, signal);
  if (!('write' in socket)) return socket;
  const connection = new Connection({
    connection: socket,
    secure: options.tls === 'implicit',
    secured: options.tls === 'implicit',
    requireTLS: options.tls === 'required',
    ignoreTLS: options.tls === 'none',
    host: options.host,
    name: options.name,
    tls: tlsOptions(options),
    connectionTimeout: NEVER,
    greetingTimeout: NEVER,
    socketTimeout: NEVER,
    socketCloseTimeout: 1_000,
    maxResponseSize: 64 * 1024,
  });
  const session = new Session(connection, options);
  const trouble = await session.greet(signal);
  return trouble ?? session;
}

function tlsOptions({ ca, minTls }: SessionOptions): ConnectionOptions {
  return {
    minVersion: minTls === '1.0' ? 'TLSv1' : `TLSv${minTls}`,
    // OpenSSL refuses the old versions at its usual security level, whatever minVersion says.
    ...(minTls === '1.0' || minTls === '1.1' ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}),
    ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }),
  };
}

/** A server that has gone without a word is found out some ten seconds later (TCP asks once a second then). */
const ARE_YOU_THERE = { keepAlive: true, keepAliveInitialDelay: 5_000 };

function connected(options: SessionOptions, signal: AbortSignal): Promise<Socket | SmtpTrouble> {
  const { host, port, tls, timeouts } = options;
  return new Promise((resolve) => {
    const isImplicit = tls === 'implicit';
    const socket = isImplicit
      ? connectTls({ ...tlsOptions(options), host, port, ...serverName(host), ...ARE_YOU_THERE })
      : connectPlain({ host, port, ...ARE_YOU_THERE });
    const offered = socket instanceof TLSSocket ? watchOffered(socket) : () => undefined;
    let isReached = false;
    const settle = (result: Socket | SmtpTrouble): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      if (result !== socket) socket.destroy();
      resolve(result);
    };
    const step = (): SmtpStep => (isImplicit && isReached ? 'tls' : 'connect');
    const onAbort = (): void => settle({ step: 'connect', code: 'ABORTED' });
    const timer = setTimeout(() => settle({ step: step(), code: 'ETIMEDOUT' }), timeouts.connect);
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('connect', () => (isReached = true));
    socket.once(isImplicit ? 'secureConnect' : 'connect', () => settle(socket));
    // Stays: a socket that fails later, or that was given up, must not end the process.
    socket.on('error', (error) => settle({ step: step(), code: systemCode(error), ...withCertificate(offered()) }));
    if (signal.aborted) onAbort();
  });
}

/** No server name for an IP address (RFC 6066 section 3). */
function serverName(host: string): { readonly servername?: string } {
  return /^[\d.]+$|:/.test(host) ? {} : { servername: host };
}

function withCertificate(certificate: OfferedCertificate | undefined): { readonly certificate?: OfferedCertificate } {
  return certificate === undefined ? {} : { certificate };
}

function systemCode(error: unknown): string {
  for (let at = error; at instanceof Error; at = at instanceof AggregateError ? at.errors[0] : at.cause) {
    const { originalCode, code } = at as Error & { originalCode?: unknown; code?: unknown };
    if (typeof originalCode === 'string') return originalCode;
    if (typeof code === 'string' && code !== '') return code;
  }
  return 'ERROR';
}

/** What its types leave out. */
interface Commanding extends SMTPConnection {
  _sendCommand(line: string, shown?: string): void;
  _upgradeConnection(done: (error: Error | null) => void): void;
}

/**
 * nodemailer has one set of DSN parameters for all recipients, and asks for SMTPUTF8 only where an address needs it. All
 * its commands pass _sendCommand; a test holds that they do.
 */
class Connection extends (SMTPConnection as unknown as new (options: SMTPConnection.Options) => Commanding) {
  #mail = '';
  #recipients: string[] = [];
  readonly #secrets: string[] = [];
  offered: () => OfferedCertificate | undefined = () => undefined;

  /** For the next transaction, each with a blank before it. */
  use(mail: string, recipients: readonly string[]): void {
    this.#mail = mail;
    this.#recipients = [...recipients];
  }

  /** Without what a server repeats of a login: some show the command that they do not understand. */
  withoutSecrets(words: string): string {
    const clean = this.#secrets.reduce((left, secret) => left.replaceAll(secret, '[secret]'), words);
    return clean.replace(/[\w+/=]{12,}/g, (part) =>
      this.#secrets.some((secret) => secret.includes(part)) ? '[secret]' : part,
    );
  }

  override _upgradeConnection(done: (error: Error | null) => void): void {
    super._upgradeConnection(done);
    if (this._socket instanceof TLSSocket) this.offered = watchOffered(this._socket);
  }

  override _sendCommand(line: string, shown?: string): void {
    // It has another form for a log where there is something to hide.
    const secret = line.slice(line.lastIndexOf(' ') + 1);
    if (shown !== undefined && shown !== line && secret !== '') this.#secrets.push(secret);
    let more = '';
    if (line.startsWith('MAIL FROM:')) more = this.#mail;
    else if (line.startsWith('RCPT TO:')) more = this.#recipients.shift() ?? '';
    // It says SMTPUTF8 itself where an address needs it.
    super._sendCommand(line + (line.includes(' SMTPUTF8') ? more.replace(' SMTPUTF8', '') : more), shown);
  }
}

interface Failure extends Error {
  readonly code?: string | undefined;
  readonly response?: unknown;
  readonly command?: string | undefined;
  readonly recipient?: string | undefined;
}

type Done<T> = (error: Failure | null | undefined, value?: T) => void;
type Run<T> = { readonly ok: true; readonly value: T | undefined } | { readonly ok: false; readonly error: Failure };

class Session implements SmtpSession {
  readonly #connection: Connection;
  readonly #options: SessionOptions;
  /** Told what ended the connection, by whoever waits. */
  #fail: ((error: Failure) => void) | undefined;
  /** Pushes the limit of what is waited for into the future. */
  #progress: (limit?: number) => void = () => {};
  offers: Offers = offeredBy('');

  constructor(connection: Connection, options: SessionOptions) {
    this.#connection = connection;
    this.#options = options;
    connection.on('error', (error: Failure) => this.#fail?.(error));
    connection.on('end', () => this.#fail?.(failure('ECONNRESET')));
  }

  get isOpen(): boolean {
    return !this.#connection.destroyed;
  }

  async greet(signal: AbortSignal): Promise<SmtpTrouble | undefined> {
    const connection = this.#connection;
    const run = await this.#run<true>(this.#options.timeouts.reply, signal, (done) => connection.connect(done));
    if (!run.ok) {
      const { command } = run.error;
      const isTls = connection.upgrading === true || command === 'STARTTLS';
      return { ...this.#trouble(isTls ? 'tls' : 'greeting', run.error), ...withCertificate(connection.offered()) };
    }
    this.offers = offeredBy(String(connection.lastServerResponse));
    return undefined;
  }

  async login(login: SmtpLogin, signal: AbortSignal): Promise<SmtpTrouble | undefined> {
    const connection = this.#connection;
    const wanted = login.kind === 'token' ? ['XOAUTH2'] : ['PLAIN', 'LOGIN', 'CRAM-MD5'];
    if (!wanted.some((method) => this.offers.logins.includes(method))) {
      this.end();
      return { step: 'login', code: login.kind === 'token' ? 'NO_XOAUTH2' : 'NO_LOGIN' };
    }
    let challenge = '';
    const run = await this.#run<boolean>(this.#options.timeouts.reply, signal, (done) => {
      if (login.kind === 'password') return connection.login({ user: login.user, pass: login.password }, done);
      connection.customAuth.set(TOKEN, async ({ sendCommand, resolve, reject }) => {
        const words = `user=${login.user}\u0001auth=Bearer ${login.token}\u0001\u0001`;
        let answer = await sendCommand(`AUTH XOAUTH2 ${Buffer.from(words).toString('base64')}`);
        if (answer.status === 334) {
          challenge = toldIn(answer.text);
          // The error is told to who confirms that it has read it.
          answer = await sendCommand('');
        }
        if (answer.status === 235) resolve();
        else reject('refused');
      });
      connection.login({ method: TOKEN, user: login.user }, done);
    });
    if (run.ok) return undefined;
    const trouble = this.#trouble('login', run.error);
    // Some servers close a connection after a refused login, others only slow down.
    this.#connection.close();
    if (trouble.reply === undefined) return trouble;
    const words = challenge === '' ? trouble.reply : `${trouble.reply} (${challenge})`;
    return { ...trouble, reply: connection.withoutSecrets(words) };
  }

  async send(submission: Submission, signal: AbortSignal): Promise<Submitted> {
    const { envelope, recipients, size, isUtf8 } = submission;
    const { reply, answer } = this.#options.timeouts;
    const connection = this.#connection;
    const socket = connection._socket || undefined;
    const feed = new Feed(submission.open(), socket, (isLast) => this.#progress(isLast ? answer : reply));
    connection.use(
      mailParameters(envelope, isUtf8, this.offers),
      recipients.map((recipient) => recipientParameters(recipient, this.offers)),
    );
    const onData = (): void => this.#progress();
    socket?.on('data', onData);
    const to = recipients.map(({ address }) => address);
    // nodemailer notes in it what is said of each recipient, whatever becomes of the message.
    const noted: SMTPConnection.Envelope & { readonly rejectedErrors?: readonly Failure[] } = {
      from: envelope.reversePath,
      to,
      size,
      use8BitMime: true,
    };
    const run = await this.#run<SMTPConnection.SentMessageInfo>(reply, signal, (done) =>
      // on(), pipe() and destroy() are all that is asked of a stream.
      connection.send(noted, feed as unknown as Readable, done),
    );
    const refused = wordsOf(noted.rejectedErrors);
    socket?.off('data', onData);
    feed.destroy();
    if (feed.error !== undefined) {
      connection.close();
      throw feed.error;
    }
    // An answer before the last octet: what is still on its way would be taken for commands.
    if (feed.isStarted && !feed.isEnded) connection.close();
    if (run.ok) {
      if (!feed.isEnded) return { refused, outcome: { step: 'body', code: 'ANSWERED_EARLY' } };
      return { refused, outcome: { reply: run.value?.response ?? '' } };
    }
    const { error } = run;
    const step = stepOf(error, feed);
    // Without a transaction whatever is said of a recipient is said of the order of commands.
    return { refused: step === 'mail' ? new Map() : refused, outcome: this.#trouble(step, error) };
  }

  async reset(timeout: number, signal: AbortSignal): Promise<boolean> {
    if (!this.isOpen) return false;
    const run = await this.#run<boolean>(timeout, signal, (done) => this.#connection.reset(done));
    if (!run.ok) this.#connection.close();
    return run.ok;
  }

  end(): void {
    if (!this.isOpen) return;
    this.#connection.quit();
    setTimeout(() => this.#connection.close(), LAST_WORD).unref();
  }

  /** Waits for the callback, the end of the connection, the limit or the signal, whichever comes first. */
  #run<T>(limit: number, signal: AbortSignal, begin: (done: Done<T>) => void): Promise<Run<T>> {
    return new Promise((resolve) => {
      let isOver = false;
      let current = limit;
      const settle = (run: Run<T>): void => {
        if (isOver) return;
        isOver = true;
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.#fail = undefined;
        this.#progress = () => {};
        resolve(run);
      };
      const giveUp = (code: string): void => {
        settle({ ok: false, error: failure(code) });
        this.#connection.close();
      };
      const onAbort = (): void => giveUp('ABORTED');
      let timer = setTimeout(giveUp, limit, 'ETIMEDOUT');
      this.#progress = (next = current) => {
        if (isOver) return;
        current = next;
        clearTimeout(timer);
        timer = setTimeout(giveUp, next, 'ETIMEDOUT');
      };
      // A callback that carries the server's words comes in the same turn, after the event.
      this.#fail = (error) => setImmediate(() => settle({ ok: false, error }));
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) return onAbort();
      begin((error, value) => settle(error ? { ok: false, error } : { ok: true, value }));
    });
  }

  #trouble(step: SmtpStep, error: Failure): SmtpTrouble {
    const reply = typeof error.response === 'string' && error.response !== '' ? { reply: error.response } : {};
    if (error.code === 'EMESSAGE' && error.response === undefined) return { step, code: 'TOO_LARGE' };
    const code = systemCode(error);
    return { step, ...reply, code: NODEMAILER[code] ?? code };
  }
}

/** Name under which nodemailer finds our way to log in by a token. */
const TOKEN = 'TOKEN';
/** What it says where the system has no word: the peer closed the connection. */
const NODEMAILER: Readonly<Record<string, string>> = { ECONNECTION: 'ECONNRESET', ESOCKET: 'ECONNRESET' };

function failure(code: string): Failure {
  return Object.assign(new Error(code), { code });
}

function wordsOf(errors: readonly Failure[] = []): ReadonlyMap<string, string> {
  return new Map(errors.map(({ recipient = '', response }) => [recipient, String(response)]));
}

function stepOf(error: Failure, feed: Feed): SmtpStep {
  switch (error.command) {
    case 'MAIL FROM':
      return 'mail';
    case 'RCPT TO':
      return 'recipient';
    case 'DATA':
      return feed.isStarted ? 'end' : 'data';
    default:
      return feed.isEnded ? 'end' : feed.isStarted ? 'body' : 'mail';
  }
}

/** The JSON with which Exchange and Google explain a refused token: {"status":"401","schemes":"bearer","scope":"..."}. */
function toldIn(base64: string): string {
  const text = Buffer.from(base64.trim(), 'base64').toString('utf8');
  try {
    const told: unknown = JSON.parse(text);
    if (typeof told !== 'object' || told === null) return '';
    return Object.entries(told)
      .map(([name, value]) => `${name}: ${String(value)}`)
      .join(', ');
  } catch {
    return '';
  }
}

/**
 * What nodemailer takes for a stream: hands the message over piece by piece, and asks for the next chunk only when all of
 * the one before has left for the network, as a chunk is good until then.
 */
class Feed extends EventEmitter {
  readonly #message: AsyncIterable<Uint8Array>;
  readonly #socket: Socket | undefined;
  readonly #progress: (isLast: boolean) => void;
  readonly #over = Promise.withResolvers<'over'>();
  #isOver = false;
  /** The server wants the message. */
  isStarted = false;
  /** The final dot is on its way, or beyond. */
  isEnded = false;
  /** Of the message's reader. */
  error: unknown;

  constructor(message: AsyncIterable<Uint8Array>, socket: Socket | undefined, progress: (isLast: boolean) => void) {
    super();
    this.#message = message;
    this.#socket = socket;
    this.#progress = progress;
  }

  pipe(stream: Transform): Transform {
    this.isStarted = true;
    void this.#pump(stream);
    return stream;
  }

  destroy(): this {
    this.#isOver = true;
    this.#over.resolve('over');
    return this;
  }

  async #pump(stream: Transform): Promise<void> {
    try {
      for await (const chunk of this.#message) {
        for (let at = 0; at < chunk.length; at += PIECE) {
          if ((await this.#handOver(stream, chunk.subarray(at, at + PIECE))) === 'over') return;
          this.#progress(false);
        }
        if (this.#isOver) return;
      }
      if (this.#isOver) return;
      this.isEnded = true;
      this.#progress(true);
      stream.end();
    } catch (error) {
      if (this.#isOver) return;
      this.error = error;
      this.emit('error', error);
    }
  }

  /** When both the stream and the socket that reads it are empty, the octets are the system's. */
  async #handOver(stream: Transform, piece: Uint8Array): Promise<'over' | 'done'> {
    const taken = new Promise<'done'>((resolve) => void stream.write(piece, () => resolve('done')));
    if ((await Promise.race([taken, this.#over.promise])) === 'over') return 'over';
    do {
      // Called once all that was written before has left.
      const flushed = new Promise<'done'>((resolve) => void this.#socket?.write('', () => resolve('done')));
      if ((await Promise.race([flushed, this.#over.promise])) === 'over') return 'over';
    } while (stream.readableLength > 0);
    return 'done';
  }
}
