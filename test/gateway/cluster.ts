/** Several gateways on one database, as processes of their own, in front of one Exchange. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import type { ConfigTextOptions } from './config-text.ts';
import { configText } from './config-text.ts';
import type { LogLine } from './process.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

export interface ClusterOptions extends Omit<ConfigTextOptions, 'caFile' | 'more'> {
  readonly sandbox: Sandbox;
  /** The database. */
  readonly url: string;
  /** Default 2s, the shortest. */
  readonly lease?: string;
  /** Further keys of `spool`. */
  readonly spool?: string;
  /** `retry` and `pacing`, and further top-level keys. */
  readonly more?: string;
}

/** What one gateway has of its own. */
export type Own = Partial<Pick<ClusterOptions, 'url' | 'listeners' | 'sandbox' | 'consolePort'>>;

const QUICK = `
retry: { intervals: [1s], verifyAfter: 1s }
pacing: { perMailbox: { concurrency: 4, perMinute: unlimited }, catchUp: parallel }
`;

export class GatewayCluster {
  readonly place = folder();
  readonly #options: ClusterOptions;
  readonly #caFile: string;
  /** By name, the latest of that name. */
  readonly #gateways = new Map<string, GatewayProcess>();
  /** Of all that have ended or were looked at. */
  readonly bugs: LogLine[] = [];

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#caFile = this.place.write('ca.pem', options.sandbox.ca);
  }

  /** A name keeps its folder. */
  start(name: string, own: Own = {}): GatewayProcess {
    const options = { ...this.#options, ...own };
    const { url, lease = '2s', spool = '', more = QUICK } = options;
    const folderOfOwn = join(this.place.path, name);
    mkdirSync(folderOfOwn, { recursive: true });
    const text = configText({
      ...options,
      caFile: this.#caFile,
      more: `${more}\nspool: { postgres: "${url}", lease: ${lease}, folder: ${folderOfOwn}${spool} }\n`,
    });
    const gateway = new GatewayProcess(this.configFile(name, text), { SECRET: options.sandbox.clientSecret });
    this.#gateways.set(name, gateway);
    void gateway.exited.then(() => this.bugs.push(...gateway.lines.filter(({ event }) => event === 'bug')));
    return gateway;
  }

  configFile(name: string, text?: string): string {
    return text === undefined ? join(this.place.path, `${name}.yaml`) : this.place.write(`${name}.yaml`, text);
  }

  /** Kills what still runs. */
  async close(isKept = false): Promise<void> {
    for (const gateway of this.#gateways.values()) {
      if (gateway.child.exitCode !== null || gateway.child.signalCode !== null) continue;
      // One that is stopped dies all the same.
      gateway.child.kill('SIGKILL');
      await gateway.exited;
    }
    if (!isKept) this.place.remove();
  }
}

export interface Post {
  /** The sender, by which the sending mailbox is chosen. */
  readonly from: string;
  readonly to: string;
  /** Message-ID. */
  readonly id: string;
  /** Octets of the body, about; default 1,000. */
  readonly size?: number;
  /** To be sent in two steps. */
  readonly isPrecious?: boolean;
}

/** The message as a client writes it. */
export function mailOf({ from, to, id, size = 1_000, isPrecious = false }: Post): string {
  const line = `${'0123456789'.repeat(7)}\r\n`;
  const wish = isPrecious ? 'X-Precious: yes\r\n' : '';
  return `From: ${from}\r\nTo: ${to}\r\nSubject: cluster\r\n${wish}Message-ID: ${id}\r\n\r\n${line.repeat(Math.ceil(size / line.length))}`;
}

/** Sends one message. Rejects where it is not taken. */
export async function post(port: number, message: Post): Promise<void> {
  const smtp = await RawSmtp.open(port);
  await smtp.send(message.from, [message.to], mailOf(message));
  smtp.end();
}

/** Asks again and again. @throws Error that says what did not come about */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, seconds = 20): Promise<void> {
  for (const deadline = Date.now() + seconds * 1_000; !(await isSo()); await pause(20))
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
}
