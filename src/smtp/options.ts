/** What a listener of the SMTP source is made of: its settings, and what all listeners share. Types only. */
import type { Report } from '../mail/event.ts';
import type { Client, Policy, Reply } from '../mail/policy.ts';
import type { senderMap } from '../mail/senders.ts';
import type { Inject } from '../mail/source.ts';
import type { CertificateSource } from './certificate.ts';
import type { LoginGuard } from './limits.ts';

/** The certificate to show now, and word when it is another. */
export type Certificate = Pick<CertificateSource, 'current' | 'onChange'>;

/** Durations are milliseconds, sizes octets. */
export interface ListenerOptions {
  readonly name: string;
  /** IP address. */
  readonly address: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly tls: 'none' | 'optional' | 'required' | 'implicit';
  /** Needed unless tls is none. */
  readonly certificate?: Certificate;
  readonly minTls: '1.0' | '1.1' | '1.2' | '1.3';
  readonly auth: 'none' | 'optional' | 'required';
  readonly allowInsecureAuth: boolean;
  /** Tolerates what old devices send; otherwise RFC 5321 is kept to. */
  readonly lenient: boolean;
  /** LF.LF ends a message as well; nothing but QUIT is taken after it. */
  readonly lfEndOfData: boolean;
  /** Balancers whose connections begin with a PROXY header (version 1 or 2): addresses or CIDR. */
  readonly proxyProtocol: readonly string[];
  readonly maxMessageSize: number;
  readonly maxHeaderSize: number;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly maxRecipients: number;
  /** Messages a connection may carry. */
  readonly maxMessages: number;
  /** Refused commands since the last message, after which the connection ends. */
  readonly maxErrors: number;
  /** How long a client may be silent, and how long it may take for one command line. */
  readonly idleTimeout: number;
  readonly sessionTimeout: number;
  /** Octets a second in DATA, averaged over a minute; 0: any. */
  readonly minDataRate: number;
  /** Received fields from which on a message counts as looping. */
  readonly maxHops: number;
}

/** What does not say otherwise is asked for anew at each use: it may be replaced while sessions go on. */
export interface SmtpParts {
  readonly inject: Inject;
  readonly report: Report;
  /** User name -> password hash. */
  readonly users: ReadonlyMap<string, string>;
  /** As it is at the start. */
  readonly hostname: string;
  /** From of a message that names no sender at all. */
  readonly defaultFrom: string;
  readonly policy: Policy;
  /** Counts one message of a client. @returns the refusal, if it is one too many */
  readonly rate: (client: Client) => Reply | undefined;
  /** Which mailbox sends. */
  readonly senders: ReturnType<typeof senderMap>;
  /** Domain of addresses without one. */
  readonly completeDomain: string;
  readonly headerOnly: 'drop' | 'reject' | 'send';
  readonly nullReversePath: 'suppress' | 'reject';
  /** Failed logins by client address. */
  readonly logins: LoginGuard;
  /** Epoch milliseconds. */
  readonly now?: () => number;
  /** Milliseconds over which minDataRate is averaged; a minute. */
  readonly rateWindow?: number;
}
