/**
 * A message as a client hands it to CreateItem: MIME and properties, read as Exchange reads them. Servers differ in what a
 * recipient property does to the recipients of the MIME (Exchange: replaces that one list; others: adds to it), so both
 * can be had. Expected faults are values with an EWS ResponseCode.
 */
import { isSendable } from '../mail/address.ts';
import { parseHeader } from '../mail/addresses.ts';
import type { Mailbox } from '../mail/addresses.ts';
import { HeaderPeeler, splitHeader } from '../mail/header.ts';
import type { HeaderField } from '../mail/header.ts';
import type { XmlElement } from './xml.ts';
import { child, textAt } from './xml.ts';

/** What a recipient property does to the recipients of the same kind in the MIME. */
export type RecipientProperties = 'replace' | 'add';

export interface ExtendedProperty {
  /** Attributes of ExtendedFieldURI: PropertyName, PropertyTag, PropertyType and so on. */
  readonly path: Readonly<Record<string, string>>;
  readonly values: readonly string[];
}

export interface Submission {
  /** As the client sent it. */
  readonly mime: Buffer;
  readonly header: readonly HeaderField[];
  /** Octets of the MIME's header block, the empty line included. */
  readonly headerSize: number;
  readonly messageId: string;
  readonly subject: string;
  /** '' if the message names nobody. */
  readonly from: string;
  /** '' if there is none. */
  readonly sender: string;
  readonly to: readonly string[];
  readonly cc: readonly string[];
  readonly bcc: readonly string[];
  /** To and Cc are those of the MIME. */
  readonly isAsWritten: boolean;
  readonly extended: readonly ExtendedProperty[];
  /** Text of the simple elements that came beside the MIME: Importance, IsReadReceiptRequested and so on. */
  readonly elements: Readonly<Record<string, string>>;
}

/** An EWS ResponseCode and its sentence. */
export class EwsFault {
  readonly code: string;
  readonly text: string;
  constructor(code: string, text: string) {
    this.code = code;
    this.text = text;
  }
}

const HEADER_LIMIT = 16 * 1024 * 1024;
const SIMPLE = ['ItemClass', 'Subject', 'Importance', 'IsReadReceiptRequested', 'IsDeliveryReceiptRequested', 'IsRead'];

export async function readSubmission(
  message: XmlElement,
  recipientProperties: RecipientProperties,
): Promise<Submission | EwsFault> {
  const content = child(message, 'MimeContent');
  const mime = content === undefined ? Buffer.alloc(0) : decode(content.text);
  if (mime === undefined)
    return new EwsFault('ErrorMimeContentInvalidBase64String', 'The MIME content is not valid base64.');
  if (content !== undefined && mime.length === 0)
    return new EwsFault('ErrorMimeContentInvalid', 'The MIME content is empty.');

  const peeler = new HeaderPeeler(HEADER_LIMIT);
  const block = (peeler.push(mime) ?? peeler.end()).header;
  const header = splitHeader(block);
  const parsed = await parseHeader(header);
  const list = (element: string, written: readonly Mailbox[]): readonly string[] => {
    const property = child(message, element);
    const inMime = written.map(({ address, name }) => (address === '' ? name : address));
    if (property === undefined) return unique(inMime);
    const named = mailboxesIn(property);
    return unique(recipientProperties === 'replace' ? named : [...inMime, ...named]);
  };
  const to = list('ToRecipients', parsed.to);
  const cc = list('CcRecipients', parsed.cc);
  const bcc = list('BccRecipients', parsed.bcc);
  const invalid = [...to, ...cc, ...bcc].find((address) => !isSendable(address));
  if (invalid !== undefined)
    return new EwsFault('ErrorInvalidRecipients', `At least one recipient isn't valid: ${invalid}`);
  const fromElement = child(message, 'From');
  const isAsWritten = child(message, 'ToRecipients') === undefined && child(message, 'CcRecipients') === undefined;
  return {
    mime,
    header,
    headerSize: block.length,
    messageId: textAt(message, 'InternetMessageId') || (parsed.messageId ?? ''),
    subject: textAt(message, 'Subject') || (parsed.subject ?? ''),
    from: (fromElement && mailboxesIn(fromElement)[0]) ?? parsed.from[0]?.address ?? '',
    sender: parsed.sender[0]?.address ?? '',
    to,
    cc,
    bcc,
    isAsWritten,
    extended: message.children.filter(({ name }) => name === 'ExtendedProperty').map(extendedProperty),
    elements: Object.fromEntries(
      SIMPLE.map((name) => [name, child(message, name)?.text] as const).filter(
        (entry): entry is [string, string] => entry[1] !== undefined,
      ),
    ),
  };
}

/** Whether two property paths name the same property. */
export function isSameProperty(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const key = (path: Readonly<Record<string, string>>): string => {
    const tag = path['PropertyTag'];
    return tag === undefined
      ? [path['DistinguishedPropertySetId'], path['PropertySetId'], path['PropertyName'], path['PropertyId']].join('/')
      : `tag ${Number(tag)}`;
  };
  return key(a).toLowerCase() === key(b).toLowerCase();
}

function extendedProperty(element: XmlElement): ExtendedProperty {
  const values = child(element, 'Values')?.children.map(({ text }) => text) ?? [textAt(element, 'Value')];
  return { path: child(element, 'ExtendedFieldURI')?.attributes ?? {}, values };
}

function mailboxesIn(element: XmlElement): string[] {
  return element.children.filter(({ name }) => name === 'Mailbox').map((one) => textAt(one, 'EmailAddress'));
}

function unique(addresses: readonly string[]): string[] {
  const seen = new Set<string>();
  return addresses.filter((address) => {
    const key = address.toLowerCase();
    return !seen.has(key) && seen.add(key);
  });
}

function decode(text: string): Buffer | undefined {
  const packed = text.replace(/[\r\n\t ]+/g, '');
  // A look at the alphabet by a regular expression would take a stack frame a character for long texts.
  const octets = Buffer.from(packed, 'base64');
  const expected = Math.ceil(octets.length / 3) * 4;
  return packed.length === expected && octets.toString('base64') === packed ? octets : undefined;
}
