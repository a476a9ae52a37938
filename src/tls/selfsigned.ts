/**
 * Makes certificates: the sandbox's, the one a listener shows if none is configured, and the one an app registration is
 * given by `setup`. The only file that knows the package `selfsigned`, which is loaded with the first certificate that is
 * made: most gateways never need it.
 */
import { isIP } from 'node:net';

export interface KeyPair {
  /** Certificate, PEM. */
  readonly cert: string;
  /** Private key, PEM, not encrypted. */
  readonly key: string;
}

export interface CertificateRequest {
  /** At most 64 characters (RFC 5280 appendix A.1, ub-common-name). */
  readonly commonName: string;
  /** ec: P-256. rsa: 2048 bits, which every old device can do, unless keySize says otherwise. */
  readonly keyType: 'ec' | 'rsa';
  /** Bits of an RSA key. */
  readonly keySize?: number;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** authority: signs others; server: is shown to clients; client: proves who one is, by signing. */
  readonly use: 'authority' | 'server' | 'client';
  /** DNS names and IP addresses of a server. */
  readonly names?: readonly string[];
  /** Default: signs itself. */
  readonly issuer?: KeyPair;
}

export async function makeCertificate(request: CertificateRequest): Promise<KeyPair> {
  const { generate } = await import('selfsigned');
  const { commonName, keyType, keySize, notBefore, notAfter, issuer } = request;
  const made = await generate([{ name: 'commonName', value: commonName }], {
    keyType,
    ...(keySize === undefined ? {} : { keySize }),
    algorithm: 'sha256',
    notBeforeDate: notBefore,
    notAfterDate: notAfter,
    extensions: { authority: AUTHORITY, client: CLIENT, server: server(request) }[request.use],
    ...(issuer === undefined ? {} : { ca: { key: issuer.key, cert: issuer.cert } }),
  });
  return { cert: withEnd(made.cert), key: withEnd(made.private) };
}

/** A text file ends with a line end, and PEM files can be put one behind the other. */
function withEnd(pem: string): string {
  return pem.endsWith('\n') ? pem : `${pem}\n`;
}

type Extensions = NonNullable<NonNullable<Parameters<typeof import('selfsigned').generate>[1]>['extensions']>;

const AUTHORITY: Extensions = [
  { name: 'basicConstraints', cA: true, critical: true },
  { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
];

const CLIENT: Extensions = [
  { name: 'basicConstraints', cA: false, critical: true },
  { name: 'keyUsage', digitalSignature: true, critical: true },
  { name: 'extKeyUsage', clientAuth: true },
];

function server({ keyType, names = [] }: CertificateRequest): Extensions {
  return [
    { name: 'basicConstraints', cA: false, critical: true },
    // Without the second, a client that still exchanges keys by RSA refuses the certificate.
    { name: 'keyUsage', digitalSignature: true, keyEncipherment: keyType === 'rsa', critical: true },
    { name: 'extKeyUsage', serverAuth: true },
    {
      name: 'subjectAltName',
      altNames: names.map((name) => (isIP(name) === 0 ? { type: 2, value: name } : { type: 7, ip: name })),
    },
  ];
}
