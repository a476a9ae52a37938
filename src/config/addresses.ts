/** Mailboxes, patterns of addresses, user names and names of header fields as the configuration has them. */
import { isSendable } from '../mail/address.ts';
import { isPattern } from '../mail/pattern.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

export function mailbox(value: string): Value<string> {
  // RFC 5322 has the asterisk in local parts; Exchange does not, and here it was meant as a pattern.
  return isSendable(value) && !value.includes('*')
    ? good(value)
    : bad('must be an e-mail address, such as notifications@contoso.com');
}

/** See mail/pattern.ts. */
export function pattern(value: string): Value<string> {
  if (isPattern(value)) return good(value);
  const problem = 'must be a pattern of addresses: fax@contoso.com, @contoso.com, *@*.contoso.com or *';
  if (value.includes(',') || value.includes(';')) return bad(problem, 'write each as an entry of its own');
  if (/[<>]/.test(value)) return bad(problem, 'without < and >, without a display name');
  if (/^[*.]*[^@\s]+\.[^@\s]+$/.test(value)) {
    return bad(problem, 'every address of a domain is written with an @ before it, such as @contoso.com');
  }
  return bad(problem);
}

export function userName(value: string): Value<string> {
  return /^[^\p{C}]{1,255}$/u.test(value)
    ? good(value)
    : bad('must be 1 to 255 characters, none of them a control character');
}

/** What may stand before an address; encoded where it is not ASCII. */
export function displayName(value: string): Value<string> {
  return /^[^\p{C}]{1,100}$/u.test(value)
    ? good(value)
    : bad('must be 1 to 100 characters, none of them a control character');
}

/** A field that legacy software makes up itself (RFC 5322 section 3.6.8), and no one the gateway or Exchange uses. */
export function carriedHeader(value: string): Value<string> {
  if (!/^X-[A-Za-z0-9-]{1,62}$/i.test(value)) {
    return bad(
      'must be the name of a header field that begins with X-, of ASCII letters, digits and hyphens, such as X-Ticket-ID',
      value.endsWith(':') ? 'without the colon' : undefined,
    );
  }
  if (/^X-MS-/i.test(value)) return bad('is a field that Exchange keeps for itself');
  if (/^X-SMTP2Exchange-/i.test(value)) return bad('is a field of this gateway, which carries it by itself');
  return good(value);
}
