/** A pickup under simulated time: a mailbox and a spool in memory, whose every answer a test can take over. */
import { vi } from 'vitest';
import type { Changes, Filing, Got, PickupMailbox } from '../../src/exchange/mailbox.ts';
import { pickupSource } from '../../src/exchange/pickup.ts';
import type { PickupOptions } from '../../src/exchange/pickup.ts';
import type { Event, EventName } from '../../src/mail/event.ts';
import type { ReceivedMail } from '../../src/mail/received.ts';
import type { Inject } from '../../src/mail/source.ts';
import type { Room } from '../../src/mail/spool.ts';
import type { Delayed, Failed } from '../../src/mail/status.ts';
import { MemorySpool } from '../queue/memory-spool.ts';

export const delayed = (reach: Delayed['reach'], more: Partial<Delayed> = {}): Delayed => ({
  outcome: 'delayed',
  code: '4.4.1',
  cause: 'ECONNREFUSED',
  text: 'later',
  reach,
  ...more,
});
export const failed: Failed = { outcome: 'failed', code: '5.6.0', cause: 'ErrorItemCorrupt', text: 'damaged' };
export const trouble = (status: Delayed | Failed) => ({ ok: false as const, status });

export interface Item {
  mail: ReceivedMail;
  body: string;
  folder: string;
}

type Changed = { readonly id: string; readonly receivedAt?: number } | { readonly removed: string };
type Answer<T> = T | undefined | Promise<T | undefined>;

export class FakeMailbox implements PickupMailbox {
  transport: 'ews' | 'graph' = 'ews';
  readonly items = new Map<string, Item>();
  /** What has come to the folder and gone from it; a cursor is a place in it. */
  readonly changed: Changed[] = [];
  page = 7;
  /** Calls that were made: `fetch a`. */
  readonly calls: string[] = [];
  /** Answers instead of the mailbox's own; undefined: its own. */
  on: {
    folders?: () => Answer<Awaited<ReturnType<PickupMailbox['folders']>>>;
    changes?: (cursor: string | undefined) => Answer<Awaited<ReturnType<PickupMailbox['changes']>>>;
    describe?: (ids: readonly string[]) => Answer<Awaited<ReturnType<PickupMailbox['describe']>>>;
    unreadable?: (id: string) => Delayed | Failed | undefined;
    fetch?: (id: string) => Answer<Got<{ readonly gone: boolean }>>;
    file?: (id: string, filing: Filing) => Answer<Got<{ readonly gone: boolean }>>;
  } = {};
  listen?: (folder: string, news: () => void, signal: AbortSignal) => Promise<Got<object>>;
  folderIds = new Map<string, string>();

  put(id: string, mail: Partial<ReceivedMail> = {}, body = `Subject: ${id}\r\n\r\nbody of ${id}\r\n`): Item {
    const item = {
      mail: {
        id,
        searchKey: `key-${id}`,
        itemClass: 'IPM.Note',
        size: body.length,
        receivedAt: Date.now(),
        messageId: `<${id}@test>`,
        isRead: false,
        from: 'alice@contoso.com',
        header: [],
        attachments: [],
        ...mail,
      },
      body,
      folder: 'in',
    };
    this.items.set(id, item);
    this.changed.push({ id, receivedAt: item.mail.receivedAt });
    return item;
  }

  leave(id: string, folder: string): void {
    const item = this.items.get(id);
    if (item === undefined) return;
    item.folder = folder;
    this.changed.push({ removed: id });
  }

  back(id: string): void {
    const item = this.items.get(id);
    if (item === undefined) return;
    item.folder = 'in';
    this.changed.push({ id, receivedAt: item.mail.receivedAt });
  }

  in(folder: string): string[] {
    return [...this.items].filter(([, item]) => item.folder === folder).map(([id]) => id);
  }

  async folders(paths: readonly string[]) {
    this.calls.push('folders');
    const own = await this.on.folders?.();
    return (
      own ?? {
        ok: true as const,
        ids: new Map(paths.map((path) => [path, this.folderIds.get(path) ?? `id of ${path}`])),
      }
    );
  }

  async changes(_folder: string, cursor: string | undefined): ReturnType<PickupMailbox['changes']> {
    this.calls.push(`changes ${cursor ?? ''}`.trim());
    const own = await this.on.changes?.(cursor);
    if (own !== undefined) return own;
    const from = Number(cursor ?? 0);
    const some = this.changed.slice(from, from + this.page);
    const made: Changes = {
      added: some.flatMap((one) => ('id' in one ? [one] : [])),
      removed: some.flatMap((one) => ('removed' in one ? [one.removed] : [])),
      cursor: String(from + some.length),
      isLast: from + some.length >= this.changed.length,
    };
    return { ok: true, ...made };
  }

  async describe(ids: readonly string[]) {
    this.calls.push(`describe ${ids.join(' ')}`);
    const own = await this.on.describe?.(ids);
    if (own !== undefined) return own;
    const unreadable = ids.flatMap((id) => {
      const status = this.on.unreadable?.(id);
      return status === undefined ? [] : [{ id, status }];
    });
    const mails = ids.flatMap((id) => {
      const item = this.items.get(id);
      return item?.folder === 'in' && !unreadable.some((one) => one.id === id) ? [item.mail] : [];
    });
    return { ok: true as const, mails, unreadable };
  }

