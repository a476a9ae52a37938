/**
 * A mailbox that mail is picked up from, over Microsoft Graph (application permission Mail.ReadWrite): delta queries tell
 * what is new, $value gives the MIME. Promises as mailbox.ts has them. There is no listen(): Graph knows only change
 * notifications that it sends to a public address of ours, which a gateway inside a company does not have; changes() is
 * asked at intervals instead.
 */
import type { MailFolder } from '@microsoft/microsoft-graph-types';
import { harmless, withoutAnswer } from './call.ts';
import { isOfGraph } from './graph-call.ts';
import { STALE } from './graph-codes.ts';
import { findFolders } from './graph-folders.ts';
import { graphJson } from './graph-json.ts';
import {
  askMailbox,
  elsewhere,
  folderNotFound,
  isGone,
  pageOf,
  streamFromMailbox,
  unreadable,
  unusable,
} from './graph-pickup.ts';
import type { GraphMailboxOptions, Page, Question, Trouble } from './graph-pickup.ts';
import { describeAll, timeOf } from './graph-received.ts';
import { HttpFailure } from './http.ts';
import type { HttpResponse } from './http.ts';
import { FOLDER_MARK } from './mailbox.ts';
import type { Changes, Filing, Got, PickupMailbox } from './mailbox.ts';

export type { GraphMailboxOptions } from './graph-pickup.ts';

/** Items of a page of changes. */
const PAGE = 200;
/** Well-known name; a deletion by DELETE is not documented to leave the item where a person can find it. */
const DELETED_ITEMS = 'deleteditems';

export function graphMailbox(source: GraphMailboxOptions): PickupMailbox {
  return {
    transport: 'graph',
    folders: async (paths, make, signal) => await findFolders(source, paths, make, signal),
    changes: async (folder, cursor, signal) => await changes(source, folder, cursor, signal),
    describe: async (ids, signal) => await describeAll(source, ids, signal),
    fetch: async (id, write, signal) => await fetchMime(source, id, write, signal),
    file: async (id, filing, signal) => await file(source, id, filing, signal),
    claim: {
      read: async (folder, signal) => await readMark(source, folder, signal),
      write: async (folder, mark, signal) => await writeMark(source, folder, mark, signal),
    },
  };
}

/** The cursor is the whole link that Graph gave, as it asks for (learn.microsoft.com/graph/delta-query-messages). */
async function changes(
  source: GraphMailboxOptions,
  folder: string,
  cursor: string | undefined,
  signal: AbortSignal,
): ReturnType<PickupMailbox['changes']> {
  // One of another transport, or of another graphUrl.
  if (cursor !== undefined && !isOfGraph(source.graph, cursor)) return { ok: false, stale: true };
  const asked = await askMailbox(source, {
    method: 'GET',
    path: cursor ?? `/mailFolders/${encodeURIComponent(folder)}/messages/delta?$select=receivedDateTime`,
    prefer: [`odata.maxpagesize=${PAGE}`],
    success: 200,
    signal,
  });
  if (!asked.ok) {
    if (cursor !== undefined && isStale(asked)) return { ok: false, stale: true };
    return { ok: false, status: isGone(asked) ? folderNotFound(FOLDER_GONE) : asked.status };
  }
  const page = pageOf(asked.json);
  const next = page?.next ?? page?.delta;
  if (page === undefined || next === undefined) return { ok: false, status: unreadable('what has changed') };
  if (!isOfGraph(source.graph, next)) return { ok: false, status: elsewhere() };
  if (page.next !== undefined && page.next === cursor) return { ok: false, status: unreadable('where to go on') };
  return { ok: true, ...split(page), cursor: next, isLast: page.next === undefined };
}

const FOLDER_GONE =
  'The folder that is picked up from was there, and is not in the mailbox any more; make it again, or name another one';

/** Graph says 410 where it forgot, and 400 where it cannot read what it once gave; to begin again mends both. */
function isStale({ http, status }: Trouble): boolean {
  return http === 410 || http === 400 || STALE.includes(status.cause.toLowerCase());
}

/** Whatever is changed about an item that was there (its read mark) makes it come again, like a new one. */
function split({ items }: Page): Pick<Changes, 'added' | 'removed'> {
  const added: { id: string; receivedAt?: number }[] = [];
  const removed: string[] = [];
  for (const item of items) {
    const { id } = item;
    if (typeof id !== 'string') continue;
    const receivedAt = timeOf(item['receivedDateTime']);
    if (item['@removed'] !== undefined) removed.push(id);
    else added.push({ id, ...(receivedAt === undefined ? {} : { receivedAt }) });
  }
  return { added, removed };
}

