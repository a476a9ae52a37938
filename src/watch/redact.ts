/**
 * What may stand in a log line: one value of text, made harmless. Control characters, terminal escapes and marks that
 * change the direction of writing are replaced, so that no value can break, hide or fake a line; what looks like a
 * secret is masked (a second net: none should come this far); addresses are shown as the operator chose; everything is
 * bounded. Pure; never fails.
 */
import { createHmac } from 'node:crypto';
import { unreachable } from '../mail/status.ts';

/** full: as they are. domain: `***@contoso.com`. hashed: `#` and 12 hex digits, the same for the same address. */
export type AddressMode = 'full' | 'domain' | 'hashed';

export interface Redactor {
  /** Free text: secrets and the addresses in it masked. @param limit characters, at most 2000 */
  text(value: string, limit?: number): string;
  /** The value of a field that holds one address or user name. The null reverse-path is `<>`. */
  address(value: string): string;
  /** Text with an identifier in it that looks like an address and is none: a Message-ID. */
  textAbout(value: string, messageId: string, limit?: number): string;
  /** An identifier: made harmless, never masked. */
  id(value: string): string;
}

/**
 * Fixed, so that hashes stay comparable over restarts. It is no secret: who can guess an address can check the guess,
 * and docs/log.md says so.
 */
const SALT = 'smtp2exchange';
const DEFAULT_LIMIT = 500;
const LONGEST = 2_000;
/** Text is cut to this before it is searched, so that the searches take bounded time. */
const SEARCHED = 4_096;
const ID_LIMIT = 1_000;
const ADDRESS_LIMIT = 320;
const HASH_DIGITS = 12;

export function createRedactor(addresses: AddressMode): Redactor {
  const address = (value: string): string => {
    if (value === '') return '<>';
    if (addresses === 'full' && value.length <= ADDRESS_LIMIT && PLAIN.test(value)) return value;
    switch (addresses) {
      case 'full':
        return cut(maskSecrets(harmless(value.slice(0, SEARCHED))), ADDRESS_LIMIT);
      case 'domain': {
        const at = value.lastIndexOf('@');
        return at < 0 ? '***' : cut(`***${harmless(value.slice(at))}`, ADDRESS_LIMIT);
      }
      case 'hashed':
        return hash(value);
      default:
        return unreachable(addresses);
    }
  };
  const maskAddresses = (value: string): string =>
    addresses === 'full'
      ? value
      : value.replace(
          ADDRESS,
          (_, quote: string, local: string, domain: string) => quote + address(`${local}@${domain}`),
        );
  // Made harmless first: a control character inside a secret or an address must not keep it from being seen.
  const masked = (value: string): string => maskAddresses(maskSecrets(harmless(searchable(value))));
  const text = (value: string, limit = DEFAULT_LIMIT): string => cut(masked(value), Math.min(limit, LONGEST));

  return {
    text,
    address,
    textAbout(value, messageId, limit = DEFAULT_LIMIT) {
      if (messageId === '') return text(value, limit);
      const parts = searchable(value).split(messageId);
      return cut(parts.map(masked).join(harmless(messageId)), Math.min(limit, LONGEST));
    },
    id: (value) => cut(harmless(value), ID_LIMIT),
  };
}

/** An address in which there is nothing to mask, to replace or to cut: most of them. */
const PLAIN = /^(?!eyJ)[A-Za-z0-9]+(?:[._+-](?!eyJ)[A-Za-z0-9]+)*@[a-z0-9]+(?:[.-][a-z0-9]+)*$/;

/**
 * One address in free text, also percent-encoded or with a quoted local part (RFC 5321 section 4.1.2). A quotation mark
 * before it is not part of it.
 */
const ADDRESS =
  /(["'`]?)("(?:[^"\\]|\\.){1,64}"|[^\s<>()[\],;:"@\\]{1,320}?)(?:@|%40)(\[[^\]\s]{1,64}\]|[\p{L}\p{M}\p{N}_-]{1,63}(?:\.[\p{L}\p{M}\p{N}_-]{1,63}){0,20})/gu;

const SECRETS: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|$)/g, '[private key]'],
  // Looks random: a digit, a padding or a capital inside. "Basic authentication" is no secret.
  [/\b([Bb]earer|[Bb]asic|NTLM|[Nn]egotiate) +(?=[\w.~+/-]*[\d=]|[\w.~+/-]+[A-Z])[\w.~+/=-]{8,}/g, '$1 [secret]'],
  // A JSON Web Token (RFC 7519): its first part is the encoding of `{"`.
  [/\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)*/g, '[token]'],
  [/\b(AUTH +(?:PLAIN|LOGIN|XOAUTH2|OAUTHBEARER)) +[\w+/=-]+/gi, '$1 [secret]'],
  [
    /(client_secret|client_assertion|access_token|refresh_token|id_token|assertion|clientSecret|passwordHash|password|passwd|pwd)(["']?\s?[=:]\s?["']?)[^\s&"',;]+/gi,
    '$1$2[secret]',
  ],
];

function hash(value: string): string {
  return `#${createHmac('sha256', SALT).update(value.toLowerCase()).digest('hex').slice(0, HASH_DIGITS)}`;
}

function maskSecrets(value: string): string {
  let masked = value;
  for (const [pattern, mask] of SECRETS) masked = masked.replace(pattern, mask);
  return masked;
}

/** White space of any kind becomes one space; other control and format characters, and half surrogates, a visible mark. */
function harmless(value: string): string {
  return value.replace(/[\t\n\v\f\r\u0085\u2028\u2029]+/gu, ' ').replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, '\ufffd');
}

function cut(value: string, limit: number): string {
  if (value.length <= limit) return value;
  return `${value
    .slice(0, limit - 1)
    .toWellFormed()
    .replace(/\ufffd$/u, '')}…`;
}

/** Without its last word if it had to be cut: half an address would not be recognised. */
function searchable(value: string): string {
  return value.length <= SEARCHED ? value : value.slice(0, SEARCHED).replace(/[^\s]{0,400}$/u, '…');
}
