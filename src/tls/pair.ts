/**
 * Certificate and private key in PEM, as files hold them, checked to belong together: the one place where that is
 * decided, for the configuration and for listeners. What cannot be used is a value with a sentence that holds nothing of
 * the content. Pure; never throws.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { KeyPair } from './selfsigned.ts';

export interface Fault {
  readonly ok: false;
  /** The rest of a sentence that begins with the file. */
  readonly problem: string;
  /** What to do. */
  readonly hint?: string;
}

export type CertificatesRead =
  | {
      readonly ok: true;
      /** PEM, nothing but the certificates. */
      readonly pem: string;
      readonly first: X509Certificate;
    }
  | Fault;

export type PrivateKeyRead = { readonly ok: true; readonly key: KeyObject } | Fault;

export interface PairOf {
  /** The owner's certificate first, then those of its issuers. */
  readonly pair: KeyPair;
  readonly leaf: X509Certificate;
  readonly key: KeyObject;
}

export type PairRead =
  | ({ readonly ok: true } & PairOf)
  | { readonly ok: false; readonly faults: readonly (Fault & { readonly file: 'certFile' | 'keyFile' })[] };

const CERTIFICATES = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----/;
const KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----/;

/** @param certText the owner's certificate first, then those of its issuers */
export function readPair(certText: string, keyText: string, passphrase?: string): PairRead {
  const certificates = readCertificates(certText);
  const key = readPrivateKey(keyText, passphrase);
  if (!certificates.ok || !key.ok) {
    return {
      ok: false,
      faults: [
        ...(certificates.ok ? [] : [{ ...certificates, file: 'certFile' as const }]),
        ...(key.ok ? [] : [{ ...key, file: 'keyFile' as const }]),
      ],
    };
  }
  if (!certificates.first.checkPrivateKey(key.key)) {
    const fault = bad('does not belong to the first certificate of certFile', 'name the two that were made together');
    return { ok: false, faults: [{ ...fault, file: 'keyFile' }] };
  }
  const pem = key.key.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { ok: true, pair: { cert: certificates.pem, key: pem }, leaf: certificates.first, key: key.key };
}

/** One or more. */
export function readCertificates(text: string): CertificatesRead {
  const begun = text.match(/-----BEGIN/g)?.length ?? 0;
  const ended = text.match(/-----END [A-Z0-9 ]+-----/g)?.length ?? 0;
  // Half a chain is a certificate that some clients accept and others do not.
  if (begun !== ended) return bad('is incomplete: it ends within a certificate', 'copy it whole');
  const blocks = text.match(CERTIFICATES) ?? [];
  const read: X509Certificate[] = [];
  for (const [index, block] of blocks.entries()) {
    try {
      read.push(new X509Certificate(block));
    } catch {
      return bad(`holds a damaged certificate${blocks.length > 1 ? ` (number ${index + 1})` : ''}`);
    }
  }
  const [first] = read;
  if (first !== undefined) return { ok: true, pem: `${blocks.join('\n')}\n`, first };
  return bad(
    'holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)',
    KEY.test(text)
      ? 'it holds a private key; are certFile and keyFile swapped?'
      : 'openssl pkcs12 -in FILE.pfx -nokeys makes one of a .pfx file, openssl x509 -inform der -in FILE.cer of a .cer file',
  );
}

export function readPrivateKey(text: string, passphrase: string | undefined): PrivateKeyRead {
  if (!KEY.test(text)) {
    return bad(
      'holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)',
      CERTIFICATE.test(text)
        ? 'it holds a certificate; are certFile and keyFile swapped?'
        : 'a .pfx file is named in pfxFile',
    );
  }
  const isEncrypted = text.includes('ENCRYPTED');
  if (isEncrypted && passphrase === undefined)
    return bad('holds an encrypted key', 'add passphrase or passphraseFile, or store the key without encryption');
  try {
    return { ok: true, key: createPrivateKey({ key: text, ...(passphrase === undefined ? {} : { passphrase }) }) };
  } catch {
    return isEncrypted
      ? bad('holds an encrypted key that cannot be opened', 'is the passphrase right?')
      : bad('holds a damaged private key');
  }
}

export function bad(problem: string, hint?: string): Fault {
  return hint === undefined ? { ok: false, problem } : { ok: false, problem, hint };
}
