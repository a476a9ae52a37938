/**
 * The stored message as a transport reads it: its header block held in memory within a bound, another one put in its
 * place, the body streamed behind that. What the spool's entry promises and its octets do not keep is a SizeMismatch; that,
 * and what else keeps a message from being read, are statuses here, for every transport the same.
 */
import { headerBlock } from './header.ts';
import { SpoolError } from './spool.ts';
import type { Delayed, Failed } from './status.ts';
import type { Outgoing } from './transport.ts';

/** Octets of a header block that a transport holds in memory, where nothing else is said. */
export const MAX_HEADER_SIZE = 1024 * 1024;
/** `X-Precious: yes`: its sender wants no doubt about it. For the gateway only, so it goes no further. */
export const PRECIOUS_FIELD = 'x-precious';

/** The spool's body is not what its entry says. */
export class SizeMismatch extends Error {
  override readonly name = 'SizeMismatch';
}

/** Rejects with SizeMismatch and SpoolError. */
export async function readHeader({ item, open }: Outgoing): Promise<Buffer> {
  const block = await headerBlock(open(), item.headerSize);
  if (block.length < item.headerSize) throw new SizeMismatch('the stored message ends within its header block');
  return block;
}

/** The message with another header block. Throws SizeMismatch and SpoolError before its last octet. */
export async function* replaceHeader(header: Buffer, outgoing: Outgoing): AsyncGenerator<Uint8Array> {
  const { item } = outgoing;
  yield header;
  let at = 0;
  for await (const chunk of outgoing.open()) {
    const rest = at >= item.headerSize ? chunk : chunk.subarray(Math.min(chunk.length, item.headerSize - at));
    at += chunk.length;
    if (at > item.size) break;
    if (rest.length > 0) yield rest;
  }
  if (at !== item.size) throw new SizeMismatch(`the stored message should have ${item.size} octets and has not`);
}

export function headerTooLarge(size: number, limit: number): Failed {
  return {
    outcome: 'failed',
    code: '5.3.4',
    cause: 'header too large',
    text: 'The header of the message is too large',
    reason: `The header block has ${size} octets, more than the ${limit} this transport takes`,
  };
}

/** The message was not handed over whole, so nothing was sent. A store in trouble recovers; a body that is not what it should be does not. */
export function unreadable(error: SpoolError | SizeMismatch): Delayed {
  const isSpool = error instanceof SpoolError;
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'message',
    cause: isSpool ? `spool ${error.trouble}` : 'stored message damaged',
    text: 'The mail gateway cannot read the stored message at the moment',
    reason: error.message,
    ...(isSpool ? {} : { capped: true }),
  };
}

/** The gateway ends in the middle of an attempt: the message is tried again after the next start. */
export function cutShort(reason: string): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.2',
    reach: 'message',
    cause: 'ABORTED',
    text: 'The mail gateway is stopping',
    reason,
  };
}
