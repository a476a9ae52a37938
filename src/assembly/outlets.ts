/**
 * All the queue hands mail to, by the names of its routes: the ways out of the accounts and the hand-overs of pickups, each
 * replaced by itself where its configuration changes. Fails as they do to open.
 */
import type { Config, PickupConfig, RouteConfig } from '../config/config.ts';
import { isSame } from '../config/changes.ts';
import type { Report } from '../mail/event.ts';
import type { Transport } from '../mail/transport.ts';
import type { PickupNotices } from '../queue/bounce.ts';
import type { PaceLimits } from '../queue/pace.ts';
import { endOfCredential } from './credential.ts';
import { handOverOf } from './hand-over.ts';
import { heldReport } from './held-report.ts';
import type { Replaceable } from './replaceable.ts';
import { replaceable } from './replaceable.ts';
import type { Follow } from './step.ts';
import type { WayOut } from './way-out.ts';
import { openWayOut } from './way-out.ts';

export interface Outlets {
  /** As they are now. */
  readonly transports: ReadonlyMap<string, Transport>;
  /** Asks for the tokens beforehand. Never rejects. */
  prime(): void;
  /** Reads the files of all credentials anew. */
  renew(): Promise<void>;
  readonly follow: Follow;
  close(): Promise<void>;
}

/** What it takes to make one, and to see whether it is another one now. */
interface Plan {
  readonly name: string;
  readonly basis: unknown;
  /** @returns undefined: nobody attempts it */
  open(report: Report): Promise<Opened | undefined>;
  /** Of an account. */
  readonly route?: RouteConfig;
}

interface Opened {
  readonly transport: Transport;
  readonly out?: WayOut;
  close(): Promise<void>;
}

interface Entry {
  readonly plan: Plan;
  readonly opened?: Opened;
  readonly transport?: Replaceable;
}

export async function openOutlets(
  config: Config,
  parts: { readonly version: string; readonly report: Report },
): Promise<Outlets> {
  const { report } = parts;
  let entries = new Map<string, Entry>();
  const failed = (error: unknown): void =>
    report({ event: 'bug', where: 'transport', error: error instanceof Error ? error : new Error(String(error)) });
  const close = async (): Promise<void> => {
    await Promise.all([...entries.values()].map(({ transport }) => transport?.close()));
  };

  const follow = async (next: Config) => {
    const plans = plansOf(next, parts.version);
    const fresh = new Map<string, { plan: Plan; opened: Opened | undefined; release: () => void }>();
    const back = async (): Promise<void> => {
      await Promise.all([...fresh.values()].map(({ opened }) => opened?.close()));
    };
    try {
      for (const plan of plans) {
        const before = entries.get(plan.name);
        if (before !== undefined && isSame(before.plan.basis, plan.basis)) continue;
        const held = heldReport(report);
        fresh.set(plan.name, { plan, opened: await plan.open(held.report), release: () => held.release() });
      }
    } catch (error) {
      await back();
      throw error;
    }
    const settle = (): void => {
      const isRunning = entries.size > 0;
      const after = new Map<string, Entry>();
      for (const { name } of plans) {
        const before = entries.get(name);
        const other = fresh.get(name);
        if (other === undefined) {
          if (before !== undefined) after.set(name, before);
          continue;
        }
        const { plan, opened, release } = other;
        after.set(name, { plan, ...inPlaceOf(before?.transport, opened, failed) });
        if (opened === undefined) before?.transport?.retire();
        release();
        if (isRunning) tellCredential(plan, before?.plan, report);
      }
      for (const [name, { transport }] of entries) if (!after.has(name)) transport?.retire();
      entries = after;
      if (isRunning) for (const name of fresh.keys()) void entries.get(name)?.opened?.out?.prime();
    };
    return { back, settle };
  };

  (await follow(config)).settle();
  const outs = (): readonly WayOut[] => [...entries.values()].flatMap(({ opened }) => opened?.out ?? []);
  return {
    get transports() {
      return new Map(
        [...entries].flatMap(([name, { transport }]) => (transport === undefined ? [] : [[name, transport]])),
      );
    },
    prime: () => outs().forEach((out) => void out.prime()),
    renew: async () => void (await Promise.all(outs().map((out) => out.renew()))),
    follow,
    close,
  };
}

function inPlaceOf(
  before: Replaceable | undefined,
  opened: Opened | undefined,
  failed: (error: unknown) => void,
): Omit<Entry, 'plan'> {
  if (opened === undefined) return {};
  if (before === undefined) return { opened, transport: replaceable(opened.transport, () => opened.close(), failed) };
  before.replace(opened.transport, () => opened.close());
  return { opened, transport: before };
}

/** When the credential ends that is in use now. */
function tellCredential({ name: account, route }: Plan, before: Plan | undefined, report: Report): void {
  if (route === undefined) return;
  const [end, last] = [endOfCredential(route.exchange), before?.route && endOfCredential(before.route.exchange)];
  if (!isSame(end, last)) report({ event: 'credential.loaded', account, ...end });
}

function plansOf({ routes, pickups, hostname, spool: { folder } }: Config, version: string): readonly Plan[] {
  const ofRoute = (route: RouteConfig): Plan => ({
    name: route.name,
    basis: { route, hostname },
    route,
    async open(report) {
      const out = await openWayOut({ ...route, hostname, version, folder, report });
      return { transport: out.transport, out, close: () => out.close() };
    },
  });
  const ofPickup = (pickup: PickupConfig): Plan => ({
    name: pickup.name,
    basis: { deliver: pickup.deliver, hostname },
    async open() {
      const transport = await handOverOf(pickup, hostname);
      return transport && { transport, close: () => transport.close() };
    },
  });
  return [...routes.map(ofRoute), ...pickups.map(ofPickup)];
}

/** What the queue has to know of pickups. By their names, which are those of ways in the queue. */
export interface HandOvers {
  /** Those whose mail is fetched by POP3 clients. */
  readonly passive: ReadonlySet<string>;
  readonly notices: ReadonlyMap<string, PickupNotices>;
  readonly pace: ReadonlyMap<string, PaceLimits>;
}

export function handOversOf({ pickups }: Pick<Config, 'pickups'>): HandOvers {
  return {
    passive: new Set(pickups.filter(({ deliver }) => deliver.kind === 'pop3').map(({ name }) => name)),
    notices: new Map(
      pickups.map(({ name, route, answer }) => {
        const { from, refusal: _refusal, ...words } = answer;
        return [name, { ...words, route, mailbox: from.toLowerCase() }];
      }),
    ),
    pace: new Map(pickups.map(({ name, concurrency, perMinute }) => [name, { concurrency, perMinute }])),
  };
}
