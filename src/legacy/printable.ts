/** What a program or a receiver said, for a log: one line, of bounded length, nothing that is no writing. Pure; never fails. */

/** @param limit characters (code points) that are kept */
export function printable(text: string, limit: number): string {
  const line = text
    .toWellFormed()
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim();
  const characters = [...line];
  return characters.length > limit ? `${characters.slice(0, limit).join('')}...` : line;
}
