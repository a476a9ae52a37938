/**
 * A maildrop as one session sees it: numbers that stand from login to end, sizes as they are sent, and the marks of DELE,
 * which are nothing but marks until they are asked for. Fails as the maildrop does; a maildrop that breaks its contract is
 * an Error.
 */
import { SpoolError } from '../mail/spool.ts';
import type { Maildrop, MaildropEntry } from './maildrop.ts';
import { canonicalSize } from './pop3-body.ts';

/** Message number, from 1, as clients say it. */
export interface Numbered {
  readonly number: number;
  readonly entry: MaildropEntry;
}

/** RFC 1939 section 7. */
const ID = /^[\x21-\x7e]{1,70}$/;

export class Mailbox {
  readonly #maildrop: Maildrop;
  readonly #entries: readonly MaildropEntry[];
  readonly #marked = new Set<number>();
  /** Sizes that were counted, by id: kept by the door from one session of the user to the next. */
  readonly #sizes: Map<string, number>;

  private constructor(maildrop: Maildrop, entries: readonly MaildropEntry[], sizes: Map<string, number>) {
    this.#maildrop = maildrop;
    this.#entries = entries;
    this.#sizes = sizes;
  }

  static async open(maildrop: Maildrop, sizes: Map<string, number>): Promise<Mailbox> {
    const entries = await maildrop.list();
    const ids = new Set(entries.map(({ id }) => id));
    if (ids.size < entries.length || entries.some(({ id }) => !ID.test(id)))
      throw new Error('a maildrop lists an id twice, or one that is no UIDL');
    for (const id of sizes.keys()) if (!ids.has(id)) sizes.delete(id);
    return new Mailbox(maildrop, entries, sizes);
  }

  /** Those that are not marked. */
  get all(): readonly Numbered[] {
    return this.#entries
      .map((entry, at) => ({ number: at + 1, entry }))
      .filter(({ number }) => !this.#marked.has(number));
  }

  /** @returns undefined: there is none, or it is marked */
  at(number: number): Numbered | undefined {
    const entry = this.#entries[number - 1];
    return entry === undefined || this.#marked.has(number) ? undefined : { number, entry };
  }

  mark({ number }: Numbered): void {
    this.#marked.add(number);
  }

  unmark(): void {
    this.#marked.clear();
  }

  /** Ids of what is marked. */
  get marked(): readonly string[] {
    return this.#entries.filter((_entry, at) => this.#marked.has(at + 1)).map(({ id }) => id);
  }

  open({ entry }: Numbered): AsyncIterable<Uint8Array> {
    return this.#maildrop.open(entry.id);
  }

  /** Octets a client gets (RFC 1939 section 11). Of a message that cannot be read: as it is listed. */
  async size({ entry }: Numbered): Promise<number> {
    if (entry.isCanonical === true) return entry.size;
    const known = this.#sizes.get(entry.id);
    if (known !== undefined) return known;
    try {
      const size = await canonicalSize(this.#maildrop.open(entry.id));
      this.#sizes.set(entry.id, size);
      return size;
    } catch (error) {
      if (error instanceof SpoolError) return entry.size;
      throw error;
    }
  }

  /** Of what is not marked. */
  async totalSize(): Promise<number> {
    let total = 0;
    for (const one of this.all) total += await this.size(one);
    return total;
  }

  async removeMarked(): Promise<number> {
    const ids = this.marked;
    if (ids.length > 0) await this.#maildrop.remove(ids);
    return ids.length;
  }
}
