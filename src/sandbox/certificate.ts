/**
 * The sandbox's own certificates, made in memory: a CA and a server certificate under it for localhost, 127.0.0.1 and ::1.
 * Good for seven days from now and for nothing but loopback.
 */
import { randomBytes } from 'node:crypto';
import { makeCertificate } from '../tls/selfsigned.ts';

export interface Certificate {
  /** The CA's certificate, PEM: what a client has to trust. */
  readonly ca: string;
  /** The server's certificate, PEM. */
  readonly cert: string;
  /** The server's private key (EC P-256), PEM, unencrypted. */
  readonly key: string;
}

const DAY = 86_400_000;

export async function createCertificate(options: { readonly now?: () => number } = {}): Promise<Certificate> {
  const now = (options.now ?? Date.now)();
  const common = {
    keyType: 'ec',
    // A clock that is a little behind must not refuse it.
    notBefore: new Date(now - DAY),
    notAfter: new Date(now + 7 * DAY),
  } as const;
  // No two alike: a client that trusts the CA of an earlier run finds issuers by name and would take the wrong one.
  const commonName = `smtp2exchange sandbox CA ${randomBytes(4).toString('hex')}`;
  const ca = await makeCertificate({ ...common, commonName, use: 'authority' });
  const names = ['localhost', '127.0.0.1', '::1'];
  const server = await makeCertificate({ ...common, commonName: 'localhost', use: 'server', names, issuer: ca });
  return { ca: ca.cert, cert: server.cert, key: server.key };
}
