/**
 * The sandbox's Microsoft Graph, as far as mail is sent and picked up by it, on the same mailboxes as its EWS. Judged in this
 * order: token, mailbox, permission, size, content. What is not documented (a field, a parameter, a path) is an error.
 * Misbehaves on command (fault.ts) under these operations: sendMail, createMessage, updateMessage, addAttachment,
 * createUploadSession, uploadSlice, uploadState, send, findMessages, getMessage, getMime, listAttachments, deleteMessage,
 * moveMessage, listChanges, getFolder, listFolders, createFolder, updateFolder.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AttachmentItem, FileAttachment, Message } from '@microsoft/microsoft-graph-types';
import { canonicalAddress } from '../mail/address.ts';
import type { Answer, ExchangeHandler } from './exchange.ts';
import { dawdle, introduce, sendDressed } from './exchange.ts';
import type { Faults, Misbehaviour } from './fault.ts';
import { failure, json, JSON_TYPE, jsonOf, nothing, notFound, of } from './graph-answers.ts';
import { propertyPath, submissionOfBase64, submissionOfJson } from './graph-content.ts';
import { Drafts, sliceOf } from './graph-drafts.ts';
import { MAX_ATTACHMENTS, MAX_RECIPIENTS } from './graph-fields.ts';
import { attachmentFields, itemOf, shown, shownAttachments, wishOf } from './graph-items.ts';
import {
  createFolder,
  getFolder,
  listChanges,
  listFolders,
  markMessage,
  moveMessage,
  updateFolder,
} from './graph-pickup.ts';
import type { Call } from './graph-request.ts';
import { callOf } from './graph-request.ts';
import type { Claims, Identity } from './identity.ts';
import { propertyOf } from './item-properties.ts';
import type { Mailboxes } from './mailboxes.ts';
import type { FolderView, Item } from './store.ts';
import type { Submission } from './submission.ts';
import { EwsFault } from './submission.ts';

export interface GraphHandlerOptions {
  readonly identity: Identity;
  readonly audience: string;
  readonly mailboxes: Mailboxes;
  readonly faults: Faults;
  /** Client id -> mailboxes of an application without a role (RBAC for Applications). */
  readonly scopes?: Readonly<Record<string, readonly string[]>>;
  /** https://host:port */
  readonly origin: () => string;
}

const REQUEST_LIMIT = 4 * 1024 * 1024;
const SESSION_LIMIT = 150 * 1024 * 1024;
/** Octets below which an attachment is no matter for a session. */
const SESSION_FROM = 3_000_000;
/** Requests at the same time for an application and a mailbox. */
const MAILBOX_CONCURRENCY = 4;

export function graphHandler(options: GraphHandlerOptions): ExchangeHandler {
  const drafts = new Drafts();
  const busy = new Map<string, number>();
  return async (request, response, stopped) => {
    introduce(request, response);
    const url = new URL(request.url ?? '/', options.origin());
    const upload = /^\/upload\/([\w-]+)$/.exec(url.pathname)?.[1];
    if (upload !== undefined) return await session(upload, request, response, { drafts, ...options });
    const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const verdict = options.identity.verify(token, options.audience);
    const refuse = async (answer: Answer): Promise<void> => {
      request.resume();
      await sendDressed(response, answer, {});
    };
    if (!verdict.ok)
      return await refuse(failure(401, 'InvalidAuthenticationToken', 'Access token validation failure.'));
    const call = callOf(request, url, options.mailboxes);
    if ('status' in call) return await refuse(call);
    if (!mayDo(verdict.claims, call, options.scopes))
      return await refuse(failure(403, 'ErrorAccessDenied', 'Access is denied. Check credentials and try again.'));
    const key = `${String(verdict.claims['appid'])} ${call.mailbox.address}`;
    const running = (busy.get(key) ?? 0) + 1;
    if (running > MAILBOX_CONCURRENCY) {
      response.setHeader('retry-after', '1');
      return await refuse(failure(429, 'ApplicationThrottled', 'Application is over its MailboxConcurrency limit.'));
    }
    busy.set(key, running);
    try {
      if (options.faults.isUploadCut(call.operation, call.mailbox.address)) return void request.socket.destroy();
      const body = await read(request, REQUEST_LIMIT);
      if (body === undefined) return await refuse(failure(413, 'RequestEntityTooLarge', 'The request is over 4 MB.'));
      await misbehaving(options.faults.take(call.operation, call.mailbox.address), request, response, stopped, () =>
        act(call, body, drafts, options),
      );
    } finally {
      busy.set(key, (busy.get(key) ?? 1) - 1);
    }
  };
}