async function fetchMime(
  source: GraphMailboxOptions,
  id: string,
  write: (piece: Uint8Array) => Promise<void>,
  signal: AbortSignal,
): Promise<Got<{ readonly gone: boolean }>> {
  const path = `/messages/${encodeURIComponent(id)}/$value`;
  const asked = await streamFromMailbox(source, { method: 'GET', path, accept: '*/*', success: 200, signal });
  if (!asked.ok) return isGone(asked) ? { ok: true, gone: true } : { ok: false, status: asked.status };
  const { response, ids } = asked;
  if (!hasKnownEnd(response)) {
    response.discard();
    return { ok: false, status: unusable('answer without length', NO_LENGTH, ids) };
  }
  const type = response.headers['content-type'] ?? '';
  if (NO_MIME.test(type)) {
    response.discard();
    return { ok: false, status: unusable('no message', NO_MESSAGE, ids) };
  }
  let size = 0;
  try {
    for await (const piece of response.body) {
      size += piece.length;
      await write(piece);
    }
  } catch (error) {
    if (!(error instanceof HttpFailure)) throw error;
    return { ok: false, status: harmless(withoutAnswer(error, false, ids)) };
  }
  return size === 0 ? { ok: false, status: unusable('empty answer', EMPTY, ids) } : { ok: true, gone: false };
}

/** RFC 9112 section 6.3: an answer that simply ends when the connection does may have ended early. */
function hasKnownEnd({ headers }: HttpResponse): boolean {
  return headers['content-length'] !== undefined || /\bchunked\s*$/i.test(headers['transfer-encoding'] ?? '');
}

/** MIME comes as text/plain (learn.microsoft.com/graph/outlook-get-mime-message); any octets would pass for a message. */
const NO_MIME = /^\s*(?:text\/html|application\/(?:[\w.-]+\+)?json)\b/i;
const NO_MESSAGE =
  'Graph reported success, but what came is a page or JSON, and no message; a proxy in between may be the reason';
const NO_LENGTH =
  'The answer says neither its length nor its end, so that a message cut short could not be told from a whole one; a proxy in between may be the reason';
const EMPTY = 'Graph gave no octet of the message';

async function file(
  source: GraphMailboxOptions,
  id: string,
  filing: Filing,
  signal: AbortSignal,
): Promise<Got<{ readonly gone: boolean }>> {
  const path = `/messages/${encodeURIComponent(id)}`;
  // The answers show the whole message as it is then.
  const asked = await askMailbox(source, { ...requestOf(path, filing), ignoresBody: true, signal });
  if (asked.ok) return { ok: true, gone: false };
  if (!isGone(asked)) return { ok: false, status: asked.status };
  return filing.kind === 'move' ? await eitherGone(source, path, signal) : { ok: true, gone: true };
}

function requestOf(path: string, filing: Filing): Omit<Question, 'signal'> {
  if (filing.kind === 'read') {
    return { method: 'PATCH', path, body: graphJson('message', { isRead: true }), success: 200 };
  }
  const destinationId = filing.kind === 'move' ? filing.folder : DELETED_ITEMS;
  return { method: 'POST', path: `${path}/move`, body: graphJson('move', { destinationId }), success: 201 };
}

/** A move whose folder was deleted is answered like one whose item is gone, and the item would stay for ever. */
async function eitherGone(
  source: GraphMailboxOptions,
  path: string,
  signal: AbortSignal,
): Promise<Got<{ readonly gone: boolean }>> {
  const asked = await askMailbox(source, { method: 'GET', path: `${path}?$select=id`, success: 200, signal });
  if (asked.ok) return { ok: false, status: folderNotFound(TARGET_GONE) };
  return isGone(asked) ? { ok: true, gone: true } : { ok: false, status: asked.status };
}

const TARGET_GONE =
  'The folder that items are moved to after the pickup is not in the mailbox any more; make it again, or name another one';

// --- the mark of a folder -------------------------------------------------------------------------------------------

/** PS_PUBLIC_STRINGS (MS-OXPROPS section 1.3.2), as learn.microsoft.com/graph/api/resources/extended-properties-overview writes it. */
const MARK_ID = `String {00020329-0000-0000-C000-000000000046} Name ${FOLDER_MARK}`;

async function readMark(
  source: GraphMailboxOptions,
  folder: string,
  signal: AbortSignal,
): Promise<Got<{ readonly mark: string | undefined }>> {
  const expand = encodeURIComponent(`singleValueExtendedProperties($filter=id eq '${MARK_ID}')`);
  const path = `/mailFolders/${encodeURIComponent(folder)}?$select=id&$expand=${expand}`;
  const asked = await askMailbox(source, { method: 'GET', path, success: 200, signal });
  if (!asked.ok) return { ok: false, status: isGone(asked) ? folderNotFound(FOLDER_GONE) : asked.status };
  const { id, singleValueExtendedProperties: properties } = asked.json as MailFolder;
  if (typeof id !== 'string') return { ok: false, status: unreadable('a folder') };
  // Asked for one, Graph gives no other; it may write the id in another case.
  return { ok: true, mark: properties?.[0]?.value ?? undefined };
}

async function writeMark(
  source: GraphMailboxOptions,
  folder: string,
  mark: string,
  signal: AbortSignal,
): Promise<Got<object>> {
  const asked = await askMailbox(source, {
    method: 'PATCH',
    path: `/mailFolders/${encodeURIComponent(folder)}`,
    body: graphJson('folder', { singleValueExtendedProperties: [{ id: MARK_ID, value: mark }] }),
    success: 200,
    ignoresBody: true,
    signal,
  });
  if (asked.ok) return asked;
  return { ok: false, status: isGone(asked) ? folderNotFound(FOLDER_GONE) : asked.status };
}
