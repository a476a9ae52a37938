/**
 * The shape of a request, as far as Exchange is strict about it: which children an element may have, in which order, which
 * attributes, and which values simple ones take. Exchange answers a breach with ErrorSchemaValidation before it looks at
 * anything else. It follows Exchange Server SE's own schema; only what this gateway could send is listed, the rest passes.
 */
import type { XmlElement } from './xml.ts';

export const MESSAGES = 'http://schemas.microsoft.com/exchange/services/2006/messages';
export const TYPES = 'http://schemas.microsoft.com/exchange/services/2006/types';
export const SOAP = 'http://schemas.xmlsoap.org/soap/envelope/';

interface Shape {
  /** In order: `a|b` is one of them; with `?` it may be missing, with `*` and `+` be repeated. Absent: not looked at. */
  readonly children?: readonly string[];
  /** With `?` it may be missing. Absent: not looked at. */
  readonly attributes?: Readonly<Record<string, RegExp>>;
  /** What may be inside an element without children. */
  readonly text?: RegExp;
}

const ANY = /^/;
const NUMBER = /^\s*[+-]?\d{1,10}\s*$/;
const BOOLEAN = /^\s*(true|false|1|0)\s*$/;
const PATH = 'FieldURI|IndexedFieldURI|ExtendedFieldURI';
const CONDITION =
  'Contains|Excludes|Exists|IsEqualTo|IsNotEqualTo|IsGreaterThan|IsGreaterThanOrEqualTo|IsLessThan|IsLessThanOrEqualTo|And|Or|Not|Near';
const PROPERTY_TYPE =
  /^((ApplicationTime|Binary|CLSID|Currency|Double|Float|Integer|Long|Object|Short|SystemTime|String)(Array)?|Boolean|Error|Null)$/;
const PROPERTY_SET =
  /^(Meeting|Appointment|Common|PublicStrings|Address|InternetHeaders|CalendarAssistant|UnifiedMessaging|Task|Sharing)$/;
const FOLDER = 'FolderId|DistinguishedFolderId';
const FOLDERS = 'Folder|CalendarFolder|ContactsFolder|SearchFolder|TasksFolder';
const TARGET = `${FOLDER}|AddressListId`;
const ITEMS =
  'Message|Item|SharingMessage|CalendarItem|Contact|DistributionList|MeetingMessage|MeetingRequest|MeetingResponse|MeetingCancellation|Task|PostItem';
const BOXES: Shape = { children: ['Mailbox*'], attributes: {} };
const ONE_BOX: Shape = { children: ['Mailbox'], attributes: {} };
const TEXT: Shape = { children: [], attributes: {} };
/** What SOAP allows on any header. */
const HEADER = { 'mustUnderstand?': ANY, 'actor?': ANY };
const TRUTH: Shape = { children: [], attributes: {}, text: BOOLEAN };
const ID: Shape = { children: [], attributes: { Id: ANY, 'ChangeKey?': ANY } };
const COMPARISON: Shape = { children: [PATH, 'FieldURIOrConstant'], attributes: {} };

