/**
 * Exchange Web Services as this gateway uses them: sending a MIME message as a mailbox, and looking for it afterwards; the
 * requests of pickup are made in mailbox-calls.ts. The library builds the SOAP and reads what is surely a success; the
 * rest of it is kept from doing harm: it escapes nothing (so what goes in is escaped here), it would hold a whole message
 * in memory (so it gets a random word in its place), and most answers make it throw, hang or forget the code (so it never
 * sees them). Expected trouble is a value; a throw is a bug.
 */
import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import type { Importance } from '../mail/precedence.ts';
import type { Delayed, DeliveryStatus, Failed, Relayed } from '../mail/status.ts';
import { unreachable } from '../mail/status.ts';
import { base64, base64Length } from './base64.ts';
import { call } from './call.ts';
import type { CallOptions, CallResult, SoapCall, Trouble } from './call.ts';
import type { Asked, Draft, FoundDrafts, Saved, Sent } from './drafts.ts';
import { draftsIn } from './drafts.ts';
import { loadLibrary, serviceOf, UNUSABLE } from './ews-library.ts';
import type {
  EmailMessage,
  ExchangeService,
  ExtendedPropertyDefinition,
  Importance as LibraryImportance,
  Library,
} from './ews-library.ts';
import type { StreamedBody } from './http.ts';
import { MailboxCalls } from './mailbox-calls.ts';
import type { InternetHeader, MessageProperties } from './properties.ts';
import { escapeXml } from './soap.ts';
import { unreadableAnswer, unusableMailbox, unusableMessageId, unusableRecipient } from './unusable.ts';

export interface EwsOptions extends Omit<CallOptions, 'userAgent'> {
  /** Of this program, for the User-Agent; organisations allow or block programs by it. */
  readonly version: string;
}

export interface NewMessage extends MessageProperties {
  /** The mailbox that sends (impersonated), an SMTP address. */
  readonly mailbox: string;
  /** Mark of the sent copy: how it is told from others with the same Message-ID. */
  readonly spoolId: string;
  /** Recipients that are in no field of the message. */
  readonly blind: readonly string[];
  /** Keep a copy in Sent Items. */
  readonly saveCopy: boolean;
  /** The MIME message. An error of its reader passes through send() unchanged; nothing was sent then. */
  readonly content: StreamedBody;
}

export const FOLDERS = ['drafts', 'outbox', 'sentitems'] as const;
export type FolderName = (typeof FOLDERS)[number];
/** Where mail that came is looked for, too. */
export type SearchedFolder = FolderName | 'inbox' | 'junkemail';

export interface Search {
  readonly mailbox: string;
  readonly folder: SearchedFolder;
  /** With its angle brackets. */
  readonly messageId: string;
  /** Matches to skip. */
  readonly offset: number;
}

export type Found =
  | {
      readonly ok: true;
      /** Marks of the matching items; undefined for an item that has none. */
      readonly marks: readonly (string | undefined)[];
      readonly more: boolean;
    }
  | { readonly ok: false; readonly status: Delayed | Failed };

export interface Ews {
  /** One attempt. After `signal` aborts: delayed if the request was surely not acted on, else unknown. */
  send(message: NewMessage, signal: AbortSignal): Promise<DeliveryStatus>;
  /** Looks for items by Message-ID, a page at a time. */
  find(search: Search, signal: AbortSignal): Promise<Found>;
  readonly drafts: Drafts;
}

export interface EwsClient extends Ews {
  /** What mail is picked up with (mailbox-ews.ts). */
  readonly mailbox: MailboxCalls;
}

/** The operations of the two-step path. Each is one attempt, as of send(). */
export interface Drafts {
  /** Uploads the message as a draft in Drafts. Nothing is sent by it; unknown: the draft may be there. */
  save(message: NewMessage, signal: AbortSignal): Promise<Saved>;
  send(mailbox: string, draft: Draft, saveCopy: boolean, signal: AbortSignal): Promise<Sent>;
  get(mailbox: string, id: string, signal: AbortSignal): Promise<Asked>;
  /** Drafts that save() made for this item, 100 at most. */
  find(mailbox: string, spoolId: string, signal: AbortSignal): Promise<FoundDrafts>;
  /** For good. True: it is gone. */
  remove(mailbox: string, id: string, signal: AbortSignal): Promise<boolean>;
}

/** Name of the sent copy's mark, a named property of the set PublicStrings. */
export const MARK = 'smtp2exchange-id';
/** The same on what was saved to be sent later, which tells it from a draft that Exchange leaves behind when it refuses. */
export const DRAFT_MARK = 'smtp2exchange-draft';
/**
 * PidTagMessageFlags (MS-OXCMSG section 2.2.1.6): without mfRead the copy looks like an unread draft, and without mfUnsent
 * what is saved is no draft.
 */
