/**
 * The files that settings name: secrets, keys and certificates. A path is taken from the configuration's own folder. What
 * cannot be read or used is a value with a sentence; nothing of a file's content is ever in it.
 */
import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import { readCertificates, readPair, readPrivateKey } from '../tls/pair.ts';
import type { PairOf } from '../tls/pair.ts';
import { readPfx } from '../tls/pkcs12.ts';
import { Secret } from './secret.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

/** Octets; what is larger is not what was meant. */
const LARGEST = 1024 * 1024;

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
  if (!content.ok) return content;
  const read = readCertificates(content.value.toString('latin1'));
  return read.ok ? good(read.pem) : read;
}

export interface KeyPair {
  /** PEM; the owner's first, then those of its issuers. */
  readonly certificate: string;
  /** PEM (PKCS #8), not encrypted. */
  readonly privateKey: Secret;
}

/** Two of PEM, or one of PKCS #12. */
export type KeyPairFiles = (PemFiles | { readonly pfxFile: string }) & { readonly passphrase?: Secret };

interface PemFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** A fault names the setting that it concerns. */
export type KeyPairRead =
  | { readonly ok: true; readonly pair: KeyPair }
  | {
      readonly ok: false;
      readonly faults: readonly { file: 'certFile' | 'keyFile' | 'pfxFile'; problem: string; hint?: string }[];
    };

export async function readKeyPair(folder: string, files: KeyPairFiles, rsaOnly: boolean): Promise<KeyPairRead> {
  const passphrase = files.passphrase?.reveal();
  const isPfx = 'pfxFile' in files;
  const read = isPfx
    ? await readPfxFile(folder, files.pfxFile, passphrase)
    : await readPemFiles(folder, files, passphrase);
  if (!read.ok) return read;
  if (rsaOnly && read.key.asymmetricKeyType !== 'rsa') {
    const problem = `holds a key of type ${read.key.asymmetricKeyType}; Entra ID takes RSA keys only`;
    const hint = 'make a certificate with an RSA key of 2048 bits or more';
    return { ok: false, faults: [{ file: isPfx ? 'pfxFile' : 'keyFile', problem, hint }] };
  }
  return { ok: true, pair: { certificate: read.pair.cert, privateKey: new Secret(read.pair.key) } };
}

type Read = ({ readonly ok: true } & PairOf) | Extract<KeyPairRead, { ok: false }>;

async function readPfxFile(folder: string, name: string, passphrase: string | undefined): Promise<Read> {
  const content = await readNamed(folder, name);
  const read = content.ok ? await readPfx(content.value, passphrase) : content;
  return read.ok ? read : { ok: false, faults: [{ ...read, file: 'pfxFile' }] };
}

async function readPemFiles(folder: string, files: PemFiles, passphrase: string | undefined): Promise<Read> {
  const certFile = await readNamed(folder, files.certFile);
  const keyFile = await readNamed(folder, files.keyFile);
  if (!certFile.ok || !keyFile.ok) {
    // One of them: the other may have a fault too, which is to be told at the same time.
    const certificate = certFile.ok ? readCertificates(certFile.value.toString('latin1')) : certFile;
    const key = keyFile.ok ? readPrivateKey(keyFile.value.toString('latin1'), passphrase) : keyFile;
    return {
      ok: false,
      faults: [
        ...(certificate.ok ? [] : [{ ...certificate, file: 'certFile' as const }]),
        ...(key.ok ? [] : [{ ...key, file: 'keyFile' as const }]),
      ],
    };
  }
  return readPair(certFile.value.toString('latin1'), keyFile.value.toString('latin1'), passphrase);
}
