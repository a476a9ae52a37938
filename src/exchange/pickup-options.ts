/** What a pickup (pickup.ts) is told. Pure data. */
import type { Report } from '../mail/event.ts';
import type { Verdict } from '../mail/pickup-rules.ts';
import type { ReceivedMail } from '../mail/received.ts';
import type { Receipt, Spool } from '../mail/spool.ts';
import type { SetTimer } from '../mail/timer.ts';
import type { PickupMailbox } from './mailbox.ts';
import type { IntakeOptions } from './pickup-intake.ts';

/** What becomes of an item in its mailbox. Folders by their path. */
export type After =
  | { readonly kind: 'move'; readonly folder: string }
  | { readonly kind: 'delete' }
  | { readonly kind: 'read' }
  | { readonly kind: 'keep' };

export interface PickupOptions extends IntakeOptions {
  /** Path from the mailbox's root. */
  readonly folder: string;
  /** Ways to read the mailbox, at least one: the next one is taken when one is closed to this application. */
  readonly boxes: readonly PickupMailbox[];
  readonly judge: (mail: ReceivedMail) => Verdict;
  readonly after: After;
  /** Paths of folders, which are made if they do not exist. */
  readonly refused: string;
  readonly quarantine: string;
  /** Milliseconds between two looks. */
  readonly interval: number;
  /** Lets the server tell of new mail, where it can. */
  readonly notifications: boolean;
  /** Items at the same time. */
  readonly concurrency: number;
  readonly ledger: Pick<Spool, 'received' | 'acknowledge' | 'settle' | 'cursor' | 'keepCursor'>;
  /** Tells a refused sender, durably together with the receipt. Resolves with whether anybody was told; then the receipt is there. */
  readonly tell?: (mail: ReceivedMail, reason: string, receipt: Receipt) => Promise<boolean>;
  readonly report: Report;
  /** Words of a way that is closed to this application for good. */
  readonly closed: ReadonlySet<string>;
  /** Of several gateways that share the ledger, one picks up at a time. Undefined: there is only this one. */
  readonly duty?: PickupDuty;
  /** Milliseconds since any moment, never set back. */
  readonly steady?: () => number;
  readonly setTimer?: SetTimer;
  /** Name of this machine, for another gateway at the same folder; default the system's. */
  readonly machine?: string;
  /** Letters and digits that are never made twice; default 64 bits of chance. */
  readonly random?: () => string;
}

export interface PickupDuty {
  /** False: another gateway may pick up by now. Asked before anything becomes durable, and before the folder is marked. */
  readonly isOurs: () => boolean;
  /** Epoch milliseconds, of a clock that all of them share. */
  readonly now: () => number;
}

/** Of receipts and cursors: the same over every way. */
export function sourceOf({ mailbox, folder }: Pick<PickupOptions, 'mailbox' | 'folder'>): string {
  return `${mailbox}/${folder}`.toLowerCase();
}
