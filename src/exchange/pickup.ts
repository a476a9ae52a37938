/**
 * The source `pickup`: a folder of a mailbox, whose mail goes into the spool. Lists what has come (the server's list of
 * changes is the truth, notifications only end a wait), takes it oldest first, and files it in the mailbox once the spool
 * has it. Each has a loop of its own; trouble with one mailbox is nobody else's.
 *
 * Promises: an item is filed only after it is durable, with a receipt that no crash parts from it; an item that was handed
 * over is never taken again, whatever the server lists and wherever a lost cursor begins; the cursor is kept only when all
 * before it is settled; an item that cannot be read is put aside after some tries and holds up nothing. Nothing here throws
 * once started.
 */
import type { Source } from '../mail/source.ts';
import type { Delayed, Failed } from '../mail/status.ts';
import type { SetTimer } from '../mail/timer.ts';
import type { FolderIds, PickupMailbox } from './mailbox.ts';
import { Claim, ClaimedElsewhere, LOOK } from './pickup-claim.ts';
import { guardedBy } from './pickup-guard.ts';
import { listen } from './pickup-ear.ts';
import { PickupItems } from './pickup-items.ts';
import { Listing } from './pickup-listing.ts';
import type { PickupOptions } from './pickup-options.ts';
import { Pending } from './pickup-pending.ts';
import type { Waiting } from './pickup-pending.ts';
import { BUG, need, noRoom, PickupTrouble, RoundTrouble, troubleOf } from './pickup-trouble.ts';

export type { After, PickupOptions } from './pickup-options.ts';

type Why = 'start' | 'interval' | 'news' | 'retry';

/** Items of which the next ones are begun before all of them are done. */
const BATCH = 200;
/** Milliseconds from the first refusal of a way to the one that decides. */
const SECOND_LOOK = 15_000;
const LONGEST_TIMER = 2_000_000_000;

const setTimer: SetTimer = (then, milliseconds) => {
  const timer = setTimeout(then, milliseconds);
  return () => clearTimeout(timer);
};

export function pickupSource(options: PickupOptions): Source & { mended(): void } {
  return new Pickup(options);
}

class Pickup implements Source {
  readonly name: string;
  readonly #options: PickupOptions;
  readonly #steady: () => number;
  readonly #setTimer: SetTimer;
  readonly #pending = new Pending();
  readonly #listing: Listing;
  readonly #items: PickupItems;
  readonly #trouble: PickupTrouble;
  readonly #claim: Claim;
  /** Nothing new begins. */
  readonly #ending = new AbortController();
  /** What is under way ends. */
  readonly #cut = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #box: PickupMailbox;
  #folders: FolderIds | undefined;
  #refusals = 0;
  #isOpened = false;
  #endSleep: (why: Why) => void = () => undefined;
  /** Something came, or was mended, while nobody slept. */
  #isNews = false;
  #isMended = false;

