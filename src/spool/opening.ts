/**
 * Opens the file: takes its lock, looks whether it is a spool, brings an older one up, checks one that is not too large.
 * Repairs and deletes nothing.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { MIGRATIONS, SCHEMA, VERSION } from './schema.ts';
import { damaged, primary, Refusal } from './trouble.ts';

/** A database up to this size is checked at every start; a larger one would delay it. */
const CHECKED = 64 * 1024 * 1024;

/** @throws Refusal, or what SQLite throws */
export function openDatabase(path: string): { readonly db: DatabaseSync; readonly lock: DatabaseSync } {
  checkHeader(path);
  const lock = takeLock(path);
  try {
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
    return { db, lock };
  } catch (error) {
    lock.close();
    throw error;
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

/** Whether a process has the spool open. Makes nothing; where there is a lock it is read, for a moment. */
export function isHeld(path: string): boolean {
  const file = `${real(path)}-lock`;
  if (!existsSync(file)) return false;
  const lock = new DatabaseSync(file, { readOnly: true, timeout: 0 });
  try {
    lock.prepare('SELECT count(*) FROM sqlite_schema').get();
    return false;
  } catch (error) {
    if (primary(error) === 5) return true;
    throw error;
  } finally {
    lock.close();
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
    if (fstatSync(file).isDirectory()) {
      throw new Refusal(
        'readOnly',
        `The spool ${path} is a folder: spool.sqlite names a file, for example ${join(path, 'spool.db')}`,
      );
    }
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
