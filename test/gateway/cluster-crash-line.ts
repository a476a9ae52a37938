/**
 * Three gateways on one PostgreSQL with a replica in step, and all that can happen to them, round after round, while
 * clients send and Exchange fails. A gateway that ends by itself, or a client that waits for ever, makes it throw.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { PostgresServer } from '../spool/postgres-server.ts';
import { GatewayCluster, until } from './cluster.ts';
import type { Books, HistoryRow, ItemRow } from './crash-books.ts';
import { balance } from './crash-books.ts';
import { CrashLoad } from './crash-load.ts';
import type { GatewayProcess, LogLine } from './process.ts';

const NAMES = ['a', 'b', 'c'] as const;
/** For each gateway. */
const SESSIONS = 2;
/** Milliseconds that a client waits for its answer, at the longest, when a server of the database is lost. */
const CLIENT_PATIENCE = 60_000;
/** Seconds until a message is accepted again when the database is back. */
const OUTAGE_PATIENCE = 30;
/** Milliseconds after the last round for what still waits. */
const PATIENCE = 180_000;

export interface ClusterLineOptions {
  readonly name: string;
  readonly saveToSentItems: boolean;
  readonly catchUp: 'inOrder' | 'parallel';
  /** Share of the messages that go in two steps. */
  readonly precious: number;
}

const EVENTS = {
  'rounds of kill -9 of one gateway': 0.28,
  'rounds of kill -9 of two gateways': 0.16,
  'rounds of kill -9 of PostgreSQL': 0.18,
  'rounds of fail-over to the replica': 0.16,
  'rounds of an orderly stop of a gateway': 0.08,
  'rounds of a pause of a gateway': 0.06,
  'rounds of nothing': 0.08,
} as const;
type What = keyof typeof EVENTS;

/** The database: a primary and a replica in step with it, on two ports that change their parts. */
export class Pair {
  primary: PostgresServer;
  replica: PostgresServer;
  private constructor(primary: PostgresServer, replica: PostgresServer) {
    this.primary = primary;
    this.replica = replica;
  }

  static async start(): Promise<Pair> {
    const primary = await PostgresServer.start();
    return new Pair(primary, await primary.replica());
  }

  get ports(): readonly number[] {
    return [this.primary.port, this.replica.port].toSorted((a, b) => a - b);
  }

  /** The primary is lost for ever, and its replica takes its place. */
  async failOver(): Promise<void> {
    const { primary: lost, replica } = this;
    await lost.kill();
    lost.remove();
    await replica.promote();
    [this.primary, this.replica] = [replica, lost];
  }

  /** A new replica in the place of the one that was lost. */
  async renew(): Promise<void> {
    this.replica = await this.primary.replica({ port: this.replica.port });
  }

  async close(): Promise<void> {
    await this.replica.close();
    await this.primary.close();
  }
}

const print = (line: string): void => void process.stdout.write(`${line}\n`);

export class ClusterLine {
  readonly name: string;
  readonly load: CrashLoad;
  readonly rounds: Record<string, number> = Object.fromEntries(Object.keys(EVENTS).map((what) => [what, 0]));
  readonly exits: (number | null)[] = [];
  readonly options: ClusterLineOptions;
  readonly #random: () => number;
  readonly #cluster: GatewayCluster;
  readonly #pair: Pair;
  readonly #database: string;
  readonly #gateways = new Map<string, GatewayProcess>();
  /** Milliseconds from the loss of the database's server until a message was accepted again; the part of it without a server. */
  readonly outages: { readonly accepted: number; readonly without: number }[] = [];

