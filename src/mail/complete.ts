/**
 * Addresses without a domain, as fax servers and old scripts write them (`From: fax`, `To: FaxMaster`), get one, so that
 * they can be judged, answered and matched with the envelope. Pure; never fails; a field without such addresses keeps its
 * octets.
 */
import { mailboxesOf } from './addresses.ts';
import type { Mailbox } from './addresses.ts';
import { titleOf } from './ascii.ts';
import { renderMailbox } from './display.ts';
import { fieldValue, headerField } from './header.ts';
import type { HeaderField } from './header.ts';

const FIELDS = new Set(['from', 'sender', 'resent-from', 'resent-sender', 'reply-to', 'to', 'cc']);
/** A dot-atom (RFC 5322 section 3.2.3). */
const LOCAL_PART = /^(?=.{1,64}$)[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+(?:\.[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+)*$/;

export interface Completed {
  readonly fields: readonly HeaderField[];
  /** Names of the fields that were changed, as they are written. */
  readonly changed: readonly string[];
}

/** @param domain of the addresses without one */
export function completeAddresses(header: readonly HeaderField[], domain: string): Completed {
  const changed: string[] = [];
  const fields = header.map((field) => {
    if (!FIELDS.has(field.name)) return field;
    const mailboxes = mailboxesOf(field);
    const comment = commentOf(field);
    const completed = mailboxes.map((mailbox) => complete(mailbox, domain, comment));
    if (completed.every((mailbox, index) => mailbox === mailboxes[index])) return field;
    // Beside text that cannot be read, more would be lost than won.
    if (completed.some(({ address }) => address === '')) return field;
    changed.push(titleOf(field));
    return headerField(titleOf(field), completed.map(renderMailbox).join(', '));
  });
  return { fields, changed };
}

/** Cron's `root (Cron Daemon)`: the display name of old (RFC 5322 section A.6.3). */
function commentOf(field: HeaderField): string {
  const [, comment = ''] = /^[^\s()<>,;:@"]+[ \t]+\(([^()\\]*)\)$/.exec(fieldValue(field)) ?? [];
  return comment.includes('=?') ? '' : comment;
}

/** @param comment beside an address that stands alone */
function complete(mailbox: Mailbox, domain: string, comment: string): Mailbox {
  const { name, address } = mailbox;
  if (address === '' && LOCAL_PART.test(name)) return { name: comment, address: `${name}@${domain}` };
  if (address !== '' && !address.includes('@') && LOCAL_PART.test(address))
    return { name, address: `${address}@${domain}` };
  return mailbox;
}
