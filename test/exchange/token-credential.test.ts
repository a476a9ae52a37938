import { generateKeyPairSync } from 'node:crypto';
import { generate } from 'selfsigned';
import { beforeAll, describe, expect, it } from 'vitest';
import { validateCredential } from '../../src/exchange/token.ts';

const DAY = 86_400_000;
let good: { certificate: string; privateKey: string };
let locked: { certificate: string; privateKey: string };
let ec: { certificate: string; privateKey: string };

async function make(options: Parameters<typeof generate>[1]): Promise<typeof good> {
  const made = await generate([{ name: 'commonName', value: 'gateway' }], { algorithm: 'sha256', ...options });
  return { certificate: made.cert, privateKey: made.private };
}

beforeAll(async () => {
  [good, locked, ec] = await Promise.all([
    make({ keySize: 2048 }),
    make({ keySize: 2048, passphrase: 'open sesame' }),
    make({ keyType: 'ec' }),
  ]);
});

const check = (
  parts: { certificate: string; privateKey: string; passphrase?: string },
  now?: number,
): string | undefined => validateCredential({ kind: 'certificate', ...parts }, now);

describe('a credential is checked before it is used', () => {
  it('a secret must be there, without white space around it', () => {
    expect(validateCredential({ kind: 'secret', secret: 'abc' })).toBeUndefined();
    expect(validateCredential({ kind: 'secret', secret: '' })).toMatch(/is empty/);
    expect(validateCredential({ kind: 'secret', secret: ' \n' })).toMatch(/is empty/);
    expect(validateCredential({ kind: 'secret', secret: 'abc\n' })).toMatch(/white space/);
  });

  it('takes what belongs together, also encrypted and with text around it', () => {
    expect(check(good)).toBeUndefined();
    expect(check({ ...locked, passphrase: 'open sesame' })).toBeUndefined();
    expect(
      check({
        certificate: `Bag Attributes: none\n${good.certificate}`,
        privateKey: `Key Attributes: none\n${good.privateKey}`,
      }),
    ).toBeUndefined();
  });

  it('says what is wrong', () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
      .privateKey.export({ type: 'pkcs1', format: 'pem' })
      .toString();
    const damaged = good.certificate.replace(/^([\w+/]{64})$/m, 'A'.repeat(64));
    const cases: readonly [string | undefined, RegExp][] = [
      [check({ ...good, certificate: '\u0030\u0082 binary' }), /certificate is not PEM.*\.pfx/],
      [check({ ...good, certificate: damaged }), /certificate is damaged/],
      [check({ ...good, privateKey: good.certificate }), /private key is not PEM/],
      [
        check({ ...good, privateKey: good.privateKey.slice(0, 200) + '\n-----END PRIVATE KEY-----\n' }),
        /private key is damaged/,
      ],
      [check({ ...good, privateKey: other }), /does not belong to the certificate/],
      [check(locked), /encrypted and no passphrase/],
      [check({ ...locked, passphrase: '' }), /encrypted and no passphrase/],
      [check({ ...locked, passphrase: 'wrong' }), /passphrase is wrong/],
      [check(ec), /type ec.*RSA/],
      [check(good, Date.now() + 400 * DAY), /^the certificate expired on \d{4}-\d\d-\d\d;/],
      [check(good, Date.now() - 2 * DAY), /not valid before \d{4}-\d\d-\d\d; check this machine's clock/],
    ];
    for (const [fault, says] of cases) {
      expect(fault).toMatch(says);
      for (const secret of [
        'open sesame',
        good.privateKey.split('\n')[1] ?? '',
        locked.privateKey.split('\n')[1] ?? '',
      ])
        expect(fault).not.toContain(secret);
    }
  });
});
