/** Settings as far as they could be read, and what a check of them may ask and say. Types only. */
import type { Path } from './fault.ts';
import type { Sound } from './reader.ts';
import type { Settings } from './settings.ts';

export type SoundSettings = NonNullable<Sound<Settings>>;
/** `exchange`, or one of `routes`. */
export type SoundAccount = NonNullable<SoundSettings['exchange']>;
export type SoundPickup = NonNullable<NonNullable<SoundSettings['pickup']>[number]>;
export type SoundListener = NonNullable<NonNullable<SoundSettings['listeners']>[number]>;

export interface Context {
  fault(path: Path, problem: string, hint?: string): void;
  /** The file has it, readable or not. */
  wasGiven(path: Path): boolean;
  /** All that the file has there could be read. */
  isWhole(path: Path): boolean;
}
