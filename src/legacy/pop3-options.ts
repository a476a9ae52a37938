/** What the POP3 door is made of: its settings, and what it is given of the rest of the gateway. Types only. */
import type { Report } from '../mail/event.ts';
import type { TlsVersion } from '../tls/listening.ts';
import type { KeyPair } from '../tls/selfsigned.ts';
import type { Maildrop } from './maildrop.ts';

/** Durations are milliseconds. */
export interface Pop3Options {
  readonly name: string;
  /** IP address. */
  readonly address: string;
  /** 0: any that is free. */
  readonly port: number;
  /** optional, required: STLS. implicit: TLS from the first octet (pop3s). */
  readonly tls: 'none' | 'optional' | 'required' | 'implicit';
  /** The certificate to show now, and word when it is another. Needed unless tls is none. */
  readonly certificate?: {
    current(): KeyPair;
    onChange(take: (pair: KeyPair) => void): void;
  };
  readonly minTls: TlsVersion;
  /** Who may connect: addresses or CIDR. */
  readonly allow: readonly string[];
  /** From where a password is taken without TLS, unless tls is required: addresses or CIDR. */
  readonly plainFrom: readonly string[];
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  /** Refused commands since the last one that was taken, after which the connection ends. */
  readonly maxErrors: number;
  /**
   * How long a client may take for one command, or for one piece (64 KiB) of an answer. RFC 1939 section 3 wants 10
   * minutes at least.
   */
  readonly idleTimeout: number;
  /** How long a client may take from its connection to its login, the TLS handshake included. */
  readonly loginTimeout: number;
  /** Days for which messages are kept for the client, whether it has fetched them or not (EXPIRE, RFC 2449); absent: not said. */
  readonly expire?: number;
}

/** Failed logins by client address. */
export interface LoginGate {
  /** Until when, epoch milliseconds; undefined: not banned. */
  banned(peer: string): number | undefined;
  /** Counts one. delay: milliseconds to wait before the answer; bannedUntil: given by the failure that begins a ban. */
  failed(peer: string): { readonly delay: number; readonly failures: number; readonly bannedUntil?: number };
  succeeded(peer: string): void;
}

/** A mailbox that no other gateway shows meanwhile. */
export interface Exclusive {
  /** False: another one may, by now. */
  readonly isOurs: boolean;
  /** Lets the others have it. Never rejects. */
  leave(): Promise<void>;
}

export interface Pop3Parts {
  /** User name -> what that user is shown. */
  readonly maildrops: ReadonlyMap<string, Maildrop>;
  /** Takes as long for a user who is not known. */
  readonly isPassword: (user: string, password: string) => Promise<boolean>;
  readonly logins: LoginGate;
  readonly report: Report;
  /** Users whose mailbox has a session: one set for all doors that show the same maildrops. */
  readonly inUse: Set<string>;
  /**
   * The same over several gateways that show the same maildrops; absent: there is only this one. Resolves with undefined
   * where another one has a session; rejects with SpoolError where that cannot be found out.
   */
  readonly exclude?: (user: string) => Promise<Exclusive | undefined>;
}
