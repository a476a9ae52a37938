/** The kinds of values that settings have, each with its name in the reference. */
import { pattern } from './addresses.ts';
import { network } from './network.ts';
import { list, optional, section, text } from './schema.ts';
import { Secret } from './secret.ts';
import { DURATION_PATTERN, duration, SIZE_PATTERN, size } from './units.ts';
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

export const networks = (description: string, atLeast: number) =>
  list(description, text({ description: 'A network in CIDR form or one address.', kind: 'network' }, network), atLeast);

export const addressPattern = (description: string) => text({ description, kind: 'pattern' }, pattern);

export const patterns = (description: string, atLeast: number) =>
  list(description, addressPattern('A pattern of addresses.'), atLeast);

export const certificate = (description: string) =>
  section(description, {
    certFile: file('PEM file with the certificate, followed by the certificates of its issuers if there are any.'),
    keyFile: file('PEM file with the private key of the certificate.'),
    passphrase: optional(secret('Passphrase of the private key, if it is encrypted.')),
    passphraseFile: optional(file('File with the passphrase, instead of passphrase.')),
  });

function filled(value: string): Value<string> {
  return value.includes('\0') ? bad('must be the path of a file') : good(value);
}
