/**
 * What a claim goes by where several gateways work on the queue: what all of them know of the lane and of its route, and how
 * many of the lane's items any of them is sending. Asked in the midst of the store's transaction, maybe more than once; the
 * last time counts. Pure but for what it remembers of that.
 */
import type { Gate, Json } from '../mail/cluster.ts';
import type { HoldState } from './hold.ts';
import { RouteHold } from './hold.ts';
import type { Pace, PaceState } from './pace.ts';

export interface GateOptions {
  readonly mailbox: string;
  /** What the claim would take at most. */
  readonly limit: number;
  /** Milliseconds that a probe is waited for. */
  readonly lease: number;
  /** One that knows nothing, with the lane's limits. */
  readonly blankPace: () => Pace;
  /** Attempts at the same time. */
  readonly slots: (pace: Pace) => number;
  readonly now: () => number;
}

/** What came of it. */
export interface Gated {
  /** What the claim might take. */
  readonly limit: number;
  /** What was claimed is the probe of a held route. */
  readonly probe: boolean;
  /** Other gateways have all slots. */
  readonly isFull: boolean;
  readonly lane: Json | undefined;
  readonly route: Json | undefined;
}

export class ClaimGate {
  readonly #options: GateOptions;
  #last:
    { readonly pace: Pace; readonly hold: RouteHold; readonly limit: number; readonly isFull: boolean } | undefined;
  #probe = false;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  readonly gate: Gate = ({ lane, route, sending }) => {
    const { mailbox, lease, blankPace, now } = this.#options;
    const at = now();
    const [pace, hold] = [blankPace(), new RouteHold()];
    pace.learn(lane as PaceState | undefined);
    hold.learn(route as HoldState | undefined);
    const slots = this.#options.slots(pace) - sending;
    const most = Math.min(this.#options.limit, slots, pace.free(at, sending), hold.allows(at, mailbox));
    const limit = Math.max(0, most);
    this.#last = { pace, hold, limit, isFull: slots <= 0 };
    this.#probe = false;
    return {
      limit,
      after: (claimed) => {
        pace.counted(at, claimed);
        this.#probe = hold.started(at + lease);
        return known(pace.state(at), hold.state(at));
      },
    };
  };

  /** @returns undefined: it was not asked, because there was nothing to claim */
  result(claimed: number): Gated | undefined {
    if (this.#last === undefined) return undefined;
    const { pace, hold, limit, isFull } = this.#last;
    const at = this.#options.now();
    const probe = this.#probe && claimed > 0;
    return { limit, probe, isFull: isFull && claimed === 0, lane: pace.state(at), route: hold.state(at) };
  }
}

function known(lane: Json | undefined, route: Json | undefined): { readonly lane?: Json; readonly route?: Json } {
  return { ...(lane !== undefined && { lane }), ...(route !== undefined && { route }) };
}
