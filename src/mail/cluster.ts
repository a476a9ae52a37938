/**
 * What several gateways on one queue have in common. An engine of the spool that only one gateway can open has none of it.
 * Times are epoch milliseconds of the store's own clock, which is the same for all of them. Rejects with SpoolError, and
 * with nothing else.
 */
import type { LaneKey } from './item.ts';

/** Plain data that outlives the process. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

/**
 * What something is known of together: a lane, or (without a mailbox) a route. What is known of neither has, instead of a
 * route's, a name that begins with a blank, which no route's does: to an engine it is a subject like any other, the queue
 * passes it over.
 */
export interface Subject {
  readonly route: string;
  readonly mailbox?: string;
}

/** What is known of a lane and of its route, and how many of the lane's items any gateway is sending now. */
export interface Common {
  readonly lane?: Json;
  readonly route?: Json;
  readonly sending: number;
}

/**
 * Asked by claim() with what all gateways know together, which no other one can change or claim by meanwhile; but for a route
 * of which nothing is known, which may come to be held at this very moment. Quick and pure: it is asked in the midst of a
 * transaction, and more than once if that has to be repeated.
 */
export type Gate = (common: Common) => {
  /** How many may start, up to the claim's own limit. */
  readonly limit: number;
  /** What is known from now on, if so many (more than none) are claimed; undefined: nothing that would not hold of any. */
  readonly after: (claimed: number) => Pick<Common, 'lane' | 'route'>;
};

/** A gateway that works on the queue, or did a moment ago. */
export interface Member {
  /** Unique to the process. */
  readonly id: string;
  /** Name of its machine. */
  readonly host: string;
  readonly version: string;
  readonly startedAt: number;
  readonly seenAt: number;
  /** Items that it is sending. */
  readonly sending: number;
  /** What only one at a time does, and this one does now. */
  readonly duties: readonly string[];
}

export interface ClusterListener {
  /** Another gateway has made something due in this lane: it has arrived, or an operator wants it tried. */
  due(lane: LaneKey): void;
  /** Another gateway has changed what is known of this. undefined: nothing is known any more. */
  changed(subject: Subject, state: Json | undefined): void;
}

export interface Cluster {
  /** This gateway. */
  readonly id: string;
  /** The store's clock, as far as it can be told from here; never goes back. */
  now(): number;
  /** Those seen within the lease, this one among them; by host, then start. */
  members(): Promise<readonly Member[]>;
  /** All that is known, for a start. */
  known(): Promise<readonly { readonly subject: Subject; readonly state: Json }[]>;
  /**
   * Changes what is known of a subject, while nobody else can; the others are told. `change` is pure, and may be called
   * more than once. @returns what is known then
   */
  change(subject: Subject, change: (state: Json | undefined) => Json | undefined): Promise<Json | undefined>;
  /** What others do arrives here, some of it late, all of it in the end. @returns ends it */
  listen(listener: ClusterListener): () => void;
  /**
   * Takes a duty that only one gateway at a time has, or keeps it: for a lease from now on. @returns false: another one
   * has it
   */
  hold(duty: string): Promise<boolean>;
  /** Leaves it to the others at once. Nothing happens where it is not ours. */
  leave(duty: string): Promise<void>;
  /** Milliseconds of a lease: of an item that is being sent, of a duty. */
  readonly lease: number;
}
