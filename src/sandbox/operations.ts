/**
 * The EWS operations of the sandbox: CreateItem, SendItem, GetItem, DeleteItem, FindItem, GetFolder. Each takes its element
 * and gives its response messages as XML, one per item or folder. Trouble with one item is its own message; the request as
 * a whole goes on, as in Exchange.
 */
import type { Mailboxes, Place } from './mailboxes.ts';
import { UNSENT } from './mailboxes.ts';
import { conditionOf } from './restriction.ts';
import type { FolderView, Item, MailboxStore } from './store.ts';
import type { RecipientProperties } from './submission.ts';
import { EwsFault, isSameProperty, readSubmission } from './submission.ts';
import type { XmlElement } from './xml.ts';
import { child, isTrue, textAt, valuesXml, xmlText } from './xml.ts';

export interface OperationContext {
  readonly mailboxes: Mailboxes;
  /** The impersonated mailbox. */
  readonly actingAs: string;
  /** Other mailboxes that the same caller may reach. */
  readonly mayReach: (address: string) => boolean;
  readonly recipientProperties: RecipientProperties;
}

/** Rows a page may have, and with a restriction. */
const MAX_PAGE = 1000;
const MAX_FILTERED_PAGE = 250;

export const OPERATIONS = ['CreateItem', 'SendItem', 'GetItem', 'DeleteItem', 'FindItem', 'GetFolder'] as const;
export type OperationName = (typeof OPERATIONS)[number];

export function isOperation(name: string): name is OperationName {
  return OPERATIONS.some((one) => one === name);
}

/** @returns response messages */
export async function operate(
  name: OperationName,
  request: XmlElement,
  context: OperationContext,
): Promise<readonly string[]> {
  switch (name) {
    case 'CreateItem':
      return await createItem(request, context);
    case 'SendItem':
      return each(request, 'ItemIds', name, (id) => sendItem(request, id, context));
    case 'GetItem':
      return each(request, 'ItemIds', name, (id) => {
        const found = itemById(context, id);
        return items(name, [itemXml(found.item, child(request, 'ItemShape'), 'whole')]);
      });
    case 'DeleteItem':
      return each(request, 'ItemIds', name, (id) => deleteItem(request, id, context));
    case 'FindItem':
      return each(request, 'ParentFolderIds', name, (id) => findItem(request, id, context));
    case 'GetFolder':
      return each(request, 'FolderIds', name, (id) => {
        const { mailbox, folder } = folderOf(id, context);
        return success(name, `<m:Folders>${folderXml(mailbox, folder)}</m:Folders>`);
      });
  }
}

export function errorMessage(
  operation: string,
  code: string,
  text: string,
  values: Readonly<Record<string, string>> = {},
): string {
  // Some operations have messages without content; the schema wants an empty list from the others.
  const content =
    operation === 'FindItem' || operation === 'SendItem' || operation === 'DeleteItem'
      ? ''
      : operation === 'GetFolder'
        ? '<m:Folders/>'
        : '<m:Items/>';
  const pairs = valuesXml(values);
  const more = pairs === '' ? '' : `<m:MessageXml>${pairs}</m:MessageXml>`;
  return (
    `<m:${operation}ResponseMessage ResponseClass="Error"><m:MessageText>${xmlText(text)}</m:MessageText>` +
    `<m:ResponseCode>${xmlText(code)}</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>${more}${content}</m:${operation}ResponseMessage>`
  );
}

function success(operation: string, content: string): string {
  return `<m:${operation}ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>${content}</m:${operation}ResponseMessage>`;
}

function items(operation: string, rows: readonly string[]): string {
  return success(operation, `<m:Items>${rows.join('')}</m:Items>`);
}

/** An EwsFault thrown by the work for one id is that id's message. */
function each(request: XmlElement, list: string, operation: string, work: (id: XmlElement) => string): string[] {
  return (child(request, list)?.children ?? []).map((id) => {
    try {
      return work(id);
    } catch (error) {
      if (error instanceof EwsFault) return errorMessage(operation, error.code, error.text);
      throw error;
    }
  });
}

