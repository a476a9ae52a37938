/** A spool as the contract's tests have it, and mail to put into it. */
import type { ArrivingItem, QueueItem } from '../../src/mail/item.ts';
import type { MovableSpool, Spool } from '../../src/mail/spool.ts';
import type { Delayed, Failed, Relayed, Unknown } from '../../src/mail/status.ts';

export interface SpoolUnderTest {
  /** An empty spool, in which small and important mail goes first. */
  open(): Promise<MovableSpool>;
  /** The same one again, after close() or a crash. */
  reopen(): Promise<MovableSpool>;
  /** Lets the present one go as a crash would: nothing is finished or told. */
  crash(): Promise<void>;
  remove(): Promise<void>;
  /** Sets the clock, epoch milliseconds. */
  setTime(now: number): void;
}

export const T0 = 1_800_000_000_000;
export const relayed: Relayed = {
  outcome: 'relayed',
  code: '2.0.0',
  cause: 'NoError',
  text: 'delivered',
  ids: { requestId: 'r' },
};
export const delayed: Delayed = {
  outcome: 'delayed',
  code: '4.4.1',
  cause: 'ECONNREFUSED',
  text: 'later',
  reach: 'message',
};
export const unknown: Unknown = { outcome: 'unknown', code: '4.4.2', cause: 'ECONNRESET', text: 'no answer' };
export const failed: Failed = {
  outcome: 'failed',
  code: '5.1.1',
  cause: 'ErrorInvalidRecipients',
  text: 'no such user',
};

export const entry = (mailbox = 'a@contoso.com', more: Partial<ArrivingItem> = {}): ArrivingItem => ({
  route: 'exchange',
  mailbox,
  envelope: { reversePath: '', recipients: [{ address: 'jürgen@contoso.com', notify: ['failure'] }], ret: 'headers' },
  origin: { source: 'smtp', name: 'lan', peer: '::1', helo: 'x', user: 'u' },
  messageId: '<m@contoso.com>',
  headerSize: 10,
  ...more,
});

export async function put(
  spool: Spool,
  body: Uint8Array | string = 'body',
  items: readonly ArrivingItem[] = [entry()],
): Promise<readonly QueueItem[]> {
  const draft = spool.begin();
  await draft.write(Buffer.from(body));
  return draft.commit(items);
}

export async function get(spool: Spool, message: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of spool.open(message)) chunks.push(Buffer.from(chunk)); // good until the next one only
  return Buffer.concat(chunks);
}
