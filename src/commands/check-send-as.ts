/**
 * Addresses that mail is sent from without being those of the mailbox: Exchange refuses them unless the mailbox has Send
 * As. That shows only with a mail: neither EWS nor Graph tells an application of it. Pure.
 */
import type { Config } from '../config/config.ts';
import type { Walk } from './check-walk.ts';
import type { Finding } from './finding.ts';

export interface Kept {
  /** Of From: an address, or a pattern. */
  readonly from: string;
  readonly mailbox: string;
  readonly route: string;
  /** A mail can be sent from it. */
  readonly isAddress: boolean;
}

export function* checkSendAs({ config, sendTo }: Walk): Generator<Finding> {
  const all = keptIn(config);
  for (const { from, mailbox, route, isAddress } of all) {
    const tried = sendTo !== undefined && isAddress;
    yield {
      what: 'send as',
      mark: 'skip',
      route,
      mailbox,
      says: tried
        ? `${from} is sent as it is: a mail is sent with it below`
        : `${from} is sent as it is, for which the mailbox needs Send As. Whether it has that cannot be known without a mail${isAddress ? ': --send-to ADDRESS sends one with it' : ''}`,
      step: 'send-as',
    };
  }
}

/** What is not sent from the mailbox's own address. A From that is rewritten needs no right. */
export function keptIn({ senders, routes }: Config): readonly Kept[] {
  const first = routes[0]?.name ?? '';
  const ruled = senders.rules
    .filter(({ header }) => header === 'keep')
    .map(({ from = 'any From', mailbox, route = first }) => ({ from, mailbox, route }));
  const rest = senders.header === 'keep' ? [{ from: 'any other From', mailbox: senders.mailbox, route: first }] : [];
  return [...ruled, ...rest]
    .filter(({ from, mailbox }) => from.toLowerCase() !== mailbox.toLowerCase())
    .map((one) => ({ ...one, mailbox: one.mailbox.toLowerCase(), isAddress: /^[^*\s]+@[^*\s]+$/.test(one.from) }));
}
