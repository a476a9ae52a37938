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
  const incoming = options.inject.begin();
  const message = new Message(incoming, options);
  let size = 0;
  let refused: unknown;
  try {
    for await (const chunk of stream) {
      size += chunk.length;
      if (size > options.maxMessageSize + MARGIN) {
        refused ??= tooLarge(options.maxMessageSize);
        options.cutOff();
      }
      if (refused !== undefined) continue;
      if (size > options.maxMessageSize) {
        refused = tooLarge(options.maxMessageSize);
        await incoming.abort();
        continue;
      }
      try {
        await message.write(chunk);
      } catch (error) {
        refused = error;
        await incoming.abort();
      }
    }
    if (refused !== undefined) throw refused;
    return await message.finish();
  } catch (error) {
    await incoming.abort();
    throw asRefused(error);
  }
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
    const { options, header: fields, body } = this.#read(header);
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
    const block = joinHeader(repaired.fields);
    this.#header = {
      size: block.length,
      messageId: repaired.messageId,
      from: parsed.from.map(({ address }) => address).filter((address) => address !== ''),
      repairs: body.length > 0 ? [...repaired.repairs, 'put an empty line before the body'] : repaired.repairs,
    };
    await this.#pass(block);
    await this.#pass(body);
    await this.#pass(rest);
  }

  /** A message whose first line is no field has no header: all of it is body. */
  #read(block: Buffer): { options: ReceiveOptions; header: HeaderField[]; body: Buffer } {
    const fields = splitHeader(block);
    const first = fields[0];
    const isBody = first !== undefined && first.name === '' && !first.raw.toString('latin1', 0, 5).startsWith('From ');
    return { options: this.#options, header: isBody ? [] : fields, body: isBody ? block : Buffer.alloc(0) };
  }
}
