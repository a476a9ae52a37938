/**
 * What the sandbox's Graph takes as JSON: the documented fields of each resource, what they hold and how much of it, held
 * to Microsoft's own types when it is compiled. Anything else is an error, told as Graph tells it. Pure.
 *
 * Limits: learn.microsoft.com/graph/api/resources/message, /graph/api/message-post-attachments,
 * /graph/api/attachment-createuploadsession, /graph/outlook-create-send-messages, and the limits of Exchange Online.
 */
import type {
  AttachmentItem,
  EmailAddress,
  FileAttachment,
  InternetMessageHeader,
  ItemBody,
  MailFolder,
  Message,
  Recipient,
  SingleValueLegacyExtendedProperty,
} from '@microsoft/microsoft-graph-types';

/** Of a message in Exchange Online. */
export const MAX_ATTACHMENTS = 250;
/** In To, Cc and Bcc together. */
export const MAX_RECIPIENTS = 500;

type Check = (value: unknown, path: string) => string | undefined;
type Fields<Resource> = Partial<Record<keyof Resource | '@odata.type', Check>>;

const isA =
  (type: 'string' | 'boolean'): Check =>
  (value, path) =>
    typeof value === type ? undefined : `${path} is no ${type}`;
const text = isA('string');
const oneOf =
  (...words: readonly string[]): Check =>
  (value, path) =>
    words.includes(String(value).toLowerCase()) ? undefined : `${path} cannot be ${JSON.stringify(value)}`;
const listOf =
  (one: Check, most = Infinity): Check =>
  (value, path) => {
    if (!Array.isArray(value)) return `${path} is no list`;
    if (value.length > most) return `${path} has more than ${most} entries`;
    return value.map((item, index) => one(item, `${path}[${index}]`)).find((fault) => fault !== undefined);
  };
const upTo =
  (characters: number): Check =>
  (value, path) =>
    text(value, path) ?? (String(value).length > characters ? `${path} is over ${characters} characters` : undefined);
const octets: Check = (value, path) =>
  Number.isSafeInteger(value) && Number(value) > 0 ? undefined : `${path} is no number of octets`;
const base64: Check = (value, path) =>
  text(value, path) ??
  (Buffer.from(String(value), 'base64').toString('base64') === value ? undefined : `${path} is no base64`);

function resource<Resource>(fields: Fields<Resource>, required: readonly (keyof Resource & string)[] = []): Check {
  const known = fields as Readonly<Record<string, Check>>;
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return `${path} is no object`;
    const missing = required.find((name) => !Object.hasOwn(value, name));
    if (missing !== undefined) return `${path}.${missing} is missing`;
    for (const [name, field] of Object.entries(value)) {
      const check = Object.hasOwn(known, name) ? known[name] : undefined;
      if (!check) return `The property '${name}' does not exist on ${path}`;
      const fault = check(field, `${path}.${name}`);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };
}

const flag = isA('boolean');
const recipient = resource<Recipient>({ emailAddress: resource<EmailAddress>({ address: text, name: text }) });
const header: Check = (value, path) =>
  resource<InternetMessageHeader>({ name: text, value: text }, ['name', 'value'])(value, path) ??
  (/^x-/i.test(String((value as InternetMessageHeader).name)) ? undefined : `${path}.name does not begin with x-`);
const attachment = resource<FileAttachment>(
  {
    '@odata.type': oneOf('#microsoft.graph.fileattachment'),
    name: upTo(255),
    contentType: text,
    contentBytes: base64,
    contentId: text,
    isInline: flag,
    size: octets,
  },
  ['name', 'contentBytes'],
);
const properties = listOf(resource<SingleValueLegacyExtendedProperty>({ id: text, value: text }, ['id', 'value']));
const message = resource<Message>({
  '@odata.type': oneOf('#microsoft.graph.message'),
  subject: upTo(255),
  body: resource<ItemBody>({ contentType: oneOf('text', 'html'), content: text }),
  toRecipients: listOf(recipient),
  ccRecipients: listOf(recipient),
  bccRecipients: listOf(recipient),
  replyTo: listOf(recipient),
  from: recipient,
  sender: recipient,
  importance: oneOf('low', 'normal', 'high'),
  isReadReceiptRequested: flag,
  isDeliveryReceiptRequested: flag,
  isRead: flag,
  internetMessageId: text,
  internetMessageHeaders: listOf(header),
  singleValueExtendedProperties: properties,
  attachments: listOf(attachment, MAX_ATTACHMENTS),
});

const SHAPES = {
  message,
  attachment,
  move: resource<{ destinationId: string }>({ destinationId: text }, ['destinationId']),
  folder: resource<MailFolder>({ displayName: upTo(255), isHidden: flag }, ['displayName']),
  folderChange: resource<MailFolder>({ singleValueExtendedProperties: properties }, ['singleValueExtendedProperties']),
  sendMail: resource<{ message: Message; saveToSentItems: boolean }>({ message, saveToSentItems: flag }, ['message']),
  uploadSession: resource<{ AttachmentItem: AttachmentItem }>(
    {
      AttachmentItem: resource<AttachmentItem>(
        {
          attachmentType: oneOf('file', 'item'),
          name: upTo(255),
          size: octets,
          contentType: text,
          contentId: text,
          isInline: flag,
        },
        ['attachmentType', 'name', 'size'],
      ),
    },
    ['AttachmentItem'],
  ),
} as const satisfies Readonly<Record<string, Check>>;

/** @returns a sentence about the first thing that is wrong */
export function faultIn(shape: keyof typeof SHAPES, value: unknown): string | undefined {
  return SHAPES[shape](value, shape);
}
