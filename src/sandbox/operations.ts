/**
 * The EWS operations of the sandbox: CreateItem, SendItem, GetItem, FindItem, GetFolder. Each takes the operation's element
 * and gives its response messages as XML, one per item or folder. Trouble with one item is its own message; the request as
 * a whole goes on, as in Exchange.
 */
import type { Folder, Item, Mailboxes, MailboxView } from './mailboxes.ts';
import { FOLDERS } from './mailboxes.ts';
import type { RecipientProperties } from './submission.ts';
import { EwsFault, isSameProperty, readSubmission } from './submission.ts';
import type { XmlElement } from './xml.ts';
import { child, textAt, xmlText } from './xml.ts';

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

export const OPERATIONS = ['CreateItem', 'SendItem', 'GetItem', 'FindItem', 'GetFolder'] as const;
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
        return items(name, [itemXml(found.item, child(request, 'ItemShape'))]);
      });
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
  // FindItem and GetFolder have messages without content; the schema wants an empty list from the others.
  const content =
    operation === 'FindItem' || operation === 'SendItem'
      ? ''
      : operation === 'GetFolder'
        ? '<m:Folders/>'
        : '<m:Items/>';
  const pairs = Object.entries(values).map(
    ([name, value]) => `<t:Value Name="${xmlText(name)}">${xmlText(value)}</t:Value>`,
  );
  const more = pairs.length === 0 ? '' : `<m:MessageXml>${pairs.join('')}</m:MessageXml>`;
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
  if (!['SaveOnly', 'SendOnly', 'SendAndSaveCopy'].includes(disposition))
    return new EwsFault('ErrorInvalidRequest', `MessageDisposition ${disposition} is unknown.`);
  const { mailboxes, actingAs, recipientProperties } = context;
  const submission = await readSubmission(element, recipientProperties);
  if (submission instanceof EwsFault) return submission;
  try {
    const place = target?.children[0];
    const folder = place ? folderOf(place, context).folder : undefined;
    if (disposition === 'SaveOnly') {
      const item = mailboxes.save(actingAs, folder ?? 'drafts', submission);
      return items('CreateItem', [`<t:Message>${idXml(item)}</t:Message>`]);
    }
    const fault = mailboxes.judge(actingAs, submission);
    if (fault) {
      // Exchange leaves the draft behind when it refuses the sender of a message of which a copy was to be kept.
      if (fault.code === 'ErrorSendAsDenied' && disposition === 'SendAndSaveCopy')
        mailboxes.save(actingAs, 'drafts', submission);
      return fault;
    }
    mailboxes.send(actingAs, submission, disposition === 'SendAndSaveCopy' ? (folder ?? 'sentitems') : undefined);
    return items('CreateItem', []);
  } catch (error) {
    if (error instanceof EwsFault) return error;
    throw error;
  }
}

function sendItem(request: XmlElement, id: XmlElement, context: OperationContext): string {
  const { mailboxes } = context;
  const { item, mailbox } = itemById(context, id);
  const changeKey = id.attributes['ChangeKey'];
  if (changeKey === undefined) throw new EwsFault('ErrorChangeKeyRequired', 'A change key is required.');
  if (changeKey !== item.changeKey)
    throw new EwsFault('ErrorStaleObject', 'The change key does not match the current one.');
  if (!item.submission) throw new EwsFault('ErrorInvalidOperation', 'The item is no draft.');
  const isSaved = request.attributes['SaveItemToFolder'] === 'true';
  const target = child(request, 'SavedItemFolderId')?.children[0];
  if (!isSaved && target)
    throw new EwsFault('ErrorInvalidSendItemSaveSettings', 'A folder was named for an item that is not saved.');
  const folder = target ? folderOf(target, context).folder : 'sentitems';
  const fault = mailboxes.judge(mailbox.address, item.submission);
  if (fault) throw fault;
  mailboxes.remove(mailbox.address, item.id);
  mailboxes.send(mailbox.address, item.submission, isSaved ? folder : undefined);
  return success('SendItem', '');
}

function findItem(request: XmlElement, id: XmlElement, context: OperationContext): string {
  const { mailbox, folder } = folderOf(id, context);
  const restriction = child(request, 'Restriction')?.children[0];
  const view = child(request, 'IndexedPageItemView');
  const limit = restriction ? MAX_FILTERED_PAGE : MAX_PAGE;
  const offset = Number(view?.attributes['Offset'] ?? 0);
  const rows = Math.min(Number(view?.attributes['MaxEntriesReturned'] ?? limit), limit);
  if (rows < 1) throw new EwsFault('ErrorInvalidPagingMaxRows', 'A page has at least one row.');
  if (child(request, 'QueryString'))
    throw new EwsFault('ErrorUnsupportedQueryFilter', 'The sandbox has no query strings.');
  const matching = mailbox[folder].filter((item) => restriction === undefined || matches(item, restriction));
  // Newest first, unless something else was asked for.
  const order = child(child(request, 'SortOrder'), 'FieldOrder')?.attributes['Order'] ?? 'Descending';
  const sorted = order === 'Ascending' ? matching : matching.toReversed();
  const page = sorted.slice(offset, offset + rows);
  const end = offset + page.length;
  return success(
    'FindItem',
    `<m:RootFolder IndexedPagingOffset="${end}" TotalItemsInView="${matching.length}" IncludesLastItemInRange="${end >= matching.length}">` +
      `<t:Items>${page.map((item) => itemXml(item, child(request, 'ItemShape'))).join('')}</t:Items></m:RootFolder>`,
  );
}

