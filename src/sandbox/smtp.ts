/**
 * The sandbox's SMTP submission, as smtp.office365.com has it: EHLO, STARTTLS, XOAUTH2 with a token of the sandbox's Entra
 * ID for the mailbox that sends, MAIL, RCPT, DATA, into the same mailboxes as everything else. It misbehaves on command at
 * every step (smtp-fault.ts). On loopback only. A connection that breaks ends its session and nothing else.
 */
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { canonicalAddress } from '../mail/address.ts';
import { parseHeader } from '../mail/addresses.ts';
import { HeaderPeeler, splitHeader } from '../mail/header.ts';
import type { Identity } from './identity.ts';
import type { Mailboxes } from './mailboxes.ts';
import { SmtpReader } from './smtp-reader.ts';
import { SmtpFaults } from './smtp-fault.ts';
import type { SmtpFault, SmtpStep } from './smtp-fault.ts';
import { EwsFault } from './submission.ts';
import type { Submission } from './submission.ts';

export interface SmtpOptions {
  readonly tls: { readonly cert: string; readonly key: string };
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly identity: Identity;
  readonly audience: string;
  readonly mailboxes: Mailboxes;
  /** Octets announced as SIZE, default 35 MiB; a message that has more is refused. */
  readonly size?: number;
  /** Client id -> mailboxes that an application without the role SMTP.SendAsApp may send as. */
  readonly scopes?: Readonly<Record<string, readonly string[]>>;
}

/** A transaction that was acted on. */
export interface SmtpTransaction {
  /** Whom the session logged in as; '' for nobody. */
  readonly user: string;
  /** What followed MAIL and RCPT, octets for octets. */
  readonly mail: string;
  readonly recipients: readonly string[];
  /** Number of the connection. */
  readonly connection: number;
}

export interface SmtpSandbox {
  readonly port: number;
  readonly transactions: readonly SmtpTransaction[];
  /** Connections taken so far. */
  readonly connections: number;
  fault(fault: SmtpFault): void;
  clearFaults(): void;
  start(): Promise<void>;
  stop(): Promise<void>;
}

const HEADER_LIMIT = 16 * 1024 * 1024;
const SIZE = 35 * 1024 * 1024;
/** Whom a session without login, as a smarthost takes it, sends for. */
type Login = { readonly user: string };

export function smtpSandbox(options: SmtpOptions): SmtpSandbox {
  const faults = new SmtpFaults();
  const transactions: SmtpTransaction[] = [];
  let port = options.port;
  let connections = 0;
  let running: { readonly server: Server; readonly sockets: Set<Socket> } | undefined;
  return {
    get port() {
      return port;
    },
    get connections() {
      return connections;
    },
    transactions,
    fault: (fault) => faults.add(fault),
    clearFaults: () => faults.clear(),
    async start() {
      if (running) return;
      const sockets = new Set<Socket>();
      const server = createServer({ noDelay: true }, (socket) => {
        sockets.add(socket);
        socket.on('error', () => {}).once('close', () => sockets.delete(socket));
        const session = new Session(options, faults, transactions, ++connections);
        session.serve(socket).catch(() => socket.destroy());
      });
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject).listen(port, options.host, resolve);
      });
      port = (server.address() as AddressInfo).port;
      running = { server, sockets };
    },
    async stop() {
      const stopping = running;
      running = undefined;
      if (!stopping) return;
      const closed = new Promise((resolve) => stopping.server.close(resolve));
      for (const socket of stopping.sockets) socket.destroy();
      await closed;
    },
  };
}

class Session {
  readonly #options: SmtpOptions;
  readonly #faults: SmtpFaults;
  readonly #transactions: SmtpTransaction[];
  readonly #number: number;
  #login: Login | undefined;
  #mail: string | undefined;
  #recipients: string[] = [];
  #isSecure = false;

  constructor(options: SmtpOptions, faults: SmtpFaults, transactions: SmtpTransaction[], number: number) {
    this.#options = options;
    this.#faults = faults;
    this.#transactions = transactions;
    this.#number = number;
  }

