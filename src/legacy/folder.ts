/**
 * The transport into a folder that another program reads (docs/hand-over.md). Promises of Transport; memory stays flat
 * but for the text of a message that is taken apart.
 *
 * - form `message`: `<id>.eml`, then `<id>.json`. A consumer waits for the `.json`.
 * - form `parts`: the folder `<id>` with message.txt, message.html, the attachments and message.json. It appears whole.
 *
 * Everything is written as `.tmp-<id>...` and synced, with its directory, before it gets its name. "renaming" goes into
 * the journal in between. So what lies there after a crash tells what happened, because a rename takes the temporary
 * name away: the final name is there, it was handed over; the temporary one, it was not; neither of them, it was, and
 * the consumer has taken it. What remains: power is lost in the milliseconds between the rename and its sync, and a
 * consumer was as fast. It meets the same id a second time then. Temporary names are nobody else's to remove.
 */
import * as fs from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { splitHeader } from '../mail/header.ts';
import { MimeError } from '../mail/mime.ts';
import { SpoolError } from '../mail/spool.ts';
import type { Delayed, DeliveryStatus, Failed, Relayed, Unknown, Verification } from '../mail/status.ts';
import {
  headerTooLarge,
  MAX_HEADER_SIZE,
  readHeader,
  replaceHeader,
  SizeMismatch,
  unreadable,
} from '../mail/stored.ts';
import type { Outgoing, Transport } from '../mail/transport.ts';
import { factsOf } from './facts.ts';
import { aborted, notTakenApart, troubleOf } from './folder-answers.ts';
import { GivenUp, TreeWriter } from './file-writer.ts';
import type { FileSystem } from './file-writer.ts';
import { TooManyParts, writeParts } from './parts.ts';

export interface FolderOptions {
  /** Made, with what leads to it, where it is missing. A relative one begins at the working directory. */
  readonly path: string;
  readonly form: 'message' | 'parts';
  /** For events, default `folder`. */
  readonly name?: string;
  /** Mode of files, less the process' umask; default 0o640. Of folders: default 0o770, so that the group may take files away. */
  readonly fileMode?: number;
  readonly folderMode?: number;
  /** Octets of text that are held of a message that is taken apart, default 16 MiB; more fails (5.3.4). */
  readonly maxText?: number;
  /** The file system, default Node's. */
  readonly files?: FileSystem;
}

/** Words of the journal. renaming: with the number of the folder's inode, which shows whether it is the same folder. */
const WRITING = 'writing';
const RENAMING = 'renaming';
const MAX_TEXT = 16 * 1024 * 1024;

export function folderTransport(options: FolderOptions): Transport {
  const folder = new HandOverFolder(options);
  return {
    name: options.name ?? 'folder',
    deliver: (outgoing, signal) => folder.deliver(outgoing, signal),
    verify: (outgoing) => folder.verify(outgoing),
    close: async () => {},
  };
}

class HandOverFolder {
  readonly #options: FolderOptions;
  readonly #path: string;
  readonly #files: FileSystem;
  readonly #writer: TreeWriter;

  constructor(options: FolderOptions) {
    this.#options = options;
    this.#path = resolve(options.path);
    this.#files = options.files ?? fs;
    this.#writer = new TreeWriter(this.#files, options.fileMode ?? 0o640, options.folderMode ?? 0o770);
  }

