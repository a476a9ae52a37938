/** What a request of EWS may reach, and what its ids name there. What they do not name is an EwsFault, thrown. */
import type { Mailboxes, Place } from './mailboxes.ts';
import type { FolderView, Item, MailboxStore } from './store.ts';
import type { RecipientProperties } from './submission.ts';
import { EwsFault } from './submission.ts';
import type { XmlElement } from './xml.ts';
import { textAt } from './xml.ts';

export interface OperationContext {
  readonly mailboxes: Mailboxes;
  /** The impersonated mailbox. */
  readonly actingAs: string;
  /** Other mailboxes that the same caller may reach. */
  readonly mayReach: (address: string) => boolean;
  readonly recipientProperties: RecipientProperties;
}

export interface FoundItem {
  readonly item: Item;
  readonly folder: FolderView;
  readonly mailbox: MailboxStore;
}

export interface FoundFolder {
  readonly folder: FolderView;
  readonly mailbox: MailboxStore;
}

export function itemById(context: OperationContext, id: XmlElement): FoundItem {
  const mailbox = context.mailboxes.find(context.actingAs);
  const wanted = id.attributes['Id'] ?? '';
  if (!/^[A-Za-z0-9+/=]{16,}$/.test(wanted)) throw new EwsFault('ErrorInvalidIdMalformed', 'Id is malformed.');
  const found = mailbox?.find(wanted);
  if (found && mailbox) return { item: found.item, folder: found.folder, mailbox };
  throw new EwsFault('ErrorItemNotFound', 'The specified object was not found in the store.');
}

/** @param missing the code for a folder that is not there */
export function folderOf(
  id: XmlElement | undefined,
  context: OperationContext,
  missing = 'ErrorFolderNotFound',
): FoundFolder {
  const address = textAt(id, 'Mailbox', 'EmailAddress') || context.actingAs;
  const mailbox = context.mailboxes.find(address);
  if (!mailbox) throw new EwsFault('ErrorNonExistentMailbox', 'The SMTP address has no mailbox associated with it.');
  if (!context.mayReach(mailbox.address)) throw new EwsFault('ErrorAccessDenied', 'Access is denied.');
  const wanted = id?.attributes['Id'];
  const folder = mailbox.folders.find((one) => (id?.name === 'FolderId' ? one.id : one.wellKnown) === wanted);
  if (!folder) throw new EwsFault(missing, 'The specified folder could not be found in the store.');
  return { mailbox, folder };
}

/** Where SavedItemFolderId points to. */
export function placeOf(target: XmlElement | undefined, context: OperationContext): Place | undefined {
  const id = target?.children[0];
  if (!id) return undefined;
  const { mailbox, folder } = folderOf(id, context, 'ErrorSavedItemFolderNotFound');
  return { address: mailbox.address, folder: folder.id };
}
