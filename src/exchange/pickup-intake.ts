/**
 * One mail from its mailbox into the spool: its octets streamed, its header made ready for the legacy system, durable
 * together with its receipt. Expected trouble is a value; SpoolError passes through. What was written of a mail that does
 * not come whole is forgotten.
 */
import type { Origin } from '../mail/envelope.ts';
import { isSendable } from '../mail/address.ts';
import { HeaderPeeler, joinHeader, splitHeader } from '../mail/header.ts';
import { LineEnds } from '../mail/lines.ts';
import { pickupHeader } from '../mail/pickup-header.ts';
import type { PickupHeader, PickupHeaderContext } from '../mail/pickup-header.ts';
import { importanceOf } from '../mail/precedence.ts';
import type { ReceivedMail } from '../mail/received.ts';
import type { Arrival, Incoming, Inject } from '../mail/source.ts';
import type { Receipt } from '../mail/spool.ts';
import type { Delayed, Failed } from '../mail/status.ts';
import { MAX_HEADER_SIZE } from '../mail/stored.ts';
import type { PickupMailbox } from './mailbox.ts';

export interface IntakeOptions extends Omit<PickupHeaderContext, 'spoolId' | 'transport' | 'now'> {
  /** Of the pickup, and of the way in the queue that its mail takes. */
  readonly name: string;
  readonly inject: Inject;
  readonly now: () => number;
}

export interface Intake {
  readonly mail: ReceivedMail;
  readonly receipt: Receipt;
  readonly recipients: readonly string[];
}

/** done: it is durable, or was before (`repeated`); gone: it is no longer in its mailbox. */
export type TakenIn =
  | { readonly outcome: 'done'; readonly repeated: boolean }
  | { readonly outcome: 'gone' }
  | { readonly outcome: 'trouble'; readonly status: Delayed | Failed };

export interface Order {
  /** Resolves when those before it are on their way to the disk. */
  readonly turn: Promise<void>;
  /** Lets the next one go there. */
  passed(): void;
  /** The server is not needed for it any more. */
  fetched(): void;
}

export async function takeIn(
  { mail, receipt, recipients }: Intake,
  box: PickupMailbox,
  options: IntakeOptions,
  order: Order,
  signal: AbortSignal,
): Promise<TakenIn> {
  const incoming = options.inject.begin();
  const message = new PickedUp(incoming, mail, { ...options, transport: box.transport });
  let isKept = false;
  try {
    const got = await box.fetch(mail.id, (piece) => message.write(piece), signal);
    if (!got.ok) return { outcome: 'trouble', status: got.status };
    if (got.gone) return { outcome: 'gone' };
    const arrival = await message.end();
    order.fetched();
    await order.turn;
    const { name } = options;
    const origin: Origin = { source: 'pickup', name, peer: '', receivedAt: mail.receivedAt };
    const { from = '' } = mail;
    const envelope = {
      reversePath: isSendable(from) ? from : '',
      recipients: recipients.map((address) => ({ address })),
    };
    const isImportant = importanceOf(mail.header) === 'high';
    const written = incoming.commit(
      { ...arrival, envelope, origin, mailbox: options.mailbox, route: name, from: [from], isImportant },
      receipt,
    );
    order.passed();
    isKept = await written;
    return { outcome: 'done', repeated: !isKept };
  } catch (error) {
    if (error instanceof Unusable) return { outcome: 'trouble', status: error.status };
    throw error;
  } finally {
    order.passed();
    if (!isKept) await incoming.abort();
  }
}

const LF = 0x0a;

/** Why a mail cannot be taken, whatever is tried. */
class Unusable extends Error {
  readonly status: Failed;
  constructor(reason: string) {
    super(reason);
    const text = 'The message cannot be handed over';
    this.status = { outcome: 'failed', code: '5.6.0', cause: 'unusable message', text, reason };
  }
}

class PickedUp {
  readonly #incoming: Incoming;
  readonly #mail: ReceivedMail;
  readonly #context: Omit<PickupHeaderContext, 'spoolId' | 'now'> & { readonly now: () => number };
  readonly #peeler = new HeaderPeeler(MAX_HEADER_SIZE);
  readonly #lines = new LineEnds();
  #header: (PickupHeader & { readonly size: number }) | undefined;
  /** The last octet was the end of a line. */
  #isEnded = true;

  constructor(
    incoming: Incoming,
    mail: ReceivedMail,
    context: Omit<PickupHeaderContext, 'spoolId' | 'now'> & { readonly now: () => number },
  ) {
    this.#incoming = incoming;
    this.#mail = mail;
    this.#context = context;
  }

  async write(piece: Uint8Array): Promise<void> {
    await this.#take(this.#lines.push(Buffer.from(piece.buffer, piece.byteOffset, piece.length)));
  }

  async end(): Promise<Pick<Arrival, 'messageId' | 'headerSize' | 'repairs'>> {
    await this.#take(this.#lines.end());
    if (this.#header === undefined) await this.#begin(this.#peeler.end());
    if (!this.#isEnded) await this.#incoming.write(Buffer.from('\r\n'));
    const { messageId, repairs, size } = this.#header ?? { messageId: '', repairs: [], size: 0 };
    return { messageId, headerSize: size, repairs };
  }

  async #take(octets: Buffer): Promise<void> {
    if (octets.length === 0) return;
    // Line ends are CRLF by now.
    this.#isEnded = octets.at(-1) === LF;
    if (this.#header !== undefined) return this.#incoming.write(octets);
    const peeled = this.#peeler.push(octets);
    if (this.#peeler.overflow)
      throw new Unusable(`Its header has more than the ${MAX_HEADER_SIZE} octets that this gateway takes`);
    if (peeled !== undefined) await this.#begin(peeled);
  }

  async #begin({ header, rest }: { readonly header: Buffer; readonly rest: Buffer }): Promise<void> {
    const { now, ...context } = this.#context;
    const made = await pickupHeader(splitHeader(header), this.#mail, {
      ...context,
      spoolId: this.#incoming.id,
      now: now(),
    });
    const block = joinHeader(made.fields);
    this.#header = { ...made, size: block.length };
    await this.#incoming.write(block);
    if (rest.length > 0) await this.#incoming.write(rest);
  }
}
