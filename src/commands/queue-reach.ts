/**
 * The way to the mail that waits: through the running gateway, or, when none runs here, by opening its spool. The lock of a
 * file lets one in; in a database the orders go beside the work of gateways elsewhere. Throws CommandFault with what to do: 75 if it cannot be reached, 78 for the configuration.
 */
import { existsSync, realpathSync } from 'node:fs';
import { isDatabase, openSpool, spoolName } from '../assembly/spool.ts';
import type { OpenedSpool } from '../assembly/spool.ts';
import { loadSpool, renderFaults } from '../config/load.ts';
import type { LoadedSpool } from '../config/load.ts';
import { controlPath } from '../console/control.ts';
import type { Operations } from '../console/operations.ts';
import { operations } from '../console/operations.ts';
import type { Event } from '../mail/event.ts';
import { SpoolError } from '../mail/spool.ts';
import { moveMark, whyNotUsed } from '../spool/move-mark.ts';
import { controlClient, Unreachable } from './control-client.ts';
import { CommandFault, EXIT } from './outcome.ts';
import { version } from './version.ts';

export interface Reached {
  readonly operations: Operations;
  /** A gateway runs that sends what is ordered; false: it is sent at the next start of one. */
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
  const client = controlClient(controlPath(spool.folder));
  try {
    // Two spools in one folder: the other one's gateway is not to touch this one's mail.
    if (!worksOn((await client.greet()).spool, spool.store)) return undefined;
  } catch (error) {
    if (error instanceof Unreachable) return undefined;
    throw error;
  }
  return { operations: client, isRunning: true, routes, close: async () => undefined };
}

/** Whether a gateway that greets so works on this spool. */
export function worksOn(theirs: string, store: SpoolSettings['spool']['store']): boolean {
  switch (store.kind) {
    case 'sqlite':
      return real(theirs) === real(store.path);
    case 'postgres':
      return theirs === spoolName(store);
    case 'unread':
      // Which database it is, only the gateway knows; the folder is its own.
      return isDatabase(theirs);
  }
}

async function throughSpool(
  { spool, verifyAfter, first, routes }: SpoolSettings,
  configFile: string,
  warn: (line: string) => void,
): Promise<Reached> {
  const { store } = spool;
  if (store.kind === 'unread')
    throw new CommandFault(
      EXIT.configuration,
      `${renderFaults(store.faults)}\nNo gateway answers at ${controlPath(spool.folder)} that could do it instead`,
    );
  if (store.kind === 'sqlite' && !existsSync(store.path)) {
    throw new CommandFault(
      EXIT.configuration,
      `There is no spool at ${store.path}, which spool.sqlite of ${configFile} names: the gateway has not run with this configuration yet, or this is another one`,
    );
  }
  const report = (event: Event): void => {
    if (event.event === 'spool.trouble') warn(`The spool is in trouble (${event.trouble}): ${event.detail}`);
  };
  try {
    const plan = { spool: { ...spool, store }, retry: { verifyAfter }, pacing: { first } };
    const { spool: opened, cluster } = await openSpool(plan, { report, version: version(), role: 'operator' });
    await refuseHalfMoved(opened, spoolName(store));
    // Elsewhere: they are told what has come to be due.
    const isRunning = ((await cluster?.members()) ?? []).length > 0;
    return { operations: operations({ spool: opened, report }), isRunning, routes, close: () => opened.close() };
  } catch (error) {
    if (!(error instanceof SpoolError)) throw error;
    throw new CommandFault(EXIT.temporary, sentence(error, spool), { cause: error });
  }
}

/** What is ordered here could be about what is in the other spool by now. One that was moved away can be looked at. */
async function refuseHalfMoved(opened: OpenedSpool['spool'], where: string): Promise<void> {
  const mark = await moveMark(opened);
  if (mark === undefined || mark.what === 'moved') return;
  await opened.close();
  throw new CommandFault(EXIT.temporary, whyNotUsed(mark, where));
}

function sentence(error: SpoolError, { store, folder }: SpoolSettings['spool']): string {
  return error.trouble === 'locked' && store.kind === 'sqlite'
    ? `A gateway has the spool ${store.path} open, but nobody answers at its control socket ${controlPath(folder)}: its log line control.failed says why, or it is just starting or stopping`
    : error.message;
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