/** Elements of a request, by local name. Names with two meanings do not occur in what is listed here. */
const SHAPES: Readonly<Record<string, Shape>> = {
  RequestServerVersion: { children: [], attributes: { Version: /^(Exchange\d\w*|V\d\w*)$/, ...HEADER } },
  ExchangeImpersonation: { children: ['ConnectingSID'], attributes: HEADER },
  ConnectingSID: { children: ['PrincipalName|SID|PrimarySmtpAddress|SmtpAddress'], attributes: {} },
  PrincipalName: TEXT,
  SID: TEXT,
  PrimarySmtpAddress: TEXT,
  SmtpAddress: TEXT,

  CreateItem: {
    children: ['SavedItemFolderId?', 'Items'],
    attributes: { 'MessageDisposition?': /^(SaveOnly|SendOnly|SendAndSaveCopy)$/, 'SendMeetingInvitations?': ANY },
  },
  SendItem: { children: ['ItemIds', 'SavedItemFolderId?'], attributes: { SaveItemToFolder: BOOLEAN } },
  GetItem: { children: ['ItemShape', 'ItemIds'], attributes: {} },
  DeleteItem: {
    children: ['ItemIds'],
    attributes: {
      DeleteType: /^(HardDelete|SoftDelete|MoveToDeletedItems)$/,
      'SendMeetingCancellations?': ANY,
      'AffectedTaskOccurrences?': ANY,
      'SuppressReadReceipts?': BOOLEAN,
    },
  },
  FindItem: {
    children: ['ItemShape', 'IndexedPageItemView?', 'Restriction?', 'SortOrder?', 'ParentFolderIds', 'QueryString?'],
    attributes: { Traversal: /^(Shallow|SoftDeleted|Associated)$/ },
  },
  GetFolder: { children: ['FolderShape', 'FolderIds'], attributes: {} },
  FindFolder: {
    children: ['FolderShape', 'IndexedPageFolderView?', 'Restriction?', 'ParentFolderIds'],
    attributes: { Traversal: /^(Shallow|Deep|SoftDeleted)$/ },
  },
  CreateFolder: { children: ['ParentFolderId', 'Folders'], attributes: {} },
  UpdateFolder: { children: ['FolderChanges'], attributes: {} },
  MoveItem: { children: ['ToFolderId', 'ItemIds', 'ReturnNewItemIds?'], attributes: {} },
  UpdateItem: {
    children: ['SavedItemFolderId?', 'ItemChanges'],
    attributes: {
      ConflictResolution: /^(NeverOverwrite|AutoResolve|AlwaysOverwrite)$/,
      'MessageDisposition?': /^(SaveOnly|SendOnly|SendAndSaveCopy)$/,
      'SendMeetingInvitationsOrCancellations?': ANY,
      'SuppressReadReceipts?': BOOLEAN,
    },
  },
  SyncFolderItems: {
    children: ['ItemShape', 'SyncFolderId', 'SyncState?', 'Ignore?', 'MaxChangesReturned', 'SyncScope?'],
    attributes: {},
  },
  Subscribe: {
    children: ['PullSubscriptionRequest|PushSubscriptionRequest|StreamingSubscriptionRequest'],
    attributes: {},
  },
  Unsubscribe: { children: ['SubscriptionId'], attributes: {} },
  GetStreamingEvents: { children: ['SubscriptionIds', 'ConnectionTimeout'], attributes: {} },

  SyncFolderId: { children: [TARGET], attributes: {} },
  ToFolderId: { children: [TARGET], attributes: {} },
  ParentFolderId: { children: [TARGET], attributes: {} },
  SyncState: TEXT,
  Ignore: { children: ['ItemId*'], attributes: {} },
  // 1 to 512.
  MaxChangesReturned: {
    children: [],
    attributes: {},
    text: /^\s*\+?0*([1-9]\d?|[1-4]\d\d|50\d|51[0-2])\s*$/,
  },
  SyncScope: { children: [], attributes: {}, text: /^(NormalItems|NormalAndAssociatedItems)$/ },
  ReturnNewItemIds: TRUTH,
  ItemChanges: { children: ['ItemChange+'], attributes: {} },
  ItemChange: { children: ['ItemId|OccurrenceItemId|RecurringMasterItemId', 'Updates'], attributes: {} },
  FolderChanges: { children: ['FolderChange+'], attributes: {} },
  FolderChange: { children: [FOLDER, 'Updates'], attributes: {} },
  // Of items or of folders.
  Updates: {
    children: ['AppendToItemField|SetItemField|DeleteItemField|AppendToFolderField|SetFolderField|DeleteFolderField+'],
    attributes: {},
  },
  SetFolderField: { children: [PATH, FOLDERS], attributes: {} },
  DeleteFolderField: { children: [PATH], attributes: {} },
  SetItemField: { children: [PATH, ITEMS], attributes: {} },
  DeleteItemField: { children: [PATH], attributes: {} },
  Folders: { children: [`${FOLDERS}+`], attributes: {} },
  Folder: {
    children: ['FolderId?', 'ParentFolderId?', 'FolderClass?', 'DisplayName?', 'ExtendedProperty*', 'UnreadCount?'],
    attributes: {},
  },
  FolderClass: TEXT,
  DisplayName: TEXT,
  IndexedPageFolderView: {
    children: [],
    attributes: { 'MaxEntriesReturned?': NUMBER, Offset: NUMBER, BasePoint: /^(Beginning|End)$/ },
  },
  StreamingSubscriptionRequest: {
    children: ['FolderIds?', 'EventTypes'],
    attributes: { 'SubscribeToAllFolders?': BOOLEAN },
  },
  EventTypes: { children: ['EventType+'], attributes: {} },
  EventType: {
    children: [],
    attributes: {},
    text: /^(Copied|Created|Deleted|Modified|Moved|NewMail|FreeBusyChanged)Event$/,
  },
  SubscriptionIds: { children: ['SubscriptionId+'], attributes: {} },
  SubscriptionId: { children: [], attributes: {}, text: /./s },
  // Minutes, 1 to 30.
  ConnectionTimeout: { children: [], attributes: {}, text: /^\s*\+?0*([1-9]|[12]\d|30)\s*$/ },

  ItemShape: { children: ['BaseShape', 'IncludeMimeContent?', 'BodyType?', 'AdditionalProperties?'], attributes: {} },
  FolderShape: { children: ['BaseShape', 'AdditionalProperties?'], attributes: {} },
  BaseShape: { children: [], attributes: {}, text: /^(IdOnly|Default|AllProperties|PcxPeopleSearch)$/ },
  IncludeMimeContent: TRUTH,
  AdditionalProperties: { children: [`${PATH}+`], attributes: {} },
  FieldURI: { children: [], attributes: { FieldURI: /^[a-z]+:\w+(:\w+)?$/ } },
  IndexedPageItemView: {
    children: [],
    attributes: { 'MaxEntriesReturned?': NUMBER, Offset: NUMBER, BasePoint: /^(Beginning|End)$/ },
  },
  SortOrder: { children: ['FieldOrder+'], attributes: {} },
  FieldOrder: { children: [PATH], attributes: { Order: /^(Ascending|Descending)$/ } },
  Restriction: { children: [CONDITION], attributes: {} },
  And: { children: [`${CONDITION}+`], attributes: {} },
  Or: { children: [`${CONDITION}+`], attributes: {} },
  Not: { children: [CONDITION], attributes: {} },
  Exists: { children: [PATH], attributes: {} },
  IsEqualTo: COMPARISON,
  IsNotEqualTo: COMPARISON,
  FieldURIOrConstant: { children: [`${PATH}|Constant`], attributes: {} },
  Constant: { children: [], attributes: { Value: ANY } },

  SavedItemFolderId: { children: [TARGET], attributes: {} },
  ParentFolderIds: { children: [`${FOLDER}+`], attributes: {} },
  FolderIds: { children: [`${FOLDER}+`], attributes: {} },
  FolderId: ID,
  DistinguishedFolderId: { children: ['Mailbox?'], attributes: { Id: /^[a-z]+$/, 'ChangeKey?': ANY } },
  ItemIds: { children: ['ItemId|OccurrenceItemId|RecurringMasterItemId+'], attributes: {} },
  ItemId: ID,

  Items: {
    children: [`${ITEMS}+`],
    attributes: {},
  },
  Message: {
    children: [
      'MimeContent?',
      'ItemId?',
      'ParentFolderId?',
      'ItemClass?',
      'Subject?',
      'Sensitivity?',
      'Body?',
      'Attachments?',
      'DateTimeReceived?',
      'Size?',
      'Categories?',
      'Importance?',
      'InReplyTo?',
      'InternetMessageHeaders?',
      'DateTimeSent?',
      'DateTimeCreated?',
      'ExtendedProperty*',
      'Culture?',
      'Flag?',
      'Sender?',
      'ToRecipients?',
      'CcRecipients?',
      'BccRecipients?',
      'IsReadReceiptRequested?',
      'IsDeliveryReceiptRequested?',
      'ConversationIndex?',
      'ConversationTopic?',
      'From?',
      'InternetMessageId?',
      'IsRead?',
      'IsResponseRequested?',
      'References?',
      'ReplyTo?',
    ],
    attributes: {},
  },
  MimeContent: { children: [], attributes: { 'CharacterSet?': ANY } },
  ItemClass: TEXT,
  Subject: TEXT,
  InternetMessageId: TEXT,
  References: TEXT,
  Sensitivity: { children: [], attributes: {}, text: /^(Normal|Personal|Private|Confidential)$/ },
  Importance: { children: [], attributes: {}, text: /^(Low|Normal|High)$/ },
  IsReadReceiptRequested: TRUTH,
  IsDeliveryReceiptRequested: TRUTH,
  IsRead: TRUTH,
  IsResponseRequested: TRUTH,
  ExtendedProperty: { children: ['ExtendedFieldURI', 'Value|Values'], attributes: {} },
  ExtendedFieldURI: {
    children: [],
    attributes: {
      'DistinguishedPropertySetId?': PROPERTY_SET,
      'PropertySetId?': ANY,
      'PropertyTag?': /^(0[xX][0-9A-Fa-f]{1,4}|\d+)$/,
      'PropertyName?': ANY,
      'PropertyId?': NUMBER,
      PropertyType: PROPERTY_TYPE,
    },
  },
  Value: TEXT,
  Values: { children: ['Value+'], attributes: {} },
  ToRecipients: BOXES,
  CcRecipients: BOXES,
  BccRecipients: BOXES,
  ReplyTo: BOXES,
  Sender: ONE_BOX,
  From: ONE_BOX,
  Mailbox: { children: ['Name?', 'EmailAddress?', 'RoutingType?', 'MailboxType?', 'ItemId?'], attributes: {} },
  EmailAddress: { children: [], attributes: {}, text: /./s },
  RoutingType: { children: [], attributes: {}, text: /./s },
};

