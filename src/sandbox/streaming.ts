/**
 * Streaming notifications of EWS (Subscribe, GetStreamingEvents, Unsubscribe): one answer of many envelopes, the first at
 * once, then what happens in the folders, a StatusEvent where nothing does, and Closed at the end of the agreed time. What
 * happens while nobody listens is kept for the next stream, 1,000 events at most; a second stream on a subscription takes it
 * over. In memory.
 */
import { randomBytes } from 'node:crypto';
import { joined } from './pieces.ts';
import type { OperationContext } from './reach.ts';
import { folderOf } from './reach.ts';
import { errorMessage, responseEnvelope, successMessage } from './soap.ts';
import type { FolderView, Item, Watcher } from './store.ts';
import { EwsFault } from './submission.ts';
import type { XmlElement } from './xml.ts';
import { child, isTrue, textAt, xmlText } from './xml.ts';

export interface StreamingOptions {
  /** Milliseconds between two StatusEvents, default 45 s. */
  readonly heartbeat?: number;
  /** Milliseconds that ConnectionTimeout takes for a minute, default 60,000. */
  readonly minute?: number;
}

/** Writes envelopes until the time is over or the signal aborts. */
export type Stream = (write: (envelope: Buffer) => void, signal: AbortSignal) => Promise<void>;

const MOST_KEPT = 1000;
const EVENTS: Readonly<Record<Parameters<Watcher>[0], string>> = {
  new: 'NewMailEvent',
  created: 'CreatedEvent',
  modified: 'ModifiedEvent',
  deleted: 'DeletedEvent',
};

interface Subscription {
  readonly id: string;
  /** Impersonated when it was made. */
  readonly owner: string;
  readonly events: string[];
  readonly forget: () => void;
  /** Of the stream that is open. */
  wake?: (() => void) | undefined;
  end?: ((code: string, text: string) => void) | undefined;
}

export class Subscriptions {
  readonly #heartbeat: number;
  readonly #minute: number;
  readonly #byId = new Map<string, Subscription>();

  constructor({ heartbeat = 45_000, minute = 60_000 }: StreamingOptions = {}) {
    this.#heartbeat = heartbeat;
    this.#minute = minute;
  }

