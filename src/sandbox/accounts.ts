/**
 * Logins with user name and password at the sandbox's Exchange: Basic (RFC 7617) and NTLM (MS-NTHT, MS-NLMP version 2),
 * which binds a login to its connection, with Extended Protection (channel bindings) as IIS has it. Written on its own, so
 * that it does not repeat a mistake of the client's. Whatever a client sends is a verdict; nothing throws.
 */
import { createHash, createHmac, randomBytes, X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
// @ts-expect-error The package has no types.
import untyped from 'js-md4';

export interface Account {
  readonly username: string;
  /** NetBIOS name. */
  readonly domain: string;
  readonly password: string;
  /** ApplicationImpersonation: mailboxes it may act for; absent: all. */
  readonly mailboxes?: readonly string[];
}

/** none: bindings are not looked at; allow: wrong ones are refused; require: missing ones too. */
export type ExtendedProtection = 'none' | 'allow' | 'require';

export interface AccountsOptions {
  readonly accounts: readonly Account[];
  /** Schemes that are offered. */
  readonly schemes: readonly ('ntlm' | 'basic')[];
  readonly extendedProtection: ExtendedProtection;
  /** PEM of the certificate that clients see. */
  readonly certificate: string;
  readonly now: () => number;
}

export type Login =
  | { readonly ok: true; readonly account: Account }
  /** What to answer in WWW-Authenticate, beside what is offered anyway. */
  | { readonly ok: false; readonly challenge?: string; readonly reason: string };

export interface Accounts {
  /** By its Authorization field, or by what its connection has proved before. Undefined: it does not concern passwords. */
  login(request: IncomingMessage): Login | undefined;
  /** For WWW-Authenticate. */
  readonly offered: readonly string[];
  /** Logins with a password or a third message so far, right and wrong ones. */
  readonly tries: { right: number; wrong: number };
  /** Replaced by a test that changes a password. */
  accounts: readonly Account[];
}

// Its short form asks OpenSSL, which no longer has it.
const { create: md4 } = untyped as { create(): { update(data: Uint8Array): { hex(): string } } };
const SIGNATURE = 'NTLMSSP\0';
/** MS-NLMP section 2.2.2.5, as a Windows server answers: UNICODE, NTLM, TARGET_TYPE_DOMAIN, TARGET_INFO, ALWAYS_SIGN, ESS. */
const FLAGS = 0x1 | 0x200 | 0x8000 | 0x10000 | 0x80000 | 0x800000;

interface Half {
  readonly negotiate: Buffer;
  readonly challenge: Buffer;
}

export function accounts(options: AccountsOptions): Accounts {
  const half = new WeakMap<Socket, Half>();
  const proved = new WeakMap<Socket, Account>();
  const binding = bindingOf(options.certificate);

  const judgeNtlm = (socket: Socket, message: Buffer): Login => {
    const type = message.subarray(0, 8).toString('latin1') === SIGNATURE ? message.readUInt32LE(8) : 0;
    if (type === 1) {
      const challenge = challengeMessage(options.now());
      half.set(socket, { negotiate: message, challenge });
      return { ok: false, challenge: `NTLM ${challenge.toString('base64')}`, reason: 'half way' };
    }
    const before = half.get(socket);
    half.delete(socket);
    if (type !== 3 || !before) return { ok: false, reason: 'an NTLM message out of order' };
    const result = judgeProof(
      message,
      before,
      self.accounts,
      options.extendedProtection === 'none'
        ? undefined
        : { binding, required: options.extendedProtection === 'require' },
    );
    self.tries[result.ok ? 'right' : 'wrong']++;
    if (result.ok) proved.set(socket, result.account);
    return result;
  };

  const self: Accounts = {
    accounts: options.accounts,
    tries: { right: 0, wrong: 0 },
    offered: options.schemes.map((scheme) => (scheme === 'ntlm' ? 'NTLM' : 'Basic realm="sandbox.contoso.com"')),
    login(request) {
      const { authorization = '' } = request.headers;
      const [, scheme = '', value = ''] = /^(NTLM|Basic)\s+(\S+)$/i.exec(authorization) ?? [];
      const { socket } = request;
      if (scheme === '') {
        const account = authorization === '' ? proved.get(socket) : undefined;
        return account && { ok: true, account };
      }
      const wanted = scheme.toLowerCase() as 'ntlm' | 'basic';
      if (!options.schemes.includes(wanted)) return { ok: false, reason: `${scheme} is not offered` };
      const octets = Buffer.from(value, 'base64');
      if (wanted === 'ntlm') return judgeNtlm(socket, octets);
      const account = byPassword(octets.toString('utf8'), self.accounts);
      self.tries[account ? 'right' : 'wrong']++;
      return account ? { ok: true, account } : { ok: false, reason: 'wrong password' };
    },
  };
  return self;
}

function byPassword(text: string, all: readonly Account[]): Account | undefined {
  const user = text.slice(0, text.indexOf(':'));
  const password = text.slice(text.indexOf(':') + 1);
  return all.find(
    (one) =>
      one.password === password &&
      [one.username, `${one.domain}\\${one.username}`].some((name) => name.toLowerCase() === user.toLowerCase()),
  );
}

function challengeMessage(now: number): Buffer {
  const target = utf16('SANDBOX');
  const time = Buffer.alloc(8);
  time.writeBigUInt64LE((BigInt(now) + 11_644_473_600_000n) * 10_000n);
  const info = Buffer.concat([
    pair(2, target),
    pair(1, utf16('EXCHANGE')),
    pair(4, utf16('contoso.test')),
    pair(3, utf16('exchange.contoso.test')),
    pair(7, time),
    pair(0, Buffer.alloc(0)),
  ]);
  const header = Buffer.alloc(56);
  header.write(SIGNATURE, 'latin1');
  header.writeUInt32LE(2, 8);
  field(header, 12, target.length, 56);
  header.writeUInt32LE(FLAGS, 20);
  randomBytes(8).copy(header, 24);
  field(header, 40, info.length, 56 + target.length);
  return Buffer.concat([header, target, info]);
}

interface Protection {
  readonly binding: Buffer;
  readonly required: boolean;
}

function judgeProof(
  message: Buffer,
  { negotiate, challenge }: Half,
  all: readonly Account[],
  protection: Protection | undefined,
): Login {
  const no = (reason: string): Login => ({ ok: false, reason });
  const nt = part(message, 20);
  const [domain, user] = [part(message, 28)?.toString('utf16le'), part(message, 36)?.toString('utf16le')];
  if (!nt || domain === undefined || user === undefined || nt.length < 48) return no('no NTLMv2 response');
  const account = all.find(
    (one) =>
      one.username.toLowerCase() === user.toLowerCase() &&
      ['', one.domain.toLowerCase()].includes(domain.toLowerCase()),
  );
  if (!account) return no('no such account');
  const hash = Buffer.from(md4().update(utf16(account.password)).hex(), 'hex');
  const key = hmac(hash, utf16(user.toUpperCase()), utf16(domain));
  const proof = hmac(key, challenge.subarray(24, 32), nt.subarray(16));
  if (!proof.equals(nt.subarray(0, 16))) return no('wrong password');
  const info = infoIn(nt.subarray(44));
  if (((info.get(6)?.readUInt32LE() ?? 0) & 2) !== 0) {
    const copy = Buffer.from(message);
    copy.fill(0, 72, 88);
    if (!hmac(hmac(key, proof), negotiate, challenge, copy).equals(message.subarray(72, 88)))
      return no('the integrity code is wrong');
  }
  const bound = info.get(10);
  const isBound = bound !== undefined && bound.some((octet) => octet !== 0);
  if (protection && (isBound ? !protection.binding.equals(bound) : protection.required))
    return no('Extended Protection: bound to another channel or to none');
  return { ok: true, account };
}

function infoIn(octets: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= octets.length;) {
    const [id, length] = [octets.readUInt16LE(at), octets.readUInt16LE(at + 2)];
    if (id === 0) break;
    found.set(id, octets.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return found;
}

/** The sandbox's certificate is signed with SHA-256. */
function bindingOf(certificate: string): Buffer {
  const { raw } = new X509Certificate(certificate);
  const text = Buffer.concat([Buffer.from('tls-server-end-point:'), createHash('sha256').update(raw).digest()]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  return createHash('md5').update(Buffer.alloc(16)).update(length).update(text).digest();
}

function part(message: Buffer, at: number): Buffer | undefined {
  if (message.length < at + 8) return undefined;
  const [length, offset] = [message.readUInt16LE(at), message.readUInt32LE(at + 4)];
  return offset + length <= message.length ? message.subarray(offset, offset + length) : undefined;
}

function field(header: Buffer, at: number, length: number, offset: number): void {
  header.writeUInt16LE(length, at);
  header.writeUInt16LE(length, at + 2);
  header.writeUInt32LE(offset, at + 4);
}

function pair(id: number, value: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(id);
  head.writeUInt16LE(value.length, 2);
  return Buffer.concat([head, value]);
}

function hmac(key: Buffer, ...data: readonly Buffer[]): Buffer {
  const code = createHmac('md5', key);
  for (const one of data) code.update(one);
  return code.digest();
}

function utf16(text: string): Buffer {
  return Buffer.from(text, 'utf16le');
}