/** Answers as the misbehaviour has it, else as `work` does. */
async function misbehaving(
  wrong: Misbehaviour,
  request: IncomingMessage,
  response: ServerResponse,
  stopped: AbortSignal,
  work: () => Promise<Answer>,
): Promise<void> {
  if (wrong.expiredToken)
    return await sendDressed(
      response,
      failure(401, 'InvalidAuthenticationToken', 'Lifetime validation failed.'),
      wrong,
    );
  await dawdle(wrong.slow?.beforeActing, stopped);
  if (wrong.cut === 'beforeActing') return void request.socket.destroy();
  if (wrong.silent === 'beforeActing') return;
  const instead = insteadOf(wrong);
  if (instead && wrong.acts) await work();
  const answer = instead ?? (await work());
  await dawdle(wrong.slow?.afterActing, stopped);
  if (wrong.cut === 'afterActing') return void request.socket.destroy();
  if (wrong.silent === 'afterActing') return;
  await sendDressed(response, answer, wrong);
}

function insteadOf(wrong: Misbehaviour): Answer | undefined {
  const { status, responseCode, messageText = 'The sandbox was told so.', body } = wrong;
  if (responseCode !== undefined) {
    const usual = /Denied/.test(responseCode) ? 403 : /Throttled|TooMany/.test(responseCode) ? 429 : 400;
    return failure(status ?? usual, responseCode, messageText);
  }
  if (wrong.garbage) return { status: status ?? 200, body: Buffer.from('\u0000\u0001 no JSON'), type: JSON_TYPE };
  if (status === undefined && body === undefined) return undefined;
  return { status: status ?? 200, body: Buffer.from(body ?? ''), type: 'text/html' };
}

function mayDo(
  { roles, appid }: Claims,
  { right, mailbox }: Call,
  scopes: GraphHandlerOptions['scopes'] = {},
): boolean {
  if (Array.isArray(roles) && roles.includes(right)) return true;
  return (scopes[String(appid)] ?? []).some((one) => canonicalAddress(one) === canonicalAddress(mailbox.address));
}

