/**
 * The sandbox's mailboxes: folders in memory, delivery between its own users, and the judgement of who may send as whom.
 * What leaves for other domains, and what is for a mailbox of its own domains that does not exist, is kept as a fact of
 * the arrival. Nothing here fails but by value.
 */
import { randomBytes } from 'node:crypto';
import { canonicalAddress } from '../mail/address.ts';
import { headerField, joinHeader } from '../mail/header.ts';
import type { ExtendedProperty, Submission } from './submission.ts';
import { EwsFault } from './submission.ts';

export interface MailboxOptions {
  readonly address: string;
  /** Further addresses of the same mailbox. */
  readonly aliases?: readonly string[];
  /** Addresses of others that this mailbox may use in From. */
  readonly sendAs?: readonly string[];
  /** Octets of MIME it may send, default 35 MiB. */
  readonly maxSendSize?: number;
}

export const FOLDERS = ['inbox', 'drafts', 'outbox', 'sentitems', 'deleteditems'] as const;
export type Folder = (typeof FOLDERS)[number];

/** A folder of somebody's. */
export interface Place {
  readonly address: string;
  readonly folder: Folder;
}

/** What lies in a folder. */
export interface Item {
  readonly id: string;
  readonly changeKey: string;
  readonly messageId: string;
  readonly subject: string;
  readonly from: string;
  readonly to: readonly string[];
  readonly cc: readonly string[];
  /** Only in the sender's own copies. */
  readonly bcc: readonly string[];
  /** As a reader gets it. */
  readonly mime: Buffer;
  readonly extended: readonly ExtendedProperty[];
  readonly itemClass: string;
  readonly isRead: boolean;
  /** Epoch milliseconds. */
  readonly receivedAt: number;
  /** PidTagMessageFlags as its maker set them; absent: not set. */
  readonly flags?: number;
  /** Only of what was saved and not sent. */
  readonly submission?: Submission;
}

/** A message delivered to somebody's inbox. */
export type Delivered = Item;

/** One message that was sent through the sandbox. */
export interface Arrival {
  /** The mailbox that sent it. */
  readonly mailbox: string;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly messageId: string;
  readonly subject: string;
  readonly from: string;
  /** Recipients as Exchange computes them from MIME and properties. */
  readonly to: readonly string[];
  readonly cc: readonly string[];
  readonly bcc: readonly string[];
  /** The MIME as the client sent it. */
  readonly submitted: Buffer;
  readonly extended: readonly ExtendedProperty[];
  readonly elements: Readonly<Record<string, string>>;
  /** Addresses of other domains. */
  readonly outside: readonly string[];
  /** Addresses of the sandbox's own domains that nobody has. */
  readonly undeliverable: readonly string[];
}

export interface MailboxView {
  readonly address: string;
  readonly inbox: readonly Delivered[];
  readonly sentitems: readonly Item[];
  readonly drafts: readonly Item[];
  readonly outbox: readonly Item[];
  readonly deleteditems: readonly Item[];
}

/** PidTagMessageFlags with mfRead and mfUnsent. */
const MESSAGE_FLAGS = 0x0e07;
const READ = 1;
export const UNSENT = 8;
const MAX_SEND_SIZE = 35 * 1024 * 1024;

class Mailbox implements MailboxView {
  readonly address: string;
  readonly options: MailboxOptions;
  readonly inbox: Item[] = [];
  readonly drafts: Item[] = [];
  readonly outbox: Item[] = [];
  readonly sentitems: Item[] = [];
  readonly deleteditems: Item[] = [];

  constructor(options: MailboxOptions) {
    this.options = options;
    this.address = options.address;
  }

  owns(address: string): boolean {
    const wanted = canonicalAddress(address);
    return [this.options.address, ...(this.options.aliases ?? [])].some((own) => canonicalAddress(own) === wanted);
  }
}

export class Mailboxes {
  readonly #mailboxes: readonly Mailbox[];
  readonly #now: () => number;
  readonly #arrivals: Arrival[] = [];

  constructor(mailboxes: readonly MailboxOptions[], now: () => number) {
    this.#mailboxes = mailboxes.map((options) => new Mailbox(options));
    this.#now = now;
  }

  get all(): readonly MailboxView[] {
    return this.#mailboxes;
  }

  get arrivals(): readonly Arrival[] {
    return this.#arrivals;
  }

  find(address: string): MailboxView | undefined {
    return this.#find(address);
  }

