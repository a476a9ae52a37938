/** What a part tells before it is known whether it will be used. */
import type { Event, Report } from '../mail/event.ts';

export interface HeldReport {
  readonly report: Report;
  /** Tells what was held back, and everything from now on. Without it, nothing is ever told. */
  release(): void;
}

export function heldReport(report: Report): HeldReport {
  let held: Event[] | undefined = [];
  return {
    report: (event) => (held === undefined ? report(event) : void held.push(event)),
    release() {
      const events = held ?? [];
      held = undefined;
      for (const event of events) report(event);
    },
  };
}
