/**
 * The worker thread that owns the database: the only importer of node:sqlite. Whatever waits in its port when it looks
 * goes into one transaction, whose replies leave after its commit is synced; what arrives meanwhile is the next one.
 * A statement that fails takes only its own order down; a commit that fails takes all of its transaction's.
 */
import { openSync, closeSync, readSync, realpathSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { SQLInputValue, StatementSync } from 'node:sqlite';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import type { HistoryEntry, ItemState, ArrivingItem, QueueItem } from '../mail/item.ts';
import { ITEM_STATES } from '../mail/item.ts';
import { goesFirst, inTurn } from '../mail/precedence.ts';
import type { First } from '../mail/precedence.ts';
import type { DroppedItem, Lane, ListFilter, Told } from '../mail/spool.ts';
import type { DeliveryStatus } from '../mail/status.ts';
import { unreachable } from '../mail/status.ts';
import { letGo } from './memory.ts';
import { laneKey, laneName } from './protocol.ts';
import type { Chunk, FromWorker, Order, Reply, Request, Trouble, WorkerData } from './protocol.ts';
import { MIGRATIONS, SCHEMA, VERSION } from './schema.ts';

/** Orders of one transaction: bounds how long the first of them waits for the last. */
const BATCH = 512;
/** A larger body is removed in slices between transactions. */
const REMOVED_AT_ONCE = 1024 * 1024;
const SLICE = 8;
/** A database up to this size is checked at every start; a larger one would delay it. */
const CHECKED = 64 * 1024 * 1024;

/** Due items of a lane that go first (1) or not (0). */
const CLAIM = `SELECT * FROM item INDEXED BY item_due WHERE state = 'queued' AND lane = ? AND first = ? AND due <= ? ORDER BY due, id LIMIT ?`;
/** Far beyond any time, for a minimum over what may be absent. */
const NEVER = Number.MAX_SAFE_INTEGER;
/** When the next such item of the lane `step.lane` is due. */
const dueIn = (first: 0 | 1): string =>
  `coalesce((SELECT min(due) FROM item INDEXED BY item_due WHERE state = 'queued' AND lane = step.lane AND first = ${first}), ${NEVER})`;
/** Items of a state looked at for the oldest: more than arrive while one message is being received. */
const OLDEST_AMONG = 2_000;
/** For the history. */
const DROPPED: Readonly<Record<DroppedItem['why'], string>> = {
  age: 'parked for longer than spool.parkedRetention allows',
  size: 'more was parked than spool.parkedSize allows, and this was the oldest',
};

class Store {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** Bodies that nobody needs, still to be removed. */
  readonly #rubbish: string[] = [];

  readonly #first: readonly First[];
  /** By lane: preferred items claimed in a row while others waited. */
  readonly #inARow = new Map<string, number>();

  constructor(db: DatabaseSync, first: readonly First[]) {
    this.#db = db;
    this.#first = first;
  }

  get db(): DatabaseSync {
    return this.#db;
  }

  #run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  #row(sql: string, ...values: SQLInputValue[]): Record<string, unknown> | undefined {
    return this.#statement(sql).get(...values);
  }

  #rows(sql: string, ...values: SQLInputValue[]): Record<string, unknown>[] {
    return this.#statement(sql).all(...values);
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** After a crash: attempts that were under way are in doubt, drafts that were never committed are swept. */
  recover({ now, verifyAfter }: WorkerData): { recovered: number; swept: number } {
    const orphans = this.#rows('SELECT id FROM item WHERE state = ?', 'sending');
    for (const { id } of orphans) this.#remember(String(id), now, 'recovered');
    this.#run(
      `UPDATE item SET state = 'queued', doubtful = 1, lease = NULL, due = min(coalesce(started, ?1), ?1) + ?2 WHERE state = 'sending'`,
      now,
      verifyAfter,
    );
    // What arrived or was tried in the future did so before the clock was set back: it has waited long enough.
    this.#run(
      `UPDATE item SET due = min(due, ?1 + doubtful * ?2) WHERE state = 'queued' AND due > ?1 AND max(arrived, coalesce(started, 0)) > ?1`,
      now,
      verifyAfter,
    );
    let swept = 0;
    for (let at = ''; ;) {
      const row = this.#row('SELECT min(message) AS message FROM chunk WHERE message > ?', at);
      if (row === undefined || row['message'] === null) break;
      at = String(row['message']);
      const users = this.#row('SELECT users FROM message WHERE id = ?', at)?.['users'];
      if (users !== undefined && Number(users) > 0) continue;
      this.#run('DELETE FROM chunk WHERE message = ?', at);
      swept++;
    }
    this.#run('DELETE FROM message WHERE users = 0');
    return { recovered: orphans.length, swept };
  }

  waiting(): number {
    const row = this.#row(`SELECT sum(count) AS count FROM tally WHERE what IN ('queued', 'sending', 'parked')`);
    return Number(row?.['count'] ?? 0);
  }

  obey(order: Order): unknown {
    switch (order.do) {
      case 'write':
        return this.#write(order.message, order.chunk);
      case 'commit':
        return this.#commit(order);
      case 'abort':
        return this.#run('DELETE FROM chunk WHERE message = ?', order.message);
      case 'read':
        return this.#row('SELECT octets FROM chunk WHERE message = ? AND number = ?', order.message, order.number)?.[
          'octets'
        ];
      case 'size':
        return this.#row('SELECT size FROM message WHERE id = ? AND users > 0', order.message)?.['size'];
      case 'lanes':
        return this.#lanes();
      case 'claim':
        return this.#claim(order);
      case 'setBack':
        // All by the same time, so that they keep their order and what arrives now comes after them.
        return this.#run(`UPDATE item SET due = due - ? WHERE state = 'queued'`, order.by);
      case 'renew':
        return (
          this.#run(`UPDATE item SET lease = ? WHERE id = ? AND state = 'sending'`, order.leaseUntil, order.id) === 1
        );
      case 'release':
        if (
          this.#run(
            `UPDATE item SET state = 'queued', lease = NULL, attempts = attempts - 1 WHERE id = ? AND state = 'sending'`,
            order.id,
          ) === 1
        ) {
          this.#remember(order.id, order.now, 'released');
        }
        return undefined;
      case 'defer':
        return this.#defer(order);
      case 'end':
        return this.#end(order);
      case 'note':
        return this.#remember(order.id, order.now, order.entry.what, order.entry.status, order.entry.detail);
      case 'get': {
        const row = this.#row('SELECT * FROM item WHERE id = ?', order.id);
        return row === undefined ? undefined : itemOf(row);
      }
      case 'list':
        return this.#list(order.filter);
      case 'history':
        return this.#rows('SELECT * FROM history WHERE item = ? ORDER BY rowid', order.id).map(entryOf);
      case 'stats':
        return this.#stats();
      case 'dropParked':
        return this.#dropParked(order);
      case 'purge':
        return this.#purge(order.before, order.limit);
      case 'probe':
        return this.#run(`UPDATE tally SET count = count + 1 WHERE what = 'probe'`);
      case 'close':
        return undefined;
      default:
        return unreachable(order);
    }
  }

  #write(message: string, { number, octets }: Chunk): void {
    this.#run('INSERT INTO chunk (message, number, octets) VALUES (?, ?, ?)', message, number, octets);
  }

  #commit({ message, chunk, size, items, told, now }: Extract<Order, { do: 'commit' }>): QueueItem[] | undefined {
    if (told !== undefined && !this.#tell(told, now)) {
      this.#run('DELETE FROM chunk WHERE message = ?', message);
      return undefined;
    }
    if (chunk !== undefined) this.#write(message, chunk);
    this.#run('INSERT INTO message (id, size, users) VALUES (?, ?, ?)', message, size, items.length);
    return items.map((item, index) =>
      this.#add(item, index === 0 ? message : `${message}-${index + 1}`, message, size, now),
    );
  }

  #add(item: ArrivingItem, id: string, message: string, size: number, now: number): QueueItem {
    const { route, mailbox, envelope, origin, messageId, headerSize } = item;
    this.#run(
      `INSERT INTO item (id, message, lane, state, due, arrived, size, header_size, message_id, envelope, origin, first) VALUES (?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?)`,
      id,
      message,
      laneName(item),
      now,
      now,
      size,
      headerSize,
      messageId,
      JSON.stringify(envelope),
      JSON.stringify(origin),
      goesFirst({ ...item, size }, this.#first) ? 1 : 0,
    );
    this.#remember(id, now, 'accepted', undefined, item.repairs?.length ? item.repairs.join('; ') : undefined);
    return {
      id,
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

  /** A loose scan: one step of the index for each lane, however many items it has. */
  #lanes(): Lane[] {
    const rows = this.#rows(`
      WITH RECURSIVE step (lane) AS (
        SELECT min(lane) FROM item INDEXED BY item_due WHERE state = 'queued'
        UNION ALL
        SELECT (SELECT min(lane) FROM item INDEXED BY item_due WHERE state = 'queued' AND lane > step.lane) FROM step WHERE step.lane IS NOT NULL
      )
      SELECT lane, min(${dueIn(0)}, ${dueIn(1)}) AS due
      FROM step WHERE lane IS NOT NULL ORDER BY due`);
    return rows.map((row) => ({ ...laneKey(String(row['lane'])), due: Number(row['due']) }));
  }

  #claim({ lane, now, limit, leaseUntil }: Extract<Order, { do: 'claim' }>): QueueItem[] {
    const due = (first: 0 | 1): Record<string, unknown>[] => this.#rows(CLAIM, lane, first, now, limit);
    const { taken, row: inARow } = inTurn(due(1), due(0), limit, this.#inARow.get(lane) ?? 0);
    if (inARow === 0) this.#inARow.delete(lane);
    else this.#inARow.set(lane, inARow);
    return taken.map((row) => {
      const item = itemOf(row);
      this.#run(
        `UPDATE item SET state = 'sending', attempts = attempts + 1, started = ?, lease = ? WHERE id = ?`,
        now,
        leaseUntil,
        item.id,
      );
      this.#remember(item.id, now, 'attempted');
      return { ...item, state: 'sending', attempts: item.attempts + 1 };
    });
  }

  #defer({ id, due, doubtful, status, now }: Extract<Order, { do: 'defer' }>): void {
    const changed = this.#run(
      `UPDATE item SET state = 'queued', lease = NULL, due = coalesce(?, due), doubtful = ?, status = ? WHERE id = ? AND state = 'sending'`,
      due ?? null,
      doubtful ? 1 : 0,
      JSON.stringify(status),
      id,
    );
    if (changed === 1) this.#remember(id, now, status.outcome === 'unknown' ? 'unknown' : 'delayed', status);
  }

  #end({ id, state, status, now }: Extract<Order, { do: 'end' }>): void {
    const ended = state === 'relayed' ? now : null;
    const changed = this.#run(
      `UPDATE item SET state = ?, lease = NULL, ended = ?, parked = ?, status = ? WHERE id = ? AND state = 'sending'`,
      state,
      ended,
      state === 'parked' ? now : null,
      JSON.stringify(status),
      id,
    );
    if (changed !== 1) return;
    this.#remember(id, now, state, status);
    if (state === 'relayed') this.#bodyNotNeeded(id);
  }

  /** @returns false: the item is no longer being sent */
  #tell({ id, what, status, detail }: Told, now: number): boolean {
    if (this.#row(`SELECT 1 AS found FROM item WHERE id = ? AND state = 'sending'`, id) === undefined) return false;
    this.#remember(id, now, what, status, detail);
    if (what === 'warned') return true;
    this.#run(
      `UPDATE item SET state = 'bounced', lease = NULL, ended = ?, status = ? WHERE id = ?`,
      now,
      JSON.stringify(status),
      id,
    );
    this.#bodyNotNeeded(id);
    return true;
  }

  #bodyNotNeeded(id: string): void {
    const row = this.#row(
      'UPDATE message SET users = users - 1 WHERE id = (SELECT message FROM item WHERE id = ?) RETURNING id, users, size',
      id,
    );
    if (row === undefined || Number(row['users']) > 0) return;
    const message = String(row['id']);
    if (Number(row['size']) > REMOVED_AT_ONCE) {
      this.#rubbish.push(message);
      return;
    }
    this.#run('DELETE FROM chunk WHERE message = ?', message);
    this.#run('DELETE FROM message WHERE id = ?', message);
  }

  /** Removes a slice of a large body that nobody needs. @returns false when there is nothing to remove */
  tidy(): boolean {
    const message = this.#rubbish[0];
    if (message === undefined) return false;
    const removed = this.#run(
      'DELETE FROM chunk WHERE rowid IN (SELECT rowid FROM chunk WHERE message = ? LIMIT ?)',
      message,
      SLICE,
    );
    if (removed < SLICE) {
      this.#run('DELETE FROM message WHERE id = ? AND users = 0', message);
      this.#rubbish.shift();
    }
    return true;
  }

  #list({ states, route, mailbox, after, limit = 100 }: ListFilter): QueueItem[] {
    const where = ['id > ?'];
    const values: SQLInputValue[] = [after ?? ''];
    if (route !== undefined) {
      where.push('lane >= ? AND lane < ?');
      values.push(`${route}\n`, `${route}\u{b}`);
    }
    if (mailbox !== undefined) {
      where.push(`substr(lane, instr(lane, char(10)) + 1) = ?`);
      values.push(mailbox);
    }
    const sql = (more: string): string => `SELECT * FROM item ${more} ${where.join(' AND ')} ORDER BY id LIMIT ?`;
    if (states === undefined) return this.#rows(sql('WHERE'), ...values, limit).map(itemOf);
    // State by state, because only then the index gives them in order and nothing that is not shown is read.
    const byState = sql('INDEXED BY item_state WHERE state = ? AND');
    return states
      .flatMap((state) => this.#rows(byState, state, ...values, limit).map(itemOf))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
      .slice(0, limit);
  }

  #stats(): unknown {
    const counts = new Map(
      this.#rows('SELECT what, count FROM tally').map((row) => [String(row['what']), Number(row['count'])]),
    );
    // Ids sort by when a message began to arrive: the oldest by its end is among the first of them.
    const among = (state: ItemState): string =>
      `SELECT arrived FROM (SELECT arrived FROM item INDEXED BY item_state WHERE state = '${state}' ORDER BY id LIMIT ${OLDEST_AMONG})`;
    const oldest = this.#row(`SELECT min(arrived) AS oldest FROM (${among('queued')} UNION ALL ${among('sending')})`);
    return {
      items: Object.fromEntries(ITEM_STATES.map((state) => [state, counts.get(state) ?? 0])),
      bytes: counts.get('bytes') ?? 0,
      ...(oldest === undefined || oldest['oldest'] === null ? {} : { oldest: Number(oldest['oldest']) }),
    };
  }

  #dropParked({ before, size, limit, now }: Extract<Order, { do: 'dropParked' }>): DroppedItem[] {
    const dropped: DroppedItem[] = [];
    const sum = this.#row(`SELECT total(size) AS octets FROM item INDEXED BY item_parked WHERE state = 'parked'`);
    let left = Number(sum?.['octets'] ?? 0);
    const oldest = `SELECT * FROM item INDEXED BY item_parked WHERE state = 'parked' ORDER BY parked, id LIMIT ?`;
    for (const row of this.#rows(oldest, limit)) {
      const parkedAt = Number(row['parked']);
      if (parkedAt >= before && left <= size) break;
      const why = parkedAt < before ? 'age' : 'size';
      const item = itemOf(row);
      left -= item.size;
      this.#run(`UPDATE item SET state = 'dropped', ended = ? WHERE id = ?`, now, item.id);
      this.#remember(item.id, now, 'dropped', undefined, DROPPED[why]);
      this.#bodyNotNeeded(item.id);
      dropped.push({ item: { ...item, state: 'dropped' }, why, parkedAt });
    }
    return dropped;
  }

  #purge(before: number, limit: number): number {
    const rows = this.#rows('SELECT id FROM item WHERE ended IS NOT NULL AND ended < ? LIMIT ?', before, limit);
    for (const { id } of rows) {
      this.#run('DELETE FROM history WHERE item = ?', String(id));
      this.#run('DELETE FROM item WHERE id = ?', String(id));
    }
    return rows.length;
  }

  #remember(item: string, at: number, what: HistoryEntry['what'], status?: DeliveryStatus, detail?: string): void {
    this.#run(
      'INSERT INTO history (item, at, what, detail, status) VALUES (?, ?, ?, ?, ?)',
      item,
      at,
      what,
      detail ?? null,
      status === undefined ? null : JSON.stringify(status),
    );
  }
}

function itemOf(row: Record<string, unknown>): QueueItem {
  const status = row['status'];
  return {
    ...laneKey(String(row['lane'])),
    id: String(row['id']),
    message: String(row['message']),
    state: String(row['state']) as ItemState,
    due: Number(row['due']),
    arrivedAt: Number(row['arrived']),
    attempts: Number(row['attempts']),
    doubtful: row['doubtful'] === 1,
    size: Number(row['size']),
    headerSize: Number(row['header_size']),
    messageId: String(row['message_id']),
    envelope: JSON.parse(String(row['envelope'])) as QueueItem['envelope'],
    origin: JSON.parse(String(row['origin'])) as QueueItem['origin'],
    ...(typeof status === 'string' ? { lastStatus: JSON.parse(status) as DeliveryStatus } : {}),
  };
}

function entryOf(row: Record<string, unknown>): HistoryEntry {
  const { detail, status } = row;
  return {
    at: Number(row['at']),
    what: String(row['what']) as HistoryEntry['what'],
    ...(typeof detail === 'string' ? { detail } : {}),
    ...(typeof status === 'string' ? { status: JSON.parse(status) as DeliveryStatus } : {}),
  };
}

// --- opening -------------------------------------------------------------------------------------------------------

function open({ path, first }: WorkerData): { store: Store; lock: DatabaseSync } {
  const lock = takeLock(path);
  try {
    checkHeader(path);
    const db = new DatabaseSync(path, { timeout: 1_000 });
    // Order matters: what shapes a new file comes before its first table.
    db.exec(
      'PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;',
    );
    const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
    if (version > VERSION) {
      throw new Refusal(
        'newer',
        `The spool ${path} was written by a newer version of this program (its format is ${version}, this one knows ${VERSION}): install that version again, or start with another spool`,
      );
    }
    if (version === 0) db.exec(`BEGIN; ${SCHEMA} PRAGMA user_version = ${VERSION}; COMMIT;`);
    else
      for (let from = version; from < VERSION; from++)
        db.exec(`BEGIN; ${MIGRATIONS[from] ?? ''} PRAGMA user_version = ${from + 1}; COMMIT;`);
    if (statSync(path).size <= CHECKED) checkWhole(db, path);
    return { store: new Store(db, first), lock };
  } catch (error) {
    lock.close();
    throw error;
  }
}

class Refusal extends Error {
  readonly trouble: Trouble['trouble'];
  constructor(trouble: Trouble['trouble'], message: string) {
    super(message);
    this.trouble = trouble;
  }
}

/** A transaction on a file beside the spool, held as long as the process lives: the kernel lets go of it after a crash. */
function takeLock(path: string): DatabaseSync {
  const lock = new DatabaseSync(`${real(path)}-lock`, { timeout: 0 });
  try {
    lock.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    if (primary(error) === 5) {
      throw new Refusal(
        'locked',
        `The spool ${path} is in use by another gateway: stop that one first, or give this one a spool of its own (spool.sqlite)`,
      );
    }
    throw error;
  }
}

/** So that a second name of the same file (a symbolic link) leads to the same lock. */
function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path; // not made yet
  }
}

/** SQLite would take a file that is empty or begins otherwise for a new database or an encrypted one. */
function checkHeader(path: string): void {
  let file;
  try {
    file = openSync(path, 'r');
  } catch {
    return; // it does not exist yet, or opening it as a database says why it cannot be read
  }
  try {
    const header = Buffer.alloc(16);
    const length = readSync(file, header, 0, 16, 0);
    if (length > 0 && header.toString('latin1') !== 'SQLite format 3\0')
      throw damaged(path, 'it is no SQLite database');
  } finally {
    closeSync(file);
  }
}

function checkWhole(db: DatabaseSync, path: string): void {
  const row = db.prepare('PRAGMA quick_check(1)').get();
  const verdict = String(row?.['quick_check'] ?? 'nothing');
  if (verdict !== 'ok') throw damaged(path, verdict);
}

function damaged(path: string, detail: string): Refusal {
  return new Refusal(
    'damaged',
    `The spool ${path} is damaged (${detail.replace(/\s+/g, ' ').slice(0, 200)}): move it aside (do not delete it, it may hold mail) and start again, then restore it from a backup or with sqlite3's .recover`,
  );
}

