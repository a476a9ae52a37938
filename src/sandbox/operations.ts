/**
 * The EWS operations of the sandbox. For sending: CreateItem, SendItem, FindItem. For picking up: SyncFolderItems, GetItem,
 * MoveItem, UpdateItem, DeleteItem, GetFolder, FindFolder, CreateFolder, UpdateFolder, Subscribe, GetStreamingEvents
 * (streaming.ts), Unsubscribe. Each takes its element and gives its response messages, one per item or folder. Trouble with one item is its
 * own message; the request as a whole goes on, as in Exchange.
 */
import { changePage } from './cursor.ts';
import { createFolder, findFolder, getFolder, updateFolder } from './folder-operations.ts';
import { elementOf, elementXml, idXml, isDraft, rowXml, wholeXml } from './item-xml.ts';
import type { Piece } from './pieces.ts';
import type { OperationContext } from './reach.ts';
import { folderOf, itemById, placeOf } from './reach.ts';
import { conditionOf } from './restriction.ts';
import { errorMessage, itemsMessage, successMessage } from './soap.ts';
import type { Change } from './store.ts';
import type { Subscriptions } from './streaming.ts';
import { EwsFault, readSubmission } from './submission.ts';
import type { XmlElement } from './xml.ts';
import { child, isTrue, textAt } from './xml.ts';

/** Rows a page may have, and with a restriction. */
const MAX_PAGE = 1000;
const MAX_FILTERED_PAGE = 250;

export const OPERATIONS = [
  'CreateItem',
  'SendItem',
  'GetItem',
  'DeleteItem',
  'MoveItem',
  'UpdateItem',
  'FindItem',
  'SyncFolderItems',
  'GetFolder',
  'FindFolder',
  'CreateFolder',
  'UpdateFolder',
  'Subscribe',
  'Unsubscribe',
  'GetStreamingEvents',
] as const;
export type OperationName = (typeof OPERATIONS)[number];

export function isOperation(name: string): name is OperationName {
  return OPERATIONS.some((one) => one === name);
}

export interface ServiceContext extends OperationContext {
  readonly subscriptions: Subscriptions;
}

/** @returns response messages */
export async function operate(
  name: Exclude<OperationName, 'GetStreamingEvents'>,
  request: XmlElement,
  context: ServiceContext,
): Promise<readonly Piece[]> {
  const items = child(request, 'ItemIds')?.children ?? [];
  switch (name) {
    case 'CreateItem':
      return await createItem(request, context);
    case 'SendItem':
      return await each(name, items, (id) => sendItem(request, id, context));
    case 'GetItem':
      return await each(name, items, (id) => getItem(request, id, context));
    case 'DeleteItem':
      return await each(name, items, (id) => deleteItem(request, id, context));
    case 'MoveItem':
      return await each(name, items, (id) => moveItem(request, id, context));
    case 'UpdateItem':
      return await each(name, child(request, 'ItemChanges')?.children, (change) =>
        updateItem(request, change, context),
      );
    case 'FindItem':
      return await each(name, child(request, 'ParentFolderIds')?.children, (id) => findItem(request, id, context));
    case 'SyncFolderItems':
      return await each(name, child(request, 'SyncFolderId')?.children, (id) => syncFolderItems(request, id, context));
    case 'GetFolder':
      return await each(name, child(request, 'FolderIds')?.children, (id) => getFolder(request, id, context));
    case 'FindFolder':
      return await each(name, child(request, 'ParentFolderIds')?.children, (id) => findFolder(request, id, context));
    case 'CreateFolder':
      return await each(name, child(request, 'Folders')?.children, (wish) => createFolder(request, wish, context));
    case 'UpdateFolder':
      return await each(name, child(request, 'FolderChanges')?.children, (change) => updateFolder(change, context));
    case 'Subscribe':
      return await each(name, [request], () => context.subscriptions.subscribe(request, context));
    case 'Unsubscribe':
      return await each(name, [request], () => context.subscriptions.unsubscribe(request, context));
  }
}

/** An EwsFault thrown by the work for one element is that element's message. */
async function each(
  operation: OperationName,
  elements: readonly XmlElement[] = [],
  work: (element: XmlElement) => string | Promise<readonly Piece[]>,
): Promise<readonly Piece[]> {
  const messages: Piece[] = [];
  for (const element of elements) {
    try {
      const done = work(element);
      messages.push(...(typeof done === 'string' ? [done] : await done));
    } catch (error) {
      if (!(error instanceof EwsFault)) throw error;
      messages.push(errorMessage(operation, error.code, error.text));
    }
  }
  return messages;
}

async function getItem(request: XmlElement, id: XmlElement, context: OperationContext): Promise<readonly Piece[]> {
  const whole = await wholeXml(itemById(context, id), child(request, 'ItemShape'));
  const begin = '<m:GetItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Items>';
  return [begin, ...whole, '</m:Items></m:GetItemResponseMessage>'];
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
      return itemsMessage('CreateItem', [elementXml(item, idXml(item))]);
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
    return itemsMessage('CreateItem', []);
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
  return successMessage('SendItem', '');
}

