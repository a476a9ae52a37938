/**
 * One gateway of the crash test with its own Exchange and its own spool: killed in rounds, under load, while Exchange
 * fails. A gateway that ends by itself makes it throw.
 */
import { createHash, randomBytes } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import type { Books, HistoryRow, ItemRow } from './crash-books.ts';
import { balance } from './crash-books.ts';
import { IDENTITY, KINDS, pick } from './crash-faults.ts';
import type { Folder, LogLine } from './process.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const SESSIONS = 4;
/** Messages of a session in one round. */
const MESSAGES = 12;
/** Sending mailboxes: what holds one of them back leaves the others. */
const MAILBOXES = Array.from({ length: 10 }, (_, n) => `m${n}@contoso.com`);
const RECIPIENT = 'y@contoso.com';
const PART = 0.3;
/** Faults that stand ready for a round; more than it can meet. */
const READY = 150;
/** Milliseconds after the last round for what still waits. */
const PATIENCE = 120_000;

export interface LineOptions {
  readonly name: string;
  readonly saveToSentItems: boolean;
  readonly catchUp: 'inOrder' | 'parallel';
  /** Share of the messages that go in two steps. */
  readonly precious: number;
}

const digest = (octets: string | Buffer): string => createHash('sha256').update(octets).digest('hex');

const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** One gateway with its Exchange and its spool, killed a number of times. */
export class Line {
  readonly name: string;
  readonly hits = new Map<string, number>();
  /** Of the right shape, whatever came of them, while Exchange fails. */
  requests = 0;
  rounds = 0;
  isDriven = true;
  sent = 0;
  readonly #options: LineOptions;
  readonly #random: () => number;
  readonly #place: Folder;
  readonly #sandbox: Sandbox;
  readonly #config: string;
  /** Message-ID -> digest of the body, for each message that was answered 250. */
  readonly #acknowledged = new Map<string, string>();
  /** Message-IDs of what goes in two steps. */
  readonly precious = new Set<string>();
  readonly bugs: LogLine[] = [];

  private constructor(options: LineOptions, random: () => number, place: Folder, sandbox: Sandbox) {
    this.name = options.name;
    this.#options = options;
    this.#random = random;
    this.#place = place;
    this.#sandbox = sandbox;
    this.#config = place.write('config.yaml', this.#configuration());
  }

  static async start(options: LineOptions, random: () => number): Promise<Line> {
    let line: Line | undefined;
    const mailboxes = [...MAILBOXES, RECIPIENT].map((address) => ({ address }));
    const record = (document: Buffer): void => {
      if (line?.isDriven === true && !document.subarray(0, 3_000).includes('ResponseMessages')) line.requests++;
    };
    const sandbox = await startSandbox({ mailboxes, record });
    line = new Line(options, random, folder(), sandbox);
    return line;
  }

