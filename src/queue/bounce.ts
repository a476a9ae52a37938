/**
 * Who is told that a message failed, is late, or was handed over, and by what (RFC 3461, 3464, 3834). A notice goes to the
 * reverse-path, or to a postmaster where that cannot receive mail, from the mailbox that should have sent the message, and
 * is made durable in the transaction that ends the item it tells of: no crash tells anybody twice. About mail that was
 * picked up, its pickup says who is told, and by which way. Nobody is told about a notice, mail of programs or lists, mail
 * of our own, or where the sender forbade it. That nobody is told is a value, with why; so is trouble with the store. Only
 * a bug throws.
 */
import { parseHeader } from '../mail/addresses.ts';
import { automatic, canReceive, unanswered } from '../mail/automatic.ts';
import { renderDsn } from '../mail/dsn.ts';
import type { Dsn, NoticeWords } from '../mail/dsn.ts';
import type { NotifyOn, Recipient } from '../mail/envelope.ts';
import { headerBlock, splitHeader } from '../mail/header.ts';
import type { HeaderField } from '../mail/header.ts';
import type { LaneKey, QueueItem } from '../mail/item.ts';
import { matcher } from '../mail/pattern.ts';
import type { Draft, Spool, Told } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';
import type { DeliveryStatus, EnhancedCode, Relayed } from '../mail/status.ts';

export interface BounceOptions {
  readonly spool: Spool;
  /** Domain name of this gateway. */
  readonly hostname: string;
  readonly send: boolean;
  /** Is told where the sender cannot receive mail. */
  readonly postmaster?: string;
  /** What comes back of a message whose sender did not say (RET). */
  readonly body: 'headers' | 'full';
  /** Patterns of addresses that may be sent to; those denied win. Default: all. */
  readonly recipients?: { readonly allow: readonly string[]; readonly deny: readonly string[] };
  /** By the route by which they hand over: what senders are told, whatever `send` says. */
  readonly pickups?: ReadonlyMap<string, PickupNotices>;
  readonly now?: () => number;
}

/** What the sender of a picked-up mail is told, and the way out and the mailbox by which he is told it. */
export interface PickupNotices extends LaneKey, NoticeWords {
  /** That it was handed over. */
  readonly success: boolean;
  /** That it was refused or given up, or is late. */
  readonly failure: boolean;
}

export type Notice =
  | {
      readonly told: true;
      readonly to: string;
      /** The notice's own item, to be delivered like any other. */
      readonly item: QueueItem;
      readonly recipients: readonly string[];
    }
  | { readonly told: false; readonly why: string };

export interface Bouncer {
  /** The item is given up: it has ended as bounced if anybody was told. */
  bounce(item: QueueItem, status: DeliveryStatus, isExpired: boolean): Promise<Notice>;
  /** The item is late, and goes on. @param giveUpAt epoch milliseconds; Infinity: never */
  warn(item: QueueItem, status: DeliveryStatus, giveUpAt: number): Promise<Notice>;
  /**
   * The item went through: it has ended as relayed if anybody was told, and is still to be finished if not.
   * @param isFinished it has ended already: a crash before the notice is stored then costs the notice
   */
  relayed(item: QueueItem, status: Relayed, isFinished: boolean): Promise<Notice>;
}

/** Octets up to which a message comes back whole: a message that was too large would only fail again. */
const RETURNED_WHOLE = 10 * 1024 * 1024;
const TOO_LARGE: ReadonlySet<string> = new Set(['5.2.3', '5.3.4']);
/** Delivery time expired (RFC 3463 section 3.5). */
const EXPIRED = '5.4.7' satisfies EnhancedCode;

export function createBouncer(options: BounceOptions): Bouncer {
  const { allow, deny } = options.recipients ?? { allow: ['*'], deny: [] };
  const rules = { isAllowed: matcher(allow), isDenied: matcher(deny) };
  const now = options.now ?? Date.now;

  const tell = async (item: QueueItem, what: Told['what'], report: Report): Promise<Notice> => {
    const early = addressee(item, what, options, rules);
    if ('why' in early) return { told: false, ...early };
    try {
      const header = splitHeader(await headerBlock(options.spool.open(item.message), item.headerSize));
      const why = automatic(header) ?? (what === 'relayed' ? unanswered(header) : undefined);
      if (why !== undefined) return { told: false, why };
      return await send(options, item, header, { ...early, ...report, what, now: now() });
    } catch (error) {
      if (!(error instanceof SpoolError)) throw error;
      return { told: false, why: `the notice to its sender could not be stored: ${error.message}` };
    }
  };

  return {
    bounce: (item, status, isExpired) =>
      tell(item, 'bounced', {
        status,
        code: isExpired || !status.code.startsWith('5') ? EXPIRED : status.code,
        text: isExpired ? `It could not be delivered in time. The last trouble was: ${status.text}` : status.text,
      }),
    warn: (item, status, giveUpAt) =>
      tell(item, 'warned', {
        status,
        code: status.code,
        text: status.text,
        ...(Number.isFinite(giveUpAt) ? { giveUpAt } : {}),
      }),
    relayed: (item, status, isFinished) =>
      tell(item, 'relayed', { status, code: status.code, text: status.text, isFinished }),
  };
}

