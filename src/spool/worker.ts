/**
 * The worker thread that owns the database. Whatever waits in its port when it looks
 * goes into one transaction, whose replies leave after its commit is synced; what arrives meanwhile is the next one.
 * A statement that fails takes only its own order down; a commit that fails takes all of its transaction's, unless it is
 * for damage: then each order is tried alone.
 */
import { rmSync, writeFileSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { letGo } from './memory.ts';
import { openDatabase } from './opening.ts';
import type { FromWorker, Order, Reply, Request, Trouble, WorkerData } from './protocol.ts';
import { Store } from './store.ts';
import { damagedInUse, isFailedWrite, Refusal, troubleOf } from './trouble.ts';

/** Orders of one transaction: bounds how long the first of them waits for the last. */
const BATCH = 512;
/** Octets of the file that finds out why a write failed. */
const PROBED = 64 * 1024;

/** Whether an order changes more than one row, so that it has to be undone as a whole. */
function needsSavepoint(order: Order): boolean {
  switch (order.do) {
    case 'commit':
    case 'claim':
    case 'take':
    case 'release':
    case 'defer':
    case 'end':
    case 'split':
    case 'purge':
    case 'dropParked':
    case 'retry':
    case 'hold':
    case 'move':
    case 'drop':
    case 'setAside':
    case 'makeWay':
    case 'adopt':
    case 'erase':
    case 'adoptReceipts':
    case 'eraseReceipts':
    case 'adoptCursors':
    case 'eraseCursors':
      return true;
    default:
      return false;
  }
}

const READS: ReadonlySet<Order['do']> = new Set([
  'read',
  'size',
  'lanes',
  'get',
  'list',
  'history',
  'stats',
  'received',
  'cursor',
  'kept',
  'keptReceipts',
  'keptCursors',
  'close',
]);

function isRead({ order }: Request): boolean {
  return READS.has(order.do);
}

/** SQLite keeps to itself why a write failed; a small file beside the spool meets the same. */
function whyOf(error: unknown, path: string): Trouble {
  return isFailedWrite(error) ? troubleOf(error, path, codeOfWriting(`${path}-probe`)) : troubleOf(error, path);
}

/** @returns the system's code, for example EDQUOT; undefined: it can be written */
function codeOfWriting(file: string): string | undefined {
  try {
    writeFileSync(file, new Uint8Array(PROBED), { flush: true });
    return undefined;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : undefined;
  } finally {
    rmSync(file, { force: true });
  }
}

function execute(store: Store, { number, order }: Request, path: string): Reply {
  const { db } = store;
  const guarded = needsSavepoint(order);
  const { setAside } = store.lanes;
  try {
    if (guarded) store.mark();
    const value = store.obey(order);
    if (guarded) store.release();
    return { number, value };
  } catch (error) {
    if (guarded && db.isTransaction) db.exec('ROLLBACK TO one; RELEASE one');
    store.lanes.forgetAside(setAside);
    return { number, ...whyOf(error, path) };
  }
}

function transact(store: Store, requests: readonly Request[], path: string): Reply[] {
  if (requests.every(isRead)) return requests.map((request) => execute(store, request, path));
  const replies = attempt(store, requests, path);
  if (replies.some((reply) => 'trouble' in reply && reply.trouble === 'full')) giveBackLog(store.db);
  return replies;
}

/** A page that is lost makes SQLite give up the whole transaction: then each order is tried alone, and as long as it learns. */
function attempt(store: Store, requests: readonly Request[], path: string): Reply[] {
  for (;;) {
    const { damageMet } = store.lanes;
    const replies = attemptOnce(store, requests, path);
    if (!replies.some((reply) => 'trouble' in reply && reply.trouble === 'damaged')) return replies;
    if (requests.length > 1) return requests.flatMap((request) => transact(store, [request], path));
    if (store.lanes.damageMet === damageMet) return replies;
  }
}

function attemptOnce(store: Store, requests: readonly Request[], path: string): Reply[] {
  const { db } = store;
  try {
    db.exec('BEGIN IMMEDIATE');
    const replies: Reply[] = [];
    for (const request of requests)
      replies.push(
        db.isTransaction ? execute(store, request, path) : { number: request.number, trouble: 'io', message: '' },
      );
    if (!db.isTransaction) throw lostTransaction(replies);
    db.exec('COMMIT');
    return replies;
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    const trouble = whyOf(error, path);
    store.lanes.forgetAside();
    // What only reads is answered all the same: mail that can still be delivered makes room again.
    return requests.map((request) =>
      isRead(request) ? execute(store, request, path) : { number: request.number, ...trouble },
    );
  }
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
  let store;
  let figures;
  try {
    opened = openDatabase(path);
    store = new Store(opened.db, data);
    opened.db.exec('BEGIN IMMEDIATE');
    figures = store.recover(data);
    opened.db.exec('COMMIT');
  } catch (error) {
    opened?.db.close();
    opened?.lock.close();
    tell({ kind: 'refused', ...whyOf(error, path) });
    port.close();
    return;
  }
  const { lock } = opened;
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
  tell({ kind: 'open', ...figures, waiting: count(), aside: store.lanes.found().aside });

  let tidying: NodeJS.Immediate | undefined;
  const tidy = (): void => {
    tidying = undefined;
    try {
      if (store.tidy()) tidying = setImmediate(tidy);
    } catch {
      // a store in trouble says so at the next order; the next start removes the rest
    }
  };
  port.on('message', (requests: Request[]) => {
    while (requests.length < BATCH) {
      const more = receiveMessageOnPort(port);
      if (more === undefined) break;
      requests.push(...(more.message as Request[]));
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
    const { aside, damage } = store.lanes.found();
    const met = damage === undefined ? {} : { damage: damagedInUse(path, damage) };
    tell({ kind: 'replies', replies, waiting: closing ? 0 : count(), aside, ...met }, transfer);
    for (const { order } of requests) if ('chunk' in order && order.chunk !== undefined) letGo(order.chunk.octets);
    if (closing) port.close();
    else tidying ??= setImmediate(tidy);
  });
}

if (parentPort !== null) serve(parentPort, workerData as WorkerData);
