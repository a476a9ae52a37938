/**
 * From and Sender of a message: made unmistakable, or rewritten so that the message goes out in another mailbox's name.
 * Top-level header only; fields that have no part in it keep their octets. Pure; never fails.
 */
import { canonicalAddress, isSendable } from './address.ts';
import { mailboxesOf } from './addresses.ts';
import type { Mailbox } from './addresses.ts';
import { renderMailbox } from './display.ts';
import { fieldValue, headerField } from './header.ts';
import type { HeaderField } from './header.ts';

/**
 * - One From (RFC 5322 section 3.6.2) in place of the first: `mailbox`, under `name`, else under the first old name.
 * - Reply-To names the old From addresses, each once, unless there is a Reply-To that names somebody. None is added for
 *   the mailbox alone, or for what cannot be replied to.
 * - Sender goes, and Resent-From and Resent-Sender: they would name somebody who has nothing to do with the mailbox.
 *
 * @param sending `name` '' means no display name
 */
export function rewriteFrom(
  fields: readonly HeaderField[],
  { mailbox, name }: { readonly mailbox: string; readonly name?: string },
): HeaderField[] {
  const authors = fields.filter((field) => field.name === 'from').flatMap(mailboxesOf);
  const from = headerField(
    'From',
    renderMailbox({ name: name ?? authors.find((author) => author.name !== '')?.name ?? '', address: mailbox }),
  );
  const hasReplyTo = fields.some((field) => field.name === 'reply-to' && distinct(mailboxesOf(field)).length > 0);
  const replyTo = hasReplyTo ? [] : distinct(authors);
  const isAlone = replyTo.every(({ address }) => canonicalAddress(address) === canonicalAddress(mailbox));
  const written = isAlone ? [from] : [from, headerField('Reply-To', replyTo.map(renderMailbox).join(', '))];

  const rewritten: HeaderField[] = [];
  let isWritten = false;
  for (const field of fields) {
    if (field.name === 'sender' || isResent(field) || (field.name === 'reply-to' && !hasReplyTo)) continue;
    if (field.name !== 'from') rewritten.push(field);
    else if (!isWritten) {
      rewritten.push(...written);
      isWritten = true;
    }
  }
  return isWritten ? rewritten : [...rewritten, ...written];
}

/**
 * From and Sender such that every reader finds the addresses found here, those that the policy has judged. A field that
 * is plain keeps its octets. Written anew are: comments, routes, text where none belongs, an @ in an unquoted name
 * (`ceo@contoso.com <fax@contoso.com>`), several addresses, several fields of a kind (From becomes one field, of Sender
 * the first address stays). What cannot be read as an address goes, and a field that names nobody. Resent-From and
 * Resent-Sender likewise, each by itself: a message may have been resent several times (RFC 5322 section 3.6.6).
 */
export function settleAuthors(fields: readonly HeaderField[]): HeaderField[] {
  return settled(
    settled(fields, 'From', (mailboxes) => mailboxes),
    'Sender',
    (mailboxes) => mailboxes.slice(0, 1),
  ).flatMap((field) => (isResent(field) ? settledAlone(field) : [field]));
}

const RESENT: Readonly<Record<string, string>> = { 'resent-from': 'Resent-From', 'resent-sender': 'Resent-Sender' };

function isResent({ name }: HeaderField): boolean {
  return Object.hasOwn(RESENT, name);
}

function settledAlone(field: HeaderField): HeaderField[] {
  const named = mailboxesOf(field);
  const mailboxes = named.filter(({ address }) => address !== '');
  const [mailbox] = mailboxes;
  if (mailbox === undefined) return [];
  if (named.length === 1 && isPlain(field, mailbox)) return [field];
  return [headerField(RESENT[field.name] ?? field.name, mailboxes.map(renderMailbox).join(', '))];
}

function settled(
  fields: readonly HeaderField[],
  title: 'From' | 'Sender',
  choose: (mailboxes: readonly Mailbox[]) => readonly Mailbox[],
): HeaderField[] {
  const name = title.toLowerCase();
  const mine = fields.filter((field) => field.name === name);
  const [first] = mine;
  const named = mine.flatMap(mailboxesOf);
  const mailboxes = named.filter(({ address }) => address !== '');
  const [mailbox] = mailboxes;
  const isSettled =
    first === undefined ||
    (mailbox !== undefined && named.length === 1 && mine.length === 1 && isPlain(first, mailbox));
  if (isSettled) return [...fields];
  const anew = mailbox === undefined ? [] : [headerField(title, choose(mailboxes).map(renderMailbox).join(', '))];
  return fields.flatMap((field) => (field === first ? anew : field.name === name ? [] : [field]));
}

/** Whether it is `address`, `<address>`, `Some words <address>` or `"Quoted" <address>`, and nothing else. */
function isPlain(field: HeaderField, { address }: Mailbox): boolean {
  const raw = field.raw.toString('latin1');
  if (raw.slice(0, field.name.length + 1).toLowerCase() !== `${field.name}:` || /\r(?!\n)/.test(raw)) return false;
  const value = fieldValue(field);
  if (value === address) return true;
  if (!value.endsWith(`<${address}>`)) return false;
  const name = value.slice(0, -address.length - 2).trim();
  return /^(?:[^"<>(),:;@\\[\]\p{Cc}]*|"(?:[^"\\\p{Cc}]|\\\P{Cc})*")$/u.test(name);
}

/** Those that can be replied to, each once. */
function distinct(mailboxes: readonly Mailbox[]): Mailbox[] {
  const seen = new Set<string>();
  return mailboxes.filter(({ address }) => {
    const canonical = canonicalAddress(address);
    return isSendable(address) && !seen.has(canonical) && seen.add(canonical);
  });
}
