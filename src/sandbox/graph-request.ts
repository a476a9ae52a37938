/**
 * What a request to the sandbox's Graph asks for, by its method, path, parameters and preferences. What is not documented
 * is an error, told as Graph tells it.
 */
import type { IncomingMessage } from 'node:http';
import type { Answer } from './exchange.ts';
import { failure, notFound } from './graph-answers.ts';
import { folderByGraphId } from './graph-items.ts';
import type { Mailboxes } from './mailboxes.ts';
import type { FolderView, MailboxStore } from './store.ts';

export interface Call {
  readonly operation: string;
  readonly right: 'Mail.Send' | 'Mail.ReadWrite';
  readonly mailbox: MailboxStore;
  /** Of the message; '': it is about none. */
  readonly id: string;
  readonly folder?: FolderView;
  /** https://host:port/v1.0/... without parameters. */
  readonly url: string;
  readonly query: URLSearchParams;
  readonly isImmutable: boolean;
  /** Rows of a page that the client would like. */
  readonly pageSize?: number;
  readonly isMime: boolean;
}

/** Operations by method and path, ids replaced by what they are of, and the parameters each takes. */
const OPERATIONS: Readonly<Record<string, readonly [name: string, ...parameters: readonly string[]]>> = {
  'POST sendMail': ['sendMail'],
  'POST messages': ['createMessage'],
  'GET messages': ['findMessages', '$filter', '$select', '$expand', '$top', '$skip'],
  'GET mailFolders/folder/messages': ['findMessages', '$filter', '$select', '$expand', '$top', '$skip'],
  'GET mailFolders/folder/messages/delta': ['listChanges', '$select', '$expand', '$deltatoken', '$skiptoken'],
  'GET messages/id': ['getMessage', '$select', '$expand'],
  'PATCH messages/id': ['updateMessage'],
  'DELETE messages/id': ['deleteMessage'],
  'GET messages/id/$value': ['getMime'],
  'POST messages/id/send': ['send'],
  'POST messages/id/move': ['moveMessage'],
  'GET messages/id/attachments': ['listAttachments', '$select', '$top'],
  'POST messages/id/attachments': ['addAttachment'],
  'POST messages/id/attachments/createUploadSession': ['createUploadSession'],
  'GET mailFolders': ['listFolders', '$filter', '$select', '$top', '$skip'],
  'GET mailFolders/folder': ['getFolder', '$select', '$expand'],
  'PATCH mailFolders/folder': ['updateFolder'],
  'GET mailFolders/folder/childFolders': ['listFolders', '$filter', '$select', '$top', '$skip'],
  'POST mailFolders': ['createFolder'],
  'POST mailFolders/folder/childFolders': ['createFolder'],
};

export function callOf(request: IncomingMessage, url: URL, mailboxes: Mailboxes): Call | Answer {
  const [, user = '', rest = ''] = /^\/v1\.0\/users\/([^/]+)\/(.+)$/.exec(url.pathname) ?? [];
  const parts = rest.split('/').map(decodeURIComponent);
  const [first = '', second = '', ...more] = parts;
  const what = [first, ...(second === '' ? [] : [first === 'mailFolders' ? 'folder' : 'id']), ...more].join('/');
  const key = `${request.method} ${what}`;
  const [operation, ...parameters] = (Object.hasOwn(OPERATIONS, key) ? OPERATIONS[key] : undefined) ?? [];
  if (operation === undefined) return failure(404, 'ResourceNotFound', 'Resource not found for the segment.');
  const mailbox = mailboxes.find(decodeURIComponent(user));
  if (!mailbox) return failure(404, 'ErrorInvalidUser', `The requested user '${decodeURIComponent(user)}' is invalid.`);
  const folder = first === 'mailFolders' && second !== '' ? folderByGraphId(mailbox, second) : undefined;
  if (folder === 'malformed') return failure(400, 'ErrorInvalidIdMalformed', 'Id is malformed.');
  if (folder === 'gone') return notFound();
  const strange = [...url.searchParams.keys()].find((name) => !parameters.includes(name));
  if (strange !== undefined) return failure(400, 'BadRequest', `The query parameter ${strange} is not supported here.`);
  const preferences = preferencesOf(request.headers['prefer'], operation);
  if (preferences === undefined)
    return failure(
      400,
      'BadRequest',
      'The sandbox knows no other preferences than IdType="ImmutableId" and odata.maxpagesize of changes.',
    );
  const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  return {
    operation,
    right: operation === 'sendMail' || operation === 'send' ? 'Mail.Send' : 'Mail.ReadWrite',
    mailbox,
    id: first === 'messages' ? second : '',
    ...(folder === undefined ? {} : { folder }),
    url: `${url.origin}${url.pathname}`,
    query: url.searchParams,
    ...preferences,
    isMime: type === 'text/plain',
  };
}

function preferencesOf(
  text: string | string[] | undefined,
  operation: string,
): Pick<Call, 'isImmutable' | 'pageSize'> | undefined {
  const all = String(text ?? '')
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
  const known = /^odata\.maxpagesize=([1-9]\d{0,3})$/;
  const isKnown = (one: string): boolean =>
    one === 'IdType="ImmutableId"' || (operation === 'listChanges' && known.test(one));
  if (!all.every(isKnown)) return undefined;
  const size = all.map((one) => known.exec(one)?.[1]).find((one) => one !== undefined);
  return {
    isImmutable: all.includes('IdType="ImmutableId"'),
    ...(size === undefined ? {} : { pageSize: Number(size) }),
  };
}
