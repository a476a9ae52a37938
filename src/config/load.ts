/**
 * A configuration file becomes a Config, or the list of everything that is wrong with it. Never rejects; a fault never
 * holds a value of the file, of a file it names or of the environment. The only reader of process.env.
 */
import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, resolve } from 'node:path';
import { checkTogether } from './check.ts';
import type { Config, StoreConfig } from './config.ts';
import { parseText } from './document.ts';
import type { Environment } from './environment.ts';
import { inOrder, pathText } from './fault.ts';
import type { ConfigFault, Path, Position } from './fault.ts';
import { whyUnreadable } from './files.ts';
import { pickupName } from './pickup-check.ts';
import { readTree } from './reader.ts';
import { buildConfig, fetchNamed } from './resolve.ts';
import type { Surroundings } from './resolve.ts';
import { DEFAULT_ROUTE } from './routes.ts';
import { ROOT } from './settings.ts';
import type { Settings } from './settings.ts';
import type { SoundSettings } from './sound.ts';
import { storeAt } from './store-place.ts';
import type { PlacedStore, StorePlace } from './store-place.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';
import { spoolOf } from './spool.ts';
import { checkSpool, readUrl } from './spool-check.ts';

export type { Config } from './config.ts';
export type { ConfigFault } from './fault.ts';
export { renderFault, renderFaults } from './fault.ts';

export type Loaded =
  | { readonly config: Config }
  /** In the order of the file; at least one. */
  | { readonly faults: readonly ConfigFault[] };

/** @param machine what the machine calls itself: `hostname` unless it is set */
export async function loadConfig(
  file: string,
  environment: Environment = process.env,
  machine: string = hostname(),
): Promise<Loaded> {
  const faults: ConfigFault[] = [];
  const report = (at: Position, path: string, problem: string, hint?: string): void => {
    faults.push({ file, ...at, path, problem, ...(hint !== undefined && { hint }) });
  };
  const text = await readText(file);
  if (!text.ok) {
    report(text.at, '', text.problem, text.hint);
    return { faults };
  }
  const around = { folder: dirname(resolve(file)), environment, machine };
  const config = await configOf(text.value, around, report);
  return config === undefined || faults.length > 0 ? { faults: inOrder(faults) } : { config };
}

/** What of a configuration the spool needs. */
export type LoadedSpool =
  | {
      readonly spool: Omit<Config['spool'], 'store'> & { readonly store: StoreConfig | UnreadStore };
      readonly verifyAfter: number;
      readonly first: Config['pacing']['first'];
      /** Names of the ways out, pickups' among them, as far as they can be read. At least one. */
      readonly routes: readonly string[];
      /** All settings, as far as they can be read without secrets; nothing has been checked together. */
      readonly sound: SoundSettings;
    }
  | { readonly faults: readonly ConfigFault[] };

/** A database whose URL whoever asks cannot read: it is the gateway's secret, and the gateway can still be asked. */
export interface UnreadStore {
  readonly kind: 'unread';
  /** Why not. At least one. */
  readonly faults: readonly ConfigFault[];
}

/**
 * For a command that works on the spool alone, beside the gateway or in its place: whoever runs it need not have the
 * gateway's secrets, so that faults of other sections are none here.
 */
export async function loadSpool(file: string, environment: Environment = process.env): Promise<LoadedSpool> {
  const faults: ConfigFault[] = [];
  const text = await readText(file);
  if (!text.ok) {
    const { problem, hint } = text;
    return { faults: [{ file, ...text.at, path: '', problem, ...(hint !== undefined && { hint }) }] };
  }
  const { root, faults: syntax } = parseText(text.value);
  for (const { at, problem, hint } of syntax)
    faults.push({ file, ...at, path: '', problem, ...(hint !== undefined && { hint }) });
  if (root === undefined && syntax.length === 0)
    faults.push({ file, ...WHOLE, path: '', problem: NOTHING, hint: START });
  if (root === undefined) return { faults: inOrder(faults) };
  const unread: ConfigFault[] = [];
  const add = (list: ConfigFault[], at: Position, path: Path, problem: string, hint?: string): void => {
    list.push({ file, ...at, path: pathText(path), problem, ...(hint !== undefined && { hint }) });
  };
  const { value, wasGiven, locate } = readTree(root, ROOT, environment, (at, path, problem, hint) => {
    // Of the top, all: a section that is misspelt may be one of these.
    const isOurs = path.length < 2 || OF_SPOOL.has(String(path[0]));
    if (isOurs) add(pathText(path) === 'spool.postgres' ? unread : faults, at, path, problem, hint);
  });
  checkSpool({ wasGiven, fault: (path, problem, hint) => add(faults, locate(path), path, problem, hint) });
  if (faults.length > 0) return { faults: inOrder(faults) };
  const { spool, retry, pacing } = value as Settings;
  const sound = value as SoundSettings;
  const { routes = [], pickup = [] } = sound;
  const folder = dirname(resolve(file));
  const url = spool.postgresFile === undefined ? undefined : await readUrl(folder, spool.postgresFile);
  if (url?.ok === false)
    add(unread, locate(['spool', 'postgresFile']), ['spool', 'postgresFile'], url.problem, url.hint);
  const own = spoolOf(spool, url?.ok === true ? url.value : undefined, folder);
  return {
    sound,
    spool:
      unread.length === 0
        ? own
        : { ...own, folder: resolve(folder, spool.folder), store: { kind: 'unread', faults: inOrder(unread) } },
    verifyAfter: retry.verifyAfter,
    first: pacing.first,
    routes: [
      DEFAULT_ROUTE,
      ...routes.flatMap((route) => route?.name ?? []),
      ...pickup.flatMap((one, index) => one?.name ?? (wasGiven(['pickup', index, 'name']) ? [] : pickupName(index))),
    ],
  };
}

