/**
 * Empties one spool into another, while no gateway works on either. Each message is put over durably, then removed where it
 * was; both spools bear a mark all the while, so that a gateway which starts in between refuses. Whatever ends it, another
 * call goes on where it was: nothing is lost, and nothing is there twice in the end.
 *
 * Receipts go first and are removed last: what was taken from a source is known on both sides, whenever it is cut off.
 * What cannot be read is named and left. Rejects with SpoolError, of either spool.
 */
import type { SpoolId } from '../mail/item.ts';
import type { KeptCursor, KeptMessage, KeptReceipt, MovableSpool, Receipt } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';
import { MOVE_MARK, setMoveMark } from './move-mark.ts';
import type { MoveMark } from './move-mark.ts';

/** What has been done so far. */
export interface Transferred {
  messages: number;
  items: number;
  /** Of the bodies. */
  octets: number;
  receipts: number;
  cursors: number;
  /** Messages that an earlier call had put over already, and that were only to be removed. */
  already: number;
  /** What stays where it was, and why. */
  readonly left: Left[];
  /** Receipts and cursors could be read, all of them. */
  areSourcesKnown: boolean;
}

export interface Left {
  /** Of a message; absent: what is known of sources. */
  readonly id?: SpoolId;
  readonly why: string;
}

export interface TransferOptions {
  /** As people know them: for the marks. */
  readonly names: { readonly from: string; readonly to: string };
  /** Ends it soon, with what is under way put over. */
  readonly stop: AbortSignal;
  readonly progress: (done: Transferred) => void;
  readonly now?: () => number;
}

/** Messages in a part, after which it can be stopped. */
const PART = 100;
/** Messages put over at a time: what waits for one disk goes into one transaction. */
const AT_ONCE = 16;
const RECEIPTS = 1_000;

export function nothingYet(): Transferred {
  return {
    messages: 0,
    items: 0,
    octets: 0,
    receipts: 0,
    cursors: 0,
    already: 0,
    left: [],
    areSourcesKnown: true,
  };
}

/**
 * @param done told what has been done, also where it rejects
 * @returns false: it was stopped before the end
 */
export async function transfer(
  from: MovableSpool,
  to: MovableSpool,
  done: Transferred,
  options: TransferOptions,
): Promise<boolean> {
  const { names, now = Date.now } = options;
  const mark = (what: MoveMark['what'], other: string): MoveMark => ({ what, other, at: now() });
  await setMoveMark(to, mark('into', names.from));
  await setMoveMark(from, mark('outOf', names.to));
  await new Transfer(from, to, done, options).run();
  if (options.stop.aborted) return false;
  // In this order: as long as one of them bears the first mark, another call ends it.
  await setMoveMark(from, mark('moved', names.to));
  await setMoveMark(to, undefined);
  return true;
}

class Transfer {
  readonly #from: MovableSpool;
  readonly #to: MovableSpool;
  readonly #done: Transferred;
  readonly #options: TransferOptions;

  constructor(from: MovableSpool, to: MovableSpool, done: Transferred, options: TransferOptions) {
    this.#from = from;
    this.#to = to;
    this.#done = done;
    this.#options = options;
  }

  async run(): Promise<void> {
    await this.#receipts((part) => this.#to.adoptReceipts(part));
    const cursors = await this.#cursors();
    await this.#to.adoptCursors(cursors);
    await this.#messages();
    if (this.#isStopped) return;
    await this.#receipts((part) => this.#from.eraseReceipts(part), true);
    await this.#from.eraseCursors(cursors.map(({ source }) => source));
    this.#done.cursors += cursors.length;
    this.#tell();
  }

  async #messages(): Promise<void> {
    for (let after: SpoolId | undefined; !this.#isStopped;) {
      const part = await this.#from.kept(after, PART);
      after = part.at(-1)?.id;
      if (after === undefined) return;
      await this.#part(part);
    }
  }

