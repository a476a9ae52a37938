/** A body with 8-bit octets that nobody declared (RFC 2045 section 6.1 takes it for 7-bit US-ASCII). Pure; never fails. */
import { isAscii, isUtf8 } from 'node:buffer';
import { fieldValue, headerField } from './header.ts';
import type { HeaderField } from './header.ts';

export type Charset = 'utf-8' | 'iso-8859-1' | 'windows-1252';

/** Octets of the body that are looked at. */
export const PEEK = 64 * 1024;

const US_ASCII = /;\s*charset\s*=\s*(?:us-ascii|"us-ascii")(?=\s*(?:;|$))/i;

/** US-ASCII says nothing of 8-bit octets. */
function namesCharset(type: string): boolean {
  return /;\s*charset\s*=/i.test(type) && !US_ASCII.test(type);
}

/** Whether the header leaves open what 8-bit octets of the body would mean. */
export function needsDeclaration(fields: readonly HeaderField[]): boolean {
  const { type, encoding } = declared(fields);
  if (type === undefined) return true;
  if (!/^text\//i.test(type)) return false;
  return !namesCharset(type) || encoding === undefined || /^7bit$/i.test(encoding);
}

/**
 * @param body its beginning
 * @param isCut more of it follows, so that it may end in the middle of a character
 * @returns undefined for plain ASCII. The other two are a guess: what is not valid UTF-8 is text of
 *   an old device, and of a Windows one if it has octets that are control characters in ISO 8859-1
 */
export function charsetOf(body: Buffer, isCut: boolean): Charset | undefined {
  if (isAscii(body)) return undefined;
  if (isUtf8(body)) return 'utf-8';
  if (isCut && isBeginOfUtf8(body)) return 'utf-8';
  return body.some((octet) => octet >= 0x80 && octet <= 0x9f) ? 'windows-1252' : 'iso-8859-1';
}

/** Whether it is UTF-8 but for the character at its end. */
function isBeginOfUtf8(body: Buffer): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(body, { stream: true });
    return true;
  } catch {
    return false;
  }
}

export function declareCharset(fields: readonly HeaderField[], charset: Charset): HeaderField[] {
  const { type, encoding } = declared(fields);
  const kept = fields.filter(
    ({ name }) =>
      name !== 'content-type' && !(name === 'content-transfer-encoding' && /^7bit$/i.test(encoding ?? '7bit')),
  );
  const wanted =
    type !== undefined && namesCharset(type)
      ? type
      : `${(type ?? 'text/plain').replace(US_ASCII, '')}; charset=${charset}`;
  const isEncoded = encoding !== undefined && !/^7bit$/i.test(encoding);
  return [
    ...kept,
    headerField('Content-Type', wanted),
    ...(isEncoded ? [] : [headerField('Content-Transfer-Encoding', '8bit')]),
  ];
}

function declared(fields: readonly HeaderField[]): { type: string | undefined; encoding: string | undefined } {
  const value = (name: string): string | undefined => {
    const field = fields.find((one) => one.name === name);
    // oxlint-disable-next-line no-control-regex -- those have no place there
    return field && fieldValue(field).replace(/[\x00-\x08\x0a-\x1f\x7f]/g, ' ');
  };
  return { type: value('content-type'), encoding: value('content-transfer-encoding')?.trim() };
}
