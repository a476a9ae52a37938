/**
 * The body of a request to a webhook: the message alone, or a form (RFC 7578) with the facts and the message. The same
 * octets at each attempt, because receivers compare a request with the earlier one of the same key. Its length is known
 * before, it is streamed and can be opened again. Errors of the message's reader pass through.
 */
import { createHash } from 'node:crypto';
import type { Facts } from './facts.ts';

export interface WebhookBody {
  readonly contentType: string;
  /** Exact number of octets. */
  readonly length: number;
  open(): AsyncIterable<Uint8Array>;
}

/** @param openMessage its octets, `facts.size` of them; a chunk is good until the next one is asked for */
export function webhookBody(
  form: 'raw' | 'multipart',
  facts: Facts,
  openMessage: () => AsyncIterable<Uint8Array>,
): WebhookBody {
  if (form === 'raw') return { contentType: 'message/rfc822', length: facts.size, open: () => kept(openMessage()) };
  // Of the id, whose chance no sender of a message knows.
  const boundary = `smtp2exchange-${createHash('sha256').update(`boundary ${facts.id}`).digest('hex').slice(0, 40)}`;
  const head = Buffer.from(
    [
      `--${boundary}`,
      'Content-Disposition: form-data; name="envelope"',
      'Content-Type: application/json',
      '',
      JSON.stringify(facts),
      `--${boundary}`,
      `Content-Disposition: form-data; name="message"; filename="${facts.id}.eml"`,
      'Content-Type: message/rfc822',
      '',
      '',
    ].join('\r\n'),
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  return {
    contentType: `multipart/form-data; boundary=${boundary}`,
    length: head.length + facts.size + tail.length,
    async *open() {
      yield head;
      yield* kept(openMessage());
      yield tail;
    },
  };
}

/**
 * Octets copied at once. By way of a string, which lies on the garbage collector's own heap: buffers alone make it wait
 * until tens of megabytes of them are left over.
 */
const PIECE = 48 * 1024;

/** A copy of each chunk: whoever sends them keeps one while it asks for the next. */
async function* kept(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    const octets = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    for (let at = 0; at < octets.length; at += PIECE)
      yield Buffer.from(octets.toString('latin1', at, at + PIECE), 'latin1');
  }
}
