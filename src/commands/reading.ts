/**
 * Mailboxes that `check` looks into as a pickup would, by the account of one route. Each look is one attempt; what goes
 * wrong is a value, as mailbox.ts has it.
 */
import type { Mailboxes } from '../assembly/mailboxes.ts';
import { openMailboxes } from '../assembly/mailboxes.ts';
import { changeOf } from '../assembly/way-out.ts';
import type { RouteConfig } from '../config/config.ts';
import type { Got, PickupMailbox } from '../exchange/mailbox.ts';
import type { Event } from '../mail/event.ts';
import type { Delayed, Failed } from '../mail/status.ts';
import type { Tell } from './finding.ts';
import { PATIENCE } from './finding.ts';
import { tokensIn } from './token-findings.ts';
import { version } from './version.ts';

export type Way = 'ews' | 'graph';

/** Which of the two is in use where the gateway chooses by itself. */
export async function wayInUse(name: string, spool: string): Promise<Way> {
  return (await changeOf({ name, spool }).catch(() => undefined))?.transport ?? 'ews';
}

/** `auto` means both. */
export function readingWays(transport: Way | 'auto'): readonly Way[] {
  return transport === 'auto' ? ['ews', 'graph'] : [transport];
}

export function reasonOf({ reason, text }: Delayed | Failed): string {
  return reason ?? text;
}

/** Tells of a token when it is first asked for. */
export class Reading {
  readonly #name: string;
  readonly #mailboxes: Mailboxes;
  readonly #events: Event[] = [];
  readonly #withoutToken = new Set<Way>();
  readonly #tell: Tell;
  readonly #stop: AbortSignal;

  constructor(route: RouteConfig, spool: string, tell: Tell, stop: AbortSignal) {
    this.#name = route.name;
    this.#tell = tell;
    this.#stop = stop;
    const report = (event: Event): void => void this.#events.push(event);
    this.#mailboxes = openMailboxes({ ...route, spool, version: version(), report });
  }

  /** @returns undefined: there is no token */
  async look<T extends object>(
    transport: Way,
    mailbox: string,
    work: (box: PickupMailbox, signal: AbortSignal) => Promise<Got<T>>,
  ): Promise<Got<T> | undefined> {
    if (this.#withoutToken.has(transport)) return undefined;
    const [box] = await this.#mailboxes.boxesOf({ mailbox, transport });
    if (box === undefined) throw new Error(`no way to read a mailbox over ${transport}`);
    const found = await work(box, AbortSignal.any([this.#stop, AbortSignal.timeout(PATIENCE)]));
    const events = this.#events.splice(0);
    for (const finding of tokensIn(events)) this.#tell({ ...finding, route: this.#name, transport });
    if (!events.some(({ event }) => event === 'token.failed')) return found;
    this.#withoutToken.add(transport);
    return undefined;
  }

  async close(): Promise<void> {
    await this.#mailboxes.close();
  }
}
