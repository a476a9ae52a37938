/** What SQLite and the operating system say of a store in trouble, as a word for the program and a sentence for the operator. Pure. */
import type { Trouble } from './protocol.ts';

export class Refusal extends Error {
  readonly trouble: Trouble['trouble'];
  constructor(trouble: Trouble['trouble'], message: string) {
    super(message);
    this.trouble = trouble;
  }
}

export function damaged(path: string, detail: string): Refusal {
  return new Refusal(
    'damaged',
    `The spool ${path} is damaged (${detail.replace(/\s+/g, ' ').slice(0, 200)}): move it aside (do not delete it, it may hold mail) and start again, then restore it from a backup or with sqlite3's .recover`,
  );
}

/** In a spool in use: what can be read still leaves. */
export function damagedInUse(path: string, detail: string): string {
  return `The spool ${path} is damaged (${detail.replace(/\s+/g, ' ').slice(0, 200)}): the gateway delivers what it can read and accepts nothing more. When nothing leaves any more, stop it, move the file and those beside it aside (do not delete them, they hold mail), and restore from a backup or with sqlite3's .recover`;
}

/** A page that is not what it should be, or that the disk does not give back (SQLITE_IOERR_READ, _SHORT_READ, _CORRUPTFS). */
export function isDamage(error: unknown): boolean {
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) : 0;
  return [11, 26].includes(code & 0xff) || [266, 522, 8458].includes(code);
}

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function primary(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : undefined;
}

/** A write, sync or truncation that the system refused for another reason than a full disk (SQLITE_IOERR_WRITE and its like). */
export function isFailedWrite(error: unknown): boolean {
  return primary(error) === 10 && !isDamage(error);
}

/** @param code what the system says to a file written beside the spool, where SQLite says only that it failed */
export function troubleOf(error: unknown, path: string, code?: string): Trouble {
  if (error instanceof Refusal) return { trouble: error.trouble, message: error.message };
  const detail = error instanceof Error ? error.message : String(error);
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
      return { trouble: 'damaged', message: damagedInUse(path, detail) };
    }
    case 5:
    case 6:
      return { trouble: 'locked', message: `The spool ${path} is locked by another process: end what has it open` };
    case 10:
      return failedWrite(detail, path, code);
    default:
      return { trouble: 'io', message: `The spool ${path} cannot be used: ${detail}` };
  }
}

function failedWrite(detail: string, path: string, code: string | undefined): Trouble {
  switch (code) {
    case 'ENOSPC':
      return { trouble: 'full', message: `The disk of the spool ${path} is full: make room` };
    case 'EDQUOT':
      return {
        trouble: 'full',
        message: `The quota for the spool ${path} is used up: make room, or give the gateway's user more`,
      };
    case 'EFBIG':
      return {
        trouble: 'full',
        message: `The spool ${path} may not grow: the gateway's user has a limit on the size of files (ulimit -f)`,
      };
    case 'EROFS':
      return {
        trouble: 'readOnly',
        message: `The file system of the spool ${path} is read-only: see dmesg for why, and mount it for writing again`,
      };
    default:
      return {
        trouble: 'io',
        message: `The spool ${path} cannot be written or read: ${detail}${code === undefined ? '' : ` (${code})`}; see dmesg for what is wrong with its disk`,
      };
  }
}
