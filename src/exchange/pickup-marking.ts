/**
 * The mark of the folder that a pickup reads, asked for and written (pickup-claim.ts). Trouble is thrown as RoundTrouble;
 * Unmarkable where this server does not let its folders be marked, which has no end before the next start.
 */
import type { Delayed, Failed } from '../mail/status.ts';
import type { FolderMark, Got, PickupMailbox } from './mailbox.ts';
import type { PickupOptions } from './pickup-options.ts';
import { RoundTrouble } from './pickup-trouble.ts';

/** Unclear answers in a row after which the server is taken to know no such property. */
const UNCLEAR = 3;
/** Words of a folder that is not there: no matter of its mark. */
const GONE = new Set(['ErrorFolderNotFound', 'ErrorItemNotFound', 'folder not found']);

/** The server does not let its folders be marked. */
export class Unmarkable extends Error {
  readonly status: Delayed | Failed;
  constructor(status: Delayed | Failed) {
    super(status.reason ?? status.text);
    this.status = status;
  }
}

export class MarkedFolder {
  readonly #options: Pick<PickupOptions, 'name' | 'report'>;
  #at: { readonly box: PickupMailbox; readonly folder: string } | undefined;
  readonly #unmarkable = new Set<PickupMailbox>();
  #unclear = 0;

  constructor(options: Pick<PickupOptions, 'name' | 'report'>) {
    this.#options = options;
  }

  /** Which one, over which way. */
  at(box: PickupMailbox, folder: string): void {
    this.#at = { box, folder };
  }

  /** False: this server is asked for no marks. */
  get isAsked(): boolean {
    const box = this.#at?.box;
    return box === undefined || (box.claim !== undefined && !this.#unmarkable.has(box));
  }

  async read(signal: AbortSignal): Promise<string | undefined> {
    const { claim, folder } = this.#place();
    return this.ask(await claim.read(folder, signal)).mark;
  }

  async write(mark: string, signal: AbortSignal): Promise<Got<object>> {
    const { claim, folder } = this.#place();
    return await claim.write(folder, mark, signal);
  }

  ask<T>(got: Got<T>): T {
    if (got.ok) {
      this.#unclear = 0;
      return got;
    }
    const { status } = got;
    if (isRefusal(status)) throw new Unmarkable(status);
    if (isUnclear(status) && ++this.#unclear >= UNCLEAR) throw new Unmarkable(status);
    throw new RoundTrouble(status);
  }

  /** Says so, and asks no more. */
  goWithout({ cause, reason, text }: Delayed | Failed): void {
    const { report, name } = this.#options;
    const box = this.#at?.box;
    if (box === undefined) return;
    this.#unmarkable.add(box);
    const why = `${cause}: ${reason ?? text}`;
    const warning = `pickup ${name} goes on, but the server does not let its folder be marked (${why}); see to it that no other gateway picks up from the same folder, for both would hand over its mail`;
    report({ event: 'transport.warning', transport: box.transport, warning });
  }

  #place(): { readonly claim: FolderMark; readonly folder: string } {
    const { box, folder = '' } = this.#at ?? {};
    if (box?.claim === undefined) throw new Error('no folder was named');
    return { claim: box.claim, folder };
  }
}

/** The mailbox as a whole was open a moment ago. */
function isRefusal({ outcome, cause }: Delayed | Failed): boolean {
  return cause === 'ErrorAccessDenied' || (outcome === 'failed' && !GONE.has(cause));
}

function isUnclear(status: Delayed | Failed): boolean {
  return status.outcome === 'delayed' && status.reach === 'message' && status.capped === true;
}
