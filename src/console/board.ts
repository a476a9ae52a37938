/**
 * What the overview shows, kept up to date from events: which routes, pickups, listeners and logins there are and how
 * they are, which alarms are raised, what happened lately, and how much mail went through in the last hour. Bounded: of
 * each kind only so many are remembered. `nextBoard` is pure; the meter counts in place, because it is asked for every
 * message. Never fails.
 */
import type { AlarmReason, AlarmSeverity } from '../mail/alarm.ts';
import type { Event, PickupEvent } from '../mail/event.ts';
import { unreachable } from '../mail/status.ts';

export interface HeldState {
  readonly cause: string;
  readonly reason: string;
  /** Epoch milliseconds, like all times here. */
  readonly since: number;
  readonly until: number;
  readonly misconfigured: boolean;
}

export interface RouteState {
  readonly transport?: string;
  /** Chosen by the gateway. */
  readonly auto?: boolean;
  readonly changedAt?: number;
  readonly held?: HeldState;
}

export interface AccountState {
  readonly tokenUntil?: number;
  readonly failing?: {
    readonly cause: string;
    readonly advice: string;
    readonly since: number;
    readonly misconfigured: boolean;
  };
  readonly credentialEnds?: number;
  /** Why what its files hold now cannot be used. */
  readonly credentialFault?: string;
}

export interface ListenerState {
  readonly address: string;
  readonly port: number;
  readonly tls: string;
  readonly auth: string;
  readonly certificateEnds?: number;
  readonly certificateFault?: string;
}

export interface PickupState {
  readonly mailbox?: string;
  readonly folder?: string;
  readonly transport?: string;
  /** The server tells of new mail at once. */
  readonly listens?: boolean;
  readonly lastLook?: number;
  readonly failing?: Omit<HeldState, 'reason'> & { readonly reason: string };
  /** Another gateway that picks up from its folder, with a spool of its own. */
  readonly other?: string;
  /** Of several gateways on one spool, another does it: name of its machine; '': it is not known which. */
  readonly elsewhere?: string;
  /** Items since the start. */
  readonly taken: number;
  readonly refused: number;
  readonly skipped: number;
  readonly quarantined: number;
  /** Seconds from its arrival in the mailbox to its hand-over, of the one handed over last. */
  readonly lag?: number;
}

export interface AlarmState {
  readonly reason: AlarmReason;
  readonly severity: AlarmSeverity;
  readonly title: string;
  readonly text: string;
  readonly since: number;
}

/** Something worth a line. */
export interface Occurrence {
  readonly at: number;
  readonly event: Event['event'];
  readonly text: string;
  readonly id?: string;
}

export interface BoardState {
  readonly startedAt: number;
  readonly isStopping: boolean;
  readonly routes: ReadonlyMap<string, RouteState>;
  readonly accounts: ReadonlyMap<string, AccountState>;
  readonly listeners: ReadonlyMap<string, ListenerState>;
  readonly pickups: ReadonlyMap<string, PickupState>;
  readonly alarms: ReadonlyMap<string, AlarmState>;
  /** Mailboxes that wait, by route and mailbox. */
  readonly lanes: ReadonlyMap<
    string,
    {
      readonly route: string;
      readonly mailbox: string;
      readonly cause: string;
      readonly until: number;
      readonly throttled: boolean;
    }
  >;
  readonly spool?: { readonly trouble: string; readonly detail: string; readonly since: number };
  /** Newest first. */
  readonly lately: readonly Occurrence[];
}

/** Of one kind. */
const MOST = 200;
const LATELY = 40;
const NO_PICKUP: PickupState = { taken: 0, refused: 0, skipped: 0, quarantined: 0 };

export interface BoardBeginning {
  readonly routes: readonly string[];
  readonly pickups: readonly string[];
  /** Ends of credentials by account, epoch milliseconds. */
  readonly credentials: ReadonlyMap<string, number>;
}

export function firstBoard({ routes, pickups, credentials }: BoardBeginning, now: number): BoardState {
  return {
    startedAt: now,
    isStopping: false,
    routes: new Map(routes.map((name) => [name, {}])),
    accounts: new Map([...credentials].map(([name, credentialEnds]) => [name, { credentialEnds }])),
    listeners: new Map(),
    pickups: new Map(pickups.map((name) => [name, NO_PICKUP])),
    alarms: new Map(),
    lanes: new Map(),
    lately: [],
  };
}

