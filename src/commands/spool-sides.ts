/**
 * The two spools of a move: which they are, opened, and nobody else at work on them. Throws CommandFault with what to do: 64
 * for what makes no sense, 75 if one is in use or cannot be reached, 78 for the configuration.
 */
import { existsSync, realpathSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { CLOCKS, takeDuty } from '../assembly/held-duty.ts';
import type { HeldDuty } from '../assembly/held-duty.ts';
import { openSpool, spoolName } from '../assembly/spool.ts';
import type { OpenedSpool } from '../assembly/spool.ts';
import { asStartError, StartError } from '../assembly/start-error.ts';
import type { StoreConfig } from '../config/config.ts';
import { loadSpool, loadStore, renderFaults } from '../config/load.ts';
import type { PlacedStore, StorePlace } from '../config/store-place.ts';
import type { Cluster, Member } from '../mail/cluster.ts';
import type { Event } from '../mail/event.ts';
import { SpoolError } from '../mail/spool.ts';
import { MOVE_DUTY } from '../spool/move-mark.ts';
import { CommandFault, EXIT } from './outcome.ts';
import type { Terminal } from './outcome.ts';
import type { SpoolSettings } from './queue-reach.ts';
import { version } from './version.ts';

/** Milliseconds between questions who is at work, and beyond a lease until that is decided. */
const ASKED_EVERY = 500;
const PATIENCE = 2_000;
/** Looks, three in a lease, after which one who is there has come to stay. */
const STAYED = 3;

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
  terminal: Terminal,
): Promise<OpenSide> {
  const { store, name } = place;
  if (mustExist && store.kind === 'sqlite' && !existsSync(store.path))
    throw new CommandFault(EXIT.configuration, `There is no spool at ${name}`);
  const report = (event: Event): void => {
    if (event.event === 'spool.trouble')
      terminal.complain(`The spool ${name} is in trouble (${event.trouble}): ${event.detail}`);
  };
  let opened: OpenedSpool | undefined;
  try {
    const plan = { spool: { ...spool, store }, retry: { verifyAfter }, pacing: { first } };
    opened = await openSpool(plan, { report, version: version() });
    const alone = await beAlone(opened, name, terminal);
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
  { stop, progress }: Pick<Terminal, 'stop' | 'progress'>,
): Promise<{ readonly disturbed: AbortSignal; end(): Promise<void> }> {
  const disturbed = new AbortController();
  if (cluster === undefined) return { disturbed: disturbed.signal, end: async () => undefined };
  const duty = await takeMove(cluster, name, stop, progress).finally(() => progress(''));
  const disturb = (why: string): void => disturbed.abort(new CommandFault(EXIT.temporary, why));
  /** By how many looks in a row each was seen: a gateway that finds the duty taken is gone at the next. */
  let seen = new Map<string, number>();
  const look = async (): Promise<void> => {
    const others = await othersOf(cluster);
    seen = new Map(others.map(({ id }) => [id, (seen.get(id) ?? 0) + 1]));
    const one = others.find(({ id, sending }) => sending > 0 || (seen.get(id) ?? 0) >= STAYED);
    if (one !== undefined) disturb(`A gateway on ${one.host} works on ${name}: stop it, then run this again`);
  };
  // The move meets the same trouble, and tells.
  const looking = setInterval(() => void look().catch(() => undefined), cluster.lease / 3);
  duty.over.addEventListener('abort', () => disturb(`The connection to ${name} was gone for too long: run this again`));
  return {
    disturbed: disturbed.signal,
    async end() {
      clearInterval(looking);
      await duty.leave();
    },
  };
}

/** One that was killed seems to be at work for a lease: it is waited for. One that goes on saying so is not. */
async function takeMove(
  cluster: Cluster,
  name: string,
  stop: AbortSignal,
  progress: (line: string) => void,
): Promise<HeldDuty> {
  const begun = performance.now();
  const firstSeen = new Map<string, number>();
  let duty: HeldDuty | undefined;
  for (;;) {
    duty ??= await takeDuty(cluster, MOVE_DUTY, CLOCKS);
    // In this order: a gateway that becomes a member looks for the duty afterwards.
    const others = await othersOf(cluster);
    if (duty !== undefined && others.length === 0) return duty;
    const isOver = performance.now() - begun > cluster.lease + PATIENCE || stop.aborted;
    const alive = others.filter(({ id, seenAt }) => seenAt > (firstSeen.get(id) ?? seenAt));
    if (isOver || alive.length > 0) {
      await duty?.leave();
      throw new CommandFault(EXIT.temporary, whoWorks(alive.length > 0 ? alive : others, name));
    }
    for (const { id, seenAt } of others) if (!firstSeen.has(id)) firstSeen.set(id, seenAt);
    const hosts = [...new Set(others.map(({ host }) => host))].join(', ');
    progress(`Waiting whether anybody still works on ${name}${hosts === '' ? '' : ` (${hosts})`}…`);
    await pause(ASKED_EVERY);
  }
}

async function othersOf(cluster: Cluster): Promise<readonly Member[]> {
  return (await cluster.members()).filter(({ id }) => id !== cluster.id);
}

function whoWorks(others: readonly Member[], name: string): string {
  const hosts = [...new Set(others.map(({ host }) => host))].join(', ');
  return others.length === 0 || others.some(({ duties }) => duties.includes(MOVE_DUTY))
    ? `Another "spool move" is at work on ${name}${hosts === '' ? '' : ` (${hosts})`}`
    : `Gateways work on ${name}: ${hosts}. Stop them, then run this again`;
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
