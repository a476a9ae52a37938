/**
 * One attempt at one item: looks first when an earlier attempt is in doubt, then delivers. Answers with what happened
 * and whether the item is (still) in doubt; it changes nothing in the spool. Never throws: what a transport throws is a
 * bug, reported, and the item counts as delayed and in doubt; trouble with the store delays it.
 */
import type { Report } from '../mail/event.ts';
import type { HistoryEntry, QueueItem } from '../mail/item.ts';
import { SpoolError } from '../mail/spool.ts';
import type { Delayed, DeliveryStatus, Verification } from '../mail/status.ts';
import { unreachable } from '../mail/status.ts';
import type { Outgoing, Transport } from '../mail/transport.ts';
import { asError, bugStatus } from './bug.ts';
import { triesIn } from './tries.ts';

/** Unanswered tries of what is known not to have been sent: none can tell anybody twice, but they must end. */
const CERTAIN_TRIES = 8;

export interface AttemptResult {
  readonly status: DeliveryStatus;
  /** Something may have been sent: verify before the next try. */
  readonly doubtful: boolean;
  /** Trying again could tell somebody twice: an operator decides. */
  readonly undecidable?: string;
  /** The attempt ended for a reason of ours: it says nothing about the route. */
  readonly internal?: true;
}

export interface AttemptParts {
  readonly transport: Transport;
  readonly report: Report;
  readonly history: (id: string) => Promise<readonly HistoryEntry[]>;
}

export async function attempt(outgoing: Outgoing, parts: AttemptParts, signal: AbortSignal): Promise<AttemptResult> {
  const { item } = outgoing;
  const { transport, report } = parts;
  let delivering = false;
  let isUnknowable = false;
  try {
    if (item.doubtful) {
      const looked = await lookFirst(outgoing, parts, signal);
      if (typeof looked !== 'string') return looked;
      isUnknowable = looked === 'unknowable';
    }
    delivering = true;
    const status = await transport.deliver(outgoing, signal);
    // Where nothing could be known, the earlier doubt outlives every answer but success.
    return { status, doubtful: status.outcome === 'unknown' || (isUnknowable && status.outcome !== 'relayed') };
  } catch (cause) {
    if (cause instanceof SpoolError)
      return { status: storeStatus(cause), doubtful: item.doubtful || delivering, internal: true };
    report({ event: 'bug', where: `transport ${transport.name}`, error: asError(cause), id: item.id });
    return {
      doubtful: true,
      internal: true,
      status: bugStatus(
        `The transport "${transport.name}" failed in an unforeseen way; the log's "bug" line has the details`,
      ),
    };
  }
}

function storeStatus(error: SpoolError): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'message',
    cause: `spool ${error.trouble}`,
    text: 'The mail gateway cannot read the stored message at the moment',
    reason: error.message,
  };
}

/** A word: go on and send it, because it was not sent, or because nobody can know and there is one more try. */
async function lookFirst(
  outgoing: Outgoing,
  parts: AttemptParts,
  signal: AbortSignal,
): Promise<AttemptResult | 'absent' | 'unknowable'> {
  const { item } = outgoing;
  const started = performance.now();
  const found = await parts.transport.verify(outgoing, signal);
  reportVerified(item, parts, found, (performance.now() - started) / 1000);
  switch (found.outcome) {
    case 'relayed':
      return { status: found, doubtful: false };
    case 'delayed':
      return { status: found, doubtful: true };
    case 'absent': {
      const { unanswered } = triesIn(await parts.history(item.id));
      if (found.certain !== undefined)
        return unanswered < CERTAIN_TRIES ? 'absent' : undecidable(item, `${found.certain}, after ${unanswered} tries`);
      return unanswered < 2
        ? 'absent'
        : undecidable(item, 'its outcome was unclear twice, and it was found in no folder');
    }
    case 'unknowable': {
      // Never lost comes before never doubled: one more try, and no third.
      const { unclear } = triesIn(await parts.history(item.id));
      return unclear < 2 ? 'unknowable' : undecidable(item, found.reason);
    }
    default:
      return unreachable(found);
  }
}

function undecidable(item: QueueItem, why: string): AttemptResult {
  const status: DeliveryStatus = {
    outcome: 'unknown',
    code: '4.4.7',
    cause: item.lastStatus?.cause ?? 'unknown',
    text: 'It could not be established whether the message was delivered',
    reason: `Sending again could deliver the message twice: ${why}. Look for Message-ID ${item.messageId} in the recipients' mailboxes before you retry or drop it`,
  };
  return { status, doubtful: true, undecidable: why };
}

function reportVerified(
  item: QueueItem,
  { transport, report }: AttemptParts,
  found: Verification,
  seconds: number,
): void {
  report({
    event: 'delivery.verified',
    id: item.id,
    messageId: item.messageId,
    route: item.route,
    mailbox: item.mailbox,
    transport: transport.name,
    attempt: item.attempts,
    seconds,
    size: item.size,
    found: found.outcome,
    ...detailOf(found),
  });
}

function detailOf(found: Verification): { readonly detail: string } | undefined {
  const detail = found.outcome === 'absent' ? found.certain : found.reason;
  return detail === undefined ? undefined : { detail };
}