// --- trouble -------------------------------------------------------------------------------------------------------

function primary(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : undefined;
}

function troubleOf(error: unknown, path: string): Trouble {
  if (error instanceof Refusal) return { trouble: error.trouble, message: error.message };
  const detail = error instanceof Error ? error.message : String(error);
  if (error instanceof Error && 'code' in error && error.code === 'EISDIR')
    return { trouble: 'readOnly', message: `The spool ${path} is a folder: spool.sqlite has to name a file` };
  switch (primary(error)) {
    case 13:
      return { trouble: 'full', message: `The disk of the spool ${path} is full: make room` };
    case 8:
      return {
        trouble: 'readOnly',
        message: `The spool ${path} cannot be written: the gateway's user needs the right to write it and its folder`,
      };
    case 14:
      return {
        trouble: 'readOnly',
        message: `The spool ${path} cannot be opened: the gateway's user needs the right to write its folder (${detail})`,
      };
    case 11:
    case 26: {
      const { trouble, message } = damaged(path, detail);
      return { trouble, message };
    }
    case 5:
    case 6:
      return { trouble: 'locked', message: `The spool ${path} is locked by another process: end what has it open` };
    default:
      return { trouble: 'io', message: `The spool ${path} cannot be used: ${detail}` };
  }
}

// --- the loop ------------------------------------------------------------------------------------------------------

