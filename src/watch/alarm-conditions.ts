/**
 * What is wrong now, known from events, from a look at the spool's figures and from dates. No memory of what was told,
 * no clock of its own, no I/O; never fails. Each condition has an identity: the same trouble has the same one.
 *
 * An outage counts after OUTAGE_AFTER only, as most end by themselves; all else counts at once. A route that is held, or
 * a pickup that fails, because there is no token is not told beside the token.
 */
import type { Event, EventName } from '../mail/event.ts';
import type { Room, SpoolStats } from '../mail/spool.ts';
import { MISCONFIGURED, NO_ROUTE } from '../mail/status.ts';
import type { FailedPickup, HeldRoute, LastParked, LastQuarantined, RefusedAccount, Words } from './alarm-words.ts';
import * as words from './alarm-words.ts';

/** `wall`: epoch milliseconds. `steady`: milliseconds of a clock that is never set. */
export interface Moment {
  readonly wall: number;
  readonly steady: number;
}

export interface Condition extends Words {
  readonly id: string;
  /** Epoch milliseconds. */
  readonly since: number;
  /** Of refused credentials, and of what is not told beside them: the same word is the same trouble. */
  readonly cause?: string;
}

export interface CredentialEnd {
  readonly kind: 'secret' | 'certificate';
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

export interface ConditionOptions {
  /** Milliseconds. */
  readonly oldestAfter: number;
  readonly expiresWithin: number;
  /** Those of app registrations whose end is known, by account. */
  readonly credentials?: ReadonlyMap<string, CredentialEnd>;
  /** Names of pickups, by which routes hand mail to a legacy system: Exchange has no part in what holds those. */
  readonly pickups?: readonly string[];
}

/** Milliseconds. */
const OUTAGE_AFTER = 300_000;
/** A mailbox with waiting mail is tried far more often; one that was not tried for so long has none left. */
const MAILBOX_FORGOTTEN = 3_600_000;
/** Nobody tells the gateway what became of a mail that was put aside: so long after the latest it is no news any more. */
const QUARANTINE_FORGOTTEN = 86_400_000;
/** The words of an EWS that is closed (exchange/codes.ts). */
const CLOSED = new Set(['HTTP 403', 'ErrorOrganizationAccessBlocked']);

interface Route extends HeldRoute {
  readonly begun: number;
  readonly misconfigured: boolean;
  readonly forToken: boolean;
}
/** Mailboxes that have an alarm each. */
const MAILBOXES_NAMED = 20;

interface Mailbox extends HeldRoute {
  readonly mailbox: string;
  readonly seen: number;
}
interface Pickup extends FailedPickup {
  readonly begun: number;
  readonly forToken: boolean;
}

interface Quarantine {
  readonly count: number;
  readonly since: number;
  /** Steady: when the latest was put aside. */
  readonly at: number;
  readonly last: LastQuarantined;
}
type Handlers = { readonly [Name in EventName]?: (event: Extract<Event, { event: Name }>, at: Moment) => void };

export class Conditions {
  #options: ConditionOptions;
  readonly #routes = new Map<string, Route>();
  readonly #mailboxes = new Map<string, Mailbox>();
  readonly #changed = new Map<string, { readonly cause: string; readonly since: number }>();
  readonly #accounts = new Map<string, RefusedAccount>();
  readonly #certificates = new Map<string, { readonly subject: string; readonly expiresAt: number }>();
  readonly #credentials: Map<string, CredentialEnd>;
  readonly #pickups = new Map<string, Pickup>();
  /** By pickup. */
  readonly #quarantines = new Map<string, Quarantine>();
  #trouble: { readonly trouble: string; readonly detail: string; readonly since: number } | undefined;
  #full: { readonly reason: string; readonly since: number } | undefined;
  #parked: { readonly count: number; readonly since: number; readonly last?: LastParked } | undefined;
  #waiting: { readonly oldest: number; readonly count: number } | undefined;

  constructor(options: ConditionOptions) {
    this.#options = options;
    this.#credentials = new Map(options.credentials);
  }

  use(limits: Pick<ConditionOptions, 'oldestAfter' | 'expiresWithin' | 'pickups'>): void {
    this.#options = { ...this.#options, ...limits };
  }

  /** @returns whether it concerns any condition */
  report(event: Event, at: Moment): boolean {
    // The handler under an event's name takes that event.
    const hear = this.#handlers[event.event] as ((event: Event, at: Moment) => void) | undefined;
    hear?.(event, at);
    return hear !== undefined;
  }

  /** Undefined: not known at the moment; what was known stands. */
  look(stats: SpoolStats | undefined, room: Room | undefined, at: Moment): void {
    if (stats !== undefined) {
      const { oldest, items } = stats;
      this.#waiting = oldest === undefined ? undefined : { oldest, count: items.queued + items.sending };
      this.#parked = items.parked === 0 ? undefined : { since: at.wall, ...this.#parked, count: items.parked };
    }
    if (room !== undefined) {
      const isFull = !room.ok && this.#trouble === undefined;
      this.#full = isFull ? { since: at.wall, ...this.#full, reason: room.reason } : undefined;
    }
  }

