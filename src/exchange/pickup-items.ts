/**
 * The items of a folder that is picked up from: each is judged, taken into the spool, and filed in its mailbox. Trouble with
 * one is its own: it is tried again, and put aside when that does not help. Trouble with all of them ends the round as
 * RoundTrouble; SpoolError passes through. What was not brought to its end goes on waiting.
 *
 * Receipts: that an item was handed over (its key alone) holds whatever the rules say by then. That it was refused, skipped
 * or left holds only against the same: what a person moves back after the rules were changed is taken.
 */
import type { Verdict } from '../mail/pickup-rules.ts';
import type { ReceivedMail } from '../mail/received.ts';
import type { Receipt } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';
import type { Delayed, Failed } from '../mail/status.ts';
import type { Filing, FolderIds, PickupMailbox } from './mailbox.ts';
import { takeIn } from './pickup-intake.ts';
import type { Order } from './pickup-intake.ts';
import type { After, PickupOptions } from './pickup-options.ts';
import { sourceOf } from './pickup-options.ts';
import type { Pending, Waiting } from './pickup-pending.ts';
import { Slots } from './pickup-slots.ts';
import type { Slot } from './pickup-slots.ts';
import { BUG, need, noRoom, RoundTrouble, waitOf } from './pickup-trouble.ts';

/** Items that are asked about together, and that are under way. */
const DESCRIBED = 20;
/** Of trouble with one item, milliseconds. */
const ITEM_WAITS = [30_000, 60_000, 300_000, 900_000, 3_600_000];
/** Tries of an item that the server cannot hand out, and of one whose trouble may be the network's. */
const TRIES = 5;
const NETWORK_TRIES = 20;
/** Troubles of single items in a row, after which it is taken for everybody's. */
const IN_A_ROW = 3;
/** Rounds that one item may end by a trouble told as everybody's, before the others go first. */
const ENDED_ROUNDS = 3;

export interface ItemsOptions extends Omit<PickupOptions, 'steady'> {
  readonly pending: Pending;
  readonly steady: () => number;
  /** Nothing new begins. */
  readonly ending: AbortSignal;
  /** What is under way ends. */
  readonly cut: AbortSignal;
  /** Mail goes through. */
  readonly well: () => void;
}

/** Where it lies. */
interface Where {
  readonly waiting: Waiting;
  readonly box: PickupMailbox;
  readonly folders: FolderIds;
  /** Keys that have a receipt. */
  readonly known: ReadonlySet<string>;
}

interface Item extends Where {
  readonly mail: ReceivedMail;
  readonly key: string;
  /** The right to ask the server. */
  readonly request: Slot;
}

type Work = (request: Slot) => Promise<void>;

export class PickupItems {
  readonly #options: ItemsOptions;
  #inARow = 0;

  constructor(options: ItemsOptions) {
    this.#options = options;
  }

  /**
   * The server is never asked for more than `concurrency` things at a time, and asked for the next while what it gave is
   * being made durable. The first that throws ends it, after those under way have ended.
   * @param batch oldest first: the order in which they become durable
   */
  async takeAll(batch: readonly Waiting[], box: PickupMailbox, folders: FolderIds): Promise<void> {
    const { concurrency, ending } = this.#options;
    const requests = new Slots(concurrency);
    const underWay = new Slots(DESCRIBED);
    const running: Promise<void>[] = [];
    const line = { turn: Promise.resolve() };
    const failures: unknown[] = [];
    const isOver = (): boolean => failures.length > 0 || ending.aborted;
    const run = async (work: Work): Promise<void> => {
      const request = await requests.take();
      try {
        if (!isOver()) await work(request);
      } catch (error) {
        failures.push(error);
      } finally {
        request.give();
      }
    };
    for (let at = 0; at < batch.length && !isOver(); at += DESCRIBED) {
      let works: readonly Work[] = [];
      await run(async () => {
        works = await this.#describe(batch.slice(at, at + DESCRIBED), line, box, folders);
      });
      for (const work of works) {
        const item = await underWay.take();
        running.push(run(work).finally(() => item.give()));
      }
    }
    await Promise.all(running);
    if (failures.length > 0) throw failures[0];
  }

