/**
 * One way to tell somebody, with its queue: notices go in order, each is tried again after RETRIES while the way says
 * that this may help, at most QUEUE wait. Never throws, holds up nobody: a channel that is silent is given up after its
 * time limit. What fails is the event `alarm.failed`.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Report } from '../mail/event.ts';
import type { Notice } from './alarm-notice.ts';

/** What became of one try. */
export type Sent =
  | { readonly ok: true }
  /** `failure`: for the log, without any secret. `final`: trying again does not help. `retryAfter`: milliseconds. */
  | { readonly ok: false; readonly failure: string; readonly final?: boolean; readonly retryAfter?: number };

export interface Channel {
  readonly name: string;
  /** One try. Ends early when `signal` aborts; a rejection counts as a failure. */
  send(notice: Notice, signal: AbortSignal): Promise<Sent>;
}

export interface OutletOptions {
  readonly report: Report;
  /** Milliseconds of one try, default 20,000. */
  readonly timeout?: number;
  /** Waits milliseconds; resolves early when `signal` aborts. */
  readonly wait?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

/** Milliseconds before the second, third ... try. */
const RETRIES = [5_000, 30_000, 120_000, 600_000];
/** What a server asks for counts up to here, milliseconds. */
const LONGEST = 3_600_000;
/** Notices that wait; over it, the oldest is given up. */
const QUEUE = 50;
const TIMEOUT = 20_000;
const STOPPED = 'the gateway stopped';

export class Outlet {
  readonly #channel: Channel;
  readonly #options: OutletOptions;
  readonly #stopping = new AbortController();
  #queue: Notice[] = [];
  #running: Promise<void> | undefined;

  constructor(channel: Channel, options: OutletOptions) {
    this.#channel = channel;
    this.#options = options;
  }

  /** Resolves when everything is through or given up. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Returns at once. */
  tell(notice: Notice): void {
    if (this.#stopping.signal.aborted) return;
    // A reminder that still waits is stale now.
    this.#queue = this.#queue.filter((one) => one.notice !== 'repeated' || one.alarm !== notice.alarm);
    this.#queue.push(notice);
    const tooOld = this.#queue.length > QUEUE ? this.#queue.shift() : undefined;
    if (tooOld !== undefined) this.#failed(tooOld, 0, `${QUEUE} notices wait already`, true);
    this.#running ??= this.#run();
  }

  /** Lets what is under way end within `grace` milliseconds, gives up the rest. Never rejects. */
  async stop(grace: number): Promise<void> {
    if (this.#running !== undefined) {
      const enough = new AbortController();
      await Promise.race([this.#running, this.#wait(grace, enough.signal)]);
      enough.abort();
    }
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let notice = this.#queue.shift(); notice !== undefined; notice = this.#queue.shift()) {
      await this.#deliver(notice);
    }
    this.#running = undefined;
  }

  async #deliver(notice: Notice): Promise<void> {
    const { signal } = this.#stopping;
    for (let attempt = 1; ; attempt++) {
      if (signal.aborted) return this.#failed(notice, attempt - 1, STOPPED, true);
      const sent = await this.#attempt(notice);
      if (sent.ok) return;
      const wait = RETRIES[attempt - 1];
      const givenUp = wait === undefined || sent.final === true || signal.aborted;
      this.#failed(notice, attempt, sent.failure, givenUp);
      if (givenUp) return;
      await this.#wait(Math.max(wait, Math.min(LONGEST, sent.retryAfter ?? 0)), signal);
    }
  }

  async #attempt(notice: Notice): Promise<Sent> {
    const timeout = this.#options.timeout ?? TIMEOUT;
    const limit = AbortSignal.timeout(timeout);
    const signal = AbortSignal.any([limit, this.#stopping.signal]);
    const { promise: ended, resolve } = Promise.withResolvers<Sent>();
    const onAbort = (): void =>
      resolve({ ok: false, failure: limit.aborted ? `no end after ${timeout / 1000} s` : STOPPED });
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      // A way that does not hear the signal holds up no other notice.
      return await Promise.race([this.#channel.send(notice, signal), ended]);
    } catch (error) {
      return { ok: false, failure: error instanceof Error ? error.message : String(error) };
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #failed({ alarm }: Notice, attempt: number, failure: string, givenUp: boolean): void {
    this.#options.report({ event: 'alarm.failed', channel: this.#channel.name, alarm, attempt, failure, givenUp });
  }

  async #wait(milliseconds: number, signal: AbortSignal): Promise<void> {
    const wait = this.#options.wait ?? waited;
    await wait(milliseconds, signal);
  }
}

async function waited(milliseconds: number, signal: AbortSignal): Promise<void> {
  // Rejects for an abort only. It keeps the process alive: the end of the gateway waits for it.
  await pause(milliseconds, undefined, { signal }).catch(() => undefined);
}
