/**
 * Two gateways with spools of their own must not both hand over the mail of one folder (a forgotten server, a test machine
 * with the same configuration). The folder itself carries who picks up from it: `<spool>.<process> <machine> <counter>`,
 * written anew while that gateway lives. Who finds another's mark waits, and takes over a mark that has not changed for
 * three minutes. Clocks of machines are not compared.
 *
 * Promises: of gateways that begin at the same moment one goes on; one that was paused, or cut off from the server, makes
 * nothing durable before it has seen that the folder is still its own; what another has held meanwhile is looked at anew.
 * A server that does not let its folders be marked is picked up from all the same, which is said once.
 *
 * Gateways that share a spool have one name and take turns by a duty of their own (PickupDuty): who has it goes on from the
 * mark of the one before as after a restart. What a gateway whose duty is over still writes is known by its process, and
 * written over.
 *
 * How: servers do not compare before they write, so a write counts only after a while in which every other one that read
 * the folder before has written too (SETTLE, for those that took no longer; a longer one waits until the holder has
 * noticed or stopped, GUARD). What remains: a write that the network or the server keeps for longer and then carries out
 * takes the folder from its holder, who notices at its next renewal (after RENEW while it works, else IDLE); and a process
 * that is stopped for minutes between its last look at the clock and the disk makes one message durable all the same.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Failed } from '../mail/status.ts';
import type { SetTimer } from '../mail/timer.ts';
import { FREE, isFree, machineOf, markText, ownerOf } from './pickup-mark.ts';
import type { PickupMailbox } from './mailbox.ts';
import { SpoolIdentity } from './pickup-identity.ts';
import { MarkedFolder, Unmarkable } from './pickup-marking.ts';
import type { PickupOptions } from './pickup-options.ts';
import { DUTY_OVER, RoundTrouble } from './pickup-trouble.ts';

/** Milliseconds of a mark after which it is written anew, while there is work and otherwise. */
const RENEW = 20_000;
const IDLE = 60_000;
/** Milliseconds since it was last seen to be ours, after which nothing becomes durable before it is seen again. */
const GUARD = 120_000;
/** Milliseconds without a change after which another's mark is dead. */
const DEAD = 180_000;
/** Milliseconds from a write to the look that tells whether it holds; and the most that reading and writing may take. */
const SETTLE = 2_000;
/** Milliseconds between two looks at another's mark. */
export const LOOK = 20_000;

/** Ends a round: the folder is another gateway's. */
export class ClaimedElsewhere extends RoundTrouble {
  readonly other: string;
  /** @param other name of the machine */
  constructor(other: string) {
    super({
      outcome: 'delayed',
      code: '4.3.0',
      reach: 'mailbox',
      cause: 'claimed elsewhere',
      text: 'Another mail gateway reads the mailbox',
      reason: `The gateway on ${other} picks up from the same folder`,
    });
    this.other = other;
  }
}

export interface ClaimOptions extends Pick<
  PickupOptions,
  'name' | 'mailbox' | 'folder' | 'ledger' | 'report' | 'now' | 'machine' | 'random' | 'duty'
> {
  readonly steady: () => number;
  readonly setTimer: SetTimer;
}

interface Held {
  readonly text: string;
  /** When it was asked for, by both clocks: the steady one of some systems stands still while they sleep. */
  readonly steady: number;
  readonly wall: number;
  /** By the clock of all who share the spool. */
  readonly at: number;
}

export class Claim {
  readonly #options: ClaimOptions;
  readonly #machine: string;
  readonly #life: string;
  readonly #identity: SpoolIdentity;
  readonly #folder: MarkedFolder;
  #counter = 0;
  #held: Held | undefined;
  /** Written, and not yet seen to hold. prompt: it had arrived in time. */
  #written: { readonly text: string; readonly prompt: boolean } | undefined;
  /** Another's, since when it has not changed. */
  #seen: { readonly text: string; readonly since: number } | undefined;
  #wasHeld = false;
  #works = false;
  #isTroubled = false;
  #endTimer: (() => void) | undefined;
  readonly #ending = new AbortController();
  /** One asks the server at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: ClaimOptions) {
    this.#options = options;
    const random = options.random ?? (() => randomBytes(8).toString('hex'));
    this.#identity = new SpoolIdentity(options, random);
    this.#folder = new MarkedFolder(options);
    this.#machine = options.machine ?? hostname();
    this.#life = random();
  }

  /** Before a round. Throws ClaimedElsewhere, or RoundTrouble where that could not be found out. */
  async hold(box: PickupMailbox, folder: string, signal: AbortSignal): Promise<void> {
    this.#folder.at(box, folder);
    this.#works = true;
    if (!this.#folder.isAsked || this.#age() < RENEW) return;
    await this.#inTurn(() => this.#look(signal));
    this.#wake();
  }

  /** After a round: the mark is renewed less often. */
  rest(): void {
    this.#works = false;
  }

  /** Nothing has to be asked before something becomes durable. */
  get isSure(): boolean {
    return this.#isOnDuty && (!this.#folder.isAsked || this.#age() < GUARD);
  }

  get #isOnDuty(): boolean {
    return this.#options.duty?.isOurs() !== false;
  }