async function act(call: Call, body: Buffer, drafts: Drafts, options: GraphHandlerOptions): Promise<Answer> {
  const { mailboxes, origin } = options;
  const { operation, mailbox, isMime } = call;
  const { address } = mailbox;
  switch (operation) {
    case 'sendMail': {
      const json = isMime ? undefined : jsonOf<{ message: Message; saveToSentItems?: boolean }>(body, 'sendMail');
      if (json !== undefined && 'status' in json) return json;
      const submission = json ? await submissionOfJson(json.message, []) : await submissionOfBase64(body);
      if (submission instanceof EwsFault) return of(submission);
      return sent(mailboxes, address, submission, json?.saveToSentItems === false ? undefined : 'sentitems');
    }
    case 'createMessage': {
      const message = isMime ? undefined : jsonOf<Message>(body, 'message');
      if (message !== undefined && 'status' in message) return message;
      const submission = message ? await submissionOfJson(message, []) : await submissionOfBase64(body);
      if (submission instanceof EwsFault) return of(submission);
      const item = mailboxes.save({ address, folder: 'drafts' }, submission);
      drafts.byId.set(item.id, { mailbox: address, message, submission, files: [] });
      return await told(201, item, mailbox.at('drafts'), call);
    }
    case 'findMessages':
      return await find(call);
    case 'listChanges':
      return await listChanges(call);
    case 'getFolder':
      return getFolder(call);
    case 'listFolders':
      return listFolders(call);
    case 'createFolder':
      return createFolder(call, body);
    case 'updateFolder':
      return updateFolder(call, body);
    default:
  }
  const found = itemOf(call.id, call);
  if (!found) return notFound();
  const { item, folder } = found;
  const draft = drafts.byId.get(item.id);
  switch (operation) {
    case 'getMessage':
      return corrupt(item) ?? (await told(200, item, folder, call));
    case 'getMime':
      if (item.broken === 'mime')
        return failure(500, 'ErrorMimeContentConversionFailed', 'The MIME content could not be converted.');
      return corrupt(item) ?? { status: 200, body: item.mime, type: 'text/plain' };
    case 'deleteMessage':
      // What is deleted there is gone.
      if (folder.wellKnown === 'deleteditems') mailbox.remove(item.id);
      else mailbox.move(item.id, 'deleteditems');
      drafts.byId.delete(item.id);
      return nothing(204);
    case 'moveMessage':
      return await moveMessage(call, item, body);
    case 'listAttachments': {
      const fields = attachmentFields(call.query.get('$select'));
      if (draft) break;
      return 'status' in fields
        ? fields
        : (corrupt(item) ?? json(200, { value: await shownAttachments(item, fields) }));
    }
    case 'updateMessage': {
      if (draft) break;
      const change = jsonOf<Message>(body, 'message');
      return 'status' in change ? change : await markMessage(call, item, folder, change);
    }
    default:
  }
  if (!draft) return failure(400, 'ErrorInvalidOperation', 'The message is no draft.');
  switch (operation) {
    case 'updateMessage': {
      const change = jsonOf<Message>(body, 'message');
      if ('status' in change) return change;
      const { singleValueExtendedProperties: before = [] } = draft.message ?? {};
      const { singleValueExtendedProperties: more = [] } = change;
      const properties = [...(before ?? []), ...(more ?? [])];
      draft.message = { ...draft.message, ...change, singleValueExtendedProperties: properties };
      const submission = await submissionOfJson(draft.message, []);
      if (submission instanceof EwsFault) return of(submission);
      mailboxes.remove(address, item.id);
      const saved = mailboxes.save({ address, folder: 'drafts' }, submission, item.id);
      return await told(200, saved, mailbox.at('drafts'), call);
    }
    case 'listAttachments': {
      const files = draft.files.map(({ name, contentBytes }, index) => ({
        id: String(index),
        name,
        size: Buffer.byteLength(contentBytes ?? '', 'base64'),
      }));
      return json(200, { value: files });
    }
    case 'addAttachment': {
      const file = jsonOf<FileAttachment>(body, 'attachment');
      if ('status' in file) return file;
      if (draft.files.length === MAX_ATTACHMENTS) return tooMany('attachments', MAX_ATTACHMENTS);
      if (Buffer.byteLength(file.contentBytes ?? '', 'base64') >= SESSION_FROM)
        return failure(413, 'ErrorAttachmentSizeLimitExceeded', 'From 3 MB on an attachment wants an upload session.');
      draft.files.push(file);
      return json(201, { id: String(draft.files.length - 1), name: file.name });
    }
    case 'createUploadSession': {
      const wish = jsonOf<{ AttachmentItem: AttachmentItem }>(body, 'uploadSession');
      if ('status' in wish) return wish;
      if (draft.files.length === MAX_ATTACHMENTS) return tooMany('attachments', MAX_ATTACHMENTS);
      const { size = 0 } = wish.AttachmentItem;
      if ((size ?? 0) < SESSION_FROM)
        return failure(400, 'ErrorAttachmentSizeShouldNotBeLessThanMinimumSize', 'Attachment size is too small.');
      if ((size ?? 0) > SESSION_LIMIT)
        return failure(413, 'ErrorAttachmentSizeLimitExceeded', 'The attachment is over 150 MB.');
      const uploadUrl = `${origin()}/upload/${drafts.open(draft, wish.AttachmentItem)}`;
      return json(201, { uploadUrl, nextExpectedRanges: ['0-'], expirationDateTime: '2099-01-01T00:00:00Z' });
    }
    case 'send': {
      const whole = draft.message ? await submissionOfJson(draft.message, draft.files) : draft.submission;
      if (whole instanceof EwsFault) return of(whole);
      const refused = refusal(mailboxes, address, whole);
      if (refused) return refused;
      mailboxes.remove(address, item.id);
      drafts.byId.delete(item.id);
      mailboxes.send(address, whole, { address, folder: 'sentitems' }, item.id);
      return nothing(202);
    }
    default:
      throw new Error(`no operation ${operation}`);
  }
}

function sent(mailboxes: Mailboxes, address: string, submission: Submission, folder: 'sentitems' | undefined): Answer {
  const refused = refusal(mailboxes, address, submission);
  if (refused) return refused;
  mailboxes.send(address, submission, folder === undefined ? undefined : { address, folder });
  return nothing(202);
}

function refusal(mailboxes: Mailboxes, address: string, submission: Submission): Answer | undefined {
  const { to, cc, bcc } = submission;
  if (to.length + cc.length + bcc.length > MAX_RECIPIENTS) return tooMany('recipients', MAX_RECIPIENTS);
  const fault = mailboxes.judge(address, submission);
  return fault && of(fault);
}

