/**
 * Passwords of SMTP users: scrypt (RFC 7914) as `$scrypt$ln=15,r=8,p=1$salt$hash`, salt and hash in base64 without
 * padding. Comparing takes the same time whether the user exists or not. A password that was right is remembered for a
 * minute as a keyed digest, so that a program that logs in for every mail does not cost a core.
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
const FORM = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/;

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_OCTETS);
  const hash = await derive(password, salt, HASH_OCTETS, LOG_COST, BLOCK, PARALLEL);
  return `$scrypt$ln=${LOG_COST},r=${BLOCK},p=${PARALLEL}$${unpadded(salt)}$${unpadded(hash)}`;
}

/** False for a hash of another form. */
export async function verifyPassword(password: string, hash: string): Promise<boolean> {
  const parts = FORM.exec(hash);
  if (parts === null) return false;
  const [, cost, block, parallel, salt = '', expected = ''] = parts;
  const wanted = Buffer.from(expected, 'base64');
  const got = await derive(
    password,
    Buffer.from(salt, 'base64'),
    wanted.length,
    Number(cost),
    Number(block),
    Number(parallel),
  );
  return timingSafeEqual(got, wanted);
}

function derive(
  password: string,
  salt: Buffer,
  length: number,
  cost: number,
  block: number,
  parallel: number,
): Promise<Buffer> {
  const N = 2 ** cost;
  return scrypt(password.normalize('NFC'), salt, length, { N, r: block, p: parallel, maxmem: 256 * N * block });
}

const unpadded = (octets: Buffer): string => octets.toString('base64').replace(/=+$/, '');

/** @param users name -> hash */
export function passwordCheck(
  users: ReadonlyMap<string, string>,
  now: () => number,
): (user: string, password: string) => Promise<boolean> {
  const key = randomBytes(32);
  const known = new Map<string, number>();
  let stranger: Promise<string> | undefined;
  return async (user, password) => {
    const hash = users.get(user);
    const digest = createHmac('sha256', key).update(`${user.length}:${user}${password}`).digest('base64');
    const until = known.get(digest);
    if (hash !== undefined && until !== undefined && now() < until) return true;
    // Somebody unknown is worked on as long as somebody known.
    stranger ??= hashPassword(randomBytes(16).toString('hex'));
    const right = await verifyPassword(password, hash ?? (await stranger));
    if (!right || hash === undefined) return false;
    if (known.size >= MOST_REMEMBERED) known.clear();
    known.set(digest, now() + REMEMBERED);
    return true;
  };
}
