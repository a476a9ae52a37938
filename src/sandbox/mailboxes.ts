/**
 * The sandbox's mailboxes: folders in memory, delivery between its own users, and the judgement of who may send as whom.
 * What leaves for other domains, and what is for a mailbox of its own domains that does not exist, is kept as a fact of
 * the arrival. Nothing here fails but by value.
 */
import { canonicalAddress } from '../mail/address.ts';
import { headerField, HeaderPeeler, joinHeader } from '../mail/header.ts';
import type { IncomingMail } from './incoming.ts';
import { readIncoming } from './incoming.ts';
import { MailboxStore } from './store.ts';
import type { Folder, Item, NewItem } from './store.ts';
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
  /** Paths of folders that its user has made. */
  readonly folders?: readonly string[];
  /** What the mailbox's language calls the well-known folders, where not the English name. */
  readonly folderNames?: Partial<Readonly<Record<Folder, string>>>;
}

/** A folder of somebody's. */
export interface Place {
  readonly address: string;
  /** Well-known name or id. */
  readonly folder: string;
}

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

/** PidTagMessageFlags with mfRead and mfUnsent. */
const MESSAGE_FLAGS = 0x0e07;
const READ = 1;
export const UNSENT = 8;
const HEADER_LIMIT = 16 * 1024 * 1024;
const MAX_SEND_SIZE = 35 * 1024 * 1024;

class Mailbox extends MailboxStore {
  readonly options: MailboxOptions;

  constructor(options: MailboxOptions) {
    super(options.address, options.folderNames);
    this.options = options;
    for (const path of options.folders ?? []) this.makePath(path);
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

  get all(): readonly MailboxStore[] {
    return this.#mailboxes;
  }

  /** Epoch milliseconds. */
  now(): number {
    return this.#now();
  }

  get arrivals(): readonly Arrival[] {
    return this.#arrivals;
  }

  find(address: string): MailboxStore | undefined {
    return this.#find(address);
  }

  /** Forgets all mail. */
  clear(): void {
    this.#arrivals.length = 0;
    for (const mailbox of this.#mailboxes) mailbox.clear();
  }

  /** Puts the message into a folder without sending it. @param id to keep; absent: a new one */
  save({ address, folder }: Place, submission: Submission, id?: string): Item {
    const item = { ...this.#item(submission, submission.mime, true), submission };
    return this.#mailbox(address).put(folder, item, { id });
  }

  /** Mail from outside, whoever it names. */
  async receive(address: string, mail: IncomingMail): Promise<Item> {
    const mailbox = this.#mailbox(address);
    const item = await readIncoming(mail, this.#now());
    return mailbox.put(mailbox.makePath(mail.folder ?? 'Inbox').id, item, { isNew: true });
  }

  remove(address: string, id: string): boolean {
    return this.#mailbox(address).remove(id);
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
      this.#mailbox(copyTo.address).put(copyTo.folder, copy, { id });
    }
    const outside: string[] = [];
    const undeliverable: string[] = [];
    const mime = this.#asDelivered(submission);
    // Each entry of the recipient table is delivered to, so that a recipient who stands in two lists shows.
    for (const recipient of [...submission.to, ...submission.cc, ...submission.bcc]) {
      const target = this.#find(recipient);
      if (target) target.put('inbox', this.#item(submission, mime, false), { isNew: true });
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

  #item(submission: Submission, mime: Buffer, isOwn: boolean): NewItem {
    const { messageId, subject, from, sender, to, cc, bcc, extended, elements } = submission;
    const flags = extended.find(({ path }) => Number(path['PropertyTag']) === MESSAGE_FLAGS)?.values[0];
    return {
      messageId,
      subject,
      from,
      sender,
      to,
      cc,
      bcc: isOwn ? bcc : [],
      mime,
      ...(isOwn ? {} : { header: headerOf(mime) }),
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

function headerOf(mime: Buffer): string {
  const peeler = new HeaderPeeler(HEADER_LIMIT);
  return (peeler.push(mime) ?? peeler.end()).header.toString('utf8');
}
