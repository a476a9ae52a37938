/**
 * What the sandbox's Graph takes as JSON: the documented fields of each resource and what they hold, held to Microsoft's
 * own types when it is compiled. Anything else is an error, told as Graph tells it. Pure.
 */
import type {
  AttachmentItem,
  EmailAddress,
  FileAttachment,
  InternetMessageHeader,
  ItemBody,
  Message,
  Recipient,
  SingleValueLegacyExtendedProperty,
} from '@microsoft/microsoft-graph-types';

type Check = (value: unknown, path: string) => string | undefined;
type Fields<Resource> = Partial<Record<keyof Resource | '@odata.type', Check>>;

const isA =
  (type: 'string' | 'boolean' | 'number'): Check =>
  (value, path) =>
    typeof value === type ? undefined : `${path} is no ${type}`;
const oneOf =
  (...words: readonly string[]): Check =>
  (value, path) =>
    words.includes(String(value).toLowerCase()) ? undefined : `${path} cannot be ${JSON.stringify(value)}`;
const listOf =
  (one: Check): Check =>
  (value, path) =>
    Array.isArray(value)
      ? value.map((item, index) => one(item, `${path}[${index}]`)).find((fault) => fault !== undefined)
      : `${path} is no list`;

function resource<Resource>(fields: Fields<Resource>): Check {
  const known = fields as Readonly<Record<string, Check>>;
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return `${path} is no object`;
    for (const [name, field] of Object.entries(value)) {
      const check = Object.hasOwn(known, name) ? known[name] : undefined;
      if (!check) return `The property '${name}' does not exist on ${path}`;
      const fault = check(field, `${path}.${name}`);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };
}

const text = isA('string');
const flag = isA('boolean');
const recipient = resource<Recipient>({ emailAddress: resource<EmailAddress>({ address: text, name: text }) });
const header: Check = (value, path) =>
  resource<InternetMessageHeader>({ name: text, value: text })(value, path) ??
  (/^x-/i.test(String((value as InternetMessageHeader).name)) ? undefined : `${path}.name does not begin with x-`);
const attachment = resource<FileAttachment>({
  '@odata.type': oneOf('#microsoft.graph.fileattachment'),
  name: text,
  contentType: text,
  contentBytes: text,
  contentId: text,
  isInline: flag,
  size: isA('number'),
});
const message = resource<Message>({
  '@odata.type': oneOf('#microsoft.graph.message'),
  subject: text,
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
  singleValueExtendedProperties: listOf(resource<SingleValueLegacyExtendedProperty>({ id: text, value: text })),
  attachments: listOf(attachment),
});

const SHAPES = {
  message,
  attachment,
  sendMail: resource<{ message: Message; saveToSentItems: boolean }>({ message, saveToSentItems: flag }),
  uploadSession: resource<{ AttachmentItem: AttachmentItem }>({
    AttachmentItem: resource<AttachmentItem>({
      attachmentType: oneOf('file', 'item'),
      name: text,
      size: isA('number'),
      contentType: text,
      contentId: text,
      isInline: flag,
    }),
  }),
} as const satisfies Readonly<Record<string, Check>>;

/** @returns a sentence about the first thing that is wrong */
export function faultIn(shape: keyof typeof SHAPES, value: unknown): string | undefined {
  return SHAPES[shape](value, shape);
}
