/**
 * Work that one of several gateways does at a time. Each competes for the duty; who has it works, and stops at once when it
 * may be another's (held-duty.ts). With one gateway it is just done.
 *
 * Promises: start() and stop() take turns; nothing is started while what was before has not stopped; trouble with the store
 * is tried again until the end. What the work throws is reported as a bug, and ends nothing.
 */
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import type { Cluster } from '../mail/cluster.ts';
import type { Report } from '../mail/event.ts';
import { SpoolError } from '../mail/spool.ts';
import type { DutyClocks, HeldDuty } from './held-duty.ts';
import { CLOCKS, RETRY, takeDuty } from './held-duty.ts';

/** Milliseconds that work may take to end when the time is up. */
const END_GRACE = 1_000;

export interface Work {
  /** @param isOurs asked before anything becomes durable in its name */
  start(isOurs: () => boolean): void;
  /** @param signal what is under way ends; aborted from the first where the duty may be another's by now */
  stop(signal: AbortSignal): Promise<void>;
}

export interface DutyParts {
  /** Undefined: there is only this gateway. */
  readonly cluster: Cluster | undefined;
  readonly name: string;
  /** It is that of a pickup, for events. */
  readonly pickup?: string;
  readonly report: Report;
  readonly clocks?: DutyClocks;
}

export interface Duty {
  begin(): void;
  /** Nobody else can have it. */
  readonly isOurs: boolean;
  /** Another gateway had it a moment ago, for certain. */
  readonly isElsewhere: boolean;
  /** Milliseconds since it was last known who has it. */
  readonly silence: number;
  /** Stops the work, and lets the others have it. */
  end(signal: AbortSignal): Promise<void>;
}

export function duty(parts: DutyParts, work: Work): Duty {
  const { cluster } = parts;
  return cluster === undefined ? new Alone(parts, work) : new Competitor({ ...parts, cluster }, work);
}

class Alone implements Duty {
  readonly #guarded: Guarded;
  #isBegun = false;

  constructor({ report }: DutyParts, work: Work) {
    this.#guarded = new Guarded(work, report);
  }