  constructor(options: PickupOptions) {
    const [first] = options.boxes;
    if (first === undefined) throw new TypeError('a pickup needs a way to read its mailbox');
    this.#options = options;
    this.#box = first;
    this.name = options.name;
    this.#steady = options.steady ?? (() => performance.now());
    this.#setTimer = options.setTimer ?? setTimer;
    this.#listing = new Listing(options, this.#pending);
    this.#trouble = new PickupTrouble(options, this.#steady);
    this.#claim = new Claim({ ...options, steady: this.#steady, setTimer: this.#setTimer });
    this.#items = new PickupItems({
      ...guardedBy(this.#claim, options, this.#cut.signal),
      ending: this.#ending.signal,
      cut: this.#cut.signal,
      pending: this.#pending,
      steady: this.#steady,
      // A long list may take hours, in which all is well.
      well: () => this.#recovered(),
    });
  }

  async start(): Promise<void> {
    this.#running = Promise.all([this.#run(), this.#listen()]);
  }

  async stop(signal: AbortSignal): Promise<void> {
    this.#ending.abort();
    this.#endSleep('retry');
    const cut = (): void => this.#cut.abort();
    if (signal.aborted) cut();
    else signal.addEventListener('abort', cut, { once: true });
    await this.#running;
    await this.#claim.release(this.#cut.signal);
    signal.removeEventListener('abort', cut);
  }

  /** Somebody has mended the configuration, perhaps: looks at once. */
  mended(): void {
    this.#isMended = true;
    this.#endSleep('retry');
  }

  // --- the loop ----------------------------------------------------------------------------------------------------

  async #run(): Promise<void> {
    let why: Why = 'start';
    while (!this.#ending.signal.aborted) {
      const wait = await this.#attempt(why);
      why = await this.#sleep(wait);
    }
  }

  /** One round. @returns milliseconds to the next */
  async #attempt(why: Why): Promise<number> {
    const { interval, report, name } = this.#options;
    try {
      const begun = this.#steady();
      const found = await this.#round();
      // The end is no recovery: whether all is well again was not seen.
      if (this.#ending.signal.aborted) return 0;
      this.#recovered();
      report({ event: 'pickup.polled', pickup: name, why, found, seconds: (this.#steady() - begun) / 1000 });
      return this.#listing.goesOn ? 0 : Math.min(interval, this.#pending.nextDue() - this.#steady());
    } catch (error) {
      if (error instanceof ClaimedElsewhere && !this.#ending.signal.aborted) {
        this.#trouble.wait(error.other, error.status.cause);
        return Math.min(interval, LOOK);
      }
      const status = troubleOf(error);
      if (status === undefined) {
        report({ event: 'bug', where: 'pickup', error: error instanceof Error ? error : new Error(String(error)) });
      }
      return this.#ending.signal.aborted ? 0 : this.#failed(status ?? BUG);
    } finally {
      this.#claim.rest();
    }
  }

  /** @returns items that were new */
  async #round(): Promise<number> {
    const room = this.#options.inject.room();
    if (!room.ok) throw new RoundTrouble(noRoom(room.reason));
    const folders = (this.#folders ??= await this.#open());
    const folder = folders.get(this.#options.folder);
    if (folder === undefined) throw new Error(`the folder ${this.#options.folder} was not opened`);
    await this.#claim.hold(this.#box, folder, this.#ending.signal);
    this.#opened();
    const found = await this.#listing.read(this.#box, folder, this.#ending.signal);
    for (let ready = this.#ready(); ready.length > 0; ready = this.#ready()) {
      if (this.#ending.signal.aborted) return found;
      await this.#items.takeAll(ready, this.#box, folders);
      this.#recovered();
    }
    if (this.#pending.size === 0) await this.#listing.keep();
    return found;
  }

  #ready(): readonly Waiting[] {
    return this.#pending.ready(this.#steady(), BATCH);
  }

  async #open(): Promise<FolderIds> {
    const { folder, refused, quarantine, after } = this.#options;
    const make = [refused, quarantine, ...(after.kind === 'move' ? [after.folder] : [])];
    const { ids } = need(await this.#box.folders([folder, ...make], make, this.#ending.signal));
    return ids;
  }

  #opened(): void {
    if (this.#isOpened) return;
    const { folder, name, mailbox, notifications, report } = this.#options;
    const { transport } = this.#box;
    const listens = notifications && this.#box.listen !== undefined;
    report({ event: 'pickup.opened', pickup: name, mailbox, folder, transport, listens });
    this.#isOpened = true;
  }

  // --- trouble -----------------------------------------------------------------------------------------------------

  /** @returns milliseconds to wait */
  #failed(status: Delayed | Failed): number {
    // A folder that was renamed or removed is looked for anew.
    this.#folders = undefined;
    return this.#trouble.begin(status, this.#changeOver(status.cause));
  }

  #recovered(): void {
    this.#refusals = 0;
    this.#trouble.end();
  }

  /**
   * Two refusals in a row of a way that is closed: the next one is taken, and stays until the gateway starts anew.
   * @returns milliseconds to wait, where that is not for the trouble to say
   */
  #changeOver(cause: string): number | undefined {
    const { boxes, closed } = this.#options;
    this.#refusals = closed.has(cause) ? this.#refusals + 1 : 0;
    const next = boxes[boxes.indexOf(this.#box) + 1];
    if (this.#refusals === 0 || next === undefined) return undefined;
    if (this.#refusals === 1) return SECOND_LOOK;
    this.#box = next;
    this.#refusals = 0;
    this.#isOpened = false;
    this.#listing.forget();
    return 0;
  }

  // --- waiting -----------------------------------------------------------------------------------------------------

  #sleep(milliseconds: number): Promise<Why> {
    const isNews = this.#isNews && !this.#trouble.lasts;
    if (this.#ending.signal.aborted || this.#isMended || isNews) {
      const why = this.#isMended ? 'retry' : 'news';
      this.#isMended = false;
      this.#isNews = false;
      return Promise.resolve(why);
    }
    const { interval } = this.#options;
    return new Promise((resolve) => {
      const wait = Math.min(Math.max(milliseconds, 0), LONGEST_TIMER);
      const end = this.#setTimer(() => this.#endSleep(milliseconds < interval ? 'retry' : 'interval'), wait);
      this.#endSleep = (why) => {
        this.#endSleep = () => undefined;
        this.#isMended = false;
        this.#isNews = false;
        end();
        resolve(why);
      };
    });
  }

  #news(): void {
    this.#isNews = true;
    // The server that is in trouble is not asked more often for it.
    if (!this.#trouble.lasts) this.#endSleep('news');
  }

  async #listen(): Promise<void> {
    const { notifications, boxes, folder: path, name, report } = this.#options;
    if (!notifications || boxes.every((box) => box.listen === undefined)) return;
    await listen({
      name,
      report,
      place: () => {
        const folder = this.#folders?.get(path);
        return folder === undefined ? undefined : { box: this.#box, folder };
      },
      news: () => this.#news(),
      steady: this.#steady,
      setTimer: this.#setTimer,
      signal: this.#ending.signal,
    });
  }
}
