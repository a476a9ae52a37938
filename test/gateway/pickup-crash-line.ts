/**
 * One gateway of the crash test of pickup, with its own Exchange and its own spool: it empties two mailboxes, one into a
 * folder, one to a webhook, and is killed in rounds while all three fail. A gateway that ends by itself makes it throw.
 */
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import type { EventName } from '../../src/mail/event.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import type { Books } from './pickup-crash-books.ts';
import { balance } from './pickup-crash-books.ts';
import { faultsOf, KINDS } from './pickup-crash-faults.ts';
import { Consumer } from './pickup-crash-folder.ts';
import { Hook } from './pickup-crash-hook.ts';
import type { Fed } from './pickup-crash-mail.ts';
import { BLOCKED, bodyOf, digest, HANDED_OVER, makeMail } from './pickup-crash-mail.ts';
import type { Folder, LogLine } from './process.ts';
import { folder, GatewayProcess } from './process.ts';

const FILES = 'files@contoso.com';
const HOOK = 'hook@contoso.com';
/** Mails of a round, on average; those of a batch come together. */
const MAILS = 7;
/** Milliseconds after the last round for what still waits. */
const PATIENCE = 120_000;

/** Close to what has to hold together: the receipt, the filing, the hand-over. */
const TURNS = ['message.accepted', 'pickup.filed', 'delivery.started', 'delivery.relayed', 'pickup.refused'] as const;

/** `both`: another way in each round, which the receipts must not notice. */
export type Way = 'ews' | 'graph' | 'both';

export class Line {
  readonly name: Way;
  readonly hits = new Map<string, number>();
  readonly bugs: LogLine[] = [];
  readonly counts = new Map<string, number>();
  rounds = 0;
  /** Items that a person moved. */
  moves = 0;
  /** Log lines of the last look at what is done: nothing is to be done then. */
  readonly afterwards: string[] = [];
  readonly consumer: Consumer;
  readonly hook: Hook;
  readonly #random: () => number;
  readonly #place: Folder;
  readonly #sandbox: Sandbox;
  readonly #caFile: string;
  readonly #fed: (Fed & { copies: number; readonly searchKey: string; readonly mailbox: string })[] = [];

  private constructor(name: Way, random: () => number, place: Folder, parts: { sandbox: Sandbox; hook: Hook }) {
    this.name = name;
    this.#random = random;
    this.#place = place;
    this.#sandbox = parts.sandbox;
    this.hook = parts.hook;
    this.consumer = new Consumer(`${place.path}/out`);
    this.#caFile = place.write('ca.pem', parts.sandbox.ca);
  }

  static async start(name: Way, random: () => number): Promise<Line> {
    const mailboxes = [FILES, HOOK, 'notifications@contoso.com'].map((address) => ({ address }));
    return new Line(name, random, folder(), {
      sandbox: await startSandbox({ mailboxes }),
      hook: await Hook.start(random),
    });
  }