  async serve(plain: Socket): Promise<void> {
    let socket = plain;
    let reader = new SmtpReader(socket);
    if (!(await this.#say(socket, 'connect', '', '220 sandbox.invalid smtp2exchange sandbox, no real Exchange')))
      return;
    for (;;) {
      const line = await reader.line();
      if (line === undefined) return;
      const verb = line.slice(0, 4).toUpperCase();
      const rest = line.slice(5);
      switch (verb) {
        case 'EHLO':
          if (!(await this.#say(socket, 'ehlo', '', this.#greeting()))) return;
          break;
        case 'STAR': {
          if (!(await this.#say(socket, 'starttls', '', '220 2.0.0 SMTP server ready'))) return;
          if (this.#faults.refusedTls) break;
          reader.stop();
          const { cert, key } = this.#options.tls;
          socket = new TLSSocket(socket, { isServer: true, cert, key });
          socket.on('error', () => plain.destroy());
          reader = new SmtpReader(socket);
          this.#isSecure = true;
          break;
        }
        case 'AUTH':
          if (!(await this.#authenticate(socket, reader, rest))) return;
          break;
        case 'MAIL':
          if (!(await this.#begin(socket, rest))) return;
          break;
        case 'RCPT':
          if (!(await this.#name(socket, rest))) return;
          break;
        case 'DATA':
          if (!(await this.#receive(socket, reader))) return;
          break;
        case 'RSET':
          this.#forget();
          if (!(await this.#say(socket, 'rset', '', '250 2.0.0 Resetting'))) return;
          break;
        case 'QUIT':
          socket.end('221 2.0.0 Service closing transmission channel\r\n');
          return;
        default:
          socket.write('500 5.3.3 Unrecognized command\r\n');
      }
    }
  }

  get #size(): number {
    return this.#options.size ?? SIZE;
  }

  #greeting(): string {
    const last = this.#isSecure ? 'AUTH LOGIN XOAUTH2' : 'STARTTLS';
    const offered = [`SIZE ${this.#size}`, 'PIPELINING', 'DSN', '8BITMIME', 'SMTPUTF8', last];
    const lines = ['sandbox.invalid Hello', ...offered.filter((word) => !this.#faults.isHidden(word))];
    return lines.map((text, index) => `250${index === lines.length - 1 ? ' ' : '-'}${text}`).join('\r\n');
  }

  /** @returns false: the session is over */
  async #say(socket: Socket, step: SmtpStep, about: string, reply: string): Promise<boolean> {
    const fault = this.#faults.take(step, about);
    if (fault?.silent) return await new Promise<boolean>((resolve) => socket.once('close', () => resolve(false)));
    if (fault?.cut) {
      socket.destroy();
      return false;
    }
    const words = fault?.reply ?? reply;
    socket.write(`${words}\r\n`);
    if (!words.startsWith('421')) return true;
    socket.end();
    return false;
  }

  async #authenticate(socket: Socket, reader: SmtpReader, rest: string): Promise<boolean> {
    const [mechanism = '', initial] = rest.split(' ');
    if (mechanism.toUpperCase() === 'LOGIN') return await this.#password(socket, reader);
    if (mechanism.toUpperCase() !== 'XOAUTH2' || initial === undefined)
      return await this.#say(socket, 'auth', '', '504 5.7.4 Unrecognized authentication type');
    const words = Buffer.from(initial, 'base64').toString('utf8');
    // oxlint-disable-next-line no-control-regex -- they are what stands between the parts
    const [, user = '', token = ''] = /^user=([^\u0001]*)\u0001auth=Bearer ([^\u0001]*)\u0001\u0001$/.exec(words) ?? [];
    const verdict = this.#options.identity.verify(token, this.#options.audience);
    if (!verdict.ok) {
      const told = JSON.stringify({ status: '401', schemes: 'bearer', scope: verdict.reason });
      socket.write(`334 ${Buffer.from(told).toString('base64')}\r\n`);
      await reader.line();
      return await this.#say(socket, 'auth', user, '535 5.7.3 Authentication unsuccessful');
    }
    const mailbox = this.#options.mailboxes.find(user);
    const { roles, appid } = verdict.claims;
    const scope = this.#options.scopes?.[String(appid)] ?? [];
    const mayUse =
      mailbox !== undefined &&
      ((Array.isArray(roles) && roles.includes('SMTP.SendAsApp')) ||
        scope.some((one) => canonicalAddress(one) === canonicalAddress(mailbox.address)));
    if (!mayUse) return await this.#say(socket, 'auth', user, '535 5.7.3 Authentication unsuccessful');
    const fault = this.#faults.peek('auth', user);
    if (fault?.reply === undefined) this.#login = { user: mailbox.address };
    return await this.#say(socket, 'auth', user, '235 2.7.0 Authentication successful');
  }

  /** Takes the password `sandbox` of any mailbox. */
  async #password(socket: Socket, reader: SmtpReader): Promise<boolean> {
    socket.write('334 VXNlcm5hbWU6\r\n');
    const user = Buffer.from((await reader.line()) ?? '', 'base64').toString('utf8');
    socket.write('334 UGFzc3dvcmQ6\r\n');
    const password = Buffer.from((await reader.line()) ?? '', 'base64').toString('utf8');
    const mailbox = this.#options.mailboxes.find(user);
    if (mailbox === undefined || password !== 'sandbox')
      return await this.#say(socket, 'auth', user, '535 5.7.3 Authentication unsuccessful');
    this.#login = { user: mailbox.address };
    return await this.#say(socket, 'auth', user, '235 2.7.0 Authentication successful');
  }

  async #begin(socket: Socket, rest: string): Promise<boolean> {
    const isFaulty = this.#faults.peek('mail', rest) !== undefined;
    if (this.#login === undefined && !this.#faults.isOpenRelay)
      return await this.#say(socket, 'mail', rest, '530 5.7.57 Client not authenticated to send mail');
    if (!isFaulty) this.#mail = rest;
    return await this.#say(socket, 'mail', rest, '250 2.1.0 Sender OK');
  }

  async #name(socket: Socket, rest: string): Promise<boolean> {
    if (this.#mail === undefined) return await this.#say(socket, 'rcpt', rest, '503 5.5.1 Bad sequence of commands');
    if (this.#faults.peek('rcpt', rest) === undefined) this.#recipients.push(rest);
    return await this.#say(socket, 'rcpt', rest, '250 2.1.5 Recipient OK');
  }

  async #receive(socket: Socket, reader: SmtpReader): Promise<boolean> {
    if (this.#recipients.length === 0)
      return await this.#say(socket, 'data', '', '503 5.5.1 Bad sequence of commands, no recipient');
    const isRefused = this.#faults.peek('data', '')?.reply !== undefined;
    if (!(await this.#say(socket, 'data', '', '354 Start mail input; end with <CRLF>.<CRLF>'))) return false;
    if (isRefused) return true;
    const isCut = this.#faults.take('body', '') !== undefined;
    const message = await reader.message(isCut);
    if (message === undefined || isCut) {
      socket.destroy();
      return false;
    }
    const fault = this.#faults.peek('message', '');
    const answer =
      fault === undefined || fault.acts === true
        ? await this.#act(message)
        : '451 4.3.0 the sandbox was told to refuse';
    this.#forget();
    return await this.#say(socket, 'message', '', answer);
  }

  async #act(mime: Buffer): Promise<string> {
    const user = this.#login?.user ?? this.#options.mailboxes.all[0]?.address ?? '';
    const recipients = this.#recipients;
    if (mime.length > this.#size) return TOO_LARGE;
    const submission = await submissionOf(
      mime,
      recipients.map((one) => /<(.*)>/.exec(one)?.[1] ?? ''),
    );
    const wrong = this.#options.mailboxes.judge(user, submission);
    if (wrong instanceof EwsFault && this.#login !== undefined) return REFUSALS[wrong.code] ?? '554 5.6.0 Refused';
    this.#options.mailboxes.send(user, submission, undefined);
    this.#transactions.push({
      user: this.#login?.user ?? '',
      mail: this.#mail ?? '',
      recipients,
      connection: this.#number,
    });
    return '250 2.0.0 OK <sandbox@sandbox.invalid> [Hostname=SANDBOX-BE]';
  }

  #forget(): void {
    this.#mail = undefined;
    this.#recipients = [];
  }
}

const TOO_LARGE = '552 5.3.4 Message size exceeds fixed maximum message size';
const REFUSALS: Readonly<Record<string, string>> = {
  ErrorSendAsDenied: '554 5.2.252 SendAsDenied; the sandbox does not allow this sender',
  ErrorMessageSizeExceeded: TOO_LARGE,
  ErrorMissingRecipients: '503 5.5.2 Need rcpt command',
};

/** The envelope says who gets it; To and Cc only where each of them stands. */
async function submissionOf(mime: Buffer, envelope: readonly string[]): Promise<Submission> {
  const peeler = new HeaderPeeler(HEADER_LIMIT);
  const block = (peeler.push(mime) ?? peeler.end()).header;
  const header = splitHeader(block);
  const parsed = await parseHeader(header);
  const left = new Map(envelope.map((address) => [canonicalAddress(address), address]));
  const pick = (named: readonly { readonly address: string }[]): string[] =>
    named.flatMap(({ address }) => {
      const found = left.get(canonicalAddress(address));
      return found !== undefined && left.delete(canonicalAddress(address)) ? [found] : [];
    });
  const to = pick(parsed.to);
  const cc = pick(parsed.cc);
  return {
    mime,
    header,
    headerSize: block.length,
    messageId: parsed.messageId ?? '',
    subject: parsed.subject ?? '',
    from: parsed.from[0]?.address ?? '',
    sender: parsed.sender[0]?.address ?? '',
    to,
    cc,
    bcc: [...left.values()],
    isAsWritten: true,
    extended: [],
    elements: {},
  };
}
