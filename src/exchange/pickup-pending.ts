/** Items of a folder that wait to be taken: oldest first, each when it is due. In memory; never fails. */

export interface Waiting {
  readonly id: string;
  /** Tries that did not get anywhere. */
  readonly tries: number;
  /** It was handed over, and only waits to be filed. */
  readonly isTaken: boolean;
}

interface Entry extends Waiting {
  tries: number;
  isTaken: boolean;
  /** Rounds that it has ended. */
  ended: number;
  isLast: boolean;
  readonly receivedAt: number;
  /** Counts down: a server lists the newest first where it says nothing of the time. */
  readonly place: number;
  /** Steady milliseconds. */
  due: number;
}

export class Pending {
  readonly #byId = new Map<string, Entry>();
  /** In order, from `#next` on; what was added since is put into it before it is looked at. */
  #sorted: Entry[] = [];
  #next = 0;
  #isSorted = true;
  #place = 0;
  #delayed = 0;

  get size(): number {
    return this.#byId.size;
  }

  /** @returns false: it waits already */
  add({ id, receivedAt = 0 }: { readonly id: string; readonly receivedAt?: number }): boolean {
    if (this.#byId.has(id)) return false;
    const entry = {
      id,
      receivedAt,
      tries: 0,
      isTaken: false,
      ended: 0,
      isLast: false,
      due: -Infinity,
      place: this.#place--,
    };
    this.#byId.set(id, entry);
    this.#isSorted = false;
    return true;
  }

  remove(id: string): void {
    const entry = this.#byId.get(id);
    if (entry !== undefined && entry.due !== -Infinity) this.#delayed--;
    this.#byId.delete(id);
  }

  clear(): void {
    this.#byId.clear();
    this.#sorted = [];
    this.#next = 0;
    this.#delayed = 0;
  }

  /** One more try got nowhere. @param due steady milliseconds */
  delay(id: string, due: number): void {
    const entry = this.#byId.get(id);
    if (entry === undefined) return;
    entry.tries++;
    this.#wait(entry, due);
  }

  /** It goes behind the others from now on; that is no try of its own. @param due steady milliseconds */
  postpone(id: string, due: number): void {
    const entry = this.#byId.get(id);
    if (entry === undefined) return;
    entry.isLast = true;
    this.#wait(entry, due);
  }

  taken(id: string): void {
    const entry = this.#byId.get(id);
    if (entry !== undefined) entry.isTaken = true;
  }

  /** It has ended a round. @returns how many by now */
  ended(id: string): number {
    const entry = this.#byId.get(id);
    return entry === undefined ? 0 : ++entry.ended;
  }

  /** Up to `limit` that are due, oldest first. They go on waiting until they are removed. */
  ready(now: number, limit: number): readonly Waiting[] {
    this.#sort();
    const found: Entry[] = [];
    const last: Entry[] = [];
    // What is gone or was taken from the front is not looked at again, but what is delayed has to be.
    while (this.#next < this.#sorted.length && !this.#isThere(this.#sorted[this.#next])) this.#next++;
    for (let at = this.#next; at < this.#sorted.length && found.length < limit; at++) {
      const entry = this.#sorted[at];
      if (entry !== undefined && this.#isThere(entry) && entry.due <= now) (entry.isLast ? last : found).push(entry);
    }
    return found.length > 0 ? found : last.slice(0, limit);
  }

  /** Steady milliseconds; Infinity: nothing waits for its time. */
  nextDue(): number {
    if (this.#delayed === 0) return Infinity;
    let next = Infinity;
    for (const { due } of this.#byId.values()) if (due !== -Infinity) next = Math.min(next, due);
    return next;
  }

  #wait(entry: Entry, due: number): void {
    if (entry.due === -Infinity) this.#delayed++;
    entry.due = due;
  }

  #isThere(entry: Entry | undefined): boolean {
    return entry !== undefined && this.#byId.get(entry.id) === entry;
  }

  #sort(): void {
    if (this.#isSorted) return;
    this.#sorted = [...this.#byId.values()].toSorted((a, b) => a.receivedAt - b.receivedAt || a.place - b.place);
    this.#next = 0;
    this.#isSorted = true;
  }
}