  #configuration(): string {
    const { saveToSentItems, catchUp } = this.#options;
    const rules = MAILBOXES.map((address) => `{ from: "${address}", mailbox: ${address} }`).join(', ');
    return configText({
      sandbox: this.#sandbox,
      caFile: this.#place.write('ca.pem', this.#sandbox.ca),
      senders: `{ mailbox: ${MAILBOXES[0]}, rules: [${rules}] }`,
      exchange: `  timeouts: { request: 1s }\n  saveToSentItems: ${saveToSentItems}`,
      more: `
retry: { intervals: [1s], verifyAfter: 2s }
pacing: { perMailbox: { concurrency: 4, perMinute: unlimited }, catchUp: ${catchUp} }
spool: { sqlite: ${this.#place.path}/spool.db }
`,
    });
  }

  async round(): Promise<void> {
    this.#arm();
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
      const sessions = Array.from({ length: SESSIONS }, () => this.#session(port, isOver.signal));
      if (this.#random() < 0.1) this.#sandbox.identity.revokeAll();
      // Some live long enough to look after what the one before left in doubt.
      await pause(random < 0.25 ? 1_500 + this.#random() * 1_500 : 50 + this.#random() * 400);
      await this.#kill(gateway);
      isOver.abort();
      await Promise.all(sessions);
    }
    this.rounds++;
    this.#count();
  }

  #spawn(): GatewayProcess {
    return new GatewayProcess(this.#config, { SECRET: this.#sandbox.clientSecret });
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

  #arm(): void {
    const { identity } = this.#sandbox;
    this.#sandbox.clearFaults();
    identity.faults.clear();
    for (let after = 0, left = READY; left > 0; left--) {
      while (this.#random() >= PART) after++;
      this.#sandbox.fault({ when: { after, count: 1 }, does: pick(this.#random(), this.#random()) });
    }
    if (this.#random() >= 0.25) return;
    const fault = IDENTITY[Math.floor(this.#random() * IDENTITY.length)];
    if (fault !== undefined) identity.faults.push(fault);
  }

  #count(): void {
    for (const { fault, hit } of this.#sandbox.faults()) {
      const name = KINDS.get(fault.does) ?? '';
      if (hit > 0) this.hits.set(name, (this.hits.get(name) ?? 0) + hit);
    }
  }

  async #session(port: number, isOver: AbortSignal): Promise<void> {
    try {
      const smtp = await RawSmtp.open(port);
      for (let left = MESSAGES; left > 0 && !isOver.aborted; left--) {
        const id = `<${++this.sent}.${randomBytes(4).toString('hex')}@crash.test>`;
        const lines = 1 + Math.floor(this.#random() ** 12 * 4_000);
        const body = `${Array.from({ length: lines }, () => randomBytes(36).toString('base64url')).join('\r\n')}\r\n`;
        const from = MAILBOXES[Math.floor(this.#random() * MAILBOXES.length)] ?? '';
        const isPrecious = this.#random() < this.#options.precious;
        if (isPrecious) this.precious.add(id);
        const wish = isPrecious ? 'X-Precious: yes\r\n' : '';
        const header = `From: ${from}\r\nTo: ${RECIPIENT}\r\nSubject: crash ${this.sent}\r\n${wish}Message-ID: ${id}\r\n\r\n`;
        await smtp.send(from, [RECIPIENT], header + body);
        this.#acknowledged.set(id, digest(body));
      }
    } catch {
      // killed: what was not acknowledged does not count
    }
  }

  /** The last gateway, with an Exchange that behaves, gets rid of what waits. @returns how it ended */
  async drain(): Promise<number | null> {
    this.isDriven = false;
    this.#sandbox.clearFaults();
    this.#sandbox.identity.faults.clear();
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
    return balance(this.#acknowledged, items, history, this.#arrivals());
  }

  /** Message-ID -> digests of the bodies of each copy that arrived. */
  #arrivals(): Map<string, string[]> {
    const arrivals = new Map<string, string[]>();
    for (const { messageId, submitted } of this.#sandbox.arrived()) {
      const body = digest(submitted.subarray(submitted.indexOf('\r\n\r\n') + 4));
      arrivals.set(messageId, [...(arrivals.get(messageId) ?? []), body]);
    }
    return arrivals;
  }

  tell(messageId: string): void {
    const rows = this.#rows<HistoryRow & { at: number; state: string }>(
      'SELECT state, at, what, detail, history.status FROM item JOIN history ON item = id WHERE message_id = ? ORDER BY history.rowid',
      messageId,
    );
    print(`${this.name} ${messageId}, arrived at`);
    for (const one of this.#sandbox.arrived()) if (one.messageId === messageId) print(`  ${one.at}`);
    for (const { at, what, detail, status, state } of rows)
      print(`  ${state} ${at} ${what} ${detail ?? ''} ${status ?? ''}`.slice(0, 300));
  }

  async close(isKept: boolean): Promise<void> {
    await this.#sandbox.close();
    if (isKept) print(`kept: ${this.#place.path}`);
    else this.#place.remove();
  }
}
