/** A maildrop in memory, with the troubles a test wants. */
import type { Maildrop, MaildropEntry } from '../../src/legacy/maildrop.ts';
import { SpoolError } from '../../src/mail/spool.ts';

export class MemoryMaildrop implements Maildrop {
  readonly messages: Map<string, Buffer>;
  /** What remove() did. */
  readonly removed: string[][] = [];
  /** How often it was called. */
  removals = 0;
  /** Rejects with this. */
  trouble: Partial<Record<'list' | 'open' | 'remove', Error>> = {};
  /** Octets of a chunk. */
  chunk = 65_536;
  /** Chunks that are asked for and not let go of yet. */
  opened = 0;
  /** Awaited by list() and remove(). */
  before: Promise<void> = Promise.resolve();

  constructor(messages: Readonly<Record<string, string | Buffer>> = {}) {
    this.messages = new Map(Object.entries(messages).map(([id, text]) => [id, Buffer.from(text)]));
  }

  async list(): Promise<readonly MaildropEntry[]> {
    await this.before;
    if (this.trouble.list) throw this.trouble.list;
    return [...this.messages].map(([id, octets]) => ({ id, size: octets.length }));
  }

  async *open(id: string): AsyncIterable<Uint8Array> {
    if (this.trouble.open) throw this.trouble.open;
    const octets = this.messages.get(id);
    if (octets === undefined) throw new SpoolError('io', `message ${id} is gone`);
    this.opened++;
    try {
      for (let at = 0; at < octets.length; at += this.chunk) {
        // Good until the next one is asked for, as the spool has it.
        const chunk = Buffer.from(octets.subarray(at, at + this.chunk));
        yield chunk;
        chunk.fill('?');
      }
    } finally {
      this.opened--;
    }
  }

  async remove(ids: readonly string[]): Promise<void> {
    this.removals++;
    await this.before;
    if (this.trouble.remove) throw this.trouble.remove;
    this.removed.push([...ids]);
    for (const id of ids) this.messages.delete(id);
  }
}
