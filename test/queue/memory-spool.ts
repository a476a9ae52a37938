/** A spool in memory, for tests of the queue under simulated time. It keeps the whole contract but durability. */
import type { ArrivingItem, HistoryEntry, ItemState, LaneKey, QueueItem, SpoolId } from '../../src/mail/item.ts';
import { goesFirst, inTurn } from '../../src/mail/precedence.ts';
import type { First } from '../../src/mail/precedence.ts';
import type {
  Draft,
  DroppedItem,
  Lane,
  ListFilter,
  Receipt,
  Room,
  Spool,
  SpoolStats,
  Told,
} from '../../src/mail/spool.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import type { DeliveryStatus } from '../../src/mail/status.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class MemorySpool implements Spool {
  readonly items = new Map<SpoolId, Mutable<QueueItem>>();
  readonly #bodies = new Map<SpoolId, Buffer>();
  /** By source and key; true: settled. */
  readonly receipts = new Map<string, boolean>();
  readonly #cursors = new Map<string, string>();
  readonly #histories = new Map<SpoolId, HistoryEntry[]>();
  readonly #now: () => number;
  #counter = 0;
  /** Set: every method that would touch the disk fails with it. */
  trouble: SpoolError | undefined;
  claims = 0;
  /** What goes before other mail of its lane. */
  first: readonly First[] = [];
  readonly #preferred = new Set<SpoolId>();
  readonly #inARow = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  room(): Room {
    return this.trouble === undefined ? { ok: true } : { ok: false, reason: this.trouble.message };
  }

  begin(): Draft {
    const id = String(++this.#counter).padStart(10, '0');
    const chunks: Uint8Array[] = [];
    const commit = async (entries: readonly ArrivingItem[]): Promise<QueueItem[]> => {
      await this.#disk();
      const body = Buffer.concat(chunks);
      this.#bodies.set(id, body);
      return entries.map((entry, index) => this.#add(entry, index === 0 ? id : `${id}-${index + 1}`, id, body.length));
    };
    return {
      id,
      write: async (chunk) => {
        await this.#disk();
        chunks.push(chunk);
      },
      commit,
      commitTelling: async (entries, told) => {
        await this.#disk();
        if (!this.#tell(told)) return undefined;
        const made = await commit(entries);
        if (told.what !== 'bounced') return made;
        return made.map((item, index) => (index > 0 ? item : this.#change(item.id, { tells: told.id })));
      },
      commitOnce: async (entries, receipt) => {
        await this.#disk();
        if (this.receipts.has(nameOf(receipt))) return undefined;
        this.receipts.set(nameOf(receipt), false);
        return await commit(entries);
      },
      abort: async () => undefined,
    };
  }

  async inject(entry: ArrivingItem, body = 'Subject: test\r\n\r\nbody\r\n'): Promise<QueueItem> {
    const draft = this.begin();
    await draft.write(Buffer.from(body));
    const [item] = await draft.commit([entry]);
    if (item === undefined) throw new Error('no item');
    return item;
  }

  #add({ isImportant = false, ...entry }: ArrivingItem, id: SpoolId, message: SpoolId, size: number): QueueItem {
    const now = this.#now();
    if (goesFirst({ size, isImportant }, this.first)) this.#preferred.add(id);
    const item: Mutable<QueueItem> = {
      ...entry,
      id,
      message,
      size,
      state: 'queued',
      arrivedAt: now,
      due: now,
      attempts: 0,
      doubtful: false,
    };
    this.items.set(id, item);
    this.#remember(id, { what: 'accepted' });
    return { ...item };
  }

  /** What an engine does when it sees that the clock was set back. */
  due(id: SpoolId, due: number): void {
    const item = this.items.get(id);
    if (item !== undefined) item.due = due;
  }

  async *open(message: SpoolId): AsyncIterable<Uint8Array> {
    await this.#disk();
    const body = this.#bodies.get(message);
    if (body === undefined) throw new SpoolError('damaged', `message ${message} has no body`);
    yield body;
  }

  async lanes(): Promise<readonly Lane[]> {
    await this.#disk();
    const lanes = new Map<string, Lane>();
    for (const item of this.#in('queued')) {
      const name = `${item.route}\n${item.mailbox}`;
      const due = Math.min(item.due, lanes.get(name)?.due ?? Infinity);
      lanes.set(name, { route: item.route, mailbox: item.mailbox, due });
    }
    return [...lanes.values()].toSorted((a, b) => a.due - b.due);
  }

  async claim(
    lane: LaneKey,
    { now, limit }: { now: number; limit: number; leaseUntil: number },
  ): Promise<readonly QueueItem[]> {
    this.claims++;
    await this.#disk();
    const waiting = this.#in('queued')
      .filter((item) => item.route === lane.route && item.mailbox === lane.mailbox && item.due <= now)
      .toSorted((a, b) => a.due - b.due || (a.id < b.id ? -1 : 1));
    const name = `${lane.route}\n${lane.mailbox}`;
    const [first, others] = [true, false].map((is) => waiting.filter(({ id }) => this.#preferred.has(id) === is));
    const { taken: due, row } = inTurn(first ?? [], others ?? [], limit, this.#inARow.get(name) ?? 0);
    this.#inARow.set(name, row);
    for (const item of due) {
      item.state = 'sending';
      item.attempts++;
      this.#remember(item.id, { what: 'attempted' });
    }
    return due.map((item) => ({ ...item }));
  }

  async take(id: SpoolId): Promise<QueueItem | undefined> {
    await this.#disk();
    const item = this.items.get(id);
    if (item?.state !== 'queued') return undefined;
    this.#remember(id, { what: 'attempted' });
    return this.#change(id, { state: 'sending', attempts: item.attempts + 1 });
  }

  async renew(id: SpoolId): Promise<boolean> {
    await this.#disk();
    return this.items.get(id)?.state === 'sending';
  }

  async release(id: SpoolId): Promise<void> {
    const item = await this.#sending(id);
    item.state = 'queued';
    item.attempts--;
  }

  async defer(id: SpoolId, next: { due?: number; doubtful: boolean; status: DeliveryStatus }): Promise<void> {
    const item = await this.#sending(id);
    item.state = 'queued';
    item.doubtful = next.doubtful;
    item.lastStatus = next.status;
    if (next.due !== undefined) item.due = next.due;
    this.#remember(id, { what: next.status.outcome === 'unknown' ? 'unknown' : 'delayed', status: next.status });
  }

  async park(id: SpoolId, status: DeliveryStatus): Promise<QueueItem | undefined> {
    const { tells } = await this.#sending(id);
    if (tells === undefined) {
      this.#change(id, { state: 'parked', lastStatus: status });
      this.#remember(id, { what: 'parked', status });
      return undefined;
    }
    this.#change(id, { state: 'dropped', lastStatus: status }, 'tells');
    this.#remember(id, { what: 'dropped', status });
    const told = this.items.get(tells)?.lastStatus ?? status;
    const reason = `its sender could not be told: ${status.reason ?? status.text}`;
    const parked = this.#change(tells, { state: 'parked', lastStatus: { ...told, reason } }, 'untold');
    this.#remember(tells, { what: 'parked', status: { ...told, reason } });
    return parked;
  }

  #change(id: SpoolId, more: Partial<QueueItem>, without?: 'tells' | 'untold'): QueueItem {
    const item = this.items.get(id);
    if (item === undefined) throw new Error(`there is no item ${id}`);
    Object.assign(item, more);
    if (without !== undefined) delete item[without];
    return { ...item };
  }

  async finish(id: SpoolId, status: DeliveryStatus): Promise<void> {
    const item = await this.#sending(id);
    const { tells } = item;
    this.#change(id, { state: 'relayed', lastStatus: status }, 'tells');
    this.#remember(id, { what: 'relayed', status });
    if (tells === undefined) return;
    const { message } = this.#change(tells, {}, 'untold');
    this.#remember(tells, { what: 'told' });
    this.#bodies.delete(message);
  }

  async split(
    id: SpoolId,
    parts: readonly (readonly string[])[],
    relayed?: DeliveryStatus,
  ): Promise<readonly QueueItem[] | undefined> {
    await this.#disk();
    const item = this.items.get(id);
    if (item?.state !== 'sending') return undefined;
    const { envelope } = item;
    const made = parts.map((addresses, index) => {
      const recipients = envelope.recipients.filter(({ address }) => addresses.includes(address));
      const part = { ...item, id: `${id}-part${index + 1}`, envelope: { ...envelope, recipients } };
      this.items.set(part.id, part);
      this.#histories.set(part.id, [...(this.#histories.get(id) ?? [])]);
      this.#remember(part.id, { what: 'split' });
      return { ...part };
    });
    const gone = new Set(parts.flat());
    item.envelope = { ...envelope, recipients: envelope.recipients.filter(({ address }) => !gone.has(address)) };
    this.#remember(id, { what: 'split' });
    if (relayed !== undefined) await this.finish(id, relayed);
    return made;
  }

  async note(id: SpoolId, entry: Omit<HistoryEntry, 'at'>): Promise<void> {
    await this.#disk();
    this.#remember(id, entry);
  }

  async get(id: SpoolId): Promise<QueueItem | undefined> {
    return this.items.get(id);
  }

  /** Knows no filters but these. */
  async list({ states, route, mailbox, after = '', limit = 100 }: ListFilter): Promise<readonly QueueItem[]> {
    await this.#disk();
    return [...this.items.values()]
      .filter((item) => states === undefined || states.includes(item.state))
      .filter((item) => (route ?? item.route) === item.route && (mailbox ?? item.mailbox) === item.mailbox)
      .filter((item) => item.id > after)
      .slice(0, limit);
  }

  async history(id: SpoolId): Promise<readonly HistoryEntry[]> {
    await this.#disk();
    return this.#histories.get(id) ?? [];
  }

  async stats(): Promise<SpoolStats> {
    const items: Record<ItemState, number> = { queued: 0, sending: 0, parked: 0, relayed: 0, bounced: 0, dropped: 0 };
    for (const item of this.items.values()) items[item.state]++;
    return { items, bytes: 0 };
  }

  async purge(): Promise<number> {
    return 0;
  }

  async dropParked(): Promise<readonly DroppedItem[]> {
    return [];
  }

  async received(source: string, keys: readonly string[]): Promise<ReadonlySet<string>> {
    await this.#disk();
    return new Set(keys.filter((key) => this.receipts.has(nameOf({ source, key }))));
  }

  async acknowledge(receipt: Receipt): Promise<void> {
    await this.#disk();
    this.receipts.set(nameOf(receipt), false);
  }

  async settle(receipt: Receipt): Promise<void> {
    await this.#disk();
    if (this.receipts.has(nameOf(receipt))) this.receipts.set(nameOf(receipt), true);
  }

  async cursor(source: string): Promise<string | undefined> {
    await this.#disk();
    return this.#cursors.get(source);
  }

  async keepCursor(source: string, cursor: string | undefined): Promise<void> {
    await this.#disk();
    if (cursor === undefined) this.#cursors.delete(source);
    else this.#cursors.set(source, cursor);
  }

  async close(): Promise<void> {}

  #in(state: ItemState): Mutable<QueueItem>[] {
    return [...this.items.values()].filter((item) => item.state === state);
  }

  #tell({ id, what, status, detail }: Told): boolean {
    const item = this.items.get(id);
    if (item?.state !== 'sending') return false;
    this.#remember(id, { what, status, ...(detail === undefined ? {} : { detail }) });
    if (what === 'warned') return true;
    if (what === 'relayed') {
      this.#change(id, { state: 'relayed', lastStatus: status });
      this.#bodies.delete(item.message);
      return true;
    }
    this.#change(id, { state: 'bounced', lastStatus: status, untold: true });
    return true;
  }

  async #sending(id: SpoolId): Promise<Mutable<QueueItem>> {
    await this.#disk();
    const item = this.items.get(id);
    if (item?.state !== 'sending') throw new Error(`item ${id} is ${item?.state ?? 'gone'}, not sending`);
    return item;
  }

  #remember(id: SpoolId, entry: Omit<HistoryEntry, 'at'>): void {
    const history = this.#histories.get(id) ?? [];
    history.push({ at: this.#now(), ...entry });
    this.#histories.set(id, history);
  }

  async #disk(): Promise<void> {
    await Promise.resolve();
    if (this.trouble !== undefined) throw this.trouble;
  }
}

function nameOf({ source, key }: Receipt): string {
  return `${source}\n${key}`;
}