function matches(item: Item, condition: XmlElement): boolean {
  switch (condition.name) {
    case 'And':
      return condition.children.every((one) => matches(item, one));
    case 'Or':
      return condition.children.some((one) => matches(item, one));
    case 'Not':
      return condition.children.every((one) => !matches(item, one));
    case 'IsEqualTo': {
      const [field, against] = condition.children;
      const wanted = against ? (child(against, 'Constant')?.attributes['Value'] ?? '') : '';
      return field !== undefined && valueOf(item, field) === wanted;
    }
    default:
      throw new EwsFault('ErrorUnsupportedQueryFilter', `The sandbox cannot filter by ${condition.name}.`);
  }
}

function valueOf(item: Item, field: XmlElement): string | undefined {
  if (field.name === 'ExtendedFieldURI')
    return item.extended.find(({ path }) => isSameProperty(path, field.attributes))?.values[0];
  switch (field.attributes['FieldURI']) {
    case 'message:InternetMessageId':
      return item.messageId;
    case 'message:IsRead':
      return String(item.isRead);
    case 'item:ItemClass':
      return item.itemClass;
    case 'item:Subject':
      return item.subject;
    default:
      throw new EwsFault(
        'ErrorUnsupportedPathForQuery',
        `The sandbox cannot filter by ${field.attributes['FieldURI'] ?? field.name}.`,
      );
  }
}

function itemById(context: OperationContext, id: XmlElement): { item: Item; mailbox: MailboxView } {
  const mailbox = context.mailboxes.find(context.actingAs);
  const wanted = id.attributes['Id'] ?? '';
  if (!/^[A-Za-z0-9+/=]{16,}$/.test(wanted)) throw new EwsFault('ErrorInvalidIdMalformed', 'Id is malformed.');
  for (const folder of FOLDERS) {
    const item = mailbox?.[folder].find((one) => one.id === wanted);
    if (item && mailbox) return { item, mailbox };
  }
  throw new EwsFault('ErrorItemNotFound', 'The specified object was not found in the store.');
}

function folderOf(id: XmlElement, context: OperationContext): { mailbox: MailboxView; folder: Folder } {
  const address = textAt(id, 'Mailbox', 'EmailAddress') || context.actingAs;
  const mailbox = context.mailboxes.find(address);
  if (!mailbox) throw new EwsFault('ErrorNonExistentMailbox', 'The SMTP address has no mailbox associated with it.');
  if (!context.mayReach(mailbox.address)) throw new EwsFault('ErrorAccessDenied', 'Access is denied.');
  const wanted = id.attributes['Id'];
  const folder = FOLDERS.find((one) => (id.name === 'FolderId' ? folderId(mailbox, one) : one) === wanted);
  if (!folder) throw new EwsFault('ErrorFolderNotFound', 'The specified folder could not be found in the store.');
  return { mailbox, folder };
}

function folderId(mailbox: MailboxView, folder: Folder): string {
  return Buffer.from(`${mailbox.address}/${folder}`).toString('base64');
}

const NAMES: Readonly<Record<Folder, string>> = {
  inbox: 'Inbox',
  drafts: 'Drafts',
  outbox: 'Outbox',
  sentitems: 'Sent Items',
  deleteditems: 'Deleted Items',
};

function folderXml(mailbox: MailboxView, folder: Folder): string {
  const content = mailbox[folder];
  return (
    `<t:Folder><t:FolderId Id="${xmlText(folderId(mailbox, folder))}" ChangeKey="AQAAAA=="/><t:DisplayName>${NAMES[folder]}</t:DisplayName>` +
    `<t:TotalCount>${content.length}</t:TotalCount><t:ChildFolderCount>0</t:ChildFolderCount>` +
    `<t:UnreadCount>${content.filter(({ isRead }) => !isRead).length}</t:UnreadCount></t:Folder>`
  );
}

function idXml({ id, changeKey }: Item): string {
  return `<t:ItemId Id="${xmlText(id)}" ChangeKey="${xmlText(changeKey)}"/>`;
}

/** Elements in the order of the schema. */
function itemXml(item: Item, shape: XmlElement | undefined): string {
  const base = textAt(shape, 'BaseShape');
  const asked = child(shape, 'AdditionalProperties')?.children ?? [];
  const wants = (uri: string): boolean =>
    base !== 'IdOnly' || asked.some(({ attributes }) => attributes['FieldURI'] === uri);
  const extended = asked
    .filter(({ name }) => name === 'ExtendedFieldURI')
    .flatMap(({ attributes }) => item.extended.filter(({ path }) => isSameProperty(path, attributes)));
  const wantsMime = textAt(shape, 'IncludeMimeContent') === 'true' || asked.some((one) => isMime(one));
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
    ...extended.map(propertyXml),
    base === 'AllProperties' ? listXml('ToRecipients', item.to) + listXml('CcRecipients', item.cc) : '',
    base === 'AllProperties' ? listXml('BccRecipients', item.bcc) : '',
    wants('message:From') && item.from !== '' ? `<t:From>${mailboxXml(item.from)}</t:From>` : '',
    wants('message:InternetMessageId') && item.messageId !== ''
      ? `<t:InternetMessageId>${xmlText(item.messageId)}</t:InternetMessageId>`
      : '',
    wants('message:IsRead') ? `<t:IsRead>${item.isRead}</t:IsRead>` : '',
    '</t:Message>',
  ].join('');
}

function isMime({ attributes }: XmlElement): boolean {
  return attributes['FieldURI'] === 'item:MimeContent';
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
