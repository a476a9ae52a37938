/** Numbers on the command line. */
import { CommandFault, EXIT } from './outcome.ts';

/** A TCP port; 0 stands for any free one. */
export function port(value: unknown): number {
  const number = Number(value);
  if (typeof value !== 'string' || value.trim() === '' || !Number.isInteger(number) || number < 0 || number > 65_535) {
    throw new CommandFault(EXIT.usage, `--port takes a number from 0 (any free port) to 65535, not "${String(value)}"`);
  }
  return number;
}
