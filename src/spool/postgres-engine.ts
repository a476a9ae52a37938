/**
 * The spool as src/mail/spool.ts promises it, by the parts of the PostgreSQL engine. What is begun is finished before it is
 * closed, as far as the database answers; what comes later is refused.
 */
import type { Gate } from '../mail/cluster.ts';
import type { HistoryEntry, LaneKey, QueueItem, SpoolId } from '../mail/item.ts';
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
import { spoolIds } from './id.ts';
import { Calls } from './postgres-calls.ts';
import type { Parts, PostgresOptions } from './postgres-parts.ts';
import { checkLane } from './protocol.ts';
import type { Order } from './protocol.ts';

const MAX_ITEMS = 1_000_000;
const CHUNK_SIZE = 256 * 1024;
/** Octets under way to the database, of all drafts together. */
const ALL_UNDER_WAY = 16 * 1024 * 1024;
/** What is begun may take so long when the spool is closed. */
const CLOSING = 5_000;

export class PostgresEngine implements MovableSpool, LimitedSpool {
  readonly #parts: Parts;
  readonly #chunkSize: number;
  readonly #newId: () => SpoolId;
  readonly #budget = new Budget(ALL_UNDER_WAY);
  readonly #adopter: Adopter;
  readonly #calls = new Calls();
  #maxItems: number;
  #checking: Promise<CheckResult> | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: Parts, { chunkSize = CHUNK_SIZE, maxItems = MAX_ITEMS, random }: PostgresOptions) {
    this.#parts = parts;
    this.#chunkSize = chunkSize;
    this.#maxItems = maxItems;
    this.#newId = spoolIds(() => parts.clock.now(), random);
    this.#adopter = new Adopter({
      atOnce: this.#chunkSize,
      makeWay: (id) => parts.moving.makeWay(id),
      begin: (id) => this.#draft(id),
    });
  }

  // --- what comes in ---------------------------------------------------------------------------------------------

  /** Free space is not known of a server: a full disk is told by what is refused. */
  limit({ maxItems }: SpoolLimits): void {
    this.#maxItems = maxItems;
  }

  room(): Room {
    const { trouble } = this.#parts.health;
    if (trouble !== undefined) return { ok: false, reason: trouble.message, trouble: trouble.trouble };
    const { items } = this.#parts.waiting;
    if (items >= this.#maxItems) return { ok: false, reason: `${items} messages are waiting (spool.maxItems)` };
    return { ok: true };
  }

  begin(): Draft {
    return this.#draft(this.#newId());
  }

  #draft(id: SpoolId): SpoolDraft {
    const now = (): number => this.#parts.clock.now();
    return new SpoolDraft(id, this.#chunkSize, this.#budget, now, (order) => this.#obey(order));
  }

  #obey(order: Order): Promise<unknown> {
    return this.#calls.run(() => this.#obeyed(order));
  }

  async #obeyed(order: Order): Promise<unknown> {
    const { accept, drafts, moving, health, clock } = this.#parts;
    // Also while that cannot be asked: what is left is forgotten later then.
    if (order.do === 'abort') drafts.left(order.message);
    health.check();
    switch (order.do) {
      case 'write':
        return drafts.write(order.message, order.chunk, clock.now());
      case 'commit':
        return accept.commit(order);
      case 'abort':
        return drafts.abort(order.message);
      case 'adopt':
        return moving.adopt(order).finally(() => drafts.left(order.message.id));
      default:
        throw new Error(`a draft does not ask for ${order.do}`);
    }
  }

  open(message: SpoolId): AsyncIterable<Uint8Array> {
    return this.#parts.bodies.open(message);
  }

  // --- what is sent ----------------------------------------------------------------------------------------------

  async lanes(): Promise<readonly Lane[]> {
    return this.#calls.run(() => this.#parts.claims.lanes());
  }

  async claim(
    lane: LaneKey,
    how: { now: number; limit: number; leaseUntil: number; gate?: Gate },
  ): Promise<readonly QueueItem[]> {
    return this.#calls.run(() => this.#parts.claims.claim({ ...how, lane }));
  }

  async take(id: SpoolId, leaseUntil: number): Promise<QueueItem | undefined> {
    return this.#calls.run(() => this.#parts.claims.take(id, this.#parts.clock.now(), leaseUntil));
  }

  async renew(id: SpoolId, leaseUntil: number): Promise<boolean> {
    return this.#calls.run(() => this.#parts.items.renew(id, leaseUntil));
  }

  async release(id: SpoolId): Promise<void> {
    await this.#calls.run(() => this.#parts.items.release(id));
  }

  async defer(id: SpoolId, next: { due?: number; doubtful: boolean; status: DeliveryStatus }): Promise<void> {
    await this.#calls.run(() => this.#parts.items.defer(id, next));
  }

  async park(id: SpoolId, status: DeliveryStatus): Promise<QueueItem | undefined> {
    return this.#calls.run(() => this.#parts.items.park(id, status));
  }

  async finish(id: SpoolId, status: DeliveryStatus): Promise<void> {
    await this.#calls.run(() => this.#parts.items.finish(id, status));
  }

  async split(
    id: SpoolId,
    parts: readonly (readonly string[])[],
    relayed?: DeliveryStatus,
  ): Promise<readonly QueueItem[] | undefined> {
    return this.#calls.run(() => this.#parts.splitter.split(id, parts, relayed));
  }

  async note(id: SpoolId, entry: Omit<HistoryEntry, 'at'>): Promise<void> {
    await this.#calls.run(() => this.#parts.items.note(id, entry));
  }

  // --- what is there ---------------------------------------------------------------------------------------------

  async get(id: SpoolId): Promise<QueueItem | undefined> {
    return this.#calls.run(() => this.#parts.listing.get(id));
  }

  async list(filter: ListFilter): Promise<readonly QueueItem[]> {
    return this.#calls.run(() => this.#parts.listing.list(filter));
  }

  async history(id: SpoolId): Promise<readonly HistoryEntry[]> {
    return this.#calls.run(() => this.#parts.listing.history(id));
  }

  async stats(): Promise<SpoolStats> {
    return this.#calls.run(() => this.#parts.listing.stats());
  }

  async purge(before: number): Promise<number> {
    return this.#calls.run(() => this.#parts.receipts.purge(before));
  }

  async dropParked(limits: { before: number; size: number }): Promise<readonly DroppedItem[]> {
    return this.#calls.run(() => this.#parts.operator.dropParked(limits));
  }

  async received(source: string, keys: readonly string[]): Promise<ReadonlySet<string>> {
    return this.#calls.run(() => this.#parts.receipts.received(source, keys));
  }

  async acknowledge(receipt: Receipt): Promise<void> {
    await this.#calls.run(() => this.#parts.receipts.acknowledge(receipt));
  }

  async settle(receipt: Receipt): Promise<void> {
    await this.#calls.run(() => this.#parts.receipts.settle(receipt));
  }

  async cursor(source: string): Promise<string | undefined> {
    return this.#calls.run(() => this.#parts.receipts.cursor(source));
  }

  async keepCursor(source: string, cursor: string | undefined): Promise<void> {
    await this.#calls.run(() => this.#parts.receipts.keepCursor(source, cursor));
  }

  // --- what an operator orders -----------------------------------------------------------------------------------

  async retry(id: SpoolId, by?: string): Promise<Operated> {
    return this.#calls.run(() => this.#parts.operator.retry(id, by));
  }

  async hold(id: SpoolId, by?: string): Promise<Operated> {
    return this.#calls.run(() => this.#parts.operator.hold(id, by));
  }

  async move(id: SpoolId, to: Partial<LaneKey>, by?: string): Promise<Operated | 'doubtful'> {
    checkLane(to);
    return this.#calls.run(() => this.#parts.operator.move(id, to, by));
  }

  async drop(id: SpoolId, detail: string, by?: string): Promise<Operated> {
    return this.#calls.run(() => this.#parts.operator.drop(id, detail, by));
  }

  check(): Promise<CheckResult> {
    this.#checking ??= this.#calls.run(() => this.#check()).finally(() => (this.#checking = undefined));
    return this.#checking;
  }

  async #check(): Promise<CheckResult> {
    const { checking, health, aside, listing } = this.#parts;
    const result = await checking.check();
    if (result.store !== undefined) return result;
    aside.forgetLost();
    if (health.trouble?.trouble === 'damaged') health.recovered((await listing.stats()).items.queued);
    return result;
  }

  // --- what another spool takes ----------------------------------------------------------------------------------

  async kept(after: SpoolId | undefined, limit: number): Promise<readonly KeptMessage[]> {
    return this.#calls.run(() => this.#parts.moving.kept(after, limit));
  }

  async adopt(message: KeptMessage, body?: AsyncIterable<Uint8Array>): Promise<boolean> {
    return this.#calls.run(() => this.#adopter.adopt(message, body));
  }

  async erase(message: SpoolId): Promise<void> {
    await this.#calls.run(() => this.#parts.moving.erase(message));
  }

  async keptReceipts(after: Receipt | undefined, limit: number): Promise<readonly KeptReceipt[]> {
    return this.#calls.run(() => this.#parts.moving.keptReceipts(after, limit));
  }

  async keptCursors(): Promise<readonly KeptCursor[]> {
    return this.#calls.run(() => this.#parts.moving.keptCursors());
  }

  async adoptReceipts(receipts: readonly KeptReceipt[]): Promise<void> {
    await this.#calls.run(() => this.#parts.moving.adoptReceipts(receipts));
  }

  async adoptCursors(cursors: readonly KeptCursor[]): Promise<void> {
    await this.#calls.run(() => this.#parts.moving.adoptCursors(cursors, this.#parts.clock.now()));
  }

  async eraseReceipts(receipts: readonly Receipt[]): Promise<void> {
    await this.#calls.run(() => this.#parts.moving.eraseReceipts(receipts));
  }

  async eraseCursors(sources: readonly string[]): Promise<void> {
    await this.#calls.run(() => this.#parts.moving.eraseCursors(sources));
  }

  // --- the end ---------------------------------------------------------------------------------------------------

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { pool, health, keeper, bodies, news, joining } = this.#parts;
    const closed = new SpoolError('closed', `The database ${pool.where} is closed`);
    await this.#calls.close(closed, health.trouble === undefined ? CLOSING : 0);
    const isWell = health.trouble === undefined;
    bodies.stop();
    news.stop();
    health.end(closed);
    await keeper.stop();
    if (isWell)
      // Others need not wait for the lease to be over.
      await pool
        .use(async (link) => {
          await link.run('DELETE FROM duty WHERE owner = $1', joining.id);
          await link.run(
            `DELETE FROM member WHERE id = $1 AND NOT EXISTS (SELECT FROM item WHERE state = 'sending' AND owner = $1)`,
            joining.id,
          );
        })
        .catch(() => undefined);
    await pool.close(closed, isWell ? CLOSING : 0);
  }
}
