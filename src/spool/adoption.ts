/**
 * Messages that come from another spool into this one, with their bodies, a bounded amount of octets in memory. What fails
 * leaves nothing behind that the next start would not sweep. Rejects with SpoolError, and with what reading a body rejects
 * with.
 */
import type { SpoolId } from '../mail/item.ts';
import type { KeptMessage } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';
import type { SpoolDraft } from './draft.ts';

export interface Adoption {
  /** Octets of a body, up to which it is written with its message and not before. */
  readonly atOnce: number;
  /** @returns false: the message is there already */
  makeWay(id: SpoolId): Promise<boolean>;
  begin(id: SpoolId): SpoolDraft;
}

export class Adopter {
  readonly #adoption: Adoption;
  /** Under way, by message. */
  readonly #underWay = new Map<SpoolId, Promise<boolean>>();

  constructor(adoption: Adoption) {
    this.#adoption = adoption;
  }

  async adopt(message: KeptMessage, body?: AsyncIterable<Uint8Array>): Promise<boolean> {
    const { id } = message;
    // Octets of a body may be written only by one at a time.
    while (this.#underWay.has(id)) await this.#underWay.get(id)?.catch(() => undefined);
    const adopting = this.#adopt(message, body);
    this.#underWay.set(id, adopting);
    try {
      return await adopting;
    } finally {
      this.#underWay.delete(id);
    }
  }

  async #adopt(message: KeptMessage, body: AsyncIterable<Uint8Array> | undefined): Promise<boolean> {
    if (message.hasBody !== (body !== undefined)) throw new TypeError('a message has its body with it, or has none');
    const { id, size, hasBody } = message;
    const isLarge = hasBody && size >= this.#adoption.atOnce;
    if (isLarge && !(await this.#adoption.makeWay(id))) return false;
    const draft = this.#adoption.begin(id);
    let octets = 0;
    try {
      for await (const chunk of body ?? []) {
        octets += chunk.length;
        // Nothing of a small one may be written before: there may be a body of this name.
        if (octets > size) throw new SpoolError('damaged', `Message ${id} has more octets than ${size}`);
        // A chunk is good until the next one is asked for.
        await draft.write(Uint8Array.from(chunk));
      }
      return await draft.adopt(message);
    } catch (error) {
      await draft.abort();
      throw error;
    }
  }
}