async function createItem(request: XmlElement, context: OperationContext): Promise<string[]> {
  const disposition = request.attributes['MessageDisposition'] ?? '';
  const answers: string[] = [];
  for (const element of child(request, 'Items')?.children ?? []) {
    const made = await createOne(element, disposition, child(request, 'SavedItemFolderId'), context);
    answers.push(made instanceof EwsFault ? errorMessage('CreateItem', made.code, made.text) : made);
  }
  return answers;
}

async function createOne(
  element: XmlElement,
  disposition: string,
  target: XmlElement | undefined,
  context: OperationContext,
): Promise<string | EwsFault> {
  if (element.name !== 'Message')
    return new EwsFault('ErrorInvalidRequest', `The sandbox creates messages only, not ${element.name}.`);
  if (disposition === '')
    return new EwsFault('ErrorMessageDispositionRequired', 'A message needs the attribute MessageDisposition.');
  const { mailboxes, actingAs, recipientProperties } = context;
  const submission = await readSubmission(element, recipientProperties);
  if (submission instanceof EwsFault) return submission;
  try {
    // SendOnly keeps nothing: what folder was named does not matter.
    const place = disposition === 'SendOnly' ? undefined : placeOf(target, context);
    if (disposition === 'SaveOnly') {
      const item = mailboxes.save(place ?? { address: actingAs, folder: 'drafts' }, submission);
      return items('CreateItem', [`<t:Message>${idXml(item)}</t:Message>`]);
    }
    const fault = mailboxes.judge(actingAs, submission);
    if (fault) {
      // Exchange leaves the draft behind when it refuses the sender of a message of which a copy was to be kept.
      if (fault.code === 'ErrorSendAsDenied' && disposition === 'SendAndSaveCopy')
        mailboxes.save({ address: actingAs, folder: 'drafts' }, submission);
      return fault;
    }
    const copy = disposition === 'SendOnly' ? undefined : (place ?? { address: actingAs, folder: 'sentitems' });
    mailboxes.send(actingAs, submission, copy);
    return items('CreateItem', []);
  } catch (error) {
    if (error instanceof EwsFault) return error;
    throw error;
  }
}

function sendItem(request: XmlElement, id: XmlElement, context: OperationContext): string {
  const { mailboxes } = context;
  const { item, mailbox } = itemById(context, id);
  // Without a change key too.
  if (id.attributes['ChangeKey'] !== item.changeKey)
    throw new EwsFault('ErrorStaleObject', 'The change key does not match the current one.');
  if (!item.submission || !isDraft(item)) throw new EwsFault('ErrorInvalidOperation', 'The item is no draft.');
  const isSaved = isTrue(request.attributes['SaveItemToFolder'] ?? '');
  const target = child(request, 'SavedItemFolderId');
  if (!isSaved && target)
    throw new EwsFault('ErrorInvalidSendItemSaveSettings', 'A folder was named for an item that is not saved.');
  const place = placeOf(target, context) ?? { address: mailbox.address, folder: 'sentitems' };
  const fault = mailboxes.judge(mailbox.address, item.submission);
  if (fault) throw fault;
  mailboxes.remove(mailbox.address, item.id);
  mailboxes.send(mailbox.address, item.submission, isSaved ? place : undefined);
  return success('SendItem', '');
}

/** Gone for good, or moved: what was moved has a new id, as in Exchange. */
function deleteItem(request: XmlElement, id: XmlElement, context: OperationContext): string {
  const { item, mailbox } = itemById(context, id);
  if (request.attributes['DeleteType'] === 'MoveToDeletedItems') mailbox.move(item.id, 'deleteditems');
  else mailbox.remove(item.id);
  return success('DeleteItem', '');
}

/** Saved and not sent; its maker may have said otherwise (PidTagMessageFlags without mfUnsent). */
function isDraft({ submission, flags }: Item): boolean {
  return submission !== undefined && (flags === undefined || (flags & UNSENT) !== 0);
}