/** Whether an order changes more than one row, so that it has to be undone as a whole. */
function needsSavepoint(order: Order): boolean {
  switch (order.do) {
    case 'commit':
    case 'claim':
    case 'release':
    case 'defer':
    case 'end':
    case 'purge':
    case 'dropParked':
      return true;
    default:
      return false;
  }
}

function isRead({ order }: Request): boolean {
  return ['read', 'size', 'lanes', 'get', 'list', 'history', 'stats', 'close'].includes(order.do);
}

function execute(store: Store, { number, order }: Request, path: string): Reply {
  const { db } = store;
  const guarded = needsSavepoint(order);
  try {
    if (guarded) db.exec('SAVEPOINT one');
    const value = store.obey(order);
    if (guarded) db.exec('RELEASE one');
    return { number, value };
  } catch (error) {
    if (guarded && db.isTransaction) db.exec('ROLLBACK TO one; RELEASE one');
    return { number, ...troubleOf(error, path) };
  }
}

function transact(store: Store, requests: readonly Request[], path: string): Reply[] {
  const { db } = store;
  if (requests.every(isRead)) return requests.map((request) => execute(store, request, path));
  let replies: Reply[] = [];
  try {
    db.exec('BEGIN IMMEDIATE');
    for (const request of requests)
      replies.push(
        db.isTransaction ? execute(store, request, path) : { number: request.number, trouble: 'io', message: '' },
      );
    if (!db.isTransaction) throw lostTransaction(replies);
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    const trouble = troubleOf(error, path);
    // What only reads is answered all the same: mail that can still be delivered makes room again.
    replies = requests.map((request) =>
      isRead(request) ? execute(store, request, path) : { number: request.number, ...trouble },
    );
  }
  if (replies.some((reply) => 'trouble' in reply && reply.trouble === 'full')) giveBackLog(db);
  return replies;
}

