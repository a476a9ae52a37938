/** The name of a store in log and metrics: readable, and no other store's. It tells neither a path nor a secret. Pure. */
import { createHash } from 'node:crypto';

/**
 * @param place a word that people know it by: the machine, the database
 * @param what tells it from others of that place: a path, a number of its own
 */
export function storeName(place: string, what: string): string {
  return `${place}-${createHash('sha256').update(what).digest('hex').slice(0, 8)}`;
}
