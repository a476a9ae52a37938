/**
 * What is picked up from mailboxes, as the configuration has it: how it comes in, how it goes on to the legacy system, and
 * what its senders are told. Fails with a StartError for what a person must mend first.
 */
import type { Config, PickupConfig } from '../config/config.ts';
import { CLOSED } from '../exchange/auto.ts';
import { pickupSource } from '../exchange/pickup.ts';
import type { PickupOptions } from '../exchange/pickup.ts';
import { refusalNotices } from '../exchange/pickup-refusal.ts';
import type { Report } from '../mail/event.ts';
import { matcher } from '../mail/pattern.ts';
import { pickupJudge } from '../mail/pickup-rules.ts';
import type { Inject, Source } from '../mail/source.ts';
import type { Spool } from '../mail/spool.ts';
import type { Transport } from '../mail/transport.ts';
import type { PickupNotices } from '../queue/bounce.ts';
import type { PaceLimits } from '../queue/pace.ts';
import { handOverOf } from './hand-over.ts';
import type { Mailboxes } from './mailboxes.ts';
import { openMailboxes } from './mailboxes.ts';

/** What the queue has to know of pickups. By their names, which are those of ways in the queue. */
export interface HandOvers {
  readonly transports: ReadonlyMap<string, Transport>;
  /** Those whose mail is fetched by POP3 clients. */
  readonly passive: ReadonlySet<string>;
  readonly notices: ReadonlyMap<string, PickupNotices>;
  readonly pace: ReadonlyMap<string, PaceLimits>;
}

export async function openHandOvers(
  { pickups, hostname }: Config,
  undo: (() => Promise<unknown>)[],
): Promise<HandOvers> {
  const transports = new Map<string, Transport>();
  const passive = new Set<string>();
  const notices = new Map<string, PickupNotices>();
  const pace = new Map<string, PaceLimits>();
  for (const pickup of pickups) {
    const { name, route, answer, concurrency, perMinute } = pickup;
    const transport = await handOverOf(pickup, hostname);
    if (transport === undefined) passive.add(name);
    else {
      transports.set(name, transport);
      undo.push(() => transport.close());
    }
    const { from, refusal: _refusal, ...words } = answer;
    notices.set(name, { ...words, route, mailbox: from.toLowerCase() });
    pace.set(name, { concurrency, perMinute });
  }
  return { transports, passive, notices, pace };
}

export interface PickupParts {
  readonly inject: Inject;
  readonly ledger: Pick<Spool, 'received' | 'acknowledge' | 'settle' | 'cursor' | 'keepCursor'>;
  readonly report: Report;
  readonly version: string;
}

export interface PickupSources {
  readonly sources: readonly Source[];
  /** Credentials are read anew, and every mailbox is looked into at once. */
  renew(): Promise<void>;
  /** That mailbox is looked into at once. @returns false: there is no such pickup */
  look(name: string): boolean;
}

export async function openPickups(
  config: Config,
  parts: PickupParts,
  undo: (() => Promise<unknown>)[],
): Promise<PickupSources> {
  const accounts = new Map<string, Mailboxes>();
  const { version, report } = parts;
  for (const route of config.routes) {
    if (!config.pickups.some((pickup) => pickup.route === route.name)) continue;
    const mailboxes = openMailboxes({ ...route, spool: config.spool.sqlite, version, report });
    accounts.set(route.name, mailboxes);
    undo.push(() => mailboxes.close());
  }
  const sources: ReturnType<typeof pickupSource>[] = [];
  for (const pickup of config.pickups) {
    const boxes = (await accounts.get(pickup.route)?.boxesOf(pickup)) ?? [];
    sources.push(pickupSource({ ...optionsOf(pickup, config, parts), boxes }));
  }
  return {
    sources,
    async renew() {
      await Promise.all([...accounts.values()].map((one) => one.renew()));
      for (const source of sources) source.mended();
    },
    look(name) {
      const source = sources.find((one) => one.name === name);
      source?.mended();
      return source !== undefined;
    },
  };
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
