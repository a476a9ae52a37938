/**
 * That a spool is being emptied into another one, or was: kept where cursors are, so that every engine has it. A gateway
 * does not work on one that bears it, because what it holds may be in the other one too. It tells no secret.
 */
import type { Spool } from '../mail/spool.ts';

/** No source has such a name: those of the configuration hold no colon with a space. */
export const MOVE_MARK = 'spool: move';

/** Of the one that moves a spool, where several can reach it. */
export const MOVE_DUTY = 'spool.move';

export interface MoveMark {
  /** into: being filled from the other one. outOf: being emptied into it. moved: has been. */
  readonly what: 'into' | 'outOf' | 'moved';
  /** Where the other one is, for people. */
  readonly other: string;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** @returns undefined: there is none */
export async function moveMark(spool: Pick<Spool, 'cursor'>): Promise<MoveMark | undefined> {
  const text = await spool.cursor(MOVE_MARK);
  return text === undefined ? undefined : (JSON.parse(text) as MoveMark);
}

export async function setMoveMark(spool: Pick<Spool, 'keepCursor'>, mark: MoveMark | undefined): Promise<void> {
  await spool.keepCursor(MOVE_MARK, mark === undefined ? undefined : JSON.stringify(mark));
}

const LOST = '; if the other one is lost for good, "smtp2exchange spool move --give-up" keeps what is here';

/** Why no gateway may work on it. @param where the spool is, for people */
export function whyNotUsed({ what, other, at }: MoveMark, where: string): string {
  const since = new Date(at).toISOString();
  switch (what) {
    case 'moved':
      return `The spool ${where} was moved to ${other} (${since}): name that one in the configuration. To use this one again, move the mail back ("smtp2exchange spool move")`;
    case 'into':
      return `The spool ${where} is being filled from ${other} (since ${since}), and part of the mail is still there: run "smtp2exchange spool move" again as it was begun${LOST}`;
    case 'outOf':
      return `The spool ${where} is being moved to ${other} (since ${since}), and part of the mail is there: run "smtp2exchange spool move" again as it was begun${LOST}`;
  }
}
