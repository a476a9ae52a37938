/**
 * The consumer of a hand-over folder in the crash test of pickup: takes what has its side-file, checks it, and takes it
 * away. Now and then the folder cannot be written: a file stands in its place, which stops root too.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digest } from './pickup-crash-mail.ts';

interface SideFile {
  readonly id: string;
  readonly message: { readonly file: string; readonly size: number; readonly sha256: string };
}

export class Consumer {
  readonly path: string;
  /** Messages by the id of their hand-over. */
  readonly taken = new Map<string, Buffer>();
  readonly wrong: string[] = [];
  swaps = 0;

  constructor(path: string) {
    this.path = path;
    mkdirSync(path);
  }

  take(): void {
    for (const name of readdirSync(this.path)) {
      if (name.startsWith('.') || !name.endsWith('.json')) continue;
      const { id, message } = JSON.parse(readFileSync(join(this.path, name), 'utf8')) as SideFile;
      const octets = readFileSync(join(this.path, message.file));
      if (octets.length !== message.size || digest(octets) !== message.sha256) this.wrong.push(`${name} is not whole`);
      if (this.taken.has(id)) this.wrong.push(`${name} again`);
      this.taken.set(id, octets);
      rmSync(join(this.path, name));
      rmSync(join(this.path, message.file));
    }
  }

  /** What is in the folder when everything was taken. */
  leftovers(): readonly string[] {
    return readdirSync(this.path);
  }

  obstruct(): void {
    this.swaps++;
    renameSync(this.path, `${this.path}.away`);
    writeFileSync(this.path, '');
  }

  clear(): void {
    rmSync(this.path);
    renameSync(`${this.path}.away`, this.path);
  }
}
