/**
 * The sandbox's own certificates, made in memory: a CA and a server certificate under it for localhost, 127.0.0.1 and ::1.
 * Good for seven days from now and for nothing but loopback. The only file that knows the package `selfsigned`.
 */
import { randomBytes } from 'node:crypto';
import { generate } from 'selfsigned';

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
    algorithm: 'sha256',
    // A clock that is a little behind must not refuse it.
    notBeforeDate: new Date(now - DAY),
    notAfterDate: new Date(now + 7 * DAY),
  } as const;
  // No two alike: a client that trusts the CA of an earlier run finds issuers by name and would take the wrong one.
  const name = `smtp2exchange sandbox CA ${randomBytes(4).toString('hex')}`;
  const ca = await generate([{ name: 'commonName', value: name }], {
    ...common,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  const server = await generate([{ name: 'commonName', value: 'localhost' }], {
    ...common,
    ca: { key: ca.private, cert: ca.cert },
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'localhost' },
          { type: 7, ip: '127.0.0.1' },
          { type: 7, ip: '::1' },
        ],
      },
    ],
  });
  return { ca: ca.cert, cert: server.cert, key: server.private };
}
