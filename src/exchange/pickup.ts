/**
 * The source `pickup`: a folder of a mailbox, whose mail goes into the spool. Lists what has come (the server's list of
 * changes is the truth, notifications only end a wait), takes it oldest first, and files it in the mailbox once the spool
 * has it. Each has a loop of its own; trouble with one mailbox is nobody else's.
 *
 * Promises: an item is filed only after it is durable, with a receipt that no crash parts from it; an item that has a
 * receipt is never taken again, whatever the server lists and wherever a lost cursor begins; the cursor is kept only when
 * all before it is settled; an item that cannot be read is put aside after some tries and holds up nothing. Nothing here
 * throws once started.
 */
import type { Report } from '../mail/event.ts';
import type { Verdict } from '../mail/pickup-rules.ts';
import type { ReceivedMail } from '../mail/received.ts';
import type { Source } from '../mail/source.ts';
import type { Receipt, Spool } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';
import type { Delayed, Failed } from '../mail/status.ts';
import { MISCONFIGURED } from '../mail/status.ts';
import type { SetTimer } from '../mail/timer.ts';
import type { Filing, FolderIds, PickupMailbox } from './mailbox.ts';
import { takeIn } from './pickup-intake.ts';
import type { IntakeOptions } from './pickup-intake.ts';
import { Pending } from './pickup-pending.ts';
import type { Waiting } from './pickup-pending.ts';

/** What becomes of an item in its mailbox. Folders by their path. */
export type After =
  | { readonly kind: 'move'; readonly folder: string }
  | { readonly kind: 'delete' }
  | { readonly kind: 'read' }
  | { readonly kind: 'keep' };

export interface PickupOptions extends IntakeOptions {
  /** Path from the mailbox's root. */
  readonly folder: string;
  /** Ways to read the mailbox, at least one: the next one is taken when one is closed to this application. */
  readonly boxes: readonly PickupMailbox[];
  readonly judge: (mail: ReceivedMail) => Verdict;
  readonly after: After;
  /** Paths of folders, which are made if they do not exist. */
  readonly refused: string;
  readonly quarantine: string;
  /** Milliseconds between two looks. */
  readonly interval: number;
  /** Lets the server tell of new mail, where it can. */
  readonly notifications: boolean;
  /** Items at the same time. */
  readonly concurrency: number;
  readonly ledger: Pick<Spool, 'received' | 'acknowledge' | 'settle' | 'cursor' | 'keepCursor'>;
  /** Tells a refused sender, durably together with the receipt. Resolves with whether anybody was told; then the receipt is there. */
  readonly tell?: (mail: ReceivedMail, reason: string, receipt: Receipt) => Promise<boolean>;
  readonly report: Report;
  /** Words of a way that is closed to this application for good. */
  readonly closed: ReadonlySet<string>;
  /** Milliseconds since any moment, never set back. */
  readonly steady?: () => number;
  readonly setTimer?: SetTimer;
}

type Why = 'start' | 'interval' | 'news' | 'retry';

/** Of trouble with the mailbox or the way to it; of the n-th in a row. */
const WAITS = [5_000, 15_000, 30_000, 60_000, 300_000];
const MISCONFIGURED_WAIT = 300_000;
/** No server may silence a pickup for longer, milliseconds. */
const MAX_WAIT = 3_600_000;
/** Of trouble with one item. */
const ITEM_WAITS = [30_000, 60_000, 300_000, 900_000, 3_600_000];
/** Tries of an item that the server cannot hand out, and of one whose trouble may be the network's. */
const TRIES = 5;
const NETWORK_TRIES = 20;
/** Troubles of single items in a row, after which it is taken for everybody's. */
const IN_A_ROW = 3;
const BATCH = 20;
/** Items known to wait at the same time; more are listed when these are done. Order holds among them. */
const MOST = 50_000;
/** Between two attempts to hear of news. */
const DEAF_WAITS = [1_000, 5_000, 30_000, 300_000];
const LONGEST_TIMER = 2_000_000_000;

