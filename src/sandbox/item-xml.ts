/** Items and folders as XML, their elements in the order of Exchange's schema. */
import type { Attachment } from './attachments.ts';
import { attachmentsOf } from './attachments.ts';
import { fieldValue, splitHeader } from '../mail/header.ts';
import { propertyOf } from './item-properties.ts';
import type { Piece } from './pieces.ts';
import type { FoundItem } from './reach.ts';
import { UNSENT } from './mailboxes.ts';
import type { FolderView, Item, MailboxStore } from './store.ts';
import { EwsFault, isSameProperty } from './submission.ts';
import type { XmlElement } from './xml.ts';
import { child, isTrue, textAt, xmlText } from './xml.ts';

export function idXml({ id, changeKey }: Pick<Item, 'id' | 'changeKey'>): string {
  return `<t:ItemId Id="${xmlText(id)}" ChangeKey="${xmlText(changeKey)}"/>`;
}

/** The element that the schema has for an item of this class. */
export function elementOf({ itemClass }: Item): string {
  if (itemClass.startsWith('IPM.Schedule.Meeting.Request')) return 'MeetingRequest';
  if (itemClass.startsWith('IPM.Schedule.Meeting.Resp')) return 'MeetingResponse';
  return itemClass.startsWith('IPM.Schedule.Meeting.Canceled') ? 'MeetingCancellation' : 'Message';
}

/** Saved and not sent; its maker may have said otherwise (PidTagMessageFlags without mfUnsent). */
export function isDraft({ submission, flags }: Item): boolean {
  return submission !== undefined && (flags === undefined || (flags & UNSENT) !== 0);
}

/** @param properties that were asked for besides */
export function folderXml(
  mailbox: MailboxStore,
  { id, parent, displayName, items, extended }: FolderView,
  properties: readonly XmlElement[] = [],
): string {
  const wanted = extended.filter(({ path }) => properties.some(({ attributes }) => isSameProperty(attributes, path)));
  return (
    `<t:Folder><t:FolderId Id="${xmlText(id)}" ChangeKey="AQAAAA=="/>` +
    (parent === '' ? '' : `<t:ParentFolderId Id="${xmlText(parent)}" ChangeKey="AQAAAA=="/>`) +
    `<t:DisplayName>${xmlText(displayName)}</t:DisplayName>` +
    `<t:TotalCount>${items.length}</t:TotalCount><t:ChildFolderCount>${mailbox.children(id).length}</t:ChildFolderCount>` +
    wanted.map(propertyXml).join('') +
    `<t:UnreadCount>${items.filter(({ isRead }) => !isRead).length}</t:UnreadCount></t:Folder>`
  );
}

/** A row of a list: neither MIME nor recipients nor attachments, whatever was asked for. */
export function rowXml(item: Item, shape: XmlElement | undefined): string {
  const wanted = wishOf(shape);
  return elementXml(item, [idXml(item), ...beginningXml(item, wanted), ...endXml(item, wanted)].join(''));
}

/** All that GetItem gives. @throws EwsFault for an item that cannot be read */
export async function wholeXml(
  { item, folder }: Pick<FoundItem, 'item' | 'folder'>,
  shape: XmlElement | undefined,
): Promise<readonly Piece[]> {
  if (item.broken === 'item') throw new EwsFault('ErrorCorruptData', 'The item is corrupt.');
  const wanted = wishOf(shape);
  const wantsMime = isTrue(textAt(shape, 'IncludeMimeContent')) || wanted.isAsked('item:MimeContent');
  if (wantsMime && item.broken === 'mime')
    throw new EwsFault('ErrorMimeContentConversionFailed', 'The MIME content could not be converted.');
  const element = elementOf(item);
  const list = (name: string, addresses: readonly string[]): string =>
    wanted.base === 'AllProperties' || wanted.isAsked(`message:${name}`) ? listXml(name, addresses) : '';
  const wantsFiles = wanted.isAsked('item:Attachments') || wanted.isAsked('item:HasAttachments');
  const files = wantsFiles ? await attachmentsOf(item) : [];
  return [
    `<t:${element}>`,
    ...(wantsMime ? ['<t:MimeContent CharacterSet="UTF-8">', { base64: item.mime }, '</t:MimeContent>'] : []),
    [
      idXml(item),
      wanted.isAsked('item:ParentFolderId')
        ? `<t:ParentFolderId Id="${xmlText(folder.id)}" ChangeKey="AQAAAA=="/>`
        : '',
      ...beginningXml(item, wanted, wanted.isAsked('item:Attachments') ? attachmentsXml(item, files) : ''),
      wanted.isAsked('item:InternetMessageHeaders') ? headersXml(item) : '',
      wanted.isAsked('item:HasAttachments')
        ? `<t:HasAttachments>${files.some(({ isInline }) => !isInline)}</t:HasAttachments>`
        : '',
      ...endXml(
        item,
        wanted,
        list('ToRecipients', item.to) + list('CcRecipients', item.cc) + list('BccRecipients', item.bcc),
      ),
      `</t:${element}>`,
    ].join(''),
  ];
}

