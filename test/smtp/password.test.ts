/** Passwords: what verifies, what never does, and what an attempt costs. */
import { scrypt } from 'node:crypto';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { hashPassword, passwordCheck, verifyPassword } from '../../src/smtp/password.ts';
import { SECRET_HASH } from './listener.ts';

vi.mock('node:crypto', async (original) => {
  const crypto = await original<typeof import('node:crypto')>();
  return { ...crypto, scrypt: vi.fn<typeof crypto.scrypt>(crypto.scrypt) };
});

const derivations = vi.mocked(scrypt);

afterEach(() => {
  derivations.mockClear();
});

describe('a hash', () => {
  it('verifies its password and no other, and is another each time', async () => {
    const [first, second] = await Promise.all([hashPassword('pässword 1'), hashPassword('pässword 1')]);
    expect(first).toMatch(/^\$scrypt\$ln=15,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(first).not.toBe(second);
    expect(await verifyPassword('pässword 1', first)).toBe(true);
    expect(await verifyPassword('pässword 1', second)).toBe(true);
    for (const wrong of ['pässword 2', '', 'Pässword 1', 'pässword 1 ', 'passwort'])
      expect(await verifyPassword(wrong, first)).toBe(false);
  });

  it('does not care how an accent is typed', async () => {
    const hash = await hashPassword('caf\u00e9');
    expect(await verifyPassword('cafe\u0301', hash)).toBe(true);
  });

  it('may have been made with other costs, and with padding', async () => {
    expect(await verifyPassword('secret', SECRET_HASH)).toBe(true);
    const [, , costs, salt, hash] = SECRET_HASH.split('$');
    expect(await verifyPassword('secret', `$scrypt$${costs}$${salt}==$${hash}=`)).toBe(true);
  });

  it.each([
    '',
    'secret',
    '$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy',
    '$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG',
    '$6$rounds=5000$saltsalt$abcdefghijklmnop',
    '{SSHA}abcdefghijklmnop',
    '$scrypt$ln=15,r=8,p=1$AAECAwQFBgcICQoLDA0ODw',
    '$scrypt$ln=15,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$',
    // One base64 digit is no octet at all: an empty hash is equal to any empty hash.
    '$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$A',
    '$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$AA',
    // Costs that scrypt itself refuses, or that no machine has the memory for.
    '$scrypt$ln=0,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$Mdc/jTCPy+uU8aSLbM+FGBQC/AXSzfWCsAUkF/VYCgk',
    '$scrypt$ln=99,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$Mdc/jTCPy+uU8aSLbM+FGBQC/AXSzfWCsAUkF/VYCgk',
    '$scrypt$ln=10,r=0,p=1$AAECAwQFBgcICQoLDA0ODw$Mdc/jTCPy+uU8aSLbM+FGBQC/AXSzfWCsAUkF/VYCgk',
    '$scrypt$ln=10,r=8,p=0$AAECAwQFBgcICQoLDA0ODw$Mdc/jTCPy+uU8aSLbM+FGBQC/AXSzfWCsAUkF/VYCgk',
    `${SECRET_HASH}\n`,
    ` ${SECRET_HASH}`,
  ])('of another form verifies nothing: %j', async (hash) => {
    expect(await verifyPassword('secret', hash)).toBe(false);
    expect(await verifyPassword('', hash)).toBe(false);
  });
});

describe('passwordCheck', () => {
  const users = new Map([
    ['pbx', SECRET_HASH],
    ['fax', '{SSHA}foreign'],
  ]);

  it('lets in who knows the password, and only under that name', async () => {
    const check = passwordCheck(users, () => 0);
    expect(await check('pbx', 'secret')).toBe(true);
    expect(await check('pbx', 'wrong')).toBe(false);
    expect(await check('pbx', '')).toBe(false);
    expect(await check('PBX', 'secret')).toBe(false);
    expect(await check('', 'secret')).toBe(false);
    expect(await check('nobody', 'secret')).toBe(false);
    expect(await check('fax', 'secret')).toBe(false);
    expect(await check('__proto__', 'secret')).toBe(false);
  });

  it('works as long on somebody unknown as on somebody known', async () => {
    const check = passwordCheck(users, () => 0);
    const cost = async (user: string): Promise<number> => {
      derivations.mockClear();
      expect(await check(user, 'wrong')).toBe(false);
      return derivations.mock.calls.length;
    };
    // In this order: the first stranger must not pay for something that the second does not.
    expect(await cost('nobody')).toBe(1);
    expect(await cost('pbx')).toBe(1);
    expect(await cost('pbx')).toBe(1);
    expect(await cost('nobody')).toBe(1);
    expect(await cost('fax')).toBe(1);
  });

  it('remembers a password that was right for a minute, nothing else', async () => {
    let now = 1_000;
    const check = passwordCheck(users, () => now);
    const cost = async (user: string, password: string): Promise<[boolean, number]> => {
      derivations.mockClear();
      const right = await check(user, password);
      return [right, derivations.mock.calls.length];
    };
    expect(await cost('pbx', 'secret')).toEqual([true, 1]);
    expect(await cost('pbx', 'secret')).toEqual([true, 0]);
    expect(await cost('pbx', 'wrong')).toEqual([false, 1]);
    expect(await cost('pbx', 'wrong')).toEqual([false, 1]);
    // The boundary between name and password counts.
    expect(await cost('pb', 'xsecret')).toEqual([false, 1]);
    now += 59_999;
    expect(await cost('pbx', 'secret')).toEqual([true, 0]);
    now += 1;
    expect(await cost('pbx', 'secret')).toEqual([true, 1]);
    expect(await cost('pbx', 'secret')).toEqual([true, 0]);
  });
});