  begin(): void {
    if (this.#isBegun) return;
    this.#isBegun = true;
    this.#guarded.start(() => true);
  }

  get isOurs(): boolean {
    return this.#isBegun;
  }

  get isElsewhere(): boolean {
    return false;
  }

  get silence(): number {
    return 0;
  }

  async end(signal: AbortSignal): Promise<void> {
    if (!this.#isBegun) return;
    this.#isBegun = false;
    await this.#guarded.stop(signal);
  }
}

class Competitor implements Duty {
  readonly #parts: DutyParts & { readonly cluster: Cluster };
  readonly #clocks: DutyClocks;
  readonly #guarded: Guarded;
  readonly #ending = new AbortController();
  /** Of what ends: set by end(). */
  #grace = new AbortController().signal;
  #running: Promise<void> | undefined;
  #held: HeldDuty | undefined;
  /** Steady: up to when another gateway has it, as it was last heard; and when this one began, or had it last. */
  #elsewhereUntil = -Infinity;
  #knownAt = -Infinity;

  constructor(parts: DutyParts & { readonly cluster: Cluster }, work: Work) {
    this.#parts = parts;
    this.#clocks = parts.clocks ?? CLOCKS;
    this.#guarded = new Guarded(work, parts.report);
  }

  begin(): void {
    if (this.#running !== undefined) return;
    this.#knownAt = this.#clocks.steady();
    this.#running = this.#compete();
  }

  get isOurs(): boolean {
    return this.#held?.isOurs === true;
  }

  get isElsewhere(): boolean {
    return this.#clocks.steady() < this.#elsewhereUntil;
  }

  get silence(): number {
    if (this.isOurs) return 0;
    return Math.max(0, this.#clocks.steady() - Math.max(this.#knownAt, this.#elsewhereUntil));
  }

  async end(signal: AbortSignal): Promise<void> {
    this.#grace = signal;
    this.#ending.abort();
    // A store that does not answer is not waited for then: the duty ends with its lease.
    await Promise.race([this.#running, aborted(signal)]);
    // Nor by the work, which may be in the midst of asking it.
    await Promise.race([
      this.#guarded.stopped,
      aborted(signal).then(() => pause(END_GRACE, undefined, { ref: false })),
    ]);
  }

  async #compete(): Promise<void> {
    const { signal } = this.#ending;
    let isTold = false;
    while (!signal.aborted) {
      const held = await this.#take();
      if (held === undefined) {
        if (this.isElsewhere && !isTold) {
          isTold = true;
          await this.#tellWhere();
        }
        await this.#pause(this.#parts.cluster.lease / RETRY);
        continue;
      }
      isTold = false;
      if (!signal.aborted) await this.#work(held);
      await held.leave();
    }
  }

  async #take(): Promise<HeldDuty | undefined> {
    const { cluster, name, report } = this.#parts;
    const begun = this.#clocks.steady();
    try {
      const held = await takeDuty(cluster, name, this.#clocks);
      this.#elsewhereUntil = held === undefined ? begun + cluster.lease : -Infinity;
      return held;
    } catch (error) {
      if (!(error instanceof SpoolError)) report({ event: 'bug', where: `duty ${name}`, error: asError(error) });
      return undefined;
    }
  }

  async #work(held: HeldDuty): Promise<void> {
    const { report } = this.#parts;
    const begun = this.#clocks.steady();
    this.#held = held;
    report({ event: 'duty.taken', ...this.#facts });
    this.#guarded.start(() => held.isOurs);
    const either = AbortSignal.any([held.over, this.#ending.signal]);
    const { promise: stopped, resolve } = Promise.withResolvers<void>();
    // In the very moment in which it is over: whoever has just asked whether it is ours finds the work ended.
    const stop = (): void => {
      this.#knownAt = this.#clocks.steady();
      resolve(this.#guarded.stop(AbortSignal.any([held.over, this.#grace])));
    };
    if (either.aborted) stop();
    else either.addEventListener('abort', stop, { once: true });
    await stopped;
    this.#held = undefined;
    const event = held.over.aborted ? 'duty.lost' : 'duty.left';
    report({ event, ...this.#facts, seconds: (this.#clocks.steady() - begun) / 1000 });
  }

  async #tellWhere(): Promise<void> {
    const { cluster, name, report } = this.#parts;
    const members = await cluster.members().catch(() => []);
    const other = members.find(({ duties }) => duties.includes(name))?.host;
    if (this.#ending.signal.aborted) return;
    report({ event: 'duty.elsewhere', ...this.#facts, ...(other === undefined ? {} : { other }) });
  }

  get #facts(): { readonly duty: string; readonly pickup?: string } {
    const { name, pickup } = this.#parts;
    return { duty: name, ...(pickup === undefined ? {} : { pickup }) };
  }

  #pause(milliseconds: number): Promise<void> {
    const { signal } = this.#ending;
    return new Promise((resolve) => {
      const over = (): void => {
        end();
        signal.removeEventListener('abort', over);
        resolve();
      };
      const end = this.#clocks.setTimer(over, milliseconds);
      if (signal.aborted) over();
      else signal.addEventListener('abort', over, { once: true });
    });
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}

/** What the work throws is a bug, told and no more. */
class Guarded {
  readonly #work: Work;
  readonly #report: Report;
  /** Of the last stop(). */
  stopped: Promise<void> = Promise.resolve();

  constructor(work: Work, report: Report) {
    this.#work = work;
    this.#report = report;
  }

  start(isOurs: () => boolean): void {
    try {
      this.#work.start(isOurs);
    } catch (error) {
      this.#tell(error);
    }
  }

  stop(signal: AbortSignal): Promise<void> {
    return (this.stopped = this.#stop(signal));
  }

  async #stop(signal: AbortSignal): Promise<void> {
    try {
      await this.#work.stop(signal);
    } catch (error) {
      this.#tell(error);
    }
  }

  #tell(error: unknown): void {
    this.#report({ event: 'bug', where: 'duty', error: asError(error) });
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