  private constructor(
    options: ClusterLineOptions,
    random: () => number,
    load: CrashLoad,
    pair: Pair,
    database: string,
  ) {
    this.name = options.name;
    this.options = options;
    this.#random = random;
    this.load = load;
    this.#pair = pair;
    this.#database = database;
    const ports = pair.ports;
    this.#cluster = new GatewayCluster({
      sandbox: load.sandbox,
      senders: load.senders,
      url: pair.primary.url(database, { ports, parameters: 'target_session_attrs=read-write&connect_timeout=2' }),
      exchange: `  timeouts: { request: 1s }\n  saveToSentItems: ${options.saveToSentItems}`,
      more: `
retry: { intervals: [1s], verifyAfter: 2s }
pacing: { perMailbox: { concurrency: 4, perMinute: unlimited }, catchUp: ${options.catchUp} }
`,
    });
  }

  static async start(options: ClusterLineOptions, random: () => number, pair: Pair): Promise<ClusterLine> {
    const load = await CrashLoad.start({ precious: options.precious, random });
    return new ClusterLine(options, random, load, pair, await pair.primary.database());
  }

  get bugs(): readonly LogLine[] {
    return this.#cluster.bugs;
  }

  async round(): Promise<void> {
    this.load.arm();
    const ports = await this.#all();
    await this.#forget();
    const isOver = new AbortController();
    const sessions = ports.flatMap((port) =>
      Array.from({ length: SESSIONS }, () => this.load.session(port, isOver.signal)),
    );
    if (this.#random() < 0.1) this.load.sandbox.identity.revokeAll();
    await pause(50 + this.#random() * 500);
    const what = this.#pick();
    await this.#do(what);
    // Some are long enough for the others to take over what was left, and to look after it.
    await pause(this.#random() < 0.4 ? 2_000 + this.#random() * 2_500 : this.#random() * 500);
    isOver.abort();
    await Promise.race([Promise.all(sessions), this.#impatient(isOver)]);
    this.rounds[what] = (this.rounds[what] ?? 0) + 1;
    this.load.count();
  }

  async #impatient(isOver: AbortController): Promise<never> {
    const timer = pause(CLIENT_PATIENCE, undefined, { ref: false });
    await timer;
    throw new Error(
      `a client got no answer for ${CLIENT_PATIENCE / 1000} s after its round${isOver.signal.aborted ? '' : '?'}`,
    );
  }

  /**
   * What Exchange tells to wait for, minutes and more, all gateways know and keep to, whoever is killed. As if that time had
   * passed.
   */
  async #forget(): Promise<void> {
    // Alone: gateways lock a lane and its route in that order, and this would do it in another.
    await this.#rows(
      `DO $$ BEGIN
         LOCK TABLE smtp2exchange.known IN EXCLUSIVE MODE;
         UPDATE smtp2exchange.known SET state = NULL, writer = NULL, version = nextval('smtp2exchange.known_version'),
           changed = (extract(epoch FROM clock_timestamp()) * 1000)::bigint WHERE state IS NOT NULL;
       END $$`,
    );
  }

  /** Starts those that are missing. @returns the ports of all */
  async #all(): Promise<number[]> {
    for (const name of NAMES) if (!this.#gateways.has(name)) this.#gateways.set(name, this.#cluster.start(name));
    return Promise.all([...this.#gateways.values()].map((gateway) => gateway.ready()));
  }

  #pick(): What {
    let left = this.#random();
    for (const [what, share] of Object.entries(EVENTS)) {
      left -= share;
      if (left < 0) return what as What;
    }
    return 'rounds of nothing';
  }

  async #do(what: What): Promise<void> {
    switch (what) {
      case 'rounds of kill -9 of one gateway':
        return this.#kill(this.#some(1));
      case 'rounds of kill -9 of two gateways':
        return this.#kill(this.#some(2));
      case 'rounds of kill -9 of PostgreSQL':
        return this.#outage(async () => {
          await this.#pair.primary.kill();
          await pause(this.#random() * 300);
          await this.#pair.primary.restart();
        });
      case 'rounds of fail-over to the replica':
        await this.#outage(() => this.#pair.failOver());
        return this.#pair.renew();
      case 'rounds of an orderly stop of a gateway': {
        const [name = ''] = this.#some(1);
        const ended = await this.#gateways.get(name)?.stop();
        this.#gateways.delete(name);
        this.exits.push(ended?.code ?? null);
        return;
      }
      case 'rounds of a pause of a gateway': {
        const [name = ''] = this.#some(1);
        const child = this.#gateways.get(name)?.child;
        child?.kill('SIGSTOP');
        await pause(500 + this.#random() * 3_500);
        child?.kill('SIGCONT');
        return;
      }
      case 'rounds of nothing':
        return;
    }
  }

  async #outage(lose: () => Promise<void>): Promise<void> {
    const begun = performance.now();
    await lose();
    const without = performance.now() - begun;
    const { acknowledged } = this.load;
    const before = acknowledged.size;
    const ports = await Promise.all([...this.#gateways.values()].map((gateway) => gateway.ready()));
    const isOver = new AbortController();
    const clients = ports.map(async (port) => {
      while (!isOver.signal.aborted) {
        await this.load.session(port, isOver.signal);
        await pause(50);
      }
    });
    await until('a message is accepted again', () => acknowledged.size > before, OUTAGE_PATIENCE);
    this.outages.push({ accepted: performance.now() - begun, without });
    isOver.abort();
    await Promise.all(clients);
  }

  #some(count: number): string[] {
    return NAMES.map((name) => [this.#random(), name] as const)
      .toSorted(([a], [b]) => a - b)
      .slice(0, count)
      .map(([, name]) => name);
  }

  async #kill(names: readonly string[]): Promise<void> {
    for (const name of names) this.#gateways.get(name)?.child.kill('SIGKILL');
    for (const name of names) {
      const gateway = this.#gateways.get(name);
      const ended = await gateway?.exited;
      if (ended?.signal !== 'SIGKILL')
        throw new Error(`a gateway ended by itself (${ended?.code}): ${gateway?.errors.join('\n')}`);
      // A line cut short by the kill is no noise.
      if ((gateway?.noise.length ?? 0) > 1) throw new Error(`not only JSON in the log: ${gateway?.noise.join('\n')}`);
      this.#gateways.delete(name);
    }
  }

  /** All gateways, with an Exchange that behaves, get rid of what waits, and end in order. */
  async drain(): Promise<void> {
    this.load.calm();
    await this.#all();
    // What has begun before Exchange was calm may still be told to wait.
    await pause(3_000);
    await this.#forget();
    const deadline = Date.now() + PATIENCE;
    const waiting = `SELECT count(*)::int AS count FROM smtp2exchange.item WHERE state IN ('queued', 'sending')`;
    while (Date.now() < deadline && (await this.#rows<{ count: number }>(waiting))[0]?.count !== 0) await pause(500);
    if (Date.now() >= deadline) await this.#tellWaits();
    const ended = await Promise.all([...this.#gateways.values()].map((gateway) => gateway.stop()));
    this.exits.push(...ended.map(({ code }) => code));
  }

  /** Why it still waits. */
  async #tellWaits(): Promise<void> {
    for (const table of ['known', 'duty', 'member'])
      for (const row of await this.#rows(`SELECT * FROM smtp2exchange.${table}`))
        print(`${table} ${JSON.stringify(row)}`);
    for (const gateway of this.#gateways.values())
      for (const line of gateway.lines.slice(-20)) print(JSON.stringify(line).slice(0, 500));
  }

  #rows<Row extends object>(sql: string, ...values: string[]): Promise<Row[]> {
    return this.#pair.primary.sql<Row & Record<string, unknown>>(sql, this.#database, values);
  }

  async books(): Promise<Books> {
    const items = await this.#rows<ItemRow>(
      'SELECT id, state, doubtful::int, ended, message_id, origin FROM smtp2exchange.item',
    );
    const history = Map.groupBy(
      await this.#rows<HistoryRow>('SELECT item, what, detail, status FROM smtp2exchange.history ORDER BY number'),
      ({ item }) => item,
    );
    return balance(this.load.acknowledged, items, history, this.load.arrivals(), this.load.deferred);
  }

  async tell(messageId: string): Promise<void> {
    const rows = await this.#rows<HistoryRow & { at: string; state: string }>(
      'SELECT state, at, what, detail, history.status FROM smtp2exchange.item JOIN smtp2exchange.history ON item = id WHERE message_id = $1 ORDER BY number',
      messageId,
    );
    print(`${this.name} ${messageId}, arrived at`);
    for (const at of this.load.arrivedAt(messageId)) print(`  ${at}`);
    for (const { at, what, detail, status, state } of rows)
      print(`  ${state} ${at} ${what} ${detail ?? ''} ${JSON.stringify(status) ?? ''}`.slice(0, 300));
  }

  async close(isKept: boolean): Promise<void> {
    await this.#cluster.close(isKept);
    await this.load.sandbox.close();
    if (isKept) print(`kept: ${this.#cluster.place.path}`);
  }
}