  async deliver(outgoing: Outgoing, signal: AbortSignal): Promise<DeliveryStatus> {
    const { item, journal } = outgoing;
    if (signal.aborted) return aborted();
    if (item.headerSize > MAX_HEADER_SIZE) return headerTooLarge(item.headerSize, MAX_HEADER_SIZE);
    // From "renaming" on, the temporary files are evidence, and stay.
    let isEvidence = false;
    try {
      await this.#files.mkdir(this.#path, { recursive: true, mode: this.#options.folderMode ?? 0o770 });
      if (await this.#isThere(this.#final(item.id))) return await this.#there(item.id);
      // The temporary files of an earlier attempt are about to go, and must not be missed later.
      if ((await journal?.last())?.startsWith(RENAMING) === true) await journal?.write(WRITING);
      await this.#clear(item.id);
      await this.#write(outgoing, signal);
      await this.#writer.syncFolder(this.#path);
      if (signal.aborted) throw new GivenUp();
      const step = `${RENAMING} ${await this.#inode()}`;
      isEvidence = true;
      await journal?.write(step);
      await this.#rename(item.id);
      return await this.#there(item.id);
    } catch (error) {
      if (!isEvidence) await this.#clear(item.id).catch(() => {});
      const status = this.#statusOf(error);
      // It has its name if it has not the temporary one any more, but that may not last.
      const isNamed = isEvidence && !(await this.#isThere(this.#temporary(item.id)).catch(() => false));
      return isNamed && status.outcome === 'delayed' ? inDoubt(status) : status;
    }
  }

  async verify({ item, journal }: Outgoing): Promise<Verification> {
    try {
      const step = await journal?.last();
      if (await this.#isThere(this.#final(item.id))) return await this.#there(item.id);
      if (journal !== undefined && step?.startsWith(RENAMING) !== true)
        return { outcome: 'absent', certain: 'the files had not been given their names' };
      if (await this.#isThere(this.#temporary(item.id)))
        return { outcome: 'absent', certain: 'the files lie there under their temporary names' };
      const inode = await this.#inode();
      if (inode !== undefined && step === `${RENAMING} ${inode}`)
        return {
          ...this.#relayed(item.id),
          reason: `${this.#final(item.id)} was there, and the consumer has taken it`,
        };
      return {
        outcome: 'unknowable',
        reason: `${this.#final(item.id)} is not in ${this.#path}: it may never have been, or the consumer has taken it, or the folder is another one than it was`,
      };
    } catch (error) {
      const status = this.#statusOf(error);
      return status.outcome === 'delayed' ? status : { outcome: 'unknowable', reason: status.reason ?? status.text };
    }
  }

  /** What a consumer waits for. */
  #final(id: string): string {
    return this.#options.form === 'message' ? `${id}.json` : id;
  }

  #temporary(id: string): string {
    return `.tmp-${this.#final(id)}`;
  }

  async #write(outgoing: Outgoing, signal: AbortSignal): Promise<void> {
    const { id } = outgoing.item;
    const header = await readHeader(outgoing);
    const facts = await factsOf(outgoing.item, splitHeader(header));
    const message = replaceHeader(header, outgoing);
    if (this.#options.form === 'message') {
      const written = await this.#writer.file(join(this.#path, `.tmp-${id}.eml`), message, signal);
      await this.#writer.json(join(this.#path, this.#temporary(id)), {
        ...facts,
        message: { file: `${id}.eml`, ...written },
      });
      return;
    }
    const folder = join(this.#path, this.#temporary(id));
    await this.#writer.folder(folder);
    await writeParts(
      { writer: this.#writer, folder, facts, maxText: this.#options.maxText ?? MAX_TEXT, signal },
      message,
    );
    await this.#writer.syncFolder(folder);
  }

  async #rename(id: string): Promise<void> {
    const rename = (temporary: string, name: string): Promise<void> =>
      this.#files.rename(join(this.#path, temporary), join(this.#path, name));
    if (this.#options.form === 'message') {
      await rename(`.tmp-${id}.eml`, `${id}.eml`);
      // The side-file must not be the one of the two that outlives a loss of power.
      await this.#writer.syncFolder(this.#path);
    }
    await rename(this.#temporary(id), this.#final(id));
  }

  /** It has its name; this makes that last. */
  async #there(id: string): Promise<Relayed> {
    await this.#writer.syncFolder(this.#path);
    return this.#relayed(id);
  }

  #relayed(id: string): Relayed {
    return {
      outcome: 'relayed',
      code: '2.0.0',
      cause: 'written',
      text: 'Written into the folder',
      reason: join(this.#path, this.#final(id)),
    };
  }

  /** Removes what an earlier attempt left. */
  async #clear(id: string): Promise<void> {
    for (const name of [`.tmp-${id}`, `.tmp-${id}.eml`, `.tmp-${id}.json`])
      await this.#files.rm(join(this.#path, name), { recursive: true, force: true });
  }

  async #isThere(name: string): Promise<boolean> {
    return (await this.#inode(name)) !== undefined;
  }

  /** Of the folder itself: a share that is not mounted leaves another one in its place. @returns undefined if nothing is there */
  async #inode(name = ''): Promise<bigint | undefined> {
    try {
      return (await this.#files.lstat(join(this.#path, name), { bigint: true })).ino;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  #statusOf(error: unknown): Delayed | Failed {
    if (error instanceof GivenUp) return aborted();
    if (error instanceof SpoolError || error instanceof SizeMismatch) return unreadable(error);
    if (error instanceof MimeError || error instanceof TooManyParts) return notTakenApart(error);
    const status = troubleOf(error, this.#path);
    if (status === undefined) throw error;
    return status;
  }
}

function inDoubt({ code, cause, text, reason }: Delayed): Unknown {
  return { outcome: 'unknown', code, cause, text, ...(reason === undefined ? {} : { reason }) };
}
