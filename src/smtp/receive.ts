/**
 * DATA: line ends are made CRLF, the header block is peeled off within its bound, read, judged and repaired; the body
 * streams on. Resolves with the spool id once the message is durable. Rejects with Refused; the stream is always read to
 * its end, because the reply may only come after it, but a client that goes on without end is cut off.
 */
import { mailboxesOf } from '../mail/addresses.ts';
import type { ParsedHeader } from '../mail/addresses.ts';
import type { Envelope, Origin } from '../mail/envelope.ts';
import { charsetOf, needsDeclaration, PEEK } from '../mail/charset.ts';
import { HeaderPeeler, joinHeader, splitHeader } from '../mail/header.ts';
import type { HeaderField } from '../mail/header.ts';
import type { SpoolId } from '../mail/item.ts';
import { LineEnds } from '../mail/lines.ts';
import type { Reply } from '../mail/policy.ts';
import { importanceOf } from '../mail/precedence.ts';
import { repairHeader } from '../mail/repair.ts';
import type { Sending } from '../mail/senders.ts';
import type { Arrival, Incoming, Inject } from '../mail/source.ts';
import { SpoolError } from '../mail/spool.ts';
import { judgeHeader } from './judge.ts';
import type { Judged } from './judge.ts';
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
  readonly maxRecipients: number;
  /** Bare line ends are mended, and not refused. */
  readonly lenient: boolean;
  /** Domain of addresses without one. */
  readonly completeDomain: string;
  readonly headerOnly: 'drop' | 'reject' | 'send';
  readonly nullReversePath: 'suppress' | 'reject';
  /** Whether From and Sender may be used, and which mailbox sends. */
  readonly judge: (header: ParsedHeader) => Sending | Reply;
  /** For addressees who are named in the header only. */
  readonly mayReceive: (address: string) => Reply | undefined;
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
/** Far more than any message has; reading that many address fields takes some 50 ms, in which nothing else is done. */
const MAX_FIELDS = 5_000;
const BYTE_ORDER_MARK = Buffer.from('\ufeff');
const CRLF_MISSING = 'Bare CR or LF in the message: lines end with CRLF (RFC 5321 section 2.3.8)';

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
  readonly #lines = new LineEnds();
  /** The header block has been judged, and waits for the beginning of the body. */
  #waiting: { readonly judged: Judged; beginning: Buffer; size: number } | undefined;
  #written: Omit<Arrival, 'envelope' | 'origin'> | undefined;
  #envelope: Envelope;
  #size = 0;

  constructor(incoming: Incoming, options: ReceiveOptions) {
    this.#incoming = incoming;
    this.#options = options;
    this.#envelope = options.envelope;
    this.#peeler = new HeaderPeeler(options.maxHeaderSize);
  }

  async write(chunk: Buffer): Promise<void> {
    const octets = this.#lines.push(chunk);
    this.#checkLines();
    await this.#take(octets);
  }

  async finish(): Promise<Received> {
    const octets = this.#lines.end();
    this.#checkLines();
    await this.#take(octets);
    if (this.#waiting === undefined && this.#written === undefined) await this.#judge(this.#peeler.end());
    await this.#begin(false);
    if (this.#written === undefined) throw new Error('a message without a header block');
    const { bareLf, bareCr } = this.#lines;
    const repairs = [
      ...this.#written.repairs,
      ...(bareLf + bareCr > 0 ? [`made CRLF of ${bareLf} bare LF and ${bareCr} bare CR`] : []),
    ];
    await this.#incoming.commit({
      ...this.#written,
      repairs,
      envelope: this.#envelope,
      origin: this.#options.origin,
    });
    return { id: this.#incoming.id, messageId: this.#written.messageId, size: this.#size, repairs };
  }

  #checkLines(): void {
    if (!this.#options.lenient && this.#lines.bareLf + this.#lines.bareCr > 0)
      throw new Refused('syntax', 550, '5.6.11', CRLF_MISSING);
  }

  async #take(octets: Buffer): Promise<void> {
    if (this.#written !== undefined) return this.#pass(octets);
    if (this.#waiting !== undefined) return this.#peek(octets);
    const peeled = this.#peeler.push(octets);
    if (this.#peeler.overflow) {
      throw new Refused(
        'header',
        552,
        '5.3.4',
        `The header of the message is larger than ${this.#options.maxHeaderSize} octets`,
      );
    }
    if (peeled !== undefined) await this.#judge(peeled);
  }

  async #judge({ header, rest }: { header: Buffer; rest: Buffer }): Promise<void> {
    const { fields, body, repairs: taking } = taken(header);
    if (fields.length > MAX_FIELDS)
      throw new Refused('header', 552, '5.3.4', `The header of the message has more than ${MAX_FIELDS} fields`);
    const judged = await judgeHeader(fields, this.#options);
    this.#envelope = judged.envelope;
    this.#waiting = {
      judged: { ...judged, repairs: [...taking, ...judged.repairs] },
      beginning: Buffer.alloc(0),
      size: 0,
    };
    if (!needsDeclaration(judged.fields)) await this.#begin(true);
    await this.#peek(body);
    await this.#peek(rest);
  }

  /** Holds the body back until it shows whether the header has to say more of it. */
  async #peek(octets: Buffer): Promise<void> {
    const waiting = this.#waiting;
    if (waiting === undefined) return this.#pass(octets);
    const size = Math.min(waiting.size + octets.length, PEEK);
    // Copied, growing by doubling: a client that sends single octets costs no more than another.
    if (size > waiting.beginning.length) {
      const grown = Buffer.allocUnsafe(Math.min(Math.max(size, waiting.beginning.length * 2, 1024), PEEK));
      waiting.beginning.copy(grown, 0, 0, waiting.size);
      waiting.beginning = grown;
    }
    const rest = octets.subarray(octets.copy(waiting.beginning, waiting.size));
    waiting.size = size;
    if (rest.length === 0) return;
    await this.#begin(true);
    await this.#pass(rest);
  }

  /** @param isCut more of the body follows */
  async #begin(isCut: boolean): Promise<void> {
    if (this.#waiting === undefined) return;
    const { judged, beginning, size } = this.#waiting;
    this.#waiting = undefined;
    const body = beginning.subarray(0, size);
    const charset = charsetOf(body, isCut);
    const { now, hostname, envelope, defaultFrom, origin, protocol } = this.#options;
    const repaired = repairHeader(judged.fields, judged.parsed, {
      now: now(),
      hostname,
      spoolId: this.#incoming.id,
      reversePath: envelope.reversePath,
      defaultFrom,
      origin,
      protocol,
      ...(charset === undefined ? {} : { charset }),
    });
    const block = joinHeader(repaired.fields);
    this.#written = {
      mailbox: judged.mailbox,
      ...(judged.route === undefined ? {} : { route: judged.route }),
      messageId: repaired.messageId,
      headerSize: block.length,
      ...(importanceOf(repaired.fields) === 'high' ? { isImportant: true } : {}),
      from: authors(repaired.fields),
      repairs: [...judged.repairs, ...repaired.repairs],
    };
    await this.#pass(block);
    await this.#pass(body);
  }

  async #pass(octets: Buffer): Promise<void> {
    if (octets.length === 0) return;
    this.#size += octets.length;
    await this.#incoming.write(octets);
  }
}

