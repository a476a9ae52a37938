/**
 * What the gateways of a crash test work between: clients that send and keep what was acknowledged, and an Exchange that
 * fails and knows what arrived.
 */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { IDENTITY, KINDS, pick } from './crash-faults.ts';
import { RawSmtp } from './raw-smtp.ts';

/** Messages of a session in one round. */
const MESSAGES = 12;
/** Sending mailboxes: what holds one of them back leaves the others. */
const MAILBOXES = Array.from({ length: 10 }, (_, n) => `m${n}@contoso.com`);
const RECIPIENT = 'y@contoso.com';
const PART = 0.3;
/** Faults that stand ready for a round; more than it can meet. */
const READY = 150;
/** Milliseconds that a client waits after a temporary error. */
const LATER = 100;

const digest = (octets: string | Buffer): string => createHash('sha256').update(octets).digest('hex');

export interface LoadOptions {
  /** Share of the messages that go in two steps. */
  readonly precious: number;
  readonly random: () => number;
}

export class CrashLoad {
  readonly hits = new Map<string, number>();
  /** Of the right shape, whatever came of them, while Exchange fails. */
  requests = 0;
  /** Messages begun. */
  sent = 0;
  /** Message-IDs of what goes in two steps. */
  readonly precious = new Set<string>();
  /** Message-ID -> digest of the body, for each message that was answered 250. */
  readonly acknowledged = new Map<string, string>();
  /** Message-IDs of what got a temporary error. */
  readonly deferred = new Set<string>();
  readonly sandbox: Sandbox;
  #isDriven = true;
  readonly #options: LoadOptions;
  readonly #random: () => number;

  private constructor(options: LoadOptions, sandbox: Sandbox) {
    this.#options = options;
    this.#random = options.random;
    this.sandbox = sandbox;
  }

  static async start(options: LoadOptions): Promise<CrashLoad> {
    let load: CrashLoad | undefined;
    const mailboxes = [...MAILBOXES, RECIPIENT].map((address) => ({ address }));
    const record = (document: Buffer): void => {
      if (load !== undefined && load.#isDriven && !document.subarray(0, 3_000).includes('ResponseMessages'))
        load.requests++;
    };
    load = new CrashLoad(options, await startSandbox({ mailboxes, record }));
    return load;
  }

  /** The configuration's `senders`. */
  get senders(): string {
    const rules = MAILBOXES.map((address) => `{ from: "${address}", mailbox: ${address} }`).join(', ');
    return `{ mailbox: ${MAILBOXES[0]}, rules: [${rules}] }`;
  }

  /** Makes Exchange, and sometimes Entra ID, fail anew. */
  arm(): void {
    const { identity } = this.sandbox;
    this.sandbox.clearFaults();
    identity.faults.clear();
    for (let after = 0, left = READY; left > 0; left--) {
      while (this.#random() >= PART) after++;
      this.sandbox.fault({ when: { after, count: 1 }, does: pick(this.#random(), this.#random()) });
    }
    if (this.#random() >= 0.25) return;
    const fault = IDENTITY[Math.floor(this.#random() * IDENTITY.length)];
    if (fault !== undefined) identity.faults.push(fault);
  }

  /** What has failed since arm(). */
  count(): void {
    for (const { fault, hit } of this.sandbox.faults()) {
      const name = KINDS.get(fault.does) ?? '';
      if (hit > 0) this.hits.set(name, (this.hits.get(name) ?? 0) + hit);
    }
  }

  /** From now on nothing fails. */
  calm(): void {
    this.#isDriven = false;
    this.sandbox.clearFaults();
    this.sandbox.identity.faults.clear();
  }

  /** Sends until it has sent enough, or is told that it is over, or the connection ends. */
  async session(port: number, isOver: AbortSignal): Promise<void> {
    try {
      const smtp = await RawSmtp.open(port);
      for (let left = MESSAGES; left > 0 && !isOver.aborted; left--) await this.#send(smtp);
      smtp.end();
    } catch {
      // killed: what was not acknowledged does not count
    }
  }

  async #send(smtp: RawSmtp): Promise<void> {
    const id = `<${++this.sent}.${randomBytes(4).toString('hex')}@crash.test>`;
    const lines = 1 + Math.floor(this.#random() ** 12 * 4_000);
    const body = `${Array.from({ length: lines }, () => randomBytes(36).toString('base64url')).join('\r\n')}\r\n`;
    const from = MAILBOXES[Math.floor(this.#random() * MAILBOXES.length)] ?? '';
    const isPrecious = this.#random() < this.#options.precious;
    if (isPrecious) this.precious.add(id);
    const wish = isPrecious ? 'X-Precious: yes\r\n' : '';
    const header = `From: ${from}\r\nTo: ${RECIPIENT}\r\nSubject: crash ${this.sent}\r\n${wish}Message-ID: ${id}\r\n\r\n`;
    try {
      await smtp.send(from, [RECIPIENT], header + body);
      this.acknowledged.set(id, digest(body));
    } catch (error) {
      if (!(error instanceof Error) || !/ was answered 4/.test(error.message)) throw error;
      this.deferred.add(id);
      await smtp.say('RSET\r\n', '250');
      await pause(LATER);
    }
  }

  /** Message-ID -> digests of the bodies of each copy that arrived. */
  arrivals(): Map<string, string[]> {
    const arrivals = new Map<string, string[]>();
    for (const { messageId, submitted } of this.sandbox.arrived()) {
      const body = digest(submitted.subarray(submitted.indexOf('\r\n\r\n') + 4));
      arrivals.set(messageId, [...(arrivals.get(messageId) ?? []), body]);
    }
    return arrivals;
  }

  /** When each copy arrived, epoch milliseconds. */
  arrivedAt(messageId: string): readonly number[] {
    return this.sandbox
      .arrived()
      .filter((one) => one.messageId === messageId)
      .map(({ at }) => at);
  }
}
