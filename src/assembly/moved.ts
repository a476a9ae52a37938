/**
 * A spool that is being moved into another one, or was: no gateway works on it. Rejects with a StartError that says what to
 * do: temporary while it is under way, configuration once the mail is elsewhere.
 */
import type { Cluster } from '../mail/cluster.ts';
import type { Spool } from '../mail/spool.ts';
import { MOVE_DUTY, moveMark, whyNotUsed } from '../spool/move-mark.ts';
import { StartError } from './start-error.ts';

/** @param where the spool is, for people */
export async function refuseMoved(
  spool: Pick<Spool, 'cursor'>,
  cluster: Cluster | undefined,
  where: string,
): Promise<void> {
  // After this gateway became a member: whoever moves it takes the duty first, and then looks for members.
  const members = (await cluster?.members()) ?? [];
  const mover = members.find(({ id, duties }) => id !== cluster?.id && duties.includes(MOVE_DUTY));
  if (mover !== undefined)
    throw new StartError(
      'temporary',
      `The spool ${where} is being moved by "smtp2exchange spool move" on ${mover.host}: start the gateway when that is done`,
    );
  const mark = await moveMark(spool);
  if (mark === undefined) return;
  throw new StartError(mark.what === 'moved' ? 'configuration' : 'temporary', whyNotUsed(mark, where));
}

/**
 * One that was cut off from the database while its spool was moved finds out when it is back.
 * @returns ends it
 */
export function watchMoved(
  spool: Pick<Spool, 'cursor'>,
  cluster: Cluster | undefined,
  where: string,
  onMoved: (error: Error) => void,
): () => Promise<void> {
  // A file that is in use cannot be moved.
  if (cluster === undefined) return async () => undefined;
  const looking = setInterval(() => {
    moveMark(spool).then(
      (mark) => mark !== undefined && onMoved(new Error(whyNotUsed(mark, where))),
      () => undefined, // the spool reports its trouble itself
    );
  }, cluster.lease);
  return async () => clearInterval(looking);
}
