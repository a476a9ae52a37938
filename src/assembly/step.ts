/**
 * How the running gateway goes over to another configuration: every part first prepares what it needs beside what is in
 * use; then what can still fail (ports) is taken; only then everything is. Whatever fails before that leaves all as it
 * was.
 */
import type { Config } from '../config/config.ts';

/** One part on its way to the next configuration. */
export interface Step {
  /** Takes what can fail. Rejects with an Error for the person who must act; back() follows then, too. */
  take?(): Promise<void>;
  /** All as it was, whether take() was called or not. Never rejects. */
  back?(): Promise<void>;
  /** Everything is in use; what was before ends when it has done its work. Never rejects. */
  settle?(): Promise<void> | void;
}

/**
 * Prepares, and touches nothing that is in use. Undefined: nothing of its own has changed. Rejects with an Error for the
 * person who must act, and leaves nothing behind then.
 */
export type Follow = (next: Config, before: Config) => Promise<Step | undefined>;

/** In the order given; back in the opposite one. Rejects with what could not be done, or when `ending` has aborted. */
export async function goOver(
  parts: readonly Follow[],
  next: Config,
  before: Config,
  ending: AbortSignal,
): Promise<void> {
  const steps: Step[] = [];
  try {
    for (const follow of parts) {
      const step = await follow(next, before);
      if (step !== undefined) steps.push(step);
    }
    ending.throwIfAborted();
    for (const step of steps) await step.take?.();
  } catch (error) {
    for (const step of steps.toReversed()) await step.back?.();
    throw error;
  }
  for (const step of steps) await step.settle?.();
}

/** A part that takes its settings as they are and cannot fail. */
export function live(use: (next: Config) => void): Follow {
  return async (next) => ({ settle: () => use(next) });
}
