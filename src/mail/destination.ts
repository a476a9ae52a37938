/**
 * Which recipients of the legacy system result from a mail that was picked up: the number in its subject, in the address it
 * was sent to, or a fixed address. The first rule that gives any decides. What stands in the mail only fills the places that
 * a rule's own address leaves for it, never its domain. Pure; fails only for a caller's mistake: TypeError for a pattern or
 * an address that checkRule() would not have let through.
 */
import { canonicalAddress, isSendable } from './address.ts';
import { regex } from './regex.ts';
import type { Regex } from './regex.ts';

/**
 * Where to look: `subject`; `recipient`, every address of To and Cc; `plus`, what follows a plus sign in the mailbox's own
 * address there (`fax+4930@contoso.com`); `fax`, the number of an address such as `FAX=+4930@...` or
 * `FAX=+4930/T33S=12@...` (RFC 3191, RFC 3192) or `IMCEAFAX-Bob+40+2B4930@...` (what Exchange makes of an address of a fax
 * machine; also `IMCEAFAX-+4930@...`), the subaddress as second group; `always`, nowhere: the address stands for itself.
 */
export const PLACES = ['subject', 'recipient', 'plus', 'fax', 'always'] as const;
export type Place = (typeof PLACES)[number];

export interface DestinationRule {
  readonly in: Place;
  /** RE2, found anywhere in the text unless it says otherwise; upper and lower case are the same. Not with `always`. */
  readonly pattern?: string;
  /** `$1@fax.local`: $0 is the whole match, $1 to $9 its groups. Without any for a mailbox of its own. */
  readonly to: string;
  /** Only the digits of what matched go in, and a plus sign before them. */
  readonly digits: boolean;
}

/** What of a mail the rules look at. */
export interface Addressed {
  readonly subject: string;
  /** Addresses of To and Cc. */
  readonly recipients: readonly string[];
  /** The mailbox it lies in. */
  readonly mailbox: string;
}

