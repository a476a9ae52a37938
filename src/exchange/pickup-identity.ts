/**
 * Under which name a spool marks the folder that a pickup reads (pickup-claim.ts), and when it last held it: kept in the
 * spool, so that a restart is told from another gateway. Where several gateways share the spool, the processes that have
 * marked the folder are kept too: what one of those before still writes is no other spool's. SpoolError passes through.
 */
import type { PickupOptions } from './pickup-options.ts';
import { sourceOf } from './pickup-options.ts';

export interface Identity {
  /** Letters and digits. */
  readonly instance: string;
  /** Epoch milliseconds; 0: never. */
  readonly heldAt: number;
  /** Processes, the latest last. */
  readonly lives: readonly string[];
}

/** Processes that are remembered: each has had the duty before the next. */
const LIVES = 16;

export class SpoolIdentity {
  readonly #ledger: PickupOptions['ledger'];
  readonly #name: string;
  readonly #random: () => string;
  #known: Identity | undefined;

  constructor(options: Pick<PickupOptions, 'ledger' | 'mailbox' | 'folder'>, random: () => string) {
    this.#ledger = options.ledger;
    this.#name = `claim ${sourceOf(options)}`;
    this.#random = random;
  }

  async get(): Promise<Identity> {
    if (this.#known !== undefined) return this.#known;
    const kept = (await this.#ledger.cursor(this.#name)) ?? '';
    const [, instance, heldAt, lives = ''] = /^(\w+) (\d+)((?: \w+)*)$/.exec(kept) ?? [];
    if (instance === undefined) return await this.renew();
    return (this.#known = { instance, heldAt: Number(heldAt), lives: lives.split(' ').filter(Boolean) });
  }

  /** Another name from now on. */
  async renew(): Promise<Identity> {
    return await this.#keep({ instance: this.#random(), heldAt: 0, lives: [] });
  }

  async held(heldAt: number): Promise<void> {
    await this.#keep({ ...(await this.get()), heldAt });
  }

  /** Before it marks the folder for the first time. */
  async enter(life: string): Promise<void> {
    const identity = await this.get();
    if (identity.lives.includes(life)) return;
    await this.#keep({ ...identity, lives: [...identity.lives, life].slice(-LIVES) });
  }

  async #keep(identity: Identity): Promise<Identity> {
    await this.#ledger.keepCursor(this.#name, [identity.instance, identity.heldAt, ...identity.lives].join(' '));
    return (this.#known = identity);
  }
}