const setTimer: SetTimer = (then, milliseconds) => {
  const timer = setTimeout(then, milliseconds);
  return () => clearTimeout(timer);
};

export function pickupSource(options: PickupOptions): Source & { mended(): void } {
  return new Pickup(options);
}

/** Ends a round: it concerns all that is there, not one item. */
class RoundTrouble extends Error {
  readonly status: Delayed | Failed;
  constructor(status: Delayed | Failed) {
    super(status.reason ?? status.text);
    this.status = status;
  }
}

interface Receipted {
  readonly mail: ReceivedMail;
  readonly waiting: Waiting;
  readonly receipt: Receipt;
  readonly isKnown: boolean;
}

class Pickup implements Source {
  readonly name: string;
  readonly #options: PickupOptions;
  readonly #steady: () => number;
  readonly #setTimer: SetTimer;
  readonly #pending = new Pending();
  /** Nothing new begins. */
  readonly #ending = new AbortController();
  /** What is under way ends. */
  readonly #cut = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #box: PickupMailbox;
  #folders: FolderIds | undefined;
  /** Of the page listed last; `kept`: what the spool has. */
  #cursor: { readonly at: string | undefined; readonly kept: boolean } | undefined;
  #refusals = 0;
  #inARow = 0;
  #trouble: { readonly since: number; readonly cause: string; readonly times: number } | undefined;
  #isOpened = false;
  #endSleep: (why: Why) => void = () => undefined;
  /** Something came while nobody slept. */
  #isNews = false;

  constructor(options: PickupOptions) {
    const [first] = options.boxes;
    if (first === undefined) throw new TypeError('a pickup needs a way to read its mailbox');
    this.#options = options;
    this.#box = first;
    this.name = options.name;
    this.#steady = options.steady ?? (() => performance.now());
    this.#setTimer = options.setTimer ?? setTimer;
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
    signal.removeEventListener('abort', cut);
  }

