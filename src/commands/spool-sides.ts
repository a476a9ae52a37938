/**
 * The two spools of a move: which they are, opened, and nobody else at work on them. Throws CommandFault with what to do: 64
 * for what makes no sense, 75 if one is in use or cannot be reached, 78 for the configuration.
 */
import { existsSync, realpathSync } from 'node:fs';
import { CLOCKS, takeDuty } from '../assembly/held-duty.ts';
import type { HeldDuty } from '../assembly/held-duty.ts';
import { openSpool, spoolName } from '../assembly/spool.ts';
import type { OpenedSpool } from '../assembly/spool.ts';
import { asStartError, StartError } from '../assembly/start-error.ts';
import type { StoreConfig } from '../config/config.ts';
import { loadSpool, loadStore, renderFaults } from '../config/load.ts';
import type { PlacedStore, StorePlace } from '../config/store-place.ts';
import type { Event } from '../mail/event.ts';
import { SpoolError } from '../mail/spool.ts';
import { MOVE_DUTY } from '../spool/move-mark.ts';
import { CommandFault, EXIT } from './outcome.ts';
import type { SpoolSettings } from './queue-reach.ts';
import { version } from './version.ts';

/** A spool that the command line names. */
export interface Side {
  /** The option that it was given with. */
  readonly option: string;
  readonly place: StorePlace;
}

/** Where a spool is. */
export interface Place {
  readonly store: StoreConfig;
  /** For people, without a secret. */
  readonly name: string;
  /** The line of the configuration that names it; absent: it is named there already. */
  readonly setting?: string;
}

export interface OpenSide extends Place {
  readonly spool: OpenedSpool['spool'];
  /** Aborts when somebody else has begun to work on it; the reason says who. */
  readonly disturbed: AbortSignal;
  close(): Promise<void>;
}

export async function readSettings(configFile: string): Promise<SpoolSettings> {
  const settings = await loadSpool(configFile);
  if ('faults' in settings) throw new CommandFault(EXIT.configuration, renderFaults(settings.faults));
  return settings;
}

/** @param side absent: the one of the configuration */
export async function placeOf(side: Side | undefined, settings: SpoolSettings, configFile: string): Promise<Place> {
  if (side === undefined) {
    const { store } = settings.spool;
    if (store.kind === 'unread') throw new CommandFault(EXIT.configuration, renderFaults(store.faults));
    return { store, name: spoolName(store) };
  }
  const placed = await loadStore(side.place, configFile, settings);
  if (!placed.ok) {
    const { problem, hint } = placed;
    throw new CommandFault(EXIT.configuration, `${side.option} ${problem}${hint === undefined ? '' : `: ${hint}`}`);
  }
  const { store, setting }: PlacedStore = placed.value;
  return { store, setting, name: spoolName(store) };
}

export function areSame(one: Place, other: Place): boolean {
  return real(one) === real(other);
}

function real({ store, name }: Place): string {
  try {
    return store.kind === 'sqlite' ? realpathSync(store.path) : name;
  } catch {
    return name;
  }
}

/** @param mustExist a file that is not there is no empty spool, but a mistake */
export async function openSide(
  place: Place,
  { spool, verifyAfter, first }: SpoolSettings,
  mustExist: boolean,
  warn: (line: string) => void,
): Promise<OpenSide> {
  const { store, name } = place;
  if (mustExist && store.kind === 'sqlite' && !existsSync(store.path))
    throw new CommandFault(EXIT.configuration, `There is no spool at ${name}`);
  const report = (event: Event): void => {
    if (event.event === 'spool.trouble') warn(`The spool ${name} is in trouble (${event.trouble}): ${event.detail}`);
  };
  let opened: OpenedSpool | undefined;
  try {
    const plan = { spool: { ...spool, store }, retry: { verifyAfter }, pacing: { first } };
    opened = await openSpool(plan, { report, version: version() });
    const alone = await beAlone(opened, name);
    const { spool: itself } = opened;
    return {
      ...place,
      spool: itself,
      disturbed: alone.disturbed,
      async close() {
        await alone.end();
        await itself.close();
      },
    };
  } catch (error) {
    await opened?.spool.close();
    throw asFault(error, name);
  }
}

/** SQLite's lock has let in this process alone; a database lets in everybody. */
async function beAlone(
  { cluster }: OpenedSpool,
  name: string,
): Promise<{ readonly disturbed: AbortSignal; end(): Promise<void> }> {
  const disturbed = new AbortController();
  if (cluster === undefined) return { disturbed: disturbed.signal, end: async () => undefined };
  const duty: HeldDuty | undefined = await takeDuty(cluster, MOVE_DUTY, CLOCKS);
  if (duty === undefined) throw new CommandFault(EXIT.temporary, `Another "spool move" is at work on ${name}`);
  const others = async (): Promise<readonly string[]> =>
    (await cluster.members()).filter(({ id }) => id !== cluster.id).map(({ host }) => host);
  // In this order: a gateway that becomes a member looks for the duty afterwards.
  const hosts = await others();
  if (hosts.length > 0) {
    await duty.leave();
    const seconds = Math.ceil(cluster.lease / 1000);
    throw new CommandFault(
      EXIT.temporary,
      `Gateways work on ${name}: ${[...new Set(hosts)].join(', ')}. Stop them, then run this again; one that was killed is forgotten after ${seconds} s`,
    );
  }
  const disturb = (why: string): void => disturbed.abort(new CommandFault(EXIT.temporary, why));
  const look = (): void => {
    others().then(
      ([host]) =>
        host !== undefined &&
        disturb(`A gateway on ${host} has begun to work on ${name}: stop it, then run this again`),
      () => undefined, // the move meets the same trouble, and tells
    );
  };
  const looking = setInterval(look, cluster.lease / 3);
  duty.over.addEventListener('abort', () => disturb(`The connection to ${name} was gone for too long: run this again`));
  return {
    disturbed: disturbed.signal,
    async end() {
      clearInterval(looking);
      await duty.leave();
    },
  };
}

/** @param name of the spool, where it is known */
export function asFault(error: unknown, name?: string): unknown {
  if (error instanceof SpoolError && error.trouble === 'locked' && name !== undefined)
    return new CommandFault(
      EXIT.temporary,
      `The spool ${name} is in use, by a gateway or another command: stop that first, then run this again`,
      { cause: error },
    );
  const start = asStartError(error);
  if (!(start instanceof StartError)) return error;
  const code = { temporary: EXIT.temporary, configuration: EXIT.configuration, failed: EXIT.failed }[start.kind];
  return new CommandFault(code, start.message, { cause: error });
}
