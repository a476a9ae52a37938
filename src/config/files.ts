/**
 * The files that settings name: secrets, keys and certificates. A path is taken from the configuration's own folder. What
 * cannot be read or used is a value with a sentence; nothing of a file's content is ever in it.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import { Secret } from './secret.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

/** Octets; what is larger is not what was meant. */
const LARGEST = 1024 * 1024;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/;
const KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----/;

/** The file's octets, at least one. */
export async function readNamed(folder: string, name: string): Promise<Value<Buffer>> {
  // The name is not shown: people put a secret where the name of its file belongs.
  const where = isAbsolute(name) ? undefined : `it is looked for in ${folder}`;
  const path = resolve(folder, name);
  try {
    const found = await stat(path);
    if (found.isDirectory()) return bad('is a folder, not a file', where);
    if (found.size > LARGEST) return bad('is larger than 1 MiB', 'this must be another file');
    const content = await readFile(path);
    return content.length === 0 ? bad('is an empty file', where) : good(content);
  } catch (error) {
    return bad(whyUnreadable(error), where);
  }
}

/** What an error of the file system means for the person who named the file. */
export function whyUnreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN';
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'there is no such file';
    case 'EACCES':
    case 'EPERM':
      return 'may not be read by the user this program runs as';
    case 'EISDIR':
      return 'is a folder, not a file';
    default:
      return `cannot be read: ${code}`;
  }
}

/** One line; a line end after it does not count. */
export async function readSecret(folder: string, name: string): Promise<Value<Secret>> {
  const content = await readNamed(folder, name);
  if (!content.ok) return content;
  const text = content.value
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .replace(/\r?\n$/, '');
  if (text.trim() === '') return bad('is a file with nothing but white space in it');
  if (/[\r\n\0]/.test(text)) return bad('must hold one line with nothing but the secret');
  return good(new Secret(text));
}

/** PEM of one or more certificates. */
export async function readAuthorities(folder: string, name: string): Promise<Value<string>> {
  const content = await readNamed(folder, name);
  return content.ok ? certificatesIn(content.value.toString('latin1')) : content;
}

export interface KeyPair {
  /** PEM; the owner's first, then those of its issuers. */
  readonly certificate: string;
  /** PEM (PKCS #8), not encrypted. */
  readonly privateKey: Secret;
}

export interface KeyPairFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly passphrase?: Secret;
}

/** A fault names the setting that it concerns. */
export type KeyPairRead =
  | { readonly ok: true; readonly pair: KeyPair }
  | { readonly ok: false; readonly faults: readonly { key: 'certFile' | 'keyFile'; problem: string; hint?: string }[] };

export async function readKeyPair(folder: string, files: KeyPairFiles, rsaOnly: boolean): Promise<KeyPairRead> {
  const certFile = await readNamed(folder, files.certFile);
  const keyFile = await readNamed(folder, files.keyFile);
  const certificate = certFile.ok ? certificatesIn(certFile.value.toString('latin1')) : certFile;
  const key = keyFile.ok ? privateKeyIn(keyFile.value.toString('latin1'), files.passphrase) : keyFile;
  if (!certificate.ok || !key.ok) {
    return {
      ok: false,
      faults: [
        ...(certificate.ok ? [] : [{ ...certificate, key: 'certFile' as const }]),
        ...(key.ok ? [] : [{ ...key, key: 'keyFile' as const }]),
      ],
    };
  }
  const fault = keyFault(certificate.value, key.value, rsaOnly);
  if (fault !== undefined) return { ok: false, faults: [{ key: 'keyFile', ...fault }] };
  const privateKey = new Secret(key.value.export({ type: 'pkcs8', format: 'pem' }).toString());
  return { ok: true, pair: { certificate: certificate.value, privateKey } };
}

function keyFault(
  certificate: string,
  key: KeyObject,
  rsaOnly: boolean,
): { problem: string; hint: string } | undefined {
  if (!new X509Certificate(certificate).checkPrivateKey(key)) {
    return {
      problem: 'does not belong to the first certificate of certFile',
      hint: 'name the two that were made together',
    };
  }
  if (rsaOnly && key.asymmetricKeyType !== 'rsa') {
    return {
      problem: `holds a key of type ${key.asymmetricKeyType}; Entra ID takes RSA keys only`,
      hint: 'make a certificate with an RSA key of 2048 bits or more',
    };
  }
  return undefined;
}

function certificatesIn(text: string): Value<string> {
  const blocks = text.match(new RegExp(CERTIFICATE, 'g'));
  if (blocks === null) {
    return bad(
      'holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)',
      KEY.test(text)
        ? 'it holds a private key; are certFile and keyFile swapped?'
        : 'openssl pkcs12 -in FILE.pfx -nokeys makes one of a .pfx file, openssl x509 -inform der -in FILE.cer of a .cer file',
    );
  }
  for (const [index, block] of blocks.entries()) {
    try {
      void new X509Certificate(block).serialNumber;
    } catch {
      return bad(`holds a damaged certificate${blocks.length > 1 ? ` (number ${index + 1})` : ''}`);
    }
  }
  return good(`${blocks.join('\n')}\n`);
}

function privateKeyIn(text: string, passphrase: Secret | undefined): Value<KeyObject> {
  if (!KEY.test(text)) {
    return bad(
      'holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)',
      CERTIFICATE.test(text)
        ? 'it holds a certificate; are certFile and keyFile swapped?'
        : 'openssl pkcs12 -in FILE.pfx -nocerts -nodes makes one of a .pfx file',
    );
  }
  const encrypted = text.includes('ENCRYPTED');
  if (encrypted && passphrase === undefined) {
    return bad('holds an encrypted key', 'add passphrase or passphraseFile, or store the key without encryption');
  }
  try {
    return good(
      createPrivateKey({ key: text, ...(passphrase === undefined ? {} : { passphrase: passphrase.reveal() }) }),
    );
  } catch {
    return encrypted
      ? bad('holds an encrypted key that cannot be opened', 'is the passphrase right?')
      : bad('holds a damaged private key');
  }
}
