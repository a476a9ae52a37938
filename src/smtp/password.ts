/**
 * Passwords of SMTP users: scrypt (RFC 7914) as `$scrypt$ln=15,r=8,p=1$salt$hash`, salt and hash in base64. Comparing
 * takes the same time whether the user exists or not. A password that was right is remembered for a minute as a keyed
 * digest, so that a program that logs in for every mail does not cost a core.
 */
import { createHmac, randomBytes, scrypt as scryptCallback, timingSafeEqual } from 'node:crypto';
import type { ScryptOptions } from 'node:crypto';
import { promisify } from 'node:util';

const scrypt = promisify<string, Buffer, number, ScryptOptions, Buffer>(scryptCallback);

const LOG_COST = 15;
const BLOCK = 8;
const PARALLEL = 1;
const SALT_OCTETS = 16;
const HASH_OCTETS = 32;
const REMEMBERED = 60_000;
const MOST_REMEMBERED = 1_000;
/** Shorter ones could be met by chance; an empty one is equal to any. */
const LEAST_OCTETS = 12;
/** 1 GiB at the usual block size; more is a slip of the pen. */
const MOST_LOG_COST = 20;
const FORM = /^\$scrypt\$ln=(\d{1,2}),r=([1-9]\d?),p=([1-9]\d?)\$([\w+/-]+)={0,2}\$([\w+/-]+)={0,2}$/;

interface Hash {
  readonly logCost: number;
  readonly block: number;
  readonly parallel: number;
  readonly salt: Buffer;
  readonly octets: Buffer;
}

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_OCTETS);
  const hash = { logCost: LOG_COST, block: BLOCK, parallel: PARALLEL, salt };
  return written(salt, await derive(password, hash, HASH_OCTETS));
}

/** False for a hash of another form. */
export async function verifyPassword(password: string, hash: string): Promise<boolean> {
  const read = readHash(hash);
  return read !== undefined && (await matches(password, read));
}

async function matches(password: string, hash: Hash): Promise<boolean> {
  return timingSafeEqual(await derive(password, hash, hash.octets.length), hash.octets);
}

function readHash(text: string): Hash | undefined {
  const parts = FORM.exec(text);
  if (parts === null) return undefined;
  const [, logCost, block, parallel, salt = '', octets = ''] = parts;
  const hash: Hash = {
    logCost: Number(logCost),
    block: Number(block),
    parallel: Number(parallel),
    salt: Buffer.from(salt, 'base64'),
    octets: Buffer.from(octets, 'base64'),
  };
  const isSound = hash.logCost >= 1 && hash.logCost <= MOST_LOG_COST && hash.octets.length >= LEAST_OCTETS;
  return isSound ? hash : undefined;
}

function derive(password: string, hash: Omit<Hash, 'octets'>, length: number): Promise<Buffer> {
  const { logCost, block: r, parallel: p, salt } = hash;
  const N = 2 ** logCost;
  // What RFC 7914 needs, and as much again.
  const maxmem = 256 * r * (N + p + 2);
  return scrypt(password.normalize('NFC'), salt, length, { N, r, p, maxmem });
}

function written(salt: Buffer, octets: Buffer): string {
  return `$scrypt$ln=${LOG_COST},r=${BLOCK},p=${PARALLEL}$${unpadded(salt)}$${unpadded(octets)}`;
}

const unpadded = (octets: Buffer): string => octets.toString('base64').replace(/=+$/, '');

/** @param users name -> hash */
export function passwordCheck(
  users: ReadonlyMap<string, string>,
  now: () => number,
): (user: string, password: string) => Promise<boolean> {
  const key = randomBytes(32);
  const known = new Map<string, number>();
  // No password has this hash. Whoever is unknown is worked on with it, as long as somebody known.
  const stranger: Hash = {
    logCost: LOG_COST,
    block: BLOCK,
    parallel: PARALLEL,
    salt: randomBytes(SALT_OCTETS),
    octets: randomBytes(HASH_OCTETS),
  };
  const hashes = new Map([...users].map(([user, hash]) => [user, readHash(hash)]));
  return async (user, password) => {
    const hash = hashes.get(user);
    const digest = createHmac('sha256', key).update(`${user.length}:${user}${password}`).digest('base64');
    const until = known.get(digest);
    if (until !== undefined && now() < until) return true;
    const right = await matches(password, hash ?? stranger);
    if (!right || hash === undefined) return false;
    if (known.size >= MOST_REMEMBERED) known.clear();
    known.set(digest, now() + REMEMBERED);
    return true;
  };
}