function authors(fields: readonly HeaderField[]): string[] {
  return fields
    .filter(({ name }) => name === 'from')
    .flatMap(mailboxesOf)
    .map(({ address }) => address)
    .filter((address) => address !== '');
}

/**
 * The header ends before its first line that is no field, as it does in other servers: what stands behind such a line
 * is header for some readers and body for others, and recipients must not depend on the reader. Only an mbox From line
 * in front of a field may stand there.
 */
function taken(octets: Buffer): { fields: HeaderField[]; body: Buffer; repairs: readonly string[] } {
  // Windows scripts put one in front of what they send.
  const hasMark = octets.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK);
  const block = hasMark ? octets.subarray(BYTE_ORDER_MARK.length) : octets;
  const marked = hasMark ? ['removed a byte order mark'] : [];
  const fields = splitHeader(block);
  const isMbox = fields[0]?.raw.toString('latin1', 0, 5) === 'From ' && (fields[1]?.name ?? '') !== '';
  const end = fields.findIndex(({ name }, index) => name === '' && !(index === 0 && isMbox));
  if (end < 0) return { fields, body: block.subarray(block.length), repairs: marked };
  const header = fields.slice(0, end);
  const body = block.subarray(header.reduce((sum, { raw }) => sum + raw.length, 0));
  return { fields: header, body, repairs: [...marked, 'put an empty line before the body'] };
}
