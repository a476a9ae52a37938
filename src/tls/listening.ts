/**
 * What every listener with TLS shares: its settings in OpenSSL's words, and in ours what ended a handshake. Pure; never
 * fails.
 */
import type { KeyPair } from './selfsigned.ts';

export type TlsVersion = '1.0' | '1.1' | '1.2' | '1.3';

/** For createSecureContext() and what is made from it. */
export function listenerTls(pair: KeyPair, minTls: TlsVersion): Record<string, string> {
  const isOld = minTls === '1.0' || minTls === '1.1';
  return {
    ...pair,
    minVersion: minTls === '1.0' ? 'TLSv1' : `TLSv${minTls}`,
    // OpenSSL refuses the old versions at its usual security level, whatever minVersion says.
    ...(isOld ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}),
  };
}

export interface TlsFailure extends Error {
  readonly code?: string | undefined;
}

/** A client that only knocks (a port scan, a health check) is refused nothing. */
export function isKnock(error: TlsFailure): boolean {
  return error.code === 'ECONNRESET' || /^Socket (?:closed|ended) /.test(error.message);
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

/** For the log: no reply can be said in the middle of a handshake. */
export function handshakeDetail({ message, code = '' }: TlsFailure, minTls: TlsVersion): string {
  const cause = CAUSES.find(([codes]) => codes.test(code))?.[1](minTls);
  return cause === undefined ? message : `${cause} (${message})`;
}
