/**
 * PKCS #12 (.pfx, .p12; RFC 7292): a certificate with its private key and its issuers in one file. The only file that knows
 * the package `node-forge`, which is loaded with the first such file: most gateways have none. Reads what Windows and
 * OpenSSL write, today (AES) and formerly (3DES, RC2). What cannot be used is a value with a sentence that holds nothing
 * of the content. Never throws.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { asn1, pkcs12 } from 'node-forge';
import type { Fault, PairOf } from './pair.ts';
import { bad } from './pair.ts';

export type PfxRead = ({ readonly ok: true } & PairOf) | Fault;

type Forge = typeof import('node-forge');

const NONE = 'is no PKCS #12 file (.pfx, .p12), or a damaged one';
const TO_PEM = 'openssl pkcs12 -in FILE.pfx -nodes makes PEM of it, for certFile and keyFile';
/** The words of the package, which has no codes. */
const WRONG_MAC = /MAC could not be verified/;
const NOT_DECRYPTED = /Failed to decrypt|Unable to decrypt/;
const UNKNOWN = /unsupported|unknown|unavailable|not supported|only .+ supported/i;

/** @param passphrase undefined: none was given; the file may be without one */
export async function readPfx(content: Buffer, passphrase: string | undefined): Promise<PfxRead> {
  if (content.subarray(0, 64).includes('-----BEGIN'))
    return bad('is PEM, not PKCS #12', 'name it in certFile and keyFile instead');
  const { default: forge } = await import('node-forge');
  const opened = open(forge, content, passphrase);
  if (!opened.ok) return opened;
  try {
    return pairIn(forge, opened.bags);
  } catch {
    return bad('holds a damaged certificate or private key');
  }
}

type Opened = { readonly ok: true; readonly bags: readonly pkcs12.Bag[] } | Fault;

function open(forge: Forge, content: Buffer, passphrase: string | undefined): Opened {
  let outer: asn1.Asn1;
  try {
    outer = forge.asn1.fromDer(content.toString('latin1'), true);
  } catch {
    return bad(NONE);
  }
  // Without a passphrase may mean an empty one, or none at all: two different keys.
  const first = attempt(forge, outer, passphrase ?? '');
  const read = passphrase === undefined && typeof first === 'string' ? attempt(forge, outer, undefined) : first;
  if (typeof read !== 'string') return { ok: true, bags: read };
  if (WRONG_MAC.test(read) || NOT_DECRYPTED.test(read)) {
    return passphrase === undefined
      ? bad('needs a passphrase', 'add passphrase or passphraseFile')
      : bad('cannot be opened', 'is the passphrase right?');
  }
  return UNKNOWN.test(read) ? bad('is of a kind that cannot be read here', TO_PEM) : bad(NONE);
}

/** @returns what it holds, or why it cannot be read in the words of the package */
function attempt(forge: Forge, outer: asn1.Asn1, passphrase: string | undefined): readonly pkcs12.Bag[] | string {
  const read = (of: asn1.Asn1, by: string | undefined): readonly pkcs12.Bag[] | string => {
    try {
      return forge.pkcs12.pkcs12FromAsn1(of, false, by).safeContents.flatMap(({ safeBags }) => safeBags);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
  const bags = read(outer, passphrase);
  const octets = Buffer.from(passphrase ?? '', 'utf8').toString('latin1');
  if (typeof bags !== 'string' || WRONG_MAC.test(bags) || octets === passphrase || !Array.isArray(outer.value))
    return bags;
  // Beyond ASCII a passphrase is UTF-16 for the integrity code, which was found right, and UTF-8 for AES (RFC 8018
  // section 3). The package knows one form only.
  const again = read({ ...outer, value: outer.value.slice(0, 2) }, octets);
  return typeof again === 'string' ? bags : again;
}

function pairIn(forge: Forge, bags: readonly pkcs12.Bag[]): PfxRead {
  const { certBag, keyBag, pkcs8ShroudedKeyBag } = forge.pki.oids;
  const keys = bags.filter(({ type }) => type === keyBag || type === pkcs8ShroudedKeyBag);
  const certificates = bags.filter(({ type }) => type === certBag).map((bag) => certificateIn(forge, bag));
  const [only] = keys;
  if (only === undefined) return bad('holds no private key', 'export the certificate again, with its private key');
  if (keys.length > 1)
    return bad(`holds ${keys.length} private keys`, 'export the certificate that is meant alone, with its private key');
  if (certificates.length === 0) return bad('holds no certificate', 'export it together with its private key');
  const key = keyIn(forge, only);
  // Renewed with the same key, both may be there.
  const [leaf] = certificates
    .filter((one) => one.checkPrivateKey(key))
    .toSorted((a, b) => b.validToDate.getTime() - a.validToDate.getTime());
  if (leaf === undefined)
    return bad('holds no certificate for its private key', 'export the two that were made together');
  const cert = chainOf(leaf, certificates).map((one) => one.toString());
  return { ok: true, pair: { cert: cert.join(''), key: pemOf(key) }, leaf, key };
}

/** The leaf, then who issued it, and so on. What belongs to none of them is left out. */
function chainOf(leaf: X509Certificate, others: readonly X509Certificate[]): readonly X509Certificate[] {
  const chain = [leaf];
  for (let last: X509Certificate | undefined = leaf; last !== undefined;) {
    const issued: X509Certificate = last;
    last = others.find(
      (one) =>
        !chain.some(({ fingerprint256 }) => fingerprint256 === one.fingerprint256) &&
        issued.checkIssued(one) &&
        issued.verify(one.publicKey),
    );
    if (last !== undefined) chain.push(last);
  }
  return chain;
}

/** The package takes apart what it knows, and hands out as it is what it does not: elliptic curves. */
function certificateIn(forge: Forge, { cert, asn1: raw }: pkcs12.Bag): X509Certificate {
  return new X509Certificate(der(forge, cert ? forge.pki.certificateToAsn1(cert) : raw));
}

function keyIn(forge: Forge, { key, asn1: raw }: pkcs12.Bag): KeyObject {
  return key
    ? createPrivateKey({ key: der(forge, forge.pki.privateKeyToAsn1(key)), format: 'der', type: 'pkcs1' })
    : createPrivateKey({ key: der(forge, raw), format: 'der', type: 'pkcs8' });
}

function der(forge: Forge, structure: asn1.Asn1): Buffer {
  return Buffer.from(forge.asn1.toDer(structure).getBytes(), 'latin1');
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}
