/** TLS of a listener: what the settings mean for OpenSSL, and what was negotiated. Fails only without a certificate. */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { handshakeDetail, isKnock as isSocketKnock, listenerTls } from '../tls/listening.ts';
import type { TlsFailure as SocketFailure } from '../tls/listening.ts';
import type { ListenerOptions } from './options.ts';
import type { Told } from './reply.ts';

/** @throws TypeError if there is TLS and no certificate */
export function tlsSettings({ tls, certificate, minTls }: ListenerOptions): Record<string, unknown> {
  if (tls === 'none') return {};
  if (certificate === undefined) throw new TypeError('a listener with TLS needs a certificate');
  return listenerTls(certificate.current(), minTls);
}

/** Protocol and cipher; the package knows only the protocol that first had the cipher. */
export function negotiated(socket: Socket): string | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  const { name, standardName } = socket.getCipher();
  return `${socket.getProtocol()} ${standardName ?? name}`;
}

/** As the package hands on what ended a handshake. */
export interface TlsFailure extends SocketFailure {
  readonly report?: boolean | undefined;
  readonly meta?: { readonly remoteAddress?: string | undefined } | undefined;
}

export function isKnock(error: TlsFailure): boolean {
  return error.report === false || isSocketKnock(error);
}

/** The operator of an old printer finds the reason in the log. */
export function handshake(error: TlsFailure, { minTls }: Pick<ListenerOptions, 'minTls'>): Told {
  return { refusal: 'tls', reply: 'TLS handshake failed', detail: handshakeDetail(error, minTls) };
}
