/**
 * The spool's file: on a disk of this machine as far as that can be known, with room, of a format that this version reads,
 * held by no other gateway. It is read and not opened, but for its lock, for a moment.
 */
import type { FileHandle } from 'node:fs/promises';
import { open, statfs } from 'node:fs/promises';
import { codeOf } from '../exchange/failure.ts';
import { VERSION } from '../spool/schema.ts';
import type { Judged } from './finding.ts';

export async function roomOf(there: string, minFree: number): Promise<Judged> {
  try {
    const { bavail, bsize } = await statfs(there);
    return judgedRoom(bavail * bsize, minFree);
  } catch (error) {
    return { mark: 'skip', says: `the system does not say how much is free (${codeOf(error)})` };
  }
}

/** Both in octets. */
export function judgedRoom(free: number, minFree: number): Judged {
  const says = `${mebibytes(free)} free`;
  if (free >= minFree) return { mark: 'ok', says };
  return {
    mark: 'fail',
    says: `${says}, less than spool.minFree (${mebibytes(minFree)}): no mail is accepted (452). Make room, or lower spool.minFree`,
  };
}

function mebibytes(octets: number): string {
  return `${Math.floor(octets / 1024 / 1024).toLocaleString('en')} MiB`;
}

/** f_type of statfs(2), as linux/magic.h and the sources of each file system have it. */
const NETWORK: Readonly<Record<number, string>> = {
  0x6969: 'NFS',
  0x517b: 'SMB',
  0xff534d42: 'CIFS',
  0xfe534d42: 'SMB',
  0x5346414f: 'AFS',
  0x73757245: 'Coda',
  0x00c36400: 'Ceph',
  0x01021997: '9p',
  0x7461636f: 'OCFS2',
  0x01161970: 'GFS2',
};
const IN_MEMORY: Readonly<Record<number, string>> = { 0x01021994: 'tmpfs', 0x858458f6: 'ramfs' };

/** Undefined: nothing to be said, or not known. */
export async function fileSystemOf(there: string): Promise<Judged | undefined> {
  if (process.platform !== 'linux') return undefined;
  const type = await statfs(there).then(
    (found) => found.type,
    () => undefined,
  );
  return type === undefined ? undefined : judgedFileSystem(type);
}

/** @param type f_type of Linux */
export function judgedFileSystem(type: number): Judged | undefined {
  const unsigned = type >>> 0;
  const network = NETWORK[unsigned];
  if (network !== undefined)
    return {
      mark: 'fail',
      says: `it is on a network share (${network}), where locks and synced writes are not to be relied on (sqlite.org/wal.html): mail that was accepted could be lost. Name a file on a disk of this machine in spool.sqlite`,
    };
  const memory = IN_MEMORY[unsigned];
  if (memory === undefined) return undefined;
  return {
    mark: 'warn',
    says: `it is in memory (${memory}): what waits there is lost when the machine stops. Name a file on a disk in spool.sqlite`,
  };
}

/** Where SQLite keeps the user version in its header (sqlite.org/fileformat2.html, section 1.3). */
const USER_VERSION = 60;

export async function formatOf(sqlite: string): Promise<Judged> {
  let handle: FileHandle;
  try {
    handle = await open(sqlite, 'r');
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') return { mark: 'ok', says: 'not there yet; the gateway makes it when it starts' };
    return { mark: 'fail', says: `it cannot be read (${code}): give it to the gateway's user` };
  }
  try {
    const header = Buffer.alloc(USER_VERSION + 4);
    const { bytesRead } = await handle.read(header, 0, header.length, 0);
    if (bytesRead === 0) return { mark: 'ok', says: 'empty' };
    if (header.toString('latin1', 0, 16) !== 'SQLite format 3\0')
      return {
        mark: 'fail',
        says: 'it is no spool: no SQLite database, or a damaged one. The gateway would not start. Move it away, restore it, or name another file in spool.sqlite',
      };
    const found = header.readUInt32BE(USER_VERSION);
    if (found <= VERSION) return { mark: 'ok', says: `of format ${found === 0 ? VERSION : found}` };
    return {
      mark: 'fail',
      says: `a newer version of this program has written it (format ${found}, this one knows ${VERSION}): install that version again, or name another file in spool.sqlite`,
    };
  } catch (error) {
    const code = codeOf(error);
    const says =
      code === 'EISDIR'
        ? 'it is a folder: spool.sqlite names a file, for example spool.db in it'
        : `it cannot be read (${code})`;
    return { mark: 'fail', says };
  } finally {
    await handle.close();
  }
}

/** Undefined: no process has it open. @param where its gateway would answer */
export async function heldBy(sqlite: string, where: string): Promise<Judged | undefined> {
  const { isHeld } = await import('../spool/opening.ts');
  if (!isHeldBy(isHeld, sqlite)) return undefined;
  return {
    mark: 'fail',
    says: `another gateway has it open, and nobody answers at ${where}: stop that one, or give this one a spool of its own. If it is this one: it is just starting or stopping, or its log line control.failed says why`,
  };
}

/** What is no lock of ours is nobody's. */
function isHeldBy(isHeld: (path: string) => boolean, sqlite: string): boolean {
  try {
    return isHeld(sqlite);
  } catch {
    return false;
  }
}