function findItem(request: XmlElement, id: XmlElement, context: OperationContext): string {
  const { folder } = folderOf(id, context);
  const restriction = child(request, 'Restriction')?.children[0];
  const view = child(request, 'IndexedPageItemView');
  const limit = restriction ? MAX_FILTERED_PAGE : MAX_PAGE;
  const offset = Number(view?.attributes['Offset'] ?? 0);
  const rows = Math.min(Number(view?.attributes['MaxEntriesReturned'] ?? limit), limit);
  if (rows < 1) throw new EwsFault('ErrorInvalidPagingMaxRows', 'A page has at least one row.');
  if (offset < 0) throw new EwsFault('ErrorInvalidIndexedPagingParameters', 'A page begins at 0 or later.');
  if (view?.attributes['BasePoint'] === 'End')
    throw new EwsFault('ErrorInvalidRequest', 'The sandbox counts pages from the beginning only.');
  if (child(request, 'QueryString'))
    throw new EwsFault('ErrorUnsupportedQueryFilter', 'The sandbox has no query strings.');
  const matching = folder.items.filter(restriction ? conditionOf(restriction) : () => true);
  // Newest first, unless something else was asked for.
  const order = child(child(request, 'SortOrder'), 'FieldOrder')?.attributes['Order'] ?? 'Descending';
  const sorted = order === 'Ascending' ? matching : matching.toReversed();
  const start = Math.min(offset, sorted.length);
  const page = sorted.slice(start, start + rows);
  const end = start + page.length;
  return success(
    'FindItem',
    `<m:RootFolder IndexedPagingOffset="${end}" TotalItemsInView="${matching.length}" IncludesLastItemInRange="${end >= matching.length}">` +
      `<t:Items>${page.map((item) => itemXml(item, child(request, 'ItemShape'), 'row')).join('')}</t:Items></m:RootFolder>`,
  );
}

function itemById(context: OperationContext, id: XmlElement): { item: Item; mailbox: MailboxStore } {
  const mailbox = context.mailboxes.find(context.actingAs);
  const wanted = id.attributes['Id'] ?? '';
  if (!/^[A-Za-z0-9+/=]{16,}$/.test(wanted)) throw new EwsFault('ErrorInvalidIdMalformed', 'Id is malformed.');
  const found = mailbox?.find(wanted);
  if (found && mailbox) return { item: found.item, mailbox };
  throw new EwsFault('ErrorItemNotFound', 'The specified object was not found in the store.');
}

function folderOf(id: XmlElement, context: OperationContext): { mailbox: MailboxStore; folder: FolderView } {
  const address = textAt(id, 'Mailbox', 'EmailAddress') || context.actingAs;
  const mailbox = context.mailboxes.find(address);
  if (!mailbox) throw new EwsFault('ErrorNonExistentMailbox', 'The SMTP address has no mailbox associated with it.');
  if (!context.mayReach(mailbox.address)) throw new EwsFault('ErrorAccessDenied', 'Access is denied.');
  const wanted = id.attributes['Id'];
  const folder = mailbox.folders.find((one) => (id.name === 'FolderId' ? one.id : one.wellKnown) === wanted);
  if (!folder) throw new EwsFault('ErrorFolderNotFound', 'The specified folder could not be found in the store.');
  return { mailbox, folder };
}

/** Where SavedItemFolderId points to. */
function placeOf(target: XmlElement | undefined, context: OperationContext): Place | undefined {
  const id = target?.children[0];
  if (!id) return undefined;
  try {
    const { mailbox, folder } = folderOf(id, context);
    return { address: mailbox.address, folder: folder.id };
  } catch (error) {
    if (error instanceof EwsFault && error.code === 'ErrorFolderNotFound')
      throw new EwsFault('ErrorSavedItemFolderNotFound', 'The folder for the saved item could not be found.');
    throw error;
  }
}

function folderXml(mailbox: MailboxStore, { id, displayName, items: content }: FolderView): string {
  return (
    `<t:Folder><t:FolderId Id="${xmlText(id)}" ChangeKey="AQAAAA=="/><t:DisplayName>${xmlText(displayName)}</t:DisplayName>` +
    `<t:TotalCount>${content.length}</t:TotalCount><t:ChildFolderCount>${mailbox.children(id).length}</t:ChildFolderCount>` +
    `<t:UnreadCount>${content.filter(({ isRead }) => !isRead).length}</t:UnreadCount></t:Folder>`
  );
}

