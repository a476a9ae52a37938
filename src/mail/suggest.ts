/** The nearest known word to one that is not known. Pure; the words are short and few. */

/** Undefined if nothing is near enough to be what was meant. */
export function suggest(word: string, known: readonly string[]): string | undefined {
  const wanted = plain(word);
  let best: string | undefined;
  let least = 1 + Math.max(1, Math.floor(wanted.length / 3));
  for (const candidate of known) {
    const apart = distance(wanted, plain(candidate));
    if (apart < least) [best, least] = [candidate, apart];
  }
  return best;
}

/** client_id, client-id, ClientID: all the same to a reader. */
function plain(word: string): string {
  return word.toLowerCase().replace(/[-_ .]/g, '');
}

/** Insertions, deletions, replacements, and swaps of neighbours, each counted as one (optimal string alignment). */
export function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  const at = (row: number, column: number): number => rows[row]?.[column] ?? 0;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const replace = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swap = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] && i > 1 && j > 1 ? at(i - 2, j - 2) + 1 : Infinity;
      row.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, replace, swap));
    }
  }
  return at(a.length, b.length);
}
