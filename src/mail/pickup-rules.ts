/**
 * What becomes of a mail that was found in a mailbox: handed over to whom, refused, skipped or put aside. Decided from what
 * its server says of it, before its octets are fetched. Pure; fails only for a caller's mistake (see pattern.ts and
 * destination.ts).
 */
import { isSendable } from './address.ts';
import { mailboxesOf } from './addresses.ts';
import type { DestinationRule } from './destination.ts';
import { destinations } from './destination.ts';
import type { PickupRefusal } from './event.ts';
import { fieldValue } from './header.ts';
import type { HeaderField } from './header.ts';
import { MAX_PASSES, passesOf } from './hop.ts';
import { matcher } from './pattern.ts';
import type { ReceivedMail } from './received.ts';

/**
 * What a mail can be beside an ordinary one. signed, encrypted: S/MIME, which stays as it is; meeting: requests, answers,
 * cancellations; report: delivery reports, receipts; automatic: answers of a program (RFC 3834); noSender: nobody in From;
 * other: what is no mail, such as a post or a note.
 */
export const KINDS = ['signed', 'encrypted', 'meeting', 'report', 'automatic', 'noSender', 'other'] as const;
export type Kind = (typeof KINDS)[number];
export const ACTIONS = ['deliver', 'skip', 'quarantine'] as const;
export type Action = (typeof ACTIONS)[number];

export interface PickupRules {
  readonly mailbox: string;
  /** Patterns. */
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  /** Only senders that Exchange itself knows to be inside the organisation. */
  readonly insideOnly: boolean;
  /** Octets. */
  readonly maxSize: number;
  readonly attachments: AttachmentRules;
  readonly kinds: Readonly<Record<Kind, Action>>;
  /** At least one. */
  readonly destinations: readonly DestinationRule[];
}

export interface AttachmentRules {
  /** At least one that is not shown inside the text. */
  readonly required: boolean;
  /** `.pdf`, `image/tiff`, `image/*`, `*`. */
  readonly allow: readonly string[];
  readonly maxCount: number;
  /** Octets of each. */
  readonly maxSize: number;
}

export type Verdict =
  | { readonly verdict: 'deliver'; readonly recipients: readonly string[] }
  | { readonly verdict: 'skip'; readonly cause: Kind }
  | { readonly verdict: 'quarantine'; readonly cause: Kind | 'loop' | 'size'; readonly reason: string }
  | { readonly verdict: 'refuse'; readonly cause: PickupRefusal; readonly reason: string };

/** Recipients that one mail may result in. */
const MAX_RECIPIENTS = 100;

export function pickupJudge(rules: PickupRules): (mail: ReceivedMail) => Verdict {
  const isAllowed = matcher(rules.allow);
  const isDenied = matcher(rules.deny);
  const resulting = destinations(rules.destinations);
  const judgeAttachments = attachmentJudge(rules.attachments);

  const judgeSender = ({ from = '', header }: ReceivedMail): Verdict | undefined => {
    // First: the address of such a mail is whatever its sender has written, and nobody is to be told.
    if (rules.insideOnly && !isFromInside(header))
      return refused('outside', `Exchange does not say that ${from || 'its sender'} is inside the organisation`);
    if (isDenied(from)) return refused('sender', `${from} is in from.deny`);
    return isAllowed(from) || (from === '' && rules.allow.includes('*'))
      ? undefined
      : refused('sender', `${from || 'a mail without a sender'} is not in from.allow`);
  };

  return (mail) => {
    const { header, size, subject = '' } = mail;
    if (passesOf(header) >= MAX_PASSES)
      return { verdict: 'quarantine', cause: 'loop', reason: `It has passed gateways like this ${MAX_PASSES} times` };
    for (const kind of kindsOf(mail)) {
      const action = rules.kinds[kind];
      if (action === 'skip') return { verdict: 'skip', cause: kind };
      if (action === 'quarantine') return { verdict: 'quarantine', cause: kind, reason: `kinds.${kind} says so` };
    }
    const wrong = judgeSender(mail) ?? judgeAttachments(mail);
    if (wrong !== undefined) return wrong;
    if (size > rules.maxSize) return refused('size', `It has ${size} octets, more than maxSize allows`);
    const recipients = resulting({ subject, recipients: addresseesIn(header), mailbox: rules.mailbox });
    if (recipients.length === 0) return refused('recipient', 'None of recipients gives an address for it');
    return recipients.length > MAX_RECIPIENTS
      ? refused('recipient', `It results in ${recipients.length} recipients, more than ${MAX_RECIPIENTS}`)
      : { verdict: 'deliver', recipients };
  };
}

