/** PKCS #12 files as OpenSSL writes them in the forms of today and of old Windows; throw-away/make.sh makes them anew. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import forge from 'node-forge';
import { describe, expect, it } from 'vitest';
import { readPfx } from '../../src/tls/pkcs12.ts';

const at = (name: string): Buffer => readFileSync(join(import.meta.dirname, 'throw-away', name));
const pem = (name: string): X509Certificate => new X509Certificate(at(name));
const PASSPHRASE = 'throw-away';
const BEYOND_ASCII = 'pässwörd €';

function certificatesIn(text: string): (string | undefined)[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----\n/g) ?? [];
  expect(blocks.join('')).toBe(text);
  return blocks.map((block) => new X509Certificate(block).fingerprint256);
}

/** One file with what several hold, which are neither encrypted nor signed. */
function together(...names: string[]): Buffer {
  const { Class, Type, create, fromDer, toDer } = forge.asn1;
  const under = ({ value }: forge.asn1.Asn1, index: number): forge.asn1.Asn1 => {
    const found = typeof value === 'string' ? undefined : value[index];
    if (found === undefined) throw new Error('not as these files are');
    return found;
  };
  // Of a PFX the authSafe, of that the content, of that the octets: a list of safes.
  const octets = (pfx: forge.asn1.Asn1): forge.asn1.Asn1 => under(under(under(pfx, 1), 1), 0);
  const [first, ...others] = names.map((name) => fromDer(at(name).toString('latin1')));
  if (first === undefined) throw new Error('of nothing');
  const safes = [first, ...others].flatMap((file) => fromDer(String(octets(file).value)).value as forge.asn1.Asn1[]);
  octets(first).value = toDer(create(Class.UNIVERSAL, Type.SEQUENCE, true, safes)).getBytes();
  return Buffer.from(toDer(first).getBytes(), 'latin1');
}

describe('a PKCS #12 file', () => {
  it.each([
    ['aes-256.pfx', PASSPHRASE],
    ['aes-256-beyond-ascii.pfx', BEYOND_ASCII],
    ['aes-128-sha-512.pfx', PASSPHRASE],
    ['rc2-3des.pfx', PASSPHRASE],
    ['3des-beyond-ascii.pfx', BEYOND_ASCII],
    ['without-mac.pfx', PASSPHRASE],
    ['empty-passphrase.pfx', ''],
    ['empty-passphrase.pfx', undefined],
    ['part-leaf.pfx', undefined],
  ])('is read: %s, passphrase %j', async (name, passphrase) => {
    const read = await readPfx(at(name), passphrase);
    if (!read.ok) throw new Error(read.problem);
    expect(read.leaf.fingerprint256).toBe(pem('leaf.pem').fingerprint256);
    expect(read.pair.key).toBe(createPrivateKey(at('leaf-key.pem')).export({ type: 'pkcs8', format: 'pem' }));
    expect(certificatesIn(read.pair.cert)[0]).toBe(read.leaf.fingerprint256);
  });

  it('without any passphrase is read, which is not the empty one', async () => {
    const key = forge.pki.privateKeyFromPem(at('leaf-key.pem').toString());
    const certificate = forge.pki.certificateFromPem(at('leaf.pem').toString());
    const made = forge.pkcs12.toPkcs12Asn1(key, [certificate], null as unknown as string, { algorithm: '3des' });
    const content = Buffer.from(forge.asn1.toDer(made).getBytes(), 'latin1');
    expect(await readPfx(content, undefined)).toMatchObject({ ok: true });
  });

  it.each(['aes-256.pfx', 'rc2-3des.pfx'])(
    'gives the issuers after the certificate, in their order: %s',
    async (name) => {
      const read = await readPfx(at(name), PASSPHRASE);
      const chain = ['leaf.pem', 'issuer.pem', 'root.pem'].map((one) => pem(one).fingerprint256);
      expect(read.ok && certificatesIn(read.pair.cert)).toEqual(chain);
    },
  );

  it('leaves out certificates that have nothing to do with it', async () => {
    const read = await readPfx(together('part-certificate.pfx', 'part-leaf.pfx'), undefined);
    expect(read.ok && certificatesIn(read.pair.cert)).toEqual([pem('leaf.pem').fingerprint256]);
  });

  it('may hold a key on an elliptic curve', async () => {
    const read = await readPfx(at('curve.pfx'), PASSPHRASE);
    expect(read.ok && [read.key.asymmetricKeyType, read.leaf.fingerprint256]).toEqual([
      'ec',
      pem('curve.pem').fingerprint256,
    ]);
  });
});

describe('what cannot be used is told', () => {
  const whole = at('aes-256.pfx');
  const turned = Buffer.from(whole);
  turned[1000] = (turned[1000] ?? 0) ^ 1;
  it.each<[string, Buffer, string | undefined, string, string?]>([
    ['wrong passphrase, AES', whole, 'wrong', 'cannot be opened', 'is the passphrase right?'],
    ['wrong passphrase, 3DES', at('rc2-3des.pfx'), 'wrong', 'cannot be opened', 'is the passphrase right?'],
    ['wrong passphrase, no MAC', at('without-mac.pfx'), 'wröng', 'cannot be opened', 'is the passphrase right?'],
    ['passphrase for a file without', at('empty-passphrase.pfx'), 'x', 'cannot be opened', 'is the passphrase right?'],
    ['no passphrase', whole, undefined, 'needs a passphrase', 'add passphrase or passphraseFile'],
    ['a changed octet', turned, PASSPHRASE, 'cannot be opened', 'is the passphrase right?'],
    ['half a file', whole.subarray(0, 1500), PASSPHRASE, 'is no PKCS #12 file (.pfx, .p12), or a damaged one'],
    ['something else', Buffer.from('hello'), PASSPHRASE, 'is no PKCS #12 file (.pfx, .p12), or a damaged one'],
    ['a certificate', pem('leaf.pem').raw, PASSPHRASE, 'is no PKCS #12 file (.pfx, .p12), or a damaged one'],
    ['PEM', at('leaf.pem'), PASSPHRASE, 'is PEM, not PKCS #12', 'name it in certFile and keyFile instead'],
    [
      'a cipher that is not known',
      at('camellia.pfx'),
      PASSPHRASE,
      'is of a kind that cannot be read here',
      'openssl pkcs12 -in FILE.pfx -nodes makes PEM of it, for certFile and keyFile',
    ],
    [
      'no key',
      at('without-key.pfx'),
      PASSPHRASE,
      'holds no private key',
      'export the certificate again, with its private key',
    ],
    [
      'no certificate',
      at('without-certificate.pfx'),
      PASSPHRASE,
      'holds no certificate',
      'export it together with its private key',
    ],
    [
      'two keys',
      together('part-leaf.pfx', 'part-key.pfx'),
      undefined,
      'holds 2 private keys',
      'export the certificate that is meant alone, with its private key',
    ],
    [
      'the certificate of another key',
      together('part-key.pfx', 'part-certificate.pfx'),
      undefined,
      'holds no certificate for its private key',
      'export the two that were made together',
    ],
  ])('%s', async (_what, content, passphrase, problem, hint) => {
    expect(await readPfx(content, passphrase)).toEqual({ ok: false, problem, ...(hint !== undefined && { hint }) });
  });

  it('wherever the file ends', async () => {
    for (let length = 0; length < whole.length; length += 97) {
      const read = await readPfx(whole.subarray(0, length), PASSPHRASE);
      expect(read.ok).toBe(false);
    }
  });
});
