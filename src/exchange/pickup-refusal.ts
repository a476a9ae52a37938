/**
 * What the sender of a refused mail is told: a notice (RFC 3464) with the sentence of the configuration, durable in one
 * transaction with the mail's receipt, so that no crash tells twice. Nobody is told who is no person, or who was told a
 * short while ago: whatever answers such a notice all the same gets no second one. SpoolError passes through.
 */
import { automatic, canReceive, unanswered } from '../mail/automatic.ts';
import { renderDsn } from '../mail/dsn.ts';
import type { ReceivedMail } from '../mail/received.ts';
import type { Inject } from '../mail/source.ts';
import type { Receipt } from '../mail/spool.ts';

export interface RefusalOptions {
  readonly hostname: string;
  /** The mailbox that was written to. */
  readonly mailbox: string;
  /** The way out and the mailbox that tell. */
  readonly route: string;
  readonly from: string;
  /** What is told. */
  readonly sentence: string;
  /** Whether anything may be sent to an address. */
  readonly maySendTo: (address: string) => boolean;
  readonly inject: Inject;
  readonly now: () => number;
}

/** Milliseconds in which one sender is told once. */
const AGAIN = 3_600_000;
const MOST_REMEMBERED = 10_000;

/** @returns whether the sender was told; then the receipt is there */
export function refusalNotices(
  options: RefusalOptions,
): (mail: ReceivedMail, reason: string, receipt: Receipt) => Promise<boolean> {
  const { hostname, mailbox, route, from, sentence, maySendTo, inject, now } = options;
  /** By sender: when told, epoch milliseconds; the earliest first. */
  const told = new Map<string, number>();
  return async (mail, _reason, receipt) => {
    const { from: to = '', header, subject, messageId } = mail;
    const key = to.toLowerCase();
    const at = now();
    const isRecent = at - (told.get(key) ?? -Infinity) < AGAIN;
    if (isRecent || !canReceive(to, hostname) || !maySendTo(to) || key === mailbox.toLowerCase()) return false;
    if (automatic(header) !== undefined || unanswered(header) !== undefined) return false;
    // Before anything is awaited: several of one sender may be refused at the same time.
    const before = told.get(key);
    remember(told, key, at);
    const incoming = inject.begin();
    try {
      const dsn = renderDsn({
        action: 'failed',
        hostname,
        id: incoming.id,
        now: at,
        mailbox: from,
        to,
        recipients: [{ address: mailbox }],
        code: '5.7.1',
        text: sentence,
        cause: 'refused by rule',
        original: {
          messageId: messageId ?? `<${incoming.id}@${hostname}>`,
          header,
          arrivedAt: mail.receivedAt,
          ...(subject === undefined ? {} : { subject }),
        },
        returned: 'headers',
        handOver: {},
      });
      await incoming.write(dsn.header);
      await incoming.write(dsn.preamble);
      await incoming.write(dsn.epilogue);
      const envelope = { reversePath: '', recipients: [{ address: to, notify: ['never'] as const }] };
      const origin = { source: 'gateway', name: 'pickup', peer: '' } as const;
      const { messageId: own, header: block } = dsn;
      const isNew = await incoming.commit(
        { envelope, origin, mailbox: from, route, messageId: own, headerSize: block.length, from: [from], repairs: [] },
        receipt,
      );
      if (!isNew) forget(told, key, before);
      // Somebody told of it before, in a life that ended before the mail was filed.
      return true;
    } catch (error) {
      forget(told, key, before);
      await incoming.abort();
      throw error;
    }
  };
}

function forget(told: Map<string, number>, key: string, before: number | undefined): void {
  if (before === undefined) told.delete(key);
  else told.set(key, before);
}

function remember(told: Map<string, number>, key: string, at: number): void {
  told.delete(key);
  told.set(key, at);
  const [oldest] = told.keys();
  if (told.size > MOST_REMEMBERED && oldest !== undefined) told.delete(oldest);
}
