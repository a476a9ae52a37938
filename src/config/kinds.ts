/** The kinds of values that settings have, each with its name in the reference. */
import { pattern } from './addresses.ts';
import { network, serverUrl } from './network.ts';
import { list, optional, section, text } from './schema.ts';
import { Secret } from './secret.ts';
import { suggest } from '../mail/suggest.ts';
import { DATE_PATTERN, DURATION_PATTERN, duration, isoDate, SIZE_PATTERN, size } from './units.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

export const file = (description: string) => text({ description, kind: 'file' }, filled);

export const secret = (description: string) =>
  text({ description, kind: 'secret' }, (value) => good(new Secret(value)));

/** Limits are given as people write them. */
export const time = (description: string, least: string, most: string) =>
  text({ description, kind: `duration, ${least} to ${most}`, pattern: DURATION_PATTERN }, (value) =>
    duration(value, least, most),
  );

/** Limits are given as people write them. */
export const octets = (description: string, least: string, most: string) =>
  text({ description, kind: `size, ${least} to ${most}`, pattern: SIZE_PATTERN }, (value) => size(value, least, most));

/** Read as Infinity if it is the word `never`. */
export const timeOrNever = (description: string, least: string, most: string) =>
  text(
    { description, kind: `duration, ${least} to ${most}, or \`never\``, pattern: `^never$|${DURATION_PATTERN}` },
    (value) => orNever(value, duration(value, least, most)),
  );

/** Read as Infinity if it is the word `never`. */
export const octetsOrNever = (description: string, least: string, most: string) =>
  text({ description, kind: `size, ${least} to ${most}, or \`never\``, pattern: `^never$|${SIZE_PATTERN}` }, (value) =>
    orNever(value, size(value, least, most)),
  );

/** Read as milliseconds since 1970. */
export const date = (description: string) => text({ description, kind: 'date', pattern: DATE_PATTERN }, isoDate);

/** An address that whoever knows it may use. */
export const secretUrl = (description: string) =>
  text({ description, kind: 'URL, a secret' }, (value) => {
    const url = serverUrl(value, { httpOnLoopback: true, query: true });
    return url.ok ? good(new Secret(url.value)) : url;
  });

export const plainName = (description: string) =>
  text({ description, kind: 'letters, digits, . _ -', pattern: '^[\\w.-]{1,32}$' }, (value) =>
    /^[\w.-]{1,32}$/.test(value) ? good(value) : bad('must be 1 to 32 letters, digits, dots, hyphens or underscores'),
  );

export const networks = (description: string, atLeast: number) =>
  list(description, text({ description: 'A network in CIDR form or one address.', kind: 'network' }, network), atLeast);

export const addressPattern = (description: string) => text({ description, kind: 'pattern' }, pattern);

export const patterns = (description: string, atLeast: number) =>
  list(description, addressPattern('A pattern of addresses.'), atLeast);

export const certificate = (description: string) =>
  section(description, {
    certFile: optional(
      file(
        'PEM file with the certificate, followed by the certificates of its issuers if there are any. Needs keyFile too.',
      ),
    ),
    keyFile: optional(file('PEM file with the private key of the certificate.')),
    pfxFile: optional(
      file('PKCS #12 file (.pfx, .p12) with the certificate, its private key and its issuers, instead of the two.'),
    ),
    passphrase: optional(secret('Passphrase of the private key or the PKCS #12 file, if it has one.')),
    passphraseFile: optional(file('File with the passphrase, instead of passphrase.')),
  });

function orNever(text: string, read: Value<number>): Value<number> {
  if (read.ok) return read;
  if (text === 'never') return good(Infinity);
  const isMeant = /^[a-z]+$/i.test(text) && suggest(text, ['never']) !== undefined;
  return bad(`${read.problem}, or never`, isMeant ? 'did you mean never?' : undefined);
}

function filled(value: string): Value<string> {
  return value.includes('\0') ? bad('must be the path of a file') : good(value);
}

/** A word of a program's command line. */
export function commandWord(value: string): Value<string> {
  return value.includes('\0') ? bad('must not hold a NUL character') : good(value);
}
