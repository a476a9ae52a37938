/**
 * What calls for a person, and what tells that all is well: alarms with their channels, and the heartbeat. What stands, and
 * what waits for a channel that stays, outlives another configuration. Of several gateways on one spool one tells of what
 * they have in common. Fails only for a bug.
 */
import { hostname } from 'node:os';
import { isSame } from '../config/changes.ts';
import type { AlarmChannelConfig, Config } from '../config/config.ts';
import type { Cluster } from '../mail/cluster.ts';
import type { Report } from '../mail/event.ts';
import type { Room, SpoolStats } from '../mail/spool.ts';
import type { Alarms, StandingAlarm } from '../watch/alarm.ts';
import { createAlarms } from '../watch/alarm.ts';
import type { Channel } from '../watch/alarm-channel.ts';
import type { CredentialEnd } from '../watch/alarm-conditions.ts';
import type { Ask } from '../watch/alarm-webhook.ts';
import type { Heartbeat } from '../watch/heartbeat.ts';
import { askWeb, channelOf } from './alarm-channels.ts';
import { endOfCredential } from './credential.ts';
import { duty } from './duty.ts';
import type { Duty } from './duty.ts';
import { httpOptions } from './http-options.ts';
import type { Follow } from './step.ts';

export interface Alerting {
  readonly report: Report;
  /** @param isWell no heartbeat without */
  start(isWell: () => boolean): Promise<void>;
  readonly follow: Follow;
  /** The spool is open. @param cluster undefined: there is only this gateway */
  join(cluster: Cluster | undefined): void;
  /** Before the spool is closed. */
  leave(): Promise<void>;
  /** What another gateway tells of. */
  elsewhere(): ReadonlyMap<string, StandingAlarm>;
  stop(): Promise<void>;
}

export interface AlertingParts {
  readonly stats: () => Promise<SpoolStats | undefined>;
  readonly room: () => Room | undefined;
  readonly report: Report;
}

/** Under which the gateways know together what they see and were told (see Subject). */
const ALARMS = ' alarms';
/** Milliseconds that the store has to learn that another gateway may tell. */
const LEAVE = 1_000;

/** @param host name of this machine. @returns the duty to tell, begun */
export function joinAlarms(alarms: Alarms, cluster: Cluster, host: string, report: Report): Duty {
  const tells = duty(
    { cluster, name: 'alarms', report },
    { start: () => void alarms.look(), stop: async () => void alarms.look() },
  );
  alarms.join({
    id: cluster.id,
    host,
    role() {
      if (tells.isOurs) return 'ours';
      if (tells.isElsewhere) return 'others';
      return tells.silence < cluster.lease ? 'waiting' : 'unknown';
    },
    members: async () => (await cluster.members()).map(({ id }) => id),
    known: async () => (await cluster.known()).find(({ subject }) => subject.route === ALARMS)?.state,
    change: (change) => cluster.change({ route: ALARMS }, change),
    listen: (changed) =>
      cluster.listen({
        due: () => undefined,
        changed: ({ route }, state) => void (route === ALARMS && changed(state)),
      }),
    now: () => cluster.now(),
  });
  tells.begin();
  return tells;
}

/** Those of app registrations whose end is known, by account. */
export function credentialsOf({ routes }: Config): ReadonlyMap<string, CredentialEnd> {
  return new Map(
    routes.flatMap(({ name, exchange }) => {
      const end = endOfCredential(exchange);
      return end === undefined ? [] : [[name, end] as const];
    }),
  );
}

export async function openAlerting(config: Config, { stats, room, report }: AlertingParts): Promise<Alerting> {
  const undo: (() => Promise<unknown>)[] = [];
  let web = askWeb(config.exchange, undo);
  const ask: Ask = (request) => web(request);
  let channels = await channelsOf(config, ask, new Map());
  let heartbeat: Heartbeat | undefined;
  let isWell: (() => boolean) | undefined;
  let told: Duty | undefined;
  const alarms = createAlarms({
    ...config.alarms,
    gateway: config.hostname,
    ...(config.spool.store.kind === 'postgres' && { machine: hostname() }),
    credentials: credentialsOf(config),
    pickups: namesOf(config),
    channels: [...channels.values()],
    stats,
    room,
    report,
  });

  const beat = async ({ alarms: { heartbeat: wanted } }: Config): Promise<void> => {
    heartbeat?.stop();
    heartbeat = undefined;
    if (wanted === undefined || isWell === undefined) return;
    const { startHeartbeat } = await import('../watch/heartbeat.ts');
    heartbeat = startHeartbeat({ ...wanted, url: wanted.url.reveal(), ask, isWell, report });
  };

  const follow: Follow = async (next, before) => {
    const after = await channelsOf(next, ask, channels);
    return {
      async settle() {
        channels = after;
        const { repeat, oldestAfter, expiresWithin } = next.alarms;
        alarms.use({
          repeat,
          oldestAfter,
          expiresWithin,
          channels: [...after.values()],
          pickups: namesOf(next),
        });
        if (!isSame(httpOptions(before.exchange), httpOptions(next.exchange))) {
          // What is on its way by the old one ends with it; its channel tries again.
          await undo.pop()?.();
          web = askWeb(next.exchange, undo);
        }
        if (!isSame(before.alarms.heartbeat, next.alarms.heartbeat)) await beat(next);
      },
    };
  };
  return {
    report: alarms.report,
    async start(well) {
      isWell = well;
      alarms.start();
      await beat(config);
    },
    follow,
    join(cluster) {
      if (cluster !== undefined) told = joinAlarms(alarms, cluster, hostname(), report);
    },
    async leave() {
      await alarms.leave();
      await told?.end(AbortSignal.timeout(LEAVE));
    },
    elsewhere: () => alarms.elsewhere,
    async stop() {
      heartbeat?.stop();
      await alarms.stop();
      for (const end of undo) await end();
    },
  };
}

const namesOf = ({ pickups }: Config): readonly string[] => pickups.map(({ name }) => name);

type Channels = ReadonlyMap<AlarmChannelConfig, Channel>;

/** With those there are already. */
async function channelsOf({ alarms, hostname }: Config, ask: Ask, before: Channels): Promise<Channels> {
  const made = new Map<AlarmChannelConfig, Channel>();
  for (const config of alarms.to) {
    const there = [...before].find(([one]) => isSame(one, config))?.[1];
    made.set(config, there ?? (await channelOf(config, hostname, ask)));
  }
  return made;
}
