/**
 * What is picked up from mailboxes, as the configuration has it: how it comes in, and what the senders of refused mail are
 * told; how it goes on is outlets.ts. Of several gateways on one spool, each mailbox is one's at a time. Fails with a
 * StartError for what a person must mend first.
 */
import { isSame } from '../config/changes.ts';
import type { Config, PickupConfig } from '../config/config.ts';
import { CLOSED } from '../exchange/auto.ts';
import { pickupSource } from '../exchange/pickup.ts';
import type { PickupOptions } from '../exchange/pickup.ts';
import { refusalNotices } from '../exchange/pickup-refusal.ts';
import type { LookedInto } from '../console/web.ts';
import type { Cluster } from '../mail/cluster.ts';
import type { Report } from '../mail/event.ts';
import { matcher } from '../mail/pattern.ts';
import { pickupJudge } from '../mail/pickup-rules.ts';
import type { Inject } from '../mail/source.ts';
import type { Spool } from '../mail/spool.ts';
import { duty } from './duty.ts';
import type { Duty } from './duty.ts';
import type { Mailboxes } from './mailboxes.ts';
import { openMailboxes } from './mailboxes.ts';
import type { Follow } from './step.ts';

export interface PickupParts {
  readonly inject: Inject;
  readonly ledger: Pick<Spool, 'received' | 'acknowledge' | 'settle' | 'cursor' | 'keepCursor'>;
  readonly report: Report;
  readonly version: string;
  /** Undefined: there is only this gateway. */
  readonly cluster?: Cluster | undefined;
  /** The gateway ends: nothing is started any more. */
  readonly ending: AbortSignal;
}

export interface Pickups {
  start(): Promise<void>;
  /** Takes nothing new, lets what is being fetched finish until `signal` aborts. */
  stop(signal: AbortSignal): Promise<void>;
  /** Credentials are read anew, and every mailbox is looked into at once. */
  renew(): Promise<void>;
  /** That mailbox is looked into at once, whichever gateway picks up from it. Rejects as the store does. */
  look(name: string): Promise<LookedInto>;
  /** What changed is stopped and started anew: receipts see to it that nothing is handed over twice, or left out. */
  readonly follow: Follow;
  close(): Promise<void>;
}

/** Milliseconds that a pickup which is replaced may take to finish what it has begun. */
const GRACE = 5_000;

interface Running {
  readonly basis: unknown;
  readonly mailboxes: Mailboxes;
  readonly duty: Duty;
  /** Looks at once. @returns false: this gateway does not pick up from it at present */
  mended(): boolean;
}

interface Account {
  readonly basis: unknown;
  readonly mailboxes: Mailboxes;
}

export async function openPickups(config: Config, parts: PickupParts): Promise<Pickups> {
  let made = await makePickups(config, parts);
  let isStarted = false;
  const { cluster } = parts;
  const endListening = cluster?.listen({
    due: () => undefined,
    changed({ route }) {
      for (const [name, pickup] of made.pickups) if (route === askingFor(name)) pickup.mended();
    },
  });
  return {
    async start() {
      isStarted = true;
      for (const one of made.pickups.values()) one.duty.begin();
    },
    async stop(signal) {
      await Promise.all([...made.pickups.values()].map((one) => one.duty.end(signal)));
    },
    async renew() {
      await Promise.all([...made.accounts.values()].map(({ mailboxes }) => mailboxes.renew()));
      for (const one of made.pickups.values()) one.mended();
    },
    async look(name) {
      const pickup = made.pickups.get(name);
      if (pickup === undefined) return undefined;
      if (pickup.mended()) return 'here';
      if (cluster === undefined) return 'nobody';
      await cluster.change({ route: askingFor(name) }, () => ({ by: cluster.id, at: cluster.now() }));
      const other = (await cluster.members()).find(({ duties }) => duties.includes(dutyOf(name)));
      return other === undefined ? 'nobody' : { host: other.host };
    },
    async follow(next) {
      const [before, after] = [made, await makePickups(next, parts, made)];
      const accounts = new Set(before.accounts.values());
      const running = new Set(before.pickups.values());
      return {
        back: () => closeAll([...after.accounts.values()].filter((one) => !accounts.has(one))),
        async settle() {
          made = after;
          const signal = AbortSignal.any([AbortSignal.timeout(GRACE), parts.ending]);
          const [kept, keptAccounts] = [new Set(after.pickups.values()), new Set(after.accounts.values())];
          await Promise.all([...running].filter((one) => !kept.has(one)).map((one) => one.duty.end(signal)));
          // The end of the gateway has stopped what it found.
          if (isStarted && !parts.ending.aborted) for (const one of kept) if (!running.has(one)) one.duty.begin();
          await closeAll([...accounts].filter((one) => !keptAccounts.has(one)));
        },
      };
    },
    async close() {
      endListening?.();
      await closeAll([...made.accounts.values()]);
    },
  };
}

