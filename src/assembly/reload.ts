/**
 * The configuration file read anew and taken into use, whole or not at all. What can be applied while sessions and attempts
 * go on is (config/changes.ts says how each setting is), what cannot is named, and what is wrong leaves all as it was.
 */
import { appliedNow, changesBetween } from '../config/changes.ts';
import type { Config } from '../config/config.ts';
import type { Loaded } from '../config/load.ts';
import { renderFault } from '../config/load.ts';
import type { Report } from '../mail/event.ts';
import { readingAccountsOf } from './mailboxes.ts';
import type { Follow } from './step.ts';
import { goOver } from './step.ts';
import { accountsOf } from './way-out.ts';

/** Paths of settings, never values. */
export type Reloaded =
  | { readonly ok: true; readonly changed: readonly string[]; readonly needsRestart: readonly string[] }
  /** A line each. */
  | { readonly ok: false; readonly faults: readonly string[] };

export interface ReloadParts {
  /** Its name, for the log. */
  readonly file: string;
  readonly reread: () => Promise<Loaded>;
  readonly inUse: () => Config;
  /** All that follow, in the order in which they are taken. */
  readonly parts: readonly Follow[];
  /** The gateway ends. */
  readonly ending: AbortSignal;
  readonly report: Report;
}

/** One after the other, each for whoever asked; a call while one is under way reads the file once more after it. Never rejects. */
export function reloader(options: ReloadParts): (by?: string) => Promise<Reloaded> {
  let last: Promise<unknown> = Promise.resolve();
  return (by) => {
    const turn = last.then(() => reload(options, by));
    last = turn;
    return turn;
  };
}

const STOPPING: Reloaded = { ok: false, faults: ['The gateway is stopping'] };

async function reload(
  { file: config, reread, inUse, parts, ending, report }: ReloadParts,
  by: string | undefined,
): Promise<Reloaded> {
  const asked = by === undefined ? {} : { by };
  const refuse = (faults: readonly string[]): Reloaded => {
    report({ event: 'config.refused', config, ...asked, faults });
    return { ok: false, faults };
  };
  if (ending.aborted) return STOPPING;
  const loaded = await reread();
  if (ending.aborted) return STOPPING;
  if ('faults' in loaded) return refuse(loaded.faults.map(renderFault));
  const before = inUse();
  const next = appliedNow(before, loaded.config);
  try {
    await goOver(parts, next, before, ending);
  } catch (error) {
    if (ending.aborted) return STOPPING;
    return refuse([error instanceof Error ? error.message : String(error)]);
  }
  const changes = changesBetween(before, loaded.config);
  report({ event: 'config.reloaded', config, ...asked, ...changes, removed: removedBetween(before, next) });
  return { ok: true, ...changes };
}

/** What asks for tokens, by the names of events and metrics. */
export function accountsIn({ routes, pickups }: Config): readonly string[] {
  return routes.flatMap((route) => [...accountsOf(route), ...readingAccountsOf(route, pickups)]);
}

function removedBetween(before: Config, after: Config) {
  const gone = (list: 'listeners' | 'routes' | 'pickups'): readonly string[] => {
    const names = new Set(after[list].map(({ name }) => name));
    return before[list].map(({ name }) => name).filter((name) => !names.has(name));
  };
  const kept = new Set(accountsIn(after));
  const accounts = accountsIn(before).filter((account) => !kept.has(account));
  return { listeners: gone('listeners'), routes: gone('routes'), pickups: gone('pickups'), accounts };
}
