/**
 * The spool's figures for a scrape: asked at most once at a time, waited for at most so long. Where they do not come,
 * the last ones stand, and the failure is told. Never rejects.
 */
import type { SpoolStats } from '../mail/spool.ts';

export interface StatsReader {
  /** Undefined: there were none yet. */
  read(): Promise<SpoolStats | undefined>;
}

/**
 * @param ask undefined: the spool is not open yet
 * @param limit milliseconds
 * @param failed told of every answer that failed or came too late
 */
export function statsReader(
  ask: () => Promise<SpoolStats | undefined>,
  limit: number,
  failed: () => void,
): StatsReader {
  let last: SpoolStats | undefined;
  let flight: Promise<void> | undefined;

  const fetch = async (): Promise<void> => {
    try {
      last = (await ask()) ?? last;
    } catch {
      // The spool reports its trouble itself.
      failed();
    } finally {
      flight = undefined;
    }
  };
  return {
    async read() {
      flight ??= fetch();
      const { promise: late, resolve } = Promise.withResolvers<'late'>();
      const timer = setTimeout(resolve, limit, 'late' as const);
      if ((await Promise.race([flight, late])) === 'late') failed();
      clearTimeout(timer);
      return last;
    },
  };
}
