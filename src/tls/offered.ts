/**
 * The certificate that a server offered, for the operator who has to decide whether to trust its issuer: something in
 * between may have put its own there. Never fails.
 */
import type { PeerCertificate, TLSSocket } from 'node:tls';

export interface OfferedCertificate {
  readonly subject: string;
  readonly issuer: string;
  /** As the certificate writes it. */
  readonly validTo: string;
}

/** To be called before the handshake. @returns what the server has shown so far: after a failed check the socket no longer knows */
export function watchOffered(socket: TLSSocket): () => OfferedCertificate | undefined {
  let certificate: OfferedCertificate | undefined;
  socket.prependListener('secure', () => void (certificate = read(socket.getPeerCertificate())));
  return () => certificate;
}

/** For the middle of a sentence; nothing where nothing was shown. */
export function offeredInWords(offered: OfferedCertificate | undefined): string {
  if (offered === undefined) return '';
  const { subject, issuer, validTo } = offered;
  return `; the certificate offered is for "${subject}", issued by "${issuer}", valid to ${validTo}`;
}

function read(peer: PeerCertificate): OfferedCertificate | undefined {
  if (peer.subject === undefined) return undefined;
  return { subject: nameIn(peer.subject), issuer: nameIn(peer.issuer), validTo: peer.valid_to };
}

/** One line, bounded: whoever made the certificate chose it. */
function nameIn(fields: PeerCertificate['subject']): string {
  return String(fields.CN ?? fields.O ?? 'unnamed')
    .replace(/[\p{C}\s]+/gu, ' ')
    .slice(0, 200);
}
