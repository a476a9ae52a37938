/** A folder with a configuration and the files it may name. Gone after the test file. */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { generate } from 'selfsigned';
import { afterAll } from 'vitest';

/** Whatever is secret in these tests holds this word, so that a look for it finds any leak. */
export const MARK = 'hunter2';

export interface Place {
  readonly folder: string;
  write(name: string, content: string | Uint8Array): string;
}

export function place(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'config-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return {
    folder,
    write(name, content) {
      const path = join(folder, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
      return path;
    },
  };
}

export interface Pems {
  readonly cert: string;
  readonly key: string;
  readonly ecCert: string;
  readonly ecKey: string;
  /** Of another certificate. */
  readonly otherKey: string;
  readonly encryptedKey: string;
  readonly passphrase: string;
}

export async function makePems(): Promise<Pems> {
  const subject = [{ name: 'commonName', value: 'config.test' }];
  const rsa = await generate(subject, { keySize: 2048, algorithm: 'sha256' });
  const ec = await generate(subject, { keyType: 'ec', algorithm: 'sha256' });
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const passphrase = `${MARK}-passphrase`;
  return {
    cert: rsa.cert,
    key: rsa.private,
    ecCert: ec.cert,
    ecKey: ec.private,
    otherKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    encryptedKey: encrypt(rsa.private, passphrase),
    passphrase,
  };
}

function encrypt(key: string, passphrase: string): string {
  return createPrivateKey(key).export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase }).toString();
}