  /** Somebody has mended the configuration, perhaps: looks at once. */
  mended(): void {
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
      this.#recovered();
      report({ event: 'pickup.polled', pickup: name, why, found, seconds: (this.#steady() - begun) / 1000 });
      // What is left of a list that is too long to be looked at as a whole.
      if (this.#cursor?.kept === false && this.#pending.size === 0) return 0;
      return Math.min(interval, this.#pending.nextDue() - this.#steady());
    } catch (error) {
      if (this.#cut.signal.aborted) return 0;
      const status = troubleOf(error);
      if (status === undefined) {
        report({ event: 'bug', where: 'pickup', error: error instanceof Error ? error : new Error(String(error)) });
      }
      return this.#failed(status ?? BUG);
    }
  }

  /** @returns items that were new */
  async #round(): Promise<number> {
    const room = this.#options.inject.room();
    if (!room.ok) throw new RoundTrouble(noRoom(room.reason));
    this.#folders ??= await this.#open();
    const found = await this.#list(this.#folders);
    for (let ready = this.#ready(); ready.length > 0; ready = this.#ready()) {
      if (this.#ending.signal.aborted) return found;
      await this.#takeAll(ready, this.#folders);
    }
    if (this.#pending.size === 0 && this.#cursor?.kept === false) {
      await this.#options.ledger.keepCursor(this.#cursorName(), this.#cursor.at);
      this.#cursor = { at: this.#cursor.at, kept: true };
    }
    return found;
  }

  #ready(): readonly Waiting[] {
    return this.#pending.ready(this.#steady(), BATCH);
  }

  async #open(): Promise<FolderIds> {
    const { folder, refused, quarantine, after, name, mailbox, notifications, report } = this.#options;
    const make = [refused, quarantine, ...(after.kind === 'move' ? [after.folder] : [])];
    const { ids } = this.#need(await this.#box.folders([folder, ...make], make, this.#cut.signal));
    const { transport } = this.#box;
    if (!this.#isOpened) {
      const listens = notifications && this.#box.listen !== undefined;
      report({ event: 'pickup.opened', pickup: name, mailbox, folder, transport, listens });
    }
    this.#isOpened = true;
    return ids;
  }

  async #list(folders: FolderIds): Promise<number> {
    const { folder, report, name, mailbox, ledger } = this.#options;
    this.#cursor ??= { at: await ledger.cursor(this.#cursorName()), kept: true };
    let found = 0;
    while (this.#pending.size < MOST && !this.#ending.signal.aborted) {
      const page = await this.#box.changes(idOf(folders, folder), this.#cursor.at, this.#cut.signal);
      if ('stale' in page) {
        report({ event: 'pickup.resynced', pickup: name, mailbox, folder });
        if (this.#cursor.at === undefined) throw new RoundTrouble(ENDLESS);
        await ledger.keepCursor(this.#cursorName(), undefined);
        this.#cursor = { at: undefined, kept: true };
        this.#pending.clear();
        continue;
      }
      const { added, removed, cursor, isLast } = this.#need(page);
      // A page that moves nothing on would be asked for again for ever.
      if (!isLast && added.length + removed.length === 0 && cursor === this.#cursor.at) throw new RoundTrouble(ENDLESS);
      for (const item of added) if (this.#pending.add(item)) found++;
      for (const id of removed) this.#pending.remove(id);
      if (cursor !== this.#cursor.at) this.#cursor = { at: cursor, kept: false };
      if (isLast) break;
    }
    return found;
  }

  // --- items -------------------------------------------------------------------------------------------------------

  async #takeAll(batch: readonly Waiting[], folders: FolderIds): Promise<void> {
    const ids = batch.map(({ id }) => id);
    const { mails, unreadable } = this.#need(await this.#box.describe(ids, this.#cut.signal));
    const byId = new Map(mails.map((mail) => [mail.id, mail]));
    const wrong = new Map(unreadable.map(({ id, status }) => [id, status]));
    const keys = mails.map((mail) => receiptKey(mail));
    const known = await this.#options.ledger.received(this.#source(), keys);
    const work: (() => Promise<void>)[] = [];
    let turn = Promise.resolve();
    for (const waiting of batch) {
      const mail = byId.get(waiting.id);
      const status = wrong.get(waiting.id);
      if (mail === undefined && status === undefined) {
        this.#pending.remove(waiting.id);
        continue;
      }
      if (mail === undefined) {
        work.push(() => this.#setBack(waiting, undefined, status ?? ENDLESS, folders));
        continue;
      }
      const key = receiptKey(mail);
      const receipt: Receipt = { source: this.#source(), key };
      const before = turn;
      const { promise, resolve } = Promise.withResolvers<void>();
      turn = promise;
      work.push(async () => {
        try {
          const order = { turn: before, passed: resolve };
          await this.#take({ mail, waiting, receipt, isKnown: known.has(key) }, order, folders);
        } finally {
          resolve();
        }
      });
    }
    await this.#inParallel(work);
  }

  /** In their order, some at a time. The first that throws ends it, after those under way have ended. */
  async #inParallel(work: readonly (() => Promise<void>)[]): Promise<void> {
    const queue = work.values();
    let failure: { readonly error: unknown } | undefined;
    const worker = async (): Promise<void> => {
      for (const one of queue) {
        if (failure !== undefined || this.#ending.signal.aborted) return;
        try {
          await one();
        } catch (error) {
          failure ??= { error };
        }
      }
    };
    await Promise.all(Array.from({ length: this.#options.concurrency }, worker));
    if (failure !== undefined) throw failure.error;
  }

  async #take(
    item: Receipted,
    order: { readonly turn: Promise<void>; passed(): void },
    folders: FolderIds,
  ): Promise<void> {
    const { after, judge, refused, quarantine } = this.#options;
    const { mail, waiting } = item;
    // Whoever has read it has had it; and this gateway itself marks so what it has handed over.
    if (after.kind === 'read' && mail.isRead) return this.#done(waiting);
    const verdict = judge(mail);
    switch (verdict.verdict) {
      case 'deliver': {
        if (!item.isKnown) {
          const intake = { mail, receipt: item.receipt, recipients: verdict.recipients };
          const taken = await takeIn(intake, this.#box, this.#options, order, this.#cut.signal);
          if (taken.outcome === 'gone') return this.#done(waiting);
          if (taken.outcome === 'trouble') return this.#setBack(waiting, mail, taken.status, folders);
          this.#inARow = 0;
          if (taken.repeated) this.#repeated(mail);
        } else this.#repeated(mail);
        return this.#file(item, after, folders);
      }
      case 'refuse':
        if (!item.isKnown) await this.#refuse(item, verdict);
        return this.#file(item, { kind: 'move', folder: refused }, folders);
      case 'skip':
        if (!item.isKnown) {
          await this.#options.ledger.acknowledge(item.receipt);
          this.#options.report({ event: 'pickup.skipped', ...this.#factsOf(mail), cause: verdict.cause });
        }
        return this.#done(waiting);
      case 'quarantine':
        return this.#putAside(item, verdict, { kind: 'move', folder: quarantine }, folders);
      default:
        return verdict satisfies never;
    }
  }

  async #refuse(
    { mail, receipt }: Receipted,
    { cause, reason }: Extract<Verdict, { verdict: 'refuse' }>,
  ): Promise<void> {
    const { ledger, tell, report } = this.#options;
    const told = (await tell?.(mail, reason, receipt)) ?? false;
    if (!told) await ledger.acknowledge(receipt);
    report({ event: 'pickup.refused', ...this.#factsOf(mail), cause, reason, told });
  }

  async #putAside(
    item: Receipted,
    { cause, reason }: Extract<Verdict, { verdict: 'quarantine' }>,
    filing: After,
    folders: FolderIds,
  ): Promise<void> {
    if (!item.isKnown) {
      await this.#options.ledger.acknowledge(item.receipt);
      const facts = this.#factsOf(item.mail);
      this.#options.report({ event: 'pickup.quarantined', ...facts, cause, reason, left: false });
    }
    return this.#file(item, filing, folders);
  }

  async #file({ mail, waiting, receipt }: Receipted, after: After, folders: FolderIds): Promise<void> {
    if (after.kind === 'keep') return this.#done(waiting);
    const filing = filingOf(after, folders);
    const filed = await this.#box.file(mail.id, filing, this.#cut.signal);
    if (!filed.ok) return this.#setBack(waiting, mail, filed.status, folders);
    this.#options.report({
      event: 'pickup.filed',
      pickup: this.name,
      messageId: mail.messageId ?? '',
      filing: filing.kind,
      gone: filed.gone,
    });
    if (filing.kind !== 'read' || filed.gone) await this.#options.ledger.settle(receipt);
    this.#done(waiting);
  }

  #done({ id }: Waiting): void {
    this.#pending.remove(id);
  }

  #repeated({ messageId = '' }: ReceivedMail): void {
    this.#options.report({ event: 'pickup.repeated', pickup: this.name, messageId });
  }

  /** Trouble with one item: it is tried again, and put aside when that has not helped. */
  async #setBack(
    waiting: Waiting,
    mail: ReceivedMail | undefined,
    status: Delayed | Failed,
    folders: FolderIds,
  ): Promise<void> {
    if (status.outcome === 'delayed' && status.reach !== 'message') throw new RoundTrouble(status);
    if (this.#cut.signal.aborted) return;
    const isOwn = status.outcome === 'failed' || status.capped === true;
    const tries = waiting.tries + 1;
    if (tries >= (isOwn ? TRIES : NETWORK_TRIES) || (status.outcome === 'failed' && mail !== undefined)) {
      return this.#giveUp(waiting, mail, status, folders);
    }
    const told = status.outcome === 'delayed' ? status.retryAfter : undefined;
    const wait = told ?? ITEM_WAITS[Math.min(tries, ITEM_WAITS.length) - 1] ?? 0;
    this.#pending.delay(waiting.id, this.#steady() + wait);
    this.#options.report({
      event: 'pickup.delayed',
      pickup: this.name,
      messageId: mail?.messageId ?? '',
      cause: status.cause,
      reason: status.reason ?? status.text,
      tries,
      due: this.#options.now() + wait,
    });
    this.#inARow = isOwn ? 0 : this.#inARow + 1;
    if (this.#inARow >= IN_A_ROW) {
      this.#inARow = 0;
      throw new RoundTrouble(status);
    }
  }

  /** What cannot even be moved is left where it is, and never looked at again. */
  async #giveUp(
    waiting: Waiting,
    mail: ReceivedMail | undefined,
    { cause, reason, text }: Delayed | Failed,
    folders: FolderIds,
  ): Promise<void> {
    const { ledger, quarantine, report } = this.#options;
    const receipt = { source: this.#source(), key: mail === undefined ? `id:${waiting.id}` : receiptKey(mail) };
    const known = await ledger.received(receipt.source, [receipt.key]);
    await ledger.acknowledge(receipt);
    const filed = await this.#box.file(
      waiting.id,
      { kind: 'move', folder: idOf(folders, quarantine) },
      this.#cut.signal,
    );
    if (filed.ok) await ledger.settle(receipt);
    this.#done(waiting);
    // One that was handed over, and only could not be filed, is no loss.
    if (known.has(receipt.key) && filed.ok) return;
    const facts = mail === undefined ? { pickup: this.name, messageId: '', from: '' } : this.#factsOf(mail);
    report({ event: 'pickup.quarantined', ...facts, cause, reason: reason ?? text, left: !filed.ok });
  }

  #factsOf({ messageId = '', from = '' }: ReceivedMail) {
    return { pickup: this.name, messageId, from };
  }

  // --- trouble -----------------------------------------------------------------------------------------------------

  #need<T extends object>(
    got: ({ readonly ok: true } & T) | { readonly ok: false; readonly status: Delayed | Failed },
  ): T {
    if (got.ok) return got;
    throw new RoundTrouble(got.status);
  }

  /** @returns milliseconds to wait */
  #failed(status: Delayed | Failed): number {
    const { report, name, mailbox, now } = this.#options;
    const { cause, reason, text } = status;
    // A folder that was renamed or removed is looked for anew.
    this.#folders = undefined;
    const isOtherWay = this.#changeOver(cause);
    const times = (this.#trouble?.times ?? 0) + 1;
    const misconfigured = status.outcome === 'failed' || status.code === MISCONFIGURED;
    const told = status.outcome === 'delayed' ? status.retryAfter : undefined;
    const own = misconfigured && !isOtherWay ? MISCONFIGURED_WAIT : (WAITS[Math.min(times, WAITS.length) - 1] ?? 0);
    const wait = isOtherWay ? 0 : Math.min(told ?? own, MAX_WAIT);
    if (this.#trouble?.cause !== cause) {
      const until = now() + wait;
      report({ event: 'pickup.failed', pickup: name, mailbox, cause, reason: reason ?? text, misconfigured, until });
    }
    this.#trouble = { since: this.#trouble?.since ?? this.#steady(), cause, times };
    return wait;
  }

  #recovered(): void {
    const { report, name, mailbox } = this.#options;
    this.#refusals = 0;
    if (this.#trouble === undefined) return;
    const seconds = (this.#steady() - this.#trouble.since) / 1000;
    this.#trouble = undefined;
    report({ event: 'pickup.recovered', pickup: name, mailbox, seconds });
  }

  /** Two refusals in a row of a way that is closed: the next one is taken, and stays until the gateway starts anew. */
  #changeOver(cause: string): boolean {
    const { boxes, closed } = this.#options;
    this.#refusals = closed.has(cause) ? this.#refusals + 1 : 0;
    const next = boxes[boxes.indexOf(this.#box) + 1];
    if (this.#refusals < 2 || next === undefined) return false;
    this.#box = next;
    this.#refusals = 0;
    this.#cursor = undefined;
    this.#isOpened = false;
    // Ids are those of the way.
    this.#pending.clear();
    return true;
  }

  // --- waiting -----------------------------------------------------------------------------------------------------

  #sleep(milliseconds: number): Promise<Why> {
    if (this.#ending.signal.aborted) return Promise.resolve('retry');
    if (this.#isNews && this.#trouble === undefined) {
      this.#isNews = false;
      return Promise.resolve('news');
    }
    const { interval } = this.#options;
    return new Promise((resolve) => {
      const wait = Math.min(Math.max(milliseconds, 0), LONGEST_TIMER);
      const end = this.#setTimer(() => this.#endSleep(milliseconds < interval ? 'retry' : 'interval'), wait);
      this.#endSleep = (why) => {
        this.#endSleep = () => undefined;
        this.#isNews = false;
        end();
        resolve(why);
      };
    });
  }

  #news(): void {
    this.#isNews = true;
    // The server that is in trouble is not asked more often for it.
    if (this.#trouble === undefined) this.#endSleep('news');
  }

  async #listen(): Promise<void> {
    const { notifications, folder, report, name } = this.#options;
    const { signal } = this.#ending;
    if (!notifications) return;
    let times = 0;
    while (!signal.aborted) {
      const id = this.#folders?.get(folder);
      if (id === undefined || this.#box.listen === undefined) {
        await this.#pause(1_000);
        continue;
      }
      const begun = this.#steady();
      const ended = await this.#box
        .listen(id, () => this.#news(), signal)
        .catch((error: unknown) => {
          report({ event: 'bug', where: 'pickup', error: error instanceof Error ? error : new Error(String(error)) });
          return { ok: false as const, status: BUG };
        });
      if (signal.aborted) return;
      // It was heard for a while: what comes now is another matter.
      if (ended.ok || this.#steady() - begun > 60_000) times = 0;
      if (!ended.ok) {
        const { cause, reason, text } = ended.status;
        report({ event: 'pickup.deaf', pickup: name, cause, reason: reason ?? text });
      }
      await this.#pause(DEAF_WAITS[Math.min(times++, DEAF_WAITS.length - 1)] ?? 0);
    }
  }

  #pause(milliseconds: number): Promise<void> {
    const { signal } = this.#ending;
    return new Promise((resolve) => {
      const over = (): void => {
        end();
        signal.removeEventListener('abort', over);
        resolve();
      };
      const end = this.#setTimer(over, milliseconds);
      if (signal.aborted) over();
      else signal.addEventListener('abort', over, { once: true });
    });
  }

  /** Of receipts: the same over every way. */
  #source(): string {
    const { mailbox, folder } = this.#options;
    return `${mailbox}/${folder}`.toLowerCase();
  }

  #cursorName(): string {
    return `${this.#box.transport} ${this.#source()}`;
  }
}

/** What stays when an item is moved and moved back, where the server gives it. */
function receiptKey({ searchKey, id }: ReceivedMail): string {
  return searchKey ?? `id:${id}`;
}

function filingOf(after: Exclude<After, { kind: 'keep' }>, folders: FolderIds): Filing {
  return after.kind === 'move' ? { kind: 'move', folder: idOf(folders, after.folder) } : after;
}

function idOf(folders: FolderIds, path: string): string {
  const id = folders.get(path);
  if (id === undefined) throw new Error(`the folder ${path} was not opened`);
  return id;
}

function troubleOf(error: unknown): Delayed | Failed | undefined {
  if (error instanceof RoundTrouble) return error.status;
  if (!(error instanceof SpoolError)) return undefined;
  return { ...noRoom(error.message), cause: `spool ${error.trouble}` };
}

function noRoom(reason: string): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.1',
    reach: 'transport',
    cause: 'spool full',
    text: 'The mail gateway cannot take more at the moment',
    reason,
  };
}

const ENDLESS: Delayed = {
  outcome: 'delayed',
  code: '4.3.0',
  reach: 'mailbox',
  cause: 'unusable answer',
  text: 'The mail server gave an unexpected answer',
  reason: 'The server lists what is in the folder in a way that leads nowhere',
};

const BUG: Delayed = {
  outcome: 'delayed',
  code: '4.3.0',
  reach: 'mailbox',
  cause: 'internal error',
  text: 'The mail gateway had an internal error',
  reason: 'An internal error; the log\'s "bug" line has the details',
};
