/**
 * The shape of a request, as far as Exchange is strict about it: which children an element may have, in which order, and
 * which attributes it must have. Exchange answers a breach with ErrorSchemaValidation before it looks at anything else.
 * The order is that of Exchange Server SE's own schema; only elements this gateway could send are listed.
 */
import type { XmlElement } from './xml.ts';

export const MESSAGES = 'http://schemas.microsoft.com/exchange/services/2006/messages';
export const TYPES = 'http://schemas.microsoft.com/exchange/services/2006/types';
export const SOAP = 'http://schemas.xmlsoap.org/soap/envelope/';

interface Shape {
  /** Allowed children in order; `name*` may occur more than once. Absent: anything. */
  readonly children?: readonly string[];
  /** Children of which one must be there. */
  readonly needs?: readonly string[];
  readonly attributes?: readonly string[];
}

/** Elements of a request, by local name. Names with two meanings do not occur in what is listed here. */
const SHAPES: Readonly<Record<string, Shape>> = {
  CreateItem: {
    children: ['SavedItemFolderId', 'Items'],
    needs: ['Items'],
    attributes: ['MessageDisposition'],
  },
  SendItem: {
    children: ['ItemIds', 'SavedItemFolderId'],
    needs: ['ItemIds'],
    attributes: ['SaveItemToFolder'],
  },
  GetItem: { children: ['ItemShape', 'ItemIds'], needs: ['ItemShape', 'ItemIds'] },
  FindItem: {
    children: ['ItemShape', 'IndexedPageItemView', 'Restriction', 'SortOrder', 'ParentFolderIds', 'QueryString'],
    needs: ['ItemShape', 'ParentFolderIds'],
    attributes: ['Traversal'],
  },
  GetFolder: { children: ['FolderShape', 'FolderIds'], needs: ['FolderShape', 'FolderIds'] },
  ItemShape: {
    children: ['BaseShape', 'IncludeMimeContent', 'BodyType', 'AdditionalProperties'],
    needs: ['BaseShape'],
  },
  FolderShape: { children: ['BaseShape', 'AdditionalProperties'], needs: ['BaseShape'] },
  IndexedPageItemView: { children: [], attributes: ['Offset', 'BasePoint'] },
  SavedItemFolderId: { children: ['FolderId', 'DistinguishedFolderId'] },
  DistinguishedFolderId: { children: ['Mailbox'], attributes: ['Id'] },
  ItemId: { children: [], attributes: ['Id'] },
  Message: {
    children: [
      'MimeContent',
      'ItemId',
      'ParentFolderId',
      'ItemClass',
      'Subject',
      'Sensitivity',
      'Body',
      'Attachments',
      'DateTimeReceived',
      'Size',
      'Categories',
      'Importance',
      'InReplyTo',
      'InternetMessageHeaders',
      'DateTimeSent',
      'DateTimeCreated',
      'ExtendedProperty*',
      'Culture',
      'Flag',
      'Sender',
      'ToRecipients',
      'CcRecipients',
      'BccRecipients',
      'IsReadReceiptRequested',
      'IsDeliveryReceiptRequested',
      'ConversationIndex',
      'ConversationTopic',
      'From',
      'InternetMessageId',
      'IsRead',
      'IsResponseRequested',
      'References',
      'ReplyTo',
    ],
  },
  ExtendedProperty: { children: ['ExtendedFieldURI', 'Value', 'Values'], needs: ['ExtendedFieldURI'] },
  ExtendedFieldURI: { children: [], attributes: ['PropertyType'] },
  ToRecipients: { children: ['Mailbox*'] },
  CcRecipients: { children: ['Mailbox*'] },
  BccRecipients: { children: ['Mailbox*'] },
  ReplyTo: { children: ['Mailbox*'] },
  Mailbox: { children: ['Name', 'EmailAddress', 'RoutingType', 'MailboxType', 'ItemId'] },
  ConnectingSID: { children: ['PrincipalName', 'SID', 'PrimarySmtpAddress', 'SmtpAddress'] },
};

/** What Exchange would say, or undefined for a request of the right shape. */
export function schemaFault(element: XmlElement): string | undefined {
  if (![MESSAGES, TYPES].includes(element.namespace)) return strange(element.name, element.namespace);
  const shape = SHAPES[element.name];
  if (shape) {
    for (const name of shape.attributes ?? [])
      if (element.attributes[name] === undefined) return `The required attribute '${name}' is missing.`;
    if (shape.children) {
      const fault = orderFault(element, shape.children);
      if (fault !== undefined) return fault;
    }
    for (const name of shape.needs ?? [])
      if (!element.children.some((one) => one.name === name))
        return `The element '${element.name}' has incomplete content. List of possible elements expected: '${name}'.`;
  }
  for (const one of element.children) {
    const fault = schemaFault(one);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function orderFault(element: XmlElement, allowed: readonly string[]): string | undefined {
  let at = 0;
  for (const { name } of element.children) {
    let found = allowed.findIndex((one, index) => index >= at && one.replace('*', '') === name);
    if (found < 0) return strange(name, element.name);
    if (!allowed[found]?.endsWith('*')) found++;
    at = found;
  }
  return undefined;
}

function strange(name: string, parent: string): string {
  return `The request failed schema validation: The element '${parent}' has invalid child element '${name}'.`;
}