const MESSAGE_FLAGS = 0x0e07;
const READ = 1;
const UNSENT = 8;
/** Below the 250 that Exchange allows for a page of a filtered search. */
const PAGE = 100;

/**
 * Loads the library, which takes a quarter of a second.
 * @throws Error with a plain sentence for an address that cannot be used
 */
export async function createEws(options: EwsOptions): Promise<EwsClient> {
  checkAddress(options.url);
  const library = await loadLibrary();
  return new LibraryEws(library, { ...options, userAgent: `smtp2exchange/${options.version}` });
}

function checkAddress(text: string): void {
  const url = URL.parse(text);
  if (url?.protocol === 'https:') return;
  if (url?.protocol !== 'http:') throw new Error('ewsUrl must be a URL that begins with https://');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const isLoopback = host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
  if (!isLoopback) {
    throw new Error(
      `ewsUrl begins with http://, so login and mail would travel to ${url.host} unprotected; use https:// (http:// is for this machine only)`,
    );
  }
}

class LibraryEws implements EwsClient {
  readonly #library: Library;
  readonly #options: CallOptions;
  readonly #mark: ExtendedPropertyDefinition;
  readonly #draftMark: ExtendedPropertyDefinition;
  readonly mailbox: MailboxCalls;
  readonly drafts: Drafts = {
    save: (message, signal) => this.#save(message, signal),
    send: (mailbox, draft, saveCopy, signal) => this.#sendDraft(mailbox, draft, saveCopy, signal),
    get: (mailbox, id, signal) => this.#getDraft(mailbox, id, signal),
    find: (mailbox, spoolId, signal) => this.#findDrafts(mailbox, spoolId, signal),
    remove: (mailbox, id, signal) => this.#removeDraft(mailbox, id, signal),
  };

  constructor(library: Library, options: CallOptions) {
    this.#library = library;
    this.#options = options;
    this.mailbox = new MailboxCalls(library, options);
    const { PublicStrings } = library.DefaultExtendedPropertySet;
    const { String: text } = library.MapiPropertyType;
    this.#mark = new library.ExtendedPropertyDefinition(PublicStrings, MARK, text);
    this.#draftMark = new library.ExtendedPropertyDefinition(PublicStrings, DRAFT_MARK, text);
  }

