/**
 * Under which name a spool marks the folder that a pickup reads (pickup-claim.ts), and when it last held it: kept in the
 * spool, so that a restart is told from another gateway. SpoolError passes through.
 */
import type { PickupOptions } from './pickup-options.ts';
import { sourceOf } from './pickup-options.ts';

export interface Identity {
  /** Letters and digits. */
  readonly instance: string;
  /** Epoch milliseconds; 0: never. */
  readonly heldAt: number;
}

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
    const [, instance, heldAt] = /^(\w+) (\d+)$/.exec((await this.#ledger.cursor(this.#name)) ?? '') ?? [];
    if (instance === undefined) return await this.renew();
    return (this.#known = { instance, heldAt: Number(heldAt) });
  }

  /** Another name from now on. */
  async renew(): Promise<Identity> {
    return await this.#keep({ instance: this.#random(), heldAt: 0 });
  }

  async held(heldAt: number): Promise<void> {
    const { instance } = await this.get();
    await this.#keep({ instance, heldAt });
  }

  async #keep(identity: Identity): Promise<Identity> {
    await this.#ledger.keepCursor(this.#name, `${identity.instance} ${identity.heldAt}`);
    return (this.#known = identity);
  }
}
