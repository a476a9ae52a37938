/**
 * One mailbox of the sandbox: a tree of folders, what lies in them, and a record of every change, so that a client can ask
 * what is new in a folder since it asked last. In memory. Nothing here fails but by value.
 */
import { randomBytes } from 'node:crypto';
import type { ExtendedProperty, Submission } from './submission.ts';
import { isSameProperty } from './submission.ts';

/** By the names that EWS and Graph know them by, whatever the mailbox's language calls them. */
export const FOLDERS = ['inbox', 'drafts', 'outbox', 'sentitems', 'deleteditems', 'archive', 'junkemail'] as const;
export type Folder = (typeof FOLDERS)[number];
export const ROOT = 'msgfolderroot';

const DISPLAY_NAMES: Readonly<Record<Folder, string>> = {
  inbox: 'Inbox',
  drafts: 'Drafts',
  outbox: 'Outbox',
  sentitems: 'Sent Items',
  deleteditems: 'Deleted Items',
  archive: 'Archive',
  junkemail: 'Junk Email',
};

/** `mime`: it cannot be had as MIME. `item`: it cannot be read at all. */
export type Broken = 'mime' | 'item';

/** What lies in a folder. */
export interface Item {
  /** Another one after a move. */
  readonly id: string;
  /** Graph's immutable id: kept by moves within the mailbox. */
  readonly stableId: string;
  /** PidTagSearchKey: 16 octets in base64, kept by moves. */
  readonly searchKey: string;
  readonly changeKey: string;
  readonly messageId: string;
  readonly subject: string;
  /** '' if the message names nobody. */
  readonly from: string;
  /** '' if there is none. */
  readonly sender: string;
  readonly to: readonly string[];
  readonly cc: readonly string[];
  /** Only in the sender's own copies. */
  readonly bcc: readonly string[];
  /** As a reader gets it. */
  readonly mime: Buffer;
  /** PidTagTransportMessageHeaders; absent of what was never transported. */
  readonly header?: string;
  readonly extended: readonly ExtendedProperty[];
  readonly itemClass: string;
  readonly isRead: boolean;
  /** Epoch milliseconds. */
  readonly receivedAt: number;
  /** PidTagMessageFlags as its maker set them; absent: not set. */
  readonly flags?: number;
  /** Only of what was saved and not sent. */
  readonly submission?: Submission;
  readonly broken?: Broken;
}

/** What its mailbox does not make up by itself. */
export type NewItem = Omit<Item, 'id' | 'stableId' | 'searchKey' | 'changeKey'> & {
  /** Of a copy: that of its original. Absent: a new one. */
  readonly searchKey?: string;
};

export interface FolderView {
  /** Base64. */
  readonly id: string;
  /** Id of the folder it lies in; '' of the root. */
  readonly parent: string;
  readonly displayName: string;
  readonly wellKnown?: Folder | typeof ROOT;
  readonly extended: readonly ExtendedProperty[];
  /** Oldest first. */
  readonly items: readonly Item[];
}

/** What has become of an item of a folder. `number` grows with every change of the mailbox. */
export type Change =
  | { readonly kind: 'create' | 'update' | 'read'; readonly number: number; readonly item: Item }
  | { readonly kind: 'delete'; readonly number: number; readonly item: Pick<Item, 'id' | 'stableId' | 'changeKey'> };

export interface MailboxView {
  readonly address: string;
  readonly inbox: readonly Item[];
  readonly drafts: readonly Item[];
  readonly outbox: readonly Item[];
  readonly sentitems: readonly Item[];
  readonly deleteditems: readonly Item[];
  readonly archive: readonly Item[];
  readonly junkemail: readonly Item[];
  /** The root first. */
  readonly folders: readonly FolderView[];
  /**
   * By its path from the root, names separated by `/`, regardless of case; the first may be a well-known one (SentItems).
   * @returns undefined if there is none
   */
  folder(path: string): FolderView | undefined;
  /** What its user may do at any time. @param to well-known name in lower case, or a folder's id */
  move(id: string, to: string): Item | undefined;
  remove(id: string): boolean;
  setRead(id: string, isRead: boolean): Item | undefined;
}

interface Entry {
  item: Item;
  readonly folder: FolderRecord;
  /** Numbers of changes. */
  readonly created: number;
  changed: number;
  read: number;
}

