/** What the gateway knows of itself at this moment: for the overview, and as JSON for programs. Never fails. */
import type { Member } from '../mail/cluster.ts';
import type { SpoolStats } from '../mail/spool.ts';
import type { AlarmState, BoardState, Flow } from './board.ts';
import { FLOWS } from './board.ts';
import type { Problem } from './problems.ts';
import { problemsOf } from './problems.ts';

/** Gateways on the same spool, this one among them. */
export interface Gateways {
  /** This one's. */
  readonly id: string;
  /** Undefined: the store does not answer. */
  readonly members: readonly Member[] | undefined;
}

export interface Look {
  readonly board: BoardState;
  /** Undefined: there is only this gateway. */
  readonly gateways?: Gateways;
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
  /** Undefined: there is only this gateway. */
  readonly together?: {
    readonly id: string;
    readonly members: () => Promise<readonly Member[]>;
    /** That another gateway tells of. */
    readonly alarms: () => ReadonlyMap<string, AlarmState>;
  };
  /** Milliseconds that figures are waited for, default 2,000. */
  readonly patience?: number;
}

export async function lookNow(options: LookOptions): Promise<Look> {
  const { board, flow, stats, ready, now, together, patience = 2_000 } = options;
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, patience, undefined);
  const inTime = <T>(asked: Promise<T>): Promise<T | undefined> => Promise.race([asked.catch(() => undefined), late]);
  const [figures, members] = await Promise.all([
    inTime(stats()),
    together === undefined ? undefined : inTime(together.members()),
  ]);
  clearTimeout(timer);
  const state = ready();
  const at = now();
  const own = board();
  const known = together === undefined ? own : withOthers(own, members ?? [], together.alarms());
  return {
    board: known,
    ...(together === undefined ? {} : { gateways: { id: together.id, members } }),
    flow: flow(at),
    stats: figures,
    problems: problemsOf(known, figures, state.reasons),
    ready: state.ready,
    now: at,
  };
}

/** With what the other gateways do and tell of. */
function withOthers(
  board: BoardState,
  members: readonly Member[],
  alarms: ReadonlyMap<string, AlarmState>,
): BoardState {
  const hostOf = (pickup: string): string | undefined =>
    members.find(({ duties }) => duties.includes(`pickup ${pickup}`))?.host;
  const pickups = [...board.pickups].map(
    ([name, state]) =>
      [name, state.elsewhere === undefined ? state : { ...state, elsewhere: hostOf(name) ?? state.elsewhere }] as const,
  );
  return { ...board, pickups: new Map(pickups), alarms: new Map([...alarms, ...board.alarms]) };
}

/** Times are ISO 8601 in UTC. */
export function lookJson(look: Look, version: string, gateway: string): object {
  const { board, gateways, flow, stats, problems, ready, now } = look;
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
    ...(gateways?.members === undefined
      ? {}
      : { gateways: gateways.members.map((one) => ({ ...inUtc(one), isThis: one.id === gateways.id })) }),
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
  'startedAt',
  'seenAt',
  'oldest',
]);

function inUtc(state: object): object {
  return Object.fromEntries(
    Object.entries(state).map(([name, value]: [string, unknown]) => [
      name,
      typeof value === 'number' && TIMES.has(name)
        ? utc(value)
        : typeof value === 'object' && value !== null && !Array.isArray(value)
          ? inUtc(value)
          : value,
    ]),
  );
}

export function utc(time: number): string {
  return Math.abs(time) <= 8.64e15 ? new Date(time).toISOString() : String(time);
}
