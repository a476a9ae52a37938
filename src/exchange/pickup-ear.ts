/**
 * Listens to what a server tells of a folder that is picked up from, again and again, for as long as the pickup runs. What
 * it misses is found at the next look all the same. Never rejects.
 */
import type { SetTimer } from '../mail/timer.ts';
import type { PickupMailbox } from './mailbox.ts';
import type { PickupOptions } from './pickup-options.ts';
import { BUG } from './pickup-trouble.ts';

export interface EarOptions extends Pick<PickupOptions, 'name' | 'report'> {
  /** What to listen to at present; undefined: it is not known yet, or cannot be listened to. */
  readonly place: () => { readonly box: PickupMailbox; readonly folder: string } | undefined;
  readonly news: () => void;
  readonly steady: () => number;
  readonly setTimer: SetTimer;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Between two attempts, of the n-th in a row, milliseconds. */
const WAITS = [1_000, 5_000, 30_000, 300_000];
/** It was heard for so long: what comes now is another matter, milliseconds. */
const LONG = 60_000;

export async function listen({ name, report, place, news, steady, setTimer, signal }: EarOptions): Promise<void> {
  let times = 0;
  while (!signal.aborted) {
    const { box, folder } = place() ?? {};
    if (box?.listen === undefined || folder === undefined) {
      await pause(1_000, setTimer, signal);
      continue;
    }
    const begun = steady();
    const ended = await box.listen(folder, news, signal).catch((error: unknown) => {
      report({ event: 'bug', where: 'pickup', error: error instanceof Error ? error : new Error(String(error)) });
      return { ok: false as const, status: BUG };
    });
    if (signal.aborted) return;
    if (ended.ok || steady() - begun > LONG) times = 0;
    if (!ended.ok) {
      const { cause, reason, text } = ended.status;
      report({ event: 'pickup.deaf', pickup: name, cause, reason: reason ?? text });
    }
    await pause(WAITS[Math.min(times++, WAITS.length - 1)] ?? 0, setTimer, signal);
  }
}

function pause(milliseconds: number, setTimer: SetTimer, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      end();
      signal.removeEventListener('abort', over);
      resolve();
    };
    const end = setTimer(over, milliseconds);
    if (signal.aborted) over();
    else signal.addEventListener('abort', over, { once: true });
  });
}
