/**
 * Shadow mode, for migrations: a named SMTP server delivers, while everything is followed up to the last step on the way
 * to Exchange, and the log says what would have been sent. That step is a look into the sending mailbox: with the token,
 * the permission and the address that sending would need. It changes nothing there.
 *
 * Promises of Transport, by the server that delivers; a rehearsal that fails is told, and never keeps a message back.
 */
import { canonicalAddress } from '../mail/address.ts';
import { mailboxesOf } from '../mail/addresses.ts';
import type { Report } from '../mail/event.ts';
import { splitHeader } from '../mail/header.ts';
import { applyEnvelope } from '../mail/recipients.ts';
import type { Verification } from '../mail/status.ts';
import { unreachable } from '../mail/status.ts';
import { readHeader } from '../mail/stored.ts';
import type { Outgoing, Transport } from '../mail/transport.ts';

export interface ShadowOptions {
  readonly delivers: Transport;
  /** The ways out that are rehearsed. */
  readonly rehearsed: readonly Transport[];
  readonly report: Report;
}

/** Milliseconds after which a rehearsal is given up. */
const PATIENCE = 60_000;

export function shadowTransport({ delivers, rehearsed, report }: ShadowOptions): Transport {
  return {
    name: 'shadow',
    async deliver(outgoing, signal) {
      const rehearsals =
        outgoing.item.attempts <= 1 ? rehearsed.map((way) => rehearse(way, outgoing, report, signal)) : [];
      const [status] = await Promise.all([delivers.deliver(outgoing, signal), ...rehearsals]);
      return status;
    },
    verify: (outgoing, signal) => delivers.verify(outgoing, signal),
    async close() {
      await Promise.all([delivers, ...rehearsed].map((way) => way.close()));
    },
  };
}

/** Never rejects. */
async function rehearse(way: Transport, outgoing: Outgoing, report: Report, signal: AbortSignal): Promise<void> {
  const { item } = outgoing;
  const { id, messageId, route, mailbox, size, envelope } = item;
  const enough = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
  try {
    const found = await way.verify(outgoing, enough);
    const fields = splitHeader(await readHeader(outgoing));
    const { blind } = applyEnvelope(
      fields,
      envelope.recipients.map(({ address }) => address),
    );
    const from = fields.filter(({ name }) => name === 'from').flatMap((field) => mailboxesOf(field));
    report({
      event: 'shadow.rehearsed',
      id,
      messageId,
      route,
      mailbox,
      transport: way.name,
      size,
      from: from.map(({ address }) => address),
      needsSendAs: from.some(({ address }) => canonicalAddress(address) !== canonicalAddress(mailbox)),
      recipients: envelope.recipients.length,
      blind: blind.length,
      ...resultOf(found),
    });
  } catch (error) {
    report({
      event: 'bug',
      where: `rehearsal by ${way.name}`,
      error: error instanceof Error ? error : new Error(String(error)),
      id,
    });
  }
}

function resultOf(found: Verification): {
  readonly reached: 'yes' | 'no' | 'unknown';
  readonly cause?: string;
  readonly reason?: string;
} {
  switch (found.outcome) {
    case 'relayed':
    case 'absent':
      return { reached: 'yes' };
    case 'unknowable':
      return { reached: 'unknown', reason: found.reason };
    case 'delayed':
      // It was found where mail waits to be sent: so it was reached.
      if (found.cause.startsWith('found in')) return { reached: 'yes' };
      return { reached: 'no', cause: found.cause, reason: found.reason ?? found.text };
    default:
      return unreachable(found);
  }
}
