/** The gateway inside the test's own process, in front of a sandbox: fast enough to be started for a single message. */
import { EventEmitter, once } from 'node:events';
import { Writable } from 'node:stream';
import { loadConfig } from '../../src/config/load.ts';
import type { Reloaded } from '../../src/assembly/reload.ts';
import type { Gateway } from '../../src/gateway.ts';
import { startGateway } from '../../src/gateway.ts';
import type { HistoryEntry, QueueItem } from '../../src/mail/item.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';
import { withoutSpool } from '../watch/exposition.ts';
import { configText } from './config-text.ts';
import type { Folder, LogLine } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

export interface Ended {
  readonly item: QueueItem;
  readonly history: readonly HistoryEntry[];
}

let started = 0;

export class InsideGateway {
  readonly lines: LogLine[] = [];
  readonly spoolFile: string;
  readonly #heard = new EventEmitter().setMaxListeners(0);
  #gateway: Gateway | undefined;
  #smtp: RawSmtp | undefined;
  /** Writes the configuration anew. */
  #write: (change: (text: string) => string) => void = () => undefined;

  private constructor(spoolFile: string) {
    this.spoolFile = spoolFile;
  }

  /**
   * @param more further top-level keys of the configuration; `exchange`: of that section, indented by two; `life`: of a
   *   gateway that lives again, with its spool
   */
  static async start(
    place: Folder,
    sandbox: Sandbox,
    {
      mailboxes = [],
      more = '',
      exchange = '',
      life,
    }: {
      readonly mailboxes?: readonly string[];
      readonly more?: string;
      readonly exchange?: string;
      readonly life?: string;
    } = {},
  ): Promise<InsideGateway> {
    const name = life ?? `${++started}`;
    const spoolFile = `${place.path}/${name}/spool.db`;
    const text = configText({
      sandbox,
      caFile: place.write(`${name}.pem`, sandbox.ca),
      mailboxes,
      exchange,
      more: `${more}\nspool: { sqlite: ${spoolFile} }`,
    });
    const file = place.write(`${name}.yaml`, text);
    const reread = () => loadConfig(file, { SECRET: sandbox.clientSecret });
    const loaded = await reread();
    if (!('config' in loaded)) throw new Error(JSON.stringify(loaded.faults));
    const inside = new InsideGateway(spoolFile);
    inside.#write = (change) => void place.write(`${name}.yaml`, change(text));
    inside.#gateway = await startGateway(loaded.config, {
      version: 'test',
      configFile: name,
      reread,
      logTo: inside.#log(),
    });
    inside.#smtp = await RawSmtp.open(inside.#gateway.listeners[0]?.port ?? 0);
    return inside;
  }

  #log(): Writable {
    let rest = '';
    return new Writable({
      decodeStrings: false,
      write: (chunk, _encoding, done) => {
        const parts = (rest + String(chunk)).split('\n');
        rest = parts.pop() ?? '';
        for (const part of parts) this.lines.push(JSON.parse(part) as LogLine);
        this.#heard.emit('line');
        done();
      },
    });
  }

  /** What SIGHUP does. @param change of the text that it was started with */
  async reload(change = (text: string) => text): Promise<Reloaded> {
    this.#write(change);
    return await this.running.reload();
  }

  get running(): Gateway {
    if (this.#gateway === undefined) throw new Error('not started');
    return this.#gateway;
  }

  /** The session that is open since the start. */
  get smtp(): RawSmtp {
    if (this.#smtp === undefined) throw new Error('not started');
    return this.#smtp;
  }

  portOf(listener: string): number {
    return this.running.listeners.find(({ name }) => name === listener)?.port ?? 0;
  }

  /** @returns the item's id */
  async send(from: string, to: string, reversePath = from): Promise<string> {
    if (this.#smtp === undefined) throw new Error('not started');
    const reply = await this.#smtp.send(
      reversePath,
      [to],
      `From: ${from}\r\nTo: ${to}\r\nSubject: a notice\r\n\r\nthe body\r\n`,
    );
    return reply.split(' ').at(-1) ?? '';
  }

  /** Waits for a log line. */
  async line(event: string, more: Readonly<Record<string, unknown>> = {}, seconds = 10): Promise<LogLine> {
    const wanted = (line: LogLine): boolean =>
      line.event === event && Object.entries(more).every(([key, value]) => line[key] === value);
    const deadline = AbortSignal.timeout(seconds * 1_000);
    for (;;) {
      const found = this.lines.find(wanted);
      if (found !== undefined) return found;
      await once(this.#heard, 'line', { signal: deadline }).catch(() => {
        const last = this.lines.slice(-5).map((one) => JSON.stringify(one));
        throw new Error(`no ${event} ${JSON.stringify(more)} within ${seconds} s; the last were\n${last.join('\n')}`);
      });
    }
  }

  /** The samples of /metrics by name and labels as they are written there, but for the spool's name. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    const text = withoutSpool(await (await fetch(`${this.#gateway?.consoleUrl}/metrics`)).text());
    return new Map(
      [...text.matchAll(/^smtp2exchange_(\S+(?:\{.*\})?) (\S+)$/gm)].map(([, name = '', value]) => [
        name,
        Number(value),
      ]),
    );
  }

  /** The port of a door, by the event that tells of it. */
  port(event: string): number {
    return Number(this.lines.find((line) => line.event === event)?.['port']);
  }

  /** How often a log line has come. */
  count(event: string, more: Readonly<Record<string, unknown>> = {}): number {
    return this.lines.filter(
      (line) => line.event === event && Object.entries(more).every(([key, value]) => line[key] === value),
    ).length;
  }

  async stop(): Promise<void> {
    this.#smtp?.end();
    await this.#gateway?.stop('the test is over');
  }

  /** What its spool holds, once it is stopped. */
  async ended(ids: readonly string[]): Promise<ReadonlyMap<string, Ended>> {
    const spool = await openSqliteSpool({ path: this.spoolFile, report: () => {} });
    try {
      const found = new Map<string, Ended>();
      for (const id of ids) {
        const item = await spool.get(id);
        if (item !== undefined) found.set(id, { item, history: await spool.history(id) });
      }
      return found;
    } finally {
      await spool.close();
    }
  }
}
