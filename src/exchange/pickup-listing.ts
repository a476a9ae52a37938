/**
 * How far a folder has been read: page after page of what has changed goes into what waits, and where to go on is kept in
 * the spool. SpoolError passes through; trouble with the mailbox ends the round.
 */
import type { PickupMailbox } from './mailbox.ts';
import type { PickupOptions } from './pickup-options.ts';
import { sourceOf } from './pickup-options.ts';
import type { Pending } from './pickup-pending.ts';
import { ENDLESS, need, RoundTrouble } from './pickup-trouble.ts';

/** Items known to wait at the same time; more are listed when these are done. Order holds among them. */
const MOST = 50_000;
/** Pages in a row that bring nothing new. */
const MOST_IDLE = 1_000;

interface Place {
  readonly transport: PickupMailbox['transport'];
  /** Id of the folder: what another one of the same path is asked for is no matter of this one. */
  readonly folder: string;
  /** Of the page listed last; undefined: none was. */
  readonly cursor: string | undefined;
  /** The spool has it. */
  readonly isKept: boolean;
}

export class Listing {
  readonly #options: Pick<PickupOptions, 'ledger' | 'report' | 'name' | 'mailbox' | 'folder'>;
  readonly #pending: Pending;
  #place: Place | undefined;
  #isWhole = false;

  constructor(options: Pick<PickupOptions, 'ledger' | 'report' | 'name' | 'mailbox' | 'folder'>, pending: Pending) {
    this.#options = options;
    this.#pending = pending;
  }

  /** There is more, and room for it by now. */
  get goesOn(): boolean {
    return !this.#isWhole && this.#pending.size < MOST;
  }

  /** Whoever lists next begins with what the spool has: ids and cursors are those of a way. */
  forget(): void {
    this.#place = undefined;
    this.#pending.clear();
  }

  /** @returns items that were new */
  async read(box: PickupMailbox, folder: string, signal: AbortSignal): Promise<number> {
    if (this.#place !== undefined && this.#place.folder !== folder) this.forget();
    let place = (this.#place ??= await this.#begin(box, folder));
    let found = 0;
    let idle = 0;
    let isAnew = false;
    this.#isWhole = false;
    while (this.#pending.size < MOST && !signal.aborted) {
      const page = await box.changes(folder, place.cursor, signal);
      if ('stale' in page) {
        // A server that does not know either what it has just given would be asked for ever.
        if (place.cursor === undefined || isAnew) throw new RoundTrouble(ENDLESS);
        isAnew = true;
        place = await this.#beginAnew(place);
        continue;
      }
      const { added, removed, cursor, isLast } = need(page);
      if (!isLast && cursor === place.cursor) throw new RoundTrouble(ENDLESS);
      for (const id of removed) this.#pending.remove(id);
      // Behind the other: what is not there after all is found out when it is described.
      const fresh = added.filter((item) => this.#pending.add(item)).length;
      found += fresh;
      if (cursor !== place.cursor) place = this.#place = { ...place, cursor, isKept: false };
      this.#isWhole = isLast;
      if (isLast) break;
      idle = fresh === 0 ? idle + 1 : 0;
      if (idle >= MOST_IDLE) throw new RoundTrouble(ENDLESS);
    }
    return found;
  }

  /** Only for when all that was listed is settled. */
  async keep(): Promise<void> {
    const place = this.#place;
    if (place === undefined || place.isKept || place.cursor === undefined) return;
    await this.#options.ledger.keepCursor(this.#nameOf(place), `${place.folder}\n${place.cursor}`);
    this.#place = { ...place, isKept: true };
  }

  async #begin({ transport }: PickupMailbox, folder: string): Promise<Place> {
    const place = { transport, folder, cursor: undefined, isKept: true };
    const kept = (await this.#options.ledger.cursor(this.#nameOf(place))) ?? '';
    const prefix = `${folder}\n`;
    return kept.startsWith(prefix) ? { ...place, cursor: kept.slice(prefix.length) } : place;
  }

  /** What waits goes on waiting: it is listed again, and knows how often it was tried. */
  async #beginAnew(before: Place): Promise<Place> {
    const { ledger, report, name, mailbox, folder } = this.#options;
    report({ event: 'pickup.resynced', pickup: name, mailbox, folder });
    await ledger.keepCursor(this.#nameOf(before), undefined);
    return (this.#place = { ...before, cursor: undefined, isKept: true });
  }

  #nameOf({ transport }: Pick<Place, 'transport'>): string {
    return `${transport} ${sourceOf(this.#options)}`;
  }
}
