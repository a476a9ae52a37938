/**
 * Signatures of requests as Standard Webhooks 1.0.0 has them (https://www.standardwebhooks.com, "Signature scheme"), so
 * that any of its libraries can check one: HMAC-SHA256 over `<Webhook-Id>.<Webhook-Timestamp>.<body>`, the timestamp in
 * seconds. The body is hashed as it streams, so it is read once before it is sent. Errors of the body's reader pass.
 */
import { createHmac } from 'node:crypto';

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

export interface Signed {
  readonly 'Webhook-Id': string;
  readonly 'Webhook-Timestamp': string;
  readonly 'Webhook-Signature'?: string;
}

/**
 * @param key absent: nothing is signed, and the body is not read
 * @param now epoch milliseconds
 */
export async function sign(
  id: string,
  now: number,
  body: AsyncIterable<Uint8Array>,
  key: Uint8Array | undefined,
  signal: AbortSignal,
): Promise<Signed> {
  const timestamp = String(Math.floor(now / 1000));
  const names = { 'Webhook-Id': id, 'Webhook-Timestamp': timestamp };
  if (key === undefined) return names;
  const hmac = createHmac('sha256', key).update(`${id}.${timestamp}.`);
  for await (const chunk of body) {
    if (signal.aborted) break;
    hmac.update(chunk);
  }
  return { ...names, 'Webhook-Signature': `v1,${hmac.digest('base64')}` };
}