/** Characters of a text, and addresses of a mail, that are looked at. */
const MAX_TEXT = 1_000;
const MAX_ADDRESSES = 1_000;
const GROUP = /\$(\$|\d)/g;
/** Of the places that have a form of their own. */
const ANYTHING = '.+';
const FAX = regexOf(String.raw`^(?:FAX=|IMCEAFAX-)(\+?[0-9 ().-]+)(?:/T33S=([0-9*#-]+))?(?:/.*)?$`);
const ENCAPSULATED = /^IMCEAFAX-/i;
/** By which a server further on may be led to another host (RFC 5321 appendix F.2), or a program to see an end or an option. */
const ROUTING = /[@%!"\\]/;

export type Destinations = (mail: Addressed) => readonly string[];

/** @returns each address once, in the order of their places in the mail; empty: no rule gives any */
export function destinations(rules: readonly DestinationRule[]): Destinations {
  const made = rules.map((rule) => ({ rule, pattern: patternOf(rule) }));
  return (mail) => {
    for (const { rule, pattern } of made) {
      const found = textsOf(rule.in, mail).flatMap((texts) => resultsOf(rule, pattern, texts));
      const usable = [...new Map(found.map((address) => [canonicalAddress(address), address])).values()];
      if (usable.length > 0) return usable;
    }
    return [];
  };
}

/** What one rule makes of a text of its place, for the tests beside it in the configuration. */
export function destinationOf(rule: DestinationRule, text: string, mailbox: string): readonly string[] {
  const mail =
    rule.in === 'subject' || rule.in === 'always'
      ? { subject: text, recipients: [], mailbox }
      : { subject: '', recipients: [text], mailbox };
  return destinations([rule])(mail);
}

/** @returns what is wrong with a rule, and with which part of it */
export function checkRule({
  in: place,
  pattern,
  to,
}: DestinationRule): { readonly part: 'pattern' | 'to'; readonly problem: string } | undefined {
  const compiled = pattern === undefined ? undefined : regex(pattern);
  if (typeof compiled === 'string') return { part: 'pattern', problem: `is no expression of RE2: ${compiled}` };
  const at = to.lastIndexOf('@');
  if (at < 1 || !isSendable(to.replace(GROUP, '1')))
    return { part: 'to', problem: 'must be an address, such as $1@fax.local' };
  if (/\$[\d$]/.test(to.slice(at)))
    return { part: 'to', problem: 'takes its domain from the mail: any host could be reached by it' };
  const groups = place === 'always' ? -1 : (compiled?.groups ?? (place === 'fax' ? 2 : 0));
  const missing = [...to.matchAll(GROUP)].find(([, group]) => group !== '$' && Number(group) > groups)?.[0];
  return missing === undefined ? undefined : { part: 'to', problem: `has ${missing}, and there is no such group` };
}

function patternOf({ in: place, pattern }: DestinationRule): Regex | undefined {
  return place === 'always' || (place === 'fax' && pattern === undefined) ? undefined : regexOf(pattern ?? ANYTHING);
}

/** Of each text its whole and what groups its place gives by itself. */
function textsOf(place: Place, { subject, recipients: all, mailbox }: Addressed): readonly (readonly string[])[] {
  const recipients = all.slice(0, MAX_ADDRESSES);
  switch (place) {
    case 'subject':
      return [[subject.slice(0, MAX_TEXT)]];
    case 'recipient':
      return recipients.map((address) => [address.slice(0, MAX_TEXT)]);
    case 'plus':
      return recipients.flatMap((address) => plusOf(address, mailbox));
    case 'fax':
      return recipients.flatMap((address) => faxesOf(localPart(address).slice(0, MAX_TEXT)));
    case 'always':
      return [['']];
    default:
      return place satisfies never;
  }
}

function resultsOf(
  { to, digits }: DestinationRule,
  pattern: Regex | undefined,
  texts: readonly string[],
): readonly string[] {
  const [text = ''] = texts;
  const matches = pattern === undefined ? [texts] : pattern.matches(text);
  return matches.flatMap((groups) => {
    const clean = digits ? groups.map(digitsOf) : groups;
    const used: string[] = [];
    const address = to.replace(GROUP, (_all, group: string) => {
      if (group === '$') return '$';
      const part = clean[Number(group)] ?? '';
      used.push(part);
      return part;
    });
    // What leaves a hole in the address, or could not be in one, is as good as not found.
    const isHole = used.length > 0 && used.every((part) => part === '');
    const isHostile = used.some((part) => ROUTING.test(part)) || (to.startsWith('$') && address.startsWith('-'));
    return !isHole && !isHostile && isSendable(address) ? [address] : [];
  });
}

function plusOf(address: string, mailbox: string): readonly (readonly string[])[] {
  const [base = '', ...tag] = localPart(address).split('+');
  const isOurs = canonicalAddress(`${base}@${domainOf(address)}`) === canonicalAddress(mailbox);
  return isOurs && tag.length > 0 ? [[tag.join('+')]] : [];
}

/** The number is all that the forms before the @ give; the text of a pattern is the number too. */
function faxesOf(text: string): readonly (readonly string[])[] {
  const plain = FAX.matches(text);
  const found = plain.length > 0 || !ENCAPSULATED.test(text) ? plain : FAX.matches(`FAX=${decapsulated(text)}`);
  return found.map(([, number = '', subaddress = '']) => [digitsOf(number), digitsOf(number), subaddress]);
}

/** IMCEA (MS-OXCMAIL 2.1.3.1.8): `_` is `/`, `+2B` is `+`; before the number may be a name and `@`. */
function decapsulated(text: string): string {
  const decoded = text
    .replace(ENCAPSULATED, '')
    .replaceAll('_', '/')
    .replace(/\+([0-9a-f]{2})/gi, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return decoded.slice(decoded.lastIndexOf('@') + 1);
}

function digitsOf(text: string): string {
  const digits = text.replace(/\D/g, '');
  return digits === '' ? '' : `${/^[^\d]*\+/.test(text) ? '+' : ''}${digits}`;
}

/** Without the quotes that need not be there. */
function localPart(address: string): string {
  return address.slice(0, Math.max(0, address.lastIndexOf('@'))).replace(/^"(.*)"$/s, '$1');
}

function domainOf(address: string): string {
  return address.slice(address.lastIndexOf('@') + 1);
}

function regexOf(pattern: string): Regex {
  const compiled = regex(pattern);
  if (typeof compiled === 'string') throw new TypeError(`not a regular expression: ${compiled}`);
  return compiled;
}
