/**
 * The application's own credential, checked before it is used: what is wrong with a key or certificate is said at the
 * start in words, not by the identity server hours later. No message ever holds a part of the secret or key.
 */
import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';

export type Credential =
  | { readonly kind: 'secret'; readonly secret: string }
  | {
      readonly kind: 'certificate';
      /** PEM; of a chain the first one counts. */
      readonly certificate: string;
      /** PEM, RSA. */
      readonly privateKey: string;
      readonly passphrase?: string;
    }
  | UncheckedCredential;

/** What only the server can check. */
type UncheckedCredential =
  /** Of Azure; without clientId the one that the machine has of itself. */
  | { readonly kind: 'managedIdentity'; readonly clientId?: string }
  /** tokenFile holds the token of another identity provider, which the app registration trusts. */
  | { readonly kind: 'workloadIdentity'; readonly tokenFile: string };

/** A credential that was checked, in the form the token request needs. */
export type CheckedCredential =
  | { readonly kind: 'secret'; readonly secret: string }
  | {
      readonly kind: 'certificate';
      /** SHA-256 of the certificate, hexadecimal without colons. */
      readonly thumbprint: string;
      /** PKCS #8 PEM, not encrypted. */
      readonly privateKey: string;
      /** Epoch milliseconds. */
      readonly expiresAt: number;
    }
  | UncheckedCredential;

export type CredentialCheck =
  { readonly ok: true; readonly credential: CheckedCredential } | { readonly ok: false; readonly fault: string };

/** A new certificate may be ahead of this machine's clock by this much, milliseconds. */
const SKEW = 300_000;

const fail = (fault: string): CredentialCheck => ({ ok: false, fault });

export function checkCredential(credential: Credential, now: number = Date.now()): CredentialCheck {
  if (credential.kind === 'managedIdentity' || credential.kind === 'workloadIdentity') return { ok: true, credential };
  if (credential.kind === 'secret') {
    const { secret } = credential;
    if (secret.trim() === '')
      return fail('the client secret is empty; set it to the Value of a secret of the app registration');
    if (secret !== secret.trim())
      return fail('the client secret begins or ends with white space; remove it (a line end in the file?)');
    return { ok: true, credential };
  }
  const certificate = readCertificate(credential.certificate);
  if (typeof certificate === 'string') return fail(certificate);
  const key = readKey(credential.privateKey, credential.passphrase);
  if (typeof key === 'string') return fail(key);
  if (key.asymmetricKeyType !== 'rsa') {
    return fail(
      `the private key is of type ${key.asymmetricKeyType}; Entra ID takes RSA keys only, make a certificate with an RSA key of 2048 bits or more`,
    );
  }
  if (!certificate.checkPrivateKey(key))
    return fail('the private key does not belong to the certificate; give the two that were made together');
  const from = Date.parse(certificate.validFrom);
  const expiresAt = Date.parse(certificate.validTo);
  if (expiresAt <= now)
    return fail(`the certificate expired on ${day(expiresAt)}; make a new one and upload it to the app registration`);
  if (from > now + SKEW) return fail(`the certificate is not valid before ${day(from)}; check this machine's clock`);
  return {
    ok: true,
    credential: {
      kind: 'certificate',
      thumbprint: certificate.fingerprint256.replaceAll(':', ''),
      privateKey: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
      expiresAt,
    },
  };
}

/** YYYY-MM-DD of epoch milliseconds. */
export function day(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

/** What is wrong with a credential, or undefined. */
export function validateCredential(credential: Credential, now?: number): string | undefined {
  const checked = checkCredential(credential, now);
  return checked.ok ? undefined : checked.fault;
}

function readCertificate(pem: string): X509Certificate | string {
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    return 'the certificate is not PEM; it must begin with -----BEGIN CERTIFICATE----- (openssl pkcs12 -in file.pfx -nokeys makes it from a .pfx file)';
  }
  try {
    return new X509Certificate(pem.slice(pem.indexOf('-----BEGIN CERTIFICATE-----')));
  } catch {
    return 'the certificate is damaged; its PEM cannot be read';
  }
}

function readKey(pem: string, passphrase: string | undefined): KeyObject | string {
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) {
    return 'the private key is not PEM; it must hold -----BEGIN PRIVATE KEY----- (openssl pkcs12 -in file.pfx -nocerts makes it from a .pfx file)';
  }
  const encrypted = pem.includes('ENCRYPTED');
  if (encrypted && (passphrase === undefined || passphrase === ''))
    return 'the private key is encrypted and no passphrase is given; set one, or store the key unencrypted';
  try {
    return createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    return encrypted
      ? 'the private key cannot be decrypted; the passphrase is wrong or the file is damaged'
      : 'the private key is damaged; its PEM cannot be read';
  }
}
