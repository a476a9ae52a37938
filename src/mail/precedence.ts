/**
 * What a header says of a message's importance, and which mail of a mailbox goes before its other mail, and how the two
 * share. Pure; never fails: what cannot be read is as good as absent.
 */
import { fieldValue } from './header.ts';
import type { HeaderField } from './header.ts';

export type Importance = 'low' | 'normal' | 'high';

/** small: under SMALL octets; important: of high importance. */
export type First = 'small' | 'important';

/** Octets of the spooled message. */
const SMALL = 100_000;
/** Octets from which on a field is not looked at. */
const MAX_FIELD = 16 * 1024;
/** Preferred items in a row, after which one other item that is due has its turn: the preferred never starve the rest. */
const IN_A_ROW = 3;

/** The first that says something readable decides, so Importance wins where they contradict each other. */
const IMPORTANCE_FIELDS = ['importance', 'x-priority', 'priority', 'x-msmail-priority'];

/** Importance and Priority: RFC 2156 section 5.3.4 and 5.3.6; the others: MS-OXCMAIL section 2.1.3.2.9. Not told apart. */
const IMPORTANCES = new Map<string, Importance>([
  ...['1', '2', 'high', 'highest', 'urgent'].map((word) => [word, 'high'] as const),
  ...['3', 'normal', 'medium'].map((word) => [word, 'normal'] as const),
  ...['4', '5', 'low', 'lowest', 'non-urgent'].map((word) => [word, 'low'] as const),
]);

export function importanceOf(fields: readonly HeaderField[]): Importance | undefined {
  for (const wanted of IMPORTANCE_FIELDS) {
    for (const field of fields) {
      if (field.name !== wanted || field.raw.length > MAX_FIELD) continue;
      // `1 (Highest)`, `1-High`, `Non-Urgent`.
      const word = /^(?:\d+|[a-z]+(?:-[a-z]+)*)/i.exec(fieldValue(field))?.[0].toLowerCase();
      const importance = word === undefined ? undefined : IMPORTANCES.get(word);
      if (importance !== undefined) return importance;
    }
  }
  return undefined;
}

/** @param message size in octets */
export function goesFirst(
  message: { readonly size: number; readonly isImportant?: boolean },
  first: readonly First[],
): boolean {
  return (
    (first.includes('small') && message.size < SMALL) || (first.includes('important') && message.isImportant === true)
  );
}

/**
 * Up to `limit` of both lists, each in its order: the preferred first, but after three of them in a row one of the others.
 * @param row preferred items taken in a row before
 * @returns the items, and the row to go on with; 0 where nobody waited behind the preferred
 */
export function inTurn<Item>(
  preferred: readonly Item[],
  others: readonly Item[],
  limit: number,
  row: number,
): { readonly taken: readonly Item[]; readonly row: number } {
  const taken: Item[] = [];
  let [p, o, inARow] = [0, 0, row];
  while (taken.length < limit && (p < preferred.length || o < others.length)) {
    const isOther = o < others.length && (p === preferred.length || inARow >= IN_A_ROW);
    const item = isOther ? others[o++] : preferred[p++];
    if (item === undefined) break;
    inARow = isOther ? 0 : inARow + 1;
    taken.push(item);
  }
  return { taken, row: o === others.length ? 0 : inARow };
}
