/**
 * What this gateway is sending: each claim has a number of its own, and an item bears the number of its claim. So an order
 * that is made twice, or comes late, changes nothing of a later claim; and what the database has as ours without our knowing
 * (the answer to its claim was lost) is found. Pure.
 */
import type { QueueItem, SpoolId } from '../mail/item.ts';

export interface Ticket {
  readonly ticket: number;
  /** Of a notice: what waits for it. */
  readonly tells?: SpoolId;
}

export class Tickets {
  #number = 0;
  readonly #items = new Map<SpoolId, Ticket>();
  readonly #underWay = new Set<number>();
  #hasDoubt = false;

  /** For as long as it is not known what a claim has taken. */
  async during<Result>(claim: (ticket: number) => Promise<Result>): Promise<Result> {
    const ticket = ++this.#number;
    this.#underWay.add(ticket);
    try {
      return await claim(ticket);
    } catch (error) {
      this.#hasDoubt = true;
      throw error;
    } finally {
      this.#underWay.delete(ticket);
    }
  }

  took(ticket: number, items: readonly QueueItem[]): void {
    for (const { id, tells } of items) this.#items.set(id, tells === undefined ? { ticket } : { ticket, tells });
  }

  /** @returns undefined: it is not ours to send */
  of(id: SpoolId): Ticket | undefined {
    return this.#items.get(id);
  }

  /** Its attempt is over. */
  left(id: SpoolId, ticket: number): void {
    if (this.#items.get(id)?.ticket === ticket) this.#items.delete(id);
  }

  /** @returns what to do with what the database has as ours from now on: what is missing there is ours no more */
  missing(): (there: ReadonlyMap<SpoolId, number>) => void {
    const before = [...this.#items];
    return (there) => {
      for (const [id, { ticket }] of before) if (there.get(id) !== ticket) this.left(id, ticket);
    };
  }

  /** @returns whether a claim has failed since this was asked last: it may have taken something all the same */
  takeDoubt(): boolean {
    const hasDoubt = this.#hasDoubt;
    this.#hasDoubt = false;
    return hasDoubt;
  }

  /** @returns a test of what the database has as ours from now on: nobody here knows of it */
  stray(): (id: SpoolId, ticket: number) => boolean {
    const underWay = new Set(this.#underWay);
    const last = this.#number;
    return (id, ticket) =>
      ticket <= last && !underWay.has(ticket) && !this.#underWay.has(ticket) && this.#items.get(id)?.ticket !== ticket;
  }
}
