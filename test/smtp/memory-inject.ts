/** The door to the gateway in memory: keeps what came in, fails and waits on demand. */
import { Buffer } from 'node:buffer';
import { splitHeader } from '../../src/mail/header.ts';
import type { Arrival, Incoming, Inject } from '../../src/mail/source.ts';
import type { Room } from '../../src/mail/spool.ts';

export class Draft implements Incoming {
  readonly id: string;
  readonly #inject: MemoryInject;
  readonly chunks: Buffer[] = [];
  arrival: Arrival | undefined;
  state: 'open' | 'committing' | 'committed' | 'aborted' = 'open';
  aborts = 0;

  constructor(id: string, inject: MemoryInject) {
    this.id = id;
    this.#inject = inject;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.state !== 'open') throw new Error(`write to a draft that is ${this.state}`);
    await this.#inject.onWrite?.(this);
    this.chunks.push(Buffer.from(chunk));
  }

  async commit(arrival: Arrival): Promise<boolean> {
    if (this.state !== 'open') throw new Error(`commit of a draft that is ${this.state}`);
    this.state = 'committing';
    await this.#inject.onCommit?.(this);
    this.state = 'committed';
    this.arrival = arrival;
    this.#inject.messages.push(this);
    return true;
  }

  async abort(): Promise<void> {
    this.aborts++;
    if (this.state === 'committed') throw new Error('abort of a committed draft');
    this.state = 'aborted';
    this.#inject.onAbort?.(this);
  }

  /** All octets as spooled. */
  get octets(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get envelope(): Arrival['envelope'] {
    return this.#arrived().envelope;
  }

  get origin(): Arrival['origin'] {
    return this.#arrived().origin;
  }

  #arrived(): Arrival {
    if (this.arrival === undefined) throw new Error(`the draft is ${this.state}`);
    return this.arrival;
  }

  /** The header block, the empty line that ends it included. */
  get header(): string {
    return this.octets.toString('latin1', 0, this.#arrived().headerSize);
  }

  get body(): Buffer {
    return this.octets.subarray(this.#arrived().headerSize);
  }

  /** The fields of that name, as written. */
  fields(name: string): string[] {
    return splitHeader(Buffer.from(this.header, 'latin1'))
      .filter((field) => field.name === name.toLowerCase())
      .map((field) => field.raw.toString('latin1'));
  }
}

export class MemoryInject implements Inject {
  readonly drafts: Draft[] = [];
  readonly messages: Draft[] = [];
  readonly asked: (number | undefined)[] = [];
  /** What room() answers. */
  answer: Room = { ok: true };
  onBegin: (() => void) | undefined;
  onWrite: ((draft: Draft) => Promise<void> | void) | undefined;
  onCommit: ((draft: Draft) => Promise<void> | void) | undefined;
  onAbort: ((draft: Draft) => void) | undefined;

  room(size?: number): Room {
    this.asked.push(size);
    return this.answer;
  }

  begin(): Draft {
    this.onBegin?.();
    const draft = new Draft(`m${this.drafts.length + 1}`, this);
    this.drafts.push(draft);
    return draft;
  }

  /** The only message there is. */
  get only(): Draft {
    const [first, ...others] = this.messages;
    if (first === undefined || others.length > 0) throw new Error(`${this.messages.length} messages`);
    return first;
  }
}
