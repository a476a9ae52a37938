/**
 * Files written once, streamed, measured and synced. A file that is there already is never written into: the names belong
 * to one attempt. Fails with the error of the file system or of the content's reader, and with GivenUp.
 */
import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';

/** What is used of node:fs/promises. */
export interface FileSystem {
  mkdir(path: string, options: { recursive: boolean; mode: number }): Promise<string | undefined>;
  open(path: string, flags: string, mode?: number): Promise<FileHandle>;
  rename(from: string, to: string): Promise<void>;
  rm(path: string, options: { recursive: boolean; force: boolean }): Promise<void>;
  lstat(path: string, options: { bigint: true }): Promise<Pick<BigIntStats, 'ino'>>;
}

export interface FileHandle {
  write(octets: Uint8Array): Promise<{ bytesWritten: number }>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface WrittenFile {
  /** Octets. */
  readonly size: number;
  /** SHA-256 in hexadecimal digits. */
  readonly sha256: string;
}

const NO_SYNC: ReadonlySet<unknown> = new Set(['EINVAL', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP']);

/** The gateway is stopping. */
export class GivenUp extends Error {
  override readonly name = 'GivenUp';
}

export class TreeWriter {
  readonly #files: FileSystem;
  readonly #fileMode: number;
  readonly #folderMode: number;

  constructor(files: FileSystem, fileMode: number, folderMode: number) {
    this.#files = files;
    this.#fileMode = fileMode;
    this.#folderMode = folderMode;
  }

  /** The file is on the disk when it resolves; its name is when the folder is synced. */
  async file(
    path: string,
    content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<WrittenFile> {
    const hash = createHash('sha256');
    let size = 0;
    const handle = await this.#files.open(path, 'wx', this.#fileMode);
    try {
      for await (const chunk of content) {
        if (signal?.aborted === true) throw new GivenUp();
        hash.update(chunk);
        size += chunk.length;
        // The chunk is good until the next one is asked for: nothing of it may wait.
        for (let at = 0; at < chunk.length;) at += (await handle.write(chunk.subarray(at))).bytesWritten;
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    return { size, sha256: hash.digest('hex') };
  }

  async json(path: string, value: object): Promise<void> {
    await this.file(path, [Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`)]);
  }

  /** A new one. */
  async folder(path: string): Promise<void> {
    await this.#files.mkdir(path, { recursive: false, mode: this.#folderMode });
  }

  /** Makes the names in it last. */
  async syncFolder(path: string): Promise<void> {
    // Windows opens no folder, and its file system keeps names in order by itself.
    if (process.platform === 'win32') return;
    const handle = await this.#files.open(path, 'r');
    try {
      await handle.sync();
    } catch (error) {
      // Some file systems (shares, FUSE) know no such call, and there is no other.
      if (!(error instanceof Error && 'code' in error && NO_SYNC.has(error.code))) throw error;
    } finally {
      await handle.close();
    }
  }
}
