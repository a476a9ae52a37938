/** The account that logs in at Exchange on servers of one's own: the forms of its name. */
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

export interface AccountName {
  readonly username: string;
  /** Empty: name@domain, or none was given with it. */
  readonly domain: string;
}

/** `name`, `DOMAIN\\name` or `name@domain`. */
export function accountName(text: string): Value<AccountName> {
  const parts = text.split('\\');
  const [domain, name] = parts.length === 2 ? (parts as [string, string]) : ['', text];
  if (parts.length > 2 || name === '' || (parts.length === 2 && domain === '') || UNUSABLE.test(name))
    return bad('must be the name of an account: name, DOMAIN\\name or name@domain');
  return good({ username: name, domain });
}

export function accountDomain(text: string): Value<string> {
  return /[\\/@:]/.test(text) || UNUSABLE.test(text)
    ? bad('must be the name of a domain, such as CONTOSO')
    : good(text);
}

/** What no account name holds; a colon would end it (RFC 7617 section 2). */
const UNUSABLE = /[\p{Cc}"/[\]:;|=,+*?<>\\]/u;