  async #describe(
    batch: readonly Waiting[],
    line: { turn: Promise<void> },
    box: PickupMailbox,
    folders: FolderIds,
  ): Promise<readonly Work[]> {
    const { ledger, pending, ending } = this.#options;
    const described = await box.describe(
      batch.map(({ id }) => id),
      ending,
    );
    const { mails, unreadable } = need(described);
    const byId = new Map(mails.map((mail) => [mail.id, mail]));
    const wrong = new Map(unreadable.map(({ id, status }) => [id, status]));
    const keys = [
      ...mails.map((mail) => keyOf(mail)).flatMap((key) => [key, refusedKey(key), skippedKey(key), leftKey(key)]),
      ...unreadable.map(({ id }) => leftKey(keyOf({ id }))),
    ];
    const known = await ledger.received(sourceOf(this.#options), keys);
    const works: Work[] = [];
    for (const waiting of batch) {
      const where = { waiting, box, folders, known };
      const mail = byId.get(waiting.id);
      const status = wrong.get(waiting.id);
      if (mail !== undefined) {
        const { promise, resolve } = Promise.withResolvers<void>();
        const { turn } = line;
        line.turn = promise;
        works.push((request) =>
          this.#guarded(
            { ...where, mail, key: keyOf(mail), request },
            { turn, passed: resolve, fetched: () => request.give() },
          ),
        );
      } else if (status !== undefined && !known.has(leftKey(keyOf(waiting)))) {
        works.push(() => this.#setBack(where, undefined, status));
      } else pending.remove(waiting.id);
    }
    return works;
  }

  /** What throws for one item would throw at every look: it holds up nothing either. */
  async #guarded(item: Item, order: Order): Promise<void> {
    try {
      await this.#take(item, order);
    } catch (error) {
      if (error instanceof RoundTrouble || error instanceof SpoolError) throw error;
      const thrown = error instanceof Error ? error : new Error(String(error));
      this.#options.report({ event: 'bug', where: 'pickup', error: thrown });
      await this.#setBack(item, item.mail, { ...BUG, reach: 'message', capped: true });
    } finally {
      order.passed();
    }
  }

  async #take(item: Item, order: Order): Promise<void> {
    const { after, judge, refused, quarantine, pending } = this.#options;
    const { mail, waiting, known, key } = item;
    // Whoever has read it has had it; and this gateway itself marks so what it has handed over.
    if (after.kind === 'read' && mail.isRead) return pending.remove(waiting.id);
    if (waiting.isTaken || known.has(key)) {
      order.passed();
      if (!waiting.isTaken) await this.#repeated(item);
      return this.#file(item, after, key);
    }
    const verdict = judge(mail);
    if (verdict.verdict !== 'deliver') order.passed();
    switch (verdict.verdict) {
      case 'deliver':
        // It was decided to leave it where it is: a lost cursor is no reason to hand it over now.
        if (known.has(leftKey(key)) || known.has(skippedKey(key))) return pending.remove(waiting.id);
        return this.#deliver(item, verdict.recipients, order);
      case 'refuse':
        if (!known.has(refusedKey(key))) await this.#refuse(item, verdict);
        return this.#file(item, { kind: 'move', folder: refused }, refusedKey(key));
      case 'skip':
        if (!known.has(skippedKey(key))) {
          await this.#options.ledger.acknowledge(this.#receipt(skippedKey(key)));
          this.#options.report({ event: 'pickup.skipped', ...this.#factsOf(mail), cause: verdict.cause });
        }
        return pending.remove(waiting.id);
      case 'quarantine': {
        if (known.has(leftKey(key))) return pending.remove(waiting.id);
        const filed = await this.#move(item, { kind: 'move', folder: quarantine });
        if (filed?.gone !== false) return;
        const { cause, reason } = verdict;
        this.#options.report({ event: 'pickup.quarantined', ...this.#factsOf(mail), cause, reason, left: false });
        return;
      }
      default:
        return verdict satisfies never;
    }
  }

  async #deliver(item: Item, recipients: readonly string[], order: Order): Promise<void> {
    const { inject, after, pending, cut } = this.#options;
    const { mail, waiting, box, key } = item;
    const room = inject.room(mail.size);
    if (!room.ok) {
      // One that is too large for what is left does not keep smaller ones out.
      if (inject.room().ok) return this.#setBack(item, mail, { ...noRoom(room.reason), reach: 'message' });
      throw new RoundTrouble(noRoom(room.reason));
    }
    const intake = { mail, receipt: this.#receipt(key), recipients };
    const taken = await takeIn(intake, box, this.#options, order, cut);
    await item.request.again();
    if (taken.outcome === 'gone') return pending.remove(waiting.id);
    if (taken.outcome === 'trouble') return this.#setBack(item, mail, taken.status);
    this.#inARow = 0;
    this.#options.well();
    if (taken.repeated) await this.#repeated(item);
    else pending.taken(waiting.id);
    return this.#file(item, after, key);
  }

  async #refuse({ mail, key }: Item, { cause, reason }: Extract<Verdict, { verdict: 'refuse' }>): Promise<void> {
    const { ledger, tell, report } = this.#options;
    const receipt = this.#receipt(refusedKey(key));
    // Who is outside may have written anybody's address into From.
    const told = cause !== 'outside' && ((await tell?.(mail, reason, receipt)) ?? false);
    if (!told) await ledger.acknowledge(receipt);
    report({ event: 'pickup.refused', ...this.#factsOf(mail), cause, reason, told });
  }

  /** @param key of the receipt that is settled with it */
  async #file(item: Item, after: After, key: string): Promise<void> {
    if (after.kind === 'keep') return this.#options.pending.remove(item.waiting.id);
    const filed = await this.#move(item, after);
    item.request.give();
    if (filed !== undefined && (after.kind !== 'read' || filed.gone)) {
      await this.#options.ledger.settle(this.#receipt(key));
    }
  }

  /** @returns undefined: it could not be filed, and waits */
  async #move(item: Item, after: Exclude<After, { kind: 'keep' }>): Promise<{ readonly gone: boolean } | undefined> {
    const { report, name, pending, cut } = this.#options;
    const { mail, waiting, box, folders } = item;
    const filing = filingOf(after, folders);
    const filed = await box.file(mail.id, filing, cut);
    if (!filed.ok) {
      await this.#setBack(item, mail, filed.status);
      return undefined;
    }
    pending.remove(waiting.id);
    const messageId = mail.messageId ?? '';
    report({ event: 'pickup.filed', pickup: name, messageId, filing: filing.kind, gone: filed.gone });
    return filed;
  }

  async #repeated({ mail: { messageId = '' }, waiting, key }: Item): Promise<void> {
    const { ledger, pending, report, name } = this.#options;
    // It is there again: its receipt must not be ended before it is gone once more.
    await ledger.acknowledge(this.#receipt(key));
    pending.taken(waiting.id);
    report({ event: 'pickup.repeated', pickup: name, messageId });
  }

  // --- trouble with one ----------------------------------------------------------------------------------------------

  async #setBack(where: Where, mail: ReceivedMail | undefined, status: Delayed | Failed): Promise<void> {
    const { waiting } = where;
    if (this.#options.cut.aborted) return;
    this.#orEnd(waiting, status);
    if (isLastTry(waiting, status) || (status.outcome === 'failed' && mail !== undefined)) {
      return this.#giveUp(where, mail, status);
    }
    this.#delay(waiting, mail, status);
  }

  #delay(waiting: Waiting, mail: ReceivedMail | undefined, status: Delayed | Failed): void {
    const { pending, report, name, now, steady } = this.#options;
    const tries = waiting.tries + 1;
    const wait = waitOf(status, waitAfter(tries));
    pending.delay(waiting.id, steady() + wait);
    const messageId = mail?.messageId ?? '';
    const { cause, reason, text } = status;
    const due = now() + wait;
    report({ event: 'pickup.delayed', pickup: name, messageId, cause, reason: reason ?? text, tries, due });
    this.#inARow = isOwn(status) ? 0 : this.#inARow + 1;
    if (this.#inARow < IN_A_ROW) return;
    this.#inARow = 0;
    throw new RoundTrouble(status);
  }

  /** What cannot even be moved is left where it is, and never looked at again. */
  async #giveUp(where: Where, mail: ReceivedMail | undefined, status: Delayed | Failed): Promise<void> {
    const { ledger, quarantine, report, pending, cut, name } = this.#options;
    const { waiting, box, folders, known } = where;
    const key = keyOf(mail ?? waiting);
    const isHandedOver = waiting.isTaken || known.has(key);
    const filed = await box.file(waiting.id, { kind: 'move', folder: idOf(folders, quarantine) }, cut);
    if (!filed.ok) {
      if (cut.aborted) return;
      this.#orEnd(waiting, filed.status);
      // One connection that broke off is no reason to leave it in the folder for ever.
      if (filed.status.outcome === 'delayed' && !isLastTry(waiting, filed.status)) {
        return this.#delay(waiting, mail, filed.status);
      }
      await ledger.acknowledge(this.#receipt(leftKey(key)));
    } else if (isHandedOver) await ledger.settle(this.#receipt(key));
    pending.remove(waiting.id);
    // One that was handed over, and only could not be filed, is no loss.
    if (filed.ok && (isHandedOver || filed.gone)) return;
    const { cause, reason, text } = status;
    const facts = mail === undefined ? { pickup: name, messageId: '', from: '' } : this.#factsOf(mail);
    report({ event: 'pickup.quarantined', ...facts, cause, reason: reason ?? text, left: !filed.ok });
  }

  /**
   * Throws for what is told as everybody's trouble. A server may tell so of one item alone: if that happens again and again
   * with this one, the others go first.
   */
  #orEnd(waiting: Waiting, status: Delayed | Failed): void {
    if (status.outcome === 'failed' || status.reach === 'message') return;
    const { pending, steady } = this.#options;
    const over = pending.ended(waiting.id) - ENDED_ROUNDS;
    if (over >= 0) pending.postpone(waiting.id, steady() + waitAfter(over + 1));
    throw new RoundTrouble(status);
  }

  #receipt(key: string): Receipt {
    return { source: sourceOf(this.#options), key };
  }

  #factsOf({ messageId = '', from = '' }: ReceivedMail) {
    return { pickup: this.#options.name, messageId, from };
  }
}

