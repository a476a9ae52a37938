/** What the gateway knows of itself at this moment: for the overview, and as JSON for programs. Never fails. */
import type { SpoolStats } from '../mail/spool.ts';
import type { BoardState, Flow } from './board.ts';
import { FLOWS } from './board.ts';
import type { Problem } from './problems.ts';
import { problemsOf } from './problems.ts';

export interface Look {
  readonly board: BoardState;
  readonly flow: Readonly<Record<Flow, readonly number[]>> & { readonly endsAt: number };
  /** Undefined: the store does not answer. */
  readonly stats: SpoolStats | undefined;
  readonly problems: readonly Problem[];
  readonly ready: boolean;
  readonly now: number;
}

export interface LookOptions {
  readonly board: () => BoardState;
  readonly flow: (now: number) => Look['flow'];
  readonly stats: () => Promise<SpoolStats>;
  readonly ready: () => { readonly ready: boolean; readonly reasons: readonly string[] };
  readonly now: () => number;
  /** Milliseconds that figures are waited for, default 2,000. */
  readonly patience?: number;
}

export async function lookNow({ board, flow, stats, ready, now, patience = 2_000 }: LookOptions): Promise<Look> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, patience, undefined);
  const figures = await Promise.race([stats().catch(() => undefined), late]);
  clearTimeout(timer);
  const state = ready();
  const at = now();
  return {
    board: board(),
    flow: flow(at),
    stats: figures,
    problems: problemsOf(board(), figures, state.reasons),
    ready: state.ready,
    now: at,
  };
}

/** Times are ISO 8601 in UTC. */
export function lookJson(look: Look, version: string, gateway: string): object {
  const { board, flow, stats, problems, ready, now } = look;
  const { startedAt, routes, accounts, listeners, pickups, alarms, lately } = board;
  const named = (map: ReadonlyMap<string, object>): object[] =>
    [...map].map(([name, state]) => ({ name, ...inUtc(state) }));
  return {
    gateway,
    version,
    now: utc(now),
    startedAt: utc(startedAt),
    ready,
    problems: problems.map(({ severity, title, text, since }) => ({
      severity,
      title,
      text,
      ...(since === undefined ? {} : { since: utc(since) }),
    })),
    ...(stats === undefined ? {} : { queue: { ...inUtc(stats) } }),
    lastHour: { ...Object.fromEntries(FLOWS.map((name) => [name, flow[name]])), endsAt: utc(flow.endsAt) },
    routes: named(routes),
    accounts: named(accounts),
    listeners: named(listeners),
    pickups: named(pickups),
    alarms: [...alarms].map(([alarm, state]) => ({ alarm, ...inUtc(state) })),
    lately: lately.map(({ at, ...rest }) => ({ at: utc(at), ...rest })),
  };
}

const TIMES: ReadonlySet<string> = new Set([
  'since',
  'until',
  'changedAt',
  'tokenUntil',
  'credentialEnds',
  'certificateEnds',
  'lastLook',
  'oldest',
]);

function inUtc(state: object): object {
  return Object.fromEntries(
    Object.entries(state).map(([name, value]: [string, unknown]) => [
      name,
      typeof value === 'number' && TIMES.has(name)
        ? utc(value)
        : typeof value === 'object' && value !== null
          ? inUtc(value)
          : value,
    ]),
  );
}

export function utc(time: number): string {
  return Math.abs(time) <= 8.64e15 ? new Date(time).toISOString() : String(time);
}
