/**
 * The ear at a folder over EWS: Subscribe and GetStreamingEvents, whose answer is one HTTP body with one envelope after
 * another for half an hour. Own reader, because the library's loses all but the first envelope of a chunk. Promises of
 * PickupMailbox.listen: it ends by itself, bounded in time and memory; what ends it early is Delayed of reach message,
 * except for what concerns the mailbox or the login.
 *
 * Source: learn.microsoft.com/exchange/client-developer/exchange-web-services/how-to-stream-notifications-about-mailbox-events-by-using-ews-in-exchange
 */
import type { Delayed, TraceIds } from '../mail/status.ts';
import { harmless, withoutAnswer } from './call.ts';
import type { AnswerMessage, Opened } from './call.ts';
import { HttpFailure } from './http.ts';
import { STREAM_MINUTES } from './mailbox-calls.ts';
import type { Affinity, MailboxCalls } from './mailbox-calls.ts';
import type { Got } from './mailbox.ts';
import { all } from './soap.ts';
import { unreadableAnswer } from './unusable.ts';

/** Octets of one envelope: notifications of one server's turn. */
const ENVELOPE_LIMIT = 256 * 1024;
/** Milliseconds after which the stream is ended here, should the server forget to. */
const AT_MOST = (STREAM_MINUTES + 1) * 60_000;
/** Milliseconds for the server to take note that the ear is gone. */
const PARTING = 5_000;
const END = /<\/(?:[\w.-]+:)?Envelope[ \t\r\n]*>/g;
const NEWS = new Set(['NewMailEvent', 'CreatedEvent', 'MovedEvent']);

export interface Listening {
  readonly calls: MailboxCalls;
  readonly mailbox: string;
  readonly folder: string;
  readonly news: () => void;
  /** Milliseconds without any octet after which the stream counts as broken: more than two heartbeats of 45 s. */
  readonly silence: number;
  readonly signal: AbortSignal;
}

export async function listen(listening: Listening): Promise<Got<object>> {
  const { calls, mailbox, folder, signal } = listening;
  const subscribed = await calls.subscribe(mailbox, folder, signal);
  if (!subscribed.ok) return { ok: false, status: harmless(subscribed.status) };
  const id = subscribed.messages.flatMap(({ element }) => all(element, 'SubscriptionId'))[0]?.text.trim() ?? '';
  if (id === '') return { ok: false, status: unreadableAnswer() };
  const cookie = /\bX-BackEndOverrideCookie=[^;,\s]+/i.exec(subscribed.headers['set-cookie'] ?? '')?.[0];
  const affinity = cookie === undefined ? {} : { cookie };
  const heard = await hear(listening, id, affinity);
  // A mailbox may have twenty of them, and each would be kept for half an hour; what this one answers matters to nobody.
  const hurry = AbortSignal.any([signal, AbortSignal.timeout(PARTING)]);
  if (!signal.aborted) await calls.unsubscribe(mailbox, id, affinity, hurry);
  return heard;
}

async function hear(listening: Listening, subscription: string, affinity: Affinity): Promise<Got<object>> {
  const { calls, mailbox, silence, signal } = listening;
  const longest = AbortSignal.timeout(AT_MOST);
  const opened = await calls.openStream(
    mailbox,
    subscription,
    { ...affinity, silence },
    AbortSignal.any([signal, longest]),
  );
  if (!opened.ok) return { ok: false, status: harmless(opened.status) };
  const { response, judge, ids } = opened;
  if (response.status !== 200) {
    const answer = await judge(response);
    return { ok: false, status: answer.ok ? unreadableAnswer() : harmless(answer.status) };
  }
  try {
    return await follow(opened, listening.news);
  } catch (error) {
    if (!(error instanceof HttpFailure)) throw error;
    return longest.aborted && !signal.aborted
      ? { ok: true }
      : { ok: false, status: harmless(withoutAnswer(error, false, ids)) };
  } finally {
    response.discard();
  }
}

async function follow({ response, judge, ids }: Extract<Opened, { ok: true }>, news: () => void): Promise<Got<object>> {
  const envelopes = new EnvelopeStream();
  let isOpen = false;
  for await (const chunk of response.body) {
    for (const envelope of envelopes.push(chunk)) {
      const answer = await judge({ ...response, text: async () => envelope });
      if (!answer.ok) return { ok: false, status: harmless(answer.status) };
      const { isClosed, isNews } = whatIn(answer.messages);
      // One that was never open knows no such subscription, or has passed it on to another stream.
      if (isClosed) return isOpen ? { ok: true } : { ok: false, status: ended('was closed before it was open', ids) };
      if (isNews || !isOpen) news();
      isOpen = true;
    }
    if (!envelopes.isSound) return { ok: false, status: unreadableAnswer() };
  }
  return { ok: false, status: ended('ended without a word', ids) };
}

function whatIn(messages: readonly AnswerMessage[]): { readonly isClosed: boolean; readonly isNews: boolean } {
  const within = (name: string) => messages.flatMap(({ element }) => all(element, name));
  return {
    isClosed: within('ConnectionStatus').some(({ text }) => text.trim() === 'Closed'),
    isNews: within('Notification').some(({ children }) => children.some(({ name }) => NEWS.has(name))),
  };
}

function ended(how: string, ids: TraceIds): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'message',
    cause: 'stream ended',
    text: 'The mail server ended a stream of notifications',
    reason: `The stream of notifications ${how}; it is opened anew, and polled meanwhile`,
    ids,
  };
}

/** Cuts a body into its envelopes, wherever its chunks end. An envelope may begin with an XML declaration. */
export class EnvelopeStream {
  /** Latin-1, so that no character is torn at the border of two chunks. */
  #text = '';
  #searched = 0;

  /** Those that this chunk completes. */
  push(chunk: Uint8Array): string[] {
    this.#text += Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
    const complete: string[] = [];
    let from = 0;
    // A tag that was begun before this chunk begins at the last bracket.
    END.lastIndex = Math.max(0, this.#text.lastIndexOf('<', this.#searched));
    for (let found = END.exec(this.#text); found; found = END.exec(this.#text)) {
      const end = found.index + found[0].length;
      complete.push(Buffer.from(this.#text.slice(from, end), 'latin1').toString('utf8').trimStart());
      from = end;
    }
    this.#text = this.#text.slice(from);
    this.#searched = this.#text.length;
    return complete;
  }

  /** False: something without an end, which is no envelope. */
  get isSound(): boolean {
    return this.#text.length <= ENVELOPE_LIMIT;
  }
}
