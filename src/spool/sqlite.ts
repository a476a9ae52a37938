/**
 * The embedded engine of the spool: SQLite in a worker thread, with group commit. The main thread never waits for a disk.
 * A promise settles only when what it stands for is durable (WAL, synchronous=FULL). Trouble with the store is a
 * SpoolError; while it lasts room() says no, and a probe every few seconds finds out when the store works again.
 */
import { stat, statfs } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Report } from '../mail/event.ts';
import type { HistoryEntry, LaneKey, QueueItem, SpoolId } from '../mail/item.ts';
import type { First } from '../mail/precedence.ts';
import type {
  CheckResult,
  Draft,
  DroppedItem,
  KeptCursor,
  KeptMessage,
  KeptReceipt,
  Lane,
  LimitedSpool,
  ListFilter,
  MovableSpool,
  Operated,
  Receipt,
  Room,
  SpoolLimits,
  SpoolStats,
} from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';
import type { DeliveryStatus } from '../mail/status.ts';
import { Adopter } from './adoption.ts';
import { Budget, SpoolDraft } from './draft.ts';
import { makeFolder } from './folder.ts';
import { spoolIds } from './id.ts';
import { letGo } from './memory.ts';
import { checkLane, laneName } from './protocol.ts';
import type { FromChecker, FromWorker, Order, Page, Request, WorkerData } from './protocol.ts';
import { storeName } from './store-name.ts';

export interface SqliteOptions {
  /** The database file. Its folder is made if it does not exist, readable by its owner only. */
  readonly path: string;
  readonly report: Report;
  /** Called once if the store is lost for this process: only a new start helps. */
  readonly onLost?: (error: SpoolError) => void;
  /** Items waiting (queued, sending, parked) from which on there is no room. */
  readonly maxItems?: number;
  /** Octets that have to stay free on the file system. */
  readonly minFree?: number;
  /** Milliseconds after the start of an attempt that a crash cut short, before it may be looked into. */
  readonly verifyAfter?: number;
  /** What goes before other due mail of its mailbox; for what comes to exist from now on. Default: nothing. */
  readonly first?: readonly First[];
  /** Octets of a row of a body. */
  readonly chunkSize?: number;
  readonly now?: () => number;
  /** 0 <= chance < 1 */
  readonly random?: () => number;
}

const MAX_ITEMS = 1_000_000;
const MIN_FREE = 64 * 1024 * 1024;
const VERIFY_AFTER = 90_000;
const CHUNK_SIZE = 256 * 1024;
/** Octets under way to the worker, of all drafts together. */
const ALL_UNDER_WAY = 16 * 1024 * 1024;
/** Milliseconds between looks at the free space, and between probes of a store in trouble. */
const LOOK_INTERVAL = 2_000;
/** Looks in a row that find the same order unanswered, after which the disk counts as silent: half a minute. */
const SILENT_LOOKS = 15;
const PURGE_SLICE = 1_000;
/** Keys asked about in one order. */
const KEYS = 500;
/** Milliseconds that a clock may go back without anybody caring. */
const SET_BACK = 1_000;

/** @throws SpoolError whose message says what to do */
export async function openSqliteSpool(options: SqliteOptions): Promise<LimitedSpool & MovableSpool> {
  const started = performance.now();
  const { path, report } = options;
  const now = options.now ?? Date.now;
  await makeFolder(path);
  const { verifyAfter = VERIFY_AFTER, first: goFirst = [] } = options;
  const data: WorkerData = { path, verifyAfter, first: goFirst, now: now() };
  const worker = startThread('worker', data);
  const first = await new Promise<FromWorker>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  if (first.kind !== 'open') {
    await worker.terminate();
    throw first.kind === 'refused'
      ? new SpoolError(first.trouble, first.message)
      : new Error('the spool answered before it was asked');
  }
  const spool = new SqliteSpool(worker, options, first.waiting);
  await spool.look();
  report({
    event: 'spool.open',
    where: path,
    spool: storeName(hostname(), path),
    queued: first.waiting,
    recovered: first.recovered,
    swept: first.swept,
    seconds: (performance.now() - started) / 1000,
  });
  for (const one of first.aside) report({ event: 'item.parked', ...one });
  return spool;
}

