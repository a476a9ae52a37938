/**
 * The gateway: every part built from a Config, started, and stopped in reverse. This file is the whole start-up, top to
 * bottom. A failing Exchange or identity server does not prevent the start: the gateway is a buffer. What does prevent
 * it is a StartError, one sentence for the person who must act.
 */
import { askWeb, channelOf } from './assembly/alarm-channels.ts';
import { consoleBoard, consoleOf } from './assembly/console.ts';
import { endOfCredential } from './assembly/credential.ts';
import { certificateOf, listenerOptions, rulesOf } from './assembly/front-door.ts';
import { asStartError } from './assembly/start-error.ts';
import { readingAccountsOf } from './assembly/mailboxes.ts';
import { openHandOvers, openPickups } from './assembly/pickup.ts';
import { pop3DoorOf } from './assembly/pop3-door.ts';
import type { WayOut } from './assembly/way-out.ts';
import { accountsOf, openWayOut } from './assembly/way-out.ts';
import type { Config } from './config/config.ts';
import { DEFAULT_ROUTE } from './config/routes.ts';
import { openControl } from './console/control.ts';
import { operations } from './console/operations.ts';
import type { Report } from './mail/event.ts';
import type { Arrival, Inject, Source } from './mail/source.ts';
import type { OperatedSpool, Receipt, Spool } from './mail/spool.ts';
import { createBouncer } from './queue/bounce.ts';
import type { Queue } from './queue/queue.ts';
import { createQueue } from './queue/queue.ts';
import type { CertificateSource } from './smtp/certificate.ts';
import { smtpSource } from './smtp/listener.ts';
import { forgetOld } from './spool/forget.ts';
import { openSqliteSpool } from './spool/sqlite.ts';
import type { Alarms } from './watch/alarm.ts';
import { createAlarms } from './watch/alarm.ts';
import { createLog } from './watch/log.ts';
import { createMetrics } from './watch/metrics.ts';

/** Kept back from the shutdown budget to write down what became of attempts that were cut short. */
const SETTLE = 1_500;
/** Guards against what no other time-out sees; a large message on a slow line takes its time. */
const ATTEMPT_TIMEOUT = 3_600_000;
const PURGE_INTERVAL = 3_600_000;

export interface GatewayOptions {
  readonly version: string;
  /** The configuration file's name, for the log. */
  readonly configFile: string;
  /** Where the log goes, default standard output. */
  readonly logTo?: NodeJS.WritableStream;
}

export interface Gateway {
  /** Where clients connect. */
  readonly listeners: readonly { readonly name: string; readonly address: string; readonly port: number }[];
  readonly consoleUrl: string;
  /** Resolves if the gateway cannot go on: the spool is lost for this process. Nothing is accepted any more. */
  readonly failed: Promise<Error>;
  /** Looks at once whether the certificates of the listeners were replaced; it does so every few seconds anyway. */
  reload(): Promise<void>;
  /** Ends everything within the shutdown budget. @returns attempts that had to be cut short */
  stop(why: string): Promise<number>;
}

