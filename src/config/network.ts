/** Addresses, networks, host names and URLs as the configuration has them. */
import { isIP } from 'node:net';
import { Secret } from './secret.ts';
import { suggest } from '../mail/suggest.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

/** An address to listen on. */
export function ipAddress(text: string): Value<string> {
  if (isIP(text) !== 0 && !text.includes('%')) return good(text);
  return bad(
    'must be an IP address of this machine',
    '127.0.0.1 for this machine only, 0.0.0.0 for every IPv4 address it has, "::" for IPv6 too',
  );
}

/** `10.0.0.0/8`, `fe80::/10`, or a single address, which becomes /32 or /128. */
export function network(text: string): Value<string> {
  const [, address = '', length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const family = address.includes('%') ? 0 : isIP(address);
  if (family === 0) return bad('must be an IP address or a network in CIDR form, such as 192.168.1.20 or 10.0.0.0/8');
  const bits = family === 4 ? 32 : 128;
  const prefix = length === undefined ? bits : Number(length);
  if (prefix > bits) return bad(`has a prefix length that is too great; an IPv${family} address has ${bits} bits`);
  if (hasHostBits(address, family, prefix)) {
    return bad(
      `is no network: the address has bits set beyond the first ${prefix}`,
      `write /${bits} for this one address, or zeros in place of what follows the first ${prefix} bits`,
    );
  }
  return good(`${address.toLowerCase()}/${prefix}`);
}

/** Whether the first has every address of the second; both as network() returns them. IPv4 counts as IPv4-mapped. */
export function covers(outer: string, inner: string): boolean {
  const [a, b] = [spanOf(outer), spanOf(inner)];
  return a.prefix <= b.prefix && a.bits.slice(0, a.prefix) === b.bits.slice(0, a.prefix);
}

const EVERY_IPV4 = '0.0.0.0/0';
/** Unique local and link-local addresses (RFC 4193, RFC 4291 section 2.5.6). Those of IPv4 are no larger than /8. */
const LOCAL = ['fc00::/7', 'fe80::/10'];

/** Whether most of its addresses are those of strangers: wider than anyone's own networks are. */
export function isMostlyPublic(text: string): boolean {
  if (covers(text, EVERY_IPV4)) return true;
  const { prefix } = spanOf(text);
  if (covers(EVERY_IPV4, text)) return prefix - 96 < 8;
  return prefix < 16 && !LOCAL.some((local) => covers(local, text));
}

function spanOf(text: string): { readonly bits: string; readonly prefix: number } {
  const [address = '', length = '0'] = text.split('/');
  if (isIP(address) === 6) return { bits: bitsOfIpv6(address), prefix: Number(length) };
  return { bits: `${'0'.repeat(80)}${'1'.repeat(16)}${bitsOfIpv4(address)}`, prefix: Number(length) + 96 };
}

function hasHostBits(address: string, family: number, prefix: number): boolean {
  const bits = family === 4 ? bitsOfIpv4(address) : bitsOfIpv6(address);
  return bits.slice(prefix).includes('1');
}

function bitsOfIpv4(address: string): string {
  return address
    .split('.')
    .map((octet) => Number(octet).toString(2).padStart(8, '0'))
    .join('');
}

function groups(part: string | undefined): string[] {
  return part === undefined || part === '' ? [] : part.split(':');
}

function bitsOfIpv6(address: string): string {
  // The URL parser writes any form of an IPv6 address in the canonical one, an embedded IPv4 address included.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const middle = tail === undefined ? [] : Array<string>(8 - groups(head).length - groups(tail).length).fill('0');
  return [...groups(head), ...middle, ...groups(tail)]
    .map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0'))
    .join('');
}

/** A domain name in ASCII, with or without a dot (RFC 5321 section 4.1.2, RFC 1123 section 2.1). */
export function hostName(text: string): Value<string> {
  const isName =
    text.length <= 253 && text.split('.').every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(label));
  if (isName && isIP(text) === 0) return good(text);
  return bad('must be a domain name of ASCII letters, digits, hyphens and dots, such as gateway.contoso.com');
}

export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || hostname === '::1' || /^127(\.\d+){3}$/.test(hostname);
}

/** The name or the address of a server. */
export function serverName(text: string): Value<string> {
  if (isIP(text) !== 0 && !text.includes('%')) return good(text);
  if (hostName(text).ok) return good(text);
  return bad('must be the domain name or IP address of a server, such as mail.contoso.com', 'without a port');
}

export interface UrlLimits {
  readonly httpOnLoopback: boolean;
  /** Lets it have a part after ?. */
  readonly query?: boolean;
}

/** An https URL; http on loopback only, because a token or credential travels along. */
export function serverUrl(text: string, options: UrlLimits): Value<string> {
  const url = URL.parse(text);
  if (url === null || url.hostname === '') return bad('must be a URL that begins with https://');
  if (url.username !== '' || url.password !== '') return bad('must not hold a user name or password');
  if (options.query === true) {
    if (url.hash !== '') return bad('must not have a part after #');
  } else if (url.hash !== '' || url.search !== '') return bad('must not have a part after ? or #');
  if (url.protocol === 'https:') return good(url.href);
  if (!options.httpOnLoopback) return bad('must begin with https://');
  if (url.protocol === 'http:' && isLoopback(url.hostname)) return good(url.href);
  return bad(
    'must begin with https://',
    'a token travels along, so http:// is for servers on this machine only (127.0.0.1)',
  );
}

/** Which proxy to use: that of the environment, none, or one by its URL, which may hold a password. */
export type ProxyChoice = 'environment' | 'none' | Secret;

export function proxyChoice(text: string): Value<ProxyChoice> {
  if (text === 'environment' || text === 'none') return good(text);
  const url = proxyUrl(text);
  if (url.ok) return good(new Secret(url.value));
  const word = /^[a-z]+$/i.test(text) ? suggest(text, ['environment', 'none']) : undefined;
  return word === undefined ? url : bad(url.problem, `did you mean ${word}?`);
}

export function proxyUrl(text: string): Value<string> {
  const url = URL.parse(text);
  if (url !== null && (url.protocol === 'http:' || url.protocol === 'https:') && url.hostname !== '')
    return good(url.href);
  if (url?.protocol.startsWith('socks') === true)
    return bad('names a SOCKS proxy; only HTTP proxies (CONNECT) are supported');
  return bad('must be environment, none, or the URL of a proxy, such as http://proxy.contoso.com:3128');
}