function tooMany(what: 'recipients' | 'attachments', most: number): Answer {
  const code = what === 'recipients' ? 'ErrorInvalidRecipients' : 'ErrorInvalidRequest';
  return failure(400, code, `A message has ${most} ${what} at most.`);
}

async function told(status: number, item: Item, folder: FolderView, call: Call): Promise<Answer> {
  const wish = wishOf(call.query);
  return 'status' in wish ? wish : json(status, await shown(item, folder, call, wish));
}

function corrupt({ broken }: Item): Answer | undefined {
  return broken === 'item' ? failure(500, 'ErrorCorruptData', 'The item is corrupt.') : undefined;
}

/** Filters: internetMessageId eq '...' and singleValueExtendedProperties/Any(ep: ep/id eq '...' and ep/value eq '...'). */
async function find(call: Call): Promise<Answer> {
  const { query, mailbox, folder } = call;
  const wish = wishOf(query);
  if ('status' in wish) return wish;
  const filter = query.get('$filter') ?? '';
  const quoted = "'((?:[^']|'')*)'";
  const [, messageId] = new RegExp(`^internetMessageId eq ${quoted}$`).exec(filter) ?? [];
  const [, id, value] =
    new RegExp(`^singleValueExtendedProperties/Any\\(ep: ep/id eq ${quoted} and ep/value eq ${quoted}\\)$`, 'i').exec(
      filter,
    ) ?? [];
  if (filter !== '' && messageId === undefined && id === undefined)
    return failure(400, 'ErrorInvalidUrlQueryFilter', 'The sandbox cannot filter so.');
  const path = id === undefined ? undefined : propertyPath(id);
  const matches = (item: Item): boolean =>
    (messageId === undefined || item.messageId === messageId.replaceAll("''", "'")) &&
    (path === undefined || propertyOf(item, path)?.values[0] === value);
  const all = (folder === undefined ? mailbox.folders : [folder]).flatMap((one) =>
    one.items.filter(matches).map((item) => [item, one] as const),
  );
  const skip = Number(query.get('$skip') ?? 0);
  const page = all.slice(skip, skip + Number(query.get('$top') ?? 10));
  return json(200, { value: await Promise.all(page.map(([item, one]) => shown(item, one, call, wish))) });
}

async function session(
  token: string,
  request: IncomingMessage,
  response: ServerResponse,
  { drafts, faults }: GraphHandlerOptions & { readonly drafts: Drafts },
): Promise<void> {
  const open = drafts.session(token);
  const operation = request.method === 'PUT' ? 'uploadSlice' : 'uploadState';
  const mailbox = open?.draft.mailbox ?? '';
  if (!open) return await gone(request, response);
  if (request.headers.authorization !== undefined) {
    request.resume();
    return await sendDressed(response, failure(401, 'InvalidAuthenticationToken', 'No token is wanted here.'), {});
  }
  const state = (): Answer => json(200, { nextExpectedRanges: [`${open.received}-`] });
  if (request.method === 'GET') {
    return await misbehaving(faults.take(operation, mailbox), request, response, NEVER, async () => state());
  }
  const slice = sliceOf(request.headers['content-range'], Number(request.headers['content-length']), open);
  if (typeof slice === 'string' || slice.from !== open.received) {
    request.resume();
    const answer =
      typeof slice === 'string' ? failure(400, 'BadRequest', slice) : failure(416, 'InvalidRange', 'Not wanted.');
    return await sendDressed(response, answer, {});
  }
  if (faults.isUploadCut(operation, mailbox)) {
    // A part of the slice got through: the session goes on from there.
    for await (const chunk of request) {
      drafts.take(
        open,
        token,
        (chunk as Buffer).subarray(0, Math.min((chunk as Buffer).length, slice.to - slice.from)),
      );
      break;
    }
    return void request.socket.destroy();
  }
  const body = await read(request, Infinity);
  await misbehaving(faults.take(operation, mailbox), request, response, NEVER, async () => {
    const outcome = drafts.take(open, token, body ?? Buffer.alloc(0));
    return outcome === 'created' ? nothing(201) : state();
  });
}

const NEVER = new AbortController().signal;

async function gone(request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.resume();
  await sendDressed(response, failure(404, 'ErrorItemNotFound', 'The upload session was not found.'), {});
}

async function read(request: IncomingMessage, limit: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