/** @returns the same one if the event changes nothing of it */
export function nextBoard(board: BoardState, event: Event, now: number): BoardState {
  const note = (text: string, id?: string): BoardState => ({
    ...board,
    lately: [{ at: now, event: event.event, text, ...(id === undefined ? {} : { id }) }, ...board.lately].slice(
      0,
      LATELY,
    ),
  });
  switch (event.event) {
    case 'gateway.stopping':
      return { ...note(`The gateway ends: ${event.why}`), isStopping: true };
    case 'config.reloaded': {
      const { changed: paths, needsRestart, removed } = event;
      const late = needsRestart.length === 0 ? '' : `; for a restart: ${needsRestart.join(', ')}`;
      const said = paths.length === 0 ? 'nothing has changed' : `changed: ${paths.join(', ')}${late}`;
      return {
        ...note(`Configuration read anew: ${said}`),
        routes: without(board.routes, removed.routes),
        accounts: without(board.accounts, removed.accounts),
        listeners: without(board.listeners, removed.listeners),
        pickups: without(board.pickups, removed.pickups),
      };
    }
    case 'config.refused':
      return note(`New configuration not taken: ${event.faults[0] ?? ''}`);
    case 'listener.open': {
      const { listener, address, port, tls, auth } = event;
      return { ...board, listeners: changed(board.listeners, listener, { address, port, tls, auth }) };
    }
    case 'certificate.loaded':
      return certificate(board, event.listener, { certificateEnds: event.expiresAt }, 'certificateFault');
    case 'certificate.failed':
      return certificate(note(`Certificate of ${event.listener}: ${event.reason}`), event.listener, {
        certificateFault: event.reason,
      });
    case 'transport.chosen':
      return {
        ...board,
        routes: changed(board.routes, event.route, {
          transport: event.transport,
          auto: event.auto,
          ...(event.at === undefined ? {} : { changedAt: event.at }),
        }),
      };
    case 'transport.changed':
      return {
        ...note(`Route ${event.route} changed over from ${event.from} to ${event.to} (${event.cause})`),
        routes: changed(board.routes, event.route, { transport: event.to, auto: true, changedAt: now }),
      };
    case 'route.held': {
      const { route, cause, reason, until, misconfigured } = event;
      const before = board.routes.get(route)?.held;
      const held = { cause, reason, until, misconfigured, since: before?.since ?? now };
      const base = before?.cause === cause ? board : note(`Route ${route} is held (${cause})`);
      return { ...base, routes: changed(board.routes, route, { held }) };
    }
    case 'route.released': {
      const { held: _held, ...rest } = board.routes.get(event.route) ?? {};
      return { ...note(`Route ${event.route} goes on`), routes: replaced(board.routes, event.route, rest) };
    }
    case 'lane.held': {
      const { route, mailbox, cause, until, throttled } = event;
      const lanes = new Map([...board.lanes].filter(([, lane]) => lane.until > now));
      return { ...board, lanes: replaced(lanes, `${route}\n${mailbox}`, { route, mailbox, cause, until, throttled }) };
    }
    case 'token.acquired':
      return account(board, event.account, { tokenUntil: event.expiresAt }, 'failing');
    case 'token.failed': {
      const { cause, advice, misconfigured } = event;
      const before = board.accounts.get(event.account)?.failing;
      const base = before?.cause === cause ? board : note(`No access token for ${event.account} (${cause})`);
      return account(base, event.account, {
        failing: { cause, advice, misconfigured, since: before?.since ?? now },
      });
    }
    case 'credential.loaded': {
      const { credentialEnds: _ends, ...rest } = board.accounts.get(event.account) ?? {};
      const accounts = replaced(board.accounts, event.account, rest);
      const ends = event.expiresAt === undefined ? {} : { credentialEnds: event.expiresAt };
      return account({ ...board, accounts }, event.account, ends, 'credentialFault');
    }
    case 'credential.failed':
      return account(note(`Credential of ${event.account}: ${event.reason}`), event.account, {
        credentialFault: event.reason,
      });
    case 'spool.trouble': {
      const { trouble, detail } = event;
      return {
        ...note(`The store is in trouble (${trouble})`),
        spool: { trouble, detail, since: board.spool?.since ?? now },
      };
    }
    case 'spool.recovered': {
      const { spool: _spool, ...rest } = note('The store works again');
      return rest;
    }
    case 'alarm.raised': {
      const { alarm, reason, severity, title, text, since } = event;
      const base = event.repeated ? board : note(`Alarm: ${title}`);
      return { ...base, alarms: replaced(board.alarms, alarm, { reason, severity, title, text, since }) };
    }
    case 'alarm.recovered': {
      const alarms = new Map(board.alarms);
      alarms.delete(event.alarm);
      return { ...note(`Over: ${event.title}`), alarms };
    }
    case 'alarm.left': {
      const alarms = new Map(board.alarms);
      alarms.delete(event.alarm);
      return { ...board, alarms };
    }
    case 'duty.taken':
      return onDuty(note(`This gateway has the duty ${event.duty} from now on`), event.pickup);
    case 'duty.lost':
      return onDuty(note(`The duty ${event.duty} could not be kept: another gateway takes over`), event.pickup, '');
    case 'duty.elsewhere':
      return onDuty(board, event.pickup, event.other ?? '');
    case 'item.parked':
      return note(`Parked: ${event.why}`, event.id);
    case 'delivery.bounced':
      return note(`Given up, its sender was told: ${event.why}`, event.id);
    case 'item.dropped':
      return note('by' in event ? `Dropped by ${event.by}` : `Dropped: parked for too long or too much`, event.id);
    case 'item.retried':
      return note(`Tried again, as ${event.by} wants it`, event.id);
    case 'item.held':
      return note(`Held by ${event.by}`, event.id);
    case 'item.moved':
      return note(`Moved by ${event.by}`, event.id);
    case 'bug':
      return note(`A fault of the program in ${event.where}: please report the log line "bug"`, event.id);
    case 'message.accepted':
      return event.origin.source === 'pickup' && board.pickups.has(event.origin.name)
        ? pickup(board, event.origin.name, 'taken')
        : board;
    case 'delivery.relayed': {
      if (event.receivedAt === undefined || !board.pickups.has(event.route)) return board;
      const lag = Math.max(0, now - event.receivedAt) / 1000;
      return { ...board, pickups: changed(board.pickups, event.route, { lag }) };
    }
    default:
      // Others are not shown.
      return isOfPickup(event) ? nextPickup(board, event, now, note) : board;
  }
}