/** Gone for good, or moved: what was moved has a new id, as in Exchange. */
function deleteItem(request: XmlElement, id: XmlElement, context: OperationContext): string {
  const { item, mailbox } = itemById(context, id);
  if (request.attributes['DeleteType'] === 'MoveToDeletedItems') mailbox.move(item.id, 'deleteditems');
  else mailbox.remove(item.id);
  return successMessage('DeleteItem', '');
}

/** What was moved has a new id. */
function moveItem(request: XmlElement, id: XmlElement, context: OperationContext): string {
  const target = child(request, 'ToFolderId')?.children[0];
  const { mailbox: into, folder } = folderOf(target, context, 'ErrorToFolderNotFound');
  const { item, mailbox } = itemById(context, id);
  if (into !== mailbox) throw new EwsFault('ErrorMoveCopyFailed', 'The sandbox moves within a mailbox only.');
  const moved = mailbox.move(item.id, folder.id);
  const isTold = moved && textAt(request, 'ReturnNewItemIds').trim() !== 'false';
  return itemsMessage('MoveItem', isTold ? [elementXml(moved, idXml(moved))] : []);
}

/** Only message:IsRead can be set. */
function updateItem(request: XmlElement, change: XmlElement, context: OperationContext): string {
  const { MessageDisposition = '', ConflictResolution } = request.attributes;
  const [id, updates] = change.children;
  if (!id || id.name !== 'ItemId') throw new EwsFault('ErrorInvalidRequest', 'The sandbox updates items by their id.');
  const { item, mailbox } = itemById(context, id);
  if (MessageDisposition === '')
    throw new EwsFault('ErrorMessageDispositionRequired', 'A message needs the attribute MessageDisposition.');
  const { ChangeKey = item.changeKey } = id.attributes;
  if (ConflictResolution === 'NeverOverwrite' && ChangeKey !== item.changeKey)
    throw new EwsFault('ErrorIrresolvableConflict', 'The send or update operation could not be performed.');
  let current = item;
  for (const update of updates?.children ?? []) {
    const [path, element] = update.children;
    const value = child(element, 'IsRead')?.text;
    if (update.name !== 'SetItemField' || path?.attributes['FieldURI'] !== 'message:IsRead' || value === undefined)
      throw new EwsFault('ErrorInvalidPropertySet', 'The sandbox sets message:IsRead only.');
    if (element?.name !== elementOf(item))
      throw new EwsFault('ErrorUpdatePropertyMismatch', 'The element is not that of the item.');
    current = mailbox.setRead(item.id, isTrue(value)) ?? current;
  }
  return successMessage(
    'UpdateItem',
    `<m:Items>${elementXml(current, idXml(current))}</m:Items><m:ConflictResults><t:Count>0</t:Count></m:ConflictResults>`,
  );
}

/** Newest first, as Exchange since 2010 SP2. */
function syncFolderItems(request: XmlElement, id: XmlElement, context: OperationContext): string {
  const { mailbox, folder } = folderOf(id, context, 'ErrorSyncFolderNotFound');
  const state = textAt(request, 'SyncState');
  const size = Number(textAt(request, 'MaxChangesReturned'));
  const page = changePage(mailbox, folder.id, state === '' ? undefined : state, size);
  if (!page)
    throw new EwsFault('ErrorInvalidSyncStateData', 'Synchronization state data is corrupt or otherwise invalid.');
  const changes = page.changes.map((change) => changeXml(change, child(request, 'ItemShape'))).join('');
  return successMessage(
    'SyncFolderItems',
    `<m:SyncState>${page.cursor}</m:SyncState><m:IncludesLastItemInRange>${page.isLast}</m:IncludesLastItemInRange>` +
      `<m:Changes>${changes}</m:Changes>`,
  );
}

function changeXml(change: Change, shape: XmlElement | undefined): string {
  switch (change.kind) {
    case 'create':
      return `<t:Create>${rowXml(change.item, shape)}</t:Create>`;
    case 'update':
      return `<t:Update>${rowXml(change.item, shape)}</t:Update>`;
    case 'read':
      return `<t:ReadFlagChange>${idXml(change.item)}<t:IsRead>${change.item.isRead}</t:IsRead></t:ReadFlagChange>`;
    case 'delete':
      return `<t:Delete>${idXml(change.item)}</t:Delete>`;
  }
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
  return successMessage(
    'FindItem',
    `<m:RootFolder IndexedPagingOffset="${end}" TotalItemsInView="${matching.length}" IncludesLastItemInRange="${end >= matching.length}">` +
      `<t:Items>${page.map((item) => rowXml(item, child(request, 'ItemShape'))).join('')}</t:Items></m:RootFolder>`,
  );
}