  current(at: Moment): readonly Condition[] {
    return [
      ...[...this.#routes.values()].flatMap((route) => this.#ofRoute(route, at)),
      ...this.#ofMailboxes(at),
      ...[...this.#accounts.values()].map((one) =>
        condition(words.credentials(one), one.since, one.account, one.cause),
      ),
      ...[...this.#changed].map(([route, { cause, since }]) =>
        condition(words.changedOver(route, cause, since), since, route),
      ),
      ...this.#ofPickups(at),
      ...this.#ofDates(at),
      ...this.#ofSpool(at),
    ];
  }

  /** The first ones each; a fault that hits hundreds is one alarm for the rest of them. */
  #ofMailboxes({ steady }: Moment): readonly Condition[] {
    const all = [...this.#mailboxes.values()].filter(({ seen }) => steady - seen < MAILBOX_FORGOTTEN);
    const rest = all.slice(MAILBOXES_NAMED);
    const since = Math.min(...rest.map((one) => one.since));
    return [
      ...all
        .slice(0, MAILBOXES_NAMED)
        .map((one) => condition(words.mailboxMisconfigured(one), one.since, `${one.route}/${one.mailbox}`)),
      ...(rest.length === 0 ? [] : [condition(words.moreMailboxesMisconfigured(rest), since, 'more')]),
    ];
  }

  #ofRoute(route: Route, at: Moment): readonly Condition[] {
    const isPickup = this.#options.pickups?.includes(route.route) === true;
    if (!route.misconfigured) {
      const say = isPickup ? words.handOverHeld : words.routeHeld;
      const lasts = at.steady - route.begun >= OUTAGE_AFTER;
      return lasts ? [condition(say(route), route.since, route.route)] : [];
    }
    if (isPickup) return [condition(words.handOverMisconfigured(route), route.since, route.route)];
    if (route.forToken) return [];
    const say = CLOSED.has(route.cause)
      ? words.ewsClosed
      : route.cause === NO_ROUTE
        ? words.routeMissing
        : words.misconfigured;
    return [condition(say(route), route.since, route.route, route.cause)];
  }

