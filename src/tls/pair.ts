/**
 * Certificate and private key as read from files, checked to belong together. What cannot be used is a sentence that
 * holds nothing of the content. Pure; never throws.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { KeyPair } from './selfsigned.ts';

export type PairRead =
  | { readonly ok: true; readonly pair: KeyPair; readonly leaf: X509Certificate }
  | { readonly ok: false; readonly reason: string };

const BLOCK = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** @param certText PEM: the server's certificate first, then those of its issuers */
export function readPair(certText: string, keyText: string, passphrase?: string): PairRead {
  const blocks = certText.match(BLOCK) ?? [];
  const begun = certText.match(/-----BEGIN/g)?.length ?? 0;
  const ended = certText.match(/-----END [A-Z ]+-----/g)?.length ?? 0;
  // Half a chain is a certificate that some clients accept and others do not.
  if (begun !== ended) return bad('the certificate file is incomplete');
  const [first] = blocks;
  if (first === undefined) return bad('the certificate file holds no certificate in PEM form');
  for (const [index, block] of blocks.entries()) {
    if (parsed(block) === undefined) return bad(`certificate number ${index + 1} of its file is damaged`);
  }
  const leaf = parsed(first);
  const key = privateKey(keyText, passphrase);
  if (leaf === undefined || key === undefined) {
    return bad('the key file holds no private key in PEM form that can be read with the passphrase, if any, given');
  }
  if (!leaf.checkPrivateKey(key)) return bad('the private key does not belong to the certificate');
  const pem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { ok: true, pair: { cert: `${blocks.join('\n')}\n`, key: pem }, leaf };
}

function bad(reason: string): PairRead {
  return { ok: false, reason };
}

function parsed(block: string): X509Certificate | undefined {
  try {
    return new X509Certificate(block);
  } catch {
    return undefined;
  }
}

function privateKey(text: string, passphrase: string | undefined): KeyObject | undefined {
  try {
    return createPrivateKey({ key: text, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    return undefined;
  }
}
