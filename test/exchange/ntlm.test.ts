/** NTLM's messages by the vectors of RFC 1320 and MS-NLMP section 4.2.4. */
import { createHash } from 'node:crypto';
import { generate } from 'selfsigned';
import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { md4 } from '../../src/exchange/md4.ts';
import {
  authenticateMessage,
  channelBinding,
  negotiateMessage,
  ntowf,
  readChallenge,
  responses,
} from '../../src/exchange/ntlm.ts';

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s/g, ''), 'hex');

describe('MD4 (RFC 1320, appendix A.5)', () => {
  it.each([
    ['', '31d6cfe0d16ae931b73c59d7e0c089c0'],
    ['a', 'bde52cb31de33e46245e05fbdbd6fb24'],
    ['abc', 'a448017aaf21d8525fc10ae87aa6729d'],
    ['message digest', 'd9130a8164549fe818874806e1c7014b'],
    ['abcdefghijklmnopqrstuvwxyz', 'd79e1c308aa5bbcdeea8ed63df412da9'],
    ['ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789', '043f8582f241db351ce627e153e7f0e4'],
    ['1234567890'.repeat(8), 'e33b4ddc9c38f2199c3e7b164fcc0536'],
  ])('of %j', (text, digest) => {
    expect(md4(Buffer.from(text)).toString('hex')).toBe(digest);
  });
});

// MS-NLMP section 4.2.1 and 4.2.4.
const account = { username: 'User', domain: 'Domain', password: 'Password' };
const serverNonce = hex('0123456789abcdef');
const clientNonce = hex('aaaaaaaaaaaaaaaa');
const info = hex('02000c0044006f006d00610069006e00 01000c00530065007200760065007200 00000000');

describe('NTLMv2 (MS-NLMP section 4.2.4)', () => {
  it('makes the key of the password', () => {
    expect(ntowf(account).toString('hex')).toBe('0c868a403bfd7a93a3001ef22ef02e3f');
  });

  it('makes the responses', () => {
    const { nt, lm, sessionKey } = responses(ntowf(account), serverNonce, clientNonce, Buffer.alloc(8), info);
    expect(lm.toString('hex')).toBe('86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa');
    expect(nt.subarray(0, 16).toString('hex')).toBe('68cd0ab851e51c96aabc927bebef6a1c');
    expect(nt.subarray(16).toString('hex')).toBe(
      `0101000000000000${'00'.repeat(8)}aaaaaaaaaaaaaaaa00000000${info.toString('hex')}00000000`,
    );
    expect(sessionKey.toString('hex')).toBe('8de40ccadbc14a82f15cb0ad0de95ca3');
  });
});

/** The challenge of MS-NLMP section 4.2.4.3. */
const CHALLENGE = hex(
  `
  4e544c4d53535000 02000000 0c000c0038000000 33828ae2 0123456789abcdef 0000000000000000 2400240044000000
  0600701700000000f 53006500720076006500 7200 02000c0044006f006d00610069006e00 01000c00530065007200760065007200 00000000
`.replace('0600701700000000f', '060070170000000f'),
);

describe('the messages', () => {
  it('begin with what this side can do, and with no name', () => {
    const message = negotiateMessage();
    expect(message.subarray(0, 12).toString('latin1')).toBe('NTLMSSP\0\x01\0\0\0');
    expect(message.readUInt32LE(12)).toBe(0xa0888205);
    // With the version, of zeros: GSS-NTLMSSP reads none without it.
    expect(message.subarray(16).toString('hex')).toBe('0000000028000000'.repeat(2) + '00'.repeat(8));
  });

  it('read the challenge of MS-NLMP section 4.2.4.3', () => {
    const challenge = readChallenge(CHALLENGE);
    expect(challenge?.nonce.toString('hex')).toBe('0123456789abcdef');
    expect(challenge?.info.map(({ id, value }) => [id, value.toString('utf16le')])).toEqual([
      [2, 'Domain'],
      [1, 'Server'],
    ]);
  });

  it('find nothing in what is no challenge, at whatever octet it ends', () => {
    for (let length = 0; length < CHALLENGE.length - 4; length++) {
      expect(readChallenge(CHALLENGE.subarray(0, length))).toBeUndefined();
    }
    expect(readChallenge(negotiateMessage())).toBeUndefined();
    const oem = Buffer.from(CHALLENGE);
    oem[20] = (oem[20] ?? 0) & ~1;
    expect(readChallenge(oem)).toBeUndefined();
  });

  it('end with a proof that holds neither password nor its hash', () => {
    const challenge = readChallenge(CHALLENGE);
    if (challenge === undefined) throw new Error('no challenge');
    const negotiate = negotiateMessage();
    const reply = { account, negotiate, challenge, host: 'mail.contoso.com', nonce: clientNonce, now: 0 };
    const message = authenticateMessage(reply);
    expect(message.subarray(0, 12).toString('latin1')).toBe('NTLMSSP\0\x03\0\0\0');
    const part = (index: number): Buffer => {
      const at = 12 + index * 8;
      const offset = message.readUInt32LE(at + 4);
      return message.subarray(offset, offset + message.readUInt16LE(at));
    };
    expect(part(2).toString('utf16le')).toBe('Domain');
    expect(part(3).toString('utf16le')).toBe('User');
    expect(part(0).toString('hex')).toBe('86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa');
    expect(part(1).includes(Buffer.from('HTTP/mail.contoso.com', 'utf16le'))).toBe(true);
    expect(message.includes(Buffer.from('Password', 'utf16le'))).toBe(false);
    expect(message.includes(md4(Buffer.from('Password', 'utf16le')))).toBe(false);
  });
});

it('binds to the channel by the hash that the certificate was signed with, SHA-256 for older ones', async () => {
  for (const algorithm of ['sha256', 'sha384', 'sha512'] as const) {
    const { cert } = await generate([{ name: 'commonName', value: 'mail' }], { algorithm });
    const { raw } = new X509Certificate(cert);
    const text = `tls-server-end-point:${createHash(algorithm).update(raw).digest('latin1')}`;
    const struct = Buffer.concat([Buffer.alloc(20), Buffer.from(text, 'latin1')]);
    struct.writeUInt32LE(text.length, 16);
    expect(channelBinding(raw)).toEqual(createHash('md5').update(struct).digest());
  }
});
