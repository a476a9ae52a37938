/**
 * The header of a message that is being received, against the rules: is it going round in circles, may the client use the
 * From and Sender it names, also those of a resent message, which mailbox sends, and who receives. Throws Refused. What comes out says to every reader what
 * was judged here.
 */
import { canonicalAddress, isSendable } from '../mail/address.ts';
import { mailboxesOf, parseHeader } from '../mail/addresses.ts';
import type { ParsedHeader } from '../mail/addresses.ts';
import { completeAddresses } from '../mail/complete.ts';
import type { Envelope } from '../mail/envelope.ts';
import { rewriteFrom, settleAuthors } from '../mail/from.ts';
import { headerField, joinHeader } from '../mail/header.ts';
import type { HeaderField } from '../mail/header.ts';
import { MAX_PASSES, passesOf } from '../mail/hop.ts';
import type { Reply } from '../mail/policy.ts';
import type { Sending } from '../mail/senders.ts';
import { asRefused, Refused } from './reply.ts';

export interface JudgeOptions {
  readonly envelope: Envelope;
  readonly maxHops: number;
  readonly maxRecipients: number;
  readonly completeDomain: string;
  readonly headerOnly: 'drop' | 'reject' | 'send';
  readonly nullReversePath: 'suppress' | 'reject';
  readonly judge: (header: ParsedHeader) => Sending | Reply;
  readonly mayReceive: (address: string) => Reply | undefined;
}

export interface Judged {
  readonly fields: readonly HeaderField[];
  readonly parsed: ParsedHeader;
  readonly envelope: Envelope;
  /** The mailbox that sends. */
  readonly mailbox: string;
  /** Name of the way out; absent: the first there is. */
  readonly route?: string;
  readonly repairs: readonly string[];
}

const READ = new Set(['from', 'sender', 'resent-from', 'resent-sender', 'to', 'cc', 'message-id']);

export async function judgeHeader(header: readonly HeaderField[], options: JudgeOptions): Promise<Judged> {
  refuseLoops(header, options.maxHops);
  if (options.envelope.reversePath === '' && options.nullReversePath === 'reject')
    throw new Refused('sender', 550, '5.7.1', 'Mail with the null reverse-path is refused by senders.nullReversePath');
  const repairs: string[] = [];
  const { fields: whole, changed } = completeAddresses(header, options.completeDomain);
  if (changed.length > 0) repairs.push(`completed ${[...new Set(changed)].join(', ')} with a domain`);
  const { fields: completed, isAdded } = withAuthor(whole, options.envelope.reversePath);
  if (isAdded) repairs.push('added From');
  const parsed = await parseHeader(completed.filter(({ name }) => READ.has(name)));
  const sending = options.judge(parsed);
  if ('code' in sending) throw asRefused(sending);
  const envelope = withHeaderOnly(options, parsed);
  const fields =
    sending.from === 'rewrite'
      ? rewriteFrom(completed, sending)
      : settleAuthors(completed.filter((field) => !isEmptyFrom(field)));
  if (sending.from === 'rewrite') repairs.push('rewrote From');
  else if (!joinHeader(fields).equals(joinHeader(completed))) repairs.push('wrote From or Sender anew');
  const { mailbox, route } = sending;
  return { fields, parsed, envelope, mailbox, ...(route === undefined ? {} : { route }), repairs };
}

function refuseLoops(fields: readonly HeaderField[], maxHops: number): void {
  const hops = fields.filter((field) => field.name === 'received').length;
  if (hops >= maxHops)
    throw new Refused('loop', 554, '5.4.6', `The message has passed ${hops} servers: it is going round in circles`);
  const passes = passesOf(fields);
  if (passes > MAX_PASSES)
    throw new Refused(
      'loop',
      554,
      '5.4.6',
      `The message has passed this kind of gateway ${passes} times: it is going round in circles`,
    );
}

/** Who sends is who says so in MAIL FROM where the header says nothing, so that the rules for senders see it too. */
function withAuthor(
  fields: readonly HeaderField[],
  reversePath: string,
): { readonly fields: readonly HeaderField[]; readonly isAdded: boolean } {
  const authors = fields.filter(({ name }) => name === 'from').flatMap(mailboxesOf);
  if (authors.length > 0 || !isSendable(reversePath)) return { fields, isAdded: false };
  return {
    fields: [...fields.filter(({ name }) => name !== 'from'), headerField('From', reversePath)],
    isAdded: true,
  };
}

/** A From that names nobody anyhow: one that can be used takes its place. */
function isEmptyFrom(field: HeaderField): boolean {
  return field.name === 'from' && mailboxesOf(field).every(({ address }) => address === '');
}

/** Addressees of To and Cc who are not in the envelope. */
function withHeaderOnly(options: JudgeOptions, { to, cc }: ParsedHeader): Envelope {
  const { envelope, headerOnly, maxRecipients, mayReceive } = options;
  if (headerOnly === 'drop') return envelope;
  const known = new Set(envelope.recipients.map(({ address }) => canonicalAddress(address)));
  const more: string[] = [];
  for (const { address } of [...to, ...cc]) {
    const canonical = canonicalAddress(address);
    if (!isSendable(address) || known.has(canonical)) continue;
    known.add(canonical);
    more.push(address);
  }
  const [first] = more;
  if (first === undefined) return envelope;
  if (headerOnly === 'reject')
    throw new Refused(
      'recipient',
      550,
      '5.7.1',
      `To or Cc names ${shown(more)}, not given in RCPT TO; recipients.headerOnly refuses that`,
      { detail: more.slice(0, 10).join(', ') },
    );
  if (envelope.recipients.length + more.length > maxRecipients)
    throw new Refused('recipients', 552, '5.5.3', `The message names more than ${maxRecipients} recipients`);
  for (const address of more) {
    const refused = asRefused(mayReceive(address));
    if (refused !== undefined) throw refused;
  }
  return { ...envelope, recipients: [...envelope.recipients, ...more.map((address) => ({ address }))] };
}

/** Some of them, as far as a reply can hold them. */
function shown(addresses: readonly string[]): string {
  const named = addresses.filter((address) => /^[!-~]{1,80}$/.test(address)).slice(0, 3);
  const more = addresses.length - named.length;
  if (named.length === 0) return more === 1 ? 'an addressee' : `${more} addressees`;
  return `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
