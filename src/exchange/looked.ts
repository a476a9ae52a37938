/** What a look after an unclear outcome found, as statuses. */
import type { Delayed, Failed, Relayed } from '../mail/status.ts';
import type { FolderName } from './ews.ts';

/** Milliseconds until a message found in Outbox or Drafts is looked for again. */
const LOOK_AGAIN = 300_000;

/**
 * A question has no recipient or content that could be wrong, so what Exchange says of it tells nothing about the message,
 * and nothing that allows sending it again: it is asked again a number of times, then an operator decides.
 */
export function refusedLook({ cause, reason, text }: Failed): Delayed {
  return {
    outcome: 'delayed',
    code: '4.4.7',
    reach: 'message',
    capped: true,
    cause,
    text: 'It could not be established whether the message was delivered',
    reason: `Exchange refuses to be asked whether it has sent the message: ${reason ?? text}`,
  };
}

export function foundSent(): Relayed {
  return { outcome: 'relayed', code: '2.0.0', cause: 'found in Sent Items', text: 'Accepted by Exchange' };
}

export function heldBack(folders: readonly FolderName[]): Delayed {
  const where = folders.map((folder) => (folder === 'outbox' ? 'Outbox' : 'Drafts')).join(' and ');
  return {
    outcome: 'delayed',
    code: '4.4.7',
    reach: 'message',
    retryAfter: LOOK_AGAIN,
    cause: `found in ${where}`,
    text: 'The mail server has taken the message and not sent it yet',
    reason: `Exchange has the message in ${where} of the sending mailbox and has not sent it: it holds mail back above 30 messages a minute, or it refused the sender and left a draft. It is not sent again while it lies there; send or delete it there to decide`,
  };
}
