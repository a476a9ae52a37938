/**
 * Alarms about what several gateways on one spool have in common: each tells the others what it sees, one of them tells
 * people of all of it, and keeps in the store what it has told. Another one that takes over goes on from there.
 *
 * Promises: what any gateway sees is told. What was told is noted only when every channel has it or has given it up: if the
 * one who tells dies before, it is told once more. While nobody knows who tells, because the store cannot be reached, each
 * tells of what it knows and nobody was told. Never rejects; the clock is the one that all gateways share.
 */
import type { Json } from '../mail/cluster.ts';
import { SpoolError } from '../mail/spool.ts';
import { unreachable } from '../mail/status.ts';
import type { Book } from './alarm-book.ts';
import { EMPTY, bookIn, jsonOf, merged, withSight, withTold } from './alarm-book.ts';
import type { Condition } from './alarm-conditions.ts';
import type { Change, Told } from './alarm-register.ts';
import { Register } from './alarm-register.ts';

/** The gateways on the spool, as far as alarms ask for them. */
export interface Together {
  /** This one's id, and the name of its machine. */
  readonly id: string;
  readonly host: string;
  /** Who tells: this one, another one; waiting: that is being found out; unknown: it could not be for a while. */
  role(): Role;
  /** Ids of those that live. Rejects with SpoolError, as the next ones do. */
  members(): Promise<readonly string[]>;
  known(): Promise<Json | undefined>;
  /** @returns what is known then */
  change(change: (state: Json | undefined) => Json | undefined): Promise<Json | undefined>;
  /** @param changed told when another gateway has changed it. @returns ends it */
  listen(changed: (state: Json | undefined) => void): () => void;
  /** Milliseconds of a clock that all share and that is never set back. */
  now(): number;
}

export type Role = 'ours' | 'others' | 'waiting' | 'unknown';
type Why = 'seen' | 'look';

export interface CommonOptions {
  readonly together: Together;
  readonly repeat: number;
  /** Tells people, log and metrics. */
  readonly tell: (change: Change) => void;
  /** Another gateway has told of it, and this one does from now on. */
  readonly takeOver: (condition: Condition) => void;
  /** Another one tells of it from now on. */
  readonly leave: (condition: Condition) => void;
  /** Resolves when every channel has what it was told, or has given it up. */
  readonly settled: () => Promise<void>;
  readonly bug: (error: unknown) => void;
}

/** Milliseconds that the store has for an answer. */
const PATIENCE = 5_000;
/** Milliseconds for which what a gateway saw stands after its end: whoever takes over its work has the time to see it. */
const REMEMBERED = 600_000;

export class CommonAlarms {
  readonly #options: CommonOptions;
  readonly #register: Register;
  readonly #endListening: () => void;
  /** As what it tells, and the register is that of the book; undefined: another one does, or that is not known yet. */
  #tellsAs: 'ours' | 'unknown' | undefined;
  /** As it was heard of last; undefined: not yet. */
  #book: Book | undefined;
  #own: readonly Condition[] = [];
  /** What this gateway tells of. */
  readonly #told = new Map<string, Condition>();
  /** Since when a gateway is gone that saw something. */
  readonly #goneSince = new Map<string, number>();
  #isEnded = false;
  #running: Promise<void> | undefined;
  /** Once more when the present round is over. */
  #again: Why | undefined;
  #noted: Promise<void> = Promise.resolve();

