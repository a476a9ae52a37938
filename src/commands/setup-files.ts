/**
 * The files that `setup` writes. None is ever written over: what is there stays, and what is new goes beside it under the
 * next free name. Secrets and keys can be read by their owner only. Throws CommandFault for what cannot be written.
 */
import { createHash, randomBytes, randomUUID, X509Certificate } from 'node:crypto';
import { chmod, constants, copyFile, link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { readPair } from '../tls/pair.ts';
import { makeCertificate } from '../tls/selfsigned.ts';
import { CommandFault, EXIT } from './outcome.ts';
import type { CertificateFacts } from './step.ts';

export interface Written {
  readonly file: string;
  /** kept: it was there with the same content. beside: another one has its name. */
  readonly how: 'written' | 'kept' | 'beside';
}

/** @param isSecret for its owner only */
export async function writeBeside(file: string, content: string, isSecret = false): Promise<Written> {
  const ending = extname(file);
  const stem = file.slice(0, file.length - ending.length);
  for (let number = 1; number < 1_000; number++) {
    const name = number === 1 ? file : `${stem}-${number}${ending}`;
    if (await isSame(name, content)) return { file: name, how: 'kept' };
    if (await writeNew(name, content, isSecret)) return { file: name, how: number === 1 ? 'written' : 'beside' };
  }
  throw new CommandFault(EXIT.failed, `${file} and 998 names like it are taken; take another folder with --folder`);
}

async function isSame(file: string, content: string): Promise<boolean> {
  try {
    return (await readFile(file, 'utf8')) === content;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw fault(file, error);
  }
}

/** Whole or not at all. @returns false: there is one already */
async function writeNew(file: string, content: string, isSecret: boolean): Promise<boolean> {
  const half = `${file}.${randomUUID()}`;
  try {
    await folderOf(file, isSecret);
    await writeFile(half, content, { flag: 'wx', mode: isSecret ? 0o600 : 0o644 });
    await inPlace(half, file);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw fault(file, error);
  } finally {
    await rm(half, { force: true });
  }
}

/** Fails if there is one already. Where a file system has no links, the copy may be seen half. */
async function inPlace(half: string, file: string): Promise<void> {
  try {
    await link(half, file);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') throw error;
    await copyFile(half, file, constants.COPYFILE_EXCL);
  }
}

/** Only the folder of a secret itself is closed to others, not what it lies in. */
async function folderOf(file: string, isSecret: boolean): Promise<void> {
  const folder = dirname(file);
  if (isSecret) await mkdir(dirname(folder), { recursive: true });
  await mkdir(folder, { recursive: true, ...(isSecret ? { mode: 0o700 } : {}) });
}

/** Two years: Entra ID takes more, but a key that is never renewed is one that nobody can renew. */
const YEARS = 2;
const DAY = 86_400_000;

export interface KeysMade {
  readonly facts: CertificateFacts;
  readonly isNew: boolean;
}

/** Takes the pair that is there, or makes one: RSA of 3072 bits, signed by itself. The key is never shown. */
export async function keyPairIn(folder: string, name: string, now: Date): Promise<KeysMade> {
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const [cert, key] = await Promise.all([textIn(certFile), textIn(keyFile)]);
  if (cert !== undefined && key !== undefined) {
    const pair = readPair(cert, key);
    if (!pair.ok) {
      const [first] = pair.faults;
      throw new CommandFault(
        EXIT.configuration,
        `${folder}: ${first?.file ?? ''} ${first?.problem ?? ''}; move the two away to have new ones made`,
      );
    }
    return { facts: factsOf(cert, certFile), isNew: false };
  }
  if (cert !== undefined || key !== undefined) {
    throw new CommandFault(
      EXIT.configuration,
      `${cert === undefined ? keyFile : certFile} is there, but not its other half; move it away to have a new pair made`,
    );
  }
  const notAfter = new Date(now);
  notAfter.setUTCFullYear(now.getUTCFullYear() + YEARS);
  const commonName = name.slice(0, 64);
  const made = await makeCertificate({
    commonName,
    keyType: 'rsa',
    keySize: 3072,
    // A clock that is a little behind must not refuse it.
    notBefore: new Date(now.getTime() - DAY),
    notAfter,
    use: 'client',
  });
  if (!(await writeNew(keyFile, made.key, true)) || !(await writeNew(certFile, made.cert, false)))
    throw new CommandFault(EXIT.temporary, `${folder}: something else makes a key pair there`);
  await chmod(keyFile, 0o600);
  return { facts: factsOf(made.cert, certFile), isNew: true };
}

/** Takes the console's token that is there, or makes one. It is not shown: whoever may read its file may use it. */
export async function consoleTokenIn(file: string): Promise<'made' | 'kept'> {
  return (await writeNew(file, `${randomBytes(24).toString('hex')}\n`, true)) ? 'made' : 'kept';
}

function factsOf(pem: string, file: string): CertificateFacts {
  const { raw, validTo } = new X509Certificate(pem);
  const digest = (name: string): string => createHash(name).update(raw).digest('hex').toUpperCase();
  return { file, thumbprint: digest('sha1'), sha256: digest('sha256'), notAfter: new Date(validTo) };
}

async function textIn(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw fault(file, error);
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

function fault(file: string, error: unknown): CommandFault {
  const why = error instanceof Error ? error.message : String(error);
  return new CommandFault(EXIT.failed, `${file} cannot be written or read: ${why}`, { cause: error });
}
