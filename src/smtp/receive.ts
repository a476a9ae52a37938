/**
 * DATA: the header block is peeled off within its bound, read and repaired; the body streams on untouched. Resolves with
 * the spool id once the message is durable. Rejects with Refused; the stream is always read to its end, because the
 * reply may only come after it, but a client that goes on without end is cut off.
 */
import { parseHeader } from '../mail/addresses.ts';
import type { Envelope, Origin } from '../mail/envelope.ts';
import { HeaderPeeler, joinHeader, splitHeader } from '../mail/header.ts';
import type { HeaderField } from '../mail/header.ts';
import type { SpoolId } from '../mail/item.ts';
import { repairHeader } from '../mail/repair.ts';
import type { Incoming, Inject } from '../mail/source.ts';
import { SpoolError } from '../mail/spool.ts';
import { Refused } from './reply.ts';

export interface ReceiveOptions {
  readonly inject: Inject;
  readonly envelope: Envelope;
  readonly origin: Origin;
  /** For the Received field. */
  readonly protocol: string;
  readonly hostname: string;
  readonly defaultFrom: string;
  /** Octets. */
  readonly maxMessageSize: number;
  readonly maxHeaderSize: number;
  /** Received fields from which on the message counts as looping. */
  readonly maxHops: number;
  readonly now: () => number;
  /** Ends the connection at once. */
  readonly cutOff: () => void;
}

export interface Received {
  readonly id: SpoolId;
  readonly messageId: string;
  readonly size: number;
  readonly repairs: readonly string[];
}

/** How much more than allowed a client may send before it is cut off, octets. */
const MARGIN = 1024 * 1024;
const ADDRESS_FIELDS = new Set(['from', 'message-id']);

export async function receive(stream: AsyncIterable<Buffer>, options: ReceiveOptions): Promise<Received> {
  const { maxMessageSize, inject, cutOff } = options;
  let incoming: Incoming | undefined;
  let message: Message | undefined;
  let trouble: { readonly error: unknown } | undefined;
  const giveUp = async (error: unknown): Promise<void> => {
    trouble = { error };
    await incoming?.abort();
  };
  try {
    incoming = inject.begin();
    message = new Message(incoming, options);
  } catch (error) {
    trouble = { error };
  }
  let size = 0;
  try {
    for await (const chunk of stream) {
      size += chunk.length;
      if (size > maxMessageSize + MARGIN) cutOff();
      if (trouble !== undefined) continue;
      if (size > maxMessageSize) await giveUp(tooLarge(maxMessageSize));
      else await message?.write(chunk).catch(giveUp);
    }
    if (trouble === undefined && message !== undefined) return await message.finish();
  } catch (error) {
    // What came first is why; the end of the connection may only follow from it.
    if (trouble === undefined) await giveUp(error);
  }
  throw asRefused(trouble?.error);
}

function tooLarge(limit: number): Refused {
  return new Refused('size', 552, '5.3.4', `The message is larger than ${limit} octets`);
}

function asRefused(error: unknown): unknown {
  if (error instanceof SpoolError) {
    return error.trouble === 'full'
      ? new Refused('room', 452, '4.3.1', 'The disk of the mail gateway is full, try again later', {
          detail: error.message,
        })
      : new Refused('spool', 451, '4.3.0', 'The mail gateway cannot store the message, try again later', {
          detail: error.message,
        });
  }
  if (error instanceof Error && 'code' in error && error.code === 'ECONNECTION') {
    return new Refused('aborted', 421, '4.4.2', 'The connection was lost', {
      detail: 'the client went away in the middle of the message',
    });
  }
  return error;
}

class Message {
  readonly #incoming: Incoming;
  readonly #options: ReceiveOptions;
  readonly #peeler: HeaderPeeler;
  #header:
    | {
        readonly size: number;
        readonly messageId: string;
        readonly from: readonly string[];
        readonly repairs: readonly string[];
      }
    | undefined;
  #size = 0;

  constructor(incoming: Incoming, options: ReceiveOptions) {
    this.#incoming = incoming;
    this.#options = options;
    this.#peeler = new HeaderPeeler(options.maxHeaderSize);
  }

  async write(chunk: Buffer): Promise<void> {
    if (this.#header !== undefined) return this.#pass(chunk);
    const peeled = this.#peeler.push(chunk);
    if (this.#peeler.overflow) {
      throw new Refused(
        'header',
        552,
        '5.3.4',
        `The header of the message is larger than ${this.#options.maxHeaderSize} octets`,
      );
    }
    if (peeled !== undefined) await this.#begin(peeled);
  }

  async finish(): Promise<Received> {
    if (this.#header === undefined) await this.#begin(this.#peeler.end());
    if (this.#header === undefined) throw new Error('a message without a header block');
    const { size: headerSize, messageId, from, repairs } = this.#header;
    const { envelope, origin } = this.#options;
    await this.#incoming.commit({ envelope, origin, messageId, headerSize, from, repairs });
    return { id: this.#incoming.id, messageId, size: this.#size, repairs };
  }

  async #pass(octets: Buffer): Promise<void> {
    if (octets.length === 0) return;
    this.#size += octets.length;
    await this.#incoming.write(octets);
  }

  async #begin({ header, rest }: { header: Buffer; rest: Buffer }): Promise<void> {
    const options = this.#options;
    const { fields, body } = taken(header);
    const hops = fields.filter((field) => field.name === 'received').length;
    if (hops >= options.maxHops) {
      throw new Refused('loop', 554, '5.4.6', `The message has passed ${hops} servers: it is going round in circles`);
    }
    const parsed = await parseHeader(fields.filter((field) => ADDRESS_FIELDS.has(field.name)));
    const { now, hostname, envelope, defaultFrom, origin, protocol } = options;
    const repaired = repairHeader(fields, parsed, {
      now: now(),
      hostname,
      spoolId: this.#incoming.id,
      reversePath: envelope.reversePath,
      defaultFrom,
      origin,
      protocol,
    });
    const { from } = await parseHeader(repaired.fields.filter((field) => field.name === 'from'));
    const block = joinHeader(repaired.fields);
    this.#header = {
      size: block.length,
      messageId: repaired.messageId,
      from: from.map(({ address }) => address).filter((address) => address !== ''),
      repairs: body.length > 0 ? [...repaired.repairs, 'put an empty line before the body'] : repaired.repairs,
    };
    await this.#pass(block);
    await this.#pass(body);
    await this.#pass(rest);
  }
}

/**
 * The header ends before its first line that is no field, as it does in other servers: what stands behind such a line
 * is header for some readers and body for others, and recipients must not depend on the reader. Only an mbox From line
 * in front of a field may stand there.
 */
function taken(block: Buffer): { fields: HeaderField[]; body: Buffer } {
  const fields = splitHeader(block);
  const isMbox = fields[0]?.raw.toString('latin1', 0, 5) === 'From ' && (fields[1]?.name ?? '') !== '';
  const end = fields.findIndex(({ name }, index) => name === '' && !(index === 0 && isMbox));
  if (end < 0) return { fields, body: block.subarray(block.length) };
  const header = fields.slice(0, end);
  return { fields: header, body: block.subarray(header.reduce((sum, { raw }) => sum + raw.length, 0)) };
}
