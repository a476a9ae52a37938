/** What `check` has found: one thing, how it is, and what to do about it. Never fails. */

/** fail: mail would not go. warn: it goes, but somebody should know. skip: could not be tried. */
export type Mark = 'ok' | 'warn' | 'fail' | 'skip';

export interface Finding {
  readonly mark: Mark;
  /** configuration, transport, token, mailbox, outside, pickup, folder, hand-over */
  readonly what: string;
  readonly route?: string;
  /** Name of a pickup. */
  readonly pickup?: string;
  /** Of a hand-over: smtp, folder, webhook, command, pop3. */
  readonly transport?: string;
  readonly mailbox?: string;
  /** Path of a folder of the mailbox. */
  readonly folder?: string;
  /** What was found, and what to do. */
  readonly says: string;
  readonly seconds?: number;
}

export type Tell = (finding: Finding) => void;

export type Judged = Pick<Finding, 'mark' | 'says'>;

/** Milliseconds for a mailbox, and for a system that mail is handed over to. */
export const PATIENCE = 60_000;

/** What is not in use may be closed: that is why it is not in use. */
export function eased(mark: Mark, isSpare: boolean): Mark {
  return mark === 'fail' && isSpare ? 'warn' : mark;
}

export async function timed<T>(work: () => Promise<T>): Promise<{ readonly value: T; readonly seconds: number }> {
  const begun = performance.now();
  const value = await work();
  return { value, seconds: (performance.now() - begun) / 1000 };
}

export function lineOf({ mark, what, route, pickup, transport, mailbox, folder, says, seconds }: Finding): string {
  const where = [route, pickup, transport, mailbox, folder].filter((part) => part !== undefined).join(' ');
  const took = seconds === undefined ? '' : ` (${seconds.toFixed(1)} s)`;
  const text = says.replaceAll('\n', ' ').replace(/ {2,}/g, ' ');
  return `${mark.padEnd(5)} ${what.padEnd(14)} ${where === '' ? '' : `${where}: `}${text}${took}`;
}