/** What Exchange would say about a header or an operation, or undefined for one of the right shape. */
export function schemaFault(element: XmlElement): string | undefined {
  // An operation and what stands directly in it are messages, all the rest are types; so are headers.
  const inside = element.namespace;
  for (const one of element.children)
    if (one.namespace !== inside) return failed(strange(one.name, element.name, one.namespace));
  const fault =
    shapeFault(element) ??
    firstOf(element.children, (one) => shapeFault(one) ?? firstOf(one.children, (deep) => typeFault(deep, one)));
  return fault === undefined ? undefined : failed(fault);
}

function typeFault(element: XmlElement, parent: XmlElement): string | undefined {
  if (element.namespace !== TYPES) return strange(element.name, parent.name, element.namespace);
  return shapeFault(element) ?? firstOf(element.children, (one) => typeFault(one, element));
}

function shapeFault(element: XmlElement): string | undefined {
  const shape = Object.hasOwn(SHAPES, element.name) ? SHAPES[element.name] : undefined;
  if (!shape) return undefined;
  return (
    attributeFault(element, shape.attributes) ??
    (shape.children && orderFault(element, shape.children)) ??
    (shape.text && !shape.text.test(element.text)
      ? `The '${element.name}' element has an invalid value '${element.text}'.`
      : undefined)
  );
}