  async #part(messages: readonly KeptMessage[]): Promise<void> {
    const waiting = messages.values();
    const over: KeptMessage[] = [];
    const failures: unknown[] = [];
    const work = async (): Promise<void> => {
      for (const message of waiting) {
        if (failures.length > 0 || this.#isStopped) return;
        try {
          if (await this.#put(message)) over.push(message);
        } catch (error) {
          failures.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    await Promise.all(over.map((message) => this.#remove(message)));
    if (failures.length > 0) throw failures[0];
  }

  /** @returns whether the other spool has it now */
  async #put(message: KeptMessage): Promise<boolean> {
    const { id, items, hasBody } = message;
    const isOpen = items.some(({ endedAt }) => endedAt === undefined);
    const why = message.damaged ?? (isOpen && !hasBody ? 'its body is gone' : undefined);
    if (why !== undefined) return this.#leave({ id, why });
    const body = hasBody ? new Reading(this.#from.open(id), message.size) : undefined;
    try {
      if (await this.#to.adopt(message, body)) return true;
    } catch (error) {
      const { failure } = body ?? {};
      if (failure?.trouble !== 'damaged') throw error;
      return this.#leave({ id, why: failure.message });
    }
    if (!(await this.#isSame(message)))
      return this.#leave({ id, why: `${this.#options.names.to} has another message with this id` });
    this.#done.already++;
    return true;
  }

  /** Ids are never given twice; but files can be copied, and what is removed here is gone. */
  async #isSame({ items }: KeptMessage): Promise<boolean> {
    for (const { item } of items) {
      const there = await this.#to.get(item.id);
      if (there !== undefined && (there.messageId !== item.messageId || there.size !== item.size)) return false;
    }
    return true;
  }

  async #remove(message: KeptMessage): Promise<void> {
    try {
      await this.#from.erase(message.id);
    } catch (error) {
      if (!(error instanceof SpoolError) || error.trouble !== 'damaged') throw error;
      this.#leave({ id: message.id, why: `it is in the other spool, but cannot be removed here: ${error.message}` });
    }
    this.#done.messages++;
    this.#done.items += message.items.length;
    if (message.hasBody) this.#done.octets += message.size;
    this.#tell();
  }

  async #receipts(take: (part: readonly KeptReceipt[]) => Promise<void>, isLast = false): Promise<void> {
    for (let after: Receipt | undefined; !this.#isStopped;) {
      const part = await this.#reading(() => this.#from.keptReceipts(after, RECEIPTS));
      after = part.at(-1);
      if (after === undefined) return;
      await take(part);
      if (isLast) this.#done.receipts += part.length;
      this.#tell();
    }
  }

  async #cursors(): Promise<readonly KeptCursor[]> {
    const cursors = await this.#reading(() => this.#from.keptCursors());
    return cursors.filter(({ source }) => source !== MOVE_MARK);
  }

  /** A lost page of what is known of sources keeps no mail from leaving. */
  async #reading<Found>(read: () => Promise<readonly Found[]>): Promise<readonly Found[]> {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof SpoolError) || error.trouble !== 'damaged') throw error;
      if (this.#done.areSourcesKnown) this.#leave({ why: `receipts or cursors of pickups: ${error.message}` });
      this.#done.areSourcesKnown = false;
      return [];
    }
  }

  #leave(left: Left): false {
    this.#done.left.push(left);
    return false;
  }

  #tell(): void {
    this.#options.progress(this.#done);
  }

  get #isStopped(): boolean {
    return this.#options.stop.aborted;
  }
}

/** Octets on their way, and what kept them from being read, which is not the other spool's fault. */
class Reading implements AsyncIterable<Uint8Array> {
  readonly #octets: AsyncIterable<Uint8Array>;
  readonly #size: number;
  failure: SpoolError | undefined;

  constructor(octets: AsyncIterable<Uint8Array>, size: number) {
    this.#octets = octets;
    this.#size = size;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    let read = 0;
    try {
      for await (const chunk of this.#octets) {
        read += chunk.length;
        if (read > this.#size) break;
        yield chunk;
      }
      if (read !== this.#size)
        throw new SpoolError(
          'damaged',
          `its body has ${read > this.#size ? 'more than ' : ''}${Math.min(read, this.#size)} of ${this.#size} octets`,
        );
    } catch (error) {
      if (error instanceof SpoolError) this.failure = error;
      throw error;
    }
  }
}
