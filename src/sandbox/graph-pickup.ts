/** What a pickup asks of the sandbox's Graph: folders, the changes of one, moving and marking a message. */
import type { MailFolder, Message } from '@microsoft/microsoft-graph-types';
import { changePage } from './cursor.ts';
import type { Answer } from './exchange.ts';
import { failure, json, jsonOf, notFound } from './graph-answers.ts';
import { propertyPath } from './graph-content.ts';
import {
  EVERYTHING,
  expandedProperties,
  folderByGraphId,
  list,
  messageId,
  noProperty,
  shown,
  shownFolder,
  wishOf,
  wrongProperty,
} from './graph-items.ts';
import type { Call } from './graph-request.ts';
import type { FolderView, Item } from './store.ts';
import { isSameProperty } from './submission.ts';

/** Rows of a page that nobody asked another size of. */
const PAGE = 10;
const FOLDER_FIELDS: readonly (keyof MailFolder)[] = [
  'id',
  'displayName',
  'parentFolderId',
  'childFolderCount',
  'unreadItemCount',
  'totalItemCount',
  'isHidden',
];

export function getFolder({ mailbox, folder = mailbox.at('inbox'), query }: Call): Answer {
  const fields = folderFields(query);
  if ('status' in fields) return fields;
  const expansion = query.get('$expand');
  const wanted = expansion === null ? [] : expandedProperties(expansion);
  if (!wanted) return failure(400, 'BadRequest', `The sandbox cannot expand ${expansion}.`);
  const properties = wanted.flatMap((id) => {
    const path = propertyPath(id);
    const value = path && folder.extended.find((one) => isSameProperty(one.path, path))?.values[0];
    return value === undefined ? [] : [{ id, value }];
  });
  const more = properties.length === 0 ? {} : { singleValueExtendedProperties: properties };
  return wrongProperty(wanted) ?? json(200, { ...only(shownFolder(folder, mailbox), fields), ...more });
}

/** Sets extended properties only. */
export function updateFolder({ mailbox, folder = mailbox.at('inbox') }: Call, body: Buffer): Answer {
  const wish = jsonOf<MailFolder>(body, 'folderChange');
  if ('status' in wish) return wish;
  const properties = wish.singleValueExtendedProperties ?? [];
  const wrong = wrongProperty(properties.map(({ id = '' }) => id));
  if (wrong) return wrong;
  for (const { id = '', value } of properties)
    mailbox.setProperty(folder.id, { path: propertyPath(id) ?? {}, values: [value ?? ''] });
  return json(200, shownFolder(folder, mailbox));
}

/** Filter: displayName eq '...'. */
export function listFolders({ mailbox, folder = mailbox.at('msgfolderroot'), query, url }: Call): Answer {
  const fields = folderFields(query);
  if ('status' in fields) return fields;
  const filter = query.get('$filter');
  const name =
    filter === null ? undefined : /^displayName eq '((?:[^']|'')*)'$/.exec(filter)?.[1]?.replaceAll("''", "'");
  if (filter !== null && name === undefined)
    return failure(400, 'ErrorInvalidUrlQueryFilter', 'The sandbox cannot filter so.');
  const all = mailbox.children(folder.id).filter(({ displayName }) => name === undefined || displayName === name);
  const skip = Number(query.get('$skip') ?? 0);
  const top = Number(query.get('$top') ?? PAGE);
  const next = new URLSearchParams(query);
  next.set('$skip', String(skip + top));
  return json(200, {
    value: all.slice(skip, skip + top).map((one) => only(shownFolder(one, mailbox), fields)),
    ...(skip + top < all.length ? { '@odata.nextLink': `${url}?${next.toString()}` } : {}),
  });
}

export function createFolder({ mailbox, folder = mailbox.at('msgfolderroot') }: Call, body: Buffer): Answer {
  const wish = jsonOf<{ displayName: string }>(body, 'folder');
  if ('status' in wish) return wish;
  const made = mailbox.makeFolder(folder.id, wish.displayName);
  if (!made) return failure(409, 'ErrorFolderExists', 'A folder with the specified name already exists.');
  return json(201, shownFolder(made, mailbox));
}

