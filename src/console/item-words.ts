/** States of items, lines of their history and orders, as people say them. Pure; never fails. */
import type { HistoryEntry, QueueItem } from '../mail/item.ts';
import { markup } from './markup.ts';
import type { Markup } from './markup.ts';
import type { Act, Outcome } from './operations.ts';

export const STATE_WORDS = {
  queued: 'waits for its next attempt',
  sending: 'an attempt is under way',
  parked: 'waits for an operator',
  relayed: 'delivered',
  bounced: 'given up, its sender was told',
  dropped: 'ended without being delivered',
} as const satisfies Record<QueueItem['state'], string>;

export const HAPPENED = {
  accepted: 'Accepted',
  attempted: 'An attempt began',
  verified: 'Looked whether an earlier attempt had gone through',
  relayed: 'Delivered',
  delayed: 'The attempt failed for now',
  unknown: 'The attempt got no clear answer: it may or may not have gone through',
  parked: 'Parked, to wait for an operator',
  bounced: 'Given up, and a notice to its sender was made',
  told: 'The notice was delivered: the body is gone',
  warned: 'Its sender was told that it is late',
  released: 'Put back before anything was sent',
  held: 'Held by an operator',
  retried: 'To be tried at once, as an operator wants it',
  moved: 'Moved by an operator',
  dropped: 'Ended, its body is gone',
  step: 'A step of sending began or ended',
  split: 'Some recipients are an item of their own now',
  recovered: 'Found in the middle of an attempt when the gateway started',
} as const satisfies Record<HistoryEntry['what'], string>;

/** good, bad, or neither: the mark beside a line of a story. */
export function toneOf(what: HistoryEntry['what']): 'good' | 'warning' | 'critical' | 'none' {
  switch (what) {
    case 'relayed':
    case 'told':
      return 'good';
    case 'delayed':
    case 'unknown':
    case 'warned':
    case 'recovered':
      return 'warning';
    case 'parked':
    case 'bounced':
    case 'dropped':
      return 'critical';
    default:
      return 'none';
  }
}

export function stateBadge({ state, doubtful, untold }: QueueItem): Markup {
  const more = doubtful ? ' in doubt' : untold === true ? ' being told' : '';
  return markup`<span class="badge badge-${state}">${state}${more}</span>`;
}

/** Of a page of acts: the button, and what will happen. */
export const ACT_WORDS: Readonly<
  Record<Act, { readonly button: string; readonly question: string; readonly means: string }>
> = {
  retry: {
    button: 'Retry',
    question: 'Try again now',
    means:
      'Each is tried at once, whatever its waiting time; one that is parked goes back into the queue. What may have gone through already is looked for before it is sent again.',
  },
  hold: {
    button: 'Hold',
    question: 'Hold',
    means:
      'Each is parked: nothing is sent, nobody is told, and it stays until somebody releases or drops it, at most for spool.parkedRetention.',
  },
  release: {
    button: 'Release',
    question: 'Release',
    means: 'Each goes back into the queue and is due now. Only what is parked can be released.',
  },
  move: {
    button: 'Move',
    question: 'Move to another way out',
    means:
      'Each is sent as another mailbox, or on another route, from now on. One that may have been sent already is left where it is.',
  },
  drop: {
    button: 'Drop',
    question: 'Drop',
    means:
      'Each ends without being delivered, and its content is gone for good. Nobody is told: neither its sender nor its recipients.',
  },
};

/** Why an item was left as it is, and what can be done. */
export const NOT_DONE = {
  absent: 'there is no such message any more',
  sending: 'an attempt is under way; ask again when it is over',
  ended: 'it has ended already',
  doubtful: 'it may have been sent by its present mailbox, which can only be found out there',
  notHeld: 'it is not parked; retry makes it due now',
} as const satisfies Record<Exclude<Outcome, 'done'>, string>;

/** Which of them the order can change, as far as their state tells. */
export function canDo(act: Act, { state, untold }: QueueItem): boolean {
  if (untold === true || (state !== 'queued' && state !== 'parked')) return false;
  return act === 'release' ? state === 'parked' : true;
}
