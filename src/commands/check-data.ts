/**
 * The data folder: there or to be made, writable, whose it is; and the spool: what check-spool-file.ts or check-database.ts
 * has to say of it, and whether our own gateway, another, or none has it. A file is written into the folder and removed;
 * nothing else changes, and nothing is made that is not there.
 */
import { randomUUID } from 'node:crypto';
import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { spoolName } from '../assembly/spool.ts';
import type { Config } from '../config/config.ts';
import { controlPath } from '../console/control.ts';
import type { Greeting } from '../console/wire.ts';
import { codeOf } from '../exchange/failure.ts';
import { fileSystemOf, formatOf, heldBy, roomOf } from './check-spool-file.ts';
import type { Walk } from './check-walk.ts';
import { controlClient, Unreachable } from './control-client.ts';
import type { Finding, Judged } from './finding.ts';
import { CommandFault } from './outcome.ts';
import { worksOn } from './queue-reach.ts';
import { nearest, reachFolder } from './reach.ts';

type Spool = Config['spool'];

export async function* checkData(walk: Walk): AsyncGenerator<Finding> {
  const { spool } = walk.config;
  const { store, folder, minFree } = spool;
  const name = spoolName(store);
  const tell = (judged: Judged, at = folder): Finding => ({ what: 'data folder', at, ...judged });
  const made = await madeOf(spool);
  yield tell(made);
  if (made.mark === 'fail') {
    walk.isWithoutData = true;
    yield tell({ mark: 'skip', says: 'not looked into: its folder cannot be used' }, name);
    return;
  }
  const there = await nearest(folder);
  const owner = await ownerOf(folder, store.kind === 'sqlite' ? store.path : undefined);
  if (owner !== undefined) yield tell(owner);
  if (store.kind === 'sqlite') {
    yield tell(await roomOf(there, minFree));
    const kind = await fileSystemOf(there);
    if (kind !== undefined) yield tell(kind);
    yield tell(await formatOf(store.path), name);
  }
  const { judged, gateway } = await holderOf(spool);
  if (gateway !== undefined) walk.gateway = gateway;
  yield tell(judged, name);
}

async function madeOf({ store, folder }: Pick<Spool, 'store' | 'folder'>): Promise<Judged> {
  try {
    const isThere = await reachFolder(folder, `.check-${randomUUID()}`);
    if (isThere) return { mark: 'ok', says: 'there, and can be written' };
    const above = await stat(await nearest(folder));
    return above.isDirectory()
      ? { mark: 'ok', says: 'not there yet; the gateway makes it when it starts' }
      : unusable('ENOTDIR', store);
  } catch (error) {
    return unusable(codeOf(error), store);
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

function unusable(code: string, store: Spool['store']): Judged {
  const why = WHY[code] ?? 'the system refuses it';
  const other = store.kind === 'sqlite' ? 'file in spool.sqlite' : 'folder in spool.folder';
  return {
    mark: 'fail',
    says: `it cannot be made or written: ${why} (${code}). The gateway would not start. Name another ${other}, or give the gateway's user the folder`,
  };
}

/** Undefined: nothing to be said. Not known on Windows. */
async function ownerOf(folder: string, file: string | undefined): Promise<Judged | undefined> {
  const us = process.getuid?.();
  if (us === undefined) return undefined;
  const stands = (file === undefined ? undefined : await statOf(file)) ?? (await statOf(folder));
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

async function holderOf({
  store,
  folder,
}: Pick<Spool, 'store' | 'folder'>): Promise<{ readonly judged: Judged; readonly gateway?: Greeting }> {
  const where = controlPath(folder);
  try {
    const gateway = await controlClient(where).greet();
    if (worksOn(gateway.spool, store))
      return { judged: { mark: 'ok', says: `our own gateway runs (version ${gateway.version})` }, gateway };
    return {
      judged: {
        mark: 'fail',
        says: `another gateway has its spool in the same folder (${gateway.spool}): give each gateway a folder of its own in ${store.kind === 'sqlite' ? 'spool.sqlite' : 'spool.folder'}`,
      },
    };
  } catch (error) {
    if (error instanceof CommandFault) return { judged: { mark: 'warn', says: error.message } };
    if (!(error instanceof Unreachable)) throw error;
  }
  const held = store.kind === 'sqlite' ? await heldBy(store.path, where) : undefined;
  const none = store.kind === 'sqlite' ? 'no gateway has it open' : 'no gateway of this folder has it open';
  return { judged: held ?? { mark: 'ok', says: none } };
}
