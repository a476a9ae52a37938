/**
 * The three messages of an NTLM login (MS-NLMP), version 2 of its responses only, without signing or sealing: over HTTPS
 * they have nothing to do. Carries channel bindings for Extended Protection. Pure; a challenge that cannot be answered is
 * undefined. No message holds the password, but what is in the third one can be tried against a list of words: it goes to
 * the server and nowhere else.
 */
import { createHash, createHmac, X509Certificate } from 'node:crypto';
import { md4 } from './md4.ts';

export interface WindowsAccount {
  /** Without its domain; or name@domain, with an empty domain. */
  readonly username: string;
  /** NetBIOS or DNS name; empty: the server finds out. */
  readonly domain: string;
  readonly password: string;
}

/** MS-NLMP section 2.2.2.5: UNICODE, REQUEST_TARGET, NTLM, ALWAYS_SIGN, EXTENDED_SESSIONSECURITY, TARGET_INFO, 128, 56. */
const FLAGS = 0x1 | 0x4 | 0x200 | 0x8000 | 0x80000 | 0x800000 | 0x20000000 | 0x80000000;
const UNICODE = 0x1;
const SIGNATURE = Buffer.from('NTLMSSP\0');
/** MS-NLMP section 2.2.2.1. */
const AV = { end: 0, flags: 6, timestamp: 7, targetName: 9, channelBindings: 10 } as const;
const HAS_MIC = 2;
/** Octets of the first message. */
const NEGOTIATE = 40;
/** Of the fixed part of the third message, with its MIC. */
const HEADER = 88;
const MIC_AT = 72;

export interface Challenge {
  /** As it came: the integrity code is over it. */
  readonly message: Buffer;
  readonly flags: number;
  /** 8 octets. */
  readonly nonce: Buffer;
  readonly info: readonly Pair[];
}

/** One thing the server says of itself. */
export interface Pair {
  readonly id: number;
  readonly value: Buffer;
}

/** The first message: what this side can do. It holds neither name nor domain. */
export function negotiateMessage(): Buffer {
  // With a version of zeros at its end (MS-NLMP section 2.2.1.1), without which some servers cannot read it.
  const message = Buffer.alloc(NEGOTIATE);
  SIGNATURE.copy(message);
  message.writeUInt32LE(1, 8);
  message.writeUInt32LE(FLAGS >>> 0, 12);
  // Where domain and workstation would be.
  message.writeUInt32LE(NEGOTIATE, 20);
  message.writeUInt32LE(NEGOTIATE, 28);
  return message;
}

/** Reads the second message; undefined: it is none, or the server knows no Unicode. */
export function readChallenge(message: Buffer): Challenge | undefined {
  if (message.length < 48 || !message.subarray(0, 8).equals(SIGNATURE) || message.readUInt32LE(8) !== 2)
    return undefined;
  const flags = message.readUInt32LE(20);
  const [length, offset] = [message.readUInt16LE(40), message.readUInt32LE(44)];
  if ((flags & UNICODE) === 0 || offset + length > message.length) return undefined;
  const info = pairsIn(message.subarray(offset, offset + length));
  return info && { message, flags, nonce: message.subarray(24, 32), info };
}

function pairsIn(octets: Buffer): Pair[] | undefined {
  const pairs: Pair[] = [];
  for (let at = 0; at < octets.length;) {
    if (at + 4 > octets.length) return undefined;
    const [id, length] = [octets.readUInt16LE(at), octets.readUInt16LE(at + 2)];
    if (id === AV.end) break;
    if (at + 4 + length > octets.length) return undefined;
    pairs.push({ id, value: octets.subarray(at + 4, at + 4 + length) });
    at += 4 + length;
  }
  return pairs;
}

export interface Reply {
  readonly account: WindowsAccount;
  /** The first message, as it was sent. */
  readonly negotiate: Buffer;
  readonly challenge: Challenge;
  /** Name of the server, as in its URL. */
  readonly host: string;
  /** Of the server's certificate; without TLS there is none. */
  readonly channelBinding?: Buffer;
  /** 8 octets by chance. */
  readonly nonce: Buffer;
  /** Epoch milliseconds, for servers that do not say their own time. */
  readonly now: number;
}

