/**
 * What other gateways are told, and what they tell: in which lanes something is due, and that something is known otherwise.
 * It leaves in a bundle now and then, never with the transaction it tells of, because telling makes all transactions of a
 * database wait for each other. What is lost is found by looking.
 */
import type { ClusterListener } from '../mail/cluster.ts';
import type { LaneKey } from '../mail/item.ts';
import type { Lane } from '../mail/spool.ts';
import type { Connection } from './postgres-connection.ts';
import type { Known, KnownRow } from './postgres-known.ts';
import { subjectOf } from './postgres-known.ts';
import { FORGOTTEN } from './postgres-recovery.ts';
import { laneKey, laneName } from './protocol.ts';

export const CHANNEL = 'smtp2exchange';

/** Milliseconds in which what is to be told is collected. */
const BUNDLE = 50;
/** Octets of a notice; the server takes up to 8,000. */
const LONGEST = 7_000;
/** Milliseconds that a transaction may take until others see what it has changed. */
const OVERLAP = 15_000;

interface Notice {
  readonly from: string;
  /** Lanes. */
  readonly due?: readonly string[];
  readonly changed?: true;
  /** A gateway has come. */
  readonly joined?: true;
}

export interface NewsOptions {
  /** This gateway. */
  readonly owner: string;
  /** Something to look at has come. */
  readonly onNews: (news: { readonly isMember: boolean }) => void;
}

export class News {
  readonly #options: NewsOptions;
  readonly #listeners = new Set<ClusterListener>();
  #due = new Set<string>();
  #isChanged = false;
  #timer: NodeJS.Timeout | undefined;
  #ask: Connection['rows'] | undefined;
  /** Somebody else is there. */
  hasOthers = true;
  /** Lanes in which this gateway has made something due since the last look. */
  #ours = new Set<string>();
  #lanes: ReadonlyMap<string, number> | undefined;
  /** By subject: which version was told. */
  readonly #versions = new Map<string, number>();
  /** Of which another gateway's change was told last. */
  readonly #told = new Set<string>();
  #looked: number | undefined;

  constructor(options: NewsOptions) {
    this.#options = options;
  }

  listen(listener: ClusterListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  get isHeard(): boolean {
    return this.#listeners.size > 0;
  }

  // --- telling ---------------------------------------------------------------------------------------------------

  due(lane: LaneKey): void {
    const name = laneName(lane);
    this.#ours.add(name);
    if (!this.hasOthers) return;
    this.#due.add(name);
    this.#soon();
  }

  changed(): void {
    if (!this.hasOthers) return;
    this.#isChanged = true;
    this.#soon();
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#tell();
    }, BUNDLE).unref();
  }

  #tell(): void {
    const due = [...this.#due];
    const isChanged = this.#isChanged;
    this.#due = new Set();
    this.#isChanged = false;
    const fitting: string[] = [];
    let length = 0;
    for (const lane of due) {
      length += Buffer.byteLength(JSON.stringify(lane)) + 1;
      // The others look for the rest by themselves.
      if (length > LONGEST) break;
      fitting.push(lane);
    }
    this.#send({ ...(fitting.length > 0 ? { due: fitting } : {}), ...(isChanged ? { changed: true } : {}) });
  }

  #send(notice: Omit<Notice, 'from'>): void {
    const text = JSON.stringify({ from: this.#options.owner, ...notice });
    // What cannot be told now is found by looking.
    this.#ask?.(`SELECT set_config('synchronous_commit', 'off', true), pg_notify('${CHANNEL}', $1)`, text).catch(
      () => undefined,
    );
  }

  // --- hearing ---------------------------------------------------------------------------------------------------

  /** From now on by this connection. */
  async use(link: Connection): Promise<void> {
    link.onNews = (_, payload) => this.#hear(payload);
    await link.ask(`LISTEN ${CHANNEL}`);
    this.#ask = (sql, ...values) => link.rows(sql, ...values);
    this.#send({ joined: true });
  }

  /** Tells, and hears nothing. */
  speak(ask: Connection['rows']): void {
    this.#ask = ask;
  }

  #hear(payload: string): void {
    const notice = noticeIn(payload);
    if (notice === undefined || notice.from === this.#options.owner) return;
    for (const name of notice.due ?? []) this.#emitDue(laneKey(name));
    if (notice.joined === true) this.hasOthers = true;
    if (notice.changed === true || notice.joined === true) this.#options.onNews({ isMember: notice.joined === true });
  }

  /** What was taken over may be due for anybody. */
  takenOver(lane: LaneKey): void {
    this.due(lane);
    this.#emitDue(lane);
  }

  #emitDue({ route, mailbox }: LaneKey): void {
    for (const listener of this.#listeners) listener.due({ route, mailbox });
  }

  /** @param from when what is known was looked at last may have been changed, by the store's clock */
  async look(
    link: Connection,
    known: Known,
    lanesBy: (link: Connection) => Promise<readonly Lane[]>,
    now: number,
  ): Promise<void> {
    if (!this.isHeard) return;
    const isLate = this.#looked === undefined || now - this.#looked > FORGOTTEN / 2;
    const since = isLate ? 0 : (this.#looked ?? 0) - OVERLAP;
    const [rows, lanes] = await Promise.all([known.since(link, since), this.hasOthers ? lanesBy(link) : undefined]);
    this.#looked = now;
    this.#tellKnown(rows, isLate);
    if (lanes !== undefined) this.#tellLanes(lanes);
  }

  #tellKnown(rows: readonly KnownRow[], isAll: boolean): void {
    for (const { subject, state, version, isOurs } of rows) {
      if (this.#versions.get(subject) === version || version === 0) continue;
      this.#versions.set(subject, version);
      // Ours is known here, unless another's that is older was told after it.
      if (isOurs && !this.#told.delete(subject)) continue;
      if (!isOurs) this.#told.add(subject);
      for (const listener of this.#listeners) listener.changed(subjectOf(subject), state);
    }
    if (!isAll) return;
    const there = new Set(rows.map(({ subject }) => subject));
    for (const subject of this.#versions.keys()) {
      if (there.has(subject)) continue;
      this.#versions.delete(subject);
      this.#told.delete(subject);
      for (const listener of this.#listeners) listener.changed(subjectOf(subject), undefined);
    }
  }

  /** A lane that has come to have work, or has some that is due earlier than what it had. */
  #tellLanes(lanes: readonly Lane[]): void {
    const before = this.#lanes;
    const ours = this.#ours;
    this.#ours = new Set();
    this.#lanes = new Map(lanes.map((lane) => [laneName(lane), lane.due]));
    if (before === undefined) return;
    for (const lane of lanes) {
      const name = laneName(lane);
      if (lane.due < (before.get(name) ?? Infinity) && !ours.has(name)) this.#emitDue(lane);
    }
  }

  stop(): void {
    if (this.#timer !== undefined) this.#tell();
    clearTimeout(this.#timer);
    this.#ask = undefined;
    this.#listeners.clear();
  }
}

function noticeIn(payload: string): Notice | undefined {
  try {
    return JSON.parse(payload) as Notice;
  } catch {
    return undefined; // somebody else's
  }
}