/** The log is copied to the database only after a commit; without that nobody would use its space again on a full disk. */
function giveBackLog(db: DatabaseSync): void {
  try {
    db.exec('PRAGMA wal_checkpoint(PASSIVE)');
  } catch {
    // the replies tell of the trouble
  }
}

/** Some faults make SQLite give up the whole transaction: then nothing in it happened, whatever was answered. */
function lostTransaction(replies: readonly Reply[]): Refusal {
  const first = replies.find((reply) => 'trouble' in reply);
  return first !== undefined && 'trouble' in first
    ? new Refusal(first.trouble, first.message)
    : new Refusal('io', 'The transaction was lost');
}

function serve(port: MessagePort, data: WorkerData): void {
  const { path } = data;
  const tell = (message: FromWorker, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);
  let opened;
  let figures;
  try {
    opened = open(data);
    opened.store.db.exec('BEGIN IMMEDIATE');
    figures = opened.store.recover(data);
    opened.store.db.exec('COMMIT');
  } catch (error) {
    opened?.store.db.close();
    opened?.lock.close();
    tell({ kind: 'refused', ...troubleOf(error, path) });
    port.close();
    return;
  }
  const { store, lock } = opened;
  let waiting = 0;
  /** A figure for room(): no reason to leave the replies of a transaction that is on the disk unsaid. */
  const count = (): number => {
    try {
      waiting = store.waiting();
    } catch {
      // the next write meets the same trouble, and tells
    }
    return waiting;
  };
  tell({ kind: 'open', ...figures, waiting: count() });

  let tidying: NodeJS.Immediate | undefined;
  const tidy = (): void => {
    tidying = undefined;
    try {
      if (store.tidy()) tidying = setImmediate(tidy);
    } catch {
      // a store in trouble says so at the next order; the next start removes the rest
    }
  };
  port.on('message', (first: Request) => {
    const requests = [first];
    while (requests.length < BATCH) {
      const more = receiveMessageOnPort(port);
      if (more === undefined) break;
      requests.push(more.message as Request);
    }
    const replies = transact(store, requests, path);
    const transfer = replies.flatMap((reply) =>
      'value' in reply && reply.value instanceof Uint8Array ? [reply.value.buffer as ArrayBuffer] : [],
    );
    const closing = requests.some(({ order }) => order.do === 'close');
    if (closing) {
      if (tidying !== undefined) clearImmediate(tidying);
      store.db.close();
      lock.close();
    }
    tell({ kind: 'replies', replies, waiting: closing ? 0 : count() }, transfer);
    for (const { order } of requests) if ('chunk' in order && order.chunk !== undefined) letGo(order.chunk.octets);
    if (closing) port.close();
    else tidying ??= setImmediate(tidy);
  });
}

if (parentPort !== null) serve(parentPort, workerData as WorkerData);