/** What a link of ours carries beside the cursor, so that a client need not say it again. */
interface Carried {
  readonly cursor: string;
  readonly options: string;
}

/** learn.microsoft.com/graph/delta-query-messages: rounds of pages, each round begun by the link that ended the one before. */
export async function listChanges(call: Call): Promise<Answer> {
  const { mailbox, folder = mailbox.at('inbox'), pageSize = PAGE } = call;
  const token = call.query.get('$skiptoken') ?? call.query.get('$deltatoken');
  const carried = token === null ? undefined : carriedBy(token);
  if (token !== null && !carried) return stale('SyncStateInvalid');
  const query = carried ? new URLSearchParams(carried.options) : call.query;
  const wish = wishOf(query);
  if ('status' in wish) return wish;
  const page = changePage(mailbox, folder.id, carried?.cursor, pageSize);
  if (!page) return stale('SyncStateNotFound');
  const value: unknown[] = [];
  for (const { kind, item } of page.changes) {
    if (kind === 'delete') value.push({ id: messageId(item, folder, call), '@removed': { reason: 'deleted' } });
    else value.push(await shown(item, folder, call, wish));
  }
  const options = query.toString();
  const next = Buffer.from(JSON.stringify({ cursor: page.cursor, options } satisfies Carried)).toString('base64url');
  const link = page.isLast ? ['@odata.deltaLink', '$deltatoken'] : ['@odata.nextLink', '$skiptoken'];
  return json(200, { value, [link[0] ?? '']: `${call.url}?${link[1]}=${next}` });
}

function carriedBy(token: string): Carried | undefined {
  try {
    const carried = JSON.parse(Buffer.from(token, 'base64url').toString()) as Partial<Carried>;
    const { cursor, options } = carried;
    return typeof cursor === 'string' && typeof options === 'string' ? { cursor, options } : undefined;
  } catch {
    return undefined;
  }
}

/** The client has to begin again without a token. */
function stale(code: 'SyncStateNotFound' | 'SyncStateInvalid'): Answer {
  return failure(410, code, 'The sync state generation is not found.');
}

export async function moveMessage(call: Call, item: Item, body: Buffer): Promise<Answer> {
  const wish = jsonOf<{ destinationId: string }>(body, 'move');
  if ('status' in wish) return wish;
  const folder = folderByGraphId(call.mailbox, wish.destinationId);
  if (folder === 'malformed') return failure(400, 'ErrorInvalidIdMalformed', 'Id is malformed.');
  if (folder === 'gone') return notFound();
  const moved = call.mailbox.move(item.id, folder.id);
  return moved ? json(201, await shown(moved, folder, call, EVERYTHING)) : notFound();
}

/** A message that is no draft: only isRead can be set. */
export async function markMessage(call: Call, item: Item, folder: FolderView, change: Message): Promise<Answer> {
  const { isRead, ...more } = change;
  const [other] = Object.keys(more);
  if (other !== undefined || typeof isRead !== 'boolean')
    return failure(400, 'ErrorInvalidPropertySet', `The sandbox sets isRead only, not ${other ?? 'nothing'}.`);
  const marked = call.mailbox.setRead(item.id, isRead);
  return marked ? json(200, await shown(marked, folder, call, EVERYTHING)) : notFound();
}

function folderFields(query: URLSearchParams): readonly string[] | Answer {
  const select = query.get('$select');
  const fields = select === null ? FOLDER_FIELDS : ['id', ...list(select)];
  const strange = fields.find((name) => !FOLDER_FIELDS.some((one) => one === name));
  return strange === undefined ? fields : noProperty(strange, 'mailFolder');
}

function only(folder: MailFolder, fields: readonly string[]): object {
  return Object.fromEntries(Object.entries(folder).filter(([name]) => fields.includes(name)));
}
