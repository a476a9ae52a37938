/** One listener on a free loopback port with everything it needs, for one test. */
import { Buffer } from 'node:buffer';
import { setTimeout as pause } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import { generate } from 'selfsigned';
import type { Event } from '../../src/mail/event.ts';
import { createPolicy } from '../../src/mail/policy.ts';
import type { PolicyRules } from '../../src/mail/policy.ts';
import { senderMap } from '../../src/mail/senders.ts';
import type { SenderRules } from '../../src/mail/senders.ts';
import { loginGuard } from '../../src/smtp/limits.ts';
import { smtpSource } from '../../src/smtp/listener.ts';
import type { ListenerOptions, SmtpParts } from '../../src/smtp/options.ts';
import { MemoryInject } from './memory-inject.ts';
import { Session } from './session.ts';

/** Hash of `secret`, cheap: ln=10. */
export const SECRET_HASH = '$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$Mdc/jTCPy+uU8aSLbM+FGBQC/AXSzfWCsAUkF/VYCgk';

export type EventOf<Name extends Event['event']> = Extract<Event, { event: Name }>;

let pair: Promise<{ cert: string; key: string }> | undefined;

/** For localhost; the same for all tests of a file. */
export function keyPair(): Promise<{ cert: string; key: string }> {
  pair ??= generate([{ name: 'commonName', value: 'localhost' }], { keyType: 'ec', algorithm: 'sha256' }).then(
    ({ cert, private: key }) => ({ cert, key }),
  );
  return pair;
}

/** One that does not change. */
export async function certificate(): Promise<NonNullable<ListenerOptions['certificate']>> {
  const current = await keyPair();
  return { current: () => current, onChange: () => undefined };
}

export const OPTIONS: ListenerOptions = {
  name: 'lan',
  address: '127.0.0.1',
  port: 0,
  tls: 'none',
  minTls: '1.2',
  auth: 'none',
  allowInsecureAuth: false,
  lenient: false,
  lfEndOfData: false,
  proxyProtocol: [],
  maxMessageSize: 1_000_000,
  maxHeaderSize: 65_536,
  maxConnections: 20,
  maxConnectionsPerAddress: 1_000,
  maxRecipients: 100,
  maxMessages: 10_000,
  maxErrors: 20,
  idleTimeout: 30_000,
  sessionTimeout: 86_400_000,
  minDataRate: 100,
  maxHops: 30,
};

/** Rules of the policy for this listener, and whatever of it is to differ. */
type Rules = Pick<PolicyRules['listeners'][number], 'allow' | 'loginFrom'> & {
  readonly listenerSenders: readonly string[];
  readonly listenerRecipients: readonly string[];
  readonly policy: Partial<Omit<PolicyRules, 'listeners'>>;
  readonly mapping: Partial<SenderRules>;
};

export interface Setup
  extends
    Partial<ListenerOptions>,
    Partial<Rules>,
    Partial<Pick<SmtpParts, 'users' | 'now' | 'rate' | 'logins' | 'headerOnly' | 'nullReversePath' | 'rateWindow'>> {}

export class TestListener {
  readonly events: Event[] = [];
  readonly inject = new MemoryInject();
  readonly #sessions: Session[] = [];
  #source: ReturnType<typeof smtpSource> | undefined;

  async start(setup: Setup = {}): Promise<this> {
    const { allow, loginFrom, listenerSenders, listenerRecipients, policy, mapping, ...rest } = setup;
    const {
      users = new Map([['pbx', SECRET_HASH]]),
      now,
      rate,
      logins,
      headerOnly,
      nullReversePath,
      rateWindow,
      ...own
    } = rest;
    const needsCertificate = (own.tls ?? 'none') !== 'none' && own.certificate === undefined;
    const options = { ...OPTIONS, ...(needsCertificate ? { certificate: await certificate() } : {}), ...own };
    this.#source = smtpSource(options, {
      inject: this.inject,
      report: (event) => this.events.push(event),
      users,
      hostname: 'gw.test',
      defaultFrom: 'gateway@contoso.com',
      policy: createPolicy({
        listeners: [
          {
            name: options.name,
            auth: options.auth,
            allow: allow ?? ['127.0.0.0/8', '::1/128'],
            loginFrom: loginFrom ?? [],
            ...(listenerSenders === undefined ? {} : { senders: listenerSenders }),
            ...(listenerRecipients === undefined ? {} : { recipients: listenerRecipients }),
          },
        ],
        users: [],
        clients: [],
        senders: { allow: ['*'] },
        recipients: { allow: ['*'], deny: [] },
        ...policy,
      }),
      senders: senderMap({ mailbox: 'gateway@contoso.com', header: 'keep', rules: [], ...mapping }),
      rate: rate ?? ((): undefined => undefined),
      logins: logins ?? loginGuard({ failures: 1_000, within: 600_000, ban: 900_000, delay: 0 }),
      completeDomain: 'contoso.com',
      headerOnly: headerOnly ?? 'drop',
      nullReversePath: nullReversePath ?? 'suppress',
      ...(now === undefined ? {} : { now }),
      ...(rateWindow === undefined ? {} : { rateWindow }),
    });
    await this.#source.start();
    return this;
  }

  get port(): number {
    return this.told('listener.open')[0]?.port ?? 0;
  }

  told<Name extends Event['event']>(name: Name): EventOf<Name>[] {
    return this.events.filter((event): event is EventOf<Name> => event.event === name);
  }

  get refusals(): EventOf<'session.refused'>[] {
    return this.told('session.refused');
  }

  /** Connected, nothing read yet. */
  async connect(host?: string): Promise<Session> {
    const session = await Session.open(this.port, host);
    this.#sessions.push(session);
    return session;
  }

  async connectTls(options?: ConnectionOptions): Promise<Session> {
    const session = await Session.openTls(this.port, options);
    this.#sessions.push(session);
    return session;
  }

  /** Greeted and after EHLO. */
  async session(host?: string): Promise<Session> {
    const session = await this.connect(host);
    await session.hello();
    return session;
  }

  stop(signal: AbortSignal = new AbortController().signal): Promise<void> {
    return this.#source?.stop(signal) ?? Promise.resolve();
  }

  async end(): Promise<void> {
    for (const session of this.#sessions) session.destroy();
    await this.stop(AbortSignal.abort());
  }
}

export async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let tries = 0; tries < 800; tries++) {
    if (isSo()) return;
    await pause(10);
  }
  throw new Error(`${what} did not happen`);
}

export const plain = (user: string, password: string): string =>
  Buffer.from(`\0${user}\0${password}`).toString('base64');
export const base64 = (text: string): string => Buffer.from(text).toString('base64');

export const MESSAGE = 'From: a@contoso.com\r\nTo: b@contoso.com\r\nSubject: hello\r\n\r\nbody\r\n';