interface Tombstone {
  readonly item: Pick<Item, 'id' | 'stableId' | 'changeKey'>;
  readonly created: number;
  readonly deleted: number;
}

interface FolderRecord extends FolderView {
  extended: readonly ExtendedProperty[];
  readonly items: Item[];
  readonly entries: Map<string, Entry>;
  readonly tombstones: Tombstone[];
}

/** Is told what happens to items as it happens. */
export type Watcher = (what: 'new' | 'created' | 'modified' | 'deleted', folder: FolderView, item: Item) => void;

export class MailboxStore implements MailboxView {
  readonly address: string;
  /** Another one for every mailbox that ever was. */
  readonly instance = randomBytes(12).toString('hex');
  readonly folders: FolderRecord[] = [];
  readonly #byId = new Map<string, Entry>();
  readonly #watchers = new Set<Watcher>();
  #number = 0;

  /** @param names what the mailbox's language calls the well-known folders, where not the English name */
  constructor(address: string, names: Partial<Readonly<Record<Folder, string>>> = {}) {
    this.address = address;
    const root = this.#add('', 'Top of Information Store', ROOT);
    for (const folder of FOLDERS) this.#add(root.id, names[folder] ?? DISPLAY_NAMES[folder], folder);
  }

  get inbox(): readonly Item[] {
    return this.at('inbox').items;
  }

  get drafts(): readonly Item[] {
    return this.at('drafts').items;
  }

  get outbox(): readonly Item[] {
    return this.at('outbox').items;
  }

  get sentitems(): readonly Item[] {
    return this.at('sentitems').items;
  }

  get deleteditems(): readonly Item[] {
    return this.at('deleteditems').items;
  }

  get archive(): readonly Item[] {
    return this.at('archive').items;
  }

  get junkemail(): readonly Item[] {
    return this.at('junkemail').items;
  }

  /** Number of the last change. */
  get number(): number {
    return this.#number;
  }

  at(folder: Folder | typeof ROOT): FolderView {
    const found = this.known(folder);
    if (!found) throw new Error(`the mailbox has no folder ${folder}`);
    return found;
  }

  /** By its well-known name in lower case, or by its id. */
  known(name: string): FolderView | undefined {
    return this.#record(name);
  }

  folder(path: string): FolderView | undefined {
    const names = path.split('/').filter((name) => name !== '');
    let current: FolderView = this.at(ROOT);
    for (const [index, name] of names.entries()) {
      const wanted = name.toLowerCase();
      const next =
        this.children(current.id).find(({ displayName }) => displayName.toLowerCase() === wanted) ??
        (index === 0 ? FOLDERS.filter((one) => one === wanted).map((one) => this.at(one))[0] : undefined);
      if (!next) return undefined;
      current = next;
    }
    return current;
  }

  children(id: string): readonly FolderView[] {
    return this.folders.filter(({ parent }) => parent === id);
  }

  /** @returns undefined if there is one of this name */
  makeFolder(parent: string, displayName: string): FolderView | undefined {
    const wanted = displayName.toLowerCase();
    if (this.children(parent).some((one) => one.displayName.toLowerCase() === wanted)) return undefined;
    return this.#add(parent, displayName);
  }

  /** Makes what is missing of the path. */
  makePath(path: string): FolderView {
    let done = '';
    let current: FolderView = this.at(ROOT);
    for (const name of path.split('/').filter((one) => one !== '')) {
      done = `${done}/${name}`;
      current = this.folder(done) ?? this.#add(current.id, name);
    }
    return current;
  }

  find(id: string): { readonly item: Item; readonly folder: FolderView } | undefined {
    return this.#byId.get(id);
  }

