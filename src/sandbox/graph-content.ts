/**
 * What the sandbox's Graph is handed, as a submission of its mailboxes: MIME as it is, JSON written as MIME. Expected
 * faults are values with Graph's code.
 */
import { randomUUID } from 'node:crypto';
import type { FileAttachment, Message, Recipient } from '@microsoft/microsoft-graph-types';
import { isSendable } from '../mail/address.ts';
import { parseHeader } from '../mail/addresses.ts';
import { encodedWords, renderMailbox } from '../mail/display.ts';
import { fieldValue, headerField, HeaderPeeler, joinHeader, splitHeader } from '../mail/header.ts';
import type { HeaderField } from '../mail/header.ts';
import type { ExtendedProperty, Submission } from './submission.ts';
import { EwsFault } from './submission.ts';

const HEADER_LIMIT = 16 * 1024 * 1024;
export const INTERNET_HEADERS = '{00020386-0000-0000-c000-000000000046}';
const PUBLIC_STRINGS = '{00020329-0000-0000-c000-000000000046}';

/** Base64 in, as the body of a request with text/plain. */
export async function submissionOfBase64(body: Buffer): Promise<Submission | EwsFault> {
  const packed = body.toString('latin1').trim();
  const mime = Buffer.from(packed, 'base64');
  if (packed === '' || mime.toString('base64') !== packed)
    return new EwsFault('ErrorMimeContentInvalidBase64String', 'Invalid base64 string for MIME content.');
  return await submissionOf(mime);
}

/** Exchange makes properties of X- fields, and importance and receipts of their fields. */
export async function submissionOf(
  mime: Buffer,
  beside: Pick<Submission, 'extended' | 'elements'> = { extended: [], elements: {} },
): Promise<Submission | EwsFault> {
  const peeler = new HeaderPeeler(HEADER_LIMIT);
  const block = (peeler.push(mime) ?? peeler.end()).header;
  const header = splitHeader(block);
  const parsed = await parseHeader(header);
  const list = (found: readonly { readonly name: string; readonly address: string }[]): string[] => [
    ...new Map(
      found.map(({ name, address }) => (address === '' ? name : address)).map((one) => [one.toLowerCase(), one]),
    ).values(),
  ];
  const [to, cc, bcc] = [list(parsed.to), list(parsed.cc), list(parsed.bcc)];
  if ([...to, ...cc, ...bcc].some((address) => !isSendable(address)))
    return new EwsFault('ErrorInvalidRecipients', "At least one recipient isn't valid.");
  const value = (name: string): string => fieldValue(header.find((field) => field.name === name) ?? NONE);
  return {
    mime,
    header,
    headerSize: block.length,
    messageId: parsed.messageId ?? `<${randomUUID()}@sandbox.invalid>`,
    subject: parsed.subject ?? '',
    from: parsed.from[0]?.address ?? '',
    sender: parsed.sender[0]?.address ?? '',
    to,
    cc,
    bcc,
    isAsWritten: true,
    extended: [
      ...header
        .filter(({ name }) => name.startsWith('x-'))
        .map((field) => ({
          path: { DistinguishedPropertySetId: 'InternetHeaders', PropertyName: nameOf(field), PropertyType: 'String' },
          values: [fieldValue(field)],
        })),
      ...beside.extended,
    ],
    elements: {
      ...(value('importance') === '' ? {} : { Importance: value('importance') }),
      ...(value('disposition-notification-to') === '' ? {} : { IsReadReceiptRequested: 'true' }),
      ...beside.elements,
    },
  };
}

const NONE: HeaderField = { name: '', raw: Buffer.alloc(0) };

function nameOf(field: HeaderField): string {
  return field.raw.toString('latin1').split(':', 1)[0]?.trim() ?? '';
}

/** `String {set} Name name` or `String 0x1039`. @returns undefined for what is neither */
export function propertyPath(id: string): ExtendedProperty['path'] | undefined {
  const [, type = '', set = '', name = ''] = /^(\w+) (\{[0-9a-f-]{36}\}) Name (\S+)$/i.exec(id) ?? [];
  const known = { [INTERNET_HEADERS]: 'InternetHeaders', [PUBLIC_STRINGS]: 'PublicStrings' }[set.toLowerCase()];
  if (known !== undefined) return { DistinguishedPropertySetId: known, PropertyName: name, PropertyType: type };
  const [, kind = '', tag] = /^(\w+) (0x[0-9a-f]{4})$/i.exec(id) ?? [];
  return tag === undefined ? undefined : { PropertyTag: tag, PropertyType: kind };
}

