/**
 * The data folder: there or to be made, writable, whose it is, with room, on a disk of this machine as far as that can be
 * known; and the spool in it: of a format that this version reads, held by our own gateway, by another, or by none.
 * A file is written into the folder and removed; nothing else changes, and nothing is made that is not there.
 */
import { randomUUID } from 'node:crypto';
import type { Stats } from 'node:fs';
import { realpathSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { controlPath } from '../console/control.ts';
import type { Greeting } from '../console/wire.ts';
import { codeOf } from '../exchange/failure.ts';
import { VERSION } from '../spool/schema.ts';
import type { Walk } from './check-walk.ts';
import { controlClient, Unreachable } from './control-client.ts';
import type { Finding, Judged } from './finding.ts';
import { CommandFault } from './outcome.ts';
import { nearest, reachFolder } from './reach.ts';

export async function* checkData(walk: Walk): AsyncGenerator<Finding> {
  const { store, folder, minFree } = walk.config.spool;
  const sqlite = store.kind === 'sqlite' ? store.path : '';
  const tell = (judged: Judged, at = folder): Finding => ({ what: 'data folder', at, ...judged });
  const made = await madeOf(folder);
  yield tell(made);
  if (made.mark === 'fail') {
    walk.isWithoutData = true;
    yield tell({ mark: 'skip', says: 'not looked into: its folder cannot be used' }, sqlite);
    return;
  }
  const there = await nearest(folder);
  const owner = await ownerOf(folder, sqlite);
  if (owner !== undefined) yield tell(owner);
  yield tell(await roomOf(there, minFree));
  const kind = await fileSystemOf(there);
  if (kind !== undefined) yield tell(kind);
  const format = await formatOf(sqlite);
  yield tell(format, sqlite);
  const { judged, gateway } = await holderOf(sqlite);
  if (gateway !== undefined) walk.gateway = gateway;
  yield tell(judged, sqlite);
}

async function madeOf(folder: string): Promise<Judged> {
  try {
    const isThere = await reachFolder(folder, `.check-${randomUUID()}`);
    if (isThere) return { mark: 'ok', says: 'there, and can be written' };
    const above = await stat(await nearest(folder));
    return above.isDirectory()
      ? { mark: 'ok', says: 'not there yet; the gateway makes it when it starts' }
      : unusable('ENOTDIR');
  } catch (error) {
    return unusable(codeOf(error));
  }
}

const WHY: Readonly<Record<string, string>> = {
  ENOTDIR: 'a part of its path is a file, not a folder',
  EACCES: 'the user that runs this may not write there',
  EPERM: 'the user that runs this may not write there',
  EROFS: 'it is on a file system that is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota of the user that runs this is used up',
  ENOENT: 'a link in its path leads nowhere',
  ELOOP: 'links in its path lead in a circle',
};

function unusable(code: string): Judged {
  const why = WHY[code] ?? 'the system refuses it';
  return {
    mark: 'fail',
    says: `it cannot be made or written: ${why} (${code}). The gateway would not start. Name another file in spool.sqlite, or give the gateway's user the folder`,
  };
}

/** Undefined: nothing to be said. Not known on Windows. */
async function ownerOf(folder: string, sqlite: string): Promise<Judged | undefined> {
  const us = process.getuid?.();
  if (us === undefined) return undefined;
  const stands = (await statOf(sqlite)) ?? (await statOf(folder));
  if (stands === undefined || stands.uid === us) return undefined;
  const isFile = stands.isFile();
  if (!isFile && us !== 0) return undefined;
  return {
    mark: 'warn',
    says: `${isFile ? 'the spool' : 'it'} belongs to the user with the number ${stands.uid}, and this is run by number ${us}: run check as the user that the gateway runs as (sudo -u USER), or what it says of rights is not what the gateway meets`,
  };
}

async function statOf(path: string): Promise<Stats | undefined> {
  return await stat(path).catch(() => undefined);
}

async function roomOf(there: string, minFree: number): Promise<Judged> {
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
async function fileSystemOf(there: string): Promise<Judged | undefined> {
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

async function formatOf(sqlite: string): Promise<Judged> {
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

async function holderOf(sqlite: string): Promise<{ readonly judged: Judged; readonly gateway?: Greeting }> {
  const where = controlPath(dirname(sqlite));
  try {
    const gateway = await controlClient(where).greet();
    if (real(gateway.spool) === real(sqlite))
      return { judged: { mark: 'ok', says: `our own gateway runs (version ${gateway.version})` }, gateway };
    return {
      judged: {
        mark: 'fail',
        says: `another gateway has its spool in the same folder (${gateway.spool}): give each gateway a folder of its own in spool.sqlite`,
      },
    };
  } catch (error) {
    if (error instanceof CommandFault) return { judged: { mark: 'warn', says: error.message } };
    if (!(error instanceof Unreachable)) throw error;
  }
  const { isHeld } = await import('../spool/opening.ts');
  if (!isHeldBy(isHeld, sqlite)) return { judged: { mark: 'ok', says: 'no gateway has it open' } };
  return {
    judged: {
      mark: 'fail',
      says: `another gateway has it open, and nobody answers at ${where}: stop that one, or give this one a spool of its own. If it is this one: it is just starting or stopping, or its log line control.failed says why`,
    },
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

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