/** What stays when an item is moved and moved back, where the server gives it. */
function keyOf({ searchKey, id }: Pick<ReceivedMail, 'searchKey' | 'id'>): string {
  return searchKey ?? `id:${id}`;
}

function refusedKey(key: string): string {
  return `refused:${key}`;
}

function skippedKey(key: string): string {
  return `skipped:${key}`;
}

function leftKey(key: string): string {
  return `left:${key}`;
}

/** Its trouble is the item's, not the network's. */
function isOwn(status: Delayed | Failed): boolean {
  return status.outcome === 'failed' || status.capped === true;
}

function isLastTry({ tries }: Waiting, status: Delayed | Failed): boolean {
  return tries + 1 >= (isOwn(status) ? TRIES : NETWORK_TRIES);
}

function waitAfter(tries: number): number {
  return ITEM_WAITS[Math.min(tries, ITEM_WAITS.length) - 1] ?? 0;
}

function filingOf(after: Exclude<After, { kind: 'keep' }>, folders: FolderIds): Filing {
  return after.kind === 'move' ? { kind: 'move', folder: idOf(folders, after.folder) } : after;
}

function idOf(folders: FolderIds, path: string): string {
  const id = folders.get(path);
  if (id === undefined) throw new Error(`the folder ${path} was not opened`);
  return id;
}
