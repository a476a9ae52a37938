/** The key by which requests are signed (Standard Webhooks 1.0.0, https://www.standardwebhooks.com). Pure; never fails. */

/** Octets of a key; the specification asks for 24 to 64. */
const SHORTEST = 24;
const LONGEST = 64;

/**
 * The key of a secret as the specification writes it: `whsec_` and base64. Made by `echo whsec_$(openssl rand -base64 32)`.
 * @returns undefined for what is none
 */
export function webhookKey(secret: string): Uint8Array | undefined {
  const text = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret)?.[1];
  if (text === undefined) return undefined;
  const key = Buffer.from(text, 'base64');
  return key.length >= SHORTEST && key.length <= LONGEST ? key : undefined;
}