export async function startGateway(config: Config, options: GatewayOptions): Promise<Gateway> {
  const begun = performance.now();
  const undo: (() => Promise<unknown>)[] = [];
  const state = { stopping: false, ready: false };
  try {
    // watch
    const log = createLog({
      report: (event) => report(event),
      level: config.log.level,
      addresses: config.log.addresses,
      ...(options.logTo === undefined ? {} : { destination: options.logTo }),
    });
    undo.push(() => log.flush());
    let spool: OperatedSpool | undefined;
    const pickups = config.pickups.map(({ name }) => name);
    const routes = [...config.routes.map(({ name }) => name), ...pickups];
    const credentials = new Map(
      config.routes.flatMap(({ name, exchange }) => {
        const end = endOfCredential(exchange);
        return end === undefined ? [] : [[name, end] as const];
      }),
    );
    const metrics = createMetrics({
      version: options.version,
      stats: async () => spool?.stats(),
      routes,
      pickups,
      accounts: config.routes.flatMap((route) => [...accountsOf(route), ...readingAccountsOf(route, config.pickups)]),
      credentials: new Map([...credentials].map(([account, { expiresAt }]) => [account, expiresAt])),
    });
    const ask = askWeb(config.exchange, undo);
    const alarms: Alarms = createAlarms({
      ...config.alarms,
      gateway: config.hostname,
      credentials,
      pickups,
      channels: await Promise.all(config.alarms.to.map((channel) => channelOf(channel, config.hostname, ask))),
      stats: async () => spool?.stats(),
      room: () => spool?.room(),
      report: (event) => report(event),
    });
    undo.push(() => alarms.stop());
    const board = consoleBoard(
      config,
      new Map([...credentials].map(([account, { expiresAt }]) => [account, expiresAt])),
      (event) => report(event),
    );
    const listening: { address: string; port: number }[] = [];
    const listeners: { name: string; address: string; port: number }[] = [];
    const report: Report = (event) => {
      log.report(event);
      metrics.report(event);
      alarms.report(event);
      board.report(event);
      if (event.event === 'listener.open')
        listeners.push({ name: event.listener, address: event.address, port: event.port });
      if (event.event === 'listener.open') listening.push({ address: event.address, port: event.port });
      if (event.event === 'console.open')
        listening.push({ address: config.console.address, port: Number(new URL(event.url).port) });
    };
    report({
      event: 'gateway.starting',
      version: options.version,
      node: process.versions.node,
      config: options.configFile,
    });

    // spool
    const failure = Promise.withResolvers<Error>();
    spool = await openSqliteSpool({
      onLost: (error) => failure.resolve(error),
      path: config.spool.sqlite,
      maxItems: config.spool.maxItems,
      minFree: config.spool.minFree,
      verifyAfter: config.retry.verifyAfter,
      first: config.pacing.first,
      report,
    });
    const opened = spool;
    undo.push(() => opened.close());

    // transports
    const outs = new Map<string, WayOut>();
    const { hostname } = config;
    const { sqlite } = config.spool;
    for (const route of config.routes) {
      const out = await openWayOut({ ...options, ...route, hostname, spool: sqlite, report });
      undo.push(() => out.close());
      outs.set(route.name, out);
    }

    const handOvers = await openHandOvers(config, undo);

    // queue
    const bouncer = createBouncer({
      spool: opened,
      ...config.bounces,
      hostname: config.hostname,
      recipients: config.recipients,
      pickups: handOvers.notices,
    });
    const queue = createQueue({
      spool: opened,
      transports: new Map([
        ...[...outs].map(([name, { transport }]) => [name, transport] as const),
        ...handOvers.transports,
      ]),
      passive: handOvers.passive,
      report,
      schedule: { intervals: config.retry.intervals, giveUpAfter: config.retry.giveUpAfter },
      bouncer,
      warnAfter: config.retry.warnAfter,
      pace: ({ route }) => handOvers.pace.get(route) ?? config.pacing.perMailbox,
      concurrency: config.pacing.concurrency,
      catchUp: config.pacing.catchUp,
      verifyAfter: config.retry.verifyAfter,
      attemptTimeout: ATTEMPT_TIMEOUT,
    });
    queue.start();
    undo.push(() => queue.stop(AbortSignal.abort()));
    const orders = operations({ spool: opened, report, arrived: (lane) => queue.arrived(lane) });
    const control = await openControl({
      spool: config.spool.sqlite,
      operations: orders,
      routes,
      report,
      version: options.version,
      listening: () => listening,
    });
    undo.push(() => control.stop());
    const purge = setInterval(() => void forgetOld(opened, config.spool, report, Date.now()), PURGE_INTERVAL);
    undo.push(async () => clearInterval(purge));

    // sources
    const inject = injectInto(opened, queue, report);
    const shared = { ...rulesOf(config), inject, report };
    const sources: Source[] = [];
    const certificates: CertificateSource[] = [];
    for (const listener of config.listeners) {
      const certificate = await certificateOf(listener, config, report);
      if (certificate !== undefined) {
        certificates.push(certificate);
        undo.push(async () => certificate.close());
      }
      const source = smtpSource(listenerOptions(listener, certificate), shared);
      await source.start();
      sources.push(source);
      undo.push(() => source.stop(AbortSignal.abort()));
    }

    const door = await pop3DoorOf(config, { spool: opened, bouncer, arrived: (lane) => queue.arrived(lane), report });
    const picking = await openPickups(config, { inject, ledger: opened, report, version: options.version }, undo);
    if (door?.certificate !== undefined) {
      const { certificate } = door;
      certificates.push(certificate);
      undo.push(async () => certificate.close());
    }
    for (const source of [...(door === undefined ? [] : [door.source]), ...picking.sources]) {
      await source.start();
      sources.push(source);
      undo.push(() => source.stop(AbortSignal.abort()));
    }

    // console
    const ready = (): { ready: boolean; reasons: readonly string[] } => {
      const room = opened.room();
      const reasons = [
        ...(state.ready ? [] : [state.stopping ? 'stopping' : 'starting']),
        ...(room.ok ? [] : [`spool: ${room.reason}`]),
      ];
      return { ready: reasons.length === 0, reasons };
    };
    const { web, certificate: ofConsole } = await consoleOf(config, {
      metrics: () => metrics.render(),
      ready,
      report,
      version: options.version,
      board,
      operations: orders,
      stats: () => opened.stats(),
      routes,
      lookInto: (name) => picking.look(name),
    });
    if (ofConsole !== undefined) {
      certificates.push(ofConsole);
      undo.push(async () => ofConsole.close());
    }
    await web.start();
    undo.push(() => web.stop());

    state.ready = true;
    report({ event: 'gateway.ready', seconds: (performance.now() - begun) / 1000 });
    for (const out of outs.values()) void out.prime();
    alarms.start();
    const { heartbeat } = config.alarms;
    if (heartbeat !== undefined) {
      const { startHeartbeat } = await import('./watch/heartbeat.ts');
      const isWell = (): boolean => ready().ready;
      const beating = startHeartbeat({ ...heartbeat, url: heartbeat.url.reveal(), ask, isWell, report });
      undo.push(async () => beating.stop());
    }

    const stop = async (why: string): Promise<number> => {
      const started = performance.now();
      state.ready = false;
      state.stopping = true;
      report({ event: 'gateway.stopping', why });
      const budget = new AbortController();
      const timer = setTimeout(
        () => budget.abort(),
        Math.max(config.shutdown.timeout - SETTLE, config.shutdown.timeout / 2),
      );
      await Promise.all(sources.map((source) => source.stop(budget.signal)));
      const abandoned = await queue.stop(budget.signal);
      clearTimeout(timer);
      report({ event: 'gateway.stopped', seconds: (performance.now() - started) / 1000, abandoned });
      await unwind(undo);
      return abandoned;
    };
    let stopping: Promise<number> | undefined;
    return {
      listeners,
      consoleUrl: web.url(),
      failed: failure.promise,
      reload: async () => {
        await Promise.all([
          ...certificates.map((certificate) => certificate.reload()),
          ...[...outs.values()].map((out) => out.renew()),
          picking.renew(),
        ]);
        queue.mended();
      },
      stop: (why) => (stopping ??= stop(why)),
    };
  } catch (error) {
    await unwind(undo);
    throw asStartError(error);
  }
}

