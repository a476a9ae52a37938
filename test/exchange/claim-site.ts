/** Gateways at one folder in memory, each with a spool and clocks of its own, and answers that go astray. */
import type { Got, PickupMailbox } from '../../src/exchange/mailbox.ts';
import { Claim, ClaimedElsewhere } from '../../src/exchange/pickup-claim.ts';
import type { ClaimOptions } from '../../src/exchange/pickup-claim.ts';
import { RoundTrouble } from '../../src/exchange/pickup-trouble.ts';
import type { Delayed, Failed } from '../../src/mail/status.ts';
import { ownerOf } from '../../src/exchange/pickup-mark.ts';
import type { PickupDuty } from '../../src/exchange/pickup-options.ts';

export interface Astray {
  readonly answer: Got<never>;
  /** It has its effect all the same, at once or so many milliseconds later. */
  readonly acts?: boolean;
  readonly late?: number;
}

export const gone: Partial<Failed> = { outcome: 'failed', cause: 'folder not found' };

export function trouble(more: Partial<Delayed> | Partial<Failed> = {}): Got<never> {
  const lost = { outcome: 'delayed', code: '4.4.2', reach: 'message', cause: 'ECONNRESET', text: 'lost' } as const;
  return { ok: false, status: { ...lost, ...more } as Delayed | Failed };
}

interface GatewayOptions {
  /** Default: the machine's name. */
  readonly spool?: string;
  readonly copyOf?: string;
  readonly steady?: () => number;
  /** Milliseconds that an answer takes. */
  readonly read?: number | undefined;
  readonly write?: number | undefined;
  /** Of several gateways on the spool. */
  readonly duty?: PickupDuty;
}

export class ClaimSite {
  mark: string | undefined;
  forgets = false;
  asked = 0;
  readonly written: string[] = [];
  readonly #spools = new Map<string, Map<string, string>>();
  readonly #astray: { readonly what: 'read' | 'write'; readonly how: Astray }[] = [];
  #count = 0;

  /** The next request of the kind. */
  next(what: 'read' | 'write', how: Astray): void {
    this.#astray.push({ what, how });
  }

  gateway(machine: string, options: GatewayOptions = {}): Gateway {
    const { spool = machine, copyOf, ...more } = options;
    const kept = this.#spools.get(spool) ?? new Map<string, string>(this.#spools.get(copyOf ?? ''));
    this.#spools.set(spool, kept);
    return new Gateway(this.#box(more), kept, {
      machine,
      random: () => `r${++this.#count}`,
      ...(more.steady === undefined ? {} : { steady: more.steady }),
      ...(more.duty === undefined ? {} : { duty: more.duty }),
    });
  }

  /** Under which a spool marks folders. */
  nameOf(spool: string): string | undefined {
    return [...(this.#spools.get(spool)?.values() ?? [])][0]?.split(' ')[0];
  }

  #box({ read = 0, write = 0 }: GatewayOptions): PickupMailbox {
    return {
      transport: 'ews',
      claim: {
        read: () => this.#asks('read', read, () => ({ ok: true, mark: this.mark })),
        write: (_folder, mark) => this.#asks('write', write, () => this.#write(mark)),
      } satisfies PickupMailbox['claim'],
    } as Partial<PickupMailbox> as PickupMailbox;
  }

  #write(mark: string): { readonly ok: true } {
    this.written.push(mark);
    if (ownerOf(mark) === undefined && mark !== 'free') throw new Error(`no mark: ${mark}`);
    if (!this.forgets) this.mark = mark;
    return { ok: true };
  }

  async #asks<T>(what: 'read' | 'write', takes: number, act: () => T): Promise<T | Got<never>> {
    this.asked++;
    const at = this.#astray.findIndex((one) => one.what === what);
    const [{ how } = { how: undefined }] = at < 0 ? [] : this.#astray.splice(at, 1);
    await pause(takes / 2);
    if (how?.late !== undefined) setTimeout(act, how.late);
    if (how?.acts === true) act();
    const answer = how?.answer ?? act();
    await pause(takes / 2);
    return answer;
  }
}

export async function pause(milliseconds: number): Promise<void> {
  if (milliseconds > 0) await new Promise((resolve) => void setTimeout(resolve, milliseconds));
}

export class Gateway {
  readonly claim: Claim;
  readonly warnings: string[] = [];
  readonly #box: PickupMailbox;
  #isDead = false;

  constructor(
    box: PickupMailbox,
    kept: Map<string, string>,
    more: Pick<ClaimOptions, 'machine' | 'random' | 'duty'> & { readonly steady?: () => number },
  ) {
    this.#box = box;
    this.claim = new Claim({
      name: 'fax',
      mailbox: 'Fax@contoso.com',
      folder: 'Inbox',
      steady: Date.now,
      now: Date.now,
      setTimer: (then, milliseconds) => {
        const timer = setTimeout(() => this.#isDead || then(), milliseconds);
        return () => clearTimeout(timer);
      },
      report: (event) => event.event === 'transport.warning' && this.warnings.push(event.warning),
      ledger: {
        received: async () => new Set(),
        acknowledge: async () => {},
        settle: async () => {},
        cursor: async (name) => kept.get(name),
        keepCursor: async (name, text = '') => void kept.set(name, text),
      },
      ...more,
    });
  }

  /** Its timers go off no more: a process that was paused or killed. */
  dies(): this {
    this.#isDead = true;
    return this;
  }

  /** It was only paused. */
  wakes(): void {
    this.#isDead = false;
  }

  /** @returns `ours`, the name of the machine that has it, or the cause of trouble */
  hold(): Promise<string> {
    return outcomeOf(this.claim.hold(this.#box, 'id', new AbortController().signal));
  }

  confirmed(): Promise<string> {
    return outcomeOf(this.claim.confirm(new AbortController().signal));
  }

  /** What is there becomes durable without a question. */
  isSure(): boolean {
    return this.claim.isSure;
  }

  /** Rounds until it dies, five seconds between two. */
  async run(): Promise<void> {
    while (!this.#isDead) {
      await this.hold();
      await pause(5_000);
    }
  }
}

async function outcomeOf(work: Promise<void> | undefined): Promise<string> {
  try {
    await work;
    return 'ours';
  } catch (error) {
    if (error instanceof ClaimedElsewhere) return error.other;
    if (error instanceof RoundTrouble) return error.status.cause;
    throw error;
  }
}