/** The third message: the proof that this side knows the password. */
export function authenticateMessage({ account, negotiate, challenge, host, nonce, now, ...more }: Reply): Buffer {
  const timestamp = challenge.info.find(({ id }) => id === AV.timestamp)?.value;
  const key = ntowf(account);
  const info = pairs([
    ...challenge.info.filter(({ id }) => id !== AV.flags && id !== AV.targetName && id !== AV.channelBindings),
    { id: AV.flags, value: uint32(flagsIn(challenge) | (timestamp ? HAS_MIC : 0)) },
    { id: AV.targetName, value: utf16(`HTTP/${host}`) },
    { id: AV.channelBindings, value: more.channelBinding ?? Buffer.alloc(16) },
  ]);
  const { nt, lm, sessionKey } = responses(key, challenge.nonce, nonce, timestamp ?? fileTime(now), info);
  const message = layOut({
    // A server that says its time wants zeros here (section 3.1.5.1.2).
    parts: [timestamp ? Buffer.alloc(24) : lm, nt, utf16(account.domain), utf16(account.username)],
    flags: (challenge.flags & FLAGS) >>> 0,
  });
  if (timestamp) hmac(sessionKey, negotiate, challenge.message, message).copy(message, MIC_AT);
  return message;
}

function flagsIn({ info }: Challenge): number {
  const value = info.find(({ id }) => id === AV.flags)?.value;
  return value?.length === 4 ? value.readUInt32LE() : 0;
}

/** LM response, NT response, domain, user; workstation and session key stay empty. */
function layOut({ parts, flags }: { readonly parts: readonly Buffer[]; readonly flags: number }): Buffer {
  const header = Buffer.alloc(HEADER);
  SIGNATURE.copy(header);
  header.writeUInt32LE(3, 8);
  let offset = HEADER;
  [...parts, Buffer.alloc(0), Buffer.alloc(0)].forEach((part, index) => {
    const at = 12 + index * 8;
    header.writeUInt16LE(part.length, at);
    header.writeUInt16LE(part.length, at + 2);
    header.writeUInt32LE(offset, at + 4);
    offset += part.length;
  });
  header.writeUInt32LE(flags, 60);
  return Buffer.concat([header, ...parts]);
}

/** NTOWFv2 (section 3.3.2). */
export function ntowf({ username, domain, password }: WindowsAccount): Buffer {
  return hmac(md4(utf16(password)), utf16(username.toUpperCase() + domain));
}

/** ComputeResponse of NTLMv2 (section 3.3.2). @param time 8 octets @param info with its end */
export function responses(
  key: Buffer,
  serverNonce: Buffer,
  clientNonce: Buffer,
  time: Buffer,
  info: Buffer,
): { readonly nt: Buffer; readonly lm: Buffer; readonly sessionKey: Buffer } {
  const zeros = Buffer.alloc(4);
  const blob = Buffer.concat([Buffer.from([1, 1, 0, 0, 0, 0, 0, 0]), time, clientNonce, zeros, info, zeros]);
  const proof = hmac(key, serverNonce, blob);
  return {
    nt: Buffer.concat([proof, blob]),
    lm: Buffer.concat([hmac(key, serverNonce, clientNonce), clientNonce]),
    sessionKey: hmac(key, proof),
  };
}

/** As the server information of a message, with its end. */
function pairs(all: readonly Pair[]): Buffer {
  return Buffer.concat([...all.flatMap(({ id, value }) => [uint16(id), uint16(value.length), value]), uint32(AV.end)]);
}

/**
 * The hash of a TLS connection's end point as NTLM carries it (RFC 5929 section 4, RFC 2744 section 3.11, MS-NLMP section
 * 2.2.2.1). Undefined for a certificate whose signature names no hash.
 */
export function channelBinding(certificate: Uint8Array): Buffer | undefined {
  const name = new X509Certificate(certificate).signatureAlgorithm ?? '';
  const found = /(md5|sha-?1|sha-?224|sha-?256|sha-?384|sha-?512)/i.exec(name)?.[1]?.toLowerCase().replace('-', '');
  if (found === undefined) return undefined;
  const digest = createHash(found === 'md5' || found === 'sha1' ? 'sha256' : found)
    .update(certificate)
    .digest();
  const data = Buffer.concat([Buffer.from('tls-server-end-point:'), digest]);
  return createHash('md5')
    .update(Buffer.concat([Buffer.alloc(16), uint32(data.length), data]))
    .digest();
}

/** Hundreds of nanoseconds since 1601. */
function fileTime(milliseconds: number): Buffer {
  const time = Buffer.alloc(8);
  time.writeBigUInt64LE((BigInt(Math.floor(milliseconds)) + 11_644_473_600_000n) * 10_000n);
  return time;
}

function hmac(key: Buffer, ...data: readonly Buffer[]): Buffer {
  return createHmac('md5', key).update(Buffer.concat(data)).digest();
}

function utf16(text: string): Buffer {
  return Buffer.from(text, 'utf16le');
}

function uint16(value: number): Buffer {
  const octets = Buffer.alloc(2);
  octets.writeUInt16LE(value);
  return octets;
}

function uint32(value: number): Buffer {
  const octets = Buffer.alloc(4);
  octets.writeUInt32LE(value);
  return octets;
}
