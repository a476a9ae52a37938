/**
 * What a legacy system is told about a message beside its octets: the same facts in a side-file, in a field of a form and
 * in a program's environment. A contract (docs/hand-over.md): nothing in it changes from one attempt to the next, so a
 * second hand-over of the same message is octet for octet the first. Never fails.
 */
import { fieldValue } from '../mail/header.ts';
import type { HeaderField } from '../mail/header.ts';
import type { QueueItem } from '../mail/item.ts';
import { decodeWords } from '../mail/mime.ts';

/** Characters of a subject that are kept: that of some mail is a whole text. */
const MAX_SUBJECT = 1_000;

export interface Facts {
  /** Of the hand-over: the same at each attempt, and never used for anything else. */
  readonly id: string;
  /** With its angle brackets. */
  readonly messageId: string;
  /** Reverse-path; '' is the null one. */
  readonly from: string;
  /** Recipients as the rules of the pickup made them. */
  readonly to: readonly string[];
  /** Decoded, on one line; '' if there is none. */
  readonly subject: string;
  /** Of the field Date, ISO 8601 in UTC; absent if there is none that can be read. */
  readonly date?: string;
  /** When the gateway took it, ISO 8601 in UTC. */
  readonly receivedAt: string;
  /** Mailbox it was picked up from. */
  readonly mailbox: string;
  /** Name of the pickup in the configuration. */
  readonly pickup: string;
  /** Octets of the message. */
  readonly size: number;
}

/** @param fields the message's header */
export async function factsOf(item: QueueItem, fields: readonly HeaderField[]): Promise<Facts> {
  const valueOf = (name: string): string => {
    const field = fields.find((one) => one.name === name);
    return field === undefined ? '' : fieldValue(field);
  };
  const date = isoDate(valueOf('date'));
  return {
    id: item.id,
    messageId: item.messageId,
    from: item.envelope.reversePath,
    to: item.envelope.recipients.map(({ address }) => address),
    subject: await readable(valueOf('subject')),
    ...(date === undefined ? {} : { date }),
    receivedAt: new Date(item.arrivedAt).toISOString(),
    mailbox: item.mailbox,
    pickup: item.origin.name,
    size: item.size,
  };
}

async function readable(subject: string): Promise<string> {
  const text = subject === '' ? '' : await decodeWords(subject);
  const line = text
    .toWellFormed()
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim();
  return [...line].slice(0, MAX_SUBJECT).join('');
}

function isoDate(value: string): string | undefined {
  const at = new Date(value.replace(/\([^)]*\)/g, ' '));
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
}
