/**
 * The gateway: every part built from a Config, started, and stopped in reverse. This file is the whole start-up, top to
 * bottom. A failing Exchange or identity server does not prevent the start: the gateway is a buffer. What does prevent
 * it is a StartError, one sentence for the person who must act.
 */
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { credentialsOf, openAlerting } from './assembly/alerting.ts';
import type { Alerting } from './assembly/alerting.ts';
import { consoleBoard, consoleOf } from './assembly/console.ts';
import { injectInto } from './assembly/inject.ts';
import { openListeners } from './assembly/listeners.ts';
import { refuseMoved, watchMoved } from './assembly/moved.ts';
import { openOutlets } from './assembly/outlets.ts';
import { openPickups } from './assembly/pickup.ts';
import { openPop3Door } from './assembly/pop3-door.ts';
import type { Reloaded } from './assembly/reload.ts';
import { accountsIn, reloader } from './assembly/reload.ts';
import { bouncerOf, queueSettingsOf } from './assembly/sending.ts';
import { openSpool, spoolName } from './assembly/spool.ts';
import { asStartError } from './assembly/start-error.ts';
import { live } from './assembly/step.ts';
import type { Config } from './config/config.ts';
import type { Loaded } from './config/load.ts';
import { openControl } from './console/control.ts';
import { operations } from './console/operations.ts';
import type { Report } from './mail/event.ts';
import type { LimitedSpool } from './mail/spool.ts';
import { createQueue } from './queue/queue.ts';
import { forgetOld } from './spool/forget.ts';
import { createLog } from './watch/log.ts';
import { createMetrics } from './watch/metrics.ts';

/** Kept back from the shutdown budget to write down what became of attempts that were cut short. */
const SETTLE = 1_500;
const PURGE_INTERVAL = 3_600_000;
/** Milliseconds that a database has to let go of this gateway. */
const CLOSE_GRACE = 2_000;

export interface GatewayOptions {
  readonly version: string;
  /** The configuration file's name, for the log. */
  readonly configFile: string;
  /** Reads the configuration anew, for reload(). Without it, that looks at certificates and credentials only. */
  readonly reread?: () => Promise<Loaded>;
  /** Where the log goes, default standard output. */
  readonly logTo?: NodeJS.WritableStream;
}

export interface Gateway {
  /** Where clients connect, as it is now. */
  readonly listeners: readonly { readonly name: string; readonly address: string; readonly port: number }[];
  readonly consoleUrl: string;
  /** Resolves if the gateway cannot go on: the spool is lost for this process. Nothing is accepted any more. */
  readonly failed: Promise<Error>;
  /**
   * Reads the configuration anew and takes it into use as far as that can be done while sessions go on, or not at all; and
   * looks at once at the files of certificates and credentials, at mailboxes, and at what a person had to mend. Never
   * rejects; calls take turns.
   */
  reload(): Promise<Reloaded>;
  /** Ends everything within the shutdown budget. @returns attempts that had to be cut short */
  stop(why: string): Promise<number>;
}