function startThread(file: 'worker' | 'checker', workerData: unknown): Worker {
  // The same ending as this file: .ts in a checkout, .js when compiled.
  const place = new URL(`./${file}${extname(import.meta.url)}`, import.meta.url).href;
  // A thread has to ask for the compile cache by itself, and before its first file, as bin/smtp2exchange.js does.
  const start = `import { enableCompileCache } from 'node:module'; enableCompileCache(); await import(${JSON.stringify(place)});`;
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(start)}`), {
    workerData,
    name: `spool ${file}`,
    // What the main thread was started with (an --input-type, say) is not for a file.
    execArgv: [],
  });
}

const asked = (by: string | undefined): { readonly by?: string } => (by === undefined ? {} : { by });

interface Waiting {
  resolve(value: unknown): void;
  reject(error: SpoolError): void;
}

class SqliteSpool implements LimitedSpool, MovableSpool {
  readonly #worker: Worker;
  readonly #path: string;
  readonly #report: Report;
  readonly #now: () => number;
  #maxItems: number;
  #minFree: number;
  readonly #chunkSize: number;
  readonly #newId: () => SpoolId;
  readonly #waiting = new Map<number, Waiting>();
  #number = 0;
  /** On their way at the end of this turn. */
  #outbox: Request[] = [];
  #transfer: ArrayBuffer[] = [];
  #items: number;
  #free: number | undefined;
  #trouble: SpoolError | undefined;
  #isProbing = false;
  /** The latest time given to an item. */
  #latest = -Infinity;
  /** The number of the file, and whether it is no longer where it was opened. */
  #inode: number | undefined;
  #isGone = false;
  #ended: SpoolError | undefined;
  #closing: Promise<void> | undefined;
  #checking: Promise<CheckResult> | undefined;
  #checker: Worker | undefined;
  readonly #onLost: SqliteOptions['onLost'];
  readonly #timer: NodeJS.Timeout;
  #looking: Promise<void> | undefined;
  /** The order that has waited longest, and how many looks found it so: counted, because a process may be suspended. */
  #oldest: { readonly number: number; readonly looks: number } | undefined;
  readonly #budget = new Budget(ALL_UNDER_WAY);
  readonly #adopter: Adopter;

  constructor(worker: Worker, options: SqliteOptions, items: number) {
    this.#worker = worker;
    this.#path = options.path;
    this.#report = options.report;
    this.#onLost = options.onLost;
    this.#now = options.now ?? Date.now;
    this.#maxItems = options.maxItems ?? MAX_ITEMS;
    this.#minFree = options.minFree ?? MIN_FREE;
    this.#chunkSize = options.chunkSize ?? CHUNK_SIZE;
    this.#newId = spoolIds(this.#now, options.random);
    this.#items = items;
    this.#adopter = new Adopter({
      atOnce: this.#chunkSize,
      makeWay: async (message) => (await this.#ask({ do: 'makeWay', message })) as boolean,
      begin: (message) => this.#draft(message),
    });
    worker.on('message', (message: FromWorker) => this.#hear(message));
    worker.on('error', (error: Error) => this.#end(`its thread failed: ${error.message}`));
    worker.on('exit', () => this.#end('its thread ended'));
    this.#timer = setInterval(() => {
      this.#lookForAnswer();
      void this.look();
    }, LOOK_INTERVAL);
    this.#timer.unref();
  }

  limit({ maxItems, minFree }: SpoolLimits): void {
    this.#maxItems = maxItems;
    this.#minFree = minFree;
  }

  room(size = 0): Room {
    const error = this.#ended ?? this.#trouble;
    if (error !== undefined) return { ok: false, reason: error.message, trouble: error.trouble };
    if (this.#items >= this.#maxItems)
      return { ok: false, reason: `${this.#items} messages are waiting (spool.maxItems)` };
    if (this.#free !== undefined && this.#free - size < this.#minFree)
      return { ok: false, reason: this.#tooLittle(this.#free) };
    return { ok: true };
  }

  #tooLittle(free: number): string {
    return `only ${Math.round(free / 1e6)} MB are free on the disk of ${this.#path} (spool.minFree)`;
  }

  /** Bodies let in by room() may not use up what delivery needs: on a disk that is really full nothing can leave either. */
  #spend(octets: number): SpoolError | undefined {
    if (this.#free === undefined) return undefined;
    if (this.#free - octets < this.#minFree / 2) return new SpoolError('full', this.#tooLittle(this.#free));
    // Once to the log, once to its place; look() corrects it.
    this.#free -= 2 * octets;
    return undefined;
  }

  begin(): Draft {
    return this.#draft(this.#newId());
  }

  #draft(id: SpoolId): SpoolDraft {
    return new SpoolDraft(
      id,
      this.#chunkSize,
      this.#budget,
      () => this.#clock(),
      (order, transfer) => this.#ask(order, transfer),
    );
  }

  async *open(message: SpoolId): AsyncGenerator<Uint8Array> {
    const size = (await this.#ask({ do: 'size', message })) as number | undefined;
    if (size === undefined)
      throw new SpoolError('damaged', `The spool ${this.#path} has no body for message ${message}`);
    const read = (number: number): Promise<unknown> => {
      const octets = this.#ask({ do: 'read', message, number });
      octets.catch(() => undefined); // whoever awaits it gets it; a reader that left early does not
      return octets;
    };
    let at = 0;
    let next = read(0);
    for (let number = 1; at < size; number++) {
      const octets = (await next) as Uint8Array | string | undefined;
      if (typeof octets === 'string')
        throw new SpoolError('damaged', `The spool ${this.#path} cannot read message ${message}: ${octets}`);
      if (octets === undefined) break;
      at += octets.length;
      if (at < size) next = read(number);
      try {
        yield octets;
      } finally {
        letGo(octets);
      }
    }
    if (at !== size)
      throw new SpoolError(
        'damaged',
        `The spool ${this.#path} holds ${at} octets of message ${message} instead of ${size}`,
      );
  }

  async lanes(): Promise<readonly Lane[]> {
    return (await this.#ask({ do: 'lanes' })) as Lane[];
  }

  async claim(
    lane: LaneKey,
    { now, limit, leaseUntil }: { now: number; limit: number; leaseUntil: number },
  ): Promise<readonly QueueItem[]> {
    const order = { do: 'claim', lane: laneName(lane), now, limit, leaseUntil } as const;
    return (await this.#ask(order)) as QueueItem[];
  }

  async renew(id: SpoolId, leaseUntil: number): Promise<boolean> {
    return (await this.#ask({ do: 'renew', id, leaseUntil })) as boolean;
  }

  async take(id: SpoolId, leaseUntil: number): Promise<QueueItem | undefined> {
    return (await this.#ask({ do: 'take', id, now: this.#clock(), leaseUntil })) as QueueItem | undefined;
  }

  async release(id: SpoolId): Promise<void> {
    await this.#ask({ do: 'release', id, now: this.#clock() });
  }

  async defer(id: SpoolId, next: { due?: number; doubtful: boolean; status: DeliveryStatus }): Promise<void> {
    await this.#ask({ do: 'defer', id, now: this.#clock(), ...next });
  }

  async park(id: SpoolId, status: DeliveryStatus): Promise<QueueItem | undefined> {
    const order = { do: 'end', id, state: 'parked', status, now: this.#clock() } as const;
    return (await this.#ask(order)) as QueueItem | undefined;
  }

  async finish(id: SpoolId, status: DeliveryStatus): Promise<void> {
    await this.#ask({ do: 'end', id, state: 'relayed', status, now: this.#clock() });
  }

  async split(
    id: SpoolId,
    parts: readonly (readonly string[])[],
    relayed?: DeliveryStatus,
  ): Promise<readonly QueueItem[] | undefined> {
    const ends = relayed === undefined ? {} : { relayed };
    return (await this.#ask({ do: 'split', id, parts, ...ends, now: this.#clock() })) as QueueItem[] | undefined;
  }

  async note(id: SpoolId, entry: Omit<HistoryEntry, 'at'>): Promise<void> {
    await this.#ask({ do: 'note', id, entry, now: this.#clock() });
  }

  async get(id: SpoolId): Promise<QueueItem | undefined> {
    return (await this.#ask({ do: 'get', id })) as QueueItem | undefined;
  }

  async list(filter: ListFilter): Promise<readonly QueueItem[]> {
    const { limit = 100 } = filter;
    const items: QueueItem[] = [];
    let { after } = filter;
    do {
      const at = after === undefined ? {} : { after };
      const order: Order = { do: 'list', filter: { ...filter, ...at, limit: limit - items.length } };
      const page = (await this.#ask(order)) as Page;
      items.push(...page.items);
      after = page.next;
    } while (after !== undefined && items.length < limit);
    return items;
  }

  async history(id: SpoolId): Promise<readonly HistoryEntry[]> {
    return (await this.#ask({ do: 'history', id })) as HistoryEntry[];
  }

  async stats(): Promise<SpoolStats> {
    const stats = (await this.#ask({ do: 'stats' })) as SpoolStats;
    return this.#free === undefined ? stats : { ...stats, free: this.#free };
  }

  async purge(before: number): Promise<number> {
    let purged = 0;
    for (let slice = PURGE_SLICE; slice === PURGE_SLICE; purged += slice) {
      slice = (await this.#ask({ do: 'purge', before, limit: PURGE_SLICE })) as number;
    }
    let slice: unknown = PURGE_SLICE;
    while (slice === PURGE_SLICE) slice = await this.#ask({ do: 'purgeReceipts', before, limit: PURGE_SLICE });
    return purged;
  }

  async received(source: string, keys: readonly string[]): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    for (let at = 0; at < keys.length; at += KEYS) {
      const part = await this.#ask({ do: 'received', source, keys: keys.slice(at, at + KEYS) });
      for (const key of part as string[]) found.add(key);
    }
    return found;
  }

  async acknowledge(receipt: Receipt): Promise<void> {
    await this.#ask({ do: 'acknowledge', receipt, now: this.#clock() });
  }

  async settle(receipt: Receipt): Promise<void> {
    await this.#ask({ do: 'settle', receipt, now: this.#clock() });
  }

  async cursor(source: string): Promise<string | undefined> {
    return (await this.#ask({ do: 'cursor', source })) as string | undefined;
  }

  async keepCursor(source: string, cursor: string | undefined): Promise<void> {
    const kept = cursor === undefined ? {} : { cursor };
    await this.#ask({ do: 'keepCursor', source, ...kept, now: this.#clock() });
  }

  async dropParked(limits: { before: number; size: number }): Promise<readonly DroppedItem[]> {
    const dropped: DroppedItem[] = [];
    for (let found = PURGE_SLICE; found === PURGE_SLICE;) {
      const order = { do: 'dropParked', ...limits, limit: PURGE_SLICE, now: this.#clock() } as const;
      const slice = (await this.#ask(order)) as DroppedItem[];
      dropped.push(...slice);
      found = slice.length;
    }
    return dropped;
  }

  async retry(id: SpoolId, by?: string): Promise<Operated> {
    return (await this.#ask({ do: 'retry', id, ...asked(by), now: this.#clock() })) as Operated;
  }

  async hold(id: SpoolId, by?: string): Promise<Operated> {
    return (await this.#ask({ do: 'hold', id, ...asked(by), now: this.#clock() })) as Operated;
  }

  async move(id: SpoolId, to: Partial<LaneKey>, by?: string): Promise<Operated | 'doubtful'> {
    checkLane(to);
    return (await this.#ask({ do: 'move', id, to, ...asked(by), now: this.#clock() })) as Operated | 'doubtful';
  }

  async drop(id: SpoolId, detail: string, by?: string): Promise<Operated> {
    return (await this.#ask({ do: 'drop', id, detail, ...asked(by), now: this.#clock() })) as Operated;
  }

  async kept(after: SpoolId | undefined, limit: number): Promise<readonly KeptMessage[]> {
    const from = after === undefined ? {} : { after };
    return (await this.#ask({ do: 'kept', ...from, limit })) as KeptMessage[];
  }

  adopt(message: KeptMessage, body?: AsyncIterable<Uint8Array>): Promise<boolean> {
    return this.#adopter.adopt(message, body);
  }

  async erase(message: SpoolId): Promise<void> {
    await this.#ask({ do: 'erase', message });
  }

  async keptReceipts(after: Receipt | undefined, limit: number): Promise<readonly KeptReceipt[]> {
    const from = after === undefined ? {} : { after };
    return (await this.#ask({ do: 'keptReceipts', ...from, limit })) as KeptReceipt[];
  }

  async adoptReceipts(receipts: readonly KeptReceipt[]): Promise<void> {
    await this.#ask({ do: 'adoptReceipts', receipts });
  }

  async eraseReceipts(receipts: readonly Receipt[]): Promise<void> {
    await this.#ask({ do: 'eraseReceipts', receipts });
  }

  async keptCursors(): Promise<readonly KeptCursor[]> {
    return (await this.#ask({ do: 'keptCursors' })) as KeptCursor[];
  }

  async adoptCursors(cursors: readonly KeptCursor[]): Promise<void> {
    await this.#ask({ do: 'adoptCursors', cursors, now: this.#clock() });
  }

  async eraseCursors(sources: readonly string[]): Promise<void> {
    await this.#ask({ do: 'eraseCursors', sources });
  }

  check(): Promise<CheckResult> {
    this.#checking ??= this.#check().finally(() => (this.#checking = undefined));
    return this.#checking;
  }

  async #check(): Promise<CheckResult> {
    if (this.#ended !== undefined) throw this.#ended;
    const result = await this.#checked();
    const { damaged, store } = result;
    await this.#ask({ do: 'setAside', damaged, whole: store === undefined, now: this.#clock() });
    if (store === undefined && this.#trouble?.trouble === 'damaged') await this.#recovered();
    return result;
  }

  async #checked(): Promise<CheckResult> {
    const thread = startThread('checker', { path: this.#path });
    this.#checker = thread;
    try {
      const answer = await new Promise<FromChecker>((resolve, reject) => {
        thread.once('message', resolve);
        thread.once('error', (error: Error) => reject(new SpoolError('io', `The check failed: ${error.message}`)));
        thread.once('exit', () => reject(this.#ended ?? new SpoolError('io', 'The check ended before its end')));
      });
      if (answer.kind === 'refused') throw new SpoolError(answer.trouble, answer.message);
      return answer.result;
    } finally {
      this.#checker = undefined;
      await thread.terminate();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#ended !== undefined) return;
    const closed = this.#ask({ do: 'close' });
    this.#ended = new SpoolError('closed', `The spool ${this.#path} is closed`);
    await this.#checker?.terminate();
    await closed.catch(() => undefined);
    await this.#worker.terminate();
  }

  /** The time; when the clock was set back, what waits is told first. */
  #clock(): number {
    const now = this.#now();
    const by = this.#latest - now;
    this.#latest = by > SET_BACK ? now : Math.max(now, this.#latest);
    if (by > SET_BACK && by < Infinity) this.#ask({ do: 'setBack', by }).catch(() => undefined);
    return now;
  }

  /** A disk that hangs fails nothing: without this, clients and queue would wait for it, and nobody be told. */
  #lookForAnswer(): void {
    const [number] = this.#waiting.keys();
    if (number === undefined) {
      this.#oldest = undefined;
      return;
    }
    const looks = this.#oldest?.number === number ? this.#oldest.looks + 1 : 0;
    this.#oldest = { number, looks };
    if (looks !== SILENT_LOOKS || this.#trouble !== undefined) return;
    const seconds = (SILENT_LOOKS * LOOK_INTERVAL) / 1000;
    this.#inTrouble(
      new SpoolError(
        'io',
        `The disk of the spool ${this.#path} has not answered for ${seconds} s: see dmesg and the storage behind it. Nothing can be accepted or noted until it does`,
      ),
    );
  }

  /** Reads the free space, and whether the file is still there; probes a store that was in trouble. Never rejects. */
  look(): Promise<void> {
    // One at a time: on a file system that does not answer, each would keep a thread that others need.
    return (this.#looking ??= this.#look().finally(() => (this.#looking = undefined)));
  }

  async #look(): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#clock();
    await this.#lookForFile();
    try {
      const { bavail, bsize } = await statfs(dirname(this.#path));
      this.#free = bavail * bsize;
    } catch {
      this.#free = undefined;
    }
    // Damage does not pass: check() ends it.
    if (this.#trouble?.trouble === 'damaged') return;
    if (this.#trouble === undefined || this.#isGone || this.#isProbing || this.#ended !== undefined) return;
    // The probe is small: that it goes through would not mean that there is room.
    if (this.#trouble.trouble === 'full' && this.#free !== undefined && this.#free < this.#minFree) return;
    this.#isProbing = true;
    try {
      await this.#ask({ do: 'probe' });
      await this.#recovered();
    } catch {
      // still in trouble
    } finally {
      this.#isProbing = false;
    }
  }

  async #recovered(): Promise<void> {
    const { items } = await this.stats();
    this.#trouble = undefined;
    this.#report({ event: 'spool.recovered', where: this.#path, queued: items.queued });
  }

  /** SQLite goes on with a file that has no name any more: what it accepts then would be gone with the process. */
  async #lookForFile(): Promise<void> {
    try {
      const { ino } = await stat(this.#path);
      this.#inode ??= ino;
      this.#isGone &&= ino !== this.#inode;
    } catch (error) {
      this.#isGone ||= error instanceof Error && 'code' in error && error.code === 'ENOENT';
    }
    if (this.#isGone) this.#inTrouble(this.#gone());
  }

  #gone(): SpoolError {
    return new SpoolError(
      'io',
      `The spool ${this.#path} was removed or moved while it was in use: put it back, or stop the gateway once it has delivered what it holds; it accepts nothing until then`,
    );
  }

  #ask(order: Order, transfer: ArrayBuffer[] = []): Promise<unknown> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (this.#isGone && (order.do === 'commit' || order.do === 'adopt')) return Promise.reject(this.#gone());
    if (order.do === 'write' || order.do === 'commit' || order.do === 'adopt') {
      const refusal = this.#spend(order.chunk?.octets.length ?? 0);
      if (refusal !== undefined) return Promise.reject(refusal);
    }
    const request: Request = { number: ++this.#number, order };
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.number, { resolve, reject });
      this.#outbox.push(request);
      this.#transfer.push(...transfer);
      if (this.#outbox.length === 1) setImmediate(() => this.#post());
    });
  }

  /** All orders of one turn of the event loop together: a message between threads costs more than what is in it. */
  #post(): void {
    this.#worker.postMessage(this.#outbox, this.#transfer);
    this.#outbox = [];
    this.#transfer = [];
  }

  #hear(message: FromWorker): void {
    if (message.kind !== 'replies') return;
    this.#items = message.waiting;
    for (const one of message.aside) this.#report({ event: 'item.parked', ...one });
    if (message.damage !== undefined) this.#inTrouble(new SpoolError('damaged', message.damage));
    for (const reply of message.replies) {
      const waiting = this.#waiting.get(reply.number);
      this.#waiting.delete(reply.number);
      if ('trouble' in reply) {
        const error = new SpoolError(reply.trouble, reply.message);
        this.#inTrouble(error);
        waiting?.reject(error);
      } else waiting?.resolve(reply.value);
    }
  }

  #inTrouble(error: SpoolError): void {
    // Damage is the worst of it, and lasts.
    if (this.#trouble?.trouble === error.trouble || this.#trouble?.trouble === 'damaged') return;
    this.#trouble = error;
    this.#report({ event: 'spool.trouble', trouble: error.trouble, detail: error.message });
  }

  /** The worker is gone: nothing may wait for it for ever. */
  #end(why: string): void {
    const error =
      this.#ended ?? new SpoolError('io', `The spool ${this.#path} is out of order (${why}): restart the gateway`);
    if (this.#ended === undefined) {
      this.#ended = error;
      this.#inTrouble(error);
      this.#onLost?.(error);
    }
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}