  async fetch(id: string, write: (piece: Uint8Array) => Promise<void>): Promise<Got<{ readonly gone: boolean }>> {
    this.calls.push(`fetch ${id}`);
    const own = await this.on.fetch?.(id);
    if (own !== undefined) return own;
    const item = this.items.get(id);
    if (item?.folder !== 'in') return { ok: true, gone: true };
    const octets = Buffer.from(item.body);
    for (let at = 0; at < octets.length; at += 10) await write(octets.subarray(at, at + 10));
    return { ok: true, gone: false };
  }

  async file(id: string, filing: Filing): Promise<Got<{ readonly gone: boolean }>> {
    this.calls.push(`file ${id} ${filing.kind === 'move' ? filing.folder : filing.kind}`);
    const own = await this.on.file?.(id, filing);
    if (own !== undefined) return own;
    const item = this.items.get(id);
    if (item?.folder !== 'in') return { ok: true, gone: true };
    if (filing.kind === 'read') {
      item.mail = { ...item.mail, isRead: true };
      // As Graph has it: what was changed is listed again.
      if (this.transport === 'graph') this.changed.push({ id, receivedAt: item.mail.receivedAt });
    } else this.leave(id, filing.kind === 'move' ? filing.folder : 'deleted');
    return { ok: true, gone: false };
  }
}

export class Site {
  readonly box: FakeMailbox;
  readonly spool: MemorySpool;
  readonly events: Event[] = [];
  readonly bodies = new Map<string, string>();
  room: (size?: number) => Room = () => ({ ok: true });
  /** Called before a commit: throws what it fails with. */
  beforeCommit: (messageId: string) => Promise<void> | void = () => undefined;
  /** Called after a commit: what a crash behind it never comes to. */
  afterCommit: () => Promise<void> | void = () => undefined;
  /** Drafts that were begun and neither became a message nor were forgotten. */
  open = 0;
  mostOpen = 0;
  readonly inject: Inject;
  readonly source: ReturnType<typeof pickupSource>;
  readonly #more: Partial<PickupOptions>;

  constructor(more: Partial<PickupOptions> = {}, { box = new FakeMailbox(), spool = new MemorySpool(Date.now) } = {}) {
    this.box = box;
    this.spool = spool;
    this.#more = more;
    this.inject = this.#inject();
    this.source = pickupSource({
      name: 'fax',
      mailbox: 'fax@contoso.com',
      hostname: 'gateway.test',
      folder: 'Inbox',
      boxes: [box],
      judge: () => ({ verdict: 'deliver', recipients: ['4711@fax.local'] }),
      after: { kind: 'move', folder: 'Processed' },
      refused: 'Refused',
      quarantine: 'Quarantine',
      interval: 60_000,
      notifications: true,
      concurrency: 4,
      inject: this.inject,
      ledger: spool,
      report: (event) => this.events.push(event),
      closed: new Set(['HTTP 403']),
      now: Date.now,
      steady: Date.now,
      ...more,
    });
  }

  /** The same spool and mailbox in another life. */
  again(more: Partial<PickupOptions> = {}): Site {
    return new Site({ ...this.#more, ...more }, { box: this.box, spool: this.spool });
  }

  async run(milliseconds = 0): Promise<void> {
    await vi.advanceTimersByTimeAsync(milliseconds);
  }

  async started(milliseconds = 0): Promise<this> {
    await this.source.start();
    await this.run(milliseconds);
    return this;
  }

  /** Milliseconds that it took. */
  async stop(budget = 8_000): Promise<number> {
    const begun = Date.now();
    const cut = new AbortController();
    const timer = setTimeout(() => cut.abort(), budget);
    const took: number[] = [];
    const over = this.source.stop(cut.signal).then(() => took.push(Date.now() - begun));
    while (took.length === 0 && Date.now() - begun < 60_000) await this.run(10);
    clearTimeout(timer);
    const [first] = took;
    if (first === undefined) throw new Error('it does not stop');
    await over;
    return first;
  }

  of<T extends EventName>(name: T): Extract<Event, { event: T }>[] {
    return this.events.filter((event): event is Extract<Event, { event: T }> => event.event === name);
  }

  /** Message-IDs in the order in which they became durable. */
  get handedOver(): string[] {
    return [...this.spool.items.values()].map(({ messageId }) => messageId.replace(/^<(.*)@test>$/, '$1'));
  }

  #inject(): Inject {
    return {
      room: (size) => this.room(size),
      begin: () => {
        const draft = this.spool.begin();
        const chunks: Buffer[] = [];
        let isOpen = true;
        this.mostOpen = Math.max(this.mostOpen, ++this.open);
        const close = (): void => {
          if (isOpen) this.open--;
          isOpen = false;
        };
        return {
          id: draft.id,
          write: async (chunk) => {
            chunks.push(Buffer.from(chunk));
            await draft.write(chunk);
          },
          abort: async () => {
            close();
            await draft.abort();
          },
          commit: async ({ envelope, origin, mailbox, route = '', messageId, headerSize, repairs }, receipt) => {
            await this.beforeCommit(messageId);
            const entries = [{ envelope, origin, mailbox, route, messageId, headerSize, repairs }];
            const made = receipt === undefined ? await draft.commit(entries) : await draft.commitOnce(entries, receipt);
            if (made === undefined) return false;
            close();
            this.bodies.set(messageId, Buffer.concat(chunks).toString());
            await this.afterCommit();
            return true;
          },
        };
      },
    };
  }
}