  async send(message: NewMessage, signal: AbortSignal): Promise<DeliveryStatus> {
    const { SentItems } = this.#library.WellKnownFolderName;
    const result = await this.#upload(message, false, signal, async (item) => {
      // Named, because some servers file the copy elsewhere otherwise.
      if (message.saveCopy) await item.SendAndSaveCopy(SentItems);
      else await item.Send();
    });
    // That the library could not read what is surely a success changes nothing: the message went out.
    return result.ok ? accepted(result) : result.status;
  }

  async #save(message: NewMessage, signal: AbortSignal): Promise<Saved> {
    const { Drafts: folder } = this.#library.WellKnownFolderName;
    const result = await this.#upload(message, true, signal, (item) => item.Save(folder));
    if (!result.ok) return result;
    const [draft] = draftsIn(result.xml);
    if (draft) return { ok: true, draft };
    // Saved, and nobody can say under which id: it has to be looked for.
    return { ok: false, status: { ...unreadableAnswer(), outcome: 'unknown' } };
  }

  /** One CreateItem with the message streamed. @param isDraft it is saved as one */
  async #upload(
    message: NewMessage,
    isDraft: boolean,
    signal: AbortSignal,
    create: (item: EmailMessage) => Promise<unknown>,
  ): Promise<CallResult> {
    const library = this.#library;
    const mailbox = escapeXml(message.mailbox);
    if (mailbox === undefined) return { ok: false, status: unusableMailbox() };
    const blind: string[] = [];
    for (const address of message.blind) {
      const escaped = escapeXml(address);
      if (escaped === undefined) return { ok: false, status: unusableRecipient() };
      blind.push(escaped);
    }
    const headers = escapedHeaders(message.internetHeaders);
    const mark = escapeXml(message.spoolId);
    if (mark === undefined) throw new Error('a spool id holds control characters');

    // Nobody can foresee it, so nothing in the request but the message's place can look like it.
    const place = randomBytes(24).toString('hex');
    const request = {
      operation: 'CreateItem',
      sends: true,
      mailbox: message.mailbox,
      signal,
      body: (soap: string) => around(soap, place, message.content),
    };
    const { result } = await this.#run(mailbox, request, async (service) => {
      const item = new library.EmailMessage(service);
      const mime = new library.MimeContent();
      mime.Content = place;
      item.MimeContent = mime;
      for (const address of blind) item.BccRecipients.Add(new library.EmailAddress(address));
      item.SetExtendedProperty(this.#mark, mark);
      if (isDraft) item.SetExtendedProperty(this.#draftMark, mark);
      item.SetExtendedProperty(
        new library.ExtendedPropertyDefinition(MESSAGE_FLAGS, library.MapiPropertyType.Integer),
        isDraft ? READ | UNSENT : READ,
      );
      if (message.itemClass !== undefined) item.ItemClass = escapeXml(message.itemClass) ?? '';
      if (message.importance !== undefined) item.Importance = importanceIn(library, message.importance);
      if (message.readReceipt === true) item.IsReadReceiptRequested = true;
      if (message.deliveryReceipt === true) item.IsDeliveryReceiptRequested = true;
      for (const { name, value } of headers) {
        const { InternetHeaders } = library.DefaultExtendedPropertySet;
        const { String: text } = library.MapiPropertyType;
        item.SetExtendedProperty(new library.ExtendedPropertyDefinition(InternetHeaders, name, text), value);
      }
      await create(item);
    });
    return result;
  }

  async #sendDraft(address: string, draft: Draft, saveCopy: boolean, signal: AbortSignal): Promise<Sent> {
    const library = this.#library;
    const sent = await this.#ask('SendItem', address, signal, async (service) => {
      const item = { Id: this.#idOf(draft) };
      const folder = saveCopy ? new library.FolderId(library.WellKnownFolderName.SentItems) : null;
      // Not among its types: made for its own use, and the only way that takes a folder and no look at the item.
      await (service as unknown as { SendItem(one: unknown, to: unknown): Promise<unknown> }).SendItem(item, folder);
    });
    if (!sent.ok) return sent.status;
    // The mark of the one server that is known to do so.
    return sent.xml.includes('ResponseMessages') ? accepted(sent) : { ...accepted(sent), keepsDraft: true };
  }

  async #getDraft(address: string, id: string, signal: AbortSignal): Promise<Asked> {
    const library = this.#library;
    const { IdOnly } = library.BasePropertySet;
    const answer = await this.#ask('GetItem', address, signal, async (service) => {
      const { IsDraft, IsSubmitted } = library.ItemSchema;
      const wanted = new library.PropertySet(IdOnly, [IsSubmitted, IsDraft]);
      await service.BindToItems([this.#idOf({ id, changeKey: '' })], wanted);
    });
    if (!answer.ok)
      return answer.status.cause === 'ErrorItemNotFound' ? { ok: true, state: 'gone' } : harmless(answer.status);
    const [state] = draftsIn(answer.xml);
    return state ? { ok: true, state } : { ok: false, status: unreadableAnswer() };
  }

  async #findDrafts(address: string, spoolId: string, signal: AbortSignal): Promise<FoundDrafts> {
    const library = this.#library;
    const answer = await this.#ask('FindItem', address, signal, async (service) => {
      const view = new library.ItemView(PAGE);
      const { IsDraft, IsSubmitted } = library.ItemSchema;
      view.PropertySet = new library.PropertySet(library.BasePropertySet.IdOnly, [IsSubmitted, IsDraft]);
      const filter = new library.SearchFilter.IsEqualTo(this.#draftMark, escapeXml(spoolId) ?? '');
      await service.FindItems(library.WellKnownFolderName.Drafts, filter, view);
    });
    return answer.ok ? { ok: true, drafts: draftsIn(answer.xml) } : harmless(answer.status);
  }

  async #removeDraft(address: string, id: string, signal: AbortSignal): Promise<boolean> {
    const answer = await this.#ask('DeleteItem', address, signal, async (service) => {
      const { HardDelete } = this.#library.DeleteMode;
      await service.DeleteItems([this.#idOf({ id, changeKey: '' })], HardDelete, null as never, null as never);
    });
    return answer.ok || answer.status.cause === 'ErrorItemNotFound';
  }

  #idOf({ id, changeKey }: Draft): InstanceType<Library['ItemId']> {
    const itemId = new this.#library.ItemId(escapeXml(id) ?? '');
    if (changeKey !== '') itemId.ChangeKey = escapeXml(changeKey) ?? '';
    return itemId;
  }

  /** A request without a message in it. */
  async #ask(
    operation: 'SendItem' | 'GetItem' | 'FindItem' | 'DeleteItem',
    address: string,
    signal: AbortSignal,
    use: (service: ExchangeService) => Promise<unknown>,
  ): Promise<CallResult> {
    const mailbox = escapeXml(address);
    if (mailbox === undefined) return { ok: false, status: unusableMailbox() };
    const sends = operation === 'SendItem';
    const body = (soap: string): Buffer => Buffer.from(soap);
    return (await this.#run(mailbox, { operation, sends, mailbox: address, signal, body }, use)).result;
  }

  async find(search: Search, signal: AbortSignal): Promise<Found> {
    const library = this.#library;
    const mailbox = escapeXml(search.mailbox);
    const messageId = escapeXml(search.messageId);
    if (mailbox === undefined) return { ok: false, status: unusableMailbox() };
    if (messageId === undefined) return { ok: false, status: unusableMessageId() };
    const names = library.WellKnownFolderName;
    const folder = {
      drafts: names.Drafts,
      outbox: names.Outbox,
      sentitems: names.SentItems,
      inbox: names.Inbox,
      junkemail: names.JunkEmail,
    }[search.folder];
    const request = {
      operation: 'FindItem',
      sends: false,
      mailbox: search.mailbox,
      signal,
      body: (soap: string) => Buffer.from(soap),
    };
    const { result, read } = await this.#run(mailbox, request, async (service) => {
      const view = new library.ItemView(PAGE, search.offset);
      view.PropertySet = new library.PropertySet(library.BasePropertySet.IdOnly, [this.#mark]);
      const filter = new library.SearchFilter.IsEqualTo(library.EmailMessageSchema.InternetMessageId, messageId);
      const found = await service.FindItems(folder, filter, view);
      const marks = found.Items.map((item) => {
        const value = { outValue: '' };
        return item.TryGetProperty(this.#mark, value) ? value.outValue : undefined;
      });
      return { marks, more: found.MoreAvailable };
    });
    if (!result.ok) return { ok: false, status: neverUnknown(result.status) };
    return read === undefined ? { ok: false, status: unreadableAnswer() } : { ok: true, ...read };
  }

  /** Lets the library build one request and, if its answer is a success, read that. @param mailbox escaped */
  async #run<Read>(
    mailbox: string,
    request: Omit<SoapCall, 'body'> & { readonly body: (soap: string) => SoapCall['body'] },
    use: (service: ExchangeService) => Promise<Read>,
  ): Promise<{ readonly result: CallResult; readonly read?: Read }> {
    let result: CallResult | undefined;
    let thrown: { readonly error: unknown } | undefined;
    const service = serviceOf(this.#library, { url: this.#options.url, mailbox }, async (soap) => {
      try {
        result = await call(this.#options, { ...request, body: request.body(soap) });
      } catch (error) {
        thrown = { error };
      }
      if (result?.ok !== true) throw UNUSABLE;
      return { status: 200, responseText: result.xml } as XMLHttpRequest;
    });
    let read: { readonly value: Read } | undefined;
    let failure: unknown;
    try {
      read = { value: await use(service) };
    } catch (error) {
      failure = error;
    }
    if (thrown) throw thrown.error;
    if (!result) throw new Error('the EWS library could not build a request', { cause: failure });
    return read ? { result, read: read.value } : { result };
  }
}

