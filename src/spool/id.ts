/** Spool ids: creation time, then chance, as lower-case base32 (Crockford's letters). Ids of one process strictly grow. */
import { randomBytes } from 'node:crypto';
import type { SpoolId } from '../mail/item.ts';

const LETTERS = '0123456789abcdefghjkmnpqrstvwxyz';
/** 45 bits of milliseconds last until the year 3084. */
const TIME_LETTERS = 9;
const CHANCE_LETTERS = 7;
const CHANCES = 32 ** CHANCE_LETTERS;

function base32(value: number, length: number): string {
  let text = '';
  for (let left = value; text.length < length; left = Math.floor(left / 32))
    text = `${LETTERS[left % 32] ?? ''}${text}`;
  return text;
}

/** A maker of ids of 16 letters. @param chance 0 <= chance < 1 */
export function spoolIds(now: () => number, chance: () => number = strongChance): () => SpoolId {
  let time = 0;
  let count = 0;
  return () => {
    const at = now();
    // In the same millisecond, or when the clock was set back, the number grows instead.
    if (at > time) {
      time = at;
      count = Math.floor(chance() * CHANCES);
    } else if (++count >= CHANCES) {
      time++;
      count = 0;
    }
    return base32(time, TIME_LETTERS) + base32(count, CHANCE_LETTERS);
  };
}

function strongChance(): number {
  return randomBytes(6).readUIntBE(0, 6) / 2 ** 48;
}