/** The spool that a command line names, by what the configuration `file` says otherwise. */
export async function loadStore(
  place: StorePlace,
  file: string,
  { sound }: Pick<Exclude<LoadedSpool, { readonly faults: unknown }>, 'sound'>,
  environment: Environment = process.env,
): Promise<Value<PlacedStore>> {
  const { spool: settings } = sound as Settings;
  return storeAt(place, { settings, folder: dirname(resolve(file)), cwd: resolve(), environment });
}

const OF_SPOOL: ReadonlySet<string> = new Set(['spool', 'retry', 'pacing']);

type ReportFault = (at: Position, path: string, problem: string, hint?: string) => void;

const WHOLE: Position = { line: 0, column: 0 };

async function configOf(text: string, around: Surroundings, report: ReportFault): Promise<Config | undefined> {
  let sound = true;
  const fault = (at: Position, path: string, problem: string, hint?: string): void => {
    sound = false;
    report(at, path, problem, hint);
  };
  const { root, faults } = parseText(text);
  for (const { at, problem, hint } of faults) fault(at, '', problem, hint);
  if (root === undefined) {
    if (sound) fault(WHOLE, '', NOTHING, START);
    return undefined;
  }
  const unread: string[] = [];
  const complain = (at: Position, path: Path, problem: string, hint?: string): void =>
    fault(at, pathText(path), problem, hint);
  const read = readTree(root, ROOT, around.environment, (at, path, problem, hint) => {
    unread.push(pathText(path));
    complain(at, path, problem, hint);
  });
  if (read.value !== undefined) {
    // The reader leaves out what is faulty and nothing else.
    const settings = read.value as SoundSettings;
    const faultAt = (path: Path, problem: string, hint?: string): void =>
      complain(read.locate(path), path, problem, hint);
    const isWhole = (path: Path): boolean => {
      const whole = pathText(path);
      return !unread.some((one) => one === whole || one.startsWith(`${whole}.`) || one.startsWith(`${whole}[`));
    };
    checkTogether(settings, { fault: faultAt, wasGiven: read.wasGiven, isWhole });
    const fetched = await fetchNamed(settings, around, faultAt);
    if (sound) return buildConfig(settings as Settings, fetched, around);
  }
  return undefined;
}

const NOTHING = 'holds no settings';
const START = 'copy config.yaml of the project and fill in its ids';

/** UTF-8, with or without byte order mark. */
async function readText(file: string): Promise<Value<string> & { readonly at: Position }> {
  let content;
  try {
    content = await readFile(file);
  } catch (error) {
    return { ...bad(whyUnreadable(error), `${START}, or name another file with --config`), at: WHOLE };
  }
  if (content.length >= 2 && [0xfffe, 0xfeff].includes(content.readUInt16BE(0))) {
    return { ...bad('is in UTF-16', 'save it as UTF-8'), at: WHOLE };
  }
  const text = content.toString('utf8').replace(/^\uFEFF/, '');
  if (isUtf8(content)) return { ...good(text), at: WHOLE };
  const before = text.slice(0, text.indexOf('\uFFFD')).split('\n');
  const at = { line: before.length, column: (before.at(-1) ?? '').length + 1 };
  return { ...bad('a character is not in UTF-8', 'save the file as UTF-8'), at };
}
