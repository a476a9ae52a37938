/**
 * How a room waits, as it is handed to one that waits under simulated time. The real one, which each room has as its
 * default, is Node's: a wait over 2^31 - 1 ms would end at once there, so whoever may wait that long waits in parts.
 */

/** @returns ends the wait without a call; harmless once it is over */
export type SetTimer = (then: () => void, milliseconds: number) => () => void;