function without<V>(map: ReadonlyMap<string, V>, names: readonly string[]): ReadonlyMap<string, V> {
  return new Map([...map].filter(([name]) => !names.includes(name)));
}

/** @param elsewhere undefined: this gateway does it */
function onDuty(board: BoardState, name: string | undefined, elsewhere?: string): BoardState {
  if (name === undefined) return board;
  const { failing: _failing, other: _other, elsewhere: _before, ...rest } = board.pickups.get(name) ?? NO_PICKUP;
  const state = { ...rest, ...(elsewhere === undefined ? {} : { elsewhere }) };
  return { ...board, pickups: replaced(board.pickups, name, state) };
}

function isOfPickup(event: Event): event is PickupEvent {
  return event.event.startsWith('pickup.');
}

function nextPickup(
  board: BoardState,
  event: PickupEvent,
  now: number,
  note: (text: string) => BoardState,
): BoardState {
  const name = event.pickup;
  const before = board.pickups.get(name) ?? NO_PICKUP;
  switch (event.event) {
    case 'pickup.opened': {
      const { mailbox, folder, transport, listens } = event;
      return { ...board, pickups: changed(board.pickups, name, { mailbox, folder, transport, listens }, NO_PICKUP) };
    }
    case 'pickup.polled':
    case 'pickup.recovered': {
      const { failing: _failing, other: _other, ...rest } = before;
      const look = event.event === 'pickup.polled' ? { lastLook: now } : {};
      return { ...board, pickups: replaced(board.pickups, name, { ...rest, ...look }) };
    }
    case 'pickup.failed': {
      const { mailbox, cause, reason, misconfigured, until } = event;
      const failing = { cause, reason, misconfigured, until, since: before.failing?.since ?? now };
      return {
        ...note(`Pickup ${name} cannot take mail from ${mailbox} (${cause})`),
        pickups: changed(board.pickups, name, { mailbox, failing }, NO_PICKUP),
      };
    }
    case 'pickup.waiting':
      return {
        ...note(`Pickup ${name} waits: ${event.other} picks up from its folder`),
        pickups: changed(board.pickups, name, { mailbox: event.mailbox, other: event.other }, NO_PICKUP),
      };
    case 'pickup.refused':
      return pickup(note(`Pickup ${name} refused a mail from ${event.from}: ${event.reason}`), name, 'refused');
    case 'pickup.skipped':
      return pickup(board, name, 'skipped');
    case 'pickup.quarantined':
      return pickup(note(`Pickup ${name} put a mail from ${event.from} aside: ${event.reason}`), name, 'quarantined');
    case 'pickup.resynced':
    case 'pickup.deaf':
    case 'pickup.repeated':
    case 'pickup.filed':
    case 'pickup.delayed':
      return board;
    default:
      return unreachable(event);
  }
}