export function elementXml(item: Item, inside: string): string {
  return `<t:${elementOf(item)}>${inside}</t:${elementOf(item)}>`;
}

interface Wish {
  readonly base: string;
  readonly properties: readonly XmlElement[];
  /** By name among the additional properties. */
  isAsked(uri: string): boolean;
  /** By name, or by a shape that is more than ids. */
  wants(uri: string): boolean;
}

function wishOf(shape: XmlElement | undefined): Wish {
  const base = textAt(shape, 'BaseShape');
  const properties = child(shape, 'AdditionalProperties')?.children ?? [];
  const isAsked = (uri: string): boolean => properties.some(({ attributes }) => attributes['FieldURI'] === uri);
  return { base, properties, isAsked, wants: (uri) => base !== 'IdOnly' || isAsked(uri) };
}

function beginningXml(item: Item, { wants, isAsked }: Wish, attachments = ''): string[] {
  return [
    wants('item:ItemClass') ? `<t:ItemClass>${xmlText(item.itemClass)}</t:ItemClass>` : '',
    wants('item:Subject') ? `<t:Subject>${xmlText(item.subject)}</t:Subject>` : '',
    attachments,
    wants('item:DateTimeReceived')
      ? `<t:DateTimeReceived>${new Date(item.receivedAt).toISOString().replace(/\.\d+Z$/, 'Z')}</t:DateTimeReceived>`
      : '',
    wants('item:Size') ? `<t:Size>${item.mime.length}</t:Size>` : '',
    isAsked('item:IsSubmitted') ? '<t:IsSubmitted>false</t:IsSubmitted>' : '',
    isAsked('item:IsDraft') ? `<t:IsDraft>${isDraft(item)}</t:IsDraft>` : '',
  ];
}

function endXml(item: Item, { wants, isAsked, properties }: Wish, recipients = ''): string[] {
  const sender = item.sender || item.from;
  return [
    ...properties
      .filter(({ name }) => name === 'ExtendedFieldURI')
      .flatMap(({ attributes }) => propertyOf(item, attributes) ?? [])
      .map(propertyXml),
    isAsked('message:Sender') && sender !== '' ? `<t:Sender>${mailboxXml(sender)}</t:Sender>` : '',
    recipients,
    wants('message:From') && item.from !== '' ? `<t:From>${mailboxXml(item.from)}</t:From>` : '',
    wants('message:InternetMessageId') && item.messageId !== ''
      ? `<t:InternetMessageId>${xmlText(item.messageId)}</t:InternetMessageId>`
      : '',
    wants('message:IsRead') ? `<t:IsRead>${item.isRead}</t:IsRead>` : '',
  ];
}

function attachmentsXml(item: Item, files: readonly Attachment[]): string {
  if (files.length === 0) return '';
  const one = ({ name, contentType, size, isInline, isItem }: Attachment, index: number): string => {
    const element = isItem ? 'ItemAttachment' : 'FileAttachment';
    return (
      `<t:${element}><t:AttachmentId Id="${xmlText(`${item.id}:${index}`)}"/>` +
      (name === undefined ? '' : `<t:Name>${xmlText(name)}</t:Name>`) +
      `<t:ContentType>${xmlText(contentType)}</t:ContentType><t:Size>${size}</t:Size><t:IsInline>${isInline}</t:IsInline></t:${element}>`
    );
  };
  return `<t:Attachments>${files.map(one).join('')}</t:Attachments>`;
}

function headersXml({ header }: Item): string {
  const fields = transportFields(header);
  if (fields.length === 0) return '';
  const rows = fields.map(
    ({ name, value }) =>
      `<t:InternetMessageHeader HeaderName="${xmlText(name)}">${xmlText(value)}</t:InternetMessageHeader>`,
  );
  return `<t:InternetMessageHeaders>${rows.join('')}</t:InternetMessageHeaders>`;
}

/** Names as written, values unfolded. */
export function transportFields(header = ''): readonly { readonly name: string; readonly value: string }[] {
  return splitHeader(Buffer.from(header))
    .filter(({ name }) => name !== '')
    .map((field) => ({ name: field.raw.toString('utf8').split(':', 1)[0]?.trim() ?? '', value: fieldValue(field) }));
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
