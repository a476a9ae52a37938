/**
 * The garbage collector, asked by hand. The parser of messages makes a piece of every line, which outlives the young; of a
 * large message tens of megabytes would be left over before the collector looks by itself. Never fails: where it cannot be
 * asked, nothing happens.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let asked: (() => void) | undefined;

/** Takes some tens of milliseconds, in which nothing else is done: for what goes on for seconds anyway. */
export function collectGarbage(): void {
  asked ??= collector();
  asked();
}

function collector(): () => void {
  setFlagsFromString('--expose-gc');
  const found: unknown = runInNewContext('typeof gc === "function" ? gc : undefined');
  setFlagsFromString('--no-expose-gc');
  return typeof found === 'function' ? () => void (found as () => void)() : () => undefined;
}
