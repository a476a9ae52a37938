/** What is under way when the spool is closed: that is finished, and nothing new is begun. Pure but for the wait. */
import type { SpoolError } from '../mail/spool.ts';

export class Calls {
  #underWay = 0;
  #closed: SpoolError | undefined;
  #whenIdle: (() => void) | undefined;

  /** @throws SpoolError once it is closed */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#closed !== undefined) throw this.#closed;
    this.#underWay++;
    try {
      return await work();
    } finally {
      this.#underWay--;
      if (this.#underWay === 0) this.#whenIdle?.();
    }
  }

  /** Resolves when nothing is under way any more, or when the time is over. @param patience milliseconds */
  async close(error: SpoolError, patience: number): Promise<void> {
    this.#closed = error;
    if (this.#underWay === 0 || patience <= 0) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
      timer = setTimeout(resolve, patience);
    });
    clearTimeout(timer);
  }
}