function attributeFault({ attributes }: XmlElement, allowed: Shape['attributes']): string | undefined {
  if (!allowed) return undefined;
  for (const [key, values] of Object.entries(allowed)) {
    const name = key.replace('?', '');
    const value = attributes[name];
    if (value === undefined && !key.endsWith('?')) return `The required attribute '${name}' is missing.`;
    if (value !== undefined && !values.test(value)) return `The '${name}' attribute has an invalid value '${value}'.`;
  }
  const unknown = Object.keys(attributes).find((name) => !(name in allowed || `${name}?` in allowed));
  return unknown === undefined ? undefined : `The '${unknown}' attribute is not declared.`;
}

function orderFault(element: XmlElement, allowed: readonly string[]): string | undefined {
  const left = [...element.children];
  for (const part of allowed) {
    const names = part.replace(/[?*+]$/, '').split('|');
    const isNext = (): boolean => left[0] !== undefined && names.includes(left[0].name);
    if (!isNext() && !/[?*]$/.test(part)) {
      return left[0] === undefined
        ? `The element '${element.name}' has incomplete content. List of possible elements expected: '${names.join(', ')}'.`
        : strange(left[0].name, element.name);
    }
    const isMany = /[*+]$/.test(part);
    while (isNext()) {
      left.shift();
      if (!isMany) break;
    }
  }
  if (left[0]) return strange(left[0].name, element.name);
  return allowed.length > 0 && element.text.trim() !== ''
    ? `The element '${element.name}' cannot contain text.`
    : undefined;
}

function firstOf<T>(list: readonly T[], look: (one: T) => string | undefined): string | undefined {
  for (const one of list) {
    const found = look(one);
    if (found !== undefined) return found;
  }
  return undefined;
}

function strange(name: string, parent: string, namespace?: string): string {
  const where = namespace === undefined ? '' : ` in namespace '${namespace}'`;
  return `The element '${parent}' has invalid child element '${name}'${where}.`;
}

function failed(sentence: string): string {
  return `The request failed schema validation: ${sentence}`;
}