/** Runs every undo, last first; one that fails does not keep the others from running. */
async function unwind(undo: (() => Promise<unknown>)[]): Promise<void> {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) {
    await step().catch(() => undefined);
  }
}

/** Makes what a source brings durable as an item of its route, tells it, and wakes the queue. */
function injectInto(spool: Spool, queue: Queue, report: Report): Inject {
  return {
    room: (size) => spool.room(size),
    begin() {
      const begun = performance.now();
      const draft = spool.begin();
      return {
        id: draft.id,
        write: (chunk) => draft.write(chunk),
        abort: () => draft.abort(),
        async commit(arrival: Arrival, receipt?: Receipt) {
          const {
            envelope,
            origin,
            mailbox,
            route = DEFAULT_ROUTE,
            messageId,
            headerSize,
            isImportant = false,
            repairs,
          } = arrival;
          const entries = [
            {
              route,
              mailbox: mailbox.toLowerCase(),
              envelope,
              origin,
              messageId,
              headerSize,
              isImportant,
              repairs,
            },
          ];
          const items = receipt === undefined ? await draft.commit(entries) : await draft.commitOnce(entries, receipt);
          if (items === undefined) return false;
          report({
            event: 'message.accepted',
            id: draft.id,
            origin,
            messageId,
            reversePath: envelope.reversePath,
            recipients: envelope.recipients.map(({ address }) => address),
            size: items[0]?.size ?? 0,
            items: items.map(({ id }) => id),
            repairs,
            seconds: (performance.now() - begun) / 1000,
          });
          for (const item of items) queue.arrived(item);
          return true;
        },
      };
    },
  };
}