  findStable(stableId: string): { readonly item: Item; readonly folder: FolderView } | undefined {
    // Most items have never been moved.
    const entry = this.#byId.get(stableId);
    if (entry?.item.stableId === stableId) return entry;
    return [...this.#byId.values()].find(({ item }) => item.stableId === stableId);
  }

  /**
   * @param folder well-known name or id
   * @param id to keep; absent: a new one
   * @param isNew it has just been delivered
   */
  put(folder: string, item: NewItem, { id, isNew = false }: { id?: string | undefined; isNew?: boolean } = {}): Item {
    const fresh = id ?? randomBytes(24).toString('base64');
    const whole = {
      ...item,
      id: fresh,
      stableId: fresh,
      searchKey: item.searchKey ?? randomBytes(16).toString('base64'),
      changeKey: randomBytes(12).toString('base64'),
    };
    return this.#enter(folder, whole, isNew);
  }

  remove(id: string): boolean {
    return this.#take(id) !== undefined;
  }

  /** Under a new id. @param to well-known name or id. @returns undefined if there is no such item */
  move(id: string, to: string): Item | undefined {
    const item = this.#take(id);
    if (!item) return undefined;
    const moved = {
      ...item,
      id: randomBytes(24).toString('base64'),
      changeKey: randomBytes(12).toString('base64'),
    };
    return this.#enter(to, moved, false);
  }

  /** @returns undefined if there is no such item */
  setRead(id: string, isRead: boolean): Item | undefined {
    const entry = this.#byId.get(id);
    if (!entry) return undefined;
    if (entry.item.isRead === isRead) return entry.item;
    const { items } = entry.folder;
    const item = { ...entry.item, isRead, changeKey: randomBytes(12).toString('base64') };
    items[items.indexOf(entry.item)] = item;
    entry.item = item;
    entry.read = ++this.#number;
    this.#tell('modified', entry.folder, item);
    return item;
  }

  /** Of a folder. @param values none: it has the property no more */
  setProperty(folder: string, { path, values }: ExtendedProperty): void {
    const record = this.#record(folder);
    if (!record) throw new Error(`the mailbox has no folder ${folder}`);
    const others = record.extended.filter((one) => !isSameProperty(one.path, path));
    record.extended = values.length === 0 ? others : [...others, { path, values }];
  }

  /** What has become of the folder's items after change `since` and up to change `until`, newest first. */
  changes(folder: string, since: number, until: number): Change[] {
    const record = this.#record(folder);
    if (!record) return [];
    const found: Change[] = [];
    const is = (number: number): boolean => number > since && number <= until;
    for (const { item, created, changed, read } of record.entries.values()) {
      if (created > since) {
        if (is(created)) found.push({ kind: 'create', number: created, item });
      } else if (is(changed)) found.push({ kind: 'update', number: changed, item });
      else if (is(read)) found.push({ kind: 'read', number: read, item });
    }
    for (const { item, created, deleted } of record.tombstones)
      if (created <= since && is(deleted)) found.push({ kind: 'delete', number: deleted, item });
    return found.toSorted((a, b) => b.number - a.number);
  }

  /** @returns what ends it */
  watch(watcher: Watcher): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  /** Forgets all mail; folders stay. */
  clear(): void {
    for (const id of this.#byId.keys()) this.#take(id);
  }

  #record(name: string): FolderRecord | undefined {
    return this.folders.find(({ wellKnown, id }) => wellKnown === name || id === name);
  }

  #add(parent: string, displayName: string, wellKnown?: Folder | typeof ROOT): FolderRecord {
    const record = {
      id: Buffer.from(`${this.address}/${wellKnown ?? `#${this.folders.length}`}`).toString('base64'),
      parent,
      displayName,
      ...(wellKnown === undefined ? {} : { wellKnown }),
      extended: [],
      items: [],
      entries: new Map(),
      tombstones: [],
    };
    this.folders.push(record);
    return record;
  }

  #enter(to: string, item: Item, isNew: boolean): Item {
    const folder = this.#record(to);
    if (!folder) throw new Error(`the mailbox has no folder ${to}`);
    const number = ++this.#number;
    const entry = { item, folder, created: number, changed: number, read: number };
    folder.items.push(item);
    folder.entries.set(item.id, entry);
    this.#byId.set(item.id, entry);
    this.#tell('created', folder, item);
    if (isNew) this.#tell('new', folder, item);
    return item;
  }

  #take(id: string): Item | undefined {
    const entry = this.#byId.get(id);
    if (!entry) return undefined;
    const { item, folder, created } = entry;
    folder.items.splice(folder.items.indexOf(item), 1);
    folder.entries.delete(id);
    this.#byId.delete(id);
    const { stableId, changeKey } = item;
    folder.tombstones.push({ item: { id, stableId, changeKey }, created, deleted: ++this.#number });
    this.#tell('deleted', folder, item);
    return item;
  }

  #tell(...what: Parameters<Watcher>): void {
    for (const watcher of this.#watchers) watcher(...what);
  }
}
