/** The EWS operations on folders: GetFolder, FindFolder, CreateFolder, UpdateFolder. Trouble is an EwsFault, thrown. */
import { folderXml } from './item-xml.ts';
import type { OperationContext } from './reach.ts';
import { folderOf } from './reach.ts';
import { successMessage } from './soap.ts';
import type { FolderView, MailboxStore } from './store.ts';
import { EwsFault, isSameProperty } from './submission.ts';
import type { XmlElement } from './xml.ts';
import { child, textAt } from './xml.ts';

const MAX_PAGE = 1000;

export function getFolder(request: XmlElement, id: XmlElement, context: OperationContext): string {
  const { mailbox, folder } = folderOf(id, context);
  const properties = child(child(request, 'FolderShape'), 'AdditionalProperties')?.children;
  return successMessage('GetFolder', `<m:Folders>${folderXml(mailbox, folder, properties)}</m:Folders>`);
}

export function findFolder(request: XmlElement, id: XmlElement, context: OperationContext): string {
  const { mailbox, folder } = folderOf(id, context);
  const traversal = request.attributes['Traversal'];
  if (traversal === 'SoftDeleted') throw new EwsFault('ErrorInvalidRequest', 'The sandbox keeps no deleted folders.');
  const wanted = conditionOf(child(request, 'Restriction')?.children[0]);
  const all = traversal === 'Deep' ? below(mailbox, folder.id) : mailbox.children(folder.id);
  const matching = all.filter(wanted);
  const view = child(request, 'IndexedPageFolderView');
  const offset = Number(view?.attributes['Offset'] ?? 0);
  const rows = Math.min(Number(view?.attributes['MaxEntriesReturned'] ?? MAX_PAGE), MAX_PAGE);
  if (rows < 1) throw new EwsFault('ErrorInvalidPagingMaxRows', 'A page has at least one row.');
  const page = matching.slice(offset, offset + rows);
  const end = Math.min(offset + page.length, matching.length);
  return successMessage(
    'FindFolder',
    `<m:RootFolder IndexedPagingOffset="${end}" TotalItemsInView="${matching.length}" IncludesLastItemInRange="${end >= matching.length}">` +
      `<t:Folders>${page.map((one) => folderXml(mailbox, one)).join('')}</t:Folders></m:RootFolder>`,
  );
}

export function createFolder(request: XmlElement, wish: XmlElement, context: OperationContext): string {
  const parent = child(request, 'ParentFolderId')?.children[0];
  const { mailbox, folder } = folderOf(parent, context, 'ErrorParentFolderNotFound');
  if (wish.name !== 'Folder')
    throw new EwsFault('ErrorInvalidRequest', `The sandbox makes mail folders only, no ${wish.name}.`);
  const name = textAt(wish, 'DisplayName');
  if (name === '') throw new EwsFault('ErrorFolderSavePropertyError', 'The folder has no name.');
  const made = mailbox.makeFolder(folder.id, name);
  if (!made) throw new EwsFault('ErrorFolderExists', 'A folder with the specified name already exists.');
  return successMessage('CreateFolder', `<m:Folders>${folderXml(mailbox, made)}</m:Folders>`);
}

/** Sets and removes extended properties only. */
export function updateFolder(change: XmlElement, context: OperationContext): string {
  const [id, updates] = change.children;
  const { mailbox, folder } = folderOf(id, context);
  for (const { name, children } of updates?.children ?? []) {
    const [path, element] = children;
    const isRemoved = name === 'DeleteFolderField';
    if (path?.name !== 'ExtendedFieldURI' || (name !== 'SetFolderField' && !isRemoved))
      throw new EwsFault('ErrorInvalidPropertySet', 'The sandbox sets extended properties of a folder only.');
    const property = child(element, 'ExtendedProperty');
    if (!isRemoved && !isSameProperty(child(property, 'ExtendedFieldURI')?.attributes ?? {}, path.attributes))
      throw new EwsFault('ErrorUpdatePropertyMismatch', 'The property is not that of the path.');
    mailbox.setProperty(folder.id, { path: path.attributes, values: isRemoved ? [] : [textAt(property, 'Value')] });
  }
  return successMessage('UpdateFolder', `<m:Folders>${folderXml(mailbox, folder)}</m:Folders>`);
}

function below(mailbox: MailboxStore, id: string): readonly FolderView[] {
  return mailbox.children(id).flatMap((one) => [one, ...below(mailbox, one.id)]);
}

function conditionOf(element: XmlElement | undefined): (folder: FolderView) => boolean {
  if (!element) return () => true;
  const [field, against] = element.children;
  const wanted = child(against, 'Constant')?.attributes['Value'];
  if (element.name !== 'IsEqualTo' || field?.attributes['FieldURI'] !== 'folder:DisplayName' || wanted === undefined)
    throw new EwsFault('ErrorUnsupportedPathForQuery', 'The sandbox finds folders by their whole name only.');
  return ({ displayName }) => displayName === wanted;
}
