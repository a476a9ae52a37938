/** A POP3 door on a free loopback port with everything it needs, and a bare client, for one test. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { pop3Door } from '../../src/legacy/pop3.ts';
import type { Pop3Options, Pop3Parts } from '../../src/legacy/pop3-options.ts';
import type { Event } from '../../src/mail/event.ts';
import { makeCertificate } from '../../src/tls/selfsigned.ts';
import type { KeyPair } from '../../src/tls/selfsigned.ts';
import { MemoryMaildrop } from './maildrop.ts';

export const MESSAGE = 'From: a@contoso.com\r\nSubject: hello\r\n\r\nbody\r\n';

let pair: Promise<KeyPair> | undefined;

/** For localhost; the same for all tests of a file. */
export function keyPair(): Promise<KeyPair> {
  pair ??= makeCertificate({
    commonName: 'localhost',
    keyType: 'ec',
    notBefore: new Date(Date.now() - 86_400_000),
    notAfter: new Date(Date.now() + 86_400_000),
    use: 'server',
    names: ['localhost', '127.0.0.1'],
  });
  return pair;
}

export const OPTIONS: Pop3Options = {
  name: 'pop3',
  address: '127.0.0.1',
  port: 0,
  tls: 'none',
  minTls: '1.2',
  allow: ['127.0.0.0/8'],
  plainFrom: ['127.0.0.0/8'],
  maxConnections: 50,
  maxConnectionsPerAddress: 50,
  maxErrors: 10,
  idleTimeout: 600_000,
  loginTimeout: 120_000,
};

export type EventOf<Name extends Event['event']> = Extract<Event, { event: Name }>;

export class TestDoor {
  readonly events: Event[] = [];
  readonly maildrop: MemoryMaildrop;
  readonly #clients: Client[] = [];
  #door: ReturnType<typeof pop3Door> | undefined;

  constructor(maildrop: MemoryMaildrop = new MemoryMaildrop({ a: MESSAGE, b: MESSAGE })) {
    this.maildrop = maildrop;
  }

  async start(setup: Partial<Pop3Options> & Partial<Pop3Parts> = {}): Promise<this> {
    const { maildrops, isPassword, logins, inUse, report: _report, ...own } = setup;
    const current = await keyPair();
    const certificate = { current: () => current, onChange: () => undefined };
    this.#door = pop3Door(
      { ...OPTIONS, certificate, ...own },
      {
        maildrops: maildrops ?? new Map([['fax', this.maildrop]]),
        isPassword: isPassword ?? (async (user, password) => user === 'fax' && password === 'se cret'),
        logins: logins ?? {
          banned: () => undefined,
          failed: () => ({ delay: 0, failures: 1 }),
          succeeded: () => undefined,
        },
        report: (event) => this.events.push(event),
        inUse: inUse ?? new Set(),
      },
    );
    await this.#door.start();
    return this;
  }

  get port(): number {
    return this.told('listener.open')[0]?.port ?? 0;
  }

  told<Name extends Event['event']>(name: Name): EventOf<Name>[] {
    return this.events.filter((event): event is EventOf<Name> => event.event === name);
  }

  get refusals(): string[] {
    return this.told('session.refused').map(({ refusal }) => refusal);
  }

  /** Connected, nothing read yet. */
  async connect(): Promise<Client> {
    const socket = connect({ host: '127.0.0.1', port: this.port, noDelay: true });
    const client = new Client(socket);
    this.#clients.push(client);
    await once(socket, 'connect');
    return client;
  }

  /** Greeted and logged in. */
  async login(): Promise<Client> {
    const client = await this.connect();
    await client.line();
    await client.say('USER fax');
    const answer = await client.say('PASS se cret');
    if (!answer.startsWith('+OK')) throw new Error(`the login was answered ${answer}`);
    return client;
  }

  stop(signal: AbortSignal = new AbortController().signal): Promise<void> {
    return this.#door?.stop(signal) ?? Promise.resolve();
  }

  async end(): Promise<void> {
    for (const client of this.#clients) client.socket.destroy();
    await this.stop(AbortSignal.abort());
  }
}

const PATIENCE = 8_000;

export class Client {
  socket: Socket;
  #octets = '';
  isClosed = false;
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    this.#listen(socket);
  }

  #listen(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      this.#octets += chunk.toString('latin1');
      this.#wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  /** What came and was not taken. */
  get unread(): string {
    return this.#octets;
  }

  async #until(what: string, isSo: () => boolean): Promise<void> {
    const end = performance.now() + PATIENCE;
    while (!isSo()) {
      if (performance.now() > end) throw new Error(`${what} did not come; unread: ${JSON.stringify(this.#octets)}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, PATIENCE);
      await promise;
      clearTimeout(timer);
    }
  }

  async #through(end: string): Promise<string> {
    await this.#until(JSON.stringify(end), () => this.#octets.includes(end) || this.isClosed);
    const at = this.#octets.indexOf(end);
    if (at < 0) throw new Error(`closed; unread: ${JSON.stringify(this.#octets)}`);
    const taken = this.#octets.slice(0, at);
    this.#octets = this.#octets.slice(at + end.length);
    return taken;
  }

  line(): Promise<string> {
    return this.#through('\r\n');
  }

  /** What follows the first line of a multi-line answer, its lone dot left out. */
  async body(): Promise<string> {
    if (this.#octets.startsWith('.\r\n')) return (await this.#through('.\r\n')) && '';
    await this.#until('a line', () => this.#octets.length >= 3 || this.isClosed);
    if (this.#octets.startsWith('.\r\n')) return (await this.#through('.\r\n')) && '';
    return `${await this.#through('\r\n.\r\n')}\r\n`;
  }

  write(octets: string): void {
    this.socket.write(Buffer.from(octets, 'latin1'));
  }

  say(line: string): Promise<string> {
    this.write(`${line}\r\n`);
    return this.line();
  }

  /** The first line and what follows. */
  async ask(line: string): Promise<string[]> {
    const first = await this.say(line);
    return first.startsWith('+OK') ? [first, await this.body()] : [first];
  }

  /** The handshake, after the +OK or at the begin. */
  async upgrade(options: { maxVersion?: 'TLSv1.2'; ca?: string } = {}): Promise<void> {
    const plain = this.socket;
    plain.removeAllListeners('data').removeAllListeners('close');
    const secure = connectTls({ socket: plain, rejectUnauthorized: false, servername: 'localhost', ...options });
    this.socket = secure;
    this.#listen(secure);
    await once(secure, 'secureConnect');
  }

  async closed(): Promise<void> {
    await this.#until('the close', () => this.isClosed);
  }
}