/** The library's enumerations begin with 0, which some of its code takes for nothing: tests hold every value. */
function importanceIn(library: Library, importance: Importance): LibraryImportance {
  switch (importance) {
    case 'low':
      return library.Importance.Low;
    case 'normal':
      return library.Importance.Normal;
    case 'high':
      return library.Importance.High;
    default:
      return unreachable(importance);
  }
}

/** One that XML cannot carry is left out: the MIME has it too. */
function escapedHeaders(headers: readonly InternetHeader[] = []): InternetHeader[] {
  return headers.flatMap((header) => {
    const name = escapeXml(header.name);
    const value = escapeXml(header.value);
    return name === undefined || value === undefined ? [] : [{ name, value }];
  });
}

/** The request with the message's base64 where its place was, in constant memory. */
function around(soap: string, place: string, content: StreamedBody): StreamedBody {
  const parts = soap.split(place);
  if (parts.length !== 2) throw new Error(`the message's place occurs ${parts.length - 1} times in the request`);
  const [before, after] = parts.map((part) => Buffer.from(part)) as [Buffer, Buffer];
  return {
    length: before.length + base64Length(content.length) + after.length,
    async *open() {
      yield before;
      yield* base64(content.open());
      yield after;
    },
  };
}

function accepted({ ids }: Extract<CallResult, { ok: true }>): Relayed {
  return { outcome: 'relayed', code: '2.0.0', cause: 'NoError', text: 'Accepted by Exchange', ids };
}

function harmless(status: Trouble): { readonly ok: false; readonly status: Delayed | Failed } {
  return { ok: false, status: neverUnknown(status) };
}

function neverUnknown(status: Trouble): Delayed | Failed {
  if (status.outcome === 'unknown') throw new Error('a request that sends nothing cannot have an unknown outcome');
  return status;
}
