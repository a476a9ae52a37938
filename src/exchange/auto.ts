/**
 * The way out that changes over by itself: EWS while it is open to this application, then Microsoft Graph. The change is
 * made once, on evidence, and is durable before anything goes out the new way; no restart goes back. From then on EWS is
 * asked once an hour, as long as there is mail, whether it is open again; it is taken again only if that is wanted.
 *
 * Evidence: Exchange answers two attempts in a row with 403, the second one with a token that was not yet there at the
 * first, and none in between gets through; or the day has come on which EWS ends. One mailbox that alone is refused is
 * not enough: between its attempts the queue tries another one, which gets through.
 *
 * A message in doubt is looked for before it is sent the other way: what EWS has sent bears a mark that Graph finds too.
 * Promises of Transport; the state's file that cannot be written delays the message, and nothing changes.
 */
import type { Report } from '../mail/event.ts';
import type { Delayed, DeliveryStatus, Verification } from '../mail/status.ts';
import type { Outgoing, Transport } from '../mail/transport.ts';

/** What is remembered of the last change. */
export interface ChangeOver {
  /** The way out since then. */
  readonly transport: 'ews' | 'graph';
  /** Epoch milliseconds. */
  readonly at: number;
  readonly cause: string;
}

/** Where it is remembered. */
export interface ChangeOverStore {
  /** Undefined: there was none. */
  load(): Promise<ChangeOver | undefined>;
  /** Durable when it resolves. Rejects with the system's error. */
  save(change: ChangeOver): Promise<void>;
}

export interface AutoOptions {
  readonly ews: Transport;
  readonly graph: Transport;
  readonly route: string;
  readonly store: ChangeOverStore;
  readonly report: Report;
  /** Gives the present access token for EWS back: the next attempt gets a new one. */
  readonly renewToken: () => Promise<void>;
  /** Whether EWS is open to this application, asked by something that does nothing in the mailbox. */
  readonly probe: (mailbox: string, signal: AbortSignal) => Promise<boolean>;
  /** EWS is taken again once it is open. */
  readonly returnToEws: boolean;
  /** From then on EWS is closed for everybody, epoch milliseconds. Default: never. */
  readonly ewsEnds?: number;
  readonly now?: () => number;
}

/** Words of an EWS that is closed (codes.ts). */
export const CLOSED: ReadonlySet<string> = new Set(['HTTP 403', 'ErrorOrganizationAccessBlocked']);
/** Milliseconds from the first refusal to the attempt that decides. */
const SECOND_LOOK = 15_000;
/** Milliseconds between two looks whether EWS is open again. */
const PROBE_EVERY = 3_600_000;

/** Rejects if what is remembered cannot be read: whether to change would be a guess. */
export async function autoTransport(options: AutoOptions): Promise<Transport> {
  const change = await options.store.load();
  options.report({ event: 'transport.chosen', route: options.route, auto: true, ...(change ?? { transport: 'ews' }) });
  return new Auto(options, change);
}

class Auto implements Transport {
  readonly #options: AutoOptions;
  readonly #closing = new AbortController();
  #change: ChangeOver | undefined;
  #changing: Promise<void> | undefined;
  /** The first of the refusals in a row. */
  #refused: { readonly at: number } | undefined;
  #probed: { readonly at: number; readonly open: boolean };

  constructor(options: AutoOptions, change: ChangeOver | undefined) {
    this.#options = options;
    this.#change = change;
    this.#probed = { at: this.#now, open: false };
  }

  get name(): string {
    return this.#options[this.#present].name;
  }

