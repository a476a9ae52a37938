/**
 * A message in another mailbox's name: From becomes that mailbox, who wrote the message becomes Reply-To. Top-level
 * header only; fields that have no part in it keep their octets. Pure; never fails.
 */
import { canonicalAddress, isSendable, mailboxesOf } from './addresses.ts';
import type { Mailbox } from './addresses.ts';
import { renderMailbox } from './display.ts';
import { headerField } from './header.ts';
import type { HeaderField } from './header.ts';

/**
 * - One From (RFC 5322 section 3.6.2) in place of the first: `mailbox`, under `name`, else under the first old name.
 * - Reply-To names the old From addresses, each once, unless there is a Reply-To that names somebody. None is added for
 *   the mailbox alone, or for what cannot be replied to.
 * - Sender goes: it would name somebody who has nothing to do with the mailbox.
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
    if (field.name === 'sender' || (field.name === 'reply-to' && !hasReplyTo)) continue;
    if (field.name !== 'from') rewritten.push(field);
    else if (!isWritten) {
      rewritten.push(...written);
      isWritten = true;
    }
  }
  return isWritten ? rewritten : [...rewritten, ...written];
}

/** Those that can be replied to, each once. */
function distinct(mailboxes: readonly Mailbox[]): Mailbox[] {
  const seen = new Set<string>();
  return mailboxes.filter(({ address }) => {
    const canonical = canonicalAddress(address);
    return isSendable(address) && !seen.has(canonical) && seen.add(canonical);
  });
}
