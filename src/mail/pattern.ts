/**
 * Patterns for addresses, as the configuration has them:
 *
 * - `fax@contoso.com` this address
 * - `@contoso.com`, `*@contoso.com` every address of the domain, none of its subdomains
 * - `*@*.contoso.com`, `scan-*@contoso.com` an asterisk stands for any run of characters, but never reaches over the @
 * - `*` everything, also what cannot be read as an address
 *
 * An asterisk in an address is a character like any other. Compared are local parts regardless of case, of quotes that
 * need not be there (RFC 5321 section 4.1.2) and of how accents are composed (Unicode NFC); domains as ASCII (RFC 5890
 * A-labels) without a final dot. So what merely looks alike, such as a Cyrillic letter, is different.
 * Pure. A text that is no pattern is a TypeError; ask isPattern first. Each look-up costs time in proportion to the
 * length of the address, plus that for each pattern with an asterisk in its midst.
 */
import { canonicalAddress } from './address.ts';

/** A whole local part in quotes (RFC 5321 section 4.1.2). */
const QUOTED = /^"(?:[^"\\]|\\.)*"$/su;

/** Whether one of the patterns matches. Without patterns, nothing does. */
export function matcher(patterns: readonly string[]): (address: string) => boolean {
  if (patterns.includes('*')) return () => true;
  const exact = new Set<string>();
  const domains = new Set<string>();
  const wild: { readonly local: Glob; readonly domain: Glob }[] = [];
  for (const pattern of patterns) {
    if (!isPattern(pattern)) throw new TypeError(`not an address pattern: ${JSON.stringify(pattern)}`);
    const { local, domain } = split(pattern);
    const anyLocal = local === '' || local === '*';
    if (domain.includes('*') || (local.includes('*') && !anyLocal)) {
      wild.push({ local: new Glob(anyLocal ? '*' : local), domain: new Glob(domain) });
    } else if (anyLocal) domains.add(domain);
    else exact.add(key(local, domain));
  }
  return (address) => {
    if (address.startsWith('@') || isAmbiguous(address)) return false;
    const { local, domain } = split(address);
    if (domain === '') return false;
    if (domains.has(domain) || exact.has(key(local, domain))) return true;
    return wild.some((one) => one.domain.matches(domain) && one.local.matches(local));
  };
}

/**
 * Whether the text is a pattern. One without @ is not, apart from `*`: whether `*contoso.com` means to include
 * `evil-contoso.com` would be guesswork.
 */
export function isPattern(text: string): boolean {
  if (text === '*') return true;
  const at = text.lastIndexOf('@');
  if (at < 0 || text.length > 320 || /[\s\p{C}<>]/u.test(text)) return false;
  const local = text.slice(0, at);
  const domain = withoutFinalDot(text.slice(at + 1));
  const isDomain = domain.startsWith('[')
    ? /^\[[\w.:-]+\]$/.test(domain)
    : domain.split('.').every((label) => /^[\p{L}\p{M}\p{N}_*-]{1,63}$/u.test(label) && isComparable(label));
  return isDomain && (/^"(?:[^"\\]|\\.)+"$/u.test(local) || /^[^"\\(),:;@[\]]*$/u.test(local));
}

/** Text with asterisks for any run of characters. */
class Glob {
  readonly #first: string;
  readonly #middle: readonly string[];
  /** undefined: no asterisk, all is in the first. */
  readonly #last: string | undefined;

  constructor(text: string) {
    const [first = '', ...rest] = text.split('*');
    this.#first = first;
    this.#last = rest.pop();
    this.#middle = rest;
  }

  /** No going back: each piece is taken where it comes first, which never rules out a later one. */
  matches(text: string): boolean {
    if (this.#last === undefined) return text === this.#first;
    const end = text.length - this.#last.length;
    let at = this.#first.length;
    if (at > end || !text.startsWith(this.#first) || !text.endsWith(this.#last)) return false;
    for (const piece of this.#middle) {
      const found = text.indexOf(piece, at);
      if (found < 0 || found + piece.length > end) return false;
      at = found + piece.length;
    }
    return true;
  }
}

/** More than one @ outside of quotes: for some readers the domain begins after the first, for others after the last. */
function isAmbiguous(address: string): boolean {
  const local = address.slice(0, address.lastIndexOf('@'));
  return local.includes('@') && !QUOTED.test(local);
}

function split(address: string): { local: string; domain: string } {
  const at = address.lastIndexOf('@');
  if (at < 0) return { local: '', domain: '' };
  return {
    local: unquoted(folded(address.slice(0, at))),
    domain: asciiDomain(withoutFinalDot(address.slice(at + 1))),
  };
}

/** A local part may hold an @ once its quotes are gone, a domain never does. */
function key(local: string, domain: string): string {
  return `${domain}@${local}`;
}

function withoutFinalDot(domain: string): string {
  return domain.endsWith('.') ? domain.slice(0, -1) : domain;
}

/** Label by label where there are asterisks: the whole would have no ASCII form. */
function asciiDomain(domain: string): string {
  const ascii = (text: string): string => canonicalAddress(`a@${text}`).slice(2);
  return domain.includes('*') ? domain.split('.').map(ascii).join('.') : ascii(domain);
}

/** Whether a label of a pattern has a form that addresses can be compared with. */
function isComparable(label: string): boolean {
  return /^[ -~]+$/.test(asciiDomain(label));
}

/** Characters beyond ASCII that lower case or NFC would make ASCII ones: the Kelvin sign would pass for a k. */
const IMPOSTORS = /([\u212a\u037e\u1fef])/;

function folded(local: string): string {
  return local
    .split(IMPOSTORS)
    .map((piece, index) => (index % 2 === 1 ? piece : piece.toLowerCase().normalize('NFC')))
    .join('');
}

function unquoted(local: string): string {
  return QUOTED.test(local) ? local.slice(1, -1).replace(/\\(.)/gsu, '$1') : local;
}
