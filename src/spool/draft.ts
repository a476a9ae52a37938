/**
 * A message on its way into the store: its octets leave in chunks as they come, a bounded amount of them under way. What
 * fails is thrown by the next call; an abort leaves nothing that the next start would not sweep.
 */
import type { ArrivingItem, QueueItem, SpoolId } from '../mail/item.ts';
import type { Draft, KeptMessage, Receipt, Told } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';
import { itemId } from './protocol.ts';
import type { Chunk, Order } from './protocol.ts';

/** Chunks of one draft under way to the worker. */
const DRAFT_CHUNKS = 2;

/** Octets under way, of all drafts together. */
export class Budget {
  readonly #limit: number;
  #used = 0;
  readonly #queue: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  async take(octets: number): Promise<void> {
    while (this.#used >= this.#limit) await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#used += octets;
  }

  give(octets: number): void {
    this.#used -= octets;
    this.#queue.shift()?.();
  }
}

type Ask = (order: Order, transfer: ArrayBuffer[]) => Promise<unknown>;

export class SpoolDraft implements Draft {
  readonly id: SpoolId;
  readonly #chunkSize: number;
  readonly #budget: Budget;
  readonly #now: () => number;
  readonly #ask: Ask;
  /** What is not yet on its way. */
  #held: Uint8Array[] = [];
  #heldOctets = 0;
  #chunks = 0;
  #size = 0;
  /** Writes under way, oldest first. */
  readonly #underWay: Promise<void>[] = [];
  #failure: unknown;
  #isOver = false;

  constructor(id: SpoolId, chunkSize: number, budget: Budget, now: () => number, ask: Ask) {
    this.id = id;
    this.#chunkSize = chunkSize;
    this.#budget = budget;
    this.#now = now;
    this.#ask = ask;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#check();
    this.#held.push(chunk);
    this.#heldOctets += chunk.length;
    this.#size += chunk.length;
    while (this.#heldOctets >= this.#chunkSize) {
      await this.#send(this.#take(this.#chunkSize));
      this.#check();
    }
  }

  async commit(items: readonly ArrivingItem[]): Promise<readonly QueueItem[]> {
    return (await this.#commit(items, {})) ?? [];
  }

  async commitTelling(items: readonly ArrivingItem[], told: Told): Promise<readonly QueueItem[] | undefined> {
    return await this.#commit(items, { told });
  }

  async commitOnce(items: readonly ArrivingItem[], receipt: Receipt): Promise<readonly QueueItem[] | undefined> {
    return await this.#commit(items, { receipt });
  }

  async #commit(
    items: readonly ArrivingItem[],
    together: { readonly told?: Told; readonly receipt?: Receipt },
  ): Promise<readonly QueueItem[] | undefined> {
    if (items.length === 0) throw new TypeError('a message needs at least one item');
    const message = { message: this.id, size: this.#size, now: NaN };
    const isDone = await this.#end((chunk) => {
      message.now = this.#now();
      return { do: 'commit', ...message, items, ...together, ...chunk };
    });
    if (!isDone) return undefined;
    const [first, ...others] = items.map((item, index) => queued(item, index, message));
    const tells = together.told?.what === 'bounced' ? { tells: together.told.id } : {};
    return first === undefined ? [] : [{ ...first, ...tells }, ...others];
  }

  /** Makes it exist as another spool has kept it. @returns false: it is there already */
  async adopt(message: KeptMessage): Promise<boolean> {
    if (message.hasBody && this.#size !== message.size)
      throw new SpoolError('damaged', `Message ${this.id} has ${this.#size} octets instead of ${message.size}`);
    return await this.#end((chunk) => ({ do: 'adopt', message, now: this.#now(), ...chunk }));
  }

  async #end(orderWith: (chunk: { readonly chunk?: Chunk }) => Order): Promise<boolean> {
    this.#check();
    await Promise.all(this.#underWay);
    this.#check();
    this.#isOver = true;
    const rest = this.#heldOctets > 0 ? { number: this.#chunks, octets: this.#take(this.#heldOctets) } : undefined;
    const order = orderWith(rest === undefined ? {} : { chunk: rest });
    try {
      return (await this.#ask(order, rest === undefined ? [] : [rest.octets.buffer])) === true;
    } catch (error) {
      this.#failure = error;
      this.#isOver = false;
      throw error;
    }
  }

  async abort(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#held = [];
    this.#heldOctets = 0;
    await Promise.all(this.#underWay);
    // What cannot be removed now is swept at the next start.
    if (this.#chunks > 0) await this.#ask({ do: 'abort', message: this.id }, []).catch(() => undefined);
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#isOver) throw new SpoolError('closed', `message ${this.id} is written already or given up`);
  }

  /** The first octets held, in memory of their own that can be transferred. */
  #take(octets: number): Uint8Array<ArrayBuffer> {
    const taken = new Uint8Array(new ArrayBuffer(octets));
    let at = 0;
    while (at < octets) {
      const chunk = this.#held[0];
      if (chunk === undefined) throw new Error('fewer octets are held than counted');
      const part = chunk.subarray(0, octets - at);
      taken.set(part, at);
      at += part.length;
      if (part.length === chunk.length) this.#held.shift();
      else this.#held[0] = chunk.subarray(part.length);
    }
    this.#heldOctets -= octets;
    return taken;
  }

  async #send(octets: Uint8Array<ArrayBuffer>): Promise<void> {
    const size = octets.length;
    const number = this.#chunks++;
    await this.#budget.take(size);
    if (this.#isOver) return this.#budget.give(size); // given up meanwhile: nobody would remove what is written now
    const written = this.#ask({ do: 'write', message: this.id, chunk: { number, octets } }, [octets.buffer])
      .then(
        () => undefined,
        (error: unknown) => {
          this.#failure ??= error;
        },
      )
      .finally(() => {
        this.#budget.give(size);
        void this.#underWay.splice(this.#underWay.indexOf(written), 1);
      });
    this.#underWay.push(written);
    if (this.#underWay.length >= DRAFT_CHUNKS) await this.#underWay[0];
  }
}

/** As the spool has it, which need not be asked for what it was told. */
function queued(
  { route, mailbox, envelope, origin, messageId, headerSize }: ArrivingItem,
  index: number,
  { message, size, now }: { readonly message: SpoolId; readonly size: number; readonly now: number },
): QueueItem {
  return {
    id: itemId(message, index),
    message,
    route,
    mailbox,
    envelope,
    origin,
    messageId,
    headerSize,
    size,
    state: 'queued',
    arrivedAt: now,
    due: now,
    attempts: 0,
    doubtful: false,
  };
}
