/** Command lines of old devices, made into what RFC 5321 wants; and what a strict listener takes. Pure; never fails. */
import { isIPv4, isIPv6 } from 'node:net';

/** RFC 5321 section 4.5.3.1.2. */
const LONGEST_NAME = 255;

/**
 * Blanks in front and between the words of the verb go. HELO and EHLO without a name get the client's address as a
 * literal, of several words the first is taken. MAIL and RCPT are read by readPath().
 * @param peer address of the client
 */
export function repairedLine(line: Buffer, peer: string): Buffer {
  const text = line.toString('latin1');
  // oxlint-disable-next-line no-control-regex -- NUL comes from devices that send their C strings whole
  const [, verb = '', rest = ''] = /^[\s\x00]*([A-Za-z]+)([^]*)$/.exec(text) ?? [];
  switch (verb.toUpperCase()) {
    case 'HELO':
    case 'EHLO':
      return Buffer.from(`${verb} ${heloName(rest, peer)}`, 'latin1');
    case 'MAIL':
    case 'RCPT':
    case 'AUTH':
      return Buffer.from(`${verb} ${rest.trimStart()}`, 'latin1');
    case '':
      return line;
    default:
      // Words behind a command that takes none are overlooked.
      return BARE.has(verb.toUpperCase()) ? Buffer.from(verb) : Buffer.from(`${verb}${rest}`, 'latin1');
  }
}

const BARE = new Set(['DATA', 'RSET', 'QUIT', 'NOOP', 'STARTTLS']);

function heloName(rest: string, peer: string): string {
  const [name = ''] = rest
    .replace(/\p{Cc}/gu, ' ')
    .trim()
    .split(/\s+/);
  if (name !== '') return name.slice(0, LONGEST_NAME);
  return isIPv6(peer) ? `[IPv6:${peer}]` : `[${peer}]`;
}

/** A domain or an address literal, alone (RFC 5321 section 4.1.1.1). */
export function isStrictHelo(line: Buffer): boolean {
  const [, name = ''] = /^[A-Za-z]{4} (\S+)\s*$/.exec(line.toString('latin1')) ?? [];
  const [, ipv6, ipv4] = /^\[(?:IPv6:([\da-f:.]+)|([\d.]+))\]$/i.exec(name) ?? [];
  if (ipv6 !== undefined) return isIPv6(ipv6);
  if (ipv4 !== undefined) return isIPv4(ipv4);
  if (name.length > LONGEST_NAME || isIPv4(name)) return false;
  return name.split('.').every((label) => /^(?!-)[A-Za-z\d-]{1,63}(?<!-)$/.test(label));
}