  /** How many streams are open. */
  get open(): number {
    return [...this.#byId.values()].filter(({ wake }) => wake !== undefined).length;
  }

  /** @returns the response message. @throws EwsFault for a folder that is not there */
  subscribe(request: XmlElement, context: OperationContext): string {
    const wish = child(request, 'StreamingSubscriptionRequest');
    if (!wish) throw new EwsFault('ErrorInvalidSubscriptionRequest', 'The sandbox has streaming subscriptions only.');
    const named = child(wish, 'FolderIds')?.children ?? [];
    const isAll = isTrue(wish.attributes['SubscribeToAllFolders'] ?? '');
    if (isAll === named.length > 0)
      throw new EwsFault('ErrorInvalidSubscriptionRequest', 'Either folders are named, or all are subscribed to.');
    const folders = new Set(named.map((id) => folderOf(id, context).folder.id));
    const mailbox = context.mailboxes.find(named[0] ? folderOf(named[0], context).mailbox.address : context.actingAs);
    const types = child(wish, 'EventTypes')?.children.map(({ text }) => text.trim()) ?? [];
    const events: string[] = [];
    const subscription: Subscription = {
      id: randomBytes(36).toString('base64'),
      owner: context.actingAs,
      events,
      forget:
        mailbox?.watch((what, folder, item) => {
          if (!types.includes(EVENTS[what]) || !(isAll || folders.has(folder.id))) return;
          events.push(eventXml(EVENTS[what], folder, item, context.mailboxes.now()));
          if (events.length > MOST_KEPT) events.shift();
          subscription.wake?.();
        }) ?? (() => undefined),
    };
    this.#byId.set(subscription.id, subscription);
    return successMessage('Subscribe', `<m:SubscriptionId>${subscription.id}</m:SubscriptionId>`);
  }

  unsubscribe(request: XmlElement, { actingAs }: OperationContext): string {
    const found = this.#byId.get(textAt(request, 'SubscriptionId'));
    if (!found || found.owner !== actingAs)
      throw new EwsFault('ErrorSubscriptionNotFound', 'The specified subscription was not found.');
    found.end?.('ErrorSubscriptionUnsubscribed', 'The subscription has been removed.');
    this.#forget(found);
    return successMessage('Unsubscribe', '');
  }

  /** As a server does that restarts: every stream ends without a word, and no subscription is known any more. */
  lose(): void {
    for (const one of this.#byId.values()) {
      one.end?.('', '');
      this.#forget(one);
    }
  }

  stream(request: XmlElement, { actingAs }: OperationContext): Stream {
    const ids = child(request, 'SubscriptionIds')?.children.map(({ text }) => text.trim()) ?? [];
    const found = ids.map((id) => this.#byId.get(id)).filter((one) => one?.owner === actingAs);
    const known = found.filter((one) => one !== undefined);
    if (known.length < ids.length) {
      const unknown = ids.filter((id) => !known.some((one) => one.id === id));
      return async (write) => write(notFound(unknown));
    }
    const minutes = Number(textAt(request, 'ConnectionTimeout'));
    return async (write, signal) => await this.#run(known, minutes * this.#minute, write, signal);
  }

  async #run(
    subscriptions: readonly Subscription[],
    duration: number,
    write: (envelope: Buffer) => void,
    signal: AbortSignal,
  ): Promise<void> {
    await new Promise<void>((resolve) => {
      const tell = (content: string): void => write(streamEnvelope(successMessage(OPERATION, content)));
      const flush = (): void => {
        const due = subscriptions.filter(({ events }) => events.length > 0);
        if (due.length > 0) tell(notificationsXml(due.map((one) => [one.id, one.events.splice(0).join('')])));
      };
      let isWaking = false;
      const wake = (): void => {
        if (isWaking) return;
        isWaking = true;
        // What one delivery makes happen goes in one notification.
        setImmediate(() => {
          isWaking = false;
          if (subscriptions.some((one) => one.wake === wake)) flush();
        });
      };
      const finish = (last?: Buffer): void => {
        clearInterval(beat);
        clearTimeout(end);
        signal.removeEventListener('abort', gone);
        for (const one of subscriptions) if (one.wake === wake) [one.wake, one.end] = [undefined, undefined];
        if (last) write(last);
        resolve();
      };
      const gone = (): void => finish();
      const beat = setInterval(
        () => tell(notificationsXml(subscriptions.map(({ id }) => [id, '<t:StatusEvent/>']))),
        this.#heartbeat,
      );
      const end = setTimeout(() => finish(streamEnvelope(successMessage(OPERATION, status('Closed')))), duration);
      signal.addEventListener('abort', gone);
      for (const one of subscriptions) {
        one.end?.('ErrorNewEventStreamConnectionOpened', 'Another connection was opened for the subscription.');
        one.wake = wake;
        one.end = (code, text) => finish(code === '' ? undefined : ended(code, text));
      }
      tell(status('OK'));
      flush();
      if (signal.aborted) finish();
    });
  }

  #forget(subscription: Subscription): void {
    subscription.forget();
    this.#byId.delete(subscription.id);
  }
}

const OPERATION = 'GetStreamingEvents';

function streamEnvelope(message: string): Buffer {
  return joined(responseEnvelope(OPERATION, [message]));
}

function status(word: 'OK' | 'Closed'): string {
  return `<m:ConnectionStatus>${word}</m:ConnectionStatus>`;
}

function ended(code: string, text: string): Buffer {
  return streamEnvelope(errorMessage(OPERATION, code, text, {}, status('Closed')));
}

function notFound(ids: readonly string[]): Buffer {
  const list = ids.map((id) => `<t:SubscriptionId>${xmlText(id)}</t:SubscriptionId>`).join('');
  return streamEnvelope(
    errorMessage(
      OPERATION,
      'ErrorSubscriptionNotFound',
      'The specified subscription was not found.',
      {},
      `<m:ErrorSubscriptionIds>${list}</m:ErrorSubscriptionIds>${status('Closed')}`,
    ),
  );
}

/** As Exchange's documentation shows it: Notification is of the messages namespace, which is not what the schema says. */
function notificationsXml(rows: readonly (readonly [id: string, events: string])[]): string {
  const list = rows.map(
    ([id, events]) => `<m:Notification><t:SubscriptionId>${xmlText(id)}</t:SubscriptionId>${events}</m:Notification>`,
  );
  return `<m:Notifications>${list.join('')}</m:Notifications>`;
}

/** @param at epoch milliseconds */
function eventXml(event: string, folder: FolderView, item: Item, at: number): string {
  return (
    `<t:${event}><t:TimeStamp>${new Date(at).toISOString().replace(/\.\d+Z$/, 'Z')}</t:TimeStamp>` +
    `<t:ItemId Id="${xmlText(item.id)}" ChangeKey="${xmlText(item.changeKey)}"/>` +
    `<t:ParentFolderId Id="${xmlText(folder.id)}" ChangeKey="AQAAAA=="/></t:${event}>`
  );
}