/** @param attachments beside those of the message itself */
export async function submissionOfJson(
  message: Message,
  attachments: readonly FileAttachment[],
): Promise<Submission | EwsFault> {
  const properties = (message.singleValueExtendedProperties ?? []).map(({ id = '', value }) => ({
    path: propertyPath(id),
    values: [value ?? ''],
  }));
  if (properties.some(({ path }) => path === undefined))
    return new EwsFault('ErrorInvalidProperty', 'The extended property id is not valid.');
  if ((message.internetMessageHeaders ?? []).length > 5)
    return new EwsFault('InvalidInternetMessageHeader', 'Maximum number of headers in one message is 5.');
  const extended = properties.flatMap(({ path, values }) => (path === undefined ? [] : [{ path, values }]));
  return await submissionOf(mimeOf(message, [...(message.attachments ?? []), ...attachments], extended), {
    extended: extended.filter(({ path }) => path['DistinguishedPropertySetId'] !== 'InternetHeaders'),
    elements: {
      ...(message.importance ? { Importance: message.importance } : {}),
      ...(message.isReadReceiptRequested === true ? { IsReadReceiptRequested: 'true' } : {}),
      ...(message.isDeliveryReceiptRequested === true ? { IsDeliveryReceiptRequested: 'true' } : {}),
    },
  });
}

/** PidTagInternetReferences and PidTagInReplyToId (MS-OXCMAIL section 2.2.3.1.9). */
const FIELDS_OF_TAGS: Readonly<Record<number, string>> = { 0x1039: 'References', 0x1042: 'In-Reply-To' };

function mimeOf(message: Message, files: readonly FileAttachment[], extended: readonly ExtendedProperty[]): Buffer {
  const boundary = `sandbox-${randomUUID()}`;
  const list = (recipients: readonly Recipient[]): string =>
    recipients
      .map(({ emailAddress }) =>
        renderMailbox({ name: emailAddress?.name ?? '', address: emailAddress?.address ?? '' }),
      )
      .join(', ');
  const field = (name: string, value: string): HeaderField[] =>
    name === '' || value === '' ? [] : [headerField(name, value)];
  const { body } = message;
  const named = extended.flatMap(({ path, values }) =>
    path['DistinguishedPropertySetId'] === 'InternetHeaders'
      ? field(path['PropertyName'] ?? '', inAscii(values[0] ?? ''))
      : field(FIELDS_OF_TAGS[Number(path['PropertyTag'])] ?? '', values[0] ?? ''),
  );
  // Whatever address was asked for: Exchange sends receipts to whom the message is from.
  const receipts = list(message.from ? [message.from] : []);
  const header = joinHeader([
    ...field('Message-ID', message.internetMessageId ?? ''),
    ...field('From', list(message.from ? [message.from] : [])),
    ...field('Sender', list(message.sender ? [message.sender] : [])),
    ...field('To', list(message.toRecipients ?? [])),
    ...field('Cc', list(message.ccRecipients ?? [])),
    ...field('Bcc', list(message.bccRecipients ?? [])),
    ...field('Reply-To', list(message.replyTo ?? [])),
    ...field('Subject', inAscii(message.subject ?? '')),
    ...field('Importance', message.importance ?? ''),
    ...field('Disposition-Notification-To', message.isReadReceiptRequested === true ? receipts : ''),
    ...field('Return-Receipt-To', message.isDeliveryReceiptRequested === true ? receipts : ''),
    ...(message.internetMessageHeaders ?? []).flatMap(({ name, value }) => field(name ?? '', inAscii(value ?? ''))),
    ...named,
    headerField('MIME-Version', '1.0'),
    headerField('Content-Type', `multipart/mixed; boundary="${boundary}"`),
  ]);
  const parts = [
    `--${boundary}\r\nContent-Type: text/${body?.contentType === 'html' ? 'html' : 'plain'}; charset=utf-8\r\n` +
      `Content-Transfer-Encoding: base64\r\n\r\n${Buffer.from(body?.content ?? '').toString('base64')}\r\n`,
    ...files.map(
      ({ name, contentType, contentId, isInline, contentBytes }) =>
        `--${boundary}\r\nContent-Type: ${contentType ?? 'application/octet-stream'}\r\n` +
        `Content-Disposition: ${isInline ? 'inline' : 'attachment'}; filename*=utf-8''${encodeURIComponent(name ?? '')}\r\n` +
        `${contentId ? `Content-ID: <${contentId}>\r\n` : ''}Content-Transfer-Encoding: base64\r\n\r\n${contentBytes ?? ''}\r\n`,
    ),
    `--${boundary}--\r\n`,
  ];
  return Buffer.concat([header, ...parts.map((part) => Buffer.from(part))]);
}

function inAscii(text: string): string {
  return /^[ -~]*$/.test(text) ? text : encodedWords(text);
}