  constructor(options: CommonOptions) {
    this.#options = options;
    this.#register = new Register(options.repeat);
    this.#endListening = options.together.listen((state) => {
      this.#heard(state);
      if (this.#tellsAs === 'ours') void this.#run('seen');
    });
  }

  use(repeat: number): void {
    this.#register.use(repeat);
  }

  /** What this gateway sees. */
  sees(conditions: readonly Condition[]): void {
    const isOther = idsOf(conditions) !== idsOf(this.#own);
    this.#own = conditions;
    if (isOther) void this.#run('seen');
  }

  /** Every few seconds. */
  look(): Promise<void> {
    return this.#run('look');
  }

  /** What another gateway tells of. */
  get elsewhere(): readonly Condition[] {
    const told = this.#book?.told ?? [];
    return told.map(({ condition }) => condition).filter(({ id }) => !this.#told.has(id));
  }

  /** Nothing is told any more. Resolves when what was told is noted, at the latest when `enough` does. */
  async end(enough: Promise<unknown>): Promise<void> {
    this.#isEnded = true;
    this.#endListening();
    await Promise.race([Promise.all([this.#running, this.#noted]), enough]);
  }

  #run(why: Why): Promise<void> {
    if (this.#isEnded) return Promise.resolve();
    if (this.#running !== undefined && this.#again !== 'look') this.#again = why;
    this.#running ??= this.#rounds(why)
      .catch((error: unknown) => this.#options.bug(error))
      .finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #rounds(first: Why): Promise<void> {
    for (let why: Why | undefined = first; why !== undefined && !this.#isEnded; why = this.#again) {
      this.#again = undefined;
      await this.#share(why).catch(unlessOfStore);
      const gone = await this.#gone().catch(unlessOfStore);
      if (!this.#isEnded) this.#act(gone ?? new Set());
    }
  }

  /** Words that change (counts, times) are shared at a look only. */
  async #share(why: Why): Promise<void> {
    const { together } = this.#options;
    const begins = together.role() === 'ours' && this.#tellsAs !== 'ours';
    if (this.#book === undefined || begins) this.#book = bookIn(await inTime(together.known()));
    const [known, own] = [this.#book.seen.get(together.id)?.conditions ?? [], this.#own];
    const isOther = why === 'look' ? textOf(own) !== textOf(known) : idsOf(own) !== idsOf(known);
    if (!isOther) return;
    const sight = { host: together.host, conditions: own };
    this.#heard(await inTime(together.change((state) => jsonOf(withSight(bookIn(state), together.id, sight)))));
  }

  /** @returns gateways that saw something and are gone for long */
  async #gone(): Promise<ReadonlySet<string>> {
    const { together } = this.#options;
    const others = [...(this.#book?.seen.keys() ?? [])].filter((id) => id !== together.id);
    if (others.length === 0 || together.role() !== 'ours') return new Set();
    const members = new Set(await inTime(together.members()));
    const now = together.now();
    const missing = others.filter((id) => !members.has(id));
    for (const id of this.#goneSince.keys()) if (!missing.includes(id)) this.#goneSince.delete(id);
    for (const id of missing) if (!this.#goneSince.has(id)) this.#goneSince.set(id, now);
    return new Set(missing.filter((id) => now - (this.#goneSince.get(id) ?? now) >= REMEMBERED));
  }

  #act(gone: ReadonlySet<string>): void {
    const { together } = this.#options;
    const role = together.role();
    switch (role) {
      case 'ours':
      case 'unknown':
        if (this.#tellsAs !== role) this.#begin(role);
        return this.#tell(gone);
      case 'waiting':
        this.#tellsAs = undefined;
        return;
      case 'others':
        this.#tellsAs = undefined;
        this.#register.load([]);
        for (const condition of this.#told.values()) this.#options.leave(condition);
        this.#told.clear();
        return;
      default:
        return unreachable(role);
    }
  }

  /** Goes on from what was told, by whomever. */
  #begin(role: 'ours' | 'unknown'): void {
    this.#tellsAs = role;
    const told = this.#book?.told ?? [];
    const known = new Set(told.map(({ condition }) => condition.id));
    this.#register.load([...told, ...this.#register.told.filter(({ condition }) => !known.has(condition.id))]);
    for (const { condition } of told) {
      if (this.#told.has(condition.id)) continue;
      this.#told.set(condition.id, condition);
      this.#options.takeOver(condition);
    }
  }

  #tell(gone: ReadonlySet<string>): void {
    const { together, tell } = this.#options;
    const { id, host } = together;
    const others = [...(this.#book?.seen ?? [])].filter(([other]) => other !== id && !gone.has(other));
    const conditions = merged([{ host, conditions: this.#own }, ...others.map(([, sight]) => sight)]);
    const at = together.now();
    const changes = this.#register.update(conditions, { wall: at, steady: at });
    for (const change of changes) {
      const { condition } = change;
      if (change.notice === 'recovered') this.#told.delete(condition.id);
      else this.#told.set(condition.id, condition);
      tell(change);
    }
    if (changes.length > 0 && this.#tellsAs === 'ours') this.#note(this.#register.told, gone);
  }

  /** What was told, once it has arrived. */
  #note(told: readonly Told[], gone: ReadonlySet<string>): void {
    const { settled, bug } = this.#options;
    this.#noted = this.#noted
      .then(settled)
      .then(() => this.#keep(told, gone))
      .catch(unlessOfStore)
      .catch(bug);
  }

  async #keep(told: readonly Told[], gone: ReadonlySet<string>): Promise<void> {
    const { together } = this.#options;
    if (together.role() !== 'ours') return;
    this.#heard(await together.change((state) => jsonOf(withTold(bookIn(state), told, gone))));
  }

  #heard(state: Json | undefined): void {
    const book = bookIn(state);
    if (this.#book === undefined || book.revision >= this.#book.revision) this.#book = book;
  }
}

async function inTime<T>(asked: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new SpoolError('io', 'no answer in time')), PATIENCE);
  try {
    return await Promise.race([asked, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The store reports its trouble itself, and the next look comes. */
function unlessOfStore(error: unknown): undefined {
  if (!(error instanceof SpoolError)) throw error;
  return undefined;
}

/** As it comes back from the store. */
function textOf(conditions: readonly Condition[]): string {
  return JSON.stringify(jsonOf(withSight(EMPTY, '', { host: '', conditions })));
}

function idsOf(conditions: readonly Condition[]): string {
  return conditions
    .map(({ id }) => id)
    .toSorted()
    .join('\n');
}