function idXml({ id, changeKey }: Item): string {
  return `<t:ItemId Id="${xmlText(id)}" ChangeKey="${xmlText(changeKey)}"/>`;
}

/** Elements in the order of the schema. A `row` of FindItem has neither MIME nor recipients, whatever was asked for. */
function itemXml(item: Item, shape: XmlElement | undefined, extent: 'whole' | 'row'): string {
  const base = textAt(shape, 'BaseShape');
  const asked = child(shape, 'AdditionalProperties')?.children ?? [];
  const isAsked = (uri: string): boolean => asked.some(({ attributes }) => attributes['FieldURI'] === uri);
  const wants = (uri: string): boolean => base !== 'IdOnly' || isAsked(uri);
  const extended = asked
    .filter(({ name }) => name === 'ExtendedFieldURI')
    .flatMap(({ attributes }) => item.extended.filter(({ path }) => isSameProperty(path, attributes)));
  const wantsMime = extent === 'whole' && (isTrue(textAt(shape, 'IncludeMimeContent')) || isAsked('item:MimeContent'));
  const list = (name: string, addresses: readonly string[]): string =>
    extent === 'whole' && (base === 'AllProperties' || isAsked(`message:${name}`)) ? listXml(name, addresses) : '';
  return [
    '<t:Message>',
    wantsMime ? `<t:MimeContent CharacterSet="UTF-8">${item.mime.toString('base64')}</t:MimeContent>` : '',
    idXml(item),
    wants('item:ItemClass') ? `<t:ItemClass>${xmlText(item.itemClass)}</t:ItemClass>` : '',
    wants('item:Subject') ? `<t:Subject>${xmlText(item.subject)}</t:Subject>` : '',
    wants('item:DateTimeReceived')
      ? `<t:DateTimeReceived>${new Date(item.receivedAt).toISOString().replace(/\.\d+Z$/, 'Z')}</t:DateTimeReceived>`
      : '',
    wants('item:Size') ? `<t:Size>${item.mime.length}</t:Size>` : '',
    isAsked('item:IsSubmitted') ? '<t:IsSubmitted>false</t:IsSubmitted>' : '',
    isAsked('item:IsDraft') ? `<t:IsDraft>${isDraft(item)}</t:IsDraft>` : '',
    ...extended.map(propertyXml),
    list('ToRecipients', item.to),
    list('CcRecipients', item.cc),
    list('BccRecipients', item.bcc),
    wants('message:From') && item.from !== '' ? `<t:From>${mailboxXml(item.from)}</t:From>` : '',
    wants('message:InternetMessageId') && item.messageId !== ''
      ? `<t:InternetMessageId>${xmlText(item.messageId)}</t:InternetMessageId>`
      : '',
    wants('message:IsRead') ? `<t:IsRead>${item.isRead}</t:IsRead>` : '',
    '</t:Message>',
  ].join('');
}

function propertyXml({ path, values }: Item['extended'][number]): string {
  const attributes = Object.entries(path).map(([name, value]) => `${name}="${xmlText(value)}"`);
  const value =
    values.length === 1
      ? `<t:Value>${xmlText(values[0] ?? '')}</t:Value>`
      : `<t:Values>${values.map((one) => `<t:Value>${xmlText(one)}</t:Value>`).join('')}</t:Values>`;
  return `<t:ExtendedProperty><t:ExtendedFieldURI ${attributes.join(' ')}/>${value}</t:ExtendedProperty>`;
}

function mailboxXml(address: string): string {
  return `<t:Mailbox><t:EmailAddress>${xmlText(address)}</t:EmailAddress></t:Mailbox>`;
}

function listXml(name: string, addresses: readonly string[]): string {
  return addresses.length === 0 ? '' : `<t:${name}>${addresses.map(mailboxXml).join('')}</t:${name}>`;
}