  /** Forgets all mail. */
  clear(): void {
    this.#arrivals.length = 0;
    for (const mailbox of this.#mailboxes) for (const folder of FOLDERS) mailbox[folder].length = 0;
  }

  /** Puts the message into a folder without sending it. @param id to keep; absent: a new one */
  save({ address, folder }: Place, submission: Submission, id?: string): Item {
    const item = { ...this.#item(submission, submission.mime, true), submission, ...(id === undefined ? {} : { id }) };
    this.#mailbox(address)[folder].push(item);
    return item;
  }

  remove(address: string, id: string): boolean {
    const mailbox = this.#mailbox(address);
    for (const folder of FOLDERS) {
      const at = mailbox[folder].findIndex((item) => item.id === id);
      if (at >= 0) return mailbox[folder].splice(at, 1).length > 0;
    }
    return false;
  }

  /** Under a new id. */
  move(address: string, id: string, to: Folder): void {
    const mailbox = this.#mailbox(address);
    const item = FOLDERS.flatMap((folder) => mailbox[folder]).find((one) => one.id === id);
    if (!item || !this.remove(address, id)) return;
    mailbox[to].push({
      ...item,
      id: randomBytes(24).toString('base64'),
      changeKey: randomBytes(12).toString('base64'),
    });
  }

  /** Whether it would be sent; the order of the looks is Exchange's as far as known. */
  judge(address: string, submission: Submission): EwsFault | undefined {
    const mailbox = this.#mailbox(address);
    const { to, cc, bcc, from, mime } = submission;
    if (to.length + cc.length + bcc.length === 0)
      return new EwsFault('ErrorMissingRecipients', 'The message must have at least one recipient.');
    if (mime.length > (mailbox.options.maxSendSize ?? MAX_SEND_SIZE))
      return new EwsFault('ErrorMessageSizeExceeded', 'The message exceeds the maximum supported size.');
    const mayUse = (used: string): boolean =>
      used === '' ||
      mailbox.owns(used) ||
      (mailbox.options.sendAs ?? []).some((one) => canonicalAddress(one) === canonicalAddress(used));
    if (!mayUse(from))
      return new EwsFault(
        'ErrorSendAsDenied',
        'The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account.',
      );
    return undefined;
  }

  /** Delivers, and keeps a copy where wanted. @param id of the copy; absent: a new one */
  send(address: string, submission: Submission, copyTo: Place | undefined, id?: string): void {
    const mailbox = this.#mailbox(address);
    if (copyTo) {
      const copy = this.#item(submission, submission.mime, true);
      this.#mailbox(copyTo.address)[copyTo.folder].push(id === undefined ? copy : { ...copy, id });
    }
    const outside: string[] = [];
    const undeliverable: string[] = [];
    const mime = this.#asDelivered(submission);
    // Each entry of the recipient table is delivered to, so that a recipient who stands in two lists shows.
    for (const recipient of [...submission.to, ...submission.cc, ...submission.bcc]) {
      const target = this.#find(recipient);
      if (target) target.inbox.push(this.#item(submission, mime, false));
      else if (this.#isOurs(recipient)) undeliverable.push(recipient);
      else outside.push(recipient);
    }
    const { messageId, subject, from, to, cc, bcc, extended, elements } = submission;
    this.#arrivals.push({
      mailbox: mailbox.address,
      at: this.#now(),
      messageId,
      subject,
      from: from === '' ? mailbox.address : from,
      to,
      cc,
      bcc,
      submitted: submission.mime,
      extended,
      elements,
      outside,
      undeliverable,
    });
  }

  /** Exchange writes To and Cc from the recipient table, and shows no Bcc. */
  #asDelivered(submission: Submission): Buffer {
    const { header, mime, headerSize, to, cc, isAsWritten } = submission;
    const kept = header.filter(
      ({ name }) => name !== 'bcc' && name !== 'received' && (isAsWritten || (name !== 'to' && name !== 'cc')),
    );
    const written = isAsWritten
      ? []
      : [
          ...(to.length > 0 ? [headerField('To', to.join(', '))] : []),
          ...(cc.length > 0 ? [headerField('Cc', cc.join(', '))] : []),
        ];
    const trace = headerField(
      'Received',
      `from sandbox.invalid by sandbox.invalid; ${new Date(this.#now()).toUTCString().replace('GMT', '+0000')}`,
    );
    return Buffer.concat([joinHeader([trace, ...kept, ...written]), mime.subarray(headerSize)]);
  }

  #item(submission: Submission, mime: Buffer, isOwn: boolean): Item {
    const { messageId, subject, from, to, cc, bcc, extended, elements } = submission;
    const flags = extended.find(({ path }) => Number(path['PropertyTag']) === MESSAGE_FLAGS)?.values[0];
    return {
      id: randomBytes(24).toString('base64'),
      changeKey: randomBytes(12).toString('base64'),
      messageId,
      subject,
      from,
      to,
      cc,
      bcc: isOwn ? bcc : [],
      mime,
      // Named properties of the sender do not travel to readers of other mailboxes.
      extended: isOwn
        ? extended
        : extended.filter(({ path }) => path['DistinguishedPropertySetId'] === 'InternetHeaders'),
      itemClass: elements['ItemClass'] ?? 'IPM.Note',
      ...(isOwn && flags !== undefined ? { flags: Number(flags) } : {}),
      isRead: isOwn && (Number(flags ?? 0) & READ) === READ,
      receivedAt: this.#now(),
    };
  }

  #find(address: string): Mailbox | undefined {
    return this.#mailboxes.find((mailbox) => mailbox.owns(address));
  }

  #mailbox(address: string): Mailbox {
    const found = this.#find(address);
    if (!found) throw new Error(`the sandbox has no mailbox ${address}`);
    return found;
  }

  #isOurs(address: string): boolean {
    const domain = (one: string): string => canonicalAddress(one).split('@').at(-1) ?? '';
    return this.#mailboxes.some((mailbox) => domain(mailbox.address) === domain(address));
  }
}