/** What one of several gateways does at a time. */
const dutyOf = (pickup: string): string => `pickup ${pickup}`;
/** Under which the gateways know together that it was asked for (see Subject). */
const askingFor = (pickup: string): string => ` look ${pickup}`;

async function closeAll(accounts: readonly Account[]): Promise<void> {
  await Promise.all(accounts.map(({ mailboxes }) => mailboxes.close()));
}

interface Made {
  /** By the name of the route. */
  readonly accounts: ReadonlyMap<string, Account>;
  readonly pickups: ReadonlyMap<string, Running>;
}

const NONE: Made = { accounts: new Map(), pickups: new Map() };

/** With what there is already and needs no change. */
async function makePickups(config: Config, parts: PickupParts, before = NONE): Promise<Made> {
  const accounts = new Map<string, Account>();
  const pickups = new Map<string, Running>();
  const { version, report } = parts;
  try {
    for (const route of config.routes) {
      if (!config.pickups.some((pickup) => pickup.route === route.name)) continue;
      const there = before.accounts.get(route.name);
      const { folder } = config.spool;
      accounts.set(
        route.name,
        there !== undefined && isSame(there.basis, route)
          ? there
          : { basis: route, mailboxes: openMailboxes({ ...route, folder, version, report }) },
      );
    }
    for (const pickup of config.pickups) {
      const mailboxes = accounts.get(pickup.route)?.mailboxes;
      if (mailboxes === undefined) throw new Error(`a pickup without an account passed its checks`);
      const basis = basisOf(pickup, config);
      const there = before.pickups.get(pickup.name);
      if (there !== undefined && there.mailboxes === mailboxes && isSame(there.basis, basis)) {
        pickups.set(pickup.name, there);
        continue;
      }
      const found = await mailboxes.boxesOf(pickup);
      const boxes = pickup.claim ? found : found.map(({ claim: _unused, ...box }) => box);
      pickups.set(pickup.name, { basis, mailboxes, ...inTurn({ ...optionsOf(pickup, config, parts), boxes }, parts) });
    }
  } catch (error) {
    const mine = new Set(before.accounts.values());
    await closeAll([...accounts.values()].filter((one) => !mine.has(one)));
    throw error;
  }
  return { accounts, pickups };
}

/** Picks up whenever it is this gateway's turn. */
function inTurn(options: PickupOptions, { cluster, report }: PickupParts): Pick<Running, 'duty' | 'mended'> {
  const { name } = options;
  let source: ReturnType<typeof pickupSource> | undefined;
  return {
    duty: duty(
      { cluster, name: dutyOf(name), pickup: name, report },
      {
        start(isOurs) {
          source = pickupSource(
            cluster === undefined ? options : { ...options, duty: { isOurs, now: () => cluster.now() } },
          );
          void source.start();
        },
        async stop(signal) {
          const last = source;
          source = undefined;
          await last?.stop(signal);
        },
      },
    ),
    mended() {
      source?.mended();
      return source !== undefined;
    },
  };
}

/** What it is made of. How its mail goes on is the queue's. */
function basisOf(
  { deliver: _deliver, perMinute: _perMinute, setting: _setting, ...pickup }: PickupConfig,
  { hostname, recipients: { allow, deny } }: Config,
): unknown {
  return { ...pickup, hostname, maySendTo: { allow, deny } };
}

function optionsOf(
  pickup: PickupConfig,
  { hostname, recipients }: Config,
  { inject, ledger, report }: PickupParts,
): Omit<PickupOptions, 'boxes'> {
  const { name, mailbox, folder, after, refused, quarantine, interval, notifications, concurrency, answer } = pickup;
  const isAllowed = matcher(recipients.allow);
  const isDenied = matcher(recipients.deny);
  const refusal = {
    hostname,
    mailbox,
    route: pickup.route,
    from: answer.from,
    maySendTo: (address: string) => isAllowed(address) && !isDenied(address),
    inject,
    now: Date.now,
  };
  return {
    name,
    mailbox,
    folder,
    hostname,
    judge: judgeOf(pickup),
    after,
    refused,
    quarantine,
    interval,
    notifications,
    concurrency,
    inject,
    ledger,
    report,
    closed: CLOSED,
    now: Date.now,
    ...(answer.refusal === undefined ? {} : { tell: refusalNotices({ ...refusal, sentence: answer.refusal }) }),
  };
}

function judgeOf({ mailbox, from, maxSize, attachments, kinds, recipients }: PickupConfig): PickupOptions['judge'] {
  const { allow, deny, inside } = from;
  return pickupJudge({
    mailbox,
    allow,
    deny,
    insideOnly: inside,
    maxSize,
    attachments,
    kinds,
    destinations: recipients,
  });
}