/** In the order in which they are looked at. */
export function kindsOf({ itemClass, from, header }: ReceivedMail): readonly Kind[] {
  const name = itemClass.toLowerCase();
  const is = (prefix: string): boolean => name === prefix || name.startsWith(`${prefix}.`);
  const kinds: Kind[] = [];
  if (is('report')) kinds.push('report');
  else if (is('ipm.schedule') || is('ipm.appointment')) kinds.push('meeting');
  else if (is('ipm.note.smime.multipartsigned')) kinds.push('signed');
  else if (is('ipm.note.smime')) kinds.push('encrypted');
  else if (name !== '' && !is('ipm.note')) kinds.push('other');
  if (is('ipm.note.rules') || isAutomaticAnswer(header)) kinds.push('automatic');
  if (from === undefined || from === '') kinds.push('noSender');
  return kinds;
}

/** RFC 3834 section 5; the others are what programs wrote before it. */
export function isAutomaticAnswer(header: readonly HeaderField[]): boolean {
  return header.some((field) => {
    switch (field.name) {
      case 'auto-submitted':
        return /^auto-(?:replied|notified)\b/i.test(fieldValue(field));
      case 'precedence':
        return /^auto_reply\b/i.test(fieldValue(field));
      case 'x-autoreply':
      case 'x-autorespond':
        return !/^no\b/i.test(fieldValue(field));
      default:
        return false;
    }
  });
}

/** Exchange takes this field away from what comes from outside, and says it of every mail itself. */
function isFromInside(header: readonly HeaderField[]): boolean {
  const said = header.filter(({ name }) => name === 'x-ms-exchange-organization-authas');
  return said.length > 0 && said.every((field) => fieldValue(field).toLowerCase() === 'internal');
}

function addresseesIn(header: readonly HeaderField[]): readonly string[] {
  return header
    .filter(({ name }) => name === 'to' || name === 'cc')
    .flatMap((field) => mailboxesOf(field).map(({ address }) => address))
    .filter(isSendable);
}

function attachmentJudge({
  required,
  allow,
  maxCount,
  maxSize,
}: AttachmentRules): (mail: ReceivedMail) => Verdict | undefined {
  const patterns = allow.map((one) => one.toLowerCase());
  const isAllowed = ({ name = '', type = '' }: ReceivedMail['attachments'][number]): boolean =>
    patterns.some((pattern) =>
      pattern === '*'
        ? true
        : pattern.startsWith('.')
          ? name.toLowerCase().endsWith(pattern)
          : pattern.endsWith('/*')
            ? type.startsWith(pattern.slice(0, -1))
            : type === pattern,
    );
  return (mail) => {
    // What holds the text of signed or encrypted mail is no attachment of its sender's.
    if (kindsOf(mail).some((kind) => kind === 'signed' || kind === 'encrypted')) return undefined;
    // Pictures inside the text come with every signature; anything else that calls itself inline is an attachment, and so
    // is a TIFF, which no program shows inside the text: a page of a fax machine.
    const own = mail.attachments.filter(({ isInline, type = '' }) => !isInline || !/^image\/(?!tif)/.test(type));
    if (required && own.length === 0) return refused('attachment', 'It has no attachment');
    if (own.length > maxCount) return refused('attachment', `It has ${own.length} attachments, more than ${maxCount}`);
    for (const one of own) {
      const what = `The attachment ${one.name ?? one.type ?? 'without a name'}`;
      if (!isAllowed(one)) return refused('attachment', `${what} is of a kind that attachments.allow does not have`);
      if (one.size > maxSize) return refused('attachment', `${what} has ${one.size} octets, more than ${maxSize}`);
    }
    return undefined;
  };
}

function refused(cause: PickupRefusal, reason: string): Verdict {
  return { verdict: 'refuse', cause, reason };
}