function pickup(board: BoardState, name: string, what: 'taken' | 'refused' | 'skipped' | 'quarantined'): BoardState {
  const count = (board.pickups.get(name) ?? NO_PICKUP)[what] + 1;
  return { ...board, pickups: changed(board.pickups, name, { [what]: count }, NO_PICKUP) };
}

function account(board: BoardState, name: string, change: AccountState, without?: keyof AccountState): BoardState {
  const state = { ...board.accounts.get(name) };
  if (without !== undefined) delete state[without];
  return { ...board, accounts: replaced(board.accounts, name, { ...state, ...change }) };
}

/** The console itself may have a certificate, and is no listener. */
function certificate(
  board: BoardState,
  name: string,
  change: Partial<ListenerState>,
  without?: 'certificateFault',
): BoardState {
  const state = { ...(board.listeners.get(name) ?? { address: '', port: 0, tls: '', auth: '' }) };
  if (without !== undefined) delete state[without];
  return { ...board, listeners: replaced(board.listeners, name, { ...state, ...change }) };
}

function changed<V extends object>(
  map: ReadonlyMap<string, V>,
  key: string,
  change: Partial<V>,
  otherwise: Partial<V> = {},
): ReadonlyMap<string, V> {
  return replaced(map, key, { ...(map.get(key) ?? otherwise), ...change } as V);
}

function replaced<V>(map: ReadonlyMap<string, V>, key: string, value: V): ReadonlyMap<string, V> {
  if (!map.has(key) && map.size >= MOST) return map;
  return new Map(map).set(key, value);
}

/** What is counted each minute. */
export const FLOWS = ['accepted', 'delivered', 'failed'] as const;
export type Flow = (typeof FLOWS)[number];

export function flowOf(event: Event): Flow | undefined {
  switch (event.event) {
    case 'message.accepted':
      return 'accepted';
    case 'delivery.relayed':
      return 'delivered';
    case 'delivery.bounced':
    case 'item.parked':
      return 'failed';
    default:
      return undefined;
  }
}

const MINUTE = 60_000;
export const MINUTES = 60;

/** Counts of the last hour, minute by minute. */
export class Meter {
  readonly #counts: Record<Flow, number[]> = { accepted: zeros(), delivered: zeros(), failed: zeros() };
  /** Minutes since 1970, of the last entry. */
  #minute: number;

  constructor(now: number) {
    this.#minute = Math.floor(now / MINUTE);
  }

  count(flow: Flow, now: number): void {
    this.#turn(now);
    const counts = this.#counts[flow];
    counts[MINUTES - 1] = (counts[MINUTES - 1] ?? 0) + 1;
  }

  /** Oldest first; the last minute is under way. */
  read(now: number): Readonly<Record<Flow, readonly number[]>> & { readonly endsAt: number } {
    this.#turn(now);
    const { accepted, delivered, failed } = this.#counts;
    return {
      accepted: [...accepted],
      delivered: [...delivered],
      failed: [...failed],
      endsAt: this.#minute * MINUTE,
    };
  }

  /** A clock that was set back counts into the minute it had come to. */
  #turn(now: number): void {
    const steps = Math.min(MINUTES, Math.floor(now / MINUTE) - this.#minute);
    if (steps <= 0) return;
    for (const flow of FLOWS) {
      this.#counts[flow].splice(0, steps);
      this.#counts[flow].push(...zeros().slice(0, steps));
    }
    this.#minute = Math.floor(now / MINUTE);
  }
}

function zeros(): number[] {
  return Array.from({ length: MINUTES }, () => 0);
}
