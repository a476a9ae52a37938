/**
 * One gateway of the crash test with its own Exchange and its own spool: killed in rounds, under load, while Exchange
 * fails. A gateway that ends by itself makes it throw.
 */
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { configText } from './config-text.ts';
import type { Books, HistoryRow, ItemRow } from './crash-books.ts';
import { balance } from './crash-books.ts';
import { CrashLoad } from './crash-load.ts';
import type { Folder, LogLine } from './process.ts';
import { folder, GatewayProcess } from './process.ts';

const SESSIONS = 4;
/** Milliseconds after the last round for what still waits. */
const PATIENCE = 120_000;

export interface LineOptions {
  readonly name: string;
  readonly saveToSentItems: boolean;
  readonly catchUp: 'inOrder' | 'parallel';
  /** Share of the messages that go in two steps. */
  readonly precious: number;
}

const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** One gateway with its Exchange and its spool, killed a number of times. */
export class Line {
  readonly name: string;
  readonly load: CrashLoad;
  rounds = 0;
  readonly #options: LineOptions;
  readonly #random: () => number;
  readonly #place: Folder;
  readonly #config: string;
  readonly bugs: LogLine[] = [];

  private constructor(options: LineOptions, random: () => number, load: CrashLoad) {
    this.name = options.name;
    this.#options = options;
    this.#random = random;
    this.#place = folder();
    this.load = load;
    this.#config = this.#place.write('config.yaml', this.#configuration());
  }

  static async start(options: LineOptions, random: () => number): Promise<Line> {
    return new Line(options, random, await CrashLoad.start({ precious: options.precious, random }));
  }

  #configuration(): string {
    const { saveToSentItems, catchUp } = this.#options;
    const { sandbox, senders } = this.load;
    return configText({
      sandbox,
      caFile: this.#place.write('ca.pem', sandbox.ca),
      senders,
      exchange: `  timeouts: { request: 1s }\n  saveToSentItems: ${saveToSentItems}`,
      more: `
retry: { intervals: [1s], verifyAfter: 2s }
pacing: { perMailbox: { concurrency: 4, perMinute: unlimited }, catchUp: ${catchUp} }
spool: { sqlite: ${this.#place.path}/spool.db }
`,
    });
  }

  async round(): Promise<void> {
    this.load.arm();
    const gateway = this.#spawn();
    const random = this.#random();
    if (random < 0.1) {
      // While it starts: it may just be putting right what the last one left.
      await Promise.race([gateway.event('spool.open'), gateway.exited]);
      await pause(this.#random() * 150);
      await this.#kill(gateway);
    } else {
      const port = await gateway.ready();
      const isOver = new AbortController();
      const sessions = Array.from({ length: SESSIONS }, () => this.load.session(port, isOver.signal));
      if (this.#random() < 0.1) this.load.sandbox.identity.revokeAll();
      // Some live long enough to look after what the one before left in doubt.
      await pause(random < 0.25 ? 1_500 + this.#random() * 1_500 : 50 + this.#random() * 400);
      await this.#kill(gateway);
      isOver.abort();
      await Promise.all(sessions);
    }
    this.rounds++;
    this.load.count();
  }

  #spawn(): GatewayProcess {
    return new GatewayProcess(this.#config, { SECRET: this.load.sandbox.clientSecret });
  }

  async #kill(gateway: GatewayProcess): Promise<void> {
    const { signal, code } = await gateway.stop('SIGKILL');
    if (signal !== 'SIGKILL') throw new Error(`the gateway ended by itself (${code}): ${gateway.errors.join('\n')}`);
    this.#look(gateway);
  }

  #look({ lines, noise }: GatewayProcess): void {
    this.bugs.push(...lines.filter(({ event }) => event === 'bug'));
    // A line cut short by the kill is no noise.
    if (noise.length > 1) throw new Error(`not only JSON in the log: ${noise.join('\n')}`);
  }

  /** The last gateway, with an Exchange that behaves, gets rid of what waits. @returns how it ended */
  async drain(): Promise<number | null> {
    this.load.calm();
    const last = this.#spawn();
    await last.ready();
    const deadline = Date.now() + PATIENCE;
    const waiting = `SELECT count(*) AS count FROM item WHERE state IN ('queued', 'sending')`;
    while (Date.now() < deadline && this.#rows<{ count: number }>(waiting)[0]?.count !== 0) await pause(500);
    const { code } = await last.stop();
    this.#look(last);
    return code;
  }

  #rows<Row>(sql: string, ...values: string[]): Row[] {
    const spool = new DatabaseSync(`${this.#place.path}/spool.db`, { readOnly: true, timeout: 10_000 });
    try {
      return spool.prepare(sql).all(...values) as Row[];
    } finally {
      spool.close();
    }
  }

  books(): Books {
    const items = this.#rows<ItemRow>('SELECT id, state, doubtful, ended, message_id, origin FROM item');
    const history = Map.groupBy(
      this.#rows<HistoryRow>('SELECT item, what, detail, status FROM history ORDER BY rowid'),
      ({ item }) => item,
    );
    return balance(this.load.acknowledged, items, history, this.load.arrivals(), this.load.deferred);
  }

  tell(messageId: string): void {
    const rows = this.#rows<HistoryRow & { at: number; state: string }>(
      'SELECT state, at, what, detail, history.status FROM item JOIN history ON item = id WHERE message_id = ? ORDER BY history.rowid',
      messageId,
    );
    print(`${this.name} ${messageId}, arrived at`);
    for (const at of this.load.arrivedAt(messageId)) print(`  ${at}`);
    for (const { at, what, detail, status, state } of rows)
      print(`  ${state} ${at} ${what} ${detail ?? ''} ${status ?? ''}`.slice(0, 300));
  }

  async close(isKept: boolean): Promise<void> {
    await this.load.sandbox.close();
    if (isKept) print(`kept: ${this.#place.path}`);
    else this.#place.remove();
  }
}
