/**
 * Signatures of requests as Standard Webhooks 1.0.0 has them (https://www.standardwebhooks.com, "Signature scheme"), so
 * that any of its libraries can check one: HMAC-SHA256 over `<Webhook-Id>.<Webhook-Timestamp>.<body>`, the timestamp in
 * seconds. The body is hashed as it streams, so it is read once before it is sent. Errors of the body's reader pass.
 */
import { createHmac } from 'node:crypto';

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
