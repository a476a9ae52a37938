/** Which alerts fire where, as seen by asking Prometheus twice a second; and waiting for one to fire or to clear. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Prometheus } from './prometheus.ts';

export interface Seen {
  readonly name: string;
  readonly instance: string;
  /** Milliseconds from when it was waited for to when it fired, and to when it was over. */
  fired?: number;
  cleared?: number;
}

const EVERY = 500;

export class AlertWatch {
  readonly #prometheus: Prometheus;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #now: ReadonlySet<string> = new Set();
  /** `alert instance`: all that ever fired. */
  readonly #ever = new Set<string>();
  readonly seen: Seen[] = [];

  constructor(prometheus: Prometheus) {
    this.#prometheus = prometheus;
    this.#running = this.#run();
  }

  /** All that fired until now, as `alert instance`. */
  get ever(): readonly string[] {
    return [...this.#ever].toSorted();
  }

  /** Those that fire now. */
  get now(): readonly string[] {
    return [...this.#now].toSorted();
  }

  /** Resolves when it fires, or has since this was called; rejects after so many seconds. */
  async fires(name: string, instance: string, seconds: number): Promise<void> {
    const begun = Date.now();
    await this.#until(name, instance, true, seconds);
    this.seen.push({ name, instance, fired: Date.now() - begun });
  }

  /** Resolves when it does not fire. */
  async clears(name: string, instance: string, seconds: number): Promise<void> {
    const begun = Date.now();
    await this.#until(name, instance, false, seconds);
    const seen = this.seen.findLast((one) => one.name === name && one.instance === instance);
    if (seen !== undefined) seen.cleared = Date.now() - begun;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #until(name: string, instance: string, firing: boolean, seconds: number): Promise<void> {
    const key = `${name} ${instance}`;
    for (const deadline = Date.now() + seconds * 1_000; this.#now.has(key) !== firing; await pause(EVERY / 2)) {
      if (Date.now() > deadline)
        throw new Error(`${name} of ${instance} ${firing ? 'did not fire' : 'did not clear'} within ${seconds} s`);
    }
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const alerts = await this.#prometheus.firing();
      this.#now = new Set(alerts.map(({ name, instance }) => `${name} ${instance}`));
      for (const key of this.#now) this.#ever.add(key);
      await pause(EVERY, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }
}
