/**
 * The requests of EWS that mail is picked up with: the library builds each document, call.ts makes the request and says
 * what its answer means. Each is one attempt, and none does harm when it is made again. Ids, names and states may hold
 * anything: they are escaped here, and what no XML can carry never leaves.
 */
import { open } from './call.ts';
import type { CallOptions, CallResult, Opened, SoapCall, Trouble } from './call.ts';
import { documentOf } from './ews-library.ts';
import type { ExchangeService, ExtendedPropertyDefinition, Library } from './ews-library.ts';
import { FOLDER_MARK } from './mailbox.ts';
import { meaningInMailbox } from './mailbox-codes.ts';
import { escapeXml } from './soap.ts';
import { unusableMailbox, unusableText } from './unusable.ts';

/** PidTagSearchKey and PidTagTransportMessageHeaders (MS-OXPROPS). */
export const SEARCH_KEY = 0x300b;
export const TRANSPORT_HEADERS = 0x007d;
/** The most that a page of SyncFolderItems may hold. */
const MAX_CHANGES = 512;
/** Folders of a page of FindFolder. */
export const FOLDER_PAGE = 500;
const MEBIBYTE = 1024 * 1024;
/** Octets of an answer that describes up to 20 items, whose header blocks may have 256 KiB each in Exchange. */
const DESCRIBED = 8 * MEBIBYTE;
/** A state names every item of a folder in some way, and comes with a page of changes. */
const SYNCED = 4 * MEBIBYTE;
/** Minutes that a stream of notifications stays open, of 30 allowed. */
export const STREAM_MINUTES = 29;

export type DistinguishedFolder =
  'inbox' | 'archive' | 'drafts' | 'sentitems' | 'deleteditems' | 'junkemail' | 'msgfolderroot';

/** A subscription has to be used at the server that holds it: what leads there. */
export interface Affinity {
  readonly cookie?: string;
}

type Called = Promise<CallResult>;
type More = Omit<SoapCall, 'body' | 'sends' | 'mailbox' | 'signal' | 'meaningOf'> & {
  /** Changes the document that the library built. */
  readonly edit?: (document: string) => string;
};

type Asked = [
  mailbox: string,
  texts: readonly string[],
  more: More,
  signal: AbortSignal,
  use: (service: ExchangeService, library: Library, escaped: readonly string[]) => Promise<unknown>,
];

export class MailboxCalls {
  readonly #library: Library;
  readonly #options: CallOptions;

  constructor(library: Library, options: CallOptions) {
    this.#library = library;
    this.#options = options;
  }

