/** What cannot be asked of Exchange at all, as statuses: text that no XML can carry, and an answer that cannot be read. */
import type { Delayed, Failed } from '../mail/status.ts';
import { MISCONFIGURED } from '../mail/status.ts';

export function unusableMailbox(): Delayed {
  return {
    outcome: 'delayed',
    code: MISCONFIGURED,
    reach: 'mailbox',
    cause: 'unusable mailbox',
    text: 'The mail gateway cannot pass messages on at the moment; its operator has been told',
    reason: 'The name of the sending mailbox holds control characters; correct it under senders',
  };
}

export function unusableRecipient(): Failed {
  return {
    outcome: 'failed',
    code: '5.1.3',
    cause: 'unusable recipient',
    text: 'A recipient address is not valid',
    reason: 'A recipient address holds control characters, which no request to Exchange can carry',
  };
}

export function unusableMessageId(): Failed {
  return {
    outcome: 'failed',
    code: '5.6.0',
    cause: 'unusable Message-ID',
    text: 'The message cannot be looked for',
    reason: 'The Message-ID holds control characters, so Exchange cannot be asked for it',
  };
}

/** Of an id, a name or a state, which come from Exchange or from the configuration. */
export function unusableText(): Failed {
  return {
    outcome: 'failed',
    code: '5.5.0',
    cause: 'unusable text',
    text: 'The mail server cannot be asked for the message',
    reason: 'An id or a folder name holds control characters, which no request to Exchange can carry',
  };
}

/** @param why in a few words, for the operator */
export function unreadableMime(why: string): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'message',
    capped: true,
    cause: 'unreadable MIME',
    text: 'The mail server gave an unexpected answer',
    reason: `Exchange was asked for a message, but ${why}`,
  };
}

export function unreadableAnswer(): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'message',
    capped: true,
    cause: 'unreadable answer',
    text: 'The mail server gave an unexpected answer',
    reason: 'Exchange reported success, but the answer to a search could not be read',
  };
}
