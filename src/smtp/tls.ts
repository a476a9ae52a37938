/** TLS of a listener: what the settings mean for OpenSSL, and what was negotiated. Fails only without a certificate. */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ListenerOptions } from './options.ts';
import type { Told } from './reply.ts';

/** @throws TypeError if there is TLS and no certificate */
export function tlsSettings({ tls, certificate, minTls }: ListenerOptions): Record<string, unknown> {
  if (tls === 'none') return {};
  if (certificate === undefined) throw new TypeError('a listener with TLS needs a certificate');
  const isOld = minTls === '1.0' || minTls === '1.1';
  return {
    ...certificate.current(),
    minVersion: minTls === '1.0' ? 'TLSv1' : `TLSv${minTls}`,
    // OpenSSL refuses the old versions at its usual security level, whatever minVersion says.
    ...(isOld ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}),
  };
}

/** Protocol and cipher; the package knows only the protocol that first had the cipher. */
export function negotiated(socket: Socket): string | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  const { name, standardName } = socket.getCipher();
  return `${socket.getProtocol()} ${standardName ?? name}`;
}

/** As the package hands on what ended a handshake. */
export interface TlsFailure extends Error {
  readonly code?: string | undefined;
  readonly report?: boolean | undefined;
  readonly meta?: { readonly remoteAddress?: string | undefined } | undefined;
}

/** A client that only knocks (a port scan, a health check) is refused nothing. */
export function isKnock(error: TlsFailure): boolean {
  return error.report === false || error.code === 'ECONNRESET' || /^Socket (?:closed|ended) /.test(error.message);
}

/** By OpenSSL's words, as Node.js makes codes of them: what it means, and what can be done. */
const CAUSES: readonly (readonly [RegExp, (minTls: string) => string])[] = [
  [
    /UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW|ALERT_PROTOCOL_VERSION/,
    (minTls) =>
      `the client knows no TLS as new as ${minTls}: update it, or lower minTls of this listener if nothing else helps`,
  ],
  [
    /WRONG_VERSION_NUMBER|HTTP_REQUEST|PACKET_LENGTH_TOO_LONG/,
    () => 'the client did not speak TLS: it may want a listener without tls: implicit, or one with STARTTLS',
  ],
  [
    /NO_SHARED_CIPHER|NO_SHARED_SIGNATURE|ALERT_HANDSHAKE_FAILURE/,
    () => 'the client and the gateway have no cipher in common: update the client, or lower minTls of this listener',
  ],
  [
    /ALERT_UNKNOWN_CA|ALERT_BAD_CERTIFICATE|ALERT_CERTIFICATE_(?:UNKNOWN|EXPIRED)/,
    () => 'the client does not accept the certificate of this listener: give it one whose issuer the client trusts',
  ],
];

/** No reply can be said in the middle of a handshake; the operator of an old printer finds the reason in the log. */
export function handshake({ message, code = '' }: TlsFailure, { minTls }: Pick<ListenerOptions, 'minTls'>): Told {
  const cause = CAUSES.find(([codes]) => codes.test(code))?.[1](minTls);
  const detail = cause === undefined ? message : `${cause} (${message})`;
  return { refusal: 'tls', reply: 'TLS handshake failed', detail };
}