  get #present(): ChangeOver['transport'] {
    return this.#change?.transport ?? 'ews';
  }

  get #now(): number {
    return (this.#options.now ?? Date.now)();
  }

  get #hasEnded(): boolean {
    return this.#now >= (this.#options.ewsEnds ?? Infinity);
  }

  async deliver(outgoing: Outgoing, signal: AbortSignal): Promise<DeliveryStatus> {
    const { ews, graph } = this.#options;
    if (this.#present === 'ews' && this.#hasEnded) {
      const failure = await this.#changeOver('graph', 'EWS has ended');
      if (failure !== undefined) return failure;
    }
    if (this.#present === 'graph') {
      void this.#probe(outgoing.item.mailbox);
      return graph.deliver(outgoing, signal);
    }
    const begun = this.#now;
    const status = await ews.deliver(outgoing, signal);
    // What says nothing of the way in leaves the question open.
    if (status.outcome === 'relayed' || status.outcome === 'failed') this.#refused = undefined;
    if (!isClosed(status)) return status;
    return (await this.#refusedAgain(status, begun)) ?? graph.deliver(outgoing, signal);
  }

  async verify(outgoing: Outgoing, signal: AbortSignal): Promise<Verification> {
    const { ews, graph } = this.#options;
    // Either way may have sent it once there was a change, and Graph finds what both have sent.
    if (this.#change !== undefined) return graph.verify(outgoing, signal);
    const begun = this.#now;
    const found = await ews.verify(outgoing, signal);
    if (!isClosed(found)) return found;
    return (await this.#refusedAgain(found, begun)) ?? graph.verify(outgoing, signal);
  }

  /** @returns undefined: it is changed over */
  async #refusedAgain(status: Delayed, begun: number): Promise<Delayed | undefined> {
    // Another attempt has changed it over meanwhile.
    if (this.#present === 'graph') return undefined;
    // Attempts that were under way together are one refusal.
    if (this.#refused !== undefined && begun > this.#refused.at) return await this.#changeOver('graph', status.cause);
    if (this.#refused === undefined) {
      this.#refused = { at: this.#now };
      void this.#options.renewToken();
    }
    // Not yet a case for a person, who would be called for it.
    return { ...status, code: '4.4.1', retryAfter: SECOND_LOOK };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([this.#options.ews.close(), this.#options.graph.close()]);
  }

  /** Beside the delivery, which does not wait for it. Never rejects. */
  async #probe(mailbox: string): Promise<void> {
    const { report, route, probe, returnToEws } = this.#options;
    if (this.#now - this.#probed.at < PROBE_EVERY || this.#hasEnded) return;
    const before = this.#probed;
    this.#probed = { ...before, at: this.#now };
    const open = await probe(mailbox, this.#closing.signal).catch(() => false);
    if (this.#closing.signal.aborted || this.#present === 'ews') return;
    this.#probed = { ...this.#probed, open };
    if (open !== before.open)
      report({ event: 'transport.probed', route, transport: 'ews', open, returns: returnToEws });
    if (open && returnToEws) await this.#changeOver('ews', 'EWS is open again');
  }

  async #changeOver(to: ChangeOver['transport'], cause: string): Promise<Delayed | undefined> {
    try {
      this.#changing ??= this.#remember(to, cause);
      await this.#changing;
      return undefined;
    } catch (error) {
      return notRemembered(error);
    } finally {
      this.#changing = undefined;
    }
  }

  async #remember(to: ChangeOver['transport'], cause: string): Promise<void> {
    const { store, report, route } = this.#options;
    const from = this.#present;
    if (from === to) return;
    const change = { transport: to, at: this.#now, cause };
    await store.save(change);
    this.#change = change;
    this.#refused = undefined;
    this.#probed = { at: this.#now, open: false };
    report({ event: 'transport.changed', route, from, to, cause });
  }
}

function isClosed(status: DeliveryStatus | Verification): status is Delayed {
  return status.outcome === 'delayed' && CLOSED.has(status.cause);
}

function notRemembered(error: unknown): Delayed {
  const why = error instanceof Error ? error.message : String(error);
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'transport',
    cause: 'change not saved',
    text: 'The mail gateway cannot pass messages on at the moment; its operator has been told',
    reason: `EWS is closed to the gateway, and the change to Microsoft Graph cannot be written down: ${why}`,
  };
}
