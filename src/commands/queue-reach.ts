/**
 * The way to the mail that waits: through the running gateway, or, when none runs, by opening its spool. Never both: the
 * spool's lock lets one in. Throws CommandFault with what to do: 75 if it cannot be reached, 78 for the configuration.
 */
import { existsSync, realpathSync } from 'node:fs';
import { loadSpool, renderFaults } from '../config/load.ts';
import type { LoadedSpool } from '../config/load.ts';
import { controlPath } from '../console/control.ts';
import type { Operations } from '../console/operations.ts';
import { operations } from '../console/operations.ts';
import type { Event } from '../mail/event.ts';
import { SpoolError } from '../mail/spool.ts';
import { openSqliteSpool } from '../spool/sqlite.ts';
import { controlClient, Unreachable } from './control-client.ts';
import { CommandFault, EXIT } from './outcome.ts';

export interface Reached {
  readonly operations: Operations;
  /** A gateway runs and does it; false: it is done here, and sent at the gateway's next start. */
  readonly isRunning: boolean;
  /** Names of the ways out that the configuration has. */
  readonly routes: readonly string[];
  close(): Promise<void>;
}

export type SpoolSettings = Exclude<LoadedSpool, { readonly faults: unknown }>;

/** @param warn told of what happens to the spool while it is open here */
export async function reach(configFile: string, warn: (line: string) => void): Promise<Reached> {
  const settings = await loadSpool(configFile);
  if ('faults' in settings) throw new CommandFault(EXIT.configuration, renderFaults(settings.faults));
  return (await throughGateway(settings)) ?? (await throughSpool(settings, configFile, warn));
}

/** Undefined: none runs, or it works on another spool. */
export async function throughGateway({ spool, routes }: SpoolSettings): Promise<Reached | undefined> {
  const where = controlPath(spool.sqlite);
  const client = controlClient(where);
  try {
    const { spool: theirs } = await client.greet();
    // Two spools in one folder: the other one's gateway is not to touch this one's mail.
    if (real(theirs) !== real(spool.sqlite)) return undefined;
  } catch (error) {
    if (error instanceof Unreachable) return undefined;
    throw error;
  }
  return { operations: client, isRunning: true, routes, close: async () => undefined };
}

async function throughSpool(
  { spool: { sqlite, minFree, maxItems }, verifyAfter, first, routes }: SpoolSettings,
  configFile: string,
  warn: (line: string) => void,
): Promise<Reached> {
  if (!existsSync(sqlite)) {
    throw new CommandFault(
      EXIT.configuration,
      `There is no spool at ${sqlite}, which spool.sqlite of ${configFile} names: the gateway has not run with this configuration yet, or this is another one`,
    );
  }
  const report = (event: Event): void => {
    if (event.event === 'spool.trouble') warn(`The spool is in trouble (${event.trouble}): ${event.detail}`);
  };
  try {
    const opened = await openSqliteSpool({ path: sqlite, minFree, maxItems, verifyAfter, first, report });
    return { operations: operations({ spool: opened, report }), isRunning: false, routes, close: () => opened.close() };
  } catch (error) {
    if (!(error instanceof SpoolError)) throw error;
    throw new CommandFault(EXIT.temporary, sentence(error, sqlite), { cause: error });
  }
}

function sentence(error: SpoolError, sqlite: string): string {
  return error.trouble === 'locked'
    ? `A gateway has the spool ${sqlite} open, but nobody answers at its control socket ${controlPath(sqlite)}: its log line control.failed says why, or it is just starting or stopping`
    : error.message;
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
