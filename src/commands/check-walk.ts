/**
 * The walk of `check`: stages in the order in which one depends on another, each a file of its own that yields findings as
 * it makes them. A stage that needs what an earlier one found broken yields `skip` with that reason. None rejects for what
 * it meets.
 */
import type { Config } from '../config/config.ts';
import type { Greeting } from '../console/wire.ts';
import type { Account } from './check-account.ts';
import type { Finding, Told } from './finding.ts';
import type { StepId } from './step.ts';

export interface Walk {
  readonly config: Config;
  /** Further mailboxes, that mail is sent as. Lower case, as all addresses here. */
  readonly named: readonly string[];
  /** Those that must not be reached. */
  readonly outside: readonly string[];
  /** Who gets a mail; absent: none is sent. */
  readonly sendTo?: string;
  readonly accounts: readonly Account[];
  readonly now: () => number;
  readonly stop: AbortSignal;
  /** The gateway that works on this spool; the first stage finds it. */
  gateway?: Greeting;
  /** The data folder cannot be used. */
  isWithoutData?: boolean;
}

export type Stage = (walk: Walk) => AsyncIterable<Finding> | Iterable<Finding>;

/** @param titleOf of a step of the walk-through */
export async function* walked(
  stages: readonly Stage[],
  walk: Walk,
  titleOf: (step: StepId, route: string | undefined) => string | undefined,
): AsyncGenerator<Told> {
  let begun = performance.now();
  for (const stage of stages) {
    for await (const finding of stage(walk)) {
      if (walk.stop.aborted) return;
      const seconds = (performance.now() - begun) / 1000;
      const title = finding.step === undefined ? undefined : titleOf(finding.step, finding.route);
      yield { ...finding, ...(title === undefined ? {} : { title }), seconds: Math.round(seconds * 1000) / 1000 };
      begun = performance.now();
    }
  }
}
