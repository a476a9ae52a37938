/** The queue as the configuration has it: how fast, how often, and who is told what. Pure but for the spool it tells by. */
import type { Config } from '../config/config.ts';
import type { Spool } from '../mail/spool.ts';
import type { Transport } from '../mail/transport.ts';
import type { Bouncer } from '../queue/bounce.ts';
import { createBouncer } from '../queue/bounce.ts';
import type { QueueSettings } from '../queue/queue.ts';
import { handOversOf } from './outlets.ts';

/** Guards against what no other time-out sees; a large message on a slow line takes its time. */
const ATTEMPT_TIMEOUT = 3_600_000;

export function queueSettingsOf(
  config: Config,
  transports: ReadonlyMap<string, Transport>,
): Required<QueueSettings> & { readonly attemptTimeout: number } {
  const { retry, pacing } = config;
  const { passive, pace } = handOversOf(config);
  return {
    transports,
    passive,
    schedule: { intervals: retry.intervals, giveUpAfter: retry.giveUpAfter },
    warnAfter: retry.warnAfter,
    verifyAfter: retry.verifyAfter,
    pace: ({ route }) => pace.get(route) ?? pacing.perMailbox,
    concurrency: pacing.concurrency,
    catchUp: pacing.catchUp,
    attemptTimeout: ATTEMPT_TIMEOUT,
  };
}

/** Tells by the configuration that is in use when it is asked. */
export function bouncerOf(inUse: () => Config, spool: Spool): Bouncer {
  let made: { readonly config: Config; readonly bouncer: Bouncer } | undefined;
  const now = (): Bouncer => {
    const config = inUse();
    if (made?.config !== config) {
      const { bounces, hostname, recipients } = config;
      const pickups = handOversOf(config).notices;
      made = { config, bouncer: createBouncer({ spool, ...bounces, hostname, recipients, pickups }) };
    }
    return made.bouncer;
  };
  return {
    bounce: (...told) => now().bounce(...told),
    warn: (...told) => now().warn(...told),
    relayed: (...told) => now().relayed(...told),
  };
}