export async function startGateway(config: Config, options: GatewayOptions): Promise<Gateway> {
  const begun = performance.now();
  const undo: (() => Promise<unknown>)[] = [];
  const state = { stopping: false, ready: false };
  const ending = new AbortController();
  let inUse = config;
  try {
    // watch
    const log = createLog({
      report: (event) => report(event),
      ...config.log,
      ...(options.logTo === undefined ? {} : { destination: options.logTo }),
    });
    undo.push(() => log.flush());
    let spool: LimitedSpool | undefined;
    const credentials = new Map([...credentialsOf(config)].map(([account, { expiresAt }]) => [account, expiresAt]));
    const metrics = createMetrics({
      version: options.version,
      stats: async () => spool?.stats(),
      routes: routesOf(config),
      pickups: config.pickups.map(({ name }) => name),
      accounts: accountsIn(config),
      credentials,
    });
    const alerting: Alerting = await openAlerting(config, {
      stats: async () => spool?.stats(),
      room: () => spool?.room(),
      report: (event) => report(event),
    });
    undo.push(() => alerting.stop());
    const board = consoleBoard(config, credentials, (event) => report(event));
    /** What the console asks for, once it is there. */
    const again: { reload(by?: string): Promise<Reloaded> } = {
      reload: async () => ({ ok: false, faults: ['The gateway is just starting: try again in a moment'] }),
    };
    /** Where the gateway itself listens, by name. */
    const listening = new Map<string, { address: string; port: number }>();
    const report: Report = (event) => {
      log.report(event);
      metrics.report(event);
      alerting.report(event);
      board.report(event);
      if (event.event === 'listener.open') listening.set(event.listener, event);
      if (event.event === 'console.open')
        listening.set('', { address: config.console.address, port: Number(new URL(event.url).port) });
      if (event.event === 'config.reloaded') for (const name of event.removed.listeners) listening.delete(name);
    };
    const { version, configFile } = options;
    report({ event: 'gateway.starting', version, node: process.versions.node, config: configFile });

    // spool
    const failure = Promise.withResolvers<Error>();
    const { spool: opened, cluster } = await openSpool(config, {
      report,
      version,
      onLost: (error) => failure.resolve(error),
    });
    spool = opened;
    // A database that does not answer is not waited for: it needs no farewell.
    undo.push(async () => {
      await (cluster === undefined
        ? opened.close()
        : Promise.race([opened.close(), pause(CLOSE_GRACE, undefined, { ref: false })]));
    });
    await refuseMoved(opened, cluster, spoolName(config.spool.store));
    alerting.join(cluster);
    undo.push(() => alerting.leave());
    undo.push(watchMoved(opened, cluster, spoolName(config.spool.store), failure.resolve));

    // transports
    const outlets = await openOutlets(config, { version, report });
    undo.push(() => outlets.close());

    // queue
    const bouncer = bouncerOf(() => inUse, opened);
    const queue = createQueue({
      spool: opened,
      ...(cluster && { cluster }),
      report,
      bouncer,
      ...queueSettingsOf(config, outlets.transports),
    });
    queue.start();
    undo.push(() => queue.stop(AbortSignal.abort()));
    const arrived = queue.arrived.bind(queue);
    const orders = operations({ spool: opened, report, arrived });
    const control = await openControl({
      folder: config.spool.folder,
      spool: spoolName(config.spool.store),
      operations: orders,
      get routes() {
        return routesOf(inUse);
      },
      report,
      version,
      listening: () => [...listening.values()],
    });
    undo.push(() => control.stop());
    const purge = setInterval(() => void forgetOld(opened, inUse.spool, report, Date.now()), PURGE_INTERVAL);
    undo.push(async () => clearInterval(purge));

    // sources
    const inject = injectInto(opened, queue, report);
    const listeners = await openListeners(config, { inject, report });
    undo.push(() => listeners.stop(AbortSignal.abort()));
    const door = await openPop3Door(config, { spool: opened, bouncer, arrived, report, cluster });
    undo.push(() => door.stop(AbortSignal.abort()));
    const pickups = await openPickups(config, {
      inject,
      ledger: opened,
      report,
      version,
      cluster,
      ending: ending.signal,
    });
    undo.push(() => pickups.close());
    await pickups.start();
    undo.push(() => pickups.stop(AbortSignal.abort()));
    const sources = [listeners, door, pickups];

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
      routes: () => routesOf(inUse),
      pickups: () => inUse.pickups.map(({ name }) => name),
      logins: () => inUse.logins,
      together: cluster && { id: cluster.id, members: () => cluster.members(), alarms: alerting.elsewhere },
      lookInto: (name) => pickups.look(name),
      reload: (by) => again.reload(by),
    });
    undo.push(async () => ofConsole?.close());
    await web.start();
    undo.push(() => web.stop());

    state.ready = true;
    report({ event: 'gateway.ready', seconds: (performance.now() - begun) / 1000 });
    outlets.prime();
    await alerting.start(() => ready().ready);

    // another configuration
    const reload = reloader({
      file: configFile,
      reread: options.reread ?? (async () => ({ config: inUse })),
      inUse: () => inUse,
      parts: [
        live((next) => void (inUse = next)),
        outlets.follow,
        live((next) => queue.use(queueSettingsOf(next, outlets.transports))),
        listeners.follow,
        door.follow,
        live((next) => log.use(next.log)),
        live((next) => opened.limit(next.spool)),
        alerting.follow,
        pickups.follow,
      ],
      ending: ending.signal,
      report,
    });
    again.reload = async (by) => {
      const reloaded = await reload(by);
      await renew();
      return reloaded;
    };
    const renew = async (): Promise<void> => {
      if (ending.signal.aborted) return;
      await Promise.all([ofConsole?.reload(), ...[listeners, door, outlets, pickups].map((part) => part.renew())]);
      queue.mended();
    };

    const stop = async (why: string): Promise<number> => {
      const started = performance.now();
      const { timeout } = inUse.shutdown;
      state.ready = false;
      state.stopping = true;
      report({ event: 'gateway.stopping', why });
      const budget = new AbortController();
      const timer = setTimeout(() => budget.abort(), Math.max(timeout - SETTLE, timeout / 2));
      // One that is under way ends first, and soon.
      ending.abort();
      await Promise.race([reload(), once(budget.signal, 'abort')]);
      await Promise.all(sources.map((source) => source.stop(budget.signal)));
      const abandoned = await queue.stop(budget.signal);
      clearTimeout(timer);
      report({ event: 'gateway.stopped', seconds: (performance.now() - started) / 1000, abandoned });
      await unwind(undo);
      return abandoned;
    };
    let stopping: Promise<number> | undefined;
    return {
      get listeners() {
        return listeners.open;
      },
      consoleUrl: web.url(),
      failed: failure.promise,
      reload: () => again.reload(),
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

/** By name, pickups among them. */
function routesOf({ routes, pickups }: Config): readonly string[] {
  return [...routes, ...pickups].map(({ name }) => name);
}
