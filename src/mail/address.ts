/**
 * One address by itself, without a parser: how it is compared, written in ASCII, and whether it can be used. Pure.
 */
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';

/**
 * For comparing only: lower case, the domain in ASCII (RFC 5890 A-labels). An address without a valid form is only
 * lower-cased.
 */
export function canonicalAddress(address: string): string {
  const lower = address.toLowerCase();
  const at = lower.lastIndexOf('@');
  if (at < 0) return lower;
  const domain = asciiDomain(lower.slice(at + 1));
  return `${lower.slice(0, at)}@${domain ?? lower.slice(at + 1)}`;
}

/** With its domain in ASCII (RFC 5890 A-labels), where it has such a form; the local part stays as it is. */
export function asciiAddress(address: string): string {
  const at = address.lastIndexOf('@');
  const domain = address.slice(at + 1);
  // oxlint-disable-next-line no-control-regex -- all of ASCII
  if (at < 0 || /^[\x00-\x7f]*$/.test(domain)) return address;
  const ascii = asciiDomain(domain.toLowerCase());
  return ascii === undefined ? address : `${address.slice(0, at)}@${ascii}`;
}

/** Whether it is a usable `local@domain`: what may be put into an envelope or a request. Not whether it exists. */
export function isSendable(address: string): boolean {
  const at = address.lastIndexOf('@');
  if (at < 1 || at === address.length - 1 || address.length > 320) return false;
  // \p{C}: control, format and unassigned characters, lone surrogates. Blanks: in a quoted local part only, as RightFax
  // and X.400 users have them.
  if (/[\p{C}<>]|[^\S ]/u.test(address) || / /.test(address.startsWith('"') ? address.slice(at) : address))
    return false;
  const domain = address.slice(at + 1);
  const isDomain = domain.startsWith('[')
    ? /^\[[\w.:-]+\]$/.test(domain)
    : domain.split('.').every((label) => /^[\p{L}\p{M}\p{N}_-]{1,63}$/u.test(label));
  const local = address.slice(0, at);
  return isDomain && (/^"(?:[^"\\]|\\.)*"$/u.test(local) || /^[^"\\(),:;@[\]]+$/u.test(local));
}

/** Punycode of a lower-case domain; undefined if it has none. */
function asciiDomain(domain: string): string | undefined {
  // oxlint-disable-next-line no-control-regex -- all of ASCII
  if (/^[\x00-\x7f]*$/.test(domain)) return domain;
  // The function follows the URL standard: it would decode %2e, stop at a slash and read numbers as an IP address.
  if (!/^[\p{L}\p{M}\p{N}._-]+$/u.test(domain)) return undefined;
  const ascii = domainToASCII(domain);
  return ascii === '' || isIP(ascii) !== 0 ? undefined : ascii;
}
