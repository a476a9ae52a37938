/**
 * A mailbox as it is written into an address field (RFC 5322 section 3.4): the display name quoted or as encoded words
 * (RFC 2047) where it has to be, in ASCII. Pure; never fails. The address is written as it is.
 */
import type { Mailbox } from './addresses.ts';

/** `Name <address>`, or the address alone. White space and control characters of the name become single blanks. */
export function renderMailbox({ name, address }: Mailbox): string {
  const shown = name.replace(/[\p{Cc}\s]+/gu, ' ').trim();
  return shown === '' ? address : `${phrase(shown)} <${address}>`;
}

/** A display name as RFC 5322 section 3.2.5 wants it, as encoded words (RFC 2047) where it is not plain ASCII. */
function phrase(name: string): string {
  // What looks like an encoded word would be decoded, and an endless word could not be folded.
  const isPlain = /^[ -~]+$/.test(name) && !name.includes('=?') && !/\S{70}/.test(name);
  if (!isPlain) return encodedWords(name);
  if (/^[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]+$/.test(name)) return name;
  return `"${name.replace(/["\\]/g, '\\$&')}"`;
}

/** Octets that fit into one encoded word of 75 characters as `=?utf-8?B?...?=`. */
const WORD = 45;

/** Encoded words of at most 75 characters (RFC 2047 section 2), UTF-8 and base64, with blanks between them. */
export function encodedWords(text: string): string {
  const words: string[] = [];
  let word = '';
  let size = 0;
  for (const character of text.toWellFormed()) {
    const octets = Buffer.byteLength(character);
    if (size + octets > WORD) {
      words.push(word);
      word = '';
      size = 0;
    }
    word += character;
    size += octets;
  }
  words.push(word);
  return words.map((one) => `=?utf-8?B?${Buffer.from(one).toString('base64')}?=`).join(' ');
}
