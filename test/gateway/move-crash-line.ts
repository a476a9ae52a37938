/**
 * A spool that is moved there and back between two places, by real processes that are killed again and again (SIGKILL, at
 * any moment of their life). Each move that comes to its end is compared with what there was.
 */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { MovableSpool } from '../../src/mail/spool.ts';
import { MOVE_MARK } from '../../src/spool/move-mark.ts';
import { openPostgresSpool } from '../../src/spool/postgres.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';
import { bookOf, fillSpool } from '../spool/contract-moving.ts';
import type { PostgresServer } from '../spool/postgres-server.ts';
import { entry } from '../spool/spool-under-test.ts';
import { CommandProcess } from './command-process.ts';

export interface CrashPlace {
  /** As the command line names it. */
  readonly words: readonly string[];
  /** What the process needs for that. */
  readonly environment?: Readonly<Record<string, string>>;
  open(now?: () => number): Promise<MovableSpool>;
  /** What was killed is forgotten at once, and not only after a lease. */
  forget?(): Promise<void>;
}

export interface MoveCrash {
  readonly kills: number;
  /** Moves that came to their end, and in how many processes: as many were killed as there are more. */
  readonly moves: number;
  /** The most processes that one move took. */
  readonly most: number;
  /** Messages that a process found put over already: what was killed just then. */
  readonly already: number;
}

/** A configuration in which only the spool counts. */
export function nothingElse(spool: string): string {
  return `listeners: [{ name: lan, address: 127.0.0.1, port: 0 }]
senders: { mailbox: a@contoso.com }
exchange: { clientSecret: secret }
spool: { ${spool} }
`;
}

export function filePlace(folder: string, name: string): CrashPlace {
  const path = join(folder, name);
  return {
    words: ['--to', path],
    open: (now) =>
      openSqliteSpool({ path, report: () => undefined, first: ['small'], ...(now === undefined ? {} : { now }) }),
  };
}

/** The database at `url`, as `variable` of the environment names it. */
export function databasePlace(server: PostgresServer, database: string, variable: string): CrashPlace {
  const url = server.url(database);
  return {
    words: ['--to', `env:${variable}`],
    environment: { [variable]: url },
    open: async (now) => {
      const options = { url, connections: 4, lease: 2_000, first: ['small'] as const, report: () => undefined };
      return (await openPostgresSpool({ ...options, ...(now === undefined ? {} : { now }) })).spool;
    },
    async forget() {
      await server.sql('UPDATE smtp2exchange.member SET seen = 0', database).catch(() => undefined);
      await server.sql('UPDATE smtp2exchange.duty SET until = 0', database).catch(() => undefined);
    },
  };
}

const DAY = 86_400_000;
const SMALL = 300;

/**
 * @param places `from` is empty and filled here
 * @param random 0 <= random < 1
 */
export async function moveUnderKills(
  places: readonly [CrashPlace, CrashPlace],
  { folder, configFile, rounds, random }: { folder: string; configFile: string; rounds: number; random: () => number },
): Promise<MoveCrash> {
  const before = await fill(places[0]);
  const environment = { ...places[0].environment, ...places[1].environment };
  const move = (from: CrashPlace, to: CrashPlace): CommandProcess => {
    const [, at = ''] = from.words;
    const option = from.words[0]?.replace('--to', '--from') ?? '';
    const words = ['spool', 'move', option, at, ...to.words, '--config', configFile, '--json'];
    return new CommandProcess(words, folder, undefined, environment);
  };
  let [from, to] = places;
  let [kills, moves, most, already] = [0, 0, 0, 0];
  // How long a whole one takes, from the first moment in which it could do anything.
  let whole = 1_000;
  while (kills < rounds) {
    for (let tries = 1; ; tries++) {
      const begun = performance.now();
      const process = move(from, to);
      const isLast = kills >= rounds || tries > 8;
      const late = isLast ? Infinity : whole * (0.3 + 0.8 * random());
      await Promise.race([process.ended, ...(late === Infinity ? [] : [pause(late)])]);
      process.child.kill('SIGKILL');
      const { code, out, errors } = await process.ended;
      if (code === null) {
        kills++;
        for (const place of places) await place.forget?.();
        continue;
      }
      if (code !== 0) throw new Error(`spool move ended with ${code}: ${errors}${out}`);
      already += (JSON.parse(out) as { already: number }).already;
      if (tries === 1) whole = performance.now() - begun;
      most = Math.max(most, tries);
      moves++;
      break;
    }
    await compare(from, to, before);
    [from, to] = [to, from];
  }
  return { kills, moves, most, already };
}

async function fill(place: CrashPlace): Promise<Record<string, unknown>> {
  const begin = Date.now() - DAY;
  let time = begin;
  const spool = await place.open(() => time);
  await fillSpool(spool, (now) => (time = now), begin);
  const lanes = ['a@contoso.com', 'b@contoso.com', 'c@contoso.com'];
  for (let n = 0; n < SMALL; n += 50)
    await Promise.all(
      Array.from({ length: 50 }, async (_, k) => {
        const draft = spool.begin();
        await draft.write(Buffer.alloc((n + k) * 100, `${n + k} `));
        await draft.commit([entry(lanes[k % lanes.length])]);
      }),
    );
  await spool.close();
  return await look(place);
}

async function compare(from: CrashPlace, to: CrashPlace, before: Record<string, unknown>): Promise<void> {
  const there = await look(to);
  for (const [what, was] of Object.entries(before))
    if (!isDeepStrictEqual(there[what], was))
      throw new Error(`${what} is not as it was: ${differenceIn(was, there[what])}`);
  const left = await from.open();
  try {
    const kept = await left.kept(undefined, 10);
    const receipts = await left.keptReceipts(undefined, 10);
    const cursors = (await left.keptCursors()).filter(({ source }) => source !== MOVE_MARK);
    if (kept.length + receipts.length + cursors.length > 0) throw new Error('something is left where it was');
  } finally {
    await left.close();
  }
}

async function look(place: CrashPlace): Promise<Record<string, unknown>> {
  const spool = await place.open();
  try {
    return await bookOf(spool);
  } finally {
    await spool.close();
  }
}

function differenceIn(was: unknown, is: unknown): string {
  if (!Array.isArray(was) || !Array.isArray(is)) return 'another value';
  const at = was.findIndex((one, index) => !isDeepStrictEqual(one, is[index]));
  return `${was.length} became ${is.length}; first at ${at}: ${JSON.stringify(was[at])?.slice(0, 300)} / ${JSON.stringify(is[at])?.slice(0, 300)}`;
}