  getFolder(mailbox: string, name: DistinguishedFolder, signal: AbortSignal): Called {
    // The library is older than the name of the archive.
    const edit = (document: string): string => document.replace('Id="msgfolderroot"', `Id="${name}"`);
    return this.#call(mailbox, [], { operation: 'GetFolder', edit }, signal, (service, library) =>
      library.Folder.Bind(
        service,
        library.WellKnownFolderName.MsgFolderRoot,
        new library.PropertySet(library.BasePropertySet.IdOnly),
      ),
    );
  }

  /** With its mark. */
  readMark(mailbox: string, folder: string, signal: AbortSignal): Called {
    return this.#call(mailbox, [folder], { operation: 'GetFolder' }, signal, (service, library, [id = '']) => {
      const wanted = new library.PropertySet(library.BasePropertySet.IdOnly, [markOf(library)]);
      return library.Folder.Bind(service, new library.FolderId(id), wanted);
    });
  }

  writeMark(mailbox: string, folder: string, mark: string, signal: AbortSignal): Called {
    const more = { operation: 'UpdateFolder' };
    return this.#call(mailbox, [folder, mark], more, signal, (service, library, [id = '', escaped = '']) => {
      const one = new library.Folder(service);
      fillIn(one, library.FolderSchema.Id, new library.FolderId(id));
      one.SetExtendedProperty(markOf(library), escaped);
      return one.Update();
    });
  }

  /** A page of the folders directly inside. @param offset folders to skip */
  findFolders(mailbox: string, parent: string, offset: number, signal: AbortSignal): Called {
    return this.#call(mailbox, [parent], { operation: 'FindFolder' }, signal, (service, library, [id = '']) => {
      const view = new library.FolderView(FOLDER_PAGE, offset);
      view.PropertySet = new library.PropertySet(library.BasePropertySet.IdOnly, [library.FolderSchema.DisplayName]);
      return service.FindFolders(new library.FolderId(id), view);
    });
  }

  createFolder(mailbox: string, parent: string, name: string, signal: AbortSignal): Called {
    const texts = [parent, name];
    return this.#call(
      mailbox,
      texts,
      { operation: 'CreateFolder' },
      signal,
      (service, library, [id = '', escaped = '']) => {
        const folder = new library.Folder(service);
        folder.DisplayName = escaped;
        folder.FolderClass = 'IPF.Note';
        return folder.Save(new library.FolderId(id));
      },
    );
  }

  /** @param state '' begins anew */
  sync(mailbox: string, folder: string, state: string, signal: AbortSignal): Called {
    const more = { operation: 'SyncFolderItems', limit: SYNCED };
    return this.#call(mailbox, [folder, state], more, signal, (service, library, [id = '', from = '']) =>
      service.SyncFolderItems(
        new library.FolderId(id),
        new library.PropertySet(library.BasePropertySet.IdOnly, [library.ItemSchema.DateTimeReceived]),
        null as never,
        MAX_CHANGES,
        library.SyncFolderItemsScope.NormalItems,
        from === '' ? (null as never) : from,
      ),
    );
  }

  /** One message in the answer for each id, in their order, with its own trouble. */
  describe(mailbox: string, ids: readonly string[], signal: AbortSignal): Called {
    const more = { operation: 'GetItem', limit: DESCRIBED, each: true } as const;
    return this.#call(mailbox, ids, more, signal, (service, library, escaped) => {
      const { ItemClass, Size, DateTimeReceived, Subject, Attachments } = library.ItemSchema;
      const { From, Sender, InternetMessageId, IsRead } = library.EmailMessageSchema;
      const { Binary, String: text } = library.MapiPropertyType;
      const wanted = new library.PropertySet(library.BasePropertySet.IdOnly, [
        ItemClass,
        Size,
        DateTimeReceived,
        Subject,
        Attachments,
        From,
        Sender,
        InternetMessageId,
        IsRead,
        new library.ExtendedPropertyDefinition(SEARCH_KEY, Binary),
        // Not item:InternetMessageHeaders, which are the same fields once more, and taken apart.
        new library.ExtendedPropertyDefinition(TRANSPORT_HEADERS, text),
      ]);
      return service.BindToItems(itemsIn(library, escaped), wanted);
    });
  }

  /** The answer, with the MIME in it, is the caller's to read. */
  openMime(mailbox: string, id: string, signal: AbortSignal): Promise<Opened> {
    return this.#open(mailbox, [id], { operation: 'GetItem' }, signal, (service, library, escaped) => {
      const wanted = new library.PropertySet(library.BasePropertySet.IdOnly, [library.ItemSchema.MimeContent]);
      return service.BindToItems(itemsIn(library, escaped), wanted);
    });
  }

  move(mailbox: string, id: string, folder: string, signal: AbortSignal): Called {
    return this.#call(
      mailbox,
      [folder, id],
      { operation: 'MoveItem' },
      signal,
      (service, library, [to = '', ...items]) => service.MoveItems(itemsIn(library, items), new library.FolderId(to)),
    );
  }

  /** To the deleted items. */
  remove(mailbox: string, id: string, signal: AbortSignal): Called {
    return this.#call(mailbox, [id], { operation: 'DeleteItem' }, signal, (service, library, escaped) => {
      const { SendToNone } = library.SendCancellationsMode;
      const items = itemsIn(library, escaped);
      return service.DeleteItems(items, library.DeleteMode.MoveToDeletedItems, SendToNone, null as never);
    });
  }

  /** Whatever its version is, and without the receipt that a reader would send. */
  markRead(mailbox: string, id: string, signal: AbortSignal): Called {
    return this.#call(mailbox, [id], { operation: 'UpdateItem' }, signal, (service, library, escaped) => {
      const item = new library.EmailMessage(service);
      for (const one of itemsIn(library, escaped)) fillIn(item, library.ItemSchema.Id, one);
      item.IsRead = true;
      const { AlwaysOverwrite } = library.ConflictResolutionMode;
      const { SendToNone } = library.SendInvitationsOrCancellationsMode;
      return service.UpdateItems(
        [item],
        null as never,
        AlwaysOverwrite,
        library.MessageDisposition.SaveOnly,
        SendToNone,
        true,
      );
    });
  }

  /** To what comes to a folder, however it comes there. */
  subscribe(mailbox: string, folder: string, signal: AbortSignal): Called {
    const more = { operation: 'Subscribe', headers: affinityOf({}) };
    return this.#call(mailbox, [folder], more, signal, (service, library, [id = '']) => {
      const { NewMail, Created, Moved } = library.EventType;
      return service.SubscribeToStreamingNotifications([new library.FolderId(id)], NewMail, Created, Moved);
    });
  }

  /** @param silence milliseconds without any octet after which the stream counts as broken */
  openStream(
    mailbox: string,
    subscription: string,
    { silence, ...affinity }: Affinity & { readonly silence: number },
    signal: AbortSignal,
  ): Promise<Opened> {
    const more = { operation: 'GetStreamingEvents', headers: affinityOf(affinity), bodyTimeout: silence };
    return this.#open(mailbox, [subscription], more, signal, async (service, library, ids) => {
      // Its own reader of the answer is left out, which loses notifications.
      const request = new library.GetStreamingEventsRequest(service, () => {}, [...ids], STREAM_MINUTES);
      await service.XHRApi.xhr((request as unknown as { BuildXHR(): { url: string; data: string } }).BuildXHR());
    });
  }

  unsubscribe(mailbox: string, subscription: string, affinity: Affinity, signal: AbortSignal): Called {
    const more = { operation: 'Unsubscribe', headers: affinityOf(affinity) };
    return this.#call(mailbox, [subscription], more, signal, (service, _library, [id = '']) =>
      // Not among its types: made for its own use.
      (service as unknown as { Unsubscribe(id: string): Promise<unknown> }).Unsubscribe(id),
    );
  }

  async #call(...asked: Asked): Called {
    const opened = await this.#open(...asked);
    return opened.ok ? await opened.judge(opened.response) : opened;
  }

  /** @param texts what the request holds; `use` gets it escaped */
  async #open(...[mailbox, texts, { edit, ...more }, signal, use]: Asked): Promise<Opened> {
    const escapedMailbox = escapeXml(mailbox);
    if (escapedMailbox === undefined) return refused(unusableMailbox());
    const escaped: string[] = [];
    for (const text of texts) {
      const one = escapeXml(text);
      if (one === undefined) return refused(unusableText());
      escaped.push(one);
    }
    const target = { url: this.#options.url, mailbox: escapedMailbox };
    const document = await documentOf(this.#library, target, (service) => use(service, this.#library, escaped));
    const body = Buffer.from(edit?.(document) ?? document);
    return open(this.#options, { ...more, sends: false, mailbox, body, signal, meaningOf: meaningInMailbox });
  }
}

/** Of the library's own use. */
interface Bag {
  loading: boolean;
  _setItem(key: unknown, value: unknown): void;
}

function refused(status: Trouble): { readonly ok: false; readonly status: Trouble } {
  return { ok: false, status };
}

/** The library updates only what it has loaded: the id is put in as its reader would do it. */
function fillIn(object: object, key: unknown, id: unknown): void {
  const { PropertyBag: bag } = object as { readonly PropertyBag: Bag };
  bag.loading = true;
  bag._setItem(key, id);
  bag.loading = false;
}

function markOf(library: Library): ExtendedPropertyDefinition {
  const { PublicStrings } = library.DefaultExtendedPropertySet;
  return new library.ExtendedPropertyDefinition(PublicStrings, FOLDER_MARK, library.MapiPropertyType.String);
}

function itemsIn(library: Library, escaped: readonly string[]): InstanceType<Library['ItemId']>[] {
  return escaped.map((id) => new library.ItemId(id));
}

/** learn.microsoft.com/exchange/client-developer/exchange-web-services/how-to-maintain-affinity-between-group-of-subscriptions-and-mailbox-server */
function affinityOf({ cookie }: Affinity): Record<string, string> {
  return { 'x-preferserveraffinity': 'true', ...(cookie === undefined ? {} : { cookie }) };
}
