/** The status of an attempt that ended in a bug of ours: temporary, because the next version may know better, but capped. */
import type { Delayed } from '../mail/status.ts';

export const BUG = 'bug';

export function bugStatus(reason: string): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'message',
    cause: BUG,
    capped: true,
    text: 'An internal error of the mail gateway delayed the message',
    reason,
  };
}

export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