  #stayOnDuty(): void {
    if (!this.#isOnDuty) throw new RoundTrouble(DUTY_OVER);
  }

  /**
   * Before anything becomes durable.
   * @returns undefined: the folder is ours. Else rejects as hold() does, and then the round has to end: what was read in it
   *   may have been handed over by another
   */
  confirm(signal: AbortSignal): Promise<void> | undefined {
    if (this.isSure) return undefined;
    return this.#inTurn(async () => {
      this.#stayOnDuty();
      if (!this.isSure) await this.#renew(signal);
      this.#stayOnDuty();
    });
  }

  /** At the end: whoever waits for the folder goes on soon. */
  async release(signal: AbortSignal): Promise<void> {
    this.#ending.abort();
    this.#endTimer?.();
    await this.#turn;
    if (!this.#folder.isAsked || this.#counter === 0 || signal.aborted || !this.#isOnDuty) return;
    this.#held = undefined;
    try {
      const isOurs = this.#isOurs(await this.#folder.read(signal));
      if (isOurs && this.#isOnDuty) await this.#folder.write(FREE, signal);
    } catch (error) {
      // Without it, the others wait until the mark is dead.
      if (!(error instanceof RoundTrouble || error instanceof Unmarkable)) throw error;
    }
  }

  // --- looking -----------------------------------------------------------------------------------------------------

  /** Makes the folder ours if it is free. */
  async #look(signal: AbortSignal): Promise<void> {
    const begun = this.#begin();
    const { instance, heldAt } = await this.#identity.get();
    const mark = await this.#folder.read(signal);
    if (this.#isOurs(mark)) return this.#goOn(mark, begun, signal);
    if (mark !== undefined && ownerOf(mark)?.instance === instance) {
      const age = begun.at - heldAt;
      // Nobody has had the time to take the mark of the life before for a dead one.
      if (!this.#wasHeld && age >= 0 && age < IDLE) return this.#write(begun, begun.steady + GUARD - IDLE, signal);
      if (!this.#wasHeld || (await this.#isOfBefore(mark))) return this.#take(begun, signal);
      // The spool was copied, and its copy lives.
      await this.#identity.renew();
    }
    this.#held = undefined;
    this.#written = undefined;
    if (!isFree(mark)) {
      if (this.#seen?.text !== mark) this.#seen = { text: mark, since: this.#options.steady() };
      if (this.#options.steady() - this.#seen.since < DEAD) throw new ClaimedElsewhere(machineOf(mark));
    }
    await this.#take(begun, signal);
  }

  /** Makes no folder ours that is not. */
  async #renew(signal: AbortSignal): Promise<void> {
    const begun = this.#begin();
    const mark = await this.#folder.read(signal);
    if (this.#held !== undefined && this.#isOurs(mark)) return this.#goOn(mark, begun, signal);
    const isLate = this.#held !== undefined && (await this.#isOfBefore(mark));
    this.#held = undefined;
    if (isLate) return this.#take(begun, signal);
    throw new ClaimedElsewhere(machineOf(mark));
  }

  /** The mark is of this process: nobody has written since, but for a write of our own that arrived late. */
  async #goOn(mark: string | undefined, begun: Held, signal: AbortSignal): Promise<void> {
    if (this.#held !== undefined) {
      // After a pause somebody may be about to take it for dead.
      return this.#age() < GUARD ? this.#write(begun, this.#held.steady + GUARD, signal) : this.#take(begun, signal);
    }
    // It may have taken the folder from another, who is given the time to notice.
    const isPrompt = this.#written?.text === mark && this.#written?.prompt === true;
    return this.#take(begun, signal, isPrompt ? SETTLE : GUARD);
  }

  /** @param until steady milliseconds up to when nobody else can be about to write */
  async #write(begun: Held, until: number, signal: AbortSignal): Promise<void> {
    const text = await this.#next();
    this.#stayOnDuty();
    const wrote = await this.#folder.write(text, signal);
    const isInTime = this.#options.steady() < until;
    this.#written = { text, prompt: isInTime };
    this.#folder.ask(wrote);
    await (isInTime ? this.#confirmed({ ...begun, text }) : this.#settle(text, GUARD, signal));
  }

  async #take(begun: Held, signal: AbortSignal, settle = SETTLE): Promise<void> {
    const text = await this.#next();
    this.#stayOnDuty();
    const wrote = await this.#folder.write(text, signal);
    // One without an answer may have arrived all the same.
    const isThere = wrote.ok || (await this.#folder.read(signal)) === text;
    const isPrompt = isThere && this.#options.steady() - begun.steady <= SETTLE;
    this.#written = { text, prompt: isPrompt };
    if (!isThere) this.#folder.ask(wrote);
    await this.#settle(text, isPrompt ? settle : GUARD, signal);
  }

  async #settle(text: string, milliseconds: number, signal: AbortSignal): Promise<void> {
    await this.#pause(milliseconds, signal);
    const looked = this.#begin();
    const mark = await this.#folder.read(signal);
    if (mark === text) return this.#confirmed({ ...looked, text });
    if (mark === undefined) throw new Unmarkable(NOT_KEPT);
    this.#held = undefined;
    this.#written = undefined;
    throw new ClaimedElsewhere(machineOf(mark));
  }

  async #confirmed(held: Held): Promise<void> {
    this.#stayOnDuty();
    this.#held = held;
    this.#written = undefined;
    this.#seen = undefined;
    this.#isTroubled = false;
    this.#wasHeld = true;
    await this.#identity.held(held.at);
  }

  // --- while it is ours --------------------------------------------------------------------------------------------

  #wake(): void {
    if (this.#held === undefined || this.#endTimer !== undefined || this.#ending.signal.aborted) return;
    this.#endTimer = this.#options.setTimer(() => {
      this.#endTimer = undefined;
      void this.#inTurn(() => this.#keepAlive())
        // The next round, or what is to become durable, meets the same.
        .catch(() => void (this.#isTroubled = true))
        .then(() => this.#wake());
    }, RENEW);
  }

  async #keepAlive(): Promise<void> {
    if (this.#held === undefined || this.#isTroubled || this.#ending.signal.aborted) return;
    if (this.#age() >= (this.#works ? RENEW : IDLE)) await this.#renew(this.#ending.signal);
  }

  /** Milliseconds since the folder was seen to be ours. */
  #age(): number {
    if (this.#held === undefined) return Infinity;
    const { steady, wall } = this.#held;
    return Math.max(this.#options.steady() - steady, this.#options.now() - wall);
  }

  // --- who we are --------------------------------------------------------------------------------------------------

  #isOurs(mark: string | undefined): boolean {
    return mark !== undefined && ownerOf(mark)?.life === this.#life;
  }

  /** A gateway that had the duty before this one, which was paused or whose write was late. */
  async #isOfBefore(mark: string | undefined): Promise<boolean> {
    const { instance, life = '' } = ownerOf(mark ?? '') ?? {};
    const known = await this.#identity.get();
    return this.#options.duty !== undefined && known.instance === instance && known.lives.includes(life);
  }

  async #next(): Promise<string> {
    if (this.#options.duty !== undefined) await this.#identity.enter(this.#life);
    const { instance } = await this.#identity.get();
    return markText({ instance, life: this.#life, machine: this.#machine, counter: ++this.#counter });
  }

  // --- asking ------------------------------------------------------------------------------------------------------

  #begin(): Held {
    const { steady, now, duty } = this.#options;
    return { text: '', steady: steady(), wall: now(), at: duty?.now() ?? now() };
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(async () => {
      try {
        await work();
      } catch (error) {
        if (!(error instanceof Unmarkable)) throw error;
        this.#folder.goWithout(error.status);
      }
    });
    this.#turn = done.catch(() => undefined);
    return done;
  }

  #pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const over = (): void => {
        end();
        signal.removeEventListener('abort', over);
        resolve();
      };
      const end = this.#options.setTimer(over, milliseconds);
      if (signal.aborted) over();
      else signal.addEventListener('abort', over, { once: true });
    });
  }
}

const NOT_KEPT: Failed = {
  outcome: 'failed',
  code: '5.3.0',
  cause: 'mark not kept',
  text: 'The mail server does not keep what it was told',
  reason: 'The server took the mark of the folder and does not show it',
};
