/**
 * The envelope of a message (RFC 5321 section 2.3.1) and where it came from.
 * Pure data; nothing here fails.
 */

/** Reverse-path without angle brackets; '' is the null reverse-path, written `<>` only on the wire (RFC 5321 section 4.5.5). */
export type ReversePath = string;

/** NOTIFY values of RFC 3461 section 4.1. */
export type NotifyOn = 'never' | 'success' | 'failure' | 'delay';

/** One RCPT TO with its DSN parameters (RFC 3461). */
export interface Recipient {
  /** Mailbox without angle brackets, as the client gave it (case and Unicode kept). */
  readonly address: string;
  readonly notify?: readonly NotifyOn[];
  /** ORCPT, decoded from xtext: `rfc822;someone@example.com`. */
  readonly originalRecipient?: string;
}

export interface Envelope {
  readonly reversePath: ReversePath;
  readonly recipients: readonly Recipient[];
  /** RET of RFC 3461 section 4.3. */
  readonly ret?: 'full' | 'headers';
  /** ENVID of RFC 3461 section 4.4, decoded from xtext. */
  readonly envelopeId?: string;
  readonly smtpUtf8?: boolean;
}

/** Where a message came from. For logs and the Received field, never for decisions after acceptance. */
export interface Origin {
  readonly source: 'smtp' | 'pickup' | 'gateway';
  /** Name of the listener (or pick-up) in the configuration. */
  readonly name: string;
  /** Remote IP address, without port. */
  readonly peer: string;
  readonly helo?: string;
  /** Authenticated user name. */
  readonly user?: string;
  /** Negotiated protocol and cipher, for example `TLSv1.3 TLS_AES_256_GCM_SHA384`. */
  readonly tls?: string;
  /** When the mailbox it was picked up from had received it, epoch milliseconds; only of `pickup`. */
  readonly receivedAt?: number;
}