  #config(transport: 'ews' | 'graph'): string {
    const { graphUrl } = this.#sandbox;
    const pickup = (name: string, mailbox: string, deliver: string): string =>
      `  - { name: ${name}, mailbox: ${mailbox}, transport: ${transport}, interval: 1s, claim: false, deliver: ${deliver}, from: { deny: ["*@${BLOCKED}"] }, answer: { refusal: "Only colleagues may send faxes." } }`;
    const text = configText({
      sandbox: this.#sandbox,
      caFile: this.#caFile,
      exchange: `  graphUrl: ${graphUrl}\n  timeouts: { request: 1s }`,
      more: `
retry: { intervals: [1s], verifyAfter: 1s }
pacing: { catchUp: parallel }
spool: { sqlite: ${this.#place.path}/spool.db }
log: { level: debug }
pickup:
${pickup('files', FILES, `{ folder: { path: ${this.consumer.path} } }`)}
${pickup('hook', HOOK, `{ webhook: { url: ${this.hook.url}, secret: ${Hook.secret}, timeout: 1s } }`)}
`,
    });
    return this.#place.write(`${transport}.yaml`, text);
  }

  async round(): Promise<void> {
    const transport = this.name === 'both' ? (this.#random() < 0.5 ? 'ews' : 'graph') : this.name;
    this.#sandbox.clearFaults();
    for (const fault of faultsOf(transport, this.#random)) this.#sandbox.fault(fault);
    const isObstructed = this.#random() < 0.1;
    if (isObstructed) this.consumer.obstruct();
    await this.#feed();
    const gateway = this.#spawn(transport);
    const isOver = new AbortController();
    const feeding = this.#feedLater(isOver.signal);
    if (this.#random() < 0.05) this.#sandbox.identity.revokeAll();
    if (this.#random() < 0.05) this.#sandbox.loseSubscriptions();
    await this.#moment(gateway);
    await this.#kill(gateway);
    isOver.abort();
    await feeding;
    if (isObstructed) this.consumer.clear();
    if (this.#random() < 0.5) this.consumer.take();
    this.rounds++;
    for (const { fault, hit } of this.#sandbox.faults()) {
      const kind = KINDS.get(fault.does) ?? '';
      if (hit > 0) this.hits.set(kind, (this.hits.get(kind) ?? 0) + hit);
    }
  }

  /** When it is killed. */
  async #moment(gateway: GatewayProcess): Promise<void> {
    const chance = this.#random();
    if (chance < 0.1) return void (await pause(5 + this.#random() * 800));
    const after = async (event: EventName, seconds: number): Promise<void> => {
      const told = gateway.line((line) => line.event === event, seconds);
      await told.catch(() => undefined);
    };
    await after('gateway.ready', 20);
    if (chance < 0.45) return void (await pause(this.#random() * 1_000));
    await after(TURNS[Math.floor(this.#random() * TURNS.length)] ?? 'pickup.filed', 1.5);
    await pause(this.#random() * 60);
  }

  /** Some mails to each mailbox, all at once, now and then a copy of one that came before. */
  async #feed(): Promise<void> {
    for (let left = Math.round(this.#random() * MAILS); left > 0; left--) {
      const mailbox = this.#random() < 0.5 ? FILES : HOOK;
      const older = this.#fed[Math.floor(this.#random() * this.#fed.length)];
      if (older !== undefined && older.sort !== 'meeting' && this.#random() < 0.07) {
        const { mailbox: address, mail, searchKey } = older;
        older.copies++;
        await this.#sandbox.receive(address, { ...mail, searchKey });
        continue;
      }
      const made = makeMail(`${this.name}.${this.#fed.length + 1}`, mailbox, this.#random);
      const { searchKey } = await this.#sandbox.receive(mailbox, made.mail);
      this.#fed.push({ ...made, mailbox, searchKey, copies: 0 });
    }
  }

  /** While the gateway lives, or when it is dead if that comes first. */
  async #feedLater(signal: AbortSignal): Promise<void> {
    await pause(this.#random() * 1_500, undefined, { signal }).catch(() => undefined);
    await this.#feed();
    if (this.#random() < 0.5) this.#meddle();
  }

  /** A person moves items back to where they were, or away and back again, while they are on their way. */
  #meddle(): void {
    const mailbox = this.#sandbox.mailbox(this.#random() < 0.5 ? FILES : HOOK);
    const path = ['Processed', 'Refused', 'Quarantine', 'Inbox'][Math.floor(this.#random() * 4)] ?? '';
    const { items = [] } = mailbox.folder(path) ?? {};
    const item = items[Math.floor(this.#random() * items.length)];
    if (item === undefined) return;
    const moved = path === 'Inbox' ? mailbox.move(item.id, 'archive') : item;
    if (moved !== undefined) mailbox.move(moved.id, 'inbox');
    this.moves++;
  }

  #spawn(transport: 'ews' | 'graph'): GatewayProcess {
    return new GatewayProcess(this.#config(transport), { SECRET: this.#sandbox.clientSecret });
  }

  async #kill(gateway: GatewayProcess): Promise<void> {
    const { signal, code } = await gateway.stop('SIGKILL');
    if (signal !== 'SIGKILL') throw new Error(`the gateway ended by itself (${code}): ${gateway.errors.join('\n')}`);
    this.#look(gateway);
  }

  #look({ lines, noise }: GatewayProcess): void {
    this.bugs.push(...lines.filter(({ event }) => event === 'bug'));
    for (const { event } of lines) this.counts.set(event, (this.counts.get(event) ?? 0) + 1);
    // A line cut short by the kill is no noise.
    if (noise.length > 1) throw new Error(`not only JSON in the log: ${noise.join('\n')}`);
  }

  /** Gateways that nothing hinders: one does what is left, one finds nothing left. @returns how they ended */
  async drain(): Promise<readonly (number | null)[]> {
    this.#sandbox.clearFaults();
    this.hook.isCalm = true;
    const transport = this.name === 'graph' ? 'graph' : 'ews';
    const last = this.#spawn(transport);
    await last.ready();
    const deadline = Date.now() + PATIENCE;
    while (Date.now() < deadline && !this.#isDone()) await pause(200);
    const first = await last.stop();
    this.#look(last);
    this.consumer.take();
    const idle = this.#spawn(transport);
    await idle.ready();
    for (const name of ['files', 'hook'])
      await idle.line(({ event, pickup }) => event === 'pickup.polled' && pickup === name);
    const metrics = await (await fetch(`${await idle.consoleUrl()}/metrics`)).text();
    const standing = metrics.split('\n').filter((line) => /^smtp2exchange_alarms_active\S* [^0]/.test(line));
    this.afterwards.push(...standing);
    for (const { event } of idle.lines)
      if (/^(?:pickup\.(?!opened|polled)|message\.|alarm\.raised)/.test(event)) this.afterwards.push(event);
    const second = await idle.stop();
    this.#look(idle);
    this.consumer.take();
    return [first.code, second.code];
  }

  #isDone(): boolean {
    const left = [FILES, HOOK].flatMap((address) => this.#sandbox.mailbox(address).inbox);
    if (left.some(({ itemClass }) => !itemClass.startsWith('IPM.Schedule'))) return false;
    return this.#rows(`SELECT id FROM item WHERE state IN ('queued', 'sending')`).length === 0;
  }

  #rows<Row>(sql: string): Row[] {
    const spool = new DatabaseSync(`${this.#place.path}/spool.db`, { readOnly: true, timeout: 10_000 });
    try {
      return spool.prepare(sql).all() as Row[];
    } finally {
      spool.close();
    }
  }

  books(): Books {
    const handedOver = new Map<string, { key: string; digest: string }[]>();
    const add = (key: string, message: Buffer): void => {
      const [, id = key] = /^message-id: *(<[^>]*>)/im.exec(message.toString('latin1')) ?? [];
      handedOver.set(id, [...(handedOver.get(id) ?? []), { key, digest: digest(bodyOf(message)) }]);
    };
    for (const [key, message] of this.consumer.taken) add(key, message);
    for (const [key, { message }] of this.hook.taken) add(key, message);
    const notices = new Map<string, number>();
    for (const { outside } of this.#sandbox.arrived())
      for (const address of outside) notices.set(address, (notices.get(address) ?? 0) + 1);
    const items = this.#rows<{ id: string; state: string; messageId: string }>(
      'SELECT id, state, message_id AS messageId FROM item',
    );
    return balance({ fed: this.#fed, handedOver, places: this.#places(), notices, items });
  }

  #places(): ReadonlyMap<string, readonly string[]> {
    const places = new Map<string, string[]>();
    for (const { folders } of [FILES, HOOK].map((address) => this.#sandbox.mailbox(address)))
      for (const { displayName, wellKnown, items } of folders)
        if (wellKnown !== 'sentitems')
          for (const { messageId } of items) places.set(messageId, [...(places.get(messageId) ?? []), displayName]);
    return places;
  }

  /** Receipts that no purge ends although their items are gone: those of items that stay are not counted. */
  openReceipts(): number {
    const stays = new Set(this.#fed.filter(({ sort }) => sort === 'meeting').map(({ searchKey }) => searchKey));
    const open = this.#rows<{ key: string }>('SELECT key FROM receipt WHERE settled IS NULL');
    return open.filter(({ key }) => !stays.has(key)).length;
  }

  repeats(): number {
    return [...this.hook.taken.values()].reduce((sum, { times }) => sum + times - 1, 0);
  }

  /** Mails of which something was handed over, for a look at what a run is worth. */
  get due(): number {
    return this.#fed.filter(({ sort }) => HANDED_OVER.has(sort)).length;
  }

  async close(isKept: boolean): Promise<void> {
    await this.hook.close();
    await this.#sandbox.close();
    if (isKept) process.stdout.write(`kept: ${this.#place.path}\n`);
    else this.#place.remove();
  }
}
