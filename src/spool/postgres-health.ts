/**
 * Whether the database can be worked with: told once when it cannot any more, and once when it can again. While it cannot
 * be reached, orders are refused at once; whoever looks for it finds out when it is back (postgres-keeper.ts).
 */
import type { Report } from '../mail/event.ts';
import { SpoolError } from '../mail/spool.ts';
import type { PostgresError } from './postgres-trouble.ts';

export class Health {
  readonly #report: Report;
  readonly #where: string;
  #trouble: SpoolError | undefined;
  #isUnreachable = false;
  #ended: SpoolError | undefined;
  readonly #waiting = new Set<() => void>();
  /** Called when trouble begins, for somebody to look when it is over. */
  onTrouble: (() => void) | undefined;

  constructor(report: Report, where: string) {
    this.#report = report;
    this.#where = where;
  }

  /** Why nothing new may come in; undefined: all is well. */
  get trouble(): SpoolError | undefined {
    return this.#ended ?? this.#trouble;
  }

  get ended(): SpoolError | undefined {
    return this.#ended;
  }

  /** @throws SpoolError while it is of no use to ask */
  check(): void {
    if (this.#ended !== undefined) throw this.#ended;
    if (this.#isUnreachable && this.#trouble !== undefined) throw this.#trouble;
  }

  /** What was met, of which only some concerns more than one order. */
  note(error: PostgresError): void {
    if (error.meaning === 'order' || error.meaning === 'again' || this.#ended !== undefined) return;
    this.#isUnreachable ||= error.meaning === 'lost';
    // Damage is the worst of it, and lasts.
    if (this.#trouble?.trouble !== error.trouble && this.#trouble?.trouble !== 'damaged') {
      this.#trouble = new SpoolError(error.trouble, error.message);
      this.#report({ event: 'spool.trouble', trouble: error.trouble, detail: error.message });
    }
    this.onTrouble?.();
  }

  /** It can be reached; what else was wrong may still be. */
  reached(): void {
    this.#isUnreachable = false;
  }

  recovered(queued: number): void {
    if (this.#trouble === undefined) return;
    this.#trouble = undefined;
    this.#isUnreachable = false;
    this.#report({ event: 'spool.recovered', where: this.#where, queued });
    this.#wake();
  }

  /** For good: nothing more is asked. */
  end(error: SpoolError): void {
    this.#ended ??= error;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Resolves when all is well again, when it has ended, or when the time is over. */
  async well(milliseconds: number): Promise<void> {
    if (this.#trouble === undefined || this.#ended !== undefined || milliseconds <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(wake, milliseconds);
      const waiting = this.#waiting;
      waiting.add(wake);
      function wake(): void {
        clearTimeout(timer);
        waiting.delete(wake);
        resolve();
      }
    });
  }
}