  #ofPickups({ steady }: Moment): readonly Condition[] {
    return [
      ...[...this.#pickups.values()]
        .filter(({ misconfigured, forToken, begun }) => (misconfigured ? !forToken : steady - begun >= OUTAGE_AFTER))
        .map((one) =>
          condition(words.pickupFailed(one), one.since, one.pickup, one.misconfigured ? one.cause : undefined),
        ),
      ...[...this.#quarantines]
        .filter(([, { at }]) => steady - at < QUARANTINE_FORGOTTEN)
        .map(([pickup, { count, since, last }]) =>
          condition(words.mailQuarantined(pickup, count, last), since, pickup),
        ),
    ];
  }

  #ofDates({ wall }: Moment): readonly Condition[] {
    const { expiresWithin } = this.#options;
    const soon = (expiresAt: number): boolean => expiresAt - wall < expiresWithin;
    const since = (expiresAt: number): number => Math.min(wall, expiresAt - expiresWithin);
    return [
      ...[...this.#credentials]
        .filter(([, { expiresAt }]) => soon(expiresAt))
        .map(([account, { kind, expiresAt }]) =>
          condition(words.credentialExpiring(account, kind, expiresAt, wall), since(expiresAt), account),
        ),
      ...[...this.#certificates]
        .filter(([, { expiresAt }]) => soon(expiresAt))
        .map(([listener, { subject, expiresAt }]) =>
          condition(words.certificateExpiring(listener, subject, expiresAt, wall), since(expiresAt), listener),
        ),
    ];
  }

  #ofSpool({ wall }: Moment): readonly Condition[] {
    const found: Condition[] = [];
    if (this.#trouble !== undefined) {
      const { trouble, detail, since } = this.#trouble;
      found.push(condition(words.spoolTrouble(trouble, detail, since), since));
    } else if (this.#full !== undefined) {
      found.push(condition(words.spoolFull(this.#full.reason), this.#full.since));
    }
    if (this.#parked !== undefined) {
      const { count, since, last } = this.#parked;
      found.push(condition(words.mailParked(count, last), since));
    }
    const { oldestAfter } = this.#options;
    if (this.#waiting !== undefined && wall - this.#waiting.oldest > oldestAfter) {
      const { oldest, count } = this.#waiting;
      found.push(condition(words.mailOld(oldest, count, oldestAfter), oldest + oldestAfter));
    }
    return found;
  }

  #isForToken(cause: string): boolean {
    return [...this.#accounts.values()].some((account) => account.cause === cause);
  }

  readonly #handlers: Handlers = {
    'route.held': ({ route, cause, reason, misconfigured }, at) => {
      const before = this.#routes.get(route);
      // A probe that met an outage does not mend what a person has to.
      if (before?.misconfigured === true && !before.forToken && !misconfigured) return;
      const forToken = this.#isForToken(cause);
      this.#routes.set(route, {
        route,
        cause,
        reason,
        misconfigured,
        forToken,
        since: before?.since ?? at.wall,
        begun: before?.begun ?? at.steady,
      });
    },
    // What a start finds changed was told when it was.
    'transport.changed': ({ route, to, cause }, at) => {
      if (to === 'graph') this.#changed.set(route, { cause, since: at.wall });
      else this.#changed.delete(route);
      this.#routes.delete(route);
    },
    'route.released': ({ route }) => void this.#routes.delete(route),
    'delivery.delayed': ({ route, mailbox, status }, at) => {
      const key = `${route}/${mailbox}`;
      if (status.code === MISCONFIGURED && status.reach === 'mailbox') {
        const { cause, text, reason = text } = status;
        const since = this.#mailboxes.get(key)?.since ?? at.wall;
        this.#mailboxes.set(key, { route, mailbox, cause, reason, since, seen: at.steady });
      } else if (status.reach === 'message') this.#mailboxes.delete(key);
    },
    'delivery.relayed': ({ route, mailbox }) => void this.#mailboxes.delete(`${route}/${mailbox}`),
    'delivery.failed': ({ route, mailbox }) => void this.#mailboxes.delete(`${route}/${mailbox}`),
    'delivery.unknown': ({ route, mailbox }) => void this.#mailboxes.delete(`${route}/${mailbox}`),
    'token.failed': ({ account, cause, advice, misconfigured, validUntil }, at) => {
      const before = this.#accounts.get(account);
      if (!misconfigured && before === undefined) return;
      const since = before?.since ?? at.wall;
      const said = misconfigured || before === undefined ? { cause, advice } : before;
      this.#accounts.set(account, {
        account,
        cause: said.cause,
        advice: said.advice,
        since,
        ...(validUntil === undefined ? {} : { validUntil }),
      });
    },
    'token.acquired': ({ account }) => void this.#accounts.delete(account),
    'credential.loaded': ({ account, kind = this.#options.credentials?.get(account)?.kind, expiresAt }) => {
      if (kind === undefined || expiresAt === undefined) this.#credentials.delete(account);
      else this.#credentials.set(account, { kind, expiresAt });
    },
    'certificate.loaded': ({ listener, subject, expiresAt }) =>
      void this.#certificates.set(listener, { subject, expiresAt }),
    'item.parked': ({ why, status: { cause, reason } }, at) => {
      const { count, since } = this.#parked ?? { count: 0, since: at.wall };
      const last = { why, cause, ...(reason === undefined ? {} : { reason }) };
      this.#parked = { count: count + 1, since, last };
    },
    'pickup.failed': ({ pickup, mailbox, cause, reason, misconfigured }, at) => {
      const before = this.#pickups.get(pickup);
      this.#pickups.set(pickup, {
        pickup,
        mailbox,
        cause,
        reason,
        misconfigured,
        forToken: this.#isForToken(cause),
        since: before?.since ?? at.wall,
        begun: before?.begun ?? at.steady,
      });
    },
    'pickup.recovered': ({ pickup }) => void this.#pickups.delete(pickup),
    // Another gateway does its work.
    'pickup.waiting': ({ pickup }) => void this.#pickups.delete(pickup),
    'duty.lost': ({ pickup = '' }) => void this.#pickups.delete(pickup),
    'duty.left': ({ pickup = '' }) => void this.#pickups.delete(pickup),
    'pickup.quarantined': ({ pickup, messageId, from, cause, reason, left }, at) => {
      const before = this.#quarantines.get(pickup);
      const lasts = before !== undefined && at.steady - before.at < QUARANTINE_FORGOTTEN;
      const { count, since } = lasts ? before : { count: 0, since: at.wall };
      const last = { messageId, from, cause, reason, left };
      this.#quarantines.set(pickup, { count: count + 1, since, at: at.steady, last });
    },
    // What is not there any more cannot be in trouble.
    'config.reloaded': ({ removed }) => {
      for (const name of removed.listeners) this.#certificates.delete(name);
      for (const name of removed.pickups) for (const map of [this.#pickups, this.#quarantines]) map.delete(name);
      // Their own hold is released, or is about mail that waits for them.
      for (const name of removed.routes) this.#changed.delete(name);
      for (const name of [...removed.routes, ...removed.pickups])
        for (const [key, { route }] of this.#mailboxes) if (route === name) this.#mailboxes.delete(key);
      for (const name of removed.accounts) for (const map of [this.#accounts, this.#credentials]) map.delete(name);
    },
    'spool.trouble': ({ trouble, detail }, at) =>
      void (this.#trouble = { trouble, detail, since: this.#trouble?.since ?? at.wall }),
    'spool.recovered': () => void (this.#trouble = undefined),
  };
}

function condition(said: Words, since: number, about?: string, cause?: string): Condition {
  const id = about === undefined ? said.reason : `${said.reason}:${about}`;
  return { ...said, since, id, ...(cause === undefined ? {} : { cause }) };
}