interface Report {
  readonly status: DeliveryStatus;
  readonly code: EnhancedCode;
  readonly text: string;
  readonly giveUpAt?: number;
  readonly isFinished?: boolean;
}

interface Addressee {
  readonly to: string;
  readonly recipients: readonly Recipient[];
}

/** Whom the envelope lets us tell. */
function addressee(
  { route, envelope, origin }: QueueItem,
  what: Told['what'],
  { send, postmaster, hostname, pickups }: BounceOptions,
  { isAllowed, isDenied }: Record<'isAllowed' | 'isDenied', (address: string) => boolean>,
): Addressee | { readonly why: string } {
  const pickup = pickups?.get(route);
  const isSuccess = what === 'relayed';
  if (pickup !== undefined && !(isSuccess ? pickup.success : pickup.failure))
    return { why: `senders of mail for ${route} are not told` };
  if (pickup === undefined && (isSuccess || !send)) return { why: 'senders are not told (bounces.send)' };
  if (envelope.reversePath === '') return { why: 'it has no sender to tell (null reverse-path)' };
  if (origin.source === 'gateway') return { why: 'it is a message of the gateway itself' };
  const recipients = envelope.recipients.filter(({ notify }) => wants(notify, ASKED[what]));
  if (recipients.length === 0) return { why: 'its sender does not want to be told (NOTIFY)' };
  if (canReceive(envelope.reversePath, hostname)) {
    const to = envelope.reversePath;
    return isDenied(to) || !isAllowed(to)
      ? { why: 'nothing may be sent to its sender (recipients.allow, recipients.deny)' }
      : { to, recipients };
  }
  if (isSuccess) return { why: 'its sender cannot receive mail' };
  if (postmaster === undefined) return { why: 'its sender cannot receive mail, and there is no bounces.postmaster' };
  return { to: postmaster, recipients };
}

const ASKED = { bounced: 'failure', warned: 'delay', relayed: 'success' } as const;
const ACTION = { bounced: 'failed', warned: 'delayed', relayed: 'relayed' } as const;

/** RFC 3461 section 4.1: without NOTIFY, failures are told, and delays may be. A success is where a pickup wants it. */
function wants(notify: readonly NotifyOn[] | undefined, on: NotifyOn): boolean {
  return notify === undefined || (!notify.includes('never') && notify.includes(on));
}

async function send(
  options: BounceOptions,
  item: QueueItem,
  header: readonly HeaderField[],
  facts: Addressee & Report & { readonly what: Told['what']; readonly now: number },
): Promise<Notice> {
  const { spool, hostname } = options;
  const { to, recipients, status, code, text, what, now, giveUpAt } = facts;
  const { envelope } = item;
  const pickup = options.pickups?.get(item.route);
  const by: LaneKey = pickup ?? item;
  const isWhole =
    what === 'bounced' &&
    (envelope.ret ?? options.body) === 'full' &&
    item.size <= RETURNED_WHOLE &&
    !TOO_LARGE.has(code);
  const { subject } = await parseHeader(header.filter(({ name }) => name === 'subject'));
  const draft = spool.begin();
  try {
    const dsn = renderDsn({
      action: ACTION[what],
      hostname,
      id: draft.id,
      now,
      mailbox: by.mailbox,
      to,
      recipients,
      code,
      text,
      cause: status.cause,
      original: {
        messageId: item.messageId,
        header,
        arrivedAt: item.arrivedAt,
        ...(subject === undefined ? {} : { subject }),
        ...(envelope.envelopeId === undefined ? {} : { envelopeId: envelope.envelopeId }),
      },
      returned: isWhole ? 'message' : 'headers',
      ...(giveUpAt === undefined ? {} : { giveUpAt }),
      ...(pickup === undefined ? {} : { handOver: pickup }),
    });
    await write(draft, dsn, isWhole ? spool.open(item.message) : []);
    const told: Told = { id: item.id, what, status, detail: `told ${to} by ${draft.id}` };
    const entries = [entryOf(by, dsn, to)];
    const items = await (facts.isFinished === true ? draft.commit(entries) : draft.commitTelling(entries, told));
    const [notice] = items ?? [];
    if (notice === undefined) return { told: false, why: 'it was taken away while its sender was being told' };
    return { told: true, to, item: notice, recipients: recipients.map(({ address }) => address) };
  } catch (error) {
    await draft.abort();
    throw error;
  }
}

async function write(
  draft: Draft,
  { header, preamble, epilogue }: Dsn,
  message: AsyncIterable<Uint8Array> | readonly Uint8Array[],
): Promise<void> {
  await draft.write(header);
  await draft.write(preamble);
  for await (const chunk of message) await draft.write(Buffer.from(chunk));
  await draft.write(epilogue);
}

function entryOf({ route, mailbox }: LaneKey, dsn: Dsn, to: string) {
  return {
    route,
    mailbox,
    envelope: { reversePath: '', recipients: [{ address: to, notify: ['never'] }] },
    origin: { source: 'gateway', name: 'bounces', peer: '' },
    messageId: dsn.messageId,
    headerSize: dsn.header.length,
  } as const;
}
