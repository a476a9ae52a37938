/**
 * `spool move`: all mail of one spool into another one, while no gateway works on either. What has been put over stays so,
 * whatever ends it; the same command goes on. Throws CommandFault for everything a user can mend.
 */
import { dirname, resolve } from 'node:path';
import { pathIn } from '../config/store-place.ts';
import { moveMark, setMoveMark, whyNotUsed } from '../spool/move-mark.ts';
import { nothingYet, transfer } from '../spool/transfer.ts';
import type { Transferred } from '../spool/transfer.ts';
import type { ExitCode, Terminal } from './outcome.ts';
import { CommandFault, EXIT } from './outcome.ts';
import type { SpoolSettings } from './queue-reach.ts';
import { json } from './queue-text.ts';
import type { Moved } from './spool-move-text.ts';
import { howFar, moveJson, moveText } from './spool-move-text.ts';
import { areSame, asFault, openSide, placeOf, readSettings } from './spool-sides.ts';
import type { OpenSide, Place, Side } from './spool-sides.ts';

export type { Side } from './spool-sides.ts';

export interface MoveOrder {
  readonly configFile: string;
  /** Absent: the spool of the configuration. One of the two is given. */
  readonly from: Side | undefined;
  readonly to: Side | undefined;
  readonly isJson: boolean;
}

/** Milliseconds between lines that tell how far it is. */
const TOLD_EVERY = 30_000;
/** Milliseconds between changes of the line that is written over. */
const SHOWN_EVERY = 200;

export async function moveSpool({ configFile, from, to, isJson }: MoveOrder, terminal: Terminal): Promise<ExitCode> {
  const settings = await readSettings(configFile);
  const source = await placeOf(from, settings, configFile);
  const target = await placeOf(to, settings, configFile);
  if (areSame(source, target)) throw new CommandFault(EXIT.usage, same(source, from, configFile));
  const emptied = await openSide(source, settings, true, terminal);
  try {
    const filled = await openSide(target, settings, false, terminal);
    try {
      await refuseUnfinished(emptied, filled);
      const done = nothingYet();
      const fault = await carry(emptied, filled, done, terminal);
      const moved: Moved = { from: source.name, to: target.name, done, isWhole: fault === undefined };
      const advice = fault === undefined ? adviceOf(source, target, settings, configFile) : [];
      if (isJson) terminal.print(json(moveJson(moved, advice)));
      else for (const line of moveText(moved, advice, configFile)) terminal.print(line);
      if (fault !== undefined) throw fault;
      return done.left.length === 0 ? EXIT.done : EXIT.failed;
    } finally {
      await filled.close();
    }
  } finally {
    await emptied.close();
  }
}

/** Another move has its end first: what it has begun would be in three places. */
async function refuseUnfinished(from: OpenSide, to: OpenSide): Promise<void> {
  for (const [side, other] of [
    [from, to],
    [to, from],
  ] as const) {
    const mark = await moveMark(side.spool);
    if (mark === undefined || mark.other === other.name) continue;
    if (mark.what !== 'moved') throw new CommandFault(EXIT.configuration, whyNotUsed(mark, side.name));
    const isEmpty = (await side.spool.kept(undefined, 1)).length === 0;
    if (side === from && isEmpty)
      throw new CommandFault(EXIT.configuration, `There is no mail in ${side.name}: it was moved to ${mark.other}`);
  }
}

/** @returns what kept it from its end */
async function carry(
  from: OpenSide,
  to: OpenSide,
  done: Transferred,
  { stop: asked, progress, complain }: Terminal,
): Promise<unknown> {
  const stop = AbortSignal.any([asked, from.disturbed, to.disturbed]);
  const total = await from.spool.stats().catch(() => undefined);
  let toldAt = performance.now();
  let shownAt = -Infinity;
  const tell = (so: Transferred): void => {
    const now = performance.now();
    if (now - shownAt < SHOWN_EVERY) return;
    shownAt = now;
    const line = howFar(so, total);
    if (now - toldAt > TOLD_EVERY) {
      toldAt = now;
      progress('');
      complain(line);
    }
    progress(line);
  };
  try {
    const names = { from: from.name, to: to.name };
    if (await transfer(from.spool, to.spool, done, { names, stop, progress: tell })) return undefined;
    return asked.aborted ? new CommandFault(EXIT.temporary, 'You stopped it: run it again to go on') : stop.reason;
  } catch (error) {
    return stop.aborted && !asked.aborted ? stop.reason : asFault(error);
  } finally {
    progress('');
  }
}

function same({ name }: Place, from: Side | undefined, configFile: string): string {
  return from === undefined
    ? `${configFile} has the mail in ${name} already: name where it is now with --from, or another place with --to`
    : `${name} cannot be moved into itself: ${configFile} has the mail there already`;
}

/** What has to be written into the configuration, a line each; empty: nothing. */
function adviceOf(source: Place, target: Place, { spool }: SpoolSettings, configFile: string): readonly string[] {
  if (target.setting === undefined) return [];
  const around = dirname(resolve(configFile));
  // What is this machine's own stays where it is.
  const folder = pathIn(around, spool.folder);
  const isKept = source.store.kind === 'sqlite' && target.store.kind === 'postgres' && folder !== 'data';
  return [target.setting, ...(isKept ? [`folder: ${folder}`] : [])];
}

/** The other spool is lost for good: the one of the configuration is a spool like any other again. */
export async function giveUpMove(configFile: string, terminal: Terminal): Promise<ExitCode> {
  const settings = await readSettings(configFile);
  const place = await placeOf(undefined, settings, configFile);
  const side = await openSide(place, settings, true, terminal);
  try {
    const mark = await moveMark(side.spool);
    if (mark === undefined) terminal.print(`No move of ${side.name} is under way: a gateway can use it as it is`);
    else {
      await setMoveMark(side.spool, undefined);
      terminal.print(
        `${side.name} is a spool like any other again. What is in ${mark.other} stays there: no gateway may use that one now, mail could be sent twice`,
      );
    }
    return EXIT.done;
  } catch (error) {
    throw asFault(error, side.name);
  } finally {
    await side.close();
  }
}
